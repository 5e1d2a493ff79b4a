//! One socket and one session: moves bytes from one to the other, both ways.
//!
//! A connection has one owner thread at a time; only that thread calls its methods.

use std::io::{self, IoSlice};
use std::mem;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use crate::error::{Failure, RRError, Result, copied};
use crate::net::socket::{self, Socket, half_close};
use crate::net::tcp_info::{self, TcpFacts};
use crate::net::tls;
use crate::session::{ClientSession, Event, HttpSession, Inbound, ServerSession};

/// The session of a connection, by who opened it and in which protocol.
#[derive(Debug)]
pub enum Side {
    /// The peer opened it.
    Server(Box<ServerSession>),
    /// The peer opened it, and speaks HTTP.
    Http(Box<HttpSession>),
    /// We opened it.
    Client(Box<ClientSession>),
}

/// Calls the same method on whichever session it is.
macro_rules! either {
    ($side:expr, $session:ident => $call:expr) => {
        match $side {
            Side::Server($session) => $call,
            Side::Http($session) => $call,
            Side::Client($session) => $call,
        }
    };
}

/// How a round of reading ended.
#[derive(Debug)]
pub enum Pumped {
    /// Nothing is left to read; the poller says when there is.
    Drained,
    /// The budget is used up; the owner must read again without a report of the poller.
    More,
    /// The callback wants this event to be handled before anything else is read.
    Event(Event),
}

/// One connection. The fields in the order of declaration: what a write of media touches comes last, together.
#[derive(Debug)]
#[repr(C)]
pub struct Conn {
    /// Bytes read from the socket that the session has not seen yet, because the owner has to handle an event first.
    unread: Vec<u8>,
    /// The peer's name for the log; `None` if the log took no such lines when the connection began.
    name: Option<Box<str>>,
    /// Bytes read from the socket so far.
    bytes_in: u64,
    /// The session. It is changed only through [`Self::inbound`] and [`Self::client`].
    side: Side,
    /// The socket.
    pub socket: Socket,
    /// Media written to the socket that the session has not been told about yet.
    unnoted: u64,
    /// The session may have output. Together with `unnoted`, this flag lets a write of media proceed without touching
    /// the session's memory.
    stirred: bool,
    /// The session may have an event without further input (a queued play, the rest of an aggregate), because its owner
    /// has used it or has stopped at an event.
    may_have_event: bool,
}

impl Conn {
    /// A connection of a new socket and session.
    pub fn new(socket: Socket, side: Side) -> Self {
        Self {
            socket,
            side,
            unread: Vec::new(),
            may_have_event: true,
            bytes_in: 0,
            unnoted: 0,
            name: None,
            stirred: true,
        }
    }

    /// A connection that continues here: the session tells its peer nothing again, and sees first the bytes that were
    /// read already.
    pub(crate) fn resumed(socket: Socket, side: Side, unread: Vec<u8>, bytes_in: u64) -> Self {
        Self { unread, bytes_in, ..Self::new(socket, side) }
    }

    /// What another process needs to continue the connection, apart from its fd, which [`into_fd`](Self::into_fd)
    /// gives: the session's snapshot, and the bytes that were read and that the session has not seen.
    ///
    /// # Errors
    /// [`RRError::Unsupported`] if another process could not continue: over TLS, whose keys stay here, and on a
    /// connection that we opened, which moves as a target. Those of [`ServerSession::snapshot`] and
    /// [`HttpSession::snapshot`].
    pub(crate) fn snapshot(&mut self, now_ms: u64) -> Result<(Vec<u8>, &[u8])> {
        let unsupported = |what: &'static str| Err(Failure::ours(RRError::Unsupported, what));
        if self.socket.is_tls() {
            return unsupported("a connection over TLS stays in its process, which has its keys");
        }
        match &mut self.side {
            Side::Server(session) => {
                session.note_sent(mem::take(&mut self.unnoted));
                Ok((session.snapshot(now_ms)?, &self.unread))
            }
            Side::Http(session) => {
                session.note_sent(mem::take(&mut self.unnoted));
                Ok((session.snapshot(now_ms)?, &self.unread))
            }
            Side::Client(_) => unsupported("a connection that was opened here moves with its target or source"),
        }
    }

