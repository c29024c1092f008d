//! HUSTDB: what hustdb's clients do, as commands: pairs and elements with versions that only count on.
//!
//! ```text
//! HTTP  /hustdb/hset?tb=t&key=f&val=v&ver=3  ─►  HUSTDB HSET t f v 0 3  ─►  [status, version, conflict, body]
//! ```
//!
//! Pairs are strings, tables are hashes, sets and sorted sets: in database 0, where every other command finds them. In
//! hustdb a pair and a table may have one name; who comes second lies in database 1 (`place`).
//!
//! The version of a pair is its key's revision; that of an element is kept beside its table (`keyspace::elements`). An
//! element that only other commands have written has version 1, however often that was.
//!
//! `ver` 0 asks for nothing, any other number for exactly this version. With `DUP` a write comes from another server that
//! has made it already, and `ver` is the version it has there (`Wanted`). A time to live is in seconds; one out of range
//! means none, and reads tell when what they found ends.
//!
//! Deliberately not here: walking tables (`hustdb_walk`), and names, bodies and headers, which are the HTTP door's.
//!
//! Invariant: every reply but an error begins with the status that hustdb would have sent.
//!
//! Source: hustdb's published API; `docs/adr/0017-versions-of-elements.md`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::hashes::live_field;
use crate::help::{HELP, help};
use crate::hustdb_walk;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{Dbs, KeyUse, Touches};
use base::number::{format_i64, parse_f64, parse_i64};
use base::{DbId, TimeMs};
use keyspace::elements::{ELEMENT_VERSION_MAX, Element, version_after};
use keyspace::partition::has_ended;
use keyspace::{Event, Kind, Tx};
use std::borrow::Cow;

/// Longest name of a pair or an element.
const NAME_BYTES_MAX: usize = 16_777_215;
/// How far behind the highest version, and behind the first, versions of two servers are taken for neighbours.
const WRAP_WINDOW: u32 = 100_000;
/// Longest time to live; a longer one means none.
pub const TTL_SECONDS_MAX: i64 = 2_592_000;
/// Where pairs and tables lie, in the order in which they are looked for.
pub(crate) const DBS: [DbId; 2] = [DbId(0), DbId(1)];

/// Done.
pub(crate) const DONE: i64 = 200;
/// An argument is refused.
pub(crate) const REFUSED: i64 = 400;
/// The version is another one.
const CONFLICT: i64 = 401;
/// The value is no integer.
const NOT_INTEGER: i64 = 403;
/// There is no such pair or element.
const ABSENT: i64 = 404;
/// There is no such table, or something else is in its place.
pub(crate) const NO_TABLE: i64 = 412;

pub(crate) const READ: Spec = Spec {
    name: "",
    arity: Arity::Exactly(4),
    flags: Flags::READONLY,
    keys: Keys::Range { first: 2, last: 2, step: 1 },
    scope: Scope::Keys,
    group: Group::Generic,
    since: "larder 0.2",
    complexity: "O(1)",
    summary: "",
    syntax: "table-key element",
    handler: help,
    subcommands: &[],
    touches: Touches::keys(&[KeyUse::RO_ACCESS]).reaching(Dbs::All),
};

const WRITE: Spec = Spec {
    flags: Flags::WRITE.and(Flags::DENYOOM),
    touches: Touches::keys(&[KeyUse::RW_ACCESS_UPDATE]).reaching(Dbs::All),
    ..READ
};

