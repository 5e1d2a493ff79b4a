//! The memory limit: it holds, and streams and peers lose memory in the right order.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/c.rs"]
mod c;
#[path = "support/isolated.rs"]
mod isolated;
#[path = "support/live.rs"]
mod live;
#[path = "support/process.rs"]
mod process;
#[path = "support/secure.rs"]
mod secure;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use live::{Client, Live, command, connect, shaken, until};
use rrelay::config::{ServerConfig, StreamConfig, TargetConfig};
use rrelay::error::RRError;
use rrelay::proto::amf0::Value;
use rrelay::server::{ListenOptions, kind};
use rrelay::session::State;

const LIMIT: u64 = 2 << 20;

fn live(stream: StreamConfig) -> Live {
    Live::new(ServerConfig { mem_limit_bytes: Some(LIMIT), stream: Arc::new(stream), ..ServerConfig::default() })
}

/// Frame by frame from publisher to player; the memory stays within the limit all the time.
fn pass_frames(live: &Live, publisher: &mut Client, player: &mut Client, frames: u32, bytes: usize) {
    for frame in 0..frames {
        let mut body = vec![0x27, 1, 0, 0, 0];
        body.extend(frame.to_be_bytes());
        body.resize(bytes, 7);
        publisher.send(9, frame * 40, &body).unwrap();
        assert_eq!(player.message().1[5..9], frame.to_be_bytes(), "a message was lost");
        let used = live.server.stats(0).unwrap().queue_bytes;
        assert!(used <= LIMIT, "{used} bytes after frame {frame}");
    }
}

#[test]
fn kept_groups_go_first() {
    let live = live(StreamConfig::default());
    let mut publisher = live.publish("show");
    let mut player = live.play("show");
    publisher.key_frame(0, b"key").unwrap();
    player.message();
    // Three times the limit since the key frame, within the group's own bound.
    pass_frames(&live, &mut publisher, &mut player, 100, 60_000);
    let stream = live.server.stream_find(b"live", b"show").unwrap();
    // The last message can be played a moment before it is counted.
    until("all are counted", || live.server.stats(stream).unwrap().msgs_in == 101);
    assert_eq!(live.server.stats(stream).unwrap().dropped_msgs, 0, "nobody had to jump");
}

#[test]
fn then_the_consumers_that_are_furthest_behind_jump() {
    let patient = StreamConfig { queue_bytes: 1 << 30, queue_ms: 600_000, ..StreamConfig::default() };
    let live = live(patient);
    let mut publisher = live.publish("show");
    let mut player = live.play("show");
    let stalled = live.play("show");
    publisher.key_frame(0, b"key").unwrap();
    player.message();
    pass_frames(&live, &mut publisher, &mut player, 200, 60_000);
    // Figures of consumers are brought up to date a few times a second.
    until("the figures of the jumps", || {
        let stream = live.server.stats(live.server.stream_find(b"live", b"show").unwrap()).unwrap();
        stream.dropped_msgs > 10 && stream.dropped_runs > 0
    });
    live.line_with(&["memory is short", "jumped"]);
    let dropped_of = |who: &str| {
        let mut sessions = live.server.list(0, kind::SESSION).unwrap().into_iter();
        let id = sessions.find(|&id| live.server.info(id).unwrap().addr == who).unwrap();
        live.server.stats(id).unwrap().dropped_msgs
    };
    until("the one who stalls has jumped", || dropped_of(&stalled.addr()) > 0);
    assert_eq!(dropped_of(&player.addr()), 0, "and nobody else");
}

#[test]
fn then_the_largest_stream_loses_its_publisher() {
    let live = live(StreamConfig::default());
    let mut publisher = live.publish("small");
    let mut player = live.play("small");
    publisher.key_frame(0, b"key").unwrap();
    player.message();
    // Half a message can neither be dropped nor completed.
    let mut large = live.publish("large");
    let half = large.wire(9, 0, &vec![7; 6 << 20])[..4 << 20].to_vec();
    let mut pipe = large.socket.try_clone().unwrap();
    let writer = std::thread::spawn(move || drop(pipe.write_all(&half)));
    until("it is closed", || large.turn(Duration::from_millis(5)).is_err());
    writer.join().unwrap();
    let end = live.end_of(&large.addr());
    assert_eq!(end.error, Some(RRError::Limit));
    live.line_with(&["memory limit", "uses the most"]);
    pass_frames(&live, &mut publisher, &mut player, 50, 10_000);
    until("its memory is free", || live.server.stats(0).unwrap().queue_bytes < LIMIT / 2);
    let mut again = live.publish("large");
    again.key_frame(0, b"key").unwrap();
}

