//! hustdb's binlog: what another hustdb server has missed, sent there once it answers again.
//!
//! ```text
//! GET binlog?host=…&method=…  ─►  hash `hustdb:binlog` of database 2:   "host letter table key" ─► "1700000000000-17-3"
//!                                      │ each record, every `hustdb-binlog-interval`
//!                                      ▼
//! what is there of it now  ─►  POST /hustdb/put?key=…&ver=…&ttl=…&is_dup=true  ─►  host
//! ```
//!
//! Who sends each write to two servers (hustdb's HA module does) leaves a record on one where the other did not answer. A
//! record names a pair or an element, not a value: what is sent is what is there by then, with its version, which the other
//! server keeps if it is the newer one. A capital letter stands for a write that was missed, and if nothing is there any more,
//! the version that it had is removed there, too; a small one for a removal, which is sent before what has come to be since,
//! whose versions begin anew.
//!
//! The log is an ordinary hash, so it lasts as data does, and who may not write that key may leave no record.
//!
//! Deliberately not here: TLS to other servers, and finding out that one has missed something, which is the part of who
//! writes to both.
//!
//! Invariant: a record goes only when its server has answered to what was there after the record was left, and nothing of
//! that has changed meanwhile; or when it cannot be sent at all, which is logged.
//!
//! Source: hustdb's published API and source (`binlog_scan`); `docs/adr/0022-hustdbs-binlog.md`.

use super::parameters::{Parameters, is_table_name};
use super::{BAD_REQUEST, NOT_FOUND, refuse_error};
use crate::config::{SettingId, Settings};
use crate::connection::{Caller, End, Stream};
use crate::http::auth::base64_encode;
use crate::http::doors::Visit;
use crate::http::request::Method;
use crate::serve::Server;
use base::number::parse_i64;
use base::{DbId, TimeMs};
use commands::acl::Users;
use commands::hustdb::TTL_SECONDS_MAX;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use wire::value::{Decoded, Value};

/// Where records lie: not among the tables that hustdb lists.
const LOG_DB: DbId = DbId(2);
const LOG_KEY: &[u8] = b"hustdb:binlog";
/// Longest `host`.
const HOST_BYTES_MAX: usize = 32;
/// Longest name of a pair or an element that a record is about; records are met `PAGE_RECORDS` at a time.
const NAME_BYTES_MAX: usize = 64 << 10;
const PAGE_RECORDS: &[u8] = b"200";
/// Connections held at a time.
const PEERS_MAX: usize = 64;
/// How long a server may take to accept a connection, and to answer.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest body of an answer; hustdb's to writes are empty or a number.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Bytes of a record that a line of the log shows.
const SHOWN_BYTES_MAX: usize = 128;

/// What requests and the replaying task share.
pub struct Binlog {
    /// Tells records of the same millisecond apart.
    number: AtomicU64,
    /// A record was left.
    left: Notify,
    /// Records about what is being changed; how often.
    underway: Mutex<HashMap<Vec<u8>, usize>>,
    /// Servers that have been said not to answer.
    silent: Mutex<HashSet<SocketAddr>>,
}

impl Default for Binlog {
    fn default() -> Self {
        let left = Notify::new();
        // There may be records from before the start.
        left.notify_one();
        Binlog { number: AtomicU64::new(0), left, underway: Mutex::default(), silent: Mutex::default() }
    }
}

impl Binlog {
    fn stamp(&self, now: TimeMs, version: i64) -> String {
        format!("{}-{}-{version}", now.0, self.number.fetch_add(1, Ordering::Relaxed))
    }
}

/// When a record was left, and the version of what it is about then.
fn read_stamp(stamp: &[u8]) -> Option<(TimeMs, i64)> {
    let mut words = str::from_utf8(stamp).ok()?.split('-');
    let (left_ms, _, version) = (words.next()?, words.next()?, words.next()?);
    Some((TimeMs(left_ms.parse().ok()?), version.parse().ok().filter(|version| 0 <= *version)?))
}

/// A change that a record was left for ahead is being made: the record stays until it has been.
pub struct Underway {
    server: Arc<Server>,
    record: Vec<u8>,
}

