//! When keys end: the EXPIRE and TTL families and PERSIST.
//!
//! Clients count in seconds or in milliseconds, from now or from 1970. Inside there is one form only, milliseconds
//! since 1970, and the effect carries that: replay needs no clock. The words for it, and the conditions NX, XX, GT
//! and LT, are shared with the fields of hashes (`hash_ttl`).
//!
//! Deliberately not here: the timer that removes what has ended (the node's), and the expiry options of SET and its
//! kin, which refuse what EXPIRE takes as "delete now".
//!
//! Source: behaviour of Valkey 9.1 `expire.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::refuse;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use base::TimeMs;
use keyspace::Event;
use keyspace::partition::EndedCounts;

/// In what a time is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// 1000 ms.
    Seconds,
    /// 1 ms.
    Milliseconds,
}

/// From where a time is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The time of the command.
    Now,
    /// 1970.
    Epoch,
}

const WRITE: Spec = Spec {
    name: "",
    arity: Arity::AtLeast(3),
    flags: Flags::WRITE.and(Flags::FAST).and(Flags::BLIND),
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::Generic,
    since: "",
    complexity: "O(1)",
    summary: "",
    syntax: "",
    handler: persist,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

const READ: Spec = Spec {
    arity: Arity::Exactly(2),
    flags: Flags::READONLY.and(Flags::FAST).and(Flags::BLIND),
    syntax: "key",
    ..WRITE
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "expire",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        since: "1.0.0",
        summary: "Lets a key end after a number of seconds; at once when that is not positive.",
        syntax: "key seconds [NX | XX | GT | LT]",
        handler: |call| expire(call, Unit::Seconds, Origin::Now),
        ..WRITE
    },
    Spec {
        name: "expireat",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        since: "1.2.0",
        summary: "Lets a key end at a Unix time in seconds; at once when that has passed.",
        syntax: "key unix-time-seconds [NX | XX | GT | LT]",
        handler: |call| expire(call, Unit::Seconds, Origin::Epoch),
        ..WRITE
    },
    Spec {
        name: "expiretime",
        since: "7.0.0",
        summary: "Returns the Unix time in seconds at which a key ends.",
        handler: |call| ttl(call, Unit::Seconds, Origin::Epoch),
        ..READ
    },
    Spec {
        name: "persist",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        arity: Arity::Exactly(2),
        since: "2.2.0",
        summary: "Lets a key live on without end.",
        syntax: "key",
        handler: persist,
        ..WRITE
    },
    Spec {
        name: "pexpire",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        since: "2.6.0",
        summary: "Lets a key end after a number of milliseconds; at once when that is not positive.",
        syntax: "key milliseconds [NX | XX | GT | LT]",
        handler: |call| expire(call, Unit::Milliseconds, Origin::Now),
        ..WRITE
    },
    Spec {
        name: "pexpireat",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        since: "2.6.0",
        summary: "Lets a key end at a Unix time in milliseconds; at once when that has passed.",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
        handler: |call| expire(call, Unit::Milliseconds, Origin::Epoch),
        ..WRITE
    },
    Spec {
        name: "pexpiretime",
        since: "7.0.0",
        summary: "Returns the Unix time in milliseconds at which a key ends.",
        handler: |call| ttl(call, Unit::Milliseconds, Origin::Epoch),
        ..READ
    },
    Spec {
        name: "pttl",
        since: "2.6.0",
        summary: "Returns the milliseconds a key has left.",
        handler: |call| ttl(call, Unit::Milliseconds, Origin::Now),
        ..READ
    },
    Spec {
        name: "ttl",
        since: "1.0.0",
        summary: "Returns the seconds a key has left, rounded.",
        handler: |call| ttl(call, Unit::Seconds, Origin::Now),
        ..READ
    },
];

/// The refusal of a time that cannot be, naming the command.
pub(crate) fn invalid_time(call: &Call<'_>) -> Error {
    let command = String::from_utf8_lossy(call.arg(0)).to_ascii_lowercase();
    refuse!("ERR invalid expire time in '{command}' command")
}

/// Argument `index` as the time at which something ends: any that fits, the first for those before 1970.
pub(crate) fn deadline(call: &Call<'_>, index: usize, unit: Unit, origin: Origin) -> Result<TimeMs, Error> {
    let count = call.integer(index)?;
    let ms = match unit {
        Unit::Seconds => count.checked_mul(1000),
        Unit::Milliseconds => Some(count),
    };
    let base = match origin {
        Origin::Now => call.now().0,
        Origin::Epoch => 0,
    };
    let at = ms.and_then(|ms| ms.checked_add(base)).ok_or_else(|| invalid_time(call))?;
    Ok(TimeMs(at.max(1)))
}

/// As [`deadline`] for the commands that take a negative time for a mistake.
pub(crate) fn deadline_unsigned(call: &Call<'_>, index: usize, unit: Unit, origin: Origin) -> Result<TimeMs, Error> {
    if call.integer(index)? < 0 { Err(invalid_time(call)) } else { deadline(call, index, unit, origin) }
}

/// What the TTL families answer for something that ends at `at`; seconds are rounded, halves up.
pub(crate) fn time_left(at: TimeMs, now: TimeMs, unit: Unit, origin: Origin) -> i64 {
    let ms = match origin {
        Origin::Now => at.0.saturating_sub(now.0).max(0),
        Origin::Epoch => at.0,
    };
    match unit {
        Unit::Seconds => ms / 1000 + i64::from(ms % 1000 >= 500),
        Unit::Milliseconds => ms,
    }
}

