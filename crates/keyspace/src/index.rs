//! The keys of one database in one partition: a table that owns its entries.
//!
//! Deliberately not here: effects, expiry queues, versions of batches; see `partition.rs`.
//!
//! Invariants: every slot in the table came from `build` here and is freed exactly once, by `remove`, `replace` or
//! drop; its block is of this index's slabs, which move with the index to whatever thread it is freed on; entries
//! are reached only through `&self` or `&mut self`, so Rust's borrows of the index are the borrows of its entries;
//! `recent` names a place of the table as it is now with the slot that is there now, or no place at all.

#![expect(unsafe_code, reason = "slots are owning pointers packed with an access clock")]

use crate::entry::{Entry, EntryMut, EntryRef, Meta, Payload, Slot, Stored};
use crate::hasher::hash_bytes;
use crate::patience;
use crate::slab::{self, Slabs};
use crate::table::{Place, Table};
use crate::value::Value;
use base::name::is_same_name;
use std::cell::Cell;

/// See the module's text.
#[derive(Default)]
pub struct Index {
    table: Table,
    /// What was found last: a command looks its key up, and so does its effect.
    recent: Cell<Recent>,
    slabs: Slabs,
    /// Keys that have an end of life.
    expiring_count: usize,
    /// Keys whose value lies in the journal only.
    spilled_count: usize,
    /// Keys that own memory outside of the slabs.
    apart_count: usize,
    /// Heap bytes of the blocks and the boxed values behind them.
    value_bytes: usize,
}

/// An entry that was found: the hash of its key, its place, and the slot there.
#[derive(Clone, Copy)]
struct Recent {
    hash: u64,
    place: Place,
    slot: Slot,
}

impl Recent {
    const NONE: Recent = Recent { hash: 0, place: Place::NOWHERE, slot: Slot(0) };
}

impl Default for Recent {
    fn default() -> Self {
        Recent::NONE
    }
}

fn weight(entry: &Entry) -> usize {
    let boxed = match entry.stored() {
        Stored::Boxed(value) => value.bytes(),
        Stored::Inline(_) | Stored::Int(_) | Stored::Spilled => 0,
    };
    slab::taken_bytes(entry.block_bytes()) + boxed
}

fn is_spilled(entry: &Entry) -> bool {
    matches!(entry.stored(), Stored::Spilled)
}

fn owns_apart(entry: &Entry) -> bool {
    matches!(entry.stored(), Stored::Boxed(_)) || slab::is_apart(entry.block_bytes())
}

impl EntryRef<'_> {
    /// Heap bytes that the key, the value and what frames them take; its place in the table is not among them.
    pub fn heap_bytes(&self) -> usize {
        weight(self)
    }
}

fn hash_of_slot(slot: u64) -> u64 {
    // SAFETY: called by the table for slots it holds, while the index is borrowed.
    hash_bytes(unsafe { Slot(slot).entry() }.key())
}

impl Index {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Number of keys that have an end of life.
    pub fn expiring_count(&self) -> usize {
        self.expiring_count
    }

    /// Number of keys whose value lies in the journal only.
    pub fn spilled_count(&self) -> usize {
        self.spilled_count
    }

    /// Heap bytes of blocks and boxed values.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Heap bytes of the table.
    pub fn table_bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Memory that the slabs of the blocks hold, used or not.
    pub fn slab_bytes(&self) -> usize {
        self.slabs.held_bytes()
    }

    /// Memory that the slabs hold and no entry uses.
    pub fn idle_bytes(&self) -> usize {
        self.slabs.idle_bytes()
    }

