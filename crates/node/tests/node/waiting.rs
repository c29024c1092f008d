//! What the node removes by itself, somebody may wait for.

use crate::rig::Rig;
use base::DbId;
use journal::SyncMode;
use node::{MemoryLimit, MemoryPolicy};
use parking_lot::Mutex;
use std::sync::Arc;

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
