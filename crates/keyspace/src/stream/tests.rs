//! A stream against a naive model, and what single files cannot test: images, memory, foreign bytes.

use super::*;
use crate::random::Random;
use std::collections::BTreeMap;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
/// Consumer, time and count of what is pending.
type ModelPending = BTreeMap<StreamId, (Vec<u8>, i64, u64)>;

#[derive(Default)]
struct ModelGroup {
    consumers: BTreeMap<Vec<u8>, (i64, Option<i64>)>,
    pending: ModelPending,
}

#[derive(Default)]
struct Model {
    entries: Vec<(StreamId, Pairs)>,
    counters: Counters,
    groups: BTreeMap<Vec<u8>, ModelGroup>,
}

impl Random {
    fn pairs(&mut self) -> Pairs {
        // Mostly the same names, so that entries share them.
        let shape = self.below(8);
        let (names, count) = if shape < 5 { (vec!["temperature", "site"], 2) } else { (vec!["a", "b", ""], shape - 4) };
        let name = |index: u64| names[index as usize % names.len()].as_bytes().to_vec();
        (0..count).map(|index| (name(index), vec![b'v'; self.below(20) as usize])).collect()
    }

    fn id_after(&mut self, last: StreamId) -> StreamId {
        let wide = u64::MAX >> (20 + self.below(44));
        match self.below(4) {
            0 => last.next().expect("far from the end"),
            1 => StreamId { ms: last.ms, seq: last.seq + 1 + self.below(3) },
            2 => StreamId { ms: last.ms + 1 + self.below(4), seq: 0 },
            _ => StreamId { ms: last.ms + 1 + self.below(300), seq: self.below(wide) },
        }
    }

    fn id_of(&mut self, model: &Model) -> StreamId {
        let index = self.below(model.entries.len() as u64 + 1) as usize;
        let near = model.entries.get(index).map_or(model.counters.last_id, |(id, _)| *id);
        match self.below(4) {
            0 => near.next().unwrap_or(near),
            1 => near.previous().unwrap_or(near),
            _ => near,
        }
    }
}

