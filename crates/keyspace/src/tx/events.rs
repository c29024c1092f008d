//! What a transaction tells: see [`crate::events`].

use super::parts::Part;
use super::{Found, Tx};
use crate::effect::Effect;
use crate::events::{Event, Happened, Heard, Message, Told};
use crate::library::LIBRARY_DB;
use crate::partition::{Applied, has_ended};
use base::{DbId, Reader};
use journal::Position;
use smallvec::SmallVec;

impl Tx<'_> {
    /// Tells of something that happened to `key` in the selected database, if anybody wants to know. To be called after
    /// the change, with Redis's name for it.
    ///
    /// # Cost
    /// A branch while nobody does.
    #[inline]
    pub fn notify(&mut self, event: Event, name: &'static str, key: &[u8]) {
        if self.interests.wants(event) {
            self.tell(event, name, self.db, key);
        }
    }

    /// The transaction works for this connection.
    #[inline]
    pub fn set_origin(&mut self, id: u64) {
        self.origin = id;
    }

    /// Whether keys that are looked for and not there are news from here on: so it is for commands that read.
    #[inline]
    pub fn hear_misses(&mut self, hears: bool) {
        self.hears_misses = hears && self.interests.wants(Event::Miss);
    }

    /// Sends a message when the transaction is committed.
    pub fn publish(&mut self, message: Message) {
        self.rare().told.push(Told::Message(message));
    }

    /// The transaction tells of what the journal holds up to `position`: whoever hears it waits for that.
    pub fn reveal(&mut self, position: Position) {
        self.seen = self.seen.max(position);
    }

    /// As [`Tx::peek`] for a command whose look is news when it is in vain.
    #[inline]
    pub fn look_for(&mut self, key: &[u8]) -> Option<Found> {
        let found = self.peek(key);
        if found.is_none() && self.hears_misses {
            self.tell(Event::Miss, "keymiss", self.db, key);
        }
        found
    }

    /// Whether anybody wants to know of such events: for what would have to be looked up to tell of it.
    #[inline]
    pub fn hears(&self, event: Event) -> bool {
        self.interests.wants(event)
    }

    #[cold]
    pub(super) fn tell(&mut self, event: Event, name: &'static str, db: DbId, key: &[u8]) {
        self.rare().told.push(Told::Happened(Happened { event, name, db, key: key.into() }));
    }

    /// Tells what the change that `key` is about to see will do besides: a key that has ended but is still there goes,
    /// and one that is not there comes to be, since nothing that is absent is changed in any other way.
    #[cold]
    pub(super) fn foretell(&mut self, part: usize, key: &[u8]) {
        let partition = &self.parts[part].guard;
        let db = partition.physical(self.db);
        let ended =
            partition.find(db, key).map(|place| has_ended(partition.index(db).entry(place).expires(), self.horizon));
        if ended == Some(true) {
            self.notify(Event::Expired, "expired", key);
        }
        if ended != Some(false) {
            self.notify(Event::New, "new", key);
        }
    }

    /// Makes a change to `key` that somebody wants to hear of.
    #[cold]
    pub(super) fn change_heard(&mut self, part: usize, key: &[u8], encode: impl FnOnce(&mut Vec<u8>, u8)) -> Applied {
        self.foretell(part, key);
        let before = self.parts[part].guard.ended_counts().field_count;
        let applied = self.change_in(part, encode);
        if before < self.parts[part].guard.ended_counts().field_count {
            self.notify(Event::Hash, "hexpired", key);
        }
        applied
    }

    /// Tells of the keys and fields that the timer removed from the one locked partition by the effects in `body`.
    #[cold]
    pub(super) fn tell_ended(&mut self, body: &[u8]) {
        let mut reader = Reader::new(body);
        while !reader.is_empty() {
            let (physical, effect) = Effect::decode(&mut reader).expect("an effect made here decodes");
            if physical >= LIBRARY_DB {
                continue;
            }
            let (key, name) = match effect {
                Effect::HashDelete { key, .. } => (key, "hexpired"),
                Effect::Delete { key } => (key, "expired"),
                _ => unreachable!("what ends is removed"),
            };
            let db = self.parts[0].logical(physical);
            if self.interests.wants(Event::Expired) {
                self.tell(Event::Expired, name, db, key);
            }
            let is_gone = || self.parts[0].guard.find(physical, key).is_none();
            if name == "hexpired" && self.interests.wants(Event::Generic) && is_gone() {
                self.tell(Event::Generic, "del", db, key);
            }
        }
    }

    /// Lets the listener hear what was told and what was changed, if that is news, once all of it is in the journal.
    #[cold]
    pub(super) fn let_hear(&mut self, revealed: Position) {
        let told = self.rare.as_ref().map_or(&[][..], |rare| &rare.told);
        let wants = self.interests.wants_changes();
        let changed = self.parts.iter().filter(|part| wants && part.effect_count > 0);
        let changes: SmallVec<[&[u8]; 4]> = changed.map(|part| &part.effects[..]).collect();
        let flushes = self.flushes;
        if told.is_empty() && changes.is_empty() && !(wants && flushes) {
            return;
        }
        if let Some(listener) = self.keyspace.listener() {
            let (interests, origin) = (self.interests, self.origin);
            listener.hear(&Heard { interests, told, changes: &changes, flushes, origin, revealed });
        }
    }
}

impl Part<'_> {
    /// The number by which clients know a physical database.
    pub(super) fn logical(&self, db: u8) -> DbId {
        let number = self.guard.db_map().iter().position(|physical| *physical == db);
        DbId(number.expect("each physical database has a number") as u8)
    }
}
