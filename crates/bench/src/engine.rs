//! `engine`: what the engine costs by itself, in this process, on a real disk: get and put by value size, and what one
//! fsync for many writers is worth.
//!
//! - [`node`]: a node without doors, and what a connection does with it
//! - [`synced`]: synced puts, on the device as it is and on a [`slow_disk`]; [`page`]: what is made of it all
//!
//! Deliberately without doors: `compare` has the whole server. One thread gets and puts in a loop, one key again and
//! again or random ones drawn beforehand, so that drawing them is not measured; a round is one pass, and figures are
//! nanoseconds per operation. The sizes and the bounds are those published for the store that Larder's `/{key}` door
//! stands in for. What it published is one key put once and then got, or put, over and over, each value compared
//! (`BenchmarkGet` and `BenchmarkPut` in its `bitcask/kv_test.go`), so bounds are judged on that work. Random keys out
//! of many cost what fetching their memory costs on top, and are what a server meets.
//!
//! Two figures of each round: the median of its turns of [`TURN_OPS`] operations, which other processes that get the core
//! in between do not move, and is what promises are judged by; and the mean, which has everything in it.

mod node;
mod page;
mod slow_disk;
mod synced;

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use journal::SyncMode;
use tokio::runtime::Runtime;

use self::node::{EngineNode, Hands};
use crate::error::Error;
use crate::setup::{self, Setup};
use crate::stats::Spread;
use crate::workload::{KEY_BYTES, Random, Values, key};

/// Keys hold at most this much together, so that large values are measured and not the machine's memory.
const FILL_BYTES_MAX: u64 = 256 << 20;
/// Operations per round, unless their values exceed [`FILL_BYTES_MAX`].
const ROUND_OPS: u64 = 1_000_000;
/// Operations that share a moment, and a write to the page cache where writes are shared: what one read of a busy
/// connection brings.
const TURN_OPS: usize = 64;
/// Gets whose memory is fetched together, where it is: what a connection parses at once.
const AHEAD_OPS: usize = 16;
/// Different values in use; the key says which.
const VALUES_COUNT: u64 = 64;

/// Flags of `engine`.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Keys stored, fewer where their values would exceed 256 MiB together
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Bytes of each value
    #[arg(long, value_delimiter = ',', default_values_t = [128, 1024, 4096, 32768])]
    value_bytes: Vec<usize>,
    /// Writers that share an fsync
    #[arg(long, default_value_t = 64)]
    writers: usize,
}

/// What is timed, by value size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    GetOne,
    PutOne,
    Get,
    GetAhead,
    GetSpilled,
    Put,
    PutAlone,
}

const OPERATIONS: [Operation; 7] = [
    Operation::GetOne,
    Operation::PutOne,
    Operation::Get,
    Operation::GetAhead,
    Operation::GetSpilled,
    Operation::Put,
    Operation::PutAlone,
];

impl Operation {
    fn name(self) -> String {
        match self {
            Self::GetOne => "get, one key".into(),
            Self::PutOne => "put, one key".into(),
            Self::Get => "get".into(),
            Self::GetAhead => format!("get, {AHEAD_OPS} ahead"),
            Self::GetSpilled => "get, spilled".into(),
            Self::Put => format!("put, write per {TURN_OPS}"),
            Self::PutAlone => "put, write each".into(),
        }
    }
}

/// ns per operation in one round.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// Of its median turn.
    median_ns: f64,
    /// Of all its turns.
    mean_ns: f64,
}

/// Rounds by [`Operation`].
type Rounds = [Vec<Round>; OPERATIONS.len()];

/// The figures of one value size.
struct Size {
    value_bytes: usize,
    keys: u64,
    rounds: Rounds,
}

impl Size {
    fn spread(&self, operation: Operation, figure: fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds[operation as usize].iter().map(figure))
    }

    fn median_ns(&self, operation: Operation) -> Spread {
        self.spread(operation, |round| round.median_ns)
    }
}

/// Measures and writes `engine.md` and its plot.
pub fn run(setup: &Setup, flags: &Flags) -> Result<(), Error> {
    let mut sizes = Vec::new();
    for value_bytes in flags.value_bytes.iter().copied() {
        sizes.push(measure_size(setup, flags, value_bytes)?);
    }
    let devices = [Duration::ZERO, page::PUBLISHED_SYNCED_PUT];
    let synced = devices.map(|sync_takes| synced::measure(setup, flags, sync_takes));
    let [here, published] = synced;
    page::write(setup, flags, &sizes, &[here?, published?])
}

