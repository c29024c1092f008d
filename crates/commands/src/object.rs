//! OBJECT: how a value lies in memory, and how it has been used.
//!
//! Encodings keep the names that Redis gave to its own forms, because tools ask for them: a string is `int`,
//! `embstr` up to 44 bytes or `raw`, a hash `listpack` while compact and no field of it ends, else `hashtable`, a list
//! `listpack` or `quicklist` as Redis would have it, a set `intset`, `listpack` or `hashtable`, a sorted set `listpack`
//! while compact, else `skiplist`.
//!
//! VERSION and REVISION are Larder's own: what `SET … IFVER` compares, and how often the key was written.
//!
//! Deliberately without a trace: asking is no use of the key. A value that is spilled is fetched only when its form
//! cannot be told without it.
//!
//! Source: behaviour of Valkey 9.1 `object.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use keyspace::list::{End, List};
use keyspace::set::SetForm;
use keyspace::{Found, Kind, Str, Value, entry::Stored};
use std::ops::ControlFlow;

/// Longest string that Redis keeps in one block with its header.
const EMBEDDED_BYTES_MAX: usize = 44;

const HELP: [&str; 15] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    The form in which the value of <key> lies in memory.",
    "FREQ <key>",
    "    The use counter of <key>, logarithmic and decaying. Needs an LFU maxmemory-policy.",
    "IDLETIME <key>",
    "    Seconds since the last use of <key>. Needs a maxmemory-policy other than LFU.",
    "REFCOUNT <key>",
    "    Always 1: values are not shared.",
    "REVISION <key>",
    "    How many batches have written <key> since it came to be.",
    "VERSION <key>",
    "    The version at which <key> was last written, as SET ... IFVER takes it.",
    "HELP",
    "    Print this help.",
];

const ROW: Spec = Spec {
    name: "",
    arity: Arity::Exactly(3),
    flags: Flags::READONLY,
    keys: Keys::Range { first: 2, last: 2, step: 1 },
    scope: Scope::Keys,
    group: Group::Generic,
    since: "2.2.3",
    complexity: "O(1)",
    summary: "",
    syntax: "key",
    handler: help,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[Spec {
    name: "object",
    arity: Arity::AtLeast(2),
    flags: Flags::NONE,
    keys: Keys::None,
    scope: Scope::Nothing,
    summary: "Tells how values lie in memory.",
    syntax: "",
    handler: help,
    subcommands: &[
        Spec {
            name: "encoding",
            touches: Touches::keys(&[KeyUse::RO]),
            summary: "Returns the form in which the value of a key lies in memory.",
            handler: encoding,
            ..ROW
        },
        Spec {
            name: "freq",
            touches: Touches::keys(&[KeyUse::RO]),
            since: "4.0.0",
            summary: "Returns the logarithmic use counter of a key.",
            handler: frequency,
            ..ROW
        },
        Spec {
            name: "help",
            arity: Arity::Exactly(2),
            flags: Flags::LOADING.and(Flags::STALE),
            keys: Keys::None,
            scope: Scope::Nothing,
            since: "6.2.0",
            summary: "Returns what the subcommands do.",
            syntax: "",
            handler: help,
            ..ROW
        },
        Spec {
            name: "idletime",
            touches: Touches::keys(&[KeyUse::RO]),
            summary: "Returns the seconds since a key was last used.",
            handler: idle_time,
            ..ROW
        },
        Spec {
            name: "refcount",
            touches: Touches::keys(&[KeyUse::RO]),
            summary: "Returns the number of references to a key's value, which is 1.",
            handler: reference_count,
            ..ROW
        },
        Spec {
            name: "revision",
            since: "larder 0.1",
            summary: "Returns how many batches have written a key since it came to be.",
            handler: revision,
            ..ROW
        },
        Spec {
            name: "version",
            since: "larder 0.1",
            summary: "Returns the version at which a key was last written, as SET ... IFVER takes it.",
            handler: version,
            ..ROW
        },
    ],
    ..ROW
}];

fn help(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.array(HELP.len());
    for line in HELP {
        call.reply.simple(line);
    }
    Ok(Flow::Done)
}

/// Answers with what `answer` writes about the key, or with null when there is none.
fn about(call: &mut Call<'_>, answer: impl FnOnce(&mut Call<'_>, Found) -> Result<(), Error>) -> Result<Flow, Error> {
    match call.tx.peek(call.arg(2)) {
        Some(found) => answer(call, found)?,
        None => call.reply.null(),
    }
    Ok(Flow::Done)
}

fn encoding(call: &mut Call<'_>) -> Result<Flow, Error> {
    about(call, |call, found| {
        let entry = call.tx.entry(found);
        let name = match (entry.kind(), entry.stored()) {
            (Kind::String, Stored::Int(_)) => "int",
            (Kind::String, Stored::Inline(_) | Stored::Spilled) if entry.value_bytes() <= EMBEDDED_BYTES_MAX => {
                "embstr"
            }
            (Kind::String, _) => "raw",
            (Kind::Hash, _) => hash_encoding(call)?,
            (Kind::List, _) => list_encoding(call)?,
            (Kind::Set, _) => set_encoding(call)?,
            (Kind::SortedSet, _) => sorted_set_encoding(call)?,
            (Kind::Stream, _) => "stream",
        };
        call.reply.bulk(name.as_bytes());
        Ok(())
    })
}

