//! Full disks and failing ones.

use env::ReadMode;
use sim::{Fault, SimDisk};

use super::{Rig, SyncMode, head, poll};
use crate::record::record_bytes;
use crate::{Appended, Error, RETRY_MS, RecordKind, Reserve, SEGMENT_BYTES_MIN};
use std::task::Poll;

const BODY: &[u8] = &[3; 500];

fn append(rig: &Rig, reserve: Reserve) -> Result<Appended, Error> {
    rig.journal.append(&head(RecordKind::Batch, 1), BODY, reserve)
}

fn append_until_full(rig: &Rig, reserve: Reserve) -> usize {
    for count in 0..10_000 {
        match append(rig, reserve) {
            Ok(appended) => rig.journal.write_through(appended.end).unwrap(),
            Err(Error::Full) => return count,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk never filled up");
}

/// A disk with room for one segment and nothing else.
fn small() -> Rig {
    let rig = Rig::new();
    rig.disk.set_capacity_bytes(u64::from(SEGMENT_BYTES_MIN));
    rig
}

#[test]
fn a_full_disk_refuses_ordinary_records_and_leaves_room_for_deletes() {
    let rig = small();
    let ordinary = append_until_full(&rig, Reserve::Keep);
    assert!(ordinary > 100);
    assert!(rig.journal.is_full());
    assert!(matches!(append(&rig, Reserve::Keep), Err(Error::Full)));
    let deletes = append_until_full(&rig, Reserve::Use);
    assert_eq!(deletes, SEGMENT_BYTES_MIN as usize / 16 / 552);
    let first = rig.replayed.len();
    assert_eq!(first, 0);
    let at = rig.journal.segments()[0].id;
    let mut seen = 0;
    rig.journal
        .scan_segment(at, &mut |_, _| {
            seen += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, ordinary + deletes);
    rig.journal.close().unwrap();
    assert_eq!(Rig::open(&rig.disk).bodies().len(), ordinary + deletes);
}

/// What is applied cannot be taken back: it keeps its place in memory, and is written once there is space.
#[test]
fn what_is_applied_is_placed_without_room_and_written_when_there_is_some() {
    for body in [vec![1; 500], vec![2; 300_000]] {
        let rig = small();
        append_until_full(&rig, Reserve::Keep);
        append_until_full(&rig, Reserve::Use);
        let bytes = record_bytes(body.len() as u32);
        assert!(matches!(rig.journal.ensure_room(bytes), Err(Error::Full)));
        let before = rig.journal.tail();
        let parts = [&body[..400], &body[400..]];
        let appended = rig.journal.append_parts(&head(RecordKind::Batch, 1), parts, Reserve::Applied).unwrap();
        assert_eq!((appended.start, appended.end), (before, before.after(bytes)));
        let next = rig.journal.append(&head(RecordKind::Batch, 1), b"next", Reserve::Applied).unwrap();
        assert_eq!(next.start, appended.end);
        assert!(matches!(rig.journal.write_through(appended.end), Err(Error::Full)));
        assert!(rig.journal.is_full());
        rig.disk.set_capacity_bytes(u64::MAX);
        rig.clock.advance_ms(RETRY_MS);
        rig.journal.request_sync();
        rig.journal.flusher_turn().unwrap();
        assert!(!rig.journal.is_full());
        assert!(next.end <= rig.journal.durable());
        append(&rig, Reserve::Keep).unwrap();
        rig.journal.close().unwrap();
        let bodies = Rig::open(&rig.disk).bodies();
        assert_eq!(bodies[bodies.len() - 3..bodies.len() - 1], [body, b"next".to_vec()]);
    }
}

#[test]
fn it_heals_by_itself_when_space_returns() {
    let rig = small();
    append_until_full(&rig, Reserve::Keep);
    rig.journal.flusher_turn().unwrap_err();
    rig.disk.set_capacity_bytes(u64::MAX);
    assert!(matches!(append(&rig, Reserve::Keep), Err(Error::Full)), "appends do not ask the device again");
    rig.clock.advance_ms(RETRY_MS);
    rig.journal.flusher_turn().unwrap();
    assert!(!rig.journal.is_full());
    append(&rig, Reserve::Keep).unwrap();
}

#[test]
fn a_full_disk_is_not_asked_at_every_turn() {
    let rig = small();
    append_until_full(&rig, Reserve::Keep);
    rig.journal.flusher_turn().unwrap_err();
    let ops = rig.disk.trace_count();
    rig.clock.advance_ms(RETRY_MS - 1);
    rig.journal.flusher_turn().unwrap();
    assert!(rig.disk.trace().iter().skip(ops).all(|op| !matches!(op, sim::Op::Create { .. })));
}

#[test]
fn a_giant_record_without_space_is_refused_and_costs_no_more_than_once() {
    let rig = Rig::new();
    append(&rig, Reserve::Keep).unwrap();
    rig.disk.set_capacity_bytes(u64::from(SEGMENT_BYTES_MIN) * 3);
    let giant = vec![1; 1 << 20];
    for _ in 0..5 {
        let refused = rig.journal.append(&head(RecordKind::Batch, 1), &giant, Reserve::Keep);
        assert!(matches!(refused, Err(Error::Full)), "{refused:?}");
    }
    assert_eq!(rig.journal.segments().len(), 2);
    append(&rig, Reserve::Keep).unwrap();
}

#[test]
fn a_full_disk_still_opens() {
    let rig = small();
    let count = append_until_full(&rig, Reserve::Keep);
    let disk = SimDisk::holding(rig.disk.content());
    disk.set_capacity_bytes(u64::from(SEGMENT_BYTES_MIN));
    let again = Rig::open(&disk);
    assert_eq!(again.bodies().len(), count);
    assert!(matches!(append(&again, Reserve::Keep), Err(Error::Full)));
    append(&again, Reserve::Use).unwrap();
}

#[test]
fn a_write_without_space_is_kept_told_and_done_later() {
    let rig = Rig::open_at(&SimDisk::new(), SyncMode::Always, None).unwrap();
    rig.disk.inject(Fault::WriteSpace);
    let first = append(&rig, Reserve::Keep).unwrap();
    assert!(poll(&rig.journal, first.end).is_pending());
    assert!(matches!(rig.journal.write_through(first.end), Err(Error::Full)));
    assert!(matches!(poll(&rig.journal, first.end), Poll::Ready(Err(Error::Full))));
    let large = rig.journal.append(&head(RecordKind::Batch, 2), &vec![7; 300_000], Reserve::Keep);
    assert!(matches!(large, Err(Error::Full)));
    let second = append(&rig, Reserve::Keep).unwrap();
    rig.disk.heal(Fault::WriteSpace);
    rig.journal.write_through(second.end).unwrap();
    rig.journal.sync().unwrap();
    assert!(rig.fatal.lock().is_empty());
    assert_eq!(Rig::open(&rig.disk).bodies(), [BODY, BODY]);
}

#[test]
fn a_failed_sync_stops_the_journal_and_is_never_tried_again() {
    let rig = Rig::open_at(&SimDisk::new(), SyncMode::Always, None).unwrap();
    let appended = append(&rig, Reserve::Keep).unwrap();
    assert!(poll(&rig.journal, appended.end).is_pending());
    rig.disk.inject(Fault::Sync);
    rig.journal.flusher_turn().unwrap_err();
    assert_eq!(rig.fatal.lock().len(), 1);
    assert!(rig.fatal.lock()[0].starts_with("syncing journal/00000001.seg failed"));
    rig.disk.heal(Fault::Sync);
    let syncs = rig.disk.trace_count();
    assert!(matches!(rig.journal.sync(), Err(Error::Stopped)));
    assert!(matches!(rig.journal.close(), Err(Error::Stopped)));
    assert!(matches!(append(&rig, Reserve::Use), Err(Error::Stopped)));
    assert!(matches!(poll(&rig.journal, appended.end), Poll::Ready(Err(Error::Stopped))));
    assert_eq!(rig.disk.trace_count(), syncs);
    assert!(rig.journal.durable() < appended.end);
}

#[test]
fn a_failed_write_stops_the_journal() {
    let rig = Rig::new();
    let appended = append(&rig, Reserve::Keep).unwrap();
    rig.disk.inject(Fault::Write);
    assert!(matches!(rig.journal.write_through(appended.end), Err(Error::Stopped)));
    assert_eq!(rig.fatal.lock().len(), 1);
    assert!(matches!(append(&rig, Reserve::Use), Err(Error::Stopped)));
}

#[test]
fn a_failed_read_is_reported_and_stops_nothing() {
    let rig = Rig::new();
    let appended = append(&rig, Reserve::Keep).unwrap();
    rig.journal.write_through(appended.end).unwrap();
    rig.disk.inject(Fault::Read);
    let mut buf = Vec::new();
    let failed = rig.journal.read(appended.start, ReadMode::Wait, &mut buf);
    assert!(matches!(failed, Err(Error::Io { op: "read", .. })), "{failed:?}");
    rig.disk.heal(Fault::Read);
    rig.journal.read(appended.start, ReadMode::Wait, &mut buf).unwrap();
}
