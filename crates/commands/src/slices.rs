//! Replies that show a large collection, written slice by slice: between two slices its partition is unlocked, and others
//! have their turn.
//!
//! ```text
//! handler: header, the key's version ─► unlocked ─► go_on: still that version? a slice ─► unlocked ─► go_on … ─► Last
//!                                                      └ no: all taken back, Changed ─► the command runs anew, whole
//! ```
//!
//! *It shows one moment*, that at which it was begun. A key that still has its version has not changed since, so each
//! slice is of the same value as the first; fields of hashes that end meanwhile are shown, as they were there. Where a
//! slice begins is a rank, or a cursor that leads through a table. The version says nothing of how a table is laid out: a
//! value that was spilled and read back has the same members in other places, and a cursor may then lead past some of them
//! twice, though past each of them once at least. So they are counted, and one too many is taken for a change.
//!
//! Deliberately not here: who else runs between two slices, and how long, is the caller's business. Within MULTI and
//! scripts, whose commands show one moment together, replies are written whole.
//!
//! Invariant: a reply that has come to its end has as many elements as its header says.

use crate::call::{Call, Flow};
use crate::lists::put_element;
use crate::run::{Engine, Moment, Scratch};
use crate::sorted_sets_range::put_scored;
use base::{DbId, TimeMs, Version};
use journal::Position;
use keyspace::entry::Stored;
use keyspace::hash::{Field, Hash};
use keyspace::list::{End, List};
use keyspace::partition::has_ended;
use keyspace::set::Set;
use keyspace::sorted_set::{Direction, SortedSet};
use keyspace::value::Value;
use keyspace::{Begin, Tx};
use std::ops::{ControlFlow, Range};
use wire::reply::{Mark, Protocol, Reply};

/// Bytes that what is shown takes in memory, from which on it is shown in slices: below, the whole takes a millisecond
/// at most.
const SHOWN_BYTES_MIN: usize = 128 << 10;
/// Elements at which a slice is full: each is likely a cache line that is not at hand.
const SLICE_COUNT_MAX: usize = 512;
/// Bytes of a reply at which a slice is full. The last element of it may exceed them, of sets and hashes those of one
/// chain, which are half a dozen.
const SLICE_BYTES_MAX: usize = 256 << 10;
/// Bytes that are put aside at once, so that the buffer of replies need not grow with the collection.
const ASIDE_BYTES_MIN: usize = 256 << 10;

/// How a field of a hash is shown.
pub(crate) type PutField = fn(&mut Reply<'_>, &Field<'_>);

/// What is shown of a collection, and where the next slice of it begins.
#[derive(Clone, Debug)]
pub(crate) enum Walk {
    /// All members of a set.
    Set {
        /// Of a scan.
        cursor: u64,
    },
    /// All fields of a hash.
    Hash {
        /// Of a scan.
        cursor: u64,
        /// What is shown of a field.
        put: PutField,
    },
    /// Elements of a list.
    List {
        /// The place of the next.
        next: usize,
    },
    /// Members of a sorted set.
    SortedSet {
        /// Those that are left.
        ranks: Range<usize>,
        /// Which of them is next.
        direction: Direction,
        /// Whether their scores are shown, too.
        with_scores: bool,
    },
}

/// A reply that has begun.
#[derive(Debug)]
pub struct Begun {
    db: DbId,
    /// The physical database behind `db` at the first slice.
    physical: u8,
    key: Box<[u8]>,
    /// That of the key at the first slice.
    version: Version,
    /// Fields that ended then or before are not shown.
    horizon: TimeMs,
    protocol: Protocol,
    /// Where the reply begins.
    start: Mark,
    walk: Walk,
    /// Elements that the header promised and that are still to come.
    left: usize,
}

/// What a slice came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slice {
    /// There are more.
    More,
    /// The reply is whole.
    Last {
        /// What it reveals: it must not leave before the journal holds this much as it promised to.
        revealed: Position,
    },
    /// The key may have changed. The reply has been taken back, its header included: the command must be run anew without
    /// [`Session::takes_slices`](crate::Session::takes_slices), and so until it has ended, or a value that memory has no
    /// room for would be fetched and begun for ever.
    Changed,
}

impl Call<'_> {
    /// Whether the reply may be written in slices.
    pub(crate) fn may_slice(&self) -> bool {
        self.may_wait && self.session.takes_slices
    }

    /// Goes on in slices, and leaves it to whoever writes the last to [forget](crate::Session::forget_caching) what CLIENT
    /// CACHING said, with a reply that begins at `start` and whose header, which promises `count` elements of the
    /// collection at `key`, is written.
    pub(crate) fn begin_slices(&mut self, key: &[u8], start: Mark, count: usize, walk: Walk) -> Flow {
        let found = self.tx.peek(key).expect("what is shown was just found");
        let physical = self.tx.partitions().next().expect("its partition is locked").physical(self.tx.db());
        Flow::Begun(Box::new(Begun {
            db: self.tx.db(),
            physical,
            key: key.into(),
            version: self.tx.entry(found).version(),
            horizon: self.tx.horizon(),
            protocol: self.reply.protocol(),
            start,
            walk,
            left: count,
        }))
    }
}

/// Whether a whole collection of so many bytes is shown in slices.
#[inline]
pub(crate) fn is_large(bytes: usize) -> bool {
    SHOWN_BYTES_MIN <= bytes
}

/// Whether `count` elements are shown in slices, of a collection that has `of_count` and takes so many bytes.
#[inline]
pub(crate) fn is_large_part(bytes: usize, count: usize, of_count: usize) -> bool {
    is_large(bytes) && is_large(bytes / of_count * count)
}

