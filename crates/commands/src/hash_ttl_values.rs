//! Values and ends of hash fields together: HGETEX, HSETEX and HGETDEL.
//!
//! Options stand before the word FIELDS. A time that has passed removes the fields it is given to, as in HEXPIRE;
//! HSETEX then creates nothing.
//!
//! Where Valkey 9 and Redis 8 differ: NX and XX of HSETEX, about the key, are Valkey's; everything else both take.
//!
//! Source: behaviour of Valkey 9.1 `t_hash.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::expire::{Origin, Unit, deadline_unsigned};
use crate::hash_ttl::{Changes, FieldState, counted_fields, fields_at_once, fields_word};
use crate::hashes::{live_field, notify_if_gone};
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use base::TimeMs;
use keyspace::Event;
use keyspace::hash::Hash;
use keyspace::partition::EndedCounts;
use wire::args::Args;

const ROW: Spec = Spec {
    name: "",
    arity: Arity::AtLeast(5),
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::Hash,
    since: "8.0.0",
    complexity: "O(N) for N fields",
    summary: "",
    syntax: "",
    handler: get_and_delete,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "hgetdel",
        touches: Touches::keys(&[KeyUse::RW_ACCESS_DELETE]),
        summary: "Returns the values of fields of a hash and removes them.",
        syntax: "key FIELDS numfields field [field ...]",
        handler: get_and_delete,
        ..ROW
    },
    Spec {
        name: "hgetex",
        summary: "Returns the values of fields of a hash and changes when they end.",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] FIELDS numfields field [field ...]",
        handler: get_and_expire,
        ..ROW
    },
    Spec {
        name: "hsetex",
        touches: Touches::keys(&[KeyUse::RW_INSERT]),
        arity: Arity::AtLeast(6),
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        summary: "Sets fields of a hash together with when they end, all or none.",
        syntax: "key [NX | XX] [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] FIELDS numfields field value [field value ...]",
        handler: set_and_expire,
        ..ROW
    },
];

/// What a command asks for about the end of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Nothing.
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Endless,
    /// EX, PX, EXAT, PXAT and the time behind it, argument `at`.
    Until { unit: Unit, origin: Origin, at: usize },
}

/// Whether something must be there or must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Absent,
    Present,
}

/// The options before the word FIELDS.
#[derive(Debug)]
struct Options {
    life: Life,
    key: Option<Presence>,
    field: Option<Presence>,
}

/// Which options a command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Get,
    Set,
}

impl Options {
    /// Reads the arguments from 2 up to `end`.
    fn parse(call: &Call<'_>, end: usize, dialect: Dialect) -> Result<Options, Error> {
        let mut options = Options { life: Life::Unsaid, key: None, field: None };
        let mut index = 2;
        while index < end {
            let word = call.arg(index).to_ascii_uppercase();
            let is_taken = match (&word[..], dialect) {
                (b"NX", Dialect::Set) => agree(&mut options.key, Presence::Absent),
                (b"XX", Dialect::Set) => agree(&mut options.key, Presence::Present),
                (b"FNX", Dialect::Set) => agree(&mut options.field, Presence::Absent),
                (b"FXX", Dialect::Set) => agree(&mut options.field, Presence::Present),
                (b"KEEPTTL", Dialect::Set) => options.live(Life::Keep),
                (b"PERSIST", Dialect::Get) => options.live(Life::Endless),
                _ => {
                    index += 1;
                    index < end && until(&word, index).is_some_and(|life| options.live(life))
                }
            };
            if !is_taken {
                return Err(Error::Syntax);
            }
            index += 1;
        }
        Ok(options)
    }

    /// Takes a wish about the end, which may be repeated (the last counts) but not mixed with another.
    fn live(&mut self, life: Life) -> bool {
        let same = match (self.life, life) {
            (Life::Until { unit, origin, .. }, Life::Until { unit: new_unit, origin: new_origin, .. }) => {
                (unit, origin) == (new_unit, new_origin)
            }
            (old, new) => old == Life::Unsaid || old == new,
        };
        self.life = life;
        same
    }
}

/// Asks for `presence`, unless the opposite was asked for before.
fn agree(slot: &mut Option<Presence>, presence: Presence) -> bool {
    *slot.get_or_insert(presence) == presence
}

fn until(word: &[u8], at: usize) -> Option<Life> {
    let (unit, origin) = match word {
        b"EX" => (Unit::Seconds, Origin::Now),
        b"PX" => (Unit::Milliseconds, Origin::Now),
        b"EXAT" => (Unit::Seconds, Origin::Epoch),
        b"PXAT" => (Unit::Milliseconds, Origin::Epoch),
        _ => return None,
    };
    Some(Life::Until { unit, origin, at })
}

