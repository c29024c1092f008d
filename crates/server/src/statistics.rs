//! What is counted while commands run: calls, durations, refusals, errors, connections; slow and large commands.
//!
//! ```text
//! thread 0 → shard 0   thread 1 → shard 1   …   further threads → the last shard, shared
//! ```
//!
//! A thread has a shard to itself, so counting is a load and a store, without locks or contended cache lines; reading
//! adds the shards up. CONFIG RESETSTAT remembers the sums of that moment, which INFO subtracts: counters never run
//! backwards, so a reset cannot collide with counting, and Prometheus sees them whole.
//!
//! Deliberately not here: what the node counts (expiry, eviction, merge), what connections count of themselves.
//!
//! Invariant: a shard that is not the last is written by one thread only.

use crate::clients::{self, Client};
use crate::config::Settings;
use crate::distribution::{BUCKET_COUNT, bucket_of};
use crate::latency_monitor::LatencyMonitor;
use crate::slow_log::RemarkableLog;
use commands::Flags;
use commands::host::LogKind;
use commands::run::{Resolved, Verdict};
use commands::table;
use keyspace::Lookups;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use wire::args::Args;

/// Shards, the shared one included.
const SHARD_COUNT: usize = 64;
/// Different error codes that are counted; more are counted together.
const ERROR_CODES_MAX: usize = 128;
/// Under which name those are.
const ERROR_CODES_OVERFLOW: &str = "ERRORSTATS_OVERFLOW";
/// Bytes of the longest error code that is counted by itself.
const ERROR_CODE_BYTES_MAX: usize = 32;
/// Codes with which a command is refused before it runs.
const REJECTIONS: [&str; 5] = ["NOAUTH", "NOPERM", "OOM", "MISCONF", "LOADING"];

/// Something counted that belongs to no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Connections accepted.
    Connections,
    /// Connections turned away at `maxclients`.
    ConnectionsRejected,
    /// Connections closed at `client-query-buffer-limit`.
    QueryLimitReached,
    /// Connections closed at `client-output-buffer-limit`.
    OutputLimitReached,
    /// Error replies.
    Errors,
    /// Lookups of keys by reads that found them.
    Hits,
    /// Lookups of keys by reads that did not.
    Misses,
}

const COUNTER_COUNT: usize = Counter::Misses as usize + 1;

/// One command's counters in one shard.
struct CommandShard {
    rejected: AtomicU64,
    failed: AtomicU64,
    duration_ns: AtomicU64,
    buckets: [AtomicU64; BUCKET_COUNT],
}

impl CommandShard {
    fn new() -> Box<Self> {
        let zero = || AtomicU64::new(0);
        Box::new(CommandShard {
            rejected: zero(),
            failed: zero(),
            duration_ns: zero(),
            buckets: std::array::from_fn(|_| zero()),
        })
    }
}

struct Shard {
    commands: Box<[OnceLock<Box<CommandShard>>]>,
    counters: [AtomicU64; COUNTER_COUNT],
}

impl Shard {
    fn new() -> Self {
        Shard {
            commands: (0..table::number_count()).map(|_| OnceLock::new()).collect(),
            counters: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    #[inline]
    fn command(&self, number: u16) -> &CommandShard {
        self.commands[usize::from(number)].get_or_init(CommandShard::new)
    }
}

/// One command's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandTotals {
    /// Calls refused before they ran.
    pub rejected: u64,
    /// Calls that ran and answered with an error.
    pub failed: u64,
    /// How long all calls ran.
    pub duration_ns: u64,
    /// Calls by how long they ran; see `distribution.rs`.
    pub buckets: Vec<u64>,
}

impl CommandTotals {
    fn zero() -> Self {
        CommandTotals { rejected: 0, failed: 0, duration_ns: 0, buckets: vec![0; BUCKET_COUNT] }
    }

    /// Calls that ran.
    pub fn calls(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Whether there is anything to tell.
    pub fn is_zero(&self) -> bool {
        self.rejected == 0 && self.failed == 0 && self.calls() == 0
    }

    fn add(&mut self, shard: &CommandShard) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.rejected += read(&shard.rejected);
        self.failed += read(&shard.failed);
        self.duration_ns += read(&shard.duration_ns);
        self.buckets.iter_mut().zip(&shard.buckets).for_each(|(sum, bucket)| *sum += read(bucket));
    }

