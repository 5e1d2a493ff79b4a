//! The limits of a server for new peers: PROXY headers, sessions, addresses, streams.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use live::{Client, Live, command, connect, is_closed, message, raw, shaken, until};
use rrelay::config::ServerConfig;
use rrelay::error::RRError;
use rrelay::proto::amf0::Value;
use rrelay::proto::chunk_read::{ChunkReader, ReadLimits};
use rrelay::proto::message::kind;
use rrelay::server::{LevelFilter, ListenOptions, RRServer, kind as objects};
use rrelay::session::{Role, SessionConfig, State};

const PROXY: ListenOptions = ListenOptions { reuse_port: false, proxy: true, tls: false, http: false };

fn headed(port: u16, header: &[u8]) -> TcpStream {
    let mut socket = raw(port);
    socket.write_all(header).unwrap();
    socket
}

#[test]
fn a_proxy_header_says_whose_the_connection_is() {
    let live = Live::with(ServerConfig { max_sessions_ip: Some(1), ..ServerConfig::default() }, PROXY);
    let config = SessionConfig::default();
    let publisher = headed(live.port, b"PROXY TCP4 203.0.113.7 10.0.0.1 54321 1935\r\n");
    let mut publisher = Client::over(publisher, live.port, "show", true, &config).unwrap();
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x08\x0a\0\0\x01\xd4\x31\x07\x8f";
    let mut player = Client::over(headed(live.port, v2), live.port, "show", false, &config).unwrap();
    publisher.key_frame(0, b"picture").unwrap();
    assert!(player.message().1.ends_with(b"picture"));

    let sessions = live.server.list(0, objects::SESSION).unwrap();
    let mut seen: Vec<_> = sessions.iter().map(|&id| live.server.info(id).unwrap()).collect();
    seen.sort_by(|a, b| a.addr.cmp(&b.addr));
    assert_eq!([&seen[0].addr, &seen[1].addr], ["203.0.113.7:54321", "203.0.113.8:54321"]);
    assert_eq!(seen[0].local_addr, "10.0.0.1:1935");
    // The limit for each address counts the addresses of the headers, not the balancer's.
    let mut second = headed(live.port, b"PROXY TCP4 203.0.113.7 10.0.0.1 54322 1935\r\n");
    assert!(is_closed(&mut second));
    live.line_with(&["connections refused", "203.0.113.7:54322", "max_sessions_ip"]);
    drop(publisher);
    live.end_of("203.0.113.7:54321");
}

#[test]
fn a_header_that_comes_byte_by_byte_and_one_that_brings_bytes_along_are_taken() {
    let live = Live::with(ServerConfig::default(), PROXY);
    let mut slow = raw(live.port);
    for byte in b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n" {
        slow.write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    Client::over(slow, live.port, "slow", true, &SessionConfig::default()).unwrap();
    live.line_with(&["[2001:db8::7]:1", "publishes"]);
    // The handshake's first byte arrives with the header: an old version is refused by the session, not the header.
    let mut both = headed(live.port, b"PROXY UNKNOWN\r\n\x06");
    both.write_all(&[0; 1536]).unwrap();
    assert!(is_closed(&mut both));
    let addr = both.local_addr().unwrap().to_string();
    assert_eq!(live.end_of(&addr).error, Some(RRError::Handshake));
}

#[test]
fn a_peer_without_a_proxy_header_is_closed() {
    let config = ServerConfig { handshake_ms: 200, ..ServerConfig::default() };
    let live = Live::with(config, PROXY);
    let mut plain = headed(live.port, b"\x03");
    assert!(is_closed(&mut plain));
    live.line_with(&["no PROXY header"]);
    let mut silent = headed(live.port, b"PROXY TCP4 203.0");
    assert!(is_closed(&mut silent));
    live.line_with(&["no PROXY header in time"]);
    assert_eq!(live.sessions(), 0, "none of them was a session");
    // A connection the host accepted, with the flag.
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    live.server.accept_fd(theirs.into(), None, PROXY).unwrap();
    ours.write_all(b"PROXY TCP4 203.0.113.9 10.0.0.1 7 1935\r\n").unwrap();
    until("a session", || live.sessions() == 1);
    let id = live.server.list(0, objects::SESSION).unwrap()[0];
    assert_eq!(live.server.info(id).unwrap().addr, "203.0.113.9:7");
}

