//! The functions of the sandbox that are not written in Lua, and how they take arguments and fail.
//!
//! A native function gives either what it returns or the text of its error; `sandbox.lua` raises the error, so that it
//! carries the line of the script that caused it.

use crate::engine::{Options, Shared};
use crate::{bit, cjson, cmsgpack, structs};
use mlua::{Error, Function, Lua, LuaString, MultiValue, Result as LuaResult, Table, Value};
use std::rc::Rc;
use wire::args::Ranges;
use wire::reply::Protocol;

/// Why a native function failed.
pub(crate) enum Problem {
    /// An error of the script's, in words.
    Text(String),
    /// Lua's own: memory, nearly always.
    Lua(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem::Lua(error)
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Problem {
        Problem::Text(text)
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Problem {
        Problem::Text(text.to_owned())
    }
}

/// What a native function gives.
pub(crate) type Given = Result<MultiValue, Problem>;

/// The arguments of a native function, by their numbers from 1.
pub(crate) struct Params {
    name: &'static str,
    values: MultiValue,
}

impl Params {
    pub fn count(&self) -> usize {
        self.values.len()
    }

    pub fn get(&self, index: usize) -> Option<&Value> {
        self.values.get(index - 1)
    }

    pub fn values(&self) -> impl ExactSizeIterator<Item = &Value> {
        self.values.iter()
    }

    pub fn bad(&self, index: usize, why: &str) -> Problem {
        Problem::Text(format!("bad argument #{index} to '{}' ({why})", self.name))
    }

    fn mismatch(&self, index: usize, expected: &str) -> Problem {
        let got = self.get(index).map_or("no value", type_name);
        self.bad(index, &format!("{expected} expected, got {got}"))
    }

    /// A string, or the text of a number.
    pub fn string(&self, lua: &Lua, index: usize) -> Result<LuaString, Problem> {
        match self.get(index) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(number @ (Value::Integer(_) | Value::Number(_))) => Ok(lua.create_string(bytes_of_value(number))?),
            _ => Err(self.mismatch(index, "string")),
        }
    }

    /// A number, or one written in a string.
    pub fn number(&self, index: usize) -> Result<f64, Problem> {
        self.get(index).and_then(number_of).ok_or_else(|| self.mismatch(index, "number"))
    }

    /// As [`Params::number`], with a value for none.
    pub fn number_or(&self, index: usize, default: f64) -> Result<f64, Problem> {
        match self.get(index) {
            None | Some(Value::Nil) => Ok(default),
            Some(_) => self.number(index),
        }
    }

    /// A number between two others, fraction cut off.
    pub fn within(&self, index: usize, low: i64, high: i64) -> Result<i64, Problem> {
        let value = self.number(index)? as i64;
        if (low..=high).contains(&value) {
            return Ok(value);
        }
        Err(self.bad(index, &format!("expected integer between {low} and {high}")))
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::LightUserData(_) => "userdata",
        Value::Integer(_) => "number",
        other => other.type_name(),
    }
}

/// The number a value is or spells out.
pub(crate) fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::String(text) => {
            let text = text.as_bytes();
            let trimmed = text.trim_ascii();
            crate::number::parse_prefix(trimmed).filter(|(_, bytes)| *bytes == trimmed.len()).map(|(number, _)| number)
        }
        _ => None,
    }
}

/// The bytes of a string, or of what `tostring` makes of a number; a name for what has no text.
pub(crate) fn bytes_of_value(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Integer(number) => crate::number::format_general(*number as f64, 14).into_bytes(),
        Value::Number(number) => crate::number::format_general(*number, 14).into_bytes(),
        Value::Error(error) => text_of(error).into_bytes(),
        other => other.type_name().as_bytes().to_vec(),
    }
}

/// As [`bytes_of_value`], as text.
pub(crate) fn text_of_value(value: &Value) -> String {
    crate::convert::lossy(value)
}

/// An error of Lua's in one line, without where it passed through.
pub(crate) fn text_of(error: &Error) -> String {
    match error {
        Error::SyntaxError { message, .. } | Error::RuntimeError(message) => message.clone(),
        Error::MemoryError(_) => "not enough memory".to_owned(),
        Error::CallbackError { cause, .. } => text_of(cause),
        other => other.to_string(),
    }
}

