//! A node on a simulated disk without any of its threads: what they do is done when a test says so.
//!
//! So a run is a function of its steps, and the trace of the disk can be cut anywhere. Deliberately not here: sockets,
//! and what may be expected of a state (`history.rs`).

use crate::host::TestHost;
use commands::run::{Engine, Ran, Scratch, resolve, run};
use commands::session::Session;
use env::{Clock, Disk, Entropy};
use journal::{Position, ReadMode, SEGMENT_BYTES_MIN, SyncMode};
use keyspace::pieces::PieceLimits;
use keyspace::{Partition, Spilled, spilled};
use node::{MemoryLimit, MemoryPolicy, Node, OpenError, Options};
use parking_lot::Mutex;
use sim::{SimClock, SimDisk};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wire::args::{Args, Ranges};
use wire::request::{Limits, Login, RequestParser};

/// Where the wall clock of a test starts.
pub const START_MS: u64 = 1_700_000_000_000;
/// Partitions: several, so that commands of many keys cross them.
pub const PARTITION_COUNT: u16 = 4;
/// Of the collections, checkpoints write the larger ones in pieces, of which each is small.
const PIECES: PieceLimits = PieceLimits { value_bytes_min: 300, piece_bytes_max: 100, element_count_max: 2 };
/// How often a command may ask for spilled values: each time it names what it misses.
const FETCH_ROUNDS_MAX: usize = 100;

/// A limit of `bytes_max`, 0 for none, at which values leave memory.
fn spill_at(bytes_max: u64) -> MemoryLimit {
    MemoryLimit { bytes_max, policy: MemoryPolicy::Spill, samples: 3, lfu_log_factor: 10, lfu_decay_minutes: 1 }
}

/// Numbers that are the same in each run.
struct Dice(AtomicU64);

impl Entropy for Dice {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        for byte in bytes {
            let word = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed).wrapping_mul(0xD134_2543_DE82_EF95);
            *byte = (word >> 56) as u8;
        }
        Ok(())
    }
}

/// See the module's text.
pub struct Rig {
    pub disk: SimDisk,
    pub clock: Arc<SimClock>,
    pub node: Arc<Node>,
    pub connection: Connection,
    /// What the journal told before it stopped.
    pub fatal: Arc<Mutex<Vec<String>>>,
}

/// Who sends commands to a node.
pub struct Connection {
    pub session: Session,
    node: Arc<Node>,
    host: TestHost,
    scratch: Scratch,
    runtime: tokio::runtime::Runtime,
}

/// What a command came to.
pub struct Answer {
    pub reply: Vec<u8>,
    /// What must be as safe as promised before the reply leaves.
    pub revealed: Position,
}

impl Rig {
    /// A node with a new data directory.
    pub fn new(sync: SyncMode) -> Rig {
        let clock = Arc::new(SimClock::new());
        clock.advance_ms(START_MS);
        Rig::open_at(&SimDisk::new(), sync, clock).expect("an empty disk opens")
    }

    /// The node whose data directory `disk` is, with a clock far behind.
    pub fn open(disk: &SimDisk) -> Result<Rig, OpenError> {
        Rig::open_at(disk, SyncMode::Os, Arc::new(SimClock::new()))
    }