const REMOVE: Spec =
    Spec { arity: Arity::AtLeast(5), flags: Flags::WRITE, syntax: "table-key element ver [DUP]", ..WRITE };

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[Spec {
    name: "hustdb",
    arity: Arity::AtLeast(2),
    flags: Flags::NONE,
    keys: Keys::None,
    scope: Scope::Nothing,
    summary: "Runs what hustdb's HTTP API runs.",
    syntax: "",
    handler: help,
    touches: Touches::BY_FLAGS,
    subcommands: &[
        Spec {
            name: "del",
            arity: Arity::AtLeast(4),
            summary: "Removes a pair.",
            syntax: "key ver [DUP]",
            handler: delete,
            ..REMOVE
        },
        hustdb_walk::ELEMENTS,
        Spec {
            name: "get",
            arity: Arity::Exactly(3),
            summary: "Returns the value and the version of a pair, and when it ends.",
            syntax: "key",
            handler: get,
            ..READ
        },
        Spec {
            name: "hdel",
            summary: "Removes an element of a hash.",
            handler: |call| remove(call, Kind::Hash),
            ..REMOVE
        },
        HELP,
        Spec {
            name: "hget",
            summary: "Returns the value and the version of an element of a hash, and when it ends.",
            handler: |call| look(call, Kind::Hash),
            ..READ
        },
        Spec {
            name: "hincrby",
            arity: Arity::AtLeast(7),
            summary: "Adds an integer to an element of a hash.",
            syntax: "table-key element increment ttl ver [DUP]",
            handler: increment,
            ..WRITE
        },
        Spec {
            name: "hset",
            arity: Arity::AtLeast(7),
            summary: "Sets an element of a hash.",
            syntax: "table-key element value ttl ver [DUP]",
            handler: set_field,
            ..WRITE
        },
        hustdb_walk::ITEMS,
        Spec {
            name: "put",
            arity: Arity::AtLeast(6),
            summary: "Sets a pair.",
            syntax: "key value ttl ver [DUP]",
            handler: put,
            ..WRITE
        },
        Spec {
            name: "sadd",
            arity: Arity::AtLeast(6),
            summary: "Adds an element to a set, or writes it again.",
            syntax: "table-key element ttl ver [DUP]",
            handler: add_member,
            ..WRITE
        },
        Spec {
            name: "sget",
            summary: "Returns the version of an element of a set, and when it ends.",
            handler: |call| look(call, Kind::Set),
            ..READ
        },
        Spec {
            name: "srem",
            summary: "Removes an element of a set.",
            handler: |call| remove(call, Kind::Set),
            ..REMOVE
        },
        hustdb_walk::STAT,
        hustdb_walk::TABLES,
        Spec {
            name: "zadd",
            arity: Arity::AtLeast(8),
            summary: "Sets the score of an element of a sorted set (opt 0), or adds to it (1) or subtracts from it (-1).",
            syntax: "table-key score element opt ttl ver [DUP]",
            complexity: "O(log N) for N elements",
            handler: set_score,
            ..WRITE
        },
        Spec {
            name: "zget",
            summary: "Returns the score and the version of an element of a sorted set, and when it ends.",
            handler: |call| look(call, Kind::SortedSet),
            ..READ
        },
        Spec {
            name: "zrem",
            summary: "Removes an element of a sorted set.",
            complexity: "O(log N) for N elements",
            handler: |call| remove(call, Kind::SortedSet),
            ..REMOVE
        },
    ],
    ..READ
}];

/// Where something of a name is, or may come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// There is one, in this database.
    Here(DbId),
    /// There is none, and nothing else in the way in this database.
    Free(DbId),
    /// Something else is in the way in both.
    Taken,
}

/// Finds what has this name and is of one of these kinds.
pub(crate) fn place(tx: &mut Tx<'_>, name: &[u8], is_it: impl Fn(Kind) -> bool) -> Place {
    let mut free = Place::Taken;
    for db in DBS {
        tx.set_db(db);
        match tx.peek(name).map(|found| tx.entry(found).kind()) {
            Some(kind) if is_it(kind) => return Place::Here(db),
            None if free == Place::Taken => free = Place::Free(db),
            _ => {}
        }
    }
    free
}

/// Whether a value of this kind is a table.
pub(crate) fn is_table(kind: Kind) -> bool {
    matches!(kind, Kind::Hash | Kind::Set | Kind::SortedSet)
}

