//! One partition: sixteen databases of keys, one of libraries and sixteen of records, a version counter, and the one
//! function that changes them.
//!
//! Live commands and replay share [`Partition::apply`]; that is the whole argument for why a restarted or a
//! following node has the same state as the one that took the command.
//!
//! Effects and entries name *physical* databases. The numbers clients SELECT are mapped through `db_map`, so
//! SWAPDB exchanges two numbers and moves no key, and a checkpoint that runs meanwhile is not confused by it.
//!
//! Deliberately not here: locks, the journal, time. The caller holds the lock, appends the batch and passes the
//! batch's timestamp.
//!
//! Invariants: a key whose expiry is not after a batch's time counts as absent for that batch; an empty
//! collection does not exist; `deadlines` has one element for each key that ends, and one for each hash with
//! fields that end; `live` counts a home exactly while an entry points at it.

mod collection;
mod list;
mod set;
mod sorted_set;
mod stream;
mod string;

use crate::effect::{Effect, Items};
use crate::elements::{PHYSICAL_DB_COUNT, records_db};
use crate::entry::{Entry, EntryRef, Home, Meta, Payload, Stored};
use crate::hash::Hash;
use crate::hasher::hash_bytes;
use crate::index::Index;
use crate::live::LiveBytes;
use crate::pieces::InPieces;
use crate::spilled::Image;
use crate::table::Place;
use crate::value::{Kind, SHARED_BYTES_MIN, Value};
use crate::waiting::Waiting;
use base::{DB_COUNT, PartitionId, Reader, SharedBytes, TimeMs, Truncated, Version};
use journal::{Journal, Position, RecordHead, RecordKind, Reserve};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use string::{payload_of, shared_payload};

/// Elements above which freeing a value is left to another thread.
const GARBAGE_ELEMENTS_MIN: usize = 64;

/// Part of the memory of entries that may lie unused between them.
const IDLE_DIVISOR: usize = 8;

/// What a batch brings along for each of its effects.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Version of the batch.
    pub version: Version,
    /// Its timestamp, which decides what has expired.
    pub time: TimeMs,
    /// Where the batch lies: `Home::PENDING` while it is being made, its position when it is replayed.
    pub home: Home,
    /// Access clock of the keys it creates or overwrites.
    pub access: u32,
}

/// What an effect did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Elements that are new (fields of a hash), or 1 when a key came to be.
    pub added: u64,
    /// Elements or keys that went.
    pub removed: u64,
}

/// Something whose freeing is left to another thread.
#[derive(Debug)]
pub enum Garbage {
    /// A large value.
    Value(Box<Value>),
    /// A flushed database.
    Flushed(Box<Flushed>),
}

/// A database that was emptied at once: its keys, values and deadlines.
pub struct Flushed(Db);

impl std::fmt::Debug for Flushed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Flushed({} keys)", self.0.index.len())
    }
}

/// What ends at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// The key.
    Key,
    /// Some fields of the hash.
    Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deadline {
    at: TimeMs,
    hash: u64,
    ending: Ending,
}

/// What has been removed because its time had come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndedCounts {
    /// Keys.
    pub key_count: u64,
    /// Fields of hashes.
    pub field_count: u64,
}

/// One database in one partition.
#[derive(Default)]
pub(crate) struct Db {
    pub(crate) index: Index,
    deadlines: BTreeSet<Deadline>,
    /// How many of the deadlines are of fields.
    field_deadline_count: usize,
    pub(crate) live: LiveBytes,
    /// The value that a checkpoint is in the middle of, if it is.
    pub(crate) in_pieces: Option<Box<InPieces>>,
}

/// See the module's text.
pub struct Partition {
    id: PartitionId,
    version: Version,
    pub(crate) dbs: Vec<Db>,
    db_map: [u8; DB_COUNT],
    garbage: Vec<Garbage>,
    ended: EndedCounts,
    /// While opening: keys whose value came in pieces, and until when they stay even if empty; see `pieces.rs`.
    settling: BTreeMap<(u8, Vec<u8>), Version>,
    /// End of the last batch in the journal: what a reply that looked here reveals.
    pub revealed: Position,
    /// Who waits for its keys.
    pub waiting: Waiting,
}

