//! `pauses`: does anything that happens behind the scenes show in the tail of the latencies?
//!
//! A paced load (open loop, latency counted from when a request was due) runs quietly first, then while something is
//! going on: a checkpoint, a merge, growing tables, 100,000 keys expiring in the same millisecond, somebody else's huge
//! set being read whole, deleted or expired. Each run says what was *seen* to happen, because a quiet tail during nothing
//! proves nothing.
//!
//! Redis's nearest relatives stand in: BGSAVE for the checkpoint, BGREWRITEAOF for the merge. Its forked child shares the
//! one core the server has, as Larder's own threads do, and the child's memory is not in the peak shown here.
//!
//! The echo floor under the same load shows what the machine itself does to the tail: below that nothing can be seen.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::elements::{self, Collection};
use crate::error::Error;
use crate::load::{self, Run};
use crate::procfs;
use crate::report::{self, Bound, Check, Page, Table, mib, number};
use crate::resp::Reply;
use crate::server::{AofRewrite, Contestant, Launch, Place, Server, Sync};
use crate::setup::{self, Setup};
use crate::stats::Spread;
use crate::svg::{Figure, Panel};
use crate::workload::{Expiry, FillScript, Keys, Op, OpScript, Values, unix_ms};

const CONTESTANTS: [Contestant; 2] = [Contestant::Redis, Contestant::Larder];
/// Times every key is overwritten before the run that a merge falls into.
const MERGE_OVERWRITES: u64 = 3;
/// From the order that starts something to the next one.
const ORDER_INTERVAL: Duration = Duration::from_secs(2);
/// Between two looks at the size of the data directory.
const WATCH_STEP: Duration = Duration::from_millis(50);
/// The storm breaks this long after its keys are written, plus a third of the run.
const STORM_LEAD_MS: u64 = 2000;
/// Where the indexes of the storm's keys begin, and far beyond those of the keys that make tables grow.
const STORM_START: u64 = 1 << 38;
const GROWTH_START: u64 = 1 << 37;
const FILL_CONNECTIONS: usize = 8;
/// Members of the set that is read whole, and of the one that goes.
const READ_MEMBERS: u64 = 1_000_000;
const GONE_MEMBERS: u64 = 5_000_000;

/// Flags of `pauses`.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Requests per second
    #[arg(long, default_value_t = 20_000.0)]
    rate: f64,
    /// Seconds of each run
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Connections
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Keys stored before the load starts
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// Keys that expire in the same millisecond
    #[arg(long, default_value_t = 100_000)]
    storm_keys: u64,
}

/// What goes on during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Quiet,
    Checkpoint,
    Merge,
    Storm,
    Read,
    Delete,
    Expire,
    Growth,
}

/// In the order of a round. Growth comes last because it leaves more keys behind.
const EVENTS: [Event; 8] = [
    Event::Quiet,
    Event::Checkpoint,
    Event::Merge,
    Event::Storm,
    Event::Read,
    Event::Delete,
    Event::Expire,
    Event::Growth,
];

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Checkpoint => "checkpoint",
            Self::Merge => "merge",
            Self::Storm => "expiry storm",
            Self::Read => "huge SMEMBERS",
            Self::Delete => "huge DEL",
            Self::Expire => "huge expiry",
            Self::Growth => "table growth",
        }
    }

    /// The command that starts it, where it does not start by itself.
    fn order(self, contestant: Contestant) -> Option<&'static str> {
        match (self, contestant) {
            (Self::Checkpoint, _) => Some("BGSAVE"),
            (Self::Merge, Contestant::Redis) => Some("BGREWRITEAOF"),
            (Self::Read, _) => Some("SMEMBERS huge"),
            (Self::Delete, _) => Some("DEL huge"),
            (Self::Expire, _) => Some("PEXPIRE huge 1"),
            _ => None,
        }
    }
}

struct Sample {
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    rss_bytes: u64,
    /// Peak RSS during the run over the larger of RSS before and after it.
    peak_ratio: f64,
    seen: String,
}

/// Samples by contestant, event and round.
type Samples = [[Vec<Sample>; EVENTS.len()]; CONTESTANTS.len()];

