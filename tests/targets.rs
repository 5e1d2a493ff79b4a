//! Push targets reconnect, fail over, stop trying and end as promised, whatever the other side does.
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/ingest.rs"]
mod ingest;
#[path = "support/login.rs"]
mod login;
#[path = "support/reserved.rs"]
mod reserved;
#[path = "support/rig.rs"]
mod rig;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use ingest::{Ingest, Script, Then};
use login::Login;
use rig::{Rig, push, until};
use rrelay::config::{SlowPolicy, TargetConfig};
use rrelay::error::RRError;
use rrelay::server::figures::Stats;
use rrelay::server::{EventKind, flag};
use rrelay::session::State;

/// A port at which nobody listens but a server of the same test.
fn closed_port() -> u16 {
    // It stays bound as long as the process runs.
    std::mem::ManuallyDrop::new(reserved::Reserved::new()).port
}

const BAD_NAME: &str = "NetStream.Publish.BadName";

#[test]
fn a_backup_url_is_used_at_once_when_the_first_does_not_answer() {
    let (good, mut rig) = (Ingest::good(), Rig::new());
    let config = TargetConfig {
        backup_urls: vec![good.url()],
        retry_min_ms: 60_000,
        retry_max_ms: 60_000,
        ..push(&format!("rtmp://127.0.0.1:{}/live/key", closed_port()))
    };
    let target = rig.server.target_add(rig.stream, config).unwrap();
    rig.begin(0);
    let flows = rig.wait_for(target, State::InProgress);
    let url = format!("rtmp://127.0.0.1:{}/live", good.port);
    assert_eq!(flows.url, url.clone().into_bytes(), "events name the url in use");
    assert_eq!(rig.server.info(target).unwrap().url, url);
}

#[test]
fn refused_once_comes_back_refused_twice_has_failed() {
    let refuse =
        |times| Ingest::new(move |number| Script { refuse: (number < times).then_some(BAD_NAME), ..Script::default() });
    let (once, always, mut rig) = (refuse(1), refuse(usize::MAX), Rig::new());
    let back = rig.server.target_add(rig.stream, push(&once.url())).unwrap();
    let fails = rig.server.target_add(rig.stream, push(&always.url())).unwrap();
    let stubborn = TargetConfig { retry_fatal: true, ..push(&always.url()) };
    let stubborn = rig.server.target_add(rig.stream, stubborn).unwrap();
    rig.begin(0);
    rig.wait_for(back, State::InProgress);
    let failed = rig.wait_for(fails, State::Failed);
    assert_eq!(failed.error, Some(RRError::Rejected));
    assert!(String::from_utf8_lossy(&failed.text).contains(BAD_NAME), "{failed:?}");
    assert_eq!(failed.flags & (flag::LAST | flag::BY_PEER), flag::BY_PEER, "it stays listed until it is stopped");
    rig.wait_times(stubborn, State::Recovering, 3);

    // The host may have a failed target try again, with the old settings or with better ones.
    rig.server.target_retry(fails).unwrap();
    rig.wait_times(fails, State::Failed, 2);
    rig.server.target_update(fails, push(&once.url())).unwrap();
    rig.wait_for(fails, State::InProgress);
}

#[test]
fn a_push_that_ran_and_is_lost_tries_on_while_its_server_still_holds_the_old_session() {
    const REFUSALS: usize = 5;
    let holds_it_for = |refusals: usize| {
        Ingest::new(move |number| match number {
            0 => Script { then: Then::ResetAt(20), ..Script::default() },
            _ => Script { refuse: (number <= refusals).then_some(BAD_NAME), ..Script::default() },
        })
    };
    let (lets_go, never) = (holds_it_for(REFUSALS), holds_it_for(usize::MAX));
    let mut rig = Rig::new();
    let back = rig.server.target_add(rig.stream, push(&lets_go.url())).unwrap();
    let at_its_word = TargetConfig { lingering_ms: None, ..push(&never.url()) };
    let at_its_word = rig.server.target_add(rig.stream, at_its_word).unwrap();
    rig.begin(0);
    until("it is taken again, and the other has failed", || {
        rig.frame(rig.frames * 40, 100);
        let states = (rig.server.info(back).unwrap().state, rig.server.info(at_its_word).unwrap().state);
        (lets_go.count() == REFUSALS + 2 && states == (State::InProgress, State::Failed)).then_some(())
    });
    assert!(!rig.states(back).contains(&State::Failed), "{:?}", rig.moves(back));
    assert_eq!((rig.server.stats(back).unwrap().connects, never.count()), (2, 3), "the second refusal is final there");
}