impl Underway {
    fn begin(server: Arc<Server>, record: Vec<u8>) -> Underway {
        *server.seeds.binlog.underway.lock().entry(record.clone()).or_default() += 1;
        Underway { server, record }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let binlog = &self.server.seeds.binlog;
        let mut underway = binlog.underway.lock();
        if let Some(count) = underway.get_mut(&self.record) {
            *count -= 1;
            if *count == 0 {
                underway.remove(&self.record);
            }
        }
        drop(underway);
        binlog.left.notify_one();
    }
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Letter {
    Pair = b'P' as isize,
    Hash = b'H' as isize,
    Set = b'S' as isize,
    SortedSet = b'Z' as isize,
}

impl Letter {
    /// That of hustdb's methods by their numbers: put and del of each.
    fn of_method(number: i64) -> Option<Letter> {
        Some(match number {
            1 | 2 => Letter::Pair,
            3 | 4 => Letter::Hash,
            5 | 6 => Letter::Set,
            7 | 8 => Letter::SortedSet,
            _ => return None,
        })
    }

    fn read(byte: u8) -> Option<Letter> {
        let all = [Letter::Pair, Letter::Hash, Letter::Set, Letter::SortedSet];
        all.into_iter().find(|letter| byte.to_ascii_uppercase() == *letter as u8)
    }
}

/// A pair or an element, and the server that has missed what happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'r> {
    host: SocketAddr,
    letter: Letter,
    /// It was removed; else written.
    removed: bool,
    /// Of a pair empty.
    table: &'r [u8],
    key: &'r [u8],
}

impl<'r> Record<'r> {
    /// An element of a hash was written.
    pub fn of_hash(host: SocketAddr, table: &'r [u8], key: &'r [u8]) -> Record<'r> {
        Record { host, letter: Letter::Hash, removed: false, table, key }
    }

    fn encode(&self) -> Vec<u8> {
        let letter = char::from(self.letter as u8);
        let letter = if self.removed { letter.to_ascii_lowercase() } else { letter };
        let mut text = format!("{} {letter} ", self.host).into_bytes();
        text.extend_from_slice(self.table);
        text.push(b' ');
        text.extend_from_slice(self.key);
        text
    }

    fn read(text: &'r [u8]) -> Option<Record<'r>> {
        let mut words = text.splitn(4, |byte| *byte == b' ');
        let host = str::from_utf8(words.next()?).ok()?.parse().ok()?;
        let &[byte] = words.next()? else { return None };
        let (letter, table, key) = (Letter::read(byte)?, words.next()?, words.next()?);
        let is_table = if letter == Letter::Pair { table.is_empty() } else { is_table_name(table) };
        let removed = byte.is_ascii_lowercase();
        (is_table && !key.is_empty()).then_some(Record { host, letter, removed, table, key })
    }

    /// The command that reads what it is about.
    fn look(&self) -> Vec<&'r [u8]> {
        match self.letter {
            Letter::Pair => vec![b"HUSTDB", b"GET", self.key],
            Letter::Hash => vec![b"HUSTDB", b"HGET", self.table, self.key],
            Letter::Set => vec![b"HUSTDB", b"SGET", self.table, self.key],
            Letter::SortedSet => vec![b"HUSTDB", b"ZGET", self.table, self.key],
        }
    }

    /// The key of the keyspace that it lies at.
    fn place(&self) -> &'r [u8] {
        if self.letter == Letter::Pair { self.key } else { self.table }
    }
}

/// Reads `host`: an address and a port, not a name, and one of those listed, if any are ([`hosts`]).
///
/// # Errors
/// 400: it is no such thing.
pub fn read_host(text: &[u8], listed: &[SocketAddr]) -> Result<SocketAddr, u16> {
    let host = str::from_utf8(text).ok().filter(|text| text.len() <= HOST_BYTES_MAX);
    let address = host.and_then(|text| text.parse::<SocketAddr>().ok()).filter(|address| address.port() != 0);
    address.filter(|address| listed.is_empty() || listed.contains(address)).ok_or(BAD_REQUEST)
}

