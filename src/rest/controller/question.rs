//! The questions to a controller and its answers, independent of the protocol: where a stream is, and to which server
//! it goes next.

use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;

use super::heartbeat::Heartbeat;
use crate::config::TargetConfig;
use crate::error::Result;
use crate::server::RRServer;
use crate::server::slots::kind;
use crate::stream::StreamName;
use crate::stream::event::Action;
use crate::sync::locked;

/// How long the load that questions tell is used, ms.
const LOAD_MS: u64 = 500;

/// The reason for a question.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Why {
    /// A stream begins.
    Publish,
    /// A session wants to play a stream that nothing feeds.
    Play,
    /// A target or source that a controller has named is lost.
    Lost {
        /// Whether a source is lost.
        pulls: bool,
        /// Its settings.
        named: Box<TargetConfig>,
    },
    /// The word that the host gave.
    Host(String),
}

impl Why {
    pub(super) fn word(&self) -> &str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
            Self::Lost { .. } => "target_lost",
            Self::Host(word) => word,
        }
    }

    /// Whether an answer with this action is valid for this question.
    pub(super) fn takes(&self, action: Action) -> bool {
        match (self, action) {
            (_, Action::None) => false,
            (_, Action::Reject | Action::Wait) | (Self::Host(_), _) => true,
            (Self::Publish | Self::Lost { pulls: false, .. }, action) => action == Action::Relay,
            (Self::Play | Self::Lost { pulls: true, .. }, action) => action == Action::Pull,
        }
    }
}

/// The load of this server.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Load {
    pub(super) streams: usize,
    pub(super) sessions: u32,
    pub(super) kbps_in: u32,
    pub(super) kbps_out: u32,
}

impl Load {
    /// The load of this moment.
    pub(super) fn of(server: &RRServer) -> Self {
        let stats = server.stats(0).unwrap_or_default();
        let streams = server.list(0, kind::STREAM).map_or(0, |streams| streams.len());
        Self { streams, sessions: stats.sessions, kbps_in: stats.kbps_in, kbps_out: stats.kbps_out }
    }
}

/// The load that questions tell. To sum up the figures of thousands of streams takes longer than all the rest of a question, and
/// figures have new values twice a second only.
#[derive(Debug, Default)]
pub(super) struct Loads {
    /// The last one, and its time.
    last: Mutex<Option<(u64, Load)>>,
}

impl Loads {
    /// The load at this time, or up to half a second before.
    pub(super) fn of(&self, server: &RRServer, now_ms: u64) -> Load {
        let last = *locked(&self.last);
        if let Some((at_ms, load)) = last
            && now_ms < at_ms + LOAD_MS
        {
            return load;
        }
        let load = Load::of(server);
        *locked(&self.last) = Some((now_ms, load));
        load
    }
}

/// A question.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) why: Why,
    pub(super) name: StreamName,
    pub(super) load: Load,
    /// Urls that the controller has named for this stream and that have failed in the last minute, the newest last.
    pub(super) tried: Vec<String>,
}

/// What an answer asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Deed {
    /// The stream is pushed to these.
    Relay(Vec<TargetConfig>),
    /// The stream is pulled.
    Pull(Box<TargetConfig>),
    /// The waiting sessions are refused, with this reason.
    Reject(String),
    /// The question is asked again later.
    Wait,
}

impl Deed {
    pub(super) fn action(&self) -> Action {
        match self {
            Self::Relay(_) => Action::Relay,
            Self::Pull(_) => Action::Pull,
            Self::Reject(_) => Action::Reject,
            Self::Wait => Action::Wait,
        }
    }

    /// Memory that it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let one = |config: &TargetConfig| size_of::<TargetConfig>() + config.heap_bytes();
        match self {
            Self::Relay(targets) => targets.iter().map(one).sum(),
            Self::Pull(source) => one(source),
            Self::Reject(text) => text.len(),
            Self::Wait => 0,
        }
    }

    /// The first of the urls in it.
    pub(super) fn url(&self) -> Option<&str> {
        match self {
            Self::Relay(targets) => targets.first().map(|config| config.url.as_str()),
            Self::Pull(source) => Some(&source.url),
            Self::Reject(_) | Self::Wait => None,
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) deed: Deed,
    /// The time for which it is valid; for [`Deed::Wait`], the time until the question is asked again.
    pub(super) ttl: Duration,
}

/// A result that comes later.
pub(super) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A registry that knows where streams are. It is asked only on the controller's thread.
pub(super) trait Controller: Send + Sync {
    /// Answers a question, within a time that the implementation bounds.
    ///
    /// # Errors
    /// The reason why there is no usable answer, and whose fault that is.
    fn next<'a>(&'a self, question: &'a Question) -> Pending<'a, Result<Answer>>;
    /// Takes a report of this server's load, also within a bounded time.
    ///
    /// # Errors
    /// The reason why the report did not arrive.
    fn heartbeat<'a>(&'a self, beat: &'a Heartbeat) -> Pending<'a, Result<()>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerConfig;
    use crate::log::LevelFilter;

    #[test]
    fn the_load_is_summed_up_twice_a_second_at_most() {
        let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
        let loads = Loads::default();
        let streams_at = |now_ms| loads.of(&server, now_ms).streams;
        assert_eq!(streams_at(10_000), 0);
        server.stream_create(b"live", b"show", None).unwrap();
        assert_eq!(streams_at(10_499), 0);
        assert_eq!(streams_at(10_500), 1);
    }
}
