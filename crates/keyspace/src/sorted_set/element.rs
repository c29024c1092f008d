//! One member of a large sorted set with its score, in one heap block behind one thin pointer.
//!
//! ```text
//! block   score:f64 | member_bytes:u8 | member                         members of less than 255 bytes
//!         score:f64 | 255:u8 | member_bytes:u32 | member               longer ones
//! ```
//!
//! Little-endian, unaligned. The tree has the score too, next to the pointer: it must not follow the pointer to
//! compare, and the table, which finds the block, must not go down the tree to know the score.
//!
//! Invariant: the length in a block is that of the block's allocation, so that it says the layout when it is freed.

#![expect(unsafe_code, reason = "a block of dynamic layout behind a thin pointer has no safe form")]

use super::Scored;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

const LENGTH_AT: usize = 8;
const LENGTH_EXTENDED: usize = 255;
/// Blocks are multiples of this, as allocators round them anyway (mimalloc, jemalloc).
const BLOCK_STEP_BYTES: usize = 16;

/// An owned member. Freed on drop.
pub(super) struct Element(NonNull<u8>);

/// Where a member of this length starts in its block.
#[inline]
fn member_at(member_bytes: usize) -> usize {
    if member_bytes < LENGTH_EXTENDED { LENGTH_AT + 1 } else { LENGTH_AT + 5 }
}

fn block_bytes(member_bytes: usize) -> usize {
    (member_at(member_bytes) + member_bytes).next_multiple_of(BLOCK_STEP_BYTES)
}

fn layout(member_bytes: usize) -> Layout {
    // Nothing in a block needs alignment, and an allocator may pad for it (mimalloc 3 adds a third).
    Layout::from_size_align(block_bytes(member_bytes), 1).expect("a length of 32 bits fits a layout")
}

impl Element {
    /// # Cost
    /// One allocation.
    pub fn new(scored: Scored<'_>) -> Element {
        let Scored { member, score } = scored;
        assert!(u32::try_from(member.len()).is_ok(), "a door refuses longer members");
        let layout = layout(member.len());
        // SAFETY: a block has at least a score and a length, so its size is not zero.
        let start = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        let mut element = Element(start);
        element.write(0, &score.to_le_bytes());
        element.write(LENGTH_AT, &[member.len().min(LENGTH_EXTENDED) as u8]);
        if LENGTH_EXTENDED <= member.len() {
            element.write(LENGTH_AT + 1, &(member.len() as u32).to_le_bytes());
        }
        element.write(member_at(member.len()), member);
        element
    }

    /// Copies `bytes` to `at`.
    #[inline]
    fn write(&mut self, at: usize, bytes: &[u8]) {
        // SAFETY: private, and each caller's `at` and length lie inside what the block was allocated for; a slice given
        // by a caller of `new` cannot alias a block held by `&mut`.
        unsafe { self.0.as_ptr().add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    /// Gives the member another score.
    pub fn set_score(&mut self, score: f64) {
        self.write(0, &score.to_le_bytes());
    }

    /// What the block holds.
    pub fn scored(&self) -> Scored<'_> {
        // SAFETY: an owned block is live, and not changed while `self` is borrowed.
        unsafe { scored_at(self.0) }
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        block_bytes(self.scored().member.len())
    }

    /// Gives the block away as a number that a table or a tree can hold. [`Element::from_slot`] takes it back.
    pub fn into_slot(self) -> u64 {
        ManuallyDrop::new(self).0.as_ptr().expose_provenance() as u64
    }

    /// Takes back a block.
    ///
    /// # Safety
    /// `slot` came from [`Element::into_slot`]. Of all elements made from it at most one is dropped, and none is used
    /// after that one, nor changed while another is borrowed.
    pub unsafe fn from_slot(slot: u64) -> Element {
        // SAFETY: the caller says that `into_slot` made the number.
        Element(unsafe { start_of(slot) })
    }

    /// What the block behind `slot` holds, without taking it back.
    ///
    /// # Safety
    /// As for [`Element::from_slot`]; the block stays, unchanged, for `'a`.
    #[inline]
    pub unsafe fn scored_of<'a>(slot: u64) -> Scored<'a> {
        // SAFETY: the caller says that the block is live, and stays so for 'a.
        unsafe { scored_at(start_of(slot)) }
    }
}

/// # Safety
/// `slot` came from [`Element::into_slot`].
#[inline]
unsafe fn start_of(slot: u64) -> NonNull<u8> {
    // SAFETY: the number was made from a non-null pointer.
    unsafe { NonNull::new_unchecked(std::ptr::with_exposed_provenance_mut(slot as usize)) }
}

/// # Safety
/// `start` is that of a live block, which stays, unchanged, for `'a`.
#[inline]
unsafe fn scored_at<'a>(start: NonNull<u8>) -> Scored<'a> {
    // SAFETY: the length in a live block says where the parts lie that `Element::new` wrote; arrays need no alignment.
    unsafe {
        let score = f64::from_le_bytes(start.cast::<[u8; 8]>().read());
        let mut member_bytes = usize::from(start.add(LENGTH_AT).read());
        if member_bytes == LENGTH_EXTENDED {
            member_bytes = u32::from_le_bytes(start.add(LENGTH_AT + 1).cast::<[u8; 4]>().read()) as usize;
        }
        let member = std::slice::from_raw_parts(start.add(member_at(member_bytes)).as_ptr(), member_bytes);
        Scored { member, score }
    }
}

impl Drop for Element {
    fn drop(&mut self) {
        // SAFETY: the length in the block is that of its allocation, and an owned block is dropped once.
        unsafe { dealloc(self.0.as_ptr(), layout(self.scored().member.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_holds_what_it_was_given_at_every_length() {
        for member_bytes in [0, 1, 6, 7, 8, 22, 23, 64, 254, 255, 256, 70_000] {
            let member = vec![b'm'; member_bytes];
            for score in [0.0, -0.0, 1.5, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
                let mut element = Element::new(Scored { member: &member, score: 7.0 });
                element.set_score(score);
                assert_eq!(element.scored().member, member);
                assert_eq!(element.scored().score.to_bits(), score.to_bits());
                assert!(member_bytes + LENGTH_AT < element.bytes());
                assert!(element.bytes() <= member_bytes + LENGTH_AT + 5 + BLOCK_STEP_BYTES);
            }
        }
    }

    #[test]
    fn a_slot_gives_its_element_back() {
        let slot = Element::new(Scored { member: b"member", score: 2.5 }).into_slot();
        // SAFETY: the slot is an element's, which is dropped once, below, after this borrow.
        assert_eq!(unsafe { Element::scored_of(slot) }, Scored { member: b"member", score: 2.5 });
        // SAFETY: nothing else was made of the slot.
        drop(unsafe { Element::from_slot(slot) });
    }
}
