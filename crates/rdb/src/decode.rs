//! Payload → [`Object`]: one function per encoding, each checking as deep as Redis does for RESTORE, or deeper.
//!
//! Deeper where Redis can afford to be lenient and we cannot: bytes after the value are refused, and so are
//! streams whose entries are out of order.

use crate::body::Body;
use crate::element::Element;
use crate::format::{Checksum, Encoding, Versions, open};
use crate::listpack::ListpackReader;
use crate::object::{HashField, Object};
use crate::stream_decode::{StreamForm, stream};
use crate::ziplist::ZiplistReader;
use crate::zipmap::ZipmapReader;
use crate::{DumpError, intset};
use base::TimeMs;

/// Memory a value may take while [`decode_dump`] builds it, counted generously: some fifteen million hash fields.
pub const VALUE_BYTES_MAX: usize = 4 << 30;

/// Latest field expiry Redis 7.4 can hold.
const REDIS_EXPIRE_MS_MAX: u64 = (1 << 48) - 1;

const EMPTY: DumpError = DumpError::BadFormat("collection is empty");
const UNPAIRED: DumpError = DumpError::BadFormat("last element lacks its partner");
const BAD_SCORE: DumpError = DumpError::BadFormat("score is not a number");
const BAD_EXPIRY: DumpError = DumpError::BadFormat("field expiry is out of range");

/// Decodes what DUMP gave, into a value of at most [`VALUE_BYTES_MAX`].
///
/// # Errors
/// `VersionOrChecksum` when the footer does not hold, `BadFormat` when the body is not a whole, valid value.
///
/// # Cost
/// One pass and a sort to find duplicates.
pub fn decode_dump(payload: &[u8]) -> Result<Object, DumpError> {
    decode(payload, Checksum::Verify, Versions::Known, VALUE_BYTES_MAX)
}

/// Decodes like [`decode_dump`], into a value that may take `value_bytes_max` of memory while it is built, out of a
/// payload of one of `versions`.
pub fn decode_dump_within(payload: &[u8], value_bytes_max: usize, versions: Versions) -> Result<Object, DumpError> {
    decode(payload, Checksum::Verify, versions, value_bytes_max)
}

/// Decodes like [`decode_dump`] but does not look at the checksum, for `DEBUG SET-SKIP-CHECKSUM-VALIDATION` and
/// for fuzzing past it.
pub fn decode_dump_unchecked(payload: &[u8]) -> Result<Object, DumpError> {
    decode(payload, Checksum::Skip, Versions::Known, VALUE_BYTES_MAX)
}

fn decode(payload: &[u8], checksum: Checksum, versions: Versions, value_bytes_max: usize) -> Result<Object, DumpError> {
    let (encoding, bytes) = open(payload, checksum, versions)?;
    body(encoding, bytes, value_bytes_max)
}

/// Decodes a value in this encoding, which may take `value_bytes_max` of memory while it is built.
pub(crate) fn body(encoding: Encoding, bytes: &[u8], value_bytes_max: usize) -> Result<Object, DumpError> {
    let mut body = Body::new(bytes, value_bytes_max);
    let object = object(encoding, &mut body)?;
    if body.is_empty() { checked(object) } else { Err(DumpError::BadFormat("bytes follow the value")) }
}

fn object(encoding: Encoding, body: &mut Body<'_>) -> Result<Object, DumpError> {
    Ok(match encoding {
        Encoding::String => Object::String(body.kept_string()?),
        Encoding::List => Object::List(body.counted(Body::kept_string)?),
        Encoding::ListZiplist => Object::List(ziplist_items(body)?),
        Encoding::ListQuicklist => Object::List(nodes(body, ziplist_items)?),
        Encoding::ListQuicklist2 => Object::List(nodes(body, quicklist_2_items)?),
        Encoding::Set => Object::Set(body.counted(Body::kept_string)?),
        Encoding::SetIntset => Object::Set(intset_members(body)?),
        Encoding::SetListpack => Object::Set(listpack_items(body)?),
        Encoding::Hash => Object::Hash(hash(body)?),
        Encoding::HashZipmap => Object::Hash(hash_pairs(&body.string()?, ZipmapReader::open, body)?),
        Encoding::HashZiplist => Object::Hash(hash_pairs(&body.string()?, ZiplistReader::open, body)?),
        Encoding::HashListpack => Object::Hash(hash_pairs(&body.string()?, ListpackReader::open, body)?),
        Encoding::HashExpiring => Object::Hash(hash_expiring(body)?),
        Encoding::HashMetadata => Object::Hash(hash_metadata(body)?),
        Encoding::HashListpackEx => Object::Hash(hash_listpack_ex(body)?),
        Encoding::SortedSetText => Object::SortedSet(sorted_set(body, score_text)?),
        Encoding::SortedSet => Object::SortedSet(sorted_set(body, score_binary)?),
        Encoding::SortedSetZiplist => Object::SortedSet(scored_pairs(&body.string()?, ZiplistReader::open, body)?),
        Encoding::SortedSetListpack => Object::SortedSet(scored_pairs(&body.string()?, ListpackReader::open, body)?),
        Encoding::StreamV1 => Object::Stream(stream(body, StreamForm::V1)?),
        Encoding::StreamV2 => Object::Stream(stream(body, StreamForm::V2)?),
        Encoding::StreamV3 => Object::Stream(stream(body, StreamForm::V3)?),
    })
}

