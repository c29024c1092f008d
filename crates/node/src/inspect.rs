//! Looking at a data directory that nobody serves, and giving up exactly what the operator names.
//!
//! `check` reads everything and changes nothing. `repair` gives up damaged records of the journal, and checkpoints that
//! can be done without; it leaves a file `SALVAGED` that says what was given up, and that lets the next opening accept
//! the gaps in versions that follow from it. The next complete checkpoint removes it.
//!
//! Deliberately not here: guessing. What cannot be rebuilt from what is left is named and left alone.

use crate::manifest::{self, MANIFEST_PATH, Manifest};
use crate::open::{LOCK_PATH, OpenError, checkpoint_path, holds_records, read_file};
use base::PartitionId;
use env::{DirLock, Disk, LockError};
use journal::repair::{self, GiveUp};
use journal::{Offline, Position, SegmentId};
use keyspace::checkpoint::{self, Refusal};
use keyspace::entry::Stored;
use keyspace::spilled;
use keyspace::{Partition, Spilled};
use std::fmt::Write;
use std::sync::Arc;

/// What was given up, in words; while it is there, versions may skip.
pub const SALVAGED_PATH: &str = "SALVAGED";

/// What a look at a directory found.
#[derive(Debug, Default)]
pub struct Report {
    /// What is there, a line each.
    pub facts: Vec<String>,
    /// What is wrong, a line each. Opening refuses while there is any.
    pub problems: Vec<String>,
    /// What of it can be given up in the journal.
    pub losses: Vec<GiveUp>,
    /// Damaged checkpoints and missing ones that are needed, and whether the journal can stand in for them.
    pub checkpoints: Vec<(PartitionId, bool)>,
    /// Where the journal ends, if checkpoints speak of what followed: that is gone already.
    pub ends_early: Option<Position>,
}

/// What the operator gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Salvage {
    /// Damaged records only.
    Records,
    /// The first damaged record and everything after it.
    Tail,
}

/// Reads the manifest, every checkpoint, every record of the journal, and every value that a checkpoint points at.
///
/// # Cost
/// Reads the whole directory; writes nothing but the lock.
///
/// # Errors
/// The directory is in use, cannot be read at all, holds no data, or was written by a later release.
pub fn check(disk: &Arc<dyn Disk>) -> Result<Report, OpenError> {
    let _lock = lock(disk)?;
    look(disk)
}

/// Whether there is anything that a node wrote.
///
/// # Errors
/// The directory cannot be read.
pub fn holds_data(disk: &dyn Disk) -> Result<bool, OpenError> {
    Ok(read_file(disk, MANIFEST_PATH)?.is_some() || holds_records(disk)?)
}

/// Who holds the directory, if anybody does.
pub fn holder(disk: &dyn Disk) -> Option<LockError> {
    let is_there = disk.open(LOCK_PATH).is_ok();
    let refused = is_there.then(|| disk.lock(LOCK_PATH).err())?;
    refused.filter(|error| matches!(error, LockError::Held { .. }))
}

/// Leaves no lock behind where there is nothing to lock.
fn lock(disk: &Arc<dyn Disk>) -> Result<DirLock, OpenError> {
    if !holds_data(&**disk)? {
        return Err(OpenError::NoData { dir: disk.root().to_owned() });
    }
    disk.lock(LOCK_PATH).map_err(OpenError::Lock)
}

