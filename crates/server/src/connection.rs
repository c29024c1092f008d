//! One RESP connection: bytes in, commands run where they are, replies out.
//!
//! ```text
//! read ─► every whole command in the buffer: resolve, run ─► gate ─► write ─► read …
//! ```
//!
//! One task per connection, and no hop on the way: commands run on the task itself, under the locks of their
//! partitions. A connection that sends faster than it reads is not read from: replies never pile up beyond
//! `REPLIES_BYTES_MAX` and one more reply.
//!
//! Deliberately not here: what commands mean, accepting, statistics beyond counting. Room for what is received is in
//! `connection/input.rs`, sending replies in `connection/output.rs`. Running commands for a door of another protocol,
//! which takes the same way but translates the replies before they leave, is `connection/caller.rs`.
//!
//! Invariants: replies leave in the order of their commands; none leaves before the gate is passed.

pub mod caller;
mod debugged;
mod input;
mod output;
mod told;

use self::input::{READ_BYTES, poll_read_into};
use crate::clients::{self, Client};
use crate::monitor::Shown;
use crate::serve::Server;
use crate::statistics::{Counter, Finished, Timer};
use commands::host::Unblock;
use commands::run::{self, Engine, Moment, Ran, Resolved, Scratch, Verdict};
use commands::slices::{Begun, Slice};
use commands::waiting::{Outcome, Waiter};
use commands::within::{Inner, Observer, Origin};
use commands::{Await, Flags, Flow, Group, Keys, Scope, Session, table};
use keyspace::Lookups;
use keyspace::prefetch::LookAhead;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use wire::args::{Args, Ranges};
use wire::reply::Reply;
use wire::request::{Limits, Login, Parsed, ProtocolError, RequestParser};

/// Replies are written out at the latest when they reach this, however many commands are still waiting.
const REPLIES_BYTES_MAX: usize = 256 << 10;
/// Bytes read ahead while a command waits.
const LATE_BYTES_MAX: usize = 64 << 10;
/// Memory that an idle connection keeps of either buffer.
const IDLE_BUFFER_BYTES_MAX: usize = 64 << 10;
/// How long a writer waits at a time when memory runs well over its limit.
const CROWDED_PAUSE: Duration = Duration::from_millis(2);

/// A stream of bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Why a connection ends. Nobody but the log cares.
#[derive(Debug)]
pub enum End {
    /// The client closed it, or asked for it (QUIT).
    Closed,
    /// CLIENT KILL, idle timeout, or the server stops.
    Killed,
    /// It sent something that is not RESP, and was told so.
    Protocol,
    /// Its replies grew past client-output-buffer-limit, or its query past client-query-buffer-limit.
    OverLimit,
    /// It gives or takes bytes too slowly.
    TooSlow,
    /// The network failed.
    Io,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Io
    }
}

/// See the module's text. What `KEEPS_REPLIES` writes nothing: its replies are for a door to translate.
pub struct Connection<S, const KEEPS_REPLIES: bool = false> {
    server: Arc<Server>,
    client: Arc<Client>,
    stream: S,
    session: Session,
    input: Vec<u8>,
    /// Bytes of `input` that are done with.
    done: usize,
    out: Vec<u8>,
    parser: RequestParser,
    scratch: Scratch,
    /// Runs from when the command in hand could begin.
    timer: Timer,
    /// How long the last command that waits ran until it began to, in nanoseconds.
    ran_ns: u64,
    /// `out` has bytes of the feed.
    has_fed: bool,
}

/// Commands parsed at once: enough for their cache misses to overlap, few enough to stay in cache.
const BATCH_COMMANDS_MAX: usize = 16;

/// Commands that were parsed and wait to be run; kept from one pass to the next for its memory.
#[derive(Default)]
struct Received {
    commands: Vec<Command>,
    count: usize,
    /// Where the input behind them begins.
    end: usize,
    /// Which of them holds the arguments of an unfinished command so far: the parser goes on filling it.
    unfinished: usize,
    ahead: LookAhead,
}

