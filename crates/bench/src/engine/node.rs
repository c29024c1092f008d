//! A node without doors, for `engine`: what a connection does with it between parsing and answering, and nothing more.
//!
//! Everything that a command would pay for is in: finding the partition, its lock, the transaction, the copy of the
//! value, the record with its checksums, the gate. Not in: parsing, replies, sockets; and checkpoints and merges, which
//! are held off, since `pauses` measures what they cost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base::DbId;
use commands::run::Moment;
use env::{Disk, RealClock, RealDisk, RealEntropy};
use journal::{Position, SEGMENT_BYTES_DEFAULT, SyncMode};
use keyspace::prefetch::Ahead;
use keyspace::{Begin, Garbage, Stop, Tx};
use node::{MemoryLimit, MemoryPolicy, Node, Options, Running};
use tempfile::TempDir;

use super::slow_disk::SlowDisk;
use crate::error::Error;
use crate::setup::Setup;
use crate::workload::KEY_BYTES;

/// As many partitions as a data directory gets by default.
const PARTITION_COUNT: u16 = 64;
const DB: DbId = DbId(0);

/// What a get found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    Value,
    Absent,
    Spilled,
}

/// Memory that a connection keeps from one command to the next.
#[derive(Default)]
pub struct Hands {
    effects: Vec<u8>,
    garbage: Vec<Garbage>,
    ahead: Vec<Ahead>,
}

/// A node on a fresh directory, which goes with it.
pub struct EngineNode {
    running: Option<Running>,
    node: Arc<Node>,
    _dir: TempDir,
}

impl EngineNode {
    /// Opens and starts a node on the setup's disk, whose syncs take `sync_takes` or longer.
    pub fn start(setup: &Setup, sync: SyncMode, sync_takes: Duration) -> Result<Self, Error> {
        std::fs::create_dir_all(&setup.work_dir).map_err(Error::io("create the work directory"))?;
        let dir = tempfile::tempdir_in(&setup.work_dir).map_err(Error::io("create a data directory"))?;
        let disk = RealDisk::open(dir.path()).map_err(Error::io("open a data directory"))?;
        let disk: Arc<dyn Disk> =
            if sync_takes.is_zero() { Arc::new(disk) } else { Arc::new(SlowDisk { disk, sync_takes }) };
        let opened = Node::open(disk, Arc::new(RealClock::new()), &RealEntropy, options(sync), &());
        let node = Arc::new(opened.map_err(Error::engine("open a node"))?);
        node.merge_dead_bytes_min.store(u64::MAX / 2, Ordering::Relaxed);
        let running = Arc::clone(&node).start();
        Ok(Self { running: Some(running), node, _dir: dir })
    }

    /// The moment that the commands of one read share.
    #[inline]
    pub fn moment(&self) -> Moment {
        self.node.moment()
    }

    fn begin<'a>(&'a self, key: &[u8], moment: &Moment, effects: &'a mut Vec<u8>) -> Tx<'a> {
        let begin = Begin { db: DB, now: moment.now, clock: moment.clock, no_touch: false };
        Tx::begin(&self.node.keyspace, &self.node.journal, &[self.node.keyspace.partition_of(key)], begin, effects)
    }

    /// Copies the value of `key`, which must be in memory, to `out`.
    ///
    /// # Panics
    /// When there is none: the keys of a measurement are all there.
    #[inline]
    pub fn get(&self, key: &[u8], moment: &Moment, hands: &mut Hands, out: &mut Vec<u8>) {
        let Hands { effects, garbage, .. } = hands;
        let mut tx = self.begin(key, moment, effects);
        let got = copy_string(&mut tx, key, out);
        tx.commit(garbage);
        assert_eq!(got, Got::Value, "a resident value is measured");
    }

