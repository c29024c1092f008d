//! Sorted sets: scores and ranks of members by name.
//!
//! ZADD and its kin decide for every member before anything changes, and journal the scores that came of it: no replica
//! needs to add. A score that stays as it was is no write.
//!
//! Deliberately not here: ranges (`sorted_sets_range`), taking members off an end (`sorted_sets_pop`), several sets
//! together (`sorted_sets_combine`), scans and random members (`sorted_sets_walk`).
//!
//! Source: behaviour of Valkey 9.1 `t_zset.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::hashes::notify_if_gone;
use crate::refuse;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use base::number::parse_f64;
use foldhash::fast::FixedState;
use keyspace::Event;
use keyspace::sorted_set::SortedSet;
use smallvec::SmallVec;
use std::collections::HashMap;

pub(crate) const READ: Spec = Spec {
    name: "",
    arity: Arity::Exactly(3),
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(1)",
    summary: "",
    syntax: "key member",
    handler: score,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

const WRITE: Spec = Spec { flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST), ..READ };
const RANK: Spec = Spec {
    arity: Arity::AtLeast(3),
    since: "2.0.0",
    complexity: "O(log N) for N members",
    syntax: "key member [WITHSCORE]",
    ..READ
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "zadd",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        arity: Arity::AtLeast(4),
        complexity: "O(log N) for each member, N members in the set",
        summary: "Sets scores of members of a sorted set and returns how many members are new.",
        syntax: "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        handler: add,
        ..WRITE
    },
    Spec {
        name: "zcard",
        touches: Touches::keys(&[KeyUse::RO]),
        arity: Arity::Exactly(2),
        summary: "Returns the number of members of a sorted set.",
        syntax: "key",
        handler: count,
        ..READ
    },
    Spec {
        name: "zincrby",
        arity: Arity::Exactly(4),
        complexity: "O(log N) for N members",
        summary: "Adds to the score of a member of a sorted set; an absent member counts as 0.",
        syntax: "key increment member",
        handler: increment,
        ..WRITE
    },
    Spec {
        name: "zmscore",
        arity: Arity::AtLeast(3),
        since: "6.2.0",
        complexity: "O(N) for N members asked for",
        summary: "Returns the scores of members of a sorted set.",
        syntax: "key member [member ...]",
        handler: score_many,
        ..READ
    },
    Spec {
        name: "zrank",
        summary: "Returns how many members of a sorted set come before one, lowest score first.",
        handler: |call| rank(call, |_, rank| rank),
        ..RANK
    },
    Spec {
        name: "zrem",
        touches: Touches::keys(&[KeyUse::RW_DELETE]),
        arity: Arity::AtLeast(3),
        flags: Flags::WRITE.and(Flags::FAST),
        complexity: "O(log N) for each member, N members in the set",
        summary: "Removes members of a sorted set, and the key with the last one; returns how many there were.",
        syntax: "key member [member ...]",
        handler: remove,
        ..WRITE
    },
    Spec {
        name: "zrevrank",
        summary: "Returns how many members of a sorted set come before one, highest score first.",
        handler: |call| rank(call, |set, rank| set.len() - 1 - rank),
        ..RANK
    },
    Spec { name: "zscore", summary: "Returns the score of a member of a sorted set.", handler: score, ..READ },
];

/// The words in front of ZADD's pairs.
#[derive(Clone, Copy, Default)]
pub(crate) struct AddOptions {
    /// NX.
    pub(crate) if_absent: bool,
    /// XX.
    pub(crate) if_present: bool,
    if_greater: bool,
    if_less: bool,
    /// CH.
    pub(crate) counts_changed: bool,
    increments: bool,
}

impl AddOptions {
    /// Takes a word, unless it is none of these.
    fn take(&mut self, word: &[u8]) -> bool {
        // Nearly every call comes without options, and then the first word is a number.
        if word.len() < 2 || 4 < word.len() || word[0].is_ascii_digit() {
            return false;
        }
        let option = match &word.to_ascii_uppercase()[..] {
            b"NX" => &mut self.if_absent,
            b"XX" => &mut self.if_present,
            b"GT" => &mut self.if_greater,
            b"LT" => &mut self.if_less,
            b"CH" => &mut self.counts_changed,
            b"INCR" => &mut self.increments,
            _ => return false,
        };
        *option = true;
        true
    }

