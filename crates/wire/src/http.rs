//! The request half of HTTP/1.1: client bytes to heads and bodies, incrementally.
//!
//! ```text
//! PUT /v1/kv/a?ttl=60 HTTP/1.1\r\n  Host: larder\r\n  Content-Length: 5\r\n  \r\n   hello
//! ├──────────────────────────── Head ──────────────────────────────────────┤   body
//! ```
//!
//! Deliberately not here: sockets, what a path means, replies. Deliberately strict: whatever two parsers could read in two
//! ways is refused, since that is how one request is smuggled inside another (RFC 9112 §11.2). A line must end in
//! `\r\n`; a body has one length and one only; chunked is the one transfer coding.
//!
//! Invariants:
//! - any bytes are a head, the beginning of one, or refused: no panic;
//! - a head is at most [`HEAD_BYTES_MAX`] with [`HEADERS_COUNT_MAX`] headers; decoding a body allocates no more than came.
//!
//! Source: RFC 9110, RFC 9112. Tokens are checked by the crate `httparse`.

mod head;

pub use head::{
    BLOCK_KEPT_BYTES_MAX, BodyLength, HEAD_BYTES_MAX, HEADERS_COUNT_MAX, Head, HeadError, HeadReader, Headers,
};

/// Longest line of a chunked body: a size with its extensions, or a trailer.
pub const CHUNK_LINE_BYTES_MAX: usize = 4 << 10;
/// Most bytes of all trailers of a body.
pub const TRAILER_BYTES_MAX: usize = 8 << 10;

/// Why a chunked body is refused. The connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// A size, a line end or a trailer is not spelled as it must be.
    Syntax,
    /// The body is longer than was allowed.
    TooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    /// A line with a size is due.
    Size,
    /// This many bytes of a chunk are due.
    Data(u64),
    /// The line end behind a chunk is due.
    DataEnd,
    /// Trailers, and the empty line behind them.
    Trailer,
    Done,
}

/// Decodes a chunked body as it comes.
#[derive(Debug)]
pub struct Chunks {
    state: ChunkState,
    trailer_bytes: usize,
}

impl Default for Chunks {
    fn default() -> Self {
        Chunks { state: ChunkState::Size, trailer_bytes: 0 }
    }
}

impl Chunks {
    /// Whether the body has come whole.
    pub fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// Decodes what there is, appending the body to `out`, which grows to no more than `out_bytes_max`. Returns how many
    /// bytes of `input` are done with: those behind them are to be shown again with more, or belong to the next request
    /// when the body is done.
    ///
    /// # Errors
    /// See [`ChunkError`].
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, out_bytes_max: usize) -> Result<usize, ChunkError> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match self.state {
                ChunkState::Done => return Ok(at),
                ChunkState::Size => {
                    let Some((line, bytes)) = chunk_line(rest)? else { return Ok(at) };
                    let size = chunk_size(line).ok_or(ChunkError::Syntax)?;
                    if (out_bytes_max.saturating_sub(out.len()) as u64) < size {
                        return Err(ChunkError::TooLarge);
                    }
                    at += bytes;
                    self.state = if size == 0 { ChunkState::Trailer } else { ChunkState::Data(size) };
                }
                ChunkState::Data(due) => {
                    let taken = rest.len().min(usize::try_from(due).unwrap_or(usize::MAX));
                    if taken == 0 {
                        return Ok(at);
                    }
                    out.extend_from_slice(&rest[..taken]);
                    at += taken;
                    let due = due - taken as u64;
                    self.state = if due == 0 { ChunkState::DataEnd } else { ChunkState::Data(due) };
                }
                ChunkState::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        self.state = ChunkState::Size;
                    }
                    [] | [b'\r'] => return Ok(at),
                    _ => return Err(ChunkError::Syntax),
                },
                ChunkState::Trailer => {
                    let Some((line, bytes)) = chunk_line(rest)? else { return Ok(at) };
                    self.trailer_bytes += bytes;
                    if TRAILER_BYTES_MAX < self.trailer_bytes {
                        return Err(ChunkError::TooLarge);
                    }
                    at += bytes;
                    if line.is_empty() {
                        self.state = ChunkState::Done;
                    } else if !line.contains(&b':') {
                        return Err(ChunkError::Syntax);
                    }
                }
            }
        }
    }
}

