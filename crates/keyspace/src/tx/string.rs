//! Strings in a transaction, and how the bytes of a large one are had once.
//!
//! ```text
//! receive buffer   … │ the value │ …            lent by the connection
//!                         ▲   ▲   ▲
//!                    entry ┘   │   └ replies that show it
//!                            record: effects │ the value apart
//! ```
//!
//! A string of [`SHARED_BYTES_MIN`] or more is held as [`SharedBytes`]. Where its command lent the buffer that the
//! argument lies in, that buffer is what the key holds. Its effect is encoded but for these bytes, which the journal
//! takes from where they lie; as soon as another effect follows in the same partition they are put behind after all.
//!
//! Deliberately not here: numbers and bits in strings, which commands make of patches.

use super::parts::Part;
use super::{Stop, Tx};
use crate::effect;
use crate::elements::records_db;
use crate::entry::{EntryRef, Stored};
use crate::value::{Kind, SHARED_BYTES_MIN, Value, as_integer};
use base::number::{NumberText, format_i64};
use base::{SharedBytes, TimeMs, Version};
use std::sync::Arc;

/// A string value as a command sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Str<'a> {
    /// Its bytes.
    Bytes(&'a [u8]),
    /// The integer it is the canonical decimal form of.
    Int(i64),
}

/// The bytes of a [`Str`], formatted where it is an integer.
pub enum StrBytes<'a> {
    /// As they lie in the entry.
    Bytes(&'a [u8]),
    /// Formatted.
    Text(NumberText),
}

impl std::ops::Deref for StrBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            StrBytes::Bytes(bytes) => bytes,
            StrBytes::Text(text) => text.as_bytes(),
        }
    }
}

impl AsRef<[u8]> for StrBytes<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<'a> Str<'a> {
    /// The string with these bytes: an integer where they are its canonical decimal form.
    #[inline]
    pub fn of(bytes: &'a [u8]) -> Self {
        as_integer(bytes).map_or(Str::Bytes(bytes), Str::Int)
    }

    /// The string's bytes.
    pub fn bytes(self) -> StrBytes<'a> {
        match self {
            Str::Bytes(bytes) => StrBytes::Bytes(bytes),
            Str::Int(number) => StrBytes::Text(format_i64(number)),
        }
    }
}

