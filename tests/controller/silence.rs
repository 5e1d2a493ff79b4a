//! Controllers that are slow, silent, broken or hostile: no answer is carried out in part, and nothing that runs stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::backend::{Answer, Backend, json, status};
use super::live::{Live, PATIENCE, until};
use super::reserved::Reserved;
use super::{Node, at, at_each, nothing, relay, value};
use rrelay::config::{ControllerConfig, ServerConfig};
use rrelay::server::Action;
use rrelay::session::{Role, State};

/// Faults of a controller, each with words of its log line.
fn wrong() -> Vec<(&'static str, Answer, &'static str)> {
    let long = "x".repeat(100_000);
    vec![
        ("500", status("500 Internal Server Error"), "answered 500"),
        ("forbidden", status("403 Forbidden"), "answered 403"),
        ("a redirect", status("302 Found\r\nLocation: /v1/next"), "answered 302"),
        ("garbage", Answer::Bytes("hello\r\n\r\n".to_owned()), "http://127.0.0.1"),
        ("closed", Answer::Close, "http://127.0.0.1"),
        ("silent", Answer::Silence, "in time"),
        ("slow", Answer::Open("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_owned()), "in time"),
        ("no body", status("200 OK"), "its answer"),
        ("no json", json("relay"), "its answer"),
        ("too long", json(&format!(r#"{{"action": "reject", "text": "{long}"}}"#)), "its answer"),
        ("deep", json(&"[".repeat(60_000)), "its answer"),
        ("no such action", json(r#"{"action": "explode"}"#), "explode"),
        (
            "an action of another question",
            json(r#"{"action": "pull", "urls": ["rtmp://127.0.0.1:9/live"]}"#),
            "answers no",
        ),
        ("one bad url", relay(&["rtmp://127.0.0.1:9/live", "http://127.0.0.1:9/live"]), "its answer"),
        (
            "one bad setting",
            json(r#"{"action": "relay", "urls": ["rtmp://127.0.0.1:9/live"], "config": {"queue_ms": 1}}"#),
            "queue_ms",
        ),
        (
            "no pin",
            json(
                r#"{"action": "relay", "urls": ["rtmp://127.0.0.1:9/live", "rtmps://127.0.0.1:9/live"],
                     "config": {"pin_sha256": "none"}}"#,
            ),
            "cannot be carried out",
        ),
    ]
}

#[test]
fn a_bad_answer_is_refused_whole_and_the_publisher_is_let_in_without() {
    for (what, _, words) in wrong() {
        let backend = Backend::new(move |_| wrong().into_iter().find(|(name, ..)| *name == what).unwrap().1);
        let timeout_ms = if ["silent", "slow"].contains(&what) { 300 } else { 30_000 };
        let token = Some("token-of-tests".to_owned());
        let node = Node::new(ControllerConfig { timeout_ms, token, ..at(&backend) });
        let mut publisher = node.begin("show", true).unwrap();
        publisher.key_frame(0, &[7; 10]).unwrap();
        until(&format!("{what}: it is told"), || !node.told().is_empty());
        let told = node.told().remove(0);
        assert!(told.error.is_some(), "{what}: {told:?}");
        node.live.line_with(&["controller, publish of live/", words]);
        until("its media flows", || node.state("show") == Some(State::InProgress));
        assert_eq!(node.targets("show"), [], "{what}");
        assert_eq!(node.live.lines_with("token-of-tests"), 0);
    }
}

#[test]
fn controllers_are_asked_in_their_order_until_one_answers() {
    let broken = Backend::new(|_| json(r#"{"action": "explode"}"#));
    let good = Backend::new(|_| json(r#"{"action": "reject", "text": "by the third"}"#));
    let deaf = Reserved::new();
    let node = Node::new(at_each(&[format!("http://{}", deaf.address()), broken.url("below/"), good.url("")]));
    assert!(node.begin("show", true).err().unwrap().text.contains("by the third"));
    assert_eq!((broken.at("below/v1/next").len(), good.asked().len()), (1, 1));
}

#[test]
fn without_an_answer_the_one_before_is_taken_while_it_stands() {
    let is_up = Arc::new(AtomicBool::new(true));
    let up = Arc::clone(&is_up);
    let backend = Backend::new(move |asked| match up.load(Ordering::Relaxed) {
        false => status("503 Service Unavailable"),
        true if value(asked)["key"] == "short" => {
            json(r#"{"action": "relay", "urls": ["rtmp://127.0.0.1:9/b"], "ttl_ms": 0}"#)
        }
        true => relay(&["rtmp://127.0.0.1:9/a"]),
    });
    let node = Node::new(at(&backend));
    for key in ["lasting", "short"] {
        drop(node.begin(key, true).unwrap());
        until("it has ended", || node.stream(key).is_none());
    }
    is_up.store(false, Ordering::Relaxed);
    let _publishers = ["lasting", "short"].map(|key| node.begin(key, true).unwrap());
    until("both are told of", || node.told().len() == 4);
    let told: Vec<_> = node.told().iter().skip(2).map(|event| (event.action, event.error.is_some())).collect();
    assert_eq!(told, [(Action::Relay, true), (Action::None, true)]);
    assert_eq!(node.targets("lasting"), [(Role::Target, "rtmp://127.0.0.1:9/a".to_owned())]);
    assert_eq!(node.targets("short"), []);
}

#[test]
fn a_slow_controller_delays_only_its_own_session() {
    let held = Arc::new(AtomicBool::new(true));
    let (hold, reached) = (Arc::clone(&held), Arc::new(AtomicBool::new(false)));
    let asks = Arc::clone(&reached);
    let backend = Backend::new(move |asked| {
        let by = Instant::now() + PATIENCE;
        while value(asked)["key"] == "slow" && hold.load(Ordering::Relaxed) && Instant::now() < by {
            asks.store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(2));
        }
        nothing()
    });
    let node = Arc::new(Node::new(at(&backend)));
    let slow = {
        let node = Arc::clone(&node);
        std::thread::spawn(move || node.begin("slow", true))
    };
    until("it is asked about the slow one", || reached.load(Ordering::Relaxed));
    for n in 0..5 {
        node.begin(&format!("quick-{n}"), true).unwrap();
    }
    assert!(!slow.is_finished() && node.stream("slow").is_none());
    held.store(false, Ordering::Relaxed);
    slow.join().unwrap().unwrap();
}

#[test]
fn waiting_sessions_are_let_in_when_the_controller_is_removed() {
    let backend = Backend::new(|_| Answer::Silence);
    let node = Arc::new(Node::new(at(&backend)));
    let client = {
        let node = Arc::clone(&node);
        std::thread::spawn(move || node.begin("show", true))
    };
    let waits = || node.live.server.list(0, rrelay::server::kind::SESSION).unwrap();
    until("it waits", || waits().iter().any(|id| node.live.server.info(*id).is_ok_and(|info| info.key == b"show")));
    until("the controller is asked", || !backend.asked().is_empty());
    let began = Instant::now();
    node.rest.set_controller(None).unwrap();
    client.join().unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(25), "before the question's time is over");
}

#[test]
fn controllers_hear_how_much_there_is_to_do_and_of_every_stream() {
    let backends = [(); 2].map(|()| Backend::new(|_| status("204 No Content")));
    let broken = Backend::new(|_| status("500 Internal Server Error"));
    let urls: Vec<String> = backends.iter().chain([&broken]).map(|backend| backend.url("")).collect();
    let live = Live::new(ServerConfig::default());
    let mut publisher = live.publish("show");
    publisher.key_frame(0, &[7; 100]).unwrap();
    until("media flows", || live.server.stats(0).unwrap().sessions == 1);
    let rest = rrelay::rest::Rest::new(Arc::clone(&live.server));
    let config = ControllerConfig { heartbeat_ms: Some(1_000), ..at_each(&urls) };
    rest.set_controller(Some(config)).unwrap();
    until("two heartbeats each", || backends.iter().all(|backend| backend.at("v1/heartbeat").len() >= 2));
    let in_progress = |body: &serde_json::Value| body["streams"][0]["state"] == "IN_PROGRESS";
    until("media is told of", || backends[0].asked().iter().any(|asked| in_progress(&value(asked))));
    let body = backends[0].asked().iter().map(value).find(in_progress).unwrap();
    assert_eq!(
        (&body["self"], &body["next_ms"], &body["left_out"]),
        (&"rtmp://this.example:1935".into(), &1000.into(), &0.into())
    );
    assert_eq!((&body["load"]["streams"], &body["load"]["sessions"]), (&1.into(), &1.into()), "{body}");
    let stream = &body["streams"][0];
    assert_eq!((&stream["app"], &stream["key"], &stream["targets"]), (&"live".into(), &"show".into(), &0.into()));
    live.line_with(&["the heartbeat failed", "answered 500"]);
    assert_eq!(live.server.list(0, rrelay::server::kind::STREAM).unwrap().len(), 1);
}
