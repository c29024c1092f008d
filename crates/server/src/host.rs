//! The node as commands see it: settings, connections, statistics and data brought together.
//!
//! Deliberately not here: INFO's text (`info.rs`), counting (`statistics.rs`), connections (`clients.rs`).

use crate::clients::{self, ClientRegistry};
use crate::config::{SettingId, Settings, replace_file};
use crate::distribution::cumulative_us;
use crate::info;
use crate::process;
use crate::statistics::Statistics;
use crate::users;
use base::{DbId, TimeMs};
use commands::acl::Users;
use commands::channels::{Channels, Receiver};
use commands::host::{
    Clients, CommandLog, Host, Latency, LatencyEvent, LatencyHistogram, LogKind, Memory, UsersFileKept,
};
use commands::tracking::Tracking;
use commands::{Scripts, Surroundings};
use env::{Entropy, RealEntropy};
use keyspace::figures::Figures;
use node::Node;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::RuntimeFlavor;

pub use crate::node_metrics::NodeMetrics;

/// What the node has counted, for subtracting after a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// Keys removed because their time had come.
    pub expired_keys: u64,
    /// Fields of hashes removed because their time had come.
    pub expired_fields: u64,
    /// Keys evicted.
    pub evicted: u64,
    /// Values spilled.
    pub spilled: u64,
    /// Spilled values read back.
    pub fetched: u64,
}

/// See the module's text.
pub struct ServerHost {
    pub(crate) node: Arc<Node>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) clients: Arc<ClientRegistry>,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) users: Arc<Users>,
    pub(crate) run_id: String,
    pub(crate) rates: info::Rates,
    baseline: Mutex<NodeCounts>,
}

impl ServerHost {
    /// A host for this node.
    pub fn new(
        node: Arc<Node>,
        settings: Arc<Settings>,
        clients: Arc<ClientRegistry>,
        statistics: Arc<Statistics>,
        users: Users,
    ) -> Self {
        let run_id = format!("{:016x}{:016x}{:08x}", node.random(), node.random(), node.random() as u32);
        // Opening the data directory counts what ended while the journal is replayed: that is not this run's.
        let baseline = Mutex::new(node_counts(&node, &node.keyspace.figures(node.moment().now)));
        let scripts = Arc::new(Scripts::default());
        scripts.surround(Box::new(Process { node: Arc::clone(&node), settings: Arc::clone(&settings) }));
        let users = Arc::new(users);
        let weak = Arc::downgrade(&users);
        settings.on_change(SettingId::of("requirepass"), move |value| {
            if let Some(users) = weak.upgrade() {
                users.set_default_password(value.text.as_bytes());
            }
            Ok(())
        });
        ServerHost {
            node,
            settings,
            clients,
            statistics,
            scripts,
            users,
            run_id,
            rates: info::Rates::default(),
            baseline,
        }
    }

    /// What the node has counted since the last reset.
    pub fn node_counts(&self, figures: &Figures) -> NodeCounts {
        let (now, before) = (node_counts(&self.node, figures), *self.baseline.lock());
        NodeCounts {
            expired_keys: now.expired_keys - before.expired_keys,
            expired_fields: now.expired_fields - before.expired_fields,
            evicted: now.evicted - before.evicted,
            spilled: now.spilled - before.spilled,
            fetched: now.fetched - before.fetched,
        }
    }
}

/// The process as scripts need it.
struct Process {
    node: Arc<Node>,
    settings: Arc<Settings>,
}

impl Surroundings for Process {
    fn monotonic_ms(&self) -> u64 {
        env::monotonic_ns() / 1_000_000
    }

    fn slow_after_ms(&self) -> u64 {
        self.settings.script_slow_after_ms()
    }

    /// The runtime has another thread do what this one was to do. If that one has not begun when the sleep is over, as on
    /// a machine with much to do, everything is as before; once it has, this is only a sleep.
    fn step_aside(&self) {
        const TAKE_OVER: Duration = Duration::from_millis(1);
        let flavor = tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor());
        if flavor.is_ok_and(|flavor| flavor == RuntimeFlavor::MultiThread) {
            tokio::task::block_in_place(|| std::thread::sleep(TAKE_OVER));
        }
    }

    fn turn_away(&self, turns_away: bool) {
        self.node.keyspace.set_turns_away(turns_away);
    }
}

/// What `node` has ever counted.
fn node_counts(node: &Node, figures: &Figures) -> NodeCounts {
    let counters = &node.counters;
    NodeCounts {
        expired_keys: figures.ended.key_count,
        expired_fields: figures.ended.field_count,
        evicted: counters.evicted.load(Ordering::Relaxed),
        spilled: counters.spilled.load(Ordering::Relaxed),
        fetched: counters.fetched.load(Ordering::Relaxed),
    }
}

