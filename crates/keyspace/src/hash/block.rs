//! One field of a large hash: name, value and expiry in one heap block behind one thin pointer. A member of a large
//! set is a field without a value.
//!
//! ```text
//! narrow   flags:u8 | name_bytes:u8  | value_bytes:u8  | expires:i64? | name | value | up to 15 unused
//! wide     flags:u8 | name_bytes:u32 | value_bytes:u32 | expires:i64? | name | value | up to 15 unused
//! ```
//!
//! A fat `Box<[u8]>` each for name and value would take 32 bytes of pointers and lengths, and two allocations.
//! Little-endian, unaligned. Deliberately not here: the field's hash, which is computed again on the rare
//! split of a bucket.
//!
//! Invariant: the lengths and flags at the start of a block add up to the size it was allocated with, so that
//! they say its layout when it is freed.

#![expect(unsafe_code, reason = "a block of dynamic layout behind a thin pointer has no safe form")]

use super::Field;
use base::TimeMs;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

const FLAG_EXPIRES: u8 = 1;
const FLAG_WIDE: u8 = 2;
const EXPIRY_BYTES: usize = 8;
/// Blocks are multiples of this, as allocators round them anyway (mimalloc, jemalloc), so that a value may
/// change its length by a little in place.
const BLOCK_STEP_BYTES: usize = 16;
/// Longest name or value.
pub(crate) const PART_BYTES_MAX: usize = u32::MAX as usize;

/// What a block's first bytes say.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    wide: bool,
    expires: bool,
    name_bytes: usize,
    value_bytes: usize,
}

impl Shape {
    fn of(name: &[u8], value: &[u8], expires: Option<TimeMs>) -> Shape {
        assert!(name.len() <= PART_BYTES_MAX, "a door refuses longer names");
        assert!(value.len() <= PART_BYTES_MAX, "a door refuses longer values");
        let wide = usize::from(u8::MAX) < name.len().max(value.len());
        Shape { wide, expires: expires.is_some(), name_bytes: name.len(), value_bytes: value.len() }
    }

    #[inline]
    fn expiry_at(self) -> usize {
        if self.wide { 9 } else { 3 }
    }

    #[inline]
    fn name_at(self) -> usize {
        self.expiry_at() + if self.expires { EXPIRY_BYTES } else { 0 }
    }

    #[inline]
    fn value_at(self) -> usize {
        self.name_at() + self.name_bytes
    }

    fn block_bytes(self) -> usize {
        (self.value_at() + self.value_bytes).next_multiple_of(BLOCK_STEP_BYTES)
    }

    fn layout(self) -> Layout {
        // Nothing in a block needs alignment, and an allocator may pad for it (mimalloc 3 adds a third).
        Layout::from_size_align(self.block_bytes(), 1).expect("two lengths of 32 bits fit a layout")
    }
}

/// An owned field. Freed on drop.
pub(crate) struct Block(NonNull<u8>);

impl Block {
    /// # Cost
    /// One allocation.
    pub fn new(name: &[u8], value: &[u8], expires: Option<TimeMs>) -> Block {
        let shape = Shape::of(name, value, expires);
        // SAFETY: a block has at least its flags and lengths, so its size is not zero.
        let start = unsafe { alloc(shape.layout()) };
        let mut block = Block(NonNull::new(start).unwrap_or_else(|| handle_alloc_error(shape.layout())));
        block.write_head(shape);
        block.write(shape.name_at(), name);
        block.write_body(shape, value, expires);
        block
    }

