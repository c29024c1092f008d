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

use httparse::Header;
use std::mem::MaybeUninit;

/// Largest head of a request, its request line included.
pub const HEAD_BYTES_MAX: usize = 32 << 10;
/// Most headers of a request.
pub const HEADERS_COUNT_MAX: usize = 64;
/// Longest line of a chunked body: a size with its extensions, or a trailer.
pub const CHUNK_LINE_BYTES_MAX: usize = 4 << 10;
/// Most bytes of all trailers of a body.
pub const TRAILER_BYTES_MAX: usize = 8 << 10;

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// This many bytes follow the head; none, where nothing was said.
    Bytes(u64),
    /// Chunks follow; see [`Chunks`].
    Chunked,
}

/// The head of a request.
#[derive(Debug)]
pub struct Head<'b> {
    /// As it was sent: methods are case-sensitive.
    pub method: &'b str,
    /// What stands between method and version.
    pub target: &'b str,
    /// HTTP/1.1; else HTTP/1.0.
    pub is_http11: bool,
    /// The connection may go on after this request.
    pub keeps_alive: bool,
    /// `Expect: 100-continue`: the body comes after it was asked for.
    pub expects_continue: bool,
    /// How long the body is.
    pub body: BodyLength,
    /// Bytes up to the body.
    pub bytes: usize,
}

/// Why a head is refused. The connection ends: what follows cannot be told apart from the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Something is not spelled as HTTP.
    Syntax,
    /// A line ends in `\n` alone.
    BareLineFeed,
    /// It is longer than [`HEAD_BYTES_MAX`], or has more than [`HEADERS_COUNT_MAX`] headers.
    TooLarge,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// Not one `Host`, as HTTP/1.1 wants it.
    Host,
    /// `Content-Length` is no number, or there more than once.
    ContentLength,
    /// `Content-Length` beside `Transfer-Encoding`.
    TwoLengths,
    /// A transfer coding other than chunked, or one in HTTP/1.0.
    TransferEncoding,
    /// An expectation other than 100-continue.
    Expectation,
}

impl std::fmt::Display for HeadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HeadError::Syntax => "this is not HTTP/1.1",
            HeadError::BareLineFeed => "a line of the head does not end in CR LF",
            HeadError::TooLarge => "the head has more than 32768 bytes or 64 headers",
            HeadError::Version => "only HTTP/1.1 and HTTP/1.0 are spoken here",
            HeadError::Host => "there must be one Host header",
            HeadError::ContentLength => "there must be one Content-Length, and it must be a number",
            HeadError::TwoLengths => "Content-Length and Transfer-Encoding exclude each other",
            HeadError::TransferEncoding => "chunked is the only transfer coding, and only of HTTP/1.1",
            HeadError::Expectation => "100-continue is the only expectation that can be met",
        })
    }
}

impl std::error::Error for HeadError {}

/// Room for the headers of a head: kept outside, so that nothing is allocated.
pub struct HeaderSpace<'b>([MaybeUninit<Header<'b>>; HEADERS_COUNT_MAX]);

impl HeaderSpace<'_> {
    /// Costs nothing: it is not cleared.
    #[inline]
    pub fn new() -> Self {
        HeaderSpace([const { MaybeUninit::uninit() }; HEADERS_COUNT_MAX])
    }
}

impl Default for HeaderSpace<'_> {
    fn default() -> Self {
        HeaderSpace::new()
    }
}

/// Headers in the order they came.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'h, 'b>(&'h [Header<'b>]);

impl<'h, 'b> Headers<'h, 'b> {
    /// The value of the first header of this name, whose case does not matter.
    #[inline]
    pub fn find(&self, name: &str) -> Option<&'b [u8]> {
        self.0.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> + use<'h, 'b> {
        self.0.iter().map(|header| (header.name, header.value))
    }
}

/// Reads the head that `buffer` begins with. `None` when it has not come whole; show the same bytes again with more.
/// Empty lines before it are skipped, and counted in [`Head::bytes`].
///
/// # Errors
/// See [`HeadError`].
///
/// # Cost
/// One pass over the head; nothing is copied or allocated. Part of its caller, so that what it returns is not handed over
/// in memory.
#[inline(always)]
pub fn parse_head<'h, 'b>(
    buffer: &'b [u8],
    space: &'h mut HeaderSpace<'b>,
) -> Result<Option<(Head<'b>, Headers<'h, 'b>)>, HeadError> {
    let mut request = httparse::Request::new(&mut []);
    let bytes = match request.parse_with_uninit_headers(buffer, &mut space.0) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) if HEAD_BYTES_MAX <= buffer.len() => return Err(HeadError::TooLarge),
        Ok(httparse::Status::Partial) => return ensure_line_ends(buffer).map(|()| None),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(httparse::Error::Version) => return Err(HeadError::Version),
        Err(_) => return Err(HeadError::Syntax),
    };
    if HEAD_BYTES_MAX < bytes {
        return Err(HeadError::TooLarge);
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(HeadError::Syntax);
    };
    let headers = Headers(request.headers);
    if !ends_lines(&buffer[..bytes], method, headers) {
        return Err(HeadError::BareLineFeed);
    }
    let is_http11 = version == 1;
    let seen = Seen::of(headers, is_http11)?;
    let body = seen.body(is_http11)?;
    let keeps_alive = if is_http11 { !seen.closes } else { seen.stays && !seen.closes };
    let expects_continue = seen.expects && is_http11;
    let head = Head { method, target, is_http11, keeps_alive, expects_continue, body, bytes };
    Ok(Some((head, headers)))
}

