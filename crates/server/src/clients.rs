//! Who is connected: what CLIENT LIST shows of each connection, and closing one from another.
//!
//! A connection's task is the only writer of its counters, so they are plain atomics without read-modify-write;
//! everybody else only reads them. Names and modes change rarely and lie behind a lock.
//!
//! Deliberately not here: sockets and buffers, which the connection's task owns alone; when CLIENT PAUSE holds
//! commands back (`pause.rs`).
//!
//! Invariants: a connection that is killed is woken and finds out at its next poll; numbers are never used twice; a
//! connection that was unregistered or killed is told nothing more.

use crate::feed::{Bounds, Feed, SharedBounds, Told};
use crate::monitor::Monitors;
use crate::pause::{Pause, Pauses};
use base::{DbId, TimeMs};
use commands::channels::{Channels, Counts, Delivery, Kind, Receiver};
use commands::host::{ClientView, PauseMode, Unblock};
use commands::tracking::{Tracking, TrackingView};
use commands::transaction::Transaction;
use commands::{Session, host};
use journal::Position;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{SystemTime, UNIX_EPOCH};
use wire::reply::{Protocol, Reply};

/// No command yet.
const COMMAND_NONE: u16 = u16::MAX;
/// A closed connection's place in memory, for `tot-mem`.
const CLIENT_BYTES: usize = size_of::<Client>();

/// Microseconds since the Unix epoch.
pub fn wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Waiting {
    Not,
    /// In a blocking command, from which CLIENT UNBLOCK frees it.
    Blocked,
    /// For the end of CLIENT PAUSE.
    Postponed,
    /// For the script that it debugs, as long as it takes.
    Debugging,
}

/// What CLIENT and HELLO changed.
#[derive(Clone, Debug)]
struct Modes {
    user: Vec<u8>,
    name: Vec<u8>,
    lib_name: Vec<u8>,
    lib_version: Vec<u8>,
    db: DbId,
    protocol: Protocol,
    no_evict: bool,
    no_touch: bool,
    imports: bool,
    readonly: bool,
    redirects: bool,
    monitors: bool,
}

impl Modes {
    /// Of a connection that has just been accepted.
    fn fresh() -> Self {
        Modes {
            user: b"default".to_vec(),
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_version: Vec::new(),
            db: DbId(0),
            protocol: Protocol::Resp2,
            no_evict: false,
            no_touch: false,
            imports: false,
            readonly: false,
            redirects: false,
            monitors: false,
        }
    }

    fn of(session: &Session) -> Self {
        Modes {
            user: session.user.name().to_vec(),
            name: session.name.clone(),
            lib_name: session.lib_name.clone(),
            lib_version: session.lib_version.clone(),
            db: session.db,
            protocol: session.protocol,
            no_evict: session.no_evict,
            no_touch: session.no_touch,
            imports: session.imports,
            readonly: session.readonly,
            redirects: session.redirects,
            monitors: session.monitors,
        }
    }
}

/// One connection as the others see it. What every command writes comes first, in one cache line, and then what each wait
/// looks at: with many connections each line is one that has to be fetched.
#[repr(C, align(64))]
pub struct Client {
    last_ns: AtomicU64,
    command_count: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    query_bytes: AtomicUsize,
    query_free_bytes: AtomicUsize,
    output_bytes: AtomicUsize,
    command: AtomicU16,
    killed: AtomicBool,
    /// Something is queued or watched.
    has_transaction: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// What it is sent without asking.
    pub feed: Feed,
    id: u64,
    address: String,
    local_address: String,
    fd: i32,
    accepted_ns: u64,
    /// Commands queued since MULTI, and one more; 0 outside of it.
    queued_next: AtomicUsize,
    queued_bytes: AtomicUsize,
    watched_count: AtomicUsize,
    waiting: AtomicU8,
    unblocked: Mutex<Option<Unblock>>,
    modes: Mutex<Modes>,
    is_resp3: AtomicBool,
    is_subscriber: AtomicBool,
    /// It is the server itself.
    is_own: AtomicBool,
    is_closing: AtomicBool,
    limits: Arc<FeedLimits>,
}