/// Many publishers come at once and need several times the limit. The older stream goes on undisturbed, and none of
/// them gets the memory that this stream needs.
#[test]
fn a_stream_that_lives_goes_on_while_newcomers_find_no_room() {
    const ROOM: u64 = 8 << 20;
    const NEWCOMERS: usize = 150;
    let live = Live::new(ServerConfig { mem_limit_bytes: Some(ROOM), ..ServerConfig::default() });
    let mut publisher = live.publish("show");
    let mut player = live.play("show");
    publisher.key_frame(0, b"key").unwrap();
    player.message();
    let mut frame = 0_u32;
    let mut pass = |pause_ms: u64| {
        frame += 1;
        let body = [&[0x27, 1, 0, 0, 0][..], &frame.to_be_bytes(), &[7; 20_000]].concat();
        publisher.send(9, frame * 40, &body).unwrap();
        assert_eq!(player.message().1[5..9], frame.to_be_bytes(), "a message was lost");
        let used = live.server.stats(0).unwrap().queue_bytes;
        assert!(used <= ROOM, "{used} bytes after frame {frame}");
        std::thread::sleep(Duration::from_millis(pause_ms));
        used
    };
    // The stream has a floor after three seconds, which are checked once a second.
    let lives = Instant::now() + Duration::from_millis(4_500);
    while Instant::now() < lives {
        pass(40);
    }
    let mut newcomers = Vec::new();
    for number in 0..NEWCOMERS {
        let mut socket = shaken(live.port);
        let name = format!("new{number}");
        let publish = [Value::Null, Value::String(name.as_bytes()), Value::String(b"live")];
        socket.write_all(&connect()).unwrap();
        socket.write_all(&command(0, "createStream", 2.0, &[Value::Null])).unwrap();
        socket.write_all(&command(1, "publish", 3.0, &publish)).unwrap();
        let header = [&[0x17, 0, 0, 0, 0][..], &[1; 80_000]].concat();
        // A new peer that has been refused takes nothing.
        let _ = socket.write_all(&live::message(9, 1, 6, &header));
        newcomers.push(socket);
        pass(0);
    }
    until("memory is short", || pass(5) > ROOM / 4 * 3);
    until("newcomers are refused", || {
        pass(5);
        live.lines_with("the memory limit of the server is reached") > 10
    });
    // Several segments more.
    for _ in 0..100 {
        pass(0);
    }
    drop(newcomers);
    until("their memory is free", || pass(5) < ROOM / 2);
}

#[test]
fn memory_of_tls_counts_and_is_given_back() {
    const PEERS: u64 = 20;
    let live = live(StreamConfig::default());
    let papers = secure::Papers::new("memory");
    live.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let port = live.server.listen("127.0.0.1:0", ListenOptions { tls: true, ..ListenOptions::default() }).unwrap();
    let used = || live.server.stats(0).unwrap().queue_bytes;
    let mut publisher = live.publish("show");
    publisher.key_frame(0, b"key").unwrap();
    until("its stream has it", || live.server.stats(0).unwrap().msgs_in == 1);
    // What it held while it was let in is given back a moment after it was told that it publishes, on a busy machine
    // perhaps only after this look.
    let (mut before, mut looks) = (used(), 0);
    until("what the publisher holds is settled", || {
        let now = used();
        looks = if now == before { looks + 1 } else { 0 };
        before = now;
        looks == 100
    });
    // Silent peers without a stream hold memory of TLS too.
    let mut silent: Vec<_> = (0..PEERS).map(|_| live::raw(port)).collect();
    until("those who are silent count", || used() >= before + PEERS * 8_000);
    // So do the bytes of an unfinished record of 16 KiB: the limit is for both.
    let half = [&[0x16, 3, 1, 0x3f, 0xf0, 1, 0, 0x3f, 0xec][..], &[0; 12_000]].concat();
    silent.iter_mut().for_each(|socket| socket.write_all(&half).unwrap());
    until("half a record counts", || used() >= before + PEERS * 16_000);
    drop(silent);
    until("they have given it back", || used() <= before);
    let config = secure::trusting();
    let players: Vec<_> = (0..PEERS).map(|_| secure::connect(&config, port, "show", false)).collect();
    until("players count", || used() >= before + PEERS * 8_000);
    drop(players);
    until("players have given it back", || used() <= before);
}

