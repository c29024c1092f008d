//! Sorted sets: taking members off an end, and waiting for them while there are none.
//!
//! Where waiting is not possible (inside MULTI), a command answers at once as if its time were over.
//!
//! Source: behaviour of Valkey 9.1 `t_zset.c`, `blocked.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::sorted_sets::READ;
use crate::sorted_sets_pop::{PopFirst, pop_from_first, take};
use crate::spec::{Arity, Flags, Keys, Spec};
use crate::waiting::Wait;
use keyspace::Kind;
use keyspace::sorted_set::Direction;
use keyspace::waiting::Wanted;

const POP: Spec = Spec {
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::FAST).and(Flags::BLOCKING),
    keys: Keys::Range { first: 1, last: -2, step: 1 },
    since: "5.0.0",
    complexity: "O(log N) for N members of the set",
    syntax: "key [key ...] timeout",
    ..READ
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "bzmpop",
        arity: Arity::AtLeast(5),
        flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
        keys: Keys::Counted { count_at: 2, also: 0, step: 1 },
        since: "7.0.0",
        complexity: "O(K+M*log N) for K keys and M members removed of N",
        summary: "Removes and returns members of the first sorted set that is there; waits until one is.",
        syntax: "timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
        handler: pop_many,
        ..POP
    },
    Spec {
        name: "bzpopmax",
        summary: "Removes and returns the member with the highest score of the first sorted set that is there; waits \
                  until one is.",
        handler: |call| pop(call, Direction::Descending),
        ..POP
    },
    Spec {
        name: "bzpopmin",
        summary: "Removes and returns the member with the lowest score of the first sorted set that is there; waits \
                  until one is.",
        handler: |call| pop(call, Direction::Ascending),
        ..POP
    },
];

fn wait_for(timeout_ms: u64) -> Wait<'static> {
    Wait { wanted: Wanted { kind: Kind::SortedSet, or_gone: false }, timeout_ms, replaced: &[] }
}

fn pop(call: &mut Call<'_>, direction: Direction) -> Result<Flow, Error> {
    let timeout_at = call.arg_count() - 1;
    let timeout_ms = call.timeout_ms(timeout_at)?;
    for index in 1..timeout_at {
        let key = call.arg(index);
        if call.tx.sorted_set(key)?.is_some() {
            call.reply.array(3);
            call.reply.bulk(key);
            take(call, key, 1, direction, false)?;
            return Ok(Flow::Done);
        }
    }
    Ok(call.wait_for_keys(1..timeout_at, &wait_for(timeout_ms)))
}

fn pop_many(call: &mut Call<'_>) -> Result<Flow, Error> {
    let wanted = PopFirst::parse(call, 2)?;
    let timeout_ms = call.timeout_ms(1)?;
    if pop_from_first(call, &wanted)? {
        return Ok(Flow::Done);
    }
    Ok(call.wait_for_keys(wanted.keys, &wait_for(timeout_ms)))
}
