//! A checkpoint that is asked for while one is written is refused, and only one that is scheduled follows.

use crate::rig::Rig;
use base::PartitionId;
use journal::SyncMode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Does `ask` while a checkpoint is being written; whether another is wanted when that is done.
fn another_follows(ask: impl FnOnce(&Rig)) -> bool {
    let rig = Rig::new(SyncMode::Os);
    let held = rig.node.keyspace.lock(PartitionId(0));
    let node = Arc::clone(&rig.node);
    let writing = std::thread::spawn(move || node.checkpoint_all(false).expect("the disk takes it"));
    while !rig.node.is_checkpointing() {
        std::thread::yield_now();
    }
    ask(&rig);
    drop(held);
    writing.join().expect("a checkpoint");
    rig.node.is_checkpointing()
}

#[test]
fn one_that_is_refused_does_not_follow_and_one_that_is_scheduled_does() {
    assert!(!another_follows(|_| ()));
    assert!(!another_follows(|rig| assert!(!rig.node.request_checkpoint(), "one is being written")));
    assert!(another_follows(|rig| rig.node.schedule_checkpoint()));
    let idle = Rig::new(SyncMode::Os);
    assert!(idle.node.request_checkpoint() && idle.node.is_checkpointing());
    assert!(!idle.node.request_checkpoint(), "one is wanted already");
}

/// Or a SAVE at the end of a checkpoint would wait for one that nobody wants.
#[test]
fn a_checkpoint_that_has_all_but_ended_is_not_waited_for_as_if_another_followed() {
    let rig = Rig::new(SyncMode::Os);
    let running = Arc::clone(&rig.node).start();
    let written = || rig.node.counters.checkpoints.load(Ordering::Relaxed);
    for _ in 0..1000 {
        let before = written();
        while !rig.node.request_checkpoint() {
            std::thread::yield_now();
        }
        while written() == before {
            std::hint::spin_loop();
        }
        rig.node.checkpoint_now().expect("the disk takes it");
        assert_eq!(written(), before + 2);
    }
    running.stop(false).expect("the disk syncs");
}
