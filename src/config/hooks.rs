//! Settings of hooks: the back ends that are asked by HTTP whether a peer may connect, publish or play, and that are
//! told the outcome.

use super::value::{Choice, Range, Setting, Value};
use crate::error::{Failure, RRError, Result};

/// The protocol of a back end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// rrelay's own JSON.
    #[default]
    Json,
    /// The requests of nginx-rtmp's notify module, and its reading of the answers.
    Nginx,
}

impl Dialect {
    /// The numbers of the C API, and names.
    const CHOICES: [Choice<Self>; 2] = [(0, "json", Self::Json), (1, "nginx", Self::Nginx)];
}

/// Settings of the hooks of one server. A hook without a url asks and tells nobody.
#[derive(Clone, Debug, PartialEq)]
pub struct HooksConfig {
    /// Asked before a peer's `connect` is accepted.
    pub on_connect: Option<String>,
    /// Asked before a peer may publish.
    pub on_publish: Option<String>,
    /// Asked before a peer may play.
    pub on_play: Option<String>,
    /// Told once when a publish is over.
    pub on_publish_done: Option<String>,
    /// Told once when a play is over.
    pub on_play_done: Option<String>,
    /// Told at intervals while a session publishes or plays; its answer may end the session.
    pub on_update: Option<String>,
    /// Told of each state change of targets and sources.
    pub on_target_state: Option<String>,
    /// Signs each request (HMAC-SHA256); `None` signs none.
    pub secret: Option<Vec<u8>>,
    /// Roots that are trusted for https instead of the system's, a PEM file.
    pub ca_file: Option<String>,
    /// The protocol of the back end.
    pub dialect: Dialect,
    /// Fields go in the address, by GET, instead of in the body, by POST; only for nginx-rtmp's dialect.
    pub get: bool,
    /// A failed answer to `on_update`, or one of 3xx, ends the session, as with nginx-rtmp's notify_update_strict.
    pub strict_update: bool,
    /// A stream that is relayed by a redirect is named by the MD5 of its address, as with nginx-rtmp's
    /// notify_relay_redirect.
    pub relay_redirect: bool,
    /// A session is let in when its back end gives no valid answer; otherwise it is refused.
    pub fail_open: bool,
    /// How long a request may take until its answer has come.
    pub timeout_ms: u32,
    /// The time from a session's beginning to its first update, and from each answer to the next one; `None`: no updates.
    pub update_ms: Option<u32>,
    /// How long a failed notification is retried; 0: not at all.
    pub retry_ms: u32,
    /// Most requests of one hook at one time; further ones wait, and the wait counts against their time.
    pub max_requests: u32,
}

impl Default for HooksConfig {
    fn default() -> Self {
        Self {
            on_connect: None,
            on_publish: None,
            on_play: None,
            on_publish_done: None,
            on_play_done: None,
            on_update: None,
            on_target_state: None,
            secret: None,
            ca_file: None,
            dialect: Dialect::Json,
            get: false,
            strict_update: false,
            relay_redirect: false,
            fail_open: false,
            timeout_ms: 5_000, // a back end that needs longer is broken, and an encoder does not wait much longer
            update_ms: Some(30_000), // as nginx-rtmp has it
            retry_ms: 60_000,  // a back end that is redeployed is back within a minute
            max_requests: 256, // more would flood the back end, and each takes a descriptor
        }
    }
}

impl HooksConfig {
    /// Sets the setting of this name.
    ///
    /// # Errors
    /// [`RRError::Arg`] with the name, what the setting may be, and why.
    pub fn set(&mut self, name: &str, value: Value<'_>) -> Result<()> {
        let default = Self::default();
        let given = Setting::new(name, value);
        match name {
            "on_connect" => self.on_connect = address(&given)?,
            "on_publish" => self.on_publish = address(&given)?,
            "on_play" => self.on_play = address(&given)?,
            "on_publish_done" => self.on_publish_done = address(&given)?,
            "on_play_done" => self.on_play_done = address(&given)?,
            "on_update" => self.on_update = address(&given)?,
            "on_target_state" => self.on_target_state = address(&given)?,
            "secret" => self.secret = given.bytes()?.filter(|secret| !secret.is_empty()),
            "ca_file" => self.ca_file = given.owned_text()?,
            "dialect" => self.dialect = given.choice(default.dialect, "RR_HOOKS_*", &Dialect::CHOICES)?,
            "get" => self.get = given.flag(default.get)?,
            "strict_update" => self.strict_update = given.flag(default.strict_update)?,
            "relay_redirect" => self.relay_redirect = given.flag(default.relay_redirect)?,
            "fail_open" => self.fail_open = given.flag(default.fail_open)?,
            "timeout_ms" => {
                const TIMEOUT: Range =
                    Range::new(100, 60_000, "no back end answers in less, and no peer waits longer than a minute");
                self.timeout_ms = given.number(default.timeout_ms, TIMEOUT, None)?;
            }
            "update_ms" => {
                const UPDATE: Range =
                    Range::new(1_000, 86_400_000, "more often is a flood, and less than once a day is no update");
                self.update_ms = given.optional(default.update_ms, UPDATE)?;
            }
            "retry_ms" => {
                const RETRY: Range = Range::new(1, 3_600_000, "after an hour nobody waits for it any more");
                self.retry_ms = given.number(default.retry_ms, RETRY, Some(0))?;
            }
            "max_requests" => {
                const REQUESTS: Range = Range::new(1, 4_096, "each takes a descriptor of the process");
                self.max_requests = given.number(default.max_requests, REQUESTS, None)?;
            }
            _ => return Err(given.unknown("hooks")),
        }
        Ok(())
    }

