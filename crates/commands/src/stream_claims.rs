//! XCLAIM and XAUTOCLAIM: a consumer takes over what was delivered to others and not acknowledged.
//!
//! An entry that was deleted from the stream meanwhile cannot be taken over; it is pending no more.
//!
//! Source: behaviour of Valkey 9.1 `t_stream.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::refuse;
use crate::spec::{Arity, Spec};
use crate::stream_groups::{CONSUMER_CREATED, no_group};
use crate::stream_ids::{parse_id, parse_start, write_entry, write_id};
use crate::streams::WRITE;
use crate::touches::{KeyUse, Touches};
use base::TimeMs;
use keyspace::effect::stream::{Held, Reading};
use keyspace::events::Event;
use keyspace::stream::{Group, Progress, Stream, StreamId};
use std::collections::BTreeMap;
use wire::reply::Reply;

/// Pending entries that XAUTOCLAIM looks at, for each that it may return.
const LOOKS_EACH: usize = 10;
/// Entries that XAUTOCLAIM returns when nothing is said.
const COUNT_DEFAULT: usize = 100;
/// The largest COUNT of XAUTOCLAIM.
const COUNT_MAX: i64 = i64::MAX / 16;

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "xautoclaim",
        touches: Touches::keys(&[KeyUse::RW_DELETE]),
        arity: Arity::AtLeast(6),
        since: "6.2.0",
        complexity: "O(1) if COUNT is small",
        summary: "Hands entries that have been pending for long to a consumer, from an id on; returns where to go on.",
        syntax: "key group consumer min-idle-time start [COUNT count] [JUSTID]",
        handler: claim_idle,
        ..WRITE
    },
    Spec {
        name: "xclaim",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        arity: Arity::AtLeast(6),
        complexity: "O(log(N)) for each id, where N is the number of pending entries",
        summary: "Hands pending entries to a consumer by their ids.",
        syntax: "key group consumer min-idle-time id [id ...] [IDLE milliseconds] [TIME unix-time-milliseconds] \
                 [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID last-id]",
        handler: claim,
        ..WRITE
    },
];

/// What is to change about a group.
#[derive(Default)]
struct Taken {
    /// In the order they were asked for; an id once.
    held: BTreeMap<StreamId, (TimeMs, u64)>,
    /// Pending, but deleted from the stream.
    gone: Vec<StreamId>,
    /// The consumer comes to be.
    is_new_consumer: bool,
}

impl Taken {
    /// Nothing yet.
    fn by(group: &Group, who: Reading<'_>) -> Taken {
        Taken { is_new_consumer: group.consumer(who.consumer).is_none(), ..Taken::default() }
    }

    /// Changes the group so.
    fn apply(mut self, call: &mut Call<'_>, who: Reading<'_>, progress: Option<Progress>) {
        let (key, now) = (call.arg(1), call.now());
        if let Some(progress) = progress {
            call.tx.stream_put_group(key, who.group, progress);
        }
        call.tx.stream_see(key, who, now, Some(now).filter(|_| !self.held.is_empty()));
        if self.is_new_consumer {
            call.notify(Event::Stream, CONSUMER_CREATED, key);
        }
        if !self.gone.is_empty() {
            self.gone.sort_unstable();
            self.gone.dedup();
            call.tx.stream_release(key, who.group, &self.gone);
        }
        if !self.held.is_empty() {
            let held: Vec<Held> = self.held.into_iter().map(|(id, (at, count))| (id, at, count)).collect();
            call.tx.stream_claim(key, who, &held);
        }
    }
}

/// Who claims.
fn reading<'c>(call: &Call<'c>) -> Reading<'c> {
    Reading { group: call.arg(2), consumer: call.arg(3) }
}

/// The stream and the group of a claim, which must be there.
fn required<'c>(call: &'c mut Call<'_>) -> Result<(&'c Stream, &'c Group), Error> {
    let (key, name) = (call.arg(1), call.arg(2));
    let stream = call.tx.stream(key)?.ok_or_else(|| no_group(key, name))?;
    stream.group(name).map(|group| (stream, group)).ok_or_else(|| no_group(key, name))
}

/// Argument `index` as an integer, with a text of its own when it is none.
fn integer(call: &Call<'_>, index: usize, what: &str, command: &str) -> Result<i64, Error> {
    call.integer(index).map_err(|_| refuse!("ERR Invalid {what} argument for {command}"))
}

/// Replies with an entry, or with its id only.
fn write_claimed(reply: &mut Reply<'_>, stream: &Stream, id: StreamId, just_id: bool) {
    match stream.entry(id) {
        Some(entry) if !just_id => write_entry(reply, &entry),
        _ => write_id(reply, id),
    }
}

