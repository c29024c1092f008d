//! Strings as raw bytes: `/v1/kv/{key}`. The version of a key is its ETag, by which it is compared and set.
//!
//! The content type of a PUT is kept, and told by GET; see `media_type.rs`. Without one a value is
//! `application/octet-stream`.

use super::is_refused;
use super::reply::{Bytes, bulk_at, number_at, put_json};
use super::routes::Found;
use super::run::{Wrong, put_path, time, wants_json};
use crate::connection::{End, Stream};
use crate::http::doors::Visit;
use crate::http::media_type;
use crate::http::problem::refuse;
use crate::http::request::Method;
use base::SharedBytes;
use base::number::parse_u64;
use commands::run::Resolved;
use std::ops::Range;
use std::pin::pin;
use std::sync::LazyLock;
use wire::value::Value;

/// What `If-Match` or `If-None-Match` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    /// `*`.
    Any,
    /// A version.
    Version(u64),
    /// Something that no key is ever at.
    Other,
    /// Not a tag at all: quotes are part of one, and there are none within (RFC 9110 §8.8.3). Nor is nothing: who left a
    /// variable empty is better told so than that the key is at another version.
    Malformed,
}

/// One tag; weak ones are as good as strong ones, since versions tell bytes apart.
fn tag(value: &[u8]) -> Tag {
    let value = value.trim_ascii();
    if value == b"*" {
        return Tag::Any;
    }
    let value = value.strip_prefix(b"W/").unwrap_or(value);
    let Some(quoted) = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")) else {
        return Tag::Malformed;
    };
    if !quoted.iter().all(|byte| matches!(byte, b'!' | b'#'..=b'~')) {
        return Tag::Malformed;
    }
    parse_u64(quoted).filter(|version| *version != 0).map_or(Tag::Other, Tag::Version)
}

/// Begins a command whose first argument is the key. Returns false when the key is spelled wrong.
fn begin<S: Stream>(found: Found, visit: &mut Visit<'_, S>, name: &[u8]) -> bool {
    visit.arguments.begin(name);
    put_path(found, visit, 0).map_err(|wrong| _ = refuse(visit.answer, 400, &wrong)).is_ok()
}

static GETVER: LazyLock<Resolved> = LazyLock::new(|| Resolved::of("GETVER"));

/// GET and HEAD.
pub async fn get<S: Stream>(found: Found, visit: &mut Visit<'_, S>) -> Result<(), End> {
    if !begin(found, visit, b"GETVER") {
        return Ok(());
    }
    visit.arguments.add(b"MEDIATYPE");
    visit.caller.keep_apart(true);
    let reply = pin!(visit.caller.call_resolved(visit.arguments.args(), *GETVER)).await?;
    let apart = visit.caller.take_apart();
    match versioned(visit.caller.replies(), reply.clone(), apart) {
        Some(found) => answer(visit, found),
        None if is_refused(visit, reply) => {}
        None => _ = refuse(visit.answer, 404, "there is no such key"),
    }
    Ok(())
}

/// Where a value lies.
#[derive(Debug, PartialEq)]
enum Lies {
    /// Among the replies.
    Here(Range<usize>),
    /// A large one: where its key holds it.
    Apart(SharedBytes),
}

impl Lies {
    fn bytes(&self) -> usize {
        match self {
            Lies::Here(place) => place.len(),
            Lies::Apart(value) => value.len(),
        }
    }
}

/// What a reply of GETVER says.
#[derive(Debug, PartialEq)]
struct Versioned {
    value: Lies,
    version: u64,
    /// Where its media type lies, if it has one.
    media_type: Option<Range<usize>>,
}

/// Reads a reply of GETVER, in which a value that lies `apart` has left a gap; `None` when it is something else.
fn versioned(replies: &[u8], reply: Range<usize>, apart: Option<SharedBytes>) -> Option<Versioned> {
    let rest = replies[reply.clone()].strip_prefix(b"*3\r\n")?;
    let first = reply.end - rest.len();
    let (value, end) = if let Some(value) = apart {
        (Lies::Apart(value), first + memchr::memmem::find(rest, b"\r\n")? + 2)
    } else {
        let value = bulk_at(replies, first)?;
        (Lies::Here(value.clone()), value.end)
    };
    let (version, next) = number_at(replies, end + 2, b':')?;
    let media_type = bulk_at(replies, next);
    Some(Versioned { value, version, media_type })
}

