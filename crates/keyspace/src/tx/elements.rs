//! Records in a transaction: versions of elements and media types of strings, how they are read and set, and how they
//! follow every other change. See [`crate::elements`].

use super::parts::Part;
use super::{Found, Stop, Tx};
use crate::effect::sorted_set::{SortedSetChange, put_sorted_set_remove};
use crate::effect::{self, Effect, SetChange};
use crate::elements::{Element, decode_version, encode_version, recorded_db, records_db, version_after};
use crate::entry::Stored;
use crate::hash::Hash;
use crate::library::LIBRARY_DB;
use crate::partition::has_ended;
use crate::value::{Kind, Value};
use base::{Reader, TimeMs};

/// Bytes that follow one change; more would have to fit its record beside it, and the key's record goes instead.
const FOLLOWING_BYTES_MAX: usize = 16 << 20;

impl Tx<'_> {
    /// What is known of an element of the hash, set or sorted set at `key` in the selected database, ended or not.
    ///
    /// # Errors
    /// `Spilled`, `Unreadable`.
    pub fn element(&mut self, key: &[u8], name: &[u8]) -> Result<Option<Element>, Stop> {
        let (part, db) = self.records_of(key);
        let Some(found) = self.record(part, db, key)? else { return Ok(None) };
        Ok(self
            .record_hash(found)
            .get(name)
            .map(|field| Element { version: decode_version(field.value), expires: field.expires }))
    }

    /// Sets what is known of an element, which must be there, of the value at `key`.
    ///
    /// # Errors
    /// As [`Tx::element`], unless something was changed before.
    pub fn put_element(&mut self, key: &[u8], name: &[u8], element: Element) -> Result<(), Stop> {
        let (part, db) = self.records_of(key);
        let is_new = self.record(part, db, key)?.is_none();
        let ends = self.peek(key).and_then(|found| self.entry(found).expires());
        self.follow_records();
        let version = encode_version(element.version);
        let field = [(name, &version[..], element.expires)];
        self.change_alone(part, |out| effect::put_hash_set(out, db, key, field.into_iter()));
        if is_new && ends.is_some() {
            self.change_alone(part, |out| effect::put_expire(out, db, key, ends));
        }
        Ok(())
    }

    /// The media type of the string at `key` in the selected database, if it was given one. The string may have ended.
    ///
    /// # Cost
    /// A test of a flag as long as no key has a record; else a look-up.
    ///
    /// # Errors
    /// `Spilled`, `Unreadable`.
    #[inline]
    pub fn media_type(&mut self, key: &[u8]) -> Result<Option<&[u8]>, Stop> {
        if self.interests.follows_records() { self.find_media_type(key) } else { Ok(None) }
    }

    fn find_media_type(&mut self, key: &[u8]) -> Result<Option<&[u8]>, Stop> {
        let (part, db) = self.records_of(key);
        let Some((found, _)) = self.peek_at(part, db, key).filter(|(found, _)| found.kind == Kind::String) else {
            return Ok(None);
        };
        self.ensure_resident(key, found)?;
        Ok(match self.entry(found).stored() {
            Stored::Inline(bytes) => Some(bytes),
            Stored::Boxed(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        })
    }

    /// Says what media type the string at `key` is of, which must be there. A name that is a number is none, and is not
    /// told by [`Tx::media_type`].
    pub fn put_media_type(&mut self, key: &[u8], media_type: &[u8]) {
        let (part, db) = self.records_of(key);
        let found = self.peek(key).expect("a string that is there is given a type");
        assert_eq!(found.kind, Kind::String, "of a table, elements are recorded");
        let ends = self.entry(found).expires();
        self.follow_records();
        self.change_alone(part, |out| effect::put_string(out, db, key, ends, media_type));
    }

    /// From here on, transactions look for records.
    fn follow_records(&mut self) {
        self.keyspace.follow_records();
        self.interests = self.interests.with_records();
    }

    /// Where the record of a key of the selected database lies.
    fn records_of(&self, key: &[u8]) -> (usize, u8) {
        let part = self.part_of(key);
        (part, records_db(self.parts[part].guard.physical(self.db)))
    }

    /// Finds the record of a table and has it in memory.
    fn record(&mut self, part: usize, db: u8, key: &[u8]) -> Result<Option<Found>, Stop> {
        let Some((found, _)) = self.peek_at(part, db, key).filter(|(found, _)| found.kind == Kind::Hash) else {
            return Ok(None);
        };
        self.ensure_resident(key, found)?;
        Ok(Some(found))
    }

    fn record_hash(&self, found: Found) -> &Hash {
        match self.entry(found).stored() {
            Stored::Boxed(Value::Hash(hash)) => hash,
            _ => unreachable!("a record is a hash, and this one was found in memory"),
        }
    }

    /// Does for records what follows from the effects of a partition from byte `start` on, which are all about `db`.
    ///
    /// # Cost
    /// A look-up where a key has no record; nothing where no key of its database has one.
    #[cold]
    pub(super) fn follow(&mut self, part: usize, db: u8, start: usize) {
        if db < LIBRARY_DB && !self.parts[part].guard.index(records_db(db)).is_empty() {
            self.follow_from(part, start);
        }
    }

    /// As [`Tx::follow`], where there were records before the effects.
    pub(super) fn follow_from(&mut self, part: usize, start: usize) {
        let mut effects = std::mem::take(&mut self.parts[part].effects);
        let mut following = Vec::new();
        let mut reader = Reader::new(&effects[start..]);
        while !reader.is_empty() {
            let (db, effect) = Effect::decode(&mut reader).expect("an effect made here decodes");
            let mut more = Vec::new();
            match recorded_db(db) {
                Some(recorded) => self.follow_end(part, recorded, &effect, &mut more),
                None if db == LIBRARY_DB => {}
                None => self.follow_effect(part, records_db(db), &effect, &mut more),
            }
            self.apply_following(part, &more);
            following.extend_from_slice(&more);
        }
        effects.extend_from_slice(&following);
        self.parts[part].effects = effects;
    }

    fn apply_following(&mut self, part: usize, more: &[u8]) {
        let stamp = self.stamp(part);
        let Part { guard, effect_count, single_put, has_puts, .. } = &mut self.parts[part];
        let mut reader = Reader::new(more);
        while !reader.is_empty() {
            let (db, effect) = Effect::decode(&mut reader).expect("an effect made here decodes");
            guard.apply(db, &effect, &stamp).expect("an effect made here applies");
            *effect_count += 1;
            *single_put = None;
            *has_puts |= effect.is_put();
        }
    }

    /// A key was changed whose record would lie in `db`, or all of them were.
    fn follow_effect(&mut self, part: usize, db: u8, effect: &Effect<'_>, more: &mut Vec<u8>) {
        let Some(key) = effect.key() else {
            // Records go with their keys; to exchange two numbers moves neither.
            if matches!(effect, Effect::FlushDb) && !self.parts[part].guard.index(db).is_empty() {
                effect::put_flush(more, db);
            }
            return;
        };
        let Some((found, _)) = self.peek_at(part, db, key) else { return };
        if found.kind == Kind::String {
            put_following_string(effect, db, key, more);
            return;
        }
        let found = self.record(part, db, key).expect("what was begun reads on the spot");
        let found = found.expect("a record is a string or a hash");
        put_following(effect, db, key, self.record_hash(found), self.horizon, more);
        if FOLLOWING_BYTES_MAX < more.len() {
            more.clear();
            effect::put_delete(more, db, key);
        }
    }

    /// The timer removed elements that have ended from a record of a key of `db`. Members of sets go with them; fields go
    /// by themselves.
    fn follow_end(&mut self, part: usize, db: u8, effect: &Effect<'_>, more: &mut Vec<u8>) {
        let Effect::HashDelete { key, fields } = effect else { return };
        let Some((found, _)) = self.peek_at(part, db, key) else { return };
        let names: Vec<&[u8]> = fields.names().collect();
        if !matches!(found.kind, Kind::Set | Kind::SortedSet) {
            return;
        }
        self.ensure_resident(key, found).expect("what was begun reads on the spot");
        match found.kind {
            Kind::Set => effect::put_set_remove(more, db, key, names.into_iter()),
            _ => put_sorted_set_remove(more, db, key, names.into_iter()),
        }
    }
}

