//! Sessions go on in another server in the middle of running media: what arrives in the old server and in the new one
//! together is what was sent, each message once.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;
#[path = "support/load.rs"]
mod load;
#[path = "support/moving.rs"]
mod moving;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use live::{Client, Live, command, connect, message, shaken, some_of, until};
use load::Load;
use moving::picture;
use rrelay::config::{PublisherPolicy, ServerConfig, StreamConfig};
use rrelay::error::RRError;
use rrelay::proto::amf0::Value;
use rrelay::proto::chunk_read::{ChunkReader, ReadLimits};
use rrelay::proto::message::{MessageHead, kind};
use rrelay::server::{Event, EventKind, Id, StreamExport, flag};
use rrelay::session::{Role, State};

/// A message as a player gets it: type, time, body.
type Got = (u8, u32, Vec<u8>);

const END: &[u8] = b"\xaf\x01the end";

/// Bytes of a client's side of the handshake.
const HANDSHAKE_BYTES: u64 = 1 + 1536 + 1536;

const CHUNK_SIZE: usize = 32;

/// The chunks of one message, the first of them with a header of this type. The fields of the header stand in `fields`.
fn chunks(fmt: u8, chunk_stream: u8, fields: &[&[u8]], body: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = body.chunks(CHUNK_SIZE).map(|part| [&[0xC0 | chunk_stream], part].concat()).collect();
    let first = body.get(..CHUNK_SIZE).unwrap_or(body);
    all[0] = [&[fmt << 6 | chunk_stream][..], &fields.concat(), first].concat();
    all
}

fn u24(number: usize) -> [u8; 3] {
    [(number >> 16) as u8, (number >> 8) as u8, number as u8]
}

/// Headers and media in chunks that lean on those before, of two messages in turn.
fn media() -> Vec<u8> {
    let full = |chunk_stream, type_id: u8, time, body: &[u8]| {
        let fields = [&u24(time)[..], &u24(body.len()), &[type_id], &[1, 0, 0, 0]];
        chunks(0, chunk_stream, &fields, body).concat()
    };
    let later = |chunk_stream, type_id: u8, delta, body: &[u8]| {
        chunks(1, chunk_stream, &[&u24(delta), &u24(body.len()), &[type_id]], body)
    };
    let metadata = b"\x02\0\x0aonMetaData\x08\0\0\0\0\0\0\x09";
    let picture = later(6, kind::VIDEO, 40, b"\x17\x01\0\0\0 a key frame of more than one chunk of its size");
    let sounds = [
        later(4, kind::AUDIO, 23, b"\xaf\x01the first sound").concat(),
        chunks(2, 4, &[&u24(24)], b"\xaf\x01the other one!!").concat(),
        chunks(3, 4, &[], b"\xaf\x01and one of them").concat(),
    ];
    [
        full(5, kind::DATA, 0, metadata),
        full(6, kind::VIDEO, 1_000, b"\x17\0\0\0\0avcC"),
        full(4, kind::AUDIO, 1_000, b"\xaf\0\x12\x10"),
        picture[0].clone(),
        sounds[0].clone(),
        picture[1..].concat(),
        sounds[1].clone(),
        later(6, kind::VIDEO, 40, b"\x27\x01\0\0\0 another, which is none").concat(),
        sounds[2].clone(),
        full(4, kind::AUDIO, 1_100, END),
    ]
    .concat()
}

/// The messages that these bytes hold whole.
fn messages_in(wire: &[u8]) -> Vec<Got> {
    let limits = ReadLimits { max_message: 1 << 20, max_open_bytes: 1 << 20, max_chunk_streams: 8 };
    let (mut reader, mut at, mut all) = (ChunkReader::new(limits), 0, Vec::new());
    while let Some(head) = reader.next(wire, &mut at).unwrap() {
        all.push((head.type_id, head.timestamp_ms, reader.body(wire).to_vec()));
    }
    all.retain(|(type_id, ..)| matches!(*type_id, kind::AUDIO | kind::VIDEO | kind::DATA));
    all
}

fn chunk_size() -> Vec<u8> {
    message(kind::SET_CHUNK_SIZE, 0, 2, &(CHUNK_SIZE as u32).to_be_bytes())
}

fn is_header((type_id, _, body): &Got) -> bool {
    *type_id == kind::DATA || body.get(1) == Some(&0)
}

/// Whether a player's message is a publisher's, and none that the server says by itself.
fn is_media((head, body): &(MessageHead, Vec<u8>)) -> bool {
    head.type_id != kind::DATA || !body.windows(9).any(|word| word == b"SampleAcc")
}

