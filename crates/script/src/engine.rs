//! One Lua state and what runs in it.
//!
//! The sandbox is made by `sandbox.lua`; here are the calls into it and out of it again. Deliberately not: sharing. A
//! state belongs to one thread, which keeps it for the next script.
//!
//! Invariants: `redis.call` reaches the caller of the run it belongs to, and none after that run; once a run is to
//! stop, every line it still executes is an error.

use crate::convert::{Names, Replies, write_reply};
use crate::debugger::{Debugger, frames};
use crate::library::{Declared, declared};
use crate::native;
use crate::raw::{self, Reach};
use crate::sha1::Digest;
use crate::shebang::script_header;
use mlua::chunk::ChunkMode;
use mlua::{Error, Function, HookTriggers, Lua, LuaOptions, Result as LuaResult, StdLib, Table, Value, VmState};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use wire::args::Args;
use wire::reply::{Protocol, Reply};

/// Virtual machine instructions between two looks at the clock.
pub(crate) const TICK_INSTRUCTIONS: u32 = 100_000;
/// Runs between two steps of the garbage collector and two looks at what scripts left where they should not.
const CLEANING_RUNS: u32 = 50;
/// Compiled scripts a state keeps; past it, it forgets them all.
pub const CHUNKS_COUNT_MAX: usize = 4096;

/// What a call from a script came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// The reply was appended.
    Replied,
    /// The reply was appended, and is an error.
    Refused,
    /// The reply was appended, and is an error: the command was not run.
    Declined,
    /// The script is not to go on; it may be run anew later.
    Abandoned,
}

/// What a script's calls reach.
pub trait Caller {
    /// Runs a command and appends its reply, whole, in the given protocol.
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut Vec<u8>) -> Called;

    /// Whether the command is permitted to who runs the script; `None` when there is no such command.
    fn permitted(&mut self, args: Args<'_>) -> Option<bool>;

    /// Writes to the server's log; `level` is 0 (debug) to 3 (warning).
    fn log(&mut self, level: u8, text: &[u8]);

    /// Whether the script is to stop; asked about every millisecond.
    fn tick(&mut self) -> Option<Stop>;
}

/// Why a script is not to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody asked for it.
    Killed,
    /// Its caller gave up; see [`Called::Abandoned`].
    Abandoned,
    /// A library took too long to load, or code of a debugger's client to run.
    TimedOut,
}

/// Which scripts a state is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Those of EVAL.
    Script,
    /// Functions of libraries.
    Function,
}

/// What a state is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which scripts it is for.
    pub kind: Kind,
    /// Whether scripts get `getfenv`, `setfenv` and `newproxy`.
    pub insecure: bool,
    /// The Redis version scripts are told.
    pub version: &'static str,
    /// What the random numbers begin with.
    pub seed: u64,
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub enum Target<'t> {
    /// A script.
    Script {
        /// Its name.
        sha: &'t Digest,
        /// Its text, first line included.
        body: &'t [u8],
    },
    /// A function of a library.
    Function {
        /// The library's name.
        library: &'t [u8],
        /// Tells this text of the library from any other it ever had.
        stamp: u64,
        /// Its text, first line included.
        code: &'t [u8],
        /// The function's name as it was registered.
        function: &'t [u8],
    },
}

/// A script and what it is given.
#[derive(Clone, Copy, Debug)]
pub struct Run<'r> {
    /// What to run.
    pub target: Target<'r>,
    /// Keys and arguments.
    pub params: Args<'r>,
    /// How many of them are keys.
    pub key_count: usize,
}

/// How a run ended that wrote a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The reply is an error.
    pub is_error: bool,
    /// It is one of a command that the script called, and was counted there.
    pub was_counted: bool,
}

/// Why a run wrote no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was stopped.
    Stopped(Stop),
    /// It does not compile, or a library does not load; Redis's text, without its code.
    Refused(String),
}

