//! The effect of each answer of a controller: relays, pulls, refusals, questions that are asked again.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::backend::{Backend, json};
use super::live::{Live, PATIENCE, until};
use super::{Node, at, nothing, relay, value, why};
use rrelay::config::{ControllerConfig, ServerConfig, StreamConfig, TargetConfig};
use rrelay::error::RRError;
use rrelay::server::Action;
use rrelay::server::ListenOptions;
use rrelay::server::kind;
use rrelay::session::{Role, State};

fn url(live: &Live) -> String {
    format!("rtmp://127.0.0.1:{}/live", live.port)
}

fn pull(url: &str) -> super::Answer {
    json(&format!(r#"{{"action": "pull", "urls": ["{url}"]}}"#))
}

#[test]
fn a_stream_that_begins_goes_on_to_what_the_controller_names() {
    let far = Live::new(ServerConfig::default());
    let to = url(&far);
    let named = to.clone();
    let backend = Backend::new(move |_| relay(&[&named]));
    let (token, secret) = (Some("token-of-tests".to_owned()), Some(b"secret".to_vec()));
    let node = Node::new(ControllerConfig { token, secret, ..at(&backend) });
    let mut player = far.play("show");
    let mut publisher = node.begin("show?token=a", true).unwrap();
    publisher.key_frame(0, &[7; 100]).unwrap();
    assert_eq!(player.message().1[5..], [7; 100]);

    let asked = backend.at("v1/next").remove(0);
    let body = value(&asked);
    for (name, is) in [("why", "publish"), ("app", "live"), ("key", "show"), ("self", "rtmp://this.example:1935")] {
        assert_eq!(body[name], is, "{body}");
    }
    assert_eq!((&body["tried"], &body["load"]["sessions"]), (&serde_json::json!([]), &1.into()), "{body}");
    assert_eq!(asked.header("authorization"), Some("Bearer token-of-tests"));
    assert!(asked.header("x-rrelay-signature").unwrap().starts_with("sha256="));
    until("the answer is told", || !node.told().is_empty());
    let told = node.told().remove(0);
    assert_eq!((told.action, told.error, told.url), (Action::Relay, None, to.clone().into_bytes()));
    assert_eq!((&told.app[..], &told.key[..], &told.text[..]), (&b"live"[..], &b"show"[..], &b"publish: relay"[..]));
    assert!(told.session != 0 && told.value == 300_000);
    // Targets that the stream already has are not added again.
    node.rest.ask_controller(node.stream("show").unwrap(), "moved").unwrap();
    until("the host is answered", || node.told().len() == 2);
    let told = node.told().remove(1);
    assert_eq!(
        (told.action, told.stream, &told.text[..]),
        (Action::Relay, node.stream("show").unwrap(), &b"moved: relay"[..])
    );
    assert_eq!(node.targets("show"), [(Role::Target, to)]);
    node.live.line_with(&["controller, publish of live/", "relay rtmp://127.0.0.1"]);
    assert_eq!(node.live.lines_with("token"), 0, "credentials are shown nowhere");
}

#[test]
fn a_refusal_reaches_publisher_and_player_in_words() {
    let backend =
        Backend::new(|asked| json(&format!(r#"{{"action": "reject", "text": "no room to {}"}}"#, why(asked))));
    let node = Node::new(at(&backend));
    let failure = node.begin("show", true).err().unwrap();
    assert!(
        failure.text.contains("NetStream.Publish.Denied") && failure.text.contains("no room to publish"),
        "{failure}"
    );
    let failure = node.begin("show", false).err().unwrap();
    assert!(failure.text.contains("NetStream.Play.Failed") && failure.text.contains("no room to play"), "{failure}");
    assert!(node.stream("show").is_none());
    until("both are told of", || node.told().len() == 2);
    assert!(node.told().iter().all(|event| event.action == Action::Reject));
}

#[test]
fn a_play_of_an_absent_stream_is_pulled_for_all_who_ask_with_one_question() {
    let origin = Live::new(ServerConfig::default());
    let mut publisher = origin.publish("show");
    publisher.key_frame(0, &[7; 100]).unwrap();
    let held = Arc::new(AtomicBool::new(true));
    let (from, hold) = (url(&origin), Arc::clone(&held));
    let backend = Backend::new(move |asked| {
        while why(asked) == "play" && hold.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(2));
        }
        pull(&from)
    });
    let node = Arc::new(Node::new(at(&backend)));
    let http =
        node.live.server.listen("127.0.0.1:0", ListenOptions { http: true, ..ListenOptions::default() }).unwrap();
    let players: Vec<_> = (0..3)
        .map(|_| {
            let node = Arc::clone(&node);
            std::thread::spawn(move || node.begin("show", false).unwrap())
        })
        .collect();
    let mut over_http = TcpStream::connect(("127.0.0.1", http)).unwrap();
    over_http.write_all(b"GET /live/show.flv HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let waits = |id| node.live.server.info(id).is_ok_and(|info| info.key == b"show");
    let all_wait = || node.live.server.list(0, kind::SESSION).unwrap().into_iter().filter(|id| waits(*id)).count() == 4;
    until("all wait for the answer", all_wait);
    held.store(false, Ordering::Relaxed);
    for player in players {
        assert_eq!(player.join().unwrap().message().1[5..], [7; 100]);
    }
    over_http.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut read = vec![0; 4096];
    let n = over_http.read(&mut read).unwrap();
    assert!(read[..n].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&read[..n]));
    assert_eq!(backend.asked().len(), 1);
    assert_eq!(node.targets("show"), [(Role::Source, url(&origin))]);
    // No further question is asked about a stream that has media.
    let mut late = node.begin("show", false).unwrap();
    assert_eq!(late.message().1[5..], [7; 100]);
    assert_eq!(backend.asked().len(), 1);
}

#[test]
fn sessions_that_must_wait_stay_on_the_stream_and_cause_another_question() {
    let origin = Live::new(ServerConfig::default());
    let mut publisher = origin.publish("late");
    publisher.key_frame(0, &[7; 100]).unwrap();
    let from = url(&origin);
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let backend = Backend::new(move |asked| match value(asked)["key"].as_str() {
        _ if !over.load(Ordering::Relaxed) => json(r#"{"action": "wait", "ttl_ms": 200}"#),
        Some("late") => pull(&from),
        Some("never") => json(r#"{"action": "reject", "text": "it does not begin"}"#),
        _ if why(asked) == "publish" => json(r#"{"action": "reject", "text": "go away"}"#),
        _ => nothing(),
    });
    let node = Node::new(at(&backend));
    let mut late = node.begin("late", false).unwrap();
    let mut never = node.begin("never", false).unwrap();
    let mut unwanted = node.begin("unwanted", true).unwrap();
    unwanted.key_frame(0, &[1; 10]).unwrap();
    until("each is asked about again", || backend.asked().len() >= 6);
    let told = node.told();
    assert!(told.iter().all(|event| event.action == Action::Wait && event.value == 200), "{told:?}");
    is_over.store(true, Ordering::Relaxed);
    assert_eq!(late.message().1[5..], [7; 100]);
    never.closed();
    unwanted.closed();
    for (addr, words) in [(never.addr(), "it does not begin"), (unwanted.addr(), "go away")] {
        let end = node.live.end_of(&addr);
        assert_eq!(String::from_utf8_lossy(&end.text), words);
    }
}

#[test]
fn sessions_that_wait_on_the_stream_are_answered_with_those_that_come_later() {
    let (times, held) = (Arc::<AtomicUsize>::default(), Arc::new(AtomicBool::new(true)));
    let (asked, hold) = (Arc::clone(&times), Arc::clone(&held));
    let backend = Backend::new(move |_| {
        if asked.fetch_add(1, Ordering::Relaxed) == 0 {
            return json(r#"{"action": "wait", "ttl_ms": 100}"#);
        }
        while hold.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(2));
        }
        json(r#"{"action": "reject", "text": "it does not begin"}"#)
    });
    let node = Arc::new(Node::new(at(&backend)));
    let mut first = node.begin("show", false).unwrap();
    until("it is asked about again", || times.load(Ordering::Relaxed) == 2);
    let second = {
        let node = Arc::clone(&node);
        std::thread::spawn(move || node.begin("show", false))
    };
    let waits = |id| node.live.server.info(id).is_ok_and(|info| info.key == b"show");
    let both = || node.live.server.list(0, kind::SESSION).unwrap().into_iter().filter(|id| waits(*id)).count() == 2;
    until("both wait", both);
    held.store(false, Ordering::Relaxed);
    assert!(second.join().unwrap().err().unwrap().text.contains("it does not begin"));
    first.closed();
    assert_eq!(String::from_utf8_lossy(&node.live.end_of(&first.addr()).text), "it does not begin");
}

#[test]
fn a_lost_relay_is_replaced_by_another_and_other_targets_go_on() {
    let [first, second, own] = [(); 3].map(|()| Live::new(ServerConfig::default()));
    let (to_first, to_second) = (url(&first), url(&second));
    let backend =
        Backend::new(move |asked| if why(asked) == "publish" { relay(&[&to_first]) } else { relay(&[&to_second]) });
    let node = Node::new(at(&backend));
    let (mut near, mut far) = (first.play("show"), second.play("show"));
    let mut publisher = node.begin("show", true).unwrap();
    let stream = node.stream("show").unwrap();
    let config = TargetConfig { url: url(&own), retry_min_ms: 20, ..TargetConfig::default() };
    let owns = node.live.server.target_add(stream, config).unwrap();
    publisher.key_frame(0, &[7; 100]).unwrap();
    assert_eq!(near.message().1[5..], [7; 100]);
    let runs = |state| node.live.server.info(owns).unwrap().state == state;
    until("the host's own target runs", || runs(State::InProgress));

    let lost = url(&first);
    first.server.shutdown().unwrap();
    drop(first);
    assert_eq!(far.message().1[5..], [7; 100], "from its cached picture on");
    publisher.key_frame(40, &[8; 100]).unwrap();
    assert_eq!(far.message().1[5..], [8; 100]);
    let asked = value(&backend.at("v1/next").remove(1));
    assert_eq!((&asked["why"], &asked["role"]), (&"target_lost".into(), &"target".into()));
    assert_eq!(asked["tried"], serde_json::json!([lost]));
    let only = [(Role::Target, url(&own)), (Role::Target, url(&second))];
    until("the lost one is gone", || {
        let mut targets = node.targets("show");
        targets.sort_by_key(|(_, url)| *url != only[0].1);
        targets == only
    });
    let told = node.told().into_iter().find(|event| event.target != 0).unwrap();
    assert_eq!((told.action, told.stream, &told.text[..]), (Action::Relay, stream, &b"target_lost: relay"[..]));

    // Targets that no controller named are the host's, so no question is asked about them.
    own.server.shutdown().unwrap();
    until("it is lost and tried again", || node.live.server.stats(owns).unwrap().failures >= 2);
    assert_eq!(backend.asked().len(), 2);
}

#[test]
fn a_source_that_is_lost_is_replaced_by_another() {
    let [first, second] = [(); 2].map(|()| Live::new(ServerConfig::default()));
    let mut publishers = [first.publish("show"), second.publish("show")];
    for (publisher, byte) in publishers.iter_mut().zip([1, 2]) {
        publisher.key_frame(0, &[byte; 100]).unwrap();
    }
    let (from_first, from_second) = (url(&first), url(&second));
    let backend = Backend::new(move |asked| pull(if why(asked) == "play" { &from_first } else { &from_second }));
    let stream = StreamConfig { grace_ms: 60_000, ..StreamConfig::default() };
    let node = Node::with(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() }, at(&backend));
    let mut player = node.begin("show", false).unwrap();
    assert_eq!(player.message().1[5..], [1; 100]);
    first.server.shutdown().unwrap();
    assert_eq!(player.message().1[5..], [2; 100]);
    let asked = value(&backend.at("v1/next").remove(1));
    assert_eq!((&asked["role"], &asked["tried"]), (&"source".into(), &serde_json::json!([url(&first)])));
    until("the lost one is gone", || node.targets("show") == [(Role::Source, url(&second))]);
}

#[test]
fn a_relay_that_is_back_before_the_answer_is_kept() {
    let far = Live::new(ServerConfig::default());
    let (to, held) = (url(&far), Arc::new(AtomicBool::new(true)));
    let hold = Arc::clone(&held);
    let backend = Backend::new(move |asked| {
        while why(asked) == "target_lost" && hold.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(2));
        }
        relay(&[if why(asked) == "publish" { &to } else { "rtmp://127.0.0.1:9/elsewhere" }])
    });
    let node = Node::new(at(&backend));
    let mut publisher = node.begin("show", true).unwrap();
    publisher.key_frame(0, &[7; 100]).unwrap();
    let of_far = || far.server.list(far.server.stream_find(b"live", b"show").ok()?, kind::SESSION).ok()?.pop();
    let mut session = None;
    until("it is pushed on", || {
        session = of_far();
        session.is_some()
    });
    far.server.session_close(session.unwrap(), "come again", 0).unwrap();
    until("it is back", || of_far().is_some_and(|again| Some(again) != session));
    let target = node.live.server.list(node.stream("show").unwrap(), kind::TARGET).unwrap().remove(0);
    until("and runs", || node.live.server.info(target).unwrap().state == State::InProgress);
    held.store(false, Ordering::Relaxed);
    until("it was answered", || node.told().iter().any(|event| event.target == target));
    assert_eq!(node.targets("show"), [(Role::Target, url(&far))]);
}

#[test]
fn the_host_asks_by_a_word_of_its_own() {
    let asked_for = Arc::new(Mutex::new(Vec::new()));
    let (words, count) = (Arc::clone(&asked_for), Arc::new(AtomicUsize::new(0)));
    let backend = Backend::new(move |asked| {
        words.lock().unwrap().push(why(asked));
        match count.fetch_add(1, Ordering::Relaxed) {
            0 => json(r#"{"action": "reject", "text": "not you"}"#),
            1 => json(r#"{"action": "wait", "ttl_ms": 3600000}"#),
            _ => json(r#"{"action": "pull", "urls": ["rtmp://127.0.0.1:9/live"], "config": {"on_demand": false}}"#),
        }
    });
    let node = Node::new(at(&backend));
    let stream = node.live.server.stream_create(b"live", b"show", None).unwrap();
    let ask = |word: &str, action| {
        let before = node.told().len();
        node.rest.ask_controller(stream, word).unwrap();
        until("it is answered", || node.told().len() > before);
        let told = node.told().pop().unwrap();
        assert_eq!((told.action, told.stream), (action, stream));
    };
    ask("standby", Action::Reject);
    assert_eq!(node.state("show"), Some(State::Idle), "a refusal is the host's to act on");
    ask("standby", Action::Wait);
    ask("moved", Action::Pull);
    let words: Vec<String> = asked_for.lock().unwrap().iter().take(3).cloned().collect();
    assert_eq!(words, ["standby", "standby", "moved"], "a new word is asked at once");
    assert_eq!(node.targets("show"), [(Role::Source, "rtmp://127.0.0.1:9/live".to_owned())]);

    let failed = |word: &str| node.rest.ask_controller(stream, word).unwrap_err().kind;
    for wrong in ["", "two words", &"x".repeat(65)] {
        assert_eq!(failed(wrong), RRError::Arg, "{wrong}");
    }
    assert_eq!(node.rest.ask_controller(stream + 1, "moved").unwrap_err().kind, RRError::NotFound);
    node.rest.set_controller(None).unwrap();
    assert_eq!(failed("moved"), RRError::State);
    drop(node.begin("after", true).unwrap());
    assert!(!asked_for.lock().unwrap().iter().any(|word| word == "publish"), "nobody is asked any more");
}
