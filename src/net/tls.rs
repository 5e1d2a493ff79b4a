//! TLS over a transport that the caller holds: the same object serves a blocking socket with timeouts and one that
//! never blocks. rustls does the work.
//!
//! This module opens, waits for and closes no socket. An error of the transport (`WouldBlock`, `TimedOut`,
//! `Interrupted`) passes through and loses nothing: the caller repeats the call later. A TLS error comes as an
//! `io::Error` that [`failure`] turns into a [`Failure`] with its reason. [`trust`] decides about certificates.

pub mod trust;

#[cfg(test)]
mod tests;

use std::io::{self, IoSlice, Read, Write};

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConnection, Connection, ServerConnection};

pub use self::trust::{ClientConfig, ServerConfig, Trust};
use crate::error::{Failure, RRError, Result};

/// Most bytes that may wait for the transport: ciphertext, and plaintext before the handshake is done.
const HELD_BYTES: usize = 64 << 10;

/// Memory of an established, idle connection, this struct included: states of ciphers, facts of the peer, a read buffer
/// of 4 KiB. Measured (`tests/player_costs.rs`), because rustls does not tell.
const IDLE_BYTES: usize = 8 << 10;

/// Most incomplete ciphertext that rustls holds: that of a handshake message; a record is smaller.
const UNREAD_BYTES: usize = 64 << 10;

/// One TLS connection.
pub struct TlsStream {
    tls: Connection,
    /// Ciphertext of a half-read record or handshake message, in bytes: an upper bound, because rustls does not tell.
    unread: usize,
    /// Ciphertext read so far, in bytes.
    taken: u64,
    /// The transport has ended.
    ended: bool,
    /// The TLS error; every later call fails with it.
    failed: Option<Failure>,
}

