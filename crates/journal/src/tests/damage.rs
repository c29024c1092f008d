//! Changed bytes: found, or without consequence, never believed.

use base::checksum::crc32c;
use sim::SimDisk;

use super::{Rig, SyncMode, head};
use crate::planted::IGNORE_FRONTIERS;
use crate::record::{Damage, KIND_AT, PreparedHead, RecordKind, mask};
use crate::{Error, Position, SegmentId, repair, segment_path};

/// Bytes of a file up to the last that is not zero.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn three_records() -> (SimDisk, Vec<Vec<u8>>) {
    let rig = Rig::new();
    let bodies = vec![b"first".to_vec(), vec![2; 30], b"the third".to_vec()];
    for body in &bodies {
        rig.append(body);
    }
    rig.idle();
    (rig.disk, bodies)
}

fn flipped(disk: &SimDisk, path: &str, bit: usize) -> SimDisk {
    let bent = SimDisk::holding(disk.content());
    bent.flip_bit(path, bit);
    bent
}

/// Opens every single-bit change of every file; returns how many were refused and how many gave other records.
fn flip_every_bit(disk: &SimDisk, bodies: &[Vec<u8>]) -> (u32, u32) {
    let (mut refused, mut wrong) = (0, 0);
    for (path, bytes) in disk.content() {
        // The zeros behind the last record are all alike; the first few stand for them.
        for bit in 0..(used(&bytes) + 64).min(bytes.len()) * 8 {
            match Rig::open_at(&flipped(disk, &path, bit), SyncMode::Os, None) {
                Err(Error::Corrupt { file, .. }) if file == path => refused += 1,
                Err(Error::Corrupt { .. }) => wrong += 1,
                Err(other) => panic!("bit {bit} of {path}: {other}"),
                Ok(rig) => wrong += u32::from(rig.bodies() != bodies),
            }
        }
    }
    (refused, wrong)
}

#[test]
fn every_flipped_bit_is_refused_or_changes_nothing() {
    let (disk, bodies) = three_records();
    let (refused, wrong) = flip_every_bit(&disk, &bodies);
    assert_eq!(wrong, 0);
    let record_bytes: usize = bodies.iter().map(|body| 48 + body.len().next_multiple_of(8)).sum();
    assert_eq!(refused as usize, (crate::HEADER_BYTES as usize + record_bytes) * 8);
}

#[test]
fn every_flipped_bit_of_a_closed_journal_of_two_segments_is_refused_or_changes_nothing() {
    let rig = Rig::new();
    let bodies = vec![b"small".to_vec(), vec![3; 65_300], b"next segment".to_vec()];
    for body in &bodies {
        rig.append(body);
    }
    rig.journal.close().unwrap();
    assert_eq!(rig.journal.segments().len(), 2);
    // The body of the filler is left out: it would be half a million openings of the same kind.
    for (path, bytes) in rig.disk.content() {
        let bits = (0..used(&bytes) * 8).filter(|bit| !(2000..64_000).contains(&(bit / 8)) || bit % 4001 == 0);
        for bit in bits {
            match Rig::open_at(&flipped(&rig.disk, &path, bit), SyncMode::Os, None) {
                Err(Error::Corrupt { file, .. }) => assert_eq!(file, path),
                Err(other) => panic!("bit {bit} of {path}: {other}"),
                Ok(again) => assert_eq!(again.bodies(), bodies, "bit {bit} of {path}"),
            }
        }
    }
}

#[test]
fn recovery_without_frontiers_is_caught_by_the_flips() {
    let (disk, bodies) = three_records();
    IGNORE_FRONTIERS.set(true);
    let (_, wrong) = flip_every_bit(&disk, &bodies);
    IGNORE_FRONTIERS.set(false);
    assert!(wrong > 0, "the flips must notice records that vanish");
}

#[test]
fn a_refused_journal_has_not_been_touched() {
    let (disk, _) = three_records();
    let bent = flipped(&disk, "journal/00000001.seg", 40 * 8);
    let before = bent.content();
    Rig::open_at(&bent, SyncMode::Os, None).err().unwrap();
    assert_eq!(bent.content(), before);
}

#[test]
fn a_journal_cut_at_any_byte_keeps_the_records_before_the_cut() {
    let rig = Rig::new();
    let bodies = [b"first".to_vec(), vec![2; 30], b"the third".to_vec()];
    let places: Vec<_> = bodies.iter().map(|body| rig.append_written(body)).collect();
    let path = segment_path(SegmentId::FIRST);
    let whole = rig.disk.content().remove(&path).unwrap();
    for cut in 0..used(&whole) {
        for zeroed in [false, true] {
            let mut bytes = whole[..cut].to_vec();
            if zeroed {
                bytes.resize(whole.len(), 0);
            }
            let disk = SimDisk::holding([(path.clone(), bytes)].into());
            // With zeros behind the cut, a record is whole as soon as its body is.
            let end = |index: usize| {
                if zeroed {
                    places[index].start.offset as usize + 48 + bodies[index].len()
                } else {
                    places[index].end.offset as usize
                }
            };
            let kept = (0..bodies.len()).filter(|index| end(*index) <= cut).count();
            let again = Rig::open(&disk);
            assert_eq!(again.bodies(), bodies[..kept], "cut at {cut}");
            again.append_written(b"goes on");
            let mut wanted = again.bodies();
            wanted.push(b"goes on".to_vec());
            assert_eq!(Rig::open(&disk).bodies(), wanted, "cut at {cut}");
        }
    }
}

