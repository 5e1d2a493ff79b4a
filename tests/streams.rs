//! Streams that outlive their publishers: takeover, standby, the grace window, and time that never goes back. The peers
//! are rml_rtmp's client sessions.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rrelay::config::{ClockMode, MAX_STANDBYS, PublisherPolicy, ServerConfig, StreamConfig};
use rrelay::error::RRError;
use rrelay::server::{Event, EventKind};
use rrelay::session::{Role, State};

use support::rml::{Client, Got, inter_frame, key_frame, sequence_header};
use support::server::Relay;
use support::until;

/// A server whose streams have changed settings.
fn relay(change: impl FnOnce(&mut StreamConfig)) -> Relay {
    let mut stream = StreamConfig::default();
    change(&mut stream);
    Relay::with(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() }, "127.0.0.1:0")
}

/// A header and some frames: encoder `id`, a key frame and two that need it, 40 ms apart.
fn send_group(publisher: &mut Client, id: u8, from_ms: u32, first: u32) {
    publisher.send(from_ms, sequence_header(id));
    publisher.send(from_ms, key_frame(first));
    publisher.send(from_ms + 40, inter_frame(first + 1));
    publisher.send(from_ms + 80, inter_frame(first + 2));
}

fn ended(relay: &Relay, session: u64, why: RRError) -> Event {
    relay.event("the session's end", |event| {
        event.kind == EventKind::Session && event.session == session && event.error == Some(why)
    })
}

fn publisher_of(relay: &Relay, key: &str) -> u64 {
    let stream = until("the stream", || relay.stream(key));
    until("a publisher", || {
        let sessions = relay.server.list(stream, rrelay::server::kind::SESSION).ok()?;
        sessions.into_iter().find(|&id| relay.server.info(id).is_ok_and(|info| info.role == Role::Publisher))
    })
}

/// Frames by their numbers, headers left out.
fn bodies(got: &[Got]) -> Vec<Vec<u8>> {
    got.iter().map(|got| got.body.clone()).filter(|body| body[1] != 0).collect()
}

