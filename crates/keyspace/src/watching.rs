//! Keys that were watched (WATCH) when they were not there: whether one has come to be since.
//!
//! ```text
//! WATCH, the key is there ─► its version tells what happens to it
//! WATCH, it is not        ─► Tx::witness ─► the first change of the key ─► Witness::has_seen, also when it is gone again
//! ```
//!
//! Nobody says that he watches no longer: he lets go of his witness. What nobody holds is forgotten after half as many
//! looks as there are keys, so that each look costs but two more steps, and half of the keys at least are watched.
//!
//! Deliberately not here: keys that are there, comparing, transactions.
//!
//! Invariant: while a witness is held and has seen nothing, its key is listed.

use base::DbId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Sees a key that was not there come to be. All who watch the same absent key share it.
#[derive(Clone, Debug)]
pub struct Witness(Arc<AtomicBool>);

impl Witness {
    /// Whether the key has come to be. To be asked under the lock of its partition.
    pub fn has_seen(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// See the module's text.
#[derive(Default)]
pub struct Watching {
    keys: BTreeMap<DbId, BTreeMap<Vec<u8>, Weak<AtomicBool>>>,
    /// Looks since what nobody holds was forgotten.
    look_count: usize,
}

impl Watching {
    /// Whether no absent key is watched.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A witness for a key that is not there.
    pub fn witness(&mut self, db: DbId, key: &[u8]) -> Witness {
        self.forget();
        let listed = self.keys.entry(db).or_default().entry(key.to_vec()).or_default();
        Witness(listed.upgrade().unwrap_or_else(|| {
            let seen = Arc::new(AtomicBool::new(false));
            *listed = Arc::downgrade(&seen);
            seen
        }))
    }

    /// Notes that a key has come to be, or was changed.
    pub fn see(&mut self, db: DbId, key: &[u8]) {
        self.forget();
        let Some(keys) = self.keys.get_mut(&db) else { return };
        if let Some(seen) = keys.remove(key).and_then(|seen| seen.upgrade()) {
            seen.store(true, Ordering::Relaxed);
        }
        if keys.is_empty() {
            self.keys.remove(&db);
        }
    }

    /// The absent keys of a database that are watched.
    pub fn keys(&self, db: DbId) -> impl Iterator<Item = &[u8]> {
        self.keys.get(&db).into_iter().flat_map(BTreeMap::keys).map(Vec::as_slice)
    }

    fn forget(&mut self) {
        self.look_count += 1;
        if self.keys.values().map(BTreeMap::len).sum::<usize>() <= 2 * self.look_count {
            self.look_count = 0;
            self.keys.retain(|_, keys| {
                keys.retain(|_, seen| 0 < seen.strong_count());
                !keys.is_empty()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DB: DbId = DbId(0);

    #[test]
    fn a_witness_sees_its_key_and_no_other() {
        let mut watching = Watching::default();
        let (one, same, other) =
            (watching.witness(DB, b"k"), watching.witness(DB, b"k"), watching.witness(DbId(1), b"k"));
        watching.see(DB, b"another");
        assert!(!one.has_seen());
        watching.see(DB, b"k");
        assert!(one.has_seen() && same.has_seen() && !other.has_seen());
        let later = watching.witness(DB, b"k");
        assert!(!later.has_seen());
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let mut watching = Watching::default();
        let held = watching.witness(DB, b"held");
        for number in 0..1000 {
            drop(watching.witness(DB, format!("{number}").as_bytes()));
            assert!(watching.keys(DB).count() < 5);
        }
        watching.see(DB, b"held");
        assert!(held.has_seen());
        watching.see(DB, b"held");
        watching.see(DB, b"held");
        assert!(watching.is_empty());
    }
}
