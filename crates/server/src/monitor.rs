//! MONITOR: the commands of every connection, shown to the connections that asked to see them.
//!
//! ```text
//! a command is about to run ─► is_watched? ─► one line ─► the feed of each monitor ─► its task writes it out
//! ```
//!
//! Whoever runs a command never waits for a monitor, which is closed when it reads too slowly (`feed.rs`).
//! Deliberately not here: which commands are shown, and to whom secrets belong (`connection.rs`, `redact`).
//!
//! Source: behaviour of Valkey 9.1 `replicationFeedMonitors`.

use crate::clients::Client;
use base::DbId;
use commands::redact;
use parking_lot::Mutex;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wire::args::Args;
use wire::inline::put_quoted;

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
        let is_watching = watching.iter().any(|other| other.id() == client.id());
        if watches && !is_watching {
            watching.push(Arc::clone(client));
        } else if !watches && is_watching {
            watching.retain(|other| other.id() != client.id());
        }
        self.count.store(watching.len(), Ordering::Relaxed);
    }

    /// Shows a command to all monitors.
    #[cold]
    pub fn show(&self, shown: &Shown<'_>) {
        let line = shown.line();
        for client in self.watching.lock().iter() {
            client.show(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::ClientRegistry;
    use crate::feed::Bounds;
    use std::net::SocketAddr;
    use wire::args::Ranges;
    use wire::request::{Limits, Login, RequestParser};

    fn client(registry: &ClientRegistry) -> Arc<Client> {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        registry.register(address, address, &std::io::stdin(), 2).expect("there is room")
    }

    fn show(monitors: &Monitors, line: &str) {
        let (line, mut ranges) = (format!("{line}\r\n"), Ranges::new());
        RequestParser::new().parse(line.as_bytes(), &Limits::standard(Login::Done), &mut ranges).expect("a command");
        let args = &ranges.args(line.as_bytes());
        monitors.show(&Shown { time_us: 1_339_518_083_007_412, db: DbId(3), source: "[::1]:9", args });
    }

    fn taken(client: &Client) -> String {
        let mut out = Vec::new();
        client.feed.take_into(&mut out);
        client.feed.written();
        String::from_utf8(out).expect("lines are ASCII")
    }

    #[test]
    fn lines_look_as_in_redis_and_show_no_secrets() {
        let (monitors, client) = (Monitors::default(), client(&ClientRegistry::new()));
        monitors.set(&client, true);
        for line in [r#"keys "a\"*""#, "auth me hush", "HELLO 3 AUTH me hush SETNAME x", "config set requirepass hush"]
        {
            show(&monitors, line);
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
    fn who_stops_watching_is_shown_nothing_more() {
        let registry = ClientRegistry::new();
        let (monitors, one, two) = (Monitors::default(), client(&registry), client(&registry));
        assert!(!monitors.is_watched());
        monitors.set(&one, true);
        monitors.set(&one, true);
        show(&monitors, "ping");
        assert_eq!(taken(&one).lines().count(), 1);
        monitors.set(&one, false);
        assert!(!monitors.is_watched());
        show(&monitors, "ping");
        assert_eq!((taken(&one), taken(&two)), (String::new(), String::new()));
    }

    #[test]
    fn a_monitor_that_falls_behind_is_closed_and_the_others_are_not() {
        let registry = ClientRegistry::new();
        let (monitors, slow, fast) = (Monitors::default(), client(&registry), client(&registry));
        for client in [&slow, &fast] {
            monitors.set(client, true);
        }
        let line_bytes = "+1339518083.007412 [3 [::1]:9] \"ping\"\r\n".len();
        registry.limits().normal.set(Bounds::of_limit(3 * line_bytes as u64, 0, 0));
        for _ in 0..3 {
            show(&monitors, "ping");
        }
        assert_eq!(taken(&fast).len(), 3 * line_bytes);
        assert!(!slow.feed.has_overrun());
        show(&monitors, "ping");
        assert!(!slow.kill(), "it was closed already");
        assert_eq!((slow.feed.has_overrun(), slow.feed.bytes()), (true, 0));
        assert_eq!(taken(&fast).len(), line_bytes);
    }
}
