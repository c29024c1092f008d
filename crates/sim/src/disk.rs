//! A disk in memory that remembers every operation and fails when told to.
//!
//! What a process sees is kept directly; what would be left after a crash is computed from the trace (see
//! `crash`). Space is counted as files are long, allocated or written.
//!
//! # Invariants
//! - Same calls, same trace, same content.
//! - An operation that failed is not in the trace, except a sync, which may have done anything.
//!
//! Deliberately not modelled: device latency, and failed reads other than by [`Fault`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::{DirLock, Disk, File, LockError, ReadMode};
use parking_lot::Mutex;

/// What a device writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// One operation that reached the disk. Files are numbered as they are created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A new, empty file.
    Create {
        /// Its number.
        file: usize,
        /// Its name.
        path: String,
    },
    /// Bytes written.
    Write {
        /// Where to.
        file: usize,
        /// From here on.
        offset: u64,
        /// These.
        bytes: Vec<u8>,
    },
    /// The file made at least this long.
    Allocate {
        /// Which.
        file: usize,
        /// How long.
        bytes: u64,
    },
    /// The file cut, or grown with zeros, to this length.
    Truncate {
        /// Which.
        file: usize,
        /// How long.
        bytes: u64,
    },
    /// The file's bytes and length made durable.
    SyncData {
        /// Which.
        file: usize,
    },
    /// A name removed.
    Remove {
        /// Which.
        path: String,
    },
    /// A name changed.
    Rename {
        /// From.
        source: String,
        /// To.
        target: String,
    },
    /// A bit changed by nobody's wish; on the device at once.
    Flip {
        /// In which file.
        file: usize,
        /// Which bit.
        bit: usize,
    },
    /// A directory's names made durable.
    SyncDir {
        /// Which.
        dir: String,
    },
}

/// What goes wrong next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Every sync of a file from now on fails.
    Sync,
    /// Every sync of a directory from now on fails.
    SyncDir,
    /// Every write from now on fails with an input/output error.
    Write,
    /// Every write into a file from now on finds no space, as on a copy-on-write file system.
    WriteSpace,
    /// Every read from now on fails with an input/output error.
    Read,
    /// No file can be created or opened, nor a directory synced, for want of file descriptors.
    Descriptors,
    /// Nothing is in memory: every read that may not wait would have to.
    Cold,
}

/// A disk in memory. Clones share it, as two handles of one device.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<Inner>>,
    root: PathBuf,
}

pub(crate) struct Inner {
    pub(crate) files: Vec<Vec<u8>>,
    pub(crate) names: BTreeMap<String, usize>,
    dirs: BTreeSet<String>,
    /// What the disk held before the first operation of the trace.
    pub(crate) base_files: Vec<Vec<u8>>,
    pub(crate) base_names: BTreeMap<String, usize>,
    pub(crate) trace: Vec<Op>,
    capacity_bytes: u64,
    faults: BTreeSet<Fault>,
    locks: BTreeSet<String>,
}

impl SimDisk {
    /// An empty disk without limits.
    pub fn new() -> SimDisk {
        SimDisk::holding(BTreeMap::new())
    }

    /// A disk that holds these files, all durable.
    pub fn holding(content: BTreeMap<String, Vec<u8>>) -> SimDisk {
        let dirs = content.keys().filter_map(|path| path.rsplit_once('/')).map(|(dir, _)| dir.to_owned()).collect();
        let names: BTreeMap<String, usize> = content.keys().cloned().zip(0..).collect();
        let files: Vec<Vec<u8>> = content.into_values().collect();
        let inner = Inner {
            base_files: files.clone(),
            base_names: names.clone(),
            files,
            names,
            dirs,
            trace: Vec::new(),
            capacity_bytes: u64::MAX,
            faults: BTreeSet::new(),
            locks: BTreeSet::new(),
        };
        SimDisk { shared: Arc::new(Mutex::new(inner)), root: PathBuf::from("sim") }
    }

    /// Every named file and its content, as a running process sees it.
    pub fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let inner = self.shared.lock();
        inner.names.iter().map(|(path, file)| (path.clone(), inner.files[*file].clone())).collect()
    }

    /// Flips one bit behind everybody's back.
    ///
    /// # Panics
    /// When there is no such bit.
    pub fn flip_bit(&self, path: &str, bit: usize) {
        let mut inner = self.shared.lock();
        let file = inner.names[path];
        inner.files[file][bit / 8] ^= 1 << (bit % 8);
        inner.trace.push(Op::Flip { file, bit });
    }

    /// Limits how many bytes the files may have together. Raising it is how space returns.
    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.shared.lock().capacity_bytes = bytes;
    }

    /// Bytes the files have together.
    pub fn used_bytes(&self) -> u64 {
        self.shared.lock().used_bytes()
    }

    /// Makes something go wrong from now on.
    pub fn inject(&self, fault: Fault) {
        self.shared.lock().faults.insert(fault);
    }

    /// Makes it go well again.
    pub fn heal(&self, fault: Fault) {
        self.shared.lock().faults.remove(&fault);
    }

    /// Every operation so far.
    pub fn trace(&self) -> Vec<Op> {
        self.shared.lock().trace.clone()
    }

    /// How many operations there were so far: a moment to cut at.
    pub fn trace_count(&self) -> usize {
        self.shared.lock().trace.len()
    }

    pub(crate) fn with<R>(&self, look: impl FnOnce(&Inner) -> R) -> R {
        look(&self.shared.lock())
    }
}

