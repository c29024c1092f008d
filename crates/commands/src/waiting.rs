//! Commands that wait for keys, and serving those who wait.
//!
//! ```text
//! BLPOP k ─► nothing there ─► Call::wait_for_keys ─► queued, Flow::Await(Await::Keys) ─► the connection sleeps
//! LPUSH k ─► committed, k is Ready ─► serve(): the first in k's queue is claimed, its command run anew
//!                                     ├─ it replies: handed over, the connection wakes and writes it
//!                                     └─ it still finds nothing: it keeps its place, the next one is tried
//! ```
//!
//! The thread whose command made a key ready serves its queue before it goes on to its next command, so that what
//! it asks then it asks of the state in which those who waited have been served. What they do (BLMOVE) may make
//! further keys ready, which are served in turn.
//!
//! A waiter is claimed before its command runs: whoever times out, is unblocked or vanishes meanwhile finds that
//! it was served, and an element is taken only on behalf of somebody who was there.
//!
//! A type whose commands wait needs nothing but [`Call::wait_for_keys`] where its handler finds nothing.
//!
//! Deliberately not here: sleeping, time limits, sockets (the server).
//!
//! Invariants: queues are served in the order of arrival; no lock is held while a waiter's command begins.

use crate::call::{Await, Call, Flow};
use crate::error::Error;
use crate::run::{Engine, Moment, Ran, Scratch, resolve, run};
use crate::session::Session;
use base::number::{parse_f64, parse_i64};
use base::{DbId, TimeMs};
use journal::Position;
use keyspace::partition::has_ended;
use keyspace::waiting::{Ready, Wanted};
use keyspace::{Keyspace, Kind, Spilled, Tx};
use parking_lot::Mutex;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use wire::args::Ranges;
use wire::request::{Limits, Login, RequestParser};

const TIMEOUT_OUT_OF_RANGE: Error = Error::text("ERR timeout is out of range");

/// A command that waits for keys.
pub struct Waiter {
    order: u64,
    db: DbId,
    keys: Vec<Vec<u8>>,
    wanted: Wanted,
    timeout_ms: u64,
    /// The command, in RESP.
    request: Vec<u8>,
    session: Session,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// A key became ready while the waiter was being served for another.
    is_ready_again: bool,
    waker: Option<Waker>,
}

enum Phase {
    Waiting,
    /// Its command runs, on whatever thread.
    Claimed,
    Served(Outcome),
    /// Nobody waits for it any more.
    Left,
}

/// What a waiter was served with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The reply.
    pub reply: Vec<u8>,
    /// What it reveals.
    pub revealed: Position,
    /// End of the last batch that the connection wrote.
    pub written: Position,
    /// The number of the row that runs, if the reply is an error, for statistics.
    pub refused_by: Option<u16>,
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(|key| key.escape_ascii().to_string()).collect();
        f.debug_struct("Waiter").field("keys", &keys).field("timeout_ms", &self.timeout_ms).finish_non_exhaustive()
    }
}

