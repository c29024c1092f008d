//! Sets: reading and changing members by name, and walking over them.
//!
//! Deliberately not here: what is made of several sets (`sets_algebra`) and random members (`sets_random`).
//!
//! Source: behaviour of Valkey 9.1 `t_set.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::hashes::notify_if_gone;
use crate::scan::{ScanOptions, Walked, cursor, reply_scanned};
use crate::slices::{self, Walk};
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use keyspace::Event;
use keyspace::set::Set;
use smallvec::SmallVec;
use wire::reply::Reply;

/// What reads one set.
pub(crate) const READ: Spec = Spec {
    name: "",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "",
    syntax: "key",
    handler: count,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

const WRITE: Spec = Spec {
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::FAST),
    complexity: "O(N) for N members given",
    syntax: "key member [member ...]",
    ..READ
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "sadd",
        touches: Touches::keys(&[KeyUse::RW_INSERT]),
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        summary: "Adds members to a set and returns how many of them are new.",
        handler: add,
        ..WRITE
    },
    Spec {
        name: "scard",
        touches: Touches::keys(&[KeyUse::RO]),
        summary: "Returns the number of members of a set.",
        handler: count,
        ..READ
    },
    Spec {
        name: "sismember",
        touches: Touches::keys(&[KeyUse::RO]),
        arity: Arity::Exactly(3),
        summary: "Tells whether a set has a member.",
        syntax: "key member",
        handler: is_member,
        ..READ
    },
    Spec {
        name: "smembers",
        flags: Flags::READONLY,
        complexity: "O(N) for N members in the set",
        summary: "Returns all members of a set.",
        handler: members,
        ..READ
    },
    Spec {
        name: "smismember",
        arity: Arity::AtLeast(3),
        since: "6.2.0",
        complexity: "O(N) for N members given",
        summary: "Tells of several members whether a set has them.",
        syntax: "key member [member ...]",
        handler: are_members,
        ..READ
    },
    Spec {
        name: "smove",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE, KeyUse::RW_INSERT]),
        arity: Arity::Exactly(4),
        keys: Keys::TWO,
        complexity: "O(1)",
        summary: "Moves a member from one set to another.",
        syntax: "source destination member",
        handler: move_member,
        ..WRITE
    },
    Spec {
        name: "srem",
        touches: Touches::keys(&[KeyUse::RW_DELETE]),
        summary: "Removes members of a set, and the key with the last one; returns how many there were.",
        handler: remove,
        ..WRITE
    },
    Spec {
        name: "sscan",
        arity: Arity::AtLeast(3),
        flags: Flags::READONLY,
        since: "2.8.0",
        complexity: "O(COUNT) for each call, O(N) for a walk over N members",
        summary: "Walks over the members of a set, some at each call.",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        handler: scan,
        ..READ
    },
];

fn add(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, members) = (call.arg(1), call.args.skip(2));
    let set = call.tx.set(key)?;
    let is_new = |member: &&[u8]| set.is_none_or(|set| !set.contains(member));
    let new: SmallVec<[&[u8]; 8]> = members.iter().filter(is_new).collect();
    let mut added_count = 0;
    if !new.is_empty() {
        added_count = call.tx.set_add(key, new.into_iter())?;
        call.notify(Event::Set, "sadd", key);
    }
    call.reply.integer(added_count as i64);
    Ok(Flow::Done)
}

fn remove(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, members) = (call.arg(1), call.args.skip(2));
    let set = call.tx.set(key)?;
    let is_there = |member: &&[u8]| set.is_some_and(|set| set.contains(member));
    let there: SmallVec<[&[u8]; 8]> = members.iter().filter(is_there).collect();
    let removed_count = call.tx.set_remove(key, there.into_iter())?;
    if removed_count > 0 {
        call.notify(Event::Set, "srem", key);
        notify_if_gone(call, key);
    }
    call.reply.integer(removed_count as i64);
    Ok(Flow::Done)
}

fn count(call: &mut Call<'_>) -> Result<Flow, Error> {
    let count = call.tx.set(call.args.at(1))?.map_or(0, Set::len);
    call.reply.count(count);
    Ok(Flow::Done)
}

fn is_member(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, member) = (call.arg(1), call.arg(2));
    let is_there = call.tx.set(key)?.is_some_and(|set| set.contains(member));
    call.reply.integer(i64::from(is_there));
    Ok(Flow::Done)
}

fn are_members(call: &mut Call<'_>) -> Result<Flow, Error> {
    let members = call.args.skip(2);
    let set = call.tx.set(call.args.at(1))?;
    call.reply.array(members.count());
    for member in members.iter() {
        call.reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(Flow::Done)
}

fn members(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, start, may_slice) = (call.args.at(1), call.reply.mark(), call.may_slice());
    let Some(set) = call.tx.set(key)? else {
        call.reply.set(0);
        return Ok(Flow::Done);
    };
    let count = set.len();
    call.reply.set(count);
    if may_slice && slices::is_large(set.bytes()) {
        return Ok(call.begin_slices(key, start, count, Walk::Set { cursor: 0 }));
    }
    set.scan(0, count, |member| call.reply.bulk(&member));
    Ok(Flow::Done)
}

fn move_member(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (source, target, member) = (call.arg(1), call.arg(2), call.arg(3));
    let Some(set) = call.tx.set(source)? else {
        call.reply.integer(0);
        return Ok(Flow::Done);
    };
    let is_there = set.contains(member);
    let is_at_target = call.tx.set(target)?.is_some_and(|set| set.contains(member));
    if is_there && source != target {
        call.tx.set_remove(source, std::iter::once(member))?;
        call.notify(Event::Set, "srem", source);
        notify_if_gone(call, source);
        if !is_at_target {
            call.tx.set_add(target, std::iter::once(member))?;
            call.notify(Event::Set, "sadd", target);
        }
    }
    call.reply.integer(i64::from(is_there));
    Ok(Flow::Done)
}

fn scan(call: &mut Call<'_>) -> Result<Flow, Error> {
    let cursor = cursor(call, 2)?;
    let Some(set) = call.tx.set(call.args.at(1))? else {
        reply_scanned(&mut call.reply, 0, 0, &[]);
        return Ok(Flow::Done);
    };
    let options = ScanOptions::parse(call.args.skip(3), Walked::Set)?;
    let (mut elements, mut count) = (Vec::new(), 0);
    let mut found = Reply::new(&mut elements, call.reply.protocol());
    let next = set.scan(cursor, options.count, |member| {
        if options.matches(&member) {
            found.bulk(&member);
            count += 1;
        }
    });
    reply_scanned(&mut call.reply, next, count, &elements);
    Ok(Flow::Done)
}
