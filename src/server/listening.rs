//! The list of listening sockets, for callers that ask where peers can connect. The listener owns the sockets.

use std::net::SocketAddr;
use std::sync::Mutex;

use crate::config::ListenOptions;
use crate::sync::locked;

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The address that the socket is bound to.
    pub address: SocketAddr,
    /// How its connections are treated.
    pub options: ListenOptions,
}

/// All listening sockets of a server, in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<Vec<Listening>>);

impl Listeners {
    pub(super) fn add(&self, listening: Listening) {
        locked(&self.0).push(listening);
    }

    /// Notes that all of them have been closed.
    pub(super) fn closed(&self) {
        locked(&self.0).clear();
    }

    pub(super) fn any(&self) -> bool {
        !locked(&self.0).is_empty()
    }

    pub(super) fn all(&self) -> Vec<Listening> {
        locked(&self.0).clone()
    }
}
