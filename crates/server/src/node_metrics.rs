//! The numbers behind every metric of the admin port.
//!
//! Deliberately not here: names and shapes (`metrics.rs`), counting.

use crate::clients::ClientRegistry;
use crate::config::Settings;
use crate::distribution::{BUCKET_COUNT, bucket_end_ns};
use crate::metrics::{Health, Histogram, Metric, MetricsSource, Readings};
use crate::process;
use crate::serve::Server;
use crate::statistics::{CommandTotals, Counter, Statistics};
use commands::table;
use journal::{SYNC_OCTAVES, SyncTimes};
use keyspace::Partition;
use keyspace::figures::DbFigures;
use node::Node;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets of a histogram that Prometheus sees: one per power of two, from 1 microsecond to 1 second.
const OCTAVES: std::ops::RangeInclusive<usize> = 0..=20;

/// See the module's text.
pub struct NodeMetrics {
    node: Arc<Node>,
    settings: Arc<Settings>,
    clients: Arc<ClientRegistry>,
    statistics: Arc<Statistics>,
}

impl NodeMetrics {
    /// The metrics of this server.
    pub fn new(server: &Server) -> Self {
        NodeMetrics {
            node: Arc::clone(&server.node),
            settings: Arc::clone(&server.settings),
            clients: Arc::clone(&server.clients),
            statistics: Arc::clone(&server.statistics),
        }
    }

    /// Cost: a lock per partition.
    fn sum(&self, figure: impl Fn(&Partition) -> u64) -> f64 {
        let keyspace = &self.node.keyspace;
        keyspace.ids().map(|id| figure(&keyspace.lock(id))).sum::<u64>() as f64
    }

    fn read_commands(&self, readings: &mut Readings, value: impl Fn(&CommandTotals) -> u64) {
        for (number, totals) in self.statistics.ever().called() {
            readings.labelled(&table::full_name(number), value(totals) as f64);
        }
    }

    fn read_durations(&self, readings: &mut Readings) {
        for (number, totals) in self.statistics.ever().called().filter(|(_, totals)| 0 < totals.calls()) {
            readings.histogram(Some(&table::full_name(number)), histogram(totals));
        }
    }

    fn read_dbs(&self, readings: &mut Readings, value: impl Fn(&DbFigures) -> u64) {
        for (number, figures) in
            self.node.keyspace.figures(self.node.moment().now).dbs.iter().enumerate().filter(|(_, db)| 0 < db.key_count)
        {
            readings.labelled(&number.to_string(), value(figures) as f64);
        }
    }
}

fn live_bytes(partition: &Partition) -> u64 {
    let mut live = 0;
    partition.each_live(|_, bytes| live += bytes);
    live
}

/// Durations of syncs, of which those of the last bucket have no bound.
fn sync_histogram(times: &SyncTimes) -> Histogram {
    let end = |octave: usize| if octave < SYNC_OCTAVES - 1 { (1u64 << octave) as f64 / 1e6 } else { f64::INFINITY };
    let buckets = times.octaves.iter().enumerate().map(|(octave, count)| (end(octave), *count)).collect();
    Histogram { sum: times.total_ns as f64 / 1e9, buckets }
}

/// A command's durations in powers of two.
fn histogram(totals: &CommandTotals) -> Histogram {
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    let mut waiting = 0;
    for bucket in 0..BUCKET_COUNT {
        waiting += totals.buckets[bucket];
        let end_ns = bucket_end_ns(bucket);
        if end_ns.is_power_of_two() && OCTAVES.contains(&buckets.len()) {
            buckets.push((end_ns as f64 / 1e9, std::mem::take(&mut waiting)));
        }
    }
    buckets.push((f64::INFINITY, waiting));
    Histogram { sum: totals.duration_ns as f64 / 1e9, buckets }
}

impl MetricsSource for NodeMetrics {
    fn read(&self, metric: Metric, readings: &mut Readings) {
        let counter = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let counted = |counter: Counter| self.statistics.ever().counter(counter) as f64;
        let (node, counters) = (&self.node, &self.node.counters);
        let journal_bytes = || node.journal.segments().iter().map(|segment| segment.bytes).sum::<u64>() as f64;
        match metric {
            Metric::UptimeSeconds => readings.number(self.statistics.uptime_seconds()),
            Metric::Connections => readings.number(self.clients.totals().connected as f64),
            Metric::ConnectionsBlocked => readings.number(self.clients.totals().blocked as f64),
            Metric::ConnectionsAccepted => readings.number(counted(Counter::Connections)),
            Metric::ConnectionsRejected => readings.number(counted(Counter::ConnectionsRejected)),
            Metric::NetworkInputBytes => readings.number(self.clients.totals().received_bytes as f64),
            Metric::NetworkOutputBytes => readings.number(self.clients.totals().sent_bytes as f64),
            Metric::Commands => self.read_commands(readings, CommandTotals::calls),
            Metric::CommandErrors => self.read_commands(readings, |totals| totals.rejected + totals.failed),
            Metric::CommandSeconds => self.read_durations(readings),
            Metric::Keys => self.read_dbs(readings, |figures| figures.key_count),
            Metric::KeysWithExpiry => self.read_dbs(readings, |figures| figures.expiring_count),
            Metric::KeysExpired => readings.number(counter(&counters.expired)),
            Metric::KeysEvicted => readings.number(counter(&counters.evicted)),
            Metric::KeyspaceHits => readings.number(counted(Counter::Hits)),
            Metric::KeyspaceMisses => readings.number(counted(Counter::Misses)),
            Metric::MemoryUsedBytes => readings.number(node.memory_used_bytes().0 as f64),
            Metric::MemoryLimitBytes => readings.number(self.settings.memory_bytes_max() as f64),
            Metric::MemoryProcessBytes => readings.number(process::resident_bytes() as f64),
            Metric::JournalBytes => readings.number(journal_bytes()),
            Metric::JournalSegments => readings.number(node.journal.segments().len() as f64),
            Metric::Checkpoints => readings.number(counter(&counters.checkpoints)),
            Metric::CheckpointTimestampSeconds => readings.number(node.checkpoint_finished().0 as f64 / 1000.0),
            Metric::MergedBytes => readings.number(counter(&counters.merged_bytes)),
            Metric::KeysSpilled => readings.number(self.sum(|partition| partition.spilled_count() as u64)),
            Metric::JournalLiveBytes => readings.number(self.sum(live_bytes)),
            Metric::JournalSyncs => readings.number(node.journal.sync_times().count() as f64),
            Metric::JournalSyncSeconds => readings.histogram(None, sync_histogram(&node.journal.sync_times())),
        }
    }

    fn health(&self) -> Health {
        if self.node.journal.is_full() {
            return Health::NotReady("the journal's device has no space left: writes are refused".to_owned());
        }
        Health::Ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::bucket_of;

    #[test]
    fn a_histogram_keeps_every_call() {
        let mut totals =
            CommandTotals { rejected: 0, failed: 0, duration_ns: 5_000_000_000, buckets: vec![0; BUCKET_COUNT] };
        for duration_ns in [10, 1500, 1_000_000, 4_000_000_000] {
            totals.buckets[bucket_of(duration_ns)] += 1;
        }
        let histogram = histogram(&totals);
        assert_eq!(histogram.buckets.iter().map(|(_, count)| count).sum::<u64>(), 4);
        assert!(histogram.buckets.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!((histogram.sum, histogram.buckets.last()), (5.0, Some(&(f64::INFINITY, 1))));
    }
}
