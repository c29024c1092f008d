//! The command line: flags from the settings table, subcommands, help, and who does the work.
//!
//! Deliberately not: the work. `main` hands in what serves, checks and repairs as `Actions`, so that this file knows
//! no sockets and no disks.
//!
//! Invariants: stdout carries only what was asked for; complaints go to stderr and end with a status of `Exit`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{
    ConfigError, ConfigFile, FILE_VARIABLE, Group, Inputs, Kind, Loaded, Setting, SettingId, effective_toml, load,
    values_of,
};
use crate::exit::Exit;

/// What this release is called.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who does the work of each subcommand.
#[derive(Clone, Copy)]
pub struct Actions {
    /// Serves until told to stop.
    pub serve: fn(Loaded) -> Exit,
    /// Reads a data directory from end to end and reports to the writer. Changes nothing.
    pub check: Option<fn(PathBuf, &mut dyn Write) -> Exit>,
    /// Reports what is damaged, or gives it up. Works on a directory no server uses.
    pub repair: Option<fn(RepairRequest, &mut dyn Write) -> Exit>,
    /// Imports a file of Redis or Valkey and writes a summary. Works on a directory no server uses.
    pub import: Option<Import>,
}

/// Does an import under these settings and writes its summary.
pub type Import = fn(ImportRequest, Loaded, &mut dyn Write) -> Exit;

/// What `larder import` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRequest {
    /// An RDB file, an append-only file, its manifest, or the directory with that.
    pub source: PathBuf,
    /// What becomes of keys that are there already.
    pub target: Target,
}

/// What an import does with a data directory that holds keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Refuses it.
    Empty,
    /// Adds to them; keys of the same name are replaced.
    Merge,
    /// Removes them first.
    Replace,
}

/// What `larder repair` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairRequest {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Report only, or what the operator gives up.
    pub salvage: Option<Salvage>,
}

/// What the operator gives up so that the rest can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Salvage {
    /// The damaged records only: keys they changed go back to an older value or are gone.
    Records,
    /// Everything from the first damaged record on: what is left is a state that once was.
    Tail,
}

/// Runs what the command line asks for. `arguments` starts with the program's name.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    variables: Vec<(String, String)>,
    actions: Actions,
    out: &mut dyn Write,
) -> Exit {
    let matches = match command(&actions).try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return explain(&error, out),
    };
    let (name, sub) = matches.subcommand().unwrap_or(("serve", &matches));
    if name == "version" {
        return written(writeln!(out, "larder {VERSION}"));
    }
    match settled(&matches, sub, variables) {
        Ok(loaded) => dispatch(name, sub, loaded, actions, out),
        Err(error) => {
            eprintln!("larder: {error}");
            Exit::Usage
        }
    }
}

fn dispatch(name: &str, sub: &ArgMatches, loaded: Loaded, actions: Actions, out: &mut dyn Write) -> Exit {
    let data_dir = loaded.settings.data_dir();
    match (name, actions.check, actions.repair) {
        ("import", ..) if actions.import.is_some() => import(sub, loaded, actions, out),
        ("config", ..) => {
            for warning in &loaded.warnings {
                eprintln!("larder: {warning}");
            }
            written(write!(out, "{}", effective_toml(&loaded.settings)))
        }
        ("check", Some(check), _) => check(data_dir, out),
        ("repair", _, Some(repair)) => repair(RepairRequest { data_dir, salvage: salvage_of(sub) }, out),
        _ => (actions.serve)(loaded),
    }
}

fn import(sub: &ArgMatches, loaded: Loaded, actions: Actions, out: &mut dyn Write) -> Exit {
    let (Some(import), Some(source)) = (actions.import, sub.get_one::<PathBuf>("source")) else { return Exit::Usage };
    let target = match (sub.get_flag("merge"), sub.get_flag("replace")) {
        (true, _) => Target::Merge,
        (_, true) => Target::Replace,
        (false, false) => Target::Empty,
    };
    import(ImportRequest { source: source.clone(), target }, loaded, out)
}

/// Help and version go where they were asked for; a usage error goes to stderr.
fn explain(error: &clap::Error, out: &mut dyn Write) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return written(write!(out, "{}", error.render()));
    }
    eprint!("{}", error.render());
    Exit::Usage
}

fn written(result: std::io::Result<()>) -> Exit {
    if result.is_ok() { Exit::Success } else { Exit::Failed }
}

fn salvage_of(matches: &ArgMatches) -> Option<Salvage> {
    matches.get_one::<String>("salvage").map(|what| match what.as_str() {
        "records" => Salvage::Records,
        _ => Salvage::Tail,
    })
}

