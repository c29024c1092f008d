//! Why a command was refused, in Redis's words.
//!
//! The texts are what clients match on, so each stands here once; see `redis/src/server.c`, `createSharedObjects`.

use keyspace::Stop;
use std::borrow::Cow;

/// Why a command was refused. Everything but `Spilled` becomes an error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The key holds another type.
    WrongType,
    /// Not for the client: the value must be fetched first, and the command run anew.
    Spilled,
    /// The value could not be read back, and nothing has been changed.
    Unreadable,
    /// The arguments do not fit together.
    Syntax,
    /// An argument or a value is no integer.
    NotInteger,
    /// An argument or a value is no float.
    NotFloat,
    /// An argument is beyond what is possible.
    OutOfRange,
    /// The key must exist for this command.
    NoSuchKey,
    /// Any other; the text starts with its code.
    Reply(Cow<'static, str>),
    /// What a command that a script called was refused with, and the script has ended with.
    Relayed(Box<str>),
}

impl Error {
    /// An error with a fixed text, its code included.
    pub const fn text(text: &'static str) -> Error {
        Error::Reply(Cow::Borrowed(text))
    }

    /// The reply, without the leading `-`.
    pub fn reply(&self) -> &str {
        match self {
            Error::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Error::Spilled | Error::Unreadable => "ERR the value could not be read back from the journal",
            Error::Syntax => "ERR syntax error",
            Error::NotInteger => "ERR value is not an integer or out of range",
            Error::NotFloat => "ERR value is not a valid float",
            Error::OutOfRange => "ERR value is out of range",
            Error::NoSuchKey => "ERR no such key",
            Error::Reply(text) => text,
            Error::Relayed(text) => text,
        }
    }
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Error {
        match stop {
            Stop::WrongType => Error::WrongType,
            Stop::Spilled => Error::Spilled,
            Stop::Unreadable => Error::Unreadable,
        }
    }
}

/// As `format!`, for error replies; the text starts with its code.
#[macro_export]
macro_rules! refuse {
    ($($format:tt)*) => {
        $crate::Error::Reply(std::borrow::Cow::Owned(format!($($format)*)))
    };
}
