//! Golden scripts: commands and their replies, `golden/*.txt`.
//!
//! ```text
//! # a comment
//! > set key value ex 10      a command, in redis-cli's quoting
//! +OK                        its reply, see harness/render.rs
//! # clock 10000              the wall clock moves on by so many milliseconds (it starts at 1 700 000 000 000)
//! # sorted                   the next reply has no order of its own: show it sorted
//! # connection b             further commands come from this connection (the first is `a`)
//! # protocol 3               of which replies are in RESP3
//! # events KEA             commands are followed by the events they tell, as `event database name key`
//! # ended                  the timer removes what has ended
//! # resident                 (anywhere) leave out the second run
//! ```
//!
//! Each script is run twice, each time on an empty node; in the second run every value that can be is dropped from
//! memory after every command, and the replies must be the same. `UPDATE_GOLDEN=1` rewrites the replies;
//! `GOLDEN=name` runs one script.

mod harness;

use commands::waiting::{Outcome, Waiter};
use commands::{Await, Flow, Host, Session};
use harness::{Answer, Node, render};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use wire::reply::Protocol;

/// Whether values stay in memory between commands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Values {
    Resident,
    Spilled,
}

struct Run {
    node: Node,
    sessions: BTreeMap<String, Session>,
    current: String,
    sorted: bool,
    values: Values,
    /// Who waits, by connection.
    waiters: Vec<(String, Arc<Waiter>)>,
}

impl Run {
    fn new(values: Values) -> Run {
        let mut run = Run {
            node: Node::new(),
            sessions: BTreeMap::new(),
            current: String::new(),
            sorted: false,
            values,
            waiters: Vec::new(),
        };
        run.connect("a");
        run
    }

    fn connect(&mut self, name: &str) {
        let id = self.sessions.len() as u64 + 1;
        let users = self.node.host.users();
        self.sessions.entry(name.to_owned()).or_insert_with(|| Session::new(id, users));
        name.clone_into(&mut self.current);
    }

    fn session(&mut self) -> &mut Session {
        self.sessions.get_mut(&self.current).expect("the current connection is open")
    }

    fn command(&mut self, line: &str) -> String {
        let session = self.sessions.get_mut(&self.current).expect("the current connection is open");
        let answer = self.node.line(session, line);
        if self.values == Values::Spilled {
            self.node.spill_all();
        }
        if let Flow::Await(Await::Keys(waiter)) = &answer.flow {
            self.waiters.push((self.current.clone(), Arc::clone(waiter)));
        }
        render::answer(&answer, std::mem::take(&mut self.sorted)) + &self.served() + &self.node.told.take()
    }

    /// What those who waited are served with now.
    fn served(&mut self) -> String {
        let mut out = String::new();
        self.waiters.retain(|(name, waiter)| {
            let mut ctx = Context::from_waker(Waker::noop());
            match std::pin::pin!(waiter.served()).poll(&mut ctx) {
                Poll::Pending => true,
                Poll::Ready(Outcome { reply, .. }) => {
                    let answer = render::answer(&Answer { reply, flow: Flow::Done }, false);
                    out.extend(["connection ", name, " is served\n", &answer]);
                    false
                }
            }
        });
        out
    }

    /// Does what a line asks for; returns what follows from it.
    fn directive(&mut self, text: &str) -> String {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["clock", ms] => self.node.clock.advance_ms(ms.parse().expect("milliseconds")),
            ["sorted"] => self.sorted = true,
            ["events", letters] => self.node.listen(letters),
            ["ended"] => self.node.remove_ended(),
            ["connection", name] => self.connect(name),
            ["protocol", "2"] => self.session().protocol = Protocol::Resp2,
            ["protocol", "3"] => self.session().protocol = Protocol::Resp3,
            _ => {} // A comment.
        }
        self.served() + &self.node.told.take()
    }
}

/// The script with the replies it gets now.
fn replay(script: &str, values: Values) -> String {
    let mut run = Run::new(values);
    let mut out = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            out.extend([line, "\n", &run.command(command)]);
        } else if line.is_empty() || line.starts_with("# ") {
            let told = run.directive(line.trim_start_matches("# "));
            out.extend([line, "\n", &told]);
        }
    }
    out
}

fn scripts() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let entries = fs::read_dir(dir).expect("the golden folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a file").to_string_lossy().into_owned()
}

fn first_difference(expected: &str, actual: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).chain([String::from("(end)")]).collect::<Vec<_>>();
    let (expected, actual) = (lines(expected), lines(actual));
    let same = expected.iter().zip(&actual).take_while(|(a, b)| a == b).count();
    let command = actual[..same].iter().rev().find(|line| line.starts_with("> ")).cloned().unwrap_or_default();
    format!("line {}: {command}\n    expected {}\n    got      {}", same + 1, expected[same], actual[same])
}

/// What is wrong with one script.
fn check(path: &Path) -> Option<String> {
    let script = fs::read_to_string(path).expect("a script");
    let resident = replay(&script, Values::Resident);
    if std::env::var_os("UPDATE_GOLDEN").is_some() && resident != script {
        fs::write(path, &resident).expect("the script can be rewritten");
    } else if resident != script {
        return Some(format!("{}: {}", stem(path), first_difference(&script, &resident)));
    }
    if script.lines().any(|line| line == "# resident") {
        return None;
    }
    let spilled = replay(&script, Values::Spilled);
    (spilled != resident)
        .then(|| format!("{} with values spilled: {}", stem(path), first_difference(&resident, &spilled)))
}

#[test]
fn every_script_gets_the_replies_it_shows() {
    let only = std::env::var("GOLDEN").ok();
    let chosen: Vec<PathBuf> =
        scripts().into_iter().filter(|path| only.as_ref().is_none_or(|only| stem(path) == *only)).collect();
    assert!(!chosen.is_empty(), "no such script");
    let wrong: Vec<String> = chosen.iter().filter_map(|path| check(path)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_command_of_the_table_stands_in_a_script() {
    let mut used = std::collections::BTreeSet::new();
    for path in scripts() {
        let script = fs::read_to_string(path).expect("a script");
        let commands = script.lines().filter_map(|line| line.strip_prefix("> "));
        used.extend(commands.filter_map(|line| line.split_whitespace().next()).map(str::to_ascii_lowercase));
    }
    let missing: Vec<&str> =
        commands::table::all().iter().map(|spec| spec.name).filter(|name| !used.contains(*name)).collect();
    assert!(missing.is_empty(), "no golden script shows {missing:?}");
}
