//! A server is replaced by another one while its streams run: publishers and players keep their connections, and no
//! message is lost or repeated. Where the other one fails, at whatever step, all goes on as before.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;
#[path = "support/load.rs"]
mod load;
#[path = "support/moving.rs"]
mod moving;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use live::{Client, Live, until};
use load::{Load, playing};
use rrelay::config::{ServerConfig, TargetConfig, ask};
use rrelay::error::{Failure, RRError};
use rrelay::server::{Event, EventKind, Role, State, flag, kind as ids};

const WITHIN_MS: u32 = 30_000;
const DRAIN_MS: u32 = 30_000;

/// Numbers of messages (`server/upgrade/wire.rs`).
const HELLO: u8 = 1;
const END: u8 = 2;
const READY: u8 = 3;
const REFUSED: u8 = 4;
const LISTENER: u8 = 16;

/// The greeting of a successor that takes everything, in versions to come.
const NEWER: &[u8] = b"RRup\x01\x81\x83\x82\x10\x19\xff\xff\x82\x11\x19\xff\xff\x82\x12\x19\xff\xff";

/// The greeting of one that takes listening sockets and nothing else.
const OLDER: &[u8] = b"RRup\x01\x81\x81\x82\x10\x01";

/// Hands one server over to another one; what the two calls say.
fn hand_over(here: &Live, there: &Live) -> (Result<(), Failure>, Result<(), Failure>) {
    moving::hand_over(&here.server, &there.server)
}

#[test]
fn streams_go_on_through_five_upgrades_in_a_row_without_a_reconnect_or_a_lost_message() {
    let (streams, players) = (4, 3);
    let mut now = Live::new(ServerConfig::default());
    let port = now.port;
    let load = Load::on(now.port, streams, players, 5);
    let mut newcomers = Vec::new();
    for turn in 0..5 {
        let next = Live::new(ServerConfig::default());
        assert_eq!(hand_over(&now, &next), (Ok(()), Ok(())));
        println!("{}", now.line_with(&["paused for"]));
        let has_stopped = |event: &Event| event.state == State::Stopped;
        until("the old one has stopped", || now.events_of(EventKind::Server).iter().any(has_stopped));
        let ends = now.events_of(EventKind::Session).into_iter().filter(|event| event.flags & flag::LAST != 0);
        let ends: Vec<_> = ends.map(|event| event.error).collect();
        assert_eq!(ends, vec![None; streams * (1 + players) + turn], "each goes on elsewhere");
        // The new one is where the old one was, and begins newcomers with a key frame.
        newcomers.push(playing(Client::new(port, "show0", false)));
        until("it plays", || next.sessions() as usize == streams * (1 + players) + turn + 1);
        now = next;
    }
    load.end();
    for newcomer in newcomers {
        let numbers = newcomer.join().unwrap().numbers;
        let first = numbers[0];
        assert!(first.is_multiple_of(10) && numbers == (first..first + numbers.len() as u32).collect::<Vec<_>>());
    }
}

