//! XINFO: what streams, their groups and their consumers look like.
//!
//! Source: behaviour of Valkey 9.1 `t_stream.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::help::{HELP, help};
use crate::spec::{Arity, Flags, Keys, Scope, Spec};
use crate::stream_groups::{bad_subcommand, no_group_of};
use crate::stream_ids::{write_entries, write_entry, write_id};
use crate::streams::READ;
use base::TimeMs;
use keyspace::stream::{Consumer, Group, Stream, StreamId};
use wire::reply::Reply;

/// Entries of each list that FULL shows when nothing is said.
const COUNT_DEFAULT: usize = 10;

const SUBCOMMAND: Spec = Spec {
    arity: Arity::Exactly(3),
    flags: Flags::READONLY,
    keys: Keys::Range { first: 2, last: 2, step: 1 },
    complexity: "O(1)",
    syntax: "key",
    ..READ
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[Spec {
    name: "xinfo",
    arity: Arity::AtLeast(2),
    flags: Flags::NONE,
    keys: Keys::None,
    scope: Scope::Nothing,
    complexity: "Depends on subcommand.",
    summary: "A container for commands that look into streams.",
    syntax: "subcommand [arg [arg ...]]",
    handler: help,
    subcommands: &[
        Spec {
            name: "consumers",
            arity: Arity::Exactly(4),
            complexity: "O(N) for N consumers",
            summary: "Returns the consumers of a group.",
            syntax: "key group",
            handler: consumers,
            ..SUBCOMMAND
        },
        Spec {
            name: "groups",
            complexity: "O(N) for N groups",
            summary: "Returns the consumer groups of a stream.",
            handler: groups,
            ..SUBCOMMAND
        },
        HELP,
        Spec {
            name: "stream",
            arity: Arity::AtLeast(3),
            complexity: "O(1); with FULL O(N) for N entries and pending entries shown",
            summary: "Returns what a stream is made of.",
            syntax: "key [FULL [COUNT count]]",
            handler: stream,
            ..SUBCOMMAND
        },
    ],
    ..READ
}];

/// A name in front of its value.
fn named<'r, 'o>(reply: &'r mut Reply<'o>, name: &str) -> &'r mut Reply<'o> {
    reply.bulk(name.as_bytes());
    reply
}

fn write_known(reply: &mut Reply<'_>, number: Option<i64>) {
    match number {
        Some(number) => reply.integer(number),
        None => reply.null(),
    }
}

/// A time, or -1 for never.
fn time_or_never(time: Option<TimeMs>) -> i64 {
    time.map_or(-1, |at| at.0)
}

fn consumers(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, name, now) = (call.arg(2), call.arg(3), call.now());
    let stream = call.tx.stream(key)?.ok_or(Error::NoSuchKey)?;
    let group = stream.group(name).ok_or_else(|| no_group_of(key, name))?;
    call.reply.array(group.consumers().len());
    for consumer in group.consumers() {
        let reply = &mut call.reply;
        reply.map(4);
        named(reply, "name").bulk(consumer.name());
        named(reply, "pending").count(consumer.pending_count());
        named(reply, "idle").integer(now.0.saturating_sub(consumer.seen_at().0).max(0));
        let inactive = consumer.active_at().map_or(-1, |at| now.0.saturating_sub(at.0));
        named(reply, "inactive").integer(inactive);
    }
    Ok(Flow::Done)
}

fn groups(call: &mut Call<'_>) -> Result<Flow, Error> {
    let stream = call.tx.stream(call.args.at(2))?.ok_or(Error::NoSuchKey)?;
    call.reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        let reply = &mut call.reply;
        reply.map(6);
        named(reply, "name").bulk(name);
        named(reply, "consumers").count(group.consumers().len());
        named(reply, "pending").count(group.pending_count());
        write_progress(reply, stream, group);
    }
    Ok(Flow::Done)
}

/// Three pairs: how far a group has read, and how far it has to.
fn write_progress(reply: &mut Reply<'_>, stream: &Stream, group: &Group) {
    let progress = group.progress();
    write_id(named(reply, "last-delivered-id"), progress.last_id);
    write_known(named(reply, "entries-read"), progress.entries_read.map(|count| count as i64));
    write_known(named(reply, "lag"), stream.lag(group));
}

