//! The values that are handed over to a stream's two threads: connections with their subscriptions, publishers,
//! targets.

use std::sync::Arc;

use crate::net::conn::Conn;
use crate::stream::book::Claim;
use crate::stream::exported::MovedFeed;
use crate::stream::peer::Peer;
use crate::stream::record::Caller;
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::Target;

/// A connection for the relay, or a wish of the host's.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The stream is to go on in another process.
    Export {
        /// The most bytes that its state may have.
        room: usize,
        /// Who waits for the outcome.
        caller: Caller<StreamExport>,
    },
    /// A player whose newest subscription is of this stream.
    Player(Peer),
    /// A target that has had `Publish.Start`.
    Target {
        /// The target.
        target: Arc<Target>,
        /// Its connection.
        conn: Box<Conn>,
        /// The endpoint, settings and url, that the connection was made for.
        endpoint: Arc<Endpoint>,
    },
}

/// The outcome of a stream's export.
#[derive(Debug)]
pub enum StreamExport {
    /// Its state, with which another process goes on.
    State(Vec<u8>),
    /// The state has more bytes than there is room for: so much room is enough now.
    Needs(usize),
}

/// The connection of a source that has had `Play.Start`.
#[derive(Debug)]
pub(crate) struct Pulled {
    /// The connection.
    pub conn: Conn,
    /// The streams that its media comes through, as its server names them.
    pub via: Vec<u8>,
}

/// A session whose `publish` was accepted on this message stream; it goes to accumulate.
#[derive(Debug)]
pub(in crate::stream) struct NewPublisher {
    pub(in crate::stream) peer: Peer,
    pub(in crate::stream) stream_id: u32,
    pub(in crate::stream) claim: Claim,
    /// What was known of it in another process, where it goes on from there.
    pub(in crate::stream) moved: Option<Box<MovedFeed>>,
    /// The source, where the publisher is one: a connection that we opened, and that has had `Play.Start`.
    pub(in crate::stream) source: Option<Arc<Target>>,
}
