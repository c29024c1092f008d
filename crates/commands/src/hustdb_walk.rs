//! HUSTDB over many: pages of a table's elements, pages of everything, and counts.
//!
//! Items lie in files and in buckets. A file is every [`FILE_COUNT`]th partition, so that a page of one looks at a part of
//! the data only; a bucket is what hustdb's clients compute of a name: [`bucket`].
//!
//! A page is found by walking from the start each time. A walk over everything looks at each partition under its own lock,
//! so a page may show what no moment had; what lies in the journal only is fetched before it is looked at, tables
//! included.
//!
//! Deliberately not here: JSON, and snapshots to page over (the HTTP door).
//!
//! Invariant: the order of a walk is that of partitions, databases, keys and elements as they lie, and stays while
//! nothing is written; a sorted set's is that of its scores.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::hustdb::{DBS, DONE, NO_TABLE, Place, READ, REFUSED, is_table, place, score_text, version_of_revision};
use crate::spec::{Arity, Flags, Keys, Scope, Spec};
use crate::touches::{Dbs, Touches};
use base::number::format_i64;
use base::{PartitionId, TimeMs};
use keyspace::elements::{ELEMENTS_DB, decode_version, record_name};
use keyspace::entry::{EntryRef, Stored};
use keyspace::hash::Hash;
use keyspace::partition::has_ended;
use keyspace::{Kind, Partition, Spilled, Value};
use std::ops::{ControlFlow, Range};
use wire::reply::Reply;

/// Files that items lie in.
pub const FILE_COUNT: u16 = 10;
/// Buckets that items lie in.
pub const BUCKET_COUNT: u16 = 1024;
/// Items of one page, and those skipped before it.
pub const PAGE_ITEMS_MAX: usize = 1_000_000;
/// Bytes after which a page takes no further item.
pub const PAGE_BYTES_MAX: usize = 64 << 20;
/// Items that may be skipped before a page.
const SKIPPED_MAX: usize = 100_000_000;
/// Values fetched for one walk before it is begun anew.
const FETCHED_MAX: usize = 1000;
/// Tables that are told one by one.
const TABLES_MAX: usize = 8192;

/// What lies in the journal only is fetched by running the command anew, which is not possible within others.
const WALK: Spec = Spec { flags: Flags::READONLY.and(Flags::NO_MULTI).and(Flags::NOSCRIPT), ..READ };

const EACH: Spec = Spec { keys: Keys::None, scope: Scope::Each, touches: Touches::BY_FLAGS.reaching(Dbs::All), ..WALK };

pub(crate) const ELEMENTS: Spec = Spec {
    name: "elements",
    arity: Arity::AtLeast(9),
    complexity: "O(N) for N elements",
    summary: "Returns a page of a table's elements.",
    syntax: "table-key <H | S | Z> offset count bucket-start bucket-end <NAMES | VALUES> [min max]",
    handler: elements,
    ..WALK
};

pub(crate) const ITEMS: Spec = Spec {
    name: "items",
    arity: Arity::Exactly(8),
    complexity: "O(N) for N items in all",
    summary: "Returns a page of the pairs and elements of a file.",
    syntax: "file offset count bucket-start bucket-end <NAMES | VALUES>",
    handler: items,
    ..EACH
};

pub(crate) const STAT: Spec = Spec {
    name: "stat",
    arity: Arity::Exactly(3),
    complexity: "O(N) for N elements",
    summary: "Returns the kind of a table, how many elements it has and their bytes.",
    syntax: "table-key",
    handler: stat,
    ..WALK
};

pub(crate) const TABLES: Spec = Spec {
    name: "tables",
    arity: Arity::Exactly(2),
    complexity: "O(N) for N items in all",
    summary: "Returns counts and bytes of pairs and of elements of hashes, and the tables.",
    syntax: "",
    handler: tables,
    ..EACH
};

/// The bucket of a name: hustdb's clients compute the same.
pub fn bucket(name: &[u8]) -> u16 {
    let hash = name.iter().fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    (hash % u64::from(BUCKET_COUNT)) as u16
}

/// A pair or an element on a page.
struct Item {
    name: Vec<u8>,
    value: Option<Vec<u8>>,
    version: u32,
    expires: Option<TimeMs>,
    table: Option<(Vec<u8>, &'static str)>,
}

/// What is asked for, and what was found of it.
struct Page {
    buckets: Range<u16>,
    skip: usize,
    count: usize,
    has_values: bool,
    /// Of a sorted set only what has a score between these, both included.
    scores: Option<(f64, f64)>,
    /// Of a walk over everything, items say which table they are of.
    tells_tables: bool,
    items: Vec<Item>,
    bytes: usize,
    /// What is to be fetched before the page can be made.
    wanted: Vec<Spilled>,
}

impl Page {
    fn is_full(&self) -> bool {
        self.items.len() >= self.count || PAGE_BYTES_MAX <= self.bytes || FETCHED_MAX <= self.wanted.len()
    }

