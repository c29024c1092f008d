//! Lengths and strings, the two atoms every RDB body is made of.
//!
//! A length by its first byte:
//! ```text
//! 00xxxxxx                     6 bits
//! 01xxxxxx y                   14 bits, big-endian
//! 10000000 4 bytes             32 bits, big-endian
//! 10000001 8 bytes             64 bits, big-endian
//! 11xxxxxx                     no length: a string in special form x follows
//! ```
//! A string is a length and that many bytes, or a special form: 0, 1, 2 is the decimal form of a little-endian
//! `i8`, `i16`, `i32`; 3 is LZF: `packed:length expanded:length bytes`.

use crate::element::canonical_int;
use crate::{DumpError, intset, lzf};
use base::Reader;
use std::borrow::Cow;

/// The value would take more memory than it may.
pub(crate) const TOO_LARGE: DumpError = DumpError::BadFormat("value takes too much memory");

/// Longest decimal form that special integers are tried for, as in Redis: "-2147483648".
const INT_DIGITS_MAX: usize = 11;

pub(crate) const FORM_LZF: u8 = 3;

/// What the first byte of a string announces.
pub(crate) enum Head {
    Length(u64),
    Form(u8),
}

/// Bytes of the length, or of the form, that starts with `first`.
#[inline]
pub(crate) fn head_bytes(first: u8) -> usize {
    match (first >> 6, first & 0x3f) {
        (1, _) => 2,
        (2, 0) => 5,
        (2, 1) => 9,
        _ => 1,
    }
}

/// The length, or the form, that stands next.
#[inline]
pub(crate) fn head(reader: &mut Reader<'_>) -> Result<Head, DumpError> {
    let first = reader.u8()?;
    let low = first & 0x3f;
    Ok(match (first >> 6, low) {
        (0, _) => Head::Length(u64::from(low)),
        (1, _) => Head::Length(u64::from(low) << 8 | u64::from(reader.u8()?)),
        (2, 0) => Head::Length(u64::from(u32::from_be_bytes(reader.array()?))),
        (2, 1) => Head::Length(u64::from_be_bytes(reader.array()?)),
        (2, _) => return Err(DumpError::BadFormat("length has an unknown width")),
        _ => Head::Form(low),
    })
}

/// The next length.
pub(crate) fn length(reader: &mut Reader<'_>) -> Result<u64, DumpError> {
    match head(reader)? {
        Head::Length(length) => Ok(length),
        Head::Form(_) => Err(DumpError::BadFormat("a length was expected where a string form stands")),
    }
}

/// The next string, borrowed when it is stored as it is; a compressed one may expand to `expanded_bytes_max`.
pub(crate) fn string<'a>(reader: &mut Reader<'a>, expanded_bytes_max: usize) -> Result<Cow<'a, [u8]>, DumpError> {
    match head(reader)? {
        Head::Length(length) => Ok(Cow::Borrowed(take(reader, length)?)),
        Head::Form(form @ 0..=2) => {
            let int = intset::sign_extended(reader.take(1 << form)?);
            Ok(Cow::Owned(int.to_string().into_bytes()))
        }
        Head::Form(FORM_LZF) => lzf_string(reader, expanded_bytes_max).map(Cow::Owned),
        Head::Form(_) => Err(DumpError::BadFormat("string has an unknown form")),
    }
}

fn lzf_string(reader: &mut Reader<'_>, expanded_bytes_max: usize) -> Result<Vec<u8>, DumpError> {
    let packed_bytes = length(reader)?;
    let expanded_bytes = usize::try_from(length(reader)?).ok().filter(|bytes| *bytes <= expanded_bytes_max);
    lzf::expand(take(reader, packed_bytes)?, expanded_bytes.ok_or(TOO_LARGE)?)
}

fn take<'a>(reader: &mut Reader<'a>, count: u64) -> Result<&'a [u8], DumpError> {
    let count = usize::try_from(count).map_err(|_| DumpError::BadFormat("length is beyond any payload"))?;
    Ok(reader.take(count)?)
}

/// Appends a length in its shortest form.
pub(crate) fn put_length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
        0x4000..=0xffff_ffff => {
            out.push(0x80);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// Appends `bytes` as a string, in a special integer form where one exists.
pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    match small_int(bytes) {
        Some(int) => put_int(out, int),
        None => put_raw(out, bytes),
    }
}

/// Appends `bytes` behind their length.
pub(crate) fn put_raw(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn small_int(bytes: &[u8]) -> Option<i32> {
    if INT_DIGITS_MAX < bytes.len() {
        return None;
    }
    canonical_int(bytes).and_then(|int| i32::try_from(int).ok())
}

fn put_int(out: &mut Vec<u8>, int: i32) {
    let form = if i8::try_from(int).is_ok() {
        0
    } else if i16::try_from(int).is_ok() {
        1
    } else {
        2
    };
    out.push(0xc0 | form);
    out.extend_from_slice(&int.to_le_bytes()[..1 << form]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string_of(bytes: &[u8]) -> Result<Vec<u8>, DumpError> {
        let mut reader = Reader::new(bytes);
        let string = string(&mut reader, 1 << 10)?.into_owned();
        assert!(reader.is_empty(), "a string reads exactly its own bytes");
        Ok(string)
    }

    #[test]
    fn lengths_round_trip_in_their_shortest_form() {
        for (length_value, bytes) in
            [(0, 1), (63, 1), (64, 2), (16383, 2), (16384, 5), (u32::MAX as u64, 5), (1 << 32, 9), (u64::MAX, 9)]
        {
            let mut out = Vec::new();
            put_length(&mut out, length_value);
            assert_eq!(out.len(), bytes);
            assert_eq!(length(&mut Reader::new(&out)), Ok(length_value));
            for cut in 0..out.len() {
                assert!(length(&mut Reader::new(&out[..cut])).is_err());
            }
        }
    }

    #[test]
    fn every_first_byte_is_a_length_a_form_or_refused() {
        for first in 0..=u8::MAX {
            let bytes = [first, 0, 0, 0, 0, 0, 0, 0, 0];
            let is_length = first <= 0x81;
            assert_eq!(length(&mut Reader::new(&bytes)).is_ok(), is_length, "{first:#x}");
        }
    }

    #[test]
    fn integers_take_the_shortest_special_form() {
        for (text, bytes) in [
            ("0", 2),
            ("-128", 2),
            ("127", 2),
            ("128", 3),
            ("-32768", 3),
            ("32768", 5),
            ("-2147483648", 5),
            ("2147483648", 11),
            ("007", 4),
        ] {
            let mut out = Vec::new();
            put_string(&mut out, text.as_bytes());
            assert_eq!(out.len(), bytes, "{text}");
            assert_eq!(string_of(&out).as_deref(), Ok(text.as_bytes()));
        }
    }

    #[test]
    fn compressed_strings_are_read_and_impossible_ones_refused() {
        let packed = [0xc3, 5, 9, 1, b'a', b'b', 5 << 5, 1];
        assert_eq!(string_of(&packed).as_deref(), Ok(&b"ababababa"[..]));
        assert_eq!(string(&mut Reader::new(&packed), 8), Err(TOO_LARGE));
        assert!(string_of(&[0xc3, 0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]).is_err());
        assert!(string_of(&[0xc3, 2, 0x80, 0x7f, 0xff, 0xff, 0xff, 0, b'a']).is_err());
        assert!(string_of(&[0xc4, 0]).is_err(), "an unknown form");
    }
}
