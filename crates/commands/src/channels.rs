//! Who has subscribed to which channels, and messages on their way to them.
//!
//! ```text
//! PUBLISH ─┐                                     ┌─► channel  ─► its subscribers
//! events  ─┴─► transaction committed ─► publish ─┤
//!                                                └─► patterns ─► theirs, if it fits
//! ```
//!
//! One lock holds all subscriptions, and messages are handed over under it: whoever is told of two messages is told in
//! the same order as everybody else. Handing over is to put bytes into memory, never to wait.
//!
//! Deliberately not here: what a message looks like on the wire, and what becomes of a subscriber who does not read.
//!
//! Invariants: a name without subscribers is not kept; a connection's own names and the subscribers of those names are
//! two sides of the same.
//!
//! Source: behaviour of Valkey 9.1 `pubsub.c`.

use base::glob::{Case, glob_matches};
use foldhash::fast::FixedState;
use journal::Position;
use keyspace::events::{Happened, Heard, Message, Told};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a connection subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A channel by its name.
    Channel,
    /// All channels whose names fit a glob.
    Pattern,
    /// A channel of a shard: names of their own, which patterns do not reach.
    Shard,
}

/// A message for one subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'d> {
    /// Through which kind of subscription it comes.
    pub kind: Kind,
    /// The pattern, if it comes through one.
    pub pattern: &'d [u8],
    /// The channel.
    pub channel: &'d [u8],
    /// The message.
    pub message: &'d [u8],
    /// It must not leave before the journal holds this much as it promised to.
    pub revealed: Position,
}

/// A connection that messages can be handed to.
pub trait Receiver: Send + Sync {
    /// Takes a message, or closes the connection if too many wait already. Must not block.
    fn receive(&self, delivery: &Delivery<'_>);

    /// Takes the news that keys it has read changed, or all keys if `None`; `is_redirected` when another connection has
    /// read them. Otherwise as [`Receiver::receive`].
    fn invalidate(&self, keys: Option<&[&[u8]]>, is_redirected: bool, revealed: Position);

    /// Takes the news that the connection `id`, which was told of its keys in its place, has gone.
    fn redirection_broke(&self, id: u64);

    /// Whether the connection has ended or is about to.
    fn is_closing(&self) -> bool;
}

/// How many names a connection has subscribed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Channels.
    pub channels: usize,
    /// Patterns.
    pub patterns: usize,
    /// Channels of shards.
    pub shards: usize,
}

impl Counts {
    /// All of them.
    pub fn total(self) -> usize {
        self.channels + self.patterns + self.shards
    }

    /// What the reply to a subscription of this kind counts.
    pub fn shown(self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels + self.patterns,
            Kind::Shard => self.shards,
        }
    }
}

type Name = Arc<[u8]>;

/// Subscribers by connection number.
type Subscribers = BTreeMap<u64, Arc<dyn Receiver>>;

#[derive(Default)]
struct State {
    /// By kind and name.
    names: [HashMap<Name, Subscribers, FixedState>; 3],
    /// By connection and kind.
    own: HashMap<u64, [BTreeSet<Name>; 3], FixedState>,
}

/// See the module's text.
#[derive(Default)]
pub struct Channels {
    state: Mutex<State>,
    /// Connections with subscriptions.
    subscriber_count: AtomicUsize,
}

impl State {
    fn remove(&mut self, id: u64, kind: Kind, name: &[u8]) {
        let names = &mut self.names[kind as usize];
        let subscribers = names.get_mut(name).expect("a connection's own names have subscribers");
        subscribers.remove(&id);
        if subscribers.is_empty() {
            names.remove(name);
        }
    }

    fn counts(&self, id: u64) -> Counts {
        let [channels, patterns, shards] = self.own.get(&id).map_or([0; 3], |own| own.each_ref().map(BTreeSet::len));
        Counts { channels, patterns, shards }
    }

    /// The patterns that `channel` fits, with their subscribers.
    fn fitting<'s>(&'s self, kind: Kind, channel: &'s [u8]) -> impl Iterator<Item = (&'s Name, &'s Subscribers)> {
        let patterns = (kind == Kind::Channel).then_some(&self.names[Kind::Pattern as usize]);
        let fits = move |(pattern, _): &(&Name, &Subscribers)| glob_matches(pattern, channel, Case::Sensitive);
        patterns.into_iter().flatten().filter(fits)
    }
}

