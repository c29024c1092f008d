//! What a transaction has to tell: the events of its keys, and messages. Told once it is committed.
//!
//! ```text
//! handler ─► Tx::notify ─► wanted? ─► kept in order ─► commit: journaled ─► Listener ─► unlock
//! ```
//!
//! The listener hears a transaction while its partitions are still locked, so that the events of one key are heard in
//! the order of its changes. It hears where the journal ends behind the batch, too: whoever is told waits at the gate
//! for that, as a reply would.
//!
//! Deliberately not here: who wants to know, and how they are told (the server).
//!
//! Invariants: what nobody is interested in is not kept, and costs a branch; a command that is run anew has told
//! nothing.

use crate::effect;
use base::DbId;
use journal::Position;

/// A class of events, as `notify-keyspace-events` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Event {
    /// `g`: commands for keys of any type.
    Generic = 1 << 2,
    /// `$`: commands for strings.
    String = 1 << 3,
    /// `l`: commands for lists.
    List = 1 << 4,
    /// `s`: commands for sets.
    Set = 1 << 5,
    /// `h`: commands for hashes.
    Hash = 1 << 6,
    /// `z`: commands for sorted sets.
    SortedSet = 1 << 7,
    /// `x`: a key has ended.
    Expired = 1 << 8,
    /// `e`: a key was evicted.
    Evicted = 1 << 9,
    /// `t`: commands for streams.
    Stream = 1 << 10,
    /// `m`: a key was looked for and is not there.
    Miss = 1 << 11,
    /// `n`: a key has come to be.
    New = 1 << 12,
}

/// What somebody wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interests(u32);

impl Interests {
    /// Nothing.
    pub const NONE: Interests = Interests(0);
    const BY_KEY: u32 = 1;
    const BY_EVENT: u32 = 1 << 1;
    const CHANGES: u32 = 1 << 31;
    const RECORDS: u32 = 1 << 30;
    const CLASSES: u32 = !(Self::BY_KEY | Self::BY_EVENT | Self::CHANGES | Self::RECORDS);

    /// The interests that the letters of `notify-keyspace-events` stand for, `A` and letters of classes that have no
    /// events here among them. None without `K` or `E`: such events would have no channel.
    pub fn of_letters(letters: &str) -> Interests {
        let bits = letters.chars().fold(0, |bits, letter| bits | bits_of(letter));
        Interests(if bits & (Self::BY_KEY | Self::BY_EVENT) == 0 { 0 } else { bits })
    }

    /// The interests whose number is `bits`.
    pub(crate) fn from_bits(bits: u32) -> Interests {
        Interests(bits)
    }

    /// The number that stands for them.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// These, and which keys were changed or not.
    pub(crate) fn with_changes(self, hears: bool) -> Interests {
        Interests(if hears { self.0 | Self::CHANGES } else { self.0 & !Self::CHANGES })
    }

    /// These, and keys that have records.
    #[must_use]
    pub(crate) fn with_records(self) -> Interests {
        Interests(self.0 | Self::RECORDS)
    }

    /// Whether keys have records that follow what happens to them (`elements.rs`).
    #[inline]
    pub(crate) fn follows_records(self) -> bool {
        self.0 & Self::RECORDS != 0
    }

    /// Whether it is wanted to know which keys were changed, whatever happened to them.
    #[inline]
    pub fn wants_changes(self) -> bool {
        self.0 & Self::CHANGES != 0
    }

    /// Whether events of this class are wanted.
    #[inline]
    pub fn wants(self, event: Event) -> bool {
        self.0 & event as u32 != 0
    }

    /// Whether events of any class are wanted.
    #[inline]
    pub fn wants_events(self) -> bool {
        self.0 & Self::CLASSES != 0
    }

    /// Whether events are told by the name of their key: `K`.
    pub fn by_key(self) -> bool {
        self.0 & Self::BY_KEY != 0
    }

    /// Whether events are told by their own name: `E`.
    pub fn by_event(self) -> bool {
        self.0 & Self::BY_EVENT != 0
    }
}

fn bits_of(letter: char) -> u32 {
    match letter {
        'K' => Interests::BY_KEY,
        'E' => Interests::BY_EVENT,
        'g' => Event::Generic as u32,
        '$' => Event::String as u32,
        'l' => Event::List as u32,
        's' => Event::Set as u32,
        'h' => Event::Hash as u32,
        'z' => Event::SortedSet as u32,
        'x' => Event::Expired as u32,
        'e' => Event::Evicted as u32,
        't' => Event::Stream as u32,
        'm' => Event::Miss as u32,
        'n' => Event::New as u32,
        'A' => "g$lshzxet".chars().map(bits_of).sum(),
        _ => 0,
    }
}

/// Something that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Something happened to a key.
    Happened(Happened),
    /// A message for a channel.
    Message(Message),
}

/// A message for a channel: who that is does not matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whether the channel is one of a shard.
    pub is_shard: bool,
    /// Its name.
    pub channel: Box<[u8]>,
    /// The message.
    pub message: Box<[u8]>,
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Its class.
    pub event: Event,
    /// The event, e.g. `del`.
    pub name: &'static str,
    /// The database of the key, as clients number it.
    pub db: DbId,
    /// The key.
    pub key: Box<[u8]>,
}

/// What a committed transaction has to tell.
#[derive(Debug)]
pub struct Heard<'t> {
    /// What was wanted when the transaction began.
    pub interests: Interests,
    /// All of it, in order.
    pub told: &'t [Told],
    /// The effects of the transaction, one body per partition it changed, if they were wanted.
    pub changes: &'t [&'t [u8]],
    /// Whether it emptied a database, which may have been empty before.
    pub flushes: bool,
    /// The connection that changed them; 0 is the node itself.
    pub origin: u64,
    /// Whoever is told must not see it before the journal holds this much as it promised to.
    pub revealed: Position,
}

/// What a transaction has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed<'t> {
    /// A key of some database.
    Key(&'t [u8]),
    /// All keys of a database, or which database they are in.
    All,
}

impl<'t> Heard<'t> {
    /// Calls `each` for everything that was changed; a key may come several times.
    pub fn each_changed(&self, mut each: impl FnMut(Changed<'t>)) {
        if self.flushes {
            each(Changed::All);
        }
        for body in self.changes {
            effect::each_changed(body, |key| each(key.map_or(Changed::All, Changed::Key)));
        }
    }
}

/// Hears what transactions have to tell.
pub trait Listener: Send + Sync {
    /// A transaction was committed. Called while its partitions are locked: must not wait, nor look at keys.
    fn hear(&self, heard: &Heard<'_>);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stand_for_classes_and_all_of_them_for_neither_misses_nor_new_keys() {
        let all = Interests::of_letters("AKE");
        for event in [Event::Generic, Event::String, Event::List, Event::Set, Event::Hash, Event::SortedSet] {
            assert!(all.wants(event), "{event:?}");
        }
        assert!(all.wants(Event::Expired) && all.wants(Event::Evicted) && all.wants(Event::Stream));
        assert!(!all.wants(Event::Miss) && !all.wants(Event::New));
        assert!(all.by_key() && all.by_event());
        let some = Interests::of_letters("Emn");
        assert!(some.wants(Event::Miss) && some.wants(Event::New) && !some.wants(Event::Generic) && !some.by_key());
    }

    #[test]
    fn classes_without_a_channel_interest_nobody() {
        for letters in ["", "A", "g$m", "d"] {
            assert_eq!(Interests::of_letters(letters), Interests::NONE, "{letters}");
        }
        assert!(!Interests::of_letters("KE").wants_events());
    }
}