impl Host for ServerHost {
    fn users(&self) -> &Users {
        &self.users
    }

    fn read_users_file(&self) -> Result<String, String> {
        users::read(&self.settings.text(SettingId::of("aclfile")))
    }

    fn write_users_file(&self, text: &[u8]) -> Result<(), UsersFileKept> {
        let path = self.settings.text(SettingId::of("aclfile"));
        replace_file(path.as_ref(), text).map_err(|error| {
            tracing::warn!(%error, path, "the users could not be saved");
            UsersFileKept
        })
    }

    fn fill_secret(&self, out: &mut [u8]) {
        RealEntropy.fill(out).expect("the kernel has random bytes");
    }

    fn scripts(&self) -> &Arc<Scripts> {
        &self.scripts
    }

    fn log_of_script(&self, level: u8, text: &str) {
        match level {
            0 => tracing::debug!(target: "script", "{text}"),
            1 | 2 => tracing::info!(target: "script", "{text}"),
            _ => tracing::warn!(target: "script", "{text}"),
        }
    }

    fn random(&self) -> u64 {
        self.node.random()
    }

    fn wall_us(&self) -> i64 {
        clients::wall_us()
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.settings.get_matching(&[name]).pop().map(|(_, value)| value)
    }

    fn settings_matching(&self, patterns: &[&[u8]]) -> Vec<(String, String)> {
        self.settings.get_matching(patterns)
    }

    fn set_settings(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), String> {
        let changed = self.settings.set(pairs).map_err(|refusal| refusal.to_string())?;
        if changed.iter().any(|setting| setting.name == "lua-enable-insecure-api") {
            self.scripts.renew();
        }
        for setting in changed {
            let is_secret = crate::config::SettingId::find(setting.name).is_some_and(|(id, _)| id.row().is_secret());
            let shown = if is_secret { "(redacted)" } else { &setting.text };
            tracing::info!(setting = setting.name, value = shown, "changed by CONFIG SET");
        }
        Ok(())
    }

    fn rewrite_settings(&self) -> Result<(), String> {
        if self.settings.text(SettingId::of("aclfile")).is_empty() {
            let password = self.settings.password().unwrap_or_default();
            self.settings.note(SettingId::of("users"), users::as_setting(&self.users, &password));
        }
        self.settings.rewrite().map_err(|refusal| refusal.to_string())
    }

    fn reset_statistics(&self, figures: &Figures) {
        *self.baseline.lock() = node_counts(&self.node, figures);
        self.statistics.reset();
        self.scripts.reset_statistics();
        self.users.reset_counts();
    }

    fn info(&self, sections: &[&[u8]], figures: &Figures, out: &mut Vec<u8>) {
        info::write(self, sections, figures, out);
    }

    fn clients(&self) -> &dyn Clients {
        &*self.clients
    }

    fn channels(&self) -> &Channels {
        self.clients.channels()
    }

    fn receiver(&self, id: u64) -> Option<Arc<dyn Receiver>> {
        self.clients.receiver(id)
    }

    fn tracking(&self) -> &Tracking {
        self.clients.tracking()
    }

    fn command_log(&self, kind: LogKind) -> &dyn CommandLog {
        self.statistics.log(kind)
    }

    fn latency(&self) -> &dyn Latency {
        self
    }

    fn request_checkpoint(&self) -> bool {
        self.node.request_checkpoint()
    }

    fn schedule_checkpoint(&self) {
        self.node.schedule_checkpoint();
    }

    fn last_checkpoint(&self) -> TimeMs {
        self.node.checkpoint_finished()
    }

    fn memory(&self, figures: &Figures) -> Memory {
        let used_bytes = figures.used_bytes;
        self.node.note_used_bytes(used_bytes);
        let (_, peak_bytes) = self.node.memory_used_bytes();
        let filled = figures.dbs.iter().enumerate().filter(|(_, figures)| 0 < figures.key_count);
        Memory {
            used_bytes,
            peak_bytes,
            process_bytes: process::resident_bytes(),
            clients_bytes: self.clients.totals().memory_bytes as u64,
            tables: filled.map(|(number, figures)| (DbId(number as u8), figures.table_bytes)).collect(),
            key_count: figures.key_count(),
            limit_bytes: self.settings.memory_bytes_max(),
        }
    }

    fn set_expiry(&self, enabled: bool) {
        self.node.expiry_enabled.store(enabled, Ordering::Relaxed);
    }

