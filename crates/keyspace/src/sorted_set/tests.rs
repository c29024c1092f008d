//! A sorted set against a naive model, and what single files cannot test: conversions, images, scans.

use super::*;
use crate::random::Random;
use base::codec::{put_bytes, put_varint};
use std::collections::{BTreeMap, BTreeSet};

impl Random {
    fn member(&mut self, members: u64) -> Vec<u8> {
        match self.below(members) {
            0 => Vec::new(),
            index if index > 200 && index % 64 == 0 => format!("{index:>070}").into_bytes(),
            index => format!("m{index}").into_bytes(),
        }
    }

    fn score(&mut self, scores: u64) -> f64 {
        match self.below(scores) {
            0 => f64::NEG_INFINITY,
            1 => f64::INFINITY,
            2 => -0.0,
            3 => 0.5,
            index => index as f64 - (scores / 2) as f64,
        }
    }
}

/// Members with their scores, sorted when asked.
type Model = BTreeMap<Vec<u8>, f64>;

fn sorted(model: &Model) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<(Vec<u8>, f64)> = model.iter().map(|(member, score)| (member.clone(), *score)).collect();
    all.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
    all
}

fn owned(scored: Scored<'_>) -> (Vec<u8>, f64) {
    (scored.member.to_vec(), scored.score)
}

fn image_of(set: &SortedSet) -> Vec<u8> {
    let mut image = Vec::new();
    set.encode(&mut image);
    image
}

fn scan_all(set: &SortedSet, count: usize) -> Vec<Vec<u8>> {
    let (mut seen, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = set.scan(cursor, count, |scored| seen.push(scored.member.to_vec()));
        if cursor == 0 {
            return seen;
        }
    }
}

fn assert_same(set: &SortedSet, model: &Model) {
    let all = sorted(model);
    assert_eq!(set.len(), all.len());
    assert_eq!(set.iter().map(owned).collect::<Vec<_>>(), all);
    for (rank, (member, score)) in all.iter().enumerate() {
        assert_eq!(set.score(member), Some(*score));
        assert_eq!(set.rank(member), Some(rank));
        assert_eq!(set.at(rank).map(owned).as_ref(), Some(&all[rank]));
    }
    assert!(set.at(all.len()).is_none());
    assert_eq!(scan_all(set, 10).into_iter().collect::<BTreeSet<_>>(), model.keys().cloned().collect());
    let back = SortedSet::decode(&image_of(set)).unwrap();
    assert_eq!(&back, set);
    assert_eq!(image_of(&back), image_of(set), "minus zero and all");
    let payload: usize = model.keys().map(Vec::len).sum();
    assert!(payload <= set.bytes());
}

fn assert_ranges(set: &SortedSet, model: &Model, random: &mut Random, scores: u64) {
    let all = sorted(model);
    let bound = random.score(scores);
    assert_eq!(set.partition_by_score(|score| score < bound), all.iter().filter(|(_, score)| *score < bound).count());
    assert_eq!(set.partition_by_score(|score| score <= bound), all.iter().filter(|(_, score)| *score <= bound).count());
    let (start, end) = (random.below(all.len() as u64 + 2) as usize, random.below(all.len() as u64 + 2) as usize);
    let expected = all.get(start..end.min(all.len())).unwrap_or(&[]);
    let forth: Vec<_> = set.walk(start..end, Direction::Ascending).map(owned).collect();
    let mut back: Vec<_> = set.walk(start..end, Direction::Descending).map(owned).collect();
    assert_eq!(forth, expected);
    back.reverse();
    assert_eq!(back, expected);
}

#[test]
fn random_operations_agree_with_a_naive_model_in_both_forms_and_across_them() {
    let mut compact_count = 0;
    // Members and scores such that a set stays compact, crosses by count, by a long member, has many equal scores.
    let mixes = [(20, 10), (120, 1000), (140, 5), (400, 8), (1000, 100_000), (3000, 4)];
    for (seed, (members, scores)) in mixes.into_iter().enumerate() {
        for round in 0..3u64 {
            let mut random = Random(seed as u64 * 100 + round);
            let (mut set, mut model) = (SortedSet::new(), Model::new());
            for turn in 0..4_000 {
                let member = random.member(members);
                // The second thousand mostly removes, so that large sets shrink and grow again.
                if random.below(10) < if turn / 1_000 == 1 { 7 } else { 3 } {
                    assert_eq!(set.remove(&member), model.remove(&member), "seed {seed} round {round}");
                } else {
                    let score = random.score(scores);
                    assert_eq!(set.set(&member, score), model.insert(member, score), "seed {seed} round {round}");
                }
                assert_eq!(set.len(), model.len());
                if turn % 400 == 0 {
                    assert_same(&set, &model);
                }
                if turn % 50 == 0 {
                    assert_ranges(&set, &model, &mut random, scores);
                }
            }
            assert_same(&set, &model);
            compact_count += usize::from(set.is_compact());
            for member in model.keys() {
                assert!(set.remove(member).is_some());
            }
            assert!(set.is_empty());
        }
    }
    assert!((1..18).contains(&compact_count), "both forms must have been tested: {compact_count}");
}

