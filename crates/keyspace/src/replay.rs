//! Batches read back from the journal, applied to the partition they belong to.
//!
//! Deliberately not a second way to change state: every effect goes through `Partition::apply`, as it did when its
//! command ran. What is decided here is only which effects an entry already shows, because a fuzzy checkpoint wrote it
//! after them.

use crate::effect::Effect;
use crate::entry::Stored;
use crate::hasher::hash_bytes;
use crate::partition::{Partition, Stamp};
use crate::spilled::{ReadError, Spilled};
use base::{Reader, SharedBytes, Truncated};
use journal::Position;

/// Reads a value that lies only in the journal.
pub type Fetch<'f> = dyn FnMut(&Spilled) -> Result<SharedBytes, ReadError> + 'f;

/// Why a batch could not be replayed.
#[derive(Debug)]
pub enum ReplayError {
    /// The bytes are not effects.
    Effects,
    /// A value that the batch changes in place could not be read.
    Fetch(ReadError),
}

impl From<Truncated> for ReplayError {
    fn from(_: Truncated) -> Self {
        ReplayError::Effects
    }
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplayError::Effects => f.write_str("a record's checksums hold, but its body is not made of effects"),
            ReplayError::Fetch(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReplayError {}

impl Partition {
    /// Applies a batch read from the journal, whole. Effects on keys that already show this batch or a later one
    /// (they came from a checkpoint that ran past it) are skipped.
    ///
    /// `fetch` reads a value that lies only in the journal and that an effect changes in place.
    ///
    /// # Errors
    /// The bytes are not effects, or a value cannot be fetched. State is then half-changed: only for use while
    /// opening, which stops.
    pub fn replay(&mut self, body: &[u8], stamp: &Stamp, fetch: &mut Fetch<'_>) -> Result<(), ReplayError> {
        let mut reader = Reader::new(body);
        let mut touched: hashbrown::HashSet<(u8, u64), foldhash::fast::FixedState> = hashbrown::HashSet::default();
        while !reader.is_empty() {
            let (db, effect) = Effect::decode(&mut reader)?;
            let is_only = reader.is_empty() && touched.is_empty();
            if let Some(key) = effect.key() {
                let id = (db, hash_bytes(key));
                if !touched.contains(&id) {
                    let shown = self.index(db).find(id.1, key).map(|place| self.index(db).entry(place).version());
                    if shown.is_some_and(|version| version >= stamp.version) {
                        continue;
                    }
                    if !is_only {
                        touched.insert(id);
                    }
                }
            }
            self.replay_fetch(db, &effect, fetch)?;
            self.apply(db, &effect, stamp)?;
        }
        self.set_version(stamp.version.max(self.version()));
        Ok(())
    }

    /// Gets the value that `effect` changes in place into memory.
    fn replay_fetch(&mut self, db: u8, effect: &Effect<'_>, fetch: &mut Fetch<'_>) -> Result<(), ReplayError> {
        let (Effect::PatchString { key, .. }
        | Effect::HashSet { key, .. }
        | Effect::HashDelete { key, .. }
        | Effect::HashExpire { key, .. }
        | Effect::List { key, .. }
        | Effect::Set { key, .. }
        | Effect::SortedSet { key, .. }
        | Effect::Stream { key, .. }) = effect
        else {
            return Ok(());
        };
        let Some(place) = self.find(db, key) else { return Ok(()) };
        let entry = self.index(db).entry(place);
        if !matches!(entry.stored(), Stored::Spilled) {
            return Ok(());
        }
        let version = entry.version();
        let position = Position::unpack(entry.home().0);
        let wanted = Spilled { partition: self.id(), db, key: key.to_vec(), version, position };
        let image = fetch(&wanted).map_err(ReplayError::Fetch)?;
        self.promote(db, key, version, image)?;
        Ok(())
    }
}