    fn expire_now(&self) {
        self.node.wake();
    }
}

impl Latency for ServerHost {
    fn history(&self, event: &[u8]) -> Vec<(i64, u64)> {
        self.statistics.spikes().history(event)
    }

    fn events(&self) -> Vec<LatencyEvent> {
        self.statistics.spikes().events()
    }

    fn reset(&self, event: Option<&[u8]>) -> usize {
        self.statistics.spikes().reset(event)
    }

    fn histogram(&self, number: u16) -> Option<LatencyHistogram> {
        let totals = self.statistics.command_since_reset(number)?;
        let call_count = totals.calls();
        (0 < call_count).then(|| LatencyHistogram { call_count, cumulative: cumulative_us(&totals.buckets) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Inputs, load};
    use crate::statistics::Finished;
    use commands::run::{Engine, Scratch, Verdict, resolve, run};
    use commands::spec::{Arity, Flags};
    use commands::{Session, table};
    use env::{RealClock, RealDisk};
    use node::{MemoryLimit, MemoryPolicy, Options};
    use wire::args::Ranges;
    use wire::request::{Limits, Login, RequestParser};

    fn host(dir: &std::path::Path) -> ServerHost {
        let memory = MemoryLimit {
            bytes_max: 0,
            policy: MemoryPolicy::Spill,
            samples: 5,
            lfu_log_factor: 10,
            lfu_decay_minutes: 1,
        };
        let options = Options {
            partition_count: 4,
            segment_bytes: 1 << 20,
            sync: journal::SyncMode::Os,
            memory,
            checkpoint_bytes: 1 << 20,
            pieces: keyspace::pieces::PieceLimits::STANDARD,
            fatal: Box::new(|error| panic!("{error}")),
        };
        let disk = Arc::new(RealDisk::open(dir).expect("a temporary folder"));
        let node = Node::open(disk, Arc::new(RealClock::new()), &RealEntropy, options, &()).expect("an empty folder");
        let settings = Arc::new(load(Inputs::default()).expect("defaults are sound").settings);
        let statistics = Arc::new(Statistics::new(&settings));
        ServerHost::new(Arc::new(node), settings, Arc::new(ClientRegistry::new()), statistics, Users::new(b""))
    }

    fn command(host: &ServerHost, session: &mut Session, line: &str) -> String {
        let (line, mut ranges) = (format!("{line}\r\n"), Ranges::new());
        RequestParser::new().parse(line.as_bytes(), &Limits::standard(Login::Done), &mut ranges).expect("a command");
        let args = ranges.args(line.as_bytes());
        let engine = Engine { keyspace: &host.node.keyspace, journal: &host.node.journal, host, observer: &() };
        let (mut out, mut scratch) = (Vec::new(), Scratch::default());
        let resolved = resolve(&args).expect("a command there is");
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let client = host.clients.register(address, address, &std::io::stdin(), usize::MAX).expect("there is room");
        let timer = host.statistics.timer();
        run(engine, resolved, session, args, &host.node.moment(), &mut out, &mut scratch);
        let verdict = Verdict::of_reply(&out);
        let (resolved, args, client, reply) = (&resolved, &args, &*client, &out[..]);
        let finished = Finished { resolved, args, client, reply, apart_bytes: 0, verdict, waits: false };
        host.statistics.finish(timer, &finished);
        host.statistics.count_lookups(scratch.lookups);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn info(host: &ServerHost, section: &str) -> String {
        let mut out = Vec::new();
        host.info(&[section.as_bytes()], &host.node.keyspace.figures(host.node.moment().now), &mut out);
        String::from_utf8(out).expect("INFO is text")
    }

    #[test]
    fn info_tells_what_the_node_holds_and_what_was_read_until_a_reset() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (host, mut session) = (host(dir.path()), Session::new(1, &Users::new(b"")));
        for line in ["set a 1", "set b 2 ex 100", "get a", "get nokey", "select 3", "set c 3"] {
            command(&host, &mut session, line);
        }
        let keyspace = info(&host, "keyspace");
        assert!(keyspace.contains("db0:keys=2,expires=1,"), "{keyspace}");
        assert!(keyspace.contains("db3:keys=1,expires=0,"), "{keyspace}");
        assert!(info(&host, "stats").contains("keyspace_hits:1\r\nkeyspace_misses:1\r\n"));
        command(&host, &mut session, "config resetstat");
        assert!(info(&host, "stats").contains("keyspace_hits:0\r\nkeyspace_misses:0\r\n"));
        let memory = host.memory(&host.node.keyspace.figures(host.node.moment().now));
        assert_eq!((memory.key_count, memory.tables.len()), (3, 2));
        assert!(memory.table_bytes() < memory.used_bytes);
    }

    /// A command that looked at a partition its own transaction holds would wait for itself.
    #[test]
    fn every_command_answers_in_a_transaction_that_holds_keys() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (host, mut session) = (host(dir.path()), Session::new(1, &Users::new(b"")));
        for number in 0..table::number_count() {
            let number = number as u16;
            let spec = table::by_number(number);
            let name = table::full_name(number).replace('|', " ");
            let (Arity::Exactly(count) | Arity::AtLeast(count)) = spec.arity;
            let filler = " k".repeat(usize::from(count).saturating_sub(name.split(' ').count()));
            let is_queued = !spec.flags.has(Flags::UNQUEUED) && !spec.flags.has(Flags::NO_MULTI);
            if !is_queued || !spec.subcommands.is_empty() || ["reset", "quit"].contains(&name.as_str()) {
                continue;
            }
            for line in ["multi", "set k v", &format!("{name}{filler}"), "set other v", "exec"] {
                command(&host, &mut session, line);
            }
            session = Session::new(1, &Users::new(b""));
        }
        for line in ["multi", "flushall", "set k v", "info", "exec"] {
            let reply = command(&host, &mut session, line);
            assert!(line != "exec" || reply.contains("db0:keys=1,"), "its own changes are counted: {reply}");
        }
    }

    #[test]
    fn changes_are_counted_until_a_checkpoint_has_them() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (host, mut session) = (host(dir.path()), Session::new(1, &Users::new(b"")));
        let changes = |count: u64| format!("rdb_changes_since_last_save:{count}\r\n");
        for line in ["set a 1", "get a", "setbit b 0 1", "setbit b 0 1", "mset a 2", "del nokey"] {
            command(&host, &mut session, line);
        }
        assert!(info(&host, "persistence").contains(&changes(3)));
        host.node.checkpoint_all(false).expect("a checkpoint");
        assert!(info(&host, "persistence").contains(&changes(0)));
        command(&host, &mut session, "del a");
        assert!(info(&host, "persistence").contains(&changes(1)));
    }

