//! A state that no session can have is refused with the reason, and a session's state is read back completely.

use super::*;
use crate::config::Start;
use crate::fuzzing::{conversation, seeds};
use crate::proto::amf0::Value;
use crate::proto::chunk_write;
use crate::proto::command::build;
use crate::proto::message::{MessageHead, kind};
use crate::session::Inbound;

const NOW_MS: u64 = 1_000;

fn asking() -> ExportedSession {
    let mut session = ServerSession::new(&SessionConfig::default(), 0);
    let wire = conversation(&seeds::server_conversations()[0]);
    let (mut at, question) = (0, Said::Connect);
    assert_eq!(session.next(&wire, &mut at, 0).unwrap(), Some(question.clone()));
    ExportedSession::asking(session, question, &wire[at..])
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
    session.decision.start = Some(Start::Now);
    session.decision.media = 1;
    let again = read(&session.state(NOW_MS).unwrap()).unwrap();
    assert_eq!((&again.addr, &again.local_addr), (&session.addr, &session.local_addr));
    assert_eq!((&again.unread, &again.question), (&session.unread, &session.question));
    assert_eq!((&again.app_given, &again.decision), (&session.app_given, &session.decision));
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
    refused(|session| session.decision.rename = Some(vec![b'a'; MAX_NAME_BYTES + 1]), RRError::Arg, "rename");
    refused(|session| session.decision.media = 64, RRError::Arg, "media");
    let publish = |session: &mut ExportedSession| {
        session.question = Said::Publish { stream_id: 1, key: b"show".to_vec(), kind: b"live".to_vec() };
    };
    refused(publish, RRError::Arg, "does not have the question");
}

#[test]
fn a_session_that_plays_already_is_refused() {
    let mut session = asking().session;
    session.accept_connect(0);
    for stream_id in [1, 2] {
        let (mut body, mut wire, mut at) = (Vec::new(), Vec::new(), 0);
        build::call(&mut body, "play", 0.0, &[Value::Null, Value::String(b"show")]);
        let len = body.len() as u32;
        let head = MessageHead { timestamp_ms: 0, type_id: kind::COMMAND, stream_id, len, chunk_stream: 3 };
        chunk_write::encode(&head, &body, 128, &mut wire);
        let question = session.next(&wire, &mut at, 0).unwrap().unwrap();
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