/// One of them.
struct Command {
    start: usize,
    bytes: usize,
    ranges: Ranges,
    resolved: Result<Resolved, commands::Error>,
}

impl Default for Command {
    fn default() -> Self {
        let (ranges, resolved) = (Ranges::new(), Err(commands::Error::Syntax));
        Command { start: 0, bytes: 0, ranges, resolved }
    }
}

/// What a pass over the input came to.
enum Pass {
    /// More bytes are needed.
    NeedsInput {
        /// At least so many.
        bytes_missing: usize,
    },
    /// The replies should go out first.
    Flush,
    /// The connection ends once the replies are out.
    Close(End),
}

/// A connection whose replies a door translates; see `connection/caller.rs`.
pub type Caller<S> = Connection<S, true>;

impl<S: Stream> Connection<S> {
    /// A connection that was just accepted.
    pub fn new(server: Arc<Server>, client: Arc<Client>, stream: S) -> Self {
        Self::accepted(server, client, stream)
    }
}

impl<S: Stream, const KEEPS_REPLIES: bool> Connection<S, KEEPS_REPLIES> {
    fn accepted(server: Arc<Server>, client: Arc<Client>, stream: S) -> Self {
        let mut session = Session::new(client.id(), server.host().users());
        session.takes_slices = true;
        let timer = server.statistics.timer();
        let mut scratch = Scratch::default();
        scratch.apart.want(!KEEPS_REPLIES);
        Connection {
            server,
            client,
            stream,
            session,
            input: Vec::new(),
            done: 0,
            out: Vec::new(),
            parser: RequestParser::new(),
            scratch,
            timer,
            ran_ns: 0,
            has_fed: false,
        }
    }

    /// Serves until the connection ends, and gives back what it ran over.
    pub async fn serve(mut self) -> S {
        let mut received = Received::default();
        let end = loop {
            if let Err(end) = self.turn(&mut received).await {
                break end;
            }
        };
        if self.client.feed.has_overrun() {
            self.server.statistics.count(Counter::OutputLimitReached, 1);
        }
        tracing::debug!(client = self.client.id(), ?end, "connection closed");
        self.stream
    }

    async fn turn(&mut self, received: &mut Received) -> Result<(), End> {
        let pass = self.pass(received).await?;
        self.flush().await?;
        match pass {
            Pass::Flush => Ok(()),
            Pass::Close(end) => Err(end),
            Pass::NeedsInput { bytes_missing } => self.read(bytes_missing).await,
        }
    }

    /// Runs the commands that are in the buffer whole.
    async fn pass(&mut self, received: &mut Received) -> Result<Pass, End> {
        let input = self.lend_input();
        let passed = self.pass_over(&input, received).await;
        let input = self.take_back(input);
        // What came while a command waited follows what was there before.
        let late = std::mem::replace(&mut self.input, input);
        if self.done == self.input.len() {
            self.input.clear();
            self.done = 0;
        }
        self.input.extend_from_slice(&late);
        match passed {
            Ok(Pass::NeedsInput { .. }) if !late.is_empty() => Ok(Pass::Flush),
            passed => passed,
        }
    }

    async fn pass_over(&mut self, input: &[u8], received: &mut Received) -> Result<Pass, End> {
        let mut moment = self.server.node.moment();
        loop {
            let pass = self.receive(input, received);
            self.look_ahead(input, received);
            self.timer = self.server.statistics.timer();
            for command in &received.commands[..received.count] {
                let args = command.ranges.args(&input[command.start..command.start + command.bytes]);
                self.done = command.start + command.bytes;
                if let Some(end) = pin!(self.command(args, &command.resolved, &mut moment)).await? {
                    return Ok(Pass::Close(end));
                }
                if REPLIES_BYTES_MAX <= self.out.len() + self.scratch.apart.bytes() {
                    // What was parsed behind this command is parsed again after the flush.
                    self.parser = RequestParser::new();
                    received.unfinished = 0;
                    return Ok(Pass::Flush);
                }
            }
            self.done = received.end;
            match pass {
                None => {}
                Some(Ok(Parsed::Incomplete { bytes_missing })) => return Ok(Pass::NeedsInput { bytes_missing }),
                Some(Ok(Parsed::Command { .. } | Parsed::Empty { .. })) => unreachable!("these do not end a batch"),
                Some(Err(error)) => {
                    self.reply_error(&format!("ERR {error}"));
                    return Ok(Pass::Close(End::Protocol));
                }
            }
        }
    }

