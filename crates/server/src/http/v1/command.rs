//! Any command as a JSON array of its words: `["SET", "k", "v"]`; several at once; several as one transaction.
//!
//! `/v1/command`, `/v1/pipeline` and `/v1/multi-exec` answer as hosted Redis services do, so that their clients work: `{"result": …}` or
//! `{"error": …}` with the replies of RESP2 (a hash is a flat list of fields and values), strings in base64 where
//! `Upstash-Encoding: base64` asks for it. `/v1/batch` answers with the replies of RESP3, where a hash is an object.

use super::body::{NO_WORD, word};
use super::reply::{Bytes, error_of, put_json, value_of};
use crate::connection::{End, Stream};
use crate::http::doors::Visit;
use crate::http::json::put_string;
use crate::http::problem::{refuse, refuse_error, status_of};
use serde_json::Value as Json;
use std::ops::Range;
use wire::args::ArgsQueue;
use wire::reply::Protocol;
use wire::value::Value;

/// Most commands of one request.
pub const COMMANDS_COUNT_MAX: usize = 100_000;

/// POST /v1/command
pub async fn one<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), End> {
    let put = body(visit).and_then(|json| {
        let words = words(&json)?;
        for (index, word) in words.enumerate() {
            let word = word?;
            _ = if index == 0 { visit.arguments.begin(&word) } else { visit.arguments.add(&word) };
        }
        Ok(())
    });
    if let Err(wrong) = put {
        say_error(visit, 400, &format!("ERR {wrong}"));
        return Ok(());
    }
    visit.caller.session().protocol = Protocol::Resp2;
    let reply = visit.caller.call(visit.arguments.args()).await?;
    if says_error(visit, &reply) {
        return Ok(());
    }
    let bytes = encoding(visit);
    let value = value_of(&visit.caller.replies()[reply]);
    put_result(visit.answer.header("content-type", "application/json").body(), &value, bytes);
    Ok(())
}

/// POST /v1/pipeline
pub async fn pipeline<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), End> {
    let Some(commands) = commands_of(visit) else { return Ok(()) };
    visit.caller.session().protocol = Protocol::Resp2;
    let replies = each(visit, &commands).await?;
    let bytes = encoding(visit);
    visit.answer.header("content-type", "application/json");
    put_results(visit, &replies, bytes);
    Ok(())
}

/// POST /v1/multi-exec
pub async fn multi_exec<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), End> {
    let Some(commands) = commands_of(visit) else { return Ok(()) };
    visit.caller.session().protocol = Protocol::Resp2;
    let reply = visit.caller.call_atomically(&commands).await?;
    if says_error(visit, &reply) {
        return Ok(());
    }
    let bytes = encoding(visit);
    let value = value_of(&visit.caller.replies()[reply]);
    put_all(visit.answer.header("content-type", "application/json").body(), &value, bytes);
    Ok(())
}

/// POST /v1/batch
pub async fn batch<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), End> {
    let (commands, is_atomic) = match body(visit).and_then(|json| batch_of(&json)) {
        Ok(batch) => batch,
        Err(wrong) => {
            refuse(visit.answer, 400, &wrong);
            return Ok(());
        }
    };
    if is_atomic {
        let reply = visit.caller.call_atomically(&commands).await?;
        let reply = &visit.caller.replies()[reply];
        if let Some(error) = error_of(reply) {
            refuse_error(visit.answer, error);
            return Ok(());
        }
        let value = value_of(reply);
        let body = visit.answer.header("content-type", "application/json").body();
        body.extend_from_slice(b"{\"results\":");
        put_all(body, &value, Bytes::Marked);
    } else {
        let replies = each(visit, &commands).await?;
        visit.answer.header("content-type", "application/json").body().extend_from_slice(b"{\"results\":");
        put_results(visit, &replies, Bytes::Marked);
    }
    visit.answer.body().push(b'}');
    Ok(())
}

/// Runs commands one after the other. Returns where the reply of each lies. Replies are held until the last: once they are
/// larger than an argument may be, no further command is run.
async fn each<S: Stream>(visit: &mut Visit<'_, S>, commands: &ArgsQueue) -> Result<Vec<Range<usize>>, End> {
    let bytes_max = visit.caller.server().settings.bulk_bytes_max();
    let mut replies = Vec::with_capacity(commands.count());
    for index in 0..commands.count() {
        replies.push(if visit.caller.replies().len() <= bytes_max {
            visit.caller.call(commands.args(index)).await?
        } else {
            visit.caller.say_error(&format!("ERR not run: the replies before have more than {bytes_max} bytes"))
        });
    }
    Ok(replies)
}

/// Why there are no commands in a body.
type Wrong = String;

fn body<S>(visit: &Visit<'_, S>) -> Result<Json, Wrong> {
    serde_json::from_slice(visit.arguments.body()).map_err(|error| format!("the body is not JSON: {error}"))
}

type Word<'j> = Result<std::borrow::Cow<'j, [u8]>, Wrong>;

