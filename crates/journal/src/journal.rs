//! The journal: appending, and getting appended bytes into the page cache.
//!
//! ```text
//! many threads ── append ──► tail buffer ── write_through ──► page cache ── flusher ──► device
//!                    │            │ tail                          │ written        │ durable
//!                    └ checksums outside the lock, one copy under it
//! ```
//!
//! # Invariants
//! - `durable <= written <= tail`, each only ever grows.
//! - Records lie in the order in which `append` returned their places; there are no holes between them.
//! - Bytes are in the page cache before anybody is answered: `write_through` or `poll_durable` first.
//! - Locks are taken in the order `prepare`, `syncing`, `writer`, `tail`; the hot path takes `tail` alone.
//! - No byte is written past allocated space.
//!
//! # Limits, and why
//! - A device without allocation ahead of writing (copy-on-write file systems) can run out of space on a write.
//!   The bytes are then kept and tried again; whoever waits for them gets [`Error::Full`], and the outcome of
//!   those records is unknown until space returns or the process ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use env::{Clock, Disk};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::catalog::{Catalog, SegmentInfo};
use crate::error::Error;
use crate::flush::Pace;
use crate::position::{Position, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SegmentId};
use crate::record::{BODY_BYTES_MAX, HEAD_BYTES, PreparedHead, RecordHead, RecordKind, record_bytes};
use crate::recover::{self, NewSegments, Recovered, Replay};
use crate::segment::{Segment, segment_path};
use crate::sync_times::SyncClock;
use crate::tail::{Place, RECORD_BUFFERED_BYTES_MAX, Reserve, Tail, Writer, capacity_for, own_head, write_error};
use crate::waiters::Waiters;

/// When appended bytes are synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SyncMode {
    /// As soon as somebody waits for it: an acknowledged write survives power loss.
    Always = 0,
    /// Once a second: power loss costs at most about a second.
    EverySec = 1,
    /// When the operating system likes, at rotation, at close, and when asked to.
    Os = 2,
}

impl SyncMode {
    fn from_u8(byte: u8) -> SyncMode {
        match byte {
            0 => SyncMode::Always,
            1 => SyncMode::EverySec,
            _ => SyncMode::Os,
        }
    }
}

/// What a journal is opened with. Deliberately not `Default`.
pub struct Options {
    /// Bytes of a new segment, [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u32,
    /// When appended bytes are synced.
    pub sync: SyncMode,
    /// Random, from [`env::Entropy`], at each opening: goes into the checksums of segments created from now on,
    /// so that nobody who stores values can make them look like records.
    pub salt: u64,
    /// The time of marks and the pace of the flusher.
    pub clock: Arc<dyn Clock>,
    /// Called once with what the journal stops for: a failed sync or write, or what [`Journal::stop`] was given. The
    /// real one ends the process; should it return, the journal has stopped.
    pub fatal: Box<dyn Fn(&Error) + Send + Sync>,
}

/// Where an appended record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its first byte: what an index keeps.
    pub start: Position,
    /// The byte after it: what to wait for.
    pub end: Position,
}

/// The journal of one node.
pub struct Journal {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    fatal: Box<dyn Fn(&Error) + Send + Sync>,
    new_segments: NewSegments,
    sync_mode: AtomicU8,
    pub(crate) stopped: AtomicBool,
    /// What is in flight could not be written for want of space.
    pub(crate) stuck: AtomicBool,
    /// The device had no space when last asked; appends do not ask again.
    pub(crate) full: AtomicBool,
    tail_at: AtomicU64,
    written_at: AtomicU64,
    pub(crate) durable_at: AtomicU64,
    /// End of the last record that is not a mark: what is worth syncing.
    content_end: AtomicU64,
    prepare: Mutex<()>,
    pub(crate) syncing: Mutex<()>,
    pub(crate) sync_clock: SyncClock,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) tail: Mutex<Tail>,
    pub(crate) catalog: Catalog,
    pub(crate) waiters: Waiters,
    pub(crate) pace: Mutex<Pace>,
    pub(crate) wake: Condvar,
}

