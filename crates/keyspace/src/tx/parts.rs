//! The partitions that a transaction has locked: nearly always one, for which nothing is allocated or counted.
//!
//! Deliberately not here: which ones to lock, and in which order (`tx.rs`).
//!
//! Invariant: they ascend, without repetition.

use crate::entry::Home;
use crate::partition::Partition;
use crate::spilled;
use crate::table::Place;
use base::{SharedBytes, TimeMs};
use journal::{Journal, RecordHead, RecordKind};
use parking_lot::MutexGuard;
use std::ops::{Deref, DerefMut};

/// One locked partition and what was done to it.
pub(super) struct Part<'a> {
    pub(super) guard: MutexGuard<'a, Partition>,
    pub(super) effects: Vec<u8>,
    pub(super) effect_count: u32,
    /// The only effect so far is a put that ended here: its home can be set without looking it up again.
    pub(super) single_put: Option<(u8, Place)>,
    /// Whether any effect makes a key a whole value, whose home the record then is.
    pub(super) has_puts: bool,
    /// The value of the only effect so far, a put of a large string, whose bytes `effects` leaves out at its end.
    pub(super) apart: Option<SharedBytes>,
}

impl<'a> Part<'a> {
    /// A partition that was just locked.
    #[inline]
    pub(super) fn new(guard: MutexGuard<'a, Partition>) -> Self {
        Part { guard, effects: Vec::new(), effect_count: 0, single_put: None, has_puts: false, apart: None }
    }

    /// Counts an effect that is about to be made. The first one of a transaction gets the memory in `spare`.
    #[inline]
    pub(super) fn begin_effect(&mut self, spare: &mut Vec<u8>) {
        if self.effect_count == 0 {
            self.effects = std::mem::take(spare);
        } else {
            self.join_apart();
        }
        self.effect_count += 1;
    }

    /// Forgets the changes, which are journaled or given up. Returns what they were written in.
    #[inline]
    pub(super) fn take_changes(&mut self) -> Vec<u8> {
        (self.effect_count, self.single_put, self.has_puts, self.apart) = (0, None, false, None);
        std::mem::take(&mut self.effects)
    }

    /// The head of the record that the changes go into, or begin.
    #[inline]
    pub(super) fn head(&self, kind: RecordKind, time: TimeMs) -> RecordHead {
        let (partition, version) = (self.guard.id(), self.guard.version().next());
        RecordHead { kind, partition, version, time, term: 0 }
    }

    /// Journals the changes as a record of their own. There are some.
    #[inline]
    pub(super) fn commit(&mut self, journal: &Journal, time: TimeMs) {
        let head = self.head(RecordKind::Batch, time);
        let Part { guard, effects, effect_count, single_put, has_puts, apart } = self;
        let appended = match apart {
            None => spilled::append_or_stop(journal, &head, effects),
            Some(value) => spilled::append_apart_or_stop(journal, &head, effects, value),
        };
        guard.set_version(head.version);
        guard.revealed = appended.end;
        let home = Home(appended.start.pack());
        match *single_put {
            Some((db, place)) => guard.set_home(db, place, home),
            None if *has_puts => guard.set_homes(effects, spilled::home_in(home, effects.len(), *effect_count)),
            None => {}
        }
    }
}

/// See the module's text.
pub(super) enum Parts<'a> {
    One(Part<'a>),
    Several(Vec<Part<'a>>),
}

impl<'a> Parts<'a> {
    /// Adds one at `index`.
    #[cold]
    pub(super) fn insert(&mut self, index: usize, part: Part<'a>) {
        let mut parts = match std::mem::replace(self, Parts::Several(Vec::new())) {
            Parts::One(one) => vec![one],
            Parts::Several(parts) => parts,
        };
        parts.insert(index, part);
        *self = Parts::Several(parts);
    }
}

impl<'a> Deref for Parts<'a> {
    type Target = [Part<'a>];

    #[inline(always)]
    fn deref(&self) -> &[Part<'a>] {
        match self {
            Parts::One(part) => std::slice::from_ref(part),
            Parts::Several(parts) => parts,
        }
    }
}

impl DerefMut for Parts<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Parts::One(part) => std::slice::from_mut(part),
            Parts::Several(parts) => parts,
        }
    }
}
