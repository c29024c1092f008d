//! `larder serve`: opens the node, listens, serves, and stops cleanly.
//!
//! ```text
//! addresses taken, admin port ─► open data directory ─► threads ─► listeners ─► … ─► SIGTERM or SHUTDOWN ─► connections closed ─► checkpoint ─► journal closed
//! ```
//!
//! Deliberately not here: what a connection does (`connection.rs`), what settings mean (`config`).

use crate::admin;
use crate::clients::ClientRegistry;
use crate::config::{
    ClientClass, Loaded, LogLevel, MaxmemoryPolicy, OutputLimit, SettingId, Settings, Source, SyncMode,
};
use crate::data_dir;
use crate::descriptors;
use crate::exit::{self, Exit};
use crate::feed::Bounds;
use crate::host::ServerHost;
use crate::http::hustcache::Seeds;
use crate::http::hustdb::binlog;
use crate::listener::{self, Door, Listening, Reserved, Unavailable};
use crate::logging;
use crate::metrics::{MetricsSource, Opening};
use crate::statistics::Statistics;
use crate::tls::{self, Tls};
use crate::users;
use commands::Host;
use commands::Scripts;
use commands::acl::Users;
use commands::run::{Engine, Moment, Scratch};
use commands::waiting;
use env::{RealClock, RealEntropy};
use keyspace::events::{Heard, Interests, Listener};
use keyspace::stream::BlockLimits;
use node::{MemoryLimit, MemoryPolicy, Node, OpenError, Options, Progress};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// Journal bytes after which checkpoints are written, if the last ones were no larger: bounds a restart's replay.
const CHECKPOINT_BYTES: u64 = 256 << 20;
/// How long connections get to finish the command in hand when the server stops.
const DRAIN: Duration = Duration::from_millis(200);

/// How long scripts that have written get to end when the server stops; others are stopped at once.
const SCRIPTS_GRACE: Duration = Duration::from_secs(5);

/// Everything connections share.
pub struct Server {
    /// The data.
    pub node: Arc<Node>,
    /// The configuration.
    pub settings: Arc<Settings>,
    /// Who is connected.
    pub clients: Arc<ClientRegistry>,
    /// What was counted.
    pub statistics: Arc<Statistics>,
    /// What the doors of hustdb and hustcache share.
    pub seeds: Seeds,
    host: ServerHost,
    output_bytes_max: OnGeneration,
    stopping: Notify,
    stop_checkpoint: Mutex<Option<bool>>,
    pub(crate) tls: Arc<Tls>,
    pub(crate) listeners: Mutex<Vec<Listening>>,
}

/// A number computed from settings, kept until one of them changes.
#[derive(Default)]
struct OnGeneration {
    generation_next: AtomicU64,
    value: AtomicU64,
}

impl OnGeneration {
    fn get(&self, settings: &Settings, compute: impl FnOnce() -> u64) -> u64 {
        let wanted = settings.generation() + 1;
        if self.generation_next.load(Ordering::Acquire) != wanted {
            self.value.store(compute(), Ordering::Relaxed);
            self.generation_next.store(wanted, Ordering::Release);
        }
        self.value.load(Ordering::Relaxed)
    }
}

impl Server {
    /// The scripts.
    #[inline]
    pub fn scripts(&self) -> &Scripts {
        &self.host.scripts
    }

    /// The node as commands see it.
    pub fn host(&self) -> &dyn Host {
        &self.host
    }

    /// Bytes of unread replies at which a normal connection is closed; 0 is no limit.
    #[inline]
    pub fn output_bytes_max(&self) -> usize {
        let compute = || self.settings.output_limit(ClientClass::Normal).hard_bytes;
        self.output_bytes_max.get(&self.settings, compute) as usize
    }

