//! Every flipped bit of a small data directory: refused with file and offset, or without consequence.
//!
//! What a checksum cannot tell from a write that a crash cut short is measured here, bit by bit: records at or past the
//! last place that a later record, a mark or a checkpoint knows as durable. There the journal may end earlier, in a state
//! that once was; never in one that was not.

use crate::history::{History, first_difference};
use crate::rig::Rig;
use crate::steps::Step;
use journal::{Error, Position, SyncMode};
use node::OpenError;
use node::manifest::MANIFEST_PATH;
use sim::SimDisk;
use std::collections::BTreeMap;

/// What opening a directory with one flipped bit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Refused, this file named.
    Refused,
    /// The state it was closed with.
    Same,
    /// A state from before.
    Earlier,
    /// One value cannot be read, and its segment is named; all others are there.
    Unreadable,
}

fn command(line: &str) -> Step {
    Step::Command(line.split(' ').map(|word| word.as_bytes().to_vec()).collect())
}

fn commands(lines: &[&str]) -> Vec<Step> {
    lines.iter().map(|line| command(line)).collect()
}

/// A directory with all kinds of content: records of every kind, checkpoints that begin in the middle of the journal,
/// values at home in the journal only.
fn run(sync: SyncMode, tail: &[Step]) -> (Rig, History) {
    let long = "x".repeat(20);
    let mut steps = commands(&["SET a 1", &format!("SET b {long}"), "HSET h f 1", "MSET c 1 d 2", "DEL c"]);
    steps.extend([Step::Sync, Step::Spill, Step::Checkpoint]);
    steps.extend(commands(&["INCR a", "HSET h g 2", "APPEND b y"]));
    steps.extend_from_slice(tail);
    History::of(sync, &steps)
}

/// Bytes of a file up to the last that is not zero, and a few of the zeros behind, which are all alike.
fn used(bytes: &[u8]) -> usize {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    (end + 16).min(bytes.len())
}

fn names_file(error: &OpenError, path: &str) -> bool {
    match error {
        OpenError::Corrupt { file, .. } | OpenError::Journal(Error::Corrupt { file, .. }) => file == path,
        // A batch changes a value in place that lies in a damaged record before the place where replay starts.
        OpenError::Journal(Error::Visitor { source, .. }) => source.to_string().starts_with(path),
        _ => false,
    }
}

fn outcome(history: &History, live: &str, disk: &SimDisk, path: &str, bit: usize) -> Outcome {
    let bent = SimDisk::holding(disk.content());
    bent.flip_bit(path, bit);
    let found = match Rig::open(&bent) {
        Err(error) => {
            assert!(names_file(&error, path), "bit {bit} of {path}: {error}");
            return Outcome::Refused;
        }
        Ok(found) => found,
    };
    let text = match found.try_dump() {
        Err(error) => {
            assert!(error.to_string().contains(path), "bit {bit} of {path}: {error}");
            return Outcome::Unreadable;
        }
        Ok(text) => text,
    };
    if text == live {
        return Outcome::Same;
    }
    let fault = history.fault_in(&found, 0);
    assert_eq!(fault, None, "bit {bit} of {path}: {}", first_difference(live, &text));
    Outcome::Earlier
}

/// Flips every bit; for each file, the runs of bytes that share the set of what their bits came to.
fn flip_all(history: &History, live: &str, disk: &SimDisk) -> BTreeMap<String, Vec<Vec<Outcome>>> {
    let each_file = |(path, bytes): (String, Vec<u8>)| {
        let of_byte = |byte: usize| {
            let mut seen: Vec<Outcome> =
                (0..8).map(|bit| outcome(history, live, disk, &path, byte * 8 + bit)).collect();
            seen.sort_unstable();
            seen.dedup();
            seen
        };
        let outcomes = (0..used(&bytes)).map(of_byte).collect();
        (path, outcomes)
    };
    disk.content().into_iter().map(each_file).collect()
}

fn assert_all(outcomes: &[Vec<Outcome>], wanted: Outcome, what: &str) {
    let other = outcomes.iter().position(|seen| *seen != [wanted]);
    assert_eq!(other, None, "{what}: {:?}", other.map(|byte| &outcomes[byte]));
}

/// What is found when the process is killed now, flipped everywhere.
fn flip_killed(rig: &Rig, history: &History) -> BTreeMap<String, Vec<Vec<Outcome>>> {
    let disk = SimDisk::holding(rig.disk.content());
    let live = Rig::open(&SimDisk::holding(disk.content())).expect("a killed node opens").dump();
    flip_all(history, &live, &disk)
}

