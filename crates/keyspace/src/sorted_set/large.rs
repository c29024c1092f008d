//! A large sorted set: a [`Tree`] in order and a [`Table`] by member, over [`Element`]s that both name and neither owns.
//!
//! A member with 14 bytes takes 32 for its block, 14 in the table and 18 to 20 in the tree.
//!
//! Invariants: table and tree hold the same slots, each a live block that this set owns; the table has it under the hash
//! of its member, the tree at its place with the block's score; `block_bytes` sums their blocks.

#![expect(unsafe_code, reason = "turns slots of table and tree back into the elements that this set owns")]

use super::element::Element;
use super::tree::{Item, Tree};
use super::{Direction, Scored};
use crate::hasher::hash_bytes;
use crate::patience;
use crate::table::{Place, Table};
use std::cmp::Ordering;
use std::mem::ManuallyDrop;
use std::ops::Range;

/// See the module's text.
#[derive(Default)]
pub(super) struct Large {
    table: Table,
    tree: Tree,
    block_bytes: usize,
    table_bytes: usize,
    /// Changes since `table_bytes` was measured.
    table_changes: usize,
}

/// What is behind a slot of a table or a tree of this module.
#[inline]
fn scored_of<'a>(slot: u64) -> Scored<'a> {
    // SAFETY: tables and trees are private here and hold live blocks only; callers pass slots they hold, and give the
    // result no longer life than the borrow of the set. Blocks are changed and freed under `&mut Large` only.
    unsafe { Element::scored_of(slot) }
}

fn hash_of(slot: u64) -> u64 {
    hash_bytes(scored_of(slot).member)
}

/// Whether `item` comes before `wanted`. Follows the item's pointer only when scores are equal.
#[inline]
fn is_before(item: &Item, wanted: &Scored<'_>) -> bool {
    match item.score.partial_cmp(&wanted.score).expect("no score is NaN") {
        Ordering::Less => true,
        Ordering::Equal => scored_of(item.slot).member < wanted.member,
        Ordering::Greater => false,
    }
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
        size_of::<Large>() + self.block_bytes + self.table_bytes + self.tree.bytes()
    }

    #[inline]
    #[expect(clippy::unused_self, reason = "the borrow of `self` is what keeps the block")]
    fn scored(&self, slot: u64) -> Scored<'_> {
        scored_of(slot)
    }

    #[inline]
    fn find(&self, member: &[u8]) -> Option<Place> {
        self.table.find(hash_bytes(member), |slot| self.scored(slot).member == member)
    }

    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.find(member).map(|place| self.scored(self.table.get(place)).score)
    }

    pub fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let new = Scored { member, score };
        let hash = hash_bytes(member);
        if let Some(place) = self.table.find(hash, |slot| scored_of(slot).member == member) {
            return Some(self.rescore(self.table.get(place), new));
        }
        let element = Element::new(new);
        self.block_bytes += element.bytes();
        let slot = element.into_slot();
        self.table.insert(hash, slot, hash_of);
        self.table_changed();
        self.tree.insert(Item { score, slot }, |item| is_before(item, &new));
        None
    }

    /// Gives the element behind `slot` the score of `new`, which has the same member, and returns the one it had.
    fn rescore(&mut self, slot: u64, new: Scored<'_>) -> f64 {
        let old = Scored { score: self.scored(slot).score, ..new };
        let rank = self.tree.partition_point(|item| is_before(item, &old));
        let is_between = |before: &Item, after: &Item| is_before(before, &new) && !is_before(after, &new);
        if !self.tree.rescore_at(rank, new.score, is_between) {
            let item = self.tree.remove_at(rank);
            assert_eq!(item.slot, slot, "table and tree must agree");
            self.tree.insert(Item { score: new.score, slot }, |item| is_before(item, &new));
        }
        // SAFETY: the slot is in the table, so its block is live, and ours to change under `&mut self`.
        ManuallyDrop::new(unsafe { Element::from_slot(slot) }).set_score(new.score);
        old.score
    }

    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let place = self.find(member)?;
        let slot = self.table.get(place);
        let old = self.scored(slot);
        let rank = self.tree.partition_point(|item| is_before(item, &old));
        let item = self.tree.remove_at(rank);
        assert_eq!(item.slot, slot, "table and tree must agree");
        self.table.remove(place, hash_of);
        self.table_changed();
        // SAFETY: the slot was in the table and the tree, so its block is live, and it is in neither any more.
        let element = unsafe { Element::from_slot(slot) };
        self.block_bytes -= element.bytes();
        assert!((self.block_bytes == 0) == (self.len() == 0), "an empty set must have no blocks");
        Some(element.scored().score)
    }

    /// Keeps `table_bytes` close. Measuring takes time in proportion to the table's chunks, so it is done once in a
    /// thousandth of the entries: always, while there are few.
    fn table_changed(&mut self) {
        self.table_changes += 1;
        if self.table.len() / 1024 < self.table_changes {
            self.table_bytes = self.table.bytes();
            self.table_changes = 0;
        }
    }

    #[inline]
    pub fn partition_by_score(&self, is_before: impl Fn(f64) -> bool) -> usize {
        self.tree.partition_point(|item| is_before(item.score))
    }

    pub fn partition_by_member(&self, is_before: impl Fn(&[u8]) -> bool) -> usize {
        self.tree.partition_point(|item| is_before(self.scored(item.slot).member))
    }

    /// How many members come before this one, which need not be there.
    pub fn count_before(&self, wanted: &Scored<'_>) -> usize {
        self.tree.partition_point(|item| is_before(item, wanted))
    }

    pub fn at(&self, rank: usize) -> Option<Scored<'_>> {
        (rank < self.len()).then(|| self.scored(self.tree.at(rank).slot))
    }

    /// The members with these ranks, which must exist.
    pub fn walk(&self, ranks: Range<usize>, direction: Direction) -> impl Iterator<Item = Scored<'_>> {
        self.tree.walk(ranks, direction).map(|item| self.scored(item.slot))
    }

    /// One step of a scan, over whole buckets of the table, until `count` members have been seen.
    pub fn scan(&self, cursor: u64, count: usize, mut each: impl FnMut(Scored<'_>)) -> u64 {
        let (mut cursor, mut seen_count) = (cursor, 0);
        loop {
            cursor = self.table.scan(cursor, |slot| {
                seen_count += 1;
                each(self.scored(slot));
            });
            if cursor == 0 || count <= seen_count {
                return cursor;
            }
        }
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.table.each(|slot| {
            patience::before_each();
            // SAFETY: each slot in the table is a live block, is there once, and nobody can look it up any more; a tree
            // drops without looking behind its slots.
            drop(unsafe { Element::from_slot(slot) });
        });
    }
}
