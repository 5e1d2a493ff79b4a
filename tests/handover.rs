//! A session that waits for an answer continues in another server or process as if it had been accepted there: nothing
//! is lost or repeated, whatever its peer has sent already, and nothing of it stays in the first server.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;
#[path = "support/moving.rs"]
mod moving;
#[path = "support/secure.rs"]
mod secure;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};

use live::{Client, Live, command, connect, is_closed, message, raw, shaken, threaded, until};
use rrelay::config::{Decision, PublisherPolicy, ServerConfig, StreamConfig, ask};
use rrelay::error::RRError;
use rrelay::proto::amf0::Value;
use rrelay::proto::chunk_read::{ChunkReader, ReadLimits};
use rrelay::proto::message::kind;
use rrelay::server::{Event, EventKind, Export, Id, LevelFilter, ListenOptions, RRServer, flag, kind as ids};
use rrelay::session::{SessionConfig, State};

/// More bytes than any state here has.
const ROOM: usize = 1 << 20;

fn asking() -> ServerConfig {
    ServerConfig { ask: ask::ALL, ask_ms: u32::MAX, ..ServerConfig::default() }
}

/// A server whose events the test takes, and its port.
fn server(config: ServerConfig) -> (RRServer, u16) {
    let server = RRServer::new(threaded(config), LevelFilter::Off, None).unwrap();
    let port = server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    (server, port)
}

/// The next event of that kind; others are skipped.
fn next(server: &RRServer, kind: EventKind) -> Event {
    loop {
        let event = server.next_event(30_000).unwrap().expect("an event in time");
        if event.kind == kind {
            return event;
        }
    }
}

/// Allows every question before this one, and exports the session at this one.
fn export_at(server: &RRServer, kind: EventKind) -> (OwnedFd, Vec<u8>) {
    loop {
        let event = server.next_event(30_000).unwrap().expect("an event in time");
        if event.kind == kind {
            return moving::session(server, event.session);
        }
        if matches!(event.kind, EventKind::ConnectAsk | EventKind::PublishAsk | EventKind::PlayAsk) {
            server.session_allow(event.session, Decision::default()).unwrap();
        }
    }
}

/// The messages that have come over a socket, until one contains these bytes.
fn messages(socket: &mut TcpStream, last: &str) -> Vec<(u8, u32, Vec<u8>)> {
    let limits = ReadLimits { max_message: 1 << 20, max_open_bytes: 1 << 20, max_chunk_streams: 8 };
    let (mut reader, mut input, mut all) = (ChunkReader::new(limits), [0; 4096], Vec::new());
    loop {
        let n = socket.read(&mut input).unwrap();
        assert!(n > 0, "closed before {last} came, behind {all:?}");
        let (input, mut at) = (&input[..n], 0);
        while let Some(head) = reader.next(input, &mut at).unwrap() {
            let body = reader.body(input).to_vec();
            let over = body.windows(last.len()).any(|part| part == last.as_bytes());
            all.push((head.type_id, head.timestamp_ms, body));
            if over {
                return all;
            }
        }
    }
}

/// The bytes of a peer up to a question and after it, and the words that show that the server has read them all.
struct Talk {
    question: EventKind,
    before: Vec<u8>,
    behind: Vec<u8>,
    words: &'static str,
}

const PICTURE: &[u8] =
    b"\x17\x01\0\0\0 the first picture, of more than one chunk, and no more is said of what it shows, since \
    a longer one would only take more tries; this is its end";

fn talks() -> [Talk; 4] {
    let text = Value::String;
    let create = || command(0, "createStream", 2.0, &[Value::Null]);
    let publish = || command(1, "publish", 3.0, &[Value::Null, text(b"show?token=1"), text(b"live")]);
    let media = || {
        let audio = message(kind::AUDIO, 1, 4, &[0xAF; 30]);
        let video = message(kind::VIDEO, 1, 6, PICTURE);
        // A ping is answered when everything before it has been handled.
        [audio, video, message(kind::USER_CONTROL, 0, 2, b"\0\x06done")].concat()
    };
    let play = || command(1, "play", 3.0, &[Value::Null, text(b"film"), Value::Number(-2000.0)]);
    let pauses = || {
        let pause = |on| command(1, "pause", 0.0, &[Value::Null, Value::Bool(on), Value::Number(0.0)]);
        [pause(true), pause(false)].concat()
    };
    let pong = "\0\x07done";
    [
        Talk {
            question: EventKind::ConnectAsk,
            before: connect(),
            behind: [create(), publish(), media()].concat(),
            words: pong,
        },
        Talk {
            question: EventKind::PublishAsk,
            before: [connect(), create(), publish()].concat(),
            behind: media(),
            words: pong,
        },
        Talk {
            question: EventKind::ConnectAsk,
            before: connect(),
            behind: [create(), play(), pauses()].concat(),
            words: "NetStream.Unpause.Notify",
        },
        Talk {
            question: EventKind::PlayAsk,
            before: [connect(), create(), play()].concat(),
            behind: pauses(),
            words: "NetStream.Unpause.Notify",
        },
    ]
}

