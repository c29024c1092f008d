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
use crate::libraries::Found;
use crate::refuse;
use crate::run::{self, Engine, Resolved};
use crate::script_cache::{About, Habit, Running, Script, Scripts};
use crate::script_debug;
use crate::session::Session;
use crate::spec::{Flags, Scope, Spec};
use base::PartitionId;
use base::number::parse_i64;
use foldhash::fast::FixedState;
use journal::Position;
use keyspace::Keyspace;
use script::{
    Called, Caller, Declared, Digest, Engine as Lua, Failure, Header, Kind, Options, Outcome, Run, ScriptFlags, Stop,
    Target, sha1_hex,
};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::BuildHasher;
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

pub(crate) const NO_SCRIPT: Error = Error::text("NOSCRIPT No matching script. Please use EVAL.");

/// What a command names, found before its locks were taken.
#[derive(Clone, Debug)]
pub enum Located {
    /// A script.
    Script {
        /// Its name.
        sha: Digest,
        /// The script, if it is known.
        script: Option<Arc<Script>>,
    },
    /// A function of a library.
    Function {
        /// The function, if there is one.
        found: Option<Found>,
        /// What that reveals. Unknown, everything gets locked.
        revealed: Option<Position>,
    },
}

impl Located {
    /// Whether it is seen to keep to the keys it is given.
    fn keeps(&self) -> bool {
        match self {
            Located::Script { script, .. } => script.as_ref().is_some_and(|script| script.habit.keeps()),
            Located::Function { found, revealed } => {
                let keeps = |found: &Found| found.function().habit.keeps();
                revealed.is_some() && found.as_ref().is_some_and(keeps)
            }
        }
    }
}

fn is_by_sha(spec: &Spec) -> bool {
    spec.name.starts_with("evalsha")
}

fn is_of_function(spec: &Spec) -> bool {
    spec.name.starts_with("fcall")
}

/// Scripts by the hash of their text that a thread remembers, so that EVAL need not make out the name of one it has just
/// run. A power of two.
const RECENT_SCRIPTS: usize = 16;

thread_local! {
    static RECENT: RefCell<[Option<Arc<Script>>; RECENT_SCRIPTS]> = const { RefCell::new([const { None }; RECENT_SCRIPTS]) };
}

/// The script with this text, and its name.
fn locate_text(scripts: &Scripts, text: &[u8]) -> Located {
    let slot = FixedState::with_seed(0).hash_one(text) as usize % RECENT_SCRIPTS;
    let recent = RECENT.with_borrow(|recent| recent[slot].clone());
    if let Some(script) = recent.filter(|script| *script.body == *text && scripts.is_used_again(script)) {
        return Located::Script { sha: script.sha, script: Some(script) };
    }
    let sha = sha1_hex(text);
    let script = scripts.find(&sha);
    if let Some(script) = &script {
        RECENT.with_borrow_mut(|recent| recent[slot] = Some(Arc::clone(script)));
    }
    Located::Script { sha, script }
}

fn locate(scripts: &Scripts, by_sha: bool, given: &[u8]) -> Option<Located> {
    if !by_sha {
        return Some(locate_text(scripts, given));
    }
    let sha = <Digest>::try_from(given).ok()?.map(|byte| byte.to_ascii_lowercase());
    Some(Located::Script { sha, script: scripts.find(&sha) })
}

fn locate_function(engine: Engine<'_>, name: &[u8]) -> Located {
    let (found, revealed) = engine.host.scripts().libraries().find(name, engine.keyspace);
    Located::Function { found, revealed }
}

/// The flags of a command with these arguments: a script that declares not to write is not held back as writes are.
pub fn flags_of(scripts: &Scripts, keyspace: &Keyspace, spec: &Spec, args: &Args<'_>) -> Flags {
    if spec.scope != Scope::Script || !spec.flags.has(Flags::MAY_REPLICATE) {
        return spec.flags;
    }
    let declared = if is_of_function(spec) {
        scripts.libraries().find(args.at(1), keyspace).0.map(|found| found.function().declared.flags)
    } else if is_by_sha(spec) {
        locate(scripts, true, args.at(1)).and_then(|located| match located {
            Located::Script { script, .. } => script.map(|script| script.flags),
            Located::Function { .. } => None,
        })
    } else {
        script::script_header(args.at(1)).ok().map(|header| header.flags)
    };
    let only_reads = declared.is_some_and(|declared| declared.has(ScriptFlags::NO_WRITES));
    if only_reads { spec.flags.without(Flags::MAY_REPLICATE) } else { spec.flags }
}

