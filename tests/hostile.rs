//! Hostile peers. Each ends with its own session closed in bounded time and memory and one clear log line, while a
//! healthy publisher and player on the same server go on without losing a message.

#![allow(clippy::unwrap_used, reason = "what cannot be done has failed the test")]

#[path = "support/live.rs"]
mod live;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use live::{Live, command, connect, is_closed, message, raw, shaken, until};
use rrelay::config::{ServerConfig, StreamConfig};
use rrelay::error::RRError;
use rrelay::proto::amf0::Value;
use rrelay::proto::message::kind;
use rrelay::server::{Event, EventKind, flag};
use rrelay::session::State;

/// Time from accept to `connect` in these tests; also for the first media.
const DEADLINE_MS: u32 = 1_000;

/// Most growth of the server's media memory by a session of a hostile peer, whatever lengths it claims.
const MEMORY: u64 = 25 << 20;

fn config() -> ServerConfig {
    ServerConfig {
        handshake_ms: DEADLINE_MS,
        first_data_ms: DEADLINE_MS,
        idle_ms: 5_000,
        send_ms: 800,
        event_limit: 1 << 20,
        ..ServerConfig::default()
    }
}

/// Longest time of a message between healthy peers on a loaded machine.
const SOON: Duration = Duration::from_secs(10);

/// A publisher and a player that run during the whole test, with a message every 5 ms; each message is checked.
struct Healthy {
    over: Arc<AtomicBool>,
    passed: Arc<AtomicU32>,
    thread: Option<JoinHandle<u32>>,
}

impl Healthy {
    fn on(live: &Live) -> Self {
        let (mut publisher, mut player) = (live.publish("healthy"), live.play("healthy"));
        let (over, passed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (stop, count) = (Arc::clone(&over), Arc::clone(&passed));
        let body = move || {
            let mut number = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                let sent = Instant::now();
                publisher.key_frame(number * 5, &number.to_be_bytes()).expect("a healthy publisher was closed");
                let (head, body) = player.message();
                assert_eq!(
                    (head.timestamp_ms, &body[5..]),
                    (number * 5, &number.to_be_bytes()[..]),
                    "lost or mixed up"
                );
                assert!(sent.elapsed() < SOON, "a message took {:?}", sent.elapsed());
                number += 1;
                count.store(number, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
            number
        };
        Self { over, passed, thread: Some(std::thread::spawn(body)) }
    }

    /// Waits until a few more messages have passed.
    fn goes_on(&self) {
        let before = self.passed.load(Ordering::Relaxed);
        until("healthy peers go on", || {
            assert!(!self.thread.as_ref().unwrap().is_finished(), "the healthy ones have ended");
            self.passed.load(Ordering::Relaxed) > before + 3
        });
    }
}

impl Drop for Healthy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(std::thread::panicking() || ended.is_ok_and(|messages| messages > 3));
    }
}

fn addr(socket: &TcpStream) -> String {
    socket.local_addr().unwrap().to_string()
}

/// Waits until the socket is closed, its session has ended for this reason, and a line says so.
fn ends(live: &Live, socket: &mut TcpStream, error: RRError) {
    let name = addr(socket);
    assert!(is_closed(socket), "{name} is still connected");
    assert_eq!(live.end_of(&name).error, Some(error), "{:?}", live.end_of(&name));
    live.line_with(&[&name, if error == RRError::Closed { "ended" } else { "closed" }]);
}

/// A raw socket on which connect was answered.
fn connected(live: &Live) -> TcpStream {
    let mut socket = shaken(live.port);
    socket.write_all(&connect()).unwrap();
    let mut input = [0; 4096];
    assert!(socket.read(&mut input).unwrap() > 0);
    socket
}

/// A connection with a message stream, which has asked to publish.
fn publishing(live: &Live, key: &str) -> TcpStream {
    let mut socket = connected(live);
    socket.write_all(&command(0, "createStream", 2.0, &[Value::Null])).unwrap();
    let publish = [Value::Null, Value::String(key.as_bytes()), Value::String(b"live")];
    socket.write_all(&command(1, "publish", 3.0, &publish)).unwrap();
    let name = addr(&socket);
    live.line_with(&[&name, "publishes"]);
    socket
}