/// On which present end of life a new one is taken: NX, XX, GT, LT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    if_none: bool,
    if_some: bool,
    if_later: bool,
    if_sooner: bool,
}

impl Conditions {
    /// Reads `words`, all of which must be conditions.
    pub(crate) fn parse<'w>(words: impl Iterator<Item = &'w [u8]>) -> Result<Conditions, Error> {
        let mut conditions = Conditions::default();
        for word in words {
            *conditions.named(word).ok_or_else(|| unsupported(word))? = true;
        }
        let Conditions { if_none, if_some, if_later, if_sooner } = conditions;
        if if_none && (if_some || if_later || if_sooner) {
            return Err(Error::text("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if if_later && if_sooner {
            return Err(Error::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    fn named(&mut self, word: &[u8]) -> Option<&mut bool> {
        match &word.to_ascii_uppercase()[..] {
            b"NX" => Some(&mut self.if_none),
            b"XX" => Some(&mut self.if_some),
            b"GT" => Some(&mut self.if_later),
            b"LT" => Some(&mut self.if_sooner),
            _ => None,
        }
    }

    /// Whether something that ends at `current` (never, if `None`, which is later than any time) may end at `new`.
    pub(crate) fn allow(self, current: Option<TimeMs>, new: TimeMs) -> bool {
        match current {
            None => !self.if_some && !self.if_later,
            Some(at) => !self.if_none && (!self.if_later || at < new) && (!self.if_sooner || new < at),
        }
    }
}

fn unsupported(word: &[u8]) -> Error {
    refuse!("ERR Unsupported option {}", String::from_utf8_lossy(word))
}

fn expire(call: &mut Call<'_>, unit: Unit, origin: Origin) -> Result<Flow, Error> {
    let conditions = Conditions::parse(call.args.skip(3).iter())?;
    let at = deadline(call, 2, unit, origin)?;
    let key = call.arg(1);
    let found = call.tx.find(key);
    let is_taken = found.is_some_and(|found| conditions.allow(call.tx.entry(found).expires(), at));
    if is_taken && call.ends_at_once(at) {
        call.tx.delete(key);
        call.tx.count_ended(key, EndedCounts { key_count: 1, field_count: 0 });
        call.notify(Event::Expired, "expired", key);
    } else if is_taken {
        call.tx.expire(key, Some(at));
        call.notify(Event::Generic, "expire", key);
    }
    call.reply.integer(i64::from(is_taken));
    Ok(Flow::Done)
}

fn persist(call: &mut Call<'_>) -> Result<Flow, Error> {
    let key = call.arg(1);
    let found = call.tx.find(key);
    let ends = found.is_some_and(|found| call.tx.entry(found).expires().is_some());
    if ends {
        call.tx.expire(key, None);
        call.notify(Event::Generic, "persist", key);
    }
    call.reply.integer(i64::from(ends));
    Ok(Flow::Done)
}

fn ttl(call: &mut Call<'_>, unit: Unit, origin: Origin) -> Result<Flow, Error> {
    const ABSENT: i64 = -2;
    const ENDLESS: i64 = -1;
    let left = match call.tx.look_for(call.arg(1)) {
        None => ABSENT,
        Some(found) => match call.tx.entry(found).expires() {
            None => ENDLESS,
            Some(at) => time_left(at, call.now(), unit, origin),
        },
    };
    call.reply.integer(left);
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Conditions, Error> {
        Conditions::parse(words.split_whitespace().map(str::as_bytes))
    }

    #[test]
    fn conditions_that_exclude_each_other_are_refused() {
        for words in ["nx xx", "NX GT", "lt nx"] {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            assert_eq!(parsed(words), Err(Error::text(text)), "{words}");
        }
        assert_eq!(parsed("GT lt"), Err(Error::text("ERR GT and LT options at the same time are not compatible")));
        assert_eq!(parsed("xx ab").unwrap_err().reply(), "ERR Unsupported option ab");
        for words in ["", "nx", "xx gt", "xx lt", "nx NX"] {
            assert!(parsed(words).is_ok(), "{words}");
        }
    }

    #[test]
    fn an_endless_life_is_later_than_any_time() {
        let now = TimeMs(10);
        let allowed = |words: &str, current: Option<i64>| parsed(words).unwrap().allow(current.map(TimeMs), now);
        for (words, endless, sooner, same, later) in [
            ("", true, true, true, true),
            ("nx", true, false, false, false),
            ("xx", false, true, true, true),
            ("gt", false, true, false, false),
            ("lt", true, false, false, true),
            ("xx lt", false, false, false, true),
        ] {
            let seen = [None, Some(9), Some(10), Some(11)].map(|current| allowed(words, current));
            assert_eq!(seen, [endless, sooner, same, later], "{words}");
        }
    }

    #[test]
    fn seconds_are_rounded_halves_up_and_never_negative() {
        let left = |at, unit| time_left(TimeMs(at), TimeMs(1000), unit, Origin::Now);
        assert_eq!([1499, 1500, 2499, 2500].map(|at| left(at, Unit::Seconds)), [0, 1, 1, 2]);
        assert_eq!(left(1001, Unit::Milliseconds), 1);
        assert_eq!(left(0, Unit::Milliseconds), 0);
        assert_eq!(time_left(TimeMs(i64::MAX), TimeMs(0), Unit::Seconds, Origin::Epoch), i64::MAX / 1000 + 1);
    }
}
