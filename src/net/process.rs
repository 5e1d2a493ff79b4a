//! A process that works for this one: its start with one end of a channel and nothing else, its limits, its end.
//!
//! The process is named by a pidfd: a host may reap all its children itself, and after that a number could be that of
//! another process. `entry` is the side of the started process.

mod entry;

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fmt, fs};

pub(crate) use entry::{Parent, end_now, enter};

use crate::config::{StreamConfig, WorkerConfig};
use crate::error::{Failure, RRError, Result};
use crate::net::poll::is_readable;
use crate::net::thread;
use crate::sync;

/// The file name of the library's own worker program.
const PROGRAM: &str = "rrelay-worker";

/// What the process may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Memory that it can write, in bytes (`RLIMIT_DATA`; `RLIMIT_AS` would count what the allocator only reserves).
    pub(crate) memory_bytes: Option<u64>,
    /// Open files.
    pub(crate) files: Option<u32>,
    /// Nice value; 0 leaves that of the thread that starts it.
    pub(crate) nice: i32,
    /// CPUs; empty means any.
    pub(crate) cpus: Vec<usize>,
}

impl Limits {
    /// The limits of the worker of a stream with these settings.
    pub(crate) fn of(worker: &WorkerConfig, stream: &StreamConfig) -> Self {
        let WorkerConfig { memory_bytes, files, .. } = *worker;
        Self { memory_bytes, files, nice: stream.nice, cpus: stream.cpus.clone() }
    }
}

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By this signal.
    Killed(i32),
    /// With this status.
    Exited(i32),
    /// Somehow: the host has waited for all its children, and got the status in place of the library; or another process
    /// has started it, which alone learns that.
    Unknown,
}

impl End {
    /// Whether the process itself says that all is well.
    pub(crate) fn is_ok(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Killed(signal) => match signal_name(signal) {
                Some(name) => write!(f, "killed by signal {signal} ({name})"),
                None => write!(f, "killed by signal {signal}"),
            },
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Unknown => f.write_str("ended, and the system does not tell this program how"),
        }
    }
}

/// A started process, here or by a process that has left it to this one. Dropped, it is killed and reaped.
#[derive(Debug)]
pub(crate) struct Process {
    pidfd: OwnedFd,
    pid: u32,
    is_child: bool,
    ended: Option<End>,
}

impl Process {
    /// Starts a program that calls [`enter`], and gives this end of a channel to it, a unix stream socket. It gets the
    /// other end, the standard error of this process, and no other descriptor. The system kills it when the calling
    /// thread ends, so that thread must live longer.
    ///
    /// On Linux nice value and CPU set belong to threads, so they hold for the whole process only if it starts no thread
    /// before the first message of its channel.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the system allows no more processes or descriptors, or not these limits;
    /// [`RRError::NoMem`]; [`RRError::Io`] if there is no such program, with its path; [`RRError::Unsupported`] on a
    /// system without these calls.
    pub(crate) fn spawn(program: &Path, limits: &Limits) -> Result<(Self, OwnedFd)> {
        Self::start(Command::new(program), limits)
    }

