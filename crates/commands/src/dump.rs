//! DUMP and RESTORE: values in the form in which Redis and Valkey hand them from server to server.
//!
//! The payload is the `rdb` crate's business; here a value of the keyspace becomes one and comes from one. Fields
//! of a hash that have ended are neither given away nor taken in.
//!
//! Not done, and why: payloads of types that are not built yet are refused as Redis refuses a payload it cannot
//! read. `rdb-version-check relaxed` takes payloads of unknown versions, but of them only types that all have.
//!
//! Source: behaviour of Valkey 9.1 `cluster.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::refuse;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::touches::{KeyUse, Touches};
use base::TimeMs;
use base::number::format_i64;
use keyspace::entry::Stored;
use keyspace::hash::{Field, Hash};
use keyspace::list::{End, List};
use keyspace::partition::has_ended;
use keyspace::set::{Member, Set};
use keyspace::sorted_set::{Scored, encode_image};
use keyspace::{AccessClock, Event, Kind, STRING_BYTES_MAX, Str, Value};
use rdb::{DumpError, Object, Versions};

/// Memory that a payload may unfold to. Larger values are out of reach for DUMP itself, whose reply is one string.
const RESTORED_BYTES_MAX: usize = 1 << 30;

const ROW: Spec = Spec {
    name: "dump",
    arity: Arity::Exactly(2),
    flags: Flags::READONLY,
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::Generic,
    since: "2.6.0",
    complexity: "O(N) for N bytes of value",
    summary: "Returns the value of a key in serialized form.",
    syntax: "key",
    handler: dump,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    ROW,
    Spec {
        name: "restore",
        touches: Touches::keys(&[KeyUse::OW_UPDATE]),
        arity: Arity::AtLeast(4),
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::DANGEROUS),
        summary: "Creates a key from what DUMP returned.",
        syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds | FREQ frequency]",
        handler: restore,
        ..ROW
    },
];

fn dump(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, now) = (call.arg(1), call.horizon());
    call.tx.find(key);
    let payload = call.tx.peek_value(key)?.and_then(|value| payload(value, now));
    match payload {
        Some(payload) => call.reply.bulk(&payload),
        None => call.reply.null(),
    }
    Ok(Flow::Done)
}

/// The payload of a value; `None` of a hash whose fields have all ended.
fn payload(value: Stored<'_>, now: TimeMs) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match value {
        Stored::Inline(bytes) => rdb::dump_string(&mut out, bytes),
        Stored::Boxed(Value::Bytes(bytes)) => rdb::dump_string(&mut out, bytes),
        Stored::Int(number) => rdb::dump_string(&mut out, &format_i64(number)),
        Stored::Boxed(Value::Hash(hash)) => {
            let fields: Vec<Field<'_>> = hash.iter().filter(|field| !has_ended(field.expires, now)).collect();
            if fields.is_empty() {
                return None;
            }
            rdb::dump_hash(&mut out, fields.iter().map(|field| (field.name, field.value, field.expires)));
        }
        Stored::Boxed(Value::List(list)) => {
            rdb::dump_list(&mut out, |put| list.for_each(|element| put(&element.bytes())));
        }
        Stored::Boxed(Value::Set(set)) => {
            let members: Vec<Member<'_>> = set.iter().collect();
            rdb::dump_set(&mut out, members.iter().map(|member| &**member));
        }
        Stored::Boxed(Value::SortedSet(set)) => {
            let members: Vec<Scored<'_>> = set.iter().collect();
            rdb::dump_sorted_set(&mut out, members.iter().map(|scored| (scored.member, scored.score)));
        }
        Stored::Boxed(Value::Stream(stream)) => crate::stream_dump::dump(&mut out, stream),
        Stored::Spilled => unreachable!("the transaction fetched the value"),
    }
    Some(out)
}

/// The words behind RESTORE's payload.
#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    is_absolute: bool,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl RestoreOptions {
    fn parse(call: &Call<'_>) -> Result<RestoreOptions, Error> {
        let mut options = RestoreOptions::default();
        let mut index = 4;
        while index < call.arg_count() {
            let has_value = index + 1 < call.arg_count();
            if call.is_word(index, "REPLACE") {
                options.replace = true;
            } else if call.is_word(index, "ABSTTL") {
                options.is_absolute = true;
            } else if call.is_word(index, "IDLETIME") && has_value && options.frequency.is_none() {
                index += 1;
                options.idle_seconds = Some(idle_seconds(call, index)?);
            } else if call.is_word(index, "FREQ") && has_value && options.idle_seconds.is_none() {
                index += 1;
                options.frequency = Some(frequency(call, index)?);
            } else {
                return Err(Error::Syntax);
            }
            index += 1;
        }
        Ok(options)
    }

    /// When the key ends; `None` for a TTL of 0, which means never.
    fn expires(&self, call: &Call<'_>) -> Result<Option<TimeMs>, Error> {
        let ttl_ms = call.integer(2)?;
        let base = if self.is_absolute { 0 } else { call.now().0 };
        match ttl_ms {
            ..0 => Err(Error::text("ERR Invalid TTL value, must be >= 0")),
            0 => Ok(None),
            _ => Ok(Some(TimeMs(ttl_ms.saturating_add(base)))),
        }
    }

    /// The access clock the key is to have, if the policy in force keeps what was asked for.
    fn access(&self, clock: &AccessClock) -> Option<u32> {
        match clock.frequency {
            None => self.idle_seconds.map(|seconds| clock.idle_since(seconds)),
            Some(_) => self.frequency.map(|count| clock.with_frequency(count)),
        }
    }
}

