//! Scripts: EVAL and its forms, and SCRIPT. MODULE is answered for a server without any.
//!
//! Deliberately not here: running scripts (`script_run.rs`), knowing them (`script_cache.rs`), functions (`functions.rs`).

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::help::{HELP, help};
use crate::script_debug::DebugMode;
use crate::script_run::{eval, register};
use crate::server::{ADMIN, ROW};
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use script::{Digest, sha1_hex};

const SCRIPT_ROW: Spec = Spec { group: Group::Scripting, flags: Flags::NOSCRIPT, ..ROW };

/// What runs scripts or functions.
pub(crate) const RUNS_SCRIPT: Flags = Flags::NOSCRIPT.and(Flags::MOVABLEKEYS).and(Flags::RUNS_OTHERS).and(Flags::STALE);
/// What the rows that run scripts have in common. Whether they write, and how much, is up to their commands.
const EVAL_ROW: Spec = Spec {
    arity: Arity::AtLeast(3),
    flags: RUNS_SCRIPT.and(Flags::MAY_REPLICATE),
    keys: Keys::Counted { count_at: 2, also: 0, step: 1 },
    scope: Scope::Script,
    complexity: "Depends on the script that is executed.",
    ..SCRIPT_ROW
};
const EVAL_RO_ROW: Spec = Spec { flags: RUNS_SCRIPT.and(Flags::READONLY), since: "7.0.0", ..EVAL_ROW };
const SCRIPT_SYNTAX: &str = "script numkeys [key [key ...]] [arg [arg ...]]";
const SHA_SYNTAX: &str = "sha1 numkeys [key [key ...]] [arg [arg ...]]";

static EVAL: Spec = Spec {
    name: "eval",
    since: "2.6.0",
    summary: "Runs a Lua script.",
    syntax: SCRIPT_SYNTAX,
    handler: |call| eval(call, &EVAL),
    ..EVAL_ROW
};
static EVAL_RO: Spec = Spec {
    name: "eval_ro",
    summary: "Runs a Lua script that changes nothing.",
    syntax: SCRIPT_SYNTAX,
    handler: |call| eval(call, &EVAL_RO),
    ..EVAL_RO_ROW
};
static EVALSHA: Spec = Spec {
    name: "evalsha",
    since: "2.6.0",
    summary: "Runs a known Lua script by its digest.",
    syntax: SHA_SYNTAX,
    handler: |call| eval(call, &EVALSHA),
    ..EVAL_ROW
};
static EVALSHA_RO: Spec = Spec {
    name: "evalsha_ro",
    summary: "Runs a known Lua script that changes nothing by its digest.",
    syntax: SHA_SYNTAX,
    handler: |call| eval(call, &EVALSHA_RO),
    ..EVAL_RO_ROW
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    EVAL,
    EVAL_RO,
    EVALSHA,
    EVALSHA_RO,
    Spec {
        name: "script",
        arity: Arity::AtLeast(2),
        since: "2.6.0",
        complexity: "Depends on subcommand.",
        summary: "A container for commands about scripts.",
        syntax: "subcommand [arg [arg ...]]",
        handler: help,
        subcommands: &[
            Spec {
                name: "debug",
                arity: Arity::Exactly(3),
                since: "3.2.0",
                summary: "Has the connection's next script run under a debugger.",
                syntax: "<YES | SYNC | NO>",
                handler: script_debug,
                ..SCRIPT_ROW
            },
            Spec {
                name: "exists",
                arity: Arity::AtLeast(3),
                since: "2.6.0",
                complexity: "O(N) where N is the number of digests",
                summary: "Says which scripts are known by their digests.",
                syntax: "sha1 [sha1 ...]",
                handler: script_exists,
                ..SCRIPT_ROW
            },
            Spec {
                name: "flush",
                arity: Arity::AtLeast(2),
                since: "2.6.0",
                summary: "Forgets all scripts.",
                syntax: "[ASYNC | SYNC]",
                handler: script_flush,
                ..SCRIPT_ROW
            },
            HELP,
            Spec {
                name: "kill",
                arity: Arity::Exactly(2),
                flags: Flags::NOSCRIPT.and(Flags::RUNS_WHEN_BUSY),
                since: "2.6.0",
                summary: "Stops the running script, unless it has written.",
                handler: script_kill,
                ..SCRIPT_ROW
            },
            Spec {
                name: "load",
                arity: Arity::Exactly(3),
                since: "2.6.0",
                complexity: "O(N) with N being the length in bytes of the script body.",
                summary: "Remembers a script, and answers with its digest.",
                syntax: "script",
                handler: script_load,
                ..SCRIPT_ROW
            },
            Spec {
                name: "show",
                arity: Arity::Exactly(3),
                since: "8.0.0",
                summary: "Answers with the text of a script.",
                syntax: "sha1",
                handler: script_show,
                ..SCRIPT_ROW
            },
        ],
        ..SCRIPT_ROW
    },
];

/// The row of MODULE.
pub const MODULE: Spec = Spec {
    name: "module",
    arity: Arity::AtLeast(2),
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for commands about modules, of which there are none.",
    syntax: "subcommand [arg [arg ...]]",
    handler: help,
    subcommands: &[
        HELP,
        Spec {
            name: "list",
            arity: Arity::Exactly(2),
            flags: ADMIN,
            since: "4.0.0",
            summary: "Lists the modules.",
            handler: list_nothing,
            ..ROW
        },
    ],
    ..ROW
};

fn list_nothing(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.array(0);
    Ok(Flow::Done)
}

fn script_debug(call: &mut Call<'_>) -> Result<Flow, Error> {
    if !call.may_wait || !call.reply.is_first() {
        return Err(Error::text("ERR SCRIPT DEBUG must be called outside a pipeline"));
    }
    call.session.debugs = if call.is_word(2, "YES") {
        Some(DebugMode::Apart)
    } else if call.is_word(2, "SYNC") {
        Some(DebugMode::Sync)
    } else if call.is_word(2, "NO") {
        None
    } else {
        return Err(Error::text("ERR Use SCRIPT DEBUG YES/SYNC/NO"));
    };
    call.reply.ok();
    Ok(Flow::Done)
}

fn script_exists(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.array(call.arg_count() - 2);
    for index in 2..call.arg_count() {
        let is_known = <Digest>::try_from(call.arg(index)).is_ok_and(|sha| call.host.scripts().is_known(&sha));
        call.reply.integer(i64::from(is_known));
    }
    Ok(Flow::Done)
}

fn script_flush(call: &mut Call<'_>) -> Result<Flow, Error> {
    match call.arg_count() {
        2 => {}
        3 if call.is_word(2, "ASYNC") || call.is_word(2, "SYNC") => {}
        _ => return Err(Error::text("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    }
    call.host.scripts().flush();
    call.reply.ok();
    Ok(Flow::Done)
}

fn script_kill(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.host.scripts().kill(true)?;
    call.reply.ok();
    Ok(Flow::Done)
}

fn script_load(call: &mut Call<'_>) -> Result<Flow, Error> {
    let sha = sha1_hex(call.arg(2));
    register(call.host, &sha, call.arg(2), true)?;
    call.reply.bulk(&sha);
    Ok(Flow::Done)
}

fn script_show(call: &mut Call<'_>) -> Result<Flow, Error> {
    let script = <Digest>::try_from(call.arg(2)).ok().and_then(|sha| call.host.scripts().find(&sha));
    let script = script.ok_or(Error::text("NOSCRIPT No matching script. Please use EVAL."))?;
    call.reply.bulk(&script.body);
    Ok(Flow::Done)
}
