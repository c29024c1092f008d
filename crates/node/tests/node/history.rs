//! Every state a run went through, what was promised when, and what may therefore be found after a crash.
//!
//! A run is one thread, so the journal's order is the order of its steps: each batch is one step of the states, and
//! what is found must be the state after some batch, and after the last one promised before the crash.

use crate::rig::Rig;
use crate::steps::{Step, take};
use journal::{Position, SyncMode};
use sim::{Cut, Loss, SimDisk};
use std::collections::BTreeMap;

/// A promise: when the disk had seen so many operations, the state with this number was safe.
struct Promise {
    ops: usize,
    state: usize,
}

/// See the module's text.
pub struct History {
    /// The canonical text of each partition at each of its versions.
    texts: BTreeMap<(usize, u64), String>,
    states: Vec<State>,
    /// What replies that wait reveal.
    waiting: Vec<Position>,
    promises: Vec<Promise>,
}

/// Everything after one batch.
#[derive(Clone)]
struct State {
    /// The versions of all partitions.
    versions: Vec<u64>,
    /// End of the batch in the journal.
    end: Position,
}

impl History {
    /// Notes the state that `rig` starts from.
    pub fn new(rig: &Rig) -> History {
        let states = vec![State { versions: rig.versions(), end: Position::ZERO }];
        let mut history = History { texts: BTreeMap::new(), states, waiting: Vec::new(), promises: Vec::new() };
        for id in rig.node.keyspace.ids() {
            history.note_text(rig, id.index());
        }
        history
    }

    /// Runs steps from an empty node on.
    pub fn of(sync: SyncMode, steps: &[Step]) -> (Rig, History) {
        let mut rig = Rig::new(sync);
        let mut history = History::new(&rig);
        for step in steps {
            history.step(&mut rig, step);
        }
        (rig, history)
    }

    fn note_text(&mut self, rig: &Rig, index: usize) {
        let partition = rig.node.keyspace.lock(base::PartitionId(index as u16));
        let key = (index, partition.version().0);
        let text = rig.dump_partition(&partition);
        if let Some(known) = self.texts.insert(key, text) {
            assert_eq!(known, self.texts[&key], "a version is one state");
        }
    }

    /// Takes a step and notes what it did and what it promised.
    pub fn step(&mut self, rig: &mut Rig, step: &Step) {
        let revealed = take(rig, step);
        self.note_batches(rig, step);
        if let Some(revealed) = revealed {
            if rig.node.journal.sync_mode() != SyncMode::Always {
                match rig.connection.settle(revealed) {
                    // It waits in memory for space, and nothing was promised.
                    Ok(()) | Err(journal::Error::Full) => {}
                    Err(other) => panic!("the disk takes it: {other}"),
                }
            }
            self.waiting.push(revealed);
        }
        self.note_promises(rig);
    }

    fn note_batches(&mut self, rig: &Rig, step: &Step) {
        let (mut state, after) = (self.states[self.states.len() - 1].clone(), rig.versions());
        let changed: Vec<usize> = (0..after.len()).filter(|index| state.versions[*index] != after[*index]).collect();
        for index in &changed {
            assert_eq!(state.versions[*index] + 1, after[*index], "one batch in a partition at a time: {step:?}");
            self.note_text(rig, *index);
            state.versions[*index] = after[*index];
            state.end = rig.node.keyspace.lock(base::PartitionId(*index as u16)).revealed;
            // What has ended goes by one batch for each partition, in their order; a command is one batch.
            if matches!(step, Step::Expire) {
                self.states.push(state.clone());
            }
        }
        if !changed.is_empty() && !matches!(step, Step::Expire) {
            self.states.push(state);
        }
    }

    fn note_promises(&mut self, rig: &Rig) {
        let settled = self.waiting.iter().copied().filter(|revealed| rig.node.is_settled(*revealed)).max();
        if let Some(state) = settled.and_then(|end| self.states.iter().rposition(|state| state.end <= end)) {
            self.promises.push(Promise { ops: rig.disk.trace_count(), state });
        }
        self.waiting.retain(|revealed| !rig.node.is_settled(*revealed));
    }

    /// The most partitions that one batch changed.
    pub fn partitions_changed_at_once(&self) -> usize {
        let changed = |pair: &[State]| pair[0].versions.iter().zip(&pair[1].versions).filter(|(a, b)| a != b).count();
        self.states.windows(2).map(changed).max().unwrap_or(0)
    }

    /// The state promised by operation `ops`.
    fn promised(&self, ops: usize) -> usize {
        self.promises.iter().filter(|promise| promise.ops <= ops).map(|promise| promise.state).max().unwrap_or(0)
    }

    /// The node found after a crash at `cut`, or why it is not what may be found: with every promise kept, or with
    /// any state that once was.
    pub fn after_crash(&self, disk: &SimDisk, cut: Cut, loss: Loss, is_promised: bool) -> Result<Rig, String> {
        let found = Rig::open(&disk.crash(cut, loss)).map_err(|error| format!("{cut:?} {loss:?}: refused: {error}"))?;
        let promised = if is_promised { self.promised(cut.ops) } else { 0 };
        match self.fault_in(&found, promised) {
            Some(fault) => Err(format!("{cut:?} {loss:?}: {fault}")),
            None => Ok(found),
        }
    }

    /// Why an opened node is not in a state at or after number `promised`.
    pub fn fault_in(&self, found: &Rig, promised: usize) -> Option<String> {
        let versions = found.versions();
        let Some(state) = self.states.iter().rposition(|state| state.versions == versions) else {
            return Some(format!("no prefix of the batches gives versions {versions:?}"));
        };
        if state < promised {
            return Some(format!("state {state} of {promised} promised"));
        }
        found.node.keyspace.ids().find_map(|id| {
            let text = found.dump_partition(&found.node.keyspace.lock(id));
            let expected = &self.texts[&(id.index(), versions[id.index()])];
            (*expected != text).then(|| first_difference(expected, &text))
        })
    }
}

/// The first lines that differ.
pub fn first_difference(expected: &str, found: &str) -> String {
    let short = |line: &str| {
        if line.len() > 300 { format!("{}… {} bytes", &line[..300], line.len()) } else { line.to_owned() }
    };
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let missing = expected.iter().find(|line| !found.contains(line)).map_or("(nothing)", |line| line);
    let extra = found.iter().find(|line| !expected.contains(line)).map_or("(nothing)", |line| line);
    format!("\nexpected {}\nfound    {}", short(missing), short(extra))
}
