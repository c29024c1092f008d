//! A linear-hashed table of cache-line buckets: the index of a partition, and of every large collection.
//!
//! It stores opaque 64-bit slots (handles to entries owned by the caller) under 64-bit hashes and never looks
//! behind a slot itself: equality and rehashing arrive as closures. Deliberately not a map: no keys, no
//! values, no ownership.
//!
//! ```text
//! bucket, 64 bytes = one cache line
//!   tags  [u8; 8]   0..7: seven hash bits of each slot, or 0 = empty; 7: 1 when slot 6 holds a child's number
//!   slots [u64; 7]
//! ```
//!
//! Growth splits one bucket per few inserts (Litwin, "Linear hashing", VLDB 1980), so nothing is ever
//! rehashed at once, no pause grows with the table, and bytes per entry stay level instead of swinging by two
//! as a doubling table's do. Buckets sit in fixed chunks, so growing never copies them either.
//!
//! Scans walk the hash space in bit-reversed order, as Redis's SCAN does (Pieter Noordhuis, 2012): a cursor is
//! a point in that order, so an entry present throughout a scan is seen at least once however the table grows
//! or shrinks meanwhile.
//!
//! Invariants: a child is hung only behind a full bucket; an entry sits in the chain of the bucket its hash
//! addresses; `count` is the number of non-empty slots.

mod walk;

pub use walk::{Slots, TableBytes};

use crate::chunk::Chunk;

/// Hash bits that may address buckets, and so the width of a scan cursor.
pub const CURSOR_BITS: u32 = 40;

const BUCKET_SLOTS: usize = 7;
const CHILD_SLOT: usize = 6;
const CHUNK_BITS: usize = 7;
const CHUNK_BUCKETS: usize = 1 << CHUNK_BITS;
/// Entries per two main buckets above which one bucket is split. Two in five chains then have a child, and an
/// entry takes 12.9 to 13.9 bytes; at 13 it would be a third and half a byte more.
const FILL_PAIR_MAX: usize = 14;
/// Entries per main bucket below which one is folded back.
const FILL_MIN: usize = 2;

const _: () = assert!(FILL_MIN * 2 < FILL_PAIR_MAX, "a split must not be undone by the next removal");

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u8; 8],
    slots: [u64; BUCKET_SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64, "a bucket must be one cache line");
const _: () = assert!(Chunk::<Bucket>::ITEMS_MAX == CHUNK_BUCKETS, "a chunk must be a slab");

impl Bucket {
    const EMPTY: Bucket = Bucket { tags: [0; 8], slots: [0; BUCKET_SLOTS] };

    fn child(&self) -> Option<u32> {
        (self.tags[7] != 0).then_some(self.slots[CHILD_SLOT] as u32)
    }

    fn slots_used_max(&self) -> usize {
        if self.tags[7] == 0 { BUCKET_SLOTS } else { CHILD_SLOT }
    }

    fn vacancy(&self) -> Option<usize> {
        (0..self.slots_used_max()).find(|slot| self.tags[*slot] == 0)
    }
}

/// Buckets in chunks of fixed size, so that adding one never moves another (but for the first chunk, which
/// starts small because most collections do).
#[derive(Default)]
struct Chunks(Vec<Chunk<Bucket>>);

impl Chunks {
    #[inline(always)]
    fn at(&self, index: usize) -> &Bucket {
        &self.0[index >> CHUNK_BITS][index & (CHUNK_BUCKETS - 1)]
    }

    #[inline(always)]
    fn at_mut(&mut self, index: usize) -> &mut Bucket {
        &mut self.0[index >> CHUNK_BITS][index & (CHUNK_BUCKETS - 1)]
    }

