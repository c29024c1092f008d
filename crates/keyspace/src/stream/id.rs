//! Names of stream entries, and their bytes.
//!
//! Deliberately not here: what clients write for them (`-`, `+`, `5`, `5-*`), which commands parse.

use base::codec::put_varint;
use base::number::format_u64;
use base::{Reader, Truncated};
use std::fmt;

/// The name of an entry: when, and the how manieth then. Written `ms-seq`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    /// Milliseconds since 1970, or whatever number the producer chose.
    pub ms: u64,
    /// Counts within the millisecond, from 0.
    pub seq: u64,
}

impl StreamId {
    /// Before every entry: none has it.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The last there can be.
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    /// The one after it; `None` of the last.
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => self.ms.checked_add(1).map(|ms| StreamId { ms, seq: 0 }),
        }
    }

    /// The one before it; `None` of the first.
    pub fn previous(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => self.ms.checked_sub(1).map(|ms| StreamId { ms, seq: u64::MAX }),
        }
    }

    /// `ms-seq`.
    pub fn text(self) -> IdText {
        let (ms, seq) = (format_u64(self.ms), format_u64(self.seq));
        let mut text = IdText { bytes: [0; TEXT_BYTES_MAX], used_bytes: ms.len() + 1 + seq.len() };
        text.bytes[..ms.len()].copy_from_slice(&ms);
        text.bytes[ms.len()] = b'-';
        text.bytes[ms.len() + 1..text.used_bytes].copy_from_slice(&seq);
        text
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Two numbers of 64 bits and what is between them.
const TEXT_BYTES_MAX: usize = 41;

/// The text of an id, held on the stack. Dereferences to its bytes.
#[derive(Clone, Copy)]
pub struct IdText {
    bytes: [u8; TEXT_BYTES_MAX],
    used_bytes: usize,
}

impl std::ops::Deref for IdText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.used_bytes]
    }
}

/// Writes an id: two varints.
pub(crate) fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_varint(out, id.ms);
    put_varint(out, id.seq);
}

/// Reads what [`put_id`] wrote.
pub(crate) fn read_id(reader: &mut Reader<'_>) -> Result<StreamId, Truncated> {
    Ok(StreamId { ms: reader.varint()?, seq: reader.varint()? })
}

/// Writes `id` as what it is beyond `previous`, which is no later: the difference in time, then the number, as a
/// difference too where the time is the same.
pub(crate) fn put_id_after(out: &mut Vec<u8>, previous: StreamId, id: StreamId) {
    put_varint(out, id.ms.wrapping_sub(previous.ms));
    put_varint(out, if id.ms == previous.ms { id.seq.wrapping_sub(previous.seq) } else { id.seq });
}

/// Reads what [`put_id_after`] wrote.
pub(crate) fn read_id_after(reader: &mut Reader<'_>, previous: StreamId) -> Result<StreamId, Truncated> {
    let (ms_beyond, number) = (reader.varint()?, reader.varint()?);
    let ms = previous.ms.checked_add(ms_beyond).ok_or(Truncated)?;
    let seq = if ms_beyond == 0 { previous.seq.checked_add(number).ok_or(Truncated)? } else { number };
    Ok(StreamId { ms, seq })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: [StreamId; 6] = [
        StreamId::MIN,
        StreamId { ms: 0, seq: 1 },
        StreamId { ms: 0, seq: u64::MAX },
        StreamId { ms: 1, seq: 0 },
        StreamId { ms: 1_700_000_000_000, seq: 3 },
        StreamId::MAX,
    ];

    #[test]
    fn next_and_previous_undo_each_other() {
        assert_eq!(StreamId::MIN.previous(), None);
        assert_eq!(StreamId::MAX.next(), None);
        for id in SOME {
            assert_eq!(id.next().map_or(Some(id), StreamId::previous), Some(id));
            assert!(id.next().is_none_or(|next| id < next));
        }
        assert_eq!(SOME[2].next(), Some(SOME[3]));
    }

    #[test]
    fn the_text_is_both_numbers() {
        assert_eq!(&*StreamId { ms: 12, seq: 3 }.text(), b"12-3");
        assert_eq!(&*StreamId::MAX.text(), b"18446744073709551615-18446744073709551615");
        assert_eq!(StreamId::MAX.text().len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn ids_read_back_alone_and_after_another() {
        for previous in SOME {
            for id in SOME.into_iter().filter(|id| previous <= *id) {
                let mut bytes = Vec::new();
                put_id(&mut bytes, previous);
                put_id_after(&mut bytes, previous, id);
                let mut reader = Reader::new(&bytes);
                assert_eq!(read_id(&mut reader), Ok(previous));
                assert_eq!(read_id_after(&mut reader, previous), Ok(id));
                assert!(reader.is_empty());
            }
        }
        assert_eq!(read_id_after(&mut Reader::new(&[1, 0]), StreamId::MAX), Err(Truncated));
    }
}
