//! The way of a call from Lua's stack to the caller of a run and back, and the way into a run.
//!
//! mlua is left out here, for scripts spend most of their time on this way: with it, each argument is anchored in a table
//! and let go of again, and because memory is bounded, each string of a reply is made under a protected call of its own
//! that allocates two closures.
//!
//! Why it is sound:
//! - Lua raises errors by jumping to whoever protected the call. A function here that calls what may raise owns nothing
//!   that would have to be dropped; what does own something ([`ask`]) calls nothing that may raise.
//! - Replies and arguments lie in memory that is taken out of its cell while it is in use. A finalizer that calls a command
//!   while a reply is being pushed finds other memory; a jump leaves the memory behind, leaked.
//! - The caller is lent for as long as [`Reach::lend`] runs, and to one call at a time.
//! - No panic gets into Lua's frames: it ends the process.
//!
//! Deliberately not here: what a reply means in Lua; `convert.rs` has the table.
#![expect(unsafe_code, reason = "the way that every call of a script takes goes past mlua")]

use crate::convert::{Replies, Source};
use crate::engine::{Called, Caller, Run, Shared, Stop, Target};
use mlua::ffi::{self, lua_State};
use mlua::{Function, LightUserData, Lua, Result as LuaResult, Value};
use std::cell::Cell;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::rc::Rc;
use wire::args::Ranges;

const NOT_RUNNING: &[u8] = b"-ERR redis.call/pcall can only be called inside a script invocation\r\n";

/// The caller of the run that goes on, if one does.
#[derive(Default)]
pub(crate) struct Reach(Cell<Option<NonNull<dyn Caller>>>);

/// Takes the caller back.
struct Lent<'r>(&'r Reach);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.0.set(None);
    }
}

impl Reach {
    /// Has calls reach `caller` while `work` runs.
    pub fn lend<R>(&self, caller: &mut dyn Caller, work: impl FnOnce() -> R) -> R {
        let caller: NonNull<dyn Caller + '_> = NonNull::from(caller);
        // SAFETY: only the lifetime changes. `Lent` takes the pointer out again before `caller` ends, and nobody copies it.
        let caller = unsafe { std::mem::transmute::<NonNull<dyn Caller + '_>, NonNull<dyn Caller + 'static>>(caller) };
        self.0.set(Some(caller));
        let _lent = Lent(self);
        work()
    }

    /// Asks the caller; `None` when there is none, or it is being asked already.
    pub fn with<R>(&self, ask: impl FnOnce(&mut dyn Caller) -> R) -> Option<R> {
        let mut caller = self.0.take()?;
        // SAFETY: it was lent by a call of `lend` that has not returned, and was taken out, so that this is the only
        // reference made of it.
        let answer = ask(unsafe { caller.as_mut() });
        self.0.set(Some(caller));
        Some(answer)
    }
}

/// Ends the process where a panic would go on into frames that are not Rust's.
pub(crate) struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// The function behind `redis.call`. The state keeps `shared` until it is closed.
pub(crate) fn call_function(lua: &Lua, shared: &Rc<Shared>) -> LuaResult<Function> {
    lua.set_app_data(Rc::clone(shared));
    let shared = Rc::as_ptr(shared).cast_mut().cast();
    // SAFETY: the closure raises nothing but for want of memory, which `exec_raw` catches, and owns nothing.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_pushlightuserdata(state, shared);
            ffi::lua_pushcclosure(state, call, 1);
        })
    }
}

/// The function that [`enter`] calls, made of those of the sandbox that run scripts and functions.
pub(crate) fn entrance(lua: &Lua, run_script: Function, run_function: Function) -> LuaResult<Function> {
    // SAFETY: as above.
    unsafe { lua.exec_raw((run_script, run_function), |state| ffi::lua_pushcclosure(state, into_run, 2)) }
}

/// Runs a script or a function: whether it ended well, and with what. No `bool` where the script is not there.
pub(crate) fn enter(entrance: &Function, run: &Run<'_>) -> LuaResult<(Option<bool>, Value)> {
    entrance.call(LightUserData((&raw const *run).cast_mut().cast()))
}

unsafe extern "C-unwind" fn into_run(state: *mut lua_State) -> c_int {
    // SAFETY: no script gets hold of this function; `enter` calls it with a run that lives until it returns. Nothing
    // here is dropped.
    unsafe {
        let run = &*ffi::lua_touserdata(state, 1).cast::<Run<'_>>();
        let name_count = match run.target {
            Target::Script { sha, .. } => {
                ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
                push(state, sha);
                1
            }
            Target::Function { library, function, .. } => {
                ffi::lua_pushvalue(state, ffi::lua_upvalueindex(2));
                push(state, library);
                push(state, function);
                2
            }
        };
        push_list(state, run.params.iter().take(run.key_count), run.key_count);
        push_list(state, run.params.iter().skip(run.key_count), run.params.count() - run.key_count);
        ffi::lua_call(state, name_count + 2, 2);
    }
    2
}

