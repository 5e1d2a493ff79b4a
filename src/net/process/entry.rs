//! The side of the started process: its arguments, its channel, and its end together with the process that started it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use socket2::SockRef;

use crate::error::{Failure, RRError, Result};

/// The first argument of a worker.
const MARK: &str = "--rrelay-worker";

/// The arguments with which a worker is started by the process `parent`; the channel has the number `channel`.
pub(super) fn arguments(parent: u32, channel: RawFd) -> [OsString; 3] {
    [MARK.into(), parent.to_string().into(), channel.to_string().into()]
}

/// Whether a program is started as a worker, by its arguments (with its name before them), and as whose.
fn read(arguments: &[Vec<u8>]) -> Option<Result<(u32, RawFd)>> {
    let [_, mark, rest @ ..] = arguments else { return None };
    if mark != MARK.as_bytes() {
        return None;
    }
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let whose = match rest {
        [parent, channel] => text(parent).zip(text(channel)),
        _ => None,
    };
    let whose = whose.and_then(|(parent, channel)| Some((parent.parse().ok()?, channel.parse().ok()?)));
    let wrong = || Failure::ours(RRError::Arg, format!("{MARK} needs a process and a descriptor; a server gives both"));
    Some(whose.filter(|&(_, channel)| channel > libc::STDERR_FILENO).ok_or_else(wrong))
}

/// The process that started this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent(u32);

impl Parent {
    /// Lets this process end with that one. The thread that calls this must be the main one each time: the system keeps the
    /// wish for each thread.
    ///
    /// # Errors
    /// [`RRError::State`] if that has ended, [`RRError::Io`] if the system refuses.
    pub(crate) fn bind(self) -> Result<()> {
        set_death_signal(libc::SIGKILL)?;
        // If it had ended before that call, no signal comes, but this process has another parent now.
        if std::os::unix::process::parent_id() != self.0 {
            return Err(Failure::ours(RRError::State, "the process that started this worker has ended"));
        }
        Ok(())
    }

    /// Lets this process go on without that one.
    ///
    /// # Errors
    /// [`RRError::Io`] if the system refuses.
    pub(crate) fn release(self) -> Result<()> {
        set_death_signal(0)
    }
}

#[allow(unsafe_code)] // std has no prctl
fn set_death_signal(signal: libc::c_int) -> Result<()> {
    // SAFETY: takes integers only.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) } {
        0 => Ok(()),
        _ => Err(Failure::io("prctl", &io::Error::last_os_error())),
    }
}

/// Makes this process a worker, if it was started as one, and gives its channel and the process that started it. From here
/// on it ends with that process, and ignores the signals by which a terminal or a service manager stops that process.
///
/// # Errors
/// [`RRError::Arg`] for arguments that no server gives, [`RRError::State`] if the starting process has ended,
/// [`RRError::Io`] if the system refuses a call.
#[allow(unsafe_code)] // std has neither prctl nor signals, and takes no descriptor from arguments
pub(crate) fn enter(arguments: &[Vec<u8>]) -> Result<Option<(OwnedFd, Parent)>> {
    let Some(whose) = read(arguments) else { return Ok(None) };
    let (parent, channel) = whose?;
    let parent = Parent(parent);
    parent.bind()?;
    // SAFETY: takes integers only. What it starts gets no more rights than it has; where that is refused, nothing follows.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2, libc::SIGPIPE] {
        // SAFETY: the disposition is the system's own.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: takes integers only.
    if unsafe { libc::fcntl(channel, libc::F_GETFD) } < 0 {
        return Err(Failure::ours(RRError::Arg, format!("{channel} is no open descriptor")));
    }
    // SAFETY: it is open, and by the arguments it was opened for this call alone.
    let channel = unsafe { OwnedFd::from_raw_fd(channel) };
    SockRef::from(&channel).set_cloexec(true).map_err(|error| Failure::io("channel", &error))?;
    Ok(Some((channel, parent)))
}

/// Ends this process at once: no thread of it can prevent that.
#[allow(unsafe_code)] // the one of std waits for what was registered to run at the end
pub(crate) fn end_now() {
    // SAFETY: takes an integer only, and does not return.
    unsafe { libc::_exit(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &[&str]) -> Option<Result<(u32, RawFd)>> {
        read(&arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn only_the_arguments_of_a_server_make_a_worker() {
        let own = arguments(77, 12);
        let own: Vec<&str> = own.iter().map(|argument| argument.to_str().unwrap()).collect();
        assert_eq!(given(&[&["program"], &own[..]].concat()), Some(Ok((77, 12))));
        assert_eq!(given(&["program"]), None);
        assert_eq!(given(&["program", "--port", "1935"]), None);
        for wrong in [&["1"][..], &["1", "x"], &["1", "2"], &["-1", "7"], &["1", "4294967299"], &["1", "7", "8"]] {
            let refused = given(&[&["program", MARK], wrong].concat()).unwrap().unwrap_err();
            assert_eq!(refused.kind, RRError::Arg, "{wrong:?}");
        }
    }
}