/// What holds for every collection however it was encoded: something in it, nothing twice, scores in order.
fn checked(mut object: Object) -> Result<Object, DumpError> {
    let empty = match &mut object {
        Object::String(_) | Object::Stream(_) => false,
        Object::List(items) => items.is_empty(),
        Object::Set(members) => {
            refuse_duplicates(members.iter().map(Vec::as_slice))?;
            members.is_empty()
        }
        Object::Hash(fields) => {
            refuse_duplicates(fields.iter().map(|(name, _, _)| name.as_slice()))?;
            fields.is_empty()
        }
        Object::SortedSet(members) => {
            refuse_duplicates(members.iter().map(|(member, _)| member.as_slice()))?;
            sort_by_score(members)?;
            members.is_empty()
        }
    };
    if empty { Err(EMPTY) } else { Ok(object) }
}

/// Sorting finds duplicates without a hash table an attacker could choose keys for.
pub(crate) fn refuse_duplicates<'a>(names: impl Iterator<Item = &'a [u8]>) -> Result<(), DumpError> {
    let mut names: Vec<&[u8]> = names.collect();
    names.sort_unstable();
    if names.is_sorted_by(|low, high| low < high) { Ok(()) } else { Err(DumpError::BadFormat("element appears twice")) }
}

fn sort_by_score(members: &mut [(Vec<u8>, f64)]) -> Result<(), DumpError> {
    if members.iter().any(|(_, score)| score.is_nan()) {
        return Err(BAD_SCORE);
    }
    // Not `total_cmp`: to Redis the two zeros are one score.
    let order = |a: &f64, b: &f64| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
    members.sort_unstable_by(|(a, a_score), (b, b_score)| order(a_score, b_score).then_with(|| a.cmp(b)));
    Ok(())
}

type Items = Vec<Vec<u8>>;

fn ziplist_items(body: &mut Body<'_>) -> Result<Items, DumpError> {
    let packed = body.string()?;
    ZiplistReader::open(&packed)?.map(|element| body.keep(element?)).collect()
}

fn listpack_items(body: &mut Body<'_>) -> Result<Items, DumpError> {
    let packed = body.string()?;
    ListpackReader::open(&packed)?.map(|element| body.keep(element?)).collect()
}

/// A list in nodes, each of which `one` reads.
fn nodes(body: &mut Body<'_>, one: fn(&mut Body<'_>) -> Result<Items, DumpError>) -> Result<Items, DumpError> {
    let mut items = Vec::new();
    for _ in 0..body.length()? {
        items.append(&mut one(body)?);
    }
    Ok(items)
}

fn quicklist_2_items(body: &mut Body<'_>) -> Result<Items, DumpError> {
    const PLAIN: u64 = 1;
    const PACKED: u64 = 2;
    match body.length()? {
        PACKED => listpack_items(body),
        PLAIN => match body.kept_string()? {
            item if item.is_empty() => Err(DumpError::BadFormat("plain list node is empty")),
            item => Ok(vec![item]),
        },
        _ => Err(DumpError::BadFormat("list node is neither plain nor packed")),
    }
}

fn intset_members(body: &mut Body<'_>) -> Result<Items, DumpError> {
    const WIDENING_MAX: usize = 4; // From 16 bits to 64.
    let packed = body.string()?;
    body.charge(WIDENING_MAX * packed.len())?;
    intset::decode(&packed)?.into_iter().map(|int| body.keep(Element::Int(int))).collect()
}

fn hash(body: &mut Body<'_>) -> Result<Vec<HashField>, DumpError> {
    body.counted(|body| Ok((body.kept_string()?, body.kept_string()?, None)))
}

