//! Any value survives the trip, and no bytes at all make decoding panic, or take memory out of proportion.
//!
//! Memory is measured: a counting allocator holds what is allocated now and the most there ever was, per thread.

#![allow(unsafe_code)]

use base::TimeMs;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use rdb::{
    DumpError, Object, Stream, StreamConsumer, StreamEntry, StreamGroup, StreamId, StreamPending, StreamState,
    Versions, decode_dump, decode_dump_unchecked, decode_dump_within, encode_dump,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD_BYTES: Cell<usize> = const { Cell::new(0) };
    static HELD_BYTES_MOST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

/// Counts modulo 2^64: a thread may free what another one allocated.
fn held(bytes: usize, change: fn(usize, usize) -> usize) {
    let _ = HELD_BYTES.try_with(|held| {
        held.set(change(held.get(), bytes));
        let _ = HELD_BYTES_MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call is passed to the system allocator unchanged; counting touches thread-local cells only, which
// neither allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        held(layout.size(), usize::wrapping_add);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        held(layout.size(), usize::wrapping_sub);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most `work` held beyond what was held before it.
fn most_bytes<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD_BYTES.get();
    HELD_BYTES_MOST.set(before);
    let done = work();
    (done, HELD_BYTES_MOST.get().wrapping_sub(before))
}

/// The payload with a checksum that holds.
fn sealed(payload: &[u8]) -> Vec<u8> {
    let covered = &payload[..payload.len() - 8];
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, covered);
    [covered, &crc.to_le_bytes()].concat()
}

/// Decodes whatever the checksum says, after holding decoding to a small budget: beyond that it may take only what
/// the payload's own size accounts for.
fn decode_bounded(payload: &[u8]) -> Option<Object> {
    const VALUE_BYTES_MAX: usize = 1 << 20;
    const PAYLOAD_RATIO_MAX: usize = 16;
    let sealed = sealed(payload);
    let (within, most) = most_bytes(|| decode_dump_within(&sealed, VALUE_BYTES_MAX, Versions::Known));
    assert!(most <= VALUE_BYTES_MAX + PAYLOAD_RATIO_MAX * payload.len(), "{most} bytes for {}", payload.len());
    let decoded = decode_dump_unchecked(payload);
    assert!(within == decoded || within == Err(TOO_LARGE));
    decoded.ok()
}

const TOO_LARGE: DumpError = DumpError::BadFormat("value takes too much memory");

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..12),
        2 => any::<i64>().prop_map(|int| int.to_string().into_bytes()),
        2 => (-200i64..200).prop_map(|int| int.to_string().into_bytes()),
        1 => vec(any::<u8>(), 60..70),
        1 => vec(Just(b'x'), 4090..4100),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("a score is a number", |score| !score.is_nan()),
        (-1000i64..1000).prop_map(|int| int as f64 / 4.0),
        Just(f64::INFINITY),
        Just(-0.0),
    ]
}

fn sorted_set() -> impl Strategy<Value = Object> {
    btree_map(name(), score(), 1..140).prop_map(|members| {
        let mut members: Vec<(Vec<u8>, f64)> = members.into_iter().collect();
        members.sort_by(|(a, a_score), (b, b_score)| {
            a_score.partial_cmp(b_score).expect("no score is NaN").then_with(|| a.cmp(b))
        });
        Object::SortedSet(members)
    })
}

fn hash() -> impl Strategy<Value = Object> {
    let plain = btree_map(name(), name(), 1..140)
        .prop_map(|fields| fields.into_iter().map(|(name, value)| (name, value, None)).collect());
    let expiring = btree_map(name(), (name(), proptest::option::of(0..i64::MAX)), 1..20)
        .prop_map(|fields| fields.into_iter().map(|(name, (value, at))| (name, value, at.map(TimeMs))).collect());
    prop_oneof![plain, expiring].prop_map(Object::Hash)
}

fn id() -> impl Strategy<Value = StreamId> {
    let word = || prop_oneof![0..8u64, any::<u64>()];
    (word(), word()).prop_map(|(ms, seq)| StreamId { ms, seq })
}

