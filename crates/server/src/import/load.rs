//! Puts what a source holds into a node: keys as batches of their own, commands through the command table.
//!
//! As Redis does when it loads: keys of an RDB file that have ended are left out, but not those before commands,
//! which were recorded when they were there; while commands run, nothing ends.
//!
//! Deliberately not here: reading the source.
//!
//! Invariants: what is not imported is named; a command that only a server could run (CONFIG, SHUTDOWN) never runs.

use super::Failure;
use super::summary::{Missing, Read, shown};
use super::walk::{Found, Visitor};
use crate::clients::ClientRegistry;
use crate::config::Settings;
use crate::host::ServerHost;
use crate::statistics::Statistics;
use base::{DB_COUNT, DbId, PartitionId, TimeMs};
use commands::acl::Users;
use commands::dump::image_of;
use commands::run::{self, Engine, Ran, Resolved, Scratch, resolve};
use commands::session::Session;
use commands::spec::{Flags, Scope};
use commands::within::{Inner, Observer, Origin};
use keyspace::{AccessClock, Begin, Kind, Tx};
use node::Node;
use rdb::{Key, Object, Value};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use wire::args::{Args, Ranges};

/// How long one key or command waits when memory runs over its limit.
const CROWDED_PAUSE: Duration = Duration::from_millis(1);
/// Bytes of a key and its value's image that fit one record.
const IMAGE_BYTES_MAX: usize = 1 << 30;
/// Bytes of an image from which on room in the journal is asked for first.
const LARGE_BYTES: usize = 16 << 10;
/// The horizon before which nothing has ended.
const BEGINNING: TimeMs = TimeMs(0);

/// What came of it.
pub(super) struct Report {
    /// What was read.
    pub read: Read,
    /// What was not imported.
    pub missing: Missing,
}

/// See the module's text.
pub(super) struct Loader<'l> {
    node: &'l Arc<Node>,
    host: ServerHost,
    /// For values that were spilled and a command needs.
    runtime: tokio::runtime::Runtime,
    session: Session,
    scratch: Scratch,
    reply: Vec<u8>,
    effects: Vec<u8>,
    /// The database of keys; of commands it is the session's.
    db: u64,
    /// The database that commands are in and that does not exist here.
    db_beyond: Option<u64>,
    keeps_ended: bool,
    refused: Refused,
    report: Report,
}

impl<'l> Loader<'l> {
    /// Into `node`, whose threads run once keys come, what was `found`.
    ///
    /// # Errors
    /// What is there cannot be read back.
    pub(super) fn new(node: &'l Arc<Node>, settings: Arc<Settings>, found: &Found) -> Result<Self, Failure> {
        let statistics = Arc::new(Statistics::new(&settings));
        let clients = Arc::new(ClientRegistry::new());
        let keeps_ended = 0 < found.command_count;
        node.keyspace.set_keeps_ended(keeps_ended);
        let users = Users::new(b"");
        let session = session(&users);
        let host = ServerHost::new(Arc::clone(node), settings, clients, statistics, users);
        let refused = |name: &[u8], error: &commands::Error| {
            let (library, error) = (String::from_utf8_lossy(name), error.reply());
            tracing::warn!(%library, %error, "a library of functions that is there already cannot be loaded; it is kept");
        };
        commands::libraries::open(&node.keyspace, &node.journal, &host, refused)
            .map_err(|error| Failure::Target(format!("the libraries of functions cannot be read: {error}")))?;
        Ok(Loader {
            node,
            host,
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime needs no more than memory"),
            session,
            scratch: Scratch::default(),
            reply: Vec::new(),
            effects: Vec::new(),
            db: 0,
            db_beyond: None,
            keeps_ended,
            refused: Refused::default(),
            report: Report { read: Read::default(), missing: Missing::default() },
        })
    }

    /// Removes every key there is.
    pub(super) fn empty(&mut self) {
        let ids: Vec<PartitionId> = self.node.keyspace.ids().collect();
        let mut garbage = Vec::new();
        let mut tx = begin(self.node, &ids, DbId(0), &mut self.effects);
        for number in 0..DB_COUNT {
            tx.set_db(DbId(number as u8));
            tx.flush_db();
        }
        tx.commit(&mut garbage);
        self.node.discard(garbage);
    }

    /// Ends the import: from here on keys end when they should.
    pub(super) fn finish(self) -> Report {
        self.node.keyspace.set_keeps_ended(false);
        self.report
    }

