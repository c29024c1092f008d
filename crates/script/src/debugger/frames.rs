//! Lua's side of a debugger: the hook that a line calls, the variables of functions, and code run while a script stands
//! still.
//!
//! mlua is left out here: it does not show variables, and a hook of its own would allocate at every line.
//!
//! Why it is sound:
//! - A hook, and the functions of the sandbox here, may raise errors by jumping: they do so before they own anything, for want of room on the stack, or when all they owned is gone.
//! - What owns something in between ([`stop`], [`spell`], [`Stack`]) calls nothing of Lua's that raises, but for code of the
//!   client's, which runs under a protected call.
//! - Values are only looked at: a string is read as a string, a table is walked past its metatable.
//! - No panic gets into Lua's frames: it ends the process.
//!
//! Deliberately not here: when to stop, and what the client may ask for (`debugger.rs`).
#![expect(unsafe_code, reason = "mlua shows no variables of a function")]

use super::spelling::put_quoted;
use super::{At, Frames, Raised, SPELLED_BYTES_MAX};
use crate::engine::{Shared, Stop, TICK_INSTRUCTIONS};
use crate::number::format_general;
use crate::raw::{EndOnPanic, call, push};
use mlua::ffi::{self, lua_Debug, lua_State};
use mlua::{Function, Lua, Result as LuaResult};
use std::ffi::{CStr, c_char, c_int};
use std::rc::Rc;

/// Tables within each other that are shown, and elements of all of them.
const DEPTH_MAX: u32 = 10;
const ELEMENTS_COUNT_MAX: u32 = 100_000;
/// Bytes and elements of each local variable that are shown, whatever the others take.
const LOCAL_BYTES_MIN: usize = 64 << 10;
const LOCAL_ELEMENTS_COUNT_MIN: u32 = 1000;
/// Places on the stack that all of this takes: a key and a value per table, and some.
const STACK_PLACES: c_int = 2 * DEPTH_MAX as c_int + 20;
/// What code of the client's is called in errors. `sandbox.lua` holds this string, which the compiler does not.
const EVAL_NAME: &CStr = c"@ldb_eval";
const EVAL_STOPPED: &[u8] = b"the code takes too long";
const BINARY_MARK: u8 = 27;

/// Their addresses are where the registry keeps what the hooks need, and the thread that code of the client's runs in.
static KEY: u8 = 0;
static EVAL_KEY: u8 = 1;

/// Has the state's lines looked at by its debugger, from here on. The state keeps `shared` until it is closed.
///
/// While a hook runs Lua calls no other in its thread, so that code of the client's gets a thread of its own: there it is
/// looked at every so many instructions.
pub(crate) fn install(lua: &Lua, shared: &Rc<Shared>) -> LuaResult<()> {
    lua.set_app_data(Rc::clone(shared));
    let shared = Rc::as_ptr(shared).cast_mut().cast();
    // SAFETY: two places on the stack, and both are taken off again. Nothing is owned; want of memory is caught. The new
    // thread's stack has room for [`STACK_PLACES`] from the beginning, and Lua does not shrink it below that.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_pushlightuserdata(state, (&raw const KEY).cast_mut().cast());
            ffi::lua_pushlightuserdata(state, shared);
            ffi::lua_rawset(state, ffi::LUA_REGISTRYINDEX);
            ffi::lua_pushlightuserdata(state, (&raw const EVAL_KEY).cast_mut().cast());
            ffi::luaL_checkstack(ffi::lua_newthread(state), STACK_PLACES, std::ptr::null());
            ffi::lua_rawset(state, ffi::LUA_REGISTRYINDEX);
            let mask = ffi::LUA_MASKLINE | ffi::LUA_MASKCOUNT;
            ffi::lua_sethook(state, Some(hook), mask, TICK_INSTRUCTIONS as c_int);
        })
    }
}

/// What the sandbox tells a debugger, by name: `redis.debug`, `redis.breakpoint`, and which errors it makes. The state
/// keeps `shared` until it is closed.
pub(crate) fn functions(lua: &Lua, shared: &Rc<Shared>) -> LuaResult<Vec<(&'static str, Function)>> {
    const FUNCTIONS: [(&str, ffi::lua_CFunction); 3] =
        [("debug", debug), ("breakpoint", breakpoint), ("note_failure", note_failure)];
    lua.set_app_data(Rc::clone(shared));
    let shared: *mut std::ffi::c_void = Rc::as_ptr(shared).cast_mut().cast();
    let made = FUNCTIONS.into_iter().map(|(name, function)| {
        // SAFETY: the closures raise nothing but for want of memory, which `exec_raw` catches, and own nothing.
        let made: Function = unsafe {
            lua.exec_raw((), |state| {
                ffi::lua_pushlightuserdata(state, shared);
                ffi::lua_pushcclosure(state, function, 1);
            })
        }?;
        Ok((name, made))
    });
    made.collect()
}

