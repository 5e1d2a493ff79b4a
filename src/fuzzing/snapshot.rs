//! Fuzz bodies for input from other processes: sessions' snapshots, exported sessions and targets with one inside, and
//! exported streams.

use crate::error::{Failure, RRError};
use crate::proto::amf0::Value;
use crate::proto::chunk_write::encode;
use crate::proto::command::build;
use crate::proto::message::{MessageHead, kind};
use crate::session::Inbound;
use crate::session::{ClientSession, Event, HttpSession, ServerSession, SessionConfig};
use crate::stream::exported::stream::ExportedStream;
use crate::stream::exported::target::{ExportedTarget, Stage};
use crate::stream::exported::{ExportedSession, MovedSession};

/// The moment at which snapshots are made and restored.
const NOW_MS: u64 = 1_000_000;

/// Memory that a session may hold in addition to the bytes of its snapshot.
const SLACK_BYTES: usize = 64 * 1024;

/// Fuzz body: any bytes are refused, or give a session of either role that continues without a panic and yields the
/// same snapshot again.
///
/// # Panics
/// If a check fails.
pub fn session_snapshot(data: &[u8]) {
    let config = SessionConfig::default();
    match ServerSession::restore(&config, data, NOW_MS) {
        Ok(session) => server_goes_on(session, &config, data),
        Err(failure) => assert_refused(&failure),
    }
    match ClientSession::restore(&config, data, NOW_MS) {
        Ok(session) => client_goes_on(session, &config, data),
        Err(failure) => assert_refused(&failure),
    }
}

/// Fuzz body: any bytes are refused, or give an exported session that yields the same bytes again and continues.
///
/// # Panics
/// If a check fails.
pub fn exported_session(data: &[u8]) {
    let config = SessionConfig::default();
    match ExportedSession::read(&config, data, NOW_MS) {
        Ok(exported) => {
            let state = exported.state(NOW_MS).expect("its handshake is over");
            let again = ExportedSession::read(&config, &state, NOW_MS).expect("what a session says of itself");
            assert_eq!(again.state(NOW_MS), Ok(state));
            let (session, unread) = exported.into_session();
            let data = [data, &unread].concat();
            match session {
                MovedSession::Rtmp(session) => server_goes_on(*session, &config, &data),
                MovedSession::Http(session) => http_goes_on(*session, &config, &data),
            }
        }
        Err(failure) => assert_refused(&failure),
    }
}

/// Fuzz body: any bytes are refused, or make an exported stream, which gives the same bytes again and whose log goes on.
///
/// # Panics
/// If a check fails.
pub fn exported_stream(data: &[u8]) {
    match ExportedStream::read(data) {
        Ok(exported) => {
            let state = exported.state().expect("there is memory");
            assert_eq!(ExportedStream::read(&state).as_ref(), Ok(&exported), "what a stream says of itself");
            exported.goes_on();
        }
        Err(failure) => assert_refused(&failure),
    }
}

/// Fuzz body: any bytes are refused, or give an exported target that yields the same bytes again and whose session
/// continues.
///
/// # Panics
/// If a check fails.
pub fn exported_target(data: &[u8]) {
    let config = SessionConfig::default();
    match ExportedTarget::read(&config, data, NOW_MS) {
        Ok(exported) => {
            let state = exported.state(NOW_MS).expect("its handshake is over");
            let again = ExportedTarget::read(&config, &state, NOW_MS).expect("what a target says of itself");
            assert_eq!(again.state(NOW_MS), Ok(state));
            let connected = match exported.stage {
                Stage::Pauses(_) => return,
                Stage::Pushes(connected, _) | Stage::Pulls(connected, _) => connected,
            };
            client_goes_on(*connected.session, &config, &[data, &connected.unread].concat());
        }
        Err(failure) => assert_refused(&failure),
    }
}

