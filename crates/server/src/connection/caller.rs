//! A connection of a door of another protocol: it runs commands as a RESP connection does, and the door translates.
//!
//! ```text
//! the door's parser ─► call(arguments) ─► as a RESP connection ─► reply in RESP3, kept ─► the door's answer ─► settle ─► send
//! ```
//!
//! Permissions, values that must be fetched, writers that wait for room, pauses, busy scripts, statistics, the slow log,
//! MONITOR and blocking commands are those of `connection.rs`, since this *is* such a connection.
//!
//! Deliberately not: a session that commands change. Requests of many people may share a connection (a proxy makes it
//! so), hence what acts on the connection itself is refused (`acts_on_connection`), and the door says user and database
//! anew for each request.
//!
//! Invariants: nothing is sent before [`Connection::settle`]; nobody has an open transaction between two requests.

use super::input::poll_read_into;
use super::output::TURN_BYTES_MAX;
use super::{Connection, End, IDLE_BUFFER_BYTES_MAX, Stream};
use crate::clients::Client;
use crate::serve::Server;
use crate::statistics::Timer;
use base::SharedBytes;
use commands::run::{self, Resolved};
use commands::{Session, table};
use std::future::poll_fn;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use tokio::time::Instant;
use wire::args::{Args, ArgsQueue, Ranges};
use wire::reply::{Protocol, Reply};

/// Commands that set how a connection goes on, or that make it a stream of messages.
const OF_CONNECTIONS: &[&str] = &[
    "auth",
    "client|caching",
    "client|capa",
    "client|import-source",
    "client|no-evict",
    "client|no-touch",
    "client|reply",
    "client|setinfo",
    "client|setname",
    "client|tracking",
    "discard",
    "exec",
    "hello",
    "monitor",
    "multi",
    "psubscribe",
    "punsubscribe",
    "quit",
    "readonly",
    "readwrite",
    "reset",
    "script|debug",
    "select",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "unsubscribe",
    "unwatch",
    "watch",
];

/// Whether a command acts on the connection itself, which requests do not have.
fn acts_on_connection(number: u16) -> bool {
    static BY_NUMBER: LazyLock<Box<[bool]>> = LazyLock::new(|| {
        let is_one = |number| OF_CONNECTIONS.contains(&&*table::full_name(number as u16));
        (0..table::number_count()).map(is_one).collect()
    });
    BY_NUMBER[usize::from(number)]
}

/// How waiting for bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes came; never 0.
    Bytes(usize),
    /// The deadline passed.
    TimedOut,
}

impl<S: Stream> Connection<S, true> {
    /// A connection that a door has accepted; `door` is what CLIENT LIST shows as `lib-name`.
    pub fn of_door(server: Arc<Server>, client: Arc<Client>, stream: S, door: &str) -> Self {
        let mut caller = Self::accepted(server, client, stream);
        caller.session.protocol = Protocol::Resp3;
        caller.session.lib_name = door.as_bytes().to_vec();
        caller.tell_registry();
        caller
    }

    /// What everybody shares.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Where the client connects from.
    pub fn peer(&self) -> Option<std::net::IpAddr> {
        self.client.address().parse::<std::net::SocketAddr>().ok().map(|address| address.ip().to_canonical())
    }

    /// Who is logged in, the selected database, the protocol of replies: for the door to set. Who changes the user says so
    /// by [`Connection::tell_registry`].
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// CLIENT LIST is to show the session as it is now.
    pub fn tell_registry(&self) {
        use commands::host::Clients;
        self.server.clients.update(&self.session);
    }

    /// A new request: the replies to the last one are forgotten.
    pub fn begin(&mut self) {
        self.timer = Timer::default();
        self.out.clear();
        self.keep_apart(false);
        self.scratch.source = None;
        if IDLE_BUFFER_BYTES_MAX < self.out.capacity() {
            self.out = Vec::new();
        }
    }

    /// Exchanges the buffer of the replies with `replies`, and what is in them.
    #[inline]
    pub fn exchange_replies(&mut self, replies: &mut Vec<u8>) {
        std::mem::swap(&mut self.out, replies);
    }

    /// The time by [`env::monotonic_ns`]: when the last command of this request ended, or now if none has run.
    pub fn clock_ns(&self) -> u64 {
        self.timer.read_ns().unwrap_or_else(env::monotonic_ns)
    }

    /// The replies to the commands of this request, one after the other, in the protocol of the session.
    pub fn replies(&self) -> &[u8] {
        &self.out
    }

    /// What large arguments of the commands from here on lie in, until it is `None` again: the keys they are put at share it.
    pub fn lend(&mut self, source: Option<&Arc<Vec<u8>>>) {
        self.scratch.source = source.map(Arc::clone);
    }

