//! Our own dialect: the requests to a back end, the effect of each answer, and the outcome for a session whose back end
//! is slow, silent or broken.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::backend::{Answer, Asked, Backend, json, status};
use super::live::{Client, PATIENCE, raw, until};
use super::moving;
use super::reserved::Reserved;
use super::{Hooked, all};
use rrelay::config::{Decision, Dialect, HooksConfig, ServerConfig, ask};
use rrelay::error::{Failure, RRError};
use rrelay::server::{EventKind, ListenOptions, kind};
use rrelay::session::SessionConfig;

fn value(asked: &Asked) -> serde_json::Value {
    serde_json::from_str(&asked.body).unwrap()
}

fn begin(hooked: &Hooked, key: &str, publish: bool) -> Result<Client, Failure> {
    Client::configured(hooked.live.port, key, publish, &SessionConfig::default())
}

fn yes() -> Answer {
    json(r#"{"action": "allow"}"#)
}

#[test]
fn a_back_end_is_asked_once_and_notified_once_with_all_that_is_known() {
    let backend = Backend::new(|_| yes());
    let hooked = Hooked::new(HooksConfig { secret: Some(b"secret".to_vec()), ..all(&backend, Dialect::Json) });
    let mut publisher = begin(&hooked, "show?token=a.b", true).unwrap();
    publisher.key_frame(0, &[7; 100]).unwrap();
    let player = begin(&hooked, "show", false).unwrap();
    until("both were asked about", || backend.at("on_play").len() == 1 && backend.at("on_publish").len() == 1);
    let asked = backend.at("on_publish").remove(0);
    let body = value(&asked);
    for (name, is) in [
        ("hook", "on_publish"),
        ("app", "live"),
        ("key", "show"),
        ("query", "token=a.b"),
        ("type", "live"),
        ("addr", &publisher.addr()),
    ] {
        assert_eq!(body[name], is, "{name} in {body}");
    }
    assert!(asked.header("x-rrelay-signature").unwrap().starts_with("sha256="));
    let play = value(&backend.at("on_play").remove(0));
    assert_eq!((&play["key"], &play["reset"]), (&"show".into(), &true.into()), "{play}");
    let connects = backend.at("on_connect");
    assert_eq!(connects.len(), 2);
    assert!(value(&connects[0]).get("key").is_none());

    drop(player);
    until("the end of the play is told", || backend.at("on_play_done").len() == 1);
    drop(publisher);
    until("the end of the publish is told", || backend.at("on_publish_done").len() == 1);
    let done = value(&backend.at("on_publish_done").remove(0));
    assert_eq!((&done["session"], &done["role"]), (&body["session"], &"publisher".into()), "{done}");
    assert!(done["stats"]["bytes_in"].as_u64().unwrap() > 100, "{done}");
    // Further requests would come before the server's end.
    hooked.rest.set_hooks(None).unwrap();
    assert_eq!((backend.at("on_play_done").len(), backend.at("on_publish_done").len()), (1, 1));
}

#[test]
fn a_denial_reaches_the_encoder_in_words() {
    let backend = Backend::new(|asked| match asked.path() {
        "/on_publish" => json(
            r#"{"action": "deny", "text": "this key has expired", "reason": 7, "code": "NetStream.Publish.BadName"}"#,
        ),
        "/on_play" => status("403 Forbidden"),
        _ => yes(),
    });
    let hooked = Hooked::new(all(&backend, Dialect::Json));
    let failure = begin(&hooked, "show", true).err().unwrap();
    assert!(failure.text.contains("NetStream.Publish.BadName") && failure.text.contains("has expired"), "{failure}");
    let failure = begin(&hooked, "show", false).err().unwrap();
    assert!(failure.text.contains("on_play denied it (403)"), "{failure}");
    hooked.rest.set_hooks(None).unwrap();
    let told = backend.asked().iter().filter(|asked| asked.path().ends_with("_done")).count();
    assert_eq!(told, 0, "who was not let in has not left");
}

#[test]
fn a_back_end_is_asked_and_notified_about_a_player_over_http_as_about_others() {
    let backend = Backend::new(|asked| {
        let denied = asked.path() == "/on_play" && value(asked)["query"] == "no";
        if denied { status("403 Forbidden") } else { yes() }
    });
    let hooked = Hooked::new(all(&backend, Dialect::Json));
    let http = ListenOptions { http: true, ..ListenOptions::default() };
    let port = hooked.live.server.listen("127.0.0.1:0", http).unwrap();
    let mut publisher = begin(&hooked, "show", true).unwrap();
    publisher.key_frame(0, &[7; 100]).unwrap();
    let asks = |query: &str| {
        let mut socket = raw(port);
        write!(socket, "GET /live/show.flv?{query} HTTP/1.0\r\n\r\n").unwrap();
        let mut head = [0; 12];
        socket.read_exact(&mut head).unwrap();
        (socket, String::from_utf8_lossy(&head).into_owned())
    };
    assert!(asks("no").1.ends_with(" 403"));
    let (player, head) = asks("yes");
    assert!(head.ends_with(" 200"), "{head}");
    drop(player);
    until("the back end is notified of its end", || backend.at("on_play_done").len() == 1);
    let done = value(&backend.at("on_play_done").remove(0));
    assert_eq!((&done["query"], &done["role"]), (&"yes".into(), &"player".into()), "{done}");
}

#[test]
fn an_answer_renames_and_adds_targets_whole_or_not_at_all() {
    let good = Arc::new(AtomicBool::new(true));
    let is_good = Arc::clone(&good);
    let backend = Backend::new(move |asked| match (asked.path(), is_good.load(Ordering::Relaxed)) {
        ("/on_publish", true) => json(
            r#"{"rename": "real", "targets": [{"url": "rtmp://127.0.0.1:9/live", "key": "a"},
                                             {"url": "rtmp://127.0.0.1:9/live", "key": "b"}]}"#,
        ),
        ("/on_publish", false) => {
            json(r#"{"targets": [{"url": "rtmp://127.0.0.1:9/live"}, {"url": "http://no/relay"}]}"#)
        }
        _ => yes(),
    });
    let hooked = Hooked::new(all(&backend, Dialect::Json));
    let server = &hooked.live.server;
    let mut publisher = begin(&hooked, "show", true).unwrap();
    publisher.key_frame(0, &[7; 10]).unwrap();
    let stream = server.stream_find(b"live", b"real").unwrap();
    assert!(server.stream_find(b"live", b"show").is_err());
    assert_eq!(server.list(stream, kind::TARGET).unwrap().len(), 2);

    // The stream stays; when the publisher comes again, no target is added twice.
    server.stream_create(b"live", b"real", None).unwrap();
    drop(publisher);
    until("the place is free", || server.stats(stream).unwrap().sessions == 0);
    let publisher = begin(&hooked, "show", true).unwrap();
    assert_eq!(server.list(stream, kind::TARGET).unwrap().len(), 2);
    drop(publisher);

    good.store(false, Ordering::Relaxed);
    let failure = begin(&hooked, "other", true).err().unwrap();
    assert!(failure.text.contains("NetStream.Publish.Failed"), "{failure}");
    hooked.live.line_with(&["on_publish", "cannot be carried out", "url"]);
    assert!(server.stream_find(b"live", b"other").is_err());
    assert_eq!(server.list(0, kind::TARGET).unwrap().len(), 2, "not the good one either");
}