fn assert_refused(failure: &Failure) {
    let known = [RRError::Arg, RRError::Version, RRError::Limit, RRError::NoMem, RRError::Unsupported];
    assert!(!failure.by_peer && known.contains(&failure.kind), "{failure}");
}

/// Some bytes that a peer may send next.
fn wire(data: &[u8]) -> Vec<u8> {
    let mut wire = data[data.len() - data.len().min(40)..].to_vec();
    for chunk_stream in [3, 6] {
        let message = |type_id: u8, body: &[u8]| {
            let len = u32::try_from(body.len()).expect("small");
            let mut wire = Vec::new();
            encode(&MessageHead { timestamp_ms: 5, type_id, stream_id: 1, len, chunk_stream }, body, 128, &mut wire);
            wire
        };
        for name in ["createStream", "publish", "play", "onStatus", "_result", "deleteStream"] {
            let mut body = Vec::new();
            build::call(&mut body, name, 4.0, &[Value::Null, Value::String(b"key")]);
            wire.extend(message(kind::COMMAND, &body));
            wire.extend(message(kind::AUDIO, &[7; 300]));
        }
    }
    wire
}

fn server_goes_on(mut session: ServerSession, config: &SessionConfig, data: &[u8]) {
    let snapshot = session.snapshot(NOW_MS).expect("its handshake is over");
    let again = ServerSession::restore(config, &snapshot, NOW_MS).expect("what a session says of itself");
    assert_eq!(again.snapshot(NOW_MS), Ok(snapshot));
    assert!(session.heap_bytes() < 4 * data.len() + SLACK_BYTES);
    session.asked(NOW_MS);
    session.accept_connect(NOW_MS);
    (0..20).for_each(|id| session.accept_publish(id, NOW_MS));
    (0..20).for_each(|id| session.reject_stream(id, "NetStream.Play.Failed", "no"));
    for input in [&b""[..], &wire(data)] {
        let mut at = 0;
        while let Ok(Some(event)) = session.next(input, &mut at, NOW_MS) {
            match event {
                Event::Connect => session.accept_connect(NOW_MS),
                Event::Publish { stream_id, .. } => session.accept_publish(stream_id, NOW_MS),
                Event::Play { stream_id, .. } => session.accept_play(stream_id, NOW_MS),
                Event::Message(head) => assert_eq!(session.body(input).len(), head.len as usize),
                _ => {}
            }
            assert!(at <= input.len());
        }
    }
    for _ in 0..6 {
        let Some(due_ms) = session.next_timeout() else { break };
        if session.handle_timeout(due_ms).is_err() {
            break;
        }
    }
    (0..3).for_each(|id| session.end_play(id));
    session.note_sent(1);
    session.take_output();
    let _ = (session.unacked(), session.sent());
}

fn http_goes_on(mut session: HttpSession, config: &SessionConfig, data: &[u8]) {
    let snapshot = session.snapshot(NOW_MS).expect("it plays");
    let again = HttpSession::restore(config.timing, &snapshot, NOW_MS).expect("what a session says of itself");
    assert_eq!(again.snapshot(NOW_MS), Ok(snapshot));
    assert!(session.heap_bytes() < 4 * data.len() + SLACK_BYTES);
    session.begin_media(NOW_MS);
    let frames = [&data[data.len() - data.len().min(300)..], b"\x89\x80\x01\x02\x03\x04"].concat();
    let mut at = 0;
    while let Ok(Some(_)) = session.next(&frames, &mut at, NOW_MS) {}
    assert!(at <= frames.len());
    for _ in 0..6 {
        let Some(due_ms) = session.next_timeout() else { break };
        if session.handle_timeout(due_ms).is_err() {
            break;
        }
    }
    session.note_sent(1);
    session.end_play(1);
    session.take_output();
    let _ = session.sent();
}

