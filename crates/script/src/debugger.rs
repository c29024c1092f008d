//! Scripts run line by line, as the client of a debugger asks for it (SCRIPT DEBUG).
//!
//! ```text
//! line event ─► does it stop here? ─► lines sent ─► command of the client ─► its answer sent ─► … ─► step, continue ─► on
//! ```
//!
//! What a client sees is Redis's, to the byte: `redis-cli --ldb` reads it. Deliberately not here: Lua's stack, which is
//! behind [`Frames`] (`frames.rs`), how things are spelled (`spelling.rs`), and sockets: bytes come and go through a
//! [`Console`]. What the client sends before it was answered is kept for the next command; Redis throws it away.
//!
//! Invariants: nothing is borrowed while Lua runs, for what it runs may say something here; once the client has gone, the
//! script runs on without stopping, and is ended when it is slow; code that is slow while the script stands still is ended;
//! what is kept for the client is bounded in bytes.

pub(crate) mod frames;
mod spelling;

use self::spelling::{Parsed, leading_number, parse, put_reply};
use base::number::parse_i64;
use std::cell::RefCell;
use wire::args::Args;

/// Breakpoints set at a time.
const BREAKPOINTS_COUNT_MAX: usize = 64;
/// Bytes of a value or a reply that are shown, until the client asks for more, and the least it may ask for.
const SHOWN_BYTES: usize = 256;
const SHOWN_BYTES_MIN: usize = 60;
/// Arguments of a command that are shown.
const SHOWN_ARGS_COUNT_MAX: usize = 10;
/// Bytes of lines kept for the client to the next stop; lines past it are left out.
const LINES_BYTES_MAX: usize = 16 << 20;
/// Bytes that a value, or all that are shown at once, or a reply is spelled with, whatever the client asks for.
const SPELLED_BYTES_MAX: usize = 4 << 20;
/// Bytes of a client's that are no whole command yet.
const RECEIVED_BYTES_MAX: usize = 1 << 20;
/// Milliseconds after which a script is taken for one that does not end, where nothing else is set.
const ENDLESS_AFTER_MS: u64 = 5000;
/// Lines around the current one that `list` shows.
const LISTED_AROUND: i64 = 5;

const HELP: &[&str] = &[
    "Redis Lua debugger help:",
    "[h]elp               Show this help.",
    "[s]tep               Run current line and stop again.",
    "[n]ext               Alias for step.",
    "[c]ontinue           Run till next breakpoint.",
    "[l]ist               List source code around current line.",
    "[l]ist [line]        List source code around [line].",
    "                     line = 0 means: current position.",
    "[l]ist [line] [ctx]  In this form [ctx] specifies how many lines",
    "                     to show before/after [line].",
    "[w]hole              List all source code. Alias for 'list 1 1000000'.",
    "[p]rint              Show all the local variables.",
    "[p]rint <var>        Show the value of the specified variable.",
    "                     Can also show global vars KEYS and ARGV.",
    "[b]reak              Show all breakpoints.",
    "[b]reak <line>       Add a breakpoint to the specified line.",
    "[b]reak -<line>      Remove breakpoint from the specified line.",
    "[b]reak 0            Remove all breakpoints.",
    "[t]race              Show a backtrace.",
    "[e]val <code>        Execute some Lua code (in a different callframe).",
    "[r]edis <cmd>        Execute a Redis command.",
    "[m]axlen [len]       Trim logged Redis replies and Lua var dumps to len.",
    "                     Specifying zero as <len> means unlimited.",
    "[a]bort              Stop the execution of the script. In sync",
    "                     mode dataset changes will be retained.",
    "",
    "Debugger functions you can call from Lua scripts:",
    "redis.debug()        Produce logs in the debugger console.",
    "redis.breakpoint()   Stop execution like if there was a breakpoint in the",
    "                     next line of code.",
];

/// Where the client of a debugger is.
pub trait Console {
    /// Sends bytes to the client. Whether they reach it shows when the next ones are waited for.
    fn send(&mut self, bytes: &[u8]);

    /// Waits for bytes of the client; `None` once it has gone.
    fn receive(&mut self) -> Option<Vec<u8>>;

