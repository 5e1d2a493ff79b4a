//! A freed server is freed completely, even if its threads had no time for some of their work.

use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex};

use crate::config::{ServerConfig, TargetConfig};
use crate::error::RRError;
use crate::log::LevelFilter;
use crate::net::poll::Poller;
use crate::server::core::Core;
use crate::server::events::{Events, EventsConfig};
use crate::server::inbox::Inboxes;
use crate::server::loops::Loops;
use crate::server::{RRServer, control};
use crate::session::State;
use crate::stream::event::EventKind;
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::Target;

/// A server with only a control thread, and the inboxes of its other threads.
pub(super) fn without_threads(config: ServerConfig) -> (RRServer, Inboxes) {
    let waker = || Poller::new(1).unwrap().wake().unwrap();
    let limits =
        EventsConfig { limit: config.event_limit, log_events: LevelFilter::Off, callback: None, on_room: None };
    let (core, inboxes) = Core::new(
        config,
        Loops::new(&ServerConfig::default()).unwrap().0,
        Events::start(limits).unwrap(),
        waker(),
        waker(),
    );
    let controlled = Arc::clone(&core);
    let threads = Mutex::new(vec![std::thread::spawn(move || control::run(&controlled))]);
    (RRServer { core, threads, shared: Mutex::default(), orphans: None }, inboxes)
}

#[test]
fn targets_that_the_dialler_never_heard_of_do_not_keep_their_server() {
    let (server, inboxes) = without_threads(ServerConfig::default());
    let stream = server.stream_create(b"live", b"show", None).unwrap();
    let config = || TargetConfig { url: "rtmp://127.0.0.1:1/live/x".to_owned(), ..TargetConfig::default() };
    server.target_add(stream, config()).unwrap();
    server.source_add(stream, config()).unwrap();
    drop(inboxes);
    let life = server.life();
    drop(server);
    assert_eq!(life.strong_count(), 0, "somebody holds the server that is gone");
}

#[test]
fn a_target_that_was_stopped_before_it_began_has_no_event_after_its_last() {
    let (server, _inboxes) = without_threads(ServerConfig::default());
    let id = server.stream_create(b"live", b"show", None).unwrap();
    let stream = server.stream(id).unwrap();
    let config = || TargetConfig { url: "rtmp://127.0.0.1:1/live/x".to_owned(), ..TargetConfig::default() };
    for target in [1, 2] {
        let target =
            Target::new(target, Arc::clone(stream.identity()), Endpoint::ready(config(), &stream.name().key).unwrap());
        target.stop(0);
        target.move_to(State::Stopped, |event| event);
        let target = Arc::new(target);
        let added = if target.id == 1 { stream.add_target(&target) } else { stream.add_source(&target) };
        assert_eq!(added.unwrap_err().kind, RRError::State);
    }
    let mut last = Vec::new();
    while let Some(event) = server.next_event(0).unwrap() {
        last.extend((event.kind == EventKind::Target).then_some(event.state));
    }
    assert_eq!(last, [State::Stopped; 2]);
    assert!(stream.book().targets().is_empty() && stream.sources().list().is_empty());
}

#[test]
fn the_end_of_a_server_waits_for_streams_that_are_late() {
    let (server, _inboxes) = without_threads(ServerConfig::default());
    // Dropping it would wait for a control thread.
    let server = ManuallyDrop::new(server);
    let late = server.stream_create(b"live", b"late", None).unwrap();
    server.core.close();
    let control = server.threads.lock().unwrap().pop().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!control.is_finished(), "nobody is left to join the stream's threads");
    server.stream_stop(late, 0).unwrap();
    control.join().unwrap();
    assert!(server.stream_find(b"live", b"late").is_err());
    server.core.stop(0);
    server.core.stopped();
    drop(ManuallyDrop::into_inner(server));
}
