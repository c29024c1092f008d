//! Random members of a set: looked at, or taken out.
//!
//! What is drawn comes from the node's randomness and is named in the effect, so that a replay takes the same members.
//!
//! Source: behaviour of Valkey 9.1 `t_set.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::hashes::notify_if_gone;
use crate::random::{LISTED_RATIO_MAX, Random, shuffle_first};
use crate::refuse;
use crate::sets::READ;
use crate::spec::{Arity, Flags, Spec};
use crate::touches::{KeyUse, Touches};
use keyspace::Event;
use keyspace::set::{Member, Set, SetForm};
use smallvec::SmallVec;
use std::collections::HashSet;

/// Most members of one SRANDMEMBER with repetition: its reply must not grow with a number alone.
const REPEATED_COUNT_MAX: usize = 16 << 20;

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "spop",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE]),
        arity: Arity::AtLeast(2),
        flags: Flags::WRITE.and(Flags::FAST),
        complexity: "O(N) for N members returned",
        summary: "Removes random members of a set and returns them.",
        syntax: "key [count]",
        handler: pop,
        ..READ
    },
    Spec {
        name: "srandmember",
        arity: Arity::AtLeast(2),
        flags: Flags::READONLY,
        complexity: "O(N) for N members returned",
        summary: "Returns random members of a set: different ones, or with repetition for a negative count.",
        syntax: "key [count]",
        handler: random,
        ..READ
    },
];

fn pop(call: &mut Call<'_>) -> Result<Flow, Error> {
    match call.arg_count() {
        2 => pop_one(call),
        3 => pop_many(call),
        _ => Err(Error::Syntax),
    }
}

fn pop_one(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, random) = (call.arg(1), call.host.random());
    let Some(member) = call.tx.set(key)?.and_then(|set| set.sample(Random::new(random).next())) else {
        call.reply.null();
        return Ok(Flow::Done);
    };
    let member = SmallVec::<[u8; 64]>::from_slice(&member);
    call.tx.set_remove(key, std::iter::once(&member[..]))?;
    call.notify(Event::Set, "spop", key);
    notify_if_gone(call, key);
    call.reply.bulk(&member);
    Ok(Flow::Done)
}

fn pop_many(call: &mut Call<'_>) -> Result<Flow, Error> {
    let count = call.integer(2).ok().and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(Error::text("ERR value is out of range, must be positive"))?;
    let (key, mut random) = (call.arg(1), Random::new(call.host.random()));
    let Some(set) = call.tx.set(key)? else {
        call.reply.set(0);
        return Ok(Flow::Done);
    };
    let takes_all = set.len() <= count;
    let names = Names::of(&different(set, count, &mut random));
    if !takes_all {
        call.ensure_room(names.bytes.len() + names.ends.len() * base::codec::VARINT_BYTES_MAX)?;
    }
    call.reply.set(names.iter().len());
    names.iter().for_each(|name| call.reply.bulk(name));
    if takes_all {
        call.tx.delete(key);
    } else {
        call.tx.set_remove(key, names.iter())?;
    }
    if 0 < names.iter().len() {
        call.notify(Event::Set, "spop", key);
        notify_if_gone(call, key);
    }
    Ok(Flow::Done)
}

/// Names of members that are about to leave their set, in one piece of memory.
struct Names {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Names {
    fn of(members: &[Member<'_>]) -> Names {
        let mut names = Names { bytes: Vec::new(), ends: Vec::with_capacity(members.len()) };
        for member in members {
            names.bytes.extend_from_slice(member);
            names.ends.push(names.bytes.len());
        }
        names
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.ends.len()).map(|index| {
            let start = if index == 0 { 0 } else { self.ends[index - 1] };
            &self.bytes[start..self.ends[index]]
        })
    }
}

fn random(call: &mut Call<'_>) -> Result<Flow, Error> {
    let count = match call.arg_count() {
        2 => None,
        3 => Some(call.integer(2)?),
        _ => return Err(Error::Syntax),
    };
    if count == Some(i64::MIN) {
        return Err(refuse!("ERR value is out of range, value must between {} and {}", -i64::MAX, i64::MAX));
    }
    let mut random = Random::new(call.host.random());
    let set = call.tx.set(call.args.at(1))?;
    let Some(count) = count else {
        match set.and_then(|set| set.sample(random.next())) {
            Some(member) => call.reply.bulk(&member),
            None => call.reply.null(),
        }
        return Ok(Flow::Done);
    };
    let Some(set) = set else {
        call.reply.array(0);
        return Ok(Flow::Done);
    };
    if 0 <= count {
        let members = different(set, count.unsigned_abs() as usize, &mut random);
        call.reply.array(members.len());
        for member in &members {
            call.reply.bulk(member);
        }
        return Ok(Flow::Done);
    }
    let count = usize::try_from(count.unsigned_abs()).ok().filter(|count| *count <= REPEATED_COUNT_MAX);
    let count = count.ok_or(Error::OutOfRange)?;
    call.reply.array(count);
    for _ in 0..count {
        call.reply.bulk(&set.sample(random.next()).expect("a set that is there has members"));
    }
    Ok(Flow::Done)
}

/// `count` different members, or all when there are not more, in no order.
fn different<'s>(set: &'s Set, count: usize, random: &mut Random) -> Vec<Member<'s>> {
    if set.len() <= count.saturating_mul(LISTED_RATIO_MAX) || set.form() != SetForm::Large {
        let mut members: Vec<_> = set.iter().collect();
        shuffle_first(&mut members, count, random);
        members.truncate(count);
        return members;
    }
    let mut names = HashSet::<SmallVec<[u8; 24]>, foldhash::fast::FixedState>::default();
    let mut members = Vec::with_capacity(count);
    while members.len() < count {
        // At most a third of the members are taken, so that three draws find two free ones on average.
        let drawn = set.sample(random.next());
        members.extend(drawn.filter(|member| names.insert(SmallVec::from_slice(member))));
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_of(count: usize) -> Set {
        let mut set = Set::new();
        (0..count).for_each(|number| _ = set.add(format!("member:{number}").as_bytes()));
        set
    }

    #[test]
    fn different_members_are_different_at_every_count_and_size() {
        let mut random = Random::new(7);
        for size in [1, 5, 128, 1000] {
            let set = set_of(size);
            for count in [0, 1, 2, size / 4, size / 3, size, size * 2] {
                let members = different(&set, count, &mut random);
                let names: HashSet<&[u8]> = members.iter().map(|member| &**member).collect();
                assert_eq!((members.len(), names.len()), (count.min(size), count.min(size)), "{count} of {size}");
                assert!(names.iter().all(|name| set.contains(name)));
            }
        }
    }

    #[test]
    fn names_stay_apart_when_copied() {
        let members = [Member::Bytes(b"a"), Member::Bytes(b""), Member::Bytes(b"bc")];
        assert_eq!(Names::of(&members).iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"bc"]);
        assert_eq!(Names::of(&[]).iter().len(), 0);
    }
}
