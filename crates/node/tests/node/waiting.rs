//! What the node removes by itself, somebody may wait for.

use crate::rig::Rig;
use base::DbId;
use journal::SyncMode;
use node::{MemoryLimit, MemoryPolicy};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_key_that_ends_or_is_evicted_is_handed_over_for_those_who_wait_for_it() {
    let mut rig = Rig::new(SyncMode::Os);
    let handed = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&handed);
    rig.node.set_serve(move |ready| sink.lock().extend(ready.into_iter().map(|ready| (ready.db, ready.key))));
    rig.connection.line("SELECT 3");
    for key in ["ends", "evicted", "nobody's"] {
        rig.connection.line(&format!("XGROUP CREATE {key} g $ MKSTREAM"));
    }
    for key in ["ends", "evicted"] {
        let reply = rig.connection.line(&format!("XREADGROUP GROUP g c BLOCK 0 STREAMS {key} >"));
        assert_eq!(reply, "", "it waits");
    }
    rig.connection.line("PEXPIRE ends 10");
    rig.clock.advance_ms(10);
    rig.node.expire_turn();
    assert_eq!(std::mem::take(&mut *handed.lock()), [(DbId(3), b"ends".to_vec())]);
    let policy = MemoryPolicy::AllKeysRandom;
    let limit = MemoryLimit { bytes_max: 1, policy, samples: 3, lfu_log_factor: 10, lfu_decay_minutes: 1 };
    rig.node.set_memory_limit(limit);
    rig.node.memory_turn();
    assert_eq!(rig.connection.line("EXISTS nobody's"), ":0\r\n");
    assert_eq!(*handed.lock(), [(DbId(3), b"evicted".to_vec())]);
}

#[test]
fn nothing_is_removed_or_evicted_while_clients_are_paused() {
    let mut rig = Rig::new(SyncMode::Os);
    let still = Arc::new(AtomicBool::new(true));
    let paused = Arc::clone(&still);
    rig.node.set_still(move || paused.load(Ordering::Relaxed));
    rig.connection.line("SET ends v PX 10");
    rig.connection.line("SET stays v");
    rig.clock.advance_ms(10);
    let policy = MemoryPolicy::AllKeysRandom;
    let limit = MemoryLimit { bytes_max: 1, policy, samples: 3, lfu_log_factor: 10, lfu_decay_minutes: 1 };
    rig.node.set_memory_limit(limit);
    let removed = |rig: &Rig| {
        rig.node.expire_turn();
        rig.node.memory_turn();
        let [ended, evicted] = [&rig.node.counters.expired, &rig.node.counters.evicted];
        (ended.load(Ordering::Relaxed), evicted.load(Ordering::Relaxed))
    };
    assert_eq!(removed(&rig), (0, 0));
    assert_eq!(rig.connection.line("EXISTS ends stays"), ":1\r\n", "what has ended is absent nevertheless");
    still.store(false, Ordering::Relaxed);
    assert_eq!(removed(&rig), (1, 1));
}

#[test]
fn a_command_that_makes_memory_grow_by_much_is_made_room_for_before_the_next() {
    for (policy, is_evicted) in
        [(MemoryPolicy::VolatileRandom, true), (MemoryPolicy::Spill, false), (MemoryPolicy::NoEviction, false)]
    {
        let mut rig = Rig::new(SyncMode::Os);
        rig.connection.line("SET ends v EX 100");
        rig.connection.line("SET stays v");
        let bytes_max = rig.node.measure_memory() + 100_000;
        let limit = MemoryLimit { bytes_max, policy, samples: 3, lfu_log_factor: 10, lfu_decay_minutes: 1 };
        rig.node.set_memory_limit(limit);
        rig.connection.line("SET small v");
        assert_eq!(rig.connection.line("EXISTS ends stays"), ":2\r\n", "{policy:?}");
        rig.connection.line("SETBIT large 1600000 0");
        let left = if is_evicted { ":1\r\n" } else { ":2\r\n" };
        assert_eq!(rig.connection.line("EXISTS ends stays"), left, "{policy:?}");
        let is_refusing = rig.node.moment().refuse_growth.is_some();
        assert_eq!(is_refusing, policy == MemoryPolicy::NoEviction, "{policy:?}");
    }
}

#[test]
fn the_last_member_that_is_to_end_ends_too() {
    let mut rig = Rig::new(SyncMode::Os);
    assert!(rig.connection.line("HUSTDB SADD s m 1 0").contains("200"));
    assert_eq!(rig.connection.line("SISMEMBER s m"), ":1\r\n");
    rig.clock.advance_ms(1000);
    rig.node.expire_turn();
    assert_eq!(rig.connection.line("SISMEMBER s m"), ":0\r\n");
}

#[test]
fn a_flush_of_many_tables_is_one_batch_of_bounded_size() {
    let mut rig = Rig::new(SyncMode::Os);
    for table in 0..4 {
        let name = format!("{table}-{}", "t".repeat(40_000));
        rig.connection.line(&format!("HUSTDB SADD {name} m 0 0"));
        rig.connection.line(&format!("HUSTDB SADD {name} m 0 0"));
    }
    assert_eq!(rig.connection.line("FLUSHALL"), "+OK\r\n");
    let name = format!("0-{}", "t".repeat(40_000));
    let version_1 = rig.connection.line("HUSTDB SADD fresh m 0 0");
    assert_eq!(rig.connection.line(&format!("HUSTDB SADD {name} m 0 0")), version_1, "versions begin anew");
}