/// The same waiter, not an equal one.
impl PartialEq for Waiter {
    fn eq(&self, other: &Waiter) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Waiter {
    /// Milliseconds that it waits at most; 0 is for ever.
    pub fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    /// Waits until it is served.
    pub async fn served(&self) -> Outcome {
        std::future::poll_fn(|ctx| self.poll_served(ctx)).await
    }

    fn poll_served(&self, ctx: &Context<'_>) -> Poll<Outcome> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.phase, Phase::Left) {
            Phase::Served(outcome) => Poll::Ready(outcome),
            other => {
                state.phase = other;
                state.waker = Some(ctx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Waits no longer. `Some` when it was served before that was known.
    pub async fn leave(&self) -> Option<Outcome> {
        std::future::poll_fn(|ctx| {
            let mut state = self.state.lock();
            match std::mem::replace(&mut state.phase, Phase::Left) {
                Phase::Served(outcome) => Poll::Ready(Some(outcome)),
                Phase::Waiting | Phase::Left => Poll::Ready(None),
                Phase::Claimed => {
                    state.phase = Phase::Claimed;
                    state.waker = Some(ctx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Takes the waiter out of all queues. It is not served any more, unless that is under way.
    pub fn withdraw(&self, keyspace: &Keyspace) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Waiting) {
            state.phase = Phase::Left;
        }
        drop(state);
        self.unqueue(keyspace);
    }

    fn unqueue(&self, keyspace: &Keyspace) {
        for key in &self.keys {
            keyspace.lock(keyspace.partition_of(key)).waiting.remove(self.db, key, self.order);
        }
    }

    /// Makes its command this thread's to run. Returns false when nobody waits any more, or when another thread has
    /// it, which will then try once more.
    fn claim(&self) -> bool {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Waiting => {
                state.phase = Phase::Claimed;
                true
            }
            Phase::Claimed => {
                state.is_ready_again = true;
                false
            }
            Phase::Served(_) | Phase::Left => false,
        }
    }

    /// Gives up a claim, since there was nothing for it. Returns false when a key became ready meanwhile: then the
    /// claim stands.
    fn unclaim(&self) -> bool {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.is_ready_again) {
            return false;
        }
        state.phase = Phase::Waiting;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        true
    }

    fn serve(&self, outcome: Outcome) {
        let mut state = self.state.lock();
        assert!(matches!(state.phase, Phase::Claimed), "a waiter is claimed before it is served");
        state.phase = Phase::Served(outcome);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Whether any of its keys is worth running its command anew.
    pub(crate) fn is_met(&self, tx: &Tx<'_>) -> bool {
        let kind = |key: &Vec<u8>| tx.peek(key).map(|found| tx.entry(found).kind());
        self.keys.iter().any(|key| self.wanted.is_met_by(kind(key)))
    }
}

/// What a command that found nothing waits for.
#[derive(Clone, Copy, Debug)]
pub struct Wait<'w> {
    /// What one of its keys must be.
    pub wanted: Wanted,
    /// Milliseconds to wait at most; 0 is for ever.
    pub timeout_ms: u64,
    /// Arguments that mean something else later (`$` of XREAD), by their index, and what to run it with instead.
    pub replaced: &'w [(usize, &'w [u8])],
}

impl Call<'_> {
    /// Waits until one of the keys at these arguments may have what was asked for: then the command is run anew, in its
    /// turn. To be returned by a handler that wrote no reply and, when it was run anew, changed nothing. Where nobody may
    /// wait, the reply is the null array.
    pub fn wait_for_keys(&mut self, keys: impl Iterator<Item = usize>, wait: &Wait<'_>) -> Flow {
        if !self.may_wait {
            self.reply.null_array();
            return Flow::Done;
        }
        if let Some(waiter) = &self.session.waiter {
            return Flow::Await(Await::Keys(Arc::clone(waiter)));
        }
        let waiter = Arc::new(Waiter {
            order: self.tx.next_arrival(),
            db: self.tx.db(),
            keys: keys.map(|index| self.args.at(index).to_vec()).collect(),
            wanted: wait.wanted,
            timeout_ms: wait.timeout_ms,
            request: self.request(wait.replaced),
            session: Session { transaction: None, ..self.session.clone() },
            state: Mutex::new(State { phase: Phase::Waiting, is_ready_again: false, waker: None }),
        });
        for key in &waiter.keys {
            self.tx.wait(key, waiter.order, wait.wanted, Arc::<Waiter>::clone(&waiter));
        }
        Flow::Await(Await::Keys(waiter))
    }

    /// The command in RESP, with some arguments replaced.
    fn request(&self, replaced: &[(usize, &[u8])]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", self.args.count()).into_bytes();
        for (index, arg) in self.args.iter().enumerate() {
            let arg = replaced.iter().find(|(at, _)| *at == index).map_or(arg, |(_, arg)| *arg);
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        request
    }

    /// Argument `index` as the seconds that a command waits at most, in milliseconds; 0 is for ever.
    ///
    /// # Errors
    /// Redis's texts for what is no number of seconds.
    pub fn timeout_ms(&self, index: usize) -> Result<u64, Error> {
        let text = self.arg(index);
        let seconds = parse_f64(text).or_else(|| parse_hexadecimal(text));
        let seconds = seconds.ok_or(Error::text("ERR timeout is not a float or out of range"))?;
        let ms = (seconds * 1000.0).ceil();
        if i64::MAX as f64 <= ms { Err(TIMEOUT_OUT_OF_RANGE) } else { self.within_time(ms as i64) }
    }

    /// Argument `index` as the milliseconds that a command waits at most; 0 is for ever.
    ///
    /// # Errors
    /// Redis's texts for what is no number of milliseconds.
    pub fn block_ms(&self, index: usize) -> Result<u64, Error> {
        let ms = parse_i64(self.arg(index));
        self.within_time(ms.ok_or(Error::text("ERR timeout is not an integer or out of range"))?)
    }

    fn within_time(&self, ms: i64) -> Result<u64, Error> {
        if i64::MAX - self.now().0 < ms {
            return Err(TIMEOUT_OUT_OF_RANGE);
        }
        u64::try_from(ms).map_err(|_| Error::text("ERR timeout is negative"))
    }

    /// Whether the command was run before, found nothing and has waited since.
    pub fn has_waited(&self) -> bool {
        self.session.waiter.is_some()
    }
}

/// A whole number in hexadecimal (`0x7F`): times in seconds may be written so, as `strtold` takes them.
fn parse_hexadecimal(text: &[u8]) -> Option<f64> {
    let digits = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X")).filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0.0, |number, digit| Some(number * 16.0 + f64::from((*digit as char).to_digit(16)?)))
}

/// Serves the queues of all keys in `scratch.ready`, and of those that get ready by that. `Some` when these values
/// must be fetched first; then it is to be called again.
///
/// # Cost
/// A lock per key, and for each waiter that is tried that of its command.
pub fn serve(engine: Engine<'_>, moment: &Moment, scratch: &mut Scratch) -> Option<Vec<Spilled>> {
    while !scratch.ready.is_empty() {
        let ready = scratch.ready.remove(0);
        if let Some(wanted) = serve_key(engine, &ready, moment, scratch) {
            scratch.ready.insert(0, ready);
            return Some(wanted);
        }
    }
    None
}

fn serve_key(engine: Engine<'_>, ready: &Ready, moment: &Moment, scratch: &mut Scratch) -> Option<Vec<Spilled>> {
    let lock = || engine.keyspace.lock(ready.partition);
    if !lock().waiting.begin_serving(ready.db, &ready.key) {
        return None;
    }
    loop {
        let spilled = serve_queue(engine, ready, moment, scratch);
        let is_done = lock().waiting.end_serving(ready.db, &ready.key);
        if spilled.is_some() {
            return spilled;
        }
        if is_done || !lock().waiting.begin_serving(ready.db, &ready.key) {
            return None;
        }
    }
}

/// Tries each waiter of a queue, as long as the key is what it waits for.
fn serve_queue(engine: Engine<'_>, ready: &Ready, moment: &Moment, scratch: &mut Scratch) -> Option<Vec<Spilled>> {
    let mut order = 0;
    while let Some((next, waiter)) = next_waiter(engine.keyspace, ready, order, moment.now) {
        order = next;
        if !waiter.claim() {
            continue;
        }
        loop {
            match rerun(engine, &waiter, moment, scratch) {
                Rerun::Served(outcome) => {
                    waiter.serve(outcome);
                    waiter.unqueue(engine.keyspace);
                    break;
                }
                Rerun::Spilled(wanted) => {
                    while !waiter.unclaim() {} // Whatever became ready, the queue is served once more after the fetch.
                    return Some(wanted);
                }
                Rerun::Nothing => {
                    if waiter.unclaim() {
                        break;
                    }
                }
            }
        }
    }
    None
}

fn next_waiter(keyspace: &Keyspace, ready: &Ready, order: u64, now: TimeMs) -> Option<(u64, Arc<Waiter>)> {
    let partition = keyspace.lock(ready.partition);
    let db = partition.physical(ready.db);
    let kind: Option<Kind> = partition.find(db, &ready.key).and_then(|place| {
        let entry = partition.index(db).entry(place);
        (!has_ended(entry.expires(), now)).then(|| entry.kind())
    });
    let (order, waiter) = partition.waiting.next(ready.db, &ready.key, order, kind)?;
    Some((order, waiter.downcast().expect("only waiters of this module are queued")))
}

enum Rerun {
    Served(Outcome),
    Nothing,
    Spilled(Vec<Spilled>),
}

fn rerun(engine: Engine<'_>, waiter: &Arc<Waiter>, moment: &Moment, scratch: &mut Scratch) -> Rerun {
    let mut ranges = Ranges::new();
    let limits = Limits { bulk_bytes_max: usize::MAX, ..Limits::standard(Login::Done) };
    RequestParser::new().parse(&waiter.request, &limits, &mut ranges).expect("it was written here");
    let args = ranges.args(&waiter.request);
    let resolved = resolve(&args).expect("it was resolved before");
    let mut session = Session { waiter: Some(Arc::clone(waiter)), ..waiter.session.clone() };
    let mut reply = Vec::new();
    // The reply goes to another connection, whole.
    let wants_apart = scratch.apart.is_wanted();
    scratch.apart.want(false);
    let ran = run(engine, resolved, &mut session, args, moment, &mut reply, scratch);
    scratch.apart.want(wants_apart);
    match ran {
        Ran::Spilled(wanted) => Rerun::Spilled(wanted),
        Ran::Done { flow: Flow::Await(_), .. } => Rerun::Nothing,
        Ran::Queued => unreachable!("who waits is in no transaction"),
        Ran::Done { revealed, verdict, .. } => {
            let refused_by = verdict.is_error().then(|| resolved.number());
            Rerun::Served(Outcome { reply, revealed, written: session.written, refused_by })
        }
    }
}
