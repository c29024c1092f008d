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
    }
}

/// Heap bytes counted anew.
fn bytes_counted(list: &List) -> usize {
    let rooms: usize = list.chunks().map(Chunk::room_bytes).sum();
    match &list.form {
        Form::One(_) => rooms,
        Form::Many(many) => rooms + size_of::<Many>() + many.chunks.capacity() * size_of::<Chunk>(),
    }
}

fn check(list: &List, model: &VecDeque<Vec<u8>>) {
    assert_eq!(list.len(), model.len());
    assert!(list.iter().map(|element| element.bytes().to_vec()).eq(model.iter().cloned()));
    assert!(list.iter().rev().map(|element| element.bytes().to_vec()).eq(model.iter().rev().cloned()));
    for (index, element) in model.iter().enumerate() {
        assert_eq!(list.get(index).map(|element| element.bytes().to_vec()).as_ref(), Some(element));
    }
    let middle = model.len() / 2;
    assert!(list.iter_from(middle).map(|element| element.bytes().to_vec()).eq(model.iter().skip(middle).cloned()));
    assert_eq!(list.get(model.len()), None);
    assert_eq!(list.bytes(), bytes_counted(list));
    if let Form::Many(many) = &list.form {
        assert!(many.chunks.len() >= 2);
        assert!(many.chunks.iter().all(|chunk| !chunk.is_empty()));
    }
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
        assert!(strings.bytes() < COUNT * 115 / 10, "{:?}: {} for 10 bytes each", end, strings.bytes());
        let numbers = filled(end, COUNT, |number| number.to_string());
        assert!(numbers.bytes() < COUNT * 4, "{:?}: {} for integers", end, numbers.bytes());
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
