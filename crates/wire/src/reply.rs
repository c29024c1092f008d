//! Replies to bytes: the answering half of RESP, in the protocol version of the connection.
//!
//! Deliberately not here: what to answer. The writer does not check that an array receives as many elements as its
//! header promised; a handler's golden test does.
//!
//! What RESP2 has no word for becomes what Redis sends instead:
//!
//! | reply       | RESP3                    | RESP2                        |
//! |-------------|--------------------------|------------------------------|
//! | null        | `_\r\n`                  | `$-1\r\n` or `*-1\r\n`       |
//! | boolean     | `#t\r\n`                 | `:1\r\n`                     |
//! | double      | `,1.5\r\n`               | bulk `1.5`                   |
//! | big number  | `(123…\r\n`              | bulk `123…`                  |
//! | verbatim    | `=7\r\ntxt:abc\r\n`      | bulk `abc`                   |
//! | map of n    | `%n\r\n`                 | `*2n\r\n`                    |
//! | set, push   | `~n\r\n`, `>n\r\n`       | `*n\r\n`                     |
//! | attribute   | `\|n\r\n` …              | nothing                      |
//! | bulk error  | `!n\r\n…`                | `-…\r\n`                     |
//!
//! Invariant: no text of ours or of a client can end a line early; simple strings and errors have their line ends
//! replaced by spaces.
//!
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>, behaviour of Redis 7.2 `addReply*`.

use base::SharedBytes;
use base::number::{NumberText, format_f64};

/// Bytes of the longest header: a marker, an `i64`, a line end.
const HEADER_BYTES_MAX: usize = 1 + base::number::I64_TEXT_BYTES_MAX + 2;

/// Protocol version of a connection: 2 until the client asks for 3 with `HELLO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// What Redis spoke up to version 5.
    Resp2,
    /// Typed replies and pushes.
    Resp3,
}

/// A place in the reply bytes, to put a header in front of what follows or to take back what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Mark(usize);

/// Large strings that belong into replies and are not copied there: each goes out between two bytes of the buffer.
///
/// Invariant: places ascend, and are those of the buffer that the replies are written to.
#[derive(Debug, Default)]
pub struct Apart {
    parts: Vec<(usize, SharedBytes)>,
    bytes: usize,
    is_wanted: bool,
}

impl Apart {
    /// Whoever sends the buffer looks here, too. Before that, nothing is kept apart.
    pub fn want(&mut self, is_wanted: bool) {
        self.is_wanted = is_wanted;
    }

    /// Whether somebody looks here.
    pub fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// Bytes of all that is kept apart.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is kept apart, with the byte of the buffer that each goes before.
    pub fn take(&mut self) -> Vec<(usize, SharedBytes)> {
        self.bytes = 0;
        std::mem::take(&mut self.parts)
    }

    fn push(&mut self, at: usize, bytes: &SharedBytes) {
        self.bytes += bytes.len();
        self.parts.push((at, bytes.clone()));
    }

    /// Forgets what belongs at `at` or behind it: so much of the buffer is left.
    #[inline]
    pub fn truncate(&mut self, at: usize) {
        while let Some((_, bytes)) = self.parts.pop_if(|(place, _)| at <= *place) {
            self.bytes -= bytes.len();
        }
    }
}

/// Appends replies to a connection's buffer.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
    apart: Option<&'a mut Apart>,
}

