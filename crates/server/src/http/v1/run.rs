//! Routes that come to one command: the words of their row, and what becomes of the reply. Lists and keys, whose words
//! depend on parameters, are here too.

use super::body::{NO_WORD, milliseconds, word};
use super::is_refused;
use super::reply::{Bytes, bulk_of, put_json, put_reply_json, value_of};
use super::routes::{Found, Shape, Word};
use crate::connection::{End, Stream};
use crate::http::doors::Visit;
use crate::http::media_type;
use crate::http::problem::refuse;
use base::number::{parse_i64, parse_u64};
use serde_json::Value as Json;
use std::ops::Range;
use wire::value::Value;

/// Why no command could be made of a request. The text is the answer's.
pub type Wrong = String;

/// Keys that a request for keys looks at unless it says.
const KEYS_COUNT: &str = "100";
const NO_ESCAPE: &str = "is not spelled right: two hexadecimal digits follow a %";

/// Runs the command that `words` make.
pub async fn run<S: Stream>(found: Found, visit: &mut Visit<'_, S>, words: &[Word], shape: Shape) -> Result<(), End> {
    if let Err(wrong) = put_words(found, visit, words) {
        refuse(visit.answer, 400, &wrong);
        return Ok(());
    }
    let reply = visit.caller.call(visit.arguments.args()).await?;
    answer(visit, reply, shape).await;
    Ok(())
}

fn put_words<S: Stream>(found: Found, visit: &mut Visit<'_, S>, words: &[Word]) -> Result<(), Wrong> {
    for (index, word) in words.iter().enumerate() {
        match word {
            Word::Is(text) if index == 0 => _ = visit.arguments.begin(text.as_bytes()),
            Word::Is(text) => _ = visit.arguments.add(text.as_bytes()),
            Word::Path(index) => put_path(found, visit, *index)?,
            Word::Query(name, default) => {
                let number = integer(visit, name)?;
                visit.arguments.add(number.as_deref().unwrap_or(default.as_bytes()));
            }
            Word::Body => _ = visit.arguments.add_body(),
            Word::Elements => put_elements(visit)?,
            Word::Pairs => put_pairs(visit, false)?,
            Word::PairsReversed => put_pairs(visit, true)?,
        }
    }
    Ok(())
}

/// Adds what stands in the path, decoded.
pub fn put_path<S: Stream>(found: Found, visit: &mut Visit<'_, S>, index: usize) -> Result<(), Wrong> {
    let text = found.capture(visit.request.path, index);
    let added = visit.arguments.add_decoded(text).is_some();
    if added { Ok(()) } else { Err(format!("{} {NO_ESCAPE}", String::from_utf8_lossy(text))) }
}

/// A decoded parameter.
pub fn parameter<S>(visit: &Visit<'_, S>, name: &str) -> Result<Option<Vec<u8>>, Wrong> {
    match visit.request.parameter(name) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(format!("{name} {NO_ESCAPE}")),
    }
}

/// A parameter that is an integer, as it was said.
fn integer<S>(visit: &Visit<'_, S>, name: &str) -> Result<Option<Vec<u8>>, Wrong> {
    let said = parameter(visit, name)?;
    match said.as_deref().map(parse_i64) {
        Some(None) => Err(format!("{name} is an integer")),
        _ => Ok(said),
    }
}

/// A parameter that is a time, in milliseconds.
pub fn time<S>(visit: &Visit<'_, S>, name: &str) -> Result<Option<u64>, Wrong> {
    let Some(text) = parameter(visit, name)? else { return Ok(None) };
    match milliseconds(&text) {
        Some(ms) => Ok(Some(ms)),
        None => Err(format!("{name} is a time: 30s, 500ms, 5m, 1h, 1d, or seconds")),
    }
}

fn json<S>(visit: &Visit<'_, S>) -> Result<Json, Wrong> {
    serde_json::from_slice(visit.arguments.body()).map_err(|error| format!("the body is not JSON: {error}"))
}

