//! Access to the REST side: the bearer token, and the refusal of requests that browsers send for other pages.
//!
//! A page of another origin can neither read answers nor send the token. Two attacks remain and are refused here: the
//! check of `Host` refuses a foreign name that resolves to this machine (DNS rebinding), and the check of `Origin` a
//! form on another page.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use super::token;
use crate::error::RRError;

/// The access rules of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// SHA-256 of the token: comparing hashes reveals nothing about the token's length.
    token: [u8; 32],
    /// `/metrics` and `/stat` need no token.
    readers_open: bool,
    /// The listener is bound to loopback, so honest clients use only the machine's own names.
    loopback: bool,
}

impl Access {
    /// # Errors
    /// [`RRError::Arg`] if the token is malformed.
    pub(crate) fn new(token: &str, readers_open: bool, loopback: bool) -> crate::error::Result<Self> {
        token::check(token)?;
        Ok(Self { token: digest(token), readers_open, loopback })
    }

    /// Lets a request in, or gives the refusal.
    pub(crate) fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let host = host_of(uri, headers).ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                RRError::Arg,
                "the request has no Host header, or one that is no host",
            )
        })?;
        if self.loopback && !is_this_machine(&host) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                RRError::Rejected,
                "this listener serves this machine alone: use 127.0.0.1, [::1] or localhost as the host",
            ));
        }
        // A page of another origin could read what comes over a WebSocket.
        let reads =
            matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !headers.contains_key(header::UPGRADE);
        if !reads && !same_origin(headers) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                RRError::Rejected,
                "the request comes from a page of another origin",
            ));
        }
        if is_public(uri.path()) || (self.readers_open && is_reader(uri.path())) {
            return Ok(());
        }
        let given = bearer(headers).or_else(|| query_token(uri));
        match given {
            Some(given) if bool::from(digest(&given).ct_eq(&self.token)) => Ok(()),
            Some(_) => Err(refused("the token is wrong")),
            None => Err(refused("send the token as `Authorization: Bearer TOKEN`")),
        }
    }
}

/// Restricts what browsers do with an answer: they do not guess its type, do not run or frame it, do not send its
/// address to others, and do not give it to other pages.
pub(crate) fn harden(headers: &mut HeaderMap) {
    let policy = headers.entry(header::CONTENT_SECURITY_POLICY);
    policy.or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
}

fn refused(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, RRError::Auth, detail)
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Whether a path needs no token, because it shows nothing about streams.
fn is_public(path: &str) -> bool {
    matches!(path, "/" | "/healthz" | "/readyz") || path.starts_with("/page/")
}

/// Whether a path serves programs that cannot send a header.
fn is_reader(path: &str) -> bool {
    matches!(path, "/metrics" | "/stat" | "/noalbs")
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// The token of `?token=`, accepted only for `/metrics`, `/stat` and `/noalbs`, because urls end up in the logs of
/// proxies.
fn query_token(uri: &Uri) -> Option<String> {
    if !is_reader(uri.path()) {
        return None;
    }
    let pair = uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    percent_encoding::percent_decode_str(pair).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// The host that the request names, without a port.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let named = match uri.authority() {
        Some(authority) => authority.host().to_owned(),
        None => {
            let mut hosts = headers.get_all(header::HOST).iter();
            let host = hosts.next()?.to_str().ok()?;
            if hosts.next().is_some() {
                return None;
            }
            host.parse::<axum::http::uri::Authority>().ok()?.host().to_owned()
        }
    };
    Some(named.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase())
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether the request is not from a page of another origin: a browser sent it from our own page, or it is not from a
/// browser. Current browsers say so in a header that pages cannot set (Fetch Metadata); that also works if a web server
/// before us has another name than the one in `Host`.
fn same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let origin = origin.to_str().unwrap_or_default();
    origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(access: &Access, method: Method, target: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        access.check(&method, &target.parse().unwrap(), &map).err().map_or(200, |problem| problem.status)
    }

    #[test]
    fn only_the_token_opens_paths_that_show_streams() {
        let access = Access::new("secret-token", false, true).unwrap();
        let host = ("host", "127.0.0.1:8080");
        let streams = |auth: &str| ask(&access, Method::GET, "/v1/streams", &[host, ("authorization", auth)]);
        assert_eq!(streams("Bearer secret-token"), 200);
        assert_eq!(streams("bearer  secret-token "), 200);
        for wrong in ["Bearer secret-toke", "Bearer secret-token2", "Bearer ", "Basic secret-token", "secret-token"] {
            assert_eq!(streams(wrong), 401, "{wrong}");
        }
        assert_eq!(ask(&access, Method::GET, "/v1/streams", &[host]), 401);
        assert_eq!(ask(&access, Method::GET, "/v1/streams?token=secret-token", &[host]), 401);
        assert_eq!(ask(&access, Method::GET, "/metrics?token=secret-token", &[host]), 200);
        assert_eq!(ask(&access, Method::GET, "/stat?a=b&token=secret%2Dtoken", &[host]), 200);
        assert_eq!(ask(&access, Method::GET, "/stat", &[host]), 401);
        assert_eq!(ask(&access, Method::GET, "/healthz", &[host]), 200);
        let open = Access::new("secret-token", true, true).unwrap();
        assert_eq!(ask(&open, Method::GET, "/stat", &[host]), 200);
        assert_eq!(ask(&open, Method::GET, "/v1/stats", &[host]), 401);
    }

    #[test]
    fn rebound_names_and_requests_of_other_pages_are_refused() {
        let access = Access::new("secret-token", false, true).unwrap();
        let auth = ("authorization", "Bearer secret-token");
        let get = |host: &str| ask(&access, Method::GET, "/v1/streams", &[("host", host), auth]);
        for host in ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "127.0.0.2"] {
            assert_eq!(get(host), 200, "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "10.0.0.1", "localhost.evil.example"] {
            assert_eq!(get(host), 403, "{host}");
        }
        assert_eq!(ask(&access, Method::GET, "/v1/streams", &[auth]), 400);
        assert_eq!(ask(&access, Method::GET, "/v1/streams", &[auth, ("host", "localhost"), ("host", "a")]), 400);
        let far = Access::new("secret-token", false, false).unwrap();
        assert_eq!(ask(&far, Method::GET, "/v1/streams", &[("host", "relay.example"), auth]), 200);
        let post = |origin: &str| {
            ask(&access, Method::POST, "/v1/drain", &[("host", "localhost:8080"), auth, ("origin", origin)])
        };
        assert_eq!(post("http://localhost:8080"), 200);
        for origin in ["http://evil.example", "null", "http://localhost:8081", ""] {
            assert_eq!(post(origin), 403, "{origin}");
        }
        let fetched = |site: &str, origin: &str| {
            let headers = [("host", "127.0.0.1:8080"), auth, ("origin", origin), ("sec-fetch-site", site)];
            ask(&access, Method::POST, "/v1/drain", &headers)
        };
        assert_eq!(fetched("same-origin", "https://relay.example"), 200, "a web server stands before it");
        for site in ["cross-site", "same-site", ""] {
            assert_eq!(fetched(site, "http://127.0.0.1:8080"), 403, "{site}");
        }
    }
}
