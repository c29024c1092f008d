//! Opening a journal: replay it, find where it ends, tell a torn tail from damage, cut.
//!
//! ```text
//! start ──► record record … Seal ──► next segment … record ✗
//!                                                          │ is there a later record whose frontier
//!                                                          │ lies past ✗ ?
//!                                            yes: Corrupt ─┴─ no: the journal ends at ✗; cut
//! ```
//!
//! # Invariants
//! - Nothing is changed before the whole journal from `start` on was found sound.
//! - After a cut, no byte at or past it is left that could be taken for a record later: later segments are
//!   removed first, then the tail is truncated and allocated again, which reads as zero.
//! - On return everything replayed is durable, so no reader is shown what a second crash could take back.
//!
//! # What is detected, and what cannot be
//! - Any change to a record that was synced before some later record (or mark) was written: `Corrupt`.
//! - Any change to a header of a segment that holds records, or a missing segment after a sealed one: `Corrupt`.
//! - A change to a record of the last sync before a crash, when no mark had followed it, looks like a tear and
//!   is cut with all that follows. The flusher writes a mark once the journal has been idle for a moment, and
//!   `close` writes and syncs one, so this concerns a crash under load only; in `os` mode, everything since the
//!   last rotation.
//! - A journal whose last records, including the last mark, were replaced by zeros or cut off cannot be told
//!   from one that never had them.
//! - Segments before `start` are not read here; their records are verified whenever they are.

use std::fmt;
use std::sync::Arc;

use base::TimeMs;
use env::Disk;

use crate::beyond::{Beyond, open_or_blank};
use crate::error::{BoxError, Error};
use crate::position::{Position, SegmentId};
use crate::record::{Damage, Record, RecordKind, record_bytes};
use crate::segment::{self, HEADER_BYTES, JOURNAL_DIR, Segment, segment_path};
use crate::window::Window;

/// Bytes replayed between two reports of progress.
const PROGRESS_BYTES: u64 = 16 << 20;

/// Receives the journal's content while it opens, in order.
pub trait Replay {
    /// One record that carries a body. Marks and seals stay inside.
    fn record(&mut self, at: Position, record: &Record<'_>) -> Result<(), BoxError>;

    /// Everything before this is known, from elsewhere than the journal, to have been durable: a journal that ends
    /// earlier is damaged, not torn.
    fn durable_known(&self) -> Position {
        Position::ZERO
    }

    /// Called now and then, and once at the end, with the bytes read and the bytes there are to read. The
    /// total counts allocated files, so the end may come before it is reached.
    fn progress(&mut self, _done_bytes: u64, _total_bytes: u64) {}
}

impl<F: FnMut(Position, &Record<'_>) -> Result<(), BoxError>> Replay for F {
    fn record(&mut self, at: Position, record: &Record<'_>) -> Result<(), BoxError> {
        self(at, record)
    }
}

/// What opening found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Where the next record goes.
    pub tail: Position,
    /// Records handed to the visitor.
    pub records: u64,
    /// Bytes from the start to the tail, marks and seals included.
    pub bytes: u64,
    /// Time of the last record, marks included: the wall clock was there once. The epoch when there is none.
    pub time_last: TimeMs,
    /// What was cut off, when the journal did not end cleanly.
    pub torn: Option<Torn>,
}

/// A tail that was never promised to anybody, and was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where it was cut.
    pub at: Position,
    /// Bytes given up, up to the last that was not zero.
    pub bytes: u64,
    /// Valid records among them: written, never known to be synced, and behind a hole.
    pub records: u64,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Torn { at, bytes, records } = self;
        write!(f, "{bytes} bytes from byte {} of {} on", at.offset, segment_path(at.segment))?;
        if 0 < *records { write!(f, " (with {records} records that never were known to be on disk)") } else { Ok(()) }
    }
}

/// A replayed journal, ready to be appended to.
pub(crate) struct Opened {
    pub(crate) recovered: Recovered,
    pub(crate) active: Arc<Segment>,
    pub(crate) last_is_mark: bool,
    pub(crate) sealed: Vec<(SegmentId, u64)>,
}

/// How new segments are made.
#[derive(Clone, Copy)]
pub(crate) struct NewSegments {
    pub(crate) salt: u64,
    pub(crate) bytes: u32,
}

