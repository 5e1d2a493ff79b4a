//! All messages that a publisher's kernel gave to ours before its end arrive, however it ends; and all that our kernel
//! has for a player when its session is closed after that end. And players get the messages of the next publisher.
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/raw.rs"]
mod raw;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use raw::{AUDIO, DATA, PATIENCE, Raw, VIDEO, last_player, picture, relay, until};
use rml_amf0::Amf0Value;
use rrelay::config::{ServerConfig, StreamConfig};
use rrelay::server::{ListenOptions, RRServer, kind};
use rrelay::session::State;
use socket2::{Domain, SockRef, Socket, Type};

/// The number of messages that came, once the publisher is gone.
fn arrived(server: &RRServer, stream: u64) -> u64 {
    until("the publisher's end", || server.list(stream, kind::SESSION).unwrap().is_empty().then_some(()));
    server.stats(stream).unwrap().msgs_in
}

/// Bytes that the other side's kernel has not taken yet, by `/proc/net/tcp`. `None` where a look at the table, which
/// changes meanwhile, has missed the connection.
fn unsent(publisher: &Raw) -> Option<u64> {
    // Another connection, which may be over, can have one of these ports, but not both.
    let port = |addr: SocketAddr| format!(":{:04X}", addr.port());
    let socket = &publisher.socket;
    let (here, there) = (port(socket.local_addr().unwrap()), port(socket.peer_addr().unwrap()));
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_ours = words[1].ends_with(&here) && words[2].ends_with(&there);
        is_ours.then(|| u64::from_str_radix(words[4].split_once(':').unwrap().0, 16).unwrap())
    })
}

/// Small messages, for which reading takes longer than sending.
fn messages(count: u32) -> Vec<u8> {
    let body = picture(false, 0, 9);
    let message = |number: u32| {
        let ts_ms = &number.to_be_bytes()[1..];
        [&[6], ts_ms, &[0, 0, 9, VIDEO, 1, 0, 0, 0], &body[..]].concat()
    };
    (0..count).flat_map(message).collect()
}

#[test]
fn a_publisher_that_never_reads_and_closes_at_once_loses_nothing() {
    let (server, port) = relay(StreamConfig::default(), ServerConfig::default());
    let stream = server.stream_create(b"live", b"show", None).unwrap();
    let mut publisher = Raw::publish(port, "show");
    publisher.socket.write_all(&messages(200_000)).unwrap();
    drop(publisher);
    assert_eq!(arrived(&server, stream), 200_000);
}

