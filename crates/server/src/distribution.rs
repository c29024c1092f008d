//! How durations are counted: buckets that grow with what they hold.
//!
//! ```text
//! bucket 0: below 1024 ns     then 4 buckets per power of two: [1024, 1280) [1280, 1536) [1536, 1792) [1792, 2048) …
//! ```
//!
//! A percentile is off by at most a quarter; powers of two are exact. Deliberately not HdrHistogram: it needs a lock
//! to count from several threads.

/// Log2 of the nanoseconds that bucket 0 ends at.
const FIRST_SHIFT: u32 = 10;
/// Log2 of the buckets in a power of two.
const STEP_SHIFT: u32 = 2;
const STEP_COUNT: u64 = 1 << STEP_SHIFT;
/// Powers of two that are told apart: up to 18 minutes; longer durations count as the last.
const OCTAVE_COUNT: usize = 30;
/// How many buckets there are.
pub const BUCKET_COUNT: usize = 1 + OCTAVE_COUNT * STEP_COUNT as usize;

const _: () = assert!(STEP_SHIFT < FIRST_SHIFT, "a bucket is at least a nanosecond wide");

/// The bucket of a duration.
#[inline]
pub fn bucket_of(duration_ns: u64) -> usize {
    if duration_ns < 1 << FIRST_SHIFT {
        return 0;
    }
    let exponent = duration_ns.ilog2();
    let step = (duration_ns >> (exponent - STEP_SHIFT)) & (STEP_COUNT - 1);
    let bucket = 1 + u64::from(exponent - FIRST_SHIFT) * STEP_COUNT + step;
    (bucket as usize).min(BUCKET_COUNT - 1)
}

/// The nanoseconds that a bucket ends before.
pub fn bucket_end_ns(bucket: usize) -> u64 {
    assert!(bucket < BUCKET_COUNT, "there are so many buckets and no more");
    if bucket == 0 {
        return 1 << FIRST_SHIFT;
    }
    let (octave, step) = ((bucket as u64 - 1) / STEP_COUNT, (bucket as u64 - 1) % STEP_COUNT);
    (STEP_COUNT + step + 1) << (octave + u64::from(FIRST_SHIFT - STEP_SHIFT))
}

/// The nanoseconds that `percent` of all counted durations stay below; 0 when there are none.
pub fn percentile_ns(counts: &[u64], percent: f64) -> u64 {
    let total: u64 = counts.iter().sum();
    let wanted = ((total as f64 * percent / 100.0).ceil() as u64).max(1);
    let mut seen = 0;
    for (bucket, count) in counts.iter().enumerate() {
        seen += count;
        if wanted <= seen {
            return bucket_end_ns(bucket);
        }
    }
    0
}

/// `(microseconds, durations below that)` at the powers of two where there is something new.
pub fn cumulative_us(counts: &[u64]) -> Vec<(u64, u64)> {
    let mut list: Vec<(u64, u64)> = Vec::new();
    let mut seen = 0;
    for (bucket, count) in counts.iter().enumerate() {
        seen += count;
        let end_ns = bucket_end_ns(bucket);
        let is_new = seen > list.last().map_or(0, |(_, before)| *before);
        if is_new && end_ns.is_power_of_two() {
            list.push(((end_ns - 1) / 1000, seen));
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_in_its_bucket_and_buckets_follow_each_other() {
        for bucket in 1..BUCKET_COUNT {
            let (start, end) = (bucket_end_ns(bucket - 1), bucket_end_ns(bucket));
            assert!(start < end);
            assert_eq!((bucket_of(start), bucket_of(end - 1)), (bucket, bucket));
        }
        assert_eq!((bucket_of(0), bucket_of(1023)), (0, 0));
        assert_eq!(bucket_of(u64::MAX), BUCKET_COUNT - 1);
    }

    #[test]
    fn percentiles_and_sums_tell_what_was_counted() {
        let mut counts = vec![0; BUCKET_COUNT];
        assert_eq!((percentile_ns(&counts, 50.0), cumulative_us(&counts).len()), (0, 0));
        for (duration_ns, count) in [(500, 90), (3_000, 9), (1_000_000, 1)] {
            counts[bucket_of(duration_ns)] += count;
        }
        assert_eq!(percentile_ns(&counts, 50.0), 1024);
        assert_eq!(percentile_ns(&counts, 99.0), 3072);
        assert!((1_000_000..1_250_000).contains(&percentile_ns(&counts, 99.9)));
        assert_eq!(cumulative_us(&counts), [(1, 90), (4, 99), (1048, 100)]);
    }
}
