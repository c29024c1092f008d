//! Freeing large collections on a thread that lets others run in between.
//!
//! A thread that frees millions of elements in one go uses up the slice of time that the system gives it, some
//! milliseconds, before who has just been woken on the same core gets any: every client would wait for that.
//!
//! Fields, members and the keys of a flushed database are counted. Deliberately not here: lists, streams and the trees of
//! sorted sets, which are far fewer blocks; which values are left to such a thread (`Garbage`); how others are let run.

use std::cell::{Cell, RefCell};

/// Elements freed between two moments at which others may run: some hundreds of microseconds. Fewer would have memory
/// wait for very long where a core is never idle, as Linux takes a whole slice for each time that somebody gives way.
const ELEMENTS_PER_TURN: u32 = 2048;

thread_local! {
    /// Elements that may still be freed in this turn; none for a thread that has no turns.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    static GIVE_WAY: RefCell<Box<dyn Fn()>> = RefCell::new(Box::new(|| ()));
}

/// From now on this thread calls `give_way` again and again while it frees the elements of large collections.
pub fn free_in_turns(give_way: impl Fn() + 'static) {
    GIVE_WAY.set(Box::new(give_way));
    LEFT.set(Some(ELEMENTS_PER_TURN));
}

/// An element of a large collection is about to be freed.
#[inline]
pub(crate) fn before_each() {
    match LEFT.get() {
        None => {}
        Some(0) => {
            GIVE_WAY.with_borrow(|give_way| give_way());
            LEFT.set(Some(ELEMENTS_PER_TURN - 1));
        }
        Some(left) => LEFT.set(Some(left - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn others_run_before_every_further_turn_of_a_thread_that_has_turns() {
        (0..2 * ELEMENTS_PER_TURN).for_each(|_| before_each());
        let given = Rc::new(Cell::new(0));
        let counted = Rc::clone(&given);
        free_in_turns(move || counted.set(counted.get() + 1));
        let after = |count: u32| {
            (0..count).for_each(|_| before_each());
            given.get()
        };
        assert_eq!(after(ELEMENTS_PER_TURN), 0);
        assert_eq!(after(1), 1);
        assert_eq!(after(ELEMENTS_PER_TURN - 1), 1);
        assert_eq!(after(1 + 3 * ELEMENTS_PER_TURN), 5);
    }
}
