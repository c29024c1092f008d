//! Reply bytes to values: what a client of RESP2 or RESP3 reads. Used by the bench, the tests and calls between nodes.
//!
//! Deliberately not incremental: an incomplete reply is decoded again from its first byte when more has come. The
//! decoder says how many bytes are missing at least (exactly, inside a bulk), so a reader that waits for them decodes
//! a large bulk twice, not a thousand times. Streamed strings and aggregates of unknown length (`$?`, `*?`) are
//! refused; no server sends them.
//!
//! Invariants:
//! - any bytes either decode, are incomplete, or are refused: no panic;
//! - nesting is limited to [`DEPTH_MAX`], so the stack is bounded;
//! - memory is bounded by the bytes shown: an element takes at least 3 bytes, and an aggregate that announces more elements
//!   than could lie in the bytes at hand is incomplete before anything is allocated.
//!
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use crate::reply::Reply;
use base::number::{parse_f64, parse_i64};

/// Deepest nesting of aggregates. Redis's own replies stay under 10.
pub const DEPTH_MAX: usize = 128;
/// Largest bulk a reply may hold: 1 GiB, twice what a request may.
pub const VALUE_BULK_BYTES_MAX: usize = 1 << 30;
/// Longest line of a simple string, error, number or length.
pub const VALUE_LINE_BYTES_MAX: usize = 64 << 10;
/// The shortest element is `_\r\n`.
const ELEMENT_BYTES_MIN: usize = 3;
/// Elements an aggregate allocates room for before they have been decoded.
const ELEMENTS_EXPECTED_MAX: usize = 64;

/// One decoded reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+text`.
    Simple(Vec<u8>),
    /// `-message`.
    Error(Vec<u8>),
    /// `:integer`.
    Integer(i64),
    /// `$bytes`.
    Bulk(Vec<u8>),
    /// `_`, or RESP2's `$-1`.
    Null,
    /// RESP2's `*-1`.
    NullArray,
    /// `*elements`.
    Array(Vec<Value>),
    /// `,double`.
    Double(f64),
    /// `#t` or `#f`.
    Boolean(bool),
    /// `!message`.
    BulkError(Vec<u8>),
    /// `=fmt:text`.
    Verbatim {
        /// Three letters such as `txt`.
        format: [u8; 3],
        /// The text without its format.
        text: Vec<u8>,
    },
    /// `(digits`, with an optional sign.
    BigNumber(Vec<u8>),
    /// `%pairs`, in the order they came.
    Map(Vec<(Value, Value)>),
    /// `~elements`, in the order they came.
    Set(Vec<Value>),
    /// `>elements`: not the answer to a command.
    Push(Vec<Value>),
    /// `|pairs` and the reply they describe.
    Attributed {
        /// The attributes in the order they came.
        attributes: Vec<(Value, Value)>,
        /// The reply itself.
        value: Box<Value>,
    },
}

/// What the bytes shown amount to.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// Show the same bytes again with more behind them.
    Incomplete {
        /// Never 0; decoding again with fewer more bytes cannot succeed.
        bytes_missing: usize,
    },
    /// The first `bytes` bytes are `value`.
    Value {
        /// The reply.
        value: Value,
        /// Where the next reply starts.
        bytes: usize,
    },
}

