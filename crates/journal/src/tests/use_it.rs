//! What the journal does when nothing goes wrong.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use env::ReadMode;
use parking_lot::Mutex;
use sim::{Fault, SimDisk};

use super::{Rig, head, is_ready, poll};
use crate::segment::HEADER_BYTES;
use crate::tail::TAIL_BYTES_MAX;
use crate::{
    BODY_BYTES_MAX, Error, Position, ReadNow, RecordKind, Reserve, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
    SYNC_INTERVAL_MS, SegmentId, SyncMode,
};

fn read(rig: &Rig, at: Position) -> Vec<u8> {
    let mut buf = Vec::new();
    match rig.journal.read(at, ReadMode::Wait, &mut buf).unwrap() {
        ReadNow::Record(_, body) => buf[body].to_vec(),
        ReadNow::WouldBlock => panic!("a read that may wait does not block"),
    }
}

#[test]
fn what_was_appended_is_replayed_in_order_with_its_places() {
    let rig = Rig::new();
    let bodies: Vec<Vec<u8>> = (0..100).map(|count| vec![count as u8; count]).collect();
    let starts: Vec<Position> = bodies.iter().map(|body| rig.append(body).start).collect();
    rig.journal.close().unwrap();
    let again = Rig::open(&rig.disk);
    assert_eq!(again.bodies(), bodies);
    assert_eq!(again.replayed.iter().map(|(at, _)| *at).collect::<Vec<_>>(), starts);
    assert_eq!(again.recovered.torn, None);
    assert_eq!(again.recovered.records, 100);
    assert_eq!(again.recovered.tail, rig.journal.tail());
}

#[test]
fn a_replay_may_start_anywhere_a_record_does() {
    let rig = Rig::new();
    let bodies: Vec<Vec<u8>> = (0..40).map(|count| vec![count; 5000]).collect();
    let starts: Vec<Position> = bodies.iter().map(|body| rig.append(body).start).collect();
    rig.journal.close().unwrap();
    assert!(starts[0].segment < starts[39].segment);
    for (index, start) in starts.iter().enumerate() {
        let again = Rig::open_at(&rig.disk, SyncMode::Os, Some(*start)).unwrap();
        assert_eq!(again.bodies(), bodies[index..]);
    }
    let tail = rig.journal.tail();
    assert_eq!(Rig::open_at(&rig.disk, SyncMode::Os, Some(tail)).unwrap().recovered.records, 0);
}

#[test]
fn a_record_is_read_from_the_buffer_and_from_the_file() {
    let rig = Rig::new();
    for bytes in [0, 5, 4000, 4048, 4049, 60_000] {
        let body = vec![7; bytes];
        let appended = rig.append(&body);
        assert_eq!(read(&rig, appended.start), body);
        rig.journal.write_through(appended.end).unwrap();
        assert_eq!(read(&rig, appended.start), body);
    }
}

#[test]
fn a_body_in_two_parts_is_the_body_they_make() {
    let rig = Rig::new();
    let sizes = [(0, 0), (3, 5), (10, 300_000), (300_000, 0), (262_000, 101), (262_000, 90)];
    let mut bodies = Vec::new();
    for (front, back) in sizes {
        let body: Vec<u8> = (0..front + back).map(|at| (at / 3) as u8).collect();
        let parts = [&body[..front], &body[front..]];
        let appended = rig.journal.append_parts(&head(RecordKind::Batch, 1), parts, Reserve::Keep).unwrap();
        assert_eq!(read(&rig, appended.start), body);
        rig.journal.write_through(appended.end).unwrap();
        assert_eq!(read(&rig, appended.start), body);
        bodies.push(body);
    }
    rig.journal.close().unwrap();
    assert!(Rig::open(&rig.disk).bodies() == bodies);
}

#[test]
fn a_record_that_could_not_be_written_is_still_read() {
    let rig = Rig::new();
    let appended = rig.append(b"in flight");
    rig.disk.inject(Fault::WriteSpace);
    rig.journal.write_through(appended.end).unwrap_err();
    assert_eq!(read(&rig, appended.start), b"in flight");
}

#[test]
fn a_cold_read_says_so_instead_of_waiting() {
    let rig = Rig::new();
    let appended = rig.append_written(b"cold");
    rig.disk.inject(Fault::Cold);
    let mut buf = Vec::new();
    assert_eq!(rig.journal.read(appended.start, ReadMode::NoWait, &mut buf).unwrap(), ReadNow::WouldBlock);
    assert_eq!(read(&rig, appended.start), b"cold");
}

