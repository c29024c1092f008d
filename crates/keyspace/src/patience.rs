//! Freeing large collections on a thread that lets others run in between.
//!
//! A thread that frees millions of elements in one go uses up the slice of time that the system gives it, some
//! milliseconds, before who has just been woken on the same core gets any: every client would wait for that.
//!
//! Deliberately not here: which values are left to such a thread (`Garbage`).

use std::cell::Cell;

/// Elements freed between two moments at which others may run: some hundreds of microseconds. Fewer would have memory
/// wait for very long where a core is never idle, as Linux takes a whole slice for each time that somebody gives way.
const ELEMENTS_PER_TURN: u32 = 2048;

thread_local! {
    /// Elements that may still be freed in this turn; none for a thread that has no turns.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// From now on this thread lets others run while it frees the elements of large collections.
pub fn free_in_turns() {
    LEFT.set(Some(ELEMENTS_PER_TURN));
}

/// An element of a large collection is about to be freed.
#[inline]
pub(crate) fn before_each() {
    match LEFT.get() {
        None => {}
        Some(0) => {
            std::thread::yield_now();
            LEFT.set(Some(ELEMENTS_PER_TURN));
        }
        Some(left) => LEFT.set(Some(left - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_counted_on_a_thread_that_has_them_only() {
        let after = |count: u32| {
            (0..count).for_each(|_| before_each());
            LEFT.get()
        };
        assert_eq!(after(10), None);
        free_in_turns();
        assert_eq!(after(10), Some(ELEMENTS_PER_TURN - 10));
        assert_eq!(after(ELEMENTS_PER_TURN - 10), Some(0));
        assert_eq!(after(1), Some(ELEMENTS_PER_TURN), "others ran");
    }
}
