//! The parts that only a target's consumer has: the settings of its connection, changes of these while it runs, and the
//! reason of a planned close. The relay owns it with the consumer.

use std::sync::Arc;

use crate::stream::remote::endpoint::Endpoint;

/// Why a target is closed although its stream goes on and its connection works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::stream) enum Parting {
    /// The server redirects us, or asks us to connect again.
    Moved {
        /// The new url, if any.
        url: Option<String>,
        /// The server's text.
        text: String,
    },
    /// Its new settings need another connection.
    Renewed,
    /// There was no media for a long time.
    Idle,
}

/// A connected target.
pub(in crate::stream) struct Push {
    /// The endpoint that the connection was made for, with later changes of settings that need no new connection.
    pub(in crate::stream) endpoint: Arc<Endpoint>,
    /// When it was connected, or came here from another process, monotonic ms.
    pub(in crate::stream) began_ms: u64,
    /// How long it ran in other processes before.
    ran_before_ms: u64,
    pub(in crate::stream) parting: Option<Parting>,
}

impl Push {
    pub(in crate::stream) fn new(endpoint: Arc<Endpoint>, now_ms: u64) -> Self {
        Self { endpoint, began_ms: now_ms, ran_before_ms: 0, parting: None }
    }

    /// One that has run for so long in another process.
    pub(in crate::stream) fn resumed(self, ran_ms: u64) -> Self {
        Self { ran_before_ms: ran_ms, ..self }
    }

    /// How long it has run.
    pub(in crate::stream) fn ran_ms(&self, now_ms: u64) -> u64 {
        self.ran_before_ms.saturating_add(now_ms.saturating_sub(self.began_ms))
    }
}