fn client_goes_on(mut session: ClientSession, config: &SessionConfig, data: &[u8]) {
    let snapshot = session.snapshot(NOW_MS).expect("its handshake is over");
    let again = ClientSession::restore(config, &snapshot, NOW_MS).expect("what a session says of itself");
    assert_eq!(again.snapshot(NOW_MS), Ok(snapshot));
    assert!(session.heap_bytes() < 4 * data.len() + SLACK_BYTES);
    for input in [&b""[..], &wire(data)] {
        let mut at = 0;
        while let Ok(Some(event)) = session.next(input, &mut at, NOW_MS) {
            if let Event::Message(head) = event {
                assert_eq!(session.body(input).len(), head.len as usize);
            }
            assert!(at <= input.len());
        }
    }
    for _ in 0..6 {
        let Some(due_ms) = session.next_timeout() else { break };
        if session.handle_timeout(due_ms).is_err() {
            break;
        }
    }
    session.close();
    session.take_output();
    let _ = (session.unacked(), session.sent());
}

/// Snapshots along some of the golden conversations.
#[cfg(test)]
pub(super) fn seeds() -> Vec<Vec<u8>> {
    use super::seeds::{client_conversations, server_conversations};
    use super::session::conversation;
    use crate::proto::url::RtmpUrl;

    let config = SessionConfig::default();
    let url = RtmpUrl::parse("rtmp://h/live/key", None).expect("a url");
    let mut all = Vec::new();
    // The step picks some conversations of every opening, with different messages after it.
    for data in server_conversations().iter().step_by(17) {
        let wire = conversation(data);
        for end in [wire.len() - 5, wire.len()] {
            let (mut session, mut at) = (ServerSession::new(&config, 0), 0);
            while let Ok(Some(event)) = session.next(&wire[..end], &mut at, 0) {
                session.take_output();
                match event {
                    Event::Connect => session.accept_connect(0),
                    Event::Publish { stream_id, .. } if end == wire.len() => session.accept_publish(stream_id, 0),
                    Event::Play { stream_id, .. } if end == wire.len() => session.accept_play(stream_id, 0),
                    _ => {}
                }
            }
            all.extend(session.snapshot(NOW_MS));
        }
    }
    for (data, publish) in client_conversations().iter().step_by(17).zip([true, false].into_iter().cycle()) {
        let wire = conversation(data);
        for end in [wire.len() - 5, wire.len()] {
            let session =
                if publish { ClientSession::publish(&config, &url, 0) } else { ClientSession::play(&config, &url, 0) };
            let (mut session, mut at) = (session.expect("random bytes"), 0);
            session.take_output();
            while let Ok(Some(_)) = session.next(&wire[..end], &mut at, 0) {}
            session.take_output();
            all.extend(session.snapshot(NOW_MS));
        }
    }
    all
}

/// Sessions along the golden conversations of servers, at each of their questions and where they publish or play.
#[cfg(test)]
pub(crate) fn exported_seeds() -> Vec<Vec<u8>> {
    use super::seeds::server_conversations;
    use super::session::conversation;

    let config = SessionConfig::default();
    let mut all = Vec::new();
    for data in server_conversations().iter().step_by(17) {
        let wire = conversation(data);
        let (mut session, mut at) = (ServerSession::new(&config, 0), 0);
        while let Ok(Some(event)) = session.next(&wire, &mut at, 0) {
            // The handshake's random bytes are sent.
            session.take_output();
            if session.asks(&event) {
                let snapshot = session.snapshot(NOW_MS).expect("its handshake is over");
                let asks = ServerSession::restore(&config, &snapshot, NOW_MS).expect("what a session says of itself");
                all.extend(ExportedSession::asking(asks, event.clone(), &wire[at..]).state(NOW_MS));
            }
            match event {
                Event::Connect => session.accept_connect(0),
                Event::Publish { stream_id, .. } => {
                    session.accept_publish(stream_id, 0);
                    let snapshot = session.snapshot(NOW_MS).expect("its handshake is over");
                    let runs =
                        ServerSession::restore(&config, &snapshot, NOW_MS).expect("what a session says of itself");
                    all.extend(ExportedSession::publishing(runs, stream_id, &wire[at..]).state(NOW_MS));
                }
                Event::Play { stream_id, .. } => {
                    session.accept_play(stream_id, 0);
                    let snapshot = session.snapshot(NOW_MS).expect("its handshake is over");
                    let runs =
                        ServerSession::restore(&config, &snapshot, NOW_MS).expect("what a session says of itself");
                    all.extend(ExportedSession::playing(runs, stream_id, &wire[at..]).state(NOW_MS));
                }
                _ => {}
            }
        }
    }
    all.extend(plays_of_several(&config).filter_map(|session| session.state(NOW_MS).ok()));
    let over_http = http_players().into_iter().map(|session| ExportedSession::playing_over_http(session, b"unread"));
    all.extend(over_http.filter_map(|session| session.state(NOW_MS).ok()));
    all
}

