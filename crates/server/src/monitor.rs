//! MONITOR: the commands of every connection, shown to the connections that asked to see them.
//!
//! ```text
//! a command is about to run ─► is_watched? ─► one line ─► the feed of each monitor ─► its task writes it out
//! ```
//!
//! Whoever runs a command never waits for a monitor: a feed is memory, and a monitor that lets it grow past its limit
//! is closed. Deliberately not here: which commands are shown, and to whom secrets belong (`connection.rs`, `redact`).
//!
//! Invariants: a feed that is not open is empty; a connection is among the monitors exactly while its feed is open.
//!
//! Source: behaviour of Valkey 9.1 `replicationFeedMonitors`. Different on purpose: a monitor is closed at
//! [`FEED_BYTES_MAX`] even where `client-output-buffer-limit` sets no limit for normal clients.

use crate::clients::Client;
use base::DbId;
use commands::redact;
use parking_lot::Mutex;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use wire::args::Args;
use wire::inline::put_quoted;

/// Bytes that may wait for one monitor, whatever `client-output-buffer-limit` says.
pub const FEED_BYTES_MAX: usize = 64 << 20;

/// The lines that wait for one connection.
#[derive(Default)]
pub struct Feed {
    is_open: AtomicBool,
    lines: Mutex<Vec<u8>>,
}

impl Feed {
    /// Whether the connection is a monitor.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        if self.is_open() { self.lines.lock().len() } else { 0 }
    }

    /// Moves what waits to the end of `out`; returns whether that was anything.
    pub fn take_into(&self, out: &mut Vec<u8>) -> bool {
        let mut lines = self.lines.lock();
        let had_lines = !lines.is_empty();
        if out.is_empty() {
            std::mem::swap(out, &mut lines);
        } else {
            out.append(&mut lines);
        }
        had_lines
    }

    /// Adds a line. `None` when there is no room for it.
    fn push(&self, line: &[u8], bytes_max: usize) -> Option<WasEmpty> {
        let mut lines = self.lines.lock();
        if bytes_max < lines.len() + line.len() {
            return None;
        }
        let was_empty = lines.is_empty();
        lines.extend_from_slice(line);
        Some(WasEmpty(was_empty))
    }

    fn close(&self) {
        self.is_open.store(false, Ordering::Relaxed);
        *self.lines.lock() = Vec::new();
    }
}

/// Whether nothing waited before, so that the task must be told.
struct WasEmpty(bool);

/// A command as it is shown.
pub struct Shown<'a> {
    /// Microseconds since the Unix epoch.
    pub time_us: i64,
    /// The database it runs in.
    pub db: DbId,
    /// `address:port` of whoever sent it.
    pub source: &'a str,
    /// Its arguments.
    pub args: &'a Args<'a>,
}

impl Shown<'_> {
    /// `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"` and a line end.
    fn line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        let (seconds, us) = (self.time_us.div_euclid(1_000_000), self.time_us.rem_euclid(1_000_000));
        // Writing to memory cannot fail.
        let _ = write!(line, "+{seconds}.{us:06} [{} {}]", self.db.0, self.source);
        for (index, arg) in self.args.iter().enumerate() {
            line.push(b' ');
            put_quoted(if redact::is_secret(self.args, index) { redact::REPLACEMENT } else { arg }, &mut line);
        }
        line.extend_from_slice(b"\r\n");
        line
    }
}

/// The connections that watch.
#[derive(Default)]
pub struct Monitors {
    count: AtomicUsize,
    watching: Mutex<Vec<Arc<Client>>>,
}

impl Monitors {
    /// Whether anybody watches. One relaxed load: all that MONITOR costs while nobody uses it.
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    /// Makes a connection a monitor, or no longer one.
    pub fn set(&self, client: &Arc<Client>, watches: bool) {
        let mut watching = self.watching.lock();
        if watches && !client.feed.is_open() {
            client.feed.is_open.store(true, Ordering::Relaxed);
            watching.push(Arc::clone(client));
        } else if !watches && client.feed.is_open() {
            client.feed.close();
            watching.retain(|other| other.id() != client.id());
        }
        self.count.store(watching.len(), Ordering::Relaxed);
    }

