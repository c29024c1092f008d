//! A list of several chunks: a row of them, those far from both ends compressed.
//!
//! ```text
//! distance from the nearer end, in chunks
//! 0 .. PLAIN_MIN          always plain: what queues and readers of the ends touch
//! PLAIN_MIN .. PLAIN_MAX  as they came: plain on their way in, compressed on their way out
//! from PLAIN_MAX on       compressed, but for those not worth it, not paid for yet, or changed since
//! ```
//!
//! A chunk is compressed when another one, begun at an end, moves it in to `PLAIN_MAX`, and made plain when chunks that
//! go move it out to `PLAIN_MIN`, so that a list that grows and shrinks by a little does neither. A chunk that is
//! changed in the middle stays plain, since it may be changed again soon: each chunk begun at an end has a few of
//! the row looked at, in turn, so that such are compressed after a while.
//!
//! Elements pay for it: each that is added allows for so many bytes to be compressed, so that compressing never adds
//! more than a few percent to what adding elements costs anyway. Small ones, of which a list spends most beside their
//! bytes, pay for all of them; of larger ones, part of the chunks stay plain. Tries in vain make the next one cost more,
//! up to so much that in a list that cannot be compressed hardly any is tried.
//!
//! Deliberately not here: a setting. Lists below twice `PLAIN_MAX` chunks are never compressed, which are the queues
//! whose work is soon done.
//!
//! Invariants: no chunk is empty; `count` and `bytes` are sums over the chunks; the first and the last
//! `PLAIN_MIN` chunks are plain; `mark` is true of the row as it is.
//!
//! Source: Redis's `list-compress-depth` for the idea.

use super::Changed;
use super::chunk::{CHUNK_BYTES_MAX, Chunk, End};
use super::held::Held;
use super::packed::Packed;
use std::cell::Cell;
use std::collections::VecDeque;

/// Chunks at either end that are always plain.
pub(super) const PLAIN_MIN: usize = 4;
/// Chunks at either end that are not compressed.
pub(super) const PLAIN_MAX: usize = 8;
/// What an element that is added allows to be compressed, in bytes, of which each takes about 2 ns; and that part of
/// its own bytes, for whatever else adding it costs grows with them.
const ALLOWED_BYTES: usize = 32;
const ALLOWED_PART: usize = 24;
/// What is allowed and not used is kept up to this, doubled with each try in vain as its cost is.
const ALLOWANCE_BYTES_MAX: usize = 2 * CHUNK_BYTES_MAX;
/// Chunks that are looked at in turn for each that is begun: more than one, or a row that grows would never be looked
/// through.
const LOOKS: usize = 4;
/// Tries in vain after which the next costs no more than after the last: 32 times the bytes of a chunk.
const VAIN_COUNT_MAX: u32 = 5;

/// See the module's text.
#[derive(Default)]
pub(super) struct Many {
    chunks: VecDeque<Held>,
    /// Elements of all chunks.
    count: usize,
    bytes: Bytes,
    /// The chunk that was looked at last, in turn.
    looked_at: usize,
    /// Bytes that elements have paid for, less those compressed.
    allowance_bytes: usize,
    /// How often in a row compressing was in vain, which doubles what the next try costs.
    vain_count: u32,
    /// Where an element was looked for last, so that who goes through a list bit by bit does not walk to each bit.
    mark: Cell<Mark>,
}

/// A chunk, and how many elements lie before it. There are none before the first, which is where a mark begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    chunk: usize,
    before: usize,
}

/// Sums over chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bytes {
    /// Of rooms and blocks.
    held: usize,
    /// That blocks are shorter than what they expand to.
    saved: usize,
}

impl Bytes {
    fn of(held: &Held) -> Bytes {
        let bytes = held.heap_bytes();
        Bytes { held: bytes, saved: if held.is_compressed() { held.used_bytes() - bytes } else { 0 } }
    }

    fn of_all(chunks: &VecDeque<Held>) -> Bytes {
        let mut bytes = Bytes::default();
        for held in chunks {
            bytes.add(Bytes::of(held));
        }
        bytes
    }

    #[inline]
    fn add(&mut self, more: Bytes) {
        self.held += more.held;
        self.saved += more.saved;
    }

    #[inline]
    fn remove(&mut self, less: Bytes) {
        self.held -= less.held;
        self.saved -= less.saved;
    }
}