/// The partitions to lock for a script, ascending; remembers the script for the handler.
pub(crate) fn locks(
    engine: Engine<'_>,
    session: &mut Session,
    spec: &Spec,
    args: &Args<'_>,
) -> SmallVec<[PartitionId; 4]> {
    session.located = if is_of_function(spec) {
        Some(locate_function(engine, args.at(1)))
    } else {
        locate(engine.host.scripts(), is_by_sha(spec), args.at(1))
    };
    if session.located.as_ref().is_some_and(Located::keeps) {
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
    kind: Kind,
    lua: Lua,
    lua_bytes: Arc<AtomicUsize>,
    reply: Vec<u8>,
}

thread_local! {
    /// For scripts, and for functions.
    static OF_THREAD: RefCell<[Option<OfThread>; 2]> = const { RefCell::new([None, None]) };
}

/// The thread's Lua state of a kind, taken out of it so that a panic cannot leave a torn one behind.
fn take_lua(host: &dyn Host, kind: Kind) -> OfThread {
    let generation = host.scripts().generation(kind);
    let kept = OF_THREAD.with_borrow_mut(|kept| kept[kind as usize].take());
    kept.filter(|kept| kept.generation == generation).unwrap_or_else(|| {
        let lua_bytes = host.scripts().new_state(kind);
        OfThread { generation, kind, lua: Lua::new(&lua_options(host, kind)), lua_bytes, reply: Vec::new() }
    })
}

/// What a Lua state is made with.
pub(crate) fn lua_options(host: &dyn Host, kind: Kind) -> Options {
    let insecure = host.setting("lua-enable-insecure-api").is_some_and(|value| value == "yes");
    Options { kind, insecure, version: VERSION, seed: host.random() }
}

fn give_back(mut of_thread: OfThread) {
    of_thread.lua_bytes.store(of_thread.lua.memory_bytes(), Ordering::Relaxed);
    if of_thread.reply.capacity() > REPLY_KEPT_BYTES_MAX {
        of_thread.reply = Vec::new();
    }
    let slot = of_thread.kind as usize;
    OF_THREAD.with_borrow_mut(|kept| kept[slot] = Some(of_thread));
}

/// What a script's first line declares.
pub(crate) fn script_header(body: &[u8]) -> Result<Header, Error> {
    let header = script::script_header(body).map_err(|text| refuse!("ERR {text}"))?;
    if !header.engine.eq_ignore_ascii_case("lua") {
        return Err(refuse!("ERR Unexpected engine in script shebang: #!{}", header.engine));
    }
    Ok(header)
}

/// Checks that a script compiles and adds it.
pub(crate) fn register(host: &dyn Host, sha: &Digest, body: &[u8], is_loaded: bool) -> Result<Arc<Script>, Error> {
    let header = script_header(body)?;
    let mut of_thread = take_lua(host, Kind::Script);
    let compiled = of_thread.lua.compile(sha, body);
    give_back(of_thread);
    match compiled {
        Ok(()) => Ok(host.scripts().add(sha, body, header.flags, is_loaded)),
        Err(Failure::Refused(text)) => Err(refuse!("ERR {text}")),
        Err(Failure::Stopped(_)) => unreachable!("compiling runs nothing"),
    }
}

/// Runs a library's code and says what it registers; `time_max_ms` is how long that may take.
pub(crate) fn load_library(
    host: &dyn Host,
    name: &[u8],
    stamp: u64,
    code: &[u8],
    time_max_ms: Option<u64>,
) -> Result<Declared, Error> {
    let mut of_thread = take_lua(host, Kind::Function);
    // Those that were deleted are still in there.
    if of_thread.lua.library_count() > 2 * host.scripts().libraries().read(|catalog| catalog.libraries().len()) + 16 {
        drop(of_thread);
        of_thread = take_lua(host, Kind::Function);
    }
    let until_ms = time_max_ms.map(|ms| host.scripts().monotonic_ms() + ms);
    let loaded = of_thread.lua.load(name, stamp, code, &mut Loading { host, until_ms });
    give_back(of_thread);
    loaded.map_err(|failure| match failure {
        Failure::Refused(text) => refuse!("ERR {text}"),
        Failure::Stopped(_) => Error::text("ERR Error registering functions: FUNCTION LOAD timeout"),
    })
}

/// A library while it is loaded.
struct Loading<'h> {
    host: &'h dyn Host,
    until_ms: Option<u64>,
}

