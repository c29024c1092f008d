//! Latency spikes: for each event, its samples of the last while, one a second at most.
//!
//! Deliberately not a profiler: only what took longer than `latency-monitor-threshold` comes here, so a lock is cheap
//! enough.
//!
//! Source: behaviour of Valkey 9.1, `latencyAddSample`.

use commands::host::LatencyEvent;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};

/// Samples an event keeps.
const SAMPLES_COUNT_MAX: usize = 160;

#[derive(Debug, Default)]
struct Series {
    /// Seconds since the Unix epoch and milliseconds, oldest first.
    samples: VecDeque<(i64, u64)>,
    max_ms: u64,
    sum_ms: u64,
    count: u64,
}

impl Series {
    fn add(&mut self, time_seconds: i64, duration_ms: u64) {
        self.max_ms = self.max_ms.max(duration_ms);
        self.sum_ms += duration_ms;
        self.count += 1;
        match self.samples.back_mut() {
            Some((time, longest)) if *time == time_seconds => *longest = duration_ms.max(*longest),
            _ => self.samples.push_back((time_seconds, duration_ms)),
        }
        if SAMPLES_COUNT_MAX < self.samples.len() {
            self.samples.pop_front();
        }
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct LatencyMonitor(Mutex<BTreeMap<&'static str, Series>>);

impl LatencyMonitor {
    /// Adds a spike. There are only so many events as there are names in the program.
    pub fn add(&self, event: &'static str, time_seconds: i64, duration_ms: u64) {
        self.0.lock().entry(event).or_default().add(time_seconds, duration_ms);
    }

    /// The samples of an event, oldest first.
    pub fn history(&self, event: &[u8]) -> Vec<(i64, u64)> {
        let events = self.0.lock();
        let series = events.iter().find(|(name, _)| name.as_bytes() == event);
        series.map_or_else(Vec::new, |(_, series)| series.samples.iter().copied().collect())
    }

    /// All events.
    pub fn events(&self) -> Vec<LatencyEvent> {
        let event = |(name, series): (&&'static str, &Series)| {
            let (time_seconds, last_ms) = series.samples.back().copied().unwrap_or_default();
            let Series { max_ms, sum_ms, count, .. } = *series;
            LatencyEvent { name, time_seconds, last_ms, max_ms, sum_ms, count }
        };
        self.0.lock().iter().map(event).collect()
    }

    /// Forgets an event, or all. Returns how many there were.
    pub fn reset(&self, event: Option<&[u8]>) -> usize {
        let mut events = self.0.lock();
        let before = events.len();
        events.retain(|name, _| event.is_some_and(|event| event != name.as_bytes()));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_second_are_one_and_old_ones_go() {
        let monitor = LatencyMonitor::default();
        for (time, duration) in [(1, 300), (1, 500), (1, 400), (3, 10)] {
            monitor.add("command", time, duration);
        }
        assert_eq!(monitor.history(b"command"), [(1, 500), (3, 10)]);
        let event = monitor.events().remove(0);
        assert_eq!((event.last_ms, event.max_ms, event.sum_ms, event.count), (10, 500, 1210, 4));
        for time in 10..10 + SAMPLES_COUNT_MAX as i64 {
            monitor.add("command", time, 1);
        }
        assert_eq!(monitor.history(b"command").len(), SAMPLES_COUNT_MAX);
        assert_eq!(monitor.history(b"command")[0], (10, 1));
    }

    #[test]
    fn a_reset_forgets_what_it_names_or_everything() {
        let monitor = LatencyMonitor::default();
        monitor.add("command", 1, 1);
        monitor.add("expire-cycle", 1, 1);
        assert_eq!(monitor.reset(Some(b"nothing")), 0);
        assert_eq!(monitor.reset(Some(b"command")), 1);
        assert_eq!((monitor.history(b"command").len(), monitor.reset(None)), (0, 1));
    }
}
