//! Targets that are reset, whose server reads nothing, and that are lost while their stream waits for its publisher.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rrelay::config::{ServerConfig, SlowPolicy, TargetConfig};
use rrelay::error::RRError;
use rrelay::server::{Event, EventKind, Id};
use rrelay::session::State;

use crate::ingest::{Ingest, Script, Then};
use crate::proxy::{Net, Proxy};
use crate::show::{GROUP, Player, Run, Sender, Times, gets, visit_runs};
use crate::support::server::Relay;
use crate::support::until;
use crate::{relay, soon, states, waits_for_stream, waits_for_target};

/// Messages that are enough to show that media flows.
const SOME: u32 = 60;

/// The runs of an ingest's connection, none where it has not come yet.
fn runs_of(ingest: &Ingest, visit: usize) -> Vec<Run> {
    ingest.visits().get(visit).map(visit_runs).unwrap_or_default()
}

fn about(relay: &Relay, target: Id, so: impl Fn(&Event) -> bool) -> usize {
    relay.events().iter().filter(|event| event.target == target && so(event)).count()
}

#[test]
fn a_target_that_is_reset_every_three_seconds_comes_back_each_time_and_no_player_is_disturbed() {
    const RESETS: usize = 4;
    let flaky = Ingest::new(|number| Script {
        then: if number < RESETS { Then::Reset(Duration::from_secs(3)) } else { Then::Read },
        ..Script::default()
    });
    let (good, relay) = (Ingest::good(), relay(ServerConfig::default(), |_| {}));
    let stream = relay.server.stream_create(b"live", b"show", None).unwrap();
    let target = relay.server.target_add(stream, soon(flaky.url())).unwrap();
    let other = relay.server.target_add(stream, soon(good.url())).unwrap();
    let player = Player::new(relay.port);
    let _show = Sender::host(&relay, stream, 1);
    let begun = Instant::now();
    for visit in 0..=RESETS {
        let run = gets(&flaky, visit, 1, 2 * SOME);
        assert!(run.begins_with_a_picture(), "connection {visit} begins with {run:?}");
    }
    assert!(begun.elapsed() > Duration::from_secs(12), "it was reset that often");
    // The resets have stopped: this connection lasts longer than any before.
    let last = gets(&flaky, RESETS, 1, 350);
    for visit in 0..RESETS {
        let runs = runs_of(&flaky, visit);
        let [run] = runs[..] else { panic!("{runs:?}") };
        assert!(run.len() >= 2 * SOME, "{run:?}");
    }
    assert_eq!((flaky.count(), good.count()), (RESETS + 1, 1));
    let lost = about(&relay, target, |event| event.state == State::Recovering);
    assert_eq!(lost, RESETS, "{:?}", states(&relay, target));
    let waits = |event: &Event| event.state == State::Recovering && !(100..=400).contains(&event.value);
    assert_eq!(about(&relay, target, waits), 0, "by back-off");
    assert_eq!(about(&relay, other, |event| event.state == State::Recovering || event.kind == EventKind::Slow), 0);

    let all = gets(&good, 0, 1, last.last + 1);
    player.hears(1, all.last + 1);
    let heard = player.runs();
    assert!(all.begins_with_a_picture(), "{all:?}");
    assert_eq!((heard.len(), heard[0].first), (1, 0), "every message, from the first");
    player.notices_nothing();
}

