//! The hash data type: field names with values, each field with an expiry of its own if it wants one.
//!
//! Two forms, one behaviour. While a hash is small it is `compact`: one byte vector. Past a limit it becomes
//! `large`: a table of blocks, and stays so. Deliberately without a clock: a field whose expiry has passed is
//! a field like any other until it is removed, and callers compare.
//!
//! Invariants: names are unique; `bytes` counts what the heap gave; the next expiry is exact.
//!
//! Not done, and why: a large hash that shrinks does not become compact again, because a hash that hovers at a
//! limit would be rebuilt each time (its image gives the compact form when it is next read).

pub(crate) mod block;
mod compact;
mod image;
mod large;
#[cfg(test)]
mod tests;

pub use image::ImageError;

use crate::value::Within;
use base::TimeMs;
use compact::Compact;
use large::Large;
use std::fmt;

/// Most fields of a compact hash.
pub const FIELD_COMPACT_COUNT_MAX: usize = 128;
/// Longest name, and longest value, of a field of a compact hash.
pub const FIELD_COMPACT_BYTES_MAX: usize = 64;

/// A field as it lies in its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name, unique in the hash.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// From when on it counts as absent, if ever.
    pub expires: Option<TimeMs>,
}

/// A hash. See the module's text.
#[derive(Default)]
pub struct Hash {
    form: Form,
}

enum Form {
    Compact(Compact),
    Large(Box<Large>),
}

impl Default for Form {
    fn default() -> Self {
        Form::Compact(Compact::default())
    }
}

const _: () = assert!(size_of::<Hash>() <= 32, "a hash must not outgrow the other values");

