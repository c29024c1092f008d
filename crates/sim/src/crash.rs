//! What a disk may hold after a crash, computed from the trace.
//!
//! ```text
//! trace:  op op op op op op op | op …        cut: after so many operations, and inside the next write
//!         └ synced ┘└ unsynced ┘             loss: which unsynced effects reached the device
//! ```
//! An operation on a file's bytes is synced when a `SyncData` of that file follows before the cut; one on a name
//! when a `SyncDir` of its directory does. Synced effects are always there. Of the rest, [`Loss`] decides: writes
//! sector by sector, names as a prefix per directory (file systems journal them in order).

use std::collections::{BTreeMap, BTreeSet};

use crate::disk::{Inner, Op, SECTOR_BYTES, SimDisk};

/// A moment of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Operations that happened whole.
    pub ops: usize,
    /// Bytes of the next one, a write, that happened too.
    pub bytes: usize,
}

/// What a crash does to effects that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is lost: the process died, the machine did not.
    Nothing,
    /// Everything unsynced is lost.
    Unsynced,
    /// Some of it is lost, chosen by this seed.
    Some(u64),
}

impl SimDisk {
    /// Every moment from operation `from` on at which a crash differs: after each operation, and after each
    /// byte of each write.
    pub fn cuts(&self, from: usize) -> Vec<Cut> {
        self.with(|inner| {
            let bytes = |op: &Op| if let Op::Write { bytes, .. } = op { bytes.len() } else { 1 };
            let inside = |(ops, op)| (0..bytes(op)).map(move |bytes| Cut { ops, bytes });
            let mut cuts: Vec<Cut> = inner.trace.iter().enumerate().skip(from).flat_map(inside).collect();
            cuts.push(Cut { ops: inner.trace.len(), bytes: 0 });
            cuts
        })
    }

    /// The disk as it is found after a crash at `cut`. The new disk has an empty trace and no faults.
    #[must_use]
    pub fn crash(&self, cut: Cut, loss: Loss) -> SimDisk {
        SimDisk::holding(self.with(|inner| Image::build(inner, cut, loss)).content())
    }
}

/// A disk being rebuilt from its trace.
struct Image {
    files: Vec<Vec<u8>>,
    names: BTreeMap<String, usize>,
}

impl Image {
    fn build(inner: &Inner, cut: Cut, loss: Loss) -> Image {
        let next = inner.trace.get(cut.ops);
        let part = match next {
            Some(Op::Write { file, offset, bytes }) if cut.bytes > 0 => {
                Some(Op::Write { file: *file, offset: *offset, bytes: bytes[..cut.bytes].to_vec() })
            }
            _ => None,
        };
        let ops: Vec<&Op> = inner.trace[..cut.ops].iter().chain(&part).collect();
        let synced = synced(&ops);
        let file_count = inner.files.len();
        let mut files = inner.base_files.clone();
        files.resize(file_count, Vec::new());
        let mut image = Image { files, names: inner.base_names.clone() };
        let mut chance = Chance::new(loss, &ops, &synced);
        for (op, synced) in ops.iter().zip(synced) {
            image.apply(op, synced, &mut chance);
        }
        image
    }

