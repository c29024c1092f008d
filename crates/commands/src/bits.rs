//! Bits of strings: the rows of their commands, and GETBIT, SETBIT, BITCOUNT, BITPOS. The others stand in
//! `bits_op.rs` and `bitfield.rs`.

use crate::bits_span::{Span, bit_at, count_ones, find};
use crate::call::{Call, Flow};
use crate::error::Error;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::strings_read::{clamp, clamp_ordered};
use crate::strings_write::is_length_allowed;
use crate::touches::{KeyUse, Touches};
use crate::{bitfield, bits_op};
use base::number::parse_i64;
use keyspace::Event;

const READ: Spec = Spec {
    name: "",
    arity: Arity::AtLeast(2),
    flags: Flags::READONLY,
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::Bitmap,
    since: "2.6.0",
    complexity: "O(N)",
    summary: "",
    syntax: "key",
    handler: getbit,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

const WRITE: Spec = Spec { flags: Flags::WRITE.and(Flags::DENYOOM), ..READ };

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "bitcount",
        summary: "Counts the number of set bits (population counting) in a string.",
        syntax: "key [start [end [BYTE | BIT]]]",
        handler: bitcount,
        ..READ
    },
    Spec {
        name: "bitfield",
        touches: Touches::varying(bitfield::key_use),
        since: "3.2.0",
        complexity: "O(1) for each subcommand specified",
        summary: "Performs arbitrary bitfield integer operations on strings.",
        syntax: "key [<GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | \
                 INCRBY encoding offset increment>> [<GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] \
                 <SET encoding offset value | INCRBY encoding offset increment>> ...]]",
        handler: bitfield::bitfield,
        ..WRITE
    },
    Spec {
        name: "bitfield_ro",
        flags: Flags::READONLY.and(Flags::FAST),
        since: "6.0.0",
        complexity: "O(1) for each subcommand specified",
        summary: "Performs arbitrary read-only bitfield integer operations on strings.",
        syntax: "key [GET encoding offset [GET encoding offset ...]]",
        handler: bitfield::bitfield_ro,
        ..READ
    },
    Spec {
        name: "bitop",
        touches: Touches::keys(&[KeyUse::OW_UPDATE, KeyUse::RO_ACCESS]),
        arity: Arity::AtLeast(4),
        keys: Keys::Range { first: 2, last: -1, step: 1 },
        summary: "Performs bitwise operations on multiple strings, and stores the result.",
        syntax: "<AND | OR | XOR | NOT | DIFF | DIFF1 | ANDOR | ONE> destkey key [key ...]",
        handler: bits_op::bitop,
        ..WRITE
    },
    Spec {
        name: "bitpos",
        arity: Arity::AtLeast(3),
        since: "2.8.7",
        summary: "Finds the first set (1) or clear (0) bit in a string.",
        syntax: "key bit [start [end [BYTE | BIT]]]",
        handler: bitpos,
        ..READ
    },
    Spec {
        name: "getbit",
        arity: Arity::Exactly(3),
        flags: Flags::READONLY.and(Flags::FAST),
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Returns a bit value by offset.",
        syntax: "key offset",
        handler: getbit,
        ..READ
    },
    Spec {
        name: "setbit",
        arity: Arity::Exactly(4),
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Sets or clears the bit at offset of the string value. Creates the key if it doesn't exist.",
        syntax: "key offset value",
        handler: setbit,
        ..WRITE
    },
];

/// A number of a bit, below eight times the longest string there may be.
pub(crate) fn bit_offset(call: &Call<'_>, offset: Option<i64>) -> Result<u64, Error> {
    let is_within = |offset: &u64| is_length_allowed(call.host, (*offset >> 3) as usize + 1);
    let offset = offset.and_then(|offset| u64::try_from(offset).ok()).filter(is_within);
    offset.ok_or(Error::text("ERR bit offset is not an integer or out of range"))
}

/// GETBIT key offset
fn getbit(call: &mut Call<'_>) -> Result<Flow, Error> {
    let at = bit_offset(call, parse_i64(call.arg(2)))?;
    let bit = call.tx.string(call.args.at(1))?.is_some_and(|string| bit_at(&string.bytes(), at));
    call.reply.integer(i64::from(bit));
    Ok(Flow::Done)
}

