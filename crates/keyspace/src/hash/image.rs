//! The image of a hash: the bytes from which it is rebuilt whole, in the journal and in checkpoints.
//!
//! ```text
//! image   count:varint | count × field
//! field   name_bytes:varint name | value_bytes:varint value | 0:u8, or 1:u8 expires:i64 little-endian
//! ```
//!
//! The same for both forms, and the reader picks the form anew. Deliberately without a version or a checksum of
//! its own: whatever file an image lies in has both.

use super::{Hash, block};
use base::codec::{put_bytes, put_varint};
use base::{Reader, TimeMs, Truncated};
use std::fmt;

const EXPIRES_NOT: u8 = 0;
const EXPIRES_AT: u8 = 1;

/// Why bytes are not the image of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// They end before the last field does, or a length runs past what a field can have.
    Truncated,
    /// They go on behind the last field.
    Trailing,
    /// Two fields have the same name.
    Duplicate,
    /// A field has an expiry of a kind that this release does not know.
    Expiry(u8),
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::Truncated => write!(f, "the image of a hash ends in the middle of a field"),
            ImageError::Trailing => write!(f, "the image of a hash goes on behind its last field"),
            ImageError::Duplicate => write!(f, "the image of a hash has two fields of one name"),
            ImageError::Expiry(kind) => write!(f, "the image of a hash has a field with an expiry of kind {kind}"),
        }
    }
}

impl std::error::Error for ImageError {}

impl From<Truncated> for ImageError {
    fn from(_: Truncated) -> Self {
        ImageError::Truncated
    }
}

impl Hash {
    /// Appends the image of the hash.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        for field in self.iter() {
            put_bytes(out, field.name);
            put_bytes(out, field.value);
            match field.expires {
                None => out.push(EXPIRES_NOT),
                Some(TimeMs(ms)) => {
                    out.push(EXPIRES_AT);
                    out.extend_from_slice(&ms.to_le_bytes());
                }
            }
        }
    }

    /// Rebuilds a hash from its image, which must fill `image` exactly.
    ///
    /// Foreign bytes are welcome: nothing is allocated on their word, only for fields that are there.
    ///
    /// # Errors
    /// The bytes are not the image of a hash.
    pub fn decode(image: &[u8]) -> Result<Hash, ImageError> {
        let mut reader = Reader::new(image);
        let mut hash = Hash::new();
        for _ in 0..reader.varint()? {
            let name = decode_part(&mut reader)?;
            let value = decode_part(&mut reader)?;
            if !hash.set(name, value, decode_expiry(&mut reader)?) {
                return Err(ImageError::Duplicate);
            }
        }
        if reader.is_empty() { Ok(hash) } else { Err(ImageError::Trailing) }
    }
}

/// A name or a value, of a length that a field can have.
fn decode_part<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], ImageError> {
    let part = reader.bytes()?;
    if part.len() <= block::PART_BYTES_MAX { Ok(part) } else { Err(ImageError::Truncated) }
}

fn decode_expiry(reader: &mut Reader<'_>) -> Result<Option<TimeMs>, ImageError> {
    match reader.u8()? {
        EXPIRES_NOT => Ok(None),
        // As effects have it: times before 1970 end at once.
        EXPIRES_AT => Ok(Some(TimeMs(i64::from_le_bytes(reader.array()?).max(0)))),
        kind => Err(ImageError::Expiry(kind)),
    }
}
