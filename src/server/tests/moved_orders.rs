//! What was ordered before another process takes over is done, however late the thread that has to do it comes to it.

use std::io::Write;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use socket2::SockRef;

use super::live::{Live, connect, shaken, until};
use super::stalled::Stalled;
use crate::config::{ServerConfig, TargetConfig, ask};
use crate::error::RRError;
use crate::log::LevelFilter;
use crate::net::reserved::Reserved;
use crate::server::RRServer;
use crate::server::slots::kind;
use crate::session::State;
use crate::stream::event::EventKind;

/// Hands over to a new server at once after this, and does that meanwhile.
fn handed_over(live: &Live, before: impl FnOnce(), meanwhile: impl FnOnce()) -> RRServer {
    let next = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| next.take_over(theirs.into(), 30_000).unwrap());
        // The new server is ready as soon as something comes from it.
        SockRef::from(&ours).peek(&mut [MaybeUninit::uninit()]).unwrap();
        before();
        let hands_over = scope.spawn(|| live.server.hand_over(ours.into(), 30_000, 0).unwrap());
        meanwhile();
        hands_over.join().unwrap();
    });
    next
}

#[test]
fn a_session_that_was_closed_is_not_with_another_process() {
    for publishes in [false, true] {
        // One loop has both streams, and stands still with one of them.
        let live = Live::new(ServerConfig { threads: Some(1), ..ServerConfig::default() });
        let [late, show] = [&b"late"[..], b"show"].map(|key| {
            let id = live.server.stream_create(b"live", key, None).unwrap();
            live.server.stream(id).unwrap()
        });
        let _stays = live.play("late");
        let mut closed = if publishes { live.publish("show") } else { live.play("show") };
        let stalled = Stalled::relay(&late, 0);
        let sessions = live.server.list(show.id(), kind::SESSION).unwrap();
        assert_eq!(sessions.len(), 1);
        let close = || live.server.session_close(sessions[0], "enough", 0).unwrap();
        let next = handed_over(&live, close, || {
            let waiting = || if publishes { show.waiting_for_accumulate() } else { show.waiting_for_relay() };
            until("the task is asked for its sessions", || waiting() == 1);
            drop(stalled);
        });
        assert_eq!(live.end_of(&closed.addr()).error, Some(RRError::Kicked));
        closed.closed();
        assert_eq!(next.list(0, kind::SESSION).unwrap().len(), 1);
        next.shutdown().unwrap();
    }
}

#[test]
fn sessions_that_were_closed_while_they_asked_are_not_with_another_process() {
    let live = Live::new(ServerConfig { ask: ask::CONNECT, ask_ms: u32::MAX, ..ServerConfig::default() });
    let mut peers: Vec<_> = (0..100).map(|_| shaken(live.port)).collect();
    peers.iter_mut().for_each(|peer| peer.write_all(&connect()).unwrap());
    until("all ask", || live.events_of(EventKind::ConnectAsk).len() == peers.len());
    let sessions = live.server.list(0, kind::SESSION).unwrap();
    let close = |&session| live.server.session_close(session, "enough", 0).unwrap();
    let next = handed_over(&live, || sessions.iter().for_each(close), || {});
    assert_eq!(next.list(0, kind::SESSION).unwrap().len(), 0);
    next.shutdown().unwrap();
}

#[test]
fn targets_that_were_to_try_again_at_once_do_so_in_another_process() {
    let live = Live::new(ServerConfig::default());
    let nobody = Reserved::new();
    let address = nobody.address();
    let mut publisher = live.publish("show");
    publisher.key_frame(0, b"picture").unwrap();
    let stream = live.server.stream_find(b"live", b"show").unwrap();
    let pushed = |number| TargetConfig {
        url: format!("rtmp://{address}/live/copy{number}"),
        retry_count: Some(1),
        retry_min_ms: 1,
        ..TargetConfig::default()
    };
    let targets: Vec<_> = (0..60).map(|number| live.server.target_add(stream, pushed(number)).unwrap()).collect();
    let failed = |server: &RRServer| {
        let all = server.list(0, kind::TARGET).unwrap();
        all.into_iter().filter(|&id| server.info(id).is_ok_and(|info| info.state == State::Failed)).count()
    };
    until("nobody is there", || failed(&live.server) == targets.len());
    // Somebody who never answers.
    let _silent = TcpListener::bind(address).unwrap();
    let retry = |&target| live.server.target_retry(target).unwrap();
    let next = handed_over(&live, || targets.iter().for_each(retry), || {});
    assert_eq!(next.list(0, kind::TARGET).unwrap().len(), targets.len());
    assert_eq!(failed(&next), 0);
    next.shutdown().unwrap();
}