/// Whether every line of a head that was parsed ends in CR LF: lines begin where a method or a name does, and the last two
/// are at the end. The parser of tokens is more lenient; but it returns parts of what it was given, joins no lines, and lets
/// no line feed into a part.
fn ends_lines(head: &[u8], method: &str, headers: Headers<'_, '_>) -> bool {
    let before = |part: &str| head.get(..(part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize));
    let ends = head.ends_with(b"\r\n\r\n")
        && before(method).is_some_and(|before| before.chunks(2).all(|line| line == b"\r\n"))
        && headers.0.iter().all(|header| before(header.name).is_some_and(|before| before.ends_with(b"\r\n")));
    debug_assert_eq!(ends, ensure_line_ends(head).is_ok(), "both ways to look find the same");
    ends
}

/// The same of a head that has not come whole.
fn ensure_line_ends(head: &[u8]) -> Result<(), HeadError> {
    let is_bare = |at: usize| at == 0 || head[at - 1] != b'\r';
    if memchr::memchr_iter(b'\n', head).any(is_bare) { Err(HeadError::BareLineFeed) } else { Ok(()) }
}

/// What the headers say of the message itself.
#[derive(Default)]
struct Seen {
    hosts: usize,
    length: Option<u64>,
    is_chunked: bool,
    has_encoding: bool,
    closes: bool,
    stays: bool,
    expects: bool,
}

impl Seen {
    fn of(headers: Headers<'_, '_>, is_http11: bool) -> Result<Seen, HeadError> {
        let mut seen = Seen::default();
        for (name, value) in headers.iter() {
            // Told apart by length first: most headers are none of these.
            match name.len() {
                4 if name.eq_ignore_ascii_case("host") => seen.hosts += 1,
                6 if name.eq_ignore_ascii_case("expect") => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(HeadError::Expectation);
                    }
                    seen.expects = true;
                }
                10 if name.eq_ignore_ascii_case("connection") => {
                    for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                        seen.closes |= option.eq_ignore_ascii_case(b"close");
                        seen.stays |= option.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                14 if name.eq_ignore_ascii_case("content-length") => {
                    let length = content_length(value).ok_or(HeadError::ContentLength)?;
                    if seen.length.replace(length).is_some() {
                        return Err(HeadError::ContentLength);
                    }
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                    if seen.has_encoding {
                        return Err(HeadError::TransferEncoding);
                    }
                    seen.has_encoding = true;
                    seen.is_chunked = value.eq_ignore_ascii_case(b"chunked");
                }
                _ => {}
            }
        }
        if 1 < seen.hosts || (is_http11 && seen.hosts == 0) {
            return Err(HeadError::Host);
        }
        Ok(seen)
    }

    fn body(&self, is_http11: bool) -> Result<BodyLength, HeadError> {
        match (self.has_encoding, self.length) {
            (true, Some(_)) => Err(HeadError::TwoLengths),
            (true, None) if self.is_chunked && is_http11 => Ok(BodyLength::Chunked),
            (true, None) => Err(HeadError::TransferEncoding),
            (false, length) => Ok(BodyLength::Bytes(length.unwrap_or(0))),
        }
    }
}

