//! Fuzz bodies for AMF0, commands, media facts and both sessions.

use crate::config;
use crate::error::RRError;
use crate::proto::amf0::{LIMITS, read_value, read_values, write_value};
use crate::proto::chunk_write::encode;
use crate::proto::codec_config;
use crate::proto::command::Call;
use crate::proto::frame;
use crate::proto::message::{MessageHead, kind};
use crate::proto::metadata;
use crate::proto::url::RtmpUrl;
use crate::session::Inbound;
use crate::session::{ClientSession, Event, ServerSession, SessionConfig};

/// Fuzz body: AMF values are read within their limits, and values that were read can be written and read back the same;
/// reading a command body never panics.
///
/// # Panics
/// If a check fails.
pub fn amf0(data: &[u8]) {
    for type_id in [kind::COMMAND, kind::COMMAND_AMF3] {
        if let Err(failure) = Call::parse(type_id, data) {
            assert_eq!(failure.kind, RRError::Limit, "only too much is an error");
        }
    }
    let mut values = Vec::new();
    let ended = read_values(data, &LIMITS, &mut values);
    assert!(values.len() <= LIMITS.elements as usize);
    for value in &values {
        let mut bytes = Vec::new();
        write_value(value, &mut bytes);
        let (again, used) = read_value(&bytes, &LIMITS).expect("what was written can be read");
        let mut twice = Vec::new();
        write_value(&again, &mut twice);
        assert_eq!((used, &twice), (bytes.len(), &bytes), "written twice, it is the same");
    }
    if let Err(failure) = ended {
        assert!(matches!(failure.kind, RRError::Limit | RRError::Protocol) && failure.by_peer);
    }
    if let Some(mend) = metadata::mend(data) {
        let [kept, ends] = mend.parts(data);
        assert!(data.starts_with(kept) && (kept.len() < data.len() || !ends.is_empty()));
        assert_eq!(metadata::mend(&[kept, ends].concat()), None, "mended once, it is whole");
    }
}

/// Fuzz body: the facts of any body are within the body.
///
/// # Panics
/// If they are not.
pub fn flv(data: &[u8]) {
    let Some((&type_id, body)) = data.split_first() else { return };
    for type_id in [type_id, kind::AUDIO, kind::VIDEO, kind::DATA, kind::DATA_AMF3] {
        let facts = frame::facts(type_id, body);
        assert!(!(facts.key && facts.seq_start), "a configuration is not a picture");
        assert!(facts.nano_offset < 1 << 24 && facts.cts_ms.abs() <= 1 << 23);
        let mut count = 0;
        for track in frame::tracks(type_id, body) {
            assert!(track.start + track.len <= body.len());
            count += 1;
        }
        assert!(count <= body.len());
        assert!(frame::data_name(type_id, body).len() <= body.len());
        assert!(frame::strip_set_data_frame(type_id, body).is_none_or(|at| at <= body.len()));
    }
    if let Some(config) = codec_config::video(body) {
        assert_eq!(config.width == 0, config.height == 0, "a picture has both sides, or its size is not known");
    }
    if let Some(config) = codec_config::audio(body) {
        assert!(config.object_type < 96, "31 and six bits more: {config:?}");
    }
}

/// Bytes of a peer's handshake whose random parts are zeros.
fn handshake() -> Vec<u8> {
    let mut bytes = vec![0; 1 + 2 * 1536];
    bytes[0] = 3;
    bytes
}

/// Turns fuzz bytes into chunks: raw chunks if the first byte is odd, otherwise a list of messages, each with a head of
/// type, stream id and two bytes of length.
pub(super) fn chunks(data: &[u8]) -> Vec<u8> {
    let Some((&form, mut rest)) = data.split_first() else { return Vec::new() };
    if form & 1 == 1 {
        return rest.to_vec();
    }
    let mut wire = Vec::new();
    while let Some((&[type_id, stream_id, high, low], after)) = rest.split_first_chunk() {
        let (body, next) = after.split_at(after.len().min(u16::from_be_bytes([high, low]).into()));
        // Set Chunk Size would change how the bytes after it are cut; only the raw form has it.
        let type_id = if type_id == kind::SET_CHUNK_SIZE { kind::COMMAND } else { type_id };
        let len = u32::try_from(body.len()).expect("two bytes of length");
        let head = MessageHead { timestamp_ms: 0, type_id, stream_id: stream_id.into(), len, chunk_stream: 3 };
        encode(&head, body, 128, &mut wire);
        rest = next;
    }
    wire
}

/// The bytes of a whole conversation: a handshake, and `data` as chunks.
pub(crate) fn conversation(data: &[u8]) -> Vec<u8> {
    [handshake(), chunks(data)].concat()
}

