//! What a row of the command table says. The parser, COMMAND and its subcommands, ACL categories, routing, HTTP
//! routes and the reference are computed from rows; nothing about a command is stated anywhere else.

use crate::call::Handler;
use crate::touches::{KeyUse, Touches};
use base::number::parse_u64;
use wire::args::Args;

/// How many arguments a command takes, its name (and its subcommand's) included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly this many.
    Exactly(u8),
    /// This many or more.
    AtLeast(u8),
}

impl Arity {
    /// Whether `count` arguments will do.
    pub fn allows(self, count: usize) -> bool {
        match self {
            Arity::Exactly(exact) => count == usize::from(exact),
            Arity::AtLeast(least) => usize::from(least) <= count,
        }
    }

    /// The number COMMAND reports: negative for "at least".
    pub fn as_redis(self) -> i64 {
        match self {
            Arity::Exactly(exact) => i64::from(exact),
            Arity::AtLeast(least) => -i64::from(least),
        }
    }
}

/// Properties of a command, as COMMAND names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// None of them.
    pub const NONE: Flags = Flags(0);
    /// May change keys.
    pub const WRITE: Flags = Flags(1);
    /// Reads keys and changes none.
    pub const READONLY: Flags = Flags(1 << 1);
    /// May use more memory (or disk), so it is refused when there is none left.
    pub const DENYOOM: Flags = Flags(1 << 2);
    /// Administration.
    pub const ADMIN: Flags = Flags(1 << 3);
    /// Publish and subscribe.
    pub const PUBSUB: Flags = Flags(1 << 4);
    /// Not allowed in scripts.
    pub const NOSCRIPT: Flags = Flags(1 << 5);
    /// May make the connection wait.
    pub const BLOCKING: Flags = Flags(1 << 6);
    /// Answered while the data directory is still being opened.
    pub const LOADING: Flags = Flags(1 << 7);
    /// Answered by a replica with stale data.
    pub const STALE: Flags = Flags(1 << 8);
    /// Not shown to MONITOR nor to the slow log.
    pub const SKIP_MONITOR: Flags = Flags(1 << 9);
    /// Constant or logarithmic time.
    pub const FAST: Flags = Flags(1 << 10);
    /// Allowed before AUTH.
    pub const NO_AUTH: Flags = Flags(1 << 11);
    /// Not allowed inside MULTI.
    pub const NO_MULTI: Flags = Flags(1 << 12);
    /// Its keys cannot be told from its positions alone.
    pub const MOVABLEKEYS: Flags = Flags(1 << 13);
    /// Allowed while the connection is in RESP2 subscriber mode.
    pub const SUBSCRIBER: Flags = Flags(1 << 14);
    /// Dangerous or slow enough for ACL's @dangerous.
    pub const DANGEROUS: Flags = Flags(1 << 15);
    /// Not delayed by CLIENT PAUSE ALL.
    pub const UNPAUSED: Flags = Flags(1 << 16);
    /// Runs at once inside MULTI, instead of being queued.
    pub const UNQUEUED: Flags = Flags(1 << 17);
    /// Runs other commands, which are shown, logged and counted by themselves.
    pub const RUNS_OTHERS: Flags = Flags(1 << 18);
    /// Seldom looks at its keys' values, so that nothing is fetched ahead for it.
    pub const BLIND: Flags = Flags(1 << 19);
    /// Left out of the logs of remarkable commands.
    pub const SKIP_LOGS: Flags = Flags(1 << 20);

    /// Runs even while a script is slow and others are turned away.
    pub const RUNS_WHEN_BUSY: Flags = Flags(1 << 21);

    /// Held back as writes are (CLIENT PAUSE WRITE), and not for scripts that only read: it may do something that others
    /// see, though it changes no key, or only what is derived.
    pub const MAY_REPLICATE: Flags = Flags(1 << 22);

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// This set without those of another.
    #[must_use]
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// Whether CLIENT PAUSE WRITE holds back what has these.
    #[inline]
    pub const fn is_held(self) -> bool {
        self.0 & (Flags::WRITE.0 | Flags::MAY_REPLICATE.0) != 0
    }

    /// Whether all of `other` are in this set.
    #[inline]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names COMMAND reports.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(Flags, &str); 16] = [
            (Flags::WRITE, "write"),
            (Flags::READONLY, "readonly"),
            (Flags::DENYOOM, "denyoom"),
            (Flags::ADMIN, "admin"),
            (Flags::PUBSUB, "pubsub"),
            (Flags::NOSCRIPT, "noscript"),
            (Flags::BLOCKING, "blocking"),
            (Flags::LOADING, "loading"),
            (Flags::STALE, "stale"),
            (Flags::SKIP_MONITOR, "skip_monitor"),
            (Flags::SKIP_LOGS, "skip_slowlog"),
            (Flags::FAST, "fast"),
            (Flags::NO_AUTH, "no_auth"),
            (Flags::NO_MULTI, "no_multi"),
            (Flags::MAY_REPLICATE, "may_replicate"),
            (Flags::MOVABLEKEYS, "movablekeys"),
        ];
        NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        self.and(other)
    }
}

