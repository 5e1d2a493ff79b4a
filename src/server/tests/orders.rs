//! The host's orders for a session wait, within a bound, for the thread that owns it.

use std::io::Write;
use std::sync::Arc;

use crate::config::{Decision, ServerConfig, ask};
use crate::error::RRError;
use crate::log::LevelFilter;
use crate::proto::command::CAPS_RECONNECT;
use crate::server::RRServer;
use crate::session::State;
use crate::stream::event::{Event, EventKind};
use crate::stream::record::{Caller, Order, RRSession};

use super::live::{Live, connect, is_closed, shaken, until};

#[test]
fn a_session_whose_thread_does_not_come_to_it_takes_eight_calls_and_no_more() {
    let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
    // A session that no thread owns handles no orders.
    let session = |id| Arc::new(RRSession::new(id, "peer".to_owned(), None, "here".to_owned()));
    let record = server.core.registry().add_session(None, session).unwrap();
    record.rename(|names| names.caps_ex = CAPS_RECONNECT);
    record.set_state(State::Waiting);
    for _ in 0..8 {
        server.session_reconnect(record.id, None, "").unwrap();
    }
    let full = [
        server.session_allow(record.id, Decision::default()),
        server.session_deny(record.id, "", ""),
        server.session_redirect(record.id, "rtmp://127.0.0.1/live"),
        server.session_reconnect(record.id, None, ""),
        server.session_close(record.id, "", 0),
        server.session_export(record.id, 0).map(drop),
    ];
    for result in full {
        assert_eq!(result.unwrap_err().kind, RRError::Again);
    }
    assert!(record.next_order().is_some());
    server.session_close(record.id, "", 0).unwrap();
    record.close_post();
    assert_eq!(server.session_close(record.id, "", 0).unwrap_err().kind, RRError::NotFound, "it is over");
    server.core.registry().remove_session(record.id);
    server.shutdown().unwrap();
}

#[test]
fn a_session_is_not_exported_for_a_caller_that_waits_no_longer() {
    let live = Live::new(ServerConfig { ask: ask::CONNECT, ask_ms: u32::MAX, ..ServerConfig::default() });
    let mut socket = shaken(live.port);
    socket.write_all(&connect()).unwrap();
    until("it asks", || !live.events_of(EventKind::ConnectAsk).is_empty());
    let session = live.events_of(EventKind::ConnectAsk)[0].session;
    let (caller, wait) = Caller::new();
    assert!(wait.outcome(|| true).is_none(), "nobody has it");
    live.server.order(session, Order::Export { room: 1 << 20, caller }).unwrap();
    live.server.session_deny(session, "", "not here").unwrap();
    assert!(is_closed(&mut socket));
    let refused = |event: &Event| event.error == Some(RRError::Rejected);
    until("it was refused", || live.events_of(EventKind::Session).iter().any(refused));
}