/// Whether something that ends at `expires` has ended at `now`.
#[inline]
pub fn has_ended(expires: Option<TimeMs>, now: TimeMs) -> bool {
    expires.is_some_and(|at| at <= now)
}

/// When the next field of a hash ends, if any does.
#[inline]
fn fields_end(value: &Value) -> Option<TimeMs> {
    match value {
        Value::Hash(hash) => hash.next_expiry(),
        _ => None,
    }
}

fn fields_deadline(stored: Stored<'_>) -> Option<TimeMs> {
    match stored {
        Stored::Boxed(value) => fields_end(value),
        _ => None,
    }
}

impl Db {
    fn set_deadline(&mut self, hash: u64, ending: Ending, old: Option<TimeMs>, new: Option<TimeMs>) {
        if old == new {
            return;
        }
        if let Some(at) = old {
            self.remove_deadline(&Deadline { at, hash, ending });
        }
        if let Some(at) = new {
            let is_new = self.deadlines.insert(Deadline { at, hash, ending });
            self.field_deadline_count += usize::from(is_new && ending == Ending::Fields);
        }
    }

    fn remove_deadline(&mut self, deadline: &Deadline) {
        let was_there = self.deadlines.remove(deadline);
        self.field_deadline_count -= usize::from(was_there && deadline.ending == Ending::Fields);
    }

    /// Forgets what is kept about an entry outside of it: deadlines, its home's live bytes, pieces of its value.
    fn forget(&mut self, hash: u64, place: Place) {
        self.break_pieces(hash);
        let entry = self.index.entry(place);
        let (expires, fields) = (entry.expires(), fields_deadline(entry.stored()));
        let (home, bytes) = (entry.home(), home_bytes(&entry));
        self.set_deadline(hash, Ending::Key, expires, None);
        self.set_deadline(hash, Ending::Fields, fields, None);
        self.live.remove(home, bytes);
        self.index.stamp(place, |entry| entry.set_home(Home::NONE));
    }

    /// The value of the key with this hash is not the one any more that is being written in pieces.
    #[inline]
    fn break_pieces(&mut self, hash: u64) {
        if self.in_pieces.as_ref().is_some_and(|row| row.is_of_hash(hash)) {
            self.in_pieces = None;
        }
    }

    /// The home is out of date: the value has changed in place.
    #[inline]
    fn forget_home(&mut self, place: Place) {
        let entry = self.index.entry(place);
        let home = entry.home();
        if home != Home::NONE {
            self.live.remove(home, home_bytes(&entry));
            self.index.stamp(place, |entry| entry.set_home(Home::NONE));
        }
    }

    #[inline]
    fn set_home(&mut self, place: Place, home: Home) {
        let (old, bytes) = self.index.stamp(place, |entry| {
            let old = entry.home();
            entry.set_home(home);
            (old, home_bytes(entry))
        });
        self.live.remove(old, bytes);
        self.live.add(home, bytes);
    }

    fn set_revision(&mut self, place: Place, revision: u32) {
        let meta = self.index.entry(place).meta();
        if meta.revision != revision {
            self.index.reshape(place, &Meta { revision, ..meta });
        }
    }

    /// Overwrites a string where it lies, if it fits there and nothing else about the key changes: what most writes to
    /// keys that are there come to. Returns whether it did.
    #[inline]
    fn rewrite(&mut self, place: Place, payload: &Payload<'_>, stamp: &Stamp) -> bool {
        if self.in_pieces.is_some() {
            return false;
        }
        let rewritten = self.index.rewrite(place, stamp.access, |entry| {
            let (old, bytes) = (entry.home(), home_bytes(entry));
            entry.rewrite(payload, stamp.version, stamp.home).then(|| (old, bytes, home_bytes(entry)))
        });
        let Some((old, old_bytes, bytes)) = rewritten else { return false };
        self.live.remove(old, old_bytes);
        self.live.add(stamp.home, bytes);
        true
    }
}

