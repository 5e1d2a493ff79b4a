//! Servers that pull the same stream from each other in a circle: no media runs in a circle, and a stream that is
//! published at one server reaches all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rrelay::config::{Decision, PublisherPolicy, ServerConfig, StreamConfig, ask};
use rrelay::error::RRError;
use rrelay::server::{EventKind, Id};
use rrelay::session::State;

use super::rig::{A_WHILE, Player, Publisher, React, Server, until};
use super::{is, source};

/// Servers, each of which pulls "ring" from the one before it and the first from the last. All pulls are connected
/// before any of them plays, so that none can know what another has done.
struct Ring {
    servers: Vec<Server>,
    sources: Vec<Id>,
}

impl Ring {
    fn of(size: usize) -> Self {
        let open = Arc::new(AtomicBool::new(false));
        let react = || -> React {
            let open = Arc::clone(&open);
            Box::new(move |server, event| {
                if event.kind == EventKind::PlayAsk && open.load(Ordering::Acquire) {
                    let _ = server.session_allow(event.session, Decision::default());
                }
            })
        };
        let config = || ServerConfig { ask: ask::PLAY, ..ServerConfig::default() };
        let servers: Vec<_> = (0..size).map(|_| Server::new(config(), react())).collect();
        let pull = |at: usize| {
            let stream = servers[at].stream("ring", StreamConfig::default());
            let from = &servers[(at + size - 1) % size];
            servers[at].server.source_add(stream, source(from.url("ring"), false)).unwrap()
        };
        let sources = (0..size).map(pull).collect();
        let asks: Vec<_> =
            servers.iter().map(|server| server.await_event("a pull asks", is(EventKind::PlayAsk))).collect();
        open.store(true, Ordering::Release);
        for (server, ask) in servers.iter().zip(asks) {
            server.server.session_allow(ask.session, Decision::default()).unwrap();
        }
        Self { servers, sources }
    }

    fn pulls(&self) -> impl Iterator<Item = (&Server, Id)> {
        self.servers.iter().zip(self.sources.iter().copied())
    }

    /// One pull is refused, again and again, and all others wait for media.
    fn is_cut_in_one_place(&self) -> bool {
        let waits = self.pulls().filter(|(server, id)| server.state_of(*id) == State::Waiting).count();
        let refused = |(server, id): &(&Server, Id)| {
            let info = server.server.info(*id).unwrap();
            info.state != State::Waiting && info.error == Some(RRError::Rejected)
        };
        waits == self.servers.len() - 1 && self.pulls().filter(refused).count() == 1
    }

    fn messages(&self) -> u64 {
        self.pulls().map(|(server, id)| server.server.stats(id).unwrap().msgs_in).sum()
    }
}

#[test]
fn a_circle_of_pulls_is_cut_in_one_place_and_feeds_all_wherever_somebody_publishes() {
    for size in [2, 3, 4] {
        let ring = Ring::of(size);
        for at in 0..size {
            until("the circle is cut", || ring.is_cut_in_one_place());
            let mut publisher = Publisher::of(&ring.servers[at], "ring");
            let mut players: Vec<_> = ring.servers.iter().map(|server| Player::of(server, "ring")).collect();
            let mut number = 0;
            until("all play it", || {
                publisher.sends(number);
                number += 1;
                players.iter_mut().for_each(Player::look);
                // What a server was told of its media's way may be older than the circle's cut; its pull then ends once
                // more.
                for (player, server) in players.iter_mut().zip(&ring.servers) {
                    if player.over.is_some() {
                        *player = Player::of(server, "ring");
                    }
                }
                players.iter().all(|player| player.frames.len() >= 5)
            });
            drop(publisher);
        }
        until("the circle is cut again", || ring.is_cut_in_one_place());
        let before = ring.messages();
        std::thread::sleep(A_WHILE);
        assert_eq!(ring.messages() - before, 0, "nothing goes round among {size} where nobody publishes");
    }
}

#[test]
fn a_source_that_stands_by_is_refused_what_its_own_stream_has_sent_out() {
    let (one, two) = (Server::plain(), Server::plain());
    let standby = StreamConfig { publisher_policy: PublisherPolicy::Standby, ..StreamConfig::default() };
    let mirror = one.stream("mirror", standby);
    let mut publisher = Publisher::of(&one, "mirror");
    let stands_by = one.server.source_add(mirror, source(two.url("mirror"), false)).unwrap();
    until("it stands by", || one.state_of(stands_by) == State::Waiting);
    let pulls = two
        .server
        .source_add(two.server.stream_create(b"live", b"mirror", None).unwrap(), source(one.url("mirror"), false));
    let mut number = 0;
    until("the other server has it", || {
        publisher.sends(number);
        number += 1;
        two.state_of(*pulls.as_ref().unwrap()) == State::InProgress
    });
    until("it may not", || one.server.info(stands_by).unwrap().error == Some(RRError::Rejected));
}
