//! TCP sockets: listening on IPv4, IPv6 and both, connecting without blocking, and the socket options of a relay.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Type};

use crate::config::NOTSENT_LOWAT_BYTES;
use crate::error::{Failure, RRError, Result};
use crate::net::tls::TlsStream;

/// Most connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;

/// The longest time that the system may wait with an acknowledgement, microseconds (Linux 6.15).
const TCP_DELACK_MAX_US: libc::c_int = 46;

/// That time where a socket is read late: the shortest that a system whose clock ticks 250 times a second takes.
const SOON_US: u32 = 8_000;

/// That time as a system has it for a new socket.
const USUAL_US: u32 = 200_000;

/// The flags of reads and writes. That the socket does not block is a property of the open connection; where another
/// process has it too, that process may change it, and these calls still do not wait.
const AT_ONCE: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// A connected, non-blocking stream socket. Owned by one thread at a time.
#[derive(Debug)]
pub struct Socket {
    stream: mio::net::TcpStream,
    /// Encrypts and decrypts the bytes, if the connection is encrypted.
    tls: Option<Box<TlsStream>>,
}

impl Socket {
    /// Takes a connected stream socket: accepted by us, or by the host (then it may be a unix socket).
    ///
    /// # Errors
    /// [`RRError::Arg`] where the fd is not a stream socket; the fd is closed.
    pub fn adopt(fd: OwnedFd) -> Result<Self> {
        let not_a_socket = |error: io::Error| Failure::ours(RRError::Arg, format!("not a connected socket: {error}"));
        {
            let socket = SockRef::from(&fd);
            if socket.r#type().map_err(not_a_socket)? != Type::STREAM {
                return Err(Failure::ours(RRError::Arg, "not a stream socket"));
            }
            socket.set_nonblocking(true).map_err(not_a_socket)?;
            socket.set_cloexec(true).map_err(not_a_socket)?;
        }
        let socket = Self { stream: from_fd(fd), tls: None };
        socket.tune();
        Ok(socket)
    }

    /// [`Self::adopt`] for a socket that may be unconnected.
    ///
    /// # Errors
    /// Those of [`Self::adopt`], and [`RRError::Arg`] if the socket listens or is not connected.
    pub fn adopt_connected(fd: OwnedFd) -> Result<Self> {
        let socket = Self::adopt(fd)?;
        let own = SockRef::from(&socket.stream);
        if own.is_listener().unwrap_or(false) {
            return Err(Failure::ours(
                RRError::Arg,
                "the socket listens: accept from it, or give it to rr_server_listen_fd",
            ));
        }
        // A connection that its peer has reset meanwhile has no peer address either, but it has a pending error.
        if own.peer_addr().is_err() && own.take_error().is_ok_and(|error| error.is_none()) {
            return Err(Failure::ours(RRError::Arg, "the socket is not connected"));
        }
        Ok(socket)
    }

    /// [`Self::connect_from`] without a given local address.
    ///
    /// # Errors
    /// Those of [`Self::connect_from`].
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Self::connect_from(address, None)
    }

    /// Begins to connect, from the address `bind` if given. The socket becomes writable when the attempt has ended;
    /// [`Self::connect_result`] has its result.
    ///
    /// # Errors
    /// [`RRError::Connect`] if it fails at once.
    pub fn connect_from(address: SocketAddr, bind: Option<IpAddr>) -> Result<Self> {
        let refused = |error: io::Error| Failure::peers(RRError::Connect, format!("{address}: {error}"));
        let stream = match bind {
            None => mio::net::TcpStream::connect(address).map_err(refused)?,
            Some(ip) => {
                let no_bind = |error| Failure::ours(RRError::Connect, format!("cannot connect from {ip}: {error}"));
                let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
                    .map_err(no_bind)?;
                socket.set_nonblocking(true).map_err(no_bind)?;
                socket.bind(&SocketAddr::new(ip, 0).into()).map_err(no_bind)?;
                match socket.connect(&address.into()) {
                    Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(refused(error)),
                    _ => mio::net::TcpStream::from_std(socket.into()),
                }
            }
        };
        let socket = Self { stream, tls: None };
        socket.tune();
        Ok(socket)
    }

    /// After a connecting socket became writable: connected, still connecting, or failed.
    ///
    /// # Errors
    /// [`RRError::Connect`] with the reason.
    pub fn connect_result(&self) -> Result<bool> {
        let failed = |error: io::Error| Failure::peers(RRError::Connect, error.to_string());
        if let Some(error) = self.stream.take_error().map_err(failed)? {
            return Err(failed(error));
        }
        match self.stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::InvalidInput) => {
                Ok(false)
            }
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Sets TCP_NODELAY, so that a written message leaves at once, and TCP_NOTSENT_LOWAT, because bytes that wait in
    /// the kernel are a lag that we cannot see. A unix socket has neither; the errors are ignored.
    fn tune(&self) {
        let socket = SockRef::from(&self.stream);
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES);
    }

    /// Ends the connection when the peer leaves bytes unacknowledged for this long (TCP_USER_TIMEOUT, Linux): a peer
    /// whose network is gone would otherwise stay for a quarter of an hour.
    pub fn set_user_timeout(&self, timeout_ms: u64) {
        // A unix socket has no such option; the error is ignored.
        let _ = SockRef::from(&self.stream).set_tcp_user_timeout(Some(Duration::from_millis(timeout_ms)));
    }

    /// Whether the socket can be read late ([`Self::read_from`], [`Self::acknowledge_soon`]). False where the system cannot do
    /// so: Linux before 6.15, or with a slow clock, and a unix socket.
    pub(crate) fn can_be_read_late(&self) -> bool {
        self.acknowledge_soon(true) && self.acknowledge_soon(false)
    }

    /// Has what comes acknowledged within 8 ms also if nobody reads it, or as usual again. A sender with Nagle's algorithm, as
    /// ffmpeg is, waits for that with its next small message, otherwise for up to 40 ms. As usual one acknowledgement serves
    /// several small messages, so this one is for sockets that are read late. False where the system cannot do so.
    pub(crate) fn acknowledge_soon(&self, on: bool) -> bool {
        let within_us = if on { SOON_US } else { USUAL_US };
        set_option(&self.stream, libc::IPPROTO_TCP, TCP_DELACK_MAX_US, within_us)
    }

    /// Lets the poller report that the socket is readable once this many bytes are there, or its end or an error, or what there is
    /// leaves the peer no window. 1 is the usual number; it is reported at once if that much is there.
    pub(crate) fn read_from(&self, bytes: u32) {
        // A system that has not got the option reports each byte.
        let _ = set_option(&self.stream, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes);
    }

    /// The peer's address for people; "unix" for a unix socket.
    pub fn peer_name(&self) -> String {
        self.stream.peer_addr().map_or_else(|_| "unix".to_owned(), name_of)
    }

    /// The peer's address without port, as the key of per-address limits.
    pub fn peer_ip(&self) -> Option<IpAddr> {
        self.stream.peer_addr().ok().map(|address| plain(address).ip())
    }

    /// Our own address for people.
    pub fn local_name(&self) -> String {
        self.stream.local_addr().map_or_else(|_| "unix".to_owned(), name_of)
    }

    /// Encrypts the connection from now on. The first read or write begins the TLS handshake.
    pub fn secure(&mut self, tls: TlsStream) {
        self.tls = Some(Box::new(tls));
    }

    /// Whether the connection is encrypted. If it is, a short read does not mean that nothing is left.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The socket for one who sends to it without its owner; `None` with TLS.
    pub(crate) fn bare(&self) -> Option<BareSocket> {
        self.tls.is_none().then(|| BareSocket(self.stream.as_raw_fd()))
    }

    /// Whether the TLS handshake still has to be done; a read then takes far more processor time than its bytes
    /// suggest.
    pub fn is_shaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.is_established())
    }

    /// Reads available bytes; `WouldBlock` if there are none, 0 at the end.
    ///
    /// # Errors
    /// Those of the system, and of TLS: see [`crate::net::tls::failure`].
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut wire = Wire(&self.stream);
            let result = match &mut self.tls {
                None => wire.read(buffer),
                Some(tls) => tls.read(&mut wire, buffer),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Writes what the kernel takes; never raises SIGPIPE. With TLS, a part of the bytes taken may wait here, see
    /// [`flush_tls`](Self::flush_tls).
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let mut wire = Wire(&self.stream);
            let result = match &mut self.tls {
                None => wire.write(bytes),
                Some(tls) => tls.write(&mut wire, bytes),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// [`write`](Self::write) for bytes in several places: one system call, or with TLS one record if they fit.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write_vectored(&mut self, parts: &mut [IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let mut wire = Wire(&self.stream);
            let result = match &mut self.tls {
                None => wire.write_vectored(parts),
                Some(tls) => tls.write_vectored(&mut wire, parts),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Gives the kernel the written bytes that TLS still holds; false if the kernel takes no more now. Then the owner
    /// calls this again once the socket is writable.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn flush_tls(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        loop {
            match tls.flush(&mut Wire(&self.stream)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Whether written bytes wait in TLS, for [`flush_tls`](Self::flush_tls); never without TLS.
    pub fn holds_ciphertext(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.holds_ciphertext())
    }

    /// Ciphertext read so far; 0 without TLS.
    pub fn ciphertext(&self) -> u64 {
        self.tls.as_ref().map_or(0, |tls| tls.taken())
    }

    /// Memory that TLS holds; 0 without it.
    pub fn heap_bytes(&mut self) -> usize {
        self.tls.as_mut().map_or(0, |tls| tls.heap_bytes())
    }

    /// The open descriptor. It stays non-blocking.
    pub(crate) fn into_fd(self) -> OwnedFd {
        std::net::TcpStream::from(self.stream).into()
    }

    /// Another descriptor of the same open connection.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the process has no descriptor left.
    pub(crate) fn second_fd(&self) -> Result<OwnedFd> {
        second_fd(self.stream.as_fd())
    }

    /// The registration source for a poller.
    pub(crate) fn source(&mut self) -> &mut mio::net::TcpStream {
        &mut self.stream
    }
}

/// A socket without TLS, by its descriptor alone, in as little memory as that takes. Whoever keeps one sees to it that the
/// [`Socket`] is still there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BareSocket(RawFd);

impl BareSocket {
    /// Sends bytes in one place or two; fewer may be taken.
    ///
    /// # Errors
    /// Those of [`Socket::write`].
    pub(crate) fn send(self, [bytes, more]: [&[u8]; 2]) -> io::Result<usize> {
        loop {
            let result = if more.is_empty() { send(self.0, bytes) } else { self.send_both(bytes, more) };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    #[cold]
    #[allow(unsafe_code)] // a descriptor is kept without its owner
    fn send_both(self, bytes: &[u8], more: &[u8]) -> io::Result<usize> {
        // SAFETY: the descriptor is open as long as the socket is there.
        let socket = unsafe { BorrowedFd::borrow_raw(self.0) };
        SockRef::from(&socket).send_vectored_with_flags(&[bytes, more].map(IoSlice::new), AT_ONCE)
    }
}

/// Sends bytes; fewer may be taken.
#[allow(unsafe_code)] // a system call without a safe form
fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the system reads at most the length of these bytes.
    let sent = unsafe { calls::send(fd, bytes.as_ptr(), bytes.len(), AT_ONCE) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// The open connection without TLS, or below it: its calls never wait and never raise SIGPIPE.
struct Wire<'a>(&'a mio::net::TcpStream);

impl Read for Wire<'_> {
    #[allow(unsafe_code)] // a system call without a safe form
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the system writes at most the buffer's length, and only whole bytes.
        let read = unsafe { calls::recv(self.0.as_raw_fd(), buffer.as_mut_ptr(), buffer.len(), AT_ONCE) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        send(self.0.as_raw_fd(), bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match parts {
            // A message over TLS is mostly one record. For one place this call costs less than the one with a list.
            [part] => self.write(part),
            parts => SockRef::from(self.0).send_vectored_with_flags(parts, AT_ONCE),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The two system calls of which each message takes several. The C library's functions let the thread be cancelled
/// meanwhile, which costs two locked instructions each; nobody cancels a thread here. ThreadSanitizer knows only those
/// functions.
#[allow(unsafe_code)] // system calls without a safe form
mod calls {
    use libc::{c_int, c_long};

    /// # Safety
    /// As for `recv(2)`: there is room for `len` bytes at `buffer`.
    pub(super) unsafe fn recv(fd: c_int, buffer: *mut u8, len: usize, flags: c_int) -> c_long {
        if cfg!(rr_tsan) {
            // SAFETY: the caller's.
            return unsafe { libc::recv(fd, buffer.cast(), len, flags) } as c_long;
        }
        let no_address = std::ptr::null_mut::<u8>();
        // SAFETY: the caller's; to a null address the system writes nothing.
        unsafe { libc::syscall(libc::SYS_recvfrom, fd, buffer, len, flags, no_address, no_address) }
    }

    /// # Safety
    /// As for `send(2)`: there are `len` bytes at `bytes`.
    pub(super) unsafe fn send(fd: c_int, bytes: *const u8, len: usize, flags: c_int) -> c_long {
        if cfg!(rr_tsan) {
            // SAFETY: the caller's.
            return unsafe { libc::send(fd, bytes.cast(), len, flags) } as c_long;
        }
        let no_address = std::ptr::null::<u8>();
        // SAFETY: the caller's; a null address is none.
        unsafe { libc::syscall(libc::SYS_sendto, fd, bytes, len, flags, no_address, 0_usize) }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// An address for people.
pub fn name_of(address: SocketAddr) -> String {
    plain(address).to_string()
}

/// The address in a name for people, with or without a port.
pub(crate) fn ip_of(name: &str) -> Option<IpAddr> {
    name.parse().ok().map(|address: SocketAddr| address.ip()).or_else(|| name.parse().ok()).map(|ip| ip.to_canonical())
}

/// An IPv4 address from an IPv6 socket is shown as IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Sets an option that socket2 does not have. False where the system refuses.
#[allow(unsafe_code)] // std has no setsockopt
fn set_option(socket: &impl AsRawFd, level: libc::c_int, option: libc::c_int, value: u32) -> bool {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointer and the length are those of a value that lives through the call.
    unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len) == 0 }
}

/// Within how many microseconds the system acknowledges what is not read from the socket of this process with this peer.
#[cfg(test)]
#[allow(unsafe_code)] // the test has not got the socket
pub(crate) fn acknowledges_within_us(peer: SocketAddr) -> Option<u32> {
    let is_it = |fd: &libc::c_int| {
        let ask = |place: *mut socket2::SockAddrStorage, len: *mut libc::socklen_t| {
            // SAFETY: there is room for any address; a number that is no socket's, or no descriptor's, gives an error.
            let got = unsafe { libc::getpeername(*fd, place.cast(), len) };
            if got == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        // SAFETY: the address is that of the system, or there is an error.
        let asked = unsafe { socket2::SockAddr::try_init(ask) };
        asked.is_ok_and(|((), address)| address.as_socket().map(plain) == Some(peer))
    };
    let fds = std::fs::read_dir("/proc/self/fd").ok()?;
    let fd = fds.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(is_it)?;
    let (mut within_us, mut len) = (0_u32, size_of::<u32>() as libc::socklen_t);
    let place = (&raw mut within_us).cast();
    // SAFETY: asks for one number, for which there is room.
    let got = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, TCP_DELACK_MAX_US, place, &raw mut len) };
    (got == 0).then_some(within_us)
}

#[allow(unsafe_code)] // the only way from an fd of unknown family to a mio stream
fn from_fd(fd: OwnedFd) -> mio::net::TcpStream {
    // SAFETY: the fd is open, ours alone, and a stream socket (checked by the caller); every call made on it (read,
    // write, shutdown, getsockopt) is one that any stream socket has.
    unsafe { mio::net::TcpStream::from_raw_fd(fd.into_raw_fd()) }
}

/// Splits "host:port", `"[v6]:port"`, ":port" or "port"; an empty host means every address, IPv6 and IPv4.
fn split(address: &str) -> Result<(&str, u16)> {
    let wrong = || {
        Failure::ours(
            RRError::Arg,
            format!("\"{address}\" is not an address with a port, like 0.0.0.0:1935 or [::]:1935"),
        )
    };
    let (host, port) = address.rsplit_once(':').unwrap_or(("", address));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok((host, port.parse().map_err(|_| wrong())?))
}

/// A listening socket. `[::]` and an empty host also take IPv4; a machine without IPv6 gets IPv4.
///
/// # Errors
/// [`RRError::Arg`] for a malformed address, [`RRError::Resolve`] for a name without an address, [`RRError::Io`] if the
/// address cannot be bound (the text names address and reason).
pub fn listen(address: &str, reuse_port: bool) -> Result<mio::net::TcpListener> {
    let (host, port) = split(address)?;
    let mut candidates: Vec<SocketAddr> = match host {
        "" => vec![SocketAddr::from(([0_u16; 8], port)), SocketAddr::from(([0, 0, 0, 0], port))],
        host => (host, port)
            .to_socket_addrs()
            .map_err(|error| Failure::ours(RRError::Resolve, format!("{host}: {error}")))?
            .collect(),
    };
    candidates.truncate(8);
    let mut last = Failure::ours(RRError::Resolve, format!("{host} has no address"));
    for candidate in candidates {
        match bind(candidate, reuse_port) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Failure::ours(RRError::Io, format!("cannot listen on {candidate}: {error}")),
        }
    }
    Err(last)
}

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<mio::net::TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(mio::net::TcpListener::from_std(socket.into()))
}

/// Takes a socket that listens already (inherited, systemd).
///
/// # Errors
/// [`RRError::Arg`] where the fd is not a listening stream socket; the fd is closed.
pub fn listener_from(fd: OwnedFd) -> Result<mio::net::TcpListener> {
    let not_listening = |error: io::Error| Failure::ours(RRError::Arg, format!("not a listening socket: {error}"));
    {
        let socket = SockRef::from(&fd);
        if socket.r#type().map_err(not_listening)? != Type::STREAM || !socket.is_listener().map_err(not_listening)? {
            return Err(Failure::ours(RRError::Arg, "not a listening stream socket"));
        }
        socket.set_nonblocking(true).map_err(not_listening)?;
        socket.set_cloexec(true).map_err(not_listening)?;
    }
    Ok(mio::net::TcpListener::from_std(std::net::TcpListener::from(fd)))
}

/// Another descriptor of the same open socket.
///
/// # Errors
/// [`RRError::Limit`] if the process has no descriptor left.
pub(crate) fn second_fd(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    let none_left = |error| Failure::ours(RRError::Limit, format!("no descriptor is left: {error}"));
    socket.try_clone_to_owned().map_err(none_left)
}

/// Shuts the write side of a socket, so that written bytes still arrive; the kernel sends the rest. A full close while
/// the peer still sends would become a reset that destroys the last status we wrote.
pub fn half_close(socket: &mut Socket) {
    if let Some(tls) = &mut socket.tls {
        tls.close(&mut Wire(&socket.stream));
    }
    let _ = socket.stream.shutdown(std::net::Shutdown::Write);
}

/// The raw number of a socket, for messages to people.
pub fn number(socket: &Socket) -> i32 {
    socket.stream.as_raw_fd()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::poll;
    use crate::net::tls::{ClientConfig, Trust};

    #[test]
    fn a_socket_that_another_process_makes_wait_does_not_wait_here() {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        let shared = here.try_clone().unwrap();
        let mut socket = Socket::adopt(here.into()).unwrap();
        shared.set_nonblocking(false).unwrap();
        let would_block = |result: io::Result<usize>| result.unwrap_err().kind() == io::ErrorKind::WouldBlock;
        assert!(would_block(socket.read(&mut [0; 16])));
        let bytes = vec![0; 1 << 20];
        while socket.write(&bytes).is_ok() {}
        assert!(would_block(socket.write(b"x")) && would_block(socket.write_vectored(&mut [IoSlice::new(b"x")])));
        drop(there);
    }

    #[test]
    fn a_socket_that_is_read_late_is_reported_with_enough_bytes_and_with_its_end() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut socket = Socket::adopt(listener.accept().unwrap().0.into()).unwrap();
        let fd = socket.as_fd().as_raw_fd();
        let soon = || poll::is_readable(fd, 10_000);
        for rest in [990, 0] {
            socket.read_from(1_000);
            peer.write_all(&[1; 10]).unwrap();
            assert!(!poll::is_readable(fd, 50));
            if rest == 0 {
                socket.read_from(1);
            }
            peer.write_all(&vec![1; rest]).unwrap();
            assert!(soon());
            assert_eq!(socket.read(&mut [0; 4_096]).unwrap(), 10 + rest);
        }
        socket.read_from(1_000);
        drop(peer);
        assert!(soon());
        assert_eq!(socket.read(&mut [0; 16]).unwrap(), 0);
    }

    #[test]
    fn a_socket_over_tls_does_not_wait_either() {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        let shared = here.try_clone().unwrap();
        let mut socket = Socket::adopt(here.into()).unwrap();
        let trust = Trust { insecure: true, ..Trust::default() };
        socket.secure(TlsStream::client(&ClientConfig::new(&trust).unwrap(), "peer.test").unwrap());
        shared.set_nonblocking(false).unwrap();
        // The read begins the handshake, and finds no answer.
        assert_eq!(socket.read(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(there);
    }

    #[test]
    fn addresses_are_split_as_people_write_them() {
        assert_eq!(split("0.0.0.0:1935").unwrap(), ("0.0.0.0", 1935));
        assert_eq!(split("[::1]:1").unwrap(), ("::1", 1));
        assert_eq!(split(":1935").unwrap(), ("", 1935));
        assert_eq!(split("1935").unwrap(), ("", 1935));
        for wrong in ["", "host", "host:", "host:65536", "[::1]"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_host_takes_both_families() {
        let listener = listen(":0", false).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            std::net::TcpStream::connect(("::1", port)).unwrap();
        }
    }

    #[test]
    fn a_file_is_not_taken_for_a_socket() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(Socket::adopt(file.into()).unwrap_err().kind, RRError::Arg);
    }

    #[test]
    fn a_socket_without_a_peer_is_no_connection() {
        let refused = |fd: OwnedFd| {
            let failure = Socket::adopt_connected(fd).unwrap_err();
            assert_eq!(failure.kind, RRError::Arg);
            failure.text.into_owned()
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(refused(listener.try_clone().unwrap().into()).contains("listens"));
        for domain in [Domain::IPV4, Domain::UNIX] {
            let alone = socket2::Socket::new(domain, Type::STREAM, None).unwrap();
            assert_eq!(refused(alone.into()), "the socket is not connected");
        }
        let peer = std::net::TcpStream::connect(address).unwrap();
        let accepted = listener.accept().unwrap().0;
        assert!(Socket::adopt_connected(accepted.try_clone().unwrap().into()).is_ok());
        // A connection that the peer resets before we first check it is a connection that ends at once.
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        let reset = SockRef::from(&accepted);
        while reset.peer_addr().is_ok() {
            std::thread::yield_now();
        }
        assert!(Socket::adopt_connected(accepted.into()).is_ok());
        assert!(Socket::adopt_connected(std::os::unix::net::UnixStream::pair().unwrap().0.into()).is_ok());
    }
}
