//! Memory in whole pages: taken from the operating system, and given back while its addresses stay ours.
//!
//! Deliberately not here: allocation of anything smaller. Whoever owns the memory decides which pages nobody needs.

#![expect(unsafe_code, reason = "the kernel is asked for memory, and to take it away")]

use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::alloc::Layout;
use std::ffi::c_void;
use std::ptr::NonNull;

/// Takes `layout.size()` bytes of zeros that start at a multiple of `layout.align()`. They are never taken back
/// whole, and cost nothing until they are written. `None` when the system has no more.
///
/// They come in small pages: the kernel fills holes in memory that it may turn into huge pages, so that what is given
/// back would not stay so, and the first write into a huge page clears 2 MiB while its writer waits.
///
/// # Cost
/// Two system calls; addresses, but no memory, for `layout.align()` bytes more.
pub fn take_pages(layout: Layout) -> Option<NonNull<u8>> {
    if cfg!(miri) {
        // SAFETY: an empty layout is no caller's wish. An interpreted program has no kernel to ask.
        return NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) });
    }
    let bytes = layout.size() + layout.align();
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: the kernel chooses the place, so no memory in use is mapped over.
    let mapped =
        unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags) };
    let start = mapped.ok()?.cast::<u8>();
    let start = NonNull::new(start.wrapping_add(start.align_offset(layout.align())))?;
    // SAFETY: this advice changes no contents.
    unsafe { advise(start, layout.size(), Advice::LinuxNoHugepage) };
    Some(start)
}

/// Gives the pages of `bytes` bytes at `start` back. They stay writable; what was in them is lost, and what they
/// hold next is not defined until it is written.
///
/// A refusal of the kernel is ignored: the memory then merely stays in use.
///
/// # Cost
/// One system call, and a page fault for each page when it is next written.
///
/// # Safety
/// The range is private heap memory of this process in whole pages, owned by the caller alone, and nobody reads
/// it before writing it again.
pub unsafe fn give_back_pages(start: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller vouches that nobody needs the contents.
    unsafe { advise(start, bytes, Advice::LinuxDontNeed) }
}

/// # Safety
/// That of the advice.
unsafe fn advise(start: NonNull<u8>, bytes: usize, advice: Advice) {
    if cfg!(miri) {
        return; // An interpreted program has no kernel to advise.
    }
    // SAFETY: the caller vouches; the mapping itself is not changed.
    let advised = unsafe { rustix::mm::madvise(start.as_ptr().cast::<c_void>(), bytes, advice) };
    let _refused = advised.is_err();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_given_back_are_zeros_that_can_be_written_again() {
        const BYTES: usize = 4 << 20;
        let layout = Layout::from_size_align(BYTES, 2 << 20).expect("powers of two");
        let start = take_pages(layout).expect("a few megabytes");
        assert_eq!(start.as_ptr().addr() % layout.align(), 0);
        // SAFETY: all accesses are within the memory just taken.
        unsafe {
            start.write_bytes(7, BYTES);
            give_back_pages(start, BYTES / 2);
            assert_eq!((start.read(), start.add(BYTES - 1).read()), (0, 7));
            start.write_bytes(9, BYTES);
            assert_eq!(start.read(), 9);
        }
    }
}