    /// [`snapshot`](Self::snapshot) of a connection that we opened.
    ///
    /// # Errors
    /// [`RRError::Unsupported`] over TLS, and on a connection that a peer opened. Those of
    /// [`ClientSession::snapshot`].
    pub(crate) fn client_snapshot(&mut self, now_ms: u64) -> Result<(Vec<u8>, &[u8])> {
        let Side::Client(session) = &mut self.side else {
            return Err(Failure::ours(RRError::Unsupported, "a connection that a peer opened is no target's"));
        };
        if self.socket.is_tls() {
            let text = "a connection over TLS stays in its process, which has its keys";
            return Err(Failure::ours(RRError::Unsupported, text));
        }
        session.note_sent(mem::take(&mut self.unnoted));
        Ok((session.snapshot(now_ms)?, &self.unread))
    }

    /// Takes another socket in place of the present one, which carries on below it.
    pub(crate) fn exchange_socket(&mut self, socket: Socket) -> Socket {
        mem::replace(&mut self.socket, socket)
    }

    /// The open connection's descriptor; the session ends here.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.socket.into_fd()
    }

    /// Another descriptor of the open connection, for another process.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the process has no descriptor left.
    pub(crate) fn second_fd(&self) -> Result<OwnedFd> {
        self.socket.second_fd()
    }

    /// Names the peer for log lines at DEBUG.
    pub fn set_name(&mut self, name: &str) {
        self.name = Some(name.into());
    }

    /// The session, if the peer opened the connection; `None` if we did.
    pub fn inbound(&mut self) -> Option<&mut dyn Inbound> {
        (self.stirred, self.may_have_event) = (true, true);
        match &mut self.side {
            Side::Server(session) => Some(&mut **session),
            Side::Http(session) => Some(&mut **session),
            Side::Client(_) => None,
        }
    }

    /// The client session; `None` if the peer opened the connection.
    pub fn client(&mut self) -> Option<&mut ClientSession> {
        (self.stirred, self.may_have_event) = (true, true);
        match &mut self.side {
            Side::Server(_) | Side::Http(_) => None,
            Side::Client(session) => Some(session),
        }
    }

    /// Bytes read so far.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Reads up to `budget` bytes (counting the ciphertext where that is more) and gives every event, with a message's
    /// body, to `on`. If `on` breaks, the rest stays unread until the next call. `scratch` is the thread's buffer. A
    /// short read means that the socket is empty, unless `to_end` is set: after a hand-over, or when the poller has
    /// reported that the peer is done, the end may follow the bytes directly, and the poller does not report it again.
    ///
    /// # Errors
    /// Every error ends the session: [`RRError::Closed`] if the peer left, [`RRError::Io`], or the session's own.
    pub fn pump(
        &mut self,
        scratch: &mut [u8],
        now_ms: u64,
        budget: usize,
        to_end: bool,
        mut on: impl FnMut(Event, &[u8]) -> ControlFlow<Event>,
    ) -> Result<Pumped> {
        self.stirred = true;
        let unnoted = mem::take(&mut self.unnoted);
        either!(&mut self.side, session => session.note_sent(unnoted));
        // Costs one load if nobody listens; nothing is formatted then.
        let reports = log::log_enabled!(log::Level::Debug);
        either!(&mut self.side, session => session.report_commands(reports));
        if mem::take(&mut self.may_have_event) || !self.unread.is_empty() {
            let unread = mem::take(&mut self.unread);
            if let Some(event) = self.feed(&unread, now_ms, reports, &mut on)? {
                return Ok(Pumped::Event(event));
            }
        }
        let mut left = budget;
        while left > 0 {
            let before = self.socket.ciphertext();
            let n = match self.socket.read(scratch) {
                Ok(0) => return Err(Failure::peers(RRError::Closed, "the peer closed the connection")),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Pumped::Drained),
                Err(error) => return Err(broken("read", &error)),
            };
            self.bytes_in += n as u64;
            let input = scratch.get(..n).unwrap_or_default();
            if let Some(event) = self.feed(input, now_ms, reports, &mut on)? {
                return Ok(Pumped::Event(event));
            }
            if n < scratch.len() && !to_end && !self.socket.is_tls() {
                // Later bytes are a new edge, so no further read is needed; this saves a system call per read.
                return Ok(Pumped::Drained);
            }
            // TLS records may hold almost no plaintext, so a turn is bounded by the ciphertext too.
            let cost = usize::try_from(self.socket.ciphertext() - before).unwrap_or(usize::MAX);
            left = left.saturating_sub(cost.max(n));
        }
        Ok(Pumped::More)
    }

    /// The body of the message at which [`pump`](Self::pump) has stopped, until its next call.
    pub fn body(&self) -> &[u8] {
        either!(&self.side, session => session.body(&[]))
    }

    fn feed(
        &mut self,
        input: &[u8],
        now_ms: u64,
        reports: bool,
        on: &mut impl FnMut(Event, &[u8]) -> ControlFlow<Event>,
    ) -> Result<Option<Event>> {
        let mut at = 0;
        loop {
            let next = either!(&mut self.side, session => session.next(input, &mut at, now_ms));
            if reports {
                self.log_commands();
            }
            let Some(event) = next? else { return Ok(None) };
            let is_message = matches!(event, Event::Message(_));
            let body = match event {
                Event::Message(_) => either!(&self.side, session => session.body(input)),
                _ => &[],
            };
            if let ControlFlow::Break(event) = on(event, body) {
                if let Event::Message(_) = event {
                    either!(&mut self.side, session => session.keep_body(input))?;
                }
                self.unread = copied(input.get(at..).unwrap_or_default())?;
                self.may_have_event = true;
                return Ok(Some(event));
            }
            // Mostly a read brings one message, and then the session need not be asked again.
            if is_message && at == input.len() && self.is_dry() {
                return Ok(None);
            }
        }
    }

    /// Whether the session, which has given a message and taken all input, has nothing to do without more.
    fn is_dry(&self) -> bool {
        match &self.side {
            Side::Server(session) => session.is_dry(),
            Side::Client(session) => session.is_dry(),
            Side::Http(_) => false,
        }
    }

    #[cold]
    fn log_commands(&mut self) {
        for said in either!(&mut self.side, session => session.take_said()) {
            let name = match &self.side {
                Side::Server(_) | Side::Http(_) => self.name.as_deref().unwrap_or("a peer").to_owned(),
                Side::Client(session) => session.shown_url(),
            };
            log::debug!("{name} {said}");
        }
    }

    /// Takes bytes of the peer that were read before this connection was made; the session sees them first.
    pub fn put_back(&mut self, bytes: &[u8]) {
        self.unread = bytes.to_vec();
        self.bytes_in += bytes.len() as u64;
    }

    /// Whether the session has bytes for the peer.
    pub fn has_output(&mut self) -> bool {
        self.stirred = self.stirred && !either!(&self.side, session => session.output()).is_empty();
        self.stirred
    }

    /// The session's bytes for the peer, for an owner that places them between media itself, and counts as sent what it
    /// [writes](Self::write).
    pub fn take_output(&mut self) -> Vec<u8> {
        either!(&mut self.side, session => session.lend_output())
    }

    /// Writes the session's bytes; true when all are gone. Not for an owner that writes media too.
    ///
    /// # Errors
    /// [`RRError::Io`] where the socket failed.
    pub fn flush(&mut self) -> Result<bool> {
        loop {
            let output = either!(&self.side, session => session.output());
            if output.is_empty() {
                return self.flush_tls();
            }
            match self.socket.write(output) {
                Ok(n) => {
                    either!(&mut self.side, session => session.consumed(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(broken("write", &error)),
            }
        }
    }

    /// Sends the rest of the output, and then ends our side of the connection. False if the socket takes no more now;
    /// the owner then calls it again once the socket is writable.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn finish(&mut self) -> Result<bool> {
        let finished = self.flush()?;
        if finished {
            half_close(&mut self.socket);
        }
        Ok(finished)
    }

    /// Writes bytes of the owner; `None` if the socket takes nothing now.
    ///
    /// # Errors
    /// [`RRError::Io`] where the socket failed.
    pub fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let result = self.socket.write(bytes);
        self.written(result)
    }

    /// Notes the result of a write of media to the socket; `None` if the socket takes nothing now.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    #[inline]
    pub(crate) fn written(&mut self, result: io::Result<usize>) -> Result<Option<usize>> {
        match result {
            Ok(n) => {
                self.note_sent(n as u64);
                Ok(Some(n))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(broken("write", &error)),
        }
    }

    /// Notes that this much media was written to the socket.
    #[inline]
    pub(crate) fn note_sent(&mut self, bytes: u64) {
        self.unnoted += bytes;
    }

    /// [`write`](Self::write) for bytes in several places.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_vectored(&mut self, parts: &mut [IoSlice<'_>]) -> Result<Option<usize>> {
        let result = self.socket.write_vectored(parts);
        self.written(result)
    }

    /// Sends ciphertext that waits in TLS; true when none is left. Without TLS none ever waits.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    #[inline]
    pub fn flush_tls(&mut self) -> Result<bool> {
        if !self.socket.is_tls() {
            return Ok(true);
        }
        self.socket.flush_tls().map_err(|error| broken("write", &error))
    }

    /// Whether nothing is kept of what was read, and nothing waits to be sent.
    pub fn is_clear(&self) -> bool {
        let is_clear = match &self.side {
            Side::Server(session) => session.is_clear(),
            Side::Client(session) => session.is_clear(),
            Side::Http(_) => false,
        };
        is_clear && self.unread.is_empty() && !self.socket.is_tls()
    }

    /// Memory that the connection holds: half-read messages, output, bytes that were read and not processed, and TLS.
    pub fn heap_bytes(&mut self) -> usize {
        let bytes = self.unread.capacity() + self.socket.heap_bytes();
        bytes + either!(&self.side, session => session.heap_bytes())
    }

    /// The system's current figures of the connection, by one system call.
    pub fn tcp_facts(&self) -> TcpFacts {
        tcp_info::facts(&self.socket).unwrap_or_else(|| {
            let rtt_ms = either!(&self.side, session => session.rtt_ms()).unwrap_or(0);
            TcpFacts { rtt_us: rtt_ms.saturating_mul(1000), ..TcpFacts::default() }
        })
    }

    /// Whether the system still has bytes that the peer has not acknowledged. A close may lose them: if the peer sends
    /// anything afterwards, the system resets the connection and forgets them.
    pub fn is_on_its_way(&self) -> bool {
        tcp_info::unacknowledged(socket::number(&self.socket)).is_some_and(|bytes| bytes > 0)
    }

    /// Bytes sent, by the session and by the owner.
    pub fn bytes_out(&self) -> u64 {
        either!(&self.side, session => session.sent())
    }

    /// How many bytes of the peer may wait at the socket: it may wait for the acknowledgement of more.
    pub fn may_be_unread(&self) -> u32 {
        either!(&self.side, session => session.may_be_unread())
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, monotonic ms, if nothing happens before.
    pub fn next_timeout(&self) -> Option<u64> {
        either!(&self.side, session => session.next_timeout())
    }

    /// Lets the session do what is due: afterwards it may have output, and an event for the owner.
    ///
    /// # Errors
    /// Every error ends the session: a missed deadline, silence, pings without an answer.
    pub fn handle_timeout(&mut self, now_ms: u64) -> Result<Option<Event>> {
        if self.next_timeout().is_none_or(|next_ms| now_ms < next_ms) {
            return Ok(None);
        }
        (self.stirred, self.may_have_event) = (true, true);
        either!(&mut self.side, session => session.handle_timeout(now_ms))
    }
}

/// The failure for an error of the socket. Many programs end with a reset, because they close with bytes of ours
/// unread.
fn broken(doing: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            Failure::peers(RRError::Closed, format!("{doing}: {error}"))
        }
        _ => tls::failure(error, doing),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::session::Timing;

    #[test]
    fn output_that_the_owner_places_between_media_is_counted_once() {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let session = HttpSession::new(Timing::default(), false, 0);
        let mut conn = Conn::new(Socket::adopt(ours.into()).unwrap(), Side::Http(Box::new(session)));
        peer.write_all(b"OPTIONS / HTTP/1.1\r\n\r\n").unwrap();
        let _ = conn.pump(&mut [0; 256], 0, 256, true, |event, _| ControlFlow::Break(event)).unwrap();
        let output = conn.take_output();
        let sent = conn.write(&output).unwrap().unwrap() + conn.write(b"media").unwrap().unwrap();
        conn.pump(&mut [0; 256], 0, 256, false, |event, _| ControlFlow::Break(event)).unwrap();
        assert_eq!((conn.bytes_out(), output.is_empty()), (sent as u64, false));
    }

    #[test]
    fn a_connection_ends_after_its_last_output_even_if_that_finds_no_room_at_first() {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let session = HttpSession::new(Timing::default(), false, 0);
        let mut conn = Conn::new(Socket::adopt(ours.into()).unwrap(), Side::Http(Box::new(session)));
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let answered = conn.pump(&mut [0; 256], 0, 256, true, |event, _| ControlFlow::Break(event)).unwrap();
        assert!(matches!(answered, Pumped::Event(Event::Answered { .. })));
        for len in [4096, 1] {
            while conn.write(&[b'x'; 4096][..len]).unwrap().is_some() {}
        }
        assert!(!conn.finish().unwrap());
        peer.set_nonblocking(true).unwrap();
        let mut all = Vec::new();
        assert_eq!(
            peer.read_to_end(&mut all).unwrap_err().kind(),
            ErrorKind::WouldBlock,
            "the answer is not whole yet"
        );
        assert!(conn.finish().unwrap());
        peer.read_to_end(&mut all).unwrap();
        assert!(all.ends_with(b"Streams are at /app/key.flv.\n"));
    }
}
