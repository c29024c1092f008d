//! What PFSELFTEST does: registers keep what they are given, both forms agree, estimates are close.

use crate::hll::{self, DENSE_BYTES, HEAD_BYTES, Observation, RANK_MAX, REGISTER_COUNT};
use crate::random::Random;

/// What a sparse value may take: up to a thousand elements, which then are in both forms.
const SPARSE_BYTES_MAX: usize = 3000;
/// Elements that are added.
const ELEMENT_COUNT: u64 = 100_000;
/// Standard errors by which an estimate may be off.
const ERRORS_MAX: f64 = 6.0;

/// # Errors
/// What was not as it should be.
pub(crate) fn run(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    check_registers(&mut random)?;
    check_estimates(&mut random)
}

fn check_registers(random: &mut Random) -> Result<(), String> {
    let mut bytes = vec![0; DENSE_BYTES - HEAD_BYTES];
    let mut model = vec![0; REGISTER_COUNT];
    for _ in 0..REGISTER_COUNT {
        let (index, value) = (random.below(REGISTER_COUNT), random.below(usize::from(RANK_MAX) + 1) as u8);
        model[index] = value;
        hll::dense::set(&mut bytes, index, value);
    }
    match (0..REGISTER_COUNT).find(|index| hll::dense::get(&bytes, *index) != model[*index]) {
        Some(index) => Err(format!("Register {index} should be {}", model[index])),
        None => Ok(()),
    }
}

fn check_estimates(random: &mut Random) -> Result<(), String> {
    let (mut sparse, mut dense, start) = (hll::empty(), hll::empty(), random.next());
    hll::make_dense(&mut dense).map_err(|_| "An empty value is not whole")?;
    let mut checkpoint = 1;
    for count in 1..=ELEMENT_COUNT {
        let seen = Observation::of(&(start ^ count).to_le_bytes());
        for bytes in [&mut sparse, &mut dense] {
            hll::raise(bytes, seen, SPARSE_BYTES_MAX).map_err(|_| "A value is not whole any more")?;
        }
        if count == checkpoint {
            checkpoint *= 10;
            check_estimate(&sparse, &dense, count)?;
        }
    }
    Ok(())
}

fn check_estimate(sparse: &[u8], dense: &[u8], count: u64) -> Result<(), String> {
    let estimates = [sparse, dense].map(|bytes| hll::estimate(bytes).map_err(|_| "A value is not whole any more"));
    let [sparse, dense] = estimates;
    let (sparse, dense) = (sparse?, dense?);
    if sparse != dense {
        return Err(format!("The forms disagree at {count} elements: {sparse} and {dense}"));
    }
    let error = 1.04 / (REGISTER_COUNT as f64).sqrt();
    // Where few registers are used two elements may share one, which is no fault of the estimate.
    let off_max = (error * ERRORS_MAX * count as f64).ceil() + 1.0;
    if (dense as f64 - count as f64).abs() > off_max {
        return Err(format!("The estimate of {count} elements is {dense}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_self_test_finds_nothing() {
        for seed in 0..3 {
            assert_eq!(super::run(seed), Ok(()));
        }
    }
}
