//! Hostile and odd peers: their bytes end in a clear failure, or get an answer, and never cause a panic.

use super::super::{Event, ServerSession, SessionConfig};
use super::pair::{events, head, yes};
use crate::error::{Failure, RRError};
use crate::proto::amf0::Value;
use crate::proto::chunk_read::{ChunkReader, ReadLimits};
use crate::proto::chunk_write::encode;
use crate::proto::command::{Call, Command, build};
use crate::proto::message::kind;
use crate::session::Inbound;

/// A server session whose handshake is over, and the bytes a peer sends it.
struct Peer {
    session: ServerSession,
    events: Vec<(Event, Vec<u8>)>,
    replies: Vec<u8>,
    now_ms: u64,
}

const NULL: Value<'static> = Value::Null;

fn key(key: &str) -> Value<'_> {
    Value::String(key.as_bytes())
}

impl Peer {
    /// After the handshake.
    fn shaken() -> Self {
        let mut session = ServerSession::new(&SessionConfig::default(), 0);
        let (mut hello, mut at) = (vec![0; 1 + 2 * 1536], 0);
        hello[0] = 3;
        assert_eq!(session.next(&hello, &mut at, 0).unwrap(), None);
        assert!(session.handshaken());
        session.take_output();
        Self { session, events: Vec::new(), replies: Vec::new(), now_ms: 0 }
    }

    /// After connect and createStream.
    fn connected() -> Self {
        let mut peer = Self::shaken();
        peer.call(0, "connect", &[Value::Object(vec![(b"app", key("live"))])]).unwrap();
        peer.call(0, "createStream", &[NULL]).unwrap();
        peer.events.clear();
        peer.replies();
        peer
    }

    fn raw(&mut self, input: &[u8]) -> Result<(), Failure> {
        let mut at = 0;
        while let Some(event) = self.session.next(input, &mut at, self.now_ms)? {
            yes(&mut self.session, &event);
            let body = self.session.body(input).to_vec();
            let is_message = matches!(event, Event::Message(_));
            self.events.push((event, body));
            if is_message && at == input.len() && self.session.is_dry() {
                assert_eq!(self.session.next(input, &mut at, self.now_ms), Ok(None), "a driver need not ask again");
            }
        }
        let output = self.session.take_output();
        self.replies.extend(output);
        Ok(())
    }

    fn message(&mut self, type_id: u8, stream_id: u32, body: &[u8]) -> Result<(), Failure> {
        let mut wire = Vec::new();
        encode(&head(type_id, stream_id, 0, body), body, 128, &mut wire);
        self.raw(&wire)
    }

    fn call(&mut self, stream_id: u32, name: &str, values: &[Value<'_>]) -> Result<(), Failure> {
        let mut body = Vec::new();
        build::call(&mut body, name, 9.0, values);
        self.message(kind::COMMAND, stream_id, &body)
    }

    /// The messages of the replies so far, commands in words; forgets them.
    fn replies(&mut self) -> Vec<String> {
        let limits = ReadLimits { max_message: 1 << 20, max_open_bytes: 1 << 20, max_chunk_streams: 8 };
        let mut reader = ChunkReader::new(limits);
        let size = SessionConfig::default().chunk_size.to_be_bytes();
        let mut wire = Vec::new();
        encode(&head(kind::SET_CHUNK_SIZE, 0, 0, &size), &size, 128, &mut wire);
        wire.extend(std::mem::take(&mut self.replies));
        let (mut at, mut words) = (0, Vec::new());
        while let Some(head) = reader.next(&wire, &mut at).unwrap() {
            let body = reader.body(&wire);
            words.push(match head.type_id {
                kind::COMMAND => {
                    let call = Call::parse(kind::COMMAND, body).unwrap();
                    let name = String::from_utf8_lossy(call.name).into_owned();
                    match call.command {
                        Command::Status(status) => {
                            format!("{name} {} {} on {}", status.level, status.code, head.stream_id)
                        }
                        _ => format!("{name} {}", call.transaction),
                    }
                }
                kind::USER_CONTROL => format!("user {} {}", body[1], body[5]),
                type_id => format!("type {type_id}"),
            });
        }
        words.remove(0);
        words
    }
}

#[track_caller]
pub(super) fn fails(result: Result<(), Failure>, kind: RRError, words: &str) {
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, kind, "{failure}");
    assert!(failure.by_peer && failure.text.contains(words), "{failure}");
}

