//! Rules on Rust files: each opens with its `//!`, none is very long, none holds unfinished code, none is dead.
//!
//! Deliberately not here: what clippy refuses already in compiled code; the word list below also covers code that no
//! target compiles, such as macros and files behind a feature.

use crate::step::{Failure, at, root};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of the longest file. Past 600 a file usually hides two nouns; this is where it is refused.
pub const LINES_MAX: usize = 900;
/// Folders with Rust files.
const FOLDERS: &[&str] = &["crates", "fuzz"];
/// Code that may not be merged, in two halves so that this file may.
const UNFINISHED: &[(&str, &str)] = &[
    ("todo", "!("),
    ("unimplemented", "!("),
    ("dbg", "!("),
    ("#[ign", "ore"),
    ("FIX", "ME"),
    ("// TODO", ":"),
    ("// TODO", " "),
];

/// A file and what it holds.
#[derive(Debug)]
pub struct Source {
    /// The path below the root.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

/// Every Rust file of the repository.
pub fn all() -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        if at(folder).is_dir() {
            collect(&at(folder), "rs", &mut sources)?;
        }
    }
    assert!(sources.iter().any(|source| source.path.ends_with("xtask/src/sources.rs")), "this file is one of them");
    Ok(sources)
}

/// Reads every file below `folder` whose name ends in `extension` into `sources`; built and installed files are passed over.
pub fn collect(folder: &Path, extension: &str, sources: &mut Vec<Source>) -> Result<(), Failure> {
    let io = |source| Failure::Io { what: folder.display().to_string(), source };
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with("node_modules") {
                collect(&path, extension, sources)?;
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            let text =
                fs::read_to_string(&path).map_err(|source| Failure::Io { what: path.display().to_string(), source })?;
            let path = path.strip_prefix(root()).unwrap_or(&path).to_owned();
            sources.push(Source { path, text });
        }
    }
    Ok(())
}

/// The rules broken, in words.
pub fn problems(sources: &[Source]) -> Vec<String> {
    let mut problems: Vec<String> = sources.iter().flat_map(problems_inside).collect();
    problems.extend(sources.iter().filter(|source| is_dead(source, sources)).map(|source| {
        format!("{}: no file beside or above it says `mod {};`", source.path.display(), stem(&source.path))
    }));
    problems
}

fn problems_inside(source: &Source) -> Vec<String> {
    let path = source.path.display();
    let mut problems = Vec::new();
    if !source.text.starts_with("//!") {
        problems.push(format!("{path}: must open with `//!`, saying what it is and what it is not"));
    }
    let lines_count = source.text.lines().count();
    if LINES_MAX < lines_count {
        problems.push(format!("{path}: {lines_count} lines, more than {LINES_MAX}"));
    }
    for (number, line) in (1..).zip(source.text.lines()) {
        let word = UNFINISHED.iter().map(|(head, tail)| format!("{head}{tail}")).find(|word| line.contains(word));
        problems.extend(word.map(|word| format!("{path}:{number}: `{word}` may not be merged")));
    }
    problems
}

/// Whether `source` lies below a crate's `src/` and no module declares it.
fn is_dead(source: &Source, sources: &[Source]) -> bool {
    let in_src = source.path.components().any(|part| part.as_os_str() == "src");
    let name = stem(&source.path);
    let is_root =
        matches!(name.as_str(), "lib" | "main") || source.path.parent().is_some_and(|folder| folder.ends_with("bin"));
    if !in_src || is_root {
        return false;
    }
    let declares = |line: &str| {
        let line = line.trim();
        line.strip_suffix(';').and_then(|line| line.rsplit_once("mod ")).is_some_and(|(_, declared)| declared == name)
    };
    !parents(&source.path)
        .iter()
        .filter_map(|parent| sources.iter().find(|other| other.path == *parent))
        .any(|parent| parent.text.lines().any(declares))
}

/// The files that can declare the module at `path`: the folder's `lib.rs`, `main.rs` or `mod.rs`, or `folder.rs`.
fn parents(path: &Path) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let folder = if path.ends_with("mod.rs") { folder.parent().unwrap_or(folder) } else { folder };
    let mut parents: Vec<PathBuf> = ["lib.rs", "main.rs", "mod.rs"].iter().map(|name| folder.join(name)).collect();
    parents.push(folder.with_extension("rs"));
    parents
}

/// The module's name: the file's, or its folder's for a `mod.rs`.
fn stem(path: &Path) -> String {
    let named = if path.ends_with("mod.rs") { path.parent().unwrap_or(path) } else { path };
    named.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: PathBuf::from(path), text: text.to_owned() }
    }

    fn count(text: &str) -> usize {
        problems(&[source("crates/x/tests/y.rs", text)]).len()
    }

    #[test]
    fn a_file_must_open_with_its_header() {
        assert_eq!(count("//! What it is.\n"), 0);
        assert_eq!(count("use std::fs;\n//! Too late.\n"), 1);
        assert_eq!(count(""), 1);
    }

    #[test]
    fn the_longest_file_is_allowed_and_one_line_more_is_not() {
        let lines = |count: usize| "//! Line.\n".repeat(count);
        assert_eq!(count(&lines(LINES_MAX)), 0);
        assert_eq!(count(&lines(LINES_MAX + 1)), 1);
    }

    #[test]
    fn unfinished_code_is_refused() {
        for (head, tail) in UNFINISHED {
            assert!(0 < count(&format!("//! Header.\n    {head}{tail}\n")), "{head}{tail}");
        }
    }

    #[test]
    fn a_file_no_module_declares_is_dead() {
        let lib = source("crates/x/src/lib.rs", "//! L.\npub mod a;\nmod b;\n");
        let a = source("crates/x/src/a.rs", "//! A.\n");
        let deep = source("crates/x/src/a/deep.rs", "//! D.\n");
        let b = source("crates/x/src/b/mod.rs", "//! B.\n");
        let dead = source("crates/x/src/dead.rs", "//! Dead.\n");
        let said = problems(&[lib, a, deep, b, dead]);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("deep.rs"));
        assert!(said[1].contains("dead.rs"));
    }
}
