//! Client-side caching: which connections hold copies of which keys, and telling them when a key changes.
//!
//! ```text
//! a tracking connection reads ─► its keys are remembered, under the locks of their partitions
//! a transaction is committed  ─► its changed keys: who remembers them, whose prefix fits ─► invalidation
//! ```
//!
//! Keys are remembered by name alone, in whatever database, and forgotten once they were invalidated. Who tracks by
//! prefixes (BCAST) has nothing remembered and is told of every key that fits, once per transaction and prefix.
//!
//! Deliberately not here: what an invalidation looks like on the wire; CLIENT TRACKING's options (`client_tracking`).
//!
//! Different from Redis on purpose: SWAPDB invalidates everything, since what was read under a name is no longer there.
//!
//! Invariants: at most `keys_max` keys are remembered; while nobody tracks, nothing is, and transactions are not looked at.
//!
//! Source: behaviour of Valkey 9.1 `tracking.c`.

use crate::channels::Receiver;
use foldhash::fast::FixedState;
use journal::Position;
use keyspace::events::{Changed, Heard};
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

type Map<K, V> = HashMap<K, V, FixedState>;

/// Where the invalidations of a connection go that has them redirected.
#[derive(Clone)]
pub struct Redirection {
    /// The number of the other connection.
    pub id: u64,
    /// The connection.
    pub receiver: Arc<dyn Receiver>,
}

/// How a connection tracks.
pub struct Mode {
    /// Where its invalidations go; `None` is the connection itself.
    pub redirection: Option<Redirection>,
    /// It is told of keys with these prefixes, whether it has read them or not. `None`: of what it has read.
    pub prefixes: Option<Vec<Box<[u8]>>>,
    /// It is not told of what it changes itself.
    pub no_loop: bool,
}

/// What others see of how a connection tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackingView {
    /// The connection that invalidations are redirected to; 0 is the connection itself.
    pub redirect: u64,
    /// That connection has gone.
    pub is_broken: bool,
    /// It tracks by prefixes.
    pub by_prefix: bool,
}

struct Tracker {
    receiver: Arc<dyn Receiver>,
    redirection: Option<Redirection>,
    is_broken: bool,
    no_loop: bool,
    by_prefix: bool,
    prefixes: BTreeSet<Box<[u8]>>,
}

/// A remembered key.
struct Remembered {
    /// Its place in `State::order`.
    place: usize,
    readers: SmallVec<[u64; 2]>,
}

struct State {
    trackers: Map<u64, Tracker>,
    keys: Map<Arc<[u8]>, Remembered>,
    /// The remembered keys, to choose one from.
    order: Vec<Arc<[u8]>>,
    /// Which is forgotten next when there are too many.
    next: usize,
    keys_max: usize,
    reader_count: usize,
    /// Connections by the prefixes they track.
    prefixes: BTreeMap<Box<[u8]>, BTreeSet<u64>>,
}

/// Figures for INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackingTotals {
    /// Connections that track.
    pub client_count: usize,
    /// Keys remembered.
    pub key_count: usize,
    /// Connections remembered for them, added up.
    pub item_count: usize,
    /// Different prefixes tracked.
    pub prefix_count: usize,
}

/// See the module's text.
pub struct Tracking {
    state: Mutex<State>,
    /// Told under the lock whether anybody tracks.
    switch: OnceLock<Box<dyn Fn(bool) + Send + Sync>>,
}

impl Tracker {
    /// Tells the connection, or whom it redirects to, that these keys changed; `None` is all keys.
    fn tell(&mut self, keys: Option<&[&[u8]]>, revealed: Position) {
        match &self.redirection {
            None => self.receiver.invalidate(keys, false, revealed),
            Some(Redirection { receiver, .. }) if !receiver.is_closing() => receiver.invalidate(keys, true, revealed),
            Some(Redirection { id, .. }) => {
                self.is_broken = true;
                self.receiver.redirection_broke(*id);
            }
        }
    }
}

