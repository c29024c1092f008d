//! What Larder measures, as a table, and its rendering for Prometheus.
//!
//! Deliberately not: counting. Numbers live with whoever counts; they are read through `MetricsSource` when a
//! scrape asks, so that a metric costs nothing between scrapes.
//!
//! To add a metric, add a variant and a row; the compiler then asks every source for it.
//!
//! Source: the OpenMetrics text format and the naming practices of Prometheus (base units, `_total` by the encoder).

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// Media type of `render`'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What every name starts with.
const PREFIX: &str = "larder";

/// Everything measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described by its row in `FAMILIES`")]
pub enum Metric {
    UptimeSeconds,
    Connections,
    ConnectionsBlocked,
    ConnectionsAccepted,
    ConnectionsRejected,
    NetworkInputBytes,
    NetworkOutputBytes,
    Commands,
    CommandErrors,
    CommandSeconds,
    Keys,
    KeysWithExpiry,
    KeysSpilled,
    KeysExpired,
    KeysEvicted,
    KeyspaceHits,
    KeyspaceMisses,
    MemoryUsedBytes,
    MemoryLimitBytes,
    MemoryProcessBytes,
    JournalBytes,
    JournalLiveBytes,
    JournalSegments,
    JournalSyncs,
    JournalSyncSeconds,
    Checkpoints,
    CheckpointTimestampSeconds,
    MergedBytes,
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One row: a metric as Prometheus sees it.
#[derive(Debug)]
pub struct Family {
    /// Which metric.
    pub metric: Metric,
    /// Without prefix and without `_total`; base unit last.
    pub name: &'static str,
    /// How it behaves.
    pub shape: Shape,
    /// Name of its label, when it has one.
    pub label: Option<&'static str>,
    /// One sentence without a final dot.
    pub help: &'static str,
}

const fn counter(metric: Metric, name: &'static str, help: &'static str) -> Family {
    Family { metric, name, shape: Shape::Counter, label: None, help }
}

const fn gauge(metric: Metric, name: &'static str, help: &'static str) -> Family {
    Family { metric, name, shape: Shape::Gauge, label: None, help }
}

const fn histogram(metric: Metric, name: &'static str, help: &'static str) -> Family {
    Family { metric, name, shape: Shape::Histogram, label: None, help }
}

const fn by(label: &'static str, family: Family) -> Family {
    Family { label: Some(label), ..family }
}

/// Every metric, once, in the order of `Metric`.
pub static FAMILIES: &[Family] = &[
    gauge(Metric::UptimeSeconds, "uptime_seconds", "Seconds since the process started"),
    gauge(Metric::Connections, "connections", "Client connections open now"),
    gauge(Metric::ConnectionsBlocked, "connections_blocked", "Clients waiting in a blocking command"),
    counter(Metric::ConnectionsAccepted, "connections_accepted", "Client connections accepted"),
    counter(Metric::ConnectionsRejected, "connections_rejected", "Client connections turned away at maxclients"),
    counter(Metric::NetworkInputBytes, "network_input_bytes", "Bytes received from clients"),
    counter(Metric::NetworkOutputBytes, "network_output_bytes", "Bytes sent to clients"),
    by("command", counter(Metric::Commands, "commands", "Commands executed")),
    by("command", counter(Metric::CommandErrors, "command_errors", "Commands answered with an error")),
    by("command", histogram(Metric::CommandSeconds, "command_seconds", "Time to execute a command")),
    by("db", gauge(Metric::Keys, "keys", "Keys held")),
    by("db", gauge(Metric::KeysWithExpiry, "keys_with_expiry", "Keys that will expire")),
    gauge(Metric::KeysSpilled, "keys_spilled", "Keys whose value is on disk only"),
    counter(Metric::KeysExpired, "keys_expired", "Keys removed because their time had come"),
    counter(Metric::KeysEvicted, "keys_evicted", "Keys removed because memory was short"),
    counter(Metric::KeyspaceHits, "keyspace_hits", "Lookups of keys that exist"),
    counter(Metric::KeyspaceMisses, "keyspace_misses", "Lookups of keys that do not exist"),
    gauge(Metric::MemoryUsedBytes, "memory_used_bytes", "Memory that keys and values take"),
    gauge(Metric::MemoryLimitBytes, "memory_limit_bytes", "The limit of memory_used_bytes; 0 is none"),
    gauge(Metric::MemoryProcessBytes, "memory_process_bytes", "Resident memory of the process"),
    gauge(Metric::JournalBytes, "journal_bytes", "Size of all journal segments"),
    gauge(Metric::JournalLiveBytes, "journal_live_bytes", "Bytes of journal_bytes that are still needed"),
    gauge(Metric::JournalSegments, "journal_segments", "Journal segment files"),
    counter(Metric::JournalSyncs, "journal_syncs", "Times the journal was made durable"),
    histogram(Metric::JournalSyncSeconds, "journal_sync_seconds", "Time to make the journal durable"),
    counter(Metric::Checkpoints, "checkpoints", "Partition checkpoints written"),
    gauge(
        Metric::CheckpointTimestampSeconds,
        "checkpoint_timestamp_seconds",
        "Unix time of the oldest partition's last checkpoint",
    ),
    counter(Metric::MergedBytes, "merged_bytes", "Bytes of live values moved out of dead segments"),
];

/// A distribution as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Sum of all observations.
    pub sum: f64,
    /// (upper bound, observations in this bucket alone), ascending; the last bound is infinity.
    pub buckets: Vec<(f64, u64)>,
}