/// What the state's functions share.
pub(crate) struct Shared {
    /// Whom calls reach.
    pub(crate) reach: Reach,
    /// Why the script is not to go on.
    pub(crate) stop: Cell<Option<Stop>>,
    /// Memory that is kept from one call to the next.
    pub(crate) replies: Cell<Replies>,
    /// The version of the replies scripts get, which they choose.
    pub(crate) protocol: Cell<Protocol>,
    pub(crate) seed: Cell<u64>,
    pub(crate) cjson: RefCell<crate::cjson::Settings>,
    /// The last error was raised by a debugger's hook: where one of those is handled, nothing interrupts the handler.
    pub(crate) is_raised: Cell<bool>,
    /// Who looks at what the state's script does.
    pub(crate) debugger: OnceCell<Rc<Debugger>>,
}

impl Shared {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.get().is_some()
    }

    fn tick(&self, lua: &Lua, shared: &Rc<Shared>) -> LuaResult<VmState> {
        if self.stop.get().is_none() {
            let stop = self.reach.with(|caller| caller.tick()).flatten();
            if let Some(stop) = stop {
                // From here on every line is an error, so that no `pcall` keeps the script going.
                self.stop.set(Some(stop));
                hook(lua, shared, HookTriggers::EVERY_LINE)?;
            }
        }
        if self.is_stopped() { Err(stopped()) } else { Ok(VmState::Continue) }
    }
}

fn stopped() -> Error {
    Error::runtime("stopped")
}

fn hook(lua: &Lua, shared: &Rc<Shared>, triggers: HookTriggers) -> LuaResult<()> {
    let shared = Rc::clone(shared);
    lua.set_global_hook(triggers, move |lua, _| shared.tick(lua, &shared))
}

const EVERY_TICK: HookTriggers = HookTriggers::new().every_nth_instruction(TICK_INSTRUCTIONS);

/// See the module's text.
pub struct Engine {
    lua: Lua,
    /// Behind the state, which looks into it until it is closed.
    shared: Rc<Shared>,
    names: Names,
    keep: Function,
    entrance: Function,
    load_library: Function,
    scrub: Function,
    chunk_count: usize,
    runs: u32,
    libraries: HashMap<Vec<u8>, u64>,
}

impl Engine {
    /// A state in which nothing has run.
    ///
    /// # Cost
    /// A fraction of a millisecond, and some sixty kilobytes.
    pub fn new(options: &Options) -> Engine {
        Engine::open(options).expect("the sandbox is made of our own code")
    }

