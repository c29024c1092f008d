//! The global allocator of the binary: mimalloc for what is small, and for what is large the system itself (ADR 0004).
//!
//! # Invariants
//! - Whether a block is large follows from its layout alone, so that who frees it asks the right one.

#![expect(unsafe_code, reason = "an allocator is made of unsafe functions")]

use env::{BLOCK_ALIGN, give_back_block, resize_block, take_block};
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};

/// Blocks of so many bytes and more come from the system: the page faults of a fresh one cost less than filling it does, and
/// no thread keeps it when it is freed.
const LARGE_BYTES_MIN: usize = 4 << 20;

/// See the head of this file.
pub struct Allocator;

#[inline]
fn is_large(bytes: usize, align: usize) -> bool {
    LARGE_BYTES_MIN <= bytes && align <= BLOCK_ALIGN
}

// SAFETY: both allocators keep the promises of `GlobalAlloc`: mimalloc as its crate says, and the kernel, whose blocks are
// as long as asked for at least, aligned to pages, and nobody else's. A block goes back to where it came from.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout.size(), layout.align()) {
            return take_block(layout.size());
        }
        // SAFETY: the caller's layout.
        unsafe { MiMalloc.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout.size(), layout.align()) {
            return take_block(layout.size());
        }
        // SAFETY: the caller's layout.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_large(layout.size(), layout.align()) {
            // SAFETY: the caller vouches that it was allocated with this layout, so it came from there.
            return unsafe { give_back_block(block, layout.size()) };
        }
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        let (was_large, is_large) = (is_large(layout.size(), layout.align()), is_large(new_bytes, layout.align()));
        // SAFETY: the caller vouches for the block and its layout, and that the new size is a valid one.
        match (was_large, is_large) {
            (false, false) => unsafe { MiMalloc.realloc(block, layout, new_bytes) },
            (true, true) => unsafe { resize_block(block, layout.size(), new_bytes) },
            _ => unsafe { move_to_other(block, layout, new_bytes) },
        }
    }
}

/// Reallocates from one allocator to the other.
///
/// # Safety
/// As [`GlobalAlloc::realloc`].
#[cold]
unsafe fn move_to_other(block: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
    // SAFETY: the caller vouches for block, layout and size; the two blocks do not overlap.
    unsafe {
        let moved = Allocator.alloc(Layout::from_size_align_unchecked(new_bytes, layout.align()));
        if !moved.is_null() {
            moved.copy_from_nonoverlapping(block, layout.size().min(new_bytes));
            Allocator.dealloc(block, layout);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_when_a_block_becomes_large_grows_and_is_small_again() {
        for align in [1, 16, 4096, 8192] {
            let sizes = [10, LARGE_BYTES_MIN - 1, LARGE_BYTES_MIN, 3 * LARGE_BYTES_MIN + 1, LARGE_BYTES_MIN, 7, 100];
            let layout = |bytes| Layout::from_size_align(bytes, align).expect("a valid layout");
            // SAFETY: blocks are used within their sizes, and freed with the layout they have then.
            unsafe {
                let mut block = Allocator.alloc(layout(sizes[0]));
                block.write_bytes(9, 7);
                for pair in sizes.windows(2) {
                    block = Allocator.realloc(block, layout(pair[0]), pair[1]);
                    assert_eq!(block.addr() % align, 0);
                    block.add(pair[1] - 1).write(9);
                    assert_eq!(std::slice::from_raw_parts(block, 7), [9; 7]);
                }
                Allocator.dealloc(block, layout(100));
            }
        }
    }

    #[test]
    fn zeroed_blocks_are_zeros_whatever_their_size() {
        for bytes in [100, LARGE_BYTES_MIN] {
            let layout = Layout::from_size_align(bytes, 8).expect("a valid layout");
            // SAFETY: as above.
            unsafe {
                let block = Allocator.alloc_zeroed(layout);
                assert!(std::slice::from_raw_parts(block, bytes).iter().all(|byte| *byte == 0));
                Allocator.dealloc(block, layout);
            }
        }
    }
}
