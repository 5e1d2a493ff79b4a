//! The figures of `/metrics` that need peers: of a stream that is published, of a source that pulls it, of a target that pushes
//! it back, and of one that reaches nobody.
#![cfg(feature = "rest")]
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use live::{Live, PATIENCE, until};
use rrelay::config::{ServerConfig, TargetConfig};
use rrelay::rest::{Rest, RestOptions};
use rrelay::server::Id;

/// A server that is scraped.
struct Scraped {
    live: Live,
    _rest: Rest,
    port: u16,
}

impl Scraped {
    fn new() -> Self {
        let live = Live::new(ServerConfig::default());
        let rest = Rest::new(Arc::clone(&live.server));
        let options = RestOptions { readers_open: true, ..RestOptions::default() };
        let port = rest.listen(":0", "token-of-tests", options).unwrap();
        Self { live, _rest: rest, port }
    }

    fn url(&self, key: &str) -> TargetConfig {
        let url = format!("rtmp://127.0.0.1:{}/live/{key}", self.live.port);
        TargetConfig { url, retry_min_ms: 50, retry_max_ms: 100, ..TargetConfig::default() }
    }

    fn scrape(&self) -> Scrape {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        Scrape(text)
    }
}

struct Scrape(String);

impl Scrape {
    /// The figure of an object: of the metric `rrelay_KIND_NAME`, the line whose first label is the object's id.
    fn of(&self, kind: &str, id: Id, name: &str) -> f64 {
        let begin = format!("rrelay_{kind}_{name}{{{kind}=\"{id}\"");
        let line = self.0.lines().find(|line| line.starts_with(&begin));
        let line = line.unwrap_or_else(|| panic!("no {begin} in\n{}", self.0));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}

#[test]
fn scrapers_get_the_figures_of_publishers_targets_and_sources() {
    let (origin, edge) = (Scraped::new(), Scraped::new());
    let mut publisher = origin.live.publish("show");
    let published = origin.live.server.stream_find(b"live", b"show").unwrap();
    let stream = edge.live.server.stream_create(b"live", b"show", None).unwrap();
    let source = edge.live.server.source_add(stream, origin.url("show")).unwrap();
    let target = edge.live.server.target_add(stream, origin.url("copy")).unwrap();
    let nowhere = TargetConfig { url: "rtmp://127.0.0.1:1/live/show".to_owned(), ..edge.url("") };
    let nowhere = edge.live.server.target_add(stream, nowhere).unwrap();

    let mut ts_ms = 0;
    until("all that rises with traffic", || {
        publisher.key_frame(ts_ms, &[7; 5_000]).unwrap();
        ts_ms += 40;
        let (at_origin, at_edge) = (origin.scrape(), edge.scrape());
        at_origin.of("stream", published, "round_trip_seconds") > 0.0
            && at_origin.of("stream", published, "frames_per_second") > 0.0
            && at_edge.of("stream", stream, "received_bits_per_second") > 0.0
            && at_edge.of("target", source, "received_bytes_total") > 50_000.0
            && at_edge.of("target", source, "received_bits_per_second") > 0.0
            && at_edge.of("target", source, "round_trip_seconds") > 0.0
            && at_edge.of("target", target, "sent_bytes_total") > 50_000.0
            && at_edge.of("target", target, "sent_bits_per_second") > 0.0
            && at_edge.of("target", target, "received_bytes_total") > 0.0
            && at_edge.of("target", target, "round_trip_seconds") > 0.0
            && at_edge.of("target", nowhere, "failures_total") > 1.0
    });
    assert_eq!(origin.scrape().of("stream", published, "key_frame_interval_seconds"), 0.04);
    until("everybody has all", || edge.scrape().of("target", target, "lag_seconds") == 0.0);
    let scrape = edge.scrape();
    for (id, connects) in [(source, 1.0), (target, 1.0), (nowhere, 0.0)] {
        assert_eq!(scrape.of("target", id, "connects_total"), connects);
        assert_eq!(scrape.of("target", id, "dropped_messages_total"), 0.0);
    }
}
