//! hustcache's store: values and hashes in memory, with an end of life, that go when room is needed. Nothing of it is
//! journaled, and no other door sees it.
//!
//! ```text
//! young ── half of the limit is reached ──► old ── it happens again ──► gone
//!   ▲                                        │
//!   └───────────── looked at ◄───────────────┘
//! ```
//!
//! Two generations stand for the order in which keys were used: what was not looked at while the young one filled goes
//! with the old one. That keeps about the most recently used half of what there is room for, at the cost of a move.
//!
//! Deliberately not: exact least-recently-used order, a timer. What has ended is absent, and goes when it is looked at or
//! its generation does.
//!
//! Invariant: a key is in one generation; neither has more than half of the limit, but for the last value put.

use base::TimeMs;
use base::decimal::Decimal;
use base::number::{format_i64, parse_i64};
use std::collections::HashMap;

/// Longest key, name of a hash or of a field.
pub const KEY_BYTES_MAX: usize = 65_536;
/// Longest value.
pub const VALUE_BYTES_MAX: usize = 8 << 20;
/// Memory of an entry or a field beside its bytes, about.
const FRAME_BYTES: usize = 96;

type Fields = HashMap<Box<[u8]>, Box<[u8]>>;

#[derive(Debug)]
enum Value {
    Bytes(Vec<u8>),
    Fields(Fields),
}

#[derive(Debug)]
struct Entry {
    value: Value,
    expires: Option<TimeMs>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Generation {
    entries: HashMap<Box<[u8]>, Entry>,
    bytes: usize,
}

impl Generation {
    fn take(&mut self, key: &[u8]) -> Option<(Box<[u8]>, Entry)> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.bytes -= entry.bytes;
        Some((key, entry))
    }

    fn put(&mut self, key: Box<[u8]>, entry: Entry) {
        self.bytes += entry.bytes;
        if let Some(old) = self.entries.insert(key, entry) {
            self.bytes -= old.bytes;
        }
    }
}

/// Why something cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not there, or not of the kind that was asked for, or no number.
    Absent,
    /// It is larger than a key or a value may be.
    TooLarge,
}

