//! Effects: the smallest self-contained changes to one key, and their bytes in the journal.
//!
//! ```text
//! effect   tag:u8 db:u8 body
//! body     PutString   key expires value          key, value: varint length, bytes
//!          Delete      key
//!          Expire      key expires                expires: varint, 0 = never, else milliseconds + 1
//!          PatchString key offset:varint bytes
//!          PutImage    key kind:u8 expires image
//!          HashSet     key count:varint (field value expires)*
//!          HashDelete  key count:varint (field)*
//!          HashExpire  key count:varint (field expires)*
//!          FlushDb     –
//!          SwapDbs     other:u8
//!          Revise      key revision:varint, less 1
//!          SetAdd      key count:varint (member)*
//!          SetRemove   key count:varint (member)*
//! ```
//!
//! Those of lists, sorted sets and streams are described at the heads of the files below.
//!
//! Effects name physical databases (see `Partition`), so a swap of two numbers moves no key; one of them is that of
//! libraries (`library.rs`). They never depend on another key, a clock or randomness; the batch's own timestamp
//! decides what has expired.
//!
//! Invariant: `decode` of what `put_*` wrote gives the same effect; foreign bytes are refused, never asserted.

mod gathered;
mod list;
mod set;
pub mod sorted_set;
pub mod stream;

pub(crate) use gathered::Gathered;
pub use list::{ListChange, put_list_insert, put_list_push, put_list_remove, put_list_set, put_list_trim};
pub use set::{SetChange, put_set_add, put_set_remove};

use self::sorted_set::SortedSetChange;
use self::stream::StreamChange;
use crate::elements::PHYSICAL_DB_COUNT;
use crate::library::LIBRARY_DB;
use crate::value::{Kind, read_kind};
use base::codec::{put_bytes, put_varint};
use base::{Reader, TimeMs, Truncated};

#[repr(u8)]
enum Tag {
    PutString = 1,
    Delete = 2,
    Expire = 3,
    PatchString = 4,
    PutImage = 5,
    HashSet = 6,
    HashDelete = 7,
    HashExpire = 8,
    FlushDb = 9,
    SwapDbs = 10,
    Revise = 16,
    SetAdd = 20,
    SetRemove = 21,
    SortedSetPut = 25,
    SortedSetRemove = 26,
}

/// One change, borrowed from the bytes it was read from.
#[derive(Clone, Debug)]
pub enum Effect<'a> {
    /// The key becomes a string.
    PutString {
        /// Name.
        key: &'a [u8],
        /// End of life, if any: the previous one is forgotten.
        expires: Option<TimeMs>,
        /// The whole value.
        value: &'a [u8],
    },
    /// The key is no more.
    Delete {
        /// Name.
        key: &'a [u8],
    },
    /// The key's end of life changes.
    Expire {
        /// Name.
        key: &'a [u8],
        /// `None`: never ends.
        expires: Option<TimeMs>,
    },
    /// Bytes of a string are overwritten; the string grows with zeros as needed, and comes to be if absent.
    PatchString {
        /// Name.
        key: &'a [u8],
        /// First byte overwritten.
        offset: u64,
        /// The bytes written there.
        bytes: &'a [u8],
    },
    /// The key becomes a value given whole as an image.
    PutImage {
        /// Name.
        key: &'a [u8],
        /// Its type.
        kind: Kind,
        /// End of life, if any.
        expires: Option<TimeMs>,
        /// See `Value::encode_image`.
        image: &'a [u8],
    },
    /// Fields of a hash are set, each with its own end of life or none.
    HashSet {
        /// Name.
        key: &'a [u8],
        /// `(field value expires)*`.
        fields: Items<'a>,
    },
    /// Fields of a hash are removed; an emptied hash is no more.
    HashDelete {
        /// Name.
        key: &'a [u8],
        /// `(field)*`.
        fields: Items<'a>,
    },
    /// Fields of a hash change their end of life.
    HashExpire {
        /// Name.
        key: &'a [u8],
        /// `(field expires)*`.
        fields: Items<'a>,
    },
    /// Elements of a list change.
    List {
        /// Name.
        key: &'a [u8],
        /// How.
        change: ListChange<'a>,
    },
    /// A set changes.
    Set {
        /// Name.
        key: &'a [u8],
        /// How.
        change: SetChange<'a>,
    },
    /// Members of a sorted set change.
    SortedSet {
        /// Name.
        key: &'a [u8],
        /// What happens to them.
        change: SortedSetChange<'a>,
    },
    /// A stream changes.
    Stream {
        /// Name.
        key: &'a [u8],
        /// What about it.
        change: StreamChange<'a>,
    },
    /// The database holds nothing any more.
    FlushDb,
    /// The key's revision is this one, whatever it was.
    Revise {
        /// Name.
        key: &'a [u8],
        /// 1 or more.
        revision: u32,
    },
    /// Two numbers of databases change places.
    SwapDbs {
        /// The other number.
        other: u8,
    },
}

