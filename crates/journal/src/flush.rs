//! The flusher: one thread that syncs for everybody, keeps the next segment ready and states the frontier.
//!
//! A turn, in this order:
//! 1. Sync, when it is due: everything appended by anybody is written and synced once, and whoever waits for
//!    any of it is woken. While that takes its time, the next group gathers, and is given a moment more for those
//!    just woken to join it: see [`Journal::run_flusher`].
//! 2. Have the next segment ready; after a refusal for want of space, ask again each [`RETRY_MS`].
//! 3. After [`MARK_MS`] without anything new, write a mark that states the frontier.
//!
//! # Invariants
//! - `durable` moves only after every file with bytes before it has been synced.
//! - After a failed sync no other is attempted (Rebello et al., ATC '20).
//! - Only this thread and `close` sync; the path of a request never does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::Error;
use crate::journal::{Journal, SyncMode};
use crate::position::Position;
use crate::segment::{Segment, segment_path};
use crate::waiters::Registered;

/// Between two syncs in [`SyncMode::EverySec`], and the longest the flusher sleeps.
pub const SYNC_INTERVAL_MS: u64 = 1000;
/// Between two attempts to get space for the next segment.
pub const RETRY_MS: u64 = 250;
/// Quiet time after which the frontier is stated by a mark.
pub const MARK_MS: u64 = 100;

/// The longest that a sync waits for more to share it. Who has gone for good costs the others this once.
const GATHER_US_MAX: u64 = 2000;

const NS_PER_US: u64 = 1000;
const NS_PER_MS: u64 = 1_000_000;

/// What the flusher has done when, and what it has been asked for.
pub(crate) struct Pace {
    requested: bool,
    synced_ns: u64,
    /// How long the last sync took.
    sync_took_ns: u64,
    prepared_ns: Option<u64>,
}

impl Pace {
    pub(crate) fn new(now_ns: u64) -> Pace {
        Pace { requested: false, synced_ns: now_ns, sync_took_ns: 0, prepared_ns: None }
    }
}

impl Journal {
    /// Asks the flusher for a sync of everything appended so far. Returns at once.
    pub fn request_sync(&self) {
        self.request(Registered::Early);
    }

    /// The flusher is woken for the first request, which it may let others gather to, and for the last expected one.
    fn request(&self, registered: Registered) {
        let mut pace = self.pace.lock();
        let is_first = !std::mem::replace(&mut pace.requested, true);
        if is_first || registered == Registered::GroupComplete {
            self.wake.notify_one();
        }
    }

    /// Ready once every record with content before `end` is on the device. In [`SyncMode::Always`] asking is enough; in the
    /// other modes it comes with the next sync, see [`Journal::request_sync`].
    ///
    /// # Errors
    /// `Stopped` when it never will; `Full` while it cannot be written: in both cases the outcome is unknown.
    pub fn poll_durable(&self, end: Position, ctx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let settled = self.settled(end);
        if settled.is_ready() {
            self.waiters.wake_reached();
            return settled;
        }
        match self.waiters.register(end, ctx.waker(), || self.settled(end).is_ready()) {
            Registered::Done => return self.settled(end),
            registered if self.sync_mode() == SyncMode::Always => self.request(registered),
            Registered::Early | Registered::GroupComplete => {}
        }
        Poll::Pending
    }

    fn settled(&self, end: Position) -> Poll<Result<(), Error>> {
        // Marks behind the last content need not be durable, and nothing would make them so.
        let end = end.min(self.content_end());
        if end <= self.durable() {
            return Poll::Ready(Ok(()));
        }
        if self.stopped.load(Ordering::Acquire) {
            return Poll::Ready(Err(Error::Stopped));
        }
        // The in-flight bytes keep their place; nothing before them can have failed alone.
        if self.stuck.load(Ordering::Acquire) && self.written() < end {
            return Poll::Ready(Err(Error::Full));
        }
        Poll::Pending
    }

    /// Flushes until the journal is closed or stops. Belongs on a thread of its own, and only one.
    ///
    /// Before a sync it lets the writers of the last group come back, for at most as long as the last sync took and at
    /// most `GATHER_US_MAX`. Without that the first of them, back while the others are still being woken, would have
    /// a sync nearly to itself, the others would wait for the one after it, and every write would take two.
    pub fn run_flusher(&self) {
        while self.refuse_when_stopped().is_ok() {
            self.gather();
            // By now they have woken each other, unless the first of them is gone.
            self.waiters.wake_reached();
            // Want of space and refusals of the system reach whoever appends; here the next turn tries again.
            let pause = self.turn().unwrap_or(Duration::from_millis(RETRY_MS));
            let pause = if self.waiters.has_reached() { Duration::from_micros(GATHER_US_MAX) } else { pause };
            let mut pace = self.pace.lock();
            if !pace.requested && self.refuse_when_stopped().is_ok() {
                self.wake.wait_for(&mut pace, pause);
            }
        }
    }

    fn gather(&self) {
        let mut pace = self.pace.lock();
        let start_ns = self.clock.monotonic_ns();
        while pace.requested && self.waiters.is_gathering() {
            let waited_ns = self.clock.monotonic_ns().saturating_sub(start_ns);
            let patience_ns = pace.sync_took_ns.min(GATHER_US_MAX * NS_PER_US);
            let Some(left_ns @ 1..) = patience_ns.checked_sub(waited_ns) else { return };
            self.wake.wait_for(&mut pace, Duration::from_nanos(left_ns));
        }
    }

