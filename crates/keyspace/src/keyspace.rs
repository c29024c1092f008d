//! All partitions of a node, each behind its own lock.

use crate::events::{Interests, Listener};
use crate::partition::Partition;
use crate::stream::BlockLimits;
use base::PartitionId;
use base::slot::{SLOT_COUNT, slot_of};
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long a command waits for a partition before it looks whether it is turned away.
const TURNED_AWAY_AFTER: Duration = Duration::from_millis(10);

/// Keeps two partitions' locks off one cache line.
#[repr(align(128))]
struct Padded(Mutex<Partition>);

/// The partitions, by number. A partition owns a contiguous range of slots.
pub struct Keyspace {
    partitions: Vec<Padded>,
    slot_shift: u32,
    /// See [`Keyspace::set_keeps_ended`].
    keeps_ended: AtomicBool,
    /// See [`Keyspace::set_turns_away`].
    turns_away: AtomicBool,
    interests: AtomicU32,
    listener: OnceLock<Arc<dyn Listener>>,
    /// See [`Keyspace::set_stream_limits`]: entries and bytes.
    stream_limits: [AtomicU64; 2],
    arrivals: AtomicU64,
}

impl Keyspace {
    /// `partition_count` empty partitions.
    ///
    /// # Panics
    /// When the count is not a power of two of at most `PARTITION_COUNT_MAX`; configuration refuses it earlier.
    pub fn new(partition_count: u16) -> Self {
        assert!(partition_count.is_power_of_two(), "partitions must divide the slots evenly");
        assert!(partition_count <= base::ids::PARTITION_COUNT_MAX, "too many partitions");
        let standard = BlockLimits::STANDARD;
        Keyspace {
            partitions: (0..partition_count).map(|id| Padded(Mutex::new(Partition::new(PartitionId(id))))).collect(),
            slot_shift: (SLOT_COUNT / partition_count).trailing_zeros(),
            keeps_ended: AtomicBool::new(false),
            turns_away: AtomicBool::new(false),
            interests: AtomicU32::new(Interests::NONE.bits()),
            listener: OnceLock::new(),
            stream_limits: [standard.entry_count_max, standard.bytes_max].map(AtomicU64::new),
            arrivals: AtomicU64::new(1),
        }
    }

    /// Whether what has ended stays (`import-mode`): absent for who reads, and there for who imports.
    #[inline]
    pub fn keeps_ended(&self) -> bool {
        self.keeps_ended.load(Ordering::Relaxed)
    }

    /// Says whether what has ended stays.
    pub fn set_keeps_ended(&self, keeps: bool) {
        self.keeps_ended.store(keeps, Ordering::Relaxed);
    }

    /// A number higher than all before it, for who comes to wait.
    pub(crate) fn next_arrival(&self) -> u64 {
        self.arrivals.fetch_add(1, Ordering::Relaxed)
    }

    /// What the listener wants to hear of. One relaxed load.
    #[inline]
    pub fn interests(&self) -> Interests {
        Interests::from_bits(self.interests.load(Ordering::Relaxed))
    }

    /// These interests, with keys that have records if by now there are any.
    pub(crate) fn interests_besides(&self, known: Interests) -> Interests {
        if self.interests().follows_records() { known.with_records() } else { known }
    }

    /// Says which events the listener wants to hear of, for transactions that begin from now on.
    pub fn set_interests(&self, interests: Interests) {
        let keep = |now: u32| {
            let now = Interests::from_bits(now);
            let interests = interests.with_changes(now.wants_changes());
            Some(if now.follows_records() { interests.with_records() } else { interests }.bits())
        };
        // The closure always gives a value.
        let _ = self.interests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep);
    }

    /// Says whether the listener wants to hear which keys were changed, besides.
    pub fn hear_changes(&self, hears: bool) {
        let switch = |now: u32| Some(Interests::from_bits(now).with_changes(hears).bits());
        // The closure always gives a value.
        let _ = self.interests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, switch);
    }

    /// Has transactions look from here on whether keys that they change have records. To be called with the lock
    /// held of the partition where the first of them is: whoever locks it later knows.
    pub fn follow_records(&self) {
        self.interests.fetch_or(Interests::NONE.with_records().bits(), Ordering::Relaxed);
    }

    /// Has `listener` hear what transactions tell.
    ///
    /// # Panics
    /// When there is one already.
    pub fn set_listener(&self, listener: Arc<dyn Listener>) {
        assert!(self.listener.set(listener).is_ok(), "a keyspace has one listener");
    }

    pub(crate) fn listener(&self) -> Option<&dyn Listener> {
        self.listener.get().map(|listener| &**listener)
    }

    /// When a block of a stream is full.
    #[inline]
    pub fn stream_limits(&self) -> BlockLimits {
        let [entry_count_max, bytes_max] = [0, 1].map(|index: usize| self.stream_limits[index].load(Ordering::Relaxed));
        BlockLimits { entry_count_max, bytes_max }
    }

    /// Says when a block of a stream is full from here on.
    pub fn set_stream_limits(&self, limits: BlockLimits) {
        self.stream_limits[0].store(limits.entry_count_max, Ordering::Relaxed);
        self.stream_limits[1].store(limits.bytes_max, Ordering::Relaxed);
    }

    /// Number of partitions.
    pub fn partition_count(&self) -> u16 {
        self.partitions.len() as u16
    }

    /// All partition numbers, ascending.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = PartitionId> + use<> {
        (0..self.partition_count()).map(PartitionId)
    }

    /// The partition that owns `key`.
    #[inline]
    pub fn partition_of(&self, key: &[u8]) -> PartitionId {
        PartitionId(slot_of(key) >> self.slot_shift)
    }

    /// Locks one partition. To hold several, lock them in ascending order.
    #[inline]
    pub fn lock(&self, id: PartitionId) -> MutexGuard<'_, Partition> {
        self.partitions[id.index()].0.lock()
    }

    /// As [`Keyspace::lock`], but gives up while a script is slow: who waits would wait for the script.
    #[inline]
    pub(crate) fn lock_or_give_up(&self, id: PartitionId) -> Option<MutexGuard<'_, Partition>> {
        match self.try_lock(id) {
            Some(guard) => Some(guard),
            None => self.wait_or_give_up(id),
        }
    }

    #[cold]
    fn wait_or_give_up(&self, id: PartitionId) -> Option<MutexGuard<'_, Partition>> {
        loop {
            if let Some(guard) = self.partitions[id.index()].0.try_lock_for(TURNED_AWAY_AFTER) {
                return Some(guard);
            }
            if self.turns_away.load(Ordering::Relaxed) {
                return None;
            }
        }
    }

    /// Says whether commands that would have to wait for a partition are turned away.
    pub fn set_turns_away(&self, turns_away: bool) {
        self.turns_away.store(turns_away, Ordering::Relaxed);
    }

    /// Locks one partition if nobody holds it.
    pub fn try_lock(&self, id: PartitionId) -> Option<MutexGuard<'_, Partition>> {
        self.partitions[id.index()].0.try_lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_split_the_slots_evenly() {
        for count in [1u16, 2, 64, 1024] {
            let keyspace = Keyspace::new(count);
            let mut seen = vec![0u32; usize::from(count)];
            for number in 0..20_000u32 {
                seen[keyspace.partition_of(&number.to_le_bytes()).index()] += 1;
            }
            assert!(seen.iter().all(|seen| *seen > 0));
        }
    }
}
