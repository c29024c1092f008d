//! Hashes: reading and changing fields by name.
//!
//! A field whose end has come is absent for every command, whether or not the timer has removed it yet; the key
//! goes with its last field at the timer's next tick. HSET forgets the end of life of the fields it sets; the
//! increments keep it.
//!
//! Deliberately not here: commands over all fields (`hashes_walk`) and the ends of fields (`hash_ttl`).
//!
//! Source: behaviour of Valkey 9.1 `t_hash.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::refuse;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use base::TimeMs;
use base::decimal::Decimal;
use base::number::{format_i64, parse_i64};
use keyspace::Event;
use keyspace::hash::{Field, Hash};
use keyspace::partition::has_ended;

const READ: Spec = Spec {
    name: "",
    arity: Arity::Exactly(3),
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "",
    syntax: "key field",
    handler: get,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

const WRITE: Spec = Spec { arity: Arity::Exactly(4), flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST), ..READ };

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "hdel",
        touches: Touches::keys(&[KeyUse::RW_DELETE]),
        arity: Arity::AtLeast(3),
        flags: Flags::WRITE.and(Flags::FAST),
        complexity: "O(N) for N fields",
        summary: "Removes fields of a hash, and the key with the last one; returns how many there were.",
        syntax: "key field [field ...]",
        handler: delete,
        ..WRITE
    },
    Spec {
        name: "hexists",
        touches: Touches::keys(&[KeyUse::RO]),
        summary: "Tells whether a hash has a field.",
        handler: exists,
        ..READ
    },
    Spec { name: "hget", summary: "Returns the value of a field of a hash.", handler: get, ..READ },
    Spec {
        name: "hincrby",
        summary: "Adds an integer to a field of a hash; an absent field counts as 0.",
        syntax: "key field increment",
        handler: increment,
        ..WRITE
    },
    Spec {
        name: "hincrbyfloat",
        since: "2.6.0",
        summary: "Adds a decimal number to a field of a hash; an absent field counts as 0.",
        syntax: "key field increment",
        handler: increment_decimal,
        ..WRITE
    },
    Spec {
        name: "hlen",
        touches: Touches::keys(&[KeyUse::RO]),
        arity: Arity::Exactly(2),
        complexity: "O(1)",
        summary: "Returns the number of fields of a hash.",
        syntax: "key",
        handler: count,
        ..READ
    },
    Spec {
        name: "hmget",
        arity: Arity::AtLeast(3),
        complexity: "O(N) for N fields",
        summary: "Returns the values of fields of a hash.",
        syntax: "key field [field ...]",
        handler: get_many,
        ..READ
    },
    Spec {
        name: "hmset",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        arity: Arity::AtLeast(4),
        complexity: "O(N) for N fields",
        summary: "Sets fields of a hash, as HSET does.",
        syntax: "key field value [field value ...]",
        handler: set_many,
        ..WRITE
    },
    Spec {
        name: "hset",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        arity: Arity::AtLeast(4),
        complexity: "O(N) for N fields",
        summary: "Sets fields of a hash and returns how many of them are new.",
        syntax: "key field value [field value ...]",
        handler: set,
        ..WRITE
    },
    Spec {
        name: "hsetnx",
        touches: Touches::keys(&[KeyUse::RW_INSERT]),
        summary: "Sets a field of a hash unless it is there.",
        syntax: "key field value",
        handler: set_if_absent,
        ..WRITE
    },
    Spec {
        name: "hstrlen",
        touches: Touches::keys(&[KeyUse::RO]),
        since: "3.2.0",
        summary: "Returns the length of the value of a field of a hash.",
        handler: value_bytes,
        ..READ
    },
];

/// The field of this name, unless it has ended or there is no hash.
#[inline]
pub(crate) fn live_field<'h>(hash: Option<&'h Hash>, name: &[u8], now: TimeMs) -> Option<Field<'h>> {
    hash?.get(name).filter(|field| !has_ended(field.expires, now))
}

/// Number of fields that have not ended.
pub(crate) fn live_count(hash: Option<&Hash>, now: TimeMs) -> usize {
    hash.map_or(0, |hash| hash.len() - hash.count_expired(now))
}

fn get(call: &mut Call<'_>) -> Result<Flow, Error> {
    let now = call.horizon();
    match live_field(call.tx.hash(call.args.at(1))?, call.args.at(2), now) {
        Some(field) => call.reply.bulk(field.value),
        None => call.reply.null(),
    }
    Ok(Flow::Done)
}

fn get_many(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (now, names) = (call.horizon(), call.args.skip(2));
    let hash = call.tx.hash(call.args.at(1))?;
    call.reply.array(names.count());
    for name in names.iter() {
        match live_field(hash, name, now) {
            Some(field) => call.reply.bulk(field.value),
            None => call.reply.null(),
        }
    }
    Ok(Flow::Done)
}

