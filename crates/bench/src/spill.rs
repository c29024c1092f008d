//! `spill`: many times more data than memory, every byte of it checked.
//!
//! Larder alone, since Redis can only refuse or forget at this point. Values are derived from their keys, all are
//! read back in order and then some at random, and each is compared whole. The page cache is not limited: what shows
//! is the cost of spilling, not that of the disk.

use clap::Args;

use crate::error::Error;
use crate::load::{self, Run};
use crate::procfs::{self, Memory};
use crate::report::{Bound, Check, Page, Table, mib, number};
use crate::server::{Contestant, Launch, Place, Server, Sync};
use crate::setup::{self, Setup};
use crate::stats::Spread;
use crate::workload::{Order, Random, Values, VerifyScript};

const CONNECTIONS: usize = 16;
/// Random reads are this part of the keys.
const RANDOM_READS_DIVISOR: u64 = 4;

/// Flags of `spill`.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// MiB of values to store
    #[arg(long, default_value_t = 4096)]
    data_mib: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 1024)]
    value_bytes: usize,
    /// larder's --maxmemory in MiB [a tenth with --quick]
    #[arg(long, default_value_t = 512)]
    maxmemory_mib: u64,
}

struct Phase {
    name: &'static str,
    requests: u64,
    throughput: f64,
    cpu_us: f64,
    memory: Memory,
    disk_bytes: u64,
}

/// Measures once (it is gigabytes) and writes `spill.md`.
pub fn run(setup: &Setup, flags: &Flags) -> Result<(), Error> {
    let maxmemory_mib = setup.scaled(flags.maxmemory_mib);
    let keys = (setup.scaled(flags.data_mib) << 20) / flags.value_bytes as u64;
    let values = Values { bytes: flags.value_bytes, generation: 0 };
    let place = Place::new(setup)?;
    let mut launch = Launch::new(Contestant::Larder, Sync::Everysec);
    launch.memory_max = Some(format!("{maxmemory_mib}mb"));
    let server = Server::start(setup, &place, &launch, 0)?;
    let mut in_order = VerifyScript::new(Order::From(0), keys, values, CONNECTIONS);
    let random = Order::Random { count: keys, random: Random::new(3) };
    let mut at_random = VerifyScript::new(random, keys.div_ceil(RANDOM_READS_DIVISOR), values, CONNECTIONS);
    let phases = [
        measure(&server, &place, "written", || setup::fill(&server, keys, values))?,
        measure(&server, &place, "verified in order", || load::run_closed(server.port(), CONNECTIONS, &mut in_order))?,
        measure(&server, &place, "verified at random", || {
            load::run_closed(server.port(), CONNECTIONS, &mut at_random)
        })?,
    ];
    write_page(setup, flags, maxmemory_mib, keys, &phases, procfs::rss_peak_bytes(server.pid())?)
}

fn measure(
    server: &Server,
    place: &Place,
    name: &'static str,
    work: impl FnOnce() -> Result<Run, Error>,
) -> Result<Phase, Error> {
    let cpu_before = procfs::cpu_time(server.pid())?;
    let run = work()?;
    let cpu = procfs::cpu_time(server.pid())?.saturating_sub(cpu_before);
    let memory = procfs::memory(server.pid())?;
    setup::progress(&format!("{name}: {:.0}/s, RSS {} MiB", run.throughput(), mib(memory.rss_bytes)));
    Ok(Phase {
        name,
        requests: run.requests,
        throughput: run.throughput(),
        cpu_us: cpu.as_secs_f64() * 1e6 / run.requests as f64,
        memory,
        disk_bytes: procfs::disk_bytes(&place.data_dir()),
    })
}

fn write_page(
    setup: &Setup,
    flags: &Flags,
    maxmemory_mib: u64,
    keys: u64,
    phases: &[Phase],
    peak_bytes: u64,
) -> Result<(), Error> {
    let data_mib = (keys * flags.value_bytes as u64) >> 20;
    let method = format!(
        "{data_mib} MiB in {keys} values of {} bytes under `--maxmemory {maxmemory_mib}mb`, sync `everysec`. Every value \
         was read back and compared in full, in order and at random; the run would have failed on the first wrong one. \
         The largest RSS was {} MiB. The page cache is not limited.",
        flags.value_bytes,
        mib(peak_bytes)
    );
    let mut page = Page::new(setup, "spill", "More data than memory", &method);
    let anonymous_max = phases.iter().map(|phase| phase.memory.anonymous_bytes).max().unwrap_or(0);
    page.checks(&[Check {
        claim: "anonymous memory ÷ --maxmemory, at its largest after a phase".into(),
        measured: Spread::of([anonymous_max as f64 / (maxmemory_mib << 20) as f64]),
        bound: Bound::AtMost(1.0),
    }]);
    let mut table = Table::new(&[
        "phase",
        "requests",
        "thousand/s",
        "CPU µs/request",
        "RSS MiB",
        "anonymous MiB",
        "data directory MiB",
    ]);
    for phase in phases {
        table.row([
            phase.name.into(),
            phase.requests.to_string(),
            number(phase.throughput / 1000.0),
            number(phase.cpu_us),
            mib(phase.memory.rss_bytes),
            mib(phase.memory.anonymous_bytes),
            mib(phase.disk_bytes),
        ]);
    }
    page.table("Figures", "", &table);
    page.write(setup)
}
