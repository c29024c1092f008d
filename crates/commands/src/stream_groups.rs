//! Consumer groups of streams: making and removing them, acknowledging, and looking at what is pending.
//!
//! Deliberately not here: reading for a group (`stream_group_read`), taking over what another consumer has
//! (`stream_claims`).
//!
//! Source: behaviour of Valkey 9.1 `t_stream.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::help::{HELP, help};
use crate::refuse;
use crate::spec::{Arity, Flags, Keys, Scope, Spec};
use crate::stream_ids::{parse_end, parse_id, parse_id_or_edge, parse_ids, parse_start, write_id};
use crate::streams::{READ, WRITE};
use crate::touches::{KeyUse, Touches};
use base::TimeMs;
use keyspace::effect::stream::Reading;
use keyspace::events::Event;
use keyspace::stream::{Group, Pending, Progress, Stream, StreamId};

const SUBCOMMAND: Spec = Spec {
    arity: Arity::Exactly(5),
    flags: Flags::WRITE,
    keys: Keys::Range { first: 2, last: 2, step: 1 },
    syntax: "key group consumer",
    ..WRITE
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "xack",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        complexity: "O(log(N)) for each id, where N is the number of pending entries",
        summary: "Acknowledges entries that were delivered to a consumer of a group; returns how many were pending.",
        syntax: "key group id [id ...]",
        handler: acknowledge,
        ..WRITE
    },
    Spec {
        name: "xgroup",
        arity: Arity::AtLeast(2),
        flags: Flags::NONE,
        keys: Keys::None,
        scope: Scope::Nothing,
        complexity: "Depends on subcommand.",
        summary: "A container for commands about consumer groups.",
        syntax: "subcommand [arg [arg ...]]",
        handler: help,
        subcommands: &[
            Spec {
                name: "create",
                touches: Touches::keys(&[KeyUse::RW_INSERT]),
                arity: Arity::AtLeast(5),
                flags: Flags::WRITE.and(Flags::DENYOOM),
                summary: "Makes a consumer group, which will read what comes after an id.",
                syntax: "key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
                handler: create,
                ..SUBCOMMAND
            },
            Spec {
                name: "createconsumer",
                touches: Touches::keys(&[KeyUse::RW_INSERT]),
                flags: Flags::WRITE.and(Flags::DENYOOM),
                since: "6.2.0",
                summary: "Makes a consumer of a group.",
                handler: create_consumer,
                ..SUBCOMMAND
            },
            Spec {
                name: "delconsumer",
                touches: Touches::keys(&[KeyUse::RW_DELETE]),
                complexity: "O(N) for N entries pending with the consumer",
                summary: "Removes a consumer of a group; returns how many entries were pending with it.",
                handler: delete_consumer,
                ..SUBCOMMAND
            },
            Spec {
                name: "destroy",
                touches: Touches::keys(&[KeyUse::RW_DELETE]),
                arity: Arity::Exactly(4),
                complexity: "O(N) for N pending entries",
                summary: "Removes a consumer group.",
                syntax: "key group",
                handler: destroy,
                ..SUBCOMMAND
            },
            HELP,
            Spec {
                name: "setid",
                touches: Touches::keys(&[KeyUse::RW_UPDATE]),
                arity: Arity::AtLeast(5),
                summary: "Sets the id after which a consumer group will read.",
                syntax: "key group <id | $> [ENTRIESREAD entries-read]",
                handler: set_id,
                ..SUBCOMMAND
            },
        ],
        ..WRITE
    },
    Spec {
        name: "xpending",
        arity: Arity::AtLeast(3),
        complexity: "O(N) for N entries returned",
        summary: "Returns what was delivered to consumers of a group and not acknowledged.",
        syntax: "key group [[IDLE min-idle-time] start end count [consumer]]",
        handler: pending,
        ..READ
    },
];

/// The event of a consumer that came to be, whatever made it.
pub(crate) const CONSUMER_CREATED: &str = "xgroup-createconsumer";

/// That there is no such group, as commands on its entries say it.
pub(crate) fn no_group(key: &[u8], group: &[u8]) -> Error {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    refuse!("NOGROUP No such key '{key}' or consumer group '{group}'")
}

