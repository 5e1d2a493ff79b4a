//! Requests that come at the same time as others, or as a stream ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::{PATIENCE, Rig, TOKEN};
use crate::config::{ServerConfig, StreamConfig, TargetConfig};
use crate::log::LevelFilter;
use crate::server::RRServer;
use crate::stream::event::Id;

#[test]
fn a_stream_that_is_made_where_another_has_just_ended_has_none_of_its_settings() {
    let rig = Rig::new();
    let (server, over) = (&rig.server, AtomicBool::new(false));
    let usual = server.default_stream_config();
    let special = StreamConfig { queue_ms: 900, ..usual.clone() };
    let ends = || {
        let mut ended: Vec<Id> = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let made = server.stream_create(b"live", b"show", Some(special.clone()));
            // The other thread may have ended it.
            ended.extend(made.inspect(|&id| drop(server.stream_stop(id, 0))));
        }
        ended
    };
    let (of_others, mut own) = std::thread::scope(|scope| {
        let others = scope.spawn(ends);
        let mut made: Vec<(Id, StreamConfig)> = Vec::new();
        while made.len() < 300 {
            let put = rig.rest.handle("PUT", "/v1/streams/live/show", br#"{"grace_ms": 7000}"#).unwrap();
            let stream: Value = serde_json::from_slice(&put.body).unwrap();
            // It may have ended since, or be about to.
            let Some(id) = stream["id"].as_str() else { continue };
            let id: Id = id.parse().unwrap();
            made.extend(server.stream_config(id).ok().map(|config| (id, config)));
            let _ = server.stream_stop(id, 0);
        }
        over.store(true, Ordering::Relaxed);
        (others.join().unwrap(), made)
    });
    own.retain(|(id, _)| !of_others.contains(id));
    assert!(!own.is_empty(), "it made none");
    for (_, config) in own {
        assert_eq!((config.grace_ms, config.queue_ms), (7_000, usual.queue_ms));
    }
}

#[test]
fn changes_of_different_settings_of_a_target_at_the_same_time_all_take_effect() {
    let rig = Rig::new();
    let stream = rig.server.stream_create(b"live", b"show", None).unwrap();
    let config = TargetConfig { url: "rtmp://127.0.0.1:1/live/copy".to_owned(), ..TargetConfig::default() };
    let target = rig.server.target_add(stream, config).unwrap();
    let path = format!("/v1/streams/live/show/targets/{target}");
    let has = |setting: fn(&TargetConfig) -> u32| setting(&rig.server.target_config(target).unwrap());
    let change = |name: &str, setting: fn(&TargetConfig) -> u32| {
        for number in 1_000..1_300 {
            let body = format!(r#"{{"{name}": {number}}}"#);
            let answer = rig.rest.handle("PATCH", &path, body.as_bytes()).unwrap();
            assert_eq!((answer.status, has(setting)), (200, number), "{name}");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| change("queue_ms", |config| config.queue_ms));
        scope.spawn(|| change("retry_max_ms", |config| config.retry_max_ms));
    });
}

#[test]
fn changes_are_asked_again_once_another_process_has_taken_over() {
    let rig = Rig::new();
    let stream = rig.server.stream_create(b"live", b"show", None).unwrap();
    let next = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| next.take_over(theirs.into(), 30_000).unwrap());
        rig.server.hand_over(ours.into(), 30_000, 30_000).unwrap();
    });
    let show = "/v1/streams/live/show";
    for (method, path, body) in [
        ("DELETE", show, ""),
        ("PUT", show, r#"{"grace_ms": 7000}"#),
        ("PUT", "/v1/streams/live/other", ""),
        ("POST", "/v1/streams/live/show/targets", r#"{"url": "rtmp://127.0.0.1:1/app"}"#),
        ("DELETE", "/v1/sessions/216454261385461761", ""),
        ("GET", "/control/drop/client", ""),
    ] {
        let (status, problem) = rig.ask(method, path, body);
        assert_eq!((status, problem["error"].as_str()), (503, Some("RR_ERR_AGAIN")), "{method} {path}: {problem}");
    }
    assert_eq!(rig.ask("GET", "/v1/streams", "").0, 200);
    assert!(rig.server.stream_stop(stream, 0).is_err());
    assert!(next.stream_find(b"live", b"show").is_ok(), "nothing was done to it");
}

#[test]
fn a_request_that_is_in_progress_is_answered_after_a_stop() {
    let rig = Rig::new();
    let next = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    // The hand-over waits for this request, and a change that comes meanwhile for the hand-over.
    let first = rig.server.begin_request().expect("nothing moves");
    std::thread::scope(|scope| {
        scope.spawn(|| next.take_over(theirs.into(), 60_000).unwrap());
        scope.spawn(|| rig.server.hand_over(ours.into(), 60_000, 60_000).unwrap());
        while rig.server.begin_request().is_some() {
            std::thread::yield_now();
        }
        let mut waiting = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
        waiting.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0");
        waiting.write_all(format!("PUT /v1/streams/live/show HTTP/1.1\r\n{head}\r\n\r\n").as_bytes()).unwrap();
        // Connections are served in the order in which they come.
        assert_eq!(rig.ask("GET", "/v1/server", "").0, 200);
        scope.spawn(|| rig.rest.stop());
        while TcpStream::connect(("127.0.0.1", rig.port)).is_ok() {
            std::thread::yield_now();
        }
        drop(first);
        let mut answer = String::new();
        waiting.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("RR_ERR_AGAIN"), "{answer}");
    });
}