    /// Parses the next few commands. Returns what ended the batch; `None` when it is full.
    fn receive(&mut self, input: &[u8], received: &mut Received) -> Option<Result<Parsed, ProtocolError>> {
        received.count = 0;
        if received.unfinished > 0 {
            received.commands.swap(0, received.unfinished);
            received.unfinished = 0;
        }
        let limits = self.limits();
        // Before AUTH each command may change what the next is allowed.
        let count_max = if self.session.is_authenticated { BATCH_COMMANDS_MAX } else { 1 };
        let mut start = self.done;
        while received.count < count_max {
            if start == input.len() && 0 < received.count {
                received.end = start;
                return Some(Ok(Parsed::Incomplete { bytes_missing: 1 }));
            }
            if received.commands.len() == received.count {
                received.commands.push(Command::default());
            }
            let command = &mut received.commands[received.count];
            match self.parser.parse(&input[start..], &limits, &mut command.ranges) {
                Ok(Parsed::Command { bytes }) => {
                    (command.start, command.bytes) = (start, bytes);
                    command.resolved = run::resolve(&command.ranges.args(&input[start..start + bytes]));
                    start += bytes;
                    received.count += 1;
                }
                Ok(Parsed::Empty { bytes }) => {
                    start += bytes;
                }
                other => {
                    received.end = start;
                    received.unfinished = received.count;
                    return Some(other);
                }
            }
        }
        received.end = start;
        None
    }

    /// Has the processor fetch what the received commands will touch, all at once.
    fn look_ahead(&self, input: &[u8], received: &mut Received) {
        if !self.session.is_authenticated {
            return;
        }
        let keyspace = &self.server.node.keyspace;
        received.ahead.clear();
        for command in &received.commands[..received.count] {
            if let Ok(resolved) = &command.resolved
                && let Keys::Range { first: 1, .. } = resolved.spec.keys
            {
                let args = command.ranges.args(&input[command.start..command.start + command.bytes]);
                let element = match resolved.spec.group {
                    _ if received.count < 2 => None,
                    Group::Hash | Group::Set => args.nth(2),
                    // Behind its score, where it has one.
                    Group::SortedSet if 2 < args.count() => args.nth(args.count() - 1),
                    _ => None,
                };
                received.ahead.note(keyspace, args.at(1), element);
            }
        }
        received.ahead.fetch(keyspace, self.session.db);
    }

    fn limits(&self) -> Limits {
        let login = if self.session.is_authenticated { Login::Done } else { Login::Required };
        Limits { bulk_bytes_max: self.server.settings.bulk_bytes_max(), ..Limits::standard(login) }
    }