#[test]
fn a_session_goes_on_elsewhere_from_each_byte_behind_its_question() {
    let (here, port) = server(asking());
    let policy = PublisherPolicy::Takeover;
    let lasting = StreamConfig { publisher_policy: policy, grace_ms: 60_000, ..StreamConfig::default() };
    let there = Live::new(ServerConfig { stream: Arc::new(lasting), ..ServerConfig::default() });
    let mut watcher = there.play("show");
    for talk in talks() {
        let publishes = talk.words.contains("done");
        let mut stayed = shaken(there.port);
        stayed.write_all(&[&talk.before[..], &talk.behind].concat()).unwrap();
        let answers = messages(&mut stayed, talk.words);
        assert!(!publishes || watcher.message().1 == PICTURE);
        for cut in 0..=talk.behind.len() {
            let mut socket = shaken(port);
            socket.write_all(&[&talk.before[..], &talk.behind[..cut]].concat()).unwrap();
            let (fd, state) = export_at(&here, talk.question);
            there.server.session_import(fd, &state).unwrap();
            socket.write_all(&talk.behind[cut..]).unwrap();
            assert_eq!(messages(&mut socket, talk.words), answers, "cut at {cut}");
            assert!(!publishes || watcher.message().1 == PICTURE, "cut at {cut}");
        }
    }
    assert!(watcher.messages.is_empty(), "no message came twice");
    assert!(here.list(0, ids::SESSION).unwrap().is_empty());
}

/// A server whose callback moves each session that waits for an answer to the server `to`.
fn mover(to: &Arc<RRServer>) -> (Arc<RRServer>, u16) {
    let (to, itself) = (Arc::clone(to), Arc::new(OnceLock::<Arc<RRServer>>::new()));
    let me = Arc::clone(&itself);
    let callback = Box::new(move |event: &Event| {
        if matches!(event.kind, EventKind::PublishAsk | EventKind::PlayAsk) {
            let (fd, state) = moving::session(me.get().unwrap(), event.session);
            to.session_import(fd, &state).unwrap();
        }
    });
    let config = ServerConfig { ask: ask::PUBLISH | ask::PLAY, ..asking() };
    let server = Arc::new(RRServer::new(threaded(config), LevelFilter::Off, Some(callback)).unwrap());
    assert!(itself.set(Arc::clone(&server)).is_ok());
    let port = server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    (server, port)
}

#[test]
fn publishers_and_players_that_moved_in_a_callback_miss_nothing() {
    let there = Live::new(ServerConfig::default());
    let (here, port) = mover(&there.server);
    let mut publisher = Client::new(port, "show", true);
    let mut players = [Client::new(port, "show", false), there.play("show")];
    for number in 0..300_u32 {
        publisher.key_frame(number, &number.to_be_bytes()).unwrap();
    }
    for player in &mut players {
        for number in 0..300_u32 {
            let (head, body) = player.message();
            assert_eq!((head.timestamp_ms, &body[5..]), (number, &number.to_be_bytes()[..]));
        }
    }
    assert_eq!((here.stats(0).unwrap().sessions, there.sessions()), (0, 3));
    drop(publisher);
    here.shutdown().unwrap();
}

