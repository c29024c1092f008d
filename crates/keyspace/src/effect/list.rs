//! Effects on lists.
//!
//! ```text
//! effect   tag:u8 db:u8 body
//! body     ListPush    key end:u8 count:varint (element)*     end: 0 = front, 1 = back; one after the other
//!          ListTrim    key front:varint back:varint           so many elements go at either end
//!          ListSet     key index:varint element
//!          ListInsert  key index:varint element               before the element that had the index, or at the end
//!          ListRemove  key count:varint (distance:varint)*    the first index, then from behind each to the next
//! ```
//!
//! Indexes count from the front, in the state that the effect meets. Deliberately without values to search for: what
//! LREM finds is decided before.

use super::{Items, put_head_of, read_items};
use crate::list::End;
use base::codec::{put_bytes, put_varint};
use base::{Reader, Truncated};

pub(super) const TAG_FIRST: u8 = PUSH;
pub(super) const TAG_LAST: u8 = REMOVE;

pub(super) const PUSH: u8 = 11;
const TRIM: u8 = 12;
const SET: u8 = 13;
const INSERT: u8 = 14;
const REMOVE: u8 = 15;

/// How a list changes.
#[derive(Clone, Debug)]
pub enum ListChange<'a> {
    /// Elements come in at an end, one after the other. The list comes to be if absent.
    Push {
        /// Where.
        end: End,
        /// `(element)*`.
        elements: Items<'a>,
    },
    /// Elements go at both ends; an emptied list is no more.
    Trim {
        /// How many at the front.
        front: u64,
        /// How many at the back.
        back: u64,
    },
    /// An element becomes another.
    Set {
        /// Which.
        index: u64,
        /// What it becomes.
        element: &'a [u8],
    },
    /// An element comes in before another, or behind the last.
    Insert {
        /// The index it will have.
        index: u64,
        /// The element.
        element: &'a [u8],
    },
    /// Elements go wherever they are; an emptied list is no more.
    Remove {
        /// `(distance)*`; see [`Items::indexes`].
        indexes: Items<'a>,
    },
}

impl<'a> ListChange<'a> {
    /// Reads what follows the key.
    ///
    /// # Errors
    /// The bytes are no change of a list.
    pub(super) fn decode(tag: u8, reader: &mut Reader<'a>) -> Result<ListChange<'a>, Truncated> {
        Ok(match tag {
            PUSH => {
                let end = match reader.u8()? {
                    0 => End::Front,
                    1 => End::Back,
                    _ => return Err(Truncated),
                };
                ListChange::Push { end, elements: read_items(reader, |reader| reader.bytes().map(drop))? }
            }
            TRIM => ListChange::Trim { front: reader.varint()?, back: reader.varint()? },
            SET => ListChange::Set { index: reader.varint()?, element: reader.bytes()? },
            INSERT => ListChange::Insert { index: reader.varint()?, element: reader.bytes()? },
            REMOVE => ListChange::Remove { indexes: read_items(reader, |reader| reader.varint().map(drop))? },
            _ => return Err(Truncated),
        })
    }
}

impl<'a> Items<'a> {
    /// The ascending indexes of a `ListRemove`.
    pub fn indexes(&self) -> impl Iterator<Item = usize> + use<'a> {
        let mut next = 0usize;
        self.each(Reader::varint).map(move |distance| {
            let index = next.saturating_add(distance as usize);
            next = index.saturating_add(1);
            index
        })
    }
}

/// Writes a `ListPush`.
pub fn put_list_push<'e>(
    out: &mut Vec<u8>,
    db: u8,
    key: &[u8],
    end: End,
    elements: impl ExactSizeIterator<Item = &'e [u8]>,
) {
    put_head_of(out, PUSH, db, key);
    out.push(end as u8);
    put_varint(out, elements.len() as u64);
    for element in elements {
        put_bytes(out, element);
    }
}

/// Writes a `ListTrim`.
pub fn put_list_trim(out: &mut Vec<u8>, db: u8, key: &[u8], front: usize, back: usize) {
    put_head_of(out, TRIM, db, key);
    put_varint(out, front as u64);
    put_varint(out, back as u64);
}

/// Writes a `ListSet`.
pub fn put_list_set(out: &mut Vec<u8>, db: u8, key: &[u8], index: usize, element: &[u8]) {
    put_head_of(out, SET, db, key);
    put_varint(out, index as u64);
    put_bytes(out, element);
}

/// Writes a `ListInsert`.
pub fn put_list_insert(out: &mut Vec<u8>, db: u8, key: &[u8], index: usize, element: &[u8]) {
    put_head_of(out, INSERT, db, key);
    put_varint(out, index as u64);
    put_bytes(out, element);
}

/// Writes a `ListRemove` of indexes that ascend.
pub fn put_list_remove(out: &mut Vec<u8>, db: u8, key: &[u8], indexes: &[usize]) {
    put_head_of(out, REMOVE, db, key);
    put_varint(out, indexes.len() as u64);
    let mut next = 0;
    for index in indexes {
        put_varint(out, (index - next) as u64);
        next = index + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Effect;
    use super::*;

    #[test]
    fn indexes_come_back_as_they_were_put() {
        let mut bytes = Vec::new();
        put_list_remove(&mut bytes, 3, b"key", &[0, 1, 5, 1_000]);
        let (db, effect) = Effect::decode(&mut Reader::new(&bytes)).expect("written here");
        let Effect::List { key: b"key", change: ListChange::Remove { indexes } } = effect else {
            panic!("not a ListRemove")
        };
        assert_eq!((db, indexes.indexes().collect::<Vec<_>>()), (3, vec![0, 1, 5, 1_000]));
    }

    #[test]
    fn an_end_there_is_not_is_refused() {
        let mut bytes = Vec::new();
        put_list_push(&mut bytes, 0, b"", End::Back, [&b"x"[..]].into_iter());
        assert_eq!(bytes[3], End::Back as u8);
        for end in 2..=u8::MAX {
            bytes[3] = end;
            assert!(Effect::decode(&mut Reader::new(&bytes)).is_err());
        }
    }
}