/// A peer that reads the server's messages and answers pings, when the test asks for that.
struct Console {
    socket: TcpStream,
    reader: ChunkReader,
    pings: u32,
}

impl Console {
    fn connected(port: u16) -> Self {
        let mut socket = shaken(port);
        socket.write_all(&connect()).unwrap();
        let limits = ReadLimits { max_message: 1 << 20, max_open_bytes: 1 << 20, max_chunk_streams: 8 };
        Self { socket, reader: ChunkReader::new(limits), pings: 0 }
    }

    fn say(&mut self, stream_id: u32, name: &str, transaction: f64, values: &[Value<'_>]) {
        self.socket.write_all(&command(stream_id, name, transaction, values)).unwrap();
    }

    /// Answers pings until one more message came that has these bytes in it.
    fn hears(&mut self, words: &str) {
        self.listens(|_, body| body.windows(words.len()).any(|part| part == words.as_bytes()));
    }

    /// Answers this many pings.
    fn answers(&mut self, pings: u32) {
        let until = self.pings + pings;
        self.listens(|pings, _| pings == until);
    }

    fn listens(&mut self, mut enough: impl FnMut(u32, &[u8]) -> bool) {
        let mut input = [0; 4096];
        loop {
            let got = self.socket.read(&mut input).unwrap();
            assert!(got > 0, "closed by the server");
            let (mut at, mut over) = (0, false);
            while let Some(head) = self.reader.next(&input[..got], &mut at).unwrap() {
                let body = self.reader.body(&input[..got]);
                if head.type_id == kind::USER_CONTROL && body[..2] == [0, 6] {
                    self.pings += 1;
                    let pong = [&[0, 7], &body[2..]].concat();
                    self.socket.write_all(&message(kind::USER_CONTROL, 0, 2, &pong)).unwrap();
                }
                over |= enough(self.pings, body);
            }
            if over {
                return;
            }
        }
    }
}

#[test]
fn a_connection_without_a_stream_lives_as_long_as_it_answers_pings() {
    let live = Live::new(ServerConfig { handshake_ms: 2_000, ping_ms: 300, ..ServerConfig::default() });
    let mut console = Console::connected(live.port);
    let name = console.socket.local_addr().unwrap().to_string();
    let began = Instant::now();
    let key = [Value::Null, Value::String(b"show"), Value::String(b"live")];
    console.say(0, "createStream", 2.0, &[Value::Null]);
    for _ in 0..2 {
        // After connect, and after a publish that has ended.
        console.answers(10);
        console.say(1, "publish", 0.0, &key);
        console.hears("NetStream.Publish.Start");
        console.say(1, "closeStream", 0.0, &[Value::Null]);
        console.hears("NetStream.Unpublish.Success");
    }
    assert!(began.elapsed() > Duration::from_millis(4_000), "this is past the handshake's deadline, twice");
    // The peer answers no more.
    assert!(is_closed(&mut console.socket));
    assert_eq!(live.end_of(&name).error, Some(RRError::Idle));
    live.line_with(&[&name, "does not answer pings"]);
}

#[test]
fn a_resting_connection_takes_the_room_of_one_session() {
    let live = Live::new(ServerConfig { max_sessions_ip: Some(1), ..ServerConfig::default() });
    let mut console = Console::connected(live.port);
    console.hears("NetConnection.Connect.Success");
    assert!(is_closed(&mut raw(live.port)));
    live.line_with(&["connections refused", "max_sessions_ip"]);
}

#[test]
fn of_five_thousand_at_once_a_thousand_stay_and_the_rest_is_closed_at_once() {
    allow_files();
    let config =
        ServerConfig { max_sessions: 1_000, handshake_ms: 60_000, event_limit: 100_000, ..ServerConfig::default() };
    let live = Live::new(config);
    let mut publisher = live.publish("show");
    let mut player = live.play("show");
    publisher.key_frame(0, b"0").unwrap();
    player.message();

    let began = Instant::now();
    let crowd: Vec<TcpStream> = (0..5_000).map(|_| raw(live.port)).collect();
    publisher.key_frame(40, b"1").unwrap();
    assert!(player.message().1.ends_with(b"1"), "others do not wait for them");
    until("a thousand", || live.sessions() == 1_000);
    crowd.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
    let open = |mut socket: &TcpStream| {
        let read = socket.read(&mut [0]);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    until("all but those who found room are closed", || crowd.iter().filter(|socket| open(socket)).count() == 998);
    // All were closed long before the handshake's deadline.
    let lines = || live.lines_with("connections refused") as u64;
    until("the log tells of it", || lines() > 0);
    let (lines, took) = (lines(), began.elapsed());
    assert!((1..=took.as_secs() + 2).contains(&lines), "{lines} lines in {took:?}");
    publisher.key_frame(80, b"2").unwrap();
    assert!(player.message().1.ends_with(b"2"));
}

#[test]
fn commands_of_peers_wait_while_the_host_takes_no_events() {
    const LIMIT: u32 = 8;
    let config = ServerConfig { event_limit: LIMIT, handshake_ms: 60_000, ..ServerConfig::default() };
    let server = RRServer::new(config, LevelFilter::Off, None).unwrap();
    let port = server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
    let mut early = shaken(port);
    // Each connection begins with an event that may not be dropped.
    let _crowd: Vec<TcpStream> = (0..2 * LIMIT).map(|_| raw(port)).collect();
    // One event of each and one of the server are more than the limit. The thread that has accepted them reads the next
    // command after that.
    until("the queue is full", || server.list(0, objects::SESSION).unwrap().len() >= LIMIT as usize);
    early.write_all(&connect()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    early.set_nonblocking(true).unwrap();
    assert!(early.read(&mut [0]).is_err(), "nobody is let further meanwhile");
    until("its connect is answered", || {
        // The rest of the crowd may fill the queue again.
        while server.next_event(0).unwrap().is_some() {}
        early.read(&mut [0; 4096]).is_ok_and(|got| got > 0)
    });
}

/// Raises the soft limit of open files to the hard one.
#[allow(unsafe_code, reason = "std has no setrlimit")]
fn allow_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is there.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    assert!(limit.rlim_cur > 10_100, "this test needs 10,100 files, {} are allowed", limit.rlim_cur);
}

#[test]
fn a_connection_the_host_accepted_is_refused_where_there_is_no_room() {
    let live = Live::new(ServerConfig { max_sessions: 1, ..ServerConfig::default() });
    let pair = || std::os::unix::net::UnixStream::pair().unwrap();
    let (_ours, theirs) = pair();
    live.server.accept_fd(theirs.into(), None, ListenOptions::default()).unwrap();
    until("it is here", || live.sessions() == 1);
    let (mut ours, theirs) = pair();
    let refused = live.server.accept_fd(theirs.into(), None, ListenOptions::default()).unwrap_err();
    assert_eq!(refused.kind, RRError::Limit);
    assert_eq!(Read::read(&mut ours, &mut [0]).unwrap(), 0, "it was closed");
}

#[test]
fn names_that_would_have_to_be_cut_are_refused() {
    let live = Live::new(ServerConfig::default());
    let answer = |app: &[u8], key: &[u8]| {
        let mut socket = shaken(live.port);
        let connect = command(0, "connect", 1.0, &[Value::Object(vec![(b"app", Value::String(app))])]);
        let publish = command(1, "publish", 3.0, &[Value::Null, Value::String(key)]);
        let create = command(0, "createStream", 2.0, &[Value::Null]);
        socket.write_all(&[connect, create, publish].concat()).unwrap();
        let mut said: Vec<u8> = Vec::new();
        let codes = ["NetStream.Publish.Start", "NetStream.Publish.BadName"];
        loop {
            let mut input = [0; 4096];
            let got = socket.read(&mut input).unwrap();
            said.extend(&input[..got]);
            let is_there = |code: &&&str| said.windows(code.len()).any(|part| part == code.as_bytes());
            if let Some(code) = codes.iter().find(is_there) {
                return *code;
            }
            assert!(got > 0, "no answer");
        }
    };
    let long = [b'a'; 4097];
    assert_eq!(answer(&long[..4096], &long[..4096]), "NetStream.Publish.Start");
    for (app, key) in [(&long[..], &b"show"[..]), (b"live", &long), (b"li\0ve", b"show"), (b"live", b"sh\0ow")] {
        assert_eq!(answer(app, key), "NetStream.Publish.BadName");
    }
}

#[test]
fn a_whole_path_in_the_encoders_server_field_is_the_stream_of_that_path() {
    let live = Live::new(ServerConfig::default());
    let published = |app: &str, key: &str| {
        let mut socket = shaken(live.port);
        let object = Value::Object(vec![(b"app", Value::String(app.as_bytes()))]);
        let publish = [Value::Null, Value::String(key.as_bytes()), Value::String(b"live")];
        let wire = [
            command(0, "connect", 1.0, &[object]),
            command(0, "createStream", 2.0, &[Value::Null]),
            command(1, "publish", 3.0, &publish),
        ];
        socket.write_all(&wire.concat()).unwrap();
        socket
    };
    let _whole = published("live/show", "");
    let _instance = published("live/_definst_", "other");
    for (app, key) in [("live", "show"), ("live/show", ""), ("live", "other"), ("live/_definst_", "other")] {
        until(&format!("{app} + {key}"), || live.server.stream_find(app.as_bytes(), key.as_bytes()).is_ok());
    }
    let sessions = live.server.list(0, objects::SESSION).unwrap();
    let mut names: Vec<_> = sessions.iter().map(|&id| live.server.info(id).unwrap()).map(|i| (i.app, i.key)).collect();
    names.sort();
    assert_eq!(names, [(b"live".to_vec(), b"other".to_vec()), (b"live".to_vec(), b"show".to_vec())]);
    // An encoder whose path does not have two parts is told so.
    let (halves, steps) =
        ("an application and a stream key are needed, as in live/show", "no part of a name may be . or ..");
    for (app, key, why) in [
        ("live", "", halves),
        ("", "show", halves),
        ("live", "?token=a/b", halves),
        ("live", "..", steps),
        ("live/./show", "", steps),
    ] {
        let mut socket = published(app, key);
        let mut said = Vec::new();
        socket.read_to_end(&mut said).unwrap();
        for words in ["NetStream.Publish.BadName", why] {
            assert!(said.windows(words.len()).any(|part| part == words.as_bytes()), "{app} + {key}: {words}");
        }
    }
}

#[test]
fn no_more_streams_than_allowed_and_room_comes_back() {
    let live = Live::new(ServerConfig { max_streams: 2, ..ServerConfig::default() });
    let one = live.publish("one");
    let _two = live.publish("two");
    let third = Client::configured(live.port, "three", true, &SessionConfig::default());
    assert!(third.is_err_and(|failure| failure.text.contains("NetStream.Publish.Denied")));
    drop(one);
    until("room", || Client::configured(live.port, "three", true, &SessionConfig::default()).is_ok());
}

#[test]
fn players_that_wait_for_many_streams_do_not_keep_publishers_out() {
    let live = Live::new(ServerConfig { max_streams: 4, ..ServerConfig::default() });
    let play = |key: &str| Client::configured(live.port, key, false, &SessionConfig::default());
    let waiting = [play("one").unwrap(), play("two").unwrap()];
    let refused = play("three").map(drop).unwrap_err();
    assert!(refused.text.contains("NetStream.Play.Failed: players wait for 2 streams already"), "{refused}");
    play("two").unwrap();
    let _publishers = [live.publish("three"), live.publish("one")];
    // One of the awaited streams is published now, so one more may be waited for.
    let _waiting = [play("three").unwrap(), play("four").unwrap()];
    drop(waiting);
}

#[test]
fn a_drain_redirects_peers_that_understand_it_and_lets_the_others_run_to_the_deadline() {
    let live = Live::new(ServerConfig::default());
    let able = SessionConfig { caps_ex: 1, ..SessionConfig::default() };
    let unable = SessionConfig { caps_ex: 0, ..SessionConfig::default() };
    let mut publisher = Client::configured(live.port, "show", true, &unable).unwrap();
    let mut modern = Client::configured(live.port, "show", false, &able).unwrap();
    let mut old = Client::configured(live.port, "show", false, &unable).unwrap();
    publisher.key_frame(0, b"0").unwrap();
    modern.message();
    old.message();

    let began = Instant::now();
    live.server.stop(Some("rtmp://127.0.0.2/live"), 4_000).unwrap();
    until("the request", || {
        modern.turn(Duration::from_millis(5)).unwrap();
        modern.said.iter().any(|said| {
            matches!(said, rrelay::session::Event::Reconnect { url: Some(url), .. } if url == "rtmp://127.0.0.2/live")
        })
    });
    until("the listener closes", || TcpStream::connect(("127.0.0.1", live.port)).is_err());
    // Media flows on, for both.
    publisher.key_frame(40, b"1").unwrap();
    assert!(modern.message().1.ends_with(b"1") && old.message().1.ends_with(b"1"));
    assert!(!old.said.iter().any(|said| matches!(said, rrelay::session::Event::Reconnect { .. })));
    drop(modern);
    until("the end", || live.server.state() == State::Stopped);
    assert!(began.elapsed() >= Duration::from_millis(3_450), "others had until the deadline: {:?}", began.elapsed());
    old.closed();
}

#[test]
fn a_drain_ends_when_everybody_has_gone() {
    let live = Live::new(ServerConfig::default());
    let able = SessionConfig { caps_ex: 1, ..SessionConfig::default() };
    let publisher = Client::configured(live.port, "show", true, &able).unwrap();
    // The deadline is longer than the test waits for anything.
    live.server.stop(Some("rtmp://127.0.0.2/live"), 600_000).unwrap();
    drop(publisher);
    until("the end", || live.server.state() == State::Stopped);
}

#[test]
fn one_session_is_asked_to_reconnect() {
    let live = Live::new(ServerConfig::default());
    let able = SessionConfig { caps_ex: 1, ..SessionConfig::default() };
    let mut publisher = Client::configured(live.port, "show", true, &able).unwrap();
    let _old = live.publish("other");
    for id in live.server.list(0, objects::SESSION).unwrap() {
        let info = live.server.info(id).unwrap();
        let asked = live.server.session_reconnect(id, None, "moving");
        if info.key == b"show" {
            asked.unwrap();
        } else {
            assert_eq!(asked.unwrap_err().kind, RRError::Unsupported);
        }
    }
    until("the request", || {
        publisher.turn(Duration::from_millis(5)).unwrap();
        publisher
            .said
            .iter()
            .any(|said| matches!(said, rrelay::session::Event::Reconnect { url: None, text } if text == "moving"))
    });
}

#[test]
fn figures_of_a_stream_its_publisher_and_its_player() {
    let live = Live::new(ServerConfig::default());
    let mut publisher = live.publish("show");
    let mut player = live.play("show");
    let began = Instant::now();
    let payload = [7; 5_000];
    for frame in 0..70_u32 {
        // 40 ms apart, a key frame each second.
        let due = Duration::from_millis(u64::from(frame) * 40);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        if frame % 25 == 0 {
            publisher.key_frame(frame * 40, &payload).unwrap();
        } else {
            publisher.send(9, frame * 40, &[&[0x27, 1, 0, 0, 0][..], &payload].concat()).unwrap();
        }
        player.message();
    }
    let id = live.server.stream_find(b"live", b"show").unwrap();
    // The last message can be played a moment before it is counted.
    until("all came", || live.server.stats(id).unwrap().last_ts_ms == 69 * 40);
    let stream = live.server.stats(id).unwrap();
    assert_eq!(stream.video_kbps, stream.kbps_in);
    assert_eq!((stream.msgs_in, stream.key_interval_ms), (70, 1000));
    assert_eq!((stream.sessions, stream.targets, stream.dropped_msgs), (2, 0, 0));
    for id in live.server.list(0, objects::SESSION).unwrap() {
        // The first look asks for fresh figures.
        live.server.stats(id).unwrap();
        until("a round trip", || live.server.stats(id).unwrap().rtt_us > 0);
        let info = live.server.info(id).unwrap();
        // A consumer's figures are brought up to date a few times a second.
        let media = |stats: &rrelay::server::figures::Stats| {
            if info.role == Role::Publisher { stats.msgs_in } else { stats.msgs_out }
        };
        until("all messages to be counted", || media(&live.server.stats(id).unwrap()) == 70);
        let stats = live.server.stats(id).unwrap();
        assert!(
            stats.rtt_us < 1_000_000 && stats.started_us > 0 && stats.last_media_us > stats.started_us,
            "{stats:?}"
        );
    }
    let of = |role| {
        let mut sessions = live.server.list(0, objects::SESSION).unwrap().into_iter();
        live.server.stats(sessions.find(|&id| live.server.info(id).unwrap().role == role).unwrap()).unwrap()
    };
    let sent = of(Role::Publisher);
    assert_eq!((sent.last_ts_ms, sent.last_key_ts_ms, sent.key_interval_ms), (69 * 40, 50 * 40, 1000));
    assert!(sent.video_bytes == 70 * 5_005 && sent.bytes_in > sent.video_bytes && sent.bytes_out > 3_000, "{sent:?}");
    let got = of(Role::Player);
    assert!(got.bytes_out > 70 * 5_005 && got.bytes_in > 3_000 && got.queue_ms_max < 2_000, "{got:?}");
    let server = live.server.stats(0).unwrap();
    assert_eq!((server.msgs_in, server.sessions), (70, 2));
    assert!(server.last_media_us > server.started_us && server.started_us > 0 && server.queue_bytes > 0, "{server:?}");

    // On a loaded machine the test's own pace is not exact, so it goes on until it has kept it for a while; the figures'
    // own tests check their precision.
    let mut frame = 70;
    until("figures of 25 frames of 5005 bytes in a second", || {
        std::thread::sleep(Duration::from_millis(37));
        publisher.send(9, frame * 40, &[&[0x27, 1, 0, 0, 0][..], &payload].concat()).unwrap();
        player.message();
        frame += 1;
        let now = live.server.stats(id).unwrap();
        (20_000..=30_000).contains(&now.fps_milli)
            && [now.kbps_in, now.video_kbps, now.kbps_out].iter().all(|kbps| (800..=1_200).contains(kbps))
    });
}

/// Reading figures makes no system call and waits for nobody: ten thousand sessions may be read each second. (That
/// takes some milliseconds; this build is unoptimized, and its machine may have much else to do.)
#[test]
fn reading_the_figures_of_many_sessions_is_cheap() {
    const SESSIONS: u32 = 1_000;
    allow_files();
    let live = Live::new(ServerConfig { handshake_ms: 60_000, ..ServerConfig::default() });
    let _crowd: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            live.server.accept_fd(theirs.into(), Some("192.0.2.1:7"), ListenOptions::default()).unwrap();
            ours
        })
        .collect();
    until("all are here", || live.sessions() == SESSIONS);
    let ids = live.server.list(0, objects::SESSION).unwrap();
    let reads = || {
        let began = Instant::now();
        for _ in 0..10 {
            for &id in &ids {
                live.server.stats(id).unwrap();
                live.server.info(id).unwrap();
            }
        }
        began.elapsed()
    };
    // The fastest of ten: another program may have the processor during some.
    let took = (0..10).map(|_| reads()).min();
    assert!(took < Some(Duration::from_secs(1)), "10,000 reads took {took:?}");
}

