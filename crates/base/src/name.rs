//! Names compared: of commands, keys and fields, most of which are short.
//!
//! Deliberately not here: hashing them, and upper and lower case.

/// The bytes of something short, up to eight, as one word: equal for two of one length exactly where they are equal. Some
/// bytes may be in it twice, and zeros fill it up.
#[inline]
pub fn short_word(bytes: &[u8]) -> u64 {
    assert!(bytes.len() <= 8, "a word has eight bytes");
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    }
    let [Some(first), Some(middle), Some(last)] = [bytes.first(), bytes.get(bytes.len() / 2), bytes.last()] else {
        return 0;
    };
    u64::from(*first) | u64::from(*middle) << 8 | u64::from(*last) << 16
}

/// As `==`, for names: most are short, and are compared without a call.
#[inline]
pub fn is_same_name(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let ends = |name: &[u8]| Some((*name.first_chunk::<8>()?, *name.last_chunk::<8>()?));
    match (ends(one), ends(other)) {
        (Some(one_ends), Some(other_ends)) => one_ends == other_ends && (one.len() <= 16 || one == other),
        _ => short_word(one) == short_word(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_where_bytes_are() {
        let long: Vec<u8> = (0..40).collect();
        for length in 0..long.len() {
            let name = &long[..length];
            let copy = name.to_vec();
            assert!(is_same_name(name, &copy));
            assert!(!is_same_name(name, &long[..=length]));
            for index in 0..length {
                let mut other = name.to_vec();
                other[index] ^= 1;
                assert!(!is_same_name(name, &other), "{length} bytes, index {index}");
            }
        }
    }

    #[test]
    fn short_words_of_one_length_are_equal_where_the_bytes_are() {
        assert_eq!(short_word(b""), 0);
        for length in 1..=8 {
            let bytes: Vec<u8> = (1..=length).collect();
            for index in 0..bytes.len() {
                let mut other = bytes.clone();
                other[index] ^= 0x80;
                assert_ne!(short_word(&bytes), short_word(&other), "{length} bytes, index {index}");
                assert!(short_word(&other).to_le_bytes().contains(&other[index]));
            }
            assert_eq!(short_word(&bytes), short_word(&bytes.clone()));
        }
    }
}