/// SETBIT key offset value
fn setbit(call: &mut Call<'_>) -> Result<Flow, Error> {
    let key = call.arg(1);
    let at = bit_offset(call, parse_i64(call.arg(2)))?;
    let bit = match call.arg(3) {
        b"0" => false,
        b"1" => true,
        _ => return Err(Error::text("ERR bit is not an integer or out of range")),
    };
    let byte_at = (at >> 3) as usize;
    let (old, byte) = match call.tx.string(key)? {
        None => (None, 0),
        Some(string) => {
            let bytes = string.bytes();
            (bytes.get(byte_at).map(|_| bit_at(&bytes, at)), bytes.get(byte_at).copied().unwrap_or(0))
        }
    };
    if old != Some(bit) {
        let mask = 0x80 >> (at & 7);
        let byte = if bit { byte | mask } else { byte & !mask };
        call.tx.patch_string(key, byte_at, &[byte])?;
        call.notify(Event::String, "setbit", key);
    }
    call.reply.integer(i64::from(old.unwrap_or(false)));
    Ok(Flow::Done)
}

/// A range of bytes or bits as it was written.
#[derive(Clone, Copy, Debug)]
struct Asked {
    start: i64,
    /// `None`: up to the end.
    end: Option<i64>,
    in_bits: bool,
}

impl Asked {
    /// The range from argument `at` on: nothing, `start`, `start end`, or `start end BYTE|BIT`.
    fn parse(call: &Call<'_>, at: usize) -> Result<Asked, Error> {
        let mut asked = Asked { start: 0, end: None, in_bits: false };
        let given = call.arg_count() - at;
        if given == 0 {
            return Ok(asked);
        }
        asked.start = call.integer(at)?;
        match given {
            3 if call.is_word(at + 2, "BIT") => asked.in_bits = true,
            1..=2 => {}
            3 if call.is_word(at + 2, "BYTE") => {}
            _ => return Err(Error::Syntax),
        }
        if given > 1 {
            asked.end = Some(call.integer(at + 1)?);
        }
        Ok(asked)
    }

    /// What of it lies within `bytes` bytes; `clamp` says how.
    fn within(self, bytes: usize, clamp: impl Fn(i64, i64, usize) -> Option<(usize, usize)>) -> Option<Span> {
        let total = if self.in_bits { bytes * 8 } else { bytes };
        // An end that is not given is the last byte even where the start counts bits.
        let end = self.end.unwrap_or(total as i64 - 1);
        let (first, last) = clamp(self.start, end, total)?;
        Some(if self.in_bits { Span { first: first as u64, last: last as u64 } } else { Span::of_bytes(first, last) })
    }
}

/// BITCOUNT key [start [end [BYTE | BIT]]]
fn bitcount(call: &mut Call<'_>) -> Result<Flow, Error> {
    let asked = Asked::parse(call, 2)?;
    let count = call.tx.string(call.args.at(1))?.map_or(0, |string| {
        let bytes = string.bytes();
        asked.within(bytes.len(), clamp_ordered).map_or(0, |span| count_ones(&bytes, span))
    });
    call.reply.integer(count as i64);
    Ok(Flow::Done)
}

/// BITPOS key bit [start [end [BYTE | BIT]]]
fn bitpos(call: &mut Call<'_>) -> Result<Flow, Error> {
    let wanted = match call.integer(2)? {
        0 => false,
        1 => true,
        _ => return Err(Error::text("ERR The bit argument must be 1 or 0.")),
    };
    let asked = Asked::parse(call, 3)?;
    let found = match call.tx.string(call.args.at(1))? {
        // An absent key is an endless row of zeros.
        None => (!wanted).then_some(0),
        Some(string) => position(&string.bytes(), wanted, asked),
    };
    call.reply.integer(found.map_or(-1, |at| at as i64));
    Ok(Flow::Done)
}

/// Where the first such bit is. Behind a string whose end was not given stand zeros.
fn position(bytes: &[u8], wanted: bool, asked: Asked) -> Option<u64> {
    let span = asked.within(bytes.len(), clamp)?;
    let beyond = (!wanted && asked.end.is_none()).then_some(span.last + 1);
    find(bytes, wanted, span).or(beyond)
}