/// Bytes that an entry's home keeps alive in its segment: the value, the key, and what frames them.
#[inline]
fn home_bytes(entry: &Entry) -> u64 {
    const FRAME_BYTES: u64 = 56;
    FRAME_BYTES + entry.text_bytes() as u64
}

impl Partition {
    /// An empty partition.
    pub fn new(id: PartitionId) -> Self {
        Partition {
            id,
            version: Version(0),
            dbs: (0..PHYSICAL_DB_COUNT).map(|_| Db::default()).collect(),
            db_map: std::array::from_fn(|db| db as u8),
            garbage: Vec::new(),
            ended: EndedCounts::default(),
            settling: BTreeMap::new(),
            revealed: Position::ZERO,
            waiting: Waiting::default(),
        }
    }

    /// Its number.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Version of the last batch.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The batch that was being applied is whole.
    pub fn set_version(&mut self, version: Version) {
        assert!(self.version <= version, "versions only grow");
        self.version = version;
    }

    /// The physical database behind the number a client selected.
    #[inline]
    pub fn physical(&self, db: base::DbId) -> u8 {
        self.db_map[db.index()]
    }

    /// The whole map of numbers to physical databases.
    pub fn db_map(&self) -> [u8; DB_COUNT] {
        self.db_map
    }

    /// Sets the map, as a checkpoint has it.
    pub fn set_db_map(&mut self, db_map: [u8; DB_COUNT]) {
        self.db_map = db_map;
    }

    /// The keys of physical database `db`.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "an index of keys, not an element of a sequence")]
    pub fn index(&self, db: u8) -> &Index {
        &self.dbs[usize::from(db)].index
    }

    /// Number of keys in physical database `db` that have not ended at `now`.
    ///
    /// # Cost
    /// In proportion to the keys that have ended and that nobody has removed yet.
    pub fn key_count(&self, db: u8, now: TimeMs) -> usize {
        let db = &self.dbs[usize::from(db)];
        let ended = db.deadlines.iter().take_while(|deadline| deadline.at <= now);
        db.index.len() - ended.filter(|deadline| deadline.ending == Ending::Key).count()
    }

    /// Number of hashes in physical database `db` with fields that will end.
    pub fn expiring_fields_count(&self, db: u8) -> usize {
        self.dbs[usize::from(db)].field_deadline_count
    }

    /// What has been removed here because its time had come, since this partition was opened.
    pub fn ended_counts(&self) -> EndedCounts {
        self.ended
    }

    /// Counts what a command removed because it was given a time that has passed.
    pub(crate) fn count_ended(&mut self, more: EndedCounts) {
        self.ended.key_count += more.key_count;
        self.ended.field_count += more.field_count;
    }

    /// Where `key` is in physical database `db`, ended or not.
    #[inline]
    pub fn find(&self, db: u8, key: &[u8]) -> Option<Place> {
        self.index(db).find(hash_bytes(key), key)
    }

    /// Sets the access clock of an entry.
    #[inline]
    pub fn touch(&mut self, db: u8, place: Place, access: u32) {
        self.dbs[usize::from(db)].index.touch(place, access);
    }

    /// Bytes of all keys, values and tables, and of the partition itself: never 0, so that a limit of one byte is passed.
    pub fn used_bytes(&self) -> usize {
        let held = |db: &Db| db.index.value_bytes() + db.index.table_bytes() + db.deadlines.len() * 40;
        size_of::<Partition>() + self.dbs.len() * size_of::<Db>() + self.dbs.iter().map(held).sum::<usize>()
    }

    /// Gives memory back that entries leave unused among them, if it is more than an eighth of what theirs takes; see
    /// [`Index::compact`]. Returns whether it did.
    pub fn compact(&mut self) -> bool {
        let is_sparse = |index: &Index| IDLE_DIVISOR * index.idle_bytes() > index.slab_bytes();
        self.dbs.iter_mut().any(|db| is_sparse(&db.index) && db.index.compact())
    }

    /// Values that were let go of and are better freed elsewhere.
    pub fn take_garbage(&mut self) -> Vec<Garbage> {
        std::mem::take(&mut self.garbage)
    }

