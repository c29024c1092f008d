//! FUNCTION and FCALL: libraries of functions, which are data.
//!
//! A command that changes libraries locks everything: it is rare, and no function runs meanwhile that could find half a
//! change. It looks at all of it first (code is run, collisions are found), then changes the catalog and what is stored.
//!
//! Deliberately not here: running functions (`script_run.rs`), and finding them (`libraries.rs`).
//!
//! Different from Redis: each thread runs a library's code for itself, so that variables a library keeps outside of its
//! functions are a thread's own.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::help::{HELP, help};
use crate::libraries::{Catalog, Libraries, Library, make, name_of};
use crate::refuse;
use crate::script_run::fcall;
use crate::scripting::RUNS_SCRIPT;
use crate::server::ROW;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use base::glob::{Case, glob_matches};
use keyspace::LIBRARY_PARTITION;
use std::ops::ControlFlow;
use std::sync::Arc;

/// How long FUNCTION LOAD may take.
const LOAD_TIME_MAX_MS: u64 = 500;
/// Bytes of code that a payload may unfold to.
const RESTORED_BYTES_MAX: usize = 1 << 30;

/// What FUNCTION and its subcommands have in common.
const FUNCTION_ROW: Spec = Spec { group: Group::Scripting, flags: Flags::NOSCRIPT, since: "7.0.0", ..ROW };
const CHANGING_ROW: Spec =
    Spec { flags: Flags::NOSCRIPT.and(Flags::WRITE), scope: Scope::Whole, complexity: "O(1)", ..FUNCTION_ROW };
const FCALL_ROW: Spec = Spec {
    arity: Arity::AtLeast(3),
    flags: RUNS_SCRIPT.and(Flags::MAY_REPLICATE),
    keys: Keys::Counted { count_at: 2, also: 0, step: 1 },
    scope: Scope::Script,
    complexity: "Depends on the function that is executed.",
    syntax: "function numkeys [key [key ...]] [arg [arg ...]]",
    ..FUNCTION_ROW
};

static FCALL: Spec =
    Spec { name: "fcall", summary: "Calls a function.", handler: |call| fcall(call, &FCALL), ..FCALL_ROW };
static FCALL_RO: Spec = Spec {
    name: "fcall_ro",
    flags: RUNS_SCRIPT.and(Flags::READONLY),
    summary: "Calls a function that changes nothing.",
    handler: |call| fcall(call, &FCALL_RO),
    ..FCALL_ROW
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    FCALL,
    FCALL_RO,
    Spec {
        name: "function",
        arity: Arity::AtLeast(2),
        flags: Flags::NONE,
        complexity: "Depends on subcommand.",
        summary: "A container for commands about functions.",
        syntax: "subcommand [arg [arg ...]]",
        handler: help,
        subcommands: SUBCOMMANDS,
        ..FUNCTION_ROW
    },
];

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "delete",
        arity: Arity::Exactly(3),
        summary: "Deletes a library and its functions.",
        syntax: "library-name",
        handler: delete,
        ..CHANGING_ROW
    },
    Spec {
        name: "dump",
        arity: Arity::Exactly(2),
        scope: Scope::Each,
        complexity: "O(N) where N is the number of libraries",
        summary: "Returns all libraries in serialized form.",
        handler: dump,
        ..FUNCTION_ROW
    },
    Spec {
        name: "flush",
        arity: Arity::AtLeast(2),
        complexity: "O(N) where N is the number of functions deleted",
        summary: "Deletes all libraries.",
        syntax: "[ASYNC | SYNC]",
        handler: flush,
        ..CHANGING_ROW
    },
    Spec { since: "7.0.0", group: Group::Scripting, ..HELP },
    Spec {
        name: "kill",
        arity: Arity::Exactly(2),
        flags: Flags::NOSCRIPT.and(Flags::RUNS_WHEN_BUSY),
        summary: "Stops the running function, unless it has written.",
        handler: kill,
        ..FUNCTION_ROW
    },
    Spec {
        name: "list",
        arity: Arity::AtLeast(2),
        scope: Scope::Each,
        complexity: "O(N) where N is the number of functions",
        summary: "Lists the libraries and their functions.",
        syntax: "[LIBRARYNAME library-name-pattern] [WITHCODE]",
        handler: list,
        ..FUNCTION_ROW
    },
    Spec {
        name: "load",
        arity: Arity::AtLeast(3),
        flags: CHANGING_ROW.flags.and(Flags::DENYOOM),
        summary: "Adds a library.",
        syntax: "[REPLACE] function-code",
        handler: load,
        ..CHANGING_ROW
    },
    Spec {
        name: "restore",
        arity: Arity::AtLeast(3),
        flags: CHANGING_ROW.flags.and(Flags::DENYOOM),
        complexity: "O(N) where N is the number of functions on the payload",
        summary: "Adds the libraries of what FUNCTION DUMP returned.",
        syntax: "serialized-value [FLUSH | APPEND | REPLACE]",
        handler: restore,
        ..CHANGING_ROW
    },
    Spec {
        name: "stats",
        arity: Arity::Exactly(2),
        flags: Flags::NOSCRIPT.and(Flags::RUNS_WHEN_BUSY),
        summary: "Says which function is running, and how many there are.",
        handler: stats,
        ..FUNCTION_ROW
    },
];

