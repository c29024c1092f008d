//! Any bytes as the only segment of a journal: opening it never panics, what it replays is replayed alike a second
//! time, after the cut, and its batches are applied to a partition or refused.
//!
//! With an even first byte the checksums are made to hold, or the fuzzer would spend its life computing CRCs: of the
//! header, and of every record as far as lengths lead to one.

#![no_main]

use base::checksum::crc32c;
use base::{PartitionId, Version};
use journal::{
    HEAD_BYTES, HEADER_BYTES, Journal, Options, Position, Record, SEGMENT_BYTES_MIN, SegmentId, SyncMode, record_bytes,
    repair, segment_path,
};
use keyspace::partition::Stamp;
use keyspace::spilled::{self, ReadError};
use keyspace::{Home, Partition};
use libfuzzer_sys::fuzz_target;
use sim::{SimClock, SimDisk};
use std::collections::BTreeMap;
use std::sync::Arc;

const PARTITION: PartitionId = PartitionId(3);
const ACCESS: u32 = 1;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

fn put_u32(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

/// What binds a record to its place; see docs/format.md.
fn mask(salt: u64, offset: usize) -> u32 {
    let mut word = salt ^ (u64::from(SegmentId::FIRST.0) << 32 | offset as u64);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((word ^ (word >> 31)) >> 32) as u32
}

/// Makes the checksums hold.
fn seal(segment: &mut [u8]) {
    let header = HEADER_BYTES as usize;
    if segment.len() < header {
        return;
    }
    segment[..8].copy_from_slice(b"LARDERSG");
    put_u32(segment, 8, journal::FORMAT_VERSION);
    put_u32(segment, 12, SegmentId::FIRST.0);
    put_u32(segment, 24, 0);
    let crc = crc32c(&segment[..28]);
    put_u32(segment, 28, crc);
    let salt = u64::from_le_bytes(std::array::from_fn(|index| segment[16 + index]));
    let (mut at, head) = (header, HEAD_BYTES as usize);
    while at + head <= segment.len() {
        let body_bytes = u32_at(segment, at + 8) as usize;
        let Some(body) = segment.get(at + head..at + head + body_bytes) else { return };
        let body_crc = if body.is_empty() { 0 } else { crc32c(body) };
        put_u32(segment, at + 4, body_crc);
        let crc = crc32c(&segment[at + 4..at + head]) ^ mask(salt, at);
        put_u32(segment, at, crc);
        at += record_bytes(body_bytes as u32) as usize;
    }
}

/// One record as it was replayed.
type Seen = (Position, Vec<u8>);

/// Opens the journal. `None`: refused.
fn open(disk: &SimDisk) -> Option<(Vec<Seen>, Partition)> {
    let mut partition = Partition::new(PARTITION);
    let mut seen = Vec::new();
    let mut replay = |at: Position, record: &Record<'_>| {
        seen.push((at, record.body.to_vec()));
        apply(&mut partition, at, record);
        Ok(())
    };
    let options = Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        sync: SyncMode::Os,
        salt: 7,
        clock: Arc::new(SimClock::new()),
        fatal: Box::new(|error| panic!("{error}")),
    };
    let start = Some(Position { segment: SegmentId::FIRST, offset: HEADER_BYTES });
    let opened = Journal::open(Arc::new(disk.clone()), options, start, &mut replay);
    opened.is_ok().then_some((seen, partition))
}

/// Applies the batch as opening a node does, but to one partition and in any order. Bodies that are no batches are refused.
fn apply(partition: &mut Partition, at: Position, record: &Record<'_>) {
    let _refused = spilled::each_section(&record.head, record.body, |_, _, effects| {
        let version = Version(partition.version().0 + 1);
        let home = spilled::home_in(Home(at.pack()), record.body.len(), 2);
        let stamp = Stamp { version, time: record.head.time, home, access: ACCESS };
        let gone = |wanted: &spilled::Spilled| Err(ReadError::NotThere { position: wanted.position });
        let _refused = partition.replay(effects, &stamp, &mut { gone });
        drop(partition.take_garbage());
    });
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let mut segment = bytes.to_vec();
    if choice % 2 == 0 {
        seal(&mut segment);
    }
    let disk = SimDisk::holding(BTreeMap::from([(segment_path(SegmentId::FIRST), segment)]));
    let report = repair::report(&disk, None);
    let Some((seen, partition)) = open(&disk) else { return };
    assert!(report.as_ref().is_ok_and(|report| report.losses.is_empty()), "what opens has no damage: {report:?}");
    let (again, same) = open(&disk).expect("what opened once opens again");
    assert!(seen == again, "a cut gives up nothing that was replayed");
    assert_eq!(partition.used_bytes(), same.used_bytes());
});
