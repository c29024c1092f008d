//! Reading records back: one by its position, or a whole segment.
//!
//! # Invariants
//! - No body is returned before both checksums held.
//! - A read sees every record whose `append` returned, wherever its bytes are now: buffer, in flight, file.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use env::ReadMode;

use crate::error::{BoxError, Error};
use crate::journal::Journal;
use crate::position::{Position, SegmentId};
use crate::record::{Damage, HEAD_BYTES, RawRecord, Record, RecordHead, RecordKind, VerifiedHead, record_bytes};
use crate::segment::{HEADER_BYTES, Segment, segment_path};
use crate::window::Window;

/// Bytes read before a record's length is known; most records end within them.
const READ_FIRST_BYTES: usize = 4096;

/// What reading a record came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadNow {
    /// The record: its head, and where in the caller's buffer its body lies.
    Record(RecordHead, Range<usize>),
    /// It is not in memory; ask again off the path with [`ReadMode::Wait`].
    WouldBlock,
}

impl Journal {
    /// Reads the record at `at`, a start that [`Journal::append`] returned or a replay visited, into `buf`,
    /// whose content is replaced.
    ///
    /// # Cost
    /// One read of 4 KiB, and a second one for a longer record. No allocation once `buf` is large enough.
    /// # Errors
    /// `Corrupt` when a checksum does not hold; `SegmentUnknown` when the segment was removed: look the
    /// position up again; `PositionUnknown` when no record with content starts there.
    pub fn read(&self, at: Position, mode: ReadMode, buf: &mut Vec<u8>) -> Result<ReadNow, Error> {
        if self.written() <= at {
            match self.read_unwritten(at, mode, buf)? {
                Unwritten::Found(read) => return Ok(read),
                Unwritten::WouldBlock => return Ok(ReadNow::WouldBlock),
                Unwritten::Written => {}
            }
        }
        let segment = match (self.catalog.peek(at.segment)?, mode) {
            (Some(segment), _) => segment,
            (None, ReadMode::NoWait) => return Ok(ReadNow::WouldBlock),
            (None, ReadMode::Wait) => self.catalog.open(&*self.disk, at.segment)?,
        };
        match read_file(&segment, at, mode, buf) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => Ok(ReadNow::WouldBlock),
            other => other,
        }
    }

    fn read_unwritten(&self, at: Position, mode: ReadMode, buf: &mut Vec<u8>) -> Result<Unwritten, Error> {
        {
            let tail = self.tail.lock();
            let in_buffer = at.segment == tail.segment.id && tail.buffer_start <= at.offset;
            if in_buffer {
                let start = (at.offset - tail.buffer_start) as usize;
                return read_memory(&tail.buffer, start, tail.segment.salt, at, buf);
            }
        }
        let writer = match mode {
            ReadMode::Wait => self.writer.lock(),
            ReadMode::NoWait => match self.writer.try_lock() {
                Some(writer) => writer,
                None => return Ok(Unwritten::WouldBlock),
            },
        };
        if at < self.written() {
            return Ok(Unwritten::Written);
        }
        let in_flight = writer.at <= at && at < writer.end();
        if in_flight {
            return read_memory(&writer.bytes, (at.offset - writer.at.offset) as usize, writer.salt(), at, buf);
        }
        drop(writer);
        // It moved from the buffer into flight, or further, between the two looks, or never was.
        if at < self.written() { Ok(Unwritten::Written) } else { Err(Error::PositionUnknown { at }) }
    }

    /// Visits every record with content of one segment, in order; of the active one, those written so far.
    ///
    /// # Errors
    /// `Corrupt` at the first record whose checksum does not hold; `Visitor` when the visitor refused.
    pub fn scan_segment(
        &self,
        id: SegmentId,
        visit: &mut dyn FnMut(Position, &Record<'_>) -> Result<(), BoxError>,
    ) -> Result<(), Error> {
        let written = self.written();
        let segment = self.catalog.open(&*self.disk, id)?;
        let end = if written.segment == id { u64::from(written.offset) } else { u64::MAX };
        scan(&segment, end, visit)
    }
}

