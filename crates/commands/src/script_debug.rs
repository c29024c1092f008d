//! Scripts under a debugger (SCRIPT DEBUG): where their commands run, and what becomes of what they change.
//!
//! ```text
//! YES    command ─► its keys copied from the node when they are first named ─► runs on the session's own keyspace ─► …
//! SYNC   command ─► its partitions locked ─► runs on the node ─► one journal record, unlocked ─► …
//! ```
//!
//! A session lasts as long as a person thinks, so that it holds no lock between two commands: nobody ever waits on a
//! thread for it. With YES nothing it changes reaches the node. With SYNC each command is a batch of its own, journaled
//! when it has run, and the server holds back other clients' commands until the session is over.
//!
//! Deliberately not here: stepping through lines (`script::Debugger`), threads and sockets, which are the server's.
//!
//! Not done, and why: a snapshot for YES. Keys are copied one by one, each as it is when it is first named; a snapshot would
//! hold up writers or double memory. Records of keys (versions of elements, media types) are not copied: scripts do not
//! see them.
//!
//! Invariants: no partition of the node is locked while the script stands still; a keyspace of a session's own is never
//! journaled.

use crate::acl::{self, Context};
use crate::call::{Await, Call, Flow};
use crate::error::Error;
use crate::run::{self, Engine, Moment, Scratch};
use crate::script_cache::Scripts;
use crate::script_run::{NO_SCRIPT, key_count, lua_options, may_begin, outcome_of, resolve_within, script_header};
use crate::session::Session;
use crate::spec::{Flags, Scope, Spec};
use crate::within::{Origin, Stepped};
use base::{DB_COUNT, DbId, PartitionId};
use journal::Position;
use keyspace::{Begin, Keyspace, Tx};
use script::{
    Called, Caller, Console, Debugger, Digest, Engine as Lua, Kind, Run, ScriptFlags, Stop, Target, sha1_hex,
};
use std::cell::Cell;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use wire::args::{Args, Ranges};
use wire::reply::{Protocol, Reply};

/// Keys that a session copies at most, and bytes of them and of their values.
const COPIED_COUNT_MAX: usize = 100_000;
const COPIED_BYTES_MAX: usize = 256 << 20;
/// Bytes of a session's own keyspace past which its commands must not use more memory.
const OWN_BYTES_MAX: usize = 512 << 20;

const TOO_MUCH: Error = Error::text(
    "ERR the debugged script looks at more keys than are copied for it, see SCRIPT DEBUG SYNC for running it on the keys themselves",
);
const TOO_LARGE: &str = "OOM command not allowed: the debugged script has filled the memory it may use.";

/// What becomes of what a debugged script changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugMode {
    /// It is thrown away, and nobody waits (YES).
    Apart,
    /// It stays, and others wait (SYNC).
    Sync,
}

/// The client of a debugger, as the server reaches it.
pub trait DebugLine {
    /// Sends bytes that reveal what was committed up to `revealed`.
    fn send(&mut self, bytes: &[u8], revealed: Position);

    /// Waits for bytes of the client; `None` once it has gone.
    fn receive(&mut self) -> Option<Vec<u8>>;

    /// Whether it is known that the client has gone. What it sent before may still be received.
    fn is_gone(&self) -> bool;
}

/// A script that is to be run under a debugger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debugging {
    /// What becomes of what it changes.
    pub mode: DebugMode,
    read_only: bool,
    /// The command that runs it.
    args: Vec<Vec<u8>>,
}

/// How a session ended.
pub struct Debugged {
    /// The reply of the command that ran the script.
    pub reply: Vec<u8>,
    /// What it reveals.
    pub revealed: Position,
    /// What is to be passed on: garbage, and keys that somebody waits for.
    pub scratch: Scratch,
}

/// EVAL on a connection that debugs: the server runs it, on a thread where it may wait.
pub(crate) fn begin(call: &Call<'_>, spec: &Spec, mode: DebugMode) -> Result<Flow, Error> {
    if spec.name.starts_with("evalsha") {
        let is_name = <Digest>::try_from(call.arg(1)).is_ok();
        let refused = Error::text("ERR Please use EVAL instead of EVALSHA for debugging");
        return Err(if is_name { refused } else { NO_SCRIPT });
    }
    if !call.may_wait {
        return Err(Error::text("ERR a script is not debugged within MULTI"));
    }
    let args = call.args.iter().map(<[u8]>::to_vec).collect();
    let debugging = Debugging { mode, read_only: spec.flags.has(Flags::READONLY), args };
    Ok(Flow::Await(Await::Debug(Box::new(debugging))))
}

