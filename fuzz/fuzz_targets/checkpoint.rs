//! Any bytes as a checkpoint: loading never panics, keeps to memory in proportion, and what loads can be written and
//! loaded again as the same partition, its collections in pieces.
//!
//! With an even first byte the checksums are made to hold, or the fuzzer would spend its life computing CRCs.

#![no_main]

use base::checksum::crc32c;
use base::{DB_COUNT, PartitionId};
use journal::Position;
use keyspace::Partition;
use keyspace::checkpoint::{self, BlockWriter, Header};
use keyspace::entry::Stored;
use keyspace::pieces::PieceLimits;
use libfuzzer_sys::fuzz_target;

const PARTITION: PartitionId = PartitionId(3);
const HEADER_BYTES: usize = 52;
const END_BYTES: usize = 24;
/// Every collection in pieces of one element, where an element can be told.
const PIECES: PieceLimits = PieceLimits { value_bytes_min: 0, piece_bytes_max: 1, element_count_max: 1 };

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

fn put_u32(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

/// Makes the checksums hold; see docs/format.md.
fn seal(file: &mut [u8]) {
    if file.len() < HEADER_BYTES {
        return;
    }
    file[..8].copy_from_slice(b"LARDERCP");
    put_u32(file, 8, 2);
    file[12..14].copy_from_slice(&PARTITION.0.to_le_bytes());
    let crc = crc32c(&file[..HEADER_BYTES - 4]);
    put_u32(file, HEADER_BYTES - 4, crc);
    let (mut at, mut number) = (HEADER_BYTES, 0u32);
    while at + 8 <= file.len() {
        let body_bytes = u32_at(file, at);
        if body_bytes == 0 {
            break;
        }
        let Some(body) = file.get(at + 8..at + 8 + body_bytes as usize) else { return };
        let crc = crc32c(body) ^ crc32c(&[number.to_le_bytes(), body_bytes.to_le_bytes()].concat());
        put_u32(file, at + 4, crc);
        at += 8 + body_bytes as usize;
        number += 1;
    }
    if file.len() == at + END_BYTES {
        let crc = crc32c(&[&number.to_le_bytes()[..], &file[at..at + END_BYTES - 4]].concat());
        put_u32(file, at + END_BYTES - 4, crc);
    }
}

fn write(partition: &mut Partition, header: Header, end: Position) -> Vec<u8> {
    let (mut out, mut blocks) = (Vec::new(), BlockWriter::new(PIECES));
    header.encode(&mut out);
    for db in 0..DB_COUNT as u8 {
        let mut cursor = 0;
        loop {
            cursor = blocks.add_bucket(partition, db, cursor);
            while blocks.has_large() {
                blocks.add_piece(partition);
            }
            if cursor == 0 {
                break;
            }
        }
    }
    blocks.finish(end, &mut out);
    out
}

/// Asserts that both hold the same keys with the same values and properties.
fn assert_same(partition: &Partition, other: &Partition) {
    for db in 0..DB_COUNT as u8 {
        assert_eq!(partition.index(db).len(), other.index(db).len());
        partition.index(db).each(|entry| {
            let place = other.find(db, entry.key()).expect("every key is there");
            let twin = other.index(db).entry(place);
            assert_eq!((entry.meta(), entry.kind()), (twin.meta(), twin.kind()));
            let is_same = match (entry.stored(), twin.stored()) {
                (Stored::Inline(bytes), Stored::Inline(twin)) => bytes == twin,
                (Stored::Int(number), Stored::Int(twin)) => number == twin,
                (Stored::Boxed(value), Stored::Boxed(twin)) => value == twin,
                (Stored::Spilled, Stored::Spilled) => true,
                _ => false,
            };
            assert!(is_same, "{:?} has its value", entry.key());
        });
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let mut file = bytes.to_vec();
    if choice % 2 == 0 {
        seal(&mut file);
    }
    let mut partition = Partition::new(PARTITION);
    let Ok(loaded) = checkpoint::load(&file, &mut partition) else { return };
    assert!(loaded.entry_count <= file.len() as u64, "entries take bytes");
    let written = write(&mut partition, loaded.header, loaded.end);
    let mut again = Partition::new(PARTITION);
    let reloaded = checkpoint::load(&written, &mut again).expect("what was written loads");
    assert_eq!((reloaded.header, reloaded.end), (loaded.header, loaded.end));
    assert_same(&partition, &again);
});
