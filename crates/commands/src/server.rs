//! Commands about the server: checkpoints, durability, time, stopping, and what it says of itself.
//!
//! Redis's words mean here: a *save* or an *AOF rewrite* is a checkpoint of every partition; the *append-only file*
//! is the journal; *replicas* there are none yet.

use crate::acl::Categories;
use crate::call::{Await, Call, Flow};
use crate::client::timeout_ms;
use crate::connection::VERSION;
use crate::error::Error;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::Touches;
use base::number::parse_i64;

/// What the rows of server commands have in common.
pub const ROW: Spec = Spec {
    name: "",
    arity: Arity::Exactly(1),
    flags: Flags::LOADING.and(Flags::STALE),
    keys: Keys::None,
    scope: Scope::Nothing,
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "",
    syntax: "",
    handler: time,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

/// Flags of administration.
pub const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::DANGEROUS).and(ROW.flags);

const SAVING: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::DANGEROUS);

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    crate::acl::ACL,
    Spec {
        name: "bgrewriteaof",
        flags: SAVING,
        summary: "Starts a checkpoint of every partition; the journal before it can then be let go.",
        handler: bgrewriteaof,
        ..ROW
    },
    Spec {
        name: "bgsave",
        arity: Arity::AtLeast(1),
        flags: SAVING,
        summary: "Starts a checkpoint of every partition.",
        syntax: "[SCHEDULE | CANCEL]",
        handler: bgsave,
        ..ROW
    },
    Spec {
        name: "cluster",
        arity: Arity::AtLeast(2),
        flags: Flags::STALE.and(Flags::NOSCRIPT),
        since: "3.0.0",
        summary: "Is refused as by a Redis server that is not part of a cluster.",
        syntax: "operation [arg [arg ...]]",
        handler: cluster,
        ..ROW
    },
    crate::command::COMMAND,
    crate::command_log::COMMANDLOG,
    crate::config::CONFIG,
    crate::debug::DEBUG,
    Spec {
        name: "info",
        arity: Arity::AtLeast(1),
        scope: Scope::Each,
        flags: ROW.flags.and(Flags::DANGEROUS),
        summary: "Returns figures about the server.",
        syntax: "[section [section ...]]",
        handler: info,
        ..ROW
    },
    Spec {
        name: "lastsave",
        touches: Touches::BY_FLAGS.also_in(Categories::ADMIN),
        flags: ROW.flags.and(Flags::FAST),
        summary: "Returns when the last checkpoint of every partition was finished.",
        handler: lastsave,
        ..ROW
    },
    crate::latency::LATENCY,
    Spec {
        name: "lolwut",
        arity: Arity::AtLeast(1),
        flags: Flags::READONLY.and(Flags::FAST),
        since: "5.0.0",
        summary: "Says the server's name and version.",
        syntax: "[VERSION version]",
        handler: lolwut,
        ..ROW
    },
    crate::memory::MEMORY,
    crate::scripting::MODULE,
    Spec {
        name: "monitor",
        flags: ADMIN,
        summary: "Shows the commands of all connections from here on, until RESET or the end of the connection.",
        handler: monitor,
        ..ROW
    },
    Spec {
        name: "role",
        touches: Touches::BY_FLAGS.also_in(Categories::ADMIN),
        flags: ROW.flags.and(Flags::FAST).and(Flags::NOSCRIPT),
        since: "2.8.12",
        summary: "Returns the role of the server in replication.",
        handler: role,
        ..ROW
    },
    Spec {
        name: "save",
        flags: SAVING.and(Flags::NO_MULTI),
        complexity: "O(N) where N is the number of keys",
        summary: "Writes a checkpoint of every partition and waits until it is durable.",
        handler: save,
        ..ROW
    },
    Spec {
        name: "shutdown",
        arity: Arity::AtLeast(1),
        flags: ADMIN.and(Flags::NO_MULTI).and(Flags::RUNS_WHEN_BUSY),
        complexity: "O(N) where N is the number of keys, for the checkpoint",
        summary: "Stops the server.",
        syntax: "[NOSAVE | SAVE] [NOW] [FORCE] [SAFE] [ABORT]",
        handler: shutdown,
        ..ROW
    },
    crate::command_log::SLOWLOG,
    Spec {
        name: "time",
        flags: ROW.flags.and(Flags::FAST),
        since: "2.6.0",
        summary: "Returns the server's time.",
        ..ROW
    },
    Spec {
        name: "wait",
        touches: Touches::BY_FLAGS.also_in(Categories::CONNECTION),
        arity: Arity::Exactly(3),
        flags: Flags::BLOCKING,
        since: "3.0.0",
        summary: "Waits until replicas have what this connection wrote.",
        syntax: "numreplicas timeout",
        handler: wait,
        ..ROW
    },
    Spec {
        name: "waitaof",
        touches: Touches::BY_FLAGS.also_in(Categories::CONNECTION),
        arity: Arity::Exactly(4),
        flags: Flags::BLOCKING,
        since: "7.2.0",
        summary: "Waits until what this connection wrote is durable.",
        syntax: "numlocal numreplicas timeout",
        handler: waitaof,
        ..ROW
    },
];

