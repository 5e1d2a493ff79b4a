//! Targets go on in another server: a connected one on its connection and at the same message, so that its server gets
//! each message once; one without a connection with what remains of its wait. So do sources.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/ingest.rs"]
mod ingest;
#[path = "support/live.rs"]
mod live;
#[path = "support/moving.rs"]
mod moving;
#[path = "support/reserved.rs"]
mod reserved;
#[path = "support/secure.rs"]
mod secure;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ingest::Ingest;
use live::{Client, Live, PATIENCE, is_closed, message, until};
use moving::picture;
use reserved::Reserved;
use rrelay::config::{PublisherPolicy, ServerConfig, StreamConfig, TargetConfig, media};
use rrelay::error::RRError;
use rrelay::proto::chunk_read::{ChunkReader, ReadLimits};
use rrelay::proto::chunk_write;
use rrelay::proto::message::{MessageHead, kind};
use rrelay::server::{Event, EventKind, Id, ListenOptions, TargetExport, flag};
use rrelay::session::{Event as Said, Inbound, ServerSession, SessionConfig, State};

/// More bytes than any state here has.
const ROOM: usize = 64 << 20;

/// A server to which a target publishes, and which reads only when the test calls for it.
struct Sink {
    socket: TcpStream,
    reader: ChunkReader,
    /// Bytes that the target was sent.
    said: u64,
    /// Every message since the beginning of the publish: type, time, body.
    got: Vec<(u8, u32, Vec<u8>)>,
}

impl Sink {
    /// Takes the next connection of this listener up to Publish.Start; `chunk_size` is the one that the target announces.
    fn accept(listener: &TcpListener, chunk_size: u32) -> Self {
        let mut socket = listener.accept().unwrap().0;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut session = ServerSession::new(&SessionConfig::default(), 0);
        let (mut input, mut said) = ([0; 4096], 0);
        'talk: loop {
            let n = socket.read(&mut input).unwrap();
            assert!(n > 0, "the target has gone");
            let mut at = 0;
            while let Some(event) = session.next(&input[..n], &mut at, 0).unwrap() {
                match event {
                    Said::Connect => session.accept_connect(0),
                    Said::Publish { stream_id, .. } => {
                        assert_eq!(at, n, "it waits for the answer");
                        session.accept_publish(stream_id, 0);
                        break 'talk;
                    }
                    _ => {}
                }
            }
            let out = session.take_output();
            said += out.len() as u64;
            socket.write_all(&out).unwrap();
        }
        let limits = ReadLimits { max_message: 1 << 20, max_open_bytes: 1 << 20, max_chunk_streams: 8 };
        let mut reader = ChunkReader::new(limits);
        let size = message(kind::SET_CHUNK_SIZE, 0, 2, &chunk_size.to_be_bytes());
        assert!(reader.next(&size, &mut 0).unwrap().is_some());
        let out = session.take_output();
        said += out.len() as u64;
        socket.write_all(&out).unwrap();
        Self { socket, reader, said, got: Vec::new() }
    }

    /// Reads at most so many bytes, and no more than there are.
    fn read(&mut self, most: usize) {
        self.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut input = vec![0; most];
        let n = match self.socket.read(&mut input) {
            Ok(n) => n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
            Err(error) => panic!("the target's connection is broken: {error}"),
        };
        assert!(n > 0, "the target has closed its connection");
        let mut at = 0;
        while let Some(head) = self.reader.next(&input[..n], &mut at).unwrap() {
            self.got.push((head.type_id, head.timestamp_ms, self.reader.body(&input[..n]).to_vec()));
        }
    }

    /// Reads until this has come.
    fn read_until(&mut self, body: &[u8]) {
        until("all has come", || {
            self.read(1 << 16);
            self.got.iter().any(|(_, _, got)| got == body)
        });
    }

    /// The numbers and times of the pictures that have come.
    fn pictures(&self) -> Vec<(u32, u32)> {
        let pictures = self.got.iter().filter(|(type_id, _, body)| *type_id == kind::VIDEO && body[1] == 1);
        pictures.map(|(_, ts_ms, body)| (u32::from_be_bytes(body[5..9].try_into().unwrap()), *ts_ms)).collect()
    }
}

