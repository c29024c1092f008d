//! Bytes to frames and back: the RESP2 and RESP3 protocols, as Redis 7.2 and Valkey speak them, and requests of HTTP/1.1.
//!
//! Deliberately not here: sockets, what a command means, who may run it. Bytes come in as slices and go out into a
//! `Vec<u8>`; whoever owns the connection moves them.
//!
//! | file         | direction                                                                      |
//! |--------------|--------------------------------------------------------------------------------|
//! | [`request`]  | client bytes → commands, incrementally, without copying arguments              |
//! | [`args`]     | the arguments of one parsed command: where they lie, and reading them          |
//! | [`http`]     | client bytes → heads and bodies of HTTP/1.1 requests                           |
//! | [`inline`]   | the quoting rules of commands typed by hand                                    |
//! | [`reply`]    | replies → bytes, in the protocol version of the connection                     |
//! | [`value`]    | reply bytes → [`Value`], for the bench, the tests and node-to-node calls       |

pub mod args;
pub mod http;
pub mod inline;
pub mod reply;
pub mod request;
pub mod value;

pub use args::{Args, ArgsQueue, Ranges};
pub use reply::{Mark, Protocol, Reply};
pub use request::{Limits, Login, Parsed, ProtocolError, RequestParser};
pub use value::{DecodeError, Decoded, Value};
