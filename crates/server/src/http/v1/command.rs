//! Any command as a JSON array of its words: `["SET", "k", "v"]`.
//!
//! Answers are those of hosted Redis services: `{"result": …}`, or `{"error": …}` with a status that says what kind. They are
//! the replies of RESP2, which is what their clients expect: a hash is a flat list of fields and values.

use super::reply::{Bytes, error_of, put_json, value_of};
use crate::connection::{End, Stream};
use crate::http::arguments::Arguments;
use crate::http::doors::Visit;
use crate::http::json::put_string;
use crate::http::problem::status_of;
use serde_json::Value as Json;
use wire::reply::Protocol;

/// POST /v1/command
pub async fn one<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), End> {
    let words: Json = match serde_json::from_slice(visit.arguments.body()) {
        Ok(words) => words,
        Err(error) => {
            refuse_command(visit, 400, &format!("ERR the body is not JSON: {error}"));
            return Ok(());
        }
    };
    if let Err(problem) = begin(visit.arguments, &words) {
        refuse_command(visit, 400, problem);
        return Ok(());
    }
    visit.caller.session().protocol = Protocol::Resp2;
    let reply = visit.caller.call(visit.arguments.args()).await?;
    let reply = &visit.caller.replies()[reply];
    if let Some(error) = error_of(reply) {
        let (status, error) = (status_of(error), String::from_utf8_lossy(error).into_owned());
        refuse_command(visit, status, &error);
        return Ok(());
    }
    let bytes = if wants_base64(visit) { Bytes::Base64 } else { Bytes::Lossy };
    let body = visit.answer.header("content-type", "application/json").body();
    body.extend_from_slice(b"{\"result\":");
    put_json(body, &value_of(reply), bytes);
    body.push(b'}');
    Ok(())
}

/// Begins the command whose words these are.
fn begin(arguments: &mut Arguments, words: &Json) -> Result<(), &'static str> {
    const NO_COMMAND: &str = "ERR a command is an array of strings and numbers, its name first";
    let words = words.as_array().filter(|words| !words.is_empty()).ok_or(NO_COMMAND)?;
    for (index, word) in words.iter().enumerate() {
        let number;
        let text = match word {
            Json::String(text) => text.as_bytes(),
            Json::Number(value) => {
                number = value.to_string();
                number.as_bytes()
            }
            Json::Bool(true) => b"true",
            Json::Bool(false) => b"false",
            _ => return Err(NO_COMMAND),
        };
        _ = if index == 0 { arguments.begin(text) } else { arguments.add(text) };
    }
    Ok(())
}

fn wants_base64<S: Stream>(visit: &Visit<'_, S>) -> bool {
    visit.request.header("upstash-encoding").is_some_and(|encoding| encoding.eq_ignore_ascii_case(b"base64"))
}

fn refuse_command<S: Stream>(visit: &mut Visit<'_, S>, status: u16, error: &str) {
    let body = visit.answer.status(status).header("content-type", "application/json").body();
    body.extend_from_slice(b"{\"error\":");
    put_string(body, error);
    body.push(b'}');
}