/// Where a command's keys stand among its arguments (argument 0 is the name).
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    /// It names none.
    None,
    /// Arguments `first`, `first + step`, … up to `last`, which counts from the end when negative.
    Range {
        /// First key.
        first: u8,
        /// Last key; -1 is the last argument.
        last: i8,
        /// Distance from one key to the next.
        step: u8,
    },
    /// Argument `count_at` says how many keys follow it, each `step` after the one before; `also` is one more key
    /// before it, 0 for none.
    Counted {
        /// Where the number of keys stands.
        count_at: u8,
        /// Position of a key outside the list, such as a destination.
        also: u8,
        /// Distance from one key to the next: 2 where a value follows each key.
        step: u8,
    },
    /// The first half of what follows a word, which options come before.
    After {
        /// The word, in upper case.
        word: &'static str,
        /// Where it mostly is, as COMMAND tells it.
        from: u8,
        /// Options, in upper case, and how many arguments belong to each: none of these is the word.
        options: &'static [(&'static str, u8)],
    },
    /// The first argument, and the one behind the last of these words.
    OneAndBehind {
        /// The words, in upper case.
        words: &'static [&'static str],
        /// The first argument that may be one of them.
        from: u8,
        /// Other options, in upper case, and how many arguments belong to each: none of these is such a word.
        options: &'static [(&'static str, u8)],
    },
}

impl Keys {
    /// The first argument is the only key.
    pub const ONE: Keys = Keys::Range { first: 1, last: 1, step: 1 };
    /// The first two arguments are keys.
    pub const TWO: Keys = Keys::Range { first: 1, last: 2, step: 1 };
    /// All arguments are keys.
    pub const ALL: Keys = Keys::Range { first: 1, last: -1, step: 1 };

    /// Calls `each` with the position of every key among the arguments. Positions beyond them are left out: arity and
    /// syntax are the handler's to judge.
    pub fn each(self, args: &Args<'_>, mut each: impl FnMut(usize)) {
        let count = args.count();
        let number_at = |index: usize| args.nth(index).and_then(parse_u64).and_then(|n| usize::try_from(n).ok());
        match self {
            Keys::None => {}
            Keys::Range { first, last, step } => {
                let end = if last < 0 { count as isize + isize::from(last) } else { isize::from(last) };
                let end = usize::try_from(end).unwrap_or(0).min(count.saturating_sub(1));
                (usize::from(first)..=end).step_by(usize::from(step)).for_each(each);
            }
            Keys::Counted { count_at, also, step } => {
                if also != 0 && usize::from(also) < count {
                    each(usize::from(also));
                }
                let (start, step) = (usize::from(count_at) + 1, usize::from(step));
                let fitting = count.saturating_sub(start).div_ceil(step);
                let keys = number_at(usize::from(count_at)).unwrap_or(0).min(fitting);
                (0..keys).map(|key| start + key * step).for_each(each);
            }
            Keys::After { word, options, .. } => {
                let is = |index: usize, word: &str| args.at(index).eq_ignore_ascii_case(word.as_bytes());
                let mut at = 1;
                while at < count && !is(at, word) {
                    let option = options.iter().find(|(option, _)| is(at, option));
                    at += 1 + option.map_or(0, |(_, operand_count)| usize::from(*operand_count));
                }
                (at + 1..=at + count.saturating_sub(at + 1) / 2).for_each(each);
            }
            Keys::OneAndBehind { words, from, options } => {
                each(1);
                let (mut at, mut behind) = (usize::from(from), None);
                while at + 1 < count {
                    let is = |word: &str| args.at(at).eq_ignore_ascii_case(word.as_bytes());
                    let option = options.iter().find(|(option, _)| is(option));
                    if words.iter().any(|word| is(word)) {
                        behind = Some(at + 1);
                        at += 2;
                    } else {
                        at += 1 + option.map_or(0, |(_, operand_count)| usize::from(*operand_count));
                    }
                }
                behind.into_iter().for_each(each);
            }
        }
    }
}

