//! Sets in a transaction.

use super::{Stop, Tx};
use crate::effect;
use crate::entry::Stored;
use crate::set::Set;
use crate::value::{Kind, Value};

impl Tx<'_> {
    /// The set at `key`.
    ///
    /// # Errors
    /// As [`Tx::string`].
    pub fn set(&mut self, key: &[u8]) -> Result<Option<&Set>, Stop> {
        let Some(found) = self.find(key) else { return Ok(None) };
        if found.kind != Kind::Set {
            return Err(Stop::WrongType);
        }
        self.ensure_resident(key, found)?;
        match self.entry(found).stored() {
            Stored::Boxed(Value::Set(set)) => Ok(Some(set)),
            _ => unreachable!("a resident set is boxed"),
        }
    }

    /// The sets at several keys at once, after each was looked up with [`Tx::set`] in this transaction: so all are sets,
    /// or absent, and in memory.
    pub fn sets<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Vec<Option<&Set>> {
        let set_at = |key| {
            self.peek(key).map(|found| match self.entry(found).stored() {
                Stored::Boxed(Value::Set(set)) => set,
                _ => unreachable!("the key was looked up before"),
            })
        };
        keys.map(set_at).collect()
    }

    /// Adds members to the set at `key`, creating it when absent. Returns how many are new. Pass some, and only new ones
    /// when it matters that a batch is not written for nothing.
    ///
    /// # Errors
    /// As [`Tx::string`]; nothing was changed.
    pub fn set_add<'m>(&mut self, key: &[u8], members: impl ExactSizeIterator<Item = &'m [u8]>) -> Result<u64, Stop> {
        self.ensure_kind(key, Kind::Set)?;
        Ok(self.change(key, |out, db| effect::put_set_add(out, db, key, members)).added)
    }

    /// Removes members of the set at `key`, and the key with its last member. Returns how many were there.
    ///
    /// # Errors
    /// As [`Tx::string`]; nothing was changed.
    pub fn set_remove<'m>(
        &mut self,
        key: &[u8],
        members: impl ExactSizeIterator<Item = &'m [u8]>,
    ) -> Result<u64, Stop> {
        if !self.ensure_kind(key, Kind::Set)? || members.len() == 0 {
            return Ok(0);
        }
        Ok(self.change(key, |out, db| effect::put_set_remove(out, db, key, members)).removed)
    }
}
