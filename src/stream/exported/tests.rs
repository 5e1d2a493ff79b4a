//! A state that no session can have is refused with the reason, and a session's state is read back completely.

use super::*;
use crate::config::Start;
use crate::fuzzing::snapshot::http_players;
use crate::fuzzing::{conversation, seeds};
use crate::proto::amf0::Value;
use crate::proto::chunk_write;
use crate::proto::command::build;
use crate::session::Inbound;

const NOW_MS: u64 = 1_000;

fn asking() -> ExportedSession {
    let (session, rest) = connecting();
    ExportedSession::asking(session, Said::Connect, &rest)
}

/// A session at its first question, and what its peer says then.
fn connecting() -> (ServerSession, Vec<u8>) {
    let mut session = ServerSession::new(&SessionConfig::default(), 0);
    let wire = conversation(&seeds::server_conversations()[0]);
    let mut at = 0;
    assert_eq!(session.next(&wire, &mut at, 0).unwrap(), Some(Said::Connect));
    (session, wire[at..].to_vec())
}

fn decision(session: &mut ExportedSession) -> &mut Decision {
    match &mut session.doing {
        Doing::Asks(_, decision) => decision,
        _ => panic!("it asks"),
    }
}

/// A session that publishes on message stream 1.
fn publishing() -> ExportedSession {
    let mut session = connecting().0;
    session.accept_connect(0);
    let wire = wire_of("publish", 1);
    assert!(matches!(session.next(&wire, &mut 0, 0), Ok(Some(Said::Publish { .. }))));
    session.accept_publish(1, 0);
    ExportedSession::publishing(session, 1, b"unread")
}

/// A session that plays on message stream 1.
fn playing() -> ExportedSession {
    let mut session = connecting().0;
    session.accept_connect(0);
    assert!(matches!(session.next(&wire_of("play", 1), &mut 0, 0), Ok(Some(Said::Play { .. }))));
    session.accept_play(1, 0);
    ExportedSession::playing(session, 1, b"unread")
}

fn wire_of(name: &str, stream_id: u32) -> Vec<u8> {
    let (mut body, mut wire) = (Vec::new(), Vec::new());
    build::call(&mut body, name, 0.0, &[Value::Null, Value::String(b"show")]);
    let len = body.len() as u32;
    let head = MessageHead { timestamp_ms: 0, type_id: kind::COMMAND, stream_id, len, chunk_stream: 3 };
    chunk_write::encode(&head, &body, 128, &mut wire);
    wire
}

fn read(state: &[u8]) -> Result<ExportedSession> {
    ExportedSession::read(&SessionConfig::default(), state, NOW_MS)
}

#[test]
fn all_of_a_session_is_read_again() {
    let mut session = asking();
    session.counted = Counted {
        bytes_in: 1,
        bytes_out: 2,
        msgs_in: 3,
        msgs_out: 4,
        audio_bytes: 5,
        video_bytes: 6,
        data_bytes: 7,
        conn_bytes_in: 8,
        started_us: 9,
    };
    decision(&mut session).start = Some(Start::Now);
    decision(&mut session).media = 1;
    let again = read(&session.state(NOW_MS).unwrap()).unwrap();
    assert_eq!((&again.addr, &again.local_addr), (&session.addr, &session.local_addr));
    assert_eq!((&again.unread, &again.app_given), (&session.unread, &session.app_given));
    assert_eq!(again.doing, session.doing);
    assert_eq!(again.counted, session.counted);
    let counted = Counted { conn_bytes_in: 8, ..Counted::of(&again.counted.counters()) };
    assert_eq!(counted, session.counted);
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let refused = |change: fn(&mut ExportedSession), kind: RRError, words: &str| {
        let mut session = asking();
        change(&mut session);
        let failure = read(&session.state(NOW_MS).unwrap()).map(drop).unwrap_err();
        assert!(failure.kind == kind && !failure.by_peer && failure.text.contains(words), "{failure}");
    };
    refused(|session| session.addr = "192.0.2.7\nERROR".to_owned(), RRError::Arg, "cannot be shown");
    refused(|session| session.local_addr = "a".repeat(ADDR_BYTES + 1), RRError::Limit, "address");
    refused(|session| session.unread = vec![0; UNREAD_BYTES + 1], RRError::Limit, "more unread bytes");
    refused(|session| session.counted.video_bytes = u64::MAX, RRError::Arg, "counters");
    refused(|session| session.counted.started_us = -1, RRError::Arg, "counters");
    refused(|session| session.app_given = Some(b"li\0ve".to_vec()), RRError::Arg, "application");
    refused(|session| decision(session).rename = Some(vec![b'a'; MAX_NAME_BYTES + 1]), RRError::Arg, "rename");
    refused(|session| decision(session).media = 64, RRError::Arg, "media");
    let publish = |session: &mut ExportedSession| {
        let question = Said::Publish { stream_id: 1, key: b"show".to_vec(), kind: b"live".to_vec() };
        session.doing = Doing::Asks(question, Box::default());
    };
    refused(publish, RRError::Arg, "does not have the question");
}

