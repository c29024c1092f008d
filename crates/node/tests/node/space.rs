//! A device that has no space left: what needs room is refused in words, the rest goes on, and it heals by itself.

use crate::history::History;
use crate::rig::Rig;
use crate::steps::{Step, check_all, churn};
use journal::{RETRY_MS, SEGMENT_BYTES_MIN, SyncMode};
use proptest::prelude::*;
use sim::{Fault, SimDisk};
use std::sync::atomic::Ordering;

const REFUSED: &str = "-MISCONF Larder's journal has no space left";

/// A node whose device has room for `bytes` more, the segment prepared ahead not counted.
fn with_room(bytes: u64) -> Rig {
    let rig = Rig::new(SyncMode::EverySec);
    rig.idle();
    rig.disk.set_capacity_bytes(rig.disk.used_bytes() + bytes);
    rig
}

/// What the flusher does after a while.
fn later(rig: &Rig) {
    rig.clock.advance_ms(RETRY_MS);
    rig.node.journal.request_sync();
    // Want of space is for whoever appends; the next turn tries again.
    rig.node.journal.flusher_turn().ok();
}

/// Sets keys until one is refused; how many were not.
fn fill(rig: &mut Rig, name: &str, value: &str) -> usize {
    for number in 0..10_000 {
        let reply = rig.connection.line(&format!("SET {name}:{number} {value}"));
        if reply.starts_with(REFUSED) {
            return number;
        }
        assert_eq!(reply, "+OK\r\n");
        later(rig);
    }
    panic!("the device never filled up");
}

#[test]
fn a_full_device_refuses_what_grows_answers_reads_takes_deletes_and_heals() {
    let mut rig = with_room(0);
    let value = "v".repeat(1_000);
    let count = fill(&mut rig, "key", &value);
    assert!(count > 0, "what was allocated before is used first");
    assert_eq!(rig.connection.line("GET key:0"), format!("$1000\r\n{value}\r\n"));
    assert_eq!(rig.connection.line("DEL key:0"), ":1\r\n");
    assert_eq!(rig.connection.line("GET key:0"), "$-1\r\n");
    assert!(rig.connection.line("HSET h f v").starts_with(REFUSED));
    rig.disk.set_capacity_bytes(u64::MAX);
    later(&rig);
    assert_eq!(rig.connection.line("SET key:0 again"), "+OK\r\n");
    let live = rig.dump();
    assert_eq!(Rig::open(&rig.close()).expect("it reopens").dump(), live);
}

/// Deletes take room too. When the last of it is gone they are refused like the rest: nothing stops the process.
#[test]
fn deletes_go_on_until_the_last_room_is_gone_and_then_are_refused_too() {
    let mut rig = with_room(0);
    let count = fill(&mut rig, "key", &"v".repeat(100));
    // Growth is refused as soon as there is no next segment; this fills most of the last one.
    for number in 1..=700 {
        assert_eq!(rig.connection.line(&format!("EXPIRE key:0 {}", 10_000 + number)), ":1\r\n");
    }
    let mut deleted = 0;
    let mut refused = 0;
    for number in 0..count {
        let reply = rig.connection.line(&format!("DEL key:{number}"));
        later(&rig);
        if reply.starts_with(REFUSED) {
            refused += 1;
        } else {
            assert_eq!(reply, ":1\r\n");
            assert_eq!(refused, 0, "what is refused once stays refused");
            deleted += 1;
        }
    }
    assert!(deleted > 10, "only {deleted} of {count} deletes found room");
    assert!(refused > 0, "{count} deletes do not use up the room");
    assert!(rig.connection.line(&format!("GET key:{}", count - 1)).starts_with('$'));
    rig.disk.set_capacity_bytes(u64::MAX);
    later(&rig);
    assert!(rig.connection.line("DEL key:0").starts_with(':'));
    let live = rig.dump();
    assert_eq!(Rig::open(&rig.close()).expect("it reopens").dump(), live);
}