impl Channels {
    /// Subscribes a connection, unless it has already. Returns how many names it then has.
    pub fn subscribe(&self, id: u64, kind: Kind, name: &[u8], receiver: &Arc<dyn Receiver>) -> Counts {
        let state = &mut *self.state.lock();
        let own = state.own.entry(id).or_default();
        if !own[kind as usize].contains(name) {
            let name: Name = name.into();
            own[kind as usize].insert(Arc::clone(&name));
            state.names[kind as usize].entry(name).or_default().insert(id, Arc::clone(receiver));
        }
        self.subscriber_count.store(state.own.len(), Ordering::Relaxed);
        state.counts(id)
    }

    /// Ends a subscription, if there is one. Returns how many names the connection then has.
    pub fn unsubscribe(&self, id: u64, kind: Kind, name: &[u8]) -> Counts {
        let state = &mut *self.state.lock();
        let own = state.own.get_mut(&id);
        if own.is_some_and(|own| own[kind as usize].remove(name)) {
            state.remove(id, kind, name);
            if state.counts(id).total() == 0 {
                state.own.remove(&id);
            }
        }
        self.subscriber_count.store(state.own.len(), Ordering::Relaxed);
        state.counts(id)
    }

    /// Ends all subscriptions of a connection. Returns whether it had any.
    pub fn forget(&self, id: u64) -> bool {
        if self.subscriber_count() == 0 {
            return false;
        }
        let state = &mut *self.state.lock();
        let Some(own) = state.own.remove(&id) else { return false };
        for (kind, names) in [Kind::Channel, Kind::Pattern, Kind::Shard].into_iter().zip(own) {
            for name in &names {
                state.remove(id, kind, name);
            }
        }
        self.subscriber_count.store(state.own.len(), Ordering::Relaxed);
        true
    }

    /// The names of one kind that a connection has subscribed to, sorted.
    pub fn names_of(&self, id: u64, kind: Kind) -> Vec<Arc<[u8]>> {
        self.state.lock().own.get(&id).map_or(Vec::new(), |own| own[kind as usize].iter().cloned().collect())
    }

    /// How many names a connection has subscribed to.
    pub fn counts(&self, id: u64) -> Counts {
        if self.subscriber_count() == 0 { Counts::default() } else { self.state.lock().counts(id) }
    }

    /// How many connections have subscriptions. One relaxed load.
    #[inline]
    pub fn subscriber_count(&self) -> usize {
        self.subscriber_count.load(Ordering::Relaxed)
    }

    /// How many different names of one kind have subscribers.
    pub fn name_count(&self, kind: Kind) -> usize {
        self.state.lock().names[kind as usize].len()
    }

    /// The names of one kind that have subscribers and fit `glob`, if there is one.
    pub fn names(&self, kind: Kind, glob: Option<&[u8]>) -> Vec<Arc<[u8]>> {
        let state = self.state.lock();
        let fits = |name: &&Name| glob.is_none_or(|glob| glob_matches(glob, name, Case::Sensitive));
        state.names[kind as usize].keys().filter(fits).cloned().collect()
    }

    /// How many connections have subscribed to a name.
    pub fn subscribers_of(&self, kind: Kind, name: &[u8]) -> usize {
        self.state.lock().names[kind as usize].get(name).map_or(0, BTreeMap::len)
    }

    /// How often a message on `channel` would be handed over: once per subscriber and once per pattern that fits.
    ///
    /// # Cost
    /// A look-up and a match with each pattern there is; a relaxed load while nobody has subscribed to anything.
    pub fn receiver_count(&self, kind: Kind, channel: &[u8]) -> usize {
        if self.subscriber_count() == 0 {
            return 0;
        }
        let state = self.state.lock();
        let direct = state.names[kind as usize].get(channel).map_or(0, BTreeMap::len);
        direct + state.fitting(kind, channel).map(|(_, subscribers)| subscribers.len()).sum::<usize>()
    }

    /// Hands a message to everybody it is for. Costs as [`Channels::receiver_count`], and what receivers do.
    pub fn publish(&self, kind: Kind, channel: &[u8], message: &[u8], revealed: Position) {
        if self.subscriber_count() == 0 {
            return;
        }
        let state = self.state.lock();
        let direct = Delivery { kind, pattern: b"", channel, message, revealed };
        for receiver in state.names[kind as usize].get(channel).into_iter().flat_map(BTreeMap::values) {
            receiver.receive(&direct);
        }
        for (pattern, subscribers) in state.fitting(kind, channel) {
            let delivery = Delivery { kind: Kind::Pattern, pattern, ..direct };
            for receiver in subscribers.values() {
                receiver.receive(&delivery);
            }
        }
    }
}