    /// Whether [`Partition::take_garbage`] has anything to give.
    pub fn has_garbage(&self) -> bool {
        !self.garbage.is_empty()
    }

    /// Whether anything is known of a key beside its value (`elements.rs`).
    pub fn has_records(&self) -> bool {
        (0..DB_COUNT as u8).any(|db| !self.index(records_db(db)).is_empty())
    }

    /// Keys whose value lies in the journal only, those included that have ended.
    pub fn spilled_count(&self) -> usize {
        self.dbs.iter().map(|db| db.index.spilled_count()).sum()
    }

    /// Live bytes per journal segment, summed over the databases: `each(segment, bytes)`.
    pub fn each_live(&self, mut each: impl FnMut(u32, u64)) {
        for db in &self.dbs {
            db.live.each(&mut each);
        }
    }

    fn discard(&mut self, value: Option<Box<Value>>) {
        if let Some(value) = value.filter(|value| value.element_count() > GARBAGE_ELEMENTS_MIN) {
            self.garbage.push(Garbage::Value(value));
        }
    }

    /// Changes the state. The one way in, for commands and for replay.
    ///
    /// # Errors
    /// An image inside the effect does not parse; nothing was changed. Cannot happen for effects made here.
    pub fn apply(&mut self, db: u8, effect: &Effect<'_>, stamp: &Stamp) -> Result<Applied, Truncated> {
        Ok(match effect {
            Effect::PutString { key, expires, value } => self.put(db, key, payload_of(value), *expires, stamp),
            Effect::Delete { key } => self.delete(db, key, stamp),
            Effect::Expire { key, expires } => self.expire(db, key, *expires, stamp),
            Effect::Revise { key, revision } => self.revise(db, key, *revision, stamp),
            Effect::PatchString { key, offset, bytes } => {
                self.patch(db, key, usize::try_from(*offset).map_err(|_| Truncated)?, bytes, stamp)?
            }
            Effect::PutImage { key, kind: Kind::String, expires, image } => {
                self.put(db, key, payload_of(image), *expires, stamp)
            }
            Effect::PutImage { key, kind, expires, image } => {
                let value = Box::new(Value::decode_image(*kind, image)?);
                let image_bytes = u32::try_from(image.len()).map_err(|_| Truncated)?;
                self.put(db, key, Payload::Boxed { value, image_bytes }, *expires, stamp)
            }
            Effect::HashSet { key, fields } => self.hash_set(db, key, fields, stamp)?,
            Effect::HashDelete { key, fields } => self.hash_delete(db, key, fields, stamp),
            Effect::HashExpire { key, fields } => self.hash_expire(db, key, fields, stamp),
            Effect::List { key, change } => self.list_change(db, key, change, stamp),
            Effect::Set { key, change } => self.set_change(db, key, change, stamp)?,
            Effect::SortedSet { key, change } => self.change_sorted_set(db, key, change, stamp)?,
            Effect::Stream { key, change } => self.change_stream(db, key, change, stamp)?,
            Effect::FlushDb => self.flush(db, stamp),
            Effect::SwapDbs { other } => {
                self.db_map.swap(usize::from(db), usize::from(*other));
                Applied::default()
            }
        })
    }

    fn put(&mut self, db: u8, key: &[u8], payload: Payload<'_>, expires: Option<TimeMs>, stamp: &Stamp) -> Applied {
        let before = self.index(db).len();
        self.put_at(db, key, payload, expires, stamp);
        Applied { added: (self.index(db).len() - before) as u64, removed: 0 }
    }

