//! A connection that plays several streams goes on in another server in the middle of running media, with a question
//! about one more or without: on each of its message streams every message comes once.

#![allow(clippy::unwrap_used, reason = "this is all test code: a panic is how it fails")]

#[path = "support/live.rs"]
mod live;
#[path = "support/moving.rs"]
mod moving;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use live::{Client, Live, command, until};
use moving::picture;
use rrelay::config::{Decision, Isolate, ServerConfig, StreamConfig, ask};
use rrelay::error::RRError;
use rrelay::proto::amf0::Value;
use rrelay::proto::message::kind;
use rrelay::server::{Event, EventKind, Id, flag, kind as ids};
use rrelay::session::{Role, State};

/// A time that a test never waits for, however slow the machine is.
const FAR_MS: u32 = 600_000;

/// A server under which neither a question nor a player that reads nothing runs out of time.
fn patient(ask: u32) -> Live {
    let stream = StreamConfig { queue_bytes: 64 << 20, queue_ms: FAR_MS, ..StreamConfig::default() };
    Live::new(ServerConfig {
        stream: Arc::new(stream),
        send_ms: FAR_MS,
        ask,
        ask_ms: FAR_MS,
        ..ServerConfig::default()
    })
}

/// The first number of a stream's pictures, by which streams can be told apart.
const EACH: u32 = 1_000_000;

/// A publisher of numbered pictures, and how many it has sent.
struct Feed {
    client: Client,
    first: u32,
    sent: u32,
}

impl Feed {
    fn new(live: &Live, key: &str, first: u32) -> Self {
        let mut client = live.publish(key);
        client.send(kind::VIDEO, 0, b"\x17\0\0\0\0avcC").unwrap();
        Self { client, first, sent: 0 }
    }

    fn send(&mut self, count: u32, bytes: usize) {
        for _ in 0..count {
            self.client.send(kind::VIDEO, self.sent * 10, &picture(self.first + self.sent, bytes)).unwrap();
            self.sent += 1;
        }
    }

    /// Sends on and on until `end` is set.
    fn runs(mut self, end: &Arc<AtomicBool>) -> JoinHandle<Self> {
        let end = Arc::clone(end);
        std::thread::spawn(move || {
            while !end.load(Ordering::Acquire) {
                self.send(1, 3_000);
                std::thread::sleep(Duration::from_millis(3));
            }
            self
        })
    }
}

/// A connection with several plays.
struct Player {
    client: Client,
    /// Message stream and number of each picture.
    pictures: Vec<(u32, u32)>,
}

impl Player {
    /// Plays these streams, on the message streams from 1 on.
    fn of(live: &Live, keys: &[&str]) -> Self {
        let mut this = Self { client: live.play(keys[0]), pictures: Vec::new() };
        for (key, stream_id) in keys[1..].iter().zip(2..) {
            this.also(stream_id, key);
            until("it plays", || {
                this.look();
                this.count(stream_id) > 0
            });
        }
        this
    }

    fn also(&mut self, stream_id: u32, key: &str) {
        let play = command(stream_id, "play", 0.0, &[Value::Null, Value::String(key.as_bytes())]);
        let said = [command(0, "createStream", 20.0, &[Value::Null]), play].concat();
        self.client.socket.write_all(&said).unwrap();
    }

    fn pause(&mut self, stream_id: u32, on: bool) {
        let values = [Value::Null, Value::Bool(on), Value::Number(0.0)];
        self.client.socket.write_all(&command(stream_id, "pause", 0.0, &values)).unwrap();
    }

    fn look(&mut self) {
        self.client.turn(Duration::from_millis(5)).unwrap();
        while let Some((head, body)) = self.client.messages.pop_front() {
            if head.type_id == kind::VIDEO && body[1] == 1 {
                let number = u32::from_be_bytes(body[5..9].try_into().unwrap());
                assert!(body == picture(number, body.len() - 9), "picture {number} is another one than was sent");
                assert_eq!(head.timestamp_ms, number % EACH * 10);
                self.pictures.push((head.stream_id, number));
            }
        }
    }

