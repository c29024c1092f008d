//! Kills and power losses at any moment of random runs.

use crate::history::History;
use crate::rig::Rig;
use crate::steps::{Step, check_all, churn, steps};
use journal::SyncMode;
use proptest::prelude::*;
use sim::{Cut, Loss, Op, SimDisk};
use std::cell::Cell;
use std::sync::atomic::Ordering;

/// Crashes looked at in each run.
const CRASH_COUNT: usize = 40;
/// Operations around the removal of a segment at each of which a crash is looked at.
const REMOVAL_BEFORE_OPS: usize = 3;
const REMOVAL_AFTER_OPS: usize = 8;

/// What random runs came across: a test of nothing passes too.
#[derive(Default)]
struct Seen {
    spilled: Cell<u64>,
    merged_bytes: Cell<u64>,
    segments_removed: Cell<u64>,
    torn: Cell<u64>,
}

impl Seen {
    fn note_run(&self, rig: &Rig) {
        let counters = &rig.node.counters;
        self.spilled.update(|sum| sum + counters.spilled.load(Ordering::Relaxed));
        self.merged_bytes.update(|sum| sum + counters.merged_bytes.load(Ordering::Relaxed));
        self.segments_removed.update(|sum| sum + counters.segments_removed.load(Ordering::Relaxed));
    }

    fn assert_all(&self) {
        let Seen { spilled, merged_bytes, segments_removed, torn } = self;
        for (count, what) in
            [(spilled, "spilled"), (merged_bytes, "merged"), (segments_removed, "removed"), (torn, "torn")]
        {
            assert!(count.get() > 0, "nothing was ever {what}");
        }
    }
}

/// Some of the moments of a run, spread over it: between operations, and inside writes.
fn moments(disk: &SimDisk, count: usize) -> Vec<Cut> {
    let trace = disk.trace();
    let step = (trace.len() / count).max(1);
    let mut cuts: Vec<Cut> = (0..trace.len()).step_by(step).map(|ops| Cut { ops, bytes: 0 }).collect();
    for ops in (step / 2..trace.len()).step_by(step) {
        if let Op::Write { bytes, .. } = &trace[ops] {
            cuts.push(Cut { ops, bytes: (ops * 31) % bytes.len().max(1) });
        }
    }
    cuts.push(Cut { ops: trace.len(), bytes: 0 });
    cuts
}

/// The moments around each removal of a segment.
fn removals(disk: &SimDisk) -> Vec<Cut> {
    let trace = disk.trace();
    let is_removal = |op: &Op| matches!(op, Op::Remove { path } if path.starts_with("journal/"));
    let removed: Vec<usize> = (0..trace.len()).filter(|ops| is_removal(&trace[*ops])).collect();
    let around = |at: usize| at.saturating_sub(REMOVAL_BEFORE_OPS)..trace.len().min(at + REMOVAL_AFTER_OPS);
    let mut all: Vec<usize> = removed.into_iter().flat_map(around).collect();
    all.dedup();
    all.into_iter().map(|ops| Cut { ops, bytes: 0 }).collect()
}

fn survives(
    sync: SyncMode,
    seen: &Seen,
    steps: &[Step],
    moments: impl Fn(&SimDisk) -> Vec<Cut>,
) -> Result<(), TestCaseError> {
    let (rig, history) = History::of(sync, steps);
    seen.note_run(&rig);
    for cut in moments(&rig.disk) {
        let losses = [Loss::Nothing, Loss::Unsynced, Loss::Some(cut.ops as u64), Loss::Some(cut.ops as u64 + 7_000)];
        for loss in losses {
            let is_promised = sync == SyncMode::Always || loss == Loss::Nothing;
            match history.after_crash(&rig.disk, cut, loss, is_promised) {
                Ok(found) => seen.torn.update(|sum| sum + u64::from(found.node.recovered.torn.is_some())),
                Err(fault) => prop_assert!(false, "{fault}"),
            }
        }
    }
    Ok(())
}

