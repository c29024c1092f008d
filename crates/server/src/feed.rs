//! What a connection is sent without having asked just now: messages it subscribed to, lines of MONITOR.
//!
//! ```text
//! whoever tells ─► feed (memory) ─► the connection's task: gate ─► socket
//! ```
//!
//! Whoever tells never waits for a slow reader: a feed that outgrows its bounds closes its connection, as
//! `client-output-buffer-limit` says. Bytes count until they are written, not only until the task has taken them.
//!
//! Deliberately not here: what is told, and what it looks like on the wire.
//!
//! Invariants: bytes leave in the order they came in; none leaves before the journal holds as much as it reveals; a feed
//! that overran is empty and stays so.

use journal::Position;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Bytes that may wait for one connection where `client-output-buffer-limit` sets no limit.
pub const FEED_BYTES_MAX: usize = 64 << 20;

/// How much may wait for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes that close it at once.
    pub hard_bytes: usize,
    /// Bytes that close it once they have waited for `soft_ns` without a break.
    pub soft_bytes: usize,
    /// See `soft_bytes`.
    pub soft_ns: u64,
}

impl Bounds {
    /// The bounds that a class of `client-output-buffer-limit` sets, in which 0 is no limit.
    pub fn of_limit(hard_bytes: u64, soft_bytes: u64, soft_seconds: u64) -> Bounds {
        let or = |bytes: u64, none: usize| if bytes == 0 { none } else { usize::try_from(bytes).unwrap_or(usize::MAX) };
        let soft_bytes = if soft_seconds == 0 { 0 } else { soft_bytes };
        Bounds {
            hard_bytes: or(hard_bytes, FEED_BYTES_MAX),
            soft_bytes: or(soft_bytes, usize::MAX),
            soft_ns: soft_seconds.saturating_mul(1_000_000_000),
        }
    }
}

/// Bounds that are changed while they are in use. Who reads them meanwhile may see old and new ones mixed.
#[derive(Debug)]
pub struct SharedBounds {
    hard_bytes: AtomicUsize,
    soft_bytes: AtomicUsize,
    soft_ns: AtomicU64,
}

impl SharedBounds {
    /// Bounds that begin as `bounds`.
    pub fn new(bounds: Bounds) -> Self {
        let Bounds { hard_bytes, soft_bytes, soft_ns } = bounds;
        SharedBounds { hard_bytes: hard_bytes.into(), soft_bytes: soft_bytes.into(), soft_ns: soft_ns.into() }
    }

    /// Changes them.
    pub fn set(&self, bounds: Bounds) {
        self.hard_bytes.store(bounds.hard_bytes, Ordering::Relaxed);
        self.soft_bytes.store(bounds.soft_bytes, Ordering::Relaxed);
        self.soft_ns.store(bounds.soft_ns, Ordering::Relaxed);
    }

    /// As they are now.
    pub fn get(&self) -> Bounds {
        Bounds {
            hard_bytes: self.hard_bytes.load(Ordering::Relaxed),
            soft_bytes: self.soft_bytes.load(Ordering::Relaxed),
            soft_ns: self.soft_ns.load(Ordering::Relaxed),
        }
    }
}

/// What became of bytes that were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// They wait; the task knows that there is something.
    Waits,
    /// They wait, as the first: the task must be woken.
    First,
    /// They were too many: the connection must be closed.
    Overran,
    /// The feed has overrun before.
    Ignored,
}

#[derive(Debug)]
struct State {
    waiting: Vec<u8>,
    /// Bytes that the task has taken and not written yet.
    taken_bytes: usize,
    /// The journal must hold this much before `waiting` may leave.
    revealed: Position,
    /// Since when the soft bound has been exceeded.
    over_since_ns: Option<u64>,
    has_overrun: bool,
}

impl Default for State {
    fn default() -> Self {
        State { waiting: Vec::new(), taken_bytes: 0, revealed: Position::ZERO, over_since_ns: None, has_overrun: false }
    }
}

impl State {
    fn bytes(&self) -> usize {
        self.waiting.len() + self.taken_bytes
    }

    fn is_too_much(&mut self, bounds: Bounds, now_ns: u64) -> bool {
        if self.bytes() <= bounds.soft_bytes {
            self.over_since_ns = None;
        } else {
            self.over_since_ns.get_or_insert(now_ns);
        }
        let is_over_for_long =
            self.over_since_ns.is_some_and(|since_ns| bounds.soft_ns < now_ns.saturating_sub(since_ns));
        bounds.hard_bytes < self.bytes() || is_over_for_long
    }

    fn overrun(&mut self) {
        self.has_overrun = true;
        self.waiting = Vec::new();
    }
}

/// See the module's text.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Feed {
    /// First, and so beside what a client's task looks at anyway.
    is_waiting: AtomicBool,
    state: Mutex<State>,
}

