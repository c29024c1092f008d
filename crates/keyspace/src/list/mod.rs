//! The list data type: elements in an order of their own, taken and given at both ends.
//!
//! Two forms, one behaviour. A list whose elements fit one chunk is that chunk. A longer one is a row of chunks of a
//! few KiB: an element is found by walking over the counts of the chunks from the nearer end, and a change in the
//! middle rewrites one chunk.
//!
//! Deliberately not here: Redis's names for its own forms (`commands`), blocking.
//!
//! Invariants: no chunk of a longer list is empty, and there are at least two; `bytes` counts what the heap gave.

mod chunk;
mod image;
mod packed;
#[cfg(test)]
mod tests;

pub use chunk::End;

use crate::tx::Str;
use chunk::{CHUNK_BYTES_MAX, Chunk, Piece};
use packed::Packed;
use smallvec::{SmallVec, smallvec};
use std::collections::VecDeque;
use std::fmt;

/// A list. See the module's text.
#[derive(Default)]
pub struct List {
    form: Form,
}

enum Form {
    One(Chunk),
    Many(Box<Many>),
}

impl Default for Form {
    fn default() -> Self {
        Form::One(Chunk::default())
    }
}

#[derive(Default)]
struct Many {
    chunks: VecDeque<Chunk>,
    /// Elements of all chunks.
    count: usize,
    /// Bytes of their rooms.
    room_bytes: usize,
}

const _: () = assert!(size_of::<List>() <= 24, "a list must leave the other values room for what tells them apart");

/// What becomes of a chunk that is changed in the middle.
type Changed = SmallVec<[Chunk; 3]>;

impl List {
    /// An empty list; allocates nothing.
    pub fn new() -> Self {
        List::default()
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.form {
            Form::One(chunk) => chunk.len(),
            Form::Many(many) => many.count,
        }
    }

    /// Whether there are no elements.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes, the allocator's own overhead left out. Cost: constant.
    #[inline]
    pub fn bytes(&self) -> usize {
        match &self.form {
            Form::One(chunk) => chunk.room_bytes(),
            Form::Many(many) => size_of::<Many>() + many.chunks.capacity() * size_of::<Chunk>() + many.room_bytes,
        }
    }

    /// Allocations that freeing the list gives back.
    pub fn chunk_count(&self) -> usize {
        match &self.form {
            Form::One(_) => 1,
            Form::Many(many) => many.chunks.len(),
        }
    }

    fn chunks(&self) -> impl DoubleEndedIterator<Item = &Chunk> {
        let (left, right) = match &self.form {
            Form::One(chunk) => (std::slice::from_ref(chunk), &[][..]),
            Form::Many(many) => many.chunks.as_slices(),
        };
        left.iter().chain(right)
    }

    /// The chunk that element `index`, which must be there, lies in, and where in it.
    fn locate(&self, index: usize) -> (usize, usize) {
        let count = self.len();
        assert!(index < count, "only an element that is there lies anywhere");
        let Form::Many(many) = &self.form else { return (0, index) };
        if index < count / 2 {
            let mut rest = index;
            for (number, chunk) in many.chunks.iter().enumerate() {
                if rest < chunk.len() {
                    return (number, rest);
                }
                rest -= chunk.len();
            }
        } else {
            let mut start = count;
            for (number, chunk) in many.chunks.iter().enumerate().rev() {
                start -= chunk.len();
                if start <= index {
                    return (number, index - start);
                }
            }
        }
        unreachable!("the chunks hold as many elements as were counted")
    }

    fn chunk(&self, number: usize) -> &Chunk {
        match &self.form {
            Form::One(chunk) => chunk,
            Form::Many(many) => &many.chunks[number],
        }
    }

