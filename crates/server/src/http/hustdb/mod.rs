//! hustdb's HTTP API, `/hustdb/*`: parameters in, HUSTDB commands run, statuses and headers out.
//!
//! | file            | what it is                                                   |
//! |-----------------|--------------------------------------------------------------|
//! | `parameters.rs` | what stands in a query                                       |
//! | `listing.rs`    | pages of tables and files, and counts                        |
//! | `exports.rs`    | snapshots to page over                                       |
//! | `binlog.rs`     | writes that another server has missed                        |
//!
//! The order of checks is hustdb's: address, password, method, parameters that are missing (404), parameters that are
//! wrong (400).
//!
//! Source: hustdb's published API; `docs/adr/0017-versions-of-elements.md`.

pub mod binlog;
pub mod exports;
mod listing;
pub mod parameters;

use super::answer::Answer;
use super::auth::LoggedIn;
use super::doors::{Admitted, Door, Visit};
use super::problem::split_error;
use super::request::Method;
use crate::config::SettingId;
use crate::connection::{End, Stream};
use base::DbId;
use parameters::Parameters;
use std::net::IpAddr;
use std::ops::Range;
use wire::reply::Protocol;

/// A parameter is refused.
pub const BAD_REQUEST: u16 = 400;
/// A parameter is missing, or nothing is there.
pub const NOT_FOUND: u16 = 404;
/// Largest body, as hustdb has it by default.
pub const BODY_BYTES_MAX: usize = 33_554_432;

/// How hard a zlib stream is tried to be made small, as zlib counts it.
const DEFLATE_LEVEL: u8 = 6;

/// Which parameter the body stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyTo {
    /// None: there is no POST.
    Nothing,
    /// `val`.
    Value,
    /// `key`.
    Key,
}

/// An argument of a command, and the parameter that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arg {
    Key,
    /// A key that is never decoded.
    RawKey,
    Table,
    Value,
    /// `val`, a number.
    Increment,
    Score,
    Opt,
    Ttl,
    Ver,
}

/// What an answer has beside status and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    Version,
    Body,
    /// Whether versions conflict.
    Conflict,
    ConflictAndBody,
}

/// An endpoint that is one command on one pair or element.
#[derive(Debug)]
pub struct Item {
    name: &'static str,
    command: &'static str,
    args: &'static [Arg],
    body: BodyTo,
    tells: Tells,
}

const fn item(name: &'static str, command: &'static str, args: &'static [Arg], body: BodyTo, tells: Tells) -> Item {
    Item { name, command, args, body, tells }
}

/// The endpoints, sorted by name.
static ITEMS: &[Item] = {
    use Arg::{Increment, Key, Opt, RawKey, Score, Table, Ttl, Value, Ver};
    use Tells::{Body, Conflict, ConflictAndBody, Version};
    &[
        item("del", "DEL", &[Key, Ver], BodyTo::Nothing, Conflict),
        item("exist", "GET", &[Key], BodyTo::Nothing, Version),
        item("get", "GET", &[Key], BodyTo::Nothing, Body),
        item("hdel", "HDEL", &[Table, Key, Ver], BodyTo::Nothing, Conflict),
        item("hexist", "HGET", &[Table, Key], BodyTo::Nothing, Version),
        item("hget", "HGET", &[Table, Key], BodyTo::Nothing, Body),
        item("hincrby", "HINCRBY", &[Table, Key, Increment, Ttl, Ver], BodyTo::Nothing, ConflictAndBody),
        item("hset", "HSET", &[Table, Key, Value, Ttl, Ver], BodyTo::Value, Conflict),
        item("put", "PUT", &[Key, Value, Ttl, Ver], BodyTo::Value, Conflict),
        item("sadd", "SADD", &[Table, RawKey, Ttl, Ver], BodyTo::Key, Conflict),
        item("sismember", "SGET", &[Table, RawKey], BodyTo::Key, Version),
        item("srem", "SREM", &[Table, RawKey, Ver], BodyTo::Key, Conflict),
        item("zadd", "ZADD", &[Table, Score, Key, Opt, Ttl, Ver], BodyTo::Key, ConflictAndBody),
        item("zismember", "ZGET", &[Table, Key], BodyTo::Key, Version),
        item("zrem", "ZREM", &[Table, Key, Ver], BodyTo::Key, Conflict),
        item("zscore", "ZGET", &[Table, Key], BodyTo::Key, Body),
    ]
};

