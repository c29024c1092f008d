//! Replies of commands as the native API needs them: their bytes uncopied, or as JSON.

use crate::http::auth::base64_encode;
use crate::http::json::put_string;
use std::io::Write;
use std::ops::Range;
use wire::value::{Decoded, Value};

/// Bytes of a reply from which on it becomes JSON in turns.
const LARGE_BYTES_MIN: usize = 128 << 10;
/// Elements, and bytes, of it that are written before others have their turn.
const TURN_COUNT_MAX: u64 = 512;
const TURN_BYTES_MAX: usize = 256 << 10;

/// The text of a reply that is an error, without its marker.
pub fn error_of(reply: &[u8]) -> Option<&[u8]> {
    reply.strip_prefix(b"-").map(<[u8]>::trim_ascii_end)
}

/// Where the bytes of a reply that is a bulk string lie; `None` when it is something else.
pub fn bulk_of(replies: &[u8], reply: Range<usize>) -> Option<Range<usize>> {
    let bulk = bulk_at(replies, reply.start)?;
    assert_eq!(bulk.end + 2, reply.end, "a reply is one bulk string");
    Some(bulk)
}

/// As [`bulk_of`] for a part of a reply that begins at `start`: two bytes behind its end the next part begins.
#[inline]
pub fn bulk_at(replies: &[u8], start: usize) -> Option<Range<usize>> {
    let (bytes, from) = number_at(replies, start, b'$')?;
    Some(from..from + bytes as usize)
}

/// The number of a line such as `:17`, which begins with `kind` at `start`, and where the next line begins. `None` when the
/// line begins otherwise or is no such number. What is found in few steps is not searched for: it was written by us.
#[inline]
pub fn number_at(replies: &[u8], start: usize, kind: u8) -> Option<(u64, usize)> {
    let (mut number, mut at) = (0, start + 1);
    if *replies.get(start)? != kind || !replies.get(at)?.is_ascii_digit() {
        return None;
    }
    loop {
        match replies.get(at)? {
            digit @ b'0'..=b'9' => number = number * 10 + u64::from(digit - b'0'),
            b'\r' => return Some((number, at + 2)),
            _ => return None,
        }
        at += 1;
    }
}

/// The reply as a value.
///
/// # Panics
/// When it is no reply: it was written by us.
pub fn value_of(reply: &[u8]) -> Value {
    match Value::decode(reply) {
        Ok(Decoded::Value { value, bytes }) if bytes == reply.len() => value,
        other => panic!("a reply is one value, not {other:?}"),
    }
}

/// How bytes become strings of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// As they are where they are UTF-8, else as `{"base64": …}`.
    Marked,
    /// All in base64, but for statuses such as OK.
    Base64,
}

/// As [`put_json`] of a reply. While a large array, set or map is written others have their turn.
pub async fn put_reply_json(out: &mut Vec<u8>, reply: &[u8], bytes: Bytes) {
    let start = out.len();
    if reply.len() < LARGE_BYTES_MIN || put_in_turns(out, reply, bytes).await.is_none() {
        out.truncate(start);
        put_json(out, &value_of(reply), bytes);
    }
}

/// `None` when the reply is no collection, or a map that cannot be an object.
async fn put_in_turns(out: &mut Vec<u8>, reply: &[u8], bytes: Bytes) -> Option<()> {
    let line = memchr::memchr(b'\r', reply)?;
    let count = base::number::parse_u64(&reply[1..line])?;
    let is_map = match reply[0] {
        b'*' | b'~' => false,
        b'%' => true,
        _ => return None,
    };
    let mut rest = &reply[line + 2..];
    let (mut turn_ends, mut bytes_left) = (TURN_COUNT_MAX, rest.len());
    out.push(if is_map { b'{' } else { b'[' });
    for index in 0..count {
        if index > 0 {
            out.push(b',');
        }
        if is_map {
            put_string(out, std::str::from_utf8(take_value(&mut rest).as_bytes()?).ok()?);
            out.push(b':');
        }
        put_json(out, &take_value(&mut rest), bytes);
        if turn_ends <= index || TURN_BYTES_MAX <= bytes_left - rest.len() {
            tokio::task::yield_now().await;
            (turn_ends, bytes_left) = (index + TURN_COUNT_MAX, rest.len());
        }
    }
    out.push(if is_map { b'}' } else { b']' });
    Some(())
}

/// Takes the value that `rest` begins with.
fn take_value(rest: &mut &[u8]) -> Value {
    match Value::decode(rest) {
        Ok(Decoded::Value { value, bytes }) => {
            *rest = &rest[bytes..];
            value
        }
        other => panic!("a reply holds what its header says, not {other:?}"),
    }
}

/// Writes a value as JSON. Errors within it are `{"error": …}`; numbers that JSON does not have are strings.
pub fn put_json(out: &mut Vec<u8>, value: &Value, bytes: Bytes) {
    match value {
        Value::Simple(text) => put_bytes(out, text, Bytes::Marked),
        Value::Bulk(text) | Value::Verbatim { text, .. } => put_bytes(out, text, bytes),
        Value::Error(text) | Value::BulkError(text) => {
            out.extend_from_slice(b"{\"error\":");
            put_string(out, &String::from_utf8_lossy(text));
            out.push(b'}');
        }
        Value::Integer(number) => _ = write!(out, "{number}"),
        Value::Null | Value::NullArray => out.extend_from_slice(b"null"),
        Value::Double(number) if number.is_finite() => _ = write!(out, "{number}"),
        Value::Double(number) => _ = write!(out, "\"{number}\""),
        Value::Boolean(is_true) => _ = write!(out, "{is_true}"),
        Value::BigNumber(digits) => out.extend_from_slice(digits),
        Value::Array(values) | Value::Set(values) | Value::Push(values) => {
            put_list(out, values, *b"[]", |out, value| put_json(out, value, bytes));
        }
        Value::Map(pairs) => put_map(out, pairs, bytes),
        Value::Attributed { value, .. } => put_json(out, value, bytes),
    }
}

