//! HyperLogLogs: strings that estimate how many different elements were added to them.
//!
//! PFCOUNT of one key writes the estimate into the value, as in Redis, so that the next one need not count again: a few
//! bytes of it change, and its version with them.
//!
//! Deliberately not here: what the bytes mean (`hll`).
//!
//! Source: behaviour of Redis 7.0 and Valkey 9.1 `hyperloglog.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::hll::sparse::Run;
use crate::hll::{self, Corrupt, DENSE_BYTES, Encoding, HEAD_BYTES, Observation, Registers};
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use crate::{hll_self_test, refuse};
use keyspace::Event;
use std::fmt::Write;

/// What a sparse value may take when the setting cannot be read: its default.
const SPARSE_BYTES_MAX: usize = 3000;
/// What the effect of one changed register takes, about, without its key.
const PATCH_BYTES: usize = 8;

const ADD: Spec = Spec {
    name: "pfadd",
    touches: Touches::keys(&[KeyUse::RW_INSERT]),
    arity: Arity::AtLeast(2),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::Hyperloglog,
    since: "2.8.9",
    complexity: "O(1) for each element; O(N) for N bytes while the value is sparse",
    summary: "Adds elements to a HyperLogLog and tells whether its estimate has probably changed.",
    syntax: "key [element [element ...]]",
    handler: add,
    subcommands: &[],
};

const DEBUG: Spec = Spec {
    touches: Touches::keys(&[KeyUse::RW_ACCESS]),
    arity: Arity::Exactly(3),
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::ADMIN),
    keys: Keys::Range { first: 2, last: 2, step: 1 },
    complexity: "O(N) for N registers",
    syntax: "key",
    ..ADD
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    ADD,
    Spec {
        name: "pfcount",
        touches: Touches::keys(&[KeyUse::RW_ACCESS]),
        flags: Flags::READONLY.and(Flags::MAY_REPLICATE),
        keys: Keys::ALL,
        complexity: "O(1) for one key whose estimate is known, else O(N) for N keys, with a large constant",
        summary: "Returns the estimate of how many different elements were added to any of the HyperLogLogs.",
        syntax: "key [key ...]",
        handler: count,
        ..ADD
    },
    Spec {
        name: "pfdebug",
        touches: Touches::keys(&[KeyUse::RW_ACCESS]),
        flags: DEBUG.flags,
        complexity: "Depends on subcommand.",
        summary: "A container for commands that look into a HyperLogLog.",
        syntax: "subcommand key",
        handler: debug_unknown,
        subcommands: &[
            Spec {
                name: "decode",
                summary: "Returns the runs of a sparse HyperLogLog.",
                handler: debug_decode,
                ..DEBUG
            },
            Spec {
                name: "encoding",
                summary: "Returns whether a HyperLogLog is sparse or dense.",
                handler: debug_encoding,
                ..DEBUG
            },
            Spec {
                name: "getreg",
                summary: "Returns the registers of a HyperLogLog and makes it dense.",
                handler: debug_registers,
                ..DEBUG
            },
            Spec {
                name: "todense",
                summary: "Makes a HyperLogLog dense and tells whether it was sparse.",
                handler: debug_to_dense,
                ..DEBUG
            },
        ],
        ..DEBUG
    },
    Spec {
        name: "pfmerge",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_INSERT, KeyUse::RO_ACCESS]),
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::ALL,
        complexity: "O(N) for N HyperLogLogs, with a large constant",
        summary: "Merges HyperLogLogs into one, whose own registers are kept where they are higher.",
        syntax: "destkey [sourcekey [sourcekey ...]]",
        handler: merge,
        ..ADD
    },
    Spec {
        name: "pfselftest",
        arity: Arity::Exactly(1),
        flags: Flags::ADMIN,
        keys: Keys::None,
        scope: Scope::Nothing,
        complexity: "O(N) for 100,000 elements",
        summary: "Checks that both forms of a HyperLogLog agree and that estimates are as good as they should be.",
        syntax: "",
        handler: self_test,
        ..ADD
    },
];

const NOT_ONE: Error = Error::text("WRONGTYPE Key is not a valid HyperLogLog string value.");

impl From<Corrupt> for Error {
    fn from(_: Corrupt) -> Error {
        Error::text("INVALIDOBJ Corrupted HLL object detected")
    }
}