#[test]
fn a_target_that_is_reset_all_the_time_comes_back_with_growing_waits() {
    let after = Duration::from_millis(30);
    let flaky = Ingest::new(move |_| Script { then: Then::Reset(after), ..Script::default() });
    let mut rig = Rig::new();
    let target = rig.server.target_add(rig.stream, push(&flaky.url())).unwrap();
    rig.begin(0);
    until("five connections", || {
        rig.frame(40, 100);
        (flaky.count() >= 5).then_some(())
    });
    let waits: Vec<i64> = rig
        .moves(target)
        .iter()
        .filter(|event| event.state == State::Recovering)
        .map(|event| event.value)
        .take(4)
        .collect();
    assert_eq!(waits, [40, 80, 160, 200]);
}

#[test]
fn a_target_gives_up_after_so_many_failures_or_so_much_time() {
    let url = format!("rtmp://127.0.0.1:{}/live/key", closed_port());
    let mut rig = Rig::new();
    let by_count = TargetConfig { retry_count: Some(2), ..push(&url) };
    let by_count = rig.server.target_add(rig.stream, by_count).unwrap();
    let by_time = TargetConfig { retry_total_ms: Some(300), ..push(&url) };
    let by_time = rig.server.target_add(rig.stream, by_time).unwrap();
    let begin = Instant::now();
    rig.begin(0);
    assert_eq!(rig.wait_for(by_count, State::Failed).error, Some(RRError::GiveUp));
    assert_eq!(rig.states(by_count).iter().filter(|&&state| state == State::Recovering).count(), 2);
    assert_eq!(rig.wait_for(by_time, State::Failed).error, Some(RRError::GiveUp));
    assert!(begin.elapsed() >= Duration::from_millis(290), "not before its time: {:?}", begin.elapsed());
}

/// A target at a server that reads nothing after Publish.Start, fed until `done`.
fn starve(config: TargetConfig, done: impl Fn(&mut Rig, u64) -> bool) -> (Rig, u64, Ingest) {
    let stalls = Ingest::new(|_| Script { then: Then::Stall, ..Script::default() });
    let mut rig = Rig::new();
    let config = TargetConfig { queue_bytes: 256 * 1024, queue_ms: 60_000, ..config };
    let target = rig.server.target_add(rig.stream, TargetConfig { url: stalls.url(), ..config }).unwrap();
    rig.begin(0);
    rig.wait_for(target, State::InProgress);
    until("the end of patience with a server that takes nothing", || {
        let ts_ms = rig.frames * 40;
        rig.frame(ts_ms, 20_000);
        done(&mut rig, target).then_some(())
    });
    (rig, target, stalls)
}

#[test]
fn a_server_that_never_reads_is_jumped_for() {
    let slow = |rig: &mut Rig, target| {
        rig.take_events();
        rig.events.iter().any(|event| event.kind == EventKind::Slow && event.target == target && event.value > 0)
    };
    let (mut rig, target, _stalls) = starve(push(""), slow);
    until("the figures of the jump", || {
        let stats = rig.server.stats(target).unwrap();
        (stats.dropped_msgs > 0 && stats.dropped_runs > 0).then_some(())
    });
    assert!(!rig.states(target).contains(&State::Recovering), "the connection stays");
}