    /// Serves those who wait for the keys in `scratch.ready`.
    pub async fn serve_waiters(&self, moment: &Moment, scratch: &mut Scratch) {
        loop {
            let (keyspace, journal) = (&self.node.keyspace, &self.node.journal);
            let engine = Engine { keyspace, journal, host: self.host(), observer: &() };
            let wanted = waiting::serve(engine, moment, scratch);
            self.node.discard(std::mem::take(&mut scratch.garbage));
            let Some(wanted) = wanted else { break };
            if let Err(error) = self.node.fetch(wanted).await {
                tracing::error!(%error, "a spilled value that a blocked client waits for cannot be read back");
                scratch.ready.remove(0);
            }
        }
    }

    /// Stops the server, with a last checkpoint or without.
    pub fn stop(&self, checkpoint: bool) {
        self.stop_checkpoint.lock().get_or_insert(checkpoint);
        self.stopping.notify_one();
    }
}

fn stream_limits(settings: &Settings) -> BlockLimits {
    BlockLimits { entry_count_max: settings.stream_block_entries_max(), bytes_max: settings.stream_block_bytes_max() }
}

/// The memory limit that `settings` ask for.
pub(crate) fn memory_limit(settings: &Settings) -> MemoryLimit {
    let policy = match settings.maxmemory_policy() {
        MaxmemoryPolicy::Spill => MemoryPolicy::Spill,
        MaxmemoryPolicy::NoEviction => MemoryPolicy::NoEviction,
        MaxmemoryPolicy::AllkeysLru => MemoryPolicy::AllKeysLru,
        MaxmemoryPolicy::VolatileLru => MemoryPolicy::VolatileLru,
        MaxmemoryPolicy::AllkeysLfu => MemoryPolicy::AllKeysLfu,
        MaxmemoryPolicy::VolatileLfu => MemoryPolicy::VolatileLfu,
        MaxmemoryPolicy::AllkeysRandom => MemoryPolicy::AllKeysRandom,
        MaxmemoryPolicy::VolatileRandom => MemoryPolicy::VolatileRandom,
        MaxmemoryPolicy::VolatileTtl => MemoryPolicy::VolatileTtl,
    };
    MemoryLimit {
        bytes_max: settings.memory_bytes_max(),
        policy,
        samples: settings.eviction_samples() as u32,
        lfu_log_factor: settings.lfu_log_factor(),
        lfu_decay_minutes: settings.lfu_decay_minutes(),
    }
}

fn journal_sync(mode: SyncMode) -> journal::SyncMode {
    match mode {
        SyncMode::Always => journal::SyncMode::Always,
        SyncMode::EverySec => journal::SyncMode::EverySec,
        SyncMode::Os => journal::SyncMode::Os,
    }
}

/// Runs the server until it is told to stop.
pub fn serve(loaded: Loaded) -> Exit {
    let settings = Arc::new(loaded.settings);
    let log = logging::start(settings.log_format(), settings.log_level());
    settings.on_change(SettingId::of("log-level"), move |value| {
        log.set_level(LogLevel::of(value));
        Ok(())
    });
    for warning in loaded.warnings {
        tracing::warn!("{warning}");
    }
    descriptors::follow(&settings);
    let users = match users::load(&settings) {
        Ok(users) => users,
        Err(problem) => {
            tracing::error!("{problem}");
            return Exit::Usage;
        }
    };
    let tls = Arc::new(Tls::default());
    if let Err(error) = tls.load(&settings) {
        tracing::error!("{error}");
        return Exit::Usage;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            return Exit::Failed;
        }
    };
    let opening = Arc::new(Opening::default());
    // Before anything is created: who is mistaken in the port has not made a data directory.
    let reserved = match runtime.block_on(async { take_addresses(&settings, &opening, &tls) }) {
        Ok(reserved) => reserved,
        Err(refused) => return address_refused(&refused, &settings),
    };
    let node = match open_node(&settings, memory_limit(&settings)) {
        Ok(node) => Arc::new(node),
        Err(error) => return directory_refused(&error, &settings),
    };
    let running = Arc::clone(&node).start();
    let Served { exit, checkpoint, scripts } =
        runtime.block_on(serve_node(Arc::clone(&node), settings, users, tls, &opening, reserved));
    runtime.shutdown_timeout(DRAIN);
    if !have_ended(&scripts) {
        tracing::warn!(
            "a script that has written does not end: it is given up with all it did; there is no last checkpoint"
        );
        if let Err(error) = node.journal.sync() {
            tracing::error!(%error, "the journal could not be synced");
        }
        return exit;
    }
    match running.stop(checkpoint) {
        Ok(()) => exit,
        Err(error) => {
            tracing::error!(%error, "the last checkpoint was not written; nothing is lost, the next start takes longer");
            exit
        }
    }
}

