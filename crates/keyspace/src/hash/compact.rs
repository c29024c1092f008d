//! A small hash: all fields in one byte vector, found by walking it.
//!
//! ```text
//! field   has expiry:1 name_bytes:7 | value_bytes:8 | name | value | expires:i64?
//! ```
//!
//! At these sizes a walk over neighbouring bytes beats a table (one cache miss instead of three), and costs
//! two bytes a field. Deliberately not sorted and not indexed: see the limits.
//!
//! Invariants: `count` fields, of which `expiring_count` have an expiry, fill `fields` exactly; names differ.

use super::{FIELD_COMPACT_BYTES_MAX, FIELD_COMPACT_COUNT_MAX, Field};
use crate::packed::{resize, same_name};
use base::TimeMs;

const HEAD_BYTES: usize = 2;
const EXPIRY_BYTES: usize = 8;
const EXPIRES_BIT: u8 = 0x80;

const _: () = assert!(FIELD_COMPACT_BYTES_MAX < EXPIRES_BIT as usize, "a length must leave the expiry bit free");
const _: () = assert!(FIELD_COMPACT_COUNT_MAX <= u8::MAX as usize, "the count is kept in a byte");

/// See the module's text.
#[derive(Default)]
pub(super) struct Compact {
    fields: Vec<u8>,
    count: u8,
    expiring_count: u8,
}

/// Where a field lies.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    name_bytes: usize,
    value_bytes: usize,
    expires: bool,
}

impl Span {
    fn value_at(self) -> usize {
        self.start + HEAD_BYTES + self.name_bytes
    }

    fn expiry_at(self) -> usize {
        self.value_at() + self.value_bytes
    }

    fn expiry_bytes(self) -> usize {
        if self.expires { EXPIRY_BYTES } else { 0 }
    }

    fn end(self) -> usize {
        self.expiry_at() + self.expiry_bytes()
    }
}

impl Compact {
    /// All of it as it lies in memory.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.fields
    }

    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        self.fields.capacity()
    }

    pub fn has_expiries(&self) -> bool {
        self.expiring_count != 0
    }

    /// The field that starts at `start`; `None` at the end.
    #[inline]
    fn span(&self, start: usize) -> Option<Span> {
        let [names, value_bytes] = self.fields.get(start..)?.first_chunk::<HEAD_BYTES>()?;
        Some(Span {
            start,
            name_bytes: usize::from(names & !EXPIRES_BIT),
            value_bytes: usize::from(*value_bytes),
            expires: names & EXPIRES_BIT != 0,
        })
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Option<Span> {
        let mut start = 0;
        while let Some(span) = self.span(start) {
            if same_name(&self.fields[start + HEAD_BYTES..span.value_at()], name) {
                return Some(span);
            }
            start = span.end();
        }
        None
    }

    #[inline]
    fn field(&self, span: Span) -> Field<'_> {
        Field {
            name: &self.fields[span.start + HEAD_BYTES..span.value_at()],
            value: &self.fields[span.value_at()..span.expiry_at()],
            expires: span.expires.then(|| self.expiry(span)),
        }
    }

    fn expiry(&self, span: Span) -> TimeMs {
        let mut word = [0; EXPIRY_BYTES];
        word.copy_from_slice(&self.fields[span.expiry_at()..span.end()]);
        TimeMs(i64::from_le_bytes(word))
    }

    pub fn get(&self, name: &[u8]) -> Option<Field<'_>> {
        self.find(name).map(|span| self.field(span))
    }

    /// Sets a field and says whether it is new; `None`, and no change, when the limits leave no room for it.
    pub fn set(&mut self, name: &[u8], value: &[u8], expires: Option<TimeMs>) -> Option<bool> {
        if FIELD_COMPACT_BYTES_MAX < name.len() || FIELD_COMPACT_BYTES_MAX < value.len() {
            return None;
        }
        let old = self.find(name);
        if old.is_none() && self.len() == FIELD_COMPACT_COUNT_MAX {
            return None;
        }
        let end = self.fields.len();
        let (start, old_bytes) = old.map_or((end, 0), |span| (span.start, span.end() - span.start));
        let new = Span { start, name_bytes: name.len(), value_bytes: value.len(), expires: expires.is_some() };
        resize(&mut self.fields, start, old_bytes, new.end() - start);
        self.fields[start + 1] = value.len() as u8;
        self.fields[start + HEAD_BYTES..new.value_at()].copy_from_slice(name);
        self.fields[new.value_at()..new.expiry_at()].copy_from_slice(value);
        self.write_expiry(new, expires);
        self.count += u8::from(old.is_none());
        self.recount_expiring(old.is_some_and(|span| span.expires), expires.is_some());
        Some(old.is_none())
    }

    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(span) = self.find(name) else { return false };
        resize(&mut self.fields, span.start, span.end() - span.start, 0);
        self.count -= 1;
        self.recount_expiring(span.expires, false);
        assert!(self.fields.is_empty() == (self.count == 0), "fields and their count must agree");
        true
    }

    pub fn set_expiry(&mut self, name: &[u8], expires: Option<TimeMs>) -> bool {
        let Some(old) = self.find(name) else { return false };
        let new = Span { expires: expires.is_some(), ..old };
        resize(&mut self.fields, old.expiry_at(), old.expiry_bytes(), new.expiry_bytes());
        self.write_expiry(new, expires);
        self.recount_expiring(old.expires, new.expires);
        true
    }

    /// Writes the first head byte and the expiry of the field at `span`, whose room is made.
    fn write_expiry(&mut self, span: Span, expires: Option<TimeMs>) {
        self.fields[span.start] = span.name_bytes as u8 | if span.expires { EXPIRES_BIT } else { 0 };
        if let Some(TimeMs(ms)) = expires {
            self.fields[span.expiry_at()..span.end()].copy_from_slice(&ms.to_le_bytes());
        }
    }

    fn recount_expiring(&mut self, before: bool, after: bool) {
        self.expiring_count = self.expiring_count + u8::from(after) - u8::from(before);
        assert!(self.expiring_count <= self.count, "only fields have expiries");
    }

    pub fn next_expiry(&self) -> Option<TimeMs> {
        if self.expiring_count == 0 {
            return None;
        }
        self.fields().filter_map(|field| field.expires).min()
    }

    pub fn expired(&self, now: TimeMs) -> impl Iterator<Item = Field<'_>> {
        let expiring = if self.has_expiries() { Some(self.fields()) } else { None };
        expiring.into_iter().flatten().filter(move |field| field.expires.is_some_and(|expires| expires <= now))
    }

    pub fn fields(&self) -> Fields<'_> {
        Fields { compact: self, start: 0 }
    }

    /// Each field equally likely.
    pub fn sample(&self, random: u64) -> Option<Field<'_>> {
        let index = (random >> 8).checked_rem(u64::from(self.count))?;
        self.fields().nth(index as usize)
    }
}

/// All fields, in the order they came to be.
pub(super) struct Fields<'a> {
    compact: &'a Compact,
    start: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let span = self.compact.span(self.start)?;
        self.start = span.end();
        Some(self.compact.field(span))
    }
}
