//! The sorted-set data type: members, each once, ordered by score and then by their bytes.
//!
//! Two forms, one behaviour. While a set is small it is `compact`: one byte vector in order. Past a limit it becomes
//! `large`: a counted B+tree in order and a table by member, and stays so. Everything that asks for a range (by rank,
//! by score, by member) is a rank or two and a walk from one to the other.
//!
//! Invariants: members are unique; no score is NaN; `bytes` counts what the heap gave; ranks count from 0 at the
//! lowest score.
//!
//! Not done, and why: a large set that shrinks does not become compact again, because a set that hovers at a limit
//! would be rebuilt each time (its image gives the compact form when it is next read).

mod compact;
mod element;
mod image;
mod large;
#[cfg(test)]
mod tests;
mod tree;

pub use image::{ImageError, encode_image};

use crate::value::Within;
use compact::Compact;
use large::Large;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

/// Most members of a compact sorted set.
pub const MEMBER_COMPACT_COUNT_MAX: usize = 128;
/// Longest member of a compact sorted set.
pub const MEMBER_COMPACT_BYTES_MAX: usize = 64;

/// A member as it lies in its set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored<'a> {
    /// Unique in the set.
    pub member: &'a [u8],
    /// What it is ordered by; never NaN.
    pub score: f64,
}

impl Scored<'_> {
    /// The order of sorted sets: by score, then by the bytes of the member. Zero equals minus zero.
    ///
    /// # Panics
    /// When a score is NaN.
    #[inline]
    pub fn order(&self, other: &Scored<'_>) -> Ordering {
        let by_score = self.score.partial_cmp(&other.score).expect("no score is NaN");
        by_score.then_with(|| self.member.cmp(other.member))
    }
}

/// Which way a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From low scores to high ones.
    Ascending,
    /// From high scores to low ones.
    Descending,
}

/// A sorted set. See the module's text.
#[derive(Default)]
pub struct SortedSet {
    form: Form,
}

enum Form {
    Compact(Compact),
    Large(Box<Large>),
}

impl Default for Form {
    fn default() -> Self {
        Form::Compact(Compact::default())
    }
}

const _: () = assert!(size_of::<SortedSet>() <= 24, "a sorted set must not outgrow the other values");

