//! CLIENT: this connection and the others.
//!
//! Deliberately not here: which connections CLIENT LIST and CLIENT KILL mean (`client_filter.rs`), tracking
//! (`client_tracking.rs`).

use crate::call::{Call, Flow};
use crate::client_filter;
use crate::client_tracking;
use crate::error::Error;
use crate::help::{HELP, help};
use crate::host::{ClientView, Host, PauseMode, Unblock};
use crate::refuse;
use crate::session::ReplyMode;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::table;
use crate::touches::Touches;
use base::TimeMs;
use base::number::parse_i64;
use wire::reply::Protocol;

/// What the rows here have in common.
const ROW: Spec = Spec {
    name: "",
    arity: Arity::Exactly(2),
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::RUNS_WHEN_BUSY),
    keys: Keys::None,
    scope: Scope::Nothing,
    group: Group::Connection,
    since: "2.4.0",
    complexity: "O(1)",
    summary: "",
    syntax: "",
    handler: id,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

const ADMIN: Flags = ROW.flags.and(Flags::ADMIN).and(Flags::DANGEROUS);

const FILTERS: &str = "[<ID | NOT-ID> client-id [client-id ...]] \
                       [<TYPE | NOT-TYPE> <NORMAL | MASTER | REPLICA | PUBSUB>] [<USER | NOT-USER> username] \
                       [<ADDR | NOT-ADDR> ip:port] [<LADDR | NOT-LADDR> ip:port] [<IP | NOT-IP> ip] \
                       [<NAME | NOT-NAME> name] [<LIB-NAME | NOT-LIB-NAME> libname] \
                       [<LIB-VER | NOT-LIB-VER> libver] [<DB | NOT-DB> index] [<FLAGS | NOT-FLAGS> letters] \
                       [<CAPA | NOT-CAPA> letters] [SKIPME <YES | NO>] [MAXAGE seconds] [IDLE seconds]";