impl State {
    fn forget_key(&mut self, key: &[u8]) -> Option<Remembered> {
        let remembered = self.keys.remove(key)?;
        self.order.swap_remove(remembered.place);
        if let Some(moved) = self.order.get(remembered.place) {
            self.keys.get_mut(moved).expect("the order holds remembered keys").place = remembered.place;
        }
        self.reader_count -= remembered.readers.len();
        Some(remembered)
    }

    fn remember(&mut self, id: u64, key: &[u8]) {
        if let Some(remembered) = self.keys.get_mut(key) {
            if !remembered.readers.contains(&id) {
                remembered.readers.push(id);
                self.reader_count += 1;
            }
            return;
        }
        let key: Arc<[u8]> = key.into();
        self.keys
            .insert(Arc::clone(&key), Remembered { place: self.order.len(), readers: SmallVec::from_slice(&[id]) });
        self.order.push(key);
        self.reader_count += 1;
    }

    /// Invalidates a key for those who have read it; `origin` is who changed it.
    fn invalidate(&mut self, key: &[u8], origin: u64, revealed: Position) {
        let Some(remembered) = self.forget_key(key) else { return };
        for id in remembered.readers {
            let Some(tracker) = self.trackers.get_mut(&id) else { continue };
            let is_own = tracker.no_loop && id == origin;
            if !tracker.by_prefix && !is_own {
                tracker.tell(Some(&[key]), revealed);
            }
        }
    }

    /// Forgets keys until there are no more than allowed. Who has read them is told as if they had changed.
    fn shrink(&mut self) {
        while self.keys_max < self.order.len() {
            self.next = (self.next + 1) % self.order.len();
            let key = Arc::clone(&self.order[self.next]);
            self.invalidate(&key, 0, Position::ZERO);
        }
    }

    fn forget_all(&mut self) {
        self.keys = Map::default();
        self.order = Vec::new();
        self.reader_count = 0;
    }

    fn invalidate_all(&mut self, revealed: Position) {
        self.forget_all();
        for tracker in self.trackers.values_mut() {
            tracker.tell(None, revealed);
        }
    }

    fn broadcast(&mut self, keys: &[&[u8]], origin: u64, revealed: Position) {
        for (prefix, ids) in &self.prefixes {
            let fitting: Vec<&[u8]> = keys.iter().copied().filter(|key| key.starts_with(prefix)).collect();
            if fitting.is_empty() {
                continue;
            }
            for id in ids {
                let tracker = self.trackers.get_mut(id).expect("a prefix belongs to those who track it");
                if !(tracker.no_loop && *id == origin) {
                    tracker.tell(Some(&fitting), revealed);
                }
            }
        }
    }

    fn stop(&mut self, id: u64) {
        let Some(tracker) = self.trackers.remove(&id) else { return };
        for prefix in tracker.prefixes {
            let ids = self.prefixes.get_mut(&prefix).expect("a tracked prefix is known");
            ids.remove(&id);
            if ids.is_empty() {
                self.prefixes.remove(&prefix);
            }
        }
        // From here on nobody hears of changes, by which keys are forgotten.
        if self.trackers.is_empty() {
            self.forget_all();
        }
    }
}

impl Tracking {
    /// Nobody tracks; up to `keys_max` keys will be remembered.
    pub fn new(keys_max: usize) -> Self {
        Tracking {
            state: Mutex::new(State {
                trackers: Map::default(),
                keys: Map::default(),
                order: Vec::new(),
                next: 0,
                keys_max,
                reader_count: 0,
                prefixes: BTreeMap::new(),
            }),
            switch: OnceLock::new(),
        }
    }

    /// Has `switch` told whenever it may have changed whether anybody tracks.
    ///
    /// # Panics
    /// When there is one already.
    pub fn set_switch(&self, switch: impl Fn(bool) + Send + Sync + 'static) {
        assert!(self.switch.set(Box::new(switch)).is_ok(), "there is one switch");
    }

    fn tell_switch(&self, state: &State) {
        if let Some(switch) = self.switch.get() {
            switch(!state.trackers.is_empty());
        }
    }

