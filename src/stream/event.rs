//! Events for the host: one struct for all kinds. The thread that owns an object makes its events, and the server
//! queues them.

use crate::error::{Failure, RRError};
use crate::net::clock;
use crate::session::{Role, State};

/// Ids as the C API has them: kind, server, generation and slot in one number; 0 means none.
pub type Id = u64;

/// Kinds of events (`RR_EV_*`, same numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum EventKind {
    /// A server's state moved.
    Server = 1,
    /// A stream's state moved.
    Stream,
    /// A session's state moved.
    Session,
    /// A target's state moved.
    Target,
    /// A peer wants to connect.
    ConnectAsk,
    /// A peer wants to publish.
    PublishAsk,
    /// A peer wants to play.
    PlayAsk,
    /// Somebody plays a stream without a publisher.
    Wanted,
    /// The last player of a stream left.
    Unwatched,
    /// A stream has a new track, or a track with another codec; the text lists all tracks.
    Tracks,
    /// A consumer began to drop messages (their number is the value), or has caught up (0).
    Slow,
    /// Timestamps jumped.
    Clock,
    /// The peer asks us to reconnect.
    Reconnect,
    /// The controller's answer, or the failure to get one.
    Next,
    /// A log line.
    Log,
    /// Events were folded or lost.
    Overflow,
    /// The host is asked to replace the running server.
    Upgrade,
}

impl EventKind {
    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Stream => "stream",
            Self::Session => "session",
            Self::Target => "target",
            Self::ConnectAsk => "connect_ask",
            Self::PublishAsk => "publish_ask",
            Self::PlayAsk => "play_ask",
            Self::Wanted => "wanted",
            Self::Unwatched => "unwatched",
            Self::Tracks => "tracks",
            Self::Slow => "slow",
            Self::Clock => "clock",
            Self::Reconnect => "reconnect",
            Self::Next => "next",
            Self::Log => "log",
            Self::Overflow => "overflow",
            Self::Upgrade => "upgrade",
        }
    }
}

/// Bits of [`Event::flags`] (`RR_EVF_*`).
pub mod flag {
    /// Another try may succeed.
    pub const RETRIABLE: u32 = 1;
    /// The peer caused it.
    pub const BY_PEER: u32 = 2;
    /// The id ends with this event.
    pub const LAST: u32 = 4;
    /// The event is about a connection with TLS.
    pub const TLS: u32 = 8;
    /// A log line about something that another event reports as well.
    pub const TOLD: u32 = 16;
}

/// One event. Strings are bytes as peers sent them; none contains NUL.
#[derive(Clone, Debug)]
pub struct Event {
    /// The event's kind.
    pub kind: EventKind,
    /// The cause; `None` if there is no error.
    pub error: Option<RRError>,
    /// The object's state now.
    pub state: State,
    /// Its state before.
    pub prev: State,
    /// [`flag`] bits.
    pub flags: u32,
    /// The level of a log line.
    pub level: u32,
    /// The stream concerned.
    pub stream: Id,
    /// The session concerned.
    pub session: Id,
    /// The target concerned.
    pub target: Id,
    /// The user pointer of the target, session, stream or server: the first of these that has one.
    pub user: usize,
    /// Wall clock, microseconds.
    pub time_us: i64,
    /// Depends on the kind: next try in ms, dropped messages, clock jump in ms, and so on.
    pub value: i64,
    /// Application.
    pub app: Vec<u8>,
    /// Stream key.
    pub key: Vec<u8>,
    /// Peer address.
    pub addr: Vec<u8>,
    /// Target url, redirect or tcUrl.
    pub url: Vec<u8>,
    /// Text for people.
    pub text: Vec<u8>,
    /// A session's arguments (`?args`), only for the host: credentials, which are never shown.
    pub query: Vec<u8>,
    /// The role of the session or target in its stream, or its last one.
    pub role: Role,
    /// The controller's action, for [`EventKind::Next`].
    pub action: Action,
}

/// The action that a controller asks for on a stream (`RR_NEXT_*`, same numbers).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Action {
    /// No action: no controller was asked, or none answered.
    #[default]
    None = 0,
    /// Push the stream on.
    Relay,
    /// Pull the stream.
    Pull,
    /// Refuse the peers that want the stream.
    Reject,
    /// Ask again later.
    Wait,
}

impl Action {
    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Relay => "relay",
            Self::Pull => "pull",
            Self::Reject => "reject",
            Self::Wait => "wait",
        }
    }
}

/// The destination of events. Any thread may call it, also with locks of a stream held: the event is only queued, and
/// no code of the host runs.
pub(crate) trait EventSink: Send + Sync + std::fmt::Debug {
    /// Tells the host program.
    fn event(&self, event: Event);
}

impl Event {
    /// An event of this kind at this moment, with no object yet.
    pub fn new(kind: EventKind) -> Self {
        Self {
            kind,
            error: None,
            state: State::None,
            prev: State::None,
            flags: 0,
            level: 0,
            stream: 0,
            session: 0,
            target: 0,
            user: 0,
            time_us: clock::wall_us(),
            value: 0,
            app: Vec::new(),
            key: Vec::new(),
            addr: Vec::new(),
            url: Vec::new(),
            text: Vec::new(),
            query: Vec::new(),
            role: Role::None,
            action: Action::None,
        }
    }

    /// Sets the state before and now.
    #[must_use]
    pub fn moved(mut self, prev: State, state: State) -> Self {
        self.prev = prev;
        self.state = state;
        self
    }

    /// Sets the cause: kind, text, whose fault it is, and whether another try may succeed.
    #[must_use]
    pub fn because(mut self, failure: &Failure) -> Self {
        self.error = Some(failure.kind);
        self.text = failure.text.as_bytes().to_vec();
        if failure.by_peer {
            self.flags |= flag::BY_PEER;
        }
        if failure.kind.retriable() {
            self.flags |= flag::RETRIABLE;
        }
        self
    }

    /// Marks the event as one about a connection with TLS, or about one without.
    #[must_use]
    pub fn over_tls(mut self, tls: bool) -> Self {
        if tls {
            self.flags |= flag::TLS;
        }
        self
    }

    /// Marks the event as the last one of its id.
    #[must_use]
    pub fn last(mut self) -> Self {
        self.flags |= flag::LAST;
        self
    }
}
