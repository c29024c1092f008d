//! Changes to a set, and their bytes in the journal.
//!
//! ```text
//! SetAdd      key count:varint (member)*       member: varint length, bytes
//! SetRemove   key count:varint (member)*
//! ```

use super::{Items, Tag, put_head, read_items};
use base::codec::{put_bytes, put_varint};
use base::{Reader, Truncated};

/// One change to a set.
#[derive(Clone, Debug)]
pub enum SetChange<'a> {
    /// Members come, unless they are there.
    Add(Items<'a>),
    /// Members go; an emptied set is no more.
    Remove(Items<'a>),
}

/// The members of a change.
pub(super) fn read_members<'a>(reader: &mut Reader<'a>) -> Result<Items<'a>, Truncated> {
    read_items(reader, |reader| reader.bytes().map(drop))
}

/// Writes a `SetAdd`.
pub fn put_set_add<'m>(out: &mut Vec<u8>, db: u8, key: &[u8], members: impl ExactSizeIterator<Item = &'m [u8]>) {
    put_members(out, Tag::SetAdd, db, key, members);
}

/// Writes a `SetRemove`.
pub fn put_set_remove<'m>(out: &mut Vec<u8>, db: u8, key: &[u8], members: impl ExactSizeIterator<Item = &'m [u8]>) {
    put_members(out, Tag::SetRemove, db, key, members);
}

fn put_members<'m>(out: &mut Vec<u8>, tag: Tag, db: u8, key: &[u8], members: impl ExactSizeIterator<Item = &'m [u8]>) {
    put_head(out, tag, db, key);
    put_varint(out, members.len() as u64);
    for member in members {
        put_bytes(out, member);
    }
}
