//! RRRestOut: one request or answer that starts, stops or changes a stream, a session, a target or the server.
//!
//! What is asked for by the C API, by HTTP in JSON, as nginx-rtmp's `/control`, or by what somebody who was asked answers
//! becomes this type and is carried out in one place. It names what it is about by id, so it reaches that very object or,
//! once that has ended, nothing; what cannot be done whole is refused with its reason, and nothing has changed then.

use crate::config::{Decision, StreamConfig, TargetConfig};
use crate::error::Result;
use crate::server::RRServer;
use crate::stream::event::Id;

/// One thing to do.
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
        /// Its settings.
        config: Option<Box<StreamConfig>>,
    },
    /// As `CreateStream` with settings, where a stream that is there has the same ones: so it may be repeated.
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
        /// Where to and how.
        config: Box<TargetConfig>,
    },
    /// Pulls a stream from another server.
    AddSource {
        /// The stream.
        stream: Id,
        /// Where from and how.
        config: Box<TargetConfig>,
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
        /// What its consumers may take, ms.
        deadline_ms: u32,
    },
    /// Makes a publisher that stands by the live one.
    Switch {
        /// The stream.
        stream: Id,
        /// The session or source.
        source: Id,
    },
    /// Lets a target try now.
    RetryTarget {
        /// The target or source.
        target: Id,
    },
    /// Ends a target or source.
    StopTarget {
        /// The target or source.
        target: Id,
        /// What it may take, ms.
        deadline_ms: u32,
    },
    /// Lets a session in that asks.
    Allow {
        /// The session.
        session: Id,
        /// How.
        decision: Box<Decision>,
    },
    /// Refuses a session that asks.
    Deny {
        /// The session.
        session: Id,
        /// The status code for the peer; "" is the usual one.
        code: String,
        /// Why, for people.
        text: String,
    },
    /// Sends a session that asks to another server.
    Redirect {
        /// The session.
        session: Id,
        /// Where to.
        url: String,
    },
    /// Closes a session.
    CloseSession {
        /// The session.
        session: Id,
        /// Why, for people.
        text: String,
    },
    /// Asks a session's peer to connect again (E-RTMP).
    ReconnectSession {
        /// The session.
        session: Id,
        /// Where to; `None`: to the same place.
        url: Option<String>,
        /// Why, for people.
        text: String,
    },
    /// Stops the server in order.
    Drain {
        /// Where peers that understand it are sent.
        reconnect_url: Option<String>,
        /// What it may take, ms.
        deadline_ms: u32,
    },
}

impl RRRestOut {
    /// Does it, whole or not at all. Gives the id of what was made, or of what it is about; 0 is the server.
    ///
    /// # Errors
    /// Those of the server's call; nothing has changed then.
    pub fn carry_out(self, server: &RRServer) -> Result<Id> {
        match self {
            Self::CreateStream { app, key, config } => server.stream_create(&app, &key, config.map(|config| *config)),
            Self::EnsureStream { app, key, config } => server.stream_ensure(&app, &key, *config),
            Self::AddTarget { stream, config } => server.target_add(stream, *config),
            Self::AddSource { stream, config } => server.source_add(stream, *config),
            Self::UpdateTarget { target, config } => server.target_update(target, *config).map(|()| target),
            Self::StopStream { stream, deadline_ms } => server.stream_stop(stream, deadline_ms).map(|()| stream),
            Self::Switch { stream, source } => server.stream_switch(stream, source).map(|()| stream),
            Self::RetryTarget { target } => server.target_retry(target).map(|()| target),
            Self::StopTarget { target, deadline_ms } => server.target_stop(target, deadline_ms).map(|()| target),
            Self::Allow { session, decision } => server.session_allow(session, *decision).map(|()| session),
            Self::Deny { session, code, text } => server.session_deny(session, &code, &text).map(|()| session),
            Self::Redirect { session, url } => server.session_redirect(session, &url).map(|()| session),
            Self::CloseSession { session, text } => server.session_close(session, &text).map(|()| session),
            Self::ReconnectSession { session, url, text } => {
                server.session_reconnect(session, url.as_deref(), &text).map(|()| session)
            }
            Self::Drain { reconnect_url, deadline_ms } => {
                server.stop(reconnect_url.as_deref(), deadline_ms).map(|()| 0)
            }
        }
    }
}
