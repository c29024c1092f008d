//! Threads that write while checkpoints are written, segments merged and removed, and values spilled: whatever the
//! moment of the crash, each thread finds what it wrote up to some moment, and all that it was promised.
//!
//! Each writer has its own keys, so that what it may find follows from how many of its own commands are there.

use crate::rig::{Answer, Connection, Rig};
use journal::SyncMode;
use sim::{Cut, Loss};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const WRITER_COUNT: usize = 3;
/// Commands of each writer.
const COMMAND_COUNT: usize = 1_500;
/// Keys of each writer: enough that a partition is not written out under one lock.
const KEY_COUNT: usize = 700;
/// Moments of a crash looked at in each run.
const CRASH_COUNT: usize = 12;

/// What a writer should find: its strings, and its hashes as `key/field`.
type Model = BTreeMap<String, String>;

/// The command with this number, and what it does to a model: the key of it that may have changed.
fn command(writer: usize, number: usize, model: &mut Model) -> (Vec<String>, String) {
    let pick = number.wrapping_mul(0x9E37_79B9) >> 7;
    let (string, hash) = (format!("w{writer}:s{}", pick % KEY_COUNT), format!("w{writer}:h{}", pick % 40));
    let field = format!("f{}", pick % 7);
    let member = format!("{hash}/{field}");
    match number % 8 {
        0 => {
            model.remove(&string);
            (vec!["DEL".into(), string.clone()], string)
        }
        1 | 2 => {
            model.insert(member.clone(), number.to_string());
            (vec!["HSET".into(), hash, field, number.to_string()], member)
        }
        3 => {
            model.remove(&member);
            (vec!["HDEL".into(), hash, field], member)
        }
        4 => {
            let more = format!(",{number}{}", "-".repeat(pick % 900));
            model.entry(string.clone()).or_default().push_str(&more);
            (vec!["APPEND".into(), string.clone(), more], string)
        }
        _ => {
            model.insert(string.clone(), number.to_string());
            (vec!["SET".into(), string.clone(), number.to_string()], string)
        }
    }
}

/// What a writer does find.
fn found(connection: &mut Connection, writer: usize) -> Model {
    let mut found = Model::new();
    for key in (0..KEY_COUNT).map(|key| format!("w{writer}:s{key}")) {
        let reply = connection.line(&format!("GET {key}"));
        if reply != "$-1\r\n" {
            found.insert(key, reply.lines().nth(1).expect("a bulk string").to_owned());
        }
    }
    for key in (0..40).map(|key| format!("w{writer}:h{key}")) {
        let reply = connection.line(&format!("HGETALL {key}"));
        let bulks: Vec<&str> = reply.lines().skip(2).step_by(2).collect();
        found.extend(bulks.chunks_exact(2).map(|pair| (format!("{key}/{}", pair[0]), pair[1].to_owned())));
    }
    found
}

/// When the disk had seen so many operations, so many commands of a writer were acknowledged.
type Promises = Vec<(usize, usize)>;

fn write(connection: &mut Connection, rig_disk: &sim::SimDisk, writer: usize) -> Promises {
    let (mut promises, mut model) = (Promises::new(), Model::new());
    for number in 0..COMMAND_COUNT {
        let (command, _) = command(writer, number, &mut model);
        let answer = accepted(connection, &command);
        connection.settle(answer.revealed).expect("the disk takes it");
        promises.push((rig_disk.trace_count(), number + 1));
    }
    promises
}

/// Sends a command until it is not refused: while nothing can be spilled, memory is at its limit.
fn accepted(connection: &mut Connection, command: &[String]) -> Answer {
    loop {
        let answer = connection.call(command);
        if !answer.reply.starts_with(b"-") {
            return answer;
        }
        assert!(answer.reply.starts_with(b"-OOM"), "{}", answer.reply.escape_ascii());
        std::thread::yield_now();
    }
}

/// Runs the writers, and beside them everything that the node's threads do.
fn run(sync: SyncMode) -> (Rig, Vec<Promises>) {
    let rig = Rig::new(sync);
    let running = Arc::new(AtomicUsize::new(WRITER_COUNT));
    let promises = std::thread::scope(|scope| {
        scope.spawn(|| rig.node.journal.run_flusher());
        let writers: Vec<_> = (0..WRITER_COUNT)
            .map(|writer| {
                let (mut connection, disk, running) = (rig.connect(), rig.disk.clone(), Arc::clone(&running));
                scope.spawn(move || {
                    let promises = write(&mut connection, &disk, writer);
                    running.fetch_sub(1, Ordering::AcqRel);
                    promises
                })
            })
            .collect();
        while running.load(Ordering::Acquire) > 0 {
            rig.node.checkpoint_all(false).expect("the disk takes checkpoints");
            rig.spill();
            rig.node.merge_turn(true);
        }
        let promises = writers.into_iter().map(|writer| writer.join().expect("writers do not panic")).collect();
        rig.node.journal.close().expect("the disk syncs");
        promises
    });
    (rig, promises)
}

fn assert_found(rig: &mut Rig, writer: usize, promised: usize, what: &str) {
    let found = found(&mut rig.connection, writer);
    let mut model = Model::new();
    let mut different: BTreeSet<String> = found.keys().cloned().collect();
    let mut nearest = (usize::MAX, String::new());
    for count in 0..=COMMAND_COUNT {
        if promised <= count && different.len() < nearest.0 {
            let Some(key) = different.first() else { return };
            let text = format!("after {count}, {key}: {:?} for {:?}", found.get(key), model.get(key));
            nearest = (different.len(), text);
        }
        let (_, key) = command(writer, count, &mut model);
        if found.get(&key) == model.get(&key) {
            different.remove(&key);
        } else {
            different.insert(key);
        }
    }
    panic!("{what}: writer {writer} finds no state at or after {promised} commands; nearest is {nearest:?}");
}

fn nothing_is_lost(sync: SyncMode) {
    let (rig, promises) = run(sync);
    assert!(rig.node.counters.checkpoints.load(Ordering::Relaxed) > 2, "checkpoints were written meanwhile");
    assert!(rig.node.counters.segments_removed.load(Ordering::Relaxed) > 0, "segments were removed meanwhile");
    let trace_count = rig.disk.trace_count();
    for cut in (1..=CRASH_COUNT).map(|part| Cut { ops: trace_count * part / CRASH_COUNT, bytes: 0 }) {
        for loss in [Loss::Nothing, Loss::Unsynced, Loss::Some(cut.ops as u64)] {
            let what = format!("{cut:?} {loss:?}");
            let mut again = Rig::open(&rig.disk.crash(cut, loss)).unwrap_or_else(|error| panic!("{what}: {error}"));
            for (writer, promises) in promises.iter().enumerate() {
                let is_promised = sync == SyncMode::Always || loss == Loss::Nothing;
                let kept = promises.iter().filter(|(ops, _)| is_promised && *ops <= cut.ops).map(|(_, count)| *count);
                assert_found(&mut again, writer, kept.max().unwrap_or(0), &what);
            }
        }
    }
}

#[test]
fn checkpoints_under_concurrent_writers_lose_nothing_in_everysec() {
    nothing_is_lost(SyncMode::EverySec);
}

#[test]
fn checkpoints_under_concurrent_writers_lose_nothing_in_always() {
    nothing_is_lost(SyncMode::Always);
}
