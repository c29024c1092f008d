//! Settings at start: flags over environment over the TOML file over defaults.
//!
//! Deliberately not: reading the outside world. The caller hands in flags, variables and the file's text, so that
//! every rule here is tested without a process.
//!
//! The file is flat: `name = value`, with numbers, `true`/`false`, strings, or lists of strings. An unknown key is an
//! error, because a mistyped setting that is silently ignored is the costly kind. An unknown `LARDER_` variable is
//! a warning only: container platforms set some of that form for every service (`LARDER_PORT=tcp://10.0.0.1:6379`).

use std::fmt;
use std::path::PathBuf;

use base::number::parse_i64;
use toml::de::{DeArray, DeTable, DeValue};

use super::kind::{Kind, Spelling};
use super::print::MASK;
use super::rewrite::toml_line;
use super::settings::{Entry, Settings, Source, exposed_address, port_given_twice};
use super::{SettingId, nearest_name};

/// What all variables of ours start with.
const VARIABLE_PREFIX: &str = "LARDER_";
/// The variable that names the configuration file.
pub const FILE_VARIABLE: &str = "LARDER_CONFIG";

/// A configuration file as it was read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// Everything said about settings at start.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Values from the command line, of rows with a flag.
    pub flags: Vec<(SettingId, String)>,
    /// Environment variables; those without our prefix are ignored.
    pub variables: Vec<(String, String)>,
    /// The configuration file, when one was named.
    pub file: Option<ConfigFile>,
}

/// Settings, and what the operator should hear about them once logging works.
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Sentences, none of which is fatal.
    pub warnings: Vec<String>,
}