    /// One turn of the flusher: what is due now. Returns how long nothing will be, unless asked for.
    ///
    /// For a simulation that has no threads; everybody else calls [`Journal::run_flusher`].
    pub fn flusher_turn(&self) -> Result<Duration, Error> {
        let pause = self.turn();
        self.waiters.wake_reached();
        pause
    }

    fn turn(&self) -> Result<Duration, Error> {
        let now_ns = self.clock.monotonic_ns();
        if self.sync_is_due(now_ns) {
            self.pace.lock().synced_ns = now_ns;
            self.sync_reach()?;
            self.pace.lock().sync_took_ns = self.clock.monotonic_ns().saturating_sub(now_ns);
        }
        if self.prepare_is_due(now_ns) {
            self.prepare_ahead()?;
        }
        let marked = self.mark_when_idle(now_ns)?;
        Ok(Duration::from_millis(if marked { SYNC_INTERVAL_MS } else { MARK_MS }))
    }

    fn sync_is_due(&self, now_ns: u64) -> bool {
        let (requested, elapsed_ns) = {
            let mut pace = self.pace.lock();
            (std::mem::take(&mut pace.requested), now_ns.saturating_sub(pace.synced_ns))
        };
        if !self.tail.lock().unsynced.is_empty() {
            return true;
        }
        let by_time = self.sync_mode() == SyncMode::EverySec && SYNC_INTERVAL_MS * NS_PER_MS <= elapsed_ns;
        self.durable() < self.content_end() && (requested || by_time)
    }

    fn prepare_is_due(&self, now_ns: u64) -> bool {
        {
            let tail = self.tail.lock();
            if tail.next.is_some() && !self.is_full() {
                return false;
            }
        }
        let mut pace = self.pace.lock();
        let due = pace.prepared_ns.is_none_or(|last_ns| RETRY_MS * NS_PER_MS <= now_ns.saturating_sub(last_ns));
        if due {
            pace.prepared_ns = Some(now_ns);
        }
        due
    }

    /// Whether there is nothing left to state.
    fn mark_when_idle(&self, now_ns: u64) -> Result<bool, Error> {
        if self.durable() < self.content_end() || self.tail.lock().last_is_mark {
            return Ok(true);
        }
        if now_ns.saturating_sub(self.pace.lock().synced_ns) < MARK_MS * NS_PER_MS {
            return Ok(false);
        }
        self.append_mark();
        self.write_buffered(&mut self.writer.lock())?;
        Ok(true)
    }

    /// Writes and syncs everything appended so far, and wakes whoever waits for it.
    ///
    /// # Cost
    /// One `fdatasync`, and one for each segment completed since the last.
    /// # Errors
    /// A failed sync has been given to the fatal hook, and the journal has stopped.
    pub fn sync(&self) -> Result<(), Error> {
        let synced = self.sync_reach();
        self.waiters.wake_reached();
        synced
    }

    fn sync_reach(&self) -> Result<(), Error> {
        let _one = self.syncing.lock();
        self.refuse_when_stopped()?;
        let (sealed, active, end) = {
            let mut writer = self.writer.lock();
            self.write_buffered(&mut writer)?;
            // Rotation needs the writer: the segments and the frontier belong together.
            let mut tail = self.tail.lock();
            (std::mem::take(&mut tail.unsynced), Arc::clone(&tail.segment), self.written())
        };
        for (segment, _) in &sealed {
            self.sync_segment(segment)?;
        }
        self.sync_segment(&active)?;
        self.advance_durable(end);
        for (segment, end) in &sealed {
            trim(segment, *end);
        }
        Ok(())
    }

    fn sync_segment(&self, segment: &Segment) -> Result<(), Error> {
        if crate::planted::skips_sync() {
            return Ok(());
        }
        let start_ns = self.clock.monotonic_ns();
        let synced = segment.file.sync_data();
        self.sync_clock.note(self.clock.monotonic_ns().saturating_sub(start_ns));
        synced.map_err(|source| self.stop(Error::SyncFailed { file: segment_path(segment.id), source }))
    }

    fn advance_durable(&self, end: Position) {
        let before = Position::from_raw(self.durable_at.swap(end.to_raw(), Ordering::AcqRel));
        assert!(before <= end, "the durable frontier only grows");
        self.waiters.reach(end);
        self.waiters.wake_first();
    }

    /// Syncs everything, states that it did, and ends the journal: appending is refused from now on, reading
    /// is not.
    ///
    /// # Durability
    /// Everything appended before the call is durable, and a later change to any of it is detected.
    pub fn close(&self) -> Result<(), Error> {
        self.sync()?;
        if self.append_mark() {
            self.sync()?;
        }
        self.stopped.store(true, Ordering::Release);
        self.waiters.wake_all();
        self.request_sync();
        self.discard_next()
    }
}

/// Gives back what a sealed segment did not use. A refusal costs that space, nothing else depends on it.
fn trim(segment: &Segment, end: u32) {
    segment.file.truncate(u64::from(end)).ok();
}
