//! Checkpoints written piece by piece between commands: with the journal behind them they give the exact state.
//!
//! The node's own checkpointer gets no command in between while one thread runs everything (`writers.rs` has threads);
//! here each bucket is written by hand, so that a failure is a short script.

use crate::history::first_difference;
use crate::rig::Rig;
use crate::steps::{Step, steps, take};
use journal::SyncMode;
use keyspace::checkpoint::{BlockWriter, Header};
use keyspace::partition::Partition;
use node::expiry::ENDED_BATCH_MAX;
use node::open::checkpoint_path;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sim::SimDisk;

/// A checkpoint of one partition in the making.
struct Draft {
    header: Header,
    blocks: BlockWriter,
    /// The database and the bucket that come next; past the last database when all is written.
    at: (u8, u64),
}

impl Draft {
    fn begin(rig: &Rig, partition: &Partition) -> Draft {
        let header = Header {
            partition: partition.id(),
            start_version: partition.version(),
            start: rig.node.journal.content_end(),
            db_map: partition.db_map(),
        };
        Draft { header, blocks: BlockWriter::default(), at: (0, 0) }
    }

    /// Writes one bucket. Databases without keys have one too.
    fn go_on(&mut self, partition: &Partition) {
        let (db, bucket) = self.at;
        if db < keyspace::PHYSICAL_DB_COUNT {
            let next = self.blocks.add_bucket(partition, db, bucket);
            self.at = if next == 0 { (db + 1, 0) } else { (db, next) };
        }
    }

    fn finish(mut self, rig: &Rig, partition: &Partition) -> Vec<u8> {
        while self.at.0 < keyspace::PHYSICAL_DB_COUNT {
            self.go_on(partition);
        }
        let mut file = Vec::new();
        self.header.encode(&mut file);
        self.blocks.finish(rig.node.journal.content_end(), &mut file);
        file
    }
}

/// Steps that only append to the journal.
fn changes_only(steps: &[Step]) -> impl Iterator<Item = &Step> {
    steps.iter().filter(|step| !matches!(step, Step::Merge | Step::Checkpoint | Step::Reopen))
}

/// Runs `before`, begins checkpoints, runs `during` with some buckets written after each step, and gives the live
/// state and the disk of a node that was closed then.
fn run(before: &[Step], during: &[Step], mut bend: impl FnMut(&mut Header)) -> (String, SimDisk) {
    let mut rig = Rig::new(SyncMode::EverySec);
    for step in changes_only(before) {
        take(&mut rig, step);
    }
    let ids: Vec<_> = rig.node.keyspace.ids().collect();
    let mut drafts: Vec<Draft> = ids.iter().map(|id| Draft::begin(&rig, &rig.node.keyspace.lock(*id))).collect();
    for step in changes_only(during) {
        take(&mut rig, step);
        for (id, draft) in ids.iter().zip(&mut drafts) {
            draft.go_on(&rig.node.keyspace.lock(*id));
        }
    }
    for draft in &mut drafts {
        bend(&mut draft.header);
    }
    let finish = |(id, draft): (&base::PartitionId, Draft)| {
        (checkpoint_path(*id), draft.finish(&rig, &rig.node.keyspace.lock(*id)))
    };
    let files: Vec<(String, Vec<u8>)> = ids.iter().zip(drafts).map(finish).collect();
    let live = rig.dump();
    let mut content = rig.close().content();
    content.extend(files);
    (live, SimDisk::holding(content))
}

fn check(before: &[Step], during: &[Step], bend: impl Fn(&mut Header)) -> Result<(), TestCaseError> {
    let (live, disk) = run(before, during, bend);
    let found = Rig::open(&disk).map_err(|error| TestCaseError::fail(format!("refused: {error}")))?;
    let text = found.dump();
    prop_assert!(text == live, "{}", first_difference(&live, &text));
    Ok(())
}

fn check_all(cases: u32, bend: impl Fn(&mut Header)) -> Result<(), String> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome =
        TestRunner::new(config).run(&(steps(30), steps(30)), |(before, during)| check(&before, &during, &bend));
    outcome.map_err(|failure| failure.to_string())
}

#[test]
fn checkpoints_written_while_commands_run_give_the_exact_state() {
    if let Err(failure) = check_all(3_000, |_| {}) {
        panic!("{failure}");
    }
}

/// A planted bug the oracle must find: a checkpoint that claims a batch it does not hold for certain.
#[test]
fn a_checkpoint_that_starts_a_batch_too_late_is_caught() {
    check_all(500, |header| header.start_version = header.start_version.next()).expect_err("the oracle saw nothing");
}

fn command(line: &str) -> Step {
    Step::Command(line.split(' ').map(|word| word.as_bytes().to_vec()).collect())
}

/// Its fields end first, its key a little later, and the timer, which removes so much at once and no more, finds only
/// the fields: what replay makes of them must not outlive the key.
#[test]
fn a_hash_that_ended_whole_does_not_come_back_by_its_fields() {
    let others = (1..ENDED_BATCH_MAX).map(|number| command(&format!("SET {{h}}{number} x PX 40")));
    let hash = ["HSET h f 1", "PEXPIRE h 100", "HPEXPIRE h 50 FIELDS 1 f"].map(command);
    let before: Vec<Step> = [Step::Select(2)].into_iter().chain(others).chain(hash).collect();
    // The third database is written after the third step, when the hash has ended.
    let during = [command("HSET h g 2"), Step::Wait(200), Step::Expire];
    check(&before, &during, |_| {}).expect("the exact state");
}

/// Cut off where the checkpoints began, the journal lacks batches that their entries show.
#[test]
fn a_journal_that_ends_before_its_checkpoints_do_is_damaged_not_torn() {
    let before = [command("SET a 1"), command("HSET h f 1")];
    let during = [command("INCR a"), command("HSET h g 2"), Step::Sync];
    let mut start = None;
    let (_, disk) = run(&before, &during, |header| start = Some(header.start));
    let start = start.expect("there are checkpoints");
    let path = journal::segment_path(start.segment);
    let mut content = disk.content();
    content.get_mut(&path).expect("the last segment")[start.offset as usize..].fill(0);
    let refused = Rig::open(&SimDisk::holding(content)).err().expect("refused").to_string();
    assert!(refused.starts_with(&format!("{path} is damaged at offset {}", start.offset)), "{refused}");
}