    fn open(options: &Options) -> LuaResult<Engine> {
        let libs = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libs, LuaOptions::new().catch_rust_panics(false))?;
        let shared = Rc::new(Shared {
            reach: Reach::default(),
            stop: Cell::new(None),
            replies: Cell::default(),
            protocol: Cell::new(Protocol::Resp2),
            seed: Cell::new(options.seed),
            cjson: RefCell::default(),
            is_raised: Cell::new(false),
            debugger: OnceCell::new(),
        });
        let functions = native::functions(&lua, &shared, options)?;
        let kind = match options.kind {
            Kind::Script => "script",
            Kind::Function => "function",
        };
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name("=sandbox");
        let (environment, keep, run_script, run_function, load_library, scrub): (Table, _, _, _, _, _) =
            sandbox.call((functions, kind, options.insecure))?;
        lua.set_globals(environment)?;
        let entrance = raw::entrance(&lua, run_script, run_function)?;
        hook(&lua, &shared, EVERY_TICK)?;
        lua.gc_collect()?;
        lua.set_memory_limit(crate::HEAP_BYTES_MAX)?;
        let names = Names::new(&lua)?;
        Ok(Engine {
            lua,
            shared,
            names,
            keep,
            entrance,
            load_library,
            scrub,
            chunk_count: 0,
            runs: 0,
            libraries: HashMap::new(),
        })
    }

    /// Bytes the state takes.
    pub fn memory_bytes(&self) -> usize {
        self.lua.used_memory()
    }

    /// Libraries that have been loaded into the state, those deleted since included.
    pub fn library_count(&self) -> usize {
        self.libraries.len()
    }

    /// Checks that a script compiles, and keeps it.
    ///
    /// # Errors
    /// `Refused`.
    pub fn compile(&mut self, sha: &Digest, body: &[u8]) -> Result<(), Failure> {
        let header = script_header(body).map_err(Failure::Refused)?;
        let refuse = |error: &Error| {
            Failure::Refused(format!("Error compiling script (new function): {}", native::text_of(error)))
        };
        if self.chunk_count >= CHUNKS_COUNT_MAX {
            self.keep.call::<()>(()).map_err(|error| refuse(&error))?;
            self.chunk_count = 0;
        }
        let chunk = self.lua.load(&body[header.bytes..]).set_name("@user_script").set_mode(ChunkMode::Text);
        let chunk = chunk.into_function().map_err(|error| refuse(&error))?;
        let name = self.lua.create_string(sha).map_err(|error| refuse(&error))?;
        self.keep.call::<()>((name, chunk)).map_err(|error| refuse(&error))?;
        self.chunk_count += 1;
        Ok(())
    }

    /// Loads a library, in place of any other of its name, and says what it registered.
    ///
    /// # Errors
    /// `Refused`; `Stopped` when `caller` says so.
    pub fn load(&mut self, name: &[u8], stamp: u64, code: &[u8], caller: &mut dyn Caller) -> Result<Declared, Failure> {
        let end = code.iter().position(|byte| *byte == b'\n').unwrap_or(code.len());
        let refuse = |what: &str, error: &Error| Failure::Refused(format!("{what}: {}", native::text_of(error)));
        let chunk = self.lua.load(&code[end..]).set_name("@user_function").set_mode(ChunkMode::Text);
        let chunk = chunk.into_function().map_err(|error| refuse("Error compiling function", &error))?;
        self.begin();
        let loaded = self.shared.reach.lend(caller, || self.load_chunk(name, chunk));
        self.end().map_err(|error| refuse("Error registering functions", &error))?;
        let registering = |error: &Error| match self.shared.stop.take() {
            Some(stop) => Failure::Stopped(stop),
            None => refuse("Error registering functions", error),
        };
        let loaded = loaded.map_err(|error| registering(&error))?;
        let (problem, registered) = loaded;
        if let Some(problem) = problem {
            return Err(registering(&Error::runtime(problem)));
        }
        let registered = declared(&registered).map_err(|error| registering(&error))?;
        if registered.functions.is_empty() {
            return Err(Failure::Refused("No functions registered".into()));
        }
        self.libraries.insert(name.to_vec(), stamp);
        Ok(registered)
    }

    fn load_chunk(&self, name: &[u8], chunk: Function) -> LuaResult<(Option<String>, Table)> {
        let (ok, result): (bool, Value) = self.load_library.call((self.lua.create_string(name)?, chunk))?;
        match result {
            Value::Table(registered) if ok => Ok((None, registered)),
            Value::Table(error) => {
                let text: Value = error.raw_get("err")?;
                let text = native::text_of_value(&text);
                Ok((Some(text.strip_prefix("ERR ").map_or(text.clone(), str::to_owned)), error))
            }
            other => Err(Error::runtime(native::text_of_value(&other))),
        }
    }

    fn begin(&self) {
        self.shared.stop.set(None);
        self.shared.protocol.set(Protocol::Resp2);
    }

    /// Back to ticking; `stop` is left for who asks why.
    fn end(&mut self) -> LuaResult<()> {
        if self.shared.is_stopped() {
            hook(&self.lua, &self.shared, EVERY_TICK)?;
        }
        self.runs += 1;
        if self.runs.is_multiple_of(CLEANING_RUNS) {
            let mut replies = self.shared.replies.take();
            replies.shrink();
            self.shared.replies.set(replies);
            self.lua.gc_step()?;
            self.scrub.call::<()>(())?;
        }
        Ok(())
    }

    /// Runs a script or a function to its end and writes its reply.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn run(&mut self, run: &Run<'_>, caller: &mut dyn Caller, reply: &mut Reply<'_>) -> Result<Outcome, Failure> {
        if let Target::Function { library, stamp, code, .. } = run.target
            && self.libraries.get(library) != Some(&stamp)
        {
            self.load(library, stamp, code, caller)?;
        }
        self.begin();
        let mut result = self.call(run, caller);
        if let (Ok(None), Target::Script { sha, body }) = (&result, run.target) {
            self.compile(sha, body)?;
            result = self.call(run, caller);
        }
        let ended = self.end();
        if let Some(stop) = self.shared.stop.take() {
            return Err(Failure::Stopped(stop));
        }
        let written = result
            .and_then(|ended| ended.ok_or_else(|| Error::runtime("the script was kept and is gone")))
            .and_then(|(ok, value)| self.write(run, ok, &value, reply));
        match written.and_then(|outcome| ended.map(|()| outcome)) {
            Ok(outcome) => Ok(outcome),
            Err(error) => {
                reply.error(format!("ERR Error running script, {}", native::text_of(&error)));
                Ok(Outcome { is_error: true, was_counted: false })
            }
        }
    }

    /// As [`Engine::run`], under a debugger; nothing else may be run in this state afterwards.
    ///
    /// # Errors
    /// As [`Engine::run`].
    ///
    /// # Panics
    /// When the state has a debugger.
    pub fn debug(
        &mut self,
        run: &Run<'_>,
        debugger: &Rc<Debugger>,
        caller: &mut dyn Caller,
        reply: &mut Reply<'_>,
    ) -> Result<Outcome, Failure> {
        assert!(self.shared.debugger.set(Rc::clone(debugger)).is_ok(), "a state is debugged once");
        let installed = frames::install(&self.lua, &self.shared);
        installed.map_err(|error| Failure::Refused(native::text_of(&error)))?;
        self.run(run, caller, reply)
    }

    /// What it ended with, and whether well; `None` when the script is not there.
    fn call(&self, run: &Run<'_>, caller: &mut dyn Caller) -> LuaResult<Option<(bool, Value)>> {
        let (ok, value) = self.shared.reach.lend(caller, || raw::enter(&self.entrance, run))?;
        Ok(ok.map(|ok| (ok, value)))
    }

    fn write(&self, run: &Run<'_>, ok: bool, value: &Value, reply: &mut Reply<'_>) -> LuaResult<Outcome> {
        if ok {
            return write_reply(&self.names, value, self.shared.protocol.get(), reply);
        }
        let Value::Table(error) = value else {
            reply.error(format!("ERR Error running script, {}", native::text_of_value(value)));
            return Ok(Outcome { is_error: true, was_counted: false });
        };
        let text: Value = error.raw_get(&self.names.err)?;
        let mut text = match text {
            Value::Nil => b"ERR unknown error".to_vec(),
            text => native::bytes_of_value(&text),
        };
        let (source, line): (Value, Value) = (error.raw_get(&self.names.source)?, error.raw_get(&self.names.line)?);
        if let (Value::String(source), Value::Integer(line)) = (&source, &line) {
            text.extend_from_slice(b" script: ");
            text.extend_from_slice(match run.target {
                Target::Script { sha, .. } => sha,
                Target::Function { function, .. } => function,
            });
            text.extend_from_slice(format!(", on {}:{line}.", source.to_string_lossy()).as_bytes());
        }
        reply.error(text);
        let was_counted = matches!(error.raw_get(&self.names.counted)?, Value::Boolean(true));
        Ok(Outcome { is_error: true, was_counted })
    }
}