#[test]
fn targets_go_along_on_their_connections_and_those_that_wait_go_on_waiting() {
    let sink = Live::new(ServerConfig::default());
    let mut now = Live::new(ServerConfig::default());
    let stream = now.server.stream_create(b"live", b"show0", None).unwrap();
    let target = |url| TargetConfig { url, retry_min_ms: 60_000, retry_max_ms: 60_000, ..TargetConfig::default() };
    let push = now.server.target_add(stream, target(format!("rtmp://127.0.0.1:{}/live/copy", sink.port))).unwrap();
    // Nobody listens there.
    now.server.target_add(stream, target("rtmp://127.0.0.1:1/live".to_owned())).unwrap();
    let copy = playing(sink.play("copy"));
    let load = Load::on(now.port, 1, 1, 5);
    let waits = |event: &Event| event.state == State::Recovering;
    until("one waits", || now.events_of(EventKind::Target).iter().any(waits));
    let publishes = |event: &Event| event.role == Role::Publisher && event.state == State::InProgress;
    let publishers = || sink.events_of(EventKind::Session).into_iter().filter(publishes).count();
    // One that is just being connected would be connected anew.
    until("one pushes", || now.server.info(push).unwrap().state == State::InProgress);
    for _ in 0..5 {
        let next = Live::new(ServerConfig::default());
        assert_eq!(hand_over(&now, &next), (Ok(()), Ok(())));
        assert_eq!(next.server.list(0, ids::TARGET).unwrap().len(), 2);
        let ended = |event: &Event| event.flags & flag::LAST != 0;
        let ends = || now.events_of(EventKind::Target).into_iter().filter(ended).map(|event| event.error);
        until("the old one has none", || ends().count() == 2);
        assert_eq!(ends().collect::<Vec<_>>(), [None, None], "each goes on elsewhere");
        now = next;
    }
    let waiting = || now.events_of(EventKind::Target).into_iter().filter(waits).count();
    until("it waits there", || waiting() > 0);
    load.end();
    assert_eq!(waiting(), 1, "no try has failed since");
    let copied = copy.join().unwrap();
    let (first, count) = (copied.numbers[0], copied.numbers.len() as u32);
    assert!(copied.whole && first.is_multiple_of(10), "from {first}");
    assert_eq!(copied.numbers, (first..first + count).collect::<Vec<_>>());
    assert_eq!(publishers(), 1, "it was one connection");
}

#[test]
fn a_connected_source_goes_along_on_its_connection() {
    let origin = Live::new(ServerConfig::default());
    let mut now = Live::new(ServerConfig::default());
    let stream = now.server.stream_create(b"live", b"copy", None).unwrap();
    let url = format!("rtmp://127.0.0.1:{}/live/show0", origin.port);
    now.server.source_add(stream, TargetConfig { url, ..TargetConfig::default() }).unwrap();
    let copy = playing(now.play("copy"));
    let load = Load::on(origin.port, 1, 1, 5);
    until("media comes from it", || now.server.stats(stream).unwrap().msgs_out > 0);
    let plays = |event: &Event| event.role == Role::Player && event.state == State::InProgress;
    let players = || origin.events_of(EventKind::Session).into_iter().filter(plays).count();
    for _ in 0..5 {
        let next = Live::new(ServerConfig::default());
        assert_eq!(hand_over(&now, &next), (Ok(()), Ok(())));
        let ended = |event: &Event| event.flags & flag::LAST != 0;
        let ends = || now.events_of(EventKind::Target).into_iter().filter(ended).map(|event| event.error);
        until("the old one has none", || ends().count() == 1);
        assert_eq!(ends().collect::<Vec<_>>(), [None], "it goes on elsewhere");
        now = next;
        let before = now.server.stats(0).unwrap().msgs_out;
        until("media comes from it", || now.server.stats(0).unwrap().msgs_out > before);
    }
    load.end();
    let copied = copy.join().unwrap();
    let (first, count) = (copied.numbers[0], copied.numbers.len() as u32);
    assert!(copied.whole && first.is_multiple_of(10), "from {first}");
    assert_eq!(copied.numbers, (first..first + count).collect::<Vec<_>>());
    assert_eq!(players(), 2, "one of them is the source, over one connection");
}

/// The other end of a hand-over, byte by byte.
struct Fake(UnixStream);

fn head(kind: u8, bytes: usize) -> Vec<u8> {
    [&[kind, 0, 0, 0][..], &(bytes as u32).to_be_bytes()].concat()
}

impl Fake {
    fn send(&mut self, kind: u8, body: &[u8]) {
        self.0.write_all(&[&head(kind, body.len()), body].concat()).unwrap();
    }

    /// The next message; descriptors beside it are dropped. `None` at the end.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 8];
        self.0.read_exact(&mut head).ok()?;
        let mut body = vec![0; u32::from_be_bytes(head[4..].try_into().unwrap()) as usize];
        self.0.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }
}