/// The line that `input` begins with, without its end, and its bytes with it. `None` when it has not come whole.
fn chunk_line(input: &[u8]) -> Result<Option<(&[u8], usize)>, ChunkError> {
    let within = &input[..input.len().min(CHUNK_LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if within.len() < CHUNK_LINE_BYTES_MAX { Ok(None) } else { Err(ChunkError::Syntax) };
    };
    let line = within[..end].strip_suffix(b"\r").ok_or(ChunkError::Syntax)?;
    if line.contains(&b'\r') { Err(ChunkError::Syntax) } else { Ok(Some((line, end + 1))) }
}

/// Hexadecimal digits, and extensions that mean nothing here.
fn chunk_size(line: &[u8]) -> Option<u64> {
    /// More digits than any size that could be meant.
    const DIGITS_MAX: usize = 15;
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    if digits.is_empty() || DIGITS_MAX < digits.len() {
        return None;
    }
    digits.iter().try_fold(0, |size, digit| Some(size << 4 | u64::from((*digit as char).to_digit(16)?)))
}

/// Decodes `%XX` of a path's segment; `+` stands for itself there. `None` when two hexadecimal digits do not follow a `%`.
///
/// # Cost
/// One pass; `out` is appended to.
pub fn percent_decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    decode(text, out, false)
}

/// As [`percent_decode`] for names and values of a query, where `+` is a space.
pub fn query_decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    decode(text, out, true)
}

fn decode(text: &[u8], out: &mut Vec<u8>, plus_is_space: bool) -> Option<()> {
    let plus = if plus_is_space { b'+' } else { b'%' };
    if memchr::memchr2(b'%', plus, text).is_none() {
        out.extend_from_slice(text);
        return Some(());
    }
    out.reserve(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'%' => {
                let digit = |index: usize| text.get(index).and_then(|digit| (*digit as char).to_digit(16));
                let (high, low) = (digit(at)?, digit(at + 1)?);
                out.push((high << 4 | low) as u8);
                at += 2;
            }
            b'+' if plus_is_space => out.push(b' '),
            _ => out.push(*byte),
        }
    }
    Some(())
}

/// The names and values of a query, as they were sent: `a=1&b` is (a, 1) and (b, nothing).
pub fn query_pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| match memchr::memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[][..]),
    })
}

/// Path and query of a target, which may name the host as well (RFC 9112 §3.2.2) and say a fragment that it should not.
pub fn split_target(target: &str) -> (&str, &str) {
    if target.starts_with('/') && memchr::memchr2(b'?', b'#', target.as_bytes()).is_none() {
        return (target, "");
    }
    let behind = |scheme: &str| {
        target.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)).map(|_| &target[scheme.len()..])
    };
    let target = match behind("http://").or_else(|| behind("https://")) {
        None => target,
        Some(rest) => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
    };
    let target = target.split_once('#').map_or(target, |(target, _)| target);
    target.split_once('?').unwrap_or((target, ""))
}

/// Most `{name}` of a pattern.
pub const CAPTURES_MAX: usize = 3;

/// Where in a path the parts lie that stand for the `{name}` of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captures([(u16, u16); CAPTURES_MAX]);

impl Captures {
    /// What stands in `path`, which is the one that was fitted, for the `{name}` at `index`.
    #[inline]
    pub fn of<'p>(&self, path: &'p str, index: usize) -> &'p [u8] {
        let (start, end) = self.0[index];
        &path.as_bytes()[usize::from(start)..usize::from(end)]
    }
}

/// A pattern of paths such as `/v1/kv/{key}`, in which `{name}` stands for a segment that is not empty.
#[derive(Clone, Copy, Debug)]
pub struct PathPattern {
    /// What stands before, between and behind the `{name}`.
    literals: [&'static str; CAPTURES_MAX + 1],
    captures_count: usize,
}

impl PathPattern {
    /// Takes a pattern apart.
    ///
    /// # Panics
    /// When it has more than [`CAPTURES_MAX`] `{name}`, or one that is not closed: in a constant, when it is compiled.
    pub const fn of(pattern: &'static str) -> Self {
        let (mut literals, mut count, mut rest, mut at) = ([""; CAPTURES_MAX + 1], 0, pattern, 0);
        while at < rest.len() {
            if rest.as_bytes()[at] != b'{' {
                at += 1;
                continue;
            }
            let mut close = at;
            while close < rest.len() && rest.as_bytes()[close] != b'}' {
                close += 1;
            }
            assert!(close < rest.len(), "a name in a pattern ends in a brace");
            assert!(count < CAPTURES_MAX, "a pattern has no more names than captures");
            literals[count] = rest.split_at(at).0;
            (count, rest, at) = (count + 1, rest.split_at(close + 1).1, 0);
        }
        literals[count] = rest;
        PathPattern { literals, captures_count: count }
    }

