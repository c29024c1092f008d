//! `compare`: throughput, latency and server CPU per request of Redis, Larder and the echo floor, in alternating runs.
//!
//! For each sync mode and value size all contestants are started on the same core and filled with the same keys. Each
//! cell (operation, pipeline) is then measured in rounds of redis, larder, floor, redis, larder, floor ..., so that
//! a slow minute of the machine weighs on all; ratios are taken within a round. Only one contestant is under load at
//! any time; the others sit idle.
//!
//! Server CPU per request counts every thread of the server process from just before the first request to just after
//! the last reply. Work left for later (an fsync a second) falls into whichever run it falls into, but for upkeep of
//! minutes: Redis's append-only file is not rewritten, and Larder's checkpoint is written before each run.

use clap::Args;

use crate::cross_check;
use crate::error::Error;
use crate::load;
use crate::procfs;
use crate::report::{self, Bound, Check, Page, Table, number};
use crate::resp::Reply;
use crate::server::{AofRewrite, Contestant, Launch, Place, Server, Sync};
use crate::setup::{self, Setup};
use crate::stats::Spread;
use crate::svg::{Figure, Panel};
use crate::workload::{Keys, Op, OpScript, Values};

/// Everyone, in the order of a round.
const CONTESTANTS: [Contestant; 3] = [Contestant::Redis, Contestant::Larder, Contestant::Floor];
/// Keys times value size is kept below this, so that all contestants, their files and the page cache fit in memory.
const FILL_BYTES_MAX: u64 = 1 << 30;
/// Requests of a run without pipelining; a pipelined one has [`PIPELINED_FACTOR`] times as many.
const REQUESTS: u64 = 250_000;
const PIPELINED_FACTOR: u64 = 8;
/// Values of this size and more cost more per request and get a quarter of the requests.
const LARGE_VALUE_BYTES: usize = 1024;
const LARGE_VALUE_DIVISOR: u64 = 4;
/// An operation on one large collection is preceded by so many writes per key of it, so many at a time.
const WARM_UP_FACTOR: u64 = 3;
const WARM_UP_PIPELINE: u64 = 16;
/// With more groups of bars than this, a panel takes the whole width of its plot.
const GROUPS_PER_HALF_WIDTH_MAX: usize = 3;

/// Flags of `compare`.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Sync modes to compare in
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Sync::None, Sync::Os, Sync::Everysec, Sync::Always])]
    sync: Vec<Sync>,
    /// Operations to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Op::Set, Op::Get])]
    op: Vec<Op>,
    /// Requests under way per connection
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16], value_parser = clap::value_parser!(u64).range(1..=1024))]
    pipeline: Vec<u64>,
    /// Value sizes in bytes
    #[arg(long, value_delimiter = ',', default_values_t = [64, 4096])]
    value_bytes: Vec<usize>,
    /// Connections
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Random keys out of so many (fewer if they would not fit: at most 1 GiB of values)
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Requests per run without pipelining [default: 250000; 8 times that with]
    #[arg(long)]
    requests: Option<u64>,
    /// Name of the page and its plots
    #[arg(long, default_value = "compare", value_name = "NAME")]
    page: String,
    /// Measure SET and GET with redis-benchmark as well, to check this load generator
    #[arg(long)]
    cross_check: bool,
}

/// What one run of one contestant showed.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Requests per second.
    pub throughput: f64,
    /// Server CPU per request.
    pub cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    /// Part of the run in which the server used its core; well below 1 means that something else was the limit.
    busy: f64,
}

/// One square of the comparison: what was asked, and the samples of each contestant by round.
struct Cell {
    sync: Sync,
    value_bytes: usize,
    op: Op,
    pipeline: u64,
    keys: u64,
    samples: [Vec<Sample>; CONTESTANTS.len()],
    cross_checks: [Vec<cross_check::Sample>; CONTESTANTS.len()],
}

impl Cell {
    fn values(&self, contestant: Contestant, figure: fn(&Sample) -> f64) -> Vec<f64> {
        self.samples[contestant as usize].iter().map(figure).collect()
    }

    fn spread(&self, contestant: Contestant, figure: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.values(contestant, figure))
    }

    fn ratio(&self, contestant: Contestant, to: Contestant, figure: fn(&Sample) -> f64) -> Spread {
        Spread::of_ratios(&self.values(contestant, figure), &self.values(to, figure))
    }

    fn name(&self) -> String {
        format!("{} P{}", self.op.name(), self.pipeline)
    }
}

