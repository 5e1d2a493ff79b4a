//! TLS of a server: the certificate that its listeners show, and the servers that its targets trust.

use std::path::Path;
use std::sync::Mutex;

use crate::error::{Failure, RRError, Result};
use crate::net::socket::Socket;
use crate::net::tls::{ServerConfig, TlsStream};
use crate::proto::url::RtmpUrl;
use crate::stream::remote::endpoint::Endpoint;
use crate::sync::locked;

/// The certificate that listeners with TLS show; it may change while they listen.
#[derive(Debug, Default)]
pub(super) struct Certificate(Mutex<Option<ServerConfig>>);

impl Certificate {
    /// Reads the files; later connections are shown the new certificate. On an error the previous one stays.
    pub(super) fn set(&self, chain: &Path, key: &Path) -> Result<()> {
        let config = ServerConfig::from_pem(chain, key)?;
        *locked(&self.0) = Some(config);
        Ok(())
    }

    fn get(&self) -> Result<ServerConfig> {
        let none = || Failure::ours(RRError::State, "the server has no certificate yet");
        locked(&self.0).clone().ok_or_else(none)
    }

    /// Fails if no certificate is set.
    pub(super) fn needed(&self) -> Result<()> {
        self.get().map(|_| ())
    }

    /// Puts TLS on a connection that was accepted; `read` are bytes of the peer that were read already.
    pub(super) fn put_on(&self, socket: &mut Socket, read: &[u8]) -> Result<()> {
        let mut tls = TlsStream::server(&self.get()?)?;
        tls.put_back(read)?;
        socket.secure(tls);
        Ok(())
    }
}

/// Puts TLS on a target's connection, if its url says so.
pub(super) fn put_on_target(socket: &mut Socket, endpoint: &Endpoint, url: &RtmpUrl) -> Result<()> {
    if url.tls {
        socket.secure(TlsStream::client(&endpoint.tls()?, &url.host)?);
    }
    Ok(())
}
