//! How many bytes of each journal segment are still somebody's home: what merge goes by.

use crate::entry::Home;
use journal::Position;

/// Live bytes by segment.
#[derive(Debug, Default)]
pub struct LiveBytes {
    first: u32,
    bytes: std::collections::VecDeque<u64>,
}

/// The segment that a home lies in.
pub fn segment_of(home: Home) -> u32 {
    Position::unpack(home.0).segment.0
}

impl LiveBytes {
    /// Counts a home in. Homes that are not known are nobody's segment.
    pub fn add(&mut self, home: Home, bytes: u64) {
        if !home.is_known() {
            return;
        }
        let segment = segment_of(home);
        if self.bytes.is_empty() {
            self.first = segment;
        }
        while segment < self.first {
            self.bytes.push_front(0);
            self.first -= 1;
        }
        let index = (segment - self.first) as usize;
        if self.bytes.len() <= index {
            self.bytes.resize(index + 1, 0);
        }
        self.bytes[index] += bytes;
    }

    /// Counts a home out that was counted in with the same bytes.
    pub fn remove(&mut self, home: Home, bytes: u64) {
        if !home.is_known() {
            return;
        }
        let index = (segment_of(home) - self.first) as usize;
        assert!(bytes <= self.bytes[index], "a home must be counted in before it is counted out");
        self.bytes[index] -= bytes;
        while self.bytes.front() == Some(&0) {
            self.bytes.pop_front();
            self.first += 1;
        }
    }

    /// Calls `each(segment, bytes)` for every segment with live bytes.
    pub fn each(&self, each: &mut impl FnMut(u32, u64)) {
        for (index, bytes) in self.bytes.iter().enumerate().filter(|(_, bytes)| **bytes > 0) {
            each(self.first + index as u32, *bytes);
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
}
