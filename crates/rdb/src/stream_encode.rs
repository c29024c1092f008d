//! Streams → payload; the layout is drawn in `stream_decode`.
//!
//! Always the third form (Redis 7.2). Entries are cut into nodes at the sizes Redis uses by default; each node's
//! names are those of its first entry.

use crate::encode::put_length_before;
use crate::format::{Encoding, put_payload};
use crate::listpack::ListpackWriter;
use crate::object::{StreamConsumer, StreamGroup, StreamId, StreamPending, StreamState};
use crate::stream_decode::{ENTRY_ELEMENTS, FLAG_SAME_NAMES, UNKNOWN};
use crate::string::{put_length, put_string};

const NODE_BYTES_MAX: usize = 4096;
const NODE_ENTRIES_MAX: u64 = 100;
const RAW_ID_BYTES: usize = 16;

/// Appends the payload of a stream to `out`: entries ascending by id, each with its names and values, and the
/// state beside them.
///
/// # Panics
/// When entries are out of order or beyond `last_id`, or one of them is 4 GiB or more.
pub fn dump_stream<N, V, F, E>(out: &mut Vec<u8>, entries: E, state: &StreamState)
where
    N: AsRef<[u8]>,
    V: AsRef<[u8]>,
    F: Iterator<Item = (N, V)> + Clone,
    E: Iterator<Item = (StreamId, F)>,
{
    put_payload(out, Encoding::StreamV3, |out| {
        let span = put_entries(out, entries);
        assert!(span.last_id <= state.last_id, "no entry is newer than the stream's last id");
        put_length(out, span.count);
        put_id(out, state.last_id);
        put_id(out, span.first_id);
        put_id(out, state.max_deleted_id);
        put_length(out, state.entries_added);
        put_length(out, state.groups.len() as u64);
        state.groups.iter().for_each(|group| put_group(out, group));
    });
}

/// How many entries were written, and from where to where; ids are 0-0 when there were none.
#[derive(Default)]
struct Span {
    count: u64,
    first_id: StreamId,
    last_id: StreamId,
}

fn put_entries<N, V, F>(out: &mut Vec<u8>, entries: impl Iterator<Item = (StreamId, F)>) -> Span
where
    N: AsRef<[u8]>,
    V: AsRef<[u8]>,
    F: Iterator<Item = (N, V)> + Clone,
{
    let start = out.len();
    let mut span = Span::default();
    let mut node_count = 0;
    let mut node: Option<Node<F>> = None;
    for (id, fields) in entries {
        assert!(span.count == 0 || span.last_id < id, "stream entries ascend by id");
        if let Some(full) = node.take_if(|node| node.is_full()) {
            full.put(out);
        }
        let open = node.get_or_insert_with(|| {
            node_count += 1;
            Node::new(id, fields.clone())
        });
        open.push(id, fields);
        span.first_id = if span.count == 0 { id } else { span.first_id };
        span.last_id = id;
        span.count += 1;
    }
    if let Some(last) = node {
        last.put(out);
    }
    match node_count {
        0 => put_length(out, 0),
        _ => put_length_before(out, start, node_count),
    }
    span
}

