//! Runs a script within a call: its locks, its commands, its end.
//!
//! ```text
//! locks taken ─► values of its keys fetched ─► script ─► redis.call: resolve, allow, lock, run ─► … ─► reply
//! ```
//!
//! A script's commands run within its transaction (`within.rs`), so that all it changed is one batch. It locks the
//! partitions of the keys it was given once it has been seen to touch no others; before that, and when it was seen to
//! touch others, it locks all. See docs/adr/0012-scripts-and-their-locks.md.
//!
//! Lua states are the thread's: a script runs where its connection does, without a hop. Deliberately not here: which
//! scripts there are (`script_cache.rs`).

use crate::acl::{self, Context};
use crate::call::{Call, Flow};
use crate::error::Error;
use crate::host::Host;
use crate::refuse;
use crate::run::{self, Engine, Resolved};
use crate::script_cache::{Running, Script, Scripts};
use crate::session::Session;
use crate::spec::{Flags, Scope, Spec};
use base::PartitionId;
use keyspace::Keyspace;
use script::{Called, Caller, Digest, Engine as Lua, Failure, Kind, Options, Run, ScriptFlags, Stop, Target, sha1_hex};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wire::args::Args;
use wire::reply::{Protocol, Reply};

/// The Redis version that scripts are told.
const VERSION: &str = "7.2.4";
/// How often a partition that somebody else holds is tried before a script that strays gets an error.
const STRAY_TRIES_MAX: u32 = 10_000;
/// Arguments and bytes of each that are shown of a command whose script runs.
const SHOWN_ARGS_COUNT_MAX: usize = 32;
const SHOWN_ARG_BYTES_MAX: usize = 128;

/// Memory for replies that a thread keeps.
const REPLY_KEPT_BYTES_MAX: usize = 1 << 20;

const NO_SCRIPT: Error = Error::text("NOSCRIPT No matching script. Please use EVAL.");

/// The script that a command names, found before its locks were taken.
#[derive(Clone, Debug)]
pub struct Located {
    sha: Digest,
    script: Option<Arc<Script>>,
}

fn is_by_sha(spec: &Spec) -> bool {
    spec.name.starts_with("evalsha")
}

fn locate(scripts: &Scripts, by_sha: bool, given: &[u8]) -> Option<Located> {
    let sha =
        if by_sha { <Digest>::try_from(given).ok()?.map(|byte| byte.to_ascii_lowercase()) } else { sha1_hex(given) };
    Some(Located { sha, script: scripts.find(&sha) })
}

/// The partitions to lock for a script, ascending; remembers the script for the handler.
pub(crate) fn locks(
    engine: Engine<'_>,
    session: &mut Session,
    spec: &Spec,
    args: &Args<'_>,
) -> SmallVec<[PartitionId; 4]> {
    session.located = locate(engine.host.scripts(), is_by_sha(spec), args.at(1));
    let keeps = |located: &Located| located.script.as_ref().is_some_and(|script| script.habit.keeps());
    if session.located.as_ref().is_some_and(keeps) {
        declared(engine.keyspace, spec, args)
    } else {
        engine.keyspace.ids().collect()
    }
}

