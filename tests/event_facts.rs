//! What events say of those they are about, so that a host need not remember anything: the role and the stream of a
//! session, also when that is over, and a stream's tracks.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use rrelay::session::{Role, State};
use rrelay::stream::event::{Event, EventKind, flag};

use support::rml::{Client, key_frame, sequence_header};
use support::server::Relay;

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
    // One that has unpublished belongs to no stream, and its events say of which it was.
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
fn tracks_are_told_when_they_are_others_and_named() {
    let relay = Relay::new();
    let mut publisher = Client::publish(relay.port, "show");
    publisher.send_metadata("one encoder");
    publisher.send(0, sequence_header(1));
    let told = relay.event("the tracks are told", |event| event.kind == EventKind::Tracks);
    assert_eq!(String::from_utf8_lossy(&told.text), "avc1");
    // Neither other metadata nor another header of the same codec is another track; H.265 is.
    publisher.send_metadata("other words");
    publisher.send(10, sequence_header(2));
    publisher.send(20, key_frame(1));
    publisher.send(30, vec![0x1c, 1, 0, 0, 0, 9]);
    let second = |event: &Event| event.kind == EventKind::Tracks && event.text != told.text;
    assert_eq!(String::from_utf8_lossy(&relay.event("the change is told", second).text), "hvc1");
    let count = relay.events().iter().filter(|event| event.kind == EventKind::Tracks).count();
    assert_eq!(count, 2);
}
