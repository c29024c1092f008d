//! HELP of commands with subcommands, computed from the table.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::table;
use crate::touches::Touches;

/// The row of HELP that every command with subcommands has among them.
pub const HELP: Spec = Spec {
    name: "help",
    arity: Arity::Exactly(2),
    flags: Flags::LOADING.and(Flags::STALE),
    keys: Keys::None,
    scope: Scope::Nothing,
    group: Group::Server,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Print this help.",
    syntax: "",
    handler: help,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

/// A subcommand as HELP shows it: its name in capitals and what it takes.
fn usage(spec: &Spec) -> String {
    format!("{} {}", spec.name.to_ascii_uppercase(), spec.syntax).trim_end().to_owned()
}

/// Answers with the subcommands of the command that was called; also serves as the handler of a command that does
/// nothing without one, which its arity keeps from ever being run.
pub fn help(call: &mut Call<'_>) -> Result<Flow, Error> {
    let top = table::find(call.arg(0)).expect("the command was found by this name").spec;
    let shown = top.subcommands.iter().filter(|spec| spec.name != HELP.name).chain([&HELP]);
    call.reply.array(1 + 2 * (1 + top.subcommands.iter().filter(|spec| spec.name != HELP.name).count()));
    let name = top.name.to_ascii_uppercase();
    call.reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for spec in shown {
        call.reply.simple(&usage(spec));
        call.reply.simple(&format!("    {}", spec.summary));
    }
    Ok(Flow::Done)
}
