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
use crate::table::{Link, Table};
use crate::value::{Value, Within};
use base::{DbId, PartitionId};

/// Bytes from the start of an entry that hold its head, its key and the start of its value.
const ENTRY_LINES: [usize; 2] = [0, 64];

/// Longest element that is looked ahead for: hashing a longer one costs more than a miss.
const ELEMENT_BYTES_MAX: usize = 1 << 10;

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
        self.with_table(ahead, db, |table| table.line_of(ahead.hash, Link::First).into_iter().for_each(prefetch));
    }

    /// Second step, once the buckets are there: the entries that may be the key's, or the bucket behind the first where
    /// there are none. Returns whether that takes a third step.
    #[inline]
    pub fn prefetch_entry(&self, ahead: Ahead, db: DbId) -> bool {
        self.with_table(ahead, db, |table| prefetch_behind(table, ahead.hash, prefetch_entry_at)).unwrap_or(false)
    }

    /// Third step: the entries in the second bucket that may be the key's.
    #[inline]
    pub fn prefetch_far_entry(&self, ahead: Ahead, db: DbId) {
        self.with_table(ahead, db, |table| table.candidates(ahead.hash, Link::Second).for_each(prefetch_entry_at));
    }

    /// `None` when the partition is in use.
    #[inline]
    fn with_table<R>(&self, ahead: Ahead, db: DbId, look: impl FnOnce(&Table) -> R) -> Option<R> {
        let partition = self.try_lock(ahead.partition)?;
        Some(look(partition.index(partition.physical(db)).table()))
    }
}

/// Fetches what lies behind the candidates of the first bucket, or the second bucket where there are none. Returns whether
/// it was the latter.
#[inline]
fn prefetch_behind(table: &Table, hash: u64, prefetch_slot: impl Fn(u64)) -> bool {
    let mut has_candidates = false;
    for slot in table.candidates(hash, Link::First) {
        has_candidates = true;
        prefetch_slot(slot);
    }
    if has_candidates {
        return false;
    }
    let second = table.line_of(hash, Link::Second);
    second.into_iter().for_each(prefetch);
    second.is_some()
}

/// Fetches the start of the entry in a slot.
#[inline]
fn prefetch_entry_at(slot: u64) {
    for offset in ENTRY_LINES {
        prefetch(Slot(slot).address().wrapping_add(offset));
    }
}

/// The keys, and the elements of their values, that commands already received will look up. Kept from one batch of commands
/// to the next for its memory.
#[derive(Default)]
pub struct LookAhead {
    runs: Vec<Run>,
    /// Hashes of elements, run by run.
    elements: Vec<u64>,
    /// Keys that may be in the second bucket of their chain.
    far: Vec<Ahead>,
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
        let element = element.filter(|element| element.len() <= ELEMENT_BYTES_MAX);
        if let (Some(element), Some(run)) = (element, self.runs.last_mut()) {
            self.elements.push(hash_bytes(element));
            run.elements_end += 1;
        }
    }

    /// Has the processor fetch what was noted, step by step for all of it. Of a single key that is its bucket: each further
    /// step would wait for the one before it as long as the command itself does.
    #[inline]
    pub fn fetch(&mut self, keyspace: &Keyspace, db: DbId) {
        for run in &self.runs {
            keyspace.prefetch_bucket(run.ahead, db);
        }
        if self.runs.len() < 2 && self.elements.len() < 2 {
            return;
        }
        self.far.clear();
        for run in &self.runs {
            if keyspace.prefetch_entry(run.ahead, db) {
                self.far.push(run.ahead);
            }
        }
        for ahead in &self.far {
            keyspace.prefetch_far_entry(*ahead, db);
        }
        if !self.elements.is_empty() {
            self.fetch_elements(keyspace, db);
        }
    }

    fn fetch_elements(&self, keyspace: &Keyspace, db: DbId) {
        self.each_value(keyspace, db, |value, _| prefetch(std::ptr::from_ref(value).cast()));
        self.each_value(keyspace, db, |value, elements| match value.within() {
            Within::Bytes(bytes) => prefetch(bytes.as_ptr()),
            Within::Table(table) => {
                elements.iter().filter_map(|hash| table.line_of(*hash, Link::First)).for_each(prefetch);
            }
            Within::Elsewhere => {}
        });
        let prefetch_slot = |slot| prefetch(slot as *const u8);
        self.each_value(keyspace, db, |value, elements| {
            if let Within::Table(table) = value.within() {
                let mut far = 0_u64;
                for (index, hash) in elements.iter().enumerate() {
                    far |= u64::from(prefetch_behind(table, *hash, prefetch_slot)) << (index % 64);
                }
                while far != 0 {
                    let hash = elements[far.trailing_zeros() as usize];
                    table.candidates(hash, Link::Second).for_each(prefetch_slot);
                    far &= far - 1;
                }
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
            let index = partition.index(partition.physical(db));
            let [first, second] = [Link::First, Link::Second].map(|link| index.table().candidates(ahead.hash, link));
            for slot in first.chain(second) {
                // SAFETY: the slot came from the index's table, and the partition is locked.
                if let Stored::Boxed(value) = unsafe { index.entry_of_slot(slot) }.stored() {
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
                prefetch_entry_at(slot);
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