    fn put_at(&mut self, db: u8, key: &[u8], payload: Payload<'_>, expires: Option<TimeMs>, stamp: &Stamp) -> Place {
        let hash = hash_bytes(key);
        let this = &mut self.dbs[usize::from(db)];
        let meta = Meta { version: stamp.version, home: Home::NONE, expires, revision: 1, access: stamp.access };
        let place = match this.index.find(hash, key) {
            None => this.index.insert(hash, key, payload, &meta),
            Some(place) if expires.is_none() && this.rewrite(place, &payload, stamp) => return place,
            Some(place) => {
                let old = this.index.entry(place).meta();
                this.forget(hash, place);
                let revision = if has_ended(old.expires, stamp.time) {
                    self.ended.key_count += 1;
                    1
                } else {
                    old.revision.wrapping_add(u32::from(old.version != stamp.version)).max(1)
                };
                if overwrite(&mut this.index, place, &payload, &old, expires, revision, stamp.version) {
                    this.index.touch(place, stamp.access);
                } else {
                    let old = this.index.replace(place, payload, &Meta { revision, ..meta });
                    self.discard(old);
                }
                place
            }
        };
        let this = &mut self.dbs[usize::from(db)];
        if expires.is_some() {
            this.set_deadline(hash, Ending::Key, None, expires);
        }
        let fields = fields_deadline(this.index.entry(place).stored());
        if fields.is_some() {
            this.set_deadline(hash, Ending::Fields, None, fields);
        }
        this.set_home(place, stamp.home);
        place
    }

    fn delete(&mut self, db: u8, key: &[u8], stamp: &Stamp) -> Applied {
        let hash = hash_bytes(key);
        let this = &mut self.dbs[usize::from(db)];
        let Some(place) = this.index.find(hash, key) else { return Applied::default() };
        let ended = has_ended(this.index.entry(place).expires(), stamp.time);
        this.forget(hash, place);
        let value = this.index.remove(place);
        self.discard(value);
        self.ended.key_count += u64::from(ended);
        Applied { added: 0, removed: u64::from(!ended) }
    }

    /// Finds a key that has not ended at the batch's time; one that has is dropped here and now.
    fn find_current(&mut self, db: u8, key: &[u8], stamp: &Stamp) -> Option<Place> {
        let (place, entry) = self.index(db).find_entry(hash_bytes(key), key)?;
        if has_ended(entry.expires(), stamp.time) {
            self.delete(db, key, stamp);
            return None;
        }
        Some(place)
    }

    /// Gives the entry the batch's version and counts the write, once per batch.
    fn mark(&mut self, db: u8, place: Place, stamp: &Stamp) {
        let index = &mut self.dbs[usize::from(db)].index;
        let marked = index.stamp(place, |entry| {
            if entry.version() == stamp.version {
                return true;
            }
            entry.set_version(stamp.version);
            entry.bump_revision()
        });
        if !marked {
            let meta = index.entry(place).meta();
            index.reshape(place, &Meta { revision: meta.revision.wrapping_add(1).max(1), ..meta });
        }
    }

    fn expire(&mut self, db: u8, key: &[u8], expires: Option<TimeMs>, stamp: &Stamp) -> Applied {
        let Some(place) = self.find_current(db, key, stamp) else { return Applied::default() };
        let this = &mut self.dbs[usize::from(db)];
        let meta = this.index.entry(place).meta();
        this.set_deadline(hash_bytes(key), Ending::Key, meta.expires, expires);
        let in_place = expires.is_some_and(|at| this.index.stamp(place, |entry| entry.overwrite_expires(at)));
        if !in_place && expires != meta.expires {
            this.index.reshape(place, &Meta { expires, ..meta });
        }
        self.mark(db, place, stamp);
        Applied { added: 1, removed: 0 }
    }

    fn revise(&mut self, db: u8, key: &[u8], revision: u32, stamp: &Stamp) -> Applied {
        let Some(place) = self.find_current(db, key, stamp) else { return Applied::default() };
        self.mark(db, place, stamp);
        self.dbs[usize::from(db)].set_revision(place, revision);
        Applied { added: 1, removed: 0 }
    }

    /// Runs `change` on the hash at `key`, made new when absent (and `create`), and settles what follows.
    fn with_hash<R: Default>(
        &mut self,
        db: u8,
        key: &[u8],
        create: bool,
        stamp: &Stamp,
        change: impl FnOnce(&mut Hash) -> R,
    ) -> R {
        self.with_collection(db, key, Kind::Hash, create, stamp, |value| match value {
            Value::Hash(hash) => change(hash),
            _ => R::default(),
        })
    }