impl Many {
    /// A list of these chunks.
    pub fn of(chunks: VecDeque<Held>) -> Many {
        let count = chunks.iter().map(Held::len).sum();
        let bytes = Bytes::of_all(&chunks);
        let mut many = Many { chunks, count, bytes, ..Many::default() };
        many.make_end_plain(End::Front);
        many.make_end_plain(End::Back);
        many
    }

    /// Number of elements.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Number of chunks.
    #[inline]
    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// Takes all chunks out.
    pub fn take_chunks(&mut self) -> VecDeque<Held> {
        std::mem::take(self).chunks
    }

    /// Heap bytes.
    #[inline]
    pub fn bytes(&self) -> usize {
        size_of::<Many>() + self.chunks.capacity() * size_of::<Held>() + self.bytes.held
    }

    /// As [`super::List::expanded_bytes`].
    #[inline]
    pub fn expanded_bytes(&self) -> usize {
        self.bytes() + self.bytes.saved
    }

    /// As [`super::List::locate`].
    ///
    /// # Cost
    /// A walk over the chunks between it and whichever is nearest: an end, or what was located before.
    pub fn locate(&self, index: usize) -> (usize, usize) {
        let end = Mark { chunk: self.chunks.len(), before: self.count };
        let distance = |mark: &Mark| mark.before.abs_diff(index);
        let nearest = [Mark::default(), self.mark.get(), end].into_iter().min_by_key(distance);
        let Mark { mut chunk, mut before } = nearest.expect("there are three");
        while index < before {
            chunk -= 1;
            before -= self.chunks[chunk].len();
        }
        while before + self.chunks[chunk].len() <= index {
            before += self.chunks[chunk].len();
            chunk += 1;
        }
        self.mark.set(Mark { chunk, before });
        (chunk, index - before)
    }

    /// As [`super::List::open`].
    #[inline]
    pub fn open<'a>(&'a self, number: usize, scratch: &'a mut Chunk) -> &'a Chunk {
        self.chunks[number].open(scratch)
    }

    /// The chunk at an end.
    #[inline]
    pub fn end(&self, end: End) -> &Chunk {
        let held = match end {
            End::Front => self.chunks.front(),
            End::Back => self.chunks.back(),
        };
        held.and_then(Held::plain).expect("a longer list has chunks, and its ends are plain")
    }

    /// Adds an element at an end.
    #[inline]
    pub fn push(&mut self, end: End, packed: &Packed<'_>) {
        let held = match end {
            End::Front => self.chunks.front_mut(),
            End::Back => self.chunks.back_mut(),
        };
        let chunk = held.expect("a longer list has chunks").make_plain();
        let before = chunk.room_bytes();
        let is_pushed = chunk.push(end, packed);
        if !is_pushed {
            chunk.shrink(8);
        }
        self.bytes.held = self.bytes.held + chunk.room_bytes() - before;
        self.count += 1;
        if end == End::Front {
            let Mark { chunk, before } = self.mark.get();
            if 0 < chunk || !is_pushed {
                self.mark.set(Mark { chunk: chunk + usize::from(!is_pushed), before: before + 1 });
            }
        }
        if !is_pushed {
            self.push_chunk(end, Chunk::begun(end, packed));
        }
    }

    /// Adds a chunk at an end, whose elements are counted.
    fn push_chunk(&mut self, end: End, new: Chunk) {
        self.bytes.held += new.room_bytes();
        let (filled, moved_in) = match end {
            End::Front => {
                self.chunks.push_front(Held::from(new));
                self.looked_at += 1;
                (1, PLAIN_MAX)
            }
            End::Back => {
                self.chunks.push_back(Held::from(new));
                (self.chunks.len() - 2, self.chunks.len().saturating_sub(1 + PLAIN_MAX))
            }
        };
        let filled = &mut self.chunks[filled];
        filled.set_untried();
        self.allowance_bytes += filled.len() * ALLOWED_BYTES + filled.used_bytes() / ALLOWED_PART;
        self.compress(moved_in);
        for _ in 0..LOOKS {
            self.looked_at = if self.looked_at + 1 < self.chunks.len() { self.looked_at + 1 } else { 0 };
            self.compress(self.looked_at);
        }
        self.allowance_bytes = self.allowance_bytes.min(ALLOWANCE_BYTES_MAX << self.vain_count);
    }