/// How a hook ends.
enum Ended {
    /// The script goes on.
    Well,
    /// With an error of this text.
    Raises(&'static str),
    /// The script is not to go on.
    Stopped,
}

/// What `install` put into the registry. Takes a place on the stack, and gives it back.
unsafe fn shared_of<'s>(state: *mut lua_State) -> &'s Shared {
    // SAFETY: it is there, and outlives the state.
    unsafe {
        ffi::lua_pushlightuserdata(state, (&raw const KEY).cast_mut().cast());
        ffi::lua_rawget(state, ffi::LUA_REGISTRYINDEX);
        let shared = &*ffi::lua_touserdata(state, -1).cast::<Shared>();
        ffi::lua_pop(state, 1);
        shared
    }
}

unsafe extern "C-unwind" fn hook(state: *mut lua_State, event: *mut lua_Debug) {
    // SAFETY: nothing is owned here.
    unsafe {
        ffi::luaL_checkstack(state, STACK_PLACES, std::ptr::null());
        let shared = shared_of(state);
        shared.is_raised.set(false);
        match stop(state, event, shared) {
            Ended::Well => {}
            Ended::Raises(error) => {
                shared.is_raised.set(true);
                ffi::lua_createtable(state, 0, 4);
                push(state, b"err");
                push(state, b"ERR ");
                push(state, error.as_bytes());
                ffi::lua_concat(state, 2);
                ffi::lua_rawset(state, -3);
                ffi::lua_error(state);
            }
            Ended::Stopped => {
                push(state, b"stopped");
                ffi::lua_error(state);
            }
        }
    }
}

/// What code of the client's is looked at with: once it is to stop, each line of it is an error, whatever it catches.
unsafe extern "C-unwind" fn eval_hook(state: *mut lua_State, event: *mut lua_Debug) {
    // SAFETY: nothing is owned here when an error is raised.
    unsafe {
        ffi::luaL_checkstack(state, STACK_PLACES, std::ptr::null());
        let shared = shared_of(state);
        let end_on_panic = EndOnPanic;
        if (*event).event == ffi::LUA_HOOKCOUNT {
            note_stop(shared);
        }
        std::mem::forget(end_on_panic);
        if shared.is_stopped() {
            push(state, EVAL_STOPPED);
            ffi::lua_error(state);
        }
    }
}

/// Has what runs stop where the process does, where it does not end and nobody looks on, or, of the client's code, where it
/// takes too long.
fn note_stop(shared: &Shared) {
    if shared.is_stopped() {
        return;
    }
    let why = shared.reach.with(|caller| caller.tick()).flatten();
    let of_debugger = || match shared.debugger.get() {
        Some(debugger) if debugger.is_endless() => Some(Stop::Killed),
        Some(debugger) if debugger.is_eval_slow() => Some(Stop::TimedOut),
        _ => None,
    };
    if let Some(why) = why.or_else(of_debugger) {
        shared.stop.set(Some(why));
    }
}

/// Lets the debugger look at an event.
unsafe fn stop(state: *mut lua_State, event: *mut lua_Debug, shared: &Shared) -> Ended {
    let end_on_panic = EndOnPanic;
    // SAFETY: `event` is the one that Lua called the hook with; asking what function it is in raises nothing.
    let (at, is_tick) = unsafe {
        let is_tick = (*event).event == ffi::LUA_HOOKCOUNT;
        if ffi::lua_getstack(state, 0, event) == 0 {
            std::mem::forget(end_on_panic);
            return Ended::Well;
        }
        ffi::lua_getinfo(state, c"Sl".as_ptr(), event);
        let line = i64::from((*event).currentline);
        let at = (!is_of_sandbox(&*event)).then(|| At { line, is_in_script: is_of_script(&*event), is_tick });
        (at, is_tick)
    };
    if is_tick {
        note_stop(shared);
    }
    let ended = match (at, shared.debugger.get()) {
        _ if shared.is_stopped() => Ended::Stopped,
        (Some(at), Some(debugger)) => match debugger.reach(at, &mut Stack { state, shared }) {
            Ok(()) => Ended::Well,
            Err(Raised(error)) => Ended::Raises(error),
        },
        _ => Ended::Well,
    };
    std::mem::forget(end_on_panic);
    ended
}

/// Where a function is from, as errors say it.
fn source(of: &lua_Debug) -> &[u8] {
    let bytes = of.short_src.iter().map_while(|byte| (*byte != 0).then_some(())).count();
    // SAFETY: bytes are bytes, signed or not.
    unsafe { std::slice::from_raw_parts(of.short_src.as_ptr().cast(), bytes) }
}

fn is_of_script(of: &lua_Debug) -> bool {
    const NAME: &[u8] = b"user_script";
    source(of).windows(NAME.len()).any(|part| part == NAME)
}

/// In Redis what the sandbox does is not written in Lua.
fn is_of_sandbox(of: &lua_Debug) -> bool {
    source(of) == b"sandbox"
}

unsafe extern "C-unwind" fn debug(state: *mut lua_State) -> c_int {
    // SAFETY: as `hook`; the upvalue is what `functions` put there.
    unsafe {
        ffi::luaL_checkstack(state, STACK_PLACES, std::ptr::null());
        let shared = &*ffi::lua_touserdata(state, ffi::lua_upvalueindex(1)).cast::<Shared>();
        let end_on_panic = EndOnPanic;
        if let Some(debugger) = shared.debugger.get() {
            let (mut values, mut budget) = (Vec::new(), Budget::default());
            for index in 1..=ffi::lua_gettop(state) {
                values.extend(if index == 1 { &b""[..] } else { b", " });
                put_value(state, index, 0, &mut budget, &mut values);
            }
            debugger.show_values(&values);
        }
        std::mem::forget(end_on_panic);
    }
    0
}

unsafe extern "C-unwind" fn breakpoint(state: *mut lua_State) -> c_int {
    // SAFETY: as `debug`.
    unsafe {
        let shared = &*ffi::lua_touserdata(state, ffi::lua_upvalueindex(1)).cast::<Shared>();
        if let Some(debugger) = shared.debugger.get() {
            debugger.ask_to_stop();
        }
        ffi::lua_pushboolean(state, c_int::from(shared.debugger.get().is_some()));
    }
    1
}

unsafe extern "C-unwind" fn note_failure(state: *mut lua_State) -> c_int {
    // SAFETY: as `debug`.
    unsafe {
        let shared = &*ffi::lua_touserdata(state, ffi::lua_upvalueindex(1)).cast::<Shared>();
        if let Some(debugger) = shared.debugger.get()
            && ffi::lua_type(state, 1) == ffi::LUA_TSTRING
        {
            let end_on_panic = EndOnPanic;
            debugger.show_error(text_at(state, 1));
            std::mem::forget(end_on_panic);
        }
    }
    0
}

/// What may still be spelled: bytes, and elements of tables.
struct Budget {
    bytes: usize,
    elements_count: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { bytes: SPELLED_BYTES_MAX, elements_count: ELEMENTS_COUNT_MAX }
    }
}

