//! The memory limit: what is counted, and what happens at it.
//!
//! Under `Spill`, the default, values leave memory and keys stay: nothing is lost, reads of cold keys cost a
//! `pread`. The other policies evict keys, or refuse, under the names Redis gives them. Victims are the best of a few
//! sampled at random, as in Redis ("Using Redis as an LRU cache", approximated LRU). When samples find nothing to
//! spill any more, a sweep walks the tables for the few values that are left, a bounded stretch each turn, and rests
//! after a round that won nothing until memory grows again (`sweep.rs`).
//!
//! A thread looks every few milliseconds, so most commands pay nothing; meanwhile memory may run over the limit by what
//! arrives in between. Where keys are evicted or writes refused, who makes memory grow by much looks at once
//! (`make_room`). Writers are slowed down when it runs over by a tenth.

use crate::node::Node;
use crate::sweep::Sweep;
use base::{DbId, PartitionId, TimeMs};
use keyspace::access::Frequency;
use keyspace::entry::EntryRef;
use keyspace::partition::is_spillable;
use keyspace::{AccessClock, Begin, Partition, Tx};
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// What happens when memory reaches its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MemoryPolicy {
    /// Values go to the journal only, the least recently used first. Keys stay.
    Spill,
    /// Commands that need memory are refused.
    NoEviction,
    /// Keys go, the least recently used first.
    AllKeysLru,
    /// Keys that have an end of life go, the least recently used first.
    VolatileLru,
    /// Keys go, the least often used first.
    AllKeysLfu,
    /// Keys that have an end of life go, the least often used first.
    VolatileLfu,
    /// Keys go at random.
    AllKeysRandom,
    /// Keys that have an end of life go at random.
    VolatileRandom,
    /// Keys that have an end of life go, the soonest first.
    VolatileTtl,
}

/// The limit and its parameters.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimit {
    /// Bytes; 0 is no limit.
    pub bytes_max: u64,
    /// What happens at it.
    pub policy: MemoryPolicy,
    /// Keys looked at to find one victim.
    pub samples: u32,
    /// `lfu-log-factor`.
    pub lfu_log_factor: u32,
    /// `lfu-decay-time`, minutes.
    pub lfu_decay_minutes: u32,
}

/// How often the limit is looked at while there is one, and while there is none.
const LOOK_LIMITED: Duration = Duration::from_millis(5);
const LOOK_UNLIMITED: Duration = Duration::from_millis(100);
/// Victims under one lock.
const VICTIMS_PER_LOCK: usize = 16;
/// Locks in a row without a victim after which sampling gives up; with more partitions, as many as there are.
const FRUITLESS_MIN: u64 = 64;
/// Bytes that one command has others' keys make up for, the rest being left to the next turn.
const ROOM_BYTES_MAX: u64 = 1 << 20;
/// Slabs that are emptied under one lock.
const COMPACTED_SLABS_PER_LOCK: usize = 4;
/// Chains of a table that a sweep walks under one lock, and in one turn.
const SWEEP_CHAINS_PER_LOCK: usize = 64;
const SWEEP_CHAINS_PER_TURN: usize = 4096;

pub(crate) struct Memory {
    limit: RwLock<MemoryLimit>,
    /// The limit's frequency parameters, packed for the hot path: 0 is "by time".
    is_frequency: AtomicBool,
    log_factor: AtomicU32,
    decay_minutes: AtomicU32,
    policy: AtomicU8,
    used_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    weighs: AtomicBool,
    refusing: AtomicBool,
    crowded: AtomicBool,
    sweep: Mutex<Sweep>,
}

impl Memory {
    pub(crate) fn new(limit: MemoryLimit) -> Self {
        let memory = Memory {
            limit: RwLock::new(limit),
            is_frequency: AtomicBool::new(false),
            log_factor: AtomicU32::new(0),
            decay_minutes: AtomicU32::new(0),
            policy: AtomicU8::new(limit.policy as u8),
            used_bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            weighs: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
            sweep: Mutex::default(),
        };
        memory.set(limit);
        memory
    }

