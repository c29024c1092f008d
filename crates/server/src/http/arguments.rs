//! The arguments of the commands that a request comes to, beside the request's body.
//!
//! ```text
//! bytes:  body of the request │ small arguments of the command in hand
//! ```
//!
//! A body is received once and is never copied: a command whose argument it is, or a part of it, only points there. A
//! large one can be given away with the command in hand, for a key to hold it.
//! Invariant: the body stays the same until the next request, or until it is given away.

use keyspace::SHARED_BYTES_MIN;
use std::ops::Range;
use std::sync::Arc;
use wire::args::{Args, Ranges};
use wire::http::percent_decode;

/// Room kept for small arguments behind a body, so that it need not be moved when they are added.
pub const ARGUMENTS_BYTES: usize = 4 << 10;
/// Memory kept from one request to the next.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// See the module's text.
#[derive(Default)]
pub struct Arguments {
    bytes: Vec<u8>,
    body_bytes: usize,
    ranges: Ranges,
}

impl Arguments {
    /// The body of the request; empty while it has not been received.
    #[inline]
    pub fn body(&self) -> &[u8] {
        &self.bytes[..self.body_bytes]
    }

    /// Begins a command with this name; the one before it is forgotten.
    #[inline]
    pub fn begin(&mut self, name: &[u8]) -> &mut Self {
        self.bytes.truncate(self.body_bytes);
        self.ranges.begin_placed();
        self.add(name)
    }

    /// Adds an argument, which is copied.
    #[inline]
    pub fn add(&mut self, arg: &[u8]) -> &mut Self {
        self.ranges.place(self.bytes.len(), arg.len());
        self.bytes.extend_from_slice(arg);
        self
    }

    /// Adds an argument that is text with `%XX` in it. `None` when that is spelled wrong.
    #[inline]
    pub fn add_decoded(&mut self, text: &[u8]) -> Option<&mut Self> {
        let start = self.bytes.len();
        percent_decode(text, &mut self.bytes)?;
        self.ranges.place(start, self.bytes.len() - start);
        Some(self)
    }

    /// Adds a number.
    pub fn add_number(&mut self, number: impl std::fmt::Display) -> &mut Self {
        self.add(number.to_string().as_bytes())
    }

    /// Adds the whole body, where it lies.
    #[inline]
    pub fn add_body(&mut self) -> &mut Self {
        self.add_part(0..self.body_bytes)
    }

    /// Adds a part of the body, where it lies.
    ///
    /// # Panics
    /// When it is not in the body.
    #[inline]
    pub fn add_part(&mut self, part: Range<usize>) -> &mut Self {
        assert!(part.end <= self.body_bytes, "a part of a body lies in it");
        self.ranges.place(part.start, part.len());
        self
    }

    /// The command.
    #[inline]
    pub fn args(&self) -> Args<'_> {
        self.ranges.args(&self.bytes)
    }

    /// Gives the bytes of the command in hand away if its body is a large one; [`Arguments::args_in`] reads them there.
    /// Nothing is left of the request then.
    pub fn give_away(&mut self) -> Option<Arc<Vec<u8>>> {
        if self.body_bytes < SHARED_BYTES_MIN {
            return None;
        }
        self.body_bytes = 0;
        Some(Arc::new(std::mem::take(&mut self.bytes)))
    }

    /// The command, whose bytes may have been given away.
    pub fn args_in<'a>(&'a self, given_away: Option<&'a Arc<Vec<u8>>>) -> Args<'a> {
        self.ranges.args(given_away.map_or(&self.bytes, |bytes| bytes))
    }

    /// A new request, without a body so far.
    pub(super) fn begin_request(&mut self) {
        self.bytes.clear();
        self.ranges.begin_placed();
        self.body_bytes = 0;
        if KEPT_BYTES_MAX < self.bytes.capacity() {
            self.bytes = Vec::new();
        }
    }

    /// Where the body is received; [`Arguments::end_body`] says that it has come whole.
    pub(super) fn body_space(&mut self) -> &mut Vec<u8> {
        assert_eq!(self.body_bytes, 0, "a request has one body");
        &mut self.bytes
    }

    /// The body has come whole.
    pub(super) fn end_body(&mut self) {
        self.body_bytes = self.bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_and_its_parts_are_arguments_where_they_lie() {
        let mut arguments = Arguments::default();
        arguments.body_space().extend_from_slice(b"hello world");
        arguments.end_body();
        arguments
            .begin(b"SET")
            .add_decoded(b"a%00b")
            .expect("it is spelled right")
            .add_body()
            .add(b"PX")
            .add_number(17);
        let args: Vec<&[u8]> = arguments.args().iter().collect();
        assert_eq!(args, [&b"SET"[..], b"a\0b", b"hello world", b"PX", b"17"]);
        assert!(std::ptr::eq(arguments.args().at(2), arguments.body()));
        arguments.begin(b"ECHO").add_part(6..11);
        assert_eq!(arguments.args().iter().collect::<Vec<_>>(), [&b"ECHO"[..], b"world"]);
        assert!(arguments.begin(b"GET").add_decoded(b"%").is_none());
        arguments.begin_request();
        assert_eq!(arguments.body(), b"");
    }

    #[test]
    fn a_large_body_is_given_away_with_its_command() {
        let mut arguments = Arguments::default();
        for bytes in [SHARED_BYTES_MIN - 1, SHARED_BYTES_MIN] {
            arguments.begin_request();
            arguments.body_space().resize(bytes, b'v');
            arguments.end_body();
            arguments.begin(b"SET").add(b"k").add_body();
            let at = arguments.body().as_ptr();
            let given_away = arguments.give_away();
            assert_eq!(given_away.is_some(), bytes == SHARED_BYTES_MIN);
            let args = arguments.args_in(given_away.as_ref());
            assert_eq!((args.at(0), args.at(1), args.at(2).len()), (&b"SET"[..], &b"k"[..], bytes));
            assert!(std::ptr::eq(args.at(2).as_ptr(), at));
        }
        assert_eq!(arguments.body(), b"");
    }
}
