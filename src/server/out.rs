//! RRRestOut: one request or answer that starts, stops or changes a stream, a session, a target or the server.
//!
//! Requests by the C API, by HTTP in JSON or as nginx-rtmp's `/control`, and answers to the server's own questions become
//! this type, which carries them out in one place. A request names its object by id, so it reaches that very object or,
//! once that has ended, nothing. A request that cannot be carried out whole is refused with its reason and changes nothing.

use crate::config::{Decision, StreamConfig, TargetConfig};
use crate::stream::event::Id;

/// One request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RRRestOut {
    /// Makes a stream that exists with or without peers. `None` for its settings takes the server's, and keeps the stream
    /// that is there; a stream that is there with others than are given is refused.
    CreateStream {
        /// Application.
        app: Vec<u8>,
        /// Stream key.
        key: Vec<u8>,
        /// The settings; `None` takes the server's, or accepts those of an existing stream.
        config: Option<Box<StreamConfig>>,
    },
    /// Makes a stream with settings; one that exists with the same settings is accepted, so that requests may be repeated.
    EnsureStream {
        /// Application.
        app: Vec<u8>,
        /// Stream key.
        key: Vec<u8>,
        /// Its settings.
        config: Box<StreamConfig>,
    },
    /// Pushes a stream to another server.
    AddTarget {
        /// The stream.
        stream: Id,
        /// The target's settings.
        config: Box<TargetConfig>,
    },
    /// Pulls a stream from another server.
    AddSource {
        /// The stream.
        stream: Id,
        /// The source's settings.
        config: Box<TargetConfig>,
    },
    /// Adds the targets and sources that a stream has not got yet, by url and key; all of them or none. Then it ends the one
    /// whose place they take, unless it is among them.
    Open {
        /// The stream.
        stream: Id,
        /// What it is pushed to.
        targets: Vec<TargetConfig>,
        /// What it is pulled from.
        sources: Vec<TargetConfig>,
        /// The target or source whose place they take.
        instead_of: Option<Id>,
    },
    /// Refuses the players of a stream that wait because nothing feeds it.
    RefusePlayers {
        /// The stream.
        stream: Id,
        /// The reason, for people.
        text: String,
    },
    /// Gives a target or source other settings.
    UpdateTarget {
        /// The target or source.
        target: Id,
        /// All its settings.
        config: Box<TargetConfig>,
    },
    /// Ends a stream within a time.
    StopStream {
        /// The stream.
        stream: Id,
        /// How long its consumers may take, ms.
        deadline_ms: u32,
    },
    /// Makes a standby publisher the live one.
    Switch {
        /// The stream.
        stream: Id,
        /// The session or source.
        source: Id,
    },
    /// Lets a target or source connect now.
    RetryTarget {
        /// The target or source.
        target: Id,
    },
    /// Ends a target or source.
    StopTarget {
        /// The target or source.
        target: Id,
        /// How long the end may take, ms.
        deadline_ms: u32,
    },
    /// Lets a session in that asks.
    Allow {
        /// The session.
        session: Id,
        /// The terms.
        decision: Box<Decision>,
    },
    /// Refuses a session that asks.
    Deny {
        /// The session.
        session: Id,
        /// The status code for the peer; "" is the usual one.
        code: String,
        /// The reason, for people.
        text: String,
    },
    /// Sends a session that asks to another server.
    Redirect {
        /// The session.
        session: Id,
        /// The server's url.
        url: String,
    },
    /// Closes a session.
    CloseSession {
        /// The session.
        session: Id,
        /// The reason, for people.
        text: String,
        /// How long its address may not do the same on the same stream, ms; 0: not refused.
        ban_ms: u32,
    },
    /// Asks a session's peer to connect again (E-RTMP).
    ReconnectSession {
        /// The session.
        session: Id,
        /// The url to connect to; `None`: the same url again.
        url: Option<String>,
        /// The reason, for people.
        text: String,
    },
    /// Stops the server in an orderly way.
    Drain {
        /// The url to which peers that understand E-RTMP are sent.
        reconnect_url: Option<String>,
        /// How long the stop may take, ms.
        deadline_ms: u32,
    },
}
