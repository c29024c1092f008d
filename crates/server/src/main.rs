//! The binary `larder`: hands the command line to those who do the work.
//!
//! Deliberately not here: anything that can be tested without a process (the library beside this file).

use server::cli::{self, Actions};
use server::{import, inspect, serve};
use std::process::ExitCode;

/// Measured against the system's: smaller size classes, and memory goes back when values are spilled (ADR 0004).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let actions = Actions {
        serve: serve::serve,
        check: Some(inspect::check),
        repair: Some(inspect::repair),
        import: Some(import::import),
    };
    let variables =
        std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
    cli::run(std::env::args_os(), variables.collect(), actions, &mut std::io::stdout().lock()).into()
}