    fn apply(&mut self, op: &Op, synced: bool, chance: &mut Chance) {
        match op {
            Op::Write { file, offset, bytes } => self.write(*file, *offset as usize, bytes, synced, chance),
            Op::Allocate { file, bytes } if synced || chance.keeps() => {
                let bytes = (*bytes as usize).max(self.files[*file].len());
                self.files[*file].resize(bytes, 0);
            }
            Op::Truncate { file, bytes } if synced || chance.keeps() => {
                self.files[*file].resize(*bytes as usize, 0);
            }
            Op::Create { file, path } if synced || chance.keeps_name(path) => {
                self.names.insert(path.clone(), *file);
            }
            Op::Remove { path } if synced || chance.keeps_name(path) => {
                self.names.remove(path);
            }
            Op::Rename { source, target } if synced || chance.keeps_name(target) => {
                if let Some(file) = self.names.remove(source) {
                    self.names.insert(target.clone(), file);
                }
            }
            Op::Flip { file, bit } => {
                if let Some(byte) = self.files[*file].get_mut(*bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, file: usize, offset: usize, bytes: &[u8], synced: bool, chance: &mut Chance) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done;
            let count = (SECTOR_BYTES - at % SECTOR_BYTES).min(bytes.len() - done);
            if synced || chance.keeps() {
                let content = &mut self.files[file];
                content.resize(content.len().max(at + count), 0);
                content[at..at + count].copy_from_slice(&bytes[done..done + count]);
            }
            done += count;
        }
    }

    fn content(self) -> BTreeMap<String, Vec<u8>> {
        let Image { files, names } = self;
        names.into_iter().map(|(path, file)| (path, files[file].clone())).collect()
    }
}

fn dir_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// For each operation, whether it was synced: by a look at each, from the last to the first.
fn synced(ops: &[&Op]) -> Vec<bool> {
    let (mut files, mut dirs) = (BTreeSet::new(), BTreeSet::new());
    let mut synced: Vec<bool> = ops.iter().rev().map(|op| is_synced(op, &mut files, &mut dirs)).collect();
    synced.reverse();
    synced
}

/// `files` and `dirs` are those synced by a later operation.
fn is_synced<'a>(op: &'a Op, files: &mut BTreeSet<usize>, dirs: &mut BTreeSet<&'a str>) -> bool {
    match op {
        Op::Write { file, .. } | Op::Allocate { file, .. } | Op::Truncate { file, .. } => files.contains(file),
        Op::Create { path, .. } | Op::Remove { path } | Op::Rename { target: path, .. } => dirs.contains(dir_of(path)),
        Op::SyncData { file } => {
            files.insert(*file);
            true
        }
        Op::SyncDir { dir } => {
            dirs.insert(dir);
            true
        }
        Op::Flip { .. } => true,
    }
}

/// Decides, the same way each time, what an unsynced effect comes to.
struct Chance {
    loss: Loss,
    state: u64,
    /// Unsynced names of each directory that reached the device before the first that did not.
    names_kept: BTreeMap<String, u64>,
}

impl Chance {
    fn new(loss: Loss, ops: &[&Op], synced: &[bool]) -> Chance {
        let state = if let Loss::Some(seed) = loss { seed } else { 0 };
        let mut chance = Chance { loss, state, names_kept: BTreeMap::new() };
        let mut pending: BTreeMap<String, u64> = BTreeMap::new();
        for (op, synced) in ops.iter().zip(synced) {
            if let Op::Create { path, .. } | Op::Remove { path } | Op::Rename { target: path, .. } = op
                && !synced
            {
                *pending.entry(dir_of(path).to_owned()).or_default() += 1;
            }
        }
        for (dir, count) in pending {
            let kept = chance.draw() % (count + 1);
            chance.names_kept.insert(dir, kept);
        }
        chance
    }