/// The value at `index`, which counts from the bottom of the stack, as the client sees it.
unsafe fn spell(state: *mut lua_State, index: c_int, budget: &mut Budget) -> Vec<u8> {
    let mut out = Vec::new();
    // SAFETY: the caller has seen to room on the stack.
    unsafe { put_value(state, index, 0, budget, &mut out) };
    out
}

unsafe fn put_value(state: *mut lua_State, index: c_int, depth: u32, budget: &mut Budget, out: &mut Vec<u8>) {
    if depth == DEPTH_MAX {
        out.extend(b"<max recursion level reached! Nested table?>");
        return;
    }
    let before = out.len();
    // SAFETY: each value is read as what it is, which changes nothing.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TTABLE => return put_table(state, index, depth + 1, budget, out),
            ffi::LUA_TSTRING => {
                let text = text_at(state, index);
                put_quoted(out, &text[..text.len().min(budget.bytes)]);
            }
            ffi::LUA_TBOOLEAN => {
                out.extend(if ffi::lua_toboolean(state, index) == 0 { &b"false"[..] } else { b"true" });
            }
            ffi::LUA_TNUMBER => out.extend(format_general(ffi::lua_tonumber(state, index), 6).as_bytes()),
            ffi::LUA_TNIL => out.extend(b"nil"),
            other => {
                let name = match other {
                    ffi::LUA_TFUNCTION => "function",
                    ffi::LUA_TUSERDATA => "userdata",
                    ffi::LUA_TTHREAD => "thread",
                    ffi::LUA_TLIGHTUSERDATA => "light-userdata",
                    _ => "unknown",
                };
                out.extend(format!("\"{name}@{:p}\"", ffi::lua_topointer(state, index)).as_bytes());
            }
        }
    }
    budget.bytes = budget.bytes.saturating_sub(out.len() - before);
}

