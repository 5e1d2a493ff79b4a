//! Streams in processes of their own: for peers and the host all is as in one process, and the end of a process is the
//! end of its stream's connections and of nothing else.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/c.rs"]
mod c;
#[path = "support/ingest.rs"]
mod ingest;
#[path = "support/isolated.rs"]
mod isolated;
#[path = "isolate/late_reads.rs"]
mod late_reads;
#[path = "support/live.rs"]
mod live;
#[path = "support/moving.rs"]
mod moving;
#[path = "support/secure.rs"]
mod secure;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ingest::{Ingest, Script, Then};
use isolated::{has_connection, isolated, kill, signal, worker_of, workers};
use live::{Client, Live, command, connect, shaken, until};
use rrelay::config::{ServerConfig, StreamConfig, TargetConfig, WorkerConfig};
use rrelay::error::{Failure, RRError};
use rrelay::proto::amf0::Value;
use rrelay::proto::chunk_read::{ChunkReader, ReadLimits};
use rrelay::proto::chunk_write;
use rrelay::proto::message::{MessageHead, kind};
use rrelay::server::{Event, EventKind, Id, ListenOptions, RRServer, StreamExport, flag, kind as ids};
use rrelay::session::{Event as Said, Role, SessionConfig, State};
use secure::Papers;

fn stream(server: &RRServer, key: &str) -> Option<Id> {
    server.stream_find(b"live", key.as_bytes()).ok()
}

/// Sends key frames, and gives what went over the wire.
fn sends(publisher: &mut Client, from: u32, count: u32) -> Vec<Vec<u8>> {
    (from..from + count)
        .map(|n| {
            let body = n.to_be_bytes().repeat(500 + (n as usize % 7) * 40);
            publisher.key_frame(n * 40, &body).unwrap();
            [&[0x17, 1, 0, 0, 0][..], &body].concat()
        })
        .collect()
}

/// The next pictures of a player.
fn gets(player: &mut Client, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| player.message().1).collect()
}

#[test]
fn a_publisher_and_players_meet_in_a_process_of_their_stream() {
    let live = Live::new(isolated());
    let mut publisher = live.publish("show");
    let mut early = live.play("show");
    let first = sends(&mut publisher, 1, 5);
    assert_eq!(gets(&mut early, 5), first);
    let worker = worker_of(&publisher);

    let mut late = live.play("show");
    let newest = gets(&mut late, 1);
    assert_eq!(newest, first[4..]);
    let rest = sends(&mut publisher, 6, 100);
    assert_eq!(gets(&mut early, 100), rest);
    assert_eq!(gets(&mut late, 100), rest);

    let id = stream(&live.server, "show").unwrap();
    let sessions = live.server.list(id, ids::SESSION).unwrap();
    let roles: Vec<Role> = sessions.iter().map(|&id| live.server.info(id).unwrap().role).collect();
    assert_eq!(roles.iter().filter(|role| **role == Role::Player).count(), 2);
    assert_eq!(roles.iter().filter(|role| **role == Role::Publisher).count(), 1);
    assert_eq!(live.server.info(id).unwrap().state, State::InProgress);
    until("the figures of the worker", || {
        let stats = live.server.stats(id).unwrap();
        stats.msgs_in == 105 && stats.bytes_out > stats.bytes_in && stats.sessions == 3
    });
    until("the tracks", || live.server.info(id).unwrap().track_count == 1);

    let player = sessions.iter().copied().find(|&id| live.server.info(id).unwrap().addr == late.addr()).unwrap();
    live.server.session_close(player, "enough", 0).unwrap();
    late.closed();
    assert_eq!(live.end_of(&late.addr()).error, Some(RRError::Kicked));
    drop(publisher);
    until("the end of the publisher", || !live.events_of(EventKind::Session).is_empty() && live.sessions() == 1);
    drop(early);
    until("the end of the stream", || stream(&live.server, "show").is_none());
    until("the end of the process", || !workers().contains(&worker));
}

