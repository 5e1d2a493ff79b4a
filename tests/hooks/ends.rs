//! One done for each publish and play, whatever becomes of the process that has the session.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::backend::{Asked, Backend, json, status};
use super::http::{Http, Way};
use super::isolated::{isolated, kill, worker_of};
use super::live::{Client, until};
use super::moving;
use super::successor::Silent;
use super::{Hooked, all};
use rrelay::config::{Dialect, HooksConfig, ServerConfig};
use rrelay::server::ListenOptions;
use rrelay::session::SessionConfig;

fn begin(hooked: &Hooked, key: &str, publish: bool) -> Client {
    Client::configured(hooked.live.port, key, publish, &SessionConfig::default()).unwrap()
}

/// A publisher with media, and a player that has got some of it.
fn publisher_and_player(hooked: &Hooked, key: &str) -> (Client, Client) {
    let mut publisher = begin(hooked, key, true);
    publisher.key_frame(0, &[7; 100]).unwrap();
    let mut player = begin(hooked, key, false);
    player.message();
    (publisher, player)
}

/// A player over HTTP in each form of the answer, which has got some media.
fn over_http(hooked: &Hooked, key: &str) -> [Http; 3] {
    let options = ListenOptions { http: true, ..ListenOptions::default() };
    let port = hooked.live.server.listen("127.0.0.1:0", options).unwrap();
    let mut players = Way::ALL.map(|way| Http::ask_for(port, way, &format!("/live/{key}.flv")));
    players.iter_mut().for_each(|player| drop(player.frame()));
    players
}

/// A back end that lets all in.
fn backend() -> Backend {
    Backend::new(|_| status("200 OK"))
}

/// The values of a notification, by either dialect.
fn value(asked: &Asked, json: &str, nginx: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(&asked.body) {
        Ok(body) => body[json].as_str().unwrap_or_default().to_owned(),
        Err(_) => asked.field(nginx).unwrap(),
    }
}

/// How often each publish and play of these back ends was reported as over, by path and key.
fn dones(backends: &[&Backend]) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for path in ["on_publish_done", "on_play_done"] {
        for asked in backends.iter().flat_map(|backend| backend.at(path)) {
            *counts.entry((path.to_owned(), value(&asked, "key", "name"))).or_default() += 1;
        }
    }
    counts
}

/// As many as these, and no more in the time in which the hooks send what waits.
fn is_told(hooked: &Hooked, backend: &Backend, publishes: usize, plays: usize) {
    let count = || (backend.at("on_publish_done").len(), backend.at("on_play_done").len());
    until("the ends are told", || count() == (publishes, plays));
    hooked.rest.set_hooks(None).unwrap();
    assert_eq!(count(), (publishes, plays));
}

fn hand_over(here: &Hooked, there: &Hooked) {
    assert_eq!(moving::hand_over(&here.live.server, &there.live.server), (Ok(()), Ok(())));
}

#[test]
fn a_process_that_is_killed_has_one_done_for_each_of_its_sessions() {
    for dialect in [Dialect::Json, Dialect::Nginx] {
        let backend = backend();
        let hooked = Hooked::with(isolated(), all(&backend, dialect));
        let (mut publisher, mut player) = publisher_and_player(&hooked, "show");
        let mut other = begin(&hooked, "show", false);
        other.message();
        let over_http = over_http(&hooked, "show");
        kill(worker_of(&publisher));
        for peer in [&mut publisher, &mut player, &mut other] {
            peer.closed();
        }
        for mut player in over_http {
            player.rest();
        }
        is_told(&hooked, &backend, 1, 5);
        let all = backend.at("on_play_done").into_iter().chain(backend.at("on_publish_done"));
        let mut sessions: Vec<String> = all.map(|asked| value(&asked, "session", "clientid")).collect();
        sessions.sort_unstable();
        sessions.dedup();
        assert_eq!(sessions.len(), 6, "each of another session");
        let asked = backend.at("on_publish_done").remove(0);
        assert!(dialect == Dialect::Nginx || value(&asked, "error", "") == "RR_ERR_WORKER", "{asked:?}");
    }
}

