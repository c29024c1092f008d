//! `larder-bench`: measures Larder, Redis and an echo floor side by side and writes tables and plots.
//!
//! - `setup`, `server`: who is measured and how it is started; `procfs`: what the kernel knows of it
//! - `load`, `connection`, `workload`, `resp`, `client`, `cross_check`, `wrk`: where the load comes from
//! - `floor`: the server that stores nothing
//! - `compare`, `memory`, `elements`, `restart`, `spill`, `pauses`, `http`: one measurement each, of a server
//! - `engine`: the engine without a server, in this process
//! - `stats`, `report`, `svg`: from samples to pages
//!
//! Deliberately shares no code with the server, `engine` aside: a bench that used the server's own parser could not see
//! its faults.
//! Measurements run on one machine over loopback, where no network hides what a server costs.
#![allow(clippy::disallowed_methods, reason = "the bench is made of clocks, sockets, files and processes")]

mod client;
mod compare;
mod connection;
mod cross_check;
mod elements;
mod engine;
mod error;
mod floor;
mod http;
mod load;
mod memory;
mod pauses;
mod procfs;
mod report;
mod resp;
mod restart;
mod server;
mod setup;
mod spill;
mod stats;
mod svg;
mod workload;
mod wrk;

use std::process::ExitCode;

use clap::{Args, FromArgMatches, Parser, Subcommand};

use crate::error::Error;
use crate::setup::Setup;

/// The server's, since `engine` measures what the server runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Larder against Redis on this machine and writes docs/benchmarks.
///
/// Build the server first (cargo build --release -p server) and let nothing else run: servers are pinned to one core,
/// the load to another. Every measurement writes a Markdown page with its plots; it names the machine, the versions and
/// the command that repeats it.
#[derive(Parser)]
#[command(name = "larder-bench", version, after_help = "Run it from the root of the repository.")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything below with its defaults, one after the other
    All {
        #[command(flatten)]
        setup: Setup,
    },
    /// Throughput, latency and server CPU per request, in all sync modes
    Compare {
        #[command(flatten)]
        setup: Setup,
        #[command(flatten)]
        flags: compare::Flags,
    },
    /// Memory per key, with values resident and spilled
    Memory {
        #[command(flatten)]
        setup: Setup,
        #[command(flatten)]
        flags: memory::Flags,
    },
    /// Memory per element of large collections
    Elements {
        #[command(flatten)]
        setup: Setup,
        #[command(flatten)]
        flags: elements::Flags,
    },
    /// Time from starting a server until it answers with all its keys
    Restart {
        #[command(flatten)]
        setup: Setup,
        #[command(flatten)]
        flags: restart::Flags,
    },
    /// Tail latency of a paced load during checkpoint, merge, table growth and mass expiry
    Pauses {
        #[command(flatten)]
        setup: Setup,
        #[command(flatten)]
        flags: pauses::Flags,
    },
    /// Much more data than memory, every value verified
    Spill {
        #[command(flatten)]
        setup: Setup,
        #[command(flatten)]
        flags: spill::Flags,
    },
    /// Get and put of the engine alone, in this process, and synced puts by one writer and by many
    Engine {
        #[command(flatten)]
        setup: Setup,
        #[command(flatten)]
        flags: engine::Flags,
    },
    /// Requests over HTTP beside nginx answering a constant, and hustdb's API for five value sizes
    Http {
        #[command(flatten)]
        setup: Setup,
        #[command(flatten)]
        flags: http::Flags,
    },
    /// Serve as the echo floor: parse, answer, store nothing
    Floor {
        /// Port of the loopback address
        #[arg(long)]
        port: u16,
        /// Bytes of each GET reply
        #[arg(long, default_value_t = 64)]
        value_bytes: usize,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("larder-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), Error> {
    match task {
        Task::All { setup } => run_all(&setup),
        Task::Compare { setup, flags } => compare::run(&setup, &flags),
        Task::Memory { setup, flags } => memory::run(&setup, &flags),
        Task::Elements { setup, flags } => elements::run(&setup, &flags),
        Task::Restart { setup, flags } => restart::run(&setup, &flags),
        Task::Pauses { setup, flags } => pauses::run(&setup, &flags),
        Task::Spill { setup, flags } => spill::run(&setup, &flags),
        Task::Engine { setup, flags } => engine::run(&setup, &flags),
        Task::Http { setup, flags } => http::run(&setup, &flags),
        Task::Floor { port, value_bytes } => floor::serve(port, value_bytes),
    }
}

fn run_all(setup: &Setup) -> Result<(), Error> {
    compare::run(setup, &defaults())?;
    memory::run(setup, &defaults())?;
    elements::run(setup, &defaults())?;
    restart::run(setup, &defaults())?;
    pauses::run(setup, &defaults())?;
    spill::run(setup, &defaults())?;
    engine::run(setup, &defaults())?;
    http::run(setup, &defaults())
}

/// Flags as if none had been given.
fn defaults<F: Args + FromArgMatches>() -> F {
    let matches = F::augment_args(clap::Command::new("defaults")).get_matches_from(["defaults"]);
    F::from_arg_matches(&matches).expect("every flag has a default or is optional")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_measurement_has_defaults() {
        let _: (compare::Flags, memory::Flags) = (defaults(), defaults());
        let _: (restart::Flags, pauses::Flags, spill::Flags) = (defaults(), defaults(), defaults());
        let _: (engine::Flags, elements::Flags, http::Flags) = (defaults(), defaults(), defaults());
    }
}