fn answer<S: Stream>(visit: &mut Visit<'_, S>, found: Versioned) {
    let Versioned { value, version, media_type } = found;
    let here = Tag::Version(version);
    if let Some(known) = visit.request.header("if-none-match")
        && known.split(|byte| *byte == b',').map(tag).any(|known| known == Tag::Any || known == here)
    {
        visit.answer.status(304).etag(version);
        return;
    }
    let replies = visit.caller.replies();
    let media_type = media_type.map(|place| &replies[place]);
    // What is JSON already is not told within a string.
    if !media_type::is_json(media_type) && wants_json(visit) {
        let value = Value::Bulk(match value {
            Lies::Here(place) => replies[place].to_vec(),
            Lies::Apart(value) => value.to_vec(),
        });
        visit.answer.etag(version).header("content-type", "application/json");
        put_json(visit.answer.body(), &value, Bytes::Marked);
        return;
    }
    let is_current = visit.request.header("if-range").is_none_or(|known| tag(known) == here);
    // Of the methods only GET has ranges (RFC 9110 §14.2).
    let has_ranges = visit.request.method == Method::Get && is_current;
    let range = visit.request.header("range").filter(|_| has_ranges).and_then(range_of);
    let bytes = value.bytes();
    let part = match range.map(|range| range.within(bytes)) {
        None => {
            visit.answer.etag(version);
            0..bytes
        }
        Some(Some(part)) => {
            let said = format!("bytes {}-{}/{bytes}", part.start, part.end - 1);
            visit.answer.status(206).etag(version).header("content-range", said);
            part
        }
        Some(None) => {
            let detail = format!("the value has {bytes} bytes");
            refuse(visit.answer, 416, &detail).header("content-range", format!("bytes */{bytes}"));
            return;
        }
    };
    media_type::put(visit.answer, media_type);
    match value {
        Lies::Here(place) => visit.answer.body_is_reply(place.start + part.start..place.start + part.end),
        Lies::Apart(value) => visit.answer.body_is_shared(value, part),
    };
}

/// One range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteRange {
    /// From here on.
    From(u64),
    /// From the first to the last.
    FromTo(u64, u64),
    /// So many at the end.
    Last(u64),
}

impl ByteRange {
    /// The part of a value that it names; `None` when that is nothing.
    fn within(self, bytes: usize) -> Option<Range<usize>> {
        let bytes = bytes as u64;
        let (start, end) = match self {
            ByteRange::From(start) => (start, bytes),
            ByteRange::FromTo(start, last) => (start, bytes.min(last.saturating_add(1))),
            ByteRange::Last(count) => (bytes.saturating_sub(count), bytes),
        };
        (start < end).then_some(start as usize..end as usize)
    }
}

/// What a Range header asks for. Several ranges, and what is no range of bytes, ask for everything.
fn range_of(header: &[u8]) -> Option<ByteRange> {
    let text = header.trim_ascii().strip_prefix(b"bytes=")?;
    let dash = memchr::memchr(b'-', text)?;
    let (first, last) = (&text[..dash], &text[dash + 1..]);
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(ByteRange::Last(parse_u64(last)?)),
        (false, true) => Some(ByteRange::From(parse_u64(first)?)),
        (false, false) => {
            let (first, last) = (parse_u64(first)?, parse_u64(last)?);
            (first <= last).then_some(ByteRange::FromTo(first, last))
        }
    }
}

/// PUT.
pub async fn put<S: Stream>(found: Found, visit: &mut Visit<'_, S>) -> Result<(), End> {
    if !begin(found, visit, b"SET") {
        return Ok(());
    }
    visit.arguments.add_body();
    match put_options(visit) {
        Ok(true) => {}
        Ok(false) => {
            refuse(visit.answer, 412, UNMET);
            return Ok(());
        }
        Err(wrong) => {
            refuse(visit.answer, 400, &wrong);
            return Ok(());
        }
    }
    let given_away = visit.arguments.give_away();
    visit.caller.lend(given_away.as_ref());
    let reply = pin!(visit.caller.call(visit.arguments.args_in(given_away.as_ref()))).await?;
    visit.caller.lend(None);
    if visit.caller.replies()[reply.clone()] == *b"+OK\r\n" {
        let version = visit.caller.session().written_version.0;
        visit.answer.status(204).etag(version);
    } else if !is_refused(visit, reply) {
        refuse(visit.answer, 412, UNMET);
    }
    Ok(())
}

const UNMET: &str = "the key is not at that version";
/// Shells take quotes away, so this is easily said.
const MALFORMED: &str = "If-Match is * or one ETag with its quotes, such as \"7\"";

/// Adds media type, condition and time to live. Returns false when the condition cannot hold.
fn put_options<S>(visit: &mut Visit<'_, S>) -> Result<bool, Wrong> {
    if let Some(media_type) = media_type::said(visit.request) {
        visit.arguments.add(b"MEDIATYPE").add(media_type);
    }
    match time(visit, "ttl")? {
        None => {}
        Some(0) => return Err("ttl is a time to come".to_owned()),
        Some(ms) => _ = visit.arguments.add(b"PX").add_number(ms),
    }
    let header = |name| visit.request.header(name).map(tag);
    match (header("if-match"), header("if-none-match")) {
        (None, None) => {}
        (Some(Tag::Any), None) => _ = visit.arguments.add(b"XX"),
        (Some(Tag::Version(version)), None) => _ = visit.arguments.add(b"IFVER").add_number(version),
        (Some(Tag::Other), None) => return Ok(false),
        (Some(Tag::Malformed), _) => return Err(MALFORMED.to_owned()),
        (None, Some(Tag::Any)) => _ = visit.arguments.add(b"NX"),
        // There would have to be such a key, and none.
        (Some(_), Some(Tag::Any)) => return Ok(false),
        (_, Some(_)) => return Err("If-None-Match of a PUT is *".to_owned()),
    }
    Ok(true)
}