/// What the script's commands and the client's console both know.
struct Seen {
    revealed: Cell<Position>,
    /// The script has stood still: time has passed.
    has_waited: Cell<bool>,
}

impl Seen {
    fn reveal(&self, position: Position) {
        self.revealed.set(self.revealed.get().max(position));
    }
}

/// The client's console, with a clock.
struct Desk {
    line: Box<dyn DebugLine>,
    scripts: Arc<Scripts>,
    seen: Rc<Seen>,
}

impl Console for Desk {
    fn send(&mut self, bytes: &[u8]) {
        self.line.send(bytes, self.seen.revealed.get());
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        self.seen.has_waited.set(true);
        self.line.receive()
    }

    fn is_gone(&self) -> bool {
        self.line.is_gone()
    }

    fn now_ms(&self) -> u64 {
        self.scripts.monotonic_ms()
    }

    fn slow_after_ms(&self) -> u64 {
        self.scripts.slow_after_ms()
    }
}

impl Debugging {
    /// Runs the session to its end, on this thread, and returns the reply of EVAL. `session` is a copy of the connection's;
    /// `moments` gives the moment it is now.
    ///
    /// # Cost
    /// Waits for the client, holding no lock.
    pub fn run(
        &self,
        engine: Engine<'_>,
        session: &mut Session,
        moments: &dyn Fn() -> Moment,
        line: Box<dyn DebugLine>,
    ) -> Debugged {
        let mut args = Ranges::new();
        args.begin_own();
        self.args.iter().for_each(|arg| args.add(arg));
        let args = args.args(&[]);
        // Nobody is told of what happens to keys that nobody sees.
        let (own, engine) = match self.mode {
            DebugMode::Apart => (Some(Own::of(engine.keyspace)), Engine { observer: &(), ..engine }),
            DebugMode::Sync => (None, engine),
        };
        if own.is_some() {
            session.caching = None;
        }
        let seen = Rc::new(Seen { revealed: Cell::new(Position::ZERO), has_waited: Cell::new(false) });
        let scripts = Arc::clone(engine.host.scripts());
        let desk = Desk { line, scripts, seen: Rc::clone(&seen) };
        let debugger = Rc::new(Debugger::new(args.at(1), Box::new(desk)));
        let protocol = session.protocol;
        let moment = moments();
        let mut stage = Stage {
            engine,
            session,
            moments,
            moment,
            own,
            seen: Rc::clone(&seen),
            scratch: Scratch::default(),
            may_write: !self.read_only,
            may_grow: false,
            has_written: false,
        };
        let mut reply = Vec::new();
        if let Err(error) = self.run_script(&args, &debugger, &mut stage, protocol, &mut reply) {
            reply.clear();
            Reply::new(&mut reply, protocol).error(error.reply());
        }
        debugger.end();
        Debugged { reply, revealed: seen.revealed.get(), scratch: stage.scratch }
    }

    fn run_script(
        &self,
        args: &Args<'_>,
        debugger: &Rc<Debugger>,
        stage: &mut Stage<'_>,
        protocol: Protocol,
        reply: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let key_count = key_count(args, Error::NotInteger)?;
        let (host, body) = (stage.engine.host, args.at(1));
        let header = script_header(body)?;
        may_begin(stage.moment.refuse_growth, header.flags, self.read_only)?;
        stage.may_write &= !header.flags.has(ScriptFlags::NO_WRITES);
        stage.may_grow = header.flags.has(ScriptFlags::ALLOW_OOM);
        let sha = sha1_hex(body);
        let run = Run { target: Target::Script { sha: &sha, body }, params: args.skip(3), key_count };
        let mut lua = Lua::new(&lua_options(host, Kind::Script));
        if let Err(failure) = lua.compile(&sha, body) {
            return outcome_of(Err(failure), Kind::Script, reply);
        }
        if self.mode == DebugMode::Sync {
            host.scripts().add(&sha, body, header.flags, false);
        }
        let ended = lua.debug(&run, debugger, stage, &mut Reply::new(reply, protocol));
        outcome_of(ended, Kind::Script, reply)
    }
}

/// A debugged script while it runs.
struct Stage<'s> {
    engine: Engine<'s>,
    session: &'s mut Session,
    moments: &'s dyn Fn() -> Moment,
    /// The moment of its commands, until it stands still.
    moment: Moment,
    /// Where its commands run, if that is not the node.
    own: Option<Own>,
    seen: Rc<Seen>,
    scratch: Scratch,
    may_write: bool,
    may_grow: bool,
    has_written: bool,
}