/// A generation that went: to be freed where nobody waits.
#[derive(Debug)]
#[must_use]
pub struct Gone(#[expect(dead_code, reason = "it is only dropped")] Generation);

/// See the module's text.
#[derive(Debug, Default)]
pub struct Store {
    young: Generation,
    old: Generation,
}

impl Store {
    /// Lets the young generation grow old when it has more than half of `bytes_max`. To be called after each change.
    pub fn settle(&mut self, bytes_max: usize) -> Option<Gone> {
        if self.young.bytes <= bytes_max / 2 {
            return None;
        }
        let young = std::mem::take(&mut self.young);
        if bytes_max < young.bytes {
            // One hash that grows is always young.
            self.old = Generation::default();
            return Some(Gone(young));
        }
        Some(Gone(std::mem::replace(&mut self.old, young)))
    }

    /// The entry of a key that has not ended, made young.
    fn find(&mut self, key: &[u8], now: TimeMs) -> Option<&mut Entry> {
        if !self.young.entries.contains_key(key) {
            let (key, entry) = self.old.take(key)?;
            self.young.put(key, entry);
        }
        if self.young.entries.get(key)?.expires.is_some_and(|at| at <= now) {
            self.young.take(key);
            return None;
        }
        self.young.entries.get_mut(key)
    }

    /// Replaces what a key has.
    fn put_entry(&mut self, key: &[u8], value: Value, expires: Option<TimeMs>) {
        self.old.take(key);
        let value_bytes = match &value {
            Value::Bytes(bytes) => bytes.len(),
            Value::Fields(fields) => fields.iter().map(|(name, value)| field_bytes(name, value)).sum(),
        };
        let bytes = FRAME_BYTES + key.len() + value_bytes;
        self.young.put(key.into(), Entry { value, expires, bytes });
    }

    /// Whether a key is there.
    pub fn has(&mut self, key: &[u8], now: TimeMs) -> bool {
        self.find(key, now).is_some()
    }

    /// The value of a key; `None` also for a hash.
    pub fn value(&mut self, key: &[u8], now: TimeMs) -> Option<&[u8]> {
        match &self.find(key, now)?.value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Fields(_) => None,
        }
    }

    /// Seconds that a key has left, -1 where it does not end.
    pub fn seconds_left(&mut self, key: &[u8], now: TimeMs) -> Option<i64> {
        Some(self.find(key, now)?.expires.map_or(-1, |at| (at.0 - now.0 + 500) / 1000))
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// `TooLarge`.
    pub fn put(&mut self, key: &[u8], value: &[u8], expires: Option<TimeMs>) -> Result<(), Refusal> {
        ensure_size(&[key], value.len())?;
        self.put_entry(key, Value::Bytes(value.to_vec()), expires);
        Ok(())
    }

    /// Adds to the end of a value, which comes to be if it is not there.
    ///
    /// # Errors
    /// `TooLarge`; `Absent` where a hash is.
    pub fn append(&mut self, key: &[u8], more: &[u8], now: TimeMs) -> Result<(), Refusal> {
        let (mut value, expires) = match self.find(key, now) {
            None => (Vec::new(), None),
            Some(Entry { value: Value::Bytes(bytes), expires, .. }) => (bytes.clone(), *expires),
            Some(_) => return Err(Refusal::Absent),
        };
        ensure_size(&[key], value.len() + more.len())?;
        value.extend_from_slice(more);
        self.put_entry(key, Value::Bytes(value), expires);
        Ok(())
    }

    /// Removes a key. Returns whether it was there.
    pub fn remove(&mut self, key: &[u8], now: TimeMs) -> bool {
        self.has(key, now) && self.young.take(key).is_some()
    }

    /// Sets when a key ends. Returns whether it is there.
    pub fn set_expires(&mut self, key: &[u8], expires: Option<TimeMs>, now: TimeMs) -> bool {
        let found = self.find(key, now);
        found.map(|entry| entry.expires = expires).is_some()
    }

    fn fields(&mut self, tb: &[u8], now: TimeMs) -> Option<&Fields> {
        match &self.find(tb, now)?.value {
            Value::Fields(fields) => Some(fields),
            Value::Bytes(_) => None,
        }
    }

    /// The value of a field.
    pub fn field(&mut self, tb: &[u8], name: &[u8], now: TimeMs) -> Option<&[u8]> {
        self.fields(tb, now)?.get(name).map(|value| &value[..])
    }

    /// Sets a field; the hash comes to be if it is not there.
    ///
    /// # Errors
    /// `TooLarge`; `Absent` where something else than a hash is.
    pub fn put_field(&mut self, tb: &[u8], name: &[u8], value: &[u8], now: TimeMs) -> Result<(), Refusal> {
        ensure_size(&[tb, name], value.len())?;
        if !self.has(tb, now) {
            self.put_entry(tb, Value::Fields(Fields::new()), None);
        }
        let entry = self.young.entries.get_mut(tb).ok_or(Refusal::Absent)?;
        let Value::Fields(fields) = &mut entry.value else { return Err(Refusal::Absent) };
        let added = field_bytes(name, value);
        let old = fields.insert(name.into(), value.into());
        let removed = old.map_or(0, |old| field_bytes(name, &old));
        entry.bytes = entry.bytes + added - removed;
        self.young.bytes = self.young.bytes + added - removed;
        Ok(())
    }

    /// Removes a field, and the hash with its last one. Returns whether it was there.
    pub fn remove_field(&mut self, tb: &[u8], name: &[u8], now: TimeMs) -> bool {
        let Some(Entry { value: Value::Fields(fields), bytes, .. }) = self.find(tb, now) else { return false };
        let Some(value) = fields.remove(name) else { return false };
        let removed = field_bytes(name, &value);
        *bytes -= removed;
        let is_empty = fields.is_empty();
        self.young.bytes -= removed;
        if is_empty {
            self.young.take(tb);
        }
        true
    }

    /// Adds an integer to a field; an absent one counts as 0. Returns the sum's text.
    ///
    /// # Errors
    /// `Absent`: the field or the increment is no integer, or the sum is none.
    pub fn increment(&mut self, tb: &[u8], name: &[u8], by: &[u8], now: TimeMs) -> Result<Vec<u8>, Refusal> {
        self.change_number(tb, name, now, |value| {
            let sum = parse_i64(value.unwrap_or(b"0"))?.checked_add(parse_i64(by)?)?;
            Some(format_i64(sum).as_bytes().to_vec())
        })
    }

    /// As [`Store::increment`] with decimal numbers.
    ///
    /// # Errors
    /// As there.
    pub fn increment_decimal(&mut self, tb: &[u8], name: &[u8], by: &[u8], now: TimeMs) -> Result<Vec<u8>, Refusal> {
        let by = Decimal::parse(by).filter(Decimal::is_finite).ok_or(Refusal::Absent)?;
        self.change_number(tb, name, now, |value| Some(Decimal::parse(value.unwrap_or(b"0"))?.sum(&by)?.to_text()))
    }

    fn change_number(
        &mut self,
        tb: &[u8],
        name: &[u8],
        now: TimeMs,
        sum: impl FnOnce(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Refusal> {
        let text = sum(self.field(tb, name, now)).ok_or(Refusal::Absent)?;
        self.put_field(tb, name, &text, now)?;
        Ok(text)
    }
}

fn field_bytes(name: &[u8], value: &[u8]) -> usize {
    FRAME_BYTES + name.len() + value.len()
}

fn ensure_size(keys: &[&[u8]], value_bytes: usize) -> Result<(), Refusal> {
    let fits = keys.iter().all(|key| key.len() <= KEY_BYTES_MAX) && value_bytes <= VALUE_BYTES_MAX;
    if fits { Ok(()) } else { Err(Refusal::TooLarge) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimeMs = TimeMs(1_000);

    /// What the generations say of their memory is what their entries say.
    fn ensure_counted(store: &Store) {
        for generation in [&store.young, &store.old] {
            assert_eq!(generation.bytes, generation.entries.values().map(|entry| entry.bytes).sum::<usize>());
            for (key, entry) in &generation.entries {
                let value = match &entry.value {
                    Value::Bytes(bytes) => bytes.len(),
                    Value::Fields(fields) => fields.iter().map(|(name, value)| field_bytes(name, value)).sum(),
                };
                assert_eq!(entry.bytes, FRAME_BYTES + key.len() + value);
            }
        }
    }

    #[test]
    fn values_are_there_until_they_end() {
        let mut store = Store::default();
        assert_eq!(store.put(b"k", b"v", Some(TimeMs(3_000))), Ok(()));
        assert_eq!(store.value(b"k", NOW), Some(&b"v"[..]));
        assert_eq!(store.seconds_left(b"k", NOW), Some(2));
        assert_eq!(store.append(b"k", b"w", NOW), Ok(()));
        assert_eq!(store.value(b"k", TimeMs(2_999)), Some(&b"vw"[..]));
        assert!(!store.has(b"k", TimeMs(3_000)));
        assert!(!store.set_expires(b"k", None, NOW), "what has ended is gone");
        assert_eq!(store.append(b"k", b"x", NOW), Ok(()));
        assert_eq!(store.seconds_left(b"k", NOW), Some(-1));
        assert!(store.remove(b"k", NOW) && !store.remove(b"k", NOW));
        ensure_counted(&store);
    }

    #[test]
    fn hashes_go_with_their_last_field_and_count() {
        let mut store = Store::default();
        assert_eq!(store.put_field(b"t", b"f", b"1", NOW), Ok(()));
        assert_eq!(store.increment(b"t", b"f", b"-3", NOW), Ok(b"-2".to_vec()));
        assert_eq!(store.increment_decimal(b"t", b"f", b"0.5", NOW), Ok(b"-1.5".to_vec()));
        assert_eq!(store.increment(b"t", b"f", b"1", NOW), Err(Refusal::Absent));
        assert_eq!(store.increment(b"t", b"g", b"x", NOW), Err(Refusal::Absent));
        assert_eq!(store.value(b"t", NOW), None);
        assert_eq!(store.append(b"t", b"x", NOW), Err(Refusal::Absent));
        ensure_counted(&store);
        assert!(store.remove_field(b"t", b"f", NOW) && !store.has(b"t", NOW));
        assert_eq!(store.put(b"v", b"1", None), Ok(()));
        assert_eq!(store.put_field(b"v", b"f", b"1", NOW), Err(Refusal::Absent));
        assert!(!store.remove_field(b"v", b"f", NOW));
        ensure_counted(&store);
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut store = Store::default();
        for number in 0..1_000_u32 {
            assert_eq!(store.put(&number.to_le_bytes(), &[0; 100], None), Ok(()));
            drop(store.settle(20_000));
            assert!(store.has(&0_u32.to_le_bytes(), NOW), "it is used all the time");
            drop(store.settle(20_000));
            assert!(store.young.bytes <= 10_000 && store.old.bytes <= 10_400);
        }
        ensure_counted(&store);
        assert!(store.has(&999_u32.to_le_bytes(), NOW) && !store.has(&1_u32.to_le_bytes(), NOW));
    }

    #[test]
    fn sizes_are_bounded() {
        let (mut store, long) = (Store::default(), vec![0; KEY_BYTES_MAX + 1]);
        assert_eq!(store.put(&long, b"v", None), Err(Refusal::TooLarge));
        assert_eq!(store.put_field(b"t", &long, b"v", NOW), Err(Refusal::TooLarge));
        assert_eq!(store.put(b"k", &vec![0; VALUE_BYTES_MAX], None), Ok(()));
        assert_eq!(store.append(b"k", b"x", NOW), Err(Refusal::TooLarge));
        assert!(!store.has(b"t", NOW));
    }
}