fn idle_seconds(call: &Call<'_>, index: usize) -> Result<u64, Error> {
    let seconds = u64::try_from(call.integer(index)?);
    seconds.map_err(|_| Error::text("ERR Invalid IDLETIME value, must be >= 0"))
}

fn frequency(call: &Call<'_>, index: usize) -> Result<u8, Error> {
    let count = u8::try_from(call.integer(index)?);
    count.map_err(|_| Error::text("ERR Invalid FREQ value, must be >= 0 and <= 255"))
}

/// Kind and image of the value that was in a payload; `None` of a hash whose fields have all ended at `now`.
///
/// # Errors
/// A value that Redis could hold, and a key here cannot: a string that is too long, an entry of a stream without fields.
pub fn image_of(object: Object, now: TimeMs) -> Result<Option<(Kind, Vec<u8>)>, Error> {
    const BAD: Error = Error::text("ERR Bad data format");
    match object {
        Object::String(bytes) if bytes.len() <= STRING_BYTES_MAX => Ok(Some((Kind::String, bytes))),
        Object::Hash(fields) => {
            let mut hash = Hash::new();
            for (name, value, expires) in fields.iter().filter(|(_, _, expires)| !has_ended(*expires, now)) {
                hash.set(name, value, *expires);
            }
            let mut image = Vec::new();
            hash.encode(&mut image);
            Ok((!hash.is_empty()).then_some((Kind::Hash, image)))
        }
        Object::List(elements) => {
            let mut list = List::new();
            for element in &elements {
                list.push(End::Back, Str::of(element));
            }
            let mut image = Vec::new();
            list.encode(&mut image);
            Ok((!list.is_empty()).then_some((Kind::List, image)))
        }
        Object::Set(members) => {
            let mut set = Set::new();
            for member in &members {
                set.add(member);
            }
            let mut image = Vec::new();
            set.encode(&mut image);
            Ok(Some((Kind::Set, image)))
        }
        Object::SortedSet(members) => {
            let mut image = Vec::new();
            let scored = members.iter().map(|(member, score)| Scored { member, score: *score });
            encode_image(&mut image, members.len(), scored);
            Ok(Some((Kind::SortedSet, image)))
        }
        Object::Stream(stream) => {
            let mut image = Vec::new();
            crate::stream_dump::restored(&stream).ok_or(BAD)?.encode(&mut image);
            Ok(Some((Kind::Stream, image)))
        }
        Object::String(_) => Err(BAD),
    }
}

/// The value in a payload of a known version, or of any when the setting says so.
fn decoded(call: &Call<'_>, payload: &[u8]) -> Result<Object, Error> {
    let is_relaxed = || call.host.setting("rdb-version-check").is_some_and(|check| check == "relaxed");
    let object = match rdb::decode_dump_within(payload, RESTORED_BYTES_MAX, Versions::Known) {
        Err(DumpError::VersionOrChecksum) if is_relaxed() => {
            rdb::decode_dump_within(payload, RESTORED_BYTES_MAX, Versions::Any)
        }
        object => object,
    };
    object.map_err(|error| refuse!("ERR {error}"))
}

fn restore(call: &mut Call<'_>) -> Result<Flow, Error> {
    let options = RestoreOptions::parse(call)?;
    let key = call.arg(1);
    if !options.replace && call.tx.peek(key).is_some() {
        return Err(Error::text("BUSYKEY Target key name already exists."));
    }
    let expires = options.expires(call)?;
    let value = image_of(decoded(call, call.arg(3))?, call.horizon())?
        .filter(|_| !expires.is_some_and(|at| call.ends_at_once(at)));
    match value {
        Some((kind, image)) => {
            call.ensure_room(key.len() + image.len())?;
            call.tx.put_image(key, kind, &image, expires);
            restore_access(call, key, &options);
            call.notify(Event::Generic, "restore", key);
        }
        None if call.tx.delete(key) => call.notify(Event::Generic, "del", key),
        None => {}
    }
    call.reply.ok();
    Ok(Flow::Done)
}

fn restore_access(call: &mut Call<'_>, key: &[u8], options: &RestoreOptions) {
    if let Some(access) = options.access(call.tx.clock())
        && let Some(found) = call.tx.peek(key)
    {
        call.tx.set_access(found, access);
    }
}
