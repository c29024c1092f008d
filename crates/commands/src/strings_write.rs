//! Writing strings: SET and its kin, MSET and its kin, APPEND, SETRANGE, GETEX, GETDEL, DELIFEQ.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::host::Host;
use crate::refuse;
use crate::strings_options::{Condition, Life, Options, Taker, Unit, deadline};
use crate::strings_read as read;
use base::TimeMs;
use base::number::{parse_i64, parse_u64};
use keyspace::{Event, Found, STRING_BYTES_MAX};
use wire::args::Args;

/// `proto-max-bulk-len` cannot be set lower than this, so shorter strings need not ask for it.
const LIMIT_BYTES_MIN: usize = 1 << 20;
const _: () = assert!(LIMIT_BYTES_MIN <= STRING_BYTES_MAX);

/// The longest string that may be made: `proto-max-bulk-len`.
pub(crate) fn limit_bytes(host: &dyn Host) -> usize {
    let setting = host.setting("proto-max-bulk-len").and_then(|text| text.parse().ok());
    setting.unwrap_or(STRING_BYTES_MAX).min(STRING_BYTES_MAX)
}

/// Whether a string of `bytes` may be made. Asks the host only where the answer depends on it.
pub(crate) fn is_length_allowed(host: &dyn Host, bytes: usize) -> bool {
    bytes <= LIMIT_BYTES_MIN || bytes <= limit_bytes(host)
}

/// Checks that a string of `bytes` may be made; `None` is a length beyond any number.
fn ensure_length(host: &dyn Host, bytes: Option<usize>) -> Result<(), Error> {
    match bytes {
        Some(bytes) if is_length_allowed(host, bytes) => Ok(()),
        _ => Err(Error::text("ERR string exceeds maximum allowed size (proto-max-bulk-len)")),
    }
}

/// `SET key value [NX | XX | IFEQ value | IFVER version] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`
pub(crate) fn set(call: &mut Call<'_>) -> Result<Flow, Error> {
    if call.arg_count() > 3 {
        return set_with_options(call);
    }
    call.tx.put_string(call.args.at(1), call.args.at(2), None);
    call.notify(Event::String, "set", call.args.at(1));
    call.reply.ok();
    Ok(Flow::Done)
}

/// Replies with the string at `key`, as a command that only reads does: it is news when there is none.
fn reply_with(call: &mut Call<'_>, key: &[u8]) -> Result<(), Error> {
    call.tx.hear_misses(true);
    read::put(&mut call.reply, call.tx.string_to_show(key)?);
    call.tx.hear_misses(false);
    Ok(())
}

fn set_with_options(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, value) = (call.arg(1), call.arg(2));
    let options = Options::parse(call.args.skip(3), Taker::Set)?;
    let expires = options.deadline(call.now(), "set")?;
    if options.get {
        reply_with(call, key)?;
    }
    let found = call.tx.find(key);
    let holds = condition_holds(call, key, found, options.condition)?;
    match (holds, options.get) {
        (_, true) => {}
        (true, false) => call.reply.ok(),
        (false, false) => call.reply.null(),
    }
    if holds {
        let kept = kept_expiry(call, found, options.life);
        store(call, key, value, expires, kept);
        if let Some(media_type) = options.media_type.filter(|_| call.tx.peek(key).is_some()) {
            call.tx.put_media_type(key, media_type);
        }
    }
    Ok(Flow::Done)
}

fn condition_holds(
    call: &mut Call<'_>,
    key: &[u8],
    found: Option<Found>,
    condition: Condition<'_>,
) -> Result<bool, Error> {
    Ok(match condition {
        Condition::Always => true,
        Condition::Absent => found.is_none(),
        Condition::Present => found.is_some(),
        Condition::Equals(wanted) => call.tx.string(key)?.is_some_and(|string| *string.bytes() == *wanted),
        Condition::Version(wanted) => found.map_or(0, |found| call.tx.entry(found).version().0) == wanted,
    })
}

/// The end of life that KEEPTTL carries over.
fn kept_expiry(call: &Call<'_>, found: Option<Found>, life: Life<'_>) -> Option<TimeMs> {
    if life == Life::Keep { found.and_then(|found| call.tx.entry(found).expires()) } else { None }
}

