//! Players over HTTP get what players over RTMP get, as FLV: by GET and as a WebSocket, byte for byte and in the form
//! for browsers. They join, fall behind, are asked for, counted and ended like any player; other requests are answered
//! and cost little.
#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/http.rs"]
mod http;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/raw.rs"]
mod raw;
#[path = "support/secure.rs"]
mod secure;

#[path = "http_flv/wss.rs"]
mod wss;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Http, Way, ask};
use raw::{AUDIO, DATA, Got, PATIENCE, Raw, VIDEO, last_player, number_of, picture, until};
use rrelay::config::{PublisherPolicy, ServerConfig, StreamConfig, ask as asks};
use rrelay::server::{Event, EventKind, LevelFilter, ListenOptions, RRServer, flag, kind};
use rrelay::session::{Role, State};

const METADATA: &[u8] = b"\x02\x00\x0aonMetaData\x08\x00\x00\x00\x00\x00\x00\x09";
const VIDEO_HEADER: &[u8] = &[0x17, 0, 0, 0, 0, 1, 66, 0, 30];
const AUDIO_HEADER: &[u8] = &[0xaf, 0, 0x11, 0x90];
const TARGET: &str = "/live/show.flv";

/// A server that listens for RTMP and for HTTP, with one stream.
struct Show {
    server: RRServer,
    rtmp: u16,
    http: u16,
    id: u64,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Show {
    fn new() -> Self {
        Self::with(StreamConfig::default(), ServerConfig::default())
    }

    fn with(stream: StreamConfig, server: ServerConfig) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&events);
        let taker = Box::new(move |event: &Event| keep.lock().unwrap().push(event.clone()));
        let config = ServerConfig { stream: stream.into(), ..server };
        let server = RRServer::new(config, LevelFilter::Off, Some(taker)).unwrap();
        let rtmp = server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
        let http = server.listen("127.0.0.1:0", ListenOptions { http: true, ..ListenOptions::default() }).unwrap();
        let id = server.stream_create(b"live", b"show", None).unwrap();
        Self { server, rtmp, http, id, events }
    }

    fn write(&self, type_id: u8, ts_ms: u32, body: &[u8]) {
        self.server.stream_write(self.id, type_id, ts_ms.into(), body, false).unwrap();
    }

    fn headers(&self) {
        self.write(DATA, 0, METADATA);
        self.write(VIDEO, 0, VIDEO_HEADER);
        self.write(AUDIO, 0, AUDIO_HEADER);
    }

    fn end(&self) {
        self.server.stream_write(self.id, VIDEO, 0, &[], true).unwrap();
    }

    fn player(&self, way: Way, target: &str, players: usize) -> Http {
        let player = Http::ask_for(self.http, way, target);
        last_player(&self.server, self.id, players);
        player
    }

    fn event(&self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        until(what, || self.events.lock().unwrap().iter().find(|event| is_it(event)).cloned())
    }
}

/// What the RTMP player gets up to the first message of this time.
fn up_to(player: &mut Raw, ts_ms: u32) -> Vec<Got> {
    let mut all = Vec::new();
    while all.last().is_none_or(|got: &Got| got.ts_ms != ts_ms) {
        all.push(player.media());
    }
    all
}

#[test]
fn every_way_of_http_gives_the_messages_that_rtmp_gives() {
    const LAST_MS: u32 = 0x0100_0100; // beyond 24 bits
    let show = Show::new();
    let mut rtmp = Raw::play(show.rtmp, "show");
    last_player(&show.server, show.id, 1);
    let mut first: Vec<Http> = Way::ALL.iter().zip(2..).map(|(way, n)| show.player(*way, TARGET, n)).collect();
    show.headers();
    let bodies: [(u8, u32, Vec<u8>); 9] = [
        (VIDEO, 0x00ff_fff0, picture(true, 1, 200_000)), // four chunks of the log
        (AUDIO, 0x00ff_fff8, vec![0xaf, 1, 7]),
        (VIDEO, 0x00ff_ffff, picture(false, 2, 60_000)),
        (VIDEO, 0x0100_0000, picture(false, 3, 60_001)),
        (AUDIO, 0x0100_0004, vec![]),
        (VIDEO, 0x0100_0008, picture(false, 4, 120_000)),
        (VIDEO, 0x0100_0010, picture(false, 5, 120_001)),
        (DATA, 0x0100_0018, b"\x02\x00\x06onCue1\x05".to_vec()),
        (AUDIO, LAST_MS, vec![0xaf, 1, 9]),
    ];
    for (type_id, ts_ms, body) in &bodies {
        show.write(*type_id, *ts_ms, body);
    }
    let expected = up_to(&mut rtmp, LAST_MS);
    assert_eq!(expected.len(), 3 + bodies.len());
    // Players that come late also get it, with the headers of their join point.
    let mut late_rtmp = Raw::play(show.rtmp, "show");
    let late_expected = up_to(&mut late_rtmp, LAST_MS);
    assert_eq!(late_expected, expected.iter().map(at_join).collect::<Vec<_>>());
    let mut late: Vec<Http> = Way::ALL.iter().zip(6..).map(|(way, n)| show.player(*way, TARGET, n)).collect();
    show.end();
    for (players, expected) in [(&mut first, &expected), (&mut late, &late_expected)] {
        for (player, way) in players.iter_mut().zip(Way::ALL) {
            assert!(player.rest() == *expected, "{way:?}");
            assert_eq!(player.file_header.as_deref(), Some(&b"FLV\x01\x05\0\0\0\x09\0\0\0\0"[..]));
            assert_eq!(player.ended, way != Way::Close, "{way:?}: an end in good order is told");
        }
    }
}

