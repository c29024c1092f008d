//! Changes of lists, applied.

use super::{Applied, Partition, Stamp};
use crate::effect::ListChange;
use crate::list::End;
use crate::tx::Str;
use crate::value::{Kind, Value};

impl Partition {
    /// Applies a change to the list at `key`.
    pub(super) fn list_change(&mut self, db: u8, key: &[u8], change: &ListChange<'_>, stamp: &Stamp) -> Applied {
        self.note_list_change(db, key, change);
        let creates = matches!(change, ListChange::Push { .. });
        self.with_collection(db, key, Kind::List, creates, stamp, |value| {
            let Value::List(list) = value else { return Applied::default() };
            let before = list.len() as u64;
            match change {
                ListChange::Push { end, elements } => {
                    elements.names().for_each(|element| list.push(*end, Str::of(element)));
                }
                ListChange::Trim { front, back } => {
                    list.trim(End::Front, *front as usize);
                    list.trim(End::Back, *back as usize);
                }
                ListChange::Set { index, element } => _ = list.set(*index as usize, Str::of(element)),
                ListChange::Insert { index, element } => _ = list.insert(*index as usize, Str::of(element)),
                ListChange::Remove { indexes } => list.remove_all(indexes.indexes()),
            }
            let after = list.len() as u64;
            Applied { added: after.saturating_sub(before), removed: before.saturating_sub(after) }
        })
    }
}
