//! The image of a sorted set: the bytes from which it is rebuilt whole, in the journal and in checkpoints.
//!
//! ```text
//! image    count:varint | count × member
//! member   member_bytes:varint member | score:f64 little-endian
//! ```
//!
//! The same for both forms, in the order of the set; the reader picks the form anew. Deliberately without a version or
//! a checksum of its own: whatever file an image lies in has both.

use super::{Scored, SortedSet};
use base::codec::{put_bytes, put_varint};
use base::{Reader, Truncated};
use std::fmt;

/// Why bytes are not the image of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// They end before the last member does, or a length runs past what a member can have.
    Truncated,
    /// They go on behind the last member.
    Trailing,
    /// A member is there twice.
    Duplicate,
    /// A score is not a number.
    NotANumber,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::Truncated => write!(f, "the image of a sorted set ends in the middle of a member"),
            ImageError::Trailing => write!(f, "the image of a sorted set goes on behind its last member"),
            ImageError::Duplicate => write!(f, "the image of a sorted set has a member twice"),
            ImageError::NotANumber => write!(f, "the image of a sorted set has a score that is not a number"),
        }
    }
}

impl std::error::Error for ImageError {}

impl From<Truncated> for ImageError {
    fn from(_: Truncated) -> Self {
        ImageError::Truncated
    }
}

/// Appends the image of a set of these members, which must differ and number `count`; in order, it is read back faster.
pub fn encode_image<'m>(out: &mut Vec<u8>, count: usize, members: impl Iterator<Item = Scored<'m>>) {
    put_varint(out, count as u64);
    for scored in members {
        put_bytes(out, scored.member);
        out.extend_from_slice(&scored.score.to_le_bytes());
    }
}

impl SortedSet {
    /// Appends the image of the set.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_image(out, self.len(), self.iter());
    }

    /// Rebuilds a set from its image, which must fill `image` exactly.
    ///
    /// Foreign bytes are welcome: nothing is allocated on their word, only for members that are there.
    ///
    /// # Errors
    /// The bytes are not the image of a sorted set.
    pub fn decode(image: &[u8]) -> Result<SortedSet, ImageError> {
        let mut reader = Reader::new(image);
        let mut set = SortedSet::new();
        for _ in 0..reader.varint()? {
            let member = reader.bytes()?;
            let score = f64::from_le_bytes(reader.array()?);
            if u32::try_from(member.len()).is_err() {
                return Err(ImageError::Truncated);
            }
            if score.is_nan() {
                return Err(ImageError::NotANumber);
            }
            if set.set(member, score).is_some() {
                return Err(ImageError::Duplicate);
            }
        }
        if reader.is_empty() { Ok(set) } else { Err(ImageError::Trailing) }
    }
}
