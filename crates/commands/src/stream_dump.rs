//! Streams as DUMP hands them out and RESTORE takes them in.
//!
//! Deliberately not here: the payload's bytes, which are the `rdb` crate's business.

use keyspace::effect::stream::Held;
use keyspace::stream::{BlockLimits, Counters, Group, Pending, Progress, Stream, StreamId};

fn given(id: StreamId) -> rdb::StreamId {
    rdb::StreamId { ms: id.ms, seq: id.seq }
}

fn taken(id: rdb::StreamId) -> StreamId {
    StreamId { ms: id.ms, seq: id.seq }
}

/// Appends the payload of a stream.
pub(crate) fn dump(out: &mut Vec<u8>, stream: &Stream) {
    let Counters { last_id, max_deleted_id, entries_added } = stream.counters();
    let state = rdb::StreamState {
        last_id: given(last_id),
        max_deleted_id: given(max_deleted_id),
        entries_added,
        groups: stream.groups().map(|(name, group)| dump_group(name, group)).collect(),
    };
    let entries = stream.range(StreamId::MIN, StreamId::MAX);
    rdb::dump_stream(out, entries.map(|entry| (given(entry.id), entry.fields())), &state);
}

fn dump_group(name: &[u8], group: &Group) -> rdb::StreamGroup {
    let consumers = group.consumers().map(|consumer| {
        let pending = group.pending_with(consumer, StreamId::MIN, StreamId::MAX);
        let pending = pending.map(|Pending { id, delivered_at, delivery_count, .. }| rdb::StreamPending {
            id: given(id),
            delivered_at,
            delivery_count,
        });
        rdb::StreamConsumer {
            name: consumer.name().to_vec(),
            seen_at: consumer.seen_at(),
            active_at: consumer.active_at(),
            pending: pending.collect(),
        }
    });
    let Progress { last_id, entries_read } = group.progress();
    rdb::StreamGroup { name: name.to_vec(), last_id: given(last_id), entries_read, consumers: consumers.collect() }
}

/// The stream that was in a payload; `None` of one that cannot be one here: an entry without fields, or of 0-0.
pub(crate) fn restored(source: &rdb::Stream) -> Option<Stream> {
    let mut stream = Stream::new();
    for entry in &source.entries {
        let fields = entry.names.iter().zip(&entry.values).map(|(name, value)| (name.as_slice(), value.as_slice()));
        let bytes = fields.clone().map(|(name, value)| name.len() + value.len()).sum();
        let opens = stream.is_block_full(bytes, BlockLimits::STANDARD);
        if fields.len() == 0 || !stream.add(taken(entry.id), opens, fields) {
            return None;
        }
    }
    let rdb::StreamState { last_id, max_deleted_id, entries_added, groups } = &source.state;
    let (last_id, max_deleted_id) = (taken(*last_id), taken(*max_deleted_id));
    stream.set_counters(Counters { last_id, max_deleted_id, entries_added: *entries_added });
    for group in groups {
        let progress = Progress { last_id: taken(group.last_id), entries_read: group.entries_read };
        stream.put_group(&group.name, progress);
        for consumer in &group.consumers {
            let held =
                consumer.pending.iter().map(|one| -> Held { (taken(one.id), one.delivered_at, one.delivery_count) });
            stream.put_consumer(&group.name, &consumer.name, consumer.seen_at, consumer.active_at, held);
        }
    }
    Some(stream)
}