fn hash_encoding(call: &mut Call<'_>) -> Result<&'static str, Error> {
    let key = call.arg(2);
    Ok(match call.tx.peek_value(key)? {
        Some(Stored::Boxed(Value::Hash(hash))) if hash.is_compact() && !hash.has_expiries() => "listpack",
        _ => "hashtable",
    })
}

/// Redis calls a list `listpack` as long as it fits one, within `list-max-listpack-size`: a number of elements when
/// positive, else -1 to -5 for 4 KiB to 64 KiB.
fn list_encoding(call: &mut Call<'_>) -> Result<&'static str, Error> {
    let limit = call.host.setting("list-max-listpack-size").and_then(|text| text.parse().ok()).unwrap_or(-2i64);
    let (count_max, bytes_max) = match limit {
        ..0 => (usize::MAX, (4 << 10) << (limit.unsigned_abs().clamp(1, 5) - 1)),
        _ => (limit.max(1) as usize, 8 << 10),
    };
    let fits = |list: &List| {
        let mut bytes = PACKED_FRAME_BYTES;
        let is_beyond = |element: Str<'_>| {
            bytes += packed_bytes(element);
            if bytes <= bytes_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        list.len() <= count_max && list.walk(End::Front, 0..list.len(), is_beyond).is_none()
    };
    let key = call.arg(2);
    Ok(match call.tx.peek_value(key)? {
        Some(Stored::Boxed(Value::List(list))) if fits(list) => "listpack",
        _ => "quicklist",
    })
}

/// What frames a listpack.
const PACKED_FRAME_BYTES: usize = 7;

/// Bytes that an element takes in a listpack.
fn packed_bytes(element: Str<'_>) -> usize {
    let bytes = match element {
        Str::Int(0..=127) => 1,
        Str::Int(-4_096..=4_095) => 2,
        Str::Int(-0x8000..=0x7fff) => 3,
        Str::Int(-0x80_0000..=0x7f_ffff) => 4,
        Str::Int(-0x8000_0000..=0x7fff_ffff) => 5,
        Str::Int(_) => 9,
        Str::Bytes(bytes) => match bytes.len() {
            short @ ..64 => 1 + short,
            middling @ ..4_096 => 2 + middling,
            long => 5 + long,
        },
    };
    // How much that is stands behind it, seven bits to a byte.
    bytes + (usize::BITS - bytes.leading_zeros()).div_ceil(7) as usize
}

fn set_encoding(call: &mut Call<'_>) -> Result<&'static str, Error> {
    let key = call.arg(2);
    Ok(match call.tx.peek_value(key)? {
        Some(Stored::Boxed(Value::Set(set))) => match set.form() {
            SetForm::Ints => "intset",
            SetForm::Packed => "listpack",
            SetForm::Large => "hashtable",
        },
        _ => unreachable!("the key was found to be a set"),
    })
}

fn sorted_set_encoding(call: &mut Call<'_>) -> Result<&'static str, Error> {
    let key = call.arg(2);
    Ok(match call.tx.peek_value(key)? {
        Some(Stored::Boxed(Value::SortedSet(set))) if set.is_compact() => "listpack",
        _ => "skiplist",
    })
}

fn frequency(call: &mut Call<'_>) -> Result<Flow, Error> {
    about(call, |call, found| {
        let clock = call.tx.clock();
        if clock.frequency.is_none() {
            return Err(Error::text(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        let count = clock.frequency_of(call.tx.entry(found).access());
        call.reply.integer(i64::from(count));
        Ok(())
    })
}

fn idle_time(call: &mut Call<'_>) -> Result<Flow, Error> {
    about(call, |call, found| {
        let clock = call.tx.clock();
        if clock.frequency.is_some() {
            return Err(Error::text(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        let seconds = clock.idle_seconds(call.tx.entry(found).access());
        call.reply.integer(seconds as i64);
        Ok(())
    })
}

fn reference_count(call: &mut Call<'_>) -> Result<Flow, Error> {
    about(call, |call, _| {
        call.reply.integer(1);
        Ok(())
    })
}

fn revision(call: &mut Call<'_>) -> Result<Flow, Error> {
    about(call, |call, found| {
        let revision = call.tx.entry(found).revision();
        assert!(0 < revision, "a key that is there was written at least once");
        call.reply.integer(i64::from(revision));
        Ok(())
    })
}

fn version(call: &mut Call<'_>) -> Result<Flow, Error> {
    about(call, |call, found| {
        let version = call.tx.entry(found).version();
        assert!(0 < version.0, "0 is what an absent key has");
        call.reply.integer(version.0 as i64);
        Ok(())
    })
}