/// That there is no such group, as commands on the group itself say it.
pub(crate) fn no_group_of(key: &[u8], group: &[u8]) -> Error {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    refuse!("NOGROUP No such consumer group '{group}' for key name '{key}'")
}

/// That the words behind a subcommand do not fit it.
pub(crate) fn bad_subcommand(call: &Call<'_>) -> Error {
    let (name, subcommand) = (String::from_utf8_lossy(call.arg(0)), String::from_utf8_lossy(call.arg(1)));
    let name = name.to_ascii_uppercase();
    refuse!("ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try {name} HELP.")
}

/// The stream of an XGROUP subcommand, which must be there.
fn required<'c>(call: &'c mut Call<'_>) -> Result<&'c Stream, Error> {
    call.tx.stream(call.args.at(2))?.ok_or(Error::text(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
         option to create an empty stream automatically.",
    ))
}

/// The group of an XGROUP subcommand, which must be there too.
fn required_group<'c>(call: &'c mut Call<'_>) -> Result<&'c Group, Error> {
    let (key, name) = (call.arg(2), call.arg(3));
    required(call)?.group(name).ok_or_else(|| no_group_of(key, name))
}

/// The consumer that argument 4 names.
fn reading<'c>(call: &Call<'c>) -> Reading<'c> {
    Reading { group: call.arg(3), consumer: call.arg(4) }
}

/// The words behind the id: whether MKSTREAM was said, and the counter behind ENTRIESREAD.
fn group_options(call: &Call<'_>, may_create: bool) -> Result<(bool, Option<u64>), Error> {
    let (mut creates, mut entries_read) = (false, None);
    let mut index = 5;
    while index < call.arg_count() {
        if may_create && call.is_word(index, "MKSTREAM") {
            creates = true;
            index += 1;
        } else if call.is_word(index, "ENTRIESREAD") && index + 1 < call.arg_count() {
            entries_read = match call.integer(index + 1)? {
                -1 => None,
                count => Some(
                    u64::try_from(count)
                        .map_err(|_| Error::text("ERR value for ENTRIESREAD must be positive or -1"))?,
                ),
            };
            index += 2;
        } else {
            return Err(bad_subcommand(call));
        }
    }
    Ok((creates, entries_read))
}

fn create(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, group, id) = (call.arg(2), call.arg(3), call.arg(4));
    let (creates, entries_read) = group_options(call, true)?;
    let stream = if creates { call.tx.stream(key)? } else { Some(required(call)?) };
    let last_id = match id {
        b"$" => stream.map_or(StreamId::MIN, |stream| stream.counters().last_id),
        _ => parse_id(id, 0)?,
    };
    if stream.is_some_and(|stream| stream.group(group).is_some()) {
        return Err(Error::text("BUSYGROUP Consumer Group name already exists"));
    }
    call.tx.stream_put_group(key, group, Progress { last_id, entries_read });
    call.notify(Event::Stream, "xgroup-create", key);
    call.reply.ok();
    Ok(Flow::Done)
}

fn set_id(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, group, id) = (call.arg(2), call.arg(3), call.arg(4));
    let (_, entries_read) = group_options(call, false)?;
    required_group(call)?;
    let last_id = match id {
        b"$" => required(call)?.counters().last_id,
        _ => parse_id_or_edge(id, 0)?,
    };
    call.tx.stream_put_group(key, group, Progress { last_id, entries_read });
    call.notify(Event::Stream, "xgroup-setid", key);
    call.reply.ok();
    Ok(Flow::Done)
}

fn destroy(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, group) = (call.arg(2), call.arg(3));
    let is_there = required(call)?.group(group).is_some();
    if is_there {
        call.tx.stream_remove_group(key, group);
        call.notify(Event::Stream, "xgroup-destroy", key);
    }
    call.reply.integer(i64::from(is_there));
    Ok(Flow::Done)
}

fn create_consumer(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, who, now) = (call.arg(2), reading(call), call.now());
    let is_new = required_group(call)?.consumer(who.consumer).is_none();
    if is_new {
        call.tx.stream_see(key, who, now, None);
        call.notify(Event::Stream, CONSUMER_CREATED, key);
    }
    call.reply.integer(i64::from(is_new));
    Ok(Flow::Done)
}