impl TlsStream {
    /// The side that connects to `host`, a name or an address. The certificate must be valid for it.
    ///
    /// # Errors
    /// [`RRError::Arg`] where `host` is neither.
    pub fn client(config: &ClientConfig, host: &str) -> Result<Self> {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.trim_end_matches('.').to_owned())
            .map_err(|_| Failure::ours(RRError::Arg, "the host is neither a DNS name nor an address"))?;
        let tls = ClientConnection::new(config.inner(), name).map_err(|error| because(&error))?;
        Ok(Self::new(tls.into()))
    }

    /// The side that accepted the connection.
    ///
    /// # Errors
    /// [`RRError::Tls`] where rustls cannot use the configuration.
    pub fn server(config: &ServerConfig) -> Result<Self> {
        let tls = ServerConnection::new(config.inner()).map_err(|error| because(&error))?;
        Ok(Self::new(tls.into()))
    }

    fn new(mut tls: Connection) -> Self {
        tls.set_buffer_limit(Some(HELD_BYTES));
        Self { tls, unread: 0, taken: 0, ended: false, failed: None }
    }

    /// Takes ciphertext that was read before this object existed; called before the first read.
    ///
    /// # Errors
    /// [`RRError::Tls`] if the bytes are not ciphertext.
    pub fn put_back(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let n = self.tls.read_tls(&mut bytes).map_err(|error| failure(&error, "reading"))?;
            self.process(n).map_err(|error| because(&error))?;
        }
        Ok(())
    }

    /// Whether the handshake is done, and the peer accepted.
    pub fn is_established(&self) -> bool {
        !self.tls.is_handshaking()
    }

    /// Continues the handshake until it is done. [`read`](Self::read) and [`write`](Self::write) do this too.
    ///
    /// # Errors
    /// Those of the transport, or of TLS.
    pub fn handshake<T: Read + Write>(&mut self, transport: &mut T) -> io::Result<()> {
        self.flush(transport)?;
        while self.tls.is_handshaking() {
            if !self.take(transport)? {
                return Err(left_in_handshake());
            }
            if !self.flush(transport)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(())
    }

    /// Reads plaintext: decrypted bytes that wait or, if none do, those of one read of the transport. 0 at the end, or
    /// if `buffer` is empty.
    ///
    /// # Errors
    /// Those of the transport, if there are no bytes to return, or of TLS.
    pub fn read<T: Read + Write>(&mut self, transport: &mut T, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.ended && self.tls.is_handshaking() {
                return Err(left_in_handshake());
            }
            match self.read_ready(buffer)? {
                Some(n) => return Ok(n),
                None if self.take(transport)? || self.tls.is_handshaking() => {}
                None => return self.read_ready(buffer).map(Option::unwrap_or_default),
            }
        }
    }

    /// Reads bytes that are decrypted already; `None` if more must be read, 0 at the end.
    fn read_ready(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut given = 0;
        while given < buffer.len() {
            match self.tls.reader().read(&mut buffer[given..]) {
                Ok(0) => return Ok(Some(given)), // the peer sent a close notification
                Ok(n) => given += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((given > 0).then_some(given)),
                // The peer closed without a notification. RTMP has its own lengths, so nothing can be cut off
                // unnoticed.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(given)),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(given))
    }

    /// Encrypts and sends plaintext; returns how many bytes were taken, which may be fewer than given. Ciphertext that
    /// the transport does not take is kept, see [`flush`](Self::flush), and goes out first the next time.
    ///
    /// # Errors
    /// Those of the transport, if no byte was taken (`WouldBlock` while ciphertext waits or the handshake goes on), or
    /// of TLS.
    pub fn write<T: Read + Write>(&mut self, transport: &mut T, bytes: &[u8]) -> io::Result<usize> {
        if self.tls.is_handshaking() {
            self.handshake(transport)?;
        }
        if !self.flush(transport)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        while taken < bytes.len() {
            taken += self.tls.writer().write(&bytes[taken..])?;
            match self.flush(transport) {
                Ok(true) => {}
                Ok(false) | Err(_) => break, // these bytes are taken; an error comes back at the next call
            }
        }
        Ok(taken)
    }

    /// [`write`](Self::write) for plaintext in several places.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_vectored<T: Read + Write>(
        &mut self,
        transport: &mut T,
        mut parts: &mut [IoSlice<'_>],
    ) -> io::Result<usize> {
        // This writes no byte; it does what must come first: the handshake, and ciphertext that waits.
        self.write(transport, &[])?;
        let mut taken = 0;
        while !parts.is_empty() {
            let n = self.tls.writer().write_vectored(parts)?;
            taken += n;
            IoSlice::advance_slices(&mut parts, n);
            match self.flush(transport) {
                Ok(true) if n > 0 => {}
                _ => break, // these bytes are taken; an error comes back at the next call
            }
        }
        Ok(taken)
    }

    /// Sends the ciphertext that waits; true when none is left, false if the transport takes no more now.
    ///
    /// # Errors
    /// Those of the transport except `WouldBlock`, or of TLS.
    pub fn flush<T: Write>(&mut self, transport: &mut T) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(transport) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.failed.clone().map_or(Ok(true), |failure| Err(wrapped(failure)))
    }

    /// Whether ciphertext waits for the transport.
    pub fn holds_ciphertext(&self) -> bool {
        self.tls.wants_write()
    }

    /// Plaintext bytes that [`read`](Self::read) gives without the transport: a caller that polls its socket checks
    /// this first.
    pub fn buffered(&mut self) -> usize {
        self.tls.process_new_packets().map_or(0, |state| state.plaintext_bytes_to_read())
    }

    /// Memory of the connection: that of an idle one, ciphertext that waits for the transport, plaintext that waits to
    /// be read, and half-read records.
    pub fn heap_bytes(&mut self) -> usize {
        let state = self.tls.process_new_packets();
        let waiting = state.map_or(0, |state| state.tls_bytes_to_write() + state.plaintext_bytes_to_read());
        IDLE_BYTES + waiting + self.unread
    }

    /// Bytes read from the transport, which count as work even if they contain hardly any plaintext.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Sends TLS's close notification, if the transport takes it.
    pub fn close<T: Write>(&mut self, transport: &mut T) {
        self.tls.send_close_notify();
        let _ = self.flush(transport);
    }

    /// Decrypts `n` bytes that were just read.
    fn process(&mut self, n: usize) -> std::result::Result<(), rustls::Error> {
        let shook = self.tls.is_handshaking();
        let state = self.tls.process_new_packets()?;
        let whole = state.plaintext_bytes_to_read() > 0 || shook != self.tls.is_handshaking();
        let before = if whole { 0 } else { self.unread };
        // An incomplete record after a whole one came with the last read.
        self.unread = (before + n).min(UNREAD_BYTES);
        Ok(())
    }

    /// Reads ciphertext once and decrypts it. False at the end of the transport.
    fn take<T: Read + Write>(&mut self, transport: &mut T) -> io::Result<bool> {
        if let Some(failure) = &self.failed {
            return Err(wrapped(failure.clone()));
        }
        if self.ended {
            return Ok(false);
        }
        let n = self.tls.read_tls(transport)?;
        self.ended = n == 0;
        self.taken += n as u64;
        if let Err(error) = self.process(n) {
            let failure = because(&error);
            let _ = self.flush(transport); // the alert that tells the peer
            self.failed = Some(failure.clone());
            return Err(wrapped(failure));
        }
        // TLS's own answers (key updates, tickets) that the transport does not take go out with the next write.
        let _ = self.flush(transport);
        Ok(!self.ended)
    }
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream").field("established", &self.is_established()).finish_non_exhaustive()
    }
}

