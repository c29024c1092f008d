//! The stream data type: entries that are added at the end, each a list of names and values under an id that only
//! grows, and groups of consumers that share the reading of them.
//!
//! Entries lie packed in blocks (`log`), groups beside them (`group`). Deliberately without a clock, and without a
//! say in where blocks end: both come with the change. A stream may be empty, and exists all the same.
//!
//! Invariants: no entry is later than `last_id`; `bytes` counts what the heap gave but for the nodes of trees, which
//! are estimated; two streams with the same content are equal, wherever their blocks end.
//!
//! Source: the behaviour of Redis 7.2 and Valkey 9.1, "lag" and "entries-read" included.

mod block;
mod group;
mod id;
mod image;
mod log;
#[cfg(test)]
mod tests;

pub use block::{Entry, Fields};
pub use group::{Consumer, Group, Pending, Progress};
pub use id::{IdText, StreamId};
pub(crate) use id::{put_id, put_id_after, read_id, read_id_after};
pub(crate) use image::{put_count_known, put_time_known, read_count_known, read_time_known};
pub use log::Trim;

use base::TimeMs;
use log::Log;
use std::collections::BTreeMap;
use std::fmt;

/// Bytes of names and values of one entry.
pub const ENTRY_BYTES_MAX: usize = 1 << 30;
/// Bytes of a block of several entries, whatever the settings say.
pub const BLOCK_BYTES_MAX: usize = 1 << 20;

/// When a block is full. 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLimits {
    /// Entries of a block.
    pub entry_count_max: u64,
    /// Bytes of a block.
    pub bytes_max: u64,
}

impl BlockLimits {
    /// As Redis has them by default.
    pub const STANDARD: BlockLimits = BlockLimits { entry_count_max: 100, bytes_max: 4096 };
}

/// What a stream remembers beyond its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The largest id an entry ever had; no entry to come has a smaller one.
    pub last_id: StreamId,
    /// The largest id that was ever deleted by name, not by a trim; 0-0 when none was.
    pub max_deleted_id: StreamId,
    /// How many entries were ever added.
    pub entries_added: u64,
}

/// A stream. See the module's text.
#[derive(Default)]
pub struct Stream {
    log: Log,
    counters: Counters,
    groups: BTreeMap<Box<[u8]>, Group>,
    group_bytes: usize,
}

impl Stream {
    /// An empty stream; allocates nothing.
    pub fn new() -> Self {
        Stream::default()
    }

    /// Number of entries.
    #[inline]
    pub fn len(&self) -> u64 {
        self.log.len()
    }

    /// Whether there are no entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes, the allocator's own overhead left out.
    ///
    /// # Cost
    /// Constant: kept up to date by each change.
    #[inline]
    pub fn bytes(&self) -> usize {
        size_of::<Stream>() + self.log.bytes() + self.group_bytes
    }

    /// Number of things whose freeing takes time of its own.
    pub fn part_count(&self) -> usize {
        self.log.block_count() + self.groups.values().map(Group::pending_count).sum::<usize>()
    }

    /// Number of blocks that the entries lie in.
    pub fn block_count(&self) -> usize {
        self.log.block_count()
    }

    /// What it remembers beyond its entries.
    #[inline]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Id of the first entry.
    pub fn first_id(&self) -> Option<StreamId> {
        self.log.first()
    }

    /// Id of the last entry that is there.
    pub fn top_id(&self) -> Option<StreamId> {
        self.log.last()
    }

    /// Entries from `start` to `end`, both included.
    ///
    /// # Cost
    /// Logarithmic to the first block, then a walk.
    pub fn range(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        self.log.range(start, end)
    }

    /// As [`Stream::range`], each entry with whether it is the first of its block.
    pub(crate) fn range_opening(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = (bool, Entry<'_>)> {
        self.log.range_opening(start, end)
    }

    /// As [`Stream::range`], last to first.
    ///
    /// # Cost
    /// As [`Stream::range`]; each block is walked before its last entry is given.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        self.log.range_back(start, end)
    }