const _: () = assert!(std::mem::offset_of!(Client, waker) == 64, "what every command writes is one cache line");

/// How much may wait for connections that are sent something without asking, by class.
pub struct FeedLimits {
    /// Of connections like any other.
    pub normal: SharedBounds,
    /// Of those that have subscribed to something.
    pub pubsub: SharedBounds,
}

/// Adds to a counter that only the caller writes.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

impl Client {
    /// Its number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// `address:port` of the client.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// CLIENT SETNAME.
    pub fn name(&self) -> Vec<u8> {
        self.modes.lock().name.clone()
    }

    /// Bytes were received. Only for the connection's own task, as are the following.
    pub fn count_in(&self, bytes: usize) {
        add(&self.received_bytes, bytes as u64);
    }

    /// Bytes were sent.
    pub fn count_out(&self, bytes: usize) {
        add(&self.sent_bytes, bytes as u64);
    }

    /// A command begins.
    #[inline]
    pub fn begin_command(&self, number: u16) {
        self.command.store(number, Ordering::Relaxed);
    }

    /// A command has ended.
    #[inline]
    pub fn end_command(&self, now_ns: u64) {
        add(&self.command_count, 1);
        self.last_ns.store(now_ns, Ordering::Relaxed);
    }

    /// A command begins to wait: it is counted when it has ended.
    pub fn wait_in_command(&self, now_ns: u64) {
        self.last_ns.store(now_ns, Ordering::Relaxed);
    }

    /// What the buffers hold: received and not run, room behind it, replies not sent.
    #[inline]
    pub fn set_buffers(&self, query_bytes: usize, query_free_bytes: usize, output_bytes: usize) {
        self.query_bytes.store(query_bytes, Ordering::Relaxed);
        self.query_free_bytes.store(query_free_bytes, Ordering::Relaxed);
        self.output_bytes.store(output_bytes, Ordering::Relaxed);
    }

    /// Whether the others see a transaction of this connection.
    #[inline]
    pub fn has_transaction(&self) -> bool {
        self.has_transaction.load(Ordering::Relaxed)
    }

    /// What MULTI and WATCH have come to.
    #[cold]
    pub fn set_transaction(&self, transaction: Option<&Transaction>) {
        let queued_next = transaction.and_then(Transaction::queued_count).map_or(0, |count| count + 1);
        let watched_count = transaction.map_or(0, Transaction::watched_count);
        self.queued_next.store(queued_next, Ordering::Relaxed);
        self.queued_bytes.store(transaction.map_or(0, Transaction::queued_bytes), Ordering::Relaxed);
        self.watched_count.store(watched_count, Ordering::Relaxed);
        self.has_transaction.store(queued_next + watched_count != 0, Ordering::Relaxed);
    }

