//! Time: the wall clock for what is written down, a monotonic clock for how long to wait.
//!
//! Deliberately not a timer: nobody sleeps here.

use crate::counter;
use base::TimeMs;
use std::time::Instant;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch. May jump in either direction when the operator sets the clock, within 5 ms of that.
    fn wall_ms(&self) -> TimeMs;

    /// Nanoseconds since an arbitrary moment of this process. Never runs backwards.
    fn monotonic_ns(&self) -> u64;
}

/// The clocks of the operating system.
pub struct RealClock {
    origin: Instant,
}

impl RealClock {
    /// A clock whose monotonic reading starts near zero now.
    pub fn new() -> RealClock {
        RealClock { origin: Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> RealClock {
        RealClock::new()
    }
}

impl Clock for RealClock {
    #[inline]
    fn wall_ms(&self) -> TimeMs {
        TimeMs(counter::wall_ms())
    }

    fn monotonic_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_does_not_run_backwards() {
        let clock = RealClock::new();
        let mut last_ns = clock.monotonic_ns();
        for _ in 0..1000 {
            let now_ns = clock.monotonic_ns();
            assert!(last_ns <= now_ns);
            last_ns = now_ns;
        }
    }

    #[test]
    fn the_wall_clock_is_in_milliseconds_of_this_era() {
        let year_2020_ms = 1_577_836_800_000;
        let year_2200_ms = 7_258_118_400_000;
        let now = RealClock::new().wall_ms();
        assert!(year_2020_ms < now.0);
        assert!(now.0 < year_2200_ms);
    }
}
