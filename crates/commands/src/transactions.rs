//! MULTI and what goes with it.
//!
//! Deliberately not here: queueing (`run.rs`), and EXEC of an open transaction (`exec.rs`).
//!
//! Source: behaviour of Valkey 9.1 `multi.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use crate::transaction::Transaction;

const ROW: Spec = Spec {
    name: "",
    arity: Arity::Exactly(1),
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST),
    keys: Keys::None,
    scope: Scope::Nothing,
    group: Group::Transactions,
    since: "2.2.0",
    complexity: "O(1)",
    summary: "",
    syntax: "",
    handler: unwatch,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "discard",
        flags: ROW.flags.and(Flags::UNQUEUED).and(Flags::RUNS_WHEN_BUSY),
        since: "2.0.0",
        complexity: "O(N) where N is the number of queued commands",
        summary: "Forgets the queued commands and the watched keys.",
        handler: discard,
        ..ROW
    },
    Spec {
        name: "exec",
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::UNQUEUED)
            .and(Flags::RUNS_OTHERS)
            .and(Flags::SKIP_LOGS),
        scope: Scope::Queued,
        since: "1.2.0",
        complexity: "That of the queued commands together",
        summary: "Runs the queued commands as one atomic batch, unless a watched key has changed.",
        handler: exec_nothing,
        ..ROW
    },
    Spec {
        name: "multi",
        flags: ROW.flags.and(Flags::UNQUEUED).and(Flags::RUNS_WHEN_BUSY),
        since: "1.2.0",
        summary: "Queues the commands that follow until EXEC.",
        handler: multi,
        ..ROW
    },
    Spec { name: "unwatch", flags: ROW.flags.and(Flags::RUNS_WHEN_BUSY), summary: "Forgets the watched keys.", ..ROW },
    Spec {
        name: "watch",
        touches: Touches::keys(&[KeyUse::RO]),
        arity: Arity::AtLeast(2),
        flags: ROW.flags.and(Flags::UNQUEUED),
        keys: Keys::ALL,
        scope: Scope::Keys,
        complexity: "O(N) where N is the number of keys",
        summary: "Has the next EXEC run nothing if one of the keys changes until then.",
        syntax: "key [key ...]",
        handler: watch,
        ..ROW
    },
];

/// Whether the connection is between MULTI and EXEC.
fn is_queueing(call: &Call<'_>) -> bool {
    call.session.transaction.as_ref().is_some_and(|transaction| transaction.is_open())
}

fn multi(call: &mut Call<'_>) -> Result<Flow, Error> {
    if is_queueing(call) {
        return Err(Error::text("ERR MULTI calls can not be nested"));
    }
    Transaction::open(&mut call.session.transaction);
    call.reply.ok();
    Ok(Flow::Done)
}

fn exec_nothing(_call: &mut Call<'_>) -> Result<Flow, Error> {
    Err(Error::text("ERR EXEC without MULTI"))
}

fn discard(call: &mut Call<'_>) -> Result<Flow, Error> {
    if !is_queueing(call) {
        return Err(Error::text("ERR DISCARD without MULTI"));
    }
    call.session.transaction = None;
    call.reply.ok();
    Ok(Flow::Done)
}

fn watch(call: &mut Call<'_>) -> Result<Flow, Error> {
    if is_queueing(call) {
        return Err(Error::text("ERR WATCH inside MULTI is not allowed"));
    }
    for key in call.args.skip(1).iter() {
        Transaction::watch(&mut call.session.transaction, &mut call.tx, key);
    }
    call.reply.ok();
    Ok(Flow::Done)
}

fn unwatch(call: &mut Call<'_>) -> Result<Flow, Error> {
    Transaction::unwatch(&mut call.session.transaction);
    call.reply.ok();
    Ok(Flow::Done)
}