impl Caller for Loading<'_> {
    fn call(&mut self, _args: Args<'_>, protocol: Protocol, reply: &mut Vec<u8>) -> Called {
        Reply::new(reply, protocol).error("ERR This Redis command is not allowed from script");
        Called::Refused
    }

    fn permitted(&mut self, _args: Args<'_>) -> Option<bool> {
        None
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        self.host.log_of_script(level, &String::from_utf8_lossy(text));
    }

    fn tick(&mut self) -> Option<Stop> {
        let is_over = self.until_ms.is_some_and(|until_ms| until_ms < self.host.scripts().monotonic_ms());
        is_over.then_some(Stop::TimedOut)
    }
}

/// How many keys the arguments of a command that runs a script say there are.
pub(crate) fn key_count(args: &Args<'_>, not_a_number: Error) -> Result<usize, Error> {
    let count = parse_i64(args.at(2)).ok_or(not_a_number)?;
    if count < 0 {
        return Err(Error::text("ERR Number of keys can't be negative"));
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > args.count() - 3 {
        return Err(Error::text("ERR Number of keys can't be greater than number of args"));
    }
    Ok(count)
}

/// Whether a script with these flags may begin.
pub(crate) fn may_begin(refuse_growth: Option<&'static str>, flags: ScriptFlags, read_only: bool) -> Result<(), Error> {
    if flags.has(ScriptFlags::COMPATIBLE) || flags.has(ScriptFlags::NO_WRITES) {
        return Ok(());
    }
    if read_only {
        return Err(Error::text("ERR Can not execute a script with write flag using *_ro command."));
    }
    match refuse_growth {
        Some(why) if why.starts_with("OOM") && !flags.has(ScriptFlags::ALLOW_OOM) => Err(Error::text(
            "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
        )),
        Some(why) if !why.starts_with("OOM") => Err(Error::text(why)),
        _ => Ok(()),
    }
}

/// EVAL, EVALSHA and their forms that only read.
pub(crate) fn eval(call: &mut Call<'_>, spec: &Spec) -> Result<Flow, Error> {
    if let Some(mode) = call.session.debugs {
        call.session.located = None;
        return script_debug::begin(call, spec, mode);
    }
    let located = match call.session.located.take() {
        Some(located) => Some(located),
        None => locate(call.host.scripts(), is_by_sha(spec), call.arg(1)),
    };
    let key_count = key_count(&call.args, Error::NotInteger)?;
    let script = match located {
        Some(Located::Script { script: Some(script), .. }) => script,
        Some(Located::Script { sha, script: None }) if !is_by_sha(spec) => {
            register(call.host, &sha, call.arg(1), false)?
        }
        _ => return Err(NO_SCRIPT),
    };
    let target = Target::Script { sha: &script.sha, body: &script.body };
    run_program(
        call,
        spec,
        &Program { target, name: &script.sha, flags: script.flags, habit: &script.habit, key_count },
    )
}

/// FCALL and FCALL_RO.
pub(crate) fn fcall(call: &mut Call<'_>, spec: &Spec) -> Result<Flow, Error> {
    let found = match call.session.located.take() {
        Some(Located::Function { found, revealed }) => {
            call.tx.reveal(revealed.unwrap_or(Position::ZERO));
            found
        }
        // Within an EXEC, which has everything locked.
        _ => call.host.scripts().libraries().read(|catalog| catalog.find(call.arg(1)).cloned()),
    };
    let found = found.ok_or(Error::text("ERR Function not found"))?;
    let key_count = key_count(&call.args, Error::text("ERR Bad number of keys provided"))?;
    let (library, function) = (&found.library, found.function());
    let name = &function.declared.name[..];
    let target = Target::Function { library: &library.name, stamp: library.stamp, code: &library.code, function: name };
    let flags = function.declared.flags;
    run_program(call, spec, &Program { target, name, flags, habit: &function.habit, key_count })
}

/// A script or a function that is to run.
struct Program<'p> {
    target: Target<'p>,
    name: &'p [u8],
    flags: ScriptFlags,
    habit: &'p Habit,
    key_count: usize,
}

