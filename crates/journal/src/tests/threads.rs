//! Many appenders, one flusher, real files.

use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use env::{RealClock, RealDisk};

use super::head;
use crate::{Error, Journal, Options, Position, Record, RecordKind, Reserve, SEGMENT_BYTES_MIN, SyncMode};

const WRITERS: u64 = 8;
const RECORDS: u64 = 300;

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

struct Tell(mpsc::Sender<()>);

impl Wake for Tell {
    fn wake(self: Arc<Self>) {
        self.0.send(()).ok();
    }
}

fn wait_durable(journal: &Journal, end: Position) -> Result<(), Error> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match journal.poll_durable(end, &mut Context::from_waker(&waker)) {
            Poll::Ready(settled) => return settled,
            Poll::Pending => thread::park(),
        }
    }
}

/// A record's place, its version, its body.
type Written = (Position, u64, Vec<u8>);

fn open(dir: &std::path::Path, sync: SyncMode) -> (Arc<Journal>, Vec<Written>) {
    let options = Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        sync,
        salt: 99,
        clock: Arc::new(RealClock::new()),
        fatal: Box::new(|error| panic!("{error}")),
    };
    let mut seen = Vec::new();
    let mut visit = |at: Position, record: &Record<'_>| {
        seen.push((at, record.head.version.0, record.body.to_vec()));
        Ok(())
    };
    let (journal, _) = Journal::open(Arc::new(RealDisk::open(dir).unwrap()), options, None, &mut visit).unwrap();
    (journal, seen)
}

/// Each writer appends its own numbered records and waits for each as the mode demands.
fn write(journal: &Journal, writer: u64, sync: SyncMode) -> Vec<Written> {
    let mut written = Vec::new();
    for count in 0..RECORDS {
        let body = vec![writer as u8; (count * 7 % 500) as usize];
        let version = writer * RECORDS + count;
        let appended = journal.append(&head(RecordKind::Batch, version), &body, Reserve::Keep).unwrap();
        if sync == SyncMode::Always {
            wait_durable(journal, appended.end).unwrap();
            assert!(appended.end <= journal.durable());
        } else {
            journal.write_through(appended.end).unwrap();
            assert!(appended.end <= journal.written());
        }
        let mut buf = Vec::new();
        let read = journal.read(appended.start, crate::ReadMode::Wait, &mut buf).unwrap();
        let crate::ReadNow::Record(_, at) = read else { panic!("waiting reads do not block") };
        assert_eq!(buf[at], body);
        written.push((appended.start, version, body));
    }
    written
}

fn appenders_and_flusher(sync: SyncMode) {
    let dir = tempfile::tempdir().unwrap();
    let (journal, seen) = open(dir.path(), sync);
    assert!(seen.is_empty());
    let mut written = thread::scope(|scope| {
        scope.spawn(|| journal.run_flusher());
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn({
                    let journal = &journal;
                    move || write(journal, writer, sync)
                })
            })
            .collect();
        let written: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        journal.close().unwrap();
        written
    });
    written.sort_by_key(|(at, ..)| *at);
    assert_eq!(written.len() as u64, WRITERS * RECORDS);
    for writer in 0..WRITERS {
        let own = written.iter().map(|(_, version, _)| *version).filter(|version| version / RECORDS == writer);
        assert!(own.is_sorted(), "a writer's records lie in the order it appended them");
    }
    drop(journal);
    let (_, seen) = open(dir.path(), sync);
    assert_eq!(seen, written);
}

#[test]
fn concurrent_appenders_find_all_their_records_in_order() {
    appenders_and_flusher(SyncMode::EverySec);
}

#[test]
fn concurrent_appenders_share_syncs_and_find_all_their_records() {
    appenders_and_flusher(SyncMode::Always);
}

#[test]
fn a_waiter_that_went_away_does_not_leave_the_others_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path(), SyncMode::Always);
    let ends =
        [1, 2, 3].map(|version| journal.append(&head(RecordKind::Batch, version), b"body", Reserve::Keep).unwrap().end);
    let (tell, told) = mpsc::channel();
    let waker = Waker::from(Arc::new(Tell(tell)));
    for (end, waker) in [(ends[0], Waker::noop()), (ends[1], &waker), (ends[2], Waker::noop())] {
        assert!(journal.poll_durable(end, &mut Context::from_waker(waker)).is_pending());
    }
    thread::scope(|scope| {
        scope.spawn(|| journal.run_flusher());
        // Only this one comes back, whichever of the three was woken to wake the others.
        told.recv().unwrap();
        assert!(ends[1] <= journal.durable());
        journal.close().unwrap();
    });
}