/// The media that has come to a player so far, once there are so many messages of it.
fn received(player: &mut Client, count: usize) -> Vec<Got> {
    until("media comes", || {
        player.messages.iter().filter(|message| is_media(message)).count() >= count || {
            player.turn(Duration::from_millis(20)).unwrap();
            false
        }
    });
    let media = player.messages.iter().filter(|message| is_media(message));
    media.map(|(head, body)| (head.type_id, head.timestamp_ms, body.clone())).collect()
}

/// The session of this role on the stream of that key that has not ended.
fn session_of(live: &Live, role: Role, key: &str) -> Id {
    let mut found = None;
    until("it is there", || {
        let events = live.events_of(EventKind::Session);
        let ended = |id| events.iter().any(|event| event.session == id && event.flags & flag::LAST != 0);
        let is_wanted = |event: &&Event| event.role == role && event.key == key.as_bytes() && !ended(event.session);
        found = events.iter().rev().find(is_wanted).map(|event| event.session);
        found.is_some()
    });
    found.unwrap()
}

/// A publisher of this name, before its first message, and how many bytes it has sent.
fn publisher(live: &Live, key: &str) -> (TcpStream, u64) {
    let mut socket = shaken(live.port);
    let values = [Value::Null, Value::String(key.as_bytes()), Value::String(b"live")];
    let publish = command(1, "publish", 3.0, &values);
    let said = [connect(), command(0, "createStream", 2.0, &[Value::Null]), publish, chunk_size()].concat();
    socket.write_all(&said).unwrap();
    (socket, HANDSHAKE_BYTES + said.len() as u64)
}

#[test]
fn a_publisher_goes_on_elsewhere_from_each_byte_of_its_media() {
    let (here, there) = (Live::new(ServerConfig::default()), Live::new(ServerConfig::default()));
    let media = media();
    let all = messages_in(&[chunk_size(), media.clone()].concat());
    assert_eq!(all.len(), 9);
    for cut in (0..=media.len()).step_by(some_of(1)) {
        let key = format!("show{cut}");
        let (mut before, mut after) = (here.play(&key), there.play(&key));
        let (mut socket, said) = publisher(&here, &key);
        socket.write_all(&media[..cut]).unwrap();
        let session = session_of(&here, Role::Publisher, &key);
        until("all is read", || here.server.stats(session).unwrap().bytes_in == said + cut as u64);
        let (fd, state) = moving::session(&here.server, session);
        there.server.session_import(fd, &state).unwrap();
        socket.write_all(&media[cut..]).unwrap();

        let count = messages_in(&[chunk_size(), media[..cut].to_vec()].concat()).len();
        let (old, rest) = all.split_at(count);
        // In the new log its headers stand before what comes next.
        let headers = || old.iter().filter(|message| is_header(message) && !rest.is_empty());
        let new = received(&mut after, headers().count() + rest.len());
        let (kept, new) = new.split_at(headers().count());
        let bodies = |(type_id, _, body): &Got| (*type_id, body.clone());
        assert_eq!(kept.iter().map(bodies).collect::<Vec<_>>(), headers().map(bodies).collect::<Vec<_>>(), "at {cut}");
        assert_eq!((&received(&mut before, count)[..], new), (old, rest), "cut at {cut}");
        here.events.lock().unwrap().clear();
    }
}