#[test]
fn a_server_that_never_reads_is_reconnected_or_stopped_where_the_host_says_so() {
    let moved_to = |wanted| move |rig: &mut Rig, target| rig.states(target).contains(&wanted);
    let reconnect = TargetConfig { slow_policy: SlowPolicy::Reconnect, ..push("") };
    let (mut rig, target, _stalls) = starve(reconnect, moved_to(State::Recovering));
    assert_eq!(rig.wait_for(target, State::Recovering).error, Some(RRError::Slow));

    let jump_first = TargetConfig { slow_policy: SlowPolicy::Stop, slow_ms: Some(300), ..push("") };
    let (mut rig, target, _stalls) = starve(jump_first, moved_to(State::Failed));
    assert_eq!(rig.wait_for(target, State::Failed).error, Some(RRError::Slow));
    until("until then it jumped", || (rig.server.stats(target).unwrap().dropped_runs > 0).then_some(()));
}

#[test]
fn a_server_that_takes_nothing_for_send_ms_is_lost() {
    let config = TargetConfig { send_ms: Some(300), ..push("") };
    let (mut rig, target, _stalls) = starve(config, |rig, target| rig.states(target).contains(&State::Recovering));
    assert_eq!(rig.wait_for(target, State::Recovering).error, Some(RRError::Timeout));
}

#[test]
fn removal_of_a_live_target_leaves_everybody_else_untouched() {
    let (one, other, mut rig) = (Ingest::good(), Ingest::good(), Rig::new());
    let goes = rig.server.target_add(rig.stream, push(&one.url())).unwrap();
    let stays = rig.server.target_add(rig.stream, push(&other.url())).unwrap();
    rig.begin(0);
    rig.wait_for(goes, State::InProgress);
    rig.wait_for(stays, State::InProgress);
    rig.server.target_stop(goes, 2_000).unwrap();
    let last = rig.wait_for(goes, State::Stopped);
    assert_eq!((last.flags & flag::LAST, last.error), (flag::LAST, Some(RRError::Kicked)));
    let fed: Vec<Vec<u8>> = (1..30).map(|n| rig.frame(n * 40, 500)).collect();
    until("all frames at the one that stays", || other.visits()[0].bodies(9).ends_with(&fed).then_some(()));
    assert_eq!((rig.lasts(goes), rig.lasts(stays)), (1, 0));
    assert_eq!(other.count(), 1, "its connection was not touched");
    until("goodbye", || one.visits()[0].commands.join(" ").ends_with("FCUnpublish deleteStream").then_some(()));
    assert_eq!(rig.server.target_retry(goes).unwrap_err().kind, RRError::NotFound);
}

#[test]
fn every_target_ends_with_exactly_one_last_event_whatever_it_was_doing() {
    let good = Ingest::good();
    let refuses = Ingest::new(|_| Script { refuse: Some(BAD_NAME), ..Script::default() });
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("rtmp://{}/live/key", silent.local_addr().unwrap());
    let nobody = format!("rtmp://127.0.0.1:{}/live/key", closed_port());
    let add = |rig: &Rig, url: &str| rig.server.target_add(rig.stream, push(url)).unwrap();
    for end in ["the targets", "the stream", "the server"] {
        let mut rig = Rig::new();
        let urls = [&good.url(), &refuses.url(), &silent_url, &nobody];
        let mut targets: Vec<u64> = urls.iter().map(|url| add(&rig, url)).collect();
        rig.begin(0);
        rig.wait_for(targets[0], State::InProgress);
        rig.wait_for(targets[1], State::Failed);
        rig.wait_for(targets[2], State::Handshake);
        rig.wait_for(targets[3], State::Recovering);
        targets.push(add(&rig, &good.url())); // just begun
        match end {
            "the targets" => targets.iter().for_each(|&id| rig.server.target_stop(id, 100).unwrap()),
            "the stream" => rig.server.stream_stop(rig.stream, 100).unwrap(),
            _ => rig.server.shutdown().unwrap(),
        }
        for &target in &targets {
            let last = until(end, || rig.moves(target).into_iter().find(|event| event.state == State::Stopped));
            assert!(last.error.is_some(), "{end}: an end has a cause");
        }
        std::thread::sleep(Duration::from_millis(50));
        for &target in &targets {
            assert_eq!(rig.lasts(target), 1, "{end}");
            let moves = rig.moves(target);
            let last = moves.last().unwrap();
            assert_eq!(last.flags & flag::LAST, flag::LAST, "{end}: nothing comes after the last event");
            assert_eq!(
                (moves[0].prev, moves[0].state),
                (State::None, State::Idle),
                "{end}: the first event is the first"
            );
            assert!(moves.windows(2).all(|pair| pair[0].state == pair[1].prev), "{end}: no move is missing");
        }
    }
}