/// A peer that asks for a taken name, and sends these bytes right after it.
fn intruder(live: &Live, more: &[u8]) -> TcpStream {
    let mut peer = shaken(live.port);
    let publish = [Value::Null, Value::String(b"taken"), Value::String(b"live")];
    let mut said = connect();
    said.extend(command(0, "createStream", 2.0, &[Value::Null]));
    said.extend(command(1, "publish", 3.0, &publish));
    said.extend(more);
    peer.write_all(&said).unwrap();
    peer
}

/// Waits until the peer has the refusal.
fn refused(mut peer: TcpStream) -> TcpStream {
    let (mut heard, mut input) = (Vec::new(), [0; 4096]);
    while !heard.windows(7).any(|word| word == b"BadName") {
        let got = peer.read(&mut input).unwrap();
        assert!(got > 0, "no word came");
        heard.extend_from_slice(&input[..got]);
    }
    peer
}

/// Refused peers have two seconds to leave by themselves. A stop that waits for them takes longer than this on any
/// machine; a stop that does not wait takes less at least once.
const LESS_THAN_A_GOODBYE: Duration = Duration::from_millis(1_500);

#[test]
fn a_refused_peer_that_leaves_is_gone_however_much_it_has_sent() {
    let live = Live::new(ServerConfig::default());
    let _first = live.publish("taken");
    let took = (0..5).map(|_| {
        // More than one turn of reading takes, and its end right behind it.
        let peer = intruder(&live, &message(kind::VIDEO, 1, 6, &[0x17; 20_000]).repeat(10));
        let name = peer.local_addr().unwrap().to_string();
        drop(peer);
        let gone = Instant::now();
        live.end_of(&name);
        gone.elapsed()
    });
    let fastest = took.min().unwrap();
    assert!(fastest < LESS_THAN_A_GOODBYE, "{fastest:?}");
}

