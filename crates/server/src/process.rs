//! What the system says of this process and its machine, read from `/proc` when somebody asks.
//!
//! Deliberately not exact where exactness costs: CPU time comes in the kernel's ticks of 10 ms.

use std::fs;

/// Kernel ticks in a second, as `/proc` counts them on every architecture Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of the process, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuSeconds {
    /// In the kernel.
    pub system: f64,
    /// Outside of it.
    pub user: f64,
    /// In the kernel, children that have ended.
    pub system_children: f64,
    /// Outside of it, children that have ended.
    pub user_children: f64,
}

/// CPU time so far; zeros where there is no `/proc`.
pub fn cpu_seconds() -> CpuSeconds {
    fs::read_to_string("/proc/self/stat").ok().and_then(|stat| parse_stat(&stat)).unwrap_or_default()
}

fn parse_stat(stat: &str) -> Option<CpuSeconds> {
    // The second field is the program's name in brackets, which may hold spaces and brackets itself.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let seconds = |index: usize| -> Option<f64> { Some(fields.get(index)?.parse::<f64>().ok()? / TICKS_PER_SECOND) };
    Some(CpuSeconds {
        user: seconds(11)?,
        system: seconds(12)?,
        user_children: seconds(13)?,
        system_children: seconds(14)?,
    })
}

/// Resident memory of the process; 0 where there is no `/proc`.
pub fn resident_bytes() -> u64 {
    fs::read_to_string("/proc/self/status").ok().and_then(|text| kib_of(&text, "VmRSS:")).unwrap_or(0) << 10
}

/// Memory of the machine; 0 where there is no `/proc`.
pub fn system_memory_bytes() -> u64 {
    fs::read_to_string("/proc/meminfo").ok().and_then(|text| kib_of(&text, "MemTotal:")).unwrap_or(0) << 10
}

fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Name, release and architecture of the operating system.
pub fn os_name() -> String {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim_end().to_owned()).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    format!("{} {release} {}", read("/proc/sys/kernel/ostype"), std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_program_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 250 100 3 4 20 0 1 0 1 1 1";
        let expected = CpuSeconds { user: 2.5, system: 1.0, user_children: 0.03, system_children: 0.04 };
        assert_eq!(parse_stat(stat), Some(expected));
        assert_eq!(parse_stat("7 (a) S 1"), None);
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        assert_eq!(kib_of("VmPeak:\t  9 kB\nVmRSS:\t  1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(kib_of("", "VmRSS:"), None);
        assert!(1 << 20 < resident_bytes());
    }
}
