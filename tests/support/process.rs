//! Threads, descriptors and memory of this process, as Linux counts them.

#![allow(dead_code, reason = "each test program uses a part")]

/// Threads and open descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holds {
    pub(crate) threads: usize,
    pub(crate) fds: usize,
}

pub(crate) fn holds() -> Holds {
    let count = |folder: &str| std::fs::read_dir(folder).expect("Linux has /proc").count();
    Holds { threads: count("/proc/self/task"), fds: count("/proc/self/fd") }
}

/// Resident memory in KiB.
pub(crate) fn rss_kib() -> u64 {
    kib("self", "VmRSS:")
}

/// The most resident memory that a process ever had, in KiB.
pub(crate) fn most_rss_kib(process: u32) -> u64 {
    kib(&process.to_string(), "VmHWM:")
}

fn kib(process: &str, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux has /proc");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("it has a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
