//! A stream whose thread panics is FAILED; its peers are closed, everything else lives, and it can be started again.

use std::io::Write;
use std::sync::Arc;

use super::live::{Client, Live, command, until};
use crate::config::{ServerConfig, StreamConfig};
use crate::error::RRError;
use crate::proto::amf0::Value;
use crate::server::slots::kind;
use crate::session::State;
use crate::stream::RRStream;
use crate::stream::event::{EventKind, flag};
use crate::stream::fault_injection::In;

fn stream(live: &Live, key: &str) -> Arc<RRStream> {
    live.server.stream(live.server.stream_find(b"live", key.as_bytes()).unwrap()).unwrap()
}

fn a_panic_in(thread: In, config: ServerConfig) {
    let live = Live::new(config);
    let mut publisher = live.publish("show");
    let mut players = [live.play("show"), live.play("show")];
    let mut other_publisher = live.publish("other");
    let mut other_player = live.play("other");
    publisher.key_frame(0, b"0").unwrap();
    other_publisher.key_frame(0, b"0").unwrap();
    players.iter_mut().for_each(|player| drop(player.message()));
    other_player.message();

    let failed = stream(&live, "show");
    failed.fault_injection().set(thread);
    failed.wake_accumulate();
    failed.wake_relays();
    if matches!(thread, In::MediaTurn) {
        // It comes with media, once the relay's thread sleeps.
        until("it fails", || publisher.key_frame(40, b"1").is_err());
    }
    publisher.closed();
    players.iter_mut().for_each(Client::closed);
    until("the ids end", || live.server.stream(failed.id()).is_err() && live.sessions() == 2);
    let of_it = || -> Vec<_> {
        live.events_of(EventKind::Stream).into_iter().filter(|event| event.stream == failed.id()).collect()
    };
    // The host's thread takes events in its own time.
    until("the last event", || of_it().iter().any(|event| event.flags & flag::LAST != 0));
    let of_it = of_it();
    let told = of_it.iter().find(|event| event.state == State::Failed).expect("FAILED is told");
    assert_eq!(told.error, Some(RRError::Panic));
    assert!(String::from_utf8_lossy(&told.text).contains("injected in"), "{told:?}");
    let last = of_it.iter().filter(|event| event.flags & flag::LAST != 0).count();
    assert_eq!(last, 1, "the stream's id ends once: {of_it:#?}");
    for addr in [publisher.addr(), players[0].addr(), players[1].addr()] {
        let end = live.end_of(&addr);
        assert_eq!((end.error, end.state), (Some(RRError::Panic), State::Failed));
    }
    live.line_with(&["stream failed", "injected in"]);

    // All else lives, and the name is free.
    other_publisher.key_frame(40, b"1").unwrap();
    assert!(other_player.message().1.ends_with(b"1"));
    let mut publisher = live.publish("show");
    let mut player = live.play("show");
    publisher.key_frame(0, b"again").unwrap();
    assert!(player.message().1.ends_with(b"again"));
    assert_ne!(stream(&live, "show").id(), failed.id());
    assert_eq!(live.server.list(0, kind::STREAM).unwrap().len(), 2);
}

fn on_a_shared_loop() -> ServerConfig {
    ServerConfig { threads: Some(1), ..ServerConfig::default() }
}

fn with_two_relays() -> ServerConfig {
    let stream = StreamConfig { relay_threads: Some(2), ..StreamConfig::default() };
    ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() }
}

#[test]
fn a_panic_in_accumulate_fails_only_that_stream() {
    a_panic_in(In::Accumulate, ServerConfig::default());
}

#[test]
fn a_panic_in_the_relay_fails_only_that_stream() {
    a_panic_in(In::Relay(0), ServerConfig::default());
}

#[test]
fn a_panic_in_accumulate_while_it_sends_for_the_relay_fails_only_that_stream() {
    a_panic_in(In::MediaTurn, ServerConfig::default());
}

#[test]
fn a_panic_in_accumulate_fails_only_that_stream_also_on_a_shared_loop() {
    a_panic_in(In::Accumulate, on_a_shared_loop());
}

#[test]
fn a_panic_in_the_relay_fails_only_that_stream_also_on_a_shared_loop() {
    a_panic_in(In::Relay(0), on_a_shared_loop());
}

#[test]
fn a_panic_in_either_of_two_relays_fails_only_that_stream() {
    a_panic_in(In::Relay(0), with_two_relays());
    a_panic_in(In::Relay(1), with_two_relays());
}

#[test]
fn a_connection_that_plays_two_streams_loses_only_the_failed_one() {
    let live = Live::new(ServerConfig::default());
    let (mut show, mut other) = (live.publish("show"), live.publish("other"));
    show.key_frame(0, b"0").unwrap();
    other.key_frame(0, b"0").unwrap();
    let mut player = live.play("show");
    assert_eq!(player.message().0.stream_id, 1);
    let more = [
        command(0, "createStream", 20.0, &[Value::Null]),
        command(2, "play", 21.0, &[Value::Null, Value::String(b"other")]),
    ];
    player.socket.write_all(&more.concat()).unwrap();
    assert_eq!(player.message().0.stream_id, 2, "its connection is with the other stream's relay");

    let failed = stream(&live, "show");
    failed.fault_injection().set(In::Relay(0));
    failed.wake_relays();
    until("the ids end", || live.server.stream(failed.id()).is_err() && live.sessions() == 2);
    other.key_frame(40, b"1").unwrap();
    let (head, body) = player.message();
    assert!(head.stream_id == 2 && body.ends_with(b"1"), "{head:?}");
}