    /// The entry with this id.
    pub fn entry(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }

    /// Whether an entry of so many bytes should open a block of its own.
    #[inline]
    pub fn is_block_full(&self, entry_bytes: usize, limits: BlockLimits) -> bool {
        let (bytes, count) = self.log.tail_fill();
        let sum = bytes.saturating_add(entry_bytes);
        let by_bytes = limits.bytes_max != 0 && limits.bytes_max <= sum as u64;
        let by_count = limits.entry_count_max != 0 && limits.entry_count_max <= u64::from(count);
        by_bytes || by_count || BLOCK_BYTES_MAX < sum
    }

    /// The last id that a trim takes along; `None` when it takes none. An `approximate` one takes whole blocks only, and
    /// as many of them as hold at most `limit` entries, unless that is 0.
    ///
    /// # Cost
    /// A step per block that goes, and a walk within the last.
    pub fn trim_end(&self, trim: Trim, approximate: bool, limit: u64) -> Option<StreamId> {
        self.log.trim_end(trim, approximate, limit)
    }

    /// The groups in the order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }

    /// The group of that name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// Whether an entry after `id` may have been deleted by name.
    fn has_gap_after(&self, id: StreamId) -> bool {
        let deleted = self.counters.max_deleted_id;
        !self.is_empty() && deleted != StreamId::MIN && id <= deleted
    }

    /// How many entries had been added when the one with this id had, where that can be told.
    pub fn entries_until(&self, id: StreamId) -> Option<u64> {
        let Counters { last_id, max_deleted_id, entries_added } = self.counters;
        let Some(first) = self.first_id().filter(|_| 0 < entries_added) else {
            return (entries_added == 0 || id <= last_id).then_some(entries_added);
        };
        if id != StreamId::MIN && id < max_deleted_id {
            return None;
        }
        if last_id <= id {
            return (id == last_id).then_some(entries_added);
        }
        let is_whole = max_deleted_id == StreamId::MIN || max_deleted_id < first;
        let before_count = entries_added.saturating_sub(self.len());
        match id.cmp(&first) {
            std::cmp::Ordering::Less if is_whole => Some(before_count),
            std::cmp::Ordering::Equal if is_whole => Some(before_count.saturating_add(1)),
            _ => None,
        }
    }

    /// How far a group has read that had read as far as `progress` and is now given the entry `id`.
    pub fn progress_to(&self, progress: Progress, id: StreamId) -> Progress {
        let Progress { last_id, entries_read } = progress;
        if id <= last_id {
            return progress;
        }
        let is_counted = self.first_id().is_some_and(|first| first <= last_id) && !self.has_gap_after(last_id);
        let entries_read = match entries_read {
            Some(count) if is_counted => Some(count.saturating_add(1)),
            _ if 0 < self.counters.entries_added => self.entries_until(id),
            unknown => unknown,
        };
        Progress { last_id: id, entries_read }
    }

