//! Connects the client to back ends. The tries of a name's addresses begin one after the other at short intervals, and the
//! first that connects wins ([`crate::net::addresses`]); one that has begun goes on as long as the request has time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::Uri;
use axum::http::uri::Scheme;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use super::names::Names;
use crate::net::addresses::{MAX_ADDRESSES, alternate, step_ms};

/// Makes the connections of a client.
#[derive(Clone, Debug)]
pub(super) struct Connector<R = GaiResolver> {
    names: Names<R>,
    /// The longest time of a request.
    timeout_ms: u64,
}

impl<R> Connector<R> {
    /// A connector to these names, for requests that take this long at most.
    pub(super) fn new(names: Names<R>, timeout_ms: u64) -> Self {
        Self { names, timeout_ms }
    }
}

impl<R> Connector<R>
where
    R: Service<Name, Error = io::Error> + Clone + Send + 'static,
    R::Response: Iterator<Item = SocketAddr> + Send + 'static,
    R::Future: Send + 'static,
{
    async fn connect(mut self, uri: Uri) -> io::Result<TcpStream> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let usual = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(usual);
        if let Ok(ip) = host.parse() {
            return race(vec![SocketAddr::new(ip, port)], self.timeout_ms).await;
        }
        let name = host.parse().map_err(io::Error::other)?;
        let found = self.names.call(name).await.map_err(|error| with(host, &error))?;
        let at_port = |mut address: SocketAddr| {
            address.set_port(port);
            address
        };
        race(found.take(MAX_ADDRESSES).map(at_port).collect(), self.timeout_ms).await
    }
}

impl<R> Service<Uri> for Connector<R>
where
    R: Service<Name, Error = io::Error> + Clone + Send + Sync + 'static,
    R::Response: Iterator<Item = SocketAddr> + Send + 'static,
    R::Future: Send + 'static,
{
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.names.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(uri).await.map(TokioIo::new) })
    }
}

/// Connects to the first of these addresses that accepts a connection.
async fn race(addresses: Vec<SocketAddr>, timeout_ms: u64) -> io::Result<TcpStream> {
    let step = Duration::from_millis(step_ms(timeout_ms, addresses.len()));
    let mut waiting = alternate(addresses);
    let mut running = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        running.extend(waiting.pop_front().map(|address| async move {
            TcpStream::connect(address).await.map_err(|error| with(&address.to_string(), &error))
        }));
        let ended = match waiting.is_empty() {
            true => running.next().await,
            false => match tokio::time::timeout(step, running.next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            },
        };
        match ended {
            Some(Ok(socket)) => return Ok(socket),
            Some(Err(error)) => last = error,
            None => return Err(last),
        }
    }
}

/// An error with what it is about.
fn with(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listener at this port of an address of loopback that accepts nothing more: its queue is full.
    fn silent(address: SocketAddr) -> (socket2::Socket, Vec<std::net::TcpStream>) {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&address.into()).unwrap();
        listener.listen(0).unwrap();
        let fills = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200));
        let queue = std::iter::from_fn(|| fills().ok()).collect();
        (listener, queue)
    }

    fn connector(
        addresses: Vec<SocketAddr>,
        timeout_ms: u64,
    ) -> Connector<
        impl Service<Name, Response = std::vec::IntoIter<SocketAddr>, Error = io::Error, Future: Send> + Clone + Send + Sync,
    > {
        let found = move |_| std::future::ready(Ok::<_, io::Error>(addresses.clone().into_iter()));
        Connector::new(Names::new(tower::service_fn(found), std::iter::empty()), timeout_ms)
    }

    fn connects(addresses: Vec<SocketAddr>, timeout_ms: u64) -> io::Result<SocketAddr> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let uri = format!("http://back.end:{}/", addresses.first().map_or(80, SocketAddr::port)).parse().unwrap();
        let mut connector = connector(addresses, timeout_ms);
        runtime.block_on(async { connector.call(uri).await?.inner().peer_addr() })
    }

    #[test]
    fn an_address_that_does_not_answer_leaves_time_for_the_next_ones_and_keeps_its_own() {
        let live = std::net::TcpListener::bind("127.0.0.3:0").unwrap();
        let port = live.local_addr().unwrap().port();
        let at = |last: u8| SocketAddr::from(([127, 0, 0, last], port));
        let queues: Vec<_> = [4, 5, 6].map(|last| silent(at(last))).into();
        assert_eq!(connects(vec![at(4), at(5), at(6), at(3)], 4_000).unwrap(), at(3));
        // The first one is slow: it accepts when the last one has had its turn, too.
        let slow = queues.into_iter().next().unwrap();
        let others: Vec<_> = [7, 8, 9].map(|last| silent(at(last))).into();
        let accepts = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1_500));
            (0..=slow.1.len()).map(|_| slow.0.accept().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(connects(vec![at(4), at(7), at(8), at(9)], 4_000).unwrap(), at(4));
        drop((accepts.join().unwrap(), others));
    }

    #[test]
    fn addresses_that_refuse_cost_nothing_and_are_named() {
        let live = std::net::TcpListener::bind("127.0.0.3:0").unwrap();
        let port = live.local_addr().unwrap().port();
        let at = |last: u8| SocketAddr::from(([127, 0, 0, last], port));
        // With an interval that the test would never see the end of.
        assert_eq!(connects(vec![at(4), at(5), at(3)], u64::from(u32::MAX)).unwrap(), at(3));
        let error = connects(vec![at(4), at(5)], 4_000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().starts_with(&at(5).to_string()), "{error}");
        assert_eq!(connects(Vec::new(), 4_000).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
