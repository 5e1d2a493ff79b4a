//! A session that moves to another process behaves as one that stays: its events, its output and its deadlines are the
//! same.

use super::super::{ClientSession, Event, ServerSession, SessionConfig, Timing};
use super::pair::{Happened, Pair, client, head};
use crate::error::{RRError, Result};
use crate::fuzzing::{conversation, seeds};
use crate::proto::chunk_write::encode;
use crate::proto::handshake::HANDSHAKE_BYTES;
use crate::proto::message::{MessageHead, kind};
use crate::session::Inbound;

/// Either role.
trait Session: Sized {
    fn next(&mut self, input: &[u8], at: &mut usize, now_ms: u64) -> Result<Option<Event>>;
    fn body<'a>(&'a self, input: &'a [u8]) -> &'a [u8];
    fn take_output(&mut self) -> Vec<u8>;
    fn snapshot(&self, now_ms: u64) -> Result<Vec<u8>>;
    fn restore(config: &SessionConfig, snapshot: &[u8], now_ms: u64) -> Result<Self>;
    fn next_timeout(&self) -> Option<u64>;
    /// The driver's yes.
    fn answer(&mut self, event: &Event, now_ms: u64);
}

macro_rules! session {
    ($name:ident, |$session:ident, $event:ident, $now_ms:ident| $answer:expr) => {
        impl Session for $name {
            fn next(&mut self, input: &[u8], at: &mut usize, now_ms: u64) -> Result<Option<Event>> {
                self.next(input, at, now_ms)
            }

            fn body<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
                self.body(input)
            }

            fn take_output(&mut self) -> Vec<u8> {
                self.take_output()
            }

            fn snapshot(&self, now_ms: u64) -> Result<Vec<u8>> {
                self.snapshot(now_ms)
            }

            fn restore(config: &SessionConfig, snapshot: &[u8], now_ms: u64) -> Result<Self> {
                Self::restore(config, snapshot, now_ms)
            }

            fn next_timeout(&self) -> Option<u64> {
                self.next_timeout()
            }

            fn answer(&mut self, $event: &Event, $now_ms: u64) {
                let $session = self;
                $answer
            }
        }
    };
}

session!(ServerSession, |session, event, now_ms| match event {
    Event::Connect => session.accept_connect(now_ms),
    Event::Publish { stream_id, .. } => session.accept_publish(*stream_id, now_ms),
    Event::Play { stream_id, .. } => session.accept_play(*stream_id, now_ms),
    _ => {}
});
session!(ClientSession, |_session, _event, _now_ms| {});

/// A session with its driver, and whether it moves at every opportunity.
struct Driven<S> {
    session: S,
    moves: bool,
    happened: Happened,
    sent: Vec<u8>,
    now_ms: u64,
    /// The error that it ended with, if any.
    ended: Option<String>,
}

impl<S: Session> Driven<S> {
    /// After the handshake.
    fn new(mut session: S, wire: &[u8], moves: bool) -> Self {
        assert_eq!(session.snapshot(0).unwrap_err().kind, RRError::State, "its handshake is not over");
        assert_eq!(session.next(&wire[..HANDSHAKE_BYTES], &mut 0, 0).unwrap(), None);
        session.take_output(); // random bytes, and a client's connect
        Self { session, moves, happened: Vec::new(), sent: Vec::new(), now_ms: 0, ended: None }
    }

    fn moved(&mut self) {
        if self.moves && self.ended.is_none() {
            let snapshot = self.session.snapshot(self.now_ms).unwrap();
            self.session = S::restore(&SessionConfig::default(), &snapshot, self.now_ms).unwrap();
        }
    }

