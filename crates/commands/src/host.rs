//! The node as commands see it: settings, connections, statistics, checkpoints. Implemented by the server.
//!
//! Deliberately not: replies and their wording. A host gives facts; the commands write them down.

use crate::acl::Users;
use crate::channels::{Channels, Counts, Receiver};
use crate::script_cache::Scripts;
use crate::session::Session;
use crate::tracking::{Tracking, TrackingView};
use base::{DbId, TimeMs};
use keyspace::figures::Figures;
use std::sync::Arc;
use wire::reply::Protocol;

/// What a command may ask of the node beyond keys.
pub trait Host: Send + Sync {
    /// Everybody who may log in.
    fn users(&self) -> &Users;

    /// The text of the file that `aclfile` names. The error is for who asked.
    fn read_users_file(&self) -> Result<String, String>;

    /// Replaces that file, in one step and durably. The error has been logged.
    fn write_users_file(&self, text: &[u8]) -> Result<(), UsersFileKept>;

    /// Chance, for what may be guessed.
    fn random(&self) -> u64;

    /// Fills `out` with what nobody can guess.
    fn fill_secret(&self, out: &mut [u8]);

    /// Microseconds since the Unix epoch.
    fn wall_us(&self) -> i64;

    /// The value of a setting by its Redis name, e.g. `hash-max-listpack-entries`.
    fn setting(&self, name: &str) -> Option<String>;

    /// Names and values of the settings that match one of the globs, as CONFIG GET answers.
    fn settings_matching(&self, patterns: &[&[u8]]) -> Vec<(String, String)>;

    /// Changes settings, all or none. The error is the reply.
    fn set_settings(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), String>;

    /// Writes the settings back to the configuration file. The error is the reply.
    fn rewrite_settings(&self) -> Result<(), String>;

    /// Resets the counters that INFO shows (CONFIG RESETSTAT).
    fn reset_statistics(&self, figures: &Figures);

    /// Appends INFO's sections to `out`; an empty list means the default ones.
    fn info(&self, sections: &[&[u8]], figures: &Figures, out: &mut Vec<u8>);

    /// The scripts.
    fn scripts(&self) -> &Arc<Scripts>;

    /// Writes to the log what a script has to say; `level` is 0 (debug) to 3 (warning).
    fn log_of_script(&self, level: u8, text: &str);

    /// The connections.
    fn clients(&self) -> &dyn Clients;

    /// Who has subscribed to what.
    fn channels(&self) -> &Channels;

    /// Where messages for a connection go; `None` when it is closing.
    fn receiver(&self, id: u64) -> Option<Arc<dyn Receiver>>;

    /// Who is told of which keys that change.
    fn tracking(&self) -> &Tracking;

    /// One of the logs of remarkable commands.
    fn command_log(&self, kind: LogKind) -> &dyn CommandLog;

    /// Latency spikes and distributions.
    fn latency(&self) -> &dyn Latency;

    /// Asks for a checkpoint of every partition in the background. Returns false, and asks for nothing, when one is
    /// wanted or under way.
    fn request_checkpoint(&self) -> bool;

    /// Asks for one that begins from now on: after the one under way, if there is one.
    fn schedule_checkpoint(&self);

    /// When the last checkpoint of every partition was finished.
    fn last_checkpoint(&self) -> TimeMs;

    /// What takes memory.
    fn memory(&self, figures: &Figures) -> Memory;

    /// Whether keys that have ended are removed on time or only treated as absent (DEBUG SET-ACTIVE-EXPIRE).
    fn set_expiry(&self, enabled: bool);

    /// Has what has ended removed without delay, by somebody else.
    fn expire_now(&self);
}

/// The file of users could not be replaced and is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsersFileKept;

/// What takes memory, in bytes where nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Keys, values and their tables.
    pub used_bytes: u64,
    /// The most `used_bytes` ever was.
    pub peak_bytes: u64,
    /// Resident memory of the process.
    pub process_bytes: u64,
    /// Buffers of connections.
    pub clients_bytes: u64,
    /// Bytes of `used_bytes` that are tables, per database that has keys.
    pub tables: Vec<(DbId, u64)>,
    /// Keys in all databases.
    pub key_count: u64,
    /// The limit of `used_bytes`; 0 is none.
    pub limit_bytes: u64,
}

impl Memory {
    /// Bytes that hold neither keys nor values.
    pub fn overhead_bytes(&self) -> u64 {
        self.clients_bytes + self.table_bytes()
    }