#[test]
fn a_process_has_as_many_relays_as_its_stream_is_to_have() {
    let config = StreamConfig { relay_threads: Some(2), ..StreamConfig::default() };
    let live = Live::new(ServerConfig { stream: config.into(), ..isolated() });
    let mut publisher = live.publish("show");
    let mut players: Vec<_> = (0..4).map(|_| live.play("show")).collect();
    let sent = sends(&mut publisher, 1, 50);
    players.iter_mut().for_each(|player| assert_eq!(gets(player, 50), sent));
    let worker = worker_of(&publisher);
    let tasks = std::fs::read_dir(format!("/proc/{worker}/task")).unwrap();
    let names = tasks.filter_map(|task| std::fs::read(task.ok()?.path().join("comm")).ok());
    assert_eq!(names.filter(|name| name.starts_with(b"relayDataThread")).count(), 2);
    until("the figures are those of both", || {
        let id = stream(&live.server, "show").unwrap();
        live.server.stats(id).unwrap().msgs_out >= 200
    });
    let gone = players.pop().unwrap();
    let sessions = live.server.list(0, ids::SESSION).unwrap();
    let id = sessions.into_iter().find(|&id| live.server.info(id).unwrap().addr == gone.addr()).unwrap();
    live.server.session_close(id, "enough", 0).unwrap();
    assert_eq!(live.end_of(&gone.addr()).error, Some(RRError::Kicked));
    drop(publisher);
    for player in &mut players {
        until("the end", || {
            let _ = player.turn(Duration::from_millis(10));
            player.said.iter().any(|said| matches!(said, Said::Ended { .. }))
        });
    }
    drop(players);
    until("the end of the process", || !workers().contains(&worker));
}

#[test]
fn a_process_that_is_killed_ends_its_own_connections_and_its_stream_begins_anew() {
    let live = Live::new(isolated());
    let mut others = (live.publish("other"), live.play("other"));
    let (mut publisher, mut player) = (live.publish("show"), live.play("show"));
    let sent = sends(&mut publisher, 1, 3);
    assert_eq!(gets(&mut player, 3), sent);
    let sent = sends(&mut others.0, 1, 3);
    assert_eq!(gets(&mut others.1, 3), sent);
    let worker = worker_of(&player);
    assert!(!has_connection(worker, &others.1), "each stream has a process of its own");

    kill(worker);
    player.closed();
    publisher.closed();
    for addr in [player.addr(), publisher.addr()] {
        let end = live.end_of(&addr);
        assert_eq!((end.error, end.state), (Some(RRError::Worker), State::Failed), "{end:?}");
    }
    live.line_with(&["worker", "signal 9", "its connections are closed"]);
    until("the end of the stream", || stream(&live.server, "show").is_none());
    let sent = sends(&mut others.0, 4, 50);
    assert_eq!(gets(&mut others.1, 50), sent, "nobody else notices");

    let mut again = None;
    until("the next publisher is taken", || {
        again = Client::configured(live.port, "show", true, &SessionConfig::default()).ok();
        again.is_some()
    });
    let (mut publisher, mut player) = (again.unwrap(), live.play("show"));
    let sent = sends(&mut publisher, 1, 3);
    assert_eq!(gets(&mut player, 3), sent);
    assert_ne!(worker_of(&player), worker);
}

