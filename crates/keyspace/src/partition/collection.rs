//! Changing a collection in place, whatever its type: it comes to be when needed, and goes with its last element.

use super::{Ending, Partition, Stamp, fields_deadline};
use crate::entry::{Home, Payload, Stored};
use crate::hasher::hash_bytes;
use crate::value::{Kind, Value};

impl Partition {
    /// Runs `change` on the collection of this kind at `key`, made new when absent (and `create`), and settles what
    /// follows.
    pub(super) fn with_collection<R: Default>(
        &mut self,
        db: u8,
        key: &[u8],
        kind: Kind,
        create: bool,
        stamp: &Stamp,
        change: impl FnOnce(&mut Value) -> R,
    ) -> R {
        let hash = hash_bytes(key);
        let is_one = |stored: Stored<'_>| matches!(stored, Stored::Boxed(value) if value.kind() == kind);
        let place = match self.find_current(db, key, stamp) {
            // Only a replay towards a state that has this key replaced can meet another form here.
            Some(place) if !is_one(self.index(db).entry(place).stored()) && create => {
                self.delete(db, key, stamp);
                None
            }
            found => found,
        };
        let (place, new) = match place {
            Some(place) => (place, false),
            None if create => {
                let payload = Payload::Boxed { value: Box::new(Value::empty(kind)), image_bytes: 0 };
                let unhomed = Stamp { home: Home::NONE, ..*stamp };
                (self.put_at(db, key, payload, None, &unhomed), true)
            }
            None => return R::default(),
        };
        let this = &mut self.dbs[usize::from(db)];
        let before = fields_deadline(this.index.entry(place).stored());
        this.forget_home(place);
        let result = this.index.update(place, |entry| match entry.value_mut() {
            Some(value) if value.kind() == kind => change(value),
            _ => R::default(),
        });
        let entry = this.index.entry(place);
        let after = fields_deadline(entry.stored());
        let emptied = matches!(entry.stored(), Stored::Boxed(value) if value.is_empty_collection());
        this.set_deadline(hash, Ending::Fields, before, after);
        if !new {
            self.mark(db, place, stamp);
        }
        if emptied {
            self.delete(db, key, stamp);
        }
        result
    }
}
