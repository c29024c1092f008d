//! The binary `larder`: hands the command line to those who do the work.
//!
//! Deliberately not here: anything that can be tested without a process (the library beside this file).

use server::allocator::Allocator;
use server::cli::{self, Actions};
use server::{import, inspect, serve};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

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
