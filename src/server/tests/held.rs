//! Sources of a stream on hold follow whoever moves meanwhile, so they are dialled when the hold ends, whichever way.

use std::io::ErrorKind;
use std::net::TcpListener;

use super::live::{Live, until};
use crate::config::{ServerConfig, TargetConfig};
use crate::net::clock;
use crate::server::{RRServer, StreamExport};
use crate::stream::event::Id;
use crate::stream::record::Export;

/// Longer than any test.
const LONG_MS: u32 = 600_000;

/// The server of a source, which counts who connects.
struct Origin(TcpListener);

impl Origin {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    /// Adds a source from here to a stream.
    fn feed(&self, server: &RRServer, stream: Id) {
        let url = format!("rtmp://{}/live/show", self.0.local_addr().unwrap());
        server.source_add(stream, TargetConfig { url, ..TargetConfig::default() }).unwrap();
    }

    fn was_dialled(&self) -> bool {
        match self.0.accept() {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                false
            }
        }
    }
}

/// Waits until the dialler has acted on all that it was told before.
fn dialler_has_looked(server: &RRServer) {
    let (origin, stream) = (Origin::new(), server.stream_create(b"live", b"another", None).unwrap());
    origin.feed(server, stream);
    until("the source of another stream is dialled", || origin.was_dialled());
    server.stream_stop(stream, 0).unwrap();
    until("that stream has ended", || server.info(stream).is_err());
}

#[test]
fn sources_of_a_held_stream_are_dialled_when_the_hold_ends_whichever_way() {
    for way in ["ended", "replaced by none", "shortened", "over", "lengthened and over"] {
        let live = Live::new(ServerConfig::default());
        let server = &live.server;
        let id = server.stream_create(b"live", b"show", None).unwrap();
        let (origin, stream) = (Origin::new(), server.stream(id).unwrap());
        let is_timed = way.ends_with("over");
        let until_us = || stream.held_until_ms().unwrap_or_default().saturating_sub(1) * 1000;
        let (hold, mut ends_us) = (stream.hold(if is_timed { 300 } else { LONG_MS }), until_us());
        origin.feed(server, id);
        if !is_timed {
            dialler_has_looked(server);
            assert!(!origin.was_dialled(), "{way}: it is held");
        }
        match way {
            "ended" => stream.end_hold(&hold),
            "replaced by none" => drop(stream.hold(0)),
            "shortened" => (_, ends_us) = (stream.hold(200), until_us()),
            "lengthened and over" => (_, ends_us) = (stream.hold(600), until_us()),
            _ => {}
        }
        until(way, || origin.was_dialled());
        assert!(clock::now_us() >= ends_us || !is_timed, "{way}: it was not held any more");
    }
}

#[test]
fn the_source_of_a_held_stream_waits_also_where_its_publisher_has_moved() {
    let live = Live::new(ServerConfig::default());
    let server = &live.server;
    let mut publisher = live.publish("show");
    publisher.key_frame(0, b"first").unwrap();
    until("it publishes", || {
        server.stream_find(b"live", b"show").is_ok_and(|id| server.stats(id).unwrap().msgs_in > 0)
    });
    let id = server.stream_find(b"live", b"show").unwrap();
    let (origin, stream) = (Origin::new(), server.stream(id).unwrap());
    origin.feed(server, id);
    dialler_has_looked(server);
    assert!(!origin.was_dialled(), "somebody publishes");
    let hold = stream.hold(LONG_MS);
    let session = stream.book().publisher_id().unwrap();
    assert!(matches!(server.session_export(session, 1 << 20).unwrap(), Export::Gone { .. }));
    until("its session has ended", || server.info(session).is_err());
    dialler_has_looked(server);
    assert!(!origin.was_dialled(), "it is to follow");
    stream.end_hold(&hold);
    until("it is dialled", || origin.was_dialled());
}

#[test]
fn an_export_that_fails_ends_no_hold_of_another_one() {
    let live = Live::new(ServerConfig::default());
    let server = &live.server;
    let id = server.stream_create(b"live", b"show", None).unwrap();
    let stream = server.stream(id).unwrap();
    let export = |room| server.stream_export(id, room, 60_000).unwrap();
    for was_held in [false, true] {
        assert!(matches!(export(0), StreamExport::Needs(_)));
        assert_eq!(stream.held_until_ms().is_some(), was_held);
        assert!(matches!(export(1 << 20), StreamExport::State(_)));
        assert!(stream.held_until_ms().is_some());
    }
}