impl Stage<'_> {
    fn ready(&mut self, args: &Args<'_>) -> Result<run::Resolved, Error> {
        if self.seen.has_waited.take() {
            self.moment = (self.moments)();
        }
        let own_is_full = self.own.as_ref().is_some_and(|own| OWN_BYTES_MAX < own.used_bytes.get());
        let refuse_growth = if own_is_full { Some(TOO_LARGE) } else { self.moment.refuse_growth };
        let refuses = !self.may_grow && !self.has_written || own_is_full;
        let resolved = resolve_within(args, self.may_write, refuse_growth.filter(|_| refuses))?;
        acl::permit_again(self.engine.host, self.session, resolved, args, Context::Script)?;
        if let Some(own) = &mut self.own {
            own.bring(self.engine, &self.moment, self.session.db, resolved.spec, args, &self.seen)?;
        }
        let is_refused = self.own.is_none() && self.moment.refuse_growth.is_some();
        if is_refused && resolved.spec.flags.has(Flags::WRITE) && !run::has_reserve(self.engine.journal, args) {
            return Err(Error::text(run::NO_SPACE));
        }
        Ok(resolved)
    }

    fn step(&mut self, resolved: run::Resolved, args: Args<'_>, protocol: Protocol, out: &mut Vec<u8>) -> Stepped {
        let Stage { engine, session, moment, own, scratch, .. } = self;
        let keyspace = own.as_ref().map_or(engine.keyspace, |own| &own.keyspace);
        let begin = begin_at(moment, session.db, session.no_touch);
        let ids = match own {
            Some(_) => keyspace.ids().collect(),
            None => run::partitions(keyspace, resolved.spec, &args).unwrap_or_default(),
        };
        let mut tx = Tx::begin(keyspace, engine.journal, &ids, begin, &mut scratch.effects);
        if session.imports && tx.keeps_ended() {
            tx.see_ended();
        }
        tx.set_origin(session.id);
        let Engine { host, observer, .. } = *engine;
        let (reply, refuse_growth) = (Reply::new(out, protocol), moment.refuse_growth);
        let mut call = Call { args, reply, tx, session, host, observer, may_wait: false, refuse_growth };
        let stepped = call.step(resolved, args, Origin::Script);
        if let Some(own) = own.as_ref() {
            own.used_bytes.set(call.tx.used_bytes());
            // Values go as they come: nobody else frees them before the session ends.
            call.tx.forget(&mut Vec::new());
            return stepped;
        }
        let committed = call.tx.commit(&mut scratch.garbage);
        self.seen.reveal(committed.revealed);
        scratch.ready.extend(committed.ready);
        stepped
    }
}

fn begin_at(moment: &Moment, db: DbId, no_touch: bool) -> Begin {
    Begin { db, now: moment.now, clock: moment.clock, no_touch }
}

impl Caller for Stage<'_> {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut Vec<u8>) -> Called {
        let resolved = match self.ready(&args) {
            Ok(resolved) => resolved,
            Err(error) => {
                self.engine.observer.refused(&args, error.reply());
                Reply::new(reply, protocol).error(error.reply());
                return Called::Declined;
            }
        };
        self.has_written |= resolved.spec.flags.has(Flags::WRITE);
        let stepped = self.step(resolved, args, protocol, reply);
        if stepped.is_refused { Called::Refused } else { Called::Replied }
    }

    fn permitted(&mut self, args: Args<'_>) -> Option<bool> {
        run::resolve(&args).ok().map(|resolved| acl::may_run(self.session, resolved, &args))
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        self.engine.host.log_of_script(level, &String::from_utf8_lossy(text));
    }

    fn tick(&mut self) -> Option<Stop> {
        self.engine.host.scripts().is_stopping().then_some(Stop::Killed)
    }
}

fn is_flush_mode(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"async") || word.eq_ignore_ascii_case(b"sync")
}

/// A keyspace of a session's own, and which keys of the node it has.
struct Own {
    keyspace: Keyspace,
    copied: HashSet<(DbId, Vec<u8>)>,
    copied_bytes: usize,
    /// Of these databases there is everything that the script is to see.
    is_complete: [bool; DB_COUNT],
    used_bytes: Cell<usize>,
}

impl Own {
    fn of(node: &Keyspace) -> Own {
        let keyspace = Keyspace::new(1);
        keyspace.set_keeps_ended(node.keeps_ended());
        keyspace.set_stream_limits(node.stream_limits());
        let (copied, is_complete) = (HashSet::new(), [false; DB_COUNT]);
        Own { keyspace, copied, copied_bytes: 0, is_complete, used_bytes: Cell::new(0) }
    }

