//! Lists: elements put in, taken out and looked at by their place.
//!
//! Deliberately not here: commands that look for an element (`lists_search`), that take from one of several lists or
//! put into another (`lists_move`), and those that wait (`lists_blocking`).
//!
//! Source: behaviour of Valkey 9.1 `t_list.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::hashes::notify_if_gone;
use crate::lists_search::{Search, matches};
use crate::slices::{self, Walk};
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use base::number::parse_i64;
use keyspace::list::{End, List};
use keyspace::{Event, Str};
use std::ops::{ControlFlow, Range};
use wire::reply::Reply;

/// What the rows of lists have in common.
pub(crate) const ROW: Spec = Spec {
    name: "",
    arity: Arity::Exactly(3),
    flags: Flags::READONLY,
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::List,
    since: "1.0.0",
    complexity: "O(N) where N is the number of elements between the nearer end and the place",
    summary: "",
    syntax: "key",
    handler: count,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

const PUSH: Spec = Spec {
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    complexity: "O(N) for N elements",
    syntax: "key element [element ...]",
    ..ROW
};

const POP: Spec = Spec {
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::FAST),
    complexity: "O(N) for N elements",
    syntax: "key [count]",
    ..ROW
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec { name: "lindex", summary: "Returns the element at a place.", syntax: "key index", handler: at, ..ROW },
    Spec {
        name: "linsert",
        touches: Touches::keys(&[KeyUse::RW_INSERT]),
        arity: Arity::Exactly(5),
        flags: Flags::WRITE.and(Flags::DENYOOM),
        since: "2.2.0",
        summary: "Puts an element before or behind the first one that equals a pivot; returns the new length.",
        syntax: "key <BEFORE | AFTER> pivot element",
        handler: insert,
        ..ROW
    },
    Spec {
        name: "llen",
        touches: Touches::keys(&[KeyUse::RO]),
        arity: Arity::Exactly(2),
        flags: Flags::READONLY.and(Flags::FAST),
        complexity: "O(1)",
        summary: "Returns the number of elements.",
        handler: count,
        ..ROW
    },
    Spec {
        name: "lpop",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE]),
        summary: "Removes and returns elements at the front.",
        handler: pop_front,
        ..POP
    },
    Spec {
        name: "lpush",
        touches: Touches::keys(&[KeyUse::RW_INSERT]),
        summary: "Adds elements at the front, one after the other; returns the new length.",
        handler: push_front,
        ..PUSH
    },
    Spec {
        name: "lpushx",
        touches: Touches::keys(&[KeyUse::RW_INSERT]),
        since: "2.2.0",
        summary: "Adds elements at the front of a list that is there; returns the new length.",
        handler: push_front_existing,
        ..PUSH
    },
    Spec {
        name: "lrange",
        arity: Arity::Exactly(4),
        complexity: "O(S+N) where S is the distance of the first element from the nearer end and N how many there are",
        summary: "Returns the elements between two places, both included.",
        syntax: "key start stop",
        handler: range,
        ..ROW
    },
    Spec {
        name: "lset",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        arity: Arity::Exactly(4),
        flags: Flags::WRITE.and(Flags::DENYOOM),
        summary: "Makes the element at a place another one.",
        syntax: "key index element",
        handler: set,
        ..ROW
    },
    Spec {
        name: "ltrim",
        touches: Touches::keys(&[KeyUse::RW_DELETE]),
        arity: Arity::Exactly(4),
        flags: Flags::WRITE,
        complexity: "O(N) for N elements removed",
        summary: "Removes all but the elements between two places, both included.",
        syntax: "key start stop",
        handler: trim,
        ..ROW
    },
    Spec {
        name: "rpop",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE]),
        summary: "Removes and returns elements at the back.",
        handler: pop_back,
        ..POP
    },
    Spec {
        name: "rpush",
        touches: Touches::keys(&[KeyUse::RW_INSERT]),
        summary: "Adds elements at the back; returns the new length.",
        handler: push_back,
        ..PUSH
    },
    Spec {
        name: "rpushx",
        touches: Touches::keys(&[KeyUse::RW_INSERT]),
        since: "2.2.0",
        summary: "Adds elements at the back of a list that is there; returns the new length.",
        handler: push_back_existing,
        ..PUSH
    },
];

/// An element as a bulk string.
#[inline]
pub(crate) fn put_element(reply: &mut Reply<'_>, element: Str<'_>) {
    match element {
        Str::Bytes(bytes) => reply.bulk(bytes),
        Str::Int(number) => reply.bulk_integer(number),
    }
}