#[test]
fn a_silent_or_dripping_peer_is_closed_at_the_deadline() {
    let live = Live::new(config());
    let healthy = Healthy::on(&live);
    let mut silent = raw(live.port);
    let mut mute_after_handshake = shaken(live.port);
    let slow = raw(live.port);
    let mut drip = slow.try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        // With a byte every 20 ms, the handshake would take half a minute.
        while drip.write_all(&[3]).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut slow = slow;
    for socket in [&mut silent, &mut mute_after_handshake, &mut slow] {
        ends(&live, socket, RRError::Timeout);
    }
    dripping.join().unwrap();
    // Publishes and then sends nothing.
    let mut mute_publisher = publishing(&live, "mute");
    ends(&live, &mut mute_publisher, RRError::Idle);
    healthy.goes_on();
}

#[test]
fn sixteen_megabytes_claimed_on_thousands_of_chunk_streams_cost_nothing() {
    let live = Live::new(config());
    let healthy = Healthy::on(&live);
    for publishes in [false, true] {
        let mut socket = if publishes { publishing(&live, "claims") } else { connected(&live) };
        let mut wire = Vec::new();
        for chunk_stream in 64..5_064_u32 {
            let [low, high] = [(chunk_stream - 64) as u8, ((chunk_stream - 64) >> 8) as u8];
            wire.extend([1, low, high, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 1, 0, 0, 0]);
            wire.extend([0; 128]);
        }
        let before = live.server.stats(0).unwrap().queue_bytes;
        // The server may close before all is written.
        let _ = socket.write_all(&wire);
        ends(&live, &mut socket, RRError::Limit);
        let after = live.server.stats(0).unwrap().queue_bytes;
        assert!(after < before + MEMORY, "{before} -> {after}");
    }
    healthy.goes_on();
}

#[test]
fn a_flood_of_half_messages_is_bounded_in_memory() {
    // A long deadline, so that the memory limit ends the session even on a loaded machine.
    let live = Live::new(ServerConfig { first_data_ms: 60_000, ..config() });
    let healthy = Healthy::on(&live);
    let mut socket = publishing(&live, "halves");
    socket.write_all(&message(kind::SET_CHUNK_SIZE, 0, 2, &0x0080_0000_u32.to_be_bytes())).unwrap();
    // The first halves of messages of 16 MB, one after another.
    let mut most = 0;
    'all: for chunk_stream in [4_u8, 5, 6, 7] {
        let mut wire = vec![chunk_stream, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 1, 0, 0, 0];
        wire.resize(12 + 0x0080_0000, 7);
        for part in wire.chunks(1 << 20) {
            if socket.write_all(part).is_err() {
                break 'all;
            }
            most = most.max(live.server.stats(0).unwrap().queue_bytes);
        }
    }
    assert!(most > 8 << 20, "nothing was held: {most}");
    ends(&live, &mut socket, RRError::Limit);
    assert!(most < 2 * MEMORY, "{most}");
    until("it is given back", || live.server.stats(0).unwrap().queue_bytes < MEMORY);
    healthy.goes_on();
}

#[test]
fn amf_nested_deeply_and_sixteen_megabytes_of_nulls() {
    let live = Live::new(config());
    let healthy = Healthy::on(&live);
    let name = [&[2, 0, 7][..], b"connect", &[0, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0]].concat();
    let object = [3, 0, 1, b'a'].repeat(10_000);
    let array = [10, 0, 0, 0, 1].repeat(10_000);
    for nested in [object, array] {
        let mut socket = shaken(live.port);
        let _ = socket.write_all(&message(kind::COMMAND, 0, 3, &[&name[..], &nested].concat()));
        ends(&live, &mut socket, RRError::Limit);
    }
    let mut socket = shaken(live.port);
    // A command of 16 MB is refused for its length, before its first null has arrived.
    let mut wire = message(kind::SET_CHUNK_SIZE, 0, 2, &0x00FF_FFFF_u32.to_be_bytes());
    wire.extend([3, 0, 0, 0, 0xFF, 0xFF, 0xFF, 20, 0, 0, 0, 0]);
    wire.extend(&name);
    wire.resize(wire.len() + (1 << 20), 5);
    let _ = socket.write_all(&wire);
    ends(&live, &mut socket, RRError::Limit);
    // More values than the server accepts from a connected peer.
    let mut socket = connected(&live);
    let nulls = [&name[..], &vec![5; 200_000]].concat();
    let _ = socket.write_all(&message(kind::COMMAND, 0, 3, &nulls));
    assert!(is_closed(&mut socket));
    live.end_of(&addr(&socket));
    // A publisher may send the same as data, which is passed on without being parsed.
    let mut publisher = publishing(&live, "nulls");
    publisher.write_all(&message(kind::DATA, 1, 5, &[&[2, 0, 1, b'x'][..], &vec![5; 1 << 20]].concat())).unwrap();
    until("it is through", || live.server.stats(0).unwrap().data_bytes > 1 << 20);
    healthy.goes_on();
}

