//! Consumer groups: how far a group has read, who reads for it, and what was delivered and not acknowledged.
//!
//! Deliberately not here: entries. A pending id may be of one that was deleted since.
//!
//! Invariants: an id is pending with one consumer at most; a consumer's ids are those of the group's that are with it;
//! `bytes` counts names, consumers and what is pending, estimated per node of a tree.

use super::id::StreamId;
use base::TimeMs;
use std::collections::{BTreeMap, BTreeSet};

/// What a group takes by itself.
const GROUP_BYTES: usize = size_of::<Group>() + 2 * size_of::<Box<[u8]>>();
/// What a consumer takes beside twice its name.
const CONSUMER_BYTES: usize = size_of::<Option<Consumer>>() + 2 * (size_of::<Box<[u8]>>() + size_of::<u32>());
/// What a pending entry takes: in the group's tree and in its consumer's, whose nodes are two thirds full.
const PENDING_BYTES: usize = (2 * size_of::<StreamId>() + size_of::<PendingWith>()) * 3 / 2;

/// A consumer group. See the module's text.
#[derive(Default)]
pub struct Group {
    last_id: StreamId,
    entries_read: Option<u64>,
    pending: BTreeMap<StreamId, PendingWith>,
    by_name: BTreeMap<Box<[u8]>, u32>,
    /// Consumers by number; a number that is free is taken again.
    consumers: Vec<Option<Consumer>>,
    name_bytes: usize,
}

struct PendingWith {
    consumer: u32,
    delivered_at: TimeMs,
    delivery_count: u64,
}

/// Who reads for a group.
pub struct Consumer {
    name: Box<[u8]>,
    seen_at: TimeMs,
    active_at: Option<TimeMs>,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// When it last asked for something.
    pub fn seen_at(&self) -> TimeMs {
        self.seen_at
    }

    /// When it last got something, if it ever did.
    pub fn active_at(&self) -> Option<TimeMs> {
        self.active_at
    }

    /// How many entries are pending with it.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending<'a> {
    /// Its id.
    pub id: StreamId,
    /// Name of the consumer that has it.
    pub consumer: &'a [u8],
    /// When it was last delivered.
    pub delivered_at: TimeMs,
    /// How often it was delivered.
    pub delivery_count: u64,
}

/// How far a group has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last entry delivered.
    pub last_id: StreamId,
    /// How many entries of all that were ever added that is, where it is known.
    pub entries_read: Option<u64>,
}

impl Group {
    /// How far it has read.
    pub fn progress(&self) -> Progress {
        Progress { last_id: self.last_id, entries_read: self.entries_read }
    }

    pub(crate) fn set_progress(&mut self, progress: Progress) {
        (self.last_id, self.entries_read) = (progress.last_id, progress.entries_read);
    }

    /// Its consumers in the order of their names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.by_name.values().map(|number| self.at(*number))
    }

    /// The consumer of that name.
    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.by_name.get(name).map(|number| self.at(*number))
    }

    /// Number of the consumer of that name.
    pub(crate) fn number_of(&self, name: &[u8]) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    fn at(&self, number: u32) -> &Consumer {
        self.consumers[number as usize].as_ref().expect("a number in use is of a consumer")
    }

    fn at_mut(&mut self, number: u32) -> &mut Consumer {
        self.consumers[number as usize].as_mut().expect("a number in use is of a consumer")
    }

    /// How many entries are pending.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    fn shown(&self, id: StreamId, with: &PendingWith) -> Pending<'_> {
        let PendingWith { consumer, delivered_at, delivery_count } = *with;
        Pending { id, consumer: &self.at(consumer).name, delivered_at, delivery_count }
    }

    /// What is pending from `start` to `end`, both included.
    pub fn pending(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Pending<'_>> {
        let found = (start <= end).then(|| self.pending.range(start..=end));
        found.into_iter().flatten().map(|(id, with)| self.shown(*id, with))
    }

    /// What is pending with one consumer from `start` to `end`, both included.
    pub fn pending_with<'g>(
        &'g self,
        consumer: &'g Consumer,
        start: StreamId,
        end: StreamId,
    ) -> impl Iterator<Item = Pending<'g>> {
        let found = (start <= end).then(|| consumer.pending.range(start..=end));
        found.into_iter().flatten().map(|id| self.shown(*id, &self.pending[id]))
    }

    /// Id of the last entry that is pending.
    pub fn last_pending(&self) -> Option<StreamId> {
        self.pending.last_key_value().map(|(id, _)| *id)
    }

    /// The pending entry with this id.
    pub fn pending_at(&self, id: StreamId) -> Option<Pending<'_>> {
        self.pending.get(&id).map(|with| self.shown(id, with))
    }

    /// Heap bytes, the group itself included and its name left out.
    pub(crate) fn bytes(&self) -> usize {
        GROUP_BYTES + 2 * self.name_bytes + self.consumers.len() * CONSUMER_BYTES + self.pending.len() * PENDING_BYTES
    }

    /// Makes a consumer unless there is one of that name, and notes that it asked and, if it did, that it got something.
    /// Returns its number, and whether it is new.
    pub(crate) fn see(&mut self, name: &[u8], seen_at: TimeMs, active_at: Option<TimeMs>) -> (u32, bool) {
        if let Some(number) = self.by_name.get(name).copied() {
            let consumer = self.at_mut(number);
            (consumer.seen_at, consumer.active_at) = (seen_at, active_at.or(consumer.active_at));
            return (number, false);
        }
        let consumer = Consumer { name: name.into(), seen_at, active_at, pending: BTreeSet::new() };
        if self.by_name.len() == self.consumers.len() {
            self.consumers.push(None);
        }
        let number = self.consumers.iter().position(Option::is_none).expect("there is a free number");
        self.consumers[number] = Some(consumer);
        self.by_name.insert(name.into(), number as u32);
        self.name_bytes += name.len();
        (number as u32, true)
    }

    /// Removes a consumer with all that is pending with it. Returns how much that was, `None` if it was not there.
    pub(crate) fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let number = self.by_name.remove(name)?;
        self.name_bytes -= name.len();
        let consumer = self.consumers[number as usize].take().expect("a number in use is of a consumer");
        while matches!(self.consumers.last(), Some(None)) {
            self.consumers.pop();
        }
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Makes an entry pending with a consumer, whoever had it before.
    pub(crate) fn hold(&mut self, id: StreamId, consumer: u32, delivered_at: TimeMs, delivery_count: u64) {
        let before = self.pending.insert(id, PendingWith { consumer, delivered_at, delivery_count });
        let moves = before.as_ref().is_none_or(|before| before.consumer != consumer);
        if let Some(before) = before.filter(|_| moves) {
            self.at_mut(before.consumer).pending.remove(&id);
        }
        if moves {
            self.at_mut(consumer).pending.insert(id);
        }
    }

    /// The entry is pending no more. Returns whether it was.
    pub(crate) fn release(&mut self, id: StreamId) -> bool {
        let Some(with) = self.pending.remove(&id) else { return false };
        self.at_mut(with.consumer).pending.remove(&id)
    }
}

/// Equal content, whatever numbers the consumers have.
impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        let seen = |consumer: &Consumer| (consumer.seen_at, consumer.active_at);
        let all = |group: &Group| group.pending.len();
        self.progress() == other.progress()
            && all(self) == all(other)
            && self
                .consumers()
                .map(|one| (one.name(), seen(one)))
                .eq(other.consumers().map(|one| (one.name(), seen(one))))
            && self.pending(StreamId::MIN, StreamId::MAX).eq(other.pending(StreamId::MIN, StreamId::MAX))
    }
}