    /// Whether the connection was to close when last looked. For a task that goes on: one that waits asks
    /// [`Client::is_killed`].
    #[inline]
    pub fn was_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Whether the connection is to close. If not, the task is woken when it is, or when it is unblocked.
    ///
    /// # Cost
    /// An uncontended lock.
    pub fn is_killed(&self, ctx: &Context<'_>) -> bool {
        let mut waker = self.waker.lock();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(ctx.waker())) {
            *waker = Some(ctx.waker().clone());
        }
        self.killed.load(Ordering::Acquire)
    }

    /// The server itself is at the other end: it is not closed for being idle.
    pub fn set_own(&self) {
        self.is_own.store(true, Ordering::Relaxed);
    }

    /// Closes the connection. Returns false when it was closing already.
    pub fn kill(&self) -> bool {
        self.close();
        let is_first = !self.killed.swap(true, Ordering::AcqRel);
        self.wake();
        is_first
    }

    /// Puts something in front of the client that it does not ask for now, or closes the connection when too much of it
    /// waits already. `write` appends it in the connection's protocol.
    pub fn tell(&self, bounds: Bounds, revealed: Position, write: impl FnOnce(&mut Vec<u8>, Protocol)) {
        let is_resp3 = self.is_resp3.load(Ordering::Relaxed);
        let protocol = if is_resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        match self.feed.tell(bounds, env::monotonic_ns(), revealed, |out| write(out, protocol)) {
            Told::Waits | Told::Ignored => {}
            Told::First => self.wake(),
            Told::Overran => _ = self.kill(),
        }
    }

    /// The connection ends once its replies are out.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    /// The bounds of what it is sent without asking, by its class.
    fn bounds(&self) -> Bounds {
        let is_subscriber = self.is_subscriber.load(Ordering::Relaxed);
        if is_subscriber { self.limits.pubsub.get() } else { self.limits.normal.get() }
    }

    /// As [`Client::tell`] for what MONITOR shows.
    pub fn show(&self, line: &[u8]) {
        self.tell(self.bounds(), Position::ZERO, |out, _| out.extend_from_slice(line));
    }

    /// Has the connection's task look at what there is to do.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }

    /// Waits in a blocking command for `what`, or until CLIENT UNBLOCK; the error says how that is to be answered.
    /// The task must be polled through [`Client::is_killed`] as well, which is what wakes it.
    pub async fn blocked<T>(&self, what: impl Future<Output = T>) -> Result<T, Unblock> {
        let _waiting = self.wait(Waiting::Blocked);
        let mut what = std::pin::pin!(what);
        std::future::poll_fn(|ctx| {
            if let Some(how) = self.unblocked.lock().take() {
                return Poll::Ready(Err(how));
            }
            what.as_mut().poll(ctx).map(Ok)
        })
        .await
    }

    /// It debugs a script, until what is returned goes: it may be silent for as long as it likes.
    pub(crate) fn debugging(&self) -> WaitGuard<'_> {
        self.wait(Waiting::Debugging)
    }

    fn wait(&self, what: Waiting) -> WaitGuard<'_> {
        *self.unblocked.lock() = None;
        self.waiting.store(what as u8, Ordering::Release);
        WaitGuard(self)
    }

    fn is(&self, waiting: Waiting) -> bool {
        self.waiting.load(Ordering::Acquire) == waiting as u8
    }

    fn unblock(&self, how: Unblock) -> bool {
        if !self.is(Waiting::Blocked) {
            return false;
        }
        *self.unblocked.lock() = Some(how);
        self.wake();
        true
    }

    fn idle_seconds(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.last_ns.load(Ordering::Relaxed)) / 1_000_000_000
    }

    fn memory_bytes(&self) -> usize {
        let buffers = [&self.query_bytes, &self.query_free_bytes, &self.output_bytes, &self.queued_bytes];
        CLIENT_BYTES + self.feed.bytes() + buffers.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum::<usize>()
    }

    fn flags(&self, modes: &Modes, subscriptions: Counts, tracking: Option<TrackingView>) -> String {
        let set = [
            ('O', modes.monitors),
            ('P', subscriptions.total() > 0),
            ('x', self.queued_next.load(Ordering::Relaxed) != 0),
            ('b', !self.is(Waiting::Not)),
            ('t', tracking.is_some()),
            ('R', tracking.is_some_and(|tracking| tracking.is_broken)),
            ('B', tracking.is_some_and(|tracking| tracking.by_prefix)),
            ('A', self.killed.load(Ordering::Relaxed)),
            ('r', modes.readonly),
            ('e', modes.no_evict),
            ('T', modes.no_touch),
            ('I', modes.imports),
        ];
        let letters: String = set.into_iter().filter(|(_, is_set)| *is_set).map(|(letter, _)| letter).collect();
        if letters.is_empty() { "N".to_owned() } else { letters }
    }

    fn view(&self, now_ns: u64, subscriptions: Counts, tracking: Option<TrackingView>) -> ClientView {
        let modes = self.modes.lock().clone();
        let command = self.command.load(Ordering::Relaxed);
        ClientView {
            id: self.id,
            address: self.address.clone(),
            local_address: self.local_address.clone(),
            fd: self.fd,
            age_seconds: now_ns.saturating_sub(self.accepted_ns) / 1_000_000_000,
            idle_seconds: self.idle_seconds(now_ns),
            flags: self.flags(&modes, subscriptions, tracking),
            subscriptions,
            tracking,
            capabilities: if modes.redirects { "r".to_owned() } else { String::new() },
            query_bytes: self.query_bytes.load(Ordering::Relaxed),
            query_free_bytes: self.query_free_bytes.load(Ordering::Relaxed),
            output_bytes: self.output_bytes.load(Ordering::Relaxed) + self.feed.bytes(),
            memory_bytes: self.memory_bytes(),
            queued_count: self.queued_next.load(Ordering::Relaxed).checked_sub(1),
            queued_bytes: self.queued_bytes.load(Ordering::Relaxed),
            watched_count: self.watched_count.load(Ordering::Relaxed),
            command: (command != COMMAND_NONE).then_some(command),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            command_count: self.command_count.load(Ordering::Relaxed),
            user: modes.user,
            name: modes.name,
            lib_name: modes.lib_name,
            lib_version: modes.lib_version,
            db: modes.db,
            protocol: modes.protocol,
        }
    }
}