/// DELETE.
pub async fn delete<S: Stream>(found: Found, visit: &mut Visit<'_, S>) -> Result<(), End> {
    let condition = visit.request.header("if-match").map(tag);
    let name: &[u8] = if matches!(condition, Some(Tag::Version(_))) { b"DELIFVER" } else { b"DEL" };
    if !begin(found, visit, name) {
        return Ok(());
    }
    match condition {
        Some(Tag::Version(version)) => _ = visit.arguments.add_number(version),
        Some(Tag::Other) => {
            refuse(visit.answer, 412, UNMET);
            return Ok(());
        }
        Some(Tag::Malformed) => {
            refuse(visit.answer, 400, MALFORMED);
            return Ok(());
        }
        Some(Tag::Any) | None => {}
    }
    let reply = pin!(visit.caller.call(visit.arguments.args())).await?;
    if visit.caller.replies()[reply.clone()] == *b":1\r\n" {
        visit.answer.status(204);
    } else if !is_refused(visit, reply) {
        match condition {
            None => refuse(visit.answer, 404, "there is no such key"),
            Some(_) => refuse(visit.answer, 412, UNMET),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_versions() {
        for (text, meant) in [
            ("*", Tag::Any),
            ("\"7\"", Tag::Version(7)),
            (" W/\"7\" ", Tag::Version(7)),
            ("\"0\"", Tag::Other),
            ("7", Tag::Malformed),
            ("\"", Tag::Malformed),
            ("\"x\"", Tag::Other),
            ("\"x y\"", Tag::Malformed),
            ("\"7\", \"8\"", Tag::Malformed),
            ("", Tag::Malformed),
        ] {
            assert_eq!(tag(text.as_bytes()), meant, "{text}");
        }
    }

    #[test]
    fn ranges_lie_within_the_value() {
        let part = |text: &str, bytes| range_of(text.as_bytes()).map(|range| range.within(bytes));
        for (text, bytes, expected) in [
            ("bytes=0-0", 10, Some(Some(0..1))),
            ("bytes=2-4", 10, Some(Some(2..5))),
            ("bytes=2-99", 10, Some(Some(2..10))),
            ("bytes=2-", 10, Some(Some(2..10))),
            ("bytes=-3", 10, Some(Some(7..10))),
            ("bytes=-30", 10, Some(Some(0..10))),
            ("bytes=-0", 10, Some(None)),
            ("bytes=10-", 10, Some(None)),
            ("bytes=0-", 0, Some(None)),
            ("bytes=0-18446744073709551615", 10, Some(Some(0..10))),
            ("bytes=4-2", 10, None),
            ("bytes=0-1,3-4", 10, None),
            ("bytes=-", 10, None),
            ("lines=0-1", 10, None),
        ] {
            assert_eq!(part(text, bytes), expected, "{text}");
        }
    }

    #[test]
    fn a_value_is_found_beside_its_version() {
        let replies = b"+OK\r\n*3\r\n$3\r\na:b\r\n:17\r\n_\r\n";
        let found = versioned(replies, 5..replies.len(), None).expect("it is GETVER's");
        let place = 13..16;
        assert_eq!(&replies[place.clone()], b"a:b");
        assert_eq!(found, Versioned { value: Lies::Here(place), version: 17, media_type: None });
        let replies = b"*3\r\n$0\r\n\r\n:1\r\n$10\r\ntext/plain\r\n";
        let found = versioned(replies, 0..replies.len(), None).expect("it is GETVER's");
        assert_eq!(found.media_type.map(|place| &replies[place]), Some(&b"text/plain"[..]));
        assert_eq!(versioned(b"_\r\n", 0..3, None), None);
        assert_eq!(versioned(b"-ERR a:1\r\n", 0..10, None), None);
    }

    #[test]
    fn a_value_that_lies_apart_has_left_a_gap() {
        let large = SharedBytes::from(b"large".to_vec());
        let replies = b"*3\r\n$5\r\n\r\n:17\r\n$10\r\ntext/plain\r\n";
        let found = versioned(replies, 0..replies.len(), Some(large.clone())).expect("it is GETVER's");
        assert_eq!((found.value, found.version), (Lies::Apart(large), 17));
        assert_eq!(found.media_type.map(|place| &replies[place]), Some(&b"text/plain"[..]));
    }
}
