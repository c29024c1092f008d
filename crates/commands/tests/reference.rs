//! `docs/commands.md` is written from the command table, and this test keeps it so: `UPDATE_GOLDEN=1` rewrites it.
//!
//! Deliberately not a description of each option: summaries and syntax are the rows' own, options are Redis's.

use commands::{Flags, Spec, table};
use std::collections::BTreeSet;
use std::path::Path;

const HEAD: &str = "\
# Commands

<!-- Written from the command table by a test of the commands crate. Do not edit:
     UPDATE_GOLDEN=1 cargo test -p commands --test reference rewrites it. -->

Every command this release has, as its row in the table has it. *Since* is the release of Redis (or Valkey) that brought
it. Commands marked **w** may write; a command that is not here is answered as unknown.
";

fn reference() -> String {
    let mut text = HEAD.to_owned();
    let groups: BTreeSet<&str> = table::all().iter().map(|spec| spec.group.name()).collect();
    for group in groups {
        text.extend(["\n## ", group, "\n\n| command | | since | what it does | cost |\n|---|---|---|---|---|\n"]);
        for spec in table::all().iter().filter(|spec| spec.group.name() == group) {
            row(&mut text, "", spec);
            for sub in spec.subcommands {
                row(&mut text, &format!("{} ", spec.name.to_uppercase()), sub);
            }
        }
    }
    text
}

/// One line. What only contains subcommands is spoken for by them.
fn row(text: &mut String, parent: &str, spec: &Spec) {
    if spec.syntax.starts_with("subcommand") {
        return;
    }
    let call = format!("{parent}{} {}", spec.name.to_uppercase(), spec.syntax);
    let mark = if spec.flags.has(Flags::WRITE) { "**w**" } else { "" };
    let cells = [call.trim_end(), spec.summary, spec.complexity].map(|cell| cell.replace('|', "\\|"));
    let [call, summary, cost] = cells.each_ref().map(String::as_str);
    text.extend(["| `", call, "` | ", mark, " | ", spec.since, " | ", summary, " | ", cost, " |\n"]);
}

#[test]
fn the_reference_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let written = reference();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &written).expect("docs/ can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == written, "docs/commands.md is stale: run UPDATE_GOLDEN=1 cargo test -p commands --test reference");
}