    fn count(&self, stream_id: u32) -> usize {
        self.pictures.iter().filter(|(id, _)| *id == stream_id).count()
    }

    /// Waits until so many pictures have come on this message stream since it began.
    fn has(&mut self, stream_id: u32, count: usize) {
        until("pictures come", || {
            self.look();
            self.count(stream_id) >= count
        });
    }

    /// Waits for the last picture of a feed; from the first one that came on, each has come once.
    fn has_all(&mut self, stream_id: u32, feed: &Feed) {
        let last = (stream_id, feed.first + feed.sent - 1);
        until("the last picture comes", || {
            self.look();
            self.pictures.contains(&last)
        });
        let numbers = self.pictures.iter().filter(|(id, _)| *id == stream_id).map(|(_, number)| *number);
        let numbers: Vec<u32> = numbers.collect();
        assert_eq!(numbers, (numbers[0]..=last.1).collect::<Vec<_>>(), "on message stream {stream_id}");
    }
}

/// All streams, and then all sessions, go from one server to another by the calls.
fn move_all(here: &Live, there: &Live) {
    let streams = here.server.list(0, ids::STREAM).unwrap();
    let states: Vec<_> = streams.iter().map(|&stream| moving::stream(&here.server, stream)).collect();
    states.iter().for_each(|state| assert!(there.server.stream_import(state).unwrap() != 0));
    for session in here.server.list(0, ids::SESSION).unwrap() {
        let (fd, state) = moving::session(&here.server, session);
        there.server.session_import(fd, &state).unwrap();
    }
    for stream in streams {
        moving::end(&here.server, stream);
    }
    all_run(there);
}

/// Waits until nobody is on the way to a stream any more: a call exports none that is.
fn all_run(live: &Live) {
    until("all have come to their streams", || {
        let sessions = live.server.list(0, ids::SESSION).unwrap();
        let mut infos = sessions.iter().map(|&session| live.server.info(session).unwrap());
        infos.all(|info| matches!(info.state, State::Waiting | State::InProgress))
    });
}

/// Everything goes from one server to another by an upgrade.
fn upgrade(here: &Live, there: &Live) {
    assert_eq!(moving::hand_over(&here.server, &there.server), (Ok(()), Ok(())));
}

#[test]
fn each_play_goes_on_in_its_place_whatever_is_on_its_way() {
    let servers = [patient(0), patient(0)];
    let mut feeds = [("one", 0), ("two", EACH)].map(|(key, first)| Feed::new(&servers[0], key, first));
    feeds.iter_mut().for_each(|feed| feed.send(1, 50_000));
    // Each with a stream twice. The first reads, the second reads nothing from here on, so that much is on the way to it,
    // and the third pauses one play of each stream.
    let plays = [["one", "two", "one"], ["two", "one", "one"], ["one", "two", "two"]];
    let mut players = plays.map(|keys| Player::of(&servers[0], &keys));
    players.iter_mut().for_each(|player| (1..=3).for_each(|stream_id| player.has(stream_id, 1)));
    [1, 3].into_iter().for_each(|stream_id| players[2].pause(stream_id, true));
    for turn in 0..4 {
        for _ in 0..20 {
            feeds.iter_mut().for_each(|feed| feed.send(1, 50_000));
        }
        players[0].has(2, turn * 20 + 5);
        move_all(&servers[turn % 2], &servers[(turn + 1) % 2]);
    }
    [1, 3].into_iter().for_each(|stream_id| players[2].pause(stream_id, false));
    feeds.iter_mut().for_each(|feed| feed.send(10, 50_000));
    let feed_of = |key: &str| &feeds[usize::from(key == "two")];
    for (player, keys) in players.iter_mut().zip(plays).take(2) {
        keys.iter().zip(1..).for_each(|(key, stream_id)| player.has_all(stream_id, feed_of(key)));
    }
    // A paused play of a connection whose owner is another stream's relay gives its place up, and goes on at a key frame.
    players[2].has_all(2, feed_of("two"));
    assert_eq!(servers[0].sessions(), 5);
}