#[test]
fn a_session_that_plays_already_is_refused() {
    let mut session = connecting().0;
    session.accept_connect(0);
    for stream_id in [1, 2] {
        let question = session.next(&wire_of("play", stream_id), &mut 0, 0).unwrap().unwrap();
        let state = ExportedSession::asking(
            ServerSession::restore(&SessionConfig::default(), &session.snapshot(0).unwrap(), 0).unwrap(),
            question,
            &[],
        )
        .state(NOW_MS)
        .unwrap();
        let failure = read(&state).map(drop).err();
        assert_eq!(failure.map(|failure| failure.kind), (stream_id == 2).then_some(RRError::Arg));
        session.accept_play(stream_id, 0);
    }
}

#[test]
fn all_of_a_publisher_is_read_again_and_what_no_publisher_has_is_refused() {
    let session = publishing();
    let again = read(&session.state(NOW_MS).unwrap()).unwrap();
    assert_eq!((&again.doing, &again.unread), (&session.doing, &session.unread));

    let refused = |change: fn(&mut Publishing), kind: RRError, words: &str| {
        let mut session = publishing();
        let Doing::Publishes(publishing) = &mut session.doing else { panic!("it publishes") };
        change(publishing);
        let failure = read(&session.state(NOW_MS).unwrap()).map(drop).unwrap_err();
        assert!(failure.kind == kind && failure.text.contains(words), "{failure}");
    };
    refused(|publishing| publishing.stream_id = 2, RRError::Arg, "does not publish");
    refused(|publishing| publishing.named.app = b"li\0ve".to_vec(), RRError::Arg, "name");
    refused(|publishing| publishing.named.query = vec![b'a'; MAX_NAME_BYTES + 1], RRError::Arg, "name");
    refused(|publishing| publishing.feed.owed[0].0.type_id = 1, RRError::Arg, "waits for its log");
    refused(|publishing| publishing.feed.place = Some(nowhere()), RRError::Arg, "no log");
    let mut asks = asking();
    asks.doing = session.doing;
    let failure = read(&asks.state(NOW_MS).unwrap()).map(drop).unwrap_err();
    assert!(failure.kind == RRError::Arg && failure.text.contains("does not publish"), "{failure}");
}

fn nowhere() -> LogPlace {
    LogPlace { log: vec![b'a'; 1000], position: 0 }
}

#[test]
fn all_of_a_player_is_read_again_and_what_no_player_has_is_refused() {
    let session = playing();
    let again = read(&session.state(NOW_MS).unwrap()).unwrap();
    assert_eq!((&again.doing, &again.unread), (&session.doing, &session.unread));

    let refused = |change: fn(&mut Playing), kind: RRError, words: &str| {
        let mut session = playing();
        let Doing::Plays(playing) = &mut session.doing else { panic!("it plays") };
        change(playing);
        let failure = read(&session.state(NOW_MS).unwrap()).map(drop).unwrap_err();
        assert!(failure.kind == kind && failure.text.contains(words), "{failure}");
    };
    refused(|playing| playing.plays[0].stream_id = 2, RRError::Arg, "does not play");
    refused(|playing| playing.named.key = b"sh\0w".to_vec(), RRError::Arg, "name");
    refused(|playing| playing.plays[0].allowed = media::AUDIO, RRError::Arg, "kinds");
    refused(|playing| playing.plays[0].allowed = 64 | media::ALL, RRError::Arg, "kinds");
    refused(|playing| playing.plays[0].share.place = Some(nowhere()), RRError::Arg, "no log");
    let small = SessionConfig { chunk_size: 4096, ..SessionConfig::default() };
    let mut told = ServerSession::new(&small, 0);
    let wire = conversation(&seeds::server_conversations()[0]);
    assert_eq!(told.next(&wire, &mut 0, 0).unwrap(), Some(Said::Connect));
    told.accept_connect(0);
    assert!(matches!(told.next(&wire_of("play", 1), &mut 0, 0), Ok(Some(Said::Play { .. }))));
    told.accept_play(1, 0);
    let failure = read(&ExportedSession::playing(told, 1, b"").state(NOW_MS).unwrap()).map(drop).unwrap_err();
    assert!(failure.kind == RRError::Arg && failure.text.contains("chunk size"), "{failure}");
}