/// Checks what is the same however the directory was left: manifest, checkpoints, and the journal before `known`.
fn assert_refused_before(outcomes: &BTreeMap<String, Vec<Vec<Outcome>>>, known: Position) {
    let segment = journal::segment_path(known.segment);
    for (path, outcomes) in outcomes {
        if path == MANIFEST_PATH || path.starts_with("checkpoints/") {
            assert_all(outcomes, Outcome::Refused, path);
        }
        if *path == segment {
            for (byte, seen) in outcomes.iter().enumerate().take(known.offset as usize) {
                assert!(!seen.contains(&Outcome::Earlier), "byte {byte} of {path}");
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_closed_directory_is_refused_or_changes_nothing() {
    let (rig, history) = run(SyncMode::Always, &[]);
    let live = rig.dump();
    let content_end = rig.node.journal.content_end();
    let disk = rig.close();
    let outcomes = flip_all(&history, &live, &disk);
    assert_refused_before(&outcomes, content_end);
    let journal = &outcomes[&journal::segment_path(content_end.segment)];
    assert_all(&journal[content_end.offset as usize..], Outcome::Same, "the mark and the zeros behind it");
}

#[test]
fn every_flipped_bit_after_a_kill_of_an_idle_node_is_refused_or_changes_nothing() {
    let (rig, history) = run(SyncMode::EverySec, &[command("SET e 1"), Step::Idle]);
    let content_end = rig.node.journal.content_end();
    let outcomes = flip_killed(&rig, &history);
    assert_refused_before(&outcomes, content_end);
    let journal = &outcomes[&journal::segment_path(content_end.segment)];
    assert_all(&journal[content_end.offset as usize..], Outcome::Same, "the mark and the zeros behind it");
}

/// In `always`, what cannot be told from a torn write is the last synced group, for as long as neither another one nor,
/// a tenth of a second later, a mark has followed.
#[test]
fn after_a_kill_under_load_only_bits_of_the_last_synced_group_can_cost_it() {
    let tail = [command("SET e 1"), Step::Sync, command("SET e 2"), Step::Sync];
    let (rig, history) = run(SyncMode::Always, &tail);
    let (known, end) = last_record(&rig);
    let outcomes = flip_killed(&rig, &history);
    assert_refused_before(&outcomes, known);
    let journal = &outcomes[&journal::segment_path(end.segment)];
    assert_all(&journal[known.offset as usize..end.offset as usize], Outcome::Earlier, "the last group");
}

/// In the other modes it is what was written since the last sync, or since the last checkpoint, which syncs.
#[test]
fn after_a_kill_without_syncs_only_bits_written_since_the_last_checkpoint_can_cost_what_follows_them() {
    let (rig, history) = run(SyncMode::Os, &[]);
    let known = checkpoint_end(&rig);
    let end = rig.node.journal.content_end();
    let outcomes = flip_killed(&rig, &history);
    assert_refused_before(&outcomes, known);
    let journal = &outcomes[&journal::segment_path(end.segment)];
    assert_all(&journal[known.offset as usize..end.offset as usize], Outcome::Earlier, "since the checkpoint");
}

/// Where the last record begins and ends.
fn last_record(rig: &Rig) -> (Position, Position) {
    let end = rig.node.journal.content_end();
    let mut last = Position::ZERO;
    let mut visit = |at: Position, _: &journal::Record<'_>| {
        last = at;
        Ok(())
    };
    rig.node.journal.scan_segment(end.segment, &mut visit).expect("the journal is sound");
    (last, end)
}

/// The place up to which the checkpoints of a directory know the journal.
fn checkpoint_end(rig: &Rig) -> Position {
    let load = |(path, bytes): (String, Vec<u8>)| {
        let number = path.strip_prefix("checkpoints/")?.strip_suffix(".ckpt")?.parse().ok()?;
        let mut partition = keyspace::Partition::new(base::PartitionId(number));
        Some(keyspace::checkpoint::load(&bytes, &mut partition).expect("it is sound").end)
    };
    rig.disk.content().into_iter().filter_map(load).max().expect("there are checkpoints")
}

/// Partitions that nobody wrote to since would come up empty, and nothing in the journal would tell.
#[test]
fn a_missing_checkpoint_is_refused_unless_the_journal_reaches_back_to_the_beginning() {
    let (rig, _) = run(SyncMode::Os, &[Step::Idle]);
    let live = rig.dump();
    for id in rig.node.keyspace.ids() {
        let path = node::open::checkpoint_path(id);
        let mut content = rig.disk.content();
        content.remove(&path).expect("each partition has one");
        assert_eq!(Rig::open(&SimDisk::holding(content)).expect("the journal is whole").dump(), live);
    }
    let filled = "x".repeat(60_000);
    let mut steps = commands(&[&format!("SET b {filled}"), &format!("SET b {filled}"), "SET a 1", "DEL b"]);
    steps.push(Step::Checkpoint);
    let (rig, _) = History::of(SyncMode::Os, &steps);
    assert!(!rig.disk.content().contains_key("journal/00000001.seg"), "the first segment went");
    for id in rig.node.keyspace.ids() {
        let path = node::open::checkpoint_path(id);
        let mut content = rig.disk.content();
        content.remove(&path);
        let refused = Rig::open(&SimDisk::holding(content)).err().expect("refused");
        assert!(names_file(&refused, &path), "{refused}");
    }
}
