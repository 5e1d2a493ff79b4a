//! Deliveries to the listener and the dialler from other threads, and the bounds on those that wait.

use std::sync::Weak;

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::config::{Decision, ListenOptions};
use crate::net::socket::Socket;
use crate::session::Event as Said;
use crate::stream::memory::budget::Charge;
use crate::stream::peer::Peer;
use crate::stream::remote::target::Target;

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
    /// A session whose publishing or playing is over, with its memory; the event is to be handled first.
    Back(Peer, Charge, Option<Said>),
    /// A session of another process with its memory, the question that it waits with, and what was decided about that there.
    Imported(Peer, Charge, Said, Box<Decision>),
}

/// The receiving ends, given to the threads.
pub(super) struct Inboxes {
    pub(super) listener: Receiver<ToListener>,
    /// Weak: a bounded channel keeps what was sent until its senders go, also without a receiver. A target holds its
    /// stream, and the stream holds the core, which is a sender.
    pub(super) dialler: Receiver<Weak<Target>>,
}

/// The sending ends and the receiving ends of one server.
pub(super) fn channels() -> (Sender<ToListener>, Sender<Weak<Target>>, Inboxes) {
    let (to_listener, listener) = bounded(LISTENER_INBOX);
    let (to_dialler, dialler) = bounded(DIAL_INBOX);
    (to_listener, to_dialler, Inboxes { listener, dialler })
}
