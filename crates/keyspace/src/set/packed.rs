//! A small set of anything: all members in one byte vector, found by walking it.
//!
//! ```text
//! 0:u8 count:u8 | member_bytes:u8 member …
//! ```
//!
//! The leading zero is no width of integers (see `ints`). Deliberately not sorted and not indexed: at these sizes a
//! walk over neighbouring bytes beats both.
//!
//! Invariants: `count` members fill the bytes exactly; members differ.

use super::{MEMBER_PACKED_BYTES_MAX, PACKED_COUNT_MAX};
use crate::packed::{resize, same_name};

/// What begins a packed set.
pub(super) const MARK: u8 = 0;
const COUNT_AT: usize = 1;
const HEAD_BYTES: usize = 2;

const _: () = assert!(PACKED_COUNT_MAX <= u8::MAX as usize, "the count is kept in a byte");
const _: () = assert!(MEMBER_PACKED_BYTES_MAX <= u8::MAX as usize, "so is a length");

/// The bytes of a packed set without members, which [`push`] is to fill.
pub(super) fn empty() -> Vec<u8> {
    vec![MARK, 0]
}

pub(super) fn len(bytes: &[u8]) -> usize {
    usize::from(bytes[COUNT_AT])
}

/// The members, in the order in which they came.
pub(super) fn members(bytes: &[u8]) -> Members<'_> {
    Members { rest: &bytes[HEAD_BYTES..] }
}

/// See [`members`].
pub(super) struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (member_bytes, rest) = self.rest.split_first()?;
        let (member, rest) = rest.split_at(usize::from(*member_bytes));
        self.rest = rest;
        Some(member)
    }
}

#[inline]
pub(super) fn contains(bytes: &[u8], member: &[u8]) -> bool {
    members(bytes).any(|other| same_name(other, member))
}

/// Adds a member that is known to be absent, and says whether there was room for it.
#[must_use]
pub(super) fn push(bytes: &mut Vec<u8>, member: &[u8]) -> bool {
    if MEMBER_PACKED_BYTES_MAX < member.len() || len(bytes) == PACKED_COUNT_MAX {
        return false;
    }
    let end = bytes.len();
    resize(bytes, end, 0, 1 + member.len());
    bytes[end] = member.len() as u8;
    bytes[end + 1..].copy_from_slice(member);
    bytes[COUNT_AT] += 1;
    true
}

/// Removes a member and says whether it was there.
pub(super) fn remove(bytes: &mut Vec<u8>, member: &[u8]) -> bool {
    let mut at = HEAD_BYTES;
    for other in members(bytes) {
        if same_name(other, member) {
            resize(bytes, at, 1 + member.len(), 0);
            bytes[COUNT_AT] -= 1;
            if bytes[COUNT_AT] == 0 {
                assert!(bytes.len() == HEAD_BYTES, "members and their count must agree");
                *bytes = Vec::new();
            }
            return true;
        }
        at += 1 + other.len();
    }
    false
}
