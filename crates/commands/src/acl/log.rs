//! ACL LOG: the latest things that were refused, those alike counted together.
//!
//! Source: `addACLLogEntry` of Valkey 9.1, for what is alike and how far back that is looked for.

use super::check::Reason;
use std::collections::VecDeque;

/// How many of the newest entries are looked at for one alike.
const ALIKE_COUNT_MAX: usize = 10;
/// How long ago an entry alike may have been, in milliseconds.
const ALIKE_MS_MAX: i64 = 60_000;

/// Something that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How often.
    pub count: u64,
    /// What.
    pub reason: Reason,
    /// Where: `toplevel`, `multi` or `lua`.
    pub context: &'static str,
    /// The command, the key, the channel or the database.
    pub object: Vec<u8>,
    /// Who was refused it.
    pub username: Vec<u8>,
    /// The connection's line of CLIENT LIST, when it last was.
    pub client_info: Vec<u8>,
    /// A number that no other entry has.
    pub id: u64,
    /// When it first was refused, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When it last was.
    pub updated_ms: i64,
}

impl Entry {
    fn is_alike(&self, other: &Entry) -> bool {
        self.reason == other.reason
            && self.context == other.context
            && other.updated_ms - self.updated_ms <= ALIKE_MS_MAX
            && self.object == other.object
            && self.username == other.username
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Log {
    /// Newest first.
    entries: VecDeque<Entry>,
    id_next: u64,
}

impl Log {
    /// Notes something that was refused: `entry` says all but how often and its number. Of more than `count_max`
    /// entries the oldest are forgotten.
    pub fn note(&mut self, entry: Entry, count_max: usize) {
        if count_max == 0 {
            return;
        }
        let alike = self.entries.iter().take(ALIKE_COUNT_MAX).position(|other| other.is_alike(&entry));
        let entry = if let Some(known) = alike.and_then(|at| self.entries.remove(at)) {
            let (client_info, updated_ms) = (entry.client_info, entry.updated_ms);
            Entry { count: known.count + 1, client_info, updated_ms, ..known }
        } else {
            self.id_next += 1;
            Entry { count: 1, id: self.id_next - 1, ..entry }
        };
        self.entries.push_front(entry);
        self.entries.truncate(count_max);
    }

    /// The newest entries, newest first.
    pub fn newest(&self, count_max: usize) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter().take(count_max)
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(object: &str, at_ms: i64) -> Entry {
        Entry {
            count: 0,
            reason: Reason::Key,
            context: "toplevel",
            object: object.into(),
            username: "bob".into(),
            client_info: format!("at {at_ms}").into(),
            id: 0,
            created_ms: at_ms,
            updated_ms: at_ms,
        }
    }

    fn shown(log: &Log) -> Vec<(String, u64, u64, i64, i64)> {
        let show =
            |e: &Entry| (String::from_utf8_lossy(&e.object).into_owned(), e.count, e.id, e.created_ms, e.updated_ms);
        log.newest(usize::MAX).map(show).collect()
    }

    #[test]
    fn what_is_alike_is_counted_and_comes_first() {
        let mut log = Log::default();
        for (object, at_ms) in [("a", 0), ("b", 1), ("a", 60_000), ("a", 120_001)] {
            log.note(entry(object, at_ms), 128);
        }
        let expected = [("a", 1, 2, 120_001, 120_001), ("a", 2, 0, 0, 60_000), ("b", 1, 1, 1, 1)];
        assert_eq!(shown(&log), expected.map(|(o, c, id, from, to)| (o.to_owned(), c, id, from, to)));
    }

    #[test]
    fn only_so_many_are_kept() {
        let mut log = Log::default();
        (0..10).for_each(|n| log.note(entry(&n.to_string(), n), 5));
        assert_eq!(log.newest(usize::MAX).len(), 5);
        assert_eq!(shown(&log)[0].0, "9");
        log.note(entry("x", 11), 0);
        assert_eq!(log.newest(2).len(), 2);
        log.clear();
        assert_eq!(log.newest(9).len(), 0);
    }
}
