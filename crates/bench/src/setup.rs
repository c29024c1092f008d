//! What all measurements have in common: who is measured, on which cores, how long, and where files go.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::error::Error;
use crate::load::{self, Run};
use crate::procfs;
use crate::server::Server;
use crate::workload::{Expiry, FillScript, Values};

/// Rounds of a full run; figures are their medians.
const ROUNDS: u32 = 5;
/// Rounds with `--quick`.
const ROUNDS_QUICK: u32 = 2;
/// `--quick` divides counts of keys and requests by this.
const QUICK_DIVISOR: u64 = 10;
/// Connections that fill a server.
const FILL_CONNECTIONS: usize = 8;
/// Time for a server to finish what it does behind its replies (flush, allocator, lazy frees).
const SETTLE: Duration = Duration::from_millis(1500);

/// Flags of every measurement.
#[derive(Args, Clone, Debug)]
pub struct Setup {
    /// The larder program, or anything that takes the flags of `larder serve`
    #[arg(long, default_value = "target/release/larder", value_name = "PROGRAM")]
    pub larder_command: String,
    /// The Redis server program
    #[arg(long, default_value = "redis-server", value_name = "PROGRAM")]
    pub redis_command: String,
    /// The nginx program, for `http`
    #[arg(long, default_value = "nginx", value_name = "PROGRAM")]
    pub nginx_command: String,
    /// The wrk program, for `http`
    #[arg(long, default_value = "wrk", value_name = "PROGRAM")]
    pub wrk_command: String,
    /// Core the servers run on
    #[arg(long, default_value_t = 0, value_name = "CORE")]
    pub server_core: usize,
    /// Core the load comes from
    #[arg(long, default_value_t = 1, value_name = "CORE")]
    pub load_core: usize,
    /// Let the scheduler place servers and load
    #[arg(long)]
    pub no_pin: bool,
    /// A tenth of the keys and requests, two rounds, results under target/bench: for trying things out
    #[arg(long)]
    pub quick: bool,
    /// Rounds per figure [default: 5, with --quick 2]
    #[arg(long, value_name = "COUNT")]
    rounds: Option<u32>,
    /// Where tables and plots go [default: docs/benchmarks, with --quick target/bench]
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
    /// Where data directories of the servers live while they run; must be on a real disk
    #[arg(long, default_value = "target/bench-data", value_name = "DIR")]
    pub work_dir: PathBuf,
}

impl Setup {
    /// How many times each figure is taken.
    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { ROUNDS_QUICK } else { ROUNDS }).max(1)
    }

    /// Where tables and plots go.
    pub fn out_dir(&self) -> PathBuf {
        let default = if self.quick { "target/bench" } else { "docs/benchmarks" };
        self.out_dir.clone().unwrap_or_else(|| default.into())
    }

    /// `count`, or less of it for a quick run.
    pub fn scaled(&self, count: u64) -> u64 {
        if self.quick { count.div_ceil(QUICK_DIVISOR) } else { count }
    }

    /// Pins the calling thread where servers belong.
    pub fn pin_to_server_core(&self) -> Result<(), Error> {
        if self.no_pin { Ok(()) } else { procfs::pin(self.server_core) }
    }

    /// Pins the calling thread where load belongs.
    pub fn pin_to_load_core(&self) -> Result<(), Error> {
        if self.no_pin { Ok(()) } else { procfs::pin(self.load_core) }
    }
}

/// Writes keys `0..keys` and checks that the server counts `keys` afterwards, at rest.
pub fn fill(server: &Server, keys: u64, values: Values) -> Result<Run, Error> {
    let mut script = FillScript::new(0, keys, values, Expiry::Never);
    let run = load::run_closed(server.port(), FILL_CONNECTIONS, &mut script)?;
    settle();
    let counted = server.client()?.call_integer("DBSIZE")?;
    if counted == keys as i64 {
        return Ok(run);
    }
    Err(Error::WrongAnswer { detail: format!("{keys} keys were written, DBSIZE says {counted}") })
}

/// Waits for what servers do behind their replies.
pub fn settle() {
    thread::sleep(SETTLE);
}

/// One line of progress for whoever waits.
pub fn progress(text: &str) {
    eprintln!("  {text}");
}