fn look(disk: &Arc<dyn Disk>) -> Result<Report, OpenError> {
    let mut report = Report::default();
    let Some(bytes) = read_file(&**disk, MANIFEST_PATH)? else {
        report.problems.push(format!("{MANIFEST_PATH}: missing, though there is data"));
        return Ok(report);
    };
    let manifest = match Manifest::decode(&bytes) {
        Ok(manifest) => manifest,
        Err(manifest::Refusal::Damaged) => {
            report.problems.push(format!("{MANIFEST_PATH}: damaged"));
            return Ok(report);
        }
        Err(manifest::Refusal::Format(format)) => {
            return Err(OpenError::Format { file: MANIFEST_PATH.to_owned(), format });
        }
    };
    report.facts.push(format!("{MANIFEST_PATH}: {} partitions", manifest.partition_count));
    let seen = look_at_checkpoints(disk, manifest.partition_count, &mut report)?;
    let found = repair::report(&**disk, seen.start)?;
    report.facts.extend(found.segments.iter().map(|segment| {
        let end = if segment.sealed { "sealed" } else { "open" };
        format!("{}: {} records, {} bytes, {end}", journal::segment_path(segment.id), segment.records, segment.bytes)
    }));
    if let Some(torn) = found.torn {
        report.facts.push(format!("torn end at {}: {} bytes, cut off when opened", torn.at, torn.bytes));
    }
    for loss in &found.losses {
        let from = loss.give_up.from();
        let (file, offset, bytes) = (journal::segment_path(from.segment), from.offset, loss.bytes);
        report.problems.push(format!("{file}: damaged at byte {offset}, {bytes} bytes: {}", loss.damage.describe()));
        report.losses.push(loss.give_up);
    }
    // A segment that merge has emptied is not missed by the checkpoints there are, but by a replay from the beginning.
    let mut expected = SegmentId::FIRST.0..;
    let is_whole = found.segments.iter().all(|segment| expected.next() == Some(segment.id.0));
    let is_new = found.segments.is_empty() && seen.start.is_none() && report.checkpoints.is_empty();
    let reaches_back = is_whole && (is_new || !found.segments.is_empty());
    for (_, replaceable) in &mut report.checkpoints {
        *replaceable = reaches_back;
    }
    for id in seen.missing.into_iter().filter(|_| !reaches_back) {
        let path = checkpoint_path(id);
        report.problems.push(format!("{path}: missing, and the journal no longer reaches back to the beginning"));
        report.checkpoints.push((id, false));
    }
    let is_salvaged = read_file(&**disk, SALVAGED_PATH)?.is_some();
    if let Some(end) = found.end.filter(|end| !is_salvaged && *end < seen.end) {
        let (file, offset) = (journal::segment_path(end.segment), end.offset);
        report.problems.push(format!("{file}: ends at byte {offset}, but checkpoints speak of what followed"));
        report.ends_early = Some(end);
    }
    Ok(report)
}

/// What the checkpoints that can be read say of the journal.
struct Seen {
    /// Where replay would start.
    start: Option<Position>,
    /// The journal must reach at least this far.
    end: Position,
    /// Partitions without a checkpoint.
    missing: Vec<PartitionId>,
}

fn look_at_checkpoints(disk: &Arc<dyn Disk>, partition_count: u16, report: &mut Report) -> Result<Seen, OpenError> {
    let offline = Offline::new(Arc::clone(disk));
    let (mut entries, mut values) = (0, 0);
    let mut seen = Seen { start: None, end: Position::ZERO, missing: Vec::new() };
    for id in (0..partition_count).map(PartitionId) {
        let path = checkpoint_path(id);
        let Some(bytes) = read_file(&**disk, &path)? else {
            seen.missing.push(id);
            continue;
        };
        let mut partition = Partition::new(id);
        match checkpoint::load(&bytes, &mut partition) {
            Ok(loaded) => {
                entries += loaded.entry_count;
                seen.start = Some(seen.start.map_or(loaded.header.start, |start| start.min(loaded.header.start)));
                seen.end = seen.end.max(loaded.end);
                values += look_at_values(&offline, &partition, report);
            }
            Err(Refusal::Format(format)) => return Err(OpenError::Format { file: path, format }),
            Err(Refusal::Damaged(damage)) => {
                report.problems.push(format!("{path}: damaged at byte {}: {}", damage.offset, damage.what));
                report.checkpoints.push((id, false));
            }
        }
    }
    report.facts.push(format!("checkpoints: {entries} entries, {values} values in the journal read back"));
    Ok(seen)
}

