//! Reading strings: GET, GETVER, MGET, GETRANGE (SUBSTR), STRLEN.

use crate::call::{Call, Flow};
use crate::error::Error;
use keyspace::{Shown, Stop, Str, Tx};
use wire::reply::Reply;

/// Writes a string, or null for none.
#[inline]
pub(crate) fn put(reply: &mut Reply<'_>, string: Option<Shown<'_>>) {
    match string {
        None => reply.null(),
        Some(Shown::Str(Str::Bytes(bytes))) => reply.bulk(bytes),
        Some(Shown::Str(Str::Int(number))) => reply.bulk_integer(number),
        Some(Shown::Shared(bytes)) => reply.bulk_shared(bytes),
    }
}

/// Looks at several strings in turn. Goes on past values that must be fetched, so that all of them are asked for
/// at once and not one at a time.
pub(crate) fn each<'k>(
    tx: &mut Tx<'_>,
    keys: impl Iterator<Item = &'k [u8]>,
    mut look: impl FnMut(Result<Option<Str<'_>>, Stop>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut is_missing = false;
    for key in keys {
        match tx.string(key) {
            Err(Stop::Spilled) => is_missing = true,
            seen => look(seen)?,
        }
    }
    if is_missing { Err(Error::Spilled) } else { Ok(()) }
}

/// Where `start..=end`, counted from the end when negative, lies within `total`; `None` when nothing is in it.
pub(crate) fn clamp(start: i64, end: i64, total: usize) -> Option<(usize, usize)> {
    let total = total as i64;
    let from_front = |index: i64| if index < 0 { (total + index).max(0) } else { index };
    let (start, end) = (from_front(start), from_front(end).min(total - 1));
    (start <= end).then_some((start as usize, end as usize))
}

/// As [`clamp`], for commands that take a range written backwards as empty even where both of its ends lie before
/// the first element.
pub(crate) fn clamp_ordered(start: i64, end: i64, total: usize) -> Option<(usize, usize)> {
    let is_backwards = start < 0 && end < 0 && end < start;
    if is_backwards { None } else { clamp(start, end, total) }
}

/// GET key
pub(crate) fn get(call: &mut Call<'_>) -> Result<Flow, Error> {
    put(&mut call.reply, call.tx.string_to_show(call.args.at(1))?);
    Ok(Flow::Done)
}

/// `GETVER key [MEDIATYPE]`
pub(crate) fn getver(call: &mut Call<'_>) -> Result<Flow, Error> {
    let tells_type = call.arg_count() == 3 && call.is_word(2, "MEDIATYPE");
    if call.arg_count() != 2 && !tells_type {
        return Err(Error::Syntax);
    }
    let key = call.args.at(1);
    let Some((string, version)) = call.tx.string_and_version(key)? else {
        call.reply.null_array();
        return Ok(Flow::Done);
    };
    call.reply.array(if tells_type { 3 } else { 2 });
    put(&mut call.reply, Some(string));
    call.reply.integer(version.0 as i64);
    if tells_type {
        match call.tx.media_type(key)? {
            Some(media_type) => call.reply.bulk(media_type),
            None => call.reply.null(),
        }
    }
    Ok(Flow::Done)
}

/// MGET key [key ...]
pub(crate) fn mget(call: &mut Call<'_>) -> Result<Flow, Error> {
    let Call { args, reply, tx, .. } = call;
    reply.array(args.count() - 1);
    let mut is_missing = false;
    for key in args.skip(1).iter() {
        match tx.string_to_show(key) {
            Err(Stop::Spilled) => is_missing = true,
            seen => put(reply, seen.unwrap_or(None)), // Another type is null here, not an error.
        }
    }
    if is_missing { Err(Error::Spilled) } else { Ok(Flow::Done) }
}

/// GETRANGE key start end
pub(crate) fn getrange(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    let Some(string) = call.tx.string(call.args.at(1))? else {
        call.reply.bulk(b"");
        return Ok(Flow::Done);
    };
    let bytes = string.bytes();
    let range = clamp_ordered(start, end, bytes.len());
    call.reply.bulk(range.map_or(&[], |(start, end)| &bytes[start..=end]));
    Ok(Flow::Done)
}

/// STRLEN key
pub(crate) fn strlen(call: &mut Call<'_>) -> Result<Flow, Error> {
    let string = call.tx.string(call.args.at(1))?;
    call.reply.count(string.map_or(0, |string| string.bytes().len()));
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_within_what_there_is() {
        for total in 0..5usize {
            for (start, end) in (-7..7).flat_map(|start| (-7..7).map(move |end| (start, end))) {
                let inside = |index: i64| if index < 0 { (total as i64 + index).max(0) } else { index };
                let picked: Vec<usize> =
                    (0..total).filter(|at| (inside(start)..=inside(end)).contains(&(*at as i64))).collect();
                let expected = picked.first().copied().zip(picked.last().copied());
                assert_eq!(clamp(start, end, total), expected, "{start}..={end} of {total}");
            }
        }
        assert_eq!(clamp(i64::MIN, i64::MAX, 3), Some((0, 2)));
        assert_eq!((clamp(-9, -10, 3), clamp_ordered(-9, -10, 3)), (Some((0, 0)), None));
    }
}
