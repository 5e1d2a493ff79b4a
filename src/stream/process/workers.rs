//! What the workers of a server's streams have in common, and how a stream has one.

use std::sync::Arc;

use super::starts::Starts;
use super::supervisor::Supervisor;
use crate::config::ServerConfig;
use crate::session::SessionConfig;
use crate::stream::name::StreamName;

/// The workers of a server.
#[derive(Debug)]
pub(crate) struct Workers {
    /// The server's settings.
    pub(in crate::stream) config: ServerConfig,
    /// Those of its sessions.
    pub(in crate::stream) session: SessionConfig,
    starts: Arc<Starts>,
}

impl Workers {
    /// The workers of a server with these settings.
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let mut config = config.clone();
        // A worker may look for the folder after the host has gone to another one.
        if let Some(dir) = &mut config.worker.dir
            && let Ok(whole) = std::path::absolute(&*dir)
        {
            *dir = whole;
        }
        Self { session: SessionConfig::from(&config), config, starts: Arc::default() }
    }

    /// How many were started, have crashed and were hung.
    pub(crate) fn starts(&self) -> &Starts {
        &self.starts
    }

    /// Most memory of a stream's log and queues.
    pub(in crate::stream) fn mem_limit(&self) -> Option<u64> {
        [self.config.mem_limit_bytes, self.config.worker.media_bytes()].into_iter().flatten().min()
    }

    /// The supervision of the worker of the stream of this name.
    pub(in crate::stream) fn supervisor(&self, name: &StreamName) -> Supervisor {
        Supervisor::new(Arc::clone(&self.starts), name.path(), self.config.worker.hung_ms)
    }
}