    /// Runs one command to its end, waiting where it has to. `Some` when the connection is to end after its reply.
    #[inline]
    async fn command(
        &mut self,
        args: Args<'_>,
        resolved: &Result<Resolved, commands::Error>,
        moment: &mut Moment,
    ) -> Result<Option<End>, End> {
        match resolved {
            // Waits are boxed: the future of a command that does not wait stays small, and is moved at each await.
            Ok(resolved) if self.may_have_to_wait() => Box::pin(self.wait_for_turn(resolved, &args, moment)).await?,
            Ok(_) => {}
            Err(_) if is_http(args.at(0)) => {
                tracing::warn!(client = self.client.id(), "an HTTP request on the RESP port: connection closed");
                return Err(End::Protocol);
            }
            Err(_) => {}
        }
        self.session.begin_reply();
        let mut start = self.out.len();
        let flow = match resolved {
            Ok(resolved) => match self.turned_away(resolved) {
                None => match self.run(resolved, &args, moment) {
                    Ok(flow) => flow,
                    Err(ran) => Box::pin(self.run_on(ran, start, resolved, &args, moment)).await?,
                },
                Some(error) => {
                    let error = self.session.turn_away(resolved.spec, error);
                    self.refuse(&args, error.reply())
                }
            },
            Err(error) => self.refuse(&args, error.reply()),
        };
        if !self.scratch.ready.is_empty() {
            Box::pin(self.serve_waiters(moment)).await;
        }
        // After those who waited: what they took away need not be made room for.
        if std::mem::take(&mut self.scratch.has_grown) {
            self.server.node.make_room();
        }
        let mut is_push = false;
        let end = match flow {
            Flow::Done => None,
            Flow::Close => {
                self.client.close();
                Some(End::Closed)
            }
            Flow::Subscribed => {
                is_push = true;
                None
            }
            Flow::Unsubscribed => {
                is_push = true;
                self.take_feed_before(start);
                None
            }
            Flow::Await(what) => {
                let waited = matches!(what, Await::Keys(_));
                let end = Box::pin(self.await_for(what)).await?;
                if let Ok(resolved) = resolved
                    && waited
                {
                    let left = if KEEPS_REPLIES { start } else { 0 };
                    let (client, reply) = (&*self.client, &self.out[left..]);
                    let verdict = Verdict::of_reply(reply);
                    let finished =
                        Finished { resolved, args: &args, client, reply, apart_bytes: 0, verdict, waits: false };
                    self.server.statistics.finish_waiting(self.ran_ns, &finished);
                }
                self.restart(moment);
                // What was in `out` before the wait has left.
                start = if KEEPS_REPLIES { start } else { 0 };
                end
            }
            Flow::Begun(_) => unreachable!("who runs a command brings its reply to an end"),
        };
        if !self.session.end_reply() && !is_push {
            self.out.truncate(start);
            self.scratch.apart.truncate(start);
        }
        if self.client.feed.is_waiting() {
            self.take_feed();
        }
        self.check_output_limit()?;
        Ok(end)
    }

    /// Puts what the client is sent without asking behind the replies so far.
    #[cold]
    fn take_feed(&mut self) {
        let revealed = self.client.feed.take_into(&mut self.out);
        self.session.revealed = self.session.revealed.max(revealed);
        self.has_fed = true;
    }

    /// As [`Connection::take_feed`] before the replies from `start` on.
    #[cold]
    fn take_feed_before(&mut self, start: usize) {
        let replies = self.out.split_off(start);
        self.take_feed();
        self.out.extend_from_slice(&replies);
    }

    /// What is said to who may not run a command while a script is slow.
    #[inline]
    fn turned_away(&self, resolved: &Resolved) -> Option<commands::Error> {
        let scripts = self.server.scripts();
        if !scripts.is_busy() || resolved.spec.flags.has(Flags::RUNS_WHEN_BUSY) {
            return None;
        }
        scripts.busy_error()
    }

    /// Whether [`Connection::wait_for_turn`] has anything to look at.
    #[inline]
    fn may_have_to_wait(&self) -> bool {
        self.server.clients.is_pausing() || self.server.node.is_crowded()
    }

    /// Waits while CLIENT PAUSE holds a command back, and a little when memory runs over its limit.
    async fn wait_for_turn(&mut self, resolved: &Resolved, args: &Args<'_>, moment: &mut Moment) -> Result<(), End> {
        let flags = self.session.flags_of(resolved.spec);
        let is_write = flags.has(Flags::WRITE);
        if self.server.clients.is_pausing() && !resolved.spec.flags.has(Flags::UNPAUSED) {
            let (scripts, keyspace) = (self.server.scripts(), &self.server.node.keyspace);
            let is_held = match resolved.spec.scope {
                Scope::Script => commands::flags_of(scripts, keyspace, resolved.spec, args).is_held(),
                _ => flags.is_held(),
            };
            self.wait_for_unpause(is_held).await?;
            self.restart(moment);
        }
        if is_write && self.server.node.is_crowded() {
            self.wait_for_room().await?;
            self.restart(moment);
        }
        Ok(())
    }

