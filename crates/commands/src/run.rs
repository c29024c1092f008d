//! Runs one command: from its arguments to its reply and its batch in the journal's buffer.
//!
//! ```text
//! name → row → arity, login → partitions of its keys locked → handler → one journal record → unlocked
//! ```
//!
//! No task hop, no channel, no syscall on this path. Deliberately not here: waiting. What cannot be done at once
//! (a value to fetch, a disk to sync) is returned to the connection, which can wait.

use crate::acl;
use crate::call::{Await, Call, Flow};
use crate::error::Error;
use crate::exec;
use crate::host::Host;
use crate::refuse;
use crate::room;
use crate::script_run;
use crate::session::{Caching, Session};
use crate::spec::{Flags, Keys, Scope, Spec};
use crate::table::{self, Row};
use crate::within::Observer;
use base::{PartitionId, TimeMs};
use journal::{Journal, Position};
use keyspace::access::AccessClock;
use keyspace::waiting::Ready;
use keyspace::{Begin, Garbage, Keyspace, Lookups, Spilled, Tx};
use smallvec::SmallVec;
use std::fmt::Display;
use std::sync::Arc;
use wire::args::Args;
use wire::reply::{Apart, Reply};

/// Why writes are refused while the journal's device is full.
pub const NO_SPACE: &str = "MISCONF Larder's journal has no space left on its device: commands that may write are refused until there is, reads and deletes go on.";
/// Bytes of arguments from which on room in the journal is asked for before a command runs.
const LARGE_ARGS_BYTES: usize = 16 << 10;
/// Growth of memory by one command from which on it is much.
const GROWTH_BYTES_MIN: usize = 64 << 10;
/// Bytes of a record beside the arguments it was made from.
const RECORD_FRAME_BYTES: usize = 1 << 10;

/// Bytes of an argument that an error message repeats.
const QUOTED_BYTES_MAX: usize = 128;

/// Where commands run.
#[derive(Clone, Copy)]
pub struct Engine<'e> {
    /// The keys.
    pub keyspace: &'e Keyspace,
    /// Where batches go.
    pub journal: &'e Journal,
    /// The node.
    pub host: &'e dyn Host,
    /// Who is told of commands that run within others.
    pub observer: &'e dyn Observer,
}

/// The moment a command runs at.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Wall time.
    pub now: TimeMs,
    /// The access clock.
    pub clock: AccessClock,
    /// The write is refused because memory or disk is used up; the reply says why.
    pub refuse_growth: Option<&'static str>,
    /// Whoever makes memory grow by much is to say so, in [`Scratch::has_grown`].
    pub weighs: bool,
}

/// Memory that is kept from one command to the next.
#[derive(Default)]
pub struct Scratch {
    pub(crate) effects: Vec<u8>,
    /// Values let go of, for the connection to pass on to whoever frees them.
    pub garbage: Vec<Garbage>,
    /// What commands that only read have looked up, for the connection to pass on to whoever counts.
    pub lookups: Lookups,
    /// Memory has grown by much, at a moment that [`weighs`](Moment::weighs): for the connection to make room.
    pub has_grown: bool,
    /// Keys that changed while somebody waited for them, for the connection to serve their queues.
    pub ready: Vec<Ready>,
    /// Large strings that belong into replies, for who wants them apart.
    pub apart: Apart,
    /// What the arguments of large commands lie in, for who can lend it: the keys they are put at share it.
    pub source: Option<Arc<Vec<u8>>>,
}

/// Whether a command's reply is an error, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is none.
    Answered,
    /// Its own.
    Refused,
    /// That of a command which its script called, and as whose error the [`Observer`] has been told of it.
    Relayed,
}

impl Verdict {
    /// The verdict that a reply shows by itself.
    pub fn of_reply(reply: &[u8]) -> Verdict {
        if reply.starts_with(b"-") { Verdict::Refused } else { Verdict::Answered }
    }

    /// The verdict on a command that was refused for this.
    pub(crate) fn of(error: &Error) -> Verdict {
        if matches!(error, Error::Relayed(_)) { Verdict::Relayed } else { Verdict::Refused }
    }

    /// Whether the reply is an error.
    pub fn is_error(self) -> bool {
        self != Verdict::Answered
    }
}

