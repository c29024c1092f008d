//! `check` and `repair` on a real directory: what is damaged is named, and only what is named is given up.

use base::DbId;
use env::{Disk, RealClock, RealDisk, RealEntropy};
use journal::{SegmentId, SyncMode};
use keyspace::{Begin, Tx};
use node::inspect::{self, Salvage};
use node::{MemoryLimit, MemoryPolicy, Node, OpenError, Options};
use std::sync::Arc;

const KEYS: u32 = 200;

fn open(disk: &Arc<dyn Disk>) -> Result<Arc<Node>, OpenError> {
    let options = Options {
        partition_count: 4,
        segment_bytes: 64 << 10,
        sync: SyncMode::Os,
        memory: MemoryLimit {
            bytes_max: 0,
            policy: MemoryPolicy::Spill,
            samples: 5,
            lfu_log_factor: 10,
            lfu_decay_minutes: 1,
        },
        checkpoint_bytes: 1 << 30,
        pieces: keyspace::pieces::PieceLimits::STANDARD,
        fatal: Box::new(|error| panic!("{error}")),
    };
    Node::open(Arc::clone(disk), Arc::new(RealClock::new()), &RealEntropy, options, &()).map(Arc::new)
}

fn put(node: &Node, key: &[u8], value: &[u8]) {
    let moment = node.moment();
    let begin = Begin { db: DbId(0), now: moment.now, clock: moment.clock, no_touch: false };
    let mut spare = Vec::new();
    let mut tx = Tx::begin(&node.keyspace, &node.journal, &[node.keyspace.partition_of(key)], begin, &mut spare);
    tx.put_string(key, value, None);
    tx.commit(&mut Vec::new());
}

fn has(node: &Node, key: &[u8]) -> bool {
    node.keyspace.lock(node.keyspace.partition_of(key)).find(0, key).is_some()
}

/// A directory with `KEYS` keys and a bit flipped in the middle of its first segment.
fn damaged(dir: &std::path::Path) -> Arc<dyn Disk> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir).expect("a directory of the test"));
    let node = open(&disk).expect("a directory of the test");
    for number in 0..KEYS {
        put(&node, format!("key:{number}").as_bytes(), &[b'v'; 100]);
    }
    Arc::clone(&node).start().stop(false).expect("a directory of the test");
    drop(node);
    let path = dir.join(journal::segment_path(SegmentId::FIRST));
    let mut bytes = std::fs::read(&path).expect("a directory of the test");
    bytes[10_000] ^= 1;
    std::fs::write(&path, bytes).expect("a directory of the test");
    disk
}

#[test]
fn a_whole_directory_has_no_problem_and_a_damaged_one_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let disk = damaged(dir.path());
    let report = inspect::check(&disk).unwrap();
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert!(report.problems[0].contains("journal/00000001.seg: damaged at byte"), "{:?}", report.problems);
    let refused = open(&disk).err().expect("damage is refused");
    assert!(refused.to_string().contains("00000001.seg"), "{refused}");
}

#[test]
fn giving_up_the_damaged_record_keeps_every_other_key() {
    let dir = tempfile::tempdir().unwrap();
    let disk = damaged(dir.path());
    let done = inspect::repair(&disk, Salvage::Records, 7).unwrap();
    assert_eq!(done.len(), 1, "{done:?}");
    assert!(inspect::check(&disk).unwrap().problems.is_empty());
    let node = open(&disk).unwrap();
    let kept = (0..KEYS).filter(|number| has(&node, format!("key:{number}").as_bytes())).count();
    assert_eq!(kept as u32, KEYS - 1);
    node.checkpoint_all(true).unwrap();
    assert!(!dir.path().join(inspect::SALVAGED_PATH).exists(), "a complete checkpoint settles it");
}

#[test]
fn giving_up_the_tail_keeps_what_was_before() {
    let dir = tempfile::tempdir().unwrap();
    let disk = damaged(dir.path());
    inspect::repair(&disk, Salvage::Tail, 7).unwrap();
    let node = open(&disk).unwrap();
    let kept: Vec<bool> = (0..KEYS).map(|number| has(&node, format!("key:{number}").as_bytes())).collect();
    assert!(kept[0] && !kept[KEYS as usize - 1]);
    assert!(kept.is_sorted_by(|before, after| before >= after), "a prefix of the history is left");
    assert!(inspect::repair(&disk, Salvage::Tail, 7).is_err(), "the directory is in use");
}
