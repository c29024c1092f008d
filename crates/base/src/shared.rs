//! Bytes with several owners: a part of a buffer that nobody changes while more than one of them has it.
//!
//! ```text
//! Arc<Vec<u8>>   "*3 $3 SET $1 k $268435456 │ the value │ \r\n"
//! SharedBytes                                start … end
//! ```
//!
//! A large value is received into a buffer once; the keyspace, the record that journals it and the replies that show it
//! share that buffer instead of copying out of it.
//!
//! Deliberately not here: how large is large. For small bytes a copy is cheaper than a counter and a pointer more.
//!
//! Invariants: the part lies in the buffer; a buffer is changed only by its one owner; most of a buffer that is not
//! its owner's own making is the part, so that no small part keeps a large buffer alive.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// A buffer may be larger than its part by one in this many.
const WASTE_PART: usize = 4;

/// See the module's text. A clone is another owner of the same bytes.
#[derive(Clone, Debug)]
pub struct SharedBytes {
    buffer: Arc<Vec<u8>>,
    start: usize,
    end: usize,
}

impl SharedBytes {
    /// The part of `buffer` that `part` is. `None` when it lies elsewhere, or is so little of the buffer that a copy is
    /// better.
    pub fn within(buffer: &Arc<Vec<u8>>, part: &[u8]) -> Option<SharedBytes> {
        let start = part.as_ptr().addr().checked_sub(buffer.as_ptr().addr())?;
        let end = start.checked_add(part.len())?;
        let lies_within = end <= buffer.len();
        (lies_within && is_most(part.len(), buffer)).then(|| SharedBytes { buffer: Arc::clone(buffer), start, end })
    }

    /// The bytes of `buffer` at `part`: where they lie if they are most of it, else copied.
    ///
    /// # Panics
    /// When the part is not in the buffer.
    pub fn part_of(buffer: Vec<u8>, part: Range<usize>) -> SharedBytes {
        assert!(part.start <= part.end, "a part ends after its start");
        assert!(part.end <= buffer.len(), "a part lies in its buffer");
        if is_most(part.len(), &buffer) {
            SharedBytes { buffer: Arc::new(buffer), start: part.start, end: part.end }
        } else {
            SharedBytes::from(buffer[part].to_vec())
        }
    }

    /// Changes the bytes in place, in a buffer that is theirs alone.
    ///
    /// # Cost
    /// Moves them once where the buffer had something before them; copies them where they have another owner.
    pub fn change(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        if 1 < Arc::strong_count(&self.buffer) {
            *self = SharedBytes::from(self.to_vec());
        }
        let buffer = Arc::get_mut(&mut self.buffer).expect("a buffer with one owner gets no other meanwhile");
        buffer.truncate(self.end);
        buffer.drain(..self.start);
        change(buffer);
        (self.start, self.end) = (0, buffer.len());
    }

    /// Heap bytes that the buffer takes, whoever else owns it.
    pub fn heap_bytes(&self) -> usize {
        /// Two counters and a `Vec`.
        const FRAME_BYTES: usize = 2 * size_of::<usize>() + size_of::<Vec<u8>>();
        FRAME_BYTES + self.buffer.capacity()
    }
}

/// Whether `part_bytes` are most of what `buffer` takes.
fn is_most(part_bytes: usize, buffer: &Vec<u8>) -> bool {
    buffer.capacity() - part_bytes <= buffer.capacity() / WASTE_PART
}

impl From<Vec<u8>> for SharedBytes {
    fn from(buffer: Vec<u8>) -> Self {
        let end = buffer.len();
        SharedBytes { buffer: Arc::new(buffer), start: 0, end }
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }
}

impl PartialEq for SharedBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_a_buffer_is_shared_and_little_of_it_is_copied() {
        let buffer = Arc::new(b"0123456789".to_vec());
        let shared = SharedBytes::within(&buffer, &buffer[1..9]).expect("it is most of it");
        assert!(std::ptr::eq(&raw const shared[0], &raw const buffer[1]));
        assert_eq!(&*shared, b"12345678");
        assert_eq!(SharedBytes::within(&buffer, &buffer[1..8]), None);
        assert_eq!(SharedBytes::within(&buffer, b"12345678"), None);
        let part = |part: Range<usize>| {
            let buffer = b"0123456789".to_vec();
            let at = buffer.as_ptr().addr() + part.start;
            let shared = SharedBytes::part_of(buffer, part);
            (shared.as_ptr().addr() == at, shared.to_vec())
        };
        assert_eq!(part(2..10), (true, b"23456789".to_vec()));
        assert_eq!(part(9..10), (false, b"9".to_vec()));
    }

    #[test]
    fn a_change_is_seen_by_the_one_who_made_it_only() {
        let mut one = SharedBytes::part_of(b"<value>".to_vec(), 1..7);
        let at = one.as_ptr().addr();
        one.change(|bytes| bytes.push(b'!'));
        assert_eq!((&*one, one.as_ptr().addr()), (&b"value>!"[..], at - 1));
        let other = one.clone();
        one.change(|bytes| bytes[0] = b'V');
        assert_eq!((&*one, &*other), (&b"Value>!"[..], &b"value>!"[..]));
        assert_eq!((one == other, other == SharedBytes::from(b"value>!".to_vec())), (false, true));
    }

    #[test]
    fn what_is_kept_alive_is_counted() {
        let shared = SharedBytes::from(Vec::with_capacity(1000));
        assert!((1000..1100).contains(&shared.heap_bytes()));
    }
}
