//! hustcache's HTTP API, `/hustcache/*`, over a store of its own in memory ([`store`]).
//!
//! Switched off by `hustcache-maxmemory 0`: then everything is answered 500, as hustdb does. Deliberately without versions,
//! and not in the journal: what is put here is gone when the process is.

pub mod store;

use super::doors::{Admitted, Door, Visit};
use super::hustdb::parameters::Parameters;
use super::hustdb::{BODY_BYTES_MAX, NOT_FOUND, ensure_address, is_logged_in};
use super::request::Method;
use crate::clients;
use crate::config::SettingId;
use crate::connection::{End, Stream};
use base::TimeMs;
use base::number::parse_i64;
use parking_lot::Mutex;
use store::{Refusal, Store};

/// Longest time to live.
const TTL_SECONDS_MAX: i64 = i64::MAX / 4000;

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    name: &'static str,
    /// Whether it is about a field of a hash.
    has_table: bool,
    /// Whether it takes `val`.
    has_value: bool,
    /// Whether the value may be posted.
    takes_post: bool,
}

const fn endpoint(name: &'static str, has_table: bool, has_value: bool, takes_post: bool) -> Endpoint {
    Endpoint { name, has_table, has_value, takes_post }
}

static ENDPOINTS: &[Endpoint] = &[
    endpoint("append", false, true, true),
    endpoint("del", false, false, false),
    endpoint("exist", false, false, false),
    endpoint("expire", false, false, false),
    endpoint("get", false, false, false),
    endpoint("hdel", true, false, false),
    endpoint("hexist", true, false, false),
    endpoint("hget", true, false, false),
    endpoint("hincrby", true, true, false),
    endpoint("hincrbyfloat", true, true, false),
    endpoint("hset", true, true, true),
    endpoint("persist", false, false, false),
    endpoint("put", false, true, true),
    endpoint("ttl", false, false, false),
];

/// Decides whether a request may come in.
///
/// # Errors
/// The connection is to end.
pub async fn admit<S: Stream>(name: &str, visit: &mut Visit<'_, S>) -> Result<Admitted, End> {
    ensure_address(visit)?;
    if bytes_max(visit) == 0 {
        visit.answer.status(500);
        return Ok(Admitted::No);
    }
    if !is_logged_in(visit).await? {
        return Ok(Admitted::No);
    }
    let Ok(index) = ENDPOINTS.binary_search_by_key(&name, |endpoint| endpoint.name) else {
        visit.answer.status(NOT_FOUND);
        return Ok(Admitted::No);
    };
    let endpoint = ENDPOINTS[index];
    if visit.request.method != Method::Get && !(endpoint.takes_post && visit.request.method == Method::Post) {
        visit.answer.status(405);
        return Ok(Admitted::No);
    }
    Ok(Admitted::Yes { door: Door::Hustcache(endpoint), body_bytes_max: BODY_BYTES_MAX, may_wait: false })
}

fn bytes_max<S: Stream>(visit: &Visit<'_, S>) -> usize {
    visit.caller.server().settings.number(const { SettingId::of("hustcache-maxmemory") }) as usize
}

/// Answers a request.
pub fn answer<S: Stream>(endpoint: Endpoint, visit: &mut Visit<'_, S>) {
    let now = TimeMs(clients::wall_us() / 1000);
    let bytes_max = bytes_max(visit);
    let answered = match asked(endpoint, visit) {
        Ok(asked) => {
            let mut store = visit.caller.server().seeds.cache.lock();
            let answered = run(endpoint, &asked, &mut store, now);
            let gone = store.settle(bytes_max);
            drop(store);
            if let Some(gone) = gone {
                tokio::task::spawn_blocking(move || drop(gone));
            }
            answered
        }
        Err(status) => Err(status),
    };
    match answered {
        Ok(None) => {}
        Ok(Some(body)) => *visit.answer.header("Content-Type", "text/plain").body() = body,
        Err(status) => _ = visit.answer.status(status),
    }
}

/// The arguments of a request.
struct Asked<'v> {
    key: Vec<u8>,
    table: &'v [u8],
    value: &'v [u8],
    ttl: Option<i64>,
}

