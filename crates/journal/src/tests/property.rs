//! Random use against a list: whatever is done, reopening gives what was appended.

use proptest::prelude::*;
use sim::{Cut, Loss, SimDisk};

use super::{Rig, SyncMode};

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Write,
    Sync,
    Turn(u64),
    Reopen,
    Kill,
    PowerLoss(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0usize..3000).prop_map(Step::Append),
        1 => (60_000usize..400_000).prop_map(Step::Append),
        2 => Just(Step::Write),
        2 => Just(Step::Sync),
        2 => (0u64..2000).prop_map(Step::Turn),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(Step::PowerLoss),
    ]
}

/// What must be there, at least and at most.
#[derive(Default)]
struct Model {
    bodies: Vec<Vec<u8>>,
    written: usize,
    durable: usize,
}

impl Model {
    /// Takes over what a crash left.
    fn crashed(&mut self, found: Vec<Vec<u8>>, at_least: usize) {
        assert!(at_least <= found.len());
        assert_eq!(found, self.bodies[..found.len()]);
        *self = Model { written: found.len(), durable: found.len(), bodies: found };
    }
}

fn end(disk: &SimDisk) -> Cut {
    Cut { ops: disk.trace_count(), bytes: 0 }
}

fn play(steps: Vec<Step>) {
    let mut rig = Rig::new();
    let mut model = Model::default();
    for (index, step) in steps.into_iter().enumerate() {
        match step {
            Step::Append(bytes) => {
                let body = vec![index as u8; bytes];
                rig.append(&body);
                model.bodies.push(body);
            }
            Step::Write => {
                rig.journal.write_through(rig.journal.tail()).unwrap();
                model.written = model.bodies.len();
            }
            Step::Sync => {
                rig.journal.sync().unwrap();
                (model.written, model.durable) = (model.bodies.len(), model.bodies.len());
            }
            Step::Turn(ms) => {
                rig.clock.advance_ms(ms);
                rig.journal.flusher_turn().unwrap();
            }
            Step::Reopen => {
                rig.journal.close().unwrap();
                rig = Rig::open_at(&SimDisk::holding(rig.disk.content()), SyncMode::Os, None).unwrap();
                assert_eq!(rig.recovered.torn, None);
                model.crashed(rig.bodies(), model.bodies.len());
            }
            Step::Kill => {
                rig = Rig::open(&rig.disk.crash(end(&rig.disk), Loss::Nothing));
                model.crashed(rig.bodies(), model.written);
            }
            Step::PowerLoss(seed) => {
                rig = Rig::open(&rig.disk.crash(end(&rig.disk), Loss::Some(seed)));
                model.crashed(rig.bodies(), model.durable);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn reopening_gives_what_was_appended(steps in prop::collection::vec(step(), 0..60)) {
        play(steps);
    }
}