/// The row of CLIENT.
pub const CLIENT: Spec = Spec {
    name: "client",
    arity: Arity::AtLeast(2),
    complexity: "Depends on subcommand.",
    summary: "A container for commands about connections.",
    syntax: "subcommand [arg [arg ...]]",
    handler: help,
    subcommands: SUBCOMMANDS,
    ..ROW
};

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "caching",
        arity: Arity::Exactly(3),
        since: "6.0.0",
        summary: "Says whether the next command's keys are tracked, after CLIENT TRACKING OPTIN or OPTOUT.",
        syntax: "<YES | NO>",
        handler: client_tracking::caching,
        ..ROW
    },
    Spec {
        name: "capa",
        arity: Arity::AtLeast(3),
        since: "larder 0.1",
        summary: "Notes what the client is capable of.",
        syntax: "capability [capability ...]",
        handler: capa,
        ..ROW
    },
    Spec { name: "getname", since: "2.6.9", summary: "Returns the name of the connection.", handler: getname, ..ROW },
    Spec {
        name: "getredir",
        since: "6.0.0",
        summary: "Returns the connection that tracking is redirected to; -1 while tracking is off.",
        handler: client_tracking::getredir,
        ..ROW
    },
    HELP,
    Spec { name: "id", since: "5.0.0", summary: "Returns the number of the connection.", ..ROW },
    Spec {
        name: "import-source",
        arity: Arity::Exactly(3),
        flags: ADMIN,
        since: "8.1.0",
        summary: "Says whether the connection imports data, which may have ended, while `import-mode` is on.",
        syntax: "<ON | OFF>",
        handler: import_source,
        ..ROW
    },
    Spec {
        name: "info",
        since: "6.2.0",
        summary: "Returns the connection's line of CLIENT LIST.",
        handler: info,
        ..ROW
    },
    Spec {
        name: "kill",
        arity: Arity::AtLeast(3),
        flags: ADMIN,
        complexity: "O(N) where N is the number of connections",
        summary: "Closes connections.",
        syntax: FILTERS,
        handler: kill,
        ..ROW
    },
    Spec {
        name: "list",
        arity: Arity::AtLeast(2),
        flags: ADMIN,
        complexity: "O(N) where N is the number of connections",
        summary: "Lists connections.",
        syntax: FILTERS,
        handler: list,
        ..ROW
    },
    Spec {
        name: "no-evict",
        arity: Arity::Exactly(3),
        flags: ADMIN,
        since: "7.0.0",
        summary: "Excludes the connection from being closed when memory is short.",
        syntax: "<ON | OFF>",
        handler: no_evict,
        ..ROW
    },
    Spec {
        name: "no-touch",
        arity: Arity::Exactly(3),
        since: "7.2.0",
        summary: "Keeps the connection's reads from counting as uses of keys.",
        syntax: "<ON | OFF>",
        handler: no_touch,
        ..ROW
    },
    Spec {
        name: "pause",
        arity: Arity::AtLeast(3),
        flags: ADMIN,
        since: "3.0.0",
        summary: "Holds commands back for a while.",
        syntax: "timeout [WRITE | ALL]",
        handler: pause,
        ..ROW
    },
    Spec {
        name: "reply",
        arity: Arity::Exactly(3),
        flags: ROW.flags.and(Flags::NO_MULTI),
        since: "3.2.0",
        summary: "Says which replies the connection wants.",
        syntax: "<ON | OFF | SKIP>",
        handler: reply,
        ..ROW
    },
    Spec {
        name: "setinfo",
        arity: Arity::Exactly(4),
        since: "7.2.0",
        summary: "Notes the client library and its version.",
        syntax: "<LIB-NAME libname | LIB-VER libver>",
        handler: setinfo,
        ..ROW
    },
    Spec {
        name: "setname",
        arity: Arity::Exactly(3),
        since: "2.6.9",
        summary: "Names the connection.",
        syntax: "connection-name",
        handler: setname,
        ..ROW
    },
    Spec {
        name: "tracking",
        arity: Arity::AtLeast(3),
        since: "6.0.0",
        complexity: "O(N) where N is the number of prefixes",
        summary: "Says whether the connection is told when keys change that it has read.",
        syntax: "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
        handler: client_tracking::tracking,
        ..ROW
    },
    Spec {
        name: "trackinginfo",
        since: "6.2.0",
        summary: "Returns how the connection tracks keys.",
        handler: client_tracking::trackinginfo,
        ..ROW
    },
    Spec {
        name: "unblock",
        arity: Arity::AtLeast(3),
        flags: ADMIN,
        since: "5.0.0",
        summary: "Lets a connection that waits in a blocking command go on.",
        syntax: "client-id [TIMEOUT | ERROR]",
        handler: unblock,
        ..ROW
    },
    Spec { name: "unpause", flags: ADMIN, since: "6.2.0", summary: "Ends CLIENT PAUSE.", handler: unpause, ..ROW },
];

