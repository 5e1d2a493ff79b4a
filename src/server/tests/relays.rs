//! How many relays a stream has whose settings do not say it, and what one tells its players that is later than another.

use std::sync::Arc;
use std::time::Duration;

use super::live::{Client, Live, until};
use super::stalled::Stalled;
use crate::config::{ServerConfig, Start, StreamConfig};
use crate::error::{Failure, RRError};
use crate::proto::message::kind::VIDEO;
use crate::server::slots::kind;
use crate::session::{Event as Said, SessionConfig, State};
use crate::stream::Upcalls;
use crate::stream::event::EventKind;
use crate::stream::memory::GiveUp;

/// A stream with a publisher and players who have got a picture, and how many relays that took.
fn stream_with(live: &Live, name: &str, players: usize) -> (Vec<Client>, usize) {
    let further = live.server.core.further_relays();
    let before = further.running();
    let mut publisher = live.publish(name);
    let mut peers: Vec<_> = (0..players).map(|_| live.play(name)).collect();
    publisher.key_frame(0, b"0").unwrap();
    peers.iter_mut().for_each(|player| assert!(player.message().1.ends_with(b"0")));
    peers.push(publisher);
    (peers, 1 + further.running() - before)
}

#[test]
fn a_stream_gets_more_relays_with_more_players_where_there_are_processors() {
    let live = Live::new(ServerConfig::default());
    let further = live.server.core.further_relays();
    further.pretend(6);
    // The library that is tested starts another relay once each has three players.
    let (_small, relays) = stream_with(&live, "small", 3);
    assert_eq!(relays, 1, "one is enough for three");
    let (first, relays) = stream_with(&live, "first", 16);
    assert_eq!(relays, 4, "no stream gets more");
    live.line_with(&["has 4 relay threads"]);
    let (_second, relays) = stream_with(&live, "second", 16);
    assert_eq!(relays, 3, "all together are fewer than the processors");
    let (_third, relays) = stream_with(&live, "third", 16);
    assert_eq!(relays, 1);
    drop(first);
    until("its relays have ended", || further.running() == 2);
    let (_fourth, relays) = stream_with(&live, "fourth", 16);
    assert_eq!(relays, 4);
}

/// The last byte of each picture that it has had by the end of the stream.
fn until_the_end(player: &mut Client) -> Vec<u8> {
    until("the end of the stream", || {
        let _ = player.turn(Duration::from_millis(10));
        player.said.iter().any(|said| matches!(said, Said::Ended { .. }))
    });
    player.messages.drain(..).filter_map(|(_, body)| body.last().copied()).collect()
}

#[test]
fn players_of_a_relay_that_is_late_hear_of_an_end_before_the_next_publisher() {
    let stream = StreamConfig { relay_threads: Some(2), ..StreamConfig::default() };
    let live = Live::new(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() });
    let id = live.server.stream_create(b"live", b"show", None).unwrap();
    let write = |number, end| live.server.stream_write(id, VIDEO, 0, &[0x17, 1, 0, 0, 0, number], end).unwrap();
    let next = |player: &mut Client| player.message().1.last().copied();
    let (mut of_other, mut of_lead) = (live.play("show"), live.play("show"));
    write(0, false);
    assert_eq!((next(&mut of_lead), next(&mut of_other)), (Some(0), Some(0)));

    let stream = live.server.stream(id).unwrap();
    let stalled = Stalled::relay(&stream, 1);
    write(1, true);
    assert_eq!(until_the_end(&mut of_lead), [1]);
    write(2, false);
    // The third of these comes to the other relay, which lets it begin only then. The last one comes after it.
    let mut late = vec![live.play("show"), live.play("show")];
    let port = live.port;
    let third = std::thread::spawn(move || Client::new(port, "show", false));
    until("the third is with its stream", || live.server.list(id, kind::SESSION).unwrap().len() == 4);
    late.push(live.play("show"));
    late.iter_mut().for_each(|player| assert_eq!(next(player), Some(2)));
    assert!(!third.is_finished());
    drop(stalled);
    assert_eq!(until_the_end(&mut of_other), [1], "it is told of the end, and of nothing behind that");
    late.push(third.join().unwrap());
    assert_eq!(next(&mut late[3]), Some(2), "it has come behind the end");
    write(3, false);
    late.iter_mut().for_each(|player| assert_eq!(next(player), Some(3)));
    assert!(late.iter().all(|player| !player.said.iter().any(|said| matches!(said, Said::Ended { .. }))));
}

#[test]
fn no_request_for_memory_waits_for_a_relay_that_has_ended() {
    let stream =
        StreamConfig { relay_threads: Some(2), queue_bytes: 1 << 30, queue_ms: 600_000, ..StreamConfig::default() };
    let live = Live::new(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() });
    let id = live.server.stream_create(b"live", b"show", None).unwrap();
    let (mut of_other, of_lead) = (live.play("show"), live.play("show"));
    let picture = [&[0x17, 1, 0, 0, 0][..], &[7; 200_000]].concat();
    let write = || live.server.stream_write(id, VIDEO, 0, &picture, false).unwrap();
    // Each picture is a key frame: a player that its relay has not placed yet would begin at a later one.
    write();
    of_other.message();
    (0..100).for_each(|_| write());
    let stream = live.server.stream(id).unwrap();
    live.server.stream_stop(id, 600_000).unwrap();
    // The relay has given its last player back when that hears of the end, and ends in the same round.
    assert_eq!(until_the_end(&mut of_other).len(), 100);
    for _ in 0..3 {
        stream.give_up(GiveUp::Caches);
        until("the relay that leads has done it", || !stream.memory().is_asked());
    }
    assert!(live.server.info(id).is_ok(), "a player of the relay that leads has not read anything");
    drop(of_lead);
}

