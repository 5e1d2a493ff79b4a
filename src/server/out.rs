//! RRRestOut: one request or answer that starts, stops or changes a stream, a session, a target or the server.
//!
//! Requests of the C API, requests over HTTP (JSON or nginx-rtmp's `/control`), and answers to the server's own
//! questions become this type, which carries them out in one place. A request names its object by id, so it reaches
//! exactly that object or, once that has ended, none. A request that cannot be carried out completely is refused with
//! the reason and changes nothing.

use crate::config::{Decision, StreamConfig, TargetConfig};
use crate::stream::event::Id;

/// One request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RRRestOut {
    /// Makes a stream that exists with or without peers. Without settings it takes the server's, and accepts an
    /// existing stream; with settings an existing stream is an error.
    CreateStream {
        /// Application.
        app: Vec<u8>,
        /// Stream key.
        key: Vec<u8>,
        /// The settings; `None` takes the server's, or accepts those of an existing stream.
        config: Option<Box<StreamConfig>>,
    },
    /// Gives a stream other settings while it runs, and lets it exist without peers. A setting that cannot change is
    /// refused, and then nothing has changed.
    ChangeStream {
        /// The stream.
        stream: Id,
        /// The settings of which these were made: if the stream has others by now, the request is refused with
        /// [`RRError::Again`](crate::error::RRError::Again).
        was: Box<StreamConfig>,
        /// All its settings.
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
    /// Adds the targets and sources that a stream does not have yet, compared by url and key; all of them or none. Then
    /// it ends the one that they replace, unless it is among them.
    Open {
        /// The stream.
        stream: Id,
        /// The targets.
        targets: Vec<TargetConfig>,
        /// The sources.
        sources: Vec<TargetConfig>,
        /// The target or source that they replace.
        instead_of: Option<Id>,
    },
    /// Refuses the waiting players of a stream that nothing feeds.
    RefusePlayers {
        /// The stream.
        stream: Id,
        /// The reason, for people.
        text: String,
    },
    /// Changes the settings of a target or source.
    UpdateTarget {
        /// The target or source.
        target: Id,
        /// The settings of which these were made: if it has others by now, the request is refused with
        /// [`RRError::Again`](crate::error::RRError::Again). `None`: whatever it has.
        was: Option<Box<TargetConfig>>,
        /// All its settings.
        config: Box<TargetConfig>,
    },
    /// Stops a stream within a time.
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
    /// Stops a target or source.
    StopTarget {
        /// The target or source.
        target: Id,
        /// How long the stop may take, ms.
        deadline_ms: u32,
    },
    /// Allows a session that waits for an answer.
    Allow {
        /// The session.
        session: Id,
        /// The terms.
        decision: Box<Decision>,
    },
    /// Refuses a session that waits for an answer.
    Deny {
        /// The session.
        session: Id,
        /// The status code for the peer; "" means the usual one.
        code: String,
        /// The reason, for people.
        text: String,
    },
    /// Redirects a session that waits for an answer to another server.
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
        /// How long its address may not do the same on the same stream, ms; 0: no ban.
        ban_ms: u32,
    },
    /// Asks a session's peer to connect again (Enhanced RTMP).
    ReconnectSession {
        /// The session.
        session: Id,
        /// The url to connect to; `None`: the same url again.
        url: Option<String>,
        /// The reason, for people.
        text: String,
    },
    /// Asks the host to replace the running server by a new process: only it can start one.
    Upgrade,
    /// Stops the server in an orderly way.
    Drain {
        /// The url to which peers are sent that understand reconnect requests.
        reconnect_url: Option<String>,
        /// How long the stop may take, ms.
        deadline_ms: u32,
    },
}