fn entry_fields() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<Vec<u8>>)> {
    prop_oneof![
        3 => vec(name(), 2).prop_map(|values| (vec![b"a".to_vec(), b"b".to_vec()], values)),
        1 => vec((name(), name()), 1..4).prop_map(|fields| fields.into_iter().unzip()),
    ]
}

fn group() -> impl Strategy<Value = StreamGroup> {
    let pending = btree_map(id(), (any::<i64>(), any::<u64>(), 0..3usize), 0..8);
    let consumers = btree_map(name(), (any::<i64>(), proptest::option::of(0..i64::MAX)), 3);
    (name(), id(), proptest::option::of(0..i64::MAX as u64), consumers, pending).prop_map(
        |(name, last_id, entries_read, consumers, pending)| {
            let mut consumers: Vec<StreamConsumer> = consumers
                .into_iter()
                .map(|(name, (seen, active))| StreamConsumer {
                    name,
                    seen_at: TimeMs(seen),
                    active_at: active.map(TimeMs),
                    pending: vec![],
                })
                .collect();
            for (id, (at, delivery_count, owner)) in pending {
                consumers[owner].pending.push(StreamPending { id, delivered_at: TimeMs(at), delivery_count });
            }
            StreamGroup { name, last_id, entries_read, consumers }
        },
    )
}

fn stream() -> impl Strategy<Value = Object> {
    let groups = btree_map(name(), group(), 0..3);
    (btree_map(id(), entry_fields(), 0..150), id(), id(), any::<u64>(), groups).prop_map(
        |(entries, last_id, max_deleted_id, entries_added, groups)| {
            let newest = entries.keys().next_back().copied().unwrap_or_default();
            let entries = entries
                .into_iter()
                .map(|(id, (names, values))| StreamEntry { id, names: names.into(), values })
                .collect();
            let groups = groups.into_iter().map(|(name, group)| StreamGroup { name, ..group }).collect();
            let state = StreamState { last_id: last_id.max(newest), max_deleted_id, entries_added, groups };
            Object::Stream(Stream { entries, state })
        },
    )
}

fn object() -> impl Strategy<Value = Object> {
    prop_oneof![
        name().prop_map(Object::String),
        vec(any::<u8>(), 16_000..17_000).prop_map(Object::String),
        vec(name(), 1..300).prop_map(Object::List),
        vec(vec(any::<u8>(), 8100..8300), 1..4).prop_map(Object::List),
        btree_set(name(), 1..140).prop_map(|members| Object::Set(members.into_iter().collect())),
        btree_set(any::<i32>(), 1..600)
            .prop_map(|ints| Object::Set(ints.iter().map(|int| int.to_string().into_bytes()).collect())),
        hash(),
        sorted_set(),
        stream(),
    ]
}

/// A set of integers comes back in their order; no other order is lost.
fn ordered(mut object: Object) -> Object {
    if let Object::Set(members) = &mut object {
        members.sort();
    }
    object
}

fn encoded(object: &Object) -> Vec<u8> {
    let mut out = Vec::new();
    encode_dump(object, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn decoding_an_encoded_object_gives_it_back(object in object()) {
        let payload = encoded(&object);
        prop_assert_eq!(ordered(decode_dump(&payload).unwrap()), ordered(object));
        prop_assert!(decode_bounded(&payload).is_some());
    }

    #[test]
    fn bent_payloads_decode_to_what_encodes_again_or_are_refused(
        object in object(),
        bends in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut payload = encoded(&object);
        for (at, byte) in bends {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        if let Some(decoded) = decode_bounded(&payload) {
            prop_assert_eq!(ordered(decode_dump(&encoded(&decoded)).unwrap()), ordered(decoded));
        }
    }

    #[test]
    fn cut_payloads_with_a_footer_are_refused_or_whole(object in object(), at in any::<prop::sample::Index>()) {
        let whole = encoded(&object);
        let (body, footer) = whole.split_at(whole.len() - 10);
        decode_bounded(&[&body[..at.index(body.len() + 1)], footer].concat());
    }

    #[test]
    fn random_bodies_of_every_type_are_refused_or_bounded(
        kind in 0..30u8,
        body in vec(prop_oneof![any::<u8>(), 0..8u8, Just(0xff)], 0..200),
        version in prop_oneof![Just(11u8), Just(12), Just(80)],
    ) {
        decode_bounded(&[&[kind], &body[..], &[version, 0], &[0; 8]].concat());
    }
}

fn unchecked(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], body, &[11, 0], &[0; 8]].concat()
}

