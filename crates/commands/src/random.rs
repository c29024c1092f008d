//! Randomness for one command: one draw of entropy, spread out.
//!
//! Deliberately not for secrets, and not for anything that is replayed: what a command draws it turns into effects.
//!
//! Source: SplitMix64, Steele et al., "Fast splittable pseudorandom number generators" (2014).

/// Up to this many times as many elements as are asked for, all are listed and shuffled: fewer draws than retries.
pub(crate) const LISTED_RATIO_MAX: usize = 3;

/// A generator that starts from entropy the node gave.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Starts from `seed`.
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number from 0 to `bound` - 1, each equally likely but for one part in 2^64 / `bound`.
    ///
    /// # Panics
    /// When `bound` is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        assert!(0 < bound, "there must be something to choose from");
        ((u128::from(self.next()) * bound as u128) >> u64::BITS) as usize
    }
}

/// Puts `count` elements picked at random in front (the first steps of a Fisher-Yates shuffle).
pub(crate) fn shuffle_first<T>(items: &mut [T], count: usize, random: &mut Random) {
    let len = items.len();
    for index in 0..count.min(len.saturating_sub(1)) {
        items.swap(index, index + random.below(len - index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_below_a_bound_comes_about_equally_often() {
        let mut random = Random::new(1);
        let mut seen = [0u32; 7];
        for _ in 0..70_000 {
            seen[random.below(7)] += 1;
        }
        assert!(seen.iter().all(|count| (9_500..10_500).contains(count)), "{seen:?}");
        assert_eq!(random.below(1), 0);
    }

    #[test]
    fn a_shuffled_front_gives_each_element_its_turn() {
        let mut random = Random::new(3);
        let mut firsts = [0u32; 5];
        for _ in 0..10_000 {
            let mut items = [0, 1, 2, 3, 4];
            shuffle_first(&mut items, 1, &mut random);
            firsts[items[0]] += 1;
        }
        assert!(firsts.iter().all(|count| (1_800..2_200).contains(count)), "{firsts:?}");
    }
}
