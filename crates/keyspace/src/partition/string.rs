//! Strings in a partition: where their bytes are kept, and changing them in place.
//!
//! Deliberately not here: numbers. What is the canonical form of an integer is kept as one, and a change of it is a put.

use super::{Applied, Partition, Stamp};
use crate::entry::{Home, Payload, STRING_BYTES_MAX, Stored};
use crate::table::Place;
use crate::value::{Kind, SHARED_BYTES_MIN, Value, as_integer};
use base::{SharedBytes, TimeMs, Truncated};

/// Strings up to this length are kept in their key's block even when changed in place; longer ones move into a
/// growable buffer, so that APPEND stays amortised.
const PATCHED_INLINE_BYTES_MAX: usize = 512;

fn string_payload(value: &[u8]) -> Payload<'_> {
    match as_integer(value) {
        Some(number) => Payload::Int(number),
        None => Payload::Inline(value),
    }
}

/// As [`string_payload`], of any length.
pub(super) fn payload_of(value: &[u8]) -> Payload<'_> {
    if value.len() < SHARED_BYTES_MIN {
        return string_payload(value);
    }
    shared_payload(SharedBytes::from(value.to_vec()))
}

pub(super) fn shared_payload<'a>(value: SharedBytes) -> Payload<'a> {
    let image_bytes = u32::try_from(value.len()).expect("a string has at most STRING_BYTES_MAX");
    Payload::Boxed { value: Box::new(Value::Bytes(value)), image_bytes }
}

impl Partition {
    /// A string that is not large as a single `PutString` of the hot path, without going through `Effect`.
    #[inline]
    pub fn put_string(&mut self, db: u8, key: &[u8], expires: Option<TimeMs>, value: &[u8], stamp: &Stamp) -> Place {
        self.put_at(db, key, string_payload(value), expires, stamp)
    }

    /// As [`Partition::put_string`] of a large one.
    pub fn put_large(
        &mut self,
        db: u8,
        key: &[u8],
        expires: Option<TimeMs>,
        value: SharedBytes,
        stamp: &Stamp,
    ) -> Place {
        self.put_at(db, key, shared_payload(value), expires, stamp)
    }

    pub(super) fn patch(
        &mut self,
        db: u8,
        key: &[u8],
        offset: usize,
        bytes: &[u8],
        stamp: &Stamp,
    ) -> Result<Applied, Truncated> {
        let end = offset.checked_add(bytes.len()).filter(|end| *end <= STRING_BYTES_MAX).ok_or(Truncated)?;
        let place = self.find_current(db, key, stamp);
        if let Some(place) = place
            && self.index(db).entry(place).kind() == Kind::String
            && self.patch_boxed(db, place, offset, end, bytes)
        {
            self.mark(db, place, stamp);
            return Ok(Applied::default());
        }
        let old = place.map(|place| self.index(db).entry(place));
        let mut value = old.as_ref().map_or_else(Vec::new, |entry| match entry.stored() {
            Stored::Inline(bytes) => bytes.to_vec(),
            Stored::Int(number) => base::number::format_i64(number).as_bytes().to_vec(),
            Stored::Boxed(Value::Bytes(bytes)) => bytes.to_vec(),
            // A value that is not at hand can only be met while replaying towards a state that has it replaced.
            Stored::Spilled | Stored::Boxed(_) => Vec::new(),
        });
        let expires = old.and_then(|entry| entry.expires());
        if value.len() < end {
            value.resize(end, 0);
        }
        value[offset..end].copy_from_slice(bytes);
        let unhomed = Stamp { home: Home::NONE, ..*stamp };
        Ok(if value.len() <= PATCHED_INLINE_BYTES_MAX {
            self.put(db, key, string_payload(&value), expires, &unhomed)
        } else {
            let value = Box::new(Value::Bytes(SharedBytes::from(value)));
            self.put(db, key, Payload::Boxed { value, image_bytes: 0 }, expires, &unhomed)
        })
    }

    fn patch_boxed(&mut self, db: u8, place: Place, offset: usize, end: usize, bytes: &[u8]) -> bool {
        let this = &mut self.dbs[usize::from(db)];
        if !matches!(this.index.entry(place).stored(), Stored::Boxed(Value::Bytes(_))) {
            return false;
        }
        this.forget_home(place);
        this.index.change_value(place, |value| {
            if let Value::Bytes(value) = value {
                value.change(|value| {
                    if value.len() < end {
                        value.resize(end, 0);
                    }
                    value[offset..end].copy_from_slice(bytes);
                });
            }
        });
        true
    }
}