/// Hands a server over to a successor that does this; what the server says.
fn hand_over_to(live: &Live, within_ms: u32, successor: impl FnOnce(Fake) + Send) -> Failure {
    let (ours, theirs) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| successor(Fake(theirs)));
        live.server.hand_over(ours.into(), within_ms, DRAIN_MS).unwrap_err()
    })
}

#[test]
fn where_the_successor_fails_at_any_step_all_goes_on_as_before() {
    let live = Live::new(ServerConfig::default());
    let load = Load::on(live.port, 2, 2, 5);
    until("media flows", || live.server.stats(0).unwrap().msgs_out > 50);
    until("the host was told of it all", || {
        let runs = |kind| live.events_of(kind).iter().filter(|event| event.state == State::InProgress).count();
        let tracks = live.events_of(EventKind::Tracks).len();
        (runs(EventKind::Server), runs(EventKind::Stream), runs(EventKind::Session), tracks) == (1, 2, 2 + 4, 2)
    });
    let before = live.events.lock().unwrap().len();
    // A listener, two streams, two publishers, four players, the end; then it could say that it is ready.
    let mut steps = 0;
    for last in 0.. {
        let mut ended = false;
        let failure = hand_over_to(&live, WITHIN_MS, |mut fake| {
            fake.send(HELLO, NEWER);
            assert_eq!(fake.next().unwrap().0, HELLO);
            for _ in 0..last {
                ended |= fake.next().unwrap().0 == END;
            }
        });
        assert_eq!(failure.kind, RRError::Closed, "at step {last}: {failure}");
        steps = last;
        if ended {
            break;
        }
    }
    assert_eq!(steps, 1 + 2 + 2 + 4 + 1);
    let refused = hand_over_to(&live, WITHIN_MS, |mut fake| {
        fake.send(HELLO, NEWER);
        while fake.next().unwrap().0 != END {}
        fake.send(REFUSED, b"RRno\x01\x82\x27\x64full");
        assert_eq!(fake.next(), None);
    });
    assert_eq!((refused.kind, &*refused.text), (RRError::Limit, "the successor refused: full"));
    let garbage = [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\x01\0\0\0\0\0\0\x04RRup", b"\x63\0\0\0\0\0\0\0"];
    for said in garbage {
        let failure = hand_over_to(&live, WITHIN_MS, |mut fake| {
            fake.0.write_all(said).unwrap();
            while fake.next().is_some() {}
        });
        assert!(matches!(failure.kind, RRError::Arg | RRError::Protocol), "{failure}");
    }
    for stays in [false, true] {
        let failure = hand_over_to(&live, WITHIN_MS, |mut fake| {
            // It says that it is ready before it can have anything.
            fake.0.write_all(&[&head(HELLO, NEWER.len())[..], NEWER, &head(READY, 0)].concat()).unwrap();
            while stays && fake.next().is_some() {}
        });
        assert!(matches!(failure.kind, RRError::Protocol | RRError::Closed), "{failure}");
        assert!(!stays || failure.text.contains("before it has everything"), "{failure}");
    }
    for answers in [false, true] {
        let failure = hand_over_to(&live, 200, |mut fake| {
            if answers {
                fake.send(HELLO, NEWER);
            }
            while fake.next().is_some() {}
        });
        assert_eq!(failure.kind, RRError::Timeout, "{failure}");
    }
    let (ours, _theirs) = UnixStream::pair().unwrap();
    assert_eq!(live.server.hand_over(ours.into(), 0, DRAIN_MS).unwrap_err().kind, RRError::Arg);
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(live.server.hand_over(file.into(), 1, DRAIN_MS).unwrap_err().kind, RRError::Arg);
    let seen = live.events.lock().unwrap()[before..].to_vec();
    assert!(seen.is_empty(), "the host has seen of it: {seen:?}");
    // It can be handed over still.
    let there = Live::new(ServerConfig::default());
    assert_eq!(hand_over(&live, &there), (Ok(()), Ok(())));
    load.end();
}

#[test]
fn an_older_successor_gets_the_listening_sockets_and_the_rest_drains() {
    let live = Live::new(ServerConfig::default());
    let (mut publisher, mut player) = (live.publish("show"), live.play("show"));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut fake = Fake(theirs);
    std::thread::scope(|scope| {
        let handed = scope.spawn(|| live.server.hand_over(ours.into(), WITHIN_MS, DRAIN_MS));
        fake.send(HELLO, OLDER);
        assert_eq!([(); 3].map(|()| fake.next().unwrap().0), [HELLO, LISTENER, END]);
        fake.send(READY, b"");
        assert_eq!(handed.join().unwrap(), Ok(()));
    });
    live.line_with(&["successor is older"]);
    until("it listens no more", || live.server.listeners().is_empty());
    assert_eq!(live.server.state(), State::Stopping);
    // Its streams go on until they are gone, or the time is over.
    publisher.key_frame(0, b"picture").unwrap();
    assert_eq!(player.message().1[5..], *b"picture");
    drop((publisher, player));
    until("all have gone", || live.server.state() == State::Stopped);
}

#[test]
fn what_a_successor_cannot_take_stays_whole() {
    let here = Live::new(ServerConfig::default());
    let load = Load::on(here.port, 2, 2, 5);
    // There is room for some of the sessions, not for all.
    let there = Live::new(ServerConfig { max_sessions: 5, ..ServerConfig::default() });
    let (handed, taken) = hand_over(&here, &there);
    let (handed, taken) = (handed.unwrap_err(), taken.unwrap_err());
    assert_eq!((handed.kind, taken.kind), (RRError::Limit, RRError::Limit), "{handed}");
    assert!(handed.text.contains("max_sessions (5) is reached"), "{handed}");
    assert_eq!(there.sessions(), 0);
    // It is free for another server.
    until("its streams are gone", || there.server.list(0, ids::STREAM).unwrap().is_empty());
    there.publish("show0");
    load.end();
}

#[test]
fn a_predecessor_that_sends_anything_else_gives_nothing() {
    let live = Live::new(ServerConfig::default());
    let take_over = |said: &[u8]| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (&ours).write_all(said).unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        live.server.take_over(theirs.into(), WITHIN_MS).unwrap_err()
    };
    assert_eq!(take_over(b"").kind, RRError::Closed);
    assert_eq!(take_over(b"\x01\0").kind, RRError::Closed);
    assert_eq!(take_over(b"GET / HTTP/1.1\r\n\r\n").kind, RRError::Arg);
    assert_eq!(take_over(b"\x02\0\0\0\0\0\0\0").kind, RRError::Protocol);
    assert_eq!(take_over(b"\x01\0\0\0\xff\xff\xff\xff").kind, RRError::Limit);
    assert_eq!(take_over(&[b"\x01\0\0\0\0\0\0\x0a", OLDER].concat()).kind, RRError::Arg, "no descriptor");
    let (_silent, theirs) = UnixStream::pair().unwrap();
    assert_eq!(live.server.take_over(theirs.into(), 50).unwrap_err().kind, RRError::Timeout);
    assert_eq!(live.sessions(), 0);
}

#[test]
fn a_session_with_an_open_question_asks_it_again_there() {
    let asking = || Live::new(ServerConfig { ask: ask::ALL, ask_ms: u32::MAX, ..ServerConfig::default() });
    let (here, there) = (asking(), asking());
    let mut client = live::raw(here.port);
    live::handshake(&mut client);
    client.write_all(&live::connect()).unwrap();
    until("it asks", || here.events_of(EventKind::ConnectAsk).len() == 1);
    assert_eq!(hand_over(&here, &there), (Ok(()), Ok(())));
    until("it asks again", || there.events_of(EventKind::ConnectAsk).len() == 1);
    let question = &there.events_of(EventKind::ConnectAsk)[0];
    assert_eq!((question.role, question.addr.clone()), (Role::None, client.local_addr().unwrap().to_string().into()));
    there.server.session_allow(question.session, rrelay::config::Decision::default()).unwrap();
    let mut answer = [0; 1];
    client.read_exact(&mut answer).unwrap();
}