    #[test]
    fn every_line_of_info_is_a_heading_a_field_or_empty() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let all = info(&host(dir.path()), "everything");
        for line in all.strip_suffix("\r\n").expect("lines end").split("\r\n") {
            assert!(line.is_empty() || line.starts_with("# ") || line.contains(':'), "{line:?}");
        }
        let mut names: Vec<&str> = all.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "no field is there twice");
    }

    #[test]
    fn a_password_is_asked_for_once_there_is_one() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (host, mut session) = (host(dir.path()), Session::new(1, &Users::new(b"")));
        assert!(host.users().default_is_open());
        assert_eq!(command(&host, &mut session, "auth default anything"), "+OK\r\n");
        assert_eq!(command(&host, &mut session, "config set requirepass hush"), "+OK\r\n");
        assert_eq!(command(&host, &mut session, "get a"), "$-1\r\n", "who is logged in stays so");
        let mut other = Session::new(2, host.users());
        assert_eq!(command(&host, &mut other, "get a"), "-NOAUTH Authentication required.\r\n");
        assert!(command(&host, &mut other, "auth hus").starts_with("-WRONGPASS"));
        assert!(command(&host, &mut other, "auth somebody hush").starts_with("-WRONGPASS"));
        assert_eq!(command(&host, &mut other, "auth hush"), "+OK\r\n");
        assert_eq!(command(&host, &mut other, "get a"), "$-1\r\n");
        assert!(info(&host, "stats").contains("acl_access_denied_auth:2\r\n"));
        assert!(command(&host, &mut session, "config set a b").starts_with("-ERR Unknown option"));
    }

    #[test]
    fn calls_show_in_histograms_and_statistics() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (host, mut session) = (host(dir.path()), Session::new(1, &Users::new(b"")));
        let number = table::number_of_name(b"get").expect("there is GET");
        assert_eq!(host.histogram(number), None);
        for _ in 0..3 {
            command(&host, &mut session, "get a");
        }
        let histogram = host.histogram(number).expect("it was called");
        assert_eq!((histogram.call_count, histogram.cumulative.last().map(|(_, calls)| *calls)), (3, Some(3)));
        assert!(info(&host, "commandstats").contains("cmdstat_get:calls=3,usec="));
        assert!(info(&host, "latencystats").contains("latency_percentiles_usec_get:p50="));
        assert!(info(&host, "stats").contains("total_commands_processed:3\r\n"));
    }
}
