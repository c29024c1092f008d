//! Large blocks of memory, each a mapping of its own: given back to the system when they are freed, by whichever thread,
//! and moved by the kernel, not by copying, when they grow.
//!
//! An allocator keeps what was freed for the next who asks, and one with a heap for each thread keeps a block that
//! another thread frees until its own asks again: a thread that has nothing more to do never does (ADR 0004).
//!
//! Deliberately not here: what is large.

#![expect(unsafe_code, reason = "memory is taken from the kernel and given back")]

use rustix::mm::{MapFlags, MremapFlags, ProtFlags};
use std::ffi::c_void;

/// Blocks begin at multiples of this at least.
pub const BLOCK_ALIGN: usize = 4096;

/// Takes a block of `bytes` zeros. Null when the system has no more.
///
/// # Cost
/// One system call, and a page fault for each page when it is first written.
pub fn take_block(bytes: usize) -> *mut u8 {
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: the kernel chooses the place, so no memory in use is mapped over.
    let mapped = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, access, flags) };
    mapped.map_or(std::ptr::null_mut(), <*mut c_void>::cast)
}

/// Makes a block of `bytes` one of `new_bytes`, wherever that is then; what is added is zeros. Null, with everything as it was,
/// when the system has no more.
///
/// # Cost
/// One system call; nothing is copied.
///
/// # Safety
/// `block` is a block of `bytes` from here, owned by the caller alone.
pub unsafe fn resize_block(block: *mut u8, bytes: usize, new_bytes: usize) -> *mut u8 {
    // SAFETY: the caller vouches for the block, and uses the new place from now on.
    let moved = unsafe { rustix::mm::mremap(block.cast::<c_void>(), bytes, new_bytes, MremapFlags::MAYMOVE) };
    moved.map_or(std::ptr::null_mut(), <*mut c_void>::cast)
}

/// Gives a block back. A refusal of the kernel is ignored: the memory then merely stays in use.
///
/// # Safety
/// `block` is a block of `bytes` from here, and nobody uses it any more.
pub unsafe fn give_back_block(block: *mut u8, bytes: usize) {
    // SAFETY: the caller vouches that nobody uses it.
    let given = unsafe { rustix::mm::munmap(block.cast::<c_void>(), bytes) };
    let _refused = given.is_err();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_keeps_its_bytes_when_it_grows_and_shrinks_and_new_ones_are_zeros() {
        const BYTES: usize = (1 << 20) + 5;
        let block = take_block(BYTES);
        assert!(!block.is_null() && block.addr().is_multiple_of(BLOCK_ALIGN));
        // SAFETY: all accesses are within the memory just taken.
        unsafe {
            assert_eq!(block.add(BYTES - 1).read(), 0);
            block.write_bytes(7, BYTES);
            let grown = resize_block(block, BYTES, 9 * BYTES);
            assert_eq!((grown.read(), grown.add(BYTES - 1).read(), grown.add(9 * BYTES - 1).read()), (7, 7, 0));
            let shrunk = resize_block(grown, 9 * BYTES, 2);
            assert_eq!((shrunk.read(), shrunk.add(1).read()), (7, 7));
            give_back_block(shrunk, 2);
        }
    }

    #[test]
    fn more_than_there_is_is_refused() {
        assert!(take_block(usize::MAX / 2).is_null());
    }
}