impl Receiver for Client {
    fn receive(&self, delivery: &Delivery<'_>) {
        let Delivery { kind, pattern, channel, message, revealed } = *delivery;
        self.tell(self.limits.pubsub.get(), revealed, |out, protocol| {
            let mut reply = Reply::new(out, protocol);
            match kind {
                Kind::Channel => {
                    reply.push(3);
                    reply.bulk(b"message");
                }
                Kind::Shard => {
                    reply.push(3);
                    reply.bulk(b"smessage");
                }
                Kind::Pattern => {
                    reply.push(4);
                    reply.bulk(b"pmessage");
                    reply.bulk(pattern);
                }
            }
            reply.bulk(channel);
            reply.bulk(message);
        });
    }

    fn invalidate(&self, keys: Option<&[&[u8]]>, is_redirected: bool, revealed: Position) {
        let listens = is_redirected && self.is_subscriber.load(Ordering::Relaxed);
        if !listens && !self.is_resp3.load(Ordering::Relaxed) {
            return; // RESP2 has no other way to tell this from a reply.
        }
        self.tell(self.bounds(), revealed, |out, protocol| {
            let mut reply = Reply::new(out, protocol);
            match protocol {
                Protocol::Resp3 => {
                    reply.push(2);
                    reply.bulk(b"invalidate");
                }
                Protocol::Resp2 => {
                    reply.array(3);
                    reply.bulk(b"message");
                    reply.bulk(b"__redis__:invalidate");
                }
            }
            match keys {
                None => reply.null(),
                Some(keys) => {
                    reply.array(keys.len());
                    for key in keys {
                        reply.bulk(key);
                    }
                }
            }
        });
    }

    fn redirection_broke(&self, id: u64) {
        if self.is_resp3.load(Ordering::Relaxed) {
            self.tell(self.bounds(), Position::ZERO, |out, protocol| {
                let mut reply = Reply::new(out, protocol);
                reply.push(2);
                reply.bulk(b"tracking-redir-broken");
                reply.integer(id as i64);
            });
        }
    }

    fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }
}

/// Ends a wait however it ends.
pub(crate) struct WaitGuard<'c>(&'c Client);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.waiting.store(Waiting::Not as u8, Ordering::Release);
    }
}

/// Connections in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientTotals {
    /// Open now.
    pub connected: usize,
    /// Waiting in a blocking command or for the end of a pause.
    pub blocked: usize,
    /// Watching keys.
    pub watching: usize,
    /// Keys that they watch; one watched by several counts for each.
    pub watched_count: usize,
    /// Bytes of their buffers.
    pub memory_bytes: usize,
    /// Largest query buffer.
    pub query_bytes_max: usize,
    /// Most replies waiting.
    pub output_bytes_max: usize,
    /// Bytes ever received, closed connections included.
    pub received_bytes: u64,
    /// Bytes ever sent, closed connections included.
    pub sent_bytes: u64,
}

impl ClientTotals {
    fn add(&mut self, client: &Client) {
        self.connected += 1;
        self.blocked += usize::from(!client.is(Waiting::Not));
        let watched_count = client.watched_count.load(Ordering::Relaxed);
        self.watching += usize::from(watched_count != 0);
        self.watched_count += watched_count;
        self.memory_bytes += client.memory_bytes();
        self.query_bytes_max = self.query_bytes_max.max(client.query_bytes.load(Ordering::Relaxed));
        self.output_bytes_max = self.output_bytes_max.max(client.output_bytes.load(Ordering::Relaxed));
        self.add_traffic(client);
    }

