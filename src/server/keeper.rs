//! The keeper of the memory limit: decides who gives way where media memory is short. It runs on the control thread.
//!
//! The order is the design's: the kept groups of all streams go first, then the cursors that are furthest behind jump, and
//! where publishers still find no room, the stream that uses the most loses its publisher. Until then a publisher that
//! finds no room waits, and its peer with it.

use std::sync::Arc;

use crate::net::clock;
use crate::server::core::Core;
use crate::stream::RRStream;

/// Between two passes: what one gives up is free by then.
pub(super) const PASS_MS: u64 = 20;

/// Passes in which cursors jump; each halves what the largest streams hold.
const JUMPS: u32 = 4;

/// After a round that was enough, but only just, and after a publisher was closed.
const REST_MS: u64 = 100;

/// Where in a round it is.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    pass: u32,
    next_ms: u64,
    refused: u64,
    busy: bool,
}

impl Keeper {
    /// Whether it wants to look again after [`PASS_MS`].
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Looks at the memory and has the next step done, if one is due.
    pub(super) fn look(&mut self, core: &Core) {
        if core.budget.limit().is_none() {
            return;
        }
        let (now_ms, refused) = (clock::now_ms(), core.budget.refused());
        let short = core.budget.is_short() || refused != self.refused;
        self.busy = short;
        if !short {
            self.pass = 0;
            return;
        }
        if now_ms < self.next_ms {
            return;
        }
        self.next_ms = now_ms + PASS_MS;
        let streams: Vec<_> = core.registry().streams.iter().map(|(_, stream)| Arc::clone(stream)).collect();
        let still_refused = refused != self.refused;
        self.refused = refused;
        match self.pass {
            0 => streams.iter().for_each(|stream| stream.drop_caches()),
            1..=JUMPS => {
                let most = streams.iter().map(|stream| stream.memory()).max().unwrap_or(0);
                streams.iter().filter(|stream| stream.memory() >= most / 2).for_each(|stream| stream.drop_lag());
            }
            _ => {
                if still_refused {
                    evict_largest(&streams);
                }
                self.next_ms = now_ms + REST_MS;
                self.pass = 0;
                return;
            }
        }
        self.pass += 1;
    }
}

fn evict_largest(streams: &[Arc<RRStream>]) {
    let published = streams.iter().filter(|stream| stream.has_publisher());
    if let Some(stream) = published.max_by_key(|stream| stream.memory()) {
        let (name, memory) = (stream.masked_name(), stream.memory());
        log::warn!("the memory limit is reached: the publisher of {name} is closed, it uses the most ({memory} bytes)");
        stream.evict_publisher();
    }
}