/// Whatever ends meanwhile stays until there is room to say so; nobody sees it.
#[test]
fn the_timer_waits_for_room_and_what_has_ended_is_absent_meanwhile() {
    let mut rig = Rig::new(SyncMode::EverySec);
    for number in 0..600 {
        rig.connection.line(&format!("SET key:{number} {} PX 100", "v".repeat(30)));
    }
    rig.idle();
    rig.disk.set_capacity_bytes(rig.disk.used_bytes());
    let value = "v".repeat(500);
    fill(&mut rig, "other", &value);
    let tail = rig.node.journal.tail();
    for _ in 0..100 {
        rig.clock.advance_ms(RETRY_MS);
        rig.node.expire_turn();
        later(&rig);
    }
    assert_eq!(rig.node.counters.expired.load(Ordering::Relaxed), 0);
    assert_eq!(rig.node.journal.content_end().max(tail), tail, "the room kept for deletes is left to them");
    assert_eq!(rig.connection.line("GET key:599"), "$-1\r\n");
    assert_eq!(rig.connection.line("GET other:0"), format!("$500\r\n{value}\r\n"));
    assert_eq!(rig.connection.line("DEL other:0"), ":1\r\n");
    rig.disk.set_capacity_bytes(u64::MAX);
    later(&rig);
    rig.node.expire_turn();
    assert_eq!(rig.node.counters.expired.load(Ordering::Relaxed), 600);
    assert_eq!(rig.connection.line("SET a b"), "+OK\r\n");
    let live = rig.dump();
    assert_eq!(Rig::open(&rig.close()).expect("it reopens").dump(), live);
}

/// A process that has all the files open that it may cannot make the next segment.
#[test]
fn without_file_descriptors_writes_are_refused_reads_go_on_and_it_heals() {
    let mut rig = Rig::new(SyncMode::EverySec);
    rig.idle();
    rig.disk.inject(Fault::Descriptors);
    let value = "v".repeat(1_000);
    assert!(0 < fill(&mut rig, "key", &value), "what was prepared before is used first");
    assert_eq!(rig.connection.line("GET key:0"), format!("$1000\r\n{value}\r\n"));
    assert_eq!(rig.connection.line("DEL key:0"), ":1\r\n");
    rig.node.checkpoint_all(false).expect_err("a checkpoint is a file");
    assert!(rig.fatal.lock().is_empty(), "nothing of it is for good");
    rig.disk.heal(Fault::Descriptors);
    later(&rig);
    assert_eq!(rig.connection.line("SET key:0 again"), "+OK\r\n");
    rig.node.checkpoint_all(false).expect("there are descriptors");
    let live = rig.dump();
    assert_eq!(Rig::open(&rig.close()).expect("it reopens").dump(), live);
}

#[test]
fn a_value_larger_than_what_is_left_is_refused_and_nothing_stops() {
    let mut rig = with_room(u64::from(SEGMENT_BYTES_MIN));
    later(&rig);
    assert_eq!(rig.connection.line("SET small value"), "+OK\r\n");
    let large = "v".repeat(4 * SEGMENT_BYTES_MIN as usize);
    assert!(rig.connection.line(&format!("SET large {large}")).starts_with(REFUSED));
    assert_eq!(rig.connection.line("GET small"), "$5\r\nvalue\r\n");
    assert_eq!(rig.connection.line("GET large"), "$-1\r\n");
    rig.disk.set_capacity_bytes(u64::MAX);
    later(&rig);
    assert_eq!(rig.connection.line(&format!("SET large {large}")), "+OK\r\n");
}

/// A checkpoint that finds no room leaves no drafts behind, which would take the room that is missing.
#[test]
fn a_checkpoint_without_room_leaves_nothing_behind() {
    let mut rig = Rig::new(SyncMode::EverySec);
    for number in 0..100 {
        rig.connection.line(&format!("SET key:{number} {number}"));
    }
    rig.idle();
    let before = rig.disk.used_bytes();
    rig.disk.set_capacity_bytes(before + 2_000);
    rig.node.checkpoint_all(false).expect_err("there is no room");
    assert_eq!(rig.disk.used_bytes(), before);
    rig.disk.set_capacity_bytes(u64::MAX);
    rig.node.checkpoint_all(false).expect("there is room");
}

/// Runs on a device that fills up at some moment and has space again at a later one.
fn survives(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut rig = Rig::new(SyncMode::EverySec);
    let mut history = History::new(&rig);
    let (full_at, healed_at) = (steps.len() / 3, steps.len() * 2 / 3);
    for (number, step) in steps.iter().enumerate() {
        if number == full_at {
            rig.disk.set_capacity_bytes(rig.disk.used_bytes() + 5_000);
        }
        if number == healed_at {
            rig.disk.set_capacity_bytes(u64::MAX);
            later(&rig);
        }
        match step {
            // They say that there is no room, as they should.
            Step::Checkpoint => drop(rig.node.checkpoint_all(false)),
            Step::Sync | Step::Idle => later(&rig),
            Step::Reopen => {}
            step => history.step(&mut rig, step),
        }
    }
    let live = rig.dump();
    let disk = rig.close();
    let again = Rig::open(&SimDisk::holding(disk.content())).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!(again.dump() == live, "what was acknowledged on a full device is there");
    Ok(())
}

#[test]
fn a_device_that_fills_up_and_heals_loses_nothing() {
    check_all(150, churn(120), survives);
}