fn run_program(call: &mut Call<'_>, spec: &Spec, program: &Program<'_>) -> Result<Flow, Error> {
    let Program { target, name, flags, habit, key_count } = *program;
    let kind = if is_of_function(spec) { Kind::Function } else { Kind::Script };
    let read_only = spec.flags.has(Flags::READONLY);
    may_begin(call.refuse_growth, flags, read_only)?;
    let params = call.args.skip(3);
    if call.may_wait {
        for index in 0..key_count {
            call.tx.fetch_ahead(params.at(index));
        }
        if call.tx.missing_count() > 0 {
            return Err(Error::Spilled);
        }
    }
    let mut of_thread = take_lua(call.host, kind);
    let OfThread { lua, reply, .. } = &mut of_thread;
    reply.clear();
    let (protocol, db) = (call.reply.protocol(), call.session.db);
    let has_all = call.tx.has_locked_all();
    let declared = if has_all { declared(call.tx.keyspace(), spec, &call.args) } else { SmallVec::new() };
    let command = call.args;
    let mut within = Within {
        may_write: !read_only && !flags.has(ScriptFlags::NO_WRITES),
        may_grow: flags.has(ScriptFlags::ALLOW_OOM),
        has_all,
        may_begin_anew: call.may_wait,
        strayed: false,
        remembers_all: false,
        keys: HashSet::new(),
        declared,
        has_written: false,
        running: None,
        name,
        kind,
        command,
        params,
        key_count,
        call,
    };
    let run = Run { target, params, key_count };
    let ended = lua.run(&run, &mut within, &mut Reply::new(reply, protocol));
    habit.note(within.strayed);
    call.session.db = db;
    call.tx.set_db(db);
    let outcome = outcome_of(ended, kind, reply).map(|()| {
        call.reply.raw(reply);
        Flow::Done
    });
    give_back(of_thread);
    outcome
}

/// What became of a run that wrote `reply`, if it wrote one.
pub(crate) fn outcome_of(ended: Result<Outcome, Failure>, kind: Kind, reply: &[u8]) -> Result<(), Error> {
    match ended {
        Ok(outcome) if outcome.is_error => {
            let text = String::from_utf8_lossy(reply.get(1..reply.len() - 2).unwrap_or_default());
            Err(if outcome.was_counted { Error::Relayed(text.into()) } else { Error::Reply(text.into_owned().into()) })
        }
        Ok(_) => Ok(()),
        Err(Failure::Refused(text)) => Err(refuse!("ERR {text}")),
        Err(Failure::Stopped(Stop::Abandoned)) => Err(Error::Spilled),
        Err(Failure::Stopped(Stop::Killed | Stop::TimedOut)) => Err(Error::text(match kind {
            Kind::Script => "ERR Script killed by user with SCRIPT KILL.",
            Kind::Function => "ERR Script killed by user with FUNCTION KILL.",
        })),
    }
}

/// A script while it runs.
struct Within<'w, 'c> {
    call: &'w mut Call<'c>,
    name: &'w [u8],
    kind: Kind,
    /// The command that runs it.
    command: Args<'c>,
    /// Its keys, and what comes after them.
    params: Args<'c>,
    key_count: usize,
    /// Known to others once it has lasted for a moment.
    running: Option<Arc<Running>>,
    has_written: bool,
    may_write: bool,
    /// It may use more memory whatever there is left.
    may_grow: bool,
    has_all: bool,
    /// Nobody minds when it is run anew, as long as it has changed nothing.
    may_begin_anew: bool,
    strayed: bool,
    /// For a connection that tracks: whether all its keys are remembered, and until they are, all of them.
    remembers_all: bool,
    keys: HashSet<&'c [u8]>,
    /// Where everything is locked: the partitions of its keys.
    declared: SmallVec<[PartitionId; 4]>,
}