#[test]
fn places_where_no_record_starts_are_refused() {
    let rig = Rig::new();
    let first = rig.append(b"record number one");
    let mut buf = Vec::new();
    let unwritten = rig.journal.read(first.start.after(8), ReadMode::Wait, &mut buf);
    assert!(matches!(unwritten, Err(Error::PositionUnknown { .. })), "{unwritten:?}");
    let beyond = rig.journal.read(first.end, ReadMode::Wait, &mut buf);
    assert!(matches!(beyond, Err(Error::PositionUnknown { .. })), "{beyond:?}");
    rig.journal.write_through(first.end).unwrap();
    let written = rig.journal.read(first.start.after(8), ReadMode::Wait, &mut buf);
    assert!(matches!(written, Err(Error::Corrupt { .. })), "{written:?}");
}

#[test]
fn large_records_get_a_segment_of_just_their_size_and_read_back() {
    let rig = Rig::new();
    rig.append(b"before");
    let sizes = [SEGMENT_BYTES_MIN as usize, 300_000, TAIL_BYTES_MAX + 1, 3_000_001];
    let large: Vec<_> = sizes.iter().map(|bytes| (rig.append(&vec![5; *bytes]), *bytes)).collect();
    let after = rig.append(b"after");
    rig.journal.sync().unwrap();
    for (appended, bytes) in &large {
        assert_eq!(appended.start.offset, HEADER_BYTES);
        assert_eq!(read(&rig, appended.start), vec![5; *bytes]);
    }
    assert_eq!(read(&rig, after.start), b"after");
    let waste = rig.disk.used_bytes() - sizes.iter().sum::<usize>() as u64;
    assert!(waste < u64::from(SEGMENT_BYTES_MIN) + 1000, "{waste} bytes are not records");
    rig.journal.close().unwrap();
    let lengths: Vec<usize> = Rig::open(&rig.disk).bodies().iter().map(Vec::len).collect();
    assert_eq!(lengths, [6, sizes[0], sizes[1], sizes[2], sizes[3], 5]);
}

#[test]
fn a_record_over_the_limit_is_refused() {
    let rig = Rig::new();
    let body = vec![0; BODY_BYTES_MAX as usize + 1];
    let refused = rig.journal.append(&head(RecordKind::Image, 1), &body, Reserve::Keep);
    assert!(matches!(refused, Err(Error::RecordTooLarge { .. })));
}

#[test]
fn records_start_where_an_index_can_point_even_behind_a_giant_that_was_lost() {
    let rig = Rig::new();
    let file = rig.disk.content().into_keys().next().unwrap();
    assert_eq!(file, "journal/00000001.seg");
    let appended = rig.append(b"x");
    {
        let mut tail = rig.journal.tail.lock();
        tail.buffer.clear();
        tail.buffer_start = SEGMENT_BYTES_MAX;
        tail.capacity = SEGMENT_BYTES_MAX * 2;
        assert_eq!(tail.place(64, RecordKind::Batch, Reserve::Use), crate::tail::Place::NoRoom);
    }
    assert_eq!(appended.start.offset, HEADER_BYTES);
}

#[test]
fn frontiers_follow_each_other() {
    let rig = Rig::new();
    let appended = rig.append(b"x");
    let journal = &rig.journal;
    assert_eq!(journal.tail(), appended.end);
    assert_eq!(journal.written(), appended.start);
    journal.write_through(appended.end).unwrap();
    assert_eq!(journal.written(), appended.end);
    assert_eq!(journal.durable(), appended.start);
    journal.sync().unwrap();
    assert_eq!(journal.durable(), appended.end);
}

struct Wakes(Mutex<u32>);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        *self.0.lock() += 1;
    }
}

#[test]
fn always_syncs_for_whoever_waits_and_wakes_only_whom_it_reached() {
    let rig = Rig::open_at(&SimDisk::new(), SyncMode::Always, None).unwrap();
    let first = rig.append(b"first");
    let wakes = Arc::new(Wakes(Mutex::new(0)));
    let waker = Waker::from(Arc::clone(&wakes));
    let mut ctx = Context::from_waker(&waker);
    for _ in 0..3 {
        assert!(rig.journal.poll_durable(first.end, &mut ctx).is_pending());
    }
    let beyond = rig.journal.tail().after(8);
    assert!(rig.journal.poll_durable(beyond, &mut ctx).is_pending());
    rig.journal.flusher_turn().unwrap();
    assert_eq!(*wakes.0.lock(), 1);
    assert!(matches!(rig.journal.poll_durable(first.end, &mut ctx), Poll::Ready(Ok(()))));
}

