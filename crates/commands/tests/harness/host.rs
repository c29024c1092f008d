//! The least a [`Host`] can be: a few settings, no other connections, an empty slow log.

#[allow(dead_code, reason = "each test crate uses a part of it")]
#[path = "log.rs"]
mod log;

pub use log::Log;

use base::glob::{Case, glob_matches};
use base::{DbId, TimeMs};
use commands::Scripts;
use commands::acl::Users;
use commands::channels::{Channels, Counts, Receiver};
use commands::host::{
    ClientView, Clients, CommandLog, Host, Latency, LatencyEvent, LatencyHistogram, LogEntry, LogKind, Memory,
    PauseMode, Unblock, UsersFileKept,
};
use commands::session::Session;
use commands::tracking::Tracking;
use env::Clock;
use keyspace::figures::Figures;
use sim::SimClock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// See the module's text.
pub struct TestHost {
    clock: Arc<SimClock>,
    random: AtomicU64,
    settings: Mutex<BTreeMap<String, String>>,
    clients: Mutex<BTreeMap<u64, ClientView>>,
    pub log: Arc<Log>,
    scripts: Arc<Scripts>,
    users: Users,
    users_file: Mutex<Vec<u8>>,
    /// When a checkpoint was last asked for. It is written until the clock moves.
    checkpoint_asked: AtomicI64,
}

impl TestHost {
    /// A host with the settings that commands read, at Redis's defaults.
    pub fn new(clock: Arc<SimClock>) -> TestHost {
        let settings = [("maxmemory-policy", "noeviction"), ("proto-max-bulk-len", "536870912")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        TestHost {
            clock,
            random: AtomicU64::new(1),
            settings: Mutex::new(settings.into()),
            clients: Mutex::default(),
            log: Arc::default(),
            scripts: Arc::default(),
            users: Users::new(b""),
            users_file: Mutex::default(),
            checkpoint_asked: AtomicI64::new(i64::MIN),
        }
    }
}

impl Host for TestHost {
    fn users(&self) -> &Users {
        &self.users
    }

    fn read_users_file(&self) -> Result<String, String> {
        Ok(String::from_utf8(self.users_file.lock().expect("nobody panicked while holding it").clone()).expect("text"))
    }

    fn write_users_file(&self, text: &[u8]) -> Result<(), UsersFileKept> {
        *self.users_file.lock().expect("nobody panicked while holding it") = text.to_vec();
        Ok(())
    }

    fn fill_secret(&self, out: &mut [u8]) {
        for byte in out {
            *byte = self.random() as u8;
        }
    }

    fn random(&self) -> u64 {
        self.random
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed)
            .wrapping_mul(0xD134_2543_DE82_EF95)
            .rotate_left(29)
    }

    fn wall_us(&self) -> i64 {
        self.clock.wall_ms().0 * 1_000
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.settings.lock().expect("nobody panicked while holding it").get(name).cloned()
    }

