//! Keys and fields that end, removed on time with a bounded amount of work under each lock.
//!
//! Reads treat what has ended as absent, so this only gives memory back; it may be late, never wrong.
//!
//! Invariant: nothing is removed while the journal has no space for more. The room kept back then is for the deletes
//! that clients ask for. Nor while clients are paused (CLIENT PAUSE), for whom nothing is to change.

use crate::node::Node;
use base::DbId;
use keyspace::{Begin, Tx};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Removals under one lock.
pub const ENDED_BATCH_MAX: usize = 64;
/// Longest sleep: keys set meanwhile may end sooner than what was next before.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// Bytes of names after which a lock takes no further removal: the last may be a key and a field of 512 MiB each.
pub const ENDED_BYTES_MAX: usize = 16 << 20;
const SLEEP_MIN: Duration = Duration::from_millis(1);

const _: () = assert!(
    2 * ENDED_BYTES_MAX + 2 * keyspace::STRING_BYTES_MAX <= journal::BODY_BYTES_MAX as usize,
    "removals must fit a record"
);

impl Node {
    /// Removes what has ended, everywhere. Returns how long nothing more will end, as far as is known.
    pub fn expire_turn(&self) -> Duration {
        if !self.expiry_enabled.load(Ordering::Relaxed) || self.keyspace.keeps_ended() {
            return SLEEP_MAX;
        }
        if self.holds_still() {
            return SLEEP_MIN;
        }
        let mut soonest: Option<i64> = None;
        let mut spare = Vec::new();
        for id in self.keyspace.ids() {
            loop {
                let moment = self.moment();
                let due = self.keyspace.lock(id).next_deadline();
                let Some(due) = due else { break };
                if moment.now < due {
                    soonest = Some(soonest.map_or(due.0, |soonest| soonest.min(due.0)));
                    break;
                }
                if self.journal.is_full() {
                    return SLEEP_MAX;
                }
                let begin = Begin { db: DbId(0), now: moment.now, clock: moment.clock, no_touch: true };
                let mut tx = Tx::begin(&self.keyspace, &self.journal, &[id], begin, &mut spare);
                let ended = tx.remove_ended(ENDED_BATCH_MAX, ENDED_BYTES_MAX);
                let mut garbage = Vec::new();
                self.let_serve(tx.commit(&mut garbage).ready);
                self.discard(garbage);
                self.counters.expired.fetch_add(ended, Ordering::Relaxed);
                std::thread::yield_now();
            }
        }
        let wait = soonest.map_or(SLEEP_MAX, |at| Duration::from_millis((at - self.clock.wall_ms().0).max(0) as u64));
        wait.clamp(SLEEP_MIN, SLEEP_MAX)
    }
}
