//! The image of a set: the bytes from which it is rebuilt whole, in the journal and in checkpoints.
//!
//! ```text
//! image    count:varint | count × member
//! member   member_bytes:varint member
//! ```
//!
//! The same for all forms, and the reader picks the form anew. Deliberately without a version or a checksum of its own:
//! whatever file an image lies in has both.

use super::Set;
use crate::hash::block::PART_BYTES_MAX;
use base::codec::{put_bytes, put_varint};
use base::{Reader, Truncated};

impl Set {
    /// Appends the image of the set.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        for member in self.iter() {
            put_bytes(out, &member);
        }
    }

    /// Rebuilds a set from its image, which must fill `image` exactly.
    ///
    /// Foreign bytes are welcome: nothing is allocated on their word, only for members that are there.
    ///
    /// # Errors
    /// The bytes are not the image of a set: they end early or late, or a member is there twice.
    pub fn decode(image: &[u8]) -> Result<Set, Truncated> {
        let mut reader = Reader::new(image);
        let mut set = Set::new();
        for _ in 0..reader.varint()? {
            let member = reader.bytes()?;
            if PART_BYTES_MAX < member.len() || !set.add(member) {
                return Err(Truncated);
            }
        }
        if reader.is_empty() { Ok(set) } else { Err(Truncated) }
    }
}