impl SortedSet {
    /// Where its members lie.
    #[inline]
    pub(crate) fn within(&self) -> Within<'_> {
        match &self.form {
            Form::Compact(compact) => Within::Bytes(compact.as_bytes()),
            Form::Large(large) => Within::Table(large.table()),
        }
    }

    /// An empty set; allocates nothing.
    pub fn new() -> Self {
        SortedSet::default()
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.form {
            Form::Compact(compact) => compact.len(),
            Form::Large(large) => large.len(),
        }
    }

    /// Whether there are no members.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes, the allocator's own overhead left out.
    ///
    /// # Cost
    /// Constant: kept up to date by each change. A large set's is exact but for its table, which was measured within
    /// the last thousandth of its members.
    #[inline]
    pub fn bytes(&self) -> usize {
        match &self.form {
            Form::Compact(compact) => compact.bytes(),
            Form::Large(large) => large.bytes(),
        }
    }

    /// Whether the set is in its small form, which OBJECT ENCODING calls `listpack`.
    pub fn is_compact(&self) -> bool {
        matches!(self.form, Form::Compact(_))
    }

    /// The score of a member.
    ///
    /// # Cost
    /// A walk over at most 128 members, or two cache lines. No allocation.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.form {
            Form::Compact(compact) => compact.score(member),
            Form::Large(large) => large.score(member),
        }
    }

    /// Sets the score of a member, which is added when absent, and returns the score it had.
    ///
    /// # Cost
    /// As [`SortedSet::score`], and a way down the tree; an allocation for a new member of a large set. The call that
    /// crosses a limit of the compact form moves 128 members.
    ///
    /// # Panics
    /// When the score is NaN, or the member 4 GiB or longer, which no door lets in.
    pub fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        assert!(!score.is_nan(), "no score is NaN");
        if let Form::Compact(compact) = &mut self.form {
            let old = compact.remove(member);
            if compact.has_room_for(member) {
                compact.insert(member, score);
                return old;
            }
        }
        self.enlarge().set(member, score)
    }

    /// The large form, which the set takes if it has not yet.
    fn enlarge(&mut self) -> &mut Large {
        if let Form::Compact(compact) = &self.form {
            let mut large = Box::<Large>::default();
            for Scored { member, score } in compact.members() {
                let old = large.set(member, score);
                assert!(old.is_none(), "members are unique in a compact set");
            }
            self.form = Form::Large(large);
        }
        match &mut self.form {
            Form::Large(large) => large,
            Form::Compact(_) => unreachable!("the form was just made large"),
        }
    }

    /// Removes a member and returns the score it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.form {
            Form::Compact(compact) => compact.remove(member),
            Form::Large(large) => large.remove(member),
        }
    }

    /// How many members `is_before` holds for, given scores. It must hold for all up to some score and for none beyond.
    ///
    /// # Cost
    /// O(log n) calls, O(n) in a compact set.
    pub fn partition_by_score(&self, is_before: impl Fn(f64) -> bool) -> usize {
        match &self.form {
            Form::Compact(compact) => compact.members().take_while(|scored| is_before(scored.score)).count(),
            Form::Large(large) => large.partition_by_score(is_before),
        }
    }

    /// As [`SortedSet::partition_by_score`], given members, for sets whose scores are all the same. In others the
    /// answer is some rank.
    pub fn partition_by_member(&self, is_before: impl Fn(&[u8]) -> bool) -> usize {
        match &self.form {
            Form::Compact(compact) => compact.members().take_while(|scored| is_before(scored.member)).count(),
            Form::Large(large) => large.partition_by_member(is_before),
        }
    }

    /// Number of members before this one, if it is there.
    ///
    /// # Cost
    /// As [`SortedSet::score`], and a way down the tree.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match &self.form {
            Form::Compact(compact) => compact.members().position(|scored| scored.member == member),
            Form::Large(large) => large.score(member).map(|score| large.count_before(&Scored { member, score })),
        }
    }

    /// Number of members up to and including this one, which need not be there (any more).
    ///
    /// # Cost
    /// As [`SortedSet::at`]; O(n) in a compact set.
    pub(crate) fn count_through(&self, last: &Scored<'_>) -> usize {
        match &self.form {
            Form::Compact(compact) => compact.members().take_while(|scored| scored.order(last).is_le()).count(),
            Form::Large(large) => {
                let before = large.count_before(last);
                before + usize::from(large.at(before).is_some_and(|scored| scored.order(last).is_eq()))
            }
        }
    }

    /// The member with this rank.
    ///
    /// # Cost
    /// O(log n).
    pub fn at(&self, rank: usize) -> Option<Scored<'_>> {
        match &self.form {
            Form::Compact(compact) => compact.members().nth(rank),
            Form::Large(large) => large.at(rank),
        }
    }

    /// The members with these ranks. Ranks past the end are left out.
    ///
    /// # Cost
    /// O(log n) to begin with, and amortised constant for each; an allocation for a compact set walked backwards.
    pub fn walk(&self, ranks: Range<usize>, direction: Direction) -> impl Iterator<Item = Scored<'_>> {
        let ranks = ranks.start.min(self.len())..ranks.end.min(self.len());
        match (&self.form, direction) {
            (Form::Compact(compact), Direction::Ascending) => {
                Walk::Ascending(compact.members().skip(ranks.start).take(ranks.len()))
            }
            (Form::Compact(compact), Direction::Descending) => Walk::Descending(compact.members_back(ranks)),
            (Form::Large(large), _) => Walk::Large(large.walk(ranks, direction)),
        }
    }

    /// All members in order.
    pub fn iter(&self) -> impl Iterator<Item = Scored<'_>> {
        self.walk(0..self.len(), Direction::Ascending)
    }

    /// One step of a scan: calls `each` with some `count` members and returns the next cursor. 0 starts, 0 ends.
    ///
    /// A member that is there from the first call to the last is seen at least once. A compact set is seen whole in one
    /// step, whatever the cursor, so that guarantee outlives a change of form.
    pub fn scan(&self, cursor: u64, count: usize, each: impl FnMut(Scored<'_>)) -> u64 {
        match &self.form {
            Form::Compact(compact) => {
                compact.members().for_each(each);
                0
            }
            Form::Large(large) => large.scan(cursor, count, each),
        }
    }
}

enum Walk<A, D, L> {
    Ascending(A),
    Descending(D),
    Large(L),
}

impl<'a, A, D, L> Iterator for Walk<A, D, L>
where
    A: Iterator<Item = Scored<'a>>,
    D: Iterator<Item = Scored<'a>>,
    L: Iterator<Item = Scored<'a>>,
{
    type Item = Scored<'a>;

    #[inline]
    fn next(&mut self) -> Option<Scored<'a>> {
        match self {
            Walk::Ascending(members) => members.next(),
            Walk::Descending(members) => members.next(),
            Walk::Large(members) => members.next(),
        }
    }
}

/// Equal content, whatever the form.
impl PartialEq for SortedSet {
    fn eq(&self, other: &SortedSet) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

/// The members in order.
impl fmt::Debug for SortedSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = |scored: Scored<'_>| (scored.member.escape_ascii().to_string(), scored.score);
        f.debug_map().entries(self.iter().map(entry)).finish()
    }
}
