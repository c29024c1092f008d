//! Lists as a transaction sees and changes them.

use super::{Stop, Tx};
use crate::effect;
use crate::entry::Stored;
use crate::list::{End, List};
use crate::value::{Kind, Value};

impl Tx<'_> {
    /// The list at `key`.
    ///
    /// # Errors
    /// As [`Tx::string`].
    #[inline]
    pub fn list(&mut self, key: &[u8]) -> Result<Option<&List>, Stop> {
        let Some(found) = self.find_again(key) else { return Ok(None) };
        if found.kind != Kind::List {
            return Err(Stop::WrongType);
        }
        self.ensure_resident(key, found)?;
        match self.entry(found).stored() {
            Stored::Boxed(Value::List(list)) => Ok(Some(list)),
            _ => unreachable!("a resident list is boxed"),
        }
    }

    /// Adds elements, at least one, at an end of the list at `key`, one after the other, creating it when absent.
    /// Returns how many it has then.
    ///
    /// # Errors
    /// As [`Tx::string`]; nothing was changed.
    pub fn list_push<'e>(
        &mut self,
        key: &[u8],
        end: End,
        elements: impl ExactSizeIterator<Item = &'e [u8]>,
    ) -> Result<usize, Stop> {
        assert!(0 < elements.len(), "an empty list does not exist");
        let count = self.list(key)?.map_or(0, List::len) + elements.len();
        self.change(key, |out, db| effect::put_list_push(out, db, key, end, elements));
        Ok(count)
    }

    /// Removes so many elements at the front and at the back of the list at `key`, which has `count` of them as
    /// [`Tx::list`] has said, and the key with the last one.
    pub fn list_trim(&mut self, key: &[u8], count: usize, front: usize, back: usize) {
        debug_assert_eq!(self.list_len(key), count, "who trims a list has looked at it");
        if count <= front.saturating_add(back) {
            self.delete(key);
        } else if 0 < front + back {
            let applied = self.change(key, |out, db| effect::put_list_trim(out, db, key, front, back));
            assert_eq!(applied.removed, (front + back) as u64, "who trims a list has looked at it");
        }
    }

    /// Number of elements of the list at `key`, which is in memory if there is one. Notes no use.
    fn list_len(&self, key: &[u8]) -> usize {
        match self.peek(key).map(|found| self.entry(found).stored()) {
            None => 0,
            Some(Stored::Boxed(Value::List(list))) => list.len(),
            Some(_) => unreachable!("who asks has looked at it as a list"),
        }
    }

    /// Makes element `index` of the list at `key` another one. Returns whether it was there.
    ///
    /// # Errors
    /// As [`Tx::string`]; nothing was changed.
    pub fn list_set(&mut self, key: &[u8], index: usize, element: &[u8]) -> Result<bool, Stop> {
        let is_there = index < self.list(key)?.map_or(0, List::len);
        if is_there {
            self.change(key, |out, db| effect::put_list_set(out, db, key, index, element));
        }
        Ok(is_there)
    }

    /// Puts an element before element `index` of the list at `key`, or behind its last. Returns whether there was
    /// such a place.
    ///
    /// # Errors
    /// As [`Tx::string`]; nothing was changed.
    pub fn list_insert(&mut self, key: &[u8], index: usize, element: &[u8]) -> Result<bool, Stop> {
        let has_place = self.list(key)?.is_some_and(|list| index <= list.len());
        if has_place {
            self.change(key, |out, db| effect::put_list_insert(out, db, key, index, element));
        }
        Ok(has_place)
    }

    /// Removes the elements with these indexes, which ascend, from the list at `key`, and the key with the last one.
    ///
    /// # Errors
    /// As [`Tx::string`]; nothing was changed.
    pub fn list_remove(&mut self, key: &[u8], indexes: &[usize]) -> Result<(), Stop> {
        if self.list(key)?.is_some() && !indexes.is_empty() {
            self.change(key, |out, db| effect::put_list_remove(out, db, key, indexes));
        }
        Ok(())
    }
}
