//! The library `struct`: numbers and strings to bytes and back, as a format says.
//!
//! | format | |
//! |---|---|
//! | `<` `>` `=` | little-endian, big-endian, the machine's |
//! | `!n` | align to at most n bytes |
//! | `b` `B` `h` `H` `l` `L` | integers of 1, 2 and 8 bytes, signed and unsigned |
//! | `i` `I` followed by a number | integers of so many bytes, 4 without one |
//! | `T` | a size of 8 bytes |
//! | `f` `d` | floats of 4 and 8 bytes |
//! | `s` | a string that ends with a zero byte |
//! | `c` followed by a number | so many bytes; `c0` takes the length from the number before |
//! | `x` | a byte of padding |
//!
//! Source: <http://www.inf.puc-rio.br/~roberto/struct/>, whose behaviour Redis offers.

use crate::engine::Shared;
use crate::native::{Given, Native, Params, Problem, one};
use mlua::{Lua, MultiValue, Value};

pub(crate) const FUNCTIONS: &[Native] = &[("pack", pack), ("size", size), ("unpack", unpack)];

/// Bytes of the largest integer.
const INTEGER_BYTES_MAX: usize = 32;
/// What values are aligned to with a bare `!`.
const ALIGNMENT: usize = 8;

/// One thing a format asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Item {
    Integer {
        bytes: usize,
        signed: bool,
    },
    Float,
    Double,
    /// A string that ends with zero.
    Ended,
    /// So many bytes; 0 for as many as the value before says.
    Bytes(usize),
    Padding,
}

impl Item {
    fn bytes(self) -> usize {
        match self {
            Item::Integer { bytes, .. } => bytes,
            Item::Float => 4,
            Item::Double => 8,
            Item::Bytes(bytes) => bytes,
            Item::Ended => 0,
            Item::Padding => 1,
        }
    }

    fn is_aligned(self) -> bool {
        matches!(self, Item::Integer { .. } | Item::Float | Item::Double)
    }
}

/// Reads a format piece by piece.
struct Format<'f> {
    rest: &'f [u8],
    little: bool,
    align: usize,
}

impl Format<'_> {
    fn new(text: &[u8]) -> Format<'_> {
        Format { rest: text, little: cfg!(target_endian = "little"), align: 1 }
    }

    fn number(&mut self) -> Result<Option<usize>, Problem> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (text, rest) = self.rest.split_at(digits);
        self.rest = rest;
        if digits == 0 {
            return Ok(None);
        }
        let number = text.iter().try_fold(0usize, |number, digit| {
            number
                .checked_mul(10)?
                .checked_add(usize::from(digit - b'0'))
                .filter(|number| i32::try_from(*number).is_ok())
        });
        number.map(Some).ok_or_else(|| "integral size overflow".into())
    }

    fn integer(&mut self, signed: bool) -> Result<Item, Problem> {
        let bytes = self.number()?.unwrap_or(4);
        if bytes > INTEGER_BYTES_MAX {
            return Err(format!("integral size {bytes} is larger than limit of {INTEGER_BYTES_MAX}").into());
        }
        Ok(Item::Integer { bytes, signed })
    }

    fn next(&mut self) -> Result<Option<Item>, Problem> {
        loop {
            let Some((code, rest)) = self.rest.split_first() else { return Ok(None) };
            self.rest = rest;
            let fixed = |bytes, signed| Ok(Some(Item::Integer { bytes, signed }));
            match code {
                b'b' => return fixed(1, true),
                b'B' => return fixed(1, false),
                b'h' => return fixed(2, true),
                b'H' => return fixed(2, false),
                b'l' => return fixed(8, true),
                b'L' | b'T' => return fixed(8, false),
                b'i' => return self.integer(true).map(Some),
                b'I' => return self.integer(false).map(Some),
                b'f' => return Ok(Some(Item::Float)),
                b'd' | b'n' => return Ok(Some(Item::Double)),
                b's' => return Ok(Some(Item::Ended)),
                b'c' => return Ok(Some(Item::Bytes(self.number()?.unwrap_or(1)))),
                b'x' => return Ok(Some(Item::Padding)),
                b' ' => {}
                b'<' => self.little = true,
                b'>' => self.little = false,
                b'=' => self.little = cfg!(target_endian = "little"),
                b'!' => {
                    let align = self.number()?.unwrap_or(ALIGNMENT);
                    if !align.is_power_of_two() {
                        return Err("alignment is not a power of 2".into());
                    }
                    self.align = align;
                }
                other => return Err(format!("invalid format option '{}'", *other as char).into()),
            }
        }
    }

    /// Bytes to skip before `item` when so many came before.
    fn padding(&self, item: Item, before: usize) -> usize {
        let align = item.bytes().min(self.align);
        if align > 1 && item.is_aligned() { before.wrapping_neg() & (align - 1) } else { 0 }
    }
}

