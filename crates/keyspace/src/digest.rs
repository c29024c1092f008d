//! What a partition holds, written out in one canonical text: two partitions have the same state exactly when
//! their dumps are equal, byte for byte.
//!
//! ```text
//! partition 3 at version 17, databases 0 1 2 …
//! db 0 "key" string version 12 revision 2 expires never "value"
//! ```
//!
//! For tests and for whoever compares two nodes by hand: lines can be diffed. Deliberately not a format that
//! anything reads back, and deliberately without what may differ between equal states: access clocks, homes in
//! the journal, the form a value has in memory.
//!
//! Invariant: keys are sorted within a database, and so are the elements of every type that has no order.

use crate::entry::{EntryRef, Stored};
use crate::hash::Hash;
use crate::partition::Partition;
use crate::replay::Fetch;
use crate::set::Set;
use crate::sorted_set::Scored;
use crate::spilled::{ReadError, Spilled};
use crate::value::{Kind, Value};
use base::TimeMs;
use base::number::format_i64;
use journal::Position;
use std::fmt::Write;

impl Partition {
    /// The canonical text. Keys that have ended and are not removed yet are in it.
    ///
    /// # Cost
    /// A copy of everything, and a read from the journal for each spilled value.
    ///
    /// # Errors
    /// Those of `fetch`, which reads the values that lie only in the journal.
    ///
    /// # Panics
    /// When `fetch` gives bytes that are no image of the value's type.
    pub fn dump(&self, fetch: &mut Fetch<'_>) -> Result<String, ReadError> {
        let mut out = format!("partition {} at version {}, databases", self.id().0, self.version().0);
        for db in self.db_map() {
            put(&mut out, format_args!(" {db}"));
        }
        out.push('\n');
        for db in 0..self.dbs.len() as u8 {
            self.dump_db(db, fetch, &mut out)?;
        }
        Ok(out)
    }

    fn dump_db(&self, db: u8, fetch: &mut Fetch<'_>, out: &mut String) -> Result<(), ReadError> {
        let mut lines = Vec::with_capacity(self.index(db).len());
        self.index(db).each(|entry| lines.push(self.dump_entry(db, &entry, fetch)));
        let mut lines = lines.into_iter().collect::<Result<Vec<_>, _>>()?;
        lines.sort_unstable();
        for line in lines {
            out.push_str(&line);
        }
        Ok(())
    }

    fn dump_entry(&self, db: u8, entry: &EntryRef<'_>, fetch: &mut Fetch<'_>) -> Result<String, ReadError> {
        let (key, kind, version) = (entry.key().escape_ascii(), entry.kind().name(), entry.version().0);
        let expires = ending(entry.expires());
        let revision = entry.revision();
        let mut line = format!("db {db} \"{key}\" {kind} version {version} revision {revision} expires {expires} ");
        match entry.stored() {
            Stored::Inline(bytes) => put_quoted(&mut line, bytes),
            Stored::Int(number) => put_quoted(&mut line, &format_i64(number)),
            Stored::Boxed(value) => put_value(&mut line, value),
            Stored::Spilled => put_image(&mut line, entry.kind(), &fetch(&self.wanted(db, entry))?),
        }
        line.push('\n');
        Ok(line)
    }