fn put_elements<S>(visit: &mut Visit<'_, S>) -> Result<(), Wrong> {
    let json = json(visit)?;
    let elements = json.as_array().filter(|elements| !elements.is_empty());
    for element in elements.ok_or("the body is an array with at least one element")? {
        visit.arguments.add(&word(element).ok_or(NO_WORD)?);
    }
    Ok(())
}

fn put_pairs<S>(visit: &mut Visit<'_, S>, is_reversed: bool) -> Result<(), Wrong> {
    let json = json(visit)?;
    let pairs = json.as_object().filter(|pairs| !pairs.is_empty());
    for (name, value) in pairs.ok_or("the body is an object with at least one name")? {
        let value = word(value).ok_or(NO_WORD)?;
        if is_reversed {
            visit.arguments.add(&value).add(name.as_bytes());
        } else {
            visit.arguments.add(name.as_bytes()).add(&value);
        }
    }
    Ok(())
}

/// Whether the client would rather have JSON than bytes.
pub fn wants_json<S>(visit: &Visit<'_, S>) -> bool {
    visit.request.header("accept").is_some_and(|accept| accept.starts_with(b"application/json"))
}

async fn answer<S: Stream>(visit: &mut Visit<'_, S>, reply: Range<usize>, shape: Shape) {
    let replies = visit.caller.replies();
    let bytes = if shape == Shape::Bytes { bulk_of(replies, reply.clone()) } else { None };
    match (shape, bytes) {
        (Shape::Bytes, Some(part)) if !wants_json(visit) => {
            media_type::put(visit.answer, None);
            visit.answer.body_is_reply(part);
        }
        _ if is_refused(visit, reply.clone()) => {}
        (Shape::Done, _) => _ = visit.answer.status(204),
        (Shape::Found, _) if visit.caller.replies()[reply.clone()] == *b":1\r\n" => _ = visit.answer.status(204),
        (Shape::Found, _) => _ = refuse(visit.answer, 404, "there is no such thing"),
        (Shape::Bytes | Shape::Json, _) => match &visit.caller.replies()[reply] {
            b"_\r\n" => _ = refuse(visit.answer, 404, "there is no such thing"),
            reply => {
                let body = visit.answer.header("content-type", "application/json").body();
                put_reply_json(body, reply, Bytes::Marked).await;
            }
        },
    }
}

fn answer_json<S: Stream>(visit: &mut Visit<'_, S>, value: &Value) {
    if matches!(value, Value::Null | Value::NullArray) {
        refuse(visit.answer, 404, "there is no such thing");
        return;
    }
    put_json(visit.answer.header("content-type", "application/json").body(), value, Bytes::Marked);
}

/// The end of a list that `side` names; `default` when it is not said.
fn is_left<S>(visit: &Visit<'_, S>, default: &str) -> Result<bool, Wrong> {
    let side = parameter(visit, "side")?;
    match side.as_deref().unwrap_or(default.as_bytes()) {
        b"left" => Ok(true),
        b"right" => Ok(false),
        _ => Err("side is left or right".to_owned()),
    }
}

/// POST /v1/lists/{key}
pub async fn list_push<S: Stream>(found: Found, visit: &mut Visit<'_, S>) -> Result<(), End> {
    let words: &[Word] = match is_left(visit, "right") {
        Ok(true) => &[Word::Is("LPUSH"), Word::Path(0), Word::Elements],
        Ok(false) => &[Word::Is("RPUSH"), Word::Path(0), Word::Elements],
        Err(wrong) => {
            refuse(visit.answer, 400, &wrong);
            return Ok(());
        }
    };
    run(found, visit, words, Shape::Json).await
}

