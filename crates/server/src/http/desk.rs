//! What a request needs room for while it is served: its arguments, the replies to its commands, its answer.
//!
//! A thread has one desk, and the connection whose turn it is works at it: what was used last is used next, and is still in
//! the processor's cache, however many connections take turns. One whose request has to wait takes the desk along; the
//! next one gets another. A connection that is idle has none.
//!
//! Invariant: a desk that is given back is empty.

use super::answer::Answer;
use super::arguments::Arguments;
use std::cell::Cell;

/// Memory kept of the replies from one request to the next.
const KEPT_BYTES_MAX: usize = 64 << 10;

thread_local!(static FREE: Cell<Option<Box<Desk>>> = const { Cell::new(None) });

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
    /// The thread's, or a new one while that is in use.
    #[inline]
    pub fn take() -> Box<Desk> {
        FREE.take().unwrap_or_default()
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
        FREE.set(Some(self));
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
        desk.give_back();
        let desk = Desk::take();
        assert!(std::ptr::eq(place, &raw const *desk));
        assert!(desk.replies.is_empty() && desk.arguments.body().is_empty());
        assert_eq!(format!("{:?}", desk.answer), format!("{:?}", Answer::new()));
    }

    #[test]
    fn large_replies_are_not_kept() {
        let mut desk = Desk::take();
        desk.replies.resize(KEPT_BYTES_MAX + 1, b'x');
        desk.give_back();
        assert_eq!(Desk::take().replies.capacity(), 0);
    }
}
