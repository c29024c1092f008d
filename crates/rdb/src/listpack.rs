//! Listpack: elements one after the other, each readable from both ends.
//!
//! Layout, little-endian: `bytes:u32 count:u16 element… 0xff`, where a count of 65535 means "walk to know". An
//! element is `head data back`; `head` says what it is and `back` repeats the bytes of `head data`, most
//! significant seven bits first, every byte but the first with its high bit set, so that a reader can come from
//! the right.
//! ```text
//! 0xxxxxxx                   int, 7 bits unsigned      11110001 2 bytes    int, 16 bits
//! 110xxxxx y                 int, 13 bits signed       11110010 3 bytes    int, 24 bits
//! 10xxxxxx                   string of x bytes         11110011 4 bytes    int, 32 bits
//! 1110xxxx y                 string of xy bytes        11110100 8 bytes    int, 64 bits
//! 11110000 n:u32             string of n bytes         11111111            end
//! ```
//! Source: `listpack.md` by Salvatore Sanfilippo.

use crate::DumpError;
use crate::element::{Element, canonical_int};
use crate::intset::sign_extended;
use crate::string::put_length;
use base::Reader;

const HEAD_BYTES: usize = 6;
const END: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;

const BROKEN: DumpError = DumpError::BadFormat("listpack is malformed");

/// Walks a listpack, checking everything it passes; the first error ends the walk.
pub(crate) struct ListpackReader<'a> {
    reader: Reader<'a>,
    /// Elements still to come, when the head said how many there are.
    left_count: Option<u16>,
    done: bool,
}

impl<'a> ListpackReader<'a> {
    /// Checks the head of `bytes`, which must be one listpack and nothing else.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, DumpError> {
        let mut reader = Reader::new(bytes);
        let stated_bytes = reader.u32()?;
        let count = reader.u16()?;
        if stated_bytes as usize != bytes.len() {
            return Err(BROKEN);
        }
        Ok(ListpackReader { reader, left_count: (count != COUNT_UNKNOWN).then_some(count), done: false })
    }

    /// The next element, which must be there.
    pub(crate) fn element(&mut self) -> Result<Element<'a>, DumpError> {
        self.next().unwrap_or(Err(BROKEN))
    }

    /// The next element, which must be an integer.
    pub(crate) fn int(&mut self) -> Result<i64, DumpError> {
        self.element()?.int().ok_or(BROKEN)
    }

    /// The next element, which must be an integer that is not negative.
    pub(crate) fn natural(&mut self) -> Result<u64, DumpError> {
        u64::try_from(self.int()?).map_err(|_| BROKEN)
    }

    fn step(&mut self) -> Result<Option<Element<'a>>, DumpError> {
        let start = self.reader.rest();
        if start.first() == Some(&END) {
            let complete = start.len() == 1 && self.left_count.unwrap_or(0) == 0;
            return if complete { Ok(None) } else { Err(BROKEN) };
        }
        if let Some(left_count) = &mut self.left_count {
            *left_count = left_count.checked_sub(1).ok_or(BROKEN)?;
        }
        let element = element(&mut self.reader)?;
        let element_bytes = start.len() - self.reader.rest().len();
        let (back, back_bytes) = back(element_bytes);
        if self.reader.take(back_bytes)? == &back[..back_bytes] { Ok(Some(element)) } else { Err(BROKEN) }
    }
}

impl<'a> Iterator for ListpackReader<'a> {
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

fn element<'a>(reader: &mut Reader<'a>) -> Result<Element<'a>, DumpError> {
    let head = reader.u8()?;
    let string_bytes = match head {
        0..0x80 => return Ok(Element::Int(i64::from(head))),
        0xc0..0xe0 => return Ok(Element::Int(int_13(head, reader.u8()?))),
        0xf1..=0xf3 => return Ok(Element::Int(sign_extended(reader.take(usize::from(head) - 0xef)?))),
        0xf4 => return Ok(Element::Int(sign_extended(reader.take(8)?))),
        0x80..0xc0 => usize::from(head & 0x3f),
        0xe0..0xf0 => usize::from(head & 0x0f) << 8 | usize::from(reader.u8()?),
        0xf0 => reader.u32()? as usize,
        0xf5.. => return Err(BROKEN),
    };
    Ok(Element::Bytes(reader.take(string_bytes)?))
}