    /// Whether large strings in replies are kept apart from here on, for [`Connection::take_apart`].
    pub fn keep_apart(&mut self, keeps: bool) {
        self.scratch.apart.want(keeps);
        self.scratch.apart.truncate(0);
    }

    /// The first large string that was kept apart: its bytes are left out of [`Connection::replies`].
    pub fn take_apart(&mut self) -> Option<SharedBytes> {
        self.scratch.apart.take().into_iter().next().map(|(_, bytes)| bytes)
    }

    /// Runs a command to its end, waiting where it has to. Returns where its reply lies in [`Connection::replies`]; that it
    /// failed is a reply, too.
    ///
    /// # Errors
    /// The connection is to end: it was killed, or the client has gone.
    pub async fn call(&mut self, args: Args<'_>) -> Result<Range<usize>, End> {
        let resolved = run::resolve(&args);
        if let Ok(resolved) = &resolved
            && acts_on_connection(resolved.number())
        {
            return Ok(self.refuse_call(&args));
        }
        pin!(self.run_any(args, resolved)).await
    }

    /// As [`Connection::call`] for a command whose row the door has looked up before, which does not act on the connection.
    ///
    /// # Cost
    /// That of [`Connection::call`] without looking for a name.
    #[inline]
    pub async fn call_resolved(&mut self, args: Args<'_>, resolved: Resolved) -> Result<Range<usize>, End> {
        debug_assert!(resolved.spec.arity.allows(args.count()) && !acts_on_connection(resolved.number()));
        pin!(self.run_any(args, Ok(resolved))).await
    }

    /// As [`Connection::call`] for commands of the door itself, which may act on the connection (AUTH).
    pub async fn call_own(&mut self, words: &[&[u8]]) -> Result<Range<usize>, End> {
        let mut ranges = Ranges::new();
        ranges.begin_own();
        for word in words {
            ranges.add(word);
        }
        let args = ranges.args(&[]);
        self.run_any(args, run::resolve(&args)).await
    }

    async fn run_any(
        &mut self,
        args: Args<'_>,
        resolved: Result<Resolved, commands::Error>,
    ) -> Result<Range<usize>, End> {
        let start = self.out.len();
        let mut moment = self.server.node.moment();
        self.timer = self.server.statistics.timer();
        let end = pin!(self.command(args, &resolved, &mut moment)).await?;
        match end {
            Some(end) => Err(end),
            None => Ok(start..self.out.len()),
        }
    }

    #[cold]
    fn refuse_call(&mut self, args: &Args<'_>) -> Range<usize> {
        let start = self.out.len();
        let name = String::from_utf8_lossy(args.at(0)).to_ascii_lowercase();
        let error = format!("ERR '{name}' acts on a connection, which a request does not have");
        self.server.statistics.refused(args, &error);
        self.session.refused();
        self.reply_error(&error);
        start..self.out.len()
    }