#[test]
fn the_end_of_a_server_waits_for_no_refused_peer() {
    let took = (0..3).map(|_| {
        let live = Live::new(ServerConfig::default());
        let _first = live.publish("taken");
        let _refused = refused(intruder(&live, b""));
        let began = Instant::now();
        live.server.shutdown().unwrap();
        began.elapsed()
    });
    let fastest = took.min().unwrap();
    assert!(fastest < LESS_THAN_A_GOODBYE, "{fastest:?}");
}

#[test]
fn a_descriptor_that_is_no_connection_is_refused_and_an_id_of_another_server_is_noticed() {
    let (live, other) = (Live::new(ServerConfig::default()), Live::new(ServerConfig::default()));
    let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let failure = live.server.accept_fd(listening.into(), None, ListenOptions::default()).unwrap_err();
    assert_eq!(failure.kind, RRError::Arg, "{failure}");
    let (_publisher, _same) = (live.publish("show"), other.publish("show"));
    let of = |live: &Live| live.server.stream_find(b"live", b"show").unwrap();
    assert_ne!(of(&live), of(&other));
    let failure = other.server.stream_stop(of(&live), 0).unwrap_err();
    assert_eq!(failure.kind, RRError::NotFound);
    assert!(failure.text.contains("another server"), "{failure}");
    assert!(live.server.info(of(&live)).is_ok() && other.server.info(of(&other)).is_ok());
}