/// How a command went.
#[derive(Debug)]
pub enum Ran {
    /// Its reply is written.
    Done {
        /// What follows.
        flow: Flow,
        /// What its reply reveals: it must not leave before the journal holds this much as it promised to.
        revealed: Position,
        /// Whether it wrote a batch, which ends at `revealed`.
        wrote: bool,
        /// Whether the reply is an error.
        verdict: Verdict,
    },
    /// It waits for EXEC; that is its reply.
    Queued,
    /// Nothing has happened: these values must be fetched, then it can be run again. There are none where a script
    /// only asks for more locks.
    Spilled(Vec<Spilled>),
}

impl Ran {
    pub(crate) fn refused() -> Ran {
        Ran::Done { flow: Flow::Done, revealed: Position::ZERO, wrote: false, verdict: Verdict::Refused }
    }
}

/// A command found in the table, its arguments counted.
#[derive(Clone, Copy)]
pub struct Resolved {
    /// The top-level row and its number, for statistics.
    pub row: Row,
    /// The row that runs: the subcommand's, if there is one.
    pub spec: &'static Spec,
}

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resolved({})", table::full_name(self.number()))
    }
}

impl Resolved {
    /// The row of a command that is there, for who runs it with as many arguments as it takes.
    ///
    /// # Panics
    /// When there is no such command.
    pub fn of(name: &str) -> Resolved {
        let row = table::find(name.as_bytes()).expect("who knows a command by its name knows that it is there");
        Resolved { row, spec: row.spec }
    }

    /// The number of the row that runs, for statistics.
    #[inline]
    pub fn number(&self) -> u16 {
        self.row.number_of(self.spec)
    }
}

/// Finds the row of a command and checks that the number of arguments fits it.
///
/// # Errors
/// Redis's texts for unknown commands and subcommands and for wrong numbers of arguments.
#[inline]
pub fn resolve(args: &Args<'_>) -> Result<Resolved, Error> {
    let Some(row) = table::find(args.at(0)) else { return Err(unknown_command(args)) };
    let mut spec = row.spec;
    if !spec.subcommands.is_empty() && args.count() > 1 {
        spec = spec.subcommand(args.at(1)).ok_or_else(|| unknown_subcommand(args))?;
    }
    if !spec.arity.allows(args.count()) {
        return Err(wrong_arity(row.spec, spec));
    }
    Ok(Resolved { row, spec })
}

fn quoted(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(QUOTED_BYTES_MAX)]).into_owned()
}

#[cold]
fn unknown_command(args: &Args<'_>) -> Error {
    let mut shown = String::new();
    for arg in args.iter().skip(1) {
        if shown.len() >= QUOTED_BYTES_MAX {
            break;
        }
        let arg = quoted(&arg[..arg.len().min(QUOTED_BYTES_MAX - shown.len())]);
        shown.extend(["'", &arg, "' "]);
    }
    refuse!("ERR unknown command '{}', with args beginning with: {shown}", quoted(args.at(0)))
}

#[cold]
fn unknown_subcommand(args: &Args<'_>) -> Error {
    let parent = quoted(args.at(0)).to_ascii_uppercase();
    refuse!("ERR unknown subcommand '{}'. Try {parent} HELP.", quoted(args.at(1)))
}

#[cold]
fn wrong_arity(top: &Spec, spec: &Spec) -> Error {
    if std::ptr::eq(top, spec) {
        refuse!("ERR wrong number of arguments for '{}' command", top.name)
    } else {
        refuse!("ERR wrong number of arguments for '{}|{}' command", top.name, spec.name)
    }
}

