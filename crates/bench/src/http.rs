//! `http`: what a request over HTTP costs, beside nginx answering a constant and Redis answering over RESP; and put, get
//! and del of hustdb's API for the value sizes that huststore publishes figures of (`http/seed.rs`).
//!
//! All servers stand on the same core with the same keys; each round asks one after the other, and ratios are taken
//! within a round. The load is `wrk` with one thread, for Redis the bench's own, which is lighter.
//!
//! A GET of one key is held against nginx answering one constant of as many bytes. Keys in no order, and nginx's answer
//! without a body, stand in the table. Its head is shorter in any case: whoever is as fast has more to say in the same time.

mod seed;

use clap::Args;

use crate::error::Error;
use crate::load;
use crate::procfs;
use crate::report::{self, Bound, Check, Page, Table, number};
use crate::server::{AofRewrite, CONSTANTS, Contestant, Launch, Place, Server, Sync, free_port};
use crate::setup::{self, Setup};
use crate::stats::Spread;
use crate::svg::{Figure, Panel};
use crate::workload::{self, Op, OpScript, Values};
use crate::wrk::{self, Keys, Request};

/// Value of the GET that is compared with Redis.
const SMALL_BYTES: usize = 64;
/// Value of the larger GET, and of PUT.
const LARGE_BYTES: usize = 1024;
/// Requests of a run against Redis, whose load counts requests, per second of the others.
const REDIS_REQUESTS_PER_SECOND: u64 = 100_000;

/// Flags of `http`.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Connections, each with one request under way
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Seconds of each run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Keys asked for
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Keys of each value size of hustdb's API (fewer if they would not fit: at most 1 GiB of values)
    #[arg(long, default_value_t = 200_000)]
    size_keys: u64,
}

impl Flags {
    fn seconds(&self, setup: &Setup) -> u64 {
        setup.scaled(self.seconds)
    }
}

/// What one run showed.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Requests per second.
    throughput: f64,
    /// Server CPU per request.
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
    /// Part of the run in which the server used its core; well below 1 means that the load was the limit.
    busy: f64,
}

/// What is measured, in the order of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    ConstantSmall,
    GetSmallOne,
    GetSmall,
    RespGet,
    ConstantLarge,
    GetLargeOne,
    GetLarge,
    Put,
    Constant,
}

const CASES: [Case; 9] = {
    use Case::{Constant, ConstantLarge, ConstantSmall, GetLarge, GetLargeOne, GetSmall, GetSmallOne, Put, RespGet};
    [ConstantSmall, GetSmallOne, GetSmall, RespGet, ConstantLarge, GetLargeOne, GetLarge, Put, Constant]
};

const _: () = assert!(CONSTANTS[0].1 == SMALL_BYTES && CONSTANTS[1].1 == LARGE_BYTES, "as large as values");

const _: () = {
    let mut index = 0;
    while index < CASES.len() {
        assert!(CASES[index] as usize == index, "figures are found by a case's number");
        index += 1;
    }
};

impl Case {
    fn name(self) -> &'static str {
        match self {
            Self::Constant => "return 200, no body",
            Self::ConstantSmall => "return 200, 64 B",
            Self::ConstantLarge => "return 200, 1 KiB",
            Self::GetSmallOne => "GET 64 B, one key",
            Self::GetSmall => "GET 64 B",
            Self::GetLargeOne => "GET 1 KiB, one key",
            Self::GetLarge => "GET 1 KiB",
            Self::RespGet => "RESP GET 64 B",
            Self::Put => "PUT 1 KiB",
        }
    }

    fn contestant(self) -> Contestant {
        match self {
            Self::Constant | Self::ConstantSmall | Self::ConstantLarge => Contestant::Nginx,
            Self::RespGet => Contestant::Redis,
            Self::GetSmallOne | Self::GetSmall | Self::GetLargeOne | Self::GetLarge | Self::Put => Contestant::Larder,
        }
    }

    /// nginx's answer with as large a body.
    fn constant(self) -> Self {
        match self {
            Self::Constant | Self::Put => Self::Constant,
            Self::ConstantSmall | Self::GetSmallOne | Self::GetSmall | Self::RespGet => Self::ConstantSmall,
            Self::ConstantLarge | Self::GetLargeOne | Self::GetLarge => Self::ConstantLarge,
        }
    }
}

/// A server and where it speaks HTTP.
struct Asked {
    server: Server,
    place: Place,
    http_port: u16,
}

impl Asked {
    fn start(setup: &Setup, contestant: Contestant) -> Result<Self, Error> {
        let place = Place::new(setup)?;
        let mut launch = Launch::new(contestant, Sync::Everysec);
        launch.aof_rewrite = AofRewrite::Off;
        let http_port = if contestant == Contestant::Nginx { place.port } else { free_port()? };
        launch.http_port = http_port;
        let server = Server::start(setup, &place, &launch, 0)?;
        Ok(Self { server, place, http_port })
    }