#[test]
fn several_plays_go_on_through_five_upgrades_in_a_row() {
    let mut now = patient(0);
    let feeds = ["one", "two", "three"].iter().zip(0..).map(|(key, at)| Feed::new(&now, key, at * EACH));
    let mut feeds: Vec<_> = feeds.collect();
    feeds.iter_mut().for_each(|feed| feed.send(1, 3_000));
    let plays = [&["one", "two", "three", "two"][..], &["three", "one"], &["two", "two"], &["two"]];
    let players: Vec<_> = plays.iter().map(|keys| Player::of(&now, keys)).collect();
    let (end, over) = (Arc::default(), Arc::<AtomicBool>::default());
    let feeds: Vec<_> = feeds.into_iter().map(|feed| feed.runs(&end)).collect();
    let players = players.into_iter().map(|mut player| {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            while !over.load(Ordering::Acquire) {
                player.look();
            }
            player
        })
    });
    let players: Vec<_> = players.collect();
    for _ in 0..5 {
        let next = patient(0);
        upgrade(&now, &next);
        let ended = |event: &Event| event.flags & flag::LAST != 0;
        let ends = || now.events_of(EventKind::Session).into_iter().filter(ended).map(|event| event.error);
        until("all have ended there", || ends().count() == 7);
        assert_eq!(ends().collect::<Vec<_>>(), [None; 7], "each goes on elsewhere");
        now = next;
    }
    end.store(true, Ordering::Release);
    let feeds: Vec<_> = feeds.into_iter().map(|feed| feed.join().unwrap()).collect();
    over.store(true, Ordering::Release);
    for (player, keys) in players.into_iter().zip(plays) {
        let mut player = player.join().unwrap();
        for (key, stream_id) in keys.iter().zip(1..) {
            let feed = feeds.iter().zip(["one", "two", "three"]).find(|(_, known)| known == key).unwrap().0;
            player.has_all(stream_id, feed);
        }
    }
}

#[test]
fn a_question_about_one_more_play_is_asked_again_and_what_is_played_goes_on() {
    for go in [move_all, upgrade] {
        let (here, there) = (patient(ask::PLAY), patient(ask::PLAY));
        let mut feeds = [("one", 0), ("two", EACH)].map(|(key, first)| Feed::new(&here, key, first));
        feeds.iter_mut().for_each(|feed| feed.send(1, 300));
        let asked = |live: &Live, key: &str| {
            let mut found = None;
            until("the host is asked", || {
                let mut events = live.events_of(EventKind::PlayAsk).into_iter();
                found = events.find(|event| event.key == key.as_bytes()).map(|event| event.session);
                found.is_some()
            });
            found.unwrap()
        };
        let mut player = std::thread::scope(|scope| {
            let player = scope.spawn(|| Player::of(&here, &["one"]));
            here.server.session_allow(asked(&here, "one"), Decision::default()).unwrap();
            player.join().unwrap()
        });
        player.has(1, 1);
        player.also(2, "two");
        let old = asked(&here, "two");
        go(&here, &there);
        until("it has ended there", || here.server.info(old).is_err());
        let new = asked(&there, "two");
        // What is played goes on while the question is open.
        feeds.iter_mut().for_each(|feed| feed.send(20, 300));
        player.has_all(1, &feeds[0]);
        let info = there.server.info(new).unwrap();
        assert_eq!((info.state, info.key, player.count(2)), (State::Waiting, b"two".to_vec(), 0));
        there.server.session_allow(new, Decision::default()).unwrap();
        feeds.iter_mut().for_each(|feed| feed.send(20, 300));
        [1, 2].into_iter().for_each(|stream_id| player.has_all(stream_id, &feeds[stream_id as usize - 1]));
        assert!(here.events_of(EventKind::PlayAsk).len() == 2 && there.events_of(EventKind::PlayAsk).len() == 1);
    }
}