/// Names and values in turn, as the reader that `open` makes finds them in `packed`.
fn hash_pairs<'p, R>(
    packed: &'p [u8],
    open: fn(&'p [u8]) -> Result<R, DumpError>,
    body: &mut Body<'_>,
) -> Result<Vec<HashField>, DumpError>
where
    R: Iterator<Item = Result<Element<'p>, DumpError>>,
{
    let mut elements = open(packed)?;
    let mut fields = Vec::new();
    while let Some(name) = elements.next() {
        let value = elements.next().ok_or(UNPAIRED)?;
        fields.push((body.keep(name?)?, body.keep(value?)?, None));
    }
    Ok(fields)
}

/// Valkey 9: `count (name value expires_at:i64)…`, -1 for never.
fn hash_expiring(body: &mut Body<'_>) -> Result<Vec<HashField>, DumpError> {
    body.counted(|body| {
        let (name, value) = (body.kept_string()?, body.kept_string()?);
        match i64::from_le_bytes(body.array()?) {
            -1 => Ok((name, value, None)),
            at @ 0.. => Ok((name, value, Some(TimeMs(at)))),
            _ => Err(BAD_EXPIRY),
        }
    })
}

/// Redis 7.4: `earliest:i64 count (ttl name value)…`; `ttl` is 0 for never, else one more than what the expiry is
/// after `earliest`.
fn hash_metadata(body: &mut Body<'_>) -> Result<Vec<HashField>, DumpError> {
    let earliest = u64::from_le_bytes(body.array()?);
    body.counted(|body| {
        let expires_at = match body.length()? {
            0 => None,
            ttl => Some(redis_expiry(earliest.checked_add(ttl - 1))?),
        };
        Ok((body.kept_string()?, body.kept_string()?, expires_at))
    })
}

/// Redis 7.4: `earliest:i64` and a listpack of `name value expires_at`, 0 for never.
fn hash_listpack_ex(body: &mut Body<'_>) -> Result<Vec<HashField>, DumpError> {
    body.array::<8>()?;
    let packed = body.string()?;
    let mut elements = ListpackReader::open(&packed)?;
    let mut fields = Vec::new();
    while let Some(name) = elements.next() {
        let (name, value) = (body.keep(name?)?, body.keep(elements.element()?)?);
        let expires_at = match elements.natural()? {
            0 => None,
            at => Some(redis_expiry(Some(at))?),
        };
        fields.push((name, value, expires_at));
    }
    Ok(fields)
}

fn redis_expiry(at_ms: Option<u64>) -> Result<TimeMs, DumpError> {
    at_ms.filter(|at| *at <= REDIS_EXPIRE_MS_MAX).map(|at| TimeMs(at as i64)).ok_or(BAD_EXPIRY)
}

type Scored = (Vec<u8>, f64);

fn sorted_set(
    body: &mut Body<'_>,
    score: fn(&mut Body<'_>) -> Result<f64, DumpError>,
) -> Result<Vec<Scored>, DumpError> {
    body.counted(|body| Ok((body.kept_string()?, score(body)?)))
}

fn score_binary(body: &mut Body<'_>) -> Result<f64, DumpError> {
    Ok(f64::from_le_bytes(body.array()?))
}

/// Before Redis 4: a byte that says how many digits follow, or stands for one of the values that have none.
fn score_text(body: &mut Body<'_>) -> Result<f64, DumpError> {
    match body.array()? {
        [255] => Ok(f64::NEG_INFINITY),
        [254] => Ok(f64::INFINITY),
        [253] => Ok(f64::NAN),
        [digits] => parsed_score(body.take(usize::from(digits))?),
    }
}

fn parsed_score(digits: &[u8]) -> Result<f64, DumpError> {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(BAD_SCORE)
}

/// Members and scores in turn, as the reader that `open` makes finds them in `packed`.
fn scored_pairs<'p, R>(
    packed: &'p [u8],
    open: fn(&'p [u8]) -> Result<R, DumpError>,
    body: &mut Body<'_>,
) -> Result<Vec<Scored>, DumpError>
where
    R: Iterator<Item = Result<Element<'p>, DumpError>>,
{
    let mut elements = open(packed)?;
    let mut members = Vec::new();
    while let Some(member) = elements.next() {
        let score = match elements.next().ok_or(UNPAIRED)?? {
            Element::Int(int) => int as f64,
            Element::Bytes(digits) => parsed_score(digits)?,
        };
        members.push((body.keep(member?)?, score));
    }
    Ok(members)
}