/// What a path is.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    /// One pair or element.
    Item(&'static Item),
    /// Many, or what there is in all.
    Listing(listing::Listing),
    /// A record of what another server has missed.
    Binlog,
}

fn find(name: &str) -> Option<Found> {
    match ITEMS.binary_search_by_key(&name, |item| item.name) {
        Ok(index) => Some(Found::Item(&ITEMS[index])),
        Err(_) if name == "binlog" => Some(Found::Binlog),
        Err(_) => listing::Listing::find(name).map(Found::Listing),
    }
}

/// Ends the connection of who may not come in from where it does.
pub fn ensure_address<S: Stream>(visit: &Visit<'_, S>) -> Result<(), End> {
    let allowed = visit.caller.server().settings.text(const { SettingId::of("hustdb-allow") });
    if allowed.is_empty() {
        return Ok(());
    }
    let peer = visit.caller.peer();
    let is_it = |word: &str| word.parse::<IpAddr>().ok() == peer;
    if allowed.split_whitespace().any(is_it) { Ok(()) } else { Err(End::Closed) }
}

/// Checks the password. Returns false, having answered, where it is missing or wrong.
///
/// # Errors
/// The connection is to end.
pub async fn is_logged_in<S: Stream>(visit: &mut Visit<'_, S>) -> Result<bool, End> {
    let logged_in = visit.login.check(visit.caller, visit.request.header("authorization")).await? == LoggedIn::Yes;
    if !logged_in {
        unauthorized(visit.answer);
    }
    Ok(logged_in)
}

fn unauthorized(answer: &mut Answer) {
    answer.status(401).header("WWW-Authenticate", "Basic realm=\"libevhtp\"");
}

/// Decides whether a request may come in.
///
/// # Errors
/// The connection is to end.
pub async fn admit<S: Stream>(name: &str, visit: &mut Visit<'_, S>) -> Result<Admitted, End> {
    ensure_address(visit)?;
    if !is_logged_in(visit).await? {
        return Ok(Admitted::No);
    }
    let Some(found) = find(name) else {
        visit.answer.status(NOT_FOUND);
        return Ok(Admitted::No);
    };
    let takes_post = matches!(found, Found::Item(Item { body: BodyTo::Value | BodyTo::Key, .. }) | Found::Binlog);
    if visit.request.method != Method::Get && !(takes_post && visit.request.method == Method::Post) {
        visit.answer.status(405);
        return Ok(Admitted::No);
    }
    let session = visit.caller.session();
    (session.protocol, session.db) = (Protocol::Resp3, DbId(0));
    Ok(Admitted::Yes { door: Door::Hustdb(found), body_bytes_max: BODY_BYTES_MAX, may_wait: false })
}

/// Answers a request.
///
/// # Errors
/// The connection is to end.
pub async fn answer<S: Stream>(found: Found, visit: &mut Visit<'_, S>) -> Result<(), End> {
    match found {
        Found::Item(item) => answer_item(item, visit).await,
        Found::Listing(listing) => listing::answer(listing, visit).await,
        Found::Binlog => binlog::answer(visit).await,
    }
}

