//! Streams: adding entries, reading ranges of them, cutting and correcting.
//!
//! A stream that is emptied goes on existing, for what it remembers: its last id, and its groups.
//!
//! Deliberately not here: reading on from where one was (`streams_read`), groups (`stream_groups`, `stream_claims`), and
//! what XINFO tells (`stream_info`).
//!
//! Source: behaviour of Valkey 9.1 `t_stream.c`.

use crate::call::{Call, Flow};
use crate::error::Error;
use crate::refuse;
use crate::spec::{Arity, Flags, Group, Keys, Scope, Spec};
use crate::stream_ids::write_id;
use crate::stream_ids::{INVALID_ID, halves, parse_end, parse_half, parse_id, parse_ids, parse_start, write_entries};
use crate::touches::{KeyUse, Touches};
use keyspace::events::Event;
use keyspace::stream::{BlockLimits, Counters, ENTRY_BYTES_MAX, Stream, StreamId, Trim};

pub(crate) const READ: Spec = Spec {
    name: "",
    arity: Arity::AtLeast(4),
    flags: Flags::READONLY,
    keys: Keys::ONE,
    scope: Scope::Keys,
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(log(N)+M) for a stream of N entries and M entries returned",
    summary: "",
    syntax: "",
    handler: range,
    subcommands: &[],
    touches: Touches::BY_FLAGS,
};

pub(crate) const WRITE: Spec = Spec { flags: Flags::WRITE.and(Flags::FAST), complexity: "O(1)", ..READ };

/// The rows, sorted by name.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "xadd",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        arity: Arity::AtLeast(5),
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        complexity: "O(1) when adding, O(N) for N entries trimmed",
        summary: "Adds an entry at the end of a stream, which it creates, and returns the entry's id.",
        syntax: "key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value \
                 [field value ...]",
        handler: add,
        ..WRITE
    },
    Spec {
        name: "xdel",
        touches: Touches::keys(&[KeyUse::RW_DELETE]),
        arity: Arity::AtLeast(3),
        complexity: "O(log(N)) for each id in a stream of N entries",
        summary: "Removes entries of a stream by their ids; returns how many there were.",
        syntax: "key id [id ...]",
        handler: delete,
        ..WRITE
    },
    Spec {
        name: "xlen",
        touches: Touches::keys(&[KeyUse::RO]),
        arity: Arity::Exactly(2),
        flags: Flags::READONLY.and(Flags::FAST),
        complexity: "O(1)",
        summary: "Returns the number of entries of a stream.",
        syntax: "key",
        handler: count,
        ..READ
    },
    Spec {
        name: "xrange",
        summary: "Returns the entries of a stream within a range of ids.",
        syntax: "key start end [COUNT count]",
        ..READ
    },
    Spec {
        name: "xrevrange",
        summary: "Returns the entries of a stream within a range of ids, last to first.",
        syntax: "key end start [COUNT count]",
        handler: range_back,
        ..READ
    },
    Spec {
        name: "xsetid",
        touches: Touches::keys(&[KeyUse::RW_UPDATE]),
        arity: Arity::AtLeast(3),
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        summary: "Sets the last id of a stream, and what it remembers of entries that are gone.",
        syntax: "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
        handler: set_id,
        ..WRITE
    },
    Spec {
        name: "xtrim",
        touches: Touches::keys(&[KeyUse::RW_DELETE]),
        flags: Flags::WRITE,
        complexity: "O(N) for N entries removed",
        summary: "Removes the first entries of a stream down to a length or up to an id; returns how many.",
        syntax: "key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]",
        handler: trim,
        ..WRITE
    },
];

/// How a stream is to be cut.
#[derive(Clone, Copy)]
struct Trimming {
    trim: Trim,
    /// Whole blocks only.
    approximate: bool,
    /// Entries removed at most; 0 is no limit.
    limit: u64,
}

impl Trimming {
    /// The last id that it takes of a stream.
    fn end_in(&self, stream: &Stream) -> Option<StreamId> {
        stream.trim_end(self.trim, self.approximate, self.limit)
    }
}

