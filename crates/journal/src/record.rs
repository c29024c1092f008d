//! One record: a head of 48 bytes, a body, zeros up to the next multiple of eight.
//!
//! ```text
//!  0  head_crc   u32  CRC-32C of bytes 4..48, xor the mask of the place it is written at
//!  4  body_crc   u32  CRC-32C of the body
//!  8  body_bytes u32
//! 12  kind       u8
//! 13  zero       u8
//! 14  partition  u16
//! 16  version    u64
//! 24  time       i64  milliseconds since the Unix epoch
//! 32  term       u64
//! 40  frontier   u64  segment << 32 | offset: every byte before it was durable when this was written
//! 48  body, then zeros to a multiple of 8
//! ```
//! Little-endian throughout.
//!
//! # Invariants
//! - Nothing of a record is believed before both checksums hold and its padding is zero: only
//!   [`RawRecord::verify`] makes a [`Record`].
//! - What was durable when a record was written lies before it: a later frontier is not believed.
//! - A record is valid at one place of one segment of one journal only. The mask mixes the segment's salt,
//!   its number and the offset into the head checksum, so a copy at another offset, a stale block of another
//!   file, or a journal stored inside a value is not a record.
//!
//! Deliberately not here: what the body says, and what damage means (only recovery knows whether the record
//! was the last).

use base::checksum::{crc32c, crc32c_of};
use base::{PartitionId, TimeMs, Version};

use crate::position::{ALIGN_BYTES, Position};

/// Bytes of a record before its body.
pub const HEAD_BYTES: u32 = 48;
/// Longest body: two values of the largest size with room to name them.
pub const BODY_BYTES_MAX: u32 = (1 << 30) + (64 << 20);

/// Where a head keeps its kind, which is never zero.
pub(crate) const KIND_AT: usize = 12;

const _: () = assert!(HEAD_BYTES.is_multiple_of(ALIGN_BYTES));
const _: () = assert!(BODY_BYTES_MAX as u64 + (HEAD_BYTES + ALIGN_BYTES) as u64 <= i32::MAX as u64);

/// What a record is for. The numbers are written down: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// The effects of one atomic batch in one partition.
    Batch = 1,
    /// The effects of one atomic batch over several partitions.
    MultiBatch = 2,
    /// A value written out whole, by merge or to spill it. Changes nothing.
    Image = 3,
    /// The journal's own: states the durable frontier when no other record follows to state it.
    Mark = 4,
    /// The journal's own: the last record of a segment; the journal goes on in the next.
    Seal = 5,
    /// The journal's own: records given up by salvage; the body is what was left of them.
    Gap = 6,
}

impl RecordKind {
    /// `None` for a kind this release does not know: refuse the file, do not guess.
    pub fn decode(byte: u8) -> Option<RecordKind> {
        match byte {
            1 => Some(RecordKind::Batch),
            2 => Some(RecordKind::MultiBatch),
            3 => Some(RecordKind::Image),
            4 => Some(RecordKind::Mark),
            5 => Some(RecordKind::Seal),
            6 => Some(RecordKind::Gap),
            _ => None,
        }
    }

    /// Whether the record carries a body for somebody above the journal.
    pub fn is_content(self) -> bool {
        match self {
            RecordKind::Batch | RecordKind::MultiBatch | RecordKind::Image => true,
            RecordKind::Mark | RecordKind::Seal | RecordKind::Gap => false,
        }
    }
}

/// What the journal knows of a record besides its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// What the record is for.
    pub kind: RecordKind,
    /// The partition it belongs to; the lowest one for [`RecordKind::MultiBatch`].
    pub partition: PartitionId,
    /// The version the batch took in that partition.
    pub version: Version,
    /// When the batch was decided.
    pub time: TimeMs,
    /// The Raft term it was proposed in; 0 without replication.
    pub term: u64,
}

/// A record whose checksums hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its head.
    pub head: RecordHead,
    /// Every byte before this was durable when the record was written.
    pub frontier: Position,
    /// Its body.
    pub body: &'a [u8],
}

/// Bytes of a record with a body of `body_bytes`, head and padding included.
#[inline]
pub fn record_bytes(body_bytes: u32) -> u32 {
    HEAD_BYTES + body_bytes.next_multiple_of(ALIGN_BYTES)
}

/// What is wrong with the bytes where a record should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The file ends before the record does.
    Short,
    /// The head's checksum does not hold.
    HeadCrc,
    /// The body's checksum does not hold.
    BodyCrc,
    /// The bytes between the body and the next record are not zero.
    Padding,
    /// The checksum holds, but a field says what this release cannot know: written by a later one.
    Unknown,
    /// The segment's header is not one.
    Header,
    /// The segment before is sealed, so this one must exist, and it does not.
    SegmentMissing,
}