    /// Sees to it that what a command touches is there as it is on the node, unless the script has changed it.
    fn bring(
        &mut self,
        engine: Engine<'_>,
        moment: &Moment,
        db: DbId,
        spec: &Spec,
        args: &Args<'_>,
        seen: &Seen,
    ) -> Result<(), Error> {
        let mut from = From { engine, moment, seen };
        let all = || (0..DB_COUNT).map(|db| DbId(db as u8));
        let looks_aside = |arg: &[u8]| arg.eq_ignore_ascii_case(b"by") || arg.eq_ignore_ascii_case(b"get");
        let by_keys = match spec.scope {
            Scope::Nothing | Scope::Queued | Scope::Script => return Ok(()),
            Scope::Keys => true,
            Scope::Each | Scope::Whole => spec.name.starts_with("sort") && !args.iter().any(looks_aside),
        };
        if by_keys {
            let mut keys = Vec::new();
            spec.keys.each(args, |index| keys.push(args.at(index)));
            // Their other key is in a database that the arguments name.
            let dbs = if matches!(spec.name, "copy" | "move") { all().collect() } else { vec![db] };
            return dbs.into_iter().try_for_each(|db| keys.iter().try_for_each(|key| self.copy(&mut from, db, key)));
        }
        let is_flush_refused = || 2 < args.count() || args.count() == 2 && !is_flush_mode(args.at(1));
        match spec.name {
            "flushall" | "flushdb" if is_flush_refused() => {}
            "flushall" => self.is_complete = [true; DB_COUNT],
            "flushdb" => self.is_complete[usize::from(db.0)] = true,
            "swapdb" => all().try_for_each(|db| self.copy_all(&mut from, db))?,
            _ => self.copy_all(&mut from, db)?,
        }
        Ok(())
    }

    fn copy_all(&mut self, from: &mut From<'_>, db: DbId) -> Result<(), Error> {
        if self.is_complete[usize::from(db.0)] {
            return Ok(());
        }
        for key in from.keys(db)? {
            self.copy(from, db, &key)?;
        }
        self.is_complete[usize::from(db.0)] = true;
        Ok(())
    }

    fn copy(&mut self, from: &mut From<'_>, db: DbId, key: &[u8]) -> Result<(), Error> {
        if self.is_complete[usize::from(db.0)] || self.copied.contains(&(db, key.to_vec())) {
            return Ok(());
        }
        let (engine, moment) = (from.engine, from.moment);
        let mut spare = Vec::new();
        let ids = [engine.keyspace.partition_of(key)];
        let mut tx = Tx::begin(engine.keyspace, engine.journal, &ids, begin_at(moment, db, true), &mut spare);
        tx.read_in_place();
        let found = tx.peek(key).map(|found| (tx.entry(found).expires(), tx.entry(found).access()));
        let image = tx.image(key);
        from.seen.reveal(tx.commit(&mut Vec::new()).revealed);
        let image = image?;
        let value_bytes = image.as_ref().map_or(0, |(_, image)| image.len());
        self.copied_bytes += key.len() + value_bytes;
        if COPIED_COUNT_MAX <= self.copied.len() || COPIED_BYTES_MAX < self.copied_bytes {
            return Err(TOO_MUCH);
        }
        self.copied.insert((db, key.to_vec()));
        let (Some((expires, access)), Some((kind, image))) = (found, image) else { return Ok(()) };
        let ids: Vec<PartitionId> = self.keyspace.ids().collect();
        let mut tx = Tx::begin(&self.keyspace, engine.journal, &ids, begin_at(moment, db, true), &mut spare);
        tx.put_image(key, kind, &image, expires);
        if let Some(found) = tx.peek(key) {
            tx.set_access(found, access);
        }
        tx.forget(&mut Vec::new());
        Ok(())
    }
}

/// Where keys are copied from.
struct From<'f> {
    engine: Engine<'f>,
    moment: &'f Moment,
    seen: &'f Seen,
}

impl From<'_> {
    /// The keys of a database.
    fn keys(&mut self, db: DbId) -> Result<Vec<Vec<u8>>, Error> {
        let (mut keys, mut spare) = (Vec::new(), Vec::new());
        let begin = begin_at(self.moment, db, true);
        let mut tx = Tx::begin(self.engine.keyspace, self.engine.journal, &[], begin, &mut spare);
        let walked = tx.each_partition(PartitionId(0), |partition, physical| {
            let index = partition.index(physical);
            if COPIED_COUNT_MAX < keys.len() + index.len() {
                return ControlFlow::Break(());
            }
            index.each(|entry| keys.push(entry.key().to_vec()));
            ControlFlow::Continue(())
        });
        self.seen.reveal(tx.commit(&mut Vec::new()).revealed);
        if walked.is_break() { Err(TOO_MUCH) } else { Ok(keys) }
    }
}
