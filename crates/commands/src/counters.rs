//! Strings as numbers: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.
//!
//! What is journaled is the new value, so replay adds nothing up again.

use crate::call::{Call, Flow};
use crate::error::Error;
use base::decimal::Decimal;
use base::number::{format_i64, parse_i64};
use keyspace::entry::Stored;
use keyspace::{Event, Found, Str};

/// INCR key
pub(crate) fn incr(call: &mut Call<'_>) -> Result<Flow, Error> {
    add(call, 1)
}

/// DECR key
pub(crate) fn decr(call: &mut Call<'_>) -> Result<Flow, Error> {
    add(call, -1)
}

/// INCRBY key increment
pub(crate) fn incrby(call: &mut Call<'_>) -> Result<Flow, Error> {
    let by = call.integer(2)?;
    add(call, by)
}

/// DECRBY key decrement
pub(crate) fn decrby(call: &mut Call<'_>) -> Result<Flow, Error> {
    let by = call.integer(2)?.checked_neg().ok_or(Error::text("ERR decrement would overflow"))?;
    add(call, by)
}

fn add(call: &mut Call<'_>, by: i64) -> Result<Flow, Error> {
    let key = call.arg(1);
    let (old, expires) = match call.tx.find(key) {
        None => (0, None),
        Some(found) => (integer_at(call, key, found)?, call.tx.entry(found).expires()),
    };
    let new = old.checked_add(by).ok_or(Error::text("ERR increment or decrement would overflow"))?;
    call.tx.put_string(key, &format_i64(new), expires);
    call.notify(Event::String, "incrby", key);
    call.reply.integer(new);
    Ok(Flow::Done)
}

/// The integer at a key that was found; the usual form of it takes no second look-up.
fn integer_at(call: &mut Call<'_>, key: &[u8], found: Found) -> Result<i64, Error> {
    if let Stored::Int(number) = call.tx.entry(found).stored() {
        return Ok(number);
    }
    match call.tx.string(key)? {
        Some(Str::Int(number)) => Ok(number),
        Some(Str::Bytes(bytes)) => parse_i64(bytes).ok_or(Error::NotInteger),
        None => Ok(0),
    }
}

/// INCRBYFLOAT key increment
pub(crate) fn incrbyfloat(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, by) = (call.arg(1), call.arg(2));
    let old = match call.tx.string(key)? {
        None => Decimal::parse(b"0"),
        Some(string) => Decimal::parse(&string.bytes()),
    };
    let (old, by) = (old.ok_or(Error::NotFloat)?, Decimal::parse(by).ok_or(Error::NotFloat)?);
    let new = old.sum(&by).ok_or(Error::text("ERR increment would produce NaN or Infinity"))?.to_text();
    let expires = call.tx.peek(key).and_then(|found| call.tx.entry(found).expires());
    call.tx.put_string(key, &new, expires);
    call.notify(Event::String, "incrbyfloat", key);
    call.reply.bulk(&new);
    Ok(Flow::Done)
}
