//! When fields of hashes end: the HEXPIRE and HTTL families and HPERSIST.
//!
//! A command may name a field twice. Each naming sees what the one before left behind, yet all changes are one
//! effect: `Changes` remembers which fields are changed already, and all of them get the same new state.
//!
//! Where Valkey 9 and Redis 8 differ: both take `FIELDS n field …` behind the conditions, and Valkey's words for
//! what is wrong with them are used here.
//!
//! Deliberately not here: commands that also read or set values (`hash_ttl_values`).
//!
//! Source: behaviour of Valkey 9.1 `t_hash.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::expire::{Conditions, Origin, Unit, deadline_unsigned, time_left};
use crate::hashes::{live_field, notify_if_gone};
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use base::TimeMs;
use keyspace::Event;
use keyspace::hash::Hash;
use keyspace::partition::EndedCounts;
use std::collections::HashSet;
use wire::args::Args;

const WRITE: Spec = Spec {
    name: "",
    arity: Arity::AtLeast(6),
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::Hash,
    since: "7.4.0",
    complexity: "O(N) for N fields",
    summary: "",
    syntax: "",
    handler: persist,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

const READ: Spec = Spec {
    arity: Arity::AtLeast(5),
    flags: Flags::READONLY.and(Flags::FAST),
    syntax: "key FIELDS numfields field [field ...]",
    ..WRITE
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "hexpire",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        summary: "Lets fields of a hash end after a number of seconds.",
        syntax: "key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        handler: |call| expire(call, Unit::Seconds, Origin::Now),
        ..WRITE
    },
    Spec {
        name: "hexpireat",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        summary: "Lets fields of a hash end at a Unix time in seconds.",
        syntax: "key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        handler: |call| expire(call, Unit::Seconds, Origin::Epoch),
        ..WRITE
    },
    Spec {
        name: "hexpiretime",
        summary: "Returns the Unix times in seconds at which fields of a hash end.",
        handler: |call| ttl(call, Unit::Seconds, Origin::Epoch),
        ..READ
    },
    Spec {
        name: "hpersist",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        arity: Arity::AtLeast(5),
        summary: "Lets fields of a hash live on without end.",
        syntax: "key FIELDS numfields field [field ...]",
        handler: persist,
        ..WRITE
    },
    Spec {
        name: "hpexpire",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        summary: "Lets fields of a hash end after a number of milliseconds.",
        syntax: "key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        handler: |call| expire(call, Unit::Milliseconds, Origin::Now),
        ..WRITE
    },
    Spec {
        name: "hpexpireat",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        summary: "Lets fields of a hash end at a Unix time in milliseconds.",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        handler: |call| expire(call, Unit::Milliseconds, Origin::Epoch),
        ..WRITE
    },
    Spec {
        name: "hpexpiretime",
        summary: "Returns the Unix times in milliseconds at which fields of a hash end.",
        handler: |call| ttl(call, Unit::Milliseconds, Origin::Epoch),
        ..READ
    },
    Spec {
        name: "hpttl",
        summary: "Returns the milliseconds that fields of a hash have left.",
        handler: |call| ttl(call, Unit::Milliseconds, Origin::Now),
        ..READ
    },
    Spec {
        name: "httl",
        summary: "Returns the seconds that fields of a hash have left, rounded.",
        handler: |call| ttl(call, Unit::Seconds, Origin::Now),
        ..READ
    },
];

/// What a field is told that is not there.
const ABSENT: i64 = -2;
/// What a field is told that does not end.
const ENDLESS: i64 = -1;

const WRONG_COUNT: Error =
    Error::text("ERR numfields should be greater than 0 and match the provided number of fields");

/// Where the word FIELDS stands, looked for from argument `from` on.
pub(crate) fn fields_word(call: &Call<'_>, from: usize) -> Result<usize, Error> {
    (from..call.arg_count() - 1).find(|index| call.is_word(*index, "FIELDS")).ok_or(WRONG_COUNT)
}

/// The arguments behind `FIELDS n` at `word`, of which there must be n times `width`.
pub(crate) fn counted_fields<'c>(call: &Call<'c>, word: usize, width: usize) -> Result<Args<'c>, Error> {
    let fields = call.args.skip(word + 2);
    let count = usize::try_from(call.integer(word + 1)?).ok().filter(|count| 0 < *count);
    let is_right = count.and_then(|count| count.checked_mul(width)) == Some(fields.count());
    if is_right { Ok(fields) } else { Err(WRONG_COUNT) }
}

/// The fields of `key FIELDS n field …`.
pub(crate) fn fields_at_once<'c>(call: &Call<'c>) -> Result<Args<'c>, Error> {
    if call.is_word(2, "FIELDS") { counted_fields(call, 2, 1) } else { Err(Error::Syntax) }
}

/// What a field is, its value aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldState {
    /// Not there.
    Absent,
    /// There until then, or without end.
    Ends(Option<TimeMs>),
}

impl FieldState {
    /// What a field becomes that is to end at `at`: it is no more once that has come.
    pub(crate) fn ending(call: &Call<'_>, at: TimeMs) -> FieldState {
        if call.ends_at_once(at) { FieldState::Absent } else { FieldState::Ends(Some(at)) }
    }