/// A native function by its Lua name.
pub(crate) type Native = (&'static str, fn(&Lua, &Shared, &Params) -> Given);

fn table_of(lua: &Lua, shared: &Rc<Shared>, natives: &[Native]) -> LuaResult<Table> {
    let table = lua.create_table_with_capacity(0, natives.len())?;
    for (name, native) in natives {
        table.raw_set(*name, function(lua, shared, name, *native)?)?;
    }
    Ok(table)
}

fn function(
    lua: &Lua,
    shared: &Rc<Shared>,
    name: &'static str,
    native: fn(&Lua, &Shared, &Params) -> Given,
) -> LuaResult<Function> {
    let shared = Rc::clone(shared);
    lua.create_function(move |lua, values: MultiValue| match native(lua, &shared, &Params { name, values }) {
        Ok(mut given) => {
            given.push_front(Value::Boolean(true));
            Ok(given)
        }
        Err(Problem::Text(text)) => {
            Ok(MultiValue::from_iter([Value::Boolean(false), Value::String(lua.create_string(text)?)]))
        }
        Err(Problem::Lua(error)) => Err(error),
    })
}

/// One value.
pub(crate) fn one(value: Value) -> MultiValue {
    MultiValue::from_iter([value])
}

/// What `sandbox.lua` takes.
pub(crate) fn functions(lua: &Lua, shared: &Rc<Shared>, options: &Options) -> LuaResult<Table> {
    let native = table_of(lua, shared, &[("random", random), ("randomseed", randomseed)])?;
    native.raw_set("bit", table_of(lua, shared, bit::FUNCTIONS)?)?;
    native.raw_set("struct", table_of(lua, shared, structs::FUNCTIONS)?)?;
    for (name, functions, constants) in [
        ("cjson", cjson::FUNCTIONS, cjson::constants(lua)?),
        ("cmsgpack", cmsgpack::FUNCTIONS, cmsgpack::constants(lua)?),
    ] {
        let module = lua.create_table()?;
        module.raw_set("functions", table_of(lua, shared, functions)?)?;
        module.raw_set("constants", constants)?;
        native.raw_set(name, module)?;
    }
    let sha1hex = |lua: &Lua, text: LuaString| lua.create_string(crate::sha1_hex(&text.as_bytes()));
    native.raw_set("sha1hex", lua.create_function(sha1hex)?)?;
    native.raw_set("describe", lua.create_function(|_, value: Value| Ok(format!("ERR {}", text_of_value(&value))))?)?;
    native.raw_set("call", crate::raw::call_function(lua, shared)?)?;
    let logging = Rc::clone(shared);
    let log = move |_: &Lua, (level, text): (u8, LuaString)| {
        logging.reach.with(|caller| caller.log(level, &text.as_bytes()));
        Ok(())
    };
    native.raw_set("log", lua.create_function(log)?)?;
    let asking = Rc::clone(shared);
    let permitted = move |_: &Lua, values: MultiValue| {
        let args = arguments(&values)?;
        Ok(asking.reach.with(|caller| caller.permitted(args.args(&[]))).flatten())
    };
    native.raw_set("permitted", lua.create_function(permitted)?)?;
    let speaking = Rc::clone(shared);
    let setresp = move |_: &Lua, version: u8| {
        speaking.protocol.set(if version == 3 { Protocol::Resp3 } else { Protocol::Resp2 });
        Ok(())
    };
    native.raw_set("setresp", lua.create_function(setresp)?)?;
    let stopping = Rc::clone(shared);
    native.raw_set("is_stopped", lua.create_function(move |_, ()| Ok(stopping.is_stopped()))?)?;
    let raised = Rc::clone(shared);
    native.raw_set("is_raised", lua.create_function(move |_, ()| Ok(raised.is_raised.get()))?)?;
    native.raw_set("where", lua.create_function(|lua, ()| Ok(place(lua).unzip()))?)?;
    for (name, function) in crate::debugger::frames::functions(lua, shared)? {
        native.raw_set(name, function)?;
    }
    native.raw_set("version", options.version)?;
    native.raw_set("version_number", version_number(options.version))?;
    native.raw_set("server_name", "larder")?;
    Ok(native)
}

/// Lua values as the arguments of a command.
fn arguments(values: &MultiValue) -> LuaResult<Ranges> {
    let mut args = Ranges::new();
    args.begin_own();
    for value in values {
        match value {
            Value::String(text) => args.add(&text.as_bytes()),
            Value::Integer(number) => args.add(&base::number::format_i64(*number)),
            Value::Number(number) => args.add(&base::number::format_f64(*number)),
            _ => return Err(Error::runtime("Lua redis lib command arguments must be strings or integers")),
        }
    }
    Ok(args)
}

/// `7.2.4` as 0x070204.
fn version_number(version: &str) -> u32 {
    version.split('.').filter_map(|part| part.parse::<u32>().ok()).fold(0, |number, part| number << 8 | part & 0xFF)
}

/// The innermost place in a script: its source and line.
fn place(lua: &Lua) -> Option<(String, usize)> {
    (1..)
        .map_while(|level| {
            lua.inspect_stack(level, |debug| {
                let source = debug.source().source?.into_owned();
                source.starts_with("@user_").then(|| Some((source, debug.current_line()?))).flatten()
            })
        })
        .flatten()
        .next()
}

/// The generator of `lrand48`, which Redis uses too: the same seed gives the same numbers everywhere.
fn next_random(shared: &Shared) -> f64 {
    const STATE_MASK: u64 = (1 << 48) - 1;
    const MAX: u64 = (1 << 31) - 1;
    let state = shared.seed.get().wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & STATE_MASK;
    shared.seed.set(state);
    ((state >> 17) % MAX) as f64 / MAX as f64
}

fn random(_: &Lua, shared: &Shared, params: &Params) -> Given {
    let drawn = next_random(shared);
    Ok(one(Value::Number(match params.count() {
        0 => drawn,
        1 => {
            let high = params.number(1)?.trunc();
            if high < 1.0 {
                return Err(params.bad(1, "interval is empty"));
            }
            (drawn * high).floor() + 1.0
        }
        2 => {
            let (low, high) = (params.number(1)?.trunc(), params.number(2)?.trunc());
            if high < low {
                return Err(params.bad(2, "interval is empty"));
            }
            (drawn * (high - low + 1.0)).floor() + low
        }
        _ => return Err("wrong number of arguments".into()),
    })))
}

fn randomseed(_: &Lua, shared: &Shared, params: &Params) -> Given {
    let seed = params.number(1)? as i64 as u32;
    shared.seed.set(u64::from(seed) << 16 | 0x330E);
    Ok(MultiValue::new())
}
