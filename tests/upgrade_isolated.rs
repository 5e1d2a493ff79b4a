//! A server whose streams run in processes of their own is replaced by another one, which takes the processes over: media
//! goes on in them, whatever becomes of the two servers.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/c.rs"]
mod c;
#[path = "support/isolated.rs"]
mod isolated;
#[path = "support/live.rs"]
mod live;
#[path = "support/load.rs"]
mod load;
#[path = "support/moving.rs"]
mod moving;
#[path = "support/secure.rs"]
mod secure;

use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use isolated::{crash, isolated, kill, taken, worker_of, workers};
use live::{Client, Live, command, connect, message, shaken, until};
use load::{Load, playing};
use rrelay::config::{ServerConfig, TargetConfig};
use rrelay::error::{Failure, RRError};
use rrelay::proto::amf0::Value;
use rrelay::proto::chunk_write;
use rrelay::proto::message::{MessageHead, kind};
use rrelay::server::{Event, EventKind, ListenOptions, Role, State, flag, kind as ids};
use rrelay::session::{Event as Said, SessionConfig};
use secure::Papers;

const WITHIN_MS: u32 = 30_000;
const DRAIN_MS: u32 = 30_000;

/// Numbers of messages (`server/upgrade/wire.rs`).
const HELLO: u8 = 1;
const END: u8 = 2;
const CHANNEL: u8 = 23;
const REFUSED: u8 = 4;

/// The greeting of a successor that takes workers.
const TAKES: &[u8] = b"RRup\x01\x81\x84\x82\x10\x19\xff\xff\x82\x12\x19\xff\xff\x82\x13\x19\xff\xff\x82\x14\x05";

/// The tests look at all processes of this one, so there is one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands one server over to another one; what the two calls say.
fn hand_over(here: &Live, there: &Live) -> (Result<(), Failure>, Result<(), Failure>) {
    moving::hand_over(&here.server, &there.server)
}

/// The causes of the ends of these objects at a server.
fn ends(live: &Live, kind: EventKind) -> Vec<Option<RRError>> {
    let ends = live.events_of(kind).into_iter().filter(|event| event.flags & flag::LAST != 0);
    ends.map(|event| event.error).collect()
}

#[test]
fn processes_go_on_through_upgrades_in_a_row_with_their_publishers_players_and_pushes() {
    let _alone = alone();
    let (streams, players) = (3, 3);
    let sink = Live::new(ServerConfig::default());
    let mut now = Live::new(isolated());
    let port = now.port;
    let target = |url| TargetConfig { url, retry_min_ms: 60_000, retry_max_ms: 60_000, ..TargetConfig::default() };
    let stream = now.server.stream_create(b"live", b"show0", None).unwrap();
    let push = now.server.target_add(stream, target(format!("rtmp://127.0.0.1:{}/live/copy", sink.port))).unwrap();
    // Nobody listens there.
    now.server.target_add(stream, target("rtmp://127.0.0.1:1/live".to_owned())).unwrap();
    let copy = playing(sink.play("copy"));
    let load = Load::on(now.port, streams, players, 5);
    let waits = |event: &Event| event.state == State::Recovering;
    until("one waits", || now.events_of(EventKind::Target).iter().any(waits));
    let publishes = |event: &Event| event.role == Role::Publisher && event.state == State::InProgress;
    let publishers = || sink.events_of(EventKind::Session).into_iter().filter(publishes).count();
    // One that is just being connected would be connected anew.
    until("one pushes", || now.server.info(push).unwrap().state == State::InProgress);
    let processes = workers();
    assert_eq!(processes.len(), streams);
    let mut newcomers = Vec::new();
    for turn in 0..3 {
        let next = Live::new(isolated());
        assert_eq!(hand_over(&now, &next), (Ok(()), Ok(())));
        let has_stopped = |event: &Event| event.state == State::Stopped;
        until("the old one has stopped", || now.events_of(EventKind::Server).iter().any(has_stopped));
        assert_eq!(
            ends(&now, EventKind::Session),
            vec![None; streams * (1 + players) + turn],
            "each goes on elsewhere"
        );
        assert_eq!(ends(&now, EventKind::Target), [None, None]);
        assert_eq!(workers(), processes);
        assert_eq!(next.sessions() as usize, streams * (1 + players) + turn);
        let stream = next.server.stream_find(b"live", b"show0").unwrap();
        until("what is known of the stream", || {
            let info = next.server.info(stream).unwrap();
            info.state == State::InProgress && info.track_count == 1 && next.server.stats(stream).unwrap().msgs_in > 0
        });
        let targets = next.server.list(stream, ids::TARGET).unwrap();
        let states: Vec<State> = targets.iter().map(|&id| next.server.info(id).unwrap().state).collect();
        assert_eq!(states.len(), 2);
        assert!(states.contains(&State::InProgress) && states.contains(&State::Recovering), "{states:?}");
        // Newcomers go to the same process.
        newcomers.push(playing(Client::new(port, "show0", false)));
        until("it plays", || next.sessions() as usize == streams * (1 + players) + turn + 1);
        now = next;
    }
    load.end();
    for played in newcomers.into_iter().chain([copy]) {
        let played = played.join().unwrap();
        let first = played.numbers[0];
        assert!(played.whole && first.is_multiple_of(10));
        assert_eq!(played.numbers, (first..first + played.numbers.len() as u32).collect::<Vec<_>>());
    }
    assert_eq!(publishers(), 1, "it was one connection");
    assert_eq!(now.server.worker_counts().unwrap().crashed, 0);
    // The processes end with their last server.
    now.server.stop(None, 0).unwrap();
    until("the processes have ended", || workers().is_empty());
    assert_eq!(now.lines_with("its worker"), 0, "{:?}", now.lines.lock().unwrap());
}