fn words(json: &Json) -> Result<impl Iterator<Item = Word<'_>>, Wrong> {
    let words = json.as_array().filter(|words| !words.is_empty());
    let words = words.ok_or("a command is an array of its words, its name first")?;
    if !words[0].is_string() {
        return Err("the name of a command is a string".to_owned());
    }
    Ok(words.iter().map(|json| word(json).ok_or_else(|| NO_WORD.to_owned())))
}

fn commands(json: &Json) -> Result<ArgsQueue, Wrong> {
    let list = json.as_array().ok_or("commands are an array of arrays of words")?;
    if COMMANDS_COUNT_MAX < list.len() {
        return Err(format!("a request has at most {COMMANDS_COUNT_MAX} commands"));
    }
    let mut queue = ArgsQueue::default();
    for command in list {
        let words = words(command)?.collect::<Result<Vec<_>, Wrong>>()?;
        queue.push(words.iter().map(|word| &**word));
    }
    Ok(queue)
}

/// `{"commands": […], "atomic": true}`
fn batch_of(json: &Json) -> Result<(ArgsQueue, bool), Wrong> {
    let fields = json.as_object().ok_or("the body is an object with `commands`")?;
    if let Some(name) = fields.keys().find(|name| !["commands", "atomic"].contains(&name.as_str())) {
        return Err(format!("a batch has `commands` and `atomic`, not `{name}`"));
    }
    let is_atomic = match fields.get("atomic") {
        None => false,
        Some(Json::Bool(is_atomic)) => *is_atomic,
        Some(_) => return Err("`atomic` is true or false".to_owned()),
    };
    let commands = commands(fields.get("commands").ok_or("the body has no `commands`")?)?;
    Ok((commands, is_atomic))
}

fn encoding<S>(visit: &Visit<'_, S>) -> Bytes {
    let wanted = visit.request.header("upstash-encoding");
    if wanted.is_some_and(|encoding| encoding.eq_ignore_ascii_case(b"base64")) { Bytes::Base64 } else { Bytes::Marked }
}

/// The commands of the body; where it has none, the answer says why.
fn commands_of<S>(visit: &mut Visit<'_, S>) -> Option<ArgsQueue> {
    let said = body(visit).and_then(|json| commands(&json));
    said.map_err(|wrong| say_error(visit, 400, &format!("ERR {wrong}"))).ok()
}

/// Answers with the error that a reply is. Returns whether it is one.
fn says_error<S: Stream>(visit: &mut Visit<'_, S>, reply: &Range<usize>) -> bool {
    let said = error_of(&visit.caller.replies()[reply.clone()]);
    let said = said.map(|error| (status_of(error), String::from_utf8_lossy(error).into_owned()));
    said.map(|(status, error)| say_error(visit, status, &error)).is_some()
}

fn say_error<S>(visit: &mut Visit<'_, S>, status: u16, error: &str) {
    let body = visit.answer.status(status).header("content-type", "application/json").body();
    body.extend_from_slice(b"{\"error\":");
    put_string(body, error);
    body.push(b'}');
}

/// `{"result": …}`, or `{"error": …}` for what is one.
fn put_result(out: &mut Vec<u8>, value: &Value, bytes: Bytes) {
    if matches!(value, Value::Error(_) | Value::BulkError(_)) {
        put_json(out, value, bytes);
        return;
    }
    out.extend_from_slice(b"{\"result\":");
    put_json(out, value, bytes);
    out.push(b'}');
}

/// A result for each reply.
fn put_results<S: Stream>(visit: &mut Visit<'_, S>, replies: &[Range<usize>], bytes: Bytes) {
    let values: Vec<Value> = replies.iter().map(|reply| value_of(&visit.caller.replies()[reply.clone()])).collect();
    put_all(visit.answer.body(), &Value::Array(values), bytes);
}

/// A result for each element of what EXEC answered.
fn put_all(out: &mut Vec<u8>, value: &Value, bytes: Bytes) {
    let values = if let Value::Array(values) = value { &values[..] } else { &[] };
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_result(out, value, bytes);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn batches_are_what_they_say_and_nothing_else() {
        let (commands, is_atomic) =
            batch_of(&json(r#"{"commands":[["SET","k",1],["GET","k"]],"atomic":true}"#)).expect("a batch");
        assert!(is_atomic);
        assert_eq!(commands.count(), 2);
        assert_eq!(commands.args(0).iter().collect::<Vec<_>>(), [&b"SET"[..], b"k", b"1"]);
        for wrong in [
            "[]",
            "{}",
            r#"{"commands":[[]]}"#,
            r#"{"commands":[["a",null]]}"#,
            r#"{"commands":[],"atomic":1}"#,
            r#"{"commands":[],"x":1}"#,
            r#"{"commands":["PING"]}"#,
            r#"{"commands":[[false]]}"#,
        ] {
            assert!(batch_of(&json(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn results_and_errors_are_told_apart() {
        let mut out = Vec::new();
        let value = Value::Array(vec![Value::Integer(1), Value::Error(b"ERR x".to_vec()), Value::Null]);
        put_all(&mut out, &value, Bytes::Base64);
        assert_eq!(out, br#"[{"result":1},{"error":"ERR x"},{"result":null}]"#);
    }
}