#[test]
fn plays_of_which_one_has_no_stream_there_are_refused_before_any_of_them_goes_on() {
    let (here, there) = (patient(0), patient(0));
    let mut feeds = [("one", 0), ("two", EACH)].map(|(key, first)| Feed::new(&here, key, first));
    feeds.iter_mut().for_each(|feed| feed.send(1, 300));
    let mut player = Player::of(&here, &["one", "two"]);
    let one = here.server.stream_find(b"live", b"one").unwrap();
    there.server.stream_import(&moving::stream(&here.server, one)).unwrap();
    let is_player = |id: &Id| here.server.info(*id).unwrap().role == Role::Player;
    let session = here.server.list(0, ids::SESSION).unwrap().into_iter().find(is_player).unwrap();
    let (fd, state) = moving::session(&here.server, session);
    // Nor does it go where streams have processes of their own, which share no connection.
    let apart = Live::new(ServerConfig { isolate: Isolate::Process, ..ServerConfig::default() });
    let failure = apart.server.session_import(fd.try_clone().unwrap(), &state).unwrap_err();
    assert!(failure.kind == RRError::Unsupported && failure.text.contains("processes of their own"), "{failure}");
    let failure = there.server.session_import(fd, &state).unwrap_err();
    assert!(failure.kind == RRError::NotFound && failure.text.contains("import it before"), "{failure}");
    player.client.closed();
    assert_eq!((there.sessions(), there.server.list(0, ids::STREAM).unwrap().len()), (0, 1));
    assert_eq!(there.server.stream_find(b"live", b"two").unwrap_err().kind, RRError::NotFound);
    assert_eq!(there.events_of(EventKind::Session).len(), 0);
}

#[test]
fn in_an_upgrade_a_connection_stays_with_a_stream_that_stays() {
    let (here, there) = (patient(0), patient(0));
    let mut feed = Feed::new(&here, "one", 0);
    feed.send(1, 300);
    // The host's own stream does not go.
    let two = here.server.stream_create(b"live", b"two", None).unwrap();
    let mut sent = 0;
    let mut write = |count: u32| {
        for _ in 0..count {
            let body = picture(EACH + sent, 300);
            here.server.stream_write(two, kind::VIDEO, i64::from(sent) * 10, &body, false).unwrap();
            sent += 1;
        }
        sent
    };
    write(1);
    let (mut stays, mut goes) = (Player::of(&here, &["two", "one"]), Player::of(&here, &["one"]));
    upgrade(&here, &there);
    feed.send(20, 300);
    goes.has_all(1, &feed);
    let all = write(20) as usize;
    stays.has(1, all);
    assert_eq!(stays.pictures.iter().filter(|(id, _)| *id == 1).map(|(_, number)| *number).collect::<Vec<_>>(), {
        (EACH..EACH + all as u32).collect::<Vec<_>>()
    });
    until("one stays", || (here.sessions(), there.sessions()) == (1, 2));
}

#[test]
fn a_player_goes_on_with_what_it_plays_and_not_with_its_newest_play_which_is_over() {
    let (here, there) = (patient(0), patient(0));
    let mut feeds = [("one", 0), ("two", EACH)].map(|(key, first)| Feed::new(&here, key, first));
    feeds.iter_mut().for_each(|feed| feed.send(1, 300));
    let mut player = Player::of(&here, &["one", "two"]);
    let values = [Value::Null, Value::Number(2.0)];
    player.client.socket.write_all(&command(0, "deleteStream", 22.0, &values)).unwrap();
    let two = here.server.stream_find(b"live", b"two").unwrap();
    until("it has left", || here.server.list(two, ids::SESSION).unwrap().len() == 1);
    feeds[0].send(20, 300);
    player.has_all(1, &feeds[0]);
    move_all(&here, &there);
    feeds[0].send(20, 300);
    player.has_all(1, &feeds[0]);
    assert_eq!(player.count(2), 1);
}
