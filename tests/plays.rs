//! Several plays on one connection: each stream on its own message stream, begun and ended one by one.

#![allow(clippy::unwrap_used, reason = "what fails ends the test, where it stands")]

#[allow(clippy::duplicate_mod, reason = "some test programs have it twice")]
#[path = "support/threading.rs"]
mod threading;

#[cfg(feature = "rest")]
#[allow(clippy::duplicate_mod, reason = "some test programs have it twice")]
#[path = "support/backend.rs"]
mod backend;

#[path = "plays/asked.rs"]
mod asked;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rrelay::config::{ServerConfig, StreamConfig, ask};
use rrelay::proto::amf0::Value;
use rrelay::proto::chunk_write;
use rrelay::proto::command::build;
use rrelay::proto::message::{MessageHead, kind};
use rrelay::proto::url::RtmpUrl;
use rrelay::server::{EventKind, Id, LevelFilter, ListenOptions, RRRestOut, RRServer, kind as objects};
use rrelay::session::{ClientSession, Event as Said, SessionConfig};
use threading::threaded;

const PATIENCE: Duration = Duration::from_secs(40);

/// A time that a test never waits for, however slow the machine is.
const FAR_MS: u32 = 600_000;

/// Settings under which neither a question nor a player that reads slowly runs out of time.
fn patient() -> ServerConfig {
    let stream = StreamConfig { queue_ms: FAR_MS, queue_bytes: 1 << 30, ..StreamConfig::default() };
    ServerConfig { ask: ask::PLAY, ask_ms: FAR_MS, send_ms: FAR_MS, stream: stream.into(), ..ServerConfig::default() }
}

/// A server whose host feeds streams with numbered key frames, denies every play of "denied" and leaves the answer about
/// "held" to the test.
struct Rig {
    server: Arc<RRServer>,
    port: u16,
    end: Arc<AtomicBool>,
    /// The sessions that have asked for "held", once for each question.
    held: Arc<Mutex<Vec<Id>>>,
    /// The host takes no events.
    busy: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Rig {
    fn new() -> Self {
        Self::with(patient())
    }

    fn with(config: ServerConfig) -> Self {
        let server = Arc::new(RRServer::new(threaded(config), LevelFilter::Off, None).unwrap());
        let port = server.listen("127.0.0.1:0", ListenOptions::default()).unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let held = Arc::<Mutex<Vec<Id>>>::default();
        let busy = Arc::<AtomicBool>::default();
        let (host, ended, holds, waits) = (Arc::clone(&server), Arc::clone(&end), Arc::clone(&held), Arc::clone(&busy));
        let events = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                if waits.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                }
                let Ok(Some(event)) = host.next_event(20) else { continue };
                if event.kind == EventKind::PlayAsk && event.key == b"denied" {
                    host.session_deny(event.session, "", "not this one").unwrap();
                } else if event.kind == EventKind::PlayAsk && event.key == b"held" {
                    holds.lock().unwrap().push(event.session);
                } else if event.kind == EventKind::PlayAsk {
                    host.session_allow(event.session, Default::default()).unwrap();
                }
            }
        });
        Self { server, port, end, held, busy, threads: vec![events] }
    }

    /// Feeds a stream with frames that are numbered from `first` on, so that streams can be told apart.
    fn feed(&mut self, key: &str, first: u32) {
        let id = self.server.stream_create(b"live", key.as_bytes(), None).unwrap();
        let (server, end) = (Arc::clone(&self.server), Arc::clone(&self.end));
        self.threads.push(std::thread::spawn(move || {
            for n in 0.. {
                let written = server.stream_write(id, kind::VIDEO, i64::from(n) * 10, &frame(first + n), false);
                if end.load(Ordering::Relaxed) || written.is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }));
    }

    fn stop(&self, key: &str) {
        let id = self.server.stream_find(b"live", key.as_bytes()).unwrap();
        self.server.stream_stop(id, 1_000).unwrap();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        self.server.shutdown().unwrap();
    }
}

fn frame(n: u32) -> Vec<u8> {
    let mut body = vec![0x17, 1, 0, 0, 0];
    body.extend(n.to_be_bytes());
    // Some frames have more than one chunk.
    body.resize(if n.is_multiple_of(7) { 70_000 } else { 300 }, 0xAB);
    body
}

struct Player {
    socket: TcpStream,
    session: ClientSession,
    /// Message stream and number of each frame.
    frames: Vec<(u32, u32)>,
    /// The refusals of plays, in words.
    refusals: Vec<String>,
}