/// A table whose keys are 1, 2, … is shown without them.
unsafe fn put_table(state: *mut lua_State, index: c_int, depth: u32, budget: &mut Budget, out: &mut Vec<u8>) {
    let (mut elements, mut is_list) = (Vec::new(), true);
    // SAFETY: two places on the stack per table; walking a table from its own keys raises nothing.
    unsafe {
        ffi::lua_pushnil(state);
        while ffi::lua_next(state, index) != 0 {
            let top = ffi::lua_gettop(state);
            let expected = elements.len() as f64 + 1.0;
            is_list &= ffi::lua_type(state, top - 1) == ffi::LUA_TNUMBER
                && (ffi::lua_tonumber(state, top - 1) - expected).abs() < f64::EPSILON;
            let (mut key, mut value) = (Vec::new(), Vec::new());
            put_value(state, top - 1, depth, budget, &mut key);
            put_value(state, top, depth, budget, &mut value);
            elements.push((key, value));
            ffi::lua_settop(state, top - 1);
            budget.elements_count = budget.elements_count.saturating_sub(1);
            if budget.elements_count == 0 || budget.bytes == 0 {
                ffi::lua_settop(state, top - 2);
                break;
            }
        }
    }
    out.push(b'{');
    for (at, (key, value)) in elements.iter().enumerate() {
        out.extend(if at == 0 { &b""[..] } else { b"; " });
        if !is_list {
            out.extend([b"[", &key[..], b"]="].concat());
        }
        out.extend(value);
    }
    out.push(b'}');
}

/// The string at `index`.
unsafe fn text_at<'s>(state: *mut lua_State, index: c_int) -> &'s [u8] {
    let mut bytes = 0;
    // SAFETY: a string stays where it is as long as it is on the stack, where the caller leaves it.
    unsafe {
        let start = ffi::lua_tolstring(state, index, &raw mut bytes);
        std::slice::from_raw_parts(start.cast(), bytes)
    }
}

unsafe fn name_of<'s>(name: *const c_char) -> Option<&'s [u8]> {
    // SAFETY: Lua's names end with a zero byte, and live as long as their function.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_bytes())
}

/// The functions a script is in, while it stands still.
struct Stack<'s> {
    state: *mut lua_State,
    shared: &'s Shared,
}

impl Stack<'_> {
    /// The function at a level, the innermost being 0; `None` where there is none.
    fn at(&self, level: c_int) -> Option<lua_Debug> {
        // SAFETY: the fields are numbers and pointers, and filled before they are looked at.
        unsafe {
            let mut found: lua_Debug = std::mem::zeroed();
            if ffi::lua_getstack(self.state, level, &raw mut found) == 0 {
                return None;
            }
            ffi::lua_getinfo(self.state, c"Snl".as_ptr(), &raw mut found);
            Some(found)
        }
    }

    /// Hands the variables of a function to `look` until it returns something: their names, and where their values are.
    fn each_local<T>(&self, of: &lua_Debug, mut look: impl FnMut(&[u8], c_int) -> Option<T>) -> Option<T> {
        for number in 1.. {
            // SAFETY: one place on the stack, given back at once.
            unsafe {
                let name = name_of(ffi::lua_getlocal(self.state, &raw const *of, number))?;
                let seen = look(name, ffi::lua_gettop(self.state));
                ffi::lua_pop(self.state, 1);
                if seen.is_some() {
                    return seen;
                }
            }
        }
        None
    }
}

