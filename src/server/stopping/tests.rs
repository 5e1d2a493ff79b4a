//! Stops that come to a server while it takes over.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::ServerConfig;
use crate::net::fd_channel::{FdChannel, Message};
use crate::server::tests::live::{Client, Live, until};
use crate::server::{Event, EventKind, RRServer, State, flag};
use crate::session::{self, SessionConfig};

/// Numbers of messages (`server/upgrade/wire.rs`).
const END: u8 = 2;
const READY: u8 = 3;

const WITHIN_MS: u32 = 30_000;

/// A publisher and a player of a server, which another one has taken over. That was told to stop as soon as the first one could no
/// longer go on, and before it had begun with anybody.
struct Taken {
    there: Live,
    publisher: Client,
    player: Client,
}

impl Taken {
    fn and_stopped_by(stop: impl FnOnce(&RRServer) + Send + 'static) -> Self {
        let (here, there) = (Live::new(ServerConfig::default()), Live::new(ServerConfig::default()));
        let able = SessionConfig { caps_ex: 1, ..SessionConfig::default() };
        let peer = |publishes| Client::configured(here.port, "show", publishes, &able).unwrap();
        let (mut publisher, mut player) = (peer(true), peer(false));
        publisher.key_frame(0, b"0").unwrap();
        player.message();
        let (old, of_old) = FdChannel::pair().unwrap();
        let (new, of_new) = FdChannel::pair().unwrap();
        let by_ms = clock::now_ms() + u64::from(WITHIN_MS);
        let stops = std::thread::scope(|scope| {
            let hands_over = scope.spawn(|| here.server.hand_over(of_old, WITHIN_MS, 0));
            let takes_over = scope.spawn(|| there.server.take_over(of_new, WITHIN_MS));
            let receive = |from: &FdChannel| from.receive(|_| usize::MAX, by_ms).unwrap().expect("it goes on");
            let send = |to: &FdChannel, message: &Message| {
                to.send(message.kind, &message.body, message.fd.as_ref().map(AsFd::as_fd), by_ms).unwrap();
            };
            send(&old, &receive(&new));
            let end = loop {
                let message = receive(&old);
                if message.kind == END {
                    break message;
                }
                send(&new, &message);
            };
            until("it has all the rest", || there.sessions() == 2);
            // Nobody begins before this is over.
            let checks = there.server.core.access.hold();
            send(&new, &end);
            let ready = receive(&new);
            assert_eq!(ready.kind, READY);
            send(&old, &ready);
            let server = Arc::clone(&there.server);
            let stops = std::thread::spawn(move || stop(&server));
            let core = &there.server.core;
            let stream = core.next_stream(0).expect("it has come").0;
            until("the stop has come", || {
                let is_noted = locked(&core.stopping.now).noted.is_some();
                is_noted || stops.is_finished() || stream.life().is_stopping()
            });
            drop(checks);
            assert_eq!(hands_over.join().unwrap(), Ok(()));
            assert_eq!(takes_over.join().unwrap(), Ok(()));
            stops
        });
        stops.join().unwrap();
        Self { there, publisher, player }
    }

    /// The session's events, once its last one is there.
    fn events_of(&self, peer: &Client) -> Vec<Event> {
        self.there.end_of(&peer.addr());
        let events = self.there.events_of(EventKind::Session).into_iter();
        events.filter(|event| event.addr == peer.addr().as_bytes()).collect()
    }

    /// Both have been told of, and have ended in order, as the server has.
    fn ends_in_order(mut self) {
        self.publisher.closed();
        self.player.closed();
        let is_told = |said: &session::Event| matches!(said, session::Event::Ended { .. });
        assert!(self.player.said.iter().any(is_told), "{:?}", self.player.said);
        for peer in [&self.publisher, &self.player] {
            let states: Vec<_> = self.events_of(peer).into_iter().map(|event| (event.prev, event.state)).collect();
            assert_eq!(states.first(), Some(&(State::None, State::Handshake)), "{states:?}");
        }
        until("the server has stopped", || self.there.server.state() == State::Stopped);
        let of_streams = self.there.events_of(EventKind::Stream);
        assert_eq!(of_streams.iter().filter(|event| event.flags & flag::LAST != 0).count(), 1);
    }
}

#[test]
fn who_was_taken_over_ends_in_order_where_a_stop_comes_meanwhile() {
    Taken::and_stopped_by(|server| server.stop(None, 5_000).unwrap()).ends_in_order();
}

#[test]
fn who_was_taken_over_is_sent_elsewhere_where_a_drain_comes_meanwhile() {
    const URL: &str = "rtmp://127.0.0.2/live";
    let mut taken = Taken::and_stopped_by(|server| server.stop(Some(URL), 600_000).unwrap());
    for peer in [&mut taken.publisher, &mut taken.player] {
        let is_sent =
            |said: &session::Event| matches!(said, session::Event::Reconnect { url: Some(url), .. } if url == URL);
        until("it is sent elsewhere", || {
            peer.turn(Duration::from_millis(5)).unwrap();
            peer.said.iter().any(is_sent)
        });
    }
    // Media goes on until they have left.
    taken.publisher.key_frame(40, b"1").unwrap();
    assert!(taken.player.message().1.ends_with(b"1"));
    let Taken { there, publisher, player } = taken;
    drop((publisher, player));
    until("the server has stopped", || there.server.state() == State::Stopped);
}

#[test]
fn who_was_taken_over_ends_in_order_where_a_shutdown_comes_meanwhile() {
    Taken::and_stopped_by(|server| server.shutdown().unwrap()).ends_in_order();
}

#[test]
fn several_stops_are_one_by_the_earliest_time() {
    let drain = |by_ms| Stop { by_ms, elsewhere: Some(Elsewhere { url: None }) };
    let stop = |by_ms| Stop { by_ms, elsewhere: None };
    let drains = drain(7).and(drain(9));
    assert!(drains.by_ms == 7 && drains.elsewhere.is_some());
    for both in [drain(9).and(stop(7)), stop(7).and(drain(9)), stop(9).and(drain(7))] {
        assert!(both.by_ms == 7 && both.elsewhere.is_none(), "{both:?}");
    }
}
