//! A hash against a model, and what single files cannot test: conversions, images, scans, samples.

use super::*;
use crate::random::Random;
use base::codec::put_varint;
use std::collections::{BTreeMap, BTreeSet};

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<TimeMs>)>;

impl Random {
    fn name(&mut self, names: u64) -> Vec<u8> {
        let index = self.below(names);
        // Lengths from 0 on, and one name in sixteen too long for the compact form if `names` is large.
        match index {
            0 => Vec::new(),
            index if index > 200 && index % 16 == 0 => format!("{index:>070}").into_bytes(),
            index => format!("f{index}").into_bytes(),
        }
    }

    fn value(&mut self, bytes_max: u64) -> Vec<u8> {
        let bytes = self.below(bytes_max + 1);
        (0..bytes).map(|_| self.next() as u8).collect()
    }

    fn expiry(&mut self) -> Option<TimeMs> {
        (self.below(3) == 0).then(|| TimeMs(self.below(50) as i64))
    }
}

fn model_of(hash: &Hash) -> Model {
    hash.iter().map(|field| (field.name.to_vec(), (field.value.to_vec(), field.expires))).collect()
}

fn hash_of(model: &Model) -> Hash {
    let mut hash = Hash::new();
    for (name, (value, expires)) in model {
        assert!(hash.set(name, value, *expires));
    }
    hash
}

fn image_of(hash: &Hash) -> Vec<u8> {
    let mut image = Vec::new();
    hash.encode(&mut image);
    image
}

fn numbered(count: usize) -> Hash {
    let mut hash = Hash::new();
    for index in 0..count {
        assert!(hash.set(format!("field:{index}").as_bytes(), format!("value:{index}").as_bytes(), None));
    }
    hash
}

fn scan_all(hash: &Hash, count: usize) -> Vec<Vec<u8>> {
    let (mut seen, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = hash.scan(cursor, count, |field| seen.push(field.name.to_vec()));
        if cursor == 0 {
            return seen;
        }
    }
}

fn expired(hash: &Hash, now: TimeMs, limit: usize) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    hash.expired(now, limit, |name| names.push(name.to_vec()));
    names
}

fn assert_expiries_agree(hash: &Hash, model: &Model) {
    let expiries = || model.values().filter_map(|(_, expires)| *expires);
    assert_eq!(hash.next_expiry(), expiries().min());
    assert_eq!(hash.has_expiries(), expiries().count() > 0);
    for now in [-1, 0, 10, 25, 49, 100].map(TimeMs) {
        let due: BTreeSet<Vec<u8>> = model
            .iter()
            .filter(|(_, (_, expires))| expires.is_some_and(|expires| expires <= now))
            .map(|(name, _)| name.clone())
            .collect();
        assert_eq!(hash.count_expired(now), due.len());
        let found = expired(hash, now, usize::MAX);
        assert_eq!(found.len(), due.len(), "each expired field once");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), due);
        let some = expired(hash, now, 3);
        assert_eq!(some.len(), due.len().min(3));
        assert!(some.iter().all(|name| due.contains(name)));
    }
}

fn assert_same(hash: &Hash, model: &Model) {
    assert_eq!(hash.iter().count(), model.len());
    assert_eq!(&model_of(hash), model);
    assert_eq!(scan_all(hash, 10).len(), model.len());
    assert_eq!(hash, &hash_of(model));
    assert_expiries_agree(hash, model);
    let payload: usize = model.iter().map(|(name, (value, _))| name.len() + value.len()).sum();
    assert!(payload <= hash.bytes());
    let back = Hash::decode(&image_of(hash)).unwrap();
    assert_eq!(&back, hash);
    assert_eq!(back.sample(1).is_none(), model.is_empty());
}

/// One random operation on both; the answers must agree.
fn step(random: &mut Random, hash: &mut Hash, model: &mut Model, names: u64, bytes_max: u64) {
    let name = random.name(names);
    match random.below(8) {
        0..4 => {
            let (value, expires) = (random.value(bytes_max), random.expiry());
            let is_new = model.insert(name.clone(), (value.clone(), expires)).is_none();
            assert_eq!(hash.set(&name, &value, expires), is_new);
        }
        4..6 => assert_eq!(hash.remove(&name), model.remove(&name).is_some()),
        6 => {
            let expires = random.expiry();
            let there = model.get_mut(&name).map(|(_, old)| *old = expires).is_some();
            assert_eq!(hash.set_expiry(&name, expires), there);
        }
        _ => {
            let found = hash.get(&name).map(|field| (field.name.to_vec(), (field.value.to_vec(), field.expires)));
            assert_eq!(found, model.get_key_value(&name).map(|(name, kept)| (name.clone(), kept.clone())));
        }
    }
    assert_eq!(hash.len(), model.len());
    assert_eq!(hash.next_expiry(), model.values().filter_map(|(_, expires)| *expires).min());
}

