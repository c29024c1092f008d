//! BITFIELD: integers of 1 to 64 bits at any bit of a string.
//!
//! All of the arguments are read before anything is done. Each change is an effect of its own, of at most nine bytes,
//! so integers far apart in a long string cost the journal no more than those side by side.

use crate::bits::bit_offset;
use crate::call::{Call, Flow};
use crate::error::Error;
use crate::touches::KeyUse;
use base::number::parse_i64;
use keyspace::{Event, Stop, Tx};
use smallvec::SmallVec;
use wire::args::Args;

/// What BITFIELD does with its key: only its `GET type offset` and `OVERFLOW behaviour` change nothing.
pub(crate) fn key_use(args: &Args<'_>) -> KeyUse {
    let mut at = 2;
    while let Some(word) = args.nth(at) {
        at += match word.to_ascii_uppercase().as_slice() {
            b"GET" => 3,
            b"OVERFLOW" => 2,
            _ => return KeyUse::RW_ACCESS_UPDATE,
        };
    }
    KeyUse::RO_ACCESS
}

/// Bytes that 64 bits may touch.
const WINDOW_BYTES: usize = 9;

/// What becomes of a number that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

/// A type such as `i16` or `u63`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Integer {
    is_signed: bool,
    bits: u32,
}

impl Integer {
    fn parse(text: &[u8]) -> Option<Integer> {
        let (sign, bits) = text.split_first()?;
        let (is_signed, bits_max) = match sign {
            b'i' => (true, 64),
            b'u' => (false, 63),
            _ => return None,
        };
        let bits = parse_i64(bits).filter(|bits| (1..=bits_max).contains(bits))?;
        Some(Integer { is_signed, bits: bits as u32 })
    }

    /// The smallest and the largest number it holds.
    fn bounds(self) -> (i128, i128) {
        let span = 1i128 << self.bits;
        if self.is_signed { (-(span / 2), span / 2 - 1) } else { (0, span - 1) }
    }

    /// The number that the lowest bits of `raw` stand for.
    fn of_raw(self, raw: u64) -> i128 {
        let unused = 64 - self.bits;
        if self.is_signed { i128::from((raw << unused) as i64 >> unused) } else { i128::from(raw << unused >> unused) }
    }

