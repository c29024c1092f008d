//! The node: live state, the threads that look after it, and stopping.
//!
//! ```text
//! flusher      the journal's group commit
//! housekeeper  checkpoints and merges
//! timer        expiry, and the memory limit
//! reaper       frees large values
//! ```
//!
//! Invariants: at most one checkpoint or merge runs at a time; after `stop` nothing is appended any more.

use crate::checkpointer::{Checkpoints, Cycles};
use crate::memory::{Memory, MemoryLimit};
use crate::open::{self, OpenError, Opened, Progress};
use base::{Reader, TimeMs};
use commands::run::{Moment, NO_SPACE};
use env::{Clock, DirLock, Disk, Entropy};
use journal::{Journal, SegmentId, SyncMode};
use keyspace::pieces::PieceLimits;
use keyspace::waiting::Ready;
use keyspace::{AccessClock, Garbage, Keyspace};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

/// Garbage of so many transactions is freed in turns, so that others run; of more at once, as fast as it can be.
const PATIENT_GRAVES_MAX: usize = 8;

/// What a node is opened with.
pub struct Options {
    /// Partitions of a new data directory: a power of two of at most `PARTITION_COUNT_MAX`.
    pub partition_count: u16,
    /// Bytes of a journal segment.
    pub segment_bytes: u32,
    /// When the journal syncs.
    pub sync: SyncMode,
    /// The memory limit and what happens at it.
    pub memory: MemoryLimit,
    /// Journal bytes after which checkpoints are written, if the last ones were no larger.
    pub checkpoint_bytes: u64,
    /// What checkpoints write in pieces.
    pub pieces: PieceLimits,
    /// Called once when the journal's device fails; must not return.
    pub fatal: Box<dyn Fn(&journal::Error) + Send + Sync>,
}

/// What a node counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Keys and hashes from which something ended and was removed.
    pub expired: AtomicU64,
    /// Keys evicted.
    pub evicted: AtomicU64,
    /// Values spilled.
    pub spilled: AtomicU64,
    /// Spilled values read back.
    pub fetched: AtomicU64,
    /// Checkpoints of all partitions written.
    pub checkpoints: AtomicU64,
    /// Segments removed.
    pub segments_removed: AtomicU64,
    /// Bytes that merge copied.
    pub merged_bytes: AtomicU64,
}

/// Serves those who wait for keys that the node changed by itself.
type Serve = Box<dyn Fn(Vec<Ready>) + Send + Sync>;

/// See the module's text.
pub struct Node {
    /// The keys.
    pub keyspace: Keyspace,
    /// The journal.
    pub journal: Arc<Journal>,
    /// What happened so far.
    pub counters: Counters,
    /// Expiry may be halted for tests (DEBUG SET-ACTIVE-EXPIRE 0).
    pub expiry_enabled: AtomicBool,
    /// Dead journal bytes that merge leaves alone.
    pub merge_dead_bytes_min: AtomicU64,
    /// What opening found, for INFO.
    pub recovered: journal::Recovered,
    /// The directory's manifest.
    pub manifest: crate::manifest::Manifest,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) memory: Memory,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) is_salvaged: AtomicBool,
    pub(crate) house: House,
    /// Segments whose merge failed: they hold something that cannot be read.
    pub(crate) unmergeable: Mutex<BTreeSet<SegmentId>>,
    time_last: AtomicI64,
    dice: AtomicU64,
    reaper: Mutex<mpsc::Sender<Vec<Garbage>>>,
    graves: Mutex<Option<mpsc::Receiver<Vec<Garbage>>>>,
    /// What waits for the reaper, and what it frees now.
    graves_count: AtomicUsize,
    serve: OnceLock<Serve>,
    still: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
    _lock: DirLock,
}

/// What the housekeeper is told to do, and has done.
#[derive(Default)]
pub(crate) struct House {
    pub(crate) state: Mutex<HouseState>,
    pub(crate) changed: Condvar,
}

