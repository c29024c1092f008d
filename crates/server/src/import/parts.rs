//! What a source consists of: one file, or the files that the manifest of an append-only file names.
//!
//! ```text
//! file appendonly.aof.1.base.rdb seq 1 type b
//! file appendonly.aof.3.incr.aof seq 3 type i        h: history, which nobody reads any more
//! ```
//! Deliberately not here: what is in the files.
//!
//! Source: behaviour of Redis 7.0 `aof.c`.

use super::Failure;
use std::path::{Path, PathBuf};
use wire::args::Ranges;

const MANIFEST_SUFFIX: &str = ".manifest";
/// Bytes of a manifest: it has a line per file.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Names of what could be imported that are shown where something else was given.
const SOURCES_SHOWN: usize = 3;

/// One file of the source, in the order in which they are read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Whether a crash may have cut it off: nothing comes after it.
    pub is_last: bool,
}

/// The files of `source`.
pub(super) fn of(source: &Path) -> Result<Vec<Part>, Failure> {
    let failure = |what: String| Failure::Source { path: source.to_owned(), what };
    let found = std::fs::metadata(source).map_err(|error| failure(format!("cannot be opened: {error}")))?;
    let paths = if found.is_dir() {
        manifest_files(&manifest_in(source)?)?
    } else if source.to_string_lossy().ends_with(MANIFEST_SUFFIX) {
        manifest_files(source)?
    } else {
        vec![source.to_owned()]
    };
    // Before anything was appended an append-only file is empty; a copy that failed is, too.
    if found.is_file() && found.len() == 0 {
        return Err(failure("is empty: there is nothing to import".to_owned()));
    }
    let count = paths.len();
    paths.into_iter().enumerate().map(|(at, path)| part(path, at + 1 == count)).collect()
}

fn part(path: PathBuf, is_last: bool) -> Result<Part, Failure> {
    match std::fs::metadata(&path) {
        Ok(found) if found.is_file() && found.len() == 0 && path.extension().is_some_and(|name| name == "rdb") => {
            Err(Failure::Source { path, what: "is empty, which no RDB file is".to_owned() })
        }
        Ok(found) if found.is_file() => Ok(Part { path, bytes: found.len(), is_last }),
        Ok(_) => Err(Failure::Source { path, what: "is not a file".to_owned() }),
        Err(error) => Err(Failure::Source { path, what: format!("cannot be opened: {error}") }),
    }
}

fn manifest_in(dir: &Path) -> Result<PathBuf, Failure> {
    let failure = |what: &str| Failure::Source { path: dir.to_owned(), what: what.to_owned() };
    let names = std::fs::read_dir(dir).map_err(|error| failure(&format!("cannot be listed: {error}")))?;
    let mut paths: Vec<PathBuf> = names.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut manifests = paths.iter().filter(|path| path.to_string_lossy().ends_with(MANIFEST_SUFFIX));
    match (manifests.next(), manifests.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) => Err(failure(&without_manifest(&paths))),
        (Some(_), Some(_)) => Err(failure("has several manifests in it; give one of them")),
    }
}

/// What to say of a directory that holds `paths` and none of an append-only file.
fn without_manifest(paths: &[PathBuf]) -> String {
    if paths.iter().any(|path| path.ends_with(node::manifest::MANIFEST_PATH)) {
        return "is a data directory of Larder; serve it with --data-dir".to_owned();
    }
    let is_source = |path: &&PathBuf| match path.extension() {
        Some(extension) => path.is_file() && (extension == "rdb" || extension == "aof"),
        None => path.ends_with("appendonlydir"),
    };
    let sources = paths.iter().filter(is_source).take(SOURCES_SHOWN);
    let sources: Vec<String> = sources.map(|path| path.display().to_string()).collect();
    match sources.as_slice() {
        [] => "holds nothing to import: neither the manifest of an append-only file, as an appendonlydir does, nor an \
               RDB file (dump.rdb)"
            .to_owned(),
        sources => format!("is not itself something to import; give {}", sources.join(" or ")),
    }
}

fn manifest_files(manifest: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failure = |what: String| Failure::Source { path: manifest.to_owned(), what };
    let bytes = std::fs::metadata(manifest).map_err(|error| failure(format!("cannot be opened: {error}")))?.len();
    if MANIFEST_BYTES_MAX < bytes {
        return Err(failure("is longer than any manifest".to_owned()));
    }
    let text = std::fs::read_to_string(manifest).map_err(|error| failure(format!("cannot be read: {error}")))?;
    let names = files_in_order(&text).map_err(failure)?;
    let dir = manifest.parent().unwrap_or(Path::new("."));
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

/// Base first, then what was appended, ascending.
fn files_in_order(text: &str) -> Result<Vec<String>, String> {
    let mut files: Vec<(bool, u64, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, number, kind) = file_line(line).ok_or_else(|| format!("has a line that says nothing: {line}"))?;
        match kind {
            b'b' if files.iter().any(|(is_appended, ..)| !is_appended) => return Err("names two base files".to_owned()),
            b'b' => files.push((false, number, name)),
            b'i' => files.push((true, number, name)),
            _ => {}
        }
    }
    files.sort();
    if files.is_empty() { Err("names no file".to_owned()) } else { Ok(files.into_iter().map(|file| file.2).collect()) }
}

/// Name, number and kind of the file that a line speaks of.
fn file_line(line: &str) -> Option<(String, u64, u8)> {
    let mut words = Ranges::new();
    wire::inline::split(line.as_bytes(), &mut words).ok()?;
    let words = words.args(b"");
    let (mut name, mut number, mut kind) = (None, None, None);
    for at in (0..words.count()).step_by(2) {
        let word = std::str::from_utf8(words.nth(at + 1)?).ok()?;
        match words.at(at) {
            b"file" if !word.contains('/') => name = Some(word.to_owned()),
            b"seq" => number = word.parse().ok(),
            b"type" => kind = word.bytes().next().filter(|kind| b"bih".contains(kind)),
            _ => {}
        }
    }
    Some((name?, number?, kind?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_base_first_and_without_history() {
        let text = "# a comment\nfile a.aof.4.incr.aof seq 4 type i\nfile a.aof.1.incr.aof seq 1 type h\n\
                    file \"a b.aof.2.base.rdb\" seq 2 type b\nfile a.aof.3.incr.aof seq 3 type i extra word\n";
        let files = files_in_order(text).unwrap();
        assert_eq!(files, ["a b.aof.2.base.rdb", "a.aof.3.incr.aof", "a.aof.4.incr.aof"]);
    }

    #[test]
    fn manifests_that_say_too_little_or_too_much_are_refused() {
        for text in [
            "",
            "file a seq 1",
            "file a seq x type b",
            "file a seq 1 type z",
            "file ../../etc/passwd seq 1 type b",
            "file a seq 1 type b\nfile b seq 2 type b",
            "file \"a seq 1 type b",
            "garbage",
        ] {
            assert!(files_in_order(text).is_err(), "{text:?}");
        }
    }
}