    fn push(&mut self) {
        match self.0.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_BUCKETS => chunk.push(Bucket::EMPTY),
            Some(_) => {
                assert!(self.0.len() < BucketAt::CHILD as usize >> CHUNK_BITS, "a bucket's number has 31 bits");
                self.0.push(Chunk::whole(Bucket::EMPTY));
            }
            None => self.0.push(Chunk::small(Bucket::EMPTY)),
        }
    }

    fn pop(&mut self) {
        let chunk = self.0.last_mut().expect("only a non-empty table folds");
        chunk.pop();
        if chunk.is_empty() {
            self.0.pop();
        }
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(Chunk::bytes).sum::<usize>() + self.0.capacity() * size_of::<Chunk<Bucket>>()
    }
}

/// One of the buckets that nearly every chain consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The one that the hash addresses.
    First,
    /// The child behind it: two in five chains have one, with a fifth of all entries.
    Second,
}

/// Where an entry sits. Valid until the next `insert` or `remove`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    bucket: BucketAt,
    slot: u8,
}

impl Place {
    /// Where no entry ever is.
    pub(crate) const NOWHERE: Place = Place { bucket: BucketAt(u32::MAX), slot: u8::MAX };
}

/// Which bucket: its number among the main ones, or, with the highest bit set, among the children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BucketAt(u32);

impl BucketAt {
    const CHILD: u32 = 1 << 31;

    #[inline(always)]
    fn main(index: usize) -> BucketAt {
        BucketAt(index as u32)
    }

    #[inline(always)]
    fn child(index: u32) -> BucketAt {
        BucketAt(index | Self::CHILD)
    }

    #[inline(always)]
    fn is_child(self) -> bool {
        self.0 & Self::CHILD != 0
    }

    #[inline(always)]
    fn index(self) -> usize {
        (self.0 & !Self::CHILD) as usize
    }
}

/// See the module's text.
#[derive(Default)]
pub struct Table {
    main: Chunks,
    main_count: usize,
    /// Ones in as many low bits as address the buckets: `2 << level` less one, for level ⌊log₂ `main_count`⌋.
    mask: u64,
    children: Chunks,
    children_count: usize,
    children_free: Vec<u32>,
    count: usize,
}

#[inline(always)]
fn tag_of(hash: u64) -> u8 {
    (hash >> 56) as u8 | 1
}

/// The tag bytes of `tags` that equal `tag`, one bit (the byte's highest) each. May report a false match just
/// above a true one (the classic SWAR borrow); callers compare keys anyway.
#[inline(always)]
fn matches(tags: [u8; 8], tag: u8) -> u64 {
    const LOW: u64 = 0x0001_0101_0101_0101; // Byte 7 is the child mark, not a tag.
    let differing = u64::from_le_bytes(tags) ^ (LOW * u64::from(tag));
    differing.wrapping_sub(LOW) & !differing & 0x0080_8080_8080_8080
}

impl Table {
    /// An empty table; allocates nothing.
    pub fn new() -> Self {
        Table::default()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Heap bytes of the table itself, entries behind the slots not counted.
    pub fn bytes(&self) -> usize {
        self.main.bytes() + self.children.bytes() + self.children_free.capacity() * 4
    }

    /// The main bucket that `hash` addresses now.
    #[inline(always)]
    fn address(&self, hash: u64) -> usize {
        let wide = (hash & self.mask) as usize;
        if wide < self.main_count { wide } else { (hash & (self.mask >> 1)) as usize }
    }

    fn set_main_count(&mut self, count: usize) {
        self.main_count = count;
        self.mask = (2 << count.ilog2()) - 1;
    }

    /// How many low hash bits all entries of main bucket `index` share.
    fn depth(&self, index: usize) -> u32 {
        let level = usize::BITS - 1 - self.main_count.leading_zeros();
        let half = 1usize << level;
        if index < self.main_count - half || half <= index { level + 1 } else { level }
    }

    #[inline(always)]
    fn bucket(&self, at: BucketAt) -> &Bucket {
        let chunks = if at.is_child() { &self.children } else { &self.main };
        chunks.at(at.index())
    }

    #[inline(always)]
    fn bucket_mut(&mut self, at: BucketAt) -> &mut Bucket {
        let chunks = if at.is_child() { &mut self.children } else { &mut self.main };
        chunks.at_mut(at.index())
    }

    /// The place of the entry with this hash for which `is_it` holds.
    ///
    /// # Cost
    /// One cache line for nearly every chain, plus one call of `is_it` per matching tag (1 in 128 is chance).
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl FnMut(u64) -> bool) -> Option<Place> {
        self.find_slot(hash, is_it).map(|(place, _)| place)
    }