    fn of(hash: Option<&Hash>, name: &[u8], now: TimeMs) -> FieldState {
        live_field(hash, name, now).map_or(FieldState::Absent, |field| FieldState::Ends(field.expires))
    }
}

/// The fields that a command has decided to change, in the order it named them.
pub(crate) struct Changes<'c> {
    after: FieldState,
    fields: Vec<&'c [u8]>,
    names: HashSet<&'c [u8], foldhash::fast::FixedState>,
}

impl<'c> Changes<'c> {
    /// None yet; each will make its field `after`.
    pub(crate) fn new(after: FieldState) -> Self {
        Changes { after, fields: Vec::new(), names: HashSet::default() }
    }

    /// A field as the changes so far leave it.
    pub(crate) fn state_of(&self, hash: Option<&Hash>, name: &[u8], now: TimeMs) -> FieldState {
        if self.names.contains(name) { self.after } else { FieldState::of(hash, name, now) }
    }

    /// Changes a field that is there. One that is changed already stays as it is.
    pub(crate) fn push(&mut self, name: &'c [u8]) {
        if self.names.insert(name) {
            self.fields.push(name);
        }
    }

    /// Makes the changes, as one effect, and tells of them; none when there are none. Returns how many fields it removed.
    pub(crate) fn apply(self, call: &mut Call<'_>, key: &[u8], event: &'static str) -> Result<u64, Error> {
        if self.fields.is_empty() {
            return Ok(0);
        }
        let removed_count = match self.after {
            FieldState::Absent => call.tx.hash_delete(key, self.fields.into_iter())?,
            FieldState::Ends(expires) => {
                call.tx.hash_expire(key, self.fields.into_iter().map(|name| (name, expires)))?;
                0
            }
        };
        call.notify(Event::Hash, event, key);
        notify_if_gone(call, key);
        Ok(removed_count)
    }

    /// As [`Changes::apply`] where fields are given a time to end at, which may have passed.
    pub(crate) fn apply_ending(self, call: &mut Call<'_>, key: &[u8]) -> Result<(), Error> {
        let event = match self.after {
            FieldState::Absent => "hexpired",
            FieldState::Ends(None) => "hpersist",
            FieldState::Ends(Some(_)) => "hexpire",
        };
        let field_count = self.apply(call, key, event)?;
        call.tx.count_ended(key, EndedCounts { key_count: 0, field_count });
        Ok(())
    }
}

fn expire(call: &mut Call<'_>, unit: Unit, origin: Origin) -> Result<Flow, Error> {
    const REFUSED: i64 = 0;
    const CHANGED: i64 = 1;
    const REMOVED: i64 = 2;
    let word = fields_word(call, 3)?;
    let conditions = Conditions::parse(call.args.iter().take(word).skip(3))?;
    let fields = counted_fields(call, word, 1)?;
    let at = deadline_unsigned(call, 2, unit, origin)?;
    let (key, now) = (call.arg(1), call.horizon());
    let after = FieldState::ending(call, at);
    let done = if after == FieldState::Absent { REMOVED } else { CHANGED };
    let mut changes = Changes::new(after);
    let hash = call.tx.hash(key)?;
    call.reply.array(fields.count());
    for name in fields.iter() {
        let answer = match changes.state_of(hash, name, now) {
            FieldState::Absent => ABSENT,
            FieldState::Ends(current) if !conditions.allow(current, at) => REFUSED,
            FieldState::Ends(_) => {
                changes.push(name);
                done
            }
        };
        call.reply.integer(answer);
    }
    changes.apply_ending(call, key)?;
    Ok(Flow::Done)
}

fn persist(call: &mut Call<'_>) -> Result<Flow, Error> {
    const CHANGED: i64 = 1;
    let fields = fields_at_once(call)?;
    let (key, now) = (call.arg(1), call.horizon());
    let mut changes = Changes::new(FieldState::Ends(None));
    let hash = call.tx.hash(key)?;
    call.reply.array(fields.count());
    for name in fields.iter() {
        let answer = match changes.state_of(hash, name, now) {
            FieldState::Absent => ABSENT,
            FieldState::Ends(None) => ENDLESS,
            FieldState::Ends(Some(_)) => {
                changes.push(name);
                CHANGED
            }
        };
        call.reply.integer(answer);
    }
    changes.apply(call, key, "hpersist")?;
    Ok(Flow::Done)
}

fn ttl(call: &mut Call<'_>, unit: Unit, origin: Origin) -> Result<Flow, Error> {
    // These commands call a wrong number of fields a syntax error, the others do not.
    let fields = fields_at_once(call).map_err(|error| if error == WRONG_COUNT { Error::Syntax } else { error })?;
    let (now, horizon) = (call.now(), call.horizon());
    let hash = call.tx.hash(call.args.at(1))?;
    call.reply.array(fields.count());
    for name in fields.iter() {
        let answer = match FieldState::of(hash, name, horizon) {
            FieldState::Absent => ABSENT,
            FieldState::Ends(None) => ENDLESS,
            FieldState::Ends(Some(at)) => time_left(at, now, unit, origin),
        };
        call.reply.integer(answer);
    }
    Ok(Flow::Done)
}
