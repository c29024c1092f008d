//! The image of a stream: the bytes from which it is rebuilt whole, in the journal and in checkpoints.
//!
//! ```text
//! image      last_id max_deleted_id entries_added:varint | block_count:varint block* | group_count:varint group*
//! id         ms:varint seq:varint
//! block      first:id count:varint | names_bytes:varint names | entries_bytes:varint entries        see `block`
//! group      name_bytes:varint name last_id:id entries_read:varint, 0 = unknown, else + 1
//!            consumer_count:varint consumer* | pending_count:varint pending*
//! consumer   name_bytes:varint name seen_at:time active_at:time?
//! pending    id, beyond the one before | consumer:varint, counted from 0 | delivered_at:time delivery_count:varint
//! time       zigzag varint of milliseconds; `?` has 0:u8 or 1:u8 in front, for none and for one
//! ```
//!
//! Blocks stay what they are, so that a stream that was away trims as one that stayed. Deliberately without a version
//! or a checksum of its own: whatever file an image lies in has both.

use super::id::{put_id, put_id_after, read_id, read_id_after};
use super::log::Log;
use super::{Counters, Group, Progress, Stream, StreamId};
use base::codec::{put_bytes, put_varint, put_varint_signed};
use base::{Reader, TimeMs, Truncated};
use std::collections::BTreeMap;

impl Stream {
    /// Appends the image of the stream.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Counters { last_id, max_deleted_id, entries_added } = self.counters;
        put_id(out, last_id);
        put_id(out, max_deleted_id);
        put_varint(out, entries_added);
        self.log.encode(out);
        put_varint(out, self.groups.len() as u64);
        for (name, group) in self.groups() {
            put_bytes(out, name);
            encode_group(out, group);
        }
    }

    /// Rebuilds a stream from its image, which must fill `image` exactly.
    ///
    /// Foreign bytes are welcome: nothing is allocated on their word, only for what is there.
    ///
    /// # Errors
    /// The bytes are not the image of a stream.
    pub fn decode(image: &[u8]) -> Result<Stream, Truncated> {
        let mut reader = Reader::new(image);
        let (last_id, max_deleted_id) = (read_id(&mut reader)?, read_id(&mut reader)?);
        let counters = Counters { last_id, max_deleted_id, entries_added: reader.varint()? };
        let log = Log::decode(&mut reader)?;
        if log.last().is_some_and(|last| last_id < last) {
            return Err(Truncated);
        }
        let mut stream = Stream { log, counters, ..Stream::default() };
        for _ in 0..reader.varint()? {
            let name = reader.bytes()?;
            if !decode_group(&mut reader, &mut stream, name)? {
                return Err(Truncated);
            }
        }
        if reader.is_empty() { Ok(stream) } else { Err(Truncated) }
    }
}

fn encode_group(out: &mut Vec<u8>, group: &Group) {
    put_id(out, group.progress().last_id);
    put_count_known(out, group.progress().entries_read);
    put_varint(out, group.consumers().len() as u64);
    let mut numbers = BTreeMap::new();
    for consumer in group.consumers() {
        numbers.insert(consumer.name(), numbers.len());
        put_bytes(out, consumer.name());
        put_varint_signed(out, consumer.seen_at().0);
        put_time_known(out, consumer.active_at());
    }
    put_varint(out, group.pending_count() as u64);
    let mut previous = StreamId::MIN;
    for pending in group.pending(StreamId::MIN, StreamId::MAX) {
        put_id_after(out, previous, pending.id);
        put_varint(out, numbers[pending.consumer] as u64);
        put_varint_signed(out, pending.delivered_at.0);
        put_varint(out, pending.delivery_count);
        previous = pending.id;
    }
}

/// Reads a group into `stream`. Returns whether its name, and those of its consumers, are new.
fn decode_group(reader: &mut Reader<'_>, stream: &mut Stream, name: &[u8]) -> Result<bool, Truncated> {
    let progress = Progress { last_id: read_id(reader)?, entries_read: read_count_known(reader)? };
    let mut is_new = stream.put_group(name, progress);
    let mut numbers = Vec::new();
    for _ in 0..reader.varint()? {
        let (consumer, seen_at) = (reader.bytes()?, TimeMs(reader.varint_signed()?));
        let active_at = read_time_known(reader)?;
        let (number, is_new_consumer) = stream.with_group(name, |group| group.see(consumer, seen_at, active_at));
        numbers.push(number);
        is_new &= is_new_consumer;
    }
    let mut previous = StreamId::MIN;
    for _ in 0..reader.varint()? {
        previous = read_id_after(reader, previous)?;
        let number = usize::try_from(reader.varint()?).ok().and_then(|number| numbers.get(number).copied());
        let (number, delivered_at) = (number.ok_or(Truncated)?, TimeMs(reader.varint_signed()?));
        let delivery_count = reader.varint()?;
        stream.with_group(name, |group| group.hold(previous, number, delivered_at, delivery_count));
    }
    Ok(is_new)
}

/// Writes a count that may be unknown.
pub(crate) fn put_count_known(out: &mut Vec<u8>, count: Option<u64>) {
    put_varint(out, count.map_or(0, |count| count.saturating_add(1)));
}

/// Reads what [`put_count_known`] wrote.
pub(crate) fn read_count_known(reader: &mut Reader<'_>) -> Result<Option<u64>, Truncated> {
    Ok(reader.varint()?.checked_sub(1))
}

/// Writes a time that may be none.
pub(crate) fn put_time_known(out: &mut Vec<u8>, time: Option<TimeMs>) {
    out.push(u8::from(time.is_some()));
    if let Some(at) = time {
        put_varint_signed(out, at.0);
    }
}

/// Reads what [`put_time_known`] wrote.
pub(crate) fn read_time_known(reader: &mut Reader<'_>) -> Result<Option<TimeMs>, Truncated> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some(TimeMs(reader.varint_signed()?))),
        _ => Err(Truncated),
    }
}