/// Measures and writes `pauses.md` and its plot.
pub fn run(setup: &Setup, flags: &Flags) -> Result<(), Error> {
    let mut samples = Samples::default();
    let mut floor_us = Vec::new();
    for _ in 0..setup.rounds() {
        floor_us.push(measure_floor(setup, flags)?);
        for (contestant, samples) in CONTESTANTS.into_iter().zip(&mut samples) {
            measure_round(setup, flags, contestant, samples)?;
        }
    }
    write_page(setup, flags, &samples, Spread::of(floor_us))
}

/// p99.9 in microseconds of a server that does nothing.
fn measure_floor(setup: &Setup, flags: &Flags) -> Result<f64, Error> {
    let place = Place::new(setup)?;
    let mut launch = Launch::new(Contestant::Floor, Sync::None);
    launch.floor_value_bytes = flags.value_bytes;
    let server = Server::start(setup, &place, &launch, 0)?;
    let keys = Keys::Random { count: setup.scaled(flags.keys) };
    let mut script = OpScript::new(Op::Mixed, flags.value_bytes, keys, 1, requests(setup, flags));
    let run = load::run_paced(server.port(), flags.connections, flags.rate, &mut script)?;
    setup::progress(&format!("echo floor: p99.9 {:.0} µs", run.latency_us(99.9)));
    Ok(run.latency_us(99.9))
}

fn measure_round(
    setup: &Setup,
    flags: &Flags,
    contestant: Contestant,
    samples: &mut [Vec<Sample>; EVENTS.len()],
) -> Result<(), Error> {
    let place = Place::new(setup)?;
    let mut launch = Launch::new(contestant, Sync::Everysec);
    launch.aof_rewrite = AofRewrite::Off;
    let server = Server::start(setup, &place, &launch, 0)?;
    let keys = setup.scaled(flags.keys);
    setup::fill(&server, keys, Values { bytes: flags.value_bytes, generation: 0 })?;
    for event in EVENTS {
        let sample = measure_event(setup, flags, &server, &place, keys, event)?;
        setup::progress(&format!(
            "{}, {}: p99.9 {:.0} µs, longest {:.0} µs ({})",
            contestant.name(),
            event.name(),
            sample.p999_us,
            sample.max_us,
            sample.seen
        ));
        samples[event as usize].push(sample);
    }
    Ok(())
}

fn measure_event(
    setup: &Setup,
    flags: &Flags,
    server: &Server,
    place: &Place,
    keys: u64,
    event: Event,
) -> Result<Sample, Error> {
    let storm_keys = setup.scaled(flags.storm_keys);
    match event {
        Event::Quiet | Event::Checkpoint | Event::Growth => setup::settle(),
        Event::Merge => prepare_merge(flags, server, keys)?,
        Event::Storm => prepare_storm(setup, flags, server, storm_keys)?,
        Event::Read => prepare_set(server, setup.scaled(READ_MEMBERS))?,
        Event::Delete | Event::Expire => prepare_set(server, setup.scaled(GONE_MEMBERS))?,
    }
    let keys_before = server.client()?.call_integer("DBSIZE")?;
    let rss_before = procfs::memory(server.pid())?.rss_bytes;
    procfs::restart_peak(server.pid())?;
    let (run, watched) = run_watched(setup, flags, server, place, keys, event)?;
    let peak = procfs::rss_peak_bytes(server.pid())?;
    let rss_after = procfs::memory(server.pid())?.rss_bytes;
    let keys_after = server.client()?.call_integer("DBSIZE")?;
    Ok(Sample {
        p50_us: run.latency_us(50.0),
        p99_us: run.latency_us(99.0),
        p999_us: run.latency_us(99.9),
        max_us: run.latency_us(100.0),
        rss_bytes: rss_after,
        peak_ratio: peak as f64 / rss_before.max(rss_after) as f64,
        seen: seen(event, &watched, keys_after - keys_before),
    })
}

/// Leaves most of what is on disk dead.
fn prepare_merge(flags: &Flags, server: &Server, keys: u64) -> Result<(), Error> {
    for generation in 1..=MERGE_OVERWRITES {
        let values = Values { bytes: flags.value_bytes, generation };
        load::run_closed(server.port(), FILL_CONNECTIONS, &mut FillScript::new(0, keys, values, Expiry::Never))?;
    }
    Ok(())
}