    fn subtract(&mut self, before: &CommandTotals) {
        self.rejected -= before.rejected;
        self.failed -= before.failed;
        self.duration_ns -= before.duration_ns;
        self.buckets.iter_mut().zip(&before.buckets).for_each(|(sum, before)| *sum -= before);
    }
}

/// All counters at a moment.
#[derive(Clone, Debug)]
pub struct Totals {
    /// By the command's number; `None` for commands never called.
    pub commands: Vec<Option<CommandTotals>>,
    counters: [u64; COUNTER_COUNT],
    /// Error replies by code.
    pub errors: BTreeMap<String, u64>,
}

impl Totals {
    fn zero() -> Self {
        Totals { commands: vec![None; table::number_count()], counters: [0; COUNTER_COUNT], errors: BTreeMap::new() }
    }

    /// One counter.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// The commands that were called or refused, by number.
    pub fn called(&self) -> impl Iterator<Item = (u16, &CommandTotals)> {
        let told = |totals: &&CommandTotals| !totals.is_zero();
        let command = move |(number, totals): (usize, &'_ Option<CommandTotals>)| -> Option<u16> {
            totals.as_ref().filter(told).map(|_| number as u16)
        };
        let numbers: Vec<u16> = self.commands.iter().enumerate().filter_map(command).collect();
        numbers.into_iter().filter_map(|number| Some((number, self.commands[usize::from(number)].as_ref()?)))
    }

    /// Calls of all commands.
    pub fn calls(&self) -> u64 {
        self.commands.iter().flatten().map(CommandTotals::calls).sum()
    }

    /// How long all calls ran.
    pub fn duration_ns(&self) -> u64 {
        self.commands.iter().flatten().map(|totals| totals.duration_ns).sum()
    }

    fn add(&mut self, shard: &Shard) {
        for (sum, counter) in self.counters.iter_mut().zip(&shard.counters) {
            *sum += counter.load(Ordering::Relaxed);
        }
        for (sum, command) in self.commands.iter_mut().zip(&shard.commands) {
            if let Some(command) = command.get() {
                sum.get_or_insert_with(CommandTotals::zero).add(command);
            }
        }
    }

    fn subtract(&mut self, before: &Totals) {
        for (sum, before) in self.counters.iter_mut().zip(before.counters) {
            *sum -= before;
        }
        for (sum, before) in self.commands.iter_mut().zip(&before.commands) {
            if let (Some(sum), Some(before)) = (sum, before) {
                sum.subtract(before);
            }
        }
        for (code, count) in &before.errors {
            if let Some(sum) = self.errors.get_mut(code) {
                *sum -= count;
            }
        }
        self.errors.retain(|_, count| 0 < *count);
    }
}

/// When a command began; by default, never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timer {
    started_ns: u64,
}

impl Timer {
    /// Nanoseconds from this one to a later one.
    pub fn until(self, later: Timer) -> u64 {
        later.started_ns.saturating_sub(self.started_ns)
    }

    /// As if the time between two others had not passed.
    #[must_use]
    pub fn without(self, from: Timer, to: Timer) -> Timer {
        Timer { started_ns: self.started_ns + from.until(to) }
    }

    /// The time it runs from, by [`env::monotonic_ns`].
    pub fn read_ns(self) -> Option<u64> {
        Some(self.started_ns).filter(|ns| 0 < *ns)
    }
}

/// A command that has run, for [`Statistics::finish`].
pub struct Finished<'a> {
    /// Its row.
    pub resolved: &'a Resolved,
    /// Its arguments.
    pub args: &'a Args<'a>,
    /// Who sent it.
    pub client: &'a Client,
    /// Its reply, or what there is of it yet.
    pub reply: &'a [u8],
    /// Bytes of the reply that lie elsewhere.
    pub apart_bytes: usize,
    /// Whether that is an error, and whose.
    pub verdict: Verdict,
    /// Whether it waits for a key: its client counts it, and the logs hear of it, when it has ended.
    pub waits: bool,
}

/// See the module's text.
pub struct Statistics {
    shards: [OnceLock<Shard>; SHARD_COUNT],
    errors: Mutex<BTreeMap<String, u64>>,
    baseline: Mutex<Totals>,
    logs: [RemarkableLog; LogKind::ALL.len()],
    spikes: LatencyMonitor,
    settings: Arc<Settings>,
    started_ns: u64,
}

