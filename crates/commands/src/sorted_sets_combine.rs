//! Sorted sets: union, intersection and difference of several.
//!
//! The result is worked out in memory, put in order, and replied with or stored whole. Intersections start from the
//! smallest set. Plain sets are taken as well: their members score 1.
//!
//! Source: behaviour of Valkey 9.1 `t_zset.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::refuse;
use crate::sorted_sets::READ;
use crate::sorted_sets_range::{reply_members, store};
use crate::spec::{Arity, Flags, Keys, Spec};
use crate::touches::{KeyUse, Touches};
use base::number::{parse_f64, parse_i64};
use foldhash::fast::FixedState;
use keyspace::entry::Stored;
use keyspace::set::{Member, Set};
use keyspace::sorted_set::{Scored, SortedSet, encode_image};
use keyspace::{Stop, Value};
use std::collections::HashMap;

const COMBINE: Spec = Spec {
    arity: Arity::AtLeast(3),
    flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
    keys: Keys::Counted { count_at: 1, also: 0, step: 1 },
    since: "6.2.0",
    ..READ
};
const STORE: Spec = Spec {
    arity: Arity::AtLeast(4),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
    keys: Keys::Counted { count_at: 2, also: 1, step: 1 },
    since: "2.0.0",
    ..COMBINE
};

const UNION_COST: &str = "O(N + M log M) for N members in all sets and M in the result";
const INTER_COST: &str = "O(N K + M log M) for N members in the smallest of K sets and M in the result";
const DIFF_COST: &str = "O(N K + M log M) for N members in the first of K sets and M in the result";

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "zdiff",
        complexity: DIFF_COST,
        summary: "Returns the members of the first sorted set that are in none of the others.",
        syntax: "numkeys key [key ...] [WITHSCORES]",
        handler: |call| reply_with(call, Operation::Diff),
        ..COMBINE
    },
    Spec {
        name: "zdiffstore",
        touches: Touches::keys(&[KeyUse::OW_UPDATE, KeyUse::RO_ACCESS]),
        since: "6.2.0",
        complexity: DIFF_COST,
        summary: "Stores the members of the first sorted set that are in none of the others; returns how many.",
        syntax: "destination numkeys key [key ...]",
        handler: |call| store_result(call, Operation::Diff, "zdiffstore"),
        ..STORE
    },
    Spec {
        name: "zinter",
        complexity: INTER_COST,
        summary: "Returns the members that are in all of several sorted sets, with scores from all.",
        syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        handler: |call| reply_with(call, Operation::Inter),
        ..COMBINE
    },
    Spec {
        name: "zintercard",
        since: "7.0.0",
        complexity: "O(N K) for N members in the smallest of K sets",
        summary: "Returns how many members are in all of several sorted sets, or the limit when it is reached.",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        handler: count_inter,
        ..COMBINE
    },
    Spec {
        name: "zinterstore",
        touches: Touches::keys(&[KeyUse::OW_UPDATE, KeyUse::RO_ACCESS]),
        complexity: INTER_COST,
        summary: "Stores the members that are in all of several sorted sets, with scores from all; returns how many.",
        syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        handler: |call| store_result(call, Operation::Inter, "zinterstore"),
        ..STORE
    },
    Spec {
        name: "zunion",
        complexity: UNION_COST,
        summary: "Returns the members that are in any of several sorted sets, with scores from all.",
        syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        handler: |call| reply_with(call, Operation::Union),
        ..COMBINE
    },
    Spec {
        name: "zunionstore",
        touches: Touches::keys(&[KeyUse::OW_UPDATE, KeyUse::RO_ACCESS]),
        complexity: UNION_COST,
        summary: "Stores the members that are in any of several sorted sets, with scores from all; returns how many.",
        syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        handler: |call| store_result(call, Operation::Union, "zunionstore"),
        ..STORE
    },
];

/// What is made of several sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// What becomes of the scores that a member has in several sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

/// A score, or 0 for what is not a number: infinity times 0, or infinities that cancel out.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

impl Aggregate {
    fn parse(word: &[u8]) -> Option<Aggregate> {
        match &word.to_ascii_uppercase()[..] {
            b"SUM" => Some(Aggregate::Sum),
            b"MIN" => Some(Aggregate::Min),
            b"MAX" => Some(Aggregate::Max),
            _ => None,
        }
    }

    /// `so_far` with `score` added in, which may be no number.
    fn of(self, so_far: f64, score: f64) -> f64 {
        match self {
            Aggregate::Sum => number(so_far + score),
            Aggregate::Min if score < so_far => score,
            Aggregate::Max if so_far < score => score,
            Aggregate::Min | Aggregate::Max => so_far,
        }
    }
}

