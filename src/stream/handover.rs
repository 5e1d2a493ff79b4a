//! The handover to a stream's two threads: a connection, and the thread's task with it.

use std::sync::Arc;

use crate::net::conn::Conn;
use crate::stream::book::Claim;
use crate::stream::peer::Peer;
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::Target;

/// Something for the relay.
#[derive(Debug)]
pub enum Delivery {
    /// A player whose newest subscription is of this stream.
    Player(Peer),
    /// A target that has had `Publish.Start`.
    Target {
        /// The target.
        target: Arc<Target>,
        /// Its connection.
        conn: Box<Conn>,
        /// What it was connected for.
        endpoint: Arc<Endpoint>,
    },
}

/// A session whose `publish` was accepted on this message stream; for accumulate.
#[derive(Debug)]
pub(in crate::stream) struct NewPublisher {
    pub(in crate::stream) peer: Peer,
    pub(in crate::stream) stream_id: u32,
    pub(in crate::stream) claim: Claim,
    /// What it is of, where we opened it: a source that has had `Play.Start`.
    pub(in crate::stream) source: Option<Arc<Target>>,
}