impl Journal {
    /// Opens the journal below `disk`, or creates it, and hands every record from `start` on (`None`: from the
    /// oldest segment's first) to `replay`, in order.
    ///
    /// `start` must have been durable when it was noted down: it is where [`Journal::durable`] or earlier was.
    ///
    /// # Durability
    /// Every replayed record is durable on return.
    /// # Errors
    /// `Corrupt` names the file and offset, and nothing has been changed. After an error of `replay` likewise.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        start: Option<Position>,
        replay: &mut dyn Replay,
    ) -> Result<(Arc<Journal>, Recovered), Error> {
        assert!(SEGMENT_BYTES_MIN <= options.segment_bytes, "segments have a smallest size");
        assert!(options.segment_bytes <= SEGMENT_BYTES_MAX, "segments have a largest size");
        let new_segments = NewSegments { salt: options.salt, bytes: options.segment_bytes };
        let opened = recover::open(&*disk, new_segments, start, replay)?;
        let at = opened.recovered.tail;
        let capacity = allocated(&opened.active)?;
        let tail = Tail::new(Arc::clone(&opened.active), at, capacity, opened.last_is_mark, options.segment_bytes);
        let journal = Journal {
            catalog: Catalog::new(&opened.sealed, &opened.active),
            writer: Mutex::new(Writer::new(opened.active, at)),
            tail: Mutex::new(tail),
            disk,
            pace: Mutex::new(Pace::new(options.clock.monotonic_ns())),
            clock: options.clock,
            fatal: options.fatal,
            new_segments,
            sync_mode: AtomicU8::new(options.sync as u8),
            stopped: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            full: AtomicBool::new(false),
            tail_at: AtomicU64::new(at.to_raw()),
            written_at: AtomicU64::new(at.to_raw()),
            durable_at: AtomicU64::new(at.to_raw()),
            content_end: AtomicU64::new(at.to_raw()),
            prepare: Mutex::new(()),
            syncing: Mutex::new(()),
            sync_clock: SyncClock::default(),
            waiters: Waiters::default(),
            wake: Condvar::new(),
        };
        Ok((Arc::new(journal), opened.recovered))
    }

    /// Appends one record and returns its place. `head.kind` must be one with content.
    ///
    /// # Durability
    /// None yet, not even against the end of the process: see [`Journal::write_through`] and
    /// [`Journal::poll_durable`].
    /// # Order
    /// Of two calls, the one that returned first lies first. Callers hold their partition's lock across it.
    /// # Cost
    /// Two checksums, then one copy under a lock. No system call and no allocation unless the buffer
    /// ([`crate::TAIL_BYTES_MAX`]) or the segment is used up or the record is a large one.
    /// # Errors
    /// Nothing was appended. `Full` heals by itself; records with [`Reserve::Use`] get it later than others. One with
    /// [`Reserve::Applied`] takes its place in memory instead, and [`Journal::write_through`] tells that it is not
    /// written until there is space. Who has a choice asks [`Journal::ensure_room`] first.
    pub fn append(&self, head: &RecordHead, body: &[u8], reserve: Reserve) -> Result<Appended, Error> {
        assert!(head.kind.is_content(), "marks and seals are the journal's own");
        if (BODY_BYTES_MAX as usize) < body.len() {
            return Err(Error::RecordTooLarge { body_bytes: body.len() as u64 });
        }
        let bytes = record_bytes(body.len() as u32);
        let prepared = PreparedHead::new(head, body, self.durable());
        if RECORD_BUFFERED_BYTES_MAX < bytes {
            return self.append_direct(prepared, head.kind, [body, &[]], reserve);
        }
        loop {
            self.refuse_when_stopped()?;
            let mut tail = self.tail.lock();
            let place = tail.place(bytes, head.kind, reserve);
            if place == Place::Here {
                let start = tail.push(prepared, head.kind, body);
                self.note_appended(start.after(bytes));
                return Ok(Appended { start, end: start.after(bytes) });
            }
            drop(tail);
            match self.make_room(place, bytes, head.kind, reserve) {
                Err(Error::Full) if reserve == Reserve::Applied => {
                    if let Some(start) = self.append_beyond(prepared, head.kind, body) {
                        return Ok(Appended { start, end: start.after(bytes) });
                    }
                }
                made => made?,
            }
        }
    }

    /// As [`Journal::append`] of a record whose body is `front` and then `back`, which may lie where it is also kept: a
    /// large record is not put together in memory.
    pub fn append_parts(&self, head: &RecordHead, body: [&[u8]; 2], reserve: Reserve) -> Result<Appended, Error> {
        assert!(head.kind.is_content(), "marks and seals are the journal's own");
        let body_bytes = body[0].len() + body[1].len();
        if (BODY_BYTES_MAX as usize) < body_bytes {
            return Err(Error::RecordTooLarge { body_bytes: body_bytes as u64 });
        }
        if record_bytes(body_bytes as u32) <= RECORD_BUFFERED_BYTES_MAX {
            return self.append(head, &body.concat(), reserve);
        }
        let prepared = PreparedHead::of_parts(head, body, self.durable());
        self.append_direct(prepared, head.kind, body, reserve)
    }

    /// Has room for an ordinary record of about `bytes` in all, if the device has. Another may take it before it is
    /// used: for large records, whose place is worth asking for before their effects are applied.
    ///
    /// # Errors
    /// `Full`: such a record would be refused.
    pub fn ensure_room(&self, bytes: u32) -> Result<(), Error> {
        let kind = RecordKind::Batch;
        loop {
            self.refuse_when_stopped()?;
            let place = self.tail.lock().place(bytes, kind, Reserve::Keep);
            match place {
                Place::Here | Place::BufferFull => return Ok(()),
                place => self.make_room(place, bytes, kind, Reserve::Keep)?,
            }
        }
    }

    /// Places a record behind what is allocated: it waits in memory for the device to have space. `None` when it has
    /// room after all, or lies further than positions reach.
    fn append_beyond(&self, prepared: PreparedHead, kind: RecordKind, body: &[u8]) -> Option<Position> {
        let mut tail = self.tail.lock();
        let start = tail.push_beyond(prepared, kind, body)?;
        self.full.store(true, Ordering::Relaxed);
        self.note_appended(start.after(record_bytes(body.len() as u32)));
        Some(start)
    }

    /// Returns once every byte before `end` is in the page cache, so that it outlives the process.
    ///
    /// # Cost
    /// One atomic load when somebody else has written past `end`; else one write of all that is buffered,
    /// everybody's.
    /// # Errors
    /// `Full` only where writing into allocated space can run out of it: the outcome is unknown.
    pub fn write_through(&self, end: Position) -> Result<(), Error> {
        if end <= self.written() {
            return Ok(());
        }
        self.refuse_when_stopped()?;
        let mut writer = self.writer.lock();
        if end <= self.written() {
            return Ok(());
        }
        self.write_buffered(&mut writer)?;
        assert!(end <= self.written(), "everything appended has been written");
        Ok(())
    }

    /// Where the next record goes.
    pub fn tail(&self) -> Position {
        Position::from_raw(self.tail_at.load(Ordering::Acquire))
    }

    /// Everything before this is in the page cache.
    pub fn written(&self) -> Position {
        Position::from_raw(self.written_at.load(Ordering::Acquire))
    }

    /// Everything before this is on the device.
    pub fn durable(&self) -> Position {
        Position::from_raw(self.durable_at.load(Ordering::Acquire))
    }

    /// End of the last record with content. Behind it there may be a mark, which no sync is made for.
    pub fn content_end(&self) -> Position {
        Position::from_raw(self.content_end.load(Ordering::Acquire))
    }

    /// When appended bytes are synced.
    pub fn sync_mode(&self) -> SyncMode {
        SyncMode::from_u8(self.sync_mode.load(Ordering::Relaxed))
    }

    /// Changes when appended bytes are synced, from the flusher's next turn on.
    pub fn set_sync_mode(&self, mode: SyncMode) {
        self.sync_mode.store(mode as u8, Ordering::Relaxed);
        self.request_sync();
    }

    /// All segments, ascending. The last one is the active one.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.catalog.list(u64::from(self.written().offset))
    }

    /// Removes a segment that the caller has proved dead: nothing points into it and every checkpoint starts
    /// after it. Readers that are at it finish.
    ///
    /// # Durability
    /// After a crash the segment may be there again.
    /// # Errors
    /// `SegmentInUse` for the active segment and those not durable yet.
    pub fn remove_segment(&self, id: SegmentId) -> Result<(), Error> {
        if self.durable().segment <= id && id <= self.tail().segment {
            return Err(Error::SegmentInUse { id });
        }
        self.catalog.remove(id)?;
        Catalog::delete(&*self.disk, id)
    }

    /// Whether the device had no space for the next segment when last asked. One relaxed load.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Whether a record of `bytes` in all that frees space still finds a place on the device, the reserve included.
    pub fn has_reserve(&self, bytes: u32) -> bool {
        let tail = self.tail.lock();
        tail.next.is_some() || tail.place(bytes, RecordKind::Batch, Reserve::Use) != Place::NoRoom
    }

    /// Writes what is in flight and what is buffered.
    pub(crate) fn write_buffered(&self, writer: &mut Writer) -> Result<(), Error> {
        self.write_in_flight(writer)?;
        writer.take(&mut self.tail.lock());
        self.write_in_flight(writer)
    }

    fn write_in_flight(&self, writer: &mut Writer) -> Result<(), Error> {
        let end = writer.end();
        match writer.write() {
            Ok(()) => {
                self.stuck.store(false, Ordering::Release);
                assert!(self.written() <= end, "the written frontier only grows");
                self.written_at.store(end.to_raw(), Ordering::Release);
                Ok(())
            }
            Err(error) => Err(self.write_refused(writer.at.segment, error)),
        }
    }

    fn write_refused(&self, id: SegmentId, source: std::io::Error) -> Error {
        if crate::error::is_space(&source) {
            self.stuck.store(true, Ordering::Release);
            self.full.store(true, Ordering::Relaxed);
            self.waiters.wake_all();
            return Error::Full;
        }
        self.stop(Error::WriteFailed { file: segment_path(id), source })
    }

    /// Stops the journal for good, after which nothing is appended or synced, and returns what later callers get. Also
    /// for what happens beside it: a failed sync of another file, damage met in the middle of a batch.
    pub fn stop(&self, reason: Error) -> Error {
        if !self.stopped.swap(true, Ordering::AcqRel) {
            (self.fatal)(&reason);
        }
        self.waiters.wake_all();
        Error::Stopped
    }

    pub(crate) fn refuse_when_stopped(&self) -> Result<(), Error> {
        if self.stopped.load(Ordering::Acquire) { Err(Error::Stopped) } else { Ok(()) }
    }

    #[inline]
    fn note_appended(&self, end: Position) {
        self.tail_at.store(end.to_raw(), Ordering::Release);
        self.content_end.store(end.to_raw(), Ordering::Release);
    }

    /// Appends a mark when the last record is not one, so that what was synced is known to have been.
    pub(crate) fn append_mark(&self) -> bool {
        let head = own_head(RecordKind::Mark, self.clock.wall_ms());
        let prepared = PreparedHead::new(&head, &[], self.durable());
        let mut tail = self.tail.lock();
        if tail.last_is_mark || tail.place(HEAD_BYTES, head.kind, Reserve::Use) != Place::Here {
            return false;
        }
        let start = tail.push(prepared, head.kind, &[]);
        self.tail_at.store(start.after(HEAD_BYTES).to_raw(), Ordering::Release);
        true
    }

    fn append_direct(
        &self,
        prepared: PreparedHead,
        kind: RecordKind,
        body: [&[u8]; 2],
        reserve: Reserve,
    ) -> Result<Appended, Error> {
        let bytes = record_bytes((body[0].len() + body[1].len()) as u32);
        loop {
            self.refuse_when_stopped()?;
            let mut writer = self.writer.lock();
            self.write_buffered(&mut writer)?;
            let mut tail = self.tail.lock();
            // Somebody may have appended since; then what precedes this record is written first.
            self.write_in_flight_of(&mut writer, &mut tail)?;
            match tail.place(bytes, kind, reserve) {
                Place::Here | Place::BufferFull => {}
                place => {
                    drop(tail);
                    drop(writer);
                    match self.make_room(place, bytes, kind, reserve) {
                        Err(Error::Full) if reserve == Reserve::Applied => {
                            if let Some(start) = self.append_beyond(prepared, kind, &body.concat()) {
                                return Ok(Appended { start, end: start.after(bytes) });
                            }
                        }
                        made => made?,
                    }
                    continue;
                }
            }
            let start = tail.reserve_place(bytes);
            let end = start.after(bytes);
            let placed = prepared.place(tail.segment.salt, start);
            self.note_appended(end);
            drop(tail);
            return match writer.write_direct(start, &placed, body) {
                Ok(()) => {
                    self.written_at.store(end.to_raw(), Ordering::Release);
                    Ok(Appended { start, end })
                }
                Err(error) => match self.write_refused(start.segment, error) {
                    // It has its place and is in flight: waiting for it tells.
                    Error::Full => Ok(Appended { start, end }),
                    fatal => Err(fatal),
                },
            };
        }
    }

    /// Writes the few bytes that arrived since [`Journal::write_buffered`], with appenders locked out.
    fn write_in_flight_of(&self, writer: &mut Writer, tail: &mut MutexGuard<'_, Tail>) -> Result<(), Error> {
        writer.take(tail);
        let end = writer.end();
        match writer.write() {
            Ok(()) => {
                self.written_at.store(end.to_raw(), Ordering::Release);
                Ok(())
            }
            Err(error) => MutexGuard::unlocked(tail, || Err(self.write_refused(writer.at.segment, error))),
        }
    }

    /// Does what stands between a record of `bytes` and its place; the caller then looks again.
    fn make_room(&self, place: Place, bytes: u32, kind: RecordKind, reserve: Reserve) -> Result<(), Error> {
        match place {
            Place::Here => Ok(()),
            Place::BufferFull => self.write_through(self.tail()),
            Place::NeedsNext => self.prepare_next(&self.prepare.lock()).map(drop),
            Place::NoRoom => self.rotate(bytes, kind, reserve),
        }
    }

    /// Has the next segment ready before it is needed. The flusher's duty; appenders do it when it is late.
    pub(crate) fn prepare_ahead(&self) -> Result<(), Error> {
        let prepare = self.prepare.lock();
        self.full.store(false, Ordering::Relaxed);
        self.prepare_next(&prepare).map(drop)
    }

    fn prepare_next(&self, _prepare: &MutexGuard<'_, ()>) -> Result<Arc<Segment>, Error> {
        let id = {
            let tail = self.tail.lock();
            if let Some(next) = &tail.next {
                return Ok(Arc::clone(next));
            }
            if self.is_full() {
                return Err(Error::Full);
            }
            tail.segment.id.next()
        };
        let NewSegments { salt, bytes } = self.new_segments;
        match Segment::create(&*self.disk, id, salt, u64::from(bytes)) {
            Ok(next) => {
                let next = Arc::new(next);
                self.tail.lock().next = Some(Arc::clone(&next));
                Ok(next)
            }
            Err(Error::Full) => {
                self.full.store(true, Ordering::Relaxed);
                Err(Error::Full)
            }
            Err(fatal) if fatal.is_fatal() => Err(self.stop(fatal)),
            Err(error) => Err(error),
        }
    }

    /// Removes the segment prepared ahead, which holds nothing.
    pub(crate) fn discard_next(&self) -> Result<(), Error> {
        let _prepare = self.prepare.lock();
        let next = self.tail.lock().next.take();
        next.map_or(Ok(()), |next| Catalog::delete(&*self.disk, next.id))
    }

    /// Makes a place for a record of `bytes` that the active segment has no room for: in the next segment, or
    /// by making a fresh one as large as the record needs.
    fn rotate(&self, bytes: u32, kind: RecordKind, reserve: Reserve) -> Result<(), Error> {
        let prepare = self.prepare.lock();
        {
            let mut tail = self.tail.lock();
            if tail.place(bytes, kind, reserve) != Place::NoRoom {
                return Ok(());
            }
            if tail.is_fresh() {
                return extend(&mut tail, capacity_for(bytes));
            }
        }
        let next = self.prepare_next(&prepare)?;
        let mut writer = self.writer.lock();
        self.write_buffered(&mut writer)?;
        let mut tail = self.tail.lock();
        self.write_in_flight_of(&mut writer, &mut tail)?;
        self.seal(&mut writer, &mut tail, next)
    }

    /// Ends the active segment and moves on to `next`; everything appended is written.
    fn seal(&self, writer: &mut Writer, tail: &mut MutexGuard<'_, Tail>, next: Arc<Segment>) -> Result<(), Error> {
        let at = tail.at();
        let head = own_head(RecordKind::Seal, self.clock.wall_ms());
        let placed = PreparedHead::new(&head, &[], self.durable()).place(tail.segment.salt, at);
        // Only a segment cut on a full device is without room for its seal.
        if tail.capacity < at.offset + HEAD_BYTES {
            extend(tail, at.offset + HEAD_BYTES)?;
        }
        if let Err(source) = tail.segment.file.write_at(u64::from(at.offset), &placed) {
            let error = write_error(&tail.segment, source);
            return Err(if error.is_fatal() { MutexGuard::unlocked(tail, || self.stop(error)) } else { error });
        }
        tail.next = None;
        let sealed = tail.segment.id;
        let capacity = self.new_segments.bytes;
        self.catalog.seal(sealed, u64::from(at.offset + HEAD_BYTES));
        self.catalog.activate(&next);
        tail.rotate(next, capacity);
        writer.take(tail);
        let first = tail.at().to_raw();
        self.tail_at.store(first, Ordering::Release);
        self.written_at.store(first, Ordering::Release);
        self.request_sync();
        Ok(())
    }
}

/// Takes space up to `capacity` for the active segment.
fn extend(tail: &mut Tail, capacity: u32) -> Result<(), Error> {
    let allocated = tail.segment.file.allocate(u64::from(capacity));
    allocated.map_err(|error| Error::space_or_io("allocate", &segment_path(tail.segment.id), error))?;
    tail.capacity = tail.capacity.max(capacity);
    Ok(())
}

fn allocated(segment: &Segment) -> Result<u32, Error> {
    let bytes = segment.file.size_bytes().map_err(|error| Error::io("measure", &segment_path(segment.id), error))?;
    Ok(bytes.min(u64::from(u32::MAX)) as u32)
}
