//! What transactions tell, and who is handed it, written down line by line.

use commands::channels::{Channels, Delivery, Kind, Receiver};
use commands::tracking::Tracking;
use journal::Position;
use keyspace::events::{Heard, Listener, Told};
use std::fmt::Write;
use std::sync::{Arc, Mutex};

/// What transactions tell, a line each: `event database name key`, and whoever is handed a message:
/// `connection 1 is told …`.
pub struct Log {
    lines: Mutex<String>,
    /// Who has subscribed to what.
    pub channels: Channels,
    /// Who tracks which keys.
    pub tracking: Tracking,
}

impl Default for Log {
    fn default() -> Self {
        Log { lines: Mutex::default(), channels: Channels::default(), tracking: Tracking::new(100) }
    }
}

impl Log {
    /// Takes the lines so far.
    pub fn take(&self) -> String {
        std::mem::take(&mut *self.lines.lock().expect("nobody panicked while holding it"))
    }

    fn add(&self, line: &str) {
        let mut lines = self.lines.lock().expect("nobody panicked while holding it");
        writeln!(lines, "{line}").expect("writing to memory");
    }
}

impl Listener for Log {
    fn hear(&self, heard: &Heard<'_>) {
        for told in heard.told {
            if let Told::Happened(happened) = told {
                self.add(&format!("event {} {} {}", happened.db.0, happened.name, happened.key.escape_ascii()));
            }
        }
        self.channels.announce(heard);
        if heard.interests.wants_changes() {
            self.tracking.invalidate(heard);
        }
    }
}

/// A connection that is handed messages.
pub struct Inbox {
    pub id: u64,
    pub log: Arc<Log>,
}

impl Receiver for Inbox {
    fn receive(&self, delivery: &Delivery<'_>) {
        let Delivery { kind, pattern, channel, message, .. } = delivery;
        let (channel, message) = (channel.escape_ascii(), message.escape_ascii());
        let through = match kind {
            Kind::Channel => "message".to_owned(),
            Kind::Pattern => format!("pmessage {}", pattern.escape_ascii()),
            Kind::Shard => "smessage".to_owned(),
        };
        self.log.add(&format!("connection {} is told {through} {channel} {message}", self.id));
    }

    fn invalidate(&self, keys: Option<&[&[u8]]>, is_redirected: bool, _revealed: Position) {
        let shown = keys.map_or("all keys".to_owned(), |keys| {
            keys.iter().map(|key| key.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
        });
        let whose = if is_redirected { " of another" } else { "" };
        self.log.add(&format!("connection {} is told to forget {shown}{whose}", self.id));
    }

    fn redirection_broke(&self, id: u64) {
        self.log.add(&format!("connection {} is told that {id} has gone", self.id));
    }

    fn is_closing(&self) -> bool {
        false
    }
}