    /// The next number of the sequence: splitmix64 (Steele et al., OOPSLA '14).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn keeps(&mut self) -> bool {
        match self.loss {
            Loss::Nothing => true,
            Loss::Unsynced => false,
            Loss::Some(_) => self.draw().is_multiple_of(2),
        }
    }

    fn keeps_name(&mut self, path: &str) -> bool {
        match self.loss {
            Loss::Nothing => true,
            Loss::Unsynced => false,
            Loss::Some(_) => {
                let left = self.names_kept.entry(dir_of(path).to_owned()).or_default();
                let kept = *left > 0;
                *left = left.saturating_sub(1);
                kept
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use env::{Disk, File};

    use super::*;
    use crate::disk::Fault;

    fn end(disk: &SimDisk) -> Cut {
        Cut { ops: disk.trace_count(), bytes: 0 }
    }

    fn written() -> (SimDisk, std::sync::Arc<dyn File>) {
        let disk = SimDisk::new();
        disk.create_dir("d").unwrap();
        let file = disk.create_new("d/f").unwrap();
        file.write_at(0, b"synced").unwrap();
        file.sync_data().unwrap();
        disk.sync_dir("d").unwrap();
        file.write_at(6, b" not").unwrap();
        (disk, file)
    }

    #[test]
    fn unsynced_bytes_and_names_are_lost_and_synced_ones_are_not() {
        let (disk, _file) = written();
        disk.create_new("d/g").unwrap();
        let after = disk.crash(end(&disk), Loss::Unsynced).content();
        assert_eq!(after, BTreeMap::from([("d/f".to_owned(), b"synced".to_vec())]));
        let killed = disk.crash(end(&disk), Loss::Nothing).content();
        assert_eq!(killed, disk.content());
    }

    #[test]
    fn a_file_whose_name_was_not_synced_is_gone_although_its_bytes_were() {
        let disk = SimDisk::new();
        disk.create_new("f").unwrap().sync_data().unwrap();
        assert!(disk.crash(end(&disk), Loss::Unsynced).content().is_empty());
    }

    #[test]
    fn a_rename_that_was_not_synced_leaves_the_old_name() {
        let (disk, _file) = written();
        disk.rename("d/f", "d/h").unwrap();
        let after = disk.crash(end(&disk), Loss::Unsynced).content();
        assert!(after.contains_key("d/f"));
        disk.sync_dir("d").unwrap();
        let after = disk.crash(end(&disk), Loss::Unsynced).content();
        assert_eq!(after.into_keys().collect::<Vec<_>>(), ["d/h"]);
    }

    #[test]
    fn a_write_is_cut_at_every_byte() {
        let (disk, _file) = written();
        let cuts = disk.cuts(4);
        assert_eq!(cuts.len(), 5);
        let lengths: Vec<usize> =
            cuts.iter().map(|cut| disk.crash(*cut, Loss::Nothing).content()["d/f"].len()).collect();
        assert_eq!(lengths, [6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_seed_decides_the_same_way_each_time_and_seeds_differ() {
        let disk = SimDisk::new();
        let file = disk.create_new("f").unwrap();
        disk.sync_dir("").unwrap();
        file.write_at(0, &vec![1; 64 * SECTOR_BYTES]).unwrap();
        let image = |seed| disk.crash(end(&disk), Loss::Some(seed)).content();
        assert_eq!(image(1), image(1));
        assert_ne!(image(1), image(2));
        let bytes = image(1)["f"].clone();
        assert!(bytes.contains(&0));
        assert!(bytes.contains(&1));
        assert!(bytes.chunks(SECTOR_BYTES).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
    }

    #[test]
    fn space_runs_out_for_growth_only_and_returns() {
        let (disk, file) = written();
        disk.set_capacity_bytes(20);
        file.allocate(20).unwrap();
        assert_eq!(file.allocate(21).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        file.write_at(15, b"12345").unwrap();
        assert_eq!(file.write_at(15, b"123456").unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        file.truncate(10).unwrap();
        disk.create_new("d/g").unwrap().allocate(10).unwrap();
        assert_eq!(disk.used_bytes(), 20);
    }

    #[test]
    fn faults_happen_until_healed() {
        let (disk, file) = written();
        disk.inject(Fault::Sync);
        file.sync_data().unwrap_err();
        disk.heal(Fault::Sync);
        file.sync_data().unwrap();
        disk.inject(Fault::Cold);
        let mut buf = [0; 4];
        assert_eq!(
            file.read_at(0, &mut buf, env::ReadMode::NoWait).unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock
        );
        assert_eq!(file.read_at(0, &mut buf, env::ReadMode::Wait).unwrap(), 4);
    }

    #[test]
    fn a_directory_is_locked_once() {
        let disk = SimDisk::new();
        let held = disk.lock("LOCK").unwrap();
        disk.clone().lock("LOCK").unwrap_err();
        drop(held);
        disk.lock("LOCK").unwrap();
    }
}