#[test]
fn connect_may_be_given_another_application_and_a_peer_be_sent_elsewhere() {
    let backend = Backend::new(|asked| match asked.path() {
        "/on_connect" => json(r#"{"rename": "other"}"#),
        "/on_publish" => json(r#"{"action": "redirect", "url": "rtmp://elsewhere.example/live"}"#),
        _ => yes(),
    });
    let hooked = Hooked::new(all(&backend, Dialect::Json));
    let player = begin(&hooked, "show", false).unwrap();
    assert!(hooked.live.server.stream_find(b"other", b"show").is_ok());
    assert_eq!(value(&backend.at("on_play")[0])["app"], "other");
    drop(player);
    let failure = begin(&hooked, "show", true).err().unwrap();
    assert!(failure.text.contains("go to another server"), "{failure}");
}

#[test]
fn a_peer_is_not_let_in_under_a_name_that_is_none() {
    let backend = Backend::new(|_| json(r#"{"rename": "?token=1"}"#));
    let hooked = Hooked::new(HooksConfig { on_publish: Some(backend.url("on_publish")), ..HooksConfig::default() });
    let failure = begin(&hooked, "show", true).err().unwrap();
    assert!(failure.text.contains("NetStream.Publish.BadName"), "{failure}");
    assert!(hooked.live.server.list(0, kind::STREAM).unwrap().is_empty());
}

/// A denial that is so many bytes long.
fn denial(bytes: usize) -> String {
    let mut denial = r#"{"action": "deny", "text": "no"}"#.to_owned();
    denial.extend(std::iter::repeat_n(' ', bytes - denial.len()));
    denial
}

#[test]
fn an_answer_of_256_kib_is_read() {
    let backend = Backend::new(|_| json(&denial(256 * 1024)));
    let on_publish = Some(backend.url("on_publish"));
    // Were it not read, the peer would be let in.
    let config = HooksConfig { on_publish, fail_open: true, timeout_ms: 60_000, ..HooksConfig::default() };
    let failure = begin(&Hooked::new(config), "show", true).err().expect("it is denied");
    assert!(failure.text.contains("NetStream.Publish.Denied"), "{failure}");
}

/// Faults of a back end, each with words of its log line.
fn broken() -> Vec<(&'static str, Answer, &'static str)> {
    vec![
        ("500", status("500 Internal Server Error"), "500"),
        ("garbage", Answer::Bytes("hello\r\n\r\n".to_owned()), "on_publish failed"),
        ("closed", Answer::Close, "on_publish failed"),
        ("no json", json("yes"), "its answer"),
        ("no name", json(r#"{"rename": ""}"#), "rename is empty"),
        ("no action", json(r#"{"action": "perhaps"}"#), "perhaps"),
        ("unknown field", json(r#"{"allow": true}"#), "allow"),
        ("too long", json(&format!(r#"{{"text": "{}"}}"#, "x".repeat(100_000))), "its answer"),
        ("more than 256 KiB", json(&denial(256 * 1024 + 1)), "larger than 262144 bytes"),
        ("silent", Answer::Silence, "in time"),
    ]
}

#[test]
fn a_back_end_that_fails_keeps_sessions_out_or_lets_them_in_as_it_is_set() {
    for (what, _, words) in broken() {
        for fail_open in [false, true] {
            let backend = Backend::new(move |_| broken().into_iter().find(|(name, ..)| *name == what).unwrap().1);
            let on_publish = Some(backend.url("on_publish"));
            let timeout_ms = if what == "silent" { 500 } else { 60_000 };
            let hooked = Hooked::new(HooksConfig { on_publish, fail_open, timeout_ms, ..HooksConfig::default() });
            match begin(&hooked, "show", true) {
                Ok(_) => assert!(fail_open, "{what}: it was let in"),
                Err(failure) => {
                    assert!(!fail_open && failure.text.contains("NetStream.Publish.Failed"), "{what}: {failure}");
                    let helps = if what == "silent" { "try again" } else { "tell its operator" };
                    for words in ["the back end of this server", helps] {
                        assert!(failure.text.contains(words), "whose fault it is, and what helps: {failure}");
                    }
                }
            }
            let line = hooked.live.line_with(&["on_publish failed", words]);
            assert!(!line.contains("the peer"), "{line}");
        }
    }
    // This port is not listened on.
    let reserved = Reserved::new();
    let on_publish = Some(format!("http://{}/", reserved.address()));
    let hooked = Hooked::new(HooksConfig { on_publish, ..HooksConfig::default() });
    let failure = begin(&hooked, "show", true).err().unwrap();
    for words in ["NetStream.Publish.Failed", "the back end of this server cannot be reached"] {
        assert!(failure.text.contains(words), "{failure}");
    }
}

#[test]
fn a_denial_by_status_counts_whatever_becomes_of_its_body() {
    let head = "HTTP/1.1 403 Forbidden\r\n";
    for (what, body) in [
        ("never ends", "\r\nno".to_owned()),
        ("breaks off", "Content-Length: 10\r\n\r\nno".to_owned()),
        ("too long", format!("Content-Length: 1000000\r\n\r\n{}", "x".repeat(1_000_000))),
        ("no json", "Content-Length: 2\r\n\r\nno".to_owned()),
    ] {
        let answer = format!("{head}{body}");
        let backend = Backend::new(move |_| match what {
            "breaks off" => Answer::Bytes(answer.clone()),
            _ => Answer::Open(answer.clone()),
        });
        let on_publish = Some(backend.url("on_publish"));
        let timeout_ms = if what == "never ends" { 2_000 } else { 60_000 };
        let config = HooksConfig { on_publish, fail_open: true, timeout_ms, ..HooksConfig::default() };
        let failure = begin(&Hooked::new(config), "show", true).err();
        let failure = failure.unwrap_or_else(|| panic!("{what}: it was let in"));
        assert!(
            failure.text.contains("NetStream.Publish.Denied") && failure.text.contains("(403)"),
            "{what}: {failure}"
        );
    }
}

#[test]
fn a_slow_back_end_delays_only_its_own_session() {
    let held = Arc::new(AtomicBool::new(true));
    let (hold, asks) = (Arc::clone(&held), Arc::new(AtomicBool::new(false)));
    let reached = Arc::clone(&asks);
    let backend = Backend::new(move |asked| {
        let by = Instant::now() + PATIENCE;
        while asked.body.contains("\"slow\"") && hold.load(Ordering::Relaxed) && Instant::now() < by {
            reached.store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(2));
        }
        yes()
    });
    let hooked = Hooked::new(HooksConfig { timeout_ms: 60_000, ..all(&backend, Dialect::Json) });
    let port = hooked.live.port;
    let slow = std::thread::spawn(move || Client::configured(port, "slow", true, &SessionConfig::default()));
    until("the slow one is asked about", || asks.load(Ordering::Relaxed));
    for n in 0..5 {
        begin(&hooked, &format!("quick-{n}"), true).unwrap();
    }
    assert!(!slow.is_finished() && hooked.live.server.stream_find(b"live", b"slow").is_err());
    held.store(false, Ordering::Relaxed);
    slow.join().unwrap().unwrap();
}

#[test]
fn notifications_are_repeated_until_the_back_end_accepts_them_in_order() {
    let failures = Arc::new(AtomicU32::new(3));
    let left = Arc::clone(&failures);
    let backend = Backend::new(move |asked| {
        let fails = asked.path() == "/on_publish_done"
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if fails { status("503 Service Unavailable") } else { yes() }
    });
    let hooked = Hooked::new(all(&backend, Dialect::Json));
    drop(begin(&hooked, "show", true).unwrap());
    until("it was taken", || backend.at("on_publish_done").len() == 4);
    let told = backend.at("on_publish_done");
    let delivery = |asked: &Asked| asked.header("x-rrelay-delivery").unwrap().to_owned();
    assert!(told.iter().all(|asked| delivery(asked) == delivery(&told[0])), "one number for all tries");
    let of_end = |asked: &Asked| ["running_ms", "stats"].map(|name| value(asked)[name].clone());
    assert!(told.iter().all(|asked| of_end(asked) == of_end(&told[0])), "the publish ended once: {told:?}");
    hooked.rest.set_hooks(None).unwrap();
    assert_eq!(backend.at("on_publish_done").len(), 4);
}

#[test]
fn a_publish_and_a_play_that_move_to_another_process_are_over_once() {
    let backend = Backend::new(|_| yes());
    let [here, there] = [(); 2].map(|()| Hooked::new(all(&backend, Dialect::Json)));
    let mut publisher = begin(&here, "show", true).unwrap();
    publisher.key_frame(0, &[7; 100]).unwrap();
    let mut player = begin(&here, "show", false).unwrap();
    player.message();
    let sessions = here.live.server.list(0, kind::SESSION).unwrap();
    for session in sessions.into_iter().rev() {
        let (fd, state) = moving::session(&here.live.server, session);
        there.live.server.session_import(fd, &state).unwrap();
    }
    let dones = || (backend.at("on_publish_done").len(), backend.at("on_play_done").len());
    // Notifications that wait are sent before this returns.
    here.rest.set_hooks(None).unwrap();
    assert_eq!(dones(), (0, 0));
    drop((publisher, player));
    until("both are over", || dones() == (1, 1));
    there.rest.set_hooks(None).unwrap();
    assert_eq!(dones(), (1, 1));
}

#[test]
fn the_end_of_the_server_is_reported_for_its_publishers_and_players() {
    let backend = Backend::new(|_| yes());
    let hooked = Hooked::new(all(&backend, Dialect::Json));
    let mut publisher = begin(&hooked, "show", true).unwrap();
    publisher.key_frame(0, &[7; 100]).unwrap();
    let _player = begin(&hooked, "show", false).unwrap();
    hooked.live.server.shutdown().unwrap();
    hooked.rest.set_hooks(None).unwrap();
    assert_eq!((backend.at("on_publish_done").len(), backend.at("on_play_done").len()), (1, 1));
    assert_eq!(value(&backend.at("on_publish_done")[0])["error"], "RR_ERR_KICKED");
}

#[test]
fn an_update_may_end_a_session_and_the_done_comes_after_it() {
    let backend = Backend::new(|asked| match asked.path() {
        "/on_update" if value(asked)["role"] == "publisher" => json(r#"{"action": "deny", "text": "time is up"}"#),
        _ => yes(),
    });
    let config = HooksConfig {
        on_update: Some(backend.url("on_update")),
        update_ms: Some(1_000),
        ..all(&backend, Dialect::Json)
    };
    let hooked = Hooked::new(config);
    let mut publisher = begin(&hooked, "show", true).unwrap();
    publisher.key_frame(40, &[7; 100]).unwrap();
    let end = hooked.live.end_of(&publisher.addr());
    assert_eq!((end.error, &*end.text), (Some(RRError::Kicked), &b"time is up"[..]));
    until("the done is told", || backend.at("on_publish_done").len() == 1);
    let mut order: Vec<String> = backend.asked().iter().map(|asked| asked.path().to_owned()).collect();
    order.dedup(); // a close that takes a second has another update before it
    assert_eq!(order, ["/on_connect", "/on_publish", "/on_update", "/on_publish_done"]);
    assert_eq!(value(&backend.at("on_publish_done")[0])["reason"], "time is up");
}

#[test]
fn states_of_targets_are_notified_in_their_order() {
    let backend = Backend::new(|_| status("200 OK"));
    let on_target_state = Some(backend.url("on_target_state"));
    let hooked = Hooked::new(HooksConfig { on_target_state, ..HooksConfig::default() });
    let server = &hooked.live.server;
    let stream = server.stream_create(b"live", b"show", None).unwrap();
    let config = rrelay::config::TargetConfig { url: "rtmp://127.0.0.1:9/live".to_owned(), ..Default::default() };
    let target = server.target_add(stream, config).unwrap();
    server.target_stop(target, 0).unwrap();
    let states =
        || backend.asked().iter().map(|asked| value(asked)["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    until("its end is told", || states().last().is_some_and(|state| state == "STOPPED"));
    assert_eq!(states()[0], "IDLE");
    for pair in backend.asked().windows(2) {
        assert_eq!(value(&pair[1])["previous"], value(&pair[0])["state"]);
    }
    let target = target.to_string();
    assert!(backend.asked().iter().all(|asked| value(asked)["target"] == *target));
}

#[test]
fn hooks_are_asked_first_and_the_host_about_what_they_let_in() {
    let backend = Backend::new(|asked| match value(asked)["key"].as_str() {
        Some("denied") => json(r#"{"action": "deny", "text": "no"}"#),
        Some("show") => json(r#"{"rename": "given"}"#),
        _ => yes(),
    });
    let server = ServerConfig { ask: ask::PUBLISH, ..ServerConfig::default() };
    let hooked = Hooked::with(server, all(&backend, Dialect::Json));
    let (port, server) = (hooked.live.port, Arc::clone(&hooked.live.server));
    assert!(begin(&hooked, "denied", true).is_err());
    assert!(hooked.live.events_of(EventKind::PublishAsk).is_empty(), "the host was not asked");

    let one = std::thread::spawn(move || Client::configured(port, "show", true, &SessionConfig::default()));
    until("the host is asked", || hooked.live.events_of(EventKind::PublishAsk).len() == 1);
    let event = hooked.live.events_of(EventKind::PublishAsk).remove(0);
    assert_eq!(event.key, b"given");
    server.session_allow(event.session, Decision::default()).unwrap();
    let _publisher = one.join().unwrap().unwrap();
    assert!(server.stream_find(b"live", b"given").is_ok() && server.stream_find(b"live", b"show").is_err());
}

#[test]
fn an_answer_of_the_hosts_is_none_to_a_question_of_hooks() {
    let held = Arc::new(AtomicBool::new(true));
    let hold = Arc::clone(&held);
    let backend = Backend::new(move |_| {
        let by = Instant::now() + PATIENCE;
        while hold.load(Ordering::Relaxed) && Instant::now() < by {
            std::thread::sleep(Duration::from_millis(2));
        }
        json(r#"{"action": "deny", "text": "hooks say no"}"#)
    });
    let on_publish = Some(backend.url("on_publish"));
    let config = HooksConfig { on_publish, timeout_ms: 60_000, ..HooksConfig::default() };
    let hooked = Hooked::new(config);
    let port = hooked.live.port;
    let client = std::thread::spawn(move || Client::configured(port, "show", true, &SessionConfig::default()));
    let sessions = || hooked.live.server.list(0, kind::SESSION).unwrap();
    let asks = || hooked.live.server.info(sessions()[0]).unwrap().key == b"show";
    until("hooks are asked", || sessions().len() == 1 && asks());
    let failure = hooked.live.server.session_allow(sessions()[0], Decision::default()).unwrap_err();
    assert_eq!(failure.kind, RRError::State);
    held.store(false, Ordering::Relaxed);
    assert!(client.join().unwrap().err().unwrap().text.contains("hooks say no"));
}

#[test]
fn a_question_that_got_no_place_in_time_says_so_and_blames_no_back_end() {
    let backend = Backend::new(|_| Answer::Silence);
    let on_publish = Some(backend.url("on_publish"));
    let config = HooksConfig { on_publish, max_requests: 1, timeout_ms: 3_000, ..HooksConfig::default() };
    let hooked = Hooked::new(config);
    let port = hooked.live.port;
    let begins = |key: &'static str| {
        std::thread::spawn(move || Client::configured(port, key, true, &SessionConfig::default()).err().unwrap().text)
    };
    let first = begins("one");
    until("it is asked about", || backend.at("on_publish").len() == 1);
    // Its time begins later, so when it gets the place it has some left, but not the whole.
    let second = begins("two");
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    assert!(first.contains("did not answer in time"), "{first}");
    assert!(second.contains("no room for a question to its back end"), "{second}");
    hooked.live.line_with(&["on_publish failed", "all 1 places (max_requests) were taken"]);
}

/// The requests of one hook that have no answer yet, and the most there have been.
#[derive(Debug, Default)]
struct UnderWay {
    now: i32,
    most: i32,
}

#[test]
fn every_one_of_many_sessions_has_one_done_and_no_hook_has_more_requests_than_it_may() {
    const MOST: i32 = 3;
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = Arc::clone(&seen);
    let under_way: Arc<Mutex<HashMap<String, UnderWay>>> = Arc::default();
    let counts = Arc::clone(&under_way);
    let backend = Backend::new(move |asked| {
        let count = |by: i32| {
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(asked.path().to_owned()).or_default();
            count.now += by;
            count.most = count.most.max(count.now);
            count.most
        };
        count(1);
        if asked.path().ends_with("_done") {
            until("as many are told as may be", || count(0) >= MOST);
            std::thread::sleep(Duration::from_millis(20)); // one too many would come now
        }
        count(-1);
        if asked.path().ends_with("_done") {
            keep.lock().unwrap().push(value(asked)["session"].as_str().unwrap().to_owned());
        }
        yes()
    });
    let hooked =
        Hooked::new(HooksConfig { max_requests: MOST as u32, timeout_ms: 60_000, ..all(&backend, Dialect::Json) });
    let clients: Vec<Client> =
        (0..20).map(|n| begin(&hooked, &format!("show-{}", n / 2), n % 2 == 0).unwrap()).collect();
    drop(clients);
    until("all are told", || seen.lock().unwrap().len() >= 20);
    hooked.rest.set_hooks(None).unwrap();
    let mut sessions = seen.lock().unwrap().clone();
    sessions.sort_unstable();
    sessions.dedup();
    assert_eq!((sessions.len(), seen.lock().unwrap().len()), (20, 20));
    let under_way = under_way.lock().unwrap();
    assert!(under_way.len() == 5 && under_way.values().all(|count| count.most <= MOST), "{under_way:?}");
}
