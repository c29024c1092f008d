//! What a request needs room for while it is served: its arguments, the replies to its commands, its answer.
//!
//! A thread has a few desks, and the connection whose turn it is works at the one that was used last: that is still in
//! the processor's cache, however many connections take turns. One whose request has to wait takes its desk along. A
//! connection that is idle, or that sends events without an end, has none.
//!
//! Deliberately not here: what a connection says and reads between requests (`connection.rs`).
//!
//! Invariant: a desk that is free is empty. One that is never given back, since its connection ended, goes.

use super::answer::Answer;
use super::arguments::Arguments;
use std::cell::RefCell;

/// Desks that a thread keeps while nobody is at them.
pub const FREE_COUNT_MAX: usize = 8;
/// Memory kept of the replies from one request to the next.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Whoever takes a desk holds a pointer to it, not all of it.
type Free = RefCell<Vec<Box<Desk>>>;

thread_local!(static FREE: Free = const { RefCell::new(Vec::new()) });

/// See the module's text.
#[derive(Default)]
pub struct Desk {
    /// The body of the request, and the arguments of the command in hand.
    pub arguments: Arguments,
    /// Replies to its commands.
    pub replies: Vec<u8>,
    /// What it is answered with.
    pub answer: Answer,
}

impl Desk {
    /// The one that was given back last on this thread, or a new one.
    #[inline]
    pub fn take() -> Box<Desk> {
        FREE.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// Leaves it to whoever is next on this thread.
    #[inline]
    pub fn give_back(mut self: Box<Self>) {
        self.arguments.begin_request();
        self.answer.begin(false);
        self.replies.clear();
        if KEPT_BYTES_MAX < self.replies.capacity() {
            self.replies = Vec::new();
        }
        FREE.with_borrow_mut(|free| {
            if free.len() < FREE_COUNT_MAX {
                free.push(self);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_desk_that_is_given_back_is_empty_and_used_again() {
        let mut desk = Desk::take();
        desk.replies.extend_from_slice(b"+OK\r\n");
        desk.arguments.begin(b"GET").add(b"key");
        desk.answer.status(404).header("a", "b").body().extend_from_slice(b"text");
        let (place, other) = (&raw const *desk, Desk::take());
        assert!(!std::ptr::eq(place, &raw const *other), "two requests at a time do not share one");
        other.give_back();
        desk.give_back();
        let desk = Desk::take();
        assert!(std::ptr::eq(place, &raw const *desk), "what was used last is used next");
        assert!(desk.replies.is_empty() && desk.arguments.body().is_empty() && desk.arguments.args().count() == 0);
        assert_eq!(format!("{:?}", desk.answer), format!("{:?}", Answer::new()));
    }

    #[test]
    fn many_desks_and_large_replies_are_not_kept() {
        let mut desks: Vec<_> = (0..2 * FREE_COUNT_MAX).map(|_| Desk::take()).collect();
        for desk in &mut desks {
            desk.replies.resize(KEPT_BYTES_MAX + 1, b'x');
        }
        desks.into_iter().for_each(Desk::give_back);
        assert_eq!(FREE.with_borrow(Vec::len), FREE_COUNT_MAX);
        assert_eq!(Desk::take().replies.capacity(), 0);
    }
}
