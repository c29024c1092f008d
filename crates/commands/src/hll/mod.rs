//! HyperLogLog: an estimate of how many different elements were added, in a string of at most 12 304 bytes.
//!
//! ```text
//! "HYLL" | encoding:u8 (0 dense, 1 sparse) | 3 unused | cardinality:u64, highest bit set when out of date | registers
//! ```
//!
//! Little-endian. 2^14 registers of 6 bits; each keeps the longest run of zeros seen among the hashes that fall to it.
//! The bytes are Redis's own, so that a value may go either way by GET, SET, DUMP and RESTORE.
//!
//! Deliberately not here: keys, commands, replies. Bytes come from clients: nothing in them is believed, and what does
//! not add up is [`Corrupt`], never a panic.
//!
//! Invariant: a sparse value whose registers were set here is what Redis would have made of the same elements, byte for
//! byte.
//!
//! Source: format and behaviour of Redis 7.0 `hyperloglog.c`; Flajolet et al., "HyperLogLog" (2007); Heule et al.,
//! "HyperLogLog in practice" (2013).

pub(crate) mod dense;
mod estimate;
mod hash;
pub(crate) mod sparse;

use std::ops::Range;

/// Bits of a hash that choose its register.
pub(crate) const INDEX_BITS: u32 = 14;
/// Registers of each value.
pub(crate) const REGISTER_COUNT: usize = 1 << INDEX_BITS;
/// Largest value of a register: all hash bits behind the index are zero.
pub(crate) const RANK_MAX: u8 = (u64::BITS - INDEX_BITS + 1) as u8;
/// Bytes before the registers.
pub(crate) const HEAD_BYTES: usize = 16;
/// Bytes of a dense value.
pub(crate) const DENSE_BYTES: usize = HEAD_BYTES + REGISTER_COUNT * 6 / 8;

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const CARDINALITY: Range<usize> = 8..16;
const STALE_AT: usize = 15;
const STALE_BIT: u8 = 0x80;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;

/// The registers do not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// How the registers lie in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// All of them.
    Dense,
    /// Runs.
    Sparse,
}

/// Where an element falls: its register, and the value which that must have at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    /// Which register.
    pub index: usize,
    /// One more than the zeros in front of the first one bit.
    pub rank: u8,
}

impl Observation {
    /// What `element` is observed as.
    pub(crate) fn of(element: &[u8]) -> Observation {
        let hash = hash::murmur64(element);
        let rest = hash >> INDEX_BITS | 1 << (u64::BITS - INDEX_BITS);
        Observation { index: hash as usize % REGISTER_COUNT, rank: rest.trailing_zeros() as u8 + 1 }
    }
}

/// The encoding of the value in `bytes`; `None` when it is no HyperLogLog.
pub(crate) fn encoding(bytes: &[u8]) -> Option<Encoding> {
    if bytes.len() < HEAD_BYTES || !bytes.starts_with(MAGIC) {
        return None;
    }
    match bytes[ENCODING_AT] {
        DENSE if bytes.len() == DENSE_BYTES => Some(Encoding::Dense),
        SPARSE => Some(Encoding::Sparse),
        _ => None,
    }
}

fn head(encoding: u8) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[ENCODING_AT] = encoding;
    bytes
}

/// A value nothing was added to.
pub(crate) fn empty() -> Vec<u8> {
    let mut bytes = head(SPARSE);
    sparse::push_zeros(&mut bytes, REGISTER_COUNT);
    bytes
}

/// The cardinality as it was last estimated, unless registers have changed since.
pub(crate) fn cached(bytes: &[u8]) -> Option<u64> {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[CARDINALITY]);
    (bytes[STALE_AT] & STALE_BIT == 0).then(|| u64::from_le_bytes(word))
}

/// Where the cardinality lies in a value, and the bytes that say it.
pub(crate) fn cardinality_patch(cardinality: u64) -> (usize, [u8; 8]) {
    (CARDINALITY.start, cardinality.to_le_bytes())
}