#[test]
fn commands_without_arguments_end_nothing_but_themselves() {
    let live = Live::new(config());
    let healthy = Healthy::on(&live);
    let names = [
        "connect",
        "createStream",
        "releaseStream",
        "FCPublish",
        "FCUnpublish",
        "publish",
        "play",
        "play2",
        "pause",
        "seek",
        "receiveAudio",
        "receiveVideo",
        "closeStream",
        "deleteStream",
        "getStreamLength",
        "_checkbw",
        "_result",
        "_error",
        "onStatus",
        "",
        "nonsense",
    ];
    for name in names {
        for before_connect in [true, false] {
            let mut socket = if before_connect { shaken(live.port) } else { connected(&live) };
            let mut body = vec![2, 0, name.len() as u8];
            body.extend(name.as_bytes());
            for (stream_id, cut) in [(0, 0), (1, 0), (1, body.len() - name.len() / 2)] {
                let part = if cut == 0 { &body[..] } else { &body[..cut] };
                let _ = socket.write_all(&message(kind::COMMAND, stream_id, 3, part));
            }
            drop(socket);
        }
    }
    // Each session ends at once, for its own cause: the peer has left, or its bytes could not be read.
    until("all are gone", || live.sessions() == 2);
    healthy.goes_on();
}

#[test]
fn a_chunk_size_of_zero_and_garbage_after_the_handshake() {
    let live = Live::new(config());
    let healthy = Healthy::on(&live);
    for size in [0_u32, 0x8000_0000] {
        let mut socket = shaken(live.port);
        socket.write_all(&message(kind::SET_CHUNK_SIZE, 0, 2, &size.to_be_bytes())).unwrap();
        ends(&live, &mut socket, RRError::Protocol);
    }
    let mut publisher = publishing(&live, "zero");
    publisher.write_all(&message(kind::SET_CHUNK_SIZE, 0, 2, &[0; 4])).unwrap();
    ends(&live, &mut publisher, RRError::Protocol);
    for seed in 1..40_u64 {
        let mut socket = shaken(live.port);
        let mut number = seed;
        let garbage = std::iter::repeat_with(|| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (number >> 33) as u8
        });
        let garbage: Vec<u8> = garbage.take(5_000).collect();
        let _ = socket.write_all(&garbage);
        let name = addr(&socket);
        assert!(is_closed(&mut socket), "garbage {seed}");
        live.end_of(&name);
    }
    healthy.goes_on();
}

#[test]
fn media_without_connect_publish_without_connect_and_publish_of_a_stream_of_none() {
    let live = Live::new(config());
    let healthy = Healthy::on(&live);
    let mut media = shaken(live.port);
    media.write_all(&message(kind::VIDEO, 1, 6, &[0x17, 1, 0, 0, 0])).unwrap();
    ends(&live, &mut media, RRError::Protocol);
    let mut publish = shaken(live.port);
    let values = [Value::Null, Value::String(b"show"), Value::String(b"live")];
    publish.write_all(&command(1, "publish", 2.0, &values)).unwrap();
    ends(&live, &mut publish, RRError::Protocol);
    healthy.goes_on();
}

