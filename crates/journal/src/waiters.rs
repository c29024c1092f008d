//! Tasks that wait for the durable frontier, whatever runtime they run on.
//!
//! They also tell how large the next group of a shared sync will be: a writer that waits for each of its writes comes
//! back soon after it was woken, so the next group is expected to be everybody who waited when the last one was
//! woken, those whom that sync came too early for included.
//!
//! Of those that the frontier has reached one is woken, and wakes the others when it runs. A waker that is called on
//! its own runtime's thread costs no system call; called on the flusher's, which then has to wake a thread of the runtime
//! that fell asleep again after the task before, nearly each costs one.
//!
//! # Invariants
//! - A task that polled before the frontier passed its position is woken when it does: by the one before it, or, should
//!   that one never run, by the flusher when it next looks.
//! - One entry per task and position: polling again replaces, so entries are bounded by waiting tasks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use crate::position::Position;

#[derive(Default)]
pub(crate) struct Waiters {
    group: Mutex<Group>,
    /// Whether `Group::reached` has somebody: spares who looks the lock.
    has_reached: AtomicBool,
}

#[derive(Default)]
struct Group {
    /// Keyed by position and by the waker's identity.
    waiting: BTreeMap<(u64, usize), Waker>,
    /// Those to be woken.
    reached: Vec<Waker>,
    /// How many are expected to wait before the next sync.
    expected_count: usize,
}

/// What came of wanting to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    /// There is nothing to wait for.
    Done,
    /// The waker will be called, and more such calls are expected before a sync is worth most.
    Early,
    /// The waker will be called; everybody expected is waiting now.
    GroupComplete,
}

impl Waiters {
    /// Registers `waker` unless `done` holds now. `done` is asked under the lock that [`Waiters::reach`] takes after the
    /// frontier moved, so no wake-up is lost.
    pub(crate) fn register(&self, end: Position, waker: &Waker, done: impl FnOnce() -> bool) -> Registered {
        let mut group = self.group.lock();
        if done() {
            return Registered::Done;
        }
        group.waiting.insert((end.to_raw(), waker.data().addr()), waker.clone());
        if group.waiting.len() < group.expected_count { Registered::Early } else { Registered::GroupComplete }
    }

    /// Whether more are expected to wait than do now. Never of a writer that is alone.
    pub(crate) fn is_gathering(&self) -> bool {
        let group = self.group.lock();
        1 < group.expected_count && group.waiting.len() < group.expected_count
    }

    /// The frontier is at `durable`: whoever waits for it or less is to be woken, by [`Waiters::wake_first`] or
    /// [`Waiters::wake_reached`].
    pub(crate) fn reach(&self, durable: Position) {
        let mut group = self.group.lock();
        group.expected_count = group.waiting.len();
        let later = match durable.to_raw().checked_add(1) {
            Some(beyond) => group.waiting.split_off(&(beyond, 0)),
            None => BTreeMap::new(),
        };
        let reached = std::mem::replace(&mut group.waiting, later);
        group.reached.extend(reached.into_values());
        self.has_reached.store(!group.reached.is_empty(), Ordering::Release);
    }

    /// Wakes one of those reached, who then calls [`Waiters::wake_reached`] for the others.
    pub(crate) fn wake_first(&self) {
        if self.has_reached() {
            self.take_first().into_iter().for_each(Waker::wake);
        }
    }

    fn take_first(&self) -> Option<Waker> {
        let mut group = self.group.lock();
        let first = group.reached.pop();
        self.has_reached.store(!group.reached.is_empty(), Ordering::Release);
        first
    }

    /// Wakes everybody who was reached and has not been woken.
    #[inline]
    pub(crate) fn wake_reached(&self) {
        if self.has_reached() {
            self.take_reached().into_iter().for_each(Waker::wake);
        }
    }

    fn take_reached(&self) -> Vec<Waker> {
        let mut group = self.group.lock();
        self.has_reached.store(false, Ordering::Release);
        std::mem::take(&mut group.reached)
    }

    /// Whether somebody who was reached may not have been woken.
    #[inline]
    pub(crate) fn has_reached(&self) -> bool {
        self.has_reached.load(Ordering::Acquire)
    }

    /// Wakes everybody: the answer is no longer the frontier.
    pub(crate) fn wake_all(&self) {
        self.reach(Position::from_raw(u64::MAX));
        self.wake_reached();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;

    use super::*;
    use crate::position::SegmentId;

    fn at(offset: u32) -> Position {
        Position { segment: SegmentId(1), offset }
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn wait(waiters: &Waiters, offset: u32) -> Registered {
        waiters.register(at(offset), Waker::noop(), || false)
    }

    #[test]
    fn the_next_group_is_everybody_who_waited_also_those_that_were_not_reached() {
        let waiters = Waiters::default();
        assert_eq!(wait(&waiters, 8), Registered::GroupComplete);
        assert_eq!(wait(&waiters, 16), Registered::GroupComplete);
        assert_eq!(wait(&waiters, 24), Registered::GroupComplete);
        assert!(!waiters.is_gathering(), "nothing is known about a first group");
        waiters.reach(at(16));
        assert!(waiters.is_gathering(), "two of three are to come back");
        assert_eq!(wait(&waiters, 32), Registered::Early);
        assert!(waiters.is_gathering());
        assert_eq!(wait(&waiters, 40), Registered::GroupComplete);
        assert!(!waiters.is_gathering());
    }

    #[test]
    fn whoever_stays_away_is_not_expected_again() {
        let waiters = Waiters::default();
        wait(&waiters, 8);
        wait(&waiters, 16);
        waiters.reach(at(16));
        wait(&waiters, 24);
        assert!(waiters.is_gathering());
        waiters.reach(at(24));
        assert!(!waiters.is_gathering(), "a writer that is alone waits for nobody");
        assert_eq!(wait(&waiters, 32), Registered::GroupComplete);
    }

    #[test]
    fn nobody_waits_for_what_is_done() {
        let waiters = Waiters::default();
        assert_eq!(waiters.register(at(8), Waker::noop(), || true), Registered::Done);
        waiters.reach(at(8));
        assert!(!waiters.is_gathering());
    }

    #[test]
    fn one_is_woken_and_the_others_by_it_each_once() {
        let waiters = Waiters::default();
        let woken: Vec<Arc<Woken>> = (0..5).map(|_| Arc::default()).collect();
        let counts = || -> Vec<u32> { woken.iter().map(|woken| woken.0.load(Ordering::Relaxed)).collect() };
        for (index, woken) in woken.iter().enumerate() {
            let waker = Waker::from(Arc::clone(woken));
            waiters.register(at(8 * (index as u32 + 1)), &waker, || false);
        }
        waiters.reach(at(32));
        assert_eq!(counts(), [0; 5], "reached is not woken");
        waiters.wake_first();
        assert_eq!(counts().iter().sum::<u32>(), 1);
        assert!(waiters.has_reached());
        waiters.wake_reached();
        assert_eq!(counts(), [1, 1, 1, 1, 0], "the fifth waits for more");
        assert!(!waiters.has_reached());
        waiters.wake_reached();
        waiters.wake_first();
        assert_eq!(counts(), [1, 1, 1, 1, 0]);
        waiters.wake_all();
        assert_eq!(counts(), [1; 5]);
    }
}
