//! Offers to another process. A task that offers its connections makes their states and then does nothing until the
//! verdict: then the other process has them and the task lets go of them, or it goes on as before.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::stream::event::Id;
use crate::stream::exported::stream::StreamParts;

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

    fn is_kept(&self) -> bool {
        self.0.load(Ordering::Acquire) == KEPT
    }
}

/// What a task has offered: the slots of the connections.
#[derive(Debug)]
pub(crate) struct Offer {
    verdict: Arc<Verdict>,
    slots: Vec<usize>,
    /// The slots among them that may stay although the others go.
    besides: Vec<(usize, Arc<Verdict>)>,
}

impl Offer {
    /// An offer of the connections in these slots.
    pub(crate) fn new(verdict: Arc<Verdict>, slots: Vec<usize>) -> Self {
        Self { verdict, slots, besides: Vec::new() }
    }

    /// The offer, where the session in this slot stays if one of those streams does.
    #[must_use]
    pub(crate) fn unless_stays(mut self, slot: usize, besides: &Besides) -> Self {
        self.besides.push((slot, Arc::clone(&besides.verdict)));
        self
    }

    /// Whether the task must touch nothing, because it is not known who has the connections.
    pub(crate) fn is_open(&self) -> bool {
        self.verdict.is_open()
    }

    /// Whether the other process has taken all of it.
    pub(in crate::stream) fn is_taken(&self) -> bool {
        self.verdict.is_taken()
    }

    /// The slots of which the task has to let go, after the verdict.
    pub(crate) fn taken(self) -> Vec<usize> {
        let Self { verdict, mut slots, besides } = self;
        if !verdict.is_taken() {
            return Vec::new();
        }
        let stays = |slot: usize| besides.iter().any(|(other, verdict)| *other == slot && verdict.is_kept());
        slots.retain(|&slot| !stays(slot));
        slots
    }
}

/// A session as another process gets it.
#[derive(Debug)]
pub(crate) struct OfferedSession {
    /// Its state.
    pub(crate) state: Vec<u8>,
    /// Its connection; the session has another descriptor of it.
    pub(crate) fd: OwnedFd,
    /// What it plays besides the stream whose relay offers it.
    pub(crate) besides: Option<Besides>,
}

/// The other streams of a session that plays several. If one of them stays, so does the session.
#[derive(Debug)]
pub(crate) struct Besides {
    streams: Vec<Id>,
    verdict: Arc<Verdict>,
}

impl Besides {
    /// Those of a session that plays these streams too; `None` without any.
    pub(crate) fn of(streams: Vec<Id>) -> Option<Self> {
        (!streams.is_empty()).then(|| Self { streams, verdict: Arc::default() })
    }

    /// Whether all of them go, for which `goes` is asked. If not, the session stays.
    pub(crate) fn go(&self, goes: impl Fn(Id) -> bool) -> bool {
        let all = self.streams.iter().all(|&stream| goes(stream));
        if !all {
            self.verdict.settle(false);
        }
        all
    }
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
    /// What its state is made of.
    pub(crate) parts: Box<StreamParts>,
    /// Its players.
    pub(crate) players: Vec<OfferedSession>,
    /// Its connected targets, over connections that can move.
    pub(crate) targets: Vec<OfferedTarget>,
}
