//! What a controller is asked and answers, whatever stands behind it: where does this stream live, and who takes it next?

use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;

use super::heartbeat::Heartbeat;
use crate::config::TargetConfig;
use crate::error::Result;
use crate::server::RRServer;
use crate::server::slots::kind;
use crate::stream::StreamName;
use crate::stream::event::Action;

/// Why it is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Why {
    /// A stream begins.
    Publish,
    /// Somebody plays a stream that nothing feeds.
    Play,
    /// A target that a controller has named is lost, or a source.
    Lost {
        /// Whether it is a source.
        pulls: bool,
        /// Its settings.
        named: Box<TargetConfig>,
    },
    /// The host's word.
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

    /// Whether an answer of this action means something.
    pub(super) fn takes(&self, action: Action) -> bool {
        match (self, action) {
            (_, Action::None) => false,
            (_, Action::Reject | Action::Wait) | (Self::Host(_), _) => true,
            (Self::Publish | Self::Lost { pulls: false, .. }, action) => action == Action::Relay,
            (Self::Play | Self::Lost { pulls: true, .. }, action) => action == Action::Pull,
        }
    }
}

/// How much this server has to do.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Load {
    pub(super) streams: usize,
    pub(super) sessions: u32,
    pub(super) kbps_in: u32,
    pub(super) kbps_out: u32,
}

impl Load {
    /// That of now.
    pub(super) fn of(server: &RRServer) -> Self {
        let stats = server.stats(0).unwrap_or_default();
        let streams = server.list(0, kind::STREAM).map_or(0, |streams| streams.len());
        Self { streams, sessions: stats.sessions, kbps_in: stats.kbps_in, kbps_out: stats.kbps_out }
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

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Deed {
    /// The stream is pushed on to these.
    Relay(Vec<TargetConfig>),
    /// It is pulled.
    Pull(Box<TargetConfig>),
    /// Whoever wants it is refused, with this reason.
    Reject(String),
    /// The question is to be asked again.
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
    /// How long it stands; of [`Deed::Wait`], until the question is to be asked again.
    pub(super) ttl: Duration,
}

/// A result that takes its time.
pub(super) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who knows where streams live. Asked on the thread of the controller alone.
pub(super) trait Controller: Send + Sync {
    /// Answers a question, within a time that the implementation bounds.
    ///
    /// # Errors
    /// Why there is no answer that can be used, and whose fault that is.
    fn next<'a>(&'a self, question: &'a Question) -> Pending<'a, Result<Answer>>;
    /// Hears how much this server has to do; within a bounded time too.
    ///
    /// # Errors
    /// Why nobody heard it.
    fn heartbeat<'a>(&'a self, beat: &'a Heartbeat) -> Pending<'a, Result<()>>;
}
