//! A large hash: a [`Table`] of slots, each the [`Block`] of one field.
//!
//! Field expiries are also kept in order, in a set that exists only while some field has one: a hash without
//! field TTLs pays one null pointer for them.
//!
//! Invariants: every slot in `table` is a live block that this hash owns, under the hash of its name; `expiries`
//! holds (expiry, slot) of exactly the fields that have one; `block_bytes` sums their blocks.

#![expect(unsafe_code, reason = "turns the table's slots back into the blocks that this hash owns")]

use super::Field;
use super::block::Block;
use crate::hasher::hash_bytes;
use crate::table::{CURSOR_BITS, Place, Table};
use base::TimeMs;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::mem::ManuallyDrop;

/// What an entry of the expiry set takes: 16 bytes in nodes that are two thirds full, and a share of the rest.
const EXPIRY_ENTRY_BYTES: usize = 26;
/// Entries of a window among which a sample is drawn; fuller windows are rare.
const WINDOW_COUNT_MAX: usize = 32;
/// Windows looked at for one sample. Each holds a few of `WINDOW_COUNT_MAX` at least, so one in ten is a hit.
const SAMPLE_TRIES_MAX: usize = 256;

type Expiries = BTreeSet<(TimeMs, u64)>;

/// See the module's text.
#[derive(Default)]
pub(super) struct Large {
    table: Table,
    block_bytes: usize,
    table_bytes: usize,
    /// Changes since `table_bytes` was measured.
    table_changes: usize,
    expiries: Option<Box<Expiries>>,
}

/// The hash behind a slot of a table of this module.
fn hash_of(slot: u64) -> u64 {
    // SAFETY: tables are private here, call this for slots they hold, and hold live blocks only.
    hash_bytes(unsafe { Block::field_of(slot) }.name)
}

impl Large {
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Heap bytes; those of the table as last measured, within a thousandth of its entries ago.
    pub fn bytes(&self) -> usize {
        let expiries = self.expiries.as_ref().map_or(0, |set| size_of::<Expiries>() + set.len() * EXPIRY_ENTRY_BYTES);
        size_of::<Large>() + self.block_bytes + self.table_bytes + expiries
    }