/// A counted list inside an effect, checked when the effect was decoded.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    count: u64,
    reader: Reader<'a>,
}

impl<'a> Items<'a> {
    /// Elements in the list.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The `(field value expires)` triples of a `HashSet`.
    pub fn triples(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8], Option<TimeMs>)> + use<'a> {
        self.each(|reader| Ok((reader.bytes()?, reader.bytes()?, read_expires(reader)?)))
    }

    /// The names of a `HashDelete`, the members of a `SetAdd` or a `SetRemove`.
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.each(Reader::bytes)
    }

    /// The `(field expires)` pairs of a `HashExpire`.
    pub fn deadlines(&self) -> impl Iterator<Item = (&'a [u8], Option<TimeMs>)> + use<'a> {
        self.each(|reader| Ok((reader.bytes()?, read_expires(reader)?)))
    }

    fn each<T, F: Fn(&mut Reader<'a>) -> Result<T, Truncated>>(
        &self,
        read: F,
    ) -> impl Iterator<Item = T> + use<'a, T, F> {
        let mut reader = self.reader.clone();
        (0..self.count).map(move |_| read(&mut reader).expect("decode walked this list before"))
    }
}

impl<'a> Effect<'a> {
    /// The key it changes; `None` for those that change a whole database.
    pub fn key(&self) -> Option<&'a [u8]> {
        match self {
            Effect::PutString { key, .. }
            | Effect::Delete { key }
            | Effect::Expire { key, .. }
            | Effect::Revise { key, .. }
            | Effect::PatchString { key, .. }
            | Effect::PutImage { key, .. }
            | Effect::HashSet { key, .. }
            | Effect::HashDelete { key, .. }
            | Effect::HashExpire { key, .. }
            | Effect::List { key, .. }
            | Effect::Set { key, .. }
            | Effect::SortedSet { key, .. }
            | Effect::Stream { key, .. } => Some(key),
            Effect::FlushDb | Effect::SwapDbs { .. } => None,
        }
    }

    /// Whether it holds its key's value whole, so that its record is the value's home.
    #[inline]
    pub fn is_put(&self) -> bool {
        matches!(self, Effect::PutString { .. } | Effect::PutImage { .. })
    }

    /// Reads the next effect and the physical database it is for.
    ///
    /// # Errors
    /// The bytes are not effects: an unknown tag, a database out of range, a length past the end.
    pub fn decode(reader: &mut Reader<'a>) -> Result<(u8, Effect<'a>), Truncated> {
        let tag = reader.u8()?;
        let db = read_db(reader)?;
        let effect = match tag {
            t if t == Tag::PutString as u8 => {
                Effect::PutString { key: reader.bytes()?, expires: read_expires(reader)?, value: reader.bytes()? }
            }
            t if t == Tag::Delete as u8 => Effect::Delete { key: reader.bytes()? },
            t if t == Tag::Expire as u8 => Effect::Expire { key: reader.bytes()?, expires: read_expires(reader)? },
            t if t == Tag::PatchString as u8 => {
                Effect::PatchString { key: reader.bytes()?, offset: reader.varint()?, bytes: reader.bytes()? }
            }
            t if t == Tag::PutImage as u8 => Effect::PutImage {
                key: reader.bytes()?,
                kind: read_kind(reader)?,
                expires: read_expires(reader)?,
                image: reader.bytes()?,
            },
            t if t == Tag::HashSet as u8 => Effect::HashSet {
                key: reader.bytes()?,
                fields: read_items(reader, |reader| {
                    reader.bytes()?;
                    reader.bytes()?;
                    read_expires(reader).map(drop)
                })?,
            },
            t if t == Tag::HashDelete as u8 => Effect::HashDelete {
                key: reader.bytes()?,
                fields: read_items(reader, |reader| reader.bytes().map(drop))?,
            },
            t if t == Tag::HashExpire as u8 => Effect::HashExpire {
                key: reader.bytes()?,
                fields: read_items(reader, |reader| {
                    reader.bytes()?;
                    read_expires(reader).map(drop)
                })?,
            },
            list::TAG_FIRST..=list::TAG_LAST => {
                Effect::List { key: reader.bytes()?, change: ListChange::decode(tag, reader)? }
            }
            t if t == Tag::SetAdd as u8 => {
                Effect::Set { key: reader.bytes()?, change: SetChange::Add(set::read_members(reader)?) }
            }
            t if t == Tag::SetRemove as u8 => {
                Effect::Set { key: reader.bytes()?, change: SetChange::Remove(set::read_members(reader)?) }
            }
            t if t == Tag::SortedSetPut as u8 => {
                Effect::SortedSet { key: reader.bytes()?, change: SortedSetChange::Put(sorted_set::read_put(reader)?) }
            }
            t if t == Tag::SortedSetRemove as u8 => {
                Effect::SortedSet { key: reader.bytes()?, change: SortedSetChange::Remove(set::read_members(reader)?) }
            }
            t if stream::TAGS.contains(&t) => {
                Effect::Stream { key: reader.bytes()?, change: StreamChange::decode(t, reader)? }
            }
            t if t == Tag::Revise as u8 => Effect::Revise { key: reader.bytes()?, revision: read_revision(reader)? },
            t if t == Tag::FlushDb as u8 => Effect::FlushDb,
            t if t == Tag::SwapDbs as u8 && db < LIBRARY_DB => Effect::SwapDbs { other: read_numbered(reader)? },
            _ => return Err(Truncated),
        };
        Ok((db, effect))
    }
}