    /// Element `index`, counted from the front.
    ///
    /// # Cost
    /// A walk over the chunks between it and the nearer end, and over half a chunk. No allocation.
    pub fn get(&self, index: usize) -> Option<Str<'_>> {
        (index < self.len()).then(|| {
            let (number, at) = self.locate(index);
            self.chunk(number).get(at)
        })
    }

    /// All elements, from the front to the back.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Str<'_>> {
        self.chunks().flat_map(|chunk| chunk.elements(0))
    }

    /// The elements from `start` on. Cost: as [`List::get`] for the first of them.
    pub fn iter_from(&self, start: usize) -> impl Iterator<Item = Str<'_>> {
        let (number, at) = if start < self.len() { self.locate(start) } else { (self.chunk_count(), 0) };
        let first = self.chunks().nth(number).map(|chunk| chunk.elements(at));
        let rest = self.chunks().skip(number + 1).flat_map(|chunk| chunk.elements(0));
        first.into_iter().flatten().chain(rest)
    }

    /// Adds an element at an end.
    ///
    /// # Cost
    /// Constant; now and then a chunk of a few KiB is copied or allocated.
    #[inline]
    pub fn push(&mut self, end: End, element: Str<'_>) {
        let packed = Packed::of(element);
        match &mut self.form {
            Form::One(chunk) => {
                if !chunk.push(end, &packed) {
                    self.push_chunk(end, &packed);
                }
            }
            Form::Many(many) => many.push(end, &packed),
        }
    }

    /// Adds an element that the only chunk has no room for.
    #[cold]
    fn push_chunk(&mut self, end: End, packed: &Packed<'_>) {
        let new = Chunk::begun(end, packed);
        let Form::One(chunk) = &mut self.form else { unreachable!("there is only one chunk") };
        let mut old = std::mem::take(chunk);
        old.shrink(8);
        let chunks: Changed = if end == End::Front { smallvec![new, old] } else { smallvec![old, new] };
        self.set_chunks(chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect());
    }

    fn set_chunks(&mut self, mut chunks: VecDeque<Chunk>) {
        self.form = if chunks.len() <= 1 {
            Form::One(chunks.pop_front().unwrap_or_default())
        } else {
            let count = chunks.iter().map(Chunk::len).sum();
            let room_bytes = chunks.iter().map(Chunk::room_bytes).sum();
            Form::Many(Box::new(Many { chunks, count, room_bytes }))
        };
    }

    /// Gives up `count` elements at an end, or all if there are not so many.
    ///
    /// # Cost
    /// In proportion to the chunks that go.
    pub fn trim(&mut self, end: End, count: usize) {
        if self.len() <= count {
            self.form = Form::default();
            return;
        }
        match &mut self.form {
            Form::One(chunk) => {
                chunk.trim(end, count);
                chunk.shrink(2);
            }
            Form::Many(many) => {
                many.trim(end, count);
                if many.chunks.len() == 1 {
                    let chunks = std::mem::take(&mut many.chunks);
                    self.set_chunks(chunks);
                }
            }
        }
    }

    /// Makes element `index` another one. Returns false when there is no such element.
    ///
    /// # Cost
    /// As [`List::get`], and that of rewriting a chunk.
    pub fn set(&mut self, index: usize, element: Str<'_>) -> bool {
        let is_there = index < self.len();
        if is_there {
            self.splice(index, 1, &Packed::of(element));
        }
        is_there
    }

    /// Puts an element before element `index`, or behind the last one. Returns false when the list is too short.
    ///
    /// # Cost
    /// As [`List::set`]; in a list of many chunks, also that of moving up to half of what names them.
    pub fn insert(&mut self, index: usize, element: Str<'_>) -> bool {
        match index {
            0 => self.push(End::Front, element),
            _ if index == self.len() => self.push(End::Back, element),
            _ if index < self.len() => self.splice(index, 0, &Packed::of(element)),
            _ => return false,
        }
        true
    }

    /// Puts `new` where element `index` is, in the place of `removed` elements.
    fn splice(&mut self, index: usize, removed: usize, new: &Packed<'_>) {
        let (number, at) = self.locate(index);
        let changed = spliced(self.chunk(number), at, removed, new);
        match &mut self.form {
            Form::One(_) => self.set_chunks(changed.into_iter().collect()),
            Form::Many(many) => many.replace(number, changed),
        }
    }

    /// Removes the elements with these indexes, which ascend. Indexes beyond the end are nobody's.
    ///
    /// # Cost
    /// A walk over the chunks, and a copy of each that loses an element.
    pub fn remove_all(&mut self, indexes: impl Iterator<Item = usize>) {
        let mut indexes = indexes.peekable();
        let chunks = match std::mem::take(&mut self.form) {
            Form::One(chunk) => VecDeque::from([chunk]),
            Form::Many(many) => many.chunks,
        };
        let mut kept = VecDeque::with_capacity(chunks.len());
        let mut start = 0;
        for chunk in chunks {
            let end = start + chunk.len();
            let gone: Vec<usize> =
                std::iter::from_fn(|| indexes.next_if(|index| *index < end)).map(|index| index - start).collect();
            let chunk = if gone.is_empty() { chunk } else { without(&chunk, &gone) };
            if !chunk.is_empty() {
                push_merging(&mut kept, chunk);
            }
            start = end;
        }
        self.set_chunks(kept);
    }
}

