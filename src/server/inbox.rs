//! Deliveries to the listener and the dialler from other threads, and the bounds of their inboxes.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::config::{Decision, ListenOptions};
use crate::net::socket::Socket;
use crate::session::Event as Said;
use crate::stream::exported::target::Pause;
use crate::stream::memory::budget::Charge;
use crate::stream::offer::{OfferedSession, Verdict};
use crate::stream::peer::Peer;
use crate::stream::record::Caller;
use crate::stream::remote::target::Target;
use crate::stream::remote::target::backoff::Backoff;

/// Connections that may wait for the listener thread.
const LISTENER_INBOX: usize = 4096;

/// New targets that may wait for the dialler.
const DIAL_INBOX: usize = 4096;

/// A delivery to the listener from another thread.
#[derive(Debug)]
pub(super) enum ToListener {
    /// A socket to accept from.
    Listener(mio::net::TcpListener, ListenOptions),
    /// A connection and its peer's address, which a PROXY header may replace.
    Connection(Socket, String, ListenOptions),
    /// A session whose publish or play is over, with its memory; the listener handles the event first. Or a player
    /// whose open question has an answer or is late.
    Back(Peer, Charge, Option<Said>),
    /// A session of another process with its memory, its open question, and the decision that was made about
    /// it there.
    Imported(Peer, Charge, Said, Box<Decision>),
    /// An order to offer the listening sockets, and the sessions that can go, to another process.
    Offer {
        /// The verdict to wait for.
        verdict: Arc<Verdict>,
        /// Who waits for the outcome.
        caller: Caller<OfferedListener>,
    },
}

/// A delivery to the dialler from another thread.
#[derive(Debug)]
pub(super) enum ToDialler {
    /// A new target.
    Target(Weak<Target>),
    /// An order to say how far all targets and sources are, and to pause.
    Offer {
        /// The verdict to wait for.
        verdict: Arc<Verdict>,
        /// Who waits for the outcome.
        caller: Caller<Vec<OfferedJob>>,
    },
}

/// A target or source as the dialler knows it.
#[derive(Debug)]
pub(super) struct OfferedJob {
    pub(super) target: Arc<Target>,
    pub(super) history: Backoff,
    /// How it goes on elsewhere; `None`: its connection is not the dialler's.
    pub(super) pause: Option<Pause>,
}

/// What the listener offers to another process.
#[derive(Debug, Default)]
pub(super) struct OfferedListener {
    /// The listening sockets.
    pub(super) sockets: Vec<(OwnedFd, ListenOptions)>,
    /// The sessions whose question to the host is open.
    pub(super) sessions: Vec<OfferedSession>,
}

/// The receiving ends, given to the threads.
pub(super) struct Inboxes {
    pub(super) listener: Receiver<ToListener>,
    /// The references are weak, because a bounded channel keeps its items until its senders are dropped, even without a
    /// receiver; a target holds its stream, and the stream holds the core, which is a sender.
    pub(super) dialler: Receiver<ToDialler>,
}

/// The sending ends and the receiving ends of one server.
pub(super) fn channels() -> (Sender<ToListener>, Sender<ToDialler>, Inboxes) {
    let (to_listener, listener) = bounded(LISTENER_INBOX);
    let (to_dialler, dialler) = bounded(DIAL_INBOX);
    (to_listener, to_dialler, Inboxes { listener, dialler })
}
