//! DEBUG: the harmless part of it, for tests and for the curious.
//!
//! Deliberately not: whatever crashes, corrupts, leaks or blocks the server.

use crate::acl::Categories;
use crate::call::{Await, Call, Flow};
use crate::error::Error;
use crate::help::{HELP, help};
use crate::refuse;
use crate::server::{ADMIN, ROW};
use crate::spec::{Arity, Flags, Keys, Scope, Spec};
use crate::touches::Touches;
use base::glob::{Case, glob_matches};
use base::number::parse_f64;
use wire::reply::{Protocol, Reply};

/// Longest DEBUG SLEEP.
const SLEEP_SECONDS_MAX: f64 = 1e9;

const SUBCOMMAND: Spec = Spec { arity: Arity::Exactly(3), flags: ADMIN, ..ROW };

/// The row of DEBUG.
pub const DEBUG: Spec = Spec {
    name: "debug",
    touches: Touches::BY_FLAGS.also_in(Categories::ADMIN),
    arity: Arity::AtLeast(2),
    complexity: "Depends on subcommand.",
    summary: "A container for commands that look inside.",
    syntax: "subcommand [arg [arg ...]]",
    handler: help,
    subcommands: &[
        Spec { name: "error", summary: "Answers with an error.", syntax: "message", handler: error, ..SUBCOMMAND },
        HELP,
        Spec {
            name: "object",
            flags: ADMIN.and(Flags::READONLY),
            keys: Keys::Range { first: 2, last: 2, step: 1 },
            scope: Scope::Keys,
            summary: "Returns how a key's value lies in memory.",
            syntax: "key",
            handler: object,
            ..SUBCOMMAND
        },
        Spec {
            name: "protocol",
            summary: "Answers with a reply of a given type.",
            syntax: "<STRING | INTEGER | DOUBLE | BIGNUM | NULL | ARRAY | SET | MAP | ATTRIB | PUSH | VERBATIM | TRUE | \
                     FALSE>",
            handler: protocol,
            ..SUBCOMMAND
        },
        Spec {
            name: "set-active-expire",
            summary: "Says whether keys that have ended are removed on time (1) or only treated as absent (0).",
            syntax: "<0 | 1>",
            handler: set_active_expire,
            ..SUBCOMMAND
        },
        Spec {
            name: "sleep",
            summary: "Makes this connection wait.",
            syntax: "delay-seconds",
            handler: sleep,
            ..SUBCOMMAND
        },
        Spec {
            name: "stringmatch-len",
            arity: Arity::Exactly(4),
            summary: "Says whether as many letters `a` as given match a pattern.",
            syntax: "length pattern",
            handler: stringmatch_len,
            ..SUBCOMMAND
        },
    ],
    ..ROW
};

/// Bytes that DEBUG STRINGMATCH-LEN matches at most.
const MATCHED_BYTES_MAX: usize = 64 << 20;

fn error(call: &mut Call<'_>) -> Result<Flow, Error> {
    Err(refuse!("{}", String::from_utf8_lossy(call.arg(2))))
}

fn sleep(call: &mut Call<'_>) -> Result<Flow, Error> {
    let seconds = parse_f64(call.arg(2)).ok_or(Error::NotFloat)?;
    if !(0.0..=SLEEP_SECONDS_MAX).contains(&seconds) {
        return Err(Error::OutOfRange);
    }
    if !call.may_wait {
        // Sleeping here would be sleeping under locks.
        call.reply.ok();
        return Ok(Flow::Done);
    }
    Ok(Flow::Await(Await::Sleep { duration_ms: (seconds * 1000.0) as u64 }))
}

fn set_active_expire(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.host.set_expiry(call.integer(2)? != 0);
    call.reply.ok();
    Ok(Flow::Done)
}

fn stringmatch_len(call: &mut Call<'_>) -> Result<Flow, Error> {
    let length = usize::try_from(call.integer(2)?).ok().filter(|length| *length <= MATCHED_BYTES_MAX);
    let text = vec![b'a'; length.ok_or(Error::OutOfRange)?];
    call.reply.integer(i64::from(glob_matches(call.arg(3), &text, Case::Sensitive)));
    Ok(Flow::Done)
}

fn object(call: &mut Call<'_>) -> Result<Flow, Error> {
    let found = call.tx.peek(call.arg(2)).ok_or(Error::NoSuchKey)?;
    let entry = call.tx.entry(found);
    let access = entry.access();
    let text = format!(
        "Value at:{:#x} refcount:1 type:{:?} serializedlength:{} heap_bytes:{} version:{} revision:{} lru:{access} \
         lru_seconds_idle:{}",
        entry.key().as_ptr() as usize,
        entry.kind(),
        entry.value_bytes(),
        entry.heap_bytes(),
        entry.version().0,
        entry.revision(),
        call.tx.clock().idle_seconds(access),
    );
    call.reply.simple(&text);
    Ok(Flow::Done)
}

fn protocol(call: &mut Call<'_>) -> Result<Flow, Error> {
    let name = call.arg(2).to_ascii_lowercase();
    let reply = &mut call.reply;
    match name.as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double_text(b"3.141"),
        b"bignum" => reply.big_number(b"1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => {
            reply.map(3);
            (0..3).for_each(|number| {
                reply.integer(number);
                reply.boolean(number == 1);
            });
        }
        b"attrib" => {
            reply.attribute(1, write_attribute);
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if reply.protocol() == Protocol::Resp2 => {
            return Err(Error::text("ERR RESP2 is not supported by this command"));
        }
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"verbatim" => reply.verbatim(*b"txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        _ => {
            return Err(Error::text(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(Flow::Done)
}

fn write_attribute(reply: &mut Reply<'_>) {
    reply.bulk(b"key-popularity");
    reply.array(2);
    reply.bulk(b"key:123");
    reply.integer(90);
}
