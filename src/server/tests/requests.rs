//! RRRestOut: a request is carried out completely, on exactly the object that it names, or it changes nothing.

#[cfg(feature = "rest")]
use std::os::unix::net::UnixStream;

use super::live::{Live, until};
use crate::config::{ClockMode, ServerConfig, StreamConfig, TargetConfig};
use crate::error::RRError;
use crate::log::LevelFilter;
#[cfg(feature = "rest")]
use crate::net::clock;
use crate::server::slots::kind;
use crate::server::{RRRestOut, RRServer};
use crate::session::State;
use crate::stream::event::Id;

fn server() -> RRServer {
    RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap()
}

fn make() -> RRRestOut {
    RRRestOut::CreateStream { app: b"live".to_vec(), key: b"show".to_vec(), config: None }
}

/// Changes settings of a stream, made of these.
fn change(stream: Id, was: StreamConfig, config: StreamConfig) -> RRRestOut {
    RRRestOut::ChangeStream { stream, was: Box::new(was), config: Box::new(config) }
}

#[test]
fn a_stream_gets_the_settings_that_can_change() {
    let server = server();
    let stream = make().carry_out(&server).unwrap();
    let first = server.stream_config(stream).unwrap();
    let request = change(stream, first.clone(), StreamConfig { grace_ms: 6_000, ..first });
    assert_eq!(request.carry_out(&server).unwrap(), stream);
    let was = server.stream_config(stream).unwrap();
    assert_eq!(was.grace_ms, 6_000);
    let with = |config: StreamConfig| StreamConfig { grace_ms: 7_000, ..config };
    for (name, config) in [
        ("clock", StreamConfig { clock: ClockMode::Zero, ..was.clone() }),
        ("nice", StreamConfig { nice: 5, ..was.clone() }),
        ("cpus", StreamConfig { cpus: vec![0], ..was.clone() }),
        ("relay_threads", StreamConfig { relay_threads: Some(2), ..was.clone() }),
    ] {
        let failure = change(stream, was.clone(), with(config)).carry_out(&server).unwrap_err();
        assert!(failure.kind == RRError::Exists && failure.text.contains(name), "{failure}");
        assert_eq!(server.stream_config(stream).unwrap(), was, "nothing of it was applied");
    }
}

#[test]
fn settings_made_of_those_that_a_stream_has_no_more_are_refused() {
    let server = server();
    let stream = make().carry_out(&server).unwrap();
    let was = server.stream_config(stream).unwrap();
    let lag = |config: StreamConfig| StreamConfig { queue_ms: 900, ..config };
    let other = StreamConfig { grace_ms: 6_000, ..was.clone() };
    change(stream, was.clone(), other.clone()).carry_out(&server).unwrap();
    let failure = change(stream, was.clone(), lag(was)).carry_out(&server).unwrap_err();
    assert_eq!(failure.kind, RRError::Again, "{failure}");
    change(stream, other.clone(), lag(other)).carry_out(&server).unwrap();
    let now = server.stream_config(stream).unwrap();
    assert_eq!((now.grace_ms, now.queue_ms), (6_000, 900));
}

#[test]
fn a_stream_that_is_refused_ends_with_its_publisher_as_before() {
    let live = Live::new(ServerConfig::default());
    let publisher = live.publish("show");
    until("it publishes", || live.server.stream_find(b"live", b"show").is_ok());
    let stream = live.server.stream_find(b"live", b"show").unwrap();
    let was = live.server.stream_config(stream).unwrap();
    let other_clock = StreamConfig { clock: ClockMode::Zero, ..was.clone() };
    assert_eq!(change(stream, was, other_clock).carry_out(&live.server).unwrap_err().kind, RRError::Exists);
    drop(publisher);
    until("the stream has ended with its publisher", || live.server.list(0, kind::STREAM).unwrap().is_empty());
}

#[test]
fn what_is_refused_has_changed_nothing() {
    let server = server();
    let stream = make().carry_out(&server).unwrap();
    let bad = Box::new(TargetConfig { url: "http://no/relay".to_owned(), ..TargetConfig::default() });
    let add = RRRestOut::AddTarget { stream, config: bad.clone() };
    assert_eq!(add.carry_out(&server).unwrap_err().kind, RRError::Arg);
    let url = "rtmp://127.0.0.1:9/live".to_owned();
    let good = Box::new(TargetConfig { url: url.clone(), ..TargetConfig::default() });
    let target = RRRestOut::AddTarget { stream, config: good }.carry_out(&server).unwrap();
    assert_eq!(
        RRRestOut::UpdateTarget { target, was: None, config: bad }.carry_out(&server).unwrap_err().kind,
        RRError::Arg
    );
    assert_eq!(server.target_config(target).unwrap().url, url);
    assert_eq!(server.list(stream, kind::TARGET).unwrap(), [target]);
}

#[test]
fn a_request_reaches_what_it_names_or_nothing() {
    let server = server();
    let stream = make().carry_out(&server).unwrap();
    let stop = || RRRestOut::StopStream { stream, deadline_ms: 0 };
    assert_eq!(stop().carry_out(&server).unwrap(), stream);
    until("it has ended", || server.info(stream).is_err());
    let next = make().carry_out(&server).unwrap();
    assert_ne!(next, stream);
    assert_eq!(stop().carry_out(&server).unwrap_err().kind, RRError::NotFound);
    let (was, lasting) =
        (server.stream_config(next).unwrap(), StreamConfig { grace_ms: 6_000, ..StreamConfig::default() });
    let late = change(stream, was.clone(), lasting);
    assert_eq!(late.carry_out(&server).unwrap_err().kind, RRError::NotFound);
    assert_eq!(server.info(next).unwrap().state, State::Idle, "the next one of that name is another");
    assert_eq!(server.stream_config(next).unwrap(), was);
    for out in [
        RRRestOut::Allow { session: stream, decision: Box::default() },
        RRRestOut::Deny { session: next, code: String::new(), text: String::new() },
        RRRestOut::RetryTarget { target: next },
    ] {
        assert_eq!(out.clone().carry_out(&server).unwrap_err().kind, RRError::NotFound, "{out:?}");
    }
}

#[cfg(feature = "rest")]
#[test]
fn a_stop_ends_the_hand_over_that_waits_for_a_request() {
    let (here, there) = (server(), server());
    let request = here.begin_request().expect("nothing moves");
    let (ours, theirs) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let takes = scope.spawn(|| there.take_over(theirs.into(), 60_000));
        let by_ms = clock::now_ms() + 30_000;
        let hands = scope.spawn(|| here.hand_over(ours.into(), 30_000, 0));
        until("the hand-over waits for the request", || here.begin_request().is_none());
        here.stop(None, 60_000).unwrap();
        let failure = hands.join().unwrap().expect_err("the request is not done");
        assert_eq!(failure.kind, RRError::State, "{failure}");
        assert!(clock::now_ms() < by_ms, "it has waited for the time that it had");
        assert!(takes.join().unwrap().is_err());
    });
    drop(request);
}
