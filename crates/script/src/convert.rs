//! Values between Lua and RESP, in both directions, as Redis converts them.
//!
//! | RESP | Lua |
//! |---|---|
//! | integer | number |
//! | bulk string | string |
//! | array | table 1, 2, … |
//! | simple string, error | `{ok=…}`, `{err=…}` |
//! | null of RESP2; of RESP3 | false; nil |
//! | boolean, double, map, set, big number, verbatim | boolean, `{double=…}`, `{map=…}`, `{set={v=true}}`, `{big_number=…}`, `{verbatim_string={format=…, string=…}}` |
//!
//! And back, where a number is cut to an integer and a nil ends an array.
//!
//! Deliberately not: bytes from outside. Replies read here were written by this server.

use crate::engine::Outcome;
use crate::native;
use mlua::{Lua, LuaString, Result as LuaResult, Table, Value};
use wire::args::Ranges;
use wire::reply::{Protocol, Reply};

/// Nesting of tables in a reply; what lies deeper is an error in its place.
pub const REPLY_DEPTH_MAX: usize = 256;
/// Bytes of the reply buffer kept from one call to the next.
const REPLY_KEPT_BYTES_MAX: usize = 1 << 20;

/// Memory kept from one call to the next.
#[derive(Default)]
pub(crate) struct Replies {
    pub args: Ranges,
    pub bytes: Vec<u8>,
}

impl Replies {
    /// Gives back what one large reply took.
    pub fn shrink(&mut self) {
        if self.bytes.capacity() > REPLY_KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }
}

/// Names of fields, made once.
pub(crate) struct Names {
    pub err: LuaString,
    ok: LuaString,
    double: LuaString,
    big_number: LuaString,
    verbatim: LuaString,
    map: LuaString,
    set: LuaString,
    format: LuaString,
    string: LuaString,
    pub source: LuaString,
    pub line: LuaString,
    pub counted: LuaString,
}

/// Whole replies, read from the front.
pub(crate) struct Source<'s> {
    rest: &'s [u8],
}

impl<'s> Source<'s> {
    pub fn of(replies: &'s [u8]) -> Self {
        Source { rest: replies }
    }

    /// The marker and the rest of the next line.
    pub fn line(&mut self) -> (u8, &'s [u8]) {
        let end = self.rest.iter().position(|byte| *byte == b'\n').expect("a reply of our own is whole");
        let line = (self.rest[0], &self.rest[1..end - 1]);
        self.rest = &self.rest[end + 1..];
        line
    }

    /// The next bytes, before the end of a line.
    pub fn bytes(&mut self, count: usize) -> &'s [u8] {
        let (bytes, rest) = self.rest.split_at(count);
        self.rest = &rest[2..];
        bytes
    }
}

/// The number in a header.
pub(crate) fn number(line: &[u8]) -> i64 {
    base::number::parse_i64(line).expect("a header of our own is a number")
}

impl Names {
    pub fn new(lua: &Lua) -> LuaResult<Names> {
        Ok(Names {
            err: lua.create_string("err")?,
            ok: lua.create_string("ok")?,
            double: lua.create_string("double")?,
            big_number: lua.create_string("big_number")?,
            verbatim: lua.create_string("verbatim_string")?,
            map: lua.create_string("map")?,
            set: lua.create_string("set")?,
            format: lua.create_string("format")?,
            string: lua.create_string("string")?,
            source: lua.create_string("source")?,
            line: lua.create_string("line")?,
            counted: lua.create_string("ignore_error_stats_update")?,
        })
    }
}

/// The number in a line of RESP3.
pub(crate) fn double(text: &[u8]) -> f64 {
    base::number::parse_f64(text).unwrap_or(f64::NAN)
}

