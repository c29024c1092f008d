//! Versions of elements: how often a field or a member was written, for who asks for that (hustdb's clients).
//!
//! ```text
//! database d, key k: a hash, set or sorted set     ELEMENTS_DB, key d‖k, in the same partition: its record, a hash
//!   element ────────────────────────────────────►    element ─► version:varint, with an end of life
//! ```
//!
//! Records lie in a physical database that no number leads to, as libraries do (`library.rs`), and are ordinary hashes
//! there: effects, checkpoints and replay know nothing of them. A transaction keeps them right. Whatever it does to a key
//! that has a record, whichever command it was, it does what follows for the record too, in the same batch
//! (`tx/elements.rs`): an element that is written counts on, one that goes loses its version, a key that goes or is
//! replaced loses its record.
//!
//! Deliberately not here: who asks for versions, and what an element without a record of it is said to have.
//!
//! Invariants: what a record has is in its key's value; a record ends when its key ends, and its element when a field
//! ends; a member of a set ends with its element, since sets know no end of life themselves.
//!
//! Source: `docs/adr/0017-versions-of-elements.md`.

use crate::library::LIBRARY_DB;
use base::codec::put_varint;
use base::{Reader, TimeMs};

/// The physical database of versions of elements, behind that of libraries.
pub const ELEMENTS_DB: u8 = LIBRARY_DB + 1;
/// How many physical databases there are, those included that no number leads to.
pub const PHYSICAL_DB_COUNT: u8 = ELEMENTS_DB + 1;
/// The highest version of an element; the next one is 1.
pub const ELEMENT_VERSION_MAX: u32 = 4_194_303;

/// What is known of an element beside its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// 1 when it came to be, and one more each time it was written.
    pub version: u32,
    /// When it ends, if ever.
    pub expires: Option<TimeMs>,
}

/// The version after `version`, where 0 stands for an element that is not there.
pub fn version_after(version: u32) -> u32 {
    if version < ELEMENT_VERSION_MAX { version + 1 } else { 1 }
}

/// The name of the record of `key` in physical database `db`.
pub fn record_name(db: u8, key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len() + 1);
    name.push(db);
    name.extend_from_slice(key);
    name
}

pub(crate) fn encode_version(version: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4);
    put_varint(&mut bytes, u64::from(version));
    bytes
}

/// Reads the version that a field of a record holds. One that is no version counts as 1.
pub fn decode_version(bytes: &[u8]) -> u32 {
    let version = Reader::new(bytes).varint().ok().and_then(|version| u32::try_from(version).ok());
    version.filter(|version| (1..=ELEMENT_VERSION_MAX).contains(version)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_on_and_begin_anew_behind_the_last() {
        assert_eq!([0, 1, 63, 64, ELEMENT_VERSION_MAX - 1].map(version_after), [1, 2, 64, 65, ELEMENT_VERSION_MAX]);
        assert_eq!(version_after(ELEMENT_VERSION_MAX), 1);
        for version in [1, 127, 128, ELEMENT_VERSION_MAX] {
            assert_eq!(decode_version(&encode_version(version)), version);
        }
    }
}
