//! Versions of elements in a transaction: reading and setting them, and having them follow every other change.
//! See [`crate::elements`].

use super::parts::Part;
use super::{Found, Stop, Tx};
use crate::effect::sorted_set::{SortedSetChange, put_sorted_set_remove};
use crate::effect::{self, Effect, SetChange};
use crate::elements::{ELEMENTS_DB, Element, decode_version, encode_version, record_name, version_after};
use crate::entry::Stored;
use crate::hash::Hash;
use crate::library::LIBRARY_DB;
use crate::partition::has_ended;
use crate::value::{Kind, Value};
use base::{Reader, TimeMs};

/// Bytes that follow one change; more would have to fit its record beside it, and the key's record goes instead.
const FOLLOWING_BYTES_MAX: usize = 16 << 20;
/// Bytes that name the records of a database that is flushed, in each partition: they all go into one record.
const FLUSH_BYTES_MAX: usize = 64 << 10;

impl Tx<'_> {
    /// What is known of an element of the hash, set or sorted set at `key` in the selected database, ended or not.
    ///
    /// # Errors
    /// `Spilled`, `Unreadable`.
    pub fn element(&mut self, key: &[u8], name: &[u8]) -> Result<Option<Element>, Stop> {
        let (part, record) = self.record_of(key);
        let Some(found) = self.record(part, &record)? else { return Ok(None) };
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
        let (part, record) = self.record_of(key);
        let is_new = self.record(part, &record)?.is_none();
        let ends = self.peek(key).and_then(|found| self.entry(found).expires());
        self.keyspace.follow_elements();
        self.interests = self.interests.with_elements();
        let version = encode_version(element.version);
        let field = [(name, &version[..], element.expires)];
        self.change_alone(part, |out| effect::put_hash_set(out, ELEMENTS_DB, &record, field.into_iter()));
        if is_new && ends.is_some() {
            self.change_alone(part, |out| effect::put_expire(out, ELEMENTS_DB, &record, ends));
        }
        Ok(())
    }

    fn record_of(&self, key: &[u8]) -> (usize, Vec<u8>) {
        let part = self.part_of(key);
        (part, record_name(self.parts[part].guard.physical(self.db), key))
    }

    /// Finds a record and has it in memory.
    fn record(&mut self, part: usize, record: &[u8]) -> Result<Option<Found>, Stop> {
        let Some((found, _)) = self.peek_at(part, ELEMENTS_DB, record) else { return Ok(None) };
        self.ensure_resident(record, found)?;
        Ok(Some(found))
    }

    fn record_hash(&self, found: Found) -> &Hash {
        match self.entry(found).stored() {
            Stored::Boxed(Value::Hash(hash)) => hash,
            _ => unreachable!("a record is a hash, and this one was found in memory"),
        }
    }

    /// Does for records what follows from the effects of a partition from byte `start` on.
    ///
    /// # Cost
    /// A look-up where a key has no record; nothing where a partition has none.
    #[cold]
    pub(super) fn follow(&mut self, part: usize, start: usize) {
        if !self.parts[part].guard.index(ELEMENTS_DB).is_empty() {
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
            match db {
                ELEMENTS_DB => self.follow_end(part, &effect, &mut more),
                LIBRARY_DB => {}
                _ => self.follow_effect(part, db, &effect, &mut more),
            }
            self.apply_following(part, &more);
            following.extend_from_slice(&more);
        }
        effects.extend_from_slice(&following);
        self.parts[part].effects = effects;
    }

    fn apply_following(&mut self, part: usize, more: &[u8]) {
        let stamp = self.stamp(part);
        let Part { guard, effect_count, single_put, .. } = &mut self.parts[part];
        let mut reader = Reader::new(more);
        while !reader.is_empty() {
            let (db, effect) = Effect::decode(&mut reader).expect("an effect made here decodes");
            guard.apply(db, &effect, &stamp).expect("an effect made here applies");
            *effect_count += 1;
            *single_put = None;
        }
    }

    /// A key was changed.
    fn follow_effect(&mut self, part: usize, db: u8, effect: &Effect<'_>, more: &mut Vec<u8>) {
        let Some(key) = effect.key() else {
            if matches!(effect, Effect::FlushDb) {
                let index = self.parts[part].guard.index(ELEMENTS_DB);
                let is_of_db = |record: &[u8]| record.first() == Some(&db);
                let mut are_all_of_db = true;
                index.each(|entry| {
                    if !is_of_db(entry.key()) {
                        are_all_of_db = false;
                    } else if more.len() <= FLUSH_BYTES_MAX {
                        effect::put_delete(more, ELEMENTS_DB, entry.key());
                    }
                });
                // Of many tables each would have to be named: all records go then, those of other databases too.
                if are_all_of_db || FLUSH_BYTES_MAX < more.len() {
                    more.clear();
                    effect::put_flush(more, ELEMENTS_DB);
                }
            }
            return;
        };
        let record = record_name(db, key);
        let found = self.record(part, &record).expect("what was begun reads on the spot");
        let Some(found) = found else { return };
        let horizon = self.horizon;
        put_following(effect, &record, self.record_hash(found), horizon, more);
        if FOLLOWING_BYTES_MAX < more.len() {
            more.clear();
            effect::put_delete(more, ELEMENTS_DB, &record);
        }
    }

    /// The timer removed elements that have ended. Members of sets go with them; fields go by themselves.
    fn follow_end(&mut self, part: usize, effect: &Effect<'_>, more: &mut Vec<u8>) {
        let Effect::HashDelete { key: record, fields } = effect else { return };
        let (db, key) = record.split_first().expect("a record's name begins with a database");
        let Some((found, _)) = self.peek_at(part, *db, key) else { return };
        let names: Vec<&[u8]> = fields.names().collect();
        if !matches!(found.kind, Kind::Set | Kind::SortedSet) {
            return;
        }
        self.ensure_resident(key, found).expect("what was begun reads on the spot");
        match found.kind {
            Kind::Set => effect::put_set_remove(more, *db, key, names.into_iter()),
            _ => put_sorted_set_remove(more, *db, key, names.into_iter()),
        }
    }
}

