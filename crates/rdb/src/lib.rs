//! Values as Redis serialises them: what DUMP gives and RESTORE takes, and the files that SAVE writes
//! ([`FileReader`]). Libraries of functions, too.
//!
//! A payload is `type:u8 body version:u16 crc64:u64`, little-endian where not said otherwise. `type` names the
//! body's encoding, of which twenty years of Redis have left two dozen: this crate reads all that Redis 2.6 to 8.0
//! and Valkey 7 to 9.1 write into such a payload (modules aside), and writes the ones Redis 7.2 prefers.
//!
//! Deliberately not here: the index, commands, clocks. An expired hash field is decoded like any
//! other; dropping it is the caller's decision.
//!
//! Invariants:
//! - Decoding never panics, whatever the bytes.
//! - No allocation is sized by a number that was only read: elements are stored as their bytes turn up, each charged
//!   to a budget ([`VALUE_BYTES_MAX`] unless the caller says less), because compression makes a small payload a large
//!   value.
//! - What decodes is a value Redis could hold: no empty collection, no duplicate member or field, no NaN score,
//!   sorted sets and streams in order.
//! - `decode(encode(value)) == value`, up to the order of a set whose members are all integers.
//!
//! Not done, and why: LZF is read but never written (a payload is a moment on the wire, and every reader takes it
//! either way); module values are refused (they need the module's code); the types Redis added after 8.0 (streams
//! with idempotent producers, arrays, templates: 26 and up) are refused as unknown; Redis 7.4's release-candidate hash encodings (22 and 23) are refused, since no release wrote them and
//! Valkey gave 22 another meaning.
//!
//! Source: `rdb.h` and `rdb.c` of Redis 7.4 and of Valkey 9.1.2; `listpack.md` by Salvatore Sanfilippo.

mod body;
mod crc64;
mod decode;
mod element;
mod encode;
mod error;
mod file;
mod format;
mod functions;
mod intset;
mod listpack;
mod lzf;
mod object;
mod stream_decode;
mod stream_encode;
mod string;
mod ziplist;
mod zipmap;

pub use decode::{VALUE_BYTES_MAX, decode_dump, decode_dump_unchecked, decode_dump_within};
pub use encode::{dump_hash, dump_list, dump_set, dump_sorted_set, dump_string, encode_dump};
pub use error::DumpError;
pub use file::{Encoded, FileError, FileReader, Item, Key, Value};
pub use format::Versions;
pub use functions::{decode_functions, dump_functions};
pub use object::{
    HashField, Object, Stream, StreamConsumer, StreamEntry, StreamGroup, StreamId, StreamPending, StreamState,
};
pub use stream_encode::dump_stream;