/// Selects the database of a table of this kind. Returns false, having selected the one where it may come to be, when
/// there is none.
///
/// # Errors
/// [`NO_TABLE`]: another kind of table has the name, or there is no place for one.
fn select_table(call: &mut Call<'_>, name: &[u8], kind: Kind) -> Result<bool, i64> {
    match place(&mut call.tx, name, is_table) {
        Place::Here(db) => {
            call.tx.set_db(db);
            let found = call.tx.peek(name).expect("it was just found");
            if call.tx.entry(found).kind() == kind { Ok(true) } else { Err(NO_TABLE) }
        }
        Place::Free(db) => {
            call.tx.set_db(db);
            Ok(false)
        }
        Place::Taken => Err(NO_TABLE),
    }
}

/// Which version a write asks for.
#[derive(Clone, Copy)]
struct Wanted {
    /// 0 asks for none.
    version: u32,
    /// The write was made by another server already and has this version there: it counts where it is the newer one, and
    /// keeps its version.
    is_duplicate: bool,
}

impl Wanted {
    /// Why it is refused where `current` is, if it is. To remove, version 0 is enough for a duplicate, too.
    fn refusal(self, current: u32, removes: bool) -> Option<Answer> {
        let Wanted { version, is_duplicate } = self;
        if !is_duplicate {
            let is_refused = version != 0 && version != current;
            return is_refused.then_some(Answer { status: CONFLICT, version: current, is_conflict: current != 0 });
        }
        if version == 0 {
            return (!removes).then_some(Answer::failed(CONFLICT));
        }
        if ELEMENT_VERSION_MAX < version {
            return Some(Answer::failed(REFUSED));
        }
        let is_wrapped = ELEMENT_VERSION_MAX - current <= WRAP_WINDOW && version <= WRAP_WINDOW;
        let is_newer = current <= version || is_wrapped;
        (!is_newer).then_some(Answer { status: DONE, version: current, is_conflict: true })
    }

    /// The version that what is written has where `current` was.
    fn written(self, current: u32) -> u32 {
        if self.is_duplicate { self.version } else { version_after(current) }
    }
}

/// What a command of this family answers.
struct Answer {
    status: i64,
    version: u32,
    is_conflict: bool,
}

impl Answer {
    fn done(version: u32) -> Answer {
        Answer { status: DONE, version, is_conflict: false }
    }

    fn failed(status: i64) -> Answer {
        Answer { status, version: 0, is_conflict: false }
    }
}