fn measure_size(setup: &Setup, flags: &Flags, value_bytes: usize) -> Result<Size, Error> {
    let fitting = FILL_BYTES_MAX / value_bytes.max(1) as u64;
    let keys = setup.scaled(flags.keys).min(fitting).max(1);
    let ops = setup.scaled(ROUND_OPS).min(fitting).max(1);
    let engine = EngineNode::start(setup, SyncMode::Os, Duration::ZERO)?;
    // Only the thread that is measured is placed; the node's own run where there is room.
    let rounds = thread::scope(|scope| {
        let bench = || {
            setup.pin_to_server_core()?;
            SizeBench::new(&engine, keys, ops, value_bytes)?.run(setup.rounds())
        };
        scope.spawn(bench).join().expect("a measurement does not panic")
    })?;
    let size = Size { value_bytes, keys, rounds };
    let figures = OPERATIONS.map(|operation| format!("{} {:.0}", operation.name(), size.median_ns(operation).median));
    setup::progress(&format!("{value_bytes} B, ns: {}", figures.join("; ")));
    Ok(size)
}

/// One value size under measurement.
struct SizeBench<'e> {
    engine: &'e EngineNode,
    runtime: Runtime,
    keys: Vec<[u8; KEY_BYTES]>,
    /// Indices of keys, at random with repetition.
    draws: Vec<u32>,
    /// Indices of keys, each once.
    shuffled: Vec<u32>,
    values: Vec<Vec<u8>>,
    hands: Hands,
    out: Vec<u8>,
    turns: Turns,
}

/// How long each turn of a pass took.
#[derive(Default)]
struct Turns {
    ns_per_op: Vec<f64>,
    total: Duration,
    ops: usize,
}

impl Turns {
    fn clear(&mut self) {
        *self = Self::default();
    }

    fn add(&mut self, start: Instant, ops: usize) {
        let took = start.elapsed();
        self.ns_per_op.push(took.as_nanos() as f64 / ops as f64);
        self.total += took;
        self.ops += ops;
    }

    fn round(&self) -> Round {
        let median_ns = Spread::of(self.ns_per_op.iter().copied()).median;
        Round { median_ns, mean_ns: self.total.as_nanos() as f64 / self.ops as f64 }
    }
}