    fn ask(&self, setup: &Setup, connections: usize, request: &Request, keys: Keys) -> Result<Sample, Error> {
        let cpu_before = procfs::cpu_time(self.server.pid())?;
        let run = wrk::run(setup, &self.place.data_dir(), self.http_port, connections, request, keys)?;
        let cpu = procfs::cpu_time(self.server.pid())?.saturating_sub(cpu_before).as_secs_f64();
        let seconds = run.elapsed.as_secs_f64();
        Ok(Sample {
            throughput: run.requests as f64 / seconds,
            cpu_us: cpu * 1e6 / run.requests as f64,
            p50_us: run.p50_us,
            p99_us: run.p99_us,
            busy: cpu / seconds,
        })
    }
}

/// Measures and writes `http.md` and its plots.
pub fn run(setup: &Setup, flags: &Flags) -> Result<(), Error> {
    let versions = versions(setup)?;
    let mut samples: [Vec<Sample>; CASES.len()] = Default::default();
    {
        let servers = Servers::start(setup, flags)?;
        for _ in 0..setup.rounds() {
            for (case, samples) in CASES.into_iter().zip(&mut samples) {
                let sample = servers.measure(setup, flags, case)?;
                let (rate, cpu_us) = (sample.throughput, sample.cpu_us);
                setup::progress(&format!("{}: {rate:.0} requests/s, {cpu_us:.2} µs", case.name()));
                samples.push(sample);
            }
        }
    }
    let sizes = seed::measure(setup, flags)?;
    write_page(setup, flags, &versions, &samples, &sizes)
}

/// What nginx and wrk say of themselves, so that it fails at once where one of them is missing.
fn versions(setup: &Setup) -> Result<String, Error> {
    let line = |program: &str, package| -> Result<String, Error> {
        let output = std::process::Command::new(program).arg("-v").output();
        let output = output.map_err(|source| wrk::unavailable(source, program, package))?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Ok(text.lines().next().unwrap_or_default().split(" [").next().unwrap_or_default().to_owned())
    };
    let nginx = line(&setup.nginx_command, "nginx")?;
    Ok(format!("{}, {}", nginx.trim_start_matches("nginx version: "), line(&setup.wrk_command, "wrk")?))
}

/// All servers of the first part: nginx, Redis with small values, and two of Larder's, one per value size.
struct Servers {
    nginx: Asked,
    redis: Asked,
    small: Asked,
    large: Asked,
}

impl Servers {
    fn start(setup: &Setup, flags: &Flags) -> Result<Self, Error> {
        let filled = |contestant, bytes| -> Result<Asked, Error> {
            let asked = Asked::start(setup, contestant)?;
            setup::fill(&asked.server, flags.keys, Values { bytes, generation: 0 })?;
            Ok(asked)
        };
        Ok(Self {
            nginx: Asked::start(setup, Contestant::Nginx)?,
            redis: filled(Contestant::Redis, SMALL_BYTES)?,
            small: filled(Contestant::Larder, SMALL_BYTES)?,
            large: filled(Contestant::Larder, LARGE_BYTES)?,
        })
    }

    fn measure(&self, setup: &Setup, flags: &Flags, case: Case) -> Result<Sample, Error> {
        let get = Request { method: "GET", target: "/v1/kv/", body_bytes: 0 };
        let count = if matches!(case, Case::GetSmallOne | Case::GetLargeOne) { 1 } else { flags.keys };
        let keys = Keys::Seconds { keys: count, seconds: flags.seconds(setup) };
        let ask = |asked: &Asked, request| asked.ask(setup, flags.connections, request, keys);
        match case {
            Case::Constant => ask(&self.nginx, &get),
            Case::ConstantSmall => ask(&self.nginx, &Request { target: CONSTANTS[0].0, ..get }),
            Case::ConstantLarge => ask(&self.nginx, &Request { target: CONSTANTS[1].0, ..get }),
            Case::GetSmallOne | Case::GetSmall => ask(&self.small, &get),
            Case::GetLargeOne | Case::GetLarge => ask(&self.large, &get),
            Case::Put => ask(&self.large, &Request { method: "PUT", body_bytes: LARGE_BYTES, ..get }),
            Case::RespGet => self.measure_redis(setup, flags),
        }
    }

    fn measure_redis(&self, setup: &Setup, flags: &Flags) -> Result<Sample, Error> {
        let requests = REDIS_REQUESTS_PER_SECOND * flags.seconds(setup);
        let random = workload::Keys::Random { count: flags.keys };
        let mut script = OpScript::new(Op::Get, SMALL_BYTES, random, 1, requests);
        let server = &self.redis.server;
        let cpu_before = procfs::cpu_time(server.pid())?;
        let run = load::run_closed(server.port(), flags.connections, &mut script)?;
        let cpu = procfs::cpu_time(server.pid())?.saturating_sub(cpu_before).as_secs_f64();
        Ok(Sample {
            throughput: run.throughput(),
            cpu_us: cpu * 1e6 / requests as f64,
            p50_us: run.latency_us(50.0),
            p99_us: run.latency_us(99.0),
            busy: cpu / run.elapsed.as_secs_f64(),
        })
    }
}

