//! The HTTP client of hooks and of the controller: one request and one answer, over HTTP or HTTPS, within a time and a
//! size. Redirects are not followed.
//!
//! Each request has its own connection: the server might close a kept connection at the moment of the next request, and
//! a question is not asked twice. An answer is complete at the end of its head, or of its body if the caller wants the
//! body, whenever the server closes the connection.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION, USER_AGENT};
use axum::http::request::Builder;
use axum::http::{Request, Uri};
use hmac::{Hmac, Mac};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::TokioExecutor;
use sha2::Sha256;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::error::{Failure, RRError, Result};
use crate::net::tls::{ClientConfig, Trust};
use crate::rest::body;
use crate::rest::connector::Connector;
use crate::rest::http::MAX_HEAD_BYTES;
use crate::rest::names::Names;

/// The signature's header.
const SIGNATURE: &str = "x-rrelay-signature";

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// `Location`, if it is text.
    pub(super) location: Option<String>,
    /// Empty if it was not read.
    pub(super) body: Bytes,
}

type Http = hyper_util::client::legacy::Client<HttpsConnector<Connector>, Full<Bytes>>;

/// The purpose of a client, and its limits.
#[derive(Debug)]
pub(super) struct Use<'a> {
    /// The addresses to which it will send.
    pub(super) urls: Vec<&'a str>,
    /// Roots that are trusted for https instead of the system's.
    pub(super) ca_file: Option<&'a str>,
    /// Longest time of a request, until its answer has come.
    pub(super) timeout_ms: u32,
    /// Number of kinds of requests: each kind has its own places, so that a slow back end of one kind does not use up
    /// those of another.
    pub(super) kinds: usize,
    /// Most requests of one kind at a time.
    pub(super) max_requests: u32,
}

/// A place among the requests of a kind. A request is made only once it has one, so that what waits takes no memory.
#[derive(Debug)]
pub(super) struct Place<'a> {
    _free: SemaphorePermit<'a>,
    has_waited: bool,
    /// When the answer must have come.
    by: Instant,
}

/// The client of one set of hooks, or of a controller.
#[derive(Debug)]
pub(super) struct Client {
    http: Http,
    timeout: Duration,
    max_requests: u32,
    /// The free places of each kind of request.
    places: Vec<Arc<Semaphore>>,
}

impl Client {
    /// # Errors
    /// [`RRError::Arg`] for a malformed url, [`RRError::Cert`] if there is an https url and the roots cannot be read.
    pub(super) fn new(of: &Use<'_>) -> Result<Self> {
        let (mut secure, mut hosts) = (false, Vec::new());
        for url in &of.urls {
            let uri: Uri = url.parse().map_err(|error| Failure::ours(RRError::Arg, format!("{url}: {error}")))?;
            secure |= uri.scheme_str() == Some("https");
            hosts.extend(uri.host().map(str::to_owned));
        }
        // Roots are read only if they are needed.
        let insecure = !secure;
        let trust = Trust { ca_file: of.ca_file.map(Into::into), pin_sha256: None, insecure };
        let tls = (*ClientConfig::new(&trust)?.inner()).clone();
        let timeout = Duration::from_millis(of.timeout_ms.into());
        let names = Names::new(GaiResolver::new(), hosts.iter().map(String::as_str));
        let plain = Connector::new(names, of.timeout_ms.into());
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(plain);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .http1_title_case_headers(true)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build(connector);
        let places = (0..of.kinds).map(|_| Arc::new(Semaphore::new(of.max_requests as usize))).collect();
        Ok(Self { http, timeout, max_requests: of.max_requests, places })
    }

    /// When the answer to a request that begins now must have come.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Waits for a place of this kind. The time of the request runs already.
    ///
    /// # Errors
    /// [`RRError::Limit`] if there is none in that time.
    pub(super) async fn place(&self, kind: usize) -> Result<Place<'_>> {
        self.place_by(kind, self.deadline()).await
    }

    /// [`place`](Self::place) for a request that began before, with this [`deadline`](Self::deadline).
    ///
    /// # Errors
    /// As there.
    pub(super) async fn place_by(&self, kind: usize, by: Instant) -> Result<Place<'_>> {
        let places = self.places.get(kind).ok_or(RRError::Arg)?;
        match places.try_acquire() {
            Ok(free) => Ok(Place { _free: free, has_waited: false, by }),
            Err(_) => match tokio::time::timeout_at(by, places.acquire()).await {
                Ok(Ok(free)) => Ok(Place { _free: free, has_waited: true, by }),
                Ok(Err(_)) | Err(_) => Err(self.crowded()),
            },
        }
    }

    /// Sends a request at its place and reads the answer; the body only if the caller wants it. A status of 4xx counts
    /// without its body if that is not there in half of the time left.
    ///
    /// # Errors
    /// [`RRError::Limit`] if it waited for its place and so had too little time, or if there was no room for the answer
    /// among all that back ends are asked and answer; [`RRError::Timeout`] if the back end had the whole time,
    /// [`RRError::Connect`], [`RRError::Protocol`], the last also for an answer that is too long; [`RRError::NoMem`].
    pub(super) async fn send(
        &self,
        place: Place<'_>,
        mut request: Request<Bytes>,
        secret: Option<&[u8]>,
        whole: bool,
    ) -> Result<Reply> {
        if let Some(secret) = secret {
            let signature = signature(secret, &request);
            request.headers_mut().insert(SIGNATURE, signature);
        }
        let by = place.by;
        let late = |_| match place.has_waited {
            // The back end had only the rest of the time, which says nothing about it.
            true => Err(self.crowded()),
            false => Err(Failure::peers(RRError::Timeout, "the back end did not answer in time")),
        };
        tokio::time::timeout_at(by, self.exchange(request.map(Full::new), whole, by)).await.unwrap_or_else(late)
    }

    fn crowded(&self) -> Failure {
        let most = self.max_requests;
        let text = format!("all {most} places (max_requests) were taken for so long that too little time was left");
        Failure::ours(RRError::Limit, text)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, whole: bool, by: Instant) -> Result<Reply> {
        let answer = self.http.request(request).await.map_err(|error| {
            let kind = if error.is_connect() { RRError::Connect } else { RRError::Protocol };
            Failure::peers(kind, words(&error))
        })?;
        let status = answer.status().as_u16();
        let location =
            answer.headers().get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let read = async {
            body::answered(answer.into_body(), &body::BACK_ENDS).await.map_err(|failure| match failure.kind {
                RRError::NoMem => failure,
                RRError::Again => Failure::ours(RRError::Limit, failure.text),
                _ => Failure::peers(RRError::Protocol, format!("its answer: {}", failure.text)),
            })
        };
        let body = match status {
            _ if !whole => Bytes::new(),
            // The status denies, whatever becomes of the words.
            400..500 => {
                let now = Instant::now();
                let read = tokio::time::timeout_at(now + by.saturating_duration_since(now) / 2, read).await;
                read.ok().and_then(Result::ok).unwrap_or_default()
            }
            _ => read.await?,
        };
        Ok(Reply { status, location, body })
    }
}