/// Whether everything is there that an endpoint needs: a body where one is posted, and each parameter.
fn has_all<S: Stream>(item: &Item, visit: &Visit<'_, S>) -> bool {
    let (parameters, has_body) = (Parameters(visit.request.query), !visit.arguments.body().is_empty());
    let has = |arg: &Arg| match arg {
        Arg::Key | Arg::RawKey => (item.body == BodyTo::Key && has_body) || parameters.raw("key").is_some(),
        Arg::Value => has_body || parameters.raw("val").is_some(),
        Arg::Increment => parameters.raw("val").is_some(),
        Arg::Table => parameters.raw("tb").is_some(),
        Arg::Score => parameters.raw("score").is_some(),
        Arg::Opt | Arg::Ttl | Arg::Ver => true,
    };
    (has_body || visit.request.method != Method::Post) && item.args.iter().all(has)
}

/// Makes the command.
///
/// # Errors
/// 400: a parameter is wrong.
fn put_args<S: Stream>(item: &Item, visit: &mut Visit<'_, S>) -> Result<(), u16> {
    let (parameters, has_body) = (Parameters(visit.request.query), !visit.arguments.body().is_empty());
    let is_post = visit.request.method == Method::Post;
    visit.arguments.begin(b"HUSTDB").add(item.command.as_bytes());
    for arg in item.args {
        match arg {
            Arg::Key | Arg::RawKey if item.body == BodyTo::Key && has_body => visit.arguments.add_body(),
            // Keys of sets are taken as they are, and so are those of sorted sets that are posted.
            Arg::Key if item.body == BodyTo::Key && is_post => add(visit, parameters.raw("key")),
            Arg::RawKey => add(visit, parameters.raw("key")),
            Arg::Key => {
                let key = parameters.decoded("key")?.unwrap_or_default();
                visit.arguments.add(&key)
            }
            Arg::Value if has_body => visit.arguments.add_body(),
            Arg::Value => add(visit, parameters.raw("val")),
            Arg::Table => {
                let name = parameters.name("tb")?;
                add(visit, name)
            }
            Arg::Increment => visit.arguments.add_number(parameters.number("val", 0)),
            Arg::Score => visit.arguments.add_number(parameters.number("score", 0)),
            Arg::Opt => visit.arguments.add_number(parameters.number("opt", 0)),
            Arg::Ttl => visit.arguments.add_number(parameters.number("ttl", 0)),
            Arg::Ver => {
                let version = parameters.bounded("ver", 0, i64::from(u32::MAX) - 1)?;
                visit.arguments.add_number(version);
                // A write that another server has made already.
                if parameters.flag("is_dup", false) {
                    visit.arguments.add(b"DUP");
                }
                &mut *visit.arguments
            }
        };
    }
    Ok(())
}

fn add<'v, S: Stream>(visit: &'v mut Visit<'_, S>, arg: Option<&[u8]>) -> &'v mut super::arguments::Arguments {
    visit.arguments.add(arg.unwrap_or_default())
}

async fn answer_item<S: Stream>(item: &Item, visit: &mut Visit<'_, S>) -> Result<(), End> {
    if !has_all(item, visit) {
        visit.answer.status(NOT_FOUND);
        return Ok(());
    }
    let left = if item.name == "hincrby" { leave_host(visit).await? } else { Ok(None) };
    let Ok(_underway) = left else { return Ok(()) };
    if let Err(status) = put_args(item, visit) {
        visit.answer.status(status);
        return Ok(());
    }
    let reply = visit.caller.call(visit.arguments.args()).await?;
    let Some(outcome) = Outcome::read(visit.caller.replies(), reply.clone()) else {
        refuse_error(visit.answer, &visit.caller.replies()[reply]);
        return Ok(());
    };
    visit.answer.status(outcome.status).header("Version", itoa::Buffer::new().format(outcome.version));
    if matches!(item.tells, Tells::Conflict | Tells::ConflictAndBody) {
        visit.answer.header("VerError", if outcome.is_conflict { "true" } else { "false" });
    }
    if let (200, Tells::Body | Tells::ConflictAndBody, Some(body)) = (outcome.status, item.tells, outcome.body) {
        put_value(visit, body, matches!(item.name, "get" | "hget"));
    }
    Ok(())
}