impl Frames for Stack<'_> {
    fn local(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let mut functions = (0..).map_while(|level| self.at(level)).filter(|function| !is_of_sandbox(function));
        // SAFETY: the hook has seen to room on the stack.
        let value =
            |found: &[u8], index| (found == name).then(|| unsafe { spell(self.state, index, &mut Budget::default()) });
        functions.find_map(|function| self.each_local(&function, value))
    }

    fn locals(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (mut locals, mut budget) = (Vec::new(), Budget::default());
        if let Some(function) = self.at(0) {
            self.each_local(&function, |name, index| {
                if !name.starts_with(b"(*temporary)") {
                    // What one of them takes leaves the others enough to be seen by.
                    budget.bytes = budget.bytes.max(LOCAL_BYTES_MIN);
                    budget.elements_count = budget.elements_count.max(LOCAL_ELEMENTS_COUNT_MIN);
                    // SAFETY: as `local`.
                    locals.push((name.to_vec(), unsafe { spell(self.state, index, &mut budget) }));
                }
                None::<()>
            });
        }
        locals
    }

    fn trace(&mut self) -> Vec<(Option<Vec<u8>>, i64)> {
        let functions = (0..).map_while(|level| self.at(level)).filter(is_of_script);
        let seen = functions.map(|function| {
            // SAFETY: the name is the function's, which is on the stack.
            let name = unsafe { name_of(function.name) }.map(<[u8]>::to_vec);
            (name, i64::from(function.currentline))
        });
        seen.collect()
    }

    fn eval(&mut self, code: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        if code.first() == Some(&BINARY_MARK) {
            return Err(b"compiled code is not loaded".to_vec());
        }
        if let Some(debugger) = self.shared.debugger.get() {
            debugger.begin_eval();
        }
        let expression = [b"return ", code].concat();
        // SAFETY: compiling and running are protected; what they leave is taken off the thread's stack. Text is compiled,
        // never bytecode. The globals are those of what stands still.
        unsafe {
            ffi::lua_pushlightuserdata(self.state, (&raw const EVAL_KEY).cast_mut().cast());
            ffi::lua_rawget(self.state, ffi::LUA_REGISTRYINDEX);
            let thread = ffi::lua_tothread(self.state, -1);
            ffi::lua_pop(self.state, 1);
            ffi::lua_pushvalue(self.state, ffi::LUA_GLOBALSINDEX);
            ffi::lua_xmove(self.state, thread, 1);
            ffi::lua_replace(thread, ffi::LUA_GLOBALSINDEX);
            let mask = ffi::LUA_MASKLINE | ffi::LUA_MASKCOUNT;
            ffi::lua_sethook(thread, Some(eval_hook), mask, TICK_INSTRUCTIONS as c_int);
            let load = |text: &[u8]| {
                ffi::lua_settop(thread, 0);
                ffi::luaL_loadbuffer(thread, text.as_ptr().cast(), text.len(), EVAL_NAME.as_ptr()) == 0
            };
            let is_well = (load(&expression) || load(code)) && ffi::lua_pcall(thread, 0, 1, 0) == 0;
            let result = if is_well { Ok(spell(thread, 1, &mut Budget::default())) } else { Err(error_at(thread, 1)) };
            ffi::lua_settop(thread, 0);
            // The script goes on where only its client's code was stopped.
            if self.shared.stop.get() == Some(Stop::TimedOut) {
                self.shared.stop.set(None);
                return Err(EVAL_STOPPED.to_vec());
            }
            result
        }
    }

    fn call(&mut self, args: &[Vec<u8>]) {
        let mut given = Given { shared: self.shared, args };
        // SAFETY: what runs is protected, and reads `given` while it is there.
        unsafe {
            let top = ffi::lua_gettop(self.state);
            // Its error has been shown.
            ffi::lua_cpcall(self.state, call_with, (&raw mut given).cast());
            ffi::lua_settop(self.state, top);
        }
    }
}

/// The text of the error at `index`: of a table, what it says.
unsafe fn error_at(state: *mut lua_State, index: c_int) -> Vec<u8> {
    let said = |text: &[u8]| text[..text.len().min(SPELLED_BYTES_MAX)].to_vec();
    // SAFETY: looking for a field by its name allocates nothing but the name, which `sandbox.lua` has made before.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TSTRING => said(text_at(state, index)),
            ffi::LUA_TTABLE => {
                ffi::lua_pushnil(state);
                while ffi::lua_next(state, index) != 0 {
                    let top = ffi::lua_gettop(state);
                    let is_text = [top - 1, top].iter().all(|at| ffi::lua_type(state, *at) == ffi::LUA_TSTRING);
                    if is_text && text_at(state, top - 1) == b"err" {
                        return said(text_at(state, top));
                    }
                    ffi::lua_settop(state, top - 1);
                }
                spell(state, index, &mut Budget::default())
            }
            _ => spell(state, index, &mut Budget::default()),
        }
    }
}

/// A command of the client's.
struct Given<'g> {
    shared: &'g Shared,
    args: &'g [Vec<u8>],
}

unsafe extern "C-unwind" fn call_with(state: *mut lua_State) -> c_int {
    // SAFETY: `Stack::call` calls this, with what lives until it returns. Nothing here is owned.
    unsafe {
        let given = &*ffi::lua_touserdata(state, 1).cast::<Given<'_>>();
        ffi::luaL_checkstack(state, given.args.len() as c_int + STACK_PLACES, std::ptr::null());
        ffi::lua_pushlightuserdata(state, (&raw const *given.shared).cast_mut().cast());
        ffi::lua_pushcclosure(state, call, 1);
        for arg in given.args {
            push(state, arg);
        }
        ffi::lua_call(state, given.args.len() as c_int, 0);
    }
    0
}
