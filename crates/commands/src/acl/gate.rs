//! Where commands are checked: before they run or are queued, once more when EXEC runs them, and when a script calls
//! them. What is refused is counted and logged here, and nowhere else.
//!
//! Source: `processCommand`, `execCommand` and `scriptCall` of Valkey 9.1 for texts.

use super::check::{Denied, Reason, check, check_reading_all};
use super::log::Entry;
use super::users::Account;
use crate::call::Call;
use crate::client::line_of;
use crate::error::Error;
use crate::host::Host;
use crate::refuse;
use crate::run::{self, Resolved};
use crate::session::Session;
use crate::table;
use base::DbId;
use wire::args::Args;

/// Entries of the log where no setting says otherwise.
const LOG_COUNT: usize = 128;

/// Who asks for a command to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    /// The client.
    Toplevel,
    /// The client, for EXEC to run it.
    Multi,
    /// A script.
    Script,
}

impl Context {
    fn name(self) -> &'static str {
        match self {
            Context::Toplevel => "toplevel",
            Context::Multi => "multi",
            Context::Script => "lua",
        }
    }

    /// Of a command that a client sends now.
    pub fn of(session: &Session) -> Context {
        let is_open = session.transaction.as_ref().is_some_and(|transaction| transaction.is_open());
        if is_open { Context::Multi } else { Context::Toplevel }
    }
}

/// Whether the session's user may run this command, which the client sends now.
///
/// # Cost
/// One look at a flag for a user who may do everything.
#[inline]
pub(crate) fn permit(host: &dyn Host, session: &Session, resolved: Resolved, args: &Args<'_>) -> Result<(), Error> {
    if session.user.is_limited() { permit_limited(host, session, resolved, args) } else { Ok(()) }
}

#[cold]
fn permit_limited(host: &dyn Host, session: &Session, resolved: Resolved, args: &Args<'_>) -> Result<(), Error> {
    if !session.is_authenticated {
        return Ok(()); // It is refused, or about to log in.
    }
    let denied = ensure(host, session, resolved, args, Context::of(session));
    denied.map_err(|denied| refuse!("NOPERM {}", refusal(&session.user, denied, resolved)))
}

/// As [`permit`] for a command that was permitted when it was queued, or that a script calls: its keys and channels may
/// be others by now, or its user's rules.
#[inline]
pub(crate) fn permit_again(
    host: &dyn Host,
    session: &Session,
    resolved: Resolved,
    args: &Args<'_>,
    context: Context,
) -> Result<(), Error> {
    if !session.user.is_limited() {
        return Ok(());
    }
    ensure(host, session, resolved, args, context).map_err(|denied| match context {
        Context::Script => refuse!("ERR ACL failure in script: {}", refusal(&session.user, denied, resolved)),
        Context::Toplevel | Context::Multi => refuse!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
             command is no longer allowed for the following reason: {}",
            match denied.reason {
                Reason::Command => "no permission to execute the command or subcommand",
                Reason::Key => "no permission to touch the specified keys",
                Reason::Channel => "no permission to access one of the channels used as arguments",
                Reason::Database | Reason::Auth => "no permission",
            }
        ),
    })
}

/// Checks a command, and notes its refusal.
fn ensure(
    host: &dyn Host,
    session: &Session,
    resolved: Resolved,
    args: &Args<'_>,
    context: Context,
) -> Result<(), Denied> {
    check(&session.user.user(), resolved, args, db_of(session)).inspect_err(|denied| {
        let object = match denied.at {
            0 => table::full_name(resolved.number()).into_bytes(),
            at => args.at(at).to_vec(),
        };
        note(host, session, denied.reason, context, object, session.user.name());
    })
}

/// The database in which a command will run: in a transaction, the one that was selected last.
fn db_of(session: &Session) -> DbId {
    let selected = session.transaction.as_ref().and_then(|transaction| transaction.selected());
    selected.unwrap_or(session.db)
}

/// Counts and logs a refusal.
fn note(host: &dyn Host, session: &Session, reason: Reason, context: Context, object: Vec<u8>, username: &[u8]) {
    let now_ms = host.wall_us() / 1_000;
    let count_max = host.setting("acllog-max-len").and_then(|count| count.parse().ok()).unwrap_or(LOG_COUNT);
    let entry = Entry {
        count: 1,
        reason,
        context: context.name(),
        object,
        username: username.to_vec(),
        client_info: line_of(host, session.id),
        id: 0,
        created_ms: now_ms,
        updated_ms: now_ms,
    };
    host.users().count(reason);
    host.users().log().lock().note(entry, count_max);
}

/// Counts and logs a failed attempt to log in.
pub(crate) fn note_login(call: &Call<'_>, username: &[u8]) {
    let context = if call.may_wait { Context::of(call.session) } else { Context::Multi };
    note(call.host, call.session, Reason::Auth, context, call.arg(0).to_vec(), username);
}

fn refusal(account: &Account, denied: Denied, resolved: Resolved) -> String {
    match denied.reason {
        Reason::Command => format!(
            "User {} has no permissions to run the '{}' command",
            String::from_utf8_lossy(account.name()),
            table::full_name(resolved.number())
        ),
        Reason::Key => "No permissions to access a key".to_owned(),
        Reason::Channel => "No permissions to access a channel".to_owned(),
        Reason::Database | Reason::Auth => "No permissions to access database".to_owned(),
    }
}

/// Whether the user may run this command with any key for it to read, as BY and GET of SORT need.
pub(crate) fn may_read_any_key(call: &Call<'_>) -> bool {
    let account = &call.session.user;
    let resolved = || run::resolve(&call.args).expect("the command runs");
    !account.is_limited() || check_reading_all(&account.user(), resolved(), &call.args, call.session.db)
}

/// Whether the user may still run the command that runs; nothing is noted.
pub(crate) fn is_permitted(call: &Call<'_>) -> bool {
    !call.session.user.is_limited()
        || run::resolve(&call.args).is_ok_and(|resolved| may_run(call.session, resolved, &call.args))
}

/// Whether the session's user may run this command; nothing is noted.
pub(crate) fn may_run(session: &Session, resolved: Resolved, args: &Args<'_>) -> bool {
    !session.user.is_limited() || check(&session.user.user(), resolved, args, session.db).is_ok()
}