/// What a joiner gets of it: headers have the time of the first frame, metadata none.
fn at_join(got: &Got) -> Got {
    let is_header = got.type_id != DATA && got.body.get(1) == Some(&0) && got.ts_ms == 0;
    Got { ts_ms: if is_header { 0x00ff_fff0 } else { got.ts_ms }, ..got.clone() }
}

#[test]
fn a_player_over_http_is_a_player_in_events_lists_and_figures() {
    let show = Show::new();
    let target = "/live/show.flv?token=secret&for=browser";
    let mut player = Http::ask_for(show.http, Way::Chunks, target);
    let session = last_player(&show.server, show.id, 1);
    let info = show.server.info(session).unwrap();
    assert_eq!((info.role, info.state), (Role::Player, State::Waiting));
    show.headers();
    show.write(VIDEO, 40, &picture(true, 1, 5_000));
    show.write(AUDIO, 50, &[0xaf, 1, 7]);
    show.write(VIDEO, 80, &picture(false, 2, 5_000));
    assert_eq!(number_of(&player.frame()), Some(1));
    assert_eq!(player.frame().type_id, AUDIO);
    assert_eq!(number_of(&player.frame()), Some(2));
    let counted = |stats: rrelay::server::figures::Stats| {
        (stats.bytes_out + player.head.len() as u64 >= player.received).then_some(stats)
    };
    let stats = until("its bytes", || counted(show.server.stats(session).unwrap()));
    assert!(stats.bytes_out <= player.received, "{} of {}", stats.bytes_out, player.received);
    assert_eq!(show.server.stats(show.id).unwrap().sessions, 1);
    let event = show.event("it plays", |event| event.kind == EventKind::Session && event.state == State::InProgress);
    assert_eq!((&event.app[..], &event.key[..], &event.query[..]), (&b"live"[..], &b"show"[..], &b"token=secret"[..]));
    assert_eq!(event.url, b"http://localhost/live");
    show.server.session_close(session, "enough", 0).unwrap();
    assert!(player.rest().is_empty() && player.ended, "it is told of the end between two messages");
    until("its end", || show.server.list(0, kind::SESSION).unwrap().is_empty().then_some(()));
}

#[test]
fn a_player_that_does_not_read_jumps_to_a_key_frame_and_gets_whole_tags() {
    let stream = StreamConfig { queue_bytes: 1 << 20, gop_bytes: 1 << 20, slow_ms: 600_000, ..StreamConfig::default() };
    let show = Show::with(stream, ServerConfig { send_ms: 600_000, ..ServerConfig::default() });
    let mut players: Vec<(Http, u64)> = Vec::new();
    for (way, count) in Way::ALL.iter().zip(1..) {
        let player = Http::ask_for(show.http, *way, TARGET);
        players.push((player, last_player(&show.server, show.id, count)));
    }
    show.headers();
    let mut number = 0;
    let mut feed = || {
        // Some bodies are larger than a chunk.
        let len = if number % 3 == 0 { 150_000 } else { 30_000 };
        show.write(VIDEO, number * 40, &picture(number % 10 == 0, number, len));
        number += 1;
    };
    for (_, session) in &players {
        until("it drops", || {
            feed();
            (show.server.stats(*session).unwrap().dropped_msgs > 0).then_some(())
        });
    }
    (0..30).for_each(|_| feed());
    let last = number - 1;
    for (player, _) in &mut players {
        let (mut before, mut jumps) = (None, 0);
        while before != Some(last) {
            let got = player.next().expect("more");
            let Some(number) = (got.type_id == VIDEO).then(|| number_of(&got)).flatten() else { continue };
            if before.is_some_and(|before| number != before + 1) {
                assert!(number.is_multiple_of(10), "it goes on at a key frame, not at {number} after {before:?}");
                jumps += 1;
            }
            before = Some(number);
        }
        assert!(jumps > 0);
    }
}