fn settled(root: &ArgMatches, sub: &ArgMatches, variables: Vec<(String, String)>) -> Result<Loaded, ConfigError> {
    let named = |matches: &ArgMatches| matches.try_get_one::<PathBuf>("config").ok().flatten().cloned();
    let from_variable =
        || variables.iter().find(|(name, _)| name == FILE_VARIABLE).map(|(_, path)| PathBuf::from(path));
    let path = named(sub).or_else(|| named(root)).or_else(from_variable);
    let file = path.map(ConfigFile::read).transpose()?;
    let mut flags = flags_of(root);
    if !std::ptr::eq(root, sub) {
        flags.extend(flags_of(sub));
    }
    load(Inputs { flags, variables, file })
}

fn flags_of(matches: &ArgMatches) -> Vec<(SettingId, String)> {
    let given = |id: SettingId| {
        let words = matches.try_get_many::<String>(id.row().name).ok().flatten()?;
        Some((id, words.cloned().collect::<Vec<_>>().join(" ")))
    };
    SettingId::all().filter_map(given).collect()
}

/// The whole command line. Subcommands nobody does the work of are left out.
pub fn command(actions: &Actions) -> Command {
    let mut root = with_settings(Command::new("larder"))
        .version(VERSION)
        .about("A durable database that speaks the Redis protocol, in one binary")
        .long_about(ABOUT)
        .after_help(examples())
        .subcommand_help_heading("Commands")
        .subcommand_value_name("COMMAND")
        .subcommand(with_settings(Command::new("serve")).about("Serve clients; what `larder` alone does"))
        .subcommand(
            with_settings(Command::new("config"))
                .about("Print the effective configuration and where each value comes from"),
        );
    if actions.check.is_some() {
        root = root.subcommand(
            with_data_dir(Command::new("check")).about("Read a whole data directory and say if it is sound"),
        );
    }
    if actions.repair.is_some() {
        root = root.subcommand(repair_command());
    }
    if actions.import.is_some() {
        root = root.subcommand(import_command());
    }
    root.subcommand(Command::new("version").about("Print the version"))
}

fn repair_command() -> Command {
    with_data_dir(Command::new("repair"))
        .about("Say what is damaged in a data directory, or give it up and save the rest")
        .arg(
            Arg::new("report")
                .long("report")
                .action(ArgAction::SetTrue)
                .conflicts_with("salvage")
                .help("Only say what is damaged and what each way of salvaging would lose; the default"),
        )
        .arg(Arg::new("salvage").long("salvage").value_name("WHAT").value_parser(["records", "tail"]).help(
            "Give up `records`: the damaged ones alone, so that keys they changed go back or are gone; \
                     or `tail`: everything from the first damaged one on, so that what is left once was so",
        ))
}

fn import_command() -> Command {
    let setting = |name| flag(SettingId::of(name).row()).help_heading(None::<&str>);
    let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    with_data_dir(Command::new("import"))
        .about("Move in from Redis or Valkey: read an RDB file or an append-only file into a data directory")
        .long_about(IMPORT_ABOUT)
        .after_help(IMPORT_EXAMPLES)
        .arg(Arg::new("source").value_name("SOURCE").required(true).value_parser(clap::value_parser!(PathBuf)).help(
            "An RDB file (dump.rdb), the directory of an append-only file (appendonlydir), its manifest, or an \
             append-only file of before Redis 7",
        ))
        .arg(
            switch("merge").conflicts_with("replace").help(
                "Add to the keys that the data directory holds; a key of the same name is replaced. RDB files only",
            ),
        )
        .arg(switch("replace").help("Remove the keys that the data directory holds, once the source was found sound"))
        .args([setting("maxmemory"), setting("partitions"), setting("segment-bytes")])
}

fn with_settings(command: Command) -> Command {
    let flags = SettingId::all().map(SettingId::row).filter(|row| row.is_real()).map(flag);
    command.arg(config_flag()).args(flags)
}

fn with_data_dir(command: Command) -> Command {
    command.arg(config_flag()).arg(flag(SettingId::of("data-dir").row()).help_heading(None::<&str>))
}

fn config_flag() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help(format!("TOML file to read settings from [variable: {FILE_VARIABLE}]"))
}

/// The flag of a row. Values are checked by `config::load`, in the same words wherever they come from.
fn flag(row: &'static Setting) -> Arg {
    let arg = Arg::new(row.name).long(row.name).help(help_of(row)).help_heading(row.group.title());
    match &row.kind {
        Kind::Flag => arg.num_args(0..=1).require_equals(true).default_missing_value("yes").value_name("yes|no"),
        Kind::Words(_) => arg.action(ArgAction::Append).value_name("WORDS"),
        Kind::Choice(_) => arg.value_name("WORD"),
        Kind::PowerOfTwo { .. } => arg.value_name("N"),
        Kind::Integer { .. } => arg.value_name("N").allow_negative_numbers(true),
        Kind::Bytes { .. } | Kind::BytesOrPercent => arg.value_name("BYTES"),
        Kind::Path => arg.value_name("DIR"),
        Kind::File => arg.value_name("FILE"),
        Kind::Text => arg.value_name("TEXT"),
        Kind::Lines(_) => arg.value_name("LINES"),
    }
}