#[test]
fn servers_that_take_nothing_meet_what_their_targets_are_set_to_and_nobody_else_notices() {
    const QUEUE_BYTES: u32 = 512 * 1024;
    /// The cached group, the longest queue, and segments in part: see `tests/slow_players.rs`.
    const MEMORY: u64 = 2 * QUEUE_BYTES as u64 + 3 * (256 + 16) * 1024;
    let stalls = || Ingest::new(|_| Script { then: Then::Stall, ..Script::default() });
    let (jumped, again, ended, good) = (stalls(), stalls(), stalls(), Ingest::good());
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let relay = relay(ServerConfig::default(), |stream| {
        (stream.gop_bytes, stream.queue_bytes) = (QUEUE_BYTES, QUEUE_BYTES);
    });
    let stream = relay.server.stream_create(b"live", b"show", None).unwrap();
    let add = |url: String, slow_policy, slow_ms| {
        let bounds = TargetConfig { queue_bytes: QUEUE_BYTES, queue_ms: 60_000, slow_policy, slow_ms, ..soon(url) };
        relay.server.target_add(stream, TargetConfig { connect_ms: 1_000, ..bounds }).unwrap()
    };
    let resync = add(jumped.url(), SlowPolicy::Resync, None);
    let reconnect = add(again.url(), SlowPolicy::Reconnect, None);
    let stop = add(ended.url(), SlowPolicy::Stop, Some(500));
    let healthy = add(good.url(), SlowPolicy::Stop, None);
    let silent = add(format!("rtmp://{}/live/key", mute.local_addr().unwrap()), SlowPolicy::Resync, None);
    let player = Player::new(relay.port);
    let show = Sender::host(&relay, stream, 1);
    let mut most = 0;
    let mut sees = |what: &str, so: &dyn Fn() -> bool| {
        until(what, || {
            most = most.max(relay.server.stats(0).unwrap().queue_bytes);
            so().then_some(())
        });
    };
    let is = |id, kind, error| move |event: &Event| event.target == id && event.kind == kind && event.error == error;
    let has = |id, kind, error| relay.events().iter().any(is(id, kind, error));
    let dropped = || relay.server.stats(resync).unwrap().dropped_runs;
    sees("the first jumps", &|| has(resync, EventKind::Slow, None) && dropped() >= 1);
    sees("the second is connected again", &|| again.count() >= 3);
    sees("the third ends", &|| relay.server.info(stop).unwrap().state == State::Failed);
    sees("the fourth has no Publish.Start", &|| has(silent, EventKind::Target, Some(RRError::Timeout)));
    sees("the first goes on jumping", &|| dropped() >= 3);
    let until_then = show.sent();
    sees("some more of it", &|| show.sent() > until_then + 3 * GROUP);

    assert!(most <= MEMORY, "{most} bytes are held, {MEMORY} may be");
    assert_eq!((jumped.count(), states(&relay, resync).last()), (1, Some(&State::InProgress)), "it is still connected");
    assert!(has(reconnect, EventKind::Target, Some(RRError::Slow)));
    assert_eq!(ended.count(), 1, "it is not tried again");
    assert!(has(stop, EventKind::Target, Some(RRError::Slow)));
    assert!(relay.server.stats(stop).unwrap().dropped_runs > 0, "until then it jumped");
    assert_eq!(about(&relay, healthy, |event| event.state == State::Recovering || event.kind == EventKind::Slow), 0);
    player.hears(1, until_then);
    let pushed = gets(&good, 0, 1, until_then);
    assert!(pushed.begins_with_a_picture(), "{pushed:?}");
    assert_eq!((player.runs().len(), player.runs()[0].first), (1, 0), "every message, from the first");
    player.notices_nothing();
}

/// A relay with a target behind a proxy and a publisher that has just been lost.
struct Waiting {
    relay: std::sync::Arc<Relay>,
    ingest: Ingest,
    way: Proxy,
    target: Id,
    player: Player,
}

impl Waiting {
    fn new(grace_ms: u32, config: impl FnOnce(TargetConfig) -> TargetConfig) -> Self {
        let relay = relay(ServerConfig::default(), |stream| stream.grace_ms = grace_ms);
        let stream = relay.server.stream_create(b"live", b"show", None).unwrap();
        let ingest = Ingest::good();
        let way = Proxy::to(ingest.port);
        let url = format!("rtmp://127.0.0.1:{}/live/key", way.port);
        let target = relay.server.target_add(stream, config(soon(url))).unwrap();
        let publisher = Sender::encoder(relay.port, 1, Times::default());
        let player = Player::new(relay.port);
        player.hears(1, SOME);
        gets(&ingest, 0, 1, SOME);
        relay.forget_events();
        drop(publisher);
        waits_for_stream(&relay, State::Recovering);
        Self { relay, ingest, way, target, player }
    }
}

