//! Offers to another process. A task that offers its connections makes their states and then does nothing until the
//! verdict: then the other process has them and the task lets go of them, or it goes on as before.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::stream::event::Id;

const OPEN: u8 = 0;
const KEPT: u8 = 1;
const TAKEN: u8 = 2;

/// Whether the other process has taken what was offered. Whoever decides wakes the tasks afterwards.
#[derive(Debug, Default)]
pub(crate) struct Verdict(AtomicU8);

impl Verdict {
    /// Decides, once and for all.
    pub(crate) fn settle(&self, taken: bool) {
        let verdict = if taken { TAKEN } else { KEPT };
        let _ = self.0.compare_exchange(OPEN, verdict, Ordering::AcqRel, Ordering::Acquire);
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == OPEN
    }

    fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire) == TAKEN
    }
}

/// What a task has offered: the slots of the connections.
#[derive(Debug)]
pub(crate) struct Offer {
    verdict: Arc<Verdict>,
    slots: Vec<usize>,
}

impl Offer {
    /// An offer of the connections in these slots.
    pub(crate) fn new(verdict: Arc<Verdict>, slots: Vec<usize>) -> Self {
        Self { verdict, slots }
    }

    /// Whether the task must touch nothing, because it is not known who has the connections.
    pub(crate) fn is_open(&self) -> bool {
        self.verdict.is_open()
    }

    /// The slots of which the task has to let go, after the verdict.
    pub(crate) fn taken(self) -> Vec<usize> {
        if self.verdict.is_taken() { self.slots } else { Vec::new() }
    }
}

/// A session as another process gets it.
#[derive(Debug)]
pub(crate) struct OfferedSession {
    /// Its state.
    pub(crate) state: Vec<u8>,
    /// Its connection; the session has another descriptor of it.
    pub(crate) fd: OwnedFd,
}

/// A target as another process gets it.
#[derive(Debug)]
pub(crate) struct OfferedTarget {
    /// Its id here.
    pub(crate) id: Id,
    /// Its state.
    pub(crate) state: Vec<u8>,
    /// Its connection; the target has another descriptor of it.
    pub(crate) fd: OwnedFd,
}

/// Whoever publishes a stream, as another process gets it.
#[derive(Debug)]
pub(crate) enum OfferedPublisher {
    /// A session.
    Session(OfferedSession),
    /// A connected source.
    Source(OfferedTarget),
}

/// A stream as another process gets it, without its publishers.
#[derive(Debug)]
pub(crate) struct OfferedStream {
    /// Its state.
    pub(crate) state: Vec<u8>,
    /// Its players.
    pub(crate) players: Vec<OfferedSession>,
    /// Its connected targets, over connections that can move.
    pub(crate) targets: Vec<OfferedTarget>,
}
