//! What is made of several sets: intersections, unions and differences, returned, counted or stored.
//!
//! A destination is written as one image: what was there before, and of which type, does not matter.
//!
//! Deliberately not here: sets one by one (`sets`).
//!
//! Source: behaviour of Valkey 9.1 `t_set.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::room::CHANGED_BYTES_MAX;
use crate::sets::READ;
use crate::spec::{Arity, Flags, Keys, Spec};
use crate::touches::{KeyUse, Touches};
use base::codec::{put_bytes, put_varint};
use keyspace::set::{Member, Set};
use keyspace::{Event, Kind};
use std::ops::ControlFlow;

const MAKE: Spec = Spec {
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY,
    keys: Keys::ALL,
    complexity: "O(N) for N members in all sets",
    syntax: "key [key ...]",
    ..READ
};

const STORE: Spec = Spec {
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::DENYOOM),
    syntax: "destination key [key ...]",
    ..MAKE
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "sdiff",
        summary: "Returns the members of the first set that no other has.",
        handler: |call| reply_made(call, each_of_difference),
        ..MAKE
    },
    Spec {
        name: "sdiffstore",
        touches: Touches::keys(&[KeyUse::OW_UPDATE, KeyUse::RO_ACCESS]),
        summary: "Stores the members of the first set that no other has.",
        handler: |call| store_made(call, each_of_difference, "sdiffstore"),
        ..STORE
    },
    Spec {
        name: "sinter",
        complexity: "O(N*M) for N members in the smallest of M sets",
        summary: "Returns the members that all sets have.",
        handler: |call| reply_made(call, each_of_intersection),
        ..MAKE
    },
    Spec {
        name: "sintercard",
        arity: Arity::AtLeast(3),
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
        keys: Keys::Counted { count_at: 1, also: 0, step: 1 },
        since: "7.0.0",
        complexity: "O(N*M) for N members in the smallest of M sets",
        summary: "Returns how many members all sets have, counting no further than a limit.",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        handler: count_intersection,
        ..MAKE
    },
    Spec {
        name: "sinterstore",
        touches: Touches::keys(&[KeyUse::OW_UPDATE, KeyUse::RO_ACCESS]),
        complexity: "O(N*M) for N members in the smallest of M sets",
        summary: "Stores the members that all sets have.",
        handler: |call| store_made(call, each_of_intersection, "sinterstore"),
        ..STORE
    },
    Spec {
        name: "sunion",
        summary: "Returns the members that any of the sets has.",
        handler: |call| reply_made(call, each_of_union),
        ..MAKE
    },
    Spec {
        name: "sunionstore",
        touches: Touches::keys(&[KeyUse::OW_UPDATE, KeyUse::RO_ACCESS]),
        summary: "Stores the members that any of the sets has.",
        handler: |call| store_made(call, each_of_union, "sunionstore"),
        ..STORE
    },
];

/// What is called with each member of a result, once, until it breaks.
type Each<'e> = dyn FnMut(&[u8]) -> ControlFlow<()> + 'e;

/// One of the three ways to make a set of sets.
type Make = fn(&[Option<&Set>], &mut Each<'_>) -> ControlFlow<()>;

/// Calls `each` with the members that all sets have. Goes through the smallest.
fn each_of_intersection(sets: &[Option<&Set>], each: &mut Each<'_>) -> ControlFlow<()> {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<&Set>>>() else {
        return ControlFlow::Continue(()); // An absent key is an empty set.
    };
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return ControlFlow::Continue(()) };
    let mut common = smallest.iter().filter(|member| others.iter().all(|set| set.contains(member)));
    common.try_for_each(|member| each(&member))
}

/// Calls `each` with the members that any set has.
fn each_of_union(sets: &[Option<&Set>], each: &mut Each<'_>) -> ControlFlow<()> {
    let mut union = Set::new();
    for set in sets.iter().flatten() {
        set.iter().for_each(|member| _ = union.add(&member));
    }
    union.iter().try_for_each(|member| each(&member))
}

