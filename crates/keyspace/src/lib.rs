//! Data types, index, partitions, transactions, effects and checkpoints.
//!
//! Does not know: commands, protocols, peers, sockets, clocks. Time and randomness arrive as arguments.

pub mod access;
pub mod checkpoint;
mod chunk;
pub mod digest;
pub mod effect;
pub mod elements;
pub mod entry;
pub mod events;
pub mod figures;
pub mod hash;
pub mod hasher;
pub mod index;
pub mod keyspace;
pub mod library;
pub mod list;
pub mod live;
mod packed;
pub mod partition;
pub mod patience;
pub mod pieces;
pub mod prefetch;
#[cfg(test)]
mod random;
pub mod replay;
pub mod set;
mod slab;
pub mod sorted_set;
pub mod spilled;
pub mod stream;
pub mod table;
pub mod tx;
pub mod value;
pub mod waiting;
pub mod watching;

pub use access::AccessClock;
pub use elements::PHYSICAL_DB_COUNT;
pub use entry::{Home, STRING_BYTES_MAX};
pub use events::Event;
pub use keyspace::Keyspace;
pub use library::{LIBRARY_DB, LIBRARY_PARTITION};
pub use partition::{Ending, Garbage, Partition};
pub use spilled::Spilled;
pub use tx::{Begin, Committed, Found, KeyState, Lookups, Shown, Stop, Str, Tx};
pub use value::{Kind, SHARED_BYTES_MIN, Value};
