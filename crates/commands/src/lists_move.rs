//! Lists: taking elements from the first of several lists, and moving them from one to another.
//!
//! Deliberately not here: waiting until there are any (`lists_blocking`).
//!
//! Source: behaviour of Valkey 9.1 `t_list.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::lists::{ROW, give, put_elements, take};
use crate::spec::{Arity, Flags, Keys, Spec};
use crate::touches::{KeyUse, Touches};
use base::number::parse_i64;
use keyspace::Event;
use keyspace::list::End;
use std::ops::Range;

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "lmove",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE, KeyUse::RW_INSERT]),
        arity: Arity::Exactly(5),
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::TWO,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Moves an element from an end of a list to an end of another, and returns it.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        handler: move_one,
        ..ROW
    },
    Spec {
        name: "lmpop",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE]),
        arity: Arity::AtLeast(4),
        flags: Flags::WRITE.and(Flags::MOVABLEKEYS),
        keys: Keys::Counted { count_at: 1, also: 0, step: 1 },
        since: "7.0.0",
        complexity: "O(N+M) for N keys and M elements removed",
        summary: "Removes and returns elements of the first list that is there.",
        syntax: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        handler: pop_many,
        ..ROW
    },
    Spec {
        name: "rpoplpush",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE, KeyUse::RW_INSERT]),
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::TWO,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Moves the last element of a list to the front of another, and returns it.",
        syntax: "source destination",
        handler: move_back_to_front,
        ..ROW
    },
];

/// LEFT or RIGHT.
pub(crate) fn end_word(call: &Call<'_>, index: usize) -> Result<End, Error> {
    match () {
        () if call.is_word(index, "LEFT") => Ok(End::Front),
        () if call.is_word(index, "RIGHT") => Ok(End::Back),
        () => Err(Error::Syntax),
    }
}

/// Moves an element from an end of the list at `source` to an end of that at `target` and replies with it. Returns
/// false, with no reply, when there is none.
pub(crate) fn move_between(
    call: &mut Call<'_>,
    (source, from): (&[u8], End),
    (target, to): (&[u8], End),
) -> Result<bool, Error> {
    let Some(list) = call.tx.list(source)? else { return Ok(false) };
    let count = list.len();
    let index = if from == End::Front { 0 } else { count - 1 };
    let element = list.get(index, |element| element.bytes().to_vec()).expect("an empty list does not exist");
    if source == target && from == to {
        call.tx.list_set(source, index, &element)?; // The element is its own successor, and the key was written.
        call.notify(Event::List, if to == End::Front { "lpush" } else { "rpush" }, source);
        call.notify(Event::List, if from == End::Front { "lpop" } else { "rpop" }, source);
    } else {
        give(call, target, to, [&element[..]].into_iter())?;
        let of = count + usize::from(source == target);
        take(call, source, from, 1, of); // Last, so that a list of one element that turns over never ends.
    }
    call.reply.bulk(&element);
    Ok(true)
}

fn move_one(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (from, to) = (end_word(call, 3)?, end_word(call, 4)?);
    let (source, target) = (call.arg(1), call.arg(2));
    if !move_between(call, (source, from), (target, to))? {
        call.reply.null();
    }
    Ok(Flow::Done)
}

fn move_back_to_front(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (source, target) = (call.arg(1), call.arg(2));
    if !move_between(call, (source, End::Back), (target, End::Front))? {
        call.reply.null();
    }
    Ok(Flow::Done)
}

/// What LMPOP and its waiting sister take: which keys, from which end, how many elements at most.
pub(crate) struct PopMany {
    pub keys: Range<usize>,
    pub end: End,
    pub count: usize,
}

impl PopMany {
    /// Reads `numkeys key [key ...] <LEFT | RIGHT> [COUNT count]` from argument `start` on.
    pub fn parse(call: &Call<'_>, start: usize) -> Result<PopMany, Error> {
        let positive = |index: usize, refusal: &'static str| {
            let number = parse_i64(call.arg(index)).and_then(|number| usize::try_from(number).ok());
            number.filter(|number| 0 < *number).ok_or(Error::text(refusal))
        };
        let key_count = positive(start, "ERR numkeys should be greater than 0")?;
        let end_at = key_count.checked_add(start + 1).filter(|index| *index < call.arg_count());
        let end_at = end_at.ok_or(Error::Syntax)?;
        let end = end_word(call, end_at)?;
        let count = match call.arg_count() - end_at {
            1 => 1,
            3 if call.is_word(end_at + 1, "COUNT") => positive(end_at + 2, "ERR count should be greater than 0")?,
            _ => return Err(Error::Syntax),
        };
        Ok(PopMany { keys: start + 1..end_at, end, count })
    }
}

/// Takes elements from the first of the lists that is there and replies with its key and an array of them. Returns
/// false, with no reply, when there is none.
pub(crate) fn pop_from_first(call: &mut Call<'_>, wanted: &PopMany) -> Result<bool, Error> {
    for index in wanted.keys.clone() {
        let key = call.arg(index);
        let Some(list) = call.tx.list(key)? else { continue };
        let of = list.len();
        let count = wanted.count.min(of);
        call.reply.array(2);
        call.reply.bulk(key);
        call.reply.array(count);
        put_elements(&mut call.reply, list, wanted.end, count);
        take(call, key, wanted.end, count, of);
        return Ok(true);
    }
    Ok(false)
}

fn pop_many(call: &mut Call<'_>) -> Result<Flow, Error> {
    let wanted = PopMany::parse(call, 1)?;
    if !pop_from_first(call, &wanted)? {
        call.reply.null_array();
    }
    Ok(Flow::Done)
}