/// This thread's number: the first to ask is 0.
#[inline]
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed)));
    NUMBER.get()
}

/// How a thread adds to its shard: alone, or together with others.
#[derive(Clone, Copy)]
enum Writer {
    Alone,
    Shared,
}

impl Writer {
    #[inline]
    fn add(self, counter: &AtomicU64, more: u64) {
        match self {
            Writer::Alone => counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed),
            Writer::Shared => drop(counter.fetch_add(more, Ordering::Relaxed)),
        }
    }
}

impl Statistics {
    /// Nothing is counted yet; thresholds are read from `settings` as commands run.
    pub fn new(settings: &Arc<Settings>) -> Self {
        Statistics {
            shards: std::array::from_fn(|_| OnceLock::new()),
            errors: Mutex::new(BTreeMap::new()),
            baseline: Mutex::new(Totals::zero()),
            logs: std::array::from_fn(|_| RemarkableLog::default()),
            spikes: LatencyMonitor::default(),
            settings: Arc::clone(settings),
            started_ns: env::monotonic_ns(),
        }
    }

    #[inline]
    fn shard(&self) -> (&Shard, Writer) {
        let number = thread_number();
        let writer = if number < SHARD_COUNT - 1 { Writer::Alone } else { Writer::Shared };
        (self.shards[number.min(SHARD_COUNT - 1)].get_or_init(Shard::new), writer)
    }

    /// Counts `more` of something.
    #[inline]
    pub fn count(&self, counter: Counter, more: u64) {
        let (shard, writer) = self.shard();
        writer.add(&shard.counters[counter as usize], more);
    }

    /// Counts what commands that read have looked up.
    #[inline]
    pub fn count_lookups(&self, lookups: Lookups) {
        if lookups != Lookups::default() {
            self.count(Counter::Hits, lookups.hits);
            self.count(Counter::Misses, lookups.misses);
        }
    }

    /// A timer for a command that begins now.
    #[inline]
    pub fn timer(&self) -> Timer {
        Timer { started_ns: env::monotonic_ns() }
    }

    /// A command has run. Returns a timer for the next one of the same pipeline, so that each costs one reading of
    /// the clock, which is what costs most here.
    ///
    /// # Cost
    /// A few uncontended loads and stores; a lock only for errors and what is remarkable.
    #[inline]
    pub fn finish(&self, timer: Timer, finished: &Finished<'_>) -> Timer {
        let now_ns = env::monotonic_ns();
        let duration_ns = now_ns.saturating_sub(timer.started_ns);
        if finished.waits {
            finished.client.wait_in_command(now_ns);
        } else {
            finished.client.end_command(now_ns);
        }
        let (shard, writer) = self.shard();
        let command = shard.command(finished.resolved.number());
        if finished.verdict.is_error() && self.finish_error(command, writer, finished) {
            return Timer { started_ns: now_ns };
        }
        writer.add(&command.duration_ns, duration_ns);
        writer.add(&command.buckets[bucket_of(duration_ns)], 1);
        self.finish_logs(duration_ns, finished);
        Timer { started_ns: now_ns }
    }

    /// Counts an error; returns whether the command was refused before it ran.
    #[cold]
    fn finish_error(&self, command: &CommandShard, writer: Writer, finished: &Finished<'_>) -> bool {
        if finished.verdict == Verdict::Relayed {
            writer.add(&command.failed, 1);
            return false;
        }
        self.count_failure(command, writer, finished.reply)
    }

    fn count_failure(&self, command: &CommandShard, writer: Writer, reply: &[u8]) -> bool {
        let code = error_code(reply.strip_prefix(b"-").unwrap_or(reply));
        let is_rejection = REJECTIONS.contains(&code.as_str());
        writer.add(if is_rejection { &command.rejected } else { &command.failed }, 1);
        self.count_error(code);
        is_rejection
    }

    /// A command that had waited, and was counted when it began to, has failed.
    #[cold]
    pub fn failed_late(&self, number: u16, reply: &[u8]) {
        let (shard, writer) = self.shard();
        self.count_failure(shard.command(number), writer, reply);
    }

    /// A command was refused before it got to run: it is unknown, or has the wrong number of arguments.
    #[cold]
    pub fn refused(&self, args: &Args<'_>, error: &str) {
        if let Some(row) = args.nth(0).and_then(table::find) {
            let spec = args.nth(1).and_then(|name| row.spec.subcommand(name)).unwrap_or(row.spec);
            let (shard, writer) = self.shard();
            writer.add(&shard.command(row.number_of(spec)).rejected, 1);
        }
        self.count_error(error_code(error.as_bytes()));
    }