/// The elements of a range, those nearest to `end` first.
fn put_range(reply: &mut Reply<'_>, list: &List, end: End, range: Range<usize>) {
    list.walk(end, range, |element| {
        put_element(reply, element);
        ControlFlow::<()>::Continue(())
    });
}

/// The elements at an end of a list, `count` of them, in the order in which they would be taken.
pub(crate) fn put_elements(reply: &mut Reply<'_>, list: &List, end: End, count: usize) {
    let range = if end == End::Front { 0..count } else { list.len() - count..list.len() };
    put_range(reply, list, end, range);
}

/// Removes `count` elements at an end of a list of `of` elements, and tells of it unless that is none.
pub(crate) fn take(call: &mut Call<'_>, key: &[u8], end: End, count: usize, of: usize) {
    let (front, back, name) = if end == End::Front { (count, 0, "lpop") } else { (0, count, "rpop") };
    if 0 < count {
        call.tx.list_trim(key, of, front, back);
        call.notify(Event::List, name, key);
        notify_if_gone(call, key);
    }
}

/// Adds elements at an end and tells of it. Returns how many there are then.
pub(crate) fn give<'e>(
    call: &mut Call<'_>,
    key: &[u8],
    end: End,
    elements: impl ExactSizeIterator<Item = &'e [u8]>,
) -> Result<usize, Error> {
    let count = call.tx.list_push(key, end, elements)?;
    call.notify(Event::List, if end == End::Front { "lpush" } else { "rpush" }, key);
    Ok(count)
}

/// The place that a client's index means among `count` elements: negative ones count from behind, -1 is the last.
/// `None` outside of the list.
fn place(index: i64, count: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(count as i64)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < count)
}

/// How many of `count` elements lie before and behind those from `start` to `stop`; all of them before when nothing
/// is between.
fn outside(start: i64, stop: i64, count: usize) -> (usize, usize) {
    let absolute = |index: i64| if index < 0 { index.saturating_add(count as i64) } else { index };
    let (start, stop) = (absolute(start).max(0), absolute(stop));
    if stop < start || count as i64 <= start {
        return (count, 0);
    }
    (start as usize, count.saturating_sub(stop as usize + 1))
}

fn count(call: &mut Call<'_>) -> Result<Flow, Error> {
    let count = call.tx.list(call.arg(1))?.map_or(0, List::len);
    call.reply.count(count);
    Ok(Flow::Done)
}

fn at(call: &mut Call<'_>) -> Result<Flow, Error> {
    let Some(list) = call.tx.list(call.args.at(1))? else {
        call.reply.null();
        return Ok(Flow::Done);
    };
    let index = parse_i64(call.args.at(2)).ok_or(Error::NotInteger)?;
    let reply = &mut call.reply;
    if place(index, list.len()).and_then(|index| list.get(index, |element| put_element(reply, element))).is_none() {
        reply.null();
    }
    Ok(Flow::Done)
}

fn range(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (from, to) = (call.integer(2)?, call.integer(3)?);
    let (key, start, may_slice) = (call.args.at(1), call.reply.mark(), call.may_slice());
    let Some(list) = call.tx.list(key)? else {
        call.reply.array(0);
        return Ok(Flow::Done);
    };
    let (before, behind) = outside(from, to, list.len());
    let count = list.len() - before - behind;
    call.reply.array(count);
    if may_slice && slices::is_large_part(list.expanded_bytes(), count, list.len()) {
        return Ok(call.begin_slices(key, start, count, Walk::List { next: before }));
    }
    put_range(&mut call.reply, list, End::Front, before..before + count);
    Ok(Flow::Done)
}

fn push(call: &mut Call<'_>, end: End) -> Result<Flow, Error> {
    let elements = call.args.skip(2);
    let count = give(call, call.arg(1), end, elements.iter())?;
    call.reply.count(count);
    Ok(Flow::Done)
}

fn push_front(call: &mut Call<'_>) -> Result<Flow, Error> {
    push(call, End::Front)
}

fn push_back(call: &mut Call<'_>) -> Result<Flow, Error> {
    push(call, End::Back)
}

fn push_existing(call: &mut Call<'_>, end: End) -> Result<Flow, Error> {
    if call.tx.list(call.arg(1))?.is_some() {
        return push(call, end);
    }
    call.reply.integer(0);
    Ok(Flow::Done)
}

fn push_front_existing(call: &mut Call<'_>) -> Result<Flow, Error> {
    push_existing(call, End::Front)
}

