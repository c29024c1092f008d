//! How changes to a set are applied.

use super::{Applied, Partition, Stamp};
use crate::effect::SetChange;
use crate::value::{Kind, Value};
use base::Truncated;

impl Partition {
    /// # Errors
    /// The change adds nothing, so it would leave an empty set.
    pub(super) fn set_change(
        &mut self,
        db: u8,
        key: &[u8],
        change: &SetChange<'_>,
        stamp: &Stamp,
    ) -> Result<Applied, Truncated> {
        let creates = match change {
            SetChange::Add(members) if members.count() == 0 => return Err(Truncated),
            SetChange::Add(_) => true,
            SetChange::Remove(_) => false,
        };
        Ok(self.with_collection(db, key, Kind::Set, creates, stamp, |value| {
            let mut applied = Applied::default();
            let Value::Set(set) = value else { return applied };
            match change {
                SetChange::Add(members) => {
                    applied.added = members.names().map(|member| u64::from(set.add(member))).sum();
                }
                SetChange::Remove(members) => {
                    applied.removed = members.names().map(|member| u64::from(set.remove(member))).sum();
                }
            }
            applied
        }))
    }
}
