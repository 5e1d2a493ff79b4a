//! The rates that NOALBS' provider `WebSocket` reads, field by field as it reads them: a stream that is published, one
//! that stalls, and one that does not exist; and other requests to that address.
#![cfg(feature = "rest")]
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use live::{Live, PATIENCE, until};
use rrelay::config::ServerConfig;
use rrelay::rest::{Rest, RestOptions};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

const TOKEN: &str = "token-of-tests";

/// The values that NOALBS keeps of one stream, with its own names.
#[derive(Clone, Debug, PartialEq)]
struct Stats {
    stream_id: Option<String>,
    feed: Option<String>,
    bitrate: u64,
    rtt: Option<f64>,
    connected: bool,
}

/// The streams of a message, as NOALBS takes them out of it.
fn streams(text: &str) -> Vec<Stats> {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(value.get("type").and_then(serde_json::Value::as_str), Some("stats"), "{text}");
    let of = |stream: &serde_json::Value| Stats {
        stream_id: stream.get("streamId").and_then(serde_json::Value::as_str).map(str::to_owned),
        feed: stream.get("feed").and_then(serde_json::Value::as_str).map(str::to_owned),
        bitrate: stream.get("bitrate").and_then(serde_json::Value::as_u64).expect("whole kbit/s"),
        rtt: stream.get("rtt").and_then(serde_json::Value::as_f64),
        connected: stream.get("connected").and_then(serde_json::Value::as_bool).unwrap_or(true),
    };
    value.get("streams").and_then(serde_json::Value::as_array).expect("a list").iter().map(of).collect()
}

fn served() -> (Live, Rest, u16) {
    let live = Live::new(ServerConfig::default());
    let rest = Rest::new(Arc::clone(&live.server));
    let port = rest.listen(":0", TOKEN, RestOptions::default()).unwrap();
    (live, rest, port)
}

/// A reader, or the status that it is refused with.
fn reader(port: u16, query: &str, origin: Option<&str>) -> Result<WebSocket<TcpStream>, u16> {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("ws://127.0.0.1:{port}/noalbs?{query}").into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    match tungstenite::client(request, socket) {
        Ok((reader, _)) => Ok(reader),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => Err(answer.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

fn next(reader: &mut WebSocket<TcpStream>) -> Vec<Stats> {
    loop {
        match reader.read().unwrap() {
            Message::Text(text) => return streams(&text),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_stream_that_is_published_stalls_and_ends_as_its_reader_is_to_see_it() {
    let (live, _rest, port) = served();
    let mut one = reader(port, &format!("token={TOKEN}&feed=show"), None).unwrap();
    assert_eq!(next(&mut one), [], "nobody publishes");
    let mut publisher = live.publish("show");
    let mut other = live.publish("other");
    let mut all = reader(port, &format!("token={TOKEN}"), None).unwrap();
    let mut ts_ms = 0;
    let mut flows = |reader: &mut WebSocket<TcpStream>, streams: usize| {
        let mut stats = Vec::new();
        until("both have a rate, and the publisher's round trip is known", || {
            for _ in 0..5 {
                ts_ms += 40;
                publisher.key_frame(ts_ms, &[7; 4_000]).unwrap();
                other.key_frame(ts_ms, &[7; 4_000]).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
            stats = next(reader);
            stats.len() == streams && stats.iter().all(|stats| stats.bitrate > 0 && stats.rtt.is_some())
        });
        stats
    };
    let mut feeds: Vec<_> = flows(&mut all, 2).into_iter().map(|stats| stats.feed.unwrap()).collect();
    feeds.sort();
    assert_eq!(feeds, ["other", "show"]);
    let stats = flows(&mut one, 1).remove(0);
    assert_eq!((stats.stream_id.as_deref(), stats.feed.as_deref()), (Some("live/show"), Some("show")));
    assert!(stats.connected && stats.rtt.unwrap() < 10_000.0, "{stats:?}");
    // It stalls, and NOALBS keeps its scene; then it counts as gone.
    until("no rate", || next(&mut one).iter().all(|stats| stats.bitrate == 0));
    until("it is gone", || next(&mut one).iter().all(|stats| !stats.connected));
    drop(publisher);
    until("it is not there", || next(&mut one).is_empty());
    let path = reader(port, &format!("token={TOKEN}&feed=live/other"), None);
    assert_eq!(next(&mut path.unwrap()).len(), 1, "a path is as good as a key");
}

#[test]
fn other_requests_are_refused_and_garbage_ends_only_one_reader() {
    let (_live, rest, port) = served();
    assert_eq!(reader(port, "token=wrong-token", None).err(), Some(401));
    assert_eq!(reader(port, "", None).err(), Some(401));
    let query = format!("token={TOKEN}");
    assert_eq!(reader(port, &query, Some("http://evil.example")).err(), Some(403));
    assert_eq!(rest.handle("GET", "/noalbs", b"").unwrap().status, 501, "a host has no place for it");
    let own = format!("http://127.0.0.1:{port}");
    let mut witness = reader(port, &query, Some(&own)).unwrap();
    next(&mut witness);
    // An invalid frame, one without a mask, a huge one, and a text that is not UTF-8.
    let garbage: [&[u8]; 4] = [
        &[0xff; 64],
        &[0x81, 2, b'h', b'i'],
        &[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xff],
    ];
    for bytes in garbage {
        let mut reader = reader(port, &query, None).unwrap();
        next(&mut reader);
        reader.get_mut().write_all(bytes).unwrap();
        // Closed in order or reset.
        until(&format!("{bytes:?} ends its reader"), || !matches!(reader.get_mut().read(&mut [0; 4096]), Ok(1..)));
    }
    next(&mut witness);
    // The greatest number of readers; one that leaves makes room.
    let mut readers: Vec<_> = std::iter::from_fn(|| reader(port, &query, None).ok()).take(200).collect();
    assert!(readers.len() < 200, "they are bounded");
    assert_eq!(reader(port, &query, None).err(), Some(429));
    readers.pop();
    until("there is room again", || reader(port, &query, None).is_ok());
}