/// Checks a text that CLIENT LIST will show between spaces.
fn is_printable(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

/// Refuses a connection name that would break CLIENT LIST.
pub fn check_name(name: &[u8]) -> Result<(), Error> {
    if is_printable(name) {
        return Ok(());
    }
    Err(Error::text("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// The connection's changed state becomes visible, and the reply is OK.
fn updated(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.host.clients().update(call.session);
    call.reply.ok();
    Ok(Flow::Done)
}

/// Argument `index` as ON or OFF.
fn switch(call: &Call<'_>, index: usize) -> Result<bool, Error> {
    match (call.is_word(index, "ON"), call.is_word(index, "OFF")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(Error::Syntax),
    }
}

fn id(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.integer(call.session.id as i64);
    Ok(Flow::Done)
}

fn capa(call: &mut Call<'_>) -> Result<Flow, Error> {
    if call.args.skip(2).iter().any(|name| name.eq_ignore_ascii_case(b"redirect")) {
        call.session.redirects = true;
    }
    updated(call)
}

fn getname(call: &mut Call<'_>) -> Result<Flow, Error> {
    match &call.session.name[..] {
        b"" => call.reply.null(),
        name => call.reply.bulk(name),
    }
    Ok(Flow::Done)
}

fn setname(call: &mut Call<'_>) -> Result<Flow, Error> {
    let name = call.arg(2);
    check_name(name)?;
    call.session.name = name.to_vec();
    updated(call)
}

fn setinfo(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (attribute, value) = (String::from_utf8_lossy(call.arg(2)), call.arg(3));
    let place = if call.is_word(2, "LIB-NAME") {
        &mut call.session.lib_name
    } else if call.is_word(2, "LIB-VER") {
        &mut call.session.lib_version
    } else {
        return Err(refuse!("ERR Unrecognized option '{attribute}'"));
    };
    if !is_printable(value) {
        return Err(refuse!("ERR {attribute} cannot contain spaces, newlines or special characters."));
    }
    *place = value.to_vec();
    updated(call)
}

fn no_evict(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.session.no_evict = switch(call, 2)?;
    updated(call)
}

fn import_source(call: &mut Call<'_>) -> Result<Flow, Error> {
    if !call.tx.keeps_ended() && !call.is_word(2, "OFF") {
        return Err(Error::text("ERR Server is not in import mode"));
    }
    call.session.imports = switch(call, 2)?;
    updated(call)
}

fn no_touch(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.session.no_touch = switch(call, 2)?;
    updated(call)
}

/// OFF and SKIP write nothing: silence is what they are for.
fn reply(call: &mut Call<'_>) -> Result<Flow, Error> {
    if call.is_word(2, "ON") {
        call.session.reply_mode = ReplyMode::On;
        call.reply.ok();
    } else if call.is_word(2, "OFF") {
        call.session.reply_mode = ReplyMode::Off;
    } else if !call.is_word(2, "SKIP") {
        return Err(Error::Syntax);
    } else if call.session.reply_mode != ReplyMode::Off {
        call.session.reply_mode = ReplyMode::SkipNext;
    }
    Ok(Flow::Done)
}

fn pause(call: &mut Call<'_>) -> Result<Flow, Error> {
    let mode = match call.arg_count() {
        3 => PauseMode::All,
        4 if call.is_word(3, "WRITE") => PauseMode::Write,
        4 if call.is_word(3, "ALL") => PauseMode::All,
        4 => return Err(Error::text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(Error::Syntax),
    };
    let timeout_ms = timeout_ms(call, 2)?;
    let until = call.now().0.checked_add(timeout_ms).ok_or(Error::text("ERR timeout is out of range"))?;
    call.host.clients().pause(mode, TimeMs(until));
    call.reply.ok();
    Ok(Flow::Done)
}

/// Argument `index` as a number of milliseconds to wait.
pub fn timeout_ms(call: &Call<'_>, index: usize) -> Result<i64, Error> {
    match parse_i64(call.arg(index)) {
        None => Err(Error::text("ERR timeout is not an integer or out of range")),
        Some(timeout_ms) if timeout_ms < 0 => Err(Error::text("ERR timeout is negative")),
        Some(timeout_ms) => Ok(timeout_ms),
    }
}

fn unpause(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.host.clients().unpause();
    call.host.expire_now();
    call.reply.ok();
    Ok(Flow::Done)
}

fn unblock(call: &mut Call<'_>) -> Result<Flow, Error> {
    let how = match call.arg_count() {
        3 => Unblock::Timeout,
        4 if call.is_word(3, "TIMEOUT") => Unblock::Timeout,
        4 if call.is_word(3, "ERROR") => Unblock::Error,
        4 => return Err(Error::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => return Err(Error::Syntax),
    };
    let id = call.integer(2)?;
    let unblocked = u64::try_from(id).is_ok_and(|id| call.host.clients().unblock(id, how));
    call.reply.integer(i64::from(unblocked));
    Ok(Flow::Done)
}

fn info(call: &mut Call<'_>) -> Result<Flow, Error> {
    let mut text = Vec::new();
    if let Some(view) = call.host.clients().view(call.session.id) {
        put_line(&view, &mut text);
    }
    call.reply.verbatim(*b"txt", &text);
    Ok(Flow::Done)
}

fn list(call: &mut Call<'_>) -> Result<Flow, Error> {
    if call.arg_count() == 3 {
        return Err(Error::Syntax);
    }
    let filter = client_filter::parse(call, 2)?;
    let mut text = Vec::new();
    for view in call.host.clients().views() {
        if filter.matches(&view, call.session.id) {
            put_line(&view, &mut text);
        }
    }
    call.reply.verbatim(*b"txt", &text);
    Ok(Flow::Done)
}

fn kill(call: &mut Call<'_>) -> Result<Flow, Error> {
    let is_old_form = call.arg_count() == 3;
    let filter = if is_old_form {
        client_filter::Filter::address(call.arg(2))
    } else {
        client_filter::parse(call, 2)?.or_skip_self()
    };
    let own = call.session.id;
    let ids = call.host.clients().views().into_iter().filter(|view| filter.matches(view, own)).map(|view| view.id);
    let (killed, includes_self) = kill_all(call, ids);
    match (is_old_form, killed) {
        (true, 0) => return Err(Error::text("ERR No such client")),
        (true, _) => call.reply.ok(),
        (false, _) => call.reply.count(killed),
    }
    Ok(if includes_self { Flow::Close } else { Flow::Done })
}

/// Closes connections, this one excepted: it closes after its reply. Returns how many, and whether it is among them.
pub(crate) fn kill_all(call: &Call<'_>, ids: impl Iterator<Item = u64>) -> (usize, bool) {
    let (mut killed, mut includes_self) = (0, false);
    for id in ids {
        let is_self = id == call.session.id;
        includes_self |= is_self;
        killed += usize::from(is_self || call.host.clients().kill(id));
    }
    (killed, includes_self)
}

/// The line of CLIENT LIST of one connection, without its end; empty when it is gone.
pub(crate) fn line_of(host: &dyn Host, id: u64) -> Vec<u8> {
    let mut line = Vec::new();
    if let Some(view) = host.clients().view(id) {
        put_line(&view, &mut line);
        line.pop();
    }
    line
}

/// A connection's line of CLIENT LIST. Fields of what this server does not have say that there is none of it.
fn put_line(view: &ClientView, out: &mut Vec<u8>) {
    let mut text = |text: &str| out.extend_from_slice(text.as_bytes());
    text(&format!("id={} addr={} laddr={} fd={} name=", view.id, view.address, view.local_address, view.fd));
    out.extend_from_slice(&view.name);
    let command = view.command.map_or_else(|| "NULL".to_owned(), table::full_name);
    let protocol = match view.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let multi = view.queued_count.map_or(-1, |count| count as i64);
    let middle = format!(
        " age={} idle={} flags={} capa={} db={} sub={} psub={} ssub={} multi={multi} watch={} qbuf={} qbuf-free={} \
         argv-mem=0 multi-mem={} rbs={} rbp={} obl={} oll=0 omem={} tot-mem={} events=r cmd={command} user={} redir={} \
         resp={protocol} lib-name=",
        view.age_seconds,
        view.idle_seconds,
        view.flags,
        view.capabilities,
        view.db.0,
        view.subscriptions.channels,
        view.subscriptions.patterns,
        view.subscriptions.shards,
        view.watched_count,
        view.query_bytes,
        view.query_free_bytes,
        view.queued_bytes,
        view.output_bytes,
        view.output_bytes,
        view.output_bytes,
        view.output_bytes,
        view.memory_bytes,
        String::from_utf8_lossy(&view.user),
        view.tracking.map_or(-1, |tracking| tracking.redirect as i64),
    );
    out.extend_from_slice(middle.as_bytes());
    out.extend_from_slice(&view.lib_name);
    out.extend_from_slice(b" lib-ver=");
    out.extend_from_slice(&view.lib_version);
    let end = format!(
        " tot-net-in={} tot-net-out={} tot-cmds={}\n",
        view.received_bytes, view.sent_bytes, view.command_count
    );
    out.extend_from_slice(end.as_bytes());
}
