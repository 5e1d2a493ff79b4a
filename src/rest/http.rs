//! The REST side's listener: a thread of its own, of lower priority, with a current-thread runtime. Nothing here touches
//! media.
//!
//! DESIGN. `restThread` accepts, reads requests and runs handlers, all on one runtime. A handler only calls the
//! server's methods, which take a lock for a moment; no handler waits for a peer of the media side. [`Listener::stop`]
//! ends the accept loop; open requests go on for a short time.
//!
//! Bounds: the number of connections, the size of a head and of a body, and the time for each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::body;
use super::events::Readers;
use super::problem::Problem;
use crate::error::{Failure, RRError, Result};
use crate::net::heap;
use crate::server::RRServer;

/// Most connections at a time. Operators and scrapers are few; a page holds three or four.
pub(crate) const MAX_CONNECTIONS: usize = 128;

/// Largest head of a request, or of an answer to us, and most bytes that are read at once. The buffer for them has up to
/// twice this size.
pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Longest time for a head, and then for a body, to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 10 });

/// The system closes a connection whose peer takes nothing of an answer for this long; otherwise it would keep its
/// place for ever.
const WRITE_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// Longest time for open requests after the listener stops.
const STOP_TIMEOUT: Duration = Duration::from_millis(if cfg!(test) { 30_000 } else { 500 });

/// Stack of the thread, larger than on the media side, because handlers and JSON nest deeper.
pub(super) const STACK_BYTES: usize = 2 * 1024 * 1024;

/// How much higher the thread's nice value is than that of the thread that starts it. Where processors are few, threads
/// of media then run at once although many requests come, and a player's latency does not depend on them.
const NICE_ABOVE: i32 = 10;

/// A running listener of the REST side.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on `address` and serves `router` from then on.
    ///
    /// # Errors
    /// [`RRError::Io`] if the address cannot be bound, [`RRError::Limit`] if the process has no thread or fd left,
    /// [`RRError::NoMem`].
    pub(crate) fn start(address: SocketAddr, router: Router, server: Arc<RRServer>) -> Result<Self> {
        heap::room()?;
        let io = |error: std::io::Error| Failure::ours(RRError::Io, format!("{address}: {error}"));
        let socket = std::net::TcpListener::bind(address).map_err(io)?;
        socket.set_nonblocking(true).map_err(io)?;
        let address = socket.local_addr().map_err(io)?;
        let (stop, stopped) = watch::channel(false);
        let router = router.layer(Extension(Readers::new(Arc::clone(&server), stopped.clone())?));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| Failure::ours(RRError::Limit, format!("no runtime could be started: {error}")))?;
        let body = move || {
            crate::net::thread::block_signals();
            crate::net::thread::lower_priority(NICE_ABOVE);
            // Log records of handlers belong to the server.
            let _log = server.enter_log();
            runtime.block_on(async move {
                match TcpListener::from_std(socket) {
                    Ok(listener) => serve(listener, router, stopped).await,
                    Err(error) => log::error!("REST cannot listen: {error}"),
                }
            });
            // Connections that have not ended in time end with the runtime.
            runtime.shutdown_timeout(STOP_TIMEOUT);
        };
        let thread = crate::sync::spawn_with_stack("restThread", STACK_BYTES, body, |text| {
            log::error!("the REST thread panicked: {text}");
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// The address that the listener is bound to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the listener. Its thread, which lets open requests go on for a short time, is joined when it is dropped.
    pub(crate) fn stop(&self) {
        let _ = self.stop.send(true);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves connections until the listener stops, and then those that have a request, until their answers are sent or
/// `STOP_TIMEOUT` is over.
async fn serve(listener: TcpListener, router: Router, mut stopped: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = until_true(&mut stopped) => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((socket, permit)) = accepted else { continue };
        let service = TowerToHyperService::new(router.clone());
        let mut ending = stopped.clone();
        tokio::spawn(async move {
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
            let connection = http.serve_connection(TokioIo::new(socket), service).with_upgrades();
            tokio::pin!(connection);
            tokio::select! {
                // Errors need no handling here: hyper has answered, or the peer has gone.
                _ = connection.as_mut() => {}
                () = until_true(&mut ending) => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    // Connections run only as long as this function does.
    let _ = tokio::time::timeout(STOP_TIMEOUT, room.acquire_many(MAX_CONNECTIONS as u32)).await;
}

/// Waits until the flag is set, or its sender has gone.
pub(crate) async fn until_true(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|set| *set).await;
}

type Accepted = (tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit);

/// Accepts the next connection, once there is a free place.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, _)) => {
            let _ = SockRef::from(&socket).set_tcp_user_timeout(Some(WRITE_TIMEOUT));
            Some((socket, permit))
        }
        Err(error) => {
            log::warn!("REST cannot accept: {error}");
            // The usual cause is that no fd is left; one becomes free when a connection ends.
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

/// Reads the whole body, within the bounds of size and time, before the handler runs.
pub(crate) async fn whole_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(READ_TIMEOUT, body::whole(body)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Ok(Err(failure)) => match failure.kind {
            RRError::Limit => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, failure.kind, failure.text).into_response(),
            RRError::Protocol => Problem::new(StatusCode::BAD_REQUEST, failure.kind, failure.text).into_response(),
            _ => Problem::from(failure).into_response(),
        },
        Err(_) => {
            Problem::new(StatusCode::REQUEST_TIMEOUT, RRError::Timeout, "the body did not come in time").into_response()
        }
    }
}
