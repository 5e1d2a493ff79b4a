//! The socket of a session: reads and writes that can be interrupted, end after the time-out, and go through TLS if the
//! session has it. Also the `RTMPSockBuf_*` exports.
//!
//! A call tries without waiting first, and waits in slices: `RTMP_ctrlC` and a close from another thread are seen
//! within [`SLICE_MS`].

use std::cell::Cell;
use std::ffi::{c_char, c_int};
use std::io::{self, ErrorKind, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

use super::life::Life;
use super::ptr::bytes;
use super::types::*;
use super::{guard, system};
use crate::net::tls::TlsStream;

/// Longest wait that cannot be interrupted, in milliseconds.
const SLICE_MS: u64 = 200;

/// While much data comes, a read that would wait sleeps this long first, because a wake-up for each piece costs more
/// than reading the pieces.
const GATHER: Duration = Duration::from_micros(50);

/// How often a resting call checks for an interruption.
const REST_LOOK: Duration = Duration::from_millis(50);

/// How often a closing session checks whether the peer has all bytes, in milliseconds; how long it waits without
/// progress; and how long in all, which is a session's default time-out.
const LINGER_LOOK_MS: u64 = 5;
pub(super) const LINGER_STALL: Duration = Duration::from_secs(2);
pub(super) const LINGER: Duration = Duration::from_secs(30);

/// A socket for the length of one call.
pub(super) struct Wire<'a> {
    fd: c_int,
    life: &'a Life,
    /// How long a write waits, in milliseconds; 0 means for ever.
    send_timeout_ms: u64,
    /// The end of all waits.
    until: Option<Instant>,
    /// The last read was a large one, so more data is on its way: the first wait is a sleep of [`GATHER`].
    rests: Cell<bool>,
}

impl<'a> Wire<'a> {
    pub(super) fn new(fd: c_int, life: &'a Life, timeout_s: c_int) -> Self {
        let send_timeout_ms = u64::try_from(timeout_s).unwrap_or(0) * 1000;
        Self { fd, life, send_timeout_ms, until: None, rests: Cell::new(false) }
    }

    /// This socket with a limit on all waits together.
    pub(super) fn within(self, limit: Duration) -> Self {
        Self { until: Instant::now().checked_add(limit), ..self }
    }

    fn stopped(&self) -> bool {
        interrupted() || self.life.is_closing()
    }

    /// An error of kind `ConnectionAborted` if the program wants the call to end.
    fn go_on(&self) -> io::Result<()> {
        if self.stopped() { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// Waits until the socket is ready. An error of kind `TimedOut` after `timeout_ms` (0: never), or of
    /// [`Self::go_on`].
    fn wait(&self, events: i16, timeout_ms: u64) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            self.go_on()?;
            // The clock decides, because signals of a program's timers cut single waits short.
            let waited = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let over = self.until.is_some_and(|until| Instant::now() >= until);
            if over || (timeout_ms != 0 && waited >= timeout_ms) {
                return Err(ErrorKind::TimedOut.into());
            }
            let left = if timeout_ms == 0 { SLICE_MS } else { (timeout_ms - waited).min(SLICE_MS) };
            match system::wait(self.fd, events, left as c_int) {
                Ok(true) => return Ok(()),
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }

    /// Whether the socket is ready now.
    fn is_ready(&self, events: i16) -> bool {
        system::wait(self.fd, events, 0).unwrap_or(false)
    }

    /// Waits until a connection attempt has ended, either way.
    pub(super) fn wait_connected(&self) -> io::Result<()> {
        self.wait(libc::POLLOUT, self.send_timeout_ms)
    }
}

impl Wire<'_> {
    /// Repeats a non-blocking system call until it has a result, with `waits` between.
    fn repeat(
        &self,
        mut call: impl FnMut() -> io::Result<usize>,
        waits: impl Fn() -> io::Result<()>,
    ) -> io::Result<usize> {
        loop {
            match call() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => waits()?,
                other => return other,
            }
        }
    }

