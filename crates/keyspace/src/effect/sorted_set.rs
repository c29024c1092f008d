//! Effects on sorted sets.
//!
//! ```text
//! body     SortedSetPut     key count:varint (member score:f64 little-endian)*
//!          SortedSetRemove  key count:varint (member)*
//! ```
//!
//! Deliberately no ranges: a removal names its members, so that it means the same to every replica, whatever else that
//! one holds.

use super::{Items, Tag, put_head, read_items};
use base::codec::{put_bytes, put_varint};
use base::{Reader, Truncated};

/// What happens to a sorted set.
#[derive(Clone, Debug)]
pub enum SortedSetChange<'a> {
    /// Members get a score, those that are absent are added; the set comes to be if absent.
    Put(Items<'a>),
    /// Members are removed; an emptied set is no more.
    Remove(Items<'a>),
}

impl<'a> Items<'a> {
    /// The `(member score)` pairs of a `SortedSetPut`.
    pub fn scored(&self) -> impl Iterator<Item = (&'a [u8], f64)> + use<'a> {
        self.each(read_scored)
    }
}

/// A score that is not a number is no score.
fn read_scored<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], f64), Truncated> {
    let (member, score) = (reader.bytes()?, f64::from_le_bytes(reader.array()?));
    if score.is_nan() { Err(Truncated) } else { Ok((member, score)) }
}

/// The members of a `SortedSetPut`.
pub(super) fn read_put<'a>(reader: &mut Reader<'a>) -> Result<Items<'a>, Truncated> {
    read_items(reader, |reader| read_scored(reader).map(drop))
}

/// Writes a `SortedSetPut`.
pub fn put_sorted_set_put<'m>(
    out: &mut Vec<u8>,
    db: u8,
    key: &[u8],
    members: impl ExactSizeIterator<Item = (&'m [u8], f64)>,
) {
    put_head(out, Tag::SortedSetPut, db, key);
    put_varint(out, members.len() as u64);
    for (member, score) in members {
        put_bytes(out, member);
        out.extend_from_slice(&score.to_le_bytes());
    }
}

/// Writes a `SortedSetRemove`.
pub fn put_sorted_set_remove<'m>(
    out: &mut Vec<u8>,
    db: u8,
    key: &[u8],
    members: impl ExactSizeIterator<Item = &'m [u8]>,
) {
    put_head(out, Tag::SortedSetRemove, db, key);
    put_varint(out, members.len() as u64);
    for member in members {
        put_bytes(out, member);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::effect::Effect;

    pub fn one_of_each() -> Vec<Vec<u8>> {
        let mut all = vec![Vec::new(); 2];
        put_sorted_set_put(&mut all[0], 1, b"key", [(&b"m"[..], 1.5), (&b""[..], -0.0)].into_iter());
        put_sorted_set_remove(&mut all[1], 1, b"key", [&b"m"[..], &b""[..]].into_iter());
        all
    }

    #[test]
    fn a_put_gives_back_its_members_and_refuses_what_is_no_number() {
        let mut bytes = one_of_each()[0].clone();
        let (_, effect) = Effect::decode(&mut Reader::new(&bytes)).expect("written by us");
        let Effect::SortedSet { key, change: SortedSetChange::Put(members) } = effect else { panic!("not a put") };
        assert_eq!(key, b"key");
        assert_eq!(members.scored().collect::<Vec<_>>(), [(&b"m"[..], 1.5), (&b""[..], 0.0)]);
        let end = bytes.len();
        bytes[end - 8..].copy_from_slice(&f64::NAN.to_le_bytes());
        assert!(Effect::decode(&mut Reader::new(&bytes)).is_err());
    }
}