#[test]
fn peers_that_are_refused_for_memory_cost_no_publisher() {
    const GUESTS: usize = 400;
    let live = live(StreamConfig::default());
    let papers = secure::Papers::new("guests");
    live.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let port = live.server.listen("127.0.0.1:0", ListenOptions { tls: true, ..ListenOptions::default() }).unwrap();
    let mut publisher = live.publish("show");
    let mut player = live.play("show");
    publisher.key_frame(0, b"key").unwrap();
    player.message();
    // Each holds some 20 KiB while it waits in the middle of a record: all together four times the limit.
    let half = [&[0x16, 3, 1, 0x3f, 0xf0, 1, 0, 0x3f, 0xec][..], &[0; 12_000]].concat();
    let mut silent = Vec::new();
    while silent.len() < GUESTS {
        for _ in 0..8 {
            let mut socket = live::raw(port);
            // A peer that is closed already takes nothing.
            let _ = socket.write_all(&half);
            silent.push(socket);
        }
        pass_frames(&live, &mut publisher, &mut player, 4, 20_000);
        // The control thread frees memory meanwhile.
        std::thread::sleep(Duration::from_millis(15));
    }
    live.line_with(&["was closed", "memory limit"]);
    assert_eq!(live.lines_with("uses the most"), 0, "a publisher gave way for them");
    // The memory left to others is enough for a new player and its cached group.
    until("memory that they have not taken", || live.server.stats(0).unwrap().queue_bytes < LIMIT / 8 * 7);
    publisher.key_frame(100_000, b"key").unwrap();
    live.play("show").message();
}

#[test]
fn large_headers_sent_to_many_who_do_not_read_stay_within_the_limit() {
    const LARGE: usize = 400_000;
    let live = live(StreamConfig::default());
    let mut publisher = live.publish("show");
    let metadata = [&b"\x02\x00\x0aonMetaData\x08\0\0\0\x01\0\x01a\x0c"[..], &(LARGE as u32).to_be_bytes()].concat();
    let metadata = [metadata, vec![b'x'; LARGE], b"\0\0\x09".to_vec()].concat();
    publisher.send(18, 0, &metadata).unwrap();
    publisher.key_frame(0, b"key").unwrap();
    let server = live.server.stream_find(b"live", b"show").unwrap();
    until("it is in the log", || live.server.stats(server).unwrap().msgs_in == 2);
    // Their sockets take a part of it each; the rest would be several times the limit.
    let stalled: Vec<_> = (0..40).map(|_| stalled(live.port)).collect();
    until("somebody found no room", || {
        // The players begin at a key frame.
        let _ = publisher.key_frame(40, b"key");
        let used = live.server.stats(0).unwrap().queue_bytes;
        assert!(used <= LIMIT, "{used} bytes");
        live.lines_with("the memory limit of the server is reached") > 0
    });
    // Players that hold memory and read nothing are closed when memory is needed.
    until("half of it is free", || live.server.stats(0).unwrap().queue_bytes <= LIMIT / 2);
    // Another stream has what it needs, and no publisher is closed for the sake of players that do not read.
    let mut honest = live.publish("other");
    let mut player = live.play("other");
    honest.key_frame(0, b"key").unwrap();
    player.message();
    pass_frames(&live, &mut honest, &mut player, 100, 60_000);
    assert_eq!(live.lines_with("uses the most"), 0);
    drop(stalled);
}

