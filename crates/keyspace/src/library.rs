//! Libraries of functions: data that is no key.
//!
//! They lie in a physical database of their own, [`LIBRARY_DB`], which no number that clients can SELECT leads to, as
//! strings: name to code, all of them in [`LIBRARY_PARTITION`]. So effects, checkpoints, homes and merges treat them as
//! they treat any string, while commands that walk, count, flush or evict keys never come across them.
//!
//! Deliberately not here: what a library says. Names and code are bytes.
//!
//! Invariant: nothing in [`LIBRARY_DB`] ever ends, and nothing else than strings is put there.

use crate::effect;
use crate::entry::Stored;
use crate::keyspace::Keyspace;
use crate::spilled::{self, ReadError, Spilled};
use crate::tx::Tx;
use crate::value::Value;
use base::number::format_i64;
use base::{DB_COUNT, PartitionId};
use env::ReadMode;
use journal::{Journal, Position};

/// The physical database of libraries, behind those that have numbers.
pub const LIBRARY_DB: u8 = DB_COUNT as u8;
/// Where libraries lie: whoever changes one has this partition locked.
pub const LIBRARY_PARTITION: PartitionId = PartitionId(0);

/// A library's name and its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLibrary {
    /// Its name.
    pub name: Vec<u8>,
    /// Its code, first line included.
    pub code: Vec<u8>,
}

/// All libraries, in no particular order. Locks their partition.
///
/// # Cost
/// A copy of each, and a read from the journal for each whose code is only there.
///
/// # Errors
/// The journal cannot be read.
pub fn libraries(keyspace: &Keyspace, journal: &Journal) -> Result<Vec<StoredLibrary>, ReadError> {
    let partition = keyspace.lock(LIBRARY_PARTITION);
    let mut found = Vec::new();
    partition.index(LIBRARY_DB).each(|entry| {
        let name = entry.key().to_vec();
        let code = match entry.stored() {
            Stored::Inline(bytes) => Ok(bytes.to_vec()),
            Stored::Int(number) => Ok(format_i64(number).as_bytes().to_vec()),
            Stored::Boxed(Value::Bytes(bytes)) => Ok(bytes.to_vec()),
            Stored::Boxed(_) => unreachable!("libraries are strings"),
            Stored::Spilled => {
                let (version, position) = (entry.version(), Position::unpack(entry.home().0));
                let (partition, db, key) = (LIBRARY_PARTITION, LIBRARY_DB, name.clone());
                let read = spilled::read(journal, &Spilled { partition, db, key, version, position }, ReadMode::Wait);
                read.map(|code| code.expect("a waiting read does not give up").to_vec())
            }
        };
        found.push(code.map(|code| StoredLibrary { name, code }));
    });
    found.into_iter().collect()
}

impl Tx<'_> {
    /// Adds a library, or replaces the one of this name.
    ///
    /// # Panics
    /// When [`LIBRARY_PARTITION`] is not locked, here and below.
    pub fn put_library(&mut self, name: &[u8], code: &[u8]) {
        self.change_library(|out| effect::put_string(out, LIBRARY_DB, name, None, code));
    }

    /// Removes a library, which must be there.
    pub fn delete_library(&mut self, name: &[u8]) {
        self.change_library(|out| effect::put_delete(out, LIBRARY_DB, name));
    }

    /// Removes all libraries.
    pub fn flush_libraries(&mut self) {
        self.change_library(|out| effect::put_flush(out, LIBRARY_DB));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::{Effect, put_swap};
    use crate::entry::Home;
    use crate::partition::{Partition, Stamp};
    use base::{Reader, TimeMs, Version};

    #[test]
    fn no_number_leads_to_the_database_of_libraries() {
        let partition = Partition::new(LIBRARY_PARTITION);
        assert!(partition.db_map().iter().all(|db| *db != LIBRARY_DB));
        for (one, other) in [(LIBRARY_DB, 0), (0, LIBRARY_DB)] {
            let mut swap = Vec::new();
            put_swap(&mut swap, one, other);
            assert!(Effect::decode(&mut Reader::new(&swap)).is_err(), "{one} {other}");
        }
        let mut beyond = Vec::new();
        effect::put_delete(&mut beyond, crate::PHYSICAL_DB_COUNT, b"key");
        assert!(Effect::decode(&mut Reader::new(&beyond)).is_err());
    }

    #[test]
    fn emptying_the_numbered_databases_leaves_libraries_alone() {
        let mut partition = Partition::new(LIBRARY_PARTITION);
        let stamp = Stamp { version: Version(1), time: TimeMs(1), home: Home::NONE, access: 0 };
        let mut effects = Vec::new();
        effect::put_string(&mut effects, LIBRARY_DB, b"library", None, b"code");
        for db in 0..DB_COUNT as u8 {
            effect::put_flush(&mut effects, db);
        }
        let mut reader = Reader::new(&effects);
        while !reader.is_empty() {
            let (db, effect) = Effect::decode(&mut reader).expect("written here");
            partition.apply(db, &effect, &stamp).expect("it applies");
        }
        assert!(partition.find(LIBRARY_DB, b"library").is_some());
        assert!((0..DB_COUNT as u8).all(|db| partition.index(db).is_empty()));
    }
}
