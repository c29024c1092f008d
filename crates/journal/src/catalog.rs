//! Which segments there are, and the open handles of some of them.
//!
//! # Invariants
//! - At most [`SEGMENTS_OPEN_MAX`] handles are kept; the one unused for longest goes first. A reader that has
//!   one keeps its file readable although the segment is removed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use env::Disk;
use parking_lot::Mutex;

use crate::error::Error;
use crate::position::SegmentId;
use crate::segment::{Segment, segment_path};

/// Segment files kept open for reading.
pub const SEGMENTS_OPEN_MAX: usize = 256;

/// One segment, as [`crate::Journal::segments`] lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub id: SegmentId,
    /// Bytes of header and records; of the active segment, those written so far.
    pub bytes: u64,
    /// Whether it is complete.
    pub sealed: bool,
}

pub(crate) struct Catalog {
    inner: Mutex<Inner>,
}

struct Inner {
    /// `None` for the active one, whose length is known elsewhere.
    bytes: BTreeMap<SegmentId, Option<u64>>,
    open: BTreeMap<SegmentId, (Arc<Segment>, u64)>,
    uses: u64,
}

impl Catalog {
    pub(crate) fn new(sealed: &[(SegmentId, u64)], active: &Arc<Segment>) -> Catalog {
        let bytes = sealed.iter().map(|(id, bytes)| (*id, Some(*bytes))).collect();
        let catalog = Catalog { inner: Mutex::new(Inner { bytes, open: BTreeMap::new(), uses: 0 }) };
        catalog.activate(active);
        catalog
    }

    /// Adds the segment that is written from now on.
    pub(crate) fn activate(&self, active: &Arc<Segment>) {
        let mut inner = self.inner.lock();
        inner.bytes.insert(active.id, None);
        inner.keep(active);
    }

    /// Notes that `id` ends at `bytes`.
    pub(crate) fn seal(&self, id: SegmentId, bytes: u64) {
        let replaced = self.inner.lock().bytes.insert(id, Some(bytes));
        assert!(replaced == Some(None), "only the active segment is sealed");
    }

    /// Forgets `id`; whoever holds a handle keeps it.
    pub(crate) fn remove(&self, id: SegmentId) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        inner.bytes.remove(&id).ok_or(Error::SegmentUnknown { id })?;
        inner.open.remove(&id);
        Ok(())
    }

    /// All segments, ascending; the active one ends at `active_bytes`.
    pub(crate) fn list(&self, active_bytes: u64) -> Vec<SegmentInfo> {
        let inner = self.inner.lock();
        let info = |(id, bytes): (&SegmentId, &Option<u64>)| SegmentInfo {
            id: *id,
            bytes: bytes.unwrap_or(active_bytes),
            sealed: bytes.is_some(),
        };
        inner.bytes.iter().map(info).collect()
    }

    /// The segment if it is open already; `None` when it must be opened.
    pub(crate) fn peek(&self, id: SegmentId) -> Result<Option<Arc<Segment>>, Error> {
        let mut inner = self.inner.lock();
        inner.uses += 1;
        let uses = inner.uses;
        if let Some((segment, used)) = inner.open.get_mut(&id) {
            *used = uses;
            return Ok(Some(Arc::clone(segment)));
        }
        if inner.bytes.contains_key(&id) { Ok(None) } else { Err(Error::SegmentUnknown { id }) }
    }

    /// The segment, opened when it is not.
    pub(crate) fn open(&self, disk: &dyn Disk, id: SegmentId) -> Result<Arc<Segment>, Error> {
        if let Some(segment) = self.peek(id)? {
            return Ok(segment);
        }
        let segment = Arc::new(Segment::open(disk, id)?);
        let mut inner = self.inner.lock();
        // Removed meanwhile: the reader may have it, the cache may not.
        if inner.bytes.contains_key(&id) {
            inner.keep(&segment);
        }
        Ok(segment)
    }

    /// Removes the file of a segment already forgotten.
    pub(crate) fn delete(disk: &dyn Disk, id: SegmentId) -> Result<(), Error> {
        let path = segment_path(id);
        disk.remove(&path).map_err(|error| Error::io("remove", &path, error))
    }
}

impl Inner {
    fn keep(&mut self, segment: &Arc<Segment>) {
        self.uses += 1;
        self.open.insert(segment.id, (Arc::clone(segment), self.uses));
        while SEGMENTS_OPEN_MAX < self.open.len() {
            let idle = self.open.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id);
            idle.map(|id| self.open.remove(&id));
        }
    }
}
