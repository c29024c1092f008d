//! The page and the plot of `engine`: what was published, what is promised, what was measured.

use std::time::Duration;

use super::synced::{SYNCED_VALUE_BYTES, Synced};
use super::{AHEAD_OPS, Flags, OPERATIONS, Operation, Size, TURN_OPS};
use crate::error::Error;
use crate::report::{self, Bound, Check, Page, Table, number};
use crate::server::Contestant;
use crate::setup::Setup;
use crate::stats::Spread;
use crate::svg::{Figure, Panel};
use crate::workload::KEY_BYTES;

/// Published for one synced put of 128 B, which is hardly more than its sync.
pub const PUBLISHED_SYNCED_PUT: Duration = Duration::from_micros(3700);
/// Devices that puts are synced to: this one, and one as slow as that of the published figure.
pub const DEVICES: [&str; 2] = ["as it is", "syncs of 3.7 ms"];

impl Operation {
    /// The most it may take.
    fn ns_max(self, value_bytes: usize) -> Option<f64> {
        match (self, value_bytes) {
            (Self::GetOne, 128) => Some(150.0),
            (Self::GetOne, 32768) => Some(7400.0),
            (Self::PutOne, 128) => Some(1000.0),
            _ => None,
        }
    }

    /// What the other store published of itself.
    fn published_ns(self, value_bytes: usize) -> Option<f64> {
        match (self, value_bytes) {
            (Self::GetOne, 128) => Some(134.0),
            (Self::GetOne, 32768) => Some(7400.0),
            (Self::PutOne, 128) => Some(23_000.0),
            _ => None,
        }
    }
}

/// Writes `engine.md` and its plot.
pub fn write(setup: &Setup, flags: &Flags, sizes: &[Size], synced: &[Synced; 2]) -> Result<(), Error> {
    let method = format!(
        "The engine in this process, without sockets, parsing and replies, on a node of 64 partitions with its threads \
         running and its journal on a real disk. One thread, on the server core, does one operation after the other, on \
         one key again and again, as the published figures were made, or on random keys of {KEY_BYTES} bytes; every \
         value is compared after every round. A get copies the value into a buffer; unless keys are fetched ahead or \
         were spilled, it is compared at once. With {AHEAD_OPS} ahead, the memory of as many is fetched together first, as for a pipeline. A put is a \
         transaction with its journal record, and the write that takes records to the page cache, shared by {TURN_OPS} \
         puts as on a busy connection, or after each. A spilled value is read back from the page cache, given back to \
         its key, and then copied. Checkpoints and merges are held off. Synced puts are of {SYNCED_VALUE_BYTES} bytes, by \
         tasks that each wait until their put is on the device before the next."
    );
    let mut page = Page::new(setup, "engine", "The engine alone", &method);
    page.checks(&checks(flags, sizes, synced));
    page.figure("", figure(flags, sizes, synced));
    page.table(
        "Get and put",
        &format!(
            "Nanoseconds per operation: the median of a round's turns of {TURN_OPS} operations, and the mean, in which \
             whatever else the machine did is counted. Both as medians over the rounds with their range. Published: what \
             the raft and bitcask store whose API Larder also speaks says of itself (mmap), on another machine (Apple M1), \
             for one key."
        ),
        &sizes_table(sizes),
    );
    page.table(
        "Synced puts",
        "Published: one synced put in 3.7 ms. What sharing is worth depends on what a sync costs beside the rest of a put, \
         so the published figure is repeated on its terms: the same disk, whose syncs are made to last 3.7 ms. On the \
         device as it is a sync is over sooner than two cores have woken 64 tasks, run their puts and come back to the \
         thread that syncs. Letting two groups take turns there, one at work while the other is synced, was measured \
         and is no faster.",
        &synced_table(flags, synced),
    );
    page.write(setup)
}

fn sizes_table(sizes: &[Size]) -> Table {
    let mut table = Table::new(&["operation", "value bytes", "keys", "ns, median turn", "ns, mean", "published ns"]);
    for operation in OPERATIONS {
        for size in sizes {
            table.row([
                operation.name(),
                size.value_bytes.to_string(),
                size.keys.to_string(),
                size.median_ns(operation).to_string(),
                size.spread(operation, |round| round.mean_ns).to_string(),
                operation.published_ns(size.value_bytes).map_or("-".into(), number),
            ]);
        }
    }
    table
}

fn synced_table(flags: &Flags, synced: &[Synced; 2]) -> Table {
    let mut table = Table::new(&["device", "writers", "puts/s", "ms per put of a writer", "÷ 1 writer"]);
    for (device, synced) in DEVICES.iter().zip(synced) {
        for (writers, figures) in [(1, &synced.one), (flags.writers, &synced.many)] {
            table.row([
                (*device).to_string(),
                writers.to_string(),
                Spread::of(figures.iter().copied()).to_string(),
                Spread::of(figures.iter().map(|per_s| 1000.0 * writers as f64 / per_s)).to_string(),
                Spread::of_ratios(figures, &synced.one).to_string(),
            ]);
        }
    }
    table
}

/// What issue 2 asks of these.
fn checks(flags: &Flags, sizes: &[Size], synced: &[Synced; 2]) -> Vec<Check> {
    let mut checks = Vec::new();
    for size in sizes {
        for operation in OPERATIONS {
            if let Some(ns_max) = operation.ns_max(size.value_bytes) {
                checks.push(Check {
                    claim: format!("{} of {} B, ns", operation.name(), size.value_bytes),
                    measured: size.median_ns(operation),
                    bound: Bound::AtMost(ns_max),
                });
            }
        }
    }
    if flags.writers == 64 {
        checks.extend(DEVICES.iter().zip(synced).map(|(device, synced)| Check {
            claim: format!("synced puts of 64 writers ÷ those of one, device {device}"),
            measured: Spread::of_ratios(&synced.many, &synced.one),
            bound: Bound::AtLeast(30.0),
        }));
    }
    checks
}

/// A panel per size, since figures of another size would dwarf these, and one for synced puts.
fn figure(flags: &Flags, sizes: &[Size], synced: &[Synced; 2]) -> Figure {
    let mut panels: Vec<Panel> = sizes
        .iter()
        .map(|size| Panel {
            title: format!("Values of {} B", size.value_bytes),
            y_label: "ns, less is better".into(),
            groups: OPERATIONS.map(|operation| operation.name().replace(", ", "\n")).to_vec(),
            bars: vec![OPERATIONS.map(|operation| Some(size.median_ns(operation))).to_vec()],
        })
        .collect();
    let [here, _] = synced;
    let bars = [&here.one, &here.many].map(|figures| Some(Spread::of(figures.iter().copied())));
    panels.push(Panel {
        title: format!("Synced puts of {SYNCED_VALUE_BYTES} B, device as it is"),
        y_label: "per second, more is better".into(),
        groups: vec!["1 writer".into(), format!("{} writers", flags.writers)],
        bars: vec![bars.to_vec()],
    });
    Figure { title: "The engine alone".into(), series: vec![report::series_of(Contestant::Larder)], panels, columns: 2 }
}