impl<'e> SizeBench<'e> {
    /// Stores all keys, and warms up with that.
    fn new(engine: &'e EngineNode, keys: u64, ops: u64, value_bytes: usize) -> Result<Self, Error> {
        let mut random = Random::new(3);
        let draws = (0..ops).map(|_| random.below(keys) as u32).collect();
        let mut shuffled: Vec<u32> = (0..keys as u32).collect();
        for index in (1..shuffled.len()).rev() {
            shuffled.swap(index, random.below(index as u64 + 1) as usize);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let mut bench = Self {
            engine,
            runtime: runtime.map_err(Error::io("start a runtime"))?,
            keys: (0..keys).map(key).collect(),
            draws,
            shuffled,
            values: values(value_bytes),
            hands: Hands::default(),
            out: Vec::new(),
            turns: Turns::default(),
        };
        let order = std::mem::take(&mut bench.shuffled);
        bench.put_all(&order, TURN_OPS)?;
        bench.shuffled = order;
        Ok(bench)
    }

    fn run(mut self, rounds_count: u32) -> Result<Rounds, Error> {
        let mut rounds = Rounds::default();
        for _ in 0..rounds_count {
            for operation in OPERATIONS {
                self.engine.settle()?;
                rounds[operation as usize].push(self.round(operation)?);
            }
        }
        Ok(rounds)
    }

    fn round(&mut self, operation: Operation) -> Result<Round, Error> {
        let (draws, shuffled) = (std::mem::take(&mut self.draws), std::mem::take(&mut self.shuffled));
        let same = vec![0; draws.len()];
        let order = match operation {
            Operation::GetSpilled => &shuffled,
            Operation::GetOne | Operation::PutOne => &same,
            _ => &draws,
        };
        if operation == Operation::GetSpilled {
            self.engine.spill(&self.keys);
        } else {
            self.get_all(&shuffled); // Brings back what the operation before has driven out of the caches.
        }
        self.turns.clear();
        match operation {
            Operation::Get | Operation::GetOne => self.get_all(order),
            Operation::GetAhead => self.get_all_ahead(order),
            Operation::GetSpilled => self.get_all_spilled(order)?,
            Operation::Put | Operation::PutOne => self.put_all(order, TURN_OPS)?,
            Operation::PutAlone => self.put_all(order, 1)?,
        }
        let round = self.turns.round();
        self.verify()?;
        (self.draws, self.shuffled) = (draws, shuffled);
        Ok(round)
    }

    fn get_all(&mut self, order: &[u32]) {
        for turn in order.chunks(TURN_OPS) {
            let start = Instant::now();
            let moment = self.engine.moment();
            for index in turn {
                self.engine.get(&self.keys[*index as usize], &moment, &mut self.hands, &mut self.out);
                assert_eq!(self.out, self.values[*index as usize % VALUES_COUNT as usize], "the value of key {index}");
            }
            self.turns.add(start, turn.len());
        }
    }

    fn get_all_ahead(&mut self, order: &[u32]) {
        for turn in order.chunks(TURN_OPS) {
            let start = Instant::now();
            let moment = self.engine.moment();
            for together in turn.chunks(AHEAD_OPS) {
                let keys = &self.keys;
                self.engine.look_ahead(together.iter().map(|index| &keys[*index as usize]), &mut self.hands);
                for index in together {
                    self.engine.get(&keys[*index as usize], &moment, &mut self.hands, &mut self.out);
                    std::hint::black_box(&self.out);
                }
            }
            self.turns.add(start, turn.len());
        }
    }

    fn get_all_spilled(&mut self, order: &[u32]) -> Result<(), Error> {
        let Self { engine, runtime, keys, hands, out, turns, .. } = self;
        runtime.block_on(async {
            for turn in order.chunks(TURN_OPS) {
                let start = Instant::now();
                let moment = engine.moment();
                for index in turn {
                    engine.get_spilled(&keys[*index as usize], &moment, hands, out).await?;
                    std::hint::black_box(&*out);
                }
                turns.add(start, turn.len());
            }
            Ok(())
        })
    }

    /// Puts the keys of `order`, with a write to the page cache after each `per_write` of them.
    fn put_all(&mut self, order: &[u32], per_write: usize) -> Result<(), Error> {
        for turn in order.chunks(TURN_OPS) {
            let start = Instant::now();
            let moment = self.engine.moment();
            for together in turn.chunks(per_write) {
                let mut end = journal::Position::ZERO;
                for index in together {
                    let value = &self.values[(u64::from(*index) % VALUES_COUNT) as usize];
                    end = self.engine.put(&self.keys[*index as usize], value, &moment, &mut self.hands);
                }
                self.engine.write_through(end)?;
            }
            self.turns.add(start, turn.len());
        }
        Ok(())
    }

    /// Compares every value with what was put.
    fn verify(&mut self) -> Result<(), Error> {
        let moment = self.engine.moment();
        for (index, key) in self.keys.iter().enumerate() {
            self.engine.get(key, &moment, &mut self.hands, &mut self.out);
            if self.out != self.values[index % VALUES_COUNT as usize] {
                return Err(Error::WrongAnswer { detail: format!("key {index} does not have its value") });
            }
        }
        Ok(())
    }
}

fn values(value_bytes: usize) -> Vec<Vec<u8>> {
    (0..VALUES_COUNT)
        .map(|index| {
            let mut value = Vec::with_capacity(value_bytes);
            Values { bytes: value_bytes, generation: 0 }.append(index, &mut value);
            value
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_was_interrupted_moves_the_mean_and_not_the_median() {
        let mut turns = Turns::default();
        for took_ns in [640_u32, 640, 64_000] {
            turns.ns_per_op.push(f64::from(took_ns) / 64.0);
            turns.total += Duration::from_nanos(took_ns.into());
            turns.ops += 64;
        }
        let Round { median_ns, mean_ns } = turns.round();
        assert_eq!((median_ns, mean_ns), (10.0, 340.0));
    }

    #[test]
    fn values_have_their_size_and_differ() {
        let mut values = values(128);
        assert!(values.iter().all(|value| value.len() == 128));
        values.sort();
        values.dedup();
        assert_eq!(values.len() as u64, VALUES_COUNT);
    }
}
