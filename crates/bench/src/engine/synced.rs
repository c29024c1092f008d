//! Synced puts: what one fsync for many writers is worth.
//!
//! Writers are tasks on the runtime that connections run on. Each puts one value, waits until it is on the device, and
//! goes on, so that whatever many of them do faster than one comes from sharing. One writer and many take turns, since
//! the device is slower in some minutes than in others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::SyncMode;
use tokio::runtime::Runtime;

use super::node::{EngineNode, Hands};
use super::{Flags, VALUES_COUNT, values};
use crate::error::Error;
use crate::setup::{self, Setup};
use crate::workload::key;

/// One writer has the device for this long, then many have, and so on in turn: a slow moment of the device then weighs
/// on both.
const TURN: Duration = Duration::from_millis(250);
/// Turns of either in a round.
const TURNS: u32 = 8;
const TURNS_QUICK: u32 = 2;
/// Few enough that they are soon all there and puts overwrite, as the others that are measured do.
const KEYS_PER_WRITER: u64 = 1000;
/// Size of synced values.
pub const SYNCED_VALUE_BYTES: usize = 128;

/// Synced puts per second by one writer and by many, by round.
#[derive(Default)]
pub struct Synced {
    /// By one.
    pub one: Vec<f64>,
    /// By [`Flags::writers`].
    pub many: Vec<f64>,
}

/// One writer and many in turn, on the runtime that connections run on, with syncs that take `sync_takes` or longer.
pub fn measure(setup: &Setup, flags: &Flags, sync_takes: Duration) -> Result<Synced, Error> {
    let engine = Arc::new(EngineNode::start(setup, SyncMode::Always, sync_takes)?);
    let runtime = Runtime::new().map_err(Error::io("start a runtime"))?;
    let turns = if setup.quick { TURNS_QUICK } else { TURNS };
    let mut synced = Synced::default();
    for _ in 0..setup.rounds() {
        let (mut one, mut many) = (Tally::default(), Tally::default());
        for _ in 0..turns {
            one.add(runtime.block_on(turn(&engine, 1))?);
            many.add(runtime.block_on(turn(&engine, flags.writers))?);
        }
        let (one, many) = (one.per_s(), many.per_s());
        let least = if sync_takes.is_zero() { String::new() } else { format!(", a sync taking {sync_takes:?}") };
        setup::progress(&format!(
            "synced puts per second{least}: 1 writer {one:.0}, {} writers {many:.0}",
            flags.writers
        ));
        synced.one.push(one);
        synced.many.push(many);
    }
    Ok(synced)
}

/// Puts and the time they took.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    puts: u64,
    elapsed: Duration,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.puts += other.puts;
        self.elapsed += other.elapsed;
    }

    fn per_s(self) -> f64 {
        self.puts as f64 / self.elapsed.as_secs_f64()
    }
}

async fn turn(engine: &Arc<EngineNode>, writers: usize) -> Result<Tally, Error> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers as u64)
        .map(|writer| tokio::spawn(write_synced(Arc::clone(engine), writer, start + TURN)))
        .collect();
    let mut puts = 0;
    for task in tasks {
        puts += task.await.expect("a writer does not panic")?;
    }
    Ok(Tally { puts, elapsed: start.elapsed() })
}

/// Puts its own keys in turn, each put durable before the next. Returns how many puts.
async fn write_synced(engine: Arc<EngineNode>, writer: u64, until: Instant) -> Result<u64, Error> {
    let values = values(SYNCED_VALUE_BYTES);
    let mut hands = Hands::default();
    let mut puts = 0;
    while Instant::now() < until {
        let value = &values[(puts % VALUES_COUNT) as usize];
        let end =
            engine.put(&key(writer * KEYS_PER_WRITER + puts % KEYS_PER_WRITER), value, &engine.moment(), &mut hands);
        engine.durable(end).await?;
        puts += 1;
    }
    Ok(puts)
}
