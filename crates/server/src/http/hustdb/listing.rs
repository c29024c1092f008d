//! Listings of hustdb: pages of tables and files as JSON, counts, exports and their tasks.
//!
//! ```text
//! [{"key":"base64","val":"base64","ver":3,"ttl":1700000000,"tb":"table","ty":"H"}, …]     in this order, empty ones left out
//! ```
//!
//! A sorted set's `val` is its score, as it is written. `gz` never stands: values are not stored compressed.

use super::exports::{Items, Source, Subject};
use super::parameters::Parameters;
use super::{BAD_REQUEST, NOT_FOUND, refuse_error};
use crate::connection::{End, Stream};
use crate::http::auth::base64_encode;
use crate::http::doors::Visit;
use crate::http::json::put_string;
use commands::hustdb_walk::{BUCKET_COUNT, FILE_COUNT, PAGE_BYTES_MAX, PAGE_ITEMS_MAX};
use std::io::Write;
use wire::value::{Decoded, Value};

/// Items of a page.
const SIZE_MAX: i64 = 1000;
/// Items before it, of a live listing and of a snapshot.
const OFFSET_MAX: i64 = 1_000_000;
const SNAPSHOT_OFFSET_MAX: i64 = 100_000_000;
/// Capacities are told in pages of this size.
const CAPACITY_PAGE_BYTES: i64 = 4096;
/// There is no such table.
const NO_TABLE: u16 = 412;

/// An endpoint about many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// `keys`.
    Keys,
    /// `hkeys`.
    Hash,
    /// `smembers`.
    Set,
    /// `zrangebyrank`.
    ByRank,
    /// `zrangebyscore`.
    ByScore,
    /// `stat`.
    Stat,
    /// `stat_all`.
    StatAll,
    /// `file_count`.
    FileCount,
    /// `export`.
    Export,
    /// `task_status`.
    TaskStatus,
    /// `task_info`.
    TaskInfo,
    /// `info`.
    Info,
}

impl Listing {
    /// The endpoint of this name.
    pub fn find(name: &str) -> Option<Listing> {
        Some(match name {
            "keys" => Listing::Keys,
            "hkeys" => Listing::Hash,
            "smembers" => Listing::Set,
            "zrangebyrank" => Listing::ByRank,
            "zrangebyscore" => Listing::ByScore,
            "stat" => Listing::Stat,
            "stat_all" => Listing::StatAll,
            "file_count" => Listing::FileCount,
            "export" => Listing::Export,
            "task_status" => Listing::TaskStatus,
            "task_info" => Listing::TaskInfo,
            "info" => Listing::Info,
            _ => return None,
        })
    }

    /// The letter of the tables it lists; `None` where it lists files.
    fn letter(self) -> Option<&'static str> {
        match self {
            Listing::Hash => Some("H"),
            Listing::Set => Some("S"),
            Listing::ByRank | Listing::ByScore => Some("Z"),
            _ => None,
        }
    }
}

/// Why there is no answer of the usual kind.
enum Failed {
    /// This status says why.
    Status(u16),
    /// A command was refused; its error is the answer.
    Refused(Vec<u8>),
    /// The connection is to end.
    End(End),
}

impl From<u16> for Failed {
    fn from(status: u16) -> Failed {
        Failed::Status(status)
    }
}

impl From<End> for Failed {
    fn from(end: End) -> Failed {
        Failed::End(end)
    }
}

/// Answers a request.
///
/// # Errors
/// The connection is to end.
pub async fn answer<S: Stream>(listing: Listing, visit: &mut Visit<'_, S>) -> Result<(), End> {
    let answered = match listing {
        Listing::Keys | Listing::Hash | Listing::Set | Listing::ByRank | Listing::ByScore => page(listing, visit).await,
        Listing::Stat => stat(visit).await,
        Listing::StatAll => stat_all(visit).await,
        Listing::FileCount => {
            put_text(visit, &FILE_COUNT.to_string());
            Ok(())
        }
        Listing::Export => export(visit).await,
        Listing::TaskStatus => task_status(visit),
        Listing::TaskInfo => {
            let (running, done) = visit.caller.server().seeds.exports.counts();
            put_text(visit, &format!("{{\"undo\":\"0\",\"doning\":{running},\"done\":{done}}}"));
            Ok(())
        }
        Listing::Info => info(visit).await,
    };
    match answered {
        Ok(()) => {}
        Err(Failed::Status(status)) => _ = visit.answer.status(status),
        Err(Failed::Refused(error)) => refuse_error(visit.answer, &error),
        Err(Failed::End(end)) => return Err(end),
    }
    Ok(())
}

