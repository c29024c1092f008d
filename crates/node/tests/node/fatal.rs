//! A device that fails a sync stops the journal: it is told once, and nothing is acknowledged any more.

use crate::rig::Rig;
use journal::SyncMode;
use sim::Fault;

#[test]
fn a_failed_sync_is_told_once_and_nothing_is_settled_after_it() {
    let mut rig = Rig::new(SyncMode::Always);
    rig.disk.inject(Fault::Sync);
    let answer = rig.connection.call(&["SET", "key", "value"]);
    rig.node.journal.request_sync();
    rig.node.journal.flusher_turn().expect_err("the sync fails");
    assert_eq!(rig.fatal.lock().len(), 1, "{:?}", rig.fatal.lock());
    rig.disk.heal(Fault::Sync);
    rig.node.journal.flusher_turn().ok();
    assert!(!rig.node.is_settled(answer.revealed));
}