    /// Bytes of all tables.
    pub fn table_bytes(&self) -> u64 {
        self.tables.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Bytes of keys and values.
    pub fn dataset_bytes(&self) -> u64 {
        self.used_bytes.saturating_sub(self.table_bytes())
    }

    /// Resident memory of the process in proportion to what is used.
    pub fn process_ratio(&self) -> f64 {
        self.process_bytes as f64 / self.used_bytes.max(1) as f64
    }
}

/// One connection at a moment, as CLIENT LIST shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientView {
    /// Its number.
    pub id: u64,
    /// `address:port` of the client.
    pub address: String,
    /// `address:port` it connected to.
    pub local_address: String,
    /// Its file descriptor.
    pub fd: i32,
    /// The name of the user it is logged in as.
    pub user: Vec<u8>,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_version: Vec<u8>,
    /// Whole seconds since it was accepted.
    pub age_seconds: u64,
    /// Whole seconds since its last command.
    pub idle_seconds: u64,
    /// Redis's letters for its modes; `N` for none.
    pub flags: String,
    /// What it has subscribed to.
    pub subscriptions: Counts,
    /// How it tracks keys, if it does.
    pub tracking: Option<TrackingView>,
    /// Redis's letters for what it can do.
    pub capabilities: String,
    /// The selected database.
    pub db: DbId,
    /// RESP2 or RESP3.
    pub protocol: Protocol,
    /// Bytes received and not run yet.
    pub query_bytes: usize,
    /// Room for more of them.
    pub query_free_bytes: usize,
    /// Bytes of replies not sent yet.
    pub output_bytes: usize,
    /// What the connection takes in all.
    pub memory_bytes: usize,
    /// Commands queued since MULTI; `None` outside of it.
    pub queued_count: Option<usize>,
    /// Bytes that these take.
    pub queued_bytes: usize,
    /// Keys it watches.
    pub watched_count: usize,
    /// Number of its last command (see `table::by_number`), if it has sent one.
    pub command: Option<u16>,
    /// Bytes ever received.
    pub received_bytes: u64,
    /// Bytes ever sent.
    pub sent_bytes: u64,
    /// Commands ever run.
    pub command_count: u64,
}

/// What CLIENT PAUSE holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseMode {
    /// Commands that may write.
    Write,
    /// Everything.
    All,
}

/// What a connection that CLIENT UNBLOCK lets go on answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unblock {
    /// As if its time were over.
    Timeout,
    /// An error.
    Error,
}

/// The connections of a node.
pub trait Clients: Send + Sync {
    /// One of them.
    fn view(&self, id: u64) -> Option<ClientView>;

    /// All of them, oldest first.
    fn views(&self) -> Vec<ClientView>;

    /// Closes a connection. Returns whether there was one.
    fn kill(&self, id: u64) -> bool;

    /// Holds commands back until `until`, or longer, or more of them, when that was asked for already.
    fn pause(&self, mode: PauseMode, until: TimeMs);

    /// Ends a pause.
    fn unpause(&self);

    /// Lets a connection that waits in a blocking command go on. Returns whether it did.
    fn unblock(&self, id: u64, how: Unblock) -> bool;

    /// Makes the connection's changed name, database and modes visible to the others.
    fn update(&self, session: &Session);
}

/// What a log of remarkable commands measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// Microseconds they ran.
    Slow,
    /// Bytes of their arguments.
    LargeRequest,
    /// Bytes of their replies.
    LargeReply,
}

impl LogKind {
    /// Every kind, in the order of the variants.
    pub const ALL: [LogKind; 3] = [LogKind::Slow, LogKind::LargeRequest, LogKind::LargeReply];

    /// As COMMANDLOG spells it.
    pub fn name(self) -> &'static str {
        match self {
            LogKind::Slow => "slow",
            LogKind::LargeRequest => "large-request",
            LogKind::LargeReply => "large-reply",
        }
    }
}

/// One remarkable command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number, never used twice in its log.
    pub id: u64,
    /// When the command ended, in seconds since the Unix epoch.
    pub time_seconds: i64,
    /// Microseconds or bytes, as the log's kind says.
    pub measure: u64,
    /// Its arguments, shortened as Redis shortens them.
    pub args: Vec<Vec<u8>>,
    /// `address:port` of the client.
    pub address: String,
    /// The client's name.
    pub name: Vec<u8>,
}

/// A bounded log of remarkable commands.
pub trait CommandLog: Send + Sync {
    /// The newest `count` entries, newest first; all when `None`.
    fn entries(&self, count: Option<usize>) -> Vec<LogEntry>;

    /// How many entries there are.
    fn count(&self) -> usize;

    /// Forgets them all.
    fn clear(&self);
}

/// A class of latency spikes and its figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyEvent {
    /// What took long: `command`, `expire-cycle` …
    pub name: &'static str,
    /// When it last did, in seconds since the Unix epoch.
    pub time_seconds: i64,
    /// How long it took then.
    pub last_ms: u64,
    /// The longest it ever took.
    pub max_ms: u64,
    /// All samples that are kept, added up.
    pub sum_ms: u64,
    /// How many those are.
    pub count: u64,
}

/// How long calls of one command took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyHistogram {
    /// Calls in all.
    pub call_count: u64,
    /// `(microseconds, calls that took at most so long)`, ascending, powers of two that tell something new.
    pub cumulative: Vec<(u64, u64)>,
}

/// What LATENCY tells.
pub trait Latency: Send + Sync {
    /// The samples of an event, oldest first: seconds since the Unix epoch and milliseconds.
    fn history(&self, event: &[u8]) -> Vec<(i64, u64)>;

    /// All events that have happened.
    fn events(&self) -> Vec<LatencyEvent>;

    /// Forgets an event, or all of them. Returns how many there were.
    fn reset(&self, event: Option<&[u8]>) -> usize;

    /// How long the calls of the command with this number took; `None` when there was none.
    fn histogram(&self, number: u16) -> Option<LatencyHistogram>;
}
