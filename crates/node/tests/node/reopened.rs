//! A reopened node has the state it was closed with, and so has a node made from the journal alone.

use crate::history::{History, first_difference};
use crate::rig::Rig;
use crate::steps::{Step, check_all, churn, steps};
use journal::SyncMode;
use proptest::prelude::*;
use sim::SimDisk;

/// The data directory without its checkpoints.
fn journal_only(disk: &SimDisk) -> SimDisk {
    SimDisk::holding(disk.content().into_iter().filter(|(path, _)| !path.starts_with("checkpoints/")).collect())
}

/// Whether no segment has been removed.
fn is_whole(disk: &SimDisk) -> bool {
    let content = disk.content();
    let mut names = content.keys().filter(|path| path.starts_with("journal/")).zip(1..);
    names.all(|(name, number)| *name == journal::segment_path(journal::SegmentId(number)))
}

fn same(expected: &str, found: &Rig) -> Result<(), TestCaseError> {
    let text = found.dump();
    prop_assert!(text == expected, "{}", first_difference(expected, &text));
    found.spill();
    let text = found.dump();
    prop_assert!(text == expected, "once spilled {}", first_difference(expected, &text));
    Ok(())
}

fn reopens(steps: &[Step]) -> Result<(), TestCaseError> {
    let (rig, _) = History::of(SyncMode::EverySec, steps);
    let live = rig.dump();
    let disk = rig.close();
    match Rig::open(&SimDisk::holding(disk.content())) {
        Ok(again) => same(&live, &again)?,
        Err(error) => prop_assert!(false, "refused: {error}"),
    }
    let is_whole = is_whole(&disk);
    match Rig::open(&journal_only(&disk)) {
        Ok(replayed) if is_whole => same(&live, &replayed)?,
        Err(error) if is_whole => prop_assert!(false, "refused: {error}"),
        Ok(_) => prop_assert!(false, "a journal without its beginning was taken for all there ever was"),
        Err(_) => {}
    }
    Ok(())
}

#[test]
fn a_reopened_node_has_the_state_it_was_closed_with_by_checkpoints_or_by_journal_alone() {
    check_all(300, steps(120), reopens);
    check_all(200, churn(120), reopens);
}