fn int_13(head: u8, low: u8) -> i64 {
    let bits = i16::from_be_bytes([head & 0x1f, low]);
    i64::from((bits << 3) >> 3)
}

/// `element_bytes` as it stands at the right end of the element, and how many bytes of that count.
fn back(element_bytes: usize) -> ([u8; 5], usize) {
    let groups = (usize::BITS - (element_bytes | 1).leading_zeros()).div_ceil(7) as usize;
    assert!(groups <= 5, "an element fits the 32-bit size of its listpack");
    let mut back = [0; 5];
    for (at, byte) in back[..groups].iter_mut().enumerate() {
        let bits = (element_bytes >> (7 * (groups - 1 - at))) as u8 & 0x7f;
        *byte = if at == 0 { bits } else { bits | 0x80 };
    }
    (back, groups)
}

/// Collects elements and writes them out as one listpack.
#[derive(Default)]
pub(crate) struct ListpackWriter {
    elements: Vec<u8>,
    count: usize,
}

impl ListpackWriter {
    /// Size of the listpack so far.
    pub(crate) fn bytes(&self) -> usize {
        HEAD_BYTES + self.elements.len() + 1
    }

    /// Whether nothing was pushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Starts over, keeping the memory.
    pub(crate) fn clear(&mut self) {
        self.elements.clear();
        self.count = 0;
    }

