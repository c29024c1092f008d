//! Changing a collection in place, whatever its type: it comes to be when needed, and goes with its last element.

use super::{Ending, Partition, Stamp, fields_end};
use crate::entry::{Home, Meta, Payload, Stored};
use crate::hasher::hash_bytes;
use crate::value::{Kind, Value};
use base::{TimeMs, Version};

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
        let found = self.find_current(db, key, stamp).map(|place| {
            let entry = self.index(db).entry(place);
            (place, entry.is_boxed() && entry.kind() == kind)
        });
        let (place, new) = match found {
            Some((place, true)) => (place, false),
            _ if create => {
                // Only a replay towards a state that has this key replaced can meet another form here.
                if found.is_some() {
                    self.delete(db, key, stamp);
                }
                let payload = Payload::Boxed { value: Box::new(Value::empty(kind)), image_bytes: 0 };
                let unhomed = Stamp { home: Home::NONE, ..*stamp };
                (self.put_at(db, key, payload, None, &unhomed), true)
            }
            _ => return R::default(),
        };
        let this = &mut self.dbs[usize::from(db)];
        this.forget_home(place);
        let (result, before, after, emptied) = this.index.change_value(place, |value| {
            let before = fields_end(value);
            let result = change(value);
            (result, before, fields_end(value), value.is_empty_collection())
        });
        if before != after {
            this.set_deadline(hash_bytes(key), Ending::Fields, before, after);
        }
        if !new {
            self.mark(db, place, stamp);
        }
        if emptied && !self.is_settling(db, key, stamp.version) {
            self.delete(db, key, stamp);
        }
        result
    }

    /// Whether the key stays, empty or not, because a batch is replayed up to which its value is not exact.
    fn is_settling(&self, db: u8, key: &[u8], version: Version) -> bool {
        !self.settling.is_empty() && self.settling.get(&(db, key.to_vec())).is_some_and(|until| version <= *until)
    }

    /// As [`Partition::restore`], of a value that came in pieces and is exact from version `until` on.
    pub(crate) fn restore_pieces(&mut self, db: u8, key: &[u8], value: Value, meta: &Meta, until: Version) {
        let is_newer = |place| self.index(db).entry(place).version() < meta.version;
        if self.find(db, key).is_none_or(is_newer) {
            self.restore(db, key, Payload::Boxed { value: Box::new(value), image_bytes: 0 }, meta);
            self.settling.insert((db, key.to_vec()), until);
        }
    }

    /// The journal has been replayed. Returns the latest version up to which a value from pieces was not exact: replay
    /// has come that far, unless records were given up, and then an emptied collection may be left, which goes.
    pub fn settle(&mut self) -> Version {
        let mut latest = Version(0);
        for ((db, key), until) in std::mem::take(&mut self.settling) {
            latest = latest.max(until);
            let is_empty = |place| match self.index(db).entry(place).stored() {
                Stored::Boxed(value) => value.is_empty_collection(),
                _ => false,
            };
            if self.find(db, &key).is_some_and(is_empty) {
                let stamp = Stamp { version: self.version, time: TimeMs(i64::MIN), home: Home::NONE, access: 0 };
                self.delete(db, &key, &stamp);
            }
        }
        latest
    }

    /// Makes the key this value.
    pub(crate) fn put_value(&mut self, db: u8, key: &[u8], value: Value, stamp: &Stamp) {
        self.put_at(db, key, Payload::Boxed { value: Box::new(value), image_bytes: 0 }, None, stamp);
    }

    /// Takes a collection out, with its key.
    pub(crate) fn take_value(&mut self, db: u8, key: &[u8]) -> Option<Box<Value>> {
        let place = self.find(db, key)?;
        let this = &mut self.dbs[usize::from(db)];
        this.forget(hash_bytes(key), place);
        this.index.remove(place)
    }
}
