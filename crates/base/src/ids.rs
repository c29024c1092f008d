//! Newtypes that would otherwise all be `u64` and be swapped by mistake.

/// Largest number of partitions a data directory may be created with.
pub const PARTITION_COUNT_MAX: u16 = 1024;
/// Partitions of a new data directory when nobody asks for another number.
pub const PARTITION_COUNT_DEFAULT: u16 = 64;
/// Numbered databases (`SELECT 0` to `SELECT 15`).
pub const DB_COUNT: usize = 16;

/// Index of a partition, `0..partition_count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u16);

impl PartitionId {
    /// The partition as an array index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Index of a numbered database, `0..DB_COUNT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DbId(pub u8);

impl DbId {
    /// The database as an array index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A partition's own counter: every batch takes the next value, so a key's version is that of the batch
/// which last changed it. Version 0 is "before the first batch". 48 bits are kept per key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// Largest version an index entry can hold: at a million batches a second in one partition, nine years.
    pub const MAX: Version = Version((1 << 48) - 1);

    /// The version of the batch after this one.
    ///
    /// # Panics
    /// When the 48-bit counter is used up.
    #[must_use]
    pub fn next(self) -> Version {
        assert!(self < Version::MAX, "a partition's version counter must not wrap");
        Version(self.0 + 1)
    }
}

/// Wall-clock milliseconds since the Unix epoch. Enters once per command, as its batch's timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeMs(pub i64);
