//! CONFIG: the server's settings.
//!
//! Deliberately not here: what settings there are, which the server knows.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::help::{HELP, help};
use crate::server::{ADMIN, ROW};
use crate::spec::{Arity, Scope, Spec};

/// The row of CONFIG.
pub const CONFIG: Spec = Spec {
    name: "config",
    arity: Arity::AtLeast(2),
    since: "2.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for commands about the server's settings.",
    syntax: "subcommand [arg [arg ...]]",
    handler: help,
    subcommands: &[
        Spec {
            name: "get",
            arity: Arity::AtLeast(3),
            flags: ADMIN,
            since: "2.0.0",
            complexity: "O(N) where N is the number of settings",
            summary: "Returns settings.",
            syntax: "parameter [parameter ...]",
            handler: get,
            ..ROW
        },
        HELP,
        Spec {
            name: "resetstat",
            arity: Arity::Exactly(2),
            scope: Scope::Each,
            flags: ADMIN,
            since: "2.0.0",
            summary: "Starts the counters of INFO anew.",
            handler: resetstat,
            ..ROW
        },
        Spec {
            name: "rewrite",
            arity: Arity::Exactly(2),
            flags: ADMIN,
            since: "2.8.0",
            summary: "Writes the settings as they are to the configuration file.",
            handler: rewrite,
            ..ROW
        },
        Spec {
            name: "set",
            arity: Arity::AtLeast(4),
            flags: ADMIN,
            since: "2.0.0",
            complexity: "O(N) where N is the number of settings given",
            summary: "Changes settings, all or none.",
            syntax: "parameter value [parameter value ...]",
            handler: set,
            ..ROW
        },
    ],
    ..ROW
};

fn get(call: &mut Call<'_>) -> Result<Flow, Error> {
    let patterns: Vec<&[u8]> = call.args.skip(2).iter().collect();
    let found = call.host.settings_matching(&patterns);
    call.reply.map(found.len());
    for (name, value) in found {
        call.reply.bulk(name.as_bytes());
        call.reply.bulk(value.as_bytes());
    }
    Ok(Flow::Done)
}

fn set(call: &mut Call<'_>) -> Result<Flow, Error> {
    if !call.arg_count().is_multiple_of(2) {
        return Err(Error::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> =
        (2..call.arg_count()).step_by(2).map(|at| (call.arg(at), call.arg(at + 1))).collect();
    call.host.set_settings(&pairs).map_err(|refusal| Error::Reply(refusal.into()))?;
    call.reply.ok();
    Ok(Flow::Done)
}

fn rewrite(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.host.rewrite_settings().map_err(|refusal| Error::Reply(refusal.into()))?;
    call.reply.ok();
    Ok(Flow::Done)
}

fn resetstat(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.host.reset_statistics(&call.tx.figures());
    call.reply.ok();
    Ok(Flow::Done)
}