impl Default for SimDisk {
    fn default() -> SimDisk {
        SimDisk::new()
    }
}

impl Inner {
    fn used_bytes(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].len() as u64).sum()
    }

    fn fail_on(&self, fault: Fault) -> io::Result<()> {
        if self.faults.contains(&fault) {
            return Err(io::Error::other(format!("injected fault: {fault:?}")));
        }
        Ok(())
    }

    fn fail_without_descriptors(&self) -> io::Result<()> {
        const EMFILE: i32 = 24;
        if self.faults.contains(&Fault::Descriptors) { Err(io::Error::from_raw_os_error(EMFILE)) } else { Ok(()) }
    }

    fn grow(&mut self, file: usize, bytes: u64) -> io::Result<()> {
        let more = bytes.saturating_sub(self.files[file].len() as u64);
        if more == 0 {
            return Ok(());
        }
        if self.capacity_bytes < self.used_bytes() + more {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.files[file].resize(bytes as usize, 0);
        Ok(())
    }

    fn file(&self, path: &str) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.shared.lock().dirs.insert(path.to_owned());
        Ok(())
    }

    fn create_new(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut inner = self.shared.lock();
        inner.fail_without_descriptors()?;
        if inner.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = inner.files.len();
        inner.files.push(Vec::new());
        inner.names.insert(path.to_owned(), file);
        inner.trace.push(Op::Create { file, path: path.to_owned() });
        Ok(Arc::new(SimFile { shared: Arc::clone(&self.shared), file }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let inner = self.shared.lock();
        inner.fail_without_descriptors()?;
        let file = inner.file(path)?;
        Ok(Arc::new(SimFile { shared: Arc::clone(&self.shared), file }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let inner = self.shared.lock();
        if !dir.is_empty() && !inner.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = |path: &String| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            (parent == dir).then(|| name.to_owned())
        };
        Ok(inner.names.keys().filter_map(inside).collect())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut inner = self.shared.lock();
        inner.file(path)?;
        inner.names.remove(path);
        inner.trace.push(Op::Remove { path: path.to_owned() });
        Ok(())
    }

    fn rename(&self, source: &str, target: &str) -> io::Result<()> {
        let mut inner = self.shared.lock();
        let file = inner.file(source)?;
        inner.names.remove(source);
        inner.names.insert(target.to_owned(), file);
        inner.trace.push(Op::Rename { source: source.to_owned(), target: target.to_owned() });
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut inner = self.shared.lock();
        inner.fail_without_descriptors()?;
        inner.fail_on(Fault::Sync)?;
        inner.fail_on(Fault::SyncDir)?;
        inner.trace.push(Op::SyncDir { dir: dir.to_owned() });
        Ok(())
    }

    fn lock(&self, path: &str) -> Result<DirLock, LockError> {
        if !self.shared.lock().locks.insert(path.to_owned()) {
            return Err(LockError::Held { dir: self.root.clone(), holder: String::new() });
        }
        Ok(DirLock::new(Box::new(SimLock { shared: Arc::clone(&self.shared), path: path.to_owned() })))
    }
}

struct SimLock {
    shared: Arc<Mutex<Inner>>,
    path: String,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.shared.lock().locks.remove(&self.path);
    }
}

struct SimFile {
    shared: Arc<Mutex<Inner>>,
    file: usize,
}

impl File for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8], mode: ReadMode) -> io::Result<usize> {
        let inner = self.shared.lock();
        inner.fail_on(Fault::Read)?;
        if mode == ReadMode::NoWait && inner.faults.contains(&Fault::Cold) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let bytes = inner.files[self.file].get(offset as usize..).unwrap_or_default();
        let count = bytes.len().min(buf.len());
        buf[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.shared.lock();
        inner.fail_on(Fault::Write)?;
        if inner.faults.contains(&Fault::WriteSpace) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let end = offset + bytes.len() as u64;
        inner.grow(self.file, end)?;
        inner.files[self.file][offset as usize..end as usize].copy_from_slice(bytes);
        inner.trace.push(Op::Write { file: self.file, offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut inner = self.shared.lock();
        inner.grow(self.file, bytes)?;
        inner.trace.push(Op::Allocate { file: self.file, bytes });
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let mut inner = self.shared.lock();
        inner.grow(self.file, bytes)?;
        inner.files[self.file].truncate(bytes as usize);
        inner.trace.push(Op::Truncate { file: self.file, bytes });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.shared.lock();
        inner.fail_on(Fault::Sync)?;
        inner.trace.push(Op::SyncData { file: self.file });
        Ok(())
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.shared.lock().files[self.file].len() as u64)
    }
}