fn never_back(got: &[Got]) {
    for pair in got.windows(2) {
        assert!(
            pair[1].ts_ms >= pair[0].ts_ms,
            "time went back: {:?}",
            got.iter().map(|got| got.ts_ms).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_second_publisher_is_refused_and_the_first_goes_on() {
    let relay = relay(|_| {});
    let mut first = Client::publish(relay.port, "show");
    send_group(&mut first, 1, 0, 0);
    let mut second = Client::ask_to_publish(relay.port, "show");
    second.wait_over();
    assert!(
        !second.started && second.said.iter().any(|word| word.contains("NetStream.Publish.BadName")),
        "{:?}",
        second.said
    );
    let mut player = Client::play(relay.port, "show");
    player.wait("the first one's frames", |player| bodies(&player.video).len() == 3);
}

/// A network failure sends no end, so the old connection exists until a timeout.
#[test]
fn a_publisher_that_has_fallen_silent_gives_way_and_players_stay() {
    let relay = relay(|stream| stream.silent_ms = Some(300));
    let mut first = Client::publish(relay.port, "show");
    let old = publisher_of(&relay, "show");
    send_group(&mut first, 1, 0, 0);
    let mut player = Client::play(relay.port, "show");
    player.wait("the first one's frames", |player| bodies(&player.video).len() == 3);
    let mut second = until("its place", || {
        let mut second = Client::ask_to_publish(relay.port, "show");
        while !second.started && !second.over {
            second.read();
        }
        second.started.then_some(second)
    });
    send_group(&mut second, 2, 0, 10);
    player.wait("the second one's frames", |player| bodies(&player.video).len() == 6);
    ended(&relay, old, RRError::TakenOver);
    // A publisher that sends keeps its place.
    let mut third = Client::ask_to_publish(relay.port, "show");
    while !third.over {
        second.send(200, inter_frame(13));
        third.read();
    }
    assert!(!third.started);
}

#[test]
fn a_newer_publisher_takes_over_and_players_stay() {
    let relay = relay(|stream| stream.publisher_policy = PublisherPolicy::Takeover);
    let mut first = Client::publish(relay.port, "show");
    let old = publisher_of(&relay, "show");
    send_group(&mut first, 1, 100_000, 0);
    let mut player = Client::play(relay.port, "show");
    player.wait("the first one's frames", |player| bodies(&player.video).len() == 3);

    let mut second = Client::publish(relay.port, "show");
    send_group(&mut second, 2, 0, 10);
    player.wait("the second one's frames", |player| bodies(&player.video).len() == 6);
    ended(&relay, old, RRError::TakenOver);
    first.wait_over();
    assert_eq!(player.video.last().unwrap().body, inter_frame(12));
    assert!(player.video.iter().any(|got| got.body == sequence_header(2)), "the new headers are sent");
    never_back(&player.video);
}

#[test]
fn a_lost_publisher_that_returns_in_the_grace_window_finds_its_players() {
    let relay = relay(|stream| stream.grace_ms = 10_000);
    let mut first = Client::publish(relay.port, "show");
    send_group(&mut first, 1, 5_000, 0);
    let mut player = Client::play(relay.port, "show");
    player.wait("the first frames", |player| bodies(&player.video).len() == 3);
    drop(first);
    let lost = Instant::now();
    relay.event("the grace window", |event| event.kind == EventKind::Stream && event.state == State::Recovering);
    std::thread::sleep(Duration::from_millis(200));

    let mut second = Client::publish(relay.port, "show");
    send_group(&mut second, 1, 0, 10);
    player.wait("frames after the gap", |player| bodies(&player.video).len() == 6);
    let most_ms = lost.elapsed().as_millis() as u32 + 500;
    never_back(&player.video);
    let (before, after) = (player.video[3].ts_ms, player.video[4].ts_ms);
    assert!((before + 150..before + most_ms).contains(&after), "time goes on by the gap: {before} to {after}");
    assert!(!player.said.iter().any(|word| word.contains("Unpublish")), "{:?}", player.said);
}

#[test]
fn a_grace_window_that_passes_ends_the_stream_for_its_players() {
    let relay = relay(|stream| stream.grace_ms = 300);
    let mut publisher = Client::publish(relay.port, "show");
    send_group(&mut publisher, 1, 0, 0);
    let mut player = Client::play(relay.port, "show");
    player.wait("frames", |player| bodies(&player.video).len() == 3);
    drop(publisher);
    player.wait("the end", |player| player.said.iter().any(|word| word.contains("UnpublishNotify")));
    drop(player);
    until("the stream to be gone", || relay.stream("show").is_none().then_some(()));
}

#[test]
fn a_standby_steps_in_at_its_next_key_frame_with_its_own_headers() {
    let relay = relay(|stream| stream.publisher_policy = PublisherPolicy::Standby);
    let mut first = Client::publish(relay.port, "show");
    send_group(&mut first, 1, 0, 0);
    let mut second = Client::publish(relay.port, "show");
    until("a standby", || (relay.count("show", Role::Standby) == 1).then_some(()));
    send_group(&mut second, 2, 70_000, 10);
    let mut player = Client::play(relay.port, "show");
    player.wait("the first one's frames", |player| bodies(&player.video).len() == 3);
    assert!(player.video.iter().all(|got| got.body != key_frame(10)), "a standby is not heard");

    drop(first);
    relay.event("recovering", |event| event.kind == EventKind::Stream && event.state == State::Recovering);
    second.send(70_120, inter_frame(13));
    second.send(70_160, key_frame(14));
    second.send(70_200, inter_frame(15));
    player.wait("the standby's frames", |player| bodies(&player.video).len() == 5);
    let all: Vec<_> = player.video.iter().map(|got| got.body.clone()).collect();
    assert_eq!(all[4..], [sequence_header(2), key_frame(14), inter_frame(15)], "from its key frame on, headers first");
    never_back(&player.video);
    until("it is the publisher", || (relay.count("show", Role::Publisher) == 1).then_some(()));
}

#[test]
fn the_host_switches_to_a_standby_and_back() {
    let relay = relay(|stream| stream.publisher_policy = PublisherPolicy::Standby);
    let mut first = Client::publish(relay.port, "show");
    let one = publisher_of(&relay, "show");
    send_group(&mut first, 1, 0, 0);
    let mut second = Client::publish(relay.port, "show");
    send_group(&mut second, 2, 0, 10);
    let stream = relay.stream("show").unwrap();
    let standby = |id: u64| relay.server.info(id).is_ok_and(|info| info.role == Role::Standby);
    let sessions = || relay.server.list(stream, rrelay::server::kind::SESSION).unwrap();
    let two = until("a standby", || sessions().into_iter().find(|&id| standby(id)));
    let mut player = Client::play(relay.port, "show");
    player.wait("the first one's frames", |player| bodies(&player.video).len() == 3);

    relay.server.stream_switch(stream, two).unwrap();
    assert_eq!(relay.server.stream_switch(stream, 77).unwrap_err().kind, RRError::NotFound);
    // The first publisher goes on until the other one's key frame.
    until("the switch to be looked at", || {
        first.send(120, inter_frame(3));
        second.send(200, key_frame(20));
        player.read();
        player.video.iter().any(|got| got.body == key_frame(20)).then_some(())
    });
    until("the first stands by", || standby(one).then_some(()));
    relay.server.stream_switch(stream, one).unwrap();
    until("the switch back", || {
        first.send(400, key_frame(4));
        player.read();
        player.video.iter().any(|got| got.body == key_frame(4)).then_some(())
    });
    never_back(&player.video);
    let begin = player.video.iter().position(|got| got.body == key_frame(4)).unwrap();
    assert_eq!(player.video[begin - 1].body, sequence_header(1), "its headers come again, which it sent once");
}

#[test]
fn the_last_switch_counts_while_an_earlier_one_waits_for_its_key_frame() {
    let relay = relay(|stream| stream.publisher_policy = PublisherPolicy::Standby);
    let mut publishers: Vec<(Client, u64)> = Vec::new();
    let stream = loop {
        let mut publisher = Client::publish(relay.port, "show");
        let stream = until("a stream", || relay.stream("show"));
        let is_new = |id: &u64| publishers.iter().all(|(_, other)| other != id);
        let sessions = || relay.server.list(stream, rrelay::server::kind::SESSION).unwrap();
        let id = until("a publisher", || sessions().into_iter().find(is_new));
        send_group(&mut publisher, publishers.len() as u8, 0, 10 * publishers.len() as u32);
        publishers.push((publisher, id));
        if publishers.len() == 3 {
            break stream;
        }
    };
    let [(first, _), (second, two), (third, three)] = &mut publishers[..] else { unreachable!("three came") };
    let mut player = Client::play(relay.port, "show");
    player.wait("the first one's frames", |player| bodies(&player.video).len() == 3);
    let mut time = 200;
    // The live one's frames have arrived, so the stream has handled the host's request before them.
    let mut goes_on = |live: &mut Client, player: &mut Client| {
        for _ in 0..3 {
            time += 40;
            live.send(time, inter_frame(time));
            player.wait("the live one's frame", |player| {
                player.video.last().is_some_and(|got| got.body == inter_frame(time))
            });
        }
        time
    };
    let sent = |id: u64| relay.server.stats(id).unwrap().msgs_in;

    relay.server.stream_switch(stream, *two).unwrap();
    goes_on(first, &mut player);
    relay.server.stream_switch(stream, *three).unwrap();
    let before = sent(*two);
    second.send(goes_on(first, &mut player), key_frame(100));
    until("the second one's key frame is read", || (sent(*two) > before).then_some(()));
    third.send(goes_on(first, &mut player), key_frame(101));
    player.wait("the third one is live", |player| player.video.iter().any(|got| got.body == key_frame(101)));

    // A switch request is cancelled by one for the live publisher.
    relay.server.stream_switch(stream, *two).unwrap();
    goes_on(third, &mut player);
    relay.server.stream_switch(stream, *three).unwrap();
    let before = sent(*two);
    second.send(goes_on(third, &mut player), key_frame(102));
    until("the second one's key frame is read", || (sent(*two) > before).then_some(()));
    goes_on(third, &mut player);
    let second_ones = [key_frame(100), key_frame(102)];
    assert!(player.video.iter().all(|got| !second_ones.contains(&got.body)), "the second one was never live");
    never_back(&player.video);
}

#[test]
fn a_standby_behind_the_host_steps_in_when_the_host_ends() {
    let relay = relay(|stream| stream.publisher_policy = PublisherPolicy::Standby);
    let stream = relay.server.stream_create(b"live", b"show", None).unwrap();
    let mut player = Client::play(relay.port, "show");
    relay.server.stream_write(stream, 9, 0, &key_frame(0), false).unwrap();
    let mut standby = Client::publish(relay.port, "show");
    until("a standby", || (relay.count("show", Role::Standby) == 1).then_some(()));
    send_group(&mut standby, 2, 0, 10);
    player.wait("the host's frame", |player| player.video.len() == 1);
    let sessions = relay.server.list(stream, rrelay::server::kind::SESSION).unwrap();
    let stands_by = |id: &&u64| relay.server.info(**id).is_ok_and(|info| info.role == Role::Standby);
    let session = *sessions.iter().find(stands_by).unwrap();
    // The server has everything that the standby has sent so far.
    until("the standby's group", || (relay.server.stats(session).ok()?.msgs_in == 4).then_some(()));
    let refused = relay.server.stream_switch(stream, session).unwrap_err();
    assert_eq!(refused.kind, RRError::State, "the host has its own way to end");
    relay.server.stream_write(stream, 9, 0, &[], true).unwrap();
    until("the standby's key frame", || {
        standby.send(400, key_frame(14));
        player.read();
        (player.video.len() >= 3).then_some(())
    });
    assert_eq!(player.video[1].body, sequence_header(2));
    assert_eq!(player.video[2].body, key_frame(14));
    assert!(!player.said.iter().any(|word| word.contains("Unpublish")), "{:?}", player.said);
    never_back(&player.video);

    // The same again, but without a standby when the host ends.
    drop(standby);
    player.wait("the end", |player| player.said.iter().any(|word| word.contains("UnpublishNotify")));
}

#[test]
fn a_publisher_above_its_rate_is_closed_with_the_reason() {
    let relay = relay(|stream| stream.max_kbps = 100);
    let mut publisher = Client::publish(relay.port, "show");
    let session = publisher_of(&relay, "show");
    let big = [key_frame(1), vec![0; 2_000]].concat();
    // The server closes a publisher after ten seconds above its rate.
    until("it is closed", || {
        publisher.send(0, big.clone());
        publisher.read();
        publisher.over.then_some(())
    });
    ended(&relay, session, RRError::Limit);
}

#[test]
fn a_publisher_that_sends_nothing_is_closed() {
    let config = ServerConfig { first_data_ms: 300, ..ServerConfig::default() };
    let relay = Relay::with(config, "127.0.0.1:0");
    let mut publisher = Client::publish(relay.port, "show");
    let session = publisher_of(&relay, "show");
    publisher.wait_over();
    ended(&relay, session, RRError::Idle);
    let config = ServerConfig { idle_ms: 300, ..ServerConfig::default() };
    let relay = Relay::with(config, "127.0.0.1:0");
    let mut publisher = Client::publish(relay.port, "show");
    let session = publisher_of(&relay, "show");
    send_group(&mut publisher, 1, 0, 0);
    publisher.wait_over();
    ended(&relay, session, RRError::Idle);
}

#[test]
fn a_jump_of_the_publishers_time_is_reported() {
    let relay = relay(|_| {});
    let mut publisher = Client::publish(relay.port, "show");
    send_group(&mut publisher, 1, 500_000, 0);
    send_group(&mut publisher, 1, 0, 3);
    let event = relay.event("the jump", |event| event.kind == EventKind::Clock);
    assert_eq!(event.value, -500_080);
    let stats = relay.server.stats(event.stream).unwrap();
    assert_eq!(stats.clock_jumps, 1);
}

#[test]
fn the_host_as_publisher_feeds_players_and_others_are_refused() {
    let relay = relay(|_| {});
    let stream = relay.server.stream_create(b"live", b"show", None).unwrap();
    let mut player = Client::play(relay.port, "show");
    for (n, ts_ms) in [(0, 0), (1, 40), (2, 80)] {
        let body = if n == 0 { key_frame(0) } else { inter_frame(n) };
        relay.server.stream_write(stream, 9, ts_ms, &body, false).unwrap();
    }
    player.wait("the host's frames", |player| player.video.len() == 3);
    let mut other = Client::ask_to_publish(relay.port, "show");
    other.wait_over();
    relay.server.stream_write(stream, 9, 0, &[], true).unwrap();
    player.wait("the end", |player| player.said.iter().any(|word| word.contains("UnpublishNotify")));
    let mut session = Client::publish(relay.port, "show");
    send_group(&mut session, 1, 0, 0);
    relay.event("media again", |event| {
        event.kind == EventKind::Stream && event.state == State::InProgress && event.prev == State::Idle
    });
    let refused = relay.server.stream_write(stream, 9, 0, &key_frame(0), false).unwrap_err();
    assert_eq!(refused.kind, RRError::Exists);
}

#[test]
fn a_streams_clock_passes_begins_at_zero_or_mends_jumps_as_it_is_set() {
    for clock in [ClockMode::Pass, ClockMode::Zero, ClockMode::Repair] {
        let relay = relay(|stream| stream.clock = clock);
        let mut publisher = Client::publish(relay.port, "show");
        let mut player = Client::play(relay.port, "show");
        send_group(&mut publisher, 1, 500_000, 0);
        send_group(&mut publisher, 1, 900_000, 10);
        player.wait("all frames", |player| bodies(&player.video).len() == 6);
        let frames = player.video.iter().filter(|got| got.body[1] != 0);
        let times: Vec<u32> = frames.map(|got| got.ts_ms).collect();
        let mended = times[2] + 1..=times[2] + 1_000;
        match clock {
            ClockMode::Pass => assert_eq!(times, [500_000, 500_040, 500_080, 900_000, 900_040, 900_080]),
            ClockMode::Zero => assert_eq!(times, [0, 40, 80, 400_000, 400_040, 400_080]),
            ClockMode::Repair => {
                assert!(times[0] == 500_000 && mended.contains(&times[3]) && times[5] == times[3] + 80, "{times:?}");
            }
        }
        relay.event("the jump", |event| event.kind == EventKind::Clock && event.value > 300_000);
    }
}

#[test]
fn no_more_than_four_stand_by() {
    let relay = relay(|stream| stream.publisher_policy = PublisherPolicy::Standby);
    let mut publisher = Client::publish(relay.port, "show");
    send_group(&mut publisher, 1, 0, 0);
    let mut standbys: Vec<Client> = (0..MAX_STANDBYS).map(|_| Client::publish(relay.port, "show")).collect();
    let mut more = Client::ask_to_publish(relay.port, "show");
    more.wait_over();
    assert!(!more.started, "{:?}", more.said);
    standbys.pop();
    until("room for another", || (relay.count("show", Role::Standby) == MAX_STANDBYS - 1).then_some(()));
    Client::publish(relay.port, "show");
}

#[test]
fn a_peer_that_is_closed_with_a_ban_is_kept_out_of_that_stream_until_the_ban_ends() {
    let relay = relay(|_| ());
    let mut publisher = Client::publish(relay.port, "show");
    let session = publisher_of(&relay, "show");
    let failure = relay.server.session_close(session, "kicked", 86_400_001).unwrap_err();
    assert_eq!(failure.kind, RRError::Arg);
    relay.server.session_close(session, "kicked", 60_000).unwrap();
    publisher.wait_over();
    ended(&relay, session, RRError::Kicked);
    let mut back = Client::ask_to_publish(relay.port, "show");
    back.wait("a refusal", |client| client.said.iter().any(|word| word.contains("NetStream.Publish.Denied")));
    let refused = relay.event("the refused one's end", |event| event.error == Some(RRError::Rejected));
    assert!(String::from_utf8_lossy(&refused.text).contains("not allowed again"), "{refused:?}");
    // The ban applies neither to another stream nor to a player of this one.
    drop(Client::publish(relay.port, "other"));
    let mut player = Client::play(relay.port, "show");
    let session = until("the player", || {
        let sessions = relay.server.list(relay.stream("show")?, rrelay::server::kind::SESSION).ok()?;
        sessions.into_iter().find(|&id| relay.server.info(id).is_ok_and(|info| info.role == Role::Player))
    });
    // After its time a ban has no effect.
    relay.server.session_close(session, "kicked", 1).unwrap();
    player.wait_over();
    until("the ban's end", || {
        let mut player = Client::ask_to_play(relay.port, "show");
        player
            .wait("an answer", |client| client.started || client.said.iter().any(|word| word.contains("Play.Failed")));
        player.started.then_some(())
    });
}