#[test]
fn everysec_syncs_within_a_second_and_os_only_on_request() {
    let everysec = Rig::new();
    let os = Rig::open_at(&SimDisk::new(), SyncMode::Os, None).unwrap();
    for rig in [&everysec, &os] {
        let end = rig.append(b"x").end;
        assert!(poll(&rig.journal, end).is_pending());
        rig.journal.flusher_turn().unwrap();
        assert!(poll(&rig.journal, end).is_pending());
        rig.clock.advance_ms(SYNC_INTERVAL_MS);
        rig.journal.flusher_turn().unwrap();
    }
    assert!(is_ready(&everysec.journal, everysec.journal.tail()));
    let end = os.journal.tail();
    assert!(poll(&os.journal, end).is_pending());
    os.journal.request_sync();
    os.journal.flusher_turn().unwrap();
    assert!(is_ready(&os.journal, end));
}

#[test]
fn an_idle_journal_states_its_frontier_once() {
    let rig = Rig::new();
    rig.append(b"x");
    rig.idle();
    let marked = rig.journal.tail();
    assert_eq!(marked, rig.journal.durable().after(crate::HEAD_BYTES));
    let ops = rig.disk.trace_count();
    for _ in 0..5 {
        rig.clock.advance_ms(SYNC_INTERVAL_MS);
        rig.journal.flusher_turn().unwrap();
    }
    assert_eq!(rig.journal.tail(), marked);
    assert_eq!(rig.disk.trace_count(), ops);
}

#[test]
fn segments_are_listed_scanned_and_removed_while_a_reader_is_at_one() {
    let rig = Rig::new();
    let starts: Vec<Position> = (0..40u8).map(|count| rig.append(&[count; 5000]).start).collect();
    rig.journal.sync().unwrap();
    let segments = rig.journal.segments();
    assert_eq!(segments.iter().map(|info| info.id.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(segments.iter().map(|info| info.sealed).collect::<Vec<_>>(), [true, true, true, false]);
    let mut scanned = Vec::new();
    for info in &segments {
        rig.journal
            .scan_segment(info.id, &mut |at, _| {
                scanned.push(at);
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(scanned, starts);
    let kept = rig.journal.catalog.open(&*rig.journal.disk, SegmentId(1)).unwrap();
    rig.journal.remove_segment(SegmentId(1)).unwrap();
    assert!(kept.file.size_bytes().unwrap() > 0);
    let mut buf = Vec::new();
    let gone = rig.journal.read(starts[0], ReadMode::Wait, &mut buf);
    assert!(matches!(gone, Err(Error::SegmentUnknown { id: SegmentId(1) })), "{gone:?}");
    assert!(matches!(rig.journal.remove_segment(SegmentId(4)), Err(Error::SegmentInUse { .. })));
    assert!(matches!(rig.journal.remove_segment(SegmentId(9)), Err(Error::SegmentUnknown { .. })));
}

#[test]
fn a_segment_is_not_removed_before_what_follows_it_is_durable() {
    let rig = Rig::new();
    for _ in 0..20 {
        rig.append_written(&[1; 5000]);
    }
    assert!(matches!(rig.journal.remove_segment(SegmentId(1)), Err(Error::SegmentInUse { .. })));
    rig.journal.sync().unwrap();
    rig.journal.remove_segment(SegmentId(1)).unwrap();
}

#[test]
fn a_closed_journal_refuses_to_append_and_goes_on_reading() {
    let rig = Rig::new();
    let appended = rig.append(b"x");
    rig.journal.close().unwrap();
    let refused = rig.journal.append(&head(RecordKind::Batch, 2), b"y", Reserve::Use);
    assert!(matches!(refused, Err(Error::Stopped)));
    assert_eq!(read(&rig, appended.start), b"x");
    assert_eq!(rig.disk.content().len(), 1);
}

#[test]
fn a_refusal_of_the_visitor_ends_the_opening_with_its_reason() {
    let rig = Rig::new();
    let at = rig.append(b"x").start;
    rig.journal.close().unwrap();
    let options = crate::Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        sync: SyncMode::Os,
        salt: 1,
        clock: Arc::new(sim::SimClock::new()),
        fatal: Box::new(|_| {}),
    };
    let mut visit = |_: Position, _: &crate::Record<'_>| Err("unknown effect".into());
    let refused = crate::Journal::open(Arc::new(rig.disk.clone()), options, None, &mut visit).err().unwrap();
    assert_eq!(refused.to_string(), format!("the record at {at} was refused: unknown effect"));
}

#[test]
fn waiting_for_everything_does_not_wait_for_a_mark_that_no_sync_is_made_for() {
    let rig = Rig::new();
    rig.append_written(b"content");
    rig.journal.sync().unwrap();
    rig.idle();
    let (content, tail) = (rig.journal.content_end(), rig.journal.tail());
    assert!(content < tail, "an idle journal ends in a mark");
    assert!(is_ready(&rig.journal, content));
    assert!(is_ready(&rig.journal, tail));
}
