//! The state of the server follows its listeners and sessions.

use super::live::until;
use crate::config::ServerConfig;
use crate::log::LevelFilter;
use crate::server::{ListenOptions, RRServer};
use crate::session::State;
use crate::stream::event::EventKind;

fn moves(server: &RRServer) -> Vec<(State, State)> {
    let events = std::iter::from_fn(|| server.next_event(0).unwrap());
    events.filter(|event| event.kind == EventKind::Server).map(|event| (event.prev, event.state)).collect()
}

#[test]
fn a_server_is_in_progress_while_it_has_sessions() {
    use State::{Accepting, Idle, InProgress};
    let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
    let hand_over = |sessions: u32| {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        server.accept_fd(theirs.into(), None, ListenOptions::default()).unwrap();
        until("it has that many sessions", || server.stats(0).unwrap().sessions == sessions);
        until("it shows so", || server.state() == InProgress);
        ours
    };
    // There is no listener, as in hosts that accept connections themselves.
    let peers = [hand_over(1), hand_over(2)];
    drop(peers);
    until("they have gone", || server.state() == Idle);
    assert_eq!(moves(&server), [(Idle, InProgress), (InProgress, Idle)]);
    let peer = hand_over(1);
    server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    assert_eq!(server.state(), InProgress);
    drop(peer);
    until("it has gone", || server.state() == Accepting);
    assert_eq!(moves(&server), [(Idle, InProgress), (InProgress, Accepting)]);
    server.shutdown().unwrap();
}
