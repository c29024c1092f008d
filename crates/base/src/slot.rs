//! Key → slot, as Redis Cluster defines it, so that its clients can route without asking.
//!
//! Source: Redis Cluster specification, "Key distribution model" and "Hash tags"; CRC16 is XMODEM
//! (polynomial 0x1021, initial value 0, not reflected).

use crate::name::short_word;

/// Number of slots in the key space.
pub const SLOT_COUNT: u16 = 16384;

/// `TABLES[k][b]`: CRC16 of byte `b` followed by `k` zero bytes, so that eight bytes fold in one step, whose
/// look-ups do not wait for each other.
static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut fold = 1;
    while fold < 8 {
        let mut byte = 0;
        while byte < 256 {
            let shorter = tables[fold - 1][byte];
            tables[fold][byte] = (shorter << 8) ^ tables[0][(shorter >> 8) as usize];
            byte += 1;
        }
        fold += 1;
    }
    tables
}

/// CRC16/XMODEM of `bytes`.
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let (words, rest) = bytes.as_chunks::<8>();
    for [a, b, c, d, e, f, g, h] in words {
        crc = TABLES[7][usize::from(*a ^ (crc >> 8) as u8)]
            ^ TABLES[6][usize::from(*b ^ crc as u8)]
            ^ TABLES[5][usize::from(*c)]
            ^ TABLES[4][usize::from(*d)]
            ^ TABLES[3][usize::from(*e)]
            ^ TABLES[2][usize::from(*f)]
            ^ TABLES[1][usize::from(*g)]
            ^ TABLES[0][usize::from(*h)];
    }
    let (words, rest) = rest.as_chunks::<4>();
    for [a, b, c, d] in words {
        crc = TABLES[3][usize::from(*a ^ (crc >> 8) as u8)]
            ^ TABLES[2][usize::from(*b ^ crc as u8)]
            ^ TABLES[1][usize::from(*c)]
            ^ TABLES[0][usize::from(*d)];
    }
    for byte in rest {
        crc = (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

/// The slot of `key`: of what stands between the first `{` and the next `}` when that is not empty, so that
/// keys can be kept together, else of the whole key.
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % SLOT_COUNT
}

#[inline]
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    if has_brace(key) { tag_within(key) } else { None }
}

/// Whether a `{` is in `key`: eight bytes at a time, since nearly all keys are short and have none.
#[inline]
fn has_brace(key: &[u8]) -> bool {
    const LOW: u64 = u64::MAX / 0xff;
    const BRACES: u64 = LOW * b'{' as u64;
    let (words, rest) = key.as_chunks::<8>();
    let in_word = |word: u64| {
        // A byte that is zero here borrows from its highest bit ("Bit Twiddling Hacks", Anderson, haszero).
        let differing = word ^ BRACES;
        differing.wrapping_sub(LOW) & !differing & (LOW << 7) != 0
    };
    words.iter().any(|word| in_word(u64::from_le_bytes(*word))) || in_word(short_word(rest))
}

#[cold]
fn tag_within(key: &[u8]) -> Option<&[u8]> {
    let open = memchr::memchr(b'{', key)?;
    let rest = &key[open + 1..];
    let close = memchr::memchr(b'}', rest)?;
    (close > 0).then(|| &rest[..close])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_matches_the_published_check_value() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn folding_several_bytes_equals_one_at_a_time() {
        let bytes: Vec<u8> = (0..=255).collect();
        for end in 0..bytes.len() {
            let slow = bytes[..end]
                .iter()
                .fold(0u16, |crc, byte| (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)]);
            assert_eq!(crc16(&bytes[..end]), slow);
        }
    }

    #[test]
    fn a_brace_is_found_wherever_it_stands_and_nowhere_else() {
        for byte in (0..=u8::MAX).filter(|byte| *byte != b'{') {
            for length in 0..40 {
                let mut key = vec![byte; length];
                assert!(!has_brace(&key), "{byte} {length} times");
                if let Some(last) = key.last_mut() {
                    *last = b'{';
                    assert!(has_brace(&key), "after {byte} {} times", length - 1);
                    key.rotate_right(length / 2 + 1);
                    assert!(has_brace(&key));
                }
            }
        }
    }

    #[test]
    fn hash_tags_follow_the_cluster_specification() {
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOT_COUNT);
        assert_eq!(slot_of(b"foo{{bar}}zap"), crc16(b"{bar") % SLOT_COUNT);
        assert_eq!(slot_of(b"foo{bar}{zap}"), crc16(b"bar") % SLOT_COUNT);
        assert_eq!(slot_of(b"foo"), 12182);
    }
}
