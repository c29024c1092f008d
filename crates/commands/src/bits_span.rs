//! Runs of bits inside bytes: counting them, finding one, and combining strings bit by bit, a word at a time.
//!
//! Bits are numbered as Redis numbers them: bit 0 is the highest of byte 0.

const WORD_BYTES: usize = size_of::<u64>();

/// Bits `first..=last`. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first bit.
    pub first: u64,
    /// The last bit.
    pub last: u64,
}

impl Span {
    /// All bits of the bytes `first..=last`.
    pub fn of_bytes(first: usize, last: usize) -> Span {
        Span { first: first as u64 * 8, last: last as u64 * 8 + 7 }
    }

    fn byte_first(self) -> usize {
        (self.first >> 3) as usize
    }

    fn byte_last(self) -> usize {
        (self.last >> 3) as usize
    }

    /// The bits of the first byte that are in the span, if only its start mattered.
    fn head_mask(self) -> u8 {
        0xff >> (self.first & 7)
    }

    /// The bits of the last byte that are in the span, if only its end mattered.
    fn tail_mask(self) -> u8 {
        0xff << (7 - (self.last & 7))
    }
}

/// The bit at `at`; bits past the end are 0.
pub(crate) fn bit_at(bytes: &[u8], at: u64) -> bool {
    bytes.get((at >> 3) as usize).is_some_and(|byte| byte >> (7 - (at & 7)) & 1 == 1)
}

/// How many bits of `bytes` in `span`, which lies within them, are 1.
pub(crate) fn count_ones(bytes: &[u8], span: Span) -> u64 {
    let covered = &bytes[span.byte_first()..=span.byte_last()];
    let outside =
        (covered[0] & !span.head_mask()).count_ones() + (covered[covered.len() - 1] & !span.tail_mask()).count_ones();
    let (words, rest) = covered.as_chunks::<WORD_BYTES>();
    let in_words: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    let in_rest: u64 = rest.iter().map(|byte| u64::from(byte.count_ones())).sum();
    in_words + in_rest - u64::from(outside)
}

/// The first bit of `bytes` in `span`, which lies within them, that is `wanted`.
pub(crate) fn find(bytes: &[u8], wanted: bool, span: Span) -> Option<u64> {
    let (first, last) = (span.byte_first(), span.byte_last());
    let flip = if wanted { 0 } else { 0xff };
    let position = |byte: usize, seen: u8| (seen != 0).then(|| byte as u64 * 8 + u64::from(seen.leading_zeros()));
    let head = (bytes[first] ^ flip) & span.head_mask();
    if first == last {
        return position(first, head & span.tail_mask());
    }
    position(first, head)
        .or_else(|| find_in_bytes(&bytes[first + 1..last], flip).map(|at| at + (first as u64 + 1) * 8))
        .or_else(|| position(last, (bytes[last] ^ flip) & span.tail_mask()))
}

/// The first 1 of `bytes`, each of them XORed with `flip`.
fn find_in_bytes(bytes: &[u8], flip: u8) -> Option<u64> {
    let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
    let flip_word = u64::from_ne_bytes([flip; WORD_BYTES]);
    if let Some(index) = words.iter().position(|word| u64::from_ne_bytes(*word) != flip_word) {
        let word = u64::from_be_bytes(words[index]) ^ flip_word;
        return Some((index * WORD_BYTES) as u64 * 8 + u64::from(word.leading_zeros()));
    }
    let index = rest.iter().position(|byte| *byte != flip)?;
    Some((words.len() * WORD_BYTES + index) as u64 * 8 + u64::from((rest[index] ^ flip).leading_zeros()))
}

/// Sets `into[n]` to `combine(into[n], from[n])` for all `n` that both have.
pub(crate) fn combine(into: &mut [u8], from: &[u8], combine: impl Fn(u64, u64) -> u64) {
    let both = into.len().min(from.len());
    let (words, rest) = into[..both].as_chunks_mut::<WORD_BYTES>();
    let (from_words, from_rest) = from[..both].as_chunks::<WORD_BYTES>();
    for (word, from) in words.iter_mut().zip(from_words) {
        *word = combine(u64::from_ne_bytes(*word), u64::from_ne_bytes(*from)).to_ne_bytes();
    }
    for (byte, from) in rest.iter_mut().zip(from_rest) {
        *byte = combine(u64::from(*byte), u64::from(*from)) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Strings of several words with runs of equal bytes, so that words, heads and tails all decide in some case.
    fn samples() -> Vec<Vec<u8>> {
        let mut all = vec![vec![0; 19], vec![0xff; 19]];
        for at in [0, 1, 7, 8, 9, 15, 16, 17, 18] {
            all.extend([0x00, 0xff].map(|fill| {
                let mut bytes = vec![fill; 19];
                bytes[at] ^= 0x14;
                bytes
            }));
        }
        all
    }

    fn spans() -> impl Iterator<Item = Span> {
        let bits = 19 * 8u64;
        (0..bits).flat_map(move |first| (first..bits).map(move |last| Span { first, last }))
    }

    #[test]
    fn counting_and_finding_agree_with_looking_at_each_bit() {
        for bytes in samples() {
            for span in spans() {
                let bits = || (span.first..=span.last).filter(|at| bit_at(&bytes, *at));
                assert_eq!(count_ones(&bytes, span), bits().count() as u64, "{span:?} of {bytes:?}");
                assert_eq!(find(&bytes, true, span), bits().next(), "{span:?} of {bytes:?}");
                let zero = (span.first..=span.last).find(|at| !bit_at(&bytes, *at));
                assert_eq!(find(&bytes, false, span), zero, "{span:?} of {bytes:?}");
            }
        }
    }

    #[test]
    fn combining_touches_what_both_have_and_no_more() {
        for (into_bytes, from_bytes) in [(0, 5), (5, 0), (7, 9), (20, 17), (16, 16)] {
            let mut into = vec![0b1100; into_bytes];
            combine(&mut into, &vec![0b1010; from_bytes], |a, b| a ^ b);
            let expected = (0..into_bytes).map(|at| if at < from_bytes { 0b0110 } else { 0b1100 });
            assert!(into.into_iter().eq(expected));
        }
    }
}