fn read_db(reader: &mut Reader<'_>) -> Result<u8, Truncated> {
    let db = reader.u8()?;
    if db < PHYSICAL_DB_COUNT { Ok(db) } else { Err(Truncated) }
}

/// A database that has a number.
fn read_numbered(reader: &mut Reader<'_>) -> Result<u8, Truncated> {
    let db = read_db(reader)?;
    if db < LIBRARY_DB { Ok(db) } else { Err(Truncated) }
}

/// Reads what [`put_expires`] wrote.
pub(crate) fn read_expires(reader: &mut Reader<'_>) -> Result<Option<TimeMs>, Truncated> {
    match reader.varint()? {
        0 => Ok(None),
        past_one => i64::try_from(past_one - 1).map(|at| Some(TimeMs(at))).map_err(|_| Truncated),
    }
}

fn read_revision(reader: &mut Reader<'_>) -> Result<u32, Truncated> {
    u32::try_from(reader.varint()?).ok().and_then(|less_one| less_one.checked_add(1)).ok_or(Truncated)
}

fn read_items<'a>(
    reader: &mut Reader<'a>,
    skip: impl Fn(&mut Reader<'a>) -> Result<(), Truncated>,
) -> Result<Items<'a>, Truncated> {
    let count = reader.varint()?;
    let items = Items { count, reader: reader.clone() };
    for _ in 0..count {
        skip(reader)?; // Each takes at least a byte, so a count beyond the bytes ends here, not in a long loop.
    }
    Ok(items)
}

/// Writes an expiry as effects, checkpoints and images do. Times before 1970 end at once, so they count as 0.
pub fn put_expires(out: &mut Vec<u8>, expires: Option<TimeMs>) {
    put_varint(out, expires.map_or(0, |at| at.0.max(0) as u64 + 1));
}

