//! Settings for people: `larder config`, and the reference in `docs/configuration.md`.
//!
//! Deliberately not: help of the command line, which clap lays out from the same rows (`cli.rs`).

use std::fmt::Write;

use super::kind::{Kind, Spelling, words_of};
use super::rewrite::toml_line;
use super::settings::{Settings, Source};
use super::{Group, Reload, Setting, SettingId};
use crate::exit::Exit;
use crate::size::format_bytes;

/// Column at which `larder config` starts to say where a value comes from.
const SOURCE_COLUMN: usize = 48;
/// What stands for a secret that is set. As a value it is refused: who copies it would have a password that anybody knows.
pub(super) const MASK: &str = "(set, not shown)";

/// The effective settings as a configuration file, each line with its origin. Secrets are masked. Parameters without effect appear only when somebody set them.
pub fn effective_toml(settings: &Settings) -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let is_shown = |id: &SettingId| {
            id.row().group == group && (id.row().is_real() || settings.entry(*id).source != Source::Default)
        };
        let lines: Vec<String> = SettingId::all().filter(is_shown).map(|id| effective_line(settings, id)).collect();
        if !lines.is_empty() {
            let _ = write!(text, "# {}\n{}\n", group.title(), lines.concat());
        }
    }
    text
}

fn effective_line(settings: &Settings, id: SettingId) -> String {
    let entry = settings.entry(id);
    let line = if id.row().is_secret() && !entry.value.text.is_empty() {
        format!("{} = \"{MASK}\"", id.row().name)
    } else {
        toml_line(id, &entry.value).trim_end().to_owned()
    };
    format!("{line:SOURCE_COLUMN$} # {}\n", entry.source)
}

/// The whole of `docs/configuration.md`.
pub fn reference_markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for group in &Group::ALL[..Group::ALL.len() - 1] {
        let _ = write!(text, "\n## {}\n\n{TABLE_HEAD}", group.title());
        text.extend(rows_of(*group).map(reference_row));
    }
    text.push_str(COMPATIBILITY);
    text.extend(rows_of(Group::Compatibility).map(accepted_row));
    text.push_str(EXITS);
    for exit in Exit::ALL {
        let _ = writeln!(text, "| {} | {} |", exit.status(), exit.meaning());
    }
    text
}

fn rows_of(group: Group) -> impl Iterator<Item = &'static Setting> {
    SettingId::all().map(SettingId::row).filter(move |row| row.group == group)
}

fn reference_row(row: &Setting) -> String {
    let reload = if row.reload == Reload::Live { "yes" } else { "no" };
    let others = row.also.iter().fold(String::new(), |text, name| text + &format!(" (CONFIG also: `{name}`)"));
    let (name, values, default) = (row.name, values_of(row), shown_default(row));
    format!("| `{name}` | {values} | {default} | {reload} | {}{others} |\n", row.summary)
}

fn accepted_row(row: &Setting) -> String {
    let names: Vec<String> = [row.name].iter().chain(row.also).map(|name| format!("`{name}`")).collect();
    let settable = if row.reload == Reload::Live { "yes" } else { "no" };
    format!("| {} | {} | {} | {settable} |\n", names.join(", "), values_of(row), shown_default(row))
}

fn shown_default(row: &Setting) -> String {
    if row.default.is_empty() { "empty".to_owned() } else { format!("`{}`", row.default) }
}

/// What values a row takes, in a few words.
pub fn values_of(row: &Setting) -> String {
    let span = |min: i64, max: i64, write: fn(u64) -> String| match max {
        i64::MAX => format!("from {}", write(min as u64)),
        _ => format!("{} to {}", write(min as u64), write(max as u64)),
    };
    match &row.kind {
        Kind::Flag => "yes or no".to_owned(),
        Kind::Integer { min, max } if *min < 0 => format!("integer from {min}{}", upper_bound(*max)),
        Kind::PowerOfTwo { max } => format!("power of two up to {max}"),
        Kind::Integer { min, max } => format!("integer {}", span(*min, *max, |number| number.to_string())),
        Kind::Bytes { min, max } => format!("bytes {}", span(*min, *max, format_bytes)),
        Kind::BytesOrPercent => "bytes or percent".to_owned(),
        Kind::Choice(choices) => format!("`{}`", words_of(choices, Spelling::Larder).join("` `")),
        Kind::Text => "text".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::File => "file".to_owned(),
        Kind::Words(_) => "words".to_owned(),
        Kind::Lines(_) => "lines".to_owned(),
    }
}

