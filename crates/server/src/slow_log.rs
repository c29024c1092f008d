//! The logs of remarkable commands: slow ones, large requests, large replies. Each keeps the newest few.
//!
//! Deliberately not persistent, and not a history of everything: a log answers "what was that just now".
//!
//! Invariants: an entry holds at most `ARGS_COUNT_MAX` arguments of at most `ARG_BYTES_MAX` bytes and what says
//! how much was left out; secrets are replaced; numbers of entries only grow.
//!
//! Source: behaviour of Valkey 9.1, `commandlogCreateEntry`.

use crate::clients::Client;
use commands::host::{CommandLog, LogEntry};
use commands::redact;
use parking_lot::Mutex;
use std::collections::VecDeque;
use wire::args::Args;

/// Arguments an entry keeps.
const ARGS_COUNT_MAX: usize = 32;
/// Bytes of an argument an entry keeps.
const ARG_BYTES_MAX: usize = 128;

#[derive(Debug, Default)]
struct Entries {
    id_next: u64,
    list: VecDeque<LogEntry>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct RemarkableLog {
    entries: Mutex<Entries>,
}

impl RemarkableLog {
    /// Adds a command that ran at `time_seconds`; the oldest entries beyond `entries_max` are forgotten.
    pub fn note(&self, measure: u64, time_seconds: i64, args: &Args<'_>, client: &Client, entries_max: usize) {
        let args = shortened(args);
        let (address, name) = (client.address().to_owned(), client.name());
        let mut entries = self.entries.lock();
        let id = entries.id_next;
        entries.id_next += 1;
        entries.list.push_front(LogEntry { id, time_seconds, measure, args, address, name });
        entries.list.truncate(entries_max);
    }
}

fn shortened(args: &Args<'_>) -> Vec<Vec<u8>> {
    let count = args.count();
    let kept = if ARGS_COUNT_MAX < count { ARGS_COUNT_MAX - 1 } else { count };
    let mut list: Vec<Vec<u8>> = (0..kept).map(|index| shortened_arg(args, index)).collect();
    if kept < count {
        list.push(format!("... ({} more arguments)", count - kept).into_bytes());
    }
    list
}

fn shortened_arg(args: &Args<'_>, index: usize) -> Vec<u8> {
    let arg = args.at(index);
    if redact::is_secret(args, index) {
        return redact::REPLACEMENT.to_vec();
    }
    if arg.len() <= ARG_BYTES_MAX {
        return arg.to_vec();
    }
    let left_out = format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX);
    [&arg[..ARG_BYTES_MAX], left_out.as_bytes()].concat()
}

impl CommandLog for RemarkableLog {
    fn entries(&self, count: Option<usize>) -> Vec<LogEntry> {
        self.entries.lock().list.iter().take(count.unwrap_or(usize::MAX)).cloned().collect()
    }

    fn count(&self) -> usize {
        self.entries.lock().list.len()
    }

    fn clear(&self) {
        self.entries.lock().list.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::ClientRegistry;
    use std::net::SocketAddr;
    use wire::args::Ranges;
    use wire::request::{Limits, Login, Parsed, RequestParser};

    fn note(log: &RemarkableLog, command: &[&[u8]], entries_max: usize) {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for arg in command {
            bytes.extend(format!("${}\r\n", arg.len()).into_bytes());
            bytes.extend(*arg);
            bytes.extend(b"\r\n");
        }
        let mut ranges = Ranges::new();
        let parsed = RequestParser::new().parse(&bytes, &Limits::standard(Login::Done), &mut ranges);
        assert!(matches!(parsed, Ok(Parsed::Command { .. })));
        let address = SocketAddr::from(([10, 0, 0, 1], 5));
        let client = ClientRegistry::new().register(address, address, &std::io::stdin(), 1).expect("there is room");
        log.note(42, 1000, &ranges.args(&bytes), &client, entries_max);
    }

    fn newest(log: &RemarkableLog) -> Vec<Vec<u8>> {
        log.entries(Some(1)).remove(0).args
    }

    #[test]
    fn the_newest_entries_stay_and_numbers_grow_even_when_cleared() {
        let log = RemarkableLog::default();
        for _ in 0..5 {
            note(&log, &[b"ping"], 3);
        }
        assert_eq!(log.entries(None).iter().map(|entry| entry.id).collect::<Vec<_>>(), [4, 3, 2]);
        assert_eq!((log.entries(Some(2)).len(), log.count()), (2, 3));
        log.clear();
        note(&log, &[b"ping"], 3);
        assert_eq!(log.entries(None)[0].id, 5);
        note(&log, &[b"ping"], 0);
        assert_eq!(log.count(), 0);
    }

    #[test]
    fn long_commands_are_shortened_as_redis_does() {
        let log = RemarkableLog::default();
        note(&log, &[&b"mget"[..]; 32], 9);
        assert_eq!(newest(&log).len(), 32);
        note(&log, &[&b"mget"[..]; 33], 9);
        assert_eq!((newest(&log).len(), newest(&log)[31].clone()), (32, b"... (2 more arguments)".to_vec()));
        note(&log, &[b"echo", &[b'A'; 128]], 9);
        assert_eq!(newest(&log)[1], [b'A'; 128]);
        note(&log, &[b"echo", &[b'A'; 129]], 9);
        assert_eq!(newest(&log)[1], [&[b'A'; 128][..], b"... (1 more bytes)"].concat());
    }

    #[test]
    fn passwords_do_not_enter_a_log() {
        let log = RemarkableLog::default();
        note(&log, &[b"CONFIG", b"SET", b"maxmemory", b"1", b"requirepass", b"hush"], 9);
        assert_eq!(newest(&log)[3..], [&b"1"[..], b"requirepass", b"(redacted)"]);
        note(&log, &[b"ACL", b"SETUSER", b"bob", b"on", b">hush"], 9);
        assert_eq!(newest(&log)[2..], [&b"bob"[..], b"(redacted)", b"(redacted)"]);
    }
}