    /// Time has passed while a command waited.
    fn restart(&mut self, moment: &mut Moment) {
        *moment = self.server.node.moment();
        self.timer = self.server.statistics.timer();
    }

    /// Answers a command that cannot be run. Who has not logged in learns nothing of which commands there are.
    #[cold]
    fn refuse(&mut self, args: &Args<'_>, error: &str) -> Flow {
        let is_open = |row: table::Row| row.spec.flags.has(Flags::NO_AUTH);
        let may_know = self.session.is_authenticated || table::find(args.at(0)).is_some_and(is_open);
        let error = if may_know { error } else { "NOAUTH Authentication required." };
        self.server.statistics.refused(args, error);
        self.session.refused();
        self.reply_error(error);
        Flow::Done
    }

    /// Runs a command. `Err` with what it came to when there is something to wait for before it has ended.
    #[inline]
    fn run(&mut self, resolved: &Resolved, args: &Args<'_>, moment: &Moment) -> Result<Flow, Ran> {
        // What EXEC runs is shown before it.
        if self.server.clients.monitors().is_watched() && resolved.spec.scope != Scope::Queued {
            self.show(*resolved, args);
        }
        let (start, ran) = self.run_now(*resolved, *args, moment);
        self.conclude(ran, start, resolved, args)
    }

    /// As [`Connection::run`], from what has to be waited for to the command's end.
    #[cold]
    async fn run_on(
        &mut self,
        mut ran: Ran,
        mut start: usize,
        resolved: &Resolved,
        args: &Args<'_>,
        moment: &mut Moment,
    ) -> Result<Flow, End> {
        loop {
            let again = match ran {
                Ran::Done { flow: Flow::Begun(begun), .. } => self.go_on(begun, moment).await?,
                Ran::Spilled(wanted) => {
                    let node = Arc::clone(&self.server.node);
                    if let Err(error) = node.fetch(wanted).await {
                        tracing::error!(%error, "a spilled value cannot be read back");
                        let error = run::unfetched(&mut self.session, *resolved, &error);
                        self.reply_error(error.reply());
                        self.session.takes_slices = true;
                        return Ok(Flow::Done);
                    }
                    self.restart(moment);
                    None
                }
                Ran::Done { .. } | Ran::Queued => unreachable!("nothing waits for what has ended"),
            };
            if let Some(last) = again {
                ran = last;
            } else {
                (start, ran) = self.run_now(*resolved, *args, moment);
            }
            match self.conclude(ran, start, resolved, args) {
                Ok(flow) => return Ok(flow),
                Err(unfinished) => ran = unfinished,
            }
        }
    }

    /// Counts a command that has ended, and passes on what it left. `Err` when it has not.
    #[inline]
    fn conclude(&mut self, ran: Ran, start: usize, resolved: &Resolved, args: &Args<'_>) -> Result<Flow, Ran> {
        if self.session.transaction.is_some() || self.client.has_transaction() {
            self.client.set_transaction(self.session.transaction.as_deref());
        }
        let server = &self.server;
        let (flow, revealed, verdict) = match ran {
            Ran::Done { flow: Flow::Begun(_), .. } | Ran::Spilled(_) => return Err(ran),
            Ran::Done { flow, revealed, verdict, .. } => (flow, revealed, verdict),
            Ran::Queued => {
                self.client.end_command(env::monotonic_ns());
                return Ok(Flow::Done);
            }
        };
        self.session.revealed = self.session.revealed.max(revealed);
        if resolved.spec.scope == Scope::Queued && server.clients.monitors().is_watched() {
            self.show(*resolved, args);
        }
        let (client, reply) = (&*self.client, &self.out[start..]);
        let waits = matches!(flow, Flow::Await(Await::Keys(_)));
        let apart_bytes = self.scratch.apart.bytes();
        let finished = Finished { resolved, args, client, reply, apart_bytes, verdict, waits };
        let ended = server.statistics.finish(self.timer, &finished);
        if waits {
            self.ran_ns = self.timer.until(ended);
        }
        self.timer = ended;
        server.statistics.count_lookups(std::mem::take(&mut self.scratch.lookups));
        if !self.scratch.garbage.is_empty() {
            server.node.discard(std::mem::take(&mut self.scratch.garbage));
        }
        self.session.takes_slices = true;
        Ok(flow)
    }

