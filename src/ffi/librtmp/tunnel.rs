//! RTMPT: the session's bytes in HTTP requests and their answers. `proto::rtmpt` is the protocol; this module has the
//! socket and the waiting.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::inner::Session;
use super::sock::{LINGER, LINGER_STALL, is_timeout};
use super::{log, tls};
use crate::proto::rtmpt::Tunnel;

/// Bytes read from the socket at a time.
const READ_BYTES: usize = 16 * 1024;

/// The first and the longest wait between two polls with empty answers, in milliseconds.
const FIRST_WAIT_MS: u64 = 10;
const LONGEST_WAIT_MS: u64 = 500;

/// Most posts without an answer. Beyond that even a program that only publishes reads answers, because a server that
/// cannot send its answers finally takes no more posts.
const MAX_UNANSWERED: u32 = 16;

/// Most RTMP bytes that are kept while the program does not read them. Beyond that answers stay in the socket.
const MAX_UNREAD: usize = 1 << 20;

/// A tunnel with the RTMP that came through it and was not read yet.
pub(super) struct Tunnelled {
    tunnel: Tunnel,
    plain: Vec<u8>,
    taken: usize,
    /// The session is ending: posts no longer wait for answers, because [`close`] does that.
    hurried: bool,
}

/// Opens a tunnel to the server of `Link`.
pub(super) fn open(r: Session) -> bool {
    let host = r.Link.hostname.get().shown().into_owned();
    let mut tunnel = Tunnel::new(&host, r.Link.port.get());
    let mut request = Vec::new();
    tunnel.open(&mut request);
    let mut tunnelled = Box::new(Tunnelled { tunnel, plain: Vec::new(), taken: 0, hurried: false });
    let timeout_s = r.Link.timeout.get();
    let patience = Patience::new(timeout_s);
    let mut result = r.m_sb.send_all(&request, timeout_s);
    while result.is_ok() && !tunnelled.tunnel.is_open() {
        result = patience.check().and_then(|()| tunnelled.read(r, timeout_s));
    }
    if let Err(error) = result {
        log::error(&format!("RTMPT: the tunnel cannot be opened: {error}"));
        return false;
    }
    r.set_inner(|inner| &inner.tunnel, Some(tunnelled));
    true
}

/// The time of one call, `Link.timeout`, which empty answers do not prolong.
struct Patience {
    begun: Instant,
    limit: Duration,
}

impl Patience {
    fn new(timeout_s: i32) -> Self {
        Self { begun: Instant::now(), limit: Duration::from_secs(u64::try_from(timeout_s).unwrap_or(0)) }
    }

