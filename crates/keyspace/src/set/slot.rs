//! One member of a large set, in the 64 bits that a table holds.
//!
//! ```text
//! bits 56..64   what the others are
//! 0             the address of a block
//! 1             an integer of 56 bits, two's complement, whose decimal text is the member
//! 2..=9         a member of that many bytes less two, first byte lowest
//! ```
//!
//! Most members of most sets are numbers or short words, and take no block then: 14 bytes each instead of 30 or more.
//!
//! Invariant: one member has one slot that is no address, or none, so that such slots are equal exactly when their
//! members are.

use crate::value::as_integer;
use base::number::{NumberText, format_i64};

const TAG_SHIFT: u32 = 56;
const TAG_INT: u64 = 1;
const TAG_SHORT: u64 = 2;
/// Longest member that lies in a slot as it is.
const SHORT_BYTES_MAX: usize = 7;
const INT_MIN: i64 = -(1 << 55);
const INT_MAX: i64 = (1 << 55) - 1;

/// A member that lies in its slot.
pub(super) enum Inlined {
    /// As text.
    Int(NumberText),
    /// As it is: the bytes, and how many.
    Short([u8; 8], u8),
}

/// The slot of a member that needs no block.
#[inline]
pub(super) fn inline(member: &[u8]) -> Option<u64> {
    if member.len() <= SHORT_BYTES_MAX {
        let mut word = [0; 8];
        word[..member.len()].copy_from_slice(member);
        return Some(u64::from_le_bytes(word) | (TAG_SHORT + member.len() as u64) << TAG_SHIFT);
    }
    let number = as_integer(member).filter(|number| (INT_MIN..=INT_MAX).contains(number))?;
    Some(number as u64 & !(u64::MAX << TAG_SHIFT) | TAG_INT << TAG_SHIFT)
}

/// The member in a slot; `None` when the slot is an address.
#[inline]
pub(super) fn inlined(slot: u64) -> Option<Inlined> {
    match slot >> TAG_SHIFT {
        0 => None,
        TAG_INT => Some(Inlined::Int(format_i64((slot << 8) as i64 >> 8))),
        tag => Some(Inlined::Short(slot.to_le_bytes(), (tag - TAG_SHORT) as u8)),
    }
}

/// Whether a slot is the address of a block.
#[inline]
pub(super) fn is_address(slot: u64) -> bool {
    slot >> TAG_SHIFT == 0
}
