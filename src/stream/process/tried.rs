//! What the fuzz body and its seeds need of a proxy: one whose worker has somebody of each kind, without a process.

use std::sync::Arc;

use crossbeam::channel::unbounded;

use super::adoption::{Adoption, Described, IsolatedStream};
use super::host::HostMessages;
#[cfg(test)]
use super::note::Note;
#[cfg(test)]
use super::wire::{Cause, EventReport, Facts, FiguresOf, Parted, Track};
use super::wire::{ToServer, ToWorker};
use super::workers::Workers;
use crate::config::{ServerConfig, TargetConfig};
use crate::session::SessionConfig;
use crate::stream::front::RRStream;
use crate::stream::process::proxy::{IDS, Proxy};
use crate::stream::record::RRSession;
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::Target;
#[cfg(test)]
use crate::stream::stats::{Counters, reported::Figures};

/// A proxy whose worker has these three.
pub(crate) fn proxy(stream: &Arc<RRStream>, config: &ServerConfig) -> Proxy {
    let workers = Arc::new(Workers::new(config));
    let supervisor = Arc::new(workers.supervisor(stream.name()));
    let (_, publishers) = unbounded();
    let host = Arc::<HostMessages>::default();
    let mut proxy = Proxy::new(Arc::clone(stream), workers, supervisor, host, publishers);
    let session = |id| Arc::new(RRSession::new(id, String::new(), None, String::new()));
    let [publisher, player, target] = IDS;
    let url = TargetConfig { url: "rtmp://192.0.2.1/app/key".to_owned(), ..TargetConfig::default() };
    if let Ok(endpoint) = Endpoint::new(url, b"show") {
        let target = Arc::new(Target::new(target, Arc::clone(stream.identity()), endpoint));
        proxy.has(session(publisher), session(player), target);
    }
    proxy
}

/// Reads bytes as a message of either direction, and as part of a worker's description; what is read is encoded and read
/// again.
pub(crate) fn reads(bytes: &[u8], stream: &RRStream, config: &ServerConfig) {
    let session = SessionConfig::from(config);
    if let Ok(described) = Described::read(bytes, &session, stream.name()) {
        let isolated = IsolatedStream::example(stream.name());
        let mut adoption = Adoption::of(&isolated);
        if adoption.note(&described).is_ok() {
            assert!(adoption.note(&described).is_err() || described.handle().is_none(), "nobody comes twice");
        }
    }
    if let Ok(message) = ToServer::decode(bytes) {
        let (_, once) = message.encode().expect("there is memory");
        let again = ToServer::decode(&once).and_then(|message| message.encode()).expect("what a worker says");
        assert_eq!(again.1, once);
    }
    if let Ok(message) = ToWorker::decode(bytes) {
        let (_, once) = message.encode().expect("there is memory");
        let again = ToWorker::decode(&once).and_then(|message| message.encode()).expect("what a server says");
        assert_eq!(again.1, once);
    }
}

/// A message of each kind that a worker may say of these three; the target has come with the first state, and goes to another
/// server with the second, as the stream does with the third.
#[cfg(test)]
pub(crate) fn messages(pushing: &[u8], paused: &[u8], stream: &[u8]) -> Vec<Vec<u8>> {
    use crate::error::{Failure, RRError};
    use crate::session::State;
    use crate::stream::event::{Event, EventKind};

    let failure = Failure::peers(RRError::Closed, "the peer closed the connection");
    let [publisher, player, target] = IDS;
    let runs = |kind, session, target| {
        let event = Event::new(kind).moved(State::Waiting, State::InProgress);
        Event { session, target, text: b"avc1,mp4a".to_vec(), ..event }
    };
    let events = [
        runs(EventKind::Stream, 0, 0),
        runs(EventKind::Session, player, 0),
        runs(EventKind::Target, 0, target),
        runs(EventKind::Tracks, 0, 0),
        runs(EventKind::Slow, player, 0),
    ];
    let figures = Figures::default();
    let tracks = vec![Track { type_id: 9, track: 0, codec: 7 }];
    let facts = Facts { video: Some((1280, 720, 100, 0, 31)), audio: Some((44_100, 2, 2)) };
    let (incoming, outgoing, memory) = (figures, figures, 1 << 20);
    let addr = "192.0.2.7:4711".to_owned();
    let record = RRSession::resumed(player, addr, None, String::new(), Counters::new(1));
    record.rename(|names| (names.app, names.key) = (b"live".to_vec(), b"show".to_vec()));
    let note = Note::of(&record).encode().unwrap_or_default();
    let state = State::InProgress.number();
    let mut all: Vec<ToServer<'_>> = events.iter().map(|event| ToServer::Event(EventReport::of(event))).collect();
    all.extend([
        ToServer::Ready,
        ToServer::Places { live: publisher, recovering: false, standbys: vec![player], via: b"a,b".to_vec() },
        ToServer::Tracks { list: tracks, facts },
        ToServer::Figures { incoming, outgoing, memory },
        ToServer::Connections(vec![FiguresOf { id: publisher, silent_ms: 5, figures }]),
        ToServer::Line { level: 3, module: "stream::relay", text: "a line" },
        ToServer::LinesLost(7),
        ToServer::Describes,
        ToServer::Session { id: player, plays: true, state, silent_ms: 0, figures, note: &note },
        ToServer::Target { id: target, state, silent_ms: 0, figures, ran_ms: 5, came: pushing, updated: None },
        ToServer::Target { id: target, state, silent_ms: 0, figures, ran_ms: 5, came: pushing, updated: Some(pushing) },
        ToServer::Paused,
        ToServer::Ends,
        ToServer::Parted { id: target, how: Parted::Lost { cause: Cause::of(&failure), ran_ms: 7 } },
        ToServer::Over { id: publisher, cause: Cause::of(&failure) },
        ToServer::GoesOn(Some(Cause::of(&failure))),
        ToServer::Stream { state: stream },
        ToServer::StreamStays { needs: Some(2 << 20), cause: None },
        ToServer::Stays { id: target, needs: None, cause: Some(Cause::of(&failure)) },
        ToServer::Exported { id: target, state: paused },
    ]);
    all.iter().filter_map(|message| Some(message.encode().ok()?.1)).collect()
}