/// Runs a command that `resolve` found. The reply, error replies included, is appended to `out`.
///
/// # Cost
/// A lock per partition it touches, the handler, and at most one append to the journal's buffer.
pub fn run<'e>(
    engine: Engine<'e>,
    resolved: Resolved,
    session: &'e mut Session,
    args: Args<'e>,
    moment: &Moment,
    out: &'e mut Vec<u8>,
    scratch: &'e mut Scratch,
) -> Ran {
    let spec = resolved.spec;
    if let Err(error) = acl::permit(engine.host, session, resolved, &args) {
        return not_permitted(session, spec, error, out);
    }
    if session.transaction.is_some()
        && let Some(ran) = exec::in_transaction(engine, resolved, session, &args, moment, out, scratch)
    {
        return ran;
    }
    let protocol = session.protocol;
    if let Err(error) = allowed(spec.flags, session, moment).and_then(|()| ensure_heard(resolved, session)) {
        Reply::new(out, protocol).error(error.reply());
        return Ran::refused();
    }
    let is_large = LARGE_ARGS_BYTES < args.source_bytes();
    if is_large && let Err(error) = ensure_room(engine.journal, spec, &args) {
        Reply::new(out, protocol).error(error.reply());
        return Ran::refused();
    }
    if moment.refuse_growth.is_some() && spec.flags.has(Flags::WRITE) && !has_reserve(engine.journal, &args) {
        Reply::new(out, protocol).error(NO_SPACE);
        return Ran::refused();
    }
    let ids = match partitions(engine.keyspace, spec, &args) {
        Some(ids) => ids,
        None if spec.scope == Scope::Script => script_run::locks(engine, session, spec, &args),
        None => SmallVec::new(),
    };
    let begin = Begin { db: session.db, now: moment.now, clock: moment.clock, no_touch: session.no_touch };
    let Scratch { effects, garbage, lookups, has_grown, ready, apart, source } = scratch;
    let Some(tx) = Tx::begin_or_give_up(engine.keyspace, engine.journal, &ids, begin, effects) else {
        Reply::new(out, protocol).error(busy(engine).reply());
        return Ran::refused();
    };
    let reply = Reply::with_apart(out, protocol, apart);
    let start = reply.mark();
    let Engine { host, observer, .. } = engine;
    // The transaction is made here and stays here: it is the largest thing of all.
    let mut call =
        Call { args, reply, tx, session, host, observer, may_wait: true, refuse_growth: moment.refuse_growth };
    if call.session.imports && call.tx.keeps_ended() {
        call.tx.see_ended();
    }
    call.tx.set_origin(call.session.id);
    call.tx.hear_misses(spec.flags.has(Flags::READONLY));
    if let Some(waiter) = call.session.waiter.as_ref().filter(|waiter| !waiter.is_met(&call.tx)) {
        let flow = Flow::Await(Await::Keys(Arc::clone(waiter)));
        return Ran::Done {
            flow,
            revealed: call.tx.commit_in_place(garbage).revealed,
            wrote: false,
            verdict: Verdict::Answered,
        };
    }
    if is_large && let Some(source) = source {
        call.tx.lend(source);
    }
    let used_bytes = if moment.weighs { call.tx.used_bytes() } else { 0 };
    let outcome = (spec.handler)(&mut call);
    *has_grown |= moment.weighs && used_bytes + GROWTH_BYTES_MIN < call.tx.used_bytes();
    if call.session.caching.is_some() {
        remember(engine.host, call.session, spec, &call.args);
    }
    let (flow, verdict) = match outcome {
        Ok(flow) => (flow, Verdict::Answered),
        Err(Error::Spilled) if !call.tx.has_changes() => {
            call.reply.rewind(start);
            return Ran::Spilled(call.tx.into_spilled());
        }
        Err(error) => {
            call.reply.rewind(start);
            call.reply.error(error.reply());
            (Flow::Done, Verdict::of(&error))
        }
    };
    if call.session.caching.is_some() && resolved.row.spec.name != "client" && !matches!(flow, Flow::Begun(_)) {
        call.session.forget_caching();
    }
    let committed = call.tx.commit_in_place(garbage);
    if !committed.ready.is_empty() {
        ready.extend(committed.ready);
    }
    if spec.flags.0 & (Flags::READONLY | Flags::RUNS_OTHERS).0 != 0 {
        lookups.hits += committed.lookups.hits;
        lookups.misses += committed.lookups.misses;
    }
    if committed.wrote {
        call.session.written = committed.revealed;
        call.session.written_version = committed.version;
    }
    Ran::Done { flow, revealed: committed.revealed, wrote: committed.wrote, verdict }
}

/// Answers a command that the session's user may not run. What was queued before it will not run either.
#[cold]
fn not_permitted(session: &mut Session, spec: &Spec, error: Error, out: &mut Vec<u8>) -> Ran {
    let is_open = session.transaction.as_ref().is_some_and(|transaction| transaction.is_open());
    let error = if is_open && spec.scope == Scope::Queued {
        session.transaction = None;
        refuse!("EXECABORT Transaction discarded because of: {}", error.reply())
    } else {
        session.refused();
        error
    };
    Reply::new(out, session.protocol).error(error.reply());
    Ran::refused()
}

