//! Sorted sets: a scan over the members, and random ones.
//!
//! Source: behaviour of Valkey 9.1 `t_zset.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::hashes_walk::{Wanted, wanted};
use crate::random::{LISTED_RATIO_MAX, Random, shuffle_first};
use crate::scan::{ScanOptions, Walked, cursor, reply_scanned};
use crate::sorted_sets::READ;
use crate::sorted_sets_range::reply_members;
use crate::spec::{Arity, Flags, Spec};
use foldhash::fast::FixedState;
use keyspace::sorted_set::{Scored, SortedSet};
use std::collections::HashSet;
use wire::reply::Reply;

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "zrandmember",
        arity: Arity::AtLeast(2),
        flags: Flags::READONLY,
        since: "6.2.0",
        complexity: "O(log N) for each member returned, N members in the set",
        summary: "Returns random members of a sorted set: different ones, or with repetition for a negative count.",
        syntax: "key [count [WITHSCORES]]",
        handler: random,
        ..READ
    },
    Spec {
        name: "zscan",
        arity: Arity::AtLeast(3),
        flags: Flags::READONLY,
        since: "2.8.0",
        complexity: "O(COUNT) for each call, O(N) for a walk over N members",
        summary: "Walks over the members of a sorted set with their scores, some at each call.",
        syntax: "key cursor [MATCH pattern] [COUNT count] [NOSCORES]",
        handler: scan,
        ..READ
    },
];

fn scan(call: &mut Call<'_>) -> Result<Flow, Error> {
    let cursor = cursor(call, 2)?;
    let Some(set) = call.tx.sorted_set(call.args.at(1))? else {
        reply_scanned(&mut call.reply, 0, 0, &[]);
        return Ok(Flow::Done);
    };
    let options = ScanOptions::parse(call.args.skip(3), Walked::SortedSet)?;
    let (mut elements, mut count) = (Vec::new(), 0);
    let mut found = Reply::new(&mut elements, call.reply.protocol());
    let next = set.scan(cursor, options.count, |Scored { member, score }| {
        if !options.matches(member) {
            return;
        }
        found.bulk(member);
        count += 1;
        if options.values {
            found.bulk_double(score);
            count += 1;
        }
    });
    reply_scanned(&mut call.reply, next, count, &elements);
    Ok(Flow::Done)
}

fn random(call: &mut Call<'_>) -> Result<Flow, Error> {
    let wanted = wanted(call, "WITHSCORES")?;
    let with_scores = call.arg_count() == 4;
    let mut random = Random::new(call.host.random());
    let Some(set) = call.tx.sorted_set(call.args.at(1))? else {
        match wanted {
            Wanted::One => call.reply.null(),
            Wanted::Different(_) | Wanted::Repeated(_) => call.reply.array(0),
        }
        return Ok(Flow::Done);
    };
    let members: Vec<Scored<'_>> = match wanted {
        Wanted::One => {
            drawn(set, 1, &mut random).for_each(|scored| call.reply.bulk(scored.member));
            return Ok(Flow::Done);
        }
        Wanted::Repeated(count) => drawn(set, count, &mut random).collect(),
        Wanted::Different(count) => different(set, count, &mut random),
    };
    reply_members(&mut call.reply, members.len(), members.into_iter(), with_scores);
    Ok(Flow::Done)
}

/// `count` draws, each member equally likely each time.
fn drawn<'s>(set: &'s SortedSet, count: usize, random: &mut Random) -> impl Iterator<Item = Scored<'s>> {
    (0..count).filter_map(|_| set.at(random.below(set.len())))
}

/// `count` different members, or all when there are not more.
fn different<'s>(set: &'s SortedSet, count: usize, random: &mut Random) -> Vec<Scored<'s>> {
    if set.len() <= count.saturating_mul(LISTED_RATIO_MAX) || set.is_compact() {
        let mut members: Vec<_> = set.iter().collect();
        shuffle_first(&mut members, count, random);
        members.truncate(count);
        return members;
    }
    let mut ranks = HashSet::<usize, FixedState>::default();
    let mut members = Vec::with_capacity(count);
    while members.len() < count {
        // At most a third of the members are taken, so that three draws find two free ones on average.
        let rank = random.below(set.len());
        if ranks.insert(rank) {
            members.extend(set.at(rank));
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_members_are_different_at_every_count_and_size() {
        let mut random = Random::new(7);
        for size in [1usize, 5, 128, 1000] {
            let mut set = SortedSet::new();
            (0..size).for_each(|number| _ = set.set(number.to_string().as_bytes(), number as f64));
            for count in [0, 1, 2, size / 4, size / 3, size, size * 2] {
                let members = different(&set, count, &mut random);
                let names: HashSet<&[u8]> = members.iter().map(|scored| scored.member).collect();
                assert_eq!((members.len(), names.len()), (count.min(size), count.min(size)), "{count} of {size}");
            }
        }
    }
}
