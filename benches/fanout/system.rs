//! What the system knows: CPU time and memory of processes, the limit of open files.

/// As many open files as the hard limit lets us; children inherit it.
pub(crate) fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to an rlimit of ours, valid for the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0 {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: as above; where it is refused, the old limit stays.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    }
}

/// CPU time of a process with all its threads, in nanoseconds, not rounded to ticks.
pub(crate) fn cpu_ns(pid: u32) -> u64 {
    let mut clock = 0;
    // SAFETY: the pointer is to a clockid_t of ours, valid for the call.
    let status = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) };
    assert_eq!(status, 0, "process {pid} is there");
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours, valid for the call.
    let status = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(status, 0, "process {pid} is there");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What a process has in memory, in bytes: `VmRSS` is now, `VmHWM` the most it ever was.
pub(crate) fn resident_bytes(pid: u32, which: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix(which)).expect("Linux says so");
    let kib: u64 = line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number of kB");
    kib * 1024
}