fn libraries<'c>(call: &Call<'c>) -> &'c Libraries {
    call.host.scripts().libraries()
}

fn delete(call: &mut Call<'_>) -> Result<Flow, Error> {
    let name = call.arg(2);
    if !libraries(call).change(|catalog| catalog.remove(name)) {
        return Err(Error::text("ERR Library not found"));
    }
    call.tx.delete_library(name);
    call.reply.ok();
    Ok(Flow::Done)
}

/// Waits until what is seen of libraries can be answered for.
fn reveal(call: &mut Call<'_>) {
    // Breaks at the first partition, which is theirs.
    let _: ControlFlow<()> = call.tx.each_partition(LIBRARY_PARTITION, |_, _| ControlFlow::Break(()));
}

fn dump(call: &mut Call<'_>) -> Result<Flow, Error> {
    let libraries: Vec<_> = libraries(call).read(|catalog| catalog.libraries().cloned().collect());
    reveal(call);
    let mut payload = Vec::new();
    rdb::dump_functions(&mut payload, libraries.iter().map(|library: &Arc<Library>| &*library.code));
    call.reply.bulk(&payload);
    Ok(Flow::Done)
}

fn flush(call: &mut Call<'_>) -> Result<Flow, Error> {
    match call.arg_count() {
        2 => {}
        3 if call.is_word(2, "ASYNC") || call.is_word(2, "SYNC") => {}
        3 => return Err(Error::text("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")),
        _ => return Err(too_many(call)),
    }
    forget_all(call);
    call.host.scripts().renew_functions();
    call.reply.ok();
    Ok(Flow::Done)
}

fn forget_all(call: &mut Call<'_>) {
    if libraries(call).change(std::mem::take).libraries().len() > 0 {
        call.tx.flush_libraries();
    }
}

fn too_many(call: &Call<'_>) -> Error {
    let subcommand = String::from_utf8_lossy(call.arg(1)).into_owned();
    refuse!("ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try FUNCTION HELP.")
}

fn kill(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.host.scripts().kill(false)?;
    call.reply.ok();
    Ok(Flow::Done)
}

fn list(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (mut pattern, mut with_code, mut index) = (None, false, 2);
    while index < call.arg_count() {
        if !with_code && call.is_word(index, "WITHCODE") {
            with_code = true;
        } else if pattern.is_none() && call.is_word(index, "LIBRARYNAME") {
            index += 1;
            if index == call.arg_count() {
                return Err(Error::text("ERR library name argument was not given"));
            }
            pattern = Some(call.arg(index));
        } else {
            return Err(refuse!("ERR Unknown argument {}", String::from_utf8_lossy(call.arg(index))));
        }
        index += 1;
    }
    let fits =
        |library: &&Arc<Library>| pattern.is_none_or(|pattern| glob_matches(pattern, &library.name, Case::Insensitive));
    let libraries: Vec<_> = libraries(call).read(|catalog| catalog.libraries().filter(fits).cloned().collect());
    reveal(call);
    call.reply.array(libraries.len());
    for library in libraries {
        describe(call, &library, with_code);
    }
    Ok(Flow::Done)
}

fn describe(call: &mut Call<'_>, library: &Library, with_code: bool) {
    let reply = &mut call.reply;
    reply.map(if with_code { 4 } else { 3 });
    reply.bulk(b"library_name");
    reply.bulk(&library.name);
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(&function.declared.name);
        reply.bulk(b"description");
        match &function.declared.description {
            Some(description) => reply.bulk(description),
            None => reply.null(),
        }
        reply.bulk(b"flags");
        let flags = function.declared.flags.names();
        reply.set(flags.len());
        flags.for_each(|flag| reply.simple(flag));
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.code);
    }
}