/// The settings of a target that stays however far it is behind, and tries again after an hour.
fn patient(port: u16) -> TargetConfig {
    TargetConfig {
        url: format!("rtmp://127.0.0.1:{port}/live/secret"),
        queue_bytes: 64 << 20,
        queue_ms: 600_000,
        retry_min_ms: 3_600_000,
        retry_max_ms: 3_600_000,
        ..TargetConfig::default()
    }
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // What it reads slowly is to wait with the target, and not here.
    socket2::SockRef::from(&listener).set_recv_buffer_size(16 << 10).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A stream with all who are on it goes from one server to another. Returns the ids that its targets have there.
fn move_all(here: &Live, there: &Live, key: &str) -> Vec<Id> {
    let stream = here.server.stream_find(b"live", key.as_bytes()).unwrap();
    moving::all(&here.server, &there.server, stream).into_iter().map(|(target, _)| target).collect()
}

/// The event that ended this target's id, once it is there.
fn end_of(live: &Live, target: Id) -> Event {
    let mut end = None;
    until("it has ended", || {
        let mut events = live.events_of(EventKind::Target).into_iter();
        end = events.find(|event| event.target == target && event.flags & flag::LAST != 0);
        end.is_some()
    });
    end.unwrap()
}

fn is_in(live: &Live, target: Id, state: State) {
    until("it is in that state", || live.server.info(target).unwrap().state == state);
}

#[test]
fn the_servers_of_a_stream_that_moves_get_each_message_once() {
    let patience = StreamConfig { queue_bytes: 64 << 20, queue_ms: 600_000, ..StreamConfig::default() };
    let server = || {
        let stream = Arc::new(patience.clone());
        Live::new(ServerConfig { stream, send_ms: 600_000, ..ServerConfig::default() })
    };
    let servers = [server(), server()];
    let mut publisher = servers[0].publish("show");
    publisher.send(kind::VIDEO, 0, b"\x17\0\0\0\0avcC").unwrap();
    publisher.send(kind::VIDEO, 5_000, &picture(0, 50_000)).unwrap();
    let stream = servers[0].server.stream_find(b"live", b"show").unwrap();
    // One gets the log's own bytes, and one each message in another form.
    let plain = |port| patient(port);
    let other = |port| TargetConfig { chunk_size: 4096, from_zero: true, media: media::VIDEO, ..patient(port) };
    let mut sinks = [(plain as fn(u16) -> TargetConfig, 60_000), (other, 4096)].map(|(config, chunk_size)| {
        let (listener, port) = listener();
        servers[0].server.target_add(stream, config(port)).unwrap();
        let mut sink = Sink::accept(&listener, chunk_size);
        sink.read_until(&picture(0, 50_000));
        sink
    });
    let mut sent = 1;
    let mut targets = Vec::new();
    for turn in 0..6 {
        for _ in 0..40 {
            publisher.send(kind::VIDEO, 5_000 + sent * 10, &picture(sent, 50_000)).unwrap();
            sent += 1;
        }
        // Each is in the middle of a message, the more so the further it is behind.
        for _ in 0..20 {
            sinks.iter_mut().for_each(|sink| sink.read(30_000));
        }
        targets = move_all(&servers[turn % 2], &servers[(turn + 1) % 2], "show");
    }
    let last = picture(sent, 0);
    publisher.send(kind::VIDEO, 5_000 + sent * 10, &last).unwrap();
    for (sink, begin) in sinks.iter_mut().zip([5_000, 0]) {
        sink.read_until(&last);
        let all: Vec<_> = (0..=sent).map(|number| (number, begin + number * 10)).collect();
        assert!(sink.pictures() == all, "{:?}", sink.pictures());
    }
    for target in targets {
        let stats = servers[0].server.stats(target).unwrap();
        assert_eq!((stats.connects, stats.failures), (1, 0));
    }
}

#[test]
fn a_target_goes_on_elsewhere_from_each_byte_that_its_server_says() {
    let (here, there) = (Live::new(ServerConfig::default()), Live::new(ServerConfig::default()));
    let ping = |stamp: &[u8]| message(kind::USER_CONTROL, 0, 2, &[b"\0\x06", stamp].concat());
    let said = [ping(b"one."), message(kind::WINDOW_ACK, 0, 2, &9_000_u32.to_be_bytes()), ping(b"two.")].concat();
    for cut in (0..=said.len()).step_by(3) {
        let key = format!("show{cut}");
        let mut publisher = here.publish(&key);
        publisher.key_frame(0, b"before").unwrap();
        let stream = here.server.stream_find(b"live", key.as_bytes()).unwrap();
        let (listener, port) = listener();
        let target = here.server.target_add(stream, patient(port)).unwrap();
        let mut sink = Sink::accept(&listener, 60_000);
        sink.read_until(b"\x17\x01\0\0\0before");
        sink.socket.write_all(&said[..cut]).unwrap();
        until("all is read", || here.server.stats(target).unwrap().bytes_in == sink.said + cut as u64);
        move_all(&here, &there, &key);
        sink.socket.write_all(&said[cut..]).unwrap();
        publisher.key_frame(40, b"behind").unwrap();
        until("both are answered", || {
            sink.read(1 << 16);
            sink.got.iter().filter(|(_, _, body)| body.starts_with(b"\0\x07")).count() == 2
        });
        sink.read_until(b"\x17\x01\0\0\0behind");
        let bodies = |kind: u8| sink.got.iter().filter(move |got| got.0 == kind).map(|got| &got.2[..]);
        let answers: Vec<_> = bodies(kind::USER_CONTROL).filter(|body| body.starts_with(b"\0\x07")).collect();
        assert_eq!(answers, [b"\0\x07one.", b"\0\x07two."], "cut at {cut}");
        let pictures: Vec<_> = bodies(kind::VIDEO).collect();
        assert_eq!(pictures, [b"\x17\x01\0\0\0before", b"\x17\x01\0\0\0behind"], "cut at {cut}");
    }
}

#[test]
fn a_target_that_waits_goes_on_waiting_with_its_settings_and_its_history() {
    let (here, there) = (Live::new(ServerConfig::default()), Live::new(ServerConfig::default()));
    let _publishers = [&here, &there].map(|live| {
        let mut publisher = live.publish("show");
        publisher.key_frame(0, b"media").unwrap();
        publisher
    });
    let nobody = Reserved::new();
    let config = TargetConfig {
        username: Some("me".to_owned()),
        password: Some("hidden".to_owned()),
        tracks: u64::MAX,
        retry_jitter_pct: 0,
        ..patient(nobody.port)
    };
    let gives_up = TargetConfig { retry_count: Some(1), retry_min_ms: 1, retry_max_ms: 1, ..config.clone() };
    let stream = here.server.stream_find(b"live", b"show").unwrap();
    let waits = here.server.target_add(stream, config.clone()).unwrap();
    let fails = here.server.target_add(stream, gives_up.clone()).unwrap();
    is_in(&here, waits, State::Recovering);
    is_in(&here, fails, State::Failed);
    let left = |live: &Live, target: Id| live.server.info(target).unwrap().retry_in_ms;
    let mut before = 0;
    until("a part of the wait is over", || {
        before = left(&here, waits);
        (1..config.retry_min_ms - 500).contains(&before)
    });
    let mut ids = Vec::new();
    for (target, state, error, failures, config) in
        [(waits, State::Recovering, RRError::Connect, 1, config), (fails, State::Failed, RRError::GiveUp, 2, gives_up)]
    {
        let (fd, exported) = moving::target(&here.server, target);
        assert!(fd.is_none());
        let end = end_of(&here, target);
        assert_eq!(
            (end.state, end.error, &end.text[..]),
            (State::Stopped, None, &b"handed over to another process"[..])
        );
        assert_eq!(here.server.target_config(target).unwrap_err().kind, RRError::NotFound);
        let id = there.server.target_import(None, &exported).unwrap();
        let (info, stats) = (there.server.info(id).unwrap(), there.server.stats(id).unwrap());
        assert_eq!((info.state, info.error, stats.failures), (state, Some(error), failures));
        assert_eq!(there.server.target_config(id).unwrap(), config);
        ids.push(id);
    }
    let mut after = 0;
    until("it waits", || {
        after = left(&there, ids[0]);
        after > 0
    });
    assert!(after <= before, "{after} ms of the wait are left, where it had {before}");
    let ingest = Ingest::at(&nobody.address().to_string(), |_| ingest::Script::default());
    for id in ids {
        there.server.target_retry(id).unwrap();
        is_in(&there, id, State::InProgress);
    }
    assert_eq!(ingest.count(), 2);
}

#[test]
fn a_target_over_tls_connects_anew() {
    let papers = secure::Papers::new("handover_targets");
    let server = || Live::new(ServerConfig::default());
    let (here, there, away) = (server(), server(), server());
    away.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let port = away.server.listen("127.0.0.1:0", ListenOptions { tls: true, ..ListenOptions::default() }).unwrap();
    let mut publisher = here.publish("show");
    publisher.key_frame(0, b"before").unwrap();
    let stream = here.server.stream_find(b"live", b"show").unwrap();
    let url = format!("rtmps://127.0.0.1:{port}/live/away");
    let target =
        here.server.target_add(stream, TargetConfig { url, insecure: true, ..TargetConfig::default() }).unwrap();
    is_in(&here, target, State::InProgress);
    let mut player = away.play("away");
    assert_eq!(player.message().1[5..], *b"before");
    let target = move_all(&here, &there, "show")[0];
    is_in(&there, target, State::InProgress);
    let stats = there.server.stats(target).unwrap();
    assert_eq!((stats.connects, stats.failures), (2, 0));
    // The end of the first connection ended the stream on that server, and its players.
    let mut player = away.play("away");
    publisher.key_frame(40, b"behind").unwrap();
    until("it comes", || player.message().1[5..] == *b"behind");
}

/// A server from which a source pulls, and which sends only what the test writes.
struct Origin {
    socket: TcpStream,
    /// Bytes that the source was sent.
    said: u64,
}

impl Origin {
    /// Takes the next connection of this listener up to Play.Start.
    fn accept(listener: &TcpListener) -> Self {
        let mut socket = listener.accept().unwrap().0;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut session = ServerSession::new(&SessionConfig::default(), 0);
        let (mut input, mut said, mut plays) = ([0; 4096], 0, false);
        while !plays {
            let n = socket.read(&mut input).unwrap();
            assert!(n > 0, "the source has gone");
            let mut at = 0;
            while let Some(event) = session.next(&input[..n], &mut at, 0).unwrap() {
                match event {
                    Said::Connect => session.accept_connect(0),
                    Said::Play { stream_id, .. } => {
                        session.accept_play(stream_id, 0);
                        plays = true;
                    }
                    _ => {}
                }
            }
            let out = session.take_output();
            said += out.len() as u64;
            socket.write_all(&out).unwrap();
        }
        Self { socket, said }
    }
}

/// The sound and pictures that have come to a player, once there are so many.
fn received(player: &mut Client, count: usize) -> Vec<(u8, u32, Vec<u8>)> {
    let is_media = |head: &MessageHead| matches!(head.type_id, kind::AUDIO | kind::VIDEO);
    until("media comes", || {
        player.messages.iter().filter(|(head, _)| is_media(head)).count() >= count || {
            player.turn(Duration::from_millis(20)).unwrap();
            false
        }
    });
    let media = player.messages.iter().filter(|(head, _)| is_media(head));
    media.map(|(head, body)| (head.type_id, head.timestamp_ms, body.clone())).collect()
}

#[test]
fn a_source_goes_on_elsewhere_from_each_byte_of_its_media() {
    let (here, there) = (Live::new(ServerConfig::default()), Live::new(ServerConfig::default()));
    let all: [(u8, u32, &[u8]); 5] = [
        (kind::VIDEO, 1_000, b"\x17\0\0\0\0avcC"),
        (kind::VIDEO, 1_000, b"\x17\x01\0\0\0 a key frame"),
        (kind::AUDIO, 1_010, b"\xaf\x01 sound"),
        (kind::VIDEO, 1_040, b"\x27\x01\0\0\0 another, which is none"),
        (kind::AUDIO, 1_050, b"\xaf\x01 the end"),
    ];
    let mut media = Vec::new();
    for (type_id, timestamp_ms, body) in all {
        let len = body.len() as u32;
        let head = MessageHead { timestamp_ms, type_id, stream_id: 1, len, chunk_stream: type_id.into() };
        chunk_write::encode(&head, body, SessionConfig::default().chunk_size, &mut media);
    }
    let all = all.map(|(type_id, ts_ms, body)| (type_id, ts_ms, body.to_vec()));
    for cut in (0..=media.len()).step_by(7) {
        let key = format!("show{cut}");
        let (listener, port) = listener();
        let stream = here.server.stream_create(b"live", key.as_bytes(), None).unwrap();
        let url = format!("rtmp://127.0.0.1:{port}/live/far");
        let source = here.server.source_add(stream, TargetConfig { url, ..TargetConfig::default() }).unwrap();
        let mut origin = Origin::accept(&listener);
        let mut player = here.play(&key);
        origin.socket.write_all(&media[..cut]).unwrap();
        until("all is read", || here.server.stats(source).unwrap().bytes_in == origin.said + cut as u64);
        let source = move_all(&here, &there, &key)[0];
        origin.socket.write_all(&media[cut..]).unwrap();
        assert_eq!(received(&mut player, all.len()), all, "cut at {cut}");
        let stats = there.server.stats(source).unwrap();
        assert_eq!((stats.connects, stats.failures), (1, 0));
        until("all is counted", || there.server.stats(source).unwrap().bytes_in == origin.said + media.len() as u64);
        // Another publisher has the place where it comes from here to there again, after the stream.
        let (fd, state) = moving::target(&there.server, source);
        let _publisher = here.publish(&key);
        assert_eq!(here.server.target_import(fd, &state).unwrap_err().kind, RRError::Exists);
        assert!(is_closed(&mut origin.socket));
        here.events.lock().unwrap().clear();
    }
}

#[test]
fn a_source_that_stands_by_still_does_so_where_it_comes_before_the_publisher() {
    let server = || {
        let stream = StreamConfig { publisher_policy: PublisherPolicy::Standby, ..StreamConfig::default() };
        Live::new(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() })
    };
    let (here, there) = (server(), server());
    let mut publisher = here.publish("show");
    publisher.key_frame(0, b"first").unwrap();
    let mut player = here.play("show");
    player.message();
    let stream = here.server.stream_find(b"live", b"show").unwrap();
    let (listener, port) = listener();
    let url = format!("rtmp://127.0.0.1:{port}/live/far");
    let source = here.server.source_add(stream, TargetConfig { url, ..TargetConfig::default() }).unwrap();
    let _origin = Origin::accept(&listener);
    until("it stands by", || here.server.info(source).unwrap().state == State::Waiting);
    let source = move_all(&here, &there, "show")[0];
    publisher.key_frame(40, b"second").unwrap();
    assert_eq!(player.message().1[5..], *b"second");
    assert_eq!(there.server.info(source).unwrap().state, State::Waiting);
}

