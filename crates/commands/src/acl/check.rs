//! Whether a user may run a command with these arguments.
//!
//! A selector must allow all of a command: its name, and then every key, channel and database among its arguments.
//! When none does, the refusal of the one that came furthest is told, in the order database, command, key, channel;
//! of several that came as far, the one that got to the latest argument.
//!
//! Source: `ACLSelectorCheckCmd` and `ACLCheckAllUserCommandPerm` of Valkey 9.1, for that order.

use super::categories::Categories;
use super::selector::Selector;
use super::user::User;
use crate::run::Resolved;
use crate::spec::{Flags, Keys, Spec};
use crate::touches::{ChannelArgs, Dbs};
use base::number::parse_i64;
use base::{DB_COUNT, DbId};
use wire::args::Args;

/// What was refused. The order is how far the check had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A database.
    Database,
    /// The command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
    /// To log in.
    Auth,
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = 5;

    /// As ACL LOG spells it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Database => "database",
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Auth => "auth",
        }
    }
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    /// What was refused.
    pub reason: Reason,
    /// Which argument it was; 0 for the command itself.
    pub at: usize,
}

/// Whether `user` may run a command with these arguments in this database.
pub(crate) fn check(user: &User, resolved: Resolved, args: &Args<'_>, db: DbId) -> Result<(), Denied> {
    let mut furthest: Option<Denied> = None;
    for selector in user.selectors() {
        match check_selector(selector, resolved, args, db) {
            Ok(()) => return Ok(()),
            Err(denied) => furthest = furthest.max(Some(denied)),
        }
    }
    Err(furthest.expect("every user has a selector"))
}

/// As [`check`], and the selector must let any key be read as well.
pub(crate) fn check_reading_all(user: &User, resolved: Resolved, args: &Args<'_>, db: DbId) -> bool {
    let may =
        |selector: &Selector| selector.allows_reading_all() && check_selector(selector, resolved, args, db).is_ok();
    user.selectors().any(may)
}

fn check_selector(selector: &Selector, resolved: Resolved, args: &Args<'_>, db: DbId) -> Result<(), Denied> {
    let spec = resolved.spec;
    if !selector.allows_all_dbs() {
        check_dbs(selector, spec, args, db)?;
    }
    let is_free = spec.flags.has(Flags::NO_AUTH);
    if !is_free && !selector.commands.allow(resolved.number(), args.nth(1)) {
        return Err(Denied { reason: Reason::Command, at: 0 });
    }
    if !selector.allows_all_keys() {
        let mut denied = None;
        spec.each_key_use(args, |at, key_use| {
            if denied.is_none() && !selector.allows_key(args.at(at), key_use) {
                denied = Some(Denied { reason: Reason::Key, at });
            }
        });
        denied.map_or(Ok(()), Err)?;
    }
    if selector.allows_all_channels() { Ok(()) } else { check_channels(selector, spec, args) }
}

fn check_channels(selector: &Selector, spec: &Spec, args: &Args<'_>) -> Result<(), Denied> {
    let (count, is_pattern) = match spec.touches.channels {
        ChannelArgs::None => return Ok(()),
        ChannelArgs::First => (2, false),
        ChannelArgs::All => (args.count(), false),
        ChannelArgs::Patterns => (args.count(), true),
    };
    match (1..count).find(|at| !selector.allows_channel(args.at(*at), is_pattern)) {
        None => Ok(()),
        Some(at) => Err(Denied { reason: Reason::Channel, at }),
    }
}

fn check_dbs(selector: &Selector, spec: &Spec, args: &Args<'_>, db: DbId) -> Result<(), Denied> {
    let denied = |at: usize| Err(Denied { reason: Reason::Database, at });
    let has_keys = !matches!(spec.keys, Keys::None);
    let uses_selected = match spec.touches.dbs {
        Dbs::All => {
            let may = (0..DB_COUNT as u32).all(|db| selector.allows_db(db));
            return if may { Ok(()) } else { denied(0) };
        }
        Dbs::Selected => has_keys || Categories::of(spec).overlap(Categories::OF_KEYS),
        Dbs::At(_) | Dbs::Behind { .. } => has_keys,
    };
    if let Some(at) = named_dbs(spec, args).into_iter().find(|(_, db)| !selector.allows_db(*db)).map(|(at, _)| at) {
        return denied(at);
    }
    if uses_selected && !selector.allows_db(u32::from(db.0)) { denied(0) } else { Ok(()) }
}