    #[allow(unsafe_code)] // std closes no descriptors of the host
    fn start(mut command: Command, limits: &Limits) -> Result<(Self, OwnedFd)> {
        let program = PathBuf::from(command.get_program());
        let cannot_start = |error: io::Error| failed(&program, &error);
        check(&program).map_err(cannot_start)?;
        let (here, channel) = UnixStream::pair().map_err(cannot_start)?;
        // The numbers below 3 are those of the standard streams; a copy never has one of them.
        let channel: OwnedFd = match channel.as_raw_fd() {
            0..3 => channel.as_fd().try_clone_to_owned().map_err(cannot_start)?,
            _ => channel.into(),
        };
        let fd = channel.as_raw_fd();
        command.args(entry::arguments(std::process::id(), fd));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // The environment of a host may have secrets, and names of sockets that are the host's.
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| is_passed_on(name)));
        // A Ctrl-C or a hang-up of the terminal is for the host, which then stops in order.
        command.process_group(0);
        // SAFETY: the closure runs in the new process between fork and exec, and makes only system calls.
        unsafe { command.pre_exec(move || keep_only(fd)) };
        let process = command.spawn().and_then(Self::of).map_err(cannot_start)?;
        process.limit(limits)?;
        Ok((process, here.into()))
    }

    /// The process of a child, which is ended if that fails.
    fn of(mut child: Child) -> io::Result<Self> {
        let pid = child.id();
        let pidfd = Self::open(pid).inspect_err(|_| {
            // It has hardly begun, so this takes no time.
            let _ = child.kill();
            let _ = child.wait();
        })?;
        Ok(Self { pidfd, pid, is_child: true, ended: None })
    }

    /// The pidfd of the process that has this number now.
    ///
    /// # Errors
    /// Those of the system.
    #[allow(unsafe_code)] // std opens no pidfds
    pub(crate) fn open(pid: u32) -> io::Result<OwnedFd> {
        // SAFETY: pidfd_open takes two integers and gives a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        match RawFd::try_from(fd) {
            // SAFETY: the descriptor is new, open and ours alone.
            Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The process of this pidfd, which another process has started and left to this one.
    ///
    /// # Errors
    /// [`RRError::Arg`] if it is no pidfd.
    pub(crate) fn adopt(pidfd: OwnedFd) -> Result<Self> {
        let facts = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap_or_default();
        let pid: Option<i64> = facts.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
        let pid = pid.ok_or_else(|| Failure::ours(RRError::Arg, "what came as a process is none"))?;
        // One that is gone has no number any more.
        Ok(Self { pidfd, pid: u32::try_from(pid).unwrap_or_default(), is_child: false, ended: None })
    }

    /// Another descriptor of it, for the process that it is left to.
    ///
    /// # Errors
    /// [`RRError::Limit`] if this process has no descriptor left.
    pub(crate) fn second_fd(&self) -> Result<OwnedFd> {
        self.pidfd.try_clone().map_err(|error| Failure::io("pidfd", &error))
    }

    /// Whether this process has started it.
    pub(crate) fn is_child(&self) -> bool {
        self.is_child
    }

    /// Leaves it to another process. If this one has started it, the system keeps its exit status until it is taken here.
    pub(crate) fn leave(mut self) {
        if self.ended().is_none() {
            if self.is_child {
                self.reap_later();
            }
            self.ended = Some(End::Unknown);
        }
    }

    /// Takes its exit status once it ends. False if no thread can wait for that.
    fn reap_later(&self) -> bool {
        let later = self.pidfd.try_clone().ok().and_then(|pidfd| {
            let body = move || {
                reap(&pidfd, 0);
            };
            sync::spawn("workerReaper", body, |_| {}).ok()
        });
        later.is_some()
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends the process at once. Its end comes soon after that ([`Self::ended`]).
    #[allow(unsafe_code)] // std sends no signals through a pidfd
    pub(crate) fn kill(&self) {
        let (no_info, no_flags) = (std::ptr::null::<libc::siginfo_t>(), 0);
        // SAFETY: the descriptor is open, and no information goes with the signal. A process that has ended is no error
        // that matters.
        unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), libc::SIGKILL, no_info, no_flags);
        }
    }

    /// How the process has ended; `None` while it runs. It never waits.
    pub(crate) fn ended(&mut self) -> Option<End> {
        if self.ended.is_none() {
            self.ended = match self.is_child {
                true => reap(&self.pidfd, libc::WNOHANG),
                false => is_readable(self.pidfd.as_raw_fd(), 0).then_some(End::Unknown),
            };
        }
        self.ended
    }

    /// Applies the limits. A nice value or CPU set that the system refuses is only logged: the process works without it.
    fn limit(&self, limits: &Limits) -> Result<()> {
        if let Some(bytes) = limits.memory_bytes {
            self.set_limit(libc::RLIMIT_DATA, bytes, "bytes of memory")?;
        }
        if let Some(files) = limits.files {
            self.set_limit(libc::RLIMIT_NOFILE, files.into(), "open files")?;
        }
        if let Err(error) = thread::set_nice(self.pid, limits.nice) {
            log::warn!("nice {} was refused for a worker: {error}", limits.nice);
        }
        if let Err(error) = thread::set_cpus(self.pid, &limits.cpus) {
            log::warn!("the CPU set was refused for a worker: {error}");
        }
        Ok(())
    }

    #[allow(unsafe_code)] // std has no prlimit
    fn set_limit(&self, resource: libc::__rlimit_resource_t, most: u64, what: &str) -> Result<()> {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: the limit lives through the call, and the old one is not asked for.
        if unsafe { libc::prlimit(self.pid.cast_signed(), resource, &limit, std::ptr::null_mut()) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        Err(Failure::ours(RRError::Limit, format!("a worker cannot have {most} {what}: {error}")))
    }
}

impl AsRawFd for Process {
    /// The pidfd, which is readable once the process has ended.
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        self.kill();
        // A process that is killed may take a moment to free its memory, and the caller may be a task, which never waits.
        if self.is_child && !self.reap_later() {
            reap(&self.pidfd, 0);
        }
    }
}

/// Takes the exit status of a process, so that the system forgets the process.
#[allow(unsafe_code)] // std reaps through no pidfd
fn reap(pidfd: &OwnedFd, flags: libc::c_int) -> Option<End> {
    // SAFETY: siginfo_t is plain data, for which all-zero is valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let fd = pidfd.as_raw_fd().cast_unsigned();
    loop {
        // SAFETY: the descriptor is open, and `info` lives through the call.
        if unsafe { libc::waitid(libc::P_PIDFD, fd, &mut info, libc::WEXITED | flags) } == 0 {
            break;
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => {}
            // It is no child any more: somebody else has reaped it.
            _ => return Some(End::Unknown),
        }
    }
    // SAFETY: waitid has filled the fields of SIGCHLD; where nothing has ended, they are zero.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    match info.si_code {
        _ if pid == 0 => None,
        libc::CLD_EXITED => Some(End::Exited(status)),
        _ => Some(End::Killed(status)),
    }
}