#[test]
fn a_source_on_demand_goes_on_resting_and_connects_when_somebody_plays() {
    let (here, there) = (Live::new(ServerConfig::default()), Live::new(ServerConfig::default()));
    let (listener, port) = listener();
    let stream = here.server.stream_create(b"live", b"show", None).unwrap();
    let url = format!("rtmp://127.0.0.1:{port}/live/far");
    let config = TargetConfig { url, on_demand: true, ..TargetConfig::default() };
    let source = here.server.source_add(stream, config.clone()).unwrap();
    let (fd, state) = moving::target(&here.server, source);
    assert!(fd.is_none());
    there.server.stream_create(b"live", b"show", None).unwrap();
    let source = there.server.target_import(None, &state).unwrap();
    assert_eq!(there.server.target_config(source).unwrap(), config);
    let _player = there.play("show");
    Origin::accept(&listener);
}

#[test]
fn what_cannot_go_on_is_refused_with_the_reason() {
    let (here, there) = (Live::new(ServerConfig::default()), Live::new(ServerConfig::default()));
    let mut publisher = here.publish("show");
    publisher.key_frame(0, b"media").unwrap();
    let stream = here.server.stream_find(b"live", b"show").unwrap();
    let (listener, port) = listener();
    let target = here.server.target_add(stream, patient(port)).unwrap();
    let mut sink = Sink::accept(&listener, 60_000);
    sink.read_until(b"\x17\x01\0\0\0media");
    let TargetExport::Needs(room) = here.server.target_export(target, 10).unwrap() else { panic!("it has no room") };
    let TargetExport::Gone { fd: Some(fd), state } = here.server.target_export(target, 2 * room).unwrap() else {
        panic!("it is connected")
    };
    let refused = |live: &Live, fd, state: &[u8]| live.server.target_import(fd, state).unwrap_err().kind;
    assert_eq!(refused(&here, None, &state), RRError::Arg, "its connection is missing");
    assert_eq!(refused(&there, Some(fd.try_clone().unwrap()), &state), RRError::NotFound, "its stream is not there");
    assert_eq!(refused(&here, None, &state[1..]), RRError::Arg);
    // Nothing has come of all this, and it goes on.
    let target = here.server.target_import(Some(fd), &state).unwrap();
    publisher.key_frame(40, b"more").unwrap();
    sink.read_until(b"\x17\x01\0\0\0more");
    // One that is being stopped still has to take what it has not got.
    for number in 1..200 {
        publisher.send(kind::VIDEO, 40 + number, &picture(number, 50_000)).unwrap();
    }
    here.server.target_stop(target, 600_000).unwrap();
    assert_eq!(here.server.target_export(target, ROOM).map(drop).unwrap_err().kind, RRError::State);

    let papers = secure::Papers::new("handover_targets_refused");
    let trust = Some(papers.certificate.to_str().unwrap().to_owned());
    let config = TargetConfig { url: "rtmps://127.0.0.1:1/live".to_owned(), ca_file: trust, ..patient(1) };
    let idle = here.server.stream_create(b"live", b"idle", None).unwrap();
    let target = here.server.target_add(idle, config).unwrap();
    let (fd, state) = moving::target(&here.server, target);
    drop(papers);
    assert!(fd.is_none());
    assert_eq!(refused(&here, None, &state), RRError::Cert);
}
