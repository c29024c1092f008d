//! SLOWLOG and COMMANDLOG: commands that took long, asked much or answered much.
//!
//! Deliberately not here: deciding what is remarkable and keeping it, which the server does.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::help::{HELP, help};
use crate::host::LogKind;
use crate::server::{ADMIN, ROW};
use crate::spec::{Arity, Spec};
use base::number::parse_i64;

/// Entries of SLOWLOG GET when no number is given.
const SHOWN_COUNT: usize = 10;

const GET: Spec = Spec {
    name: "get",
    flags: ADMIN,
    complexity: "O(N) where N is the number of entries returned",
    summary: "Returns entries, newest first: id, timestamp, measure, arguments, client address, client name.",
    ..ROW
};
const LEN: Spec = Spec { name: "len", flags: ADMIN, summary: "Returns the number of entries.", ..ROW };
const RESET: Spec = Spec { name: "reset", flags: ADMIN, complexity: "O(N)", summary: "Forgets all entries.", ..ROW };

/// The row of SLOWLOG.
pub const SLOWLOG: Spec = Spec {
    name: "slowlog",
    arity: Arity::AtLeast(2),
    since: "2.2.12",
    complexity: "Depends on subcommand.",
    summary: "A container for commands about the log of slow commands.",
    syntax: "subcommand [arg [arg ...]]",
    handler: help,
    subcommands: &[
        Spec { arity: Arity::AtLeast(2), since: "2.2.12", syntax: "[count]", handler: slowlog_get, ..GET },
        HELP,
        Spec { arity: Arity::Exactly(2), since: "2.2.12", handler: slowlog_len, ..LEN },
        Spec { arity: Arity::Exactly(2), since: "2.2.12", handler: slowlog_reset, ..RESET },
    ],
    ..ROW
};

const KINDS: &str = "<SLOW | LARGE-REQUEST | LARGE-REPLY>";

/// The row of COMMANDLOG.
pub const COMMANDLOG: Spec = Spec {
    name: "commandlog",
    arity: Arity::AtLeast(2),
    since: "larder 0.1",
    complexity: "Depends on subcommand.",
    summary: "A container for commands about the logs of remarkable commands.",
    syntax: "subcommand [arg [arg ...]]",
    handler: help,
    subcommands: &[
        Spec {
            arity: Arity::Exactly(4),
            since: "larder 0.1",
            syntax: "count <SLOW | LARGE-REQUEST | LARGE-REPLY>",
            handler: commandlog_get,
            ..GET
        },
        HELP,
        Spec { arity: Arity::Exactly(3), since: "larder 0.1", syntax: KINDS, handler: commandlog_len, ..LEN },
        Spec { arity: Arity::Exactly(3), since: "larder 0.1", syntax: KINDS, handler: commandlog_reset, ..RESET },
    ],
    ..ROW
};

fn slowlog_get(call: &mut Call<'_>) -> Result<Flow, Error> {
    let count = match call.arg_count() {
        2 => Some(SHOWN_COUNT),
        3 => entry_count(call, 2)?,
        _ => return Err(Error::Syntax),
    };
    write_entries(call, LogKind::Slow, count)
}

fn slowlog_len(call: &mut Call<'_>) -> Result<Flow, Error> {
    write_length(call, LogKind::Slow)
}

fn slowlog_reset(call: &mut Call<'_>) -> Result<Flow, Error> {
    clear(call, LogKind::Slow)
}

fn commandlog_get(call: &mut Call<'_>) -> Result<Flow, Error> {
    let count = entry_count(call, 2)?;
    let kind = kind(call, 3)?;
    write_entries(call, kind, count)
}

fn commandlog_len(call: &mut Call<'_>) -> Result<Flow, Error> {
    let kind = kind(call, 2)?;
    write_length(call, kind)
}

fn commandlog_reset(call: &mut Call<'_>) -> Result<Flow, Error> {
    let kind = kind(call, 2)?;
    clear(call, kind)
}

fn kind(call: &Call<'_>, index: usize) -> Result<LogKind, Error> {
    let named = |kind: &LogKind| call.arg(index).eq_ignore_ascii_case(kind.name().as_bytes());
    LogKind::ALL
        .into_iter()
        .find(named)
        .ok_or(Error::text("ERR type should be one of the following: slow, large-request, large-reply"))
}

/// How many entries argument `index` asks for; `None` for all of them.
fn entry_count(call: &Call<'_>, index: usize) -> Result<Option<usize>, Error> {
    match parse_i64(call.arg(index)) {
        Some(-1) => Ok(None),
        Some(count) if 0 <= count => Ok(Some(count as usize)),
        _ => Err(Error::text("ERR count should be greater than or equal to -1")),
    }
}

fn write_entries(call: &mut Call<'_>, kind: LogKind, count: Option<usize>) -> Result<Flow, Error> {
    let entries = call.host.command_log(kind).entries(count);
    let reply = &mut call.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.time_seconds);
        reply.integer(entry.measure as i64);
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk(entry.address.as_bytes());
        reply.bulk(&entry.name);
    }
    Ok(Flow::Done)
}

fn write_length(call: &mut Call<'_>, kind: LogKind) -> Result<Flow, Error> {
    call.reply.count(call.host.command_log(kind).count());
    Ok(Flow::Done)
}

fn clear(call: &mut Call<'_>, kind: LogKind) -> Result<Flow, Error> {
    call.host.command_log(kind).clear();
    call.reply.ok();
    Ok(Flow::Done)
}
