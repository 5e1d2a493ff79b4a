//! Players over HTTP go on in another server in the middle of a tag, in each form of the answer.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/http.rs"]
mod http;
#[path = "support/live.rs"]
mod live;
#[path = "support/moving.rs"]
mod moving;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/raw.rs"]
mod raw;

use std::sync::Arc;

use http::{Http, Way};
use live::{Live, until};
use moving::picture;
use rrelay::config::{ServerConfig, StreamConfig};
use rrelay::proto::message::kind;
use rrelay::server::{Event, EventKind, Id, ListenOptions};
use rrelay::session::{Role, State};

struct Server {
    live: Live,
    http: u16,
}

impl Server {
    fn new() -> Self {
        let stream = StreamConfig { queue_bytes: 64 << 20, queue_ms: 600_000, ..StreamConfig::default() };
        let config = ServerConfig { stream: Arc::new(stream), send_ms: 600_000, ping_ms: 0, ..ServerConfig::default() };
        let live = Live::new(config);
        let options = ListenOptions { http: true, ..ListenOptions::default() };
        let http = live.server.listen("127.0.0.1:0", options).unwrap();
        Self { live, http }
    }

    fn stream(&self) -> Id {
        self.live.server.stream_find(b"live", b"show").unwrap()
    }

    /// The stream with all who are on it goes to another server.
    fn moves_to(&self, there: &Self) {
        moving::all(&self.live.server, &there.live.server, self.stream());
    }

    /// A player over HTTP that is on the stream, and takes little before it reads.
    fn player(&self, way: Way, target: &str) -> Http {
        let player = Http::ask_for(self.http, way, target);
        socket2::SockRef::from(&player.socket).set_recv_buffer_size(256 << 10).unwrap();
        let addr = player.socket.local_addr().unwrap().to_string();
        let is_it = |event: &Event| event.role == Role::Player && event.addr == addr.as_bytes();
        until("it plays", || {
            let plays = |event: &Event| is_it(event) && matches!(event.state, State::Waiting | State::InProgress);
            self.live.events_of(EventKind::Session).iter().any(plays)
        });
        player
    }
}

/// Reads the next picture, and notes its number and its time.
fn next_picture(player: &mut Http, pictures: &mut Vec<(u32, u32)>) {
    let tag = loop {
        let Some(tag) = player.next() else { panic!("only {pictures:?} have come, in {} bytes", player.received) };
        if tag.type_id == kind::VIDEO && tag.body[1] == 1 {
            break tag;
        }
    };
    let number = u32::from_be_bytes(tag.body[5..9].try_into().unwrap());
    assert!(tag.body == picture(number, tag.body.len() - 9), "{number} has changed");
    pictures.push((number, tag.ts_ms));
}

#[test]
fn players_over_http_that_move_get_each_message_once_and_whole() {
    let servers = [Server::new(), Server::new()];
    let mut publisher = servers[0].live.publish("show");
    // A browser waits for sound and pictures.
    publisher.send(kind::VIDEO, 0, &[0x17, 0, 0, 0, 0, 1, 66, 0, 30]).unwrap();
    publisher.send(kind::AUDIO, 0, b"\xaf\0\x12\x10").unwrap();
    publisher.send(kind::VIDEO, 0, &picture(0, 50_000)).unwrap();
    publisher.send(kind::AUDIO, 0, b"\xaf\x01sound").unwrap();
    // Of each form one that reads a little, one that reads nothing, and one in a browser.
    let mut players = Vec::new();
    for way in Way::ALL {
        for target in ["/live/show.flv", "/live/show.flv", "/live/show.flv?for=browser"] {
            players.push((servers[0].player(way, target), Vec::new()));
        }
    }
    let mut sent = 1;
    for turn in 0..6 {
        for _ in 0..20 {
            publisher.send(kind::VIDEO, sent * 10, &picture(sent, 50_000)).unwrap();
            sent += 1;
        }
        // They come to be in the middle of some tag.
        for (player, pictures) in players.iter_mut().step_by(3) {
            (0..10).for_each(|_| next_picture(player, pictures));
        }
        servers[turn % 2].moves_to(&servers[(turn + 1) % 2]);
    }
    publisher.send(kind::VIDEO, sent * 10, &picture(sent, 10)).unwrap();
    let all: Vec<_> = (0..=sent).map(|number| (number, number * 10)).collect();
    for (at, (player, pictures)) in players.iter_mut().enumerate() {
        while pictures.last() != all.last() {
            next_picture(player, pictures);
        }
        assert_eq!(*pictures, all, "player {at}");
        assert_eq!(player.head.matches("HTTP/1.1").count(), 1, "{}", player.head);
    }
    // The answers end as those of any stream.
    servers[0].live.server.stream_stop(servers[0].stream(), 60_000).unwrap();
    for (at, (player, _)) in players.iter_mut().enumerate() {
        assert_eq!(player.rest(), []);
        assert_eq!(player.ended, at >= 3, "player {at}: without a framing the connection's end is the end");
    }
}

#[test]
fn a_player_over_http_goes_on_elsewhere_before_its_stream_begins() {
    let servers = [Server::new(), Server::new()];
    for way in Way::ALL {
        let mut publisher = servers[0].live.publish("show");
        let mut player = servers[0].player(way, "/live/show.flv");
        servers[0].moves_to(&servers[1]);
        publisher.key_frame(0, b"first").unwrap();
        assert_eq!(player.frame().body, b"\x17\x01\0\0\0first");
        assert!(player.head.contains(" 200 OK\r\n") || player.head.contains(" 101 Switching"), "{}", player.head);
        servers[1].live.server.stream_stop(servers[1].stream(), 0).unwrap();
        until("it has ended", || servers[1].live.server.stream_find(b"live", b"show").is_err());
    }
}
