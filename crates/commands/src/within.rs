//! Commands that run within another one's transaction: those that EXEC runs, and those that a script calls.
//!
//! ```text
//! locks taken ─► [ command: look, change, reply ] ─► [ command … ] ─► … ─► one journal record ─► unlocked
//! ```
//!
//! Each sees what the ones before it changed, is told to the [`Observer`], and counts by itself. All of their changes
//! are one batch: replayed whole or not at all. Errors stay with the command that made them; nothing is rolled back.
//!
//! Deliberately not here: which commands may run (flags are the caller's to judge), and which partitions are locked:
//! before each command, those of its keys must be.
//!
//! Invariant: a command that runs here runs once. What it needs and was not fetched ahead is read on the spot.
#![expect(unsafe_code, reason = "a call lends itself to one with shorter-lived arguments")]

use crate::acl::{self, Context};
use crate::call::{Call, Flow};
use crate::error::Error;
use crate::room::ensure_args_fit;
use crate::run::{Resolved, Verdict, remember};
use crate::spec::Flags;
use base::DbId;
use wire::args::Args;
use wire::reply::{Protocol, Reply};

/// Who had a command run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The client, by itself.
    Client,
    /// EXEC.
    Queue,
    /// A script or function.
    Script,
}

/// A command that has run within another one.
pub struct Inner<'a> {
    /// Its row.
    pub resolved: Resolved,
    /// Its arguments.
    pub args: Args<'a>,
    /// The database it left selected.
    pub db: DbId,
    /// Its reply.
    pub reply: &'a [u8],
    /// Whether that is an error.
    pub verdict: Verdict,
    /// Who had it run.
    pub origin: Origin,
}

/// Who is told of commands that run within others: statistics, logs and monitors.
pub trait Observer {
    /// The first of several commands begins now: what was done until then is none of theirs.
    fn begins(&self) {}

    /// A command has run.
    fn ran(&self, inner: &Inner<'_>);

    /// A command that a script called does not run, because of `error`. Told to whoever counts; else it is nothing.
    fn refused(&self, _args: &Args<'_>, _error: &str) {}
}

/// Nobody is told.
impl Observer for () {
    fn ran(&self, _inner: &Inner<'_>) {}
}

/// How a command within another one went. Its reply is written in any case.
#[derive(Debug)]
pub struct Stepped {
    /// What the connection is to do once everything has run: go on, or close.
    pub flow: Flow,
    /// Whether the reply is an error.
    pub is_refused: bool,
}

impl<'c> Call<'c> {
    /// Runs another command within this call's transaction, in the session's database, and appends its reply to this
    /// call's. The partitions of its keys must be locked. Leaves `args` as those of that command.
    pub fn step(&mut self, resolved: Resolved, args: Args<'c>, origin: Origin) -> Stepped {
        let spec = resolved.spec;
        self.args = args;
        self.may_wait = false;
        self.tx.read_in_place();
        self.tx.set_db(self.session.db);
        self.tx.set_no_touch(self.session.no_touch);
        self.tx.hear_misses(spec.flags.has(Flags::READONLY));
        let (start, lookups) = (self.reply.mark(), self.tx.lookups());
        let changed_bytes = if spec.flags.has(Flags::WRITE) { self.tx.changed_bytes() } else { 0 };
        let outcome = ensure_args_fit(spec, &args, changed_bytes)
            .and_then(|()| self.permit(resolved, origin))
            .and_then(|()| (spec.handler)(self));
        let (flow, verdict) = match outcome {
            Ok(Flow::Close) => (Flow::Close, Verdict::Answered),
            Ok(Flow::Done | Flow::Subscribed | Flow::Unsubscribed) => (Flow::Done, Verdict::Answered),
            Ok(Flow::Await(_)) => {
                self.reply.null_array();
                (Flow::Done, Verdict::Answered)
            }
            Ok(Flow::Begun(_)) => unreachable!("a reply within another one is whole"),
            Err(error) => {
                self.reply.rewind(start);
                self.reply.error(error.reply());
                (Flow::Done, Verdict::of(&error))
            }
        };
        if self.session.caching.is_some() {
            remember(self.host, self.session, spec, &args);
        }
        if !spec.flags.has(Flags::READONLY) {
            self.tx.set_lookups(lookups);
        }
        let (db, reply) = (self.session.db, self.reply.since(start));
        self.observer.ran(&Inner { resolved, args, db, reply, verdict, origin });
        Stepped { flow, is_refused: verdict.is_error() }
    }

    /// Whether the user may still run what was queued. A script's commands were checked before their keys were locked.
    #[inline]
    fn permit(&self, resolved: Resolved, origin: Origin) -> Result<(), Error> {
        match origin {
            Origin::Queue => acl::permit_again(self.host, self.session, resolved, &self.args, Context::Multi),
            Origin::Client | Origin::Script => Ok(()),
        }
    }

    /// As [`Call::step`] for a command that a script calls: its arguments live only as long as it runs, and its reply
    /// goes to `out`, in `protocol`.
    pub fn nested(&mut self, resolved: Resolved, args: Args<'_>, protocol: Protocol, out: &mut Vec<u8>) -> Stepped {
        self.lend(args, out, protocol, |call, args| call.step(resolved, args, Origin::Script))
    }

    /// Lends this call, with other arguments and another place for the reply, to `work`.
    fn lend<'s, R>(
        &'s mut self,
        args: Args<'s>,
        out: &'s mut Vec<u8>,
        protocol: Protocol,
        work: impl FnOnce(&mut Call<'s>, Args<'s>) -> R,
    ) -> R {
        // SAFETY: only the lifetime changes, from 'c to the shorter 's. What could go wrong is that something that
        // lives for 's only stays behind in a field of the longer-lived call. Handlers get `&mut Call<'x>` for any 'x,
        // so whatever of 'x they hold comes from the call itself, and of its fields only `args` and `reply` hold
        // anything of 's: both are put back below. A panic ends the process.
        let call = unsafe { &mut *std::ptr::from_mut(self).cast::<Call<'s>>() };
        let own_reply = std::mem::replace(&mut call.reply, Reply::new(out, protocol));
        let (own_args, may_wait) = (call.args, call.may_wait);
        let result = work(call, args);
        (call.args, call.reply, call.may_wait) = (own_args, own_reply, may_wait);
        result
    }
}