    /// The settings, if they agree with each other.
    ///
    /// # Errors
    /// [`RRError::Arg`] where no hook has a url, [`RRError::Unsupported`] for what only nginx-rtmp's dialect has.
    pub fn checked(self) -> Result<Self> {
        if self.urls().iter().all(Option::is_none) {
            return Err(Failure::ours(RRError::Arg, "no hook has a url"));
        }
        let of_nginx =
            [("get", self.get), ("strict_update", self.strict_update), ("relay_redirect", self.relay_redirect)];
        if self.dialect != Dialect::Nginx
            && let Some((name, _)) = of_nginx.iter().find(|(_, set)| *set)
        {
            return Err(Failure::ours(RRError::Unsupported, format!("{name} is only for nginx-rtmp's dialect")));
        }
        Ok(self)
    }

    /// The urls of all hooks.
    pub fn urls(&self) -> [Option<&str>; 7] {
        [
            &self.on_connect,
            &self.on_publish,
            &self.on_play,
            &self.on_publish_done,
            &self.on_play_done,
            &self.on_update,
            &self.on_target_state,
        ]
        .map(Option::as_deref)
    }
}

/// The address of a back end.
pub(super) fn address(given: &Setting<'_>) -> Result<Option<String>> {
    let Some(text) = given.text()? else { return Ok(None) };
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => (scheme, rest),
        _ => ("http", text),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    if !known || authority.is_empty() {
        return Err(given.refuse(&format!("is \"{text}\", not an address like http://127.0.0.1:8000/path or https://")));
    }
    if authority.contains('@') {
        return Err(given.refuse("has a name or password in it: use a signature (secret) to show who asks"));
    }
    // The client would use port 80 or 443 in place of a port that is none.
    let (_, port) = authority.rsplit_once(']').unwrap_or(("", authority)).1.split_once(':').unwrap_or_default();
    let is_port = || port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if !port.is_empty() && !is_port() {
        return Err(given.refuse(&format!("has the port \"{port}\", which is none: 1 to 65535")));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
        return Err(given.refuse("has characters that an address cannot contain: percent-encode them"));
    }
    Ok(Some(format!("{}://{rest}", scheme.to_ascii_lowercase())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hooks_url_is_one_of_http() {
        let set = |text: &str| {
            let mut config = HooksConfig::default();
            config.set("on_play", Value::Text(text)).map(|()| config.on_play.unwrap_or_default())
        };
        assert_eq!(set("http://127.0.0.1:8000/on_play?x=1").unwrap(), "http://127.0.0.1:8000/on_play?x=1");
        assert_eq!(set("HTTPS://host").unwrap(), "https://host");
        assert_eq!(set("127.0.0.1/hook").unwrap(), "http://127.0.0.1/hook", "as nginx-rtmp takes it");
        assert_eq!(set("host:8000?to=http://a").unwrap(), "http://host:8000?to=http://a");
        for good in ["http://[::1]/", "http://[::1]:65535", "https://host:1/a:b", "http://host:/"] {
            assert_eq!(set(good).unwrap(), good);
        }
        for wrong in ["", "ftp://host/", "http:///path", "http://u:p@host/", "http://host/a b", "http://host/#a"] {
            assert_eq!(set(wrong).unwrap_err().kind, RRError::Arg, "{wrong}");
        }
        for wrong in ["http://host:65536/", "host:80a", "http://host:0", "http://[::1]:+80/", "http://host:-1?x"] {
            assert_eq!(set(wrong).unwrap_err().kind, RRError::Arg, "{wrong}");
        }
    }

    #[test]
    fn settings_that_would_do_nothing_are_refused() {
        assert_eq!(HooksConfig::default().checked().unwrap_err().kind, RRError::Arg);
        let with = |dialect| HooksConfig {
            on_play: Some("http://host/".to_owned()),
            get: true,
            dialect,
            ..HooksConfig::default()
        };
        assert_eq!(with(Dialect::Json).checked().unwrap_err().kind, RRError::Unsupported);
        assert!(with(Dialect::Nginx).checked().is_ok());
    }
}
