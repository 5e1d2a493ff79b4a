//! RTMPT: the session's bytes in HTTP requests and their answers. The protocol is `proto::rtmpt`; here are its socket
//! and the waiting.

use std::io::{self, ErrorKind};
use std::time::Duration;

use super::log;
use super::types::*;
use crate::proto::rtmpt::Tunnel;

/// Read from the socket at a time.
const READ_BYTES: usize = 16 * 1024;

/// Between two questions that were answered with nothing, in milliseconds: the first and the longest.
const FIRST_WAIT_MS: u64 = 10;
const LONGEST_WAIT_MS: u64 = 500;

/// A tunnel with what came through it and was not read yet.
pub(super) struct Tunnelled {
    tunnel: Tunnel,
    plain: Vec<u8>,
    taken: usize,
}

/// Opens a tunnel to the server of `Link`.
pub(super) fn open(r: &mut RTMP) -> bool {
    let host = r.Link.hostname.shown().into_owned();
    let mut tunnel = Tunnel::new(&host, r.Link.port);
    let mut request = Vec::new();
    tunnel.open(&mut request);
    let mut tunnelled = Box::new(Tunnelled { tunnel, plain: Vec::new(), taken: 0 });
    let timeout_s = r.Link.timeout;
    let mut result = r.m_sb.send_all(&request, timeout_s);
    while result.is_ok() && !tunnelled.tunnel.is_open() {
        result = tunnelled.read(r, timeout_s);
    }
    if let Err(error) = result {
        log::error(&format!("RTMPT: the tunnel cannot be opened: {error}"));
        return false;
    }
    r.inner().tunnel = Some(*tunnelled);
    true
}

impl Tunnelled {
    /// Reads some of an answer.
    fn read(&mut self, r: &mut RTMP, timeout_s: i32) -> io::Result<()> {
        let mut bytes = vec![0; READ_BYTES];
        let got = r.m_sb.receive(&mut bytes, &mut [], timeout_s)?;
        if got == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut input = &bytes[..got];
        while !input.is_empty() {
            let mut at = 0;
            self.tunnel
                .feed(input, &mut at, &mut self.plain)
                .map_err(|failure| io::Error::new(ErrorKind::InvalidData, failure.to_string()))?;
            input = &input[at..];
        }
        Ok(())
    }

    /// Reads what came through, asking for more when nothing was asked.
    fn receive(&mut self, r: &mut RTMP, buffer: &mut [u8]) -> io::Result<usize> {
        let timeout_s = r.Link.timeout;
        let limit_ms = u64::try_from(timeout_s).unwrap_or(0) * 1000;
        let (mut wait_ms, mut waited_ms) = (0, 0);
        while self.taken == self.plain.len() {
            self.plain.clear();
            self.taken = 0;
            if self.tunnel.unanswered() == 0 {
                if wait_ms > 0 {
                    std::thread::sleep(Duration::from_millis(wait_ms));
                }
                waited_ms += wait_ms;
                if interrupted() {
                    return Err(ErrorKind::ConnectionAborted.into());
                }
                if limit_ms > 0 && waited_ms >= limit_ms {
                    return Err(ErrorKind::TimedOut.into());
                }
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

/// Reads through the tunnel; `None` where there is none.
pub(super) fn receive(r: &mut RTMP, buffer: &mut [u8]) -> Option<io::Result<usize>> {
    r.inner_ref()?.tunnel.as_ref()?;
    let mut tunnelled = r.inner().tunnel.take()?;
    let result = tunnelled.receive(r, buffer);
    r.m_unackd = tunnelled.tunnel.unanswered() as i32;
    r.inner().tunnel = Some(tunnelled);
    Some(result)
}

/// Sends through the tunnel; `None` where there is none.
pub(super) fn post(r: &mut RTMP, bytes: &[u8]) -> Option<io::Result<()>> {
    let tunnelled = r.inner_ref().and_then(|inner| inner.tunnel.as_ref()).is_some().then(|| r.inner())?;
    let mut request = Vec::new();
    let asked = tunnelled.tunnel.as_mut()?.tunnel.send(bytes, &mut request);
    let timeout_s = r.Link.timeout;
    Some(match asked {
        Ok(()) => r.m_sb.send_all(&request, timeout_s),
        Err(failure) => Err(io::Error::other(failure.to_string())),
    })
}

/// Says that the tunnel ends.
pub(super) fn close(r: &mut RTMP) {
    let Some(mut tunnelled) =
        r.inner_ref().and_then(|inner| inner.tunnel.as_ref()).is_some().then(|| r.inner().tunnel.take()).flatten()
    else {
        return;
    };
    let mut request = Vec::new();
    tunnelled.tunnel.close(&mut request);
    // The connection ends either way.
    let _ = r.m_sb.send_all(&request, CLOSE_TIMEOUT_S);
}

/// What the farewell may take, in seconds.
const CLOSE_TIMEOUT_S: i32 = 1;
