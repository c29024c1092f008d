//! Why a payload was refused, in the two words Redis has for it.
//!
//! Deliberately not finer: a client can do nothing else with the difference. The reason inside
//! [`DumpError::BadFormat`] is for the log of whoever has to find out.

use base::Truncated;
use std::fmt;

/// A payload was refused; nothing of it may be used. Both are the command's own fault and fail alike everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpError {
    /// The footer is missing, its version is none this release reads, or the checksum does not hold.
    VersionOrChecksum,
    /// The footer holds but the body is not a value. Names the rule it broke.
    BadFormat(&'static str),
}

impl fmt::Display for DumpError {
    /// The text Redis replies after `ERR `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DumpError::VersionOrChecksum => "DUMP payload version or checksum are wrong",
            DumpError::BadFormat(_) => "Bad data format",
        })
    }
}

impl std::error::Error for DumpError {}

impl From<Truncated> for DumpError {
    fn from(_: Truncated) -> Self {
        DumpError::BadFormat("bytes end before the value does")
    }
}