impl<'a> Reply<'a> {
    /// A writer behind what `out` already holds.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Reply { out, protocol, apart: None }
    }

    /// As [`Reply::new`], with a place for large strings beside the buffer.
    #[inline]
    pub fn with_apart(out: &'a mut Vec<u8>, protocol: Protocol, apart: &'a mut Apart) -> Self {
        Reply { out, protocol, apart: Some(apart) }
    }

    /// The version replies are written in.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Changes the version of the replies that follow, as `HELLO` does before its own reply.
    pub fn switch(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A simple string; line ends become spaces.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// A simple string of any bytes; line ends become spaces.
    #[inline]
    pub fn simple_bytes(&mut self, text: &[u8]) {
        self.line(b'+', text);
    }

    /// An error, `message` beginning with its code (`ERR …`, `WRONGTYPE …`). Line ends around it are dropped, those
    /// within become spaces; other bytes are sent as they are.
    pub fn error(&mut self, message: impl AsRef<[u8]>) {
        self.line(b'-', trim_line_ends(message.as_ref()));
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        if let Ok(value) = u64::try_from(value) {
            return self.header(b':', value);
        }
        let text = base::number::format_i64(value);
        self.line_number(b':', &text);
    }

    /// A count as an integer reply. Counts of things in memory never reach 2^63.
    #[inline]
    pub fn count(&mut self, value: usize) {
        self.header(b':', value as u64);
    }

    /// A bulk string of any bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(HEADER_BYTES_MAX + bytes.len() + 2);
        self.header(b'$', bytes.len() as u64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A large bulk string: kept apart where somebody wants that, else copied. No header may be put before it afterwards.
    #[cold]
    pub fn bulk_shared(&mut self, bytes: &SharedBytes) {
        if !self.apart.as_ref().is_some_and(|apart| apart.is_wanted) {
            return self.bulk(bytes);
        }
        self.header(b'$', bytes.len() as u64);
        if let Some(apart) = &mut self.apart {
            apart.push(self.out.len(), bytes);
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Keeps what was written since `mark` apart, but for its last byte, which keeps the place of the next reply behind
    /// it; nothing where nobody wants that. The mark stays valid: [`Reply::rewind`] to it takes back what is apart, too.
    ///
    /// # Cost
    /// A copy. The buffer keeps its room.
    pub fn put_aside(&mut self, mark: Mark) {
        let Some(apart) = self.apart.as_mut().filter(|apart| apart.is_wanted) else { return };
        let Some(end) = self.out.len().checked_sub(1).filter(|end| mark.0 < *end) else { return };
        apart.push(mark.0, &SharedBytes::from(self.out[mark.0..end].to_vec()));
        self.out.drain(mark.0..end);
    }

    /// An integer as a bulk string, as values that hold integers are read back.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(&base::number::format_i64(value));
    }

    /// A double as a bulk string in either version.
    pub fn bulk_double(&mut self, value: f64) {
        self.bulk(&format_f64(value));
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// No value where an array was asked for.
    pub fn null_array(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Begins an array; `count` replies follow.
    #[inline]
    pub fn array(&mut self, count: usize) {
        self.header(b'*', count as u64);
    }

    /// Begins a map; `count` pairs of replies follow.
    pub fn map(&mut self, count: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', count as u64 * 2),
            Protocol::Resp3 => self.header(b'%', count as u64),
        }
    }

    /// Begins a set; `count` replies follow.
    pub fn set(&mut self, count: usize) {
        self.header(self.marker_or_array(b'~'), count as u64);
    }

    /// Begins a push, which answers no command; `count` replies follow.
    pub fn push(&mut self, count: usize) {
        self.header(self.marker_or_array(b'>'), count as u64);
    }

    /// Writes attributes, `count` pairs of replies made by `pairs`, in front of the reply they describe. RESP2 has no
    /// attributes: `pairs` is not called.
    pub fn attribute(&mut self, count: usize, pairs: impl FnOnce(&mut Self)) {
        if self.protocol == Protocol::Resp3 {
            self.header(b'|', count as u64);
            pairs(self);
        }
    }

    /// A double as [`format_f64`] spells it.
    pub fn double(&mut self, value: f64) {
        self.double_text(&format_f64(value));
    }

    /// A double already spelled out.
    pub fn double_text(&mut self, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => self.line(b',', text),
        }
    }

    /// True or false.
    pub fn boolean(&mut self, value: bool) {
        self.raw(match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        });
    }

    /// An integer of any size, `digits` with an optional sign.
    pub fn big_number(&mut self, digits: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits),
            Protocol::Resp3 => self.line(b'(', digits),
        }
    }

    /// Text for people, `format` being three letters such as `txt` or `mkd`.
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        if self.protocol == Protocol::Resp2 {
            return self.bulk(text);
        }
        self.header(b'=', text.len() as u64 + 4);
        self.out.extend_from_slice(&format);
        self.out.push(b':');
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An error of any bytes. Redis never sends one to clients; between nodes it keeps line ends.
    pub fn bulk_error(&mut self, message: &[u8]) {
        if self.protocol == Protocol::Resp2 {
            return self.error(message);
        }
        self.header(b'!', message.len() as u64);
        self.out.extend_from_slice(message);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Bytes that are already whole replies.
    #[inline]
    pub fn raw(&mut self, replies: &[u8]) {
        self.out.extend_from_slice(replies);
    }

    /// Whether no reply waits to be sent before this one.
    pub fn is_first(&self) -> bool {
        self.out.is_empty()
    }

    /// Where the next reply will begin.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark(self.out.len())
    }

    /// Takes back everything since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        assert!(mark.0 <= self.out.len(), "a mark stays valid while replies are only added");
        self.out.truncate(mark.0);
        if let Some(apart) = &mut self.apart {
            apart.truncate(mark.0);
        }
    }

    /// What was written since `mark`.
    pub fn since(&self, mark: Mark) -> &[u8] {
        &self.out[mark.0..]
    }

    /// Makes an array of the `count` replies written since `mark`.
    /// # Cost
    /// Moves the bytes since `mark` once; nested arrays move theirs once a level.
    pub fn array_since(&mut self, mark: Mark, count: usize) {
        self.header_since(mark, |reply| reply.array(count));
    }

    /// Makes a map of the `count` pairs of replies written since `mark`; costs what `array_since` does.
    pub fn map_since(&mut self, mark: Mark, count: usize) {
        self.header_since(mark, |reply| reply.map(count));
    }

    /// Makes a set of the `count` replies written since `mark`; costs what `array_since` does.
    pub fn set_since(&mut self, mark: Mark, count: usize) {
        self.header_since(mark, |reply| reply.set(count));
    }

    fn header_since(&mut self, mark: Mark, header: impl FnOnce(&mut Self)) {
        assert!(mark.0 <= self.out.len(), "a mark stays valid while replies are only added");
        let is_before_all = |apart: &Apart| apart.parts.last().is_none_or(|(at, _)| *at <= mark.0);
        assert!(self.apart.as_ref().is_none_or(|apart| is_before_all(apart)), "what is kept apart keeps its place");
        let body_end = self.out.len();
        header(self);
        let header_bytes = self.out.len() - body_end;
        self.out[mark.0..].rotate_right(header_bytes);
    }

    fn marker_or_array(&self, marker: u8) -> u8 {
        match self.protocol {
            Protocol::Resp2 => b'*',
            Protocol::Resp3 => marker,
        }
    }

    /// `marker`, `value`, line end. One or two digits are nearly all there is.
    #[inline]
    fn header(&mut self, marker: u8, value: u64) {
        if value < 10 {
            self.out.extend_from_slice(&[marker, b'0' + value as u8, b'\r', b'\n']);
        } else if value < 100 {
            let (tens, ones) = (value as u8 / 10, value as u8 % 10);
            self.out.extend_from_slice(&[marker, b'0' + tens, b'0' + ones, b'\r', b'\n']);
        } else {
            self.header_long(marker, value);
        }
    }

    fn header_long(&mut self, marker: u8, value: u64) {
        self.out.reserve(HEADER_BYTES_MAX);
        self.out.push(marker);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn line_number(&mut self, marker: u8, text: &NumberText) {
        self.out.reserve(HEADER_BYTES_MAX);
        self.out.push(marker);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A line of text whose own line ends become spaces.
    #[inline]
    fn line(&mut self, marker: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.push(marker);
        let start = self.out.len();
        self.out.extend_from_slice(text);
        for at in memchr::memchr2_iter(b'\r', b'\n', text) {
            self.out[start + at] = b' ';
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

fn trim_line_ends(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b'\r' | b'\n');
    let Some(first) = text.iter().position(is_text) else { return &[] };
    let last = text.iter().rposition(is_text).unwrap_or(first);
    &text[first..=last]
}

#[cfg(test)]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general over the lifetime")]
mod tests {
    use super::*;

    fn written(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Reply::new(&mut out, protocol));
        String::from_utf8(out).unwrap()
    }

    /// What `write` gives in RESP2 and in RESP3.
    fn both(write: impl Fn(&mut Reply<'_>)) -> (String, String) {
        (written(Protocol::Resp2, &write), written(Protocol::Resp3, &write))
    }

    fn assert_both(write: impl Fn(&mut Reply<'_>), resp2: &str, resp3: &str) {
        assert_eq!(both(write), (resp2.to_owned(), resp3.to_owned()));
    }

    #[test]
    fn replies_known_to_both_versions_are_the_same() {
        let same = |write: &dyn Fn(&mut Reply<'_>), expected: &str| assert_both(write, expected, expected);
        same(&|reply| reply.ok(), "+OK\r\n");
        same(&|reply| reply.simple("PONG"), "+PONG\r\n");
        same(&|reply| reply.error("ERR no"), "-ERR no\r\n");
        same(&|reply| reply.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n");
        same(&|reply| reply.bulk(b""), "$0\r\n\r\n");
        same(&|reply| reply.bulk_integer(-17), "$3\r\n-17\r\n");
        same(&|reply| reply.bulk_double(1.5), "$3\r\n1.5\r\n");
        same(&|reply| reply.array(12), "*12\r\n");
        same(&|reply| reply.raw(b":1\r\n"), ":1\r\n");
    }

    #[test]
    fn replies_only_resp3_has_become_their_resp2_stand_ins() {
        assert_both(|reply| reply.null(), "$-1\r\n", "_\r\n");
        assert_both(|reply| reply.null_array(), "*-1\r\n", "_\r\n");
        assert_both(|reply| reply.map(50), "*100\r\n", "%50\r\n");
        assert_both(|reply| reply.set(3), "*3\r\n", "~3\r\n");
        assert_both(|reply| reply.push(3), "*3\r\n", ">3\r\n");
        assert_both(|reply| reply.double(0.5), "$3\r\n0.5\r\n", ",0.5\r\n");
        assert_both(|reply| reply.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
        assert_both(|reply| reply.boolean(true), ":1\r\n", "#t\r\n");
        assert_both(|reply| reply.boolean(false), ":0\r\n", "#f\r\n");
        assert_both(|reply| reply.big_number(b"-123"), "$4\r\n-123\r\n", "(-123\r\n");
        assert_both(|reply| reply.verbatim(*b"txt", b"abc"), "$3\r\nabc\r\n", "=7\r\ntxt:abc\r\n");
        assert_both(|reply| reply.bulk_error(b"ERR a\nb"), "-ERR a b\r\n", "!7\r\nERR a\nb\r\n");
        let attributed = |reply: &mut Reply<'_>| {
            reply.attribute(1, |reply| {
                reply.bulk(b"version");
                reply.integer(7);
            });
            reply.ok();
        };
        assert_both(attributed, "+OK\r\n", "|1\r\n$7\r\nversion\r\n:7\r\n+OK\r\n");
    }

    #[test]
    fn integers_of_every_length_are_spelled_out() {
        for value in
            (0..63).flat_map(|bit| [1i64 << bit, -(1i64 << bit)]).chain([0, 9, 10, 99, 100, i64::MAX, i64::MIN])
        {
            assert_eq!(written(Protocol::Resp2, |reply| reply.integer(value)), format!(":{value}\r\n"));
        }
        for bytes in [0, 9, 10, 99, 100, 101, 70_000] {
            let bulk = written(Protocol::Resp2, |reply| reply.bulk(&vec![b'x'; bytes]));
            assert_eq!(bulk, format!("${bytes}\r\n{}\r\n", "x".repeat(bytes)));
        }
    }

    #[test]
    fn large_strings_are_kept_apart_where_that_is_wanted() {
        let bytes = SharedBytes::from(b"large".to_vec());
        let (mut out, mut apart) = (Vec::new(), Apart::default());
        Reply::new(&mut out, Protocol::Resp2).bulk_shared(&bytes);
        Reply::with_apart(&mut out, Protocol::Resp2, &mut apart).bulk_shared(&bytes);
        assert_eq!((&out[..], apart.bytes()), (&b"$5\r\nlarge\r\n$5\r\nlarge\r\n"[..], 0));
        apart.want(true);
        out.clear();
        let mut reply = Reply::with_apart(&mut out, Protocol::Resp2, &mut apart);
        reply.array(2);
        reply.bulk_shared(&bytes);
        let mark = reply.mark();
        reply.bulk_shared(&bytes);
        reply.rewind(mark);
        reply.ok();
        assert_eq!((&out[..], apart.bytes()), (&b"*2\r\n$5\r\n\r\n+OK\r\n"[..], 5));
        assert_eq!(apart.take(), [(8, bytes)]);
        assert_eq!((apart.bytes(), apart.take().len()), (0, 0));
    }

    #[test]
    fn what_was_put_aside_goes_out_before_the_rest_and_is_taken_back_with_it() {
        let (mut out, mut apart) = (Vec::new(), Apart::default());
        apart.want(true);
        let mut reply = Reply::with_apart(&mut out, Protocol::Resp2, &mut apart);
        reply.ok();
        let mark = reply.mark();
        reply.put_aside(mark);
        reply.array(3);
        for number in 0..3 {
            reply.integer(number);
            reply.put_aside(mark);
        }
        let next = reply.mark();
        reply.null();
        reply.rewind(next);
        assert_eq!((&out[..], apart.bytes()), (&b"+OK\r\n\n"[..], 15));
        let whole: Vec<u8> = apart.parts.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        assert_eq!(whole, b"*3\r\n:0\r\n:1\r\n:2\r");
        assert!(apart.parts.iter().all(|(at, _)| *at == 5));
        Reply::with_apart(&mut out, Protocol::Resp2, &mut apart).rewind(mark);
        assert_eq!((&out[..], apart.bytes(), apart.parts.len()), (&b"+OK\r\n"[..], 0, 0));
    }

    #[test]
    fn text_cannot_end_its_line_early() {
        assert_both(|reply| reply.error("\r\nERR a\r\n+OK\n"), "-ERR a  +OK\r\n", "-ERR a  +OK\r\n");
        assert_both(|reply| reply.error("\r\n"), "-\r\n", "-\r\n");
        assert_both(|reply| reply.simple("a\nb\r"), "+a b \r\n", "+a b \r\n");
    }

    #[test]
    fn arrays_counted_afterwards_nest() {
        let nested = |reply: &mut Reply<'_>| {
            reply.ok();
            let outer = reply.mark();
            reply.integer(1);
            let inner = reply.mark();
            reply.bulk(&[b'x'; 120]);
            reply.set_since(inner, 1);
            let empty = reply.mark();
            reply.array_since(empty, 0);
            reply.map_since(outer, 100);
        };
        let body = format!("$120\r\n{}\r\n*0\r\n", "x".repeat(120));
        assert_both(
            nested,
            &format!("+OK\r\n*200\r\n:1\r\n*1\r\n{body}"),
            &format!("+OK\r\n%100\r\n:1\r\n~1\r\n{body}"),
        );
    }

    #[test]
    fn a_reply_can_be_taken_back_and_the_version_changed() {
        let changed = written(Protocol::Resp2, |reply| {
            reply.null();
            let mark = reply.mark();
            reply.array(3);
            reply.rewind(mark);
            reply.switch(Protocol::Resp3);
            assert_eq!(reply.protocol(), Protocol::Resp3);
            reply.null();
        });
        assert_eq!(changed, "$-1\r\n_\r\n");
    }
}
