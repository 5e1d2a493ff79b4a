//! The facts in events that save a host from remembering them: the role and the stream of a session, even after its
//! publish or play, and a stream's tracks.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rrelay::config::ServerConfig;
use rrelay::server::{Event, EventKind, Level, LevelFilter, ListenOptions, RRServer, flag};
use rrelay::session::{Role, State};

use support::rml::{Client, key_frame, sequence_header};
use support::server::Relay;
use support::until;

fn of_session(event: &Event, role: Role, state: State) -> bool {
    event.kind == EventKind::Session && event.role == role && event.state == state
}

#[test]
fn every_event_of_a_session_says_its_role_and_stream_and_so_does_its_last_one() {
    let relay = Relay::new();
    let player = Client::play(relay.port, "show");
    let mut publisher = Client::publish(relay.port, "show");
    publisher.send(0, sequence_header(1));
    let running = |role| relay.event("it runs", |event| of_session(event, role, State::InProgress));
    let (publishes, plays) = (running(Role::Publisher), running(Role::Player));
    assert!(publishes.stream != 0 && publishes.stream == plays.stream);
    // A session that has unpublished belongs to no stream, and its events name its last one.
    publisher.stop_publishing();
    let rests = relay.event("it rests", |event| of_session(event, Role::Publisher, State::Idle));
    assert_eq!((rests.stream, relay.server.info(rests.session).unwrap().stream), (publishes.stream, 0));
    drop((player, publisher));
    for of in [publishes, plays] {
        let last = relay.event("it ends", |event| event.session == of.session && event.flags & flag::LAST != 0);
        assert_eq!((last.role, last.stream), (of.role, of.stream));
    }
}

#[test]
fn a_target_says_its_role_to_its_end() {
    let (relay, far) = (Relay::new(), Relay::new());
    let target = relay.push("show", far.url("show"));
    let mut publisher = Client::publish(relay.port, "show");
    publisher.send(0, sequence_header(1));
    publisher.send(0, key_frame(1));
    assert_eq!(relay.target_was(target, State::InProgress).role, Role::Target);
    relay.server.target_stop(target, 0).unwrap();
    assert_eq!(relay.target_was(target, State::Stopped).role, Role::Target);
}

#[test]
fn changed_tracks_are_reported_by_name() {
    let relay = Relay::new();
    let mut publisher = Client::publish(relay.port, "show");
    publisher.send_metadata("one encoder");
    publisher.send(0, sequence_header(1));
    let told = relay.event("the tracks are told", |event| event.kind == EventKind::Tracks);
    assert_eq!(String::from_utf8_lossy(&told.text), "avc1");
    // Neither other metadata nor another header of the same codec counts as a new track; H.265 does.
    publisher.send_metadata("other words");
    publisher.send(10, sequence_header(2));
    publisher.send(20, key_frame(1));
    publisher.send(30, vec![0x1c, 1, 0, 0, 0, 9]);
    let second = |event: &Event| event.kind == EventKind::Tracks && event.text != told.text;
    assert_eq!(String::from_utf8_lossy(&relay.event("the change is told", second).text), "hvc1");
    let count = relay.events().iter().filter(|event| event.kind == EventKind::Tracks).count();
    assert_eq!(count, 2);
}

#[test]
fn a_stream_names_its_codecs_and_its_consumers_report_their_position() {
    let (relay, far) = (Relay::new(), Relay::new());
    let target = relay.push("show", far.url("show"));
    let mut player = Client::play(relay.port, "show");
    let mut publisher = Client::publish(relay.port, "show");
    publisher.send(0, sequence_header(1));
    for number in 1..=25 {
        publisher.send(number * 40, key_frame(number));
    }
    player.wait("all of it", |player| player.video.last().is_some_and(|got| got.ts_ms == 1000));
    let stream = relay.server.info(relay.stream("show").unwrap()).unwrap();
    assert_eq!((stream.video_codec, stream.audio_codec), (u32::from_be_bytes(*b"avc1"), 0));
    let plays = relay.event("it plays", |event| of_session(event, Role::Player, State::InProgress));
    for consumer in [plays.session, target] {
        until("its figures say where it is", || {
            let stats = relay.server.stats(consumer).unwrap();
            (stats.last_ts_ms == 1000).then_some(())
        });
    }
}

#[test]
fn a_probe_is_worth_a_line_at_debug_and_lines_say_whether_an_event_tells_the_same() {
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let told = Arc::clone(&events);
    let keep = move |event: &Event| told.lock().unwrap().push(event.clone());
    let server = RRServer::new(ServerConfig::default(), LevelFilter::Debug, Some(Box::new(keep))).unwrap();
    let ports =
        [false, true].map(|proxy| server.listen("127.0.0.1:0", ListenOptions { proxy, ..ListenOptions::default() }));
    let line = |name: &str, words: &str| {
        until(words, || {
            let is = |event: &&Event| {
                let text = String::from_utf8_lossy(&event.text);
                event.kind == EventKind::Log && text.contains(name) && text.contains(words)
            };
            events.lock().unwrap().iter().find(is).cloned()
        })
    };
    for port in ports {
        let peer = TcpStream::connect(("127.0.0.1", port.unwrap())).unwrap();
        let name = peer.local_addr().unwrap().to_string();
        drop(peer);
        assert_eq!(line(&name, "left without sending anything").level, Level::Debug as u32);
        let loud = |event: &&Event| event.kind == EventKind::Log && event.level <= Level::Info as u32;
        assert_eq!(events.lock().unwrap().iter().filter(loud).count(), 0);
    }
    let mut peer = TcpStream::connect(("127.0.0.1", server.listen("127.0.0.1:0", ListenOptions::default()).unwrap()));
    let peer = peer.as_mut().unwrap();
    let name = peer.local_addr().unwrap().to_string();
    peer.write_all(&[b'G'; 64]).unwrap();
    let why = line(&name, "was closed because of the peer");
    assert_eq!((why.level, why.flags & flag::TOLD), (Level::Warn as u32, flag::TOLD));
}