fn upper_bound(max: i64) -> String {
    if max == i64::MAX { String::new() } else { format!(" to {max}") }
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Written from the settings table by a test of the server crate. Do not edit:
     UPDATE_GOLDEN=1 cargo test -p server rewrites it. -->

Nothing needs to be configured. What you do say is taken from the command line first, then from environment
variables, then from a TOML file named by `--config` (or `LARDER_CONFIG`), then from the defaults below.
`larder config` prints the result and where each value comes from.

A setting called `log-level` is the flag `--log-level`, the variable `LARDER_LOG_LEVEL`, the line `log-level = \"info\"`
of the file and the parameter `log-level` of CONFIG GET and CONFIG SET. Sizes are plain bytes or have a unit: `k`, `m`,
`g` are powers of 1000, `kb`, `mb`, `gb` powers of 1024. A key of the file that is no setting is an error.

*Live* settings can be changed by CONFIG SET while the server runs; CONFIG REWRITE writes such changes into the file
and keeps everything else in it as it is.
";

const TABLE_HEAD: &str = "| setting | values | default | live | what it does |\n|---|---|---|---|---|\n";

const COMPATIBILITY: &str = "
## Accepted for compatibility

Parameters of Redis that change nothing here. CONFIG GET answers them and CONFIG SET takes those marked so, after the
checks Redis makes, so that clients, tools and test suites go on working. They have no flag and no variable; in the
file they cause a warning.

| parameter | values | default | CONFIG SET |
|---|---|---|---|
";

const EXITS: &str = "
## Exit statuses

| status | meaning |
|---|---|
";

#[cfg(test)]
mod tests {
    use super::super::load::tests::{defaults, with_flags};
    use super::super::load::{ConfigFile, Inputs, load};
    use super::*;

    #[test]
    fn the_effective_configuration_is_itself_a_configuration_file() {
        let settings = with_flags(&[("maxmemory", "1gb"), ("bind", "127.0.0.1,::1")]);
        let text = effective_toml(&settings);
        assert!(text.contains("maxmemory = \"1gb\"                                # flag\n"), "{text}");
        let file = Some(ConfigFile { path: "larder.toml".into(), text });
        let again = load(Inputs { file, ..Inputs::default() }).unwrap();
        assert_eq!(again.settings.get_matching(&["*"]), settings.get_matching(&["*"]));
        assert!(again.warnings.is_empty());
    }

    #[test]
    fn a_password_is_never_printed() {
        let text = effective_toml(&with_flags(&[("requirepass", "hush")]));
        assert!(!text.contains("hush"));
        assert!(text.contains("\nrequirepass = \"(set, not shown)\"                 # flag\n"), "{text}");
        assert!(effective_toml(&defaults()).contains("\nrequirepass = \"\""));
    }

    #[test]
    fn what_stands_for_a_password_is_refused_as_one() {
        let text = effective_toml(&with_flags(&[("requirepass", "hush")]));
        let file = Some(ConfigFile { path: "larder.toml".into(), text });
        let refused = load(Inputs { file, ..Inputs::default() }).err().expect("the password is not in the file");
        let wanted = "`requirepass` (larder.toml:";
        assert!(refused.to_string().starts_with(wanted) && refused.to_string().contains(MASK), "{refused}");
    }

    #[test]
    fn the_reference_in_the_documentation_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let reference = reference_markdown();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &reference).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert!(written == reference, "docs/configuration.md is stale: run UPDATE_GOLDEN=1 cargo test -p server");
    }
}