#[test]
fn a_stream_has_lost_a_publisher_that_went_and_the_one_there_takes_it_as_it_takes_any() {
    let lasting = StreamConfig { grace_ms: 60_000, ..StreamConfig::default() };
    let here = Live::new(ServerConfig { stream: Arc::new(lasting), ..ServerConfig::default() });
    let there = Live::new(ServerConfig::default());
    // A publisher that has gone, of whose stream the next one has the place.
    let gone = |key: &str| {
        let (mut publisher, mut player) = (here.publish(key), here.play(key));
        publisher.key_frame(0, b"here").unwrap();
        assert_eq!(player.message().1[5..], *b"here");
        let session = session_of(&here, Role::Publisher, key);
        let stream = here.server.stream_find(b"live", key.as_bytes()).unwrap();
        until("it is counted", || here.server.stats(session).unwrap().msgs_in == 1);
        let before = here.server.stats(session).unwrap();
        let (fd, state) = moving::session(&here.server, session);
        let end = here.end_of(&publisher.addr());
        let facts = (end.role, end.state, end.error, end.flags, end.stream);
        assert_eq!(facts, (Role::Publisher, State::Stopped, None, flag::LAST, stream));
        assert_eq!(end.text, b"handed over to another process");
        assert_eq!(here.server.info(stream).unwrap().state, State::Recovering, "its place is kept");
        // The player hears of no end, and gets the next one.
        here.publish(key).key_frame(0, b"next").unwrap();
        assert_eq!(player.message().1[5..], *b"next");
        here.server.stream_stop(stream, 0).unwrap();
        until("it has ended", || here.server.info(stream).is_err());
        here.events.lock().unwrap().clear();
        (publisher, fd, state, before)
    };

    let mut first = there.publish("show");
    first.key_frame(0, b"picture").unwrap();
    let (mut refused, fd, state, _) = gone("show");
    assert_eq!(there.server.session_import(fd, &state).unwrap_err().kind, RRError::Exists);
    refused.closed();

    let (mut publisher, fd, state, before) = gone("other");
    there.server.session_import(fd, &state).unwrap();
    publisher.key_frame(40, b"there").unwrap();
    assert_eq!(there.play("other").message().1[5..], *b"there");
    let session = session_of(&there, Role::Publisher, "other");
    until("it is counted, and runs", || {
        let (now, info) = (there.server.stats(session).unwrap(), there.server.info(session).unwrap());
        now.msgs_in == before.msgs_in + 1 && info.state == State::InProgress
    });
    let (now, info) = (there.server.stats(session).unwrap(), there.server.info(session).unwrap());
    assert_eq!((now.started_us, info.addr), (before.started_us, publisher.addr()));

    there.server.session_close(session, "go", 60_000).unwrap();
    publisher.closed();
    let (mut banned, fd, state, _) = gone("other");
    assert_eq!(there.server.session_import(fd, &state).unwrap_err().kind, RRError::Rejected);
    banned.closed();
    assert_eq!(there.sessions(), 1, "the first one");
}

fn numbers(player: &mut Client, count: usize) -> Vec<u32> {
    let media = received(player, count);
    let pictures = media.iter().filter(|(type_id, _, body)| *type_id == kind::VIDEO && body.get(1) == Some(&1));
    pictures.map(|(_, _, body)| u32::from_be_bytes(body[5..9].try_into().unwrap())).collect()
}

/// A stream, and then its publisher and its players, go from one server to another.
fn move_all(here: &Live, there: &Live, key: &str) {
    move_in_order(here, there, key, |sessions| sessions);
}

/// The same with the sessions in another order, or without some.
fn move_in_order(here: &Live, there: &Live, key: &str, order: impl FnOnce(Vec<Id>) -> Vec<Id>) {
    let stream = here.server.stream_find(b"live", key.as_bytes()).unwrap();
    let room = match here.server.stream_export(stream, 0, 60_000).unwrap() {
        StreamExport::Needs(room) => room,
        StreamExport::State(_) => panic!("there was no room"),
    };
    // More may have come since.
    let StreamExport::State(state) = here.server.stream_export(stream, 2 * room, 60_000).unwrap() else {
        panic!("there was room for {room}")
    };
    assert_eq!(there.server.stream_import(&state).map(|id| id != 0), Ok(true));
    assert_eq!(there.server.stream_import(&state).unwrap_err().kind, RRError::Exists);
    let sessions = here.server.list(stream, rrelay::server::kind::SESSION).unwrap();
    for session in order(sessions) {
        let (fd, state) = moving::session(&here.server, session);
        there.server.session_import(fd, &state).unwrap();
    }
    moving::end(&here.server, stream);
}

