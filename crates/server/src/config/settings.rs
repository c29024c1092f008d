//! The settings of the running process: read by everybody, changed by CONFIG SET.
//!
//! ```text
//! reader in a hurry    numbers[row]            one relaxed atomic load
//! reader of text       entries                 a short shared lock
//! CONFIG SET           change -> check all -> publish all -> on_change hooks -> (refused: publish the old)
//! ```
//!
//! Deliberately not here: where the first values come from (`load.rs`), the TOML file (`rewrite.rs`).
//!
//! Invariants: a set of changes is published whole or not at all; one change runs at a time; hooks run without
//! `entries` held, so they may read settings, but must not change them.
//!
//! Source: `configSetCommand` and `configGetCommand` of Valkey 9 for order of checks and error texts.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use base::glob::{Case, glob_matches};
use parking_lot::{Mutex, RwLock};

use super::kind::{Kind, Spelling, Value};
use super::{Effect, NAMES, Reload, SettingId, special};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The table.
    Default,
    /// A line of the configuration file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// The command line.
    Flag,
    /// CONFIG SET.
    Runtime,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File { path, line } => write!(f, "{}:{line}", path.display()),
            Source::Environment(variable) => write!(f, "environment {variable}"),
            Source::Flag => f.write_str("flag"),
            Source::Runtime => f.write_str("CONFIG SET"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The checked value.
    pub value: Value,
    /// Its origin.
    pub source: Source,
}

/// A setting that CONFIG SET has just changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedSetting {
    /// Its own name, whichever it was set by.
    pub name: &'static str,
    /// The new value in Larder's spelling.
    pub text: String,
}

/// Why CONFIG SET refused; nothing was changed. `Display` is the RESP error line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// No setting has this name.
    Unknown {
        /// As it was sent.
        name: String,
    },
    /// This setting cannot have this value, now or ever.
    Refused {
        /// As it was sent.
        name: String,
        /// A sentence without a final dot.
        reason: String,
    },
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetError::Unknown { name } => {
                write!(f, "ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            SetError::Refused { name, reason } => {
                write!(f, "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
            }
        }
    }
}

impl std::error::Error for SetError {}

/// Called with a new value after it was published; an error takes the whole change back.
type Hook = Arc<dyn Fn(&Value) -> Result<(), String> + Send + Sync>;

/// One checked wish of CONFIG SET.
struct Wish {
    id: SettingId,
    name: String,
    value: Value,
}

/// The settings of the running process.
pub struct Settings {
    numbers: Box<[AtomicI64]>,
    generation: AtomicU64,
    entries: RwLock<Vec<Entry>>,
    started_with: Vec<Entry>,
    change: Mutex<()>,
    hooks: RwLock<Vec<(SettingId, Hook)>>,
    file: Option<PathBuf>,
}

impl Settings {
    /// Settings that start with `entries`, one per row, and are rewritten to `file`.
    pub(super) fn new(entries: Vec<Entry>, file: Option<PathBuf>) -> Settings {
        assert_eq!(entries.len(), SettingId::COUNT, "every row has a value");
        Settings {
            numbers: entries.iter().map(|entry| AtomicI64::new(entry.value.number)).collect(),
            generation: AtomicU64::new(0),
            started_with: entries.clone(),
            entries: RwLock::new(entries),
            change: Mutex::new(()),
            hooks: RwLock::new(Vec::new()),
            file,
        }
    }

    /// The configuration file given at start.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Grows by at least one with every change, so that a copy of something dear to read can be kept until then.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The number of a setting: its integer, byte count, choice index, or 1 and 0 for yes and no.
    ///
    /// # Cost
    /// One relaxed load.
    pub fn number(&self, id: SettingId) -> i64 {
        self.numbers[id.index()].load(Ordering::Relaxed)
    }

    /// The normal text of a setting.
    pub fn text(&self, id: SettingId) -> String {
        self.entries.read()[id.index()].value.text.clone()
    }

    /// The value of a setting and where it comes from.
    pub fn entry(&self, id: SettingId) -> Entry {
        self.entries.read()[id.index()].clone()
    }