    fn add_traffic(&mut self, client: &Client) {
        self.received_bytes += client.received_bytes.load(Ordering::Relaxed);
        self.sent_bytes += client.sent_bytes.load(Ordering::Relaxed);
    }
}

/// The connections that are open, and what was counted of those that were.
struct Connected {
    clients: BTreeMap<u64, Arc<Client>>,
    closed: ClientTotals,
    id_last: u64,
}

/// See the module's text.
pub struct ClientRegistry {
    connected: Mutex<Connected>,
    pauses: Pauses,
    monitors: Monitors,
    channels: Channels,
    tracking: Tracking,
    limits: Arc<FeedLimits>,
}

impl ClientRegistry {
    /// Nobody is connected.
    #[expect(clippy::new_without_default, reason = "there is one, made by name where the server starts")]
    pub fn new() -> Self {
        ClientRegistry {
            connected: Mutex::new(Connected { clients: BTreeMap::new(), closed: ClientTotals::default(), id_last: 0 }),
            pauses: Pauses::default(),
            monitors: Monitors::default(),
            channels: Channels::default(),
            tracking: Tracking::new(usize::MAX),
            limits: Arc::new(FeedLimits {
                normal: SharedBounds::new(Bounds::of_limit(0, 0, 0)),
                pubsub: SharedBounds::new(Bounds::of_limit(0, 0, 0)),
            }),
        }
    }

    /// Takes a connection in, unless `clients_max` are there already.
    pub fn register(
        &self,
        peer: SocketAddr,
        local: SocketAddr,
        socket: &impl AsRawFd,
        clients_max: usize,
    ) -> Option<Arc<Client>> {
        let now_ns = env::monotonic_ns();
        let mut connected = self.connected.lock();
        if clients_max <= connected.clients.len() {
            return None;
        }
        connected.id_last += 1;
        let id = connected.id_last;
        let client = Arc::new(Client {
            id,
            address: peer.to_string(),
            local_address: local.to_string(),
            fd: socket.as_raw_fd(),
            accepted_ns: now_ns,
            last_ns: AtomicU64::new(now_ns),
            command: AtomicU16::new(COMMAND_NONE),
            command_count: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            query_bytes: AtomicUsize::new(0),
            query_free_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            queued_next: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            watched_count: AtomicUsize::new(0),
            waiting: AtomicU8::new(Waiting::Not as u8),
            killed: AtomicBool::new(false),
            has_transaction: AtomicBool::new(false),
            unblocked: Mutex::new(None),
            waker: Mutex::new(None),
            modes: Mutex::new(Modes::fresh()),
            is_resp3: AtomicBool::new(false),
            is_subscriber: AtomicBool::new(false),
            is_own: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            feed: Feed::default(),
            limits: Arc::clone(&self.limits),
        });
        let before = connected.clients.insert(id, Arc::clone(&client));
        assert!(before.is_none(), "a connection's number is never used twice");
        Some(client)
    }

    /// Lets a connection go that has ended.
    pub fn unregister(&self, id: u64) {
        let mut connected = self.connected.lock();
        if let Some(client) = connected.clients.remove(&id) {
            connected.closed.add_traffic(&client);
            drop(connected);
            self.forget(&client);
        }
        // One that was killed may have subscribed to something since.
        self.channels.forget(id);
        self.tracking.stop(id);
    }

    /// Nobody tells a connection anything any more.
    fn forget(&self, client: &Arc<Client>) {
        client.close();
        self.monitors.set(client, false);
        self.channels.forget(client.id());
        self.tracking.stop(client.id());
    }

    /// Who has subscribed to what.
    #[inline]
    pub fn channels(&self) -> &Channels {
        &self.channels
    }

    /// Who is told of which keys that change.
    #[inline]
    pub fn tracking(&self) -> &Tracking {
        &self.tracking
    }

