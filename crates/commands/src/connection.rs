//! Commands about the connection itself: who it is, which protocol it speaks, which database it uses.
//!
//! Deliberately not here: CLIENT and its subcommands (`client.rs`).

use crate::acl;
use crate::call::{Call, Flow};
use crate::error::Error;
use crate::refuse;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{Dbs, Touches};
use base::number::parse_i64;
use base::{DB_COUNT, DbId};
use wire::reply::Protocol;

/// The release of Redis whose behaviour clients may expect: many choose what to send by it.
pub const REDIS_VERSION: &str = "7.2.4";
/// Larder's own release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What the server calls itself.
pub const SERVER_NAME: &str = "larder";

const WRONG_PASSWORD: Error = Error::text("WRONGPASS invalid username-password pair or user is disabled.");

/// What the rows here have in common.
const ROW: Spec = Spec {
    name: "",
    arity: Arity::Exactly(1),
    flags: Flags::FAST.and(Flags::LOADING).and(Flags::STALE),
    keys: Keys::None,
    scope: Scope::Nothing,
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "",
    syntax: "",
    handler: ping,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

const BEFORE_AUTH: Flags = ROW.flags.and(Flags::NO_AUTH).and(Flags::NOSCRIPT).and(Flags::RUNS_WHEN_BUSY);

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "auth",
        arity: Arity::AtLeast(2),
        flags: BEFORE_AUTH,
        summary: "Authenticates the connection.",
        syntax: "[username] password",
        handler: auth,
        ..ROW
    },
    crate::client::CLIENT,
    Spec {
        name: "echo",
        arity: Arity::Exactly(2),
        summary: "Returns the given string.",
        syntax: "message",
        handler: echo,
        ..ROW
    },
    Spec {
        name: "hello",
        arity: Arity::AtLeast(1),
        flags: BEFORE_AUTH,
        since: "6.0.0",
        summary: "Says what the server is, and sets the protocol of the connection.",
        syntax: "[protover [AUTH username password] [SETNAME clientname]]",
        handler: hello,
        ..ROW
    },
    Spec {
        name: "ping",
        arity: Arity::AtLeast(1),
        flags: ROW.flags.and(Flags::SUBSCRIBER),
        summary: "Returns PONG, or the message it was given.",
        syntax: "[message]",
        ..ROW
    },
    Spec {
        name: "quit",
        arity: Arity::AtLeast(1),
        flags: BEFORE_AUTH.and(Flags::SUBSCRIBER).and(Flags::UNQUEUED),
        summary: "Closes the connection.",
        handler: quit,
        ..ROW
    },
    Spec {
        name: "readonly",
        since: "3.0.0",
        summary: "Lets a replica answer this connection's reads.",
        handler: readonly,
        ..ROW
    },
    Spec { name: "readwrite", since: "3.0.0", summary: "Takes READONLY back.", handler: readwrite, ..ROW },
    Spec {
        name: "reset",
        flags: BEFORE_AUTH.and(Flags::SUBSCRIBER).and(Flags::UNQUEUED),
        since: "6.2.0",
        summary: "Makes the connection as it was when it was accepted.",
        handler: reset,
        ..ROW
    },
    Spec {
        name: "select",
        touches: Touches::BY_FLAGS.reaching(Dbs::At(&[1])),
        arity: Arity::Exactly(2),
        flags: ROW.flags.and(Flags::RUNS_WHEN_BUSY),
        summary: "Changes the selected database.",
        syntax: "index",
        handler: select,
        ..ROW
    },
];

fn ping(call: &mut Call<'_>) -> Result<Flow, Error> {
    if call.session.only_listens() && call.arg_count() <= 2 {
        call.reply.array(2);
        call.reply.bulk(b"pong");
        call.reply.bulk(call.args.nth(1).unwrap_or_default());
        return Ok(Flow::Done);
    }
    match call.arg_count() {
        1 => call.reply.simple("PONG"),
        2 => call.reply.bulk(call.args.at(1)),
        _ => return Err(Error::text("ERR wrong number of arguments for 'ping' command")),
    }
    Ok(Flow::Done)
}

fn echo(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.bulk(call.args.at(1));
    Ok(Flow::Done)
}

fn quit(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.reply.ok();
    Ok(Flow::Close)
}

