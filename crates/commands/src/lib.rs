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
pub mod channels;
pub mod client;
pub mod client_filter;
mod client_tracking;
pub mod command;
mod command_docs;
pub mod command_log;
pub mod config;
pub mod connection;
mod counters;
pub mod debug;
pub mod dump;
pub mod expire;
pub mod geo;
mod geo_cells;
pub mod geo_search;
mod geo_shape;
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
pub mod pubsub;
mod random;
pub mod redact;
pub mod scan;
mod script_cache;
mod script_run;
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
mod stream_claims;
mod stream_dump;
mod stream_group_read;
mod stream_groups;
mod stream_ids;
mod stream_info;
pub mod streams;
pub mod streams_read;
pub mod strings;
mod strings_options;
mod strings_read;
mod strings_write;
mod syntax;
pub mod tracking;
pub mod transactions;
pub mod waiting;

pub use call::{Await, Call, Flow};
pub use error::Error;
pub use host::Host;
pub use script_cache::{ScriptFigures, Scripts, Surroundings};
pub use session::Session;
pub use spec::{Arity, Flags, Group, Keys, Scope, Spec};