/// The servers that there may be records for; none stands for all.
pub fn hosts(settings: &Settings) -> Vec<SocketAddr> {
    let text = settings.text(const { SettingId::of("hustdb-binlog-hosts") });
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Answers `binlog`: leaves a record.
///
/// # Errors
/// The connection is to end.
pub async fn answer<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), End> {
    let parameters = Parameters(visit.request.query);
    let key = match parameters.decoded("key") {
        Ok(Some(key)) => key,
        // Unlike elsewhere, a key in the query comes before one in the body.
        Ok(None) if visit.request.method == Method::Post => visit.arguments.body().to_vec(),
        Ok(None) => Vec::new(),
        Err(status) => {
            visit.answer.status(status);
            return Ok(());
        }
    };
    let (Some(host), Some(_), false) = (parameters.raw("host"), parameters.raw("method"), key.is_empty()) else {
        visit.answer.status(NOT_FOUND);
        return Ok(());
    };
    let number = parameters.number("method", 0);
    let record = read_host(host, &hosts(&visit.caller.server().settings)).and_then(|host| {
        let letter = Letter::of_method(number).ok_or(BAD_REQUEST)?;
        let table = if letter == Letter::Pair { None } else { Some(parameters.name("tb")?.ok_or(BAD_REQUEST)?) };
        let removed = number % 2 == 0;
        Ok(Record { host, letter, removed, table: table.unwrap_or_default(), key: &key })
    });
    match record {
        Ok(record) if key.len() <= NAME_BYTES_MAX => leave(visit, &record, false).await.map(drop),
        Ok(_) => {
            visit.answer.status(BAD_REQUEST);
            Ok(())
        }
        Err(status) => {
            visit.answer.status(status);
            Ok(())
        }
    }
}

/// Leaves a record in the log, unless it is about a write of what is not there and is not about to be either. It stays there
/// until what is returned is dropped; `None` when there is none, or when that is refused, which has been answered.
///
/// # Errors
/// The connection is to end.
pub async fn leave<S: Stream>(
    visit: &mut Visit<'_, S>,
    record: &Record<'_>,
    is_ahead: bool,
) -> Result<Option<Underway>, End> {
    // Who may not read it may not have it sent, either.
    visit.arguments.begin(b"HUSTDB");
    for word in &record.look()[1..] {
        visit.arguments.add(word);
    }
    let reply = visit.caller.call(visit.arguments.args()).await?;
    let version = match read_reply(&visit.caller.replies()[reply.clone()]) {
        Ok(State { is_there: true, version, .. }) => version + i64::from(is_ahead),
        Ok(_) if is_ahead => 1,
        Ok(_) if record.removed => 0,
        Ok(_) => return Ok(None),
        Err(_) => {
            refuse_error(visit.answer, &visit.caller.replies()[reply]);
            return Ok(None);
        }
    };
    let server = Arc::clone(visit.caller.server());
    let stamp = server.seeds.binlog.stamp(server.node.moment().now, version);
    let underway = Underway::begin(server, record.encode());
    visit.arguments.begin(b"HSET").add(LOG_KEY).add(&underway.record).add(stamp.as_bytes());
    visit.caller.session().db = LOG_DB;
    let reply = visit.caller.call(visit.arguments.args()).await;
    visit.caller.session().db = DbId(0);
    let reply = &visit.caller.replies()[reply?];
    if reply.starts_with(b"-") {
        refuse_error(visit.answer, reply);
        return Ok(None);
    }
    Ok(Some(underway))
}

fn read_reply(reply: &[u8]) -> Result<State, String> {
    match Value::decode(reply) {
        Ok(Decoded::Value { value, .. }) => State::read(value),
        _ => Err("no reply".to_owned()),
    }
}

/// Sends what the log holds, for as long as the server runs.
pub async fn replay(server: Arc<Server>) {
    loop {
        server.seeds.binlog.left.notified().await;
        let passed = pass(&server).await;
        if let Err(end) = &passed {
            tracing::warn!(?end, "hustdb's binlog was left half-way; it is gone over again");
        }
        if !matches!(passed, Ok(Passed::Empty)) {
            server.seeds.binlog.left.notify_one();
        }
        let seconds = server.settings.number(const { SettingId::of("hustdb-binlog-interval") });
        tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    }
}

