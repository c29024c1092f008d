//! What has ended is counted once, whoever removes it; key counts and the count of hashes with ending fields follow.

use base::{PartitionId, Reader, TimeMs, Version};
use keyspace::effect::{self, Effect};
use keyspace::partition::{EndedCounts, Stamp};
use keyspace::{Home, Partition};

struct Bench {
    partition: Partition,
    version: u64,
}

impl Bench {
    fn new() -> Self {
        Bench { partition: Partition::new(PartitionId(0)), version: 0 }
    }

    /// Applies what `encode` writes at a time.
    fn at(&mut self, now: i64, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        self.version += 1;
        let stamp = Stamp { version: Version(self.version), time: TimeMs(now), home: Home::NONE, access: 0 };
        let mut reader = Reader::new(&bytes);
        let (db, effect) = Effect::decode(&mut reader).expect("an effect made here");
        self.partition.apply(db, &effect, &stamp).expect("an effect made here");
    }

    fn ended(&self) -> (u64, u64) {
        let EndedCounts { key_count, field_count } = self.partition.ended_counts();
        (key_count, field_count)
    }
}

#[test]
fn an_ended_key_is_counted_when_it_is_overwritten_deleted_or_met() {
    let mut bench = Bench::new();
    for key in [&b"a"[..], b"b", b"c", b"d"] {
        bench.at(0, |out| effect::put_string(out, 0, key, Some(TimeMs(5)), b"v"));
    }
    bench.at(4, |out| effect::put_string(out, 0, b"d", None, b"w"));
    assert_eq!((bench.ended(), bench.partition.key_count(0, TimeMs(4))), ((0, 0), 4));
    assert_eq!(bench.partition.key_count(0, TimeMs(5)), 1, "only d lives on");
    bench.at(5, |out| effect::put_string(out, 0, b"a", None, b"w"));
    bench.at(5, |out| effect::put_delete(out, 0, b"b"));
    bench.at(5, |out| effect::put_expire(out, 0, b"c", Some(TimeMs(9))));
    bench.at(5, |out| effect::put_delete(out, 0, b"d"));
    assert_eq!((bench.ended(), bench.partition.key_count(0, TimeMs(5))), ((3, 0), 1));
}

#[test]
fn ended_fields_are_counted_and_a_hash_emptied_by_them_is_no_ended_key() {
    let mut bench = Bench::new();
    let fields = [&b"f"[..], b"g", b"h"].map(|name| (name, &b"v"[..], Some(TimeMs(5))));
    bench.at(0, |out| effect::put_hash_set(out, 0, b"k", fields.into_iter()));
    assert_eq!(bench.partition.expiring_fields_count(0), 1);
    bench.at(5, |out| effect::put_hash_set(out, 0, b"k", [(&b"f"[..], &b"w"[..], None)].into_iter()));
    bench.at(5, |out| effect::put_hash_expire(out, 0, b"k", [(&b"g"[..], Some(TimeMs(9)))].into_iter()));
    assert_eq!((bench.ended(), bench.partition.expiring_fields_count(0)), ((0, 2), 1));
    bench.at(5, |out| effect::put_hash_delete(out, 0, b"k", [&b"h"[..], b"f"].into_iter()));
    assert_eq!((bench.ended(), bench.partition.expiring_fields_count(0)), ((0, 3), 0));
    assert_eq!(bench.partition.key_count(0, TimeMs(5)), 0);
}

#[test]
fn hashes_with_ending_fields_are_counted_through_overwriting_and_flushing() {
    let mut bench = Bench::new();
    let field = |expires| [(&b"f"[..], &b"v"[..], expires)].into_iter();
    for key in [&b"a"[..], b"b", b"c"] {
        bench.at(0, |out| effect::put_hash_set(out, 0, key, field(Some(TimeMs(5)))));
    }
    assert_eq!(bench.partition.expiring_fields_count(0), 3);
    bench.at(0, |out| effect::put_string(out, 0, b"a", None, b"v"));
    bench.at(0, |out| effect::put_hash_set(out, 0, b"b", field(None)));
    assert_eq!(bench.partition.expiring_fields_count(0), 1);
    bench.at(0, |out| effect::put_flush(out, 0));
    assert_eq!((bench.partition.expiring_fields_count(0), bench.ended()), (0, (0, 0)));
}

#[test]
fn a_live_flush_leaves_keys_and_deadlines_to_be_freed_elsewhere() {
    let mut bench = Bench::new();
    for key in [&b"a"[..], b"b"] {
        bench.at(0, |out| effect::put_string(out, 0, key, Some(TimeMs(5)), b"v"));
    }
    let stamp = Stamp { version: Version(3), time: TimeMs(0), home: Home::PENDING, access: 0 };
    assert_eq!(bench.partition.apply(0, &Effect::FlushDb, &stamp).expect("it applies").removed, 2);
    let garbage = bench.partition.take_garbage();
    assert_eq!(format!("{garbage:?}"), "[Flushed(Flushed(2 keys))]");
    assert_eq!((bench.partition.key_count(0, TimeMs(0)), bench.partition.next_deadline()), (0, None));
}

#[test]
fn a_replayed_flush_keeps_what_a_checkpoint_shows_from_after_it() {
    let mut bench = Bench::new();
    for key in [&b"a"[..], b"b"] {
        bench.at(0, |out| effect::put_string(out, 0, key, None, b"v"));
    }
    bench.version = 0;
    bench.at(0, |out| effect::put_flush(out, 0));
    assert!(bench.partition.find(0, b"a").is_none() && bench.partition.find(0, b"b").is_some());
}
