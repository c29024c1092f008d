//! What can stop a measurement, by meaning. A measurement that hit any of these has no figure: nothing here is
//! counted and carried on from, because a number taken across an error is a number about something else.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a run has no result.
#[derive(Debug)]
pub enum Error {
    /// The OS refused `op`.
    Io { op: &'static str, source: io::Error },
    /// A program that this measurement needs is not installed, or not where it was said to be.
    Missing { program: String, package: &'static str },
    /// The server process ended while it was needed; `log` is where its output went.
    ServerDied { server: &'static str, log: PathBuf },
    /// The server was up but not ready within the named limit.
    ServerNotReady { server: &'static str, log: PathBuf },
    /// The server closed a connection in the middle of the load.
    Closed,
    /// The server answered an error where the workload can have none.
    Refused { reply: String },
    /// The server answered, but not what was stored.
    WrongAnswer { detail: String },
    /// Bytes that are not a RESP reply.
    NotResp { byte: u8 },
    /// The engine refused `op`.
    Engine { op: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// A file of `/proc` lacks a field that this kernel should have.
    NoField { file: PathBuf, field: &'static str },
}

impl Error {
    /// For `map_err`: names the operation that the OS refused.
    pub fn io(op: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { op, source }
    }

    /// For `map_err`: names the operation that the engine refused.
    pub fn engine<E: std::error::Error + Send + Sync + 'static>(op: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Engine { op, source: Box::new(error) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { op, source } => write!(f, "cannot {op}: {source}"),
            Self::Missing { program, package } => write!(
                f,
                "cannot run {program}, which this measurement needs: install {package} (apt-get install {package}), or say \
                 where it is with --{package}-command"
            ),
            Self::ServerDied { server, log } => write!(f, "{server} ended by itself, see {}", log.display()),
            Self::ServerNotReady { server, log } => write!(f, "{server} did not get ready, see {}", log.display()),
            Self::Closed => f.write_str("the server closed a connection under load"),
            Self::Refused { reply } => write!(f, "the server answered an error: {reply}"),
            Self::WrongAnswer { detail } => write!(f, "wrong answer: {detail}"),
            Self::NotResp { byte } => write!(f, "a reply started with byte {byte:#04x}, which is not RESP"),
            Self::Engine { op, source } => write!(f, "cannot {op}: {source}"),
            Self::NoField { file, field } => write!(f, "{} has no field {field}", file.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Engine { source, .. } => Some(&**source),
            Self::Missing { .. }
            | Self::ServerDied { .. }
            | Self::ServerNotReady { .. }
            | Self::Closed
            | Self::Refused { .. }
            | Self::WrongAnswer { .. }
            | Self::NotResp { .. }
            | Self::NoField { .. } => None,
        }
    }
}