    /// Takes bytes. The session may move before them, while a question is open, and between any two events, with the
    /// rest of the bytes in another buffer.
    fn take(&mut self, bytes: &[u8]) {
        self.moved();
        let mut rest = bytes.to_vec();
        while self.ended.is_none() {
            let mut at = 0;
            match self.session.next(&rest, &mut at, self.now_ms) {
                Ok(Some(event)) => {
                    let body = match &event {
                        Event::Message(head) => {
                            let body = self.session.body(&rest).to_vec();
                            assert_eq!(body.len(), head.len as usize);
                            body
                        }
                        _ => Vec::new(),
                    };
                    self.moved();
                    self.session.answer(&event, self.now_ms);
                    self.moved();
                    self.happened.push((event, body));
                    rest.drain(..at);
                }
                Ok(None) => break,
                Err(failure) => self.ended = Some(failure.to_string()),
            }
        }
        self.now_ms += 7;
        if self.sent.len().is_multiple_of(3) {
            self.moved(); // with output that waits
        }
        self.sent.extend(self.session.take_output());
    }

    /// The parts of a session that can be compared; a session that has ended has no state.
    fn state(&self) -> (Option<u64>, Option<Vec<u8>>) {
        let lives = self.ended.is_none();
        (self.session.next_timeout(), lives.then(|| self.session.snapshot(self.now_ms).unwrap()))
    }

    fn assert_same(&self, other: &Self, what: &str) {
        assert_eq!(self.happened, other.happened, "{what}");
        assert_eq!((&self.sent, &self.ended), (&other.sent, &other.ended), "{what}");
        assert_eq!(self.state(), other.state(), "{what}");
    }
}

/// Moves at each byte, and between all events of the whole.
fn moves_anywhere<S: Session>(new: impl Fn() -> S, wire: &[u8]) -> usize {
    let run = |piece: usize, moves: bool| {
        let mut driven = Driven::new(new(), wire, moves);
        wire[HANDSHAKE_BYTES..].chunks(piece).for_each(|piece| driven.take(piece));
        driven
    };
    for piece in [1, usize::MAX] {
        run(piece, true).assert_same(&run(piece, false), &format!("in pieces of {piece}: {wire:x?}"));
    }
    run(usize::MAX, false).happened.len()
}

/// Moves once, at each of the bytes.
fn moves_once<S: Session>(new: impl Fn() -> S, wire: &[u8]) {
    for cut in HANDSHAKE_BYTES..=wire.len() {
        let run = |moves: bool| {
            let mut driven = Driven::new(new(), wire, false);
            driven.take(&wire[HANDSHAKE_BYTES..cut]);
            driven.moves = moves;
            driven.moved();
            driven.moves = false;
            driven.take(&wire[cut..]);
            driven
        };
        run(true).assert_same(&run(false), &format!("cut at {cut}"));
    }
}

/// The bytes to a server and to a client in a whole conversation with some media.
fn recorded(publish: bool) -> (Vec<u8>, Vec<u8>) {
    let mut pair = Pair::new(publish);
    pair.run().unwrap();
    let send = if publish { Pair::client_sends } else { Pair::server_sends };
    for (type_id, time_ms, len) in [(kind::VIDEO, 7, 300), (kind::AUDIO, 1 << 24, 40), (99, 8, 0)] {
        send(&mut pair, type_id, time_ms, &vec![type_id; len]);
        pair.run().unwrap();
    }
    pair.client.close();
    pair.run().unwrap();
    (pair.to_server_log, pair.to_client_log)
}

#[test]
fn a_recorded_conversation_goes_on_elsewhere_from_each_of_its_bytes() {
    for publish in [true, false] {
        let (to_server, to_client) = recorded(publish);
        moves_once(|| ServerSession::new(&SessionConfig::default(), 0), &to_server);
        moves_once(|| client(publish), &to_client);
    }
}

#[test]
fn the_golden_conversations_go_on_elsewhere_wherever_they_are() {
    let mut happened = 0;
    for wire in seeds::server_conversations() {
        happened += moves_anywhere(|| ServerSession::new(&SessionConfig::default(), 0), &conversation(&wire));
    }
    for wire in seeds::client_conversations() {
        for publish in [true, false] {
            happened += moves_anywhere(|| client(publish), &conversation(&wire));
        }
    }
    assert!(happened > 300, "only {happened} events");
}

