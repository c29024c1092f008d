//! What a transaction does to sorted sets.

use super::{Stop, Tx};
use crate::effect::sorted_set::{put_sorted_set_put, put_sorted_set_remove};
use crate::entry::Stored;
use crate::sorted_set::SortedSet;
use crate::value::{Kind, Value};

impl Tx<'_> {
    /// The sorted set at `key`.
    ///
    /// # Errors
    /// As [`Tx::string`].
    pub fn sorted_set(&mut self, key: &[u8]) -> Result<Option<&SortedSet>, Stop> {
        let Some(found) = self.find(key) else { return Ok(None) };
        if found.kind != Kind::SortedSet {
            return Err(Stop::WrongType);
        }
        self.ensure_resident(key, found)?;
        match self.entry(found).stored() {
            Stored::Boxed(Value::SortedSet(set)) => Ok(Some(set)),
            _ => unreachable!("a resident sorted set is boxed"),
        }
    }

    /// The sorted set at `key`, which [`Tx::sorted_set`] found before in this transaction: so that several can be looked
    /// at together.
    pub fn sorted_set_at_hand(&self, key: &[u8]) -> Option<&SortedSet> {
        match self.entry(self.peek(key)?).stored() {
            Stored::Boxed(Value::SortedSet(set)) => Some(set),
            _ => None,
        }
    }

    /// Sets scores of members of the sorted set at `key`, creating it when absent. Returns how many are new. There must
    /// be one at least, and no score may be NaN.
    ///
    /// # Errors
    /// As [`Tx::string`]; nothing was changed.
    pub fn sorted_set_put<'m>(
        &mut self,
        key: &[u8],
        members: impl ExactSizeIterator<Item = (&'m [u8], f64)>,
    ) -> Result<u64, Stop> {
        self.ensure_kind(key, Kind::SortedSet)?;
        Ok(self.change(key, |out, db| put_sorted_set_put(out, db, key, members)).added)
    }

    /// Removes members of the sorted set at `key`, and the key with its last member. Returns how many were there. Pass
    /// only members that are there when it matters that a batch is not written for nothing.
    ///
    /// # Errors
    /// As [`Tx::string`]; nothing was changed.
    pub fn sorted_set_remove<'m>(
        &mut self,
        key: &[u8],
        members: impl ExactSizeIterator<Item = &'m [u8]>,
    ) -> Result<u64, Stop> {
        if !self.ensure_kind(key, Kind::SortedSet)? || members.len() == 0 {
            return Ok(0);
        }
        Ok(self.change(key, |out, db| put_sorted_set_remove(out, db, key, members)).removed)
    }
}