#[test]
fn counts_that_nothing_backs_take_no_memory() {
    let huge = [0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for kind in 0..=25 {
        for body in [&huge[..], &[&huge[..], &[1, b'a']].concat(), &[&[1][..], &huge].concat()] {
            assert_eq!(decode_bounded(&unchecked(kind, body)), None, "type {kind}");
        }
    }
}

/// `count` equal bytes as LZF has them: three of input for 264 of output.
fn lzf_run(byte: u8, count: usize) -> Vec<u8> {
    let mut out = vec![0, byte];
    let copies = (count - 1) / 264;
    out.extend([0xe0, 0xff, 0].repeat(copies));
    out.extend([0, byte].repeat(count - 1 - copies * 264));
    out
}

/// A compressed RDB string of what `packed` expands to.
fn lzf_string(packed: &[u8], expanded_bytes: usize) -> Vec<u8> {
    let length = |bytes: usize| [&[0x80][..], &(bytes as u32).to_be_bytes()].concat();
    [&[0xc3][..], &length(packed.len()), &length(expanded_bytes), packed].concat()
}

/// A listpack of the integer 1, whose two bytes are 01 01, `element_count` times, compressed.
fn lzf_listpack(element_count: usize) -> Vec<u8> {
    let listpack_bytes = 6 + 2 * element_count + 1;
    let head = [&[5][..], &(listpack_bytes as u32).to_le_bytes(), &[0xff, 0xff]].concat();
    lzf_string(&[&head[..], &lzf_run(1, 2 * element_count), &[0, 0xff]].concat(), listpack_bytes)
}

#[test]
fn a_small_payload_of_a_large_list_is_decoded_only_within_the_budget() {
    let element_count = 264 * 500;
    let payload = unchecked(18, &[&[1, 2], &lzf_listpack(element_count)[..]].concat());
    assert!(payload.len() < 4096);
    let Some(Object::List(items)) = decode_bounded(&payload) else { panic!("the list is valid") };
    assert_eq!(items.len(), element_count);
    assert_eq!(decode_dump_within(&sealed(&payload), 1 << 20, Versions::Any), Err(TOO_LARGE));
}

#[test]
fn every_packed_encoding_is_held_to_the_budget() {
    let zeros = lzf_string(&lzf_run(0, 264 * 10_000), 264 * 10_000);
    for kind in 0..=25 {
        for body in
            [&zeros[..], &[&[1][..], &zeros].concat(), &[&[1, 2][..], &zeros].concat(), &lzf_listpack(264 * 500)]
        {
            decode_bounded(&unchecked(kind, body));
        }
    }
}

#[test]
fn a_name_shared_by_many_stream_entries_is_held_once() {
    let entry_count = 2000u64;
    let name = vec![b'n'; 100_000];
    let names: std::sync::Arc<[Vec<u8>]> = vec![name].into();
    let entries = (1..=entry_count)
        .map(|ms| StreamEntry { id: StreamId { ms, seq: 0 }, names: names.clone(), values: vec![b"1".to_vec()] })
        .collect();
    let state = StreamState { last_id: StreamId { ms: entry_count, seq: 0 }, ..StreamState::default() };
    let payload = encoded(&Object::Stream(Stream { entries, state }));
    let (decoded, most) = most_bytes(|| decode_dump(&payload));
    assert!(decoded.is_ok());
    assert!(most < 4 * payload.len(), "{most} bytes held for {} of payload", payload.len());
}