fn put_text<S: Stream>(visit: &mut Visit<'_, S>, text: &str) {
    visit.answer.header("Content-Type", "text/plain").body().extend_from_slice(text.as_bytes());
}

/// Runs the command in hand. Returns its reply without the status in front.
async fn call<S: Stream>(visit: &mut Visit<'_, S>) -> Result<Vec<Value>, Failed> {
    let reply = visit.caller.call(visit.arguments.args()).await?;
    let reply = &visit.caller.replies()[reply];
    let Ok(Decoded::Value { value: Value::Array(mut elements), .. }) = Value::decode(reply) else {
        return Err(Failed::Refused(reply.to_vec()));
    };
    match elements.first() {
        Some(Value::Integer(200)) => {
            elements.remove(0);
            Ok(elements)
        }
        Some(Value::Integer(status)) => Err(Failed::Status(*status as u16)),
        _ => Err(Failed::Status(500)),
    }
}

/// Reads what is listed: everything but offset and size.
fn subject(listing: Listing, parameters: Parameters<'_>) -> Result<Subject, u16> {
    let required = if listing.letter().is_some() { "tb" } else { "file" };
    if [required, "offset", "size"].iter().any(|name| parameters.raw(name).is_none()) {
        return Err(NOT_FOUND);
    }
    let source = match listing.letter() {
        Some(_) => Source::Table(parameters.name("tb")?.unwrap_or_default().to_vec()),
        None => Source::File(parameters.bounded("file", 0, i64::from(FILE_COUNT) - 1)?),
    };
    subject_of(source, parameters)
}

fn subject_of(source: Source, parameters: Parameters<'_>) -> Result<Subject, u16> {
    let start = parameters.bounded("start", 0, i64::from(BUCKET_COUNT))?;
    let end = parameters.bounded("end", i64::from(BUCKET_COUNT), i64::from(BUCKET_COUNT))?;
    if end <= start {
        return Err(BAD_REQUEST);
    }
    Ok(Subject { source, start, end, noval: parameters.flag("noval", true) })
}

async fn page<S: Stream>(listing: Listing, visit: &mut Visit<'_, S>) -> Result<(), Failed> {
    let parameters = Parameters(visit.request.query);
    let subject = subject(listing, parameters)?;
    let is_async = listing != Listing::ByScore && parameters.flag("async", false);
    let offset = parameters.bounded("offset", 0, if is_async { SNAPSHOT_OFFSET_MAX } else { OFFSET_MAX })?;
    let size = parameters.bounded("size", 0, SIZE_MAX)?;
    let (items, total) = if is_async {
        // Who may not list what is there now may not see what was there.
        let letter = listing.letter().unwrap_or_default();
        if let Err(Failed::Refused(error)) = list(visit, &subject, letter, (0, 1), None).await {
            return Err(Failed::Refused(error));
        }
        let items = visit.caller.server().seeds.exports.find(&subject).ok_or(500)?;
        let page = items.iter().skip(offset as usize).take(size as usize).cloned().collect();
        (page, items.len())
    } else {
        let bounds = match listing {
            Listing::ByScore => Some((parameters.number("min", 0), parameters.number("max", 0))),
            _ => None,
        };
        if bounds.is_some_and(|(min, max)| max < min) {
            return Err(Failed::Status(BAD_REQUEST));
        }
        let letter = listing.letter().unwrap_or_default();
        (list(visit, &subject, letter, (offset, size), bounds).await?.0, 0)
    };
    put_page(visit, &items, total);
    Ok(())
}

fn put_page<S: Stream>(visit: &mut Visit<'_, S>, items: &Items, total: usize) {
    visit.answer.header("Content-Type", "text/plain");
    visit.answer.header("Keys", items.len().to_string());
    visit.answer.header("TotalCount", total.to_string());
    let out = visit.answer.body();
    out.push(b'[');
    out.extend_from_slice(&items.join(&b","[..]));
    out.push(b']');
}

