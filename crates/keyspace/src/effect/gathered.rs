//! Elements of a collection, gathered before it is known how many there are, to be written as one change that adds them.
//!
//! Deliberately without removals, and without streams, whose entries are a change each.

use super::{Tag, list, put_expires, put_head, put_head_of};
use crate::list::End;
use crate::value::Kind;
use base::TimeMs;
use base::codec::{put_bytes, put_varint};

/// See the module's text. All of one kind.
#[derive(Default)]
pub(crate) struct Gathered {
    count: u64,
    items: Vec<u8>,
}

impl Gathered {
    /// Elements gathered.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.items.len()
    }

    /// A field of a hash.
    pub fn add_field(&mut self, field: &[u8], value: &[u8], expires: Option<TimeMs>) {
        self.add(field);
        put_bytes(&mut self.items, value);
        put_expires(&mut self.items, expires);
    }

    /// A member of a sorted set.
    pub fn add_scored(&mut self, member: &[u8], score: f64) {
        self.add(member);
        self.items.extend_from_slice(&score.to_le_bytes());
    }

    /// A member of a set, or an element of a list.
    pub fn add(&mut self, element: &[u8]) {
        self.count += 1;
        put_bytes(&mut self.items, element);
    }

    /// Writes the effect that adds them to a collection of this kind; those of a list come in at its back. Nothing was
    /// gathered: writes nothing.
    ///
    /// # Panics
    /// When values of this kind are not made of such elements.
    pub fn put(&self, out: &mut Vec<u8>, kind: Kind, db: u8, key: &[u8]) {
        if self.count == 0 {
            return;
        }
        match kind {
            Kind::Hash => put_head(out, Tag::HashSet, db, key),
            Kind::Set => put_head(out, Tag::SetAdd, db, key),
            Kind::SortedSet => put_head(out, Tag::SortedSetPut, db, key),
            Kind::List => {
                put_head_of(out, list::PUSH, db, key);
                out.push(End::Back as u8);
            }
            Kind::String | Kind::Stream => unreachable!("neither is made of such elements"),
        }
        put_varint(out, self.count);
        out.extend_from_slice(&self.items);
    }
}