/// Digits only: no sign, no list, no space.
fn content_length(value: &[u8]) -> Option<u64> {
    /// More digits than any length that could be meant, and fewer than would overflow.
    const DIGITS_MAX: usize = 18;
    if value.is_empty() || DIGITS_MAX < value.len() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

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

    fn parse(text: &str) -> Result<Option<(BodyLength, bool, usize)>, HeadError> {
        let mut space = HeaderSpace::new();
        let parsed = parse_head(text.as_bytes(), &mut space)?;
        Ok(parsed.map(|(head, _)| (head.body, head.keeps_alive, head.bytes)))
    }

    fn get(headers: &str) -> Result<Option<(BodyLength, bool, usize)>, HeadError> {
        parse(&format!("GET /a HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
    }

    fn body_of(headers: &str) -> Result<BodyLength, HeadError> {
        get(headers).map(|head| head.expect("it is whole").0)
    }

    #[test]
    fn a_head_is_read_whole_or_not_at_all() {
        let text = "PUT /v1/kv/a?ttl=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-Y: z\r\n\r\nhello";
        let mut space = HeaderSpace::new();
        let (head, headers) = parse_head(text.as_bytes(), &mut space).expect("HTTP").expect("whole");
        assert_eq!((head.method, head.target, head.bytes), ("PUT", "/v1/kv/a?ttl=1", text.len() - 5));
        assert_eq!((head.body, head.keeps_alive), (BodyLength::Bytes(5), true));
        assert_eq!((headers.find("x-y"), headers.find("x-z")), (Some(&b"z"[..]), None));
        for end in 0..head.bytes {
            assert_eq!(parse(&text[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (headers, error) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", HeadError::TwoLengths),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", HeadError::TwoLengths),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", HeadError::ContentLength),
            ("Content-Length: 5, 5\r\n", HeadError::ContentLength),
            ("Content-Length: +5\r\n", HeadError::ContentLength),
            ("Content-Length:\r\n", HeadError::ContentLength),
            ("Content-Length: 1234567890123456789\r\n", HeadError::ContentLength),
            ("Transfer-Encoding: gzip, chunked\r\n", HeadError::TransferEncoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", HeadError::TransferEncoding),
            ("Transfer-Encoding: xchunked\r\n", HeadError::TransferEncoding),
            ("Content-Length : 5\r\n", HeadError::Syntax),
            ("X: a\r\n Content-Length: 5\r\n", HeadError::Syntax),
            ("X: a\nContent-Length: 5\r\n", HeadError::BareLineFeed),
            ("X: a\rContent-Length: 5\r\n", HeadError::Syntax),
            ("Host: y\r\n", HeadError::Host),
            ("Expect: payment\r\n", HeadError::Expectation),
        ] {
            assert_eq!(get(headers), Err(error), "{headers}");
        }
        assert_eq!(parse("GET /a HTTP/1.1\r\n\r\n"), Err(HeadError::Host));
        assert_eq!(parse("GET /a HTTP/1.1\nHost: x\n\n"), Err(HeadError::BareLineFeed));
        assert_eq!(parse("GET /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(HeadError::TransferEncoding));
        assert_eq!(parse("GET /a HTTP/2.0\r\n\r\n"), Err(HeadError::Version));
        assert_eq!(parse("GET  /a HTTP/1.1\r\n\r\n"), Err(HeadError::Syntax));
    }

    #[test]
    fn lengths_and_ends_of_connections() {
        assert_eq!(body_of(""), Ok(BodyLength::Bytes(0)));
        assert_eq!(body_of("content-length: 17\r\n"), Ok(BodyLength::Bytes(17)));
        assert_eq!(body_of("Transfer-Encoding: Chunked\r\n"), Ok(BodyLength::Chunked));
        let keeps_alive = |text: &str| parse(text).expect("HTTP").expect("whole").1;
        assert!(!keeps_alive("GET / HTTP/1.1\r\nHost: x\r\nConnection: Foo, Close\r\n\r\n"));
        assert!(!keeps_alive("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps_alive("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn a_bare_line_feed_is_found_wherever_it_is() {
        for length in 0..70 {
            let mut text = vec![b'a'; length];
            assert!(ensure_line_ends(&text).is_ok(), "{length}");
            for at in 0..length {
                text[at] = b'\n';
                assert!(ensure_line_ends(&text).is_err(), "{at} of {length}");
                if 0 < at {
                    text[at - 1] = b'\r';
                    assert!(ensure_line_ends(&text).is_ok(), "{at} of {length}");
                    text[at - 1] = b'a';
                }
                text[at] = b'a';
            }
        }
    }

    #[test]
    fn each_line_feed_of_a_head_wants_its_carriage_return() {
        for text in [
            "GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
            "\r\n\r\nGET /a HTTP/1.0\r\n\r\n",
            "\r\nGET /a HTTP/1.1\r\nA:\r\nHost: x \t\r\nB: \t c \r\n\r\n",
        ] {
            assert!(matches!(parse(text), Ok(Some(_))), "{text:?}");
            for (at, _) in text.match_indices("\r\n") {
                let bare = format!("{}{}", &text[..at], &text[at + 1..]);
                assert_eq!(parse(&bare), Err(HeadError::BareLineFeed), "{bare:?}");
            }
        }
    }

    #[test]
    fn heads_have_limits() {
        let long = "x".repeat(HEAD_BYTES_MAX);
        assert_eq!(get(&format!("X: {long}\r\n")), Err(HeadError::TooLarge));
        assert_eq!(parse(&format!("GET /{long}")), Err(HeadError::TooLarge));
        let many = |count: usize| get(&"X: y\r\n".repeat(count)).map(|_| ());
        assert_eq!((many(HEADERS_COUNT_MAX - 1), many(HEADERS_COUNT_MAX)), (Ok(()), Err(HeadError::TooLarge)));
    }

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