#[test]
fn floods_of_create_stream_publish_and_play() {
    let live = Live::new(ServerConfig { handshake_ms: 5_000, ..config() });
    let healthy = Healthy::on(&live);
    let mut creates = connected(&live);
    let create = command(0, "createStream", 2.0, &[Value::Null]).repeat(2_000);
    let _ = creates.write_all(&create);
    ends(&live, &mut creates, RRError::Limit);
    // Publishes again and again: one publish runs, and the others are refused.
    let mut publishes = publishing(&live, "again");
    let values = [Value::Null, Value::String(b"again"), Value::String(b"live")];
    let flood = command(1, "publish", 2.0, &values).repeat(20_000);
    let _ = publishes.write_all(&flood);
    drop(publishes);
    // Publishes and unpublishes in turns, so that streams begin and end.
    let mut turns = connected(&live);
    let mut wire = Vec::new();
    for _ in 0..300 {
        wire.extend(command(0, "createStream", 2.0, &[Value::Null]));
        wire.extend(command(1, "publish", 3.0, &[Value::Null, Value::String(b"turns"), Value::String(b"live")]));
        wire.extend(message(kind::AUDIO, 1, 4, &[0xAF, 1, 0]));
        wire.extend(command(0, "deleteStream", 4.0, &[Value::Null, Value::Number(1.0)]));
    }
    let writer = std::thread::spawn(move || {
        let _ = turns.write_all(&wire);
        let _ = is_closed(&mut turns);
    });
    writer.join().unwrap();
    until("all are gone", || live.sessions() == 2);
    until("their streams too", || live.server.list(0, 2).unwrap().len() == 1);
    healthy.goes_on();
}

#[test]
fn a_connected_peer_that_does_not_answer_pings_is_closed() {
    let live = Live::new(ServerConfig { ping_ms: 200, ..config() });
    let healthy = Healthy::on(&live);
    let mut mute = connected(&live);
    // Media of a session that publishes nothing is ignored.
    let mut babbles = connected(&live);
    babbles.write_all(&message(kind::VIDEO, 1, 6, &[0x17, 1, 0, 0, 0])).unwrap();
    for socket in [&mut mute, &mut babbles] {
        let name = addr(socket);
        ends(&live, socket, RRError::Idle);
        live.line_with(&[&name, "does not answer pings"]);
    }
    healthy.goes_on();
}

#[test]
fn a_player_that_never_reads_is_dropped_from_and_closed() {
    let stream = StreamConfig { queue_bytes: 200_000, queue_ms: 500, slow_ms: 60_000, ..StreamConfig::default() };
    let live = Live::new(ServerConfig { stream: Arc::new(stream), ..config() });
    let healthy = Healthy::on(&live);
    let mut publisher = live.publish("show");
    let stalled = live.play("show");
    let name = stalled.addr();
    let payload = vec![7; 30_000];
    let mut frame = 0;
    until("it is closed", || {
        publisher.key_frame(frame * 10, &payload).unwrap();
        frame += 1;
        std::thread::sleep(Duration::from_millis(8));
        live.lines_with(&format!("{name} (playing live/***) was closed")) > 0
    });
    assert_eq!(live.end_of(&name).error, Some(RRError::Timeout));
    live.line_with(&["player", &name, "too slow"]);
    let memory = live.server.stats(0).unwrap().queue_bytes;
    assert!(memory < MEMORY, "{memory}");
    healthy.goes_on();
}

#[test]
fn a_player_that_floods_us_while_it_plays_is_read_and_forgotten() {
    const ROUNDS: u32 = 6;
    let live = Live::new(config());
    let healthy = Healthy::on(&live);
    let mut publisher = live.publish("show");
    let mut player = live.play("show");
    let name = player.addr();
    let chatter = [&[2, 0, 4][..], b"chat", &[5; 50_000]].concat();
    let kinds = [kind::DATA, kind::VIDEO, kind::AUDIO, kind::DATA_AMF3, 99];
    let wire: Vec<u8> = kinds.iter().flat_map(|&type_id| player.wire(type_id, 0, &chatter)).collect();
    player.socket.set_write_timeout(Some(live::PATIENCE)).unwrap();
    for round in 0..ROUNDS {
        // More bytes than the kernel buffers: they go out only as fast as the server reads.
        player.socket.write_all(&wire.repeat(20)).unwrap();
        publisher.key_frame(round * 10, &round.to_be_bytes()).unwrap();
        assert!(player.message().1.ends_with(&round.to_be_bytes()), "its own stream is whole");
        let memory = live.server.stats(0).unwrap().queue_bytes;
        assert!(memory < MEMORY, "{memory}");
    }
    let list = live.server.list(0, 3).unwrap();
    let id = list.into_iter().find(|&id| live.server.info(id).unwrap().addr == name).unwrap();
    until("all of it is read", || live.server.stats(id).unwrap().bytes_in > 20 * wire.len() as u64 * u64::from(ROUNDS));
    let stream = live.server.stats(live.server.stream_find(b"live", b"show").unwrap()).unwrap();
    assert_eq!(stream.msgs_in, u64::from(ROUNDS), "none of it is in the stream");
    healthy.goes_on();
}

