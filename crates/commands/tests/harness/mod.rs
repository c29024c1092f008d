//! A node without sockets, threads or a real disk: what the tests of this crate run commands on.
//!
//! Deliberately not the real node: nothing is synced, merged or checkpointed, nothing expires by itself, and the
//! [`Host`] answers with as little as its contract allows. Time stands still unless a test moves it.

#![allow(dead_code, reason = "each test crate uses a part of it")]

mod host;
pub mod render;

pub use host::{Log, TestHost};

use base::DbId;
use commands::acl::Users;
use commands::run::{Engine, Moment, Ran, Resolved, Scratch, resolve, run};
use commands::slices::{Begun, Slice};
use commands::{Flow, Host, Session, waiting};
use env::Clock;
use journal::{Journal, Options, Position, Record, SEGMENT_BYTES_MIN, SyncMode};
use keyspace::access::AccessClock;
use keyspace::entry::Home;
use keyspace::events::Interests;
use keyspace::partition::Stamp;
use keyspace::{Begin, Keyspace, Partition, Tx, spilled};
use sim::{SimClock, SimDisk};
use std::sync::Arc;
use wire::args::{Args, Ranges};
use wire::request::{Limits, Login, Parsed, RequestParser};

/// Where the wall clock of a test starts.
pub const START_MS: u64 = 1_700_000_000_000;
/// Partitions: several, so that commands of many keys cross them.
const PARTITION_COUNT: u16 = 8;
/// How often a command may ask for spilled values: each time it names what it misses, so few rounds suffice.
const FETCH_ROUNDS_MAX: usize = 1_000;
/// Keys removed at once.
const ENDED_KEYS_MAX: usize = 100;

/// See the module's text.
pub struct Node {
    pub keyspace: Keyspace,
    pub journal: Arc<Journal>,
    pub clock: Arc<SimClock>,
    pub host: TestHost,
    /// What was told, once somebody wants to hear of it.
    pub told: Arc<Log>,
    /// What becomes of values that a command asks for.
    pub fetching: Fetching,
    /// What happens before each slice of a reply.
    pub between_slices: Option<Meanwhile>,
    /// How replies went that were written in slices.
    pub sliced: Sliced,
    scratch: Scratch,
    /// Large arguments are lent to the keys they are put at, and large strings kept apart from replies.
    shares: bool,
}

/// What becomes of values that a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetching {
    /// They are fetched.
    Every,
    /// There is memory for one: the first is fetched, and takes the place of whatever was in memory.
    One,
    /// The command is given up with an empty reply, as when the client goes.
    Never,
}

/// What others do.
pub type Meanwhile = Box<dyn FnMut(&mut Node)>;

/// How replies went that were written in slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sliced {
    /// All their slices.
    pub slices: usize,
    /// Those that were whole with their last slice.
    pub finished: usize,
    /// Those that were taken back.
    pub changed: usize,
}

/// What a command came to.
pub struct Answer {
    /// The bytes of the reply; none when it waits.
    pub reply: Vec<u8>,
    /// What the connection does next.
    pub flow: Flow,
}

impl Node {
    /// An empty node at [`START_MS`].
    pub fn new() -> Node {
        Node::with_partitions(PARTITION_COUNT)
    }

    /// As [`Node::new`], with more or fewer partitions.
    pub fn with_partitions(partition_count: u16) -> Node {
        let clock = Arc::new(SimClock::new());
        clock.advance_ms(START_MS);
        let options = Options {
            segment_bytes: SEGMENT_BYTES_MIN,
            sync: SyncMode::Os,
            salt: 7,
            clock: clock.clone(),
            fatal: Box::new(|error| panic!("the simulated disk does not fail here: {error}")),
        };
        let mut nothing = |_: Position, _: &Record<'_>| Ok(());
        let disk = Arc::new(SimDisk::new());
        let (journal, _) = Journal::open(disk, options, None, &mut nothing).expect("an empty disk opens");
        let node = Node::over(Keyspace::new(partition_count), journal, clock);
        node.keyspace.set_listener(node.told.clone());
        node
    }

    fn over(keyspace: Keyspace, journal: Arc<Journal>, clock: Arc<SimClock>) -> Node {
        let host = TestHost::new(clock.clone());
        let told = host.log.clone();
        Node {
            keyspace,
            journal,
            clock,
            host,
            told,
            fetching: Fetching::Every,
            between_slices: None,
            sliced: Sliced::default(),
            scratch: Scratch::default(),
            shares: false,
        }
    }

    /// From here on large strings have one home, as with the server's connections.
    pub fn share(&mut self) {
        self.shares = true;
        self.scratch.apart.want(true);
    }