#[test]
fn a_server_that_is_replaced_tells_no_end_and_the_new_one_tells_it_once() {
    for dialect in [Dialect::Json, Dialect::Nginx] {
        for config in [ServerConfig::default, isolated] {
            let [old, new] = [backend(), backend()];
            let here = Hooked::with(config(), all(&old, dialect));
            let there = Hooked::with(config(), all(&new, dialect));
            let (mut publisher, mut player) = publisher_and_player(&here, "show");
            let begun = Instant::now();
            let mut over_http = over_http(&here, "show");
            hand_over(&here, &there);
            publisher.key_frame(40, &[8; 100]).unwrap();
            player.message();
            over_http.iter_mut().for_each(|player| drop(player.frame()));
            here.rest.set_hooks(None).unwrap();
            assert!(dones(&[&old, &new]).is_empty(), "both go on");
            let ran_ms = begun.elapsed().as_millis();
            drop((publisher, player, over_http));
            is_told(&there, &new, 1, 4);
            if dialect == Dialect::Json {
                let done: serde_json::Value = serde_json::from_str(&new.at("on_publish_done")[0].body).unwrap();
                let told_ms = done["running_ms"].as_u64().unwrap();
                assert!(u128::from(told_ms) >= ran_ms, "{told_ms} of at least {ran_ms} ms");
            }
            assert!(dones(&[&old]).is_empty());
        }
    }
}

#[test]
fn sessions_that_end_while_a_server_is_replaced_have_one_done_each() {
    const STREAMS: usize = 10;
    for config in [ServerConfig::default, isolated] {
        let [old, new] = [backend(), backend()];
        let here = Hooked::with(config(), all(&old, Dialect::Json));
        let there = Hooked::with(config(), all(&new, Dialect::Json));
        let keys: Vec<String> = (0..STREAMS).map(|n| format!("show-{n}")).collect();
        let of_key = |key: &String| (publisher_and_player(&here, key), over_http(&here, key));
        let peers: Vec<_> = keys.iter().map(of_key).collect();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for ((publisher, player), over_http) in peers {
                    drop((player, over_http));
                    std::thread::yield_now();
                    drop(publisher);
                }
            });
            hand_over(&here, &there);
        });
        let wanted = [("on_play_done", 4), ("on_publish_done", 1)]
            .map(|(path, times)| keys.iter().map(move |key| ((path.to_owned(), key.clone()), times)));
        let wanted: BTreeMap<_, _> = wanted.into_iter().flatten().collect();
        until("all are told", || dones(&[&old, &new]).values().sum::<usize>() >= wanted.values().sum());
        here.rest.set_hooks(None).unwrap();
        there.rest.set_hooks(None).unwrap();
        assert_eq!(dones(&[&old, &new]), wanted);
    }
}

#[test]
fn an_update_that_ends_a_session_waits_for_a_hand_over_and_delays_no_other_request() {
    let (is_over, denied) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (of_test, told) = (Arc::clone(&is_over), Arc::clone(&denied));
    let backend = Backend::new(move |asked| {
        if asked.path() != "/on_update" || value(asked, "key", "") != "over" || !of_test.load(Ordering::SeqCst) {
            return json(r#"{"action": "allow"}"#);
        }
        told.store(true, Ordering::SeqCst);
        json(r#"{"action": "deny", "text": "time is up"}"#)
    });
    let on_update = Some(backend.url("on_update"));
    let hooked = Hooked::new(HooksConfig { on_update, update_ms: Some(1_000), ..all(&backend, Dialect::Json) });
    let (mut over, _other) = (begin(&hooked, "over", true), begin(&hooked, "other", true));
    let (mut successor, end) = Silent::new();
    std::thread::scope(|scope| {
        let handed = scope.spawn(|| hooked.live.server.hand_over(end, 60_000, 0));
        successor.is_greeted();
        is_over.store(true, Ordering::SeqCst);
        until("one is to end", || denied.load(Ordering::SeqCst));
        let updates = || backend.at("on_update").iter().filter(|asked| value(asked, "key", "") == "other").count();
        let before = updates();
        until("the other has more updates", || updates() > before + 1);
        drop(successor);
        handed.join().unwrap().unwrap_err();
    });
    over.closed();
}
