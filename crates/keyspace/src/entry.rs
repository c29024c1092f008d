//! One key with everything kept about it, in one heap block behind one thin pointer.
//!
//! ```text
//! slot (in the table)   pointer:48 | access low:16
//! block                 head:16 | expires:i64? | revision:u32? | key_bytes:u32? | value_bytes:u32? | key | payload
//!   head word 0         version:48 | value_bytes:8 | form:2 | kind:3 | has expires:1 | has revision:1 | 0:1
//!   head word 1         home:53 | key_bytes:8 | access high:3
//! payload               Inline: the bytes · Int: i64 · Spilled: nothing · Boxed: pointer to a `Value`
//! ```
//!
//! Optional fields are there only when the head says so; a length of 255 in the head means that the full length
//! follows. A resident 16-byte key with a 64-byte value takes 96 bytes, a spilled one 32.
//!
//! `access` is 19 bits of seconds (or, under LFU policies, a minute count and a logarithmic counter), wrapping
//! after six days: enough to rank keys by idleness, cheap enough to write on every read.
//!
//! Deliberately not here: which index an entry is in, what its value means, and where blocks come from: the index
//! that an entry is in allocates and frees them (`slab.rs`), under its partition's lock.

#![expect(unsafe_code, reason = "one thin block per key instead of a struct of boxes is half the memory")]

use crate::value::{Kind, Value};
use base::{TimeMs, Version};
use std::ptr::NonNull;

const HEAD_BYTES: usize = 16;
const LENGTH_EXTENDED: usize = 255;
const POINTER_BITS: u32 = 48;
/// Bits kept of an entry's access clock.
pub const ACCESS_BITS: u32 = 19;

/// Longest key accepted, and longest string value: as Redis's default `proto-max-bulk-len`.
pub const STRING_BYTES_MAX: usize = 512 << 20;

/// Where the journal holds the current bytes of a value: a packed position, or nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Home(pub u64);

impl Home {
    /// The value exists only in memory (it was changed in place since it was last written whole).
    pub const NONE: Home = Home(0);
    /// The value is being journaled by the batch in progress; the position follows at its commit.
    pub const PENDING: Home = Home(1);

    /// Whether the journal holds the value.
    pub fn is_known(self) -> bool {
        self.0 > Home::PENDING.0
    }
}

/// Everything about a key but its name and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Version of the batch that last changed the key.
    pub version: Version,
    /// Where the value lies in the journal.
    pub home: Home,
    /// When the key ends, if ever.
    pub expires: Option<TimeMs>,
    /// Writes to this key since it came to be, from 1.
    pub revision: u32,
    /// Access clock, `ACCESS_BITS` wide.
    pub access: u32,
}

/// A value on its way into an entry.
#[derive(Debug)]
pub enum Payload<'a> {
    /// String bytes kept in the block.
    Inline(&'a [u8]),
    /// A string that is the canonical decimal form of this integer.
    Int(i64),
    /// The journal holds the value; `value_bytes` is its length there.
    Spilled {
        /// Type of the value.
        kind: Kind,
        /// Bytes of the string, or of the image of a collection.
        value_bytes: u32,
    },
    /// A value with a life of its own: collections, and strings that are changed in place. `image_bytes` is the
    /// length of its image at its home, 0 when it has none.
    Boxed {
        /// The value.
        value: Box<Value>,
        /// Bytes of its image at its home.
        image_bytes: u32,
    },
}

