//! Put, get and del of hustdb's API for the five value sizes that huststore publishes figures of, beside these figures.
//!
//! A round takes a fresh server through put of new keys, get of all of them for a time, and del of each.
//!
//! Sources, both of github.com/Qihoo360/huststore: README of December 2016 before commit `fc95cec` (24 cores of a kind
//! not said, 100 connections, ten workers), and `benchmark/benchmark/hustdb` at `6431c51` (2018; two Xeon E5-2683 v4 of
//! 16 cores each, 1000 connections, values of 950 and 4000 bytes).

use crate::error::Error;
use crate::report::{Page, Table, number};
use crate::server::Contestant;
use crate::setup::{self, Setup};
use crate::stats::Spread;
use crate::svg::{Figure, Panel, Series};
use crate::workload::Values;
use crate::wrk::{Keys, Request};

use super::{Asked, Flags, Sample};

/// Keys times value size is kept below this.
const FILL_BYTES_MAX: u64 = 1 << 30;
/// Threads that answered in 2016: no more cores than that were at work, though the machine had 24.
const WORKERS_2016: f64 = 10.0;
/// Cores of the machine of 2018.
const CORES_2018: f64 = 32.0;

/// A value size and what huststore says of it, in thousand requests per second of the whole machine: put, get, del.
struct Published {
    bytes: usize,
    name: &'static str,
    of_2016: [f64; 3],
    of_2018: [Option<f64>; 3],
}

const PUBLISHED: [Published; 5] = [
    Published { bytes: 256, name: "256 B", of_2016: [95.0, 100.0, 100.0], of_2018: [None; 3] },
    Published {
        bytes: 1 << 10,
        name: "1 KiB",
        of_2016: [85.0, 95.0, 100.0],
        of_2018: [Some(426.8), Some(1065.2), None],
    },
    Published {
        bytes: 4 << 10,
        name: "4 KiB",
        of_2016: [25.0, 25.0, 100.0],
        of_2018: [Some(208.9), Some(298.4), None],
    },
    Published { bytes: 16 << 10, name: "16 KiB", of_2016: [7.0, 7.0, 100.0], of_2018: [None; 3] },
    Published { bytes: 64 << 10, name: "64 KiB", of_2016: [2.0, 2.0, 100.0], of_2018: [None; 3] },
];

/// What is asked, in the order of a round.
const OPS: [&str; 3] = ["put", "get", "del"];

/// Samples by value size, operation and round.
pub type Sizes = [[Vec<Sample>; OPS.len()]; PUBLISHED.len()];

/// Measures all sizes, round by round.
pub fn measure(setup: &Setup, flags: &Flags) -> Result<Sizes, Error> {
    let mut sizes = Sizes::default();
    for _ in 0..setup.rounds() {
        for (published, samples) in PUBLISHED.iter().zip(&mut sizes) {
            let round = measure_round(setup, flags, published.bytes)?;
            let rates = round.map(|sample| format!("{:.0}", sample.throughput));
            setup::progress(&format!("{}: put, get, del {} requests/s", published.name, rates.join(", ")));
            samples.iter_mut().zip(round).for_each(|(samples, sample)| samples.push(sample));
        }
    }
    Ok(sizes)
}

fn measure_round(setup: &Setup, flags: &Flags, bytes: usize) -> Result<[Sample; OPS.len()], Error> {
    let asked = Asked::start(setup, Contestant::Larder)?;
    let keys = setup.scaled(flags.size_keys).min(FILL_BYTES_MAX / bytes as u64).max(1);
    let ask = |method, target, body_bytes, keys| {
        asked.ask(setup, flags.connections, &Request { method, target, body_bytes }, keys)
    };
    let put = ask("POST", "/hustdb/put?key=", bytes, Keys::Once { keys })?;
    // wrk ends with requests under way, which may not have come: their keys are written here.
    setup::fill(&asked.server, keys, Values { bytes, generation: 0 })?;
    let get = ask("GET", "/hustdb/get?key=", 0, Keys::Seconds { keys, seconds: flags.seconds(setup) })?;
    let del = ask("GET", "/hustdb/del?key=", 0, Keys::Once { keys })?;
    let left = asked.server.client()?.call_integer("DBSIZE")?;
    if flags.connections as i64 <= left {
        return Err(Error::WrongAnswer { detail: format!("{left} of {keys} keys are left after each was deleted") });
    }
    Ok([put, get, del])
}

/// Adds the table and its plot.
pub fn put_on(page: &mut Page, sizes: &Sizes) {
    let about = format!(
        "hustdb's API (`/hustdb/put`, `get`, `del`) on one core: put of new keys, get in no order, del of each. Beside it what \
         huststore publishes, divided by as few cores as it can have used: in 2016, on 24 cores with 100 connections, by its \
         {WORKERS_2016} workers; in 2018, on {CORES_2018} cores with 1000 connections and values of 950 and 4000 bytes, by \
         all cores. Other machines, other disks: an order of magnitude, not a race."
    );
    let mut table = Table::new(&[
        "value",
        "request",
        "larder thousand/s",
        "CPU µs/request",
        "busy",
        "huststore 2016 per core",
        "huststore 2018 per core",
        "larder ÷ the better",
    ]);
    for (published, samples) in PUBLISHED.iter().zip(sizes) {
        for (at, op) in OPS.into_iter().enumerate() {
            let spread = |figure: fn(&Sample) -> f64| Spread::of(samples[at].iter().map(figure));
            let thousands = spread(|s| s.throughput / 1000.0);
            let (of_2016, of_2018) = published.per_core(at);
            table.row([
                published.name.into(),
                op.into(),
                thousands.to_string(),
                spread(|s| s.cpu_us).to_string(),
                number(spread(|s| s.busy).median),
                number(of_2016),
                of_2018.map_or_else(|| "–".into(), number),
                number(thousands.median / of_2018.map_or(of_2016, |rate| rate.max(of_2016))),
            ]);
        }
    }
    page.figure("sizes", figure(sizes));
    page.table("The value sizes of huststore's benchmark", &about, &table);
}

impl Published {
    /// Thousand requests per second and core, of 2016 and 2018.
    fn per_core(&self, op: usize) -> (f64, Option<f64>) {
        (self.of_2016[op] / WORKERS_2016, self.of_2018[op].map(|rate| rate / CORES_2018))
    }
}

fn figure(sizes: &Sizes) -> Figure {
    let exactly = |value| Spread { median: value, min: value, max: value };
    let panels = OPS.into_iter().enumerate().map(|(at, op)| {
        let measured = sizes.iter().map(|samples| Some(Spread::of(samples[at].iter().map(|s| s.throughput / 1000.0))));
        let of_2016 = PUBLISHED.iter().map(|published| Some(exactly(published.per_core(at).0)));
        let of_2018 = PUBLISHED.iter().map(|published| published.per_core(at).1.map(exactly));
        Panel {
            title: format!("{op}, requests per core"),
            y_label: "thousand/s, more is better".into(),
            groups: PUBLISHED.iter().map(|published| published.name.into()).collect(),
            bars: vec![measured.collect(), of_2016.collect(), of_2018.collect()],
        }
    });
    Figure {
        title: "hustdb's API on one core, beside huststore's published figures".into(),
        series: vec![
            Series { name: "larder".into(), colour: "#2a7f62" },
            Series { name: "hustdb, 2016".into(), colour: "#7a8fb5" },
            Series { name: "hustdb, 2018".into(), colour: "#4a5f95" },
        ],
        panels: panels.collect(),
        columns: 1,
    }
}