    /// Goes on with a reply slice by slice, and lets others have their turn before each. That time is not counted as the
    /// command's. Where the key changes meanwhile, `None`: the command is to be run anew, and until it has ended, however
    /// often that takes, it takes no slices.
    #[cold]
    async fn go_on(&mut self, mut begun: Box<Begun>, moment: &mut Moment) -> Result<Option<Ran>, End> {
        loop {
            let stopped = self.server.statistics.timer();
            tokio::task::yield_now().await;
            if self.client.was_killed() {
                return Err(End::Killed);
            }
            *moment = self.server.node.moment();
            self.timer = self.timer.without(stopped, self.server.statistics.timer());
            match self.with_engine(|engine, _, out, scratch| begun.go_on(engine, moment, out, scratch)) {
                Slice::More => self.check_output_limit()?,
                Slice::Last { revealed } => {
                    self.session.forget_caching();
                    let (flow, verdict) = (Flow::Done, Verdict::Answered);
                    return Ok(Some(Ran::Done { flow, revealed, wrote: false, verdict }));
                }
                Slice::Changed => {
                    self.scratch.lookups = Lookups::default();
                    self.session.takes_slices = false;
                    return Ok(None);
                }
            }
        }
    }

    /// Serves those who wait for keys that the last command made ready.
    #[cold]
    async fn serve_waiters(&mut self, moment: &Moment) {
        self.server.serve_waiters(moment, &mut self.scratch).await;
    }

    /// Runs a command as far as it goes without waiting. Returns where its reply begins.
    #[inline]
    fn run_now(&mut self, resolved: Resolved, args: Args<'_>, moment: &Moment) -> (usize, Ran) {
        self.client.begin_command(resolved.number());
        let start = self.out.len();
        let ran = self.with_engine(|engine, session, out, scratch| {
            run::run(engine, resolved, session, args, moment, out, scratch)
        });
        (start, ran)
    }

