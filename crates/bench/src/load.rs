//! The load generator: one thread, many connections, two ways to pace them.
//!
//! - **Closed loop** ([`run_closed`]): each connection sends a batch, waits for all its replies, sends the next. It
//!   finds the throughput a server can give; its latencies are those of a saturated server.
//! - **Open loop** ([`run_paced`]): request *i* is due at `start + i / rate` whatever the server does, and its latency
//!   counts from when it was *due*, so a server that stops for a second is charged for every request of that second
//!   (no coordinated omission; Tene, "How NOT to Measure Latency").
//!
//! Deliberately no async runtime and no threads: the client must be lighter than what it measures.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::connection::{Connection, Interest, Poller, Ready};
use crate::error::Error;

/// Latencies above this are recorded as this.
const LATENCY_NS_MAX: u64 = 120_000_000_000;
/// Significant digits kept of a latency.
const LATENCY_DIGITS: u8 = 3;
/// The kernel rounds a wait up to this; a shorter one is spent polling, which costs only the load core.
const WAIT_STEP: Duration = Duration::from_millis(1);
/// Requests that may be under way in an open loop before the run is given up.
const OUTSTANDING_MAX: usize = 4_000_000;

/// What the connections send and what they think of the replies.
pub trait Script {
    /// Appends the next batch of `connection` and returns its count of commands; 0 when there is no more to do.
    fn next_batch(&mut self, connection: usize, out: &mut Vec<u8>) -> u64;

    /// Judges one whole reply; replies of one connection come in the order of its commands.
    fn on_reply(&mut self, connection: usize, reply: &[u8]) -> Result<(), Error>;
}

/// What a run showed.
pub struct Run {
    /// Requests answered.
    pub requests: u64,
    /// From the first byte sent to the last reply.
    pub elapsed: Duration,
    /// Nanoseconds per request.
    pub latency_ns: Histogram<u64>,
}

impl Run {
    fn new() -> Self {
        let latency_ns = Histogram::new_with_max(LATENCY_NS_MAX, LATENCY_DIGITS).expect("the bounds are constants");
        Self { requests: 0, elapsed: Duration::ZERO, latency_ns }
    }

    fn record(&mut self, latency: Duration, count: u64) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency_ns.saturating_record_n(ns, count);
        self.requests += count;
    }

    /// Requests per second.
    pub fn throughput(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Latency in microseconds that `percent` of the requests stayed within.
    pub fn latency_us(&self, percent: f64) -> f64 {
        self.latency_ns.value_at_percentile(percent) as f64 / 1000.0
    }
}

fn connect_all(port: u16, count: usize) -> Result<Vec<Connection>, Error> {
    (0..count).map(|_| Connection::open(port)).collect()
}

/// A batch under way on one connection of a closed loop.
#[derive(Clone, Copy)]
struct Batch {
    sent_at: Instant,
    replies_left: u64,
}

/// Runs `script` to its end over `connections` connections, each with one batch under way at a time.
pub fn run_closed(port: u16, connections: usize, script: &mut impl Script) -> Result<Run, Error> {
    let mut connections = connect_all(port, connections)?;
    let mut poller = Poller::new(&connections)?;
    let mut run = Run::new();
    let start = Instant::now();
    let mut batches = vec![Batch { sent_at: start, replies_left: 0 }; connections.len()];
    let mut busy_count = 0;
    for (index, connection) in connections.iter_mut().enumerate() {
        batches[index] = closed_send(index, connection, &mut poller, script)?;
        busy_count += usize::from(0 < batches[index].replies_left);
    }
    let mut ready = Vec::new();
    while 0 < busy_count {
        poller.wait(None, &mut ready)?;
        for Ready { connection: index, readable } in ready.iter().copied() {
            let connection = &mut connections[index];
            let all_sent = connection.flush()?;
            poller.watch(index, connection, Interest::after_flush(all_sent))?;
            if !readable {
                continue;
            }
            let replies = connection.receive(|reply| script.on_reply(index, reply))?;
            let batch = &mut batches[index];
            run.record(batch.sent_at.elapsed(), replies);
            assert!(replies <= batch.replies_left, "a server answered more than it was asked");
            batch.replies_left -= replies;
            if 0 < replies && batch.replies_left == 0 {
                *batch = closed_send(index, connection, &mut poller, script)?;
                busy_count -= usize::from(batch.replies_left == 0);
            }
        }
    }
    run.elapsed = start.elapsed();
    Ok(run)
}

fn closed_send(
    index: usize,
    connection: &mut Connection,
    poller: &mut Poller,
    script: &mut impl Script,
) -> Result<Batch, Error> {
    let replies_left = script.next_batch(index, connection.out());
    let sent_at = Instant::now();
    let all_sent = connection.flush()?;
    poller.watch(index, connection, Interest::after_flush(all_sent))?;
    Ok(Batch { sent_at, replies_left })
}