enum Unwritten {
    Found(ReadNow),
    WouldBlock,
    /// It is in the file by now.
    Written,
}

fn scan(
    segment: &Arc<Segment>,
    end: u64,
    visit: &mut dyn FnMut(Position, &Record<'_>) -> Result<(), BoxError>,
) -> Result<(), Error> {
    let mut window = Window::new(segment, end)?;
    let mut offset = HEADER_BYTES;
    while u64::from(offset) < window.end() {
        let at = Position { segment: segment.id, offset };
        let record = window.record(offset)?.map_err(|damage| corrupt(at, damage))?;
        if record.head.kind == RecordKind::Seal {
            return Ok(());
        }
        if record.head.kind.is_content() {
            visit(at, &record).map_err(|source| Error::Visitor { at, source })?;
        }
        offset += record_bytes(record.body.len() as u32);
    }
    Ok(())
}

fn corrupt(at: Position, damage: Damage) -> Error {
    Error::Corrupt { file: segment_path(at.segment), offset: u64::from(at.offset), damage }
}

fn read_memory(bytes: &[u8], start: usize, salt: u64, at: Position, buf: &mut Vec<u8>) -> Result<Unwritten, Error> {
    let bytes = bytes.get(start..).unwrap_or_default();
    if bytes.is_empty() {
        return Err(Error::PositionUnknown { at });
    }
    let record = RawRecord { bytes, salt, at }.verify().map_err(|_| Error::PositionUnknown { at })?;
    if !record.head.kind.is_content() {
        return Err(Error::PositionUnknown { at });
    }
    buf.clear();
    buf.extend_from_slice(record.body);
    Ok(Unwritten::Found(ReadNow::Record(record.head, 0..buf.len())))
}

pub(crate) fn read_file(segment: &Segment, at: Position, mode: ReadMode, buf: &mut Vec<u8>) -> Result<ReadNow, Error> {
    let read_at = |offset: u64, buf: &mut [u8]| {
        let read = segment.file.read_at(offset, buf, mode);
        read.map_err(|error| Error::io("read", &segment_path(segment.id), error))
    };
    buf.resize(buf.len().max(READ_FIRST_BYTES), 0);
    let mut filled = read_at(u64::from(at.offset), &mut buf[..READ_FIRST_BYTES])?;
    let salt = segment.salt;
    let head = RawRecord { bytes: &buf[..filled], salt, at }.verify_head().map_err(|damage| corrupt(at, damage))?;
    if !head.head.kind.is_content() {
        return Err(Error::PositionUnknown { at });
    }
    let bytes = head.record_bytes() as usize;
    if READ_FIRST_BYTES < bytes {
        grow(segment, at, &head, buf)?;
        filled += read_at(u64::from(at.offset) + filled as u64, &mut buf[filled..bytes])?;
    }
    let record = RawRecord { bytes: &buf[..filled], salt, at };
    record.verify_body(&head).map_err(|damage| corrupt(at, damage))?;
    let body = HEAD_BYTES as usize;
    Ok(ReadNow::Record(head.head, body..body + head.body_bytes as usize))
}

/// Makes room in `buf` for the record, unless the file ends before it does.
fn grow(segment: &Segment, at: Position, head: &VerifiedHead, buf: &mut Vec<u8>) -> Result<(), Error> {
    let bytes = head.record_bytes() as usize;
    if buf.len() < bytes {
        let file_bytes = segment.file.size_bytes();
        let file_bytes = file_bytes.map_err(|error| Error::io("measure", &segment_path(segment.id), error))?;
        if file_bytes < u64::from(at.offset) + bytes as u64 {
            return Err(corrupt(at, Damage::Short));
        }
        buf.resize(bytes, 0);
    }
    Ok(())
}