/// A publisher's messages in small chunks, of two chunk streams by turns, with header types that depend on earlier
/// headers, an extended time and an aggregate.
#[test]
fn half_read_messages_and_aggregates_move_too() {
    let mut pair = Pair::new(true);
    pair.run().unwrap();
    let tag = |type_id: u8, time: u8, body: &[u8]| {
        let len = u8::try_from(body.len()).unwrap();
        [&[type_id, 0, 0, len, 0, 0, time, 0, 0, 0, 0][..], body, &[0; 4]].concat()
    };
    let aggregate = [tag(kind::AUDIO, 1, b"one"), tag(kind::VIDEO, 2, b"three"), tag(kind::AUDIO, 9, b"")].concat();
    let mut messages = Vec::new();
    let size = 50_u32.to_be_bytes();
    encode(&MessageHead { chunk_stream: 2, ..head(kind::SET_CHUNK_SIZE, 0, 0, &size) }, &size, 60_000, &mut messages);
    encode(&head(kind::AGGREGATE, 1, 0xFFFF_FFF0, &aggregate), &aggregate, 50, &mut messages);
    // Video on chunk stream 6 and audio on 70, a chunk each by turns.
    messages.extend(b"\x06\0\0\x05\0\0\x64\x09\x01\0\0\0".iter().chain(&[1; 50]));
    messages.extend(b"\0\x06\xFF\xFF\xFF\0\0\x3C\x08\x01\0\0\0\x01\0\0\0".iter().chain(&[2; 50]));
    messages.extend(b"\xC6".iter().chain(&[1; 50]));
    messages.extend(b"\xC0\x06\x01\0\0\0".iter().chain(&[2; 10]));
    messages.extend(b"\xC6".iter().chain(&[3; 50]).chain(b"\xC6").chain(&[3; 50]));
    let wire = [pair.to_server_log, messages].concat();
    let new = || ServerSession::new(&SessionConfig::default(), 0);
    assert_eq!(moves_anywhere(new, &wire), 8, "two questions, three tags, three messages");
    moves_once(new, &wire);
}

#[test]
fn deadlines_and_pings_go_on_on_another_clock() {
    let timing =
        Timing { handshake_ms: 10_000, ask_ms: 5_000, first_data_ms: 30_000, idle_ms: 20_000, ping_ms: 15_000 };
    let config = SessionConfig { timing, ..Default::default() };
    let mut pair = Pair::new(false);
    pair.server = ServerSession::new(&config, 0);
    pair.run().unwrap();
    let moved = |session: &ServerSession, from_ms: u64, to_ms: u64| {
        ServerSession::restore(&config, &session.snapshot(from_ms).unwrap(), to_ms).unwrap()
    };
    let due_ms = pair.server.next_timeout().unwrap();
    let (from_ms, to_ms) = (pair.now_ms + 1_000, 77_000_000);
    let elsewhere = moved(&pair.server, from_ms, to_ms);
    assert_eq!(elsewhere.next_timeout().unwrap() - to_ms, due_ms - from_ms);
    let young = moved(&pair.server, due_ms, 0);
    assert_eq!(young.next_timeout(), Some(15_000), "a clock that has just begun is late, never early");

    // The original writes the ping, and its answer comes to the restored session.
    pair.now_ms = due_ms;
    pair.server.handle_timeout(due_ms).unwrap();
    pair.run().unwrap_or_else(|failure| panic!("{failure}"));
    let mut waits = pair.server;
    let again_ms = waits.next_timeout().unwrap();
    waits.handle_timeout(again_ms).unwrap();
    let ping = waits.take_output();
    let stamp = &ping[ping.len() - 4..];
    let mut pong = Vec::new();
    let body = [&[0, 7], stamp].concat();
    encode(&MessageHead { chunk_stream: 2, ..head(kind::USER_CONTROL, 0, 0, &body) }, &body, 128, &mut pong);
    // The client announced its chunk size; six bytes are one chunk at any size.
    let mut there = moved(&waits, again_ms + 30, 500);
    there.next(&pong, &mut 0, 512).unwrap();
    assert_eq!(there.rtt_ms(), Some(42));
}

