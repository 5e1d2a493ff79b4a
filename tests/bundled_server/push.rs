//! Pushes: the streams that are pushed, the servers, and the keys.

use rrelay::server::{Event, EventKind, ListenOptions};
use rrelay::session::State;

use super::Server;
use super::secure::Papers;
use super::support::rml::{Client, key_frame, sequence_header};
use super::support::server::Relay;
use super::support::until;

/// Waits until this stream has come to a server.
fn has(relay: &Relay, app: &str, key: &str) {
    until(&format!("{app}/{key} is pushed"), || {
        let stream = relay.server.stream_find(app.as_bytes(), key.as_bytes()).ok()?;
        (relay.server.info(stream).ok()?.state == State::InProgress).then_some(())
    });
}

/// Publishes to an application of any depth.
fn publish(port: u16, app: &str, key: &str) -> Client {
    let mut publisher = Client::publish_to(port, app, key);
    publisher.send(0, sequence_header(1));
    publisher.send(0, key_frame(1));
    publisher
}

#[test]
fn a_push_matches_the_path_however_its_encoder_cuts_it_and_rooms_keys_do_not_collide() {
    let (by_app, by_room, all, one) = (Relay::new(), Relay::new(), Relay::new(), Relay::new());
    let push = |path: &str, to: &Relay, rest: &str| format!("{path}rtmp://127.0.0.1:{}/to{rest}", to.port);
    let pushes = [
        push("live=", &by_app, ""),
        push("live/a=", &by_room, "/at-{key}"),
        push("", &all, "/"),
        push("live/b/cam=", &one, "/{key}"),
    ];
    let options: Vec<&str> = pushes.iter().flat_map(|push| ["--push", push]).collect();
    let server = Server::start(&options);
    let _a = publish(server.port, "live", "a/cam");
    let _b = publish(server.port, "live/b", "/cam?token=hidden");
    let _other = publish(server.port, "lively", "cam");
    for relay in [&by_app, &all] {
        has(relay, "to", "a/cam");
        has(relay, "to", "b/cam");
    }
    has(&all, "to", "cam");
    has(&by_room, "to", "at-cam");
    has(&one, "to", "cam");
    let streams = |relay: &Relay| relay.server.list(0, rrelay::server::kind::STREAM).unwrap().len();
    assert_eq!([&by_app, &by_room, &all, &one].map(streams), [2, 1, 3, 1]);
}

#[test]
fn a_push_over_tls_takes_a_certificate_by_its_root_its_pin_or_without_a_check_and_no_other() {
    let (papers, far) = (Papers::new("bundled-trust"), Relay::new());
    far.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let port = far.server.listen("127.0.0.1:0", ListenOptions { tls: true, ..ListenOptions::default() }).unwrap();
    let (root, pin) = (papers.certificate.to_str().unwrap(), &*papers.pin);
    let wrong = "0".repeat(64);
    let ways = [
        ("root", &["--ca", root][..]),
        ("pinned", &["--pin", pin]),
        ("unchecked", &["--insecure"]),
        ("unknown", &[]),
        ("other-pin", &["--pin", &wrong]),
    ];
    let urls = ways.map(|(app, _)| format!("rtmps://127.0.0.1:{port}/{app}"));
    let pushes =
        ways.iter().zip(&urls).flat_map(|((_, trust), url)| ["--push", url].into_iter().chain(trust.iter().copied()));
    let mut server = Server::start(&pushes.collect::<Vec<_>>());
    let _publisher = publish(server.port, "live", "show");
    for app in ["root", "pinned", "unchecked"] {
        has(&far, app, "show");
    }
    // In any order.
    let lines = [(); 2].map(|()| server.complains("certificate"));
    for app in ["unknown", "other-pin"] {
        assert!(lines.iter().any(|line| line.contains(&format!("/{app} of "))), "{lines:?}");
        assert!(far.server.stream_find(app.as_bytes(), b"show").is_err());
    }
}

