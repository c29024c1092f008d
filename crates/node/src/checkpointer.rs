//! Checkpoints of every partition while it keeps serving, and the journal segments they let go.
//!
//! ```text
//! for each partition: note version and tail ─► buckets, a few per lock, large values in pieces ─► file.tmp, synced
//! journal synced ─► all files renamed ─► directory synced ─► segments nobody needs removed
//! ```
//!
//! A segment goes when it lies before the start of every checkpoint, no checkpoint may point into it, and no entry
//! does now. The second condition is not implied by the third: replay may need the value a key had when its
//! checkpoint was written, to change it in place.
//!
//! Invariants: a checkpoint is renamed only when everything it points at is durable; at most one cycle runs.

use crate::node::Node;
use crate::open::{CHECKPOINT_DIR, checkpoint_path, draft_path, live_segments};
use base::{PartitionId, TimeMs, Version};
use env::File;
use journal::{Position, SegmentId};
use keyspace::PHYSICAL_DB_COUNT;
use keyspace::checkpoint::{BlockWriter, Header};
use keyspace::pieces::PieceLimits;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Buckets encoded under one lock: some two hundred entries, some tens of microseconds.
const BUCKETS_PER_LOCK: usize = 32;
/// Bytes of values without a home that are written into the journal under one lock; a bucket is not divided.
const HOME_BYTES_PER_LOCK: u64 = 64 << 10;
/// Bytes of a block, and of a write. What the buffer takes stays with the allocator between checkpoints.
const BLOCK_BYTES: usize = 64 << 10;
const WRITE_BYTES: usize = 64 << 10;
/// How often the housekeeper looks whether there is something to do.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Looks without a write after which nobody is held up by a checkpoint, and the tail that is then worth one: the next
/// start is faster for it. Where the last cycle wrote much, it is worth one only in proportion.
const QUIET_LOOKS: u32 = 10;
const QUIET_TAIL_BYTES: u64 = 4 << 20;
const QUIET_WRITTEN_DIVISOR: u64 = 16;

/// What is known of the checkpoints on disk.
pub(crate) struct Checkpoints {
    state: Mutex<State>,
    /// Journal bytes that call for the next cycle, and that call for it once nobody writes.
    tail_bytes_due: AtomicU64,
    tail_bytes_due_quiet: AtomicU64,
    tail_bytes_min: u64,
    pieces: PieceLimits,
    finished: AtomicI64,
}

struct State {
    headers: Vec<Option<Header>>,
    /// Segments that each partition's checkpoint may point into.
    pinned: Vec<Vec<u32>>,
    /// Tail at the start of the last cycle.
    tail: Position,
}

/// Bytes that a cycle wrote.
#[derive(Clone, Copy, Default)]
struct Written {
    /// Into files.
    file_bytes: u64,
    /// Into the journal, as homes of values. They are behind the cycle's start, so they count as tail.
    home_bytes: u64,
}

impl Written {
    /// The tail that calls for another cycle: as much as this one wrote at least, or checkpoints would cost more writing
    /// than the data itself. What this one put there itself calls for none.
    fn tail_bytes_due(self, tail_bytes_min: u64) -> u64 {
        self.home_bytes + tail_bytes_min.max(self.file_bytes + self.home_bytes)
    }

    /// As [`Written::tail_bytes_due`], once nobody writes.
    fn tail_bytes_due_quiet(self) -> u64 {
        self.home_bytes + QUIET_TAIL_BYTES.max((self.file_bytes + self.home_bytes) / QUIET_WRITTEN_DIVISOR)
    }
}

/// Why a checkpoint could not be written. The ones before it stay in force.
#[derive(Debug)]
pub enum CheckpointError {
    /// The operating system refused.
    Io(std::io::Error),
    /// The journal did.
    Journal(journal::Error),
    /// The node is stopping.
    Stopping,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointError::Io(error) => write!(f, "cannot write a checkpoint: {error}"),
            CheckpointError::Journal(error) => error.fmt(f),
            CheckpointError::Stopping => f.write_str("the node is stopping"),
        }
    }
}

