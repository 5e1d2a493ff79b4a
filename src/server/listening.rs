//! Which sockets listen: the list of those that ask where peers may connect. The sockets are the listener's.

use std::net::SocketAddr;
use std::sync::Mutex;

use crate::config::ListenOptions;
use crate::sync::locked;

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The address that it is bound to.
    pub address: SocketAddr,
    /// What its connections are.
    pub options: ListenOptions,
}

/// All of a server, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<Vec<Listening>>);

impl Listeners {
    pub(super) fn add(&self, listening: Listening) {
        locked(&self.0).push(listening);
    }

    /// They have been closed, all at once.
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