/// How many elements of each list FULL shows; `None` without FULL.
fn full_count(call: &Call<'_>) -> Result<Option<usize>, Error> {
    let fits = match call.arg_count() {
        3 => return Ok(None),
        4 => call.is_word(3, "FULL"),
        6 => call.is_word(3, "FULL") && call.is_word(4, "COUNT"),
        _ => false,
    };
    if !fits {
        return Err(bad_subcommand(call));
    }
    if call.arg_count() == 4 {
        return Ok(Some(COUNT_DEFAULT));
    }
    Ok(Some(match usize::try_from(call.integer(5)?) {
        Ok(0) => usize::MAX,
        Ok(count) => count,
        Err(_) => COUNT_DEFAULT,
    }))
}

fn stream(call: &mut Call<'_>) -> Result<Flow, Error> {
    let full_count = full_count(call)?;
    let stream = call.tx.stream(call.args.at(2))?.ok_or(Error::NoSuchKey)?;
    let reply = &mut call.reply;
    reply.map(if full_count.is_some() { 9 } else { 10 });
    named(reply, "length").integer(stream.len() as i64);
    // The blocks are indexed by a tree of another kind; tools that know Redis's look at the growth of these.
    named(reply, "radix-tree-keys").count(stream.block_count());
    named(reply, "radix-tree-nodes").count(stream.block_count() + 1);
    let counters = stream.counters();
    write_id(named(reply, "last-generated-id"), counters.last_id);
    write_id(named(reply, "max-deleted-entry-id"), counters.max_deleted_id);
    named(reply, "entries-added").integer(counters.entries_added as i64);
    write_id(named(reply, "recorded-first-entry-id"), stream.first_id().unwrap_or_default());
    match full_count {
        Some(count) => write_full(reply, stream, count),
        None => write_brief(reply, stream),
    }
    Ok(Flow::Done)
}

fn write_brief(reply: &mut Reply<'_>, stream: &Stream) {
    named(reply, "groups").count(stream.groups().len());
    let first = stream.range(StreamId::MIN, StreamId::MAX).next();
    let last = stream.range_back(StreamId::MIN, StreamId::MAX).next();
    for (name, entry) in [("first-entry", first), ("last-entry", last)] {
        match entry {
            Some(entry) => write_entry(named(reply, name), &entry),
            None => named(reply, name).null(),
        }
    }
}

fn write_full(reply: &mut Reply<'_>, stream: &Stream, count: usize) {
    write_entries(named(reply, "entries"), stream.range(StreamId::MIN, StreamId::MAX).take(count));
    named(reply, "groups").array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(7);
        named(reply, "name").bulk(name);
        write_progress(reply, stream, group);
        named(reply, "pel-count").count(group.pending_count());
        named(reply, "pending").array(group.pending_count().min(count));
        for pending in group.pending(StreamId::MIN, StreamId::MAX).take(count) {
            reply.array(4);
            write_id(reply, pending.id);
            reply.bulk(pending.consumer);
            reply.integer(pending.delivered_at.0);
            reply.integer(pending.delivery_count as i64);
        }
        named(reply, "consumers").array(group.consumers().len());
        for consumer in group.consumers() {
            write_full_consumer(reply, group, consumer, count);
        }
    }
}

fn write_full_consumer(reply: &mut Reply<'_>, group: &Group, consumer: &Consumer, count: usize) {
    reply.map(5);
    named(reply, "name").bulk(consumer.name());
    named(reply, "seen-time").integer(consumer.seen_at().0);
    named(reply, "active-time").integer(time_or_never(consumer.active_at()));
    named(reply, "pel-count").count(consumer.pending_count());
    named(reply, "pending").array(consumer.pending_count().min(count));
    for pending in group.pending_with(consumer, StreamId::MIN, StreamId::MAX).take(count) {
        reply.array(3);
        write_id(reply, pending.id);
        reply.integer(pending.delivered_at.0);
        reply.integer(pending.delivery_count as i64);
    }
}