    /// Shows a command to all monitors. Those whose feed would outgrow `bytes_max` are closed; returns how many.
    #[cold]
    pub fn show(&self, shown: &Shown<'_>, bytes_max: usize) -> u64 {
        let line = shown.line();
        let mut watching = self.watching.lock();
        let before = watching.len();
        watching.retain(|client| show_one(client, &line, bytes_max.min(FEED_BYTES_MAX)));
        self.count.store(watching.len(), Ordering::Relaxed);
        (before - watching.len()) as u64
    }
}

/// Whether the monitor goes on watching.
fn show_one(client: &Client, line: &[u8], bytes_max: usize) -> bool {
    match client.feed.push(line, bytes_max) {
        Some(WasEmpty(true)) => client.wake(),
        Some(WasEmpty(false)) => {}
        None => {
            client.feed.close();
            client.kill();
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::ClientRegistry;
    use std::net::SocketAddr;
    use wire::args::Ranges;
    use wire::request::{Limits, Login, RequestParser};

    fn client() -> Arc<Client> {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        ClientRegistry::new().register(address, address, &std::io::stdin(), 1).expect("there is room")
    }

    fn show(monitors: &Monitors, line: &str, bytes_max: usize) -> u64 {
        let (line, mut ranges) = (format!("{line}\r\n"), Ranges::new());
        RequestParser::new().parse(line.as_bytes(), &Limits::standard(Login::Done), &mut ranges).expect("a command");
        let args = &ranges.args(line.as_bytes());
        monitors.show(&Shown { time_us: 1_339_518_083_007_412, db: DbId(3), source: "[::1]:9", args }, bytes_max)
    }

    fn taken(client: &Client) -> String {
        let mut out = Vec::new();
        client.feed.take_into(&mut out);
        String::from_utf8(out).expect("lines are ASCII")
    }

    #[test]
    fn lines_look_as_in_redis_and_show_no_secrets() {
        let (monitors, client) = (Monitors::default(), client());
        monitors.set(&client, true);
        for line in [r#"keys "a\"*""#, "auth me hush", "HELLO 3 AUTH me hush SETNAME x", "config set requirepass hush"]
        {
            assert_eq!(show(&monitors, line, usize::MAX), 0);
        }
        let expected = [
            r#""keys" "a\"*""#,
            r#""auth" "(redacted)" "(redacted)""#,
            r#""HELLO" "3" "AUTH" "(redacted)" "(redacted)" "SETNAME" "x""#,
            r#""config" "set" "requirepass" "(redacted)""#,
        ];
        let expected = expected.map(|words| format!("+1339518083.007412 [3 [::1]:9] {words}\r\n"));
        assert_eq!(taken(&client), expected.concat());
    }

    #[test]
    fn who_stops_watching_is_shown_nothing_and_keeps_nothing() {
        let (monitors, one, two) = (Monitors::default(), client(), client());
        assert!(!monitors.is_watched());
        monitors.set(&one, true);
        monitors.set(&one, true);
        show(&monitors, "ping", usize::MAX);
        monitors.set(&one, false);
        assert!(!monitors.is_watched());
        assert_eq!((one.feed.bytes(), two.feed.bytes()), (0, 0));
        show(&monitors, "ping", usize::MAX);
        assert_eq!(taken(&one), "");
    }

    #[test]
    fn a_monitor_that_falls_behind_is_closed_and_the_others_are_not() {
        let (monitors, slow, fast) = (Monitors::default(), client(), client());
        for client in [&slow, &fast] {
            monitors.set(client, true);
        }
        let line_bytes = "+1339518083.007412 [3 [::1]:9] \"ping\"\r\n".len();
        for _ in 0..3 {
            assert_eq!(show(&monitors, "ping", 3 * line_bytes), 0);
        }
        assert_eq!(taken(&fast).len(), 3 * line_bytes);
        assert_eq!(show(&monitors, "ping", 3 * line_bytes), 1);
        assert!(!slow.kill(), "it was closed already");
        assert_eq!((slow.feed.is_open(), slow.feed.bytes()), (false, 0));
        assert_eq!(taken(&fast).len(), line_bytes);
        assert!(monitors.is_watched());
    }
}
