//! The system's figures of a TCP connection (`TCP_INFO`, only on Linux).
//!
//! Each query is one system call. `stream::stats` bounds how often an owner asks.

use std::ffi::c_int;
use std::os::fd::RawFd;

use crate::net::socket::Socket;

/// Round trip, retransmissions, and the data on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFacts {
    /// Round trip time, smoothed, in microseconds.
    pub rtt_us: u32,
    /// Its mean deviation, in microseconds.
    pub rtt_var_us: u32,
    /// Segments retransmitted so far.
    pub retransmits: u32,
    /// Bytes sent and not acknowledged: segments on their way, each counted as a full one.
    pub unacked_bytes: u32,
}

#[cfg(test)]
thread_local! {
    /// How often this thread has asked.
    pub(crate) static ASKED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Asks the system; `None` if the socket is not a TCP socket.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)] // std and socket2 have no TCP_INFO
pub(crate) fn facts(socket: &Socket) -> Option<TcpFacts> {
    use std::os::fd::{AsFd, AsRawFd};
    // SAFETY: tcp_info is plain numbers, for which all-zero is valid.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t; // some hundred bytes
    let fd = socket.as_fd().as_raw_fd();
    #[cfg(test)]
    ASKED.set(ASKED.get() + 1);
    // SAFETY: the fd is open, `info` has `len` writable bytes, and both live through the call.
    let got = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut len) };
    (got == 0).then(|| TcpFacts {
        rtt_us: info.tcpi_rtt,
        rtt_var_us: info.tcpi_rttvar,
        retransmits: info.tcpi_total_retrans,
        unacked_bytes: info.tcpi_unacked.saturating_mul(info.tcpi_snd_mss),
    })
}

/// Asks the system; not possible on this platform.
#[cfg(not(target_os = "linux"))]
pub fn facts(_socket: &Socket) -> Option<TcpFacts> {
    None
}

/// How many bytes of this socket the other side has not acknowledged; `None` if the system does not know.
#[allow(unsafe_code)] // neither std nor socket2 has this question
pub(crate) fn unacknowledged(fd: RawFd) -> Option<c_int> {
    let mut left: c_int = 0;
    // SAFETY: asks for one number, for which there is room.
    let known = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut left) } == 0;
    known.then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_on_their_way_until_the_other_side_has_them() {
        use std::io::{Read, Write};
        use std::os::fd::AsRawFd;
        // A unix socket counts what has not been read, so the test depends on no window of TCP.
        let (mut here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(unacknowledged(here.as_raw_fd()), Some(0));
        here.write_all(b"last").unwrap();
        assert!(unacknowledged(here.as_raw_fd()).is_some_and(|bytes| bytes > 0));
        there.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(unacknowledged(here.as_raw_fd()), Some(0));
    }

    #[test]
    fn a_tcp_connection_has_a_round_trip_and_a_unix_socket_has_none() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let facts = facts(&Socket::adopt(client.into()).unwrap()).unwrap();
        assert!(facts.rtt_us > 0 && facts.rtt_us < 1_000_000, "{facts:?}");
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(super::facts(&Socket::adopt(unix.into()).unwrap()), None);
    }
}