    fn set(&self, limit: MemoryLimit) {
        let by_frequency = matches!(limit.policy, MemoryPolicy::AllKeysLfu | MemoryPolicy::VolatileLfu);
        self.log_factor.store(limit.lfu_log_factor, Ordering::Relaxed);
        self.decay_minutes.store(limit.lfu_decay_minutes, Ordering::Relaxed);
        self.is_frequency.store(by_frequency, Ordering::Relaxed);
        self.policy.store(limit.policy as u8, Ordering::Relaxed);
        self.weighs.store(limit.bytes_max > 0 && limit.policy != MemoryPolicy::Spill, Ordering::Relaxed);
        *self.limit.write() = limit;
    }

    #[inline]
    pub(crate) fn frequency(&self) -> Option<Frequency> {
        self.is_frequency.load(Ordering::Relaxed).then(|| Frequency {
            log_factor: self.log_factor.load(Ordering::Relaxed),
            decay_minutes: self.decay_minutes.load(Ordering::Relaxed),
        })
    }

    /// Whether growth by much is looked at at once: keys go, or writes are refused, for it.
    #[inline]
    pub(crate) fn weighs(&self) -> bool {
        self.weighs.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }
}

/// How good a victim an entry is: higher goes first. `None`: not one.
fn score(policy: MemoryPolicy, entry: &EntryRef<'_>, clock: &AccessClock, random: u64) -> Option<u64> {
    let is_volatile = entry.expires().is_some();
    match policy {
        MemoryPolicy::NoEviction => None,
        MemoryPolicy::Spill => is_spillable(entry).then(|| clock.idle_seconds(entry.access())),
        MemoryPolicy::VolatileLru
        | MemoryPolicy::VolatileLfu
        | MemoryPolicy::VolatileRandom
        | MemoryPolicy::VolatileTtl
            if !is_volatile =>
        {
            None
        }
        MemoryPolicy::AllKeysLru | MemoryPolicy::VolatileLru => Some(clock.idle_seconds(entry.access())),
        MemoryPolicy::AllKeysLfu | MemoryPolicy::VolatileLfu => {
            Some(u64::from(u8::MAX - clock.frequency_of(entry.access())))
        }
        MemoryPolicy::AllKeysRandom | MemoryPolicy::VolatileRandom => Some(random),
        MemoryPolicy::VolatileTtl => entry.expires().map(|at| u64::MAX - at.0.max(0) as u64),
    }
}

impl Node {
    /// Changes the memory limit. Whether it is passed is judged anew by what is used now; where a partition is held, and
    /// be it by the caller (CONFIG SET in a MULTI), by what was last measured.
    pub fn set_memory_limit(&self, limit: MemoryLimit) {
        self.memory.set(limit);
        let used: Option<u64> = self
            .keyspace
            .ids()
            .map(|id| self.keyspace.try_lock(id).map(|partition| partition.used_bytes() as u64))
            .sum();
        self.note_used_bytes(used.unwrap_or_else(|| self.memory_used_bytes().0));
    }

    /// The memory limit in force. While data is imported nothing is evicted: the source says what goes.
    pub fn memory_limit(&self) -> MemoryLimit {
        let limit = *self.memory.limit.read();
        let may_go = limit.policy == MemoryPolicy::Spill || !self.keyspace.keeps_ended();
        MemoryLimit { policy: if may_go { limit.policy } else { MemoryPolicy::NoEviction }, ..limit }
    }

    /// Bytes of keys, values and tables now, and the most there ever were, as last measured.
    pub fn memory_used_bytes(&self) -> (u64, u64) {
        (self.memory.used_bytes.load(Ordering::Relaxed), self.memory.peak_bytes.load(Ordering::Relaxed))
    }

    /// Whether writers should wait a little for memory to be freed.
    #[inline]
    pub fn is_crowded(&self) -> bool {
        self.memory.crowded.load(Ordering::Relaxed)
    }

    /// Measures what keys, values and tables take. Cost: a lock per partition.
    pub fn measure_memory(&self) -> u64 {
        let used: u64 = self.keyspace.ids().map(|id| self.keyspace.lock(id).used_bytes() as u64).sum();
        self.note_used_bytes(used);
        used
    }