    fn receive(&self, buffer: &mut [u8], flags: c_int) -> io::Result<usize> {
        self.go_on()?;
        self.repeat(|| system::receive(self.fd, buffer, flags), || self.wait_readable())
    }

    fn wait_readable(&self) -> io::Result<()> {
        match system::receive_timeout_ms(self.fd) {
            None => Err(ErrorKind::TimedOut.into()),
            Some(_) if self.rests.take() => {
                std::thread::sleep(GATHER);
                Ok(())
            }
            Some(timeout_ms) => self.wait(libc::POLLIN, timeout_ms),
        }
    }

    fn wait_writable(&self) -> io::Result<()> {
        self.wait(libc::POLLOUT, self.send_timeout_ms)
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(buffer, 0)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.go_on()?;
        self.repeat(|| system::receive_parts(self.fd, buffers), || self.wait_readable())
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // There is no check for an interruption before the first try, so that an interrupted program's closing commands
        // go out if there is room.
        self.repeat(|| system::send(self.fd, bytes), || self.wait_writable())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The progress of a closing session: whether the number of unacknowledged bytes still falls.
struct Flow {
    begun: Instant,
    moved: Instant,
    least: c_int,
}

impl Flow {
    fn new() -> Self {
        let now = Instant::now();
        Self { begun: now, moved: now, least: c_int::MAX }
    }

    /// Notes the number of bytes left. False if there was no progress for [`LINGER_STALL`], or the wait is longer than
    /// [`LINGER`].
    fn goes_on(&mut self, left: c_int) -> bool {
        if left < self.least {
            (self.least, self.moved) = (left, Instant::now());
        }
        self.begun.elapsed() < LINGER && self.moved.elapsed() < LINGER_STALL
    }
}

impl RTMPSockBuf {
    /// Puts TLS over the socket.
    pub(super) fn set_tls(&self, tls: TlsStream) {
        self.drop_tls();
        self.sb_ssl.set(Box::into_raw(Box::new(tls)).cast());
    }

    /// The session's TLS, if there is any.
    ///
    /// # Safety
    /// The result is the only reference to it: it belongs to the caller's running call, which makes no other call while
    /// it holds the result.
    unsafe fn tls<'a>(&self) -> Option<&'a mut TlsStream> {
        // SAFETY: contract of this function; from the Box of `set_tls`.
        unsafe { self.sb_ssl.get().cast::<TlsStream>().as_mut() }
    }

    fn drop_tls(&self) {
        let tls = self.sb_ssl.replace(std::ptr::null_mut());
        if !tls.is_null() {
            // SAFETY: from the Box of `set_tls`, and forgotten.
            drop(unsafe { Box::<TlsStream>::from_raw(tls.cast()) });
        }
    }

    /// Reads from the socket, through TLS. Bytes that do not fit into `first` go into `second`; from TLS none do.
    pub(super) fn receive(&self, first: &mut [u8], second: &mut [u8], timeout_s: c_int) -> io::Result<usize> {
        self.gather(first, second, timeout_s, false)
    }

    /// [`receive`](Self::receive) with the information whether the last read was a large one (`flows`).
    pub(super) fn gather(
        &self,
        first: &mut [u8],
        second: &mut [u8],
        timeout_s: c_int,
        flows: bool,
    ) -> io::Result<usize> {
        let mut wire = Wire::new(self.socket(), &self.life, timeout_s);
        wire.rests.set(flows);
        // SAFETY: reading calls nobody.
        match unsafe { self.tls() } {
            None if second.is_empty() => wire.read(first),
            None => wire.read_vectored(&mut [IoSliceMut::new(first), IoSliceMut::new(second)]),
            Some(tls) => tls.read(&mut wire, first),
        }
    }

    /// Copies the bytes that can be read from the socket, without taking them.
    pub(super) fn peek(&self, buffer: &mut [u8], timeout_s: c_int) -> io::Result<usize> {
        Wire::new(self.socket(), &self.life, timeout_s).receive(buffer, libc::MSG_PEEK)
    }

    /// Takes bytes from the socket that a peek has copied, and drops them.
    pub(super) fn discard(&self, mut len: usize) {
        while len > 0 {
            match system::forget(self.socket(), len) {
                Ok(got) if got > 0 => len -= got.min(len),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The connection has ended; the next read will find that.
                _ => return,
            }
        }
    }

    /// Whether the program made the socket non-blocking.
    pub(super) fn never_waits(&self) -> bool {
        system::receive_timeout_ms(self.socket()).is_none()
    }

    /// Writes all bytes to the socket, through TLS.
    pub(super) fn send_all(&self, mut bytes: &[u8], timeout_s: c_int) -> io::Result<()> {
        let mut wire = Wire::new(self.socket(), &self.life, timeout_s);
        // SAFETY: writing calls nobody.
        let Some(tls) = (unsafe { self.tls() }) else { return wire.write_all(bytes) };
        while !bytes.is_empty() {
            let taken = tls.write(&mut wire, bytes)?;
            bytes = &bytes[taken..];
        }
        while !tls.flush(&mut wire)? {}
        Ok(())
    }

    /// Waits for this time. An error if the program interrupts.
    pub(super) fn rest(&self, duration: Duration) -> io::Result<()> {
        let wire = Wire::new(self.socket(), &self.life, 0);
        let until = Instant::now() + duration;
        loop {
            wire.go_on()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(REST_LOOK));
        }
    }

    /// Waits until the socket takes more. False if the other side stops taking bytes, or the program interrupts.
    pub(super) fn wait_for_room(&self) -> bool {
        let wire = Wire::new(self.socket(), &self.life, 0);
        let mut flow = Flow::new();
        // A socket with room needs no wait, and thus no check for an interruption.
        while !wire.is_ready(libc::POLLOUT) {
            let waited = wire.wait(libc::POLLOUT, LINGER_LOOK_MS);
            if waited.is_err_and(|error| !is_timeout(&error))
                || !flow.goes_on(system::unconfirmed(wire.fd).unwrap_or(0))
            {
                return false;
            }
        }
        true
    }

    /// Waits until the other side has all bytes sent, and drops the bytes that it sends meanwhile: if a socket is
    /// closed with bytes unread, or bytes arrive for it afterwards, it is reset, and its unsent bytes are lost. The
    /// wait ends when there is no progress for [`LINGER_STALL`], and after [`LINGER`].
    pub(super) fn linger(&self) {
        let fd = self.socket();
        if fd == -1 {
            return;
        }
        let wire = Wire::new(fd, &self.life, 0);
        let mut flow = Flow::new();
        let mut room = [0u8; 4096];
        loop {
            let got = system::receive(fd, &mut room, 0);
            let nothing = got.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            let left = system::unconfirmed(wire.fd).unwrap_or(0);
            if left == 0 || got.map_or(!nothing, |got| got == 0) || !flow.goes_on(left) {
                return;
            }
            if nothing && wire.wait(libc::POLLIN, LINGER_LOOK_MS).is_err_and(|error| !is_timeout(&error)) {
                return;
            }
        }
    }

    /// Number of bytes read ahead.
    #[inline]
    pub(super) fn buffered_len(&self) -> usize {
        if self.sb_start.get().is_null() { 0 } else { usize::try_from(self.sb_size.get()).unwrap_or(0) }
    }

    /// The bytes that were read ahead. They are in `sb_buf`, or in the larger buffer of a session ([`super::ahead`]).
    ///
    /// # Safety
    /// The result is not used once more was read, which may move them, or the session closed.
    #[inline]
    pub(super) unsafe fn buffered<'a>(&self) -> &'a [u8] {
        let len = usize::try_from(self.sb_size.get()).unwrap_or(0);
        if len == 0 || self.sb_start.get().is_null() {
            return &[];
        }
        // SAFETY: contract: whoever sets one of the two sets both.
        unsafe { std::slice::from_raw_parts(self.sb_start.get().cast(), len) }
    }

    /// Removes the first `len` bytes of those read ahead.
    #[inline]
    pub(super) fn consume(&self, len: usize) {
        let len = len.min(self.buffered_len());
        self.sb_size.set(self.sb_size.get() - len as c_int);
        // SAFETY: within what was read ahead, or one past its end.
        self.sb_start.set(unsafe { self.sb_start.get().add(len) });
    }

    /// The free part of `sb_buf`, after the bytes that were read ahead; see [`free_part_of`](Self::free_part_of).
    pub(super) fn free_part(&self) -> (*mut u8, usize) {
        let base = self.sb_buf.get().cast();
        // SAFETY: a buffer of our own, of this size.
        unsafe { self.free_part_of(base, RTMP_BUFFER_CACHE_SIZE) }
    }

    /// The free part of a buffer for reading ahead: its start and its length. Bytes read ahead move to the buffer's
    /// front if needed; if they do not fit the buffer, nothing is free.
    ///
    /// # Safety
    /// The buffer has so many writable bytes; what was read ahead lies in it or wholly elsewhere.
    pub(super) unsafe fn free_part_of(&self, base: *mut c_char, size: usize) -> (*mut u8, usize) {
        let len = self.buffered_len();
        let from = (self.sb_start.get() as usize).wrapping_sub(base as usize);
        if len == 0 || len < HEADROOM || from > size || from + len + HEADROOM > size {
            if len > size {
                return (base.cast(), 0);
            }
            if len > 0 {
                // SAFETY: contract of this function; the parts may overlap.
                unsafe { std::ptr::copy(self.sb_start.get(), base, len) };
            }
            self.sb_start.set(base);
            self.sb_size.set(len as c_int);
        }
        let end = (self.sb_start.get() as usize - base as usize) + len;
        // SAFETY: within the buffer.
        (unsafe { base.add(end) }.cast(), size - end)
    }

    /// Closes TLS and the socket.
    pub(super) fn close(&self) -> c_int {
        // TLS's close notification needs the descriptor, which stays in the session until then, so that another thread
        // can shut it down.
        let fd = self.socket();
        if fd != -1 {
            let mut wire = Wire::new(fd, &self.life, 1);
            // SAFETY: writing calls nobody.
            if let Some(tls) = unsafe { self.tls() } {
                tls.close(&mut wire);
            }
        }
        self.drop_tls();
        let fd = self.take_socket();
        if fd == -1 {
            return 0;
        }
        system::close(fd)
    }
}

/// The least free room for the next header. If there is less, the bytes are moved to the front, so that the next read
/// is not cut short.
const HEADROOM: usize = 64;

/// How long a send through a bare socket buffer waits, in seconds: a session's default time-out.
const SEND_TIMEOUT_S: c_int = 30;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMPSockBuf_Fill(sb: Option<&RTMPSockBuf>) -> c_int {
    guard(-1, || {
        let Some(sb) = sb else { return -1 };
        if sb.sb_size.get() <= 0 {
            sb.sb_size.set(0);
            sb.sb_start.set(sb.sb_buf.get().cast());
        }
        let (start, len) = sb.free_part();
        // SAFETY: the free part of sb_buf, which `receive` does not touch.
        let room = unsafe { std::slice::from_raw_parts_mut(start, len) };
        match sb.receive(room, &mut [], SEND_TIMEOUT_S) {
            Ok(got) => {
                sb.sb_size.set(sb.sb_size.get() + got as c_int);
                got as c_int
            }
            Err(error) if is_timeout(&error) => {
                sb.sb_timedout.set(TRUE);
                0
            }
            Err(_) => -1,
        }
    })
}

/// Whether an error only means that nothing came in time, and the connection is still open.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMPSockBuf_Send(sb: Option<&RTMPSockBuf>, data: *const c_char, len: c_int) -> c_int {
    guard(-1, || {
        // SAFETY: contract.
        let (Some(sb), Some(bytes)) = (sb, unsafe { bytes(data, len) }) else { return -1 };
        sb.send_all(bytes, SEND_TIMEOUT_S).map_or(-1, |()| len)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn RTMPSockBuf_Close(sb: Option<&RTMPSockBuf>) -> c_int {
    guard(0, || sb.map_or(0, RTMPSockBuf::close))
}
