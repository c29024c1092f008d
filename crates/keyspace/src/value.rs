//! Values that live behind a pointer of their own: collections, and strings that are changed in place.
//!
//! Also their images: the bytes from which a value is rebuilt whole, in the journal and in checkpoints.

use crate::hash::Hash;
use crate::list::List;
use crate::set::Set;
use crate::sorted_set::SortedSet;
use crate::stream::Stream;
use crate::table::Table;
use base::{Reader, SharedBytes, Truncated};

/// The type of a value, as TYPE names it. The number is written to disk: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Bytes, counters, bitmaps.
    String = 0,
    /// Fields with values.
    Hash = 1,
    /// Elements in an order of their own.
    List = 2,
    /// Members, each once.
    Set = 3,
    /// Members in the order of their scores.
    SortedSet = 4,
    /// Entries in order, with groups of consumers.
    Stream = 5,
}

impl Kind {
    /// The type's name, as TYPE and `SCAN … TYPE` spell it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Hash => "hash",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::SortedSet => "zset",
            Kind::Stream => "stream",
        }
    }

    /// The kind with this number; `None` for one this release does not know.
    pub fn decode(number: u8) -> Option<Kind> {
        match number {
            0 => Some(Kind::String),
            1 => Some(Kind::Hash),
            2 => Some(Kind::List),
            3 => Some(Kind::Set),
            4 => Some(Kind::SortedSet),
            5 => Some(Kind::Stream),
            _ => None,
        }
    }

    pub(crate) fn from_bits(bits: u8) -> Kind {
        Kind::decode(bits).expect("an entry's kind was written by us")
    }
}

/// Strings from this length on are held as bytes that records and replies share. Records of them go past the journal's
/// buffer.
pub const SHARED_BYTES_MIN: usize = 256 << 10;
const _: () = assert!(journal::RECORD_BUFFERED_BYTES_MAX as usize <= SHARED_BYTES_MIN);

/// A boxed value.
#[derive(Debug, PartialEq)]
pub enum Value {
    /// A string that is changed in place, or a large one.
    Bytes(SharedBytes),
    /// A hash.
    Hash(Hash),
    /// A list.
    List(List),
    /// A set.
    Set(Set),
    /// A sorted set.
    SortedSet(SortedSet),
    /// A stream.
    Stream(Box<Stream>),
}

const _: () = assert!(size_of::<Value>() <= 32, "every key of a collection pays for the largest type");

/// Where the elements of a collection lie, for who looks ahead.
pub(crate) enum Within<'v> {
    /// Side by side.
    Bytes(&'v [u8]),
    /// In a table, each under the hash of its name.
    Table(&'v Table),
    /// In some other way.
    Elsewhere,
}

impl Value {
    /// Where its elements lie.
    #[inline]
    pub(crate) fn within(&self) -> Within<'_> {
        match self {
            Value::Hash(hash) => hash.within(),
            Value::Set(set) => set.within(),
            Value::SortedSet(set) => set.within(),
            Value::Bytes(_) | Value::List(_) | Value::Stream(_) => Within::Elsewhere,
        }
    }

    /// A value of this type without elements: what a collection is for the moment in which it comes to be.
    pub(crate) fn empty(kind: Kind) -> Value {
        match kind {
            Kind::String => Value::Bytes(SharedBytes::from(Vec::new())),
            Kind::Hash => Value::Hash(Hash::new()),
            Kind::List => Value::List(List::new()),
            Kind::Set => Value::Set(Set::new()),
            Kind::SortedSet => Value::SortedSet(SortedSet::new()),
            Kind::Stream => Value::Stream(Box::default()),
        }
    }

    /// The value's type.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Bytes(_) => Kind::String,
            Value::Hash(_) => Kind::Hash,
            Value::List(_) => Kind::List,
            Value::Set(_) => Kind::Set,
            Value::SortedSet(_) => Kind::SortedSet,
            Value::Stream(_) => Kind::Stream,
        }
    }

    /// Heap bytes, the box included.
    #[inline]
    pub fn bytes(&self) -> usize {
        size_of::<Value>()
            + match self {
                Value::Bytes(bytes) => bytes.heap_bytes(),
                Value::Hash(hash) => hash.bytes(),
                Value::List(list) => list.bytes(),
                Value::Set(set) => set.bytes(),
                Value::SortedSet(set) => set.bytes(),
                Value::Stream(stream) => stream.bytes(),
            }
    }

    /// Parts whose freeing takes time of its own: 1 for a string.
    pub fn element_count(&self) -> usize {
        match self {
            Value::Bytes(_) => 1,
            Value::Hash(hash) => hash.len(),
            Value::List(list) => list.chunk_count(),
            Value::Set(set) => set.len(),
            Value::SortedSet(set) => set.len(),
            Value::Stream(stream) => stream.part_count(),
        }
    }

    /// Whether a collection has no elements, which for a key means that it does not exist. A stream may be empty.
    pub fn is_empty_collection(&self) -> bool {
        match self {
            Value::Bytes(_) | Value::Stream(_) => false,
            Value::Hash(hash) => hash.is_empty(),
            Value::List(list) => list.is_empty(),
            Value::Set(set) => set.is_empty(),
            Value::SortedSet(set) => set.is_empty(),
        }
    }

    /// Appends the value's image: for a string its bytes, for a collection its own encoding.
    pub fn encode_image(&self, out: &mut Vec<u8>) {
        match self {
            Value::Bytes(bytes) => out.extend_from_slice(bytes),
            Value::Hash(hash) => hash.encode(out),
            Value::List(list) => list.encode(out),
            Value::Set(set) => set.encode(out),
            Value::SortedSet(set) => set.encode(out),
            Value::Stream(stream) => stream.encode(out),
        }
    }

    /// Rebuilds a value from its image.
    ///
    /// # Errors
    /// The image does not parse: it was not written by us, or is damaged where no checksum saw it.
    pub fn decode_image(kind: Kind, image: &[u8]) -> Result<Value, Truncated> {
        Ok(match kind {
            Kind::String => Value::Bytes(SharedBytes::from(image.to_vec())),
            Kind::Hash => Value::Hash(Hash::decode(image).map_err(|_| Truncated)?),
            Kind::List => Value::List(List::decode(image)?),
            Kind::Set => Value::Set(Set::decode(image)?),
            Kind::SortedSet => Value::SortedSet(SortedSet::decode(image).map_err(|_| Truncated)?),
            Kind::Stream => Value::Stream(Box::new(Stream::decode(image)?)),
        })
    }
}

/// The integer whose canonical decimal form `bytes` is, if any: what a string is stored as to save its bytes.
pub fn as_integer(bytes: &[u8]) -> Option<i64> {
    let first = *bytes.first()?;
    if !(first == b'-' || first.is_ascii_digit()) || bytes.len() > 20 {
        return None;
    }
    base::number::parse_i64(bytes)
}

/// Reads a kind byte from foreign bytes.
pub fn read_kind(reader: &mut Reader<'_>) -> Result<Kind, Truncated> {
    Kind::decode(reader.u8()?).ok_or(Truncated)
}
