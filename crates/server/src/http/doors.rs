//! Which door a request is for. See `http` for how one is added.

use super::answer::Answer;
use super::arguments::Arguments;
use super::auth::Login;
use super::problem::refuse;
use super::request::Request;
use super::strangers::Harmless;
use super::v1;
use super::{hustcache, hustdb, json_store, strangers};
use crate::connection::{Caller, End, Stream};
use crate::listener;
use std::pin::pin;

/// A request on its way through a door, and what it is answered with.
pub struct Visit<'v, S> {
    /// The request.
    pub request: &'v Request<'v>,
    /// Runs commands.
    pub caller: &'v mut Caller<S>,
    /// The body, and arguments of commands.
    pub arguments: &'v mut Arguments,
    /// What it is answered with.
    pub answer: &'v mut Answer,
    /// The port it came in by.
    pub port: listener::Door,
    /// Who it is from.
    pub login: &'v mut Login,
    /// What is known of the headers of the request before on this connection.
    pub harmless: &'v mut Harmless,
}

/// A door, with what it found out about the path.
#[derive(Clone, Copy, Debug)]
pub enum Door {
    /// The native API.
    V1(v1::Found),
    /// hustdb's.
    Hustdb(hustdb::Found),
    /// hustcache's.
    Hustcache(hustcache::Endpoint),
    /// The JSON store's.
    Json(json_store::Action),
}

/// Whether a request may come in.
#[derive(Clone, Copy, Debug)]
pub enum Admitted {
    /// It may.
    Yes {
        /// By this door.
        door: Door,
        /// Largest body it may have.
        body_bytes_max: usize,
        /// It may have to wait: what was asked before it is answered first.
        may_wait: bool,
    },
    /// The answer says why not.
    No,
}

/// Decides before the body is received.
///
/// # Errors
/// The connection is to end.
#[inline]
pub async fn admit<S: Stream>(visit: &mut Visit<'_, S>) -> Result<Admitted, End> {
    if strangers::refuses(visit) {
        return Ok(Admitted::No);
    }
    let path = visit.request.path;
    if (path.starts_with("/v1/") || path == "/v1") && has_v1(visit.port) {
        return v1::admit(visit).await;
    }
    if visit.port == listener::Door::Json {
        return json_store::admit(visit).await;
    }
    if let Some(name) = path.strip_prefix("/hustdb/") {
        return hustdb::admit(name, visit).await;
    }
    if let Some(name) = path.strip_prefix("/hustcache/") {
        return hustcache::admit(name, visit).await;
    }
    if path == "/status.html" {
        visit.answer.header("Content-Type", "text/plain").body().extend_from_slice(b"ok\n");
        return Ok(Admitted::No);
    }
    refuse(visit.answer, 404, "nothing is here; the API begins with /v1/");
    Ok(Admitted::No)
}

fn has_v1(port: listener::Door) -> bool {
    matches!(port, listener::Door::Http | listener::Door::HttpTls)
}

/// Answers a request whose body is there.
///
/// # Errors
/// The connection is to end.
#[inline]
pub async fn answer<S: Stream>(door: Door, visit: &mut Visit<'_, S>) -> Result<(), End> {
    match door {
        // Pinned where they are made: `await` alone would move each twice.
        Door::V1(found) => pin!(v1::answer(found, visit)).await,
        Door::Hustdb(found) => pin!(hustdb::answer(found, visit)).await,
        Door::Hustcache(endpoint) => {
            hustcache::answer(endpoint, visit);
            Ok(())
        }
        Door::Json(action) => pin!(json_store::answer(action, visit)).await,
    }
}