/// The arguments that are numbers of databases; none if one of them is no such number, for then the command refuses.
fn named_dbs(spec: &Spec, args: &Args<'_>) -> Vec<(usize, u32)> {
    let positions: Vec<usize> = match spec.touches.dbs {
        Dbs::Selected | Dbs::All => return Vec::new(),
        Dbs::At(positions) => positions.iter().map(|at| usize::from(*at)).collect(),
        Dbs::Behind { word, from } => {
            let is_word = |at: &usize| args.at(*at).eq_ignore_ascii_case(word.as_bytes());
            (usize::from(from)..args.count()).filter(is_word).map(|at| at + 1).collect()
        }
    };
    let db_at = |at: usize| {
        let db = args.nth(at).and_then(parse_i64).filter(|db| (0..DB_COUNT as i64).contains(db));
        db.map(|db| (at, db as u32))
    };
    positions.into_iter().map(db_at).collect::<Option<Vec<_>>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::Defaults;
    use crate::run;
    use wire::args::Ranges;
    use wire::request::{Limits, Login, RequestParser};

    fn outcome(rules: &str, db: u8, command: &str) -> Result<(), (Reason, usize)> {
        let defaults = Defaults { all_channels: false };
        let rules: Vec<&str> = rules.split(' ').collect();
        let user = User::new(defaults).changed(&rules, defaults).expect("rules of a test");
        let (mut ranges, line) = (Ranges::new(), format!("{command}\r\n"));
        let limits = Limits::standard(Login::Done);
        RequestParser::new().parse(line.as_bytes(), &limits, &mut ranges).expect("a command");
        let args = ranges.args(line.as_bytes());
        let resolved = run::resolve(&args).expect("a command of the table");
        check(&user, resolved, &args, DbId(db)).map_err(|denied| (denied.reason, denied.at))
    }

    #[test]
    fn each_part_of_a_command_must_be_allowed() {
        for (rules, command, expected) in [
            ("~*", "get a", Err((Reason::Command, 0))),
            ("+get ~b", "get a", Err((Reason::Key, 1))),
            ("+get ~a", "get a", Ok(())),
            ("+@all %R~a %W~b", "copy a b", Ok(())),
            ("+@all %R~a %W~b", "copy b a", Err((Reason::Key, 1))),
            ("+@all %W~a", "set a v", Ok(())),
            ("+@all %W~a", "set a v get", Err((Reason::Key, 1))),
            ("+@all %R~a", "bitfield a get u4 0", Ok(())),
            ("+@all %R~a", "bitfield a get u4 0 set u4 0 1", Err((Reason::Key, 1))),
            ("+@all %R~a %W~b", "sort a store b", Ok(())),
            ("+@all %R~a %W~b", "sort a store a", Err((Reason::Key, 3))),
            ("+@all %R~a %W~b", "sort a store a store b", Ok(())),
            ("+@all %R~a %W~b", "sort a store b store a", Err((Reason::Key, 5))),
            ("+@all %R~a %W~b", "sort a store c by store b", Err((Reason::Key, 3))),
            ("+@all %R~a %W~b", "sort a by store store c", Err((Reason::Key, 5))),
            ("+@all %R~a", "xreadgroup group streams streams streams b >", Err((Reason::Key, 5))),
            ("+@all ~c ~streams", "xreadgroup count 1 group streams c streams b >", Err((Reason::Key, 7))),
            ("+@all %R~a", "xread streams streams 0", Err((Reason::Key, 2))),
            ("+@all %R~a", "hexists a f", Ok(())),
            ("+@all %W~a", "hexists a f", Ok(())),
            ("+@all %W~a", "zcount a 0 1", Err((Reason::Key, 1))),
            ("+@all %R~s %W~d", "zunionstore d 2 s s", Ok(())),
            ("+@all %R~s %W~d", "zunionstore d 2 s d", Err((Reason::Key, 4))),
            ("+@all ~a", "eval x 1 a", Ok(())),
            ("+@all %R~a", "eval x 1 a", Err((Reason::Key, 3))),
            ("+@all %R~a", "eval_ro x 1 a", Ok(())),
            ("+@all &a", "publish a m", Ok(())),
            ("+@all &a", "publish b m", Err((Reason::Channel, 1))),
            ("+@all &a &b*", "subscribe a b1 c", Err((Reason::Channel, 3))),
            ("+@all &b*", "psubscribe b*", Ok(())),
            ("+@all &b*", "psubscribe b1", Err((Reason::Channel, 1))),
            ("+@all &b*", "unsubscribe x", Ok(())),
            ("-@all", "auth x", Ok(())),
        ] {
            assert_eq!(outcome(rules, 0, command), expected, "{rules}: {command}");
        }
    }

    #[test]
    fn databases_are_those_selected_and_those_named() {
        for (rules, db, command, expected) in [
            ("+@all ~* db=0,1", 0, "get a", Ok(())),
            ("+@all ~* db=1", 0, "get a", Err((Reason::Database, 0))),
            ("+@all ~* db=1", 0, "ping", Ok(())),
            ("+@all ~* db=1", 0, "select 1", Ok(())),
            ("+@all ~* db=1", 0, "select 2", Err((Reason::Database, 1))),
            ("+@all ~* db=1", 0, "select 99", Ok(())),
            ("+@all ~* db=0,1", 0, "swapdb 0 2", Err((Reason::Database, 2))),
            ("+@all ~* db=1", 0, "move a 1", Err((Reason::Database, 0))),
            ("+@all ~* db=0,1", 0, "copy a b db 1 db 2", Err((Reason::Database, 6))),
            ("+@all ~* db=0,1", 0, "copy a b replace db 1", Ok(())),
            ("+@all ~* db=0,1", 0, "flushall", Err((Reason::Database, 0))),
            ("+@all ~* db=0,1", 0, "flushdb", Ok(())),
            ("+@all ~* db=1", 0, "flushdb", Err((Reason::Database, 0))),
        ] {
            assert_eq!(outcome(rules, db, command), expected, "{rules}: {command}");
        }
    }

    #[test]
    fn one_selector_must_allow_all_and_the_furthest_refusal_is_told() {
        assert_eq!(outcome("(+get ~a) (+set ~b)", 0, "set b v"), Ok(()));
        assert_eq!(outcome("(+get ~a) (+set ~b)", 0, "set a v"), Err((Reason::Key, 1)));
        assert_eq!(outcome("(+@all %R~r) (+@all %W~w)", 0, "copy r w"), Err((Reason::Key, 2)));
        assert_eq!(outcome("+mget ~k (+mget ~k ~o)", 0, "mget o s"), Err((Reason::Key, 2)));
        assert_eq!(outcome("+mget ~k (+mget ~k ~o)", 0, "get k"), Err((Reason::Command, 0)));
    }
}
