//! The data directory as the operator names it: opening it, and what is said when that is refused.
//!
//! Deliberately not here: what is in it (`node`).
//!
//! Invariants: only `create` creates anything; every refusal says what to do next, where there is something to do.

use crate::exit::Exit;
use crate::serve::exit_of;
use env::{Disk, LockError, RealDisk};
use node::{OpenError, inspect};
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;

/// Where data is when nobody says otherwise, in the directory that a server was started in.
const DEFAULT_NAME: &str = "larder-data";

/// The directory, created when there is none.
///
/// # Errors
/// `Io`: it cannot be had, or is a file.
pub fn create(data_dir: &Path) -> Result<Arc<dyn Disk>, OpenError> {
    match RealDisk::open(data_dir) {
        Ok(disk) => Ok(Arc::new(disk)),
        Err(error) => Err(cannot_open(data_dir, error)),
    }
}

/// The directory, which must be there.
///
/// # Errors
/// As [`create`], and when there is none.
pub fn existing(data_dir: &Path) -> Result<Arc<dyn Disk>, OpenError> {
    std::fs::metadata(data_dir).map_err(|error| cannot_open(data_dir, error))?;
    create(data_dir)
}

/// Who else has the directory, if there is one and somebody has it.
pub fn holder(data_dir: &Path) -> Option<LockError> {
    inspect::holder(&*existing(data_dir).ok()?)
}

fn cannot_open(data_dir: &Path, source: Error) -> OpenError {
    let is_file = |path: &&Path| path.exists() && !path.is_dir();
    let source = match data_dir.ancestors().find(is_file) {
        Some(file) if file == data_dir => other("it is a file; --data-dir must name a directory".to_owned()),
        Some(file) => other(format!("{} is a file; --data-dir must name a directory", file.display())),
        None => source,
    };
    OpenError::Io { op: "open", file: data_dir.display().to_string(), source }
}

fn other(what: String) -> Error {
    Error::new(ErrorKind::NotADirectory, what)
}

/// Why the directory was refused, and what to do about it.
pub fn told(error: &OpenError, data_dir: &Path) -> String {
    match advice(error, data_dir) {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

fn advice(error: &OpenError, data_dir: &Path) -> Option<String> {
    let below = data_dir.join(DEFAULT_NAME);
    let dir = shell_word(data_dir);
    match error {
        OpenError::NoData { .. } if holds_data(&below) => Some(format!("--data-dir {} does", shell_word(&below))),
        OpenError::NoData { .. } => Some("--data-dir names the directory that does".to_owned()),
        OpenError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            Some(format!("--data-dir names the data directory, ./{DEFAULT_NAME} where nothing is said"))
        }
        error if exit_of(error) == Exit::DataCorrupt => Some(format!(
            "nothing was changed; `larder check --data-dir {dir}` names all that is damaged, \
             `larder repair --data-dir {dir}` says what could be given up to save the rest"
        )),
        _ => None,
    }
}

fn holds_data(data_dir: &Path) -> bool {
    existing(data_dir).is_ok_and(|disk| inspect::holds_data(&*disk).unwrap_or(false))
}

/// A path as a shell reads it.
pub fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+,:@%=".contains(char);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_would_take_it_apart() {
        for (path, word) in
            [("/srv/larder-1", "/srv/larder-1"), ("/my data", "'/my data'"), ("/it's;rm", r"'/it'\''s;rm'")]
        {
            assert_eq!(shell_word(Path::new(path)), word);
        }
    }

    #[test]
    fn damage_names_the_commands_for_it_with_the_directory() {
        let damaged = OpenError::Corrupt { file: "MANIFEST".into(), offset: 0, what: "it is bent".into() };
        let text = told(&damaged, Path::new("/my data"));
        for part in ["it is bent", "`larder check --data-dir '/my data'`", "`larder repair --data-dir '/my data'`"] {
            assert!(text.contains(part), "{text}");
        }
        let later = OpenError::Format { file: "MANIFEST".into(), format: 9 };
        assert_eq!(told(&later, Path::new("/d")), later.to_string());
    }
}