/// The words of XCLAIM behind its ids.
#[derive(Default)]
struct ClaimOptions {
    delivered_at: Option<i64>,
    delivery_count: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

impl ClaimOptions {
    fn parse(call: &Call<'_>, from: usize) -> Result<ClaimOptions, Error> {
        let mut options = ClaimOptions::default();
        let mut index = from;
        while index < call.arg_count() {
            let has_value = index + 1 < call.arg_count();
            let value = |what| integer(call, index + 1, what, "XCLAIM");
            if call.is_word(index, "FORCE") {
                options.force = true;
                index += 1;
                continue;
            } else if call.is_word(index, "JUSTID") {
                options.just_id = true;
                index += 1;
                continue;
            } else if has_value && call.is_word(index, "IDLE") {
                options.delivered_at = Some(call.now().0.saturating_sub(value("IDLE option")?));
            } else if has_value && call.is_word(index, "TIME") {
                options.delivered_at = Some(value("TIME option")?);
            } else if has_value && call.is_word(index, "RETRYCOUNT") {
                options.delivery_count = u64::try_from(value("RETRYCOUNT option")?).ok();
            } else if has_value && call.is_word(index, "LASTID") {
                options.last_id = parse_id(call.arg(index + 1), 0)?;
            } else {
                return Err(refuse!("ERR Unrecognized XCLAIM option '{}'", String::from_utf8_lossy(call.arg(index))));
            }
            index += 2;
        }
        Ok(options)
    }

    /// When the entries count as delivered: a time that makes no sense is now.
    fn delivered_at(&self, now: TimeMs) -> TimeMs {
        TimeMs(self.delivered_at.filter(|at| (0..=now.0).contains(at)).unwrap_or(now.0))
    }
}

fn claim(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (who, now) = (reading(call), call.now());
    required(call)?;
    let idle_ms_min = integer(call, 4, "min-idle-time", "XCLAIM")?;
    let ids: Vec<StreamId> = call.args.skip(5).iter().map_while(|text| parse_id(text, 0).ok()).collect();
    let options = ClaimOptions::parse(call, 5 + ids.len())?;
    let at = options.delivered_at(now);
    let stream = call.tx.stream(call.args.at(1))?.expect("it was looked at above");
    let group = stream.group(who.group).expect("it was looked at above");
    let mut taken = Taken::by(group, who);
    let (mark, mut count) = (call.reply.mark(), 0);
    for id in ids {
        let pending = group.pending_at(id).map(|pending| (pending.delivered_at, pending.delivery_count));
        let pending = taken.held.get(&id).copied().or(pending);
        if stream.entry(id).is_none() {
            taken.gone.extend(pending.map(|_| id));
            continue;
        }
        let is_busy = pending.is_some_and(|(at, _)| 0 < idle_ms_min && now.0.saturating_sub(at.0) < idle_ms_min);
        if is_busy || (pending.is_none() && !options.force) {
            continue;
        }
        let before_count = pending.map_or(1, |(_, count)| count); // One that is made by force was delivered once.
        let more_count = u64::from(!options.just_id);
        taken.held.insert(id, (at, options.delivery_count.unwrap_or(before_count.saturating_add(more_count))));
        write_claimed(&mut call.reply, stream, id, options.just_id);
        count += 1;
    }
    call.reply.array_since(mark, count);
    let progress = group.progress();
    let later = Some(options.last_id).filter(|id| progress.last_id < *id);
    taken.apply(call, who, later.map(|last_id| Progress { last_id, ..progress }));
    Ok(Flow::Done)
}

/// The words of XAUTOCLAIM behind its start: how many entries, and whether their ids will do.
fn claim_idle_options(call: &Call<'_>) -> Result<(usize, bool), Error> {
    let (mut count, mut just_id) = (COUNT_DEFAULT, false);
    let mut index = 6;
    while index < call.arg_count() {
        if call.is_word(index, "COUNT") && index + 1 < call.arg_count() {
            let asked = call.integer(index + 1).ok().filter(|count| (1..=COUNT_MAX).contains(count));
            count = asked.ok_or(Error::text("ERR COUNT must be > 0"))? as usize;
            index += 2;
        } else if call.is_word(index, "JUSTID") {
            just_id = true;
            index += 1;
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok((count, just_id))
}

fn claim_idle(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (who, now) = (reading(call), call.now());
    let idle_ms_min = integer(call, 4, "min-idle-time", "XAUTOCLAIM")?;
    let start = parse_start(call.arg(5))?;
    let (mut left_count, just_id) = claim_idle_options(call)?;
    required(call)?;
    let stream = call.tx.stream(call.args.at(1))?.expect("it was looked at above");
    let group = stream.group(who.group).expect("it was looked at above");
    let mut pending = group.pending(start, StreamId::MAX);
    let mut taken = Taken::by(group, who);
    for _ in 0..left_count.saturating_mul(LOOKS_EACH) {
        if left_count == 0 {
            break;
        }
        let Some(one) = pending.next() else { break };
        if stream.entry(one.id).is_none() {
            taken.gone.push(one.id);
        } else if 0 < idle_ms_min && now.0.saturating_sub(one.delivered_at.0) < idle_ms_min {
            continue;
        } else {
            taken.held.insert(one.id, (now, one.delivery_count.saturating_add(u64::from(!just_id))));
        }
        left_count -= 1;
    }
    call.reply.array(3);
    write_id(&mut call.reply, pending.next().map_or(StreamId::MIN, |next| next.id));
    call.reply.array(taken.held.len());
    for id in taken.held.keys() {
        write_claimed(&mut call.reply, stream, *id, just_id);
    }
    call.reply.array(taken.gone.len());
    for id in &taken.gone {
        write_id(&mut call.reply, *id);
    }
    drop(pending);
    taken.apply(call, who, None);
    Ok(Flow::Done)
}
