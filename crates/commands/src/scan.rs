//! Keys by the way: SCAN, KEYS, RANDOMKEY; and what SCAN shares with HSCAN.
//!
//! ```text
//! cursor   partition:16 | the table's own cursor:40        0 starts, 0 ends
//! ```
//!
//! The table's cursor keeps its meaning while the table grows and shrinks, and partitions come in their order, so a
//! key that is there from the first call to the last is seen. A walk goes on from partition to partition until it
//! has seen COUNT keys: a small database comes back whole.
//!
//! Deliberately not here: locks held from one partition to the next. What SCAN and KEYS show of two partitions they
//! show of two moments, as two calls of SCAN would.
//!
//! Source: behaviour of Valkey 9.1 `db.c`; the cursor is P. Noordhuis's for Redis's `dict.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::random::Random;
use crate::refuse;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::Touches;
use base::glob::{Case, glob_matches};
use base::number::parse_u64;
use base::{PartitionId, TimeMs};
use keyspace::Partition;
use keyspace::partition::has_ended;
use keyspace::table::CURSOR_BITS;
use std::ops::ControlFlow;
use wire::args::Args;
use wire::reply::Reply;

/// Elements that one call looks at when the client does not say.
const COUNT_DEFAULT: usize = 10;
/// Buckets looked at for each element asked for: a table with many empty ones must not hold up its partition.
const STEPS_PER_ELEMENT_MAX: usize = 10;
/// Keys drawn by RANDOMKEY before it takes the first that has not ended.
const DRAWS_MAX: usize = 100;
/// Names of types that clients may ask for; those that are not built yet have no keys.
const TYPES: [&str; 6] = ["string", "list", "set", "zset", "hash", "stream"];

const _: () = assert!(CURSOR_BITS + u16::BITS < u64::BITS, "a cursor must be a positive number to every client");

const ROW: Spec = Spec {
    name: "",
    arity: Arity::Exactly(1),
    flags: Flags::READONLY,
    keys: Keys::None,
    scope: Scope::Each,
    group: Group::Generic,
    since: "",
    complexity: "",
    summary: "",
    syntax: "",
    handler: scan,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "keys",
        arity: Arity::Exactly(2),
        flags: Flags::READONLY.and(Flags::DANGEROUS),
        since: "1.0.0",
        complexity: "O(N) for N keys in the database, one partition at a time",
        summary: "Returns the names of all keys that match a pattern.",
        syntax: "pattern",
        handler: keys,
        ..ROW
    },
    Spec {
        name: "randomkey",
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the name of a random key.",
        handler: random_key,
        ..ROW
    },
    Spec {
        name: "scan",
        arity: Arity::AtLeast(2),
        since: "2.8.0",
        complexity: "O(COUNT) for each call, O(N) for a walk over N keys",
        summary: "Walks over the names of the keys in the database, some at each call.",
        syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        handler: scan,
        ..ROW
    },
];

/// What is walked over: options differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walked {
    /// Keys of a database.
    Keys,
    /// Fields of a hash.
    Hash,
    /// Members of a set.
    Set,
    /// Members of a sorted set.
    SortedSet,
}

/// The options of SCAN and its kin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    /// Elements to look at.
    pub(crate) count: usize,
    kind: Option<&'static str>,
    /// Whether names come with their values.
    pub(crate) values: bool,
}

impl<'a> ScanOptions<'a> {
    /// Reads all of `words`.
    pub(crate) fn parse(words: Args<'a>, walked: Walked) -> Result<ScanOptions<'a>, Error> {
        let mut options = ScanOptions { pattern: None, count: COUNT_DEFAULT, kind: None, values: true };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match &word.to_ascii_uppercase()[..] {
                b"COUNT" => options.count = count(words.next().ok_or(Error::Syntax)?)?,
                b"MATCH" => options.pattern = pattern(words.next().ok_or(Error::Syntax)?),
                b"TYPE" if walked == Walked::Keys => options.kind = Some(kind(words.next().ok_or(Error::Syntax)?)?),
                b"NOVALUES" if walked == Walked::Hash => options.values = false,
                b"NOVALUES" => return Err(Error::text("ERR NOVALUES option can only be used in HSCAN")),
                b"NOSCORES" if walked == Walked::SortedSet => options.values = false,
                b"NOSCORES" => return Err(Error::text("ERR NOSCORES option can only be used in ZSCAN")),
                _ => return Err(Error::Syntax),
            }
        }
        Ok(options)
    }

    /// Whether an element of this name is asked for.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        fits(self.pattern, name)
    }
}

/// What a pattern leaves out, if anything: a lone star lets even the empty name through, which no other does.
fn pattern(word: &[u8]) -> Option<&[u8]> {
    (word != b"*").then_some(word)
}

fn fits(pattern: Option<&[u8]>, name: &[u8]) -> bool {
    pattern.is_none_or(|pattern| glob_matches(pattern, name, Case::Sensitive))
}

fn count(word: &[u8]) -> Result<usize, Error> {
    let count = base::number::parse_i64(word).ok_or(Error::NotInteger)?;
    usize::try_from(count).ok().filter(|count| 0 < *count).ok_or(Error::Syntax)
}