impl Hash {
    /// Where its fields lie.
    #[inline]
    pub(crate) fn within(&self) -> Within<'_> {
        match &self.form {
            Form::Compact(compact) => Within::Bytes(compact.as_bytes()),
            Form::Large(large) => Within::Table(large.table()),
        }
    }

    /// An empty hash; allocates nothing.
    pub fn new() -> Self {
        Hash::default()
    }

    /// Number of fields, those included whose expiry has passed and which nobody removed.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.form {
            Form::Compact(compact) => compact.len(),
            Form::Large(large) => large.len(),
        }
    }

    /// Whether there are no fields.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes, the allocator's own overhead left out.
    ///
    /// # Cost
    /// Constant: kept up to date by each change. A large hash's is exact but for its table (within a thousandth
    /// of its entries) and its expiry index (estimated per entry).
    #[inline]
    pub fn bytes(&self) -> usize {
        match &self.form {
            Form::Compact(compact) => compact.bytes(),
            Form::Large(large) => large.bytes(),
        }
    }

    /// Whether the hash is in its small form, which OBJECT ENCODING calls `listpack` (`listpackex` with expiries).
    pub fn is_compact(&self) -> bool {
        matches!(self.form, Form::Compact(_))
    }

    /// The field of that name.
    ///
    /// # Cost
    /// A walk over at most 128 fields, or three cache lines. No allocation.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<Field<'_>> {
        match &self.form {
            Form::Compact(compact) => compact.get(field),
            Form::Large(large) => large.get(field),
        }
    }

    /// Sets value and expiry of a field, whatever they were, and says whether the field is new.
    ///
    /// # Cost
    /// As [`Hash::get`], and an allocation if the room does not fit. The call that crosses a limit of the compact
    /// form moves 128 fields.
    ///
    /// # Panics
    /// When the name or the value is 4 GiB or longer, which no door lets in.
    pub fn set(&mut self, field: &[u8], value: &[u8], expires: Option<TimeMs>) -> bool {
        if let Form::Compact(compact) = &mut self.form
            && let Some(is_new) = compact.set(field, value, expires)
        {
            return is_new;
        }
        self.enlarge().set(field, value, expires)
    }

    /// The large form, which the hash takes if it has not yet.
    fn enlarge(&mut self) -> &mut Large {
        if let Form::Compact(compact) = &self.form {
            let mut large = Box::<Large>::default();
            for field in compact.fields() {
                let is_new = large.set(field.name, field.value, field.expires);
                assert!(is_new, "names are unique in a compact hash");
            }
            self.form = Form::Large(large);
        }
        match &mut self.form {
            Form::Large(large) => large,
            Form::Compact(_) => unreachable!("the form was just made large"),
        }
    }

    /// Removes a field and says whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match &mut self.form {
            Form::Compact(compact) => compact.remove(field),
            Form::Large(large) => large.remove(field),
        }
    }

    /// Gives a field another expiry, or none, and says whether the field is there.
    pub fn set_expiry(&mut self, field: &[u8], expires: Option<TimeMs>) -> bool {
        match &mut self.form {
            Form::Compact(compact) => compact.set_expiry(field, expires),
            Form::Large(large) => large.set_expiry(field, expires),
        }
    }

    /// Whether any field has an expiry.
    #[inline]
    pub fn has_expiries(&self) -> bool {
        match &self.form {
            Form::Compact(compact) => compact.has_expiries(),
            Form::Large(large) => large.has_expiries(),
        }
    }

    /// The earliest expiry of a field, passed or not.
    ///
    /// # Cost
    /// None for a hash without expiries; else a walk over at most 128 fields, or down a tree.
    pub fn next_expiry(&self) -> Option<TimeMs> {
        match &self.form {
            Form::Compact(compact) => compact.next_expiry(),
            Form::Large(large) => large.next_expiry(),
        }
    }

    /// Calls `each` with the names of fields that expired at `now` or before, `limit` of them at most, the
    /// earliest first in a large hash.
    pub fn expired(&self, now: TimeMs, limit: usize, mut each: impl FnMut(&[u8])) {
        match &self.form {
            Form::Compact(compact) => compact.expired(now).take(limit).for_each(|field| each(field.name)),
            Form::Large(large) => large.expired(now).take(limit).for_each(|field| each(field.name)),
        }
    }

    /// Number of fields that expired at `now` or before.
    ///
    /// # Cost
    /// In a large hash in proportion to the answer.
    pub fn count_expired(&self, now: TimeMs) -> usize {
        match &self.form {
            Form::Compact(compact) => compact.expired(now).count(),
            Form::Large(large) => large.expired(now).count(),
        }
    }

    /// All fields: in the order they came to be while compact, in no order else.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        match &self.form {
            Form::Compact(compact) => Fields::Compact(compact.fields()),
            Form::Large(large) => Fields::Large(large.fields()),
        }
    }

    /// One step of a scan: calls `each` with some `count` fields and returns the next cursor. 0 starts, 0 ends.
    ///
    /// A field that is there from the first call to the last is seen at least once. A compact hash is seen
    /// whole in one step, whatever the cursor, so that guarantee outlives a change of form.
    pub fn scan(&self, cursor: u64, count: usize, mut each: impl FnMut(Field<'_>)) -> u64 {
        match &self.form {
            Form::Compact(compact) => {
                compact.fields().for_each(each);
                0
            }
            Form::Large(large) => large.scan(cursor, count, &mut each),
        }
    }

    /// A field picked by `random`, each equally likely; `None` only of an empty hash.
    pub fn sample(&self, random: u64) -> Option<Field<'_>> {
        match &self.form {
            Form::Compact(compact) => compact.sample(random),
            Form::Large(large) => large.sample(random),
        }
    }
}

enum Fields<'a> {
    Compact(compact::Fields<'a>),
    Large(large::Fields<'a>),
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        match self {
            Fields::Compact(fields) => fields.next(),
            Fields::Large(fields) => fields.next(),
        }
    }
}

/// Equal content, whatever the form and the order.
impl PartialEq for Hash {
    fn eq(&self, other: &Hash) -> bool {
        self.len() == other.len() && self.iter().all(|field| other.get(field.name) == Some(field))
    }
}

impl Eq for Hash {}

/// The fields in the order of their names, so that two equal hashes print alike.
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields: Vec<Field<'_>> = self.iter().collect();
        fields.sort_by_key(|field| field.name);
        let entry = |field: Field<'_>| {
            let expires = field.expires.map_or(String::new(), |TimeMs(ms)| format!(" until {ms}"));
            (field.name.escape_ascii().to_string(), format!("{}{expires}", field.value.escape_ascii()))
        };
        f.debug_map().entries(fields.into_iter().map(entry)).finish()
    }
}