/// Calls `each` with the key that each effect of a batch is about; `None` for those about a whole database. Libraries and
/// records are no keys. The last value may lie apart.
///
/// # Panics
/// When `body` is not made of effects.
pub(crate) fn each_changed<'b>(body: &'b [u8], mut each: impl FnMut(Option<&'b [u8]>)) {
    let mut reader = Reader::new(body);
    while !reader.is_empty() {
        let mut head = reader.clone();
        let is_whole = Effect::decode(&mut reader).is_ok();
        let tag = head.u8().expect("an effect has a tag");
        if !is_whole {
            assert!(tag == Tag::PutString as u8, "a batch made here is made of effects");
            reader = Reader::new(&[]);
        }
        if head.u8().expect("an effect has a database") >= LIBRARY_DB {
            continue;
        }
        let is_about_all = tag == Tag::FlushDb as u8 || tag == Tag::SwapDbs as u8;
        each((!is_about_all).then(|| head.bytes().expect("an effect has a key")));
    }
}

fn put_head(out: &mut Vec<u8>, tag: Tag, db: u8, key: &[u8]) {
    put_head_of(out, tag as u8, db, key);
}

fn put_head_of(out: &mut Vec<u8>, tag: u8, db: u8, key: &[u8]) {
    out.push(tag);
    out.push(db);
    put_bytes(out, key);
}

/// Writes a `PutString`.
pub fn put_string(out: &mut Vec<u8>, db: u8, key: &[u8], expires: Option<TimeMs>, value: &[u8]) {
    out.reserve(key.len() + value.len() + 24);
    put_head(out, Tag::PutString, db, key);
    put_expires(out, expires);
    put_bytes(out, value);
}

/// Writes a `PutString` but for the bytes of its value, which must follow.
pub fn put_string_head(out: &mut Vec<u8>, db: u8, key: &[u8], expires: Option<TimeMs>, value_bytes: usize) {
    put_head(out, Tag::PutString, db, key);
    put_expires(out, expires);
    put_varint(out, value_bytes as u64);
}

/// Writes a `Delete`.
pub fn put_delete(out: &mut Vec<u8>, db: u8, key: &[u8]) {
    put_head(out, Tag::Delete, db, key);
}

/// Writes an `Expire`.
pub fn put_expire(out: &mut Vec<u8>, db: u8, key: &[u8], expires: Option<TimeMs>) {
    put_head(out, Tag::Expire, db, key);
    put_expires(out, expires);
}

/// Writes a `Revise`.
///
/// # Panics
/// When the revision is 0.
pub fn put_revise(out: &mut Vec<u8>, db: u8, key: &[u8], revision: u32) {
    put_head(out, Tag::Revise, db, key);
    put_varint(out, u64::from(revision - 1));
}

/// Writes a `PatchString`.
pub fn put_patch(out: &mut Vec<u8>, db: u8, key: &[u8], offset: u64, bytes: &[u8]) {
    put_head(out, Tag::PatchString, db, key);
    put_varint(out, offset);
    put_bytes(out, bytes);
}

/// Writes a `PutImage`.
pub fn put_image(out: &mut Vec<u8>, db: u8, key: &[u8], kind: Kind, expires: Option<TimeMs>, image: &[u8]) {
    put_head(out, Tag::PutImage, db, key);
    out.push(kind as u8);
    put_expires(out, expires);
    put_bytes(out, image);
}

/// Writes a `HashSet`.
pub fn put_hash_set<'f>(
    out: &mut Vec<u8>,
    db: u8,
    key: &[u8],
    fields: impl ExactSizeIterator<Item = (&'f [u8], &'f [u8], Option<TimeMs>)>,
) {
    put_head(out, Tag::HashSet, db, key);
    put_varint(out, fields.len() as u64);
    for (field, value, expires) in fields {
        put_bytes(out, field);
        put_bytes(out, value);
        put_expires(out, expires);
    }
}

/// Writes a `HashDelete`.
pub fn put_hash_delete<'f>(out: &mut Vec<u8>, db: u8, key: &[u8], fields: impl ExactSizeIterator<Item = &'f [u8]>) {
    put_head(out, Tag::HashDelete, db, key);
    put_varint(out, fields.len() as u64);
    for field in fields {
        put_bytes(out, field);
    }
}

/// Writes a `HashExpire`.
pub fn put_hash_expire<'f>(
    out: &mut Vec<u8>,
    db: u8,
    key: &[u8],
    fields: impl ExactSizeIterator<Item = (&'f [u8], Option<TimeMs>)>,
) {
    put_head(out, Tag::HashExpire, db, key);
    put_varint(out, fields.len() as u64);
    for (field, expires) in fields {
        put_bytes(out, field);
        put_expires(out, expires);
    }
}