impl Channels {
    /// Sends what a transaction has told: messages to their channels, and events to those that
    /// `notify-keyspace-events` asks for, `__keyspace@db__:key` before `__keyevent@db__:event`.
    pub fn announce(&self, heard: &Heard<'_>) {
        for told in heard.told {
            match told {
                Told::Happened(happened) => self.announce_event(happened, heard),
                Told::Message(Message { is_shard, channel, message }) => {
                    let kind = if *is_shard { Kind::Shard } else { Kind::Channel };
                    self.publish(kind, channel, message, heard.revealed);
                }
            }
        }
    }

    fn announce_event(&self, happened: &Happened, heard: &Heard<'_>) {
        let Happened { name, db, key, .. } = happened;
        if self.subscriber_count() == 0 {
            return;
        }
        if heard.interests.by_key() {
            let channel = [format!("__keyspace@{}__:", db.0).as_bytes(), key].concat();
            self.publish(Kind::Channel, &channel, name.as_bytes(), heard.revealed);
        }
        if heard.interests.by_event() {
            let channel = format!("__keyevent@{}__:{name}", db.0);
            self.publish(Kind::Channel, channel.as_bytes(), key, heard.revealed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Inbox(Mutex<Vec<String>>);

    impl Receiver for Inbox {
        fn invalidate(&self, _keys: Option<&[&[u8]]>, _is_redirected: bool, _revealed: Position) {}

        fn redirection_broke(&self, _id: u64) {}

        fn is_closing(&self) -> bool {
            false
        }

        fn receive(&self, delivery: &Delivery<'_>) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let Delivery { pattern, channel, message, .. } = delivery;
            self.0.lock().push(format!("{}:{}:{}", text(pattern), text(channel), text(message)));
        }
    }

    struct Rig {
        channels: Channels,
        inbox: Arc<Inbox>,
        receiver: Arc<dyn Receiver>,
    }

    fn rig() -> Rig {
        let inbox = Arc::new(Inbox::default());
        Rig { channels: Channels::default(), receiver: inbox.clone(), inbox }
    }

    impl Rig {
        fn subscribe(&self, id: u64, kind: Kind, name: &str) -> Counts {
            self.channels.subscribe(id, kind, name.as_bytes(), &self.receiver)
        }

        fn publish(&self, kind: Kind, channel: &str) -> Vec<String> {
            let expected = self.channels.receiver_count(kind, channel.as_bytes());
            self.channels.publish(kind, channel.as_bytes(), b"m", Position::ZERO);
            let received = std::mem::take(&mut *self.inbox.0.lock());
            assert_eq!(received.len(), expected, "who is counted is told");
            received
        }
    }

    #[test]
    fn a_message_reaches_subscribers_of_its_channel_and_of_patterns_that_fit_once_each() {
        let rig = rig();
        for (id, kind, name) in
            [(1, Kind::Channel, "a"), (1, Kind::Pattern, "a*"), (1, Kind::Pattern, "b*"), (2, Kind::Channel, "a")]
        {
            rig.subscribe(id, kind, name);
            rig.subscribe(id, kind, name);
        }
        rig.subscribe(3, Kind::Shard, "a");
        assert_eq!(rig.publish(Kind::Channel, "a"), [":a:m", ":a:m", "a*:a:m"]);
        assert_eq!(rig.publish(Kind::Shard, "a"), [":a:m"]);
        assert_eq!(rig.publish(Kind::Shard, "ab"), [""; 0]);
        assert_eq!(rig.channels.counts(1), Counts { channels: 1, patterns: 2, shards: 0 });
    }

    #[test]
    fn who_has_gone_is_told_nothing_and_leaves_nothing() {
        let rig = rig();
        rig.subscribe(1, Kind::Channel, "a");
        rig.subscribe(1, Kind::Pattern, "*");
        rig.subscribe(1, Kind::Shard, "s");
        rig.subscribe(2, Kind::Channel, "a");
        assert!(rig.channels.forget(1));
        assert!(!rig.channels.forget(1));
        assert_eq!(rig.publish(Kind::Channel, "a"), [":a:m"]);
        assert_eq!(rig.channels.unsubscribe(2, Kind::Channel, b"b"), Counts { channels: 1, patterns: 0, shards: 0 });
        assert_eq!(rig.channels.unsubscribe(2, Kind::Channel, b"a"), Counts::default());
        assert_eq!(rig.channels.subscriber_count(), 0);
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            assert_eq!(rig.channels.name_count(kind), 0);
        }
    }
}