/// One number of a metric.
#[derive(Clone, Debug, PartialEq)]
enum Reading {
    Number(f64),
    Histogram(Histogram),
}

/// Takes the numbers of one metric from a source.
#[derive(Debug, Default)]
pub struct Readings {
    list: Vec<(Option<String>, Reading)>,
}

impl Readings {
    /// The number of a metric without a label.
    pub fn number(&mut self, number: f64) {
        self.list.push((None, Reading::Number(number)));
    }

    /// The number of a metric under one value of its label.
    pub fn labelled(&mut self, label: &str, number: f64) {
        self.list.push((Some(label.to_owned()), Reading::Number(number)));
    }

    /// The distribution of a metric, under one value of its label when it has one.
    pub fn histogram(&mut self, label: Option<&str>, histogram: Histogram) {
        self.list.push((label.map(str::to_owned), Reading::Histogram(histogram)));
    }
}

/// Whether the process can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Commands are served.
    Ready,
    /// Not, or not fully; a sentence says why, for instance "opening the data directory".
    NotReady(String),
}

/// Whoever knows the numbers.
pub trait MetricsSource: Send + Sync {
    /// Gives what there is of `metric` now: nothing, when this source does not know it.
    fn read(&self, metric: Metric, readings: &mut Readings);

    /// Whether commands are served now.
    fn health(&self) -> Health;
}

/// A source that knows nothing, and is not ready, until another one stands behind it: for the time in which the data
/// directory is opened.
#[derive(Default)]
pub struct Opening(OnceLock<Arc<dyn MetricsSource>>);

impl Opening {
    /// Has `source` answer from here on.
    ///
    /// # Panics
    /// When another one does already.
    pub fn done(&self, source: Arc<dyn MetricsSource>) {
        assert!(self.0.set(source).is_ok(), "a directory is opened once");
    }
}

impl MetricsSource for Opening {
    fn read(&self, metric: Metric, readings: &mut Readings) {
        if let Some(source) = self.0.get() {
            source.read(metric, readings);
        }
    }

    fn health(&self) -> Health {
        match self.0.get() {
            Some(source) => source.health(),
            None => Health::NotReady("opening the data directory".to_owned()),
        }
    }
}

/// All metrics of a source in OpenMetrics text.
pub fn render(source: &Arc<dyn MetricsSource>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(TableCollector(Arc::clone(source))));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

struct TableCollector(Arc<dyn MetricsSource>);

impl fmt::Debug for TableCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TableCollector")
    }
}

