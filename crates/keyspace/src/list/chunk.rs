//! A stretch of a list: neighbouring elements in one block of memory, taken and given at either end.
//!
//! ```text
//! room   gap | data of 0, 1, 2 … | gap | heads … of 2, 1, 0 | gap
//! ```
//!
//! Data grows from left to right and heads from right to left, so that both have room at the back in one gap, and at
//! the front each in its own. Giving up an element at either end moves a bound. Where a gap is used up while the
//! others have room, everything is laid out anew. Changes in the middle make a new chunk.
//!
//! A room beyond 64 KiB, which bounds of 16 bits do not reach, holds exactly one element and has no gaps.
//!
//! Deliberately not here: which elements share a chunk, and chunks held compressed (`held.rs`).
//!
//! Invariants: there are as many heads as elements, and their data fills its stretch exactly; chunks of more than
//! one element have rooms of at most `CHUNK_BYTES_MAX`.

use super::packed::{self, Packed};
use crate::tx::Str;
use std::ops::Range;

/// Room of a chunk, but for one of a single larger element.
pub(super) const CHUNK_BYTES_MAX: usize = 4 << 10;

/// Rooms are rounded up to this, as allocators do anyway.
const ROOM_STEP_BYTES: usize = 16;
/// Free space, as a fraction of the room, for which it is worth laying the room out anew.
const FREE_FRACTION_MIN: usize = 32;

const _: () = assert!(CHUNK_BYTES_MAX.is_multiple_of(ROOM_STEP_BYTES), "a full room is no larger for being rounded");

/// An end of a list. The number is written to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// Where element 0 is.
    Front = 0,
    /// Where the last one is.
    Back = 1,
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Chunk {
    room: Box<[u8]>,
    data_start: u16,
    data_end: u16,
    heads_start: u16,
    heads_end: u16,
}

/// The bounds of data and heads in a room.
#[derive(Clone, Copy)]
struct Bounds {
    data_start: usize,
    data_end: usize,
    heads_start: usize,
    heads_end: usize,
}

/// What a new chunk is made of.
pub(super) enum Piece<'a> {
    /// Elements of another chunk.
    Range(&'a Chunk, Range<usize>),
    /// One more.
    Element(&'a Packed<'a>),
}

impl Piece<'_> {
    /// Bytes of its data and number of its heads.
    fn extent(&self) -> (usize, usize) {
        match self {
            Piece::Range(chunk, range) => (chunk.data_at(range.end) - chunk.data_at(range.start), range.len()),
            Piece::Element(element) => (element.data_bytes, 1),
        }
    }

    fn write(&self, data: &mut [u8], heads: &mut [u8]) {
        match self {
            Piece::Range(chunk, range) => {
                let from = chunk.data_at(range.start);
                data.copy_from_slice(&chunk.data()[from..from + data.len()]);
                let count = chunk.len();
                heads.copy_from_slice(&chunk.heads()[count - range.end..count - range.start]);
            }
            Piece::Element(element) => {
                element.write(data);
                heads[0] = element.head;
            }
        }
    }
}

/// The room that so many bytes get: rounded as long as bounds reach its end.
fn room_for(bytes: usize) -> usize {
    let rounded = bytes.next_multiple_of(ROOM_STEP_BYTES);
    if u16::try_from(rounded).is_ok() { rounded } else { bytes }
}