/// Sends one batch of `script` per `1 / rate_per_s`, on the connections in turn, and waits for all replies.
///
/// Latency counts from the due time of the request. A batch must be one command. The thread polls without rest.
pub fn run_paced(port: u16, connections: usize, rate_per_s: f64, script: &mut impl Script) -> Result<Run, Error> {
    let mut connections = connect_all(port, connections)?;
    let mut poller = Poller::new(&connections)?;
    let mut run = Run::new();
    let mut due_times: Vec<VecDeque<Duration>> = vec![VecDeque::new(); connections.len()];
    let (mut sent_count, mut outstanding, mut more) = (0_u64, 0_usize, true);
    let mut ready = Vec::new();
    let start = Instant::now();
    loop {
        let mut due = Duration::from_secs_f64(sent_count as f64 / rate_per_s);
        while more && due <= start.elapsed() {
            let index = (sent_count % connections.len() as u64) as usize;
            let connection = &mut connections[index];
            more = script.next_batch(index, connection.out()) == 1;
            if more {
                let all_sent = connection.flush()?;
                poller.watch(index, connection, Interest::after_flush(all_sent))?;
                due_times[index].push_back(due);
                sent_count += 1;
                outstanding += 1;
                due = Duration::from_secs_f64(sent_count as f64 / rate_per_s);
            }
        }
        if !more && outstanding == 0 {
            break; // Everything was answered before the script ended: nothing more would wake us.
        }
        assert!(outstanding < OUTSTANDING_MAX, "the server fell behind by {outstanding} requests: lower the rate");
        let patience = more.then(|| due.saturating_sub(start.elapsed() + WAIT_STEP));
        poller.wait(patience, &mut ready)?;
        for Ready { connection: index, readable } in ready.iter().copied() {
            let connection = &mut connections[index];
            let all_sent = connection.flush()?;
            poller.watch(index, connection, Interest::after_flush(all_sent))?;
            if !readable {
                continue;
            }
            let replies = connection.receive(|reply| script.on_reply(index, reply))?;
            outstanding -= replies as usize;
            let now = start.elapsed();
            for due in due_times[index].drain(..replies as usize) {
                run.record(now.saturating_sub(due), 1);
            }
        }
    }
    run.elapsed = start.elapsed();
    Ok(run)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::workload::{Keys, Op, OpScript};

    /// Answers each `PING` of one connection, but sleeps for `stall` before it answers the first ones.
    fn stalling_server(stall: Duration) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut chunk, mut letters) = (vec![0; 65536], 0);
            let mut patience = Some(stall);
            while let Ok(count @ 1..) = stream.read(&mut chunk) {
                thread::sleep(patience.take().unwrap_or_default());
                letters += chunk[..count].iter().filter(|byte| byte.is_ascii_uppercase()).count();
                stream.write_all("+PONG\r\n".repeat(letters / 4).as_bytes()).unwrap();
                letters %= 4;
            }
        });
        port
    }

    fn pings(pipeline: u64, requests: u64) -> OpScript {
        OpScript::new(Op::Ping, 0, Keys::Random { count: 1 }, pipeline, requests)
    }

    #[test]
    fn a_stall_is_charged_to_every_request_that_was_due_in_it() {
        let stall = Duration::from_millis(200);
        let run = run_paced(stalling_server(stall), 1, 1000.0, &mut pings(1, 400)).unwrap();
        assert_eq!(run.requests, 400);
        let late_count = 400 - run.latency_ns.count_between(0, 20_000_000);
        // About 180 of the 400 were due while more than 20 ms of the stall were left; a loop that waits for its
        // replies before it sends would have seen a single late one.
        assert!(150 <= late_count, "{late_count} requests were late");
        assert!(stall <= Duration::from_nanos(run.latency_ns.max()) + WAIT_STEP);
    }

    #[test]
    fn a_closed_loop_answers_every_request_once_and_the_last_batch_may_be_short() {
        let run = run_closed(stalling_server(Duration::ZERO), 1, &mut pings(16, 100)).unwrap();
        assert_eq!(run.requests, 100);
        assert_eq!(run.latency_ns.len(), 100);
        assert!(0.0 < run.throughput());
    }

    #[test]
    fn an_error_reply_ends_the_run() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"-OOM no\r\n").unwrap();
            let _ = stream.read(&mut [0; 64]);
        });
        let refused = run_closed(port, 1, &mut pings(1, 10)).map(drop);
        assert!(matches!(refused, Err(Error::Refused { reply }) if reply == "-OOM no"));
    }
}