    /// As [`Table::find`], with the slot.
    #[inline]
    pub fn find_slot(&self, hash: u64, mut is_it: impl FnMut(u64) -> bool) -> Option<(Place, u64)> {
        if self.count == 0 {
            return None;
        }
        let tag = tag_of(hash);
        let mut at = BucketAt::main(self.address(hash));
        loop {
            let bucket = self.bucket(at);
            let mut found = matches(bucket.tags, tag);
            while found != 0 {
                let slot = (found.trailing_zeros() / 8) as usize;
                if slot < bucket.slots_used_max() && bucket.tags[slot] == tag && is_it(bucket.slots[slot]) {
                    return Some((Place { bucket: at, slot: slot as u8 }, bucket.slots[slot]));
                }
                found &= found - 1;
            }
            at = BucketAt::child(bucket.child()?);
        }
    }

    /// The slot at `place`.
    ///
    /// # Panics
    /// When nothing is there any more.
    #[inline]
    pub fn get(&self, place: Place) -> u64 {
        let bucket = self.bucket(place.bucket);
        assert!(bucket.tags[usize::from(place.slot)] != 0, "a place must name a live entry");
        bucket.slots[usize::from(place.slot)]
    }

    /// Replaces the slot at `place` by another handle to an entry of the same hash.
    #[inline]
    pub fn set(&mut self, place: Place, slot: u64) {
        let bucket = self.bucket_mut(place.bucket);
        assert!(bucket.tags[usize::from(place.slot)] != 0, "a place must name a live entry");
        bucket.slots[usize::from(place.slot)] = slot;
    }

