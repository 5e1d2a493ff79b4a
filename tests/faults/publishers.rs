//! Publishers that are lost within the grace window and come back.

use std::time::{Duration, Instant};

use rrelay::config::{PublisherPolicy, ServerConfig};
use rrelay::server::EventKind;
use rrelay::session::{Role, State};

use crate::cell::{in_a_cell, network};
use crate::ingest::Ingest;
use crate::proxy::{Net, Proxy};
use crate::raw::Raw;
use crate::show::{Player, Run, Sender, Times, gets, visit_runs};
use crate::support::until;
use crate::{relay, states, waits_for_stream, waits_for_target};

/// How long a publisher is lost.
const LOST: Duration = Duration::from_secs(5);

/// Messages that are enough to show that media flows.
const SOME: u32 = 60;

/// The runs of the publisher's two lives that a consumer received over one connection.
fn two_lives(runs: &[Run]) -> (Run, Run) {
    let [before, after] = runs else { panic!("{runs:?}") };
    assert_eq!((before.life, after.life, after.first), (1, 2, 0), "all of the second life: {runs:?}");
    (*before, *after)
}

/// A publisher of two lives with a gap between, in which the network is as `net` says; asserts what the players and a
/// target get.
fn lost_and_back(net: Net, policy: PublisherPolicy, idle_ms: u32) {
    let config = ServerConfig { idle_ms, ..ServerConfig::default() };
    let relay = relay(config, |stream| {
        stream.publisher_policy = policy;
        // Here the idle time ends the publisher; the tests of the stream have the earlier replacement.
        stream.silent_ms = None;
    });
    let ingest = Ingest::good();
    let target = relay.push("show", ingest.url());
    let way = Proxy::to(relay.port);
    let first = Sender::encoder(way.port, 1, Times::default());
    let players = [Player::new(relay.port), Player::new(relay.port)];
    players.iter().for_each(|player| player.hears(1, SOME));
    waits_for_target(&relay, target, State::InProgress);

    way.becomes(net);
    let lost = Instant::now();
    let notices = net != Net::Silent || policy == PublisherPolicy::Reject;
    let second = if notices && net == Net::Silent {
        // The publisher returns long before the server notices the loss, and tries until it is let in.
        let second = Sender::persistent_encoder(relay.port, 2);
        waits_for_stream(&relay, State::Recovering);
        assert!(lost.elapsed() >= Duration::from_millis(idle_ms.into()), "not before the silence was long enough");
        second
    } else {
        if notices {
            waits_for_stream(&relay, State::Recovering);
        }
        std::thread::sleep(LOST.saturating_sub(lost.elapsed()));
        players.iter().for_each(Player::notices_nothing);
        assert_eq!(relay.server.info(target).unwrap().state, State::InProgress, "the target stays connected");
        if net != Net::Silent {
            way.becomes(Net::Good);
        }
        Sender::encoder(if net == Net::Silent { relay.port } else { way.port }, 2, Times::default())
    };
    let gap_ms = u32::try_from(lost.elapsed().as_millis()).unwrap();
    players.iter().for_each(|player| player.hears(2, SOME));
    if net == Net::Silent {
        // Bytes that were on their way when the network failed arrive now, and must reach no player.
        way.becomes(Net::Good);
        until("the old connection's end", || (way.open() == 0).then_some(()));
        assert!(first.sent() > 0);
        players.iter().for_each(|player| player.hears(2, 2 * SOME));
    }

    let heard = players.each_ref().map(|player| two_lives(&player.runs()));
    gets(&ingest, 0, 2, SOME);
    let pushed = two_lives(&visit_runs(&ingest.visits()[0]));
    assert!(pushed.0.begins_with_a_picture(), "{pushed:?}");
    for (before, after) in heard.iter().chain([&pushed]) {
        assert_eq!((before.last, before.end_ms), (pushed.0.last, pushed.0.end_ms), "all hear the same end");
        let between_ms = after.begin_ms - before.end_ms;
        let about = gap_ms.saturating_sub(500)..gap_ms + 5_000;
        assert!(about.contains(&between_ms), "time goes on by the gap of {gap_ms} ms, not by {between_ms} ms");
    }
    players.iter().for_each(Player::notices_nothing);
    assert_eq!(
        (ingest.count(), states(&relay, target).last()),
        (1, Some(&State::InProgress)),
        "one connection all along"
    );
    until("one publisher", || (relay.count("show", Role::Publisher) == 1).then_some(()));
    drop(second);
}

#[test]
fn a_publisher_that_is_cut_off_for_five_seconds_finds_everybody_there() {
    // One connection is closed within a message, the other reset.
    std::thread::scope(|both| {
        both.spawn(|| lost_and_back(Net::Closes, PublisherPolicy::Reject, 30_000));
        both.spawn(|| lost_and_back(Net::Resets, PublisherPolicy::Reject, 30_000));
    });
}

#[test]
fn a_silent_publisher_is_closed_and_what_it_sends_later_reaches_no_player() {
    std::thread::scope(|both| {
        both.spawn(|| lost_and_back(Net::Silent, PublisherPolicy::Reject, 3_000));
        both.spawn(|| lost_and_back(Net::Silent, PublisherPolicy::Takeover, 30_000));
    });
}

