//! The list data type: elements in an order of their own, taken and given at both ends.
//!
//! Two forms, one behaviour. A list whose elements fit one chunk is that chunk. A longer one is a row of chunks of a
//! few KiB: an element is found by walking over the counts of the chunks from the nearer end, or from where one was
//! found before, and a change in the middle rewrites one chunk. Chunks far from both ends are held compressed, so
//! elements are lent to whoever reads them for as long as a closure runs.
//!
//! Deliberately not here: Redis's names for its own forms (`commands`), blocking.
//!
//! Invariants: no chunk of a longer list is empty, and there are at least two; `bytes` counts what the heap gave.

mod chunk;
mod held;
mod image;
mod long;
mod packed;
#[cfg(test)]
mod tests;

pub use chunk::End;

use crate::tx::Str;
use chunk::{CHUNK_BYTES_MAX, Chunk, Piece};
use held::Held;
use long::Many;
use packed::Packed;
use smallvec::{SmallVec, smallvec};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::ops::{ControlFlow, Range};

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
            Form::Many(many) => many.count(),
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
            Form::Many(many) => many.bytes(),
        }
    }

    /// Heap bytes that the list would take if none of its chunks were compressed: what reading all of it is like. Cost:
    /// constant.
    #[inline]
    pub fn expanded_bytes(&self) -> usize {
        match &self.form {
            Form::One(chunk) => chunk.room_bytes(),
            Form::Many(many) => many.expanded_bytes(),
        }
    }

    /// Allocations that freeing the list gives back.
    pub fn chunk_count(&self) -> usize {
        match &self.form {
            Form::One(_) => 1,
            Form::Many(many) => many.chunk_count(),
        }
    }

    /// The chunk that element `index`, which must be there, lies in, and where in it.
    fn locate(&self, index: usize) -> (usize, usize) {
        assert!(index < self.len(), "only an element that is there lies anywhere");
        match &self.form {
            Form::One(_) => (0, index),
            Form::Many(many) => many.locate(index),
        }
    }

    /// A chunk, which is `scratch` if it is held compressed.
    fn open<'a>(&'a self, number: usize, scratch: &'a mut Chunk) -> &'a Chunk {
        match &self.form {
            Form::One(chunk) => chunk,
            Form::Many(many) => many.open(number, scratch),
        }
    }

    /// Has `read` look at element `index`, counted from the front.
    ///
    /// # Cost
    /// A walk over the chunks between it and the nearer end, or what was looked at before if that is nearer, and over half
    /// a chunk. Far from both ends, also that of expanding a chunk: 1 to 2 µs and an allocation.
    pub fn get<R>(&self, index: usize, read: impl FnOnce(Str<'_>) -> R) -> Option<R> {
        (index < self.len()).then(|| {
            let (number, at) = self.locate(index);
            read(self.open(number, &mut Chunk::default()).get(at))
        })
    }

    /// The element at an end.
    #[inline]
    pub fn end(&self, end: End) -> Option<Str<'_>> {
        match &self.form {
            Form::One(chunk) => chunk.end(end),
            Form::Many(many) => many.end(end).end(end),
        }
    }

    /// Shows `visit` the elements of a range, those nearest to `end` first, until it breaks. Returns what it broke with.
    ///
    /// # Cost
    /// As [`List::get`] for the first of them, and that of expanding each compressed chunk once.
    #[inline]
    pub fn walk<B>(
        &self,
        end: End,
        range: Range<usize>,
        mut visit: impl FnMut(Str<'_>) -> ControlFlow<B>,
    ) -> Option<B> {
        assert!(range.end <= self.len(), "only elements that are there are shown");
        let (mut left, mut scratch) = (range.len(), Chunk::default());
        if left == 0 {
            return None;
        }
        let (mut number, at) = self.locate(if end == End::Front { range.start } else { range.end - 1 });
        let mut at = Some(at);
        loop {
            let chunk = self.open(number, &mut scratch);
            let shown = match end {
                End::Front => at.unwrap_or(0)..chunk.len(),
                End::Back => 0..at.map_or(chunk.len(), |at| at + 1),
            };
            let (count, elements) = (shown.len().min(left), chunk.elements(shown));
            let flow = match end {
                End::Front => elements.take(count).try_for_each(&mut visit),
                End::Back => elements.rev().take(count).try_for_each(&mut visit),
            };
            if let ControlFlow::Break(broken) = flow {
                return Some(broken);
            }
            left -= count;
            if left == 0 {
                return None;
            }
            at = None;
            number = if end == End::Front { number + 1 } else { number - 1 };
        }
    }

    /// Shows `visit` all elements, from the front to the back. Cost: as [`List::walk`].
    pub fn for_each(&self, mut visit: impl FnMut(Str<'_>)) {
        self.walk(End::Front, 0..self.len(), |element| {
            visit(element);
            ControlFlow::<Infallible>::Continue(())
        });
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
        self.set_chunks(chunks.into_iter().filter(|chunk| !chunk.is_empty()).map(Held::from).collect());
    }

    fn set_chunks(&mut self, mut chunks: VecDeque<Held>) {
        self.form = if chunks.len() <= 1 {
            Form::One(chunks.pop_front().map(Held::into_plain).unwrap_or_default())
        } else {
            Form::Many(Box::new(Many::of(chunks)))
        };
    }

    /// Gives up `count` elements at an end, or all if there are not so many.
    ///
    /// # Cost
    /// In proportion to the chunks that go.
    #[inline]
    pub fn trim(&mut self, end: End, count: usize) {
        if count == 0 {
            return;
        }
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
                if many.chunk_count() == 1 {
                    let chunks = many.take_chunks();
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
        let changed = spliced(self.open(number, &mut Chunk::default()), at, removed, new);
        match &mut self.form {
            Form::One(_) => self.set_chunks(changed.into_iter().map(Held::from).collect()),
            Form::Many(many) => many.replace(number, changed),
        }
    }

    /// Removes the elements with these indexes, which ascend. Indexes beyond the end are nobody's.
    ///
    /// # Cost
    /// A walk over the chunks, and a copy of each that loses an element, which stays plain for a while.
    pub fn remove_all(&mut self, indexes: impl Iterator<Item = usize>) {
        let mut indexes = indexes.peekable();
        let chunks = match std::mem::take(&mut self.form) {
            Form::One(chunk) => VecDeque::from([Held::from(chunk)]),
            Form::Many(mut many) => many.take_chunks(),
        };
        let mut kept = VecDeque::with_capacity(chunks.len());
        let mut start = 0;
        for chunk in chunks {
            let end = start + chunk.len();
            let gone: Vec<usize> =
                std::iter::from_fn(|| indexes.next_if(|index| *index < end)).map(|index| index - start).collect();
            let chunk = if gone.is_empty() { chunk } else { Held::from(without(&chunk.into_plain(), &gone)) };
            if 0 < chunk.len() {
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

/// Adds a chunk at the back, to the last one if both are so small that they had better be one.
fn push_merging(chunks: &mut VecDeque<Held>, chunk: Held) {
    match chunks.back_mut() {
        Some(last) if last.used_bytes() + chunk.used_bytes() <= CHUNK_BYTES_MAX / 2 => {
            let (one, other) = (last.make_plain(), chunk.into_plain());
            *last = Held::from(Chunk::of(&[Piece::Range(one, 0..one.len()), Piece::Range(&other, 0..other.len())]));
        }
        _ => chunks.push_back(chunk),
    }
}

/// Equal elements in the same order, whatever the form.
impl PartialEq for List {
    fn eq(&self, other: &List) -> bool {
        let image = |list: &List| {
            let mut image = Vec::new();
            list.encode(&mut image);
            image
        };
        self.len() == other.len() && image(self) == image(other)
    }
}

impl Eq for List {}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_list();
        self.for_each(|element| _ = shown.entry(&element.bytes().escape_ascii().to_string()));
        shown.finish()
    }
}
