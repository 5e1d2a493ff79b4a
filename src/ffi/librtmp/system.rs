//! The system calls on a session's descriptor. Only [`wait`] waits; [`super::sock`] decides for how long.
//!
//! In unit tests a descriptor below -1 is the end of a pipe in memory (`system/memory.rs`), so that conversations run
//! without sockets, which Miri lacks.

use std::ffi::c_int;
use std::io::{self, IoSliceMut};

use crate::net::tcp_info;

#[cfg(test)]
pub(super) mod memory;

/// A call's result: a number of bytes, or the system's error.
fn done(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Reads without waiting, with `recv`'s flags.
pub(super) fn receive(fd: c_int, buffer: &mut [u8], flags: c_int) -> io::Result<usize> {
    #[cfg(test)]
    if let Some(end) = memory::end(fd) {
        return end.receive(buffer, flags & libc::MSG_PEEK != 0);
    }
    let (start, len) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the buffer is writable for its length.
    done(unsafe { libc::recv(fd, start.cast(), len, libc::MSG_DONTWAIT | flags) })
}

/// Reads without waiting into several buffers, one after the other.
pub(super) fn receive_parts(fd: c_int, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    #[cfg(test)]
    if let Some(end) = memory::end(fd) {
        return end.receive_parts(parts);
    }
    // SAFETY: zero bytes are a message without parts.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr().cast();
    message.msg_iovlen = parts.len();
    // SAFETY: an `IoSliceMut` is an `iovec`, and the buffers are writable for their lengths.
    done(unsafe { libc::recvmsg(fd, &raw mut message, libc::MSG_DONTWAIT) })
}

/// Drops up to `len` bytes that have come. TCP does this without a copy; other sockets copy.
pub(super) fn forget(fd: c_int, len: usize) -> io::Result<usize> {
    let mut scrap = [std::mem::MaybeUninit::<u8>::uninit(); SCRAP_BYTES];
    let len = len.min(SCRAP_BYTES);
    #[cfg(test)]
    if let Some(end) = memory::end(fd) {
        return end.receive(&mut vec![0; len], false);
    }
    // SAFETY: the buffer is at least so long.
    done(unsafe { libc::recv(fd, scrap.as_mut_ptr().cast(), len, libc::MSG_TRUNC | libc::MSG_DONTWAIT) })
}

/// Bytes dropped at a time: the most that a peek shows.
const SCRAP_BYTES: usize = super::types::RTMP_BUFFER_CACHE_SIZE;

/// Writes without waiting. Raises no signal where the other side has gone.
pub(super) fn send(fd: c_int, bytes: &[u8]) -> io::Result<usize> {
    #[cfg(test)]
    if let Some(end) = memory::end(fd) {
        return end.send(bytes);
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the bytes are readable for their length.
    done(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Waits for one of these events; returns whether one came in time.
pub(super) fn wait(fd: c_int, events: i16, timeout_ms: c_int) -> io::Result<bool> {
    #[cfg(test)]
    if let Some(end) = memory::end(fd) {
        return Ok(end.wait(events, timeout_ms));
    }
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one pollfd of our own.
    let ready = unsafe { libc::poll(&raw mut poll, 1, timeout_ms) };
    if ready < 0 { Err(io::Error::last_os_error()) } else { Ok(ready > 0) }
}

/// How long a read of this socket may wait, in milliseconds; 0 means for ever. `None`: not at all.
pub(super) fn receive_timeout_ms(fd: c_int) -> Option<u64> {
    #[cfg(test)]
    if memory::end(fd).is_some() {
        return Some(0);
    }
    // SAFETY: only asks for flags.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags >= 0 && flags & libc::O_NONBLOCK != 0 {
        return None;
    }
    let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut len = size_of::<libc::timeval>() as libc::socklen_t;
    // SAFETY: the pointers are to our own values, with their size.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, (&raw mut time).cast(), &raw mut len) };
    if result != 0 {
        return Some(0);
    }
    Some(time.tv_sec as u64 * 1000 + (time.tv_usec as u64).div_ceil(1000))
}

/// How many bytes the other side has not acknowledged; `None` if the system does not know.
pub(super) fn unconfirmed(fd: c_int) -> Option<c_int> {
    #[cfg(test)]
    if memory::end(fd).is_some() {
        return Some(0);
    }
    tcp_info::unacknowledged(fd)
}

/// Ends both directions, which wakes threads that wait for the socket.
pub(super) fn shut_down(fd: c_int) {
    #[cfg(test)]
    if let Some(end) = memory::end(fd) {
        return end.shut_down();
    }
    // SAFETY: touches no memory.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Closes a descriptor that its owner no longer refers to.
pub(super) fn close(fd: c_int) -> c_int {
    #[cfg(test)]
    if let Some(end) = memory::end(fd) {
        end.shut_down();
        return 0;
    }
    // SAFETY: touches no memory.
    unsafe { libc::close(fd) }
}
