//! The journal: segments of checksummed records; append, sync, read, recover, repair.
//!
//! It is at once the write-ahead log and the home of every value on disk, and it knows neither: a record's body
//! is opaque here. This crate does not know keys, commands, partitions' contents, or a runtime.
//!
//! | file | what it holds |
//! |---|---|
//! | `position` | where a record lies |
//! | `record` | one record, its checksums, what can be wrong with it |
//! | `segment` | one file, its header and creation |
//! | `tail` | the bytes that are not in the page cache yet |
//! | `journal` | append and write-through |
//! | `flush` | group commit, sync modes, the flusher's turns |
//! | `sync_times` | how many syncs there were and how long they took |
//! | `waiters` | who waits for the durable frontier |
//! | `read`, `catalog` | records by position, open files |
//! | `window` | sequential reading |
//! | `recover`, `beyond` | opening; torn or damaged |
//! | `repair` | offline: report, and giving up by name |
//!
//! The formats are described for readers of other programs in `docs/format.md`.
//!
//! # Not done, and why
//! - No compression and no encryption: both belong to whoever makes bodies.
//! - No recycling of segment files: the space of a removed one goes back to the device, and a fresh file cannot
//!   hold yesterday's records.
//! - No direct I/O: the page cache is what lets an acknowledged write outlive `kill -9`.

mod beyond;
mod catalog;
mod error;
mod flush;
mod journal;
mod offline;
mod planted;
mod position;
mod read;
mod record;
mod recover;
pub mod repair;
mod segment;
mod sync_times;
mod tail;
mod waiters;
mod window;

#[cfg(test)]
mod tests;

pub use catalog::{SEGMENTS_OPEN_MAX, SegmentInfo};
pub use env::ReadMode;
pub use error::{BoxError, Error};
pub use flush::{MARK_MS, RETRY_MS, SYNC_INTERVAL_MS};
pub use journal::{Appended, Journal, Options, SyncMode};
pub use offline::Offline;
pub use position::{
    ALIGN_BYTES, POSITION_BITS, Position, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SegmentId,
};
pub use read::ReadNow;
pub use record::{BODY_BYTES_MAX, Damage, HEAD_BYTES, Record, RecordHead, RecordKind, record_bytes};
pub use recover::{Recovered, Replay, Torn};
pub use segment::{FORMAT_VERSION, HEADER_BYTES, JOURNAL_DIR, segment_path};
pub use sync_times::{SYNC_OCTAVES, SyncTimes};
pub use tail::{RECORD_BUFFERED_BYTES_MAX, RESERVE_PART, Reserve, TAIL_BYTES_MAX};
