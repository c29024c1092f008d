//! Who waits for which key of a partition: the queues of blocking commands, first come, first served.
//!
//! ```text
//! nothing found ─► Tx::wait (under the locks of the look) ─► queue of each key
//! a change of a key with a queue ─► Ready ─► Committed::ready ─► whoever committed serves the queue, unlocked
//! ```
//!
//! Since who waits is queued under the locks under which nothing was found, no change falls between the two. Changes
//! ask one partition whether anybody waits at all, which costs a branch while nobody does.
//!
//! Deliberately not here: what a waiter is, and serving it (`commands::waiting`); databases are those that clients
//! number, so a waiter stays where it is when SWAPDB brings other keys there.
//!
//! Invariants: within a queue, who came first is served first; one thread at a time serves a queue; a queue without
//! waiters does not exist.

use crate::value::Kind;
use crate::watching::Watching;
use base::{DbId, PartitionId};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A key that changed while somebody waited for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Where it lies.
    pub partition: PartitionId,
    /// The database, as clients number it.
    pub db: DbId,
    /// Its name.
    pub key: Vec<u8>,
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// A key of this type.
    pub kind: Kind,
    /// It is to be told as well when the key is gone or becomes another type.
    pub or_gone: bool,
}

impl Wanted {
    /// Whether a key of type `kind` (`None`: no key) is worth another try.
    pub fn is_met_by(self, kind: Option<Kind>) -> bool {
        self.or_gone || kind == Some(self.kind)
    }
}

/// Someone in a queue, as whoever queued it made it.
pub type Waiter = Arc<dyn Any + Send + Sync>;

#[derive(Default)]
struct Queue {
    /// By the order in which they came.
    waiters: BTreeMap<u64, (Wanted, Waiter)>,
    is_served: bool,
    /// The key changed while its queue was being served.
    is_ready_again: bool,
}

/// See the module's text.
#[derive(Default)]
pub struct Waiting {
    queues: BTreeMap<DbId, BTreeMap<Vec<u8>, Queue>>,
    /// Absent keys that are watched: it is the same changes that they ask for.
    pub watching: Watching,
}

impl Waiting {
    /// Whether nobody waits, nor watches an absent key.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.watching.is_empty()
    }

    /// Number of keys that are waited for, and of those whose going is, too.
    pub fn key_counts(&self) -> (usize, usize) {
        let queues = || self.queues.values().flat_map(BTreeMap::values);
        let has_or_gone = |queue: &&Queue| queue.waiters.values().any(|(wanted, _)| wanted.or_gone);
        (queues().count(), queues().filter(has_or_gone).count())
    }

    /// Whether anybody waits for this key.
    pub fn has(&self, db: DbId, key: &[u8]) -> bool {
        self.queue(db, key).is_some()
    }

    /// The keys of a database that are waited for.
    pub fn keys(&self, db: DbId) -> impl Iterator<Item = &[u8]> {
        self.queues.get(&db).into_iter().flat_map(BTreeMap::keys).map(Vec::as_slice)
    }

    fn queue(&self, db: DbId, key: &[u8]) -> Option<&Queue> {
        self.queues.get(&db)?.get(key)
    }

    fn queue_mut(&mut self, db: DbId, key: &[u8]) -> Option<&mut Queue> {
        self.queues.get_mut(&db)?.get_mut(key)
    }

    /// Queues a waiter behind those with a lower `order`.
    pub fn add(&mut self, db: DbId, key: &[u8], order: u64, wanted: Wanted, waiter: Waiter) {
        let queue = self.queues.entry(db).or_default().entry(key.to_vec()).or_default();
        queue.waiters.insert(order, (wanted, waiter));
    }

    /// Takes a waiter out of a queue, if it is in it.
    pub fn remove(&mut self, db: DbId, key: &[u8], order: u64) {
        let Some(queues) = self.queues.get_mut(&db) else { return };
        if let Some(queue) = queues.get_mut(key) {
            queue.waiters.remove(&order);
            if queue.waiters.is_empty() {
                queues.remove(key);
            }
        }
        if queues.is_empty() {
            self.queues.remove(&db);
        }
    }

    /// The first waiter behind `order` for whom a key of type `kind` is worth another try.
    pub fn next(&self, db: DbId, key: &[u8], order: u64, kind: Option<Kind>) -> Option<(u64, Waiter)> {
        let behind = self.queue(db, key)?.waiters.range(order + 1..);
        let mut met = behind.filter(|(_, (wanted, _))| wanted.is_met_by(kind));
        met.next().map(|(order, (_, waiter))| (*order, Arc::clone(waiter)))
    }

    /// Begins to serve a queue. Returns false when there is none, or when another thread serves it, which will then
    /// look at it once more.
    pub fn begin_serving(&mut self, db: DbId, key: &[u8]) -> bool {
        let Some(queue) = self.queue_mut(db, key) else { return false };
        queue.is_ready_again = queue.is_served;
        !std::mem::replace(&mut queue.is_served, true)
    }

    /// Ends serving a queue. Returns false when the key changed meanwhile, so that it has to be served once more.
    pub fn end_serving(&mut self, db: DbId, key: &[u8]) -> bool {
        let Some(queue) = self.queue_mut(db, key) else { return true };
        queue.is_served = std::mem::take(&mut queue.is_ready_again);
        !queue.is_served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DB: DbId = DbId(0);

    fn waiter(number: u64) -> Waiter {
        Arc::new(number)
    }

    fn list(or_gone: bool) -> Wanted {
        Wanted { kind: Kind::List, or_gone }
    }

    #[test]
    fn who_came_first_is_next_and_an_empty_queue_is_none() {
        let mut waiting = Waiting::default();
        for order in [5, 3, 9] {
            waiting.add(DB, b"k", order, list(order == 9), waiter(order));
        }
        let next = |waiting: &Waiting, after, kind| waiting.next(DB, b"k", after, kind).map(|(order, _)| order);
        assert_eq!(next(&waiting, 0, Some(Kind::List)), Some(3));
        assert_eq!(next(&waiting, 3, Some(Kind::List)), Some(5));
        assert_eq!(next(&waiting, 0, Some(Kind::Hash)), Some(9));
        assert_eq!(next(&waiting, 9, None), None);
        assert_eq!(waiting.key_counts(), (1, 1));
        for order in [3, 5, 9] {
            assert!(!waiting.is_empty());
            waiting.remove(DB, b"k", order);
            waiting.remove(DbId(1), b"k", order);
        }
        waiting.remove(DB, b"k", 9);
        assert!(waiting.is_empty());
    }

    #[test]
    fn a_queue_that_gets_ready_while_it_is_served_is_served_once_more() {
        let mut waiting = Waiting::default();
        assert!(!waiting.begin_serving(DB, b"k"));
        waiting.add(DB, b"k", 1, list(false), waiter(1));
        assert!(waiting.begin_serving(DB, b"k"));
        assert!(!waiting.begin_serving(DB, b"k"), "one at a time");
        assert!(!waiting.end_serving(DB, b"k"), "once more");
        assert!(waiting.end_serving(DB, b"k"));
        assert!(waiting.begin_serving(DB, b"k"));
    }
}