/// Whether a process gets this variable of the environment.
fn is_passed_on(name: &OsStr) -> bool {
    const NAMES: [&str; 5] = ["PATH", "HOME", "TMPDIR", "TZ", "LANG"];
    const BEGINNINGS: [&str; 4] = ["LC_", "LD_", "RR_", "RUST_"];
    let Some(name) = name.to_str() else { return false };
    let begins = |with: &&str| name.starts_with(with);
    NAMES.contains(&name) || BEGINNINGS.iter().any(begins) || name.ends_with("SAN_OPTIONS")
}

/// In the new process: closes all descriptors but the standard streams and this one when the program begins.
#[allow(unsafe_code)] // std has no close_range
fn keep_only(fd: RawFd) -> io::Result<()> {
    let (first, fd) = (libc::STDERR_FILENO.cast_unsigned() + 1, fd.cast_unsigned());
    for (from, to) in [(first, fd - 1), (fd + 1, u32::MAX)] {
        // SAFETY: takes integers only, and closes nothing before the program begins.
        if from <= to && unsafe { libc::syscall(libc::SYS_close_range, from, to, libc::CLOSE_RANGE_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: takes integers only.
    match unsafe { libc::fcntl(fd.cast_signed(), libc::F_SETFD, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Why a program was not started.
fn failed(program: &Path, error: &io::Error) -> Failure {
    let (kind, why) = match error.raw_os_error() {
        Some(libc::EAGAIN) => {
            (RRError::Limit, "the system allows no more processes (RLIMIT_NPROC, or a cgroup's limit)")
        }
        Some(libc::EMFILE | libc::ENFILE) => (RRError::Limit, "raise the limit of open files"),
        Some(libc::ENOMEM) => (RRError::NoMem, "there is no memory for another process"),
        Some(libc::ENOSYS | libc::EINVAL) => (RRError::Unsupported, "streams in processes need Linux 5.11"),
        _ => (RRError::Io, "is it installed?"),
    };
    Failure::ours(kind, format!("the worker {} was not started: {error}: {why}", program.display()))
}

/// Refuses a file that cannot be a program, before the fork: where the host ignores SIGCHLD, std panics if exec fails.
fn check(program: &Path) -> io::Result<()> {
    if program.components().count() < 2 {
        // It is sought in PATH.
        return Ok(());
    }
    let file = fs::metadata(program)?;
    let is_program = file.is_file() && file.permissions().mode() & 0o111 != 0;
    if is_program { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// The library's worker program: beside the library, in `rrelay` beside it, or in a folder of `PATH`.
///
/// # Errors
/// [`RRError::NotFound`] with where it was sought.
pub(crate) fn default_program() -> Result<PathBuf> {
    let library = library().and_then(|library| Some(library.parent()?.to_owned()));
    let mut folders: Vec<PathBuf> =
        library.into_iter().flat_map(|beside| [beside.clone(), beside.join("rrelay")]).collect();
    folders
        .extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths).filter(|folder| folder.is_absolute()));
    let found = folders.iter().map(|folder| folder.join(PROGRAM)).find(|program| program.is_file());
    found.ok_or_else(|| {
        let beside = folders.first().map(|folder| folder.display().to_string()).unwrap_or_default();
        let text = format!("there is no program {PROGRAM}, neither in {beside} nor in PATH: install it, or set worker");
        Failure::ours(RRError::NotFound, text)
    })
}

/// The file that this code was loaded from.
fn library() -> Option<PathBuf> {
    let here = library as *const () as usize;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let of_line = |line: &str| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        let address = |digits| usize::from_str_radix(digits, 16).ok();
        let path = line.get(line.find('/')?..)?;
        (address(from)?..address(to)?).contains(&here).then(|| PathBuf::from(path))
    };
    maps.lines().find_map(of_line)
}

/// The system's name of a signal.
fn signal_name(signal: i32) -> Option<&'static str> {
    const NAMES: [(i32, &str); 21] = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGUSR2, "SIGUSR2"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGXCPU, "SIGXCPU"),
        (libc::SIGXFSZ, "SIGXFSZ"),
        (libc::SIGVTALRM, "SIGVTALRM"),
        (libc::SIGPROF, "SIGPROF"),
        (libc::SIGIO, "SIGIO"),
        (libc::SIGSYS, "SIGSYS"),
    ];
    NAMES.iter().find(|(number, _)| *number == signal).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests;