/// Waits for scripts to end, no longer than they may take. What one holds, the node's threads would wait for in vain.
fn have_ended(scripts: &Scripts) -> bool {
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    let begun = Instant::now();
    while !scripts.running().is_empty() || 0 < scripts.debugged_count() {
        if SCRIPTS_GRACE < begun.elapsed() {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    true
}

/// Opens the data directory that `settings` name.
pub(crate) fn open_node(settings: &Settings, memory: MemoryLimit) -> Result<Node, OpenError> {
    let data_dir = settings.data_dir();
    let disk = data_dir::create(&data_dir)?;
    let options = Options {
        partition_count: settings.partition_count(),
        segment_bytes: settings.segment_bytes(),
        sync: journal_sync(settings.sync()),
        memory,
        checkpoint_bytes: CHECKPOINT_BYTES,
        pieces: keyspace::pieces::PieceLimits::STANDARD,
        fatal: Box::new(|error| exit::stop(exit_of_journal(error), &error.to_string())),
    };
    let started = Instant::now();
    let told = Told { last: Mutex::new(started) };
    let node = Node::open(disk, Arc::new(RealClock::new()), &RealEntropy, options, &told)?;
    if let Some(torn) = &node.recovered.torn {
        tracing::warn!("the journal's end was not written whole, as after a crash: {torn} were cut off");
    }
    let (asked, found) = (settings.partition_count(), node.keyspace.partition_count());
    if asked != found && settings.entry(SettingId::of("partitions")).source != Source::Default {
        tracing::warn!(
            "the data directory has {found} partitions, and keeps them: --partitions {asked} is for a new one"
        );
    }
    let milliseconds = started.elapsed().as_millis() as u64;
    tracing::info!(dir = %data_dir.display(), replayed = node.recovered.records, milliseconds, "data directory open");
    Ok(node)
}

/// Tells the log once a second how opening gets on.
struct Told {
    last: Mutex<Instant>,
}

impl Told {
    fn tell(&self, what: &str, done: u64, total: u64) {
        const INTERVAL: Duration = Duration::from_secs(1);
        let mut last = self.last.lock();
        if last.elapsed() >= INTERVAL {
            *last = Instant::now();
            tracing::info!("opening: {what} {}%", 100 * done.min(total) / total.max(1));
        }
    }
}

impl Progress for Told {
    fn checkpoints(&self, done: u64, total: u64) {
        self.tell("loading checkpoints", done, total);
    }

    fn journal(&self, done_bytes: u64, total_bytes: u64) {
        self.tell("replaying the journal", done_bytes, total_bytes);
    }
}

/// The exit status that says why a data directory could not be opened.
pub fn exit_of(error: &OpenError) -> Exit {
    match error {
        OpenError::Lock(env::LockError::Held { .. }) => Exit::DataDirLocked,
        OpenError::Lock(env::LockError::Io { .. }) | OpenError::Io { .. } | OpenError::NoData { .. } => {
            Exit::DataDirUnusable
        }
        OpenError::Corrupt { .. } => Exit::DataCorrupt,
        OpenError::Format { .. } => Exit::DataDirVersion,
        OpenError::Journal(error) => exit_of_journal(error),
    }
}

fn exit_of_journal(error: &journal::Error) -> Exit {
    match error {
        journal::Error::Corrupt { damage: journal::Damage::Unknown, .. } | journal::Error::FormatUnknown { .. } => {
            Exit::DataDirVersion
        }
        journal::Error::Corrupt { .. } | journal::Error::Visitor { .. } => Exit::DataCorrupt,
        journal::Error::SyncFailed { .. } | journal::Error::WriteFailed { .. } => Exit::SyncFailed,
        _ => Exit::DataDirUnusable,
    }
}

/// How serving ended.
struct Served {
    exit: Exit,
    /// Whether there is to be a last checkpoint.
    checkpoint: bool,
    /// The scripts, of which some may still run.
    scripts: Arc<Scripts>,
}

async fn serve_node(
    node: Arc<Node>,
    settings: Arc<Settings>,
    users: Users,
    tls: Arc<Tls>,
    opening: &Opening,
    reserved: Vec<Reserved>,
) -> Served {
    let statistics = Arc::new(Statistics::new(&settings));
    let clients = Arc::new(ClientRegistry::new());
    let shared = (Arc::clone(&node), Arc::clone(&settings), Arc::clone(&clients), Arc::clone(&statistics));
    let host = ServerHost::new(shared.0, shared.1, shared.2, shared.3, users);
    let scripts = Arc::clone(&host.scripts);
    let refused = |name: &[u8], error: &commands::Error| {
        let (library, error) = (String::from_utf8_lossy(name), error.reply());
        tracing::warn!(%library, %error, "a library of functions cannot be loaded; it is kept");
    };
    if let Err(error) = commands::libraries::open(&node.keyspace, &node.journal, &host, refused) {
        tracing::error!(%error, "the libraries of functions cannot be read");
        return Served { exit: Exit::DataCorrupt, checkpoint: false, scripts };
    }
    let server = Arc::new(Server {
        node,
        settings,
        clients,
        statistics,
        seeds: Seeds::default(),
        host,
        output_bytes_max: OnGeneration::default(),
        stopping: Notify::new(),
        stop_checkpoint: Mutex::new(None),
        tls,
        listeners: Mutex::new(Vec::new()),
    });
    follow_settings(&server);
    serve_what_ends(&server);
    if let Err(refused) = listener::open(&server, reserved) {
        tracing::error!("{refused}");
        return Served { exit: Exit::AddressUnavailable, checkpoint: true, scripts };
    }
    tokio::spawn(listener::sweep(Arc::clone(&server)));
    tokio::spawn(binlog::replay(Arc::clone(&server)));
    tokio::spawn(Arc::clone(&server.tls).follow(Arc::clone(&server.settings)));
    opening.done(Arc::new(crate::host::NodeMetrics::new(&server)));
    let exit = wait_for_stop(&server).await;
    server.scripts().stop();
    server.clients.close_all();
    let checkpoint = server.stop_checkpoint.lock().unwrap_or(true);
    Served { exit, checkpoint, scripts }
}

/// Has those served who wait for a key that the node removes by itself, and has it remove none while clients are paused.
fn serve_what_ends(server: &Arc<Server>) {
    let clients = Arc::downgrade(&server.clients);
    server.node.set_still(move || clients.upgrade().is_some_and(|clients| clients.is_still()));
    let (weak, runtime) = (Arc::downgrade(server), tokio::runtime::Handle::current());
    server.node.set_serve(move |ready| {
        if let Some(server) = weak.upgrade() {
            runtime.spawn(async move {
                let mut scratch = Scratch::default();
                scratch.ready.extend(ready);
                server.serve_waiters(&server.node.moment(), &mut scratch).await;
            });
        }
    });
}

fn directory_refused(error: &OpenError, settings: &Settings) -> Exit {
    tracing::error!("{}", data_dir::told(error, &settings.data_dir()));
    exit_of(error)
}

/// That another process has the directory says more than that it has the port, too.
fn address_refused(refused: &Unavailable, settings: &Settings) -> Exit {
    if let Some(held) = data_dir::holder(&settings.data_dir()) {
        return directory_refused(&OpenError::Lock(held), settings);
    }
    tracing::error!("{refused}");
    Exit::AddressUnavailable
}

/// Takes every address that is to be listened on, and listens on the admin port.
fn take_addresses(settings: &Settings, opening: &Arc<Opening>, tls: &Arc<Tls>) -> Result<Vec<Reserved>, Unavailable> {
    let reserved = listener::reserve(settings, &Door::ALL, |_, _| true)?;
    listen_admin(settings, opening, tls)?;
    Ok(reserved)
}

/// Serves the admin port, from before the directory is opened: who watches the process sees that it lives.
fn listen_admin(settings: &Settings, opening: &Arc<Opening>, tls: &Arc<Tls>) -> Result<(), Unavailable> {
    if settings.admin_port() != 0 {
        let refused = |(address, error)| Unavailable { setting: "admin-port", address, error };
        let bound = admin::bind(&settings.admin_addresses(), settings.admin_port()).map_err(refused)?;
        for (address, listener) in bound {
            tracing::info!(%address, "listening for metrics and health");
            let tls = settings.admin_tls().then(|| Arc::clone(tls));
            tokio::spawn(admin::serve(listener, Arc::clone(opening) as Arc<dyn MetricsSource>, tls));
        }
    }
    Ok(())
}

/// Settings that take effect while the server runs.
fn follow_settings(server: &Arc<Server>) {
    let settings = &server.settings;
    for name in [
        SettingId::of("maxmemory"),
        SettingId::of("maxmemory-policy"),
        SettingId::of("maxmemory-samples"),
        SettingId::of("lfu-log-factor"),
        SettingId::of("lfu-decay-time"),
    ] {
        let (node, weak) = (Arc::clone(&server.node), Arc::downgrade(&server.settings));
        settings.on_change(name, move |_| {
            if let Some(settings) = weak.upgrade() {
                node.set_memory_limit(memory_limit(&settings));
            }
            Ok(())
        });
    }
    let (node, weak) = (Arc::clone(&server.node), Arc::downgrade(&server.settings));
    settings.on_change(SettingId::of("sync"), move |_| {
        if let Some(settings) = weak.upgrade() {
            node.journal.set_sync_mode(journal_sync(settings.sync()));
        }
        Ok(())
    });
    follow_told(server);
    server.node.keyspace.set_keeps_ended(settings.import_mode() != 0);
    let node = Arc::clone(&server.node);
    settings.on_change(SettingId::of("import-mode"), move |value| {
        node.keyspace.set_keeps_ended(value.number != 0);
        Ok(())
    });
    server.node.keyspace.set_stream_limits(stream_limits(settings));
    for name in ["stream-node-max-bytes", "stream-node-max-entries"] {
        let (node, weak) = (Arc::clone(&server.node), Arc::downgrade(&server.settings));
        settings.on_change(SettingId::of(name), move |_| {
            if let Some(settings) = weak.upgrade() {
                node.keyspace.set_stream_limits(stream_limits(&settings));
            }
            Ok(())
        });
    }
    follow_doors(server);
}

/// Settings about what is listened on, and what is spoken there.
fn follow_doors(server: &Arc<Server>) {
    /// Does something with the server when a setting has changed, if there is still a server.
    fn follow(
        server: &Arc<Server>,
        id: SettingId,
        act: impl Fn(&Arc<Server>) -> Result<(), String> + Send + Sync + 'static,
    ) {
        let weak = Arc::downgrade(server);
        server.settings.on_change(id, move |_| weak.upgrade().map_or(Ok(()), |server| act(&server)));
    }
    /// Clients are told in Redis's words, the log in ours.
    fn listen(server: &Arc<Server>, doors: &[Door], refusal: &str) -> Result<(), String> {
        listener::listen(server, doors).map_err(|refused| {
            tracing::warn!("{refused}");
            refusal.to_owned()
        })
    }
    fn open(server: &Arc<Server>, door: Door) -> Result<(), String> {
        listen(server, &[door], "Unable to listen on this port")
    }
    fn load_tls(server: &Arc<Server>) -> Result<(), String> {
        server.tls.load(&server.settings).map_err(|error| {
            tracing::warn!("{error}");
            "Unable to update TLS configuration. Check server logs.".to_owned()
        })
    }
    for door in Door::ALL {
        follow(server, door.setting(), move |server| {
            if door.is_tls() {
                load_tls(server)?;
            }
            open(server, door)
        });
    }
    follow(server, SettingId::of("bind"), |server| {
        listen(server, &Door::ALL, "Failed to bind to specified addresses.")
    });
    let asked = [SettingId::of("tls-auth-clients"), SettingId::of("tls-protocols")];
    for id in tls::FILES.into_iter().chain(asked) {
        follow(server, id, load_tls);
    }
}

/// Settings about what connections are sent without asking.
fn follow_told(server: &Arc<Server>) {
    let settings = &server.settings;
    let events = SettingId::of("notify-keyspace-events");
    server.node.keyspace.set_interests(Interests::of_letters(&settings.text(events)));
    server.node.keyspace.set_listener(Arc::new(Herald { clients: Arc::clone(&server.clients) }));
    let node = Arc::clone(&server.node);
    settings.on_change(events, move |value| {
        node.keyspace.set_interests(Interests::of_letters(&value.text));
        Ok(())
    });
    let node = Arc::clone(&server.node);
    server.clients.tracking().set_switch(move |hears| node.keyspace.hear_changes(hears));
    let keys_max = SettingId::of("tracking-table-max-keys");
    set_tracked_keys(&server.clients, settings.number(keys_max));
    let clients = Arc::clone(&server.clients);
    settings.on_change(keys_max, move |value| {
        set_tracked_keys(&clients, value.number);
        Ok(())
    });
    set_feed_limits(&server.clients, settings);
    let (clients, weak) = (Arc::clone(&server.clients), Arc::downgrade(settings));
    settings.on_change(SettingId::of("client-output-buffer-limit"), move |_| {
        if let Some(settings) = weak.upgrade() {
            set_feed_limits(&clients, &settings);
        }
        Ok(())
    });
}

/// 0 is no limit.
fn set_tracked_keys(clients: &ClientRegistry, keys_max: i64) {
    let keys_max = usize::try_from(keys_max).ok().filter(|max| *max > 0);
    clients.tracking().set_keys_max(keys_max.unwrap_or(usize::MAX));
}

fn set_feed_limits(clients: &ClientRegistry, settings: &Settings) {
    let bounds = |class| {
        let OutputLimit { hard_bytes, soft_bytes, soft_seconds } = settings.output_limit(class);
        Bounds::of_limit(hard_bytes, soft_bytes, soft_seconds)
    };
    clients.limits().normal.set(bounds(ClientClass::Normal));
    clients.limits().pubsub.set(bounds(ClientClass::Pubsub));
}

/// Passes on what transactions tell.
struct Herald {
    clients: Arc<ClientRegistry>,
}

impl Listener for Herald {
    fn hear(&self, heard: &Heard<'_>) {
        self.clients.channels().announce(heard);
        if heard.interests.wants_changes() {
            self.clients.tracking().invalidate(heard);
        }
    }
}

async fn wait_for_stop(server: &Server) -> Exit {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return Exit::Failed;
    };
    tokio::select! {
        _ = term.recv() => tracing::info!("stopping on SIGTERM"),
        _ = int.recv() => tracing::info!("stopping on SIGINT"),
        () = server.stopping.notified() => tracing::info!("stopping on SHUTDOWN"),
    }
    Exit::Success
}