/// Which partitions are locked while the handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// None: the handler touches no keys.
    Nothing,
    /// Those of its keys.
    Keys,
    /// One after the other, by the handler, through `Tx::each_partition`; it changes nothing.
    Each,
    /// All of them.
    Whole,
    /// Those a script is known to keep to, or all of them.
    Script,
    /// Those of the commands queued since MULTI, and of the watched keys (EXEC).
    Queued,
}

/// The chapter of the reference a command stands in, and an ACL category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Keys of any type.
    Generic,
    /// Strings.
    String,
    /// Bits of strings.
    Bitmap,
    /// Hashes.
    Hash,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Places on earth, in sorted sets.
    Geo,
    /// Estimates of how many different elements there are.
    Hyperloglog,
    /// Streams.
    Stream,
    /// The connection itself.
    Connection,
    /// The server.
    Server,
    /// Scripts and functions.
    Scripting,
    /// MULTI and what goes with it.
    Transactions,
    /// Publish and subscribe.
    Pubsub,
}

impl Group {
    /// As COMMAND DOCS spells it.
    pub fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::Bitmap => "bitmap",
            Group::Hash => "hash",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hyperloglog => "hyperloglog",
            Group::Stream => "stream",
            Group::Geo => "geo",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Scripting => "scripting",
            Group::Transactions => "transactions",
            Group::Pubsub => "pubsub",
        }
    }
}

/// One command: one row.
#[derive(Clone, Copy)]
pub struct Spec {
    /// Its name in lower case; a subcommand's own name, without its parent's.
    pub name: &'static str,
    /// How many arguments it takes.
    pub arity: Arity,
    /// Its properties.
    pub flags: Flags,
    /// Where its keys stand.
    pub keys: Keys,
    /// What is locked while it runs.
    pub scope: Scope,
    /// Where it belongs.
    pub group: Group,
    /// Redis version that introduced it (or "larder 0.1").
    pub since: &'static str,
    /// Its time complexity.
    pub complexity: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// What it takes, as the reference shows it: `key [EX seconds] …`; `syntax.rs` has the grammar.
    pub syntax: &'static str,
    /// Runs it. For a container of subcommands, answers a call that names none of them.
    pub handler: Handler,
    /// Its subcommands, sorted by name.
    pub subcommands: &'static [Spec],
    /// What it does with its keys, its channels and its databases.
    pub touches: Touches,
}

impl Spec {
    /// Calls `each` with the position of every key among the arguments and what is done with it.
    pub fn each_key_use(&self, args: &Args<'_>, mut each: impl FnMut(usize, KeyUse)) {
        let mut ordinal = 0;
        self.keys.each(args, |position| {
            each(position, self.touches.keys.of_key(ordinal, args, self.key_use_by_flags()));
            ordinal += 1;
        });
    }

    /// What is done with keys of which only the flags tell.
    pub fn key_use_by_flags(&self) -> KeyUse {
        if self.flags.has(Flags::READONLY) { KeyUse::RO_ACCESS } else { KeyUse::RW_ACCESS_UPDATE }
    }
}
