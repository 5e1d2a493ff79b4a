//! `rtmp://` and `rtmps://` urls: where to dial, which application, which key.
//!
//! The key is bytes, never decoded or re-encoded: services put signed queries there. Logs show only the form of
//! [`RtmpUrl::masked`]. Names are not resolved here.

use crate::error::{Failure, RRError, Result};
use crate::mask::{hide_key, mask_key};

/// The longest url of a redirect, in bytes: the url is kept, told to the host, and sent in `connect`. Signed queries of
/// CDNs stay below 2 KiB.
const MAX_REFERENCE_BYTES: usize = 4_096;

/// A parsed url.
#[derive(Clone, PartialEq, Eq)]
pub struct RtmpUrl {
    /// `rtmps`.
    pub tls: bool,
    /// Name or address, an IPv6 one without its brackets.
    pub host: String,
    /// The port; without one in the url, 1935, or 443 with TLS.
    pub port: u16,
    /// The application: the first part of the path, or the whole path if the key was given separately.
    pub app: String,
    /// The stream key: all text after the application, including slashes and the query.
    pub key: Vec<u8>,
    /// The name before `@`.
    pub user: Option<String>,
    /// The password before `@`.
    pub password: Option<String>,
}

impl RtmpUrl {
    /// Appends arguments to the key's query.
    pub fn add_query(&mut self, query: &[u8]) {
        if !query.is_empty() {
            self.key.push(if self.key.contains(&b'?') { b'&' } else { b'?' });
            self.key.extend_from_slice(query);
        }
    }

    /// Parses `url`; with `key` the whole path is the application.
    ///
    /// # Errors
    /// [`RRError::Arg`] with the reason: the scheme, no host, a bad port, control characters.
    pub fn parse(url: &str, key: Option<&[u8]>) -> Result<Self> {
        let url = url.trim();
        if url.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return wrong("the url has a space or a control character");
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return wrong("the url must begin with rtmp:// or rtmps://");
        };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "rtmp" => false,
            "rtmps" => true,
            _ => return wrong("the url must begin with rtmp:// or rtmps://"),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        let (host, port) = host_and_port(address)?;
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (Some(user.to_owned()), Some(password.to_owned())),
            None => (None, None),
        };
        let (app, key) = match (key, path.split_once('/')) {
            (Some(key), _) => (path.trim_end_matches('/'), key.to_vec()),
            (None, Some((app, key))) => (app, key.as_bytes().to_vec()),
            (None, None) => (path, Vec::new()),
        };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: port.unwrap_or_else(|| default_port(tls)),
            app: app.to_owned(),
            key,
            user,
            password,
        })
    }

    /// The url of a redirect (`ex.redirect`, or the `tcUrl` of a reconnect request): an absolute url or a reference
    /// relative to ours (Enhanced RTMP, "Reconnect Request"). The key stays the same, and so does the login if the host
    /// is the same. A key that the server repeats at the end of the url is removed.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse).
    pub fn elsewhere(&self, reference: &str) -> Result<Self> {
        if reference.len() > MAX_REFERENCE_BYTES {
            return wrong("the url is longer than that of any server");
        }
        let reference = reference.trim();
        let scheme = if self.tls { "rtmps" } else { "rtmp" };
        let absolute = if reference.contains("://") {
            reference.to_owned()
        } else if reference.starts_with("//") {
            format!("{scheme}:{reference}")
        } else if reference.starts_with('/') {
            format!("{}{reference}", self.origin())
        } else {
            let folder = self.app.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{}/{folder}{}{reference}", self.origin(), if folder.is_empty() { "" } else { "/" })
        };
        let mut url = Self::parse(&absolute, Some(&self.key))?;
        let name = |key: &[u8]| key.split(|byte| *byte == b'?').next().unwrap_or_default().to_vec();
        if let Some((app, key)) = url.app.split_once('/')
            && !key.is_empty()
            && name(key.as_bytes()) == name(&self.key)
        {
            url.app = app.to_owned();
        }
        if url.user.is_none() && url.host == self.host {
            (url.user, url.password) = (self.user.clone(), self.password.clone());
        }
        Ok(url)
    }

    /// The url for `connect`: without login and key, and with the port only if it is not the default.
    pub fn tc_url(&self) -> String {
        format!("{}/{}", self.origin(), self.app)
    }

    /// The url for logs: with the key masked by [`mask_key`], no login, no query.
    pub fn masked(&self) -> String {
        // A redirect may have put the key anywhere.
        let app = hide_key(self.app.split('?').next().unwrap_or_default(), &self.key);
        let base = format!("{}/{app}", self.origin());
        if self.key.is_empty() { base } else { format!("{base}/{}", mask_key(&self.key)) }
    }

    fn origin(&self) -> String {
        let scheme = if self.tls { "rtmps" } else { "rtmp" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port(self.tls) {
            format!("{scheme}://{host}")
        } else {
            format!("{scheme}://{host}:{}", self.port)
        }
    }
}