    /// Changes how many keys are remembered.
    pub fn set_keys_max(&self, keys_max: usize) {
        let mut state = self.state.lock();
        state.keys_max = keys_max;
        state.shrink();
    }

    /// A connection begins to track, or does so in another way; prefixes add up.
    pub fn start(&self, id: u64, receiver: Arc<dyn Receiver>, mode: Mode) {
        let state = &mut *self.state.lock();
        let before = state.trackers.remove(&id);
        let mut prefixes = before.map_or(BTreeSet::new(), |tracker| tracker.prefixes);
        let by_prefix = mode.prefixes.is_some();
        for prefix in mode.prefixes.into_iter().flatten() {
            state.prefixes.entry(prefix.clone()).or_default().insert(id);
            prefixes.insert(prefix);
        }
        let Mode { redirection, no_loop, .. } = mode;
        let tracker = Tracker { receiver, redirection, is_broken: false, no_loop, by_prefix, prefixes };
        state.trackers.insert(id, tracker);
        self.tell_switch(state);
    }

    /// A connection does not track any more.
    pub fn stop(&self, id: u64) {
        let state = &mut *self.state.lock();
        state.stop(id);
        self.tell_switch(state);
    }

    /// A connection has read keys: it is told when they change. To be called under the locks of their partitions, so
    /// that no change goes unnoticed in between.
    pub fn remember<'k>(&self, id: u64, keys: impl Iterator<Item = &'k [u8]>) {
        let mut state = self.state.lock();
        for key in keys {
            state.remember(id, key);
        }
        state.shrink();
    }

    /// Tells of the keys that a transaction has changed.
    pub fn invalidate(&self, heard: &Heard<'_>) {
        let mut state = self.state.lock();
        let (mut keys, mut is_all) = (Vec::new(), false);
        heard.each_changed(|changed| match changed {
            Changed::Key(key) => keys.push(key),
            Changed::All => is_all = true,
        });
        if is_all {
            state.invalidate_all(heard.revealed);
        }
        for key in &keys {
            state.invalidate(key, heard.origin, heard.revealed);
        }
        if !state.prefixes.is_empty() {
            keys.sort_unstable();
            keys.dedup();
            state.broadcast(&keys, heard.origin, heard.revealed);
        }
    }

    /// How a connection tracks, if it does.
    pub fn view(&self, id: u64) -> Option<TrackingView> {
        self.state.lock().trackers.get(&id).map(|tracker| TrackingView {
            redirect: tracker.redirection.as_ref().map_or(0, |redirection| redirection.id),
            is_broken: tracker.is_broken,
            by_prefix: tracker.by_prefix,
        })
    }

    /// The prefixes a connection tracks, sorted.
    pub fn prefixes_of(&self, id: u64) -> Vec<Box<[u8]>> {
        let state = self.state.lock();
        state.trackers.get(&id).map_or(Vec::new(), |tracker| tracker.prefixes.iter().cloned().collect())
    }

    /// Figures for INFO.
    pub fn totals(&self) -> TrackingTotals {
        let state = self.state.lock();
        TrackingTotals {
            client_count: state.trackers.len(),
            key_count: state.keys.len(),
            item_count: state.reader_count,
            prefix_count: state.prefixes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::Delivery;

    #[derive(Default)]
    struct Inbox {
        told: Mutex<Vec<String>>,
        is_closing: std::sync::atomic::AtomicBool,
    }

    impl Receiver for Inbox {
        fn receive(&self, _delivery: &Delivery<'_>) {}

        fn invalidate(&self, keys: Option<&[&[u8]]>, _is_redirected: bool, _revealed: Position) {
            let text = |key: &&[u8]| String::from_utf8_lossy(key).into_owned();
            let told = keys.map_or("all".to_owned(), |keys| keys.iter().map(text).collect::<Vec<_>>().join(" "));
            self.told.lock().push(told);
        }

        fn redirection_broke(&self, id: u64) {
            self.told.lock().push(format!("broken {id}"));
        }

        fn is_closing(&self) -> bool {
            self.is_closing.load(std::sync::atomic::Ordering::Relaxed)
        }
    }

    fn mode(redirection: Option<Redirection>) -> Mode {
        Mode { redirection, prefixes: None, no_loop: false }
    }

    #[test]
    fn as_many_keys_are_remembered_as_are_allowed_and_who_loses_one_is_told() {
        let (tracking, inbox) = (Tracking::new(3), Arc::new(Inbox::default()));
        tracking.start(1, inbox.clone(), mode(None));
        let keys: Vec<String> = (0..10).map(|number| format!("key{number}")).collect();
        tracking.remember(1, keys.iter().map(String::as_bytes));
        let totals = tracking.totals();
        assert_eq!((totals.key_count, totals.item_count, inbox.told.lock().len()), (3, 3, 7));
        tracking.set_keys_max(1);
        assert_eq!((tracking.totals().key_count, inbox.told.lock().len()), (1, 9));
        let mut told = inbox.told.lock().clone();
        told.sort();
        told.dedup();
        assert_eq!(told.len(), 9, "no key is forgotten twice");
    }

    #[test]
    fn nothing_is_remembered_once_nobody_tracks() {
        let (tracking, inbox) = (Tracking::new(9), Arc::new(Inbox::default()));
        for id in [1, 2] {
            tracking.start(id, inbox.clone(), mode(None));
            tracking.remember(id, [&b"a"[..], b"b"].into_iter());
        }
        tracking.stop(1);
        assert_eq!(tracking.totals().key_count, 2, "somebody else has read them");
        tracking.stop(2);
        let totals = tracking.totals();
        assert_eq!((totals.client_count, totals.key_count, totals.item_count), (0, 0, 0));
        tracking.start(1, inbox.clone(), mode(None));
        tracking.state.lock().invalidate(b"a", 0, Position::ZERO);
        assert!(inbox.told.lock().is_empty());
    }

    #[test]
    fn who_redirects_to_a_connection_that_has_gone_is_told_so() {
        let (tracking, one, other) = (Tracking::new(9), Arc::new(Inbox::default()), Arc::new(Inbox::default()));
        let redirection = Redirection { id: 2, receiver: other.clone() };
        tracking.start(1, one.clone(), mode(Some(redirection)));
        tracking.remember(1, [&b"a"[..], b"b"].into_iter());
        tracking.state.lock().invalidate(b"a", 0, Position::ZERO);
        assert_eq!(other.told.lock()[..], ["a"]);
        other.is_closing.store(true, std::sync::atomic::Ordering::Relaxed);
        tracking.state.lock().invalidate(b"b", 0, Position::ZERO);
        assert_eq!(one.told.lock()[..], ["broken 2"]);
        assert_eq!(tracking.view(1), Some(TrackingView { redirect: 2, is_broken: true, by_prefix: false }));
    }

    #[test]
    fn who_stops_leaves_no_prefix_behind() {
        let (tracking, inbox) = (Tracking::new(9), Arc::new(Inbox::default()));
        let prefixes = |prefix: &[u8]| Some(vec![prefix.into()]);
        tracking.start(1, inbox.clone(), Mode { prefixes: prefixes(b"a"), ..mode(None) });
        tracking.start(1, inbox.clone(), Mode { prefixes: prefixes(b"b"), ..mode(None) });
        tracking.start(2, inbox.clone(), Mode { prefixes: prefixes(b"b"), no_loop: true, ..mode(None) });
        assert_eq!(tracking.totals().prefix_count, 2);
        tracking.state.lock().broadcast(&[b"a1", b"b1", b"b2", b"c"], 2, Position::ZERO);
        assert_eq!(inbox.told.lock()[..], ["a1", "b1 b2"]);
        tracking.stop(1);
        assert_eq!((tracking.totals().client_count, tracking.totals().prefix_count), (1, 1));
        tracking.stop(2);
        assert_eq!(tracking.totals(), TrackingTotals::default());
    }
}
