//! The keeper of the memory limit: decides who gives way where media memory is short. It runs on the control thread.
//!
//! The order is the design's: the kept groups of all streams go first, then the cursors that are furthest behind jump,
//! then those go who hold much that they cannot jump over, and where publishers still find no room, the stream that uses
//! the most loses its publisher. Until then a publisher that finds no room waits, and its peer with it.

use std::sync::Arc;

use crate::net::clock;
use crate::server::core::Core;
use crate::stream::RRStream;
use crate::stream::memory::GiveUp;

/// Between two passes: what one gives up is free by then.
pub(super) const PASS_MS: u64 = 20;

/// Passes in which cursors jump; each halves what the largest streams hold.
const JUMPS: u32 = 4;

/// Passes after these in which those are closed who hold much for themselves: who comes after them may be like them.
const CLOSES: u32 = 4;

/// So often it looks whether the largest streams have done what they were asked, before it asks for more: a relay may be
/// in a long turn.
const WAITS: u32 = 20;

/// After a round that was enough, but only just, and after a publisher was closed.
const REST_MS: u64 = 100;

/// Where in a round it is.
#[derive(Debug, Default)]
pub(super) struct MemoryLimit {
    pass: u32,
    next_ms: u64,
    waited: u32,
    refused: u64,
    busy: bool,
}

impl MemoryLimit {
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
        if self.waited < WAITS && self.pass > 0 && largest(&streams).any(|stream| stream.memory().is_asked()) {
            self.waited += 1;
            return;
        }
        self.waited = 0;
        let still_refused = refused != self.refused;
        self.refused = refused;
        match self.pass {
            0 => streams.iter().for_each(|stream| stream.give_up(GiveUp::Caches)),
            1..=JUMPS => largest(&streams).for_each(|stream| stream.give_up(GiveUp::Cursors)),
            pass if pass <= JUMPS + CLOSES => largest(&streams).for_each(|stream| stream.give_up(GiveUp::Holders)),
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

/// Those with at least half of what the largest holds.
fn largest(streams: &[Arc<RRStream>]) -> impl Iterator<Item = &Arc<RRStream>> {
    let most = streams.iter().map(|stream| stream.memory().used()).max().unwrap_or(0);
    streams.iter().filter(move |stream| stream.memory().used() >= most / 2)
}

/// The largest of all loses its publisher. Where it has none any more, a smaller one's end would give little back.
fn evict_largest(streams: &[Arc<RRStream>]) {
    let largest = streams.iter().max_by_key(|stream| stream.memory().used());
    if let Some(stream) = largest.filter(|stream| stream.has_publisher()) {
        let (name, memory) = (stream.masked_name(), stream.memory().used());
        log::warn!("the memory limit is reached: the publisher of {name} is closed, it uses the most ({memory} bytes)");
        stream.evict_publisher();
    }
}