/// Finds a command's row and whether a script may run it: one that may not write, and one that must not use more memory,
/// for some reason.
pub(crate) fn resolve_within(
    args: &Args<'_>,
    may_write: bool,
    refuse_growth: Option<&'static str>,
) -> Result<Resolved, Error> {
    let resolved = run::resolve(args).map_err(|error| {
        let text = error.reply();
        if text.starts_with("ERR unknown command") {
            Error::text("ERR Unknown Redis command called from script")
        } else if text.starts_with("ERR wrong number of arguments") {
            Error::text("ERR Wrong number of args calling Redis command from script")
        } else {
            error
        }
    })?;
    let flags = resolved.spec.flags;
    if (flags.0 | resolved.row.spec.flags.0) & Flags::NOSCRIPT.0 != 0 {
        return Err(Error::text("ERR This Redis command is not allowed from script"));
    }
    if flags.is_held() && !may_write {
        return Err(Error::text("ERR Write commands are not allowed from read-only scripts."));
    }
    match refuse_growth {
        Some(why) if flags.has(Flags::DENYOOM) => Err(Error::text(why)),
        _ => Ok(resolved),
    }
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
                self.call.observer.refused(&args, error.reply());
                Reply::new(reply, protocol).error(error.reply());
                return Called::Declined;
            }
        };
        if resolved.spec.flags.has(Flags::WRITE) {
            self.has_written = true;
            if let Some(running) = &self.running {
                running.writes();
            }
        }
        let stepped = self.call.nested(resolved, args, protocol, reply);
        if self.call.session.caching.is_some() {
            self.remember_declared(resolved.spec, &args);
        }
        if stepped.is_refused { Called::Refused } else { Called::Replied }
    }

    fn permitted(&mut self, args: Args<'_>) -> Option<bool> {
        run::resolve(&args).ok().map(|resolved| acl::may_run(self.call.session, resolved, &args))
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        self.call.host.log_of_script(level, &String::from_utf8_lossy(text));
    }

    fn tick(&mut self) -> Option<Stop> {
        if self.running.is_none() {
            self.running = Some(self.call.host.scripts().watch(self.about()));
        }
        self.running.as_ref().and_then(|running| running.tick())
    }
}

impl Within<'_, '_> {
    #[cold]
    fn about(&self) -> About {
        let shown = self.command.iter().take(SHOWN_ARGS_COUNT_MAX);
        let elapsed_ms = self.call.host.wall_us() / 1_000 - self.call.now().0;
        About {
            name: self.name.to_vec(),
            is_eval: self.kind == Kind::Script,
            command: shown.map(|arg| arg[..arg.len().min(SHOWN_ARG_BYTES_MAX)].to_vec()).collect(),
            elapsed_ms: u64::try_from(elapsed_ms).unwrap_or(0),
            has_written: self.has_written,
        }
    }

    fn resolve(&self, args: &Args<'_>) -> Result<Resolved, Error> {
        let may_grow = self.may_grow || self.has_written;
        resolve_within(args, self.may_write, self.call.refuse_growth.filter(|_| !may_grow))
    }

    /// A tracking connection is told of the keys that its scripts read. Who reads what it has not declared has all that it did
    /// declare remembered as well, which is what Redis 7.0 always does.
    #[cold]
    fn remember_declared(&mut self, spec: &Spec, args: &Args<'_>) {
        if self.remembers_all || !run::is_remembered(self.call.session, spec) {
            return;
        }
        if self.keys.is_empty() {
            self.keys.extend((0..self.key_count).map(|index| self.params.at(index)));
        }
        let mut strays = false;
        spec.keys.each(args, |index| strays |= !self.keys.contains(args.at(index)));
        if strays {
            self.remembers_all = true;
            self.call.host.tracking().remember(self.call.session.id, self.keys.drain());
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
            let (tx, declared) = (&self.call.tx, &self.declared);
            let mut strays = false;
            spec.keys.each(args, |index| {
                strays |= if self.has_all {
                    !declared.contains(&tx.keyspace().partition_of(args.at(index)))
                } else {
                    !tx.has_locked(args.at(index))
                };
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
