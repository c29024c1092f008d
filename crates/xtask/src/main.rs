//! `cargo xtask`: the chores of this repository, in Rust so that they need nothing but cargo.
//!
//! Deliberately not here: anything a user of Larder needs. The programs these chores start from outside (`tests/`)
//! also run by hand; each says how.

mod edges;
mod links;
mod python;
mod sources;
mod step;
mod tidy;

use std::process::ExitCode;
use step::{Failure, cargo, step};

const HELP: &str = "\
usage: cargo xtask <chore>

  test    the tests of all crates, then real clients against the release build; says what it skipped
  ci      what CI runs: format, lints, tests, tidiness, documentation, and short runs of the programs
          under tests/ (crash rounds, clients, hostile input, the Debian package index) against a debug build
  tidy    crate edges, headers, sizes, unfinished code, dead files, links of documents
";

fn main() -> ExitCode {
    let chore = std::env::args().nth(1).unwrap_or_default();
    let done = match chore.as_str() {
        "test" => test(),
        "ci" => ci(),
        "tidy" => tidy_step(),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("cargo xtask {chore}: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Everything a change must pass that any machine with cargo can run, and the clients where their programs exist.
fn test() -> Result<(), Failure> {
    step("tests of all crates", &mut cargo(&["test", "--workspace"]))?;
    let missing = python::missing(python::CLIENT_PROGRAMS);
    if !missing.is_empty() {
        println!("SKIPPED: the tests with real clients, because these are missing: {}", missing.join(", "));
        return Ok(());
    }
    release_build()?;
    python::prepare()?;
    python::run("clients.py", &[], "release")
}

fn ci() -> Result<(), Failure> {
    step("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    step("lints", &mut cargo(&clippy))?;
    // All in one, or the server would be compiled anew for the programs under tests/: which features its dependencies
    // have depends on what is built with it.
    step("build", &mut cargo(&["build", "--workspace", "--all-targets"]))?;
    // What is shipped is built alone: with no features but those that it asks for itself.
    step("server alone", &mut cargo(&["check", "--package", "server"]))?;
    step("tests of all crates", &mut cargo(&["test", "--workspace"]))?;
    tidy_step()?;
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    step("documentation", doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    python::prepare()?;
    for (program, arguments) in python::CI_RUNS {
        python::run(program, arguments, "debug")?;
    }
    Ok(())
}

fn release_build() -> Result<(), Failure> {
    step("release build", &mut cargo(&["build", "--release", "--package", "server"]))
}

fn tidy_step() -> Result<(), Failure> {
    let problems = tidy::problems()?;
    for problem in &problems {
        eprintln!("untidy: {problem}");
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::Untidy { count: problems.len() }) }
}