/// Where the records end.
struct End {
    at: Position,
    /// `None` when the segment exists in name only.
    segment: Option<Segment>,
    /// Why no record starts there.
    damage: Damage,
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    replay: &'a mut dyn Replay,
    start: Position,
    frontier: Position,
    records: u64,
    bytes: u64,
    bytes_reported: u64,
    bytes_total: u64,
    time_last: TimeMs,
    last_is_mark: bool,
}

/// Opens the journal below `disk`, creating it when there is none.
pub(crate) fn open(
    disk: &dyn Disk,
    new: NewSegments,
    start: Option<Position>,
    replay: &mut dyn Replay,
) -> Result<Opened, Error> {
    let made = disk.create_dir(JOURNAL_DIR).and_then(|()| disk.sync_dir(""));
    made.map_err(|error| Error::io("create", JOURNAL_DIR, error))?;
    let ids = segment::list(disk)?;
    let oldest = Position { segment: ids.first().copied().unwrap_or(SegmentId::FIRST), offset: HEADER_BYTES };
    if ids.is_empty() && start.is_none() {
        return create(disk, new);
    }
    let start = start.unwrap_or(oldest);
    let mut recovery = Recovery {
        disk,
        replay,
        start,
        frontier: start,
        records: 0,
        bytes: 0,
        bytes_reported: 0,
        bytes_total: bytes_total(disk, &ids, start)?,
        time_last: TimeMs(0),
        last_is_mark: false,
    };
    let end = recovery.walk()?;
    let beyond = recovery.judge(&end, &ids)?;
    let at = end.at;
    let active = recovery.settle(end, beyond.bytes_in_segment > 0, &ids, new)?;
    recovery.report();
    let recovered = Recovered {
        tail: at,
        records: recovery.records,
        bytes: recovery.bytes,
        time_last: recovery.time_last,
        torn: (beyond.bytes > 0).then_some(Torn { at, bytes: beyond.bytes, records: beyond.records }),
    };
    let last_is_mark = recovery.last_is_mark;
    let sealed = sealed(disk, &ids, active.id)?;
    Ok(Opened { recovered, active: Arc::new(active), last_is_mark, sealed })
}

fn create(disk: &dyn Disk, new: NewSegments) -> Result<Opened, Error> {
    let active = Segment::create(disk, SegmentId::FIRST, new.salt, u64::from(new.bytes))?;
    let recovered = Recovered { tail: active.first(), records: 0, bytes: 0, time_last: TimeMs(0), torn: None };
    Ok(Opened { recovered, active: Arc::new(active), last_is_mark: true, sealed: Vec::new() })
}

fn file_bytes(disk: &dyn Disk, id: SegmentId) -> Result<u64, Error> {
    let path = segment_path(id);
    let bytes = disk.open(&path).and_then(|file| file.size_bytes());
    bytes.map_err(|error| Error::io("measure", &path, error))
}

fn bytes_total(disk: &dyn Disk, ids: &[SegmentId], start: Position) -> Result<u64, Error> {
    let mut total = 0;
    for id in ids.iter().filter(|id| start.segment <= **id) {
        total += file_bytes(disk, *id)?;
    }
    Ok(total.saturating_sub(u64::from(start.offset)))
}

fn sealed(disk: &dyn Disk, ids: &[SegmentId], active: SegmentId) -> Result<Vec<(SegmentId, u64)>, Error> {
    ids.iter().filter(|id| **id < active).map(|id| Ok((*id, file_bytes(disk, *id)?))).collect()
}

fn corrupt(at: Position, damage: Damage) -> Error {
    Error::Corrupt { file: segment_path(at.segment), offset: u64::from(at.offset), damage }
}