impl std::error::Error for CheckpointError {}

impl From<std::io::Error> for CheckpointError {
    fn from(error: std::io::Error) -> Self {
        CheckpointError::Io(error)
    }
}

impl From<journal::Error> for CheckpointError {
    fn from(error: journal::Error) -> Self {
        CheckpointError::Journal(error)
    }
}

impl Checkpoints {
    pub(crate) fn new(
        headers: Vec<Option<Header>>,
        pinned: Vec<Vec<u32>>,
        entries: u64,
        tail_bytes_min: u64,
        pieces: PieceLimits,
        tail: Position,
        opened: TimeMs,
    ) -> Self {
        const ENTRY_BYTES_TYPICAL: u64 = 48;
        let started = headers.iter().map(|header| header.map_or(Position::ZERO, |header| header.start)).min();
        Checkpoints {
            state: Mutex::new(State { headers, pinned, tail: started.unwrap_or(tail) }),
            tail_bytes_due: AtomicU64::new(tail_bytes_min.max(entries * ENTRY_BYTES_TYPICAL)),
            tail_bytes_due_quiet: AtomicU64::new(QUIET_TAIL_BYTES),
            tail_bytes_min,
            pieces,
            finished: AtomicI64::new(opened.0),
        }
    }
}

/// Which cycles there were, and whether another is to follow. Under one lock, so that who asks for a cycle knows which
/// one is the answer.
#[derive(Debug, Default)]
pub(crate) struct Cycles {
    wanted: bool,
    begun: u64,
    ended: u64,
    /// The last one that did not fail.
    succeeded: u64,
}

impl Cycles {
    /// Asks for a cycle that begins from now on, and returns its number: it is over once `ended` is at least that.
    fn schedule(&mut self) -> u64 {
        self.wanted = true;
        self.begun + 1
    }

    fn is_running(&self) -> bool {
        self.ended < self.begun
    }

    /// Whether the last one that ended failed.
    fn failed(&self) -> bool {
        self.succeeded < self.ended
    }

    fn begin(&mut self) {
        assert!(!self.is_running(), "one cycle at a time");
        self.begun += 1;
        self.wanted = false;
    }

    fn end(&mut self, has_succeeded: bool) {
        assert!(self.is_running(), "what ends has begun");
        self.ended = self.begun;
        if has_succeeded {
            self.succeeded = self.ended;
        }
    }
}

impl Node {
    /// Asks for a checkpoint of everything, soon. Returns false, and asks for nothing, when one is wanted or under way.
    pub fn request_checkpoint(&self) -> bool {
        let mut state = self.house.state.lock();
        if state.cycles.wanted || state.cycles.is_running() {
            return false;
        }
        state.cycles.schedule();
        self.house.changed.notify_all();
        true
    }

    /// Asks for a checkpoint of everything that begins from now on: after the one under way, if there is one.
    pub fn schedule_checkpoint(&self) {
        self.house.state.lock().cycles.schedule();
        self.house.changed.notify_all();
    }

    /// Writes a checkpoint of everything now, after the one under way if there is one. Blocks.
    ///
    /// # Errors
    /// As [`Node::checkpoint_all`].
    pub fn checkpoint_now(&self) -> Result<(), CheckpointError> {
        let mut state = self.house.state.lock();
        let awaited = state.cycles.schedule();
        self.house.changed.notify_all();
        while state.cycles.ended < awaited && !state.stopping {
            self.house.changed.wait(&mut state);
        }
        match state.cycles.succeeded {
            succeeded if awaited <= succeeded => Ok(()),
            _ if state.stopping => Err(CheckpointError::Stopping),
            _ => Err(CheckpointError::Io(std::io::Error::other("see the log"))),
        }
    }

    /// Whether a checkpoint is being written.
    pub fn is_checkpointing(&self) -> bool {
        let state = self.house.state.lock();
        state.cycles.wanted || state.cycles.is_running()
    }

    /// When the last checkpoint of everything was finished; before the first one, when the directory was opened, as
    /// LASTSAVE has it.
    pub fn checkpoint_finished(&self) -> TimeMs {
        TimeMs(self.checkpoints.finished.load(Ordering::Acquire))
    }

