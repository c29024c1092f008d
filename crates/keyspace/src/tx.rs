//! A transaction: the view that one command (or one MULTI, or one script) has of the keys it may touch, and the
//! only way to change them.
//!
//! ```text
//! begin: partitions locked ─► read … mutate (effect encoded, then applied) … ─► commit: one journal record ─► unlock
//! ```
//!
//! Each mutator encodes its effect and hands exactly that to `Partition::apply`, as replay will. There is no
//! rollback: a command looks first and changes last, and what it changed before failing stays, as in Redis.
//!
//! A value that lies only in the journal stops the command with [`Stop::Spilled`] as long as it has changed
//! nothing: the caller fetches it without holding a lock and runs the command anew. Once something has changed, and
//! in a transaction of several commands (`several.rs`), it is read on the spot.
//!
//! Deliberately not here: which partitions to lock, replies, waiting.
//!
//! Invariants: a transaction sees and changes only partitions it locked; all its changes carry one version per
//! partition; what `commit` journals is what was applied, whole.

mod elements;
mod list;
mod set;
mod sorted_set;
mod stream;
mod string;

use crate::access::AccessClock;
use crate::effect;
use crate::effect::Effect;
use crate::entry::{EntryRef, Home, Stored};
use crate::events::{Event, Interests, Told};
use crate::hash::Hash;
use crate::hasher::hash_bytes;
use crate::keyspace::Keyspace;
use crate::library::LIBRARY_PARTITION;
use crate::partition::{Applied, EndedCounts, Ending, Garbage, Partition, Stamp, has_ended};
use crate::spilled::{self, Spilled};
use crate::table::Place;
use crate::value::{Kind, Value};
use crate::waiting::Ready;
use base::codec::{put_bytes, put_varint};
use base::number::format_i64;
use base::{DbId, PartitionId, Reader, TimeMs, Version};
use journal::{Journal, Position, ReadMode, RecordKind};
use parking_lot::MutexGuard;
use std::ops::ControlFlow;
use std::sync::Arc;

mod events;
mod parts;
mod several;
mod waiting;

use self::parts::{Part, Parts};
pub use several::KeyState;
pub use string::{Shown, Str, StrBytes};

/// Why a transaction cannot give what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The key holds another type.
    WrongType,
    /// The value must be fetched from the journal first; see [`Tx::into_spilled`].
    Spilled,
    /// The value lies in the journal and cannot be read back. Nothing has been changed.
    Unreadable,
}

/// Where a key was found. Valid until the next change.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Which of the locked partitions, of up to `PARTITION_COUNT_MAX`.
    part: u16,
    db: u8,
    place: Place,
    /// As it was when found, so that nobody has to look again to know.
    kind: Kind,
    is_spilled: bool,
}

/// What a transaction left in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// End of everything its reply reveals, own batch or another's before it.
    pub revealed: Position,
    /// Whether it wrote a batch.
    pub wrote: bool,
    /// The version of the last partition it locked, which is the batch's own when that is the one it wrote to.
    pub version: Version,
    /// What was looked up.
    pub lookups: Lookups,
    /// Keys that changed while somebody waited for them: their queues are to be served.
    pub ready: Vec<Ready>,
}

/// How often keys were looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// The key was there.
    pub hits: u64,
    /// It was not.
    pub misses: u64,
}

/// See the module's text.
pub struct Tx<'a> {
    keyspace: &'a Keyspace,
    journal: &'a Journal,
    parts: Parts<'a>,
    db: DbId,
    now: TimeMs,
    /// What ends then or before counts as absent: `now`, unless [`Tx::see_ended`] was called.
    horizon: TimeMs,
    clock: AccessClock,
    /// Whether reads leave the access clock alone (CLIENT NO-TOUCH).
    no_touch: bool,
    spare: &'a mut Vec<u8>,
    /// Spilled values are read under the locks: see [`Tx::read_in_place`].
    reads_in_place: bool,
    /// What partitions that were looked at without being kept locked reveal.
    seen: Position,
    lookups: Lookups,
    /// The key that the command found last, until something changes: commands look at their key, then change it.
    last: Option<Found>,
    /// What the listener wants to hear of.
    interests: Interests,
    /// Whether a key that is looked for in vain is news.
    hears_misses: bool,
    /// A database was emptied, which is news even if there was nothing in it.
    flushes: bool,
    /// The connection it works for; 0 is the node itself.
    origin: u64,
    /// What few transactions have.
    rare: Option<Box<Rare>>,
}

