//! Calls of the system that std lacks: CPU time and memory of processes, the limit of open files, the processors that a
//! process may use, and waiting for sockets with more than a millisecond's precision.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Raises the limit of open files, which children inherit, to the hard limit, and returns it.
pub(crate) fn raise_file_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to an rlimit of ours, valid for the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return 1024;
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above; where it is refused, the old limit stays.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    limit.rlim_cur
}

/// CPU time of a process with all its threads, user and system, in nanoseconds and not rounded to ticks. The kernel's
/// work in the process's system calls counts: on loopback that is a packet's whole way.
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

/// A server's process and those that it has started.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, which stands before it, may have blanks and parentheses.
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
    };
    let pids = std::fs::read_dir("/proc").expect("Linux has /proc");
    let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    std::iter::once(pid).chain(pids.filter(|&of| parent(of) == Some(pid))).collect()
}

/// The memory of a server's process and those that it has started, in bytes; of what several processes share, each has
/// its part.
pub(crate) fn own_bytes(pid: u32) -> u64 {
    let of = |pid: u32| {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the process is there");
        let line = maps.lines().find_map(|line| line.strip_prefix("Pss:")).expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
    };
    family(pid).into_iter().map(of).sum()
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kib * 1024
}

/// The processors that this process may use.
pub(crate) fn processors() -> Vec<usize> {
    // SAFETY: zero is an empty cpu_set_t.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a set of ours and the size is its own.
    let status = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) };
    assert_eq!(status, 0, "a process may ask for its own");
    // SAFETY: the set is there, and each number is below its size.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Whether this process, and so what it starts, has real-time priority.
pub(crate) fn is_real_time() -> bool {
    // SAFETY: takes an integer only; 0 is the calling thread.
    let policy = unsafe { libc::sched_getscheduler(0) };
    [libc::SCHED_FIFO, libc::SCHED_RR].contains(&policy)
}

/// Runs `body`, which may start a process, while this thread may use only these processors.
pub(crate) fn pinned<T>(cpus: &[usize], body: impl FnOnce() -> T) -> T {
    let before = processors();
    pin(cpus);
    let result = body();
    pin(&before);
    result
}

fn pin(cpus: &[usize]) {
    // SAFETY: zero is an empty cpu_set_t.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: the set is there, and the number came from such a set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the pointer is to a set of ours and the size is its own.
    let status = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    assert_eq!(status, 0, "{cpus:?} are processors of this process");
}

/// A socket that can be read (or has ended) or written again.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: usize,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// epoll, edge-triggered.
pub(crate) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// Most sockets that one wait gives.
const EVENTS: usize = 512;

impl Epoll {
    pub(crate) fn new() -> Self {
        // SAFETY: no pointer is given.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: it was just opened and is nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS] }
    }

    /// Adds a socket, until it is closed.
    pub(crate) fn add(&self, socket: &impl AsRawFd, token: usize) {
        let events = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: token as u64 };
        // SAFETY: both descriptors are open, and the event is valid for the call.
        let status =
            unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event) };
        assert_eq!(status, 0, "{}", io::Error::last_os_error());
    }

    /// Waits for at most `timeout`, for ever where that is `None`, and puts the ready sockets into `ready`.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) {
        let time = timeout
            .map(|time| libc::timespec { tv_sec: time.as_secs() as libc::time_t, tv_nsec: time.subsec_nanos().into() });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let mask: *const libc::sigset_t = std::ptr::null();
        // SAFETY: the events are ours and as many as said; time is null or a timespec that lives through the call.
        let count = unsafe {
            let (fd, events) = (self.fd.as_raw_fd(), self.events.as_mut_ptr());
            libc::syscall(libc::SYS_epoll_pwait2, fd, events, EVENTS as libc::c_int, time, mask, 0_usize)
        };
        ready.clear();
        if count < 0 {
            let error = io::Error::last_os_error();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted, "{error} (this needs Linux 5.11)");
            return;
        }
        ready.extend(self.events[..count as usize].iter().map(|event| {
            let (bits, token) = (event.events as i32, event.u64 as usize);
            let gone = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
            Ready { token, readable: bits & (libc::EPOLLIN | gone) != 0, writable: bits & libc::EPOLLOUT != 0 }
        }));
    }
}