    #[inline]
    fn with_engine<R>(&mut self, work: impl FnOnce(Engine<'_>, &mut Session, &mut Vec<u8>, &mut Scratch) -> R) -> R {
        let server = &*self.server;
        let observer = Watching { server, client: &self.client, timer: Cell::new(self.timer) };
        let (keyspace, journal) = (&server.node.keyspace, &server.node.journal);
        let engine = Engine { keyspace, journal, host: server.host(), observer: &observer };
        work(engine, &mut self.session, &mut self.out, &mut self.scratch)
    }

    /// Shows a command to the monitors, before it runs: one that blocks is news when it begins to. Not what somebody who
    /// has not logged in may not run, nor what waits for EXEC.
    #[cold]
    fn show(&self, resolved: Resolved, args: &Args<'_>) {
        let may_run = self.session.is_authenticated || resolved.spec.flags.has(Flags::NO_AUTH);
        if may_run && !self.session.queues(resolved.spec) {
            let Session { db, .. } = self.session;
            let shown = Shown { time_us: clients::wall_us(), db, source: self.client.address(), args };
            show(&self.server, resolved, &shown);
        }
    }

    fn reply_error(&mut self, message: &str) {
        Reply::new(&mut self.out, self.session.protocol).error(message);
    }

    async fn wait_for_room(&mut self) -> Result<(), End> {
        self.flush().await?;
        tokio::time::sleep(CROWDED_PAUSE).await;
        Ok(())
    }

    async fn wait_for_unpause(&mut self, is_write: bool) -> Result<(), End> {
        if !self.server.clients.is_paused(is_write) {
            return Ok(());
        }
        self.flush().await?;
        let server = Arc::clone(&self.server);
        let client = Arc::clone(&self.client);
        self.unless_killed(server.clients.unpaused(&client, is_write)).await
    }

    /// Waits for `what`, unless the connection is killed or the client goes away, whom no answer would reach. What it is
    /// sent without asking goes out meanwhile. What
    /// the client sends meanwhile is kept, up to a bound; beyond it, going away is noticed later.
    async fn unless_killed<T>(&mut self, what: impl Future<Output = T>) -> Result<T, End> {
        let mut what = pin!(what);
        loop {
            if let Some(done) = self.unless_killed_or_told(what.as_mut()).await? {
                return Ok(done);
            }
            self.take_feed();
            self.flush().await?;
        }
    }

    /// As [`Connection::unless_killed`]; `None` when there is something in the feed.
    async fn unless_killed_or_told<T>(
        &mut self,
        mut what: Pin<&mut impl Future<Output = T>>,
    ) -> Result<Option<T>, End> {
        let (client, stream, late) = (Arc::clone(&self.client), &mut self.stream, &mut self.input);
        poll_fn(|ctx| {
            if client.is_killed(ctx) {
                return Poll::Ready(Err(End::Killed));
            }
            if let Poll::Ready(done) = what.as_mut().poll(ctx) {
                return Poll::Ready(Ok(Some(done)));
            }
            if client.feed.is_waiting() {
                return Poll::Ready(Ok(None));
            }
            while late.len() < LATE_BYTES_MAX {
                late.reserve(READ_BYTES);
                match poll_read_into(Pin::new(&mut *stream), ctx, late) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(End::Closed)),
                    Poll::Ready(Ok(count)) => client.count_in(count),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Waits in a blocking command; 0 milliseconds are for ever. Returns false when CLIENT UNBLOCK had it answered
    /// with an error.
    async fn blocked(&mut self, timeout_ms: u64, what: impl Future<Output = ()>) -> Result<bool, End> {
        let client = Arc::clone(&self.client);
        match self.unless_killed(client.blocked(within(timeout_ms, what))).await? {
            Ok(_) | Err(Unblock::Timeout) => Ok(true),
            Err(Unblock::Error) => {
                self.reply_error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
                Ok(false)
            }
        }
    }

    /// Does what a handler could not, and writes its reply.
    async fn await_for(&mut self, what: Await) -> Result<Option<End>, End> {
        let server = Arc::clone(&self.server);
        let _queued = match &what {
            Await::Keys(waiter) => Some(Queued { server: &server, waiter }),
            _ => None,
        };
        let written = self.session.written;
        self.flush().await?;
        match what {
            Await::Durable { local_count, replica_count, timeout_ms } => {
                let node = Arc::clone(&server.node);
                let wait = async move {
                    if local_count > 0 {
                        // A failure stops the process; who waits here is told by the connection's end.
                        drop(node.durable(written).await);
                    }
                    replicas(replica_count).await;
                };
                if self.blocked(timeout_ms, wait).await? {
                    let local = i64::from(written <= server.node.journal.durable());
                    let mut reply = Reply::new(&mut self.out, self.session.protocol);
                    reply.array(2);
                    reply.integer(local);
                    reply.integer(0);
                }
            }
            Await::Replicas { replica_count, timeout_ms } => {
                if self.blocked(timeout_ms, replicas(replica_count)).await? {
                    Reply::new(&mut self.out, self.session.protocol).integer(0);
                }
            }
            Await::Keys(ref waiter) => self.wait_for_keys(waiter).await?,
            Await::Checkpoint => {
                let node = Arc::clone(&server.node);
                let saved = tokio::task::spawn_blocking(move || node.checkpoint_now()).await;
                match saved {
                    Ok(Ok(())) => Reply::new(&mut self.out, self.session.protocol).ok(),
                    Ok(Err(error)) => self.reply_error(&format!("ERR {error}")),
                    Err(_) => self.reply_error("ERR the checkpoint was interrupted"),
                }
            }
            Await::Sleep { duration_ms } => {
                self.unless_killed(tokio::time::sleep(Duration::from_millis(duration_ms))).await?;
                Reply::new(&mut self.out, self.session.protocol).ok();
            }
            Await::Debug(ref debugging) => return Box::pin(self.debug(debugging)).await,
            Await::Shutdown { checkpoint } => {
                server.stop(checkpoint);
                return Ok(Some(End::Closed));
            }
        }
        Ok(None)
    }

    /// Waits until whoever changes a key has run the waiting command, and takes its reply over.
    async fn wait_for_keys(&mut self, waiter: &Waiter) -> Result<(), End> {
        let client = Arc::clone(&self.client);
        let ended = self.unless_killed(client.blocked(within(waiter.timeout_ms(), waiter.served()))).await?;
        let (outcome, how) = match ended {
            Ok(Some(outcome)) => (Some(outcome), Unblock::Timeout),
            Ok(None) => (waiter.leave().await, Unblock::Timeout),
            Err(how) => (waiter.leave().await, how),
        };
        match (outcome, how) {
            (Some(Outcome { reply, revealed, written, refused_by }), _) => {
                if let Some(number) = refused_by {
                    self.server.statistics.failed_late(number, &reply);
                }
                self.out.extend_from_slice(&reply);
                self.session.revealed = self.session.revealed.max(revealed);
                self.session.written = self.session.written.max(written);
            }
            (None, Unblock::Timeout) => Reply::new(&mut self.out, self.session.protocol).null_array(),
            (None, Unblock::Error) => self.reply_error("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
        }
        Ok(())
    }
}

/// A waiter of a connection, which is in no queue any more when the connection goes on or ends.
struct Queued<'a> {
    server: &'a Server,
    waiter: &'a Waiter,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.waiter.withdraw(&self.server.node.keyspace);
    }
}

/// Shows a command to the monitors; commands of administration are not shown.
fn show(server: &Server, resolved: Resolved, shown: &Shown<'_>) {
    let flags = resolved.spec.flags;
    if flags.has(Flags::ADMIN) || flags.has(Flags::SKIP_MONITOR) {
        return;
    }
    server.clients.monitors().show(shown);
}

/// Counts, logs and shows the commands that run within another one.
struct Watching<'a> {
    server: &'a Server,
    client: &'a Client,
    /// Runs from when the command in hand could begin.
    timer: Cell<Timer>,
}

impl Observer for Watching<'_> {
    fn begins(&self) {
        self.timer.set(self.server.statistics.timer());
    }

    fn ran(&self, inner: &Inner<'_>) {
        let Inner { resolved, args, db, reply, verdict, origin } = inner;
        let (client, verdict) = (self.client, *verdict);
        let finished = Finished { resolved, args, client, reply, apart_bytes: 0, verdict, waits: false };
        self.timer.set(self.server.statistics.finish(self.timer.get(), &finished));
        if self.server.clients.monitors().is_watched() {
            let source = match origin {
                Origin::Client | Origin::Queue => self.client.address(),
                Origin::Script => "lua",
            };
            show(self.server, *resolved, &Shown { time_us: clients::wall_us(), db: *db, source, args });
        }
    }

    fn refused(&self, args: &Args<'_>, error: &str) {
        self.server.statistics.refused(args, error);
    }
}

/// Waits until so many replicas have something. There are no replicas, so asking for one only waits.
async fn replicas(replica_count: i64) {
    if replica_count > 0 {
        std::future::pending::<()>().await;
    }
}

/// Whether a word that is no command begins an HTTP request or its headers: a browser that was tricked into sending
/// its requests here must not have them run (cross-protocol scripting; as Redis's `securityWarningCommand`).
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// Waits for `what`, but no longer than `timeout_ms`; 0 is for ever.
async fn within<T>(timeout_ms: u64, what: impl Future<Output = T>) -> Option<T> {
    match timeout_ms {
        0 => Some(what.await),
        _ => tokio::time::timeout(Duration::from_millis(timeout_ms), what).await.ok(),
    }
}
