//! A server that is gone is gone whole, whatever its threads had no time for.

use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex};

use crate::config::{ServerConfig, TargetConfig};
use crate::log::LevelFilter;
use crate::net::poll::Poller;
use crate::server::core::{Core, Inboxes};
use crate::server::events::{Events, EventsConfig};
use crate::server::{RRServer, control};

/// A server with a control thread, and what its other threads would get.
fn without_threads() -> (RRServer, Inboxes) {
    let config = ServerConfig::default();
    let waker = || Poller::new().unwrap().waker();
    let limits =
        EventsConfig { limit: config.event_limit, log_events: LevelFilter::Off, callback: None, on_room: None };
    let (core, inboxes) = Core::new(config, Events::start(limits).unwrap(), waker(), waker());
    let controlled = Arc::clone(&core);
    let threads = Mutex::new(vec![std::thread::spawn(move || control::run(&controlled))]);
    (RRServer { core, threads }, inboxes)
}

#[test]
fn targets_that_the_dialler_never_heard_of_do_not_keep_their_server() {
    let (server, inboxes) = without_threads();
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
fn the_end_of_a_server_waits_for_streams_that_are_late() {
    let (server, _inboxes) = without_threads();
    // Its end would wait for a control thread.
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
