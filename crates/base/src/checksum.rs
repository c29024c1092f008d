//! CRC-32C (Castagnoli), the checksum of everything Larder writes down.
//!
//! Hardware CRC32C where the processor has it: by the `crc-fast` crate, and for what is short, as most records of most
//! journals are, by the processor's own instruction, since choosing among several ways takes longer there than the sum.

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the instruction is an intrinsic"))]

/// Longest input that is summed word by word.
#[cfg(target_arch = "x86_64")]
const SHORT_BYTES_MAX: usize = 128;

/// CRC-32C of `bytes`.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() <= SHORT_BYTES_MAX && is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has the instruction.
        return unsafe { crc32c_short(bytes) };
    }
    crc32c_any(bytes)
}

fn crc32c_any(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn crc32c_short(bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};
    let (words, rest) = bytes.as_chunks::<8>();
    let (halves, rest) = rest.as_chunks::<4>();
    let mut sum = u64::from(u32::MAX);
    for word in words {
        sum = _mm_crc32_u64(sum, u64::from_le_bytes(*word));
    }
    let mut sum = sum as u32;
    for half in halves {
        sum = _mm_crc32_u32(sum, u32::from_le_bytes(*half));
    }
    for byte in rest {
        sum = _mm_crc32_u8(sum, *byte);
    }
    !sum
}

/// CRC-32C of `parts`, one after the other.
pub fn crc32c_of(parts: &[&[u8]]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_matches_the_published_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn short_inputs_have_the_checksum_that_long_ones_are_given() {
        let bytes: Vec<u8> = (0..200u32).map(|number| (number * 37) as u8).collect();
        for length in 0..bytes.len() {
            assert_eq!(crc32c(&bytes[..length]), crc32c_any(&bytes[..length]), "{length}");
        }
    }

    #[test]
    fn parts_have_the_checksum_of_the_whole() {
        let whole: Vec<u8> = (0..2_000u32).map(|number| number as u8).collect();
        for cut in [0, 1, 7, 999, 2_000] {
            let (front, back) = whole.split_at(cut);
            assert_eq!(crc32c_of(&[front, back]), crc32c(&whole), "{cut}");
        }
        assert_eq!(crc32c_of(&[]), 0);
    }
}
