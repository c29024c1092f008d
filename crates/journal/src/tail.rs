//! The end of the journal in memory: bytes that have a place but are not in the page cache yet.
//!
//! ```text
//! active segment  [header|records in the page cache ....|in flight....|buffer....|      allocated      ]
//!                                                       ▲ written      ▲ start    ▲ tail               ▲ capacity
//! ```
//! *In flight* belongs to the [`Writer`]: taken out of the buffer, on its way into the page cache, kept while
//! the device has no space. The buffer takes new records meanwhile.
//!
//! # Invariants
//! - The buffer and what is in flight belong to the active segment: rotation writes everything first.
//! - After every record there is room for a mark and a seal, after every mark for a seal.

use std::sync::Arc;

use crate::error::Error;
use crate::position::{ALIGN_BYTES, Position, SEGMENT_BYTES_MAX};
use crate::record::{HEAD_BYTES, PreparedHead, RecordHead, RecordKind, record_bytes};
use crate::segment::{HEADER_BYTES, Segment};

/// Bytes kept in memory before an append has to write them.
pub const TAIL_BYTES_MAX: usize = 1 << 20;
/// Records of more bytes than this go past the buffer, straight to the file.
pub const RECORD_BUFFERED_BYTES_MAX: u32 = 256 << 10;
/// One part in this many of a segment is kept for records that free space, when the next segment cannot be had.
pub const RESERVE_PART: u32 = 16;

/// What the buffer is given: padding is put there whole before it is cut to what is needed.
const BUFFER_BYTES: usize = TAIL_BYTES_MAX + ALIGN_BYTES as usize;
const _: () = assert!(RECORD_BUFFERED_BYTES_MAX as usize * 2 <= TAIL_BYTES_MAX);

/// Whether a record may use the space kept back for when the device is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// Ordinary records leave the reserve alone.
    Keep,
    /// Records that let space be freed (deletes, removals) may use it.
    Use,
    /// Records whose effects are applied already may use it, and when it is used up are placed all the same, to be
    /// written when there is space.
    Applied,
}

/// Where a record would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the end of the buffer.
    Here,
    /// In the active segment, once the buffer has been written.
    BufferFull,
    /// In the active segment, if a next segment is ready, so that the reserve is not the last space there is.
    NeedsNext,
    /// In another segment.
    NoRoom,
}

pub(crate) struct Tail {
    pub(crate) segment: Arc<Segment>,
    /// Bytes of the active segment that are allocated, or meant to be once a full device has space.
    pub(crate) capacity: u32,
    pub(crate) buffer: Vec<u8>,
    /// Where the buffer's first byte goes.
    pub(crate) buffer_start: u32,
    pub(crate) last_is_mark: bool,
    /// The segment after the active one, ready.
    pub(crate) next: Option<Arc<Segment>>,
    /// Sealed segments that have not been synced, with their ends, oldest first.
    pub(crate) unsynced: Vec<(Arc<Segment>, u32)>,
    reserve_bytes: u32,
}

impl Tail {
    pub(crate) fn new(
        segment: Arc<Segment>,
        at: Position,
        capacity: u32,
        last_is_mark: bool,
        segment_bytes: u32,
    ) -> Tail {
        assert!(segment.id == at.segment, "the tail lies in the active segment");
        Tail {
            segment,
            capacity,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            buffer_start: at.offset,
            last_is_mark,
            next: None,
            unsynced: Vec::new(),
            reserve_bytes: segment_bytes / RESERVE_PART,
        }
    }

    /// Where the next record goes.
    #[inline]
    pub(crate) fn at(&self) -> Position {
        Position { segment: self.segment.id, offset: self.buffer_start + self.buffer.len() as u32 }
    }

    /// Whether no record has been placed in the active segment.
    pub(crate) fn is_fresh(&self) -> bool {
        self.at().offset == HEADER_BYTES
    }

    /// Where a record of `bytes` would go.
    #[inline]
    pub(crate) fn place(&self, bytes: u32, kind: RecordKind, reserve: Reserve) -> Place {
        let needed = u64::from(bytes) + u64::from(room_after(kind));
        let free = u64::from(self.capacity).saturating_sub(u64::from(self.at().offset));
        // The segment of a giant record that did not make it can be longer than positions reach.
        if free < needed || SEGMENT_BYTES_MAX <= self.at().offset {
            return Place::NoRoom;
        }
        let into_reserve = free - needed < u64::from(self.reserve_bytes);
        if into_reserve && self.next.is_none() && reserve == Reserve::Keep {
            return Place::NeedsNext;
        }
        if TAIL_BYTES_MAX < self.buffer.len() + bytes as usize {
            return Place::BufferFull;
        }
        Place::Here
    }

    /// Puts a record at the end of the buffer and returns where it starts.
    #[inline]
    pub(crate) fn push(&mut self, head: PreparedHead, kind: RecordKind, body: &[u8]) -> Position {
        let at = self.at();
        let end = at.offset + record_bytes(body.len() as u32);
        assert!(u64::from(end) + u64::from(room_after(kind)) <= u64::from(self.capacity), "records fit their place");
        self.buffer.extend_from_slice(&head.place(self.segment.salt, at));
        self.buffer.extend_from_slice(body);
        self.buffer.extend_from_slice(&[0; ALIGN_BYTES as usize]);
        self.buffer.truncate((end - self.buffer_start) as usize);
        self.last_is_mark = kind == RecordKind::Mark;
        at
    }

