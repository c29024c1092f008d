//! HUSTDB over many: pages of a table's elements, pages of everything, and counts.
//!
//! Items lie in files and in buckets. A file is every [`FILE_COUNT`]th partition, so that a page of one looks at a part of
//! the data only; a bucket is what hustdb's clients compute of a name: [`bucket`].
//!
//! A page is found by walking from the start each time. A walk over everything looks at each partition under its own lock,
//! so a page may show what no moment had. What lies in the journal only is fetched before it is looked at, tables
//! included: the walk stops there, keeps what it has found with the session ([`Walk`]), and goes on from there when its
//! command is run anew. So it needs no more in memory at a time than the next table, as other commands do, and ends however
//! little memory there is.
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
use keyspace::elements::{decode_version, records_db};
use keyspace::entry::{EntryRef, Stored};
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
/// Bytes of values after which a walk asks for no further one before it goes on.
const FETCHED_BYTES: usize = 64 << 10;
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
#[derive(Clone, Debug)]
struct Item {
    name: Vec<u8>,
    value: Option<Vec<u8>>,
    version: u32,
    expires: Option<TimeMs>,
    table: Option<(Vec<u8>, &'static str)>,
}

/// What is asked for, and what was found of it.
#[derive(Clone, Debug)]
struct Page {
    buckets: Range<u16>,
    skip: usize,
    count: usize,
    has_values: bool,
    /// Of a sorted set only what has a score between these, both included.
    scores: Option<(f64, f64)>,
    /// Of a walk over everything, the file; items say which table they are of then.
    file: Option<usize>,
    items: Vec<Item>,
    bytes: usize,
}

impl Page {
    fn is_full(&self) -> bool {
        self.items.len() >= self.count || PAGE_BYTES_MAX <= self.bytes
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
        file: None,
        items: Vec::new(),
        bytes: 0,
    }))
}

fn reply_status(call: &mut Call<'_>, status: i64) -> Flow {
    call.reply.array(1);
    call.reply.integer(status);
    Flow::Done
}

fn reply_page(call: &mut Call<'_>, page: &Page) -> Flow {
    call.reply.array(page.items.len() + 1);
    call.reply.integer(DONE);
    for item in &page.items {
        put_item(&mut call.reply, item);
    }
    Flow::Done
}

/// A walk over everything that has stopped for what is to be fetched.
#[derive(Clone, Debug)]
pub struct Walk {
    /// The command whose walk it is.
    command: Vec<Vec<u8>>,
    at: At,
    found: Found,
}

/// Where a walk has got to: the bucket at `cursor` is next, but for the entries of it that were looked at.
#[derive(Clone, Debug)]
struct At {
    partition: PartitionId,
    db: usize,
    cursor: u64,
    done: Vec<Vec<u8>>,
}

impl At {
    fn start_of(partition: PartitionId) -> At {
        At { partition, db: 0, cursor: 0, done: Vec::new() }
    }
}

/// What a walk over everything looks for, and has found of it.
#[derive(Clone, Debug)]
enum Found {
    Items(Page),
    Tables(Totals),
}

impl Found {
    fn is_full(&self) -> bool {
        matches!(self, Found::Items(page) if page.is_full())
    }

    fn looks_into(&self, partition: PartitionId) -> bool {
        match self {
            Found::Items(page) => page.file.is_none_or(|file| partition.index() % usize::from(FILE_COUNT) == file),
            Found::Tables(_) => true,
        }
    }

    /// Asks for what lies in the journal only and must be known of an entry.
    fn want(&self, look: &Look<'_>, entry: &EntryRef<'_>, wanted: &mut Vec<Spilled>) {
        match (self, entry.kind()) {
            (_, Kind::List | Kind::Stream) | (Found::Tables(_), Kind::String) => {}
            (Found::Tables(_), _) => look.want_value(entry, wanted),
            (Found::Items(page), Kind::String) => {
                if page.has(entry.key()) && page.has_values && page.skip == 0 {
                    look.want_value(entry, wanted);
                }
            }
            (Found::Items(page), Kind::SortedSet) if !page.has(entry.key()) => {}
            (Found::Items(_), _) => look.want_table(entry, wanted),
        }
    }

    /// Looks at an entry of which everything that must be known is in memory.
    fn take(&mut self, look: &Look<'_>, entry: &EntryRef<'_>) {
        match self {
            Found::Tables(totals) => totals.add(entry),
            Found::Items(page) if page.is_full() => {}
            Found::Items(page) => match entry.kind() {
                Kind::String => page.walk_pair(entry),
                Kind::SortedSet if !page.has(entry.key()) => {}
                Kind::Hash | Kind::Set | Kind::SortedSet => page.walk_table(look, entry),
                Kind::List | Kind::Stream => {}
            },
        }
    }
}