/// Runs `decide` and answers what it says, with a body if it wrote one. The selected database is left as it was.
fn answer(
    call: &mut Call<'_>,
    decide: impl FnOnce(&mut Call<'_>, &mut Option<Vec<u8>>) -> Result<Answer, Error>,
) -> Result<Flow, Error> {
    let (db, mut body) = (call.tx.db(), None);
    let decided = decide(call, &mut body);
    call.tx.set_db(db);
    put_answer(call, 4, &decided?, body.as_deref());
    Ok(Flow::Done)
}

/// What a read found.
struct Found {
    version: u32,
    body: Option<Vec<u8>>,
    ends: Option<TimeMs>,
}

/// As [`answer`] for a read, which says in Unix seconds when what it found ends, 0 for never. `Err` is a status.
fn answer_read(
    call: &mut Call<'_>,
    look: impl FnOnce(&mut Call<'_>) -> Result<Result<Found, i64>, Error>,
) -> Result<Flow, Error> {
    let db = call.tx.db();
    let found = look(call);
    call.tx.set_db(db);
    let ends = match found? {
        Ok(Found { version, body, ends }) => {
            put_answer(call, 5, &Answer::done(version), body.as_deref());
            ends
        }
        Err(status) => {
            put_answer(call, 5, &Answer::failed(status), None);
            None
        }
    };
    // What ends within a second has not ended yet.
    call.reply.integer(ends.map_or(0, |at| at.0.div_euclid(1000) + i64::from(at.0.rem_euclid(1000) != 0)));
    Ok(Flow::Done)
}

/// Writes the first four of `count` replies.
fn put_answer(call: &mut Call<'_>, count: usize, answer: &Answer, body: Option<&[u8]>) {
    call.reply.array(count);
    call.reply.integer(answer.status);
    call.reply.integer(i64::from(answer.version));
    call.reply.integer(i64::from(answer.is_conflict));
    match body {
        Some(body) => call.reply.bulk(body),
        None => call.reply.null(),
    }
}

/// Reads `ver [DUP]`, the last arguments.
fn wanted_args(call: &Call<'_>, index: usize) -> Result<Wanted, Error> {
    let version = u32::try_from(call.integer(index)?).map_err(|_| Error::NotInteger)?;
    let is_duplicate = match call.arg_count() - index {
        1 => false,
        2 if call.is_word(index + 1, "DUP") => true,
        _ => return Err(Error::Syntax),
    };
    Ok(Wanted { version, is_duplicate })
}

/// When what is given this many seconds ends.
fn expires_arg(call: &Call<'_>, index: usize) -> Result<Option<TimeMs>, Error> {
    let seconds = call.integer(index)?;
    Ok((1..=TTL_SECONDS_MAX).contains(&seconds).then(|| TimeMs(call.now().0 + seconds * 1_000)))
}

fn is_name(name: &[u8]) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
}

/// The version of the pair at `key`, 0 when there is none. Revisions go further than versions do.
pub(crate) fn version_of_revision(revision: u32) -> u32 {
    (revision.max(1) - 1) % ELEMENT_VERSION_MAX + 1
}

fn pair_version(call: &Call<'_>, key: &[u8]) -> u32 {
    call.tx.peek(key).map_or(0, |found| version_of_revision(call.tx.entry(found).revision()))
}

/// When the key ends, if ever.
fn key_end(call: &Call<'_>, key: &[u8]) -> Option<TimeMs> {
    call.tx.peek(key).and_then(|found| call.tx.entry(found).expires())
}

fn is_string(kind: Kind) -> bool {
    kind == Kind::String
}

fn get(call: &mut Call<'_>) -> Result<Flow, Error> {
    let key = call.arg(2);
    answer_read(call, |call| {
        let Place::Here(db) = place(&mut call.tx, key, is_string) else { return Ok(Err(ABSENT)) };
        call.tx.set_db(db);
        let (version, ends) = (pair_version(call, key), key_end(call, key));
        let body = call.tx.string(key)?.map(|value| value.bytes().to_vec());
        Ok(Ok(Found { version, body, ends }))
    })
}

fn put(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, value, expires, wanted) = (call.arg(2), call.arg(3), expires_arg(call, 4)?, wanted_args(call, 5)?);
    answer(call, |call, _| {
        if !is_name(key) {
            return Ok(Answer::failed(REFUSED));
        }
        let (Place::Here(db) | Place::Free(db)) = place(&mut call.tx, key, is_string) else {
            return Ok(Answer::failed(NO_TABLE));
        };
        call.tx.set_db(db);
        if let Some(refusal) = wanted.refusal(pair_version(call, key), false) {
            return Ok(refusal);
        }
        call.tx.put_string(key, value, expires);
        if wanted.is_duplicate && pair_version(call, key) != wanted.version {
            call.tx.revise(key, wanted.version);
        }
        call.notify(Event::String, "set", key);
        Ok(Answer::done(pair_version(call, key)))
    })
}

fn delete(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, wanted) = (call.arg(2), wanted_args(call, 3)?);
    answer(call, |call, _| {
        let Place::Here(db) = place(&mut call.tx, key, is_string) else { return Ok(Answer::failed(ABSENT)) };
        call.tx.set_db(db);
        let current = pair_version(call, key);
        if let Some(refusal) = wanted.refusal(current, true) {
            return Ok(refusal);
        }
        call.tx.delete(key);
        call.notify(Event::Generic, "del", key);
        Ok(Answer::done(current))
    })
}

/// What is known of an element that is there in the value itself; version 0 when it has ended.
fn known_of(call: &mut Call<'_>, tb: &[u8], key: &[u8]) -> Result<Element, Error> {
    let horizon = call.horizon();
    Ok(match call.tx.element(tb, key)? {
        None => Element { version: 1, expires: None },
        Some(element) if has_ended(element.expires, horizon) => Element { version: 0, ..element },
        Some(element) => element,
    })
}