/// The bytes are no RESP reply; nothing after them can be understood either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// No type starts with this byte.
    Marker(u8),
    /// A length that is not an integer, is negative without meaning null, or is too large.
    Length,
    /// A number, boolean or null that is not spelled as one.
    Scalar,
    /// A bulk is not followed by a line end, or a line end is not `\r\n`.
    LineEnd,
    /// A line is longer than [`VALUE_LINE_BYTES_MAX`].
    LineTooLong,
    /// Aggregates are nested deeper than [`DEPTH_MAX`].
    Depth,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DecodeError::Marker(byte) => write!(f, "no reply starts with '{}'", byte.escape_ascii()),
            DecodeError::Length => f.write_str("a length in the reply is not valid"),
            DecodeError::Scalar => f.write_str("a number, boolean or null in the reply is not valid"),
            DecodeError::LineEnd => f.write_str("a line end is missing in the reply"),
            DecodeError::LineTooLong => f.write_str("a line in the reply is too long"),
            DecodeError::Depth => f.write_str("the reply is nested too deeply"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl Value {
    /// Decodes the reply that `buffer` starts with.
    /// # Cost
    /// O(bytes of the reply); copies every string.
    pub fn decode(buffer: &[u8]) -> Result<Decoded, DecodeError> {
        let mut cursor = Cursor { buffer, position: 0 };
        match cursor.value(0) {
            Ok(value) => Ok(Decoded::Value { value, bytes: cursor.position }),
            Err(Stop::Missing(bytes_missing)) => Ok(Decoded::Incomplete { bytes_missing }),
            Err(Stop::Refused(error)) => Err(error),
        }
    }

    /// Writes this value as a reply. In RESP3 it decodes to itself, provided that simple strings and errors hold no
    /// line ends and no NaN is looked at; RESP2 knows fewer types.
    pub fn encode(&self, reply: &mut Reply<'_>) {
        match self {
            Value::Simple(text) => reply.simple_bytes(text),
            Value::Error(message) => reply.error(message),
            Value::Integer(value) => reply.integer(*value),
            Value::Bulk(bytes) => reply.bulk(bytes),
            Value::Null => reply.null(),
            Value::NullArray => reply.raw(b"*-1\r\n"),
            Value::Array(values) => encode_all(values, reply, Reply::array),
            Value::Double(value) => reply.double(*value),
            Value::Boolean(value) => reply.boolean(*value),
            Value::BulkError(message) => reply.bulk_error(message),
            Value::Verbatim { format, text } => reply.verbatim(*format, text),
            Value::BigNumber(digits) => reply.big_number(digits),
            Value::Map(pairs) => {
                reply.map(pairs.len());
                encode_pairs(pairs, reply);
            }
            Value::Set(values) => encode_all(values, reply, Reply::set),
            Value::Push(values) => encode_all(values, reply, Reply::push),
            Value::Attributed { attributes, value } => {
                reply.attribute(attributes.len(), |reply| encode_pairs(attributes, reply));
                value.encode(reply);
            }
        }
    }

    /// The bytes of a string of any kind, errors excepted.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(bytes) | Value::Bulk(bytes) | Value::Verbatim { text: bytes, .. } => Some(bytes),
            _ => None,
        }
    }
}

fn encode_all<'a>(values: &[Value], reply: &mut Reply<'a>, header: fn(&mut Reply<'a>, usize)) {
    header(reply, values.len());
    for value in values {
        value.encode(reply);
    }
}

fn encode_pairs(pairs: &[(Value, Value)], reply: &mut Reply<'_>) {
    for (key, value) in pairs {
        key.encode(reply);
        value.encode(reply);
    }
}

/// Why decoding ended without a value.
enum Stop {
    Missing(usize),
    Refused(DecodeError),
}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Self {
        Stop::Refused(error)
    }
}

/// A length line: RESP2 spells null as the length -1.
enum Length {
    Null,
    Count(usize),
}