/// Sets the key, to end when it was `asked` to or else as the value before it; a value that would have ended already is
/// not stored to begin with.
fn store(call: &mut Call<'_>, key: &[u8], value: &[u8], asked: Option<TimeMs>, kept: Option<TimeMs>) {
    if asked.is_some_and(|at| call.ends_at_once(at)) {
        end(call, key);
        return;
    }
    call.tx.put_string(key, value, asked.or(kept));
    call.notify(Event::String, "set", key);
    if asked.is_some() {
        call.notify(Event::Generic, "expire", key);
    }
}

/// Removes a key that was told to end at a time that has passed.
fn end(call: &mut Call<'_>, key: &[u8]) {
    if call.tx.delete(key) {
        call.notify(Event::Expired, "expired", key);
    }
}

/// SETNX key value
pub(crate) fn setnx(call: &mut Call<'_>) -> Result<Flow, Error> {
    let key = call.arg(1);
    let is_absent = call.tx.find(key).is_none();
    if is_absent {
        store(call, key, call.args.at(2), None, None);
    }
    call.reply.integer(i64::from(is_absent));
    Ok(Flow::Done)
}

/// SETEX key seconds value
pub(crate) fn setex(call: &mut Call<'_>) -> Result<Flow, Error> {
    set_until(call, Unit::Seconds, "setex")
}

/// PSETEX key milliseconds value
pub(crate) fn psetex(call: &mut Call<'_>) -> Result<Flow, Error> {
    set_until(call, Unit::Milliseconds, "psetex")
}

fn set_until(call: &mut Call<'_>, unit: Unit, name: &str) -> Result<Flow, Error> {
    let expires = deadline(call.arg(2), unit, call.now(), name)?;
    let key = call.arg(1);
    call.tx.put_string(key, call.args.at(3), Some(expires));
    call.notify(Event::String, "set", key);
    call.notify(Event::Generic, "expire", key);
    call.reply.ok();
    Ok(Flow::Done)
}

/// GETSET key value
pub(crate) fn getset(call: &mut Call<'_>) -> Result<Flow, Error> {
    let key = call.arg(1);
    reply_with(call, key)?;
    store(call, key, call.args.at(2), None, None);
    Ok(Flow::Done)
}

/// GETDEL key
pub(crate) fn getdel(call: &mut Call<'_>) -> Result<Flow, Error> {
    let key = call.arg(1);
    reply_with(call, key)?;
    if call.tx.delete(key) {
        call.notify(Event::Generic, "del", key);
    }
    Ok(Flow::Done)
}

/// GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]
pub(crate) fn getex(call: &mut Call<'_>) -> Result<Flow, Error> {
    let key = call.arg(1);
    let options = Options::parse(call.args.skip(2), Taker::GetEx)?;
    let expires = options.deadline(call.now(), "getex")?;
    reply_with(call, key)?;
    let Some(found) = call.tx.peek(key) else { return Ok(Flow::Done) };
    match expires {
        Some(at) if call.ends_at_once(at) => end(call, key),
        Some(at) => {
            call.tx.expire(key, Some(at));
            call.notify(Event::Generic, "expire", key);
        }
        None if options.life == Life::Persist && call.tx.entry(found).expires().is_some() => {
            call.tx.expire(key, None);
            call.notify(Event::Generic, "persist", key);
        }
        None => {}
    }
    Ok(Flow::Done)
}

/// DELIFEQ key value
pub(crate) fn delifeq(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, wanted) = (call.arg(1), call.arg(2));
    let is_equal = call.tx.string(key)?.is_some_and(|string| *string.bytes() == *wanted);
    let is_deleted = is_equal && call.tx.delete(key);
    if is_deleted {
        call.notify(Event::Generic, "del", key);
    }
    call.reply.integer(i64::from(is_deleted));
    Ok(Flow::Done)
}

/// DELIFVER key version
pub(crate) fn delifver(call: &mut Call<'_>) -> Result<Flow, Error> {
    let key = call.arg(1);
    let wanted = parse_u64(call.arg(2)).ok_or(Error::NotInteger)?;
    let is_equal = call.tx.find(key).is_some_and(|found| call.tx.entry(found).version().0 == wanted);
    let is_deleted = is_equal && call.tx.delete(key);
    if is_deleted {
        call.notify(Event::Generic, "del", key);
    }
    call.reply.integer(i64::from(is_deleted));
    Ok(Flow::Done)
}