#[test]
fn a_publisher_that_sends_does_not_give_way_to_another_however_old_the_server_is() {
    let silent_ms = 1_500;
    let settings = Arc::new(StreamConfig { silent_ms: Some(silent_ms), ..StreamConfig::default() });
    let live = Live::new(ServerConfig { stream: settings, ..isolated() });
    let begun = Instant::now();
    until("the server is much older than the process", || begun.elapsed().as_millis() > u128::from(2 * silent_ms));
    let mut publisher = live.publish("show");
    let (stop, mut sent) = (Arc::<AtomicBool>::default(), 0);
    let stopped = Arc::clone(&stop);
    let sending = std::thread::spawn(move || {
        while !stopped.load(Ordering::Acquire) && publisher.key_frame(sent * 20, b"picture").is_ok() {
            sent += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        publisher
    });
    until("its figures", || {
        stream(&live.server, "show").is_some_and(|id| live.server.stats(id).is_ok_and(|stats| stats.msgs_in > 5))
    });
    let second = Client::configured(live.port, "show", true, &SessionConfig::default());
    assert!(second.is_err(), "the first one sends");
    stop.store(true, Ordering::Release);
    let first = sending.join().unwrap();
    let mut second = None;
    until("the first one is silent", || {
        second = Client::configured(live.port, "show", true, &SessionConfig::default()).ok();
        second.is_some()
    });
    drop(first);
}

#[test]
fn a_session_goes_on_with_another_stream_and_from_there_to_another_server() {
    let live = Live::new(isolated());
    let mut one = live.publish("one");
    let sent = sends(&mut one, 1, 2);
    let mut peer = shaken(live.port);
    peer.write_all(&connect()).unwrap();
    peer.write_all(&command(0, "createStream", 2.0, &[Value::Null])).unwrap();
    peer.write_all(&command(1, "play", 3.0, &[Value::Null, Value::String(b"one")])).unwrap();
    wait_for(&mut peer, &sent[1][20..60]);
    let session = live.server.list(0, ids::SESSION).unwrap().into_iter();
    let session = session.max_by_key(|&id| live.server.info(id).unwrap().role == Role::Player).unwrap();
    // It takes the place of its play with another one, on the same message stream.
    let mut two = live.publish("two");
    let sent = sends(&mut two, 1, 2);
    peer.write_all(&command(1, "play", 4.0, &[Value::Null, Value::String(b"two")])).unwrap();
    wait_for(&mut peer, &sent[1][20..60]);
    let stream = stream(&live.server, "two").unwrap();
    until("its stream", || {
        let info = live.server.info(session).unwrap();
        info.stream == stream && info.state == State::InProgress
    });

    let (fd, state) = moving::session(&live.server, session);
    let other = Live::new(isolated());
    let mut publisher = other.publish("two");
    other.server.session_import(fd, &state).unwrap();
    let sent = sends(&mut publisher, 1, 2);
    wait_for(&mut peer, &sent[1][20..60]);
    assert_eq!(live.sessions(), 2);
    assert_eq!(other.sessions(), 2);
}

/// Reads until these bytes have come.
fn wait_for(peer: &mut TcpStream, wanted: &[u8]) {
    let (mut all, mut some) = (Vec::new(), [0; 65_536]);
    while !all.windows(wanted.len()).any(|part| part == wanted) {
        let n = peer.read(&mut some).unwrap();
        assert!(n > 0, "the connection is closed");
        all.extend_from_slice(&some[..n]);
    }
}

#[test]
fn targets_and_players_over_http_and_tls_are_served_by_the_process_too() {
    let live = Live::new(isolated());
    let papers = Papers::new("isolate");
    live.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let with = |tls, http| ListenOptions { tls, http, ..ListenOptions::default() };
    let tls_port = live.server.listen("127.0.0.1:0", with(true, false)).unwrap();
    let http_port = live.server.listen("127.0.0.1:0", with(false, true)).unwrap();
    // Another server, over TLS, is the stream's target.
    let other = Live::new(isolated());
    other.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let other_tls = other.server.listen("127.0.0.1:0", with(true, false)).unwrap();
    let ingest = Ingest::good();
    let stream = live.server.stream_create(b"live", b"show", None).unwrap();
    let push = |url: String| {
        let config =
            TargetConfig { url, insecure: true, retry_min_ms: 50, retry_max_ms: 100, ..TargetConfig::default() };
        live.server.target_add(stream, config).unwrap()
    };
    let plain = push(ingest.url());
    let over_tls = push(format!("rtmps://127.0.0.1:{other_tls}/live/show"));

    let mut publisher = secure::connect(&secure::trusting(), tls_port, "show", true);
    let mut far = other.play("show");
    let mut player = secure::connect(&secure::trusting(), tls_port, "show", false);
    let mut web = TcpStream::connect(("127.0.0.1", http_port)).unwrap();
    let mut number = 0_u32;
    let mut writes = || {
        number += 1;
        let body = [&[0x17, 1, 0, 0, 0][..], &number.to_be_bytes().repeat(2_000)].concat();
        let head = MessageHead {
            timestamp_ms: number * 40,
            type_id: kind::VIDEO,
            stream_id: 1,
            len: body.len() as u32,
            chunk_stream: 6,
        };
        let mut wire = Vec::new();
        chunk_write::encode(&head, &body, SessionConfig::default().chunk_size, &mut wire);
        let mut at = 0;
        while at < wire.len() {
            at += publisher.write(&wire[at..]).unwrap().unwrap_or(0);
        }
        assert!(publisher.flush_tls().is_ok());
        body
    };
    until("both targets", || {
        writes();
        [plain, over_tls].iter().all(|id| live.server.info(*id).unwrap().state == State::InProgress)
    });
    web.write_all(b"GET /live/show.flv HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let body = std::cell::RefCell::new(Vec::new());
    wait_for_while(&mut web, &[0x17, 1, 0, 0, 0], || drop(writes()));
    until("a message that all have", || {
        *body.borrow_mut() = writes();
        let body = body.borrow();
        let at_far = far.turn(Duration::from_millis(10)).is_ok() && far.messages.iter().any(|got| got.1 == *body);
        at_far && ingest.visits().iter().any(|visit| visit.media.iter().any(|got| got.body == *body))
    });
    let (mut scratch, mut heard) = (vec![0; 65_536], false);
    until("the player over TLS", || {
        let body = writes();
        let _ = player.pump(&mut scratch, 0, 1 << 20, false, |event, message| {
            heard |= matches!(event, Said::Message(_)) && message[5..] == body[5..message.len()];
            ControlFlow::Continue(())
        });
        heard
    });
    for session in live.server.list(stream, ids::SESSION).unwrap() {
        let info = live.server.info(session).unwrap();
        assert!(info.tls == (info.role == Role::Publisher) || info.role == Role::Player, "{info:?}");
    }
    drop(publisher);
    until("the end of the publisher", || live.server.info(stream).unwrap().state == State::Idle);
    until("the end of the far stream", || {
        other.events_of(EventKind::Stream).iter().any(|event| event.state == State::Idle && event.prev != State::None)
    });
}

#[test]
fn a_source_over_tls_feeds_the_process_of_its_stream() {
    let origin = Live::new(isolated());
    let papers = Papers::new("isolate-source");
    origin.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let tls = ListenOptions { tls: true, ..ListenOptions::default() };
    let port = origin.server.listen("127.0.0.1:0", tls).unwrap();
    let mut publisher = origin.publish("far");
    let far = stream(&origin.server, "far").unwrap();

    let live = Live::new(isolated());
    let id = live.server.stream_create(b"live", b"near", None).unwrap();
    let url = format!("rtmps://127.0.0.1:{port}/live/far");
    let config = TargetConfig { url, insecure: true, retry_min_ms: 50, retry_max_ms: 100, ..TargetConfig::default() };
    let source = live.server.source_add(id, config).unwrap();
    let mut player = live.play("near");
    until("media flows", || {
        sends(&mut publisher, 1, 1);
        player.turn(Duration::from_millis(10)).unwrap();
        !player.messages.is_empty()
    });
    let sent = sends(&mut publisher, 1_000, 100);
    // Behind some of those from before.
    until("the first of them", || player.message().1 == sent[0]);
    assert_eq!(gets(&mut player, 99), sent[1..]);
    assert_eq!(live.server.info(source).unwrap().state, State::InProgress);

    // It comes back after a crash of its process, over another connection.
    kill(worker_of(&player));
    player.closed();
    let mut again = None;
    until("the next player is let in", || {
        again = Client::configured(live.port, "near", false, &SessionConfig::default()).ok();
        again.is_some()
    });
    let mut again = again.unwrap();
    until("media flows again", || {
        sends(&mut publisher, 2_000, 1);
        again.turn(Duration::from_millis(10)).unwrap();
        !again.messages.is_empty()
    });
    live.server.target_stop(source, 0).unwrap();
    until("the origin has no player", || origin.server.list(far, ids::SESSION).unwrap().len() == 1);
}

#[test]
fn a_session_that_is_closed_on_its_way_back_ends_once_and_for_all() {
    let worker = WorkerConfig { hung_ms: None, ..isolated().worker };
    let live = Live::new(ServerConfig { worker, ..isolated() });
    let mut publisher = live.publish("show");
    let first = sends(&mut publisher, 1, 1);
    for round in 0..20 {
        let mut player = live.play("show");
        assert_eq!(gets(&mut player, 1), first);
        let is_its = |id: &Id| live.server.info(*id).is_ok_and(|info| info.addr == player.addr());
        let session = live.server.list(0, ids::SESSION).unwrap().into_iter().find(is_its).unwrap();
        let values = [Value::Null, Value::Number(1.0)];
        let over = command(0, "deleteStream", 9.0, &values);
        // In every other round the process finds both at the same time; otherwise either may be the first.
        let stopped = (round % 2 == 0).then(|| worker_of(&player));
        let to_it = |name| stopped.into_iter().for_each(|pid| signal(pid, name));
        to_it("-STOP");
        player.socket.write_all(&over).unwrap();
        live.server.session_close(session, "enough", 0).unwrap();
        to_it("-CONT");
        player.closed();
        assert_eq!(live.end_of(&player.addr()).error, Some(RRError::Kicked));
        assert_eq!(live.server.info(session).unwrap_err().kind, RRError::NotFound);
    }
    let mut player = live.play("show");
    assert_eq!(gets(&mut player, 1), first);
    let sent = sends(&mut publisher, 2, 20);
    assert_eq!(gets(&mut player, 20), sent);
    until("only they are left", || live.sessions() == 2);
    assert_eq!(live.lines_with("its worker"), 0, "{:?}", live.lines.lock().unwrap());
    let ends = live.events_of(EventKind::Session).into_iter().filter(|event| event.flags & flag::LAST != 0);
    assert_eq!(ends.count(), 20, "each ends once");
}

/// Reads until these bytes have come, and does something meanwhile.
fn wait_for_while(peer: &mut TcpStream, wanted: &[u8], mut meanwhile: impl FnMut()) {
    peer.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (mut all, mut some) = (Vec::new(), [0; 65_536]);
    until("those bytes", || {
        meanwhile();
        let n = peer.read(&mut some).unwrap_or(0);
        all.extend_from_slice(&some[..n]);
        all.windows(wanted.len()).any(|part| part == wanted)
    });
}

/// A player on a connection of its own making.
struct Plays {
    socket: TcpStream,
    reader: ChunkReader,
    /// Message stream and body of each picture.
    pictures: Vec<(u32, Vec<u8>)>,
    /// Everything else that has come.
    words: Vec<u8>,
}

impl Plays {
    fn new(port: u16) -> Self {
        let limits = ReadLimits { max_message: 1 << 20, max_open_bytes: 1 << 20, max_chunk_streams: 8 };
        let reader = ChunkReader::new(limits);
        let mut socket = shaken(port);
        socket.write_all(&connect()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self { socket, reader, pictures: Vec::new(), words: Vec::new() }
    }

    /// Plays this on a message stream of its own, of which this is the number.
    fn play(&mut self, stream_id: u32, key: &str) {
        let play = command(stream_id, "play", 3.0, &[Value::Null, Value::String(key.as_bytes())]);
        self.socket.write_all(&[command(0, "createStream", 2.0, &[Value::Null]), play].concat()).unwrap();
    }

    fn read(&mut self) {
        let mut input = vec![0; 65_536];
        let Ok(n) = self.socket.read(&mut input) else { return };
        assert!(n > 0, "the connection is closed");
        let mut at = 0;
        while let Some(head) = self.reader.next(&input[..n], &mut at).unwrap() {
            let body = self.reader.body(&input[..n]).to_vec();
            match head.type_id {
                kind::VIDEO => self.pictures.push((head.stream_id, body)),
                _ => self.words.extend(body),
            }
        }
    }

    fn reads(&mut self, words: &[u8]) {
        until("those words", || {
            self.read();
            self.words.windows(words.len()).any(|part| part == words)
        });
    }

    /// Reads until these pictures have come on this message stream, and drops those that came there before.
    fn gets(&mut self, stream_id: u32, wanted: &[Vec<u8>]) {
        until("those pictures", || {
            self.read();
            self.pictures.iter().any(|(id, body)| *id == stream_id && body == wanted.last().unwrap())
        });
        let all: Vec<_> = self.pictures.extract_if(.., |(id, _)| *id == stream_id).map(|(_, body)| body).collect();
        assert_eq!(all[all.len() - wanted.len()..], *wanted);
    }
}

#[test]
fn a_connection_plays_its_stream_twice_and_no_other_one_besides() {
    let (live, there) = (Live::new(isolated()), Live::new(isolated()));
    let (mut publisher, _other) = (live.publish("show"), live.publish("other"));
    let first = sends(&mut publisher, 1, 3);
    let mut player = Plays::new(live.port);
    player.play(1, "show");
    player.gets(1, &first[2..]);
    let process = worker_of(&publisher);
    player.play(2, "show?token=1");
    player.gets(2, &first[2..]);
    player.play(3, "other");
    player.reads(b"a connection plays one stream on this server");
    player.reads(b"NetStream.Play.Failed");
    let sent = sends(&mut publisher, 4, 20);
    [1, 2].into_iter().for_each(|id| player.gets(id, &sent));
    let id = stream(&live.server, "show").unwrap();
    assert_eq!(live.server.list(id, ids::SESSION).unwrap().len(), 2);

    // Both go on in another server, each in its place.
    there.server.stream_import(&moving::stream(&live.server, id)).unwrap();
    let sent = sends(&mut publisher, 24, 20);
    for session in live.server.list(id, ids::SESSION).unwrap() {
        let (fd, state) = moving::session(&live.server, session);
        there.server.session_import(fd, &state).unwrap();
    }
    [1, 2].into_iter().for_each(|id| player.gets(id, &sent));
    live.server.stream_stop(id, 0).unwrap();
    until("the end of the process", || !workers().contains(&process));
    // One ends, and the other goes on.
    player.socket.write_all(&command(0, "deleteStream", 9.0, &[Value::Null, Value::Number(1.0)])).unwrap();
    let (mut number, mut before) = (44, Vec::new());
    until("one has ended", || {
        number += 1;
        let now = sends(&mut publisher, number, 1);
        player.gets(2, &now);
        let before = std::mem::replace(&mut before, now);
        // It would have come before this one.
        before.len() == 1 && !player.pictures.iter().any(|(_, body)| *body == before[0])
    });
    player.pictures.clear();
    let sent = sends(&mut publisher, number + 1, 10);
    player.gets(2, &sent);
    assert!(player.pictures.is_empty());
    drop(player);
    until("the player has left", || there.sessions() == 1);
}

/// A server whose worker is this program, and what a publisher of "show" is told at its end.
fn ends_with(program: PathBuf) -> String {
    let worker = WorkerConfig { program: Some(program), hung_ms: None, ..WorkerConfig::default() };
    let live = Live::new(ServerConfig { worker, ..isolated() });
    let _publisher = Client::configured(live.port, "show", true, &SessionConfig::default());
    let mut text = None;
    until("the session has ended", || {
        let ended = |event: &Event| event.flags & flag::LAST != 0;
        let end = live.events_of(EventKind::Session).into_iter().find(ended);
        text = end.map(|event| String::from_utf8_lossy(&event.text).into_owned());
        text.is_some()
    });
    text.unwrap()
}

#[test]
fn peers_are_told_why_the_process_of_their_stream_cannot_run() {
    let told = ends_with("/no/such/worker".into());
    assert!(told.contains("/no/such/worker was not started: No such file"), "{told}");
    let told = ends_with(c::root().join("tests/support/closing_worker.sh"));
    assert!(told.contains("it has closed its channel and does not end"), "{told}");
}

/// The body of a picture of the host.
fn host_body(n: u32) -> Vec<u8> {
    [&[0x17, 1, 0, 0, 0][..], &n.to_be_bytes().repeat(100)].concat()
}

fn host_writes(live: &Live, stream: Id, n: u32) -> Result<(), Failure> {
    live.server.stream_write(stream, kind::VIDEO, i64::from(n) * 40, &host_body(n), false)
}

/// A stream for which the host has published pictures 1 to 50, and a player of it.
fn of_host() -> (Live, Id, Client) {
    let live = Live::new(isolated());
    let id = live.server.stream_create(b"live", b"show", None).unwrap();
    let player = live.play("show");
    (1..=50).for_each(|n| host_writes(&live, id, n).unwrap());
    (live, id, player)
}

#[test]
fn the_host_publishes_to_a_process_and_hears_of_its_end() {
    let (live, id, mut player) = of_host();
    let write = |n| host_writes(&live, id, n);
    assert_eq!(gets(&mut player, 50), (1..=50).map(host_body).collect::<Vec<_>>());
    kill(worker_of(&player));
    player.closed();
    let mut failure = None;
    until("the host hears of it", || {
        failure = write(51).err();
        failure.is_some()
    });
    assert_eq!(failure.unwrap().kind, RRError::Worker);
    let mut player = None;
    until("the next player is let in", || {
        player = Client::configured(live.port, "show", false, &SessionConfig::default()).ok();
        player.is_some()
    });
    let mut player = player.unwrap();
    write(52).unwrap();
    assert_eq!(gets(&mut player, 1), [host_body(52)]);
    live.server.stream_write(id, kind::VIDEO, 0, &[], true).unwrap();
    until("the end of the host's publish", || live.server.info(id).unwrap().state == State::Idle);
}

#[test]
fn what_the_host_publishes_while_its_stream_is_on_hold_is_refused_and_may_be_written_again() {
    let (live, id, mut player) = of_host();
    let write = |n| host_writes(&live, id, n);
    let hold = |ms| live.server.stream_export(id, 64 << 20, ms).unwrap();
    assert!(matches!(hold(60_000), StreamExport::State(_)));
    assert_eq!(write(51).unwrap_err().kind, RRError::Limit);
    // This hold takes the place of the other one.
    assert!(matches!(hold(1), StreamExport::State(_)));
    until("the hold is over", || write(51).is_ok());
    (52..=100).for_each(|n| write(n).unwrap());
    assert_eq!(gets(&mut player, 100), (1..=100).map(host_body).collect::<Vec<_>>());
}

#[test]
fn a_stream_that_is_stopped_at_once_ends_its_process_in_order() {
    let live = Live::new(isolated());
    let stalled = Ingest::new(|_| Script { then: Then::Stall, ..Script::default() });
    for turn in 0..2 {
        let mut publisher = live.publish("show");
        let id = stream(&live.server, "show").unwrap();
        let target = TargetConfig { url: stalled.url(), ..TargetConfig::default() };
        let target = live.server.target_add(id, target).unwrap();
        let mut n = turn * 1_000;
        until("media flows to the target", || {
            n += 1;
            sends(&mut publisher, n, 1);
            live.server.info(target).unwrap().state == State::InProgress
        });
        let worker = worker_of(&publisher);
        live.server.stream_stop(id, 0).unwrap();
        until("the end of the stream and its process", || {
            live.server.info(id).is_err() && live.server.info(target).is_err() && !workers().contains(&worker)
        });
    }
    assert_eq!(live.lines_with("its worker"), 0, "{:?}", live.lines.lock().unwrap());
}
