//! Stretches of plain items that a table is made of: small ones grow by doubling, whole ones are a slab.
//!
//! Tables grow without end and most of what they hold stays, so their memory is taken from where the entries' is: it is
//! counted by pages that were touched, and goes to whoever needs it next once it is let go of. A general allocator keeps
//! blocks of such sizes per thread, and gives them back late.
//!
//! Deliberately not here: which chunk an item is in (`table.rs`).
//!
//! Invariants: the first `len` items are initialized; a whole chunk never moves.

#![expect(unsafe_code, reason = "a slab is raw memory")]

use crate::slab::{SLAB_BYTES, Whole};
use std::ops::{Deref, DerefMut};

const PAGE_BYTES: usize = 4 << 10;

/// See the module's text.
pub enum Chunk<T> {
    /// At most a quarter of a slab.
    Small(Vec<T>),
    /// A slab.
    Whole(WholeChunk<T>),
}

/// Items at the start of a slab.
pub struct WholeChunk<T> {
    memory: Whole,
    len: usize,
    items: std::marker::PhantomData<T>,
}

impl<T: Copy> Chunk<T> {
    /// Items in a whole chunk.
    pub const ITEMS_MAX: usize = SLAB_BYTES / size_of::<T>();
    /// Items in the largest of the small ones: the next doubling would take the page that a slab takes at first.
    const SMALL_ITEMS_MAX: usize = Self::ITEMS_MAX / 4;

    /// A chunk of one item that will hardly get many.
    pub fn small(first: T) -> Self {
        Chunk::Small(vec![first])
    }

    /// A chunk of one item that will likely get all.
    pub fn whole(first: T) -> Self {
        let mut chunk = WholeChunk { memory: Whole::take(), len: 0, items: std::marker::PhantomData };
        chunk.push(first);
        Chunk::Whole(chunk)
    }

    /// Adds an item; there must be fewer than [`Chunk::ITEMS_MAX`].
    ///
    /// # Cost
    /// A small chunk that is full is copied.
    pub fn push(&mut self, item: T) {
        match self {
            Chunk::Whole(chunk) => chunk.push(item),
            Chunk::Small(items) if items.len() < Self::SMALL_ITEMS_MAX => {
                if items.len() == items.capacity() {
                    items.reserve_exact(items.len().clamp(1, Self::SMALL_ITEMS_MAX - items.len()));
                }
                items.push(item);
            }
            Chunk::Small(items) => {
                let mut chunk = WholeChunk { memory: Whole::take(), len: 0, items: std::marker::PhantomData };
                for item in items.iter() {
                    chunk.push(*item);
                }
                chunk.push(item);
                *self = Chunk::Whole(chunk);
            }
        }
    }

    /// Takes the last item off, if there is one.
    pub fn pop(&mut self) {
        match self {
            Chunk::Whole(chunk) => chunk.len = chunk.len.saturating_sub(1),
            Chunk::Small(items) => {
                items.pop();
            }
        }
    }

    /// Memory that it takes: of a slab, the pages up to the last item.
    pub fn bytes(&self) -> usize {
        match self {
            Chunk::Whole(chunk) => (chunk.len * size_of::<T>()).next_multiple_of(PAGE_BYTES),
            Chunk::Small(items) => items.capacity() * size_of::<T>(),
        }
    }
}

impl<T: Copy> WholeChunk<T> {
    fn push(&mut self, item: T) {
        const { assert!(align_of::<T>() <= SLAB_BYTES && size_of::<T>() > 0, "a slab must suit its items") };
        assert!(self.len < Chunk::<T>::ITEMS_MAX, "a chunk must have room");
        // SAFETY: the item lies within the slab, which is ours alone, and slabs are aligned to their size.
        unsafe { self.memory.start().cast::<T>().add(self.len).write(item) };
        self.len += 1;
    }
}

impl<T> Deref for Chunk<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        match self {
            // SAFETY: `push` initialized the first `len` items, and the slab lives as long as the borrow.
            Chunk::Whole(chunk) => unsafe {
                std::slice::from_raw_parts(chunk.memory.start().cast().as_ptr(), chunk.len)
            },
            Chunk::Small(items) => items,
        }
    }
}

impl<T> DerefMut for Chunk<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            // SAFETY: as in `deref`, and `&mut self` makes it the only reference.
            Chunk::Whole(chunk) => unsafe {
                std::slice::from_raw_parts_mut(chunk.memory.start().cast().as_ptr(), chunk.len)
            },
            Chunk::Small(items) => items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_survive_growing_into_a_slab_and_shrinking() {
        let mut chunk = Chunk::small(0u64);
        for item in 1..Chunk::<u64>::ITEMS_MAX as u64 {
            chunk.push(item);
            assert_eq!(chunk.len() as u64, item + 1);
            assert!((chunk.len() * 8..=SLAB_BYTES).contains(&chunk.bytes()));
        }
        assert!(chunk.iter().copied().eq(0..Chunk::<u64>::ITEMS_MAX as u64));
        assert_eq!(chunk.bytes(), SLAB_BYTES);
        chunk[5] = 50;
        for _ in 6..Chunk::<u64>::ITEMS_MAX {
            chunk.pop();
        }
        assert_eq!((&chunk[..], chunk.bytes()), (&[0, 1, 2, 3, 4, 50][..], PAGE_BYTES));
    }

    #[test]
    #[should_panic(expected = "a chunk must have room")]
    fn a_full_chunk_takes_no_more() {
        let mut chunk = Chunk::whole(0u64);
        for item in 0..Chunk::<u64>::ITEMS_MAX as u64 {
            chunk.push(item);
        }
    }
}
