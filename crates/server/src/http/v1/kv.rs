//! Strings as raw bytes: `/v1/kv/{key}`.

use super::routes::Found;
use super::{is_refused, reply};
use crate::connection::{End, Stream};
use crate::http::doors::Visit;
use crate::http::problem::refuse;

/// Content type of values, of which nothing is known.
const BYTES: &str = "application/octet-stream";

/// Begins a command whose first argument is the key. Returns false when the key is spelled wrong.
fn begin<S: Stream>(found: Found, visit: &mut Visit<'_, S>, name: &[u8]) -> bool {
    let key = found.capture(visit.request.path, 0);
    let is_right = visit.arguments.begin(name).add_decoded(key).is_some();
    if !is_right {
        refuse(visit.answer, 400, "the key is not spelled right: two hexadecimal digits follow a %");
    }
    is_right
}

/// GET and HEAD.
pub async fn get<S: Stream>(found: Found, visit: &mut Visit<'_, S>) -> Result<(), End> {
    if !begin(found, visit, b"GET") {
        return Ok(());
    }
    let reply = visit.caller.call(visit.arguments.args()).await?;
    if let Some(part) = reply::bulk_of(visit.caller.replies(), reply.clone()) {
        visit.answer.header("content-type", BYTES).body_is_reply(part);
    } else if !is_refused(visit, reply) {
        refuse(visit.answer, 404, "there is no such key");
    }
    Ok(())
}

/// PUT.
pub async fn put<S: Stream>(found: Found, visit: &mut Visit<'_, S>) -> Result<(), End> {
    if !begin(found, visit, b"SET") {
        return Ok(());
    }
    visit.arguments.add_body();
    let reply = visit.caller.call(visit.arguments.args()).await?;
    if !is_refused(visit, reply) {
        visit.answer.status(204);
    }
    Ok(())
}

/// DELETE.
pub async fn delete<S: Stream>(found: Found, visit: &mut Visit<'_, S>) -> Result<(), End> {
    if !begin(found, visit, b"DEL") {
        return Ok(());
    }
    let reply = visit.caller.call(visit.arguments.args()).await?;
    if visit.caller.replies()[reply.clone()] == *b":1\r\n" {
        visit.answer.status(204);
    } else if !is_refused(visit, reply) {
        refuse(visit.answer, 404, "there is no such key");
    }
    Ok(())
}