/// A value as it lies in an entry.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// String bytes.
    Inline(&'a [u8]),
    /// A string that is an integer.
    Int(i64),
    /// In the journal only.
    Spilled,
    /// A collection or a string changed in place.
    Boxed(&'a Value),
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Form {
    Inline = 0,
    Int = 1,
    Spilled = 2,
    Boxed = 3,
}

/// An entry: its block's address. Dropping it frees nothing; see `Index`.
pub struct Entry(NonNull<u8>);

// SAFETY: an entry owns its block and the `Value` behind it outright; nothing in either is tied to a thread.
unsafe impl Send for Entry {}

struct Shape {
    expires: bool,
    revision: bool,
    key_bytes: usize,
    value_bytes: usize,
    form: Form,
}

impl Shape {
    fn key_extended(&self) -> bool {
        self.key_bytes >= LENGTH_EXTENDED
    }

    fn value_extended(&self) -> bool {
        self.value_bytes >= LENGTH_EXTENDED
    }

    fn revision_at(&self) -> usize {
        HEAD_BYTES + 8 * usize::from(self.expires)
    }

    fn key_length_at(&self) -> usize {
        self.revision_at() + 4 * usize::from(self.revision)
    }

    fn value_length_at(&self) -> usize {
        self.key_length_at() + 4 * usize::from(self.key_extended())
    }

    fn key_at(&self) -> usize {
        self.value_length_at() + 4 * usize::from(self.value_extended())
    }

    fn payload_at(&self) -> usize {
        self.key_at() + self.key_bytes
    }

    fn payload_bytes(&self) -> usize {
        match self.form {
            Form::Inline => self.value_bytes,
            Form::Int | Form::Boxed => 8,
            Form::Spilled => 0,
        }
    }

    fn block_bytes(&self) -> usize {
        // Rounded to words, so that a value may change its length by a byte or two within its block.
        (self.payload_at() + self.payload_bytes()).next_multiple_of(8)
    }
}

fn shape_of(key: &[u8], payload: &Payload<'_>, meta: &Meta) -> Shape {
    assert!(key.len() <= STRING_BYTES_MAX, "a door refuses longer keys");
    let (form, value_bytes) = match payload {
        Payload::Inline(bytes) => (Form::Inline, bytes.len()),
        Payload::Int(_) => (Form::Int, 0),
        Payload::Spilled { value_bytes, .. } => (Form::Spilled, *value_bytes as usize),
        Payload::Boxed { image_bytes, .. } => (Form::Boxed, *image_bytes as usize),
    };
    let (expires, revision) = (meta.expires.is_some(), meta.revision > 1);
    Shape { expires, revision, key_bytes: key.len(), value_bytes, form }
}

impl Entry {
    /// Makes an entry in a block that `allocate` gives, of at least as many bytes as it is asked for.
    ///
    /// # Cost
    /// One allocation.
    ///
    /// # Safety
    /// What `allocate` returns is that large, and belongs to the entry from now on.
    #[inline]
    pub unsafe fn build(
        key: &[u8],
        payload: Payload<'_>,
        meta: &Meta,
        allocate: impl FnOnce(usize) -> NonNull<u8>,
    ) -> Entry {
        let shape = shape_of(key, &payload, meta);
        let kind = match &payload {
            Payload::Inline(_) | Payload::Int(_) => Kind::String,
            Payload::Spilled { kind, .. } => *kind,
            Payload::Boxed { value, .. } => value.kind(),
        };
        let mut entry = Entry(allocate(shape.block_bytes()));
        let head0 = (shape.value_bytes.min(LENGTH_EXTENDED) as u64) << 48
            | (shape.form as u64) << 56
            | (kind as u64) << 58
            | u64::from(shape.expires) << 61
            | u64::from(shape.revision) << 62;
        entry.put_u64(0, head0);
        entry.put_u64(8, (shape.key_bytes.min(LENGTH_EXTENDED) as u64) << 53);
        if let Some(expires) = meta.expires {
            entry.put_u64(HEAD_BYTES, expires.0 as u64);
        }
        if shape.revision {
            entry.put_u32(shape.revision_at(), meta.revision);
        }
        if shape.key_extended() {
            entry.put_u32(shape.key_length_at(), shape.key_bytes as u32);
        }
        if shape.value_extended() {
            entry.put_u32(shape.value_length_at(), shape.value_bytes as u32);
        }
        entry.put(shape.key_at(), key);
        match payload {
            Payload::Inline(bytes) => entry.put(shape.payload_at(), bytes),
            Payload::Int(number) => entry.put_u64(shape.payload_at(), number as u64),
            Payload::Spilled { .. } => {}
            Payload::Boxed { value, .. } => entry.put_u64(shape.payload_at(), Box::into_raw(value) as u64),
        }
        entry.set_version(meta.version);
        entry.set_home(meta.home);
        entry.set_access_high(meta.access);
        entry
    }

    #[inline(always)]
    fn put(&mut self, at: usize, bytes: &[u8]) {
        // SAFETY: callers pass offsets from `Shape`, by which the block was sized.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_ptr().add(at), bytes.len()) }
    }

    fn put_u64(&mut self, at: usize, word: u64) {
        self.put(at, &word.to_ne_bytes());
    }

    fn put_u32(&mut self, at: usize, word: u32) {
        self.put(at, &word.to_ne_bytes());
    }

    #[inline(always)]
    fn u64_at(&self, at: usize) -> u64 {
        // SAFETY: as in `put`; the bytes were written by `build`.
        unsafe { self.0.as_ptr().add(at).cast::<u64>().read_unaligned() }
    }

    #[inline(always)]
    fn u32_at(&self, at: usize) -> u32 {
        // SAFETY: as in `u64_at`.
        unsafe { self.0.as_ptr().add(at).cast::<u32>().read_unaligned() }
    }

    #[inline(always)]
    fn slice(&self, at: usize, count: usize) -> &[u8] {
        // SAFETY: as in `u64_at`; the borrow of self keeps the block alive and unchanged.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(at), count) }
    }

    #[inline(always)]
    fn form(&self) -> Form {
        match (self.u64_at(0) >> 56) & 3 {
            0 => Form::Inline,
            1 => Form::Int,
            2 => Form::Spilled,
            _ => Form::Boxed,
        }
    }

    #[inline(always)]
    fn shape(&self) -> Shape {
        let (head0, head1) = (self.u64_at(0), self.u64_at(8));
        let mut shape = Shape {
            expires: (head0 >> 61) & 1 != 0,
            revision: (head0 >> 62) & 1 != 0,
            key_bytes: (head1 >> 53) as usize & 0xff,
            value_bytes: (head0 >> 48) as usize & 0xff,
            form: self.form(),
        };
        // The short lengths decide where the long ones are, so the key's must be read first.
        let (key_extended, value_extended) = (shape.key_extended(), shape.value_extended());
        if key_extended || value_extended {
            let (key_at, value_at) = (shape.key_length_at(), shape.value_length_at());
            if key_extended {
                shape.key_bytes = self.u32_at(key_at) as usize;
            }
            if value_extended {
                shape.value_bytes = self.u32_at(value_at) as usize;
            }
        }
        shape
    }

    /// The key's name.
    #[inline]
    pub fn key(&self) -> &[u8] {
        let (head0, head1) = (self.u64_at(0), self.u64_at(8));
        let (key_bytes, value_bytes) = ((head1 >> 53) as usize & 0xff, (head0 >> 48) as usize & 0xff);
        if key_bytes.max(value_bytes) < LENGTH_EXTENDED {
            // What stands before the key is the expiry, eight bytes, and the revision, four, as the head says.
            let optional_bytes = (head0 >> (61 - 3)) as usize & 8 | (head0 >> (62 - 2)) as usize & 4;
            return self.slice(HEAD_BYTES + optional_bytes, key_bytes);
        }
        let shape = self.shape();
        self.slice(shape.key_at(), shape.key_bytes)
    }

    /// The type of the value.
    #[inline]
    pub fn kind(&self) -> Kind {
        Kind::from_bits((self.u64_at(0) >> 58) as u8 & 7)
    }

    /// The value as it lies here.
    #[inline]
    pub fn stored(&self) -> Stored<'_> {
        let shape = self.shape();
        let at = shape.payload_at();
        match shape.form {
            Form::Inline => Stored::Inline(self.slice(at, shape.value_bytes)),
            Form::Int => Stored::Int(self.u64_at(at) as i64),
            Form::Spilled => Stored::Spilled,
            // SAFETY: the pointer came from `Box::into_raw` in `build`, and `take_boxed` needs `&mut self`.
            Form::Boxed => Stored::Boxed(unsafe { &*(self.u64_at(at) as *const Value) }),
        }
    }

    /// Whether the value is in memory, in an allocation of its own.
    #[inline]
    pub fn is_boxed(&self) -> bool {
        self.form() == Form::Boxed
    }

    /// The boxed value for a change in place; `None` for the other forms.
    pub fn value_mut(&mut self) -> Option<&mut Value> {
        if self.form() != Form::Boxed {
            return None;
        }
        let at = self.shape().payload_at();
        // SAFETY: as in `stored`, and `&mut self` makes it the only reference.
        Some(unsafe { &mut *(self.u64_at(at) as *mut Value) })
    }

    /// Takes the boxed value out; `None` for the other forms.
    ///
    /// # Safety
    /// Nobody asks this entry for its value any more: only its block is left to be freed.
    pub unsafe fn take_boxed(&mut self) -> Option<Box<Value>> {
        if self.form() != Form::Boxed {
            return None;
        }
        let at = self.shape().payload_at();
        // SAFETY: the pointer came from `Box::into_raw` in `build`; the caller vouches that it is taken once.
        Some(unsafe { Box::from_raw(self.u64_at(at) as *mut Value) })
    }

    /// Where the block is.
    #[inline]
    pub fn block(&self) -> NonNull<u8> {
        self.0
    }

    /// Bytes of an inline or spilled string, or of a collection's image at its home; 0 for integers.
    #[inline]
    pub fn value_bytes(&self) -> usize {
        self.shape().value_bytes
    }

    /// Heap bytes of the block (not of a boxed value).
    #[inline]
    pub fn block_bytes(&self) -> usize {
        self.shape().block_bytes()
    }

    /// Bytes of the key and of [`Entry::value_bytes`].
    #[inline]
    pub fn text_bytes(&self) -> usize {
        let shape = self.shape();
        shape.key_bytes + shape.value_bytes
    }

    /// Overwrites an inline string or an integer in place when the new one fits the block exactly.
    /// Returns whether it did. Expiry presence must already agree.
    #[inline]
    pub fn overwrite(&mut self, payload: &Payload<'_>) -> bool {
        let shape = self.shape();
        self.overwrite_shaped(shape, payload)
    }

    /// As [`Entry::overwrite`] for a whole write of a key that does not end: counts it and notes its version and home.
    /// Returns whether there was room for all of that.
    #[inline]
    pub fn rewrite(&mut self, payload: &Payload<'_>, version: Version, home: Home) -> bool {
        let shape = self.shape();
        let at = shape.revision_at();
        // After the last revision comes the first, which has no field.
        if shape.expires || !shape.revision || self.u32_at(at) == u32::MAX || !self.overwrite_shaped(shape, payload) {
            return false;
        }
        if self.version() != version {
            self.put_u32(at, self.u32_at(at) + 1);
            self.set_version(version);
        }
        self.set_home(home);
        true
    }

    #[inline]
    fn overwrite_shaped(&mut self, shape: Shape, payload: &Payload<'_>) -> bool {
        match (shape.form, payload) {
            (Form::Inline, Payload::Inline(bytes)) => {
                if bytes.len() == shape.value_bytes {
                    self.put(shape.payload_at(), bytes);
                    return true;
                }
                if bytes.len() >= LENGTH_EXTENDED || shape.value_extended() {
                    return false;
                }
                let changed = Shape { value_bytes: bytes.len(), ..shape };
                if changed.block_bytes() != shape.block_bytes() {
                    return false;
                }
                let head0 = self.u64_at(0) & !(0xff << 48) | (bytes.len() as u64) << 48;
                self.put_u64(0, head0);
                self.put(shape.payload_at(), bytes);
                true
            }
            (Form::Int, Payload::Int(number)) => {
                self.put_u64(shape.payload_at(), *number as u64);
                true
            }
            _ => false,
        }
    }

    /// Version of the batch that last changed the key.
    #[inline]
    pub fn version(&self) -> Version {
        Version(self.u64_at(0) & Version::MAX.0)
    }

    /// Stamps the entry with the batch that changes it.
    #[inline]
    pub fn set_version(&mut self, version: Version) {
        assert!(version <= Version::MAX, "a version has 48 bits");
        self.put_u64(0, self.u64_at(0) & !Version::MAX.0 | version.0);
    }

    /// Where the journal holds the value.
    #[inline]
    pub fn home(&self) -> Home {
        Home(self.u64_at(8) & ((1 << 53) - 1))
    }

    /// Records where the journal holds the value.
    #[inline]
    pub fn set_home(&mut self, home: Home) {
        assert!(home.0 < 1 << 53, "a packed position has 53 bits");
        self.put_u64(8, self.u64_at(8) & !((1 << 53) - 1) | home.0);
    }

    /// When the key ends, if ever.
    #[inline]
    pub fn expires(&self) -> Option<TimeMs> {
        ((self.u64_at(0) >> 61) & 1 != 0).then(|| TimeMs(self.u64_at(HEAD_BYTES) as i64))
    }

    /// Changes an existing expiry in place. Returns whether there was one to change.
    pub fn overwrite_expires(&mut self, expires: TimeMs) -> bool {
        let present = self.expires().is_some();
        if present {
            self.put_u64(HEAD_BYTES, expires.0 as u64);
        }
        present
    }

    /// Writes to this key since it came to be.
    #[inline]
    pub fn revision(&self) -> u32 {
        if (self.u64_at(0) >> 62) & 1 == 0 { 1 } else { self.u32_at(self.shape().revision_at()) }
    }

    /// Counts one more write. Returns whether there was room in the block for the count.
    #[inline]
    pub fn bump_revision(&mut self) -> bool {
        if (self.u64_at(0) >> 62) & 1 == 0 {
            return false;
        }
        let at = self.shape().revision_at();
        self.put_u32(at, self.u32_at(at).wrapping_add(1).max(1));
        true
    }

    fn set_access_high(&mut self, access: u32) {
        self.put_u64(8, self.u64_at(8) & !(7 << 61) | u64::from(access >> 16 & 7) << 61);
    }

    /// Everything but key and value. `access_low` is the part kept in the slot.
    #[inline]
    pub fn meta(&self, access_low: u16) -> Meta {
        Meta {
            version: self.version(),
            home: self.home(),
            expires: self.expires(),
            revision: self.revision(),
            access: self.access(access_low),
        }
    }

    #[inline]
    fn access(&self, low: u16) -> u32 {
        ((self.u64_at(8) >> 61) as u32 & 7) << 16 | u32::from(low)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("key", &self.key()).field("stored", &self.stored()).finish_non_exhaustive()
    }
}

/// An entry as the table holds it: the block's address and the low bits of the access clock in one word.
/// The index that holds it frees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u64);

impl Slot {
    /// Gives the entry over to whoever keeps the slot.
    #[inline]
    pub fn own(entry: Entry, access: u32) -> Slot {
        let address = entry.0.as_ptr() as u64;
        assert!(address >> POINTER_BITS == 0, "user-space addresses have 47 bits");
        Slot(address | u64::from(access as u16) << POINTER_BITS)
    }

    #[inline(always)]
    fn pointer(self) -> *mut u8 {
        (self.0 & ((1 << POINTER_BITS) - 1)) as *mut u8
    }

    /// The block's address, for prefetching.
    #[inline(always)]
    pub fn address(self) -> *const u8 {
        self.pointer()
    }

    /// Takes the entry back.
    ///
    /// # Safety
    /// The slot came from [`Slot::own`] and has not been taken back before.
    pub unsafe fn into_entry(self) -> Entry {
        // SAFETY: the caller vouches; the address of a live block is not null.
        Entry(unsafe { NonNull::new_unchecked(self.pointer()) })
    }

    /// Looks at the entry.
    ///
    /// # Safety
    /// As for [`Slot::into_entry`], and nothing changes or frees the entry during `'a`.
    #[inline(always)]
    pub unsafe fn entry<'a>(self) -> EntryRef<'a> {
        // SAFETY: the caller vouches.
        let entry = unsafe { self.into_entry() };
        EntryRef { entry, access_low: (self.0 >> POINTER_BITS) as u16, life: std::marker::PhantomData }
    }

    /// The same entry, after its block was copied to `block`.
    #[inline]
    #[must_use]
    pub fn moved_to(self, block: NonNull<u8>) -> Slot {
        Slot(block.as_ptr() as u64 | self.0 & !((1 << POINTER_BITS) - 1))
    }

    /// The same entry with another access clock.
    ///
    /// # Safety
    /// As for [`Slot::entry`], with no other reference to the entry.
    #[inline]
    #[must_use]
    pub unsafe fn with_access(self, access: u32) -> Slot {
        // SAFETY: the caller vouches.
        let mut entry = unsafe { self.into_entry() };
        if (entry.u64_at(8) >> 61) as u32 & 7 != access >> 16 & 7 {
            entry.set_access_high(access);
        }
        Slot(self.0 & ((1 << POINTER_BITS) - 1) | u64::from(access as u16) << POINTER_BITS)
    }
}

/// A look at an entry that an index holds.
pub struct EntryRef<'a> {
    entry: Entry,
    access_low: u16,
    life: std::marker::PhantomData<&'a Entry>,
}

