//! Sorted sets: members from one bound to another, read, counted, stored or removed.
//!
//! Deliberately not here: what bounds mean (`sorted_sets_bounds`).
//!
//! Source: behaviour of Valkey 9.1 `t_zset.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::hashes::notify_if_gone;
use crate::slices::{self, Walk};
use crate::sorted_sets::READ;
use crate::sorted_sets_bounds::{Bounds, By, Limit};
use crate::spec::{Arity, Flags, Keys, Spec};
use crate::touches::{KeyUse, Touches};
use keyspace::sorted_set::{Direction, Scored, encode_image};
use keyspace::{Event, Kind};
use wire::reply::{Protocol, Reply};

const WALK: Spec = Spec {
    arity: Arity::AtLeast(4),
    flags: Flags::READONLY,
    complexity: "O(log N + M) for M members returned of N",
    ..READ
};
const COUNT: Spec =
    Spec { arity: Arity::Exactly(4), complexity: "O(log N) for N members", syntax: "key min max", ..READ };
const REMOVE: Spec = Spec {
    arity: Arity::Exactly(4),
    flags: Flags::WRITE,
    complexity: "O(log N) for each member removed, N members in the set",
    syntax: "key min max",
    ..READ
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "zcount",
        since: "2.0.0",
        summary: "Returns how many members of a sorted set have scores within bounds.",
        handler: |call| count(call, By::Score),
        ..COUNT
    },
    Spec {
        name: "zlexcount",
        since: "2.8.9",
        summary: "Returns how many members of a sorted set of equal scores lie within bounds.",
        handler: |call| count(call, By::Member),
        ..COUNT
    },
    Spec {
        name: "zrange",
        summary: "Returns members of a sorted set from one bound to another, by rank, score or member.",
        syntax: "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        handler: |call| range(call, None, None),
        ..WALK
    },
    Spec {
        name: "zrangebylex",
        since: "2.8.9",
        summary: "Returns members of a sorted set of equal scores that lie within bounds.",
        syntax: "key min max [LIMIT offset count]",
        handler: |call| range(call, Some(By::Member), Some(Direction::Ascending)),
        ..WALK
    },
    Spec {
        name: "zrangebyscore",
        since: "1.0.5",
        summary: "Returns members of a sorted set with scores within bounds.",
        syntax: "key min max [WITHSCORES] [LIMIT offset count]",
        handler: |call| range(call, Some(By::Score), Some(Direction::Ascending)),
        ..WALK
    },
    Spec {
        name: "zrangestore",
        touches: Touches::keys(&[KeyUse::OW_UPDATE, KeyUse::RO_ACCESS]),
        arity: Arity::AtLeast(5),
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::TWO,
        since: "6.2.0",
        complexity: "O(log N + M) for M members stored of N",
        summary: "Stores members of a sorted set from one bound to another in another key; returns how many.",
        syntax: "destination source min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        handler: range_store,
        ..WALK
    },
    Spec {
        name: "zremrangebylex",
        touches: Touches::keys(&[KeyUse::RW_DELETE]),
        since: "2.8.9",
        summary: "Removes members of a sorted set of equal scores that lie within bounds; returns how many.",
        handler: |call| remove(call, By::Member, "zremrangebylex"),
        ..REMOVE
    },
    Spec {
        name: "zremrangebyrank",
        touches: Touches::keys(&[KeyUse::RW_DELETE]),
        since: "2.0.0",
        summary: "Removes members of a sorted set from one rank to another; returns how many.",
        syntax: "key start stop",
        handler: |call| remove(call, By::Rank, "zremrangebyrank"),
        ..REMOVE
    },
    Spec {
        name: "zremrangebyscore",
        touches: Touches::keys(&[KeyUse::RW_DELETE]),
        summary: "Removes members of a sorted set with scores within bounds; returns how many.",
        handler: |call| remove(call, By::Score, "zremrangebyscore"),
        ..REMOVE
    },
    Spec {
        name: "zrevrange",
        summary: "Returns members of a sorted set from one rank to another, highest score first.",
        syntax: "key start stop [WITHSCORES]",
        handler: |call| range(call, Some(By::Rank), Some(Direction::Descending)),
        ..WALK
    },
    Spec {
        name: "zrevrangebylex",
        since: "2.8.9",
        summary: "Returns members of a sorted set of equal scores that lie within bounds, last member first.",
        syntax: "key max min [LIMIT offset count]",
        handler: |call| range(call, Some(By::Member), Some(Direction::Descending)),
        ..WALK
    },
    Spec {
        name: "zrevrangebyscore",
        since: "2.2.0",
        summary: "Returns members of a sorted set with scores within bounds, highest score first.",
        syntax: "key max min [WITHSCORES] [LIMIT offset count]",
        handler: |call| range(call, Some(By::Score), Some(Direction::Descending)),
        ..WALK
    },
];