/// # Errors
/// The status: something is missing, or spelled wrong.
fn asked<'v, S: Stream>(endpoint: Endpoint, visit: &'v Visit<'_, S>) -> Result<Asked<'v>, u16> {
    let (parameters, body) = (Parameters(visit.request.query), visit.arguments.body());
    if visit.request.method == Method::Post && body.is_empty() {
        return Err(NOT_FOUND);
    }
    let required = |is_asked: bool, value: Option<&'v [u8]>| match value {
        Some(value) => Ok(value),
        None if is_asked => Err(NOT_FOUND),
        None => Ok(&[][..]),
    };
    let key = parameters.decoded("key")?.ok_or(NOT_FOUND)?;
    let table = required(endpoint.has_table, parameters.raw("tb"))?;
    let posted = Some(body).filter(|body| endpoint.takes_post && !body.is_empty());
    let value = required(endpoint.has_value, posted.or(parameters.raw("val")))?;
    let ttl = match parameters.raw("ttl") {
        None if endpoint.name == "expire" => return Err(NOT_FOUND),
        None => None,
        Some(text) => Some(parse_i64(text).filter(|seconds| (1..=TTL_SECONDS_MAX).contains(seconds)).ok_or(NOT_FOUND)?),
    };
    Ok(Asked { key, table, value, ttl })
}

/// Returns the body, if there is one to send.
///
/// # Errors
/// The status.
fn run(endpoint: Endpoint, asked: &Asked<'_>, store: &mut Store, now: TimeMs) -> Result<Option<Vec<u8>>, u16> {
    let Asked { key, table, value, ttl } = asked;
    let expires = ttl.map(|seconds| TimeMs(now.0 + seconds * 1000));
    let there = |is_there: bool| if is_there { Ok(None) } else { Err(NOT_FOUND) };
    let found = |body: Option<&[u8]>| body.map(|body| Some(body.to_vec())).ok_or(NOT_FOUND);
    match endpoint.name {
        "append" => store.append(key, value, now).map(|()| None).map_err(status_of),
        "del" => there(store.remove(key, now)),
        "exist" => there(store.has(key, now)),
        "expire" => there(store.set_expires(key, expires, now)),
        "get" => found(store.value(key, now)),
        "hdel" => there(store.remove_field(table, key, now)),
        "hexist" => there(store.field(table, key, now).is_some()),
        "hget" => found(store.field(table, key, now)),
        "hincrby" => store.increment(table, key, value, now).map(Some).map_err(status_of),
        "hincrbyfloat" => store.increment_decimal(table, key, value, now).map(Some).map_err(status_of),
        "hset" => store.put_field(table, key, value, now).map(|()| None).map_err(status_of),
        "persist" => there(store.set_expires(key, None, now)),
        "put" => store.put(key, value, expires).map(|()| None).map_err(status_of),
        "ttl" => found(store.seconds_left(key, now).map(|left| left.to_string()).as_deref().map(str::as_bytes)),
        name => unreachable!("{name} is in the table"),
    }
}

fn status_of(refusal: Refusal) -> u16 {
    match refusal {
        Refusal::Absent => NOT_FOUND,
        Refusal::TooLarge => 401,
    }
}

/// What the doors of hustdb and hustcache share with nobody else.
#[derive(Default)]
pub struct Seeds {
    /// hustcache's store.
    pub cache: Mutex<Store>,
    /// hustdb's snapshots.
    pub exports: super::hustdb::exports::Exports,
    /// What hustdb keeps for other servers.
    pub binlog: super::hustdb::binlog::Binlog,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_found_and_runs() {
        assert!(ENDPOINTS.is_sorted_by(|one, other| one.name < other.name));
        for endpoint in ENDPOINTS {
            let (mut store, asked) =
                (Store::default(), Asked { key: b"k".to_vec(), table: b"t", value: b"1", ttl: None });
            let is_write = endpoint.has_value;
            assert_eq!(run(*endpoint, &asked, &mut store, TimeMs(0)).is_ok(), is_write, "{}", endpoint.name);
        }
    }
}