    /// Has the memory that gets of `keys` will touch fetched, as a connection does for commands it has received together.
    #[inline]
    pub fn look_ahead<'k>(&self, keys: impl Iterator<Item = &'k [u8; KEY_BYTES]>, hands: &mut Hands) {
        let keyspace = &self.node.keyspace;
        hands.ahead.clear();
        hands.ahead.extend(keys.map(|key| keyspace.ahead(key)));
        hands.ahead.iter().for_each(|ahead| keyspace.prefetch_bucket(*ahead, DB));
        hands.ahead.retain(|ahead| keyspace.prefetch_entry(*ahead, DB));
        hands.ahead.iter().for_each(|ahead| keyspace.prefetch_far_entry(*ahead, DB));
    }

    /// Copies the value of `key`, which must have been spilled, to `out`, the way a connection does: a transaction finds
    /// it missing, it is fetched and given back to its key, and the transaction runs anew.
    ///
    /// # Panics
    /// When it is there already: then something else would be measured.
    pub async fn get_spilled(
        &self,
        key: &[u8],
        moment: &Moment,
        hands: &mut Hands,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let wanted = {
            let mut tx = self.begin(key, moment, &mut hands.effects);
            assert_eq!(copy_string(&mut tx, key, out), Got::Spilled, "a spilled value is measured");
            tx.into_spilled()
        };
        self.node.fetch(wanted).await.map_err(Error::engine("fetch a spilled value"))?;
        self.get(key, moment, hands, out);
        self.node.discard(std::mem::take(&mut hands.garbage));
        Ok(())
    }

    /// Makes `value` the value of `key`. Returns what a reply waits for.
    #[inline]
    pub fn put(&self, key: &[u8], value: &[u8], moment: &Moment, hands: &mut Hands) -> Position {
        let Hands { effects, garbage, .. } = hands;
        let mut tx = self.begin(key, moment, effects);
        tx.put_string(key, value, None);
        let committed = tx.commit(garbage);
        if !garbage.is_empty() {
            self.node.discard(std::mem::take(garbage));
        }
        committed.revealed
    }

    /// What a reply waits for in the modes that do not sync: everything before `end` is in the page cache.
    #[inline]
    pub fn write_through(&self, end: Position) -> Result<(), Error> {
        self.node.journal.write_through(end).map_err(Error::engine("write to the journal"))
    }

    /// What a reply waits for in `always`: everything before `end` is on the device.
    pub async fn durable(&self, end: Position) -> Result<(), Error> {
        self.node.durable(end).await.map_err(Error::engine("sync the journal"))
    }

    /// Leaves nothing behind for the device to do during the next measurement.
    pub fn settle(&self) -> Result<(), Error> {
        self.node.journal.sync().map_err(Error::engine("sync the journal"))
    }

    /// Drops the values of `keys` from memory, as the memory limit would.
    ///
    /// # Panics
    /// When one of them cannot be.
    pub fn spill(&self, keys: &[[u8; KEY_BYTES]]) {
        for key in keys {
            let mut partition = self.node.keyspace.lock(self.node.keyspace.partition_of(key));
            let db = partition.physical(DB);
            let place = partition.find(db, key).expect("the keys of a measurement are all there");
            let won_bytes = partition.spill(db, place);
            assert!(0 < won_bytes, "a value just written can be spilled");
            let garbage = partition.take_garbage();
            drop(partition);
            self.node.discard(garbage);
        }
    }
}

/// Ends the threads before the directory goes.
impl Drop for EngineNode {
    fn drop(&mut self) {
        let running = self.running.take().expect("a node is stopped once");
        if let Err(error) = running.stop(false) {
            eprintln!("the node under test did not stop cleanly: {error}");
        }
    }
}

#[inline]
fn copy_string(tx: &mut Tx<'_>, key: &[u8], out: &mut Vec<u8>) -> Got {
    match tx.string(key) {
        Ok(Some(string)) => {
            out.clear();
            out.extend_from_slice(&string.bytes());
            Got::Value
        }
        Err(Stop::Spilled) => Got::Spilled,
        Ok(None) | Err(Stop::WrongType | Stop::Unreadable) => Got::Absent,
    }
}

fn options(sync: SyncMode) -> Options {
    let memory =
        MemoryLimit { bytes_max: 0, policy: MemoryPolicy::Spill, samples: 5, lfu_log_factor: 10, lfu_decay_minutes: 1 };
    Options {
        partition_count: PARTITION_COUNT,
        segment_bytes: SEGMENT_BYTES_DEFAULT,
        sync,
        memory,
        checkpoint_bytes: u64::MAX / 2,
        pieces: keyspace::pieces::PieceLimits::STANDARD,
        fatal: Box::new(|error| {
            eprintln!("larder-bench: the journal stopped: {error}");
            std::process::exit(1)
        }),
    }
}
