//! CRC-32C (Castagnoli), the checksum of everything Larder writes down.
//!
//! Hardware CRC32C where the processor has it, by the `crc-fast` crate.

/// CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
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
    fn parts_have_the_checksum_of_the_whole() {
        let whole: Vec<u8> = (0..2_000u32).map(|number| number as u8).collect();
        for cut in [0, 1, 7, 999, 2_000] {
            let (front, back) = whole.split_at(cut);
            assert_eq!(crc32c_of(&[front, back]), crc32c(&whole), "{cut}");
        }
        assert_eq!(crc32c_of(&[]), 0);
    }
}
