//! A stream as its subscriptions see it. A stream takes connections, which carry subscriptions, and a subscription
//! holds its stream; this trait between them avoids an import circle in `stream/`.

use std::fmt::Debug;

#[cfg(all(test, not(loom)))]
use crate::config::StreamConfig;
use crate::session::State;
#[cfg(all(test, not(loom)))]
use crate::stream::event::{Event, EventSink};
use crate::stream::identity::Identity;
#[cfg(all(test, not(loom)))]
use crate::stream::name::StreamName;
use crate::stream::record::RRSession;

/// What a subscription asks of its stream. No call blocks.
pub(crate) trait Subscribed: Debug + Send + Sync {
    /// The stream's identity.
    fn identity(&self) -> &Identity;
    /// Its state.
    fn state(&self) -> State;
    /// How far its log has got, in bytes.
    fn log_position(&self) -> u64;
    /// The name of its log, which no other log has.
    fn log_name(&self) -> Vec<u8>;
    /// Notes that a play of this session is over.
    fn leave(&self, record: &RRSession);
}

/// A stream without anything around it, for tests of what its subscriptions do.
#[cfg(all(test, not(loom)))]
#[derive(Debug)]
pub(in crate::stream) struct Alone(Identity);

#[cfg(all(test, not(loom)))]
#[derive(Debug)]
struct Nobody;

#[cfg(all(test, not(loom)))]
impl EventSink for Nobody {
    fn event(&self, _: Event) {}
}

#[cfg(all(test, not(loom)))]
impl Alone {
    pub(in crate::stream) fn new(config: StreamConfig) -> Self {
        Self(Identity::new(1, StreamName::default(), config, std::sync::Arc::new(Nobody)))
    }
}

#[cfg(all(test, not(loom)))]
impl Subscribed for Alone {
    fn identity(&self) -> &Identity {
        &self.0
    }

    fn state(&self) -> State {
        State::InProgress
    }

    fn log_position(&self) -> u64 {
        0
    }

    fn log_name(&self) -> Vec<u8> {
        Vec::new()
    }

    fn leave(&self, _: &RRSession) {}
}
