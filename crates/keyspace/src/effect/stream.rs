//! Effects on streams, and their bytes behind tag, database and key.
//!
//! ```text
//! 30 add              id opens:u8 count:varint (name value)*
//! 31 trim             through:id
//! 32 delete           ids
//! 33 set counters     last_id max_deleted_id entries_added:varint
//! 34 put group        group last_id entries_read:varint, 0 = unknown, else + 1
//! 35 remove group     group
//! 36 see consumer     group consumer seen_at:time active_at:time?
//! 37 remove consumer  group consumer
//! 38 deliver          group consumer at:time last_id entries_read ids
//! 39 claim            group consumer count:varint (id delivered_at:time delivery_count:varint)*
//! 40 release          group ids
//! ids                 count:varint, then each id as what it is beyond the one before
//! ```
//!
//! `id`, `time` and what may be missing are written as in a stream's image. Ids in a list ascend. What an effect says is
//! what is so afterwards: the id an entry got, the last id a trim took, the times and counts that entries have now.

use super::{Items, read_items};
use crate::stream::{Counters, Progress, StreamId};
use crate::stream::{put_count_known, put_id, put_id_after, put_time_known};
use crate::stream::{read_count_known, read_id, read_id_after, read_time_known};
use base::codec::{put_bytes, put_varint, put_varint_signed};
use base::{Reader, TimeMs, Truncated};

const ADD: u8 = 30;
const TRIM: u8 = 31;
const DELETE: u8 = 32;
const SET_COUNTERS: u8 = 33;
const PUT_GROUP: u8 = 34;
const REMOVE_GROUP: u8 = 35;
const SEE: u8 = 36;
const REMOVE_CONSUMER: u8 = 37;
const DELIVER: u8 = 38;
const CLAIM: u8 = 39;
const RELEASE: u8 = 40;

/// The tags of effects on streams.
pub(super) const TAGS: std::ops::RangeInclusive<u8> = ADD..=RELEASE;

/// A consumer of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading<'a> {
    /// Name of the group.
    pub group: &'a [u8],
    /// Name of the consumer.
    pub consumer: &'a [u8],
}

/// What changes about a stream.
#[derive(Clone, Debug)]
pub enum StreamChange<'a> {
    /// An entry is added; the stream comes to be if absent.
    Add {
        /// Its id, after all others.
        id: StreamId,
        /// Whether it opens a block.
        opens: bool,
        /// `(name value)*`.
        fields: Items<'a>,
    },
    /// All entries up to this one go.
    Trim {
        /// The last that goes.
        through: StreamId,
    },
    /// Entries are deleted by name.
    Delete {
        /// Their ids.
        ids: Items<'a>,
    },
    /// What the stream remembers is set.
    SetCounters(Counters),
    /// A group is made, or has read this far; the stream comes to be if absent.
    PutGroup {
        /// Name of the group.
        group: &'a [u8],
        /// How far it has read.
        progress: Progress,
    },
    /// A group is no more.
    RemoveGroup {
        /// Name of the group.
        group: &'a [u8],
    },
    /// A consumer is made, or has asked for something.
    See {
        /// Who.
        who: Reading<'a>,
        /// When.
        seen_at: TimeMs,
        /// When it got something; `None` leaves that as it was.
        active_at: Option<TimeMs>,
    },
    /// A consumer is no more, nor is anything pending with it.
    RemoveConsumer {
        /// Who.
        who: Reading<'a>,
    },
    /// Entries are delivered for the first time.
    Deliver {
        /// To whom.
        who: Reading<'a>,
        /// When.
        at: TimeMs,
        /// How far the group has read now.
        progress: Progress,
        /// Which.
        ids: Items<'a>,
    },
    /// Entries are pending with a consumer that is there, whoever had them before.
    Claim {
        /// With whom.
        who: Reading<'a>,
        /// `(id delivered_at delivery_count)*`.
        pending: Items<'a>,
    },
    /// Entries are pending no more.
    Release {
        /// Name of the group.
        group: &'a [u8],
        /// Which.
        ids: Items<'a>,
    },
}

