//! The native API, `/v1`: keys and their values as resources, and any command.
//!
//! | file         | what it is                                                |
//! |--------------|-----------------------------------------------------------|
//! | `routes.rs`  | every route, once: the table that OpenAPI is made from    |
//! | `kv.rs`      | strings as raw bytes                                      |
//! | `command.rs` | any command as a JSON array                               |
//!
//! Deliberately not here: what commands do, and who may run them.

mod command;
mod kv;
pub mod reply;
pub mod routes;

use super::auth::LoggedIn;
use super::doors::{Admitted, Door, Visit};
use super::problem::{refuse, refuse_error};
use crate::connection::{End, Stream};
use base::{DB_COUNT, DbId};
pub use routes::Found;
use routes::{Action, Match};
use wire::reply::Protocol;

/// Decides whether a request may come in: its path, its user, its database.
///
/// # Errors
/// The connection is to end.
#[inline]
pub async fn admit<S: Stream>(visit: &mut Visit<'_, S>) -> Result<Admitted, End> {
    let found = match routes::find(visit.request.method, visit.request.path) {
        Match::Found(found) => found,
        Match::OtherMethods(allowed) => {
            let names: Vec<&str> = allowed.iter().map(|method| method.name()).collect();
            let names = names.join(", ");
            let detail = format!("{} is not for this path, which takes {names}", visit.request.method.name());
            refuse(visit.answer, 405, &detail).header("allow", names);
            return Ok(Admitted::No);
        }
        Match::Nothing => {
            let detail = format!("no such path: {} (a slash within a key is written %2F)", visit.request.path);
            refuse(visit.answer, 404, &detail);
            return Ok(Admitted::No);
        }
    };
    match visit.login.check(visit.caller, visit.request.header("authorization")).await? {
        LoggedIn::Yes => {}
        refused => {
            let detail = match refused {
                LoggedIn::Missing => "this server asks for a user and a password",
                _ => "the Authorization header is not a user's of this server: Basic, or Bearer user:password",
            };
            refuse(visit.answer, 401, detail).header("www-authenticate", "Basic realm=\"larder\", charset=\"UTF-8\"");
            return Ok(Admitted::No);
        }
    }
    if !select(visit) {
        return Ok(Admitted::No);
    }
    let body_bytes_max = visit.caller.server().settings.bulk_bytes_max();
    Ok(Admitted::Yes { door: Door::V1(found), body_bytes_max, may_wait: found.route().may_wait })
}

/// Selects the database that `?db=` names. Returns false when there is none such.
fn select<S: Stream>(visit: &mut Visit<'_, S>) -> bool {
    visit.caller.session().protocol = Protocol::Resp3;
    let db = match visit.request.parameter("db") {
        None => Some(0),
        Some(text) => text.ok().and_then(|text| base::number::parse_u64(&text)).filter(|db| *db < DB_COUNT as u64),
    };
    match db {
        Some(db) => visit.caller.session().db = DbId(db as u8),
        None => _ = refuse(visit.answer, 400, "db is the number of a database, 0 to 15"),
    }
    db.is_some()
}

/// Answers a request.
///
/// # Errors
/// The connection is to end.
#[inline]
pub async fn answer<S: Stream>(found: Found, visit: &mut Visit<'_, S>) -> Result<(), End> {
    match found.route().action {
        Action::KvGet => kv::get(found, visit).await,
        Action::KvPut => kv::put(found, visit).await,
        Action::KvDelete => kv::delete(found, visit).await,
        Action::Command => command::one(visit).await,
    }
}

/// Answers with the error that a reply is. Returns false when it is none.
fn is_refused<S: Stream>(visit: &mut Visit<'_, S>, reply: std::ops::Range<usize>) -> bool {
    let reply = &visit.caller.replies()[reply];
    match reply::error_of(reply) {
        None => false,
        Some(error) => {
            refuse_error(visit.answer, error);
            true
        }
    }
}
