//! What lies beyond the first bad record: nothing that matters, or the proof that it had been synced.
//!
//! After power loss, everything past the last durable frontier may be holes: pages reach the device in any
//! order, so valid records may follow a bad one, and none of them was promised to anybody. But each record
//! states the frontier its writer knew. A valid record, anywhere later, whose frontier lies past the bad
//! offset proves that the bytes there had been synced and have changed since: that is damage, not a crash.
//!
//! Deliberately not a judge: it reports, and recovery decides.

use env::Disk;

use crate::error::Error;
use crate::position::{Position, SegmentId};
use crate::record::record_bytes;
use crate::segment::{HEADER_BYTES, Segment, segment_path};
use crate::window::Window;

/// What was found beyond a bad record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beyond {
    /// Bytes up to the last one that is not zero: what a cut there gives up.
    pub(crate) bytes: u64,
    /// Valid records among them.
    pub(crate) records: u64,
    /// A valid record that was written after the bad place had been synced.
    pub(crate) proof: Option<Position>,
    /// Whether the bad record's own segment holds any of the bytes.
    pub(crate) bytes_in_segment: u64,
}

impl Beyond {
    /// Looks at the rest of `segment` from `bad` on and at all of `later`.
    pub(crate) fn search(
        disk: &dyn Disk,
        segment: Option<&Segment>,
        bad: Position,
        later: &[SegmentId],
    ) -> Result<Beyond, Error> {
        let mut found = Beyond::default();
        if let Some(segment) = segment {
            found.search_segment(segment, bad.offset, bad)?;
            found.bytes_in_segment = found.bytes;
        }
        for id in later {
            if let Some(segment) = open_or_blank(disk, *id)? {
                found.search_segment(&segment, HEADER_BYTES, bad)?;
            }
        }
        Ok(found)
    }

    fn search_segment(&mut self, segment: &Segment, from: u32, bad: Position) -> Result<(), Error> {
        let mut window = Window::new(segment, u64::MAX)?;
        let mut offset = from;
        let bytes_end = loop {
            let sought = window.seek(offset)?;
            let Some(start) = sought.record else { break sought.bytes_end };
            let Ok(record) = window.record(start)? else { break sought.bytes_end };
            self.records += 1;
            if bad < record.frontier {
                self.proof = self.proof.or(Some(Position { segment: segment.id, offset: start }));
            }
            offset = start + record_bytes(record.body.len() as u32);
        };
        self.bytes += bytes_end - u64::from(from);
        Ok(())
    }
}

/// The segment, or nothing when it is a file without a valid header and without anything else: the trace of a
/// crash while it was created.
///
/// # Errors
/// `Corrupt` when the header is damaged and bytes follow: headers are durable before the first record.
pub(crate) fn open_or_blank(disk: &dyn Disk, id: SegmentId) -> Result<Option<Segment>, Error> {
    match Segment::open(disk, id) {
        Ok(segment) => Ok(Some(segment)),
        Err(damaged @ Error::Corrupt { .. }) => {
            let path = segment_path(id);
            let file = disk.open(&path).map_err(|error| Error::io("open", &path, error))?;
            let nameless = Segment { id, salt: 0, file };
            if Window::new(&nameless, u64::MAX)?.is_zero(HEADER_BYTES)? { Ok(None) } else { Err(damaged) }
        }
        Err(other) => Err(other),
    }
}
