//! Registers as runs of equal values, as long as few of them are set.
//!
//! ```text
//! 00nnnnnn            n + 1 registers are 0
//! 01nnnnnn nnnnnnnn   n + 1 registers are 0, n with its upper bits first
//! 1vvvvvnn            n + 1 registers are v + 1
//! ```
//!
//! Where a run is split and which neighbours are joined again is Redis's way, step for step: the bytes must agree.

use super::{Corrupt, HEAD_BYTES, Observation, REGISTER_COUNT};
use std::ops::Range;

const ZEROS_SHORT_MAX: usize = 64;
const ZEROS_LONG_BIT: u8 = 0x40;
const VALUE_BIT: u8 = 0x80;
const VALUE_RUN_MAX: usize = 4;
/// Largest value of a register that a run can say.
const VALUE_MAX: u8 = 32;
/// Runs from the one before a change on in which neighbours are joined.
const JOINED_COUNT_MAX: usize = 5;

/// A run of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Zeros said by one byte.
    Zeros(usize),
    /// Zeros said by two bytes.
    ManyZeros(usize),
    /// Registers of a value.
    Value(u8, usize),
}

impl Run {
    /// The run that begins at `at`; `None` behind the last, or when it is cut off.
    fn read(bytes: &[u8], at: usize) -> Option<Run> {
        let byte = *bytes.get(at)?;
        let low = usize::from(byte & 0x3f);
        Some(if byte & VALUE_BIT != 0 {
            Run::Value((byte >> 2 & 0x1f) + 1, usize::from(byte & 3) + 1)
        } else if byte & ZEROS_LONG_BIT != 0 {
            Run::ManyZeros((low << 8 | usize::from(*bytes.get(at + 1)?)) + 1)
        } else {
            Run::Zeros(low + 1)
        })
    }

    fn len(self) -> usize {
        match self {
            Run::Zeros(len) | Run::ManyZeros(len) | Run::Value(_, len) => len,
        }
    }

    fn bytes(self) -> usize {
        if matches!(self, Run::ManyZeros(_)) { 2 } else { 1 }
    }

    fn value(self) -> u8 {
        match self {
            Run::Zeros(_) | Run::ManyZeros(_) => 0,
            Run::Value(value, _) => value,
        }
    }
}

/// Appends `count` zeros.
pub(super) fn push_zeros(out: &mut Vec<u8>, count: usize) {
    if count > ZEROS_SHORT_MAX {
        out.extend([ZEROS_LONG_BIT | ((count - 1) >> 8) as u8, (count - 1) as u8]);
    } else if count > 0 {
        out.push((count - 1) as u8);
    }
}

fn push_values(out: &mut Vec<u8>, value: u8, count: usize) {
    if count > 0 {
        out.push(value_byte(value, count));
    }
}

fn value_byte(value: u8, count: usize) -> u8 {
    assert!((1..=VALUE_MAX).contains(&value) && count <= VALUE_RUN_MAX, "a run of values fits its byte");
    VALUE_BIT | (value - 1) << 2 | (count - 1) as u8
}

/// The runs in `bytes`, up to where they end or are cut off.
pub(crate) fn runs(bytes: &[u8]) -> impl Iterator<Item = Run> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let run = Run::read(bytes, at)?;
        at += run.bytes();
        Some(run)
    })
}

/// Calls `each` with every run of registers that are not zero, and their value.
///
/// # Errors
/// The runs are not as many registers as there are.
pub(crate) fn each_run(bytes: &[u8], mut each: impl FnMut(Range<usize>, u8)) -> Result<(), Corrupt> {
    let (mut first, mut used_bytes) = (0, 0);
    for run in runs(bytes) {
        let end = first + run.len();
        if REGISTER_COUNT < end {
            return Err(Corrupt);
        }
        if run.value() > 0 {
            each(first..end, run.value());
        }
        (first, used_bytes) = (end, used_bytes + run.bytes());
    }
    if first == REGISTER_COUNT && used_bytes == bytes.len() { Ok(()) } else { Err(Corrupt) }
}

/// What raising a register came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// It was as high already.
    No,
    /// It was lower.
    Yes,
    /// Nothing was changed: runs cannot say this, or not in as many bytes.
    NeedsDense,
}

/// Where a run was found.
struct At {
    run: Run,
    start: usize,
    /// Its first register.
    first: usize,
    /// Where the run before it starts.
    before: Option<usize>,
}

fn find(bytes: &[u8], index: usize) -> Result<At, Corrupt> {
    let (mut start, mut first, mut before) = (HEAD_BYTES, 0, None);
    loop {
        let run = Run::read(bytes, start).ok_or(Corrupt)?;
        if index < first + run.len() {
            return Ok(At { run, start, first, before });
        }
        before = Some(start);
        start += run.bytes();
        first += run.len();
    }
}

/// Raises a register of a whole sparse value. The header is left as it is.
pub(super) fn raise(bytes: &mut Vec<u8>, seen: Observation, bytes_max: usize) -> Result<Raised, Corrupt> {
    if VALUE_MAX < seen.rank {
        return Ok(Raised::NeedsDense);
    }
    let At { run, start, first, before } = find(bytes, seen.index)?;
    if seen.rank <= run.value() {
        return Ok(Raised::No);
    }
    let (left, right) = (seen.index - first, first + run.len() - 1 - seen.index);
    let mut split = Vec::with_capacity(5);
    let push_rest = |out: &mut Vec<u8>, count| match run {
        Run::Value(value, _) => push_values(out, value, count),
        Run::Zeros(_) | Run::ManyZeros(_) => push_zeros(out, count),
    };
    push_rest(&mut split, left);
    push_values(&mut split, seen.rank, 1);
    push_rest(&mut split, right);
    if run.bytes() < split.len() && bytes_max < bytes.len() + split.len() - run.bytes() {
        return Ok(Raised::NeedsDense);
    }
    bytes.splice(start..start + run.bytes(), split);
    join_values(bytes, before.unwrap_or(HEAD_BYTES));
    Ok(Raised::Yes)
}

/// Joins neighbouring runs of the same value, in the few runs from `start` on.
fn join_values(bytes: &mut Vec<u8>, start: usize) {
    let mut at = start;
    for _ in 0..JOINED_COUNT_MAX {
        let Some(run) = Run::read(bytes, at) else { return };
        match (run, Run::read(bytes, at + run.bytes())) {
            (Run::Value(value, one), Some(Run::Value(next, other)))
                if value == next && one + other <= VALUE_RUN_MAX =>
            {
                bytes[at + 1] = value_byte(value, one + other);
                bytes.remove(at);
            }
            _ => at += run.bytes(),
        }
    }
}
