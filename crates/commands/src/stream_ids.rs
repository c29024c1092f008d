//! Ids of stream entries as clients write them, and entries as they are replied.
//!
//! ```text
//! 5-1   in full          5   with the first number, or the last where it ends a range
//! -  +  before and after all others        (5-1   the range begins behind it, or ends before it
//! ```
//!
//! Deliberately not here: `*` and `5-*`, which only XADD takes, and `$` and `>`, which only reads take.
//!
//! Source: behaviour of Valkey 9.1 `t_stream.c`.

use crate::call::Call;
use crate::error::Error;
use keyspace::stream::{Entry, StreamId};
use wire::reply::Reply;

/// Longest text of an id.
const ID_TEXT_BYTES_MAX: usize = 127;

/// What an id that cannot be read is answered with.
pub(crate) const INVALID_ID: Error = Error::text("ERR Invalid stream ID specified as stream command argument");

/// One half of an id: digits, leading zeros allowed.
pub(crate) fn parse_half(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The two halves of an id, the second missing if it has only one.
pub(crate) fn halves(text: &[u8]) -> Option<(u64, Option<&[u8]>)> {
    if text.len() > ID_TEXT_BYTES_MAX {
        return None;
    }
    match text.iter().position(|byte| *byte == b'-') {
        None => Some((parse_half(text)?, None)),
        Some(at) => Some((parse_half(&text[..at])?, Some(&text[at + 1..]))),
    }
}

/// An id in full, or with `seq` for the half that is missing.
///
/// # Errors
/// [`INVALID_ID`].
pub(crate) fn parse_id(text: &[u8], seq: u64) -> Result<StreamId, Error> {
    let (ms, number) = halves(text).ok_or(INVALID_ID)?;
    match number {
        None => Ok(StreamId { ms, seq }),
        Some(number) => parse_half(number).map(|seq| StreamId { ms, seq }).ok_or(INVALID_ID),
    }
}

/// As [`parse_id`], with `-` and `+` for the first and the last there can be.
pub(crate) fn parse_id_or_edge(text: &[u8], seq: u64) -> Result<StreamId, Error> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => parse_id(text, seq),
    }
}

/// The ids in all arguments of `call` from `index` on.
pub(crate) fn parse_ids(call: &Call<'_>, index: usize) -> Result<Vec<StreamId>, Error> {
    call.args.skip(index).iter().map(|text| parse_id(text, 0)).collect()
}

/// Where a range begins.
///
/// # Errors
/// Those of [`parse_id`], and that nothing lies behind an exclusive one.
pub(crate) fn parse_start(text: &[u8]) -> Result<StreamId, Error> {
    match text.strip_prefix(b"(").filter(|rest| !rest.is_empty()) {
        None => parse_id_or_edge(text, 0),
        Some(text) => parse_id(text, 0)?.next().ok_or(Error::text("ERR invalid start ID for the interval")),
    }
}

/// Where a range ends.
///
/// # Errors
/// Those of [`parse_id`], and that nothing lies before an exclusive one.
pub(crate) fn parse_end(text: &[u8]) -> Result<StreamId, Error> {
    match text.strip_prefix(b"(").filter(|rest| !rest.is_empty()) {
        None => parse_id_or_edge(text, u64::MAX),
        Some(text) => parse_id(text, u64::MAX)?.previous().ok_or(Error::text("ERR invalid end ID for the interval")),
    }
}

/// Replies with an id.
pub(crate) fn write_id(reply: &mut Reply<'_>, id: StreamId) {
    reply.bulk(&id.text());
}

/// Replies with an entry: its id, then its names and values.
pub(crate) fn write_entry(reply: &mut Reply<'_>, entry: &Entry<'_>) {
    reply.array(2);
    write_id(reply, entry.id);
    let fields = entry.fields();
    reply.array(2 * fields.len());
    for (name, value) in fields {
        reply.bulk(name);
        reply.bulk(value);
    }
}

/// Replies with an array of entries.
pub(crate) fn write_entries<'s>(reply: &mut Reply<'_>, entries: impl Iterator<Item = Entry<'s>>) {
    let (mark, mut count) = (reply.mark(), 0);
    for entry in entries {
        write_entry(reply, &entry);
        count += 1;
    }
    reply.array_since(mark, count);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> Option<StreamId> {
        Some(StreamId { ms, seq })
    }

    #[test]
    fn ids_are_read_whole_or_not_at_all() {
        let parse = |text: &str| parse_id(text.as_bytes(), 7).ok();
        assert_eq!(parse("5-1"), id(5, 1));
        assert_eq!(parse("5"), id(5, 7));
        assert_eq!(parse("005-010"), id(5, 10));
        assert_eq!(parse("18446744073709551615-18446744073709551615"), Some(StreamId::MAX));
        for text in ["", "-", "+", "5-", "-5", "5-1-2", "a", "5-a", "5-*", "18446744073709551616", " 5", "5-1 "] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"0".repeat(ID_TEXT_BYTES_MAX)), id(0, 7));
        assert_eq!(parse(&"0".repeat(ID_TEXT_BYTES_MAX + 1)), None);
    }

    #[test]
    fn edges_of_ranges_are_inclusive_unless_said_otherwise() {
        let (start, end) =
            (|text: &str| parse_start(text.as_bytes()).ok(), |text: &str| parse_end(text.as_bytes()).ok());
        assert_eq!((start("-"), end("+")), (Some(StreamId::MIN), Some(StreamId::MAX)));
        assert_eq!((start("5"), end("5")), (id(5, 0), id(5, u64::MAX)));
        assert_eq!((start("(5"), end("(5")), (id(5, 1), id(5, u64::MAX - 1)));
        assert_eq!((start("(5-3"), end("(5-0")), (id(5, 4), id(4, u64::MAX)));
        assert_eq!((end("(0-0"), start("(18446744073709551615-18446744073709551615")), (None, None));
        assert_eq!((start("(-"), end("(+"), start("("), end("(")), (None, None, None, None));
    }
}
