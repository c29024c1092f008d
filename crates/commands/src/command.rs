//! COMMAND: the table, told to clients.
//!
//! Everything here is computed from the rows; nothing is stated again. COMMAND DOCS is in `command_docs.rs`.

use crate::acl::Categories;
use crate::call::{Call, Flow};
use crate::command_docs::docs;
use crate::error::Error;
use crate::help::HELP;
use crate::server::ROW;
use crate::spec::{Arity, Flags, Keys, Spec};
use crate::table;
use crate::touches::{KeyUse, KeyUses};
use base::glob::{Case, glob_matches};
use base::number::parse_u64;
use wire::args::Args;
use wire::reply::Reply;

const LINEAR: &str = "O(N) where N is the number of commands";

/// The row of COMMAND.
pub const COMMAND: Spec = Spec {
    name: "command",
    arity: Arity::AtLeast(1),
    since: "2.8.13",
    complexity: LINEAR,
    summary: "Returns what there is to know of all commands.",
    syntax: "[subcommand [arg [arg ...]]]",
    handler: command,
    subcommands: &[
        Spec {
            name: "count",
            arity: Arity::Exactly(2),
            since: "2.8.13",
            summary: "Returns the number of commands.",
            handler: count,
            ..ROW
        },
        Spec {
            name: "docs",
            arity: Arity::AtLeast(2),
            since: "7.0.0",
            complexity: LINEAR,
            summary: "Returns what commands are for.",
            syntax: "[command-name [command-name ...]]",
            handler: docs,
            ..ROW
        },
        Spec {
            name: "getkeys",
            arity: Arity::AtLeast(3),
            since: "2.8.13",
            complexity: "O(N) where N is the number of arguments",
            summary: "Returns the keys of a command.",
            syntax: "command [arg [arg ...]]",
            handler: getkeys,
            ..ROW
        },
        Spec {
            name: "getkeysandflags",
            arity: Arity::AtLeast(3),
            since: "7.0.0",
            complexity: "O(N) where N is the number of arguments",
            summary: "Returns the keys of a command and what it does with them.",
            syntax: "command [arg [arg ...]]",
            handler: getkeysandflags,
            ..ROW
        },
        HELP,
        Spec {
            name: "info",
            arity: Arity::AtLeast(2),
            since: "2.8.13",
            complexity: LINEAR,
            summary: "Returns what there is to know of some commands.",
            syntax: "[command-name [command-name ...]]",
            handler: info,
            ..ROW
        },
        Spec {
            name: "list",
            arity: Arity::AtLeast(2),
            since: "7.0.0",
            complexity: LINEAR,
            summary: "Returns the names of commands.",
            syntax: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
            handler: list,
            ..ROW
        },
    ],
    ..ROW
};

fn write_key_use(key_use: KeyUse, reply: &mut Reply<'_>) {
    reply.set(key_use.names().count());
    key_use.names().for_each(|name| reply.simple(name));
}

/// What is done with the keys of the key specification number `ordinal`.
fn key_use(spec: &Spec, ordinal: usize) -> KeyUse {
    match spec.touches.keys {
        KeyUses::InOrder(uses) => uses[ordinal.min(uses.len() - 1)],
        // Where it varies, the most there may be.
        KeyUses::ByFlags | KeyUses::Varying(_) => spec.key_use_by_flags(),
    }
}

fn command(call: &mut Call<'_>) -> Result<Flow, Error> {
    write_all_infos(&mut call.reply);
    Ok(Flow::Done)
}

fn count(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.count(table::all().len());
    Ok(Flow::Done)
}

fn write_all_infos(reply: &mut Reply<'_>) {
    let tops = top_numbers();
    reply.array(tops.len());
    for number in tops {
        write_info(number, reply);
    }
}

/// Numbers of the rows that are no subcommands.
pub(crate) fn top_numbers() -> Vec<u16> {
    table::all().iter().filter_map(|spec| table::find(spec.name.as_bytes())).map(|row| row.index).collect()
}

/// Numbers of the subcommands of the row with this number.
pub(crate) fn subcommand_numbers(number: u16) -> std::ops::Range<u16> {
    number + 1..number + 1 + table::by_number(number).subcommands.len() as u16
}

