//! Stream bodies → [`Stream`].
//!
//! ```text
//! node_count (master_id listpack)…  length  last_id
//! [first_id max_deleted_id entries_added]                        from the second form on
//! group_count (name last_id [entries_read] pending consumers)…   entries_read from the second form on
//! pending     count (id delivered_at delivery_count)…            ascending by id
//! consumers   count (name seen_at [active_at] count id…)…        active_at from the third form on
//! ```
//! A node's listpack names its first entry's fields once and gives ids as differences from the master's:
//! ```text
//! live_count deleted_count name_count name… 0
//! flags ms_diff seq_diff value…                    element_count      names are the master's
//! flags ms_diff seq_diff count (name value)…       element_count      names are its own
//! ```
//! `element_count` is the entry's elements without itself, for readers from the right.

use crate::DumpError;
use crate::body::Body;
use crate::decode::refuse_duplicates;
use crate::listpack::ListpackReader;
use crate::object::{Stream, StreamConsumer, StreamEntry, StreamGroup, StreamId, StreamPending, StreamState};
use base::TimeMs;
use std::sync::Arc;

/// Entry flag: deleted, kept only because the listpack was not rewritten.
pub(crate) const FLAG_DELETED: i64 = 1;
/// Entry flag: the names are the master's.
pub(crate) const FLAG_SAME_NAMES: i64 = 2;
/// Elements of an entry beside its names and values: flags and the two halves of its id.
pub(crate) const ENTRY_ELEMENTS: u64 = 3;
/// How `entries_read` and `active_at` say "unknown" and "never".
pub(crate) const UNKNOWN: i64 = -1;

const BROKEN: DumpError = DumpError::BadFormat("stream node is malformed");
const DISORDER: DumpError = DumpError::BadFormat("stream entries are not in order");
const BAD_PENDING: DumpError = DumpError::BadFormat("pending entry has no consumer, or two");

/// What a body says beyond the first form; each form has all of the one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StreamForm {
    /// Redis 5.
    V1,
    /// Redis 7.0: counters.
    V2,
    /// Redis 7.2: when a consumer was active.
    V3,
}

pub(crate) fn stream(body: &mut Body<'_>, form: StreamForm) -> Result<Stream, DumpError> {
    let entries = entries(body)?;
    if body.length()? != entries.len() as u64 {
        return Err(DumpError::BadFormat("stream length is not the number of its entries"));
    }
    let mut state = StreamState {
        last_id: id(body)?,
        max_deleted_id: StreamId::default(),
        entries_added: entries.len() as u64,
        groups: Vec::new(),
    };
    if StreamForm::V2 <= form {
        id(body)?; // The first id, which the entries say better.
        state.max_deleted_id = id(body)?;
        state.entries_added = body.length()?;
    }
    if entries.last().is_some_and(|newest| state.last_id < newest.id) {
        return Err(DISORDER);
    }
    let mut stream = Stream { entries, state };
    stream.state.groups = body.counted(|body| group(body, form, &stream))?;
    refuse_duplicates(stream.state.groups.iter().map(|group| group.name.as_slice()))?;
    Ok(stream)
}

fn id(body: &mut Body<'_>) -> Result<StreamId, DumpError> {
    Ok(StreamId { ms: body.length()?, seq: body.length()? })
}

fn raw_id(body: &mut Body<'_>) -> Result<StreamId, DumpError> {
    let (ms, seq) = (body.array()?, body.array()?);
    Ok(StreamId { ms: u64::from_be_bytes(ms), seq: u64::from_be_bytes(seq) })
}

fn time(body: &mut Body<'_>) -> Result<TimeMs, DumpError> {
    Ok(TimeMs(i64::from_le_bytes(body.array()?)))
}

fn entries(body: &mut Body<'_>) -> Result<Vec<StreamEntry>, DumpError> {
    let mut all = Vec::new();
    for _ in 0..body.length()? {
        let master_id = node_key(&body.string()?)?;
        node(&body.string()?, master_id, body, &mut all)?;
    }
    if all.is_sorted_by(|older: &StreamEntry, newer| older.id < newer.id) { Ok(all) } else { Err(DISORDER) }
}

fn node_key(key: &[u8]) -> Result<StreamId, DumpError> {
    let mut key = Body::new(key, 0);
    let id = raw_id(&mut key)?;
    if key.is_empty() { Ok(id) } else { Err(DumpError::BadFormat("stream node key is not an id")) }
}

fn node(
    listpack: &[u8],
    master_id: StreamId,
    body: &mut Body<'_>,
    out: &mut Vec<StreamEntry>,
) -> Result<(), DumpError> {
    let mut node = Node { elements: ListpackReader::open(listpack)?, body };
    let live_count = node.elements.natural()?;
    let deleted_count = node.elements.natural()?;
    let names = node.master_names()?;
    let start = out.len();
    for _ in 0..live_count + deleted_count {
        out.extend(node.entry(master_id, &names)?);
    }
    let whole = node.elements.next().transpose()?.is_none();
    if whole && (out.len() - start) as u64 == live_count { Ok(()) } else { Err(BROKEN) }
}

/// A node being walked, and whom to charge for what is kept of it.
struct Node<'n, 'b> {
    elements: ListpackReader<'n>,
    body: &'n mut Body<'b>,
}

impl Node<'_, '_> {
    fn kept(&mut self) -> Result<Vec<u8>, DumpError> {
        let element = self.elements.element()?;
        self.body.keep(element)
    }

