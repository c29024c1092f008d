//! Hashes as a whole: all fields, a scan over them, and random ones.
//!
//! Deliberately not here: fields by name (`hashes`).
//!
//! Source: behaviour of Valkey 9.1 `t_hash.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::hashes::live_count;
use crate::random::{LISTED_RATIO_MAX, Random, shuffle_first};
use crate::refuse;
use crate::scan::{ScanOptions, Walked, cursor, reply_scanned};
use crate::slices::{self, PutField, Walk};
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::Touches;
use base::TimeMs;
use keyspace::hash::{Field, Hash};
use keyspace::partition::has_ended;
use std::collections::HashSet;
use wire::reply::{Protocol, Reply};

/// Most fields of one HRANDFIELD with repetition: its reply must not grow with a number alone.
const REPEATED_COUNT_MAX: usize = 16 << 20;

const ROW: Spec = Spec {
    name: "",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY,
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(N) for N fields in the hash",
    summary: "",
    syntax: "key",
    handler: |call| list(call, put_map, put_pair),
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec { name: "hgetall", summary: "Returns all fields of a hash with their values.", ..ROW },
    Spec {
        name: "hkeys",
        summary: "Returns the names of all fields of a hash.",
        handler: |call| list(call, put_array, |reply, field| reply.bulk(field.name)),
        ..ROW
    },
    Spec {
        name: "hrandfield",
        arity: Arity::AtLeast(2),
        since: "6.2.0",
        complexity: "O(N) for N fields returned",
        summary: "Returns random fields of a hash: different ones, or with repetition for a negative count.",
        syntax: "key [count [WITHVALUES]]",
        handler: random,
        ..ROW
    },
    Spec {
        name: "hscan",
        arity: Arity::AtLeast(3),
        since: "2.8.0",
        complexity: "O(COUNT) for each call, O(N) for a walk over N fields",
        summary: "Walks over the fields of a hash, some at each call.",
        syntax: "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
        handler: scan,
        ..ROW
    },
    Spec {
        name: "hvals",
        summary: "Returns the values of all fields of a hash.",
        handler: |call| list(call, put_array, |reply, field| reply.bulk(field.value)),
        ..ROW
    },
];

/// The fields that have not ended.
fn live_fields(hash: Option<&Hash>, now: TimeMs) -> impl Iterator<Item = Field<'_>> {
    hash.into_iter().flat_map(Hash::iter).filter(move |field| !has_ended(field.expires, now))
}

fn put_array(reply: &mut Reply<'_>, count: usize) {
    reply.array(count);
}

fn put_map(reply: &mut Reply<'_>, count: usize) {
    reply.map(count);
}

fn put_pair(reply: &mut Reply<'_>, field: &Field<'_>) {
    reply.bulk(field.name);
    reply.bulk(field.value);
}

/// Shows every field that has not ended as `put` does, behind a `header` for so many.
fn list(call: &mut Call<'_>, header: fn(&mut Reply<'_>, usize), put: PutField) -> Result<Flow, Error> {
    let (key, start, may_slice, now) = (call.args.at(1), call.reply.mark(), call.may_slice(), call.horizon());
    let Some(hash) = call.tx.hash(key)? else {
        header(&mut call.reply, 0);
        return Ok(Flow::Done);
    };
    let count = live_count(Some(hash), now);
    header(&mut call.reply, count);
    if may_slice && slices::is_large(hash.bytes()) {
        return Ok(call.begin_slices(key, start, count, Walk::Hash { cursor: 0, put }));
    }
    hash.scan(0, usize::MAX, |field| {
        if !has_ended(field.expires, now) {
            put(&mut call.reply, &field);
        }
    });
    Ok(Flow::Done)
}

fn scan(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (cursor, now) = (cursor(call, 2)?, call.horizon());
    let Some(hash) = call.tx.hash(call.args.at(1))? else {
        reply_scanned(&mut call.reply, 0, 0, &[]);
        return Ok(Flow::Done);
    };
    let options = ScanOptions::parse(call.args.skip(3), Walked::Hash)?;
    let (mut elements, mut count) = (Vec::new(), 0);
    let mut found = Reply::new(&mut elements, call.reply.protocol());
    let next = hash.scan(cursor, options.count, |field| {
        if has_ended(field.expires, now) || !options.matches(field.name) {
            return;
        }
        found.bulk(field.name);
        count += 1;
        if options.values {
            found.bulk(field.value);
            count += 1;
        }
    });
    reply_scanned(&mut call.reply, next, count, &elements);
    Ok(Flow::Done)
}

/// What HRANDFIELD is to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One name.
    One,
    /// So many different fields, or all.
    Different(usize),
    /// So many fields, the same one perhaps more than once.
    Repeated(usize),
}