impl<'a> EntryRef<'a> {
    /// The entry itself, for the index that frees it.
    pub(crate) fn into_entry(self) -> Entry {
        self.entry
    }

    /// The key's name.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        let key = self.entry.key();
        // SAFETY: the block outlives 'a, as whoever made this reference vouched.
        unsafe { std::slice::from_raw_parts(key.as_ptr(), key.len()) }
    }

    /// The value as it lies in the entry.
    #[inline]
    pub fn stored(&self) -> Stored<'a> {
        // SAFETY: as in `key`.
        unsafe { std::mem::transmute::<Stored<'_>, Stored<'a>>(self.entry.stored()) }
    }

    /// The access clock.
    #[inline]
    pub fn access(&self) -> u32 {
        self.entry.access(self.access_low)
    }

    /// Everything but key and value.
    pub fn meta(&self) -> Meta {
        self.entry.meta(self.access_low)
    }
}

impl std::ops::Deref for EntryRef<'_> {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

/// The mutable counterpart of [`EntryRef`].
pub struct EntryMut<'a> {
    entry: Entry,
    life: std::marker::PhantomData<&'a mut Entry>,
}

impl EntryMut<'_> {
    /// Looks at the entry to change it.
    ///
    /// # Safety
    /// As for [`Slot::entry`], with no other reference to the entry during the life of this one.
    #[inline(always)]
    pub unsafe fn new(slot: Slot) -> Self {
        // SAFETY: the caller vouches.
        EntryMut { entry: unsafe { slot.into_entry() }, life: std::marker::PhantomData }
    }
}

