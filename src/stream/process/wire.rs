//! The messages between a server and the worker process of one of its streams.
//!
//! Each is in CBOR, and comes from another process: what it says is bounded here, and whoever takes it checks whether it
//! can be. A session, target or source has a [`Handle`]: a worker outlives its server's process, and so the ids there. A
//! connection's descriptor is beside its message. Times are told by how long ago they were, because each process has a clock
//! of its own. The two processes may be of different versions of the library, as long as these have the same [`PROTOCOL`].

use std::borrow::Cow;

use minicbor::{Decode, Encode};

use super::starts::Row;
use crate::error::{Failure, RRError, Result};
use crate::proto::cbor::Form;
use crate::session::{Event as Said, State};
use crate::stream::event::{Event, EventKind};
use crate::stream::stats::reported::Figures;

/// The form of what a server tells a worker.
const DOWN: Form = Form { magic: b"RRtw", version: 1, name: "a message to a worker" };

/// The form of what a worker tells its server.
const UP: Form = Form { magic: b"RRfw", version: 1, name: "a message of a worker" };

/// Kinds of messages on the channel: with the state of a connection or a message of media, with that of a whole stream, and
/// without.
pub(super) mod kind {
    pub(in crate::stream::process) const PLAIN: u8 = 1;
    pub(in crate::stream::process) const STATE: u8 = 2;
    pub(in crate::stream::process) const STREAM: u8 = 3;
}

/// Most bytes of a message without a state.
const PLAIN_BYTES: usize = 256 * 1024;

/// Bytes of a message beside its state.
const BESIDE_BYTES: usize = 64 * 1024;

/// Longest text for people, and longest url.
const TEXT_BYTES: usize = 4 * 1024;

/// Most bytes of the state of a stream without a log.
pub(super) const BEGIN_BYTES: usize = 1 << 20;

/// The last messages about a session or target: its figures, and how it has ended.
pub(super) const LAST_MESSAGES: usize = 2;

/// Most figures in one message.
pub(super) const FIGURES: usize = 200;

/// The largest states of what a message may have: of a session or target, and of a stream, if one may come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Largest {
    pub(super) state: usize,
    pub(super) stream: Option<usize>,
}

impl Largest {
    /// Most bytes of a message of this kind.
    pub(super) fn bytes_max(self, kind: u8) -> usize {
        match (kind, self.stream) {
            (kind::PLAIN, _) => PLAIN_BYTES,
            (kind::STATE, _) => self.state.saturating_add(BESIDE_BYTES),
            (kind::STREAM, Some(bytes)) => bytes.saturating_add(BESIDE_BYTES),
            _ => 0,
        }
    }
}

/// The version of the messages. It is raised when a message changes so that the other side would misunderstand it, or
/// when there is a new one: only unknown fields are skipped.
pub(crate) const PROTOCOL: u16 = 5;

/// The number by which both sides name a session, target or source of a worker; each is given once.
pub(super) type Handle = u64;

/// Most bytes of this message of a worker's description.
pub(super) fn described_bytes(report: &ToServer<'_>) -> usize {
    match report {
        ToServer::Session { note, .. } => note.len() + BESIDE_BYTES,
        ToServer::Target { came, updated, .. } => came.len() + updated.map_or(0, <[u8]>::len) + BESIDE_BYTES,
        _ => PLAIN_BYTES,
    }
}

/// What a worker is to know before all else.
#[derive(Debug, Encode, Decode)]
pub(super) struct Begin<'a> {
    /// The stream's id, for its own use.
    #[n(0)]
    pub(super) stream: u64,
    /// Its name and its settings.
    #[b(1)]
    #[cbor(with = "minicbor::bytes")]
    pub(super) state: &'a [u8],
    /// Its name among all servers.
    #[b(2)]
    pub(super) step: &'a str,
    /// Settings of the server.
    #[n(3)]
    pub(super) max_message: u32,
    #[n(4)]
    pub(super) handshake_ms: u32,
    #[n(5)]
    pub(super) ask_ms: u32,
    #[n(6)]
    pub(super) first_data_ms: u32,
    #[n(7)]
    pub(super) idle_ms: u32,
    #[n(8)]
    pub(super) ping_ms: u32,
    #[n(9)]
    pub(super) send_ms: u32,
    #[n(10)]
    pub(super) mem_limit: Option<u64>,
    #[n(11)]
    pub(super) log_level: u32,
    #[n(13)]
    pub(super) protocol: u16,
    /// What to do once the server has ended without stopping the worker; `None`: end too.
    #[b(14)]
    pub(super) orphan: Option<Waits<'a>>,
    /// The crashes of the stream's workers before, for another server.
    #[b(15)]
    pub(super) crashes: Option<Crashes<'a>>,
}