/// Reads `[count [WITHVALUES]]` from argument 2 on; `with` is that last word.
pub(crate) fn wanted(call: &Call<'_>, with: &str) -> Result<Wanted, Error> {
    if call.arg_count() == 2 {
        return Ok(Wanted::One);
    }
    let number = call.integer(2)?;
    if number == i64::MIN {
        return Err(refuse!("ERR value is out of range, value must between {} and {}", -i64::MAX, i64::MAX));
    }
    let has_values = call.arg_count() == 4 && call.is_word(3, with);
    if call.arg_count() > 3 && !has_values {
        return Err(Error::Syntax);
    }
    let count = number.unsigned_abs() as usize;
    let is_too_many = has_values && i64::MAX as usize / 2 < count;
    match number {
        _ if is_too_many => Err(Error::OutOfRange),
        0.. => Ok(Wanted::Different(count)),
        _ if count <= REPEATED_COUNT_MAX => Ok(Wanted::Repeated(count)),
        _ => Err(Error::OutOfRange),
    }
}

fn random(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (wanted, now) = (wanted(call, "WITHVALUES")?, call.horizon());
    let with_values = call.arg_count() == 4;
    let mut random = Random::new(call.host.random());
    let hash = call.tx.hash(call.args.at(1))?;
    let live_count = live_count(hash, now);
    let (Some(hash), 1..) = (hash, live_count) else {
        reply_no_field(&mut call.reply, wanted);
        return Ok(Flow::Done);
    };
    let fields = match wanted {
        Wanted::One => {
            for field in repeated(hash, live_count, 1, now, &mut random) {
                call.reply.bulk(field.name);
            }
            return Ok(Flow::Done);
        }
        Wanted::Repeated(count) => repeated(hash, live_count, count, now, &mut random),
        Wanted::Different(count) => different(hash, live_count, count, now, &mut random),
    };
    reply_fields(&mut call.reply, &fields, with_values);
    Ok(Flow::Done)
}

fn reply_no_field(reply: &mut Reply<'_>, wanted: Wanted) {
    match wanted {
        Wanted::One => reply.null(),
        Wanted::Different(_) | Wanted::Repeated(_) => reply.array(0),
    }
}

/// Names, or names and values: flat in RESP2, in pairs in RESP3.
fn reply_fields(reply: &mut Reply<'_>, fields: &[Field<'_>], with_values: bool) {
    let in_pairs = with_values && reply.protocol() == Protocol::Resp3;
    let is_flat_pair = with_values && !in_pairs;
    reply.array(fields.len() * if is_flat_pair { 2 } else { 1 });
    for field in fields {
        if in_pairs {
            reply.array(2);
        }
        reply.bulk(field.name);
        if with_values {
            reply.bulk(field.value);
        }
    }
}

/// `count` draws, each field equally likely each time.
fn repeated<'h>(hash: &'h Hash, live_count: usize, count: usize, now: TimeMs, random: &mut Random) -> Vec<Field<'h>> {
    if live_count < hash.len() {
        // Some fields have ended and wait for the timer: rare, so listing the others is good enough.
        let live: Vec<_> = live_fields(Some(hash), now).collect();
        return (0..count).map(|_| live[random.below(live.len())]).collect();
    }
    (0..count).filter_map(|_| hash.sample(random.next())).collect()
}

/// `count` different fields, or all when there are not more.
fn different<'h>(hash: &'h Hash, live_count: usize, count: usize, now: TimeMs, random: &mut Random) -> Vec<Field<'h>> {
    if live_count <= count.saturating_mul(LISTED_RATIO_MAX) || live_count < hash.len() || hash.is_compact() {
        let mut fields: Vec<_> = live_fields(Some(hash), now).collect();
        shuffle_first(&mut fields, count, random);
        fields.truncate(count);
        return fields;
    }
    let mut names = HashSet::<&[u8], foldhash::fast::FixedState>::default();
    let mut fields = Vec::with_capacity(count);
    while fields.len() < count {
        // At most a third of the fields are taken, so that three draws find two free ones on average.
        let drawn = hash.sample(random.next());
        fields.extend(drawn.filter(|field| names.insert(field.name)));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(count: usize) -> Hash {
        let mut hash = Hash::new();
        for number in 0..count {
            hash.set(format!("field:{number}").as_bytes(), b"v", None);
        }
        hash
    }

    #[test]
    fn different_fields_are_different_at_every_count_and_size() {
        let mut random = Random::new(7);
        for size in [1, 5, 128, 1000] {
            let hash = hash_of(size);
            for count in [0, 1, 2, size / 4, size / 3, size, size * 2] {
                let fields = different(&hash, size, count, TimeMs(0), &mut random);
                let names: HashSet<&[u8]> = fields.iter().map(|field| field.name).collect();
                assert_eq!((fields.len(), names.len()), (count.min(size), count.min(size)), "{count} of {size}");
            }
        }
    }

    #[test]
    fn ended_fields_are_never_drawn() {
        let mut hash = hash_of(10);
        hash.set_expiry(b"field:3", Some(TimeMs(5)));
        let mut random = Random::new(7);
        let drawn = repeated(&hash, 9, 1000, TimeMs(5), &mut random);
        assert_eq!(drawn.len(), 1000);
        assert!(drawn.iter().all(|field| field.name != b"field:3"));
        assert_eq!(different(&hash, 9, 100, TimeMs(5), &mut random).len(), 9);
    }
}