/// Lets `look` at the HyperLogLog at `key`, with its encoding; `None` when there is none.
fn look<T>(
    call: &mut Call<'_>,
    key: &[u8],
    look: impl FnOnce(&[u8], Encoding) -> Result<T, Corrupt>,
) -> Result<Option<T>, Error> {
    let Some(string) = call.tx.string(key)? else { return Ok(None) };
    let bytes = string.bytes();
    let encoding = hll::encoding(&bytes).ok_or(NOT_ONE)?;
    Ok(Some(look(&bytes, encoding)?))
}

/// Bytes that a sparse value may take.
fn sparse_bytes_max(call: &Call<'_>) -> usize {
    let setting = call.host.setting("hll-sparse-max-bytes");
    setting.and_then(|text| text.parse().ok()).unwrap_or(SPARSE_BYTES_MAX)
}

/// Writes a whole value; the key ends when it did.
fn put(call: &mut Call<'_>, key: &[u8], bytes: &[u8]) {
    let expires = call.tx.peek(key).and_then(|found| call.tx.entry(found).expires());
    call.tx.put_string(key, bytes, expires);
}

/// What a PFADD changes.
enum Change {
    /// Nothing.
    None,
    /// The whole value is written anew.
    Whole(Vec<u8>),
    /// Some bytes of it, each with the place of its first.
    Patches(Vec<(usize, Vec<u8>)>),
}

fn add(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, elements, limit) = (call.arg(1), call.args.skip(2), sparse_bytes_max(call));
    let seen = || elements.iter().map(Observation::of);
    let change = look(call, key, |bytes, encoding| match encoding {
        Encoding::Sparse => raised(bytes.to_vec(), seen(), limit),
        Encoding::Dense => Ok(raised_dense(bytes, seen(), key.len())),
    })?;
    let change = match change {
        Some(change) => change,
        None => match raised(hll::empty(), seen(), limit)? {
            Change::None => Change::Whole(stale(hll::empty())),
            change => change,
        },
    };
    let changes = !matches!(change, Change::None);
    match change {
        Change::None => {}
        Change::Whole(bytes) => put(call, key, &bytes),
        Change::Patches(patches) => {
            for (at, bytes) in patches {
                call.tx.patch_string(key, at, &bytes)?;
            }
        }
    }
    if changes {
        call.notify(Event::String, "pfadd", key);
    }
    call.reply.integer(i64::from(changes));
    Ok(Flow::Done)
}

fn stale(mut bytes: Vec<u8>) -> Vec<u8> {
    hll::mark_stale(&mut bytes);
    bytes
}

/// A value with its registers raised.
fn raised(
    mut bytes: Vec<u8>,
    seen: impl Iterator<Item = Observation>,
    sparse_bytes_max: usize,
) -> Result<Change, Corrupt> {
    let mut changes = false;
    for seen in seen {
        changes |= hll::raise(&mut bytes, seen, sparse_bytes_max)?;
    }
    Ok(if changes { Change::Whole(stale(bytes)) } else { Change::None })
}

/// The bytes of a dense value that change when its registers are raised; all of it, when that is less to write.
fn raised_dense(bytes: &[u8], seen: impl Iterator<Item = Observation>, key_bytes: usize) -> Change {
    let registers = &bytes[HEAD_BYTES..];
    let mut higher: Vec<Observation> = seen.filter(|seen| hll::dense::get(registers, seen.index) < seen.rank).collect();
    if higher.is_empty() {
        return Change::None;
    }
    // Of two for one register the higher comes last.
    higher.sort_unstable_by_key(|seen| (seen.index, seen.rank));
    let mut changed = bytes.to_vec();
    for seen in &higher {
        hll::dense::set(&mut changed[HEAD_BYTES..], seen.index, seen.rank);
    }
    if DENSE_BYTES < higher.len() * (PATCH_BYTES + key_bytes) {
        return Change::Whole(stale(changed));
    }
    higher.dedup_by_key(|seen| seen.index);
    let registers = &changed[HEAD_BYTES..];
    let patch = |seen: &Observation| {
        let (place, _) = hll::dense::place(seen.index);
        (HEAD_BYTES + place.start, registers[place].to_vec())
    };
    let stale = hll::stale_patch(bytes).map(|(at, byte)| (at, byte.to_vec()));
    Change::Patches(higher.iter().map(patch).chain(stale).collect())
}

fn count(call: &mut Call<'_>) -> Result<Flow, Error> {
    let count = if call.arg_count() == 2 { count_one(call)? } else { count_together(call)? };
    call.reply.integer(count as i64);
    Ok(Flow::Done)
}