fn help_of(row: &Setting) -> String {
    let mut help = row.summary.to_owned();
    if matches!(row.kind, Kind::Choice(choices) if 3 < choices.len()) {
        let _ = write!(help, ": {}", values_of(row).replace('`', "").replace(' ', ", "));
    }
    if !row.default.is_empty() {
        let _ = write!(help, " [default: {}]", row.default);
    }
    help
}

const ABOUT: &str = "\
Larder keeps your data: a durable key-value database in one binary that any Redis client can use. \
Every acknowledged write survives a crash of the process; how it survives a loss of power is up to --sync. \
Memory may be limited without losing anything: values spill to disk.

Nothing needs to be configured. Each setting below is a flag (--log-level), an environment variable \
(LARDER_LOG_LEVEL), a line of the TOML file (log-level = \"info\") and a parameter of CONFIG GET and CONFIG SET; \
a flag wins over a variable, a variable over the file, the file over the default.";

const IMPORT_ABOUT: &str = "\
Reads what Redis 2.6 to 8 or Valkey 7 to 9 have saved into a data directory that no server uses. \
The source is read twice: once to see that it is whole, changing nothing, and once to import it. \
It is read as it lies on disk, so stop its server first, or give a copy: the file that BGSAVE leaves is one.

Keys keep their type, database, time to live and time of last use. Keys whose time has come are left out. \
Memory stays within --maxmemory: beyond it values spill to the data directory, as in a server. \
When it is done everything is on disk and checkpointed, and a summary says what was imported and what was not: \
values of modules, databases above 15, commands this release does not know, each by its name and key.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  larder import dump.rdb --data-dir /srv/larder             an RDB file
  larder import appendonlydir --data-dir /srv/larder        an append-only file of Redis 7 or Valkey
  larder import appendonly.aof --data-dir /srv/larder       one of an older Redis
  larder import more.rdb --data-dir /srv/larder --merge     add a second data set
  larder serve --data-dir /srv/larder                       serve what was imported

Exit statuses: 0 everything was imported; 10 not everything was, see the summary; 1 the source cannot be read, or is
damaged: nothing was changed, unless the message says otherwise; 2 the directory holds keys already; 5 to 9 the data
directory, as for `larder serve`.";

fn examples() -> String {
    let mut text = String::from(
        "Examples:
  larder                                        serve 127.0.0.1:6379, data in ./larder-data
  larder --data-dir /srv/larder --sync always   every reply means the write is on disk
  larder --maxmemory 4gb                        keep 4 GiB in memory and the rest on disk
  larder --config /etc/larder.toml              settings from a file
  LARDER_REQUIREPASS=secret larder --bind '*'   serve other machines
  larder config                                 what is in effect, and why

Exit statuses:
",
    );
    for exit in Exit::ALL {
        let _ = writeln!(text, "  {}  {}", exit.status(), exit.meaning());
    }
    let groups: Vec<&str> = Group::ALL.iter().take(Group::ALL.len() - 1).map(|group| group.title()).collect();
    let _ = write!(text, "\nAll settings ({}) are in docs/configuration.md.", groups.join(", ").to_lowercase());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str, variables: &[(&str, &str)], actions: Actions) -> (Exit, String) {
        let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let mut out = Vec::new();
        let exit = run(line.split_whitespace().map(OsString::from), variables, actions, &mut out);
        (exit, String::from_utf8(out).unwrap())
    }

    /// Serves on the port expected, so that the status tells whether flags arrived.
    fn serve(loaded: Loaded) -> Exit {
        if loaded.settings.port() == 7000 { Exit::Success } else { Exit::Failed }
    }

    fn check(data_dir: PathBuf, out: &mut dyn Write) -> Exit {
        written(writeln!(out, "{}", data_dir.display()))
    }

    fn repair(request: RepairRequest, out: &mut dyn Write) -> Exit {
        written(writeln!(out, "{:?}", request.salvage))
    }

    fn import(request: ImportRequest, loaded: Loaded, out: &mut dyn Write) -> Exit {
        let ImportRequest { source, target } = request;
        written(writeln!(out, "{} {target:?} {}", source.display(), loaded.settings.data_dir().display()))
    }

    const ALL: Actions = Actions { serve, check: Some(check), repair: Some(repair), import: Some(import) };
    const SERVE_ONLY: Actions = Actions { serve, check: None, repair: None, import: None };

    #[test]
    fn the_definition_is_consistent() {
        command(&ALL).debug_assert();
    }

    #[test]
    fn serving_is_what_happens_unless_something_else_is_asked_for() {
        for line in ["larder --port 7000", "larder serve --port=7000", "larder --port 7000 serve"] {
            assert_eq!(ask(line, &[], ALL).0, Exit::Success, "{line}");
        }
        assert_eq!(ask("larder", &[("LARDER_PORT", "7000")], ALL).0, Exit::Success);
        assert_eq!(ask("larder", &[], ALL).0, Exit::Failed, "another port than expected");
    }

    #[test]
    fn config_prints_what_is_in_effect_and_why() {
        let line = "larder config --bind 127.0.0.1 --bind ::1 --slowlog-log-slower-than -1 --allow-unprotected";
        let (exit, text) = ask(line, &[("LARDER_SYNC", "always")], ALL);
        assert_eq!(exit, Exit::Success);
        for (start, end) in [
            ("bind = \"127.0.0.1 ::1\" ", "# flag"),
            ("slowlog-log-slower-than = -1 ", "# flag"),
            ("allow-unprotected = true ", "# flag"),
            ("sync = \"always\" ", "# environment LARDER_SYNC"),
            ("port = 6379 ", "# default"),
        ] {
            assert!(text.lines().any(|line| line.starts_with(start) && line.ends_with(end)), "{start} in {text}");
        }
    }

    #[test]
    fn check_and_repair_get_the_directory_and_the_sacrifice() {
        assert_eq!(ask("larder check --data-dir /srv/x", &[], ALL), (Exit::Success, "/srv/x\n".to_owned()));
        assert_eq!(ask("larder repair", &[], ALL).1, "None\n");
        assert_eq!(ask("larder repair --report", &[], ALL).1, "None\n");
        assert_eq!(ask("larder repair --salvage records", &[], ALL).1, "Some(Records)\n");
        assert_eq!(ask("larder repair --salvage tail", &[], ALL).1, "Some(Tail)\n");
        assert_eq!(ask("larder repair --salvage everything", &[], ALL).0, Exit::Usage);
        assert_eq!(ask("larder repair --report --salvage tail", &[], ALL).0, Exit::Usage);
    }

    #[test]
    fn import_gets_the_source_and_what_becomes_of_keys_there() {
        assert_eq!(
            ask("larder import a.rdb --data-dir /srv/x", &[], ALL),
            (Exit::Success, "a.rdb Empty /srv/x\n".to_owned())
        );
        assert_eq!(ask("larder import --merge a.rdb --data-dir /d", &[], ALL).1, "a.rdb Merge /d\n");
        assert_eq!(
            ask("larder import a.rdb --replace --maxmemory 1gb --data-dir /d", &[], ALL).1,
            "a.rdb Replace /d\n"
        );
        for line in
            ["larder import", "larder import a b", "larder import a --merge --replace", "larder import a --port 1"]
        {
            assert_eq!(ask(line, &[], ALL).0, Exit::Usage, "{line}");
        }
        let (exit, help) = ask("larder import --help", &[], ALL);
        assert_eq!(exit, Exit::Success);
        assert!(help.contains("appendonlydir") && help.contains("--replace"), "{help}");
    }

    #[test]
    fn what_nobody_does_is_not_offered() {
        assert_eq!(ask("larder import a.rdb", &[], SERVE_ONLY).0, Exit::Usage);
        assert_eq!(ask("larder check", &[], SERVE_ONLY).0, Exit::Usage);
        assert!(!ask("larder --help", &[], SERVE_ONLY).1.contains("repair "));
    }

    #[test]
    fn a_wrong_command_line_ends_with_the_status_for_it() {
        let lines = [
            "larder --no-such-flag",
            "larder --port x",
            "larder --port 1 --port 2",
            "larder --bind 10.0.0.1",
            "larder --config /no/such/file.toml",
            "larder check --port 1",
        ];
        for line in lines {
            assert_eq!(ask(line, &[], ALL).0, Exit::Usage, "{line}");
        }
    }

    #[test]
    fn help_names_every_setting_group_and_status() {
        let (exit, help) = ask("larder --help", &[], ALL);
        assert_eq!(exit, Exit::Success);
        for id in SettingId::all().filter(|id| id.row().is_real()) {
            assert!(help.contains(&format!("--{}", id.row().name)), "{}", id.row().name);
            assert!(help.contains(&format!("{}:\n", id.row().group.title())));
        }
        assert!(Exit::ALL.iter().all(|exit| help.contains(exit.meaning())));
        assert_eq!(ask("larder version", &[], ALL).1, format!("larder {VERSION}\n"));
    }
}