/// What a pass over the log came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    /// Every record that was met has gone.
    Empty,
    /// Some are there still.
    Waiting,
}

/// Goes over the log once, as a client of its own.
async fn pass(server: &Arc<Server>) -> Result<Passed, End> {
    // Nobody speaks at the other end, which stays open while commands run.
    let (stream, _other_end) = UnixStream::pair()?;
    let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
    let Some(client) = server.clients.register(nobody, nobody, &stream, server.settings.clients_max()) else {
        tracing::warn!("hustdb's binlog waits: there are maxclients clients");
        return Ok(Passed::Waiting);
    };
    client.set_own();
    let id = client.id();
    let caller = Caller::of_door(Arc::clone(server), client, stream, "hustdb-binlog");
    let replay = Replay {
        caller,
        hosts: hosts(&server.settings),
        connected: HashMap::new(),
        silent: HashSet::new(),
        told: HashSet::new(),
    };
    let passed = { replay }.run().await;
    server.clients.unregister(id);
    passed
}

struct Replay {
    caller: Caller<UnixStream>,
    /// See [`hosts`].
    hosts: Vec<SocketAddr>,
    connected: HashMap<SocketAddr, SendRequest<Full<Bytes>>>,
    /// These are not asked again in this pass.
    silent: HashSet<SocketAddr>,
    /// What was logged in this pass.
    told: HashSet<(SocketAddr, u16)>,
}

impl Replay {
    async fn run(&mut self) -> Result<Passed, End> {
        let session = self.caller.session();
        (session.user, session.is_authenticated) = (Arc::clone(Users::new(b"").default()), true);
        self.caller.tell_registry();
        let (mut cursor, mut passed) = (b"0".to_vec(), Passed::Empty);
        loop {
            let page = self.call(LOG_DB, &[b"HSCAN", LOG_KEY, &cursor, b"COUNT", PAGE_RECORDS]).await?;
            let Value::Array(page) = &page else { return Ok(told_unreadable(&page)) };
            let [Value::Bulk(next), Value::Array(records)] = &page[..] else { return Err(End::Io) };
            for pair in records.chunks_exact(2) {
                let [Value::Bulk(record), Value::Bulk(stamp)] = pair else { return Err(End::Io) };
                if !self.replay_one(record, stamp).await? {
                    passed = Passed::Waiting;
                }
            }
            if next[..] == *b"0" {
                return Ok(passed);
            }
            cursor.clone_from(next);
        }
    }

    /// Runs a command on a database.
    async fn call(&mut self, db: DbId, words: &[&[u8]]) -> Result<Value, End> {
        self.caller.begin();
        self.caller.session().db = db;
        let reply = self.caller.call_own(words).await?;
        match Value::decode(&self.caller.replies()[reply]) {
            Ok(Decoded::Value { value, .. }) => Ok(value),
            _ => Err(End::Io),
        }
    }

    /// Sends what a record is about, and removes the record when that has been answered. Returns whether it has gone.
    async fn replay_one(&mut self, text: &[u8], stamp: &[u8]) -> Result<bool, End> {
        let is_gone = self.send_one(text, stamp).await? && self.remove(text, stamp).await?;
        if !is_gone {
            self.call(LOG_DB, &[b"UNWATCH"]).await?;
        }
        Ok(is_gone)
    }

