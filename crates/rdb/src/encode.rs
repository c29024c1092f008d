//! Value → payload, without building an [`Object`] first: collections are given as iterators.
//!
//! The encoding is what Redis 7.2 chooses for a collection of that size with its default settings, so that a
//! payload looks the same whichever server wrote it. Strings and packed encodings are written uncompressed.
//!
//! Iterators are `Clone` where the choice needs a look ahead; it stops at the first element that decides.

use crate::element::canonical_int;
use crate::format::{Encoding, put_payload};
use crate::intset;
use crate::listpack::ListpackWriter;
use crate::object::Object;
use crate::stream_encode::dump_stream;
use crate::string::{put_length, put_raw, put_string};
use base::TimeMs;

/// Most members of a small set or sorted set, or fields of a small hash.
const SMALL_COUNT_MAX: usize = 128;
/// Longest member, name or value in a small collection.
const SMALL_BYTES_MAX: usize = 64;
/// Most members of a set that is written as sorted integers.
const INTSET_COUNT_MAX: usize = 512;
/// Size at which a list goes on in its next node, and above which an element has a node of its own.
const LIST_NODE_BYTES_MAX: usize = 8192;
/// Beyond this a double skips integers, and its integer form would not be its own.
const SCORE_INT_MAX: f64 = (1u64 << 52) as f64;

/// Appends the payload of `object` to `out`.
///
/// # Panics
/// When the object breaks what [`Object`] promises: an empty collection, a NaN score, a sorted set out of order.
pub fn encode_dump(object: &Object, out: &mut Vec<u8>) {
    match object {
        Object::String(bytes) => dump_string(out, bytes),
        Object::List(items) => dump_list(out, |put| items.iter().for_each(|item| put(item))),
        Object::Set(members) => dump_set(out, members.iter()),
        Object::Hash(fields) => dump_hash(out, fields.iter().map(|(name, value, at)| (name, value, *at))),
        Object::SortedSet(members) => dump_sorted_set(out, members.iter().map(|(member, score)| (member, *score))),
        Object::Stream(stream) => {
            let entries = stream.entries.iter().map(|entry| {
                assert_eq!(entry.names.len(), entry.values.len(), "each name of an entry has its value");
                (entry.id, entry.names.iter().zip(&entry.values))
            });
            dump_stream(out, entries, &stream.state);
        }
    }
}

/// Appends the payload of a string to `out`.
pub fn dump_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_payload(out, Encoding::String, |out| put_string(out, bytes));
}

/// Appends the payload of a list to `out`: the elements that `put_all` calls its argument with, from head to tail.
///
/// # Panics
/// When there are none: an empty collection is an absent key.
pub fn dump_list(out: &mut Vec<u8>, put_all: impl FnOnce(&mut dyn FnMut(&[u8]))) {
    put_payload(out, Encoding::ListQuicklist2, |out| {
        let start = out.len();
        let mut nodes = ListNodes { out, count: 0, open: ListpackWriter::default() };
        put_all(&mut |item| nodes.push(item));
        nodes.close();
        let count = nodes.count;
        put_length_before(out, start, count);
    });
}

/// Cuts a list into nodes: `2 listpack` for many elements, `1 string` for a single large one.
struct ListNodes<'a> {
    out: &'a mut Vec<u8>,
    count: u64,
    open: ListpackWriter,
}

impl ListNodes<'_> {
    fn push(&mut self, item: &[u8]) {
        if LIST_NODE_BYTES_MAX < self.open.bytes() + item.len() {
            self.close();
        }
        if LIST_NODE_BYTES_MAX < item.len() {
            self.out.push(1);
            put_raw(self.out, item);
            self.count += 1;
        } else {
            self.open.push(item);
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.out.push(2);
            self.open.put(self.out);
            self.open.clear();
            self.count += 1;
        }
    }
}

/// Puts a length in front of what was appended since `start`, for counts known only afterwards.
pub(crate) fn put_length_before(out: &mut Vec<u8>, start: usize, count: u64) {
    assert!(0 < count, "an empty collection is an absent key");
    let end = out.len();
    put_length(out, count);
    let length_bytes = out.len() - end;
    out[start..].rotate_right(length_bytes);
}

/// Appends the payload of a set to `out`. Members must differ.
///
/// # Panics
/// When there are none: an empty collection is an absent key.
pub fn dump_set<T, I>(out: &mut Vec<u8>, members: I)
where
    T: AsRef<[u8]>,
    I: Iterator<Item = T> + Clone,
{
    if let Some(ints) = few_ints(members.clone()) {
        put_payload(out, Encoding::SetIntset, |out| put_raw(out, &intset::encode(&ints)));
    } else if is_small(members.clone().map(|member| member.as_ref().len())) {
        put_payload(out, Encoding::SetListpack, |out| {
            let mut packed = ListpackWriter::default();
            members.for_each(|member| packed.push(member.as_ref()));
            packed.put(out);
        });
    } else {
        put_payload(out, Encoding::Set, |out| {
            put_counted(out, members, |out, member| put_string(out, member.as_ref()));
        });
    }
}