#[test]
fn a_player_of_a_relay_that_is_late_begins_where_the_stream_is() {
    let stream = StreamConfig { relay_threads: Some(2), start: Start::Now, ..StreamConfig::default() };
    let live = Live::new(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() });
    let id = live.server.stream_create(b"live", b"show", None).unwrap();
    let write = |number| live.server.stream_write(id, VIDEO, 0, &[0x17, 1, 0, 0, 0, number], false).unwrap();
    let next = |player: &mut Client| player.message().1.last().copied();
    let mut of_other = live.play("show");
    write(0);
    assert_eq!(next(&mut of_other), Some(0));

    let stream = live.server.stream(id).unwrap();
    let stalled = Stalled::relay(&stream, 0);
    write(1);
    assert_eq!(next(&mut of_other), Some(1));
    let port = live.port;
    let of_lead = std::thread::spawn(move || Client::new(port, "show", false));
    until("it is with its stream", || live.server.list(id, kind::SESSION).unwrap().len() == 2);
    drop(stalled);
    let mut of_lead = of_lead.join().unwrap();
    until("it has its place", || {
        live.server
            .list(id, kind::SESSION)
            .unwrap()
            .into_iter()
            .all(|id| live.server.info(id).is_ok_and(|info| info.state == State::InProgress))
    });
    write(2);
    assert_eq!(next(&mut of_lead), Some(2));
}

#[test]
fn a_player_whose_media_has_come_is_not_refused_by_a_relay_that_is_late() {
    let stream = StreamConfig { relay_threads: Some(2), ..StreamConfig::default() };
    let live = Live::new(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() });
    let id = live.server.stream_create(b"live", b"show", None).unwrap();
    let write = |number| live.server.stream_write(id, VIDEO, 0, &[0x17, 1, 0, 0, 0, number], false).unwrap();
    let next = |player: &mut Client| player.message().1.last().copied();
    let mut of_other = live.play("show");
    let stream = live.server.stream(id).unwrap();
    let stalled = Stalled::relay(&stream, 1);
    write(0);
    stream.refuse_players("NetStream.Play.StreamNotFound", Failure::ours(RRError::NotFound, "none has it"), 0);
    let mut of_lead = live.play("show");
    assert_eq!(next(&mut of_lead), Some(0));
    write(1);
    // The relay that leads has passed the refusal on in the round before.
    assert_eq!(next(&mut of_lead), Some(1));
    drop(stalled);
    assert_eq!((next(&mut of_other), next(&mut of_other)), (Some(0), Some(1)));
}

#[test]
fn a_player_that_was_admitted_before_a_refusal_and_comes_after_it_is_refused() {
    let live = Live::new(ServerConfig::default());
    let id = live.server.stream_create(b"live", b"show", None).unwrap();
    let stream = live.server.stream(id).unwrap();
    let refuse = |until_ms| {
        let failure = Failure::ours(RRError::NotFound, "none has it");
        stream.refuse_players("NetStream.Play.StreamNotFound", failure, until_ms);
    };
    let mut first = live.play("show");
    refuse(u64::MAX);
    first.closed();
    // To the stream, whoever comes now was admitted before.
    if let Ok(mut late) = Client::configured(live.port, "show", false, &SessionConfig::default()) {
        late.closed();
    }
    let ends =
        || live.events_of(EventKind::Session).iter().filter(|event| event.error == Some(RRError::NotFound)).count();
    until("both have been told why", || ends() == 2);

    let mut publisher = live.publish("show");
    publisher.key_frame(0, b"0").unwrap();
    let mut served = live.play("show");
    assert!(served.message().1.ends_with(b"0"), "what is published is played");
}

#[test]
fn where_memory_is_short_those_who_hold_the_most_of_it_give_it_up_first_whichever_relay_they_are_with() {
    let stream = StreamConfig {
        relay_threads: Some(2),
        queue_bytes: 1 << 30,
        queue_ms: 600_000,
        start: Start::Now,
        ..StreamConfig::default()
    };
    let live = Live::new(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() });
    let id = live.server.stream_create(b"live", b"show", None).unwrap();
    let write = |times, bytes| {
        let picture = [&[0x17, 1, 0, 0, 0][..], &vec![7; bytes]].concat();
        (0..times).for_each(|_| live.server.stream_write(id, VIDEO, 0, &picture, false).unwrap());
    };
    let players = || live.server.list(id, kind::SESSION).unwrap();
    let stats = |id| live.server.stats(id).unwrap();
    let stream = live.server.stream(id).unwrap();
    // A relay has carried out a request when it takes the next, and has told the other what it holds then when it takes one
    // more.
    let give_up = |what| {
        for what in [what, GiveUp::Caches, GiveUp::Caches] {
            stream.give_up(what);
            until("both relays have taken the request", || !stream.memory().is_asked());
        }
    };

    // Neither of them reads anything.
    let _of_other = live.play("show");
    let most = players()[0];
    write(12, 4_000_000);
    let _of_lead = live.play("show");
    let less = players().into_iter().find(|&id| id != most).unwrap();
    write(60, 300_000);
    until("both are behind", || stats(most).queue_bytes > 30 << 20 && stats(less).queue_bytes > 1 << 20);
    give_up(GiveUp::Caches);
    give_up(GiveUp::Cursors);
    assert!(stats(most).dropped_msgs > 0, "{:?}", stats(most));
    assert_eq!(stats(less).dropped_msgs, 0);
    give_up(GiveUp::Cursors);
    assert!(stats(less).dropped_msgs > 0, "now it is the one that is furthest behind");

    // Each of them holds the rest of the message in which it stands.
    give_up(GiveUp::Holders);
    assert_eq!(players(), [less]);
    give_up(GiveUp::Holders);
    assert!(players().is_empty());
}