/// The words between the key and an id or the end.
#[derive(Default)]
struct Options {
    trim: Option<(Trim, bool)>,
    limit: Option<u64>,
    no_create: bool,
    /// Where the first argument is that is no option.
    end: usize,
}

impl Options {
    fn parse(call: &Call<'_>) -> Result<Options, Error> {
        let mut options = Options { end: 2, ..Options::default() };
        while options.end < call.arg_count() {
            let has_value = options.end + 1 < call.arg_count();
            let text = call.arg(options.end);
            if text.first().is_some_and(|first| first.is_ascii_digit() || *first == b'*') {
                break;
            } else if has_value && call.is_word(options.end, "MAXLEN") {
                options.threshold(call, |text| {
                    let length = base::number::parse_i64(text).ok_or(Error::NotInteger)?;
                    let length = u64::try_from(length);
                    length.map(Trim::Length).map_err(|_| Error::text("ERR The MAXLEN argument must be >= 0."))
                })?;
            } else if has_value && call.is_word(options.end, "MINID") {
                options.threshold(call, |text| parse_id(text, 0).map(Trim::Before))?;
            } else if has_value && call.is_word(options.end, "LIMIT") {
                let limit = u64::try_from(call.integer(options.end + 1)?);
                options.limit = Some(limit.map_err(|_| Error::text("ERR The LIMIT argument must be >= 0."))?);
                options.end += 2;
            } else if call.is_word(options.end, "NOMKSTREAM") {
                options.no_create = true;
                options.end += 1;
            } else {
                break;
            }
        }
        Ok(options)
    }

    /// `[= | ~] threshold`, behind the word that says of what.
    fn threshold(&mut self, call: &Call<'_>, parse: impl FnOnce(&[u8]) -> Result<Trim, Error>) -> Result<(), Error> {
        if self.trim.is_some() {
            return Err(Error::text("ERR syntax error, MAXLEN and MINID options at the same time are not compatible"));
        }
        let mark = Some(call.arg(self.end + 1)).filter(|_| self.end + 2 < call.arg_count());
        let has_mark = matches!(mark, Some(b"=" | b"~"));
        self.end += 1 + usize::from(has_mark);
        self.trim = Some((parse(call.arg(self.end))?, mark == Some(b"~")));
        self.end += 1;
        Ok(())
    }

    fn trimming(&self, limits: BlockLimits) -> Result<Option<Trimming>, Error> {
        match (self.trim, self.limit) {
            (None, None) => Ok(None),
            (None, Some(1..)) => {
                Err(Error::text("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"))
            }
            (None | Some((_, false)), Some(_)) => {
                Err(Error::text("ERR syntax error, LIMIT cannot be used without the special ~ option"))
            }
            (Some((trim, approximate)), limit) => {
                let limit = limit.unwrap_or(if approximate { default_limit(limits) } else { 0 });
                Ok(Some(Trimming { trim, approximate, limit }))
            }
        }
    }
}

/// Entries that `~` removes at once when nothing is said: those of a hundred blocks.
fn default_limit(limits: BlockLimits) -> u64 {
    match limits.entry_count_max.saturating_mul(100) {
        0 => 10_000,
        limit => limit.min(1_000_000),
    }
}

/// What XADD is to call an entry.
enum NewId {
    Next,
    NextWithin(u64),
    Exactly(StreamId),
}

impl NewId {
    fn parse(text: &[u8]) -> Result<NewId, Error> {
        if text == b"*" {
            return Ok(NewId::Next);
        }
        match halves(text).ok_or(INVALID_ID)? {
            (ms, Some(b"*")) => Ok(NewId::NextWithin(ms)),
            (ms, None) => Ok(NewId::Exactly(StreamId { ms, seq: 0 })),
            (ms, Some(seq)) => Ok(NewId::Exactly(StreamId { ms, seq: parse_half(seq).ok_or(INVALID_ID)? })),
        }
    }