impl Begun {
    /// Writes the next slice behind what there is of the reply in `out`, where nothing else may have been written
    /// meanwhile.
    ///
    /// # Cost
    /// A lock, a lookup, and 512 elements or 256 KiB, what its last elements exceed them by not counted. For a list that
    /// others look at meanwhile, also a walk over its chunks up to where the slice begins, of which there is one for some
    /// 4 KiB.
    pub fn go_on(&mut self, engine: Engine<'_>, moment: &Moment, out: &mut Vec<u8>, scratch: &mut Scratch) -> Slice {
        let Scratch { effects, garbage, apart, .. } = scratch;
        let mut reply = Reply::with_apart(out, self.protocol, apart);
        let partition = engine.keyspace.partition_of(&self.key);
        let begin = Begin { db: self.db, now: moment.now, clock: moment.clock, no_touch: true };
        let tx = Tx::begin_or_give_up(engine.keyspace, engine.journal, &[partition], begin, effects);
        let written = tx.and_then(|tx| {
            let is_last = self.write(&tx, &mut reply)?;
            Some((is_last, tx.commit(garbage).revealed))
        });
        match written {
            None => {
                reply.rewind(self.start);
                Slice::Changed
            }
            Some((true, revealed)) => Slice::Last { revealed },
            Some((false, _)) => {
                if ASIDE_BYTES_MIN <= reply.since(self.start).len() {
                    reply.put_aside(self.start);
                }
                Slice::More
            }
        }
    }

    /// Returns whether that was the last slice; `None` when the key may have changed.
    fn write(&mut self, tx: &Tx<'_>, reply: &mut Reply<'_>) -> Option<bool> {
        let is_same_db = tx.partitions().all(|partition| partition.physical(self.db) == self.physical);
        let entry = tx.entry(tx.peek(&self.key).filter(|_| is_same_db)?);
        if entry.version() != self.version {
            return None;
        }
        let Stored::Boxed(value) = entry.stored() else { return None };
        let full_bytes = reply.since(self.start).len() + SLICE_BYTES_MAX;
        let is_full =
            |reply: &Reply<'_>, count| SLICE_COUNT_MAX <= count || full_bytes <= reply.since(self.start).len();
        let (written, is_last) = match (value, &mut self.walk) {
            (Value::Set(set), Walk::Set { cursor }) => {
                let written = put_members(set, cursor, reply, is_full);
                (written, *cursor == 0)
            }
            (Value::Hash(hash), Walk::Hash { cursor, put }) => {
                let written = put_fields(hash, cursor, self.horizon, *put, reply, is_full);
                (written, *cursor == 0)
            }
            (Value::List(list), Walk::List { next }) => {
                let written = put_elements(list, next, self.left, reply, is_full);
                (written, written == self.left)
            }
            (Value::SortedSet(set), Walk::SortedSet { ranks, direction, with_scores }) => {
                let written = put_ranks(set, ranks, *direction, *with_scores, reply, is_full);
                (written, written == self.left)
            }
            _ => return None,
        };
        self.left = self.left.checked_sub(written)?;
        (!is_last || self.left == 0).then_some(is_last)
    }
}

/// Shows members from a cursor on until the slice is full. Returns how many.
fn put_members(
    set: &Set,
    cursor: &mut u64,
    reply: &mut Reply<'_>,
    is_full: impl Fn(&Reply<'_>, usize) -> bool,
) -> usize {
    let mut count = 0;
    loop {
        *cursor = set.scan(*cursor, 1, |member| {
            reply.bulk(&member);
            count += 1;
        });
        if *cursor == 0 || is_full(reply, count) {
            return count;
        }
    }
}

/// As [`put_members`], with the fields that have not ended.
fn put_fields(
    hash: &Hash,
    cursor: &mut u64,
    horizon: TimeMs,
    put: PutField,
    reply: &mut Reply<'_>,
    is_full: impl Fn(&Reply<'_>, usize) -> bool,
) -> usize {
    let (mut count, mut seen_count) = (0, 0);
    loop {
        *cursor = hash.scan(*cursor, 1, |field| {
            seen_count += 1;
            if !has_ended(field.expires, horizon) {
                put(reply, &field);
                count += 1;
            }
        });
        if *cursor == 0 || is_full(reply, seen_count) {
            return count;
        }
    }
}

/// Shows elements from a place on, `left` at most, until the slice is full. Returns how many.
fn put_elements(
    list: &List,
    next: &mut usize,
    left: usize,
    reply: &mut Reply<'_>,
    is_full: impl Fn(&Reply<'_>, usize) -> bool,
) -> usize {
    let mut count = 0;
    list.walk(End::Front, *next..*next + left, |element| {
        put_element(reply, element);
        count += 1;
        if is_full(reply, count) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    *next += count;
    count
}

/// Shows members at `ranks` until the slice is full. Returns how many.
fn put_ranks(
    set: &SortedSet,
    ranks: &mut Range<usize>,
    direction: Direction,
    with_scores: bool,
    reply: &mut Reply<'_>,
    is_full: impl Fn(&Reply<'_>, usize) -> bool,
) -> usize {
    let mut count = 0;
    for scored in set.walk(ranks.clone(), direction) {
        put_scored(reply, scored, with_scores);
        count += 1;
        if is_full(reply, count) {
            break;
        }
    }
    match direction {
        Direction::Ascending => ranks.start += count,
        Direction::Descending => ranks.end -= count,
    }
    count
}
