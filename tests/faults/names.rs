//! Targets given by name: names that change their address, and names with an address that does not answer.

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rrelay::config::{ServerConfig, TargetConfig};
use rrelay::error::RRError;
use rrelay::server::Event;
use rrelay::session::State;

use crate::cell::in_a_cell;
use crate::ingest::{Ingest, Script};
use crate::show::{Sender, gets};
use crate::{relay, soon, waits_for_target};

const NAME: &str = "ingest.test";

/// Messages that are enough to show that media flows.
const SOME: u32 = 60;

#[test]
fn a_name_that_changes_its_address_is_followed() {
    in_a_cell("names::a_name_that_changes_its_address_is_followed", |names| {
        let at = |address: &str, port: u16| Ingest::at(&format!("{address}:{port}"), |_| Script::default());
        let first = at("127.0.0.2", 0);
        names.lead(NAME, &["127.0.0.2"]);
        let relay = relay(ServerConfig::default(), |_| {});
        let stream = relay.server.stream_create(b"live", b"show", None).unwrap();
        let port = first.port;
        let target = relay.server.target_add(stream, soon(format!("rtmp://{NAME}:{port}/live/key"))).unwrap();
        let _show = Sender::host(&relay, stream, 1);
        gets(&first, 0, 1, SOME);
        assert_eq!(relay.server.info(target).unwrap().addr, format!("127.0.0.2:{port}"));

        // For a while the name does not exist.
        names.lead(NAME, &[]);
        drop(first);
        let unknown = |event: &Event| event.target == target && event.error == Some(RRError::Resolve);
        relay.event("a look-up that fails", unknown);
        let second = at("127.0.0.3", port);
        names.lead(NAME, &["127.0.0.3"]);
        assert!(gets(&second, 0, 1, SOME).begins_with_a_picture());
        assert_eq!(relay.server.info(target).unwrap().addr, format!("127.0.0.3:{port}"));
        assert_eq!(relay.server.stats(target).unwrap().connects, 2);
    });
}

/// A listener that takes no connection: its queue is full, so the kernel drops connection attempts without an answer.
struct Nowhere {
    listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Nowhere {
    fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
        socket.set_only_v6(true).unwrap();
        socket.bind(&"[::1]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queue: Vec<_> = std::iter::from_fn(knock).take(16).collect();
        assert!(queue.len() < 16, "the queue has no end");
        Self { listener, _queue: queue }
    }
}

#[test]
fn an_ipv6_address_that_leads_nowhere_costs_a_moment_and_no_timeout() {
    in_a_cell("names::an_ipv6_address_that_leads_nowhere_costs_a_moment_and_no_timeout", |names| {
        let nowhere = Nowhere::new();
        let port = nowhere.listener.local_addr().unwrap().port();
        let good = Ingest::at(&format!("127.0.0.1:{port}"), |_| Script::default());
        names.lead(NAME, &["::1", "127.0.0.1"]);
        let found: Vec<SocketAddr> = (NAME, port).to_socket_addrs().unwrap().collect();
        assert!(found.len() == 2 && found[0].is_ipv6(), "IPv6 is tried first: {found:?}");

        let relay = relay(ServerConfig::default(), |_| {});
        let stream = relay.server.stream_create(b"live", b"show", None).unwrap();
        let config = TargetConfig { connect_ms: 120_000, ..soon(format!("rtmp://{NAME}:{port}/live/key")) };
        let target = relay.server.target_add(stream, config).unwrap();
        let begun = Instant::now();
        let _show = Sender::host(&relay, stream, 1);
        waits_for_target(&relay, target, State::InProgress);
        let took = begun.elapsed();
        // The time-out of one address would be longer than this test waits for anything.
        assert!(took >= Duration::from_millis(250), "{took:?}");
        assert_eq!(relay.server.info(target).unwrap().addr, format!("127.0.0.1:{port}"));
        assert_eq!(relay.server.stats(target).unwrap().failures, 0, "it is no failure");
        assert!(gets(&good, 0, 1, SOME).begins_with_a_picture());
    });
}
