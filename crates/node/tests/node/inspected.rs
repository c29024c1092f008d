//! `check` and `repair` agree with opening: what one refuses the other names, and what is repaired opens.

use crate::history::History;
use crate::rig::{PARTITION_COUNT, Rig};
use crate::steps::Step;
use base::PartitionId;
use base::checksum::crc32c;
use env::Disk;
use journal::{Damage, Error, Position, SyncMode};
use keyspace::{Partition, checkpoint};
use node::OpenError;
use node::inspect::{self, Report, Salvage};
use node::open::checkpoint_path;
use sim::SimDisk;
use std::collections::BTreeMap;
use std::sync::Arc;

type Content = BTreeMap<String, Vec<u8>>;

fn run(lines: &[&str]) -> Content {
    let command = |line: &&str| Step::Command(line.split(' ').map(|word| word.as_bytes().to_vec()).collect());
    let mut steps: Vec<Step> = lines.iter().map(command).collect();
    steps.push(Step::Checkpoint);
    let (rig, _) = History::of(SyncMode::Os, &steps);
    rig.close().content()
}

fn check(content: &Content) -> Result<Report, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::holding(content.clone()));
    inspect::check(&disk)
}

/// What repair leaves.
fn repair(content: &Content) -> Result<SimDisk, OpenError> {
    let held = SimDisk::holding(content.clone());
    let disk: Arc<dyn Disk> = Arc::new(held.clone());
    inspect::repair(&disk, Salvage::Records, 7).map(|_| held)
}

fn open(content: &Content) -> Result<Rig, OpenError> {
    Rig::open(&SimDisk::holding(content.clone()))
}

/// A value that fills a segment.
fn filled() -> String {
    format!("SET filled {}", "x".repeat(60_000))
}

#[test]
fn a_journal_that_ends_before_what_checkpoints_speak_of_is_named_and_never_called_sound() {
    let mut content = run(&["SET a 1", "SET b 2", "INCR a"]);
    assert!(check(&content).expect("it is sound").problems.is_empty());
    let load = |id| {
        let path = checkpoint_path(id);
        checkpoint::load(&content[&path], &mut Partition::new(id)).expect("it is sound").end
    };
    let end: Position = (0..PARTITION_COUNT).map(PartitionId).map(load).max().expect("there are partitions");
    let path = journal::segment_path(end.segment);
    content.get_mut(&path).expect("it is there").truncate(end.offset as usize - 1);
    assert!(matches!(open(&content).err(), Some(OpenError::Journal(Error::Corrupt { .. }))));
    let report = check(&content).expect("it can be read");
    assert!(matches!(&report.problems[..], [one] if one.starts_with(&path)), "{:?}", report.problems);
    assert!(matches!(repair(&content).err(), Some(OpenError::Corrupt { file, .. }) if file == path));
}

#[test]
fn a_missing_checkpoint_is_a_problem_exactly_when_the_journal_does_not_reach_back() {
    let whole = run(&["SET a 1"]);
    let merged = run(&[&filled(), &filled(), "SET a 1", "DEL filled"]);
    assert!(!merged.contains_key("journal/00000001.seg"), "the first segment went");
    for (content, is_problem) in [(whole, false), (merged, true)] {
        for path in (0..PARTITION_COUNT).map(PartitionId).map(checkpoint_path) {
            let mut content = content.clone();
            content.remove(&path).expect("each partition has one");
            let report = check(&content).expect("it can be read");
            assert_eq!(report.problems.iter().any(|problem| problem.starts_with(&path)), is_problem, "{path}");
            assert_eq!(open(&content).is_err(), is_problem, "{path}");
            assert_eq!(repair(&content).is_err(), is_problem, "{path}");
        }
    }
}

/// Replay from the beginning would find a segment missing.
#[test]
fn a_damaged_checkpoint_is_not_given_up_when_a_segment_behind_the_first_is_gone() {
    let kept = format!("SET kept {}", "k".repeat(100));
    let mut content = run(&[&kept, &filled(), &filled(), &filled(), "SET a 1", "DEL filled"]);
    assert!(content.contains_key("journal/00000001.seg"), "a key lives in the first segment");
    assert!(!content.contains_key("journal/00000002.seg"), "the second one went");
    assert!(check(&content).expect("it is sound").problems.is_empty());
    content.get_mut(&checkpoint_path(PartitionId(0))).expect("it is there")[20] ^= 1;
    assert_eq!(check(&content).expect("it can be read").checkpoints, [(PartitionId(0), false)]);
    assert!(matches!(repair(&content).err(), Some(OpenError::Corrupt { .. })));
}

#[test]
fn a_checkpoint_of_a_later_release_is_refused_as_such_and_never_removed() {
    const CRC_AT: usize = 48;
    let mut content = run(&["SET a 1"]);
    let path = checkpoint_path(PartitionId(1));
    let bytes = content.get_mut(&path).expect("it is there");
    bytes[8] += 1;
    let later = u32::from(bytes[8]);
    let crc = crc32c(&bytes[..CRC_AT]);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    for refused in [open(&content).err(), check(&content).err(), repair(&content).err()] {
        let Some(OpenError::Format { file, format }) = refused else { panic!("{refused:?}") };
        assert_eq!((file, format), (path.clone(), later));
    }
}

#[test]
fn a_record_of_a_later_release_is_refused_as_such_and_never_given_up() {
    const KIND_AT: usize = 12;
    const HEAD_BYTES: usize = journal::HEAD_BYTES as usize;
    let mut content = run(&["SET a 1"]);
    let bytes = content.get_mut("journal/00000001.seg").expect("it is there");
    let head = &mut bytes[journal::HEADER_BYTES as usize..][..HEAD_BYTES];
    // The checksum of a head is mixed with what makes it valid at its place only.
    let stored = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let mask = stored ^ crc32c(&head[4..]);
    head[KIND_AT] = 99;
    let crc = crc32c(&head[4..]) ^ mask;
    head[..4].copy_from_slice(&crc.to_le_bytes());
    // Without checkpoints opening reads it, too.
    content.retain(|path, _| !path.starts_with("checkpoints"));
    for refused in [open(&content).err(), check(&content).err(), repair(&content).err()] {
        let is_unknown = matches!(&refused, Some(OpenError::Journal(Error::Corrupt { damage: Damage::Unknown, .. })));
        assert!(is_unknown, "{refused:?}");
    }
}