    /// Copies `bytes` to `at`.
    #[inline]
    fn write(&mut self, at: usize, bytes: &[u8]) {
        // SAFETY: private, and each caller's `at` and length lie inside the shape the block was allocated for;
        // a slice given by a caller of `new` or `rewrite` cannot alias a block held by `&mut`.
        unsafe { self.0.as_ptr().add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    fn write_head(&mut self, shape: Shape) {
        let wide = if shape.wide { FLAG_WIDE } else { 0 };
        let expires = if shape.expires { FLAG_EXPIRES } else { 0 };
        self.write(0, &[wide | expires]);
        if shape.wide {
            self.write(1, &(shape.name_bytes as u32).to_le_bytes());
            self.write(5, &(shape.value_bytes as u32).to_le_bytes());
        } else {
            self.write(1, &[shape.name_bytes as u8, shape.value_bytes as u8]);
        }
    }

    /// Writes everything but the head and the name, which the caller knows to be there.
    fn write_body(&mut self, shape: Shape, value: &[u8], expires: Option<TimeMs>) {
        if let Some(TimeMs(ms)) = expires {
            self.write(shape.expiry_at(), &ms.to_le_bytes());
        }
        self.write(shape.value_at(), value);
    }

    fn shape(&self) -> Shape {
        // SAFETY: an owned block is live.
        unsafe { shape_at(self.0) }
    }

    /// What the block holds.
    pub fn field(&self) -> Field<'_> {
        // SAFETY: an owned block is live, and not changed while `self` is borrowed.
        unsafe { field_at(self.0) }
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        self.shape().block_bytes()
    }

    /// Puts another value and expiry behind the same name, if the block has just the room; else changes nothing.
    #[must_use]
    pub fn rewrite(&mut self, value: &[u8], expires: Option<TimeMs>) -> bool {
        let old = self.shape();
        let new = Shape { expires: expires.is_some(), ..Shape::of(self.field().name, value, expires) };
        if (new.wide, new.expires) != (old.wide, old.expires) || new.block_bytes() != old.block_bytes() {
            return false;
        }
        self.write_head(new);
        self.write_body(new, value, expires);
        true
    }

    /// Gives the block away as a number that a table can hold. [`Block::from_slot`] takes it back.
    pub fn into_slot(self) -> u64 {
        ManuallyDrop::new(self).0.as_ptr().expose_provenance() as u64
    }

    /// Takes back a block.
    ///
    /// # Safety
    /// `slot` came from [`Block::into_slot`]. Of all blocks made from it at most one is dropped, and none is
    /// used after that one, nor changed while another is borrowed.
    pub unsafe fn from_slot(slot: u64) -> Block {
        // SAFETY: the caller says that `into_slot` made the number.
        Block(unsafe { start_of(slot) })
    }

    /// What the block behind `slot` holds, without taking it back.
    ///
    /// # Safety
    /// As for [`Block::from_slot`]; the block stays, unchanged, for `'a`.
    #[inline]
    pub unsafe fn field_of<'a>(slot: u64) -> Field<'a> {
        // SAFETY: the caller says that the block is live, and stays so for 'a.
        unsafe { field_at(start_of(slot)) }
    }
}

/// # Safety
/// `slot` came from [`Block::into_slot`].
#[inline]
unsafe fn start_of(slot: u64) -> NonNull<u8> {
    // SAFETY: the number was made from a non-null pointer.
    unsafe { NonNull::new_unchecked(std::ptr::with_exposed_provenance_mut(slot as usize)) }
}

/// The `N` bytes at `at`.
///
/// # Safety
/// `start` is that of a live block, and `at..at + N` lies in its head or its expiry.
#[inline]
unsafe fn read<const N: usize>(start: NonNull<u8>, at: usize) -> [u8; N] {
    // SAFETY: the caller says that the bytes are there; `Block::new` wrote them. An array needs no alignment.
    unsafe { start.add(at).cast::<[u8; N]>().read() }
}

/// # Safety
/// `start` is that of a live block.
#[inline]
unsafe fn shape_at(start: NonNull<u8>) -> Shape {
    // SAFETY: every block is at least BLOCK_STEP_BYTES long.
    let [flags, name_bytes, value_bytes] = unsafe { read::<3>(start, 0) };
    let expires = flags & FLAG_EXPIRES != 0;
    if flags & FLAG_WIDE == 0 {
        return Shape { wide: false, expires, name_bytes: name_bytes.into(), value_bytes: value_bytes.into() };
    }
    // SAFETY: the head of a wide block holds two words behind its flags.
    let [name_bytes, value_bytes] = unsafe { [read::<4>(start, 1), read::<4>(start, 5)] };
    let part = |word| u32::from_le_bytes(word) as usize;
    Shape { wide: true, expires, name_bytes: part(name_bytes), value_bytes: part(value_bytes) }
}

/// # Safety
/// `start` is that of a live block, which stays, unchanged, for `'a`.
#[inline]
unsafe fn field_at<'a>(start: NonNull<u8>) -> Field<'a> {
    // SAFETY: the shape of a live block says where the parts lie that `Block::new` wrote.
    unsafe {
        let shape = shape_at(start);
        let part = |at: usize, bytes: usize| std::slice::from_raw_parts(start.add(at).as_ptr(), bytes);
        Field {
            name: part(shape.name_at(), shape.name_bytes),
            value: part(shape.value_at(), shape.value_bytes),
            expires: shape.expires.then(|| TimeMs(i64::from_le_bytes(read(start, shape.expiry_at())))),
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the shape in the block is that of its allocation up to lengths of the same rounded size, and
        // an owned block is dropped once.
        unsafe { dealloc(self.0.as_ptr(), self.shape().layout()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRIES: [Option<TimeMs>; 4] = [None, Some(TimeMs(0)), Some(TimeMs(i64::MIN)), Some(TimeMs(i64::MAX))];
    const LENGTHS: [usize; 11] = [0, 1, 2, 7, 8, 64, 254, 255, 256, 257, 70_000];

    #[test]
    fn a_block_holds_what_it_was_given_at_every_length() {
        for (name_bytes, value_bytes) in LENGTHS.iter().flat_map(|name| LENGTHS.map(|value| (*name, value))) {
            let (name, value) = (vec![b'n'; name_bytes], vec![b'v'; value_bytes]);
            for expires in EXPIRIES {
                let block = Block::new(&name, &value, expires);
                assert_eq!(block.field(), Field { name: &name, value: &value, expires });
                assert!(name_bytes + value_bytes < block.bytes());
                assert!(block.bytes() <= name_bytes + value_bytes + 9 + EXPIRY_BYTES + BLOCK_STEP_BYTES);
            }
        }
    }

    #[test]
    fn a_rewrite_happens_in_place_or_not_at_all() {
        let mut rewritten_count = 0;
        for (before, after) in LENGTHS.iter().flat_map(|before| LENGTHS.map(|after| (*before, after))) {
            for (old, new) in EXPIRIES.iter().flat_map(|old| EXPIRIES.map(|new| (*old, new))) {
                let (value_before, value_after) = (vec![b'a'; before], vec![b'b'; after]);
                let mut block = Block::new(b"name", &value_before, old);
                let bytes = block.bytes();
                let rewritten = block.rewrite(&value_after, new);
                assert!(rewritten || before != after || old.is_some() != new.is_some());
                let (value, expires) = if rewritten { (&value_after, new) } else { (&value_before, old) };
                assert_eq!(block.field(), Field { name: b"name", value, expires });
                assert_eq!(block.bytes(), bytes);
                rewritten_count += usize::from(rewritten && before != after);
            }
        }
        assert!(rewritten_count > 0, "lengths of the same rounded size must occur");
    }

    #[test]
    fn a_slot_gives_its_block_back() {
        let slot = Block::new(b"name", b"value", None).into_slot();
        // SAFETY: the slot is a block's, which is dropped once, below, after this borrow.
        assert_eq!(unsafe { Block::field_of(slot) }.value, b"value");
        // SAFETY: nothing else was made of the slot.
        drop(unsafe { Block::from_slot(slot) });
    }
}