    /// Takes the next item that is asked for, unless it is one to be skipped.
    fn add(&mut self, make: impl FnOnce() -> Item) {
        if 0 < self.skip {
            self.skip -= 1;
        } else if !self.is_full() {
            let item = make();
            self.bytes += item.name.len() + item.value.as_ref().map_or(0, Vec::len);
            self.items.push(item);
        }
    }

    fn has(&self, name: &[u8]) -> bool {
        self.buckets.len() == usize::from(BUCKET_COUNT) || self.buckets.contains(&bucket(name))
    }
}

/// The letter by which hustdb knows a kind of table.
fn letter(kind: Kind) -> &'static str {
    match kind {
        Kind::Hash => "H",
        Kind::Set => "S",
        _ => "Z",
    }
}

fn bounded(call: &Call<'_>, index: usize, max: usize) -> Result<Option<usize>, Error> {
    Ok(usize::try_from(call.integer(index)?).ok().filter(|number| *number <= max))
}

/// Reads `offset count start end NAMES|VALUES` from argument `from` on; `None` when something is out of range.
fn page_args(call: &Call<'_>, from: usize) -> Result<Option<Page>, Error> {
    let (skip, count) = (bounded(call, from, SKIPPED_MAX)?, bounded(call, from + 1, PAGE_ITEMS_MAX)?);
    let bucket_at = |index| bounded(call, index, usize::from(BUCKET_COUNT));
    let (start, end) = (bucket_at(from + 2)?, bucket_at(from + 3)?);
    let has_values = call.is_word(from + 4, "VALUES");
    if !has_values && !call.is_word(from + 4, "NAMES") {
        return Err(Error::Syntax);
    }
    let (Some(skip), Some(count), Some(start), Some(end)) = (skip, count, start, end) else { return Ok(None) };
    let buckets = start as u16..end as u16;
    Ok((start < end).then_some(Page {
        buckets,
        skip,
        count,
        has_values,
        scores: None,
        tells_tables: false,
        items: Vec::new(),
        bytes: 0,
        wanted: Vec::new(),
    }))
}

fn reply_status(call: &mut Call<'_>, status: i64) -> Flow {
    call.reply.array(1);
    call.reply.integer(status);
    Flow::Done
}

/// Answers the page, or has fetched first what it lacks.
fn reply_page(call: &mut Call<'_>, page: Page) -> Result<Flow, Error> {
    if !page.wanted.is_empty() {
        call.tx.want(page.wanted);
        return Err(Error::Spilled);
    }
    call.reply.array(page.items.len() + 1);
    call.reply.integer(DONE);
    for item in &page.items {
        put_item(&mut call.reply, item);
    }
    Ok(Flow::Done)
}

fn put_item(reply: &mut Reply<'_>, item: &Item) {
    let put = |reply: &mut Reply<'_>, bytes: Option<&[u8]>| match bytes {
        Some(bytes) => reply.bulk(bytes),
        None => reply.null(),
    };
    reply.array(6);
    reply.bulk(&item.name);
    put(reply, item.value.as_deref());
    reply.integer(i64::from(item.version));
    reply.integer(item.expires.map_or(0, |at| at.0 / 1000));
    put(reply, item.table.as_ref().map(|(table, _)| &table[..]));
    put(reply, item.table.as_ref().map(|(_, kind)| kind.as_bytes()));
}