    fn check(&self) -> io::Result<()> {
        let over = !self.limit.is_zero() && self.begun.elapsed() >= self.limit;
        if over { Err(ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl Tunnelled {
    /// Reads some of an answer.
    fn read(&mut self, r: Session, timeout_s: i32) -> io::Result<()> {
        let mut bytes = vec![0; READ_BYTES];
        let got = r.m_sb.receive(&mut bytes, &mut [], timeout_s)?;
        if got == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut input = &bytes[..got];
        while !input.is_empty() {
            // This uses a new buffer each time, because the tunnel stops when its buffer is full.
            let (mut at, mut plain) = (0, Vec::new());
            self.tunnel
                .feed(input, &mut at, &mut plain)
                .map_err(|failure| io::Error::new(ErrorKind::InvalidData, failure.to_string()))?;
            self.plain.extend_from_slice(&plain);
            input = &input[at..];
        }
        Ok(())
    }

    /// Sends a post, and reads answers if many are due.
    fn post(&mut self, r: Session, bytes: &[u8]) -> io::Result<()> {
        let timeout_s = r.Link.timeout.get();
        let mut request = Vec::new();
        self.tunnel.send(bytes, &mut request).map_err(|failure| io::Error::other(failure.to_string()))?;
        r.m_sb.send_all(&request, timeout_s)?;
        let patience = Patience::new(timeout_s);
        let full = |this: &Self| this.tunnel.unanswered() > MAX_UNANSWERED && !this.hurried;
        while full(self) && self.plain.len() - self.taken < MAX_UNREAD {
            patience.check()?;
            match self.read(r, timeout_s) {
                Err(error) if is_timeout(&error) && r.m_sb.never_waits() => break,
                other => other?,
            }
        }
        Ok(())
    }

    /// Reads RTMP that came through, and polls the server if no post is unanswered.
    fn receive(&mut self, r: Session, buffer: &mut [u8]) -> io::Result<usize> {
        let timeout_s = r.Link.timeout.get();
        let patience = Patience::new(timeout_s);
        let mut wait_ms = 0;
        while self.taken == self.plain.len() {
            self.plain.clear();
            self.taken = 0;
            patience.check()?;
            if self.tunnel.unanswered() == 0 {
                r.m_sb.rest(Duration::from_millis(wait_ms))?;
                wait_ms = (wait_ms * 2).clamp(FIRST_WAIT_MS, LONGEST_WAIT_MS);
                let mut request = Vec::new();
                self.tunnel.idle(&mut request).map_err(|failure| io::Error::other(failure.to_string()))?;
                r.m_sb.send_all(&request, timeout_s)?;
            }
            match self.read(r, timeout_s) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                other => other?,
            }
        }
        let len = buffer.len().min(self.plain.len() - self.taken);
        buffer[..len].copy_from_slice(&self.plain[self.taken..self.taken + len]);
        self.taken += len;
        Ok(len)
    }
}

/// Reads through the tunnel; `None` if there is no tunnel.
pub(super) fn receive(r: Session, buffer: &mut [u8]) -> Option<io::Result<usize>> {
    let mut tunnelled = r.take_inner(|inner| &inner.tunnel)?;
    let result = tunnelled.receive(r, buffer);
    r.m_unackd.set(tunnelled.tunnel.unanswered() as i32);
    r.set_inner(|inner| &inner.tunnel, Some(tunnelled));
    Some(result)
}

/// Sends through the tunnel; `None` if there is no tunnel.
pub(super) fn post(r: Session, bytes: &[u8]) -> Option<io::Result<()>> {
    let mut tunnelled = r.take_inner(|inner| &inner.tunnel)?;
    let result = tunnelled.post(r, bytes);
    r.m_unackd.set(tunnelled.tunnel.unanswered() as i32);
    r.set_inner(|inner| &inner.tunnel, Some(tunnelled));
    Some(result)
}

/// Lets the last posts of a session that ends wait for no answers.
pub(super) fn hurry(r: Session) {
    if let Some(mut tunnelled) = r.take_inner(|inner| &inner.tunnel) {
        tunnelled.hurried = true;
        r.set_inner(|inner| &inner.tunnel, Some(tunnelled));
    }
}

/// Ends the tunnel.
pub(super) fn close(r: Session) {
    let Some(mut tunnelled) = r.take_inner(|inner| &inner.tunnel) else { return };
    let mut request = Vec::new();
    tunnelled.tunnel.close(&mut request);
    // Errors do not matter, because the connection ends. The answers are awaited, because a close with unread bytes
    // resets the connection, and the server may then lose posts that it has not read.
    let (stall, all) = if r.is_publisher() { (LINGER_STALL, LINGER) } else { (CLOSE_TIMEOUT, CLOSE_TIMEOUT) };
    if r.m_sb.socket() >= 0 {
        let socket = tls::borrowed(r.m_sb.socket());
        let _ = socket.set_read_timeout(Some(stall));
    }
    let (until, stall_s) = (Instant::now() + all, stall.as_secs() as i32);
    let mut result = r.m_sb.send_all(&request, stall_s);
    while result.is_ok() && tunnelled.tunnel.unanswered() > 0 && Instant::now() < until {
        tunnelled.plain.clear();
        result = tunnelled.read(r, stall_s);
    }
}

/// How long the closing commands of a session that published nothing may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
