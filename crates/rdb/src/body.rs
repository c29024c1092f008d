//! The body of a payload while it is being decoded: where we are in it, and how much memory the value may still
//! take.
//!
//! Compression makes small payloads large: LZF expands 88-fold, and each two-byte element then becomes a `Vec` of
//! its own. So everything that is kept is charged first, and a value that would cost too much is refused before its
//! memory is asked for.

use crate::element::Element;
use crate::{DumpError, string};
use base::Reader;
use std::borrow::Cow;

/// Charged for each kept string beyond its bytes: its place in a vector that grows by doubling, its allocation's
/// rounding, and its share of the search for duplicates.
const KEPT_BYTES: usize = 128;

/// A cursor over the body, and the memory left.
pub(crate) struct Body<'a> {
    reader: Reader<'a>,
    left_bytes: usize,
}

impl<'a> Body<'a> {
    /// Starts at the first byte; the value may take `bytes_max` of memory.
    pub(crate) fn new(bytes: &'a [u8], bytes_max: usize) -> Self {
        Body { reader: Reader::new(bytes), left_bytes: bytes_max }
    }

    /// Whether everything has been read.
    pub(crate) fn is_empty(&self) -> bool {
        self.reader.is_empty()
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DumpError> {
        Ok(self.reader.array()?)
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DumpError> {
        Ok(self.reader.take(count)?)
    }

    /// The next length.
    pub(crate) fn length(&mut self) -> Result<u64, DumpError> {
        string::length(&mut self.reader)
    }

    /// The next string, to look into; expanding it is charged.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, [u8]>, DumpError> {
        let string = string::string(&mut self.reader, self.left_bytes)?;
        if let Cow::Owned(expanded) = &string {
            self.charge(expanded.len())?;
        }
        Ok(string)
    }

    /// The next string, to keep.
    pub(crate) fn kept_string(&mut self) -> Result<Vec<u8>, DumpError> {
        let string = self.string()?;
        self.charge(KEPT_BYTES + string.len())?;
        Ok(string.into_owned())
    }

    /// `element`, to keep.
    pub(crate) fn keep(&mut self, element: Element<'_>) -> Result<Vec<u8>, DumpError> {
        self.charge(KEPT_BYTES + element.bytes_max())?;
        Ok(element.into_bytes())
    }

    /// Allows for `bytes` of memory about to be taken.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), DumpError> {
        let left_bytes = self.left_bytes.checked_sub(bytes).ok_or(string::TOO_LARGE)?;
        self.left_bytes = left_bytes;
        Ok(())
    }

    /// A length and that many of what `one` reads. Grows as they turn up: the length proves nothing.
    pub(crate) fn counted<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Result<T, DumpError>,
    ) -> Result<Vec<T>, DumpError> {
        let count = self.length()?;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(one(self)?);
        }
        Ok(all)
    }
}
