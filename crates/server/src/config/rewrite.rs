//! CONFIG REWRITE: what CONFIG SET changed goes into the TOML file the server was started with.
//!
//! Only values change and lines are added: comments, order, blank lines and settings nobody changed stay byte for
//! byte. A value given by a flag or variable is not written, because it would be given again at the next start.
//!
//! Deliberately not: creating a file, or writing every setting (`larder config` does that).
//!
//! Source: CONFIG REWRITE of Redis, for its purpose and its error texts.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::kind::{Kind, Value};
use super::load::{ConfigError, ConfigFile, file_lines};
use super::settings::{Settings, Source};
use super::{SettingId, Spelling};

/// Why the file was not rewritten; it is unchanged then. `Display` is the RESP error line.
#[derive(Debug)]
pub enum RewriteError {
    /// There is no file to rewrite.
    NoFile,
    /// Someone has since written into it what larder cannot read.
    Unreadable(ConfigError),
    /// The system refused to replace it.
    Io(std::io::Error),
}

impl fmt::Display for RewriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RewriteError::NoFile => f.write_str("ERR The server is running without a config file"),
            RewriteError::Unreadable(error) => write!(f, "ERR Rewriting config file: {error}"),
            RewriteError::Io(error) => write!(f, "ERR Rewriting config file: {error}"),
        }
    }
}

impl std::error::Error for RewriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RewriteError::NoFile => None,
            RewriteError::Unreadable(error) => Some(error),
            RewriteError::Io(error) => Some(error),
        }
    }
}

impl Settings {
    /// Writes every change made by CONFIG SET into the configuration file.
    ///
    /// # Durability
    /// On return the file is on disk, old or new and never half of each.
    pub fn rewrite(&self) -> Result<(), RewriteError> {
        let path = self.file().ok_or(RewriteError::NoFile)?;
        let file = ConfigFile::read(path.to_owned()).map_err(RewriteError::Unreadable)?;
        let changes: Vec<(SettingId, Value)> = SettingId::all()
            .map(|id| (id, self.entry(id)))
            .filter(|(_, entry)| entry.source == Source::Runtime)
            .map(|(id, entry)| (id, entry.value))
            .collect();
        let text = rewritten(&file, &changes).map_err(RewriteError::Unreadable)?;
        replace_file(path, text.as_bytes()).map_err(RewriteError::Io)
    }
}

/// The file's text with `changes` in it.
fn rewritten(file: &ConfigFile, changes: &[(SettingId, Value)]) -> Result<String, ConfigError> {
    let mut lines = file_lines(file)?;
    let mut text = file.text.clone();
    let is_absent = |(id, _): &&(SettingId, Value)| lines.iter().all(|line| line.id != *id);
    let added: Vec<String> = changes.iter().filter(is_absent).map(|(id, value)| toml_line(*id, value)).collect();
    // From the last to the first, so that earlier spans stay true.
    lines.sort_by_key(|line| std::cmp::Reverse(line.value_span.start));
    for line in &lines {
        let wanted = changes.iter().find(|(id, _)| *id == line.id).map(|(_, value)| value);
        if let Some(value) = wanted.filter(|value| !is_same(line.id, &line.text, value)) {
            text.replace_range(line.value_span.clone(), &toml_value(line.id, value));
        }
    }
    if !added.is_empty() && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.extend(added);
    let written = file_lines(&ConfigFile { path: file.path.clone(), text: text.clone() })?;
    for (id, value) in changes {
        assert!(written.iter().any(|line| line.id == *id && is_same(*id, &line.text, value)), "a change reads back");
    }
    Ok(text)
}

fn is_same(id: SettingId, text: &str, value: &Value) -> bool {
    id.row().kind.parse(text, &value.text, Spelling::Larder).as_ref() == Ok(value)
}

/// `name = value` and a line end.
pub(super) fn toml_line(id: SettingId, value: &Value) -> String {
    format!("{} = {}\n", id.row().name, toml_value(id, value))
}

/// A value as TOML writes it.
pub(super) fn toml_value(id: SettingId, value: &Value) -> String {
    match id.row().kind {
        Kind::Flag => (value.number == 1).to_string(),
        Kind::Integer { .. } | Kind::PowerOfTwo { .. } => value.text.clone(),
        Kind::Lines(_) => toml::Value::from(value.text.lines().collect::<Vec<_>>()).to_string(),
        _ => toml::Value::String(id.row().kind.for_people(value)).to_string(),
    }
}

/// Replaces a file in one step: new contents and permissions of the old one beside it, fsync, rename, fsync of the
/// directory.
pub fn replace_file(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let mut beside = path.clone().into_os_string();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    file.set_permissions(std::fs::metadata(&path)?.permissions())?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&beside, &path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::super::load::{Inputs, load};
    use super::*;

    fn started_with(text: &str) -> (tempfile::TempDir, Settings) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("larder.toml");
        std::fs::write(&path, text).unwrap();
        let file = Some(ConfigFile::read(path).unwrap());
        let settings = load(Inputs { file, ..Inputs::default() }).unwrap().settings;
        (directory, settings)
    }

    fn contents(settings: &Settings) -> String {
        std::fs::read_to_string(settings.file().unwrap()).unwrap()
    }

    const FILE: &str =
        "# The pantry.\nmaxmemory = \"1gb\"   # generous\n\nbind = [\n  \"127.0.0.1\", # here\n]\ntimeout=0x10";

    #[test]
    fn comments_order_and_untouched_lines_survive() {
        let (_directory, settings) = started_with(FILE);
        settings.set(&[("maxmemory", "2gb"), ("timeout", "16"), ("requirepass", "a\"b\\c"), ("hz", "50")]).unwrap();
        settings.rewrite().unwrap();
        let expected = FILE.replace("\"1gb\"", "\"2gb\"") + "\nrequirepass = 'a\"b\\c'\nhz = 50\n";
        assert_eq!(contents(&settings), expected);
        settings.rewrite().unwrap();
        assert_eq!(contents(&settings), expected, "a second time changes nothing");
        let file = ConfigFile::read(settings.file().unwrap().to_owned()).unwrap();
        let again = load(Inputs { file: Some(file), ..Inputs::default() }).unwrap().settings;
        assert_eq!(again.get_matching(&["*"]), settings.get_matching(&["*"]));
    }

    #[test]
    fn nothing_is_written_when_nothing_was_changed() {
        let (_directory, settings) = started_with(FILE);
        settings.rewrite().unwrap();
        assert_eq!(contents(&settings), FILE);
    }

    #[test]
    fn a_file_that_became_unreadable_is_left_alone() {
        let (_directory, settings) = started_with(FILE);
        std::fs::write(settings.file().unwrap(), "colour = 1\n").unwrap();
        settings.set(&[("maxmemory", "2gb")]).unwrap();
        let refusal = settings.rewrite().unwrap_err().to_string();
        assert!(refusal.starts_with("ERR Rewriting config file: "), "{refusal}");
        assert_eq!(contents(&settings), "colour = 1\n");
    }

    #[test]
    fn without_a_file_the_refusal_is_that_of_redis() {
        let settings = super::super::load::tests::defaults();
        assert_eq!(settings.rewrite().unwrap_err().to_string(), "ERR The server is running without a config file");
    }
}