#[test]
fn a_sealed_segment_that_lost_its_tail_is_damaged_not_torn() {
    let rig = Rig::new();
    for _ in 0..20 {
        rig.append_written(&[1; 5000]);
    }
    rig.idle();
    let path = segment_path(SegmentId::FIRST);
    let mut content = rig.disk.content();
    let bytes = content.get_mut(&path).unwrap();
    bytes.truncate(bytes.len() - 48);
    let refused = Rig::open_at(&SimDisk::holding(content), SyncMode::Os, None).err().unwrap();
    assert!(matches!(refused, Error::Corrupt { file, .. } if file == path));
}

#[test]
fn a_missing_segment_is_named() {
    let rig = Rig::new();
    for _ in 0..40 {
        rig.append_written(&[1; 5000]);
    }
    rig.journal.close().unwrap();
    for id in [2, 3, 4].map(SegmentId) {
        let mut content = rig.disk.content();
        content.remove(&segment_path(id));
        let refused = Rig::open_at(&SimDisk::holding(content), SyncMode::Os, None).err().unwrap();
        let sentence = format!("{} is damaged at offset 0: the segment is missing", segment_path(id));
        assert!(refused.to_string().starts_with(&sentence), "{refused}");
    }
}

#[test]
fn stored_journals_are_not_mistaken_for_records() {
    let rig = Rig::new();
    rig.append(b"x");
    rig.idle();
    // Somebody stores a copy of a journal, valid records with advanced frontiers included, and the power fails.
    let stored = rig.disk.content().remove(&segment_path(SegmentId::FIRST)).unwrap();
    let copy = rig.append_written(&stored[..200]);
    let body = copy.start.offset as usize + 48;
    let mut content = rig.disk.content();
    let bytes = content.get_mut(&segment_path(SegmentId::FIRST)).unwrap();
    bytes[copy.start.offset as usize..body].fill(0);
    let again = Rig::open(&SimDisk::holding(content));
    assert_eq!(again.bodies(), [b"x"]);
    let torn = again.recovered.torn.unwrap();
    assert_eq!((torn.at, torn.records), (copy.start, 0));
}

/// Writes the head of a mark `bytes_on` behind the last record, of a kind that no release has yet.
fn with_unknown(disk: &SimDisk, bytes_on: u32) -> SimDisk {
    let mut content = disk.content();
    let segment = content.get_mut(&segment_path(SegmentId::FIRST)).unwrap();
    let salt = u64::from_le_bytes(std::array::from_fn(|index| segment[16 + index]));
    let offset = (used(segment) as u32).next_multiple_of(8) + bytes_on;
    let at = Position { segment: SegmentId::FIRST, offset };
    let mut head = PreparedHead::new(&head(RecordKind::Mark, 0), b"", Position::ZERO).place(salt, at);
    head[KIND_AT] = 200;
    let crc = crc32c(&head[4..]) ^ mask(salt, at);
    head[..4].copy_from_slice(&crc.to_le_bytes());
    segment[offset as usize..][..head.len()].copy_from_slice(&head);
    SimDisk::holding(content)
}

#[test]
fn a_record_of_a_later_release_is_refused_unless_it_lies_in_a_torn_end_and_a_report_says_the_same() {
    let (disk, bodies) = three_records();
    let next = with_unknown(&disk, 0);
    let refused = Rig::open_at(&next, SyncMode::Os, None).err().expect("it may matter");
    assert!(matches!(refused, Error::Corrupt { damage: Damage::Unknown, .. }), "{refused}");
    assert_eq!(repair::report(&next, None).unwrap_err().to_string(), refused.to_string());

    let behind = with_unknown(&disk, 64);
    let report = repair::report(&behind, None).expect("what opens can be reported");
    assert_eq!((report.losses.len(), report.torn.is_some()), (0, true));
    assert_eq!(Rig::open(&behind).bodies(), bodies);

    // Damage before it changes nothing about that.
    let damaged = flipped(&behind, &segment_path(SegmentId::FIRST), (crate::HEADER_BYTES as usize + 50) * 8);
    Rig::open_at(&damaged, SyncMode::Os, None).err().expect("the first record was synced");
    assert!(repair::report(&damaged, None).is_ok_and(|report| report.losses.len() == 1));
}
