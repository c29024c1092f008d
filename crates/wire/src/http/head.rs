//! Heads of requests: one after another, as a connection brings them.
//!
//! ```text
//! GET /v1/kv/a HTTP/1.1\r\n   Host: larder\r\nAccept: */*\r\n\r\n
//! request line, always read    block of headers: compared with the last one, parsed if it is another
//! ```
//!
//! Deliberately not here: what is behind a head (`chunks.rs`), what a target means (`target.rs`).
//!
//! Invariant: a head is read the same whatever was read before it.
//!
//! Source: RFC 9110, RFC 9112.

use httparse::Header;
use std::mem::MaybeUninit;

/// Largest head of a request, its request line included.
pub const HEAD_BYTES_MAX: usize = 32 << 10;
/// Most headers of a request.
pub const HEADERS_COUNT_MAX: usize = 64;
/// Longest block of headers that is kept to be compared with the next.
pub const BLOCK_KEPT_BYTES_MAX: usize = 4 << 10;

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// This many bytes follow the head; none, where nothing was said.
    Bytes(u64),
    /// Chunks follow; see [`Chunks`](super::Chunks).
    Chunked,
}

/// The head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Where a header lies in the block of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    name_offset: u16,
    name_bytes: u16,
    value_offset: u16,
    value_bytes: u16,
}

const _: () = assert!(HEAD_BYTES_MAX <= u16::MAX as usize, "a place in a head fits a `Place`");

impl Place {
    #[inline]
    fn name(self, block: &[u8]) -> &[u8] {
        &block[usize::from(self.name_offset)..][..usize::from(self.name_bytes)]
    }

    #[inline]
    fn value(self, block: &[u8]) -> &[u8] {
        &block[usize::from(self.value_offset)..][..usize::from(self.value_bytes)]
    }
}

/// Headers in the order they came.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'h, 'b> {
    block: &'b [u8],
    places: &'h [Place],
    name_lengths: NameLengths,
    are_repeated: bool,
}

/// Which lengths names have, a bit each: most names that are looked for are not there, and nothing is as long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct NameLengths(u64);

impl NameLengths {
    #[inline]
    fn of(name_bytes: usize) -> Self {
        NameLengths(1 << name_bytes.min(63))
    }

    #[inline]
    fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl<'b> Headers<'_, 'b> {
    /// The value of the first header of this name, whose case does not matter.
    #[inline]
    pub fn find(&self, name: &str) -> Option<&'b [u8]> {
        if self.name_lengths.contains(NameLengths::of(name.len())) { self.find_listed(name) } else { None }
    }

    /// They are, byte for byte, those of the head before on the same connection.
    #[inline]
    pub fn are_repeated(&self) -> bool {
        self.are_repeated
    }

    fn find_listed(&self, name: &str) -> Option<&'b [u8]> {
        let is_it = |place: &&Place| place.name(self.block).eq_ignore_ascii_case(name.as_bytes());
        self.places.iter().find(is_it).map(|place| place.value(self.block))
    }
}

/// Methods that are told apart by a comparison.
const METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS"];

/// What the headers of a head come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Meaning {
    keeps_alive: bool,
    expects_continue: bool,
    body: BodyLength,
}

/// Reads the heads of one connection, one after another. Programs say the same headers with each of their requests, so
/// those of the last head are kept; where they come again, byte for byte, they mean what they meant.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Of the last head that was read, whether it is kept or not.
    places: Vec<Place>,
    name_lengths: NameLengths,
    block_bytes: usize,
    /// What stood behind its request line, up to the body, and what that means; `None` unless the head was HTTP/1.1.
    kept: Option<(Vec<u8>, Meaning)>,
}

impl HeadReader {
    /// Reads the head that `buffer` begins with. `None` when it has not come whole; show the same bytes again with more.
    /// Empty lines before it are skipped, and counted in [`Head::bytes`].
    ///
    /// # Errors
    /// See [`HeadError`]. What is kept stays as it was.
    ///
    /// # Cost
    /// One pass over the request line and a comparison of the headers with the last ones; one pass over the head and a copy
    /// of the headers where they differ. Part of its caller, so that what it returns is not handed over in memory.
    #[inline(always)]
    pub fn read<'h, 'b>(&'h mut self, buffer: &'b [u8]) -> Result<Option<(Head<'b>, Headers<'h, 'b>)>, HeadError> {
        let (head, are_repeated) = match self.read_again(buffer) {
            Some(head) => (head, true),
            None => match self.parse(buffer)? {
                Some(head) => (head, false),
                None => return Ok(None),
            },
        };
        let block = &buffer[head.bytes - self.block_bytes..head.bytes];
        Ok(Some((head, Headers { block, places: &self.places, name_lengths: self.name_lengths, are_repeated })))
    }