    /// The id, if there is one after `last`.
    fn after(&self, last: StreamId, now_ms: u64) -> Option<StreamId> {
        match *self {
            NewId::Next if last.ms < now_ms => Some(StreamId { ms: now_ms, seq: 0 }),
            NewId::Next => last.next(),
            NewId::NextWithin(ms) if ms == last.ms => last.seq.checked_add(1).map(|seq| StreamId { ms, seq }),
            NewId::NextWithin(ms) => Some(StreamId { ms, seq: 0 }),
            NewId::Exactly(id) => Some(id),
        }
        .filter(|id| last < *id)
    }
}

fn add(call: &mut Call<'_>) -> Result<Flow, Error> {
    let options = Options::parse(call)?;
    let limits = call.tx.stream_limits();
    let new_id = call.args.nth(options.end).map(NewId::parse).transpose()?;
    let (key, fields) = (call.arg(1), call.args.skip(options.end + 1));
    let trimming = options.trimming(limits)?;
    let has_pairs = 0 < fields.count() && fields.count().is_multiple_of(2);
    let Some(new_id) = new_id.filter(|_| has_pairs) else {
        return Err(Error::text("ERR wrong number of arguments for 'xadd' command"));
    };
    if matches!(new_id, NewId::Exactly(StreamId::MIN)) {
        return Err(Error::text("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let now_ms = u64::try_from(call.now().0).unwrap_or(0);
    let stream = call.tx.stream(key)?;
    if stream.is_none() && options.no_create {
        call.reply.null();
        return Ok(Flow::Done);
    }
    let last = stream.map_or(StreamId::MIN, |stream| stream.counters().last_id);
    if last == StreamId::MAX {
        return Err(Error::text("ERR The stream has exhausted the last possible ID, unable to add more items"));
    }
    let id = new_id
        .after(last, now_ms)
        .ok_or(Error::text("ERR The ID specified in XADD is equal or smaller than the target stream top item"))?;
    let entry_bytes = fields.iter().map(<[u8]>::len).sum();
    if ENTRY_BYTES_MAX < entry_bytes {
        return Err(Error::text("ERR Elements are too large to be stored"));
    }
    let opens = stream.is_some_and(|stream| stream.is_block_full(entry_bytes, limits));
    let pairs = (0..fields.count() / 2).map(|pair| (fields.at(2 * pair), fields.at(2 * pair + 1)));
    call.tx.stream_add(key, id, opens, pairs);
    call.notify(Event::Stream, "xadd", key);
    if let Some(trimming) = trimming {
        trim_now(call, trimming)?;
    }
    write_id(&mut call.reply, id);
    Ok(Flow::Done)
}

/// Cuts the stream, if there is one, and returns how many entries went.
fn trim_now(call: &mut Call<'_>, trimming: Trimming) -> Result<u64, Error> {
    let key = call.arg(1);
    let end = call.tx.stream(key)?.and_then(|stream| trimming.end_in(stream));
    let Some(end) = end else { return Ok(0) };
    let removed_count = call.tx.stream_trim(key, end);
    call.notify(Event::Stream, "xtrim", key);
    Ok(removed_count)
}

fn trim(call: &mut Call<'_>) -> Result<Flow, Error> {
    let options = Options::parse(call)?;
    if options.end < call.arg_count() || options.no_create {
        return Err(Error::Syntax);
    }
    if options.trim.is_none() && options.limit.is_none_or(|limit| limit == 0) {
        return Err(Error::text("ERR syntax error, XTRIM must be called with a trimming strategy"));
    }
    let Some(trimming) = options.trimming(call.tx.stream_limits())? else { return Err(Error::Syntax) };
    let removed_count = trim_now(call, trimming)?;
    call.reply.integer(removed_count as i64);
    Ok(Flow::Done)
}

fn delete(call: &mut Call<'_>) -> Result<Flow, Error> {
    let key = call.arg(1);
    let is_there = call.tx.stream(key)?.is_some();
    let mut ids = if is_there { parse_ids(call, 2)? } else { Vec::new() };
    ids.sort_unstable();
    ids.dedup();
    if let Some(stream) = call.tx.stream(key)? {
        ids.retain(|id| stream.entry(*id).is_some());
    }
    if !ids.is_empty() {
        call.tx.stream_delete(key, &ids);
        call.notify(Event::Stream, "xdel", key);
    }
    call.reply.count(ids.len());
    Ok(Flow::Done)
}

fn count(call: &mut Call<'_>) -> Result<Flow, Error> {
    let count = call.tx.stream(call.args.at(1))?.map_or(0, Stream::len);
    call.reply.integer(count as i64);
    Ok(Flow::Done)
}

/// The number behind COUNT, if it is given; below 0 counts as 0.
fn range_count(call: &Call<'_>) -> Result<Option<usize>, Error> {
    let mut count = None;
    for index in (4..call.arg_count()).step_by(2) {
        if !call.is_word(index, "COUNT") || index + 1 == call.arg_count() {
            return Err(Error::Syntax);
        }
        count = Some(usize::try_from(call.integer(index + 1)?).unwrap_or(0));
    }
    Ok(count)
}

fn range(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (start, end) = (parse_start(call.arg(2))?, parse_end(call.arg(3))?);
    let count = range_count(call)?;
    match call.tx.stream(call.args.at(1))? {
        None => call.reply.array(0),
        Some(_) if count == Some(0) => call.reply.null_array(),
        Some(stream) => write_entries(&mut call.reply, stream.range(start, end).take(count.unwrap_or(usize::MAX))),
    }
    Ok(Flow::Done)
}

fn range_back(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (start, end) = (parse_start(call.arg(3))?, parse_end(call.arg(2))?);
    let count = range_count(call)?;
    match call.tx.stream(call.args.at(1))? {
        None => call.reply.array(0),
        Some(_) if count == Some(0) => call.reply.null_array(),
        Some(stream) => write_entries(&mut call.reply, stream.range_back(start, end).take(count.unwrap_or(usize::MAX))),
    }
    Ok(Flow::Done)
}

/// What XSETID is to set beside the last id.
#[derive(Default)]
struct SetId {
    entries_added: Option<u64>,
    max_deleted_id: StreamId,
}

impl SetId {
    fn parse(call: &Call<'_>, last_id: StreamId) -> Result<SetId, Error> {
        let mut set = SetId::default();
        for index in (3..call.arg_count()).step_by(2) {
            let has_value = index + 1 < call.arg_count();
            if has_value && call.is_word(index, "ENTRIESADDED") {
                let count = u64::try_from(call.integer(index + 1)?);
                set.entries_added = Some(count.map_err(|_| Error::text("ERR entries_added must be positive"))?);
            } else if has_value && call.is_word(index, "MAXDELETEDID") {
                set.max_deleted_id = parse_id(call.arg(index + 1), 0)?;
                if last_id < set.max_deleted_id {
                    return Err(refuse!("{XSETID_SMALLER} the provided max_deleted_entry_id"));
                }
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(set)
    }
}

const XSETID_SMALLER: &str = "ERR The ID specified in XSETID is smaller than";

fn set_id(call: &mut Call<'_>) -> Result<Flow, Error> {
    let (key, last_id) = (call.arg(1), parse_id(call.arg(2), 0)?);
    let set = SetId::parse(call, last_id)?;
    let stream = call.tx.stream(key)?.ok_or(Error::NoSuchKey)?;
    let counters = stream.counters();
    if last_id < counters.max_deleted_id {
        return Err(refuse!("{XSETID_SMALLER} current max_deleted_entry_id"));
    }
    if stream.top_id().is_some_and(|top| last_id < top) {
        return Err(refuse!("{XSETID_SMALLER} the target stream top item"));
    }
    if set.entries_added.is_some_and(|added| added < stream.len()) {
        return Err(Error::text("ERR The entries_added specified in XSETID is smaller than the target stream length"));
    }
    let max_deleted_id = Some(set.max_deleted_id).filter(|id| *id != StreamId::MIN);
    call.tx.stream_set_counters(
        key,
        Counters {
            last_id,
            max_deleted_id: max_deleted_id.unwrap_or(counters.max_deleted_id),
            entries_added: set.entries_added.unwrap_or(counters.entries_added),
        },
    );
    call.notify(Event::Stream, "xsetid", key);
    call.reply.ok();
    Ok(Flow::Done)
}
