//! What the kernel knows of a server process: CPU time, memory, disk blocks; and on which core it runs.
//!
//! - CPU: `utime + stime` of `/proc/PID/stat`, all threads, in clock ticks (10 ms); children do not count.
//! - Memory: `smaps_rollup`, which walks the page tables, because the counters of `status` may lag behind by the
//!   pages batched per CPU. The peak is `VmHWM` of `status`, restarted through `clear_refs`.
//!
//! Source: proc(5), `Documentation/filesystems/proc.rst` of Linux.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::error::Error;

/// Restarts `VmHWM` at the present RSS when written to `clear_refs`.
const CLEAR_REFS_PEAK: &str = "5";
/// The unit of `st_blocks`, whatever the block size of the file system.
const STAT_BLOCK_BYTES: u64 = 512;
/// The largest nice value.
const LEAST_PRIORITY: i32 = 19;

/// A process's memory at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All resident pages, file mappings included.
    pub rss_bytes: u64,
    /// Resident pages that belong to no file: heap and stacks.
    pub anonymous_bytes: u64,
}

/// CPU time that the threads of `pid` have used so far, user and system.
pub fn cpu_time(pid: u32) -> Result<Duration, Error> {
    let file = path(pid, "stat");
    let text = fs::read_to_string(&file).map_err(Error::io("read /proc/PID/stat"))?;
    let ticks = cpu_ticks(&text).ok_or(Error::NoField { file, field: "utime, stime" })?;
    Ok(Duration::from_secs(ticks).div_f64(rustix::param::clock_ticks_per_second() as f64))
}

/// Fields 14 and 15. The command name, field 2, may hold blanks and brackets, so counting starts after its last one.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

/// The process's memory now.
///
/// # Cost
/// A walk of its page tables, under its `mmap` lock: never during a measured run.
pub fn memory(pid: u32) -> Result<Memory, Error> {
    let file = path(pid, "smaps_rollup");
    let text = fs::read_to_string(&file).map_err(Error::io("read smaps_rollup"))?;
    let field = |name| kib_field(&text, name).ok_or_else(|| Error::NoField { file: file.clone(), field: name });
    Ok(Memory { rss_bytes: field("Rss:")?, anonymous_bytes: field("Anonymous:")? })
}

/// Largest RSS since the start or the last [`restart_peak`].
pub fn rss_peak_bytes(pid: u32) -> Result<u64, Error> {
    let file = path(pid, "status");
    let text = fs::read_to_string(&file).map_err(Error::io("read /proc/PID/status"))?;
    kib_field(&text, "VmHWM:").ok_or(Error::NoField { file, field: "VmHWM" })
}

/// Lets [`rss_peak_bytes`] start again from the present RSS.
pub fn restart_peak(pid: u32) -> Result<(), Error> {
    fs::write(path(pid, "clear_refs"), CLEAR_REFS_PEAK).map_err(Error::io("write clear_refs"))
}

fn kib_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn path(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

/// Disk blocks under `dir`, preallocated ones included. Files that vanish meanwhile count nothing.
pub fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.blocks() * STAT_BLOCK_BYTES,
            Err(_) => 0,
        })
        .sum()
}

/// Keeps the calling thread, and every process it starts from now on, on one core.
pub fn pin(core: usize) -> Result<(), Error> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).map_err(|error| Error::Io { op: "pin to a core", source: error.into() })
}

/// Lets the calling thread run only when nobody else wants the core.
pub fn step_back() -> Result<(), Error> {
    // Without an id, Linux takes the calling thread.
    setpriority_process(None, LEAST_PRIORITY)
        .map_err(|error| Error::Io { op: "lower a priority", source: error.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_fields_are_found_behind_an_awkward_name() {
        let stat = "42 (a b) c)) S 1 2 3 4 5 6 7 8 9 10 700 55 1 1 20";
        assert_eq!(cpu_ticks(stat), Some(755));
        assert_eq!(cpu_ticks("42 (short) S 1 2"), None);
    }

    #[test]
    fn sizes_come_in_bytes_and_names_match_whole() {
        let text = "RssAnon:\t  9 kB\nRss:  \t 12 kB\nRss_Other: 1 kB\n";
        assert_eq!(kib_field(text, "Rss:"), Some(12 * 1024));
        assert_eq!(kib_field(text, "Pss:"), None);
    }

    #[test]
    fn our_own_memory_grows_with_what_we_touch() {
        let before = memory(std::process::id()).unwrap();
        let block = std::hint::black_box(vec![1_u8; 32 << 20]);
        let after = memory(std::process::id()).unwrap();
        drop(block);
        assert!(before.anonymous_bytes + (31 << 20) < after.anonymous_bytes);
        assert!(after.anonymous_bytes <= after.rss_bytes);
        assert!(after.rss_bytes <= rss_peak_bytes(std::process::id()).unwrap() + (1 << 20));
    }
}