fn kind(word: &[u8]) -> Result<&'static str, Error> {
    let known = TYPES.into_iter().find(|name| word.eq_ignore_ascii_case(name.as_bytes()));
    known.ok_or_else(|| refuse!("ERR unknown type name '{}'", String::from_utf8_lossy(word)))
}

/// Argument `index` as a cursor.
pub(crate) fn cursor(call: &Call<'_>, index: usize) -> Result<u64, Error> {
    parse_u64(call.arg(index)).ok_or(Error::text("ERR invalid cursor"))
}

/// Writes the reply of SCAN and its kin: the next cursor, and `count` elements already written to `elements`.
pub(crate) fn reply_scanned(reply: &mut Reply<'_>, cursor: u64, count: usize, elements: &[u8]) {
    reply.array(2);
    reply.bulk(cursor.to_string().as_bytes());
    reply.array(count);
    reply.raw(elements);
}

/// One call of SCAN under way.
struct Walk<'o, 'b> {
    options: ScanOptions<'o>,
    now: TimeMs,
    /// Cursor within the partition in hand.
    point: u64,
    seen_count: usize,
    step_count: usize,
    found: Reply<'b>,
    found_count: usize,
}

impl<'o, 'b> Walk<'o, 'b> {
    /// Starts at `cursor` within the partition that the cursor names.
    fn new(options: ScanOptions<'o>, now: TimeMs, cursor: u64, found: Reply<'b>) -> Self {
        let point = cursor & ((1 << CURSOR_BITS) - 1);
        Walk { options, now, point, seen_count: 0, step_count: 0, found, found_count: 0 }
    }

    fn is_long_enough(&self) -> bool {
        let steps_max = self.options.count.saturating_mul(STEPS_PER_ELEMENT_MAX);
        self.options.count <= self.seen_count || steps_max <= self.step_count
    }

    /// Goes on within `partition`, and breaks with the cursor of the next call if this one has seen enough.
    fn step_through(&mut self, partition: &Partition, db: u8) -> ControlFlow<u64> {
        let base = u64::from(partition.id().0) << CURSOR_BITS;
        let index = partition.index(db);
        if index.is_empty() {
            self.point = 0;
            return ControlFlow::Continue(());
        }
        loop {
            if self.is_long_enough() {
                return ControlFlow::Break(base | self.point);
            }
            self.point = index.scan(self.point, |entry| {
                self.seen_count += 1;
                let is_wanted = self.options.kind.is_none_or(|kind| entry.kind().name() == kind)
                    && !has_ended(entry.expires(), self.now)
                    && self.options.matches(entry.key());
                if is_wanted {
                    self.found.bulk(entry.key());
                    self.found_count += 1;
                }
            });
            self.step_count += 1;
            if self.point == 0 {
                return ControlFlow::Continue(());
            }
        }
    }
}

fn scan(call: &mut Call<'_>) -> Result<Flow, Error> {
    let cursor = cursor(call, 1)?;
    let options = ScanOptions::parse(call.args.skip(2), Walked::Keys)?;
    let mut elements = Vec::new();
    let found = Reply::new(&mut elements, call.reply.protocol());
    let mut walk = Walk::new(options, call.horizon(), cursor, found);
    let next = match u16::try_from(cursor >> CURSOR_BITS) {
        Ok(start) => call.tx.each_partition(PartitionId(start), |partition, db| walk.step_through(partition, db)),
        Err(_) => ControlFlow::Continue(()), // No cursor of ours: the walk is over.
    };
    let count = walk.found_count;
    reply_scanned(&mut call.reply, next.break_value().unwrap_or(0), count, &elements);
    Ok(Flow::Done)
}

fn keys(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (pattern, now) = (pattern(call.arg(1)), call.horizon());
    let Call { tx, reply, .. } = call;
    let (mark, mut count) = (reply.mark(), 0);
    let _ = tx.each_partition(PartitionId(0), |partition, db| {
        partition.index(db).each(|entry| {
            if !has_ended(entry.expires(), now) && fits(pattern, entry.key()) {
                reply.bulk(entry.key());
                count += 1;
            }
        });
        ControlFlow::<()>::Continue(())
    });
    reply.array_since(mark, count);
    Ok(Flow::Done)
}

/// Keys of each partition.
fn key_counts(call: &mut Call<'_>) -> Vec<usize> {
    let mut counts = Vec::new();
    let _ = call.tx.each_partition(PartitionId(0), |partition, db| {
        counts.push(partition.index(db).len());
        ControlFlow::<()>::Continue(())
    });
    counts
}

/// The partition of the `rank`th key, if partitions have this many.
fn partition_at(counts: &[usize], rank: usize) -> Option<PartitionId> {
    let mut rank = rank;
    let index = counts.iter().position(|count| {
        let is_here = rank < *count;
        rank = rank.saturating_sub(*count);
        is_here
    })?;
    Some(PartitionId(index as u16))
}

