//! Running another program as one step of a chore, and the ways a chore can fail.
//!
//! Deliberately not here: capturing output. A step's output goes to the terminal as it comes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Instant;

/// Why a chore stopped.
#[derive(Debug)]
pub enum Failure {
    /// The OS refused: a program is missing or a file cannot be read.
    Io {
        /// What was attempted, and on what.
        what: String,
        /// The OS's words.
        source: std::io::Error,
    },
    /// A step ran and failed.
    Step {
        /// The step's name.
        name: String,
        /// How its program ended.
        status: ExitStatus,
    },
    /// `cargo metadata` said something that is not its documented JSON.
    Metadata {
        /// What was wrong with it.
        what: String,
    },
    /// The repository breaks this many of its own rules; each was printed.
    Untidy {
        /// How many.
        count: usize,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Io { what, source } => write!(f, "{what}: {source}"),
            Failure::Step { name, status } => write!(f, "{name} failed with {status}"),
            Failure::Metadata { what } => write!(f, "cargo metadata is not understood: {what}"),
            Failure::Untidy { count } => write!(f, "{count} untidy places"),
        }
    }
}

/// The repository's root: where the workspace's `Cargo.toml` is.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("this crate lies two folders below the root")
}

/// The file or folder at `relative` below the root.
pub fn at(relative: &str) -> PathBuf {
    root().join(relative)
}

/// The cargo that runs this, with `arguments`, at the root.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs one step to its end, and prints its name before and its seconds after.
pub fn step(name: &str, command: &mut Command) -> Result<(), Failure> {
    println!("== {name}");
    let begun = Instant::now();
    let status = command.status().map_err(|source| Failure::Io { what: format!("{name}: {command:?}"), source })?;
    println!(
        "== {name}: {} after {:.1} s",
        if status.success() { "ok" } else { "FAILED" },
        begun.elapsed().as_secs_f64()
    );
    if status.success() { Ok(()) } else { Err(Failure::Step { name: name.to_owned(), status }) }
}
