//! Asks the processor for the memory that commands already received will touch soon, so that their cache misses
//! run side by side instead of one after the other.
//!
//! A random key of a million costs three dependent misses: its bucket, its entry, its value. A pipeline of sixteen
//! commands has sixteen such chains, and nothing but the order of work keeps them from overlapping. (The idea is
//! Valkey's memory access amortization, 2024; here per connection, without threads.)
//!
//! Deliberately not here: anything a result depends on. Skipping all of this changes no reply.

#![expect(unsafe_code, reason = "prefetch instructions are intrinsics")]

use crate::entry::Slot;
use crate::hasher::hash_bytes;
use crate::keyspace::Keyspace;
use crate::partition::Partition;
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
