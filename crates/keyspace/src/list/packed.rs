//! How an element of a list lies in its chunk: a head of one byte, and data that the head describes.
//!
//! ```text
//! head       data
//! 0 ..= 127  a string of so many bytes
//! 128        bytes:u16 | string | bytes:u16       a longer string; its length can be read from either side
//! 129        bytes:u32 | string | bytes:u32       a string of 64 KiB and more
//! 130 ..= 137   an integer from 0 up, its lowest 1 ..= 8 bytes, little-endian
//! 138 ..= 145   a negative integer, all its bits flipped, likewise
//! 146 ..= 255   nothing: the integers 0 ..= 109
//! ```
//!
//! A string that is the canonical decimal form of an integer is always kept as an integer, in as few bytes as will
//! do, so that equal elements have equal heads and data. Deliberately only in memory: images have a form of their own.

use crate::tx::Str;

const SHORT_BYTES_MAX: usize = 127;
const LONG: u8 = 128;
const HUGE: u8 = 129;
const POSITIVE: u8 = 130;
const NEGATIVE: u8 = 138;
const SMALL: u8 = 146;
/// The largest integer that its head alone stands for.
const SMALL_MAX: i64 = (u8::MAX - SMALL) as i64;
const LONG_FRAME_BYTES: usize = 2;
const HUGE_FRAME_BYTES: usize = 4;

const _: () = assert!(POSITIVE + 8 == NEGATIVE && NEGATIVE + 8 == SMALL, "an integer has 1 to 8 bytes");
const _: () = assert!(crate::entry::STRING_BYTES_MAX <= u32::MAX as usize, "a length has four bytes");

/// An element about to be put into a chunk.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    pub head: u8,
    /// What its data takes, frame included.
    pub data_bytes: usize,
    element: Str<'a>,
}

impl<'a> Packed<'a> {
    /// The element with these bytes.
    #[inline]
    pub fn of(element: Str<'a>) -> Packed<'a> {
        let (head, data_bytes) = match element {
            Str::Int(number @ 0..=SMALL_MAX) => (SMALL + number as u8, 0),
            Str::Int(number @ 0..) => integer_head(POSITIVE, number),
            Str::Int(number) => integer_head(NEGATIVE, !number),
            Str::Bytes(bytes) => match bytes.len() {
                short @ 0..=SHORT_BYTES_MAX => (short as u8, short),
                long if u16::try_from(long).is_ok() => (LONG, long + 2 * LONG_FRAME_BYTES),
                huge => (HUGE, huge + 2 * HUGE_FRAME_BYTES),
            },
        };
        Packed { head, data_bytes, element }
    }

    /// Bytes it takes in a chunk.
    pub fn bytes(&self) -> usize {
        1 + self.data_bytes
    }

    /// Writes its data, for which `out` has exactly the room.
    #[inline]
    pub fn write(&self, out: &mut [u8]) {
        match (self.element, self.head) {
            (Str::Int(number), _) => {
                let bits = if number < 0 { !number } else { number };
                out.copy_from_slice(&bits.to_le_bytes()[..self.data_bytes]);
            }
            (Str::Bytes(bytes), LONG) => write_framed(out, &(bytes.len() as u16).to_le_bytes(), bytes),
            (Str::Bytes(bytes), HUGE) => write_framed(out, &(bytes.len() as u32).to_le_bytes(), bytes),
            (Str::Bytes(bytes), _) => out.copy_from_slice(bytes),
        }
    }
}

fn integer_head(first: u8, bits: i64) -> (u8, usize) {
    let byte_count = (64 - bits.leading_zeros()).div_ceil(8).max(1) as u8;
    (first + byte_count - 1, usize::from(byte_count))
}

fn write_framed(out: &mut [u8], frame: &[u8], bytes: &[u8]) {
    let end = frame.len() + bytes.len();
    out[..frame.len()].copy_from_slice(frame);
    out[frame.len()..end].copy_from_slice(bytes);
    out[end..].copy_from_slice(frame);
}

/// Data bytes by head; of those with a frame, only the frame.
static DATA_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut head = 0;
    while head < 256 {
        table[head] = match head as u8 {
            short @ 0..LONG => short,
            LONG => 2 * LONG_FRAME_BYTES as u8,
            HUGE => 2 * HUGE_FRAME_BYTES as u8,
            positive @ POSITIVE..NEGATIVE => positive - POSITIVE + 1,
            negative @ NEGATIVE..SMALL => negative - NEGATIVE + 1,
            SMALL.. => 0,
        };
        head += 1;
    }
    table
};

/// Bytes of the data that begins `data` and belongs to `head`.
#[inline]
pub(super) fn data_bytes_at_front(head: u8, data: &[u8]) -> usize {
    usize::from(DATA_BYTES[usize::from(head)])
        + match head {
            LONG => number(&data[..LONG_FRAME_BYTES]),
            HUGE => number(&data[..HUGE_FRAME_BYTES]),
            _ => 0,
        }
}

/// Bytes of the data that ends `data` and belongs to `head`.
#[inline]
pub(super) fn data_bytes_at_back(head: u8, data: &[u8]) -> usize {
    usize::from(DATA_BYTES[usize::from(head)])
        + match head {
            LONG => number(&data[data.len() - LONG_FRAME_BYTES..]),
            HUGE => number(&data[data.len() - HUGE_FRAME_BYTES..]),
            _ => 0,
        }
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// The element with this head and exactly this data.
#[inline]
pub(super) fn read(head: u8, data: &[u8]) -> Str<'_> {
    match head {
        0..LONG => Str::Bytes(data),
        LONG => Str::Bytes(&data[LONG_FRAME_BYTES..data.len() - LONG_FRAME_BYTES]),
        HUGE => Str::Bytes(&data[HUGE_FRAME_BYTES..data.len() - HUGE_FRAME_BYTES]),
        POSITIVE..NEGATIVE => Str::Int(number(data) as i64),
        NEGATIVE..SMALL => Str::Int(!(number(data) as i64)),
        SMALL.. => Str::Int(i64::from(head - SMALL)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_of_string_and_integer_reads_back_from_both_sides() {
        let strings = [0usize, 1, 127, 128, 129, 65_535, 65_536, 70_000].map(|bytes| vec![b'x'; bytes]);
        let mut numbers = vec![0, 1, 109, 110, 255, 256, i64::MAX, i64::MIN, -1, -256, -257];
        numbers.extend((0..63).flat_map(|bit| [1 << bit, -(1 << bit), (1 << bit) - 1]));
        let elements = strings.iter().map(|string| Str::Bytes(string)).chain(numbers.into_iter().map(Str::Int));
        for element in elements {
            let packed = Packed::of(element);
            let mut data = vec![0; packed.data_bytes];
            packed.write(&mut data);
            assert_eq!(data_bytes_at_front(packed.head, &data), data.len());
            assert_eq!(data_bytes_at_back(packed.head, &data), data.len());
            assert_eq!(read(packed.head, &data), element);
        }
    }

    #[test]
    fn integers_take_as_few_bytes_as_they_can() {
        let bytes = [0, 109, 110, 255, 256, 65_535, 65_536, -1, -256, -257, i64::MIN]
            .map(|number| Packed::of(Str::Int(number)).bytes());
        assert_eq!(bytes, [1, 1, 2, 2, 3, 3, 4, 2, 2, 3, 9]);
    }
}
