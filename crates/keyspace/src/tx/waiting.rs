//! Waiting for keys, and noting which of those that are waited for have changed: see [`crate::waiting`].

use super::Tx;
use crate::waiting::{Ready, Waiter, Wanted};
use base::DbId;

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

    /// Notes that `key` was changed, if anybody waits for it.
    #[inline]
    pub(super) fn signal(&mut self, part: usize, key: &[u8]) {
        if !self.parts[part].guard.waiting.is_empty() {
            self.signal_waited(part, self.db, key);
        }
    }

    #[cold]
    fn signal_waited(&mut self, part: usize, db: DbId, key: &[u8]) {
        let guard = &self.parts[part].guard;
        let is_noted = || self.ready.iter().any(|ready| ready.db == db && ready.key == key);
        if guard.waiting.has(db, key) && !is_noted() {
            self.ready.push(Ready { partition: guard.id(), db, key: key.to_vec() });
        }
    }

    /// Notes that every key of a database may have changed.
    pub(super) fn signal_all(&mut self, part: usize, db: DbId) {
        let keys: Vec<Vec<u8>> = self.parts[part].guard.waiting.keys(db).map(<[u8]>::to_vec).collect();
        for key in keys {
            self.signal_waited(part, db, &key);
        }
    }
}
