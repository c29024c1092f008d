//! CRC-64 as Redis computes it (Jones polynomial 0xad93d23594c935a9, reflected, initial value 0, no final xor).
//!
//! Hardware carry-less multiplication where the processor has it, by the `crc-fast` crate.

/// CRC-64/REDIS of `bytes`.
pub(crate) fn crc64(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One bit at a time, from the definition.
    fn crc64_by_definition(bytes: &[u8]) -> u64 {
        const POLYNOMIAL_REFLECTED: u64 = 0xad93_d235_94c9_35a9_u64.reverse_bits();
        bytes.iter().fold(0, |crc, byte| {
            (0..8).fold(
                crc ^ u64::from(*byte),
                |crc, _| {
                    if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL_REFLECTED } else { crc >> 1 }
                },
            )
        })
    }

    #[test]
    fn crc64_matches_the_check_value_in_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(b""), 0);
    }

    #[test]
    fn crc64_matches_its_definition_at_every_length() {
        let bytes: Vec<u8> = (0..600u32).map(|at| (at * 7 + at / 13) as u8).collect();
        for end in 0..bytes.len() {
            assert_eq!(crc64(&bytes[..end]), crc64_by_definition(&bytes[..end]));
        }
    }
}