    /// Waits for memory, and stops when there is no disk.
    fn wait_for_room(&self, bytes: usize) -> Result<(), Failure> {
        if self.node.is_crowded() {
            std::thread::sleep(CROWDED_PAUSE);
        }
        let has_room = || u32::try_from(bytes).is_ok_and(|bytes| self.node.journal.ensure_room(bytes).is_ok());
        if self.node.journal.is_full() || (LARGE_BYTES < bytes && !has_room()) {
            return Err(Failure::NoSpace);
        }
        Ok(())
    }

    fn not_imported(&mut self, key: &[u8], why: &str) {
        self.report.missing.add(format!("database {}, key {}: {why}", self.db, shown(key)));
    }

    fn put(&mut self, key: &Key<'_>, db: DbId, object: Object) -> Result<(), Failure> {
        let expires = key.expires.map(|at| TimeMs(at.0.max(1)));
        let horizon = if self.keeps_ended { BEGINNING } else { self.node.moment().now };
        let (kind, image) = match image_of(object, horizon) {
            Ok(Some(value)) => value,
            Ok(None) => {
                self.report.read.ended += 1;
                return Ok(());
            }
            Err(_) => {
                self.not_imported(key.name, "a value that cannot be one here");
                return Ok(());
            }
        };
        let bytes = key.name.len() + image.len();
        if IMAGE_BYTES_MAX < bytes {
            self.not_imported(key.name, "a value of more than 1 GiB, which no record holds");
            return Ok(());
        }
        self.wait_for_room(bytes)?;
        let id = self.node.keyspace.partition_of(key.name);
        let mut tx = begin(self.node, &[id], db, &mut self.effects);
        if self.keeps_ended {
            tx.see_ended();
        }
        match kind {
            Kind::String => tx.put_string(key.name, &image, expires),
            _ => tx.put_image(key.name, kind, &image, expires),
        }
        if let Some(access) = access_of(key, tx.clock())
            && let Some(found) = tx.peek(key.name)
        {
            tx.set_access(found, access);
        }
        tx.commit(&mut self.scratch.garbage);
        self.discard();
        self.report.read.keys += 1;
        Ok(())
    }

    fn discard(&mut self) {
        if !self.scratch.garbage.is_empty() {
            self.node.discard(std::mem::take(&mut self.scratch.garbage));
        }
    }

    /// Runs a command of the source. What it is refused for is noted.
    fn run(&mut self, resolved: Resolved, args: Args<'_>) -> Result<(), Failure> {
        self.wait_for_room(args.source_bytes())?;
        loop {
            self.reply.clear();
            let Node { keyspace, journal, .. } = &**self.node;
            let engine = Engine { keyspace, journal, host: &self.host, observer: &self.refused };
            let moment = self.node.moment();
            match run::run(engine, resolved, &mut self.session, args, &moment, &mut self.reply, &mut self.scratch) {
                Ran::Done { verdict, .. } if verdict.is_error() => {
                    let why = String::from_utf8_lossy(&self.reply).trim_start_matches('-').trim_end().to_owned();
                    self.report.missing.add(told(self.session.db, resolved, &args, &why));
                }
                Ran::Done { .. } | Ran::Queued => {}
                Ran::Spilled(wanted) => {
                    let fetched = self.runtime.block_on(self.node.fetch(wanted));
                    fetched.map_err(|error| Failure::Target(format!("a value cannot be read back: {error}")))?;
                    continue;
                }
            }
            self.refused.0.borrow_mut().drain(..).for_each(|line| self.report.missing.add(line));
            self.discard();
            return Ok(());
        }
    }
}

fn session(users: &Users) -> Session {
    let mut session = Session::new(1, users);
    session.imports = true;
    session
}

fn begin<'t>(node: &'t Node, ids: &[PartitionId], db: DbId, effects: &'t mut Vec<u8>) -> Tx<'t> {
    let moment = node.moment();
    let begin = Begin { db, now: moment.now, clock: moment.clock, no_touch: true };
    Tx::begin(&node.keyspace, &node.journal, ids, begin, effects)
}

/// As RESTORE does it: what the policy in force keeps.
fn access_of(key: &Key<'_>, clock: &AccessClock) -> Option<u32> {
    match clock.frequency {
        None => key.idle_seconds.map(|seconds| clock.idle_since(seconds)),
        Some(_) => key.frequency.map(|count| clock.with_frequency(count)),
    }
}

