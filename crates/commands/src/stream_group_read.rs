//! XREADGROUP: entries that no consumer of a group was given yet, or those that one was given and has not acknowledged.
//!
//! Whoever waits for entries is told when the stream, or the group, is gone. Waiting consumers were seen when they began
//! to wait, and next when they are served.
//!
//! Source: behaviour of Valkey 9.1 `t_stream.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::refuse;
use crate::spec::{Arity, Flags, Keys, Spec};
use crate::stream_groups::CONSUMER_CREATED;
use crate::stream_ids::{parse_id, write_entry, write_id};
use crate::streams::WRITE;
use crate::streams_read::{OPTIONS, ReadOptions, Wanted};
use crate::touches::{KeyUse, Touches};
use crate::waiting::Wait;
use base::TimeMs;
use keyspace::Kind;
use keyspace::effect::stream::{Held, Reading};
use keyspace::events::Event;
use keyspace::stream::{Group, StreamId};
use wire::reply::Protocol;

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[Spec {
    name: "xreadgroup",
    touches: Touches::keys(&[KeyUse::RO_ACCESS]),
    arity: Arity::AtLeast(7),
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
    keys: Keys::After { word: "STREAMS", from: 4, options: OPTIONS },
    complexity: "O(M) for M entries returned",
    summary: "Returns entries of streams that no consumer of a group was given yet, or that are pending with one; waits \
              until there are some.",
    syntax: "GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
    handler: read,
    ..WRITE
}];

/// The words in front of the streams.
struct GroupRead<'a> {
    who: Reading<'a>,
    options: ReadOptions,
    /// What is delivered counts as acknowledged.
    no_ack: bool,
}

/// What is wanted of one stream.
#[derive(Clone, Copy)]
enum From {
    /// What no consumer was given yet.
    New,
    /// What is pending with this consumer, after an id.
    Pending(StreamId),
}

fn parse<'a>(call: &Call<'a>) -> Result<(GroupRead<'a>, Wanted<'a>), Error> {
    let (mut who, mut options, mut no_ack) = (None, ReadOptions::default(), false);
    let mut index = 1;
    while index + 1 < call.arg_count() {
        if call.is_word(index, "COUNT") {
            options.count = usize::try_from(call.integer(index + 1)?).unwrap_or(0);
            index += 2;
        } else if call.is_word(index, "BLOCK") {
            options.block_ms = Some(call.block_ms(index + 1)?);
            index += 2;
        } else if call.is_word(index, "GROUP") && index + 2 < call.arg_count() {
            who = Some(Reading { group: call.arg(index + 1), consumer: call.arg(index + 2) });
            index += 3;
        } else if call.is_word(index, "NOACK") {
            no_ack = true;
            index += 1;
        } else if call.is_word(index, "STREAMS") {
            let wanted = Wanted::parse(call.args, index + 1, "xreadgroup", '>')?;
            let who = who.ok_or(Error::text("ERR Missing GROUP option for XREADGROUP"))?;
            return Ok((GroupRead { who, options, no_ack }, wanted));
        } else {
            break;
        }
    }
    Err(Error::Syntax)
}

fn from(text: &[u8]) -> Result<From, Error> {
    let meaningless = |id: char| {
        refuse!(
            "ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer \
             by specifying a proper ID, or use the > ID to get new messages. The {id} ID would just return an empty \
             result set."
        )
    };
    match text {
        b">" => Ok(From::New),
        b"$" => Err(meaningless('$')),
        b"+" => Err(meaningless('+')),
        _ => parse_id(text, 0).map(From::Pending),
    }
}