    /// Puts a record at the end of the buffer although nothing is allocated there: the device is full. `None` when
    /// there is room after all, or positions do not reach that far.
    pub(crate) fn push_beyond(&mut self, head: PreparedHead, kind: RecordKind, body: &[u8]) -> Option<Position> {
        let bytes = record_bytes(body.len() as u32);
        let place = self.place(bytes, kind, Reserve::Use);
        if !matches!(place, Place::NoRoom) || SEGMENT_BYTES_MAX <= self.at().offset {
            return None;
        }
        self.capacity = self.capacity.max(self.at().offset.checked_add(bytes)?.checked_add(room_after(kind))?);
        Some(self.push(head, kind, body))
    }

    /// Takes `bytes` at the end of an empty buffer for a record that is written straight to the file.
    pub(crate) fn reserve_place(&mut self, bytes: u32) -> Position {
        assert!(self.buffer.is_empty(), "what precedes a record is written before it");
        let at = self.at();
        self.buffer_start += bytes;
        self.last_is_mark = false;
        at
    }

    /// Moves on to `next`, which must be ready; the active segment ends at its seal.
    pub(crate) fn rotate(&mut self, next: Arc<Segment>, capacity: u32) {
        assert!(self.buffer.is_empty(), "rotation writes everything first");
        assert!(self.segment.id.next() == next.id, "segments follow each other");
        let end = self.at().offset + HEAD_BYTES;
        let sealed = std::mem::replace(&mut self.segment, next);
        self.unsynced.push((sealed, end));
        self.buffer_start = HEADER_BYTES;
        self.capacity = capacity;
        self.last_is_mark = false;
    }
}

/// Bytes that must stay free behind a record of this kind.
fn room_after(kind: RecordKind) -> u32 {
    match kind {
        RecordKind::Batch | RecordKind::MultiBatch | RecordKind::Image => 2 * HEAD_BYTES,
        RecordKind::Mark => HEAD_BYTES,
        RecordKind::Seal | RecordKind::Gap => 0,
    }
}

/// Bytes a segment must have for one record of `bytes` alone.
pub(crate) fn capacity_for(bytes: u32) -> u32 {
    HEADER_BYTES + bytes + room_after(RecordKind::Batch)
}

/// What is on its way into the page cache.
pub(crate) struct Writer {
    segment: Arc<Segment>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: Position,
}

impl Writer {
    pub(crate) fn new(segment: Arc<Segment>, at: Position) -> Writer {
        Writer { segment, bytes: Vec::with_capacity(BUFFER_BYTES), at }
    }

    /// Where what is in flight ends.
    pub(crate) fn end(&self) -> Position {
        self.at.after(self.bytes.len() as u32)
    }

    /// The salt of the segment written to.
    pub(crate) fn salt(&self) -> u64 {
        self.segment.salt
    }

    /// Takes over everything in the buffer. Nothing may be in flight.
    pub(crate) fn take(&mut self, tail: &mut Tail) {
        assert!(self.bytes.is_empty(), "one buffer is in flight at a time");
        self.at = Position { segment: tail.segment.id, offset: tail.buffer_start };
        std::mem::swap(&mut self.bytes, &mut tail.buffer);
        tail.buffer_start += self.bytes.len() as u32;
        if self.segment.id != tail.segment.id {
            self.segment = Arc::clone(&tail.segment);
        }
    }

    /// Writes what is in flight. On an error it stays in flight.
    pub(crate) fn write(&mut self) -> std::io::Result<()> {
        if !self.bytes.is_empty() {
            self.segment.file.write_at(u64::from(self.at.offset), &self.bytes)?;
            self.at = self.end();
            self.bytes.clear();
            self.bytes.shrink_to(BUFFER_BYTES);
        }
        Ok(())
    }

    /// Writes one record past the buffer, its body in two parts. What could not be written for want of space is in flight
    /// afterwards.
    pub(crate) fn write_direct(&mut self, at: Position, head: &[u8], body: [&[u8]; 2]) -> std::io::Result<()> {
        assert!(self.bytes.is_empty(), "what precedes a record is written before it");
        assert!(self.segment.id == at.segment, "the writer follows the active segment");
        let padding = [0; 8];
        let body_bytes = body[0].len() + body[1].len();
        let padding = &padding[..body_bytes.next_multiple_of(8) - body_bytes];
        let parts = [head, body[0], body[1], padding];
        let mut offset = u64::from(at.offset);
        for part in parts {
            if let Err(error) = self.segment.file.write_at(offset, part) {
                self.at = at;
                self.bytes.extend(parts.into_iter().flatten());
                return Err(error);
            }
            offset += part.len() as u64;
        }
        self.at = at.after(record_bytes(body_bytes as u32));
        Ok(())
    }
}

/// The head of a record of the journal's own.
pub(crate) fn own_head(kind: RecordKind, time: base::TimeMs) -> RecordHead {
    assert!(!kind.is_content(), "content has an owner");
    RecordHead { kind, partition: base::PartitionId(0), version: base::Version(0), time, term: 0 }
}

/// Whether a write failed for want of space, which heals, or for another reason, which does not.
pub(crate) fn write_error(segment: &Segment, source: std::io::Error) -> Error {
    if crate::error::is_space(&source) {
        return Error::Full;
    }
    Error::WriteFailed { file: crate::segment::segment_path(segment.id), source }
}
