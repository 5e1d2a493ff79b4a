//! A blocking connection to a web server, for one file: with TLS or without, with a bound on every wait and on the
//! whole, and ended when the caller wants it to. `proto::http_client` has the protocol. Only the librtmp face uses it;
//! the relay never blocks.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::poll::is_writable;
use super::tls::{self, ClientConfig, TlsStream, Trust};
use crate::error::{Failure, RRError, Result};
use crate::proto::http_client::HttpUrl;

/// How often a wait checks whether it must end.
const LOOK: Duration = Duration::from_millis(100);

/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;

/// How long to wait.
#[derive(Clone, Copy)]
pub(crate) struct Patience<'a> {
    /// For a connection, and for the next bytes in either direction.
    pub each: Duration,
    /// For everything together except the system's name look-up.
    pub all: Duration,
    /// Whether the caller has given up the fetch; called several times a second.
    pub stopped: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for Patience<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patience").field("each", &self.each).field("all", &self.all).finish_non_exhaustive()
    }
}

/// The connection, for one file.
#[derive(Debug)]
pub(crate) struct HttpLink<'a> {
    wire: Wire<'a>,
    tls: Option<TlsStream>,
}

impl<'a> HttpLink<'a> {
    /// Connects to the server of `url`; with `https`, `trust` must accept its certificate.
    ///
    /// # Errors
    /// [`RRError::Resolve`], [`RRError::Connect`], [`RRError::Timeout`], [`RRError::Tls`], [`RRError::Io`].
    pub(crate) fn open(url: &HttpUrl, trust: &Trust, patience: Patience<'a>) -> Result<Self> {
        let resolved = (url.host.as_str(), url.port).to_socket_addrs();
        let addresses = resolved.map_err(|error| Failure::ours(RRError::Resolve, format!("{}: {error}", url.host)))?;
        let until = Instant::now() + patience.all;
        let mut last = Failure::ours(RRError::Resolve, "the name has no address");
        for address in addresses.take(MAX_ADDRESSES) {
            match connect(address, patience, until) {
                Ok(socket) => {
                    let wire = Wire { socket, patience, until };
                    let tls =
                        if url.tls { Some(TlsStream::client(&ClientConfig::new(trust)?, &url.host)?) } else { None };
                    return Ok(Self { wire, tls });
                }
                Err(error) => last = Failure::peers(RRError::Connect, format!("{address}: {error}")),
            }
        }
        Err(last)
    }

    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// [`RRError::Timeout`], [`RRError::Io`], [`RRError::Cert`], [`RRError::Tls`], [`RRError::Closed`].
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let result = match &mut self.tls {
            Some(tls) => tls.read(&mut self.wire, buffer),
            None => self.wire.read(buffer),
        };
        result.map_err(|error| tls::failure(&error, "reading from the HTTP server"))
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        let what = |error: io::Error| tls::failure(&error, "writing to the HTTP server");
        let Some(tls) = &mut self.tls else { return self.wire.write_all(bytes).map_err(what) };
        while !bytes.is_empty() {
            let taken = tls.write(&mut self.wire, bytes).map_err(what)?;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        while !tls.flush(&mut self.wire).map_err(what)? {}
        Ok(())
    }
}

/// A socket whose waits are bounded.
#[derive(Debug)]
struct Wire<'a> {
    socket: TcpStream,
    patience: Patience<'a>,
    until: Instant,
}

/// Repeats `attempt` until it need not wait any more, or must not. Signals that the program handles end no wait.
fn repeat<T>(patience: Patience<'_>, until: Instant, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let begun = Instant::now();
    loop {
        if (patience.stopped)() {
            return Err(io::Error::new(ErrorKind::ConnectionAborted, "the program ended the fetch"));
        }
        if begun.elapsed() > patience.each || Instant::now() > until {
            return Err(ErrorKind::TimedOut.into());
        }
        match attempt() {
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            other => return other,
        }
    }
}

fn connect(address: SocketAddr, patience: Patience<'_>, until: Instant) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            repeat(patience, until, || {
                if is_writable(&socket, LOOK) { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
            })?;
            socket.take_error()?.map_or(Ok(()), Err)?;
        }
        other => other?,
    }
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(LOOK))?;
    socket.set_write_timeout(Some(LOOK))?;
    Ok(socket.into())
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        repeat(self.patience, self.until, || self.socket.read(buffer))
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        repeat(self.patience, self.until, || self.socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
