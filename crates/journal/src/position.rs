//! Where a record lies: which segment, and where in it.
//!
//! Deliberately not a byte count since the beginning: segments are of different lengths and go away.

use std::fmt;

/// Alignment of every record, in bytes.
pub const ALIGN_BYTES: u32 = 8;
/// Largest segment an operator may ask for; also the bound of every record's offset.
pub const SEGMENT_BYTES_MAX: u32 = 256 << 20;
/// Smallest segment an operator may ask for.
pub const SEGMENT_BYTES_MIN: u32 = 64 << 10;
/// Segment of a new journal when nobody asks for another size.
pub const SEGMENT_BYTES_DEFAULT: u32 = 64 << 20;
/// Bits of a packed position: 28 of segment, 25 of offset in units of [`ALIGN_BYTES`].
pub const POSITION_BITS: u32 = SEGMENT_BITS + OFFSET_BITS;

const SEGMENT_BITS: u32 = 28;
const OFFSET_BITS: u32 = 25;
const _: () = assert!(SEGMENT_BYTES_MAX / ALIGN_BYTES == 1 << OFFSET_BITS);
const _: () = assert!(SEGMENT_BYTES_MIN <= SEGMENT_BYTES_DEFAULT);
const _: () = assert!(SEGMENT_BYTES_DEFAULT <= SEGMENT_BYTES_MAX);

/// Number of a segment, counting up from 1 and never used again. Below 2^28.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u32);

impl SegmentId {
    /// The first segment of a new journal.
    pub const FIRST: SegmentId = SegmentId(1);
    /// The last segment a journal can ever have: 16 PiB of default segments.
    pub const MAX: SegmentId = SegmentId((1 << SEGMENT_BITS) - 1);

    /// The segment after this one.
    ///
    /// # Panics
    /// When the numbers are used up.
    #[must_use]
    pub fn next(self) -> SegmentId {
        assert!(self < SegmentId::MAX, "segment numbers must not run out");
        SegmentId(self.0 + 1)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}", self.0)
    }
}

/// A place in the journal. Ordered as the journal is.
///
/// Where a record *starts* it is a multiple of [`ALIGN_BYTES`] below [`SEGMENT_BYTES_MAX`], and can be packed.
/// Where a record larger than a segment *ends* it may lie above; such a position is only compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The segment.
    pub segment: SegmentId,
    /// Bytes from the start of its file.
    pub offset: u32,
}

impl Position {
    /// Before every record.
    pub const ZERO: Position = Position { segment: SegmentId(0), offset: 0 };

    /// The position as a number below 2^53 ([`POSITION_BITS`]) that sorts alike.
    ///
    /// # Panics
    /// When it is not where a record can start.
    #[inline]
    pub fn pack(self) -> u64 {
        assert!(self.segment <= SegmentId::MAX, "segment numbers have 28 bits");
        assert!(self.offset < SEGMENT_BYTES_MAX, "records start below the largest segment size");
        assert!(self.offset.is_multiple_of(ALIGN_BYTES), "records start aligned");
        u64::from(self.segment.0) << OFFSET_BITS | u64::from(self.offset / ALIGN_BYTES)
    }

    /// The position [`Position::pack`] made `packed` of.
    ///
    /// # Panics
    /// When `packed` has more than [`POSITION_BITS`] bits.
    #[inline]
    pub fn unpack(packed: u64) -> Position {
        assert!(packed >> POSITION_BITS == 0, "packed positions have 53 bits");
        let offset = (packed & ((1 << OFFSET_BITS) - 1)) as u32 * ALIGN_BYTES;
        Position { segment: SegmentId((packed >> OFFSET_BITS) as u32), offset }
    }

    /// Both words side by side: what is written down and kept in atomics. Sorts alike; takes any offset.
    #[inline]
    pub(crate) fn to_raw(self) -> u64 {
        u64::from(self.segment.0) << 32 | u64::from(self.offset)
    }

    #[inline]
    pub(crate) fn from_raw(raw: u64) -> Position {
        Position { segment: SegmentId((raw >> 32) as u32), offset: raw as u32 }
    }

    /// The position `bytes` further in the same segment.
    pub(crate) fn after(self, bytes: u32) -> Position {
        Position { segment: self.segment, offset: self.offset + bytes }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.segment, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corners() -> Vec<Position> {
        let segments = [0, 1, 2, SegmentId::MAX.0 - 1, SegmentId::MAX.0];
        let offsets = [0, 8, 16, SEGMENT_BYTES_MAX / 2, SEGMENT_BYTES_MAX - 8];
        let at = |segment| offsets.map(move |offset| Position { segment: SegmentId(segment), offset });
        segments.into_iter().flat_map(at).collect()
    }

    #[test]
    fn packing_loses_nothing_and_keeps_the_order() {
        for a in corners() {
            assert!(a.pack() < 1 << POSITION_BITS);
            assert_eq!(Position::unpack(a.pack()), a);
            assert_eq!(Position::from_raw(a.to_raw()), a);
            for b in corners() {
                assert_eq!(a.cmp(&b), a.pack().cmp(&b.pack()));
                assert_eq!(a.cmp(&b), a.to_raw().cmp(&b.to_raw()));
            }
        }
    }

    #[test]
    #[should_panic(expected = "aligned")]
    fn an_unaligned_position_is_not_packed() {
        Position { segment: SegmentId(1), offset: 12 }.pack();
    }

    #[test]
    #[should_panic(expected = "below the largest segment")]
    fn the_end_of_a_giant_record_is_not_packed() {
        Position { segment: SegmentId(1), offset: SEGMENT_BYTES_MAX }.pack();
    }
}
