//! What can go wrong in the journal, by meaning.
//!
//! Deliberately not here: what to do about it. `Full` is answered to the client and heals; `Corrupt` is for
//! the operator; `SyncFailed` and `WriteFailed` have already been given to the fatal hook.

use std::fmt;
use std::io;

use crate::position::{Position, SegmentId};
use crate::record::{BODY_BYTES_MAX, Damage};
use crate::repair::GiveUp;

/// An error of whoever looks at records during a scan.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error of the journal. Files are named relative to the data directory.
#[derive(Debug)]
pub enum Error {
    /// The body is longer than a record can carry. Nothing was written.
    RecordTooLarge {
        /// Its length.
        body_bytes: u64,
    },
    /// There is no room for more: no space on the device, or no file descriptor for the next segment. Heals by itself
    /// once there is.
    Full,
    /// Bytes that were written and synced are not what they were. Nothing has been changed.
    Corrupt {
        /// The segment's file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        damage: Damage,
    },
    /// The segment was written by a release with another format.
    FormatUnknown {
        /// The segment's file.
        file: String,
        /// The format it claims.
        version: u32,
    },
    /// There is no such segment, or it has been removed.
    SegmentUnknown {
        /// The one asked for.
        id: SegmentId,
    },
    /// The segment is still being written, or not durable yet, and cannot be removed.
    SegmentInUse {
        /// The one asked for.
        id: SegmentId,
    },
    /// There is no record at this place: nothing of the journal ever started there.
    PositionUnknown {
        /// The place asked for.
        at: Position,
    },
    /// The visitor of a scan refused a record.
    Visitor {
        /// The record.
        at: Position,
        /// Its reason.
        source: BoxError,
    },
    /// The operating system refused.
    Io {
        /// What was attempted.
        op: &'static str,
        /// On which file.
        file: String,
        /// Its reason.
        source: io::Error,
    },
    /// A sync failed: what is on the device is unknown. The journal has stopped.
    SyncFailed {
        /// Of which file.
        file: String,
        /// The reason.
        source: io::Error,
    },
    /// A write into allocated space failed: what was written is unknown. The journal has stopped.
    WriteFailed {
        /// Of which file.
        file: String,
        /// The reason.
        source: io::Error,
    },
    /// A salvage plan names something that is not lost. Nothing has been changed.
    LossNotFound {
        /// What it names.
        give_up: GiveUp,
    },
    /// A salvage plan leaves out something that is lost. Nothing has been changed.
    LossNotNamed {
        /// What it leaves out.
        give_up: GiveUp,
    },
    /// The journal was closed or has stopped after a fatal error.
    Stopped,
}

impl Error {
    pub(crate) fn io(op: &'static str, file: &str, source: io::Error) -> Error {
        Error::Io { op, file: file.to_owned(), source }
    }

    /// `Full` when space is what is missing, or file descriptors.
    pub(crate) fn space_or_io(op: &'static str, file: &str, source: io::Error) -> Error {
        if is_space(&source) || env::is_out_of_descriptors(&source) { Error::Full } else { Error::io(op, file, source) }
    }

    /// Whether the process must stop: the state of the device is unknown.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Error::SyncFailed { .. } | Error::WriteFailed { .. })
    }
}

/// Whether the operating system refused for want of space.
pub(crate) fn is_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::RecordTooLarge { body_bytes } => {
                write!(f, "a record of {body_bytes} bytes is over the limit of {BODY_BYTES_MAX}")
            }
            Error::Full => f.write_str("no space left for the journal"),
            Error::Corrupt { file, offset, damage: Damage::Unknown } => {
                write!(f, "{file} holds at offset {offset} what this release cannot know: a later one wrote it")
            }
            Error::Corrupt { file, offset, damage } => {
                write!(f, "{file} is damaged at offset {offset}: {}", damage.describe())
            }
            Error::FormatUnknown { file, version } => {
                write!(f, "{file} has format {version}, which this release does not know")
            }
            Error::SegmentUnknown { id } => write!(f, "there is no journal segment {id}"),
            Error::SegmentInUse { id } => write!(f, "the journal segment {id} is still in use"),
            Error::PositionUnknown { at } => write!(f, "the journal has no record at {at}"),
            Error::Visitor { at, source } => write!(f, "the record at {at} was refused: {source}"),
            Error::Io { op, file, source } => write!(f, "cannot {op} {file}: {source}"),
            Error::SyncFailed { file, source } => write!(f, "syncing {file} failed: {source}"),
            Error::WriteFailed { file, source } => write!(f, "writing {file} failed: {source}"),
            Error::LossNotFound { give_up } => write!(f, "the plan gives up {give_up}, which is not lost"),
            Error::LossNotNamed { give_up } => write!(f, "the plan does not name {give_up}, which is lost"),
            Error::Stopped => f.write_str("the journal has stopped"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Visitor { source, .. } => Some(&**source),
            Error::Io { source, .. } | Error::SyncFailed { source, .. } | Error::WriteFailed { source, .. } => {
                Some(source)
            }
            Error::RecordTooLarge { .. }
            | Error::Full
            | Error::Corrupt { .. }
            | Error::FormatUnknown { .. }
            | Error::SegmentUnknown { .. }
            | Error::SegmentInUse { .. }
            | Error::PositionUnknown { .. }
            | Error::LossNotFound { .. }
            | Error::LossNotNamed { .. }
            | Error::Stopped => None,
        }
    }
}
