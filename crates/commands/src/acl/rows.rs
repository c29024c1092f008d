//! The commands about users: ACL and its subcommands.
//!
//! Invariant: whoever loses a channel it has subscribed to, or its user, is closed by the command that took it.

use super::categories::Categories;
use super::check::{Reason, check};
use super::selector::Selector;
use super::text::{hexadecimal, is_name, parse_users, print_users};
use super::user::{ChangeError, Defaults, may_stay};
use super::users::{Affected, DEFAULT};
use crate::call::{Call, Flow};
use crate::channels::Kind;
use crate::client::kill_all;
use crate::error::Error;
use crate::help::{HELP, help};
use crate::host::{ClientView, Host};
use crate::refuse;
use crate::run;
use crate::server::{ADMIN, ROW};
use crate::spec::{Arity, Flags, Spec};
use crate::table;

/// Bits of GENPASS where none are asked for, and the most of them.
const PASSWORD_BITS: i64 = 256;
const PASSWORD_BITS_MAX: i64 = 4096;

/// Users given in ACL LOG unless more are asked for.
const LOG_SHOWN_COUNT: usize = 10;

/// What the subcommands that anybody may need have in common.
const OPEN: Spec = Spec { flags: ROW.flags.and(Flags::NOSCRIPT), since: "6.0.0", ..ROW };
/// And those of administration.
const USERS: Spec = Spec { flags: ADMIN, since: "6.0.0", ..ROW };

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
            complexity: "O(N) where N is the number of commands",
            summary: "Lists the categories of commands, or the commands of one.",
            syntax: "[category]",
            handler: cat,
            ..OPEN
        },
        Spec {
            name: "deluser",
            arity: Arity::AtLeast(3),
            complexity: "O(N) where N is the number of connections",
            summary: "Removes users, and closes their connections.",
            syntax: "username [username ...]",
            handler: deluser,
            ..USERS
        },
        Spec {
            name: "dryrun",
            arity: Arity::AtLeast(4),
            since: "7.0.0",
            summary: "Says whether a user may run a command, without running it.",
            syntax: "username command [arg [arg ...]]",
            handler: dryrun,
            ..USERS
        },
        Spec {
            name: "genpass",
            arity: Arity::AtLeast(2),
            summary: "Returns a random password.",
            syntax: "[bits]",
            handler: genpass,
            ..OPEN
        },
        Spec {
            name: "getuser",
            arity: Arity::Exactly(3),
            complexity: "O(N) where N is the number of rules",
            summary: "Returns the rules of a user.",
            syntax: "username",
            handler: getuser,
            ..USERS
        },
        HELP,
        Spec {
            name: "list",
            arity: Arity::Exactly(2),
            complexity: "O(N) where N is the number of users",
            summary: "Lists the rules of every user.",
            handler: list,
            ..USERS
        },
        Spec {
            name: "load",
            arity: Arity::Exactly(2),
            complexity: "O(N) where N is the number of users and connections",
            summary: "Reads the users from the file of `aclfile`, all or none.",
            handler: load,
            ..USERS
        },
        Spec {
            name: "log",
            arity: Arity::AtLeast(2),
            complexity: "O(N) where N is the number of entries",
            summary: "Returns what was refused lately, or forgets it.",
            syntax: "[count | RESET]",
            handler: log,
            ..USERS
        },
        Spec {
            name: "save",
            arity: Arity::Exactly(2),
            complexity: "O(N) where N is the number of users",
            summary: "Writes the users to the file of `aclfile`.",
            handler: save,
            ..USERS
        },
        Spec {
            name: "setuser",
            arity: Arity::AtLeast(3),
            complexity: "O(N) where N is the number of rules",
            summary: "Applies rules to a user, who is created if need be.",
            syntax: "username [rule [rule ...]]",
            handler: setuser,
            ..USERS
        },
        Spec {
            name: "users",
            arity: Arity::Exactly(2),
            complexity: "O(N) where N is the number of users",
            summary: "Lists the users.",
            handler: users,
            ..USERS
        },
        Spec {
            name: "whoami",
            arity: Arity::Exactly(2),
            summary: "Returns the user of the connection.",
            handler: whoami,
            ..OPEN
        },
    ],
    ..ROW
};

/// What rules say nothing of, as the settings have it.
fn defaults(host: &dyn Host) -> Defaults {
    Defaults { all_channels: host.setting("acl-pubsub-default").is_some_and(|value| value == "allchannels") }
}