/// An entry that is pending: its id, when it was delivered last, how often.
pub type Held = (StreamId, TimeMs, u64);

impl<'a> Items<'a> {
    /// The `(name value)` pairs of an `Add`.
    pub fn pairs(&self) -> Pairs<'a> {
        Pairs { left: self.count as usize, reader: self.reader.clone() }
    }

    /// The ids of a list of ids.
    pub fn ids(&self) -> impl Iterator<Item = StreamId> + use<'a> {
        let (mut reader, mut previous) = (self.reader.clone(), StreamId::MIN);
        (0..self.count).map(move |_| {
            previous = read_id_after(&mut reader, previous).expect("decode walked this list before");
            previous
        })
    }

    /// What a `Claim` makes pending.
    pub fn held(&self) -> impl Iterator<Item = Held> + use<'a> {
        self.each(read_held)
    }
}

/// See [`Items::pairs`].
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    left: usize,
    reader: Reader<'a>,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut part = || self.reader.bytes().expect("decode walked this list before");
        Some((part(), part()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

fn read_time(reader: &mut Reader<'_>) -> Result<TimeMs, Truncated> {
    reader.varint_signed().map(TimeMs)
}

fn read_held(reader: &mut Reader<'_>) -> Result<Held, Truncated> {
    Ok((read_id(reader)?, read_time(reader)?, reader.varint()?))
}

fn read_progress(reader: &mut Reader<'_>) -> Result<Progress, Truncated> {
    Ok(Progress { last_id: read_id(reader)?, entries_read: read_count_known(reader)? })
}

fn read_reading<'a>(reader: &mut Reader<'a>) -> Result<Reading<'a>, Truncated> {
    Ok(Reading { group: reader.bytes()?, consumer: reader.bytes()? })
}

/// Reads a list of ids, and that each can be told from the one before.
fn read_ids<'a>(reader: &mut Reader<'a>) -> Result<Items<'a>, Truncated> {
    let previous = std::cell::Cell::new(StreamId::MIN);
    read_items(reader, |reader| {
        previous.set(read_id_after(reader, previous.get())?);
        Ok(())
    })
}

impl<'a> StreamChange<'a> {
    /// Whether a stream that is absent comes to be.
    pub(crate) fn creates(&self) -> bool {
        matches!(self, StreamChange::Add { .. } | StreamChange::PutGroup { .. })
    }

