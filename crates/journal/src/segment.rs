//! One file of the journal: its name, its header, its creation.
//!
//! ```text
//! journal/00000001.seg
//!  0  magic       8 bytes  "LARDERSG"
//!  8  format      u32      FORMAT_VERSION
//! 12  segment     u32      the number in the file's name
//! 16  salt        u64      drawn at random, mixed into every record's checksum
//! 24  zero        u32
//! 28  header_crc  u32      CRC-32C of bytes 0..28
//! 32  records
//! ```
//!
//! # Invariants
//! - The header and the file's name are durable before the first record is written, so a segment with records
//!   and without a valid header is damage, never the trace of a crash.
//! - The file's space is taken when it is created: writing a record cannot run out of space.

use std::io;
use std::sync::Arc;

use base::checksum::crc32c;
use env::{Disk, File, ReadMode};

use crate::error::Error;
use crate::position::{ALIGN_BYTES, Position, SegmentId};
use crate::record::Damage;

/// The directory of the segments, below the data directory.
pub const JOURNAL_DIR: &str = "journal";
/// Bytes before the first record.
pub const HEADER_BYTES: u32 = 32;
/// The format this release writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"LARDERSG";
const SUFFIX: &str = ".seg";
const _: () = assert!(HEADER_BYTES.is_multiple_of(ALIGN_BYTES));

/// The file of a segment, below the data directory.
pub fn segment_path(id: SegmentId) -> String {
    format!("{JOURNAL_DIR}/{id}{SUFFIX}")
}

/// An open segment with a valid header.
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) salt: u64,
    pub(crate) file: Arc<dyn File>,
}

impl Segment {
    /// Where the first record lies.
    pub(crate) fn first(&self) -> Position {
        Position { segment: self.id, offset: HEADER_BYTES }
    }

    /// Creates the segment with `segment_bytes` of space, replacing a file of its name that holds no record.
    ///
    /// # Durability
    /// Header and name are durable on return.
    /// # Errors
    /// No file is left behind unless removing it fails too.
    pub(crate) fn create(disk: &dyn Disk, id: SegmentId, salt: u64, segment_bytes: u64) -> Result<Segment, Error> {
        let path = segment_path(id);
        match disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", &path, error)),
            _ => {}
        }
        let file = disk.create_new(&path).map_err(|error| Error::space_or_io("create", &path, error))?;
        let filled = file.allocate(segment_bytes).and_then(|()| file.write_at(0, &header(id, salt)));
        if let Err(error) = filled {
            disk.remove(&path).map_err(|error| Error::io("remove", &path, error))?;
            return Err(Error::space_or_io("allocate", &path, error));
        }
        match file.sync_data().and_then(|()| disk.sync_dir(JOURNAL_DIR)) {
            Ok(()) => Ok(Segment { id, salt, file }),
            // The directory could not even be opened for its sync: nothing was tried that must not be tried again.
            Err(error) if env::is_out_of_descriptors(&error) => {
                disk.remove(&path).map_err(|error| Error::io("remove", &path, error))?;
                Err(Error::Full)
            }
            Err(source) => Err(Error::SyncFailed { file: path, source }),
        }
    }

    /// Opens the segment and verifies its header.
    pub(crate) fn open(disk: &dyn Disk, id: SegmentId) -> Result<Segment, Error> {
        let path = segment_path(id);
        let file = disk.open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::SegmentUnknown { id },
            _ => Error::io("open", &path, error),
        })?;
        let mut bytes = [0; HEADER_BYTES as usize];
        file.read_at(0, &mut bytes, ReadMode::Wait).map_err(|error| Error::io("read", &path, error))?;
        let salt = header_salt(&bytes, id).map_err(|fault| match fault {
            HeaderFault::Damaged => Error::Corrupt { file: path.clone(), offset: 0, damage: Damage::Header },
            HeaderFault::Format(version) => Error::FormatUnknown { file: path.clone(), version },
        })?;
        Ok(Segment { id, salt, file })
    }
}

/// Numbers of all segment files, ascending. Other files are nobody's business here.
pub(crate) fn list(disk: &dyn Disk) -> Result<Vec<SegmentId>, Error> {
    let names = disk.list(JOURNAL_DIR).map_err(|error| Error::io("list", JOURNAL_DIR, error))?;
    let mut ids: Vec<SegmentId> = names.iter().filter_map(|name| parse_name(name)).collect();
    ids.sort_unstable();
    Ok(ids)
}

fn parse_name(name: &str) -> Option<SegmentId> {
    let id = SegmentId(name.strip_suffix(SUFFIX)?.parse().ok()?);
    let ours = id <= SegmentId::MAX && format!("{id}{SUFFIX}") == name;
    ours.then_some(id)
}

fn header(id: SegmentId, salt: u64) -> [u8; HEADER_BYTES as usize] {
    let mut bytes = [0; HEADER_BYTES as usize];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&id.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&salt.to_le_bytes());
    let crc = crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[derive(Debug, PartialEq)]
enum HeaderFault {
    Damaged,
    Format(u32),
}

fn header_salt(bytes: &[u8; HEADER_BYTES as usize], id: SegmentId) -> Result<u64, HeaderFault> {
    let mut reader = base::Reader::new(bytes);
    let damaged = |_| HeaderFault::Damaged;
    let magic = reader.array::<8>().map_err(damaged)?;
    let format = reader.u32().map_err(damaged)?;
    let segment = reader.u32().map_err(damaged)?;
    let salt = reader.u64().map_err(damaged)?;
    let zero = reader.u32().map_err(damaged)?;
    let crc = reader.u32().map_err(damaged)?;
    if &magic != MAGIC || crc != crc32c(&bytes[..28]) {
        return Err(HeaderFault::Damaged);
    }
    if format != FORMAT_VERSION || zero != 0 {
        return Err(HeaderFault::Format(format));
    }
    if segment != id.0 {
        return Err(HeaderFault::Damaged);
    }
    Ok(salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments_and_only_those_parse() {
        for id in [1, 42, 99_999_999, 100_000_000, SegmentId::MAX.0].map(SegmentId) {
            assert_eq!(parse_name(&format!("{id}.seg")), Some(id));
        }
        for name in ["1.seg", "00000001", "00000001.seg.tmp", "+0000001.seg", "x.seg", "268435456.seg", ".seg"] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }

    #[test]
    fn every_flip_of_a_header_is_caught() {
        let whole = header(SegmentId(9), 77);
        assert_eq!(header_salt(&whole, SegmentId(9)), Ok(77));
        assert_eq!(header_salt(&whole, SegmentId(8)), Err(HeaderFault::Damaged));
        for flip in 0..whole.len() * 8 {
            let mut bent = whole;
            bent[flip / 8] ^= 1 << (flip % 8);
            assert_eq!(header_salt(&bent, SegmentId(9)), Err(HeaderFault::Damaged));
        }
    }

    #[test]
    fn a_later_format_is_named_not_called_damage() {
        let mut bytes = header(SegmentId(9), 77);
        bytes[8] = 2;
        let crc = crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(header_salt(&bytes, SegmentId(9)), Err(HeaderFault::Format(2)));
    }
}