/// The members ascending, when they are few and all integers.
fn few_ints<T: AsRef<[u8]>>(members: impl Iterator<Item = T>) -> Option<Vec<i64>> {
    let mut ints = Vec::new();
    for member in members {
        ints.push(canonical_int(member.as_ref())?);
        if INTSET_COUNT_MAX < ints.len() {
            return None;
        }
    }
    assert!(!ints.is_empty(), "an empty collection is an absent key");
    ints.sort_unstable();
    Some(ints)
}

/// Appends the payload of a hash to `out`: name, value and expiry of each field. Names must differ.
///
/// A hash without expiries can be restored by Redis 7.0 and later and by every Valkey. One with expiries takes
/// Valkey's encoding, which Valkey 9 and Larder read and Redis does not; Redis's own would be the other way round.
///
/// # Panics
/// When there are none (an empty collection is an absent key), or a field expires before 1970.
pub fn dump_hash<N, V, I>(out: &mut Vec<u8>, fields: I)
where
    N: AsRef<[u8]>,
    V: AsRef<[u8]>,
    I: Iterator<Item = (N, V, Option<TimeMs>)> + Clone,
{
    let lengths = fields.clone().map(|(name, value, _)| name.as_ref().len().max(value.as_ref().len()));
    if fields.clone().any(|(_, _, expires_at)| expires_at.is_some()) {
        put_payload(out, Encoding::HashExpiring, |out| put_counted(out, fields, put_field_expiring));
    } else if is_small(lengths) {
        put_payload(out, Encoding::HashListpack, |out| {
            let mut packed = ListpackWriter::default();
            for (name, value, _) in fields {
                packed.push(name.as_ref());
                packed.push(value.as_ref());
            }
            packed.put(out);
        });
    } else {
        put_payload(out, Encoding::Hash, |out| {
            put_counted(out, fields, |out, (name, value, _)| {
                put_string(out, name.as_ref());
                put_string(out, value.as_ref());
            });
        });
    }
}

fn put_field_expiring<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    (name, value, expires_at): (N, V, Option<TimeMs>),
) {
    const NEVER: i64 = -1;
    put_string(out, name.as_ref());
    put_string(out, value.as_ref());
    let at = expires_at.map_or(NEVER, |at| at.0);
    assert!(NEVER <= at, "a field expires after 1970");
    out.extend_from_slice(&at.to_le_bytes());
}

/// Appends the payload of a sorted set to `out`. Members must differ and come ascending by score, then by member:
/// the packed encoding is searched by readers that rely on it.
///
/// # Panics
/// When there are none (an empty collection is an absent key), a score is NaN, or a small set is out of order.
pub fn dump_sorted_set<T, I>(out: &mut Vec<u8>, members: I)
where
    T: AsRef<[u8]>,
    I: Iterator<Item = (T, f64)> + Clone,
{
    if is_small(members.clone().map(|(member, _)| member.as_ref().len())) {
        put_payload(out, Encoding::SortedSetListpack, |out| put_packed_scores(out, members));
    } else {
        put_payload(out, Encoding::SortedSet, |out| {
            put_counted(out, members, |out, (member, score)| {
                assert!(!score.is_nan(), "a score is a number");
                put_string(out, member.as_ref());
                out.extend_from_slice(&score.to_le_bytes());
            });
        });
    }
}

fn put_packed_scores<T: AsRef<[u8]>>(out: &mut Vec<u8>, members: impl Iterator<Item = (T, f64)>) {
    let mut packed = ListpackWriter::default();
    let mut previous: Option<(T, f64)> = None;
    for (member, score) in members {
        assert!(!score.is_nan(), "a score is a number");
        if let Some((low, low_score)) = previous {
            let in_order = low_score < score || low_score == score && low.as_ref() < member.as_ref();
            assert!(in_order, "a sorted set ascends by score, then by member");
        }
        packed.push(member.as_ref());
        push_score(&mut packed, score);
        previous = Some((member, score));
    }
    packed.put(out);
}

/// Adds a score the way Redis does: as an integer when it is one, else in the shortest digits that read back.
fn push_score(packed: &mut ListpackWriter, score: f64) {
    let int = score as i64;
    if score.abs() < SCORE_INT_MAX && (int as f64).to_bits() == score.to_bits() {
        packed.push_int(int);
    } else {
        packed.push(score_digits(score).as_bytes());
    }
}

fn score_digits(score: f64) -> String {
    match score.abs() {
        f64::INFINITY | 1e-5..1e21 => score.to_string(),
        1e21.. => format!("{score:e}").replace('e', "e+"),
        _ => format!("{score:e}"),
    }
}

fn put_counted<T>(out: &mut Vec<u8>, all: impl Iterator<Item = T>, mut put: impl FnMut(&mut Vec<u8>, T)) {
    let start = out.len();
    let mut count = 0;
    for one in all {
        put(out, one);
        count += 1;
    }
    put_length_before(out, start, count);
}

/// Whether a collection is packed: few elements, all of them short.
fn is_small(lengths: impl Iterator<Item = usize>) -> bool {
    let mut count = 0;
    for length in lengths {
        count += 1;
        if SMALL_COUNT_MAX < count || SMALL_BYTES_MAX < length {
            return false;
        }
    }
    assert!(0 < count, "an empty collection is an absent key");
    true
}