fn shown(entry: &Entry<'_>) -> (StreamId, Pairs) {
    (entry.id, entry.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
}

fn add(stream: &mut Stream, id: StreamId, opens: bool, pairs: &Pairs) -> bool {
    stream.add(id, opens, pairs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
}

fn image_of(stream: &Stream) -> Vec<u8> {
    let mut image = Vec::new();
    stream.encode(&mut image);
    image
}

fn change_entries(stream: &mut Stream, model: &mut Model, random: &mut Random) {
    let id = random.id_of(model);
    match random.below(20) {
        0 => {
            let before = model.entries.len();
            model.entries.retain(|(one, _)| id < *one);
            assert_eq!(stream.trim(id), (before - model.entries.len()) as u64);
        }
        1..=4 => {
            let found = model.entries.iter().position(|(one, _)| *one == id);
            if let Some(index) = found {
                model.entries.remove(index);
            }
            model.counters.max_deleted_id = model.counters.max_deleted_id.max(id);
            assert_eq!(stream.delete(id), found.is_some());
        }
        5 => {
            let counters = Counters { last_id: id, max_deleted_id: id, entries_added: random.below(1_000) };
            stream.set_counters(counters);
            let last_id = id.max(model.entries.last().map_or(StreamId::MIN, |(last, _)| *last));
            model.counters = Counters { last_id, ..counters };
        }
        _ => {
            let (id, pairs) = (random.id_after(model.counters.last_id), random.pairs());
            let opens = random.below(12) == 0;
            assert!(!add(stream, model.counters.last_id, opens, &pairs), "an id that is not after the last");
            assert!(add(stream, id, opens, &pairs));
            model.entries.push((id, pairs));
            model.counters =
                Counters { last_id: id, entries_added: model.counters.entries_added + 1, ..model.counters };
        }
    }
}

fn change_groups(stream: &mut Stream, model: &mut Model, random: &mut Random) {
    let (name, consumer) = (vec![b'g', random.below(3) as u8], vec![b'c', random.below(4) as u8]);
    let (id, time, count) = (random.id_of(model), random.below(100) as i64, random.below(5));
    let Some(group) = model.groups.get_mut(&name) else {
        let progress = Progress { last_id: id, entries_read: (count > 2).then_some(count) };
        assert!(stream.put_group(&name, progress));
        model.groups.insert(name, ModelGroup::default());
        return;
    };
    match random.below(8) {
        0 if count == 0 => {
            assert!(stream.remove_group(&name));
            assert!(!stream.remove_group(&name));
            model.groups.remove(&name);
        }
        0..=1 => {
            let removed = stream.with_group(&name, |group| group.remove_consumer(&consumer));
            assert_eq!(removed.is_some(), group.consumers.remove(&consumer).is_some());
            let before = group.pending.len();
            group.pending.retain(|_, (with, ..)| *with != consumer);
            assert_eq!(removed.unwrap_or(0), before - group.pending.len());
        }
        2 => {
            let released = stream.with_group(&name, |group| group.release(id));
            assert_eq!(released, group.pending.remove(&id).is_some());
        }
        _ => {
            let active_at = (count > 1).then_some(time);
            stream.with_group(&name, |group| {
                let (number, _) = group.see(&consumer, TimeMs(time), active_at.map(TimeMs));
                group.hold(id, number, TimeMs(time), count);
            });
            let seen = group.consumers.entry(consumer.clone()).or_default();
            *seen = (time, active_at.or(seen.1));
            group.pending.insert(id, (consumer, time, count));
        }
    }
}

fn check(stream: &Stream, model: &Model, random: &mut Random) {
    assert_eq!(stream.len(), model.entries.len() as u64);
    assert_eq!(stream.counters(), model.counters);
    assert_eq!(stream.first_id(), model.entries.first().map(|(id, _)| *id));
    assert_eq!(stream.top_id(), model.entries.last().map(|(id, _)| *id));
    let (start, end) = (random.id_of(model), random.id_of(model));
    let within = || model.entries.iter().filter(|(id, _)| start <= *id && *id <= end).cloned();
    assert!(stream.range(start, end).map(|entry| shown(&entry)).eq(within()), "{start:?} to {end:?}");
    let back: Vec<_> = within().collect();
    assert!(stream.range_back(start, end).map(|entry| shown(&entry)).eq(back.into_iter().rev()));
    let most = random.below(model.entries.len() as u64 + 2);
    let kept = model.entries.len().saturating_sub(most as usize);
    let exact = stream.trim_end(Trim::Length(most), false, 0);
    assert_eq!(exact, model.entries[..kept].last().map(|(id, _)| *id));
    let before = model.entries.iter().map(|(id, _)| *id).rfind(|id| *id < start);
    assert_eq!(stream.trim_end(Trim::Before(start), false, 0), before);
    for trim in [Trim::Length(most), Trim::Before(start)] {
        let limit = random.below(40);
        let (near, limited) = (stream.trim_end(trim, true, 0), stream.trim_end(trim, true, limit));
        assert!(near <= stream.trim_end(trim, false, 0), "an approximate trim takes no more than an exact one");
        assert!(limited <= near);
        let taken = model.entries.iter().filter(|(id, _)| limited.is_some_and(|last| *id <= last)).count() as u64;
        assert!(limit == 0 || taken <= limit, "{taken} of {limit}");
    }
    check_groups(stream, model);
}

fn check_groups(stream: &Stream, model: &Model) {
    assert_eq!(stream.groups().len(), model.groups.len());
    for ((name, group), (model_name, model)) in stream.groups().zip(&model.groups) {
        assert_eq!(name, model_name);
        let all = |pending: Pending<'_>| {
            (pending.id, (pending.consumer.to_vec(), pending.delivered_at.0, pending.delivery_count))
        };
        let pending: ModelPending = group.pending(StreamId::MIN, StreamId::MAX).map(all).collect();
        assert_eq!(pending, model.pending);
        assert_eq!(group.consumers().len(), model.consumers.len());
        for (consumer, (name, seen)) in group.consumers().zip(&model.consumers) {
            assert_eq!(consumer.name(), name);
            assert_eq!((consumer.seen_at().0, consumer.active_at().map(|at| at.0)), *seen);
            let with = group.pending_with(consumer, StreamId::MIN, StreamId::MAX).map(all);
            assert!(
                with.eq(model.pending.iter().filter(|(_, one)| one.0 == *name).map(|(id, one)| (*id, one.clone())))
            );
        }
    }
}

fn check_image(stream: &Stream) {
    let image = image_of(stream);
    let again = Stream::decode(&image).expect("written by us");
    assert!(again == *stream);
    assert_eq!(format!("{again:?}"), format!("{stream:?}"));
    assert_eq!(again.block_count(), stream.block_count());
    assert_eq!(image_of(&again), image, "blocks stay what they are");
    let bytes = (again.bytes(), stream.bytes());
    assert!(bytes.0 <= bytes.1, "what was just read has no room to spare: {bytes:?}");
}

#[test]
fn a_stream_does_what_a_list_of_entries_does() {
    for seed in 0..60 {
        let (mut stream, mut model, mut random) = (Stream::new(), Model::default(), Random(seed));
        for step in 0..600 {
            if random.below(4) == 0 {
                change_groups(&mut stream, &mut model, &mut random);
            } else {
                change_entries(&mut stream, &mut model, &mut random);
            }
            if step % 7 == 0 {
                check(&stream, &model, &mut random);
            }
            if step % 97 == 0 {
                check_image(&stream);
            }
        }
        check(&stream, &model, &mut random);
        check_image(&stream);
    }
}

fn filled(count: u64) -> Stream {
    let (mut stream, mut random, mut id) = (Stream::new(), Random(1), StreamId::MIN);
    for _ in 0..count {
        id = random.id_after(id);
        let pairs = random.pairs();
        let opens = stream.is_block_full(pairs.iter().map(|(a, b)| a.len() + b.len()).sum(), BlockLimits::STANDARD);
        assert!(add(&mut stream, id, opens, &pairs));
    }
    stream
}

#[test]
fn a_stream_cut_at_both_ends_for_ever_stays_small() {
    let mut stream = Stream::new();
    for number in 1..100_000 {
        let value = (b"value".as_slice(), b"0123456789".as_slice());
        assert!(stream.add(StreamId { ms: number, seq: 0 }, false, [value].into_iter()));
        if let Some(through) = stream.trim_end(Trim::Length(10), false, 0) {
            stream.trim(through);
        }
    }
    assert_eq!(stream.len(), 10);
    assert!(stream.bytes() < 2_000, "{}", stream.bytes());
}

#[test]
fn memory_goes_with_the_entries() {
    let mut stream = filled(5_000);
    let full_bytes = stream.bytes();
    assert!(stream.block_count() > 40);
    let ids: Vec<StreamId> = stream.range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id).collect();
    for id in ids.iter().step_by(2) {
        assert!(stream.delete(*id));
    }
    assert!(stream.bytes() < full_bytes * 3 / 4, "{} of {full_bytes}", stream.bytes());
    stream.trim(StreamId::MAX);
    assert!(stream.is_empty());
    assert_eq!(stream.bytes(), Stream::new().bytes());
    assert!(stream.top_id().is_none());
}