    #[inline]
    #[expect(clippy::unused_self, reason = "the borrow of `self` is what keeps the block")]
    fn field(&self, slot: u64) -> Field<'_> {
        // SAFETY: callers pass slots of `table` or `expiries`, which name live blocks; blocks are changed and
        // freed under `&mut self` only.
        unsafe { Block::field_of(slot) }
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Option<Place> {
        self.table.find(hash_bytes(name), |slot| self.field(slot).name == name)
    }

    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<Field<'_>> {
        self.find(name).map(|place| self.field(self.table.get(place)))
    }

    /// Sets a field and says whether it is new.
    pub fn set(&mut self, name: &[u8], value: &[u8], expires: Option<TimeMs>) -> bool {
        let found = self.find(name);
        match found {
            Some(place) => self.replace(place, value, expires),
            None => self.insert(name, value, expires),
        }
        found.is_none()
    }

    fn insert(&mut self, name: &[u8], value: &[u8], expires: Option<TimeMs>) {
        let block = Block::new(name, value, expires);
        self.block_bytes += block.bytes();
        let slot = block.into_slot();
        self.table.insert(hash_bytes(name), slot, hash_of);
        self.table_changed();
        self.schedule(None, expires.map(|expires| (expires, slot)));
    }

    fn replace(&mut self, place: Place, value: &[u8], expires: Option<TimeMs>) {
        let slot = self.table.get(place);
        let before = self.field(slot).expires.map(|expires| (expires, slot));
        // SAFETY: the slot is in the table, so its block is live, and ours to change under `&mut self`.
        let mut block = ManuallyDrop::new(unsafe { Block::from_slot(slot) });
        let slot_new = if block.rewrite(value, expires) { slot } else { self.reallocate(place, value, expires) };
        self.schedule(before, expires.map(|expires| (expires, slot_new)));
    }

    /// Puts a new block of the same name into the table at `place`, frees the old one, returns the new slot.
    fn reallocate(&mut self, place: Place, value: &[u8], expires: Option<TimeMs>) -> u64 {
        // SAFETY: the slot is in the table, so its block is live; it leaves the table below, before the drop.
        let old = unsafe { Block::from_slot(self.table.get(place)) };
        let new = Block::new(old.field().name, value, expires);
        self.block_bytes = self.block_bytes + new.bytes() - old.bytes();
        let slot = new.into_slot();
        self.table.set(place, slot);
        slot
    }

    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(place) = self.find(name) else { return false };
        let slot = self.table.remove(place, hash_of);
        // SAFETY: the slot was in the table, so its block is live, and it is there no more.
        let block = unsafe { Block::from_slot(slot) };
        self.block_bytes -= block.bytes();
        self.table_changed();
        self.schedule(block.field().expires.map(|expires| (expires, slot)), None);
        assert!((self.block_bytes == 0) == (self.len() == 0), "an empty hash must have no blocks");
        true
    }

    pub fn set_expiry(&mut self, name: &[u8], expires: Option<TimeMs>) -> bool {
        let Some(place) = self.find(name) else { return false };
        let field = self.field(self.table.get(place));
        if field.expires != expires {
            let value = SmallVec::<[u8; 64]>::from_slice(field.value);
            self.replace(place, &value, expires);
        }
        true
    }

    /// Moves a field's place in the expiry set.
    fn schedule(&mut self, before: Option<(TimeMs, u64)>, after: Option<(TimeMs, u64)>) {
        if before == after {
            return;
        }
        let expiries = self.expiries.get_or_insert_default();
        if let Some(before) = before {
            assert!(expiries.remove(&before), "a field's expiry must be scheduled");
        }
        expiries.extend(after);
        if expiries.is_empty() {
            self.expiries = None;
        }
    }

    /// Keeps `table_bytes` close. Measuring takes time in proportion to the table's chunks, so it is done once
    /// in a thousandth of the entries: always, while there are few.
    fn table_changed(&mut self) {
        self.table_changes += 1;
        if self.table.len() / 1024 < self.table_changes {
            self.table_bytes = self.table.bytes();
            self.table_changes = 0;
        }
    }

    pub fn has_expiries(&self) -> bool {
        self.expiries.is_some()
    }

    pub fn next_expiry(&self) -> Option<TimeMs> {
        self.expiries.as_ref()?.first().map(|(expires, _)| *expires)
    }

    pub fn expired(&self, now: TimeMs) -> impl Iterator<Item = Field<'_>> {
        let due = self.expiries.as_ref().map(|expiries| expiries.range(..=(now, u64::MAX)));
        due.into_iter().flatten().map(|(_, slot)| self.field(*slot))
    }

    pub fn fields(&self) -> Fields<'_> {
        Fields { large: self, cursor: 0, done: self.table.is_empty(), slots: SmallVec::new() }
    }

    /// One step of a scan, over whole buckets, until `count` fields have been seen.
    pub fn scan(&self, cursor: u64, count: usize, mut each: impl FnMut(Field<'_>)) -> u64 {
        let (mut cursor, mut seen_count) = (cursor, 0);
        loop {
            cursor = self.table.scan(cursor, |slot| {
                seen_count += 1;
                each(self.field(slot));
            });
            if cursor == 0 || count <= seen_count {
                return cursor;
            }
        }
    }

    /// Each field equally likely.
    ///
    /// Buckets of a linear-hashed table cover hash ranges of two widths and hold a varying count, so a random
    /// entry of a random bucket would be far from fair. Windows of the hash space of the greater width are all
    /// alike: take one at random, then an entry at random *as if it held `WINDOW_COUNT_MAX`*, and try again if
    /// there is none.
    ///
    /// # Cost
    /// Three to ten windows of one or two buckets.
    pub fn sample(&self, random: u64) -> Option<Field<'_>> {
        let space = 1u64 << CURSOR_BITS;
        // Bucket 0 is always among the narrowest, and half as wide as the widest at least.
        let narrow = match self.table.scan(0, |_| ()) {
            0 => space,
            next => next,
        };
        let wide = (2 * narrow).min(space);
        let pick_max = if wide == space { 1 } else { WINDOW_COUNT_MAX };
        let mut random = random;
        for _ in 0..SAMPLE_TRIES_MAX {
            random = mixed(random);
            let slots = self.window(random & (space - wide), wide);
            let pick = mixed(!random) as usize;
            // The lower bits say whether there is an entry, the upper ones which: a window that holds more than
            // `WINDOW_COUNT_MAX` then still gives any of them.
            if pick % pick_max < slots.len() {
                return Some(self.field(slots[(pick >> 32) % slots.len()]));
            }
        }
        self.table.sample(random).map(|slot| self.field(slot))
    }

    /// The slots between two cursors.
    fn window(&self, start: u64, width: u64) -> SmallVec<[u64; WINDOW_COUNT_MAX]> {
        let (mut slots, mut cursor) = (SmallVec::new(), start);
        loop {
            cursor = self.table.scan(cursor, |slot| slots.push(slot));
            if cursor == 0 || start + width <= cursor {
                return slots;
            }
        }
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        // SAFETY: each slot in the table is a live block, is there once, and nobody can look it up any more.
        self.table.each(|slot| drop(unsafe { Block::from_slot(slot) }));
    }
}

/// SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators", 2014).
fn mixed(state: u64) -> u64 {
    let mut bits = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// All fields, in no order.
pub(super) struct Fields<'a> {
    large: &'a Large,
    cursor: u64,
    done: bool,
    /// What is left of the bucket in hand.
    slots: SmallVec<[u64; 16]>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            if let Some(slot) = self.slots.pop() {
                return Some(self.large.field(slot));
            }
            if self.done {
                return None;
            }
            self.cursor = self.large.table.scan(self.cursor, |slot| self.slots.push(slot));
            self.done = self.cursor == 0;
        }
    }
}