impl Chunk {
    /// A chunk of these pieces, in order, in no more room than they need.
    pub fn of(pieces: &[Piece<'_>]) -> Chunk {
        let used = pieces.iter().map(Piece::extent).map(|(data_bytes, count)| data_bytes + count).sum();
        let mut room = vec![0; room_for(used)].into_boxed_slice();
        let (mut data_end, mut heads_start) = (0, room.len());
        for piece in pieces {
            let (data_bytes, count) = piece.extent();
            let (left, right) = room.split_at_mut(heads_start - count);
            piece.write(&mut left[data_end..data_end + data_bytes], &mut right[..count]);
            data_end += data_bytes;
            heads_start -= count;
        }
        let heads_end = room.len();
        let mut chunk = Chunk { room, ..Chunk::default() };
        if !chunk.is_single() {
            chunk.set_bounds(Bounds { data_start: 0, data_end, heads_start, heads_end });
        }
        chunk
    }

    /// A chunk of one element with room for more at `end`.
    pub fn begun(end: End, element: &Packed<'_>) -> Chunk {
        if CHUNK_BYTES_MAX < element.bytes() {
            return Chunk::of(&[Piece::Element(element)]);
        }
        let mut chunk = Chunk::default().laid_out(CHUNK_BYTES_MAX, end, element);
        let is_pushed = chunk.push_into_gap(end, element);
        assert!(is_pushed, "the room was laid out for it");
        chunk
    }

    #[inline]
    fn bounds(&self) -> Bounds {
        if self.is_single() {
            let end = self.room.len();
            return Bounds { data_start: 0, data_end: end - 1, heads_start: end - 1, heads_end: end };
        }
        Bounds {
            data_start: usize::from(self.data_start),
            data_end: usize::from(self.data_end),
            heads_start: usize::from(self.heads_start),
            heads_end: usize::from(self.heads_end),
        }
    }

    #[inline]
    fn set_bounds(&mut self, bounds: Bounds) {
        assert!(bounds.data_start <= bounds.data_end && bounds.data_end <= bounds.heads_start, "data precede heads");
        assert!(bounds.heads_start <= bounds.heads_end && bounds.heads_end <= self.room.len(), "heads end in the room");
        assert!(!self.is_single(), "the bounds of a single element are those of its room");
        self.data_start = bounds.data_start as u16;
        self.data_end = bounds.data_end as u16;
        self.heads_start = bounds.heads_start as u16;
        self.heads_end = bounds.heads_end as u16;
    }

    /// Whether the room is beyond the bounds' reach and so holds one element.
    #[inline]
    fn is_single(&self) -> bool {
        usize::from(u16::MAX) < self.room.len()
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        if self.is_single() { 1 } else { usize::from(self.heads_end - self.heads_start) }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the room.
    #[inline]
    pub fn room_bytes(&self) -> usize {
        self.room.len()
    }

    /// Bytes of heads and data.
    #[inline]
    pub fn used_bytes(&self) -> usize {
        let bounds = self.bounds();
        bounds.data_end - bounds.data_start + bounds.heads_end - bounds.heads_start
    }

    /// Bytes of heads and data of some of the elements.
    pub fn used_bytes_of(&self, range: Range<usize>) -> usize {
        self.data_at(range.end) - self.data_at(range.start) + range.len()
    }

    /// The heads, that of element 0 last.
    #[inline]
    fn heads(&self) -> &[u8] {
        let bounds = self.bounds();
        &self.room[bounds.heads_start..bounds.heads_end]
    }

    #[inline]
    fn data(&self) -> &[u8] {
        let bounds = self.bounds();
        &self.room[bounds.data_start..bounds.data_end]
    }

    /// Where the data of element `index` begins, or where all of it ends. Walks from the nearer end.
    #[inline]
    fn data_at(&self, index: usize) -> usize {
        let (heads, data) = (self.heads(), self.data());
        let (before, behind) = (&heads[heads.len() - index..], &heads[..heads.len() - index]);
        if before.len() <= behind.len() {
            before.iter().rev().fold(0, |at, head| at + packed::data_bytes_at_front(*head, &data[at..]))
        } else {
            behind.iter().fold(data.len(), |end, head| end - packed::data_bytes_at_back(*head, &data[..end]))
        }
    }

    /// Element `index`, which must be there.
    pub fn get(&self, index: usize) -> Str<'_> {
        let (heads, data) = (self.heads(), &self.data()[self.data_at(index)..]);
        let head = heads[heads.len() - 1 - index];
        packed::read(head, &data[..packed::data_bytes_at_front(head, data)])
    }

    /// The element at an end.
    #[inline]
    pub fn end(&self, end: End) -> Option<Str<'_>> {
        let (heads, data) = (self.heads(), self.data());
        let head = *if end == End::Front { heads.last()? } else { heads.first()? };
        Some(match end {
            End::Front => packed::read(head, &data[..packed::data_bytes_at_front(head, data)]),
            End::Back => packed::read(head, &data[data.len() - packed::data_bytes_at_back(head, data)..]),
        })
    }

