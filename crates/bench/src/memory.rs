//! `memory`: what a key costs in RAM, with its value resident and with its value spilled to the journal.
//!
//! A fresh server's memory is taken before and after a million keys of 16 bytes with 64-byte values; the difference
//! per key is the cost. For spilled values only anonymous memory counts, since a page of a file belongs to nobody:
//! the kernel takes it back when it wants it. They are loaded without a limit first, so that what is measured is
//! what memory shrinks to, and then given a limit that leaves none. Afterwards every value is read and compared.

use std::thread;
use std::time::Duration;

use clap::Args;

use crate::error::Error;
use crate::load;
use crate::procfs::{self, Memory};
use crate::report::{self, Bound, Check, Page, Table, mib};
use crate::resp::Reply;
use crate::server::{AofRewrite, Contestant, Launch, Place, Server, Sync};
use crate::setup::{self, Setup};
use crate::stats::Spread;
use crate::svg::{Figure, Panel};
use crate::workload::{KEY_BYTES, Order, Values, VerifyScript};

const VERIFY_CONNECTIONS: usize = 8;
/// Memory is at rest when it has changed by less than a 256th over so many looks in a row.
const REST_LOOKS: u32 = 5;
const REST_LOOK_STEP: Duration = Duration::from_millis(400);
const REST_LOOKS_MAX: u32 = 150;

/// Flags of `memory`.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Keys stored
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// larder's maxmemory, set after loading, in the run with spilled values: too little for any value to stay
    #[arg(long, default_value = "16mb", value_name = "SIZE")]
    spill_maxmemory: String,
}

/// The three ways the keys are held.
const HOLDERS: [(&str, Contestant, bool); 3] = [
    ("redis", Contestant::Redis, false),
    ("larder, values resident", Contestant::Larder, false),
    ("larder, values spilled", Contestant::Larder, true),
];

struct Sample {
    empty: Memory,
    full: Memory,
    peak_bytes: u64,
    keys: u64,
}

impl Sample {
    fn rss_per_key(&self) -> f64 {
        self.full.rss_bytes.saturating_sub(self.empty.rss_bytes) as f64 / self.keys as f64
    }

    fn anonymous_per_key(&self) -> f64 {
        self.full.anonymous_bytes.saturating_sub(self.empty.anonymous_bytes) as f64 / self.keys as f64
    }
}

/// Measures and writes `memory.md` and its plot.
pub fn run(setup: &Setup, flags: &Flags) -> Result<(), Error> {
    let keys = setup.scaled(flags.keys);
    let mut samples: [Vec<Sample>; HOLDERS.len()] = Default::default();
    for _ in 0..setup.rounds() {
        for (index, (name, contestant, spilled)) in HOLDERS.into_iter().enumerate() {
            let mut launch = Launch::new(contestant, Sync::Everysec);
            launch.aof_rewrite = AofRewrite::Off;
            let spill_maxmemory = spilled.then_some(flags.spill_maxmemory.as_str());
            let sample = measure(setup, &launch, keys, flags.value_bytes, spill_maxmemory)?;
            setup::progress(&format!(
                "{name}: {:.1} bytes per key, {:.1} of them anonymous",
                sample.rss_per_key(),
                sample.anonymous_per_key()
            ));
            samples[index].push(sample);
        }
    }
    write_page(setup, flags, keys, &samples)
}

fn measure(
    setup: &Setup,
    launch: &Launch,
    keys: u64,
    value_bytes: usize,
    spill_maxmemory: Option<&str>,
) -> Result<Sample, Error> {
    let place = Place::new(setup)?;
    let server = Server::start(setup, &place, launch, 0)?;
    setup::settle();
    let empty = procfs::memory(server.pid())?;
    let values = Values { bytes: value_bytes, generation: 0 };
    setup::fill(&server, keys, values)?;
    if let Some(maxmemory) = spill_maxmemory {
        spill(&server, maxmemory)?;
    }
    let full = procfs::memory(server.pid())?;
    let peak_bytes = procfs::rss_peak_bytes(server.pid())?;
    let mut script = VerifyScript::new(Order::From(0), keys, values, VERIFY_CONNECTIONS);
    load::run_closed(server.port(), VERIFY_CONNECTIONS, &mut script)?;
    Ok(Sample { empty, full, peak_bytes, keys })
}

