//! Power loss and kills at every moment: what was acknowledged is there, and nothing but a prefix.

use sim::{Cut, Loss, SimDisk};

use super::{Rig, SyncMode, is_ready};
use crate::SegmentId;
use crate::planted::SKIP_SYNC;

/// What had been promised when the trace had so many operations.
struct Promise {
    ops: usize,
    records: usize,
}

/// A run and everything promised during it.
struct Run {
    disk: SimDisk,
    bodies: Vec<Vec<u8>>,
    written: Vec<Promise>,
    durable: Vec<Promise>,
}

fn body(index: usize) -> Vec<u8> {
    vec![index as u8 + 1; 20 + index * 37 % 90]
}

/// Appends in groups and waits for each group to be durable; now and then the flusher finds time for more.
fn run(body_of: impl Fn(usize) -> Vec<u8>, count: usize) -> Run {
    let disk = SimDisk::new();
    let rig = Rig::open_at(&disk, SyncMode::Always, None).unwrap();
    let mut run = Run { disk: disk.clone(), bodies: Vec::new(), written: Vec::new(), durable: Vec::new() };
    for index in 0..count {
        run.bodies.push(body_of(index));
        let appended = rig.append_written(&run.bodies[index]);
        run.written.push(Promise { ops: disk.trace_count(), records: index + 1 });
        if index % 3 == 2 {
            assert!(!is_ready(&rig.journal, appended.end));
            rig.journal.flusher_turn().unwrap();
            assert!(is_ready(&rig.journal, appended.end));
            run.durable.push(Promise { ops: disk.trace_count(), records: index + 1 });
        }
        if index % 5 == 4 {
            rig.idle();
        }
    }
    run
}

fn promised(promises: &[Promise], cut: Cut) -> usize {
    promises.iter().filter(|promise| promise.ops <= cut.ops).map(|promise| promise.records).max().unwrap_or(0)
}

/// Why a journal found after a crash is not what was promised.
fn fault(run: &Run, cut: Cut, loss: Loss) -> Option<String> {
    let promises = if loss == Loss::Nothing { &run.written } else { &run.durable };
    let disk = run.disk.crash(cut, loss);
    let found = match Rig::open_at(&disk, SyncMode::Always, None) {
        Ok(rig) => rig.bodies(),
        Err(error) => return Some(format!("{cut:?} {loss:?}: {error}")),
    };
    let promised = promised(promises, cut);
    if found.len() < promised {
        return Some(format!("{cut:?} {loss:?}: {} of {promised} promised", found.len()));
    }
    if !run.bodies.starts_with(&found) {
        return Some(format!("{cut:?} {loss:?}: not a prefix"));
    }
    let again = Rig::open(&disk);
    (again.bodies() != found || again.recovered.torn.is_some())
        .then(|| format!("{cut:?} {loss:?}: the second opening differs"))
}

#[test]
fn a_kill_at_any_byte_loses_nothing_written_through() {
    let run = run(body, 12);
    for cut in run.disk.cuts(0) {
        assert_eq!(fault(&run, cut, Loss::Nothing), None);
    }
}

#[test]
fn power_loss_at_any_byte_loses_nothing_acknowledged() {
    let run = run(body, 12);
    let mut torn = 0;
    for cut in run.disk.cuts(0) {
        for loss in [Loss::Unsynced, Loss::Some(cut.ops as u64), Loss::Some(1000 + cut.bytes as u64)] {
            assert_eq!(fault(&run, cut, loss), None);
            let found = Rig::open(&run.disk.crash(cut, loss));
            torn += u32::from(found.recovered.torn.is_some());
        }
    }
    assert!(torn > 0, "some crash must leave a tear, or the images are too kind");
}

#[test]
fn power_loss_around_rotation_loses_nothing_acknowledged() {
    let run = run(|index| vec![index as u8 + 1; 9000 + index * 500], 18);
    assert!(
        Rig::open(&run.disk.crash(Cut { ops: run.disk.trace_count(), bytes: 0 }, Loss::Nothing))
            .journal
            .segments()
            .iter()
            .any(|info| SegmentId(3) < info.id)
    );
    for cut in run.disk.cuts(0).into_iter().filter(|cut| cut.bytes % 4099 == 0) {
        for loss in [Loss::Nothing, Loss::Unsynced, Loss::Some(cut.ops as u64), Loss::Some(7 + cut.bytes as u64)] {
            assert_eq!(fault(&run, cut, loss), None);
        }
    }
}

#[test]
fn a_crash_during_recovery_changes_nothing() {
    let run = run(body, 12);
    let end = Cut { ops: run.durable[2].ops + 3, bytes: 30 };
    for seed in 0..20 {
        let disk = run.disk.crash(end, Loss::Some(seed));
        let found = Rig::open(&SimDisk::holding(disk.content())).bodies();
        Rig::open(&disk);
        for cut in disk.cuts(0) {
            for loss in [Loss::Nothing, Loss::Unsynced, Loss::Some(seed)] {
                assert_eq!(Rig::open(&disk.crash(cut, loss)).bodies(), found, "seed {seed}, {cut:?}, {loss:?}");
            }
        }
    }
}

#[test]
fn a_flusher_that_skips_the_sync_is_caught_by_the_crashes() {
    SKIP_SYNC.set(true);
    let run = run(body, 12);
    SKIP_SYNC.set(false);
    let faults = run.disk.cuts(0).into_iter().filter_map(|cut| fault(&run, cut, Loss::Unsynced)).count();
    assert!(faults > 0, "losing acknowledged records must be noticed");
}