/// Walks over everything, or on from where the walk of this very command has stopped. `found` is what it begins with.
fn walk(call: &mut Call<'_>, found: Found) -> Result<Found, Error> {
    let stopped = call.session.walk.take();
    let stopped = stopped.filter(|walk| walk.command.iter().map(Vec::as_slice).eq(call.args.iter()));
    let mut walk = stopped.unwrap_or_else(|| {
        let command = call.args.iter().map(<[u8]>::to_vec).collect();
        Box::new(Walk { command, at: At::start_of(PartitionId(0)), found })
    });
    let (horizon, mut wanted) = (call.horizon(), Vec::new());
    let Walk { at, found, .. } = &mut *walk;
    let walked = call.tx.each_partition(at.partition, |partition, _| {
        if at.partition != partition.id() {
            *at = At::start_of(partition.id());
        }
        if found.looks_into(partition.id()) {
            walk_partition(partition, horizon, at, found, &mut wanted);
        }
        if wanted.is_empty() && !found.is_full() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    // Whether it was over before the end makes no difference.
    let _: ControlFlow<()> = walked;
    if wanted.is_empty() {
        return Ok(walk.found);
    }
    call.session.walk = Some(walk);
    call.tx.want(wanted);
    Err(Error::Spilled)
}

fn walk_partition(partition: &Partition, horizon: TimeMs, at: &mut At, found: &mut Found, wanted: &mut Vec<Spilled>) {
    while let Some(db) = DBS.get(at.db) {
        let look = Look { partition, db: partition.physical(*db), horizon };
        loop {
            if found.is_full() {
                return;
            }
            let next = walk_bucket(&look, at, found, wanted);
            if !wanted.is_empty() {
                return;
            }
            at.done.clear();
            at.cursor = next;
            if next == 0 {
                break;
            }
        }
        at.db += 1;
    }
}

/// Looks at the entries of a bucket up to the first of which something is missing; some of those behind it are asked for, too.
/// Returns the cursor of the next bucket.
fn walk_bucket(look: &Look<'_>, at: &mut At, found: &mut Found, wanted: &mut Vec<Spilled>) -> u64 {
    let index = look.partition.index(look.db);
    let is_next = |done: &[Vec<u8>], entry: &EntryRef<'_>| {
        !has_ended(entry.expires(), look.horizon) && !done.iter().any(|key| key == entry.key())
    };
    let (mut taken, mut bytes) = (0, 0);
    let next = index.scan(at.cursor, |entry| {
        if !is_next(&at.done, &entry) || FETCHED_BYTES <= bytes {
            return;
        }
        let count = wanted.len();
        found.want(look, &entry, wanted);
        if count < wanted.len() {
            bytes += entry.value_bytes().max(1);
        } else if wanted.is_empty() {
            found.take(look, &entry);
            taken += 1;
        }
    });
    if !wanted.is_empty() {
        let mut names: Vec<Vec<u8>> = Vec::with_capacity(taken);
        index.scan(at.cursor, |entry| {
            if names.len() < taken && is_next(&at.done, &entry) {
                names.push(entry.key().to_vec());
            }
        });
        at.done.append(&mut names);
    }
    next
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
    look: impl FnOnce(&Look<'_>, &EntryRef<'_>) -> R,
) -> Result<Option<R>, Error> {
    let horizon = call.horizon();
    let (before, tb) = (call.tx.db(), call.arg(2));
    let found = place(&mut call.tx, tb, is_table);
    call.tx.set_db(before);
    let Place::Here(db) = found else { return Ok(None) };
    let partition = call.tx.partition(call.tx.keyspace().partition_of(tb)).expect("the row names the key");
    let physical = partition.physical(db);
    let entry = partition.index(physical).entry(partition.find(physical, tb).expect("it was just found"));
    let is_asked_for = kind.is_none_or(|kind| kind == letter(entry.kind()).as_bytes());
    Ok(is_asked_for.then(|| look(&Look { partition, db: physical, horizon }, &entry)))
}

fn elements(call: &mut Call<'_>) -> Result<Flow, Error> {
    let Some(mut page) = page_args(call, 4)? else { return Ok(reply_status(call, REFUSED)) };
    match call.arg_count() {
        9 => {}
        11 => page.scores = Some((call.float(9)?, call.float(10)?)),
        _ => return Err(Error::Syntax),
    }
    let kind = call.arg(3);
    let is_elsewhere = kind == b"Z" && !page.has(call.arg(2));
    let mut wanted = Vec::new();
    let found = with_table(call, Some(kind), |look, entry| {
        look.want_table(entry, &mut wanted);
        if wanted.is_empty() {
            page.walk_table(look, entry);
        }
    })?;
    if is_elsewhere || found.is_none() {
        return Ok(reply_status(call, NO_TABLE));
    }
    if wanted.is_empty() {
        return Ok(reply_page(call, &page));
    }
    call.tx.want(wanted);
    Err(Error::Spilled)
}

fn items(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (file, page) = (bounded(call, 2, usize::from(FILE_COUNT) - 1)?, page_args(call, 3)?);
    let (Some(file), Some(mut page)) = (file, page) else { return Ok(reply_status(call, REFUSED)) };
    page.file = Some(file);
    let Found::Items(page) = walk(call, Found::Items(page))? else {
        unreachable!("a walk finds what its own command looks for")
    };
    Ok(reply_page(call, &page))
}

/// A database of a partition, and what has ended in it.
struct Look<'p> {
    partition: &'p Partition,
    db: u8,
    horizon: TimeMs,
}

