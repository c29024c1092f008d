//! Effects on streams, applied.
//!
//! An effect on a group, a consumer or an entry that is not there does nothing: only a replay towards a state that has
//! the key replaced can meet one.

use super::{Applied, Partition, Stamp};
use crate::effect::stream::StreamChange;
use crate::entry::{Home, Payload, Stored};
use crate::stream::Stream;
use crate::table::Place;
use crate::value::Value;
use base::Truncated;

impl Partition {
    pub(super) fn change_stream(
        &mut self,
        db: u8,
        key: &[u8],
        change: &StreamChange<'_>,
        stamp: &Stamp,
    ) -> Result<Applied, Truncated> {
        if matches!(change, StreamChange::Add { fields, .. } if fields.count() == 0) {
            return Err(Truncated);
        }
        let Some((place, is_new)) = self.find_stream(db, key, change.creates(), stamp) else {
            return Ok(Applied::default());
        };
        let this = &mut self.dbs[usize::from(db)];
        this.forget_home(place);
        let applied = this.index.change_value(place, |value| match value {
            Value::Stream(stream) => apply(stream, change),
            _ => Applied::default(),
        });
        if !is_new {
            self.mark(db, place, stamp);
        }
        Ok(applied)
    }

    /// Where the stream is, and whether it was made just now.
    fn find_stream(&mut self, db: u8, key: &[u8], create: bool, stamp: &Stamp) -> Option<(Place, bool)> {
        if let Some(place) = self.find_current(db, key, stamp) {
            if matches!(self.index(db).entry(place).stored(), Stored::Boxed(Value::Stream(_))) {
                return Some((place, false));
            }
            if !create {
                return None;
            }
            self.delete(db, key, stamp);
        }
        let payload = Payload::Boxed { value: Box::new(Value::Stream(Box::default())), image_bytes: 0 };
        let unhomed = Stamp { home: Home::NONE, ..*stamp };
        create.then(|| (self.put_at(db, key, payload, None, &unhomed), true))
    }
}

fn added(count: u64) -> Applied {
    Applied { added: count, removed: 0 }
}

fn removed(count: u64) -> Applied {
    Applied { added: 0, removed: count }
}

fn apply(stream: &mut Stream, change: &StreamChange<'_>) -> Applied {
    match change {
        StreamChange::Add { id, opens, fields } => added(u64::from(stream.add(*id, *opens, fields.pairs()))),
        StreamChange::Trim { through } => removed(stream.trim(*through)),
        StreamChange::Delete { ids } => removed(ids.ids().map(|id| u64::from(stream.delete(id))).sum()),
        StreamChange::SetCounters(counters) => {
            stream.set_counters(*counters);
            Applied::default()
        }
        StreamChange::PutGroup { group, progress } => added(u64::from(stream.put_group(group, *progress))),
        StreamChange::RemoveGroup { group } => removed(u64::from(stream.remove_group(group))),
        StreamChange::See { who, seen_at, active_at } => stream.with_group(who.group, |group| {
            let (_, is_new) = group.see(who.consumer, *seen_at, *active_at);
            added(u64::from(is_new))
        }),
        StreamChange::RemoveConsumer { who } => stream.with_group(who.group, |group| {
            let pending_count = group.remove_consumer(who.consumer);
            removed(pending_count.unwrap_or(0) as u64)
        }),
        StreamChange::Deliver { who, at, progress, ids } => stream.with_group(who.group, |group| {
            let (consumer, _) = group.see(who.consumer, *at, Some(*at));
            ids.ids().for_each(|id| group.hold(id, consumer, *at, 1));
            group.set_progress(*progress);
            added(ids.count())
        }),
        StreamChange::Claim { who, pending } => stream.with_group(who.group, |group| {
            let Some(consumer) = group.number_of(who.consumer) else { return Applied::default() };
            for (id, delivered_at, delivery_count) in pending.held() {
                group.hold(id, consumer, delivered_at, delivery_count);
            }
            added(pending.count())
        }),
        StreamChange::Release { group, ids } => {
            stream.with_group(group, |group| removed(ids.ids().map(|id| u64::from(group.release(id))).sum()))
        }
    }
}
