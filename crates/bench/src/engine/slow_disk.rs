//! A real disk whose syncs take as long as those of another.
//!
//! What sharing a sync is worth depends on what a sync costs beside the work of a put, so the published figure is
//! repeated with its sync: everything goes to the real disk and is really synced, and then the thread that synced sleeps
//! until as much time is over as it took there.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use env::{DirLock, Disk, File, LockError, ReadMode};

/// `disk`, with syncs of data that take `sync_takes` or longer.
pub struct SlowDisk<D> {
    pub disk: D,
    pub sync_takes: Duration,
}

struct SlowFile {
    file: Arc<dyn File>,
    sync_takes: Duration,
}

impl<D> SlowDisk<D> {
    fn slow(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(SlowFile { file, sync_takes: self.sync_takes })
    }
}

impl File for SlowFile {
    fn read_at(&self, offset: u64, buf: &mut [u8], mode: ReadMode) -> io::Result<usize> {
        self.file.read_at(offset, buf, mode)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.truncate(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        let start = Instant::now();
        self.file.sync_data()?;
        thread::sleep(self.sync_takes.saturating_sub(start.elapsed()));
        Ok(())
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.file.size_bytes()
    }
}

impl<D: Disk> Disk for SlowDisk<D> {
    fn root(&self) -> &Path {
        self.disk.root()
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn create_new(&self, path: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.slow(self.disk.create_new(path)?))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.slow(self.disk.open(path)?))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn rename(&self, source: &str, target: &str) -> io::Result<()> {
        self.disk.rename(source, target)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &str) -> Result<DirLock, LockError> {
        self.disk.lock(path)
    }
}

#[cfg(test)]
mod tests {
    use env::RealDisk;

    use super::*;

    #[test]
    fn what_is_written_is_on_the_real_disk_and_a_sync_takes_its_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let sync_takes = Duration::from_millis(5);
        let disk = SlowDisk { disk: RealDisk::open(dir.path()).expect("a disk"), sync_takes };
        let file = disk.create_new("file").expect("a file");
        file.write_at(0, b"bytes").expect("written");
        let start = Instant::now();
        file.sync_data().expect("synced");
        assert!(sync_takes <= start.elapsed());
        assert_eq!(std::fs::read(dir.path().join("file")).expect("read"), b"bytes");
    }
}
