//! A run of entries packed into one buffer: the names they share once, ids as what they are beyond the one before.
//!
//! ```text
//! bytes    names | let go of | entry entry …
//! names    count:varint (name_bytes:varint name)*          of the entry that opened the block
//! entry    flags:u8 [ms beyond the entry before:varint] [seq:varint] values
//! values   (value_bytes:varint value)*                     one for each of the block's names, or with OWN_NAMES
//!          count:varint (name_bytes:varint name value_bytes:varint value)*
//! ```
//!
//! Flags: the names are its own (1), the millisecond is another (2), the number is given (4): in full with another
//! millisecond, else as what it is beyond the one before. A number not given is 0, or one more. The first entry's id
//! is the block's, whatever its bytes say: entries let go of at the front leave it as it was.
//!
//! Invariants: ids ascend; `first`, `last` and `count` are of the entries that are there; what was let go of at the
//! front is at most half of the buffer.

use super::id::StreamId;
use base::codec::{put_bytes, put_varint};
use base::{Reader, Truncated};

const OWN_NAMES: u8 = 1;
const NEW_MS: u8 = 2;
const SEQ: u8 = 4;

/// See the module's text. Empty by default, and then without meaning but for its memory.
#[derive(Default)]
pub(super) struct Block {
    first: StreamId,
    last: StreamId,
    count: u32,
    names_bytes: u32,
    /// Where the first entry is.
    start: u32,
    bytes: Vec<u8>,
}

/// An entry as it lies in its stream.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its name.
    pub id: StreamId,
    fields: Fields<'a>,
}

impl<'a> Entry<'a> {
    /// Its pairs of name and value, in the order they were given in.
    #[inline]
    pub fn fields(&self) -> Fields<'a> {
        self.fields.clone()
    }
}

/// Equal id and fields, wherever the names lie.
impl PartialEq for Entry<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.fields().eq(other.fields())
    }
}

/// The pairs of name and value of an entry.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    left: usize,
    /// The block's, unless the entry has its own.
    names: Option<Reader<'a>>,
    values: Reader<'a>,
}

impl<'a> Fields<'a> {
    fn try_next(&mut self) -> Result<(&'a [u8], &'a [u8]), Truncated> {
        let name = match &mut self.names {
            Some(names) => names.bytes()?,
            None => self.values.bytes()?,
        };
        Ok((name, self.values.bytes()?))
    }

    /// What lies behind the last of them.
    fn skip_all(mut self) -> Result<Reader<'a>, Truncated> {
        for _ in 0..self.left {
            if self.names.is_none() {
                self.values.bytes()?;
            }
            self.values.bytes()?;
        }
        Ok(self.values)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.try_next().expect("a block is read as it was written"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Fields<'_> {}

/// Writes flags and id of an entry behind `previous`.
fn put_head(out: &mut Vec<u8>, previous: StreamId, id: StreamId, own_names: bool) {
    let is_new_ms = id.ms != previous.ms;
    let (expected, number) = if is_new_ms { (0, id.seq) } else { (1, id.seq - previous.seq) };
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    out.push(flag(own_names, OWN_NAMES) | flag(is_new_ms, NEW_MS) | flag(number != expected, SEQ));
    if is_new_ms {
        put_varint(out, id.ms - previous.ms);
    }
    if number != expected {
        put_varint(out, number);
    }
}

/// Reads flags and id of an entry behind `previous`. Only an entry that follows another has an id of meaning.
fn read_head(reader: &mut Reader<'_>, previous: StreamId) -> Result<(u8, StreamId), Truncated> {
    let flags = reader.u8()?;
    if flags & !(OWN_NAMES | NEW_MS | SEQ) != 0 {
        return Err(Truncated);
    }
    let is_new_ms = flags & NEW_MS != 0;
    let ms = if is_new_ms { previous.ms.wrapping_add(reader.varint()?) } else { previous.ms };
    let number = match (flags & SEQ != 0, is_new_ms) {
        (true, _) => reader.varint()?,
        (false, true) => 0,
        (false, false) => 1,
    };
    let seq = if is_new_ms { number } else { previous.seq.wrapping_add(number) };
    Ok((flags, StreamId { ms, seq }))
}

/// Walks the entries of a block, and knows where each begins.
struct Walk<'a> {
    reader: Reader<'a>,
    name_count: usize,
    names: Reader<'a>,
    /// Id of the entry read last.
    previous: StreamId,
    /// Id of the first, until it is read.
    first: Option<StreamId>,
}

impl<'a> Walk<'a> {
    fn entry(&mut self) -> Result<Entry<'a>, Truncated> {
        let (flags, after_previous) = read_head(&mut self.reader, self.previous)?;
        let id = self.first.take().unwrap_or(after_previous);
        let fields = if flags & OWN_NAMES == 0 {
            Fields { left: self.name_count, names: Some(self.names.clone()), values: self.reader.clone() }
        } else {
            let left = usize::try_from(self.reader.varint()?).map_err(|_| Truncated)?;
            Fields { left, names: None, values: self.reader.clone() }
        };
        self.reader = fields.clone().skip_all()?;
        self.previous = id;
        Ok(Entry { id, fields })
    }
}