/// Measures and writes `compare.md` and a plot per sync mode.
pub fn run(setup: &Setup, flags: &Flags) -> Result<(), Error> {
    let mut cells = Vec::new();
    for sync in &flags.sync {
        for value_bytes in &flags.value_bytes {
            eprintln!("sync {}, values of {value_bytes} bytes", sync.name());
            cells.extend(measure_group(setup, flags, *sync, *value_bytes)?);
        }
    }
    write_page(setup, flags, &cells)
}

fn measure_group(setup: &Setup, flags: &Flags, sync: Sync, value_bytes: usize) -> Result<Vec<Cell>, Error> {
    let keys = setup.scaled(flags.keys).min(FILL_BYTES_MAX / value_bytes.max(1) as u64).max(1);
    let places = CONTESTANTS.iter().map(|_| Place::new(setup)).collect::<Result<Vec<Place>, Error>>()?;
    let mut servers = Vec::new();
    for (contestant, place) in CONTESTANTS.into_iter().zip(&places) {
        let mut launch = Launch::new(contestant, sync);
        launch.aof_rewrite = AofRewrite::Off;
        launch.floor_value_bytes = value_bytes;
        let server = Server::start(setup, place, &launch, 0)?;
        if contestant.stores() {
            setup::progress(&format!("filling {} with {keys} keys", contestant.name()));
            setup::fill(&server, keys, Values { bytes: value_bytes, generation: 0 })?;
        }
        servers.push(server);
    }
    let mut cells = Vec::new();
    for op in &flags.op {
        for server in servers.iter().filter(|_| !op.uses_up()) {
            warm_up(flags, server, (*op, keys, value_bytes), WARM_UP_FACTOR * keys)?;
        }
        for pipeline in &flags.pipeline {
            cells.push(measure_cell(setup, flags, &servers, (sync, value_bytes, *op, *pipeline, keys))?);
        }
    }
    Ok(cells)
}

/// Gives an operation on one large collection that collection, so that its first round is like the others; to one that
/// uses it up, before each round.
fn warm_up(
    flags: &Flags,
    server: &Server,
    (op, keys, value_bytes): (Op, u64, usize),
    requests: u64,
) -> Result<(), Error> {
    let Some(filler) = op.filler() else { return Ok(()) };
    if server.contestant().stores() {
        setup::progress(&format!("filling {} by {}", server.contestant().name(), filler.name()));
        let random = Keys::Random { count: keys };
        let mut script = OpScript::new(filler, value_bytes, random, WARM_UP_PIPELINE, requests);
        load::run_closed(server.port(), flags.connections, &mut script)?;
    }
    Ok(())
}

fn measure_cell(
    setup: &Setup,
    flags: &Flags,
    servers: &[Server],
    (sync, value_bytes, op, pipeline, keys): (Sync, usize, Op, u64, u64),
) -> Result<Cell, Error> {
    let mut cell =
        Cell { sync, value_bytes, op, pipeline, keys, samples: Default::default(), cross_checks: Default::default() };
    for _ in 0..setup.rounds() {
        for server in servers {
            let requests = requests(setup, flags, value_bytes, pipeline);
            if op.uses_up() {
                let runs = if flags.cross_check { 2 } else { 1 };
                warm_up(flags, server, (op, keys, value_bytes), runs * requests)?;
            }
            settle(servers)?;
            let sample = measure(flags, server, &cell, requests)?;
            cell.samples[server.contestant() as usize].push(sample);
            if flags.cross_check && server.contestant().stores() {
                settle(servers)?;
                let check = cross_check::run(server, op, flags.connections, pipeline, value_bytes, keys, requests)?;
                cell.cross_checks[server.contestant() as usize].extend(check);
            }
        }
    }
    let line: Vec<String> =
        CONTESTANTS.map(|who| format!("{} {:.2}", who.name(), cell.spread(who, |s| s.cpu_us).median)).to_vec();
    setup::progress(&format!("{}: µs of server CPU per request: {}", cell.name(), line.join(", ")));
    Ok(cell)
}

/// Has Larder write the checkpoint now that it would write once it is idle, while another server is measured, or else in
/// the middle of its own run. Redis's append-only file is not rewritten either.
fn settle(servers: &[Server]) -> Result<(), Error> {
    for server in servers.iter().filter(|server| server.contestant() == Contestant::Larder) {
        if let Reply::Error(reply) = server.client()?.call("SAVE")? {
            return Err(Error::Refused { reply });
        }
    }
    Ok(())
}

