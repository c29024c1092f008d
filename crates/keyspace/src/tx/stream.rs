//! Streams in a transaction.
//!
//! Every mutator here is for a key at which the same transaction has looked with [`Tx::stream`], and where it found a
//! stream or nothing.

use super::{Stop, Tx};
use crate::effect::stream::{self as effects, Held, Reading};
use crate::entry::Stored;
use crate::stream::{BlockLimits, Counters, Progress, Stream, StreamId};
use crate::value::{Kind, Value};
use base::TimeMs;

impl Tx<'_> {
    /// The stream at `key`.
    ///
    /// # Errors
    /// As [`Tx::string`].
    #[inline]
    pub fn stream(&mut self, key: &[u8]) -> Result<Option<&Stream>, Stop> {
        let Some(found) = self.find(key) else { return Ok(None) };
        if found.kind != Kind::Stream {
            return Err(Stop::WrongType);
        }
        self.ensure_resident(key, found)?;
        match self.entry(found).stored() {
            Stored::Boxed(Value::Stream(stream)) => Ok(Some(stream)),
            _ => unreachable!("a resident stream is boxed"),
        }
    }

    /// When a block of a stream is full.
    #[inline]
    pub fn stream_limits(&self) -> BlockLimits {
        self.keyspace.stream_limits()
    }

    fn change_stream(&mut self, key: &[u8], encode: impl FnOnce(&mut Vec<u8>, u8)) -> u64 {
        self.ensure_looked_at(key);
        let applied = self.change(key, encode);
        applied.added + applied.removed
    }

    /// As [`Tx::change_stream`], for what is no news to anybody who waits: it neither adds an entry nor makes or removes
    /// a stream or a group.
    fn change_stream_silently(&mut self, key: &[u8], encode: impl FnOnce(&mut Vec<u8>, u8)) -> u64 {
        self.ensure_looked_at(key);
        let applied = self.change_silently(self.part_of(key), key, encode);
        applied.added + applied.removed
    }

    fn ensure_looked_at(&self, key: &[u8]) {
        debug_assert!(
            self.peek(key).is_none_or(|found| found.kind == Kind::Stream && !found.is_spilled),
            "a stream is looked at before it is changed"
        );
    }

    /// Adds an entry, whose id must be after all others, and which `opens` a block or not. Creates the stream when
    /// absent.
    pub fn stream_add<'f>(
        &mut self,
        key: &[u8],
        id: StreamId,
        opens: bool,
        fields: impl ExactSizeIterator<Item = (&'f [u8], &'f [u8])>,
    ) {
        let added = self.change_stream(key, |out, db| effects::put_stream_add(out, db, key, id, opens, fields));
        assert!(added == 1, "the id of an entry was compared with the last");
    }

    /// Removes all entries up to `through`. Returns how many they were.
    pub fn stream_trim(&mut self, key: &[u8], through: StreamId) -> u64 {
        self.change_stream_silently(key, |out, db| effects::put_stream_trim(out, db, key, through))
    }

    /// Deletes entries by name; `ids` ascend. Returns how many were there.
    pub fn stream_delete(&mut self, key: &[u8], ids: &[StreamId]) -> u64 {
        self.change_stream_silently(key, |out, db| effects::put_stream_delete(out, db, key, ids))
    }

    /// Sets what the stream remembers beyond its entries.
    pub fn stream_set_counters(&mut self, key: &[u8], counters: Counters) {
        self.change_stream(key, |out, db| effects::put_stream_counters(out, db, key, counters));
    }

    /// Says how far a group has read, making it, and the stream, when absent.
    pub fn stream_put_group(&mut self, key: &[u8], group: &[u8], progress: Progress) {
        self.change_stream(key, |out, db| effects::put_stream_group(out, db, key, group, progress));
    }

    /// Removes a group.
    pub fn stream_remove_group(&mut self, key: &[u8], group: &[u8]) {
        self.change_stream(key, |out, db| effects::put_stream_group_remove(out, db, key, group));
    }

    /// Notes that a consumer asked for something and, unless `None`, that it got something; makes it when absent.
    pub fn stream_see(&mut self, key: &[u8], who: Reading<'_>, seen_at: TimeMs, active_at: Option<TimeMs>) {
        self.change_stream_silently(key, |out, db| effects::put_stream_see(out, db, key, who, seen_at, active_at));
    }

    /// Removes a consumer. Returns how many entries were pending with it.
    pub fn stream_remove_consumer(&mut self, key: &[u8], who: Reading<'_>) -> u64 {
        self.change_stream_silently(key, |out, db| effects::put_stream_consumer_remove(out, db, key, who))
    }

    /// Delivers entries to a consumer, made when absent, for the first time; `ids` ascend.
    pub fn stream_deliver(&mut self, key: &[u8], who: Reading<'_>, at: TimeMs, progress: Progress, ids: &[StreamId]) {
        self.change_stream_silently(key, |out, db| effects::put_stream_deliver(out, db, key, who, at, progress, ids));
    }

    /// Makes entries pending with a consumer that is there.
    pub fn stream_claim(&mut self, key: &[u8], who: Reading<'_>, pending: &[Held]) {
        self.change_stream_silently(key, |out, db| effects::put_stream_claim(out, db, key, who, pending));
    }

    /// Entries are pending no more; `ids` ascend. Returns how many were.
    pub fn stream_release(&mut self, key: &[u8], group: &[u8], ids: &[StreamId]) -> u64 {
        self.change_stream_silently(key, |out, db| effects::put_stream_release(out, db, key, group, ids))
    }
}
