//! Intset: a set of integers as one sorted array.
//!
//! Layout, little-endian: `width:u32 count:u32 int[count]`, where `width` is 2, 4 or 8 bytes and the integers are
//! signed and strictly ascending.

use crate::DumpError;
use base::Reader;

const BROKEN: DumpError = DumpError::BadFormat("intset is malformed");

/// The integers of an intset.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<i64>, DumpError> {
    let mut reader = Reader::new(bytes);
    let width = reader.u32()? as usize;
    let count = reader.u32()? as usize;
    if !matches!(width, 2 | 4 | 8) || count == 0 || count.checked_mul(width) != Some(reader.rest().len()) {
        return Err(BROKEN);
    }
    let ints: Vec<i64> = reader.rest().chunks_exact(width).map(sign_extended).collect();
    if ints.is_sorted_by(|low, high| low < high) { Ok(ints) } else { Err(BROKEN) }
}

/// The signed little-endian integer in `bytes`, at most eight of them and at least one.
pub(crate) fn sign_extended(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|high| 0x80 <= *high);
    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

/// Appends the intset of `ints`, which must be strictly ascending and not empty.
pub(crate) fn encode(ints: &[i64]) -> Vec<u8> {
    assert!(ints.is_sorted_by(|low, high| low < high), "an intset is strictly ascending");
    let width = ints.iter().map(|int| width_of(*int)).max().expect("an intset is not empty");
    let mut out = Vec::with_capacity(8 + ints.len() * width);
    out.extend_from_slice(&(width as u32).to_le_bytes());
    out.extend_from_slice(&(ints.len() as u32).to_le_bytes());
    for int in ints {
        out.extend_from_slice(&int.to_le_bytes()[..width]);
    }
    out
}

fn width_of(int: i64) -> usize {
    if i16::try_from(int).is_ok() {
        2
    } else if i32::try_from(int).is_ok() {
        4
    } else {
        8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_width_round_trips_at_its_edges() {
        for (width, ints) in [
            (2, vec![i16::MIN as i64, -1, 0, 1, i16::MAX as i64]),
            (4, vec![i16::MIN as i64 - 1, 0]),
            (4, vec![i32::MIN as i64, i16::MAX as i64 + 1, i32::MAX as i64]),
            (8, vec![i32::MIN as i64 - 1]),
            (8, vec![i64::MIN, 0, i32::MAX as i64 + 1, i64::MAX]),
        ] {
            let bytes = encode(&ints);
            assert_eq!(bytes.len(), 8 + width * ints.len());
            assert_eq!(decode(&bytes), Ok(ints));
            for cut in 0..bytes.len() {
                assert!(decode(&bytes[..cut]).is_err());
            }
        }
    }

    #[test]
    fn disorder_duplicates_emptiness_and_odd_widths_are_refused() {
        assert!(decode(&[2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 1, 0]).is_err(), "descending");
        assert!(decode(&[2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, 0]).is_err(), "duplicate");
        assert!(decode(&[2, 0, 0, 0, 0, 0, 0, 0]).is_err(), "empty");
        assert!(decode(&[3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]).is_err(), "width 3");
        assert!(decode(&[8, 0, 0, 0, 0, 0, 0, 0x20]).is_err(), "a count nothing backs");
    }
}
