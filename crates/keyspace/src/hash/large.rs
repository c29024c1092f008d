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
use crate::patience;
use crate::table::{Place, Slots, Table, TableBytes};
use base::TimeMs;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::mem::ManuallyDrop;

/// What an entry of the expiry set takes: 16 bytes in nodes that are two thirds full, and a share of the rest.
const EXPIRY_ENTRY_BYTES: usize = 26;

type Expiries = BTreeSet<(TimeMs, u64)>;

/// See the module's text.
#[derive(Default)]
pub(super) struct Large {
    table: Table,
    block_bytes: usize,
    table_bytes: TableBytes,
    expiries: Option<Box<Expiries>>,
}

/// The hash behind a slot of a table of this module.
fn hash_of(slot: u64) -> u64 {
    // SAFETY: tables are private here, call this for slots they hold, and hold live blocks only.
    hash_bytes(unsafe { Block::field_of(slot) }.name)
}

impl Large {
    /// The table, for prefetching.
    #[inline]
    pub fn table(&self) -> &Table {
        &self.table
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Heap bytes; those of the table as last measured, within a thousandth of its entries ago.
    pub fn bytes(&self) -> usize {
        let expiries = self.expiries.as_ref().map_or(0, |set| size_of::<Expiries>() + set.len() * EXPIRY_ENTRY_BYTES);
        size_of::<Large>() + self.block_bytes + self.table_bytes.get() + expiries
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
        self.table_bytes.note_change(&self.table);
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
        self.table_bytes.note_change(&self.table);
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
        Fields { large: self, slots: self.table.slots() }
    }

    /// One step of a scan, over whole buckets, until `count` fields have been seen.
    pub fn scan(&self, cursor: u64, count: usize, mut each: impl FnMut(Field<'_>)) -> u64 {
        self.table.scan_some(cursor, count, |slot| each(self.field(slot)))
    }

    /// Each field equally likely.
    pub fn sample(&self, random: u64) -> Option<Field<'_>> {
        self.table.sample_evenly(random).map(|slot| self.field(slot))
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.table.each(|slot| {
            patience::before_each();
            // SAFETY: each slot in the table is a live block, is there once, and nobody can look it up any more.
            drop(unsafe { Block::from_slot(slot) });
        });
    }
}

/// All fields, in no order.
pub(super) struct Fields<'a> {
    large: &'a Large,
    slots: Slots<'a>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        self.slots.next().map(|slot| self.large.field(slot))
    }
}