/// Calls `each` with the members that only the first set has: looks each of them up in the others, or takes the others'
/// members out of a copy, whichever is less work.
fn each_of_difference(sets: &[Option<&Set>], each: &mut Each<'_>) -> ControlFlow<()> {
    let Some((Some(first), others)) = sets.split_first() else { return ControlFlow::Continue(()) };
    let mut others: Vec<&Set> = others.iter().copied().flatten().collect();
    let look_ups_count = first.len().saturating_mul(others.len());
    let copied_count = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
    if look_ups_count / 2 <= copied_count {
        others.sort_by_key(|set| std::cmp::Reverse(set.len())); // The larger the likelier to have a member.
        let mut left = first.iter().filter(|member| !others.iter().any(|set| set.contains(member)));
        return left.try_for_each(|member| each(&member));
    }
    let mut left = Set::new();
    first.iter().for_each(|member| _ = left.add(&member));
    for member in others.into_iter().flat_map(Set::iter) {
        left.remove(&member);
    }
    left.iter().try_for_each(|member: Member<'_>| each(&member))
}

/// Makes sure that the keys hold sets, if anything, and that these are in memory: all that are missing are asked for at
/// once.
fn look_up<'k>(call: &mut Call<'_>, keys: impl Iterator<Item = &'k [u8]>) -> Result<(), Error> {
    let mut spilled = Ok(());
    for key in keys {
        match call.tx.set(key).map_err(Error::from) {
            Ok(_) => {}
            Err(Error::Spilled) => spilled = Err(Error::Spilled),
            Err(error) => return Err(error),
        }
    }
    spilled
}

fn reply_made(call: &mut Call<'_>, make: Make) -> Result<Flow, Error> {
    let keys = call.args.skip(1).iter();
    look_up(call, keys.clone())?;
    let Call { tx, reply, .. } = call;
    let (mark, mut count) = (reply.mark(), 0);
    let _ = make(&tx.sets(keys), &mut |member| {
        reply.bulk(member);
        count += 1;
        ControlFlow::Continue(())
    });
    reply.set_since(mark, count);
    Ok(Flow::Done)
}

fn store_made(call: &mut Call<'_>, make: Make, event: &'static str) -> Result<Flow, Error> {
    let (target, keys) = (call.arg(1), call.args.skip(2).iter());
    look_up(call, keys.clone())?;
    let (mut members, mut count) = (Vec::new(), 0);
    let made = make(&call.tx.sets(keys), &mut |member| {
        put_bytes(&mut members, member);
        count += 1;
        if target.len() + members.len() < CHANGED_BYTES_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    if made.is_break() {
        return Err(Error::text("ERR the result is too large to be stored"));
    }
    call.ensure_room(target.len() + members.len())?;
    if count == 0 {
        if call.tx.delete(target) {
            call.notify(Event::Generic, "del", target);
        }
    } else {
        let mut image = Vec::with_capacity(members.len() + base::codec::VARINT_BYTES_MAX);
        put_varint(&mut image, count);
        image.extend_from_slice(&members);
        call.tx.put_image(target, Kind::Set, &image, None);
        call.notify(Event::Set, event, target);
    }
    call.reply.integer(count as i64);
    Ok(Flow::Done)
}

/// The options of SINTERCARD from argument `index` on: what to stop at, 0 for never.
fn limit(call: &Call<'_>, index: usize) -> Result<usize, Error> {
    let mut limit = 0;
    for option in (index..call.arg_count()).step_by(2) {
        if !call.is_word(option, "LIMIT") || option + 1 == call.arg_count() {
            return Err(Error::Syntax);
        }
        let number = call.integer(option + 1).ok().and_then(|number| usize::try_from(number).ok());
        limit = number.ok_or(Error::text("ERR LIMIT can't be negative"))?;
    }
    Ok(limit)
}

fn count_intersection(call: &mut Call<'_>) -> Result<Flow, Error> {
    let key_count = base::number::parse_i64(call.arg(1)).and_then(|count| usize::try_from(count).ok());
    let key_count = key_count.filter(|count| 0 < *count).ok_or(Error::text("ERR numkeys should be greater than 0"))?;
    if call.arg_count() - 2 < key_count {
        return Err(Error::text("ERR Number of keys can't be greater than number of args"));
    }
    let limit = limit(call, 2 + key_count)?;
    let keys = call.args.skip(2).iter().take(key_count);
    look_up(call, keys.clone())?;
    let mut count = 0;
    let _ = each_of_intersection(&call.tx.sets(keys), &mut |_| {
        count += 1;
        if count == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    call.reply.count(count);
    Ok(Flow::Done)
}