    /// `number` as it is stored, or `None` when it does not fit and must not be bent.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        let (min, max) = self.bounds();
        if (min..=max).contains(&number) {
            return Some(number);
        }
        match overflow {
            Overflow::Wrap => Some(self.of_raw(number as u64)),
            Overflow::Saturate => Some(number.clamp(min, max)),
            Overflow::Fail => None,
        }
    }

    /// A number given to SET. Unsigned types take it as its 64 bits, so that -1 is too large and not too small.
    fn given(self, number: i64) -> i128 {
        if self.is_signed { i128::from(number) } else { i128::from(number as u64) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Step {
    action: Action,
    integer: Integer,
    /// Its first bit.
    at: u64,
    overflow: Overflow,
}

impl Step {
    fn byte_at(&self) -> usize {
        (self.at >> 3) as usize
    }

    /// The byte after its last one.
    fn byte_end(&self) -> usize {
        ((self.at + u64::from(self.integer.bits) - 1) >> 3) as usize + 1
    }

    /// How far its bits stand from the lowest of the window.
    fn shift(&self) -> u32 {
        (WINDOW_BYTES * 8) as u32 - (self.at & 7) as u32 - self.integer.bits
    }

    fn read(&self, window: [u8; WINDOW_BYTES]) -> i128 {
        self.integer.of_raw((window_bits(window) >> self.shift()) as u64)
    }

    /// The window with `number` in its place.
    fn write(&self, window: [u8; WINDOW_BYTES], number: i128) -> [u8; WINDOW_BYTES] {
        let mask = ((1u128 << self.integer.bits) - 1) << self.shift();
        let bits = window_bits(window) & !mask | (number as u128) << self.shift() & mask;
        std::array::from_fn(|byte| (bits >> (8 * (WINDOW_BYTES - 1 - byte))) as u8)
    }

    /// What it is answered with and, if it writes, the number it stores; `None` when that does not fit.
    fn outcome(&self, old: i128) -> Option<(i128, Option<i128>)> {
        match self.action {
            Action::Get => Some((old, None)),
            Action::Set(number) => {
                self.integer.fit(self.integer.given(number), self.overflow).map(|new| (old, Some(new)))
            }
            Action::Add(by) => self.integer.fit(old + i128::from(by), self.overflow).map(|new| (new, Some(new))),
        }
    }
}

fn window_bits(window: [u8; WINDOW_BYTES]) -> u128 {
    window.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}

type Steps = SmallVec<[Step; 4]>;

/// BITFIELD key [GET type offset | SET type offset value | INCRBY type offset by | OVERFLOW WRAP|SAT|FAIL ...]
pub(crate) fn bitfield(call: &mut Call<'_>) -> Result<Flow, Error> {
    let steps = parse(call)?;
    run(call, &steps)
}

/// BITFIELD_RO key [GET type offset ...]
pub(crate) fn bitfield_ro(call: &mut Call<'_>) -> Result<Flow, Error> {
    let steps = parse(call)?;
    if steps.iter().any(|step| step.action != Action::Get) {
        return Err(Error::text("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    run(call, &steps)
}

fn parse(call: &Call<'_>) -> Result<Steps, Error> {
    let mut steps = Steps::new();
    let mut overflow = Overflow::Wrap;
    let mut index = 2;
    while index < call.arg_count() {
        let following = call.arg_count() - index - 1;
        if call.is_word(index, "OVERFLOW") && following >= 1 {
            overflow = parse_overflow(call, index + 1)?;
            index += 2;
        } else if call.is_word(index, "GET") && following >= 2 {
            let (integer, at) = parse_place(call, index + 1)?;
            steps.push(Step { action: Action::Get, integer, at, overflow });
            index += 3;
        } else if (call.is_word(index, "SET") || call.is_word(index, "INCRBY")) && following >= 3 {
            let (integer, at) = parse_place(call, index + 1)?;
            let number = call.integer(index + 3)?;
            let action = if call.is_word(index, "SET") { Action::Set(number) } else { Action::Add(number) };
            steps.push(Step { action, integer, at, overflow });
            index += 4;
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok(steps)
}

fn parse_overflow(call: &Call<'_>, index: usize) -> Result<Overflow, Error> {
    if call.is_word(index, "WRAP") {
        Ok(Overflow::Wrap)
    } else if call.is_word(index, "SAT") {
        Ok(Overflow::Saturate)
    } else if call.is_word(index, "FAIL") {
        Ok(Overflow::Fail)
    } else {
        Err(Error::text("ERR Invalid OVERFLOW type specified"))
    }
}

/// The type at `index` and the offset after it, which counts in units of the type when it starts with `#`.
fn parse_place(call: &Call<'_>, index: usize) -> Result<(Integer, u64), Error> {
    const TYPE_REFUSED: Error =
        Error::text("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.");
    let integer = Integer::parse(call.arg(index)).ok_or(TYPE_REFUSED)?;
    let at = match call.arg(index + 1) {
        [b'#', count @ ..] => parse_i64(count).and_then(|count| count.checked_mul(i64::from(integer.bits))),
        text => parse_i64(text),
    };
    Ok((integer, bit_offset(call, at)?))
}

fn run(call: &mut Call<'_>, steps: &[Step]) -> Result<Flow, Error> {
    let key = call.arg(1);
    let bytes = call.tx.string(key)?.map_or(0, |string| string.bytes().len());
    let written = steps.iter().filter(|step| step.action != Action::Get).map(Step::byte_end).max();
    if let Some(end) = written.filter(|end| bytes < *end) {
        call.tx.patch_string(key, end - 1, &[0])?;
    }
    call.reply.array(steps.len());
    let mut is_written = false;
    for step in steps {
        let answer = run_step(&mut call.tx, key, step)?;
        is_written |= answer.is_some() && step.action != Action::Get;
        match answer {
            Some(number) => call.reply.integer(number as i64),
            None => call.reply.null(),
        }
    }
    if is_written {
        call.notify(Event::String, "setbit", key);
    }
    Ok(Flow::Done)
}

/// What the step is answered with; `None` for a number that must not be bent to fit.
fn run_step(tx: &mut Tx<'_>, key: &[u8], step: &Step) -> Result<Option<i128>, Stop> {
    let window = window_at(tx, key, step.byte_at())?;
    let old = step.read(window);
    let Some((answer, new)) = step.outcome(old) else { return Ok(None) };
    if let Some(new) = new.filter(|new| *new != old) {
        let window = step.write(window, new);
        tx.patch_string(key, step.byte_at(), &window[..step.byte_end() - step.byte_at()])?;
    }
    Ok(Some(answer))
}

/// The bytes from `at` on, zeros behind the end of the string.
fn window_at(tx: &mut Tx<'_>, key: &[u8], at: usize) -> Result<[u8; WINDOW_BYTES], Stop> {
    let mut window = [0; WINDOW_BYTES];
    if let Some(string) = tx.string(key)? {
        let bytes = string.bytes();
        let there = bytes.get(at..).unwrap_or_default();
        let count = there.len().min(WINDOW_BYTES);
        window[..count].copy_from_slice(&there[..count]);
    }
    Ok(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(integer: Integer, at: u64) -> Step {
        Step { action: Action::Get, integer, at, overflow: Overflow::Wrap }
    }

    fn integers() -> impl Iterator<Item = Integer> {
        let signed = (1..=64).map(|bits| Integer { is_signed: true, bits });
        signed.chain((1..=63).map(|bits| Integer { is_signed: false, bits }))
    }

    #[test]
    fn what_is_written_at_any_bit_is_read_back_and_nothing_else_changes() {
        for integer in integers() {
            let (min, max) = integer.bounds();
            for (at, number) in (0..8).flat_map(|at| [min, max, 0, max / 3].map(|number| (at, number))) {
                for fill in [0x00, 0xff, 0x5a] {
                    let step = step(integer, at);
                    let window = step.write([fill; WINDOW_BYTES], number);
                    assert_eq!(step.read(window), number, "{integer:?} at {at}");
                    let back = step.write(window, step.read([fill; WINDOW_BYTES]));
                    assert_eq!(back, [fill; WINDOW_BYTES]);
                    assert!(step.byte_end() <= WINDOW_BYTES);
                }
            }
        }
    }

    #[test]
    fn numbers_beyond_the_bounds_wrap_saturate_or_are_refused() {
        for integer in integers() {
            let (min, max) = integer.bounds();
            assert_eq!(integer.fit(max + 1, Overflow::Wrap), Some(min));
            assert_eq!(integer.fit(min - 1, Overflow::Wrap), Some(max));
            assert_eq!(integer.fit(max + 9, Overflow::Saturate), Some(max));
            assert_eq!(integer.fit(min - 9, Overflow::Saturate), Some(min));
            assert_eq!((integer.fit(max + 1, Overflow::Fail), integer.fit(max, Overflow::Fail)), (None, Some(max)));
        }
        let byte = Integer { is_signed: false, bits: 8 };
        assert_eq!(byte.fit(byte.given(-1), Overflow::Saturate), Some(255));
    }

    #[test]
    fn types_are_i1_to_i64_and_u1_to_u63() {
        let parsed = integers().map(|integer| format!("{}{}", if integer.is_signed { 'i' } else { 'u' }, integer.bits));
        assert!(parsed.zip(integers()).all(|(text, integer)| Integer::parse(text.as_bytes()) == Some(integer)));
        for text in ["", "i", "u64", "i65", "i0", "I8", "i-1", "i08", "8", "i8 "] {
            assert_eq!(Integer::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
