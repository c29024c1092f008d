//! The disk of this machine, by `rustix` and the standard library.
//!
//! Deliberately plain: buffered I/O through the page cache, because the page cache is what lets an
//! acknowledged write outlive `kill -9` without a sync. No direct I/O, no io_uring.

use std::fs;
use std::io::{self, IoSliceMut, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::{Errno, ReadWriteFlags};

use crate::disk::{DirLock, Disk, File, LockError, ReadMode};

/// Bytes written at once where a file system cannot allocate and zeros must be written instead.
const ZEROS_BYTES: usize = 16 << 10;

/// A directory of the operating system.
pub struct RealDisk {
    root: PathBuf,
}

/// Creates `path` and the directories above it, unless they exist, and makes their names durable.
fn create_dirs(path: &Path) -> io::Result<()> {
    let parents = parents_of_missing(path);
    fs::create_dir_all(path)?;
    parents.into_iter().try_for_each(|parent| fs::File::open(parent)?.sync_all())
}

/// The directories that gain a name when `path` and what is missing above it are created, the lowest first.
fn parents_of_missing(path: &Path) -> Vec<PathBuf> {
    let missing = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists());
    let parent = |dir: &Path| match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    missing.map(parent).collect()
}

impl RealDisk {
    /// Opens `root`, creating it, and the directories above it, when they do not exist.
    ///
    /// # Durability
    /// The names of the directories created survive power loss.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<RealDisk> {
        let root = root.into();
        create_dirs(&root)?;
        Ok(RealDisk { root })
    }

    fn path(&self, path: &str) -> PathBuf {
        assert!(!path.starts_with('/'), "paths are relative to the root");
        self.root.join(path)
    }
}

