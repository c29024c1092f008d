//! A set against a model, and what single files cannot test: changes of form, images, scans, samples.

use super::*;
use crate::random::Random;
use base::Reader;
use base::codec::{put_bytes, put_varint};
use std::collections::BTreeSet;

type Model = BTreeSet<Vec<u8>>;

/// What the members of a mix look like, by their number.
type Name = fn(u64) -> Vec<u8>;

fn small_int(index: u64) -> Vec<u8> {
    (index as i64 - 20).to_string().into_bytes()
}

/// Integers of all magnitudes, some beyond 56 bits, some that only look like integers.
fn any_int(index: u64) -> Vec<u8> {
    match index % 9 {
        8 => format!("0{index}").into_bytes(),
        7 => format!("{}", i128::from(i64::MAX) + i128::from(index)).into_bytes(),
        step => ((index as i64 + 1) << (step * 8)).wrapping_neg().to_string().into_bytes(),
    }
}

/// Words of every length from 0 on.
fn word(index: u64) -> Vec<u8> {
    let letter = b'a' + (index % 26) as u8;
    vec![letter; index as usize / 26]
}

/// Words with zeros in them, where lengths are all that tells them apart.
fn zeros(index: u64) -> Vec<u8> {
    vec![0; index as usize]
}

fn mixed_name(index: u64) -> Vec<u8> {
    match index % 3 {
        0 => small_int(index),
        1 => word(index),
        _ => format!("member:{index:012}").into_bytes(),
    }
}

const MIXES: [(Name, u64); 10] = [
    (small_int, 60),
    (small_int, 480),
    (small_int, 2_000),
    (any_int, 400),
    (any_int, 2_000),
    (word, 200),
    (word, 3_000),
    (zeros, 60),
    (mixed_name, 100),
    (mixed_name, 900),
];

fn model_of(set: &Set) -> Model {
    set.iter().map(|member| member.to_vec()).collect()
}

fn set_of(model: &Model) -> Set {
    let mut set = Set::new();
    for member in model {
        assert!(set.add(member));
    }
    set
}

fn image_of(set: &Set) -> Vec<u8> {
    let mut image = Vec::new();
    set.encode(&mut image);
    image
}

fn numbered(count: usize) -> Set {
    set_of(&(0..count).map(|index| format!("member:{index}").into_bytes()).collect())
}

fn scan_all(set: &Set, count: usize) -> Vec<Vec<u8>> {
    let (mut seen, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = set.scan(cursor, count, |member| seen.push(member.to_vec()));
        if cursor == 0 {
            return seen;
        }
    }
}

fn assert_same(set: &Set, model: &Model) {
    assert_eq!(set.iter().count(), model.len());
    assert_eq!(&model_of(set), model);
    assert_eq!(scan_all(set, 10).len(), model.len());
    assert_eq!(set, &set_of(model));
    let back = Set::decode(&image_of(set)).unwrap();
    assert_eq!(&back, set);
    assert_eq!(format!("{back:?}"), format!("{set:?}"));
    match set.sample(model.len() as u64 * 977) {
        Some(member) => assert!(model.contains(&*member)),
        None => assert!(model.is_empty()),
    }
}

#[test]
fn random_operations_agree_with_a_model_in_every_form_and_across_them() {
    let mut forms = Vec::new();
    for (mix, (name, names)) in MIXES.into_iter().enumerate() {
        let mut random = Random(mix as u64);
        let (mut set, mut model) = (Set::new(), Model::new());
        for turn in 0..3_000 {
            let member = name(random.below(names));
            match random.below(6) {
                0..3 => assert_eq!(set.add(&member), model.insert(member)),
                3..5 => assert_eq!(set.remove(&member), model.remove(&member)),
                _ => assert_eq!(set.contains(&member), model.contains(&member)),
            }
            assert_eq!(set.len(), model.len());
            if turn % 500 == 0 {
                assert_same(&set, &model);
            }
        }
        assert_same(&set, &model);
        forms.push(set.form());
        for member in &model {
            assert!(set.remove(member));
        }
        assert_same(&set, &Model::new());
    }
    for form in [SetForm::Ints, SetForm::Packed, SetForm::Large] {
        assert!(forms.contains(&form), "every form must have been tested: {forms:?}");
    }
}