    /// Every parameter whose name matches one of `patterns`, for CONFIG GET: no name twice, patterns in the order
    /// given, names under a pattern in alphabetical order. A pattern without `*`, `?` or `[` is a name, answered
    /// as it was written.
    pub fn get_matching<P: AsRef<[u8]>>(&self, patterns: &[P]) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        let entries = self.entries.read();
        for (name, id, spelling) in patterns.iter().flat_map(|pattern| names_matching(pattern.as_ref())) {
            if found.iter().all(|(other, _)| *other != name) {
                found.push((name, id.row().kind.spelled(&entries[id.index()].value, spelling)));
            }
        }
        found
    }

    /// Changes settings, all or none, for CONFIG SET.
    ///
    /// # Errors
    /// The first wish that cannot be granted; nothing is changed then.
    pub fn set<N: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(N, V)]) -> Result<Vec<ChangedSetting>, SetError> {
        let _one_at_a_time = self.change.lock();
        let wishes = self.wishes(pairs)?;
        self.check_exposure(&wishes)?;
        self.grant(wishes, &Source::Runtime)
    }

    /// Takes every change by CONFIG SET back.
    ///
    /// # Errors
    /// A hook that refuses its old value; nothing is changed then.
    pub fn reset(&self) -> Result<Vec<ChangedSetting>, SetError> {
        let _one_at_a_time = self.change.lock();
        let changed = SettingId::all().filter(|id| self.entry(*id).source == Source::Runtime);
        let wishes: Vec<Wish> = changed
            .map(|id| Wish { id, name: id.row().name.to_owned(), value: self.started_with[id.index()].value.clone() })
            .collect();
        let ids: Vec<SettingId> = wishes.iter().map(|wish| wish.id).collect();
        let changes = self.grant(wishes, &Source::Runtime)?;
        for id in ids {
            self.publish(id, self.started_with[id.index()].clone());
        }
        Ok(changes)
    }

    /// Lets `hook` act on changes of a setting, and so makes one that is fixed at start changeable.
    ///
    /// The hook is called after the new value can be read; its refusal takes the whole change back, and hooks that
    /// had agreed are then called again with the old value. A hook must not change settings.
    pub fn on_change(&self, id: SettingId, hook: impl Fn(&Value) -> Result<(), String> + Send + Sync + 'static) {
        self.hooks.write().push((id, Arc::new(hook)));
    }

    fn wishes<N: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(N, V)]) -> Result<Vec<Wish>, SetError> {
        let mut found: Vec<(SettingId, Spelling, String)> = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            let name = String::from_utf8_lossy(name.as_ref()).into_owned();
            let (id, spelling) = SettingId::find(&name).ok_or_else(|| SetError::Unknown { name: name.clone() })?;
            self.check_changeable(id, spelling, &name, value.as_ref())?;
            if found.iter().any(|(other, ..)| *other == id) {
                return Err(refused(&name, "duplicate parameter"));
            }
            found.push((id, spelling, name));
        }
        let wish = |((id, spelling, name), (_, value)): ((SettingId, Spelling, String), &(N, V))| {
            let value = self.parse(id, spelling, value.as_ref()).map_err(|reason| refused(&name, &reason))?;
            Ok(Wish { id, name, value })
        };
        found.into_iter().zip(pairs).map(wish).collect()
    }

    /// A setting fixed at start may be set to what it is, so that CONFIG GET's answer can be given back.
    fn check_changeable(&self, id: SettingId, spelling: Spelling, name: &str, text: &[u8]) -> Result<(), SetError> {
        let row = id.row();
        let is_hooked = || self.hooks.read().iter().any(|(other, _)| *other == id);
        let is_same = || row.kind.spelled(&self.entry(id).value, spelling).as_bytes() == text;
        match row.reload {
            Reload::Live => Ok(()),
            Reload::Start if is_hooked() || is_same() => Ok(()),
            Reload::Start => Err(refused(name, "can't set immutable config")),
            Reload::Protected if spelling == Spelling::Larder && is_same() => Ok(()),
            Reload::Protected => Err(refused(name, "can't set protected config")),
        }
    }

    fn parse(&self, id: SettingId, spelling: Spelling, text: &[u8]) -> Result<Value, String> {
        let text = std::str::from_utf8(text).map_err(|_| "argument must be valid UTF-8".to_owned())?;
        id.row().kind.parse(text, &self.text(id), spelling)
    }

    fn check_exposure(&self, wishes: &[Wish]) -> Result<(), SetError> {
        let wished = |id: SettingId| wishes.iter().find(|wish| wish.id == id);
        let Some(wish) = wished(REQUIREPASS).or_else(|| wished(BIND)) else { return Ok(()) };
        let text_of = |id: SettingId| wished(id).map_or_else(|| self.text(id), |wish| wish.value.text.clone());
        let allowed = self.number(ALLOW_UNPROTECTED) == 1;
        match exposed_address(&text_of(BIND), &text_of(REQUIREPASS), allowed) {
            None => Ok(()),
            Some(address) => Err(refused(&wish.name, &format!("without a password nothing may listen on {address}"))),
        }
    }

    fn grant(&self, wishes: Vec<Wish>, source: &Source) -> Result<Vec<ChangedSetting>, SetError> {
        let before: Vec<Entry> = wishes.iter().map(|wish| self.entry(wish.id)).collect();
        for wish in &wishes {
            self.publish(wish.id, Entry { value: wish.value.clone(), source: source.clone() });
        }
        let is_file = |wish: &Wish| matches!(wish.id.row().kind, Kind::File) && !wish.value.text.is_empty();
        let changed = |index: &usize| before[*index].value != wishes[*index].value || is_file(&wishes[*index]);
        let changed: Vec<usize> = (0..wishes.len()).filter(changed).collect();
        for (done, index) in changed.iter().enumerate() {
            if let Err(reason) = self.call_hooks(wishes[*index].id, &wishes[*index].value) {
                self.take_back(&wishes, &before, &changed[..done]);
                return Err(refused(&wishes[*index].name, &reason));
            }
        }
        let report = |index: &usize| ChangedSetting {
            name: wishes[*index].id.row().name,
            text: wishes[*index].value.text.clone(),
        };
        Ok(changed.iter().map(report).collect())
    }

    fn take_back(&self, wishes: &[Wish], before: &[Entry], hooked: &[usize]) {
        for (wish, entry) in wishes.iter().zip(before) {
            self.publish(wish.id, entry.clone());
        }
        for index in hooked {
            if let Err(reason) = self.call_hooks(wishes[*index].id, &before[*index].value) {
                tracing::warn!(setting = wishes[*index].name, reason, "an old setting could not be restored");
            }
        }
    }

    fn publish(&self, id: SettingId, entry: Entry) {
        let mut entries = self.entries.write();
        self.numbers[id.index()].store(entry.value.number, Ordering::Relaxed);
        entries[id.index()] = entry;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Notes what a setting has come to without CONFIG SET, so that it is written by CONFIG REWRITE.
    pub fn note(&self, id: SettingId, text: String) {
        let _one_at_a_time = self.change.lock();
        if self.text(id) != text {
            self.publish(id, Entry { value: Value { text, number: 0 }, source: Source::Runtime });
        }
    }

    /// The first address that serves other machines, unless these may come without a password.
    pub fn exposed_address(&self) -> Option<IpAddr> {
        exposed_address(&self.text(BIND), "", self.number(ALLOW_UNPROTECTED) == 1)
    }

    fn call_hooks(&self, id: SettingId, value: &Value) -> Result<(), String> {
        let of_id = |(other, hook): &(SettingId, Hook)| (*other == id).then(|| Arc::clone(hook));
        let hooks: Vec<Hook> = self.hooks.read().iter().filter_map(of_id).collect();
        hooks.iter().try_for_each(|hook| hook(value))
    }
}