    fn ensure_compatible(self, pair_count: usize) -> Result<(), Error> {
        let AddOptions { if_absent, if_present, if_greater, if_less, increments, .. } = self;
        if if_absent && if_present {
            return Err(Error::text("ERR XX and NX options at the same time are not compatible"));
        }
        if (if_absent && (if_greater || if_less)) || (if_greater && if_less) {
            return Err(Error::text("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if increments && 1 < pair_count {
            return Err(Error::text("ERR INCR option supports a single increment-element pair"));
        }
        Ok(())
    }

    /// The score a member is to have; `None` when the options leave it alone.
    fn decide(self, current: Option<f64>, score: f64) -> Result<Option<f64>, Error> {
        let Some(current) = current else { return Ok((!self.if_present).then_some(score)) };
        if self.if_absent {
            return Ok(None);
        }
        let score = if self.increments { current + score } else { score };
        if score.is_nan() {
            return Err(Error::text("ERR resulting score is not a number (NaN)"));
        }
        let is_wanted = (!self.if_greater || current < score) && (!self.if_less || score < current);
        Ok(is_wanted.then_some(score))
    }
}

fn add(call: &mut Call<'_>) -> Result<Flow, Error> {
    let mut options = AddOptions::default();
    let mut start = 2;
    while start < call.arg_count() && options.take(call.arg(start)) {
        start += 1;
    }
    add_pairs(call, start, options)
}

fn increment(call: &mut Call<'_>) -> Result<Flow, Error> {
    add_pairs(call, 2, AddOptions { increments: true, ..AddOptions::default() })
}

/// Runs ZADD on the pairs of scores and members from argument `start` on.
fn add_pairs(call: &mut Call<'_>, start: usize, options: AddOptions) -> Result<Flow, Error> {
    let args = call.args.skip(start);
    let pair_count = args.count() / 2;
    if args.count() % 2 == 1 || pair_count == 0 {
        return Err(Error::Syntax);
    }
    options.ensure_compatible(pair_count)?;
    let mut pairs = SmallVec::<[(&[u8], f64); 4]>::new();
    for pair in 0..pair_count {
        pairs.push((args.at(2 * pair + 1), parse_f64(args.at(2 * pair)).ok_or(Error::NotFloat)?));
    }
    add_scored(call, &pairs, options)
}

/// Gives members their scores as the options say, and replies as ZADD does.
pub(crate) fn add_scored(call: &mut Call<'_>, pairs: &[(&[u8], f64)], options: AddOptions) -> Result<Flow, Error> {
    let key = call.arg(1);
    let mut planned = Planned { set: call.tx.sorted_set(key)?, scores: HashMap::default() };
    let mut changes = SmallVec::<[(&[u8], f64); 4]>::new();
    let (mut added_count, mut changed_count, mut last) = (0, 0, None);
    for (member, score) in pairs {
        let current = planned.score(member);
        last = options.decide(current, *score)?;
        let Some(score) = last.filter(|score| current != Some(*score)) else { continue };
        changes.push((member, score));
        if 1 < pairs.len() {
            planned.scores.insert(member, score);
        }
        added_count += i64::from(current.is_none());
        changed_count += 1;
    }
    if !changes.is_empty() {
        call.tx.sorted_set_put(key, changes.iter().copied())?;
        call.notify(Event::SortedSet, if options.increments { "zincr" } else { "zadd" }, key);
    }
    match last {
        Some(score) if options.increments => call.reply.double(score),
        None if options.increments => call.reply.null(),
        _ => call.reply.integer(if options.counts_changed { changed_count } else { added_count }),
    }
    Ok(Flow::Done)
}

/// A set as it will be once what is planned is done: a member may be named twice in one command.
struct Planned<'s> {
    set: Option<&'s SortedSet>,
    scores: HashMap<&'s [u8], f64, FixedState>,
}

impl Planned<'_> {
    fn score(&self, member: &[u8]) -> Option<f64> {
        let planned = if self.scores.is_empty() { None } else { self.scores.get(member).copied() };
        planned.or_else(|| self.set?.score(member))
    }
}

fn remove(call: &mut Call<'_>) -> Result<Flow, Error> {
    let key = call.arg(1);
    let Some(set) = call.tx.sorted_set(key)? else {
        call.reply.integer(0);
        return Ok(Flow::Done);
    };
    let present = call.args.skip(2).iter().filter(|member| set.score(member).is_some());
    let present: SmallVec<[&[u8]; 8]> = present.collect();
    let removed_count = call.tx.sorted_set_remove(key, present.iter().copied())?;
    if removed_count > 0 {
        call.notify(Event::SortedSet, "zrem", key);
        notify_if_gone(call, key);
    }
    call.reply.integer(removed_count as i64);
    Ok(Flow::Done)
}

fn count(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.count(call.tx.sorted_set(call.args.at(1))?.map_or(0, SortedSet::len));
    Ok(Flow::Done)
}

fn score(call: &mut Call<'_>) -> Result<Flow, Error> {
    match call.tx.sorted_set(call.args.at(1))?.and_then(|set| set.score(call.args.at(2))) {
        Some(score) => call.reply.double(score),
        None => call.reply.null(),
    }
    Ok(Flow::Done)
}

fn score_many(call: &mut Call<'_>) -> Result<Flow, Error> {
    let set = call.tx.sorted_set(call.args.at(1))?;
    let members = call.args.skip(2);
    call.reply.array(members.count());
    for member in members.iter() {
        match set.and_then(|set| set.score(member)) {
            Some(score) => call.reply.double(score),
            None => call.reply.null(),
        }
    }
    Ok(Flow::Done)
}

fn rank(call: &mut Call<'_>, counted: fn(&SortedSet, usize) -> usize) -> Result<Flow, Error> {
    let with_score = match call.arg_count() {
        3 => false,
        4 if call.is_word(3, "WITHSCORE") => true,
        4 => return Err(Error::Syntax),
        _ => {
            let command = String::from_utf8_lossy(call.arg(0)).to_ascii_lowercase();
            return Err(refuse!("ERR wrong number of arguments for '{command}' command"));
        }
    };
    let member = call.arg(2);
    let found = call.tx.sorted_set(call.args.at(1))?.and_then(|set| {
        let rank = set.rank(member)?;
        Some((counted(set, rank), set.at(rank)?.score))
    });
    match found {
        Some((rank, score)) if with_score => {
            call.reply.array(2);
            call.reply.count(rank);
            call.reply.double(score);
        }
        Some((rank, _)) => call.reply.count(rank),
        None if with_score => call.reply.null_array(),
        None => call.reply.null(),
    }
    Ok(Flow::Done)
}