impl Player {
    fn of(rig: &Rig, key: &str) -> Self {
        let url = RtmpUrl::parse(&format!("rtmp://127.0.0.1:{}/live/{key}", rig.port), None).unwrap();
        let mut socket = TcpStream::connect(("127.0.0.1", rig.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let mut session = ClientSession::play(&SessionConfig::default(), &url, 0).unwrap();
        socket.write_all(&session.take_output()).unwrap();
        Self { socket, session, frames: Vec::new(), refusals: Vec::new() }
    }

    /// One who plays "one", at whose relay it is, and "two"; both have publishers from now on.
    fn of_two_streams(rig: &mut Rig) -> Self {
        rig.feed("one", 0);
        rig.feed("two", 1_000_000);
        let mut player = Self::of(rig, "one");
        player.sees(1, 5);
        player.also(2, "two");
        player.sees(2, 5);
        player
    }

    fn call(&mut self, stream_id: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let (mut body, mut wire) = (Vec::new(), Vec::new());
        write(&mut body);
        let len = u32::try_from(body.len()).unwrap();
        let head = MessageHead { type_id: kind::COMMAND, stream_id, len, chunk_stream: 3, timestamp_ms: 0 };
        chunk_write::encode(&head, &body, 60_000, &mut wire);
        self.socket.write_all(&wire).unwrap();
    }

    /// Plays another stream on a message stream of its own.
    fn also(&mut self, stream_id: u32, key: &str) {
        self.call(0, |out| build::call(out, "createStream", 20.0, &[Value::Null]));
        self.call(stream_id, |out| build::play(out, 21.0, key.as_bytes()));
    }

    fn no_longer(&mut self, stream_id: u32) {
        let values = [Value::Null, Value::Number(stream_id.into())];
        self.call(0, |out| build::call(out, "deleteStream", 22.0, &values));
    }

    fn look(&mut self) {
        let mut buffer = vec![0; 64 * 1024];
        let read = match self.socket.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
            Err(error) => panic!("{error}"),
        };
        assert_ne!(read, 0, "the connection stays");
        let (input, mut at) = (&buffer[..read], 0);
        loop {
            match self.session.next(input, &mut at, 0) {
                Ok(None) => break,
                Ok(Some(Said::Message(head))) if head.type_id == kind::VIDEO => {
                    let body = self.session.body(input);
                    let number = body[5..9].try_into().map(u32::from_be_bytes).unwrap();
                    assert!(body == frame(number), "untouched");
                    self.frames.push((head.stream_id, number));
                }
                // The refusal of one play does not end the connection.
                Err(failure) => self.refusals.push(failure.text.into_owned()),
                Ok(Some(Said::Ended { code, text })) => self.refusals.push(format!("{code} {text}")),
                Ok(Some(_)) => {}
            }
        }
        self.socket.write_all(&self.session.take_output()).unwrap();
    }

    /// Reads until this is so. A player that stops reading in the middle of a message gets no answer to what it asks.
    fn reads_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            self.look();
            assert!(Instant::now() < end, "not in time: {what}; refused: {:?}", self.refusals);
        }
    }

    fn numbers(&self, stream_id: u32) -> Vec<u32> {
        self.frames.iter().filter(|(id, _)| *id == stream_id).map(|(_, number)| *number).collect()
    }

    /// Waits for so many more frames on this message stream.
    fn sees(&mut self, stream_id: u32, more: usize) {
        let enough = self.numbers(stream_id).len() + more;
        let end = Instant::now() + PATIENCE;
        while self.numbers(stream_id).len() < enough {
            self.look();
            assert!(Instant::now() < end, "{} of {enough} frames on {stream_id}", self.numbers(stream_id).len());
        }
    }

    /// Asserts that `stream_id` gets no frames, after those on their way, while many come on `other`.
    fn sees_no_more(&mut self, stream_id: u32, other: u32) {
        let end = Instant::now() + PATIENCE;
        loop {
            let before = self.numbers(stream_id).len();
            self.sees(other, 20);
            if self.numbers(stream_id).len() == before {
                return;
            }
            assert!(Instant::now() < end, "frames come on {stream_id}");
        }
    }

    fn has_no_gap(&self, stream_id: u32) {
        let numbers = self.numbers(stream_id);
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{stream_id}: {numbers:?}");
    }
}

