//! Waiting for keys, watching absent ones, and noting which of those have changed: see [`crate::waiting`] and
//! [`crate::watching`].

use super::Tx;
use crate::effect::Effect;
use crate::library::LIBRARY_DB;
use crate::partition::has_ended;
use crate::waiting::{Ready, Waiter, Wanted};
use crate::watching::Witness;
use base::{DbId, Reader};

impl Tx<'_> {
    /// A number for who comes to wait. Under the locks of a key it is higher than any that waits for it.
    pub fn next_arrival(&self) -> u64 {
        self.keyspace.next_arrival()
    }

    /// Queues a waiter for `key` in the selected database, behind all with a lower `order`.
    pub fn wait(&mut self, key: &[u8], order: u64, wanted: Wanted, waiter: Waiter) {
        let part = self.part_of(key);
        self.parts[part].guard.waiting.add(self.db, key, order, wanted, waiter);
    }

    /// A witness for `key` in the selected database, where it is not there. One that has ended is not.
    pub fn witness(&mut self, key: &[u8]) -> Witness {
        debug_assert!(self.peek(key).is_none(), "versions tell of a key that is there");
        let part = self.part_of(key);
        self.parts[part].guard.waiting.watching.witness(self.db, key)
    }

    /// Notes that `key` was changed, if anybody waits for it or watches it.
    #[inline]
    pub(super) fn signal(&mut self, part: usize, key: &[u8]) {
        if !self.parts[part].guard.waiting.is_empty() {
            self.parts[part].guard.waiting.watching.see(self.db, key);
            self.signal_waited(part, self.db, key);
        }
    }

    #[cold]
    fn signal_waited(&mut self, part: usize, db: DbId, key: &[u8]) {
        let guard = &self.parts[part].guard;
        let noted = self.rare.as_ref().map_or(&[][..], |rare| &rare.ready);
        let is_noted = || noted.iter().any(|ready| ready.db == db && ready.key == key);
        if guard.waiting.has(db, key) && !is_noted() {
            let ready = Ready { partition: guard.id(), db, key: key.to_vec() };
            self.rare().ready.push(ready);
        }
    }

    /// Notes that every key of a database may have changed.
    pub(super) fn signal_all(&mut self, part: usize, db: DbId) {
        let keys: Vec<Vec<u8>> = self.parts[part].guard.waiting.keys(db).map(<[u8]>::to_vec).collect();
        for key in keys {
            self.signal_waited(part, db, &key);
        }
        let guard = &mut self.parts[part].guard;
        let physical = guard.physical(db);
        let is_there = |key: &&[u8]| {
            let place = guard.find(physical, key);
            place.is_some_and(|place| !has_ended(guard.index(physical).entry(place).expires(), self.horizon))
        };
        let there: Vec<Vec<u8>> = guard.waiting.watching.keys(db).filter(is_there).map(<[u8]>::to_vec).collect();
        for key in there {
            guard.waiting.watching.see(db, &key);
        }
    }

    /// Notes that a key of a physical database is gone for reasons of the node's own.
    pub(super) fn signal_gone(&mut self, part: usize, physical: u8, key: &[u8]) {
        if !self.parts[part].guard.waiting.is_empty() {
            self.signal_waited(part, self.parts[part].logical(physical), key);
        }
    }

    /// Notes which keys the timer removed from the one locked partition by the effects in `body`.
    pub(super) fn signal_ended(&mut self, body: &[u8]) {
        let mut reader = Reader::new(body);
        while !self.parts[0].guard.waiting.is_empty() && !reader.is_empty() {
            let (physical, effect) = Effect::decode(&mut reader).expect("an effect made here decodes");
            if let Effect::Delete { key } = effect
                && physical < LIBRARY_DB
            {
                self.signal_gone(0, physical, key);
            }
        }
    }
}
