//! TLS of a server's own: the certificate its listeners show, and whom its targets trust.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;

use crate::error::{Failure, RRError, Result};
use crate::net::socket::Socket;
use crate::net::tls::{ServerConfig, TlsStream};
use crate::stream::target::Target;
use crate::sync::locked;

/// The certificate that listeners with TLS show; it may be changed while they listen.
#[derive(Debug, Default)]
pub(super) struct Certificate(Mutex<Option<ServerConfig>>);

impl Certificate {
    /// Reads the files; connections from here on are shown what is in them. What was there before stays where that fails.
    pub(super) fn set(&self, chain: &Path, key: &Path) -> Result<()> {
        let config = ServerConfig::from_pem(chain, key)?;
        *locked(&self.0) = Some(config);
        Ok(())
    }

    fn get(&self) -> Result<ServerConfig> {
        let none = || Failure::ours(RRError::State, "there is no certificate to show yet");
        locked(&self.0).clone().ok_or_else(none)
    }

    /// Whether there is one.
    pub(super) fn needed(&self) -> Result<()> {
        self.get().map(|_| ())
    }

    /// Takes a connection that was accepted, and puts TLS on it where that is wanted.
    pub(super) fn adopt(&self, fd: OwnedFd, tls: bool) -> Result<Socket> {
        let mut socket = Socket::adopt(fd)?;
        if tls {
            socket.secure(TlsStream::server(&self.get()?)?);
        }
        Ok(socket)
    }
}

/// Puts TLS on a target's connection, where its url says so.
pub(super) fn put_on_target(socket: &mut Socket, target: &Target) -> Result<()> {
    if target.url.tls {
        socket.secure(TlsStream::client(&target.tls()?, &target.url.host)?);
    }
    Ok(())
}