#[test]
fn a_session_of_a_process_that_was_taken_over_is_the_new_servers_in_all_that_follows() {
    let _alone = alone();
    let (here, there, third) = (Live::new(isolated()), Live::new(isolated()), Live::new(isolated()));
    let mut publisher = here.publish("show");
    let (mut one, mut other) = (here.play("show"), here.play("show"));
    publisher.key_frame(0, b"first").unwrap();
    assert_eq!(
        (one.message().1[5..].to_vec(), other.message().1[5..].to_vec()),
        (b"first".to_vec(), b"first".to_vec())
    );
    let process = worker_of(&publisher);
    assert_eq!(hand_over(&here, &there), (Ok(()), Ok(())));
    let stream = there.server.stream_find(b"live", b"show").unwrap();
    let sessions = there.server.list(stream, ids::SESSION).unwrap();
    let infos: Vec<_> = sessions.iter().map(|&id| there.server.info(id).unwrap()).collect();
    let roles: Vec<_> = infos.iter().map(|info| (info.role, info.addr.clone())).collect();
    let wanted = [(Role::Publisher, publisher.addr()), (Role::Player, one.addr()), (Role::Player, other.addr())];
    assert_eq!(roles, wanted, "in the order in which they came");
    assert!(infos.iter().all(|info| info.state == State::InProgress && info.key == b"show"), "{infos:?}");

    there.server.session_close(sessions[1], "enough", 0).unwrap();
    one.closed();
    assert_eq!(there.end_of(&one.addr()).error, Some(RRError::Kicked));
    let _second = third.publish("show");
    let (fd, state) = moving::session(&there.server, sessions[2]);
    third.server.session_import(fd, &state).unwrap();
    until("it plays there", || third.sessions() == 2);
    drop(publisher);
    until("the end of the stream", || there.server.stream_find(b"live", b"show").is_err());
    until("the end of the process", || !workers().contains(&process));
    assert_eq!(there.lines_with("its worker"), 0, "{:?}", there.lines.lock().unwrap());
}

#[test]
fn a_process_that_crashes_after_it_was_taken_over_is_noticed_and_counted() {
    let _alone = alone();
    let (here, there) = (Live::new(isolated()), Live::new(isolated()));
    let (mut publisher, mut player) = (here.publish("show"), here.play("show"));
    publisher.key_frame(0, b"first").unwrap();
    player.message();
    let process = worker_of(&publisher);
    assert_eq!(hand_over(&here, &there), (Ok(()), Ok(())));
    kill(process);
    player.closed();
    for addr in [player.addr(), publisher.addr()] {
        assert_eq!(there.end_of(&addr).error, Some(RRError::Worker));
    }
    there.line_with(&["its worker was ended", "its connections are closed"]);
    assert_eq!(there.server.worker_counts().unwrap().crashed, 1);
    assert_ne!(worker_of(&taken(here.port)), process);
}

