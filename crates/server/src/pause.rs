//! CLIENT PAUSE: commands held back for a while, or while a script is debugged on the keys themselves.
//!
//! Deliberately not here: who waits, and which commands may write.
//!
//! Invariants: a pause never becomes shorter or weaker by another one; nobody misses its end.

use crate::clients::wall_us;
use base::TimeMs;
use commands::host::PauseMode;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

fn wall_ms() -> i64 {
    wall_us() / 1000
}

/// A pause in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// What is held back.
    pub mode: PauseMode,
    /// Until when.
    pub until: TimeMs,
}

impl Pause {
    fn holds(&self, is_write: bool) -> bool {
        is_write || self.mode == PauseMode::All
    }
}

/// What is in force.
#[derive(Debug, Default)]
struct Current {
    pause: Option<Pause>,
    /// Debugging sessions that hold everything back.
    session_count: u32,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Pauses {
    /// Says whether to look at `current`, for the commands of quiet times.
    pausing: AtomicBool,
    current: Mutex<Current>,
    changed: Notify,
}

impl Pauses {
    /// Whether commands may have to wait. One relaxed load.
    #[inline]
    pub fn is_pausing(&self) -> bool {
        self.pausing.load(Ordering::Relaxed)
    }

    /// The pause in force.
    pub fn now(&self) -> Option<Pause> {
        if !self.is_pausing() {
            return None;
        }
        let mut current = self.current.lock();
        if current.pause.is_some_and(|pause| pause.until.0 <= wall_ms()) {
            self.set(&mut current, None);
        }
        current.pause
    }

    fn set(&self, current: &mut Current, pause: Option<Pause>) {
        current.pause = pause;
        self.pausing.store(pause.is_some() || 0 < current.session_count, Ordering::Relaxed);
    }

    /// Begins to hold every command back, or ends one such time.
    pub fn hold_all(&self, holds: bool) {
        let current = &mut *self.current.lock();
        current.session_count = if holds { current.session_count + 1 } else { current.session_count - 1 };
        self.set(current, current.pause);
        self.changed.notify_waiters();
    }

    fn holds_all(&self) -> bool {
        self.is_pausing() && 0 < self.current.lock().session_count
    }

    /// Whether keys are to stay as they are.
    pub fn is_still(&self) -> bool {
        self.holds_all() || self.now().is_some()
    }

    /// Whether a command must wait: one that may write, or any.
    pub fn holds(&self, is_write: bool) -> bool {
        self.holds_all() || self.now().is_some_and(|pause| pause.holds(is_write))
    }

    /// Adds a pause to the one in force.
    pub fn add(&self, pause: Pause) {
        let before = self.now();
        let mode = before.map_or(pause.mode, |before| before.mode.max(pause.mode));
        let until = before.map_or(pause.until, |before| before.until.max(pause.until));
        self.set(&mut self.current.lock(), Some(Pause { mode, until }));
        self.changed.notify_waiters();
    }

    /// Ends the pause.
    pub fn end(&self) {
        self.set(&mut self.current.lock(), None);
        self.changed.notify_waiters();
    }

    /// Waits until such a command may run.
    pub async fn over(&self, is_write: bool) {
        loop {
            // Listen first, or an end between looking and listening would be missed.
            let changed = self.changed.notified();
            if self.holds_all() {
                changed.await;
                continue;
            }
            let Some(pause) = self.now().filter(|pause| pause.holds(is_write)) else { return };
            let rest = Duration::from_millis((pause.until.0 - wall_ms()).max(1) as u64);
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_only_grows_until_it_is_ended() {
        let pauses = Pauses::default();
        let later = |ms: i64| TimeMs(wall_ms() + ms);
        assert!(!pauses.holds(true));
        pauses.add(Pause { mode: PauseMode::Write, until: later(50_000) });
        assert!(pauses.holds(true));
        assert!(!pauses.holds(false));
        let until = later(90_000);
        pauses.add(Pause { mode: PauseMode::All, until });
        pauses.add(Pause { mode: PauseMode::Write, until: later(10) });
        assert_eq!(pauses.now(), Some(Pause { mode: PauseMode::All, until }));
        pauses.end();
        assert!(!pauses.holds(true));
        pauses.hold_all(true);
        pauses.hold_all(true);
        assert_eq!((pauses.holds(false), pauses.is_still(), pauses.now()), (true, true, None));
        pauses.end();
        pauses.hold_all(false);
        assert!(pauses.holds(false), "another session goes on");
        pauses.hold_all(false);
        assert!(!pauses.is_pausing());
        pauses.add(Pause { mode: PauseMode::All, until: later(-1) });
        assert!(!pauses.holds(true), "a pause that is over ends by itself");
        assert!(!pauses.is_pausing());
    }
}
