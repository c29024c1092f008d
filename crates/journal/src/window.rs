//! A sliding window over one segment file: large sequential reads, records verified where they lie.
//!
//! Deliberately not a memory map: a failing device is an error here and a signal there, and the simulated disk
//! has nothing to map. Memory is one window, or one record when that is larger; a length is only believed after
//! its checksum, and never past the end of the file.

use env::ReadMode;

use crate::error::Error;
use crate::position::{ALIGN_BYTES, Position};
use crate::record::{Damage, HEAD_BYTES, KIND_AT, RawRecord, Record, RecordKind};
use crate::segment::{Segment, segment_path};

/// Bytes read at once: large enough to stream, small enough to be checked while still in the cache.
const WINDOW_BYTES: usize = 1 << 20;
const WORD: usize = ALIGN_BYTES as usize;
const _: () = assert!(WORD <= KIND_AT, "the kind lies in a head's second word");
const _: () = assert!(KIND_AT < 2 * WORD, "the kind lies in a head's second word");

/// What [`Window::seek`] found.
pub(crate) struct Sought {
    /// Where the record starts.
    pub(crate) record: Option<u32>,
    /// Everything from here to the record is zero.
    pub(crate) bytes_end: u64,
}

/// Reads one segment from front to back.
pub(crate) struct Window<'a> {
    segment: &'a Segment,
    /// Bytes at and after this offset do not exist for the reader.
    end: u64,
    buffer: Vec<u8>,
    start: u64,
    filled: usize,
}

impl<'a> Window<'a> {
    /// A window over `segment` up to `end`, or up to the end of the file when that comes first.
    pub(crate) fn new(segment: &'a Segment, end: u64) -> Result<Window<'a>, Error> {
        let path = || segment_path(segment.id);
        let file_bytes = segment.file.size_bytes().map_err(|error| Error::io("measure", &path(), error))?;
        Ok(Window { segment, end: end.min(file_bytes), buffer: Vec::new(), start: 0, filled: 0 })
    }

    /// Where the readable bytes end.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// At least `bytes` from `offset` on, usually many more; fewer only at the end.
    pub(crate) fn from(&mut self, offset: u64, bytes: usize) -> Result<&[u8], Error> {
        let wanted = (self.end.saturating_sub(offset) as usize).min(bytes);
        let inside = self.start <= offset && offset + wanted as u64 <= self.start + self.filled as u64;
        if !inside {
            self.fill(offset, wanted.max(WINDOW_BYTES))?;
        }
        if self.filled == 0 {
            return Ok(&[]);
        }
        Ok(&self.buffer[(offset - self.start) as usize..self.filled])
    }

    fn fill(&mut self, offset: u64, bytes: usize) -> Result<(), Error> {
        let bytes = (self.end.saturating_sub(offset) as usize).min(bytes);
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes, 0);
        }
        let read = self.segment.file.read_at(offset, &mut self.buffer[..bytes], ReadMode::Wait);
        self.filled = read.map_err(|error| Error::io("read", &segment_path(self.segment.id), error))?;
        self.start = offset;
        Ok(())
    }

    /// The first valid record at or after `from`, and where the last byte before it that is not zero ends.
    pub(crate) fn seek(&mut self, from: u32) -> Result<Sought, Error> {
        assert!(from.is_multiple_of(ALIGN_BYTES), "records are sought where they can start");
        let mut offset = u64::from(from);
        let mut bytes_end = offset;
        while offset < self.end {
            let bytes = self.from(offset, HEAD_BYTES as usize)?;
            let zero_bytes = zeros(bytes);
            if WORD < zero_bytes {
                // The first word of a head may be zero, the second, which has the kind, cannot.
                offset += (zero_bytes - WORD) as u64;
                continue;
            }
            let plausible = bytes.get(KIND_AT).is_some_and(|kind| RecordKind::decode(*kind).is_some());
            if plausible && self.record(offset as u32)?.is_ok() {
                return Ok(Sought { record: Some(offset as u32), bytes_end });
            }
            offset += u64::from(ALIGN_BYTES);
            if zero_bytes == 0 {
                bytes_end = offset.min(self.end);
            }
        }
        Ok(Sought { record: None, bytes_end })
    }

    /// Whether nothing but zeros follows `from`.
    pub(crate) fn is_zero(&mut self, from: u32) -> Result<bool, Error> {
        let mut offset = u64::from(from);
        while offset < self.end {
            let bytes = self.from(offset, 1)?;
            if bytes.is_empty() || zeros(bytes) < bytes.len() {
                return Ok(false);
            }
            offset += bytes.len() as u64;
        }
        Ok(true)
    }

    /// The record at `offset`, or what is wrong there.
    pub(crate) fn record(&mut self, offset: u32) -> Result<Result<Record<'_>, Damage>, Error> {
        let at = Position { segment: self.segment.id, offset };
        let salt = self.segment.salt;
        let bytes = self.from(u64::from(offset), HEAD_BYTES as usize)?;
        let head = match (RawRecord { bytes, salt, at }).verify_head() {
            Ok(head) => head,
            Err(damage) => return Ok(Err(damage)),
        };
        let record_bytes = head.record_bytes() as usize;
        if self.end < u64::from(offset) + record_bytes as u64 {
            return Ok(Err(Damage::Short));
        }
        let bytes = self.from(u64::from(offset), record_bytes)?;
        Ok(RawRecord { bytes, salt, at }.verify_body(&head))
    }
}

/// Zero bytes at the front of `bytes`, in whole words; all of a last, shorter word counts when it is zero.
fn zeros(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<WORD>();
    let zero_words = words.iter().take_while(|word| u64::from_ne_bytes(**word) == 0).count();
    if zero_words < words.len() || rest.iter().any(|byte| *byte != 0) {
        return zero_words * WORD;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_counted_in_words() {
        assert_eq!(zeros(&[]), 0);
        assert_eq!(zeros(&[0; 21]), 21);
        assert_eq!(zeros(&[0, 0, 0, 1, 0, 0, 0, 0, 0]), 0);
        let mut bytes = [0; 40];
        bytes[17] = 1;
        assert_eq!(zeros(&bytes), 16);
        bytes[17] = 0;
        bytes[39] = 1;
        assert_eq!(zeros(&bytes), 32);
    }
}