fn pack(lua: &Lua, _: &Shared, params: &Params) -> Given {
    let text = params.string(lua, 1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&text);
    let mut out = Vec::new();
    let mut index = 2;
    while let Some(item) = format.next()? {
        out.resize(out.len() + format.padding(item, out.len()), 0);
        if item == Item::Padding {
            out.push(0);
            continue;
        }
        match item {
            Item::Integer { bytes, .. } => {
                let number = params.number(index)?;
                let wide = if number < 0.0 { number as i64 as u64 } else { number as u64 };
                put(&mut out, wide, number < 0.0, bytes, format.little);
            }
            Item::Float => {
                let number = params.number(index)? as f32;
                out.extend(if format.little { number.to_le_bytes() } else { number.to_be_bytes() });
            }
            Item::Double => {
                let number = params.number(index)?;
                out.extend(if format.little { number.to_le_bytes() } else { number.to_be_bytes() });
            }
            Item::Ended => {
                out.extend_from_slice(&params.string(lua, index)?.as_bytes());
                out.push(0);
            }
            Item::Bytes(bytes) => {
                let given = params.string(lua, index)?;
                let given = given.as_bytes();
                let bytes = if bytes == 0 { given.len() } else { bytes };
                out.extend_from_slice(given.get(..bytes).ok_or_else(|| params.bad(index, "string too short"))?);
            }
            Item::Padding => {}
        }
        index += 1;
    }
    Ok(one(Value::String(lua.create_string(out)?)))
}

fn put(out: &mut Vec<u8>, value: u64, is_negative: bool, bytes: usize, little: bool) {
    let start = out.len();
    let fill = if is_negative { 0xFF } else { 0 };
    out.extend((0..bytes).map(|at| value.to_le_bytes().get(at).copied().unwrap_or(fill)));
    if !little {
        out[start..].reverse();
    }
}

fn size(lua: &Lua, _: &Shared, params: &Params) -> Given {
    let text = params.string(lua, 1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&text);
    let mut bytes = 0usize;
    while let Some(item) = format.next()? {
        bytes += format.padding(item, bytes);
        match item {
            Item::Ended => return Err(params.bad(1, "variable-size format in 'size'")),
            Item::Bytes(0) => return Err(params.bad(1, "variable-length format in 'size'")),
            item => bytes += item.bytes(),
        }
    }
    Ok(one(Value::Number(bytes as f64)))
}

fn unpack(lua: &Lua, _: &Shared, params: &Params) -> Given {
    let text = params.string(lua, 1)?;
    let text = text.as_bytes();
    let data = params.string(lua, 2)?;
    let data = data.as_bytes();
    let offset = params.number_or(3, 1.0)? as i64 - 1;
    let mut at = usize::try_from(offset).map_err(|_| params.bad(3, "offset must be 1 or greater"))?;
    let mut format = Format::new(&text);
    let mut values = MultiValue::new();
    let short = || params.bad(2, "data string too short");
    while let Some(item) = format.next()? {
        at = at.checked_add(format.padding(item, at)).ok_or_else(short)?;
        let rest = data.get(at..).ok_or_else(short)?;
        let mut item_bytes = item.bytes();
        if item == Item::Bytes(0) {
            let count = values.pop_back().as_ref().and_then(Value::as_f64);
            let count = count.ok_or("format 'c0' needs a previous size")?;
            item_bytes = usize::try_from(count as i64).map_err(|_| short())?;
        }
        let bytes = rest.get(..item_bytes).ok_or_else(short)?;
        at += item_bytes;
        match item {
            Item::Padding => {}
            Item::Integer { signed, .. } => values.push_back(Value::Number(integer(bytes, signed, format.little))),
            Item::Float => {
                let bytes = bytes.try_into().expect("four bytes");
                let number = if format.little { f32::from_le_bytes(bytes) } else { f32::from_be_bytes(bytes) };
                values.push_back(Value::Number(f64::from(number)));
            }
            Item::Double => {
                let bytes = bytes.try_into().expect("eight bytes");
                let number = if format.little { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) };
                values.push_back(Value::Number(number));
            }
            Item::Bytes(_) => values.push_back(Value::String(lua.create_string(bytes)?)),
            Item::Ended => {
                let end = rest.iter().position(|byte| *byte == 0).ok_or("unfinished string in data")?;
                values.push_back(Value::String(lua.create_string(&rest[..end])?));
                at += end + 1;
            }
        }
    }
    values.push_back(Value::Number((at + 1) as f64));
    Ok(values)
}

/// The low 64 bits of an integer, as a number.
fn integer(bytes: &[u8], signed: bool, little: bool) -> f64 {
    let mut wide = [0; 8];
    let low: Vec<u8> =
        if little { bytes.iter().take(8).copied().collect() } else { bytes.iter().rev().take(8).copied().collect() };
    let is_negative = signed && low.last().is_some_and(|byte| *byte >= 0x80) && bytes.len() <= 8;
    if is_negative {
        wide = [0xFF; 8];
    }
    wide[..low.len()].copy_from_slice(&low);
    let value = u64::from_le_bytes(wide);
    if signed { value as i64 as f64 } else { value as f64 }
}
