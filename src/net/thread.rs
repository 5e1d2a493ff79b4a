//! A thread's place on the machine: nice value and CPU set. Linux only; elsewhere the calls do nothing.
//!
//! On Linux both belong to a thread, and a new thread has those of the thread that starts it. So a call with the id of a
//! process that has only its first thread holds for the whole process.

use std::io;

/// The id that means the calling thread.
pub(crate) const CALLER: u32 = 0;

/// Sets a thread's nice value (-20..=19); a value below 0 needs a privilege, and 0 changes nothing.
///
/// # Errors
/// The system's error; the thread stays as it was.
#[allow(unsafe_code)] // std has no setpriority
pub(crate) fn set_nice(thread: u32, nice: i32) -> io::Result<()> {
    if nice == 0 {
        return Ok(());
    }
    // SAFETY: takes integers only; with PRIO_PROCESS the id is that of a thread on Linux.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, nice) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lowers the calling thread's priority: raises its nice value by so much, to at most 19. That needs no privilege.
#[cfg(feature = "rest")]
#[allow(unsafe_code)] // std has no nice values
pub(crate) fn lower_priority(by: i32) {
    // SAFETY: takes an integer only; on Linux a nice value belongs to a thread.
    unsafe { libc::nice(by) };
}

/// Lets a thread run on these CPUs only; empty changes nothing.
///
/// # Errors
/// The system's error; the thread stays as it was.
#[allow(unsafe_code)] // std has no CPU sets
pub(crate) fn set_cpus(thread: u32, cpus: &[usize]) -> io::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    // SAFETY: cpu_set_t is a plain bit array for which all-zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus.iter().filter(|&&cpu| cpu < libc::CPU_SETSIZE as usize) {
        // SAFETY: `cpu` is below CPU_SETSIZE, so the bit lies inside the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the set is initialised and its size is given.
    if unsafe { libc::sched_setaffinity(thread.cast_signed(), size_of::<libc::cpu_set_t>(), &set) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Blocks, in the calling thread, the signals a host may handle: its handlers then run in its own threads, and a write
/// to a closed pipe gives an error instead of SIGPIPE. Signals that report a fault in the thread itself, and the
/// profiler's, stay unblocked.
#[allow(unsafe_code)] // std has no signal masks
pub(crate) fn block_signals() {
    // SAFETY: sigset_t is a plain bit array; sigfillset below gives it its value.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours and lives.
    unsafe { libc::sigfillset(&mut set) };
    for open in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGPROF] {
        // SAFETY: the set is initialised, the signal number is the system's own.
        unsafe { libc::sigdelset(&mut set, open) };
    }
    // SAFETY: both pointers are valid or null, and only this thread's mask changes.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
}