    /// The slots of one bucket of `hash`'s chain whose tags match, so that a caller may fetch what lies behind them.
    #[inline]
    pub fn candidates(&self, hash: u64, link: Link) -> impl Iterator<Item = u64> + '_ {
        let tag = tag_of(hash);
        let bucket = self.link_of(hash, link).unwrap_or(&Bucket::EMPTY);
        let mut found = matches(bucket.tags, tag);
        std::iter::from_fn(move || {
            while found != 0 {
                let slot = (found.trailing_zeros() / 8) as usize;
                found &= found - 1;
                if slot < bucket.slots_used_max() && bucket.tags[slot] == tag {
                    return Some(bucket.slots[slot]);
                }
            }
            None
        })
    }

    #[inline]
    fn link_of(&self, hash: u64, link: Link) -> Option<&Bucket> {
        let first = (self.count != 0).then(|| self.main.at(self.address(hash)))?;
        match link {
            Link::First => Some(first),
            Link::Second => first.child().map(|child| self.children.at(child as usize)),
        }
    }

    /// The address of a cache line that [`Table::find`] of `hash` will read, for prefetching. That of the second bucket
    /// takes reading the first.
    #[inline]
    pub fn line_of(&self, hash: u64, link: Link) -> Option<*const u8> {
        self.link_of(hash, link).map(|bucket| std::ptr::from_ref(bucket).cast())
    }

    /// Adds an entry that is known to be absent. `hash_of` gives the hash behind a slot.
    ///
    /// # Cost
    /// Amortised one bucket; at most one bucket is split, which calls `hash_of` for its dozen entries.
    pub fn insert(&mut self, hash: u64, slot: u64, hash_of: impl Fn(u64) -> u64) -> Place {
        if self.main_count == 0 {
            self.main.push();
            self.set_main_count(1);
        }
        if FILL_PAIR_MAX * self.main_count <= 2 * self.count {
            self.split(hash_of);
        }
        self.count += 1;
        self.place(hash, slot)
    }

    fn place(&mut self, hash: u64, slot: u64) -> Place {
        let mut at = BucketAt::main(self.address(hash));
        loop {
            let bucket = self.bucket_mut(at);
            if let Some(vacancy) = bucket.vacancy() {
                bucket.tags[vacancy] = tag_of(hash);
                bucket.slots[vacancy] = slot;
                return Place { bucket: at, slot: vacancy as u8 };
            }
            at = BucketAt::child(match bucket.child() {
                Some(child) => child,
                None => self.add_child(at),
            });
        }
    }

    /// Hangs an empty child behind the full bucket `at`, moving that bucket's last entry into it.
    fn add_child(&mut self, at: BucketAt) -> u32 {
        let child = self.children_free.pop().unwrap_or_else(|| {
            self.children.push();
            self.children_count += 1;
            (self.children_count - 1) as u32
        });
        let bucket = self.bucket_mut(at);
        let (tag, slot) = (bucket.tags[CHILD_SLOT], bucket.slots[CHILD_SLOT]);
        bucket.tags[CHILD_SLOT] = 0;
        bucket.tags[7] = 1;
        bucket.slots[CHILD_SLOT] = u64::from(child);
        let below = self.children.at_mut(child as usize);
        assert!(below.tags == [0; 8], "a new child must be empty");
        below.tags[0] = tag;
        below.slots[0] = slot;
        child
    }

    /// Takes every entry out of the chain of main bucket `index`.
    fn empty_chain(&mut self, index: usize, mut each: impl FnMut(&mut Self, u64)) {
        let mut bucket = std::mem::replace(self.main.at_mut(index), Bucket::EMPTY);
        loop {
            for slot in 0..bucket.slots_used_max() {
                if bucket.tags[slot] != 0 {
                    each(self, bucket.slots[slot]);
                }
            }
            let Some(child) = bucket.child() else { return };
            bucket = std::mem::replace(self.children.at_mut(child as usize), Bucket::EMPTY);
            self.children_free.push(child);
        }
    }

    fn split(&mut self, hash_of: impl Fn(u64) -> u64) {
        let level = usize::BITS - 1 - self.main_count.leading_zeros();
        let old = self.main_count - (1 << level);
        self.main.push();
        self.set_main_count(self.main_count + 1);
        self.rehome(old, hash_of);
    }

    fn fold(&mut self, hash_of: impl Fn(u64) -> u64) {
        // Entries of the last bucket go back to its buddy: the address without its highest bit.
        let last = self.main_count - 1;
        let mut moved: Vec<u64> = Vec::with_capacity(BUCKET_SLOTS);
        self.empty_chain(last, |_, slot| moved.push(slot));
        self.main.pop();
        self.set_main_count(last);
        for slot in moved {
            self.place(hash_of(slot), slot);
        }
    }

    fn rehome(&mut self, index: usize, hash_of: impl Fn(u64) -> u64) {
        let mut moved = [0u64; 4 * BUCKET_SLOTS];
        let mut more: Vec<u64> = Vec::new(); // Only a chain of five buckets or more gets here.
        let mut moved_count = 0;
        self.empty_chain(index, |_, slot| {
            if let Some(free) = moved.get_mut(moved_count) {
                *free = slot;
                moved_count += 1;
            } else {
                more.push(slot);
            }
        });
        for slot in moved[..moved_count].iter().chain(&more) {
            self.place(hash_of(*slot), *slot);
        }
    }

    /// Takes out the entry at `place` and returns its slot. `hash_of` gives the hash behind a slot.
    pub fn remove(&mut self, place: Place, hash_of: impl Fn(u64) -> u64) -> u64 {
        let bucket = self.bucket_mut(place.bucket);
        let index = usize::from(place.slot);
        assert!(bucket.tags[index] != 0, "a place must name a live entry");
        let slot = bucket.slots[index];
        bucket.tags[index] = 0;
        bucket.slots[index] = 0;
        self.count -= 1;
        // A child left empty stays in its chain: the next insert fills it, the next split or fold frees it.
        if self.count < FILL_MIN * self.main_count && self.main_count > 1 {
            self.fold(hash_of);
        }
        if self.count == 0 {
            *self = Table::new();
        }
        slot
    }

    /// Calls `each` for the entries of the bucket at `cursor` (0 starts) and returns the next cursor (0: done).
    ///
    /// # Cost
    /// One chain: half a dozen entries on average.
    pub fn scan(&self, cursor: u64, mut each: impl FnMut(u64)) -> u64 {
        if self.main_count == 0 {
            return 0;
        }
        let point = cursor & ((1 << CURSOR_BITS) - 1);
        // A cursor is the bit-reversed hash prefix, left-aligned in CURSOR_BITS.
        let suffix = point.reverse_bits() >> (u64::BITS - CURSOR_BITS);
        let index = self.address(suffix);
        self.each_in_chain(index, &mut each);
        let step = 1u64 << (CURSOR_BITS - self.depth(index).min(CURSOR_BITS));
        let next = (point / step + 1) * step;
        if next >> CURSOR_BITS != 0 { 0 } else { next }
    }

    fn each_in_chain(&self, index: usize, each: &mut impl FnMut(u64)) {
        let mut bucket = self.main.at(index);
        loop {
            for slot in 0..bucket.slots_used_max() {
                if bucket.tags[slot] != 0 {
                    each(bucket.slots[slot]);
                }
            }
            let Some(child) = bucket.child() else { return };
            bucket = self.children.at(child as usize);
        }
    }

    /// Calls `each` for every entry, in no order.
    pub fn each(&self, mut each: impl FnMut(u64)) {
        for index in 0..self.main_count {
            self.each_in_chain(index, &mut each);
        }
    }

    /// An entry picked by `random`, with every chain equally likely; `None` only when the table is empty.
    ///
    /// Not exactly uniform over entries (a crowded chain's are less likely), which sampling for eviction and
    /// RANDOMKEY can live with, as Redis's do.
    pub fn sample(&self, random: u64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let start = (random >> 16) as usize % self.main_count;
        (0..self.main_count).find_map(|step| {
            let index = (start + step) % self.main_count;
            let mut chain = smallvec::SmallVec::<[u64; 16]>::new();
            self.each_in_chain(index, &mut |slot| chain.push(slot));
            (!chain.is_empty()).then(|| chain[random as u16 as usize % chain.len()])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn hash_of(slot: u64) -> u64 {
        // SplitMix64: slots here are plain numbers.
        let mut x = slot.wrapping_add(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn filled(count: u64) -> Table {
        let mut table = Table::new();
        for slot in 1..=count {
            table.insert(hash_of(slot), slot, hash_of);
        }
        table
    }

    fn scan_all(table: &Table) -> Vec<u64> {
        let (mut seen, mut cursor) = (Vec::new(), 0);
        loop {
            cursor = table.scan(cursor, |slot| seen.push(slot));
            if cursor == 0 {
                return seen;
            }
        }
    }

    #[test]
    fn candidates_are_entries_and_nearly_every_entry_is_one_of_its_own_hash() {
        const COUNT: u64 = 20_000;
        let table = filled(COUNT);
        let mut found_count = [0, 0];
        for slot in 1..=COUNT {
            for (found, link) in found_count.iter_mut().zip([Link::First, Link::Second]) {
                let candidates: Vec<u64> = table.candidates(hash_of(slot), link).collect();
                assert!(candidates.iter().all(|other| (1..=COUNT).contains(other)), "{candidates:?}");
                *found += u64::from(candidates.contains(&slot));
            }
        }
        let [first, second] = found_count;
        assert!(COUNT / 2 < first && COUNT / 10 < second && COUNT * 95 / 100 < first + second, "{first} {second}");
        assert!(Table::new().candidates(hash_of(1), Link::First).next().is_none());
    }

    #[test]
    fn what_is_inserted_is_found_until_removed() {
        let mut table = filled(20_000);
        for slot in 1..=20_000 {
            let place = table.find(hash_of(slot), |other| other == slot).expect("present");
            assert_eq!(table.get(place), slot);
        }
        assert!(table.find(hash_of(20_001), |other| other == 20_001).is_none());
        for slot in 1..=20_000 {
            let place = table.find(hash_of(slot), |other| other == slot).expect("present");
            assert_eq!(table.remove(place, hash_of), slot);
            assert!(table.find(hash_of(slot), |other| other == slot).is_none());
        }
        assert_eq!((table.len(), table.bytes()), (0, 0));
    }

    #[test]
    fn a_full_scan_sees_each_entry_once() {
        for count in [0, 1, 2, 7, 8, 100, 1_000, 5_000, 30_000] {
            let mut seen = scan_all(&filled(count));
            seen.sort_unstable();
            assert_eq!(seen, (1..=count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_full_scan_sees_each_entry_once_whatever_came_and_went_before() {
        let mut table = filled(30_000);
        for (first, step, kept) in [(1, 3, 20_000), (2, 3, 10_000), (3, 30, 9_000), (6, 3, 0)] {
            for slot in (first..=30_000).step_by(step) {
                if let Some(place) = table.find(hash_of(slot), |other| other == slot) {
                    table.remove(place, hash_of);
                }
            }
            let mut seen = scan_all(&table);
            seen.sort_unstable();
            assert_eq!(seen.len(), kept);
            assert!(seen.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn a_scan_sees_what_stays_however_the_table_grows_and_shrinks_meanwhile() {
        for (first, then) in [(1_000u64, 30_000u64), (30_000, 1_000)] {
            let mut table = filled(first);
            let kept = 1..=first.min(then);
            let (mut seen, mut cursor, mut step) = (BTreeSet::new(), 0, 0);
            let mut next = first;
            loop {
                cursor = table.scan(cursor, |slot| {
                    seen.insert(slot);
                });
                if cursor == 0 {
                    break;
                }
                step += 1;
                for _ in 0..50 {
                    if next < then {
                        next += 1;
                        table.insert(hash_of(next), next, hash_of);
                    } else if then < next {
                        let place = table.find(hash_of(next), |other| other == next).expect("present");
                        table.remove(place, hash_of);
                        next -= 1;
                    }
                }
            }
            assert!(step > 10);
            assert!(kept.clone().all(|slot| seen.contains(&slot)));
        }
    }

    #[test]
    fn bytes_per_entry_and_chains_stay_level_while_growing() {
        let mut table = Table::new();
        for slot in 1..=200_000u64 {
            table.insert(hash_of(slot), slot, hash_of);
            if slot >= 10_000 && slot % 500 == 0 {
                let per_entry = table.bytes() as f64 / slot as f64;
                assert!((12.8..14.0).contains(&per_entry), "{per_entry} at {slot}");
                let chained = (0..table.main_count).filter(|index| table.main.at(*index).child().is_some()).count();
                let chained_share = chained as f64 / table.main_count as f64;
                assert!((0.33..0.45).contains(&chained_share), "{chained_share} at {slot}");
            }
        }
    }

    #[test]
    fn colliding_hashes_chain_and_unchain() {
        let mut table = Table::new();
        for slot in 1..=100u64 {
            table.insert(42, slot, |_| 42);
        }
        for slot in 1..=100u64 {
            let place = table.find(42, |other| other == slot).expect("present");
            table.remove(place, |_| 42);
        }
        assert!(table.is_empty());
    }

    #[test]
    fn samples_reach_every_entry_of_a_small_table() {
        let table = filled(20);
        let seen: BTreeSet<u64> = (0..20_000).filter_map(|seed| table.sample(hash_of(seed))).collect();
        assert_eq!(seen.len(), 20);
        assert_eq!(Table::new().sample(7), None);
    }
}
