//! Large values on their way into a checkpoint: piece by piece, a bounded stretch under each lock, while commands go on
//! changing them.
//!
//! A piece is changes, encoded as effects, which make the value when they are applied to an empty one in order. What a
//! *finished* row of pieces promises depends on the type.
//!
//! **Hashes, sets, sorted sets, streams: fuzzy.** The entry carries the properties that the key had at the first piece.
//! Replay applies every later effect on the key, and that is enough, because an effect on one of these types says what is
//! so of the elements that it names, whatever was before (HINCRBY is journaled as the field's new value, SPOP as the
//! members that went). Take an element that no effect names after the first piece: it was there throughout, or not at
//! all, so the pieces have it as it is, once at least: a scan sees what stays, a walk in order passes every place.
//! Take an element that effects name: whatever the pieces have of it, from before or after any of them, the last effect
//! decides. (A change of a field's end alone needs the field. If nothing else names it, it was there throughout.) So from
//! the last piece's version on, `until`, the value is exact: ARIES-style redo per element instead of per key.
//!
//! *The hole in that:* on its way from the first piece to `until`, replay may pass an empty collection where there never
//! was one: x is removed before the scan comes by, then y is added behind the scan and removed again. An empty collection
//! is deleted, with its end of life and its revision. So a key stays, empty or not, while batches up to `until` are
//! replayed. At `until` it is exact, and not empty, for the key was there when the last piece was written.
//!
//! *Streams:* groups, what is pending and the counters are written as they were at the first piece, entries up to the
//! last id of then; the entries after it come by replay, with the blocks they opened. A deletion counts for the largest
//! id deleted even where the entry is gone already.
//!
//! **Lists: exact.** Effects on lists name places, not elements, so fuzzy pieces would be of no use. Instead, the elements
//! from the front to where the writer got are kept true: a change that concerns them goes into the next piece, cut down
//! to what it does to them. When the writer reaches the back, the pieces make the list as it is now, and the entry
//! carries the key's properties of now.
//!
//! **A key that is deleted, replaced, spilled or ends meanwhile** breaks the row, whatever comes in its place: the pieces
//! count for nothing, and the key is written as it is then, if it is there.
//!
//! Deliberately not here: the file (`checkpoint.rs`), locks, when a value is worth pieces.
//!
//! Invariants: `Db::in_pieces` is of a key that has not been deleted or replaced since; `written` is at most the length
//! of the list; at most one value of a database is written in pieces at any time.

use crate::effect::stream::{self as stream_effects, Reading};
use crate::effect::{self, Effect, Gathered, ListChange};
use crate::entry::{EntryRef, Home, Meta, Stored};
use crate::hash::Hash;
use crate::hasher::hash_bytes;
use crate::list::{End, List};
use crate::partition::{Partition, Stamp};
use crate::set::Set;
use crate::sorted_set::{Direction, Scored, SortedSet};
use crate::stream::{Counters, Stream, StreamId};
use crate::value::{Kind, Value};
use base::{PartitionId, Reader, TimeMs, Truncated, Version};
use std::ops::ControlFlow;

/// Changes in pieces name this key of database 0: whose they are stands beside them.
const NAMELESS: &[u8] = b"";
/// Changes of a list that wait for its next piece, beyond which it is written anew.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// What is written in pieces, and how large those are.
#[derive(Clone, Copy, Debug)]
pub struct PieceLimits {
    /// Heap bytes, compressed ones expanded, from which on a collection is written in pieces.
    pub value_bytes_min: usize,
    /// Bytes at which a piece is full; a single element may exceed them.
    pub piece_bytes_max: usize,
    /// Elements at which a piece of a hash, a set or a sorted set is full: each is likely a cache line that is not at
    /// hand.
    pub element_count_max: usize,
}

impl PieceLimits {
    /// A value below a quarter of a megabyte is encoded whole in less than a millisecond, and kept in the journal from
    /// then on; a piece takes some tens of microseconds.
    pub const STANDARD: PieceLimits =
        PieceLimits { value_bytes_min: 256 << 10, piece_bytes_max: 32 << 10, element_count_max: 512 };

    /// Whether a checkpoint has to write this value, and in pieces: a large collection that the journal does not hold, or
    /// one that must be in memory after a restart.
    pub fn apply_to(&self, entry: &EntryRef<'_>) -> bool {
        match entry.stored() {
            Stored::Boxed(Value::Bytes(_)) | Stored::Inline(_) | Stored::Int(_) | Stored::Spilled => false,
            Stored::Boxed(value) => {
                let bytes = if let Value::List(list) = value { list.expanded_bytes() } else { value.bytes() };
                (!entry.home().is_known() || stays_resident(entry)) && self.value_bytes_min <= bytes
            }
        }
    }
}

