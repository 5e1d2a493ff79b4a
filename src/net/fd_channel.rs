//! Messages between two processes over a connected unix stream socket, each with at most one descriptor beside it.
//!
//! A message is a head (kind, length) and a body. The other process may be of another version, or hostile: a length
//! reserves no memory, a body longer than its kind may be is refused, and descriptors beyond the first are closed by the
//! system. Every call has a deadline.

pub(crate) mod queue;

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::{Domain, MaybeUninitSlice, MsgHdr, MsgHdrMut, SockRef, Type};

use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::poll::{is_hung_up, is_readable, is_writable};

/// The bytes before a body: the kind, three zeros, and the length in network order.
const HEAD_BYTES: usize = 8;

/// Most bytes of a body that are read at once, so that memory grows with the bytes that have come.
const PIECE_BYTES: usize = 256 * 1024;

/// The bytes of the head of a control message (`struct cmsghdr`).
const CONTROL_HEAD_BYTES: usize = size_of::<usize>() + 2 * size_of::<i32>();

/// The room for a control message with one descriptor, without the padding behind it: with the padding there would be
/// room for a second descriptor.
const CONTROL_BYTES: usize = CONTROL_HEAD_BYTES + size_of::<RawFd>();

/// One message.
#[derive(Debug)]
pub(crate) struct Message {
    /// What the body is.
    pub(crate) kind: u8,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// The descriptor beside it.
    pub(crate) fd: Option<OwnedFd>,
}

/// How long a call waits for the other end.
pub(crate) struct Patience<F> {
    /// Until this time at most, monotonic ms.
    pub(crate) by_ms: u64,
    /// How often it looks, while it waits, whether to go on.
    pub(crate) look_ms: u64,
    /// Whether to go on: the error ends the call.
    pub(crate) still: F,
}

impl Patience<fn() -> Result<()>> {
    fn until(by_ms: u64) -> Self {
        Self { by_ms, look_ms: u64::MAX, still: || Ok(()) }
    }
}

impl<F> Patience<F> {
    /// The time up to the next look, or to the deadline.
    fn next(&self) -> Result<Duration> {
        Ok(left(self.by_ms)?.min(Duration::from_millis(self.look_ms)))
    }
}

/// One end of the connection.
#[derive(Debug)]
pub(crate) struct FdChannel(UnixStream);

impl FdChannel {
    /// Takes a connected unix stream socket.
    ///
    /// # Errors
    /// [`RRError::Arg`] for any other descriptor; it is closed.
    pub(crate) fn adopt(fd: OwnedFd) -> Result<Self> {
        Self::check(&fd)?;
        let socket = SockRef::from(&fd);
        socket.set_nonblocking(false).map_err(no_socket)?;
        socket.set_cloexec(true).map_err(no_socket)?;
        Ok(Self(UnixStream::from(fd)))
    }

    /// Whether a descriptor is such a socket. Nothing of it changes: another process may still use it.
    ///
    /// # Errors
    /// [`RRError::Arg`] for any other descriptor.
    pub(crate) fn check(fd: &OwnedFd) -> Result<()> {
        let socket = SockRef::from(fd);
        let is_fit =
            socket.domain().map_err(no_socket)? == Domain::UNIX && socket.r#type().map_err(no_socket)? == Type::STREAM;
        if !is_fit {
            return Err(Failure::ours(RRError::Arg, "not a unix stream socket"));
        }
        socket.peer_addr().map(drop).map_err(no_socket)
    }

    /// Two ends.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the process has no descriptor left.
    pub(crate) fn pair() -> Result<(Self, OwnedFd)> {
        let (here, there) = UnixStream::pair().map_err(|error| Failure::io("socketpair", &error))?;
        Ok((Self(here), there.into()))
    }

