//! The servers that we trust as a client, and the certificate that we show as a server: PEM files, system roots, pinned
//! keys.
//!
//! A configuration is made once and shared by its connections. By default only the system's roots are trusted.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::ring::Ticketer;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::error::{Failure, RRError, Result};

/// Longest file of certificates. The system's is about a quarter of a MiB; requests by HTTP can name any file too.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Tickets for each full handshake of TLS 1.3. A ticket is for one connection, and browsers open two at a time.
const TLS13_TICKETS: usize = 2;

/// How a client decides whether a server is who it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    /// Roots from this PEM file instead of the system's. A server may also show one of them as its own certificate,
    /// because the usual self-signed certificate (`openssl req -x509`) is marked as an authority's.
    pub ca_file: Option<PathBuf>,
    /// The SHA-256 of the server's public key (its SubjectPublicKeyInfo), as 64 hexadecimal digits or base64, with or
    /// without `sha256//` in front. The pin replaces the checks of roots, name and dates, so a self-signed certificate
    /// is enough; with `ca_file` given too, both must hold.
    pub pin_sha256: Option<String>,
    /// Accepts any certificate, so an attacker in between can read and change everything.
    pub insecure: bool,
}

/// The configuration that a client's connections share.
#[derive(Clone, Debug)]
pub struct ClientConfig(Arc<rustls::ClientConfig>);

impl ClientConfig {
    /// Reads the roots.
    ///
    /// # Errors
    /// [`RRError::Cert`] if a file cannot be read or holds no certificate, or the system has no roots; [`RRError::Arg`]
    /// for a malformed pin.
    pub fn new(trust: &Trust) -> Result<Self> {
        let provider = provider();
        let pin = trust.pin_sha256.as_deref().map(parse_pin).transpose()?;
        let mut named = Vec::new();
        let roots = match (&trust.ca_file, trust.insecure, pin) {
            (_, true, _) | (None, false, Some(_)) => None,
            (Some(file), ..) => {
                named = certificates_of(file)?;
                Some(roots_of(file, &named)?)
            }
            (None, ..) => Some(system_roots()?),
        };
        let chain = roots
            .map(|roots| WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build())
            .transpose()
            .map_err(|error| Failure::ours(RRError::Cert, error.to_string()))?;
        let pin = pin.filter(|_| !trust.insecure);
        let verifier = Arc::new(Verifier { chain, named, pin, provider: Arc::clone(&provider) });
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::ours(RRError::Tls, error.to_string()))?
            .dangerous() // the verifier is ours; it is lax only where the host asked for that
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// The configuration for code that does TLS by other means than [`super::TlsStream`].
    pub(crate) fn inner(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.0)
    }
}

/// The configuration that a server's connections share.
#[derive(Clone, Debug)]
pub struct ServerConfig(Arc<rustls::ServerConfig>);

impl ServerConfig {
    /// Reads the certificate, with the chain after it, and its private key.
    ///
    /// # Errors
    /// [`RRError::Cert`] with the file and the reason: not readable, nothing in it, or the key belongs to another
    /// certificate.
    pub fn from_pem(certificates: &Path, key: &Path) -> Result<Self> {
        let chain = certificates_of(certificates)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| of_file(key, &error))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::ours(RRError::Tls, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| {
                let reason = match error {
                    rustls::Error::InconsistentKeys(_) => {
                        format!("the key in {} belongs to another certificate", key.display())
                    }
                    other => other.to_string(),
                };
                Failure::ours(RRError::Cert, format!("{}: {reason}", certificates.display()))
            })?;
        // The state of a session is in its ticket, encrypted by keys that change every few hours: nothing is kept here.
        config.ticketer =
            Ticketer::new().map_err(|error| Failure::ours(RRError::Tls, format!("no keys for tickets: {error}")))?;
        // TLS 1.3 sends tickets behind the handshake, where librtmp 2.4 takes one for an error. TLS 1.2 sends them within.
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }

    /// The same for peers that understand tickets of TLS 1.3, as browsers do.
    #[must_use]
    pub fn with_tls13_tickets(&self) -> Self {
        let mut config = (*self.0).clone();
        config.send_tls13_tickets = TLS13_TICKETS;
        Self(Arc::new(config))
    }

    pub(super) fn inner(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.0)
    }
}