/// Writes what follows for a key's record from a change of the key.
fn put_following(effect: &Effect<'_>, record: &[u8], elements: &Hash, horizon: TimeMs, more: &mut Vec<u8>) {
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
        | Effect::Stream { .. } => effect::put_delete(more, ELEMENTS_DB, record),
        Effect::Expire { expires, .. } => effect::put_expire(more, ELEMENTS_DB, record, *expires),
        Effect::HashSet { fields, .. } => {
            put_written(more, record, fields.triples().map(|(name, _, ends)| (name, written(name), ends)));
        }
        Effect::HashDelete { fields, .. } => put_gone(more, record, fields.names().filter(has)),
        Effect::HashExpire { fields, .. } => {
            let ends: Vec<_> = fields.deadlines().filter(|(name, _)| has(name)).collect();
            if !ends.is_empty() {
                effect::put_hash_expire(more, ELEMENTS_DB, record, ends.into_iter());
            }
        }
        Effect::Set { change: SetChange::Remove(members), .. }
        | Effect::SortedSet { change: SortedSetChange::Remove(members), .. } => {
            put_gone(more, record, members.names().filter(has));
        }
        Effect::SortedSet { change: SortedSetChange::Put(members), .. } => {
            put_written(more, record, members.scored().map(|(name, _)| (name, written(name), None)));
        }
        // A member that is there already is not written again, and one that is not has no version yet.
        Effect::Set { change: SetChange::Add(_), .. } | Effect::FlushDb | Effect::SwapDbs { .. } => {}
    }
}

fn put_written<'e>(
    more: &mut Vec<u8>,
    record: &[u8],
    elements: impl Iterator<Item = (&'e [u8], Option<Vec<u8>>, Option<TimeMs>)>,
) {
    let known: Vec<_> = elements.filter_map(|(name, version, ends)| Some((name, version?, ends))).collect();
    if !known.is_empty() {
        let fields = known.iter().map(|(name, version, ends)| (*name, &version[..], *ends));
        effect::put_hash_set(more, ELEMENTS_DB, record, fields);
    }
}

fn put_gone<'e>(more: &mut Vec<u8>, record: &[u8], names: impl Iterator<Item = &'e [u8]>) {
    let names: Vec<&[u8]> = names.collect();
    if !names.is_empty() {
        effect::put_hash_delete(more, ELEMENTS_DB, record, names.into_iter());
    }
}
