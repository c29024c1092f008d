//! Offline repair: say what is damaged, and give up exactly what the operator names.
//!
//! A report lists each stretch of bytes that had been synced and is not what it was, as a [`GiveUp`]: the
//! smallest thing that can be given up so that the rest opens again. [`salvage`] takes those very items back as
//! its plan. Nothing is given up that was not named, and a plan that names what is not lost is refused: it was
//! made for another state of the directory.
//!
//! # Invariants
//! - A frontier never passes the record that states it and was true when it was stated, so one number decides
//!   about every hole: the largest frontier stated anywhere. Holes before it are damage; the first one at or
//!   past it is where opening will cut a torn tail.
//! - Salvage leaves what surrounds a hole untouched, and the hole's own bytes stay in place as the body of a gap.
//! - A crash during salvage leaves a directory whose report names what remains to be given up.
//!
//! Deliberately not here: which keys lived in what is lost, and asking the operator.

use std::fmt;

use base::TimeMs;
use env::Disk;

use crate::beyond::{Beyond, open_or_blank};
use crate::error::Error;
use crate::position::{Position, SegmentId};
use crate::record::{Damage, HEAD_BYTES, PreparedHead, RecordKind, record_bytes};
use crate::recover::{Torn, cut};
use crate::segment::{self, HEADER_BYTES, JOURNAL_DIR, Segment, segment_path};
use crate::tail::own_head;
use crate::window::Window;

/// Something to give up, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GiveUp {
    /// The records between two places of one segment.
    Records {
        /// The first that is damaged.
        from: Position,
        /// Offset of the next one that is whole.
        to: u32,
    },
    /// All records from here to the end of a segment that others follow.
    SegmentRest {
        /// The first that is damaged.
        from: Position,
    },
    /// All records of a segment that is missing or whose header is damaged.
    Segment {
        /// Which.
        id: SegmentId,
    },
    /// Everything from here on, whole records in later segments included. Never proposed; may be named in
    /// place of the loss that starts here and all after it.
    JournalRest {
        /// Where the first of those losses starts; offset 0 for a whole segment.
        from: Position,
    },
}

impl GiveUp {
    /// Where it starts.
    pub fn from(self) -> Position {
        match self {
            GiveUp::Records { from, .. } | GiveUp::SegmentRest { from } | GiveUp::JournalRest { from } => from,
            GiveUp::Segment { id } => Position { segment: id, offset: 0 },
        }
    }
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GiveUp::Records { from, to } => write!(f, "records {from} {to}"),
            GiveUp::SegmentRest { from } => write!(f, "segment-rest {from}"),
            GiveUp::Segment { id } => write!(f, "segment {id}"),
            GiveUp::JournalRest { from } => write!(f, "journal-rest {from}"),
        }
    }
}

/// One damaged stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What giving it up is called.
    pub give_up: GiveUp,
    /// What is wrong where it starts.
    pub damage: Damage,
    /// Bytes it covers.
    pub bytes: u64,
}

/// One segment as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its number.
    pub id: SegmentId,
    /// Bytes of its file.
    pub bytes: u64,
    /// Whole records with content.
    pub records: u64,
    /// Whether its seal was found.
    pub sealed: bool,
}

/// A journal as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Every segment file, ascending.
    pub segments: Vec<SegmentReport>,
    /// Damage, in order. Opening refuses while there is any.
    pub losses: Vec<Loss>,
    /// What opening will cut off as never promised.
    pub torn: Option<Torn>,
    /// Where opening will find the end once the losses are given up; `None` when there is no segment.
    pub end: Option<Position>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for SegmentReport { id, bytes, records, sealed } in &self.segments {
            let end = if *sealed { "sealed" } else { "open" };
            writeln!(f, "segment {id}: {records} records, {bytes} bytes, {end}")?;
        }
        for Loss { give_up, damage, bytes } in &self.losses {
            writeln!(f, "lost: {give_up} ({bytes} bytes): {}", damage.describe())?;
        }
        if let Some(Torn { at, bytes, records }) = self.torn {
            writeln!(f, "torn tail at {at}: {bytes} bytes, {records} valid records, cut when opened")?;
        }
        Ok(())
    }
}

/// What is known so far while the segments are walked.
struct Survey {
    segments: Vec<SegmentReport>,
    holes: Vec<Loss>,
    /// The largest frontier stated by any record.
    frontier: Position,
    /// The last segment was sealed.
    sealed: bool,
    /// The first record behind a hole that a later release wrote.
    unknown: Option<Position>,
}