fn survives_all(sync: SyncMode) {
    let seen = Seen::default();
    check_all(20, steps(100), |steps| survives(sync, &seen, steps, |disk| moments(disk, CRASH_COUNT)));
    check_all(20, churn(160), |steps| survives(sync, &seen, steps, |disk| moments(disk, CRASH_COUNT)));
    seen.assert_all();
}

#[test]
fn always_keeps_every_acknowledged_write_over_kills_and_power_loss() {
    survives_all(SyncMode::Always);
}

#[test]
fn everysec_keeps_every_acknowledged_write_over_kills_and_a_prefix_over_power_loss() {
    survives_all(SyncMode::EverySec);
}

#[test]
fn os_keeps_every_acknowledged_write_over_kills_and_a_prefix_over_power_loss() {
    survives_all(SyncMode::Os);
}

/// Values changed in place whose bytes lay in the segment included: replay reads them from there.
#[test]
fn a_segment_goes_only_when_no_restart_needs_it() {
    let seen = Seen::default();
    check_all(40, churn(160), |steps| survives(SyncMode::EverySec, &seen, steps, removals));
    assert!(seen.segments_removed.get() > 0, "no segment was ever removed");
}

fn small_run(sync: SyncMode) -> (Rig, History) {
    let lines = ["SET a 1", "HSET h f 1 g 2", "MSET a 2 b 3", "HDEL h f", "APPEND a x", "DEL b"];
    let command = |line: &str| Step::Command(words(line));
    let mut steps: Vec<Step> = lines.iter().flat_map(|line| [command(line), Step::Sync]).collect();
    steps.extend([Step::Spill, Step::Checkpoint, command("APPEND a y"), Step::Idle, command("INCR c"), Step::Sync]);
    History::of(sync, &steps)
}

#[test]
fn a_small_run_cut_at_every_byte_of_every_write_keeps_what_was_promised() {
    let (rig, history) = small_run(SyncMode::Always);
    survives_every_cut(&rig, &history);
}

/// Whatever of its record is there, a transaction over several partitions has happened whole or not at all: a state in
/// between is none of the run's.
#[test]
fn a_transaction_cut_at_every_byte_is_there_whole_or_not_at_all() {
    let lines =
        ["SET a 2", "HSET h f 1 g 2", "APPEND a 3", "DEL e", "HDEL h f", "RENAME a d", "INCR d", "FLUSHDB", "SET b 4"];
    let queue = |lines: &[&str]| Step::Transaction(lines.iter().map(|line| words(line)).collect());
    let mut steps = vec![Step::Command(words("MSET a 1 e 1 f 1")), Step::Sync];
    steps.extend([queue(&lines[..7]), Step::Sync, queue(&lines), Step::Command(words("SET c 1")), Step::Sync]);
    let (rig, history) = History::of(SyncMode::Always, &steps);
    assert!(history.partitions_changed_at_once() > 2, "the keys lie in several partitions");
    survives_every_cut(&rig, &history);
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn survives_every_cut(rig: &Rig, history: &History) {
    for cut in rig.disk.cuts(0) {
        for loss in [Loss::Nothing, Loss::Unsynced, Loss::Some(cut.ops as u64)] {
            history.after_crash(&rig.disk, cut, loss, true).map_or_else(|fault| panic!("{fault}"), drop);
        }
    }
}

/// A planted bug the oracle must find: `everysec` promises what only `always` keeps.
#[test]
fn a_promise_without_a_sync_is_caught() {
    let (rig, history) = small_run(SyncMode::EverySec);
    let is_broken = |cut: &Cut| history.after_crash(&rig.disk, *cut, Loss::Unsynced, true).is_err();
    assert!(moments(&rig.disk, CRASH_COUNT).iter().any(is_broken), "the oracle saw nothing");
}