#[test]
fn a_form_lasts_up_to_its_limits() {
    let ints = |count: usize| set_of(&(0..count).map(|number| number.to_string().into_bytes()).collect());
    assert_eq!(ints(INTS_COUNT_MAX).form(), SetForm::Ints);
    assert_eq!(ints(INTS_COUNT_MAX + 1).form(), SetForm::Large);
    assert_eq!(numbered(PACKED_COUNT_MAX).form(), SetForm::Packed);
    assert_eq!(numbered(PACKED_COUNT_MAX + 1).form(), SetForm::Large);
    for (member_bytes, form) in
        [(MEMBER_PACKED_BYTES_MAX, SetForm::Packed), (MEMBER_PACKED_BYTES_MAX + 1, SetForm::Large)]
    {
        for mut set in [numbered(3), ints(3), Set::new()] {
            let count = set.len();
            assert!(set.add(&vec![b'm'; member_bytes]));
            assert_eq!((set.form(), set.len()), (form, count + 1));
        }
    }
    for (count, form) in [(PACKED_COUNT_MAX - 1, SetForm::Packed), (PACKED_COUNT_MAX, SetForm::Large)] {
        let mut set = ints(count);
        assert!(set.add(b"word"));
        assert_eq!((set.form(), set.len()), (form, count + 1));
    }
    let mut full = numbered(PACKED_COUNT_MAX);
    assert!(!full.add(b"member:7"));
    assert_eq!(full.form(), SetForm::Packed, "a member that is there needs no room");
}

#[test]
fn members_that_read_alike_in_a_slot_are_told_apart() {
    let mut set = numbered(200);
    assert_eq!(set.form(), SetForm::Large);
    let alike: [&[u8]; 14] = [
        b"",
        b"\0",
        b"\0\0",
        b"0",
        b"-0",
        b"00",
        b"1",
        b"49",
        b"1\0",
        b"36028797018963967",
        b"36028797018963968",
        b"-36028797018963968",
        b"-36028797018963969",
        b"+1",
    ];
    for (index, member) in alike.into_iter().enumerate() {
        assert!(!set.contains(member), "{index}");
        assert!(set.add(member) && !set.add(member) && set.contains(member), "{index}");
    }
    let all = model_of(&set);
    assert!(alike.into_iter().all(|member| all.contains(member)));
    assert!(alike.into_iter().all(|member| set.remove(member)));
    assert_eq!(set, numbered(200));
}

#[test]
fn bytes_are_what_the_members_take() {
    let packed: usize = (0..100).map(|index: usize| index.to_string().len() + 8).sum::<usize>() + 2;
    assert!((packed..=packed + packed / 8 + 16).contains(&numbered(100).bytes()), "{}", numbered(100).bytes());
    let ints = set_of(&(0..300).map(|number: u32| (number + 70_000).to_string().into_bytes()).collect());
    assert!((901..=901 + 901 / 8 + 16).contains(&ints.bytes()), "{}", ints.bytes());
    let short = set_of(&(0..10_000).map(|number: u32| format!("x{number}").into_bytes()).collect());
    assert!((130_000..150_000).contains(&short.bytes()), "{}", short.bytes());
    let long = numbered(10_000);
    assert!((short.bytes() + 150_000..short.bytes() + 340_000).contains(&long.bytes()), "{}", long.bytes());
    let mut emptied = numbered(1_000);
    for member in model_of(&emptied) {
        assert!(emptied.remove(&member));
    }
    assert!(emptied.bytes() < 200, "{}", emptied.bytes());
}

#[test]
fn every_cut_and_every_extra_byte_of_an_image_is_refused() {
    for set in [Set::new(), set_of(&(0..9).map(small_int).collect()), numbered(20), numbered(200)] {
        let mut image = image_of(&set);
        for cut in 0..image.len() {
            assert!(Set::decode(&image[..cut]).is_err(), "cut at {cut}");
        }
        image.push(0);
        assert!(Set::decode(&image).is_err());
    }
    let mut twice = Vec::new();
    put_varint(&mut twice, 2);
    put_bytes(&mut twice, b"m");
    assert_eq!(Reader::new(&twice).varint(), Ok(2));
    put_bytes(&mut twice, b"m");
    assert!(Set::decode(&twice).is_err());
}

#[test]
fn a_scan_sees_what_stays_while_the_set_grows_and_changes_its_form() {
    let mut set = numbered(60);
    let (mut seen, mut cursor, mut added) = (Model::new(), 0, 0);
    loop {
        cursor = set.scan(cursor, 10, |member| _ = seen.insert(member.to_vec()));
        for _ in 0..100 {
            assert!(set.add(format!("more:{added}").as_bytes()));
            added += 1;
        }
        if cursor == 0 {
            break;
        }
    }
    assert!((0..60).all(|index| seen.contains(format!("member:{index}").as_bytes())));
    assert_eq!(scan_all(&set, 7).into_iter().collect::<Model>(), model_of(&set));
}

#[test]
fn samples_are_even_in_every_form() {
    for count in [40, 100, 1_000] {
        for set in [numbered(count), set_of(&(0..count as u64).map(small_int).collect())] {
            let mut random = Random(count as u64);
            let mut seen = std::collections::BTreeMap::<Vec<u8>, u32>::new();
            for _ in 0..count * 100 {
                *seen.entry(set.sample(random.next()).unwrap().to_vec()).or_default() += 1;
            }
            assert_eq!(seen.len(), count);
            assert!(seen.values().all(|times| (50..170).contains(times)), "{count}: {seen:?}");
        }
    }
}
