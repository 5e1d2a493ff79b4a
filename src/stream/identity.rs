//! The identity of a stream: id and name, which never change, its settings, and the sink of its events. Targets outlive
//! the stream's threads, so they hold its identity and not the stream.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::config::StreamConfig;
use crate::error::{Failure, RRError, Result};
use crate::stream::event::{Event, EventSink, Id};
use crate::stream::name::StreamName;
use crate::sync::locked;

/// A stream's identity.
#[derive(Debug)]
pub(crate) struct Identity {
    id: Id,
    name: StreamName,
    config: Mutex<Arc<StreamConfig>>,
    /// How often the settings have changed.
    changes: AtomicU64,
    sink: Arc<dyn EventSink>,
}

impl Identity {
    /// An identity whose events go to `sink`.
    pub(in crate::stream) fn new(id: Id, name: StreamName, config: StreamConfig, sink: Arc<dyn EventSink>) -> Self {
        Self { id, name, config: Mutex::new(Arc::new(config)), changes: AtomicU64::new(0), sink }
    }

    /// Its id.
    pub(crate) fn id(&self) -> Id {
        self.id
    }

    /// Its name.
    pub(crate) fn name(&self) -> &StreamName {
        &self.name
    }

    /// Its settings at the moment.
    pub(crate) fn config(&self) -> Arc<StreamConfig> {
        Arc::clone(&locked(&self.config))
    }

    /// How often its settings have changed. Whoever keeps something made of them makes it anew when this number is
    /// another; it reads the number first, and then the settings.
    pub(in crate::stream) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Gives it other settings in the place of `was`, all or none.
    ///
    /// # Errors
    /// [`RRError::Again`] if it has others than `was`, [`RRError::Exists`] with the setting that cannot change.
    pub(in crate::stream) fn set_config(&self, was: &StreamConfig, config: StreamConfig) -> Result<()> {
        let mut current = locked(&self.config);
        if *was != **current {
            return Err(Failure::ours(RRError::Again, "the stream's settings have changed meanwhile"));
        }
        if let Some(name) = current.fixed_in(&config) {
            let text =
                format!("the stream exists with another {name}, which cannot change while it runs: stop it first");
            return Err(Failure::ours(RRError::Exists, text));
        }
        if **current != config {
            *current = Arc::new(config);
            self.changes.fetch_add(1, Ordering::Release);
        }
        Ok(())
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