/// Sets the limit and waits until memory no longer shrinks.
fn spill(server: &Server, maxmemory: &str) -> Result<(), Error> {
    let reply = server.client()?.call(&format!("CONFIG SET maxmemory {maxmemory}"))?;
    if reply != Reply::Simple("OK".into()) {
        return Err(Error::Refused { reply: format!("{reply:?}") });
    }
    let (mut last_bytes, mut still_looks) = (0, 0);
    for _ in 0..REST_LOOKS_MAX {
        thread::sleep(REST_LOOK_STEP);
        let bytes = procfs::memory(server.pid())?.anonymous_bytes;
        let is_still = bytes.abs_diff(last_bytes) <= bytes / 256;
        still_looks = if is_still { still_looks + 1 } else { 0 };
        last_bytes = bytes;
        if still_looks == REST_LOOKS {
            return Ok(());
        }
    }
    Err(Error::WrongAnswer { detail: format!("memory still changes a minute after maxmemory became {maxmemory}") })
}

fn write_page(setup: &Setup, flags: &Flags, keys: u64, samples: &[Vec<Sample>; HOLDERS.len()]) -> Result<(), Error> {
    let method = format!(
        "{keys} keys of {KEY_BYTES} bytes with values of {} bytes, loaded into a fresh server with sync `everysec`; the \
         growth of its memory (`smaps_rollup`) divided by the keys. {} of those bytes are payload. Spilled: loaded \
         without a limit, then `CONFIG SET maxmemory {}`, measured when memory had come to rest. Every value was read \
         back and compared after the measurement.",
        flags.value_bytes,
        KEY_BYTES + flags.value_bytes,
        flags.spill_maxmemory
    );
    let spread = |index: usize, figure: fn(&Sample) -> f64| Spread::of(samples[index].iter().map(figure));
    let mut page = Page::new(setup, "memory", "Memory per key", &method);
    let rss = |index: usize| samples[index].iter().map(Sample::rss_per_key).collect::<Vec<f64>>();
    page.checks(&[
        Check {
            claim: "RSS per key, resident, ÷ redis".into(),
            measured: Spread::of_ratios(&rss(1), &rss(0)),
            bound: Bound::AtMost(0.7),
        },
        Check {
            claim: "anonymous bytes per key, spilled".into(),
            measured: spread(2, Sample::anonymous_per_key),
            bound: Bound::AtMost(48.0),
        },
    ]);
    page.figure("", figure(spread));
    let mut table =
        Table::new(&["held by", "RSS bytes/key", "anonymous bytes/key", "RSS empty MiB", "RSS full MiB", "peak MiB"]);
    for (index, (name, ..)) in HOLDERS.into_iter().enumerate() {
        let last = samples[index].last().expect("there is at least one round");
        table.row([
            name.into(),
            spread(index, Sample::rss_per_key).to_string(),
            spread(index, Sample::anonymous_per_key).to_string(),
            mib(last.empty.rss_bytes),
            mib(last.full.rss_bytes),
            mib(last.peak_bytes),
        ]);
    }
    page.table("Figures", "The last three columns are of the last round.", &table);
    page.write(setup)
}

fn figure(spread: impl Fn(usize, fn(&Sample) -> f64) -> Spread) -> Figure {
    let resident = [Some(spread(0, Sample::rss_per_key)), Some(spread(1, Sample::rss_per_key))];
    let anonymous = |index| Some(spread(index, Sample::anonymous_per_key));
    Figure {
        title: "Memory per key".into(),
        series: [Contestant::Redis, Contestant::Larder].map(report::series_of).to_vec(),
        panels: vec![Panel {
            title: "Growth per key, payload included".into(),
            y_label: "bytes per key, less is better".into(),
            groups: vec![
                "RSS\nvalues resident".into(),
                "anonymous\nvalues resident".into(),
                "anonymous\nvalues spilled".into(),
            ],
            bars: vec![vec![resident[0], anonymous(0), None], vec![resident[1], anonymous(1), anonymous(2)]],
        }],
        columns: 1,
    }
}