impl Damage {
    /// The damage in words that continue "the record at … ".
    pub fn describe(self) -> &'static str {
        match self {
            Damage::Short => "the file ends inside a record",
            Damage::HeadCrc => "a record head's checksum does not hold",
            Damage::BodyCrc => "a record body's checksum does not hold",
            Damage::Padding => "the padding after a record is not zero",
            Damage::Unknown => "a record says what this release cannot know",
            Damage::Header => "the segment header is damaged",
            Damage::SegmentMissing => "the segment is missing although the one before it is sealed",
        }
    }
}

/// What makes a checksum valid at `at` only. `salt` is the segment's.
#[inline]
pub(crate) fn mask(salt: u64, at: Position) -> u32 {
    // The finalizer of splitmix64 (Steele et al., OOPSLA '14): every input bit moves every output bit.
    let mut word = salt ^ at.to_raw();
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((word ^ (word >> 31)) >> 32) as u32
}

/// A head ready to be placed: everything but the mask of its place.
#[derive(Clone, Copy)]
pub(crate) struct PreparedHead {
    bytes: [u8; HEAD_BYTES as usize],
    crc: u32,
}

impl PreparedHead {
    /// Does all checksumming, so that placing it under a lock costs next to nothing.
    #[inline]
    pub(crate) fn new(head: &RecordHead, body: &[u8], frontier: Position) -> PreparedHead {
        let body_crc = if body.is_empty() { 0 } else { crc32c(body) };
        PreparedHead::with_crc(head, body.len(), body_crc, frontier)
    }

    /// As [`PreparedHead::new`] of a body in two parts.
    pub(crate) fn of_parts(head: &RecordHead, body: [&[u8]; 2], frontier: Position) -> PreparedHead {
        PreparedHead::with_crc(head, body[0].len() + body[1].len(), crc32c_of(&body), frontier)
    }

    #[inline]
    fn with_crc(head: &RecordHead, body_bytes: usize, body_crc: u32, frontier: Position) -> PreparedHead {
        assert!(body_bytes <= BODY_BYTES_MAX as usize, "callers refuse longer bodies");
        let mut bytes = [0; HEAD_BYTES as usize];
        bytes[4..8].copy_from_slice(&body_crc.to_le_bytes());
        bytes[8..12].copy_from_slice(&(body_bytes as u32).to_le_bytes());
        bytes[KIND_AT] = head.kind as u8;
        bytes[14..16].copy_from_slice(&head.partition.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&head.version.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&head.time.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&head.term.to_le_bytes());
        bytes[40..48].copy_from_slice(&frontier.to_raw().to_le_bytes());
        let crc = crc32c(&bytes[4..]);
        PreparedHead { bytes, crc }
    }

    /// The head as it is written at `at` of a segment salted with `salt`.
    #[inline]
    pub(crate) fn place(mut self, salt: u64, at: Position) -> [u8; HEAD_BYTES as usize] {
        self.bytes[..4].copy_from_slice(&(self.crc ^ mask(salt, at)).to_le_bytes());
        self.bytes
    }
}

/// A head whose checksum holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VerifiedHead {
    pub(crate) head: RecordHead,
    pub(crate) frontier: Position,
    pub(crate) body_bytes: u32,
    body_crc: u32,
}

impl VerifiedHead {
    /// Bytes of the whole record.
    pub(crate) fn record_bytes(&self) -> u32 {
        record_bytes(self.body_bytes)
    }
}

/// Bytes of a file at `at`; nothing in them may be believed yet.
#[derive(Clone, Copy)]
pub(crate) struct RawRecord<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) salt: u64,
    pub(crate) at: Position,
}

fn word<const N: usize>(bytes: &[u8; HEAD_BYTES as usize], offset: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[offset + index])
}

impl<'a> RawRecord<'a> {
    /// Checks the head alone. `bytes` may end right after it.
    #[inline]
    pub(crate) fn verify_head(self) -> Result<VerifiedHead, Damage> {
        let bytes = self.bytes.first_chunk::<{ HEAD_BYTES as usize }>().ok_or(Damage::Short)?;
        let crc = crc32c(&bytes[4..]) ^ mask(self.salt, self.at);
        if crc != u32::from_le_bytes(word(bytes, 0)) {
            return Err(Damage::HeadCrc);
        }
        let kind = RecordKind::decode(bytes[KIND_AT]).ok_or(Damage::Unknown)?;
        let body_bytes = u32::from_le_bytes(word(bytes, 8));
        if bytes[13] != 0 || BODY_BYTES_MAX < body_bytes {
            return Err(Damage::Unknown);
        }
        let head = RecordHead {
            kind,
            partition: PartitionId(u16::from_le_bytes(word(bytes, 14))),
            version: Version(u64::from_le_bytes(word(bytes, 16))),
            time: TimeMs(i64::from_le_bytes(word(bytes, 24))),
            term: u64::from_le_bytes(word(bytes, 32)),
        };
        let frontier = Position::from_raw(u64::from_le_bytes(word(bytes, 40)));
        if self.at < frontier {
            return Err(Damage::Unknown);
        }
        Ok(VerifiedHead { head, frontier, body_bytes, body_crc: u32::from_le_bytes(word(bytes, 4)) })
    }