/// What stands at a key.
enum Input<'s> {
    Absent,
    Sorted(&'s SortedSet),
    /// A plain set, whose members score 1; they are listed where they are walked over.
    Plain(&'s Set, Vec<Member<'s>>),
}

struct Source<'s> {
    input: Input<'s>,
    weight: f64,
}

impl<'s> Source<'s> {
    fn len(&self) -> usize {
        match &self.input {
            Input::Absent => 0,
            Input::Sorted(set) => set.len(),
            Input::Plain(set, _) => set.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.input {
            Input::Absent => None,
            Input::Sorted(set) => set.score(member),
            Input::Plain(set, _) => set.contains(member).then_some(1.0),
        }
    }

    /// Makes ready for a walk.
    fn list(&mut self) {
        if let Input::Plain(set, listed) = &mut self.input {
            *listed = set.iter().collect();
        }
    }

    /// The members, once they are listed.
    fn members(&self) -> impl Iterator<Item = Scored<'_>> {
        let (sorted, plain): (Option<&SortedSet>, &[Member<'s>]) = match &self.input {
            Input::Absent => (None, &[]),
            Input::Sorted(set) => (Some(*set), &[]),
            Input::Plain(_, listed) => (None, listed),
        };
        let plain = plain.iter().map(|member| Scored { member, score: 1.0 });
        sorted.into_iter().flat_map(SortedSet::iter).chain(plain)
    }
}

/// Arguments of a command over several sets.
struct Wanted {
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Members to count at most; 0 for no limit.
    limit: usize,
}

/// What options a command takes besides those of its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Reply,
    Store,
    Count,
}

/// Where the keys are: behind the number of them at `count_at`.
fn keys(call: &Call<'_>, count_at: usize) -> Result<std::ops::Range<usize>, Error> {
    let count = call.integer(count_at)?;
    if count < 1 {
        let command = String::from_utf8_lossy(call.arg(0)).to_ascii_lowercase();
        return Err(refuse!("ERR at least 1 input key is needed for '{command}' command"));
    }
    let start = count_at + 1;
    let count = usize::try_from(count).ok().filter(|count| *count <= call.arg_count() - start);
    Ok(start..start + count.ok_or(Error::Syntax)?)
}

/// Gets all sets into memory, and refuses keys of other types.
fn ensure_sources(call: &mut Call<'_>, keys: std::ops::Range<usize>) -> Result<(), Error> {
    for index in keys {
        match call.tx.sorted_set(call.args.at(index)) {
            Err(Stop::WrongType) => _ = call.tx.set(call.args.at(index))?,
            other => _ = other?,
        }
    }
    Ok(())
}

