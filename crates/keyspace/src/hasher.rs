//! The hash of keys and fields inside one process.
//!
//! Seeded once per process, from a seed that clients cannot guess: names come from outside, and whoever could
//! compute their hashes could send ten thousand that share a bucket. Deliberately not for anything that is
//! written down or sent to a peer: another process hashes otherwise.
//!
//! foldhash's quality variant: all 64 bits depend on all input bits, as [`crate::table`] needs, which addresses
//! buckets by the low bits and tells neighbours apart by the highest.

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use std::hash::Hasher;
use std::sync::OnceLock;

/// The seed of a process in which nobody called [`seed`]: tests and tools.
const SEED_DEFAULT: u64 = 0x6C61_7264_6572;

static KEYED: OnceLock<Keyed> = OnceLock::new();

/// A hash function picked by a seed.
struct Keyed {
    start: u64,
    shared: SharedSeed,
}

impl Keyed {
    fn new(seed: u64) -> Self {
        Keyed { start: seed.rotate_left(32), shared: SharedSeed::from_u64(seed) }
    }

    #[inline]
    fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.start, &self.shared);
        hasher.write(bytes);
        hasher.finish()
    }
}

/// Seeds [`hash_bytes`] for the life of the process; call it before the first hash is taken.
///
/// Returns whether the seed was taken: `false` when one is in use already, and hashes may lie in tables.
pub fn seed(seed: u64) -> bool {
    KEYED.set(Keyed::new(seed)).is_ok()
}

/// The hash of `bytes`, the same throughout this process.
///
/// # Cost
/// A few nanoseconds for names of a few dozen bytes; no allocation.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    KEYED.get_or_init(|| Keyed::new(SEED_DEFAULT)).hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Names as people number them: the hardest input for a weak hash.
    fn names(count: usize) -> impl Iterator<Item = String> {
        (0..count).map(|index| format!("field:{index:010}"))
    }

    #[test]
    fn the_same_bytes_hash_alike_and_the_seed_decides_how() {
        let (one, same, other) = (Keyed::new(1), Keyed::new(1), Keyed::new(2));
        for name in names(100) {
            assert_eq!(one.hash(name.as_bytes()), same.hash(name.as_bytes()));
            assert_ne!(one.hash(name.as_bytes()), other.hash(name.as_bytes()));
            assert_eq!(hash_bytes(name.as_bytes()), hash_bytes(name.as_bytes()));
        }
    }

    #[test]
    fn a_seed_comes_too_late_once_hashes_were_taken() {
        let before = hash_bytes(b"name");
        assert!(!seed(7));
        assert_eq!(hash_bytes(b"name"), before);
    }

    /// Greatest and least number of names that share one value of `bits`.
    fn spread(bits: impl Fn(u64) -> usize, values: usize) -> (usize, usize) {
        let keyed = Keyed::new(SEED_DEFAULT);
        let mut counts = vec![0usize; values];
        for name in names(values * 1000) {
            counts[bits(keyed.hash(name.as_bytes()))] += 1;
        }
        (counts.iter().copied().min().unwrap(), counts.iter().copied().max().unwrap())
    }

    #[test]
    fn low_bits_and_high_bits_are_spread_evenly() {
        // 1000 expected per value, so 200 off is more than six standard deviations.
        for (least, most) in [
            spread(|hash| (hash & 0xff) as usize, 256),
            spread(|hash| (hash >> 32 & 0xff) as usize, 256),
            spread(|hash| (hash >> 56) as usize, 256),
        ] {
            assert!(800 < least, "{least}");
            assert!(most < 1200, "{most}");
        }
    }

    #[test]
    fn addresses_of_40_bits_rarely_collide() {
        let keyed = Keyed::new(SEED_DEFAULT);
        let count = 100_000;
        let seen: BTreeSet<u64> = names(count).map(|name| keyed.hash(name.as_bytes()) & ((1 << 40) - 1)).collect();
        // n²/2^41 = 0.005 pairs are expected.
        assert!(count - 1 <= seen.len());
    }
}
