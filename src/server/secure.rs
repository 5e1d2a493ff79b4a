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
pub(super) struct Certificate(Mutex<Option<Configs>>);

/// TLS for peers of both protocols, with one certificate.
#[derive(Clone, Debug)]
struct Configs {
    rtmp: ServerConfig,
    http: ServerConfig,
}

impl Certificate {
    /// Reads the files; later connections are shown the new certificate. On an error the previous one stays.
    pub(super) fn set(&self, chain: &Path, key: &Path) -> Result<()> {
        let rtmp = ServerConfig::from_pem(chain, key)?;
        let http = rtmp.with_tls13_tickets();
        *locked(&self.0) = Some(Configs { rtmp, http });
        Ok(())
    }

    fn get(&self) -> Result<Configs> {
        let none = || Failure::ours(RRError::State, "the server has no certificate yet");
        locked(&self.0).clone().ok_or_else(none)
    }

    /// Fails if no certificate is set.
    pub(super) fn needed(&self) -> Result<()> {
        self.get().map(|_| ())
    }

    /// Puts TLS on a connection that was accepted, for HTTP or for RTMP; `read` are bytes of the peer that were read
    /// already.
    pub(super) fn put_on(&self, socket: &mut Socket, is_http: bool, read: &[u8]) -> Result<()> {
        let Configs { rtmp, http } = self.get()?;
        let mut tls = TlsStream::server(if is_http { &http } else { &rtmp })?;
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