/// Writes keys that all expire in one millisecond of the run to come.
fn prepare_storm(setup: &Setup, flags: &Flags, server: &Server, storm_keys: u64) -> Result<(), Error> {
    let at_ms = unix_ms() + STORM_LEAD_MS + seconds(setup, flags) * 1000 / 3;
    let values = Values { bytes: flags.value_bytes, generation: 0 };
    let range = STORM_START..STORM_START + storm_keys;
    let mut script = FillScript::new(range.start, range.end, values, Expiry::AtMs(at_ms));
    load::run_closed(server.port(), FILL_CONNECTIONS, &mut script).map(drop)
}

/// Makes the huge set one of so many members.
fn prepare_set(server: &Server, members: u64) -> Result<(), Error> {
    elements::fill(server, Collection::Set, "huge", members)?;
    setup::settle();
    Ok(())
}

fn seconds(setup: &Setup, flags: &Flags) -> u64 {
    if setup.quick { flags.seconds.div_ceil(3) } else { flags.seconds }
}

fn requests(setup: &Setup, flags: &Flags) -> u64 {
    (flags.rate * seconds(setup, flags) as f64) as u64
}

/// What was noticed beside the load.
struct Watched {
    orders_taken: u32,
    disk_bytes_start: u64,
    disk_bytes_max: u64,
    disk_bytes_end: u64,
}

/// The paced load, with a second thread that gives orders and looks at the disk.
fn run_watched(
    setup: &Setup,
    flags: &Flags,
    server: &Server,
    place: &Place,
    keys: u64,
    event: Event,
) -> Result<(Run, Watched), Error> {
    let requests = requests(setup, flags);
    let random = Keys::Random { count: keys };
    let mut script = match event {
        Event::Quiet | Event::Checkpoint | Event::Storm | Event::Read | Event::Delete | Event::Expire => {
            OpScript::new(Op::Mixed, flags.value_bytes, random, 1, requests)
        }
        Event::Merge => OpScript::write_heavy(flags.value_bytes, random, requests),
        Event::Growth => {
            let fresh = Keys::FreshWrites { count: keys, fresh: GROWTH_START };
            OpScript::write_heavy(flags.value_bytes, fresh, requests)
        }
    };
    let finished = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(server, place, event, &finished));
        let run = load::run_paced(server.port(), flags.connections, flags.rate, &mut script);
        finished.store(true, Ordering::Release);
        let watched = watcher.join().expect("panic is abort in release, and a test should see it");
        Ok((run?, watched?))
    })
}

fn watch(server: &Server, place: &Place, event: Event, finished: &AtomicBool) -> Result<Watched, Error> {
    // The load shares this core: what it takes to read a huge reply must not show in the load's latencies.
    procfs::step_back()?;
    let dir = place.data_dir();
    let disk_bytes_start = procfs::disk_bytes(&dir);
    let mut watched =
        Watched { orders_taken: 0, disk_bytes_start, disk_bytes_max: disk_bytes_start, disk_bytes_end: 0 };
    let mut client = server.client()?;
    let mut ordered_at: Option<Instant> = None;
    while !finished.load(Ordering::Acquire) {
        thread::sleep(WATCH_STEP);
        if let Some(order) = event.order(server.contestant())
            && ordered_at.is_none_or(|at| ORDER_INTERVAL <= at.elapsed())
        {
            // An error means that the last checkpoint is still at work; 0, that the set has gone.
            let is_taken = !matches!(client.call(order)?, Reply::Error(_) | Reply::Integer(0));
            watched.orders_taken += u32::from(is_taken);
            ordered_at = Some(Instant::now());
        }
        watched.disk_bytes_max = watched.disk_bytes_max.max(procfs::disk_bytes(&dir));
    }
    watched.disk_bytes_end = procfs::disk_bytes(&dir);
    Ok(watched)
}

