//! The endpoint of a target or source: its settings, and the urls and the trust that they name. Changed settings make a
//! new endpoint; the owner of the connection compares the two.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::config::TargetConfig;
use crate::error::{Failure, RRError, Result};
use crate::net::tls::{ClientConfig, Trust};
use crate::proto::url::RtmpUrl;

/// The settings of a target or source, and the urls that they name.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// The settings.
    pub config: TargetConfig,
    url: RtmpUrl,
    backups: Vec<RtmpUrl>,
    tls: OnceLock<ClientConfig>,
}

impl Endpoint {
    /// Reads the urls; `own_key` is the stream's key, for urls that end with the application.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a malformed url, and for one without an application.
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

    /// As [`Self::new`], but also loads the trust (for example a file of roots), so that its errors come now and not at
    /// the first try.
    ///
    /// # Errors
    /// Those of [`Self::new`] and [`Self::tls`].
    pub(crate) fn ready(config: TargetConfig, own_key: &[u8]) -> Result<Self> {
        Self::ready_among(config, own_key, &mut Trusts::default())
    }

    /// As [`Self::ready`], for one of many endpoints: those with the same trust share what the first one has loaded.
    ///
    /// # Errors
    /// Those of [`Self::ready`].
    pub(crate) fn ready_among(config: TargetConfig, own_key: &[u8], trusts: &mut Trusts) -> Result<Self> {
        let endpoint = Self::new(config, own_key)?;
        if (0..endpoint.urls()).any(|index| endpoint.url(index).tls) {
            let made = trusts.of(endpoint.trust())?;
            endpoint.tls.get_or_init(|| made);
        }
        Ok(endpoint)
    }

    /// The TLS configuration of the endpoint's connections. The first call makes it, and reads the roots.
    ///
    /// # Errors
    /// Those of [`ClientConfig::new`].
    pub(crate) fn tls(&self) -> Result<ClientConfig> {
        if let Some(made) = self.tls.get() {
            return Ok(made.clone());
        }
        let made = ClientConfig::new(&self.trust())?;
        Ok(self.tls.get_or_init(|| made).clone())
    }

    fn trust(&self) -> Trust {
        Trust {
            ca_file: self.config.ca_file.as_ref().map(PathBuf::from),
            pin_sha256: self.config.pin_sha256.clone(),
            insecure: self.config.insecure,
        }
    }

    /// How many urls there are.
    pub(crate) fn urls(&self) -> usize {
        1 + self.backups.len()
    }

    /// The url with this index: 0 is the main url, then come the backups; any other index means the main url again.
    pub(crate) fn url(&self, index: usize) -> &RtmpUrl {
        index.checked_sub(1).and_then(|backup| self.backups.get(backup)).unwrap_or(&self.url)
    }
}

/// The TLS configurations of many endpoints, each made once.
#[derive(Debug, Default)]
pub(crate) struct Trusts(HashMap<Trust, ClientConfig>);

impl Trusts {
    fn of(&mut self, trust: Trust) -> Result<ClientConfig> {
        if let Some(made) = self.0.get(&trust) {
            return Ok(made.clone());
        }
        let made = ClientConfig::new(&trust)?;
        self.0.insert(trust, made.clone());
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_of_endpoints_with_the_same_trust_are_read_once() {
        let file = std::env::temp_dir().join(format!("rrelay-trust-{}.pem", std::process::id()));
        let root = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&file, root.cert.pem()).unwrap();
        let config = |host: &str| TargetConfig {
            url: format!("rtmps://{host}/app"),
            ca_file: Some(file.display().to_string()),
            ..TargetConfig::default()
        };
        let mut trusts = Trusts::default();
        Endpoint::ready_among(config("192.0.2.1"), b"show", &mut trusts).unwrap();
        std::fs::remove_file(&file).unwrap();
        let second = Endpoint::ready_among(config("192.0.2.2"), b"show", &mut trusts).unwrap();
        assert!(second.tls().is_ok());
        let pinned = TargetConfig { pin_sha256: Some("00".repeat(32)), ..config("192.0.2.3") };
        let failure = Endpoint::ready_among(pinned, b"show", &mut trusts).unwrap_err();
        assert_eq!(failure.kind, RRError::Cert, "another trust is read anew");
    }
}
