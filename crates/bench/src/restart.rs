//! `restart`: how long until a server with a million keys answers again, after `kill -9` and after a clean stop; and
//! whether that grows with the keys or with everything ever written.
//!
//! The clock runs from just before the process is started until PING is answered PONG *and* DBSIZE is right. Files
//! are in the page cache. Redis keeps its default of rewriting the append-only file when it has doubled.

use std::time::Instant;

use clap::Args;

use crate::error::Error;
use crate::load;
use crate::procfs;
use crate::report::{self, Bound, Check, Page, Table, mib};
use crate::server::{Contestant, Launch, Place, Server, Sync};
use crate::setup::{self, Setup};
use crate::stats::Spread;
use crate::svg::{Figure, Panel};
use crate::workload::{Expiry, FillScript, Order, Values, VerifyScript};

const CONTESTANTS: [Contestant; 2] = [Contestant::Redis, Contestant::Larder];
const CONNECTIONS: usize = 8;

/// Flags of `restart`.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Keys stored
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// How often each key is overwritten before the second half
    #[arg(long, default_value_t = 10)]
    overwrites: u64,
}

/// The four situations a server is started in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Killed,
    Stopped,
    OverwrittenKilled,
    OverwrittenStopped,
}

const MOMENTS: [Moment; 4] = [Moment::Killed, Moment::Stopped, Moment::OverwrittenKilled, Moment::OverwrittenStopped];

impl Moment {
    fn name(self) -> &'static str {
        match self {
            Self::Killed => "kill -9",
            Self::Stopped => "clean stop",
            Self::OverwrittenKilled => "overwritten, kill -9",
            Self::OverwrittenStopped => "overwritten, clean stop",
        }
    }

    fn is_killed(self) -> bool {
        matches!(self, Self::Killed | Self::OverwrittenKilled)
    }
}

struct Sample {
    ms: f64,
    disk_bytes: u64,
}

/// Samples by contestant, moment and round.
type Samples = [[Vec<Sample>; MOMENTS.len()]; CONTESTANTS.len()];

/// Measures and writes `restart.md` and its plot.
pub fn run(setup: &Setup, flags: &Flags) -> Result<(), Error> {
    let keys = setup.scaled(flags.keys);
    let mut samples = Samples::default();
    for _ in 0..setup.rounds() {
        for (contestant, samples) in CONTESTANTS.into_iter().zip(&mut samples) {
            measure_history(setup, flags, contestant, keys, samples)?;
        }
    }
    write_page(setup, flags, keys, &samples)
}

/// One data directory through all four moments, in their order.
fn measure_history(
    setup: &Setup,
    flags: &Flags,
    contestant: Contestant,
    keys: u64,
    samples: &mut [Vec<Sample>; MOMENTS.len()],
) -> Result<(), Error> {
    let place = Place::new(setup)?;
    let launch = Launch::new(contestant, Sync::Everysec);
    let mut server = Server::start(setup, &place, &launch, 0)?;
    let mut values = Values { bytes: flags.value_bytes, generation: 0 };
    setup::fill(&server, keys, values)?;
    for moment in MOMENTS {
        if moment == Moment::OverwrittenKilled {
            values.generation = flags.overwrites;
            overwrite(&server, keys, values)?;
        }
        if moment.is_killed() {
            server.kill()?;
        } else {
            server.stop()?;
        }
        let disk_bytes = procfs::disk_bytes(&place.data_dir());
        let start = Instant::now();
        server = Server::start(setup, &place, &launch, keys)?;
        let ms = start.elapsed().as_secs_f64() * 1000.0;
        setup::progress(&format!("{}, {}: {ms:.0} ms", contestant.name(), moment.name()));
        samples[moment as usize].push(Sample { ms, disk_bytes });
        let mut script = VerifyScript::new(Order::From(0), keys, values, CONNECTIONS);
        load::run_closed(server.port(), CONNECTIONS, &mut script)?;
    }
    Ok(())
}

/// Writes all keys again as often as the last generation of `values` says.
fn overwrite(server: &Server, keys: u64, values: Values) -> Result<(), Error> {
    for generation in 1..=values.generation {
        let mut script = FillScript::new(0, keys, Values { generation, ..values }, Expiry::Never);
        load::run_closed(server.port(), CONNECTIONS, &mut script)?;
    }
    setup::settle();
    Ok(())
}

fn write_page(setup: &Setup, flags: &Flags, keys: u64, samples: &Samples) -> Result<(), Error> {
    let method = format!(
        "{keys} keys with values of {} bytes, sync `everysec`. Time from starting the process until PING is answered and \
         DBSIZE is right, files in the page cache. First with each key written once, then with each overwritten {} times \
         more. After every start each value was read and compared. Redis rewrites its append-only file when it has \
         doubled, as is its default.",
        flags.value_bytes, flags.overwrites
    );
    let times = |who: usize, moment: Moment| samples[who][moment as usize].iter().map(|s| s.ms).collect::<Vec<f64>>();
    let mut page = Page::new(setup, "restart", "Restart", &method);
    let mut checks: Vec<Check> = [Moment::Killed, Moment::Stopped]
        .map(|moment| Check {
            claim: format!("time to restart after {}, ÷ redis", moment.name()),
            measured: Spread::of_ratios(&times(1, moment), &times(0, moment)),
            bound: Bound::AtMost(0.5),
        })
        .into();
    checks.push(Check {
        claim: "larder: overwritten, kill -9, ÷ kill -9 (it grows with keys, not with data written)".into(),
        measured: Spread::of_ratios(&times(1, Moment::OverwrittenKilled), &times(1, Moment::Killed)),
        bound: Bound::AtMost(2.0),
    });
    page.checks(&checks);
    page.figure("", figure(times));
    let mut table = Table::new(&["started after", "server", "ms", "÷ redis", "data directory MiB"]);
    for moment in MOMENTS {
        for (index, contestant) in CONTESTANTS.into_iter().enumerate() {
            let last = samples[index][moment as usize].last().expect("there is at least one round");
            table.row([
                moment.name().into(),
                contestant.name().into(),
                Spread::of(times(index, moment)).to_string(),
                Spread::of_ratios(&times(index, moment), &times(0, moment)).to_string(),
                mib(last.disk_bytes),
            ]);
        }
    }
    page.table("Figures", "", &table);
    page.write(setup)
}

fn figure(times: impl Fn(usize, Moment) -> Vec<f64>) -> Figure {
    let bars = [0, 1].map(|who| MOMENTS.map(|moment| Some(Spread::of(times(who, moment)))).to_vec());
    Figure {
        title: "Restart".into(),
        series: CONTESTANTS.map(report::series_of).to_vec(),
        panels: vec![Panel {
            title: "From starting the process to PONG and the right DBSIZE".into(),
            y_label: "ms, less is better".into(),
            groups: MOMENTS.map(|moment| moment.name().replace(", ", "\n")).to_vec(),
            bars: bars.to_vec(),
        }],
        columns: 1,
    }
}