#[test]
fn what_is_not_there_is_404_and_questions_about_it_are_answered() {
    let show = Show::new();
    show.headers();
    show.write(VIDEO, 0, &picture(true, 1, 100));
    let get =
        |method: &str, path: &str| ask(show.http, format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    let absent = get("GET", "/live/none.flv");
    assert!(
        absent.starts_with("HTTP/1.1 404 ") && absent.contains("\r\nAccess-Control-Allow-Origin: *\r\n"),
        "{absent}"
    );
    show.event("its end", |event| event.kind == EventKind::Session && event.flags & flag::LAST != 0);
    assert!(show.events.lock().unwrap().iter().all(|event| event.kind != EventKind::Wanted), "nobody is sent for it");
    assert!(get("GET", "/live/show").starts_with("HTTP/1.1 404 "));
    let head = get("HEAD", TARGET);
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n") && head.contains("video/x-flv"), "{head}");
    let absent = get("HEAD", "/live/none.flv");
    assert!(absent.starts_with("HTTP/1.1 404 ") && absent.ends_with("\r\n\r\n"), "{absent}");
    let options = get("OPTIONS", TARGET);
    assert!(options.starts_with("HTTP/1.1 200 "), "{options}");
    assert!(options.contains("\r\nAccess-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"), "{options}");
    assert!(get("POST", TARGET).starts_with("HTTP/1.1 405 "));
    until("all have left the stream", || (show.server.stats(show.id).unwrap().sessions == 0).then_some(()));
}

#[test]
fn a_stream_from_which_nothing_comes_in_time_is_404() {
    let show = Show::with(StreamConfig::default(), ServerConfig { handshake_ms: 2_000, ..ServerConfig::default() });
    let answer = ask(show.http, b"GET /live/show.flv HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[test]
fn a_stream_whose_next_key_frame_is_far_away_is_there() {
    let stream = StreamConfig { gop_bytes: 0, key_wait_ms: 0, ..StreamConfig::default() };
    let show = Show::with(stream, ServerConfig { handshake_ms: 3_000, ..ServerConfig::default() });
    // A player that has this key frame shows that the relay is past it: the next player does not get it.
    let mut first = show.player(Way::Chunks, TARGET, 1);
    show.write(VIDEO, 0, &picture(true, 1, 100));
    assert_eq!(number_of(&first.frame()), Some(1));
    let mut player = show.player(Way::Chunks, TARGET, 2);
    // Longer than the answer waits for a stream from which nothing comes.
    let begun = Instant::now();
    for number in 2.. {
        show.write(VIDEO, number * 40, &picture(false, number, 100));
        std::thread::sleep(Duration::from_millis(40));
        if begun.elapsed() > Duration::from_secs(4) {
            break;
        }
    }
    show.write(VIDEO, 90_000, &picture(true, 99, 100));
    assert_eq!(number_of(&player.frame()), Some(99));
    assert!(player.head.starts_with("HTTP/1.1 200 "), "{}", player.head);
}

#[test]
fn hostile_heads_are_bounded_and_answered() {
    let show = Show::new();
    let hasty = Show::with(StreamConfig::default(), ServerConfig { handshake_ms: 500, ..ServerConfig::default() });
    let status_at = |show: &Show, request: &[u8]| ask(show.http, request).get(9..12).map(str::to_owned);
    let status = |request: &[u8]| status_at(&show, request);
    assert_eq!(status(&[0x03; 1537]).as_deref(), Some("400"), "a handshake of RTMP");
    assert_eq!(status(b"GET / HTTP/1.1\r\nBad Field: x\r\n\r\n").as_deref(), Some("400"));
    let endless = status_at(&hasty, b"GET /live/show.flv HTTP/1.1\r\nHost:");
    assert_eq!(endless.as_deref(), Some("408"), "a head that never ends");
    // A refused connection may be reset after its answer, so only a peer that reads gets the answer.
    let mut huge = TcpStream::connect(("127.0.0.1", show.http)).unwrap();
    huge.write_all(format!("GET /{} HTTP/1.1\r\n", "a".repeat(9_000)).as_bytes()).unwrap();
    let mut answer = [0; 12];
    huge.set_read_timeout(Some(PATIENCE)).unwrap();
    huge.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
    // One byte at a time, until the server closes.
    let mut slow = TcpStream::connect(("127.0.0.1", hasty.http)).unwrap();
    let until = Instant::now() + PATIENCE;
    while slow.write_all(b"G").is_ok() {
        assert!(Instant::now() < until, "nobody ends it");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(status(b"OPTIONS * HTTP/1.1\r\n\r\n").as_deref() == Some("200"), "others are served");
}

#[test]
fn the_host_is_asked_and_its_answer_is_a_status() {
    let config = ServerConfig { ask: asks::ALL, ..ServerConfig::default() };
    let show = Show::with(StreamConfig::default(), config);
    show.headers();
    show.write(VIDEO, 0, &picture(true, 1, 100));
    let asked = |kind: EventKind, query: &'static [u8]| {
        show.event("it is asked for", move |event| event.kind == kind && event.query == query).session
    };
    let mut denied = Http::ask_for(show.http, Way::Chunks, "/live/show.flv?denied");
    let connects = show.event("the connect", |event| event.kind == EventKind::ConnectAsk);
    assert_eq!(connects.app, b"live");
    show.server.session_allow(connects.session, rrelay::config::Decision::default()).unwrap();
    show.server.session_deny(asked(EventKind::PlayAsk, b"denied"), "", "not for you").unwrap();
    assert_eq!(denied.next(), None);
    assert!(denied.head.starts_with("HTTP/1.1 403 "), "{}", denied.head);
    let mut allowed = Http::ask_for(show.http, Way::WebSocket, "/live/show.flv?allowed");
    let connects = show
        .event("the next connect", |event| event.kind == EventKind::ConnectAsk && event.session != connects.session);
    show.server.session_allow(connects.session, rrelay::config::Decision::default()).unwrap();
    show.server.session_allow(asked(EventKind::PlayAsk, b"allowed"), rrelay::config::Decision::default()).unwrap();
    assert_eq!(number_of(&allowed.frame()), Some(1));
}

#[test]
fn limits_of_sessions_hold_for_players_over_http() {
    let show =
        Show::with(StreamConfig::default(), ServerConfig { max_sessions_ip: Some(2), ..ServerConfig::default() });
    let _two = [1, 2].map(|count| show.player(Way::Chunks, TARGET, count));
    assert_eq!(ask(show.http, b"GET /live/show.flv HTTP/1.1\r\n\r\n"), "", "closed without a word, as with RTMP");
}

#[test]
fn a_browser_gets_one_track_in_a_form_that_it_knows() {
    let show = Show::new();
    let ex = |first: u8, rest: &[&[u8]]| [&[first][..], &rest.concat()].concat();
    let aac = [&[0x90][..], b"mp4a", &[0x12, 0x10]].concat();
    show.write(DATA, 0, b"\x02\x00\x0aonMetaData\x08\0\0\0\x01\0\x08hasAudio\x01\0\0\0\x09");
    show.write(VIDEO, 0, &ex(0x90, &[b"avc1", &[1, 100, 0, 31]]));
    show.write(VIDEO, 0, &ex(0x96, &[&[0x00], b"hvc1", &[1], b"conf"])); // another track
    show.write(AUDIO, 0, &aac);
    let big = vec![9; 100_000];
    show.write(VIDEO, 0, &ex(0x91, &[b"avc1", &[0, 0, 7], &big]));
    show.write(VIDEO, 0, &ex(0x96, &[&[0x01], b"hvc1", &[1], b"\0\0\0nal"]));
    show.write(VIDEO, 1, &ex(0x94, &[b"avc1", b"colours"]));
    show.write(AUDIO, 10, &ex(0x91, &[b"mp4a", b"sound"]));
    show.write(VIDEO, 20, &ex(0xa7, &[&[2, 0, 0, 9, 0x03], b"avc1", b"nal"])); // ModEx
    let mut player = Http::ask_for(show.http, Way::WebSocket, "/live/show.flv?for=browser");
    last_player(&show.server, show.id, 1);
    show.end();
    let got = player.rest();
    assert_eq!(player.file_header.as_deref().map(|header| header[4]), Some(5));
    let bodies: Vec<(u8, u32, Vec<u8>)> = got.into_iter().map(|got| (got.type_id, got.ts_ms, got.body)).collect();
    let expected = [
        (DATA, 0, b"\x02\x00\x0aonMetaData\x08\0\0\0\x01\0\x08hasAudio\x01\x01\0\0\x09".to_vec()),
        (VIDEO, 0, ex(0x17, &[&[0, 0, 0, 0, 1, 100, 0, 31]])),
        (AUDIO, 0, vec![0xaf, 0, 0x12, 0x10]),
        (VIDEO, 0, ex(0x17, &[&[1, 0, 0, 7], &big])),
        (AUDIO, 10, b"\xaf\x01sound".to_vec()),
        (VIDEO, 20, b"\x27\x01\0\0\0nal".to_vec()),
    ];
    assert!(bodies == expected, "{:.300?}", bodies);
}

#[test]
fn a_browser_gets_the_next_publishers_tracks_after_a_takeover() {
    let takeover = StreamConfig { publisher_policy: PublisherPolicy::Takeover, ..StreamConfig::default() };
    let show = Show::with(takeover, ServerConfig::default());
    let track = |packet: u8, id: u8, payload: &[u8]| [&[0x96, packet][..], b"hvc1", &[id], payload].concat();
    let mut first = Raw::publish(show.rtmp, "show");
    first.send(AUDIO, 0, AUDIO_HEADER);
    first.send(VIDEO, 0, &track(0, 2, b"first"));
    first.send(AUDIO, 0, &[0xaf, 1, 7]);
    first.send(VIDEO, 0, &track(1, 2, b"\0\0\0one"));
    let mut player = show.player(Way::Chunks, "/live/show.flv?for=browser", 1);
    let mut next = || std::iter::from_fn(|| player.next()).find(|got| got.type_id == VIDEO).unwrap();
    assert_eq!(next().body, b"\x90hvc1first");
    assert_eq!(next().body, b"\x91hvc1\0\0\0one");
    // The lower of its two tracks is not the one that comes first.
    let mut second = Raw::publish(show.rtmp, "show");
    for (packet, id, payload) in
        [(0, 1, &b"upper"[..]), (0, 0, b"lower"), (1, 1, b"\0\0\0no"), (1, 0, b"\0\0\0two"), (1, 0, b"\0\0\0more")]
    {
        second.send(VIDEO, 40, &track(packet, id, payload));
    }
    // Which header is the lowest is known with the first frame: a header before that one may come too.
    assert_eq!(
        [(); 4].map(|()| next().body),
        [&b"\x90hvc1upper"[..], b"\x90hvc1lower", b"\x91hvc1\0\0\0two", b"\x91hvc1\0\0\0more"]
    );
    // A publisher without tracks.
    let mut third = Raw::publish(show.rtmp, "show");
    third.send(VIDEO, 80, VIDEO_HEADER);
    third.send(VIDEO, 80, &picture(true, 3, 100));
    assert_eq!(next().body, VIDEO_HEADER);
    assert_eq!(number_of(&next()), Some(3));
}

#[test]
fn a_browser_that_joined_before_the_stream_gets_a_header_with_its_tracks() {
    let show = Show::new();
    let mut waiting = show.player(Way::Chunks, "/live/show.flv?for=browser", 1);
    // Only video, whatever the metadata says; the first frames come before it is known that there is no audio.
    show.write(DATA, 0, b"\x02\x00\x0aonMetaData\x08\0\0\0\x01\0\x08hasAudio\x01\x01\0\0\x09");
    show.write(VIDEO, 0, VIDEO_HEADER);
    let mut number = 0;
    let mut feeder = || {
        show.write(VIDEO, number * 40, &picture(true, number, 100));
        number += 1;
        let session = show.server.list(show.id, kind::SESSION).unwrap()[0];
        (show.server.info(session).unwrap().state == State::InProgress).then_some(())
    };
    until("it plays", &mut feeder);
    show.end();
    let first = waiting.next().unwrap();
    assert_eq!(waiting.file_header.as_deref().map(|header| header[4]), Some(1));
    assert_eq!(first.body[first.body.len() - 4..], [0, 0, 0, 9], "{first:?}");
    assert!(first.body.ends_with(b"\0\x08hasAudio\x01\0\0\0\x09"), "{first:?}");
    assert!(waiting.rest().len() >= 2);
}