#[test]
fn arguments_are_pushed_only_where_the_host_asks_for_it() {
    let far = Relay::new();
    let push = format!("rtmp://127.0.0.1:{}/to", far.port);
    for (options, query) in [(&["--push", &push][..], ""), (&["--push", &push, "--keep-args"], "token=1")] {
        let server = Server::start(options);
        let _publisher = publish(server.port, "live", "show?token=1");
        let publishes = |event: &Event| event.kind == EventKind::Session && event.key == b"show";
        let pushed = far.event("it is pushed", |event| publishes(event) && event.state == State::InProgress);
        assert_eq!(String::from_utf8_lossy(&pushed.query), query);
        drop(server);
        until("the push is over", || far.server.stream_find(b"to", b"show").is_err().then_some(()));
        far.forget_events();
    }
}

#[test]
fn an_application_may_have_several_parts() {
    let far = Relay::new();
    let base = format!("rtmp://127.0.0.1:{}", far.port);
    let pushes = ["/live/0123//cam", "/live/4567//{key}", "/live/89//"].map(|rest| format!("{base}{rest}"));
    let options: Vec<&str> = pushes.iter().flat_map(|push| ["--push", push]).collect();
    let server = Server::start(&options);
    assert!(
        server.greeting.contains("/live/0123//***\n") && server.greeting.contains("/live/4567//{key}\n"),
        "{}",
        server.greeting
    );
    let _publisher = publish(server.port, "live", "show");
    has(&far, "live/0123", "cam");
    has(&far, "live/4567", "show");
    has(&far, "live/89", "show");
}

#[test]
fn a_stream_has_its_targets_from_its_first_event_on() {
    let far = Relay::new();
    let mut server = Server::start(&["--push", &format!("rtmp://127.0.0.1:{}/to", far.port)]);
    // A player waits for the stream: the stream is there, and nothing is connected yet.
    let player = Client::play(server.port, "show");
    server.says("/to of live/***#1: IDLE");
    assert!(far.events().iter().all(|event| event.session == 0), "nobody connects before there is media");
    // A target does not keep a stream alive that has no publisher and no players.
    drop(player);
    server.says("stream live/***#1: STOPPED");
    let _publisher = publish(server.port, "live", "show");
    has(&far, "to", "show");
}

#[test]
fn many_pushes_are_served() {
    let far = Relay::new();
    let pushes: Vec<String> = (0..100).map(|n| format!("rtmp://127.0.0.1:{}/to/{n}", far.port)).collect();
    let options: Vec<&str> = pushes.iter().flat_map(|push| ["--push", push]).collect();
    let server = Server::start(&options);
    let _publisher = publish(server.port, "live", "show");
    for number in 0..100 {
        has(&far, "to", &number.to_string());
    }
}

#[test]
fn the_end_of_a_push_is_printed_once() {
    let mut server = Server::start(&["--log", "info", "--push", "rtmp://127.0.0.1:1/to"]);
    let _publisher = publish(server.port, "live", "show");
    let line = server.complains("rtmp://127.0.0.1:1/to");
    assert!(line.contains(" WARN target ") && line.contains(": RECOVERING, next try in "), "{line}");
    server.signal(15);
    let (code, said) = server.end();
    assert_eq!(code, Some(0), "{said}");
    let lines = |what: &str| said.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("next try in"), lines(": RECOVERING"), "{said}");
    assert_eq!(lines(" publishes "), 0, "{said}");
}

#[test]
fn a_refused_push_is_named_with_the_reason_however_long_its_url_is() {
    let mut server = Server::start(&["--push", &format!("rtmp://127.0.0.1:1/{}/key", "a".repeat(9000))]);
    let _publisher = publish(server.port, "live", "show");
    let line = server.complains("push to rtmp://127.0.0.1:1/aaa");
    assert!(line.contains("aaa...aaa") && line.contains("aaa/***: "), "it is cut in the middle: {line}");
    assert!(line.contains("no server takes a longer url"), "{line}");
    server.signal(15);
    let (code, said) = server.end();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_push_that_fails_says_why_however_long_its_url_is() {
    let mut server = Server::start(&["--push", &format!("rtmp://127.0.0.1:1/{}/key", "a".repeat(4000))]);
    let _publisher = publish(server.port, "live", "show");
    let line = server.complains("target rtmp://127.0.0.1:1/aaa");
    assert!(line.contains("aaa...aaa") && line.contains("refused"), "{line}");
    server.signal(15);
    let (code, said) = server.end();
    assert_eq!(code, Some(0), "{said}");
}
