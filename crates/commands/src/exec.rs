//! EXEC of an open transaction, and what becomes of commands that arrive while one is open.
//!
//! ```text
//! refused, or a watched key has changed? ─► values fetched ahead ─► commands, one after the other ─► one record
//! ```
//!
//! The partitions of all queued commands are locked from beginning to end; all of them if one command needs all.
//!
//! Deliberately not here: what one command within the transaction does (`within.rs`).

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::refuse;
use crate::run::{self, Engine, Moment, NO_SPACE, Ran, Resolved, Scratch, Verdict, allowed, busy, partitions};
use crate::script_run;
use crate::session::Session;
use crate::spec::{Flags, Scope};
use crate::transaction::{Transaction, selected_by};
use crate::within::Origin;
use base::{DbId, PartitionId};
use journal::Journal;
use keyspace::{Begin, Keyspace, Tx};
use smallvec::SmallVec;
use wire::args::Args;
use wire::reply::Reply;

/// Values fetched ahead of one EXEC; what it needs beyond is read as its commands run.
const FETCHED_AHEAD_MAX: usize = 1000;

const ABORTED: Error = Error::text("EXECABORT Transaction discarded because of previous errors.");

/// Deals with a command that arrives while the connection has a transaction: queues it, refuses it, or runs EXEC.
/// `None` when it runs as any other.
#[cold]
pub fn in_transaction(
    engine: Engine<'_>,
    resolved: Resolved,
    session: &mut Session,
    args: &Args<'_>,
    moment: &Moment,
    out: &mut Vec<u8>,
    scratch: &mut Scratch,
) -> Option<Ran> {
    let spec = resolved.spec;
    if !session.transaction.as_ref().is_some_and(|transaction| transaction.is_open()) {
        return None;
    }
    if spec.scope == Scope::Queued {
        return Some(exec(engine, session, *args, moment, out, scratch));
    }
    if spec.flags.has(Flags::UNQUEUED) {
        return None;
    }
    let outcome = if spec.flags.has(Flags::NO_MULTI) {
        Err(Error::text("ERR Command not allowed inside a transaction"))
    } else {
        allowed(spec.flags, session, moment)
    };
    let mut reply = Reply::new(out, session.protocol);
    let transaction = session.transaction.as_mut()?;
    Some(match outcome {
        Ok(()) => {
            let flags = script_run::flags_of(engine.host.scripts(), engine.keyspace, spec, args);
            transaction.queue(resolved, args, flags);
            reply.simple("QUEUED");
            Ran::Queued
        }
        Err(error) => {
            transaction.abort();
            reply.error(error.reply());
            Ran::refused()
        }
    })
}

/// Whether EXEC may run what is queued.
fn check(transaction: &Transaction, session: &Session, moment: &Moment) -> Result<(), Error> {
    if transaction.is_aborted() {
        return Err(ABORTED);
    }
    allowed(transaction.flags(), session, moment).map_err(|error| discarded(&error))
}

/// Why nothing of a transaction runs.
pub(crate) fn discarded(error: &Error) -> Error {
    refuse!("EXECABORT Transaction discarded because of: {}", error.reply())
}

/// Whether the journal takes what each of the queued commands frees, one by one.
#[cold]
fn has_reserve(journal: &Journal, transaction: &Transaction) -> bool {
    transaction.commands().all(|(_, args)| run::has_reserve(journal, &args))
}