/// Names for one CONFIG GET pattern, each with its row and spelling.
fn names_matching(pattern: &[u8]) -> Vec<(String, SettingId, Spelling)> {
    if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
        let name = String::from_utf8_lossy(pattern).into_owned();
        return SettingId::find(&name).map(|(id, spelling)| (name, id, spelling)).into_iter().collect();
    }
    NAMES
        .iter()
        .filter(|(_, (id, _))| id.row().effect != Effect::Hidden)
        .filter(|(name, _)| glob_matches(pattern, name.as_bytes(), Case::Insensitive))
        .map(|(name, (id, spelling))| ((*name).to_owned(), *id, *spelling))
        .collect()
}

fn refused(name: &str, reason: &str) -> SetError {
    SetError::Refused { name: name.to_owned(), reason: reason.to_owned() }
}

/// The first address that would serve other machines without a password; `None` when that is allowed or does not
/// happen.
pub(super) fn exposed_address(bind: &str, password: &str, allowed: bool) -> Option<IpAddr> {
    if allowed || !password.is_empty() {
        return None;
    }
    special::bind_addresses(bind).into_iter().find(|address| !address.is_loopback())
}

/// The settings of every port that is listened on, each with that of its addresses.
pub const PORTS: [(SettingId, SettingId); 7] = [
    (SettingId::of("port"), BIND),
    (SettingId::of("tls-port"), BIND),
    (SettingId::of("http-port"), BIND),
    (SettingId::of("http-tls-port"), BIND),
    (SettingId::of("hustdb-port"), BIND),
    (SettingId::of("json-port"), BIND),
    (SettingId::of("admin-port"), SettingId::of("admin-bind")),
];

