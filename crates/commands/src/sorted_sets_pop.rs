//! Sorted sets: taking members off an end. Waiting for them is in `sorted_sets_blocking`.
//!
//! What is removed is journaled by name, so that a replica need not know which members are the lowest.
//!
//! Source: behaviour of Valkey 9.1 `t_zset.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::hashes::notify_if_gone;
use crate::sorted_sets::READ;
use crate::sorted_sets_range::Gathered;
use crate::spec::{Arity, Flags, Keys, Spec};
use crate::touches::{KeyUse, Touches};
use base::number::parse_i64;
use keyspace::Event;
use keyspace::sorted_set::{Direction, Scored, SortedSet};
use std::ops::Range;
use wire::reply::Protocol;

const POP: Spec = Spec {
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::FAST),
    since: "5.0.0",
    complexity: "O(log N) for each member removed, N members in the set",
    syntax: "key [count]",
    ..READ
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "zmpop",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE]),
        arity: Arity::AtLeast(4),
        flags: Flags::WRITE.and(Flags::MOVABLEKEYS),
        keys: Keys::Counted { count_at: 1, also: 0, step: 1 },
        since: "7.0.0",
        summary: "Removes and returns members of the first of several sorted sets that is not empty.",
        syntax: "numkeys key [key ...] <MIN | MAX> [COUNT count]",
        handler: pop_first,
        ..POP
    },
    Spec {
        name: "zpopmax",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE]),
        summary: "Removes and returns the members of a sorted set with the highest scores.",
        handler: |call| pop(call, Direction::Descending),
        ..POP
    },
    Spec {
        name: "zpopmin",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE]),
        summary: "Removes and returns the members of a sorted set with the lowest scores.",
        handler: |call| pop(call, Direction::Ascending),
        ..POP
    },
];

fn pop(call: &mut Call<'_>, direction: Direction) -> Result<Flow, Error> {
    let count = match call.arg_count() {
        2 => 1,
        3 => parse_i64(call.arg(2))
            .and_then(|count| usize::try_from(count).ok())
            .ok_or(Error::text("ERR value is out of range, must be positive"))?,
        _ => return Err(Error::Syntax),
    };
    let in_pairs = call.arg_count() == 3 && call.reply.protocol() == Protocol::Resp3;
    let key = call.arg(1);
    let count = call.tx.sorted_set(key)?.map_or(0, |set| set.len().min(count));
    call.reply.array(if in_pairs { count } else { 2 * count });
    take(call, key, count, direction, in_pairs)?;
    Ok(Flow::Done)
}

/// Removes `count` members of the sorted set at `key`, which has that many, and writes them behind a header that is
/// there already.
pub(crate) fn take(
    call: &mut Call<'_>,
    key: &[u8],
    count: usize,
    direction: Direction,
    in_pairs: bool,
) -> Result<(), Error> {
    let Some(set) = call.tx.sorted_set(key)?.filter(|_| 0 < count) else { return Ok(()) };
    let ranks = match direction {
        Direction::Ascending => 0..count,
        Direction::Descending => set.len() - count..set.len(),
    };
    let mut gathered = Gathered::default();
    for Scored { member, score } in set.walk(ranks, direction) {
        if in_pairs {
            call.reply.array(2);
        }
        call.reply.bulk(member);
        call.reply.double(score);
        gathered.push(member);
    }
    if count == set.len() {
        call.tx.delete(key);
    } else {
        call.ensure_room(gathered.effect_bytes())?;
        call.tx.sorted_set_remove(key, gathered.iter())?;
    }
    let name = if direction == Direction::Ascending { "zpopmin" } else { "zpopmax" };
    call.notify(Event::SortedSet, name, key);
    notify_if_gone(call, key);
    Ok(())
}

/// What ZMPOP is asked for behind its keys.
pub(crate) struct PopFirst {
    /// Where the keys stand among the arguments.
    pub(crate) keys: Range<usize>,
    /// From which end.
    pub(crate) direction: Direction,
    /// How many at most.
    pub(crate) count: usize,
}

impl PopFirst {
    /// Reads `numkeys key [key ...] <MIN | MAX> [COUNT count]` from argument `count_at` on.
    pub(crate) fn parse(call: &Call<'_>, count_at: usize) -> Result<PopFirst, Error> {
        let positive = |text: &[u8]| parse_i64(text).filter(|number| 0 < *number).map(|number| number as usize);
        let key_count = positive(call.arg(count_at)).ok_or(Error::text("ERR numkeys should be greater than 0"))?;
        let keys_end = key_count.saturating_add(count_at + 1);
        if call.arg_count() <= keys_end {
            return Err(Error::Syntax);
        }
        let direction = if call.is_word(keys_end, "MIN") {
            Direction::Ascending
        } else if call.is_word(keys_end, "MAX") {
            Direction::Descending
        } else {
            return Err(Error::Syntax);
        };
        let count = match call.arg_count() - keys_end {
            1 => 1,
            3 if call.is_word(keys_end + 1, "COUNT") => {
                positive(call.arg(keys_end + 2)).ok_or(Error::text("ERR count should be greater than 0"))?
            }
            _ => return Err(Error::Syntax),
        };
        Ok(PopFirst { keys: count_at + 1..keys_end, direction, count })
    }
}

/// Pops from the first sorted set that is there, and replies. Returns false when none is: there is no reply then.
pub(crate) fn pop_from_first(call: &mut Call<'_>, wanted: &PopFirst) -> Result<bool, Error> {
    for index in wanted.keys.clone() {
        let key = call.arg(index);
        let Some(len) = call.tx.sorted_set(key)?.map(SortedSet::len) else { continue };
        let count = wanted.count.min(len);
        call.reply.array(2);
        call.reply.bulk(key);
        call.reply.array(count);
        take(call, key, count, wanted.direction, true)?;
        return Ok(true);
    }
    Ok(false)
}

fn pop_first(call: &mut Call<'_>) -> Result<Flow, Error> {
    let wanted = PopFirst::parse(call, 1)?;
    if !pop_from_first(call, &wanted)? {
        call.reply.null_array();
    }
    Ok(Flow::Done)
}