fn delete_consumer(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, who) = (call.arg(2), reading(call));
    let is_there = required_group(call)?.consumer(who.consumer).is_some();
    let pending_count = if is_there { call.tx.stream_remove_consumer(key, who) } else { 0 };
    if is_there {
        call.notify(Event::Stream, "xgroup-delconsumer", key);
    }
    call.reply.integer(pending_count as i64);
    Ok(Flow::Done)
}

fn acknowledge(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, name) = (call.arg(1), call.arg(2));
    if call.tx.stream(key)?.and_then(|stream| stream.group(name)).is_none() {
        call.reply.integer(0);
        return Ok(Flow::Done);
    }
    let mut ids = parse_ids(call, 3)?;
    ids.sort_unstable();
    ids.dedup();
    if let Some(group) = call.tx.stream(key)?.and_then(|stream| stream.group(name)) {
        ids.retain(|id| group.pending_at(*id).is_some());
    }
    let released_count = if ids.is_empty() { 0 } else { call.tx.stream_release(key, name, &ids) };
    call.reply.integer(released_count as i64);
    Ok(Flow::Done)
}

/// Which pending entries XPENDING shows.
struct Shown<'a> {
    idle_ms_min: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Shown<'a> {
    /// `None` when only the sum is wanted.
    fn parse(call: &Call<'a>) -> Result<Option<Shown<'a>>, Error> {
        if call.arg_count() == 3 {
            return Ok(None);
        }
        if !(6..=9).contains(&call.arg_count()) {
            return Err(Error::Syntax);
        }
        let (mut at, mut idle_ms_min) = (3, 0);
        if call.is_word(3, "IDLE") {
            idle_ms_min = call.integer(4)?;
            at = 5;
            if call.arg_count() < 8 {
                return Err(Error::Syntax);
            }
        }
        let count = usize::try_from(call.integer(at + 2)?).unwrap_or(0);
        let (start, end) = (parse_start(call.arg(at))?, parse_end(call.arg(at + 1))?);
        Ok(Some(Shown { idle_ms_min, start, end, count, consumer: call.args.nth(at + 3) }))
    }
}

fn pending(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, name, now) = (call.arg(1), call.arg(2), call.now());
    let shown = Shown::parse(call)?;
    let group = call.tx.stream(key)?.and_then(|stream| stream.group(name)).ok_or_else(|| no_group(key, name))?;
    let reply = &mut call.reply;
    let Some(shown) = shown else {
        write_pending_sum(reply, group);
        return Ok(Flow::Done);
    };
    let consumer = shown.consumer.map(|name| group.consumer(name));
    match consumer {
        Some(None) => reply.array(0),
        Some(Some(consumer)) => {
            write_pending(reply, &shown, now, group.pending_with(consumer, shown.start, shown.end));
        }
        None => write_pending(reply, &shown, now, group.pending(shown.start, shown.end)),
    }
    Ok(Flow::Done)
}

fn write_pending_sum(reply: &mut wire::reply::Reply<'_>, group: &Group) {
    reply.array(4);
    reply.count(group.pending_count());
    let all = || group.pending(StreamId::MIN, StreamId::MAX).map(|pending| pending.id);
    let (Some(first), Some(last)) = (all().next(), group.last_pending()) else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    write_id(reply, first);
    write_id(reply, last);
    let busy = || group.consumers().filter(|consumer| consumer.pending_count() > 0);
    reply.array(busy().count());
    for consumer in busy() {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_integer(consumer.pending_count() as i64);
    }
}

fn write_pending<'g>(
    reply: &mut wire::reply::Reply<'_>,
    shown: &Shown<'_>,
    now: TimeMs,
    pending: impl Iterator<Item = Pending<'g>>,
) {
    let idle_ms = |pending: &Pending<'_>| now.0.saturating_sub(pending.delivered_at.0);
    let is_idle = |pending: &Pending<'_>| shown.idle_ms_min == 0 || shown.idle_ms_min <= idle_ms(pending);
    let (mark, mut count) = (reply.mark(), 0);
    for pending in pending.filter(is_idle).take(shown.count) {
        reply.array(4);
        write_id(reply, pending.id);
        reply.bulk(pending.consumer);
        reply.integer(idle_ms(&pending).max(0));
        reply.integer(pending.delivery_count as i64);
        count += 1;
    }
    reply.array_since(mark, count);
}