#[test]
fn a_reconnect_request_is_honoured_at_once() {
    let other = Ingest::good();
    let there = format!("rtmp://127.0.0.1:{}/live", other.port);
    let first = Ingest::new(move |_| Script { then: Then::Elsewhere(Some(there.clone())), ..Script::default() });
    let mut rig = Rig::new();
    let config = TargetConfig { retry_min_ms: 60_000, retry_max_ms: 60_000, ..push(&first.url()) };
    let target = rig.server.target_add(rig.stream, config).unwrap();
    rig.begin(0);
    until("media at the other server", || {
        let ts_ms = rig.frames * 40;
        rig.frame(ts_ms, 500);
        other.visits().first().is_some_and(|visit| visit.media.len() > 3).then_some(())
    });
    let visit = &other.visits()[0];
    assert_eq!((visit.app.as_str(), visit.key.as_str()), ("live", "key"), "the key goes with it");
    assert_eq!(first.visits()[0].caps_ex & 1, 1, "CAPS_RECONNECT is announced");
    rig.take_events();
    let told = rig.events.iter().find(|event| event.kind == EventKind::Reconnect).expect("RR_EV_RECONNECT");
    assert_eq!((told.target, told.text.as_slice()), (target, &b"going down"[..]));
    assert_eq!(told.url, format!("rtmp://127.0.0.1:{}/live", other.port).into_bytes());
    assert!(!rig.states(target).contains(&State::Recovering), "no failure");
}

#[test]
fn the_reason_of_a_server_that_left_is_reported_also_after_a_failed_write() {
    let leaves = Ingest::new(|_| Script { then: Then::SayAndReset("NetStream.Failed"), ..Script::default() });
    let mut rig = Rig::new();
    rig.begin(0);
    let target = rig.server.target_add(rig.stream, push(&leaves.url())).unwrap();
    let failed = rig.wait_for(target, State::Failed);
    assert_eq!(failed.error, Some(RRError::Rejected), "{failed:?}");
    assert!(String::from_utf8_lossy(&failed.text).contains("NetStream.Failed: that was all"), "{failed:?}");
    assert_eq!(leaves.count(), 2, "refused twice");
}

#[test]
fn servers_that_always_send_us_back_are_waited_for() {
    let again = Ingest::new(|_| Script { then: Then::Elsewhere(None), ..Script::default() });
    let mut rig = Rig::new();
    let config = TargetConfig { retry_min_ms: 60_000, retry_max_ms: 60_000, ..push(&again.url()) };
    let target = rig.server.target_add(rig.stream, config).unwrap();
    rig.begin(0);
    let failure = until("a failure", || {
        rig.frame(40, 100);
        rig.moves(target).into_iter().find(|event| event.state == State::Recovering)
    });
    assert_eq!(failure.error, Some(RRError::Closed));
    assert_eq!(again.count(), 6, "five times at once, then with waits");
}