#[test]
fn time_goes_on_by_the_gap_however_an_encoder_that_returns_counts() {
    for (first, second) in [(0, 700_000), (900_000, 0), (u32::MAX - 20, 3_000_000_000)] {
        let relay = relay(ServerConfig::default(), |_| {});
        let encoder = Sender::encoder(relay.port, 1, Times { headers_ms: first, first_ms: first });
        let player = Player::new(relay.port);
        player.hears(1, SOME);
        drop(encoder);
        waits_for_stream(&relay, State::Recovering);
        // Headers have time 0 and frames the time of a running clock, as encoders do that were not restarted.
        let _encoder = Sender::encoder(relay.port, 2, Times { headers_ms: 0, first_ms: second });
        player.hears(2, SOME);
        let (before, after) = two_lives(&player.runs());
        let between_ms = after.begin_ms.wrapping_sub(before.end_ms);
        assert!(between_ms < 5_000, "{between_ms} ms between {first} and {second}");
        let jumps = |event: &rrelay::server::Event| event.kind == EventKind::Clock;
        assert!(!relay.events().iter().any(jumps), "no jump within a publisher");
    }
}

#[test]
fn a_publisher_that_stands_by_for_itself_steps_in_when_the_silence_was_long_enough() {
    let config = ServerConfig { idle_ms: 2_000, ..ServerConfig::default() };
    let relay = relay(config, |stream| stream.publisher_policy = PublisherPolicy::Standby);
    let way = Proxy::to(relay.port);
    let _first = Sender::encoder(way.port, 1, Times::default());
    let player = Player::new(relay.port);
    player.hears(1, SOME);
    way.becomes(Net::Silent);
    let silent = Instant::now();
    let _second = Sender::encoder(relay.port, 2, Times::default());
    until("it stands by", || (relay.count("show", Role::Standby) == 1).then_some(()));
    player.hears(2, SOME);
    let silent_ms = silent.elapsed().as_millis() as u32;
    let runs = player.runs();
    let [before, after] = runs[..] else { panic!("{runs:?}") };
    assert!(before.life == 1 && after.begins_with_a_picture() && after.first > 0, "{runs:?}");
    let between_ms = after.begin_ms - before.end_ms;
    assert!((1_500..silent_ms + 5_000).contains(&between_ms), "{between_ms} ms");
    let count = |role| relay.count("show", role);
    until("it publishes", || ((count(Role::Publisher), count(Role::Standby)) == (1, 0)).then_some(()));
    player.notices_nothing();
}

#[test]
fn a_publisher_that_is_lost_again_before_it_has_begun_has_the_window_anew() {
    let relay = relay(ServerConfig::default(), |stream| stream.grace_ms = 6_000);
    let way = Proxy::to(relay.port);
    let first = Sender::encoder(relay.port, 1, Times::default());
    let player = Player::new(relay.port);
    player.hears(1, SOME);
    drop(first);
    waits_for_stream(&relay, State::Recovering);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        let idle = Raw::publish(way.port, "show");
        std::thread::sleep(Duration::from_millis(200));
        way.becomes(Net::Resets);
        until("it is lost again", || (relay.count("show", Role::Publisher) == 0).then_some(()));
        drop(idle);
        way.becomes(Net::Good);
        std::thread::sleep(Duration::from_millis(300));
        player.notices_nothing();
    }
    let _second = Sender::encoder(way.port, 2, Times::default());
    player.hears(2, SOME);
    let (before, after) = two_lives(&player.runs());
    let between_ms = after.begin_ms - before.end_ms;
    assert!((7_500..24_000).contains(&between_ms), "{between_ms} ms");
    player.notices_nothing();
}

#[test]
fn a_network_that_loses_every_packet_for_three_seconds_costs_no_message() {
    in_a_cell("publishers::a_network_that_loses_every_packet_for_three_seconds_costs_no_message", |_| {
        let (relay, ingest) = (relay(ServerConfig::default(), |_| {}), Ingest::good());
        let target = relay.push("show", ingest.url());
        let show = Sender::encoder(relay.port, 1, Times::default());
        let player = Player::new(relay.port);
        player.hears(1, SOME);
        waits_for_target(&relay, target, State::InProgress);
        network("down");
        std::thread::sleep(Duration::from_millis(500));
        let before = player.runs();
        std::thread::sleep(Duration::from_millis(2_500));
        assert_eq!(player.runs(), before, "nothing comes through");
        network("up");
        let then = show.sent();
        player.hears(1, then + SOME);
        gets(&ingest, 0, 1, then + SOME);
        assert_eq!((player.runs().len(), visit_runs(&ingest.visits()[0]).len()), (1, 1), "one life without a gap");
        player.notices_nothing();
        assert_eq!((ingest.count(), states(&relay, target).last()), (1, Some(&State::InProgress)));
        assert_eq!(relay.server.stats(target).unwrap().dropped_runs, 0);
    });
}

#[test]
fn a_publisher_whose_packets_are_lost_is_found_out_and_everybody_else_is_there_afterwards() {
    in_a_cell(
        "publishers::a_publisher_whose_packets_are_lost_is_found_out_and_everybody_else_is_there_afterwards",
        |_| {
            let config = ServerConfig { idle_ms: 1_500, ..ServerConfig::default() };
            let (relay, ingest) = (relay(config, |_| {}), Ingest::good());
            let target = relay.push("show", ingest.url());
            let _first = Sender::encoder(relay.port, 1, Times::default());
            let player = Player::new(relay.port);
            player.hears(1, SOME);
            waits_for_target(&relay, target, State::InProgress);
            network("down");
            waits_for_stream(&relay, State::Recovering);
            std::thread::sleep(Duration::from_secs(2));
            network("up");
            let _second = Sender::persistent_encoder(relay.port, 2);
            player.hears(2, SOME);
            let (before, _) = two_lives(&player.runs());
            let pushed = until("as much at the target", || {
                let runs = visit_runs(&ingest.visits()[0]);
                runs.last().is_some_and(|run| run.life == 2 && run.len() > SOME).then_some(runs)
            });
            assert_eq!(two_lives(&pushed).0.last, before.last, "all hear the same end");
            assert_eq!(ingest.count(), 1, "one connection all along");
            player.notices_nothing();
        },
    );
}
