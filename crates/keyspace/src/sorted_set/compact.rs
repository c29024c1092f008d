//! A small sorted set: all members in one byte vector, in their order, behind their number; found by walking it.
//!
//! ```text
//! set      nothing, or count:u8 | member *
//! member   is float:1 member_bytes:7 | score | member
//! score    a whole number below 2^48: varint, zigzag; any other, and -0: f64 little-endian
//! ```
//!
//! At these sizes a walk over neighbouring bytes beats a tree and a table, and costs two or three bytes a member.
//!
//! The count lies in the vector because next to it, it would make every value of the keyspace larger.
//!
//! Invariants: the members that are counted fill the vector exactly, ascending by score and then by member; members
//! differ; a score has one encoding.

use super::{MEMBER_COMPACT_BYTES_MAX, MEMBER_COMPACT_COUNT_MAX, Scored};
use std::ops::Range;

const FLOAT_BIT: u8 = 0x80;
const FLOAT_BYTES: usize = 8;
/// Whole scores below this are kept as varints, of seven bytes at most.
const WHOLE_MAX: f64 = (1u64 << 48) as f64;
/// Where the first member starts.
const MEMBERS_AT: usize = 1;
/// Allocations are rounded to this, as allocators do anyway.
const CAPACITY_STEP_BYTES: usize = 16;

const _: () = assert!(MEMBER_COMPACT_BYTES_MAX < FLOAT_BIT as usize, "a length must leave the float bit free");
const _: () = assert!(MEMBER_COMPACT_COUNT_MAX <= u8::MAX as usize, "the count is kept in a byte");
const MEMBERS_BYTES_MAX: usize = MEMBERS_AT + MEMBER_COMPACT_COUNT_MAX * (1 + FLOAT_BYTES + MEMBER_COMPACT_BYTES_MAX);
const _: () = assert!(MEMBERS_BYTES_MAX <= u16::MAX as usize, "places of members are kept in 16 bits");

/// See the module's text.
#[derive(Default)]
pub(super) struct Compact {
    members: Vec<u8>,
}

/// Where a member lies.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    member_at: usize,
    end: usize,
    score: f64,
}

/// A score as it is written: its bytes and how many of them.
fn encoded(score: f64) -> ([u8; FLOAT_BYTES], usize, bool) {
    let is_minus_zero = score == 0.0 && score.is_sign_negative();
    if score.trunc() != score || WHOLE_MAX <= score.abs() || is_minus_zero {
        return (score.to_le_bytes(), FLOAT_BYTES, true);
    }
    let whole = score as i64;
    let mut rest = ((whole << 1) ^ (whole >> 63)) as u64;
    let (mut bytes, mut used) = ([0; FLOAT_BYTES], 0);
    while rest >= 0x80 {
        bytes[used] = rest as u8 | 0x80;
        rest >>= 7;
        used += 1;
    }
    bytes[used] = rest as u8;
    (bytes, used + 1, false)
}

