//! Publishing and playing between our own two sessions: what happens, in which order, and cut at every byte.

use super::super::{ClientSession, Event, ServerSession, SessionConfig};
use super::pair::{Pair, events, head, yes};
use crate::config::CHUNK_SIZE;
use crate::error::RRError;
use crate::proto::auth;
use crate::proto::chunk_write::encode;
use crate::proto::command::{CAPS_RECONNECT, Part};
use crate::proto::message::{MessageHead, kind};
use crate::proto::url::RtmpUrl;
use crate::session::Inbound;

const KEY: &[u8] = b"key?token=1/2";

fn publish_event() -> Event {
    Event::Publish { stream_id: 1, key: KEY.to_vec(), kind: b"live".to_vec() }
}

fn play_event() -> Event {
    Event::Play { stream_id: 1, key: KEY.to_vec(), part: Part { start: Some(-2_000), ..Part::default() } }
}

fn started() -> Vec<Event> {
    vec![Event::Connected, Event::Started { stream_id: 1 }]
}

#[test]
fn a_publisher_gets_through_to_start_and_its_media_arrives_untouched() {
    let mut pair = Pair::new(true);
    pair.run().unwrap();
    assert_eq!(events(&pair.server_events), [Event::Connect, publish_event()]);
    assert_eq!(events(&pair.client_events), started());
    assert!(pair.client.started());

    let body: Vec<u8> = (0..150_000u32).map(|n| n as u8).collect();
    pair.client_sends(kind::VIDEO, 7, &body);
    pair.client_sends(kind::AUDIO, 8, &[]);
    pair.client_sends(99, 9, b"unknown");
    pair.run().unwrap();
    let media = &pair.server_events[2..];
    let got: Vec<_> = media
        .iter()
        .map(|(event, body)| match event {
            Event::Message(head) => (head.type_id, head.timestamp_ms, body.as_slice()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(got, [(kind::VIDEO, 7, &body[..]), (kind::AUDIO, 8, b""), (99, 9, b"unknown")]);
}

#[test]
fn a_session_is_clear_while_it_keeps_no_part_of_a_message_and_has_no_output() {
    let mut pair = Pair::new(true);
    pair.run().unwrap();
    let (mut small, mut large) = (Vec::new(), Vec::new());
    encode(&head(kind::AUDIO, 1, 40, b"whole"), b"whole", CHUNK_SIZE, &mut small);
    encode(&head(kind::VIDEO, 1, 40, &[7; 900]), &[7; 900], CHUNK_SIZE, &mut large);
    let mut clears = |inputs: &[&[u8]]| {
        inputs.iter().for_each(|input| pair.server_takes(input).unwrap());
        pair.server.is_clear()
    };
    let few_small = [small.as_slice(); 8];
    assert!(clears(&few_small));
    let (first, rest) = large.split_at(500);
    assert!(!clears(&[first]), "half a message");
    assert!(!clears(&[rest]), "its buffer");
    assert!(clears(&few_small));
    pair.server.end_publish(1, "NetStream.Publish.Failed", "");
    assert!(!pair.server.is_clear(), "output");
}

#[test]
fn a_player_gets_through_to_start_and_media_follows() {
    let mut pair = Pair::new(false);
    pair.run().unwrap();
    assert_eq!(events(&pair.server_events), [Event::Connect, play_event()]);
    assert_eq!(pair.server.buffer_length_ms(1), Some(1_000));
    pair.server_sends(kind::AUDIO, 5, b"\xaf\x01sound");
    pair.run().unwrap();
    let expected = events(&pair.client_events);
    assert_eq!(expected[..2], started());
    let bodies: Vec<&[u8]> = pair.client_events[2..].iter().map(|(_, body)| body.as_slice()).collect();
    assert_eq!(bodies, [b"\xaf\x01sound"]);
    // The server says this to the player, and our client does not pass it on.
    let access = b"\x02\0\x11|RtmpSampleAccess\x01\x01\x01\x01";
    assert_eq!(pair.to_client_log.windows(access.len()).filter(|bytes| bytes == access).count(), 1);
}

#[test]
fn every_cut_of_the_bytes_gives_the_same_conversation() {
    for publish in [true, false] {
        let mut whole = Pair::new(publish);
        whole.run().unwrap();
        for piece in [1, 2, 3, 7, 128, 1_000] {
            let mut cut = Pair::new(publish);
            cut.piece = piece;
            cut.run().unwrap();
            assert_eq!(events(&cut.server_events), events(&whole.server_events), "pieces of {piece}");
            assert_eq!(events(&cut.client_events), events(&whole.client_events), "pieces of {piece}");
        }
    }
}

/// Every cut except inside the handshake's two blocks of random bytes.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    (0..=len).filter(|cut| cut % 1_536 < 4 || cut % 1_536 > 1_532 || *cut > 3_072)
}

#[test]
fn one_cut_at_every_byte_of_either_direction_changes_nothing() {
    // A side does not check the other's random bytes, so a recording plays again.
    for publish in [true, false] {
        let mut pair = Pair::new(publish);
        pair.run().unwrap();
        pair.client.close();
        pair.run().unwrap();
        let (to_server, to_client) = (pair.to_server_log, pair.to_client_log);
        let server = |cut: usize| {
            let (mut session, mut seen) = (ServerSession::new(&SessionConfig::default(), 0), Vec::new());
            for part in [&to_server[..cut], &to_server[cut..]] {
                let mut at = 0;
                while let Some(event) = session.next(part, &mut at, 0).unwrap() {
                    yes(&mut session, &event);
                    seen.push(event);
                }
            }
            seen
        };
        let client = |cut: usize| {
            let (mut session, mut seen) = (super::pair::client(publish), Vec::new());
            for part in [&to_client[..cut], &to_client[cut..]] {
                let mut at = 0;
                while let Some(event) = session.next(part, &mut at, 0).unwrap() {
                    seen.push(event);
                }
            }
            seen
        };
        let (of_server, of_client) = (server(0), client(0));
        assert!(of_server.len() >= 3 && of_client.len() >= 2);
        cuts(to_server.len()).for_each(|cut| assert_eq!(server(cut), of_server, "cut at {cut}"));
        cuts(to_client.len()).for_each(|cut| assert_eq!(client(cut), of_client, "cut at {cut}"));
    }
}

#[test]
fn a_client_that_closes_ends_its_publish_once_and_the_connection_stays() {
    let mut pair = Pair::new(true);
    pair.run().unwrap();
    pair.client.close();
    pair.run().unwrap();
    let ends = pair.server_events.iter().filter(|(event, _)| *event == Event::EndPublish { stream_id: 1 }).count();
    assert_eq!(ends, 1);
    let mut pair = Pair::new(false);
    pair.run().unwrap();
    pair.client.close();
    pair.run().unwrap();
    assert_eq!(pair.server_events.last().unwrap().0, Event::EndPlay { stream_id: 1 });
}

#[test]
fn until_a_question_is_answered_nothing_more_is_taken() {
    let mut pair = Pair::new(true);
    pair.answer = |_, _| {};
    let failure = pair.run().unwrap_err();
    assert_eq!((failure.kind, failure.by_peer), (RRError::State, false));
    pair.server.accept_connect(pair.now_ms);
    pair.answer = yes;
    pair.run().unwrap();
    assert!(pair.client.started(), "the question came to no harm");
}

#[test]
fn a_refused_publisher_gets_the_code_and_stops_at_once() {
    let mut pair = Pair::new(true);
    pair.answer = |server, event| match event {
        Event::Publish { stream_id, .. } => {
            server.reject_stream(*stream_id, "NetStream.Publish.BadName", "live already")
        }
        other => yes(server, other),
    };
    let failure = pair.run().unwrap_err();
    assert_eq!((failure.kind, failure.by_peer), (RRError::Rejected, true));
    assert_eq!(failure.text, "NetStream.Publish.BadName: live already");
    assert_eq!(pair.client.refusal_code(), Some("NetStream.Publish.BadName"));
}

#[test]
fn a_refused_player_gets_the_code_and_stops_at_once() {
    let mut pair = Pair::new(false);
    pair.answer = |server, event| match event {
        Event::Play { stream_id, .. } => {
            server.reject_stream(*stream_id, "NetStream.Play.StreamNotFound", "no such stream")
        }
        other => yes(server, other),
    };
    assert_eq!(pair.run().unwrap_err().kind, RRError::Rejected);
    assert_eq!(pair.client.refusal_code(), Some("NetStream.Play.StreamNotFound"));
}

#[test]
fn a_rejected_connect_carries_its_redirect_and_swallows_what_follows() {
    let mut pair = Pair::new(true);
    pair.answer = |server, _| server.reject_connect("", "go there", Some("rtmp://other/live"));
    assert_eq!(pair.run().unwrap_err().kind, RRError::Rejected);
    let refusal = pair.client.refusal().unwrap();
    assert_eq!(refusal.code, "NetConnection.Connect.Rejected");
    assert_eq!((refusal.text.as_str(), refusal.redirect.as_deref()), ("go there", Some("rtmp://other/live")));
    assert!(pair.server.finished());
    pair.server_takes(b"anything at all").unwrap();
}

#[test]
fn an_authentication_challenge_differs_from_a_plain_refusal() {
    let mut pair = Pair::new(true);
    let text = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ";
    pair.answer = |server, _| {
        server.reject_connect("", "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ", None)
    };
    assert_eq!(pair.run().unwrap_err().kind, RRError::Auth);
    assert_eq!(pair.client.refusal().unwrap().text, text);
}

/// Each connection is a session of its own; only the query after the application goes from one to the next.
#[test]
fn a_publisher_logs_in_with_the_third_connection() {
    let asks: [fn(&mut ServerSession, &Event); 3] = [
        |server, _| {
            server.reject_connect("", "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ", None)
        },
        |server, _| {
            let text = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=joe&salt=s&challenge=c";
            server.reject_connect("", text, None);
        },
        yes,
    ];
    let mut url = RtmpUrl::parse("rtmp://example.net/live/key", None).unwrap();
    let mut apps = Vec::new();
    for answer in asks {
        let mut pair = Pair::new(true);
        pair.client = ClientSession::publish(&SessionConfig::default(), &url, 0).unwrap();
        pair.answer = answer;
        let end = pair.run();
        let info = pair.server.connect().unwrap();
        let app = String::from_utf8(info.app.to_vec()).unwrap();
        assert_eq!(info.tc_url, format!("rtmp://example.net/{app}").as_bytes(), "both carry the query");
        apps.push(app);
        let Err(failure) = end else { break };
        assert_eq!(failure.kind, RRError::Auth);
        let text = &pair.client.refusal().unwrap().text;
        let auth::Answer::Retry(query) =
            auth::answer(url.app.as_bytes(), b"joe", b"secret", text.as_bytes(), [1, 2, 3, 4])
        else {
            panic!("{text}")
        };
        url.app = String::from_utf8(auth::with_query(url.app.as_bytes(), &query)).unwrap();
    }
    assert_eq!(apps[..2], ["live", "live?authmod=adobe&user=joe"]);
    assert!(apps[2].starts_with("live?authmod=adobe&user=joe&challenge=01020304&response="), "{apps:?}");
}

#[test]
fn the_connect_fields_are_kept_and_enhanced_ones_are_answered() {
    let mut pair = Pair::new(true);
    pair.run().unwrap();
    let info = pair.server.connect().unwrap();
    assert_eq!((info.app, info.tc_url), (&b"live"[..], &b"rtmp://example.net/live"[..]));
    assert_eq!(info.flash_ver, b"FMLE/3.0 (compatible; rrelay)");
    assert_eq!((info.caps_ex, info.four_cc_list.as_slice()), (0x0e, &[&b"*"[..]][..]));
    assert_eq!(info.video_four_cc, [(&b"*"[..], 4)]);
    let answer = pair.to_client_log.windows(18).any(|bytes| bytes == b"videoFourCcInfoMap");
    assert!(answer, "the answer says what is forwarded");
}

#[test]
fn pings_are_answered_and_measured_both_ways() {
    let mut pair = Pair::new(false);
    pair.run().unwrap();
    let silent_until = pair.server.next_timeout().unwrap().max(pair.client.next_timeout().unwrap());
    for round in 1..=10 {
        pair.now_ms = silent_until + 100_000 * round;
        assert_eq!(pair.server.handle_timeout(pair.now_ms).unwrap(), None);
        assert_eq!(pair.client.handle_timeout(pair.now_ms).unwrap(), None);
        assert!(!pair.server.output().is_empty() && !pair.client.output().is_empty(), "both ask");
        pair.run().unwrap();
    }
    assert_eq!((pair.server.rtt_ms(), pair.client.rtt_ms()), (Some(20), Some(20)));
}

#[test]
fn acknowledgements_carry_the_running_total() {
    let mut pair = Pair::new(true);
    pair.run().unwrap();
    for _ in 0..12 {
        pair.client_sends(kind::VIDEO, 0, &vec![0; 500_000]);
        pair.run().unwrap();
    }
    let received = pair.server.received();
    assert!(received > 6_000_000);
    // The last of two acknowledgements, each after half the window of 5,000,000.
    let unacked = pair.client.unacked().unwrap();
    assert!(unacked < 2_500_000, "{unacked} bytes are open: the totals do not match");
    assert!(unacked > 900_000, "{unacked}");
}

#[test]
fn the_client_reports_the_end_of_a_stream() {
    let mut pair = Pair::new(false);
    pair.run().unwrap();
    pair.client_events.clear();
    pair.server.end_play(1);
    pair.run().unwrap();
    let expected = Event::Ended { code: "StreamEOF".to_owned(), text: String::new() };
    assert_eq!(events(&pair.client_events), [expected]);
}

#[test]
fn a_publisher_that_is_replaced_hears_why_and_its_media_is_ignored() {
    let mut pair = Pair::new(true);
    pair.run().unwrap();
    pair.server.end_publish(1, "NetStream.Publish.BadName", "taken over");
    let failure = pair.run().unwrap_err();
    assert_eq!(failure.kind, RRError::Rejected);
    let before = pair.server_events.len();
    pair.client_sends(kind::AUDIO, 0, b"late");
    pair.run().unwrap();
    assert_eq!((pair.server_events.len(), pair.server.ignored()), (before, 1));
}

#[test]
fn a_reconnect_request_goes_only_to_those_who_understand_it() {
    let mut pair = Pair::new(true);
    pair.run().unwrap();
    assert!(!pair.server.reconnect_request(None, "updating"));
    assert!(pair.server.output().is_empty());

    let mut pair = Pair::new(true);
    let config = SessionConfig { caps_ex: CAPS_RECONNECT, ..Default::default() };
    let url = RtmpUrl::parse("rtmp://h/live/k", None).unwrap();
    pair.client = ClientSession::publish(&config, &url, 0).unwrap();
    pair.run().unwrap();
    assert!(pair.server.reconnect_request(Some("rtmp://other/live"), "updating"));
    pair.run().unwrap();
    let expected = Event::Reconnect { url: Some("rtmp://other/live".to_owned()), text: "updating".to_owned() };
    assert_eq!(pair.client_events.last().unwrap().0, expected);
    assert!(pair.client.started(), "the publish goes on");
}

#[test]
fn a_playing_session_is_small() {
    let mut pair = Pair::new(false);
    pair.piece = 1_400;
    pair.run().unwrap();
    let output = pair.server.output().len();
    pair.server.consumed(output);
    let bytes = size_of::<ServerSession>() + pair.server.heap_bytes();
    assert!(bytes < 2_048, "{bytes} bytes");
}

#[test]
fn a_message_is_refused_where_nothing_plays_or_too_much_waits() {
    let sound = |len: usize| (head(kind::AUDIO, 1, 0, &vec![0; len]), vec![0; len]);
    let refused = |result: crate::error::Result<()>, kind: RRError| assert_eq!(result.unwrap_err().kind, kind);
    let mut pair = Pair::new(false);
    let (small, body) = sound(9);
    refused(pair.server.send_message(&small, &body), RRError::State);
    pair.run().unwrap();
    refused(pair.client.send_message(&small, &body), RRError::State);
    let elsewhere = MessageHead { stream_id: 2, ..small };
    refused(pair.server.send_message(&elsewhere, &body), RRError::State);
    for wrong in [
        MessageHead { len: 8, ..small },
        MessageHead { chunk_stream: 1, ..small },
        MessageHead { type_id: kind::SET_CHUNK_SIZE, ..small },
        MessageHead { type_id: kind::COMMAND, ..small },
    ] {
        refused(pair.server.send_message(&wrong, &body), RRError::Arg);
    }
    assert!(pair.server.output().is_empty(), "what is refused leaves nothing");

    let (large, large_body) = sound(1 << 20);
    pair.server.send_message(&large, &large_body).unwrap();
    refused(pair.server.send_message(&small, &body), RRError::Again);
    pair.server.consumed(1 << 20);
    pair.server.send_message(&small, &body).unwrap();
}

#[test]
fn messages_that_wait_are_not_held_against_a_peer_that_asks() {
    let mut pair = Pair::new(false);
    pair.run().unwrap();
    let body = vec![0; 1 << 20];
    pair.server.send_message(&head(kind::VIDEO, 1, 0, &body), &body).unwrap();
    let mut ping = Vec::new();
    let control = MessageHead { chunk_stream: 2, ..head(kind::USER_CONTROL, 0, 0, &[0; 6]) };
    encode(&control, &[0, 6, 0, 0, 0, 1], 60_000, &mut ping);
    pair.server_takes(&ping).unwrap();
    let failure = (0..4_000).find_map(|_| pair.server_takes(&ping).err()).expect("answers have a bound of their own");
    assert_eq!(failure.kind, RRError::Limit);
}