pub(crate) unsafe fn push(state: *mut lua_State, bytes: &[u8]) {
    // SAFETY: Lua copies the bytes.
    unsafe { ffi::lua_pushlstring_(state, bytes.as_ptr().cast(), bytes.len()) }
}

unsafe fn push_list<'p>(state: *mut lua_State, params: impl Iterator<Item = &'p [u8]>, count: usize) {
    // SAFETY: two places on the stack, of the twenty that every C function has.
    unsafe {
        ffi::lua_createtable(state, count as c_int, 0);
        for (at, param) in params.enumerate() {
            push(state, param);
            ffi::lua_rawseti_(state, -2, at as c_int + 1);
        }
    }
}

/// What became of a call.
enum Answer {
    /// The reply lies in memory.
    Replied,
    /// So does the error; whether it was counted.
    Refused(bool),
    /// The script is not to go on.
    Stopped,
}

/// The function behind `redis.call`, whose upvalue is what the state's functions share.
pub(crate) unsafe extern "C-unwind" fn call(state: *mut lua_State) -> c_int {
    // SAFETY: the upvalue is what `call_function` put there, which outlives the state. Nothing here is dropped, but for
    // what `ask` does, which raises nothing; the memory is in its cell again before an error is raised on purpose.
    unsafe {
        let shared = &*ffi::lua_touserdata(state, ffi::lua_upvalueindex(1)).cast::<Shared>();
        let answer = ask(state, shared);
        let memory = ManuallyDrop::new(shared.replies.take());
        // The arguments may have filled the stack to its limit.
        ffi::lua_settop(state, 0);
        match answer {
            Answer::Replied => push_value(state, &mut Source::of(&memory.bytes)),
            Answer::Refused(was_counted) => push_error(state, &memory.bytes, was_counted),
            Answer::Stopped => push(state, b"stopped"),
        }
        shared.replies.set(ManuallyDrop::into_inner(memory));
        match answer {
            Answer::Replied => 1,
            Answer::Refused(_) | Answer::Stopped => ffi::lua_error(state),
        }
    }
}

/// Has the command on the stack run. Calls nothing of Lua's that raises.
unsafe fn ask(state: *mut lua_State, shared: &Shared) -> Answer {
    if shared.is_stopped() {
        return Answer::Stopped;
    }
    let end_on_panic = EndOnPanic;
    let mut memory = shared.replies.take();
    let Replies { args, bytes } = &mut memory;
    bytes.clear();
    let mut is_declined = false;
    // SAFETY: the stack is that of the function that was called.
    let answer = if let Err(text) = unsafe { arguments(state, args) } {
        bytes.extend_from_slice(text);
        Answer::Refused(false)
    } else {
        let protocol = shared.protocol.get();
        if let Some(debugger) = shared.debugger.get() {
            debugger.show_command(args.args(&[]));
        }
        let called = shared.reach.with(|caller| caller.call(args.args(&[]), protocol, bytes));
        if let (Some(debugger), Some(Called::Replied | Called::Refused)) = (shared.debugger.get(), called) {
            debugger.show_reply(bytes);
        }
        match called {
            Some(Called::Replied) => Answer::Replied,
            Some(Called::Refused) => Answer::Refused(true),
            Some(Called::Declined) => {
                is_declined = true;
                Answer::Refused(true)
            }
            Some(Called::Abandoned) => {
                shared.stop.set(Some(Stop::Abandoned));
                Answer::Stopped
            }
            None => {
                bytes.extend_from_slice(NOT_RUNNING);
                Answer::Refused(false)
            }
        }
    };
    if let Some(debugger) = shared.debugger.get()
        && (is_declined || matches!(answer, Answer::Refused(false)))
    {
        debugger.show_refusal(&bytes[1..bytes.len() - 2]);
    }
    shared.replies.set(memory);
    std::mem::forget(end_on_panic);
    answer
}

