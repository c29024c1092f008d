//! The words every other crate speaks: slots and partitions, versions, times, and the small codecs and
//! checksums of the disk formats.
//!
//! Deliberately not here: anything that allocates much, blocks, reads a clock or knows what a command is.

pub mod checksum;
pub mod codec;
pub mod decimal;
pub mod glob;
pub mod ids;
pub mod media_type;
pub mod name;
pub mod number;
pub mod shared;
pub mod slot;

pub use codec::{Reader, Truncated};
pub use ids::{DB_COUNT, DbId, PartitionId, TimeMs, Version};
pub use shared::SharedBytes;
pub use slot::{SLOT_COUNT, slot_of};