impl<'p> Look<'p> {
    /// Asks for the value of an entry if it lies in the journal only.
    fn want_value(&self, entry: &EntryRef<'_>, wanted: &mut Vec<Spilled>) {
        if matches!(entry.stored(), Stored::Spilled) {
            wanted.push(self.partition.wanted(self.db, entry));
        }
    }

    /// Asks for a table and its record.
    fn want_table(&self, entry: &EntryRef<'_>, wanted: &mut Vec<Spilled>) {
        self.want_value(entry, wanted);
        let records = Look { db: records_db(self.db), ..*self };
        if let Some(record) = self.record(entry.key()) {
            records.want_value(&record, wanted);
        }
    }

    /// What is known of a table's elements. A record that has ended is that of a table before this one, which the timer has
    /// not come by yet.
    fn record(&self, key: &[u8]) -> Option<EntryRef<'p>> {
        let place = self.partition.find(records_db(self.db), key)?;
        let record = self.partition.index(records_db(self.db)).entry(place);
        (!has_ended(record.expires(), self.horizon)).then_some(record)
    }
}

impl Page {
    fn walk_pair(&mut self, entry: &EntryRef<'_>) {
        if !self.has(entry.key()) {
            return;
        }
        let value = match entry.stored() {
            _ if !self.has_values || 0 < self.skip => None,
            Stored::Inline(bytes) => Some(bytes.to_vec()),
            Stored::Boxed(Value::Bytes(bytes)) => Some(bytes.to_vec()),
            Stored::Int(number) => Some(format_i64(number).as_bytes().to_vec()),
            Stored::Spilled | Stored::Boxed(_) => unreachable!("a string that was asked for is bytes"),
        };
        let (name, version) = (entry.key().to_vec(), version_of_revision(entry.revision()));
        let expires = entry.expires();
        self.add(|| Item { name, value, version, expires, table: None });
    }

    fn walk_table(&mut self, look: &Look<'_>, entry: &EntryRef<'_>) {
        let Stored::Boxed(value) = entry.stored() else { unreachable!("a table that was asked for is in memory") };
        let record = look.record(entry.key());
        let known = record.as_ref().map(|record| match record.stored() {
            Stored::Boxed(Value::Hash(hash)) => hash,
            _ => unreachable!("the record of a table is a hash, and this one was asked for"),
        });
        let table = self.file.map(|_| (entry.key().to_vec(), letter(entry.kind())));
        let scores = self.scores;
        each_element(value, scores, |name, value, expires| {
            let element = known.and_then(|known| known.get(name));
            let expires = expires.or(element.and_then(|element| element.expires));
            if has_ended(expires, look.horizon) || (!matches!(value, Worth::Score(_)) && !self.has(name)) {
                return self.is_full();
            }
            let version = element.map_or(1, |element| decode_version(element.value));
            let value = match value {
                Worth::Score(score) => Some(score_text(score)),
                Worth::Bytes(bytes) => self.has_values.then(|| bytes.to_vec()),
                Worth::Nothing => None,
            };
            self.add(|| Item { name: name.to_vec(), value, version, expires, table: table.clone() });
            self.is_full()
        });
    }
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
    let found = with_table(call, None, |look, entry| {
        let measured = measure(entry).map(|measured| (letter(entry.kind()), measured));
        measured.ok_or_else(|| look.partition.wanted(look.db, entry))
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
#[derive(Clone, Debug, Default)]
struct Totals {
    pairs: (i64, i64),
    hashed: (i64, i64),
    tables: Vec<(Vec<u8>, &'static str, i64, i64)>,
}

impl Totals {
    fn add(&mut self, entry: &EntryRef<'_>) {
        let plus = |sum: &mut (i64, i64), (count, bytes)| *sum = (sum.0 + count, sum.1 + bytes);
        match entry.kind() {
            Kind::String => plus(&mut self.pairs, (1, (entry.key().len() + entry.value_bytes()) as i64)),
            Kind::List | Kind::Stream => {}
            kind => {
                let (count, bytes) = measure(entry).expect("a table that was asked for is in memory");
                if kind == Kind::Hash {
                    plus(&mut self.hashed, (count, bytes));
                }
                if self.tables.len() < TABLES_MAX {
                    self.tables.push((entry.key().to_vec(), letter(kind), count, bytes));
                }
            }
        }
    }
}

fn tables(call: &mut Call<'_>) -> Result<Flow, Error> {
    let Found::Tables(mut totals) = walk(call, Found::Tables(Totals::default()))? else {
        unreachable!("a walk finds what its own command looks for")
    };
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
