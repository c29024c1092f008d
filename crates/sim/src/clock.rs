//! A clock that moves only when told to.

use std::sync::atomic::{AtomicU64, Ordering};

use base::TimeMs;
use env::Clock;

const NS_PER_MS: u64 = 1_000_000;

/// Wall and monotonic time that advance together, by hand.
#[derive(Default)]
pub struct SimClock {
    ns: AtomicU64,
}

impl SimClock {
    /// A clock at the epoch.
    pub fn new() -> SimClock {
        SimClock::default()
    }

    /// Moves the clock.
    pub fn advance_ms(&self, ms: u64) {
        self.ns.fetch_add(ms * NS_PER_MS, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> TimeMs {
        TimeMs((self.monotonic_ns() / NS_PER_MS) as i64)
    }

    fn monotonic_ns(&self) -> u64 {
        self.ns.load(Ordering::Relaxed)
    }
}