fn read(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (read, wanted) = parse(call)?;
    let mut sources = Vec::with_capacity(wanted.count);
    for index in 0..wanted.count {
        let (key, group) = (wanted.key(index), read.who.group);
        if call.tx.stream(key)?.and_then(|stream| stream.group(group)).is_none() {
            let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
            return Err(refuse!(
                "NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option"
            ));
        }
        sources.push(from(wanted.id(index))?);
    }
    let (mark, mut served_count) = (call.reply.mark(), 0);
    for (index, source) in sources.into_iter().enumerate() {
        let key = wanted.key(index);
        let begin = call.reply.mark();
        if call.reply.protocol() == Protocol::Resp2 {
            call.reply.array(2);
        }
        call.reply.bulk(key);
        let is_served = match source {
            From::New => read_new(call, key, &read)?,
            From::Pending(after) => read_pending(call, key, &read, after)?,
        };
        if is_served {
            served_count += 1;
        } else {
            call.reply.rewind(begin);
        }
    }
    if let (0, Some(timeout_ms)) = (served_count, read.options.block_ms) {
        let kind = keyspace::waiting::Wanted { kind: Kind::Stream, or_gone: true };
        return Ok(call.wait_for_keys(wanted.keys(), &Wait { wanted: kind, timeout_ms, replaced: &[] }));
    }
    match (served_count, call.reply.protocol()) {
        (0, _) => call.reply.null_array(),
        (_, Protocol::Resp2) => call.reply.array_since(mark, served_count),
        (_, Protocol::Resp3) => call.reply.map_since(mark, served_count),
    }
    Ok(Flow::Done)
}

/// What it would be that the consumer asks now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It comes to be.
    New,
    /// It has not asked since.
    Later,
    /// It asked in this very millisecond.
    Already,
}

impl Seen {
    fn of(group: &Group, who: Reading<'_>, now: TimeMs) -> Seen {
        match group.consumer(who.consumer) {
            None => Seen::New,
            Some(consumer) if consumer.seen_at() == now => Seen::Already,
            Some(_) => Seen::Later,
        }
    }

    /// Tells of a consumer that has come to be.
    fn tell(self, call: &mut Call<'_>, key: &[u8]) {
        if self == Seen::New {
            call.notify(Event::Stream, CONSUMER_CREATED, key);
        }
    }
}

/// Delivers what no consumer was given yet. Returns whether there was any.
fn read_new(call: &mut Call<'_>, key: &[u8], read: &GroupRead<'_>) -> Result<bool, Error> {
    let (who, now) = (read.who, call.now());
    let stream = call.tx.stream(key)?.expect("it was looked at above");
    let group = stream.group(who.group).expect("it was looked at above");
    let seen = Seen::of(group, who, now);
    let mut progress = group.progress();
    let start = progress.last_id.next().filter(|start| stream.top_id().is_some_and(|top| *start <= top));
    let mut ids = Vec::new();
    if let Some(start) = start {
        let mark = call.reply.mark();
        for entry in stream.range(start, StreamId::MAX).take(read.options.most()) {
            write_entry(&mut call.reply, &entry);
            progress = stream.progress_to(progress, entry.id);
            ids.push(entry.id);
        }
        call.reply.array_since(mark, ids.len());
    }
    if !ids.is_empty() && !read.no_ack {
        call.tx.stream_deliver(key, who, now, progress, &ids);
        seen.tell(call, key);
        return Ok(true);
    }
    let still_waits = ids.is_empty() && call.has_waited();
    if seen != Seen::Already && !still_waits {
        call.tx.stream_see(key, who, now, None);
        seen.tell(call, key);
    }
    if !ids.is_empty() {
        call.tx.stream_put_group(key, who.group, progress);
    }
    Ok(!ids.is_empty())
}

/// Delivers anew what is pending with the consumer.
fn read_pending(call: &mut Call<'_>, key: &[u8], read: &GroupRead<'_>, after: StreamId) -> Result<bool, Error> {
    let (who, now) = (read.who, call.now());
    let stream = call.tx.stream(key)?.expect("it was looked at above");
    let group = stream.group(who.group).expect("it was looked at above");
    let seen = Seen::of(group, who, now);
    let mut held: Vec<Held> = Vec::new();
    let (mark, mut count) = (call.reply.mark(), 0);
    if let (Some(consumer), Some(start)) = (group.consumer(who.consumer), after.next()) {
        for pending in group.pending_with(consumer, start, StreamId::MAX).take(read.options.most()) {
            count += 1;
            if let Some(entry) = stream.entry(pending.id) {
                write_entry(&mut call.reply, &entry);
                held.push((pending.id, now, pending.delivery_count.saturating_add(1)));
            } else {
                call.reply.array(2);
                write_id(&mut call.reply, pending.id);
                call.reply.null_array();
            }
        }
    }
    call.reply.array_since(mark, count);
    if seen != Seen::Already {
        call.tx.stream_see(key, who, now, None);
        seen.tell(call, key);
    }
    if !held.is_empty() {
        call.tx.stream_claim(key, who, &held);
    }
    Ok(true)
}