/// Gives a socket of a listener whose connections have large buffers, where the system allows that, and its port.
fn roomy_listener() -> (TcpListener, u16) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(4 << 20).unwrap();
    listener.set_send_buffer_size(4 << 20).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(1).unwrap();
    let listener = TcpListener::from(listener);
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn bytes_in_our_socket_are_read_before_a_publishers_reset_counts() {
    let (server, _) = relay(StreamConfig::default(), ServerConfig::default());
    let stream = server.stream_create(b"live", b"show", None).unwrap();
    // With a large buffer all that is sent lies there when the reset comes.
    let (listener, port) = roomy_listener();
    let publisher = thread::spawn(move || Raw::publish(port, "show"));
    server.accept_fd(listener.accept().unwrap().0.into(), None, ListenOptions::default()).unwrap();
    let mut publisher = publisher.join().unwrap();
    // The publisher wants an acknowledgement of every byte, so that a write to it fails between two reads.
    publisher.send(5, 0, &1_u32.to_be_bytes());
    publisher.socket.write_all(&messages(100_000)).unwrap();
    until("all of it in the server's socket", || (unsent(&publisher) == Some(0)).then_some(()));
    SockRef::from(&publisher.socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(publisher);
    assert_eq!(arrived(&server, stream), 100_000);
}

/// How long a peer that is closed has for what is on its way to it.
const GOODBYE: Duration = Duration::from_secs(2);

/// Ends a stream whose player does not read, so that more than its system takes waits in ours, and lets it read when
/// `end` has closed its session: everything arrives, though the player goes on sending.
fn all_arrives_when(end: impl Fn(&RRServer, u64, Raw)) {
    // More than the player's system takes, and not more than the relay leaves to ours beside that.
    const PICTURES: u32 = 180;
    let arrives = || {
        let (server, publishers) = relay(StreamConfig::default(), ServerConfig::default());
        let stream = server.stream_create(b"live", b"show", None).unwrap();
        let (listener, port) = roomy_listener();
        let player = thread::spawn(move || Raw::play(port, "show"));
        server.accept_fd(listener.accept().unwrap().0.into(), None, ListenOptions::default()).unwrap();
        let mut player = player.join().unwrap();
        let session = last_player(&server, stream, 1);
        let mut publisher = Raw::publish(publishers, "show");
        (0..PICTURES).for_each(|number| publisher.send(VIDEO, number, &picture(number == 0, number, 1000)));
        let sent = u64::from(PICTURES) * 1000;
        until("all in the server's system", || (server.stats(session).ok()?.bytes_out > sent).then_some(()));
        let begun = Instant::now();
        end(&server, session, publisher);
        let mut next = 0;
        while next < PICTURES
            && let Some(got) = player.media_within(PATIENCE)
        {
            assert_eq!(got.ts_ms, next, "one after another");
            next += 1;
            // To a closed socket these bytes would be a reason to forget what it still had to send.
            player.try_send(3, 0, &[0, 0, 0, 1]);
        }
        // On a busy machine the player itself may be too late.
        assert!(next == PICTURES || begun.elapsed() >= GOODBYE, "{next} of {PICTURES} pictures came");
        next == PICTURES
    };
    assert!((0..20).any(|_| arrives()), "the player was never in time");
}

#[test]
fn a_player_that_the_host_closes_after_the_streams_end_gets_all_that_was_sent() {
    all_arrives_when(|server, session, publisher| {
        drop(publisher);
        until("the end of its play", || (server.info(session).ok()?.state == State::Idle).then_some(()));
        server.session_close(session, "the stream has ended", 0).unwrap();
    });
}

#[test]
fn a_player_of_a_server_that_stops_in_order_gets_all_that_was_sent() {
    all_arrives_when(|server, session, publisher| {
        server.stop(None, 20_000).unwrap();
        drop(publisher);
        let plays = |server: &RRServer| server.info(session).is_ok_and(|info| info.state == State::InProgress);
        until("the end of its play", || (!plays(server)).then_some(()));
    });
}

#[test]
fn a_publisher_that_comes_back_with_other_codecs_brings_its_own_headers_to_all() {
    let config = StreamConfig { grace_ms: 10_000, ..StreamConfig::default() };
    let (server, port) = relay(config, ServerConfig::default());
    let metadata = |name: &[u8]| [&b"\x02\x00\x0aonMetaData\x03\x00\x01"[..], name, b"\x05\x00\x00\x09"].concat();
    let (one, two) = (metadata(b"1"), metadata(b"2"));
    let (mp3, aac_header, aac) = ([0x2F, 1, 2], [0xAF, 0, 0x12, 0x10], [0xAF, 1, 7]);
    let avc_header = [0x17, 0, 0, 0, 0, 1, 66, 0, 30];

    let mut first = Raw::publish(port, "show");
    let stream = server.stream_find(b"live", b"show").unwrap();
    let mut player = Raw::play(port, "show");
    last_player(&server, stream, 1);
    first.send(DATA, 0, &one);
    first.send(AUDIO, 50_000, &mp3);
    first.send(AUDIO, 50_026, &mp3);
    let got: Vec<_> = (0..3).map(|_| player.media()).map(|got| (got.type_id, got.body)).collect();
    assert_eq!(got, [(DATA, one), (AUDIO, mp3.to_vec()), (AUDIO, mp3.to_vec())]);
    drop(first);
    until("the grace window", || (server.info(stream).unwrap().state == State::Recovering).then_some(()));

    let mut second = Raw::publish(port, "show");
    let key = picture(true, 1, 100);
    let sent =
        [(DATA, &two[..]), (VIDEO, &avc_header), (AUDIO, &aac_header), (VIDEO, &key), (AUDIO, &aac), (AUDIO, &aac)];
    for ((type_id, body), ts_ms) in sent.iter().zip(0..) {
        second.send(*type_id, ts_ms, body);
    }
    let mut last_ms = 50_026;
    for (type_id, body) in sent {
        let got = player.media();
        assert_eq!((got.type_id, &got.body[..]), (type_id, body), "who stayed gets all of it");
        assert!(got.ts_ms >= last_ms, "time goes on: {} after {last_ms}", got.ts_ms);
        last_ms = got.ts_ms;
    }
    let mut late = Raw::play(port, "show");
    for (type_id, body) in sent {
        let got = late.media();
        assert_eq!((got.type_id, &got.body[..]), (type_id, body), "nothing of the first is left");
    }
}

#[test]
fn a_publisher_that_begins_the_moment_another_ends_never_takes_time_back_unannounced() {
    let (server, port) = relay(StreamConfig::default(), ServerConfig::default());
    let stream = server.stream_create(b"live", b"show", None).unwrap();
    let mut player = Raw::play(port, "show");
    last_player(&server, stream, 1);
    for turn in 0..50 {
        server.stream_write(stream, VIDEO, 90_000 - turn * 100, &picture(true, 1, 50), false).unwrap();
        server.stream_write(stream, VIDEO, 0, &[], true).unwrap();
    }
    // Either the player was told an end, after which nothing comes, or time went on.
    let (mut last_ms, mut next) = (0, Some(player.media()));
    while let Some(got) = next {
        assert!(got.ts_ms >= last_ms, "{} after {last_ms}", got.ts_ms);
        last_ms = got.ts_ms;
        next = player.media_within(Duration::from_millis(200));
    }
    assert!(last_ms >= 90_000);
}

/// The system's own bound, for a peer whose network has gone while something of ours is on its way to it.
#[test]
fn a_publisher_that_acknowledges_nothing_is_given_up_by_the_system_after_idle_ms_or_two_pings() {
    for (idle_ms, ping_ms, given_up_ms) in [(7_000, 30_000, 7_000), (600_000, 4_000, 8_000)] {
        is_given_up_after(ServerConfig { idle_ms, ping_ms, ..ServerConfig::default() }, given_up_ms);
    }
}

#[allow(unsafe_code, reason = "the server's sockets are known by their numbers only")]
fn is_given_up_after(config: ServerConfig, given_up_ms: u64) {
    let (_server, port) = relay(StreamConfig::default(), config);
    let publisher = Raw::publish(port, "show");
    let player = Raw::play(port, "show");
    let timeout_of = |peer: &Raw| {
        let peer = peer.socket.local_addr().unwrap();
        let numbers = fs::read_dir("/proc/self/fd").unwrap();
        numbers.flatten().find_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            // SAFETY: the descriptor is only queried; if it is closed meanwhile, the result is an error or another
            // socket's, which has another peer.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            let socket = SockRef::from(&fd);
            let theirs = socket.peer_addr().ok()?.as_socket()?;
            (theirs == peer).then(|| socket.tcp_user_timeout().unwrap())
        })
    };
    // The bound is set when the stream takes the connection, after the peer has been told to begin.
    until("the bound", || (timeout_of(&publisher) == Some(Some(Duration::from_millis(given_up_ms)))).then_some(()));
    assert_eq!(timeout_of(&player), Some(None), "a player has send_ms, which tells what is taken from what is not");
}

#[test]
fn the_bytes_of_a_connection_that_publishes_twice_are_counted_once() {
    let (server, port) = relay(StreamConfig::default(), ServerConfig::default());
    let mut publisher = Raw::publish(port, "first");
    let sent = messages(1_000);
    publisher.socket.write_all(&sent).unwrap();
    let session = server.list(0, kind::SESSION).unwrap()[0];
    let bytes_in = || server.stats(session).unwrap().bytes_in;
    let counted = |least: u64| until("what was sent is counted", || Some(bytes_in()).filter(|&bytes| bytes >= least));
    let before = counted(sent.len() as u64);
    let text = |text: &str| Amf0Value::Utf8String(text.to_owned());
    publisher.command(0, "FCUnpublish", 0.0, Amf0Value::Null, &[text("first")]);
    publisher.command(1, "publish", 0.0, Amf0Value::Null, &[text("second"), text("live")]);
    publisher.wait_status("NetStream.Publish.Start");
    let more = messages(10);
    publisher.socket.write_all(&more).unwrap();
    let after = counted(before + more.len() as u64);
    assert!(after < before + 1_000, "{before} bytes, then {after}");
}