#[test]
fn random_operations_agree_with_a_model_in_both_forms_and_across_them() {
    let mut compact_count = 0;
    // Names and value bytes such that a hash stays compact, crosses by count, by a value, by a name.
    let mixes = [(20, 64), (90, 8), (180, 64), (190, 20), (20, 90), (600, 300), (4000, 20)];
    for (seed, (names, bytes_max)) in mixes.into_iter().enumerate() {
        for round in 0..4 {
            let mut random = Random((seed * 100 + round) as u64);
            let (mut hash, mut model) = (Hash::new(), Model::new());
            for turn in 0..1500 {
                step(&mut random, &mut hash, &mut model, names, bytes_max);
                if turn % 250 == 0 {
                    assert_same(&hash, &model);
                }
            }
            assert_same(&hash, &model);
            compact_count += usize::from(hash.is_compact());
            for name in model.keys() {
                assert!(hash.remove(name));
            }
            assert_same(&hash, &Model::new());
        }
    }
    assert!((8..20).contains(&compact_count), "both forms must have been tested: {compact_count} were compact");
}

#[test]
fn a_hash_is_compact_up_to_its_limits_and_large_beyond_any() {
    let limit = FIELD_COMPACT_BYTES_MAX;
    assert!(numbered(FIELD_COMPACT_COUNT_MAX).is_compact());
    assert!(!numbered(FIELD_COMPACT_COUNT_MAX + 1).is_compact());
    let mut full = numbered(FIELD_COMPACT_COUNT_MAX);
    assert!(!full.set(b"field:7", b"another", Some(TimeMs(1))));
    assert!(full.is_compact(), "a change of a field that is there needs no room");
    for (name_bytes, value_bytes) in [(limit, limit), (limit + 1, 1), (1, limit + 1)] {
        let (name, value) = (vec![b'n'; name_bytes], vec![b'v'; value_bytes]);
        let mut hash = numbered(3);
        assert!(hash.set(&name, &value, None));
        assert_eq!(hash.is_compact(), name_bytes.max(value_bytes) <= limit);
        assert_eq!(hash.get(&name).map(|field| field.value), Some(&value[..]));
        assert_eq!(hash.len(), 4);
    }
}

#[test]
fn the_form_and_the_order_do_not_matter_to_equality_but_every_part_of_a_field_does() {
    let (compact, mut large) = (numbered(5), numbered(200));
    for index in (5..200).rev() {
        assert!(large.remove(format!("field:{index}").as_bytes()));
    }
    assert!(compact.is_compact() && !large.is_compact());
    assert_eq!(compact, large);
    assert_eq!(format!("{compact:?}"), format!("{large:?}"));
    assert!(large.set_expiry(b"field:0", Some(TimeMs(5))));
    assert_ne!(compact, large);
    assert!(large.set_expiry(b"field:0", None));
    assert_eq!(compact, large);
    assert!(!large.set(b"field:0", b"value:1", None));
    assert_ne!(compact, large);
    assert_ne!(compact, numbered(4));
}

/// Hashes of both forms with every kind of field.
fn samples() -> Vec<Hash> {
    let mut with_expiries = numbered(4);
    with_expiries.set(b"", b"", Some(TimeMs(0)));
    with_expiries.set_expiry(b"field:1", Some(TimeMs(i64::MAX)));
    let mut long = numbered(3);
    long.set(b"long", &[7; 300], Some(TimeMs(1)));
    vec![Hash::new(), with_expiries, long, numbered(140)]
}

#[test]
fn a_time_before_1970_in_an_image_is_the_first_there_is() {
    let mut hash = numbered(1);
    hash.set_expiry(b"field:0", Some(TimeMs(-5)));
    assert_eq!(Hash::decode(&image_of(&hash)).map(|hash| hash.next_expiry()), Ok(Some(TimeMs(0))));
}

#[test]
fn every_cut_of_an_image_is_refused_and_so_is_a_byte_too_many() {
    for hash in samples() {
        let mut image = image_of(&hash);
        assert_eq!(Hash::decode(&image), Ok(hash));
        for cut in 0..image.len() {
            assert_eq!(Hash::decode(&image[..cut]), Err(ImageError::Truncated));
        }
        image.push(0);
        assert_eq!(Hash::decode(&image), Err(ImageError::Trailing));
    }
}

#[test]
fn no_flipped_bit_of_an_image_panics_and_what_is_accepted_is_a_hash() {
    let mut refused_count = 0;
    for hash in samples() {
        let image = image_of(&hash);
        for flip in 0..image.len() * 8 {
            let mut bent = image.clone();
            bent[flip / 8] ^= 1 << (flip % 8);
            match Hash::decode(&bent) {
                Ok(decoded) => assert_eq!(Hash::decode(&image_of(&decoded)), Ok(decoded)),
                Err(_) => refused_count += 1,
            }
        }
    }
    assert!(refused_count > 100);
}