fn push_back_existing(call: &mut Call<'_>) -> Result<Flow, Error> {
    push_existing(call, End::Back)
}

fn pop(call: &mut Call<'_>, end: End) -> Result<Flow, Error> {
    if call.arg_count() > 3 {
        let command = String::from_utf8_lossy(call.arg(0)).to_ascii_lowercase();
        return Err(crate::refuse!("ERR wrong number of arguments for '{command}' command"));
    }
    let key = call.arg(1);
    if call.arg_count() == 3 {
        return pop_many(call, key, end);
    }
    let Some((element, of)) = call.tx.list(key)?.and_then(|list| Some((list.end(end)?, list.len()))) else {
        call.reply.null();
        return Ok(Flow::Done);
    };
    put_element(&mut call.reply, element);
    take(call, key, end, 1, of);
    Ok(Flow::Done)
}

fn pop_many(call: &mut Call<'_>, key: &[u8], end: End) -> Result<Flow, Error> {
    const NEGATIVE: Error = Error::text("ERR value is out of range, must be positive");
    let count = call.integer(2).map_err(|_| NEGATIVE)?;
    let count = usize::try_from(count).map_err(|_| NEGATIVE)?;
    let Some(list) = call.tx.list(key)? else {
        call.reply.null_array();
        return Ok(Flow::Done);
    };
    let of = list.len();
    let count = count.min(of);
    call.reply.array(count);
    put_elements(&mut call.reply, list, end, count);
    take(call, key, end, count, of);
    Ok(Flow::Done)
}

fn pop_front(call: &mut Call<'_>) -> Result<Flow, Error> {
    pop(call, End::Front)
}

fn pop_back(call: &mut Call<'_>) -> Result<Flow, Error> {
    pop(call, End::Back)
}

fn set(call: &mut Call<'_>) -> Result<Flow, Error> {
    let key = call.arg(1);
    let count = call.tx.list(key)?.ok_or(Error::NoSuchKey)?.len();
    let index = place(call.integer(2)?, count).ok_or(Error::text("ERR index out of range"))?;
    call.tx.list_set(key, index, call.args.at(3))?;
    call.notify(Event::List, "lset", key);
    call.reply.ok();
    Ok(Flow::Done)
}

fn insert(call: &mut Call<'_>) -> Result<Flow, Error> {
    let behind = match () {
        () if call.is_word(2, "AFTER") => 1,
        () if call.is_word(2, "BEFORE") => 0,
        () => return Err(Error::Syntax),
    };
    let (key, pivot) = (call.arg(1), Str::of(call.arg(3)));
    let found = call.tx.list(key)?.map(|list| {
        let search = Search { end: End::Front, compared_max: usize::MAX, skipped: 0, count_max: 1 };
        (list.len(), matches(list, pivot, &search).first().copied())
    });
    match found {
        None => call.reply.integer(0),
        Some((_, None)) => call.reply.integer(-1),
        Some((count, Some(index))) => {
            call.tx.list_insert(key, index + behind, call.args.at(4))?;
            call.notify(Event::List, "linsert", key);
            call.reply.count(count + 1);
        }
    }
    Ok(Flow::Done)
}

fn trim(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, start, stop) = (call.arg(1), call.integer(2)?, call.integer(3)?);
    if let Some(list) = call.tx.list(key)? {
        let count = list.len();
        let (front, back) = outside(start, stop, count);
        call.tx.list_trim(key, count, front, back);
        call.notify(Event::List, "ltrim", key);
        notify_if_gone(call, key);
    }
    call.reply.ok();
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_and_ranges_mean_what_a_slow_reading_of_them_does() {
        const INDEXES: [i64; 11] = [i64::MIN, -6, -5, -2, -1, 0, 1, 4, 5, 6, i64::MAX];
        for count in 0..6usize {
            let absolute = |index: i64| if index < 0 { index.saturating_add(count as i64) } else { index };
            for start in INDEXES {
                let expected = (0..count).find(|place| *place as i64 == absolute(start));
                assert_eq!(place(start, count), expected);
                for stop in INDEXES {
                    let between = |place: &usize| (absolute(start)..=absolute(stop)).contains(&(*place as i64));
                    let inside: Vec<usize> = (0..count).filter(between).collect();
                    let (before, behind) = outside(start, stop, count);
                    assert_eq!((before..count - behind).collect::<Vec<_>>(), inside, "{start} {stop} of {count}");
                }
            }
        }
    }
}
