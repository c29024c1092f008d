//! Lists against the plainest model there is.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Push(End, Vec<u8>),
    Trim(End, usize),
    Set(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    RemoveEvery(usize),
    Fill(End, usize, Texts),
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Front), Just(End::Back)]
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (-300i64..300_000).prop_map(|number| number.to_string().into_bytes()),
        4 => proptest::collection::vec(any::<u8>(), 0..40),
        2 => (100usize..1_500, any::<u8>()).prop_map(|(bytes, fill)| vec![fill; bytes]),
        1 => (4_000usize..4_200, any::<u8>()).prop_map(|(bytes, fill)| vec![fill; bytes]),
        1 => (65_500usize..65_560, any::<u8>()).prop_map(|(bytes, fill)| vec![fill; bytes]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (end(), element()).prop_map(|(end, element)| Step::Push(end, element)),
        2 => (end(), 0usize..5).prop_map(|(end, count)| Step::Trim(end, count)),
        1 => (end(), 0usize..60).prop_map(|(end, count)| Step::Trim(end, count)),
        2 => (any::<usize>(), element()).prop_map(|(index, element)| Step::Set(index, element)),
        3 => (any::<usize>(), element()).prop_map(|(index, element)| Step::Insert(index, element)),
        1 => (2usize..9).prop_map(Step::RemoveEvery),
    ]
}

/// What happens to a list of so many chunks: as above, and more elements come and go at once.
fn step_of_long() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => step(),
        2 => (end(), 100usize..1_500).prop_map(|(end, count)| Step::Trim(end, count)),
        3 => (end(), 0usize..400, texts()).prop_map(|(end, count, texts)| Step::Fill(end, count, texts)),
        1 => (20usize..3_000).prop_map(Step::RemoveEvery),
    ]
}

fn texts() -> impl Strategy<Value = Texts> {
    prop_oneof![3 => Just(Texts::Alike), 1 => Just(Texts::Random), 1 => Just(Texts::Numbers)]
}

/// What elements look like.
#[derive(Clone, Copy, Debug)]
enum Texts {
    /// Much like each other.
    Alike,
    /// Nothing repeats.
    Random,
    /// Integers.
    Numbers,
}

impl Texts {
    fn element(self, number: usize) -> Vec<u8> {
        // Weyl's sequence: it is about spread, not about chance.
        let noise = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        match self {
            Texts::Alike => format!("{{\"id\":{number},\"kind\":\"mail\",\"to\":{}}}", noise % 1_000).into_bytes(),
            Texts::Random => (1..9u64).flat_map(|part| noise.wrapping_mul(noise ^ part).to_le_bytes()).collect(),
            Texts::Numbers => number.to_string().into_bytes(),
        }
    }
}

fn take(list: &mut List, model: &mut VecDeque<Vec<u8>>, step: &Step) {
    match step {
        Step::Push(End::Front, element) => {
            list.push(End::Front, Str::of(element));
            model.push_front(element.clone());
        }
        Step::Push(End::Back, element) => {
            list.push(End::Back, Str::of(element));
            model.push_back(element.clone());
        }
        Step::Trim(end, count) => {
            list.trim(*end, *count);
            let count = (*count).min(model.len());
            let range = if *end == End::Front { 0..count } else { model.len() - count..model.len() };
            model.drain(range);
        }
        Step::Set(index, element) => {
            let index = index % (model.len() + 1);
            assert_eq!(list.set(index, Str::of(element)), index < model.len());
            if let Some(old) = model.get_mut(index) {
                old.clone_from(element);
            }
        }
        Step::Insert(index, element) => {
            let index = index % (model.len() + 2);
            assert_eq!(list.insert(index, Str::of(element)), index <= model.len());
            if index <= model.len() {
                model.insert(index, element.clone());
            }
        }
        Step::RemoveEvery(step) => {
            let gone: Vec<usize> = (0..model.len()).step_by(*step).collect();
            list.remove_all(gone.iter().copied().chain([model.len() + 3]));
            for index in gone.into_iter().rev() {
                model.remove(index);
            }
        }
        Step::Fill(end, count, texts) => {
            for number in 0..*count {
                take(list, model, &Step::Push(*end, texts.element(model.len() + number)));
            }
        }
    }
}

/// How many chunks are compressed, after a look at whether the list is whole.
fn compressed_count(list: &List) -> usize {
    match &list.form {
        Form::One(_) => 0,
        Form::Many(many) => many.compressed_count(),
    }
}