    /// As [`Rig::open`], with everything chosen.
    pub fn open_at(disk: &SimDisk, sync: SyncMode, clock: Arc<SimClock>) -> Result<Rig, OpenError> {
        let fatal = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&fatal);
        let options = Options {
            partition_count: PARTITION_COUNT,
            segment_bytes: SEGMENT_BYTES_MIN,
            sync,
            memory: spill_at(0),
            checkpoint_bytes: 1 << 20,
            pieces: PIECES,
            fatal: Box::new(move |error| told.lock().push(error.to_string())),
        };
        let world: Arc<dyn Disk> = Arc::new(disk.clone());
        let time: Arc<dyn Clock> = Arc::<SimClock>::clone(&clock);
        let node = Node::open(world, time, &Dice(AtomicU64::new(1)), options, &())?;
        node.merge_dead_bytes_min.store(0, Ordering::Relaxed);
        let node = Arc::new(node);
        let connection = Connection::new(&node, &clock);
        Ok(Rig { disk: disk.clone(), clock, node, connection, fatal })
    }

    /// Another connection.
    pub fn connect(&self) -> Connection {
        Connection::new(&self.node, &self.clock)
    }

    /// Has every value leave memory that can.
    pub fn spill(&self) {
        self.node.set_memory_limit(spill_at(1));
        self.node.memory_turn();
        self.node.set_memory_limit(spill_at(0));
    }

    /// What the flusher does once nothing has happened for a while.
    pub fn idle(&self) {
        self.node.journal.request_sync();
        self.node.journal.flusher_turn().expect("the disk syncs");
        self.clock.advance_ms(journal::MARK_MS);
        self.node.journal.flusher_turn().expect("the disk takes a mark");
    }

    /// Ends the node as SIGTERM does, without a last checkpoint.
    pub fn close(self) -> SimDisk {
        self.node.journal.close().expect("the disk syncs");
        self.disk
    }

    /// The canonical text of one partition.
    pub fn dump_partition(&self, partition: &Partition) -> String {
        let mut fetch = |wanted: &Spilled| Ok(spilled::read_or_stop(&self.node.journal, wanted));
        partition.dump(&mut fetch).expect("the journal has it")
    }

    /// The canonical text of everything.
    pub fn dump(&self) -> String {
        self.node.keyspace.ids().map(|id| self.dump_partition(&self.node.keyspace.lock(id))).collect()
    }

    /// As [`Rig::dump`]; an error when a value cannot be read.
    pub fn try_dump(&self) -> Result<String, spilled::ReadError> {
        let mut fetch = |wanted: &Spilled| match spilled::read(&self.node.journal, wanted, ReadMode::Wait) {
            Ok(image) => Ok(image.expect("a waiting read does not give up")),
            Err(error) => Err(error),
        };
        self.node.keyspace.ids().map(|id| self.node.keyspace.lock(id).dump(&mut fetch)).collect()
    }

    /// The version of every partition.
    pub fn versions(&self) -> Vec<u64> {
        self.node.keyspace.ids().map(|id| self.node.keyspace.lock(id).version().0).collect()
    }
}

impl Connection {
    fn new(node: &Arc<Node>, clock: &Arc<SimClock>) -> Connection {
        let host = TestHost::new(Arc::clone(clock));
        let refused = |name: &[u8], error: &commands::Error| panic!("{}: {}", name.escape_ascii(), error.reply());
        // What cannot be read is found by who looks at the whole state.
        let _ = commands::libraries::open(&node.keyspace, &node.journal, &host, refused);
        Connection {
            session: Session::new(1, &commands::acl::Users::new(b"")),
            node: Arc::clone(node),
            host,
            scratch: Scratch::default(),
            runtime: tokio::runtime::Builder::new_current_thread().build().expect("a runtime"),
        }
    }

    /// Runs one command; its reply does not wait for anything.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Answer {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args.iter().map(AsRef::as_ref) {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        let mut ranges = Ranges::new();
        let parsed = RequestParser::new().parse(&request, &Limits::standard(Login::Done), &mut ranges);
        parsed.expect("a test writes whole commands");
        for _ in 0..FETCH_ROUNDS_MAX {
            match self.run(ranges.args(&request)) {
                Ok(answer) => return answer,
                Err(missing) => {
                    if let Err(error) = self.runtime.block_on(self.node.fetch(missing)) {
                        return self.unfetched(&ranges.args(&request), &error);
                    }
                }
            }
        }
        panic!("{} asks for spilled values for ever", request.escape_ascii());
    }

    /// What the server answers when a spilled value cannot be read back.
    fn unfetched(&mut self, args: &Args<'_>, error: &spilled::ReadError) -> Answer {
        let resolved = resolve(args).expect("it ran before");
        let error = commands::run::unfetched(&mut self.session, resolved, error);
        Answer { reply: format!("-{}\r\n", error.reply()).into_bytes(), revealed: Position::ZERO }
    }

    fn run(&mut self, args: Args<'_>) -> Result<Answer, Vec<Spilled>> {
        let mut reply = Vec::new();
        let engine =
            Engine { keyspace: &self.node.keyspace, journal: &self.node.journal, host: &self.host, observer: &() };
        let resolved = resolve(&args).unwrap_or_else(|error| panic!("{args:?}: {}", error.reply()));
        let moment = self.node.moment();
        let ran = run(engine, resolved, &mut self.session, args, &moment, &mut reply, &mut self.scratch);
        if std::mem::take(&mut self.scratch.has_grown) {
            self.node.make_room();
        }
        match ran {
            Ran::Done { revealed, .. } => Ok(Answer { reply, revealed }),
            Ran::Queued => Ok(Answer { reply, revealed: Position::ZERO }),
            Ran::Spilled(missing) => Err(missing),
        }
    }

    /// Runs one command given as words and waits until its reply may leave.
    pub fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Answer { reply, revealed } = self.call(&words);
        self.settle(revealed).expect("the disk takes it");
        String::from_utf8(reply).expect("text")
    }

    /// Waits until everything before `revealed` is as safe as the sync mode promises.
    pub fn settle(&self, revealed: Position) -> Result<(), journal::Error> {
        self.runtime.block_on(self.node.settle(revealed))
    }
}