#[test]
fn crashes_in_a_row_are_counted_on_by_the_new_server() {
    let _alone = alone();
    let (here, there) = (Live::new(isolated()), Live::new(isolated()));
    let mut publisher = taken(here.port);
    for _ in 0..2 {
        kill(worker_of(&publisher));
        publisher.closed();
        publisher = taken(here.port);
    }
    assert_eq!(hand_over(&here, &there), (Ok(()), Ok(())));
    assert_eq!(crash(publisher, here.port, worker_of), 3);
}

#[test]
fn a_session_that_comes_back_from_its_process_in_a_larger_message_than_the_new_server_takes_goes_on() {
    const CHUNK: usize = 4096;
    let _alone = alone();
    let here = Live::new(isolated());
    let there = Live::new(ServerConfig { max_message_bytes: 4096, ..isolated() });
    let mut socket = shaken(here.port);
    let create = |transaction| command(0, "createStream", transaction, &[Value::Null]);
    let size = message(kind::SET_CHUNK_SIZE, 0, 2, &(CHUNK as u32).to_be_bytes());
    let publish = command(1, "publish", 4.0, &[Value::Null, Value::String(b"show"), Value::Null]);
    socket.write_all(&[connect(), create(2.0), create(3.0), publish, size].concat()).unwrap();
    let body = [&[0x17, 1, 0, 0, 0][..], &[7; 10 * CHUNK]].concat();
    let head =
        MessageHead { timestamp_ms: 0, type_id: kind::VIDEO, stream_id: 1, len: body.len() as u32, chunk_stream: 6 };
    let mut wire = Vec::new();
    chunk_write::encode(&head, &body, CHUNK as u32, &mut wire);
    // Its first header has twelve bytes, and each later chunk one before it.
    let (half, rest) = wire.split_at(12 + CHUNK + 3 * (1 + CHUNK));
    socket.write_all(half).unwrap();
    until("half of the message has come", || {
        let sessions = here.server.list(0, ids::SESSION).unwrap();
        sessions.first().is_some_and(|id| here.server.stats(*id).unwrap().bytes_in > half.len() as u64)
    });
    assert_eq!(hand_over(&here, &there), (Ok(()), Ok(())));
    socket.write_all(&command(0, "deleteStream", 5.0, &[Value::Null, Value::Number(1.0)])).unwrap();
    until("it publishes no more", || there.server.stream_find(b"live", b"show").is_err());
    let again = command(2, "publish", 6.0, &[Value::Null, Value::String(b"again"), Value::Null]);
    socket.write_all(&[rest, &again].concat()).unwrap();
    let mut player = there.play("again");
    let picture = b"\x17\x01\0\0\0picture";
    socket.write_all(&message(kind::VIDEO, 2, 6, picture)).unwrap();
    assert_eq!(player.message().1, picture);
    assert_eq!(there.sessions(), 2);
    assert!(ends(&there, EventKind::Session).is_empty());
}

/// The other end of a hand-over, byte by byte.
struct Fake(UnixStream);

impl Fake {
    fn send(&mut self, kind: u8, body: &[u8]) {
        self.0.write_all(&[&[kind, 0, 0, 0][..], &(body.len() as u32).to_be_bytes(), body].concat()).unwrap();
    }

    /// The kind of the next message; descriptors beside it are dropped. `None` at the end.
    fn next(&mut self) -> Option<u8> {
        let mut head = [0; 8];
        self.0.read_exact(&mut head).ok()?;
        let mut body = vec![0; u32::from_be_bytes(head[4..].try_into().unwrap()) as usize];
        self.0.read_exact(&mut body).ok()?;
        Some(head[0])
    }
}

/// Hands a server over to a successor that greets and then does this; what the server says.
fn hand_over_to(live: &Live, within_ms: u32, successor: impl FnOnce(Fake) + Send) -> Failure {
    let (ours, theirs) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut fake = Fake(theirs);
            fake.send(HELLO, TAKES);
            assert_eq!(fake.next(), Some(HELLO));
            successor(fake);
        });
        live.server.hand_over(ours.into(), within_ms, DRAIN_MS).unwrap_err()
    })
}

