//! What a transaction of several commands (MULTI, scripts) needs beyond what one command does: telling whether a key
//! is still what it was, fetching values ahead, and locking more than was known when it began.
//!
//! Deliberately not here: commands, and which of them belong together.
//!
//! Invariant: partitions are waited for in ascending order only; any other one is taken only if nobody holds it.

use super::parts::Part;
use super::{Found, Lookups, Tx};
use crate::keyspace::Keyspace;
use crate::spilled::Spilled;
use base::{PartitionId, Version};
use journal::Position;

/// What tells the states of a key apart: where it lies and the version that last changed it, or that it is absent.
///
/// Equal states are equal content, but for a key that is absent both times: whether it was there in between, only a
/// [`crate::watching::Witness`] sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyState(Option<(u8, Version)>);

impl KeyState {
    /// Whether the key was not there.
    pub fn is_absent(self) -> bool {
        self.0.is_none()
    }
}

impl<'a> Tx<'a> {
    /// The state of `key` in the selected database (WATCH). One that has ended is absent.
    ///
    /// # Cost
    /// One look-up; no value is needed.
    pub fn key_state(&self, key: &[u8]) -> KeyState {
        KeyState(self.peek(key).map(|found| (found.db, self.entry(found).version())))
    }

    /// Asks for the value of `key` to be fetched, if it lies in the journal only: see [`Tx::into_spilled`].
    pub fn fetch_ahead(&mut self, key: &[u8]) {
        if let Some(found @ Found { is_spilled: true, .. }) = self.peek(key) {
            let wanted = self.spilled_at(key, found);
            self.rare().missing.push(wanted);
        }
    }

    /// Asks for values that were come across in partitions that are not kept locked: see [`Tx::into_spilled`].
    pub fn want(&mut self, values: impl IntoIterator<Item = Spilled>) {
        self.rare().missing.extend(values);
    }

    /// How many values were asked for and are missing.
    pub fn missing_count(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.missing.len())
    }

    /// From here on nothing stops with `Spilled`: what is missing is read from the journal under the locks. For
    /// commands that follow others, which must not be run twice.
    pub fn read_in_place(&mut self) {
        self.reads_in_place = true;
    }

    /// Whether reads leave the access clock alone, from here on.
    pub fn set_no_touch(&mut self, no_touch: bool) {
        self.no_touch = no_touch;
        self.last = None;
    }

    /// What was looked up so far.
    pub fn lookups(&self) -> Lookups {
        self.lookups
    }

    /// Takes look-ups back that are not to be counted: those of a command that may write.
    pub fn set_lookups(&mut self, lookups: Lookups) {
        self.lookups = lookups;
    }

    /// Bytes of all changes so far: what the record will hold.
    pub fn changed_bytes(&self) -> usize {
        let bytes_of = |part: &Part<'_>| part.effects.len() + part.apart.as_ref().map_or(0, |value| value.len());
        self.parts.iter().map(bytes_of).sum()
    }

    /// The end of what is durable in the journal.
    pub fn durable(&self) -> Position {
        self.journal.durable()
    }

    /// Whether the partition of `key` is locked.
    pub fn has_locked(&self, key: &[u8]) -> bool {
        self.position_of(self.keyspace.partition_of(key)).is_ok()
    }

    /// Locks a partition as well. Returns false when that would mean to wait for somebody who may be waiting for this
    /// transaction.
    pub fn lock_partition_also(&mut self, id: PartitionId) -> bool {
        let Err(index) = self.position_of(id) else { return true };
        let guard = if index == self.parts.len() { Some(self.keyspace.lock(id)) } else { self.keyspace.try_lock(id) };
        let Some(guard) = guard else { return false };
        self.interests = self.keyspace.interests_besides(self.interests);
        self.parts.insert(index, Part::new(guard));
        self.last = None;
        true
    }

    /// Whether every partition is locked.
    pub fn has_locked_all(&self) -> bool {
        self.parts.len() == usize::from(self.keyspace.partition_count())
    }

    /// Where keys belong.
    pub fn keyspace(&self) -> &'a Keyspace {
        self.keyspace
    }

    pub(super) fn position_of(&self, id: PartitionId) -> Result<usize, usize> {
        self.parts.binary_search_by_key(&id, |part| part.guard.id())
    }
}
