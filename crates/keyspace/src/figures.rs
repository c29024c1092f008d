//! What the partitions hold, counted and added up: for INFO, MEMORY STATS and metrics.
//!
//! A command counts through its transaction, which knows what it has locked ([`Tx::figures`]); anybody else through
//! [`Keyspace::figures`].

use crate::Keyspace;
use crate::partition::{EndedCounts, Partition};
use crate::tx::Tx;
use base::{DB_COUNT, DbId, TimeMs, Version};

/// Keys of one database. Those that have ended are not counted, removed or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DbFigures {
    /// How many there are.
    pub key_count: u64,
    /// How many of them will end.
    pub expiring_count: u64,
    /// How many of them are hashes with fields that will end.
    pub expiring_fields_count: u64,
    /// Bytes of its tables.
    pub table_bytes: u64,
}

/// What all partitions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Each database.
    pub dbs: [DbFigures; DB_COUNT],
    /// What was removed because its time had come, since the start.
    pub ended: EndedCounts,
    /// Keys that are waited for.
    pub waited_key_count: usize,
    /// Those of them whose going is waited for, too.
    pub waited_or_gone_count: usize,
    /// Bytes of keys, values and tables.
    pub used_bytes: u64,
    /// The version of each partition, in their order.
    pub versions: Vec<Version>,
}

impl Figures {
    /// Counts a partition as of `now`. Cost: the keys that have ended and are not removed yet.
    pub(crate) fn add(&mut self, partition: &Partition, now: TimeMs) {
        for (number, figures) in self.dbs.iter_mut().enumerate() {
            let db = partition.physical(DbId(number as u8));
            let index = partition.index(db);
            let key_count = partition.key_count(db, now);
            let ended_count = index.len() - key_count;
            figures.key_count += key_count as u64;
            figures.expiring_count += (index.expiring_count() - ended_count) as u64;
            figures.expiring_fields_count += partition.expiring_fields_count(db) as u64;
            figures.table_bytes += index.table_bytes() as u64;
        }
        let ended = partition.ended_counts();
        self.ended.key_count += ended.key_count;
        self.ended.field_count += ended.field_count;
        let (waited, or_gone) = partition.waiting.key_counts();
        self.waited_key_count += waited;
        self.waited_or_gone_count += or_gone;
        self.used_bytes += partition.used_bytes() as u64;
        self.versions.push(partition.version());
    }

    /// Keys of all databases.
    pub fn key_count(&self) -> u64 {
        self.dbs.iter().map(|db| db.key_count).sum()
    }
}

impl Keyspace {
    /// Counts everything as of `now`. Cost: a lock per partition, so not for who holds one.
    pub fn figures(&self, now: TimeMs) -> Figures {
        let mut figures = Figures::default();
        self.ids().for_each(|id| figures.add(&self.lock(id), now));
        figures
    }
}

impl Tx<'_> {
    /// Counts everything, this transaction's changes included. All partitions must be locked, or none
    /// (`Scope::Each`). A reply made of counts does not wait until what was counted is durable.
    pub fn figures(&self) -> Figures {
        let Some(partitions) = self.all_locked() else { return self.keyspace().figures(self.now()) };
        let mut figures = Figures::default();
        partitions.for_each(|partition| figures.add(partition, self.now()));
        figures
    }
}
