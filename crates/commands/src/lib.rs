//! The command table and its handlers, one file per data type.
//!
//! Does not know: sockets, disks, peers. A handler gets its arguments, a transaction over the keys its row names,
//! a place for the reply, the connection's session, and the node as the [`Host`] trait.

#![expect(clippy::unnecessary_wraps, reason = "handlers have one signature, whether or not they can refuse")]

pub mod call;
pub mod error;
mod exec;
pub mod host;
pub mod run;
pub mod session;
pub mod spec;
pub mod table;
pub mod transaction;
pub mod within;

pub mod acl;
mod bitfield;
pub mod bits;
mod bits_op;
mod bits_span;
pub mod client;
pub mod client_filter;
pub mod command;
mod command_docs;
pub mod command_log;
pub mod config;
pub mod connection;
mod counters;
pub mod debug;
pub mod dump;
pub mod expire;
pub mod hash_ttl;
pub mod hash_ttl_values;
pub mod hashes;
pub mod hashes_walk;
pub mod help;
mod hll;
mod hll_self_test;
pub mod hyperloglog;
pub mod keys;
pub mod keys_databases;
pub mod latency;
mod lcs;
pub mod lists;
pub mod lists_blocking;
pub mod lists_move;
pub mod lists_search;
pub mod memory;
pub mod object;
mod random;
pub mod redact;
pub mod scan;
pub mod scripting;
pub mod server;
pub mod sets;
pub mod sets_algebra;
pub mod sets_random;
pub mod sort;
pub mod sorted_sets;
mod sorted_sets_bounds;
pub mod sorted_sets_combine;
pub mod sorted_sets_pop;
pub mod sorted_sets_range;
pub mod sorted_sets_walk;
pub mod strings;
mod strings_options;
mod strings_read;
mod strings_write;
mod syntax;
pub mod transactions;
pub mod waiting;

pub use call::{Await, Call, Flow};
pub use error::Error;
pub use host::Host;
pub use session::Session;
pub use spec::{Arity, Flags, Group, Keys, Scope, Spec};
