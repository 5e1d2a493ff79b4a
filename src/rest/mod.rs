//! RRRest: control by HTTP. Requests about streams, and the pages that existing tools read.
//!
//! A thin layer over the calls that the C API also uses: a handler converts, makes one call into `server`, and converts
//! back. No media passes here, and nothing listens until [`Rest::listen`]. Handlers run on one thread for each address
//! (`http`), or on the host's thread if the host has a web server and calls [`Rest::handle`].

mod access;
mod answer;
mod api;
mod body;
mod client;
mod connector;
mod controller;
#[cfg(test)]
mod document;
mod events;
mod hooks;
mod http;
mod metrics;
mod model;
mod modest;
mod names;
mod nginx;
mod noalbs;
mod page;
mod path;
mod problem;
mod request;
mod settings;
mod token;
mod worker;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Method, Request};
use tokio::sync::oneshot;
use tower::ServiceExt;

pub use self::token::token;

use crate::config::{ControllerConfig, HooksConfig};
use crate::error::{Failure, RRError, Result};
use crate::server::RRServer;
use crate::stream::event::Id;
use crate::sync::{locked, spawn_with_stack};

/// How soon whatever waits for another process's takeover looks whether it may go on; each pause is twice the one before.
const LOOK: Duration = Duration::from_millis(2);

/// The longest of these pauses: many may wait, and a takeover may take a minute.
const LOOK_MOST: Duration = Duration::from_millis(32);

/// The parts of the REST side that are open without a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestOptions {
    /// `/metrics`, `/stat` and `/noalbs` need no token, for readers that cannot send one.
    pub readers_open: bool,
    /// Metrics of streams and targets have application and key as labels.
    pub key_labels: bool,
}

/// An answer of [`Rest::handle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body's type.
    pub content_type: String,
    /// The body, as the routes made it, without a copy. Until it is dropped, it counts among the answers of the process
    /// that are in memory.
    pub body: Bytes,
}

/// The REST side of one server.
#[derive(Debug)]
pub struct Rest {
    server: Arc<RRServer>,
    listeners: Mutex<Vec<http::Listener>>,
    hooks: Mutex<Option<hooks::HooksThread>>,
    controller: Mutex<Option<controller::NextThread>>,
}

impl Rest {
    /// The REST side of `server`; nothing listens yet.
    pub fn new(server: Arc<RRServer>) -> Self {
        Self { server, listeners: Mutex::default(), hooks: Mutex::default(), controller: Mutex::default() }
    }

    /// Listens on `address`: "127.0.0.1:8080", `"[::1]:8080"`, "0.0.0.0:8080"; a port without an address ("8080",
    /// ":8080") means loopback. Returns the port. More calls add listeners, each with its own token.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a malformed address or token, [`RRError::Io`] if the system refuses the address,
    /// [`RRError::Limit`] if no thread or fd is left.
    pub fn listen(&self, address: &str, token: &str, options: RestOptions) -> Result<u16> {
        let address = parse_address(address)?;
        let access = access::Access::new(token, options.readers_open, address.ip().to_canonical().is_loopback())?;
        let router = api::guarded(Arc::clone(&self.server), access, options);
        let listener = http::Listener::start(address, router, Arc::clone(&self.server))?;
        let port = listener.address().port();
        locked(&self.listeners).push(listener);
        Ok(port)
    }

    /// Sets the hooks, or replaces them; `None` removes them. Publishes and plays that have begun are reported with the
    /// previous settings.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a malformed url, [`RRError::Cert`] for roots that cannot be read, [`RRError::Limit`] if no
    /// thread or fd is left; then the previous hooks stay.
    pub fn set_hooks(&self, config: Option<HooksConfig>) -> Result<()> {
        let mut place = locked(&self.hooks);
        match (config, place.as_ref()) {
            (Some(config), Some(running)) => running.change(config)?,
            (Some(config), None) => *place = Some(hooks::HooksThread::start(&self.server, config)?),
            (None, _) => {
                let before = place.take();
                // Its end waits for requests that are on their way.
                drop(place);
                drop(before);
            }
        }
        Ok(())
    }

    /// Sets the controllers that are asked where streams are pushed to and pulled from, or replaces them; `None`
    /// removes them.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a malformed url, [`RRError::Cert`] for roots that cannot be read, [`RRError::Limit`] if no
    /// thread or fd is left; then the previous controllers stay.
    pub fn set_controller(&self, config: Option<ControllerConfig>) -> Result<()> {
        let mut place = locked(&self.controller);
        match (config, place.as_ref()) {
            (Some(config), Some(running)) => running.change(config)?,
            (Some(config), None) => *place = Some(controller::NextThread::start(&self.server, config)?),
            (None, _) => {
                let before = place.take();
                // Its end waits for requests that are on their way.
                drop(place);
                drop(before);
            }
        }
        Ok(())
    }