/// Reads every value that an entry says is in the journal. Returns how many could be.
fn look_at_values(offline: &Offline, partition: &Partition, report: &mut Report) -> u64 {
    let mut count = 0;
    for db in 0..keyspace::PHYSICAL_DB_COUNT {
        partition.index(db).each(|entry| {
            if !matches!(entry.stored(), Stored::Spilled) {
                return;
            }
            let wanted = Spilled {
                partition: partition.id(),
                db,
                key: entry.key().to_vec(),
                version: entry.version(),
                position: Position::unpack(entry.home().0),
            };
            match spilled::read_offline(offline, &wanted) {
                Ok(_) => count += 1,
                Err(error) => {
                    let key = String::from_utf8_lossy(&wanted.key).into_owned();
                    report.problems.push(format!("the value of key {key:?} in database {db} cannot be read: {error}"));
                }
            }
        });
    }
    count
}

/// Gives up what `salvage` says, so that the directory opens again without it. Returns what was done, a line each.
///
/// # Durability
/// What was given up is gone, durably, on return.
///
/// # Errors
/// The directory is in use or cannot be changed. A checkpoint that the journal cannot stand in for is `Corrupt`, and
/// anything that a later release wrote is refused; nothing was changed then.
pub fn repair(disk: &Arc<dyn Disk>, salvage: Salvage, salt: u64) -> Result<Vec<String>, OpenError> {
    let _lock = lock(disk)?;
    let report = look(disk)?;
    if let Some((id, _)) = report.checkpoints.iter().find(|(_, replaceable)| !replaceable) {
        let what = "the journal no longer reaches back to before this checkpoint, so its keys cannot be rebuilt; \
                    restore the directory from a backup";
        return Err(OpenError::Corrupt { file: checkpoint_path(*id), offset: 0, what: what.to_owned() });
    }
    let plan = match (salvage, report.losses.first()) {
        (Salvage::Tail, Some(first)) => vec![GiveUp::JournalRest { from: first.from() }],
        _ => report.losses.clone(),
    };
    if let (Some(end), true) = (report.ends_early, plan.is_empty()) {
        let what = "the journal ends here, but checkpoints speak of what followed; restore the directory from a backup";
        let (file, offset) = (journal::segment_path(end.segment), u64::from(end.offset));
        return Err(OpenError::Corrupt { file, offset, what: what.to_owned() });
    }
    let mut done = Vec::new();
    for (id, _) in &report.checkpoints {
        done.push(format!("{}: removed; the journal is replayed from its beginning instead", checkpoint_path(*id)));
    }
    done.extend(plan.iter().map(|give_up| format!("journal: gave up {give_up}")));
    if done.is_empty() {
        return Ok(done);
    }
    let io = |op, file: &str, source| OpenError::Io { op, file: file.to_owned(), source };
    let mut text = String::new();
    for line in &done {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    env::write_whole(&**disk, SALVAGED_PATH, text.as_bytes()).map_err(|error| io("write", SALVAGED_PATH, error))?;
    if !plan.is_empty() {
        let start = salvage_start(disk)?;
        repair::salvage(&**disk, start, &plan, salt)?;
    }
    for (id, _) in &report.checkpoints {
        let path = checkpoint_path(*id);
        disk.remove(&path).map_err(|error| io("remove", &path, error))?;
    }
    disk.sync_dir(crate::open::CHECKPOINT_DIR).map_err(|error| io("sync", crate::open::CHECKPOINT_DIR, error))?;
    Ok(done)
}

/// Where replay starts, from the headers of the checkpoints that can be read.
fn salvage_start(disk: &Arc<dyn Disk>) -> Result<Option<Position>, OpenError> {
    let mut start = None::<Position>;
    for id in (0..base::ids::PARTITION_COUNT_MAX).map(PartitionId) {
        let Some(bytes) = read_file(&**disk, &checkpoint_path(id))? else { continue };
        if checkpoint::load(&bytes, &mut Partition::new(id)).is_ok()
            && let Ok(header) = checkpoint::read_header(&bytes)
        {
            start = Some(start.map_or(header.start, |start| start.min(header.start)));
        }
    }
    Ok(start)
}