struct Cursor<'a> {
    buffer: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        let Some(marker) = self.buffer.get(self.position) else { return Err(Stop::Missing(ELEMENT_BYTES_MIN)) };
        self.position += 1;
        Ok(match marker {
            b'+' => Value::Simple(self.line()?.to_vec()),
            b'-' => Value::Error(self.line()?.to_vec()),
            b':' => Value::Integer(integer(self.line()?)?),
            b',' => Value::Double(double(self.line()?)?),
            b'#' => Value::Boolean(boolean(self.line()?)?),
            b'(' => Value::BigNumber(big_number(self.line()?)?),
            b'_' if self.line()?.is_empty() => Value::Null,
            b'_' => return Err(DecodeError::Scalar.into()),
            b'$' => self.bulk()?.map_or(Value::Null, |bytes| Value::Bulk(bytes.to_vec())),
            b'!' => Value::BulkError(self.bulk()?.ok_or(DecodeError::Length)?.to_vec()),
            b'=' => verbatim(self.bulk()?.ok_or(DecodeError::Length)?)?,
            b'*' => self.array(depth)?,
            b'~' => Value::Set(self.elements(depth)?),
            b'>' => Value::Push(self.elements(depth)?),
            b'%' => Value::Map(self.pairs(depth)?),
            b'|' => self.attributed(depth)?,
            other => return Err(DecodeError::Marker(*other).into()),
        })
    }

    /// The rest of the line, and the cursor behind its end.
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.buffer[self.position..];
        let within = &rest[..rest.len().min(VALUE_LINE_BYTES_MAX)];
        let Some(line_bytes) = memchr::memchr(b'\r', within) else {
            return Err(if within.len() < VALUE_LINE_BYTES_MAX {
                Stop::Missing(2)
            } else {
                DecodeError::LineTooLong.into()
            });
        };
        match rest.get(line_bytes + 1) {
            None => Err(Stop::Missing(1)),
            Some(b'\n') => {
                self.position += line_bytes + 2;
                Ok(&rest[..line_bytes])
            }
            Some(_) => Err(DecodeError::LineEnd.into()),
        }
    }

    fn length(&mut self, length_max: usize) -> Result<Length, Stop> {
        match parse_i64(self.line()?) {
            Some(-1) => Ok(Length::Null),
            Some(length) => match usize::try_from(length) {
                Ok(length) if length <= length_max => Ok(Length::Count(length)),
                _ => Err(DecodeError::Length.into()),
            },
            None => Err(DecodeError::Length.into()),
        }
    }

    /// The bytes behind a length line; `None` for RESP2's null.
    fn bulk(&mut self) -> Result<Option<&'a [u8]>, Stop> {
        let Length::Count(bytes) = self.length(VALUE_BULK_BYTES_MAX)? else { return Ok(None) };
        let rest = &self.buffer[self.position..];
        if rest.len() < bytes + 2 {
            return Err(Stop::Missing(bytes + 2 - rest.len()));
        }
        let (bulk, after) = rest.split_at(bytes);
        if !after.starts_with(b"\r\n") {
            return Err(DecodeError::LineEnd.into());
        }
        self.position += bytes + 2;
        Ok(Some(bulk))
    }

    fn array(&mut self, depth: usize) -> Result<Value, Stop> {
        match self.length(usize::MAX)? {
            Length::Null => Ok(Value::NullArray),
            Length::Count(count) => Ok(Value::Array(self.elements_counted(count, depth)?)),
        }
    }

    fn elements(&mut self, depth: usize) -> Result<Vec<Value>, Stop> {
        let count = self.count()?;
        self.elements_counted(count, depth)
    }

    fn elements_counted(&mut self, count: usize, depth: usize) -> Result<Vec<Value>, Stop> {
        self.expect_elements(count, depth)?;
        let mut values = Vec::with_capacity(count.min(ELEMENTS_EXPECTED_MAX));
        for _ in 0..count {
            values.push(self.value(depth + 1)?);
        }
        Ok(values)
    }

    fn pairs(&mut self, depth: usize) -> Result<Vec<(Value, Value)>, Stop> {
        let count = self.count()?;
        self.expect_elements(count.checked_mul(2).ok_or(DecodeError::Length)?, depth)?;
        let mut pairs = Vec::with_capacity(count.min(ELEMENTS_EXPECTED_MAX));
        for _ in 0..count {
            pairs.push((self.value(depth + 1)?, self.value(depth + 1)?));
        }
        Ok(pairs)
    }

    fn attributed(&mut self, depth: usize) -> Result<Value, Stop> {
        let attributes = self.pairs(depth)?;
        // The reply is one level down too, or a chain of attributes would recurse without limit.
        Ok(Value::Attributed { attributes, value: Box::new(self.value(depth + 1)?) })
    }

    fn count(&mut self) -> Result<usize, Stop> {
        match self.length(usize::MAX)? {
            Length::Null => Err(DecodeError::Length.into()),
            Length::Count(count) => Ok(count),
        }
    }

    /// Stops unless `count` elements may lie in the bytes at hand, one level below `depth`.
    fn expect_elements(&self, count: usize, depth: usize) -> Result<(), Stop> {
        if depth >= DEPTH_MAX {
            return Err(DecodeError::Depth.into());
        }
        let bytes_min = count.checked_mul(ELEMENT_BYTES_MIN).ok_or(DecodeError::Length)?;
        match bytes_min.checked_sub(self.buffer.len() - self.position) {
            None | Some(0) => Ok(()),
            Some(bytes_missing) => Err(Stop::Missing(bytes_missing)),
        }
    }
}

fn integer(text: &[u8]) -> Result<i64, DecodeError> {
    parse_i64(text.strip_prefix(b"+").unwrap_or(text)).ok_or(DecodeError::Scalar)
}

fn double(text: &[u8]) -> Result<f64, DecodeError> {
    if text.eq_ignore_ascii_case(b"nan") || text.eq_ignore_ascii_case(b"-nan") {
        return Ok(f64::NAN);
    }
    parse_f64(text).ok_or(DecodeError::Scalar)
}

fn boolean(text: &[u8]) -> Result<bool, DecodeError> {
    match text {
        b"t" => Ok(true),
        b"f" => Ok(false),
        _ => Err(DecodeError::Scalar),
    }
}

fn big_number(text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| text.to_vec()).ok_or(DecodeError::Scalar)
}

fn verbatim(bytes: &[u8]) -> Result<Value, DecodeError> {
    match bytes {
        [a, b, c, b':', text @ ..] => Ok(Value::Verbatim { format: [*a, *b, *c], text: text.to_vec() }),
        _ => Err(DecodeError::Scalar),
    }
}