    /// Asks the controller about a stream, with a word of the host as the reason. The answer comes as an event.
    ///
    /// # Errors
    /// [`RRError::Arg`] for an invalid word, [`RRError::NotFound`], [`RRError::State`] without a controller,
    /// [`RRError::Again`] if an earlier question has no answer yet.
    pub fn ask_controller(&self, stream: Id, why: &str) -> Result<()> {
        let place = locked(&self.controller);
        let no_controller = || Failure::ours(RRError::State, "there is no controller");
        place.as_ref().ok_or_else(no_controller)?.ask(&self.server, stream, why)
    }

    /// Ends all listeners; open requests get half a second.
    pub fn stop(&self) {
        let listeners = std::mem::take(&mut *locked(&self.listeners));
        // All are stopped before the first is waited for.
        listeners.iter().for_each(http::Listener::stop);
    }

    /// Answers one request for a host that has its own web server and has checked the request's access itself. The call
    /// waits as long as that takes, so an asynchronous host makes it where it may block (tokio's `spawn_blocking`).
    ///
    /// # Errors
    /// [`RRError::Arg`] for a malformed method or path, [`RRError::Limit`] for a body above 256 KiB, or if the process has
    /// no thread left in which an asynchronous host's request is carried out, [`RRError::NoMem`].
    pub fn handle(&self, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
        let arg = |text: String| Failure::ours(RRError::Arg, text);
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| arg("method: not an HTTP method".to_owned()))?;
        if body.len() > body::MAX_BYTES {
            return Err(Failure::ours(RRError::Limit, format!("body: at most {} bytes", body::MAX_BYTES)));
        }
        let mut owned = Vec::new();
        owned.try_reserve_exact(body.len()).map_err(|_| Failure::from(RRError::NoMem))?;
        owned.extend_from_slice(body);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(axum::http::header::CONTENT_TYPE, "application/json")
            .body(Body::from(owned))
            .map_err(|error| arg(format!("path: {error}")))?;
        let router = api::routes(Arc::clone(&self.server));
        if tokio::runtime::Handle::try_current().is_err() {
            return answered(router, request);
        }
        // The host is asynchronous: in its thread no second runtime can run.
        let (answers, mut answer) = oneshot::channel();
        let server = Arc::clone(&self.server);
        let body = move || {
            crate::net::thread::block_signals();
            let _log = server.enter_log();
            let _ = answers.send(answered(router, request));
        };
        let thread = spawn_with_stack("restCall", http::STACK_BYTES, body, |text| {
            log::error!("a request by a call panicked: {text}");
        })?;
        let _ = thread.join();
        answer.try_recv().unwrap_or_else(|_| Err(Failure::ours(RRError::Panic, "the request panicked")))
    }
}

/// The answer of these routes to one request.
fn answered(router: Router, request: Request<Body>) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Failure::ours(RRError::Limit, format!("no runtime could be started: {error}")))?;
    runtime.block_on(async {
        let response = match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (parts, body) = response.into_parts();
        let content_type = parts.headers.get(axum::http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        // Every answer by a call is in one piece, which is not copied here.
        let body = to_bytes(body, usize::MAX)
            .await
            .map_err(|error| Failure::ours(RRError::Panic, format!("the answer broke off: {error}")))?;
        Ok(Answer { status: parts.status.as_u16(), content_type, body })
    })
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.stop();
        let _ = self.set_hooks(None);
        let _ = self.set_controller(None);
    }
}

/// Begins changes, of a request or of an answer, as soon as it is known which process has the streams. Only their own
/// task waits for that: the thread goes on with its other tasks, and a change that is made as long as the result is
/// there waits for nothing.
async fn begun(server: &RRServer) -> impl Sized {
    let mut pause = LOOK;
    loop {
        if let Some(begun) = server.begin_request() {
            return begun;
        }
        tokio::time::sleep(pause).await;
        pause = LOOK_MOST.min(pause * 2);
    }
}

/// Parses an address to listen on; a port without an address means loopback.
fn parse_address(text: &str) -> Result<SocketAddr> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse().map_err(|_| {
        Failure::ours(RRError::Arg, format!("{text}: not an address like 127.0.0.1:8080, [::1]:8080 or :8080"))
    })
}

#[cfg(test)]
mod tests;
