//! Which crate may use which: arrows point down only, and no crate uses what it must not know.
//!
//! ```text
//! server > node > commands > replication, cluster > keyspace, rdb, script > journal > wire > env > base
//! sim, bench, xtask: may use anything; used by nobody, except sim in tests
//! ```
//!
//! Deliberately not here: use of single functions (clippy's `disallowed-methods` keeps clocks and files where they
//! belong). Source: `cargo metadata`, so that what is checked is what is built.

use crate::step::{Failure, cargo};
use serde_json::Value;

/// The crates that make the product, topmost first. Crates of one row do not use each other.
const ROWS: &[&[&str]] = &[
    &["server"],
    &["node"],
    &["commands"],
    &["replication", "cluster"],
    &["keyspace", "rdb", "script"],
    &["journal"],
    &["wire"],
    &["env"],
    &["base"],
];
/// Crates of development: free to use any, and used by none.
const TOOLS: &[&str] = &["sim", "bench", "xtask"];
/// What a crate does not know, beyond what lies above it: crates of ours and of others.
const UNKNOWN: &[(&str, &[&str])] = &[
    ("commands", &["env", "tokio", "hyper", "socket2", "rustix"]),
    ("replication", &["env", "tokio", "hyper", "socket2", "rustix"]),
    ("cluster", &["env", "tokio", "hyper", "socket2", "rustix"]),
    ("keyspace", &["wire", "tokio", "hyper", "socket2", "rustix"]),
    ("rdb", &["wire", "env", "tokio", "hyper", "socket2", "rustix"]),
    ("script", &["env", "journal", "tokio", "hyper", "socket2", "rustix"]),
    ("journal", &["wire", "tokio", "hyper", "socket2", "rustix"]),
    ("wire", &["env", "tokio", "hyper", "socket2", "rustix"]),
    ("base", &["tokio", "hyper", "socket2", "rustix"]),
];

/// One crate using another.
#[derive(Debug, PartialEq)]
pub struct Edge {
    /// The crate whose `Cargo.toml` names the other.
    pub user: String,
    /// The crate named.
    pub used: String,
    /// Whether only tests, benches and examples use it.
    pub tests_only: bool,
}

/// Every edge that starts in a crate of this workspace.
pub fn workspace() -> Result<Vec<Edge>, Failure> {
    let mut command = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let output = command.output().map_err(|source| Failure::Io { what: format!("{command:?}"), source })?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| Failure::Metadata { what: error.to_string() })?;
    let packages = list(&metadata, "packages")?;
    let mut edges = Vec::new();
    for package in packages {
        for dependency in list(package, "dependencies")? {
            edges.push(Edge {
                user: text(package, "name")?,
                used: text(dependency, "name")?,
                tests_only: dependency["kind"] == "dev",
            });
        }
    }
    assert!(!edges.is_empty(), "a workspace of crates has edges");
    Ok(edges)
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>, Failure> {
    value[key].as_array().ok_or_else(|| Failure::Metadata { what: format!("no list of {key}") })
}

fn text(value: &Value, key: &str) -> Result<String, Failure> {
    value[key].as_str().map(str::to_owned).ok_or_else(|| Failure::Metadata { what: format!("no {key}") })
}

/// The edges that may not be, in words.
pub fn problems(edges: &[Edge]) -> Vec<String> {
    edges.iter().filter_map(problem).collect()
}

fn problem(edge: &Edge) -> Option<String> {
    let Edge { user, used, tests_only } = edge;
    if TOOLS.contains(&user.as_str()) {
        return None;
    }
    if TOOLS.contains(&used.as_str()) {
        let allowed = used == "sim" && *tests_only;
        return (!allowed).then(|| format!("{user} uses {used}, which is for development only"));
    }
    let Some(user_row) = row(user) else {
        return Some(format!("{user} has no row in the drawing of crates (crates/xtask/src/edges.rs)"));
    };
    if row(used).is_some_and(|used_row| used_row <= user_row) {
        return Some(format!("{user} uses {used}: arrows point down only"));
    }
    let unknown = UNKNOWN.iter().any(|(name, strangers)| name == user && strangers.contains(&used.as_str()));
    (unknown && !tests_only).then(|| format!("{user} uses {used}, which it must not know"))
}

fn row(name: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(user: &str, used: &str, tests_only: bool) -> Option<String> {
        problem(&Edge { user: user.to_owned(), used: used.to_owned(), tests_only })
    }

    #[test]
    fn every_edge_up_or_sideways_is_refused_and_every_other_down_is_allowed() {
        let names: Vec<&str> = ROWS.iter().flat_map(|row| row.iter().copied()).collect();
        for user in &names {
            for used in &names {
                let down = row(user) < row(used);
                let known = !UNKNOWN.iter().any(|(name, strangers)| name == user && strangers.contains(used));
                assert_eq!(said(user, used, false).is_none(), down && known, "{user} -> {used}");
            }
        }
    }

    #[test]
    fn what_a_crate_must_not_know_is_refused() {
        assert!(said("keyspace", "tokio", false).is_some());
        assert!(said("wire", "env", false).is_some());
        assert!(said("commands", "env", false).is_some());
        assert!(said("server", "tokio", false).is_none());
    }

    #[test]
    fn development_crates_are_used_by_tests_only_and_only_sim() {
        assert!(said("node", "sim", false).is_some());
        assert!(said("node", "sim", true).is_none());
        assert!(said("node", "bench", true).is_some());
        assert!(said("bench", "server", false).is_none());
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        assert!(said("newcomer", "base", false).is_some());
    }
}
