//! LZF decompression (Marc Lehmann's LibLZF format), as Redis compresses strings of more than 20 bytes with it.
//!
//! A control byte below 32 is followed by that many plus one literal bytes. Any other holds a length in its upper
//! three bits (7: more in the next byte) and the upper five bits of a distance whose lower eight follow; it copies
//! `length + 2` bytes from `distance + 1` back, overlapping itself when the distance is shorter.
//!
//! Deliberately no compressor: see the crate's "not done".

use crate::DumpError;
use base::Reader;

/// Bytes one byte of input can expand to: three bytes copy at most 264.
pub(crate) const EXPANSION_MAX: usize = 88;

const BROKEN: DumpError = DumpError::BadFormat("LZF data does not expand to its stated length");

/// Expands `packed` to exactly `expanded_bytes` bytes.
///
/// # Cost
/// One allocation of `expanded_bytes`, refused before it is made when `packed` is too short to fill it.
pub(crate) fn expand(packed: &[u8], expanded_bytes: usize) -> Result<Vec<u8>, DumpError> {
    if packed.len().saturating_mul(EXPANSION_MAX) < expanded_bytes {
        return Err(BROKEN);
    }
    let mut out = Vec::with_capacity(expanded_bytes);
    let mut reader = Reader::new(packed);
    while !reader.is_empty() {
        let control = reader.u8()?;
        if control < 32 {
            out.extend_from_slice(reader.take(usize::from(control) + 1)?);
        } else {
            let (distance, count) = back_reference(control, &mut reader)?;
            copy_back(&mut out, distance, count)?;
        }
        if expanded_bytes < out.len() {
            return Err(BROKEN);
        }
    }
    if out.len() == expanded_bytes { Ok(out) } else { Err(BROKEN) }
}

fn back_reference(control: u8, reader: &mut Reader<'_>) -> Result<(usize, usize), DumpError> {
    let short = usize::from(control >> 5);
    let count = if short == 7 { short + usize::from(reader.u8()?) } else { short } + 2;
    let distance = (usize::from(control & 0x1f) << 8 | usize::from(reader.u8()?)) + 1;
    Ok((distance, count))
}

/// Appends the `count` bytes that start `distance` back, which may include bytes this very call appends.
fn copy_back(out: &mut Vec<u8>, distance: usize, count: usize) -> Result<(), DumpError> {
    let mut from = out.len().checked_sub(distance).ok_or(BROKEN)?;
    let end = out.len() + count;
    while out.len() < end {
        let chunk_bytes = (out.len() - from).min(end - out.len());
        out.extend_from_within(from..from + chunk_bytes);
        from += chunk_bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_overlapping_copies_expand() {
        assert_eq!(expand(&[], 0), Ok(vec![]));
        assert_eq!(expand(&[2, b'a', b'b', b'c'], 3).as_deref(), Ok(&b"abc"[..]));
        // "ab", then 7 bytes from 2 back.
        assert_eq!(expand(&[1, b'a', b'b', 5 << 5, 1], 9).as_deref(), Ok(&b"ababababa"[..]));
        // "x", then the longest copy from 1 back.
        assert_eq!(expand(&[0, b'x', 0xe0, 0xff, 0], 265), Ok(vec![b'x'; 265]));
    }

    #[test]
    fn the_longest_copy_is_the_stated_expansion() {
        assert_eq!(EXPANSION_MAX * 3, 7 + 255 + 2);
    }

    #[test]
    fn broken_input_is_refused() {
        assert!(expand(&[2, b'a', b'b'], 3).is_err(), "literal past the end");
        assert!(expand(&[0, b'a', 1 << 5, 1], 4).is_err(), "copy from before the start");
        assert!(expand(&[0, b'a', 7 << 5], 10).is_err(), "no distance");
        assert!(expand(&[0, b'a'], 2).is_err(), "too short");
        assert!(expand(&[1, b'a', b'b'], 1).is_err(), "too long");
        assert!(expand(&[0, b'a'], usize::MAX).is_err(), "a length nothing backs");
    }

    #[test]
    fn every_input_of_up_to_three_bytes_is_expanded_or_refused() {
        for bits in 0..1u32 << 24 {
            let bytes = bits.to_le_bytes();
            let expanded_bytes = usize::from(bytes[0] & 7);
            if let Ok(out) = expand(&bytes[..3], expanded_bytes) {
                assert_eq!(out.len(), expanded_bytes);
            }
        }
    }
}