#[test]
fn a_stream_that_moves_with_all_who_are_on_it_loses_and_repeats_nothing() {
    let patient = StreamConfig { queue_bytes: 64 << 20, queue_ms: 600_000, ..StreamConfig::default() };
    let server = || {
        let stream = Arc::new(patient.clone());
        Live::new(ServerConfig { stream, send_ms: 600_000, ..ServerConfig::default() })
    };
    let servers = [server(), server()];
    let mut publisher = servers[0].publish("show");
    publisher.send(kind::VIDEO, 0, b"\x17\0\0\0\0avcC").unwrap();
    publisher.send(kind::VIDEO, 0, &picture(0, 50_000)).unwrap();
    let mut sent = 1;
    // One that reads, one that reads nothing from here on, so that much is on the way to it, and one that pauses.
    let mut players = [(); 3].map(|()| servers[0].play("show"));
    players.iter_mut().for_each(|player| assert_eq!(numbers(player, 2), [0]));
    let values = [Value::Null, Value::Bool(true), Value::Number(0.0)];
    players[2].socket.write_all(&command(1, "pause", 0.0, &values)).unwrap();
    for turn in 0..6 {
        for _ in 0..40 {
            publisher.send(kind::VIDEO, sent * 10, &picture(sent, 50_000)).unwrap();
            sent += 1;
        }
        let (here, there) = (&servers[turn % 2], &servers[(turn + 1) % 2]);
        numbers(&mut players[0], sent as usize / 2);
        move_all(here, there, "show");
    }
    publisher.send(kind::AUDIO, sent * 10, END).unwrap();
    let values = [Value::Null, Value::Bool(false), Value::Number(0.0)];
    players[2].socket.write_all(&command(1, "pause", 0.0, &values)).unwrap();
    let all: Vec<u32> = (0..sent).collect();
    // The header, the pictures, the end.
    assert_eq!(numbers(&mut players[0], all.len() + 2), all);
    assert_eq!(numbers(&mut players[1], all.len() + 2), all);
    until("the pause is over", || {
        players[2].turn(Duration::from_millis(20)).unwrap();
        players[2].messages.iter().any(|(_, body)| body == END)
    });
    assert_eq!(servers[0].sessions(), 4);
    // Who comes now begins with the cached group, which came along.
    let newest_key = (sent - 1) / 10 * 10;
    let group: Vec<u32> = (newest_key..sent).collect();
    assert_eq!(numbers(&mut servers[0].play("show"), group.len() + 2), group);
}

fn publishes(live: &Live, session: Id) -> bool {
    live.server.info(session).unwrap().role == Role::Publisher
}

/// A server where a second publisher stands by.
fn standing_by() -> Live {
    let stream = StreamConfig { publisher_policy: PublisherPolicy::Standby, ..StreamConfig::default() };
    Live::new(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() })
}

#[test]
fn a_stream_moves_with_one_that_stands_by_and_its_player_hears_of_no_end() {
    let (here, there) = (standing_by(), standing_by());
    for publisher_last in [false, true] {
        moves_with_a_standby(&here, &there, publisher_last);
        // What is told of this turn does not count for the next.
        until("the stream is over, and this has been told", || {
            there.events_of(EventKind::Stream).iter().any(|event| event.flags & flag::LAST != 0)
        });
        there.events.lock().unwrap().clear();
    }
}

fn moves_with_a_standby(here: &Live, there: &Live, publisher_last: bool) {
    // Arguments are no path, whatever they look like.
    let mut publisher = here.publish("show?next=/a/../b");
    publisher.key_frame(0, b"first").unwrap();
    let mut standby = here.publish("show");
    let mut player = here.play("show");
    assert_eq!(player.message().1[5..], *b"first");
    move_in_order(here, there, "show", |mut sessions| {
        sessions.sort_by_key(|&session| publishes(here, session) == publisher_last);
        sessions
    });
    publisher.key_frame(40, b"second").unwrap();
    assert_eq!(player.message().1[5..], *b"second");
    drop(publisher);
    // What it sends before the publisher is known to be gone is not relayed.
    let mut at_ms = 40;
    until("the standby follows", || {
        at_ms += 40;
        standby.key_frame(at_ms, b"third").unwrap();
        player.turn(Duration::from_millis(20)).unwrap();
        player.messages.drain(..).any(|(_, body)| body.ends_with(b"third"))
    });
}

#[test]
fn one_that_stood_by_gets_the_place_of_a_publisher_that_does_not_come() {
    let (here, there) = (standing_by(), standing_by());
    let _publisher = here.publish("show");
    let mut standby = here.publish("show");
    let mut player = here.play("show");
    move_in_order(&here, &there, "show", |mut sessions| {
        sessions.retain(|&session| !publishes(&here, session));
        sessions
    });
    until("it follows", || {
        standby.key_frame(40, b"media").unwrap();
        player.turn(Duration::from_millis(20)).unwrap();
        player.messages.pop_front().is_some_and(|(_, body)| body.ends_with(b"media"))
    });
}

#[test]
fn the_host_ends_the_wait_for_a_publisher_that_it_knows_to_be_gone() {
    // The place is kept for as long as for a lost publisher, which no test waits for.
    let patient = || {
        let stream =
            StreamConfig { publisher_policy: PublisherPolicy::Standby, grace_ms: 600_000, ..StreamConfig::default() };
        Live::new(ServerConfig { stream: Arc::new(stream), ..ServerConfig::default() })
    };
    let (here, there) = (patient(), patient());
    let _publisher = here.publish("show");
    let mut standby = here.publish("show");
    let mut player = here.play("show");
    move_in_order(&here, &there, "show", |mut sessions| {
        sessions.retain(|&session| !publishes(&here, session));
        sessions
    });
    let stream = there.server.stream_find(b"live", b"show").unwrap();
    there.server.stream_switch(stream, session_of(&there, Role::Standby, "show")).unwrap();
    until("it follows", || {
        standby.key_frame(40, b"media").unwrap();
        player.turn(Duration::from_millis(20)).unwrap();
        player.messages.pop_front().is_some_and(|(_, body)| body.ends_with(b"media"))
    });
}

