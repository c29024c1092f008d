//! The image of a list: the bytes from which it is rebuilt whole, in the journal and in checkpoints.
//!
//! ```text
//! image    count:varint | count × element
//! element  bytes:varint element
//! ```
//!
//! The same for both forms, and the reader picks the form anew. Deliberately without a version or a checksum of
//! its own: whatever file an image lies in has both.

use super::{End, List};
use crate::tx::Str;
use base::codec::{put_bytes, put_varint};
use base::{Reader, Truncated};

impl List {
    /// Appends the image of the list.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        self.for_each(|element| put_bytes(out, &element.bytes()));
    }

    /// Rebuilds a list from its image.
    ///
    /// # Errors
    /// The bytes end before the last element does, or go on behind it.
    pub fn decode(image: &[u8]) -> Result<List, Truncated> {
        let mut reader = Reader::new(image);
        let mut list = List::new();
        for _ in 0..reader.varint()? {
            list.push(End::Back, Str::of(reader.bytes()?)); // Takes a byte at least, so the loop ends with the bytes.
        }
        if reader.is_empty() { Ok(list) } else { Err(Truncated) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image_of(list: &List) -> Vec<u8> {
        let mut image = Vec::new();
        list.encode(&mut image);
        image
    }

    #[test]
    fn an_image_gives_the_list_back_and_every_cut_is_refused() {
        let mut list = List::new();
        let long = vec![b'l'; 300];
        for element in [&b"a"[..], b"", b"17", b"-3", b"007", &long] {
            list.push(End::Back, Str::of(element));
        }
        let image = image_of(&list);
        assert_eq!(List::decode(&image), Ok(list));
        for cut in 0..image.len() {
            assert!(List::decode(&image[..cut]).is_err(), "cut at {cut}");
        }
        assert!(List::decode(&[&image[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused_at_once() {
        let mut image = Vec::new();
        put_varint(&mut image, u64::MAX);
        assert!(List::decode(&image).is_err());
    }
}