fn requests(setup: &Setup, flags: &Flags, value_bytes: usize, pipeline: u64) -> u64 {
    let factor = if 1 < pipeline { PIPELINED_FACTOR } else { 1 };
    let divisor = if LARGE_VALUE_BYTES <= value_bytes { LARGE_VALUE_DIVISOR } else { 1 };
    setup.scaled(flags.requests.unwrap_or(REQUESTS) * factor / divisor).max(1)
}

fn measure(flags: &Flags, server: &Server, cell: &Cell, requests: u64) -> Result<Sample, Error> {
    let keys = Keys::Random { count: cell.keys };
    let mut script = OpScript::new(cell.op, cell.value_bytes, keys, cell.pipeline, requests);
    let cpu_before = procfs::cpu_time(server.pid())?;
    let run = load::run_closed(server.port(), flags.connections, &mut script)?;
    let cpu = procfs::cpu_time(server.pid())?.saturating_sub(cpu_before).as_secs_f64();
    assert_eq!(run.requests, requests, "every request has its reply");
    Ok(Sample {
        throughput: run.throughput(),
        cpu_us: cpu * 1e6 / requests as f64,
        p50_us: run.latency_us(50.0),
        p99_us: run.latency_us(99.0),
        p999_us: run.latency_us(99.9),
        busy: cpu / run.elapsed.as_secs_f64(),
    })
}

fn write_page(setup: &Setup, flags: &Flags, cells: &[Cell]) -> Result<(), Error> {
    let method = format!(
        "{} connections, random keys, alternating runs (redis, larder, echo floor, redis, larder, echo floor ...), each \
         server alone on its core while it is loaded. CPU is user and system time of all threads of the server process, \
         per request. Figures are medians with their range; ratios are taken within a round. Neither server has \
         upkeep to do meanwhile: Redis's append-only file is never rewritten, and Larder has written a checkpoint just \
         before, so that only what fills 256 MiB of its journal in one run meets another. What such upkeep costs others \
         is on the page about pauses. The echo floor is a tokio server that parses and answers but stores nothing.",
        flags.connections
    );
    let mut page = Page::new(setup, &flags.page, "Larder, Redis and the echo floor", &method);
    page.checks(&cells.iter().flat_map(checks).collect::<Vec<_>>());
    for sync in &flags.sync {
        let of_sync: Vec<&Cell> = cells.iter().filter(|cell| cell.sync == *sync).collect();
        page.figure(sync.name(), figure(*sync, &of_sync));
        for value_bytes in &flags.value_bytes {
            let group: Vec<&Cell> = of_sync.iter().filter(|cell| cell.value_bytes == *value_bytes).copied().collect();
            let heading = format!("sync {}, values of {value_bytes} bytes", sync.name());
            let keys = group.first().map_or(0, |cell| cell.keys);
            page.table(&heading, &format!("Random keys out of {keys}. {}", about(*sync)), &table(&group));
        }
    }
    if flags.cross_check {
        page.table("Cross-check", "The same with `redis-benchmark` as the client.", &cross_check_table(cells));
    }
    page.write(setup)
}

fn about(sync: Sync) -> &'static str {
    match sync {
        Sync::None => "Redis without any persistence; Larder journals nevertheless, as with `os`.",
        Sync::Os => "Larder `--sync os`, Redis `appendonly yes`, `appendfsync no`.",
        Sync::Everysec => "Larder `--sync everysec`, Redis `appendonly yes`, `appendfsync everysec`.",
        Sync::Always => "Larder `--sync always`, Redis `appendonly yes`, `appendfsync always`.",
    }
}

fn table(cells: &[&Cell]) -> Table {
    let mut table = Table::new(&[
        "request",
        "server",
        "thousand/s",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "CPU µs/request",
        "busy",
        "CPU ÷ redis",
        "thousand/s ÷ redis",
        "CPU ÷ floor",
    ]);
    for cell in cells {
        for who in CONTESTANTS {
            let median = |figure| number(cell.spread(who, figure).median);
            table.row([
                cell.name(),
                who.name().into(),
                cell.spread(who, |s| s.throughput / 1000.0).to_string(),
                median(|s| s.p50_us),
                median(|s| s.p99_us),
                median(|s| s.p999_us),
                cell.spread(who, |s| s.cpu_us).to_string(),
                median(|s| s.busy),
                cell.ratio(who, Contestant::Redis, |s| s.cpu_us).to_string(),
                cell.ratio(who, Contestant::Redis, |s| s.throughput).to_string(),
                cell.ratio(who, Contestant::Floor, |s| s.cpu_us).to_string(),
            ]);
        }
    }
    table
}