#[test]
fn a_held_stream_keeps_a_publisher_that_nobody_reads() {
    let live = Live::new(ServerConfig { idle_ms: 2_000, ..ServerConfig::default() });
    let load = Load::on(live.port, 1, 1, 20);
    let stream = live.server.stream_find(b"live", b"show0").unwrap();
    let received = || live.server.stats(stream).unwrap().msgs_in;
    until("media flows", || received() > 10);
    // The hold is longer than a publisher may be silent.
    assert!(matches!(live.server.stream_export(stream, 1 << 20, 5_000).unwrap(), StreamExport::State(_)));
    let before = received();
    until("it is read again", || received() > before);
    load.end();
}

#[test]
fn a_player_goes_on_elsewhere_from_each_byte_that_it_was_sent() {
    let (here, there) = (Live::new(ServerConfig::default()), Live::new(ServerConfig::default()));
    let media = media();
    let all = messages_in(&[chunk_size(), media.clone()].concat());
    for cut in (0..=media.len()).step_by(some_of(7)) {
        let key = format!("show{cut}");
        let mut player = here.play(&key);
        let (mut socket, said) = publisher(&here, &key);
        socket.write_all(&media[..cut]).unwrap();
        let session = session_of(&here, Role::Publisher, &key);
        until("all is read", || here.server.stats(session).unwrap().bytes_in == said + cut as u64);
        move_all(&here, &there, &key);
        socket.write_all(&media[cut..]).unwrap();
        assert_eq!(received(&mut player, all.len()), all, "cut at {cut}");
        here.events.lock().unwrap().clear();
    }
}

#[test]
fn a_player_whose_stream_did_not_come_along_begins_there_as_a_newcomer() {
    let (here, there) = (Live::new(ServerConfig::default()), Live::new(ServerConfig::default()));
    let mut publishers = [&here, &there].map(|live| live.publish("show"));
    let mut player = here.play("show");
    publishers[0].key_frame(0, b"here").unwrap();
    assert_eq!(player.message().1[5..], *b"here");
    publishers[1].send(kind::VIDEO, 0, b"\x17\0\0\0\0avcC").unwrap();
    publishers[1].key_frame(0, b"there").unwrap();
    publishers[1].send(kind::VIDEO, 0, b"\x27\x01\0\0\0later").unwrap();
    let session = session_of(&here, Role::Player, "show");
    let (fd, state) = moving::session(&here.server, session);
    there.server.session_import(fd, &state).unwrap();
    let bodies = [(); 3].map(|()| player.message().1);
    assert_eq!(bodies, [&b"\x17\0\0\0\0avcC"[..], b"\x17\x01\0\0\0there", b"\x27\x01\0\0\0later"]);
    let end = here.end_of(&player.addr());
    assert_eq!((end.role, end.state, end.error), (Role::Player, State::Stopped, None));
    // One who may not come is refused, and closed.
    let session = session_of(&there, Role::Player, "show");
    there.server.session_close(session, "go", 60_000).unwrap();
    player.closed();
    let mut banned = here.play("show");
    let (fd, state) = moving::session(&here.server, session_of(&here, Role::Player, "show"));
    assert_eq!(there.server.session_import(fd, &state).unwrap_err().kind, RRError::Rejected);
    banned.closed();
}

#[test]
fn a_stream_that_was_held_and_does_not_go_goes_on() {
    let live = Live::new(ServerConfig::default());
    let (mut publisher, mut player) = (live.publish("show"), live.play("show"));
    publisher.key_frame(0, b"before").unwrap();
    assert_eq!(player.message().1[5..], *b"before");
    let stream = live.server.stream_find(b"live", b"show").unwrap();
    assert_eq!(live.server.stream_export(stream, 1 << 20, 0).map(drop).unwrap_err().kind, RRError::Arg);
    assert!(matches!(live.server.stream_export(stream, 1 << 20, 100).unwrap(), StreamExport::State(_)));
    publisher.key_frame(1, b"behind").unwrap();
    assert_eq!(player.message().1[5..], *b"behind");
}