    fn count_error(&self, code: String) {
        self.count(Counter::Errors, 1);
        let mut errors = self.errors.lock();
        let is_known = errors.contains_key(&code) || errors.len() < ERROR_CODES_MAX;
        *errors.entry(if is_known { code } else { ERROR_CODES_OVERFLOW.to_owned() }).or_default() += 1;
    }

    /// A command that waited has ended; it had run for `ran_ns` before it began to.
    #[cold]
    pub fn finish_waiting(&self, ran_ns: u64, finished: &Finished<'_>) {
        finished.client.end_command(env::monotonic_ns());
        self.finish_logs(ran_ns, finished);
    }

    #[inline]
    fn finish_logs(&self, duration_ns: u64, finished: &Finished<'_>) {
        // EXEC is as long as what it runs, which is logged by itself.
        if finished.resolved.spec.flags.has(Flags::SKIP_LOGS) || finished.waits {
            return;
        }
        let duration_us = duration_ns / 1000;
        if is_from(self.settings.slowlog_from_us(), duration_us) {
            self.note(LogKind::Slow, duration_us, finished);
        }
        let request_from_bytes = self.settings.large_request_from_bytes();
        // They have no more bytes than what they lie in, and seldom need to be added up.
        if is_from(request_from_bytes, finished.args.within_bytes() as u64) {
            let request_bytes = finished.args.iter().map(<[u8]>::len).sum::<usize>() as u64;
            if is_from(request_from_bytes, request_bytes) {
                self.note(LogKind::LargeRequest, request_bytes, finished);
            }
        }
        let reply_bytes = (finished.reply.len() + finished.apart_bytes) as u64;
        if is_from(self.settings.large_reply_from_bytes(), reply_bytes) {
            self.note(LogKind::LargeReply, reply_bytes, finished);
        }
        let spike_from_ms = self.settings.latency_from_ms();
        if spike_from_ms != 0 && spike_from_ms <= duration_us / 1000 {
            self.note_spike(duration_us / 1000, finished);
        }
    }

    #[cold]
    fn note(&self, kind: LogKind, measure: u64, finished: &Finished<'_>) {
        let entries_max = match kind {
            LogKind::Slow => self.settings.slowlog_count_max(),
            LogKind::LargeRequest => self.settings.large_request_count_max(),
            LogKind::LargeReply => self.settings.large_reply_count_max(),
        };
        let now_seconds = clients::wall_us() / 1_000_000;
        self.logs[kind as usize].note(measure, now_seconds, finished.args, finished.client, entries_max);
    }

    #[cold]
    fn note_spike(&self, duration_ms: u64, finished: &Finished<'_>) {
        let is_fast = finished.resolved.spec.flags.has(Flags::FAST);
        let event = if is_fast { "fast-command" } else { "command" };
        self.spikes.add(event, clients::wall_us() / 1_000_000, duration_ms);
    }

    /// Latency spikes.
    pub fn spikes(&self) -> &LatencyMonitor {
        &self.spikes
    }

    /// A log of remarkable commands.
    pub fn log(&self, kind: LogKind) -> &RemarkableLog {
        &self.logs[kind as usize]
    }

    /// Seconds since counting began.
    pub fn uptime_seconds(&self) -> f64 {
        env::monotonic_ns().saturating_sub(self.started_ns) as f64 / 1e9
    }

    /// What was ever counted.
    pub fn ever(&self) -> Totals {
        let mut totals = Totals::zero();
        self.shards.iter().filter_map(OnceLock::get).for_each(|shard| totals.add(shard));
        totals.errors.clone_from(&self.errors.lock());
        totals
    }

    /// What was counted since the last reset.
    pub fn since_reset(&self) -> Totals {
        let baseline = self.baseline.lock();
        let mut totals = self.ever();
        totals.subtract(&baseline);
        totals
    }

