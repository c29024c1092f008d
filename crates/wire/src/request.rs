//! Client bytes to commands, incrementally and without copying: the request half of RESP.
//!
//! Deliberately not here: executing anything, limits on the whole buffer (its owner grows it), timeouts.
//!
//! ```text
//! *3\r\n $3\r\n SET\r\n $1\r\n k\r\n $5\r\n value\r\n        an array of bulk strings
//! SET k value\r\n                                        an inline command, see `inline`
//! ```
//!
//! The caller shows the parser the unconsumed bytes, always from the first byte of the current command, and again
//! with more bytes after `Incomplete`. The parser remembers how far it came, so no byte of a large bulk is looked at
//! twice, and in fact none at all: a bulk is skipped by its length.
//!
//! As Valkey 9.1 and unlike Redis, which skips the byte after `\r` and the two after a bulk unread: line ends must be
//! `\r\n`, so that a client that counts wrong is told so where it happened.
//!
//! Kept from Redis because clients can see it: a NUL hides the rest of a line that has no end yet, so such a line runs
//! into its size limit; limits on a line apply only while its end has not come; an unauthenticated client is held to 10
//! arguments of 16 KiB.
//!
//! Invariants:
//! - `position` never passes the bytes shown; ranges lie before `position`.
//! - Memory grows with bytes received, never with a count announced.
//!
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/> and the behaviour of Redis 7.2 and Valkey 9.1
//! `processMultibulkBuffer` and `processInlineBuffer` (networking.c).

use crate::args::Ranges;
use crate::inline;
use base::number::parse_i64;

/// Largest bulk by default, as Redis's `proto-max-bulk-len`: 512 MiB.
pub const BULK_BYTES_MAX: usize = 512 << 20;
/// Most arguments of one command, as since Redis 7.0 (before, it was 2^20). Their bytes reach the limit of the
/// connection's buffer long before.
pub const ARGS_COUNT_MAX: usize = i32::MAX as usize;
/// Longest line that may stay without its end, as Redis's `PROTO_INLINE_MAX_SIZE`: 64 KiB.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Most arguments before the client has logged in.
pub const LOGIN_ARGS_COUNT_MAX: usize = 10;
/// Largest bulk before the client has logged in: 16 KiB.
pub const LOGIN_BULK_BYTES_MAX: usize = 16 << 10;

const _: () = assert!(LOGIN_ARGS_COUNT_MAX < ARGS_COUNT_MAX);
const _: () = assert!(LOGIN_BULK_BYTES_MAX < BULK_BYTES_MAX);

/// Whether the client still has to log in, which tightens the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// The client has logged in, or need not.
    Done,
    /// The client must log in first.
    Required,
}

/// What a request may cost. Deliberately not `Default`: the caller knows the configuration and the client.
///
/// Lengths of one digit for arguments and of two for bulks are let through whatever the limits say, so limits below
/// 10 arguments or 100 bytes have no meaning.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest bulk in bytes; [`BULK_BYTES_MAX`] unless configured.
    pub bulk_bytes_max: usize,
    /// Most arguments of a command; [`ARGS_COUNT_MAX`] unless configured.
    pub args_count_max: usize,
    /// Longest unfinished line in bytes; [`LINE_BYTES_MAX`] unless configured.
    pub line_bytes_max: usize,
    /// Whether the client still has to log in.
    pub login: Login,
}

impl Limits {
    /// The limits Redis has without configuration.
    pub fn standard(login: Login) -> Self {
        Limits { bulk_bytes_max: BULK_BYTES_MAX, args_count_max: ARGS_COUNT_MAX, line_bytes_max: LINE_BYTES_MAX, login }
    }
}

/// What the bytes shown amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Show the same bytes again with more behind them. At least `bytes_missing` more are needed to get anywhere.
    Incomplete {
        /// Never 0; exact while a bulk is awaited.
        bytes_missing: usize,
    },
    /// A command with at least one argument fills the first `bytes` bytes.
    Command {
        /// Where the next command starts.
        bytes: usize,
    },
    /// The first `bytes` bytes ask for nothing and get no reply: a blank line, `*0`, `*-1`.
    Empty {
        /// Where the next command starts.
        bytes: usize,
    },
}

/// The client does not speak the protocol. It gets this as its last reply and is disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A line did not end within `Limits::line_bytes_max`.
    InlineTooLong,
    /// The line of an argument count did not end.
    CountTooLong,
    /// The line of a bulk length did not end.
    BulkCountTooLong,
    /// An argument count that is not an integer, or too many arguments.
    Count,
    /// A bulk length that is not an integer, negative or too large.
    BulkLength,
    /// Too many arguments for a client that has not logged in.
    CountBeforeLogin,
    /// Too large a bulk for a client that has not logged in.
    BulkLengthBeforeLogin,
    /// A bulk was due, but this byte came in place of `$`.
    NotBulk(u8),
    /// Quotes of an inline command do not match.
    Quotes,
    /// Something else stands where a line or a bulk must end.
    LineEnd,
}

