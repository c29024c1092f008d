//! The library `bit`: operations on 32 bits.
//!
//! Numbers are taken modulo 2³² and results are signed, as <https://bitop.luajit.org/semantics.html> has it.

use crate::engine::Shared;
use crate::native::{Given, Native, Params, Problem, one};
use mlua::{Lua, Value};

pub(crate) const FUNCTIONS: &[Native] = &[
    ("arshift", |_, _, params| shift(params, |bits, by| ((bits as i32) >> by) as u32)),
    ("band", |_, _, params| fold(params, |a, b| a & b)),
    ("bnot", |_, _, params| signed(!bits(params, 1)?)),
    ("bor", |_, _, params| fold(params, |a, b| a | b)),
    ("bswap", |_, _, params| signed(bits(params, 1)?.swap_bytes())),
    ("bxor", |_, _, params| fold(params, |a, b| a ^ b)),
    ("lshift", |_, _, params| shift(params, |bits, by| bits << by)),
    ("rol", |_, _, params| shift(params, u32::rotate_left)),
    ("ror", |_, _, params| shift(params, u32::rotate_right)),
    ("rshift", |_, _, params| shift(params, |bits, by| bits >> by)),
    ("tobit", |_, _, params| signed(bits(params, 1)?)),
    ("tohex", tohex),
];

/// The low 32 bits of the nearest integer.
fn bits(params: &Params, index: usize) -> Result<u32, Problem> {
    const MODULUS: f64 = 4_294_967_296.0;
    Ok(params.number(index)?.round_ties_even().rem_euclid(MODULUS) as u32)
}

#[expect(clippy::unnecessary_wraps, reason = "what a native function gives")]
fn signed(bits: u32) -> Given {
    Ok(one(Value::Number(f64::from(bits as i32))))
}

fn fold(params: &Params, operation: fn(u32, u32) -> u32) -> Given {
    let mut all = bits(params, 1)?;
    for index in 2..=params.count() {
        all = operation(all, bits(params, index)?);
    }
    signed(all)
}

fn shift(params: &Params, operation: fn(u32, u32) -> u32) -> Given {
    signed(operation(bits(params, 1)?, bits(params, 2)? & 31))
}

fn tohex(lua: &Lua, _: &Shared, params: &Params) -> Given {
    let value = bits(params, 1)?;
    let count = if params.count() < 2 { 8 } else { bits(params, 2)? as i32 };
    let digits = count.unsigned_abs().min(8) as usize;
    let text = if count < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    Ok(one(Value::String(lua.create_string(&text[8 - digits..])?)))
}