/// What a chunk becomes when `new` takes the place of `removed` elements at `at`: one chunk, or several where it
/// would be too large.
fn spliced(chunk: &Chunk, at: usize, removed: usize, new: &Packed<'_>) -> Changed {
    let (before, behind) = (0..at, at + removed..chunk.len());
    let left = Piece::Range(chunk, before.clone());
    let right = Piece::Range(chunk, behind.clone());
    let new_piece = Piece::Element(new);
    let (left_bytes, right_bytes) = (chunk.used_bytes_of(before), chunk.used_bytes_of(behind));
    let fits = |bytes: usize| bytes + new.bytes() <= CHUNK_BYTES_MAX;
    let chunks: Changed = if fits(left_bytes + right_bytes) {
        smallvec![Chunk::of(&[left, new_piece, right])]
    } else if left_bytes <= right_bytes && fits(left_bytes) {
        smallvec![Chunk::of(&[left, new_piece]), Chunk::of(&[right])]
    } else if right_bytes < left_bytes && fits(right_bytes) {
        smallvec![Chunk::of(&[left]), Chunk::of(&[new_piece, right])]
    } else {
        smallvec![Chunk::of(&[left]), Chunk::of(&[new_piece]), Chunk::of(&[right])]
    };
    chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect()
}

/// The chunk without the elements at `gone`, which ascend.
fn without(chunk: &Chunk, gone: &[usize]) -> Chunk {
    let mut pieces = Vec::with_capacity(gone.len() + 1);
    let mut start = 0;
    for index in gone {
        pieces.push(Piece::Range(chunk, start..*index));
        start = index + 1;
    }
    pieces.push(Piece::Range(chunk, start..chunk.len()));
    Chunk::of(&pieces)
}

/// Whether two neighbours are so small that they had better be one.
fn should_merge(one: &Chunk, other: &Chunk) -> bool {
    one.used_bytes() + other.used_bytes() <= CHUNK_BYTES_MAX / 2
}

fn merged(one: &Chunk, other: &Chunk) -> Chunk {
    Chunk::of(&[Piece::Range(one, 0..one.len()), Piece::Range(other, 0..other.len())])
}

fn push_merging(chunks: &mut VecDeque<Chunk>, chunk: Chunk) {
    match chunks.back_mut() {
        Some(last) if should_merge(last, &chunk) => *last = merged(last, &chunk),
        _ => chunks.push_back(chunk),
    }
}

impl Many {
    #[inline]
    fn push(&mut self, end: End, packed: &Packed<'_>) {
        let chunk = match end {
            End::Front => self.chunks.front_mut(),
            End::Back => self.chunks.back_mut(),
        };
        let chunk = chunk.expect("a longer list has chunks");
        let before = chunk.room_bytes();
        let is_pushed = chunk.push(end, packed);
        if !is_pushed {
            chunk.shrink(8);
        }
        self.room_bytes = self.room_bytes + chunk.room_bytes() - before;
        self.count += 1;
        if !is_pushed {
            let new = Chunk::begun(end, packed);
            self.room_bytes += new.room_bytes();
            match end {
                End::Front => self.chunks.push_front(new),
                End::Back => self.chunks.push_back(new),
            }
        }
    }

    /// Gives up `count` elements at an end, not all.
    fn trim(&mut self, end: End, mut count: usize) {
        self.count -= count;
        loop {
            let chunk = match end {
                End::Front => self.chunks.front_mut(),
                End::Back => self.chunks.back_mut(),
            };
            let chunk = chunk.expect("an element is left");
            if count < chunk.len() {
                chunk.trim(end, count);
                break;
            }
            count -= chunk.len();
            self.room_bytes -= chunk.room_bytes();
            match end {
                End::Front => self.chunks.pop_front(),
                End::Back => self.chunks.pop_back(),
            };
        }
        if self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
    }

    /// Puts others in the place of a chunk.
    fn replace(&mut self, number: usize, changed: Changed) {
        let old = self.chunks.remove(number).expect("the chunk was just looked at");
        self.count -= old.len();
        self.room_bytes -= old.room_bytes();
        for chunk in changed.into_iter().rev() {
            self.count += chunk.len();
            self.room_bytes += chunk.room_bytes();
            self.chunks.insert(number, chunk);
        }
    }
}

/// Equal elements in the same order, whatever the form.
impl PartialEq for List {
    fn eq(&self, other: &List) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for List {}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|element| element.bytes().escape_ascii().to_string())).finish()
    }
}