#[test]
fn a_target_that_is_lost_while_its_stream_waits_for_the_publisher_is_back_before_him() {
    let at = Waiting::new(20_000, |config| config);
    at.way.becomes(Net::Resets);
    until("it is lost", || (!states(&at.relay, at.target).is_empty()).then_some(()));
    at.way.becomes(Net::Good);
    // The target connects again although there is no publisher, and gets the picture that the players have.
    let shown = gets(&at.ingest, 1, 1, 1);
    assert!(shown.begins_with_a_picture(), "{shown:?}");
    waits_for_target(&at.relay, at.target, State::InProgress);
    assert_eq!(states(&at.relay, at.target)[0], State::Recovering);

    let _publisher = Sender::encoder(at.relay.port, 2, Times::default());
    gets(&at.ingest, 1, 2, SOME);
    at.player.hears(2, SOME);
    let runs = runs_of(&at.ingest, 1);
    let [before, after] = runs[..] else { panic!("{runs:?}") };
    assert_eq!((before.life, after.life, after.first), (1, 2, 0), "all of the publisher that came back");
    assert_eq!(before.last, at.player.runs()[0].last, "and all that was there of the one before");
    assert_eq!(at.ingest.count(), 2, "one connection before, one after");
    at.player.notices_nothing();
}

#[test]
fn a_target_that_is_down_until_after_the_publisher_is_back_begins_with_a_picture_of_his() {
    let at = Waiting::new(20_000, |config| config);
    at.way.becomes(Net::Resets);
    let tries = at.way.accepted();
    until("it is tried within the window", || (at.way.accepted() >= tries + 2).then_some(()));
    let _publisher = Sender::encoder(at.relay.port, 2, Times::default());
    at.player.hears(2, SOME);
    at.way.becomes(Net::Good);
    let visits = at.ingest.count();
    let run = gets(&at.ingest, visits, 2, SOME);
    assert!(run.begins_with_a_picture() && run.first > 0, "{run:?}");
    assert_eq!(runs_of(&at.ingest, visits).len(), 1, "nothing of the publisher before");
}

#[test]
fn a_target_that_is_being_connected_when_the_window_ends_rests_until_there_is_a_publisher() {
    let at = Waiting::new(1_500, |config| TargetConfig { connect_ms: 60_000, ..config });
    at.way.becomes(Net::Resets);
    until("it is lost", || (!states(&at.relay, at.target).is_empty()).then_some(()));
    at.way.becomes(Net::Silent);
    waits_for_target(&at.relay, at.target, State::Handshake);
    waits_for_stream(&at.relay, State::Idle);
    at.way.becomes(Net::Good);
    waits_for_target(&at.relay, at.target, State::Idle);
    let visits = at.ingest.count();
    until("its connection's end", || at.ingest.visits().iter().all(|visit| visit.over).then_some(()));
    assert_eq!(runs_of(&at.ingest, visits - 1), [], "there was nothing to send");
    assert_eq!(at.relay.server.stats(at.target).unwrap().failures, 1, "that is no failure");

    let _publisher = Sender::encoder(at.relay.port, 2, Times::default());
    let run = gets(&at.ingest, visits, 2, SOME);
    assert!(run.begins_with_a_picture(), "{run:?}");
}

#[test]
fn a_target_that_came_back_within_the_window_is_let_go_in_order_at_its_end() {
    let at = Waiting::new(1_500, |config| config);
    at.way.becomes(Net::Resets);
    until("it is lost", || (!states(&at.relay, at.target).is_empty()).then_some(()));
    at.way.becomes(Net::Good);
    gets(&at.ingest, 1, 1, 1);
    waits_for_stream(&at.relay, State::Idle);
    waits_for_target(&at.relay, at.target, State::Idle);
    until("goodbye", || at.ingest.visits()[1].commands.join(" ").ends_with("FCUnpublish deleteStream").then_some(()));
}