impl Feed {
    /// Adds what `write` appends, which reveals the journal up to `revealed`. `now_ns` is monotonic.
    pub fn tell(&self, bounds: Bounds, now_ns: u64, revealed: Position, write: impl FnOnce(&mut Vec<u8>)) -> Told {
        let state = &mut *self.state.lock();
        if state.has_overrun {
            return Told::Ignored;
        }
        let was_empty = state.waiting.is_empty();
        write(&mut state.waiting);
        state.revealed = state.revealed.max(revealed);
        if state.is_too_much(bounds, now_ns) {
            state.overrun();
            return Told::Overran;
        }
        self.is_waiting.store(true, Ordering::Release);
        if was_empty { Told::First } else { Told::Waits }
    }

    /// Looks whether what waits has become too much by waiting. Returns whether the connection must be closed.
    pub fn overruns(&self, bounds: Bounds, now_ns: u64) -> bool {
        let state = &mut *self.state.lock();
        let overruns = !state.has_overrun && state.is_too_much(bounds, now_ns);
        if overruns {
            state.overrun();
        }
        overruns
    }

    /// Whether the feed was given more than it could hold.
    pub fn has_overrun(&self) -> bool {
        self.state.lock().has_overrun
    }

    /// Whether anything waits. One load.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.is_waiting.load(Ordering::Acquire)
    }

    /// Moves what waits to the end of `out`; returns what it reveals. To be followed by [`Feed::written`].
    pub fn take_into(&self, out: &mut Vec<u8>) -> Position {
        let state = &mut *self.state.lock();
        self.is_waiting.store(false, Ordering::Relaxed);
        state.taken_bytes += state.waiting.len();
        if out.is_empty() {
            std::mem::swap(out, &mut state.waiting);
        } else {
            out.append(&mut state.waiting);
        }
        state.revealed
    }

    /// What was taken has been written.
    pub fn written(&self) {
        self.state.lock().taken_bytes = 0;
    }

    /// Bytes that were told and are not written yet.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { hard_bytes: 10, soft_bytes: 5, soft_ns: 100 };

    fn tell(feed: &Feed, now_ns: u64, bytes: usize) -> Told {
        feed.tell(BOUNDS, now_ns, Position::ZERO, |out| out.resize(out.len() + bytes, b'x'))
    }

    #[test]
    fn bytes_count_until_they_are_written() {
        let (feed, mut out) = (Feed::default(), Vec::new());
        assert_eq!(tell(&feed, 0, 4), Told::First);
        assert_eq!(tell(&feed, 0, 1), Told::Waits);
        assert!(feed.is_waiting());
        feed.take_into(&mut out);
        assert_eq!((out.len(), feed.bytes(), feed.is_waiting()), (5, 5, false));
        assert_eq!(tell(&feed, 0, 5), Told::First);
        feed.written();
        assert_eq!(feed.bytes(), 5);
        assert_eq!(tell(&feed, 0, 6), Told::Overran);
        assert_eq!(tell(&feed, 0, 1), Told::Ignored);
        assert!(feed.has_overrun());
        assert_eq!(feed.bytes(), 0);
    }

    #[test]
    fn too_much_for_too_long_is_noticed_with_and_without_more_of_it() {
        let one = Feed::default();
        assert_eq!(tell(&one, 1000, 6), Told::First);
        assert_eq!(tell(&one, 1100, 1), Told::Waits);
        assert_eq!(tell(&one, 1101, 1), Told::Overran);
        let other = Feed::default();
        tell(&other, 1000, 6);
        assert!(!other.overruns(BOUNDS, 1100));
        assert!(other.overruns(BOUNDS, 1101));
        assert!(!other.overruns(BOUNDS, 1102), "it has already");
    }

    #[test]
    fn who_catches_up_in_between_has_all_the_time_again() {
        let (feed, mut out) = (Feed::default(), Vec::new());
        tell(&feed, 1000, 6);
        feed.take_into(&mut out);
        feed.written();
        assert!(!feed.overruns(BOUNDS, 1050));
        tell(&feed, 1060, 6);
        assert!(!feed.overruns(BOUNDS, 1101));
    }

    #[test]
    fn no_limit_is_a_limit_of_ours() {
        let bounds = Bounds::of_limit(0, 0, 0);
        assert_eq!((bounds.hard_bytes, bounds.soft_bytes), (FEED_BYTES_MAX, usize::MAX));
        assert_eq!(Bounds::of_limit(8, 4, 2), Bounds { hard_bytes: 8, soft_bytes: 4, soft_ns: 2_000_000_000 });
        assert_eq!(Bounds::of_limit(8, 4, 0).soft_bytes, usize::MAX);
    }
}
