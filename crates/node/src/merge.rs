//! Moving live values out of mostly dead segments, so that those can be removed.
//!
//! The deadest segment is read from front to back; each value that is still some key's is appended anew, and the
//! key's home moved. The segment itself goes with the next checkpoints. Meanings never change: a moved value keeps
//! its key's version.
//!
//! Deliberately not here: when a segment may be removed (`checkpointer.rs`).

use crate::node::Node;
use base::Reader;
use journal::{Position, Record, RecordKind, SegmentId, SegmentInfo};
use keyspace::effect::Effect;
use keyspace::spilled::{self, Image};
use keyspace::{Home, Kind};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A segment is worth merging when less than this part of it lives, in percent.
///
/// Under uniform overwriting a segment's live part decays exponentially, so that a lower bound copies less and keeps
/// more: at 25 % each byte written is copied again a third of a time, and the journal is about twice what lives.
const LIVE_PERCENT_MAX: u64 = 25;
/// Dead bytes that are left alone, beside as many as live: a merge costs a look at every key of a segment, and a segment
/// that is left alone may die by itself.
pub(crate) const DEAD_BYTES_MIN: u64 = 512 << 20;
/// Bytes copied between two pauses, and how long a pause is: some 100 MB/s at most, and the disk is free in between.
const BUDGET_BYTES: u64 = 256 << 10;
const BUDGET_PAUSE: Duration = Duration::from_millis(2);

/// What a record holds for each key of each database: the last put wins.
type LastPuts<'r> = BTreeMap<(u8, &'r [u8]), (Kind, &'r [u8])>;

struct Pace {
    copied_bytes: u64,
    since_pause_bytes: u64,
    /// The node stops, or has no room: what was not copied can be later.
    gave_up: bool,
}

impl Node {
    /// Live bytes of every segment that has any.
    pub fn live_bytes(&self) -> BTreeMap<u32, u64> {
        let mut live = BTreeMap::new();
        for id in self.keyspace.ids() {
            self.keyspace.lock(id).each_live(|segment, bytes| *live.entry(segment).or_insert(0) += bytes);
        }
        live
    }

    /// Empties the deadest segment that has something left, if one is worth it. Returns whether checkpoints now would free
    /// enough space: they cost a write of every entry, and those that the journal's growth calls for free it as well. While
    /// it does not grow (`is_quiet`), any segment is enough.
    pub fn merge_turn(&self, is_quiet: bool) -> bool {
        let (live, first_tail) = (self.live_bytes(), self.first_tail_segment());
        let segments = self.journal.segments();
        let total_bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let live_total: u64 = live.values().sum();
        if total_bytes < 2 * live_total + self.merge_dead_bytes_min.load(Ordering::Relaxed) {
            return false;
        }
        let live_of = |id: SegmentId| live.get(&id.0).copied().unwrap_or(0);
        let before_tail = segments.iter().filter(|segment| segment.sealed && segment.id < first_tail);
        let (empty, others): (Vec<&SegmentInfo>, Vec<&SegmentInfo>) =
            before_tail.partition(|segment| live_of(segment.id) == 0);
        if self.checkpoint_tail_bytes() <= empty.iter().map(|segment| segment.bytes).sum::<u64>() {
            return true;
        }
        let unmergeable = self.unmergeable.lock().clone();
        let worth = |segment: &&SegmentInfo| {
            live_of(segment.id) * 100 < segment.bytes * LIVE_PERCENT_MAX && !unmergeable.contains(&segment.id)
        };
        let Some(segment) = others.into_iter().filter(worth).min_by_key(|segment| live_of(segment.id)) else {
            return is_quiet && !empty.is_empty();
        };
        if let Err(error) = self.merge_segment(segment.id) {
            tracing::warn!(%error, segment = segment.id.0, "merge failed; the segment is left alone until a restart");
            self.unmergeable.lock().insert(segment.id);
        }
        false
    }

    /// Copies what lives in `id`.
    fn merge_segment(&self, id: SegmentId) -> Result<(), journal::Error> {
        let mut pace = Pace { copied_bytes: 0, since_pause_bytes: 0, gave_up: false };
        let scanned = self.journal.scan_segment(id, &mut |at, record| {
            if self.is_stopping() {
                pace.gave_up = true;
                return Err("the node is stopping".into());
            }
            self.merge_record(at, record, &mut pace)
        });
        self.counters.merged_bytes.fetch_add(pace.copied_bytes, Ordering::Relaxed);
        match scanned {
            Err(journal::Error::Visitor { .. }) if pace.gave_up => Ok(()),
            other => other,
        }
    }

    fn merge_record(&self, at: Position, record: &Record<'_>, pace: &mut Pace) -> Result<(), journal::BoxError> {
        let home = Home(at.pack());
        if record.head.kind == RecordKind::Image {
            let mut reader = Reader::new(record.body);
            while let Ok(image) = Image::decode(&mut reader) {
                self.merge_value(record.head.partition, &image, home, pace)?;
            }
            return Ok(());
        }
        let mut refused = Ok(());
        let walked = spilled::each_section(&record.head, record.body, |id, version, effects| {
            let mut reader = Reader::new(effects);
            let mut last: LastPuts<'_> = BTreeMap::new();
            while let Ok((db, effect)) = Effect::decode(&mut reader) {
                match effect {
                    Effect::PutString { key, value, .. } => last.insert((db, key), (Kind::String, value)),
                    Effect::PutImage { key, kind, image, .. } => last.insert((db, key), (kind, image)),
                    _ => None,
                };
            }
            for ((db, key), (kind, image)) in last {
                if refused.is_ok() {
                    refused = self.merge_value(id, &Image { db, key, version, kind, image }, home, pace);
                }
            }
        });
        walked.map_err(|_| "a record's body is not what its kind says")?;
        refused
    }

    fn merge_value(
        &self,
        id: base::PartitionId,
        image: &Image<'_>,
        home: Home,
        pace: &mut Pace,
    ) -> Result<(), journal::BoxError> {
        let moved = self.keyspace.lock(id).move_home(image, home, &self.journal, self.clock.wall_ms());
        let Some(bytes) = moved else {
            pace.gave_up = true;
            return Err("the journal has no room".into());
        };
        pace.copied_bytes += bytes;
        pace.since_pause_bytes += bytes;
        if BUDGET_BYTES <= pace.since_pause_bytes {
            pace.since_pause_bytes = 0;
            std::thread::sleep(BUDGET_PAUSE);
        }
        Ok(())
    }
}