/// The head of a request with a JSON object.
pub(super) fn post(url: &str) -> Builder {
    Request::post(url)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("rrelay/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
}

/// A failed request in words of a log line: who gave no valid answer is the back end, and none of the server's peers.
pub(super) fn of_back_end(failure: &Failure) -> String {
    match failure.kind {
        RRError::Protocol => format!("the back end gave no valid answer: {}", failure.text),
        _ => failure.to_string(),
    }
}

/// The text of an error and of its causes.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        text += ": ";
        text += &error.to_string();
        behind = error.source();
    }
    text
}

/// HMAC-SHA256 of the body, or if there is no body, of the address's query.
fn signature(secret: &[u8], request: &Request<Bytes>) -> HeaderValue {
    let signed = match request.body() {
        body if body.is_empty() => request.uri().query().unwrap_or_default().as_bytes(),
        body => body,
    };
    // HMAC accepts keys of any length.
    let mac = Hmac::<Sha256>::new_from_slice(secret).map(|mac| mac.chain_update(signed).finalize().into_bytes());
    let hex: String = mac.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("sha256={hex}")).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_body_or_of_the_query() {
        let of = |uri: &str, body: &'static str| {
            signature(b"key", &Request::post(uri).body(Bytes::from(body)).unwrap()).to_str().unwrap().to_owned()
        };
        // A well-known test vector.
        let fox = "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
        assert_eq!(of("http://host/", "The quick brown fox jumps over the lazy dog"), fox);
        assert_eq!(of("http://host/?a=1&b=2", ""), of("http://other/", "a=1&b=2"));
    }

    #[test]
    fn a_back_end_is_late_only_where_it_had_the_whole_time() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            // The first request is answered, the others are not.
            let mut open = Vec::new();
            for mut socket in listener.incoming().map_while(std::result::Result::ok) {
                let _ = std::io::Read::read(&mut socket, &mut [0; 4096]);
                if open.is_empty() {
                    let _ = std::io::Write::write_all(&mut socket, b"HTTP/1.0 204 No Content\r\n\r\n");
                }
                open.push(socket);
            }
        });
        let of = Use { urls: vec![&url], ca_file: None, timeout_ms: 2_000, kinds: 1, max_requests: 1 };
        let client = Client::new(&of).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ask = || async {
            let place = client.place(0).await?;
            client.send(place, post(&url).body(Bytes::from_static(b"{}")).unwrap(), None, true).await
        };
        runtime.block_on(async {
            let (first, second) = futures_util::future::join(ask(), ask()).await;
            assert_eq!(first.unwrap().status, 204);
            assert_eq!(second.unwrap_err().kind, RRError::Limit, "it waited for the first");
            assert_eq!(ask().await.unwrap_err().kind, RRError::Timeout);
        });
    }

    #[test]
    fn an_answer_without_room_among_those_of_all_back_ends_is_refused_in_words() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut socket in listener.incoming().map_while(std::result::Result::ok) {
                let _ = std::io::Read::read(&mut socket, &mut [0; 4096]);
                let answer = format!("HTTP/1.0 200 OK\r\n\r\n{}", "x".repeat(100_000));
                let _ = std::io::Write::write_all(&mut socket, answer.as_bytes());
            }
        });
        let of = Use { urls: vec![&url], ca_file: None, timeout_ms: 30_000, kinds: 1, max_requests: 1 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ask = || {
            runtime.block_on(async {
                let request = post(&url).body(Bytes::from_static(b"{}")).unwrap();
                let client = Client::new(&of).unwrap();
                client.send(client.place(0).await.unwrap(), request, None, true).await
            })
        };
        let _turn = crate::sync::locked(&body::TURNS);
        // Answers to other tests may be there for a moment.
        let others = loop {
            if let Ok(charge) = body::BACK_ENDS.charge((body::MAX_BACK_END_BYTES - 50_000) as u64) {
                break charge;
            }
        };
        let failure = ask().unwrap_err();
        assert_eq!((failure.kind, failure.by_peer), (RRError::Limit, false));
        assert!(failure.text.contains("back ends"), "{failure}");
        drop(others);
        assert_eq!(ask().unwrap().body.len(), 100_000);
    }
}