/// Whether the journal takes a record made from these arguments. Without this a large value would be found not to fit
/// when it is in memory already.
#[cold]
fn ensure_room(journal: &Journal, spec: &Spec, args: &Args<'_>) -> Result<(), Error> {
    room::ensure_args_fit(spec, args, 0)?;
    let bytes = args.iter().map(<[u8]>::len).sum::<usize>() + RECORD_FRAME_BYTES;
    let has_room = || u32::try_from(bytes).is_ok_and(|bytes| journal.ensure_room(bytes).is_ok());
    if spec.flags.has(Flags::DENYOOM) && !has_room() { Err(Error::text(NO_SPACE)) } else { Ok(()) }
}

/// What a command is answered whose spilled values could not be read back, for `reason`. Nothing of it has run, and
/// nothing of a transaction will.
#[cold]
pub fn unfetched(session: &mut Session, resolved: Resolved, reason: &dyn Display) -> Error {
    let error = refuse!("ERR a value could not be read back from the journal: {reason}");
    session.walk = None;
    if resolved.spec.scope != Scope::Queued {
        return error;
    }
    session.transaction = None;
    exec::discarded(&error)
}

/// Whether the journal takes a record that frees what these arguments name. Without this deletes would pile up in memory
/// once the room kept for them is gone, and reads would wait for what cannot be written.
#[cold]
pub(crate) fn has_reserve(journal: &Journal, args: &Args<'_>) -> bool {
    let bytes = args.iter().map(<[u8]>::len).sum::<usize>() + RECORD_FRAME_BYTES;
    u32::try_from(bytes).is_ok_and(|bytes| journal.has_reserve(bytes))
}

/// What is said to a command that would have to wait for a slow script.
#[cold]
pub(crate) fn busy(engine: Engine<'_>) -> Error {
    engine.host.scripts().busy_error().unwrap_or(Error::text("BUSY A script was running. Try again."))
}

#[inline]
pub(crate) fn allowed(flags: Flags, session: &Session, moment: &Moment) -> Result<(), Error> {
    if !session.is_authenticated && !flags.has(Flags::NO_AUTH) {
        return Err(Error::text("NOAUTH Authentication required."));
    }
    if session.monitors && (flags.has(Flags::READONLY) || flags.has(Flags::WRITE)) {
        return Err(Error::text("ERR Replica can't interact with the keyspace"));
    }
    match moment.refuse_growth {
        Some(why) if flags.has(Flags::DENYOOM) => Err(Error::text(why)),
        _ => Ok(()),
    }
}

/// Refuses what a subscriber of RESP2 could not tell from messages.
#[inline]
fn ensure_heard(resolved: Resolved, session: &Session) -> Result<(), Error> {
    if session.only_listens() && !resolved.spec.flags.has(Flags::SUBSCRIBER) {
        return Err(only_listens(resolved));
    }
    Ok(())
}

/// Whether the connection is to be told when what this command has read changes.
pub(crate) fn is_remembered(session: &Session, spec: &Spec) -> bool {
    let reads = spec.flags.has(Flags::READONLY) && !spec.flags.has(Flags::RUNS_OTHERS);
    reads && session.caching.is_some_and(Caching::caches)
}

/// Remembers the keys that a command has read, while their partitions are still locked. What a command that runs others
/// reads, those have read.
#[cold]
pub(crate) fn remember(host: &dyn Host, session: &Session, spec: &Spec, args: &Args<'_>) {
    if !is_remembered(session, spec) {
        return;
    }
    let mut keys: SmallVec<[&[u8]; 4]> = SmallVec::new();
    spec.keys.each(args, |index| keys.push(args.at(index)));
    if !keys.is_empty() {
        host.tracking().remember(session.id, keys.into_iter());
    }
}

#[cold]
fn only_listens(resolved: Resolved) -> Error {
    refuse!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        table::full_name(resolved.number())
    )
}

/// The partitions to lock, ascending. `None` for none.
#[inline]
pub(crate) fn partitions(keyspace: &Keyspace, spec: &Spec, args: &Args<'_>) -> Option<SmallVec<[PartitionId; 4]>> {
    match spec.scope {
        Scope::Nothing | Scope::Each | Scope::Queued | Scope::Script => None,
        Scope::Whole => Some(keyspace.ids().collect()),
        Scope::Keys => {
            let mut ids = SmallVec::new();
            if let Keys::Range { first: 1, last: 1, .. } = spec.keys {
                ids.push(keyspace.partition_of(args.at(1)));
                return Some(ids);
            }
            spec.keys.each(args, |index| ids.push(keyspace.partition_of(args.at(index))));
            ids.sort_unstable();
            ids.dedup();
            Some(ids)
        }
    }
}
