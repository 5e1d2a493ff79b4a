//! The identity of a stream: id, name and settings, which never change, and the sink of its events. Targets outlive the
//! stream's threads, so they hold its identity and not the stream.

use std::sync::Arc;

use crate::config::StreamConfig;
use crate::stream::event::{Event, EventSink, Id};
use crate::stream::name::StreamName;

/// A stream's identity.
#[derive(Debug)]
pub(crate) struct Identity {
    id: Id,
    name: StreamName,
    config: StreamConfig,
    sink: Arc<dyn EventSink>,
}

impl Identity {
    /// An identity whose events go to `sink`.
    pub(in crate::stream) fn new(id: Id, name: StreamName, config: StreamConfig, sink: Arc<dyn EventSink>) -> Self {
        Self { id, name, config, sink }
    }

    /// Its id.
    pub(crate) fn id(&self) -> Id {
        self.id
    }

    /// Its name.
    pub(crate) fn name(&self) -> &StreamName {
        &self.name
    }

    /// Its settings.
    pub(crate) fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// The name for log lines: the key is a secret.
    pub(crate) fn masked_name(&self) -> String {
        format!("{}/{}", crate::log::escape(&self.name.app), crate::log::mask_key(&self.name.key))
    }

    /// Sends an event to the host. The event is only queued, so no code of the host runs in the calling thread.
    pub(in crate::stream) fn tell(&self, event: Event) {
        self.sink.event(event);
    }
}