/// The crashes in a row of a stream's workers.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(super) struct Crashes<'a> {
    #[n(0)]
    count: u32,
    /// How long ago the last one was.
    #[n(1)]
    ago_ms: u64,
    /// How it ended.
    #[b(2)]
    how: &'a str,
}

impl<'a> Crashes<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        Self { count: row.count, ago_ms: row.ago_ms, how: cut(&row.how) }
    }

    pub(super) fn row(&self) -> Row {
        Row { count: self.count, ago_ms: self.ago_ms, how: shown(self.how).into_owned() }
    }
}

/// How a worker without a server goes on.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(super) struct Waits<'a> {
    /// The folder in which it waits for another one.
    #[b(0)]
    #[cbor(with = "minicbor::bytes")]
    pub(super) dir: &'a [u8],
    /// How long.
    #[n(1)]
    pub(super) within_ms: u64,
}

#[cfg(test)]
impl Begin<'static> {
    /// One without a stream.
    pub(super) fn example() -> Self {
        let (stream, state, step, log_level, protocol) = (7, &[][..], "step", 0, PROTOCOL);
        let (max_message, handshake_ms, ask_ms, first_data_ms, idle_ms, ping_ms, send_ms) = (1 << 20, 1, 1, 1, 1, 1, 1);
        Self {
            stream,
            state,
            step,
            max_message,
            handshake_ms,
            ask_ms,
            first_data_ms,
            idle_ms,
            ping_ms,
            send_ms,
            mem_limit: None,
            log_level,
            protocol,
            orphan: None,
            crashes: None,
        }
    }
}