    /// Sends what a record is about, which is watched from before it is read. Returns whether nothing is left to be sent.
    async fn send_one(&mut self, text: &[u8], stamp: &[u8]) -> Result<bool, End> {
        let record = shown(text);
        let (Some(about), Some((left, version))) = (Record::read(text), read_stamp(stamp)) else {
            tracing::warn!(record, "what stands in hustdb:binlog is no record; it is removed");
            return Ok(true);
        };
        let server = Arc::clone(self.caller.server());
        let now = server.node.moment().now;
        let timeout = server.settings.number(const { SettingId::of("hustdb-binlog-timeout") });
        if left.0.saturating_add(timeout * 1_000) < now.0 {
            tracing::warn!(record, timeout, "a record of hustdb's binlog is given up after so many seconds");
            return Ok(true);
        }
        if !self.hosts.is_empty() && !self.hosts.contains(&about.host) {
            if self.told.insert((about.host, 0)) {
                tracing::warn!(
                    record,
                    "hustdb's binlog has records for a server that hustdb-binlog-hosts does not list"
                );
            }
            return Ok(false);
        }
        if self.silent.contains(&about.host) {
            return Ok(false);
        }
        // A pair or a table lies in either.
        for db in [DbId(0), DbId(1)] {
            self.call(db, &[b"WATCH", about.place()]).await?;
        }
        let state = match State::read(self.call(DbId(0), &about.look()).await?) {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(record, error, "what a record of hustdb's binlog is about cannot be read");
                return Ok(false);
            }
        };
        let Some(asked) = Asked::each(&about, version, &state, now) else {
            tracing::warn!(
                record,
                "an empty value, or a score that is no integer, is nothing for hustdb; the record is removed"
            );
            return Ok(true);
        };
        // What the other server is told must not be lost here.
        self.caller.settle().await.map_err(|_| End::Io)?;
        for asked in asked {
            if !self.send(about.host, &asked, &record, &server.settings).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends a request. Returns whether it has been answered for good.
    async fn send(&mut self, host: SocketAddr, asked: &Asked, record: &str, settings: &Settings) -> bool {
        let is_listed = self.hosts.contains(&host);
        let login =
            if is_listed { settings.text(const { SettingId::of("hustdb-binlog-auth") }) } else { String::new() };
        let request = match asked.request(host, &login) {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(record, %error, "what hustdb's binlog has cannot be said in HTTP; the record is removed");
                return true;
            }
        };
        let answered = self.ask(host, request).await;
        let known_silent = &self.caller.server().seeds.binlog.silent;
        if answered.is_ok() && known_silent.lock().remove(&host) {
            tracing::info!(%host, "a server that hustdb's binlog is for answers again");
        }
        match answered {
            Ok(Answered { status: 200, .. }) => true,
            // There is nothing to be removed there.
            Ok(Answered { status: NOT_FOUND | 412, .. }) if asked.removes => true,
            Ok(Answered { status: status @ (400 | 401 | 412..=414 | 431), asks_who: false }) => {
                tracing::warn!(
                    record,
                    status,
                    "a server refuses what hustdb's binlog has for it; the record is removed"
                );
                true
            }
            Ok(Answered { status, asks_who }) => {
                if self.told.insert((host, status)) {
                    let hint = if asks_who {
                        "hustdb-binlog-auth says who asks, and hustdb-binlog-hosts must list the server"
                    } else {
                        "the record stays"
                    };
                    tracing::warn!(record, status, hint, "a server does not take what hustdb's binlog has for it");
                }
                if 500 <= status {
                    self.silent.insert(host);
                }
                false
            }
            Err(error) => {
                if known_silent.lock().insert(host) {
                    tracing::warn!(%host, %error, "a server that hustdb's binlog is for does not answer; its records wait");
                }
                self.silent.insert(host);
                false
            }
        }
    }

    /// Removes a record if it still is the one that was met, and nothing that is watched has changed. Returns whether it has
    /// gone.
    async fn remove(&mut self, record: &[u8], stamp: &[u8]) -> Result<bool, End> {
        self.call(LOG_DB, &[b"WATCH", LOG_KEY]).await?;
        let current = self.call(LOG_DB, &[b"HGET", LOG_KEY, record]).await?;
        let is_same = matches!(&current, Value::Bulk(current) if current[..] == *stamp);
        if !is_same || self.caller.server().seeds.binlog.underway.lock().contains_key(record) {
            return Ok(false);
        }
        self.call(LOG_DB, &[b"MULTI"]).await?;
        self.call(LOG_DB, &[b"HDEL", LOG_KEY, record]).await?;
        Ok(matches!(self.call(LOG_DB, &[b"EXEC"]).await?, Value::Array(_)))
    }

