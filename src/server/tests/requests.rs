//! RRRestOut: a request is carried out completely, on exactly the object that it names, or it changes nothing.

use super::live::{Live, until};
use crate::config::{ServerConfig, StreamConfig, TargetConfig};
use crate::error::RRError;
use crate::log::LevelFilter;
use crate::server::slots::kind;
use crate::server::{RRRestOut, RRServer};
use crate::session::State;

fn server() -> RRServer {
    RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap()
}

fn ensure(grace_ms: u32) -> RRRestOut {
    let config = Box::new(StreamConfig { grace_ms, ..StreamConfig::default() });
    RRRestOut::EnsureStream { app: b"live".to_vec(), key: b"show".to_vec(), config }
}

#[test]
fn a_stream_with_settings_may_be_asked_for_again_and_with_others_is_refused() {
    let server = server();
    let stream = ensure(5_000).carry_out(&server).unwrap();
    assert_eq!(ensure(5_000).carry_out(&server).unwrap(), stream);
    let failure = ensure(6_000).carry_out(&server).unwrap_err();
    assert!(failure.kind == RRError::Exists && failure.text.contains("other settings"), "{failure}");
    assert_eq!(server.stream_config(stream).unwrap().grace_ms, 5_000);
}

#[test]
fn a_stream_that_is_refused_ends_with_its_publisher_as_before() {
    let live = Live::new(ServerConfig::default());
    let publisher = live.publish("show");
    until("it publishes", || live.server.stream_find(b"live", b"show").is_ok());
    assert_eq!(ensure(6_000).carry_out(&live.server).unwrap_err().kind, RRError::Exists);
    drop(publisher);
    until("the stream has ended with its publisher", || live.server.list(0, kind::STREAM).unwrap().is_empty());
}

#[test]
fn what_is_refused_has_changed_nothing() {
    let server = server();
    let stream = ensure(0).carry_out(&server).unwrap();
    let bad = Box::new(TargetConfig { url: "http://no/relay".to_owned(), ..TargetConfig::default() });
    let add = RRRestOut::AddTarget { stream, config: bad.clone() };
    assert_eq!(add.carry_out(&server).unwrap_err().kind, RRError::Arg);
    let url = "rtmp://127.0.0.1:9/live".to_owned();
    let good = Box::new(TargetConfig { url: url.clone(), ..TargetConfig::default() });
    let target = RRRestOut::AddTarget { stream, config: good }.carry_out(&server).unwrap();
    assert_eq!(RRRestOut::UpdateTarget { target, config: bad }.carry_out(&server).unwrap_err().kind, RRError::Arg);
    assert_eq!(server.target_config(target).unwrap().url, url);
    assert_eq!(server.list(stream, kind::TARGET).unwrap(), [target]);
}

#[test]
fn a_request_reaches_what_it_names_or_nothing() {
    let server = server();
    let stream = ensure(0).carry_out(&server).unwrap();
    let stop = || RRRestOut::StopStream { stream, deadline_ms: 0 };
    assert_eq!(stop().carry_out(&server).unwrap(), stream);
    until("it has ended", || server.info(stream).is_err());
    let next = ensure(0).carry_out(&server).unwrap();
    assert_ne!(next, stream);
    assert_eq!(stop().carry_out(&server).unwrap_err().kind, RRError::NotFound);
    assert_eq!(server.info(next).unwrap().state, State::Idle, "the next one of that name is another");
    for out in [
        RRRestOut::Allow { session: stream, decision: Box::default() },
        RRRestOut::Deny { session: next, code: String::new(), text: String::new() },
        RRRestOut::RetryTarget { target: next },
    ] {
        assert_eq!(out.clone().carry_out(&server).unwrap_err().kind, RRError::NotFound, "{out:?}");
    }
}
