//! Checkpoints written piece by piece between commands: with the journal behind them they give the exact state.
//!
//! The node's own checkpointer gets no command in between while one thread runs everything (`writers.rs` has threads);
//! here each bucket is written by hand, so that a failure is a short script.

use crate::history::first_difference;
use crate::rig::Rig;
use crate::steps::{Step, on_collections, steps, take};
use journal::SyncMode;
use keyspace::checkpoint::{BlockWriter, Header};
use keyspace::partition::Partition;
use keyspace::pieces::PieceLimits;
use node::expiry::ENDED_BATCH_MAX;
use node::open::checkpoint_path;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sim::SimDisk;

/// Every collection in pieces of one or two elements.
const PIECES: PieceLimits = PieceLimits { value_bytes_min: 0, piece_bytes_max: 1, element_count_max: 1 };

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
        Draft { header, blocks: BlockWriter::new(PIECES), at: (0, 0) }
    }

    /// Writes one bucket, or one piece. Databases without keys have a bucket too.
    fn go_on(&mut self, partition: &mut Partition) {
        let (db, bucket) = self.at;
        if self.blocks.has_large() {
            self.blocks.add_piece(partition);
        } else if db < keyspace::PHYSICAL_DB_COUNT {
            let next = self.blocks.add_bucket(partition, db, bucket);
            self.at = if next == 0 { (db + 1, 0) } else { (db, next) };
        }
    }

    fn finish(mut self, rig: &Rig, partition: &mut Partition) -> Vec<u8> {
        while self.at.0 < keyspace::PHYSICAL_DB_COUNT || self.blocks.has_large() {
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
            draft.go_on(&mut rig.node.keyspace.lock(*id));
        }
    }
    for draft in &mut drafts {
        bend(&mut draft.header);
    }
    let finish = |(id, draft): (&base::PartitionId, Draft)| {
        (checkpoint_path(*id), draft.finish(&rig, &mut rig.node.keyspace.lock(*id)))
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

fn check_all(
    cases: u32,
    sequences: impl Strategy<Value = (Vec<Step>, Vec<Step>)>,
    bend: impl Fn(&mut Header),
) -> Result<(), String> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&sequences, |(before, during)| check(&before, &during, &bend));
    outcome.map_err(|failure| failure.to_string())
}

#[test]
fn checkpoints_written_while_commands_run_give_the_exact_state() {
    if let Err(failure) = check_all(3_000, (steps(30), steps(30)), |_| {}) {
        panic!("{failure}");
    }
}

#[test]
fn collections_written_in_pieces_while_commands_change_them_are_exact() {
    if let Err(failure) = check_all(1_500, (on_collections(20..60), on_collections(10..80)), |_| {}) {
        panic!("{failure}");
    }
}

/// A planted bug the oracle must find: a checkpoint that claims a batch it does not hold for certain.
#[test]
fn a_checkpoint_that_starts_a_batch_too_late_is_caught() {
    let bend = |header: &mut Header| header.start_version = header.start_version.next();
    check_all(500, (steps(30), steps(30)), bend).expect_err("the oracle saw nothing");
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

/// The row that was begun is of no use, and the key is written as it is then.
#[test]
fn a_collection_that_is_replaced_between_two_pieces_is_written_anew() {
    let before = [command("ZADD z 1 v 2 w 3 x 4 y"), command("RPUSH l 1 2 3 4")];
    let replaced: [&[&str]; 4] =
        [&["DEL z l"], &["DEL z l", "ZADD z 7 v", "RPUSH l x"], &["SET z 1", "SET l 1"], &["RENAME z o", "RENAME l z"]];
    for commands in replaced {
        let during: Vec<Step> =
            [Step::Idle, Step::Idle].into_iter().chain(commands.iter().map(|line| command(line))).collect();
        check(&before, &during, |_| {}).expect("the exact state");
    }
    let during = [Step::Idle, Step::Idle, command("PEXPIRE z 5"), command("PEXPIRE l 5"), Step::Wait(9), Step::Expire];
    check(&before, &during, |_| {}).expect("the exact state");
    check(&before, &[Step::Idle, Step::Idle, Step::Spill], |_| {}).expect("the exact state");
}