fn exists(call: &mut Call<'_>) -> Result<Flow, Error> {
    let now = call.horizon();
    let is_there = live_field(call.tx.hash(call.args.at(1))?, call.args.at(2), now).is_some();
    call.reply.integer(i64::from(is_there));
    Ok(Flow::Done)
}

fn value_bytes(call: &mut Call<'_>) -> Result<Flow, Error> {
    let now = call.horizon();
    let field = live_field(call.tx.hash(call.args.at(1))?, call.args.at(2), now);
    call.reply.count(field.map_or(0, |field| field.value.len()));
    Ok(Flow::Done)
}

fn count(call: &mut Call<'_>) -> Result<Flow, Error> {
    let now = call.horizon_of_counts();
    call.reply.count(live_count(call.tx.hash(call.args.at(1))?, now));
    Ok(Flow::Done)
}

/// Sets the pairs of names and values from argument 2 on, and returns how many names are new.
fn set_pairs(call: &mut Call<'_>) -> Result<u64, Error> {
    let args = call.args.skip(2);
    if args.count() % 2 == 1 {
        let command = String::from_utf8_lossy(call.arg(0)).to_ascii_lowercase();
        return Err(refuse!("ERR wrong number of arguments for '{command}' command"));
    }
    let pairs = (0..args.count() / 2).map(|pair| (args.at(2 * pair), args.at(2 * pair + 1), None));
    let added_count = call.tx.hash_set(call.arg(1), pairs)?;
    call.notify(Event::Hash, "hset", call.arg(1));
    Ok(added_count)
}

fn set(call: &mut Call<'_>) -> Result<Flow, Error> {
    let added_count = set_pairs(call)?;
    call.reply.integer(added_count as i64);
    Ok(Flow::Done)
}

fn set_many(call: &mut Call<'_>) -> Result<Flow, Error> {
    set_pairs(call)?;
    call.reply.ok();
    Ok(Flow::Done)
}

fn set_if_absent(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, name, now) = (call.arg(1), call.arg(2), call.horizon());
    let is_absent = live_field(call.tx.hash(key)?, name, now).is_none();
    if is_absent {
        call.tx.hash_set(key, [(name, call.args.at(3), None)].into_iter())?;
        call.notify(Event::Hash, "hset", key);
    }
    call.reply.integer(i64::from(is_absent));
    Ok(Flow::Done)
}

fn delete(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, now) = (call.arg(1), call.horizon());
    let hash = call.tx.hash(key)?;
    let names: Vec<&[u8]> = call.args.skip(2).iter().filter(|name| live_field(hash, name, now).is_some()).collect();
    let removed_count = call.tx.hash_delete(key, names.into_iter())?;
    if removed_count > 0 {
        call.notify(Event::Hash, "hdel", key);
        notify_if_gone(call, key);
    }
    call.reply.integer(removed_count as i64);
    Ok(Flow::Done)
}

/// Tells that a key went with the last of its elements, if it did.
pub(crate) fn notify_if_gone(call: &mut Call<'_>, key: &[u8]) {
    if call.tx.hears(Event::Generic) && call.tx.peek(key).is_none() {
        call.notify(Event::Generic, "del", key);
    }
}

fn increment(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, name, now) = (call.arg(1), call.arg(2), call.horizon());
    let increment = call.integer(3)?;
    let field = live_field(call.tx.hash(key)?, name, now);
    let value = field.map_or(Some(0), |field| parse_i64(field.value));
    let expires = field.and_then(|field| field.expires);
    let sum = value
        .ok_or(Error::text("ERR hash value is not an integer"))?
        .checked_add(increment)
        .ok_or(Error::text("ERR increment or decrement would overflow"))?;
    call.tx.hash_set(key, [(name, &*format_i64(sum), expires)].into_iter())?;
    call.notify(Event::Hash, "hincrby", key);
    call.reply.integer(sum);
    Ok(Flow::Done)
}

/// The effect carries the resulting text, so that no replica needs to add as this node does.
fn increment_decimal(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, name, now) = (call.arg(1), call.arg(2), call.horizon());
    let increment = Decimal::parse(call.arg(3)).ok_or(Error::NotFloat)?;
    if !increment.is_finite() {
        return Err(Error::text("ERR value is NaN or Infinity"));
    }
    let field = live_field(call.tx.hash(key)?, name, now);
    let value = Decimal::parse(field.map_or(b"0", |field| field.value));
    let expires = field.and_then(|field| field.expires);
    let sum = value
        .ok_or(Error::text("ERR hash value is not a float"))?
        .sum(&increment)
        .ok_or(Error::text("ERR increment would produce NaN or Infinity"))?
        .to_text();
    call.tx.hash_set(key, [(name, &sum[..], expires)].into_iter())?;
    call.notify(Event::Hash, "hincrbyfloat", key);
    call.reply.bulk(&sum);
    Ok(Flow::Done)
}