/// Runs the walk over a subject. Returns its items as JSON, and the bytes of their names and values.
async fn list<S: Stream>(
    visit: &mut Visit<'_, S>,
    subject: &Subject,
    letter: &str,
    (offset, size): (i64, i64),
    bounds: Option<(i64, i64)>,
) -> Result<(Items, usize), Failed> {
    visit.arguments.begin(b"HUSTDB");
    match &subject.source {
        Source::Table(name) => visit.arguments.add(b"ELEMENTS").add(name).add(letter.as_bytes()),
        Source::File(file) => visit.arguments.add(b"ITEMS").add_number(file),
    };
    visit.arguments.add_number(offset).add_number(size).add_number(subject.start).add_number(subject.end);
    visit.arguments.add(if subject.noval { b"NAMES" } else { b"VALUES" });
    if let Some((min, max)) = bounds {
        visit.arguments.add_number(min).add_number(max);
    }
    let rows = call(visit).await?;
    let mut bytes = 0;
    let items = rows.iter().filter_map(|row| {
        let Value::Array(row) = row else { return None };
        let bytes_at = |index: usize| row.get(index).and_then(Value::as_bytes);
        bytes += bytes_at(0).map_or(0, <[u8]>::len) + bytes_at(1).map_or(0, <[u8]>::len);
        Some(json_of(row, letter == "Z"))
    });
    let items: Items = items.collect();
    Ok((items, bytes))
}

/// `[name, value, version, ends, table, kind]` as JSON.
fn json_of(row: &[Value], is_scored: bool) -> Box<[u8]> {
    let bytes_at = |index: usize| row.get(index).and_then(Value::as_bytes);
    let mut out = b"{\"key\":\"".to_vec();
    base64_encode(bytes_at(0).unwrap_or_default(), &mut out);
    out.push(b'"');
    if let Some(value) = bytes_at(1) {
        out.extend_from_slice(b",\"val\":\"");
        if is_scored || bytes_at(5) == Some(b"Z") {
            out.extend_from_slice(value);
        } else {
            base64_encode(value, &mut out);
        }
        out.push(b'"');
    }
    for (index, name) in [(2, "ver"), (3, "ttl")] {
        if let Some(Value::Integer(number @ 1..)) = row.get(index) {
            // Writing to memory cannot fail.
            let _ = write!(out, ",\"{name}\":{number}");
        }
    }
    for (index, name) in [(4, "tb"), (5, "ty")] {
        if let Some(text) = bytes_at(index) {
            let _ = write!(out, ",\"{name}\":");
            put_string(&mut out, &String::from_utf8_lossy(text));
        }
    }
    out.push(b'}');
    out.into_boxed_slice()
}

/// Counts of one table, or of everything.
async fn stat<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), Failed> {
    let Some(tb) = Parameters(visit.request.query).name("tb")? else {
        let (totals, _) = totals(visit).await?;
        put_text(visit, &totals);
        return Ok(());
    };
    visit.arguments.begin(b"HUSTDB").add(b"STAT").add(tb);
    let row = match call(visit).await {
        Err(Failed::Status(NO_TABLE)) => return Err(Failed::Status(NOT_FOUND)),
        row => row?,
    };
    let [kind, count, bytes] = &row[..] else { return Err(Failed::Status(500)) };
    put_text(visit, &table_json(tb, kind, count, bytes));
    Ok(())
}

async fn stat_all<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), Failed> {
    let (totals, tables) = totals(visit).await?;
    let all: Vec<String> = std::iter::once(totals).chain(tables).collect();
    put_text(visit, &format!("[{}]", all.join(",")));
    Ok(())
}

async fn totals<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(String, Vec<String>), Failed> {
    visit.arguments.begin(b"HUSTDB").add(b"TABLES");
    let rows = call(visit).await?;
    let [pairs, pairs_bytes, hashed, hashed_bytes, tables @ ..] = &rows[..] else { return Err(Failed::Status(500)) };
    let totals = format!(
        "{{\"TOTALIZE\":{{\"KVPAIR\":{{{}}},\"HASHTABLE\":{{{}}}}}}}",
        counts_json(pairs, pairs_bytes),
        counts_json(hashed, hashed_bytes)
    );
    let tables = tables.iter().filter_map(|row| match row {
        Value::Array(row) => match &row[..] {
            [name, kind, count, bytes] => Some(table_json(name.as_bytes()?, kind, count, bytes)),
            _ => None,
        },
        _ => None,
    });
    Ok((totals, tables.collect()))
}

fn number(value: &Value) -> i64 {
    if let Value::Integer(number) = value { *number } else { 0 }
}

fn counts_json(count: &Value, bytes: &Value) -> String {
    let (count, bytes) = (number(count), number(bytes));
    let capacity = (bytes + CAPACITY_PAGE_BYTES - 1) / CAPACITY_PAGE_BYTES * CAPACITY_PAGE_BYTES;
    format!("\"count\":{count},\"size\":{bytes},\"capacity\":{capacity}")
}