#[test]
fn what_is_known_of_a_session_goes_with_it() {
    let (here, _) = server(ServerConfig { max_sessions_ip: Some(1), ..asking() });
    let there = Live::new(ServerConfig { max_sessions_ip: Some(1), ask: ask::PUBLISH, ..asking() });
    let options = ListenOptions { proxy: true, ..ListenOptions::default() };
    let port = here.listen("127.0.0.1:0", options).unwrap();
    let mut socket = raw(port);
    socket.write_all(b"PROXY TCP4 203.0.113.7 10.0.0.1 54321 1935\r\n").unwrap();
    live::handshake(&mut socket);
    socket.write_all(&connect()).unwrap();
    let event = next(&here, EventKind::ConnectAsk);
    let renamed = Decision { rename: Some(b"other".to_vec()), user: 7, ..Decision::default() };
    here.session_allow(event.session, renamed).unwrap();
    socket.write_all(&command(0, "createStream", 2.0, &[Value::Null])).unwrap();
    let key = Value::String(b"show?token=1");
    socket.write_all(&command(1, "publish", 3.0, &[Value::Null, key, Value::String(b"live")])).unwrap();
    let asked = next(&here, EventKind::PublishAsk);
    let before = here.stats(asked.session).unwrap();
    let (fd, state) = moving::session(&here, asked.session);
    let end = next(&here, EventKind::Session);
    assert_eq!((end.session, end.state, end.error, end.flags), (asked.session, State::Stopped, None, flag::LAST));
    assert_eq!(end.text, b"handed over to another process");
    assert_eq!(here.info(asked.session).unwrap_err().kind, RRError::NotFound);

    there.server.session_import(fd, &state).unwrap();
    until("it asks", || !there.events_of(EventKind::PublishAsk).is_empty());
    let events = [EventKind::Session, EventKind::PublishAsk].map(|kind| there.events_of(kind).remove(0));
    let moves = events.each_ref().map(|event| (event.prev, event.state));
    assert_eq!(moves, [(State::None, State::Handshake), (State::Handshake, State::Waiting)]);
    let event = &events[1];
    assert_eq!((&event.app[..], &event.key[..], &event.query[..]), (&b"other"[..], &b"show"[..], &b"token=1"[..]));
    assert_eq!((&event.addr[..], event.user, &event.url), (&b"203.0.113.7:54321"[..], 0, &asked.url));
    let info = there.server.info(event.session).unwrap();
    assert_eq!(info.local_addr, "10.0.0.1:1935");
    assert_eq!(there.server.stats(event.session).unwrap().started_us, before.started_us);

    // The session's place in the first server is free, and it has one in the second.
    let mut again = raw(port);
    again.write_all(b"PROXY TCP4 203.0.113.7 10.0.0.1 54322 1935\r\n").unwrap();
    live::handshake(&mut again);
    again.write_all(&connect()).unwrap();
    let (fd, state) = export_at(&here, EventKind::ConnectAsk);
    let failure = there.server.session_import(fd, &state).unwrap_err();
    assert!(failure.kind == RRError::Limit && failure.text.contains("max_sessions_ip"), "{failure}");
    assert!(is_closed(&mut again));
    there.server.session_allow(event.session, Decision::default()).unwrap();
    messages(&mut socket, "NetStream.Publish.Start");
    until("it publishes", || there.server.stream_find(b"other", b"show").is_ok());
}

#[test]
fn a_banned_peer_is_not_let_in_by_being_imported() {
    let there = Live::new(ServerConfig::default());
    let (_here, port) = mover(&there.server);
    let mut publisher = Client::new(port, "show", true);
    publisher.key_frame(0, b"picture").unwrap();
    until("it publishes", || there.server.stream_find(b"live", b"show").is_ok());
    let id = there.server.list(0, ids::SESSION).unwrap()[0];
    there.server.session_close(id, "go", 60_000).unwrap();
    publisher.closed();
    until("it is gone", || there.sessions() == 0);
    let failure = Client::configured(port, "show", true, &SessionConfig::default()).err().unwrap();
    assert!(failure.to_string().contains("closed by the operator"), "{failure}");
    Client::new(port, "other", true);
}

/// A session that asks to publish `show`, and its peer.
fn publisher(server: &RRServer, port: u16) -> (TcpStream, Id) {
    let mut socket = shaken(port);
    let key = Value::String(b"show");
    let publish = command(1, "publish", 3.0, &[Value::Null, key, Value::String(b"live")]);
    socket.write_all(&[connect(), command(0, "createStream", 2.0, &[Value::Null]), publish].concat()).unwrap();
    let session = next(server, EventKind::PublishAsk).session;
    (socket, session)
}

