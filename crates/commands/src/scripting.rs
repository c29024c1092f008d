//! What clients ask of every server when they start, answered for one without scripts, functions and modules.
//!
//! Deliberately not: EVAL, FCALL, SCRIPT LOAD and the like. They are unknown commands until there is something to
//! run them with.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::help::{HELP, help};
use crate::server::{ADMIN, ROW};
use crate::spec::{Arity, Flags, Group, Spec};

const SCRIPT_ROW: Spec = Spec { group: Group::Scripting, flags: Flags::NOSCRIPT, ..ROW };

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "function",
        arity: Arity::AtLeast(2),
        since: "7.0.0",
        complexity: "Depends on subcommand.",
        summary: "A container for commands about functions, of which there are none.",
        syntax: "subcommand [arg [arg ...]]",
        handler: help,
        subcommands: &[
            Spec {
                name: "flush",
                arity: Arity::AtLeast(2),
                flags: Flags::NOSCRIPT,
                since: "7.0.0",
                summary: "Deletes all libraries.",
                syntax: "[ASYNC | SYNC]",
                handler: flush,
                ..SCRIPT_ROW
            },
            HELP,
            Spec {
                name: "list",
                arity: Arity::AtLeast(2),
                since: "7.0.0",
                summary: "Lists all libraries.",
                syntax: "[LIBRARYNAME library-name-pattern] [WITHCODE]",
                handler: list_nothing,
                ..SCRIPT_ROW
            },
        ],
        ..SCRIPT_ROW
    },
    Spec {
        name: "script",
        arity: Arity::AtLeast(2),
        since: "2.6.0",
        complexity: "Depends on subcommand.",
        summary: "A container for commands about scripts, of which there are none.",
        syntax: "subcommand [arg [arg ...]]",
        handler: help,
        subcommands: &[
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
                handler: flush,
                ..SCRIPT_ROW
            },
            HELP,
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

fn flush(call: &mut Call<'_>) -> Result<Flow, Error> {
    match call.arg_count() {
        2 => {}
        3 if call.is_word(2, "ASYNC") || call.is_word(2, "SYNC") => {}
        _ => return Err(Error::Syntax),
    }
    call.reply.ok();
    Ok(Flow::Done)
}

fn script_exists(call: &mut Call<'_>) -> Result<Flow, Error> {
    let count = call.arg_count() - 2;
    call.reply.array(count);
    (0..count).for_each(|_| call.reply.integer(0));
    Ok(Flow::Done)
}