    /// What was counted of one command since the last reset; `None` when it was never called.
    pub fn command_since_reset(&self, number: u16) -> Option<CommandTotals> {
        let index = usize::from(number);
        let baseline = self.baseline.lock();
        let shards = self.shards.iter().filter_map(OnceLock::get);
        let mut totals: Option<CommandTotals> = None;
        for shard in shards.filter_map(|shard| shard.commands[index].get()) {
            totals.get_or_insert_with(CommandTotals::zero).add(shard);
        }
        if let (Some(totals), Some(before)) = (&mut totals, &baseline.commands[index]) {
            totals.subtract(before);
        }
        totals
    }

    /// Counts anew from here on, as far as INFO is concerned.
    pub fn reset(&self) {
        let mut baseline = self.baseline.lock();
        // Codes that nobody met lately make room for new ones.
        self.errors.lock().clear();
        *baseline = self.ever();
    }
}

/// Whether a measure enters a log whose threshold may be negative for "never".
#[inline]
fn is_from(threshold: i64, measure: u64) -> bool {
    // A negative one is more than anything measured.
    threshold.cast_unsigned() <= measure
}

/// The code an error reply begins with.
fn error_code(error: &[u8]) -> String {
    let end = error.iter().position(u8::is_ascii_whitespace).unwrap_or(error.len());
    String::from_utf8_lossy(&error[..end.min(ERROR_CODE_BYTES_MAX)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::ClientRegistry;
    use crate::config::{Inputs, load};
    use commands::host::CommandLog;
    use commands::run::resolve;
    use std::net::SocketAddr;
    use wire::args::Ranges;
    use wire::request::{Limits, Login, RequestParser};

    struct Bed {
        settings: Arc<Settings>,
        statistics: Statistics,
        client: Arc<Client>,
    }

    fn bed() -> Bed {
        let settings = Arc::new(load(Inputs::default()).expect("defaults are sound").settings);
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let client = ClientRegistry::new().register(address, address, &std::io::stdin(), 1).expect("there is room");
        Bed { statistics: Statistics::new(&settings), settings, client }
    }

    impl Bed {
        /// A command typed in one line that ran and was answered.
        fn run(&self, line: &str, reply: &str) {
            self.run_judged(line, reply, Verdict::of_reply(reply.as_bytes()));
        }

        fn run_judged(&self, line: &str, reply: &str, verdict: Verdict) {
            with_args(line, |args| {
                let resolved = resolve(args).expect("a command there is");
                let timer = self.statistics.timer();
                let (client, reply) = (&*self.client, reply.as_bytes());
                let resolved = &resolved;
                let finished = Finished { resolved, args, client, reply, apart_bytes: 0, verdict, waits: false };
                self.statistics.finish(timer, &finished);
            });
        }

        fn of(&self, name: &str) -> CommandTotals {
            let number = table::number_of_name(name.as_bytes()).expect("a command there is");
            self.statistics.since_reset().commands[usize::from(number)].clone().expect("it was called")
        }
    }

    fn with_args(line: &str, act: impl FnOnce(&Args<'_>)) {
        let (line, mut ranges) = (format!("{line}\r\n"), Ranges::new());
        RequestParser::new().parse(line.as_bytes(), &Limits::standard(Login::Done), &mut ranges).expect("a command");
        act(&ranges.args(line.as_bytes()));
    }

    #[test]
    fn calls_failures_and_rejections_are_told_apart() {
        let bed = bed();
        bed.run("get key", "$1\r\nx\r\n");
        bed.run("get key", "-WRONGTYPE of another kind\r\n");
        bed.run("set key x", "-OOM command not allowed\r\n");
        bed.run("client id", ":1\r\n");
        with_args("get", |args| bed.statistics.refused(args, "ERR wrong number"));
        bed.run_judged("eval script 0", "-OOM of a command in it", Verdict::Relayed);
        let (get, set) = (bed.of("get"), bed.of("set"));
        assert_eq!(
            bed.statistics.command_since_reset(table::number_of_name(b"get").expect("a row")),
            Some(get.clone())
        );
        assert_eq!((get.calls(), get.failed, get.rejected), (2, 1, 1));
        assert_eq!((set.calls(), set.failed, set.rejected), (0, 0, 1));
        assert_eq!(bed.of("client|id").calls(), 1);
        let eval = bed.of("eval");
        assert_eq!((eval.calls(), eval.failed, eval.rejected), (1, 1, 0));
        let totals = bed.statistics.since_reset();
        assert_eq!((totals.calls(), totals.counter(Counter::Errors)), (4, 3));
        assert_eq!(totals.errors.keys().collect::<Vec<_>>(), ["ERR", "OOM", "WRONGTYPE"]);
    }

    #[test]
    fn a_reset_starts_info_anew_and_leaves_what_was_ever_counted() {
        let bed = bed();
        bed.statistics.count(Counter::Connections, 2);
        bed.run("ping", "+PONG\r\n");
        bed.run("get key", "-ERR\r\n");
        bed.statistics.reset();
        bed.run("ping", "+PONG\r\n");
        let (since, ever) = (bed.statistics.since_reset(), bed.statistics.ever());
        assert_eq!((since.calls(), since.counter(Counter::Connections), since.errors.len()), (1, 0, 0));
        assert_eq!((ever.calls(), ever.counter(Counter::Connections)), (3, 2));
        assert_eq!(since.called().map(|(number, _)| table::full_name(number)).collect::<Vec<_>>(), ["ping"]);
    }

    #[test]
    fn threads_count_together_more_of_them_than_there_are_shards() {
        let bed = bed();
        std::thread::scope(|scope| {
            for _ in 0..SHARD_COUNT + 8 {
                scope.spawn(|| (0..100).for_each(|_| bed.statistics.count(Counter::Hits, 1)));
            }
        });
        assert_eq!(bed.statistics.ever().counter(Counter::Hits), 100 * (SHARD_COUNT as u64 + 8));
    }

    #[test]
    fn error_codes_beyond_a_bound_are_counted_together() {
        let bed = bed();
        for number in 0..ERROR_CODES_MAX + 5 {
            with_args("nosuch", |args| bed.statistics.refused(args, &format!("CODE{number} text")));
        }
        let errors = bed.statistics.since_reset().errors;
        assert_eq!((errors.len(), errors[ERROR_CODES_OVERFLOW]), (ERROR_CODES_MAX + 1, 5));
    }

    #[test]
    fn a_body_that_comes_last_is_measured_with_the_name_and_the_key_behind_it() {
        let bed = bed();
        drop(bed.settings.set(&[("commandlog-request-larger-than", "9")]).expect("it can be set"));
        let mut ranges = Ranges::new();
        ranges.begin_placed();
        for (offset, bytes) in [(4, 3), (7, 2), (0, 4)] {
            ranges.place(offset, bytes);
        }
        let args = &ranges.args(b"bodysetk1");
        assert_eq!(args.iter().collect::<Vec<_>>(), [&b"set"[..], b"k1", b"body"]);
        let resolved = &resolve(args).expect("a command there is");
        let (client, reply, verdict) = (&*bed.client, &b"+OK\r\n"[..], Verdict::Answered);
        let finished = Finished { resolved, args, client, reply, apart_bytes: 0, verdict, waits: false };
        bed.statistics.finish(bed.statistics.timer(), &finished);
        assert_eq!(bed.statistics.log(LogKind::LargeRequest).count(), 1);
    }

    #[test]
    fn thresholds_decide_what_is_remarkable() {
        let bed = bed();
        let set = |name: &str, value: &str| drop(bed.settings.set(&[(name, value)]).expect("it can be set"));
        let counts = || LogKind::ALL.map(|kind| bed.statistics.log(kind).count());
        bed.run("echo hello", "$5\r\nhello\r\n");
        assert_eq!(counts(), [0, 0, 0]);
        set("slowlog-log-slower-than", "0");
        set("commandlog-request-larger-than", "9");
        set("commandlog-reply-larger-than", "11");
        bed.run("echo hello", "$5\r\nhello\r\n");
        bed.run("echo hell", "$4\r\nhell\r\n");
        assert_eq!(counts(), [2, 1, 1]);
        with_args("blpop list 0", |args| {
            let resolved = resolve(args).expect("a command there is");
            let (resolved, client, reply) = (&resolved, &*bed.client, &b""[..]);
            let waits =
                Finished { resolved, args, client, reply, apart_bytes: 0, verdict: Verdict::Answered, waits: true };
            bed.statistics.finish(bed.statistics.timer(), &waits);
            assert_eq!(counts(), [2, 1, 1], "it is not done yet");
            bed.statistics.finish_waiting(1_000, &Finished { waits: false, ..waits });
        });
        assert_eq!(counts(), [3, 2, 1]);
        set("slowlog-log-slower-than", "-1");
        bed.run("ping", "+PONG\r\n");
        assert_eq!(counts(), [3, 2, 1]);
    }
}
