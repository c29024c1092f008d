//! What an import came to, for the operator to read.
//!
//! Deliberately not here: finding it out, but for counting what a data directory holds.

use super::walk::Found;
use base::{DB_COUNT, DbId};
use keyspace::Kind;
use keyspace::partition::has_ended;
use node::Node;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Things not imported that are listed; beyond that they are counted.
const LISTED_COUNT_MAX: usize = 1000;
/// Bytes of a key or a text that are shown.
const SHOWN_BYTES_MAX: usize = 200;

/// What was read of the source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Read {
    /// Keys imported from an RDB file.
    pub keys: u64,
    /// Keys left out because their time had come.
    pub ended: u64,
    /// Commands run.
    pub commands: u64,
}

/// What was not imported.
#[derive(Debug, Default)]
pub(super) struct Missing {
    listed: Vec<String>,
    count: u64,
    /// Keys and commands of databases that do not exist here.
    databases: BTreeMap<u64, u64>,
}

impl Missing {
    /// One thing more, named.
    pub(super) fn add(&mut self, what: String) {
        self.count += 1;
        if self.listed.len() < LISTED_COUNT_MAX {
            self.listed.push(what);
        }
    }

    /// One key, or command, more of a database that does not exist here.
    pub(super) fn add_of_database(&mut self, number: u64) {
        self.count += 1;
        *self.databases.entry(number).or_default() += 1;
    }

    /// Whether everything was imported.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        writeln!(out, "not imported ({}):", self.count)?;
        for (number, count) in &self.databases {
            writeln!(out, "  database {number}: keys or commands {count}; there are databases 0 to {}", DB_COUNT - 1)?;
        }
        for line in &self.listed {
            writeln!(out, "  {line}")?;
        }
        match self.count - self.listed.len() as u64 - self.databases.values().sum::<u64>() {
            0 => Ok(()),
            more => writeln!(out, "  and {more} more"),
        }
    }
}

/// `bytes` so that they can be read on a terminal: in quotes where they are not plain.
pub(super) fn shown(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    wire::inline::put_quoted(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)], &mut out);
    if SHOWN_BYTES_MAX < bytes.len() {
        out.extend_from_slice(b"...");
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Keys of each type in each database.
#[derive(Debug, Default)]
pub(super) struct Holdings([[u64; KINDS.len()]; DB_COUNT]);

const KINDS: [(Kind, &str); 6] = [
    (Kind::String, "strings"),
    (Kind::List, "lists"),
    (Kind::Set, "sets"),
    (Kind::SortedSet, "sorted sets"),
    (Kind::Hash, "hashes"),
    (Kind::Stream, "streams"),
];

impl Holdings {
    /// What `node` holds and has not ended. Cost: a look at every key.
    pub(super) fn of(node: &Node) -> Self {
        let now = node.moment().now;
        let mut holdings = Holdings::default();
        for id in node.keyspace.ids() {
            let partition = node.keyspace.lock(id);
            for (number, counts) in holdings.0.iter_mut().enumerate() {
                partition.index(partition.physical(DbId(number as u8))).each(|entry| {
                    let at = KINDS.iter().position(|(kind, _)| *kind == entry.kind()).expect("every kind is listed");
                    counts[at] += u64::from(!has_ended(entry.expires(), now));
                });
            }
        }
        holdings
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.0.iter().flatten().all(|count| *count == 0) {
            return writeln!(out, "  no keys");
        }
        for (number, counts) in self.0.iter().enumerate().filter(|(_, counts)| counts.iter().any(|count| 0 < *count)) {
            let kinds = KINDS.iter().zip(counts).filter(|(_, count)| 0 < **count);
            let kinds: Vec<String> = kinds.map(|((_, name), count)| format!("{name} {count}")).collect();
            writeln!(out, "  database {number}: keys {} ({})", counts.iter().sum::<u64>(), kinds.join(", "))?;
        }
        Ok(())
    }
}

/// Keys in all databases of `node`, those that have ended and are still there not counted.
pub(super) fn key_count(node: &Node) -> u64 {
    node.keyspace.figures(node.moment().now).key_count()
}

/// See the module's text.
pub(super) struct Summary {
    /// What was imported.
    pub source: PathBuf,
    /// Where to.
    pub data_dir: PathBuf,
    /// What it was.
    pub found: Found,
    /// What was read of it.
    pub read: Read,
    /// What was not imported.
    pub missing: Missing,
    /// What the directory holds now.
    pub holdings: Holdings,
    /// How long everything took.
    pub duration: Duration,
}

impl Summary {
    /// Writes it down.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}: {}", self.source.display(), self.found.describe())?;
        let Read { keys, ended, commands } = self.read;
        let seconds = self.duration.as_secs_f64();
        writeln!(out, "imported in {seconds:.1} s: keys {keys}, commands {commands}")?;
        if 0 < ended {
            writeln!(out, "left out because their time had come: keys {ended}")?;
        }
        if 0 < self.found.unfinished_bytes {
            let bytes = self.found.unfinished_bytes;
            writeln!(out, "left out at the end, a command or transaction never written whole: bytes {bytes}")?;
        }
        self.missing.write(out)?;
        writeln!(out, "{} holds now, on disk and checkpointed:", self.data_dir.display())?;
        self.holdings.write(out)
    }
}

impl Found {
    fn describe(&self) -> String {
        let mut words = Vec::new();
        if let Some(version) = self.rdb_version {
            words.push(format!("RDB version {version}"));
            words.extend(self.written_by.as_ref().map(|who| format!("written by {who}")));
            words.push(if self.is_summed { "its checksum holds" } else { "it has no checksum" }.to_owned());
        }
        if 0 < self.command_count {
            words.push(format!("{} commands of an append-only file", self.command_count));
        }
        if words.is_empty() { "no commands".to_owned() } else { words.join(", ") }
    }
}
