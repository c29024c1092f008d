//! Why the process ended, as a number that a supervisor can act on.
//!
//! Deliberately not an error type: a crate's own errors are mapped to one of these in the one place that
//! ends the process. Numbers are part of the product: never reuse one, never renumber.
//!
//! Source: STYLE, "stop with a reason a supervisor can read"; 2 for usage follows every Unix tool.

use std::process::ExitCode;

/// The exit statuses of `larder`, each with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The work is done, or the server was asked to stop and did so cleanly.
    Success = 0,
    /// Something failed that no other status names.
    Failed = 1,
    /// The command line, the environment or the configuration file is wrong. Nothing was opened.
    Usage = 2,
    /// fsync failed: the page cache may hold pages the disk lost, so nothing was retried.
    SyncFailed = 3,
    /// A committed effect could not be applied. No release so far ends with it; the number is kept.
    ApplyDiverged = 4,
    /// Another process holds the data directory.
    DataDirLocked = 5,
    /// A checksum failed where no crash can explain it.
    DataCorrupt = 6,
    /// An address to listen on belongs to another process, or to no interface of this machine.
    AddressUnavailable = 7,
    /// The data directory cannot be created, read or written: permissions, or a disk that is full or gone.
    DataDirUnusable = 8,
    /// The data directory was written by a release this one cannot read.
    DataDirVersion = 9,
    /// An import is done, but not everything in its source could be taken over; the summary names what was not.
    Incomplete = 10,
}

impl Exit {
    /// Every status in order of its number: help, documentation and tests read this list.
    pub const ALL: [Exit; 11] = [
        Exit::Success,
        Exit::Failed,
        Exit::Usage,
        Exit::SyncFailed,
        Exit::ApplyDiverged,
        Exit::DataDirLocked,
        Exit::DataCorrupt,
        Exit::AddressUnavailable,
        Exit::DataDirUnusable,
        Exit::DataDirVersion,
        Exit::Incomplete,
    ];

    /// The number the process ends with.
    pub fn status(self) -> u8 {
        self as u8
    }

    /// What happened and what to do, for `larder --help` and the documentation.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Success => "done, or stopped cleanly when asked",
            Exit::Failed => "failed; the last line on stderr says why",
            Exit::Usage => "wrong flag, environment variable or configuration file; nothing was opened",
            Exit::SyncFailed => "fsync failed; check the disk, then restart to recover from what it holds",
            Exit::ApplyDiverged => "not used so far; kept for a committed change that cannot be applied",
            Exit::DataDirLocked => "another process holds the data directory",
            Exit::DataCorrupt => "corrupt data; `larder check` names it, `larder repair` lets you decide",
            Exit::AddressUnavailable => "an address is in use or not of this machine",
            Exit::DataDirUnusable => "the data directory cannot be created, read or written",
            Exit::DataDirVersion => "the data directory needs another release of larder",
            Exit::Incomplete => "imported, but not everything; the summary names what is missing",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.status())
    }
}

/// Ends the process at once with `reason` and says why on stderr.
///
/// Exits rather than panics or unwinds: no destructor runs, so nothing more can be written or acknowledged.
pub fn stop(reason: Exit, detail: &str) -> ! {
    eprintln!("larder: fatal: {detail} ({})", reason.meaning());
    std::process::exit(i32::from(reason.status()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinct_and_in_order() {
        assert!(Exit::ALL.is_sorted_by(|a, b| a.status() < b.status()));
        assert_eq!((Exit::Usage.status(), Exit::SyncFailed.status(), Exit::ApplyDiverged.status()), (2, 3, 4));
    }
}