fn count(call: &mut Call<'_>, by: By) -> Result<Flow, Error> {
    let bounds = Bounds::parse(by, call.arg(2), call.arg(3))?;
    let set = call.tx.sorted_set(call.args.at(1))?;
    call.reply.count(set.map_or(0, |set| bounds.ranks(set, Direction::Ascending).len()));
    Ok(Flow::Done)
}

/// What ZRANGE and its kin are asked for.
struct Wanted<'a> {
    bounds: Bounds<'a>,
    direction: Direction,
    limit: Limit,
    with_scores: bool,
}

impl<'a> Wanted<'a> {
    /// Reads the bounds at `min_at` and the options behind them. What the command's name says already is no option.
    fn parse(
        call: &Call<'a>,
        min_at: usize,
        mut by: Option<By>,
        mut direction: Option<Direction>,
        stores: bool,
    ) -> Result<Wanted<'a>, Error> {
        let (mut limit, mut with_scores) = (Limit { offset: 0, count: -1 }, false);
        let mut index = min_at + 2;
        while index < call.arg_count() {
            if !stores && call.is_word(index, "WITHSCORES") {
                with_scores = true;
            } else if call.is_word(index, "LIMIT") && index + 2 < call.arg_count() {
                limit = Limit { offset: call.integer(index + 1)?, count: call.integer(index + 2)? };
                index += 2;
            } else if direction.is_none() && call.is_word(index, "REV") {
                direction = Some(Direction::Descending);
            } else if by.is_none() && call.is_word(index, "BYLEX") {
                by = Some(By::Member);
            } else if by.is_none() && call.is_word(index, "BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(Error::Syntax);
            }
            index += 1;
        }
        let (by, direction) = (by.unwrap_or(By::Rank), direction.unwrap_or(Direction::Ascending));
        if limit.count != -1 && by == By::Rank {
            return Err(Error::text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Member {
            return Err(Error::text("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        let (first, second) = (call.arg(min_at), call.arg(min_at + 1));
        let is_swapped = direction == Direction::Descending && by != By::Rank;
        let (min, max) = if is_swapped { (second, first) } else { (first, second) };
        let limit = if by == By::Rank { Limit { offset: 0, count: -1 } } else { limit };
        Ok(Wanted { bounds: Bounds::parse(by, min, max)?, direction, limit, with_scores })
    }
}

fn range(call: &mut Call<'_>, by: Option<By>, direction: Option<Direction>) -> Result<Flow, Error> {
    let Wanted { bounds, direction, limit, with_scores } = Wanted::parse(call, 2, by, direction, false)?;
    let (key, start, may_slice) = (call.args.at(1), call.reply.mark(), call.may_slice());
    let Some(set) = call.tx.sorted_set(key)? else {
        call.reply.array(0);
        return Ok(Flow::Done);
    };
    let ranks = limit.of(bounds.ranks(set, direction), direction);
    let count = ranks.len();
    put_header(&mut call.reply, count, with_scores);
    if may_slice && slices::is_large_part(set.bytes(), count, set.len()) {
        return Ok(call.begin_slices(key, start, count, Walk::SortedSet { ranks, direction, with_scores }));
    }
    set.walk(ranks, direction).for_each(|scored| put_scored(&mut call.reply, scored, with_scores));
    Ok(Flow::Done)
}

/// Writes members, with their scores if wanted: flat in RESP2, in pairs in RESP3.
pub(crate) fn reply_members<'s>(
    reply: &mut Reply<'_>,
    count: usize,
    members: impl Iterator<Item = Scored<'s>>,
    with_scores: bool,
) {
    put_header(reply, count, with_scores);
    members.for_each(|scored| put_scored(reply, scored, with_scores));
}

fn put_header(reply: &mut Reply<'_>, count: usize, with_scores: bool) {
    let is_flat_pair = with_scores && reply.protocol() == Protocol::Resp2;
    reply.array(if is_flat_pair { 2 * count } else { count });
}

/// Writes one of those members.
pub(crate) fn put_scored(reply: &mut Reply<'_>, Scored { member, score }: Scored<'_>, with_scores: bool) {
    if with_scores && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    reply.bulk(member);
    if with_scores {
        reply.double(score);
    }
}

fn range_store(call: &mut Call<'_>) -> Result<Flow, Error> {
    let Wanted { bounds, direction, limit, .. } = Wanted::parse(call, 3, None, None, true)?;
    let (target, source) = (call.arg(1), call.arg(2));
    let (mut image, mut count) = (Vec::new(), 0);
    if let Some(set) = call.tx.sorted_set(source)? {
        let ranks = limit.of(bounds.ranks(set, direction), direction);
        count = ranks.len();
        encode_image(&mut image, count, set.walk(ranks, Direction::Ascending));
    }
    store(call, target, count, &image, "zrangestore")
}

/// Puts `count` members, given as an image, at `target`, or removes what is there when there are none, and replies
/// with their number. `event` is told of the former.
pub(crate) fn store(
    call: &mut Call<'_>,
    target: &[u8],
    count: usize,
    image: &[u8],
    event: &'static str,
) -> Result<Flow, Error> {
    call.ensure_room(target.len() + image.len())?;
    if 0 < count {
        call.tx.put_image(target, Kind::SortedSet, image, None);
        call.notify(Event::SortedSet, event, target);
    } else if call.tx.delete(target) {
        call.notify(Event::Generic, "del", target);
    }
    call.reply.count(count);
    Ok(Flow::Done)
}

fn remove(call: &mut Call<'_>, by: By, event: &'static str) -> Result<Flow, Error> {
    let bounds = Bounds::parse(by, call.arg(2), call.arg(3))?;
    let key = call.arg(1);
    let Some(set) = call.tx.sorted_set(key)? else {
        call.reply.integer(0);
        return Ok(Flow::Done);
    };
    let ranks = bounds.ranks(set, Direction::Ascending);
    let count = ranks.len();
    if count == set.len() {
        call.tx.delete(key);
    } else {
        let mut gathered = Gathered::default();
        set.walk(ranks, Direction::Ascending).for_each(|scored| gathered.push(scored.member));
        call.ensure_room(gathered.effect_bytes())?;
        call.tx.sorted_set_remove(key, gathered.iter())?;
    }
    if 0 < count {
        call.notify(Event::SortedSet, event, key);
        notify_if_gone(call, key);
    }
    call.reply.count(count);
    Ok(Flow::Done)
}

/// Members copied out of a set that is about to change, in two allocations.
#[derive(Default)]
pub(crate) struct Gathered {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Gathered {
    /// Adds a member.
    pub(crate) fn push(&mut self, member: &[u8]) {
        self.bytes.extend_from_slice(member);
        self.ends.push(self.bytes.len());
    }

    /// Bytes that an effect naming all of them takes at most.
    pub(crate) fn effect_bytes(&self) -> usize {
        self.bytes.len() + self.ends.len() * base::codec::VARINT_BYTES_MAX
    }

    /// The members in the order they were added.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| &self.bytes[std::mem::replace(&mut start, *end)..*end])
    }
}
