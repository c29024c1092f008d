//! From bounds as clients spell them to ranks of a sorted set.
//!
//! Whatever a range is given by, it is ranks in the end: a start and an end. Bounds turn into them here, and what LIMIT
//! leaves of them.
//!
//! Source: behaviour of Valkey 9.1 `t_zset.c`.

use crate::error::Error;
use base::number::{parse_f64, parse_i64};
use keyspace::sorted_set::{Direction, SortedSet};
use std::ops::Range;

/// By what a range is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By rank.
    Rank,
    /// By score.
    Score,
    /// By member, of a set whose scores are all the same.
    Member,
}

/// A range as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bounds<'a> {
    /// Ranks from the first to the last, both included, in the direction of the walk; negative ones count from the end.
    Ranks(i64, i64),
    /// Scores.
    Scores(ScoreBound, ScoreBound),
    /// Members.
    Members(MemberBound<'a>, MemberBound<'a>),
}

/// `1.5`, `(1.5`, `-inf`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ScoreBound {
    value: f64,
    is_exclusive: bool,
}

/// `-`, `+`, `[member`, `(member`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MemberBound<'a> {
    /// Before all members.
    Lowest,
    /// Behind all members.
    Highest,
    /// At this member.
    Included(&'a [u8]),
    /// At this member, without it.
    Excluded(&'a [u8]),
}

impl ScoreBound {
    fn parse(text: &[u8]) -> Result<ScoreBound, Error> {
        let (is_exclusive, number) = match text.strip_prefix(b"(") {
            Some(number) => (true, number),
            None => (false, text),
        };
        let value = parse_f64(number).ok_or(Error::text("ERR min or max is not a float"))?;
        Ok(ScoreBound { value, is_exclusive })
    }

    /// Whether `score` comes before a range that starts here.
    fn starts_after(self, score: f64) -> bool {
        score < self.value || (self.is_exclusive && score == self.value)
    }

    /// Whether `score` comes before the end of a range that ends here.
    fn ends_after(self, score: f64) -> bool {
        score < self.value || (!self.is_exclusive && score == self.value)
    }
}

impl<'a> MemberBound<'a> {
    fn parse(text: &'a [u8]) -> Result<MemberBound<'a>, Error> {
        match text {
            b"-" => Ok(MemberBound::Lowest),
            b"+" => Ok(MemberBound::Highest),
            [b'[', member @ ..] => Ok(MemberBound::Included(member)),
            [b'(', member @ ..] => Ok(MemberBound::Excluded(member)),
            _ => Err(Error::text("ERR min or max not valid string range item")),
        }
    }

    /// As [`ScoreBound::starts_after`].
    fn starts_after(self, member: &[u8]) -> bool {
        match self {
            MemberBound::Lowest => false,
            MemberBound::Highest => true,
            MemberBound::Included(bound) => member < bound,
            MemberBound::Excluded(bound) => member <= bound,
        }
    }

    /// As [`ScoreBound::ends_after`].
    fn ends_after(self, member: &[u8]) -> bool {
        match self {
            MemberBound::Lowest => false,
            MemberBound::Highest => true,
            MemberBound::Included(bound) => member <= bound,
            MemberBound::Excluded(bound) => member < bound,
        }
    }
}

impl<'a> Bounds<'a> {
    /// Reads two bounds, the lower one first; ranks have no such order.
    pub(crate) fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Bounds<'a>, Error> {
        let rank = |text: &[u8]| parse_i64(text).ok_or(Error::NotInteger);
        Ok(match by {
            By::Rank => Bounds::Ranks(rank(min)?, rank(max)?),
            By::Score => Bounds::Scores(ScoreBound::parse(min)?, ScoreBound::parse(max)?),
            By::Member => Bounds::Members(MemberBound::parse(min)?, MemberBound::parse(max)?),
        })
    }

    /// The ranks, lowest score first, of what lies within. Given ranks count in `direction`.
    ///
    /// # Cost
    /// Two ways down the tree.
    pub(crate) fn ranks(&self, set: &SortedSet, direction: Direction) -> Range<usize> {
        let (start, end) = match *self {
            Bounds::Ranks(first, last) => return counted_ranks(first, last, set.len(), direction),
            Bounds::Scores(min, max) => (
                set.partition_by_score(|score| min.starts_after(score)),
                set.partition_by_score(|score| max.ends_after(score)),
            ),
            Bounds::Members(min, max) => (
                set.partition_by_member(|member| min.starts_after(member)),
                set.partition_by_member(|member| max.ends_after(member)),
            ),
        };
        start..end.max(start)
    }
}

/// Ranks from `first` to `last`, which may count from the end, of `len` members.
fn counted_ranks(first: i64, last: i64, len: usize, direction: Direction) -> Range<usize> {
    let len = len as i64;
    let from_start = |rank: i64| if rank < 0 { rank.saturating_add(len) } else { rank };
    let (first, last) = (from_start(first).max(0), from_start(last).min(len - 1));
    if last < first {
        return 0..0;
    }
    match direction {
        Direction::Ascending => first as usize..last as usize + 1,
        Direction::Descending => (len - 1 - last) as usize..(len - first) as usize,
    }
}

/// LIMIT offset count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Members to skip; a negative number skips all.
    pub(crate) offset: i64,
    /// Members to give; a negative number gives all.
    pub(crate) count: i64,
}

