//! What a connection remembers between MULTI and EXEC, and of the keys it watches.
//!
//! ```text
//! (none) ── WATCH ──► watching ── MULTI ──► open ── a command is refused ──► aborted
//!                        ▲  none ── MULTI ──►│                                  │
//!                     UNWATCH         EXEC, DISCARD, RESET ◄────────────────────┘
//! ```
//!
//! Deliberately not here: running the commands (`exec.rs`), and who else changes a watched key: EXEC looks at the keys
//! again and compares, so that nobody who writes has to know of watchers. Only a key that was absent has a witness, for
//! it might come to be and go again.
//!
//! Invariant: an aborted transaction holds no commands.

use crate::run::Resolved;
use crate::spec::{Flags, Group};
use base::number::parse_i64;
use base::{DB_COUNT, DbId};
use keyspace::watching::Witness;
use keyspace::{KeyState, Tx};
use std::collections::HashMap;
use wire::args::{Args, ArgsQueue};

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before MULTI: there are only watched keys.
    Watching,
    /// Commands are queued.
    Open,
    /// A command was refused: EXEC will be as well.
    Aborted,
}

/// What is known of a watched key.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// The state it was in.
    state: KeyState,
    /// Sees it come to be, where it was not there.
    witness: Option<Witness>,
}

impl Watched {
    /// Whether the key, which lies in the selected database, is no longer what it was, or was not all the time.
    pub(crate) fn has_changed(&self, tx: &Tx<'_>, key: &[u8]) -> bool {
        tx.key_state(key) != self.state || self.witness.as_ref().is_some_and(Witness::has_seen)
    }
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Transaction {
    phase: Phase,
    commands: Vec<Resolved>,
    args: ArgsQueue,
    /// The flags of all queued commands together.
    flags: Flags,
    /// The database that the last queued SELECT names.
    selected: Option<DbId>,
    watched: HashMap<(DbId, Vec<u8>), Watched>,
    /// What its keys need was fetched once already.
    pub(crate) is_fetched: bool,
}

impl Transaction {
    fn new(phase: Phase) -> Self {
        Transaction {
            phase,
            commands: Vec::new(),
            args: ArgsQueue::default(),
            flags: Flags::NONE,
            selected: None,
            watched: HashMap::new(),
            is_fetched: false,
        }
    }

    /// MULTI.
    pub(crate) fn open(transaction: &mut Option<Box<Transaction>>) {
        transaction.get_or_insert_with(|| Box::new(Transaction::new(Phase::Watching))).phase = Phase::Open;
    }

    /// WATCH: remembers the state `key` is in, unless it is watched already.
    pub(crate) fn watch(transaction: &mut Option<Box<Transaction>>, tx: &mut Tx<'_>, key: &[u8]) {
        let transaction = transaction.get_or_insert_with(|| Box::new(Transaction::new(Phase::Watching)));
        transaction.watched.entry((tx.db(), key.to_vec())).or_insert_with(|| {
            let state = tx.key_state(key);
            Watched { state, witness: state.is_absent().then(|| tx.witness(key)) }
        });
    }

    /// Whether MULTI was called.
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Watching
    }

    /// Whether a command was refused since.
    pub fn is_aborted(&self) -> bool {
        self.phase == Phase::Aborted
    }

    /// A command was refused: nothing of this transaction will run.
    pub fn abort(&mut self) {
        if self.is_open() {
            self.phase = Phase::Aborted;
            self.args.clear();
            self.commands = Vec::new();
        }
    }

    /// Adds a command, of which `flags` hold. One that is aborted already takes no more memory.
    pub(crate) fn queue(&mut self, resolved: Resolved, args: &Args<'_>, flags: Flags) {
        assert!(self.is_open(), "commands are queued after MULTI");
        if self.phase == Phase::Open {
            self.commands.push(resolved);
            self.args.push(args.iter());
            self.flags = self.flags | flags;
            if resolved.spec.group == Group::Connection && resolved.spec.name == "select" {
                self.selected = selected_by(args).or(self.selected);
            }
        }
    }

    /// The queued commands.
    pub(crate) fn commands(&self) -> impl ExactSizeIterator<Item = (Resolved, Args<'_>)> {
        self.commands.iter().enumerate().map(|(index, resolved)| (*resolved, self.args.args(index)))
    }

    /// The watched keys.
    pub(crate) fn watched(&self) -> impl Iterator<Item = (DbId, &[u8], &Watched)> {
        self.watched.iter().map(|((db, key), watched)| (*db, &key[..], watched))
    }

    /// The database in which the next queued command will run; `None` for the one selected now.
    pub(crate) fn selected(&self) -> Option<DbId> {
        self.selected
    }

    /// The flags of all queued commands together.
    pub(crate) fn flags(&self) -> Flags {
        self.flags
    }

    /// How many commands are queued; `None` before MULTI.
    pub fn queued_count(&self) -> Option<usize> {
        self.is_open().then_some(self.commands.len())
    }

    /// How many keys are watched.
    pub fn watched_count(&self) -> usize {
        self.watched.len()
    }

    /// Bytes of memory that the queued commands take.
    pub fn queued_bytes(&self) -> usize {
        self.args.bytes() + self.commands.len() * size_of::<Resolved>()
    }

    /// UNWATCH.
    pub(crate) fn unwatch(transaction: &mut Option<Box<Transaction>>) {
        match transaction {
            Some(open) if open.is_open() => open.watched.clear(),
            _ => *transaction = None,
        }
    }
}

/// The database that a SELECT names.
pub(crate) fn selected_by(args: &Args<'_>) -> Option<DbId> {
    let number = args.nth(1).and_then(parse_i64).and_then(|number| u8::try_from(number).ok());
    number.filter(|number| usize::from(*number) < DB_COUNT).map(DbId)
}
