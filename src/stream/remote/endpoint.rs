//! Where a target or a source connects to: its settings, and the urls and the trust that they name. It is made anew for
//! other settings; whoever has the connection compares.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::config::TargetConfig;
use crate::error::{Failure, RRError, Result};
use crate::net::tls::{ClientConfig, Trust};
use crate::proto::url::RtmpUrl;

/// Where a target or a source connects to: its settings, and the places they name.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// The settings.
    pub config: TargetConfig,
    url: RtmpUrl,
    backups: Vec<RtmpUrl>,
    tls: OnceLock<ClientConfig>,
}

impl Endpoint {
    /// Reads the urls; `own_key` is the stream's, for those that end with the application.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a malformed url, and one without an application.
    pub(crate) fn new(config: TargetConfig, own_key: &[u8]) -> Result<Self> {
        let read = |url: &String| {
            let mut url = RtmpUrl::parse(url, config.key.as_deref())?;
            if url.app.split('?').next().is_none_or(|app| app.trim_matches('/').is_empty()) {
                return Err(Failure::ours(RRError::Arg, "url names no application"));
            }
            if config.key.is_none() && url.key.is_empty() {
                url.key = own_key.to_vec();
            }
            Ok(url)
        };
        let url = read(&config.url)?;
        let backups = config.backup_urls.iter().map(read).collect::<Result<_>>()?;
        Ok(Self { url, backups, config, tls: OnceLock::new() })
    }

    /// As [`Self::new`], and whom it cannot trust (a file that holds no roots) is told now, not by the first try.
    ///
    /// # Errors
    /// Those of [`Self::new`] and [`Self::tls`].
    pub(crate) fn ready(config: TargetConfig, own_key: &[u8]) -> Result<Self> {
        let endpoint = Self::new(config, own_key)?;
        if (0..endpoint.urls()).any(|index| endpoint.url(index).tls) {
            endpoint.tls()?;
        }
        Ok(endpoint)
    }

    /// The configuration of the endpoint's connections over TLS, made at the first call, which reads the roots.
    ///
    /// # Errors
    /// Those of [`ClientConfig::new`].
    pub(crate) fn tls(&self) -> Result<ClientConfig> {
        if let Some(made) = self.tls.get() {
            return Ok(made.clone());
        }
        let made = ClientConfig::new(&Trust {
            ca_file: self.config.ca_file.as_ref().map(PathBuf::from),
            pin_sha256: self.config.pin_sha256.clone(),
            insecure: self.config.insecure,
        })?;
        Ok(self.tls.get_or_init(|| made).clone())
    }

    /// How many urls there are.
    pub(crate) fn urls(&self) -> usize {
        1 + self.backups.len()
    }

    /// Where it goes: 0 is the url, the backups follow; beyond them it is the url again.
    pub(crate) fn url(&self, index: usize) -> &RtmpUrl {
        index.checked_sub(1).and_then(|backup| self.backups.get(backup)).unwrap_or(&self.url)
    }
}
