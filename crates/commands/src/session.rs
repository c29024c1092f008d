//! What a connection is between two commands: its database, protocol, name and modes.
//!
//! Deliberately not here: its socket, buffers and statistics, which the server keeps.

use crate::acl::{Account, Users};
use crate::error::Error;
use crate::exec;
use crate::hustdb_walk::Walk;
use crate::script_debug::DebugMode;
use crate::script_run::Located;
use crate::spec::{Flags, Scope, Spec};
use crate::transaction::Transaction;
use crate::waiting::Waiter;
use base::DbId;
use std::sync::Arc;
use wire::reply::Protocol;

/// Which replies a connection wants (CLIENT REPLY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    /// All.
    On,
    /// None.
    Off,
    /// Not the next one.
    SkipNext,
    /// Not that of the command being run, unless it changes the mode.
    Skipping,
}

/// Which of its reads a connection caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// All.
    All,
    /// It is told by prefix, whatever it reads.
    ByPrefix,
    /// Those after CLIENT CACHING YES.
    OptIn {
        /// Whether that was said.
        is_given: bool,
    },
    /// All but those after CLIENT CACHING NO.
    OptOut {
        /// Whether that was said.
        is_given: bool,
    },
}

impl Caching {
    /// Whether what is read now is cached.
    pub fn caches(self) -> bool {
        match self {
            Caching::All => true,
            Caching::ByPrefix => false,
            Caching::OptIn { is_given } => is_given,
            Caching::OptOut { is_given } => !is_given,
        }
    }

    /// What CLIENT CACHING said is over.
    #[must_use]
    pub fn forgetting(self) -> Caching {
        match self {
            Caching::OptIn { .. } => Caching::OptIn { is_given: false },
            Caching::OptOut { .. } => Caching::OptOut { is_given: false },
            other => other,
        }
    }
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Session {
    /// The connection's number, never used twice.
    pub id: u64,
    /// The selected database.
    pub db: DbId,
    /// RESP2 or RESP3.
    pub protocol: Protocol,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_version: Vec<u8>,
    /// Who is logged in, or will have to.
    pub user: Arc<Account>,
    /// Whether AUTH was passed, or none is asked for.
    pub is_authenticated: bool,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// CLIENT IMPORT-SOURCE: what has ended is there for it while `import-mode` keeps it.
    pub imports: bool,
    /// CLIENT CAPA REDIRECT.
    pub redirects: bool,
    /// READONLY.
    pub readonly: bool,
    /// MONITOR: the connection is shown the commands of all.
    pub monitors: bool,
    /// Channels and patterns it has subscribed to.
    pub subscription_count: usize,
    /// CLIENT TRACKING: which reads it wants to be told of when they change.
    pub caching: Option<Caching>,
    /// It does not want to be told of what it changes itself.
    pub caches_no_loop: bool,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// End of the last batch this connection wrote: what WAIT and WAITAOF are about.
    pub written: journal::Position,
    /// The version of that batch, if one partition was all it touched.
    pub written_version: base::Version,
    /// End of everything its replies have revealed.
    pub revealed: journal::Position,
    /// The script that the command being run names.
    pub(crate) located: Option<Located>,
    /// SCRIPT DEBUG: its scripts are run under a debugger.
    pub debugs: Option<DebugMode>,
    /// MULTI and WATCH; `None` while neither is in use.
    pub transaction: Option<Box<Transaction>>,
    /// A walk of HUSTDB over everything that has stopped until a value is fetched.
    pub(crate) walk: Option<Box<Walk>>,
    /// The command that waits, while it is run anew in its turn.
    pub waiter: Option<Arc<Waiter>>,
    /// Who runs its commands goes on with replies that come in slices ([`Flow::Begun`](crate::Flow::Begun)); to others they
    /// come whole.
    pub takes_slices: bool,
}

impl Session {
    /// A connection that has just been accepted.
    pub fn new(id: u64, users: &Users) -> Self {
        Session {
            id,
            db: DbId(0),
            protocol: Protocol::Resp2,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_version: Vec::new(),
            user: Arc::clone(users.default()),
            is_authenticated: users.default_is_open(),
            no_evict: false,
            no_touch: false,
            imports: false,
            redirects: false,
            readonly: false,
            monitors: false,
            subscription_count: 0,
            caching: None,
            debugs: None,
            caches_no_loop: false,
            reply_mode: ReplyMode::On,
            written: journal::Position::ZERO,
            written_version: base::Version(0),
            revealed: journal::Position::ZERO,
            located: None,
            transaction: None,
            walk: None,
            waiter: None,
            takes_slices: false,
        }
    }

