//! The native API, `/v1`: keys and their values as resources, and any command.
//!
//! | file         | what it is                                                |
//! |--------------|-----------------------------------------------------------|
//! | `routes.rs`  | every route, once: the table that describes them          |
//! | `run.rs`     | routes that come to one command                           |
//! | `kv.rs`      | strings as raw bytes                                      |
//! | `command.rs` | any command as a JSON array, and several of them          |
//! | `body.rs`    | JSON to arguments                                         |
//! | `reply.rs`   | replies to JSON                                           |
//! | `cors.rs`    | which pages of other origins may ask                      |
//! | `subscribe.rs` | messages and changes of keys, as streams                |
//! | `openapi.rs` | the description of it all, made of the tables             |
//! | `page.rs`    | the same as a page                                        |
//!
//! Deliberately not here: what commands do, and who may run them.

mod body;
mod command;
mod cors;
mod kv;
mod openapi;
mod page;
pub mod reply;
pub mod routes;
mod run;
mod subscribe;

use super::auth::LoggedIn;
use super::doors::{Admitted, Door, Visit};
use super::problem::{refuse, refuse_error};
use super::request::Method;
use crate::connection::{End, Stream};
use base::{DB_COUNT, DbId};
pub use routes::Found;
use routes::{Action, Match, Place};
use std::pin::pin;
use wire::reply::Protocol;

/// Decides whether a request may come in: its path, its user, its database.
///
/// # Errors
/// The connection is to end.
#[inline]
pub async fn admit<S: Stream>(visit: &mut Visit<'_, S>) -> Result<Admitted, End> {
    let Some(found) = find(visit) else {
        cors::allow(visit);
        return Ok(Admitted::No);
    };
    let is_let_in =
        visit.login.is_known(visit.caller, visit.request.header("authorization")) || Box::pin(log_in(visit)).await?;
    if is_let_in && knows_parameters(found, visit) && select(visit) && understands_sync(visit) {
        let body_bytes_max = visit.caller.server().settings.bulk_bytes_max();
        return Ok(Admitted::Yes { door: Door::V1(found), body_bytes_max, may_wait: found.route().may_wait });
    }
    cors::allow(visit);
    Ok(Admitted::No)
}

/// The route of a request; the answer says why there is none.
fn find<S: Stream>(visit: &mut Visit<'_, S>) -> Option<Found> {
    let (method, path) = (visit.request.method, visit.request.path);
    match routes::find(method, path) {
        Match::Found(found) => Some(found),
        Match::OtherMethods(methods) => {
            let names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
            let names = names.join(", ");
            if method == Method::Options {
                visit.answer.status(204).header("allow", &names);
                cors::allow_methods(visit, &names);
                return None;
            }
            let detail = format!("{} is not for this path, which takes {names}", method.name());
            refuse(visit.answer, 405, &detail).header("allow", names);
            None
        }
        Match::Nothing => {
            refuse(visit.answer, 404, &format!("no such path: {path} (a slash within a key is written %2F)"));
            None
        }
    }
}

/// Makes the user of the request the session's. Returns false when there is none such; the answer says why.
async fn log_in<S: Stream>(visit: &mut Visit<'_, S>) -> Result<bool, End> {
    let detail = match visit.login.check(visit.caller, visit.request.header("authorization")).await? {
        LoggedIn::Yes => return Ok(true),
        LoggedIn::Missing => "this server asks for a user and a password",
        LoggedIn::Wrong => "the Authorization header is not a user's of this server: Basic, or Bearer user:password",
    };
    refuse(visit.answer, 401, detail).header("www-authenticate", "Basic realm=\"larder\", charset=\"UTF-8\"");
    Ok(false)
}

/// Whether every parameter is one of the route's: one that is spelled wrong would be left undone without a word.
fn knows_parameters<S>(found: Found, visit: &mut Visit<'_, S>) -> bool {
    if visit.request.query.is_empty() {
        return true;
    }
    let known =
        || routes::EVERYWHERE.iter().chain(found.route().parameters).filter(|known| known.place == Place::Query);
    let is_known = |name: &[u8]| known().any(|known| known.name.as_bytes() == name);
    match visit.request.parameters().find(|(name, _)| !is_known(name)) {
        None => true,
        Some((name, _)) => {
            let names: Vec<&str> = known().map(|known| known.name).collect();
            let name = String::from_utf8_lossy(name);
            refuse(visit.answer, 400, &format!("no such parameter: {name} (there is {})", names.join(", ")));
            false
        }
    }
}

/// What `Larder-Sync` says.
fn sync<'r, S>(visit: &Visit<'r, S>) -> Option<&'r [u8]> {
    visit.request.header("larder-sync")
}

/// Whether `Larder-Sync` says something that can be done.
fn understands_sync<S>(visit: &mut Visit<'_, S>) -> bool {
    let is_known = matches!(visit.request.method, Method::Get | Method::Head)
        || matches!(sync(visit), None | Some(b"os" | b"disk"));
    if !is_known {
        refuse(visit.answer, 400, "Larder-Sync is os or disk");
    }
    is_known
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
    let written = visit.caller.session().written;
    match found.route().action {
        // Pinned where they are made: `await` alone would move each twice.
        Action::KvGet => pin!(kv::get(found, visit)).await,
        Action::KvPut => pin!(kv::put(found, visit)).await,
        Action::KvDelete => pin!(kv::delete(found, visit)).await,
        // The others' futures are larger: in boxes they cost those above nothing.
        Action::Keys => Box::pin(run::keys(visit)).await,
        Action::ListPush => Box::pin(run::list_push(found, visit)).await,
        Action::ListPop => Box::pin(run::list_pop(found, visit)).await,
        Action::Command => Box::pin(command::one(visit)).await,
        Action::Pipeline => Box::pin(command::pipeline(visit)).await,
        Action::MultiExec => Box::pin(command::multi_exec(visit)).await,
        Action::Batch => Box::pin(command::batch(visit)).await,
        Action::Document => {
            openapi::document(visit);
            Ok(())
        }
        Action::Reference => {
            openapi::reference(visit);
            Ok(())
        }
        Action::Subscribe => Box::pin(subscribe::messages(found, visit)).await,
        Action::Changes => Box::pin(subscribe::changes(visit)).await,
        Action::Run(words, shape) => pin!(run::run(found, visit, words, shape)).await,
    }?;
    if written != visit.caller.session().written {
        tell_durability(visit).await?;
    }
    cors::allow(visit);
    Ok(())
}

/// Waits for the disk if the request wants it, and says how safe what was written is.
async fn tell_durability<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), End> {
    if sync(visit) == Some(b"disk") {
        Box::pin(visit.caller.durable()).await?;
    }
    let reached = if visit.caller.is_durable() { "disk" } else { "os" };
    visit.answer.header("larder-durability", reached);
    Ok(())
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