/// Entries that share a listpack; the first of them is the master.
struct Node<F> {
    master_id: StreamId,
    master_fields: F,
    count: u64,
    entries: ListpackWriter,
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, F: Iterator<Item = (N, V)> + Clone> Node<F> {
    fn new(master_id: StreamId, master_fields: F) -> Self {
        Node { master_id, master_fields, count: 0, entries: ListpackWriter::default() }
    }

    fn is_full(&self) -> bool {
        NODE_ENTRIES_MAX <= self.count || NODE_BYTES_MAX <= self.entries.bytes()
    }

    fn push(&mut self, id: StreamId, fields: F) {
        let same_names = self.has_master_names(fields.clone());
        self.entries.push_int(if same_names { FLAG_SAME_NAMES } else { 0 });
        self.entries.push_int(id.ms.wrapping_sub(self.master_id.ms) as i64);
        self.entries.push_int(id.seq.wrapping_sub(self.master_id.seq) as i64);
        let element_count = if same_names { self.push_values(fields) } else { self.push_pairs(fields) };
        self.entries.push_int((ENTRY_ELEMENTS + element_count) as i64);
        self.count += 1;
    }

    fn has_master_names(&self, fields: F) -> bool {
        let mut master_fields = self.master_fields.clone();
        let mut fields = fields;
        loop {
            match (master_fields.next(), fields.next()) {
                (None, None) => return true,
                (Some((master, _)), Some((name, _))) if master.as_ref() == name.as_ref() => {}
                _ => return false,
            }
        }
    }

    /// Adds the values and returns how many elements that made.
    fn push_values(&mut self, fields: F) -> u64 {
        let mut count = 0;
        for (_, value) in fields {
            self.entries.push(value.as_ref());
            count += 1;
        }
        count
    }

    /// Adds the number of fields, their names and values, and returns how many elements that made.
    fn push_pairs(&mut self, fields: F) -> u64 {
        let count = fields.clone().count() as u64;
        self.entries.push_int(count as i64);
        for (name, value) in fields {
            self.entries.push(name.as_ref());
            self.entries.push(value.as_ref());
        }
        1 + 2 * count
    }

    fn put(self, out: &mut Vec<u8>) {
        let mut node = ListpackWriter::default();
        node.push_int(self.count as i64);
        node.push_int(0); // Deleted entries; we write none.
        node.push_int(self.master_fields.clone().count() as i64);
        self.master_fields.for_each(|(name, _)| node.push(name.as_ref()));
        node.push_int(0);
        node.append(&self.entries);
        put_length(out, RAW_ID_BYTES as u64);
        put_raw_id(out, self.master_id);
        node.put(out);
    }
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_length(out, id.ms);
    put_length(out, id.seq);
}

fn put_raw_id(out: &mut Vec<u8>, id: StreamId) {
    out.extend_from_slice(&id.ms.to_be_bytes());
    out.extend_from_slice(&id.seq.to_be_bytes());
}

fn put_group(out: &mut Vec<u8>, group: &StreamGroup) {
    put_string(out, &group.name);
    put_id(out, group.last_id);
    put_length(out, group.entries_read.unwrap_or(UNKNOWN as u64));
    put_group_pending(out, group);
    put_length(out, group.consumers.len() as u64);
    group.consumers.iter().for_each(|consumer| put_consumer(out, consumer));
}

/// The group's own list: what is pending with any consumer, ascending by id.
fn put_group_pending(out: &mut Vec<u8>, group: &StreamGroup) {
    let mut pending: Vec<&StreamPending> = group.consumers.iter().flat_map(|consumer| &consumer.pending).collect();
    pending.sort_unstable_by_key(|entry| entry.id);
    assert!(pending.is_sorted_by(|low, high| low.id < high.id), "an entry is pending with one consumer only");
    put_length(out, pending.len() as u64);
    for entry in pending {
        put_raw_id(out, entry.id);
        out.extend_from_slice(&entry.delivered_at.0.to_le_bytes());
        put_length(out, entry.delivery_count);
    }
}

fn put_consumer(out: &mut Vec<u8>, consumer: &StreamConsumer) {
    put_string(out, &consumer.name);
    out.extend_from_slice(&consumer.seen_at.0.to_le_bytes());
    out.extend_from_slice(&consumer.active_at.map_or(UNKNOWN, |at| at.0).to_le_bytes());
    put_length(out, consumer.pending.len() as u64);
    consumer.pending.iter().for_each(|entry| put_raw_id(out, entry.id));
}

const _: () = assert!(RAW_ID_BYTES == size_of::<StreamId>(), "a raw id is two 64-bit words");