/// What a server tells a worker.
#[derive(Debug, Encode, Decode)]
pub(super) enum ToWorker<'a> {
    /// The first message.
    #[n(0)]
    Begin(#[b(0)] Begin<'a>),
    /// A session that publishes or plays, with its connection.
    #[n(1)]
    Session {
        #[n(0)]
        id: Handle,
        #[n(1)]
        standby: bool,
        #[b(2)]
        #[cbor(with = "minicbor::bytes")]
        state: &'a [u8],
        /// What the worker gives back unread where it describes the session.
        #[b(3)]
        #[cbor(with = "minicbor::bytes")]
        note: &'a [u8],
    },
    /// A target or source, with its connection.
    #[n(2)]
    Target {
        #[n(0)]
        id: Handle,
        #[b(1)]
        #[cbor(with = "minicbor::bytes")]
        state: &'a [u8],
    },
    /// Close a session.
    #[n(3)]
    Close {
        #[n(0)]
        id: Handle,
        #[b(1)]
        text: &'a str,
    },
    /// Ask the peer of a session to connect again.
    #[n(4)]
    Reconnect {
        #[n(0)]
        id: Handle,
        #[b(1)]
        url: Option<&'a str>,
        #[b(2)]
        text: &'a str,
    },
    /// Give a session away, for another server.
    #[n(5)]
    Export {
        #[n(0)]
        id: Handle,
        #[n(1)]
        room: u64,
    },
    /// A target or source is to end within this time.
    #[n(6)]
    StopTarget {
        #[n(0)]
        id: Handle,
        #[n(1)]
        within_ms: u64,
    },
    /// A target or source has other settings: those of this state.
    #[n(7)]
    UpdateTarget {
        #[n(0)]
        id: Handle,
        #[b(1)]
        #[cbor(with = "minicbor::bytes")]
        state: &'a [u8],
    },
    /// Make this standby live.
    #[n(8)]
    Switch(#[n(0)] Handle),
    /// Nothing will feed those who wait.
    #[n(9)]
    Refuse {
        #[b(0)]
        code: &'a str,
        #[b(1)]
        text: &'a str,
    },
    /// Memory is short: drop this much (the number of the step), or close the publisher.
    #[n(10)]
    GiveUp(#[n(0)] u8),
    #[n(11)]
    Evict,
    /// Somebody reads the system's figures of the connections.
    #[n(12)]
    Look,
    /// Log lines up to this level are wanted.
    #[n(13)]
    Level(#[n(0)] u32),
    /// Are you there?
    #[n(14)]
    Ping(#[n(0)] u64),
    /// End within this time.
    #[n(15)]
    Stop(#[n(0)] u64),
    /// A message that the host publishes, with which its publish may end.
    #[n(16)]
    Write {
        #[n(0)]
        type_id: u8,
        #[n(1)]
        ts_ms: i64,
        #[b(2)]
        #[cbor(with = "minicbor::bytes")]
        body: &'a [u8],
        #[n(3)]
        end: bool,
    },
    /// Describe all that you have, and then tell nothing more: another process may take this end of the channel over. Media
    /// goes on.
    #[n(17)]
    Pause,
    /// Tell again.
    #[n(18)]
    Resume {
        /// This process has started the worker, which ends with it.
        #[n(0)]
        bound: bool,
        /// Log lines up to this level are wanted.
        #[n(1)]
        level: u32,
    },
    /// The stream has other settings: those of this state.
    #[n(19)]
    Settings {
        #[b(0)]
        #[cbor(with = "minicbor::bytes")]
        state: &'a [u8],
    },
    /// The stream goes on from another server, with this state; its publisher is to come within this time. Nobody has come.
    #[n(20)]
    GoOn {
        #[b(0)]
        #[cbor(with = "minicbor::bytes")]
        state: &'a [u8],
        #[n(1)]
        within_ms: u64,
    },
    /// Append nothing for so long.
    #[n(21)]
    Hold(#[n(0)] u64),
    /// Say the state with which the stream goes on in another server.
    #[n(22)]
    ExportStream {
        #[n(0)]
        room: u64,
    },
    /// Give a target or source away, for another server.
    #[n(23)]
    ExportTarget {
        #[n(0)]
        id: Handle,
        #[n(1)]
        room: u64,
        /// It connects anew there.
        #[n(2)]
        anew: bool,
        /// Its state without a connection, with the history of its tries.
        #[b(3)]
        #[cbor(with = "minicbor::bytes")]
        state: &'a [u8],
    },
}

impl ToWorker<'_> {
    /// Its kind and its bytes.
    pub(super) fn encode(&self) -> Result<(u8, Vec<u8>)> {
        let kind = match self {
            Self::Begin(_)
            | Self::Session { .. }
            | Self::Target { .. }
            | Self::UpdateTarget { .. }
            | Self::ExportTarget { .. }
            | Self::Settings { .. }
            | Self::Write { .. } => kind::STATE,
            Self::GoOn { .. } => kind::STREAM,
            _ => kind::PLAIN,
        };
        Ok((kind, DOWN.encode(self)?))
    }

    /// The message in these bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<ToWorker<'_>> {
        DOWN.decode(bytes, usize::MAX)
    }
}

/// [`ToWorker::GoOn`], made by the thread that waits for the outcome: it may have gigabytes, and others wait for that of the
/// proxy.
#[derive(Debug)]
pub(crate) struct GoOn(pub(super) Vec<u8>);

impl GoOn {
    /// The order to go on with this state, whose publisher is to come within this time.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    pub(in crate::stream) fn with(state: &[u8], within_ms: u64) -> Result<Self> {
        ToWorker::GoOn { state, within_ms }.encode().map(|(_, body)| Self(body))
    }

    /// Its bytes.
    pub(in crate::stream) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Why something ended.
#[derive(Debug, Encode, Decode)]
pub(super) struct Cause<'a> {
    #[n(0)]
    code: i32,
    #[b(1)]
    text: &'a str,
    #[n(2)]
    by_peer: bool,
    #[n(3)]
    absent: bool,
}

impl<'a> Cause<'a> {
    pub(super) fn of(failure: &'a Failure) -> Self {
        let Failure { kind, text, by_peer, absent } = failure;
        Self { code: kind.code(), text: cut(text), by_peer: *by_peer, absent: *absent }
    }

    pub(super) fn failure(&self) -> Result<Failure> {
        let kind = RRError::from_code(self.code).ok_or_else(|| impossible("there is no such error"))?;
        let text = shown(self.text).into_owned();
        Ok(Failure { kind, text: text.into(), by_peer: self.by_peer, absent: self.absent })
    }
}

/// What a worker says of the end of a target's or source's connection.
#[derive(Debug, Encode, Decode)]
pub(super) enum Parted<'a> {
    #[n(0)]
    Lost {
        #[b(0)]
        cause: Cause<'a>,
        #[n(1)]
        ran_ms: u64,
    },
    #[n(1)]
    Released,
    #[n(2)]
    Moved {
        #[b(0)]
        url: Option<&'a str>,
        #[b(1)]
        text: &'a str,
        #[n(2)]
        ran_ms: u64,
    },
    #[n(3)]
    Renewed,
    #[n(4)]
    Over,
}

/// A track.
#[derive(Debug, Encode, Decode)]
pub(super) struct Track {
    #[n(0)]
    pub(super) type_id: u8,
    #[n(1)]
    pub(super) track: u8,
    #[n(2)]
    pub(super) codec: u32,
}

/// The facts of a stream's pictures and sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
pub(super) struct Facts {
    /// Width, height; profile, compatibility, level.
    #[n(0)]
    pub(super) video: Option<(u32, u32, u8, u8, u8)>,
    /// Rate, channels, object type.
    #[n(1)]
    pub(super) audio: Option<(u32, u8, u8)>,
}

/// The figures of a session or target.
#[derive(Debug, Encode, Decode)]
pub(super) struct FiguresOf {
    #[n(0)]
    pub(super) id: Handle,
    /// How long ago bytes last came from it as a publisher.
    #[n(1)]
    pub(super) silent_ms: u64,
    #[n(2)]
    pub(super) figures: Figures,
}

/// An event of a stream, a session or a target.
#[derive(Debug, Encode, Decode)]
pub(super) struct EventReport<'a> {
    #[n(0)]
    pub(super) kind: u32,
    #[n(1)]
    pub(super) session: Handle,
    #[n(2)]
    pub(super) target: Handle,
    #[n(3)]
    state: u32,
    #[n(4)]
    pub(super) value: i64,
    #[b(5)]
    #[cbor(with = "minicbor::bytes")]
    text: &'a [u8],
}

impl<'a> EventReport<'a> {
    /// What of an event its server has to know.
    pub(super) fn of(event: &'a Event) -> Self {
        Self {
            kind: event.kind as u32,
            session: event.session,
            target: event.target,
            state: event.state.number(),
            value: event.value,
            text: event.text.get(..TEXT_BYTES).unwrap_or(&event.text),
        }
    }

    /// The state.
    pub(super) fn state(&self) -> Result<State> {
        State::from_number(self.state).ok_or_else(|| impossible("there is no such state"))
    }

    /// Whether it is of this kind.
    pub(super) fn is(&self, kind: EventKind) -> bool {
        self.kind == kind as u32
    }

    /// The text.
    pub(super) fn text(&self) -> String {
        shown(&String::from_utf8_lossy(self.text)).into_owned()
    }
}

/// What a worker tells its server.
#[allow(clippy::large_enum_variant, reason = "there is one for a moment")]
#[derive(Debug, Encode, Decode)]
pub(super) enum ToServer<'a> {
    /// It is ready; the first message.
    #[n(0)]
    Ready,
    /// The answer to a ping.
    #[n(1)]
    Pong(#[n(0)] u64),
    /// It has this session or target: from now on the connection is its own.
    #[n(2)]
    Taken(#[n(0)] Handle),
    /// A session has ended.
    #[n(3)]
    Over {
        #[n(0)]
        id: Handle,
        #[b(1)]
        cause: Cause<'a>,
    },
    /// A session neither publishes nor plays any more, and goes back with its connection.
    #[n(4)]
    Back {
        #[n(0)]
        id: Handle,
        #[b(1)]
        #[cbor(with = "minicbor::bytes")]
        state: &'a [u8],
    },
    /// A session, target or source was given away, with its connection if that goes along.
    #[n(5)]
    Exported {
        #[n(0)]
        id: Handle,
        #[b(1)]
        #[cbor(with = "minicbor::bytes")]
        state: &'a [u8],
    },
    /// A session, target or source that was to be given away stays: its state needs this much room, or there is another
    /// cause.
    #[n(6)]
    Stays {
        #[n(0)]
        id: Handle,
        #[n(1)]
        needs: Option<u64>,
        #[b(2)]
        cause: Option<Cause<'a>>,
    },
    /// The connection of a target or source has ended.
    #[n(7)]
    Parted {
        #[n(0)]
        id: Handle,
        #[b(1)]
        how: Parted<'a>,
    },
    /// An event.
    #[n(8)]
    Event(#[b(0)] EventReport<'a>),
    /// Who publishes and who stands by, and the streams that the media comes through.
    #[n(9)]
    Places {
        #[n(0)]
        live: Handle,
        #[n(1)]
        recovering: bool,
        #[n(2)]
        #[cbor(with = "crate::proto::cbor::list")]
        standbys: Vec<Handle>,
        #[n(3)]
        #[cbor(with = "crate::proto::cbor::bytes")]
        via: Vec<u8>,
    },
    /// The tracks.
    #[n(10)]
    Tracks {
        #[n(0)]
        #[cbor(with = "crate::proto::cbor::list")]
        list: Vec<Track>,
        #[n(1)]
        facts: Facts,
    },
    /// The stream's figures: its incoming media, what its consumers got, and its memory.
    #[n(11)]
    Figures {
        #[n(0)]
        incoming: Figures,
        #[n(1)]
        outgoing: Figures,
        #[n(2)]
        memory: u64,
    },
    /// Figures of connections that have changed.
    #[n(12)]
    Connections(
        #[n(0)]
        #[cbor(with = "crate::proto::cbor::list")]
        Vec<FiguresOf>,
    ),
    /// A log line.
    #[n(13)]
    Line {
        #[n(0)]
        level: u32,
        #[b(1)]
        module: &'a str,
        #[b(2)]
        text: &'a str,
    },
    /// So many log lines found no room.
    #[n(14)]
    LinesLost(#[n(0)] u64),
    /// From here on it describes what it has: its sessions and targets, and by the messages above its places, tracks,
    /// figures and state.
    #[n(15)]
    Describes,
    /// A session that it has.
    #[n(16)]
    Session {
        #[n(0)]
        id: Handle,
        #[n(1)]
        plays: bool,
        /// The state that it has told last.
        #[n(2)]
        state: u32,
        /// How long ago bytes last came from it as a publisher.
        #[n(3)]
        silent_ms: u64,
        #[n(4)]
        figures: Figures,
        /// What came with it.
        #[b(5)]
        #[cbor(with = "minicbor::bytes")]
        note: &'a [u8],
    },
    /// A target or source that it has.
    #[n(17)]
    Target {
        #[n(0)]
        id: Handle,
        #[n(1)]
        state: u32,
        #[n(2)]
        silent_ms: u64,
        #[n(3)]
        figures: Figures,
        /// For how long it has had media at most.
        #[n(4)]
        ran_ms: u64,
        /// The state with which it came, and that of its later settings.
        #[b(5)]
        #[cbor(with = "minicbor::bytes")]
        came: &'a [u8],
        #[b(6)]
        #[cbor(with = "minicbor::bytes")]
        updated: Option<&'a [u8]>,
    },
    /// That was all; it tells nothing more until it is resumed.
    #[n(18)]
    Paused,
    /// The stream has ended, and the worker ends with it; its last message.
    #[n(19)]
    Ends,
    /// The stream goes on from another server, or cannot for this cause.
    #[n(20)]
    GoesOn(#[b(0)] Option<Cause<'a>>),
    /// The state with which the stream goes on in another server.
    #[n(21)]
    Stream {
        #[b(0)]
        #[cbor(with = "minicbor::bytes")]
        state: &'a [u8],
    },
    /// There is no such state: it needs this much room, or there is another cause.
    #[n(22)]
    StreamStays {
        #[n(0)]
        needs: Option<u64>,
        #[b(1)]
        cause: Option<Cause<'a>>,
    },
}

impl ToServer<'_> {
    /// Its kind.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Back { .. } | Self::Exported { .. } | Self::Target { .. } => kind::STATE,
            Self::Stream { .. } => kind::STREAM,
            _ => kind::PLAIN,
        }
    }

    /// Its kind and its bytes.
    pub(super) fn encode(&self) -> Result<(u8, Vec<u8>)> {
        Ok((self.kind(), UP.encode(self)?))
    }

    /// The message in these bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<ToServer<'_>> {
        UP.decode(bytes, usize::MAX)
    }
}

/// The part of a text for people, or of a url, that goes along.
pub(super) fn cut(text: &str) -> &str {
    let end = (0..=TEXT_BYTES.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// A text of the other process, without what cannot be shown.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    let text = cut(text);
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    text.chars().filter(|one| !one.is_control()).collect::<String>().into()
}

/// The question in the event with which a session goes back; others need no answer.
pub(super) fn question(event: Option<Said>) -> Option<Said> {
    event.filter(|event| matches!(event, Said::Connect | Said::Publish { .. } | Said::Play { .. }))
}

/// The code with which those who wait are refused.
pub(super) fn play_code(code: &str) -> &'static str {
    if code == "NetStream.Play.StreamNotFound" { "NetStream.Play.StreamNotFound" } else { "NetStream.Play.Failed" }
}

/// The refusal of what no worker says.
pub(super) fn impossible(what: &'static str) -> Failure {
    Failure::ours(RRError::Protocol, what)
}