#[derive(Default)]
pub(crate) struct HouseState {
    pub(crate) stopping: bool,
    pub(crate) cycles: Cycles,
}

/// A node whose threads run.
pub struct Running {
    /// The node.
    pub node: Arc<Node>,
    threads: Vec<JoinHandle<()>>,
    flusher: JoinHandle<()>,
}

impl Node {
    /// Opens a data directory. Its threads are started by [`Node::start`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
        options: Options,
        progress: &dyn Progress,
    ) -> Result<Node, OpenError> {
        let mut seed = [0; 24];
        entropy.fill(&mut seed).map_err(|source| OpenError::Io { op: "seed", file: String::new(), source })?;
        let mut words = Reader::new(&seed);
        let mut word = || words.u64().unwrap_or(1);
        keyspace::hasher::seed(word());
        let journal_options = journal::Options {
            segment_bytes: options.segment_bytes,
            sync: options.sync,
            salt: word(),
            clock: Arc::clone(&clock),
            fatal: options.fatal,
        };
        let opened = open::open(&disk, &*clock, entropy, options.partition_count, journal_options, progress)?;
        let Opened { is_salvaged, lock, manifest, keyspace, journal, recovered, headers, pinned, checkpoint_entries } =
            opened;
        let (sender, receiver) = mpsc::channel();
        let tail = journal.tail();
        Ok(Node {
            keyspace,
            journal,
            counters: Counters::default(),
            expiry_enabled: AtomicBool::new(true),
            merge_dead_bytes_min: AtomicU64::new(
                crate::merge::DEAD_BYTES_MIN.min(8 * u64::from(options.segment_bytes)),
            ),
            recovered,
            manifest,
            memory: Memory::new(options.memory),
            checkpoints: Checkpoints::new(
                headers,
                pinned,
                checkpoint_entries,
                options.checkpoint_bytes,
                options.pieces,
                tail,
                clock.wall_ms(),
            ),
            is_salvaged: AtomicBool::new(is_salvaged),
            house: House::default(),
            unmergeable: Mutex::default(),
            time_last: AtomicI64::new(open::time_floor(&recovered).0),
            dice: AtomicU64::new(word() | 1),
            reaper: Mutex::new(sender),
            graves: Mutex::new(Some(receiver)),
            graves_count: AtomicUsize::new(0),
            serve: OnceLock::new(),
            still: OnceLock::new(),
            clock,
            disk,
            _lock: lock,
        })
    }

    /// Starts the threads that look after the node.
    ///
    /// # Panics
    /// When called twice, or when the system gives no threads.
    pub fn start(self: Arc<Self>) -> Running {
        let graves = self.graves.lock().take().expect("a node is started once");
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("a thread for each duty")
        };
        let [one, two, three, four] = [(); 4].map(|()| Arc::clone(&self));
        let flusher = spawn("flusher", Box::new(move || one.journal.run_flusher()));
        let threads = vec![
            spawn("housekeeper", Box::new(move || two.keep_house())),
            spawn("timer", Box::new(move || three.keep_time())),
            spawn("reaper", Box::new(move || four.reap(graves))),
        ];
        Running { node: self, threads, flusher }
    }

    /// The moment a command runs at. Wall time never runs backwards here, nor behind what the journal has seen.
    #[inline]
    pub fn moment(&self) -> Moment {
        let wall = self.clock.wall_ms().0;
        let last = self.time_last.load(Ordering::Relaxed);
        let now = if last < wall {
            self.time_last.store(wall, Ordering::Relaxed);
            wall
        } else {
            last
        };
        let clock =
            AccessClock { seconds: (now / 1000) as u64, frequency: self.memory.frequency(), random: self.random() };
        Moment { now: TimeMs(now), clock, refuse_growth: self.refuse_growth(), weighs: self.memory.weighs() }
    }

    /// Why commands that need room are refused now, if they are.
    #[inline]
    fn refuse_growth(&self) -> Option<&'static str> {
        if self.memory.is_refusing() {
            return Some("OOM command not allowed when used memory > 'maxmemory'.");
        }
        self.journal.is_full().then_some(NO_SPACE)
    }

    /// A number nobody can rely on: fast, not for secrets.
    #[inline]
    pub fn random(&self) -> u64 {
        let mut x = self.dice.load(Ordering::Relaxed);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.dice.store(x, Ordering::Relaxed);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Frees values on a thread where it holds nobody up.
    pub fn discard(&self, garbage: Vec<Garbage>) {
        if !garbage.is_empty() {
            self.graves_count.fetch_add(1, Ordering::Relaxed);
            // The reaper lives as long as the node.
            drop(self.reaper.lock().send(garbage));
        }
    }

    /// The reaper's thread. It lets others run in between, unless it falls behind or the node waits for it to end.
    fn reap(self: Arc<Self>, graves: mpsc::Receiver<Vec<Garbage>>) {
        let node = Arc::clone(&self);
        keyspace::patience::free_in_turns(move || {
            if node.graves_count.load(Ordering::Relaxed) <= PATIENT_GRAVES_MAX && !node.is_stopping() {
                std::thread::yield_now();
            }
        });
        for garbage in graves {
            drop(garbage);
            self.graves_count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Has `serve` called with the keys that somebody waits for and that the node removed by itself (expiry, eviction).
    /// It is called on the node's own threads, and must not wait.
    ///
    /// # Panics
    /// When called twice.
    pub fn set_serve(&self, serve: impl Fn(Vec<Ready>) + Send + Sync + 'static) {
        assert!(self.serve.set(Box::new(serve)).is_ok(), "one server serves a node");
    }

    /// Has `still` asked whether keys are to stay as they are: whether nothing is to end or to be evicted for now
    /// (CLIENT PAUSE). It must be cheap.
    ///
    /// # Panics
    /// When called twice.
    pub fn set_still(&self, still: impl Fn() -> bool + Send + Sync + 'static) {
        assert!(self.still.set(Box::new(still)).is_ok(), "one server serves a node");
    }

    pub(crate) fn holds_still(&self) -> bool {
        self.still.get().is_some_and(|still| still())
    }

    /// Has the thread that removes what has ended look now.
    pub fn wake(&self) {
        self.house.changed.notify_all();
    }

    /// Has those served who wait for these keys.
    pub fn let_serve(&self, ready: Vec<Ready>) {
        if let Some(serve) = self.serve.get().filter(|_| !ready.is_empty()) {
            serve(ready);
        }
    }

    fn keep_time(&self) {
        while !self.is_stopping() {
            let pause = self.expire_turn().min(self.memory_turn());
            let mut state = self.house.state.lock();
            if !state.stopping {
                self.house.changed.wait_for(&mut state, pause);
            }
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.house.state.lock().stopping
    }
}

impl Running {
    /// Stops the threads and closes the journal, after a last checkpoint when asked for. Nobody may run commands
    /// any more.
    ///
    /// # Durability
    /// Everything written is durable on return.
    ///
    /// # Errors
    /// The last checkpoint could not be written (nothing is lost: the next start takes longer), or the journal
    /// not closed.
    pub fn stop(self, checkpoint: bool) -> Result<(), crate::checkpointer::CheckpointError> {
        let node = &self.node;
        node.house.state.lock().stopping = true;
        node.house.changed.notify_all();
        *node.reaper.lock() = mpsc::channel().0;
        for thread in self.threads {
            thread.join().expect("the node's threads do not panic");
        }
        let written = if checkpoint { node.checkpoint_all(true) } else { Ok(()) };
        let closed = node.journal.close();
        self.flusher.join().expect("the flusher does not panic");
        written.and(closed.map_err(Into::into))
    }
}
