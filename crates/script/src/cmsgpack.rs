//! The library `cmsgpack`: MessagePack to Lua values and back.
//!
//! Behaviour of lua-cmsgpack 0.4, which Redis offers: a number without a fraction is an integer, a table whose keys are
//! 1, 2, … n is an array, and what is nested deeper than 16 tables is nil.

use crate::engine::Shared;
use crate::native::{Given, Native, Params, Problem, one};
use mlua::{Lua, MultiValue, Result as LuaResult, Table, Value};

pub(crate) const FUNCTIONS: &[Native] =
    &[("pack", pack), ("unpack", unpack), ("unpack_limit", unpack_limit), ("unpack_one", unpack_one)];

/// Nesting of tables that is written.
const DEPTH_MAX: usize = 16;
/// Nesting of tables that is read.
const UNPACK_DEPTH_MAX: usize = 512;

pub(crate) fn constants(lua: &Lua) -> LuaResult<Table> {
    let constants = lua.create_table()?;
    constants.raw_set("_NAME", "cmsgpack")?;
    constants.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    constants.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(constants)
}

fn pack(lua: &Lua, _: &Shared, params: &Params) -> Given {
    if params.count() == 0 {
        return Err("bad argument #0 to 'pack' (MessagePack pack needs input.)".into());
    }
    let mut out = Vec::new();
    for value in params.values() {
        put(&mut out, value, 0)?;
    }
    Ok(one(Value::String(lua.create_string(out)?)))
}

fn put(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), Problem> {
    match value {
        Value::String(text) => put_bytes(out, &text.as_bytes()),
        Value::Boolean(value) => out.push(if *value { 0xC3 } else { 0xC2 }),
        Value::Integer(number) => put_integer(out, *number),
        Value::Number(number) => put_number(out, *number),
        Value::Table(table) if depth < DEPTH_MAX => put_table(out, table, depth + 1)?,
        _ => out.push(0xC0),
    }
    Ok(())
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let count = bytes.len();
    match count {
        0..32 => out.push(0xA0 | count as u8),
        32..0x100 => out.extend([0xD9, count as u8]),
        0x100..0x1_0000 => put_wide(out, 0xDA, &(count as u16).to_be_bytes()),
        _ => put_wide(out, 0xDB, &(count as u32).to_be_bytes()),
    }
    out.extend_from_slice(bytes);
}

fn put_wide(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

fn put_integer(out: &mut Vec<u8>, number: i64) {
    match number {
        0..0x80 => out.push(number as u8),
        0x80..0x100 => out.extend([0xCC, number as u8]),
        0x100..0x1_0000 => put_wide(out, 0xCD, &(number as u16).to_be_bytes()),
        0x1_0000..0x1_0000_0000 => put_wide(out, 0xCE, &(number as u32).to_be_bytes()),
        0x1_0000_0000.. => put_wide(out, 0xCF, &number.to_be_bytes()),
        -32..0 => out.push(number as i8 as u8),
        -0x80..-32 => out.extend([0xD0, number as i8 as u8]),
        -0x8000..-0x80 => put_wide(out, 0xD1, &(number as i16).to_be_bytes()),
        -0x8000_0000..-0x8000 => put_wide(out, 0xD2, &(number as i32).to_be_bytes()),
        _ => put_wide(out, 0xD3, &number.to_be_bytes()),
    }
}

fn put_number(out: &mut Vec<u8>, number: f64) {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number) {
        put_integer(out, number as i64);
    } else if f64::from(number as f32) == number {
        put_wide(out, 0xCA, &(number as f32).to_be_bytes());
    } else {
        put_wide(out, 0xCB, &number.to_be_bytes());
    }
}

fn put_count(out: &mut Vec<u8>, count: usize, short: u8, long: u8) {
    match count {
        0..16 => out.push(short | count as u8),
        16..0x1_0000 => put_wide(out, long, &(count as u16).to_be_bytes()),
        _ => put_wide(out, long + 1, &(count as u32).to_be_bytes()),
    }
}

fn put_table(out: &mut Vec<u8>, table: &Table, depth: usize) -> Result<(), Problem> {
    let (mut count, mut highest, mut is_array) = (0, 0, true);
    for pair in table.pairs::<Value, Value>() {
        match pair?.0 {
            Value::Integer(key @ 1..) => highest = highest.max(key),
            _ => is_array = false,
        }
        count += 1;
    }
    if is_array && highest == count as i64 {
        put_count(out, count, 0x90, 0xDC);
        for index in 1..=highest {
            put(out, &table.raw_get(index)?, depth)?;
        }
        return Ok(());
    }
    put_count(out, count, 0x80, 0xDE);
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        put(out, &key, depth)?;
        put(out, &value, depth)?;
    }
    Ok(())
}

/// Reads values one after the other.
struct Source<'s> {
    bytes: &'s [u8],
    at: usize,
}