#[test]
fn without_media_a_target_is_closed_and_comes_back_with_it() {
    let (good, mut rig) = (Ingest::good(), Rig::new());
    let config = TargetConfig { idle_ms: Some(300), ..push(&good.url()) };
    let target = rig.server.target_add(rig.stream, config).unwrap();
    rig.begin(0);
    rig.wait_for(target, State::InProgress);
    rig.wait_times(target, State::Idle, 2); // the first was when it was added
    assert_eq!(good.count(), 1);
    rig.begin(400);
    rig.wait_times(target, State::InProgress, 2);
    assert!(!rig.states(target).contains(&State::Recovering), "that is no failure");
}

/// The two methods, as an application's query names them.
const LOGINS: [(Login, &str); 2] = [(login::adobe, "adobe"), (login::limelight, "llnw")];

/// A target that logs in.
fn known(password: &str, url: &str) -> TargetConfig {
    TargetConfig { username: Some(login::USER.to_owned()), password: Some(password.to_owned()), ..push(url) }
}

#[test]
fn a_server_that_wants_a_login_gets_one() {
    for (login, method) in LOGINS {
        let (server, mut rig) = (Ingest::new(move |_| Script { login, ..Script::default() }), Rig::new());
        let config =
            TargetConfig { bind_addr: Some("127.0.0.5".parse().unwrap()), ..known(login::PASSWORD, &server.url()) };
        let target = rig.server.target_add(rig.stream, config).unwrap();
        rig.begin(0);
        rig.wait_for(target, State::InProgress);
        until("media at the server", || {
            let ts_ms = rig.frames * 40;
            rig.frame(ts_ms, 500);
            (server.visits().last()?.media.len() > 3).then_some(())
        });
        let visits = server.visits();
        let apps: Vec<&str> = visits.iter().map(|visit| visit.app.as_str()).collect();
        assert_eq!(&apps[..2], ["live", &format!("live?authmod={method}&user=me")]);
        assert!(apps.len() == 3 && visits[2].tc_url.ends_with(apps[2]) && visits[2].key == "key", "{visits:?}");
        assert!(!visits[2].tc_url.contains(login::PASSWORD));
        assert_eq!(visits[2].from, "127.0.0.5", "bind_addr");
        drop(visits);
        assert!(!rig.states(target).contains(&State::Recovering), "a challenge is no failure");
    }
}

#[test]
fn a_login_that_is_not_taken_fails_for_good() {
    for (login, method) in LOGINS {
        let (server, mut rig) = (Ingest::new(move |_| Script { login, ..Script::default() }), Rig::new());
        let target = rig.server.target_add(rig.stream, known("guessed", &server.url())).unwrap();
        rig.begin(0);
        let failed = rig.wait_for(target, State::Failed);
        assert_eq!(failed.error, Some(RRError::Auth), "a wrong {method} password does not pass by itself");
        assert_eq!(server.count(), 3);
        let nameless = TargetConfig { username: Some("you".to_owned()), ..known(login::PASSWORD, &server.url()) };
        let nameless = rig.server.target_add(rig.stream, nameless).unwrap();
        let failed = rig.wait_for(nameless, State::Failed);
        assert_eq!((failed.error, server.count()), (Some(RRError::Auth), 5), "an unknown user of {method}");
    }
}

#[test]
fn a_server_that_never_has_enough_of_a_login_is_left() {
    for login in [login::always_adobe, login::always_limelight, login::in_turn] {
        let (server, mut rig) = (Ingest::new(move |_| Script { login, ..Script::default() }), Rig::new());
        let target = rig.server.target_add(rig.stream, known(login::PASSWORD, &server.url())).unwrap();
        rig.begin(0);
        let failed = rig.wait_for(target, State::Failed);
        assert_eq!(failed.error, Some(RRError::Auth));
        assert!(server.count() <= 3, "{:?}", server.visits());
    }
}