#[test]
fn an_open_question_keeps_the_rest_of_its_time_and_no_more() {
    let config = SessionConfig::default();
    let wire = conversation(&seeds::server_conversations()[0]);
    let mut session = ServerSession::new(&config, 0);
    assert_eq!(session.next(&wire, &mut 0, 0).unwrap(), Some(Event::Connect));
    session.asked(1_000);
    let by_ms = session.next_timeout().unwrap();
    let snapshot = session.snapshot(2_000).unwrap();
    let there = ServerSession::restore(&config, &snapshot, 50_000).unwrap();
    assert_eq!(there.next_timeout(), Some(by_ms + 48_000));
    let hasty = SessionConfig { timing: Timing { ask_ms: 10, ..config.timing }, ..config };
    let there = ServerSession::restore(&hasty, &snapshot, 50_000).unwrap();
    assert_eq!(there.next_timeout(), Some(50_010));
}

/// A server session that publishes, with `len` bytes of a larger message half-read.
fn half_read(len: usize) -> ServerSession {
    let mut pair = Pair::new(true);
    pair.run().unwrap();
    let mut wire = Vec::new();
    let body = vec![0; len + 1];
    encode(&head(kind::VIDEO, 1, 0, &body), &body, 60_000, &mut wire);
    pair.server_takes(&wire[..wire.len() - 1]).unwrap();
    pair.server
}

#[test]
fn bytes_that_are_no_snapshot_are_refused_in_words() {
    let config = SessionConfig::default();
    let refused = |snapshot: &[u8], kind: RRError, words: &str| {
        let failure = ServerSession::restore(&config, snapshot, 0).map(drop).unwrap_err();
        assert_eq!((failure.kind, failure.by_peer), (kind, false), "{failure}");
        assert!(failure.text.contains(words), "{failure}");
    };
    let whole = half_read(1_000).snapshot(9_000).unwrap();
    refused(b"", RRError::Arg, "does not begin as one");
    refused(b"RRxx\x01", RRError::Arg, "does not begin as one");
    refused(&[&whole[..4], &[2], &whole[5..]].concat(), RRError::Version, "version 2; this library reads up to 1");
    refused(&[&whole[..4], &[0], &whole[5..]].concat(), RRError::Arg, "no version");
    for cut in 4..whole.len() {
        refused(&whole[..cut], RRError::Arg, "not a session's snapshot");
    }
    refused(&[&whole[..], &[0]].concat(), RRError::Arg, "follow its end");
    refused(&vec![0; 100 << 20], RRError::Limit, "at most");
    let mut pair = Pair::new(true);
    pair.run().unwrap();
    let clients = pair.client.snapshot(0).unwrap();
    refused(&clients, RRError::Arg, "a client session's");
    assert_eq!(ClientSession::restore(&config, &whole, 0).map(drop).unwrap_err().kind, RRError::Arg);
}

#[test]
fn a_snapshot_holds_no_more_than_the_settings_allow() {
    let snapshot = half_read(1_000_000).snapshot(9_000).unwrap();
    let refused = |config: SessionConfig| {
        let failure = ServerSession::restore(&config, &snapshot, 0).map(drop).unwrap_err();
        assert_eq!(failure.kind, RRError::Limit, "{failure}");
    };
    refused(SessionConfig { max_message: 1_000_000, ..Default::default() });
    refused(SessionConfig { max_open_bytes: 1_000_000, ..Default::default() });
    refused(SessionConfig { max_chunk_streams: 1, ..Default::default() });
    assert!(ServerSession::restore(&SessionConfig::default(), &snapshot, 0).is_ok());
}

#[test]
fn fields_that_a_newer_version_adds_are_passed_over() {
    let config = SessionConfig::default();
    let whole = half_read(1_000).snapshot(9_000).unwrap();
    assert_eq!(whole[5], 0x83, "a snapshot is a list of three");
    let newer = [&whole[..5], &[0x84], &whole[6..], b"\x82\x18\x2A\x63new"].concat();
    let session = ServerSession::restore(&config, &newer, 9_000).unwrap();
    assert_eq!(session.snapshot(9_000).unwrap(), whole);
}