#[test]
fn the_rest_of_large_messages_for_many_who_do_not_read_stays_within_the_limit() {
    const ROOM: u64 = 24 << 20;
    const PLAYERS: usize = 24;
    let live = Live::new(ServerConfig { mem_limit_bytes: Some(ROOM), ..ServerConfig::default() });
    let mut publisher = live.publish("show");
    publisher.key_frame(0, b"key").unwrap();
    let server = live.server.stream_find(b"live", b"show").unwrap();
    let stalled: Vec<_> = (0..PLAYERS).map(|_| stalled(live.port)).collect();
    until("all play", || live.server.stats(server).unwrap().sessions as usize == 1 + PLAYERS);
    // Each player is in the middle of a frame when it has to jump. The rests of all would be several times the limit.
    let mut ts_ms = 0;
    until("all have jumped", || {
        ts_ms += 40;
        publisher.key_frame(ts_ms, &[7; 5 << 20]).unwrap();
        let used = live.server.stats(0).unwrap().queue_bytes;
        assert!(used <= ROOM, "{used} bytes at {ts_ms} ms");
        live.server.stats(server).unwrap().dropped_runs as usize >= PLAYERS
    });
    // A message that has begun goes out whole, whatever the log gets meanwhile.
    drop(stalled);
    let mut player = live.play("show");
    // While those who are gone still hold their rests the player may have to jump, too, to a later key frame.
    until("a frame", || {
        ts_ms += 40;
        publisher.key_frame(ts_ms, b"small").unwrap();
        player.turn(Duration::from_millis(10)).unwrap();
        player.has_message(|(_, body)| body.ends_with(b"small"))
    });
    assert_eq!(live.lines_with("uses the most"), 0, "nobody's publisher gives way for those who do not read");
}

/// A server that takes connections, sends so much of a message after the handshake, and then nothing more.
fn slow_server(bytes: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // The thread ends with the program.
    std::thread::spawn(move || {
        let mut sockets = Vec::new();
        for mut socket in listener.incoming().map_while(Result::ok) {
            let (mut hello, mut rest) = ([0; 1537], [0; 1536]);
            let half = live::message(20, 0, 3, &vec![7; 250_000])[..bytes].to_vec();
            // The other side may have gone.
            let _ = socket
                .read_exact(&mut hello)
                .and_then(|()| socket.write_all(&[&[3][..], &[0; 1536], &hello[1..]].concat()))
                .and_then(|()| socket.read_exact(&mut rest))
                .and_then(|()| socket.write_all(&half));
            sockets.push(socket);
        }
    });
    port
}

#[test]
fn targets_and_sources_that_connect_stay_within_the_limit_and_try_again() {
    const EACH: usize = 20;
    let live = live(StreamConfig::default());
    let mut publisher = live.publish("show");
    let mut player = live.play("show");
    publisher.key_frame(0, b"key").unwrap();
    player.message();
    let stream = live.server.stream_find(b"live", b"show").unwrap();
    let port = slow_server(150_000);
    let url = |number: usize| TargetConfig {
        url: format!("rtmp://127.0.0.1:{port}/live/{number}"),
        retry_min_ms: 100,
        retry_max_ms: 200,
        ..TargetConfig::default()
    };
    // All together they would hold three times the limit.
    let mut ids = Vec::new();
    for number in 0..EACH {
        ids.push(live.server.target_add(stream, url(number)).unwrap());
        let pulled = live.server.stream_create(b"live", format!("pulled{number}").as_bytes(), None).unwrap();
        ids.push(live.server.source_add(pulled, url(EACH + number)).unwrap());
    }
    let refused = |id: &&u64| live.server.info(**id).unwrap().error == Some(RRError::Limit);
    let tried_again = |id: &u64| live.server.stats(*id).unwrap().failures > 1;
    let mut frame = 0;
    until("many have found no room, and tried again", || {
        frame += 1;
        pass_frames(&live, &mut publisher, &mut player, 1, 1_000 + frame);
        let used = live.server.stats(0).unwrap().queue_bytes;
        assert!(used <= LIMIT, "{used} bytes");
        ids.iter().filter(refused).filter(|id| tried_again(id)).count() > EACH
    });
    for id in &ids {
        assert_ne!(live.server.info(*id).unwrap().state, State::Failed, "it passes by itself");
    }
    assert_eq!(live.lines_with("uses the most"), 0, "no publisher gives way for them");
}