/// Finds the table at argument 2 and calls `look` with where it lies. `None`: there is none of this kind.
fn with_table<R>(
    call: &mut Call<'_>,
    kind: Option<&[u8]>,
    look: impl FnOnce(&Partition, u8, &EntryRef<'_>) -> R,
) -> Result<Option<R>, Error> {
    let (before, tb) = (call.tx.db(), call.arg(2));
    let found = place(&mut call.tx, tb, is_table);
    call.tx.set_db(before);
    let Place::Here(db) = found else { return Ok(None) };
    let partition = call.tx.partition(call.tx.keyspace().partition_of(tb)).expect("the row names the key");
    let physical = partition.physical(db);
    let entry = partition.index(physical).entry(partition.find(physical, tb).expect("it was just found"));
    let is_asked_for = kind.is_none_or(|kind| kind == letter(entry.kind()).as_bytes());
    Ok(is_asked_for.then(|| look(partition, physical, &entry)))
}

fn elements(call: &mut Call<'_>) -> Result<Flow, Error> {
    let Some(mut page) = page_args(call, 4)? else { return Ok(reply_status(call, REFUSED)) };
    match call.arg_count() {
        9 => {}
        11 => page.scores = Some((call.float(9)?, call.float(10)?)),
        _ => return Err(Error::Syntax),
    }
    let (kind, horizon) = (call.arg(3), call.horizon());
    let is_elsewhere = kind == b"Z" && !page.has(call.arg(2));
    let found = with_table(call, Some(kind), |partition, db, entry| {
        walk_table(partition, db, entry, horizon, &mut page);
    })?;
    if is_elsewhere || found.is_none() {
        return Ok(reply_status(call, NO_TABLE));
    }
    reply_page(call, page)
}

fn items(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (file, page) = (bounded(call, 2, usize::from(FILE_COUNT) - 1)?, page_args(call, 3)?);
    let (Some(file), Some(mut page)) = (file, page) else { return Ok(reply_status(call, REFUSED)) };
    page.tells_tables = true;
    let horizon = call.horizon();
    let walked = call.tx.each_partition(PartitionId(0), |partition, _| {
        if partition.id().index() % usize::from(FILE_COUNT) == file {
            for db in DBS.map(|db| partition.physical(db)) {
                partition.index(db).each(|entry| walk_entry(partition, db, &entry, horizon, &mut page));
            }
        }
        if page.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    // Whether it was full before the end makes no difference.
    let _: ControlFlow<()> = walked;
    reply_page(call, page)
}

fn walk_entry(partition: &Partition, db: u8, entry: &EntryRef<'_>, horizon: TimeMs, page: &mut Page) {
    if page.is_full() || has_ended(entry.expires(), horizon) {
        return;
    }
    match entry.kind() {
        Kind::String => walk_pair(partition, db, entry, page),
        Kind::Hash | Kind::Set => walk_table(partition, db, entry, horizon, page),
        Kind::SortedSet if page.has(entry.key()) => walk_table(partition, db, entry, horizon, page),
        Kind::SortedSet | Kind::List | Kind::Stream => {}
    }
}

fn walk_pair(partition: &Partition, db: u8, entry: &EntryRef<'_>, page: &mut Page) {
    if !page.has(entry.key()) {
        return;
    }
    let value = match entry.stored() {
        _ if !page.has_values || 0 < page.skip => None,
        Stored::Inline(bytes) => Some(bytes.to_vec()),
        Stored::Boxed(Value::Bytes(bytes)) => Some(bytes.to_vec()),
        Stored::Int(number) => Some(format_i64(number).as_bytes().to_vec()),
        Stored::Spilled => {
            page.wanted.push(partition.wanted(db, entry));
            None
        }
        Stored::Boxed(_) => unreachable!("a string is bytes"),
    };
    let (name, version) = (entry.key().to_vec(), version_of_revision(entry.revision()));
    let expires = entry.expires();
    page.add(|| Item { name, value, version, expires, table: None });
}

/// What is known of a table's elements: their record, if it is in memory.
enum Record<'p> {
    None,
    Known(&'p Hash),
    Spilled(Spilled),
}

fn record<'p>(partition: &'p Partition, db: u8, key: &[u8]) -> Record<'p> {
    let Some(place) = partition.find(ELEMENTS_DB, &record_name(db, key)) else { return Record::None };
    let entry = partition.index(ELEMENTS_DB).entry(place);
    match entry.stored() {
        Stored::Boxed(Value::Hash(hash)) => Record::Known(hash),
        Stored::Spilled => Record::Spilled(partition.wanted(ELEMENTS_DB, &entry)),
        _ => unreachable!("a record is a hash"),
    }
}

fn walk_table(partition: &Partition, db: u8, entry: &EntryRef<'_>, horizon: TimeMs, page: &mut Page) {
    let known = match record(partition, db, entry.key()) {
        Record::None => None,
        Record::Known(hash) => Some(hash),
        Record::Spilled(spilled) => {
            page.wanted.push(spilled);
            return;
        }
    };
    let Stored::Boxed(value) = entry.stored() else {
        page.wanted.push(partition.wanted(db, entry));
        return;
    };
    let table = page.tells_tables.then(|| (entry.key().to_vec(), letter(entry.kind())));
    let scores = page.scores;
    each_element(value, scores, |name, value, expires| {
        let element = known.and_then(|known| known.get(name));
        let expires = expires.or(element.and_then(|element| element.expires));
        if has_ended(expires, horizon) || (!matches!(value, Worth::Score(_)) && !page.has(name)) {
            return page.is_full();
        }
        let version = element.map_or(1, |element| decode_version(element.value));
        let value = match value {
            Worth::Score(score) => Some(score_text(score)),
            Worth::Bytes(bytes) => page.has_values.then(|| bytes.to_vec()),
            Worth::Nothing => None,
        };
        page.add(|| Item { name: name.to_vec(), value, version, expires, table: table.clone() });
        page.is_full()
    });
}

/// What an element has beside its name.
enum Worth<'v> {
    Bytes(&'v [u8]),
    Score(f64),
    Nothing,
}

/// Calls `each` with name, value and end of a table's elements until it says that it has enough.
fn each_element(
    value: &Value,
    scores: Option<(f64, f64)>,
    mut each: impl FnMut(&[u8], Worth<'_>, Option<TimeMs>) -> bool,
) {
    // `any` ends where `each` has enough; whether it did is of no interest.
    let _ = match value {
        Value::Hash(hash) => hash.iter().any(|field| each(field.name, Worth::Bytes(field.value), field.expires)),
        Value::Set(set) => set.iter().any(|member| each(&member, Worth::Nothing, None)),
        Value::SortedSet(set) => {
            let (min, max) = scores.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
            let from = set.partition_by_score(|score| score < min);
            let to = set.partition_by_score(|score| score <= max);
            let ranks = from..to.max(from);
            let mut scored = set.walk(ranks, keyspace::sorted_set::Direction::Ascending);
            scored.any(|scored| each(scored.member, Worth::Score(scored.score), None))
        }
        _ => false,
    };
}

/// Elements of a table and their bytes; `None` when it lies in the journal only.
fn measure(entry: &EntryRef<'_>) -> Option<(i64, i64)> {
    let Stored::Boxed(value) = entry.stored() else { return None };
    let (mut count, mut bytes) = (0, 0);
    each_element(value, None, |name, value, _| {
        count += 1;
        bytes += name.len() as i64 + if let Worth::Bytes(value) = value { value.len() as i64 } else { 0 };
        false
    });
    Some((count, bytes))
}

fn stat(call: &mut Call<'_>) -> Result<Flow, Error> {
    let found = with_table(call, None, |partition, db, entry| {
        measure(entry).map(|measured| (letter(entry.kind()), measured)).ok_or_else(|| partition.wanted(db, entry))
    })?;
    match found {
        None => return Ok(reply_status(call, NO_TABLE)),
        Some(Err(spilled)) => {
            call.tx.want([spilled]);
            return Err(Error::Spilled);
        }
        Some(Ok((kind, (count, bytes)))) => {
            call.reply.array(4);
            call.reply.integer(DONE);
            call.reply.bulk(kind.as_bytes());
            call.reply.integer(count);
            call.reply.integer(bytes);
        }
    }
    Ok(Flow::Done)
}

/// What there is in all.
#[derive(Default)]
struct Totals {
    pairs: (i64, i64),
    hashed: (i64, i64),
    tables: Vec<(Vec<u8>, &'static str, i64, i64)>,
    wanted: Vec<Spilled>,
}

impl Totals {
    fn add(&mut self, partition: &Partition, db: u8, entry: &EntryRef<'_>) {
        let plus = |sum: &mut (i64, i64), (count, bytes)| *sum = (sum.0 + count, sum.1 + bytes);
        match entry.kind() {
            Kind::String => plus(&mut self.pairs, (1, (entry.key().len() + entry.value_bytes()) as i64)),
            Kind::List | Kind::Stream => {}
            kind => match measure(entry) {
                Some((count, bytes)) => {
                    if kind == Kind::Hash {
                        plus(&mut self.hashed, (count, bytes));
                    }
                    if self.tables.len() < TABLES_MAX {
                        self.tables.push((entry.key().to_vec(), letter(kind), count, bytes));
                    }
                }
                None if self.wanted.len() < FETCHED_MAX => self.wanted.push(partition.wanted(db, entry)),
                None => {}
            },
        }
    }
}

fn tables(call: &mut Call<'_>) -> Result<Flow, Error> {
    let horizon = call.horizon();
    let mut totals = Totals::default();
    let walked: ControlFlow<()> = call.tx.each_partition(PartitionId(0), |partition, _| {
        for db in DBS.map(|db| partition.physical(db)) {
            partition.index(db).each(|entry| {
                if !has_ended(entry.expires(), horizon) {
                    totals.add(partition, db, &entry);
                }
            });
        }
        ControlFlow::Continue(())
    });
    assert!(walked.is_continue(), "nothing ends this walk early");
    if !totals.wanted.is_empty() {
        call.tx.want(totals.wanted);
        return Err(Error::Spilled);
    }
    totals.tables.sort_unstable();
    call.reply.array(5 + totals.tables.len());
    for number in [DONE, totals.pairs.0, totals.pairs.1, totals.hashed.0, totals.hashed.1] {
        call.reply.integer(number);
    }
    for (name, kind, count, bytes) in &totals.tables {
        call.reply.array(4);
        call.reply.bulk(name);
        call.reply.bulk(kind.as_bytes());
        call.reply.integer(*count);
        call.reply.integer(*bytes);
    }
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_that_clients_compute() {
        let expected = (u64::from(b'a') * 31 + u64::from(b'b')) % 1024;
        assert_eq!((bucket(b""), bucket(b"a"), u64::from(bucket(b"ab"))), (0, 97, expected));
    }
}
