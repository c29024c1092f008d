//! Records: what is known of a key beside its value, for who asks for that. Of a table, how often a field or a member was
//! written (hustdb's clients); of a string, what media type its bytes are of (HTTP).
//!
//! ```text
//! database d, key k: a hash, set or sorted set     database records_db(d), key k: its record, a hash
//!   element ────────────────────────────────────►    element ─► version:varint, with an end of life
//! database d, key k: a string                      database records_db(d), key k: its record, a string
//!   bytes ──────────────────────────────────────►    media type
//! ```
//!
//! Records lie in physical databases that no number leads to, as libraries do (`library.rs`), and are ordinary values
//! there: effects, checkpoints and replay know nothing of them. A transaction keeps them right. Whatever it does to a key
//! that has a record, whichever command it was, it does what follows for the record too, in the same batch
//! (`tx/elements.rs`): an element that is written counts on, one that goes loses its version, a key that goes or is
//! replaced loses its record. A string that is changed in place keeps its own.
//!
//! Deliberately not here: who asks for records, what an element or a string without one is said to have, and what a media
//! type is.
//!
//! Invariants: what a record has is in its key's value; a record is a string exactly if its key's value is one; a record
//! ends when its key ends, and its element when a field ends; a member of a set ends with its element, since sets know
//! no end of life themselves.
//!
//! Source: `docs/adr/0017-versions-of-elements.md`.

use crate::library::LIBRARY_DB;
use base::codec::put_varint;
use base::{DB_COUNT, Reader, TimeMs};

/// The first physical database of records, behind that of libraries.
const RECORDS_DB_FIRST: u8 = LIBRARY_DB + 1;
/// How many physical databases there are, those included that no number leads to.
pub const PHYSICAL_DB_COUNT: u8 = RECORDS_DB_FIRST + DB_COUNT as u8;
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

/// The physical database of the records of the keys in physical database `db`, which has a number. A record has its key's
/// name.
///
/// # Panics
/// When `db` is one that no number leads to.
#[inline]
pub fn records_db(db: u8) -> u8 {
    assert!(usize::from(db) < DB_COUNT, "only keys have records");
    RECORDS_DB_FIRST + db
}

/// The physical database whose records lie in `db`; `None` when those are no records.
#[inline]
pub fn recorded_db(db: u8) -> Option<u8> {
    db.checked_sub(RECORDS_DB_FIRST)
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
    fn each_database_has_its_records_in_one_that_no_number_leads_to() {
        for db in 0..DB_COUNT as u8 {
            assert_eq!(recorded_db(records_db(db)), Some(db));
            assert!((LIBRARY_DB + 1..PHYSICAL_DB_COUNT).contains(&records_db(db)));
            assert_eq!(recorded_db(db), None);
        }
        assert_eq!(recorded_db(LIBRARY_DB), None);
    }

    #[test]
    fn versions_count_on_and_begin_anew_behind_the_last() {
        assert_eq!([0, 1, 63, 64, ELEMENT_VERSION_MAX - 1].map(version_after), [1, 2, 64, 65, ELEMENT_VERSION_MAX]);
        assert_eq!(version_after(ELEMENT_VERSION_MAX), 1);
        for version in [1, 127, 128, ELEMENT_VERSION_MAX] {
            assert_eq!(decode_version(&encode_version(version)), version);
        }
    }
}