    /// Some of the elements.
    #[inline]
    pub fn elements(&self, range: Range<usize>) -> Elements<'_> {
        let heads = self.heads();
        let count = heads.len();
        Elements {
            heads: &heads[count - range.end..count - range.start],
            data: &self.data()[self.data_at(range.start)..self.data_at(range.end)],
        }
    }

    /// Copies all data, and behind it all heads, to where `out` begins. Returns how many bytes they are.
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        let (data, heads) = (self.data(), self.heads());
        let used = data.len() + heads.len();
        out[..data.len()].copy_from_slice(data);
        out[data.len()..used].copy_from_slice(heads);
        used
    }

    /// Becomes a chunk of `count` elements: `write` gives what [`Chunk::copy_to`] took, of which `data_bytes` are
    /// data. The room stays if it is large enough.
    pub fn refill(&mut self, data_bytes: usize, count: usize, write: impl FnOnce(&mut [u8])) {
        let used = data_bytes + count;
        if self.room.len() < used {
            self.room = vec![0; room_for(used)].into_boxed_slice();
        }
        write(&mut self.room[..used]);
        self.set_bounds(Bounds { data_start: 0, data_end: data_bytes, heads_start: data_bytes, heads_end: used });
    }

    /// Bytes of all data.
    pub fn data_bytes(&self) -> usize {
        self.data().len()
    }

    /// Adds an element at an end, in a larger room where this one does not do, unless that would be too large.
    /// Returns whether it did.
    ///
    /// # Cost
    /// That of copying the element; now and then that of copying the chunk.
    #[inline]
    pub fn push(&mut self, end: End, element: &Packed<'_>) -> bool {
        self.push_into_gap(end, element) || self.push_laying_out(end, element)
    }

    fn push_laying_out(&mut self, end: End, element: &Packed<'_>) -> bool {
        let needed = self.used_bytes() + element.bytes();
        let room_bytes = self.room.len();
        let bytes = if needed + room_bytes / FREE_FRACTION_MIN <= room_bytes {
            room_bytes
        } else {
            needed.max(room_bytes / 4 * 5).min(CHUNK_BYTES_MAX)
        };
        // A room as large as can be in which little is left is full.
        if bytes < needed || bytes == room_bytes && room_bytes < needed + room_bytes / FREE_FRACTION_MIN {
            return false;
        }
        *self = self.laid_out(bytes, end, element);
        let is_pushed = self.push_into_gap(end, element);
        assert!(is_pushed, "the room was laid out for it");
        true
    }

    #[inline]
    fn push_into_gap(&mut self, end: End, element: &Packed<'_>) -> bool {
        let mut bounds = self.bounds();
        let data_at = match end {
            End::Back if element.bytes() <= bounds.heads_start - bounds.data_end => {
                bounds.heads_start -= 1;
                self.room[bounds.heads_start] = element.head;
                bounds.data_end += element.data_bytes;
                bounds.data_end - element.data_bytes
            }
            End::Front if element.data_bytes <= bounds.data_start && bounds.heads_end < self.room.len() => {
                self.room[bounds.heads_end] = element.head;
                bounds.heads_end += 1;
                bounds.data_start -= element.data_bytes;
                bounds.data_start
            }
            End::Back | End::Front => return false,
        };
        element.write(&mut self.room[data_at..data_at + element.data_bytes]);
        self.set_bounds(bounds);
        true
    }

    /// The same elements in a room of `bytes`, with most of what is free for what comes in at `end`, `next` first.
    fn laid_out(&self, bytes: usize, end: End, next: &Packed<'_>) -> Chunk {
        let (data, heads) = (self.data(), self.heads());
        let used = data.len() + heads.len();
        let room_bytes = room_for(bytes);
        assert!(used + next.bytes() <= room_bytes, "what is there and what comes fits");
        let free = room_bytes - used;
        let share = if used == 0 { free } else { next.bytes().max(free / 4 * 3) };
        let outer = if end == End::Front { share } else { free - share };
        // The outer gaps are in proportion to what lies next to them, so that they are used up together.
        let heads_share = (outer * (heads.len() + 1)).div_ceil(used + next.bytes()).min(outer);
        let heads_gap = match end {
            End::Front => heads_share.clamp(1, outer - next.data_bytes),
            End::Back => heads_share,
        };
        let (data_start, heads_end) = (outer - heads_gap, room_bytes - heads_gap);
        let (data_end, heads_start) = (data_start + data.len(), heads_end - heads.len());
        let mut chunk = Chunk { room: vec![0; room_bytes].into_boxed_slice(), ..Chunk::default() };
        chunk.room[data_start..data_end].copy_from_slice(data);
        chunk.room[heads_start..heads_end].copy_from_slice(heads);
        chunk.set_bounds(Bounds { data_start, data_end, heads_start, heads_end });
        chunk
    }

    /// Gives up `count` elements at an end, not all of them.
    #[inline]
    pub fn trim(&mut self, end: End, count: usize) {
        assert!(count < self.len(), "an emptied chunk is let go of");
        if count == 0 {
            return;
        }
        let mut bounds = self.bounds();
        match end {
            End::Front => {
                bounds.data_start += self.data_at(count);
                bounds.heads_end -= count;
            }
            End::Back => {
                bounds.data_end = bounds.data_start + self.data_at(self.len() - count);
                bounds.heads_start += count;
            }
        }
        self.set_bounds(bounds);
    }

    /// Gives up room where more than `1/fraction` of it is free.
    pub fn shrink(&mut self, fraction: usize) {
        let room_bytes = self.room.len();
        if self.used_bytes() + ROOM_STEP_BYTES < room_bytes - room_bytes / fraction {
            *self = Chunk::of(&[Piece::Range(self, 0..self.len())]);
        }
    }
}

/// Neighbouring elements of a chunk.
#[derive(Clone)]
pub(super) struct Elements<'a> {
    heads: &'a [u8],
    data: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = Str<'a>;

    #[inline]
    fn next(&mut self) -> Option<Str<'a>> {
        let (head, heads) = self.heads.split_last()?;
        let (data, rest) = self.data.split_at(packed::data_bytes_at_front(*head, self.data));
        (self.heads, self.data) = (heads, rest);
        Some(packed::read(*head, data))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.heads.len(), Some(self.heads.len()))
    }
}

impl DoubleEndedIterator for Elements<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let (head, heads) = self.heads.split_first()?;
        let at = self.data.len() - packed::data_bytes_at_back(*head, self.data);
        let (rest, data) = self.data.split_at(at);
        (self.heads, self.data) = (heads, rest);
        Some(packed::read(*head, data))
    }
}