#[test]
fn where_the_successor_fails_at_any_step_the_processes_stay_with_their_server() {
    let _alone = alone();
    let live = Live::new(isolated());
    let load = Load::on(live.port, 2, 2, 5);
    until("media flows", || live.server.stats(0).unwrap().msgs_out > 50);
    until("the host was told of all", || {
        live.events_of(EventKind::Session).iter().filter(|event| event.state == State::InProgress).count() == 2 + 4
    });
    let (before, processes) = (live.events_of(EventKind::Session).len(), workers());
    let mut channels = 0;
    for last in 0.. {
        let mut ended = false;
        let failure = hand_over_to(&live, WITHIN_MS, |mut fake| {
            channels = 0;
            for _ in 0..last {
                let kind = fake.next();
                ended |= kind == Some(END);
                channels += usize::from(kind == Some(CHANNEL));
            }
        });
        assert_eq!(failure.kind, RRError::Closed, "at step {last}: {failure}");
        if ended {
            break;
        }
    }
    assert_eq!(channels, 2, "the processes were offered");
    let refused = hand_over_to(&live, WITHIN_MS, |mut fake| {
        while fake.next() != Some(END) {}
        fake.send(REFUSED, b"RRno\x01\x82\x27\x64full");
        assert_eq!(fake.next(), None);
    });
    assert_eq!((refused.kind, &*refused.text), (RRError::Limit, "the successor refused: full"));
    let late = hand_over_to(&live, 2_000, |mut fake| while fake.next().is_some() {});
    assert_eq!(late.kind, RRError::Timeout, "{late}");
    // One that has no room for all.
    let there = Live::new(ServerConfig { max_sessions: 5, ..isolated() });
    let (handed, taken) = hand_over(&live, &there);
    assert_eq!((handed.unwrap_err().kind, taken.unwrap_err().kind), (RRError::Limit, RRError::Limit));
    assert_eq!((there.sessions(), workers()), (0, processes.clone()));
    assert_eq!(live.events_of(EventKind::Session).len(), before, "the host has seen nothing of it");
    // It can be handed over still.
    let there = Live::new(isolated());
    assert_eq!(hand_over(&live, &there), (Ok(()), Ok(())));
    assert_eq!(workers(), processes);
    load.end();
}

#[test]
fn a_successor_whose_streams_run_otherwise_gets_the_listening_sockets_and_the_rest_drains() {
    let _alone = alone();
    for (here, there) in [(isolated(), ServerConfig::default()), (ServerConfig::default(), isolated())] {
        let (here, there) = (Live::new(here), Live::new(there));
        let (mut publisher, mut player) = (here.publish("show"), here.play("show"));
        assert_eq!(hand_over(&here, &there), (Ok(()), Ok(())));
        here.line_with(&["isolate", "drain"]);
        publisher.key_frame(0, b"picture").unwrap();
        assert_eq!(player.message().1[5..], *b"picture");
        assert_eq!((here.sessions(), there.sessions()), (2, 0));
        drop((publisher, player));
        until("all have gone", || here.server.state() == State::Stopped);
    }
}

#[test]
fn tls_stays_with_the_server_that_has_the_keys_until_its_peers_have_gone() {
    let _alone = alone();
    let papers = Papers::new("upgrade-isolated");
    let (here, there) = (Live::new(isolated()), Live::new(isolated()));
    let options = ListenOptions { tls: true, ..ListenOptions::default() };
    there.server.set_tls(&papers.certificate, &papers.key).unwrap();
    here.server.set_tls(&papers.certificate, &papers.key).unwrap();
    let port = here.server.listen("127.0.0.1:0", options).unwrap();
    let mut publisher = here.publish("show");
    let able = SessionConfig::from(&ServerConfig::default());
    let mut player = secure::connect_as(&able, &secure::trusting(), port, "show", false);
    let (mut scratch, mut asked) = (vec![0; 65_536], false);
    let mut gets = |publisher: &mut Client, number: u32| {
        publisher.key_frame(number * 40, &number.to_be_bytes()).unwrap();
        let mut got = false;
        until("the player over TLS gets it", || {
            let pumped = player.pump(&mut scratch, 0, 1 << 20, false, |event, message| {
                asked |= matches!(event, Said::Reconnect { .. });
                got |= matches!(event, Said::Message(_)) && message.ends_with(&number.to_be_bytes());
                ControlFlow::Continue(())
            });
            assert!(pumped.is_ok(), "{number}: {pumped:?}");
            got
        });
        asked
    };
    gets(&mut publisher, 1);
    assert_eq!(hand_over(&here, &there), (Ok(()), Ok(())));
    let mut number = 1;
    until("it is asked to reconnect", || {
        number += 1;
        gets(&mut publisher, number)
    });
    assert_eq!((here.server.state(), here.sessions(), there.sessions()), (State::Stopping, 0, 2));
    drop(player);
    until("it has gone", || there.sessions() == 1);
    until("nobody needs the old one", || here.server.state() == State::Stopped);
}