    /// Fits a path to the pattern. `None` when it does not fit.
    ///
    /// # Cost
    /// A comparison of what stands before the first name; one pass when that is right.
    pub fn fit(&self, path: &str) -> Option<Captures> {
        let (mut captures, mut at, path) = ([(0, 0); CAPTURES_MAX], 0, path.as_bytes());
        let before = &self.literals[..self.captures_count];
        for (literal, capture) in before.iter().zip(&mut captures) {
            let rest = path[at..].strip_prefix(literal.as_bytes())?;
            at += literal.len();
            let bytes = memchr::memchr(b'/', rest).unwrap_or(rest.len());
            if bytes == 0 {
                return None;
            }
            *capture = (u16::try_from(at).ok()?, u16::try_from(at + bytes).ok()?);
            at += bytes;
        }
        (path[at..] == *self.literals[self.captures_count].as_bytes()).then_some(Captures(captures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unchunk(text: &[u8], step: usize, bytes_max: usize) -> Result<(Vec<u8>, usize), ChunkError> {
        let (mut chunks, mut out, mut done, mut shown) = (Chunks::default(), Vec::new(), 0, 0);
        while !chunks.is_done() && shown < text.len() {
            shown = text.len().min(shown + step);
            done += chunks.decode(&text[done..shown], &mut out, bytes_max)?;
        }
        assert!(chunks.is_done(), "{}", text.escape_ascii());
        Ok((out, done))
    }

    #[test]
    fn chunks_are_joined_wherever_they_are_cut() {
        let text = b"5\r\nhello\r\n1;ext=1\r\n \r\n005 \r\nworld\r\n0\r\nTrailer: x\r\n\r\nGET ";
        for step in 1..text.len() {
            assert_eq!(unchunk(text, step, 11), Ok((b"hello world".to_vec(), text.len() - 4)), "{step}");
        }
        assert_eq!(unchunk(text, 7, 10), Err(ChunkError::TooLarge));
    }

    #[test]
    fn chunks_that_are_spelled_wrong_are_refused() {
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "0x5\r\n",
            "5\nhello",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n",
            "1234567890abcdef\r\n",
            " 5\r\n",
            "0\r\nnonsense\r\n\r\n",
            "1\rx\r\n",
        ] {
            let refused = Chunks::default().decode(text.as_bytes(), &mut Vec::new(), 100);
            assert_eq!(refused, Err(ChunkError::Syntax), "{text:?}");
        }
        let endless = "0".repeat(CHUNK_LINE_BYTES_MAX);
        assert_eq!(Chunks::default().decode(endless.as_bytes(), &mut Vec::new(), 100), Err(ChunkError::Syntax));
        let huge = "fffffffffffffff\r\n";
        assert_eq!(Chunks::default().decode(huge.as_bytes(), &mut Vec::new(), 100), Err(ChunkError::TooLarge));
    }

    #[test]
    fn paths_fit_patterns_segment_by_segment() {
        let fit = |pattern: &'static str, path: &str| {
            let count = pattern.matches('{').count();
            PathPattern::of(pattern).fit(path).map(|captures| {
                (0..count)
                    .map(|index| String::from_utf8_lossy(captures.of(path, index)).into_owned())
                    .collect::<Vec<_>>()
            })
        };
        let of = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(fit("/a", "/a"), of(&[]));
        assert_eq!(fit("/a/{b}", "/a/x"), of(&["x"]));
        assert_eq!(fit("/a/{b}/{c}", "/a/x/y%2Fz"), of(&["x", "y%2Fz"]));
        assert_eq!(fit("/a/{b}/c", "/a/x/c"), of(&["x"]));
        for (pattern, path) in [
            ("/a", "/a/"),
            ("/a", "/"),
            ("/a/{b}", "/a/"),
            ("/a/{b}", "/a/x/"),
            ("/a/{b}", "/a"),
            ("/a/{b}/c", "/a/x/d"),
            ("/a/{b}", ""),
            ("/a/{b}/{c}", "/a/x/"),
        ] {
            assert_eq!(fit(pattern, path), None, "{pattern} {path}");
        }
        assert_eq!(PathPattern::of("/{a}").fit(&format!("/{}", "x".repeat(1 << 16))), None);
    }

    #[test]
    fn every_byte_can_be_said_with_a_percent_sign() {
        let decoded = |text: &str| {
            let mut out = Vec::new();
            percent_decode(text.as_bytes(), &mut out).map(|()| out)
        };
        for byte in 0..=255_u8 {
            assert_eq!(decoded(&format!("%{byte:02x}")), Some(vec![byte]));
            assert_eq!(decoded(&format!("a%{byte:02X}b")), Some(vec![b'a', byte, b'b']));
        }
        assert_eq!(decoded("a+b%2Bc"), Some(b"a+b+c".to_vec()));
        for wrong in ["%", "%1", "%g0", "%1g", "a%"] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
        let mut out = Vec::new();
        assert_eq!(query_decode(b"a+b", &mut out).map(|()| out), Some(b"a b".to_vec()));
        let pairs: Vec<_> = query_pairs(b"a=1&&b&c=x=y").collect();
        assert_eq!(pairs, [(&b"a"[..], &b"1"[..]), (b"b", b""), (b"c", b"x=y")]);
    }
}