impl Compact {
    /// All of it as it lies in memory.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.members
    }

    pub fn len(&self) -> usize {
        self.members.first().map_or(0, |count| usize::from(*count))
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        self.members.capacity()
    }

    /// The member that starts at `start`; `None` at the end.
    #[inline]
    fn span(&self, start: usize) -> Option<Span> {
        let head = *self.members.get(start)?;
        let mut at = start + 1;
        let score = if head & FLOAT_BIT == 0 {
            let (mut zigzag, mut shift) = (0u64, 0);
            loop {
                let byte = self.members[at];
                at += 1;
                zigzag |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            ((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)) as f64
        } else {
            let bytes = self.members[at..].first_chunk::<FLOAT_BYTES>().expect("a float is whole");
            at += FLOAT_BYTES;
            f64::from_le_bytes(*bytes)
        };
        Some(Span { start, member_at: at, end: at + usize::from(head & !FLOAT_BIT), score })
    }

    #[inline]
    fn scored(&self, span: Span) -> Scored<'_> {
        Scored { member: &self.members[span.member_at..span.end], score: span.score }
    }

    #[inline]
    fn spans(&self) -> impl Iterator<Item = Span> {
        let mut start = MEMBERS_AT;
        std::iter::from_fn(move || {
            let span = self.span(start)?;
            start = span.end;
            Some(span)
        })
    }

    #[inline]
    fn find(&self, member: &[u8]) -> Option<Span> {
        self.spans().find(|span| {
            // Members mostly differ at their end (`member:17`), so the last byte is looked at before the rest.
            let found = &self.members[span.member_at..span.end];
            found.len() == member.len() && found.last() == member.last() && found == member
        })
    }

    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.find(member).map(|span| span.score)
    }

    /// Whether a member that is not there may be inserted.
    pub fn has_room_for(&self, member: &[u8]) -> bool {
        member.len() <= MEMBER_COMPACT_BYTES_MAX && self.len() < MEMBER_COMPACT_COUNT_MAX
    }

    /// Inserts a member that is not there, and for which there is room.
    pub fn insert(&mut self, member: &[u8], score: f64) {
        assert!(self.has_room_for(member), "the caller asked for room");
        let new = Scored { member, score };
        let at = self.spans().find(|span| new.order(&self.scored(*span)).is_lt());
        let at = at.map_or(self.members.len().max(MEMBERS_AT), |span| span.start);
        let (score_bytes, score_used, is_float) = encoded(score);
        let member_at = at + 1 + score_used;
        self.open(at, 1 + score_used + member.len());
        self.members[at] = member.len() as u8 | if is_float { FLOAT_BIT } else { 0 };
        self.members[at + 1..member_at].copy_from_slice(&score_bytes[..score_used]);
        self.members[member_at..member_at + member.len()].copy_from_slice(member);
        self.members[0] += 1;
    }

    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let span = self.find(member)?;
        self.members.copy_within(span.end.., span.start);
        self.members.truncate(self.members.len() - (span.end - span.start));
        self.members[0] -= 1;
        if self.members[0] == 0 {
            self.members.clear();
        }
        assert!(self.members.len() != MEMBERS_AT, "what is counted must be there");
        if self.members.len() < self.members.capacity() / 2 {
            self.members.shrink_to(self.members.len().next_multiple_of(CAPACITY_STEP_BYTES));
        }
        Some(span.score)
    }

    /// Makes room for `bytes` at `at`, moving what follows. Allocates no more than that takes: most sets stay small.
    fn open(&mut self, at: usize, bytes: usize) {
        let end = self.members.len().max(MEMBERS_AT);
        if self.members.capacity() < end + bytes {
            self.members.reserve_exact((end + bytes).next_multiple_of(CAPACITY_STEP_BYTES) - self.members.len());
        }
        self.members.resize(end + bytes, 0);
        self.members.copy_within(at..end, at + bytes);
    }

    /// All members in order.
    pub fn members(&self) -> impl Iterator<Item = Scored<'_>> {
        self.spans().map(|span| self.scored(span))
    }

    /// The members with these ranks, the last one first.
    pub fn members_back(&self, ranks: Range<usize>) -> impl Iterator<Item = Scored<'_>> {
        let spans = self.spans().skip(ranks.start).take(ranks.len());
        let starts: Vec<u16> = spans.map(|span| span.start as u16).collect();
        starts.into_iter().rev().filter_map(|start| self.span(usize::from(start))).map(|span| self.scored(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_score_reads_back_bit_for_bit() {
        let whole = (0..64).flat_map(|bit| [(1u64 << bit) as f64, -((1u64 << bit) as f64)]);
        let edges = whole.flat_map(|score| [score - 1.0, score, score + 1.0]);
        let others = [0.0, -0.0, 0.5, -1.5, 1e300, 5e-324, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY];
        for score in edges.chain(others) {
            let mut compact = Compact::default();
            compact.insert(b"member", score);
            assert_eq!(compact.score(b"member").map(f64::to_bits), Some(score.to_bits()), "{score:e}");
        }
    }

    #[test]
    fn a_member_with_a_small_score_takes_two_bytes_more_than_its_name() {
        let mut compact = Compact::default();
        for index in 0..16 {
            compact.insert(format!("member:{index:07}").as_bytes(), f64::from(index));
        }
        assert_eq!(compact.members.len(), 1 + 16 * (14 + 2));
        assert_eq!(compact.bytes(), 272);
    }
}