    /// Whether it is known, without waiting, that the client has gone. What it has sent may still be received.
    fn is_gone(&self) -> bool;

    /// Milliseconds of a clock that never goes back.
    fn now_ms(&self) -> u64;

    /// Milliseconds after which a script that does not stop is slow; 0 is never.
    fn slow_after_ms(&self) -> u64;
}

/// The functions a script is in, as the debugger looks at them while it stands still.
trait Frames {
    /// The value of the variable of this name in the innermost function that has one.
    fn local(&mut self, name: &[u8]) -> Option<Vec<u8>>;

    /// Names and values of the variables of the innermost function.
    fn locals(&mut self) -> Vec<(Vec<u8>, Vec<u8>)>;

    /// Names of the functions of the script, if they have any, innermost first, and the lines they are at.
    fn trace(&mut self) -> Vec<(Option<Vec<u8>>, i64)>;

    /// Runs some code: its value, or its error.
    fn eval(&mut self, code: &[u8]) -> Result<Vec<u8>, Vec<u8>>;

    /// Has a command run, whose reply the script never sees.
    fn call(&mut self, args: &[Vec<u8>]);
}

/// An event of Lua's.
#[derive(Clone, Copy, Debug)]
struct At {
    /// The line it is at.
    line: i64,
    /// Whether that is one of the script.
    is_in_script: bool,
    /// It comes every so many instructions, not with a line.
    is_tick: bool,
}

/// A script is not to go on where it stands: an error of this text is raised, which it may catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Raised(&'static str);

/// One debugging session. See the module's text.
pub struct Debugger {
    state: RefCell<State>,
}

struct State {
    console: Box<dyn Console>,
    source: Vec<Vec<u8>>,
    /// Bytes of the client that were not looked at.
    received: Vec<u8>,
    /// Lines that wait to be sent.
    lines: Vec<Vec<u8>>,
    lines_bytes: usize,
    breakpoints: Vec<i64>,
    /// The next line is one to stop at; until then commands are shown.
    steps: bool,
    /// The script asked to be stopped at its next line.
    is_asked_for: bool,
    line: i64,
    /// 0 is no limit.
    shown_bytes_max: usize,
    is_hint_given: bool,
    /// When it last began to run, or code of the client's did.
    since_ms: u64,
    /// The client has gone, and all that it sent was done.
    is_alone: bool,
    /// It stands still.
    is_stopped: bool,
}

fn is_one_of(word: &[u8], names: [&str; 2]) -> bool {
    names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
}