fn exec<'e>(
    engine: Engine<'e>,
    session: &'e mut Session,
    args: Args<'e>,
    moment: &Moment,
    out: &'e mut Vec<u8>,
    scratch: &'e mut Scratch,
) -> Ran {
    let Some(mut transaction) = session.transaction.take() else { return Ran::refused() };
    if let Err(error) = check(&transaction, session, moment) {
        Reply::new(out, session.protocol).error(error.reply());
        return Ran::refused();
    }
    let writes = transaction.flags().has(Flags::WRITE);
    if moment.refuse_growth.is_some() && writes && !has_reserve(engine.journal, &transaction) {
        Reply::new(out, session.protocol).error(discarded(&Error::text(NO_SPACE)).reply());
        return Ran::refused();
    }
    let ids = locks(engine.keyspace, &transaction);
    let begin = Begin { db: session.db, now: moment.now, clock: moment.clock, no_touch: session.no_touch };
    let Scratch { effects, garbage, lookups, ready, .. } = scratch;
    let Some(mut tx) = Tx::begin_or_give_up(engine.keyspace, engine.journal, &ids, begin, effects) else {
        let error = discarded(&busy(engine));
        Reply::new(out, session.protocol).error(error.reply());
        return Ran::refused();
    };
    tx.set_origin(session.id);
    if session.imports && tx.keeps_ended() {
        tx.see_ended();
    }
    let mut reply = Reply::new(out, session.protocol);
    if has_changed(&transaction, &mut tx) {
        reply.null_array();
        let revealed = tx.commit(garbage).revealed;
        return Ran::Done { flow: Flow::Done, revealed, wrote: false, verdict: Verdict::Answered };
    }
    if !std::mem::replace(&mut transaction.is_fetched, true) {
        fetch_ahead(&transaction, session.db, &mut tx);
        if 0 < tx.missing_count() {
            session.transaction = Some(transaction);
            return Ran::Spilled(tx.into_spilled());
        }
    }
    reply.array(transaction.commands().len());
    let Engine { host, observer, .. } = engine;
    let mut call =
        Call { args, reply, tx, session, host, observer, may_wait: false, refuse_growth: moment.refuse_growth };
    call.observer.begins();
    let flow = run_all(&mut call, &transaction);
    let Call { tx, session, .. } = call;
    session.forget_caching();
    let committed = tx.commit(garbage);
    ready.extend(committed.ready);
    lookups.hits += committed.lookups.hits;
    lookups.misses += committed.lookups.misses;
    if committed.wrote {
        session.written = committed.revealed;
    }
    Ran::Done { flow, revealed: committed.revealed, wrote: committed.wrote, verdict: Verdict::Answered }
}

fn run_all<'c>(call: &mut Call<'c>, transaction: &'c Transaction) -> Flow {
    let mut last = Flow::Done;
    for (resolved, args) in transaction.commands() {
        if let Flow::Close = call.step(resolved, args, Origin::Queue).flow {
            last = Flow::Close;
        }
    }
    last
}

/// The partitions of all queued commands and watched keys, ascending.
fn locks(keyspace: &Keyspace, transaction: &Transaction) -> SmallVec<[PartitionId; 4]> {
    let mut ids: SmallVec<[PartitionId; 4]> = SmallVec::new();
    for (resolved, args) in transaction.commands() {
        match resolved.spec.scope {
            Scope::Each | Scope::Whole | Scope::Script => return keyspace.ids().collect(),
            _ => ids.extend(partitions(keyspace, resolved.spec, &args).into_iter().flatten()),
        }
    }
    ids.extend(transaction.watched().map(|(_, key, _)| keyspace.partition_of(key)));
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Whether a watched key has changed.
fn has_changed(transaction: &Transaction, tx: &mut Tx<'_>) -> bool {
    let selected = tx.db();
    let has_changed = transaction.watched().any(|(db, key, watched)| {
        tx.set_db(db);
        watched.has_changed(tx, key)
    });
    tx.set_db(selected);
    has_changed
}

/// Asks for the values that the queued commands will probably need.
fn fetch_ahead(transaction: &Transaction, selected: DbId, tx: &mut Tx<'_>) {
    for (resolved, args) in transaction.commands() {
        let spec = resolved.spec;
        if spec.name == "select"
            && let Some(db) = selected_by(&args)
        {
            tx.set_db(db);
        }
        if spec.scope == Scope::Keys && !spec.flags.has(Flags::BLIND) && tx.missing_count() < FETCHED_AHEAD_MAX {
            spec.keys.each(&args, |index| tx.fetch_ahead(args.at(index)));
        }
    }
    tx.set_db(selected);
}