    /// Keeps what was measured, and judges by it whether writes are refused or slowed.
    pub fn note_used_bytes(&self, used: u64) {
        self.memory.used_bytes.store(used, Ordering::Relaxed);
        self.memory.peak_bytes.fetch_max(used, Ordering::Relaxed);
        let limit = self.memory_limit();
        let is_over = limit.bytes_max > 0 && limit.bytes_max < used;
        self.memory.refusing.store(is_over && limit.policy == MemoryPolicy::NoEviction, Ordering::Relaxed);
        let is_crowded = is_over && limit.bytes_max + limit.bytes_max / 10 < used;
        self.memory.crowded.store(is_crowded && limit.policy != MemoryPolicy::NoEviction, Ordering::Relaxed);
    }

    /// One look at the limit. Returns how long until the next.
    pub fn memory_turn(&self) -> Duration {
        let limit = self.memory_limit();
        let used = self.measure_memory();
        if limit.bytes_max == 0 {
            self.compact_some();
            return LOOK_UNLIMITED;
        }
        if limit.bytes_max < used && limit.policy != MemoryPolicy::NoEviction {
            self.relieve(&limit, used);
            self.measure_memory();
        }
        self.compact_some();
        LOOK_LIMITED
    }

    /// Looks at the limit now, for a command that has made memory grow by much: what it takes is made up for, up to a bound,
    /// before the next one runs, and keys that go for it are news ahead of later replies, as in Redis.
    pub fn make_room(&self) {
        let limit = self.memory_limit();
        let used = self.measure_memory();
        let evicts = !matches!(limit.policy, MemoryPolicy::Spill | MemoryPolicy::NoEviction);
        if evicts && 0 < limit.bytes_max && limit.bytes_max < used {
            self.relieve(&limit, used.min(limit.bytes_max + ROOM_BYTES_MAX));
            self.measure_memory();
        }
    }

    /// Moves entries together where those that went have left memory between them, a bounded number each turn.
    fn compact_some(&self) {
        for id in self.keyspace.ids() {
            let mut partition = self.keyspace.lock(id);
            (0..COMPACTED_SLABS_PER_LOCK).all(|_| partition.compact());
        }
    }

    /// Gets memory from `used` bytes down to the limit if it can. Nothing is evicted while the journal has no space for
    /// more: the room kept back then is for the deletes that clients ask for. Nor while clients are paused.
    fn relieve(&self, limit: &MemoryLimit, used: u64) {
        let excess = used - limit.bytes_max;
        if limit.policy != MemoryPolicy::Spill {
            if self.journal.is_full() || self.holds_still() {
                return;
            }
            self.relieve_by_samples(limit, excess);
            return;
        }
        let mut sweep = self.memory.sweep.lock();
        if !sweep.is_awake(used) {
            return;
        }
        let won = self.relieve_by_samples(limit, excess);
        if won < excess {
            self.relieve_by_sweep(&mut sweep, excess - won, used - won);
        }
    }

    /// Takes victims from one partition after the other, from a random one on, until all of them have had none.
    fn relieve_by_samples(&self, limit: &MemoryLimit, excess: u64) -> u64 {
        let count = u64::from(self.keyspace.partition_count());
        let start = self.random();
        let (mut won, mut looks, mut fruitless) = (0u64, 0u64, 0u64);
        while won < excess && fruitless < count.max(FRUITLESS_MIN) && !self.is_stopping() {
            let id = PartitionId((start.wrapping_add(looks) % count) as u16);
            looks += 1;
            let step = match limit.policy {
                MemoryPolicy::Spill => self.spill_some(id, limit),
                _ => self.evict_some(id, limit),
            };
            fruitless = if step == 0 { fruitless + 1 } else { 0 };
            won += step;
        }
        won
    }

    /// Spills whatever the sweep meets, for one turn at most. `used` only grows less while nobody writes.
    fn relieve_by_sweep(&self, sweep: &mut Sweep, excess: u64, used: u64) {
        let (mut won, mut chains) = (0, 0);
        while won < excess && chains < SWEEP_CHAINS_PER_TURN && sweep.is_awake(used) && !self.is_stopping() {
            let (walked, step) = self.sweep_some(sweep, used);
            chains += walked;
            won += step;
        }
    }