impl Collector for TableCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in FAMILIES {
            let mut readings = Readings::default();
            self.0.read(family.metric, &mut readings);
            if !readings.list.is_empty() {
                let described = encoder.encode_descriptor(family.name, family.help, None, kind_of(family.shape))?;
                encode_readings(family, &readings, described)?;
            }
        }
        Ok(())
    }
}

fn kind_of(shape: Shape) -> MetricType {
    match shape {
        Shape::Counter => MetricType::Counter,
        Shape::Gauge => MetricType::Gauge,
        Shape::Histogram => MetricType::Histogram,
    }
}

fn encode_readings(family: &Family, readings: &Readings, mut encoder: MetricEncoder<'_>) -> fmt::Result {
    for (label, reading) in &readings.list {
        assert_eq!(label.is_some(), family.label.is_some(), "{} has a label or has none", family.name);
        match family.label.zip(label.as_deref()) {
            Some(pair) => encode_reading(family, reading, &mut encoder.encode_family(&[pair])?)?,
            None => encode_reading(family, reading, &mut encoder)?,
        }
    }
    Ok(())
}

fn encode_reading(family: &Family, reading: &Reading, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    match (family.shape, reading) {
        (Shape::Counter, Reading::Number(number)) => encoder.encode_counter::<NoLabelSet, _, f64>(number, None),
        (Shape::Gauge, Reading::Number(number)) => encoder.encode_gauge(number),
        (Shape::Histogram, Reading::Histogram(histogram)) => {
            let count = histogram.buckets.iter().map(|(_, count)| count).sum();
            encoder.encode_histogram::<NoLabelSet>(histogram.sum, count, &histogram.buckets, None)
        }
        (Shape::Counter | Shape::Gauge, Reading::Histogram(_)) | (Shape::Histogram, Reading::Number(_)) => {
            panic!("a reading of {} must have the shape its row states", family.name)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A source that knows one metric of each shape.
    pub struct Sample(pub Health);

    impl MetricsSource for Sample {
        fn read(&self, metric: Metric, readings: &mut Readings) {
            let buckets = vec![(0.001, 3), (0.01, 1), (f64::INFINITY, 0)];
            match metric {
                Metric::Connections => readings.number(2.0),
                Metric::Commands => {
                    readings.labelled("get", 5.0);
                    readings.labelled("set", 7.0);
                }
                Metric::JournalSyncSeconds => readings.histogram(None, Histogram { sum: 0.5, buckets }),
                _ => {}
            }
        }

        fn health(&self) -> Health {
            self.0.clone()
        }
    }

    #[test]
    fn the_text_has_a_family_for_what_was_read_and_nothing_else() {
        let source: Arc<dyn MetricsSource> = Arc::new(Sample(Health::Ready));
        let expected = "\
# HELP larder_connections Client connections open now
# TYPE larder_connections gauge
larder_connections 2.0
# HELP larder_commands Commands executed
# TYPE larder_commands counter
larder_commands_total{command=\"get\"} 5.0
larder_commands_total{command=\"set\"} 7.0
# HELP larder_journal_sync_seconds Time to make the journal durable
# TYPE larder_journal_sync_seconds histogram
larder_journal_sync_seconds_sum 0.5
larder_journal_sync_seconds_count 4
larder_journal_sync_seconds_bucket{le=\"0.001\"} 3
larder_journal_sync_seconds_bucket{le=\"0.01\"} 4
larder_journal_sync_seconds_bucket{le=\"+Inf\"} 4
# EOF
";
        assert_eq!(render(&source).unwrap(), expected);
    }

    #[test]
    fn rows_are_in_the_order_of_metrics_and_well_named() {
        for (index, family) in FAMILIES.iter().enumerate() {
            assert_eq!(family.metric as usize, index);
            assert!(!family.name.ends_with("_total") && !family.help.ends_with('.'));
        }
        assert_eq!(FAMILIES.len(), Metric::MergedBytes as usize + 1, "every metric has a row");
    }
}
