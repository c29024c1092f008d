//! Values as they come out of a payload: owned, complete, checked.
//!
//! Deliberately not the keyspace's representation: that one is compact and shared, this one is a hand-over.

use base::TimeMs;
use std::sync::Arc;

/// A field of a hash: name, value, and when it expires if it does (0 or later).
pub type HashField = (Vec<u8>, Vec<u8>, Option<TimeMs>);

/// One value. Collections are never empty; a stream may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// Bytes.
    String(Vec<u8>),
    /// Elements from head to tail.
    List(Vec<Vec<u8>>),
    /// Members, each once, in no order that means anything.
    Set(Vec<Vec<u8>>),
    /// Fields, each name once, in no order that means anything.
    Hash(Vec<HashField>),
    /// Members, each once, ascending by score and then by member. No score is NaN.
    SortedSet(Vec<(Vec<u8>, f64)>),
    /// A stream with its consumer groups.
    Stream(Stream),
}

/// Name of a stream entry; ordered by time first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    /// Milliseconds since the Unix epoch, or whatever the producer chose.
    pub ms: u64,
    /// Counter within the millisecond.
    pub seq: u64,
}

/// A stream: the entries, and what is remembered beyond them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// Ascending by id; deleted entries are not among them.
    pub entries: Vec<StreamEntry>,
    /// Counters and consumer groups.
    pub state: StreamState,
}

/// One entry of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamEntry {
    /// Its id.
    pub id: StreamId,
    /// Field names, shared with the neighbours that have the same ones: a payload names them once for all of
    /// those, and copies would let a small payload ask for memory without bound.
    pub names: Arc<[Vec<u8>]>,
    /// The value of each name, as many as there are names.
    pub values: Vec<Vec<u8>>,
}

/// What a stream remembers beside its entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamState {
    /// Id of the newest entry ever added; no entry is newer.
    pub last_id: StreamId,
    /// Largest id ever deleted; 0-0 when none was.
    pub max_deleted_id: StreamId,
    /// Entries ever added, deleted ones included.
    pub entries_added: u64,
    /// Consumer groups, each name once.
    pub groups: Vec<StreamGroup>,
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamGroup {
    /// Its name.
    pub name: Vec<u8>,
    /// Id of the last entry delivered.
    pub last_id: StreamId,
    /// Logical count of entries read; `None` when it cannot be known.
    pub entries_read: Option<u64>,
    /// Consumers, each name once; no entry is pending with two of them.
    pub consumers: Vec<StreamConsumer>,
}

/// A consumer of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamConsumer {
    /// Its name.
    pub name: Vec<u8>,
    /// When it last asked for something.
    pub seen_at: TimeMs,
    /// When it last received something; `None` when it never did.
    pub active_at: Option<TimeMs>,
    /// Delivered to it and not acknowledged, ascending by id.
    pub pending: Vec<StreamPending>,
}

/// One delivery that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPending {
    /// The entry, which may have been deleted since.
    pub id: StreamId,
    /// When it was last delivered.
    pub delivered_at: TimeMs,
    /// How often it was delivered.
    pub delivery_count: u64,
}