impl std::fmt::Display for ProtocolError {
    /// Redis's own words, to be sent behind `-ERR `.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let detail = match self {
            ProtocolError::InlineTooLong => "too big inline request",
            ProtocolError::CountTooLong => "too big mbulk count string",
            ProtocolError::BulkCountTooLong => "too big bulk count string",
            ProtocolError::Count => "invalid multibulk length",
            ProtocolError::BulkLength => "invalid bulk length",
            ProtocolError::CountBeforeLogin => "unauthenticated multibulk length",
            ProtocolError::BulkLengthBeforeLogin => "unauthenticated bulk length",
            ProtocolError::NotBulk(byte) => {
                return write!(f, "Protocol error: expected '$', got '{}'", char::from(*byte));
            }
            ProtocolError::Quotes => "unbalanced quotes in request",
            ProtocolError::LineEnd => "invalid CRLF in request",
        };
        write!(f, "Protocol error: {detail}")
    }
}

impl std::error::Error for ProtocolError {}

/// Turns one connection's bytes into commands; holds the progress of the command that is still arriving.
#[derive(Debug, Default)]
pub struct RequestParser {
    /// Bytes of the current command that need not be looked at again.
    position: usize,
    /// Bytes from `position` on in which the end of the line was already sought.
    line_bytes_sought: usize,
    /// Arguments of the current array still to come; 0 between commands.
    args_missing: usize,
    /// Length of the bulk that `position` stands in front of, if its length line was read.
    bulk_bytes: Option<usize>,
}

impl RequestParser {
    /// A parser in front of a command.
    pub fn new() -> Self {
        RequestParser::default()
    }

    /// Parses the command that `buffer` starts with.
    ///
    /// On `Command` and `Empty` the caller drops the bytes named, or moves its view past them, before the next call.
    /// On `Incomplete` it keeps them and calls again with the same `ranges`.
    /// # Cost
    /// O(arguments), plus O(bytes) of inline commands only; allocates only to grow `ranges`.
    /// # Errors
    /// The connection cannot be understood any more; the parser must not be used again.
    #[inline]
    pub fn parse(&mut self, buffer: &[u8], limits: &Limits, ranges: &mut Ranges) -> Result<Parsed, ProtocolError> {
        assert!(self.position <= buffer.len(), "the bytes of an unfinished command are shown again, and more");
        if self.args_missing == 0 {
            match buffer.first() {
                None => return Ok(Parsed::Incomplete { bytes_missing: 1 }),
                Some(b'*') => {}
                Some(_) => return self.parse_inline(buffer, limits, ranges),
            }
            let Some((count, position)) = self.parse_count(buffer, limits)? else { return Ok(LINE_MISSING) };
            if count == 0 {
                return Ok(Parsed::Empty { bytes: self.finish(position) });
            }
            ranges.begin();
            self.args_missing = count;
            self.position = position;
            self.line_bytes_sought = 0;
        }
        self.parse_args(buffer, limits, ranges)
    }