/// A publisher's bytes in a whole short conversation, and the place of its `publish` among them.
fn conversation() -> (Vec<u8>, usize) {
    let mut wire = vec![3];
    wire.resize(1 + 2 * 1536, 0);
    wire.extend(connect());
    wire.extend(command(0, "releaseStream", 2.0, &[Value::Null, Value::String(b"cut")]));
    wire.extend(command(0, "createStream", 3.0, &[Value::Null]));
    wire.extend(command(1, "publish", 4.0, &[Value::Null, Value::String(b"cut"), Value::String(b"live")]));
    let publishes = wire.len();
    wire.extend(message(kind::VIDEO, 1, 6, &[0x17, 0, 0, 0, 0, 1, 2, 3]));
    wire.extend(message(kind::VIDEO, 1, 6, &[&[0x17, 1, 0, 0, 0][..], &[7; 300]].concat()));
    wire.extend(command(0, "deleteStream", 5.0, &[Value::Null, Value::Number(1.0)]));
    (wire, publishes)
}

/// Connections that are made before all of them must have ended: few enough for the system's queue. Behind a thousand a
/// loaded machine would let the next one wait for long.
const AT_A_TIME: usize = 64;

#[test]
fn a_peer_that_resets_at_every_byte_offset_leaves_nothing_behind() {
    let live = Live::new(config());
    let healthy = Healthy::on(&live);
    let (wire, publishes) = conversation();
    // Each connection is one session, which ends.
    let ended = || {
        let events = live.events.lock().unwrap();
        let is_end = |event: &&Event| event.kind == EventKind::Session && event.flags & flag::LAST != 0;
        events.iter().filter(is_end).count()
    };
    let mut made = 0;
    let mut reset_at = |end: usize, once_read: bool| {
        let mut socket = raw(live.port);
        socket.write_all(&wire[..end]).unwrap();
        if once_read && end >= publishes {
            hears(&mut socket, b"NetStream.Publish.Start");
        } else if once_read {
            std::thread::sleep(Duration::from_millis(3));
        }
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        drop(socket);
        made += 1;
        // The name must be free for the next publisher.
        if made % AT_A_TIME == 0 || (end >= publishes && !once_read) {
            until("those who came have ended", || ended() == made);
        }
    };
    // The bytes of the handshake are all alike, so only its ends and some places in it are tested.
    let inside = (3..3_073).step_by(307);
    for end in [0, 1, 2].into_iter().chain(inside).chain(3_073..=wire.len()) {
        // A reset discards unread bytes: so one reset comes before the server can have read them, and one when it
        // probably has.
        reset_at(end, false);
        reset_at(end, true);
    }
    until("all have ended", || ended() == made);
    let came = live.events_of(EventKind::Session).iter().filter(|event| event.state == State::InProgress).count();
    assert!(came > wire.len() - publishes, "{came} have come as far as publishing");
    assert!(live.events.lock().unwrap().iter().all(|event| event.addr != b"unix"), "each is known by its address");
    assert_eq!(live.sessions(), 2);
    until("their streams have ended too", || live.server.list(0, 2).unwrap().len() == 1);
    healthy.goes_on();
    let mut publisher = live.publish("cut");
    publisher.key_frame(0, b"free again").unwrap();
}

/// Reads until these bytes have come from the server.
fn hears(socket: &mut TcpStream, what: &[u8]) {
    let (mut heard, mut input) = (Vec::new(), [0; 4096]);
    while !heard.windows(what.len()).any(|window| window == what) {
        let n = socket.read(&mut input).unwrap();
        assert!(n > 0, "closed before it was said: {}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&input[..n]);
    }
}
