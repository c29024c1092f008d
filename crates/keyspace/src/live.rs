//! How many bytes of each journal segment are still somebody's home: what merge goes by.

use crate::entry::Home;
use journal::Position;

/// Live bytes by segment, ascending, none of them 0. Segments without any take no memory, whatever their number.
#[derive(Debug, Default)]
pub struct LiveBytes(Vec<(u32, u64)>);

/// The segment that a home lies in.
pub fn segment_of(home: Home) -> u32 {
    Position::unpack(home.0).segment.0
}

impl LiveBytes {
    /// Where `segment` is, or belongs.
    fn search(&self, segment: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&segment, |(segment, _)| *segment)
    }

    /// Counts a home in. Homes that are not known are nobody's segment.
    #[inline]
    pub fn add(&mut self, home: Home, bytes: u64) {
        if !home.is_known() || bytes == 0 {
            return;
        }
        let segment = segment_of(home);
        match self.0.last_mut() {
            // New values lie in the last segment.
            Some((last, live)) if *last == segment => *live += bytes,
            _ => self.add_before(segment, bytes),
        }
    }

    fn add_before(&mut self, segment: u32, bytes: u64) {
        match self.search(segment) {
            Ok(at) => self.0[at].1 += bytes,
            Err(at) => self.0.insert(at, (segment, bytes)),
        }
    }

    /// Counts a home out that was counted in with the same bytes.
    #[inline]
    pub fn remove(&mut self, home: Home, bytes: u64) {
        if !home.is_known() || bytes == 0 {
            return;
        }
        let segment = segment_of(home);
        match self.0.last_mut() {
            Some((last, live)) if *last == segment && bytes < *live => *live -= bytes,
            _ => self.remove_before(segment, bytes),
        }
    }

    fn remove_before(&mut self, segment: u32, bytes: u64) {
        let at = self.search(segment).expect("a home must be counted in before it is counted out");
        let live = &mut self.0[at].1;
        assert!(bytes <= *live, "a home must be counted in before it is counted out");
        *live -= bytes;
        if *live == 0 {
            self.0.remove(at);
        }
    }

    /// Calls `each(segment, bytes)` for every segment with live bytes.
    pub fn each(&self, each: &mut impl FnMut(u32, u64)) {
        for (segment, bytes) in &self.0 {
            each(*segment, *bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(segment: u32) -> Home {
        Home(Position { segment: journal::SegmentId(segment), offset: 64 }.pack())
    }

    #[test]
    fn what_is_added_and_removed_in_any_order_balances() {
        let mut live = LiveBytes::default();
        for segment in [5, 3, 9, 3] {
            live.add(home(segment), 10);
        }
        live.remove(home(5), 10);
        live.add(Home::PENDING, 99);
        let mut seen = Vec::new();
        live.each(&mut |segment, bytes| seen.push((segment, bytes)));
        assert_eq!(seen, [(3, 20), (9, 10)]);
        live.remove(home(3), 20);
        live.remove(home(9), 10);
        live.add(home(1), 1);
        live.each(&mut |segment, bytes| assert_eq!((segment, bytes), (1, 1)));
    }

    #[test]
    fn far_apart_segments_take_no_memory_between_them() {
        let mut live = LiveBytes::default();
        for segment in [journal::SegmentId::MAX.0, 1] {
            live.add(home(segment), 10);
        }
        assert!(live.0.capacity() < 16);
    }
}