fn random_key(call: &mut Call<'_>) -> Result<Flow, Error> {
    let counts = key_counts(call);
    let total: usize = counts.iter().sum();
    let mut random = Random::new(call.host.random());
    let draws = if total == 0 { 0 } else { DRAWS_MAX };
    let drawn = (0..draws).find_map(|_| draw(call, &counts, total, &mut random));
    match drawn.or_else(|| if total == 0 { None } else { first_key(call) }) {
        Some(key) => call.reply.bulk(&key),
        None => call.reply.null(),
    }
    Ok(Flow::Done)
}

/// One key, unless it has ended or its partition has been emptied meanwhile.
fn draw(call: &mut Call<'_>, counts: &[usize], total: usize, random: &mut Random) -> Option<Vec<u8>> {
    let (now, id) = (call.horizon(), partition_at(counts, random.below(total))?);
    let drawn = call.tx.each_partition(id, |partition, db| {
        let entry = partition.index(db).sample(random.next());
        let entry = entry.filter(|entry| !has_ended(entry.expires(), now));
        ControlFlow::Break(entry.map(|entry| entry.key().to_vec()))
    });
    drawn.break_value().flatten()
}

/// Any key that has not ended, for databases where nearly all have.
fn first_key(call: &mut Call<'_>) -> Option<Vec<u8>> {
    let now = call.horizon();
    let first = call.tx.each_partition(PartitionId(0), |partition, db| {
        let (mut point, mut first) = (0, None);
        loop {
            point = partition.index(db).scan(point, |entry| {
                if first.is_none() && !has_ended(entry.expires(), now) {
                    first = Some(entry.key().to_vec());
                }
            });
            match first.take() {
                Some(key) => return ControlFlow::Break(key),
                None if point == 0 => return ControlFlow::Continue(()),
                None => {}
            }
        }
    });
    first.break_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_falls_into_the_partition_that_holds_it() {
        let counts = [2, 0, 3];
        let found: Vec<_> = (0..6).map(|rank| partition_at(&counts, rank).map(|id| id.0)).collect();
        assert_eq!(found, [Some(0), Some(0), Some(2), Some(2), Some(2), None]);
        assert_eq!(partition_at(&[], 0), None);
    }

    use keyspace::partition::Stamp;
    use keyspace::{Home, Keyspace};
    use std::collections::BTreeSet;

    fn put(keyspace: &Keyspace, number: u32) {
        let key = number.to_string();
        let id = keyspace.partition_of(key.as_bytes());
        let stamp = Stamp { version: base::Version(1), time: TimeMs(0), home: Home::NONE, access: 0 };
        keyspace.lock(id).put_string(0, key.as_bytes(), None, b"value", &stamp);
    }

    /// One call of SCAN: the next cursor, and the names it found.
    fn step(keyspace: &Keyspace, cursor: u64, count: usize) -> (u64, Vec<u32>) {
        let options = ScanOptions { pattern: None, count, kind: None, values: true };
        let mut elements = Vec::new();
        let found = Reply::new(&mut elements, wire::reply::Protocol::Resp2);
        let mut walk = Walk::new(options, TimeMs(0), cursor, found);
        let start = (cursor >> CURSOR_BITS) as usize;
        let next = keyspace.ids().skip(start).try_for_each(|id| walk.step_through(&keyspace.lock(id), 0));
        let text = String::from_utf8(elements).unwrap();
        let names = text.split("\r\n").skip(1).step_by(2).map(|name| name.parse().unwrap()).collect();
        (next.break_value().unwrap_or(0), names)
    }

    #[test]
    fn keys_present_throughout_are_seen_while_others_come_and_the_tables_grow() {
        let keyspace = Keyspace::new(4);
        (0..1000).for_each(|number| put(&keyspace, number));
        let (mut cursor, mut seen, mut calls) = (0, BTreeSet::new(), 0);
        loop {
            let (next, names) = step(&keyspace, cursor, 10);
            assert!(names.len() < 10 + 40, "a call goes at most one bucket past its count: {}", names.len());
            seen.extend(names);
            (cursor, calls) = (next, calls + 1);
            (0..50).for_each(|number| put(&keyspace, 1000 + calls * 50 + number));
            if cursor == 0 {
                break;
            }
        }
        assert!((0..1000).all(|number| seen.contains(&number)));
        assert!((20..1000).contains(&calls), "{calls}");
    }

    #[test]
    fn a_small_database_comes_back_whole_however_many_partitions_there_are() {
        let keyspace = Keyspace::new(1024);
        (0..9).for_each(|number| put(&keyspace, number));
        let (next, mut names) = step(&keyspace, 0, 10);
        names.sort_unstable();
        assert_eq!((next, names), (0, (0..9).collect()));
    }

    #[test]
    fn a_walk_ends_whatever_the_cursor() {
        let keyspace = Keyspace::new(2);
        (0..100).for_each(|number| put(&keyspace, number));
        for start in [1, 12345, (1 << CURSOR_BITS) - 1, 1 << CURSOR_BITS, 3 << CURSOR_BITS | 0x4d] {
            let mut cursor = start;
            let calls = (0..1000)
                .take_while(|_| {
                    cursor = step(&keyspace, cursor, 1).0;
                    cursor != 0
                })
                .count();
            assert!(calls < 1000, "from {start}");
        }
    }
}