/// A map whose keys are all text is an object, else a list of pairs.
fn put_map(out: &mut Vec<u8>, pairs: &[(Value, Value)], bytes: Bytes) {
    let name = |key: &Value| key.as_bytes().and_then(|key| std::str::from_utf8(key).ok()).map(str::to_owned);
    let names: Option<Vec<String>> = pairs.iter().map(|(key, _)| name(key)).collect();
    match names {
        Some(names) => {
            let named: Vec<(String, &Value)> = names.into_iter().zip(pairs.iter().map(|(_, value)| value)).collect();
            put_list(out, &named, *b"{}", |out, (name, value)| {
                put_string(out, name);
                out.push(b':');
                put_json(out, value, bytes);
            });
        }
        None => put_list(out, pairs, *b"[]", |out, (key, value)| {
            out.push(b'[');
            put_json(out, key, bytes);
            out.push(b',');
            put_json(out, value, bytes);
            out.push(b']');
        }),
    }
}

fn put_list<T>(out: &mut Vec<u8>, items: &[T], ends: [u8; 2], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(ends[0]);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put(out, item);
    }
    out.push(ends[1]);
}

fn put_bytes(out: &mut Vec<u8>, text: &[u8], bytes: Bytes) {
    match (bytes, std::str::from_utf8(text)) {
        (Bytes::Marked, Ok(text)) => put_string(out, text),
        (Bytes::Marked, Err(_)) => {
            out.extend_from_slice(b"{\"base64\":\"");
            base64_encode(text, out);
            out.extend_from_slice(b"\"}");
        }
        (Bytes::Base64, _) => {
            out.push(b'"');
            base64_encode(text, out);
            out.push(b'"');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(reply: &[u8], bytes: Bytes) -> String {
        let mut out = Vec::new();
        put_json(&mut out, &value_of(reply), bytes);
        String::from_utf8(out).expect("JSON is text")
    }

    #[test]
    fn replies_become_json() {
        for (reply, text) in [
            (&b"+OK\r\n"[..], r#""OK""#),
            (b":-7\r\n", "-7"),
            (b"$-1\r\n", "null"),
            (b"_\r\n", "null"),
            (b",1.5\r\n", "1.5"),
            (b",inf\r\n", r#""inf""#),
            (b"#t\r\n", "true"),
            (b"(123456789012345678901234567890\r\n", "123456789012345678901234567890"),
            (b"*2\r\n$1\r\na\r\n-ERR x\r\n", r#"["a",{"error":"ERR x"}]"#),
            (b"%1\r\n$1\r\na\r\n:1\r\n", r#"{"a":1}"#),
            (b"%1\r\n$1\r\n\xff\r\n:1\r\n", r#"[[{"base64":"/w=="},1]]"#),
            (b"~0\r\n", "[]"),
        ] {
            assert_eq!(json(reply, Bytes::Marked), text);
        }
        assert_eq!(json(b"$2\r\nhi\r\n", Bytes::Base64), r#""aGk=""#);
        assert_eq!(json(b"+OK\r\n", Bytes::Base64), r#""OK""#);
    }

    #[tokio::test]
    async fn what_is_written_in_turns_is_the_same_json() {
        let values = ["$1\r\na\r\n", ":7\r\n", "*2\r\n:1\r\n%1\r\n+b\r\n_\r\n", "$1\r\n\"\r\n"];
        for count in [0, 1, 2, 511, 512, 513, 2_000] {
            let elements = |of: usize| (0..of).map(|at| values[at % values.len()]).collect::<String>();
            let pair = |at: usize| format!("+name {at}\r\n{}", values[at % values.len()]);
            let pairs: Vec<String> = (0..count).map(pair).collect();
            for reply in [
                format!("*{count}\r\n{}", elements(count)),
                format!("~{count}\r\n{}", elements(count)),
                format!("%{count}\r\n{}", pairs.concat()),
            ] {
                let mut out = b"before".to_vec();
                put_in_turns(&mut out, reply.as_bytes(), Bytes::Marked).await.expect("a collection");
                assert_eq!(out, [b"before", json(reply.as_bytes(), Bytes::Marked).as_bytes()].concat());
            }
        }
        let mut unnamed = format!("%20000\r\n{}", "+name\r\n+value\r\n".repeat(19_999)).into_bytes();
        unnamed.extend_from_slice(b"$1\r\n\xff\r\n:1\r\n");
        for reply in [unnamed, format!("${0}\r\n{1}\r\n", 200_000, "x".repeat(200_000)).into_bytes()] {
            let mut out = Vec::new();
            put_reply_json(&mut out, &reply, Bytes::Marked).await;
            assert_eq!(out, json(&reply, Bytes::Marked).as_bytes());
        }
    }

    #[test]
    fn bulks_are_found_where_they_lie() {
        let replies = b"+OK\r\n$3\r\nabc\r\n$-1\r\n$0\r\n\r\n";
        assert_eq!(bulk_of(replies, 0..5), None);
        assert_eq!(bulk_of(replies, 5..14).map(|part| &replies[part]), Some(&b"abc"[..]));
        assert_eq!(bulk_of(replies, 14..19), None);
        assert_eq!(bulk_of(replies, 19..25), Some(23..23));
    }
}
