//! Peers' arguments behind a `?` are credentials: they are not part of a stream's name, only the host gets them, and no
//! log line and no event's text shows them, unless the host chooses otherwise.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/raw.rs"]
mod raw;

use std::sync::Arc;

use rml_amf0::Amf0Value;
use rrelay::config::{AccessConfig, Args, ServerConfig, StreamConfig, TargetConfig, ask};
use rrelay::server::{Event, EventKind, LevelFilter, LogSink, kind};
use rrelay::session::Role;

use live::{Live, until};
use raw::{Raw, picture};

const APP: &str = "user=SECRET-A";
const KEY: &str = "token=SECRET-K";

/// A server with these settings that logs at every level.
fn server(args: Args) -> Live {
    let stream = Arc::new(StreamConfig { args, ..StreamConfig::default() });
    let live = Live::new(ServerConfig { stream, ..ServerConfig::default() });
    let keep = Arc::clone(&live.lines);
    let sink = LogSink::Callback(Box::new(move |_, _, line: &str| keep.lock().unwrap().push(line.to_owned())));
    live.server.set_log(LevelFilter::Trace, sink).unwrap();
    live
}

/// A publisher with arguments behind the application and behind the key.
fn publish(port: u16) -> Raw {
    let said = |text: String| Amf0Value::Utf8String(text);
    let url = said(format!("rtmp://127.0.0.1:{port}/live?{APP}"));
    let mut peer = Raw::connect_saying(port, &[("app", said(format!("live?{APP}"))), ("tcUrl", url)]);
    peer.command(0, "createStream", 2.0, Amf0Value::Null, &[]);
    peer.command(1, "publish", 0.0, Amf0Value::Null, &[said(format!("show?{KEY}")), said("live".to_owned())]);
    peer.wait_status("NetStream.Publish.Start");
    peer
}

fn push(from: &Live, to: &Live, send_args: bool) {
    let stream = from.server.stream_create(b"live", b"show", None).unwrap();
    let url = format!("rtmp://127.0.0.1:{}/live", to.port);
    from.server.target_add(stream, TargetConfig { url, send_args, ..TargetConfig::default() }).unwrap();
}

/// Key and arguments of the session of this role, once it is there.
fn told(live: &Live, role: Role) -> (String, String) {
    let mut found = None;
    until("it is there", || {
        let ids = live.server.list(0, kind::SESSION).unwrap();
        let infos = ids.into_iter().filter_map(|id| live.server.info(id).ok());
        found = infos.into_iter().find(|info| info.role == role);
        found.is_some()
    });
    let info = found.unwrap();
    assert!(!info.url.contains("SECRET"), "{}", info.url);
    (String::from_utf8(info.key).unwrap(), String::from_utf8(info.query).unwrap())
}

/// Asserts that arguments are only in the field that is made for them.
fn shown_nowhere(live: &Live) {
    for line in live.lines.lock().unwrap().iter() {
        assert!(!line.contains("SECRET"), "{line}");
    }
    for event in live.events.lock().unwrap().iter() {
        let apart = Event { query: Vec::new(), ..event.clone() };
        for text in [&apart.app, &apart.key, &apart.url, &apart.text] {
            assert!(!String::from_utf8_lossy(text).contains("SECRET"), "{apart:?}");
        }
    }
}

