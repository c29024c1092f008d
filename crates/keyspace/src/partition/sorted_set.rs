//! Applies effects on sorted sets.

use super::{Applied, Partition, Stamp};
use crate::effect::sorted_set::SortedSetChange;
use crate::sorted_set::SortedSet;
use crate::value::{Kind, Value};
use base::Truncated;

impl Partition {
    pub(super) fn change_sorted_set(
        &mut self,
        db: u8,
        key: &[u8],
        change: &SortedSetChange<'_>,
        stamp: &Stamp,
    ) -> Result<Applied, Truncated> {
        match change {
            SortedSetChange::Put(members) if members.count() == 0 => Err(Truncated),
            SortedSetChange::Put(members) => Ok(self.with_sorted_set(db, key, true, stamp, |set| {
                let added = members.scored().filter(|(member, score)| set.set(member, *score).is_none()).count();
                Applied { added: added as u64, removed: 0 }
            })),
            SortedSetChange::Remove(members) => Ok(self.with_sorted_set(db, key, false, stamp, |set| {
                let removed = members.names().filter(|member| set.remove(member).is_some()).count();
                Applied { added: 0, removed: removed as u64 }
            })),
        }
    }

    fn with_sorted_set(
        &mut self,
        db: u8,
        key: &[u8],
        create: bool,
        stamp: &Stamp,
        change: impl FnOnce(&mut SortedSet) -> Applied,
    ) -> Applied {
        self.with_collection(db, key, Kind::SortedSet, create, stamp, |value| match value {
            Value::SortedSet(set) => change(set),
            _ => Applied::default(),
        })
    }
}
