//! Rules on documents: a link to a file of this repository leads to one, and the changelog keeps its shape.
//!
//! Deliberately not here: links to the world outside, which would make a test depend on it.

use crate::sources::{Source, collect};
use crate::step::{Failure, at, root};
use std::fs;
use std::path::Path;

/// The sections of each release in the changelog, in order.
const SECTIONS: &[&str] = &["safety", "features", "internals"];

/// Every document: Markdown at the root, under `docs/` and under the crates.
pub fn documents() -> Result<Vec<Source>, Failure> {
    let mut documents = Vec::new();
    for folder in ["docs", "crates", "tests"] {
        collect(&at(folder), "md", &mut documents)?;
    }
    let io = |source| Failure::Io { what: root().display().to_string(), source };
    for entry in fs::read_dir(root()).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|found| found == "md") {
            let text = fs::read_to_string(&path).map_err(io)?;
            documents.push(Source { path: path.file_name().map(Into::into).unwrap_or_default(), text });
        }
    }
    Ok(documents)
}

/// The rules broken, in words.
pub fn problems(documents: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for document in documents {
        for target in targets(&document.text) {
            if !leads_somewhere(&document.path, target) {
                problems.push(format!("{}: the link to {target} leads nowhere", document.path.display()));
            }
        }
        if document.path.ends_with("CHANGELOG.md") {
            problems.extend(changelog_problems(&document.text));
        }
    }
    problems
}

/// The targets of inline links, outside of code blocks.
fn targets(text: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if !in_code {
            let after_links = line.split("](").skip(1);
            targets.extend(after_links.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target));
        }
    }
    targets
}

fn leads_somewhere(document: &Path, target: &str) -> bool {
    let file = target.split('#').next().unwrap_or_default();
    let outside = target.contains("://") || target.starts_with("mailto:");
    outside || file.is_empty() || root().join(document.parent().unwrap_or(Path::new(""))).join(file).exists()
}

/// Each release (`## `) has the sections of [`SECTIONS`] (`### `), in that order, and no others.
fn changelog_problems(text: &str) -> Vec<String> {
    text.split("\n## ")
        .skip(1)
        .filter_map(|release| {
            let name = release.lines().next().unwrap_or_default();
            let sections: Vec<String> =
                release.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_lowercase).collect();
            let shaped = sections.len() == SECTIONS.len()
                && sections.iter().zip(SECTIONS).all(|(section, wanted)| section.starts_with(wanted));
            (!shaped)
                .then(|| format!("CHANGELOG.md: release {name:?} must have the sections {SECTIONS:?}, in that order"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn said(path: &str, text: &str) -> Vec<String> {
        problems(&[Source { path: PathBuf::from(path), text: text.to_owned() }])
    }

    #[test]
    fn links_are_followed_from_the_document_they_are_in() {
        assert!(said("README.md", "[a](Cargo.toml) [b](crates/xtask/src/links.rs#L1) [c](#here)").is_empty());
        assert!(said("docs/x.md", "[a](../Cargo.toml) [b](https://example.org/none)").is_empty());
        assert_eq!(said("docs/x.md", "[a](Cargo.toml) and [b](../nowhere.md)").len(), 2);
    }

    #[test]
    fn code_blocks_hold_no_links() {
        assert!(said("README.md", "```\n[a](nowhere)\n```\n").is_empty());
        assert_eq!(said("README.md", "```\n```\n[a](nowhere)\n").len(), 1);
    }

    #[test]
    fn a_release_has_its_three_sections_in_order() {
        let good = "# Changelog\n\n## 0.1.0\n\n### Safety and performance\n\n### Features\n\n### Internals\n";
        assert!(said("CHANGELOG.md", good).is_empty());
        assert_eq!(said("CHANGELOG.md", &good.replace("### Internals", "")).len(), 1);
        assert_eq!(said("CHANGELOG.md", &good.replace("### Features", "### Internals")).len(), 1);
    }
}