    fn hash_set(&mut self, db: u8, key: &[u8], fields: &Items<'_>, stamp: &Stamp) -> Result<Applied, Truncated> {
        if fields.count() == 0 {
            return Err(Truncated);
        }
        let mut ended_count = 0;
        let applied = self.with_hash(db, key, true, stamp, |hash| {
            let mut applied = Applied::default();
            for (field, value, expires) in fields.triples() {
                ended_count += u64::from(drop_ended(hash, field, stamp.time));
                applied.added += u64::from(hash.set(field, value, expires));
            }
            applied
        });
        self.ended.field_count += ended_count;
        Ok(applied)
    }

    fn hash_delete(&mut self, db: u8, key: &[u8], fields: &Items<'_>, stamp: &Stamp) -> Applied {
        let mut ended_count = 0;
        let applied = self.with_hash(db, key, false, stamp, |hash| {
            let mut applied = Applied::default();
            for field in fields.names() {
                ended_count += u64::from(drop_ended(hash, field, stamp.time));
                applied.removed += u64::from(hash.remove(field));
            }
            applied
        });
        self.ended.field_count += ended_count;
        applied
    }

    fn hash_expire(&mut self, db: u8, key: &[u8], fields: &Items<'_>, stamp: &Stamp) -> Applied {
        let mut ended_count = 0;
        let applied = self.with_hash(db, key, false, stamp, |hash| {
            let mut applied = Applied::default();
            for (field, expires) in fields.deadlines() {
                ended_count += u64::from(drop_ended(hash, field, stamp.time));
                applied.added += u64::from(hash.set_expiry(field, expires));
            }
            applied
        });
        self.ended.field_count += ended_count;
        applied
    }

    /// Empties a database: at once while its batch is being made, however many keys there are. A replay may run over a
    /// checkpoint that already has what came later, and looks at every key.
    fn flush(&mut self, db: u8, stamp: &Stamp) -> Applied {
        if stamp.home != Home::PENDING && self.has_newer(db, stamp) {
            return self.flush_older(db, stamp);
        }
        let flushed = std::mem::take(&mut self.dbs[usize::from(db)]);
        let removed = flushed.index.len() as u64;
        if removed > 0 {
            self.garbage.push(Garbage::Flushed(Box::new(Flushed(flushed))));
        }
        Applied { added: 0, removed }
    }

    fn has_newer(&self, db: u8, stamp: &Stamp) -> bool {
        let mut has_newer = false;
        self.index(db).each(|entry| has_newer |= entry.version() > stamp.version);
        has_newer
    }

    fn flush_older(&mut self, db: u8, stamp: &Stamp) -> Applied {
        let mut older: Vec<Vec<u8>> = Vec::new();
        self.index(db).each(|entry| {
            if entry.version() <= stamp.version {
                older.push(entry.key().to_vec());
            }
        });
        for key in &older {
            self.delete(db, key, stamp);
        }
        Applied { added: 0, removed: older.len() as u64 }
    }

    /// The batch at `home` is in the journal: entries whose value it holds now point there.
    pub fn set_homes(&mut self, body: &[u8], home: Home) {
        let mut reader = Reader::new(body);
        while !reader.is_empty() {
            let Ok((db, effect)) = Effect::decode(&mut reader) else {
                unreachable!("a batch made here is made of effects")
            };
            let (Effect::PutString { key, .. } | Effect::PutImage { key, .. }) = effect else { continue };
            let Some(place) = self.find(db, key) else { continue };
            if self.index(db).entry(place).home() == Home::PENDING {
                self.dbs[usize::from(db)].set_home(place, home);
            }
        }
    }

    /// As [`Partition::set_homes`] for a batch of one put, whose place is still known.
    #[inline]
    pub fn set_home(&mut self, db: u8, place: Place, home: Home) {
        self.dbs[usize::from(db)].set_home(place, home);
    }

    /// The earliest time at which something here ends.
    pub fn next_deadline(&self) -> Option<TimeMs> {
        self.dbs.iter().filter_map(|db| db.deadlines.first().map(|deadline| deadline.at)).min()
    }