    /// How much may wait for connections that are sent something without asking.
    pub fn limits(&self) -> &FeedLimits {
        &self.limits
    }

    /// The connection with this number, unless it is closing.
    pub fn receiver(&self, id: u64) -> Option<Arc<dyn Receiver>> {
        self.find(id).map(|client| client as Arc<dyn Receiver>)
    }

    /// The connections in figures.
    pub fn totals(&self) -> ClientTotals {
        let connected = self.connected.lock();
        let mut totals = connected.closed;
        connected.clients.values().for_each(|client| totals.add(client));
        totals
    }

    /// Closes connections for which too much has waited for too long.
    pub fn close_slow(&self) {
        let now_ns = env::monotonic_ns();
        for client in self.connected.lock().clients.values() {
            if client.feed.overruns(client.bounds(), now_ns) {
                client.kill();
            }
        }
    }

    /// Closes connections that have sent nothing for longer than `seconds_max` and do not wait for an answer; monitors
    /// and subscribers need not send anything.
    pub fn close_idle(&self, seconds_max: u64) {
        let now_ns = env::monotonic_ns();
        let is_told = |client: &Client| client.modes.lock().monitors || client.is_subscriber.load(Ordering::Relaxed);
        let is_own = |client: &Client| client.is_own.load(Ordering::Relaxed);
        let waits = |client: &Client| !client.is(Waiting::Not) || is_told(client) || is_own(client);
        let is_idle = |client: &&Arc<Client>| !waits(client) && seconds_max < client.idle_seconds(now_ns);
        for client in self.connected.lock().clients.values().filter(is_idle) {
            client.kill();
        }
    }

    /// Closes every connection.
    pub fn close_all(&self) {
        for client in self.connected.lock().clients.values() {
            client.kill();
        }
    }

    fn view_of(&self, client: &Client, now_ns: u64) -> ClientView {
        client.view(now_ns, self.channels.counts(client.id), self.tracking.view(client.id))
    }

    fn find(&self, id: u64) -> Option<Arc<Client>> {
        self.connected.lock().clients.get(&id).cloned()
    }

    /// Who watches all commands.
    #[inline]
    pub fn monitors(&self) -> &Monitors {
        &self.monitors
    }

    /// Whether commands may have to wait. One relaxed load; what follows is only for when it says yes.
    #[inline]
    pub fn is_pausing(&self) -> bool {
        self.pauses.is_pausing()
    }

    /// The pause in force.
    pub fn pause_now(&self) -> Option<Pause> {
        self.pauses.now()
    }

    /// Begins to hold back all commands for a debugging session, or ends one such time.
    pub fn hold_back(&self, holds: bool) {
        self.pauses.hold_all(holds);
    }

    /// Whether keys are to stay as they are: nothing ends, nothing is evicted.
    pub fn is_still(&self) -> bool {
        self.pauses.is_still()
    }

    /// Whether a command must wait: one that may write, or any.
    pub fn is_paused(&self, is_write: bool) -> bool {
        self.pauses.holds(is_write)
    }

    /// Waits until such a command of `client` may run.
    pub async fn unpaused(&self, client: &Client, is_write: bool) {
        let _waiting = client.wait(Waiting::Postponed);
        self.pauses.over(is_write).await;
    }
}

impl host::Clients for ClientRegistry {
    fn view(&self, id: u64) -> Option<ClientView> {
        self.find(id).map(|client| self.view_of(&client, env::monotonic_ns()))
    }

    fn views(&self) -> Vec<ClientView> {
        let now_ns = env::monotonic_ns();
        let clients: Vec<Arc<Client>> = self.connected.lock().clients.values().cloned().collect();
        clients.iter().map(|client| self.view_of(client, now_ns)).collect()
    }

    fn kill(&self, id: u64) -> bool {
        // Gone from the list at once, as in Redis; the task follows as soon as it is polled.
        let mut connected = self.connected.lock();
        let Some(client) = connected.clients.remove(&id) else { return false };
        connected.closed.add_traffic(&client);
        drop(connected);
        self.forget(&client);
        client.kill()
    }

    fn pause(&self, mode: PauseMode, until: TimeMs) {
        self.pauses.add(Pause { mode, until });
    }

