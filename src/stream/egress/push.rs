//! What a consumer that is a target has beside what every player has: the settings it was connected with, changes of
//! them while it runs, and why it is closed in order. The relay owns it with the consumer.

use std::sync::Arc;

use crate::stream::remote::endpoint::Endpoint;

/// Why a target is closed in order, where it is not the end of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::stream) enum Parting {
    /// The server sends us elsewhere, or to connect again.
    Moved {
        /// Where to.
        url: Option<String>,
        /// Its words.
        text: String,
    },
    /// Its new settings want another connection.
    Renewed,
    /// There was no media for long.
    Idle,
}

/// A connected target.
pub(in crate::stream) struct Push {
    /// The endpoint that the connection was made for, with later changes of settings that need no new connection.
    pub(in crate::stream) endpoint: Arc<Endpoint>,
    /// When it was connected, monotonic ms.
    pub(in crate::stream) began_ms: u64,
    pub(in crate::stream) parting: Option<Parting>,
}

impl Push {
    pub(in crate::stream) fn new(endpoint: Arc<Endpoint>, now_ms: u64) -> Self {
        Self { endpoint, began_ms: now_ms, parting: None }
    }
}