#[test]
fn commands_and_media_before_connect_are_protocol_errors_with_a_sentence() {
    for name in ["publish", "play", "createStream", "whatever"] {
        fails(Peer::shaken().call(1, name, &[NULL, key("k")]), RRError::Protocol, "before connect");
    }
    fails(Peer::shaken().message(kind::COMMAND, 0, b""), RRError::Protocol, "before connect");
    for type_id in [0, kind::AUDIO, kind::VIDEO, kind::DATA, 77] {
        fails(Peer::shaken().message(type_id, 1, b"abc"), RRError::Protocol, "before connect");
    }
}

#[test]
fn garbage_after_the_handshake_is_a_clear_failure() {
    for garbage in [&b"GET / HTTP/1.1\r\nHost: example.net\r\n\r\n"[..], &[0xff; 64], &[0x55; 600], &[0x00; 600]] {
        let failure = Peer::shaken().raw(garbage).unwrap_err();
        assert!(matches!(failure.kind, RRError::Protocol | RRError::Limit), "{failure}");
        assert!(failure.by_peer && !failure.text.is_empty());
    }
    let mut session = ServerSession::new(&SessionConfig::default(), 0);
    let failure = session.next(b"GET / HTTP/1.1\r\n\r\n", &mut 0, 0).unwrap_err();
    assert_eq!(failure.kind, RRError::Handshake);
}