impl Wanted {
    /// Reads the options from argument `start` on.
    fn parse(
        call: &Call<'_>,
        start: usize,
        key_count: usize,
        operation: Operation,
        purpose: Purpose,
    ) -> Result<Wanted, Error> {
        let (mut aggregate, mut with_scores, mut limit) = (Aggregate::Sum, false, 0);
        let mut weights = vec![1.0; key_count];
        let has_scores = operation != Operation::Diff && purpose != Purpose::Count;
        let mut index = start;
        while index < call.arg_count() {
            let left = call.arg_count() - index;
            if has_scores && key_count < left && call.is_word(index, "WEIGHTS") {
                for (weight, word) in weights.iter_mut().zip(call.args.skip(index + 1).iter()) {
                    *weight = parse_f64(word).ok_or(Error::text("ERR weight value is not a float"))?;
                }
                index += 1 + key_count;
            } else if has_scores && 2 <= left && call.is_word(index, "AGGREGATE") {
                aggregate = Aggregate::parse(call.arg(index + 1)).ok_or(Error::Syntax)?;
                index += 2;
            } else if purpose == Purpose::Reply && call.is_word(index, "WITHSCORES") {
                with_scores = true;
                index += 1;
            } else if purpose == Purpose::Count && 2 <= left && call.is_word(index, "LIMIT") {
                let number = parse_i64(call.arg(index + 1)).and_then(|limit| usize::try_from(limit).ok());
                limit = number.ok_or(Error::text("ERR LIMIT can't be negative"))?;
                index += 2;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(Wanted { weights, aggregate, with_scores, limit })
    }

    /// What stands at these keys, which [`ensure_sources`] has seen, ready for the operation: the smallest first where
    /// the order does not matter, and listed as far as it is walked over.
    fn sources<'s>(&self, call: &'s Call<'_>, keys: std::ops::Range<usize>, operation: Operation) -> Vec<Source<'s>> {
        let source = |(index, weight): (usize, &f64)| {
            let found = call.tx.peek(call.arg(index)).map(|found| call.tx.entry(found).stored());
            let input = match found {
                Some(Stored::Boxed(Value::SortedSet(set))) => Input::Sorted(set),
                Some(Stored::Boxed(Value::Set(set))) => Input::Plain(set, Vec::new()),
                _ => Input::Absent,
            };
            Source { input, weight: *weight }
        };
        let mut sources: Vec<Source<'s>> = keys.zip(&self.weights).map(source).collect();
        if operation != Operation::Diff {
            sources.sort_by_key(Source::len);
        }
        let walked_count = if operation == Operation::Union { sources.len() } else { 1 };
        sources.iter_mut().take(walked_count).for_each(Source::list);
        sources
    }
}

/// The members of the result in their order.
fn combined<'s>(sources: &'s [Source<'_>], operation: Operation, aggregate: Aggregate) -> Vec<Scored<'s>> {
    let mut members: Vec<Scored<'s>> = match operation {
        Operation::Union => union(sources, aggregate),
        Operation::Inter => intersection(sources, aggregate).collect(),
        Operation::Diff => difference(sources).collect(),
    };
    members.sort_unstable_by(Scored::order);
    members
}

fn union<'s>(sources: &'s [Source<'_>], aggregate: Aggregate) -> Vec<Scored<'s>> {
    let mut scores = HashMap::<&[u8], f64, FixedState>::default();
    for source in sources {
        for Scored { member, score } in source.members() {
            let score = number(score * source.weight);
            scores.entry(member).and_modify(|so_far| *so_far = aggregate.of(*so_far, score)).or_insert(score);
        }
    }
    scores.into_iter().map(|(member, score)| Scored { member, score }).collect()
}

/// `sources` are ordered by size, smallest first.
fn intersection<'s>(sources: &'s [Source<'_>], aggregate: Aggregate) -> impl Iterator<Item = Scored<'s>> {
    let (first, others) = sources.split_first().expect("there is at least one key");
    first.members().filter_map(move |Scored { member, score }| {
        let mut so_far = number(score * first.weight);
        for other in others {
            so_far = aggregate.of(so_far, other.score(member)? * other.weight);
        }
        Some(Scored { member, score: so_far })
    })
}

fn difference<'s>(sources: &'s [Source<'_>]) -> impl Iterator<Item = Scored<'s>> {
    let (first, others) = sources.split_first().expect("there is at least one key");
    first.members().filter(|scored| others.iter().all(|other| other.score(scored.member).is_none()))
}

fn reply_with(call: &mut Call<'_>, operation: Operation) -> Result<Flow, Error> {
    let keys = keys(call, 1)?;
    ensure_sources(call, keys.clone())?;
    let wanted = Wanted::parse(call, keys.end, keys.len(), operation, Purpose::Reply)?;
    let mut out = Vec::new();
    let mut reply = wire::reply::Reply::new(&mut out, call.reply.protocol());
    let sources = wanted.sources(call, keys, operation);
    let members = combined(&sources, operation, wanted.aggregate);
    reply_members(&mut reply, members.len(), members.into_iter(), wanted.with_scores);
    call.reply.raw(&out);
    Ok(Flow::Done)
}

fn store_result(call: &mut Call<'_>, operation: Operation, event: &'static str) -> Result<Flow, Error> {
    let keys = keys(call, 2)?;
    ensure_sources(call, keys.clone())?;
    let wanted = Wanted::parse(call, keys.end, keys.len(), operation, Purpose::Store)?;
    let sources = wanted.sources(call, keys, operation);
    let members = combined(&sources, operation, wanted.aggregate);
    let (mut image, count) = (Vec::new(), members.len());
    encode_image(&mut image, count, members.into_iter());
    store(call, call.arg(1), count, &image, event)
}

fn count_inter(call: &mut Call<'_>) -> Result<Flow, Error> {
    let keys = keys(call, 1)?;
    ensure_sources(call, keys.clone())?;
    let wanted = Wanted::parse(call, keys.end, keys.len(), Operation::Inter, Purpose::Count)?;
    let limit = if wanted.limit == 0 { usize::MAX } else { wanted.limit };
    let sources = wanted.sources(call, keys, Operation::Inter);
    let count = intersection(&sources, wanted.aggregate).take(limit).count();
    call.reply.count(count);
    Ok(Flow::Done)
}