    /// Reads what stands behind the key.
    pub(super) fn decode(tag: u8, reader: &mut Reader<'a>) -> Result<StreamChange<'a>, Truncated> {
        Ok(match tag {
            ADD => StreamChange::Add {
                id: read_id(reader)?,
                opens: reader.u8()? != 0,
                fields: read_items(reader, |reader| {
                    reader.bytes()?;
                    reader.bytes().map(drop)
                })?,
            },
            TRIM => StreamChange::Trim { through: read_id(reader)? },
            DELETE => StreamChange::Delete { ids: read_ids(reader)? },
            SET_COUNTERS => StreamChange::SetCounters(Counters {
                last_id: read_id(reader)?,
                max_deleted_id: read_id(reader)?,
                entries_added: reader.varint()?,
            }),
            PUT_GROUP => StreamChange::PutGroup { group: reader.bytes()?, progress: read_progress(reader)? },
            REMOVE_GROUP => StreamChange::RemoveGroup { group: reader.bytes()? },
            SEE => StreamChange::See {
                who: read_reading(reader)?,
                seen_at: read_time(reader)?,
                active_at: read_time_known(reader)?,
            },
            REMOVE_CONSUMER => StreamChange::RemoveConsumer { who: read_reading(reader)? },
            DELIVER => StreamChange::Deliver {
                who: read_reading(reader)?,
                at: read_time(reader)?,
                progress: read_progress(reader)?,
                ids: read_ids(reader)?,
            },
            CLAIM => StreamChange::Claim {
                who: read_reading(reader)?,
                pending: read_items(reader, |reader| read_held(reader).map(drop))?,
            },
            RELEASE => StreamChange::Release { group: reader.bytes()?, ids: read_ids(reader)? },
            _ => return Err(Truncated),
        })
    }
}

fn put_head(out: &mut Vec<u8>, tag: u8, db: u8, key: &[u8]) {
    out.extend_from_slice(&[tag, db]);
    put_bytes(out, key);
}

fn put_progress(out: &mut Vec<u8>, progress: Progress) {
    put_id(out, progress.last_id);
    put_count_known(out, progress.entries_read);
}

fn put_reading(out: &mut Vec<u8>, who: Reading<'_>) {
    put_bytes(out, who.group);
    put_bytes(out, who.consumer);
}

fn put_ids(out: &mut Vec<u8>, ids: &[StreamId]) {
    assert!(ids.is_sorted_by(|one, next| one < next), "ids in an effect ascend");
    put_varint(out, ids.len() as u64);
    let mut previous = StreamId::MIN;
    for id in ids {
        put_id_after(out, previous, *id);
        previous = *id;
    }
}

/// Writes an `Add`.
pub fn put_stream_add<'f>(
    out: &mut Vec<u8>,
    db: u8,
    key: &[u8],
    id: StreamId,
    opens: bool,
    fields: impl ExactSizeIterator<Item = (&'f [u8], &'f [u8])>,
) {
    put_head(out, ADD, db, key);
    put_id(out, id);
    out.push(u8::from(opens));
    put_varint(out, fields.len() as u64);
    for (name, value) in fields {
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

/// Writes a `Trim`.
pub fn put_stream_trim(out: &mut Vec<u8>, db: u8, key: &[u8], through: StreamId) {
    put_head(out, TRIM, db, key);
    put_id(out, through);
}

/// Writes a `Delete`; `ids` ascend.
pub fn put_stream_delete(out: &mut Vec<u8>, db: u8, key: &[u8], ids: &[StreamId]) {
    put_head(out, DELETE, db, key);
    put_ids(out, ids);
}

/// Writes a `SetCounters`.
pub fn put_stream_counters(out: &mut Vec<u8>, db: u8, key: &[u8], counters: Counters) {
    put_head(out, SET_COUNTERS, db, key);
    put_id(out, counters.last_id);
    put_id(out, counters.max_deleted_id);
    put_varint(out, counters.entries_added);
}

/// Writes a `PutGroup`.
pub fn put_stream_group(out: &mut Vec<u8>, db: u8, key: &[u8], group: &[u8], progress: Progress) {
    put_head(out, PUT_GROUP, db, key);
    put_bytes(out, group);
    put_progress(out, progress);
}

/// Writes a `RemoveGroup`.
pub fn put_stream_group_remove(out: &mut Vec<u8>, db: u8, key: &[u8], group: &[u8]) {
    put_head(out, REMOVE_GROUP, db, key);
    put_bytes(out, group);
}

/// Writes a `See`.
pub fn put_stream_see(
    out: &mut Vec<u8>,
    db: u8,
    key: &[u8],
    who: Reading<'_>,
    seen_at: TimeMs,
    active_at: Option<TimeMs>,
) {
    put_head(out, SEE, db, key);
    put_reading(out, who);
    put_varint_signed(out, seen_at.0);
    put_time_known(out, active_at);
}

/// Writes a `RemoveConsumer`.
pub fn put_stream_consumer_remove(out: &mut Vec<u8>, db: u8, key: &[u8], who: Reading<'_>) {
    put_head(out, REMOVE_CONSUMER, db, key);
    put_reading(out, who);
}

/// Writes a `Deliver`; `ids` ascend.
pub fn put_stream_deliver(
    out: &mut Vec<u8>,
    db: u8,
    key: &[u8],
    who: Reading<'_>,
    at: TimeMs,
    progress: Progress,
    ids: &[StreamId],
) {
    put_head(out, DELIVER, db, key);
    put_reading(out, who);
    put_varint_signed(out, at.0);
    put_progress(out, progress);
    put_ids(out, ids);
}

/// Writes a `Claim`.
pub fn put_stream_claim(out: &mut Vec<u8>, db: u8, key: &[u8], who: Reading<'_>, pending: &[Held]) {
    put_head(out, CLAIM, db, key);
    put_reading(out, who);
    put_varint(out, pending.len() as u64);
    for (id, delivered_at, delivery_count) in pending {
        put_id(out, *id);
        put_varint_signed(out, delivered_at.0);
        put_varint(out, *delivery_count);
    }
}

/// Writes a `Release`; `ids` ascend.
pub fn put_stream_release(out: &mut Vec<u8>, db: u8, key: &[u8], group: &[u8], ids: &[StreamId]) {
    put_head(out, RELEASE, db, key);
    put_bytes(out, group);
    put_ids(out, ids);
}

/// One of each, for the tests of all effects.
#[cfg(test)]
pub(super) fn one_of_each() -> Vec<Vec<u8>> {
    let (id, ids) = (StreamId { ms: 5, seq: 1 }, [StreamId { ms: 5, seq: 1 }, StreamId { ms: 5, seq: 9 }]);
    let (who, at) = (Reading { group: b"g", consumer: b"c" }, TimeMs(7));
    let progress = Progress { last_id: id, entries_read: Some(3) };
    let mut all = vec![Vec::new(); 11];
    put_stream_add(&mut all[0], 1, b"key", id, true, [(&b"f"[..], &b"v"[..])].into_iter());
    put_stream_trim(&mut all[1], 0, b"key", id);
    put_stream_delete(&mut all[2], 0, b"key", &ids);
    put_stream_counters(&mut all[3], 0, b"key", Counters { last_id: id, max_deleted_id: id, entries_added: 300 });
    put_stream_group(&mut all[4], 0, b"key", b"g", progress);
    put_stream_group_remove(&mut all[5], 0, b"key", b"g");
    put_stream_see(&mut all[6], 0, b"key", who, at, Some(at));
    put_stream_consumer_remove(&mut all[7], 0, b"key", who);
    put_stream_deliver(&mut all[8], 0, b"key", who, at, progress, &ids);
    put_stream_claim(&mut all[9], 0, b"key", who, &[(id, at, 2)]);
    put_stream_release(&mut all[10], 0, b"key", b"g", &ids);
    all
}

#[cfg(test)]
mod tests {
    use super::super::Effect;
    use super::*;

    #[test]
    fn lists_of_ids_give_back_what_was_put() {
        let ids = [StreamId { ms: 0, seq: 4 }, StreamId { ms: 9, seq: 4 }, StreamId { ms: 9, seq: 5 }, StreamId::MAX];
        let mut bytes = Vec::new();
        put_stream_delete(&mut bytes, 3, b"key", &ids);
        let Ok((3, Effect::Stream { key: b"key", change: StreamChange::Delete { ids: read } })) =
            Effect::decode(&mut Reader::new(&bytes))
        else {
            panic!("not what was put")
        };
        assert_eq!(read.ids().collect::<Vec<_>>(), ids);
    }

    #[test]
    fn an_id_past_the_last_is_refused() {
        let mut bytes = Vec::new();
        put_head(&mut bytes, DELETE, 0, b"key");
        put_varint(&mut bytes, 2);
        put_id_after(&mut bytes, StreamId::MIN, StreamId::MAX);
        bytes.extend_from_slice(&[0, 1]);
        assert!(Effect::decode(&mut Reader::new(&bytes)).is_err());
    }
}