/// A session that plays on the message streams 1 and 3, and asks for a play on 2.
fn playing_several() -> ExportedSession {
    let mut session = connecting().0;
    session.accept_connect(0);
    for stream_id in [1, 3] {
        assert!(matches!(session.next(&wire_of("play", stream_id), &mut 0, 0), Ok(Some(Said::Play { .. }))));
        session.accept_play(stream_id, 0);
    }
    let asks = session.next(&wire_of("play", 2), &mut 0, 0).unwrap();
    ExportedSession::playing_each(session, &[1, 3], asks, b"unread")
}

#[test]
fn all_of_several_plays_is_read_again_and_what_no_session_plays_is_refused() {
    let session = playing_several();
    let again = read(&session.state(NOW_MS).unwrap()).unwrap();
    assert_eq!((&again.doing, &again.unread), (&session.doing, &session.unread));

    let refused = |change: fn(&mut Playing), words: &str| {
        let mut session = playing_several();
        let Doing::Plays(playing) = &mut session.doing else { panic!("it plays") };
        change(playing);
        let failure = read(&session.state(NOW_MS).unwrap()).map(drop).unwrap_err();
        assert!(failure.kind == RRError::Arg && failure.text.contains(words), "{failure}");
    };
    refused(|playing| playing.plays[1].stream_id = 1, "does not play");
    refused(|playing| playing.plays.truncate(1), "does not play");
    refused(|playing| playing.plays.clear(), "does not play");
    refused(|playing| playing.plays.push(playing.plays[0].clone()), "does not play");
    refused(|playing| playing.asks = None, "ask for");
    refused(|playing| playing.plays[0].name.key = b"sh\0w".to_vec(), "name");
    refused(|playing| playing.plays[1].allowed = media::AUDIO, "kinds");
    refused(|playing| playing.plays[1].share.place = Some(nowhere()), "no log");
    refused(|playing| playing.plays[0].share.tags = http_tags(), "tags");
    let other = |playing: &mut Playing| {
        let question = Said::Play { stream_id: 1, key: b"show".to_vec(), part: Part::default() };
        playing.asks = Some((question, Box::default()));
    };
    refused(other, "ask for");
}

fn http_tags() -> Option<TagsState> {
    let over_http = ExportedSession::playing_over_http(http_players().remove(0), b"");
    let Doing::Plays(playing) = over_http.doing else { panic!("it plays") };
    playing.plays[0].share.tags
}

/// One play keeps the form that it had in version 2, so a state that was made then is read today. What is newer is
/// refused by its version.
#[test]
fn one_play_of_an_older_version_is_read_and_a_newer_version_is_refused_in_words() {
    let session = playing();
    let mut state = session.state(NOW_MS).unwrap();
    assert_eq!((&state[..4], state[4]), (FORM.magic.as_slice(), VERSION as u8));
    state[4] = 2;
    assert_eq!(read(&state).unwrap().doing, session.doing);
    state[4] = VERSION as u8 + 1;
    let failure = read(&state).map(drop).unwrap_err();
    assert!(
        failure.kind == RRError::Version && failure.text.contains(&format!("version {}", VERSION + 1)),
        "{failure}"
    );
}

#[test]
fn all_of_a_player_over_http_is_read_again_and_what_no_such_player_has_is_refused() {
    let over_http = || ExportedSession::playing_over_http(http_players().remove(0), b"unread");
    let session = over_http();
    let again = read(&session.state(NOW_MS).unwrap()).unwrap();
    assert_eq!((&again.doing, &again.unread), (&session.doing, &session.unread));
    let refused = |change: fn(&mut ExportedSession), words: &str| {
        let mut session = over_http();
        change(&mut session);
        let failure = read(&session.state(NOW_MS).unwrap()).map(drop).unwrap_err();
        assert!(failure.kind == RRError::Arg && failure.text.contains(words), "{failure}");
    };
    let no_tags = |session: &mut ExportedSession| {
        let Doing::Plays(playing) = &mut session.doing else { panic!("it plays") };
        playing.plays[0].share.tags = None;
    };
    refused(no_tags, "tags");
    refused(|session| session.doing = playing().doing, "tags");
    refused(|session| session.doing = publishing().doing, "does not publish");
    refused(|session| session.doing = asking().doing, "stays in its process");
}