    fn master_names(&mut self) -> Result<Names, DumpError> {
        let mut names = Vec::new();
        for _ in 0..self.elements.natural()? {
            names.push(self.kept()?);
        }
        if self.elements.int()? == 0 { Ok(Arc::from(names)) } else { Err(BROKEN) }
    }

    /// The next entry, or `None` for one that was deleted.
    fn entry(&mut self, master_id: StreamId, master_names: &Names) -> Result<Option<StreamEntry>, DumpError> {
        const ENTRY_BYTES: usize = 4 * size_of::<StreamEntry>(); // In a vector that grows by doubling.
        self.body.charge(ENTRY_BYTES)?;
        let flags = self.elements.int()?;
        let ms = master_id.ms.wrapping_add(self.elements.int()? as u64);
        let seq = master_id.seq.wrapping_add(self.elements.int()? as u64);
        let same_names = flags & FLAG_SAME_NAMES != 0;
        let (names, values) = if same_names { self.shared_names(master_names)? } else { self.own_names()? };
        let own_elements = if same_names { 0 } else { 1 + names.len() as u64 };
        if self.elements.natural()? != ENTRY_ELEMENTS + own_elements + values.len() as u64 {
            return Err(BROKEN);
        }
        Ok((flags & FLAG_DELETED == 0).then_some(StreamEntry { id: StreamId { ms, seq }, names, values }))
    }

    fn shared_names(&mut self, names: &Names) -> Result<(Names, Vec<Vec<u8>>), DumpError> {
        let values = names.iter().map(|_| self.kept()).collect::<Result<_, DumpError>>()?;
        Ok((Arc::clone(names), values))
    }

    fn own_names(&mut self) -> Result<(Names, Vec<Vec<u8>>), DumpError> {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for _ in 0..self.elements.natural()? {
            names.push(self.kept()?);
            values.push(self.kept()?);
        }
        Ok((Arc::from(names), values))
    }
}

type Names = Arc<[Vec<u8>]>;

fn group(body: &mut Body<'_>, form: StreamForm, stream: &Stream) -> Result<StreamGroup, DumpError> {
    let name = body.kept_string()?;
    let last_id = id(body)?;
    let entries_read = if StreamForm::V2 <= form { entries_read(body)? } else { entries_read_guess(last_id, stream) };
    let mut pending = pending(body)?;
    let consumers = body.counted(|body| consumer(body, form, &mut pending))?;
    refuse_duplicates(consumers.iter().map(|consumer| consumer.name.as_slice()))?;
    if pending.iter().any(|(_, owner)| *owner == Owner::Nobody) {
        return Err(BAD_PENDING);
    }
    Ok(StreamGroup { name, last_id, entries_read, consumers })
}

fn entries_read(body: &mut Body<'_>) -> Result<Option<u64>, DumpError> {
    match body.length()? as i64 {
        UNKNOWN => Ok(None),
        count => Ok(Some(u64::try_from(count).map_err(|_| DumpError::BadFormat("group's read counter is negative"))?)),
    }
}

/// What Redis 7 concludes for a group from before it counted: known at the edges of the stream only.
fn entries_read_guess(last_id: StreamId, stream: &Stream) -> Option<u64> {
    let (Some(first), count) = (stream.entries.first(), stream.entries.len() as u64) else {
        return Some(0);
    };
    if last_id < first.id {
        Some(0)
    } else if last_id == stream.state.last_id {
        Some(count)
    } else {
        (last_id == first.id).then_some(1)
    }
}

/// Whether a pending entry was claimed by a consumer's list yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    Somebody,
}

/// The group's own list of pending entries, ascending by id, none owned yet.
fn pending(body: &mut Body<'_>) -> Result<Vec<(StreamPending, Owner)>, DumpError> {
    let mut pending = body.counted(|body| {
        let (id, delivered_at, delivery_count) = (raw_id(body)?, time(body)?, body.length()?);
        Ok((StreamPending { id, delivered_at, delivery_count }, Owner::Nobody))
    })?;
    pending.sort_unstable_by_key(|(entry, _)| entry.id);
    if pending.is_sorted_by(|(low, _), (high, _)| low.id < high.id) { Ok(pending) } else { Err(BAD_PENDING) }
}

fn consumer(
    body: &mut Body<'_>,
    form: StreamForm,
    group_pending: &mut [(StreamPending, Owner)],
) -> Result<StreamConsumer, DumpError> {
    let name = body.kept_string()?;
    let seen_at = time(body)?;
    let active_at = if StreamForm::V3 <= form { time(body)? } else { seen_at };
    let mut pending = body.counted(|body| claim(group_pending, raw_id(body)?))?;
    pending.sort_unstable_by_key(|entry| entry.id);
    Ok(StreamConsumer { name, seen_at, active_at: Some(active_at).filter(|at| at.0 != UNKNOWN), pending })
}

fn claim(group_pending: &mut [(StreamPending, Owner)], id: StreamId) -> Result<StreamPending, DumpError> {
    let at = group_pending.binary_search_by_key(&id, |(entry, _)| entry.id).map_err(|_| BAD_PENDING)?;
    let (entry, owner) = &mut group_pending[at];
    match std::mem::replace(owner, Owner::Somebody) {
        Owner::Nobody => Ok(*entry),
        Owner::Somebody => Err(BAD_PENDING),
    }
}