    /// Whether the last attempt at a checkpoint failed.
    pub fn checkpoint_failed(&self) -> bool {
        self.house.state.lock().cycles.failed()
    }

    /// Batches that the last checkpoint may lack, one that spans partitions counted in each. `now`: the versions of the
    /// partitions.
    pub fn batches_since_checkpoint(&self, now: &[Version]) -> u64 {
        let version = |header: &Option<Header>| header.as_ref().map_or(0, |header| header.start_version.0);
        let checkpointed: Vec<u64> = self.checkpoints.state.lock().headers.iter().map(version).collect();
        now.iter().zip(checkpointed).map(|(now, checkpointed)| now.0.saturating_sub(checkpointed)).sum()
    }

    /// Journal bytes that call for the next checkpoints.
    pub(crate) fn checkpoint_tail_bytes(&self) -> u64 {
        self.checkpoints.tail_bytes_due.load(Ordering::Relaxed)
    }

    /// Journal bytes that a restart would replay.
    pub fn tail_bytes(&self) -> u64 {
        let start = self.checkpoints.state.lock().tail;
        let mut bytes = 0;
        for segment in self.journal.segments() {
            if segment.id > start.segment {
                bytes += segment.bytes;
            } else if segment.id == start.segment {
                bytes += segment.bytes.saturating_sub(u64::from(start.offset));
            }
        }
        bytes
    }