/// The failure for an error of a [`TlsStream`]; `what` names the action that an error of the transport interrupted.
pub fn failure(error: &io::Error, what: &str) -> Failure {
    if let Some(failure) = error.get_ref().and_then(|inner| inner.downcast_ref::<Failure>()) {
        return failure.clone();
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Failure::peers(RRError::Closed, error.to_string()),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::peers(RRError::Timeout, what.to_owned()),
        _ => Failure::peers(RRError::Io, format!("{what}: {error}")),
    }
}

fn left_in_handshake() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed during the TLS handshake")
}

fn wrapped(failure: Failure) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, failure)
}

/// The reason of a rustls error in words, and whether the peer is at fault.
fn because(error: &rustls::Error) -> Failure {
    use rustls::Error;
    match error {
        Error::InvalidCertificate(reason) => Failure::peers(RRError::Cert, certificate_text(reason)),
        Error::NoCertificatesPresented => Failure::peers(RRError::Cert, "the peer showed no certificate"),
        Error::AlertReceived(alert) => {
            use AlertDescription as A;
            let about_ours = matches!(
                *alert,
                A::BadCertificate
                    | A::UnsupportedCertificate
                    | A::CertificateRevoked
                    | A::CertificateExpired
                    | A::CertificateUnknown
                    | A::UnknownCA
            );
            if about_ours {
                Failure::peers(RRError::Cert, format!("the peer does not accept our certificate ({alert:?})"))
            } else {
                Failure::peers(RRError::Tls, format!("the peer ended it ({alert:?})"))
            }
        }
        Error::InvalidMessage(_) => Failure::peers(RRError::Tls, "the peer does not speak TLS, or speaks it wrongly"),
        Error::PeerIncompatible(reason) => {
            Failure::peers(RRError::Tls, format!("no version or cipher in common with the peer ({reason:?})"))
        }
        other => Failure::peers(RRError::Tls, other.to_string()),
    }
}

fn certificate_text(reason: &CertificateError) -> String {
    use CertificateError as C;
    match reason {
        C::Expired | C::ExpiredContext { .. } => "the certificate has expired".to_owned(),
        C::NotValidYet | C::NotValidYetContext { .. } => "the certificate is not valid yet".to_owned(),
        C::NotValidForName => "the certificate is for another name".to_owned(),
        C::NotValidForNameContext { expected, presented } => {
            let names = presented.iter().take(4).map(|name| crate::mask::escape(name.as_bytes()));
            let names = names.collect::<Vec<_>>().join(", ");
            format!("the certificate is not for {} but for {names}", expected.to_str())
        }
        C::UnknownIssuer => "the certificate's issuer is not trusted: self-signed, or its root is missing".to_owned(),
        C::Revoked => "the certificate is revoked".to_owned(),
        C::BadSignature => "the certificate's signature is wrong".to_owned(),
        C::BadEncoding => "the certificate cannot be read".to_owned(),
        C::ApplicationVerificationFailure => "the certificate's key is not the pinned one".to_owned(),
        reason if trust::marked_as_authority(reason) => "it is marked as an authority's and not as a server's \
            (CA:TRUE); name the certificate itself as ca_file or pin its key by pin_sha256 to trust it, or have one with CA:FALSE"
            .to_owned(),
        C::Other(reason) => reason.0.to_string(),
        other => other.to_string(),
    }
}
