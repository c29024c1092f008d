//! Merging goes on where a segment cannot be read.

use crate::rig::Rig;
use journal::SyncMode;
use std::sync::atomic::Ordering;

#[test]
fn a_damaged_segment_is_left_alone_and_the_others_are_merged() {
    let mut rig = Rig::new(SyncMode::EverySec);
    // Two short values lie in the first segment, which is the deadest for it and looked at first.
    for (number, bytes) in [40, 40, 2_000].into_iter().enumerate() {
        rig.connection.line(&format!("SET live:{number} {}", "v".repeat(bytes)));
        rig.connection.line(&format!("SET filled {}", "x".repeat(60_000)));
    }
    rig.connection.line("DEL filled");
    rig.idle();
    rig.node.checkpoint_all(false).expect("there is room");
    let before: Vec<u32> = rig.node.live_bytes().into_keys().collect();
    assert!(before.starts_with(&[1, 2]), "{before:?}");
    rig.disk.flip_bit("journal/00000001.seg", 30_000 * 8);
    rig.node.merge_turn(false);
    let tried: Vec<u32> = rig.node.live_bytes().into_keys().collect();
    assert!(tried.starts_with(&[1, 2]), "the damaged one was tried: {tried:?}");
    rig.node.merge_turn(false);
    let after: Vec<u32> = rig.node.live_bytes().into_keys().collect();
    assert!(after.contains(&1), "{after:?}");
    assert!(!after.contains(&2), "{after:?}");
    assert!(0 < rig.node.counters.merged_bytes.load(Ordering::Relaxed));
}