/// The keys and values of `args`.
fn pairs(args: Args<'_>) -> impl Iterator<Item = (&[u8], &[u8])> {
    (0..args.count() / 2).map(|pair| pair * 2).map(move |index| (args.at(index), args.at(index + 1)))
}

fn ensure_pairs(args: &Args<'_>, name: &str) -> Result<(), Error> {
    let is_even = args.count().is_multiple_of(2);
    if is_even { Ok(()) } else { Err(refuse!("ERR wrong number of arguments for '{name}' command")) }
}

/// MSET key value [key value ...]
pub(crate) fn mset(call: &mut Call<'_>) -> Result<Flow, Error> {
    let args = call.args.skip(1);
    ensure_pairs(&args, "mset")?;
    pairs(args).for_each(|(key, value)| store(call, key, value, None, None));
    call.reply.ok();
    Ok(Flow::Done)
}

/// MSETNX key value [key value ...]
pub(crate) fn msetnx(call: &mut Call<'_>) -> Result<Flow, Error> {
    let args = call.args.skip(1);
    ensure_pairs(&args, "msetnx")?;
    let are_absent = pairs(args).all(|(key, _)| call.tx.find(key).is_none());
    if are_absent {
        pairs(args).for_each(|(key, value)| store(call, key, value, None, None));
    }
    call.reply.integer(i64::from(are_absent));
    Ok(Flow::Done)
}

/// MSETEX numkeys key value [key value ...] [NX | XX] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]
pub(crate) fn msetex(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (count, after) = msetex_args(call)?;
    let options = Options::parse(after.skip(count * 2), Taker::MsetEx)?;
    let expires = options.deadline(call.now(), "msetex")?;
    let mut all_hold = true;
    for (key, _) in pairs(after).take(count) {
        let found = call.tx.find(key);
        all_hold = all_hold && condition_holds(call, key, found, options.condition)?;
    }
    call.reply.integer(i64::from(all_hold));
    if all_hold {
        for (key, value) in pairs(after).take(count) {
            let kept = kept_expiry(call, call.tx.peek(key), options.life);
            store(call, key, value, expires, kept);
        }
    }
    Ok(Flow::Done)
}

/// How many pairs there are, and the arguments from the first of them on.
fn msetex_args<'c>(call: &Call<'c>) -> Result<(usize, Args<'c>), Error> {
    const NUMKEYS_MAX: i64 = i32::MAX as i64;
    let count = parse_i64(call.arg(1)).filter(|count| (1..=NUMKEYS_MAX).contains(count));
    let count = count.ok_or(Error::text("ERR invalid numkeys value or out of range"))? as usize;
    let after = call.args.skip(2);
    if after.count() < count * 2 { Err(Error::Syntax) } else { Ok((count, after)) }
}

/// APPEND key value
pub(crate) fn append(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, value) = (call.arg(1), call.arg(2));
    let old = call.tx.string(key)?.map(|string| string.bytes().len());
    let bytes = old.unwrap_or(0) + value.len();
    match old {
        None => call.tx.put_string(key, value, None),
        Some(old) => {
            ensure_length(call.host, Some(bytes))?;
            call.tx.patch_string(key, old, value)?;
        }
    }
    call.notify(Event::String, "append", key);
    call.reply.count(bytes);
    Ok(Flow::Done)
}

/// SETRANGE key offset value
pub(crate) fn setrange(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, offset, value) = (call.arg(1), call.integer(2)?, call.arg(3));
    let offset = usize::try_from(offset).map_err(|_| Error::text("ERR offset is out of range"))?;
    let mut bytes = call.tx.string(key)?.map_or(0, |string| string.bytes().len());
    if !value.is_empty() {
        let end = offset.checked_add(value.len());
        ensure_length(call.host, end)?;
        call.tx.patch_string(key, offset, value)?;
        call.notify(Event::String, "setrange", key);
        bytes = bytes.max(offset + value.len());
    }
    call.reply.count(bytes);
    Ok(Flow::Done)
}