    fn settings_matching(&self, patterns: &[&[u8]]) -> Vec<(String, String)> {
        let settings = self.settings.lock().expect("nobody panicked while holding it");
        let fits = |name: &str| patterns.iter().any(|glob| glob_matches(glob, name.as_bytes(), Case::Insensitive));
        let matching = settings.iter().filter(|(name, _)| fits(name));
        matching.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn set_settings(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut settings = self.settings.lock().expect("nobody panicked while holding it");
        for (name, value) in pairs {
            settings.insert(text(name), text(value));
        }
        Ok(())
    }

    fn rewrite_settings(&self) -> Result<(), String> {
        Err("ERR The server is running without a config file".to_owned())
    }

    fn reset_statistics(&self, _figures: &Figures) {}

    fn info(&self, sections: &[&[u8]], _figures: &Figures, out: &mut Vec<u8>) {
        for section in sections {
            out.extend_from_slice(b"# ");
            out.extend_from_slice(section);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn clients(&self) -> &dyn Clients {
        self
    }

    fn channels(&self) -> &Channels {
        &self.log.channels
    }

    fn receiver(&self, id: u64) -> Option<Arc<dyn Receiver>> {
        Some(Arc::new(log::Inbox { id, log: self.log.clone() }))
    }

    fn tracking(&self) -> &Tracking {
        &self.log.tracking
    }

    fn command_log(&self, _kind: LogKind) -> &dyn CommandLog {
        self
    }

    fn latency(&self) -> &dyn Latency {
        self
    }

    fn request_checkpoint(&self) -> bool {
        let now = self.clock.wall_ms().0;
        self.checkpoint_asked.swap(now, Ordering::Relaxed) != now
    }

    fn schedule_checkpoint(&self) {}

    fn last_checkpoint(&self) -> TimeMs {
        TimeMs(0)
    }

    fn memory(&self, _figures: &Figures) -> Memory {
        Memory {
            used_bytes: 1000,
            peak_bytes: 2000,
            process_bytes: 4000,
            clients_bytes: 10,
            tables: vec![(DbId(0), 100)],
            key_count: 3,
            limit_bytes: 0,
        }
    }

    fn scripts(&self) -> &Arc<Scripts> {
        &self.scripts
    }

    fn log_of_script(&self, _level: u8, _text: &str) {}

    fn set_expiry(&self, _enabled: bool) {}

    fn expire_now(&self) {}
}

/// A connection as it shows itself once it has changed anything.
fn view_of(session: &Session) -> ClientView {
    let flags = [
        ('O', session.monitors),
        ('r', session.readonly),
        ('e', session.no_evict),
        ('T', session.no_touch),
        ('I', session.imports),
    ];
    let flags: String = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(letter, _)| letter).collect();
    ClientView {
        id: session.id,
        address: format!("127.0.0.1:{}", 40_000 + session.id),
        local_address: "127.0.0.1:6379".to_owned(),
        fd: 8,
        user: session.user.name().to_vec(),
        name: session.name.clone(),
        lib_name: session.lib_name.clone(),
        lib_version: session.lib_version.clone(),
        age_seconds: 10 * session.id,
        idle_seconds: session.id,
        flags: if flags.is_empty() { "N".to_owned() } else { flags },
        capabilities: if session.redirects { "r".to_owned() } else { String::new() },
        db: session.db,
        subscriptions: Counts::default(),
        tracking: None,
        protocol: session.protocol,
        query_bytes: 0,
        query_free_bytes: 0,
        output_bytes: 0,
        memory_bytes: 0,
        queued_count: session.transaction.as_ref().and_then(|transaction| transaction.queued_count()),
        queued_bytes: 0,
        watched_count: session.transaction.as_ref().map_or(0, |transaction| transaction.watched_count()),
        command: commands::table::number_of_name(b"client|list"),
        received_bytes: 0,
        sent_bytes: 0,
        command_count: 0,
    }
}

impl Clients for TestHost {
    fn view(&self, id: u64) -> Option<ClientView> {
        let view = self.clients.lock().expect("nobody panicked while holding it").get(&id).cloned()?;
        Some(ClientView { subscriptions: self.log.channels.counts(id), tracking: self.log.tracking.view(id), ..view })
    }

    fn views(&self) -> Vec<ClientView> {
        self.clients.lock().expect("nobody panicked while holding it").values().cloned().collect()
    }

    fn kill(&self, id: u64) -> bool {
        self.clients.lock().expect("nobody panicked while holding it").remove(&id).is_some()
    }

    fn pause(&self, _mode: PauseMode, _until: TimeMs) {}

    fn unpause(&self) {}

    fn unblock(&self, _id: u64, _how: Unblock) -> bool {
        false
    }

    fn update(&self, session: &Session) {
        self.clients.lock().expect("nobody panicked while holding it").insert(session.id, view_of(session));
    }
}

impl CommandLog for TestHost {
    fn entries(&self, _count: Option<usize>) -> Vec<LogEntry> {
        Vec::new()
    }

    fn count(&self) -> usize {
        0
    }

    fn clear(&self) {}
}

impl Latency for TestHost {
    fn history(&self, _event: &[u8]) -> Vec<(i64, u64)> {
        Vec::new()
    }

    fn events(&self) -> Vec<LatencyEvent> {
        Vec::new()
    }

    fn reset(&self, _event: Option<&[u8]>) -> usize {
        0
    }

    fn histogram(&self, _number: u16) -> Option<LatencyHistogram> {
        None
    }
}
