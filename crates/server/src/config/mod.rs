//! Every setting of the server, stated once.
//!
//! A setting is one row of a table (`table.rs`; parameters kept only for Redis clients are in `compat.rs`).
//! Command-line flags, environment variables, the TOML file, `larder config`, CONFIG GET/SET/REWRITE and
//! `docs/configuration.md` are computed from the rows: nothing about a setting is written anywhere else.
//!
//! ```text
//! flag > environment > file > default     (load.rs, once)      -> Settings
//! CONFIG SET, CONFIG REWRITE              (settings.rs, rewrite.rs, while running)
//! ```
//!
//! Deliberately not here: what a setting does. Whoever acts on one reads it from `Settings`, asks to be told
//! with `Settings::on_change`, or watches `Settings::generation`.
//!
//! Invariants: a value held by `Settings` has passed its row's check; a refused change changes nothing; a name
//! means one row, whatever spelling it was found by.

mod compat;
mod kind;
mod load;
mod print;
mod readers;
mod rewrite;
mod settings;
mod special;
mod table;

use std::collections::BTreeMap;
use std::sync::LazyLock;

pub use kind::{Choice, Kind, Spelling, Value};
pub use load::{ConfigError, ConfigFile, FILE_VARIABLE, Inputs, Loaded, load};
pub use print::{effective_toml, reference_markdown, values_of};
pub use readers::{ClientClass, LogFormat, LogLevel, MaxmemoryPolicy, OutputLimit, SyncMode, TlsAuthClients};
pub use rewrite::{RewriteError, replace_file};
pub use settings::{ChangedSetting, Entry, PORTS, SetError, Settings, Source};

/// One row: all that is known about a setting. Its flag, variable and TOML key are computed from `name`.
#[derive(Debug)]
pub struct Setting {
    /// Lower case with dashes; also the flag, the TOML key and a CONFIG parameter.
    pub name: &'static str,
    /// Other CONFIG parameter names for the same setting: what Redis calls it, now or in former releases.
    pub also: &'static [&'static str],
    /// How values are read, checked and written.
    pub kind: Kind,
    /// The value when nobody says otherwise.
    pub default: &'static str,
    /// When it can change.
    pub reload: Reload,
    /// Whether it does anything.
    pub effect: Effect,
    /// Where help and documentation list it.
    pub group: Group,
    /// One sentence for help and documentation, without a final dot.
    pub summary: &'static str,
}

/// When a setting can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// At any time by CONFIG SET.
    Live,
    /// At start only, unless the running server has registered with `on_change` that it can do better.
    Start,
    /// At start only, and CONFIG SET says "protected", as Redis does for names of files and directories.
    Protected,
}

/// Whether a setting does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does what its summary says.
    Real,
    /// As `Real`, and its value is a secret: printed masked everywhere but in CONFIG GET.
    Secret,
    /// Accepted and given back so that clients of Redis go on working; changes nothing.
    Accepted,
    /// As `Accepted`, and found by its full name only, never by a pattern.
    Hidden,
}

/// Where help and documentation list a setting, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Addresses, connections and their limits.
    Network,
    /// Where and how safely data is kept.
    Storage,
    /// Memory and what happens at its limit.
    Memory,
    /// Passwords and exposure.
    Security,
    /// Logs, metrics and the slow log.
    Observability,
    /// Parameters of Redis without an effect here.
    Compatibility,
}

impl Group {
    /// Every group, in order.
    pub const ALL: [Group; 6] =
        [Group::Network, Group::Storage, Group::Memory, Group::Security, Group::Observability, Group::Compatibility];

    /// The heading in help and documentation.
    pub fn title(self) -> &'static str {
        match self {
            Group::Network => "Network",
            Group::Storage => "Storage",
            Group::Memory => "Memory",
            Group::Security => "Security",
            Group::Observability => "Observability",
            Group::Compatibility => "Accepted for compatibility",
        }
    }
}