/// What few transactions have: apart, so that the others neither make nor look at it.
#[derive(Default)]
struct Rare {
    /// Values to be fetched.
    missing: Vec<Spilled>,
    /// What is told once it is committed.
    told: Vec<Told>,
    /// Keys that changed while somebody waited for them.
    ready: Vec<Ready>,
    /// What large arguments lie in, to be shared: see [`Tx::lend`].
    source: Option<Arc<Vec<u8>>>,
}

/// Before this nothing ends: ends are later.
const BEGINNING: TimeMs = TimeMs(0);

/// What a transaction starts from.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    /// The database the connection has selected.
    pub db: DbId,
    /// The time of everything in it.
    pub now: TimeMs,
    /// The access clock.
    pub clock: AccessClock,
    /// Reads leave the access clock alone.
    pub no_touch: bool,
}

impl<'a> Tx<'a> {
    /// Locks `ids`, which must be ascending and without repetition, and begins. `spare` is scratch memory whose
    /// allocation is kept from one transaction to the next.
    ///
    /// # Cost
    /// One uncontended lock per partition; no allocation for a single one.
    #[inline]
    pub fn begin(
        keyspace: &'a Keyspace,
        journal: &'a Journal,
        ids: &[PartitionId],
        begin: Begin,
        spare: &'a mut Vec<u8>,
    ) -> Tx<'a> {
        let parts = Self::lock(ids, |id| Some(keyspace.lock(id))).expect("a lock is taken sooner or later");
        Self::over(parts, keyspace, journal, begin, spare)
    }

    /// As [`Tx::begin`], but gives up where it would have to wait for a slow script.
    #[inline(always)]
    pub fn begin_or_give_up(
        keyspace: &'a Keyspace,
        journal: &'a Journal,
        ids: &[PartitionId],
        begin: Begin,
        spare: &'a mut Vec<u8>,
    ) -> Option<Tx<'a>> {
        let parts = Self::lock(ids, |id| keyspace.lock_or_give_up(id))?;
        Some(Self::over(parts, keyspace, journal, begin, spare))
    }

    #[inline(always)]
    fn lock(ids: &[PartitionId], lock: impl Fn(PartitionId) -> Option<MutexGuard<'a, Partition>>) -> Option<Parts<'a>> {
        debug_assert!(ids.is_sorted_by(|a, b| a < b), "partitions are locked in ascending order");
        if let [id] = ids {
            return Some(Parts::One(Part::new(lock(*id)?)));
        }
        let parts: Option<Vec<Part<'a>>> = ids.iter().map(|id| lock(*id).map(Part::new)).collect();
        parts.map(Parts::Several)
    }

    #[inline(always)]
    fn over(
        parts: Parts<'a>,
        keyspace: &'a Keyspace,
        journal: &'a Journal,
        begin: Begin,
        spare: &'a mut Vec<u8>,
    ) -> Tx<'a> {
        let Begin { db, now, clock, no_touch } = begin;
        Tx {
            keyspace,
            journal,
            parts,
            db,
            now,
            horizon: now,
            clock,
            no_touch,
            spare,
            reads_in_place: false,
            seen: Position::ZERO,
            lookups: Lookups::default(),
            last: None,
            interests: keyspace.interests(),
            hears_misses: false,
            flushes: false,
            origin: 0,
            rare: None,
        }
    }

    /// The time of everything in this transaction.
    pub fn now(&self) -> TimeMs {
        self.now
    }

    /// What ends then or before counts as absent.
    pub fn horizon(&self) -> TimeMs {
        self.horizon
    }

    /// Treats what has ended as present, for who imports data that may have ended. The batch then says of itself that
    /// it was written at the beginning of time, so that a replay finds present what the commands found.
    pub fn see_ended(&mut self) {
        assert!(!self.has_changes(), "a transaction sees everything at one time");
        self.horizon = BEGINNING;
    }

    /// Whether what ends now or ended before is to be kept rather than removed.
    pub fn keeps_ended(&self) -> bool {
        self.keyspace.keeps_ended()
    }

    /// The database that keys are looked up in.
    pub fn db(&self) -> DbId {
        self.db
    }

    /// Looks keys up in another database from here on (SELECT inside MULTI, COPY … DB).
    pub fn set_db(&mut self, db: DbId) {
        self.db = db;
    }

    /// The access clock.
    pub fn clock(&self) -> &AccessClock {
        &self.clock
    }

    /// The locked partitions, ascending, for commands that walk keys.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.parts.iter().map(|part| &*part.guard)
    }

    /// The locked partition `id`.
    pub fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.parts.iter().map(|part| &*part.guard).find(|partition| partition.id() == id)
    }

    /// All partitions, if they are locked; `None` if none is.
    pub(crate) fn all_locked(&self) -> Option<impl Iterator<Item = &Partition>> {
        let locked_all = self.parts.len() == usize::from(self.keyspace.partition_count());
        assert!(locked_all || self.parts.is_empty(), "all or none are locked, or this could lock one twice");
        locked_all.then(|| self.parts.iter().map(|part| &*part.guard))
    }

    /// Looks at every partition, one after the other: those locked already as they are, the others each under
    /// its own lock for as long as `look` takes. Ends early when `look` breaks.
    pub fn each_partition<B>(
        &mut self,
        start: PartitionId,
        mut look: impl FnMut(&Partition, u8) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let locked_all = self.all_locked().is_some();
        for id in self.keyspace.ids().skip(start.index()) {
            if locked_all {
                let partition = &self.parts[id.index()].guard;
                look(partition, partition.physical(self.db))?;
            } else {
                let partition = self.keyspace.lock(id);
                self.seen = self.seen.max(partition.revealed);
                look(&partition, partition.physical(self.db))?;
            }
        }
        ControlFlow::Continue(())
    }

    #[inline]
    fn part_of(&self, key: &[u8]) -> usize {
        if let Parts::One(part) = &self.parts {
            debug_assert_eq!(self.keyspace.partition_of(key), part.guard.id(), "a command names its keys");
            return 0;
        }
        self.part_among(key)
    }

    fn part_among(&self, key: &[u8]) -> usize {
        self.position_of(self.keyspace.partition_of(key)).expect("a command touches only keys it named")
    }

    /// Finds `key` unless it is absent or has ended; leaves its access clock alone.
    #[inline]
    pub fn peek(&self, key: &[u8]) -> Option<Found> {
        let part = self.part_of(key);
        self.peek_in(part, key).map(|(found, _)| found)
    }

    /// As [`Tx::peek`], with the entry.
    #[inline(always)]
    fn peek_in(&self, part: usize, key: &[u8]) -> Option<(Found, EntryRef<'_>)> {
        self.peek_at(part, self.parts[part].guard.physical(self.db), key)
    }

    /// As [`Tx::peek_in`], in a physical database.
    #[inline(always)]
    fn peek_at(&self, part: usize, db: u8, key: &[u8]) -> Option<(Found, EntryRef<'_>)> {
        let (place, entry) = self.parts[part].guard.index(db).find_entry(hash_bytes(key), key)?;
        if has_ended(entry.expires(), self.horizon) {
            return None;
        }
        let (kind, is_spilled) = (entry.kind(), matches!(entry.stored(), Stored::Spilled));
        Some((Found { part: part as u16, db, place, kind, is_spilled }, entry))
    }

    /// Finds `key` unless it is absent or has ended, and notes the use.
    #[inline]
    pub fn find(&mut self, key: &[u8]) -> Option<Found> {
        let Some((found, entry)) = self.peek_in(self.part_of(key), key) else {
            self.lookups.misses += 1;
            if self.hears_misses {
                self.tell(Event::Miss, "keymiss", self.db, key);
            }
            return None;
        };
        let access = entry.access();
        self.lookups.hits += 1;
        if !self.no_touch {
            self.touch_from(found, access);
        }
        self.last = Some(found);
        Some(found)
    }

    /// As [`Tx::find`] of a key that was most likely found before by the same command, whose use was noted then.
    #[inline]
    fn find_again(&mut self, key: &[u8]) -> Option<Found> {
        match self.last {
            Some(found) if found.part == self.part_of(key) as u16 && self.is_at(found, key) => Some(found),
            _ => self.find(key),
        }
    }

    #[inline]
    fn is_at(&self, found: Found, key: &[u8]) -> bool {
        let part = &self.parts[usize::from(found.part)];
        found.db == part.guard.physical(self.db) && part.guard.index(found.db).entry(found.place).key() == key
    }

    /// Notes a use of the key.
    #[inline]
    pub fn touch(&mut self, found: Found) {
        self.touch_from(found, self.entry(found).access());
    }

    #[inline]
    fn touch_from(&mut self, found: Found, access: u32) {
        let touched = self.clock.touched(access);
        if touched != access {
            self.parts[usize::from(found.part)].guard.touch(found.db, found.place, touched);
        }
    }

    /// Sets a key's access clock (RESTORE … IDLETIME, FREQ).
    pub fn set_access(&mut self, found: Found, access: u32) {
        self.parts[usize::from(found.part)].guard.touch(found.db, found.place, access);
    }

    /// The entry of a key that was found.
    #[inline]
    pub fn entry(&self, found: Found) -> EntryRef<'_> {
        self.parts[usize::from(found.part)].guard.index(found.db).entry(found.place)
    }

    /// Gets the value of a found key into memory, or stops so that the caller can.
    #[inline]
    fn ensure_resident(&mut self, key: &[u8], found: Found) -> Result<(), Stop> {
        if found.is_spilled { self.unspill(key, found) } else { Ok(()) }
    }

    #[cold]
    fn unspill(&mut self, key: &[u8], found: Found) -> Result<(), Stop> {
        self.last = None;
        let wanted = self.spilled_at(key, found);
        if !self.reads_in_place && !self.has_changes() {
            self.rare().missing.push(wanted);
            return Err(Stop::Spilled);
        }
        let image = if self.has_changes() {
            spilled::read_or_stop(self.journal, &wanted)
        } else {
            let read = spilled::read(self.journal, &wanted, ReadMode::Wait);
            read.ok().flatten().ok_or(Stop::Unreadable)?
        };
        let partition = &mut self.parts[usize::from(found.part)].guard;
        partition.promote(found.db, key, wanted.version, image).expect("its record's checksums held");
        Ok(())
    }

    fn spilled_at(&self, key: &[u8], found: Found) -> Spilled {
        let entry = self.entry(found);
        let partition = self.parts[usize::from(found.part)].guard.id();
        let (version, position) = (entry.version(), Position::unpack(entry.home().0));
        Spilled { partition, db: found.db, key: key.to_vec(), version, position }
    }

    /// The values that stopped this transaction with [`Stop::Spilled`], to be fetched before it is run anew.
    pub fn into_spilled(mut self) -> Vec<Spilled> {
        assert!(
            self.parts.iter().all(|part| part.effect_count == 0),
            "a command is run anew only if it changed nothing"
        );
        self.rare.take().map(|rare| rare.missing).unwrap_or_default()
    }

    /// The hash at `key`. Its fields may include some that have ended.
    ///
    /// # Errors
    /// As [`Tx::string`].
    pub fn hash(&mut self, key: &[u8]) -> Result<Option<&Hash>, Stop> {
        let Some(found) = self.find(key) else { return Ok(None) };
        if found.kind != Kind::Hash {
            return Err(Stop::WrongType);
        }
        self.ensure_resident(key, found)?;
        match self.entry(found).stored() {
            Stored::Boxed(Value::Hash(hash)) => Ok(Some(hash)),
            _ => unreachable!("a resident hash is boxed"),
        }
    }

    /// The value of whatever is at `key`, fetched into memory; leaves its access clock alone.
    ///
    /// # Errors
    /// `Spilled`. The value itself never is.
    pub fn peek_value(&mut self, key: &[u8]) -> Result<Option<Stored<'_>>, Stop> {
        let Some(found) = self.peek(key) else { return Ok(None) };
        self.ensure_resident(key, found)?;
        let stored = self.entry(found).stored();
        assert!(!matches!(stored, Stored::Spilled), "the value was just made resident");
        Ok(Some(stored))
    }

    /// The image of whatever is at `key`: what COPY and RENAME start from.
    ///
    /// # Errors
    /// `Spilled`.
    pub fn image(&mut self, key: &[u8]) -> Result<Option<(Kind, Vec<u8>)>, Stop> {
        let Some(found) = self.peek(key) else { return Ok(None) };
        self.ensure_resident(key, found)?;
        let entry = self.entry(found);
        let mut image = Vec::new();
        match entry.stored() {
            Stored::Inline(bytes) => image.extend_from_slice(bytes),
            Stored::Int(number) => image.extend_from_slice(format_i64(number).as_bytes()),
            Stored::Boxed(value) => value.encode_image(&mut image),
            Stored::Spilled => unreachable!("the value was just made resident"),
        }
        Ok(Some((entry.kind(), image)))
    }

    /// What an effect that is about to be made brings along. Nothing is where it was found before, from then on.
    #[inline]
    fn stamp(&mut self, part: usize) -> Stamp {
        self.last = None;
        let version = self.parts[part].guard.version().next();
        Stamp { version, time: self.horizon, home: Home::PENDING, access: self.clock.fresh() }
    }

    /// Encodes one effect and applies what was encoded.
    fn change(&mut self, key: &[u8], encode: impl FnOnce(&mut Vec<u8>, u8)) -> Applied {
        let part = self.part_of(key);
        let applied = self.change_silently(part, key, encode);
        self.signal(part, key);
        applied
    }

    /// As [`Tx::change`], for what is no news to anybody who waits for the key.
    #[inline]
    fn change_silently(&mut self, part: usize, key: &[u8], encode: impl FnOnce(&mut Vec<u8>, u8)) -> Applied {
        if self.interests.wants_events() { self.change_heard(part, key, encode) } else { self.change_in(part, encode) }
    }

    fn change_in(&mut self, part: usize, encode: impl FnOnce(&mut Vec<u8>, u8)) -> Applied {
        let physical = self.parts[part].guard.physical(self.db);
        self.change_physical(part, physical, encode)
    }

    fn change_physical(&mut self, part: usize, db: u8, encode: impl FnOnce(&mut Vec<u8>, u8)) -> Applied {
        self.parts[part].join_apart();
        let start = self.parts[part].effects.len();
        let applied = self.change_alone(part, |out| encode(out, db));
        if self.interests.follows_records() {
            self.follow(part, db, start);
        }
        applied
    }

    /// As [`Tx::change_in`], for what no record follows.
    fn change_alone(&mut self, part: usize, encode: impl FnOnce(&mut Vec<u8>)) -> Applied {
        let stamp = self.stamp(part);
        let part = &mut self.parts[part];
        part.begin_effect(self.spare);
        let Part { guard, effects, single_put, has_puts, .. } = part;
        let start = effects.len();
        encode(effects);
        *single_put = None;
        let decoded = Effect::decode(&mut Reader::new(&effects[start..]));
        let (db, effect) = decoded.as_ref().expect("an effect made here decodes");
        *has_puts |= effect.is_put();
        guard.apply(*db, effect, &stamp).expect("an effect made here applies")
    }

    /// Removes `key`. Returns whether it was there.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        self.peek(key).is_some() && self.change(key, |out, db| effect::put_delete(out, db, key)).removed > 0
    }

    /// Counts what a command removed in `key`'s partition because it was given a time that has passed: statistics
    /// make no difference between that and what the timer removes.
    pub fn count_ended(&mut self, key: &[u8], ended: EndedCounts) {
        let part = self.part_of(key);
        self.parts[part].guard.count_ended(ended);
    }

    /// Changes when `key` ends. Returns whether it was there.
    pub fn expire(&mut self, key: &[u8], expires: Option<TimeMs>) -> bool {
        self.peek(key).is_some() && self.change(key, |out, db| effect::put_expire(out, db, key, expires)).added > 0
    }

    /// Makes the revision of the value at `key` this one, which is not 0. Returns whether the key was there.
    pub fn revise(&mut self, key: &[u8], revision: u32) -> bool {
        debug_assert_ne!(revision, 0, "the first revision is 1");
        self.peek(key).is_some() && self.change(key, |out, db| effect::put_revise(out, db, key, revision)).added > 0
    }

    /// Refuses another type; says whether the key is there.
    fn ensure_kind(&mut self, key: &[u8], kind: Kind) -> Result<bool, Stop> {
        let Some(found) = self.find_again(key) else { return Ok(false) };
        if found.kind != kind {
            return Err(Stop::WrongType);
        }
        self.ensure_resident(key, found)?;
        Ok(true)
    }

    /// Makes `key` the value with this image, whatever it was.
    pub fn put_image(&mut self, key: &[u8], kind: Kind, image: &[u8], expires: Option<TimeMs>) {
        self.change(key, |out, db| effect::put_image(out, db, key, kind, expires, image));
    }

    /// Sets fields of the hash at `key`, creating it when absent. Returns how many fields are new.
    ///
    /// # Errors
    /// As [`Tx::string`]; nothing was changed.
    pub fn hash_set<'f>(
        &mut self,
        key: &[u8],
        fields: impl ExactSizeIterator<Item = (&'f [u8], &'f [u8], Option<TimeMs>)>,
    ) -> Result<u64, Stop> {
        self.ensure_kind(key, Kind::Hash)?;
        Ok(self.change(key, |out, db| effect::put_hash_set(out, db, key, fields)).added)
    }

    /// Removes fields of the hash at `key`, and the key with its last field. Returns how many were there. Pass
    /// only fields that are there when it matters that a batch is not written for nothing.
    ///
    /// # Errors
    /// As [`Tx::string`]; nothing was changed.
    pub fn hash_delete<'f>(
        &mut self,
        key: &[u8],
        fields: impl ExactSizeIterator<Item = &'f [u8]>,
    ) -> Result<u64, Stop> {
        if !self.ensure_kind(key, Kind::Hash)? || fields.len() == 0 {
            return Ok(0);
        }
        Ok(self.change(key, |out, db| effect::put_hash_delete(out, db, key, fields)).removed)
    }

    /// Changes when fields of the hash at `key` end. Returns how many were there.
    ///
    /// # Errors
    /// As [`Tx::string`]; nothing was changed.
    pub fn hash_expire<'f>(
        &mut self,
        key: &[u8],
        fields: impl ExactSizeIterator<Item = (&'f [u8], Option<TimeMs>)>,
    ) -> Result<u64, Stop> {
        if !self.ensure_kind(key, Kind::Hash)? || fields.len() == 0 {
            return Ok(0);
        }
        Ok(self.change(key, |out, db| effect::put_hash_expire(out, db, key, fields)).added)
    }

    /// Empties the selected database. Every partition must be locked.
    pub fn flush_db(&mut self) {
        self.ensure_all();
        self.flushes = true;
        for part in 0..self.parts.len() {
            let db = self.parts[part].guard.physical(self.db);
            if !self.parts[part].guard.index(db).is_empty() {
                self.change_in(part, effect::put_flush);
                self.signal_all(part, self.db);
            }
        }
    }

    /// Exchanges two numbered databases. Every partition must be locked.
    pub fn swap_dbs(&mut self, one: DbId, other: DbId) {
        self.ensure_all();
        for part in 0..self.parts.len() {
            self.change_in(part, |out, _| effect::put_swap(out, one.0, other.0));
            self.signal_all(part, one);
            self.signal_all(part, other);
        }
    }

    /// Removes up to `limit` keys, and fields of hashes, that have ended in the one locked partition, and no more once
    /// their names come to `bytes_max`: they must fit one record. Returns how many keys and hashes it was. Forgets
    /// deadlines that nothing answers for.
    pub fn remove_ended(&mut self, limit: usize, bytes_max: usize) -> u64 {
        let (now, stamp) = (self.now, self.stamp(0));
        let hears = self.interests.wants_events();
        self.parts[0].join_apart();
        let Part { guard, effects, effect_count, single_put, .. } = &mut self.parts[0];
        if *effect_count == 0 {
            *effects = std::mem::take(self.spare);
        }
        // The last record may be among what goes.
        let had_records = guard.has_records();
        let mut body = Vec::new();
        let mut count = 0;
        guard.ended(now, limit, |db, entry, ending| {
            count += 1;
            // When the key has ended too it goes here and now: fields alone would take it along only where it is whole,
            // and a replay over a checkpoint from after its end has but a part of it.
            match (ending, entry.stored()) {
                (Ending::Fields, Stored::Boxed(Value::Hash(hash))) if !has_ended(entry.expires(), now) => {
                    let mut names: Vec<Vec<u8>> = Vec::new();
                    let mut names_bytes = 0;
                    hash.expired(now, limit, |name| {
                        if names_bytes < bytes_max {
                            names_bytes += name.len();
                            names.push(name.to_vec());
                        }
                    });
                    effect::put_hash_delete(&mut body, db, entry.key(), names.iter().map(Vec::as_slice));
                }
                _ => effect::put_delete(&mut body, db, entry.key()),
            }
            if body.len() < bytes_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let mut reader = Reader::new(&body);
        while !reader.is_empty() {
            let (db, effect) = Effect::decode(&mut reader).expect("an effect made here decodes");
            guard.apply(db, &effect, &stamp).expect("an effect made here applies");
            *effect_count += 1;
        }
        let start = effects.len();
        effects.extend_from_slice(&body);
        *single_put = None;
        if had_records {
            self.follow_from(0, start);
        }
        if hears {
            self.tell_ended(&body);
        }
        self.signal_ended(&body);
        count
    }

    /// Evicts a key of a physical database.
    pub fn delete_physical(&mut self, db: u8, key: &[u8]) {
        let part = self.part_of(key);
        self.change_physical(part, db, |out, db| effect::put_delete(out, db, key));
        if self.interests.wants(Event::Evicted) {
            self.tell(Event::Evicted, "evicted", self.parts[part].logical(db), key);
        }
        self.signal_gone(part, db, key);
    }

    /// Changes libraries, of which nobody is told.
    pub(crate) fn change_library(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let part = self.position_of(LIBRARY_PARTITION).expect("who changes libraries has locked them");
        self.change_alone(part, encode);
    }

    fn ensure_all(&self) {
        assert_eq!(self.parts.len(), usize::from(self.keyspace.partition_count()), "this needs the whole keyspace");
    }

    /// Whether anything was changed.
    #[inline]
    pub fn has_changes(&self) -> bool {
        self.parts.iter().any(|part| part.effect_count > 0)
    }

    /// Journals the changes as one record and unlocks. Values let go of go to `garbage`.
    ///
    /// # Durability
    /// None yet: the record is in the journal's buffer, in version order. A reply waits at the gate for
    /// `revealed`.
    ///
    /// # Cost
    /// One append; no syscall.
    #[inline]
    pub fn commit(mut self, garbage: &mut Vec<Garbage>) -> Committed {
        self.commit_in_place(garbage)
    }

    /// As [`Tx::commit`], but the locks are held until the transaction is dropped, which should be next: for who would
    /// otherwise move all of it into `commit`. What was committed is no change any more: a second commit journals nothing.
    #[inline]
    pub fn commit_in_place(&mut self, garbage: &mut Vec<Garbage>) -> Committed {
        match &self.parts {
            Parts::One(part) if part.effect_count == 0 && self.has_only_looked(part) => {
                let revealed = self.seen.max(part.guard.revealed);
                let version = part.guard.version();
                Committed { revealed, wrote: false, version, lookups: self.lookups, ready: Vec::new() }
            }
            _ => self.commit_news(garbage),
        }
    }

    /// Unlocks and journals nothing, for a keyspace of somebody's own that ends with all that was changed. Values let go
    /// of go to `garbage`.
    pub fn forget(mut self, garbage: &mut Vec<Garbage>) {
        for part in self.parts.iter_mut().filter(|part| part.guard.has_garbage()) {
            garbage.append(&mut part.guard.take_garbage());
        }
        self.give_back();
    }

    /// Bytes that the keys, values and tables of the locked partitions take.
    #[cold]
    pub fn used_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.guard.used_bytes()).sum()
    }

    /// Whether there is nothing to tell or to pass on after looking at this one partition.
    #[inline]
    fn has_only_looked(&self, part: &Part<'_>) -> bool {
        self.rare.is_none() && !self.flushes && !part.guard.has_garbage()
    }

    fn commit_news(&mut self, garbage: &mut Vec<Garbage>) -> Committed {
        let wrote = self.commit_changes();
        let (mut revealed, mut version) = (self.seen, Version(0));
        let parts: &mut [Part<'_>] = &mut self.parts;
        for part in parts {
            version = part.guard.version();
            revealed = revealed.max(part.guard.revealed);
            if part.guard.has_garbage() {
                garbage.append(&mut part.guard.take_garbage());
            }
        }
        if self.rare.is_some() || ((wrote || self.flushes) && self.interests.wants_changes()) {
            self.let_hear(revealed);
        }
        let ready = self.rare.take().map(|rare| rare.ready).unwrap_or_default();
        self.give_back();
        Committed { revealed, wrote, version, lookups: self.lookups, ready }
    }

    #[cold]
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Journals what was changed. Returns whether anything was.
    #[inline]
    fn commit_changes(&mut self) -> bool {
        let (journal, time) = (self.journal, self.horizon);
        match &mut self.parts {
            Parts::One(part) => {
                let wrote = part.effect_count > 0;
                if wrote {
                    part.commit(journal, time);
                }
                wrote
            }
            Parts::Several(parts) => {
                let mut changed = parts.iter_mut().filter(|part| part.effect_count > 0);
                match (changed.next(), changed.next()) {
                    (None, _) => false,
                    (Some(part), None) => {
                        part.commit(journal, time);
                        true
                    }
                    (Some(_), Some(_)) => {
                        self.commit_many();
                        true
                    }
                }
            }
        }
    }

    fn commit_many(&mut self) {
        self.parts.iter_mut().for_each(Part::join_apart);
        let changed = || self.parts.iter().filter(|part| part.effect_count > 0);
        let first = changed().next().expect("several were counted");
        let head = first.head(RecordKind::MultiBatch, self.horizon);
        let mut body = Vec::with_capacity(changed().map(|part| part.effects.len() + 24).sum());
        put_varint(&mut body, changed().count() as u64);
        for part in changed() {
            put_varint(&mut body, u64::from(part.guard.id().0));
            put_varint(&mut body, part.guard.version().next().0);
            put_bytes(&mut body, &part.effects);
        }
        let appended = spilled::append_or_stop(self.journal, &head, &body);
        for part in self.parts.iter_mut().filter(|part| part.effect_count > 0) {
            let version = part.guard.version().next();
            part.guard.set_version(version);
            part.guard.revealed = appended.end;
            // As replay judges it: a record over several partitions holds several effects.
            let home = spilled::home_in(Home(appended.start.pack()), body.len(), 2);
            part.guard.set_homes(&part.effects, home);
        }
    }

    /// Keeps the scratch memory for the next transaction unless a large batch blew it up. No part has changes then.
    #[inline]
    fn give_back(&mut self) {
        const SPARE_BYTES_MAX: usize = 1 << 20;
        let parts: &mut [Part<'_>] = &mut self.parts;
        for part in parts.iter_mut().filter(|part| part.effect_count > 0) {
            let mut effects = part.take_changes();
            if effects.capacity() <= SPARE_BYTES_MAX {
                effects.clear();
                *self.spare = effects;
            }
        }
    }
}
