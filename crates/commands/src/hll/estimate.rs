//! From registers to a number.
//!
//! Source: Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (arXiv:1702.01284), algorithms 4
//! to 6, summed in the order of Redis, so that the last digit agrees as well.

use super::{INDEX_BITS, REGISTER_COUNT};

/// 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;
const RANK_BITS: usize = (u64::BITS - INDEX_BITS) as usize;

/// The cardinality behind registers of which `counts[value]` have each value.
pub(super) fn estimate(counts: &[u32; 256]) -> u64 {
    let registers = REGISTER_COUNT as f64;
    let mut sum = registers * tau((registers - f64::from(counts[RANK_BITS + 1])) / registers);
    for count in counts[1..=RANK_BITS].iter().rev() {
        sum = (sum + f64::from(*count)) * 0.5;
    }
    sum += registers * sigma(f64::from(counts[0]) / registers);
    (ALPHA * registers * registers / sum).round() as u64
}

/// What registers that are still zero contribute; infinite when all are.
fn sigma(zeros: f64) -> f64 {
    if zeros >= 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut weight, mut sum) = (zeros, 1.0, zeros);
    loop {
        power *= power;
        let before = sum;
        sum += power * weight;
        weight += weight;
        if same(before, sum) {
            return sum;
        }
    }
}

/// What registers that are full contribute.
fn tau(rest: f64) -> f64 {
    if rest <= 0.0 || 1.0 <= rest {
        return 0.0;
    }
    let (mut root, mut weight, mut sum) = (rest, 1.0, 1.0 - rest);
    loop {
        root = root.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - root).powi(2) * weight;
        if same(before, sum) {
            return sum / 3.0;
        }
    }
}

/// Whether a sum has stopped changing, to the last bit.
fn same(one: f64, other: f64) -> bool {
    one.to_bits() == other.to_bits()
}