/// POST /v1/lists/{key}/pop
pub async fn list_pop<S: Stream>(found: Found, visit: &mut Visit<'_, S>) -> Result<(), End> {
    let waits = match put_pop(found, visit) {
        Ok(waits) => waits,
        Err(wrong) => {
            refuse(visit.answer, 400, &wrong);
            return Ok(());
        }
    };
    let reply = visit.caller.call(visit.arguments.args()).await?;
    if !waits {
        answer(visit, reply, Shape::Bytes).await;
        return Ok(());
    }
    if is_refused(visit, reply.clone()) {
        return Ok(());
    }
    // What waited is answered with the key, and the element behind it.
    match value_of(&visit.caller.replies()[reply]) {
        Value::Array(mut pair) => match pair.pop() {
            Some(Value::Bulk(element)) if !wants_json(visit) => {
                media_type::put(visit.answer, None);
                *visit.answer.body() = element;
            }
            element => answer_json(visit, &element.unwrap_or(Value::Null)),
        },
        _ => _ = refuse(visit.answer, 404, "nothing came in time"),
    }
    Ok(())
}

/// Makes the command of a pop. Returns whether it waits.
fn put_pop<S: Stream>(found: Found, visit: &mut Visit<'_, S>) -> Result<bool, Wrong> {
    let is_left = is_left(visit, "left")?;
    // Waiting for no time at all would be waiting for ever.
    let wait_ms = time(visit, "wait")?.filter(|ms| *ms != 0);
    visit.arguments.begin(match (wait_ms.is_some(), is_left) {
        (false, true) => b"LPOP",
        (false, false) => b"RPOP",
        (true, true) => b"BLPOP",
        (true, false) => b"BRPOP",
    });
    put_path(found, visit, 0)?;
    if let Some(ms) = wait_ms {
        visit.arguments.add(format!("{}.{:03}", ms / 1_000, ms % 1_000).as_bytes());
    }
    Ok(wait_ms.is_some())
}

/// GET /v1/keys
pub async fn keys<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), End> {
    if let Err(wrong) = put_scan(visit) {
        refuse(visit.answer, 400, &wrong);
        return Ok(());
    }
    let reply = visit.caller.call(visit.arguments.args()).await?;
    if is_refused(visit, reply.clone()) {
        return Ok(());
    }
    let Value::Array(found) = value_of(&visit.caller.replies()[reply]) else { return Ok(()) };
    let body = visit.answer.header("content-type", "application/json").body();
    for (name, value) in ["{\"cursor\":", ",\"keys\":"].iter().zip(&found) {
        body.extend_from_slice(name.as_bytes());
        put_json(body, value, Bytes::Marked);
    }
    body.push(b'}');
    Ok(())
}

fn put_scan<S>(visit: &mut Visit<'_, S>) -> Result<(), Wrong> {
    let (prefix, cursor, count) = (parameter(visit, "prefix")?, parameter(visit, "cursor")?, integer(visit, "count")?);
    if cursor.as_deref().is_some_and(|cursor| parse_u64(cursor).is_none()) {
        return Err("cursor is a number, as this path answers it".to_owned());
    }
    if count.as_deref().and_then(parse_i64).is_some_and(|count| count < 1) {
        return Err("count is an integer from 1 on".to_owned());
    }
    visit.arguments.begin(b"SCAN").add(cursor.as_deref().unwrap_or(b"0"));
    visit.arguments.add(b"COUNT").add(count.as_deref().unwrap_or(KEYS_COUNT.as_bytes()));
    if let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) {
        visit.arguments.add(b"MATCH").add(&pattern_of(&prefix));
    }
    Ok(())
}

/// The pattern that whatever begins with `prefix` matches.
pub fn pattern_of(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for byte in prefix {
        if b"*?[]\\^-".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_itself_and_nothing_else() {
        for prefix in ["a", "*", "a?[b]\\^-c"] {
            let pattern = pattern_of(prefix.as_bytes());
            let matches =
                |text: String| base::glob::glob_matches(&pattern, text.as_bytes(), base::glob::Case::Sensitive);
            assert!(matches(prefix.to_owned()) && matches(format!("{prefix}x")), "{prefix}");
            assert!(!matches(format!("x{prefix}")), "{prefix}");
        }
    }
}
