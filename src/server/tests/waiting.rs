//! A session that waits for the listener's thread has its place and its memory from that moment on, not from its first
//! turn there.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use crate::config::ServerConfig;
use crate::error::{RRError, Result};
use crate::fuzzing::{conversation, seeds};
use crate::net::conn::{Conn, Side};
use crate::net::socket::Socket;
use crate::server::RRServer;
use crate::server::inbox::ToListener;
use crate::session::{Event as Said, ServerSession, SessionConfig};
use crate::stream::Upcalls;
use crate::stream::exported::ExportedSession;
use crate::stream::peer::Peer;
use crate::stream::record::RRSession;

use super::gone::without_threads;

fn asking() -> ServerSession {
    let mut session = ServerSession::new(&SessionConfig::default(), 0);
    let wire = conversation(&seeds::server_conversations()[0]);
    assert_eq!(session.next(&wire, &mut 0, 0).unwrap(), Some(Said::Connect));
    session
}

fn import(server: &RRServer) -> Result<()> {
    let state = ExportedSession::asking(asking(), Said::Connect, &[0; 8_192]).state(0).unwrap();
    let (ours, _) = UnixStream::pair().unwrap();
    server.session_import(OwnedFd::from(ours), &state)
}

#[test]
fn sessions_of_another_process_have_their_memory_from_the_call_on() {
    let (server, _inboxes) =
        without_threads(ServerConfig { mem_limit_bytes: Some(1 << 20), ..ServerConfig::default() });
    import(&server).unwrap();
    let one = server.core.pending.used();
    assert!(one >= 8_192, "{one}");
    let refused = (1..1_000).find_map(|_| import(&server).err()).expect("a quarter of the limit is all there is");
    assert_eq!(refused.kind, RRError::Limit, "{refused}");
    assert!(server.core.pending.used() <= 1 << 18);
    assert_eq!(server.core.registry().sessions.len() as u64, server.core.pending.used() / one, "none is left behind");
}

#[test]
fn a_session_that_comes_back_to_the_listener_has_its_memory_before_its_turn() {
    let (server, inboxes) = without_threads(ServerConfig::default());
    let make = |id| std::sync::Arc::new(RRSession::new(id, String::new(), None, String::new()));
    let record = server.core.registry().add_session(None, make).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut conn = Conn::new(Socket::adopt_connected(ours.into()).unwrap(), Side::Server(Box::new(asking())));
    conn.put_back(&[0; 8_192]);
    server.core.reclaim(Peer::new(conn, record), None);
    assert!(server.core.pending.used() >= 8_192);
    assert!(matches!(inboxes.listener.try_recv(), Ok(ToListener::Back(..))));
    assert_eq!(server.core.pending.used(), 0, "and gives it back");
}

#[test]
fn a_connection_without_its_proxy_header_keeps_its_place_from_imported_sessions() {
    let (server, _inboxes) = without_threads(ServerConfig { max_sessions: 2, ..ServerConfig::default() });
    server.core.registry().expect_session().unwrap();
    import(&server).unwrap();
    assert_eq!(import(&server).unwrap_err().kind, RRError::Limit);
    assert_eq!(server.core.registry().expect_session().unwrap_err().kind, RRError::Limit);
    server.core.registry().expect_no_more();
    import(&server).unwrap();
}