#[test]
fn figures_of_a_target_grow_over_all_its_connections() {
    let after = Duration::from_millis(1_500);
    let flaky = Ingest::new(move |number| match number {
        0 => Script { then: Then::Reset(after), ..Script::default() },
        _ => Script::default(),
    });
    let mut rig = Rig::new();
    let target = rig.server.target_add(rig.stream, push(&flaky.url())).unwrap();
    rig.begin(0);
    let mut last = rig.server.stats(target).unwrap();
    let mut grow_until = |rig: &mut Rig, what: &str, done: &dyn Fn(&Stats) -> bool| {
        until(what, || {
            let ts_ms = rig.frames * 10;
            rig.frame(ts_ms, 2_000);
            let now = rig.server.stats(target).unwrap();
            let pairs = [(last.bytes_in, now.bytes_in), (last.bytes_out, now.bytes_out), (last.msgs_out, now.msgs_out)];
            assert!(pairs.iter().all(|(before, now)| now >= before), "back from {last:?} to {now:?}");
            last = now;
            done(&now).then_some(now)
        })
    };
    // The bytes of an ingest until media flows; the handshake alone is 3,073 bytes.
    let first = grow_until(&mut rig, "a look at the first", &|now| now.bytes_in > 3_073 && now.msgs_out > 10);
    let second = grow_until(&mut rig, "a look at the second", &|now| {
        now.connects == 2 && now.bytes_in >= 2 * first.bytes_in && now.rtt_us > 0 && now.kbps_out > 0
    });
    assert!(second.failures == 1 && second.started_us > 0 && second.last_media_us > second.started_us, "{second:?}");
    let info = rig.server.info(target).unwrap();
    let from = info.local_addr.strip_prefix("127.0.0.1:").and_then(|port| port.parse::<u16>().ok());
    assert!(from.is_some_and(|port| port > 0), "{info:?}");
    assert_eq!((info.addr, info.role.name()), (format!("127.0.0.1:{}", flaky.port), "target"));
}

#[test]
fn a_waiting_target_tries_at_once_when_the_host_says_so() {
    let port = closed_port();
    let mut rig = Rig::new();
    let url = format!("rtmp://127.0.0.1:{port}/live/key");
    let config = TargetConfig { retry_min_ms: 600_000, retry_max_ms: 600_000, ..push(&url) };
    let target = rig.server.target_add(rig.stream, config).unwrap();
    rig.begin(0);
    rig.wait_for(target, State::Recovering);
    assert!(rig.server.info(target).unwrap().retry_in_ms > 500_000, "it would wait for ten minutes");
    let _ingest = Ingest::at(&format!("127.0.0.1:{port}"), |_| Script::default());
    rig.server.target_retry(target).unwrap();
    rig.wait_for(target, State::InProgress);
}

#[test]
fn a_url_that_ends_with_the_application_goes_with_the_streams_own_key() {
    let (named, plain, mut rig) = (Ingest::good(), Ingest::good(), Rig::new());
    let app = |ingest: &Ingest| format!("rtmp://127.0.0.1:{}/live", ingest.port);
    let deep = format!("rtmp://127.0.0.1:{}/live/instance/key?query=1", named.port);
    let backup =
        TargetConfig { backup_urls: vec![app(&plain)], ..push(&format!("rtmp://127.0.0.1:{}/live", closed_port())) };
    for config in [push(&deep), push(&format!("{}/", app(&plain))), backup] {
        rig.server.target_add(rig.stream, config).unwrap();
    }
    rig.begin(0);
    until("three pushes", || (plain.visits().len() + named.visits().len() == 3).then_some(()));
    let keys = |ingest: &Ingest| {
        until("all have said what they publish", || {
            let visits = ingest.visits();
            visits
                .iter()
                .all(|visit| !visit.key.is_empty())
                .then(|| visits.iter().map(|visit| (visit.app.clone(), visit.key.clone())).collect::<Vec<_>>())
        })
    };
    let own = String::from_utf8(rig.server.info(rig.stream).unwrap().key).unwrap();
    assert_eq!(keys(&plain), vec![("live".to_owned(), own); 2]);
    assert_eq!(keys(&named), [("live".to_owned(), "instance/key?query=1".to_owned())]);
}
