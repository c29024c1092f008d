//! How many syncs there were and how long they took.
//!
//! Deliberately not here: what was synced, and when somebody should know.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::journal::Journal;

/// Buckets of durations: up to 1 µs, up to 2, up to 4 and so on; the last has all that took longer than half a second.
pub const SYNC_OCTAVES: usize = 21;

/// Syncs since the journal was opened, failed ones included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncTimes {
    /// Syncs by duration.
    pub octaves: [u64; SYNC_OCTAVES],
    /// Nanoseconds that they took together.
    pub total_ns: u64,
}

impl SyncTimes {
    /// How many syncs there were.
    pub fn count(&self) -> u64 {
        self.octaves.iter().sum()
    }
}

#[derive(Default)]
pub(crate) struct SyncClock {
    octaves: [AtomicU64; SYNC_OCTAVES],
    total_ns: AtomicU64,
}

impl SyncClock {
    /// Counts a sync that took `ns`.
    pub(crate) fn note(&self, ns: u64) {
        self.octaves[octave(ns)].fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

fn octave(ns: u64) -> usize {
    let whole_us = ns.div_ceil(1000).max(1);
    (whole_us.next_power_of_two().trailing_zeros() as usize).min(SYNC_OCTAVES - 1)
}

impl Journal {
    /// Counts and durations of the syncs so far.
    pub fn sync_times(&self) -> SyncTimes {
        let clock = &self.sync_clock;
        SyncTimes {
            octaves: std::array::from_fn(|octave| clock.octaves[octave].load(Ordering::Relaxed)),
            total_ns: clock.total_ns.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_what_took_up_to_its_power_of_two() {
        let cases = [(0, 0), (1000, 0), (1001, 1), (2000, 1), (2001, 2), (524_288_000, 19), (524_288_001, 20)];
        for (ns, expected) in cases {
            assert_eq!(octave(ns), expected, "{ns}");
        }
        assert_eq!(octave(u64::MAX / 2), SYNC_OCTAVES - 1);
    }
}
