//! The loops that the streams of a server share, if it is set up so (`threads`).

use std::sync::Arc;

use crate::config::{Isolate, ServerConfig};
use crate::error::Result;
use crate::net::event_loop::EventLoop;
use crate::stream::threading::{Isolated, Share, SharedLoop, Threading};
use crate::stream::{StreamName, Workers};

/// The shared loops of one server; none if each stream has its own threads.
#[derive(Debug)]
pub(super) struct Loops {
    shared: Vec<Arc<SharedLoop>>,
    /// The processes in which streams run, if they do.
    workers: Option<Arc<Workers>>,
}

impl Loops {
    /// Makes the loops of a server with these settings, each to be run by a thread.
    ///
    /// # Errors
    /// [`RRError::Limit`](crate::error::RRError::Limit) if the process has no fd left.
    pub(super) fn new(config: &ServerConfig) -> Result<(Self, Vec<EventLoop>)> {
        let workers = (config.isolate == Isolate::Process).then(|| Arc::new(Workers::new(config)));
        let least = u32::from(workers.is_some());
        let made = (0..config.threads.unwrap_or(least)).map(|_| SharedLoop::new()).collect::<Result<Vec<_>>>()?;
        let (shared, event_loops) = made.into_iter().unzip();
        Ok((Self { shared, workers }, event_loops))
    }

    /// The processes in which streams run, if they do.
    pub(super) fn workers(&self) -> Option<&Arc<Workers>> {
        self.workers.as_ref()
    }

    /// A place for one more stream: on the loop with the fewest of those that run. The caller holds the registry's lock,
    /// so no other stream is placed meanwhile.
    pub(super) fn threading(&self, name: &StreamName) -> Threading {
        let emptiest = self.shared.iter().min_by_key(|shared| (shared.has_ended(), shared.streams())).map(Share::on);
        match (emptiest, &self.workers) {
            (Some(share), Some(workers)) => Threading::Process(Isolated::new(share, workers, name)),
            (Some(share), None) => Threading::Shared(share),
            (None, _) => Threading::Own,
        }
    }

    /// Closes the loops to new streams: each loop ends when its last stream has ended.
    pub(super) fn close(&self) {
        self.shared.iter().for_each(|shared| shared.close());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_comes_to_the_loop_with_the_fewest() {
        let config = ServerConfig { threads: Some(3), ..ServerConfig::default() };
        let name = StreamName { app: b"live".to_vec(), key: b"show".to_vec() };
        let (loops, mut event_loops) = Loops::new(&config).unwrap();
        let placed = || loops.shared.iter().map(|shared| shared.streams()).collect::<Vec<_>>();
        let mut streams: Vec<Threading> = (0..6).map(|_| loops.threading(&name)).collect();
        assert_eq!(placed(), [2, 2, 2]);
        streams.remove(1);
        streams.push(loops.threading(&name));
        assert_eq!(placed(), [2, 2, 2], "where one has gone the next one comes");
        drop(event_loops.remove(0));
        streams.push(loops.threading(&name));
        assert_eq!(placed(), [2, 3, 2], "no stream comes to a loop that has ended");
        let (loops, _event_loops) = Loops::new(&ServerConfig::default()).unwrap();
        assert!(matches!(loops.threading(&name), Threading::Own));
    }
}