    /// How many entries a group has yet to be given, where that can be told.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let Progress { last_id, entries_read } = group.progress();
        let added = self.counters.entries_added;
        let read = match entries_read {
            _ if added == 0 => Some(0),
            Some(count) if !self.has_gap_after(last_id) => Some(count),
            _ => self.entries_until(last_id),
        };
        read.map(|read| (added as i64).wrapping_sub(read as i64))
    }

    /// Adds an entry, which `opens` a block or not. Returns whether its id is after all others; else adds nothing.
    pub fn add<'f>(
        &mut self,
        id: StreamId,
        opens: bool,
        fields: impl ExactSizeIterator<Item = (&'f [u8], &'f [u8])> + Clone,
    ) -> bool {
        if id <= self.counters.last_id {
            return false;
        }
        self.log.push(id, opens, fields);
        self.counters.last_id = id;
        self.counters.entries_added = self.counters.entries_added.wrapping_add(1);
        true
    }

    /// Removes all entries up to `through`. Returns how many they were.
    pub(crate) fn trim(&mut self, through: StreamId) -> u64 {
        self.log.trim(through)
    }

    /// Removes an entry by name, and remembers that. Returns whether it was there: a replay may meet a stream from which
    /// it is gone already, and remembers it all the same.
    pub(crate) fn delete(&mut self, id: StreamId) -> bool {
        self.counters.max_deleted_id = self.counters.max_deleted_id.max(id);
        self.log.remove(id)
    }

    /// Sets what it remembers; the last id no lower than that of the last entry.
    pub fn set_counters(&mut self, counters: Counters) {
        self.counters = counters;
        self.counters.last_id = counters.last_id.max(self.top_id().unwrap_or_default());
    }

    /// Sets how far a group has read, making it if there is none. Returns whether it is new.
    pub fn put_group(&mut self, name: &[u8], progress: Progress) -> bool {
        let is_new = !self.groups.contains_key(name);
        if is_new {
            let group = Group::default();
            self.group_bytes += group.bytes() + name.len();
            self.groups.insert(name.into(), group);
        }
        self.with_group(name, |group| group.set_progress(progress));
        is_new
    }

    /// Makes a consumer of a group that is there, unless there is one of that name, with what is pending with it.
    pub fn put_consumer(
        &mut self,
        group: &[u8],
        name: &[u8],
        seen_at: TimeMs,
        active_at: Option<TimeMs>,
        held: impl Iterator<Item = (StreamId, TimeMs, u64)>,
    ) {
        self.with_group(group, |group| {
            let (number, _) = group.see(name, seen_at, active_at);
            held.for_each(|(id, delivered_at, delivery_count)| group.hold(id, number, delivered_at, delivery_count));
        });
    }

    /// Removes a group. Returns whether it was there.
    pub(crate) fn remove_group(&mut self, name: &[u8]) -> bool {
        let Some(group) = self.groups.remove(name) else { return false };
        self.group_bytes -= group.bytes() + name.len();
        true
    }

    /// Changes a group; does nothing when there is none.
    pub(crate) fn with_group<R: Default>(&mut self, name: &[u8], change: impl FnOnce(&mut Group) -> R) -> R {
        let Some(group) = self.groups.get_mut(name) else { return R::default() };
        let before = group.bytes();
        let result = change(group);
        self.group_bytes = self.group_bytes + group.bytes() - before;
        result
    }
}

/// Equal content, wherever the blocks end.
impl PartialEq for Stream {
    fn eq(&self, other: &Stream) -> bool {
        let all = |stream: &Stream| stream.len();
        self.counters == other.counters
            && all(self) == all(other)
            && self.range(StreamId::MIN, StreamId::MAX).eq(other.range(StreamId::MIN, StreamId::MAX))
            && self.groups == other.groups
    }
}

/// Everything in one canonical text: two equal streams print alike.
impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters { last_id, max_deleted_id, entries_added } = self.counters;
        write!(f, "last {last_id:?} deleted {max_deleted_id:?} added {entries_added}")?;
        for entry in self.range(StreamId::MIN, StreamId::MAX) {
            write!(f, ", {:?}", entry.id)?;
            for (name, value) in entry.fields() {
                write!(f, " \"{}\"=\"{}\"", name.escape_ascii(), value.escape_ascii())?;
            }
        }
        for (name, group) in self.groups() {
            write!(f, ", group \"{}\" {group:?}", name.escape_ascii())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { last_id, entries_read } = self.progress();
        write!(f, "last {last_id:?} read {entries_read:?}")?;
        for consumer in self.consumers() {
            let (name, seen, active) = (consumer.name().escape_ascii(), consumer.seen_at().0, consumer.active_at());
            write!(f, " consumer \"{name}\" seen {seen} active {:?}", active.map(|at| at.0))?;
        }
        for Pending { id, consumer, delivered_at, delivery_count } in self.pending(StreamId::MIN, StreamId::MAX) {
            let (consumer, at) = (consumer.escape_ascii(), delivered_at.0);
            write!(f, " pending {id:?} \"{consumer}\" at {at} times {delivery_count}")?;
        }
        Ok(())
    }
}