    /// The value of an entry that lies in the journal only, as it is asked for.
    pub fn wanted(&self, db: u8, entry: &EntryRef<'_>) -> Spilled {
        let position = Position::unpack(entry.home().0);
        Spilled { partition: self.id(), db, key: entry.key().to_vec(), version: entry.version(), position }
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes any text");
}

fn put_quoted(out: &mut String, bytes: &[u8]) {
    put(out, format_args!("\"{}\"", bytes.escape_ascii()));
}

fn ending(expires: Option<TimeMs>) -> String {
    expires.map_or_else(|| "never".to_owned(), |at| at.0.to_string())
}

fn put_image(out: &mut String, kind: Kind, image: &[u8]) {
    put_value(out, &Value::decode_image(kind, image).expect("the journal holds an image of the value"));
}

fn put_value(out: &mut String, value: &Value) {
    match value {
        Value::Bytes(bytes) => put_quoted(out, bytes),
        Value::Hash(hash) => put_hash(out, hash),
        Value::List(list) => list.for_each(|element| {
            put_quoted(out, &element.bytes());
            out.push(' ');
        }),
        Value::Set(set) => put_set(out, set),
        Value::SortedSet(set) => {
            for Scored { member, score } in set.iter() {
                put_quoted(out, member);
                put(out, format_args!(" scores {score:?}, "));
            }
        }
        Value::Stream(stream) => put(out, format_args!("{stream:?}")),
    }
}

fn put_hash(out: &mut String, hash: &Hash) {
    let mut fields: Vec<_> = hash.iter().collect();
    fields.sort_unstable_by_key(|field| field.name);
    for field in fields {
        put_quoted(out, field.name);
        out.push('=');
        put_quoted(out, field.value);
        put(out, format_args!(" expires {}, ", ending(field.expires)));
    }
}

fn put_set(out: &mut String, set: &Set) {
    let mut members: Vec<_> = set.iter().collect();
    members.sort_unstable_by(|one, other| one.cmp(other));
    for member in members {
        put_quoted(out, &member);
        out.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::{self, Effect};
    use crate::entry::Home;
    use crate::partition::Stamp;
    use base::{PartitionId, Reader, Version};

    fn dump_of(partition: &Partition) -> String {
        let mut fetch = |_: &Spilled| unreachable!("nothing here is spilled");
        partition.dump(&mut fetch).expect("nothing to fetch")
    }

    fn holding(effects: &[&[u8]]) -> Partition {
        let mut partition = Partition::new(PartitionId(0));
        let stamp = Stamp { version: Version(1), time: TimeMs(0), home: Home::NONE, access: 0 };
        for bytes in effects {
            let (db, effect) = Effect::decode(&mut Reader::new(bytes)).expect("written here");
            partition.apply(db, &effect, &stamp).expect("applies");
        }
        partition.set_version(Version(1));
        partition
    }

    fn string(key: &[u8], value: &[u8], expires: Option<TimeMs>) -> Vec<u8> {
        let mut out = Vec::new();
        effect::put_string(&mut out, 0, key, expires, value);
        out
    }

    fn patched(key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        effect::put_patch(&mut out, 0, key, 0, value);
        out
    }

    fn hash(fields: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        effect::put_hash_set(&mut out, 1, b"h", fields.iter().map(|name| (*name, &b"v"[..], Some(TimeMs(9)))));
        out
    }

    #[test]
    fn equal_states_have_equal_dumps_however_they_came_to_be() {
        let (a, b) = (string(b"a", b"12", None), string(b"b", b"\"", Some(TimeMs(5))));
        let one = holding(&[&a, &b, &hash(&[b"f", b"g"])]);
        let other = holding(&[&hash(&[b"g", b"f"]), &b, &patched(b"a", b"12")]);
        let text = dump_of(&one);
        assert_eq!(text, dump_of(&other));
        assert_eq!(text.lines().count(), 4);
        assert!(text.contains(r#"db 0 "b" string version 1 revision 1 expires 5 "\"""#), "{text}");
    }

    #[test]
    fn any_difference_shows() {
        let base = || vec![string(b"a", b"1", None), hash(&[b"f"])];
        let dump = |effects: &[Vec<u8>]| dump_of(&holding(&effects.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        let mut all = vec![dump(&base())];
        for more in
            [string(b"a", b"2", None), string(b"a", b"1", Some(TimeMs(1))), string(b"c", b"", None), hash(&[b"g"])]
        {
            all.push(dump(&[base(), vec![more]].concat()));
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
