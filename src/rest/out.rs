//! RRRestOut: one request to start, stop or change something. What is asked for by HTTP, in JSON or as nginx-rtmp's
//! `/control`, becomes this type and is carried out in one place.

use crate::config::{StreamConfig, TargetConfig};
use crate::error::{Failure, RRError, Result};
use crate::server::RRServer;
use crate::stream::event::Id;

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RRRestOut {
    /// Makes a stream that exists with or without peers, or keeps the one that is there.
    CreateStream {
        /// Application.
        app: Vec<u8>,
        /// Stream key.
        key: Vec<u8>,
        /// Its settings; `None` takes the server's, and those of a stream that is there.
        config: Option<Box<StreamConfig>>,
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
            Self::CreateStream { app, key, config: None } => server.stream_create(&app, &key, None),
            Self::CreateStream { app, key, config: Some(config) } => create(server, &app, &key, *config),
            Self::AddTarget { stream, config } => server.target_add(stream, *config),
            Self::AddSource { stream, config } => server.source_add(stream, *config),
            Self::UpdateTarget { target, config } => server.target_update(target, *config).map(|()| target),
            Self::StopStream { stream, deadline_ms } => server.stream_stop(stream, deadline_ms).map(|()| stream),
            Self::Switch { stream, source } => server.stream_switch(stream, source).map(|()| stream),
            Self::RetryTarget { target } => server.target_retry(target).map(|()| target),
            Self::StopTarget { target, deadline_ms } => server.target_stop(target, deadline_ms).map(|()| target),
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

/// A stream with settings: made with them, or there with the same ones, so that the request may be repeated.
fn create(server: &RRServer, app: &[u8], key: &[u8], config: StreamConfig) -> Result<Id> {
    match server.stream_create(app, key, Some(config.clone())) {
        Err(failure) if failure.kind == RRError::Exists => {}
        made => return made,
    }
    let there = server.stream_create(app, key, None)?;
    if server.stream_config(there)? == config {
        return Ok(there);
    }
    let text = "the stream is there with other settings, which cannot be changed while it lives: stop it first";
    Err(Failure::ours(RRError::Exists, text))
}