/// Where a value says that its cardinality is out of date, and the byte that says so; `None` when it does.
pub(crate) fn stale_patch(bytes: &[u8]) -> Option<(usize, [u8; 1])> {
    let byte = bytes[STALE_AT];
    (byte & STALE_BIT == 0).then_some((STALE_AT, [byte | STALE_BIT]))
}

/// Notes that the cardinality is out of date.
pub(crate) fn mark_stale(bytes: &mut [u8]) {
    bytes[STALE_AT] |= STALE_BIT;
}

/// All registers, spread out.
#[derive(Clone, PartialEq)]
pub(crate) struct Registers(Box<[u8; REGISTER_COUNT]>);

impl Registers {
    pub(crate) fn new() -> Registers {
        Registers(Box::new([0; REGISTER_COUNT]))
    }

    /// Takes in the registers of another value: the larger of each two stays.
    pub(crate) fn merge(&mut self, bytes: &[u8]) -> Result<(), Corrupt> {
        match encoding(bytes).ok_or(Corrupt)? {
            Encoding::Dense => {
                for (index, register) in self.0.iter_mut().enumerate() {
                    *register = dense::get(&bytes[HEAD_BYTES..], index).max(*register);
                }
                Ok(())
            }
            Encoding::Sparse => sparse::each_run(&bytes[HEAD_BYTES..], |run, rank| {
                for register in &mut self.0[run] {
                    *register = rank.max(*register);
                }
            }),
        }
    }

    /// The registers in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u8> {
        self.0.iter().copied()
    }

    /// How many different elements they have probably seen.
    pub(crate) fn estimate(&self) -> u64 {
        let mut counts = [0; u8::MAX as usize + 1];
        for register in self.iter() {
            counts[usize::from(register)] += 1;
        }
        estimate::estimate(&counts)
    }
}

/// How many different elements a value has probably seen; the cached answer is not asked.
pub(crate) fn estimate(bytes: &[u8]) -> Result<u64, Corrupt> {
    let mut registers = Registers::new();
    registers.merge(bytes)?;
    Ok(registers.estimate())
}

/// Makes a value dense, if it is not, its cardinality left as it is. Returns whether it was sparse.
pub(crate) fn make_dense(bytes: &mut Vec<u8>) -> Result<bool, Corrupt> {
    if encoding(bytes).ok_or(Corrupt)? == Encoding::Dense {
        return Ok(false);
    }
    let mut dense = bytes[..HEAD_BYTES].to_vec();
    dense[ENCODING_AT] = DENSE;
    dense.resize(DENSE_BYTES, 0);
    sparse::each_run(&bytes[HEAD_BYTES..], |run, rank| {
        run.for_each(|index| dense::set(&mut dense[HEAD_BYTES..], index, rank));
    })?;
    *bytes = dense;
    Ok(true)
}

/// Raises a register to what was observed, and says whether it was lower. A sparse value becomes dense when it would
/// take more than `sparse_bytes_max`.
pub(crate) fn raise(bytes: &mut Vec<u8>, seen: Observation, sparse_bytes_max: usize) -> Result<bool, Corrupt> {
    if encoding(bytes).ok_or(Corrupt)? == Encoding::Sparse {
        match sparse::raise(bytes, seen, sparse_bytes_max)? {
            sparse::Raised::No => return Ok(false),
            sparse::Raised::Yes => {
                mark_stale(bytes);
                return Ok(true);
            }
            sparse::Raised::NeedsDense => _ = make_dense(bytes)?,
        }
    }
    let registers = &mut bytes[HEAD_BYTES..];
    let is_higher = dense::get(registers, seen.index) < seen.rank;
    if is_higher {
        dense::set(registers, seen.index, seen.rank);
    }
    Ok(is_higher)
}

#[cfg(test)]
mod tests;