/// Commands within a transaction that were refused.
#[derive(Default)]
struct Refused(RefCell<Vec<String>>);

impl Observer for Refused {
    fn ran(&self, inner: &Inner<'_>) {
        if inner.verdict.is_error() && inner.origin == Origin::Queue {
            let why = String::from_utf8_lossy(inner.reply);
            let line = told(inner.db, inner.resolved, &inner.args, why.trim_start_matches('-').trim_end());
            self.0.borrow_mut().push(line);
        }
    }
}

/// A command, the first key it names, and why it was not run.
fn told(db: DbId, resolved: Resolved, args: &Args<'_>, why: &str) -> String {
    let mut key = None;
    resolved.spec.keys.each(args, |index| {
        key.get_or_insert(index);
    });
    let name = resolved.row.spec.name.to_ascii_uppercase();
    match key.and_then(|index| args.nth(index)) {
        Some(key) => format!("database {}, command {name}, key {}: {why}", db.0, shown(key)),
        None => format!("database {}, command {name}: {why}", db.0),
    }
}

/// Whether a command is one that changes data and needs nobody to wait or to watch.
fn is_for_import(resolved: Resolved) -> bool {
    let Resolved { row, spec } = resolved;
    let changes_data = spec.flags.has(Flags::WRITE) || spec.scope == Scope::Script;
    let is_frame = matches!(row.spec.name, "select" | "multi" | "exec" | "script" | "function");
    (changes_data || is_frame) && !spec.flags.has(Flags::BLOCKING)
}

impl Visitor for Loader<'_> {
    fn file(&mut self) {
        (self.db, self.db_beyond, self.session) = (0, None, session(&self.host.users));
    }

    fn database(&mut self, number: u64) {
        self.db = number;
    }

    fn key(&mut self, key: &Key<'_>) -> Result<(), Failure> {
        let Some(db) = u8::try_from(self.db).ok().filter(|db| usize::from(*db) < DB_COUNT) else {
            self.report.missing.add_of_database(self.db);
            return Ok(());
        };
        let now = self.node.moment().now;
        if !self.keeps_ended && key.expires.is_some_and(|at| at <= now) {
            self.report.read.ended += 1;
            return Ok(());
        }
        match &key.value {
            Value::Encoded(encoded) => match encoded.object() {
                Ok(object) => return self.put(key, DbId(db), object),
                Err(rdb::DumpError::BadFormat(why)) => self.not_imported(key.name, why),
                Err(error) => self.not_imported(key.name, &error.to_string()),
            },
            Value::Module(module) => self.not_imported(key.name, &format!("a value of the module {module}")),
            Value::TooLarge => self.not_imported(key.name, "a value too large to hold in memory"),
        }
        Ok(())
    }

    /// Loaded by the command that loads libraries.
    fn library(&mut self, code: &[u8]) -> Result<(), Failure> {
        let mut words = Ranges::new();
        words.begin_own();
        for word in [&b"FUNCTION"[..], b"LOAD", b"REPLACE", code] {
            words.add(word);
        }
        let resolved = resolve(&words.args(b"")).expect("FUNCTION LOAD is a command");
        self.run(resolved, words.args(b""))
    }

    fn module_note(&mut self, module: &str) {
        self.report.missing.add(format!("data of the module {module} beside keys"));
    }

    fn command(&mut self, args: Args<'_>) -> Result<(), Failure> {
        let resolved = match resolve(&args) {
            Ok(resolved) => resolved,
            Err(error) => {
                self.report.missing.add(format!("database {}: {}", self.session.db.0, error.reply()));
                return Ok(());
            }
        };
        if !is_for_import(resolved) {
            let why = "not a command that changes data";
            self.report.missing.add(told(self.session.db, resolved, &args, why));
            return Ok(());
        }
        match resolved.row.spec.name {
            "select" => {
                let number = args.nth(1).and_then(base::number::parse_u64);
                self.db_beyond = number.filter(|number| DB_COUNT as u64 <= *number);
                if self.db_beyond.is_some() {
                    return Ok(());
                }
            }
            "multi" | "exec" => {}
            _ => {
                if let Some(number) = self.db_beyond {
                    self.report.missing.add_of_database(number);
                    return Ok(());
                }
                self.report.read.commands += 1;
            }
        }
        self.run(resolved, args)
    }

    fn is_in_transaction(&self) -> bool {
        self.session.transaction.is_some()
    }
}