    /// Adds a string, as an integer when it is one.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match canonical_int(bytes) {
            Some(int) => self.push_int(int),
            None => self.push_bytes(bytes),
        }
    }

    /// Adds an integer in its shortest form.
    pub(crate) fn push_int(&mut self, int: i64) {
        let start = self.elements.len();
        let wide = int.to_le_bytes();
        match int {
            0..=127 => self.elements.push(int as u8),
            -4096..=4095 => self.elements.extend_from_slice(&(0xc000 | int as u16 & 0x1fff).to_be_bytes()),
            -0x8000..=0x7fff => self.push_wide(0xf1, &wide[..2]),
            -0x80_0000..=0x7f_ffff => self.push_wide(0xf2, &wide[..3]),
            -0x8000_0000..=0x7fff_ffff => self.push_wide(0xf3, &wide[..4]),
            _ => self.push_wide(0xf4, &wide),
        }
        self.push_back(start);
    }

    fn push_wide(&mut self, head: u8, data: &[u8]) {
        self.elements.push(head);
        self.elements.extend_from_slice(data);
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        let start = self.elements.len();
        match bytes.len() {
            count @ 0..64 => self.elements.push(0x80 | count as u8),
            count @ 64..4096 => self.elements.extend_from_slice(&(0xe000 | count as u16).to_be_bytes()),
            count => self.push_wide(0xf0, &(count as u32).to_le_bytes()),
        }
        self.elements.extend_from_slice(bytes);
        self.push_back(start);
    }

    fn push_back(&mut self, start: usize) {
        let (back, back_bytes) = back(self.elements.len() - start);
        self.elements.extend_from_slice(&back[..back_bytes]);
        self.count += 1;
    }

    /// Adds the elements of `other`.
    pub(crate) fn append(&mut self, other: &ListpackWriter) {
        self.elements.extend_from_slice(&other.elements);
        self.count += other.count;
    }

    /// Appends the listpack to `out` as an RDB string.
    ///
    /// # Panics
    /// When it is 4 GiB or more, which its size field cannot say.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let bytes = u32::try_from(self.bytes()).expect("a listpack is shorter than 4 GiB");
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        put_length(out, u64::from(bytes));
        out.extend_from_slice(&bytes.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&self.elements);
        out.push(END);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::string::string;

    fn packed(push: impl FnOnce(&mut ListpackWriter)) -> Vec<u8> {
        let mut writer = ListpackWriter::default();
        push(&mut writer);
        let mut out = Vec::new();
        writer.put(&mut out);
        let listpack = string(&mut Reader::new(&out), 0).unwrap().into_owned();
        assert_eq!(listpack.len(), writer.bytes());
        listpack
    }

    fn elements(bytes: &[u8]) -> Result<Vec<Element<'_>>, DumpError> {
        ListpackReader::open(bytes)?.collect()
    }

    #[test]
    fn integers_round_trip_at_the_edges_of_every_form() {
        let edges = [0, 7, 12, 15, 23, 31, 63].map(|bits| 1i64.checked_shl(bits).unwrap());
        for int in edges.into_iter().flat_map(|edge| [edge, edge.wrapping_sub(1), edge.wrapping_neg(), !edge]) {
            let bytes = packed(|writer| writer.push_int(int));
            assert_eq!(elements(&bytes), Ok(vec![Element::Int(int)]), "{int}");
        }
    }

    #[test]
    fn small_forms_have_their_documented_bytes() {
        assert_eq!(packed(|writer| writer.push(b"127")), [9, 0, 0, 0, 1, 0, 127, 1, 0xff]);
        assert_eq!(packed(|writer| writer.push(b"-1")), [10, 0, 0, 0, 1, 0, 0xdf, 0xff, 2, 0xff]);
        assert_eq!(packed(|writer| writer.push(b"hi")), [11, 0, 0, 0, 1, 0, 0x82, b'h', b'i', 3, 0xff]);
    }

    #[test]
    fn strings_round_trip_at_the_edges_of_every_form() {
        for count in [0, 1, 63, 64, 125, 126, 127, 128, 4095, 4096, 16377, 16378, 16379, 1 << 21] {
            let string = vec![b'x'; count];
            let bytes = packed(|writer| writer.push(&string));
            assert_eq!(elements(&bytes), Ok(vec![Element::Bytes(&string)]), "{count}");
        }
    }

    #[test]
    fn more_elements_than_the_count_can_say_are_walked() {
        let bytes = packed(|writer| (0..70_000).for_each(|_| writer.push_int(1)));
        assert_eq!(elements(&bytes).map(|elements| elements.len()), Ok(70_000));
    }

    #[test]
    fn every_cut_and_every_wrong_count_is_refused() {
        let whole = packed(|writer| {
            writer.push(b"abc");
            writer.push_int(5000);
        });
        assert!(elements(&whole).is_ok());
        for cut in 0..whole.len() {
            let mut bytes = whole[..cut].to_vec();
            assert!(elements(&bytes).is_err());
            if let Some(stated) = bytes.first_chunk_mut::<4>() {
                *stated = (cut as u32).to_le_bytes();
                assert!(elements(&bytes).is_err(), "cut at {cut} with a matching size");
            }
        }
        for count in [0u16, 1, 3, 65534] {
            let mut bytes = whole.clone();
            bytes[4..6].copy_from_slice(&count.to_le_bytes());
            assert!(elements(&bytes).is_err());
        }
    }

    #[test]
    fn every_head_byte_is_an_element_the_end_or_refused() {
        for head in 0..=u8::MAX {
            let mut bytes = vec![0, 0, 0, 0, 0xff, 0xff, head];
            bytes.extend([0; 9]);
            let mut reader = Reader::new(&bytes[6..]);
            assert_eq!(
                element(&mut reader).is_ok(),
                head < 0x80
                    || (0xc0..0xe1).contains(&head)
                    || head == 0x80
                    || (0x81..0x8a).contains(&head)
                    || (0xf0..=0xf4).contains(&head),
                "{head:#x}"
            );
        }
    }

    #[test]
    fn a_wrong_back_length_is_refused() {
        let mut bytes = packed(|writer| writer.push(b"abc"));
        let back_at = bytes.len() - 2;
        assert_eq!(bytes[back_at], 4);
        for back in (0..=u8::MAX).filter(|back| *back != 4) {
            bytes[back_at] = back;
            assert!(elements(&bytes).is_err());
        }
    }
}
