//! A string overwritten where it lies leaves behind what one leaves that moves to another block at each write.

use base::{PartitionId, TimeMs, Version};
use journal::{Position, SegmentId};
use keyspace::partition::Stamp;
use keyspace::{Home, Partition};
use std::collections::BTreeMap;

const KEY: &[u8] = b"key";

/// What can be seen of the key and of its homes: version, home, revision, access clock, value, live bytes by segment.
type Seen = (Version, Home, u32, u32, String, BTreeMap<u32, u64>);

fn seen(partition: &Partition) -> Seen {
    let place = partition.find(0, KEY).expect("it was put");
    let entry = partition.index(0).entry(place);
    let meta = entry.meta();
    let mut live = BTreeMap::new();
    partition.each_live(|segment, bytes| *live.entry(segment).or_default() += bytes);
    (meta.version, meta.home, meta.revision, meta.access, format!("{:?}", entry.stored()), live)
}

/// Puts each value as a batch of its own, as a transaction does, and notes what is seen after each.
fn overwrite(values: &[&[u8]], expires: Option<TimeMs>) -> Vec<Seen> {
    let mut partition = Partition::new(PartitionId(0));
    let mut states = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let number = index as u32 + 1;
        let (version, access) = (Version(number.into()), number);
        let stamp = Stamp { version, time: TimeMs(0), home: Home::PENDING, access };
        // Twice in one batch is one write.
        partition.put_string(0, KEY, expires, b"before", &stamp);
        let place = partition.put_string(0, KEY, expires, value, &stamp);
        let position = Position { segment: SegmentId(1 + number / 3), offset: number * 64 };
        partition.set_home(0, place, Home(position.pack()));
        states.push(seen(&partition));
    }
    states
}

#[test]
fn where_a_string_is_overwritten_is_not_to_be_seen() {
    let long = [b'v'; 300];
    let values: [&[u8]; 12] =
        [b"one", b"two", b"three", b"four", b"five!", b"6", b"7", b"8", &long, &long, b"", b"the last"];
    // A key that ends never takes the short way.
    let (stays, ends) = (overwrite(&values, None), overwrite(&values, Some(TimeMs(1_000))));
    assert_eq!(stays, ends);
    for (index, (_, _, revision, ..)) in stays.iter().enumerate() {
        assert_eq!(*revision as usize, index + 1);
    }
}