fn info(call: &mut Call<'_>) -> Result<Flow, Error> {
    if call.arg_count() == 2 {
        return command(call);
    }
    call.reply.array(call.arg_count() - 2);
    for name in call.args.skip(2).iter() {
        match table::number_of_name(name) {
            Some(number) => write_info(number, &mut call.reply),
            None => call.reply.null(),
        }
    }
    Ok(Flow::Done)
}

fn write_info(number: u16, reply: &mut Reply<'_>) {
    let spec = table::by_number(number);
    reply.array(10);
    reply.bulk(table::full_name(number).as_bytes());
    reply.integer(spec.arity.as_redis());
    reply.set(spec.flags.names().count());
    spec.flags.names().for_each(|name| reply.simple(name));
    let (first, last, step) = key_range(spec.keys);
    for number in [first, last, step] {
        reply.integer(number);
    }
    let categories = Categories::of(spec);
    reply.set(categories.names().count());
    categories.names().for_each(|name| reply.simple(&format!("@{name}")));
    reply.set(0);
    write_key_specs(spec, reply);
    let subcommands = subcommand_numbers(number);
    reply.array(subcommands.len());
    subcommands.for_each(|number| write_info(number, reply));
}

/// First key, last key and step, as far as these three can say where keys are.
fn key_range(keys: Keys) -> (i64, i64, i64) {
    match keys {
        Keys::Range { first, last, step } => (i64::from(first), i64::from(last), i64::from(step)),
        Keys::Counted { also: also @ 1.., .. } => (i64::from(also), i64::from(also), 1),
        Keys::OneAndBehind { .. } => (1, 1, 1),
        Keys::None | Keys::Counted { .. } | Keys::After { .. } => (0, 0, 0),
    }
}

fn write_key_specs(spec: &Spec, reply: &mut Reply<'_>) {
    match spec.keys {
        Keys::None => reply.set(0),
        Keys::Range { first, last, step } => write_ranges(spec, first, last, step, reply),
        Keys::Counted { count_at, also, step } => {
            let ordinal = usize::from(also != 0);
            reply.set(1 + ordinal);
            if also != 0 {
                write_key_spec(key_use(spec, 0), also, "range", [("lastkey", 0), ("keystep", 1), ("limit", 0)], reply);
            }
            let find = [("keynumidx", 0), ("firstkey", 1), ("keystep", i64::from(step))];
            write_key_spec(key_use(spec, ordinal), count_at, "keynum", find, reply);
        }
        Keys::After { word, from, .. } => {
            reply.set(1);
            let find = [("lastkey", -1), ("keystep", 1), ("limit", 2)];
            write_key_spec_behind(key_use(spec, 0), word, from, &find, reply);
        }
        Keys::OneAndBehind { words, from, .. } => {
            reply.set(1 + words.len());
            let find = [("lastkey", 0), ("keystep", 1), ("limit", 0)];
            write_key_spec(key_use(spec, 0), 1, "range", find, reply);
            for word in words {
                write_key_spec_behind(key_use(spec, 1), word, from, &find, reply);
            }
        }
    }
}

/// The keys of a range: one specification, or one for each that is used in another way.
fn write_ranges(spec: &Spec, first: u8, last: i8, step: u8, reply: &mut Reply<'_>) {
    let alone = match spec.touches.keys {
        KeyUses::InOrder(uses) => uses.len() as u8 - 1,
        KeyUses::ByFlags | KeyUses::Varying(_) => 0,
    };
    reply.set(usize::from(alone) + 1);
    for ordinal in 0..alone {
        let find = [("lastkey", 0), ("keystep", 1), ("limit", 0)];
        write_key_spec(key_use(spec, usize::from(ordinal)), first + ordinal * step, "range", find, reply);
    }
    let first = first + alone * step;
    let last = if last < 0 { i64::from(last) } else { i64::from(last) - i64::from(first) };
    let find = [("lastkey", last), ("keystep", i64::from(step)), ("limit", 0)];
    write_key_spec(key_use(spec, usize::from(alone)), first, "range", find, reply);
}

fn write_key_spec_behind(key_use: KeyUse, word: &str, from: u8, find: &[(&str, i64)], reply: &mut Reply<'_>) {
    write_key_spec_head(key_use, reply);
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"keyword");
    reply.bulk(b"spec");
    reply.map(2);
    reply.bulk(b"keyword");
    reply.bulk(word.as_bytes());
    reply.bulk(b"startfrom");
    reply.integer(i64::from(from));
    reply.bulk(b"find_keys");
    write_search("range", find, reply);
}