    /// Asks a server, over the connection that there is or a new one.
    async fn ask(&mut self, host: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answered, Silence> {
        let kept = self.connected.remove(&host).filter(|sender| !sender.is_closed());
        let mut sender = if let Some(sender) = kept {
            sender
        } else {
            if PEERS_MAX <= self.connected.len() {
                self.connected.clear();
            }
            within(CONNECT_TIME_MAX, connect(host)).await?
        };
        let answered = within(ANSWER_TIME_MAX, async {
            sender.ready().await?;
            let answer = sender.send_request(request).await?;
            let (status, asks_who) =
                (answer.status().as_u16(), answer.headers().contains_key(header::WWW_AUTHENTICATE));
            Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?;
            Ok(Answered { status, asks_who })
        });
        let answered = answered.await?;
        self.connected.insert(host, sender);
        Ok(answered)
    }
}

fn told_unreadable(reply: &Value) -> Passed {
    let error = if let Value::Error(error) = reply { shown(error) } else { String::new() };
    tracing::warn!(error, "hustdb:binlog in database 2 is no log; nothing is sent");
    Passed::Waiting
}

/// Bytes that somebody else has written, for a line of the log.
fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(SHOWN_BYTES_MAX)].escape_ascii().to_string()
}

/// What is there of a pair or an element.
struct State {
    is_there: bool,
    version: i64,
    /// Unix time; 0 is never.
    ends_seconds: i64,
    value: Bytes,
}

impl State {
    /// Reads what a command of HUSTDB has said; an error as text.
    fn read(reply: Value) -> Result<State, String> {
        let reply = match reply {
            Value::Array(reply) => reply,
            Value::Error(error) => return Err(shown(&error)),
            _ => return Err("no reply of HUSTDB".to_owned()),
        };
        let reply: Result<[Value; 5], _> = reply.try_into();
        let Ok([Value::Integer(status), Value::Integer(version), _, value, Value::Integer(ends_seconds)]) = reply
        else {
            return Err("no reply of HUSTDB".to_owned());
        };
        let value = if let Value::Bulk(value) = value { Bytes::from(value) } else { Bytes::new() };
        Ok(State { is_there: status == 200, version, ends_seconds, value })
    }
}

/// A request to another server.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    target: String,
    /// It is a POST unless this is empty.
    body: Bytes,
    removes: bool,
}

impl Asked {
    /// The requests that have the other server come to what is there now; `None` where hustdb has nothing like it.
    fn each(about: &Record<'_>, version: i64, state: &State, now: TimeMs) -> Option<Vec<Asked>> {
        // What was written and has gone since goes there, too, unless there is a newer one.
        let removal = match (about.removed, state.is_there) {
            (true, _) => Some(Asked::removal(about, 0)),
            (false, false) if version != 0 => Some(Asked::removal(about, version)),
            (false, _) => None,
        };
        let write = if state.is_there { Some(Asked::write(about, state, now)?) } else { None };
        Some(removal.into_iter().chain(write).collect())
    }

    fn removal(about: &Record<'_>, version: i64) -> Asked {
        let (table, key) = (String::from_utf8_lossy(about.table), percent_encode(about.key));
        let (target, body) = match about.letter {
            Letter::Pair => (format!("del?key={key}&ver={version}"), &b""[..]),
            Letter::Hash => (format!("hdel?tb={table}&key={key}&ver={version}"), &b""[..]),
            Letter::Set => (format!("srem?tb={table}&ver={version}"), about.key),
            Letter::SortedSet => (format!("zrem?tb={table}&ver={version}"), about.key),
        };
        Asked::to(&target, Bytes::copy_from_slice(body), true)
    }