/// Decides about a server's certificate: the chain, the pinned key, both, or (where the host said so) nothing.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates of `ca_file`: each is also trusted as a server's own certificate, even if it is marked as an
    /// authority's.
    named: Vec<CertificateDer<'static>>,
    pin: Option<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if let Some(pin) = self.pin {
            let key = ParsedCertificate::try_from(leaf)?.subject_public_key_info();
            if Sha256::digest(&key)[..] != pin {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(leaf, intermediates, name, ocsp, now) {
            // The dates are checked before this point, the name and the handshake's signature after it. A certificate
            // that the host named itself needs no issuer's signature.
            Err(error) if is_an_authoritys(&error) && self.named.contains(leaf) => {
                verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    // Whether the server has the key of its certificate is checked in every case.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate was refused because it is marked as an authority's and shown as a server's.
fn is_an_authoritys(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(reason) if marked_as_authority(reason))
}

/// [`is_an_authoritys`] for the reason only. The verifier's own errors have no type that could be named here.
pub(super) fn marked_as_authority(reason: &CertificateError) -> bool {
    matches!(reason, CertificateError::Other(reason) if reason.0.to_string() == "CaUsedAsEndEntity")
}

/// The cryptography provider, named at every use, because the host may have installed another one for the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn system_roots() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        let reason = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(Failure::ours(RRError::Cert, format!("this system has no root certificates{reason}")));
    }
    Ok(roots)
}

fn roots_of(file: &Path, certificates: &[CertificateDer<'static>]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(certificates.iter().cloned());
    if taken == 0 {
        return Err(Failure::ours(RRError::Cert, format!("{}: no certificate that can be a root", file.display())));
    }
    Ok(roots)
}

fn certificates_of(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let mut text = Vec::new();
    let read = File::open(file).and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut text));
    read.map_err(|error| of_file(file, &pem::Error::Io(error)))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        let reason =
            format!("{}: longer than {MAX_FILE_BYTES} bytes, which no file of certificates is", file.display());
        return Err(Failure::ours(RRError::Cert, reason));
    }
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<std::result::Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| of_file(file, &error))?;
    if certificates.is_empty() {
        return Err(Failure::ours(RRError::Cert, format!("{}: no certificate in it", file.display())));
    }
    Ok(certificates)
}

fn of_file(file: &Path, error: &pem::Error) -> Failure {
    Failure::ours(RRError::Cert, format!("{}: {error}", file.display()))
}

/// Decodes 32 bytes from hexadecimal or base64.
fn parse_pin(text: &str) -> Result<[u8; 32]> {
    let text = text.trim();
    let text = text.strip_prefix("sha256//").unwrap_or(text);
    let bytes = if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        (0..64).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
    } else {
        STANDARD.decode(text).ok()
    };
    bytes
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or_else(|| Failure::ours(RRError::Arg, "pin_sha256 must be 64 hexadecimal digits, or 32 bytes in base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_in_every_spelling() {
        let bytes: [u8; 32] = std::array::from_fn(|at| at as u8 * 7);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let base64 = STANDARD.encode(bytes);
        for text in [hex.clone(), hex.to_uppercase(), base64.clone(), format!("sha256//{base64}"), format!(" {hex}\n")]
        {
            assert_eq!(parse_pin(&text).unwrap(), bytes, "{text}");
        }
        for wrong in ["", "sha256//", "zz", &hex[1..], &base64[4..], "é"] {
            assert_eq!(parse_pin(wrong).unwrap_err().kind, RRError::Arg, "{wrong}");
        }
    }
}
