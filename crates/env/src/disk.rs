//! Files as the journal and checkpoints need them: positioned reads and writes, allocation ahead of use, and
//! explicit durability for data and for names.
//!
//! Deliberately not a file system: no cursors, no permissions, no links. Paths are relative to the directory
//! the [`Disk`] was opened on, with `/` between names.
//!
//! # What a disk promises, and nothing more
//! 1. A write that returned is seen by every later read of this machine, and outlives the process.
//! 2. It outlives the power only after [`File::sync_data`]; until then any part of it, in units down to a
//!    sector, may be lost, in any order.
//! 3. A new, renamed or removed name outlives the power only after [`Disk::sync_dir`] of its directory.
//! 4. A failed sync leaves the state of every unsynced byte unknown for good (Rebello et al., ATC '20).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether a read may wait for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Wait for as long as the device takes.
    Wait,
    /// Answer [`io::ErrorKind::WouldBlock`] unless every byte asked for is in memory.
    NoWait,
}

/// One open file. It stays readable after its name has been removed.
pub trait File: Send + Sync {
    /// Reads into `buf` from `offset` and returns how many bytes there were: fewer than asked for only at the
    /// end of the file.
    ///
    /// # Errors
    /// `WouldBlock` only in [`ReadMode::NoWait`]; `buf` may then hold anything.
    fn read_at(&self, offset: u64, buf: &mut [u8], mode: ReadMode) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, growing the file when needed.
    ///
    /// # Errors
    /// Any part of `bytes` may have been written. Writing the same again is safe.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file at least `bytes` long with its space taken from the device, so that no later write
    /// below `bytes` can run out of space. New bytes read as zero.
    ///
    /// # Errors
    /// `StorageFull` leaves what was there untouched; the file may have grown.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Cuts the file to `bytes`, giving its space back. Growing it again reads as zero.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Makes all written bytes, and the length needed to read them, survive power loss.
    ///
    /// # Errors
    /// Never call it again after an error: the next call may report success for bytes that are gone.
    fn sync_data(&self) -> io::Result<()>;

    /// The file's length.
    fn size_bytes(&self) -> io::Result<u64>;
}

/// One directory tree that this process owns.
pub trait Disk: Send + Sync {
    /// The directory every path is relative to, for messages.
    fn root(&self) -> &Path;

    /// Creates a directory, and those above it, unless they exist.
    ///
    /// # Durability
    /// The names of those created survive power loss.
    fn create_dir(&self, path: &str) -> io::Result<()>;

    /// Creates an empty file; `AlreadyExists` when the name is taken.
    fn create_new(&self, path: &str) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>>;

    /// Names of the files in `dir`, sorted; directories are left out.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Removes a file's name.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Gives the file `source` the name `target`, replacing what had it. Atomic for every observer.
    fn rename(&self, source: &str, target: &str) -> io::Result<()>;

    /// Makes the names in `dir` (empty for the root) survive power loss.
    ///
    /// # Errors
    /// As [`File::sync_data`], except that one for which [`crate::is_out_of_descriptors`] holds came before any attempt.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Takes the directory for this process alone until the lock is dropped or the process ends, however it
    /// ends. `path` names the file that carries the lock.
    fn lock(&self, path: &str) -> Result<DirLock, LockError>;
}

/// Holds a directory for this process; dropping it lets go.
pub struct DirLock {
    _held: Box<dyn Send + Sync>,
}

impl DirLock {
    /// Wraps whatever keeps the lock while it lives.
    pub fn new(held: Box<dyn Send + Sync>) -> DirLock {
        DirLock { _held: held }
    }
}

impl fmt::Debug for DirLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DirLock")
    }
}

/// Why a directory could not be taken.
#[derive(Debug)]
pub enum LockError {
    /// Somebody else has it.
    Held {
        /// The directory.
        dir: PathBuf,
        /// What the holder wrote about itself: its process id. Empty when it wrote nothing.
        holder: String,
    },
    /// The operating system refused.
    Io {
        /// The directory.
        dir: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held { dir, holder } if holder.is_empty() => {
                write!(f, "the directory {} is in use by another process", dir.display())
            }
            LockError::Held { dir, holder } => {
                write!(f, "the directory {} is in use by another process, pid {holder}", dir.display())
            }
            LockError::Io { dir, source } => write!(f, "cannot lock the directory {}: {source}", dir.display()),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LockError::Held { .. } => None,
            LockError::Io { source, .. } => Some(source),
        }
    }
}

/// Replaces the file `path` by `bytes`, whole or not at all.
///
/// # Durability
/// On return the new content survives power loss. A crash before that leaves the old file, or none, and
/// perhaps a file `<path>.tmp`, which the next call replaces.
/// # Cost
/// Two syncs, one of the file and one of its directory.
pub fn write_whole(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = format!("{path}.tmp");
    match disk.remove(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create_new(&draft)?;
    file.write_at(0, bytes)?;
    file.sync_data()?;
    disk.rename(&draft, path)?;
    disk.sync_dir(path.rsplit_once('/').map_or("", |(dir, _)| dir))
}