/// A string that goes out as it is.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// One to be copied.
    Str(Str<'a>),
    /// One so large that it is rather shared.
    Shared(&'a SharedBytes),
}

#[inline]
fn str_of(stored: Stored<'_>) -> Str<'_> {
    match stored {
        Stored::Inline(bytes) => Str::Bytes(bytes),
        Stored::Boxed(Value::Bytes(bytes)) => Str::Bytes(bytes),
        Stored::Int(number) => Str::Int(number),
        Stored::Spilled | Stored::Boxed(_) => unreachable!("a resident string has one of these forms"),
    }
}

#[inline]
fn shown_of(entry: EntryRef<'_>) -> Shown<'_> {
    match entry.stored() {
        Stored::Boxed(Value::Bytes(bytes)) if SHARED_BYTES_MIN <= bytes.len() => Shown::Shared(bytes),
        stored => Shown::Str(str_of(stored)),
    }
}

impl Tx<'_> {
    /// The string at `key`.
    ///
    /// # Errors
    /// `WrongType` when the key holds something else; `Spilled`.
    #[inline]
    pub fn string(&mut self, key: &[u8]) -> Result<Option<Str<'_>>, Stop> {
        Ok(self.string_entry(key)?.map(|entry| str_of(entry.stored())))
    }

    /// As [`Tx::string`], for who passes it on whole.
    #[inline]
    pub fn string_to_show(&mut self, key: &[u8]) -> Result<Option<Shown<'_>>, Stop> {
        Ok(self.string_entry(key)?.map(shown_of))
    }

    /// As [`Tx::string_to_show`], with the version that the key was last changed at.
    #[inline]
    pub fn string_and_version(&mut self, key: &[u8]) -> Result<Option<(Shown<'_>, Version)>, Stop> {
        Ok(self.string_entry(key)?.map(|entry| {
            let version = entry.version();
            (shown_of(entry), version)
        }))
    }

    #[inline]
    fn string_entry(&mut self, key: &[u8]) -> Result<Option<EntryRef<'_>>, Stop> {
        let Some(found) = self.find(key) else { return Ok(None) };
        if found.kind != Kind::String {
            return Err(Stop::WrongType);
        }
        self.ensure_resident(key, found)?;
        Ok(Some(self.entry(found)))
    }

    /// Makes `key` a string that ends at `expires`, whatever it was.
    #[inline]
    pub fn put_string(&mut self, key: &[u8], value: &[u8], expires: Option<TimeMs>) {
        if SHARED_BYTES_MIN <= value.len() {
            return self.put_large(key, value, expires);
        }
        let part = self.part_of(key);
        if self.interests.wants_events() {
            self.foretell(part, key);
        }
        let stamp = self.stamp(part);
        let db = self.parts[part].guard.physical(self.db);
        let changed = &mut self.parts[part];
        changed.begin_effect(self.spare);
        let Part { guard, effects, effect_count, single_put, has_puts, .. } = changed;
        let start = effects.len();
        effect::put_string(effects, db, key, expires, value);
        let place = guard.put_string(db, key, expires, value, &stamp);
        *single_put = (*effect_count == 1).then_some((db, place));
        *has_puts = true;
        if self.interests.follows_records() {
            self.follow(part, db, start);
        }
        self.signal(part, key);
    }

    /// What large values among the arguments lie in, so that they are shared with the keys they are put at.
    pub fn lend(&mut self, source: &Arc<Vec<u8>>) {
        self.rare().source = Some(Arc::clone(source));
    }

    /// As [`Tx::put_string`] of a large one.
    #[cold]
    fn put_large(&mut self, key: &[u8], value: &[u8], expires: Option<TimeMs>) {
        let source = self.rare.as_ref().and_then(|rare| rare.source.as_ref());
        let shared = source.and_then(|source| SharedBytes::within(source, value));
        let shared = shared.unwrap_or_else(|| SharedBytes::from(value.to_vec()));
        let part = self.part_of(key);
        if self.interests.wants_events() {
            self.foretell(part, key);
        }
        let stamp = self.stamp(part);
        let db = self.parts[part].guard.physical(self.db);
        let follows = self.interests.follows_records() && !self.parts[part].guard.index(records_db(db)).is_empty();
        let changed = &mut self.parts[part];
        changed.begin_effect(self.spare);
        let Part { guard, effects, effect_count, single_put, has_puts, apart } = changed;
        let start = effects.len();
        if *effect_count == 1 && !follows {
            effect::put_string_head(effects, db, key, expires, value.len());
            *apart = Some(shared.clone());
        } else {
            effect::put_string(effects, db, key, expires, value);
        }
        let place = guard.put_large(db, key, expires, shared, &stamp);
        *single_put = (*effect_count == 1).then_some((db, place));
        *has_puts = true;
        if follows {
            self.follow(part, db, start);
        }
        self.signal(part, key);
    }

    /// Overwrites bytes of a string from `offset`, growing it with zeros; creates it when absent.
    ///
    /// # Errors
    /// As [`Tx::string`]; nothing was changed.
    pub fn patch_string(&mut self, key: &[u8], offset: usize, bytes: &[u8]) -> Result<(), Stop> {
        self.ensure_kind(key, Kind::String)?;
        self.change(key, |out, db| effect::put_patch(out, db, key, offset as u64, bytes));
        Ok(())
    }
}

impl Part<'_> {
    /// Puts a value that lies apart from its effect behind it, before another effect follows.
    #[inline]
    pub(super) fn join_apart(&mut self) {
        if let Some(value) = self.apart.take() {
            self.effects.extend_from_slice(&value);
        }
    }
}