fn shown(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn whoami(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.bulk(call.session.user.name());
    Ok(Flow::Done)
}

fn users(call: &mut Call<'_>) -> Result<Flow, Error> {
    let users = call.host.users().all();
    call.reply.array(users.len());
    for (name, _) in &users {
        call.reply.bulk(name);
    }
    Ok(Flow::Done)
}

fn list(call: &mut Call<'_>) -> Result<Flow, Error> {
    let users = call.host.users().all();
    call.reply.array(users.len());
    for (name, user) in users {
        call.reply.bulk(&[b"user ", &name[..], b" ", &user.describe()].concat());
    }
    Ok(Flow::Done)
}

fn wrong_subcommand(call: &Call<'_>) -> Error {
    refuse!("ERR unknown subcommand or wrong number of arguments for '{}'. Try ACL HELP.", shown(call.arg(1)))
}

fn cat(call: &mut Call<'_>) -> Result<Flow, Error> {
    let names: Vec<String> = match call.args.nth(2) {
        _ if call.arg_count() > 3 => return Err(wrong_subcommand(call)),
        None => Categories::all_names().iter().map(|name| (*name).to_owned()).collect(),
        Some(name) => {
            let wanted = Categories::named(name).ok_or_else(|| refuse!("ERR Unknown category '{}'", shown(name)))?;
            let is_in = |number: &u16| Categories::of(table::by_number(*number)).overlap(wanted);
            (0..table::number_count() as u16).filter(is_in).map(table::full_name).collect()
        }
    };
    call.reply.array(names.len());
    for name in &names {
        call.reply.bulk(name.as_bytes());
    }
    Ok(Flow::Done)
}

fn setuser(call: &mut Call<'_>) -> Result<Flow, Error> {
    let name = call.arg(2);
    if !is_name(name) {
        return Err(Error::text("ERR Usernames can't contain spaces or null characters"));
    }
    let rules: Vec<&[u8]> = call.args.skip(3).iter().collect();
    let changed = call.host.users().change(name, &rules, defaults(call.host));
    let affected = changed.map_err(|error| match error {
        ChangeError::Unmatched(rule) => {
            refuse!("ERR Unmatched parenthesis in acl selector starting at '{}'.", shown(&rule))
        }
        ChangeError::Rule(rule, error) => {
            refuse!("ERR Error in ACL SETUSER modifier '{}': {}", shown(&rule), error.text())
        }
    })?;
    let flow = close_affected(call, &affected);
    call.reply.ok();
    Ok(flow)
}

fn deluser(call: &mut Call<'_>) -> Result<Flow, Error> {
    let names: Vec<&[u8]> = call.args.skip(2).iter().collect();
    if names.contains(&DEFAULT) {
        return Err(Error::text("ERR The 'default' user cannot be removed"));
    }
    let removed: Vec<Vec<u8>> =
        names.into_iter().filter(|name| call.host.users().remove(name)).map(<[u8]>::to_vec).collect();
    let count = removed.len();
    let flow = close_affected(call, &Affected { removed, fewer_channels: Vec::new() });
    call.reply.count(count);
    Ok(flow)
}

/// Closes the connections of users that are no more, and those that listen to what they no longer may.
fn close_affected(call: &Call<'_>, affected: &Affected) -> Flow {
    if affected.removed.is_empty() && affected.fewer_channels.is_empty() {
        return Flow::Done;
    }
    let must_go = |view: &ClientView| affected.removed.contains(&view.user) || has_lost_channel(call, affected, view);
    let ids = call.host.clients().views().into_iter().filter(must_go).map(|view| view.id);
    let (_, includes_self) = kill_all(call, ids);
    if includes_self { Flow::Close } else { Flow::Done }
}

fn has_lost_channel(call: &Call<'_>, affected: &Affected, view: &ClientView) -> bool {
    let Some((_, left)) = affected.fewer_channels.iter().find(|(name, _)| *name == view.user) else { return false };
    [Kind::Channel, Kind::Shard, Kind::Pattern].into_iter().any(|kind| {
        let names = call.host.channels().names_of(view.id, kind);
        names.iter().any(|name| !may_stay(left, name, kind == Kind::Pattern))
    })
}

fn getuser(call: &mut Call<'_>) -> Result<Flow, Error> {
    let Some(account) = call.host.users().find(call.arg(2)) else {
        call.reply.null_array();
        return Ok(Flow::Done);
    };
    let user = account.user();
    let reply = &mut call.reply;
    reply.map(7);
    reply.bulk(b"flags");
    reply.set(user.flags().count());
    user.flags().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(user.password_hashes().len());
    user.password_hashes().for_each(|hash| reply.bulk(hash.as_bytes()));
    put_selector(call, user.root());
    call.reply.bulk(b"selectors");
    call.reply.array(user.more().len());
    for selector in user.more() {
        call.reply.map(4);
        put_selector(call, selector);
    }
    Ok(Flow::Done)
}

fn put_selector(call: &mut Call<'_>, selector: &Selector) {
    let mut put = |name: &str, value: &[u8]| {
        call.reply.bulk(name.as_bytes());
        call.reply.bulk(value);
    };
    put("commands", selector.commands.describe().as_bytes());
    put("keys", &selector.describe_keys());
    put("channels", &selector.describe_channels());
    put("databases", selector.describe_dbs().as_bytes());
}

fn dryrun(call: &mut Call<'_>) -> Result<Flow, Error> {
    let name = call.arg(2);
    let account = call.host.users().find(name).ok_or_else(|| refuse!("ERR User '{}' not found", shown(name)))?;
    let args = call.args.skip(3);
    let resolved = run::resolve(&args).map_err(|error| match error.reply() {
        text if text.starts_with("ERR unknown") => refuse!("ERR Command '{}' not found", shown(args.at(0))),
        _ => error,
    })?;
    let Err(denied) = check(&account.user(), resolved, &args, call.session.db) else {
        call.reply.ok();
        return Ok(Flow::Done);
    };
    let name = shown(name);
    let command = table::full_name(resolved.number());
    let object = if denied.at == 0 { command.clone() } else { shown(args.at(denied.at)).into_owned() };
    let text = match denied.reason {
        Reason::Command => format!("User {name} has no permissions to run the '{command}' command"),
        Reason::Key => format!("User {name} has no permissions to access the '{object}' key"),
        Reason::Channel => format!("User {name} has no permissions to access the '{object}' channel"),
        Reason::Database | Reason::Auth => format!("User {name} has no permissions to access database {object}"),
    };
    call.reply.bulk(text.as_bytes());
    Ok(Flow::Done)
}

fn genpass(call: &mut Call<'_>) -> Result<Flow, Error> {
    let bits = match call.args.nth(2) {
        None => PASSWORD_BITS,
        Some(_) if call.arg_count() > 3 => return Err(wrong_subcommand(call)),
        Some(_) => call.integer(2)?,
    };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err(refuse!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {PASSWORD_BITS_MAX}"
        ));
    }
    let digit_count = (bits as usize).div_ceil(4);
    let mut bytes = vec![0; digit_count.div_ceil(2)];
    call.host.fill_secret(&mut bytes);
    let digits = hexadecimal(&bytes);
    call.reply.bulk(&digits.as_bytes()[..digit_count]);
    Ok(Flow::Done)
}