/// Sessions with two and three plays, with a question about one more and without.
#[cfg(test)]
fn plays_of_several(config: &SessionConfig) -> impl Iterator<Item = ExportedSession> {
    use super::seeds::server_conversations;
    use super::session::conversation;

    let said = |stream_id| {
        let (mut body, mut wire) = (Vec::new(), Vec::new());
        build::play(&mut body, 4.0, b"show");
        let len = u32::try_from(body.len()).expect("small");
        let head = MessageHead { timestamp_ms: 0, type_id: kind::COMMAND, stream_id, len, chunk_stream: 3 };
        encode(&head, &body, 128, &mut wire);
        wire
    };
    [(2, false), (3, false), (1, true), (3, true)].into_iter().map(move |(plays, asks)| {
        let wire = conversation(&server_conversations()[0]);
        let (mut session, mut at) = (ServerSession::new(config, 0), 0);
        assert_eq!(session.next(&wire, &mut at, 0), Ok(Some(Event::Connect)));
        // The handshake's random bytes are sent.
        session.take_output();
        session.accept_connect(0);
        let stream_ids: Vec<u32> = (1..=plays).collect();
        for &stream_id in &stream_ids {
            assert!(matches!(session.next(&said(stream_id), &mut 0, 0), Ok(Some(Event::Play { .. }))));
            session.accept_play(stream_id, 0);
        }
        let question = asks.then(|| session.next(&said(plays + 1), &mut 0, 0).expect("a question").expect("a play"));
        ExportedSession::playing_each(session, &stream_ids, question, b"unread")
    })
}

/// Players over HTTP whose streams have come, and some whose streams have not, in each form.
#[cfg(test)]
pub(crate) fn http_players() -> Vec<HttpSession> {
    let websocket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut all = Vec::new();
    for (version, fields) in [("1.1", ""), ("1.0", ""), ("1.1", websocket)] {
        for begins in [true, false] {
            let head = format!("GET /live/show.flv?for=browser HTTP/{version}\r\n{fields}\r\n");
            // Behind the head, the beginning of a ping.
            let input = [head.as_bytes(), if begins { b"\x89\x84\x01\x02\x03\x04ab" } else { b"" }].concat();
            let (mut session, mut at) = (HttpSession::new(SessionConfig::default().timing, false, 0), 0);
            for _ in 0..3 {
                match session.next(&input, &mut at, 0).expect("a request") {
                    Some(Event::Connect) => session.accept_connect(0),
                    Some(Event::Play { stream_id, .. }) => {
                        session.accept_play(stream_id, 0);
                        if begins {
                            session.begin_media(0);
                        }
                    }
                    _ => {}
                }
            }
            all.push(session);
        }
    }
    all
}

