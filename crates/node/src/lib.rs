//! One running node: opens a data directory, drives its partitions, journal, checkpoints, merges, expiry and
//! memory, and holds the gate that replies wait at.
//!
//! Does not know: sockets, protocols, configuration files.
//!
//! | file             | what it drives                                                        |
//! |------------------|-----------------------------------------------------------------------|
//! | [`manifest`]     | what a data directory says of itself                                  |
//! | [`open`]         | data directory → live state                                           |
//! | [`node`]         | the node, its threads, and stopping                                   |
//! | [`gate`]         | replies wait until what they reveal is as safe as promised            |
//! | [`fetch`]        | spilled values back into memory, off the path                         |
//! | [`expiry`]       | keys and fields that end                                              |
//! | [`checkpointer`] | checkpoints of every partition, and the segments they let go          |
//! | [`merge`]        | live values out of mostly dead segments                               |
//! | [`inspect`]      | `larder check` and `larder repair`                                    |
//! | [`memory`]       | the memory limit: spilling and eviction                               |
//! | `sweep`          | which keys the memory limit looks at next                             |

pub mod checkpointer;
pub mod expiry;
pub mod fetch;
pub mod gate;
pub mod inspect;
pub mod manifest;
pub mod memory;
pub mod merge;
pub mod node;
pub mod open;
mod sweep;

pub use memory::{MemoryLimit, MemoryPolicy};
pub use node::{Node, Options, Running};
pub use open::{OpenError, Opened, Progress};