    fn unpause(&self) {
        self.pauses.end();
    }

    fn unblock(&self, id: u64, how: Unblock) -> bool {
        self.find(id).is_some_and(|client| client.unblock(how))
    }

    fn update(&self, session: &Session) {
        if let Some(client) = self.find(session.id) {
            *client.modes.lock() = Modes::of(session);
            client.is_resp3.store(session.protocol == Protocol::Resp3, Ordering::Relaxed);
            client.is_subscriber.store(session.subscription_count > 0, Ordering::Relaxed);
            self.monitors.set(&client, session.monitors);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use commands::host::Clients;

    pub(crate) fn connect(registry: &ClientRegistry, port: u16) -> Arc<Client> {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        registry.register(address(port), address(6379), &std::io::stdin(), 3).expect("there is room")
    }

    #[test]
    fn numbers_are_not_used_twice_and_one_too_many_is_turned_away() {
        let registry = ClientRegistry::new();
        assert_eq!([1, 2, 3].map(|port| connect(&registry, port).id()), [1, 2, 3]);
        let address = SocketAddr::from(([127, 0, 0, 1], 4));
        assert!(registry.register(address, address, &std::io::stdin(), 3).is_none());
        registry.unregister(3);
        assert_eq!(connect(&registry, 5).id(), 4);
    }

    #[test]
    fn what_a_closed_connection_counted_stays_counted() {
        let registry = ClientRegistry::new();
        let (one, two) = (connect(&registry, 1), connect(&registry, 2));
        one.count_in(10);
        two.count_out(7);
        registry.unregister(1);
        assert!(registry.kill(2));
        assert!(!registry.kill(2));
        registry.unregister(2);
        let totals = registry.totals();
        assert_eq!((totals.connected, totals.received_bytes, totals.sent_bytes), (0, 10, 7));
    }

    #[test]
    fn a_view_shows_what_the_session_changed() {
        let registry = ClientRegistry::new();
        let client = connect(&registry, 9);
        let mut session = Session::new(client.id(), &commands::acl::Users::new(b""));
        assert_eq!(registry.view(1).map(|view| view.flags), Some("N".to_owned()));
        session.name = b"worker".to_vec();
        session.db = DbId(3);
        session.no_touch = true;
        registry.update(&session);
        let view = registry.view(1).expect("it is connected");
        assert_eq!((view.name.as_slice(), view.db, view.flags.as_str()), (&b"worker"[..], DbId(3), "T"));
        assert_eq!((view.address.as_str(), view.command), ("127.0.0.1:9", None));
    }

    #[tokio::test]
    async fn a_postponed_command_goes_on_when_the_pause_ends_and_cannot_be_unblocked() {
        let registry = Arc::new(ClientRegistry::new());
        let client = connect(&registry, 1);
        registry.pause(PauseMode::Write, TimeMs(i64::MAX / 2));
        let waiting = tokio::spawn({
            let (registry, client) = (Arc::clone(&registry), Arc::clone(&client));
            async move { registry.unpaused(&client, true).await }
        });
        while registry.totals().blocked == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!registry.unblock(1, Unblock::Timeout));
        registry.unpause();
        waiting.await.expect("it ends");
        assert_eq!(registry.totals().blocked, 0);
    }

    #[tokio::test]
    async fn a_blocked_command_ends_with_what_it_waits_for_or_unblocked() {
        let registry = Arc::new(ClientRegistry::new());
        let client = connect(&registry, 1);
        assert_eq!(client.blocked(async { 7 }).await, Ok(7));
        let waiting = tokio::spawn({
            let client = Arc::clone(&client);
            async move {
                let mut blocked = std::pin::pin!(client.blocked(std::future::pending::<()>()));
                std::future::poll_fn(|ctx| {
                    assert!(!client.is_killed(ctx));
                    blocked.as_mut().poll(ctx)
                })
                .await
            }
        });
        while !registry.unblock(1, Unblock::Error) {
            tokio::task::yield_now().await;
        }
        assert_eq!(waiting.await.expect("it ends"), Err(Unblock::Error));
    }
}
