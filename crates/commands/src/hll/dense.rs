//! Registers side by side, six bits each, the first in the lowest bits of the first byte.

use super::REGISTER_COUNT;

const BITS: usize = 6;
const MASK: u16 = (1 << BITS) - 1;

/// The bytes among `registers` that hold a register, and how far up it lies in them.
pub(crate) fn place(index: usize) -> (std::ops::Range<usize>, usize) {
    assert!(index < REGISTER_COUNT, "an index has fourteen bits");
    let bit = index * BITS;
    (bit / 8..(bit + BITS).div_ceil(8), bit % 8)
}

fn word(bytes: &[u8]) -> u16 {
    u16::from(bytes[0]) | bytes.get(1).map_or(0, |byte| u16::from(*byte) << 8)
}

/// The value of a register.
#[inline]
pub(crate) fn get(registers: &[u8], index: usize) -> u8 {
    let (bytes, shift) = place(index);
    (word(&registers[bytes]) >> shift & MASK) as u8
}

/// Gives a register a value, of which the lowest six bits count.
pub(crate) fn set(registers: &mut [u8], index: usize, value: u8) {
    let (bytes, shift) = place(index);
    let bytes = &mut registers[bytes];
    let changed = word(bytes) & !(MASK << shift) | (u16::from(value) & MASK) << shift;
    for (byte, new) in bytes.iter_mut().zip(changed.to_le_bytes()) {
        *byte = new;
    }
}