#[test]
fn two_small_fields_take_few_bytes() {
    let mut stream = Stream::new();
    for number in 0..100_000u64 {
        let value = format!("{number}");
        let fields = [(&b"sensor"[..], value.as_bytes()), (&b"value"[..], &b"21.5"[..])];
        let opens = stream.is_block_full(11 + value.len() + 4, BlockLimits::STANDARD);
        assert!(stream.add(
            StreamId { ms: 1_700_000_000_000 + number / 3, seq: number % 3 },
            opens,
            fields.into_iter()
        ));
    }
    assert!(stream.bytes() < 100_000 * 16, "{} bytes each", stream.bytes() / 100_000);
}

#[test]
fn every_cut_of_an_image_is_refused_and_no_flip_panics() {
    let mut stream = filled(150);
    stream.put_group(b"g", Progress { last_id: StreamId::MIN, entries_read: None });
    stream.with_group(b"g", |group| {
        let (consumer, _) = group.see(b"c", TimeMs(5), Some(TimeMs(-5)));
        group.hold(StreamId { ms: 3, seq: 1 }, consumer, TimeMs(7), 1);
    });
    let image = image_of(&stream);
    for cut in 0..image.len() {
        assert!(Stream::decode(&image[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = image.clone();
    longer.push(0);
    assert!(Stream::decode(&longer).is_err());
    for flip in 0..image.len() * 8 {
        let mut bent = image.clone();
        bent[flip / 8] ^= 1 << (flip % 8);
        if let Ok(stream) = Stream::decode(&bent) {
            let ids: Vec<StreamId> = stream.range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id).collect();
            assert!(ids.is_sorted_by(|one, next| one < next));
            assert_eq!(ids.len() as u64, stream.len());
        }
    }
}

#[test]
fn progress_is_counted_until_a_deletion_hides_it() {
    let mut stream = Stream::new();
    let id = |ms| StreamId { ms, seq: 0 };
    let start = Progress { last_id: StreamId::MIN, entries_read: None };
    assert_eq!(stream.entries_until(id(3)), Some(0));
    for ms in 1..=5 {
        stream.add(id(ms), false, [(&b"f"[..], &b"v"[..])].into_iter());
    }
    assert_eq!([0, 1, 2, 5, 6].map(|ms| stream.entries_until(id(ms))), [Some(0), Some(1), None, Some(5), None]);
    let first = stream.progress_to(start, id(1));
    assert_eq!(first, Progress { last_id: id(1), entries_read: Some(1) });
    assert_eq!(stream.progress_to(first, id(2)).entries_read, Some(2));
    assert_eq!(stream.progress_to(first, id(1)), first, "an id that was read before");
    stream.put_group(b"g", first);
    let lag = |stream: &Stream| stream.lag(stream.group(b"g").expect("made above"));
    assert_eq!(lag(&stream), Some(4));
    stream.delete(id(3));
    assert_eq!(stream.progress_to(first, id(2)).entries_read, None);
    assert_eq!(lag(&stream), None);
    stream.trim(id(3));
    assert_eq!(lag(&stream), None, "the group has not passed the deleted entry");
    assert_eq!(stream.entries_until(id(3)), Some(3));
}