fn select(call: &mut Call<'_>) -> Result<Flow, Error> {
    let db = call.integer(1)?;
    if i32::try_from(db).is_err() {
        return Err(Error::text("ERR value is out of range, value must between -2147483648 and 2147483647"));
    }
    if !(0..DB_COUNT as i64).contains(&db) {
        return Err(Error::text("ERR DB index is out of range"));
    }
    call.session.db = DbId(db as u8);
    call.host.clients().update(call.session);
    call.reply.ok();
    Ok(Flow::Done)
}

fn readonly(call: &mut Call<'_>) -> Result<Flow, Error> {
    set_readonly(call, true)
}

fn readwrite(call: &mut Call<'_>) -> Result<Flow, Error> {
    set_readonly(call, false)
}

fn set_readonly(call: &mut Call<'_>, readonly: bool) -> Result<Flow, Error> {
    call.session.readonly = readonly;
    call.host.clients().update(call.session);
    call.reply.ok();
    Ok(Flow::Done)
}

fn reset(call: &mut Call<'_>) -> Result<Flow, Error> {
    call.host.channels().forget(call.session.id);
    crate::client_tracking::stop(call);
    call.session.reset(call.host.users());
    call.host.clients().update(call.session);
    call.reply.switch(call.session.protocol);
    call.reply.simple("RESET");
    Ok(Flow::Done)
}

fn auth(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (user, password): (&[u8], &[u8]) = match call.arg_count() {
        2 if call.host.users().default().user().is_open() => {
            return Err(Error::text(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ));
        }
        2 => (b"default", call.arg(1)),
        3 => (call.arg(1), call.arg(2)),
        _ => return Err(Error::Syntax),
    };
    log_in(call, user, password)?;
    call.reply.ok();
    Ok(Flow::Done)
}

/// A failed attempt leaves a connection that had logged in as it was.
fn log_in(call: &mut Call<'_>, user: &[u8], password: &[u8]) -> Result<(), Error> {
    let Some(account) = call.host.users().log_in(user, password) else {
        acl::note_login(call, user);
        return Err(WRONG_PASSWORD);
    };
    call.session.user = account;
    call.session.is_authenticated = true;
    call.host.clients().update(call.session);
    Ok(())
}

/// What HELLO was asked for.
struct Hello<'c> {
    protocol: Option<Protocol>,
    login: Option<(&'c [u8], &'c [u8])>,
    name: Option<&'c [u8]>,
}

fn hello_options<'c>(call: &Call<'c>) -> Result<Hello<'c>, Error> {
    let mut hello = Hello { protocol: None, login: None, name: None };
    if 1 < call.arg_count() {
        let version =
            parse_i64(call.arg(1)).ok_or(Error::text("ERR Protocol version is not an integer or out of range"))?;
        hello.protocol = Some(match version {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(Error::text("NOPROTO unsupported protocol version")),
        });
    }
    let mut at = 2;
    while at < call.arg_count() {
        let more = call.arg_count() - 1 - at;
        if call.is_word(at, "AUTH") && 2 <= more {
            hello.login = Some((call.arg(at + 1), call.arg(at + 2)));
            at += 3;
        } else if call.is_word(at, "SETNAME") && 1 <= more {
            let name = call.arg(at + 1);
            crate::client::check_name(name)?;
            hello.name = Some(name);
            at += 2;
        } else {
            return Err(refuse!("ERR Syntax error in HELLO option '{}'", String::from_utf8_lossy(call.arg(at))));
        }
    }
    Ok(hello)
}

fn hello(call: &mut Call<'_>) -> Result<Flow, Error> {
    let Hello { protocol, login, name } = hello_options(call)?;
    if let Some((user, password)) = login {
        log_in(call, user, password)?;
    }
    if !call.session.is_authenticated {
        return Err(Error::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
             the same time",
        ));
    }
    if let Some(name) = name {
        call.session.name = name.to_vec();
    }
    if let Some(protocol) = protocol {
        call.session.protocol = protocol;
        call.reply.switch(protocol);
    }
    call.host.clients().update(call.session);
    hello_reply(call);
    Ok(Flow::Done)
}

fn hello_reply(call: &mut Call<'_>) {
    let zone = call.host.setting("availability-zone").filter(|zone| !zone.is_empty());
    let reply = &mut call.reply;
    reply.map(7 + usize::from(zone.is_some()));
    for (name, value) in [("server", SERVER_NAME), ("version", REDIS_VERSION)] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(match reply.protocol() {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    });
    reply.bulk(b"id");
    reply.integer(call.session.id as i64);
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    if let Some(zone) = zone {
        reply.bulk(b"availability_zone");
        reply.bulk(zone.as_bytes());
    }
}