    /// Moves the entries of one slab that is little used into others, which gives its memory back. Returns whether
    /// there was one. Nothing that can be seen of an entry changes but its address.
    ///
    /// # Cost
    /// A lookup and a copy for each of at most dozens of entries, hundreds where they are tiny.
    pub fn compact(&mut self) -> bool {
        let Some(blocks) = self.slabs.empty_one() else { return false };
        for block in blocks {
            // SAFETY: blocks in use are those of entries in the table.
            let entry = unsafe { Slot(block.as_ptr() as u64).into_entry() };
            let is_it = |slot: u64| Slot(slot).address() == block.as_ptr();
            let place = self.table.find(hash_bytes(entry.key()), is_it).expect("a block in use is an entry's");
            let block_bytes = entry.block_bytes();
            let copy = self.slabs.alloc(block_bytes);
            // SAFETY: the copy is as long, of another block, and the table forgets the old one before it is freed.
            unsafe {
                std::ptr::copy_nonoverlapping(block.as_ptr(), copy.as_ptr(), block_bytes);
                self.set_slot(place, self.slot(place).moved_to(copy));
                self.slabs.free(block, block_bytes);
            }
        }
        true
    }

    /// The table, for scans and prefetching.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Where `key`, whose hash is `hash`, is.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        self.find_entry(hash, key).map(|(place, _)| place)
    }

    /// As [`Index::find`], with the entry.
    #[inline]
    pub fn find_entry(&self, hash: u64, key: &[u8]) -> Option<(Place, EntryRef<'_>)> {
        let recent = self.recent.get();
        if recent.hash == hash && recent.place != Place::NOWHERE {
            let entry = self.entry(recent.place);
            if is_same_name(entry.key(), key) {
                return Some((recent.place, entry));
            }
        }
        self.look_up(hash, key)
    }

    fn look_up(&self, hash: u64, key: &[u8]) -> Option<(Place, EntryRef<'_>)> {
        // SAFETY: slots in the table are live; `&self` keeps them so.
        let (place, slot) =
            self.table.find_slot(hash, |slot| is_same_name(unsafe { Slot(slot).entry() }.key(), key))?;
        let slot = Slot(slot);
        self.recent.set(Recent { hash, place, slot });
        // SAFETY: as above.
        Some((place, unsafe { slot.entry() }))
    }

    /// The slot at `place`.
    #[inline]
    fn slot(&self, place: Place) -> Slot {
        let recent = self.recent.get();
        let slot = if recent.place == place { recent.slot } else { Slot(self.table.get(place)) };
        debug_assert_eq!(slot.0, self.table.get(place), "what is remembered is what the table holds");
        slot
    }

    /// Replaces the slot at `place`. Nothing else does while the entry stays where it is: `insert` and `remove` move
    /// entries, and see to `recent` themselves.
    #[inline]
    fn set_slot(&mut self, place: Place, slot: Slot) {
        self.table.set(place, slot.0);
        let recent = self.recent.get_mut();
        if recent.place == place {
            recent.slot = slot;
        }
    }

    /// The entry at `place`.
    #[inline]
    pub fn entry(&self, place: Place) -> EntryRef<'_> {
        // SAFETY: as in `look_up`.
        unsafe { self.slot(place).entry() }
    }

    /// The entry behind a slot that a scan of this index's table gave during the same borrow.
    ///
    /// # Safety
    /// `slot` came from this index's table, and the index was not changed since.
    #[inline]
    pub unsafe fn entry_of_slot(&self, slot: u64) -> EntryRef<'_> {
        // SAFETY: the caller vouches.
        unsafe { Slot(slot).entry() }
    }

    /// Calls `change` on the boxed value at `place`, whose weight is accounted anew.
    ///
    /// # Panics
    /// When the value is not boxed.
    #[inline]
    pub fn change_value<R>(&mut self, place: Place, change: impl FnOnce(&mut Value) -> R) -> R {
        // SAFETY: as in `look_up`, and `&mut self` makes it the only reference.
        let mut entry = unsafe { EntryMut::new(self.slot(place)) };
        let value = entry.value_mut().expect("a value is in memory before it is changed");
        let before = value.bytes();
        let result = change(value);
        self.value_bytes = self.value_bytes + value.bytes() - before;
        result
    }

    /// Calls `change` on the entry at `place`. It must leave the weight alone: version, home, same-size overwrites.
    #[inline]
    pub fn stamp<R>(&mut self, place: Place, change: impl FnOnce(&mut Entry) -> R) -> R {
        // SAFETY: as in `change_value`.
        let mut entry = unsafe { EntryMut::new(self.slot(place)) };
        change(&mut entry)
    }

    /// As [`Index::stamp`] for a change that may come to nothing (`None`); else the access clock is set, too.
    #[inline]
    pub fn rewrite<R>(&mut self, place: Place, access: u32, change: impl FnOnce(&mut Entry) -> Option<R>) -> Option<R> {
        let slot = self.slot(place);
        // SAFETY: as in `change_value`.
        let mut entry = unsafe { EntryMut::new(slot) };
        let result = change(&mut entry)?;
        // SAFETY: as in `change_value`; the entry is not used again.
        let touched = unsafe { slot.with_access(access) };
        if touched != slot {
            self.set_slot(place, touched);
        }
        Some(result)
    }

    /// Sets the access clock of the entry at `place`.
    #[inline]
    pub fn touch(&mut self, place: Place, access: u32) {
        let slot = self.slot(place);
        // SAFETY: as in `change_value`.
        let touched = unsafe { slot.with_access(access) };
        if touched != slot {
            self.set_slot(place, touched);
        }
    }

    /// Makes an entry and counts it.
    #[inline]
    fn build(&mut self, key: &[u8], payload: Payload<'_>, meta: &Meta) -> Slot {
        // SAFETY: the block is as large as asked for, and the slabs give it to nobody else until it is freed.
        let entry = unsafe { Entry::build(key, payload, meta, |block_bytes| self.slabs.alloc(block_bytes)) };
        self.expiring_count += usize::from(meta.expires.is_some());
        self.spilled_count += usize::from(is_spilled(&entry));
        self.apart_count += usize::from(owns_apart(&entry));
        self.value_bytes += weight(&entry);
        Slot::own(entry, meta.access)
    }

    /// Takes an entry out of the counts, before its value is taken out or it is freed.
    #[inline]
    fn discount(&mut self, entry: &Entry) {
        self.expiring_count -= usize::from(entry.expires().is_some());
        self.spilled_count -= usize::from(is_spilled(entry));
        self.apart_count -= usize::from(owns_apart(entry));
        self.value_bytes -= weight(entry);
    }

    /// Frees an entry's block and gives its boxed value, if it has one, to the caller.
    ///
    /// # Safety
    /// `entry` was built here, the table does not hold it any more, and nobody uses it again.
    #[inline]
    unsafe fn free(&mut self, mut entry: Entry) -> Option<Box<Value>> {
        self.discount(&entry);
        let block_bytes = entry.block_bytes();
        // SAFETY: the caller vouches; overwriting in place keeps a block's size.
        unsafe {
            let value = entry.take_boxed();
            self.slabs.free(entry.block(), block_bytes);
            value
        }
    }

    /// Adds an entry for a key that is known to be absent.
    #[inline]
    pub fn insert(&mut self, hash: u64, key: &[u8], payload: Payload<'_>, meta: &Meta) -> Place {
        let slot = self.build(key, payload, meta);
        let place = self.table.insert(hash, slot.0, hash_of_slot);
        self.recent.set(Recent { hash, place, slot });
        place
    }

    /// Gives the key at `place` another value and other properties. Returns the boxed value it had, if any.
    ///
    /// # Cost
    /// One block made, one freed.
    pub fn replace(&mut self, place: Place, payload: Payload<'_>, meta: &Meta) -> Option<Box<Value>> {
        // SAFETY: the slot is overwritten below, before the entry is freed.
        let old = unsafe { self.slot(place).entry() };
        let slot = self.build(old.key(), payload, meta);
        self.set_slot(place, slot);
        // SAFETY: the table has forgotten the slot.
        unsafe { self.free(old.into_entry()) }
    }

    /// Moves the entry at `place` into a block shaped for `meta`: with or without an expiry or a revision.
    ///
    /// # Cost
    /// As [`Index::replace`], and a copy of an inline value; a boxed value only changes its owner.
    pub fn reshape(&mut self, place: Place, meta: &Meta) {
        let value_bytes = self.entry(place).value_bytes() as u32;
        self.rebuild(place, value_bytes, meta);
    }

    /// Notes that the image of the boxed value at `place` has another length.
    pub fn reimage(&mut self, place: Place, image_bytes: u32) {
        let entry = self.entry(place);
        assert!(matches!(entry.stored(), Stored::Boxed(_)), "only boxed values have images apart from themselves");
        let meta = entry.meta();
        self.rebuild(place, image_bytes, &meta);
    }

    /// Moves the entry at `place` into another block. `image_bytes` is what it says of a value that is not inline.
    fn rebuild(&mut self, place: Place, image_bytes: u32, meta: &Meta) {
        // SAFETY: the slot is overwritten below, before the entry is freed.
        let old = unsafe { self.slot(place).entry() };
        let (key, kind) = (old.key(), old.kind());
        let payload = match old.stored() {
            Stored::Inline(bytes) => Payload::Inline(bytes),
            Stored::Int(number) => Payload::Int(number),
            Stored::Spilled => Payload::Spilled { kind, value_bytes: image_bytes },
            Stored::Boxed(_) => return self.rebuild_boxed(place, image_bytes, meta),
        };
        let slot = self.build(key, payload, meta);
        self.set_slot(place, slot);
        // SAFETY: the table has forgotten the slot, and the value was copied.
        unsafe { self.free(old.into_entry()) };
    }

    fn rebuild_boxed(&mut self, place: Place, image_bytes: u32, meta: &Meta) {
        // SAFETY: the slot is overwritten below, before the block is freed.
        let mut old = unsafe { self.slot(place).into_entry() };
        self.discount(&old);
        let block_bytes = old.block_bytes();
        // SAFETY: of the old entry only its key is used from here on, until its block is freed, once.
        unsafe {
            let value = old.take_boxed().expect("the caller looked at the form");
            let slot = self.build(old.key(), Payload::Boxed { value, image_bytes }, meta);
            self.set_slot(place, slot);
            self.slabs.free(old.block(), block_bytes);
        }
    }

    /// Takes the entry at `place` out. Returns its boxed value, if it has one.
    pub fn remove(&mut self, place: Place) -> Option<Box<Value>> {
        self.recent.set(Recent::NONE);
        let slot = self.table.remove(place, hash_of_slot);
        // SAFETY: the table no longer holds the slot.
        unsafe { self.free(Slot(slot).into_entry()) }
    }

    /// Calls `each` for the entries of the bucket at `cursor`; see [`Table::scan`].
    pub fn scan(&self, cursor: u64, mut each: impl FnMut(EntryRef<'_>)) -> u64 {
        // SAFETY: as in `look_up`.
        self.table.scan(cursor, |slot| each(unsafe { Slot(slot).entry() }))
    }

    /// Calls `each` for every entry, in no order.
    pub fn each(&self, mut each: impl FnMut(EntryRef<'_>)) {
        // SAFETY: as in `look_up`.
        self.table.each(|slot| each(unsafe { Slot(slot).entry() }));
    }

    /// An entry picked by `random`; see [`Table::sample`].
    pub fn sample(&self, random: u64) -> Option<EntryRef<'_>> {
        // SAFETY: as in `look_up`.
        self.table.sample(random).map(|slot| unsafe { Slot(slot).entry() })
    }

    /// Where the entry is of which only the hash and a property are known (as the expiry queue knows them).
    pub fn find_where(&self, hash: u64, is_it: impl Fn(&EntryRef<'_>) -> bool) -> Option<Place> {
        // SAFETY: as in `look_up`.
        self.table.find(hash, |slot| {
            let entry = unsafe { Slot(slot).entry() };
            is_it(&entry) && hash_bytes(entry.key()) == hash
        })
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if self.apart_count == 0 {
            return; // The slabs go as they are, without a look at the blocks in them.
        }
        let table = std::mem::take(&mut self.table);
        table.each(|slot| {
            patience::before_each();
            // SAFETY: each slot is freed once, and the table is not used again.
            drop(unsafe { self.free(Slot(slot).into_entry()) });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Home;
    use base::{SharedBytes, TimeMs, Version};

    fn meta(expires: Option<TimeMs>, access: u32) -> Meta {
        Meta { version: Version(1), home: Home::NONE, expires, revision: 1, access }
    }

    fn boxed(bytes: usize) -> Payload<'static> {
        Payload::Boxed { value: Box::new(Value::Bytes(SharedBytes::from(vec![7; bytes]))), image_bytes: 0 }
    }

    fn put(index: &mut Index, key: &[u8], payload: Payload<'_>) -> Place {
        index.insert(hash_bytes(key), key, payload, &meta(None, 0))
    }

    fn totals(index: &Index) -> [usize; 5] {
        [index.len(), index.expiring_count(), index.apart_count, index.value_bytes(), index.slab_bytes()]
    }

    #[test]
    fn counts_and_weights_return_to_zero() {
        let mut index = Index::default();
        for number in 0..5_000u32 {
            let key = number.to_le_bytes();
            let expires = (number % 3 == 0).then_some(TimeMs(1));
            index.insert(hash_bytes(&key), &key, Payload::Inline(b"value"), &meta(expires, number));
        }
        assert_eq!(index.expiring_count(), 1_667);
        assert!(index.value_bytes() <= index.slab_bytes());
        for number in 0..5_000u32 {
            let key = number.to_le_bytes();
            let place = index.find(hash_bytes(&key), &key).expect("present");
            assert_eq!(index.entry(place).access(), number);
            assert!(index.remove(place).is_none());
        }
        assert_eq!(totals(&index), [0; 5]);
    }

    #[test]
    fn a_key_keeps_its_name_and_gives_its_boxed_value_up_whatever_replaces_it() {
        let mut index = Index::default();
        let place = put(&mut index, b"key", boxed(10));
        for bytes in [0, 5, 300, 3_000, 100_000] {
            let value = vec![b'v'; bytes];
            let old = index.replace(place, Payload::Inline(&value), &meta(None, 1));
            assert!(old.is_some());
            assert!(index.replace(place, boxed(bytes), &meta(None, 2)).is_none());
            index.reimage(place, bytes as u32);
            index.reshape(place, &Meta { revision: 7, expires: Some(TimeMs(9)), ..meta(None, 3) });
            let entry = index.entry(place);
            assert_eq!((entry.key(), entry.value_bytes(), entry.revision()), (&b"key"[..], bytes, 7));
            assert!(matches!(entry.stored(), Stored::Boxed(Value::Bytes(value)) if value.len() == bytes));
        }
        assert_eq!((index.len(), index.expiring_count(), index.apart_count), (1, 1, 1));
        assert!(index.remove(place).is_some());
        assert_eq!(totals(&index), [0; 5]);
    }

    #[test]
    fn what_was_found_last_is_found_again_wherever_it_is_then_and_not_once_it_is_gone() {
        let mut index = Index::default();
        let mut there = std::collections::BTreeSet::new();
        let mut random = 1u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = (random >> 40) as u16 % 600;
            let (name, hash) = (key.to_le_bytes(), hash_bytes(&key.to_le_bytes()));
            let found = index.find(hash, &name);
            assert_eq!(found.is_some(), there.contains(&key));
            match found {
                Some(place) if (random >> 20).is_multiple_of(4) => {
                    index.remove(place);
                    there.remove(&key);
                }
                Some(place) => {
                    assert_eq!(index.entry(place).key(), name);
                    index.replace(place, Payload::Inline(&name), &meta(None, 1));
                }
                None => {
                    put(&mut index, &name, Payload::Int(1));
                    there.insert(key);
                }
            }
            assert_eq!(
                index.find(hash, &name).map(|place| index.entry(place).key().to_vec()).is_some(),
                there.contains(&key)
            );
        }
    }

    #[test]
    fn what_was_found_last_is_found_as_it_is_now() {
        let mut index = Index::default();
        let (key, hash) = (b"key", hash_bytes(b"key"));
        put(&mut index, key, Payload::Inline(b"first"));
        let place = index.find(hash, key).expect("present");
        index.touch(place, 0x7_1234);
        assert_eq!(index.entry(place).access(), 0x7_1234);
        index.replace(place, boxed(100), &meta(None, 5));
        let (same, entry) = index.find_entry(hash, key).expect("present");
        assert_eq!((same, entry.is_boxed(), entry.access()), (place, true, 5));
        index.reshape(place, &meta(Some(TimeMs(9)), 6));
        index.change_value(place, |value| assert!(matches!(value, Value::Bytes(bytes) if bytes.len() == 100)));
        assert_eq!(index.entry(place).expires(), Some(TimeMs(9)));
        // Enough others for buckets to be split, and then so few that their slabs are given back.
        let others = (0..3_000u32).map(u32::to_le_bytes);
        for other in others.clone() {
            index.insert(hash_bytes(&other), &other, boxed(100), &meta(Some(TimeMs(9)), 0));
        }
        let place = index.find(hash, key).expect("present");
        for other in others {
            let there = index.find(hash_bytes(&other), &other).expect("present");
            index.remove(there);
        }
        let place_after = index.find(hash, key).expect("present");
        while index.compact() {
            assert_eq!(index.entry(place_after).key(), key);
        }
        assert_eq!(index.find_entry(hash, key).map(|(_, entry)| entry.access()), Some(6));
        assert_ne!(place, place_after, "folding has moved it");
        index.remove(place_after);
        assert_eq!(index.find(hash, key), None);
        assert_eq!(index.find(0, b""), None, "nothing is where nothing was found");
    }

    #[test]
    fn spilling_leaves_no_more_than_the_keys() {
        let mut index = Index::default();
        let places = (0..2_000u32).map(u32::to_le_bytes);
        for key in places.clone() {
            put(&mut index, &key, Payload::Inline(&[1; 64]));
        }
        let before = index.slab_bytes();
        for key in places {
            let place = index.find(hash_bytes(&key), &key).expect("present");
            index.replace(place, Payload::Spilled { kind: crate::Kind::String, value_bytes: 64 }, &meta(None, 0));
        }
        assert_eq!(index.spilled_count(), index.len());
        assert!(index.slab_bytes() * 3 < before, "{} of {before}", index.slab_bytes());
    }

    #[test]
    fn compacting_moves_entries_and_changes_nothing_else() {
        let mut index = Index::default();
        for number in 0..3_000u32 {
            let key = number.to_le_bytes();
            let payload = if number % 5 == 0 { boxed(100) } else { Payload::Inline(&[number as u8; 64]) };
            index.insert(hash_bytes(&key), &key, payload, &meta((number % 2 == 0).then_some(TimeMs(9)), number));
        }
        let is_kept = |number: &u32| number.wrapping_mul(0x9E37_79B9) >> 30 == 0;
        for number in (0..3_000u32).filter(|number| !is_kept(number)) {
            let key = number.to_le_bytes();
            let place = index.find(hash_bytes(&key), &key).expect("present");
            index.remove(place);
        }
        let (before, idle) = (totals(&index), index.idle_bytes());
        while index.compact() {}
        assert_eq!(totals(&index)[..4], before[..4]);
        assert!(index.idle_bytes() * 3 < idle, "{} of {idle}", index.idle_bytes());
        for number in (0..3_000u32).filter(is_kept) {
            let key = number.to_le_bytes();
            let entry = index.entry(index.find(hash_bytes(&key), &key).expect("present"));
            assert_eq!(entry.meta(), meta((number % 2 == 0).then_some(TimeMs(9)), number));
            match entry.stored() {
                Stored::Boxed(value) => assert!(matches!(value, Value::Bytes(bytes) if **bytes == [7; 100])),
                Stored::Inline(bytes) => assert_eq!(bytes, [number as u8; 64]),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_index_dropped_full_frees_values_of_every_form() {
        let mut index = Index::default();
        put(&mut index, b"inline", Payload::Inline(b"value"));
        put(&mut index, b"integer", Payload::Int(7));
        put(&mut index, b"large", Payload::Inline(&[1; 5_000]));
        put(&mut index, b"boxed", boxed(5_000));
        assert_eq!(index.apart_count, 2);
        drop(index); // Miri and the leak checker say whether anything stayed.
    }
}
