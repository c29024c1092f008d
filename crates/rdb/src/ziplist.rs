//! Ziplist: the listpack's predecessor, in which each element states the size of the one before it.
//!
//! Layout, little-endian: `bytes:u32 tail:u32 count:u16 element… 0xff`, where `tail` is the offset of the last
//! element and a count of 65535 means "walk to know". An element is `previous head data`; `previous` is one byte, or
//! 0xfe and a `u32`.
//! ```text
//! 00xxxxxx           string of x bytes                 11110000 3 bytes    int, 24 bits
//! 01xxxxxx y         string of xy bytes                11000000 2 bytes    int, 16 bits
//! 10000000 n:u32be   string of n bytes                 11010000 4 bytes    int, 32 bits
//! 1111xxxx           int x - 1, x in 1..=13            11100000 8 bytes    int, 64 bits
//! 11111110 1 byte    int, 8 bits                       11111111            end
//! ```
//! Read only: nothing since Redis 7.0 writes it.

use crate::DumpError;
use crate::element::Element;
use crate::intset::sign_extended;
use base::Reader;

const END: u8 = 0xff;
const PREVIOUS_LONG: u8 = 0xfe;
const COUNT_UNKNOWN: u16 = u16::MAX;

const BROKEN: DumpError = DumpError::BadFormat("ziplist is malformed");

/// Walks a ziplist, checking everything it passes; the first error ends the walk.
pub(crate) struct ZiplistReader<'a> {
    reader: Reader<'a>,
    stated_bytes: usize,
    tail_offset: usize,
    left_count: Option<u16>,
    previous_bytes: usize,
    done: bool,
}

impl<'a> ZiplistReader<'a> {
    /// Checks the head of `bytes`, which must be one ziplist and nothing else.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, DumpError> {
        let mut reader = Reader::new(bytes);
        let stated_bytes = reader.u32()? as usize;
        let tail_offset = reader.u32()? as usize;
        let count = reader.u16()?;
        if stated_bytes != bytes.len() {
            return Err(BROKEN);
        }
        let left_count = (count != COUNT_UNKNOWN).then_some(count);
        Ok(ZiplistReader { reader, stated_bytes, tail_offset, left_count, previous_bytes: 0, done: false })
    }

    fn offset(&self) -> usize {
        self.stated_bytes - self.reader.rest().len()
    }

    fn step(&mut self) -> Result<Option<Element<'a>>, DumpError> {
        if self.reader.rest().first() == Some(&END) {
            return self.finish();
        }
        if let Some(left_count) = &mut self.left_count {
            *left_count = left_count.checked_sub(1).ok_or(BROKEN)?;
        }
        let start = self.offset();
        if previous(&mut self.reader)? != self.previous_bytes {
            return Err(BROKEN);
        }
        let element = element(&mut self.reader)?;
        self.previous_bytes = self.offset() - start;
        Ok(Some(element))
    }

    fn finish(&self) -> Result<Option<Element<'a>>, DumpError> {
        let whole = self.reader.rest().len() == 1 && self.left_count.unwrap_or(0) == 0;
        let tail_holds = self.previous_bytes == 0 || self.tail_offset + self.previous_bytes == self.offset();
        if whole && tail_holds { Ok(None) } else { Err(BROKEN) }
    }
}

impl<'a> Iterator for ZiplistReader<'a> {
    type Item = Result<Element<'a>, DumpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let step = self.step();
        self.done = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

fn previous(reader: &mut Reader<'_>) -> Result<usize, DumpError> {
    match reader.u8()? {
        PREVIOUS_LONG => Ok(reader.u32()? as usize),
        bytes => Ok(usize::from(bytes)),
    }
}

fn element<'a>(reader: &mut Reader<'a>) -> Result<Element<'a>, DumpError> {
    let head = reader.u8()?;
    let int_bytes = match head {
        0..0x40 => return Ok(Element::Bytes(reader.take(usize::from(head))?)),
        0x40..0x80 => {
            let count = usize::from(head & 0x3f) << 8 | usize::from(reader.u8()?);
            return Ok(Element::Bytes(reader.take(count)?));
        }
        0x80 => {
            let count = u32::from_be_bytes(reader.array()?) as usize;
            return Ok(Element::Bytes(reader.take(count)?));
        }
        0xf1..=0xfd => return Ok(Element::Int(i64::from(head & 0x0f) - 1)),
        0xfe => 1,
        0xc0 => 2,
        0xf0 => 3,
        0xd0 => 4,
        0xe0 => 8,
        _ => return Err(BROKEN),
    };
    Ok(Element::Int(sign_extended(reader.take(int_bytes)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ziplist of `elements`, each given as `head data`.
    fn ziplist(elements: &[&[u8]]) -> Vec<u8> {
        let mut body = Vec::new();
        let (mut tail, mut previous_bytes) = (10, 0);
        for element in elements {
            tail = 10 + body.len();
            if previous_bytes < 254 {
                body.push(previous_bytes as u8);
            } else {
                body.push(PREVIOUS_LONG);
                body.extend((previous_bytes as u32).to_le_bytes());
            }
            body.extend_from_slice(element);
            previous_bytes = 10 + body.len() - tail;
        }
        let mut out = (body.len() as u32 + 11).to_le_bytes().to_vec();
        out.extend((tail as u32).to_le_bytes());
        out.extend((elements.len() as u16).to_le_bytes());
        out.extend(body);
        out.push(END);
        out
    }

    fn elements(bytes: &[u8]) -> Result<Vec<Element<'_>>, DumpError> {
        ZiplistReader::open(bytes)?.collect()
    }

    #[test]
    fn the_example_of_two_small_integers_reads() {
        let bytes = [0x0f, 0, 0, 0, 0x0c, 0, 0, 0, 2, 0, 0, 0xf3, 2, 0xf6, 0xff];
        assert_eq!(elements(&bytes), Ok(vec![Element::Int(2), Element::Int(5)]));
        assert_eq!(ziplist(&[&[0xf3], &[0xf6]]), bytes);
    }

    #[test]
    fn every_form_reads() {
        let long = [&[0x41, 0x2c][..], &[b'y'; 300]].concat();
        let longest = [&[0x80, 0, 0, 0x40, 0][..], &[b'z'; 0x4000]].concat();
        let bytes = ziplist(&[
            &[2, b'h', b'i'],
            &long,
            &longest,
            &[0xfe, 0x80],
            &[0xc0, 0, 0x80],
            &[0xf0, 0xff, 0xff, 0x7f],
            &[0xd0, 0, 0, 0, 0x80],
            &[0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80],
            &[0xf1],
            &[0xfd],
        ]);
        let ints = [-128, -0x8000, 0x7f_ffff, -0x8000_0000, i64::MIN, 0, 12].map(Element::Int);
        let strings = [&b"hi"[..], &[b'y'; 300], &[b'z'; 0x4000]].map(Element::Bytes);
        assert_eq!(elements(&bytes), Ok([&strings[..], &ints].concat()));
    }

    #[test]
    fn every_cut_and_every_wrong_head_is_refused() {
        let whole = ziplist(&[&[2, b'h', b'i'], &[0xf3]]);
        for cut in 0..whole.len() {
            let mut bytes = whole[..cut].to_vec();
            assert!(elements(&bytes).is_err());
            if let Some(stated) = bytes.first_chunk_mut::<4>() {
                *stated = (cut as u32).to_le_bytes();
                assert!(elements(&bytes).is_err(), "cut at {cut} with a matching size");
            }
        }
        for at in 0..11 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(elements(&bytes).is_err(), "flip at {at}");
        }
    }
}
