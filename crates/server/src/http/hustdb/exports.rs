//! Snapshots of listings that EXPORT makes and asynchronous listings page over.
//!
//! A snapshot is made while the request for it runs, by one walk at a time, and kept in memory: the last `KEPT_COUNT` of
//! them, each of at most `PAGE_ITEMS_MAX` items and about 64 MiB of names and values. hustdb writes files and tells when
//! they are done; here a task is done by the time its token is told.
//!
//! Deliberately not: surviving a restart.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// Snapshots that are kept, and tasks whose end is remembered.
const KEPT_COUNT: usize = 3;

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// A table, or a file.
    pub source: Source,
    /// First bucket.
    pub start: i64,
    /// The bucket behind the last.
    pub end: i64,
    /// Without values.
    pub noval: bool,
}

/// Where items are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A table.
    Table(Vec<u8>),
    /// A file.
    File(i64),
}

/// Items, each as JSON.
pub type Items = Vec<Box<[u8]>>;

struct Snapshot {
    token: u64,
    subject: Subject,
    items: Arc<Items>,
}

#[derive(Default)]
struct State {
    token_last: u64,
    is_running: bool,
    done: VecDeque<Snapshot>,
}

/// See the module's text.
#[derive(Default)]
pub struct Exports(Mutex<State>);

/// An export under way; there is one at most.
pub struct Running<'e>(&'e Exports);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.lock().is_running = false;
    }
}

impl Running<'_> {
    /// Keeps what was found. Returns its token.
    pub fn done(self, subject: Subject, items: Items) -> u64 {
        let mut state = self.0.0.lock();
        state.token_last += 1;
        let token = state.token_last;
        state.done.retain(|snapshot| snapshot.subject != subject);
        state.done.push_back(Snapshot { token, subject, items: Arc::new(items) });
        if KEPT_COUNT < state.done.len() {
            state.done.pop_front();
        }
        token
    }
}

impl Exports {
    /// Begins an export; `None` while another one is under way.
    pub fn begin(&self) -> Option<Running<'_>> {
        let mut state = self.0.lock();
        let was_running = std::mem::replace(&mut state.is_running, true);
        // Not made where another one is under way: it would end that one when it is dropped.
        (!was_running).then(|| Running(self))
    }

    /// The snapshot of a subject.
    pub fn find(&self, subject: &Subject) -> Option<Arc<Items>> {
        let state = self.0.lock();
        state.done.iter().find(|snapshot| snapshot.subject == *subject).map(|snapshot| Arc::clone(&snapshot.items))
    }

    /// Whether the task with this token is known as done.
    pub fn is_done(&self, token: u64) -> bool {
        self.0.lock().done.iter().any(|snapshot| snapshot.token == token)
    }

    /// Tasks under way, and tasks known as done.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.0.lock();
        (usize::from(state.is_running), state.done.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_runs_at_a_time_and_the_last_few_are_kept() {
        let exports = Exports::default();
        let subject = |file| Subject { source: Source::File(file), start: 0, end: 1024, noval: true };
        let first = exports.begin().expect("none is running");
        assert!(exports.begin().is_none());
        drop(first);
        for file in 0..4 {
            let running = exports.begin().expect("none is running");
            assert_eq!(running.done(subject(file), vec![b"{}"[..].into()]), file as u64 + 1);
        }
        assert_eq!(exports.counts(), (0, KEPT_COUNT));
        assert!(exports.find(&subject(0)).is_none() && exports.find(&subject(3)).is_some());
        assert!(!exports.is_done(1) && exports.is_done(4));
        exports.begin().expect("none is running").done(subject(3), Vec::new());
        assert_eq!(exports.find(&subject(3)).map(|items| items.len()), Some(0));
    }
}