/// Whether a checkpoint must hold the value itself: the timer asks a hash for fields that end, so it stays in memory.
pub(crate) fn stays_resident(entry: &EntryRef<'_>) -> bool {
    matches!(entry.stored(), Stored::Boxed(Value::Hash(hash)) if hash.next_expiry().is_some())
}

/// What became of a row of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// More are to come.
    More,
    /// That was the last.
    Last {
        /// The key's properties that go with the pieces; no home.
        meta: Meta,
        /// Until when, in replay, the key stays even if it is empty.
        until: Version,
    },
    /// The pieces count for nothing: the key was deleted, replaced or spilled.
    Broken,
}

/// A value that is being written in pieces.
pub(crate) struct InPieces {
    key: Box<[u8]>,
    hash: u64,
    meta: Meta,
    next: Next,
}

/// Where the next piece begins.
enum Next {
    /// At this cursor of a scan over a hash or a set.
    Cursor(u64),
    /// Behind this member of a sorted set.
    Member(Option<(f64, Box<[u8]>)>),
    /// Behind the elements at the front that are written.
    List(ListWritten),
    /// At this entry, if there is one up to the last of the first piece's counters.
    Stream { from: Option<StreamId>, is_first: bool, counters: Counters },
}

/// How far a list is written.
struct ListWritten {
    count: usize,
    /// Its length when the last piece was written.
    length: usize,
    /// Changes of those elements that are not in a piece yet.
    waiting: Vec<u8>,
}

impl InPieces {
    /// Whether it is of the key with this hash. May say so of another: that costs a row of pieces, no more.
    #[inline]
    pub(crate) fn is_of_hash(&self, hash: u64) -> bool {
        self.hash == hash
    }
}

impl Partition {
    /// Begins a row of pieces of the value at `key`, if there is one that `limits` apply to. Returns its type.
    pub fn begin_pieces(&mut self, db: u8, key: &[u8], limits: &PieceLimits) -> Option<Kind> {
        let entry = self.index(db).entry(self.find(db, key)?);
        let Stored::Boxed(value) = entry.stored() else { return None };
        if !limits.apply_to(&entry) {
            return None;
        }
        let kind = value.kind();
        let next = match value {
            Value::Bytes(_) => return None,
            Value::Hash(_) | Value::Set(_) => Next::Cursor(0),
            Value::SortedSet(_) => Next::Member(None),
            Value::List(list) => Next::List(ListWritten { count: 0, length: list.len(), waiting: Vec::new() }),
            Value::Stream(stream) => {
                Next::Stream { from: Some(StreamId::MIN), is_first: true, counters: stream.counters() }
            }
        };
        let meta = Meta { home: Home::NONE, ..entry.meta() };
        let in_pieces = InPieces { key: key.into(), hash: hash_bytes(key), meta, next };
        self.dbs[usize::from(db)].in_pieces = Some(Box::new(in_pieces));
        Some(kind)
    }

    /// Appends the next piece of the row that was begun in `db`. The row ends with anything but [`Piece::More`].
    ///
    /// # Cost
    /// Bounded by `limits`; an element is never cut, and the groups of a stream, with all that is pending, are one piece.
    pub fn next_piece(&mut self, db: u8, limits: &PieceLimits, out: &mut Vec<u8>) -> Piece {
        let Some(mut row) = self.dbs[usize::from(db)].in_pieces.take() else { return Piece::Broken };
        let place = self.index(db).find(row.hash, &row.key).expect("a key that goes takes its row along");
        let entry = self.index(db).entry(place);
        let Stored::Boxed(value) = entry.stored() else { unreachable!("a value that is spilled takes its row along") };
        let is_last = match (value, &mut row.next) {
            (Value::Hash(hash), Next::Cursor(cursor)) => put_hash(hash, cursor, limits, out),
            (Value::Set(set), Next::Cursor(cursor)) => put_set(set, cursor, limits, out),
            (Value::SortedSet(set), Next::Member(last)) => put_sorted_set(set, last, limits, out),
            (Value::List(list), Next::List(written)) => {
                row.meta = Meta { home: Home::NONE, ..entry.meta() };
                put_list(list, written, limits, out)
            }
            (Value::Stream(stream), Next::Stream { from, is_first, counters }) => {
                if std::mem::take(is_first) {
                    put_groups(stream, out);
                }
                put_stream(stream, from, *counters, limits, out)
            }
            _ => unreachable!("a value that is replaced takes its row along"),
        };
        if is_last {
            return Piece::Last { meta: row.meta, until: self.version() };
        }
        self.dbs[usize::from(db)].in_pieces = Some(row);
        Piece::More
    }