fn log(call: &mut Call<'_>) -> Result<Flow, Error> {
    let mut count = LOG_SHOWN_COUNT;
    match call.args.nth(2) {
        _ if call.arg_count() > 3 => return Err(wrong_subcommand(call)),
        None => {}
        Some(word) if word.eq_ignore_ascii_case(b"RESET") => {
            call.host.users().log().lock().clear();
            call.reply.ok();
            return Ok(Flow::Done);
        }
        Some(_) => count = usize::try_from(call.integer(2)?).unwrap_or(0),
    }
    let now_ms = call.host.wall_us() / 1_000;
    let log = call.host.users().log().lock();
    let entries = log.newest(count);
    let reply = &mut call.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.map(10);
        reply.bulk(b"count");
        reply.integer(entry.count as i64);
        let texts: [(&str, &[u8]); 4] = [
            ("reason", entry.reason.name().as_bytes()),
            ("context", entry.context.as_bytes()),
            ("object", &entry.object),
            ("username", &entry.username),
        ];
        for (name, value) in texts {
            reply.bulk(name.as_bytes());
            reply.bulk(value);
        }
        reply.bulk(b"age-seconds");
        reply.double((now_ms - entry.updated_ms) as f64 / 1_000.0);
        reply.bulk(b"client-info");
        reply.bulk(&entry.client_info);
        let numbers = [
            ("entry-id", entry.id as i64),
            ("timestamp-created", entry.created_ms),
            ("timestamp-last-updated", entry.updated_ms),
        ];
        for (name, value) in numbers {
            reply.bulk(name.as_bytes());
            reply.integer(value);
        }
    }
    Ok(Flow::Done)
}

const NO_FILE: Error = Error::text(
    "ERR This instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command \
     and then issue a CONFIG REWRITE (assuming you have a configuration file set) in order to store users in the \
     configuration.",
);

fn file_name(call: &Call<'_>) -> Result<String, Error> {
    call.host.setting("aclfile").filter(|name| !name.is_empty()).ok_or(NO_FILE)
}

fn load(call: &mut Call<'_>) -> Result<Flow, Error> {
    let name = file_name(call)?;
    let users = call.host.read_users_file().and_then(|text| parse_users(&name, &text, defaults(call.host)));
    let users = users.map_err(|problem| {
        refuse!(
            "ERR {problem}. WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
        )
    })?;
    let password = call.host.setting("requirepass").unwrap_or_default();
    let affected = call.host.users().replace(users, password.as_bytes());
    let flow = close_affected(call, &affected);
    call.reply.ok();
    Ok(flow)
}

fn save(call: &mut Call<'_>) -> Result<Flow, Error> {
    file_name(call)?;
    let users = call.host.users().all();
    let text = print_users(users.iter().map(|(name, user)| (&name[..], &**user)));
    call.host.write_users_file(&text).map_err(|_| {
        Error::text("ERR There was an error trying to save the ACLs. Please check the server logs for more information")
    })?;
    call.reply.ok();
    Ok(Flow::Done)
}
