//! What stops a node for good: a failed sync of whatever file, and damage met in the middle of a batch. It is told once,
//! and nothing is acknowledged any more.

use crate::rig::Rig;
use base::DbId;
use journal::SyncMode;
use keyspace::{Begin, Tx};
use sim::Fault;
use std::panic::{AssertUnwindSafe, catch_unwind};

const LONG: &str = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";

/// A node with a key `long` whose value lies in the journal only, and is damaged there, and a key `short` that is fine.
fn with_a_damaged_value() -> Rig {
    let mut rig = Rig::new(SyncMode::EverySec);
    rig.connection.line(&format!("SET long {LONG}"));
    rig.idle();
    rig.spill();
    assert_eq!(rig.connection.line("SET short value"), "+OK\r\n");
    let path = journal::segment_path(journal::SegmentId::FIRST);
    let content = rig.disk.content();
    let is_value = |bytes: &[u8]| bytes == LONG.as_bytes();
    let at = content[&path].windows(LONG.len()).position(is_value).expect("the journal has the value");
    rig.disk.flip_bit(&path, at * 8);
    rig
}

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

/// A second sync of a directory may report what did not happen, and segments would go for it.
#[test]
fn a_failed_sync_of_a_checkpoint_or_of_its_directory_stops_the_node_and_is_not_retried() {
    for fault in [Fault::Sync, Fault::SyncDir] {
        let mut rig = Rig::new(SyncMode::EverySec);
        rig.connection.line("SET key value");
        rig.idle();
        let segments = rig.node.journal.segments();
        rig.disk.inject(fault);
        rig.node.checkpoint_all(false).expect_err("the sync fails");
        let told = rig.fatal.lock().clone();
        assert!(matches!(&told[..], [one] if one.contains("checkpoints")), "{fault:?}: {told:?}");
        rig.disk.heal(fault);
        rig.node.checkpoint_all(false).expect_err("nothing is synced any more");
        assert_eq!(rig.node.journal.segments(), segments, "{fault:?}");
        assert_eq!(rig.fatal.lock().len(), 1);
    }
}

#[test]
fn a_damaged_value_discards_the_transaction_that_needs_it_and_the_connection_goes_on() {
    let mut rig = with_a_damaged_value();
    for line in ["MULTI", "SET short other", "GET long"] {
        rig.connection.line(line);
    }
    let reply = rig.connection.line("EXEC");
    assert!(reply.starts_with("-EXECABORT Transaction discarded because of: ERR a value could not be read"), "{reply}");
    assert_eq!(rig.connection.line("GET short"), "$5\r\nvalue\r\n");
    assert_eq!(rig.connection.line("EXEC"), "-ERR EXEC without MULTI\r\n");
    let reply = rig.connection.line("GET long");
    assert!(reply.starts_with("-ERR a value could not be read back"), "{reply}");
    assert!(rig.fatal.lock().is_empty());
}

#[test]
fn a_script_that_has_changed_nothing_is_told_of_a_damaged_value() {
    let mut rig = with_a_damaged_value();
    let script = "return redis.pcall('get', 'long')";
    let reply = rig.connection.call(&["EVAL", script, "1", "short"]).reply;
    let reply = String::from_utf8(reply).expect("text");
    assert!(reply.starts_with("-ERR the value could not be read back"), "{reply}");
    assert_eq!(rig.connection.line("GET short"), "$5\r\nvalue\r\n");
    assert!(rig.fatal.lock().is_empty());
}

#[test]
fn a_damaged_value_in_the_middle_of_a_batch_stops_the_node_with_its_place_and_nothing_of_the_batch_is_kept() {
    let rig = with_a_damaged_value();
    rig.idle();
    let before = rig.node.journal.content_end();
    let node = &rig.node;
    let mut ids = vec![node.keyspace.partition_of(b"short"), node.keyspace.partition_of(b"long")];
    ids.sort_unstable();
    ids.dedup();
    let moment = node.moment();
    let begin = Begin { db: DbId(0), now: moment.now, clock: moment.clock, no_touch: false };
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut spare = Vec::new();
        let mut tx = Tx::begin(&node.keyspace, &node.journal, &ids, begin, &mut spare);
        tx.put_string(b"short", b"other", None);
        tx.string(b"long").map(|_| ())
    }));
    assert!(ran.is_err(), "the process would have ended");
    let told = rig.fatal.lock().clone();
    assert!(matches!(&told[..], [one] if one.contains("00000001.seg is damaged at offset")), "{told:?}");
    assert_eq!(rig.node.journal.content_end(), before);
}