/// Why the settings cannot be used.
#[derive(Debug)]
pub enum ConfigError {
    /// The file named by `--config` cannot be read.
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not TOML, or a value has no place in it.
    FileSyntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The file sets something that does not exist.
    KeyUnknown {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// As written.
        key: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// A value is not one that its setting can have.
    ValueRefused {
        /// The setting.
        name: &'static str,
        /// Where the value comes from.
        source: Source,
        /// What is wrong.
        reason: String,
    },
    /// Two settings name the same port of the same address.
    PortTwice {
        /// The port.
        port: i64,
        /// The settings, with where each value comes from.
        settings: [(&'static str, Source); 2],
    },
    /// Other machines would reach the data without a password.
    Exposed {
        /// The first such address.
        address: std::net::IpAddr,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::FileUnreadable { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            ConfigError::FileSyntax { path, line, problem } => write!(f, "{}:{line}: {problem}", path.display()),
            ConfigError::KeyUnknown { path, line, key, nearest } => {
                write!(f, "{}:{line}: unknown setting `{key}`", path.display())?;
                nearest.map_or(Ok(()), |name| write!(f, "; did you mean `{name}`?"))
            }
            ConfigError::ValueRefused { name, source, reason } => write!(f, "`{name}` ({source}): {reason}"),
            ConfigError::PortTwice { port, settings: [(one, one_source), (other, other_source)] } => write!(
                f,
                "`{one}` ({one_source}) and `{other}` ({other_source}) are both {port}; give one of them another port"
            ),
            ConfigError::Exposed { address } => write!(
                f,
                "refusing to serve {address} without a password: other machines can reach it; \
                 either set one with --requirepass (or LARDER_REQUIREPASS), \
                 or say --allow-unprotected if the network itself keeps strangers out"
            ),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConfigError::FileUnreadable { source, .. } => Some(source),
            ConfigError::FileSyntax { .. }
            | ConfigError::KeyUnknown { .. }
            | ConfigError::ValueRefused { .. }
            | ConfigError::PortTwice { .. }
            | ConfigError::Exposed { .. } => None,
        }
    }
}

impl ConfigFile {
    /// Reads the file at `path`.
    pub fn read(path: PathBuf) -> Result<ConfigFile, ConfigError> {
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(ConfigFile { path, text }),
            Err(source) => Err(ConfigError::FileUnreadable { path, source }),
        }
    }
}

/// Settles every setting.
///
/// # Errors
/// The first thing that is wrong, in the order file, environment, flags.
pub fn load(inputs: Inputs) -> Result<Loaded, ConfigError> {
    let mut draft = Draft { entries: default_entries(), warnings: Vec::new() };
    if let Some(file) = &inputs.file {
        draft.take_file(file)?;
    }
    for (variable, text) in &inputs.variables {
        draft.take_variable(variable, text)?;
    }
    for (id, text) in &inputs.flags {
        draft.take(*id, text, Source::Flag)?;
    }
    draft.finish(inputs.file.map(|file| file.path))
}

/// The value that every row starts from.
pub(super) fn default_entries() -> Vec<Entry> {
    let entry = |id: SettingId| {
        let row = id.row();
        let value = row.kind.parse(row.default, row.default, Spelling::Larder);
        // Every row's default is checked by a test; a path fails only where the current directory is gone.
        let value = value.unwrap_or_else(|_| super::Value { text: row.default.to_owned(), number: 0 });
        Entry { value, source: Source::Default }
    };
    SettingId::all().map(entry).collect()
}

struct Draft {
    entries: Vec<Entry>,
    warnings: Vec<String>,
}

impl Draft {
    fn take(&mut self, id: SettingId, text: &str, source: Source) -> Result<(), ConfigError> {
        let row = id.row();
        if row.is_secret() && text == MASK {
            let reason = format!("`{MASK}` is what `larder config` shows for it; write what it is, or leave it out");
            return Err(ConfigError::ValueRefused { name: row.name, source, reason });
        }
        let current = &self.entries[id.index()].value.text;
        match row.kind.parse(text, current, Spelling::Larder) {
            Ok(value) if row.is_fixed() && value != self.entries[id.index()].value => {
                let reason = format!("is always `{}` here", self.entries[id.index()].value.text);
                Err(ConfigError::ValueRefused { name: row.name, source, reason })
            }
            Ok(value) => {
                self.entries[id.index()] = Entry { value, source };
                Ok(())
            }
            Err(mut reason) => {
                // CONFIG SET keeps to Redis's words; here is room for an example.
                let is_size = matches!(row.kind, Kind::Bytes { .. } | Kind::BytesOrPercent);
                if is_size && !text.as_bytes().last().is_some_and(u8::is_ascii_digit) {
                    reason.push_str(", such as 512mb or 20gb");
                }
                Err(ConfigError::ValueRefused { name: row.name, source, reason })
            }
        }
    }

    fn take_file(&mut self, file: &ConfigFile) -> Result<(), ConfigError> {
        for line in file_lines(file)? {
            let source = Source::File { path: file.path.clone(), line: line.number };
            if !line.id.row().is_real() {
                self.warnings.push(format!("{source}: `{}` has no effect in larder", line.id.row().name));
            }
            self.take(line.id, &line.text, source)?;
        }
        Ok(())
    }

    fn take_variable(&mut self, variable: &str, text: &str) -> Result<(), ConfigError> {
        let Some(tail) = variable.strip_prefix(VARIABLE_PREFIX) else { return Ok(()) };
        let is_meant = |id: &SettingId| id.row().is_real() && id.row().variable() == variable;
        match SettingId::all().find(is_meant) {
            Some(_) if text.starts_with("tcp://") => {
                self.warnings.push(format!("{variable}={text} was set by the container platform and is ignored"));
                Ok(())
            }
            Some(id) => self.take(id, text, Source::Environment(variable.to_owned())),
            None if variable == FILE_VARIABLE => Ok(()),
            None => {
                let nearest = nearest_name(&tail.to_ascii_lowercase().replace('_', "-"))
                    .and_then(SettingId::find_own)
                    .map_or(String::new(), |id| format!("; did you mean {}?", id.row().variable()));
                self.warnings.push(format!("the variable {variable} names no setting{nearest}"));
                Ok(())
            }
        }
    }

    fn finish(self, file: Option<PathBuf>) -> Result<Loaded, ConfigError> {
        let value = |name: &str| SettingId::find(name).map(|(id, _)| &self.entries[id.index()].value);
        let text = |name: &str| value(name).map_or("", |value| value.text.as_str());
        // Whether named users keep strangers out is seen when they are read.
        let names_users = !text("aclfile").is_empty() || !text("users").is_empty();
        let allowed = names_users || text("allow-unprotected") == "yes";
        if let Some(address) = exposed_address(text("bind"), text("requirepass"), allowed) {
            return Err(ConfigError::Exposed { address });
        }
        if let Some((port, ids)) = port_given_twice(&self.entries) {
            let settings = ids.map(|id| (id.row().name, self.entries[id.index()].source.clone()));
            return Err(ConfigError::PortTwice { port, settings });
        }
        Ok(Loaded { settings: Settings::new(self.entries, file), warnings: self.warnings })
    }
}

/// One `name = value` of the file.
#[derive(Debug)]
pub(super) struct FileLine {
    pub id: SettingId,
    /// Counted from 1.
    pub number: usize,
    /// The value as flags would write it.
    pub text: String,
    /// Where the value stands in the file, in bytes.
    pub value_span: std::ops::Range<usize>,
}

/// The TOML of a line of `redis.conf`, or of one whose value lacks its quotes. A password is not repeated.
fn toml_instead_of(line: &str) -> Option<String> {
    let line = line.trim();
    let (name, rest) = line.split_at(line.find(|c: char| c.is_whitespace() || c == '=')?);
    let rest = rest.trim_start();
    let text = rest.trim_start_matches('=').trim();
    let is_toml = rest.starts_with('=') && (parse_i64(text.as_bytes()).is_some() || text == "true" || text == "false");
    if is_toml || text.is_empty() || text.contains(['"', '\'']) {
        return None;
    }
    let (id, _) = SettingId::find(name)?;
    if id.row().is_secret() {
        return Some(format!("{} = \"…\"", id.row().name));
    }
    let value = id.row().kind.parse(text, "", Spelling::Larder).ok()?;
    Some(toml_line(id, &value).trim_end().to_owned())
}

/// Every setting of the file in the order of its lines.
pub(super) fn file_lines(file: &ConfigFile) -> Result<Vec<FileLine>, ConfigError> {
    let line_of = |offset: usize| 1 + file.text[..offset].bytes().filter(|byte| *byte == b'\n').count();
    let syntax = |offset: usize, problem: String| {
        let line = line_of(offset.min(file.text.len()));
        ConfigError::FileSyntax { path: file.path.clone(), line, problem }
    };
    let table = DeTable::parse(&file.text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let line = file.text.lines().nth(line_of(offset.min(file.text.len())) - 1).unwrap_or("");
        let hint = toml_instead_of(line).map_or(String::new(), |toml| format!("; write `{toml}`"));
        syntax(offset, format!("{}{hint}", error.message()))
    })?;
    let mut lines = Vec::new();
    for (key, value) in table.get_ref() {
        let number = line_of(key.span().start);
        let Some(id) = SettingId::find_own(key.get_ref()) else {
            let (path, key) = (file.path.clone(), key.get_ref().clone().into_owned());
            let nearest = nearest_name(&key);
            return Err(ConfigError::KeyUnknown { path, line: number, key, nearest });
        };
        let text = value_text(value.get_ref(), id.row().kind.separator()).ok_or_else(|| {
            syntax(value.span().start, format!("`{}` needs text, a number, true or false", id.row().name))
        })?;
        lines.push(FileLine { id, number, text, value_span: value.span() });
    }
    lines.sort_by_key(|line| line.number);
    Ok(lines)
}

fn value_text(value: &DeValue<'_>, separator: &str) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
        }
        DeValue::Boolean(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
        DeValue::Array(items) => array_text(items, separator),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn array_text(items: &DeArray<'_>, separator: &str) -> Option<String> {
    let words: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
    words.map(|words| words.join(separator))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Settings nobody said anything about.
    pub fn defaults() -> Settings {
        load(Inputs::default()).unwrap().settings
    }

    /// Settings with these flags.
    pub fn with_flags(flags: &[(&str, &str)]) -> Settings {
        let flags = flags.iter().map(|(name, text)| (SettingId::find_own(name).unwrap(), (*text).to_owned()));
        load(Inputs { flags: flags.collect(), ..Inputs::default() }).unwrap().settings
    }

    fn from_file(text: &str) -> Result<Loaded, ConfigError> {
        let file = Some(ConfigFile { path: PathBuf::from("larder.toml"), text: text.to_owned() });
        load(Inputs { file, ..Inputs::default() })
    }

    fn refusal(text: &str) -> String {
        from_file(text).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn flags_beat_variables_beat_the_file_beats_defaults() {
        let text = "port = 1\nmaxclients = 1\ntimeout = 1\n".to_owned();
        let variable = |name: &str| (name.to_owned(), "2".to_owned());
        let settings = load(Inputs {
            flags: vec![(SettingId::of("port"), "3".to_owned())],
            variables: vec![variable("LARDER_PORT"), variable("LARDER_MAXCLIENTS"), variable("OTHER")],
            file: Some(ConfigFile { path: PathBuf::from("larder.toml"), text }),
        })
        .unwrap()
        .settings;
        let values = (settings.port(), settings.clients_max(), settings.idle_seconds_max());
        assert_eq!(values, (3, 2, 1));
        let source = |name: &str| settings.entry(SettingId::find_own(name).unwrap()).source.to_string();
        let sources = ["port", "maxclients", "timeout", "sync"].map(source);
        assert_eq!(sources, ["flag", "environment LARDER_MAXCLIENTS", "larder.toml:3", "default"]);
    }

    #[test]
    fn the_file_takes_every_natural_form_of_a_value() {
        let text = "bind = [\"127.0.0.1\", \"::1\"]\nmaxmemory = \"1gb\" # comment\nsegment-bytes = 0x100_0000\n\
                    allow-unprotected = true\nslowlog-log-slower-than = -1\n";
        let settings = from_file(text).unwrap().settings;
        assert_eq!(settings.bind_addresses().len(), 2);
        assert_eq!((settings.memory_bytes_max(), settings.segment_bytes()), (1 << 30, 1 << 24));
        assert_eq!((settings.number(SettingId::of("allow-unprotected")), settings.slowlog_from_us()), (1, -1));
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named_with_its_line() {
        let cases = [
            ("port = 1\nmaxmemroy = 1\n", "larder.toml:2: unknown setting `maxmemroy`; did you mean `maxmemory`?"),
            ("appendfsync = \"always\"", "larder.toml:1: unknown setting `appendfsync`; did you mean `sync`?"),
            ("[door]\ncolour = 1", "larder.toml:1: unknown setting `door`"),
            ("\nport = 1.5", "larder.toml:2: `port` needs text, a number, true or false"),
            ("port = \"x\"", "`port` (larder.toml:1): argument couldn't be parsed into an integer"),
            ("databases = 4", "`databases` (larder.toml:1): is always `16` here"),
            (
                "maxmemory = \"1gib\"",
                "`maxmemory` (larder.toml:1): argument must be a memory value, such as 512mb or 20gb",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(refusal(text), expected);
        }
        assert!(refusal("port = 1\nport = 2").starts_with("larder.toml:2: "));
        assert!(refusal("port = ").starts_with("larder.toml:1: "));
        let hints = [
            ("# mine\n\nmaxmemory 1gb\n", Some("maxmemory = \"1gb\"")),
            ("maxmemory = 1gb", Some("maxmemory = \"1gb\"")),
            ("maxmemory=1gb", Some("maxmemory = \"1gb\"")),
            ("port 7", Some("port = 7")),
            ("appendfsync no", Some("sync = \"os\"")),
            ("requirepass hunter2", Some("requirepass = \"…\"")),
            ("requirepass = hunter2", Some("requirepass = \"…\"")),
            ("port 007", None),
            ("port = ", None),
            ("port = 1\nport = 2", None),
            ("bind = \"x", None),
            ("logfile \"\"", None),
            ("colour blue", None),
        ];
        for (text, hint) in hints {
            let refusal = refusal(text);
            assert_eq!(refusal.split_once("; write `").map(|(_, hint)| hint), hint.map(|h| format!("{h}`")).as_deref());
            assert!(refusal.starts_with("larder.toml:") && !refusal.contains("hunter2"), "{refusal}");
        }
    }

    #[test]
    fn a_port_that_two_doors_would_share_is_refused_with_both_names() {
        let cases = [
            (
                "port = 8080",
                "`port` (larder.toml:1) and `http-port` (default) are both 8080; give one of them another port",
            ),
            (
                "admin-port = 6379",
                "`port` (default) and `admin-port` (larder.toml:1) are both 6379; give one of them another port",
            ),
            (
                "port = 7\nadmin-port = 7\nbind = \"127.0.0.1 ::1\"\nadmin-bind = \"::1\"",
                "`port` (larder.toml:1) and `admin-port` (larder.toml:2) are both 7; give one of them another port",
            ),
            (
                "hustdb-port = 7\nadmin-port = 7\nadmin-bind = \"*\"",
                "`hustdb-port` (larder.toml:1) and `admin-port` (larder.toml:2) are both 7; give one of them another port",
            ),
            ("port = 7\nadmin-port = 7\nadmin-bind = \"::1\"", ""),
            ("port = 0\nhttp-port = 0\nadmin-port = 0", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(refusal(text), expected);
        }
    }

    #[test]
    fn what_does_nothing_is_said_aloud() {
        let loaded = from_file("hz = 100\n").unwrap();
        assert_eq!(loaded.warnings, ["larder.toml:1: `hz` has no effect in larder"]);
        let variables = [("LARDER_PORT", "tcp://10.0.0.1:6379"), ("LARDER_MAX_MEMORY", "1gb"), ("LARDER_CONFIG", "x")];
        let variables = variables.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
        let loaded = load(Inputs { variables, ..Inputs::default() }).unwrap();
        assert_eq!(loaded.settings.port(), 6379);
        assert!(loaded.warnings[0].starts_with("LARDER_PORT=tcp://10.0.0.1:6379 was set by the container"));
        assert!(loaded.warnings[1].ends_with("names no setting; did you mean LARDER_MAXMEMORY?"));
        assert_eq!(loaded.warnings.len(), 2);
    }

    #[test]
    fn serving_others_without_a_password_is_refused_with_both_remedies() {
        let words = refusal("bind = \"*\"");
        for part in ["0.0.0.0", "--requirepass", "--allow-unprotected"] {
            assert!(words.contains(part), "{words}");
        }
        assert!(from_file("bind = \"*\"\nrequirepass = \"x\"").is_ok());
        assert!(from_file("bind = \"*\"\nallow-unprotected = true").is_ok());
    }
}