#[test]
fn a_range_by_member_is_found_where_scores_are_equal() {
    for count in [10u32, 1_000] {
        let mut set = SortedSet::new();
        for index in 0..count {
            set.set(format!("{index:05}").as_bytes(), 3.0);
        }
        for index in 0..count {
            let bound = format!("{index:05}");
            assert_eq!(set.partition_by_member(|member| member < bound.as_bytes()), index as usize);
            assert_eq!(set.partition_by_member(|member| member <= bound.as_bytes()), index as usize + 1);
        }
    }
}

#[test]
fn the_form_changes_at_the_limits_and_an_image_gives_the_compact_one_back() {
    let numbered = |count: usize| {
        let mut set = SortedSet::new();
        (0..count).for_each(|index| _ = set.set(format!("m{index}").as_bytes(), 1.0));
        set
    };
    assert!(numbered(MEMBER_COMPACT_COUNT_MAX).is_compact());
    let mut large = numbered(MEMBER_COMPACT_COUNT_MAX + 1);
    assert!(!large.is_compact());
    large.remove(b"m0");
    assert!(!large.is_compact());
    assert!(SortedSet::decode(&image_of(&large)).unwrap().is_compact());
    for (member_bytes, compact) in [(MEMBER_COMPACT_BYTES_MAX, true), (MEMBER_COMPACT_BYTES_MAX + 1, false)] {
        let mut set = numbered(3);
        set.set(&vec![b'x'; member_bytes], 2.0);
        assert_eq!((set.is_compact(), set.len()), (compact, 4));
        assert_eq!(set.set(b"m1", 7.0), Some(1.0));
    }
}

#[test]
fn members_there_throughout_are_seen_by_a_scan_while_others_come_and_go() {
    let mut set = SortedSet::new();
    (0..1_000).for_each(|index| _ = set.set(format!("stays{index}").as_bytes(), f64::from(index)));
    let (mut seen, mut cursor, mut calls) = (BTreeSet::new(), 0, 0);
    loop {
        cursor = set.scan(cursor, 10, |scored| _ = seen.insert(scored.member.to_vec()));
        calls += 1;
        (0..50).for_each(|index| _ = set.set(format!("comes{calls}:{index}").as_bytes(), 0.0));
        (0..50).for_each(|index| _ = set.remove(format!("comes{}:{index}", calls / 2).as_bytes()));
        if cursor == 0 {
            break;
        }
    }
    assert!((0..1_000).all(|index| seen.contains(format!("stays{index}").as_bytes())));
    assert!(calls > 10);
}

#[test]
fn a_bad_image_is_refused() {
    let image = |members: &[(&[u8], f64)], count: u64| {
        let mut out = Vec::new();
        put_varint(&mut out, count);
        for (member, score) in members {
            put_bytes(&mut out, member);
            out.extend_from_slice(&score.to_le_bytes());
        }
        out
    };
    let good = image(&[(b"a", 1.0), (b"b", 2.0)], 2);
    assert!(SortedSet::decode(&good).is_ok());
    for cut in 0..good.len() {
        assert_eq!(SortedSet::decode(&good[..cut]), Err(ImageError::Truncated));
    }
    assert_eq!(SortedSet::decode(&image(&[(b"a", 1.0), (b"b", 2.0)], 1)), Err(ImageError::Trailing));
    assert_eq!(SortedSet::decode(&image(&[(b"a", 1.0), (b"a", 2.0)], 2)), Err(ImageError::Duplicate));
    assert_eq!(SortedSet::decode(&image(&[(b"a", f64::NAN)], 1)), Err(ImageError::NotANumber));
    assert_eq!(SortedSet::decode(&image(&[(b"a", 1.0)], u64::MAX)), Err(ImageError::Truncated));
}

#[test]
fn a_million_members_would_take_less_than_seventy_bytes_each() {
    const COUNT: usize = 50_000;
    let mut set = SortedSet::new();
    for index in 0..COUNT {
        let number = index * 48_271 % 50_021;
        set.set(format!("member:{number:07}").as_bytes(), number as f64);
    }
    let each = set.bytes() as f64 / set.len() as f64;
    assert!((50.0..70.0).contains(&each), "{each}");
}