#[test]
fn what_the_host_publishes_waits_for_a_process_within_the_limit() {
    let live = Live::new(ServerConfig { mem_limit_bytes: Some(LIMIT), ..isolated::isolated() });
    let id = live.server.stream_create(b"live", b"show", None).unwrap();
    let write = || live.server.stream_write(id, 9, 0, &[0x17; 100_000], false);
    write().unwrap();
    until("the process", || live.server.info(id).unwrap().state == State::InProgress && isolated::workers().len() == 1);
    let signal = |name: &str| {
        let worker = isolated::workers()[0].to_string();
        assert!(Command::new("kill").args([name, &worker]).status().unwrap().success());
    };
    // A process that takes nothing for a moment.
    signal("-STOP");
    // More than the limit can be on the way only where the process has it already, or its socket.
    let refused = (0..LIMIT / 50_000).find_map(|_| {
        let used = live.server.stats(0).unwrap().queue_bytes;
        assert!(used <= LIMIT, "{used} bytes");
        write().err()
    });
    signal("-CONT");
    assert_eq!(refused.map(|failure| failure.kind), Some(RRError::Limit));
    until("it has taken what waited", || write().is_ok());
}

/// The bundled server with a limit of 16 MiB, and the ports that it listens on, for RTMP and RTMPS.
struct Bundled {
    server: Child,
    ports: [u16; 2],
    _papers: secure::Papers,
}

const BUNDLED_KIB: u64 = 16 << 10;

impl Bundled {
    fn new(name: &str) -> Self {
        let papers = secure::Papers::new(name);
        let mut server = Command::new(c::build(name, &c::server_sources(), c::As::C99))
            .args(["--addr", "127.0.0.1", "--port", "0", "--log", "off", "--mem-limit", "16M"])
            .args(["--tls", "0", "--cert"])
            .arg(&papers.certificate)
            .arg("--key")
            .arg(&papers.key)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
        let ports = ["listens on port ", "rtmps://, on port "].map(|before| {
            let port = lines.find_map(|line| {
                let (_, rest) = line.split_once(before)?;
                rest.split_whitespace().next()?.parse().ok()
            });
            port.expect("it says its port")
        });
        // The thread ends with the program; the output is not needed, but it must be read.
        std::thread::spawn(move || lines.for_each(drop));
        Self { server, ports, _papers: papers }
    }
}