/// The entries of a block, first to last.
pub(super) struct Entries<'a> {
    walk: Walk<'a>,
    left: u32,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        self.left = self.left.checked_sub(1)?;
        Some(self.walk.entry().expect("a block is read as it was written"))
    }
}

impl Block {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of entries.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Id of the first entry.
    pub fn first(&self) -> StreamId {
        self.first
    }

    /// Id of the last entry.
    pub fn last(&self) -> StreamId {
        self.last
    }

    /// Bytes of names and entries, those let go of included.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Heap bytes.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn walk(&self) -> Walk<'_> {
        let mut names = Reader::new(&self.bytes[..self.names_bytes as usize]);
        let name_count = names.varint().expect("a block begins with its names") as usize;
        let reader = Reader::new(&self.bytes[self.start as usize..]);
        Walk { reader, name_count, names, previous: self.first, first: Some(self.first) }
    }

    /// The entries, first to last.
    pub fn entries(&self) -> Entries<'_> {
        assert!(!self.is_empty(), "an empty block has no names either");
        Entries { walk: self.walk(), left: self.count }
    }

    /// Where the entry that `walk` reads next begins.
    fn position(&self, walk: &Walk<'_>) -> usize {
        self.bytes.len() - walk.reader.rest().len()
    }

    /// Adds an entry behind the last. The first entry of an empty block gives it its names.
    ///
    /// # Cost
    /// A comparison of the names and a copy of the values; amortised.
    pub fn push<'f>(&mut self, id: StreamId, fields: impl ExactSizeIterator<Item = (&'f [u8], &'f [u8])> + Clone) {
        if self.is_empty() {
            self.open(id, fields.clone().map(|(name, _)| name));
        }
        assert!(self.is_empty() || self.last < id, "entries ascend by id");
        let own_names = !self.has_names(fields.clone().map(|(name, _)| name));
        put_head(&mut self.bytes, self.last, id, own_names);
        if own_names {
            put_varint(&mut self.bytes, fields.len() as u64);
        }
        for (name, value) in fields {
            if own_names {
                put_bytes(&mut self.bytes, name);
            }
            put_bytes(&mut self.bytes, value);
        }
        assert!(u32::try_from(self.bytes.len()).is_ok(), "who adds looks at the size of an entry and of a block");
        self.last = id;
        self.count += 1;
    }

    fn open<'f>(&mut self, id: StreamId, names: impl ExactSizeIterator<Item = &'f [u8]>) {
        self.bytes.clear();
        put_varint(&mut self.bytes, names.len() as u64);
        names.for_each(|name| put_bytes(&mut self.bytes, name));
        (self.names_bytes, self.start) = (self.bytes.len() as u32, self.bytes.len() as u32);
        (self.first, self.last) = (id, id);
    }

    /// Whether these are the names that the block begins with.
    fn has_names<'f>(&self, names: impl ExactSizeIterator<Item = &'f [u8]>) -> bool {
        let mut own = Reader::new(&self.bytes[..self.names_bytes as usize]);
        own.varint() == Ok(names.len() as u64) && names.into_iter().all(|name| own.bytes() == Ok(name))
    }

    /// Lets go of the entries up to `through`, which is before the last. Returns how many they were.
    ///
    /// # Cost
    /// A walk over them; amortised.
    pub fn drop_front(&mut self, through: StreamId) -> u32 {
        assert!(through < self.last, "a block that loses all goes whole");
        let mut walk = self.walk();
        let mut dropped_count = 0;
        let (start, first) = loop {
            let position = self.position(&walk);
            let id = walk.entry().expect("a block is read as it was written").id;
            if through < id {
                break (position, id);
            }
            dropped_count += 1;
        };
        (self.start, self.first) = (start as u32, first);
        self.count -= dropped_count;
        self.compact();
        dropped_count
    }

    /// Closes the gap behind the names once it is half of the buffer.
    fn compact(&mut self) {
        if self.bytes.len() / 2 < (self.start - self.names_bytes) as usize {
            self.bytes.drain(self.names_bytes as usize..self.start as usize);
            self.start = self.names_bytes;
        }
    }

    /// Removes an entry of several. Returns whether it was there.
    ///
    /// # Cost
    /// A walk to it, and a move of what lies behind it.
    pub fn remove(&mut self, id: StreamId) -> bool {
        if id == self.first {
            return self.drop_front(id) == 1;
        }
        let mut walk = self.walk();
        let (mut position, mut before) = (self.start as usize, self.first);
        let is_there = (0..self.count).any(|_| {
            (position, before) = (self.position(&walk), walk.previous);
            id <= walk.entry().expect("a block is read as it was written").id
        });
        if !is_there || walk.previous != id {
            return false;
        }
        if id == self.last {
            self.bytes.truncate(position);
            self.last = before;
        } else {
            let (flags, next) = read_head(&mut walk.reader, id).expect("an entry follows");
            let end = self.position(&walk);
            let mut head = Vec::new();
            put_head(&mut head, before, next, flags & OWN_NAMES != 0);
            self.bytes.splice(position..end, head);
        }
        self.count -= 1;
        true
    }

    /// A block of its own with what this one holds, in as few bytes as it takes; this one is empty then and keeps a
    /// buffer of up to `kept_bytes_max`.
    pub fn seal(&mut self, kept_bytes_max: usize) -> Block {
        let (names_bytes, start) = (self.names_bytes as usize, self.start as usize);
        let bytes = if self.bytes.capacity() <= kept_bytes_max {
            [&self.bytes[..names_bytes], &self.bytes[start..]].concat()
        } else {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.drain(names_bytes..start);
            bytes.shrink_to_fit();
            bytes
        };
        let sealed = Block { start: self.names_bytes, bytes, ..*self };
        self.count = 0;
        self.bytes.clear();
        sealed
    }

    /// Gives back memory that is not used.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Appends the block's image: `first count:varint names_bytes:varint names entries_bytes:varint entries`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        super::id::put_id(out, self.first);
        put_varint(out, u64::from(self.count));
        put_bytes(out, &self.bytes[..self.names_bytes as usize]);
        put_bytes(out, &self.bytes[self.start as usize..]);
    }

    /// Rebuilds a block from its image. Foreign bytes are welcome.
    ///
    /// # Errors
    /// The bytes are no block of ascending entries, each with a field.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Block, Truncated> {
        let first = super::id::read_id(reader)?;
        let count = u32::try_from(reader.varint()?).map_err(|_| Truncated)?;
        let (names, entries) = (reader.bytes()?, reader.bytes()?);
        let bytes = [names, entries].concat();
        if count == 0 || u32::try_from(bytes.len()).is_err() {
            return Err(Truncated);
        }
        let names_bytes = names.len() as u32;
        let mut block = Block { first, last: first, count, names_bytes, start: names_bytes, bytes };
        block.last = block.check(names)?;
        Ok(block)
    }

    /// Walks all of a block that is not ours yet. Returns the last id.
    fn check(&self, names: &[u8]) -> Result<StreamId, Truncated> {
        let mut reader = Reader::new(names);
        for _ in 0..reader.varint()? {
            reader.bytes()?;
        }
        if !reader.is_empty() {
            return Err(Truncated);
        }
        let mut walk = self.walk();
        let mut last = StreamId::MIN;
        for _ in 0..self.count {
            let entry = walk.entry()?;
            if entry.id <= last || entry.fields.left == 0 {
                return Err(Truncated);
            }
            last = entry.id;
        }
        if walk.reader.is_empty() { Ok(last) } else { Err(Truncated) }
    }
}