    /// A connection that has just been accepted.
    pub fn connect(id: u64) -> Session {
        let mut session = Session::new(id, &Users::new(b""));
        session.takes_slices = true;
        session
    }

    fn moment(&self) -> Moment {
        let now = self.clock.wall_ms();
        let clock = AccessClock { seconds: now.0 as u64 / 1_000, frequency: None, random: 1 };
        Moment { now, clock, refuse_growth: None, weighs: false }
    }

    /// Runs one command given as arguments.
    pub fn call<A: AsRef<[u8]>>(&mut self, session: &mut Session, args: &[A]) -> Answer {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args.iter().map(AsRef::as_ref) {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.request(session, &request)
    }

    /// Runs one command given as `redis-cli` takes it, quotes and all.
    pub fn line(&mut self, session: &mut Session, line: &str) -> Answer {
        self.request(session, format!("{line}\r\n").as_bytes())
    }

    fn request(&mut self, session: &mut Session, request: &[u8]) -> Answer {
        let mut ranges = Ranges::new();
        let limits = Limits::standard(Login::Done);
        let parsed = RequestParser::new().parse(request, &limits, &mut ranges).expect("a test writes whole commands");
        assert_eq!(parsed, Parsed::Command { bytes: request.len() });
        if !self.shares {
            return self.run(session, ranges.args(request));
        }
        let lent = Arc::new(request.to_vec());
        self.scratch.source = Some(Arc::clone(&lent));
        let answer = self.run(session, ranges.args(&lent));
        self.scratch.source = None;
        answer
    }

    fn run(&mut self, session: &mut Session, args: Args<'_>) -> Answer {
        self.keyspace.set_keeps_ended(self.host.setting("import-mode").is_some_and(|mode| mode == "yes"));
        self.keyspace.hear_changes(self.host.log.tracking.totals().client_count > 0);
        match resolve(&args) {
            Ok(resolved) => self.run_resolved(session, resolved, args),
            Err(error) => {
                session.refused();
                Answer { reply: format!("-{}\r\n", error.reply()).into_bytes(), flow: Flow::Done }
            }
        }
    }

    fn run_resolved(&mut self, session: &mut Session, resolved: Resolved, args: Args<'_>) -> Answer {
        let takes_slices = session.takes_slices;
        for _ in 0..FETCH_ROUNDS_MAX {
            let moment = self.moment();
            let mut reply = Vec::new();
            let engine = Engine { keyspace: &self.keyspace, journal: &self.journal, host: &self.host, observer: &() };
            match run(engine, resolved, session, args, &moment, &mut reply, &mut self.scratch) {
                Ran::Done { flow: Flow::Begun(mut begun), .. } => {
                    session.takes_slices = self.go_on(&mut begun, &mut reply);
                    if session.takes_slices {
                        session.forget_caching();
                        return Answer { reply: self.joined(reply), flow: Flow::Done };
                    }
                    assert!(reply.is_empty(), "a reply that is taken back leaves nothing");
                    assert_eq!(self.scratch.apart.bytes(), 0, "a reply that is taken back leaves nothing");
                }
                Ran::Done { flow, .. } => {
                    session.takes_slices = takes_slices;
                    let reply = self.joined(reply);
                    self.serve_waiters(&moment);
                    return Answer { reply, flow };
                }
                Ran::Queued => return Answer { reply, flow: Flow::Done },
                Ran::Spilled(missing) => {
                    assert!(reply.is_empty(), "a command that is run anew has said nothing");
                    assert_eq!(self.scratch.apart.bytes(), 0, "a command that is run anew has said nothing");
                    let may_miss_locks = resolved.spec.scope == commands::Scope::Script;
                    assert!(may_miss_locks || !missing.is_empty(), "a command that stopped names what it misses");
                    let fetched = match self.fetching {
                        Fetching::Every => missing.len(),
                        Fetching::One => {
                            self.spill_all();
                            1
                        }
                        Fetching::Never => return Answer { reply, flow: Flow::Done },
                    };
                    for wanted in missing.iter().take(fetched) {
                        self.fetch(wanted);
                    }
                }
            }
        }
        panic!("{args:?} asks for spilled values for ever");
    }

    /// The reply, with what was kept apart in its places.
    fn joined(&mut self, mut reply: Vec<u8>) -> Vec<u8> {
        for (place, bytes) in self.scratch.apart.take().into_iter().rev() {
            reply.splice(place..place, bytes.iter().copied());
        }
        reply
    }

    /// Writes the slices of a reply. Returns false when it was taken back.
    fn go_on(&mut self, begun: &mut Begun, reply: &mut Vec<u8>) -> bool {
        loop {
            if let Some(mut between) = self.between_slices.take() {
                let own = std::mem::take(&mut self.scratch);
                between(self);
                self.scratch = own;
                self.between_slices = Some(between);
            }
            let moment = self.moment();
            let engine = Engine { keyspace: &self.keyspace, journal: &self.journal, host: &self.host, observer: &() };
            let slice = begun.go_on(engine, &moment, reply, &mut self.scratch);
            self.sliced.slices += 1;
            match slice {
                Slice::More => {}
                Slice::Last { .. } => {
                    self.sliced.finished += 1;
                    return true;
                }
                Slice::Changed => {
                    self.sliced.changed += 1;
                    return false;
                }
            }
        }
    }

    /// Serves who waits for what a command made ready, as the connection does.
    fn serve_waiters(&mut self, moment: &Moment) {
        loop {
            let engine = Engine { keyspace: &self.keyspace, journal: &self.journal, host: &self.host, observer: &() };
            let Some(missing) = waiting::serve(engine, moment, &mut self.scratch) else { break };
            for wanted in &missing {
                self.fetch(wanted);
            }
        }
    }

    fn fetch(&self, wanted: &keyspace::Spilled) {
        let image = spilled::read_or_stop(&self.journal, wanted);
        let mut partition = self.keyspace.lock(wanted.partition);
        partition.promote(wanted.db, &wanted.key, wanted.version, image).expect("an image");
    }

    /// Wants to hear of the events that `letters` stand for.
    pub fn listen(&self, letters: &str) {
        self.keyspace.set_interests(Interests::of_letters(letters));
    }

    /// Removes what has ended, as the node's timer does, and serves who waits for that.
    pub fn remove_ended(&mut self) {
        if self.keyspace.keeps_ended() {
            return;
        }
        let moment = self.moment();
        let Moment { now, clock, .. } = moment;
        for id in self.keyspace.ids() {
            let begin = Begin { db: DbId(0), now, clock, no_touch: false };
            let mut spare = Vec::new();
            let mut tx = Tx::begin(&self.keyspace, &self.journal, &[id], begin, &mut spare);
            tx.remove_ended(ENDED_KEYS_MAX, 1 << 20);
            self.scratch.ready.extend(tx.commit(&mut self.scratch.garbage).ready);
        }
        self.serve_waiters(&moment);
    }

    /// Drops every value that can be read back.
    pub fn spill_all(&self) {
        for id in self.keyspace.ids() {
            spill_partition(&mut self.keyspace.lock(id));
        }
    }

    /// The canonical text of everything.
    pub fn dump(&self) -> String {
        let mut fetch = |wanted: &keyspace::Spilled| Ok(spilled::read_or_stop(&self.journal, wanted));
        let mut dump = |id| self.keyspace.lock(id).dump(&mut fetch).expect("the journal has it");
        self.keyspace.ids().map(&mut dump).collect()
    }

    /// Another node with the same journal, its state made from nothing but the records.
    pub fn replayed(&self) -> Node {
        self.replayed_bent(|stamp| stamp)
    }

    /// As [`Node::replayed`], with what each record says of itself bent: for tests of the tests.
    pub fn replayed_bent(&self, bend: impl Fn(Stamp) -> Stamp) -> Node {
        self.journal.write_through(self.journal.tail()).expect("the simulated disk takes it");
        let keyspace = Keyspace::new(self.keyspace.partition_count());
        for segment in self.journal.segments() {
            let mut replay = |at: Position, record: &Record<'_>| {
                replay_record(&keyspace, at, record, &bend);
                Ok(())
            };
            self.journal.scan_segment(segment.id, &mut replay).expect("the journal is sound");
        }
        Node::over(keyspace, self.journal.clone(), self.clock.clone())
    }
}

fn replay_record(keyspace: &Keyspace, at: Position, record: &Record<'_>, bend: &impl Fn(Stamp) -> Stamp) {
    spilled::each_section(&record.head, record.body, |id, version, effects| {
        let home = spilled::home_in(Home(at.pack()), record.body.len(), 2);
        let stamp = bend(Stamp { version, time: record.head.time, home, access: 0 });
        let mut fetch = |_: &keyspace::Spilled| unreachable!("a replay from the start has every value at hand");
        keyspace.lock(id).replay(effects, &stamp, &mut fetch).expect("the journal holds effects");
    })
    .expect("the journal holds batches");
}

fn spill_partition(partition: &mut Partition) {
    for db in 0..keyspace::PHYSICAL_DB_COUNT {
        let mut keys = Vec::new();
        partition.index(db).each(|entry| keys.push(entry.key().to_vec()));
        for key in keys {
            let place = partition.find(db, &key).expect("it was just seen");
            partition.spill(db, place);
        }
    }
}