impl<'s> Source<'s> {
    fn take(&mut self, count: usize) -> Result<&'s [u8], Problem> {
        let taken = self.bytes[self.at..].get(..count).ok_or("Missing bytes in input.")?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        Ok(self.take(N)?.try_into().expect("as many as asked for"))
    }

    fn count(&mut self, bytes: u32) -> Result<usize, Problem> {
        Ok(self.take(bytes as usize)?.iter().fold(0, |count, byte| count << 8 | usize::from(*byte)))
    }

    fn value(&mut self, lua: &Lua, depth: usize) -> Result<Value, Problem> {
        if depth > UNPACK_DEPTH_MAX {
            return Err("Bad data format in input.".into());
        }
        let [tag] = self.array()?;
        let number = |number: f64| Ok(Value::Number(number));
        let text = |bytes: &[u8]| Ok(Value::String(lua.create_string(bytes)?));
        match tag {
            0..0x80 => number(f64::from(tag)),
            0xE0.. => number(f64::from(tag as i8)),
            0xC0 => Ok(Value::Nil),
            0xC2 | 0xC3 => Ok(Value::Boolean(tag == 0xC3)),
            0xCA => number(f64::from(f32::from_be_bytes(self.array()?))),
            0xCB => number(f64::from_be_bytes(self.array()?)),
            0xCC => number(f64::from(u8::from_be_bytes(self.array()?))),
            0xCD => number(f64::from(u16::from_be_bytes(self.array()?))),
            0xCE => number(f64::from(u32::from_be_bytes(self.array()?))),
            0xCF => number(u64::from_be_bytes(self.array()?) as f64),
            0xD0 => number(f64::from(i8::from_be_bytes(self.array()?))),
            0xD1 => number(f64::from(i16::from_be_bytes(self.array()?))),
            0xD2 => number(f64::from(i32::from_be_bytes(self.array()?))),
            0xD3 => number(i64::from_be_bytes(self.array()?) as f64),
            0xA0..0xC0 => text(self.take(usize::from(tag & 31))?),
            0xC4..=0xC6 | 0xD9..=0xDB => {
                let width = if tag < 0xD9 { tag - 0xC4 } else { tag - 0xD9 };
                let count = self.count(1 << width)?;
                text(self.take(count)?)
            }
            0x90..0xA0 => self.list(lua, usize::from(tag & 15), depth),
            0xDC | 0xDD => {
                let count = self.count(2 << (tag - 0xDC))?;
                self.list(lua, count, depth)
            }
            0x80..0x90 => self.map(lua, usize::from(tag & 15), depth),
            0xDE | 0xDF => {
                let count = self.count(2 << (tag - 0xDE))?;
                self.map(lua, count, depth)
            }
            _ => Err("Bad data format in input.".into()),
        }
    }

    fn list(&mut self, lua: &Lua, count: usize, depth: usize) -> Result<Value, Problem> {
        let list = lua.create_table()?;
        for index in 1..=count {
            list.raw_set(index, self.value(lua, depth + 1)?)?;
        }
        Ok(Value::Table(list))
    }

    fn map(&mut self, lua: &Lua, count: usize, depth: usize) -> Result<Value, Problem> {
        let map = lua.create_table()?;
        for _ in 0..count {
            let key = self.value(lua, depth + 1)?;
            let value = self.value(lua, depth + 1)?;
            if key.is_nil() || matches!(key, Value::Number(number) if number.is_nan()) {
                return Err("Bad data format in input.".into());
            }
            map.raw_set(key, value)?;
        }
        Ok(Value::Table(map))
    }
}

/// Reads up to `limit` values from `offset`, all when `limit` is 0. Where a part was asked for, the offset behind it
/// comes first, -1 at the end.
fn unpack_part(lua: &Lua, params: &Params, limit: i64, offset: i64, is_part: bool) -> Given {
    let text = params.string(lua, 1)?;
    let text = text.as_bytes();
    if offset < 0 || limit < 0 {
        let problem = format!("Invalid request to unpack with offset of {offset} and limit of {}.", text.len());
        return Err(problem.into());
    }
    if offset as usize > text.len() {
        return Err(format!("Start offset {offset} greater than input length {}.", text.len()).into());
    }
    let mut source = Source { bytes: &text, at: offset as usize };
    let mut values = MultiValue::new();
    while source.at < text.len() && (limit == 0 || (values.len() as i64) < limit) {
        values.push_back(source.value(lua, 0)?);
    }
    if is_part {
        let next = if source.at == text.len() { -1.0 } else { source.at as f64 };
        values.push_front(Value::Number(next));
    }
    Ok(values)
}

fn unpack(lua: &Lua, _: &Shared, params: &Params) -> Given {
    unpack_part(lua, params, 0, 0, false)
}

fn unpack_one(lua: &Lua, _: &Shared, params: &Params) -> Given {
    unpack_part(lua, params, 1, params.number_or(2, 0.0)? as i64, true)
}

fn unpack_limit(lua: &Lua, _: &Shared, params: &Params) -> Given {
    let limit = params.number(2)? as i64;
    unpack_part(lua, params, limit, params.number_or(3, 0.0)? as i64, true)
}
