//! `larder import`: the keys of an RDB file or of an append-only file of Redis or Valkey, into a data directory that
//! nobody serves.
//!
//! ```text
//! source ─► read once, changing nothing: is it whole? ─► open the directory ─► read again, key by key and command
//! by command ─► checkpoint, close ─► summary
//! ```
//! Keys become ordinary batches of the journal, commands run through the command table, so that memory is bounded as
//! in a server: values spill at `maxmemory`. Of the source no more is in memory than one key or one command.
//!
//! Deliberately not here: what RDB files and values look like (`rdb`), what commands do (`commands`).
//!
//! Invariants: nothing is changed before the whole source was read and found sound; what was not imported is named.

mod commands_file;
mod load;
mod parts;
mod progress;
mod summary;
mod walk;

use crate::cli::{ImportRequest, Target};
use crate::config::Loaded;
use crate::data_dir;
use crate::exit::Exit;
use crate::serve::{exit_of, memory_limit, open_node};
use load::Loader;
use node::{MemoryLimit, MemoryPolicy, Node, OpenError};
use progress::Progress;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;
use summary::Summary;
use walk::Check;

/// Why an import stopped.
#[derive(Debug)]
enum Failure {
    /// A file of the source cannot be opened or read, or is not what it must be.
    Source {
        /// Which.
        path: std::path::PathBuf,
        /// What is wrong with it, to follow its name.
        what: String,
    },
    /// The request and what was found do not go together; says what would.
    Refused(String),
    /// The data directory cannot be opened.
    Open {
        /// Which.
        data_dir: std::path::PathBuf,
        /// Why not.
        error: OpenError,
    },
    /// The data directory's device is full.
    NoSpace,
    /// The data directory cannot be written or read back.
    Target(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Source { path, what } => write!(f, "{} {what}", path.display()),
            Failure::Refused(why) | Failure::Target(why) => f.write_str(why),
            Failure::Open { data_dir, error } => f.write_str(&data_dir::told(error, data_dir)),
            Failure::NoSpace => f.write_str("the data directory's device is full"),
        }
    }
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Failure::Source { .. } => Exit::Failed,
            Failure::Refused(_) => Exit::Usage,
            Failure::Open { error, .. } => exit_of(error),
            Failure::NoSpace | Failure::Target(_) => Exit::DataDirUnusable,
        }
    }
}

/// Imports what `request` asks for and writes a summary to `out`.
pub fn import(request: ImportRequest, loaded: Loaded, out: &mut dyn Write) -> Exit {
    for warning in &loaded.warnings {
        eprintln!("larder: {warning}");
    }
    match run(&request, loaded) {
        Ok(summary) => match summary.write(out) {
            Ok(()) if summary.missing.is_empty() => Exit::Success,
            Ok(()) => Exit::Incomplete,
            Err(_) => Exit::Failed,
        },
        Err(failure) => {
            eprintln!("larder: {failure}");
            failure.exit()
        }
    }
}

fn run(request: &ImportRequest, loaded: Loaded) -> Result<Summary, Failure> {
    let started = Instant::now();
    let parts = parts::of(&request.source)?;
    let mut check = Check::default();
    walk::walk(&parts, &Progress::new("checking", &parts), &mut check)?;
    let found = check.found();
    if found.command_count > 0 && request.target == Target::Merge {
        return Err(Failure::Refused(
            "commands of an append-only file belong to what they were recorded upon, so they are imported into an \
             empty directory, or with --replace; to merge, import an RDB file of the same data (BGSAVE)"
                .to_owned(),
        ));
    }
    let settings = Arc::new(loaded.settings);
    // Who moves in wants everything, whatever is evicted later on.
    let limit = MemoryLimit { policy: MemoryPolicy::Spill, ..memory_limit(&settings) };
    let refused = |error| Failure::Open { data_dir: settings.data_dir(), error };
    let node = Arc::new(open_node(&settings, limit).map_err(refused)?);
    if request.target == Target::Empty && 0 < summary::key_count(&node) {
        return Err(Failure::Refused(format!(
            "{} holds keys already: --merge adds to them, --replace removes them first",
            settings.data_dir().display()
        )));
    }
    let mut loader = Loader::new(&node, Arc::clone(&settings), &found)?;
    let running = Arc::clone(&node).start();
    if request.target == Target::Replace {
        loader.empty();
    }
    let loaded = walk::walk(&parts, &Progress::new("importing", &parts), &mut loader);
    let report = loader.finish();
    let holdings = summary::Holdings::of(&node);
    let stopped = running.stop(true).map_err(|error| Failure::Target(format!("the checkpoint failed: {error}")));
    loaded.map_err(|failure| told_half_way(failure, &node))?;
    stopped?;
    Ok(Summary {
        source: request.source.clone(),
        data_dir: settings.data_dir(),
        found,
        read: report.read,
        missing: report.missing,
        holdings,
        duration: started.elapsed(),
    })
}

/// What stopped the import, and what that leaves behind.
fn told_half_way(failure: Failure, node: &Node) -> Failure {
    let kept = summary::key_count(node);
    let tell = |what: String| format!("{what}; the data directory holds {kept} keys now, import again with --replace");
    match failure {
        Failure::Source { path, what } => Failure::Source { path, what: tell(what) },
        other => Failure::Target(tell(other.to_string())),
    }
}
