//! A large set: a [`Table`] of slots, each a short member itself or the [`Block`] of a longer one.
//!
//! Invariants: every slot in `table` stands under the hash of its member, and those that are addresses are live blocks
//! that this set owns; `block_bytes` sums them.

#![expect(unsafe_code, reason = "turns the table's slots back into the blocks that this set owns")]

use super::Member;
use super::slot::{Inlined, inline, inlined, is_address};
use crate::hash::block::Block;
use crate::hasher::hash_bytes;
use crate::packed::same_name;
use crate::patience;
use crate::table::{Place, Slots, Table, TableBytes};

/// See the module's text.
#[derive(Default)]
pub(super) struct Large {
    table: Table,
    block_bytes: usize,
    table_bytes: TableBytes,
}

/// The member in a slot.
///
/// # Safety
/// The slot came from `slot_of`, and its block, if it is one's address, stays for `'a`.
#[inline]
unsafe fn member_of<'a>(slot: u64) -> Member<'a> {
    match inlined(slot) {
        // SAFETY: the caller says that the block is live, and stays so for 'a.
        None => Member::Bytes(unsafe { Block::field_of(slot) }.name),
        Some(Inlined::Int(text)) => Member::Number(text),
        Some(Inlined::Short(bytes, count)) => Member::Short(bytes, count),
    }
}

/// The hash behind a slot of a table of this module.
fn hash_of(slot: u64) -> u64 {
    // SAFETY: tables are private here, call this for slots they hold, and hold live blocks only.
    hash_bytes(&unsafe { member_of(slot) })
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
        size_of::<Large>() + self.block_bytes + self.table_bytes.get()
    }

    #[inline]
    #[expect(clippy::unused_self, reason = "the borrow of `self` is what keeps the block")]
    fn member(&self, slot: u64) -> Member<'_> {
        // SAFETY: callers pass slots of `table`; blocks are freed under `&mut self` only.
        unsafe { member_of(slot) }
    }

    #[inline]
    fn find(&self, hash: u64, member: &[u8]) -> Option<Place> {
        match inline(member) {
            Some(wanted) => self.table.find(hash, |slot| slot == wanted),
            None => self.table.find(hash, |slot| is_address(slot) && same_name(&self.member(slot), member)),
        }
    }

    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        self.find(hash_bytes(member), member).is_some()
    }

    /// Adds a member and says whether it is new.
    pub fn add(&mut self, member: &[u8]) -> bool {
        let hash = hash_bytes(member);
        if self.find(hash, member).is_some() {
            return false;
        }
        let slot = inline(member).unwrap_or_else(|| {
            let block = Block::new(member, b"", None);
            self.block_bytes += block.bytes();
            let slot = block.into_slot();
            assert!(is_address(slot), "the upper byte of an address is free");
            slot
        });
        self.table.insert(hash, slot, hash_of);
        self.table_bytes.note_change(&self.table);
        true
    }

    /// Removes a member and says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let Some(place) = self.find(hash_bytes(member), member) else { return false };
        let slot = self.table.remove(place, hash_of);
        if is_address(slot) {
            // SAFETY: the slot was in the table, so its block is live, and it is there no more.
            let block = unsafe { Block::from_slot(slot) };
            self.block_bytes -= block.bytes();
        }
        self.table_bytes.note_change(&self.table);
        true
    }

    pub fn members(&self) -> Members<'_> {
        Members { large: self, slots: self.table.slots() }
    }

    /// One step of a scan, over whole buckets, until `count` members have been seen.
    pub fn scan(&self, cursor: u64, count: usize, mut each: impl FnMut(Member<'_>)) -> u64 {
        self.table.scan_some(cursor, count, |slot| each(self.member(slot)))
    }

    /// Each member equally likely.
    pub fn sample(&self, random: u64) -> Option<Member<'_>> {
        self.table.sample_evenly(random).map(|slot| self.member(slot))
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.table.each(|slot| {
            patience::before_each();
            if is_address(slot) {
                // SAFETY: the slot is in the table once, so its block is live, and nobody can look it up any more.
                drop(unsafe { Block::from_slot(slot) });
            }
        });
    }
}

/// All members, in no order.
pub(super) struct Members<'a> {
    large: &'a Large,
    slots: Slots<'a>,
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        self.slots.next().map(|slot| self.large.member(slot))
    }
}
