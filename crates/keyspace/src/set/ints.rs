//! A set of integers: in ascending order, each as wide as the widest needs to be.
//!
//! ```text
//! width:u8 | integer: width bytes, little-endian, two's complement …
//! ```
//!
//! Three bytes for numbers up to eight million, five for a time in seconds: a quarter to a third less than powers of
//! two would take. Deliberately never narrower again: a set that loses its one wide number keeps its width.
//!
//! Invariants: ascending without repetition; `width` is 1 to 8, and 0 bytes in all are an empty set.

use super::INTS_COUNT_MAX;
use crate::packed::resize;

const HEAD_BYTES: usize = 1;
const WIDTH_MAX: usize = size_of::<i64>();

/// The integers in the bytes of a set.
#[derive(Clone, Copy)]
pub(super) struct Ints<'a> {
    width: usize,
    /// The head included, so that a whole word can be read that ends with the first narrow integers.
    bytes: &'a [u8],
}

fn width_of(number: i64) -> usize {
    let magnitude_bits = u64::BITS - (number ^ (number >> 63)).leading_zeros();
    (magnitude_bits as usize + 1).div_ceil(8)
}

impl<'a> Ints<'a> {
    /// `bytes` are those of a set of integers.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Ints<'a> {
        Ints { width: bytes.first().map_or(1, |width| usize::from(*width)), bytes }
    }

    #[inline]
    pub fn len(self) -> usize {
        self.bytes.len().saturating_sub(HEAD_BYTES) / self.width
    }

    /// The integer of this rank.
    #[inline]
    pub fn get(self, index: usize) -> i64 {
        let end = HEAD_BYTES + (index + 1) * self.width;
        let bytes = &self.bytes[..end];
        let word = bytes.last_chunk::<WIDTH_MAX>().copied().unwrap_or_else(|| {
            let mut word = [0; WIDTH_MAX];
            word[WIDTH_MAX - bytes.len()..].copy_from_slice(bytes);
            word
        });
        // The integer is the upper part of the word: the shift drops what lies before it, and extends the sign.
        i64::from_le_bytes(word) >> (8 * (WIDTH_MAX - self.width))
    }

    /// The rank of `number`, or the one it would have.
    #[inline]
    pub fn rank(self, number: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).cmp(&number) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    pub fn iter(self) -> impl Iterator<Item = i64> + use<'a> {
        (0..self.len()).map(move |index| self.get(index))
    }
}

/// Adds `number` and says whether it is new; `None`, and no change, when there is no room for it.
pub(super) fn insert(bytes: &mut Vec<u8>, number: i64) -> Option<bool> {
    let ints = Ints::new(bytes);
    let Err(rank) = ints.rank(number) else { return Some(false) };
    if ints.len() == INTS_COUNT_MAX {
        return None;
    }
    let width = if bytes.is_empty() { 0 } else { ints.width };
    let width_new = width_of(number).max(width);
    if width != width_new {
        widen(bytes, width_new);
    }
    let at = HEAD_BYTES + rank * width_new;
    resize(bytes, at, 0, width_new);
    bytes[at..at + width_new].copy_from_slice(&number.to_le_bytes()[..width_new]);
    Some(true)
}

fn widen(bytes: &mut Vec<u8>, width: usize) {
    let narrow = std::mem::take(bytes);
    let ints = Ints::new(&narrow);
    resize(bytes, 0, 0, HEAD_BYTES + ints.len() * width);
    bytes[0] = width as u8;
    for (cell, number) in bytes[HEAD_BYTES..].chunks_exact_mut(width).zip(ints.iter()) {
        cell.copy_from_slice(&number.to_le_bytes()[..width]);
    }
}

/// Removes `number` and says whether it was there.
pub(super) fn remove(bytes: &mut Vec<u8>, number: i64) -> bool {
    let ints = Ints::new(bytes);
    let (Ok(rank), width, count) = (ints.rank(number), ints.width, ints.len()) else { return false };
    if count == 1 {
        *bytes = Vec::new();
    } else {
        resize(bytes, HEAD_BYTES + rank * width, width, 0);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The numbers where a width ends.
    fn edges() -> Vec<i64> {
        let powers = (0..63).map(|bit| 1i64 << bit);
        let around = powers.flat_map(|power| [power - 1, power, power + 1, -power - 1, -power, 1 - power]);
        around.chain([i64::MIN, i64::MIN + 1, i64::MAX]).collect()
    }

    #[test]
    fn a_width_is_the_least_that_holds_a_number() {
        for number in edges() {
            let width = width_of(number);
            let fits = |width: usize| {
                let shift = 64 - 8 * width as u32;
                width > 0 && (number << shift) >> shift == number
            };
            assert!(fits(width) && !fits(width - 1), "{number}: {width}");
        }
    }

    #[test]
    fn numbers_of_every_width_are_found_in_order_and_go_again() {
        for step in [1, 5, 7, 11] {
            let (mut bytes, mut model) = (Vec::new(), BTreeSet::new());
            let numbers: Vec<i64> = edges().into_iter().step_by(step).collect();
            for number in numbers.iter().chain(&numbers) {
                assert_eq!(insert(&mut bytes, *number), Some(model.insert(*number)));
                assert!(Ints::new(&bytes).iter().eq(model.iter().copied()));
            }
            for number in edges() {
                let found = Ints::new(&bytes).rank(number);
                assert_eq!(found.is_ok(), model.contains(&number));
                assert_eq!(found.unwrap_or_else(|rank| rank), model.range(..number).count());
            }
            for number in edges() {
                assert_eq!(remove(&mut bytes, number), model.remove(&number));
                assert!(Ints::new(&bytes).iter().eq(model.iter().copied()));
            }
            assert_eq!(bytes.capacity(), 0);
        }
    }
}
