//! The JSON API of the raft and bitcask store, on a port of its own (`json-port`): a key is a path, a value a JSON string.
//!
//! ```text
//! POST /key {"value":"…"} ─► {"success":true}     GET /key ─► {"value":"…"}     DELETE /key ─► {"success":true}
//! ```
//!
//! Keys are strings of database 0, which every other door sees. Deliberately not: values that are no text, for which the
//! native API is there.

use super::auth::LoggedIn;
use super::doors::{Admitted, Door, Visit};
use super::json::put_string;
use super::problem::{split_error, status_of};
use super::request::Method;
use crate::connection::{End, Stream};
use base::DbId;
use serde_json::Value as Json;
use wire::reply::Protocol;
use wire::value::{Decoded, Value};

/// What is to be done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// GET.
    Get,
    /// POST.
    Set,
    /// DELETE.
    Delete,
}

fn refuse<S: Stream>(visit: &mut Visit<'_, S>, status: u16, why: &str) {
    visit.answer.status(status).header("Content-Type", "application/json");
    let body = visit.answer.body();
    body.extend_from_slice(b"{\"error\":");
    put_string(body, why);
    body.push(b'}');
}

fn answer_with<S: Stream>(visit: &mut Visit<'_, S>, json: &[u8]) {
    visit.answer.header("Content-Type", "application/json").body().extend_from_slice(json);
}

/// Decides whether a request may come in.
///
/// # Errors
/// The connection is to end.
pub async fn admit<S: Stream>(visit: &mut Visit<'_, S>) -> Result<Admitted, End> {
    if visit.login.check(visit.caller, visit.request.header("authorization")).await? != LoggedIn::Yes {
        refuse(visit, 401, "a user and a password are needed");
        visit.answer.header("WWW-Authenticate", "Basic realm=\"larder\"");
        return Ok(Admitted::No);
    }
    let action = match visit.request.method {
        Method::Get => Action::Get,
        Method::Post => Action::Set,
        Method::Delete => Action::Delete,
        _ => {
            refuse(visit, 405, "a key takes GET, POST and DELETE");
            return Ok(Admitted::No);
        }
    };
    let session = visit.caller.session();
    (session.protocol, session.db) = (Protocol::Resp3, DbId(0));
    let body_bytes_max = visit.caller.server().settings.bulk_bytes_max();
    Ok(Admitted::Yes { door: Door::Json(action), body_bytes_max, may_wait: false })
}

/// Answers a request.
///
/// # Errors
/// The connection is to end.
pub async fn answer<S: Stream>(action: Action, visit: &mut Visit<'_, S>) -> Result<(), End> {
    let key = visit.request.path.strip_prefix('/').unwrap_or_default();
    if key.is_empty() {
        refuse(visit, 404, "key not found");
        return Ok(());
    }
    let name: &[u8] = match action {
        Action::Get => b"GET",
        Action::Set => b"SET",
        Action::Delete => b"DEL",
    };
    let value = if action == Action::Set { value_of(visit.arguments.body()) } else { Ok(String::new()) };
    let value = match value {
        Ok(value) => value,
        Err(why) => {
            refuse(visit, 400, why);
            return Ok(());
        }
    };
    if visit.arguments.begin(name).add_decoded(key.as_bytes()).is_none() {
        refuse(visit, 400, "two hexadecimal digits follow a % in a key");
        return Ok(());
    }
    if action == Action::Set {
        visit.arguments.add(value.as_bytes());
    }
    let reply = visit.caller.call(visit.arguments.args()).await?;
    let decoded = Value::decode(&visit.caller.replies()[reply]);
    match decoded {
        Ok(Decoded::Value { value: Value::Error(error) | Value::BulkError(error), .. }) => {
            let (_, detail) = split_error(&error);
            refuse(visit, status_of(&error), &String::from_utf8_lossy(detail));
        }
        Ok(Decoded::Value { value: Value::Null, .. }) => refuse(visit, 404, "key not found"),
        Ok(Decoded::Value { value: Value::Bulk(bytes), .. }) if action == Action::Get => put_value(visit, bytes),
        Ok(_) => answer_with(visit, b"{\"success\":true}"),
        Err(error) => refuse(visit, 500, &error.to_string()),
    }
    Ok(())
}

fn put_value<S: Stream>(visit: &mut Visit<'_, S>, bytes: Vec<u8>) {
    let Ok(text) = String::from_utf8(bytes) else {
        refuse(visit, 406, "the value is no text; GET /v1/kv/{key} on the HTTP port has its bytes");
        return;
    };
    let mut json = b"{\"value\":".to_vec();
    put_string(&mut json, &text);
    json.push(b'}');
    answer_with(visit, &json);
}

/// The value that a body has.
///
/// # Errors
/// What is wrong with it.
fn value_of(body: &[u8]) -> Result<String, &'static str> {
    match serde_json::from_slice::<Json>(body) {
        Ok(Json::Object(mut fields)) => match fields.remove("value") {
            Some(Json::String(value)) => Ok(value),
            Some(_) => Err("\"value\" is not a string"),
            None => Err("\"value\" is missing"),
        },
        Ok(_) => Err("the body is not a JSON object"),
        Err(_) => Err("the body is not JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_a_value_that_is_a_string() {
        assert_eq!(value_of(b"{\"value\":\"a\\u00fc\",\"more\":1}"), Ok("aü".to_owned()));
        for body in ["", "{", "[]", "{}", "{\"value\":1}", "{\"value\":null}", "\"value\""] {
            assert!(value_of(body.as_bytes()).is_err(), "{body}");
        }
    }
}