/// Writes what follows for a string's record from a change of the string.
fn put_following_string(effect: &Effect<'_>, db: u8, key: &[u8], more: &mut Vec<u8>) {
    match effect {
        Effect::Expire { expires, .. } => effect::put_expire(more, db, key, *expires),
        Effect::PatchString { .. } | Effect::Revise { .. } => {}
        _ => effect::put_delete(more, db, key),
    }
}

/// Writes what follows for a table's record from a change of the table.
fn put_following(effect: &Effect<'_>, db: u8, record: &[u8], elements: &Hash, horizon: TimeMs, more: &mut Vec<u8>) {
    let written = |name| {
        let field = elements.get(name)?;
        let version = if has_ended(field.expires, horizon) { 0 } else { decode_version(field.value) };
        Some(encode_version(version_after(version)))
    };
    let has = |name: &&[u8]| elements.get(name).is_some();
    match effect {
        Effect::PutString { .. }
        | Effect::Delete { .. }
        | Effect::PatchString { .. }
        | Effect::PutImage { .. }
        | Effect::List { .. }
        | Effect::Stream { .. } => effect::put_delete(more, db, record),
        Effect::Expire { expires, .. } => effect::put_expire(more, db, record, *expires),
        Effect::HashSet { fields, .. } => {
            put_written(more, db, record, fields.triples().map(|(name, _, ends)| (name, written(name), ends)));
        }
        Effect::HashDelete { fields, .. } => put_gone(more, db, record, fields.names().filter(has)),
        Effect::HashExpire { fields, .. } => {
            let ends: Vec<_> = fields.deadlines().filter(|(name, _)| has(name)).collect();
            if !ends.is_empty() {
                effect::put_hash_expire(more, db, record, ends.into_iter());
            }
        }
        Effect::Set { change: SetChange::Remove(members), .. }
        | Effect::SortedSet { change: SortedSetChange::Remove(members), .. } => {
            put_gone(more, db, record, members.names().filter(has));
        }
        Effect::SortedSet { change: SortedSetChange::Put(members), .. } => {
            put_written(more, db, record, members.scored().map(|(name, _)| (name, written(name), None)));
        }
        // A member that is there already is not written again, and one that is not has no version yet.
        Effect::Set { change: SetChange::Add(_), .. }
        | Effect::Revise { .. }
        | Effect::FlushDb
        | Effect::SwapDbs { .. } => {}
    }
}

fn put_written<'e>(
    more: &mut Vec<u8>,
    db: u8,
    record: &[u8],
    elements: impl Iterator<Item = (&'e [u8], Option<Vec<u8>>, Option<TimeMs>)>,
) {
    let known: Vec<_> = elements.filter_map(|(name, version, ends)| Some((name, version?, ends))).collect();
    if !known.is_empty() {
        let fields = known.iter().map(|(name, version, ends)| (*name, &version[..], *ends));
        effect::put_hash_set(more, db, record, fields);
    }
}

fn put_gone<'e>(more: &mut Vec<u8>, db: u8, record: &[u8], names: impl Iterator<Item = &'e [u8]>) {
    let names: Vec<&[u8]> = names.collect();
    if !names.is_empty() {
        effect::put_hash_delete(more, db, record, names.into_iter());
    }
}