    fn write(about: &Record<'_>, state: &State, now: TimeMs) -> Option<Asked> {
        let (table, key) = (String::from_utf8_lossy(about.table), percent_encode(about.key));
        // What ends within this second lives for one more there, since 0 means that it never ends; so does more than hustdb
        // knows of.
        let left_seconds = (state.ends_seconds - now.0.div_euclid(1_000)).clamp(1, TTL_SECONDS_MAX);
        let ttl = if state.ends_seconds == 0 { 0 } else { left_seconds };
        let tail = format!("ver={}&ttl={ttl}", state.version);
        if matches!(about.letter, Letter::Pair | Letter::Hash) && state.value.is_empty() {
            return None;
        }
        let (target, body) = match about.letter {
            Letter::Pair => (format!("put?key={key}&{tail}"), state.value.clone()),
            Letter::Hash => (format!("hset?tb={table}&key={key}&{tail}"), state.value.clone()),
            Letter::Set => (format!("sadd?tb={table}&{tail}"), Bytes::copy_from_slice(about.key)),
            Letter::SortedSet => {
                let score = parse_i64(&state.value)?;
                (format!("zadd?tb={table}&score={score}&opt=0&{tail}"), Bytes::copy_from_slice(about.key))
            }
        };
        Some(Asked::to(&target, body, false))
    }

    fn to(target: &str, body: Bytes, removes: bool) -> Asked {
        Asked { target: format!("/hustdb/{target}&is_dup=true"), body, removes }
    }

    fn request(&self, host: SocketAddr, login: &str) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let method = if self.body.is_empty() { "GET" } else { "POST" };
        let mut request = Request::builder().method(method).uri(&self.target).header(header::HOST, host.to_string());
        if !login.is_empty() {
            let mut word = b"Basic ".to_vec();
            base64_encode(login.as_bytes(), &mut word);
            request = request.header(header::AUTHORIZATION, word);
        }
        request.body(Full::new(self.body.clone()))
    }
}

/// Encodes what a query cannot hold as it is, and no more: encoded names must not outgrow the head of a request that
/// brought them.
fn percent_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => text.push(char::from(*byte)),
            b'-' | b'_' | b'.' | b'~' | b':' | b'/' | b'@' | b'!' | b'$' | b'*' | b',' | b';' => {
                text.push(char::from(*byte));
            }
            _ => _ = write!(text, "%{byte:02X}"),
        }
    }
    text
}

/// What a server said.
struct Answered {
    status: u16,
    /// It wants to know who asks.
    asks_who: bool,
}

/// Why a server has not answered.
type Silence = Box<dyn std::error::Error + Send + Sync>;

async fn connect(host: SocketAddr) -> Result<SendRequest<Full<Bytes>>, Silence> {
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends with its sender; what goes wrong is said where a request waits for its answer.
    tokio::spawn(connection);
    Ok(sender)
}

