//! Cross-origin requests: whether the pages of other origins may ask, as `http-cors-origins` says. Nobody's may unless it
//! does; credentials are never allowed, so that `*` gives away nothing that a stranger could not ask for himself.
//!
//! Source: the Fetch standard, "CORS protocol".

use crate::config::SettingId;
use crate::connection::Stream;
use crate::http::doors::Visit;

/// Seconds that a browser may remember what it was allowed.
const MAX_AGE_SECONDS: &str = "600";
/// Headers that a page may send.
const REQUEST_HEADERS: &str =
    "authorization, content-type, if-match, if-none-match, if-range, range, larder-sync, upstash-encoding";
/// Headers that a page may read.
const RESPONSE_HEADERS: &str = "etag, content-range, larder-durability";

/// Lets the page that asks read the answer, if it may.
///
/// # Cost
/// A look for `Origin`; more only for requests that have one.
#[inline]
pub fn allow<S: Stream>(visit: &mut Visit<'_, S>) {
    if let Some(origin) = visit.request.header_text("origin") {
        allow_origin(visit, origin);
    }
}

#[cold]
fn allow_origin<S: Stream>(visit: &mut Visit<'_, S>, origin: &str) {
    let origins = visit.caller.server().settings.text(const { SettingId::of("http-cors-origins") });
    let allowed = origins.split_whitespace().find(|allowed| *allowed == "*" || *allowed == origin);
    if let Some(allowed) = allowed {
        visit.answer.header("access-control-allow-origin", allowed);
        visit.answer.header("access-control-expose-headers", RESPONSE_HEADERS);
        visit.answer.header("vary", "origin");
    }
}

/// Answers what a browser asks before the request of a page: which methods and headers are allowed.
pub fn allow_methods<S: Stream>(visit: &mut Visit<'_, S>, methods: &str) {
    if visit.request.header("access-control-request-method").is_some() {
        visit.answer.header("access-control-allow-methods", methods);
        visit.answer.header("access-control-allow-headers", REQUEST_HEADERS);
        visit.answer.header("access-control-max-age", MAX_AGE_SECONDS);
    }
}