    /// Runs commands as one transaction: all of them, with nothing in between, or none. Returns where the replies lie,
    /// which is an array of one for each command, or an error when none has run.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn call_atomically(&mut self, commands: &ArgsQueue) -> Result<Range<usize>, End> {
        let reply = self.call_in_transaction(commands).await?;
        // Whoever may MULTI may not be let EXEC or DISCARD; the next request is somebody else's.
        self.session.transaction = None;
        self.client.set_transaction(None);
        Ok(reply)
    }

    async fn call_in_transaction(&mut self, commands: &ArgsQueue) -> Result<Range<usize>, End> {
        let start = self.out.len();
        let opened = self.call_own(&[b"MULTI"]).await?;
        if self.out[opened.start] == b'-' {
            return Ok(opened);
        }
        let mut refusal = None;
        for index in 0..commands.count() {
            let reply = self.call(commands.args(index)).await?;
            if self.out[reply.start] == b'-' {
                refusal = Some(reply);
                break;
            }
        }
        // What was said while the commands were queued is not the answer, unless one was refused.
        if let Some(reply) = refusal {
            self.out.truncate(reply.end);
            self.out.drain(start..reply.start);
            return Ok(start..self.out.len());
        }
        self.out.truncate(start);
        self.call_own(&[b"EXEC"]).await
    }

    /// Puts an error behind the replies, as if a command had said so.
    pub fn say_error(&mut self, message: &str) -> Range<usize> {
        let start = self.out.len();
        Reply::new(&mut self.out, self.session.protocol).error(message);
        start..self.out.len()
    }

    /// Waits until the answers may leave: what they reveal is where the journal promised it to be.
    ///
    /// # Errors
    /// The journal cannot get it there: no answer may leave, and what was written is unknown.
    pub async fn settle(&mut self) -> Result<(), journal::Error> {
        self.server.node.settle(self.session.revealed).await
    }

    /// Waits until everything this connection wrote is on disk.
    ///
    /// # Errors
    /// The connection is to end. When the disk fails, the process stops.
    pub async fn durable(&mut self) -> Result<(), End> {
        let (node, written) = (Arc::clone(&self.server.node), self.session.written);
        let settled = self.unless_killed(async move { node.durable(written).await }).await?;
        settled.map_err(|_| End::Io)
    }

    /// Whether everything this connection wrote is on disk, or will be when [`Connection::settle`] has said that answers may
    /// leave.
    pub fn is_durable(&self) -> bool {
        let journal = &self.server.node.journal;
        self.session.written <= journal.durable() || journal.sync_mode() == journal::SyncMode::Always
    }

    /// Reads what there is behind what `input` has, which gets room for `bytes_wanted` at least; what came while a command
    /// waited comes first.
    ///
    /// # Errors
    /// The connection is to end: the client has closed it, or it was killed.
    pub async fn read_more(
        &mut self,
        input: &mut Vec<u8>,
        bytes_wanted: usize,
        deadline: Option<Instant>,
    ) -> Result<Received, End> {
        if !self.input.is_empty() {
            let bytes = self.input.len();
            input.append(&mut self.input);
            return Ok(Received::Bytes(bytes));
        }
        input.reserve(bytes_wanted);
        let (client, stream) = (&self.client, &mut self.stream);
        let reading = poll_fn(|ctx| {
            if client.was_killed() {
                return Poll::Ready(Err(End::Killed));
            }
            match poll_read_into(Pin::new(&mut *stream), ctx, input) {
                // Who kills it from here on wakes this task.
                Poll::Pending if client.is_killed(ctx) => Poll::Ready(Err(End::Killed)),
                read => read.map_err(End::from),
            }
        });
        let count = match deadline {
            None => reading.await?,
            Some(deadline) => match tokio::time::timeout_at(deadline, reading).await {
                Ok(count) => count?,
                Err(_) => return Ok(Received::TimedOut),
            },
        };
        if count == 0 {
            return Err(End::Closed);
        }
        self.client.count_in(count);
        Ok(Received::Bytes(count))
    }

    /// Takes back what was received behind the end of a body: it is received again.
    pub fn give_back(&mut self, bytes: &[u8]) {
        let late = std::mem::take(&mut self.input);
        self.input.extend_from_slice(bytes);
        self.input.extend_from_slice(&late);
    }

    /// Says that nothing more is sent.
    ///
    /// # Errors
    /// The client has gone.
    pub async fn shut(&mut self) -> Result<(), End> {
        let stream = &mut self.stream;
        poll_fn(|ctx| Pin::new(&mut *stream).poll_shutdown(ctx)).await.map_err(End::from)
    }

    /// The session's user is the one it was accepted with.
    pub fn log_out(&mut self) {
        let users = self.server.host().users();
        let changed = self.session.user.name() != users.default().name();
        (self.session.user, self.session.is_authenticated) = (Arc::clone(users.default()), users.default_is_open());
        if changed {
            self.tell_registry();
        }
    }

    /// What is left when the connection has ended.
    pub fn into_stream(self) -> S {
        self.stream
    }

    /// What CLIENT LIST shows of the door's buffers.
    pub fn show_buffers(&self, input: &Vec<u8>, output_bytes: usize) {
        self.client.set_buffers(input.len(), input.capacity() - input.len(), output_bytes);
    }

    /// Writes bytes of an answer, of which [`Connection::settle`] has said that they may leave.
    ///
    /// # Errors
    /// As [`Connection::read_more`]; also when the client takes less than `bytes_per_second_min` once `grace` is over, or
    /// nothing for that long.
    pub async fn send(&mut self, bytes: &[u8], pace: Pace) -> Result<(), End> {
        send_bytes(&self.client, &mut self.stream, bytes, pace).await
    }

    /// As [`Connection::send`] for a part of the replies.
    pub async fn send_reply(&mut self, place: Range<usize>, pace: Pace) -> Result<(), End> {
        send_bytes(&self.client, &mut self.stream, &self.out[place], pace).await
    }
}

/// How slowly a client may take or give bytes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time before it counts, and for which nothing may come at all.
    pub grace: std::time::Duration,
    /// Bytes a second from then on, on average.
    pub bytes_per_second_min: u64,
}

impl Pace {
    /// When a transfer that began at `begun` and has just got to `bytes` must have gone on. What came at once, into the
    /// system's buffers above all, buys no time to stand still in.
    pub fn deadline(self, begun: Instant, bytes: usize) -> Instant {
        let on_average = begun + self.grace + std::time::Duration::from_secs(bytes as u64 / self.bytes_per_second_min);
        on_average.min(Instant::now() + self.grace)
    }
}

