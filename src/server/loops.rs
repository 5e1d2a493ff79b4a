//! The loops that the streams of a server share, if it is set up so (`threads`).

use std::sync::Arc;

use crate::error::Result;
use crate::net::event_loop::EventLoop;
use crate::stream::threading::{Share, SharedLoop, Threading};

/// The shared loops of one server; none if each stream has its own threads.
#[derive(Debug)]
pub(super) struct Loops(Vec<Arc<SharedLoop>>);

impl Loops {
    /// Makes this many loops, each to be run by a thread.
    pub(super) fn new(threads: Option<u32>) -> Result<(Self, Vec<EventLoop>)> {
        let made = (0..threads.unwrap_or(0)).map(|_| SharedLoop::new()).collect::<Result<Vec<_>>>()?;
        let (loops, event_loops) = made.into_iter().unzip();
        Ok((Self(loops), event_loops))
    }

    /// A place for one more stream: on the loop with the fewest. The caller holds the registry's lock, so no other
    /// stream is placed meanwhile.
    pub(super) fn threading(&self) -> Threading {
        let emptiest = self.0.iter().min_by_key(|shared| shared.streams());
        emptiest.map_or(Threading::Own, |shared| Threading::Shared(Share::on(shared)))
    }

    /// Closes the loops to new streams: each loop ends when its last stream has ended.
    pub(super) fn close(&self) {
        self.0.iter().for_each(|shared| shared.close());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_comes_to_the_loop_with_the_fewest() {
        let (loops, _event_loops) = Loops::new(Some(3)).unwrap();
        let placed = || loops.0.iter().map(|shared| shared.streams()).collect::<Vec<_>>();
        let mut streams: Vec<Threading> = (0..6).map(|_| loops.threading()).collect();
        assert_eq!(placed(), [2, 2, 2]);
        streams.remove(1);
        streams.push(loops.threading());
        assert_eq!(placed(), [2, 2, 2], "where one has gone the next one comes");
        assert!(matches!(Loops::new(None).unwrap().0.threading(), Threading::Own));
    }
}