    /// Calls `each(db, key entry, ending)` for up to `limit` things that have ended at `now`, earliest first per
    /// database. Deadlines that no entry answers for any more are dropped on the way.
    pub fn ended(
        &mut self,
        now: TimeMs,
        limit: usize,
        mut each: impl FnMut(u8, &EntryRef<'_>, Ending) -> ControlFlow<()>,
    ) {
        let mut left = limit;
        for (number, db) in self.dbs.iter_mut().enumerate() {
            let mut stale: Vec<Deadline> = Vec::new();
            for deadline in db.deadlines.iter().take_while(|deadline| deadline.at <= now) {
                if left == 0 {
                    break;
                }
                left -= 1;
                let place = db.index.find_where(deadline.hash, |entry| match deadline.ending {
                    Ending::Key => entry.expires() == Some(deadline.at),
                    Ending::Fields => fields_deadline(entry.stored()) == Some(deadline.at),
                });
                match place {
                    Some(place) => {
                        if each(number as u8, &db.index.entry(place), deadline.ending).is_break() {
                            left = 0;
                        }
                    }
                    None => stale.push(*deadline),
                }
            }
            for deadline in stale {
                db.remove_deadline(&deadline);
            }
        }
    }

    /// Adds an entry as a checkpoint has it. A key that is already there keeps the newer of the two.
    pub fn restore(&mut self, db: u8, key: &[u8], payload: Payload<'_>, meta: &Meta) {
        if let Some(place) = self.find(db, key)
            && self.index(db).entry(place).version() >= meta.version
        {
            return;
        }
        let stamp = Stamp { version: meta.version, time: TimeMs(i64::MIN), home: meta.home, access: meta.access };
        let place = self.put_at(db, key, payload, meta.expires, &stamp);
        self.dbs[usize::from(db)].set_revision(place, meta.revision);
    }

    /// Drops the value of an entry whose home is known. Returns the heap bytes won, 0 if it cannot be spilled.
    pub fn spill(&mut self, db: u8, place: Place) -> usize {
        let this = &mut self.dbs[usize::from(db)];
        let entry = this.index.entry(place);
        let meta = entry.meta();
        if !is_spillable(&entry) || !meta.home.is_known() {
            return 0;
        }
        let payload = Payload::Spilled { kind: entry.kind(), value_bytes: entry.value_bytes() as u32 };
        let hash = hash_bytes(entry.key());
        this.break_pieces(hash);
        let before = this.index.value_bytes();
        let old = this.index.replace(place, payload, &meta);
        let won = before - this.index.value_bytes();
        self.discard(old);
        won
    }

    /// Writes the value at `place`, which must be in memory, into the journal for its own sake, so that it has a
    /// home. Changes no state that a command can see. Returns the bytes appended; `None` when there was no room.
    ///
    /// # Cost
    /// In proportion to the value, and a copy of it in memory unless it is a string.
    pub fn write_home(&mut self, db: u8, place: Place, journal: &Journal, time: TimeMs) -> Option<u64> {
        let entry = self.index(db).entry(place);
        let image = match entry.stored() {
            Stored::Inline(bytes) => Cow::Borrowed(bytes),
            Stored::Boxed(Value::Bytes(bytes)) => Cow::Borrowed(&**bytes),
            Stored::Int(number) => Cow::Owned(base::number::format_i64(number).as_bytes().to_vec()),
            Stored::Boxed(value) => {
                let mut image = Vec::new();
                value.encode_image(&mut image);
                Cow::Owned(image)
            }
            Stored::Spilled => unreachable!("a spilled value already has a home"),
        };
        let image = Image { db, key: entry.key(), version: entry.version(), kind: entry.kind(), image: &image };
        let image_bytes = image.image.len();
        let home = self.append_image(&image, journal, time)?;
        self.set_new_home(db, place, home, image_bytes);
        Some(image_bytes as u64)
    }

    fn append_image(&self, image: &Image<'_>, journal: &Journal, time: TimeMs) -> Option<Home> {
        let mut front = Vec::with_capacity(image.key.len() + 32);
        image.encode_head(&mut front);
        let head = RecordHead { kind: RecordKind::Image, partition: self.id, version: image.version, time, term: 0 };
        let appended = journal.append_parts(&head, [&front, image.image], Reserve::Keep);
        appended.ok().map(|appended| Home(appended.start.pack()))
    }

    fn set_new_home(&mut self, db: u8, place: Place, home: Home, image_bytes: usize) {
        let this = &mut self.dbs[usize::from(db)];
        this.forget_home(place);
        if matches!(this.index.entry(place).stored(), Stored::Boxed(_)) {
            this.index.reimage(place, image_bytes as u32);
        }
        this.set_home(place, home);
    }

    /// Moves the home of `image`'s key to a copy of it appended now, if `old` still is that key's home.
    /// Returns the bytes appended, 0 if nobody needs them; `None` when the journal has no room.
    pub fn move_home(&mut self, image: &Image<'_>, old: Home, journal: &Journal, time: TimeMs) -> Option<u64> {
        let Some(place) = self.find(image.db, image.key) else { return Some(0) };
        let entry = self.index(image.db).entry(place);
        if entry.home() != old {
            return Some(0);
        }
        let current = Image { version: entry.version(), kind: entry.kind(), ..*image };
        let home = self.append_image(&current, journal, time)?;
        self.set_new_home(image.db, place, home, image.image.len());
        Some(image.image.len() as u64)
    }

    /// An image met while replaying: it is the home of its key, unless the key has changed since.
    pub fn rehome(&mut self, image: &Image<'_>, home: Home) {
        let Some(place) = self.find(image.db, image.key) else { return };
        if self.index(image.db).entry(place).version() == image.version {
            self.set_new_home(image.db, place, home, image.image.len());
        }
    }

    /// Gives a spilled entry its value back, read from its home, unless the key has changed since.
    /// Returns whether it did.
    ///
    /// # Errors
    /// The image does not parse.
    pub fn promote(&mut self, db: u8, key: &[u8], version: Version, image: SharedBytes) -> Result<bool, Truncated> {
        let this = &mut self.dbs[usize::from(db)];
        let hash = hash_bytes(key);
        let Some(place) = this.index.find(hash, key) else { return Ok(false) };
        let entry = this.index.entry(place);
        if entry.version() != version || !matches!(entry.stored(), Stored::Spilled) {
            return Ok(false);
        }
        let meta = entry.meta();
        let payload = match entry.kind() {
            Kind::String if SHARED_BYTES_MIN <= image.len() => shared_payload(image),
            Kind::String => Payload::Inline(&image),
            kind => Payload::Boxed {
                value: Box::new(Value::decode_image(kind, &image)?),
                image_bytes: u32::try_from(image.len()).map_err(|_| Truncated)?,
            },
        };
        this.index.replace(place, payload, &meta);
        Ok(true)
    }
}

/// Whether dropping the value would win memory, and nothing needs it at hand.
pub fn is_spillable(entry: &Entry) -> bool {
    match entry.stored() {
        Stored::Inline(bytes) => bytes.len() > 8,
        Stored::Boxed(_) => fields_deadline(entry.stored()).is_none(),
        Stored::Int(_) | Stored::Spilled => false,
    }
}

/// Removes `field` when it has ended. Returns whether it had.
fn drop_ended(hash: &mut Hash, field: &[u8], now: TimeMs) -> bool {
    let ended = hash.has_expiries() && hash.get(field).is_some_and(|field| has_ended(field.expires, now));
    if ended {
        hash.remove(field);
    }
    ended
}

/// Tries to put a string into the block that is there already.
fn overwrite(
    index: &mut Index,
    place: Place,
    payload: &Payload<'_>,
    old: &Meta,
    expires: Option<TimeMs>,
    revision: u32,
    version: Version,
) -> bool {
    if old.expires.is_some() != expires.is_some() || (revision > 1) != (old.revision > 1) {
        return false;
    }
    index.stamp(place, |entry| {
        if !entry.overwrite(payload) {
            return false;
        }
        if let Some(at) = expires {
            entry.overwrite_expires(at);
        }
        if revision > 1 && revision != old.revision {
            entry.bump_revision();
        }
        entry.set_version(version);
        true
    })
}