/// The samples of a case, seen by one of their figures.
struct Figures<'s>(&'s [Vec<Sample>; CASES.len()]);

impl Figures<'_> {
    fn values(&self, case: Case, figure: fn(&Sample) -> f64) -> Vec<f64> {
        self.0[case as usize].iter().map(figure).collect()
    }

    fn spread(&self, case: Case, figure: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.values(case, figure))
    }

    fn ratio(&self, case: Case, to: Case, figure: fn(&Sample) -> f64) -> Spread {
        Spread::of_ratios(&self.values(case, figure), &self.values(to, figure))
    }
}

fn write_page(
    setup: &Setup,
    flags: &Flags,
    versions: &str,
    samples: &[Vec<Sample>; CASES.len()],
    sizes: &seed::Sizes,
) -> Result<(), Error> {
    let figures = Figures(samples);
    let method = format!(
        "`wrk` with one thread and {} connections, each with one request under way; runs of {} s in turns ({}), each \
         server alone on its core while it is loaded. nginx ({versions}) is one worker without a log that answers \
         `return 200` with a constant; what it answers as large is what others are divided by. Larder has {} keys of the \
         value size and is asked for one of them, as nginx has one answer, or for all in no order; so is Redis, over RESP, \
         by this bench's own load. Sync `everysec`. CPU is user and system time of all threads of the server process, \
         per request. Figures are medians with their range; ratios are taken within a round.",
        flags.connections,
        flags.seconds(setup),
        CASES.map(|case| format!("{} {}", case.contestant().name(), case.name())).join(", "),
        flags.keys,
    );
    let mut page = Page::new(setup, "http", "HTTP", &method);
    page.checks(&checks(&figures));
    page.figure("", figure(&figures));
    page.table("Requests", "Busy: the part of a run in which the server used its core.", &table(&figures));
    seed::put_on(&mut page, sizes);
    page.write(setup)
}

fn checks(figures: &Figures<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    for case in [Case::GetSmallOne, Case::GetLargeOne] {
        checks.push(Check {
            claim: format!("{}: requests/s ÷ nginx's {}", case.name(), case.constant().name()),
            measured: figures.ratio(case, case.constant(), |s| s.throughput),
            bound: Bound::AtLeast(1.0),
        });
        checks.push(Check {
            claim: format!("{}: CPU per request ÷ nginx's {}", case.name(), case.constant().name()),
            measured: figures.ratio(case, case.constant(), |s| s.cpu_us),
            bound: Bound::AtMost(1.0),
        });
    }
    checks.push(Check {
        claim: format!("{}: requests/s ÷ {}'s", Case::Put.name(), Case::GetLarge.name()),
        measured: figures.ratio(Case::Put, Case::GetLarge, |s| s.throughput),
        bound: Bound::AtLeast(0.8),
    });
    checks
}

fn table(figures: &Figures<'_>) -> Table {
    let mut table = Table::new(&[
        "request",
        "server",
        "thousand/s",
        "p50 µs",
        "p99 µs",
        "CPU µs/request",
        "busy",
        "thousand/s ÷ nginx",
        "CPU ÷ nginx",
    ]);
    for case in CASES {
        let median = |figure| number(figures.spread(case, figure).median);
        table.row([
            case.name().into(),
            case.contestant().name().into(),
            figures.spread(case, |s| s.throughput / 1000.0).to_string(),
            median(|s| s.p50_us),
            median(|s| s.p99_us),
            figures.spread(case, |s| s.cpu_us).to_string(),
            median(|s| s.busy),
            figures.ratio(case, case.constant(), |s| s.throughput).to_string(),
            figures.ratio(case, case.constant(), |s| s.cpu_us).to_string(),
        ]);
    }
    table
}

fn figure(figures: &Figures<'_>) -> Figure {
    let contestants = [Contestant::Nginx, Contestant::Redis, Contestant::Larder];
    let panel = |title: &str, y_label: &str, figure: fn(&Sample) -> f64| {
        let of = |who| CASES.map(|case| (case.contestant() == who).then(|| figures.spread(case, figure))).to_vec();
        Panel {
            title: title.into(),
            y_label: y_label.into(),
            groups: CASES.map(|case| case.name().into()).to_vec(),
            bars: contestants.map(of).to_vec(),
        }
    };
    Figure {
        title: "Larder over HTTP, nginx answering a constant, Redis over RESP".into(),
        series: contestants.map(report::series_of).to_vec(),
        panels: vec![
            panel("Server CPU per request", "µs, less is better", |s| s.cpu_us),
            panel("Throughput", "thousand/s, more is better", |s| s.throughput / 1000.0),
        ],
        columns: 1,
    }
}