#[test]
fn a_nest_ten_thousand_deep_is_refused() {
    let body = [&b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0"[..], &b"\x0a\0\0\0\x01".repeat(10_000)].concat();
    fails(Peer::shaken().message(kind::COMMAND, 0, &body), RRError::Limit, "nest");
    fails(Peer::connected().message(kind::COMMAND_AMF3, 0, &body), RRError::Limit, "nest");
}

#[test]
fn sixteen_megabytes_of_nulls_are_refused_before_they_are_held() {
    let nulls = vec![5; (16 << 20) - 1];
    let mut peer = Peer::connected();
    fails(peer.message(kind::COMMAND, 0, &nulls), RRError::Limit, "16777215 bytes");
    assert!(peer.session.heap_bytes() < 100_000);
    fails(Peer::connected().message(kind::COMMAND, 0, &nulls[..200_000]), RRError::Limit, "too many AMF values");
    // A publisher may send large messages, but a command of that size is refused.
    let mut peer = Peer::connected();
    peer.call(1, "publish", &[NULL, key("k")]).unwrap();
    fails(peer.message(kind::COMMAND, 0, &nulls), RRError::Limit, "a command of 16777215 bytes");
}

#[test]
fn a_chunk_size_of_zero_is_a_protocol_error() {
    fails(Peer::shaken().message(kind::SET_CHUNK_SIZE, 0, &[0; 4]), RRError::Protocol, "chunk size");
}

#[test]
fn a_flood_of_create_stream_is_answered_with_errors_and_then_ended() {
    let mut peer = Peer::connected();
    for _ in 0..20 {
        peer.call(0, "createStream", &[NULL]).unwrap();
    }
    let replies = peer.replies();
    assert_eq!((&replies[14][..], &replies[15][..]), ("_result 9", "_error 9"), "16 streams in all");
    let mut flood = || (0..1_000).try_for_each(|_| peer.call(0, "createStream", &[NULL]));
    fails(flood(), RRError::Limit, "too many commands");
}

#[test]
fn a_peer_that_begins_play_after_play_is_ended_and_a_slow_one_is_not() {
    let play = |peer: &mut Peer| peer.call(1, "play", &[NULL, key("k")]);
    let mut peer = Peer::connected();
    (0..100).for_each(|_| play(&mut peer).unwrap());
    fails(play(&mut peer), RRError::Limit, "one publish or play after another");
    let mut peer = Peer::connected();
    for _ in 0..1_000 {
        peer.now_ms += 100;
        play(&mut peer).unwrap();
    }
}

#[test]
fn a_flood_of_pings_without_reading_answers_is_ended() {
    let mut wire = Vec::new();
    for _ in 0..10_000 {
        encode(&head(kind::USER_CONTROL, 0, 0, &[0; 6]), &[0, 6, 0, 0, 0, 1], 128, &mut wire);
    }
    fails(Peer::connected().raw(&wire), RRError::Limit, "faster than it takes answers");
}

#[test]
fn commands_without_arguments_or_with_wrong_ones_are_answered_or_ignored() {
    let names = [
        "connect",
        "createStream",
        "releaseStream",
        "FCPublish",
        "FCUnpublish",
        "FCSubscribe",
        "getStreamLength",
        "_checkbw",
        "publish",
        "play",
        "play2",
        "pause",
        "pauseRaw",
        "seek",
        "receiveAudio",
        "receiveVideo",
        "closeStream",
        "deleteStream",
        "set_playlist",
        "_result",
        "_error",
        "onStatus",
        "onBWDone",
        "close",
        "",
        "\0",
    ];
    let odd = [
        Value::Bool(true),
        Value::Number(f64::NAN),
        Value::Number(-1.0),
        key(""),
        Value::Array(vec![]),
        Value::Undefined,
    ];
    for name in names {
        for count in 0..4 {
            for value in &odd {
                let mut peer = Peer::connected();
                peer.call(1, name, &vec![value.clone(); count]).unwrap();
                peer.call(1, name, &vec![value.clone(); count]).unwrap();
            }
        }
        let name = [&[2, 0, name.len() as u8][..], name.as_bytes()].concat();
        Peer::connected().message(kind::COMMAND, 1, &name).unwrap();
    }
    for control in [kind::ABORT, kind::ACK, kind::USER_CONTROL, kind::WINDOW_ACK, kind::PEER_BANDWIDTH, kind::AGGREGATE]
    {
        for len in 0..12 {
            Peer::connected().message(control, 0, &vec![0; len]).unwrap();
            Peer::connected().message(control, 0, &vec![0xff; len]).unwrap();
        }
    }
}

#[test]
fn the_calls_of_encoders_are_answered_in_order() {
    let mut peer = Peer::connected();
    peer.call(0, "releaseStream", &[NULL, key("k")]).unwrap();
    peer.call(0, "FCPublish", &[NULL, key("k")]).unwrap();
    peer.call(0, "_checkbw", &[NULL]).unwrap();
    peer.call(1, "publish", &[NULL, key("k"), key("live")]).unwrap();
    peer.call(0, "FCUnpublish", &[NULL, key("k")]).unwrap();
    peer.call(0, "deleteStream", &[NULL, Value::Number(1.0)]).unwrap();
    let expected = [
        "_result 9",
        "_result 9",
        "onFCPublish status NetStream.Publish.Start on 0",
        "_result 9",
        "user 0 1",
        "onStatus status NetStream.Publish.Start on 1",
        "_result 9",
        "onFCUnpublish status NetStream.Unpublish.Success on 0",
        "onStatus status NetStream.Unpublish.Success on 1",
    ];
    assert_eq!(peer.replies(), expected);
    let publish = Event::Publish { stream_id: 1, key: b"k".to_vec(), kind: b"live".to_vec() };
    assert_eq!(events(&peer.events), [publish, Event::EndPublish { stream_id: 1 }], "it ends once");
}

#[test]
fn fc_unpublish_ends_the_publish_it_names_with_or_without_its_query() {
    for (name, ends) in [("k", true), ("k?a=1", true), ("k?b=2", true), ("", true), ("other", false)] {
        let mut peer = Peer::connected();
        peer.call(1, "publish", &[NULL, key("k?a=1")]).unwrap();
        peer.call(0, "FCUnpublish", &[NULL, key(name)]).unwrap();
        assert_eq!(peer.events.len() == 2, ends, "{name}");
    }
}

#[test]
fn one_connection_publishes_once_and_does_not_also_play() {
    let mut peer = Peer::connected();
    peer.call(0, "createStream", &[NULL]).unwrap();
    peer.call(1, "publish", &[NULL, key("a")]).unwrap();
    peer.replies();
    peer.call(2, "publish", &[NULL, key("b")]).unwrap();
    peer.call(2, "play", &[NULL, key("b")]).unwrap();
    let refusals = ["onStatus error NetStream.Publish.BadName on 2", "onStatus error NetStream.Play.Failed on 2"];
    assert_eq!(peer.replies(), refusals);
    assert_eq!(peer.events.len(), 1, "neither was asked");

    let mut peer = Peer::connected();
    peer.call(1, "play", &[NULL, key("a")]).unwrap();
    peer.replies();
    peer.call(1, "publish", &[NULL, key("a")]).unwrap();
    assert_eq!(peer.replies(), ["onStatus error NetStream.Publish.Denied on 1"]);
    let long = "k".repeat(5_000);
    let mut other = Peer::connected();
    other.call(1, "publish", &[NULL, key(&long)]).unwrap();
    assert_eq!(other.replies(), ["onStatus error NetStream.Publish.BadName on 1"]);
    peer.call(1, "play", &[NULL, key(&long)]).unwrap();
    assert_eq!(peer.replies(), ["onStatus error NetStream.Play.Failed on 1"]);
}

#[test]
fn media_of_a_stream_that_was_refused_or_does_not_publish_is_thrown_away() {
    let mut peer = Peer::connected();
    peer.call(0, "createStream", &[NULL]).unwrap();
    peer.call(0, "createStream", &[NULL]).unwrap();
    for id in [1, 2] {
        peer.call(id, "publish", &[NULL, key("a")]).unwrap();
    }
    peer.events.clear();
    let media = |peer: &mut Peer, id: u32| {
        peer.message(kind::VIDEO, id, b"picture").unwrap();
        std::mem::take(&mut peer.events).len()
    };
    assert_eq!(media(&mut peer, 1), 1);
    assert_eq!((media(&mut peer, 2), media(&mut peer, 3)), (0, 0), "refused, and not begun");
    // Careless encoders send no id, or one that was never given out.
    assert_eq!((media(&mut peer, 0), media(&mut peer, 77)), (1, 1));
    peer.call(0, "deleteStream", &[NULL, Value::Number(3.0)]).unwrap();
    assert_eq!(media(&mut peer, 3), 0, "nor one that is gone");
    peer.call(1, "closeStream", &[NULL]).unwrap();
    peer.events.clear();
    assert_eq!((media(&mut peer, 0), media(&mut peer, 1), media(&mut peer, 77)), (0, 0, 0));
}

#[test]
fn publish_and_play_with_false_for_a_name_end_what_runs() {
    let mut peer = Peer::connected();
    for id in [1, 0] {
        peer.call(id, "publish", &[NULL, key("a"), key("live")]).unwrap();
        peer.replies();
        peer.events.clear();
        peer.call(id, "publish", &[NULL, Value::Bool(false)]).unwrap();
        assert_eq!(events(&peer.events), [Event::EndPublish { stream_id: 1 }]);
        assert_eq!(peer.replies(), ["onStatus status NetStream.Unpublish.Success on 1"]);
        // The same when nothing runs.
        peer.call(id, "publish", &[NULL, Value::Bool(false)]).unwrap();
        assert_eq!(peer.replies(), [""; 0]);
    }
    peer.events.clear();
    peer.call(1, "play", &[NULL, key("a")]).unwrap();
    peer.call(1, "play", &[NULL, Value::Bool(false)]).unwrap();
    assert_eq!(peer.events.last().unwrap().0, Event::EndPlay { stream_id: 1 });
    peer.replies();
    peer.call(1, "publish", &[NULL, key("b")]).unwrap();
    assert_eq!(peer.replies()[1..], ["onStatus status NetStream.Publish.Start on 1"]);
}

#[test]
fn a_second_play_replaces_or_waits_as_the_peer_says() {
    let mut peer = Peer::connected();
    let play = |peer: &mut Peer, name: &str, reset: bool| {
        let values = [NULL, key(name), Value::Number(-2_000.0), Value::Number(-1.0), Value::Bool(reset)];
        peer.call(1, "play", &values).unwrap();
    };
    let played = |peer: &mut Peer| {
        let names = std::mem::take(&mut peer.events);
        let name = |(event, _)| match event {
            Event::Play { key, .. } => String::from_utf8(key).unwrap(),
            other => format!("{other:?}"),
        };
        names.into_iter().map(name).collect::<Vec<_>>()
    };
    play(&mut peer, "a", false);
    assert_eq!(peer.replies().len(), 3, "no Play.Reset where nothing is reset");
    play(&mut peer, "b", false);
    play(&mut peer, "c", false);
    assert_eq!(played(&mut peer), ["a"], "the others wait");
    peer.session.end_play(1);
    peer.raw(b"").unwrap();
    assert_eq!(played(&mut peer), ["b"]);
    play(&mut peer, "d", true);
    assert_eq!(played(&mut peer), ["d"], "a reset replaces what plays, and what waits");
    peer.session.end_play(1);
    peer.replies();
    peer.raw(b"").unwrap();
    assert_eq!(played(&mut peer), [""; 0]);
    let end =
        ["user 1 1", "onStatus status NetStream.Play.UnpublishNotify on 1", "onStatus status NetStream.Play.Stop on 1"];
    assert_eq!(peer.replies(), end);
    for _ in 0..40 {
        play(&mut peer, "e", false);
    }
    assert_eq!(peer.replies().last().unwrap(), "onStatus error NetStream.Play.Failed on 1", "the queue is bounded");
}

#[test]
fn players_controls_are_answered_and_reported_while_they_play() {
    let mut peer = Peer::connected();
    peer.call(1, "pause", &[NULL, Value::Bool(true), Value::Number(5.0)]).unwrap();
    assert_eq!((peer.events.len(), peer.session.ignored()), (0, 1), "nothing plays");
    peer.call(1, "play", &[NULL, key("a")]).unwrap();
    peer.events.clear();
    peer.replies();
    peer.call(1, "pause", &[NULL, Value::Bool(true), Value::Number(5.0)]).unwrap();
    peer.call(1, "pauseRaw", &[NULL, Value::Bool(false), Value::Number(6.0)]).unwrap();
    peer.call(1, "seek", &[NULL, Value::Number(7.0)]).unwrap();
    peer.call(1, "receiveAudio", &[NULL, Value::Bool(false)]).unwrap();
    peer.call(1, "receiveVideo", &[NULL, Value::Bool(true)]).unwrap();
    peer.call(1, "closeStream", &[NULL]).unwrap();
    let replies = ["Pause", "Unpause", "Seek"].map(|word| format!("onStatus status NetStream.{word}.Notify on 1"));
    assert_eq!(peer.replies(), replies);
    let expected = [
        Event::Pause { stream_id: 1, on: true, at_ms: 5 },
        Event::Pause { stream_id: 1, on: false, at_ms: 6 },
        Event::Receive { stream_id: 1, audio: Some(false), video: None },
        Event::Receive { stream_id: 1, audio: None, video: Some(true) },
        Event::EndPlay { stream_id: 1 },
    ];
    assert_eq!(events(&peer.events), expected);
    peer.call(1, "play", &[NULL, key("b")]).unwrap();
    assert!(matches!(peer.events.last().unwrap().0, Event::Play { .. }), "the stream may be used again");
}

#[test]
fn a_peer_that_skips_create_stream_is_understood_as_far_as_it_is_clear() {
    let mut peer = Peer::shaken();
    peer.call(0, "connect", &[]).unwrap();
    fails(peer.call(0, "publish", &[NULL, key("k")]), RRError::Protocol, "createStream");
    let mut peer = Peer::connected();
    peer.call(0, "publish", &[NULL, key("k")]).unwrap();
    peer.message(kind::VIDEO, 0, b"v").unwrap();
    assert!(matches!(peer.events[0].0, Event::Publish { stream_id: 1, .. }));
    assert!(matches!(peer.events[1].0, Event::Message(_)), "its media too");
}

#[test]
fn an_aggregate_is_unpacked_with_its_times() {
    let tag = |type_id: u8, time: u8, data: &[u8]| {
        let mut tag = vec![type_id, 0, 0, data.len() as u8, 0, 0, time, 0, 0, 0, 0];
        tag.extend_from_slice(data);
        tag.extend_from_slice(&(11 + data.len() as u32).to_be_bytes());
        tag
    };
    let tags =
        [tag(kind::AUDIO, 100, b"one"), tag(20, 101, b"no"), tag(kind::VIDEO, 140, b"two"), tag(kind::AUDIO, 90, b"")];
    let whole = tags.concat();
    let mut peer = Peer::connected();
    peer.call(1, "publish", &[NULL, key("k")]).unwrap();
    peer.events.clear();
    let mut wire = Vec::new();
    let timestamp_ms = 5_000;
    encode(&head(kind::AGGREGATE, 1, timestamp_ms, &whole), &whole, 128, &mut wire);
    peer.raw(&wire).unwrap();
    wire.clear();
    // One that is cut off inside a tag is followed by another message in the same input.
    let cut = &whole[..whole.len() - 10];
    encode(&head(kind::AGGREGATE, 1, 0, cut), cut, 128, &mut wire);
    encode(&head(kind::AUDIO, 1, 7, b"plain"), b"plain", 128, &mut wire);
    peer.raw(&wire).unwrap();
    let got: Vec<_> = peer
        .events
        .iter()
        .map(|(event, body)| match event {
            Event::Message(head) => (head.type_id, head.timestamp_ms, head.len, body.as_slice()),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected: [(u8, u32, u32, &[u8]); 6] = [
        (kind::AUDIO, 5_000, 3, b"one"),
        (kind::VIDEO, 5_040, 3, b"two"),
        (kind::AUDIO, 4_990, 0, b""),
        (kind::AUDIO, 0, 3, b"one"),
        (kind::VIDEO, 40, 3, b"two"),
        (kind::AUDIO, 7, 5, b"plain"),
    ];
    assert_eq!(got, expected);
    assert_eq!(peer.session.ignored(), 3, "two commands, and the tag that was cut off");
}

#[test]
fn a_window_of_one_byte_does_not_make_us_answer_every_byte() {
    let mut peer = Peer::connected();
    peer.message(kind::WINDOW_ACK, 0, &[0, 0, 0, 1]).unwrap();
    peer.replies();
    for _ in 0..100 {
        peer.message(kind::USER_CONTROL, 0, &[0, 0, 0, 0, 0, 1]).unwrap(); // 18 bytes each
    }
    assert!(peer.replies().len() <= 2);
}

#[test]
fn a_peer_that_announced_no_window_is_acknowledged_once_it_stands_still() {
    let mut peer = Peer::connected();
    peer.call(1, "publish", &[NULL, key("k")]).unwrap();
    peer.replies();
    let frame = vec![7; 50_000];
    let mut sent = 0;
    // Twice the window without a pause, as ffmpeg sends a file.
    for _ in 0..200 {
        peer.now_ms += 499;
        peer.session.handle_timeout(peer.now_ms).unwrap();
        peer.message(kind::VIDEO, 1, &frame).unwrap();
        sent += frame.len() as u64;
        assert_eq!(peer.replies(), [""; 0]);
    }
    assert!(sent >= 2 * u64::from(SessionConfig::default().window_ack));
    // A waiting peer gets its acknowledgement, and another one after it has sent as much again.
    for _ in 0..2 {
        assert_eq!(peer.session.next_timeout(), Some(peer.now_ms + 500));
        peer.session.handle_timeout(peer.now_ms + 499).unwrap();
        peer.raw(&[]).unwrap();
        assert_eq!(peer.replies(), [""; 0]);
        peer.session.handle_timeout(peer.now_ms + 500).unwrap();
        peer.raw(&[]).unwrap();
        assert_eq!(peer.replies(), ["type 3"]);
        for _ in 0..60 {
            peer.message(kind::VIDEO, 1, &frame).unwrap();
        }
    }
    // A peer with almost nothing unacknowledged has no reason to wait.
    let mut idle = Peer::connected();
    idle.call(1, "publish", &[NULL, key("k")]).unwrap();
    idle.message(kind::VIDEO, 1, &frame).unwrap();
    idle.replies();
    idle.session.handle_timeout(5_000).unwrap();
    idle.raw(&[]).unwrap();
    assert_eq!(idle.replies(), [""; 0]);
}

#[test]
fn a_kept_connect_is_bounded_and_counted() {
    let connects = |len: usize| {
        let mut peer = Peer::shaken();
        let long = vec![b'x'; len];
        let fields = vec![(&b"app"[..], key("live")), (b"swfUrl", Value::String(&long))];
        peer.call(0, "connect", &[Value::Object(fields)]).map(|()| peer.session.heap_bytes())
    };
    assert!(connects(30_000).unwrap() >= 30_000, "the command as it came");
    fails(connects(40_000).map(drop), RRError::Limit, "a connect of 40");
}