/// Reads every segment and says what was found. `start` is where opening would start: gaps in the numbering
/// before it are the work of merges.
///
/// # Cost
/// Reads every byte of the journal; writes nothing.
/// # Errors
/// A segment, or a record ([`Damage::Unknown`]), that a later release wrote: nothing of it may be given up here, unless it
/// lies in what opening will cut.
pub fn report(disk: &dyn Disk, start: Option<Position>) -> Result<Report, Error> {
    let ids = segment::list(disk)?;
    let start = start.map(|start| start.segment).or(ids.first().copied()).unwrap_or(SegmentId::FIRST);
    let mut survey =
        Survey { segments: Vec::new(), holes: Vec::new(), frontier: Position::ZERO, sealed: false, unknown: None };
    for id in &ids {
        survey.note_missing(start, *id);
        survey.segment(disk, *id)?;
    }
    if let (true, Some(last)) = (survey.sealed, ids.last()) {
        survey.note_hole(GiveUp::Segment { id: last.next() }, Damage::SegmentMissing, 0);
    }
    survey.conclude(disk, &ids)
}

impl Survey {
    fn note_hole(&mut self, give_up: GiveUp, damage: Damage, bytes: u64) {
        self.holes.push(Loss { give_up, damage, bytes });
    }

    fn note_missing(&mut self, start: SegmentId, id: SegmentId) {
        let expected = self.segments.last().map_or(start, |last| last.id.next()).max(start);
        for missing in expected.0..id.0 {
            self.note_hole(GiveUp::Segment { id: SegmentId(missing) }, Damage::SegmentMissing, 0);
        }
    }

