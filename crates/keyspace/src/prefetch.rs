//! Asks the processor for the memory that commands already received will touch soon, so that their cache misses
//! run side by side instead of one after the other.
//!
//! A random key of a million costs three dependent misses: its bucket, its entry, its value; a random member of a set of a
//! million two more: its bucket in the set, and its block. A pipeline of sixteen commands has sixteen such chains, and
//! nothing but the order of work keeps them from overlapping. (The idea is Valkey's memory access amortization, 2024; here
//! per connection, without threads.)
//!
//! Deliberately not here: anything a result depends on. Skipping all of this changes no reply.

#![expect(unsafe_code, reason = "prefetch instructions are intrinsics; entries behind candidates are read")]

use crate::entry::{Slot, Stored};
use crate::hasher::hash_bytes;
use crate::keyspace::Keyspace;
use crate::partition::Partition;
use crate::value::{Value, Within};
use base::{DbId, PartitionId};

/// Bytes from the start of an entry that hold its head, its key and the start of its value.
const ENTRY_LINES: [usize; 2] = [0, 64];

/// A key that will be looked up soon.
#[derive(Clone, Copy, Debug)]
pub struct Ahead {
    partition: PartitionId,
    hash: u64,
}

impl Keyspace {
    /// Notes a key that will be looked up soon.
    #[inline]
    pub fn ahead(&self, key: &[u8]) -> Ahead {
        Ahead { partition: self.partition_of(key), hash: hash_bytes(key) }
    }

    /// First step: the key's bucket.
    #[inline]
    pub fn prefetch_bucket(&self, ahead: Ahead, db: DbId) {
        let Some(partition) = self.try_lock(ahead.partition) else { return };
        if let Some(line) = partition.index(partition.physical(db)).table().line_of(ahead.hash) {
            prefetch(line);
        }
    }

    /// Second step, once the buckets are there: the entries that may be the key's.
    #[inline]
    pub fn prefetch_entry(&self, ahead: Ahead, db: DbId) {
        let Some(partition) = self.try_lock(ahead.partition) else { return };
        for slot in partition.index(partition.physical(db)).table().candidates(ahead.hash) {
            for offset in ENTRY_LINES {
                prefetch(Slot(slot).address().wrapping_add(offset));
            }
        }
    }
}

/// The keys, and the elements of their values, that commands already received will look up. Kept from one batch of commands
/// to the next for its memory.
#[derive(Default)]
pub struct LookAhead {
    runs: Vec<Run>,
    /// Hashes of elements, run by run.
    elements: Vec<u64>,
}

/// Commands on one key that follow each other.
struct Run {
    ahead: Ahead,
    /// Where its elements end in those of all.
    elements_end: usize,
}

impl LookAhead {
    /// Forgets everything.
    #[inline]
    pub fn clear(&mut self) {
        self.runs.clear();
        self.elements.clear();
    }

    /// Notes a key and, where a command is about one, an element of its value.
    ///
    /// # Cost
    /// A hash of either; of a key that was noted last nothing more.
    #[inline]
    pub fn note(&mut self, keyspace: &Keyspace, key: &[u8], element: Option<&[u8]>) {
        let hash = hash_bytes(key);
        if self.runs.last().is_none_or(|run| run.ahead.hash != hash) {
            let ahead = Ahead { partition: keyspace.partition_of(key), hash };
            self.runs.push(Run { ahead, elements_end: self.elements.len() });
        }
        if let (Some(element), Some(run)) = (element, self.runs.last_mut()) {
            self.elements.push(hash_bytes(element));
            run.elements_end += 1;
        }
    }

    /// Has the processor fetch what was noted, step by step for all of it.
    #[inline]
    pub fn fetch(&self, keyspace: &Keyspace, db: DbId) {
        for run in &self.runs {
            keyspace.prefetch_bucket(run.ahead, db);
        }
        for run in &self.runs {
            keyspace.prefetch_entry(run.ahead, db);
        }
        if !self.elements.is_empty() {
            self.fetch_elements(keyspace, db);
        }
    }

    fn fetch_elements(&self, keyspace: &Keyspace, db: DbId) {
        self.each_value(keyspace, db, |value, _| prefetch(std::ptr::from_ref(value).cast()));
        self.each_value(keyspace, db, |value, elements| match value.within() {
            Within::Bytes(bytes) => prefetch(bytes.as_ptr()),
            Within::Table(table) => elements.iter().filter_map(|hash| table.line_of(*hash)).for_each(prefetch),
            Within::Elsewhere => {}
        });
        self.each_value(keyspace, db, |value, elements| {
            if let Within::Table(table) = value.within() {
                elements.iter().flat_map(|hash| table.candidates(*hash)).for_each(|slot| prefetch(slot as *const u8));
            }
        });
    }

    /// Calls `each` for the collections that may be those of a run, with the hashes of its elements.
    #[inline]
    fn each_value(&self, keyspace: &Keyspace, db: DbId, each: impl Fn(&Value, &[u64])) {
        let mut start = 0;
        for Run { ahead, elements_end } in &self.runs {
            let elements = &self.elements[std::mem::replace(&mut start, *elements_end)..*elements_end];
            if elements.is_empty() {
                continue;
            }
            let Some(partition) = keyspace.try_lock(ahead.partition) else { continue };
            for slot in partition.index(partition.physical(db)).table().candidates(ahead.hash) {
                // SAFETY: slots of an index's table are live entries, and the partition is locked.
                if let Stored::Boxed(value) = unsafe { Slot(slot).entry() }.stored() {
                    each(value, elements);
                }
            }
        }
    }
}

impl Partition {
    /// Has the entries of `bucket_count` buckets from `cursor` on fetched, for a walk that will follow.
    pub fn prefetch_buckets(&self, db: u8, mut cursor: u64, bucket_count: usize) {
        for _ in 0..bucket_count {
            cursor = self.index(db).table().scan(cursor, |slot| {
                for offset in ENTRY_LINES {
                    prefetch(Slot(slot).address().wrapping_add(offset));
                }
            });
            if cursor == 0 {
                return;
            }
        }
    }
}

#[inline(always)]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on caches, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
