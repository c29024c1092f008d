//! Byte vectors in which the elements of small collections lie packed: making room in them.
//!
//! Deliberately not here: what lies in them.
//!
//! Invariant: a vector that was changed here has room for an eighth of its bytes more at most, or, after it has shrunk,
//! for as many again.

/// Allocations are rounded to this, as allocators do anyway.
const CAPACITY_STEP_BYTES: usize = 16;

/// Makes the `old_bytes` at `at` into `new_bytes`, moving what follows; new bytes are anything.
///
/// # Cost
/// A move of what follows, and an allocation when the room does not fit: growing by doubling would waste a quarter of
/// the memory of most collections.
pub(crate) fn resize(bytes: &mut Vec<u8>, at: usize, old_bytes: usize, new_bytes: usize) {
    let end = bytes.len();
    if old_bytes < new_bytes {
        let end_new = end + (new_bytes - old_bytes);
        if bytes.capacity() < end_new {
            bytes.reserve_exact(capacity_for(end_new) - end);
        }
        bytes.resize(end_new, 0);
        bytes.copy_within(at + old_bytes..end, at + new_bytes);
    } else if new_bytes < old_bytes {
        bytes.copy_within(at + old_bytes.., at + new_bytes);
        bytes.truncate(end - (old_bytes - new_bytes));
        if bytes.len() < bytes.capacity() / 2 {
            bytes.shrink_to(capacity_for(bytes.len()));
        }
    }
}

fn capacity_for(bytes: usize) -> usize {
    (bytes + bytes / 8).next_multiple_of(CAPACITY_STEP_BYTES)
}

/// Equality of two names of elements of one collection. They mostly differ in length or at their end (`field:17`), so
/// the last byte is looked at before the rest.
#[inline]
pub(crate) fn same_name(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.last() == other.last() && one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_before_and_behind_a_place_stays_however_it_is_resized() {
        for (old_bytes, new_bytes) in (0..40).flat_map(|old| (0..40).map(move |new| (old, new))) {
            let mut bytes = [&b"head"[..], &vec![b'x'; old_bytes], b"tail"].concat();
            resize(&mut bytes, 4, old_bytes, new_bytes);
            assert_eq!(bytes.len(), 8 + new_bytes);
            assert_eq!((&bytes[..4], &bytes[4 + new_bytes..]), (&b"head"[..], &b"tail"[..]));
        }
    }

    #[test]
    fn room_follows_the_bytes_up_and_down() {
        let mut bytes = Vec::new();
        for end in 1..2_000 {
            resize(&mut bytes, 0, 0, 1);
            assert!(bytes.capacity() <= end + end / 8 + CAPACITY_STEP_BYTES, "{end}: {}", bytes.capacity());
        }
        while bytes.len() > 8 {
            resize(&mut bytes, 0, 1, 0);
            assert!(bytes.capacity() <= 2 * bytes.len() + CAPACITY_STEP_BYTES, "{}: {}", bytes.len(), bytes.capacity());
        }
    }
}