    /// Checks everything. `bytes` may go on after the record.
    #[inline]
    pub(crate) fn verify(self) -> Result<Record<'a>, Damage> {
        let head = self.verify_head()?;
        self.verify_body(&head)
    }

    /// Checks the body and the padding against a head that [`RawRecord::verify_head`] returned.
    #[inline]
    pub(crate) fn verify_body(self, head: &VerifiedHead) -> Result<Record<'a>, Damage> {
        let rest = self.bytes.get(HEAD_BYTES as usize..head.record_bytes() as usize).ok_or(Damage::Short)?;
        let (body, padding) = rest.split_at(head.body_bytes as usize);
        let body_crc = if body.is_empty() { 0 } else { crc32c(body) };
        if body_crc != head.body_crc {
            return Err(Damage::BodyCrc);
        }
        if padding.iter().any(|byte| *byte != 0) {
            return Err(Damage::Padding);
        }
        Ok(Record { head: head.head, frontier: head.frontier, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::SegmentId;

    const AT: Position = Position { segment: SegmentId(3), offset: 4096 };
    const SALT: u64 = 0x1234_5678_9abc_def0;
    const HEAD: RecordHead = RecordHead {
        kind: RecordKind::Batch,
        partition: PartitionId(7),
        version: Version(99),
        time: TimeMs(-5),
        term: 12,
    };

    fn encoded(body: &[u8]) -> Vec<u8> {
        let frontier = Position { segment: SegmentId(2), offset: 640 };
        let mut bytes = PreparedHead::new(&HEAD, body, frontier).place(SALT, AT).to_vec();
        bytes.extend_from_slice(body);
        bytes.resize(record_bytes(body.len() as u32) as usize, 0);
        bytes
    }

    fn verify(bytes: &[u8]) -> Result<Record<'_>, Damage> {
        RawRecord { bytes, salt: SALT, at: AT }.verify()
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        for body_bytes in 0..40 {
            let body = vec![0xa5; body_bytes];
            let bytes = encoded(&body);
            let record = verify(&bytes).unwrap();
            assert_eq!(record.head, HEAD);
            assert_eq!(record.body, body);
            assert_eq!(record.frontier, Position { segment: SegmentId(2), offset: 640 });
        }
    }

    #[test]
    fn every_cut_is_short_and_every_flip_is_caught() {
        let whole = encoded(b"thirteen byte");
        for cut in 0..whole.len() {
            assert_eq!(verify(&whole[..cut]), Err(Damage::Short));
        }
        for flip in 0..whole.len() * 8 {
            let mut bent = whole.clone();
            bent[flip / 8] ^= 1 << (flip % 8);
            assert!(matches!(verify(&bent), Err(Damage::HeadCrc | Damage::BodyCrc | Damage::Padding)));
        }
    }

    #[test]
    fn a_record_is_valid_at_its_own_place_only() {
        let bytes = encoded(b"body");
        let elsewhere =
            [(SALT, AT.after(8)), (SALT, Position { segment: SegmentId(4), offset: AT.offset }), (SALT + 1, AT)];
        for (salt, at) in elsewhere {
            assert_eq!(RawRecord { bytes: &bytes, salt, at }.verify(), Err(Damage::HeadCrc));
        }
    }

    #[test]
    fn every_byte_is_a_known_kind_or_refused() {
        for byte in 0..=u8::MAX {
            assert_eq!(RecordKind::decode(byte).map(|kind| kind as u8), (1..=6).contains(&byte).then_some(byte));
        }
    }

    #[test]
    fn what_a_later_release_may_write_is_unknown_not_damaged() {
        let mut bytes = encoded(b"");
        bytes[12] = 200;
        let crc = crc32c(&bytes[4..48]) ^ mask(SALT, AT);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(verify(&bytes), Err(Damage::Unknown));
    }

    #[test]
    fn a_frontier_past_its_own_record_is_not_believed() {
        let mark = RecordHead { kind: RecordKind::Mark, ..HEAD };
        let stating = |frontier| PreparedHead::new(&mark, b"", frontier).place(SALT, AT);
        assert!(verify(&stating(AT)).is_ok());
        assert_eq!(verify(&stating(AT.after(8))), Err(Damage::Unknown));
    }
}