#[test]
fn a_session_that_cannot_go_stays_and_waits() {
    let (server, port) = server(ServerConfig { ask: ask::PUBLISH | ask::PLAY, ..asking() });
    let refused = |id: Id, kind: RRError, words: &str| {
        let failure = server.session_export(id, ROOM).map(drop).unwrap_err();
        assert!(failure.kind == kind && failure.text.contains(words), "{failure}");
    };
    let (mut socket, session) = publisher(&server, port);
    let Export::Needs(bytes) = server.session_export(session, 0).unwrap() else { panic!("there was no room") };
    assert!((100..2_000).contains(&bytes), "{bytes}");
    assert!(matches!(server.session_export(session, 100).unwrap(), Export::Needs(_)));
    server.session_allow(session, Decision::default()).unwrap();
    messages(&mut socket, "NetStream.Publish.Start");
    server.session_close(session, "", 0).unwrap();
    assert!(is_closed(&mut socket));
    until("it has ended", || server.list(0, ids::SESSION).unwrap().is_empty());
    refused(session, RRError::NotFound, "");

    // The answer came before the export, whether the session's thread has handled it or not.
    let (mut socket, session) = publisher(&server, port);
    server.session_deny(session, "", "no").unwrap();
    assert_eq!(server.session_export(session, ROOM).map(drop).unwrap_err().kind, RRError::State);
    messages(&mut socket, "NetStream.Publish.Denied");
}

#[test]
fn sessions_over_tls_or_http_cannot_be_exported() {
    let papers = secure::Papers::new("handover");
    let (server, _) = server(ServerConfig { ask: ask::PLAY | ask::PUBLISH, ..asking() });
    server.set_tls(&papers.certificate, &papers.key).unwrap();
    let tls = server.listen("127.0.0.1:0", ListenOptions { tls: true, ..ListenOptions::default() }).unwrap();
    let http = server.listen("127.0.0.1:0", ListenOptions { http: true, ..ListenOptions::default() }).unwrap();
    let stays = |kind: EventKind, words: &str| {
        let session = next(&server, kind).session;
        let failure = server.session_export(session, ROOM).map(drop).unwrap_err();
        assert!(failure.kind == RRError::Unsupported && failure.text.contains(words), "{failure}");
        server.session_allow(session, Decision::default()).unwrap();
    };
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| secure::connect(&secure::trusting(), tls, "show", true));
        stays(EventKind::PublishAsk, "TLS");
        publishing.join().unwrap();
    });
    let mut player = raw(http);
    player.write_all(b"GET /live/show.flv HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stays(EventKind::PlayAsk, "HTTP");
    let mut answer = [0; 9];
    player.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"HTTP/1.1 ", "it is answered here");
}

#[test]
fn a_state_that_is_refused_takes_its_connection_with_it() {
    let (here, port) = server(asking());
    let there = Live::new(ServerConfig::default());
    let (_peer, session) = {
        let mut socket = shaken(port);
        socket.write_all(&connect()).unwrap();
        (socket, next(&here, EventKind::ConnectAsk).session)
    };
    let (_fd, state) = moving::session(&here, session);
    let refused = |state: &[u8], kind: RRError, words: &str| {
        let (theirs, mut ours) = UnixStream::pair().unwrap();
        let failure = there.server.session_import(theirs.into(), state).unwrap_err();
        assert!(failure.kind == kind && !failure.by_peer && failure.text.contains(words), "{failure}");
        assert_eq!(ours.read(&mut [0]).unwrap(), 0, "closed");
    };
    for cut in 0..state.len() {
        refused(&state[..cut], RRError::Arg, "");
    }
    refused(&[&state[..], b"x"].concat(), RRError::Arg, "bytes follow its end");
    refused(&[&state[..4], b"\x17", &state[5..]].concat(), RRError::Version, "an exported session of version 23");
    refused(&vec![0; 200 << 20], RRError::Limit, "at most");
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(there.server.session_import(file.into(), &state).unwrap_err().kind, RRError::Arg);
    assert_eq!(there.sessions(), 0);
    // A refused import causes no event; a session that ends while it waits does.
    assert!(there.events_of(EventKind::Session).is_empty());
    there.server.stop(None, 0).unwrap();
    refused(&state, RRError::State, "stopping");
}