impl Setting {
    /// The environment variable: `LARDER_` and the name in capitals with underscores.
    pub fn variable(&self) -> String {
        format!("LARDER_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// Whether its value must not be shown.
    pub fn is_secret(&self) -> bool {
        self.effect == Effect::Secret
    }

    /// Whether it does anything: only then it has a flag and an environment variable.
    pub fn is_real(&self) -> bool {
        matches!(self.effect, Effect::Real | Effect::Secret)
    }

    /// Whether it has one value for ever: a parameter without effect that Redis would not let change either.
    pub fn is_fixed(&self) -> bool {
        !self.is_real() && self.reload != Reload::Live
    }
}

/// A row's index: real settings first, then those kept for compatibility.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingId(usize);

impl SettingId {
    /// How many rows there are.
    pub const COUNT: usize = table::SETTINGS.len() + compat::ACCEPTED.len();

    /// The row of the real setting called `name`. For constants: an unknown name does not compile.
    ///
    /// # Panics
    /// When there is no such row.
    pub const fn of(name: &str) -> SettingId {
        let mut index = 0;
        while index < table::SETTINGS.len() {
            if const_str_equal(table::SETTINGS[index].name, name) {
                return SettingId(index);
            }
            index += 1;
        }
        panic!("no row of the settings table has this name");
    }

    /// The row by any of its names in any letter case, and whether that name is Larder's or Redis's.
    pub fn find(name: &str) -> Option<(SettingId, Spelling)> {
        NAMES.get(name.to_ascii_lowercase().as_str()).copied()
    }

    /// The row by the name that flags, variables and the TOML file use.
    pub fn find_own(name: &str) -> Option<SettingId> {
        Self::find(name).map(|(id, _)| id).filter(|id| id.row().name == name)
    }

    /// The row itself.
    pub fn row(self) -> &'static Setting {
        table::SETTINGS.get(self.0).unwrap_or_else(|| &compat::ACCEPTED[self.0 - table::SETTINGS.len()])
    }

    /// Every row, in table order.
    pub fn all() -> impl Iterator<Item = SettingId> {
        (0..Self::COUNT).map(SettingId)
    }

    /// The row as an array index, below `COUNT`.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Every CONFIG parameter name in order, old and foreign names included.
static NAMES: LazyLock<BTreeMap<&'static str, (SettingId, Spelling)>> = LazyLock::new(|| {
    let mut names = BTreeMap::new();
    for id in SettingId::all() {
        let row = id.row();
        let others = row.also.iter().map(|name| (*name, Spelling::Redis));
        for (name, spelling) in others.chain([(row.name, Spelling::Larder)]) {
            let taken = names.insert(name, (id, spelling));
            assert!(taken.is_none(), "a name must belong to one row");
        }
    }
    names
});

/// The name nearest to a mistyped one among those the TOML file knows, when it is near enough to be meant.
pub fn nearest_name(wrong: &str) -> Option<&'static str> {
    if let Some((id, _)) = SettingId::find(&wrong.replace('_', "-")) {
        return Some(id.row().name);
    }
    SettingId::all()
        .map(|id| id.row().name)
        .map(|name| (edit_distance(wrong, name), name))
        .min()
        .filter(|(distance, name)| distance * 3 <= name.len())
        .map(|(_, name)| name)
}

/// Levenshtein distance in characters; both texts are short names.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

const fn const_str_equal(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_one_row_and_every_default_passes_its_own_check() {
        assert!(SettingId::COUNT < NAMES.len());
        for id in SettingId::all() {
            let row = id.row();
            assert!(row.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b)));
            let value = row.kind.parse(row.default, row.default, Spelling::Larder);
            assert!(value.is_ok(), "{}: {value:?}", row.name);
            assert_eq!(row.is_real(), row.group != Group::Compatibility, "{}", row.name);
        }
    }

    #[test]
    fn defaults_that_other_crates_also_state_agree() {
        let default = |name: &str| SettingId::find(name).unwrap().0.row().default;
        assert_eq!(default("partitions"), base::ids::PARTITION_COUNT_DEFAULT.to_string());
        assert_eq!(default("databases"), base::ids::DB_COUNT.to_string());
    }

    #[test]
    fn redis_names_and_letter_case_do_not_matter() {
        assert_eq!(SettingId::find("AppendFsync"), Some((SettingId::of("sync"), Spelling::Redis)));
        assert_eq!(SettingId::find("sync"), Some((SettingId::of("sync"), Spelling::Larder)));
        assert_eq!(SettingId::find("no-such"), None);
        assert_eq!(SettingId::find_own("appendfsync"), None);
    }

    #[test]
    fn a_mistyped_name_finds_its_neighbour_and_nonsense_finds_none() {
        assert_eq!(nearest_name("maxmemroy"), Some("maxmemory"));
        assert_eq!(nearest_name("data_dir"), Some("data-dir"));
        assert_eq!(nearest_name("appendfsync"), Some("sync"));
        assert_eq!(nearest_name("colour-of-the-door"), None);
    }
}