impl Recovery<'_> {
    /// Replays every record from the start on and returns where they end.
    fn walk(&mut self) -> Result<End, Error> {
        let mut at = self.start;
        loop {
            let segment = match open_or_blank(self.disk, at.segment) {
                Ok(Some(segment)) => segment,
                Ok(None) if at.offset == HEADER_BYTES => {
                    return Ok(End { at, segment: None, damage: Damage::Header });
                }
                Ok(None) => return Err(corrupt(Position { offset: 0, ..at }, Damage::Header)),
                Err(Error::SegmentUnknown { .. }) => {
                    return Err(corrupt(Position { offset: 0, ..at }, Damage::SegmentMissing));
                }
                Err(error) => return Err(error),
            };
            let (end, damage) = self.walk_segment(&segment, at)?;
            if let Some(damage) = damage {
                return Ok(End { at: end, segment: Some(segment), damage });
            }
            at = Position { segment: at.segment.next(), offset: HEADER_BYTES };
        }
    }

    /// Replays one segment: where its records end, and why there unless by a seal.
    fn walk_segment(&mut self, segment: &Segment, mut at: Position) -> Result<(Position, Option<Damage>), Error> {
        let mut window = Window::new(segment, u64::MAX)?;
        if window.end() < u64::from(at.offset) {
            return Err(corrupt(at, Damage::Short));
        }
        loop {
            let record = match window.record(at.offset)? {
                Ok(record) => record,
                Err(Damage::Unknown) => return Err(corrupt(at, Damage::Unknown)),
                Err(damage) => return Ok((at, Some(damage))),
            };
            let bytes = record_bytes(record.body.len() as u32);
            self.visit(at, &record)?;
            at = at.after(bytes);
            if record.head.kind == RecordKind::Seal {
                return Ok((at, None));
            }
        }
    }

    fn visit(&mut self, at: Position, record: &Record<'_>) -> Result<(), Error> {
        self.frontier = self.frontier.max(record.frontier);
        // Not simply the last one's: who imports what has ended writes at the beginning of time.
        self.time_last = self.time_last.max(record.head.time);
        self.last_is_mark = record.head.kind == RecordKind::Mark;
        if record.head.kind.is_content() {
            self.replay.record(at, record).map_err(|source| Error::Visitor { at, source })?;
            self.records += 1;
        }
        self.bytes += u64::from(record_bytes(record.body.len() as u32));
        if PROGRESS_BYTES <= self.bytes - self.bytes_reported {
            self.report();
        }
        Ok(())
    }

    fn report(&mut self) {
        self.bytes_reported = self.bytes;
        self.replay.progress(self.bytes, self.bytes_total);
    }

    /// Torn or damaged: what a cut at `end` gives up, or the refusal.
    fn judge(&self, end: &End, ids: &[SegmentId]) -> Result<Beyond, Error> {
        let later: Vec<SegmentId> = ids.iter().copied().filter(|id| end.at.segment < *id).collect();
        let beyond = Beyond::search(self.disk, end.segment.as_ref(), end.at, &later)?;
        let is_promised = beyond.proof.is_some() || end.at < self.replay.durable_known();
        if is_promised && !crate::planted::ignores_frontiers() {
            return Err(corrupt(end.at, end.damage));
        }
        Ok(beyond)
    }

    /// Cuts what was torn and makes everything before it durable.
    fn settle(&self, end: End, cut_needed: bool, ids: &[SegmentId], new: NewSegments) -> Result<Segment, Error> {
        let End { at, segment, .. } = end;
        for id in ids.iter().rev().filter(|id| at.segment < **id) {
            let path = segment_path(*id);
            self.disk.remove(&path).map_err(|error| Error::io("remove", &path, error))?;
        }
        let synced = self.disk.sync_dir(JOURNAL_DIR);
        synced.map_err(|source| Error::SyncFailed { file: JOURNAL_DIR.to_owned(), source })?;
        let Some(active) = segment else {
            return Segment::create(self.disk, at.segment, new.salt, u64::from(new.bytes));
        };
        if cut_needed {
            cut(&active, at)?;
        }
        for id in ids.iter().filter(|id| self.frontier.segment <= **id && **id < at.segment) {
            sync(&Segment::open(self.disk, *id)?)?;
        }
        sync(&active)?;
        Ok(active)
    }
}

/// Gives up everything from `at` on; the space stays taken when the device lets it.
pub(crate) fn cut(segment: &Segment, at: Position) -> Result<(), Error> {
    let path = segment_path(segment.id);
    let file_bytes = segment.file.size_bytes().map_err(|error| Error::io("measure", &path, error))?;
    segment.file.truncate(u64::from(at.offset)).map_err(|error| Error::io("truncate", &path, error))?;
    match segment.file.allocate(file_bytes).map_err(|error| Error::space_or_io("allocate", &path, error)) {
        // Appending finds the room missing and says so; reading goes on.
        Ok(()) | Err(Error::Full) => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync(segment: &Segment) -> Result<(), Error> {
    let synced = segment.file.sync_data();
    synced.map_err(|source| Error::SyncFailed { file: segment_path(segment.id), source })
}