    /// Sends a message, by this time (monotonic ms).
    ///
    /// # Errors
    /// [`RRError::Closed`] if the other end is closed, [`RRError::Timeout`], [`RRError::Limit`] if the system carries no
    /// more descriptors, [`RRError::Io`].
    pub(crate) fn send(&self, kind: u8, body: &[u8], fd: Option<BorrowedFd<'_>>, by_ms: u64) -> Result<()> {
        self.send_while(kind, body, fd, &Patience::until(by_ms))
    }

    /// Sends a message, as long as that may last while the socket has no room for it.
    ///
    /// # Errors
    /// Those of [`Self::send`] and of [`Patience::still`].
    pub(crate) fn send_while<F: Fn() -> Result<()>>(
        &self,
        kind: u8,
        body: &[u8],
        fd: Option<BorrowedFd<'_>>,
        patience: &Patience<F>,
    ) -> Result<()> {
        let head = head_of(kind, body)?;
        let control = fd.map(control);
        let mut sent = 0;
        while sent < HEAD_BYTES + body.len() {
            let parts =
                [head.get(sent..).unwrap_or_default(), body.get(sent.saturating_sub(HEAD_BYTES)..).unwrap_or_default()];
            let parts = parts.map(IoSlice::new);
            let message = MsgHdr::new().with_buffers(&parts);
            // The descriptor goes with the first byte.
            let message = match &control {
                Some(control) if sent == 0 => message.with_control(control),
                _ => message,
            };
            let wait = patience.next()?;
            // A timeout of the socket begins again with each part that the other end reads, so it is no deadline.
            match SockRef::from(&self.0).sendmsg(&message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    (patience.still)()?;
                    is_writable(&self.0, wait);
                }
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }

    /// Receives a message by this time (monotonic ms); `None` once the other end is closed, also if that was in the
    /// middle of a message. `most` is the most bytes that a body of a kind may have.
    ///
    /// # Errors
    /// [`RRError::Arg`] for bytes that are no message, [`RRError::Limit`] for one that is too long, [`RRError::Timeout`],
    /// [`RRError::NoMem`], [`RRError::Io`].
    pub(crate) fn receive(&self, most: impl Fn(u8) -> usize, by_ms: u64) -> Result<Option<Message>> {
        self.receive_while(most, &Patience::until(by_ms))
    }

    /// Receives a message, as long as that may last while there is nothing to read.
    ///
    /// # Errors
    /// Those of [`Self::receive`] and of [`Patience::still`].
    pub(crate) fn receive_while<F: Fn() -> Result<()>>(
        &self,
        most: impl Fn(u8) -> usize,
        patience: &Patience<F>,
    ) -> Result<Option<Message>> {
        let (mut head, mut got, mut fd) = ([0; HEAD_BYTES], 0, None);
        while got < HEAD_BYTES {
            let Some((n, more)) = self.read_head(head.get_mut(got..).unwrap_or_default(), patience)? else {
                return Ok(None);
            };
            got += n;
            fd = fd.or(more);
        }
        let (kind, len) = len_of(head, most)?;
        let mut body = Vec::new();
        while body.len() < len {
            let (filled, piece) = (body.len(), PIECE_BYTES.min(len - body.len()));
            body.try_reserve(piece).map_err(|_| RRError::NoMem)?;
            body.resize(filled + piece, 0);
            let Some(n) = self.read(body.get_mut(filled..).unwrap_or_default(), patience)? else { return Ok(None) };
            body.truncate(filled + n);
        }
        Ok(Some(Message { kind, body, fd }))
    }

    /// Whether there is something to receive, or the other end is closed.
    pub(crate) fn has_input(&self) -> bool {
        is_readable(self.0.as_raw_fd(), 0)
    }

    /// Whether the other end is closed, also if there is something to receive.
    pub(crate) fn is_over(&self) -> bool {
        is_hung_up(self.0.as_raw_fd())
    }

    /// Takes nothing from the other end any more: what it sends from now on fails there. What it has sent before can
    /// still be received.
    pub(crate) fn cut(&self) {
        // It fails only where the other end has gone.
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// Reads a part of a head, and the descriptor that came with it; `None` at the end.
    fn read_head<F: Fn() -> Result<()>>(
        &self,
        space: &mut [u8],
        patience: &Patience<F>,
    ) -> Result<Option<(usize, Option<OwnedFd>)>> {
        let read = self.reading(patience, || self.receive_head(space))?;
        Ok(read.filter(|(n, _)| *n > 0))
    }

    /// Reads a part of a head by one system call, 0 bytes at the end, and the descriptor that came with it. Further
    /// descriptors beside the first find no room, and the system closes them.
    #[allow(unsafe_code)] // std receives no descriptors
    fn receive_head(&self, space: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
        let mut bytes = [MaybeUninit::new(0); HEAD_BYTES];
        let mut room = [MaybeUninit::new(0); CONTROL_BYTES];
        let mut parts = [MaybeUninitSlice::new(bytes.get_mut(..space.len()).unwrap_or_default())];
        let mut message = MsgHdrMut::new().with_buffers(&mut parts).with_control(&mut room);
        let n = SockRef::from(&self.0).recvmsg(&mut message, libc::MSG_CMSG_CLOEXEC)?;
        let controlled = message.control_len();
        // SAFETY: the buffers were initialised when they were made, and the system writes only whole bytes.
        let plain = |byte: MaybeUninit<u8>| unsafe { byte.assume_init() };
        let (bytes, room) = (bytes.map(plain), room.map(plain));
        space.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        let fd = (controlled == CONTROL_BYTES).then(|| descriptor_in(&room)).flatten();
        // SAFETY: the system has made this descriptor for this process a moment ago, and nothing else has it.
        let fd = fd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        Ok((n, fd))
    }

    fn read<F: Fn() -> Result<()>>(&self, space: &mut [u8], patience: &Patience<F>) -> Result<Option<usize>> {
        let read = self.reading(patience, || (&self.0).read(space))?;
        Ok(read.filter(|n| *n > 0))
    }

    /// Reads by one system call, once there is something to read; `None` if the other end has gone.
    fn reading<T, F: Fn() -> Result<()>>(
        &self,
        patience: &Patience<F>,
        mut read: impl FnMut() -> io::Result<T>,
    ) -> Result<Option<T>> {
        loop {
            self.0.set_read_timeout(Some(patience.next()?)).map_err(|error| failed(&error))?;
            match read() {
                Ok(read) => return Ok(Some(read)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (patience.still)()?,
                Err(error) => return ended(&error),
            }
        }
    }
}

fn no_socket(error: io::Error) -> Failure {
    Failure::ours(RRError::Arg, format!("not a connected unix socket: {error}"))
}

/// The head of a message.
fn head_of(kind: u8, body: &[u8]) -> Result<[u8; HEAD_BYTES]> {
    let Ok(len) = u32::try_from(body.len()) else {
        return Err(Failure::ours(RRError::Limit, "a message of 4 GiB or more"));
    };
    let mut head = [0; HEAD_BYTES];
    head[0] = kind;
    head[4..].copy_from_slice(&len.to_be_bytes());
    Ok(head)
}

/// The kind and the length of the body behind a head.
fn len_of(head: [u8; HEAD_BYTES], most: impl Fn(u8) -> usize) -> Result<(u8, usize)> {
    let [kind, 0, 0, 0, a, b, c, d] = head else {
        return Err(Failure::ours(RRError::Arg, "what came over the socket is no message"));
    };
    let (len, most) = (u32::from_be_bytes([a, b, c, d]) as usize, most(kind));
    if len > most {
        let text = format!("a message of kind {kind} has {len} bytes; at most {most} are accepted");
        return Err(Failure::ours(RRError::Limit, text));
    }
    Ok((kind, len))
}

impl AsRawFd for FdChannel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The time until a deadline.
fn left(by_ms: u64) -> Result<Duration> {
    match by_ms.saturating_sub(clock::now_ms()) {
        0 => Err(Failure::ours(RRError::Timeout, "the other process took too long")),
        left_ms => Ok(Duration::from_millis(left_ms)),
    }
}

fn failed(error: &io::Error) -> Failure {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset, _) => {
            Failure::ours(RRError::Closed, "the other process has closed the socket")
        }
        (_, Some(libc::ETOOMANYREFS)) => {
            Failure::ours(RRError::Limit, "too many descriptors are on their way: raise the limit of open files")
        }
        _ => Failure::io("unix socket", error),
    }
}

/// The outcome of a read that failed: the end where the other process has gone.
fn ended<T>(error: &io::Error) -> Result<Option<T>> {
    match failed(error) {
        failure if failure.kind == RRError::Closed => Ok(None),
        failure => Err(failure),
    }
}

/// A control message that carries a descriptor: `struct cmsghdr` and the number.
fn control(fd: BorrowedFd<'_>) -> [u8; CONTROL_BYTES] {
    let mut bytes = [0; CONTROL_BYTES];
    let parts = [
        &CONTROL_BYTES.to_ne_bytes()[..],
        &libc::SOL_SOCKET.to_ne_bytes(),
        &libc::SCM_RIGHTS.to_ne_bytes(),
        &fd.as_raw_fd().to_ne_bytes(),
    ];
    bytes.copy_from_slice(&parts.concat());
    bytes
}

/// The descriptor of such a control message.
fn descriptor_in(control: &[u8; CONTROL_BYTES]) -> Option<RawFd> {
    let (head, fd) = control.split_at(CONTROL_HEAD_BYTES);
    let kind = [libc::SOL_SOCKET.to_ne_bytes(), libc::SCM_RIGHTS.to_ne_bytes()].concat();
    head.ends_with(&kind).then(|| fd.try_into().ok().map(RawFd::from_ne_bytes)).flatten()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (FdChannel, FdChannel) {
        let (here, there) = FdChannel::pair().unwrap();
        (here, FdChannel::adopt(there).unwrap())
    }

    fn soon() -> u64 {
        clock::now_ms() + 30_000
    }

    #[test]
    fn messages_come_as_they_were_sent_with_their_descriptors() {
        let (here, there) = pair();
        let (mut pipe, end) = io::pipe().map(|(end, pipe)| (pipe, OwnedFd::from(end))).unwrap();
        let long = vec![7; 3 * PIECE_BYTES];
        let sender = std::thread::spawn(move || {
            here.send(1, b"", None, soon()).unwrap();
            here.send(2, &long, Some(end.as_fd()), soon()).unwrap();
            here.send(3, b"end", None, soon()).unwrap();
        });
        let next = || there.receive(|_| 1 << 20, soon()).unwrap();
        let first = next().unwrap();
        assert!(first.kind == 1 && first.body.is_empty() && first.fd.is_none());
        let second = next().unwrap();
        assert!(second.kind == 2 && second.body == vec![7; 3 * PIECE_BYTES]);
        pipe.write_all(b"x").unwrap();
        let mut got = [0];
        std::fs::File::from(second.fd.unwrap()).read_exact(&mut got).unwrap();
        assert_eq!(&got, b"x");
        let third = next().unwrap();
        assert!(third.kind == 3 && third.body == b"end" && third.fd.is_none());
        sender.join().unwrap();
        assert!(next().is_none(), "the other end is closed");
    }

    #[test]
    fn what_is_no_message_is_refused_and_reserves_nothing() {
        for (bytes, wanted) in [
            (&b"GET / HTTP/1.1\r\n"[..], Some(RRError::Arg)),
            (b"\x01\0\0\0\xff\xff\xff\xff", Some(RRError::Limit)),
            (b"\x01\0\0", None),
            (b"\x01\0\0\0\0\0\0\x09half", None),
        ] {
            let (here, there) = pair();
            (&here.0).write_all(bytes).unwrap();
            drop(here);
            let got = there.receive(|_| 1 << 20, soon());
            assert_eq!(got.as_ref().err().map(|failure| failure.kind), wanted, "{got:?}");
            assert!(got.is_err() || got.is_ok_and(|message| message.is_none()));
        }
    }

    #[test]
    fn nothing_waits_past_its_deadline() {
        let (here, there) = pair();
        let late = clock::now_ms() + 20;
        assert_eq!(there.receive(|_| 1, late).unwrap_err().kind, RRError::Timeout);
        let too_much = vec![0; 64 << 20];
        assert_eq!(here.send(1, &too_much, None, clock::now_ms() + 20).unwrap_err().kind, RRError::Timeout);
    }

    #[test]
    fn what_is_not_to_be_sent_any_more_waits_for_no_room() {
        let (here, _there) = pair();
        let asked = Cell::new(0);
        let still = || match asked.replace(asked.get() + 1) {
            0..3 => Ok(()),
            _ => Err(Failure::ours(RRError::State, "enough")),
        };
        let patience = Patience { by_ms: soon(), look_ms: 1, still };
        let sent = here.send_while(1, &vec![0; 64 << 20], None, &patience);
        assert!(sent.unwrap_err().kind == RRError::State && asked.get() == 4);
    }

    #[test]
    fn what_is_not_to_be_received_any_more_waits_for_no_rest() {
        let (here, mut there) = pair();
        let stops = |len| {
            let asked = Cell::new(0);
            let still = || match asked.replace(asked.get() + 1) {
                0..3 => Ok(()),
                _ => Err(Failure::ours(RRError::State, "enough")),
            };
            let patience = Patience { by_ms: soon(), look_ms: 1, still };
            let got = here.receive_while(|_| len, &patience);
            assert!(got.unwrap_err().kind == RRError::State && asked.get() == 4);
        };
        stops(0);
        there.0.write_all(&[1, 0, 0]).unwrap();
        stops(0);
        there.0.write_all(&[&head_of(1, &[0; 10]).unwrap()[..], &[0; 9]].concat()).unwrap();
        stops(10);
    }

    #[test]
    fn an_end_that_reads_slowly_does_not_move_the_deadline() {
        let (here, there) = pair();
        let sender = std::thread::spawn(move || here.send(1, &vec![0; 16 << 20], None, clock::now_ms() + 300));
        // All of it would take half a minute.
        let mut space = vec![0; 32 * 1024];
        while (&there.0).read(&mut space).unwrap() > 0 {
            std::thread::sleep(Duration::from_millis(60));
        }
        assert_eq!(sender.join().unwrap().unwrap_err().kind, RRError::Timeout);
    }

    #[test]
    fn after_a_cut_what_came_before_is_there_and_nothing_comes_behind_it() {
        let (here, there) = pair();
        there.send(1, b"before", None, soon()).unwrap();
        here.cut();
        assert_eq!(there.send(2, b"behind", None, soon()).unwrap_err().kind, RRError::Closed);
        assert_eq!(here.receive(|_| 10, soon()).unwrap().map(|message| message.kind), Some(1));
        assert!(here.receive(|_| 10, soon()).unwrap().is_none());
    }

    #[test]
    fn only_a_unix_stream_socket_is_taken() {
        let refused = |fd: OwnedFd| FdChannel::adopt(fd).unwrap_err().kind;
        assert_eq!(refused(std::fs::File::open("/dev/null").unwrap().into()), RRError::Arg);
        assert_eq!(refused(std::net::TcpListener::bind("127.0.0.1:0").unwrap().into()), RRError::Arg);
        assert_eq!(refused(std::os::unix::net::UnixDatagram::unbound().unwrap().into()), RRError::Arg);
    }
}