    /// Ends whatever row of pieces was begun here: nobody goes on with it.
    pub fn forget_pieces(&mut self) {
        self.dbs.iter_mut().for_each(|db| db.in_pieces = None);
    }

    /// Notes what a change about to be made means for the part of the list that is written.
    #[inline]
    pub(crate) fn note_list_change(&mut self, db: u8, key: &[u8], change: &ListChange<'_>) {
        if self.dbs[usize::from(db)].in_pieces.is_some() {
            self.note_change_of_written(db, key, change);
        }
    }

    #[cold]
    fn note_change_of_written(&mut self, db: u8, key: &[u8], change: &ListChange<'_>) {
        let Some(place) = self.find(db, key) else { return };
        let this = &mut self.dbs[usize::from(db)];
        let Some(row) = this.in_pieces.as_mut().filter(|row| *row.key == *key) else { return };
        let entry = this.index.entry(place);
        let (Stored::Boxed(Value::List(list)), Next::List(written)) = (entry.stored(), &mut row.next) else { return };
        written.note(list.len(), change);
        if WAITING_BYTES_MAX < written.waiting.len() {
            this.in_pieces = None;
        }
    }
}

impl ListWritten {
    /// A list of `length` elements is about to be changed.
    fn note(&mut self, length: usize, change: &ListChange<'_>) {
        let (out, count) = (&mut self.waiting, self.count);
        match change {
            ListChange::Push { end: End::Back, .. } => {}
            ListChange::Push { end: End::Front, elements } => {
                if 0 < count {
                    let elements: Vec<&[u8]> = elements.names().collect();
                    self.count += elements.len();
                    effect::put_list_push(out, 0, NAMELESS, End::Front, elements.into_iter());
                }
            }
            ListChange::Trim { front, back } => {
                let at_front = length.min(*front as usize);
                let left = (length - at_front).saturating_sub(*back as usize);
                let front = count.min(at_front);
                self.count = (count - front).min(left);
                if self.count < count {
                    effect::put_list_trim(out, 0, NAMELESS, front, count - front - self.count);
                }
            }
            ListChange::Set { index, element } => {
                if (*index as usize) < count {
                    effect::put_list_set(out, 0, NAMELESS, *index as usize, element);
                }
            }
            ListChange::Insert { index, element } => {
                if (*index as usize) < count {
                    effect::put_list_insert(out, 0, NAMELESS, *index as usize, element);
                    self.count += 1;
                }
            }
            ListChange::Remove { indexes } => {
                let gone: Vec<usize> = indexes.indexes().take_while(|index| *index < count).collect();
                if !gone.is_empty() {
                    effect::put_list_remove(out, 0, NAMELESS, &gone);
                }
                self.count -= gone.len();
            }
        }
    }
}

fn put_hash(hash: &Hash, cursor: &mut u64, limits: &PieceLimits, out: &mut Vec<u8>) -> bool {
    let mut piece = Gathered::default();
    loop {
        *cursor = hash.scan(*cursor, 1, |field| piece.add_field(field.name, field.value, field.expires));
        if *cursor == 0 || is_full(&piece, limits) {
            break;
        }
    }
    piece.put(out, Kind::Hash, 0, NAMELESS);
    *cursor == 0
}

fn put_set(set: &Set, cursor: &mut u64, limits: &PieceLimits, out: &mut Vec<u8>) -> bool {
    let mut piece = Gathered::default();
    loop {
        *cursor = set.scan(*cursor, 1, |member| piece.add(&member));
        if *cursor == 0 || is_full(&piece, limits) {
            break;
        }
    }
    piece.put(out, Kind::Set, 0, NAMELESS);
    *cursor == 0
}

fn is_full(piece: &Gathered, limits: &PieceLimits) -> bool {
    limits.piece_bytes_max <= piece.bytes() || limits.element_count_max <= piece.count()
}

fn put_sorted_set(
    set: &SortedSet,
    last: &mut Option<(f64, Box<[u8]>)>,
    limits: &PieceLimits,
    out: &mut Vec<u8>,
) -> bool {
    let mut piece = Gathered::default();
    let from = last.as_ref().map_or(0, |(score, member)| set.count_through(&Scored { member, score: *score }));
    let (mut rank, mut written) = (from, None);
    for scored in set.walk(from..set.len(), Direction::Ascending) {
        piece.add_scored(scored.member, scored.score);
        rank += 1;
        written = Some(scored);
        if is_full(&piece, limits) {
            break;
        }
    }
    if let Some(Scored { member, score }) = written {
        *last = Some((score, member.into()));
    }
    piece.put(out, Kind::SortedSet, 0, NAMELESS);
    rank == set.len()
}