fn declared(keyspace: &Keyspace, spec: &Spec, args: &Args<'_>) -> SmallVec<[PartitionId; 4]> {
    let mut ids = SmallVec::new();
    spec.keys.each(args, |index| ids.push(keyspace.partition_of(args.at(index))));
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// What a thread keeps for the scripts it runs.
struct OfThread {
    generation: u64,
    lua: Lua,
    lua_bytes: Arc<AtomicUsize>,
    reply: Vec<u8>,
}

thread_local! {
    static OF_THREAD: RefCell<Option<OfThread>> = const { RefCell::new(None) };
}

/// The thread's Lua state, taken out of it so that a panic cannot leave a torn one behind.
fn take_lua(host: &dyn Host) -> OfThread {
    let generation = host.scripts().generation();
    let kept = OF_THREAD.with_borrow_mut(Option::take);
    kept.filter(|kept| kept.generation == generation).unwrap_or_else(|| {
        let insecure = host.setting("lua-enable-insecure-api").is_some_and(|value| value == "yes");
        let options = Options { kind: Kind::Script, insecure, version: VERSION, seed: host.random() };
        OfThread { generation, lua: Lua::new(&options), lua_bytes: host.scripts().new_state(), reply: Vec::new() }
    })
}

fn give_back(mut of_thread: OfThread) {
    of_thread.lua_bytes.store(of_thread.lua.memory_bytes(), Ordering::Relaxed);
    if of_thread.reply.capacity() > REPLY_KEPT_BYTES_MAX {
        of_thread.reply = Vec::new();
    }
    OF_THREAD.with_borrow_mut(|kept| *kept = Some(of_thread));
}

/// Checks that a script compiles and adds it.
pub(crate) fn register(host: &dyn Host, sha: &Digest, body: &[u8], is_loaded: bool) -> Result<Arc<Script>, Error> {
    let header = script::script_header(body).map_err(|text| refuse!("ERR {text}"))?;
    if !header.engine.eq_ignore_ascii_case("lua") {
        return Err(refuse!("ERR Could not find scripting engine '{}'", header.engine));
    }
    let mut of_thread = take_lua(host);
    let compiled = of_thread.lua.compile(sha, body);
    give_back(of_thread);
    match compiled {
        Ok(()) => Ok(host.scripts().add(sha, body, header.flags, is_loaded)),
        Err(Failure::Refused(text)) => Err(refuse!("ERR {text}")),
        Err(Failure::Stopped(_)) => unreachable!("compiling runs nothing"),
    }
}

fn key_count(call: &Call<'_>) -> Result<usize, Error> {
    let count = call.integer(2)?;
    if count < 0 {
        return Err(Error::text("ERR Number of keys can't be negative"));
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > call.arg_count() - 3 {
        return Err(Error::text("ERR Number of keys can't be greater than number of args"));
    }
    Ok(count)
}

/// Whether a script with these flags may begin.
fn may_begin(call: &Call<'_>, flags: ScriptFlags, read_only: bool) -> Result<(), Error> {
    if flags.has(ScriptFlags::COMPATIBLE) || flags.has(ScriptFlags::NO_WRITES) {
        return Ok(());
    }
    if read_only {
        return Err(Error::text("ERR Can not execute a script with write flag using *_ro command."));
    }
    match call.refuse_growth {
        Some(why) if why.starts_with("OOM") && !flags.has(ScriptFlags::ALLOW_OOM) => Err(Error::text(
            "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
        )),
        Some(why) if !why.starts_with("OOM") => Err(Error::text(why)),
        _ => Ok(()),
    }
}

/// EVAL, EVALSHA and their forms that only read.
pub(crate) fn eval(call: &mut Call<'_>, spec: &Spec) -> Result<Flow, Error> {
    let located = match call.session.located.take() {
        Some(located) => Some(located),
        None => locate(call.host.scripts(), is_by_sha(spec), call.arg(1)),
    };
    let key_count = key_count(call)?;
    let script = match located {
        Some(Located { script: Some(script), .. }) => script,
        Some(Located { sha, script: None }) if !is_by_sha(spec) => register(call.host, &sha, call.arg(1), false)?,
        _ => return Err(NO_SCRIPT),
    };
    let read_only = spec.flags.has(Flags::READONLY);
    may_begin(call, script.flags, read_only)?;
    let params = call.args.skip(3);
    if call.may_wait {
        for index in 0..key_count {
            call.tx.fetch_ahead(params.at(index));
        }
        if call.tx.missing_count() > 0 {
            return Err(Error::Spilled);
        }
    }
    let command = call.args.iter().take(SHOWN_ARGS_COUNT_MAX);
    let command = command.map(|arg| arg[..arg.len().min(SHOWN_ARG_BYTES_MAX)].to_vec()).collect();
    let running = call.host.scripts().watch(&script.sha, true, command);
    let mut of_thread = take_lua(call.host);
    let OfThread { lua, reply, .. } = &mut of_thread;
    reply.clear();
    let (protocol, db) = (call.reply.protocol(), call.session.db);
    let ids = declared(call.tx.keyspace(), spec, &call.args);
    let mut within = Within {
        may_write: !read_only && !script.flags.has(ScriptFlags::NO_WRITES),
        may_grow: script.flags.has(ScriptFlags::ALLOW_OOM),
        has_all: call.tx.has_locked_all(),
        may_begin_anew: call.may_wait,
        strayed: false,
        declared: ids,
        running: &running,
        call,
    };
    let target = Target::Script { sha: &script.sha, body: &script.body };
    let run = Run { target, params, key_count };
    let ended = lua.run(&run, &mut within, Arc::clone(&running) as _, &mut Reply::new(reply, protocol));
    script.habit.note(within.strayed);
    call.session.db = db;
    call.tx.set_db(db);
    let outcome = match ended {
        Ok(outcome) if outcome.is_error => {
            let text = reply.get(1..reply.len() - 2).unwrap_or_default();
            Err(Error::Reply(String::from_utf8_lossy(text).into_owned().into()))
        }
        Ok(_) => {
            call.reply.raw(reply);
            Ok(Flow::Done)
        }
        Err(Failure::Refused(text)) => Err(refuse!("ERR {text}")),
        Err(Failure::Stopped(Stop::Abandoned)) => Err(Error::Spilled),
        Err(Failure::Stopped(Stop::Killed | Stop::TimedOut)) => {
            Err(Error::text("ERR Script killed by user with SCRIPT KILL."))
        }
    };
    give_back(of_thread);
    outcome
}

/// A script while it runs.
struct Within<'w, 'c> {
    call: &'w mut Call<'c>,
    running: &'w Running,
    may_write: bool,
    /// It may use more memory whatever there is left.
    may_grow: bool,
    has_all: bool,
    /// Nobody minds when it is run anew, as long as it has changed nothing.
    may_begin_anew: bool,
    strayed: bool,
    declared: SmallVec<[PartitionId; 4]>,
}

/// Why a command of a script does not run.
enum Refusal {
    Reply(Error),
    Abandon,
}

impl Caller for Within<'_, '_> {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut Vec<u8>) -> Called {
        let ready = self.resolve(&args).and_then(|resolved| {
            acl::permit_again(self.call.host, self.call.session, resolved, &args, Context::Script)?;
            Ok(resolved)
        });
        let ready = ready.map_err(Refusal::Reply).and_then(|resolved| {
            self.lock(resolved.spec, &args)?;
            Ok(resolved)
        });
        let resolved = match ready {
            Ok(resolved) => resolved,
            Err(Refusal::Abandon) => return Called::Abandoned,
            Err(Refusal::Reply(error)) => {
                Reply::new(reply, protocol).error(error.reply());
                return Called::Refused;
            }
        };
        if resolved.spec.flags.has(Flags::WRITE) {
            self.running.writes();
        }
        if self.call.nested(resolved, args, protocol, reply).is_refused { Called::Refused } else { Called::Replied }
    }

    fn permitted(&mut self, args: Args<'_>) -> Option<bool> {
        run::resolve(&args).ok().map(|resolved| acl::may_run(self.call.session, resolved, &args))
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        self.call.host.log_of_script(level, &String::from_utf8_lossy(text));
    }
}

impl Within<'_, '_> {
    /// Finds a command's row and whether a script may run it.
    fn resolve(&self, args: &Args<'_>) -> Result<Resolved, Error> {
        let resolved = run::resolve(args).map_err(|error| {
            let text = error.reply();
            if text.starts_with("ERR unknown command") {
                Error::text("ERR Unknown command called from script")
            } else if text.starts_with("ERR wrong number of arguments") {
                Error::text("ERR Wrong number of args calling command from script")
            } else {
                error
            }
        })?;
        let flags = resolved.spec.flags;
        if (flags.0 | resolved.row.spec.flags.0) & Flags::NOSCRIPT.0 != 0 {
            return Err(Error::text("ERR This Redis command is not allowed from script"));
        }
        if flags.has(Flags::WRITE) && !self.may_write {
            return Err(Error::text("ERR Write commands are not allowed from read-only scripts."));
        }
        match self.call.refuse_growth {
            Some(why) if flags.has(Flags::DENYOOM) && !self.may_grow && !self.running.has_written() => {
                Err(Error::text(why))
            }
            _ => Ok(resolved),
        }
    }

    /// Sees to it that what the command touches is locked.
    fn lock(&mut self, spec: &Spec, args: &Args<'_>) -> Result<(), Refusal> {
        let needs_all = match spec.scope {
            Scope::Nothing | Scope::Queued => return Ok(()),
            Scope::Each | Scope::Whole | Scope::Script => true,
            Scope::Keys => false,
        };
        if needs_all {
            self.strayed = true;
        } else {
            let (keyspace, declared) = (self.call.tx.keyspace(), &self.declared);
            let mut strays = false;
            spec.keys.each(args, |index| {
                strays |= !declared.contains(&keyspace.partition_of(args.at(index)));
            });
            if !strays {
                return Ok(());
            }
            self.strayed = true;
        }
        if self.has_all {
            return Ok(());
        }
        if self.may_begin_anew && !self.call.tx.has_changes() {
            return Err(Refusal::Abandon);
        }
        self.lock_more(spec, args, needs_all)
    }

    /// It has changed something already: what it lacks is taken if whoever has it lets go soon.
    #[cold]
    fn lock_more(&mut self, spec: &Spec, args: &Args<'_>, needs_all: bool) -> Result<(), Refusal> {
        let mut wanted: SmallVec<[PartitionId; 4]> = if needs_all {
            self.call.tx.keyspace().ids().collect()
        } else {
            declared(self.call.tx.keyspace(), spec, args)
        };
        for _ in 0..STRAY_TRIES_MAX {
            wanted.retain(|id| !self.call.tx.lock_partition_also(*id));
            if wanted.is_empty() {
                self.has_all = needs_all;
                return Ok(());
            }
            std::thread::yield_now();
        }
        Err(Refusal::Reply(Error::text(
            "TRYAGAIN The script touched keys that it did not declare and that are in use; what it did before remains",
        )))
    }
}