fn write_key_spec_head(key_use: KeyUse, reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk(b"flags");
    write_key_use(key_use, reply);
    reply.bulk(b"begin_search");
}

fn write_key_spec(key_use: KeyUse, begin: u8, find_type: &str, find: [(&str, i64); 3], reply: &mut Reply<'_>) {
    write_key_spec_head(key_use, reply);
    write_search("index", &[("index", i64::from(begin))], reply);
    reply.bulk(b"find_keys");
    write_search(find_type, &find, reply);
}

fn write_search(kind: &str, fields: &[(&str, i64)], reply: &mut Reply<'_>) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields.len());
    for (name, value) in fields {
        reply.bulk(name.as_bytes());
        reply.integer(*value);
    }
}

/// Where the keys of the command that the arguments are stand among them, and what is done with them.
fn keys_of(args: &Args<'_>) -> Result<Vec<(usize, KeyUse)>, Error> {
    let row = args.nth(0).and_then(table::find).ok_or(Error::text("ERR Invalid command specified"))?;
    let spec = match args.nth(1) {
        Some(name) if !row.spec.subcommands.is_empty() => {
            row.spec.subcommand(name).ok_or(Error::text("ERR Invalid command specified"))?
        }
        _ => row.spec,
    };
    if matches!(spec.keys, Keys::None) {
        return Err(Error::text("ERR The command has no key arguments"));
    }
    if !spec.arity.allows(args.count()) {
        return Err(Error::text("ERR Invalid number of arguments specified for command"));
    }
    let mut keys = Vec::new();
    spec.each_key_use(args, |position, key_use| keys.push((position, key_use)));
    if let Keys::Counted { count_at, also, .. } = spec.keys
        && args.nth(usize::from(count_at)).and_then(parse_u64) != Some((keys.len() - usize::from(also != 0)) as u64)
    {
        keys.clear();
    }
    // A script may well have no key.
    if keys.is_empty() && !spec.flags.has(Flags::RUNS_OTHERS) {
        return Err(Error::text("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

fn getkeys(call: &mut Call<'_>) -> Result<Flow, Error> {
    let args = call.args.skip(2);
    let keys = keys_of(&args)?;
    call.reply.array(keys.len());
    for (position, _) in keys {
        call.reply.bulk(args.at(position));
    }
    Ok(Flow::Done)
}

fn getkeysandflags(call: &mut Call<'_>) -> Result<Flow, Error> {
    let args = call.args.skip(2);
    let keys = keys_of(&args)?;
    call.reply.array(keys.len());
    for (position, key_use) in keys {
        call.reply.array(2);
        call.reply.bulk(args.at(position));
        write_key_use(key_use, &mut call.reply);
    }
    Ok(Flow::Done)
}

fn list(call: &mut Call<'_>) -> Result<Flow, Error> {
    let numbers = 0..table::number_count() as u16;
    let names: Vec<String> = match call.arg_count() {
        2 => numbers.map(table::full_name).collect(),
        5 if call.is_word(2, "FILTERBY") => {
            let filter = list_filter(call)?;
            numbers.filter(|number| filter(*number)).map(table::full_name).collect()
        }
        _ => return Err(Error::Syntax),
    };
    call.reply.array(names.len());
    for name in &names {
        call.reply.bulk(name.as_bytes());
    }
    Ok(Flow::Done)
}

fn list_filter<'c>(call: &Call<'c>) -> Result<Box<dyn Fn(u16) -> bool + 'c>, Error> {
    let wanted = call.arg(4);
    if call.is_word(3, "PATTERN") {
        return Ok(Box::new(|number| glob_matches(wanted, table::full_name(number).as_bytes(), Case::Insensitive)));
    }
    if call.is_word(3, "ACLCAT") {
        let wanted = Categories::named(wanted).unwrap_or_default();
        return Ok(Box::new(move |number| Categories::of(table::by_number(number)).overlap(wanted)));
    }
    // There are no modules, so no command comes from one.
    if call.is_word(3, "MODULE") { Ok(Box::new(|_| false)) } else { Err(Error::Syntax) }
}
