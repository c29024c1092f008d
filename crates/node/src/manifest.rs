//! The file `MANIFEST`: what a data directory says of itself.
//!
//! ```text
//! magic:8 format:u32 partition_count:u16 zero:u16 node_id:16 created_ms:i64 crc:u32     44 bytes
//! ```
//! Little-endian; crc is CRC-32C of what precedes it. Written once, when the directory is created.

use base::checksum::crc32c;
use base::ids::PARTITION_COUNT_MAX;
use base::{Reader, TimeMs, Truncated};

/// Its name in the data directory.
pub const MANIFEST_PATH: &str = "MANIFEST";
/// The directory format this release writes.
pub const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"LARDERMF";
const MANIFEST_BYTES: usize = 44;

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Partitions, fixed for the life of the directory.
    pub partition_count: u16,
    /// Random, to tell one node from another.
    pub node_id: [u8; 16],
    /// When the directory was created.
    pub created: TimeMs,
}

/// Why a manifest is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its bytes are not as they were written.
    Damaged,
    /// A later release wrote it.
    Format(u32),
}

impl Manifest {
    /// The file's bytes.
    ///
    /// # Panics
    /// When the partitions would not divide the slots evenly, before anything is written: no later start could read it.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.partition_count.is_power_of_two(), "configuration refuses other counts");
        let mut out = Vec::with_capacity(MANIFEST_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.partition_count.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.node_id);
        out.extend_from_slice(&self.created.0.to_le_bytes());
        let crc = crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(out.len(), MANIFEST_BYTES, "the layout above is the layout written");
        out
    }

    /// Reads the file's bytes.
    ///
    /// # Errors
    /// Any byte that differs from what `encode` wrote.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, Refusal> {
        if bytes.len() != MANIFEST_BYTES || !bytes.starts_with(&MAGIC) {
            return Err(Refusal::Damaged);
        }
        let (covered, crc) = bytes.split_at(MANIFEST_BYTES - 4);
        if crc != crc32c(covered).to_le_bytes() {
            return Err(Refusal::Damaged);
        }
        let read = || -> Result<(u32, Manifest), Truncated> {
            let mut reader = Reader::new(&covered[MAGIC.len()..]);
            let format = reader.u32()?;
            let partition_count = reader.u16()?;
            reader.u16()?;
            let (node_id, created) = (reader.array()?, TimeMs(reader.u64()? as i64));
            Ok((format, Manifest { partition_count, node_id, created }))
        };
        let (format, manifest) = read().map_err(|_| Refusal::Damaged)?;
        if format != FORMAT {
            return Err(Refusal::Format(format));
        }
        let count = manifest.partition_count;
        if !count.is_power_of_two() || PARTITION_COUNT_MAX < count {
            return Err(Refusal::Damaged);
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_every_flipped_bit_and_cut_is_refused() {
        let manifest = Manifest { partition_count: 64, node_id: [7; 16], created: TimeMs(1_700_000_000_000) };
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest));
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&bent).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..cut]).is_err());
        }
    }
}