fn table_json(name: &[u8], kind: &Value, count: &Value, bytes: &Value) -> String {
    let mut quoted = Vec::new();
    put_string(&mut quoted, &String::from_utf8_lossy(name));
    let (name, kind) = (String::from_utf8_lossy(&quoted), kind.as_bytes().unwrap_or_default());
    let counts = if kind == b"H" { counts_json(count, bytes) } else { format!("\"count\":{}", number(count)) };
    format!("{{\"table\":{name},\"type\":\"{}\",{counts}}}", String::from_utf8_lossy(kind))
}

async fn export<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), Failed> {
    let parameters = Parameters(visit.request.query);
    let source = match (parameters.name("tb")?, parameters.raw("file")) {
        (Some(tb), _) => Source::Table(tb.to_vec()),
        (None, Some(_)) => Source::File(parameters.bounded("file", 0, i64::from(FILE_COUNT) - 1)?),
        (None, None) => return Err(Failed::Status(NOT_FOUND)),
    };
    let subject = subject_of(source, parameters)?;
    let offset = parameters.bounded("offset", 0, SNAPSHOT_OFFSET_MAX)?;
    let size = parameters.bounded("size", 0, PAGE_ITEMS_MAX as i64)?;
    if 0 < offset && size == 0 {
        return Err(Failed::Status(BAD_REQUEST));
    }
    let server = std::sync::Arc::clone(visit.caller.server());
    if !parameters.flag("cover", false) && server.seeds.exports.find(&subject).is_some() {
        return Err(Failed::Status(NOT_FOUND));
    }
    let running = server.seeds.exports.begin().ok_or(NO_TABLE)?;
    let letter = match &subject.source {
        Source::Table(name) => letter_of(visit, name).await?,
        Source::File(_) => String::new(),
    };
    let count = if size == 0 { PAGE_ITEMS_MAX as i64 } else { size };
    let (items, bytes) = list(visit, &subject, &letter, (offset, count), None).await?;
    // What may have been cut off is no snapshot.
    if PAGE_BYTES_MAX <= bytes || (size == 0 && items.len() == PAGE_ITEMS_MAX) {
        return Err(Failed::Status(500));
    }
    let token = running.done(subject, items);
    put_text(visit, &token.to_string());
    Ok(())
}

/// The letter of the table with this name.
async fn letter_of<S: Stream>(visit: &mut Visit<'_, S>, name: &[u8]) -> Result<String, Failed> {
    visit.arguments.begin(b"HUSTDB").add(b"STAT").add(name);
    let row = call(visit).await?;
    let letter = row.first().and_then(Value::as_bytes).ok_or(500)?;
    Ok(String::from_utf8_lossy(letter).into_owned())
}

fn task_status<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), Failed> {
    let token = Parameters(visit.request.query).name("token")?.ok_or(NOT_FOUND)?;
    let token = base::number::parse_u64(token);
    let is_done = token.is_some_and(|token| visit.caller.server().seeds.exports.is_done(token));
    put_text(visit, if is_done { "2" } else { "3" });
    Ok(())
}

/// Free text: what INFO says of the keys.
async fn info<S: Stream>(visit: &mut Visit<'_, S>) -> Result<(), Failed> {
    visit.arguments.begin(b"INFO").add(b"memory").add(b"keyspace");
    let reply = visit.caller.call(visit.arguments.args()).await?;
    let reply = &visit.caller.replies()[reply];
    let Ok(Decoded::Value { value, .. }) = Value::decode(reply) else { return Err(Failed::Status(500)) };
    let text = match &value {
        Value::Verbatim { text, .. } => &text[..],
        value => value.as_bytes().ok_or_else(|| Failed::Refused(reply.to_vec()))?,
    };
    visit.answer.header("Content-Type", "text/plain").body().extend_from_slice(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_written_in_order_and_without_what_is_empty() {
        let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
        let row = [bulk("k"), bulk("v"), Value::Integer(2), Value::Integer(9), bulk("t"), bulk("H")];
        let text = |json: Box<[u8]>| String::from_utf8(json.into_vec()).expect("text");
        assert_eq!(
            text(json_of(&row, false)),
            "{\"key\":\"aw==\",\"val\":\"dg==\",\"ver\":2,\"ttl\":9,\"tb\":\"t\",\"ty\":\"H\"}"
        );
        let row = [bulk("k"), bulk("15"), Value::Integer(1), Value::Integer(0), Value::Null, Value::Null];
        assert_eq!(text(json_of(&row, true)), "{\"key\":\"aw==\",\"val\":\"15\",\"ver\":1}");
    }
}