impl std::ops::Deref for EntryMut<'_> {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl std::ops::DerefMut for EntryMut<'_> {
    fn deref_mut(&mut self) -> &mut Entry {
        &mut self.entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SharedBytes;

    fn meta() -> Meta {
        Meta { version: Version(7), home: Home(0x1f_ffff_ffff_fff8), expires: None, revision: 1, access: 0x5_4321 }
    }

    /// An entry in a block of its own.
    struct Alone(Entry, Vec<u64>);

    fn alone(key: &[u8], payload: Payload<'_>, meta: &Meta) -> Alone {
        let mut words = Vec::new();
        // SAFETY: the block is as large as asked for, and lives in the vector's heap as long as the entry.
        let entry = unsafe {
            Entry::build(key, payload, meta, |bytes| {
                words.resize(bytes / 8, 0u64);
                NonNull::new(words.as_mut_ptr().cast()).expect("not null")
            })
        };
        Alone(entry, words)
    }

    fn check(key: &[u8], value: &[u8], meta: &Meta) {
        let Alone(entry, _block) = alone(key, Payload::Inline(value), meta);
        assert_eq!(entry.key(), key);
        assert!(matches!(entry.stored(), Stored::Inline(bytes) if bytes == value));
        assert_eq!(entry.meta(meta.access as u16), *meta);
    }

    #[test]
    fn every_combination_of_optional_fields_reads_back() {
        for key_bytes in [0, 1, 16, 254, 255, 256, 70_000] {
            for value_bytes in [0, 1, 64, 254, 255, 256, 70_000] {
                for expires in [None, Some(TimeMs(-1)), Some(TimeMs(i64::MAX))] {
                    for revision in [1, 2, u32::MAX] {
                        let (key, value) = (vec![b'k'; key_bytes], vec![b'v'; value_bytes]);
                        check(&key, &value, &Meta { expires, revision, ..meta() });
                    }
                }
            }
        }
    }

    #[test]
    fn the_promised_sizes_hold() {
        let Alone(resident, _block) = alone(&[b'k'; 16], Payload::Inline(&[b'v'; 64]), &meta());
        let Alone(spilled, _block) =
            alone(&[b'k'; 16], Payload::Spilled { kind: Kind::String, value_bytes: 64 }, &meta());
        assert_eq!((resident.block_bytes(), spilled.block_bytes()), (96, 32));
    }

    #[test]
    fn overwriting_in_place_keeps_the_rest() {
        let Alone(mut entry, _block) = alone(b"key", Payload::Inline(b"abcd"), &meta());
        assert!(entry.overwrite(&Payload::Inline(b"efgh")));
        assert!(entry.overwrite(&Payload::Inline(b"xyz")));
        assert!(matches!(entry.stored(), Stored::Inline(b"xyz")));
        assert!(!entry.overwrite(&Payload::Inline(&[0; 100])));
        assert!(!entry.overwrite(&Payload::Int(5)));
        assert_eq!((entry.key(), entry.version()), (&b"key"[..], Version(7)));
    }

    #[test]
    fn a_rewrite_counts_each_version_once_as_long_as_the_block_has_room_for_all_of_it() {
        let of = |revision, expires| alone(b"key", Payload::Inline(b"abcd"), &Meta { expires, revision, ..meta() });
        let Alone(mut entry, _block) = of(2, None);
        for home in [Home::PENDING, Home(99)] {
            assert!(entry.rewrite(&Payload::Inline(b"efgh"), Version(8), home));
            assert_eq!((entry.revision(), entry.version(), entry.home()), (3, Version(8), home));
        }
        assert!(!entry.rewrite(&Payload::Inline(&[0; 100]), Version(9), Home::PENDING));
        for (revision, expires) in [(1, None), (u32::MAX, None), (2, Some(TimeMs(5)))] {
            let Alone(mut entry, _block) = of(revision, expires);
            assert!(!entry.rewrite(&Payload::Inline(b"efgh"), Version(8), Home::PENDING));
            assert_eq!(entry.meta(meta().access as u16), Meta { expires, revision, ..meta() });
            assert!(matches!(entry.stored(), Stored::Inline(b"abcd")));
        }
    }

    #[test]
    fn a_slot_carries_the_access_clock() {
        let Alone(entry, _block) = alone(b"key", Payload::Int(-5), &meta());
        let slot = Slot::own(entry, meta().access);
        // SAFETY: the slot is owned by this test alone.
        unsafe {
            assert_eq!(slot.entry().access(), 0x5_4321);
            let slot = slot.with_access(0x2_0001);
            assert_eq!(slot.entry().access(), 0x2_0001);
            assert!(matches!(slot.into_entry().stored(), Stored::Int(-5)));
        }
    }

    #[test]
    fn boxed_values_are_changed_in_place_and_taken_out() {
        let value = Box::new(Value::Bytes(SharedBytes::from(b"abc".to_vec())));
        let Alone(mut entry, _block) = alone(b"key", Payload::Boxed { value, image_bytes: 0 }, &meta());
        if let Some(Value::Bytes(bytes)) = entry.value_mut() {
            bytes.change(|bytes| bytes.push(b'd'));
        }
        // SAFETY: the entry is not looked at again.
        let value = unsafe { entry.take_boxed() };
        assert!(matches!(value.map(|value| *value), Some(Value::Bytes(bytes)) if *bytes == *b"abcd"));
    }
}