/// Waits for at most `time` for something of the network.
async fn within<T>(time: Duration, what: impl Future<Output = Result<T, Silence>>) -> Result<T, Silence> {
    let late = |_| format!("it has taken more than {} seconds", time.as_secs());
    tokio::time::timeout(time, what).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice::from_ref;

    fn host() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 8085))
    }

    #[test]
    fn records_are_text_and_read_back() {
        let record = Record { host: host(), letter: Letter::Set, removed: true, table: b"t", key: b"a b\n" };
        assert_eq!(record.encode(), b"10.0.0.1:8085 s t a b\n");
        assert_eq!(Record::read(&record.encode()), Some(record));
        let pair = Record { host: host(), letter: Letter::Pair, removed: false, table: b"", key: b" k" };
        assert_eq!(pair.encode(), b"10.0.0.1:8085 P   k");
        assert_eq!(Record::read(&pair.encode()), Some(pair));
        for text in [
            "",
            "1.0.0.1:85 P  ",
            "1.0.0.1:85 P t k",
            "1.0.0.1:85 H  k",
            "1.0.0.1:85 H a\r b",
            "1.0.0.1:85 Q t k",
            "a P  k",
        ] {
            assert_eq!(Record::read(text.as_bytes()), None, "{text}");
        }
        let binlog = Binlog::default();
        let stamps = [binlog.stamp(TimeMs(5), 7), binlog.stamp(TimeMs(5), 7)];
        assert_ne!(stamps[0], stamps[1]);
        assert_eq!(read_stamp(stamps[1].as_bytes()), Some((TimeMs(5), 7)));
        for text in ["put", "5-0", "5-0-", "5-0--1", "x-0-1"] {
            assert_eq!(read_stamp(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn hosts_are_addresses_with_a_port_and_those_that_are_listed() {
        assert_eq!(read_host(b"10.0.0.1:8085", &[]), Ok(host()));
        let long = "[0000:0000:0000:0000:0000:0000:0000:0001]:80";
        for wrong in ["10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "localhost:80", "", long] {
            assert_eq!(read_host(wrong.as_bytes(), &[]), Err(BAD_REQUEST), "{wrong}");
        }
        assert_eq!(read_host(b"10.0.0.1:8086", &[host()]), Err(BAD_REQUEST));
        assert_eq!(read_host(b"10.0.0.1:8085", &[host()]), Ok(host()));
    }

    #[test]
    fn what_is_there_now_is_sent_behind_the_removal_that_was_missed() {
        let asked = |letter, is_there, removed, ends_seconds| {
            let table: &[u8] = if letter == Letter::Pair { b"" } else { b"t" };
            let about = Record { host: host(), letter, removed, table, key: b"a b" };
            let state = State { is_there, version: 3, ends_seconds, value: Bytes::from_static(b"7") };
            let asked = Asked::each(&about, 2, &state, TimeMs(1_000_500)).expect("hustdb has this");
            let text = |asked: Asked| (asked.target, String::from_utf8(asked.body.to_vec()).expect("text"));
            asked.into_iter().map(text).collect::<Vec<_>>()
        };
        let to = |target: &str, body: &str| (format!("/hustdb/{target}&is_dup=true"), body.to_owned());
        for (letter, removal, write) in [
            (Letter::Pair, to("del?key=a%20b&ver=0", ""), to("put?key=a%20b&ver=3&ttl=0", "7")),
            (Letter::Hash, to("hdel?tb=t&key=a%20b&ver=0", ""), to("hset?tb=t&key=a%20b&ver=3&ttl=0", "7")),
            (Letter::Set, to("srem?tb=t&ver=0", "a b"), to("sadd?tb=t&ver=3&ttl=0", "a b")),
            (Letter::SortedSet, to("zrem?tb=t&ver=0", "a b"), to("zadd?tb=t&score=7&opt=0&ver=3&ttl=0", "a b")),
        ] {
            assert_eq!(asked(letter, true, false, 0), from_ref(&write));
            assert_eq!(asked(letter, false, true, 0), from_ref(&removal));
            assert_eq!(asked(letter, true, true, 0), [removal.clone(), write]);
            let gone = (removal.0.replace("ver=0", "ver=2"), removal.1.clone());
            assert_eq!(asked(letter, false, false, 0), [gone]);
        }
        for (ends_seconds, ttl) in [(900, 1), (1_000, 1), (1_010, 10), (1_000 + 2_592_001, TTL_SECONDS_MAX)] {
            let expected = to(&format!("put?key=a%20b&ver=3&ttl={ttl}"), "7");
            assert_eq!(asked(Letter::Pair, true, false, ends_seconds), [expected]);
        }
    }

    #[test]
    fn requests_say_who_asks_where_that_is_set() {
        let asked = Asked::to("put?key=k&ver=1&ttl=0", Bytes::from_static(b"value"), false);
        let request = asked.request(host(), "a:b").expect("it is HTTP");
        assert_eq!((request.method().as_str(), request.uri().to_string()), ("POST", asked.target.clone()));
        assert_eq!(request.headers()[header::AUTHORIZATION], "Basic YTpi");
        let request = Asked::to("del?key=k&ver=0", Bytes::new(), true).request(host(), "").expect("it is HTTP");
        assert_eq!((request.method().as_str(), request.headers().len()), ("GET", 1));
    }

    #[test]
    fn names_are_encoded_where_they_must_be() {
        assert_eq!(percent_encode(b"user:1/a-b_c.~ &=+%?#\0\xff\""), "user:1/a-b_c.~%20%26%3D%2B%25%3F%23%00%FF%22");
    }
}