impl Drop for Bundled {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// What docs/limits.md and rrelay.h say of the growth of a process that runs only the server, in KiB.
fn documented_kib(streams: u64, connections: u64) -> u64 {
    BUNDLED_KIB + BUNDLED_KIB / 4 + (4 << 10) + streams * 256 + connections * 24
}

#[test]
fn resident_memory_stays_within_what_is_documented_of_the_limit() {
    const STREAMS: u64 = 20;
    const PLAYERS: u64 = 40;
    const NEWCOMERS: u64 = 100;
    let bundled = Bundled::new("resident");
    let port = bundled.ports[0];
    let before = process::most_rss_kib(bundled.server.id());
    let mut publisher = Client::new(port, "show", true);
    publisher.key_frame(0, b"key").unwrap();
    let stalled: Vec<_> = (0..PLAYERS).map(|_| stalled(port)).collect();
    // Those that find no room are closed.
    let mut others: Vec<_> = (1..STREAMS).map(|number| Client::new(port, &format!("show{number}"), true)).collect();
    let mut newcomers = Vec::new();
    for frame in 1..=20 {
        // Each player is in the middle of a frame when it has to jump.
        let went = publisher.key_frame(frame * 40, &[7; 3 << 20]).is_ok();
        others.retain_mut(|other| other.key_frame(frame * 40, &[7; 100_000]).is_ok());
        newcomers.extend((0..NEWCOMERS / 20).map(|_| shaken(port)));
        if !went {
            break; // it held too much
        }
    }
    let grown = process::most_rss_kib(bundled.server.id()) - before;
    let documented = documented_kib(STREAMS, STREAMS + PLAYERS + NEWCOMERS);
    assert!(grown > BUNDLED_KIB / 2, "the limit was never near: {grown} KiB more than {before}");
    assert!(grown <= documented, "{grown} KiB more than {before}, where {documented} are documented");
    drop((stalled, others, newcomers));
}

#[test]
fn resident_memory_stays_within_what_is_documented_also_with_many_peers_over_tls() {
    const PLAYERS: u64 = 200;
    const SILENT: u64 = 1_500;
    let bundled = Bundled::new("resident-tls");
    let [port, tls] = bundled.ports;
    let before = process::most_rss_kib(bundled.server.id());
    let mut publisher = Client::new(port, "show", true);
    publisher.key_frame(0, b"key").unwrap();
    let config = secure::trusting();
    // They read nothing from here on.
    let players: Vec<_> = (0..PLAYERS).map(|_| secure::connect(&config, tls, "show", false)).collect();
    // Half a record, which waits for its rest.
    let half = [&[0x16, 3, 1, 0x3f, 0xf0, 1, 0, 0x3f, 0xec][..], &[0; 12_000]].concat();
    let mut silent = Vec::new();
    for frame in 1..=20 {
        let went = publisher.key_frame(frame * 40, &[7; 1 << 20]).is_ok();
        for _ in 0..SILENT / 20 {
            let mut socket = live::raw(tls);
            // A peer that is closed already takes nothing.
            let _ = socket.write_all(&half);
            silent.push(socket);
        }
        if !went {
            break; // it held too much
        }
    }
    let grown = process::most_rss_kib(bundled.server.id()) - before;
    // A quarter of the limit has room for so many silent ones at once, of more than 12 KiB each.
    let silent_at_once = BUNDLED_KIB / 4 / 12;
    let documented = documented_kib(1, 1 + PLAYERS + silent_at_once);
    assert!(grown > BUNDLED_KIB / 2, "the limit was never near: {grown} KiB more than {before}");
    assert!(grown <= documented, "{grown} KiB more than {before}, where {documented} are documented");
    drop((players, silent));
}

#[test]
fn after_a_peak_the_system_has_its_memory_back() {
    const PEAK_BYTES: u64 = 200 << 20;
    let patient = StreamConfig { queue_bytes: 1 << 30, queue_ms: 600_000, ..StreamConfig::default() };
    let live = Live::new(ServerConfig { stream: Arc::new(patient), ..ServerConfig::default() });
    let mut publisher = live.publish("show");
    let before_kib = process::rss_kib();
    let used = || live.server.stats(0).unwrap().queue_bytes;
    let mut number = 0_u32;
    // Headers that change all the time lie between the segments of the log, small and large in turn.
    let mut turn = |publisher: &mut Client| {
        number += 1;
        let header = [&[0x17, 0, 0, 0, 0][..], &number.to_be_bytes(), &[1; 200_000]].concat();
        publisher.send(9, number, &header).unwrap();
        publisher.key_frame(number, &[7; 1_000]).unwrap();
    };
    turn(&mut publisher);
    let mut stalled_players = Vec::new();
    while used() < PEAK_BYTES {
        turn(&mut publisher);
        if stalled_players.len() < 40 {
            stalled_players.push(stalled(live.port));
        }
    }
    assert!(process::rss_kib() > before_kib + PEAK_BYTES / 1024 / 2);
    drop(stalled_players);
    until("the system has it", || {
        // The stream goes on.
        turn(&mut publisher);
        std::thread::sleep(Duration::from_millis(100));
        used() < PEAK_BYTES / 20 && process::rss_kib() < before_kib + PEAK_BYTES / 1024 / 4
    });
}

/// A player that asks and never reads, with a small socket.
fn stalled(port: u16) -> std::net::TcpStream {
    let mut socket = shaken(port);
    socket2::SockRef::from(&socket).set_recv_buffer_size(4096).unwrap();
    socket.write_all(&connect()).unwrap();
    socket.write_all(&command(0, "createStream", 2.0, &[Value::Null])).unwrap();
    socket.write_all(&command(1, "play", 3.0, &[Value::Null, Value::String(b"show")])).unwrap();
    socket
}