/// Leaves a record for the server that is named as having missed an increment, if one is. Ahead of the increment, and until
/// what is returned is dropped: if it is not made after all, the record only has what that server knows already sent. `Err`
/// where that has failed, which has been answered.
async fn leave_host<S: Stream>(visit: &mut Visit<'_, S>) -> Result<Result<Option<binlog::Underway>, ()>, End> {
    let parameters = Parameters(visit.request.query);
    let Some(host) = parameters.raw("host") else { return Ok(Ok(None)) };
    let listed = binlog::hosts(&visit.caller.server().settings);
    let read = || Ok((binlog::read_host(host, &listed)?, parameters.name("tb")?, parameters.decoded("key")?));
    match read() {
        Ok((host, table, key)) => {
            let key = key.unwrap_or_default();
            let record = binlog::Record::of_hash(host, table.unwrap_or_default(), &key);
            Ok(binlog::leave(visit, &record, true).await?.map(Some).ok_or(()))
        }
        Err(status) => {
            visit.answer.status(status);
            Ok(Err(()))
        }
    }
}

/// Makes a part of the replies the body, as a zlib stream where the client asks for that and `may_deflate`.
fn put_value<S: Stream>(visit: &mut Visit<'_, S>, part: Range<usize>, may_deflate: bool) {
    visit.answer.header("Content-Type", "text/plain");
    if !may_deflate || visit.request.header("accept-encoding") != Some(b"deflate") {
        visit.answer.body_is_reply(part);
        return;
    }
    visit.answer.header("Content-Encoding", "deflate");
    let deflated = miniz_oxide::deflate::compress_to_vec_zlib(&visit.caller.replies()[part], DEFLATE_LEVEL);
    *visit.answer.body() = deflated;
}

/// Answers what a command refused altogether: the error, as RESP has it, begins with its marker.
fn refuse_error(answer: &mut Answer, error: &[u8]) {
    let (code, _) = split_error(error.strip_prefix(b"-").unwrap_or(error));
    match code {
        "NOPERM" | "NOAUTH" => unauthorized(answer),
        "OOM" | "MISCONF" => _ = answer.status(403),
        _ => _ = answer.status(500),
    }
}

/// What HUSTDB said about a pair or an element.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: u16,
    version: u32,
    is_conflict: bool,
    body: Option<Range<usize>>,
}

impl Outcome {
    /// Reads `[status, version, conflict, body]` where it lies, and no further; `None` when it is an error.
    fn read(replies: &[u8], reply: Range<usize>) -> Option<Outcome> {
        let mut at = reply.start;
        let mut line = |marker: u8| {
            let rest = replies.get(at..reply.end)?;
            let end = memchr::memchr(b'\r', rest)?;
            (rest.first() == Some(&marker)).then(|| at += end + 2)?;
            base::number::parse_u64(&rest[1..end])
        };
        line(b'*').filter(|count| matches!(count, 4 | 5))?;
        let (status, version, conflict) = (line(b':')?, line(b':')?, line(b':')?);
        let body = line(b'$').map(|bytes| at..at + bytes as usize);
        Some(Outcome { status: status as u16, version: version as u32, is_conflict: conflict == 1, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_where_they_lie() {
        let replies = b"+OK\r\n*4\r\n:200\r\n:7\r\n:0\r\n$5\r\nvalue\r\n";
        let outcome = Outcome::read(replies, 5..replies.len());
        assert_eq!(outcome, Some(Outcome { status: 200, version: 7, is_conflict: false, body: Some(27..32) }));
        assert_eq!(&replies[27..32], b"value");
        let replies = b"*4\r\n:401\r\n:7\r\n:1\r\n_\r\n";
        let outcome = Outcome::read(replies, 0..replies.len());
        assert_eq!(outcome, Some(Outcome { status: 401, version: 7, is_conflict: true, body: None }));
        assert_eq!(Outcome::read(b"-ERR no\r\n", 0..9), None);
    }

    #[test]
    fn endpoints_are_sorted() {
        assert!(ITEMS.is_sorted_by(|one, other| one.name < other.name));
    }
}
