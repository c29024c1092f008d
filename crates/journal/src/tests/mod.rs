//! Tests of the whole journal on a simulated disk, and what they share.
//!
//! They live inside the crate because negative controls throw switches that only test builds have.

mod crash;
mod damage;
mod golden;
mod property;
mod space;
mod threads;
mod use_it;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use base::{PartitionId, TimeMs, Version};
use parking_lot::Mutex;
use sim::{SimClock, SimDisk};

use crate::{
    Appended, Error, Journal, MARK_MS, Options, Position, Record, RecordHead, RecordKind, Recovered, Reserve,
    SEGMENT_BYTES_MIN, SyncMode,
};

/// A journal on a simulated disk with the smallest segments.
struct Rig {
    disk: SimDisk,
    clock: Arc<SimClock>,
    journal: Arc<Journal>,
    recovered: Recovered,
    replayed: Vec<(Position, Vec<u8>)>,
    fatal: Arc<Mutex<Vec<String>>>,
}

fn head(kind: RecordKind, version: u64) -> RecordHead {
    RecordHead { kind, partition: PartitionId(1), version: Version(version), time: TimeMs(0), term: 0 }
}

impl Rig {
    fn open_at(disk: &SimDisk, sync: SyncMode, start: Option<Position>) -> Result<Rig, Error> {
        let fatal = Arc::new(Mutex::new(Vec::new()));
        let clock = Arc::new(SimClock::new());
        let seen = Arc::clone(&fatal);
        let options = Options {
            segment_bytes: SEGMENT_BYTES_MIN,
            sync,
            salt: 0x5eed,
            clock: Arc::<SimClock>::clone(&clock),
            fatal: Box::new(move |error| seen.lock().push(error.to_string())),
        };
        let mut replayed = Vec::new();
        let mut visit = |at: Position, record: &Record<'_>| {
            replayed.push((at, record.body.to_vec()));
            Ok(())
        };
        let (journal, recovered) = Journal::open(Arc::new(disk.clone()), options, start, &mut visit)?;
        Ok(Rig { disk: disk.clone(), clock, journal, recovered, replayed, fatal })
    }

    fn open(disk: &SimDisk) -> Rig {
        Rig::open_at(disk, SyncMode::EverySec, None).unwrap()
    }

    fn new() -> Rig {
        Rig::open(&SimDisk::new())
    }

    fn append(&self, body: &[u8]) -> Appended {
        self.journal.append(&head(RecordKind::Batch, 1), body, Reserve::Keep).unwrap()
    }

    fn append_written(&self, body: &[u8]) -> Appended {
        let appended = self.append(body);
        self.journal.write_through(appended.end).unwrap();
        appended
    }

    /// What the flusher does once nothing has happened for a while.
    fn idle(&self) {
        self.journal.request_sync();
        self.journal.flusher_turn().unwrap();
        self.clock.advance_ms(MARK_MS);
        self.journal.flusher_turn().unwrap();
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        self.replayed.iter().map(|(_, body)| body.clone()).collect()
    }
}

fn poll(journal: &Journal, end: Position) -> Poll<Result<(), Error>> {
    journal.poll_durable(end, &mut Context::from_waker(Waker::noop()))
}

fn is_ready(journal: &Journal, end: Position) -> bool {
    matches!(poll(journal, end), Poll::Ready(Ok(())))
}