/// Writes what a script returned. `protocol` is the one the script has chosen for itself; the reply has the client's.
pub(crate) fn write_reply(
    names: &Names,
    value: &Value,
    protocol: Protocol,
    reply: &mut Reply<'_>,
) -> LuaResult<Outcome> {
    let mut outcome = Outcome { is_error: false, was_counted: false };
    if let Value::Table(table) = value
        && matches!(table.raw_get(&names.err)?, Value::String(_))
    {
        outcome.is_error = true;
        outcome.was_counted = matches!(table.raw_get(&names.counted)?, Value::Boolean(true));
    }
    write(names, value, protocol, reply, 0)?;
    Ok(outcome)
}

fn write(names: &Names, value: &Value, protocol: Protocol, reply: &mut Reply<'_>, depth: usize) -> LuaResult<()> {
    match value {
        Value::String(text) => reply.bulk(&text.as_bytes()),
        Value::Boolean(value) if protocol == Protocol::Resp3 => reply.boolean(*value),
        Value::Boolean(true) => reply.integer(1),
        Value::Boolean(false) => reply.null(),
        Value::Integer(value) => reply.integer(*value),
        Value::Number(value) => reply.integer(truncated(*value)),
        Value::Table(_) if depth == REPLY_DEPTH_MAX => reply.error("ERR reached lua stack limit"),
        Value::Table(table) => write_table(names, table, protocol, reply, depth + 1)?,
        _ => reply.null(),
    }
    Ok(())
}

fn truncated(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

fn write_table(names: &Names, table: &Table, protocol: Protocol, reply: &mut Reply<'_>, depth: usize) -> LuaResult<()> {
    if let Value::String(text) = table.raw_get(&names.err)? {
        reply.error(text.as_bytes());
        return Ok(());
    }
    if let Value::String(text) = table.raw_get(&names.ok)? {
        reply.simple_bytes(&text.as_bytes());
        return Ok(());
    }
    match table.raw_get(&names.double)? {
        Value::Number(value) => {
            reply.double(value);
            return Ok(());
        }
        Value::Integer(value) => {
            reply.double(value as f64);
            return Ok(());
        }
        _ => {}
    }
    if let Value::String(digits) = table.raw_get(&names.big_number)? {
        let digits: Vec<u8> =
            digits.as_bytes().iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect();
        reply.big_number(&digits);
        return Ok(());
    }
    if let Value::Table(verbatim) = table.raw_get(&names.verbatim)?
        && let Value::String(format) = verbatim.raw_get(&names.format)?
        && let Value::String(text) = verbatim.raw_get(&names.string)?
    {
        let mut letters = [b' '; 3];
        letters.iter_mut().zip(format.as_bytes().iter()).for_each(|(letter, given)| *letter = *given);
        reply.verbatim(letters, &text.as_bytes());
        return Ok(());
    }
    let start = reply.mark();
    let mut count = 0;
    if let Value::Table(map) = table.raw_get(&names.map)? {
        each(&map, |key, value| {
            count += 1;
            write(names, key, protocol, reply, depth)?;
            write(names, value, protocol, reply, depth)
        })?;
        reply.map_since(start, count);
        return Ok(());
    }
    if let Value::Table(set) = table.raw_get(&names.set)? {
        each(&set, |key, _| {
            count += 1;
            write(names, key, protocol, reply, depth)
        })?;
        reply.set_since(start, count);
        return Ok(());
    }
    loop {
        let value: Value = table.raw_get(count + 1)?;
        if value.is_nil() {
            break;
        }
        count += 1;
        write(names, &value, protocol, reply, depth)?;
    }
    reply.array_since(start, count);
    Ok(())
}

fn each(table: &Table, mut each: impl FnMut(&Value, &Value) -> LuaResult<()>) -> LuaResult<()> {
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        each(&key, &value)?;
    }
    Ok(())
}

/// The text of a value that should be one.
pub(crate) fn lossy(value: &Value) -> String {
    String::from_utf8_lossy(&native::bytes_of_value(value)).into_owned()
}