/// Writes a `FlushDb`.
pub fn put_flush(out: &mut Vec<u8>, db: u8) {
    out.extend_from_slice(&[Tag::FlushDb as u8, db]);
}

/// Writes a `SwapDbs`, of logical numbers.
pub fn put_swap(out: &mut Vec<u8>, db: u8, other: u8) {
    out.extend_from_slice(&[Tag::SwapDbs as u8, db, other]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::End;

    fn one_of_each() -> Vec<Vec<u8>> {
        let mut all = vec![Vec::new(); 18];
        put_string(&mut all[0], 3, b"key", Some(TimeMs(5)), b"value");
        put_delete(&mut all[1], 0, b"key");
        put_expire(&mut all[2], 15, b"key", None);
        put_patch(&mut all[3], 0, b"key", 1 << 40, b"bytes");
        put_image(&mut all[4], 0, b"key", Kind::Hash, Some(TimeMs(0)), b"image");
        put_hash_set(&mut all[5], 0, b"key", [(&b"f"[..], &b"v"[..], Some(TimeMs(9)))].into_iter());
        put_hash_delete(&mut all[6], 0, b"key", [&b"f"[..], &b"g"[..]].into_iter());
        put_hash_expire(&mut all[7], 0, b"key", [(&b"f"[..], None)].into_iter());
        put_flush(&mut all[8], 2);
        put_swap(&mut all[9], 2, 3);
        put_set_add(&mut all[10], 0, b"key", [&b"m"[..], &b"n"[..]].into_iter());
        put_set_remove(&mut all[11], 0, b"key", [&b"m"[..]].into_iter());
        put_list_push(&mut all[12], 0, b"key", End::Back, [&b"a"[..], &b"b"[..]].into_iter());
        put_list_trim(&mut all[13], 0, b"key", 1, 300);
        put_list_set(&mut all[14], 0, b"key", 5, b"c");
        put_list_insert(&mut all[15], 0, b"key", 5, b"d");
        put_list_remove(&mut all[16], 0, b"key", &[0, 1, 700]);
        put_revise(&mut all[17], 0, b"key", 300);
        all.extend(sorted_set::tests::one_of_each());
        all.extend(stream::one_of_each());
        all
    }

    #[test]
    fn every_effect_reads_back_and_every_cut_is_refused() {
        for bytes in one_of_each() {
            let mut reader = Reader::new(&bytes);
            assert!(Effect::decode(&mut reader).is_ok());
            assert!(reader.is_empty());
            for cut in 0..bytes.len() {
                assert!(Effect::decode(&mut Reader::new(&bytes[..cut])).is_err(), "{bytes:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_put_whose_value_lies_apart_is_the_same_but_for_the_value() {
        let (mut whole, mut front) = (Vec::new(), Vec::new());
        put_string(&mut whole, 3, b"key", Some(TimeMs(5)), b"value");
        put_string_head(&mut front, 3, b"key", Some(TimeMs(5)), 5);
        assert_eq!([&front[..], b"value"].concat(), whole);
        let mut keys = Vec::new();
        let other = &one_of_each()[1];
        each_changed(&[&other[..], &front].concat(), |key| keys.push(key.map(<[u8]>::to_vec)));
        assert_eq!(keys, [Some(b"key".to_vec()), Some(b"key".to_vec())]);
    }

    #[test]
    fn every_first_byte_is_a_known_tag_or_refused() {
        for tag in 0..=u8::MAX {
            let known = one_of_each().iter().any(|bytes| bytes[0] == tag);
            let mut bytes = vec![tag, 0];
            bytes.extend_from_slice(&[0; 16]);
            assert_eq!(Effect::decode(&mut Reader::new(&bytes)).is_ok(), known, "tag {tag}");
        }
    }

    #[test]
    fn lists_give_back_what_was_put() {
        let bytes = &one_of_each()[5];
        let (_, effect) = Effect::decode(&mut Reader::new(bytes)).expect("written by us");
        let Effect::HashSet { key, fields } = effect else { panic!("not a HashSet") };
        assert_eq!(key, b"key");
        assert_eq!(fields.triples().collect::<Vec<_>>(), [(&b"f"[..], &b"v"[..], Some(TimeMs(9)))]);
    }
}