    /// One lock of the sweep. Returns the chains walked, at least one, and the bytes won.
    fn sweep_some(&self, sweep: &mut Sweep, used: u64) -> (usize, u64) {
        let moment = self.moment();
        let mut partition = self.keyspace.lock(PartitionId(sweep.partition()));
        let (mut cursor, mut walked, mut keys) = (sweep.cursor(), 0, Vec::new());
        while walked < SWEEP_CHAINS_PER_LOCK && (walked == 0 || cursor != 0) {
            cursor = partition.index(sweep.db()).scan(cursor, |entry| {
                if is_spillable(&entry) {
                    keys.push(entry.key().to_vec());
                }
            });
            walked += 1;
        }
        let won = keys.iter().map(|key| self.spill_one(&mut partition, sweep.db(), key, moment.now)).sum();
        let garbage = partition.take_garbage();
        drop(partition);
        self.discard(garbage);
        sweep.advance(cursor, won, self.keyspace.partition_count(), used);
        (walked, won)
    }

    fn spill_some(&self, id: PartitionId, limit: &MemoryLimit) -> u64 {
        let moment = self.moment();
        let mut partition = self.keyspace.lock(id);
        let mut won = 0;
        for _ in 0..VICTIMS_PER_LOCK {
            let Some((db, key)) = self.victim(&partition, limit, &moment.clock) else { break };
            let bytes = self.spill_one(&mut partition, db, &key, moment.now);
            won += bytes;
            if bytes == 0 {
                break;
            }
        }
        let garbage = partition.take_garbage();
        drop(partition);
        self.discard(garbage);
        won
    }

    /// Spills one value, written to the journal first if it has no home there. Returns the bytes won: 0 when the
    /// journal has no room.
    fn spill_one(&self, partition: &mut Partition, db: u8, key: &[u8], now: TimeMs) -> u64 {
        let Some(place) = partition.find(db, key) else { return 0 };
        let has_home = partition.index(db).entry(place).home().is_known();
        if !has_home && partition.write_home(db, place, &self.journal, now).is_none() {
            return 0;
        }
        let bytes = partition.spill(db, place) as u64;
        self.counters.spilled.fetch_add(u64::from(bytes > 0), Ordering::Relaxed);
        bytes
    }

    fn evict_some(&self, id: PartitionId, limit: &MemoryLimit) -> u64 {
        let moment = self.moment();
        let mut spare = Vec::new();
        let begin = Begin { db: DbId(0), now: moment.now, clock: moment.clock, no_touch: true };
        let mut tx = Tx::begin(&self.keyspace, &self.journal, &[id], begin, &mut spare);
        let before = tx.partition(id).map_or(0, Partition::used_bytes);
        let mut count = 0;
        for _ in 0..VICTIMS_PER_LOCK {
            let victim = tx.partition(id).and_then(|partition| self.victim(partition, limit, &moment.clock));
            let Some((db, key)) = victim else { break };
            tx.delete_physical(db, &key);
            count += 1;
        }
        let after = tx.partition(id).map_or(0, Partition::used_bytes);
        let mut garbage = Vec::new();
        self.let_serve(tx.commit(&mut garbage).ready);
        self.discard(garbage);
        self.counters.evicted.fetch_add(count, Ordering::Relaxed);
        before.saturating_sub(after) as u64
    }

    /// The best victim of a few sampled from the databases of `partition`.
    fn victim(&self, partition: &Partition, limit: &MemoryLimit, clock: &AccessClock) -> Option<(u8, Vec<u8>)> {
        let mut best: Option<(u64, u8, Vec<u8>)> = None;
        for db in (0..base::DB_COUNT as u8).filter(|db| !partition.index(*db).is_empty()) {
            for _ in 0..limit.samples.max(1) {
                let random = self.random();
                let Some(entry) = partition.index(db).sample(random) else { break };
                let Some(score) = score(limit.policy, &entry, clock, random) else { continue };
                if best.as_ref().is_none_or(|(best, ..)| *best < score) {
                    best = Some((score, db, entry.key().to_vec()));
                }
            }
        }
        best.map(|(_, db, key)| (db, key))
    }
}