/// What a table has of an element.
struct Current {
    /// 0 when it is not there.
    version: u32,
    /// Its value or its score's text.
    body: Option<Vec<u8>>,
    /// When it ends, if ever.
    ends: Option<TimeMs>,
}

/// Looks an element up in a table of this kind, or where one may come to be, in the selected database.
fn current(call: &mut Call<'_>, tb: &[u8], key: &[u8], kind: Kind) -> Result<Current, Error> {
    let horizon = call.horizon();
    let found = match kind {
        Kind::Hash => live_field(call.tx.hash(tb)?, key, horizon).map(|field| (field.value.to_vec(), field.expires)),
        Kind::Set => call.tx.set(tb)?.filter(|set| set.contains(key)).map(|_| (Vec::new(), None)),
        _ => call.tx.sorted_set(tb)?.and_then(|set| set.score(key)).map(|score| (score_text(score), None)),
    };
    let Some((value, field_ends)) = found else { return Ok(Current { version: 0, body: None, ends: None }) };
    let known = known_of(call, tb, key)?;
    let ends = [field_ends, known.expires, key_end(call, tb)].into_iter().flatten().min();
    let body = (known.version != 0 && kind != Kind::Set).then_some(value);
    Ok(Current { version: known.version, body, ends })
}

/// A score as hustdb writes it: an integer, unless somebody else has set one that is none.
pub(crate) fn score_text(score: f64) -> Vec<u8> {
    base::number::format_f64(score).as_bytes().to_vec()
}

fn look(call: &mut Call<'_>, kind: Kind) -> Result<Flow, Error> {
    let (tb, key) = (call.arg(2), call.arg(3));
    answer_read(call, |call| {
        if select_table(call, tb, kind) != Ok(true) {
            return Ok(Err(NO_TABLE));
        }
        let Current { version, body, ends } = current(call, tb, key, kind)?;
        Ok(if version == 0 { Err(ABSENT) } else { Ok(Found { version, body, ends }) })
    })
}

fn remove(call: &mut Call<'_>, kind: Kind) -> Result<Flow, Error> {
    let (tb, key, wanted) = (call.arg(2), call.arg(3), wanted_args(call, 4)?);
    answer(call, |call, _| {
        if select_table(call, tb, kind) != Ok(true) {
            return Ok(Answer::failed(NO_TABLE));
        }
        let version = current(call, tb, key, kind)?.version;
        if version == 0 {
            return Ok(Answer::failed(ABSENT));
        }
        if let Some(refusal) = wanted.refusal(version, true) {
            return Ok(refusal);
        }
        let (event, name) = match kind {
            Kind::Hash => (Event::Hash, "hdel"),
            Kind::Set => (Event::Set, "srem"),
            _ => (Event::SortedSet, "zrem"),
        };
        let names = [key].into_iter();
        match kind {
            Kind::Hash => call.tx.hash_delete(tb, names)?,
            Kind::Set => call.tx.set_remove(tb, names)?,
            _ => call.tx.sorted_set_remove(tb, names)?,
        };
        call.notify(event, name, tb);
        crate::hashes::notify_if_gone(call, tb);
        Ok(Answer::done(version))
    })
}

/// A write of an element: where it goes and what it asks for.
#[derive(Clone, Copy)]
struct Write<'c> {
    tb: &'c [u8],
    key: &'c [u8],
    kind: Kind,
    expires: Option<TimeMs>,
    wanted: Wanted,
}

/// What a write puts.
enum Decided<'v> {
    /// This value of a field; one that was computed is told.
    Value(Cow<'v, [u8]>),
    /// A member of a set.
    Member,
    /// This score, which is told.
    Score(f64),
}