fn text(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

impl State {
    fn say(&mut self, line: impl Into<Vec<u8>>) {
        let line = line.into();
        if self.lines_bytes <= LINES_BYTES_MAX {
            self.lines_bytes += line.len();
            self.lines.push(line);
        }
    }

    /// Says something whose length is the script's.
    fn show(&mut self, mut line: Vec<u8>) {
        let is_cut = 0 < self.shown_bytes_max && self.shown_bytes_max < line.len();
        if is_cut {
            line.truncate(self.shown_bytes_max);
            line.extend(b" ...");
        }
        self.say(line);
        if is_cut && !self.is_hint_given {
            self.is_hint_given = true;
            self.say("<hint> The above reply was trimmed. Use 'maxlen 0' to disable trimming.");
        }
    }

    fn send(&mut self) {
        let mut bytes = format!("*{}\r\n", self.lines.len()).into_bytes();
        for line in self.lines.drain(..) {
            bytes.push(b'+');
            bytes.extend(line.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
            bytes.extend(b"\r\n");
        }
        self.lines_bytes = 0;
        self.console.send(&bytes);
    }

    fn say_source(&mut self, number: i64) {
        let (is_current, is_breakpoint) = (self.line == number, self.breakpoints.contains(&number));
        let mark = match (is_current, is_breakpoint) {
            (true, true) => "->#",
            (true, false) => "-> ",
            (false, true) => "  #",
            (false, false) => "   ",
        };
        let line = usize::try_from(number - 1).ok().and_then(|index| self.source.get(index));
        let line = line.map_or(&b"<out of range source code line>"[..], Vec::as_slice);
        let line = text(&[format!("{mark}{number:<3} ").as_bytes(), line]);
        self.say(line);
    }

    fn list(&mut self, around: i64, context: i64) {
        for number in 1..=self.source.len() as i64 {
            if around == 0 || around.abs_diff(number) as i64 <= context {
                self.say_source(number);
            }
        }
    }

    /// Whether it stops at this, and why.
    fn stops(&self, at: At) -> Option<&'static str> {
        // Code that runs for the client while the script stands still may get here: it does not stop.
        if !at.is_in_script || self.is_alone || self.is_stopped {
            None
        } else if self.is_asked_for {
            Some("redis.breakpoint() called")
        } else if self.breakpoints.contains(&at.line) {
            Some("break point")
        } else if self.steps {
            Some("step over")
        } else if at.is_tick && self.is_slow() {
            Some("timeout reached, infinite loop?")
        } else {
            None
        }
    }

    fn is_slow(&self) -> bool {
        let after_ms = match self.console.slow_after_ms() {
            0 => ENDLESS_AFTER_MS,
            after_ms => after_ms,
        };
        after_ms <= self.console.now_ms().saturating_sub(self.since_ms)
    }

    /// The client's next command; `None` once it has gone.
    fn next_command(&mut self) -> Result<Option<Vec<Vec<u8>>>, Raised> {
        loop {
            match parse(&self.received) {
                Parsed::Command { args, bytes } => {
                    self.received.drain(..bytes);
                    return Ok(Some(args));
                }
                Parsed::Broken => {
                    self.received.clear();
                    return Err(Raised("protocol error"));
                }
                Parsed::Incomplete => {}
            }
            let Some(bytes) = self.console.receive() else {
                self.is_alone = true;
                return Ok(None);
            };
            self.received.extend_from_slice(&bytes);
            if RECEIVED_BYTES_MAX < self.received.len() {
                self.received.clear();
                return Err(Raised("max client buffer reached"));
            }
        }
    }

    fn obey_break(&mut self, args: &[Vec<u8>]) {
        if args.is_empty() && self.breakpoints.is_empty() {
            return self.say("No breakpoints set. Use 'b <line>' to add one.");
        }
        if args.is_empty() {
            self.say(format!("{} breakpoints set:", self.breakpoints.len()));
            for number in self.breakpoints.clone() {
                self.say_source(number);
            }
        }
        for arg in args {
            match parse_i64(arg) {
                None => self.say(text(&[b"Invalid argument:'", arg, b"'"])),
                Some(0) => {
                    self.breakpoints.clear();
                    self.say("All breakpoints removed.");
                }
                Some(line @ 1..) => self.add_breakpoint(line),
                Some(line) => {
                    let place = self.breakpoints.iter().position(|set| set.checked_neg() == Some(line));
                    let removed = place.map(|place| self.breakpoints.remove(place)).is_some();
                    self.say(if removed { "Breakpoint removed." } else { "No breakpoint in the specified line." });
                }
            }
        }
    }

    fn add_breakpoint(&mut self, line: i64) {
        if self.breakpoints.len() == BREAKPOINTS_COUNT_MAX {
            return self.say("Too many breakpoints set.");
        }
        if (self.source.len() as i64) < line {
            return self.say("Wrong line number.");
        }
        if !self.breakpoints.contains(&line) {
            self.breakpoints.push(line);
        }
        self.list(line, 1);
    }

    fn obey_list(&mut self, args: &[Vec<u8>]) {
        let around = args.first().map(|arg| leading_number(arg)).filter(|line| 0 < *line);
        let context = args.get(1).map_or(LISTED_AROUND, |arg| leading_number(arg));
        self.list(around.unwrap_or(self.line), context);
    }

    fn obey_maxlen(&mut self, args: &[Vec<u8>]) {
        if let [bytes] = args {
            self.is_hint_given = true;
            self.shown_bytes_max = match leading_number(bytes) {
                0 => 0,
                bytes => usize::try_from(bytes).unwrap_or(0).max(SHOWN_BYTES_MIN),
            };
        }
        self.say(match self.shown_bytes_max {
            0 => "<value> replies are unlimited.".to_owned(),
            bytes => format!("<value> replies are truncated at {bytes} bytes."),
        });
    }
}

impl Debugger {
    /// A session about the script with this text, at the other end of which is `console`.
    pub fn new(text: &[u8], console: Box<dyn Console>) -> Debugger {
        let bytes = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
        let lines = text[..bytes].split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
        let source = if bytes == 0 { Vec::new() } else { lines.collect() };
        let since_ms = console.now_ms();
        let state = State {
            console,
            source,
            received: Vec::new(),
            lines: Vec::new(),
            lines_bytes: 0,
            breakpoints: Vec::new(),
            steps: true,
            is_asked_for: false,
            line: 0,
            shown_bytes_max: SHOWN_BYTES,
            is_hint_given: false,
            since_ms,
            is_alone: false,
            is_stopped: false,
        };
        Debugger { state: RefCell::new(state) }
    }

    /// Ends the session: the client is told, and shown what there was still to be seen. The script's reply comes after.
    pub fn end(&self) {
        let state = &mut *self.state.borrow_mut();
        state.say("<endsession>");
        state.send();
    }

    /// A command is about to run.
    pub(crate) fn show_command(&self, args: Args<'_>) {
        let state = &mut *self.state.borrow_mut();
        if !state.steps {
            return;
        }
        let mut line = b"<redis>".to_vec();
        for arg in args.iter().take(SHOWN_ARGS_COUNT_MAX) {
            line.push(b' ');
            line.extend(&arg[..arg.len().min(SPELLED_BYTES_MAX)]);
        }
        if SHOWN_ARGS_COUNT_MAX < args.count() {
            // One less than there are, as Redis counts.
            line.extend(format!(" ... ({} more)", args.count() - SHOWN_ARGS_COUNT_MAX - 1).as_bytes());
        }
        state.say(line);
    }

    /// A command has run, and this is its reply.
    pub(crate) fn show_reply(&self, reply: &[u8]) {
        let state = &mut *self.state.borrow_mut();
        if state.steps {
            if let Some(error) = reply.strip_prefix(b"-") {
                let error = &error[..error.len().min(SPELLED_BYTES_MAX)];
                state.say(text(&[b"<error> -", error.trim_ascii_end()]));
            }
            let mut line = b"<reply> ".to_vec();
            put_reply(&mut line, reply, SPELLED_BYTES_MAX);
            state.show(line);
        }
    }

    /// A command that the script called is refused, with this error.
    pub(crate) fn show_refusal(&self, error: &[u8]) {
        match error.strip_prefix(b"ERR ") {
            Some(error) => self.show_error(error),
            None => self.show_error(&text(&[b"-", error])),
        }
    }

    /// An error of this text is made.
    pub(crate) fn show_error(&self, error: &[u8]) {
        let state = &mut *self.state.borrow_mut();
        if state.steps {
            state.say(text(&[b"<error> ", &error[..error.len().min(SPELLED_BYTES_MAX)]]));
        }
    }

    /// The script says something (`redis.debug`); `values` are spelled already.
    fn show_values(&self, values: &[u8]) {
        let state = &mut *self.state.borrow_mut();
        let line = text(&[format!("<debug> line {}: ", state.line).as_bytes(), values]);
        state.say(line);
    }

    /// The script asks to be stopped at its next line (`redis.breakpoint`).
    fn ask_to_stop(&self) {
        self.state.borrow_mut().is_asked_for = true;
    }

    /// Whether the client has gone, and the script has run for too long since.
    fn is_endless(&self) -> bool {
        let state = &*self.state.borrow();
        (state.is_alone || state.console.is_gone()) && state.is_slow()
    }

    /// Code of the client's is about to run, while the script stands still.
    fn begin_eval(&self) {
        let state = &mut *self.state.borrow_mut();
        state.since_ms = state.console.now_ms();
    }

    /// Whether code of the client's runs, and has for too long.
    fn is_eval_slow(&self) -> bool {
        let state = &*self.state.borrow();
        state.is_stopped && state.is_slow()
    }

    /// Something happened in Lua: stops there if it is to, until the client has it go on.
    ///
    /// # Errors
    /// The script is not to go on.
    fn reach(&self, at: At, frames: &mut dyn Frames) -> Result<(), Raised> {
        {
            let state = &mut *self.state.borrow_mut();
            if !state.is_stopped {
                state.line = at.line;
            }
            let Some(reason) = state.stops(at) else { return Ok(()) };
            (state.steps, state.is_asked_for, state.is_stopped) = (false, false, true);
            state.say(format!("* Stopped at {}, stop reason = {reason}", at.line));
            state.say_source(at.line);
            state.send();
        }
        let ended = self.converse(frames);
        let state = &mut *self.state.borrow_mut();
        (state.is_stopped, state.since_ms) = (false, state.console.now_ms());
        ended
    }

    /// Does what the client asks for until the script is to go on, or the client has gone.
    fn converse(&self, frames: &mut dyn Frames) -> Result<(), Raised> {
        loop {
            let Some(args) = self.state.borrow_mut().next_command()? else { return Ok(()) };
            let (name, args) = args.split_first().expect("a command has a word");
            if is_one_of(name, ["s", "step"]) || is_one_of(name, ["n", "next"]) {
                self.state.borrow_mut().steps = true;
                return Ok(());
            } else if is_one_of(name, ["c", "continue"]) {
                return Ok(());
            } else if is_one_of(name, ["a", "abort"]) {
                return Err(Raised("script aborted for user request"));
            }
            self.obey(name, args, frames);
            self.state.borrow_mut().send();
        }
    }

    fn obey(&self, name: &[u8], args: &[Vec<u8>], frames: &mut dyn Frames) {
        let state = || self.state.borrow_mut();
        if is_one_of(name, ["h", "help"]) {
            for line in HELP {
                state().say(*line);
            }
        } else if is_one_of(name, ["t", "trace"]) {
            self.obey_trace(&frames.trace());
        } else if is_one_of(name, ["m", "maxlen"]) {
            state().obey_maxlen(args);
        } else if is_one_of(name, ["b", "break"]) {
            state().obey_break(args);
        } else if is_one_of(name, ["e", "eval"]) {
            match frames.eval(&args.join(&b' ')) {
                Ok(value) => state().show(text(&[b"<retval> ", &value])),
                Err(error) => state().say(text(&[b"<error> ", &error])),
            }
        } else if is_one_of(name, ["r", "redis"]) && !args.is_empty() {
            // What is run now is shown.
            state().steps = true;
            frames.call(args);
            state().steps = false;
        } else if is_one_of(name, ["p", "print"]) {
            self.obey_print(args, frames);
        } else if is_one_of(name, ["l", "list"]) {
            state().obey_list(args);
        } else if is_one_of(name, ["w", "whole"]) {
            state().list(1, 1_000_000);
        } else {
            state().say("<error> Unknown Redis Lua debugger command or wrong number of arguments.");
        }
    }

    fn obey_trace(&self, frames: &[(Option<Vec<u8>>, i64)]) {
        let state = &mut *self.state.borrow_mut();
        for (level, (name, line)) in frames.iter().enumerate() {
            let (which, name) = (if level == 0 { &b"In "[..] } else { b"From " }, name.as_deref());
            state.say(text(&[which, name.unwrap_or(b"top level"), b":"]));
            state.say_source(*line);
        }
    }

    fn obey_print(&self, args: &[Vec<u8>], frames: &mut dyn Frames) {
        let [name] = args else {
            let locals = frames.locals();
            let state = &mut *self.state.borrow_mut();
            for (name, value) in &locals {
                state.show(text(&[b"<value> ", name, b" = ", value]));
            }
            if locals.is_empty() {
                state.say("No local variables in the current context.");
            }
            return;
        };
        let is_given = matches!(&name[..], b"KEYS" | b"ARGV");
        let value = frames.local(name).or_else(|| is_given.then(|| frames.eval(name).ok()).flatten());
        let state = &mut *self.state.borrow_mut();
        match value {
            Some(value) => state.show(text(&[b"<value> ", &value])),
            None => state.say("No such variable."),
        }
    }
}

#[cfg(test)]
mod tests;