/// A port that two settings name for the same address, and the two.
pub(super) fn port_given_twice(entries: &[Entry]) -> Option<(i64, [SettingId; 2])> {
    let number = |port: SettingId| entries[port.index()].value.number;
    let addresses = |bind: SettingId| special::bind_addresses(&entries[bind.index()].value.text);
    let meet = |one: &IpAddr, other: &IpAddr| {
        let is_all = one.is_unspecified() || other.is_unspecified();
        one == other || (is_all && one.is_ipv4() == other.is_ipv4())
    };
    let clash = |one: (SettingId, SettingId), other: (SettingId, SettingId)| {
        number(one.0) == number(other.0)
            && addresses(one.1).iter().any(|address| addresses(other.1).iter().any(|second| meet(address, second)))
    };
    for (at, one) in PORTS.iter().enumerate().filter(|(_, (port, _))| number(*port) != 0) {
        if let Some(other) = PORTS[at + 1..].iter().find(|other| clash(*one, **other)) {
            return Some((number(one.0), [one.0, other.0]));
        }
    }
    None
}

/// Rows that the rules above are about.
pub(super) const BIND: SettingId = SettingId::of("bind");
pub(super) const REQUIREPASS: SettingId = SettingId::of("requirepass");
const ALLOW_UNPROTECTED: SettingId = SettingId::of("allow-unprotected");

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::config::SyncMode;
    use crate::config::load::tests::defaults;

    const NOTHING: [(&str, &str); 0] = [];

    fn get(settings: &Settings, name: &str) -> String {
        settings.get_matching(&[name]).remove(0).1
    }

    #[test]
    fn what_config_get_answers_config_set_takes_back_unchanged() {
        let settings = defaults();
        let before = settings.get_matching(&["*"]);
        assert!(100 < before.len());
        for (name, value) in before.iter().filter(|(name, _)| !["dir", "data-dir", "dbfilename"].contains(&&**name)) {
            assert_eq!(settings.set(&[(name, value)]), Ok(Vec::new()), "{name} {value}");
        }
        assert_eq!(settings.get_matching(&["*"]), before);
    }

    #[test]
    fn patterns_find_old_names_and_never_hidden_ones() {
        let settings = defaults();
        let names =
            |patterns: &[&str]| settings.get_matching(patterns).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&["*of", "REPLICAOF", "slaveof"]), ["replicaof", "slaveof", "REPLICAOF"]);
        assert!(names(&["*"]).iter().all(|name| name != "key-load-delay"));
        assert_eq!(names(&["key-load-delay", "no-such"]), ["key-load-delay"]);
    }

    #[test]
    fn both_names_of_a_setting_answer_in_their_own_words() {
        let settings = defaults();
        assert_eq!(settings.set(&[("appendfsync", "no")]).unwrap()[0].name, "sync");
        assert_eq!((get(&settings, "sync").as_str(), get(&settings, "appendfsync").as_str()), ("os", "no"));
        assert_eq!(settings.sync(), SyncMode::Os);
        settings.set(&[("hash-max-ziplist-entries", "7")]).unwrap();
        assert_eq!(get(&settings, "hash-max-listpack-entries"), "7");
        let refusal = settings.set(&[("loglevel", "loud")]).unwrap_err().to_string();
        assert!(refusal.ends_with("following: debug, verbose, notice, warning, error, nothing"), "{refusal}");
    }

    #[test]
    fn refusals_are_worded_as_redis_words_them_and_change_nothing() {
        let settings = defaults();
        let failed = |name: &str, reason: &str| {
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
        };
        let unknown = "ERR Unknown option or number of arguments for CONFIG SET - 'nope'".to_owned();
        let percent = failed("maxmemory-clients", "percentage argument must be less or equal to 100");
        let cases: [(&[(&str, &str)], String); 5] = [
            (&[("maxmemory", "1"), ("nope", "1")], unknown),
            (&[("maxmemory", "1"), ("maxmemory-clients", "200%")], percent),
            (&[("maxmemory", "1"), ("MAXMEMORY", "2")], failed("MAXMEMORY", "duplicate parameter")),
            (&[("maxmemory", "1"), ("daemonize", "yes")], failed("daemonize", "can't set immutable config")),
            (&[("maxmemory", "1"), ("dir", "/tmp")], failed("dir", "can't set protected config")),
        ];
        for (pairs, refusal) in cases {
            assert_eq!(settings.set(pairs).unwrap_err().to_string(), refusal);
            assert_eq!(settings.memory_bytes_max(), 0);
        }
        assert_eq!(settings.generation(), 0);
        assert_eq!(settings.set(&NOTHING), Ok(Vec::new()));
    }

    #[test]
    fn a_hook_makes_a_start_setting_live_and_its_refusal_takes_everything_back() {
        let settings = defaults();
        assert!(settings.set(&[("admin-port", "7000")]).is_err());
        let timeouts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&timeouts);
        settings.on_change(SettingId::of("timeout"), move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        settings.on_change(SettingId::of("admin-port"), |value| match value.number {
            1 => Err("Unable to listen on this port".to_owned()),
            _ => Ok(()),
        });
        let refusal = settings.set(&[("timeout", "5"), ("admin-port", "1"), ("maxmemory", "1mb")]).unwrap_err();
        assert!(refusal.to_string().ends_with("argument 'admin-port') - Unable to listen on this port"));
        assert_eq!(
            (settings.idle_seconds_max(), settings.text(SettingId::of("admin-port")), settings.memory_bytes_max()),
            (0, "9121".to_owned(), 0)
        );
        assert_eq!(timeouts.load(Ordering::Relaxed), 2, "agreed, then told of the old value");
        assert_eq!(settings.set(&[("admin-port", "7000")]).unwrap()[0].text, "7000");
    }

    #[test]
    fn reset_takes_back_what_config_set_changed() {
        let settings = defaults();
        settings.set(&[("maxmemory", "1mb"), ("appendfsync", "always")]).unwrap();
        assert_eq!(settings.reset().unwrap().len(), 2);
        assert_eq!((settings.memory_bytes_max(), settings.sync()), (0, SyncMode::EverySec));
        assert_eq!(settings.entry(SettingId::of("maxmemory")).source, Source::Default);
    }

    #[test]
    fn a_password_may_not_be_taken_away_from_a_server_others_can_reach() {
        assert_eq!(exposed_address("127.0.0.1 ::1 localhost", "", false), None);
        assert_eq!(exposed_address("127.0.0.1 10.0.0.1", "", false), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(exposed_address("*", "secret", false), None);
        assert_eq!(exposed_address("*", "", true), None);
        let settings = crate::config::load::tests::with_flags(&[("bind", "*"), ("requirepass", "secret")]);
        assert!(settings.set(&[("requirepass", "")]).is_err());
        assert_eq!(settings.password().as_deref(), Some("secret"));
    }
}
