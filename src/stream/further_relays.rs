//! How many relays beside the first one streams have whose settings do not say it. Each is a thread, so their number is
//! bounded by the processors: for a stream, and for all streams of a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Most relays of such a stream. What one more sends is sent by a thread more, and other streams want processors too.
pub(in crate::stream) const AUTOMATIC: usize = 4;

/// Processors that such streams leave to others: to the threads that read publishers, to other streams, and to the
/// system. On two processors a second relay shortens the sending of a message only while nobody else wants the second.
const LEFT: usize = 1;

/// Those that run, of all streams of a server.
#[derive(Debug, Default)]
pub(crate) struct FurtherRelays {
    running: AtomicUsize,
    /// If not 0, tests use this as the number of processors.
    #[cfg(test)]
    pretended: AtomicUsize,
}

/// The place of one of them, which is free again when this value is dropped. One that the settings ask for needs none.
#[derive(Debug, Default)]
pub(in crate::stream) struct RelayPlace(Option<Arc<FurtherRelays>>);

impl FurtherRelays {
    /// A place for one of a stream that has so many relays, if there is one with so many processors.
    pub(in crate::stream) fn place(self: &Arc<Self>, relays: usize, processors: usize) -> Option<RelayPlace> {
        if relays >= automatic(processors) {
            return None;
        }
        let one_more = |running: usize| (running + LEFT < processors).then_some(running + 1);
        self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(RelayPlace(Some(Arc::clone(self))))
    }

    /// Processors that the calling thread may use: as a relay's thread it has those of its stream's settings.
    pub(in crate::stream) fn processors(&self) -> usize {
        #[cfg(test)]
        if let pretended @ 1.. = self.pretended.load(Ordering::Relaxed) {
            return pretended;
        }
        thread::available_parallelism().map_or(1, usize::from)
    }

    /// How many run.
    #[cfg(test)]
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Lets it look as if there were so many.
    #[cfg(test)]
    pub(crate) fn pretend(&self, processors: usize) {
        self.pretended.store(processors, Ordering::Relaxed);
    }
}

impl Drop for RelayPlace {
    fn drop(&mut self) {
        if let Some(further) = &self.0 {
            further.running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Most relays of a stream with so many processors.
fn automatic(processors: usize) -> usize {
    processors.saturating_sub(LEFT).clamp(1, AUTOMATIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_leaves_a_processor_to_others() {
        let table = [(0, 1), (1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (6, 4), (64, 4)];
        for (processors, relays) in table {
            assert_eq!(automatic(processors), relays, "{processors} processors");
        }
    }

    #[test]
    fn all_streams_leave_a_processor_to_others() {
        let further = Arc::<FurtherRelays>::default();
        let mut places: Vec<_> = (0..20).filter_map(|stream| further.place(1 + stream % 2, 8)).collect();
        assert_eq!(places.len(), 7);
        places.truncate(5);
        places.extend((0..20).filter_map(|_| further.place(1, 8)));
        assert_eq!(places.len(), 7);
        drop(places);
        assert!(further.place(1, 2).is_none() && further.place(1, 3).is_some());
    }
}