/// What is on the stack as the arguments of a command, or the error to reply with.
unsafe fn arguments(state: *mut lua_State, args: &mut Ranges) -> Result<(), &'static [u8]> {
    // SAFETY: reading strings as strings and numbers as numbers changes nothing on the stack. A string stays where it
    // is as long as it is on the stack.
    unsafe {
        let count = ffi::lua_gettop(state);
        if count == 0 {
            return Err(b"-ERR Please specify at least one argument for this redis lib call\r\n");
        }
        args.begin_own();
        for index in 1..=count {
            match ffi::lua_type(state, index) {
                ffi::LUA_TSTRING => {
                    let mut bytes = 0;
                    let start = ffi::lua_tolstring(state, index, &raw mut bytes);
                    args.add(std::slice::from_raw_parts(start.cast(), bytes));
                }
                ffi::LUA_TNUMBER => args.add(&base::number::format_f64(ffi::lua_tonumber(state, index))),
                _ => return Err(b"-ERR Lua redis lib command arguments must be strings or integers\r\n"),
            }
        }
    }
    Ok(())
}

/// Pushes what `redis.call` raises for a reply that is an error.
unsafe fn push_error(state: *mut lua_State, reply: &[u8], was_counted: bool) {
    let text = &reply[1..reply.len() - 2];
    // SAFETY: as `push_list`.
    unsafe {
        ffi::lua_createtable(state, 0, 4);
        push_field(state, b"err", text);
        push(state, b"ignore_error_stats_update");
        ffi::lua_pushboolean(state, c_int::from(was_counted));
        ffi::lua_rawset(state, -3);
    }
}

/// Sets a field of the table on top of the stack.
unsafe fn push_field(state: *mut lua_State, name: &[u8], text: &[u8]) {
    // SAFETY: as `push_list`.
    unsafe {
        push(state, name);
        push(state, text);
        ffi::lua_rawset(state, -3);
    }
}

/// Pushes the Lua value of the next reply of the source.
unsafe fn push_value(state: *mut lua_State, source: &mut Source<'_>) {
    // SAFETY: room on the stack is asked for; nothing here is dropped.
    unsafe {
        ffi::luaL_checkstack(state, 4, std::ptr::null());
        let (marker, line) = source.line();
        match marker {
            b':' => ffi::lua_pushnumber(state, crate::convert::number(line) as f64),
            b'$' => match crate::convert::number(line) {
                -1 => ffi::lua_pushboolean(state, 0),
                count => push(state, source.bytes(count as usize)),
            },
            b'+' => {
                ffi::lua_createtable(state, 0, 1);
                push_field(state, b"ok", line);
            }
            b'-' => {
                ffi::lua_createtable(state, 0, 4);
                push_field(state, b"err", line);
                push(state, b"ignore_error_stats_update");
                ffi::lua_pushboolean(state, 1);
                ffi::lua_rawset(state, -3);
            }
            b'*' | b'>' => match crate::convert::number(line) {
                -1 => ffi::lua_pushboolean(state, 0),
                count => {
                    ffi::lua_createtable(state, count as c_int, 0);
                    for at in 1..=count {
                        push_value(state, source);
                        ffi::lua_rawseti_(state, -2, at as c_int);
                    }
                }
            },
            b'_' => ffi::lua_pushnil(state),
            b'#' => ffi::lua_pushboolean(state, c_int::from(line == b"t")),
            b',' => {
                push_single(state, b"double", |state| ffi::lua_pushnumber(state, crate::convert::double(line)));
            }
            b'(' => push_single(state, b"big_number", |state| push(state, line)),
            b'=' => {
                let bytes = source.bytes(crate::convert::number(line) as usize);
                push_single(state, b"verbatim_string", |state| {
                    ffi::lua_createtable(state, 0, 2);
                    push_field(state, b"string", &bytes[4..]);
                    push_field(state, b"format", &bytes[..3]);
                });
            }
            b'%' => push_single(state, b"map", |state| {
                ffi::lua_createtable(state, 0, 0);
                for _ in 0..crate::convert::number(line) {
                    push_value(state, source);
                    push_value(state, source);
                    ffi::lua_rawset(state, -3);
                }
            }),
            b'~' => push_single(state, b"set", |state| {
                ffi::lua_createtable(state, 0, 0);
                for _ in 0..crate::convert::number(line) {
                    push_value(state, source);
                    ffi::lua_pushboolean(state, 1);
                    ffi::lua_rawset(state, -3);
                }
            }),
            b'|' => {
                for _ in 0..crate::convert::number(line) * 2 {
                    push_value(state, source);
                    ffi::lua_settop(state, -2);
                }
                push_value(state, source);
            }
            other => unreachable!("replies of ours begin with a marker, not {other}"),
        }
    }
}

/// Pushes a table whose one field is what `value` pushes.
unsafe fn push_single(state: *mut lua_State, name: &[u8], value: impl FnOnce(*mut lua_State)) {
    // SAFETY: as `push_list`.
    unsafe {
        ffi::lua_createtable(state, 0, 1);
        push(state, name);
        value(state);
        ffi::lua_rawset(state, -3);
    }
}