fn seen(event: Event, watched: &Watched, keys_gained: i64) -> String {
    let disk = format!(
        "disk {} MiB, at most {}, then {}",
        mib(watched.disk_bytes_start),
        mib(watched.disk_bytes_max),
        mib(watched.disk_bytes_end)
    );
    match event {
        Event::Quiet => "nothing".into(),
        Event::Checkpoint => format!("{} BGSAVE taken", watched.orders_taken),
        Event::Read => format!("{} read", watched.orders_taken),
        Event::Delete => format!("{} deleted", watched.orders_taken),
        Event::Expire => format!("{} expired", watched.orders_taken),
        Event::Merge => disk,
        Event::Storm => format!("{} keys expired", -keys_gained),
        Event::Growth => format!("{keys_gained} new keys"),
    }
}

fn write_page(setup: &Setup, flags: &Flags, samples: &Samples, floor_us: Spread) -> Result<(), Error> {
    let method = format!(
        "{} requests per second for {} s over {} connections, half SET and half GET (during merge and growth: half MSET \
         of ten keys) of {} byte values among {} keys, sync `everysec`. A huge set has {} members, or {} where it goes. Latency counts from when a request was due. Peak: \
         the largest RSS during the run over the larger of RSS before and after; for Redis without its forked child, which \
         also shares the server's core. The echo floor, which stores nothing, has a p99.9 of {floor_us} µs under the same load: \
         that much is the machine's.",
        flags.rate,
        seconds(setup, flags),
        flags.connections,
        flags.value_bytes,
        setup.scaled(flags.keys),
        setup.scaled(READ_MEMBERS),
        setup.scaled(GONE_MEMBERS)
    );
    let figures = |who: usize, event: Event, figure: fn(&Sample) -> f64| {
        samples[who][event as usize].iter().map(figure).collect::<Vec<f64>>()
    };
    let to_quiet = |who: usize, event: Event| {
        Spread::of_ratios(&figures(who, event, |s| s.p999_us), &figures(who, Event::Quiet, |s| s.p999_us))
    };
    let mut page = Page::new(setup, "pauses", "Pauses", &method);
    let checks = EVENTS.into_iter().skip(1).flat_map(|event| {
        let claim = |what: &str| format!("larder, {}: {what}", event.name());
        let peak = Spread::of(figures(1, event, |s| s.peak_ratio));
        [
            Check { claim: claim("p99.9 ÷ quiet"), measured: to_quiet(1, event), bound: Bound::AtMost(3.0) },
            Check { claim: claim("peak memory"), measured: peak, bound: Bound::AtMost(2.0) },
        ]
    });
    page.checks(&checks.collect::<Vec<_>>());
    page.figure("", figure(|who, event| Spread::of(figures(who, event, |s| s.p999_us / 1000.0))));
    let mut table = Table::new(&[
        "during",
        "server",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "longest µs",
        "p99.9 ÷ quiet",
        "RSS MiB",
        "peak",
        "seen",
    ]);
    for event in EVENTS {
        for (who, contestant) in CONTESTANTS.into_iter().enumerate() {
            let last = samples[who][event as usize].last().expect("there is at least one round");
            let median = |figure| number(Spread::of(figures(who, event, figure)).median);
            table.row([
                event.name().into(),
                contestant.name().into(),
                median(|s| s.p50_us),
                median(|s| s.p99_us),
                Spread::of(figures(who, event, |s| s.p999_us)).to_string(),
                median(|s| s.max_us),
                to_quiet(who, event).to_string(),
                mib(last.rss_bytes),
                median(|s| s.peak_ratio),
                last.seen.clone(),
            ]);
        }
    }
    page.table("Figures", "What was seen, and RSS, are of the last round.", &table);
    page.write(setup)
}

fn figure(p999_ms: impl Fn(usize, Event) -> Spread) -> Figure {
    let bars = [0, 1].map(|who| EVENTS.map(|event| Some(p999_ms(who, event))).to_vec());
    Figure {
        title: "Pauses".into(),
        series: CONTESTANTS.map(report::series_of).to_vec(),
        panels: vec![Panel {
            title: "p99.9 latency of a paced load".into(),
            y_label: "ms, less is better".into(),
            groups: EVENTS.map(|event| event.name().into()).to_vec(),
            bars: bars.to_vec(),
        }],
        columns: 1,
    }
}