fn time(call: &mut Call<'_>) -> Result<Flow, Error> {
    let now_us = call.host.wall_us();
    call.reply.array(2);
    call.reply.bulk_integer(now_us.div_euclid(1_000_000));
    call.reply.bulk_integer(now_us.rem_euclid(1_000_000));
    Ok(Flow::Done)
}

fn info(call: &mut Call<'_>) -> Result<Flow, Error> {
    let sections: Vec<&[u8]> = call.args.skip(1).iter().collect();
    let mut text = Vec::new();
    call.host.info(&sections, &call.tx.figures(), &mut text);
    call.reply.verbatim(*b"txt", &text);
    Ok(Flow::Done)
}

fn lolwut(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.verbatim(*b"txt", format!("Larder ver. {VERSION}\n").as_bytes());
    Ok(Flow::Done)
}

fn monitor(call: &mut Call<'_>) -> Result<Flow, Error> {
    if !call.may_wait {
        return Err(Error::text("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    call.session.monitors = true;
    call.host.clients().update(call.session);
    call.reply.ok();
    Ok(Flow::Done)
}

fn role(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.array(3);
    call.reply.bulk(b"master");
    call.reply.integer(0);
    call.reply.array(0);
    Ok(Flow::Done)
}

fn save(_call: &mut Call<'_>) -> Result<Flow, Error> {
    Ok(Flow::Await(Await::Checkpoint))
}

/// Clients tell by this text that they speak to one node, and rules of users may name the command.
fn cluster(_call: &mut Call<'_>) -> Result<Flow, Error> {
    Err(Error::text("ERR This instance has cluster support disabled"))
}

fn bgsave(call: &mut Call<'_>) -> Result<Flow, Error> {
    let is_scheduled = match call.arg_count() {
        1 => false,
        2 if call.is_word(1, "SCHEDULE") => true,
        2 if call.is_word(1, "CANCEL") => {
            return Err(Error::text("ERR Background saving is currently not in progress or scheduled"));
        }
        _ => return Err(Error::Syntax),
    };
    if call.host.request_checkpoint() {
        call.reply.simple("Background saving started");
    } else if is_scheduled {
        call.host.schedule_checkpoint();
        call.reply.simple("Background saving scheduled");
    } else {
        return Err(Error::text("ERR Background save already in progress"));
    }
    Ok(Flow::Done)
}

fn bgrewriteaof(call: &mut Call<'_>) -> Result<Flow, Error> {
    if !call.host.request_checkpoint() {
        return Err(Error::text("ERR Background append only file rewriting already in progress"));
    }
    call.reply.simple("Background append only file rewriting started");
    Ok(Flow::Done)
}

fn lastsave(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.integer(call.host.last_checkpoint().0 / 1000);
    Ok(Flow::Done)
}

fn wait(call: &mut Call<'_>) -> Result<Flow, Error> {
    let replica_count = call.integer(1)?;
    let timeout_ms = timeout_ms(call, 2)? as u64;
    if !call.may_wait {
        call.reply.integer(0);
        return Ok(Flow::Done);
    }
    Ok(Flow::Await(Await::Replicas { replica_count, timeout_ms }))
}

fn waitaof(call: &mut Call<'_>) -> Result<Flow, Error> {
    let local_count = call.integer(1)?;
    if !(0..=1).contains(&local_count) {
        return Err(Error::text("ERR value is out of range, value must between 0 and 1"));
    }
    let replica_count = parse_i64(call.arg(2))
        .filter(|count| 0 <= *count)
        .ok_or(Error::text("ERR value is out of range, must be positive"))?;
    let timeout_ms = timeout_ms(call, 3)? as u64;
    if !call.may_wait {
        call.reply.array(2);
        call.reply.integer(i64::from(call.session.written <= call.tx.durable()));
        call.reply.integer(0);
        return Ok(Flow::Done);
    }
    Ok(Flow::Await(Await::Durable { local_count, replica_count, timeout_ms }))
}

/// NOW, FORCE and SAFE are about replicas that lag and disks that refuse; stopping here waits for neither.
fn shutdown(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (mut save, mut nosave, mut abort, mut others) = (false, false, false, false);
    for index in 1..call.arg_count() {
        match call.arg(index).to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => nosave = true,
            b"abort" => abort = true,
            b"now" | b"force" | b"safe" => others = true,
            b"failover" => return Err(Error::text("ERR SHUTDOWN FAILOVER is only supported in cluster mode.")),
            _ => return Err(Error::Syntax),
        }
    }
    if (save && nosave) || (abort && (save || nosave || others)) {
        return Err(Error::Syntax);
    }
    if abort {
        return Err(Error::text("ERR No shutdown in progress."));
    }
    Ok(Flow::Await(Await::Shutdown { checkpoint: !nosave }))
}