    /// The head, if it is a plain line and the headers of the last one.
    #[inline(always)]
    fn read_again<'b>(&self, buffer: &'b [u8]) -> Option<Head<'b>> {
        let (block, meaning) = self.kept.as_ref()?;
        let method = METHODS.into_iter().find(|method| buffer.starts_with(method.as_bytes()))?;
        let rest = buffer[method.len()..].strip_prefix(b" ")?;
        let target = &rest[..memchr::memchr(b' ', rest)?];
        let behind = rest[target.len()..].strip_prefix(b" HTTP/1.1\r\n")?;
        let bytes = buffer.len() - behind.len() + block.len();
        // All bytes are looked at, for a loop that may end earlier looks at them one by one.
        let has_control = target.iter().fold(false, |has, byte| has | byte.is_ascii_control());
        if target.is_empty() || has_control || !behind.starts_with(block) || HEAD_BYTES_MAX < bytes {
            return None;
        }
        let target = std::str::from_utf8(target).ok()?;
        let Meaning { keeps_alive, expects_continue, body } = *meaning;
        let head = Head { method, target, is_http11: true, keeps_alive, expects_continue, body, bytes };
        #[cfg(debug_assertions)]
        {
            let mut other = HeadReader::default();
            assert_eq!(other.parse(buffer), Ok(Some(head)), "a head that is known is read as one that is not");
            assert_eq!((other.places, other.name_lengths), (self.places.clone(), self.name_lengths));
            assert_eq!(other.block_bytes, self.block_bytes);
        }
        Some(head)
    }

    #[inline(never)]
    fn parse<'b>(&mut self, buffer: &'b [u8]) -> Result<Option<Head<'b>>, HeadError> {
        let mut space = [const { MaybeUninit::uninit() }; HEADERS_COUNT_MAX];
        let mut request = httparse::Request::new(&mut []);
        let bytes = match request.parse_with_uninit_headers(buffer, &mut space) {
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
        let head = &buffer[..bytes];
        ensure_line_ends(head)?;
        let is_http11 = version == 1;
        let seen = Seen::of(request.headers, is_http11)?;
        let body = seen.body(is_http11)?;
        let keeps_alive = if is_http11 { !seen.closes } else { seen.stays && !seen.closes };
        let expects_continue = seen.expects && is_http11;
        let meaning = is_http11.then_some(Meaning { keeps_alive, expects_continue, body });
        self.keep(head, request.headers, meaning);
        Ok(Some(Head { method, target, is_http11, keeps_alive, expects_continue, body, bytes }))
    }

    fn keep(&mut self, head: &[u8], headers: &[Header<'_>], meaning: Option<Meaning>) {
        // The parser's names and values are parts of what it was given.
        let at = |part: &[u8]| (part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
        let start = headers.first().map_or(head.len() - 2, |header| at(header.name.as_bytes()));
        self.places.clear();
        self.places.extend(headers.iter().map(|header| Place {
            name_offset: (at(header.name.as_bytes()) - start) as u16,
            name_bytes: header.name.len() as u16,
            value_offset: (at(header.value) - start) as u16,
            value_bytes: header.value.len() as u16,
        }));
        self.name_lengths =
            NameLengths(headers.iter().fold(0, |lengths, header| lengths | NameLengths::of(header.name.len()).0));
        let block = &head[start..];
        self.block_bytes = block.len();
        let kept = self.kept.take();
        if let Some(meaning) = meaning.filter(|_| block.len() <= BLOCK_KEPT_BYTES_MAX) {
            let mut bytes = kept.map_or_else(Vec::new, |(bytes, _)| bytes);
            bytes.clear();
            bytes.reserve_exact(block.len());
            bytes.extend_from_slice(block);
            self.kept = Some((bytes, meaning));
        }
    }
}

/// The parser of tokens is more lenient. The head may not have come whole.
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
    fn of(headers: &[Header<'_>], is_http11: bool) -> Result<Seen, HeadError> {
        let mut seen = Seen::default();
        for Header { name, value } in headers {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<(BodyLength, bool, usize)>, HeadError> {
        let mut reader = HeadReader::default();
        let parsed = reader.read(text.as_bytes())?;
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
        let mut reader = HeadReader::default();
        let (head, headers) = reader.read(text.as_bytes()).expect("HTTP").expect("whole");
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

    /// Reads heads as one connection brings them, and each as if it were the first.
    fn read_in_turn(texts: &[&str]) -> Vec<bool> {
        let mut reader = HeadReader::default();
        texts
            .iter()
            .map(|text| {
                let is_known = reader.read_again(text.as_bytes()).is_some();
                let mut first = HeadReader::default();
                let (head, headers) = reader.read(text.as_bytes()).expect("HTTP").expect("whole");
                let (head_of_first, headers_of_first) = first.read(text.as_bytes()).expect("HTTP").expect("whole");
                assert_eq!((head, headers.are_repeated()), (head_of_first, is_known), "{text:?}");
                for name in ["host", "x", "Y", "Content-Length"] {
                    assert_eq!(headers.find(name), headers_of_first.find(name), "{name} of {text:?}");
                }
                is_known
            })
            .collect()
    }

    #[test]
    fn headers_that_come_again_mean_what_they_meant() {
        let known = read_in_turn(&[
            "GET /a HTTP/1.1\r\nHost: x\r\nX: 1\r\nY:\r\n\r\n",
            "GET /b/c?d HTTP/1.1\r\nHost: x\r\nX: 1\r\nY:\r\n\r\nGET /",
            "DELETE /b HTTP/1.1\r\nHost: x\r\nX: 1\r\nY:\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\nX: 2\r\nY:\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\nX: 2\r\nY:\r\n\r\n",
            "GET /a HTTP/1.0\r\nHost: x\r\nX: 2\r\nY:\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\nX: 2\r\nY:\r\n\r\n",
            "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n",
            "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
            "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
            "OTHER /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
            "\r\nPUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
            "PUT /\u{e4} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
            "PUT /~! HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
        ]);
        let [yes, no] = [true, false];
        assert_eq!(known, [no, yes, yes, no, yes, no, no, no, yes, no, no, no, yes, yes, no, no]);
    }

    #[test]
    fn a_line_is_refused_however_well_its_headers_are_known() {
        let headers = "Host: x\r\n\r\n";
        let mut reader = HeadReader::default();
        for byte in 0..=255_u8 {
            let line = [b"GET /", &[byte][..], b" HTTP/1.1\r\n", headers.as_bytes()].concat();
            let first = HeadReader::default().read(&line).map(|read| read.map(|(head, _)| head));
            assert!(reader.read(format!("GET / HTTP/1.1\r\n{headers}").as_bytes()).is_ok());
            assert_eq!(reader.read(&line).map(|read| read.map(|(head, _)| head)), first, "{byte}");
        }
        for line in ["GET  / HTTP/1.1\r\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1 \r\n", "GET /\r\n", "GET HTTP/1.1\r\n"]
        {
            let text = format!("{line}{headers}");
            assert!(reader.read(format!("GET / HTTP/1.1\r\n{headers}").as_bytes()).is_ok());
            assert!(reader.read(text.as_bytes()).is_err(), "{line:?}");
        }
    }

    #[test]
    fn long_blocks_of_headers_are_not_kept() {
        let text = |bytes: usize| format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(bytes));
        let [long, short] = [BLOCK_KEPT_BYTES_MAX, BLOCK_KEPT_BYTES_MAX - 16].map(text);
        assert_eq!(
            read_in_turn(&[&short, &short, &long, &long, &short, &short]),
            [false, true, false, false, false, true]
        );
    }

    #[test]
    fn a_head_is_too_large_however_well_its_headers_are_known() {
        let mut reader = HeadReader::default();
        let around = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for (bytes, is_read) in [(HEAD_BYTES_MAX, true), (HEAD_BYTES_MAX + 1, false), (HEAD_BYTES_MAX, true)] {
            assert!(reader.read(around.as_bytes()).is_ok_and(|read| read.is_some()));
            let text = around.replacen('/', &format!("/{}", "a".repeat(bytes - around.len())), 1);
            assert_eq!(text.len(), bytes);
            let read = reader
                .read(text.as_bytes())
                .map(|read| read.map(|(head, headers)| (head.bytes, headers.are_repeated())));
            assert_eq!(read, if is_read { Ok(Some((bytes, true))) } else { Err(HeadError::TooLarge) });
        }
    }

    #[test]
    fn names_of_any_length_are_found() {
        let names: Vec<String> = (1..=130).map(|bytes| "n".repeat(bytes)).collect();
        for listed in &names {
            let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{listed}: y\r\n\r\n");
            let mut reader = HeadReader::default();
            let (_, headers) = reader.read(text.as_bytes()).expect("HTTP").expect("whole");
            for name in &names {
                assert_eq!(headers.find(name).is_some(), name == listed, "{} among {}", name.len(), listed.len());
            }
        }
    }
}