fn elements(list: &List, end: End, range: Range<usize>) -> Vec<Vec<u8>> {
    let mut elements = Vec::new();
    let broken = list.walk(end, range, |element| {
        elements.push(element.bytes().to_vec());
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(broken, None);
    elements
}

/// Compares everything, but elements looked at one by one only as far as there are not too many.
fn check(list: &List, model: &VecDeque<Vec<u8>>) {
    let count = model.len();
    assert_eq!(list.len(), count);
    assert!(elements(list, End::Front, 0..count).iter().eq(model.iter()));
    assert!(elements(list, End::Back, 0..count).iter().eq(model.iter().rev()));
    for index in (0..count).step_by(1 + count / 100) {
        assert_eq!(list.get(index, |element| element.bytes().to_vec()).as_ref(), Some(&model[index]));
        let range = index..count.min(index + 1 + index % 150);
        assert!(elements(list, End::Front, range.clone()).iter().eq(model.range(range.clone())));
        assert!(elements(list, End::Back, range.clone()).iter().eq(model.range(range).rev()));
    }
    assert_eq!(list.get(count, |_| ()), None);
    compressed_count(list);
}

proptest! {
    #[test]
    fn a_list_does_what_a_row_of_strings_does(steps in proptest::collection::vec(step(), 1..250)) {
        let (mut list, mut model) = (List::new(), VecDeque::new());
        for step in &steps {
            take(&mut list, &mut model, step);
        }
        check(&list, &model);
        let mut image = Vec::new();
        list.encode(&mut image);
        prop_assert_eq!(List::decode(&image), Ok(list));
    }

    #[test]
    fn every_step_keeps_a_short_list_whole(steps in proptest::collection::vec(step(), 1..25)) {
        let (mut list, mut model) = (List::new(), VecDeque::new());
        for step in &steps {
            take(&mut list, &mut model, step);
            check(&list, &model);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_long_list_does_too_wherever_it_is_changed(
        (begun_at, texts) in (end(), texts()),
        steps in proptest::collection::vec(step_of_long(), 1..40),
    ) {
        let (mut list, mut model) = (List::new(), VecDeque::new());
        take(&mut list, &mut model, &Step::Fill(begun_at, 1_000, texts));
        take(&mut list, &mut model, &Step::Fill(begun_at, 3_000, Texts::Alike));
        prop_assert!(5 < compressed_count(&list));
        for (number, step) in steps.iter().enumerate() {
            take(&mut list, &mut model, step);
            // Somewhere, so that the list remembers a place that the next step moves.
            let index = number * 7_919 % (model.len() + 1);
            let found = list.get(index, |element| element.bytes().to_vec());
            prop_assert_eq!(found.as_ref(), model.get(index));
            compressed_count(&list);
        }
        check(&list, &model);
        let mut image = Vec::new();
        list.encode(&mut image);
        prop_assert_eq!(List::decode(&image), Ok(list));
    }
}

fn filled(end: End, count: usize, text: impl Fn(usize) -> String) -> List {
    let mut list = List::new();
    for number in 0..count {
        list.push(end, Str::of(text(number).as_bytes()));
    }
    list
}

#[test]
fn a_long_list_wastes_little_whichever_end_it_grows_at() {
    const COUNT: usize = 100_000;
    for end in [End::Front, End::Back] {
        let strings = filled(end, COUNT, |number| format!("e:{number:08}"));
        assert!(strings.bytes() < COUNT * 5, "{:?}: {} for 10 bytes each", end, strings.bytes());
        let numbers = filled(end, COUNT, |number| number.to_string());
        assert!(numbers.bytes() < COUNT * 4, "{:?}: {} for integers", end, numbers.bytes());
        let (mut random, mut model) = (List::new(), VecDeque::new());
        take(&mut random, &mut model, &Step::Fill(end, COUNT, Texts::Random));
        assert!(random.bytes() < COUNT * 66, "{:?}: {} for 64 bytes each that are all different", end, random.bytes());
    }
}

#[test]
fn a_queue_holds_on_to_no_more_than_it_needs() {
    let mut list = filled(End::Front, 100_000, |number| format!("e:{number:08}"));
    for number in 0..99_990 {
        list.trim(End::Back, 1);
        if number % 3 == 0 {
            list.push(End::Front, Str::of(b"more"));
            list.trim(End::Back, 1);
        }
        if list.len() < 20 {
            break;
        }
    }
    assert!(list.bytes() < 1_000, "{}", list.bytes());
}

#[test]
fn a_short_list_takes_little_more_than_its_elements() {
    for count in 1..200 {
        let list = filled(End::Back, count, |number| format!("e:{number:08}"));
        assert!(list.bytes() < 11 * count * 4 / 3 + 32, "{count}: {}", list.bytes());
    }
}

#[test]
fn what_a_queue_takes_out_is_what_went_in_from_either_end() {
    const COUNT: usize = 20_000;
    let text = |number: usize| format!("job:{number:08}");
    for (pushed_at, taken_at) in [(End::Back, End::Front), (End::Front, End::Back), (End::Back, End::Back)] {
        let mut list = filled(pushed_at, COUNT, text);
        assert!(0 < compressed_count(&list));
        for taken in 0..COUNT {
            let number = if pushed_at == taken_at { COUNT - 1 - taken } else { taken };
            let index = if taken_at == End::Front { 0 } else { list.len() - 1 };
            let element = list.get(index, |element| element.bytes().to_vec());
            assert_eq!(element, Some(text(number).into_bytes()));
            list.trim(taken_at, 1);
        }
        assert!(list.is_empty());
    }
}

#[test]
fn reading_changes_nothing_and_a_change_in_the_middle_is_compressed_again_after_a_while() {
    let text = |number: usize| format!("job:{number:08}");
    let (front, back) = (End::Front, End::Back);
    for (pushed_at, taken_at) in [(back, None), (front, None), (back, Some(front)), (front, Some(back))] {
        let mut list = filled(pushed_at, 40_000, text);
        let (compressed, bytes) = (compressed_count(&list), list.bytes());
        assert!(20 < compressed);
        elements(&list, End::Back, 0..40_000);
        assert_eq!((compressed_count(&list), list.bytes()), (compressed, bytes));

        for index in (10_000..30_000).step_by(200) {
            assert!(list.set(index, Str::of(text(index + 1).as_bytes())));
        }
        assert!(compressed_count(&list) < compressed / 2, "chunks were changed");
        for number in 0..40_000 {
            list.push(pushed_at, Str::of(text(number).as_bytes()));
            if let Some(end) = taken_at {
                list.trim(end, 1);
            }
        }
        let (chunks, compressed_then) = (list.chunk_count(), compressed_count(&list));
        let added = if taken_at.is_some() { 0 } else { chunks / 2 };
        assert!(compressed + added - 5 <= compressed_then, "{pushed_at:?} {compressed_then} of {compressed}");
    }
}

#[test]
fn a_list_expands_to_what_it_would_take_uncompressed() {
    let list = filled(End::Back, 40_000, |number| format!("job:{number:08}"));
    assert!(0 < compressed_count(&list));
    let (taken, expanded) = (list.bytes(), list.expanded_bytes());
    assert!(taken * 2 < expanded && (40_000 * 12..40_000 * 14).contains(&expanded), "{taken} {expanded}");
    let mut large = filled(End::Back, 40, |_| "x".repeat(100_000));
    assert_eq!(large.expanded_bytes(), large.bytes(), "what is too large is not compressed");
    let (before, long) = (large.bytes(), "y".repeat(1_000));
    (0..4_000).for_each(|_| large.push(End::Back, Str::of(long.as_bytes())));
    assert!(before + 4_000_000 < large.expanded_bytes() && large.bytes() < large.expanded_bytes());
}

#[test]
fn a_length_that_swings_by_a_few_chunks_makes_none_plain() {
    let text = |number: usize| format!("job:{number:08}");
    let mut list = filled(End::Back, 40_000, text);
    let compressed = compressed_count(&list);
    for _ in 0..10 {
        list.trim(End::Back, 1_000);
        assert_eq!(compressed_count(&list), compressed);
        (0..1_000).for_each(|number| list.push(End::Back, Str::of(text(number).as_bytes())));
        assert_eq!(compressed_count(&list), compressed);
    }
}

#[test]
fn what_cannot_be_compressed_is_seldom_tried_until_something_can() {
    let (mut list, mut model) = (List::new(), VecDeque::new());
    take(&mut list, &mut model, &Step::Fill(End::Back, 5_000, Texts::Random));
    assert_eq!(compressed_count(&list), 0);
    take(&mut list, &mut model, &Step::Fill(End::Back, 10_000, Texts::Alike));
    assert!(50 < compressed_count(&list), "{}", compressed_count(&list));
    check(&list, &model);
}

#[test]
fn large_elements_pay_for_a_part_of_their_chunks_only() {
    let long = "x".repeat(1_000);
    let list = filled(End::Back, 4_000, |number| format!("{number}{long}"));
    let (compressed, chunks) = (compressed_count(&list), list.chunk_count());
    assert!((chunks / 20..chunks / 8).contains(&compressed), "{compressed} of {chunks}");
}