#[test]
fn an_image_may_promise_any_count_and_length_but_gets_nothing_for_it() {
    let mut image = Vec::new();
    put_varint(&mut image, u64::MAX);
    assert_eq!(Hash::decode(&image), Err(ImageError::Truncated));
    put_varint(&mut image, u64::MAX);
    assert_eq!(Hash::decode(&image), Err(ImageError::Truncated));
}

#[test]
fn duplicates_and_unknown_expiries_are_refused_by_name() {
    assert_eq!(Hash::decode(&[2, 1, b'a', 0, 0, 1, b'a', 1, b'x', 0]), Err(ImageError::Duplicate));
    for kind in 2..=u8::MAX {
        let error = Hash::decode(&[1, 1, b'a', 0, kind]).unwrap_err();
        assert_eq!(error, ImageError::Expiry(kind));
        assert!(error.to_string().ends_with(&format!(" {kind}")));
    }
}

#[test]
fn a_scan_sees_what_stays_while_the_hash_grows_and_shrinks() {
    for (first, last) in [(20, 4000), (300, 4000), (4000, 300)] {
        let mut hash = numbered(first);
        let (mut seen, mut cursor, mut steps, mut now) = (BTreeSet::new(), 0, 0, first);
        loop {
            cursor = hash.scan(cursor, 10, |field| {
                seen.insert(field.name.to_vec());
            });
            steps += 1;
            if cursor == 0 {
                break;
            }
            for _ in 0..30 {
                let name = format!("field:{}", if now < last { now } else { now - 1 });
                if now < last {
                    assert!(hash.set(name.as_bytes(), b"new", None));
                    now += 1;
                } else if last < now {
                    assert!(hash.remove(name.as_bytes()));
                    now -= 1;
                }
            }
        }
        assert!(steps > 10 || first == 20);
        assert!((0..first.min(last)).all(|index| seen.contains(format!("field:{index}").as_bytes())));
    }
}

#[test]
fn a_scan_step_gives_about_as_many_fields_as_asked_for() {
    let hash = numbered(5000);
    for count in [1, 10, 100, 1000] {
        let mut seen_count = 0;
        assert_ne!(hash.scan(0, count, |_| seen_count += 1), 0);
        assert!((count..count + 64).contains(&seen_count));
    }
    let mut seen_count = 0;
    assert_eq!(numbered(100).scan(12345, 1, |_| seen_count += 1), 0);
    assert_eq!(seen_count, 100);
}

#[test]
fn every_field_is_sampled_equally_often() {
    for count in [1, 2, 30, 128, 129, 150, 200, 333, 1000] {
        let hash = numbered(count);
        let mut drawn: BTreeMap<Vec<u8>, f64> = BTreeMap::new();
        let mut random = Random(count as u64);
        let expected = 200.0;
        for _ in 0..count * expected as usize {
            *drawn.entry(hash.sample(random.next()).unwrap().name.to_vec()).or_default() += 1.0;
        }
        assert_eq!(drawn.len(), count);
        let chi_square: f64 = drawn.values().map(|times| (times - expected) * (times - expected) / expected).sum();
        // Its mean is count - 1 and its variance twice that: this is five standard deviations off.
        let most = count as f64 + 5.0 * (2.0 * count as f64).sqrt();
        assert!(chi_square < most, "{chi_square} of {count}");
    }
    assert_eq!(Hash::new().sample(3), None);
}

#[test]
fn a_large_hash_is_sampled_equally_after_it_shrank() {
    let mut hash = numbered(1000);
    for index in 40..1000 {
        hash.remove(format!("field:{index}").as_bytes());
    }
    let mut drawn: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    let mut random = Random(9);
    for _ in 0..40_000 {
        *drawn.entry(hash.sample(random.next()).unwrap().name.to_vec()).or_default() += 1;
    }
    // 1000 expected, standard deviation 31.
    assert!(drawn.values().all(|times| (840..1160).contains(times)), "{drawn:?}");
    assert_eq!(drawn.len(), 40);
}

#[test]
fn bytes_follow_growth_and_shrinking() {
    assert_eq!(Hash::new().bytes(), 0);
    let compact = numbered(100);
    let payload: usize = compact.iter().map(|field| field.name.len() + field.value.len()).sum();
    assert!((payload..payload * 3 / 2).contains(&compact.bytes()));

    let mut large = numbered(20_000);
    let full = large.bytes();
    let per_field = full as f64 / 20_000.0;
    assert!((44.0..48.5).contains(&per_field), "{per_field}");
    large.set_expiry(b"field:1", Some(TimeMs(1)));
    assert!(full < large.bytes());
    large.set_expiry(b"field:1", None);
    assert_eq!(large.bytes(), full);
    for index in 0..19_000 {
        large.remove(format!("field:{index}").as_bytes());
    }
    // Buckets that are a third full remain, and those that chained in the full table.
    assert!(large.bytes() < full / 4, "{} of {full}", large.bytes());
}

#[test]
fn a_hash_may_be_dropped_on_another_thread() {
    let hash = numbered(1000);
    let count = std::thread::spawn(move || hash.len()).join().unwrap();
    assert_eq!(count, 1000);
}
