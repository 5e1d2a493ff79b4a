//! Sources whose server is lost within the grace window: the stream behaves as with a lost publisher.

use std::time::{Duration, Instant};

use rrelay::config::{ServerConfig, TargetConfig};
use rrelay::session::State;

use crate::proxy::{Net, Proxy};
use crate::show::{Player, Sender};
use crate::{relay, soon, states, waits_for_stream, waits_for_target};

/// Messages that are enough to show that media flows.
const SOME: u32 = 60;

fn lost_and_back(net: Net) {
    let origin = relay(ServerConfig::default(), |_| {});
    let stream = origin.server.stream_create(b"live", b"show", None).unwrap();
    let show = Sender::host(&origin, stream, 1);
    let way = Proxy::to(origin.port);
    // Only pings show that the server is lost: silence may also be that of the origin's publisher.
    let edge = relay(ServerConfig { ping_ms: 300, ..ServerConfig::default() }, |_| {});
    let copy = edge.server.stream_create(b"live", b"show", None).unwrap();
    let url = format!("rtmp://127.0.0.1:{}/live/show", way.port);
    let source = TargetConfig { connect_ms: 500, ..soon(url) };
    let source = edge.server.source_add(copy, source).unwrap();
    let player = Player::new(edge.port);
    player.hears(1, SOME);
    edge.forget_events();

    way.becomes(net);
    let lost = Instant::now();
    waits_for_stream(&edge, State::Recovering);
    std::thread::sleep(Duration::from_secs(3).saturating_sub(lost.elapsed()));
    assert!(states(&edge, source).contains(&State::Recovering));
    player.notices_nothing();
    let then = show.sent();
    way.becomes(Net::Good);
    waits_for_target(&edge, source, State::InProgress);
    crate::support::until("the player hears what came since", || {
        player.runs().last().is_some_and(|run| run.last > then + SOME).then_some(())
    });
    let runs = player.runs();
    let [before, after] = runs[..] else { panic!("{runs:?}") };
    assert!(after.first > before.last && after.begins_with_a_picture(), "{runs:?}");
    let (age_ms, between_ms) = ((after.first - before.last) * 10, after.begin_ms - before.end_ms);
    assert!(between_ms.abs_diff(age_ms) < 2_000, "time goes on by the gap of {age_ms} ms, not by {between_ms} ms");
    player.notices_nothing();
    assert!(!states(&edge, source).contains(&State::Failed));
}

#[test]
fn players_stay_when_an_origin_is_lost_for_three_seconds() {
    std::thread::scope(|both| {
        both.spawn(|| lost_and_back(Net::Resets));
        both.spawn(|| lost_and_back(Net::Silent));
    });
}