fn load(call: &mut Call<'_>) -> Result<Flow, Error> {
    let last = call.arg_count() - 1;
    if let Some(index) = (2..last).find(|index| !call.is_word(*index, "REPLACE")) {
        return Err(refuse!("ERR Unknown option given: {}", String::from_utf8_lossy(call.arg(index))));
    }
    let code = call.arg(last);
    let name = name_of(code)?;
    let is_there = libraries(call).read(|catalog| catalog.library(&name).is_some());
    if is_there && last == 2 {
        return Err(refuse!("ERR Library '{}' already exists", String::from_utf8_lossy(&name)));
    }
    let library = make(call.host, name.clone(), code, Some(LOAD_TIME_MAX_MS))?;
    libraries(call).change(|catalog| catalog.put(library))?;
    call.tx.put_library(&name, code);
    call.reply.bulk(&name);
    Ok(Flow::Done)
}

/// What becomes of the libraries that are there when others are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Append,
    Replace,
    Flush,
}

fn policy(call: &Call<'_>) -> Result<Policy, Error> {
    match call.arg_count() {
        3 => Ok(Policy::Append),
        4 if call.is_word(3, "APPEND") => Ok(Policy::Append),
        4 if call.is_word(3, "REPLACE") => Ok(Policy::Replace),
        4 if call.is_word(3, "FLUSH") => Ok(Policy::Flush),
        4 => Err(Error::text("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.")),
        _ => Err(too_many(call)),
    }
}

/// The libraries of a payload, which must get on with each other.
fn restored(call: &Call<'_>) -> Result<Catalog, Error> {
    let codes = rdb::decode_functions(call.arg(2), RESTORED_BYTES_MAX).map_err(|text| refuse!("ERR {text}"))?;
    call.ensure_room(codes.iter().map(Vec::len).sum())?;
    let mut catalog = Catalog::default();
    for code in codes {
        let name = name_of(&code)?;
        if catalog.library(&name).is_some() {
            return Err(refuse!("ERR Library '{}' already exists", String::from_utf8_lossy(&name)));
        }
        catalog.put(make(call.host, name, &code, None)?)?;
    }
    Ok(catalog)
}

/// The libraries that there are, with more of them.
fn joined(mut all: Catalog, more: &Catalog, policy: Policy) -> Result<Catalog, Error> {
    for library in more.libraries() {
        if all.remove(&library.name) && policy == Policy::Append {
            return Err(refuse!("ERR Library {} already exists", String::from_utf8_lossy(&library.name)));
        }
    }
    for library in more.libraries() {
        all.put(Arc::clone(library))?;
    }
    Ok(all)
}

fn restore(call: &mut Call<'_>) -> Result<Flow, Error> {
    let policy = policy(call)?;
    let more = restored(call)?;
    if policy == Policy::Flush {
        forget_all(call);
        libraries(call).change(|catalog| *catalog = more.clone());
    } else {
        let whole = joined(libraries(call).read(Catalog::clone), &more, policy)?;
        libraries(call).change(|catalog| *catalog = whole);
    }
    for library in more.libraries() {
        call.tx.put_library(&library.name, &library.code);
    }
    call.reply.ok();
    Ok(Flow::Done)
}

/// Answered while a function is slow and everything may be locked, so it counts what there is, journaled or not.
fn stats(call: &mut Call<'_>) -> Result<Flow, Error> {
    let scripts = call.host.scripts();
    let running = scripts.running();
    if let Some(error) = scripts.busy_error().filter(|_| running.iter().all(|running| running.about.is_eval)) {
        return Err(error);
    }
    let (libraries_count, functions_count) =
        scripts.libraries().read(|catalog| (catalog.libraries().len(), catalog.function_count()));
    let reply = &mut call.reply;
    reply.map(2);
    reply.bulk(b"running_script");
    match running.iter().find(|running| !running.about.is_eval) {
        None => reply.null(),
        Some(running) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(&running.about.name);
            reply.bulk(b"command");
            reply.array(running.about.command.len());
            running.about.command.iter().for_each(|arg| reply.bulk(arg));
            reply.bulk(b"duration_ms");
            reply.integer(running.duration_ms() as i64);
        }
    }
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.integer(libraries_count as i64);
    reply.bulk(b"functions_count");
    reply.integer(functions_count as i64);
    Ok(Flow::Done)
}