    /// Back to how the connection was accepted (RESET).
    pub fn reset(&mut self, users: &Users) {
        *self = Session {
            written: self.written,
            revealed: self.revealed,
            takes_slices: self.takes_slices,
            lib_name: std::mem::take(&mut self.lib_name),
            lib_version: std::mem::take(&mut self.lib_version),
            ..Session::new(self.id, users)
        };
    }

    /// A command was refused before it got to run: what is queued will not run either.
    #[cold]
    pub fn refused(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.abort();
        }
    }

    /// What to answer a command with that is turned away because of `error`: EXEC takes what is queued along.
    #[cold]
    pub fn turn_away(&mut self, spec: &Spec, error: Error) -> Error {
        if spec.scope != Scope::Queued {
            return error;
        }
        self.transaction = None;
        exec::discarded(&error)
    }

    /// The flags by which a command is let run: EXEC brings along those of what is queued.
    #[inline]
    pub fn flags_of(&self, spec: &Spec) -> Flags {
        match &self.transaction {
            Some(transaction) if spec.scope == Scope::Queued => spec.flags | transaction.flags(),
            _ => spec.flags,
        }
    }

    /// Whether a command with this row would wait for EXEC.
    #[inline]
    pub fn queues(&self, spec: &Spec) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.is_open()) && !spec.flags.has(Flags::UNQUEUED)
    }

    /// What CLIENT CACHING said is over, unless a transaction has been opened for which it holds.
    #[cold]
    pub fn forget_caching(&mut self) {
        if !self.transaction.as_ref().is_some_and(|transaction| transaction.is_open()) {
            self.caching = self.caching.map(Caching::forgetting);
        }
    }

    /// Whether it may run only what subscribers may: RESP2 has no other way to tell messages from replies.
    #[inline]
    pub fn only_listens(&self) -> bool {
        self.subscription_count != 0 && self.protocol == Protocol::Resp2
    }

    /// To be called before each command.
    #[inline]
    pub fn begin_reply(&mut self) {
        if self.reply_mode == ReplyMode::SkipNext {
            self.reply_mode = ReplyMode::Skipping;
        }
    }

    /// To be called after each command: whether its reply goes out.
    #[inline]
    pub fn end_reply(&mut self) -> bool {
        match self.reply_mode {
            ReplyMode::On | ReplyMode::SkipNext => true,
            ReplyMode::Off => false,
            ReplyMode::Skipping => {
                self.reply_mode = ReplyMode::On;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a command that sets the mode to `change`, if any; whether its reply goes out.
    fn run(session: &mut Session, change: Option<ReplyMode>) -> bool {
        session.begin_reply();
        session.reply_mode = change.unwrap_or(session.reply_mode);
        session.end_reply()
    }

    #[test]
    fn skip_silences_one_command_and_off_all_until_on() {
        let mut session = Session::new(1, &Users::new(b""));
        assert!(run(&mut session, None));
        run(&mut session, Some(ReplyMode::SkipNext));
        assert!(!run(&mut session, None));
        assert!(run(&mut session, None));
        run(&mut session, Some(ReplyMode::SkipNext));
        assert!(run(&mut session, Some(ReplyMode::On)), "REPLY ON is answered, skipped or not");
        assert!(run(&mut session, None));
        assert!(!run(&mut session, Some(ReplyMode::Off)));
        assert!(!run(&mut session, None));
        assert!(run(&mut session, Some(ReplyMode::On)));
    }
}