    /// The argument count, 0 for any that is not positive, and where its line ends.
    #[inline]
    fn parse_count(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<(usize, usize)>, ProtocolError> {
        if let [_, digit @ b'0'..=b'9', b'\r', b'\n', ..] = buffer {
            return Ok(Some((usize::from(digit - b'0'), 4)));
        }
        let Some(line_bytes) = self.find_line(buffer, ProtocolError::CountTooLong, limits)? else { return Ok(None) };
        check_line_end(buffer, line_bytes)?;
        let count = parse_i64(&buffer[1..line_bytes]).ok_or(ProtocolError::Count)?;
        let count = usize::try_from(count).unwrap_or(0);
        if count > limits.args_count_max {
            return Err(ProtocolError::Count);
        }
        if count > LOGIN_ARGS_COUNT_MAX && limits.login == Login::Required {
            return Err(ProtocolError::CountBeforeLogin);
        }
        Ok(Some((count, line_bytes + 2)))
    }

    #[inline]
    fn parse_args(&mut self, buffer: &[u8], limits: &Limits, ranges: &mut Ranges) -> Result<Parsed, ProtocolError> {
        assert!(self.args_missing > 0);
        while self.args_missing > 0 {
            let bulk_bytes = match self.bulk_bytes {
                Some(bulk_bytes) => bulk_bytes,
                None => match self.parse_bulk_bytes(buffer, limits)? {
                    Some(bulk_bytes) => bulk_bytes,
                    None => return Ok(LINE_MISSING),
                },
            };
            let end = self.position + bulk_bytes + 2;
            if buffer.len() < end {
                self.bulk_bytes = Some(bulk_bytes);
                return Ok(Parsed::Incomplete { bytes_missing: end - buffer.len() });
            }
            check_line_end(buffer, end - 2)?;
            ranges.push(self.position, bulk_bytes);
            self.bulk_bytes = None;
            self.line_bytes_sought = 0;
            self.position = end;
            self.args_missing -= 1;
        }
        assert!(self.position <= buffer.len(), "a command ends inside the bytes shown");
        Ok(Parsed::Command { bytes: self.finish(self.position) })
    }

    /// Reads the length line at `position`, if it is whole, and moves past it.
    #[inline]
    fn parse_bulk_bytes(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        // Nearly every length has one or two digits, and no limit can refuse those.
        match buffer[self.position..] {
            [b'$', ones @ b'0'..=b'9', b'\r', b'\n', ..] => {
                self.position += 4;
                Ok(Some(usize::from(ones - b'0')))
            }
            [b'$', tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n', ..] => {
                self.position += 5;
                Ok(Some(usize::from(tens - b'0') * 10 + usize::from(ones - b'0')))
            }
            _ => self.parse_bulk_bytes_any(buffer, limits),
        }
    }

    fn parse_bulk_bytes_any(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let rest = &buffer[self.position..];
        let Some(line_bytes) = self.find_line(rest, ProtocolError::BulkCountTooLong, limits)? else {
            return Ok(None);
        };
        if rest[0] != b'$' {
            return Err(ProtocolError::NotBulk(rest[0]));
        }
        check_line_end(rest, line_bytes)?;
        let bulk_bytes = parse_i64(&rest[1..line_bytes]).and_then(|bytes| usize::try_from(bytes).ok());
        let bulk_bytes = bulk_bytes.ok_or(ProtocolError::BulkLength)?;
        if bulk_bytes > limits.bulk_bytes_max {
            return Err(ProtocolError::BulkLength);
        }
        if bulk_bytes > LOGIN_BULK_BYTES_MAX && limits.login == Login::Required {
            return Err(ProtocolError::BulkLengthBeforeLogin);
        }
        self.position += line_bytes + 2;
        Ok(Some(bulk_bytes))
    }

    /// Bytes before the `\r` of the line that `rest` starts with, if the byte after it has come too.
    fn find_line(
        &mut self,
        rest: &[u8],
        too_long: ProtocolError,
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        let Some(line_bytes) = self.seek(b'\r', rest) else {
            return if rest.len() > limits.line_bytes_max { Err(too_long) } else { Ok(None) };
        };
        Ok((line_bytes + 1 < rest.len()).then_some(line_bytes))
    }

    /// Where `end` is in `rest`, unless a NUL comes before it. What was searched in vain is not searched again.
    fn seek(&mut self, end: u8, rest: &[u8]) -> Option<usize> {
        let sought = self.line_bytes_sought.min(rest.len());
        let Some(at) = memchr::memchr2(end, 0, &rest[sought..]) else {
            self.line_bytes_sought = rest.len();
            return None;
        };
        self.line_bytes_sought = sought + at;
        (rest[sought + at] == end).then_some(sought + at)
    }

    fn parse_inline(&mut self, buffer: &[u8], limits: &Limits, ranges: &mut Ranges) -> Result<Parsed, ProtocolError> {
        let Some(newline) = self.seek(b'\n', buffer) else {
            return if buffer.len() > limits.line_bytes_max {
                Err(ProtocolError::InlineTooLong)
            } else {
                Ok(LINE_MISSING)
            };
        };
        let line = &buffer[..newline];
        ranges.begin();
        inline::split(line.strip_suffix(b"\r").unwrap_or(line), ranges).map_err(|_| ProtocolError::Quotes)?;
        let bytes = self.finish(newline + 1);
        Ok(if ranges.count() == 0 { Parsed::Empty { bytes } } else { Parsed::Command { bytes } })
    }

    /// Stands in front of the next command; returns `bytes`, those of this one.
    #[inline]
    fn finish(&mut self, bytes: usize) -> usize {
        assert!(self.args_missing == 0, "a command ends when its last argument has come");
        assert!(self.bulk_bytes.is_none());
        *self = RequestParser::default();
        bytes
    }
}

/// Refuses what is not a line end at `at`, whose two bytes have come.
#[inline]
fn check_line_end(buffer: &[u8], at: usize) -> Result<(), ProtocolError> {
    if buffer[at..at + 2] == *b"\r\n" { Ok(()) } else { Err(ProtocolError::LineEnd) }
}

/// The rest of a line is missing; how much of it cannot be known.
const LINE_MISSING: Parsed = Parsed::Incomplete { bytes_missing: 1 };