/// Prints the masked url: debug prints end up in logs, which must not show logins and keys.
impl std::fmt::Debug for RtmpUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.masked())
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 1935 }
}

fn host_and_port(address: &str) -> Result<(&str, Option<u16>)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, after)) => match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return wrong("after the bracket of an IPv6 address only a colon and a port may follow"),
            },
            None => return wrong("an IPv6 address must be in brackets"),
        },
        None => match address.split_once(':') {
            Some((_, port)) if port.contains(':') => return wrong("an IPv6 address must be in brackets"),
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if host.is_empty() {
        return wrong("the url has no host");
    }
    match port {
        None | Some("") => Ok((host, None)),
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => Ok((host, Some(port))),
            _ => wrong("the port must be a number from 1 to 65535"),
        },
    }
}

fn wrong<T>(text: &'static str) -> Result<T> {
    Err(Failure::ours(RRError::Arg, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_is_the_first_part_and_the_key_is_all_the_rest_untouched() {
        let url = RtmpUrl::parse("rtmp://example.net/live/a/b%20?x=1/2&y", None).unwrap();
        assert_eq!(
            (url.tls, url.port, url.app.as_str(), url.key.as_slice()),
            (false, 1935, "live", &b"a/b%20?x=1/2&y"[..])
        );
        assert_eq!(url.tc_url(), "rtmp://example.net/live");
    }

    #[test]
    fn with_the_key_apart_the_whole_path_is_the_application() {
        let url = RtmpUrl::parse("rtmps://h:4433/a/b/", Some(b"k/\xff?z")).unwrap();
        assert_eq!((url.tls, url.port, url.app.as_str(), url.key.as_slice()), (true, 4433, "a/b", &b"k/\xff?z"[..]));
        assert_eq!(url.tc_url(), "rtmps://h:4433/a/b");
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets_and_keep_them_in_the_tc_url() {
        let url = RtmpUrl::parse("RTMP://[::1]:1936/live/k", None).unwrap();
        assert_eq!((url.host.as_str(), url.port), ("::1", 1936));
        assert_eq!(url.tc_url(), "rtmp://[::1]:1936/live");
        assert_eq!(RtmpUrl::parse("rtmps://[::1]/live", None).unwrap().port, 443);
    }

    #[test]
    fn a_login_is_kept_apart_and_neither_it_nor_the_key_is_shown() {
        let url = RtmpUrl::parse("rtmp://me:secret@h/live?token=t0k/verysecretkey", None).unwrap();
        assert_eq!(
            (url.user.as_deref(), url.password.as_deref(), url.host.as_str()),
            (Some("me"), Some("secret"), "h")
        );
        assert_eq!(url.tc_url(), "rtmp://h/live?token=t0k");
        assert_eq!(format!("{url:?}"), "rtmp://h/live/ver***");
    }

    #[test]
    fn a_redirect_leads_to_another_server_with_the_same_key() {
        let url = RtmpUrl::parse("rtmp://me:pw@h:1936/live/key?t=1", None).unwrap();
        let go = |reference: &str| {
            let url = url.elsewhere(reference).unwrap();
            assert_eq!(url.key, b"key?t=1");
            (url.tc_url(), url.user.is_some())
        };
        assert_eq!(go("rtmp://other/live2"), ("rtmp://other/live2".to_owned(), false));
        assert_eq!(go("rtmps://other/live2/key?t=1"), ("rtmps://other/live2".to_owned(), false));
        assert_eq!(go("rtmp://other/live2/inst"), ("rtmp://other/live2/inst".to_owned(), false));
        assert_eq!(go("//192.0.2.0/app"), ("rtmp://192.0.2.0/app".to_owned(), false));
        assert_eq!(go("/app"), ("rtmp://h:1936/app".to_owned(), true));
        assert_eq!(go("app"), ("rtmp://h:1936/app".to_owned(), true));
        assert!(url.elsewhere("http://other/live").is_err());
        assert!(url.elsewhere(&format!("rtmp://other/{}", "a".repeat(5_000))).is_err());
        let url = RtmpUrl::parse("rtmp://h/live/secretkey", None).unwrap();
        assert_eq!(url.elsewhere("rtmp://h/a/b/secretkey").unwrap().masked(), "rtmp://h/a/b/sec***/sec***");
    }

    #[test]
    fn a_malformed_url_is_refused_with_a_reason() {
        for text in [
            "",
            "example.net/live",
            "http://h/live",
            "rtmp:///live",
            "rtmp://h:0/l",
            "rtmp://h:99999/l",
            "rtmp://::1/l",
            "rtmp://[::1/l",
            "rtmp://[::1]x/l",
            "rtmp://h/a b",
        ] {
            let failure = RtmpUrl::parse(text, None).unwrap_err();
            assert_eq!(failure.kind, RRError::Arg, "{text}");
            assert!(!failure.text.is_empty());
        }
    }
}