/// A piece is longer where the list grows faster than it would be written.
fn put_list(list: &List, written: &mut ListWritten, limits: &PieceLimits, out: &mut Vec<u8>) -> bool {
    out.append(&mut written.waiting);
    let count_min = list.len().saturating_sub(written.length) * 2;
    let mut piece = Gathered::default();
    list.walk(End::Front, written.count..list.len(), |element| {
        piece.add(&element.bytes());
        let is_full = limits.piece_bytes_max <= piece.bytes() && count_min <= piece.count();
        if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    written.count += piece.count();
    written.length = list.len();
    piece.put(out, Kind::List, 0, NAMELESS);
    written.count == list.len()
}

fn put_groups(stream: &Stream, out: &mut Vec<u8>) {
    for (name, group) in stream.groups() {
        stream_effects::put_stream_group(out, 0, NAMELESS, name, group.progress());
        for consumer in group.consumers() {
            let who = Reading { group: name, consumer: consumer.name() };
            stream_effects::put_stream_see(out, 0, NAMELESS, who, consumer.seen_at(), consumer.active_at());
            let pending = group.pending_with(consumer, StreamId::MIN, StreamId::MAX);
            let held: Vec<_> = pending.map(|one| (one.id, one.delivered_at, one.delivery_count)).collect();
            stream_effects::put_stream_claim(out, 0, NAMELESS, who, &held);
        }
    }
}

/// The counters come last: no entry up to the last id that they know could be added to a stream that has them.
fn put_stream(
    stream: &Stream,
    from: &mut Option<StreamId>,
    counters: Counters,
    limits: &PieceLimits,
    out: &mut Vec<u8>,
) -> bool {
    let start_bytes = out.len();
    let entries = from.take().into_iter().flat_map(|from| stream.range_opening(from, counters.last_id));
    for (opens, entry) in entries {
        if limits.piece_bytes_max <= out.len() - start_bytes {
            *from = Some(entry.id);
            return false;
        }
        stream_effects::put_stream_add(out, 0, NAMELESS, entry.id, opens, entry.fields());
    }
    stream_effects::put_stream_counters(out, 0, NAMELESS, counters);
    true
}

/// A value that is put together from its pieces.
pub(crate) struct Assembly {
    kind: Kind,
    /// Holds nothing but the value.
    bench: Box<Partition>,
}

impl Assembly {
    /// Of a collection of this kind, without any pieces yet.
    ///
    /// # Errors
    /// Values of this kind are not written in pieces.
    pub(crate) fn new(kind: Kind) -> Result<Assembly, Truncated> {
        if kind == Kind::String {
            return Err(Truncated);
        }
        let mut assembly = Assembly { kind, bench: Box::new(Partition::new(PartitionId(0))) };
        assembly.bench.put_value(0, NAMELESS, Value::empty(kind), &Assembly::stamp());
        Ok(assembly)
    }

    fn stamp() -> Stamp {
        Stamp { version: Version(1), time: TimeMs(i64::MIN), home: Home::NONE, access: 0 }
    }

    /// Adds the next piece.
    ///
    /// # Errors
    /// The bytes are no piece of such a value.
    pub(crate) fn add(&mut self, piece: &[u8]) -> Result<(), Truncated> {
        let mut reader = Reader::new(piece);
        while !reader.is_empty() {
            let (db, effect) = Effect::decode(&mut reader)?;
            let is_of_kind = match &effect {
                Effect::HashSet { .. } => self.kind == Kind::Hash,
                Effect::Set { .. } => self.kind == Kind::Set,
                Effect::SortedSet { .. } => self.kind == Kind::SortedSet,
                Effect::List { .. } => self.kind == Kind::List,
                Effect::Stream { .. } => self.kind == Kind::Stream,
                _ => false,
            };
            if !is_of_kind || db != 0 || effect.key() != Some(NAMELESS) {
                return Err(Truncated);
            }
            self.bench.apply(0, &effect, &Assembly::stamp())?;
            drop(self.bench.take_garbage());
        }
        Ok(())
    }

    /// The value.
    pub(crate) fn finish(mut self) -> Value {
        self.bench.take_value(0, NAMELESS).map_or_else(|| Value::empty(self.kind), |value| *value)
    }
}

#[cfg(test)]
mod tests;