impl Disk for RealDisk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        create_dirs(&self.path(path))
    }

    fn create_new(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::File::options().read(true).write(true).create_new(true).open(self.path(path))?;
        Ok(Arc::new(RealFile { file }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::File::options().read(true).write(true).open(self.path(path))?;
        Ok(Arc::new(RealFile { file }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(dir))? {
            let entry = entry?;
            // A name that is not UTF-8 is not one of ours.
            if let (false, Ok(name)) = (entry.file_type()?.is_dir(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn rename(&self, source: &str, target: &str) -> io::Result<()> {
        fs::rename(self.path(source), self.path(target))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        fs::File::open(self.path(dir))?.sync_all()
    }

    fn lock(&self, path: &str) -> Result<DirLock, LockError> {
        let refused = |source| LockError::Io { dir: self.root.clone(), source };
        let mut options = fs::File::options();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(self.path(path)).map_err(refused)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(refused)?;
                return Err(LockError::Held { dir: self.root.clone(), holder: holder.trim().to_owned() });
            }
            Err(errno) => return Err(refused(errno.into())),
        }
        file.set_len(0).map_err(refused)?;
        writeln!(file, "{}", std::process::id()).map_err(refused)?;
        Ok(DirLock::new(Box::new(file)))
    }
}

struct RealFile {
    file: fs::File,
}

impl RealFile {
    fn read_at_no_wait(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let read = loop {
            match rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT) {
                Err(Errno::INTR) => {}
                // A file system without the flag cannot say whether it would wait.
                Err(Errno::OPNOTSUPP) => return Err(io::ErrorKind::WouldBlock.into()),
                other => break other?,
            }
        };
        // Short can mean the end of the file or the end of what is cached; only the length tells.
        let short = read < buf.len();
        if short && offset + (read as u64) < self.size_bytes()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(read)
    }

    fn read_at_wait(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.file.read_at(&mut buf[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn allocate_by_writing(&self, bytes: u64) -> io::Result<()> {
        let zeros = [0; ZEROS_BYTES];
        let mut offset = self.size_bytes()?;
        while offset < bytes {
            let chunk = ((bytes - offset) as usize).min(ZEROS_BYTES);
            self.file.write_all_at(&zeros[..chunk], offset)?;
            offset += chunk as u64;
        }
        Ok(())
    }
}

impl File for RealFile {
    fn read_at(&self, offset: u64, buf: &mut [u8], mode: ReadMode) -> io::Result<usize> {
        match mode {
            ReadMode::Wait => self.read_at_wait(offset, buf),
            ReadMode::NoWait => self.read_at_no_wait(offset, buf),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP) => return self.allocate_by_writing(bytes),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::write_whole;

    fn disk() -> (tempfile::TempDir, RealDisk) {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path().join("data")).unwrap();
        (dir, disk)
    }

    #[test]
    fn a_read_is_short_only_at_the_end_of_the_file() {
        let (_dir, disk) = disk();
        let file = disk.create_new("a").unwrap();
        file.write_at(4, b"tail").unwrap();
        for mode in [ReadMode::Wait, ReadMode::NoWait] {
            let mut buf = [0xff; 16];
            assert_eq!(file.read_at(2, &mut buf, mode).unwrap(), 6);
            assert_eq!(&buf[..6], b"\0\0tail");
            assert_eq!(file.read_at(8, &mut buf, mode).unwrap(), 0);
        }
    }

    #[test]
    fn allocated_bytes_read_as_zero_and_truncated_ones_stay_gone() {
        let (_dir, disk) = disk();
        let file = disk.create_new("a").unwrap();
        file.write_at(0, &[7; 100]).unwrap();
        file.allocate(5000).unwrap();
        assert_eq!(file.size_bytes().unwrap(), 5000);
        file.truncate(50).unwrap();
        file.allocate(100).unwrap();
        let mut buf = [1; 100];
        assert_eq!(file.read_at(0, &mut buf, ReadMode::Wait).unwrap(), 100);
        assert_eq!(buf[..50], [7; 50]);
        assert_eq!(buf[50..], [0; 50]);
    }

    #[test]
    fn allocation_without_the_system_call_writes_zeros_over_nothing() {
        let (_dir, disk) = disk();
        let file = fs::File::options().read(true).write(true).create_new(true).open(disk.path("a")).unwrap();
        let file = RealFile { file };
        file.write_at(0, b"kept").unwrap();
        file.allocate_by_writing(ZEROS_BYTES as u64 + 10).unwrap();
        assert_eq!(file.size_bytes().unwrap(), ZEROS_BYTES as u64 + 10);
        let mut buf = [1; 8];
        assert_eq!(file.read_at(0, &mut buf, ReadMode::Wait).unwrap(), 8);
        assert_eq!(&buf, b"kept\0\0\0\0");
    }

    #[test]
    fn the_second_to_lock_is_told_which_directory_and_who_has_it() {
        let (_dir, disk) = disk();
        let held = disk.lock("LOCK").unwrap();
        let refused = disk.lock("LOCK").unwrap_err().to_string();
        assert!(refused.contains(&disk.root().display().to_string()), "{refused}");
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        disk.lock("LOCK").unwrap();
    }

    #[test]
    fn write_whole_replaces_and_leaves_no_draft() {
        let (_dir, disk) = disk();
        disk.create_dir("sub").unwrap();
        disk.create_new("sub/x.tmp").unwrap().write_at(0, &[1; 99]).unwrap();
        for content in [&b"first"[..], b"2nd"] {
            write_whole(&disk, "sub/x", content).unwrap();
            assert_eq!(fs::read(disk.path("sub/x")).unwrap(), content);
        }
        assert_eq!(disk.list("sub").unwrap(), ["x"]);
        assert_eq!(disk.list("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn every_directory_that_gains_a_name_is_synced_when_directories_are_created() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = dir.path().join("a/b");
        assert_eq!(parents_of_missing(&wanted), [dir.path().join("a"), dir.path().to_owned()]);
        create_dirs(&wanted).unwrap();
        assert!(wanted.is_dir());
        assert_eq!(parents_of_missing(&wanted), Vec::<PathBuf>::new());
        assert_eq!(parents_of_missing(Path::new("no-such-dir/b")), [Path::new("no-such-dir"), Path::new(".")]);
    }

    #[test]
    fn names_are_created_once_and_errors_keep_their_kind() {
        let (_dir, disk) = disk();
        disk.create_new("a").unwrap();
        assert_eq!(disk.create_new("a").err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(disk.open("b").err().unwrap().kind(), io::ErrorKind::NotFound);
        let open = disk.open("a").unwrap();
        open.write_at(0, b"x").unwrap();
        disk.rename("a", "b").unwrap();
        disk.remove("b").unwrap();
        assert_eq!(open.size_bytes().unwrap(), 1);
    }
}
