//! Settings of the controller: the program that is asked by HTTP where streams go next and where they come from.

use super::hooks::address;
use super::value::{Range, Setting, Value};
use crate::error::{Failure, RRError, Result};

/// Most controllers of one server, and few enough to stop at in a C list that lacks its NULL.
pub const MAX_CONTROLLERS: usize = 8;

/// Longest token, and longest address of this server.
const MAX_TEXT_BYTES: usize = 1_024;

/// Settings of the controller of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct ControllerConfig {
    /// Addresses of controllers, `http://host[:port][/path]` or https, without a slash at the end; asked in this order.
    pub urls: Vec<String>,
    /// Sent with each request as `Authorization: Bearer`; `None` sends no token.
    pub token: Option<String>,
    /// Signs each request (HMAC-SHA256); `None` signs none.
    pub secret: Option<Vec<u8>>,
    /// Roots that are trusted for https instead of the system's, a PEM file.
    pub ca_file: Option<String>,
    /// This server's address, as other servers dial it: `rtmp://host[:port]`.
    pub self_url: Option<String>,
    /// How long one controller may take to answer.
    pub timeout_ms: u32,
    /// The time from each heartbeat to the next one; `None`: no heartbeats.
    pub heartbeat_ms: Option<u32>,
    /// How long an answer without a `ttl_ms` of its own stays valid, for when no controller answers.
    pub cache_ms: u32,
    /// Most questions at one time; further ones wait, and the wait counts against their time.
    pub max_requests: u32,
}

impl Default for ControllerConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            token: None,
            secret: None,
            ca_file: None,
            self_url: None,
            timeout_ms: 2_000, // publishers and players wait for it, and a controller is usually near
            heartbeat_ms: Some(10_000), // after three missed ones, half a minute, a controller knows
            cache_ms: 300_000, // a controller that is redeployed is back within five minutes
            max_requests: 64,  // a rush of publishers after a restart is spread out
        }
    }
}

impl ControllerConfig {
    /// Sets the setting of this name.
    ///
    /// # Errors
    /// [`RRError::Arg`] with the name, what the setting may be, and why.
    pub fn set(&mut self, name: &str, value: Value<'_>) -> Result<()> {
        let default = Self::default();
        let given = Setting::new(name, value);
        match name {
            "urls" => self.urls = given.texts(MAX_CONTROLLERS)?.iter().map(|url| base(url)).collect::<Result<_>>()?,
            "token" => {
                self.token = given.owned_text()?;
                let good = |token: &String| {
                    (1..=MAX_TEXT_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
                };
                if self.token.as_ref().is_some_and(|token| !good(token)) {
                    return Err(given.refuse(&format!("has 1 to {MAX_TEXT_BYTES} visible ASCII characters")));
                }
            }
            "secret" => self.secret = given.bytes()?.filter(|secret| !secret.is_empty()),
            "ca_file" => self.ca_file = given.owned_text()?,
            "self_url" => self.self_url = given.text()?.map(|text| own(&given, text)).transpose()?,
            "timeout_ms" => {
                const TIMEOUT: Range =
                    Range::new(100, 30_000, "no controller answers in less, and no publisher waits much longer");
                self.timeout_ms = given.number(default.timeout_ms, TIMEOUT, None)?;
            }
            "heartbeat_ms" => {
                const HEARTBEAT: Range =
                    Range::new(1_000, 3_600_000, "more often is a flood, and more rarely tells nothing");
                self.heartbeat_ms = given.optional(default.heartbeat_ms, HEARTBEAT)?;
            }
            "cache_ms" => {
                const CACHE: Range = Range::new(1, 86_400_000, "an answer of a day ago is out of date");
                self.cache_ms = given.number(default.cache_ms, CACHE, Some(0))?;
            }
            "max_requests" => {
                const REQUESTS: Range = Range::new(1, 4_096, "each takes a descriptor of the process");
                self.max_requests = given.number(default.max_requests, REQUESTS, None)?;
            }
            _ => return Err(given.unknown("controller")),
        }
        Ok(())
    }

    /// The settings, if there is a controller to ask.
    ///
    /// # Errors
    /// [`RRError::Arg`] where there is no url.
    pub fn checked(self) -> Result<Self> {
        if self.urls.is_empty() {
            return Err(Failure::ours(RRError::Arg, "urls: a controller's address must be given"));
        }
        Ok(self)
    }
}

/// The address of a controller; the paths of its requests are appended to it.
fn base(text: &str) -> Result<String> {
    let given = Setting::new("urls", Value::Text(text));
    let url = address(&given)?.unwrap_or_default();
    if url.contains('?') {
        return Err(given.refuse("has a query, but the paths of requests are appended to the address"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// This server's own address.
fn own(given: &Setting<'_>, text: &str) -> Result<String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("rtmp", text));
    let known = scheme.eq_ignore_ascii_case("rtmp") || scheme.eq_ignore_ascii_case("rtmps");
    let rest = rest.trim_end_matches('/');
    let plain = rest.bytes().all(|byte| byte.is_ascii_graphic()) && !rest.contains(['/', '?', '#', '@']);
    if !known || rest.is_empty() || !plain || rest.len() > MAX_TEXT_BYTES {
        return Err(given.refuse(&format!("is \"{text}\", not an address like rtmp://10.0.0.5:1935")));
    }
    Ok(format!("{}://{rest}", scheme.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_controllers_and_of_ours_are_checked() {
        let urls = |url: &str| {
            let mut config = ControllerConfig::default();
            config.set("urls", Value::Texts(&[url.to_owned()])).map(|()| config.urls.concat())
        };
        assert_eq!(urls("http://127.0.0.1:8000/").unwrap(), "http://127.0.0.1:8000");
        assert_eq!(urls("HTTPS://host/relays").unwrap(), "https://host/relays");
        for wrong in ["", "ftp://host", "http://u:p@host/", "http://host/?a=1", "http://host/a b"] {
            assert_eq!(urls(wrong).unwrap_err().kind, RRError::Arg, "{wrong}");
        }
        let own = |text: &str| {
            let mut config = ControllerConfig::default();
            config.set("self_url", Value::Text(text)).map(|()| config.self_url.unwrap_or_default())
        };
        assert_eq!(own("10.0.0.5:1936").unwrap(), "rtmp://10.0.0.5:1936");
        assert_eq!(own("RTMPS://relay.example.com/").unwrap(), "rtmps://relay.example.com");
        for wrong in ["", "http://host", "rtmp://", "rtmp://host/app", "rtmp://u@host", "a b"] {
            assert_eq!(own(wrong).unwrap_err().kind, RRError::Arg, "{wrong}");
        }
        assert_eq!(ControllerConfig::default().checked().unwrap_err().kind, RRError::Arg);
        let mut config = ControllerConfig::default();
        for wrong in ["", "a b", "a\nb"] {
            assert_eq!(config.set("token", Value::Text(wrong)).unwrap_err().kind, RRError::Arg, "{wrong}");
        }
    }
}