/// A session that publishes to a server, or one that plays from it.
#[cfg(test)]
pub(crate) fn running_client(publish: bool) -> ClientSession {
    use super::seeds::client_conversations;
    use super::session::conversation;
    use crate::proto::url::RtmpUrl;

    let url = RtmpUrl::parse("rtmp://h/live/key", None).expect("a url");
    let mut sessions = client_conversations().into_iter().map(|data| {
        let (wire, mut at) = (conversation(&data), 0);
        let config = SessionConfig::default();
        let session =
            if publish { ClientSession::publish(&config, &url, 0) } else { ClientSession::play(&config, &url, 0) };
        let mut session = session.expect("random bytes");
        while let Ok(Some(_)) = session.next(&wire, &mut at, 0) {
            if session.started() {
                break;
            }
        }
        session.take_output();
        session
    });
    sessions.find(ClientSession::started).expect("a server that takes it")
}

/// Targets that do each thing that a target does.
#[cfg(test)]
pub(super) fn exported_targets() -> Vec<Vec<u8>> {
    use crate::stream::exported::target::Pause;

    let pauses = [Pause::Rests, Pause::Waits(77), Pause::Failed].map(ExportedTarget::pausing);
    let pushes = ExportedTarget::pushing(running_client(true), b"unread");
    let pulls = ExportedTarget::pulling(running_client(false), b"unread");
    pauses.into_iter().chain([pushes, pulls]).filter_map(|target| target.state(NOW_MS).ok()).collect()
}

/// A stream with everything that a stream may have, and one without a tail.
#[cfg(test)]
pub(super) fn exported_streams() -> Vec<Vec<u8>> {
    let whole = ExportedStream::example();
    [whole.without_tail(), whole].iter().filter_map(|stream| stream.state().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::mutate_corpus;

    #[test]
    fn sessions_keep_their_promises_on_mutated_snapshots() {
        let (seeds, config) = (seeds(), SessionConfig::default());
        let is_session = |data: &[u8]| {
            let server = ServerSession::restore(&config, data, NOW_MS).is_ok();
            server || ClientSession::restore(&config, data, NOW_MS).is_ok()
        };
        assert!(seeds.iter().all(|seed| is_session(seed)));
        let mut sessions = 0;
        let tried = mutate_corpus(&seeds, 21, 2_000, |data| {
            session_snapshot(data);
            sessions += u64::from(is_session(data));
        });
        assert!(tried > 100 && sessions > tried / 20, "of {tried} inputs only {sessions} are sessions");
    }

    #[test]
    fn exported_sessions_keep_their_promises_when_they_are_mutated() {
        let (seeds, config) = (exported_seeds(), SessionConfig::default());
        let is_session = |data: &[u8]| ExportedSession::read(&config, data, NOW_MS).is_ok();
        assert!(seeds.len() >= 10 && seeds.iter().all(|seed| is_session(seed)));
        let mut sessions = 0;
        let tried = mutate_corpus(&seeds, 22, 2_000, |data| {
            exported_session(data);
            sessions += u64::from(is_session(data));
        });
        assert!(tried > 100 && sessions > tried / 20, "of {tried} inputs only {sessions} are sessions");
    }

    #[test]
    fn exported_targets_keep_their_promises_when_they_are_mutated() {
        let (seeds, config) = (exported_targets(), SessionConfig::default());
        let is_target = |data: &[u8]| ExportedTarget::read(&config, data, NOW_MS).is_ok();
        assert!(seeds.len() == 5 && seeds.iter().all(|seed| is_target(seed)));
        let mut targets = 0;
        let tried = mutate_corpus(&seeds, 24, 2_000, |data| {
            exported_target(data);
            targets += u64::from(is_target(data));
        });
        assert!(tried > 100 && targets > tried / 100, "of {tried} inputs only {targets} are targets");
    }

    #[test]
    fn exported_streams_keep_their_promises_when_they_are_mutated() {
        let mut streams = 0;
        let tried = mutate_corpus(&exported_streams(), 23, 1_000, |data| {
            exported_stream(data);
            streams += u64::from(ExportedStream::read(data).is_ok());
        });
        assert!(tried > 100 && streams > tried / 200, "of {tried} inputs only {streams} are streams");
    }
}