impl Limit {
    /// What is left of ranks that are walked in this direction.
    pub(crate) fn of(self, ranks: Range<usize>, direction: Direction) -> Range<usize> {
        let skipped = usize::try_from(self.offset).unwrap_or(usize::MAX).min(ranks.len());
        let given = usize::try_from(self.count).unwrap_or(usize::MAX).min(ranks.len() - skipped);
        match direction {
            Direction::Ascending => ranks.start + skipped..ranks.start + skipped + given,
            Direction::Descending => ranks.end - skipped - given..ranks.end - skipped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_what_a_vector_would_give() {
        for len in 0..6i64 {
            for (first, last) in (-8..8).flat_map(|first| (-8..8).map(move |last| (first, last))) {
                let at = |rank: i64| if rank < 0 { rank + len } else { rank };
                let wanted: Vec<usize> = (0..len)
                    .filter(|rank| at(first).max(0) <= *rank && *rank <= at(last))
                    .map(|rank| rank as usize)
                    .collect();
                let ascending = counted_ranks(first, last, len as usize, Direction::Ascending);
                assert!(ascending.eq(wanted.iter().copied()), "{first} {last} of {len}");
                let descending = counted_ranks(first, last, len as usize, Direction::Descending);
                assert!(descending.rev().map(|rank| len as usize - 1 - rank).eq(wanted), "{first} {last} of {len}");
            }
        }
        assert_eq!(counted_ranks(i64::MIN, i64::MAX, 3, Direction::Ascending), 0..3);
        assert_eq!(counted_ranks(i64::MAX, i64::MIN, 3, Direction::Descending), 0..0);
    }

    #[test]
    fn a_limit_skips_and_gives_in_the_direction_of_the_walk() {
        for (offset, count) in (-2..7).flat_map(|offset| (-2..7).map(move |count| (offset, count))) {
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            let take = usize::try_from(count).unwrap_or(usize::MAX);
            let limit = Limit { offset, count };
            assert!(limit.of(10..15, Direction::Ascending).eq((10..15).skip(skip).take(take)));
            assert!(limit.of(10..15, Direction::Descending).rev().eq((10..15).rev().skip(skip).take(take)));
        }
    }

    #[test]
    fn bounds_are_read_as_they_are_spelled() {
        let score = |text: &str| ScoreBound::parse(text.as_bytes()).map(|bound| (bound.value, bound.is_exclusive));
        assert_eq!(score("1.5"), Ok((1.5, false)));
        assert_eq!(score("(-inf"), Ok((f64::NEG_INFINITY, true)));
        assert!(["", "(", "((1", "nan", "1 ", "[1"].iter().all(|text| score(text).is_err()));
        let member = |text: &'static str| MemberBound::parse(text.as_bytes());
        assert_eq!(member("["), Ok(MemberBound::Included(b"")));
        assert_eq!(member("(a"), Ok(MemberBound::Excluded(b"a")));
        assert!(["", "a", "+x", "-x", "--"].iter().all(|text| member(text).is_err()));
    }
}
