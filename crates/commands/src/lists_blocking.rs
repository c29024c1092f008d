//! Lists: taking and moving elements, and waiting for them while there are none.
//!
//! Where waiting is not possible (inside MULTI), a command answers at once as if its time were over.
//!
//! Source: behaviour of Valkey 9.1 `t_list.c`, `blocked.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::lists::{ROW, put_elements, take};
use crate::lists_move::{PopMany, end_word, move_between, pop_from_first};
use crate::spec::{Arity, Flags, Keys, Spec};
use crate::touches::{KeyUse, Touches};
use crate::waiting::Wait;
use keyspace::Kind;
use keyspace::list::End;
use keyspace::waiting::Wanted;

const POP: Spec = Spec {
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::BLOCKING),
    keys: Keys::Range { first: 1, last: -2, step: 1 },
    since: "2.0.0",
    complexity: "O(N) for N keys",
    syntax: "key [key ...] timeout",
    ..ROW
};

const MOVE: Spec =
    Spec { flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::BLOCKING), keys: Keys::TWO, complexity: "O(1)", ..ROW };

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "blmove",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE, KeyUse::RW_INSERT]),
        arity: Arity::Exactly(6),
        since: "6.2.0",
        summary: "Moves an element from an end of a list to an end of another, and returns it; waits until there is one.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        handler: move_one,
        ..MOVE
    },
    Spec {
        name: "blmpop",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE]),
        arity: Arity::AtLeast(5),
        flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
        keys: Keys::Counted { count_at: 2, also: 0, step: 1 },
        since: "7.0.0",
        complexity: "O(N+M) for N keys and M elements removed",
        summary: "Removes and returns elements of the first list that is there; waits until one is.",
        syntax: "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        handler: pop_many,
        ..ROW
    },
    Spec {
        name: "blpop",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE]),
        summary: "Removes and returns the first element of the first list that is there; waits until one is.",
        handler: pop_front,
        ..POP
    },
    Spec {
        name: "brpop",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE]),
        summary: "Removes and returns the last element of the first list that is there; waits until one is.",
        handler: pop_back,
        ..POP
    },
    Spec {
        name: "brpoplpush",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE, KeyUse::RW_INSERT]),
        arity: Arity::Exactly(4),
        since: "2.2.0",
        summary: "Moves the last element of a list to the front of another, and returns it; waits until there is one.",
        syntax: "source destination timeout",
        handler: move_back_to_front,
        ..MOVE
    },
];

fn wait_for(timeout_ms: u64) -> Wait<'static> {
    Wait { wanted: Wanted { kind: Kind::List, or_gone: false }, timeout_ms, replaced: &[] }
}

fn pop(call: &mut Call<'_>, end: End) -> Result<Flow, Error> {
    let timeout_at = call.arg_count() - 1;
    let timeout_ms = call.timeout_ms(timeout_at)?;
    for index in 1..timeout_at {
        let key = call.arg(index);
        let Some(list) = call.tx.list(key)? else { continue };
        let of = list.len();
        call.reply.array(2);
        call.reply.bulk(key);
        put_elements(&mut call.reply, list, end, 1);
        take(call, key, end, 1, of);
        return Ok(Flow::Done);
    }
    Ok(call.wait_for_keys(1..timeout_at, &wait_for(timeout_ms)))
}

fn pop_front(call: &mut Call<'_>) -> Result<Flow, Error> {
    pop(call, End::Front)
}

fn pop_back(call: &mut Call<'_>) -> Result<Flow, Error> {
    pop(call, End::Back)
}

fn pop_many(call: &mut Call<'_>) -> Result<Flow, Error> {
    let wanted = PopMany::parse(call, 2)?;
    let timeout_ms = call.timeout_ms(1)?;
    if pop_from_first(call, &wanted)? {
        return Ok(Flow::Done);
    }
    Ok(call.wait_for_keys(wanted.keys, &wait_for(timeout_ms)))
}

fn move_waiting(call: &mut Call<'_>, from: End, to: End, timeout_at: usize) -> Result<Flow, Error> {
    let (source, target) = (call.arg(1), call.arg(2));
    let timeout_ms = call.timeout_ms(timeout_at)?;
    if move_between(call, (source, from), (target, to))? {
        return Ok(Flow::Done);
    }
    if !call.may_wait {
        call.reply.null();
        return Ok(Flow::Done);
    }
    Ok(call.wait_for_keys(1..2, &wait_for(timeout_ms)))
}

fn move_one(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (from, to) = (end_word(call, 3)?, end_word(call, 4)?);
    move_waiting(call, from, to, 5)
}

fn move_back_to_front(call: &mut Call<'_>) -> Result<Flow, Error> {
    move_waiting(call, End::Back, End::Front, 3)
}