async fn send_bytes<S: Stream>(client: &Client, stream: &mut S, bytes: &[u8], pace: Pace) -> Result<(), End> {
    let (mut sent, mut is_flushed) = (0, false);
    let mut turn_end = TURN_BYTES_MAX;
    let mut begun = None;
    while sent < bytes.len() || !is_flushed {
        let turn = &bytes[sent..bytes.len().min(turn_end)];
        let writing = poll_fn(|ctx| {
            if client.was_killed() {
                return Poll::Ready(Err(End::Killed));
            }
            match poll_send(stream, ctx, turn) {
                // Who kills it from here on wakes this task.
                Poll::Pending if client.is_killed(ctx) => Poll::Ready(Err(End::Killed)),
                written => written,
            }
        });
        let written = match begun {
            // Nearly always the socket takes all there is: only then no clock is read.
            None => {
                let mut writing = std::pin::pin!(writing);
                let first = poll_fn(|ctx| Poll::Ready(writing.as_mut().poll(ctx))).await;
                match first {
                    Poll::Ready(written) => written,
                    Poll::Pending => {
                        begun = Some(Instant::now());
                        continue;
                    }
                }
            }
            Some(begun) => match tokio::time::timeout_at(pace.deadline(begun, sent), writing).await {
                Ok(written) => written,
                Err(_) => return Err(End::TooSlow),
            },
        };
        let (count, is_through) = written?;
        (sent, is_flushed) = (sent + count, is_through);
        client.count_out(count);
        if turn_end <= sent {
            turn_end = sent + TURN_BYTES_MAX;
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Writes what the stream takes of `turn`. Returns how many bytes that was, and whether the stream, which took all of them,
/// holds none of them back, as TLS may.
fn poll_send(stream: &mut impl Stream, ctx: &mut Context<'_>, turn: &[u8]) -> Poll<Result<(usize, bool), End>> {
    let mut count = 0;
    if !turn.is_empty() {
        count = ready!(Pin::new(&mut *stream).poll_write(ctx, turn))?;
        if count == 0 {
            return Poll::Ready(Err(End::Closed));
        }
    }
    if count < turn.len() {
        return Poll::Ready(Ok((count, false)));
    }
    match Pin::new(stream).poll_flush(ctx) {
        Poll::Ready(Ok(())) => Poll::Ready(Ok((count, true))),
        // What was taken is counted first.
        _ if count != 0 => Poll::Ready(Ok((count, false))),
        flushed => flushed.map_ok(|()| (0, true)).map_err(End::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::{self, ClientRegistry};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    /// Takes so many bytes, and holds all of them back.
    struct HoldsBack(usize);

    impl AsyncWrite for HoldsBack {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
            let count = self.0.min(bytes.len());
            self.get_mut().0 -= count;
            if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncRead for HoldsBack {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
            Poll::Pending
        }
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn who_is_killed_while_nothing_more_goes_out_ends_at_once() {
        let pace = Pace { grace: std::time::Duration::from_hours(1), bytes_per_second_min: 1 };
        // All was taken and is held back; or a part was taken.
        for room in [3, 2] {
            let registry = ClientRegistry::new();
            let client = clients::tests::connect(&registry, 1);
            let (mut stream, woken) = (HoldsBack(room), Arc::new(Woken::default()));
            let waker = Waker::from(Arc::clone(&woken));
            let mut ctx = Context::from_waker(&waker);
            let mut sending = pin!(send_bytes(&client, &mut stream, b"abc", pace));
            assert!(sending.as_mut().poll(&mut ctx).is_pending());
            assert!(!woken.0.load(Ordering::SeqCst) && client.kill() && woken.0.load(Ordering::SeqCst), "{room}");
            assert!(matches!(sending.as_mut().poll(&mut ctx), Poll::Ready(Err(End::Killed))), "{room}");
            registry.unregister(client.id());
            assert_eq!(registry.totals().sent_bytes, room as u64);
        }
    }

    #[test]
    fn what_came_at_once_buys_no_time_to_stand_still_in() {
        let pace = Pace { grace: std::time::Duration::from_secs(30), bytes_per_second_min: 4096 };
        let begun = Instant::now();
        let still = pace.deadline(begun, 64 << 20);
        assert!(still <= Instant::now() + pace.grace && begun + pace.grace <= still);
        let long_ago = begun.checked_sub(std::time::Duration::from_mins(1)).expect("the machine runs for that long");
        assert_eq!(pace.deadline(long_ago, 31 * 4096), long_ago + std::time::Duration::from_secs(61));
    }

    #[test]
    fn what_acts_on_a_connection_is_in_the_table() {
        assert!(
            OF_CONNECTIONS.iter().all(|name| table::number_of_name(name.as_bytes()).is_some_and(acts_on_connection))
        );
        assert!(!table::number_of_name(b"get").is_some_and(acts_on_connection));
    }
}