fn count_one(call: &mut Call<'_>) -> Result<u64, Error> {
    let key = call.arg(1);
    let count = look(call, key, |bytes, _| match hll::cached(bytes) {
        Some(count) => Ok((count, true)),
        None => Ok((hll::estimate(bytes)?, false)),
    })?;
    let Some((count, is_known)) = count else { return Ok(0) };
    if !is_known {
        let (at, bytes) = hll::cardinality_patch(count);
        call.tx.patch_string(key, at, &bytes)?;
    }
    Ok(count)
}

fn count_together(call: &mut Call<'_>) -> Result<u64, Error> {
    let mut registers = Registers::new();
    for key in call.args.skip(1).iter() {
        look(call, key, |bytes, _| registers.merge(bytes))?;
    }
    Ok(registers.estimate())
}

fn merge(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (target, limit) = (call.arg(1), sparse_bytes_max(call));
    let (mut registers, mut is_dense) = (Registers::new(), false);
    for key in call.args.skip(1).iter() {
        look(call, key, |bytes, encoding| {
            is_dense |= encoding == Encoding::Dense;
            registers.merge(bytes)
        })?;
    }
    let mut bytes = look(call, target, |bytes, _| Ok(bytes.to_vec()))?.unwrap_or_else(hll::empty);
    if is_dense {
        hll::make_dense(&mut bytes)?;
    }
    for (index, rank) in registers.iter().enumerate().filter(|(_, rank)| *rank > 0) {
        hll::raise(&mut bytes, Observation { index, rank }, limit)?;
    }
    put(call, target, &stale(bytes));
    call.notify(Event::String, "pfadd", target);
    call.reply.ok();
    Ok(Flow::Done)
}

fn debug_unknown(call: &mut Call<'_>) -> Result<Flow, Error> {
    Err(refuse!("ERR unknown subcommand '{}'", String::from_utf8_lossy(call.arg(1))))
}

/// As [`look`], of argument 2, which must be there.
fn look_closely<T>(call: &mut Call<'_>, with: impl FnOnce(&[u8], Encoding) -> Result<T, Corrupt>) -> Result<T, Error> {
    look(call, call.arg(2), with)?.ok_or(Error::text("ERR The specified key does not exist"))
}

fn debug_encoding(call: &mut Call<'_>) -> Result<Flow, Error> {
    let encoding = look_closely(call, |_, encoding| Ok(encoding))?;
    call.reply.simple(match encoding {
        Encoding::Dense => "dense",
        Encoding::Sparse => "sparse",
    });
    Ok(Flow::Done)
}

fn debug_decode(call: &mut Call<'_>) -> Result<Flow, Error> {
    let text = look_closely(call, |bytes, encoding| {
        Ok((encoding == Encoding::Sparse).then(|| {
            hll::sparse::runs(&bytes[HEAD_BYTES..]).fold(String::new(), |mut text, run| {
                let written = match run {
                    Run::Zeros(len) => write!(text, "z:{len} "),
                    Run::ManyZeros(len) => write!(text, "Z:{len} "),
                    Run::Value(value, len) => write!(text, "v:{value},{len} "),
                };
                written.expect("a string takes any text");
                text
            })
        }))
    })?;
    let text = text.ok_or(Error::text("ERR HLL encoding is not sparse"))?;
    call.reply.bulk(text.trim_end().as_bytes());
    Ok(Flow::Done)
}

/// The value at argument 2 made dense; whether it was sparse.
fn make_dense(call: &mut Call<'_>) -> Result<(Vec<u8>, bool), Error> {
    let (bytes, was_sparse) = look_closely(call, |bytes, _| {
        let mut bytes = bytes.to_vec();
        let was_sparse = hll::make_dense(&mut bytes)?;
        Ok((bytes, was_sparse))
    })?;
    if was_sparse {
        put(call, call.arg(2), &bytes);
    }
    Ok((bytes, was_sparse))
}

fn debug_registers(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (bytes, _) = make_dense(call)?;
    call.reply.array(hll::REGISTER_COUNT);
    for index in 0..hll::REGISTER_COUNT {
        call.reply.integer(i64::from(hll::dense::get(&bytes[HEAD_BYTES..], index)));
    }
    Ok(Flow::Done)
}

fn debug_to_dense(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (_, was_sparse) = make_dense(call)?;
    call.reply.integer(i64::from(was_sparse));
    Ok(Flow::Done)
}

fn self_test(call: &mut Call<'_>) -> Result<Flow, Error> {
    match hll_self_test::run(call.host.random()) {
        Ok(()) => call.reply.ok(),
        Err(what) => return Err(refuse!("TESTFAILED {what}")),
    }
    Ok(Flow::Done)
}