#[test]
fn each_play_has_its_message_stream_and_goes_on_when_another_begins_or_ends() {
    let mut rig = Rig::new();
    rig.feed("one", 0);
    rig.feed("two", 1_000_000);
    rig.feed("three", 2_000_000);
    let mut player = Player::of(&rig, "one");
    player.sees(1, 20);
    player.also(2, "two");
    player.sees(2, 20);
    player.also(3, "three");
    for stream_id in [1, 2, 3] {
        player.sees(stream_id, 30);
        player.has_no_gap(stream_id);
    }
    assert!(player.numbers(1).iter().all(|number| *number < 1_000_000));
    assert!(player.numbers(2).iter().all(|number| (1_000_000..2_000_000).contains(number)));
    assert_eq!(rig.server.list(0, objects::SESSION).unwrap().len(), 1);

    // Each stream counts its own frames, whichever relay sent them. A frame has 300 bytes or more.
    for (stream_id, key) in [(1, "one"), (2, "two"), (3, "three")] {
        let id = rig.server.stream_find(b"live", key.as_bytes()).unwrap();
        let frames = player.numbers(stream_id).len() as u64;
        let end = Instant::now() + PATIENCE;
        loop {
            let stats = rig.server.stats(id).unwrap();
            assert!(Instant::now() < end, "{key}: {frames} frames, {stats:?}");
            // A frame can be sent a moment before it is counted as one that came.
            let is_plausible = stats.msgs_out <= stats.msgs_in;
            if is_plausible && stats.msgs_out >= frames && stats.bytes_out >= frames * 300 {
                break;
            }
            player.look();
        }
    }

    // The newest play ends: the connection goes to another owner, and the other plays do not notice.
    player.no_longer(3);
    player.sees(1, 30);
    player.sees(2, 30);
    // The play of a foreign stream ends.
    player.no_longer(1);
    player.sees_no_more(1, 2);
    [1, 2].into_iter().for_each(|stream_id| player.has_no_gap(stream_id));

    // A refused play does not disturb the others.
    player.also(4, "denied");
    player.sees(2, 50);
    player.has_no_gap(2);
    assert_eq!(rig.server.list(0, objects::SESSION).unwrap().len(), 1);
}

#[test]
fn a_stream_that_stops_ends_only_its_own_play() {
    let mut rig = Rig::new();
    rig.feed("one", 0);
    rig.feed("two", 1_000_000);
    rig.feed("three", 2_000_000);
    let mut player = Player::of(&rig, "one");
    player.sees(1, 5);
    for (stream_id, key) in [(2, "two"), (3, "three")] {
        player.also(stream_id, key);
        player.sees(stream_id, 5);
    }
    rig.stop("two"); // a foreign stream
    player.sees(1, 20);
    rig.stop("three"); // the stream whose relay has the connection
    player.sees(1, 40);
    player.has_no_gap(1);
    drop(player);
    let end = Instant::now() + PATIENCE;
    while !rig.server.list(0, objects::SESSION).unwrap().is_empty() {
        assert!(Instant::now() < end, "the session ends with its connection");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_foreign_play_that_was_paused_or_muted_goes_on_at_a_key_frame_and_never_back() {
    let mut rig = Rig::new();
    let mut player = Player::of_two_streams(&mut rig);
    let pause = |player: &mut Player, on: bool| {
        let values = [Value::Null, Value::Bool(on), Value::Number(0.0)];
        player.call(1, |out| build::call(out, "pause", 0.0, &values));
    };
    let pictures = |player: &mut Player, on: bool| {
        player.call(1, |out| build::call(out, "receiveVideo", 0.0, &[Value::Null, Value::Bool(on)]));
    };
    for change in [&pause as &dyn Fn(&mut Player, bool), &|player, on| pictures(player, !on)] {
        change(&mut player, true);
        player.sees_no_more(1, 2);
        let before = player.numbers(1).len();
        change(&mut player, false);
        player.sees(1, 20);
        let numbers = player.numbers(1);
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        assert!(numbers[before] > numbers[before - 1] + 5, "what came meanwhile is past: {numbers:?}");
    }
    player.has_no_gap(2);
}

#[test]
fn a_foreign_play_takes_the_new_settings_of_its_stream() {
    const LONG_MS: u32 = 10_000;
    let mut rig = Rig::new();
    let mut player = Player::of_two_streams(&mut rig);
    let id = rig.server.stream_find(b"live", b"one").unwrap();
    let collects = |merge_ms| {
        let was = Box::new(rig.server.stream_config(id).unwrap());
        let config = Box::new(StreamConfig { merge_ms, ..(*was).clone() });
        RRRestOut::ChangeStream { stream: id, was, config }.carry_out(&rig.server).unwrap();
    };
    collects(LONG_MS);
    player.sees_no_more(1, 2);
    collects(0);
    player.sees(1, 20);
    player.has_no_gap(1);
    player.has_no_gap(2);
}
