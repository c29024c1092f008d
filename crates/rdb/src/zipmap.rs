//! Zipmap: how Redis 2.4 packed small hashes.
//!
//! Layout: `count:u8 (name_length name value_length free:u8 value free_bytes)… 0xff`, where a count of 254 or more
//! means "walk to know" and a length is one byte, or 0xfe and a little-endian `u32`.
//!
//! Read only: nothing since Redis 2.6 writes it.

use crate::DumpError;
use crate::element::Element;
use base::Reader;

const END: u8 = 0xff;
const LONG: u8 = 0xfe;

const BROKEN: DumpError = DumpError::BadFormat("zipmap is malformed");

/// What the walk meets next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Name,
    Value,
    Nothing,
}

/// Walks a zipmap, name and value in turn, checking everything it passes; the first error ends the walk.
pub(crate) struct ZipmapReader<'a> {
    reader: Reader<'a>,
    /// Pairs still to come, when the head said how many there are.
    left_count: Option<u8>,
    next: Next,
}

impl<'a> ZipmapReader<'a> {
    /// Starts at the first byte of `bytes`, which must be one zipmap and nothing else.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, DumpError> {
        let mut reader = Reader::new(bytes);
        let count = reader.u8()?;
        Ok(ZipmapReader { reader, left_count: (count < LONG).then_some(count), next: Next::Name })
    }

    fn name(&mut self) -> Result<Option<Element<'a>>, DumpError> {
        if self.reader.rest().first() == Some(&END) {
            let whole = self.reader.rest().len() == 1 && self.left_count.unwrap_or(0) == 0;
            return if whole { Ok(None) } else { Err(BROKEN) };
        }
        if let Some(left_count) = &mut self.left_count {
            *left_count = left_count.checked_sub(1).ok_or(BROKEN)?;
        }
        let name_bytes = length(&mut self.reader)?;
        Ok(Some(Element::Bytes(self.reader.take(name_bytes)?)))
    }

    fn value(&mut self) -> Result<Option<Element<'a>>, DumpError> {
        let value_bytes = length(&mut self.reader)?;
        let free_bytes = usize::from(self.reader.u8()?);
        let value = self.reader.take(value_bytes)?;
        self.reader.take(free_bytes)?;
        Ok(Some(Element::Bytes(value)))
    }
}

impl<'a> Iterator for ZipmapReader<'a> {
    type Item = Result<Element<'a>, DumpError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (step, next) = match self.next {
            Next::Name => (self.name(), Next::Value),
            Next::Value => (self.value(), Next::Name),
            Next::Nothing => return None,
        };
        self.next = if matches!(step, Ok(Some(_))) { next } else { Next::Nothing };
        step.transpose()
    }
}

fn length(reader: &mut Reader<'_>) -> Result<usize, DumpError> {
    match reader.u8()? {
        END => Err(BROKEN),
        LONG => Ok(reader.u32()? as usize),
        length => Ok(usize::from(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(bytes: &[u8]) -> Result<Vec<Element<'_>>, DumpError> {
        ZipmapReader::open(bytes)?.collect()
    }

    #[test]
    fn names_values_and_free_space_are_told_apart() {
        let bytes = b"\x02\x03foo\x03\x00bar\x05hello\x05\x02world..\xff";
        let expected = [&b"foo"[..], b"bar", b"hello", b"world"].map(Element::Bytes);
        assert_eq!(elements(bytes), Ok(expected.to_vec()));
        for cut in 0..bytes.len() {
            assert!(elements(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn long_lengths_read_and_wrong_counts_are_refused() {
        let value = [b'v'; 300];
        let body = [&b"\x01k\xfe\x2c\x01\x00\x00\x00"[..], &value, b"\xff"].concat();
        for (count, holds) in [(0, false), (1, true), (2, false), (253, false), (254, true)] {
            let bytes = [&[count], &body[..]].concat();
            assert_eq!(elements(&bytes).is_ok(), holds, "{count}");
        }
    }
}