/// Fuzz body: a server session takes any bytes after a handshake. The driver varies its answers, and a snapshot
/// replaces the session now and then.
///
/// # Panics
/// If a check fails.
pub fn server_session(data: &[u8]) {
    let mut session = ServerSession::new(&SessionConfig::default(), 0);
    let input = conversation(data);
    let (mut at, mut asked, mut publishing) = (0, 0u32, None);
    for now_ms in 0.. {
        let before = at;
        let event = match session.next(&input, &mut at, now_ms) {
            Ok(Some(event)) => event,
            Ok(None) => return assert_eq!(at, input.len()),
            Err(failure) => return assert!(failure.by_peer, "{failure}"),
        };
        assert!(before <= at && at <= input.len());
        match event {
            Event::Connect => {
                assert!(session.connect().is_some());
                session.accept_connect(now_ms);
            }
            Event::Publish { stream_id, .. } => {
                assert!(publishing.is_none(), "one publish at a time");
                asked += 1;
                if asked % 3 == 0 {
                    session.reject_stream(stream_id, "NetStream.Publish.BadName", "no");
                } else {
                    session.accept_publish(stream_id, now_ms);
                    publishing = Some(stream_id);
                }
            }
            Event::Play { stream_id, .. } => {
                assert!(publishing.is_none(), "publish or play");
                asked += 1;
                match asked % 4 {
                    0 => session.reject_stream(stream_id, "NetStream.Play.StreamNotFound", "no"),
                    1 => {
                        session.accept_play(stream_id, now_ms);
                        session.end_play(stream_id);
                    }
                    _ => session.accept_play(stream_id, now_ms),
                }
            }
            Event::EndPublish { stream_id } => assert_eq!(publishing.take(), Some(stream_id)),
            Event::Message(head) => {
                assert!(publishing.is_some());
                assert_eq!(session.body(&input).len(), head.len as usize);
            }
            _ => {}
        }
        if now_ms % 3 == 0 {
            let snapshot = session.snapshot(now_ms).expect("its handshake is over");
            let config = SessionConfig::default();
            session = ServerSession::restore(&config, &snapshot, now_ms).expect("what a session says of itself");
        }
        session.take_output();
        assert!(session.heap_bytes() < config::MAX_OPEN_BYTES_COMMAND * 4 + input.len() * 4);
    }
}

/// Fuzz body: client sessions of both kinds take any bytes after a handshake; a snapshot replaces them now and then.
///
/// # Panics
/// If a check fails.
pub fn client_session(data: &[u8]) {
    let url = RtmpUrl::parse("rtmp://h/live/key", None).expect("a url");
    let input = conversation(data);
    for publish in [true, false] {
        let config = SessionConfig::default();
        let session =
            if publish { ClientSession::publish(&config, &url, 0) } else { ClientSession::play(&config, &url, 0) };
        let mut session = session.expect("random bytes");
        let (mut at, mut started) = (0, false);
        for now_ms in 0.. {
            match session.next(&input, &mut at, now_ms) {
                Ok(Some(Event::Started { stream_id })) => {
                    assert_eq!(stream_id, session.stream_id());
                    started = true;
                }
                Ok(Some(Event::Message(head))) => {
                    assert!(started && !publish, "media only comes to players that started");
                    assert_eq!(session.body(&input).len(), head.len as usize);
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    assert_eq!(at, input.len());
                    break;
                }
                Err(failure) => {
                    assert!(failure.by_peer, "{failure}");
                    let refused = matches!(failure.kind, RRError::Rejected | RRError::Auth);
                    assert_eq!(refused, session.refusal().is_some());
                    break;
                }
            }
            if now_ms % 3 == 0 {
                let snapshot = session.snapshot(now_ms).expect("its handshake is over");
                session = ClientSession::restore(&config, &snapshot, now_ms).expect("what a session says of itself");
            }
            session.take_output();
        }
        session.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::{mutate_corpus, seeds};

    fn body_of_seeds(seeds: &[Vec<u8>], seed: u64, body: fn(&[u8])) {
        let tried = mutate_corpus(seeds, seed, 1_500, body);
        assert!(tried > 50, "only {tried} inputs");
    }

    #[test]
    fn amf0_keeps_its_promises_on_mutated_vectors() {
        body_of_seeds(&seeds::bodies(), 3, amf0);
    }

    #[test]
    fn media_facts_keep_their_promises_on_mutated_bodies() {
        body_of_seeds(&seeds::media(), 4, flv);
    }

    #[test]
    fn the_server_session_keeps_its_promises_on_mutated_conversations() {
        let seeds = seeds::server_conversations();
        for (seeds, seed) in seeds.chunks(seeds.len().div_ceil(3)).zip(5..) {
            body_of_seeds(seeds, seed, server_session);
        }
    }

    #[test]
    fn the_client_session_keeps_its_promises_on_mutated_conversations() {
        let seeds = seeds::client_conversations();
        for (seeds, seed) in seeds.chunks(seeds.len().div_ceil(2)).zip(8..) {
            body_of_seeds(seeds, seed, client_session);
        }
    }
}