#[test]
fn arguments_are_no_part_of_a_name_and_only_the_host_gets_them() {
    let (near, far) = (server(Args::Apart), server(Args::Apart));
    push(&near, &far, false);
    let mut publisher = publish(near.port);
    publisher.send(9, 0, &picture(true, 1, 100));
    let mut player = Raw::play(near.port, "show?token=SECRET-P");
    assert_eq!(raw::number_of(&player.media()), Some(1), "the same stream, whatever the player's arguments");
    assert_eq!(told(&near, Role::Publisher), ("show".to_owned(), format!("{APP}&{KEY}")));
    assert_eq!(told(&near, Role::Player), ("show".to_owned(), "token=SECRET-P".to_owned()));
    assert_eq!(told(&far, Role::Publisher), ("show".to_owned(), String::new()), "they are not pushed on");
    until("an event has them", || {
        near.events_of(EventKind::Session).iter().any(|event| event.query == format!("{APP}&{KEY}").into_bytes())
    });
    drop((publisher, player));
    until("all have gone", || near.sessions() == 0);
    near.server.shutdown().unwrap();
    far.server.shutdown().unwrap();
    shown_nowhere(&near);
    shown_nowhere(&far);
}

#[test]
fn a_refusal_shows_no_arguments() {
    let live = server(Args::Apart);
    let _first = publish(live.port);
    let mut second = Raw::connect_saying(live.port, &[]);
    second.command(0, "createStream", 2.0, Amf0Value::Null, &[]);
    let args = ["show?token=SECRET-2", "live"].map(|text| Amf0Value::Utf8String(text.to_owned()));
    second.command(1, "publish", 0.0, Amf0Value::Null, &args);
    second.wait_status("NetStream.Publish.BadName");
    until("it has gone", || live.sessions() == 1);
    live.server.shutdown().unwrap();
    shown_nowhere(&live);
}

#[test]
fn a_target_that_asks_for_them_gets_the_publishers_arguments() {
    let (near, far) = (server(Args::Apart), server(Args::Apart));
    push(&near, &far, true);
    let mut publisher = publish(near.port);
    publisher.send(9, 0, &picture(true, 1, 100));
    assert_eq!(told(&far, Role::Publisher), ("show".to_owned(), format!("{APP}&{KEY}")));
    near.server.shutdown().unwrap();
    far.server.shutdown().unwrap();
    shown_nowhere(&near);
    shown_nowhere(&far);
}

#[test]
fn arguments_can_be_part_of_the_key_or_dropped() {
    let live = server(Args::Key);
    let _publisher = publish(live.port);
    assert!(live.server.stream_find(b"live", b"show").is_err());
    assert!(live.server.stream_find(b"live", format!("show?{KEY}").as_bytes()).is_ok());
    live.server.shutdown().unwrap();

    let live = server(Args::Drop);
    let keys = std::env::temp_dir().join(format!("rrelay-arguments-{}", std::process::id()));
    std::fs::write(&keys, format!("show\nlobby?{KEY}\n")).unwrap();
    let publish_keys = Some(keys.to_str().unwrap().to_owned());
    let log = live.server.enter_log();
    live.server.set_access(AccessConfig { publish_keys, ..AccessConfig::default() }).unwrap();
    drop(log);
    std::fs::remove_file(&keys).unwrap();
    live.line_with(&["1 of its 2 keys have ?arguments, which args drops"]);
    let _publisher = publish(live.port);
    assert_eq!(told(&live, Role::Publisher), ("show".to_owned(), String::new()));
    live.server.shutdown().unwrap();
    assert!(live.events.lock().unwrap().iter().all(|event| event.query.is_empty()));
    shown_nowhere(&live);
}

/// The host decides by the arguments, so they are in the event that asks it.
#[test]
fn the_host_has_them_when_it_is_asked() {
    let config = ServerConfig {
        ask: ask::CONNECT | ask::PUBLISH,
        ask_default_allow: true,
        ask_ms: 50,
        ..ServerConfig::default()
    };
    let live = Live::new(config);
    let _publisher = publish(live.port);
    let query = |kind: EventKind| {
        until("it is asked", || !live.events_of(kind).is_empty());
        String::from_utf8(live.events_of(kind).remove(0).query).unwrap()
    };
    assert_eq!(query(EventKind::ConnectAsk), APP);
    assert_eq!(query(EventKind::PublishAsk), format!("{APP}&{KEY}"));
    live.server.shutdown().unwrap();
}