/// Writes the values of `fields`, null for those that are absent or that `changes` has removed, and lets `changes`
/// take in each field for which `is_changed` holds, given when it ends.
fn reply_values<'c>(
    call: &mut Call<'c>,
    fields: Args<'c>,
    changes: &mut Changes<'c>,
    is_changed: impl Fn(Option<TimeMs>) -> bool,
) -> Result<(), Error> {
    let now = call.horizon();
    let hash = call.tx.hash(call.args.at(1))?;
    call.reply.array(fields.count());
    for name in fields.iter() {
        match (changes.state_of(hash, name, now), live_field(hash, name, now)) {
            (FieldState::Ends(expires), Some(field)) => {
                call.reply.bulk(field.value);
                if is_changed(expires) {
                    changes.push(name);
                }
            }
            (FieldState::Absent, _) | (_, None) => call.reply.null(),
        }
    }
    Ok(())
}

fn get_and_delete(call: &mut Call<'_>) -> Result<Flow, Error> {
    let fields = fields_at_once(call)?;
    let mut changes = Changes::new(FieldState::Absent);
    reply_values(call, fields, &mut changes, |_| true)?;
    changes.apply(call, call.args.at(1), "hdel")?;
    Ok(Flow::Done)
}

fn get_and_expire(call: &mut Call<'_>) -> Result<Flow, Error> {
    let word = fields_word(call, 2)?;
    let options = Options::parse(call, word, Dialect::Get)?;
    let fields = counted_fields(call, word, 1)?;
    call.tx.hash(call.args.at(1))?; // A key of another type is refused before a time that makes no sense.
    let after = match options.life {
        Life::Until { unit, origin, at } => Some(FieldState::ending(call, deadline_unsigned(call, at, unit, origin)?)),
        Life::Endless => Some(FieldState::Ends(None)),
        Life::Unsaid | Life::Keep => None,
    };
    let mut changes = Changes::new(after.unwrap_or(FieldState::Ends(None)));
    reply_values(call, fields, &mut changes, |expires| match after {
        None => false,
        Some(FieldState::Ends(None)) => expires.is_some(),
        Some(FieldState::Absent | FieldState::Ends(Some(_))) => true,
    })?;
    changes.apply_ending(call, call.args.at(1))?;
    Ok(Flow::Done)
}

fn set_and_expire(call: &mut Call<'_>) -> Result<Flow, Error> {
    let word = fields_word(call, 2)?;
    let options = Options::parse(call, word, Dialect::Set)?;
    let pairs = counted_fields(call, word, 2)?;
    let key = call.arg(1);
    let is_there = call.tx.hash(key)?.is_some();
    let is_set = fits(options.key, is_there) && set_fitting(call, &options, pairs)?;
    call.reply.integer(i64::from(is_set));
    Ok(Flow::Done)
}

fn fits(wanted: Option<Presence>, is_there: bool) -> bool {
    match wanted {
        None => true,
        Some(Presence::Present) => is_there,
        Some(Presence::Absent) => !is_there,
    }
}

fn names(pairs: Args<'_>) -> impl Iterator<Item = &[u8]> {
    (0..pairs.count() / 2).map(move |pair| pairs.at(2 * pair))
}

/// HSETEX once the key is as asked for. Returns whether the fields are, too.
fn set_fitting<'c>(call: &mut Call<'c>, options: &Options, pairs: Args<'c>) -> Result<bool, Error> {
    let (key, now) = (call.arg(1), call.horizon());
    let expires = match options.life {
        Life::Until { unit, origin, at } => Some(deadline_unsigned(call, at, unit, origin)?),
        Life::Unsaid | Life::Keep | Life::Endless => None,
    };
    let is_past = expires.is_some_and(|at| call.ends_at_once(at));
    let hash = call.tx.hash(key)?;
    if !names(pairs).all(|name| fits(options.field, live_field(hash, name, now).is_some())) {
        return Ok(false);
    }
    if is_past {
        let present: Vec<&[u8]> = names(pairs).filter(|name| live_field(hash, name, now).is_some()).collect();
        call.tx.hash_delete(key, present.into_iter())?;
        // As in Valkey: each field was set and has ended, those included that were not there before.
        call.tx.count_ended(key, EndedCounts { key_count: 0, field_count: (pairs.count() / 2) as u64 });
        notify_set(call, key, &["hset", "hexpire", "hexpired"]);
        notify_if_gone(call, key);
        return Ok(true);
    }
    let expiry_of = |name: &[u8]| if options.life == Life::Keep { kept(hash, name, now) } else { expires };
    let fields: Vec<_> =
        (0..pairs.count()).step_by(2).map(|at| (pairs.at(at), pairs.at(at + 1), expiry_of(pairs.at(at)))).collect();
    call.tx.hash_set(key, fields.into_iter())?;
    notify_set(call, key, if expires.is_some() { &["hset", "hexpire"] } else { &["hset"] });
    Ok(true)
}

fn notify_set(call: &mut Call<'_>, key: &[u8], names: &[&'static str]) {
    for name in names {
        call.notify(Event::Hash, name, key);
    }
}

/// When a field ends now, if it is there and ends.
fn kept(hash: Option<&Hash>, name: &[u8], now: TimeMs) -> Option<TimeMs> {
    live_field(hash, name, now).and_then(|field| field.expires)
}
