//! ACL: who may do what. There is one user, `default`, who may do everything once logged in.
//!
//! Not done, and why: users of one's own and rules; until then SETUSER and the like are unknown subcommands rather
//! than pretence.

use crate::call::{Call, Flow};
use crate::command::categories;
use crate::error::Error;
use crate::help::{HELP, help};
use crate::refuse;
use crate::server::{ADMIN, ROW};
use crate::spec::{Arity, Flags, Spec};
use crate::table;

/// The row of ACL.
pub const ACL: Spec = Spec {
    name: "acl",
    arity: Arity::AtLeast(2),
    since: "6.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for commands about users.",
    syntax: "subcommand [arg [arg ...]]",
    handler: help,
    subcommands: &[
        Spec {
            name: "cat",
            arity: Arity::AtLeast(2),
            flags: ROW.flags.and(Flags::NOSCRIPT),
            since: "6.0.0",
            complexity: "O(N) where N is the number of commands",
            summary: "Lists the categories of commands, or the commands of one.",
            syntax: "[category]",
            handler: cat,
            ..ROW
        },
        HELP,
        Spec {
            name: "list",
            arity: Arity::Exactly(2),
            flags: ADMIN,
            since: "6.0.0",
            summary: "Lists the rules of every user.",
            handler: list,
            ..ROW
        },
        Spec {
            name: "users",
            arity: Arity::Exactly(2),
            flags: ADMIN,
            since: "6.0.0",
            summary: "Lists the users.",
            handler: users,
            ..ROW
        },
        Spec {
            name: "whoami",
            arity: Arity::Exactly(2),
            flags: ROW.flags.and(Flags::NOSCRIPT),
            since: "6.0.0",
            summary: "Returns the user of the connection.",
            handler: whoami,
            ..ROW
        },
    ],
    ..ROW
};

fn whoami(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.bulk(b"default");
    Ok(Flow::Done)
}

fn users(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.array(1);
    call.reply.bulk(b"default");
    Ok(Flow::Done)
}

/// The password is told only by its presence: its digest would help whoever wants to guess it.
fn list(call: &mut Call<'_>) -> Result<Flow, Error> {
    let password = if call.host.needs_password() { "#(redacted)" } else { "nopass" };
    call.reply.array(1);
    call.reply.bulk(format!("user default on {password} ~* &* +@all").as_bytes());
    Ok(Flow::Done)
}

fn cat(call: &mut Call<'_>) -> Result<Flow, Error> {
    let numbers = 0..table::number_count() as u16;
    let mut found: Vec<String> = match call.args.nth(2) {
        None => numbers.flat_map(|number| categories(table::by_number(number))).map(str::to_owned).collect(),
        Some(wanted) => {
            let has = |number: &u16| {
                categories(table::by_number(*number)).iter().any(|name| name.as_bytes().eq_ignore_ascii_case(wanted))
            };
            numbers.filter(has).map(table::full_name).collect()
        }
    };
    if found.is_empty() {
        return Err(refuse!("ERR Unknown category '{}'", String::from_utf8_lossy(call.arg(2))));
    }
    found.sort_unstable();
    found.dedup();
    call.reply.array(found.len());
    for name in &found {
        call.reply.bulk(name.as_bytes());
    }
    Ok(Flow::Done)
}