fn cross_check_table(cells: &[Cell]) -> Table {
    let mut table = Table::new(&["request", "server", "thousand/s", "CPU µs/request"]);
    for cell in cells {
        for who in CONTESTANTS {
            let samples = &cell.cross_checks[who as usize];
            if samples.is_empty() {
                continue;
            }
            table.row([
                format!("{}, {} B, {}", cell.name(), cell.value_bytes, cell.sync.name()),
                who.name().into(),
                Spread::of(samples.iter().map(|s| s.throughput / 1000.0)).to_string(),
                Spread::of(samples.iter().map(|s| s.cpu_us)).to_string(),
            ]);
        }
    }
    table
}

/// CPU and throughput, a row of panels per pipeline depth and value size: figures of another size would dwarf these.
fn figure(sync: Sync, cells: &[&Cell]) -> Figure {
    let mut rows: Vec<(u64, usize)> = cells.iter().map(|cell| (cell.pipeline, cell.value_bytes)).collect();
    rows.sort_unstable();
    rows.dedup();
    let panels = rows.iter().flat_map(|row @ (pipeline, value_bytes)| {
        let of_row = cells.iter().filter(|cell| (cell.pipeline, cell.value_bytes) == *row);
        let of_row: Vec<&Cell> = of_row.copied().collect();
        let what = format!("pipeline {pipeline}, {value_bytes} B");
        [
            panel(&of_row, format!("Server CPU per request, {what}"), "µs, less is better", |s| s.cpu_us),
            panel(&of_row, format!("Throughput, {what}"), "thousand/s, more is better", |s| s.throughput / 1000.0),
        ]
    });
    Figure {
        title: format!("Larder, Redis and the echo floor, sync {}", sync.name()),
        series: CONTESTANTS.map(report::series_of).to_vec(),
        panels: panels.collect(),
        columns: if cells.len() <= GROUPS_PER_HALF_WIDTH_MAX * rows.len() { 2 } else { 1 },
    }
}

fn panel(cells: &[&Cell], title: String, y_label: &str, figure: fn(&Sample) -> f64) -> Panel {
    let groups = cells.iter().map(|cell| cell.op.name().to_string()).collect();
    let bars = CONTESTANTS.map(|who| cells.iter().map(|cell| Some(cell.spread(who, figure))).collect());
    Panel { title, y_label: y_label.into(), groups, bars: bars.to_vec() }
}

/// What is asked of this cell.
fn checks(cell: &Cell) -> Vec<Check> {
    let name = format!("{} of {} B, sync {}", cell.name(), cell.value_bytes, cell.sync.name());
    let cpu = cell.ratio(Contestant::Larder, Contestant::Redis, |s| s.cpu_us);
    let throughput = cell.ratio(Contestant::Larder, Contestant::Redis, |s| s.throughput);
    let floor = cell.ratio(Contestant::Larder, Contestant::Floor, |s| s.cpu_us);
    let check = |what: &str, measured, bound| Check { claim: format!("{name}: {what}"), measured, bound };
    let throughput_at_least = |bound| check("throughput ÷ redis", throughput, Bound::AtLeast(bound));
    match (cell.sync, cell.value_bytes, cell.pipeline) {
        (Sync::Everysec, 64, 1) if !is_plain(cell.op) => vec![check("CPU ÷ redis", cpu, Bound::AtMost(1.0))],
        (Sync::Everysec, 64, 16) if !is_plain(cell.op) => vec![check("CPU ÷ redis", cpu, Bound::AtMost(0.8))],
        _ if !is_plain(cell.op) => vec![],
        (Sync::Everysec, 64, 16) => {
            vec![check("CPU ÷ redis", cpu, Bound::AtMost(0.6)), throughput_at_least(1.5)]
        }
        (Sync::Everysec, 64, 1) => {
            vec![check("CPU ÷ redis", cpu, Bound::AtMost(0.95)), check("CPU ÷ echo floor", floor, Bound::AtMost(1.3))]
        }
        (Sync::Everysec, 4096, _) | (Sync::Always, _, _) => vec![throughput_at_least(1.0)],
        _ => vec![],
    }
}

/// Those whose bounds are the sharper ones.
fn is_plain(op: Op) -> bool {
    matches!(op, Op::Set | Op::Get)
}