    /// Compresses a chunk if it lies deep enough, is not too large, was not tried, and is paid for.
    fn compress(&mut self, number: usize) {
        let is_deep = PLAIN_MAX <= number && number + PLAIN_MAX < self.chunks.len();
        if !is_deep || !self.chunks[number].is_untried() || CHUNK_BYTES_MAX < self.chunks[number].used_bytes() {
            return;
        }
        let held = &mut self.chunks[number];
        let cost = held.used_bytes() << self.vain_count;
        if self.allowance_bytes < cost {
            return;
        }
        self.allowance_bytes -= cost;
        self.bytes.remove(Bytes::of(held));
        self.vain_count = if held.compress() { 0 } else { VAIN_COUNT_MAX.min(self.vain_count + 1) };
        self.bytes.add(Bytes::of(held));
    }

    /// Makes the chunks next to an end plain.
    fn make_end_plain(&mut self, end: End) {
        let count = self.chunks.len();
        for distance in 0..PLAIN_MIN.min(count) {
            let held = &mut self.chunks[if end == End::Front { distance } else { count - 1 - distance }];
            self.bytes.remove(Bytes::of(held));
            self.bytes.held += held.make_plain().room_bytes();
        }
    }

    /// Gives up `count` elements at an end, not all.
    #[inline]
    pub fn trim(&mut self, end: End, mut count: usize) {
        if self.end(end).len() <= count {
            count -= self.trim_chunks(end, count);
        }
        self.count -= count;
        if end == End::Front {
            let mark = self.mark.get();
            let before = if mark.chunk == 0 { 0 } else { mark.before - count };
            self.mark.set(Mark { before, ..mark });
        }
        let chunk = match end {
            End::Front => self.chunks.front_mut(),
            End::Back => self.chunks.back_mut(),
        };
        chunk.expect("an element is left").make_plain().trim(end, count);
    }

    /// Gives up all chunks at an end that have no more than `count` elements together. Returns how many these were.
    #[cold]
    fn trim_chunks(&mut self, end: End, count: usize) -> usize {
        let (chunk_count, mut left) = (self.chunks.len(), count);
        loop {
            let held = match end {
                End::Front => self.chunks.front_mut(),
                End::Back => self.chunks.back_mut(),
            };
            let held = held.expect("an element is left");
            if left < held.len() {
                break;
            }
            left -= held.len();
            self.bytes.remove(Bytes::of(held));
            match end {
                End::Front => {
                    self.chunks.pop_front();
                    self.looked_at = self.looked_at.saturating_sub(1);
                }
                End::Back => drop(self.chunks.pop_back()),
            }
        }
        let gone = count - left;
        self.count -= gone;
        self.mark.set(self.mark_after_trim(end, gone, chunk_count - self.chunks.len()));
        self.make_end_plain(end);
        if self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
        gone
    }

    /// What the mark is once whole chunks at an end are gone, with `count` elements.
    fn mark_after_trim(&self, end: End, count: usize, chunk_count: usize) -> Mark {
        let mark = self.mark.get();
        match end {
            End::Front if chunk_count < mark.chunk => {
                Mark { chunk: mark.chunk - chunk_count, before: mark.before - count }
            }
            End::Back if mark.chunk < self.chunks.len() => mark,
            End::Front | End::Back => Mark::default(),
        }
    }

    /// How many chunks are compressed, after a look at whether the invariants hold.
    #[cfg(test)]
    pub fn compressed_count(&self) -> usize {
        assert!(2 <= self.chunks.len());
        assert!(self.chunks.iter().all(|chunk| 0 < chunk.len()));
        assert_eq!(self.count, self.chunks.iter().map(Held::len).sum::<usize>());
        assert_eq!(self.bytes, Bytes::of_all(&self.chunks));
        let is_compressed = |held: &Held| held.is_compressed();
        let Mark { chunk, before } = self.mark.get();
        assert!(chunk < self.chunks.len() && before == self.chunks.iter().take(chunk).map(Held::len).sum::<usize>());
        assert!(!self.chunks.iter().take(PLAIN_MIN).any(is_compressed), "the front is plain");
        assert!(!self.chunks.iter().rev().take(PLAIN_MIN).any(is_compressed), "the back is plain");
        self.chunks.iter().filter(|held| is_compressed(held)).count()
    }

    /// Puts others in the place of a chunk.
    pub fn replace(&mut self, number: usize, changed: Changed) {
        let old = self.chunks.remove(number).expect("the chunk was just looked at");
        self.count -= old.len();
        self.bytes.remove(Bytes::of(&old));
        for chunk in changed.into_iter().rev() {
            self.count += chunk.len();
            self.bytes.held += chunk.room_bytes();
            self.chunks.insert(number, Held::from(chunk));
        }
        if number < self.mark.get().chunk || self.chunks.len() <= self.mark.get().chunk {
            self.mark.set(Mark::default());
        }
    }
}