    fn segment(&mut self, disk: &dyn Disk, id: SegmentId) -> Result<(), Error> {
        let path = segment_path(id);
        let bytes = disk.open(&path).and_then(|file| file.size_bytes());
        let bytes = bytes.map_err(|error| Error::io("measure", &path, error))?;
        self.segments.push(SegmentReport { id, bytes, records: 0, sealed: false });
        self.sealed = false;
        match open_or_blank(disk, id) {
            Ok(Some(segment)) => self.records(&segment),
            Ok(None) => Ok(()),
            Err(Error::Corrupt { damage, .. }) => {
                self.note_hole(GiveUp::Segment { id }, damage, bytes);
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    fn records(&mut self, segment: &Segment) -> Result<(), Error> {
        let mut window = Window::new(segment, u64::MAX)?;
        let mut at = segment.first();
        while !self.sealed {
            let damage = match window.record(at.offset)? {
                Ok(record) => {
                    self.frontier = self.frontier.max(record.frontier);
                    self.note_record(record.head.kind);
                    at = at.after(record_bytes(record.body.len() as u32));
                    continue;
                }
                // Not lost: the release that wrote it can read it.
                Err(Damage::Unknown) if self.holes.is_empty() => return Err(unknown(at)),
                Err(damage) => damage,
            };
            if damage == Damage::Unknown {
                self.unknown = self.unknown.or(Some(at));
            }
            let sought = window.seek(at.offset)?;
            let Some(to) = sought.record else {
                self.note_hole(GiveUp::SegmentRest { from: at }, damage, sought.bytes_end - u64::from(at.offset));
                return Ok(());
            };
            self.note_hole(GiveUp::Records { from: at, to }, damage, u64::from(to - at.offset));
            at.offset = to;
        }
        Ok(())
    }

    fn note_record(&mut self, kind: RecordKind) {
        self.sealed = kind == RecordKind::Seal;
        if let Some(segment) = self.segments.last_mut() {
            segment.records += u64::from(kind.is_content());
            segment.sealed = self.sealed;
        }
    }

    /// Parts damage from what opening will cut.
    fn conclude(self, disk: &dyn Disk, ids: &[SegmentId]) -> Result<Report, Error> {
        let Survey { segments, mut holes, frontier, unknown: unknown_at, .. } = self;
        // A missing segment and a damaged header are damage without proof: both were durable before use.
        let proven = |hole: &Loss| hole.give_up.from() < frontier || matches!(hole.give_up, GiveUp::Segment { .. });
        let torn_index = holes.iter().position(|hole| !proven(hole)).unwrap_or(holes.len());
        let torn_at = holes.get(torn_index).map(|hole| hole.give_up.from());
        if let Some(at) = unknown_at.filter(|at| torn_at.is_none_or(|torn_at| *at < torn_at)) {
            return Err(unknown(at));
        }
        let first_of = |segment: &SegmentReport| Position { segment: segment.id, offset: HEADER_BYTES };
        let end = torn_at.or_else(|| segments.last().map(first_of));
        holes.truncate(torn_index);
        let torn = torn_at.map(|at| torn(disk, at, ids)).transpose()?.filter(|torn| torn.bytes > 0);
        Ok(Report { segments, losses: holes, torn, end })
    }
}

fn unknown(at: Position) -> Error {
    Error::Corrupt { file: segment_path(at.segment), offset: u64::from(at.offset), damage: Damage::Unknown }
}

fn torn(disk: &dyn Disk, at: Position, ids: &[SegmentId]) -> Result<Torn, Error> {
    let later: Vec<SegmentId> = ids.iter().copied().filter(|id| at.segment < *id).collect();
    let beyond = Beyond::search(disk, Some(&Segment::open(disk, at.segment)?), at, &later)?;
    Ok(Torn { at, bytes: beyond.bytes, records: beyond.records })
}

/// Gives up exactly what `plan` names, so that the journal opens again without it. `salt` as in
/// [`crate::Options::salt`].
///
/// # Durability
/// What was given up is gone, durably, on return.
/// # Errors
/// `LossNotFound` when the plan names what is not lost, `LossNotNamed` when it leaves out what is; nothing has
/// been changed then.
pub fn salvage(disk: &dyn Disk, start: Option<Position>, plan: &[GiveUp], salt: u64) -> Result<(), Error> {
    let losses = report(disk, start)?.losses;
    check_plan(&losses, plan)?;
    let ids = segment::list(disk)?;
    plan.iter().try_for_each(|give_up| match *give_up {
        GiveUp::Records { from, to } => salvage_records(disk, from, to),
        GiveUp::SegmentRest { from } => salvage_segment_rest(disk, from),
        GiveUp::Segment { id } => salvage_segment(disk, id, salt, ids.last().is_some_and(|last| id < *last)),
        GiveUp::JournalRest { from } => salvage_journal_rest(disk, from, &ids, salt),
    })
}

fn check_plan(losses: &[Loss], plan: &[GiveUp]) -> Result<(), Error> {
    let rest = plan.iter().find(|give_up| matches!(give_up, GiveUp::JournalRest { .. })).map(|rest| rest.from());
    for give_up in plan {
        let is_rest = matches!(give_up, GiveUp::JournalRest { .. });
        let names_loss =
            losses.iter().any(|loss| loss.give_up == *give_up || is_rest && loss.give_up.from() == give_up.from());
        let covered = !is_rest && rest.is_some_and(|rest| rest <= give_up.from());
        if !names_loss || covered {
            return Err(Error::LossNotFound { give_up: *give_up });
        }
    }
    let named = |loss: &&Loss| plan.contains(&loss.give_up) || rest.is_some_and(|rest| rest <= loss.give_up.from());
    match losses.iter().find(|loss| !named(loss)) {
        Some(loss) => Err(Error::LossNotNamed { give_up: loss.give_up }),
        None => Ok(()),
    }
}

/// Writes a record of the journal's own and makes it durable.
fn put(segment: &Segment, at: Position, kind: RecordKind, body: &[u8]) -> Result<(), Error> {
    let head = PreparedHead::new(&own_head(kind, TimeMs(0)), body, Position::ZERO).place(segment.salt, at);
    let path = segment_path(segment.id);
    let written = segment.file.write_at(u64::from(at.offset), &head);
    written.map_err(|error| Error::space_or_io("write", &path, error))?;
    segment.file.sync_data().map_err(|source| Error::SyncFailed { file: path, source })
}

/// Turns the hole into one gap record: a new head, the rest as it is.
fn salvage_records(disk: &dyn Disk, from: Position, to: u32) -> Result<(), Error> {
    let segment = Segment::open(disk, from.segment)?;
    let first = from.after(HEAD_BYTES);
    assert!(first.offset <= to, "a hole holds at least the head that was there");
    let mut window = Window::new(&segment, u64::from(to))?;
    let body = window.from(u64::from(first.offset), (to - first.offset) as usize)?.to_vec();
    put(&segment, from, RecordKind::Gap, &body)
}

fn salvage_segment_rest(disk: &dyn Disk, from: Position) -> Result<(), Error> {
    let segment = Segment::open(disk, from.segment)?;
    cut(&segment, from)?;
    put(&segment, from, RecordKind::Seal, &[])
}

/// Puts an empty segment in its place: complete when others follow, the active one when none does.
fn salvage_segment(disk: &dyn Disk, id: SegmentId, salt: u64, followed: bool) -> Result<(), Error> {
    let segment = Segment::create(disk, id, salt, u64::from(HEADER_BYTES + HEAD_BYTES))?;
    if followed { put(&segment, segment.first(), RecordKind::Seal, &[]) } else { Ok(()) }
}

fn salvage_journal_rest(disk: &dyn Disk, from: Position, ids: &[SegmentId], salt: u64) -> Result<(), Error> {
    for id in ids.iter().rev().filter(|id| from.segment < **id) {
        let path = segment_path(*id);
        disk.remove(&path).map_err(|error| Error::io("remove", &path, error))?;
    }
    let synced = disk.sync_dir(JOURNAL_DIR);
    synced.map_err(|source| Error::SyncFailed { file: JOURNAL_DIR.to_owned(), source })?;
    if from.offset < HEADER_BYTES {
        return salvage_segment(disk, from.segment, salt, false);
    }
    let segment = Segment::open(disk, from.segment)?;
    cut(&segment, from)?;
    segment.file.sync_data().map_err(|source| Error::SyncFailed { file: segment_path(from.segment), source })
}