/// Looks, decides, changes the value and then what is known of the element. What `decide` refuses is answered with the
/// value as it is.
fn write<'v>(
    call: &mut Call<'_>,
    write: Write<'_>,
    decide: impl FnOnce(&Current) -> Result<Decided<'v>, Answer>,
) -> Result<Flow, Error> {
    let Write { tb, key, kind, expires, wanted } = write;
    answer(call, |call, body| {
        if !is_name(key) || !is_name(tb) {
            return Ok(Answer::failed(REFUSED));
        }
        if let Err(status) = select_table(call, tb, kind) {
            return Ok(Answer::failed(status));
        }
        let current = current(call, tb, key, kind)?;
        let decided = match decide(&current) {
            Ok(decided) => decided,
            Err(answer) => {
                *body = current.body;
                return Ok(answer);
            }
        };
        if let Some(refusal) = wanted.refusal(current.version, false) {
            return Ok(refusal);
        }
        put_decided(call, tb, key, &decided, expires)?;
        let element = Element { version: wanted.written(current.version), expires };
        // Where the version has followed the value, it is right already.
        if call.tx.element(tb, key)? != Some(element) {
            call.tx.put_element(tb, key, element)?;
        }
        *body = match decided {
            Decided::Score(score) => Some(score_text(score)),
            Decided::Value(Cow::Owned(value)) => Some(value),
            Decided::Value(Cow::Borrowed(_)) | Decided::Member => None,
        };
        Ok(Answer::done(element.version))
    })
}

fn put_decided(
    call: &mut Call<'_>,
    tb: &[u8],
    key: &[u8],
    decided: &Decided<'_>,
    expires: Option<TimeMs>,
) -> Result<(), Error> {
    let (event, name) = match decided {
        Decided::Value(value) => {
            call.tx.hash_set(tb, [(key, &value[..], expires)].into_iter())?;
            (Event::Hash, "hset")
        }
        Decided::Member => {
            call.tx.set_add(tb, [key].into_iter())?;
            (Event::Set, "sadd")
        }
        Decided::Score(score) => {
            call.tx.sorted_set_put(tb, [(key, *score)].into_iter())?;
            (Event::SortedSet, "zadd")
        }
    };
    call.notify(event, name, tb);
    Ok(())
}

fn set_field(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (tb, key, value) = (call.arg(2), call.arg(3), call.arg(4));
    let (expires, wanted) = (expires_arg(call, 5)?, wanted_args(call, 6)?);
    let field = Write { tb, key, kind: Kind::Hash, expires, wanted };
    write(call, field, |_| Ok(Decided::Value(Cow::Borrowed(value))))
}

fn increment(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (tb, key, increment) = (call.arg(2), call.arg(3), call.integer(4)?);
    let (expires, wanted) = (expires_arg(call, 5)?, wanted_args(call, 6)?);
    let field = Write { tb, key, kind: Kind::Hash, expires, wanted };
    write(call, field, |current| {
        let value = current.body.as_deref().map_or(Some(0), parse_i64);
        let sum = value.and_then(|value| value.checked_add(increment)).ok_or(Answer::failed(NOT_INTEGER))?;
        Ok(Decided::Value(Cow::Owned(format_i64(sum).as_bytes().to_vec())))
    })
}

fn add_member(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (tb, key, expires, wanted) = (call.arg(2), call.arg(3), expires_arg(call, 4)?, wanted_args(call, 5)?);
    write(call, Write { tb, key, kind: Kind::Set, expires, wanted }, |_| Ok(Decided::Member))
}

fn set_score(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (tb, score, key, sign) = (call.arg(2), call.integer(3)?, call.arg(4), call.integer(5)?.signum());
    let (expires, wanted) = (expires_arg(call, 6)?, wanted_args(call, 7)?);
    let member = Write { tb, key, kind: Kind::SortedSet, expires, wanted };
    write(call, member, |current| {
        let text = current.body.as_deref();
        if sign == 0 {
            let is_same = text.is_some_and(|text| parse_f64(text) == Some(score as f64));
            let stays = is_same && wanted.version <= current.version;
            return if stays { Err(Answer::done(current.version)) } else { Ok(Decided::Score(score as f64)) };
        }
        let sum = text.map_or(Some(0), parse_i64).and_then(|value| value.checked_add(score.checked_mul(sign)?));
        sum.map(|sum| Decided::Score(sum as f64)).ok_or(Answer::failed(NOT_INTEGER))
    })
}
