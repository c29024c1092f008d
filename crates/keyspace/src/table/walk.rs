//! Ways over a table's entries: all of them, some at each call, a random one.
//!
//! Deliberately not here: what a slot stands for.
//!
//! Invariant: a walk sees each entry that is there throughout at least once, and exactly once while nothing changes.

use super::{CURSOR_BITS, Table};
use smallvec::SmallVec;

/// Entries of a window among which a sample is drawn; fuller windows are rare.
const WINDOW_COUNT_MAX: usize = 32;
/// Windows looked at for one sample. Each holds a few of `WINDOW_COUNT_MAX` at least, so one in ten is a hit.
const SAMPLE_TRIES_MAX: usize = 256;

impl Table {
    /// One step of a scan, over whole buckets, until `count` entries have been seen. Returns the next cursor: 0 starts,
    /// 0 ends.
    pub fn scan_some(&self, cursor: u64, count: usize, mut each: impl FnMut(u64)) -> u64 {
        let (mut cursor, mut seen_count) = (cursor, 0);
        loop {
            cursor = self.scan(cursor, |slot| {
                seen_count += 1;
                each(slot);
            });
            if cursor == 0 || count <= seen_count {
                return cursor;
            }
        }
    }

    /// Every entry, in no order.
    pub fn slots(&self) -> Slots<'_> {
        Slots { table: self, cursor: 0, done: self.is_empty(), pending: SmallVec::new() }
    }

    /// An entry picked by `random`, each equally likely; `None` only when the table is empty.
    ///
    /// Buckets of a linear-hashed table cover hash ranges of two widths and hold a varying count, so a random
    /// entry of a random bucket would be far from fair. Windows of the hash space of the greater width are all
    /// alike: take one at random, then an entry at random *as if it held `WINDOW_COUNT_MAX`*, and try again if
    /// there is none.
    ///
    /// # Cost
    /// Three to ten windows of one or two buckets.
    pub fn sample_evenly(&self, random: u64) -> Option<u64> {
        let space = 1u64 << CURSOR_BITS;
        // Bucket 0 is always among the narrowest, and half as wide as the widest at least.
        let narrow = match self.scan(0, |_| ()) {
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
                return Some(slots[(pick >> 32) % slots.len()]);
            }
        }
        self.sample(random)
    }

    /// The slots between two cursors.
    fn window(&self, start: u64, width: u64) -> SmallVec<[u64; WINDOW_COUNT_MAX]> {
        let (mut slots, mut cursor) = (SmallVec::new(), start);
        loop {
            cursor = self.scan(cursor, |slot| slots.push(slot));
            if cursor == 0 || start + width <= cursor {
                return slots;
            }
        }
    }
}

/// SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators", 2014).
fn mixed(state: u64) -> u64 {
    let mut bits = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// All entries of a table, in no order.
pub struct Slots<'a> {
    table: &'a Table,
    cursor: u64,
    done: bool,
    /// What is left of the bucket in hand.
    pending: SmallVec<[u64; 16]>,
}

impl Iterator for Slots<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            if let Some(slot) = self.pending.pop() {
                return Some(slot);
            }
            if self.done {
                return None;
            }
            self.cursor = self.table.scan(self.cursor, |slot| self.pending.push(slot));
            self.done = self.cursor == 0;
        }
    }
}

/// The bytes of a table that changes, known at any time without measuring it each time.
#[derive(Debug, Default)]
pub struct TableBytes {
    bytes: usize,
    /// Changes since `bytes` was measured.
    changes: usize,
}

impl TableBytes {
    /// Heap bytes, as measured within a thousandth of the table's entries ago.
    pub fn get(&self) -> usize {
        self.bytes
    }

    /// An entry of `table` came or went. Measuring takes time in proportion to the table's chunks, so it is done once
    /// in a thousandth of the entries: always, while there are few.
    pub fn note_change(&mut self, table: &Table) {
        self.changes += 1;
        if table.len() / 1024 < self.changes {
            self.bytes = table.bytes();
            self.changes = 0;
        }
    }
}