    /// The housekeeper's thread.
    pub(crate) fn keep_house(&self) {
        let (mut quiet_looks, mut tail_last) = (0, Position::ZERO);
        while !self.is_stopping() {
            let wanted = {
                let mut state = self.house.state.lock();
                if !state.cycles.wanted && !state.stopping {
                    self.house.changed.wait_for(&mut state, LOOK_INTERVAL);
                }
                state.cycles.wanted
            };
            let tail = self.journal.content_end();
            quiet_looks = if tail == tail_last { quiet_looks + 1 } else { 0 };
            tail_last = tail;
            let tail_bytes = self.tail_bytes();
            let is_more_than = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed) < tail_bytes;
            let is_due = is_more_than(&self.checkpoints.tail_bytes_due)
                || (quiet_looks == QUIET_LOOKS && is_more_than(&self.checkpoints.tail_bytes_due_quiet));
            let merged = self.merge_turn(0 < quiet_looks);
            if wanted || is_due || merged {
                self.checkpoint_or_report();
            }
        }
    }

    fn checkpoint_or_report(&self) {
        match self.checkpoint_all(false) {
            Ok(()) | Err(CheckpointError::Stopping) => {}
            Err(error) => {
                tracing::warn!(%error, "checkpoint failed; the previous ones stay in force");
                std::thread::sleep(LOOK_INTERVAL);
            }
        }
    }

    /// Writes a checkpoint of every partition, and removes segments that nobody needs any more.
    ///
    /// # Durability
    /// On return a restart reads these checkpoints and the journal from where they began.
    ///
    /// # Errors
    /// See [`CheckpointError`]; the previous checkpoints stay in force. A sync that failed has been given to the fatal
    /// hook, and the journal has stopped.
    pub fn checkpoint_all(&self, even_when_stopping: bool) -> Result<(), CheckpointError> {
        self.house.state.lock().cycles.begin();
        let result = self.checkpoint_cycle(even_when_stopping);
        if result.is_err() {
            self.keyspace.ids().for_each(|id| self.keyspace.lock(id).forget_pieces());
            self.remove_drafts();
        }
        self.house.state.lock().cycles.end(result.is_ok());
        self.house.changed.notify_all();
        result
    }

    fn checkpoint_cycle(&self, even_when_stopping: bool) -> Result<(), CheckpointError> {
        let tail = self.journal.tail();
        let (mut headers, mut pinned, mut written) = (Vec::new(), Vec::new(), Written::default());
        for id in self.keyspace.ids() {
            if !even_when_stopping && self.is_stopping() {
                return Err(CheckpointError::Stopping);
            }
            let (header, segments) = self.checkpoint_partition(id, &mut written)?;
            headers.push(Some(header));
            pinned.push(segments);
        }
        self.journal.sync()?;
        for id in self.keyspace.ids() {
            self.disk.rename(&draft_path(id), &checkpoint_path(id))?;
        }
        self.disk.sync_dir(CHECKPOINT_DIR).map_err(|error| self.sync_refused(CHECKPOINT_DIR, error))?;
        if self.is_salvaged.swap(false, Ordering::AcqRel) {
            self.disk.remove(crate::inspect::SALVAGED_PATH)?;
        }
        *self.checkpoints.state.lock() = State { headers, pinned, tail };
        let due = written.tail_bytes_due(self.checkpoints.tail_bytes_min);
        self.checkpoints.tail_bytes_due.store(due, Ordering::Relaxed);
        self.checkpoints.tail_bytes_due_quiet.store(written.tail_bytes_due_quiet(), Ordering::Relaxed);
        self.checkpoints.finished.store(self.clock.wall_ms().0, Ordering::Release);
        self.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.remove_segments()
    }

    /// A failed sync is never retried, as a second one may report what did not happen, and segments would go for it: the
    /// node stops as it does for the journal.
    fn sync_refused(&self, file: &str, source: std::io::Error) -> CheckpointError {
        if env::is_out_of_descriptors(&source) {
            return source.into(); // It was not even tried.
        }
        self.journal.stop(journal::Error::SyncFailed { file: file.to_owned(), source }).into()
    }

    /// Removes what a checkpoint that failed has written: it takes room that may be what was missing.
    fn remove_drafts(&self) {
        for id in self.keyspace.ids() {
            match self.disk.remove(&draft_path(id)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "the draft of a checkpoint that failed cannot be removed");
                }
                _ => {}
            }
        }
    }

    /// Writes the draft of one partition's checkpoint. Returns its header, and the segments it may point into.
    fn checkpoint_partition(
        &self,
        id: PartitionId,
        written: &mut Written,
    ) -> Result<(Header, Vec<u32>), CheckpointError> {
        let draft = draft_path(id);
        match self.disk.remove(&draft) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut file = Sink {
            file: self.disk.create_new(&draft)?,
            offset: 0,
            buffer: Vec::with_capacity(WRITE_BYTES + BLOCK_BYTES),
        };
        let (header, mut segments) = {
            let partition = self.keyspace.lock(id);
            // Under the lock, so that every batch up to this version lies before it. Not the tail: a mark there may
            // never become durable, and a restart could find the journal ending before its start.
            let (start_version, start) = (partition.version(), self.journal.content_end());
            let header = Header { partition: id, start_version, start, db_map: partition.db_map() };
            (header, live_segments(&partition))
        };
        header.encode(&mut file.buffer);
        let mut blocks = BlockWriter::new(self.checkpoints.pieces);
        for db in 0..PHYSICAL_DB_COUNT {
            written.home_bytes += self.checkpoint_db(id, db, &mut blocks, &mut file)?;
        }
        blocks.finish(self.journal.content_end(), &mut file.buffer);
        file.flush()?;
        file.file.sync_data().map_err(|error| self.sync_refused(&draft, error))?;
        // Homes given while it was written lie at or after its start.
        segments.retain(|segment| *segment < header.start.segment.0);
        written.file_bytes += file.offset;
        Ok((header, segments))
    }

    /// Returns the bytes of homes that were given.
    fn checkpoint_db(
        &self,
        id: PartitionId,
        db: u8,
        blocks: &mut BlockWriter,
        file: &mut Sink,
    ) -> Result<u64, CheckpointError> {
        let (mut cursor, mut home_bytes) = (0, 0);
        loop {
            {
                let mut partition = self.keyspace.lock(id);
                partition.prefetch_buckets(db, cursor, BUCKETS_PER_LOCK);
                let mut given_bytes = 0;
                for _ in 0..BUCKETS_PER_LOCK {
                    given_bytes += self.give_homes(&mut partition, blocks, db, cursor);
                    cursor = blocks.add_bucket(&partition, db, cursor);
                    let is_enough = HOME_BYTES_PER_LOCK <= given_bytes || BLOCK_BYTES <= blocks.pending_bytes();
                    if cursor == 0 || is_enough || blocks.has_large() {
                        break;
                    }
                }
                home_bytes += given_bytes;
            }
            while blocks.has_large() {
                blocks.add_piece(&mut self.keyspace.lock(id));
                // Piece follows piece: who waits for the partition gets it in between. Not by handing the lock over,
                // because until who sleeps has woken up nobody else would get it either.
                std::thread::yield_now();
                file.take(blocks, BLOCK_BYTES)?;
            }
            file.take(blocks, if cursor == 0 { 0 } else { BLOCK_BYTES })?;
            if cursor == 0 {
                return Ok(home_bytes);
            }
        }
    }

    /// Larger values that the journal does not hold are written there first; without room, into the checkpoint. Returns
    /// the bytes written.
    fn give_homes(&self, partition: &mut keyspace::Partition, blocks: &BlockWriter, db: u8, cursor: u64) -> u64 {
        let mut homeless: Vec<Vec<u8>> = Vec::new();
        partition.index(db).scan(cursor, |entry| {
            if blocks.needs_home(&entry) {
                homeless.push(entry.key().to_vec());
            }
        });
        let mut given_bytes = 0;
        for key in homeless {
            if let Some(place) = partition.find(db, &key) {
                given_bytes += partition.write_home(db, place, &self.journal, self.clock.wall_ms()).unwrap_or(0);
            }
        }
        given_bytes
    }

    /// Removes segments that no restart needs and no key points into.
    fn remove_segments(&self) -> Result<(), CheckpointError> {
        let mut needed: BTreeSet<u32> = BTreeSet::new();
        let first_needed = {
            let state = self.checkpoints.state.lock();
            needed.extend(state.pinned.iter().flatten());
            state.headers.iter().map(|header| header.map_or(SegmentId(0), |header| header.start.segment)).min()
        };
        for id in self.keyspace.ids() {
            needed.extend(live_segments(&self.keyspace.lock(id)));
        }
        for segment in self.journal.segments() {
            let before_all = first_needed.is_some_and(|first| segment.id < first);
            if before_all && segment.sealed && !needed.contains(&segment.id.0) {
                self.journal.remove_segment(segment.id)?;
                self.counters.segments_removed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Segments that a restart may read, for merge: emptying them is of no use before the next checkpoints.
    pub(crate) fn first_tail_segment(&self) -> SegmentId {
        self.checkpoints.state.lock().tail.segment
    }
}

/// A file written from front to back.
struct Sink {
    file: Arc<dyn File>,
    offset: u64,
    buffer: Vec<u8>,
}

impl Sink {
    /// Takes what `blocks` has gathered, once that is `bytes_min`.
    fn take(&mut self, blocks: &mut BlockWriter, bytes_min: usize) -> std::io::Result<()> {
        if bytes_min <= blocks.pending_bytes() {
            blocks.seal(&mut self.buffer);
        }
        if WRITE_BYTES <= self.buffer.len() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.write_at(self.offset, &self.buffer)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_that_was_under_way_is_not_the_one_that_was_asked_for() {
        let mut cycles = Cycles::default();
        cycles.begin();
        let awaited = cycles.schedule();
        cycles.end(true);
        assert!(cycles.ended < awaited && cycles.wanted);
        cycles.begin();
        assert!(cycles.is_running() && !cycles.wanted);
        cycles.end(true);
        assert!(awaited <= cycles.succeeded);
        assert_eq!(cycles.schedule(), awaited + 1);
    }

    #[test]
    fn failures_before_and_after_the_cycle_asked_for_are_not_its_own() {
        let mut cycles = Cycles::default();
        cycles.begin();
        cycles.end(false);
        assert!(cycles.failed());
        let awaited = cycles.schedule();
        cycles.begin();
        cycles.end(true);
        assert!(!cycles.failed());
        cycles.begin();
        cycles.end(false);
        assert!(cycles.failed() && awaited <= cycles.succeeded);
    }
}
