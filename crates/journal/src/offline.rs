//! Reading single records of a journal that is not open yet: while it is being replayed, and by tools that
//! inspect a data directory.
//!
//! Deliberately not for a journal in use: it knows nothing of bytes that are not in files yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use env::{Disk, ReadMode};

use crate::error::Error;
use crate::position::{Position, SegmentId};
use crate::read::{ReadNow, read_file};
use crate::segment::Segment;

/// Segments kept open between reads.
const SEGMENTS_OPEN_MAX: usize = 64;

/// See the module's text.
pub struct Offline {
    disk: Arc<dyn Disk>,
    open: std::cell::RefCell<BTreeMap<SegmentId, Segment>>,
}

impl Offline {
    /// Reads from the journal below `disk`.
    pub fn new(disk: Arc<dyn Disk>) -> Offline {
        Offline { disk, open: std::cell::RefCell::default() }
    }

    /// Reads the record at `at` into `buf`; see [`crate::Journal::read`].
    ///
    /// # Errors
    /// As [`crate::Journal::read`].
    pub fn read(&self, at: Position, buf: &mut Vec<u8>) -> Result<ReadNow, Error> {
        let mut open = self.open.borrow_mut();
        if !open.contains_key(&at.segment) {
            if open.len() == SEGMENTS_OPEN_MAX {
                open.pop_first();
            }
            open.insert(at.segment, Segment::open(&*self.disk, at.segment)?);
        }
        let segment = open.get(&at.segment).ok_or(Error::SegmentUnknown { id: at.segment })?;
        read_file(segment, at, ReadMode::Wait, buf)
    }
}
