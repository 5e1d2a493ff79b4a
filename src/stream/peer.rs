//! A session as its owner holds it: the connection, its record, and its plays. One thread owns it at a time.

use std::any::Any;
use std::sync::Arc;

use crate::error::Failure;
use crate::net::conn::Conn;
use crate::stream::egress::subscription::Subscription;
use crate::stream::record::RRSession;

/// How a connection leaves the thread that owns it.
#[derive(Debug)]
pub(crate) enum Leave {
    /// Another thread owns it already.
    Handed,
    /// The session is over.
    Over(Failure),
}

impl From<Failure> for Leave {
    fn from(failure: Failure) -> Self {
        Self::Over(failure)
    }
}

/// Whether a connection stays with the thread that owns it.
pub(crate) type Stays = Result<(), Leave>;

/// A session as its owner holds it.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The connection.
    pub conn: Conn,
    /// The part of the session that all threads see.
    pub record: Arc<RRSession>,
    /// The plays of the connection. The relay of the newest play's stream owns the connection.
    pub subscriptions: Vec<Subscription>,
    /// What a player that goes on from another process is to get before the next message of the log.
    pub unsent: Vec<u8>,
    /// The question that is open about the player's next request, while a relay sends it its other plays.
    pub question: Option<Box<OpenQuestion>>,
}

/// An open question about a player, as its relay sees it. The listener asks, and takes the player back for the answer.
#[derive(Debug)]
pub(crate) struct OpenQuestion {
    /// The listener takes the player back at this time without an answer, monotonic ms.
    pub by_ms: u64,
    /// What the listener knows of the question.
    pub known: Box<dyn Any + Send>,
}

impl Peer {
    /// A session that plays nothing yet.
    pub(crate) fn new(conn: Conn, record: Arc<RRSession>) -> Self {
        Self { conn, record, subscriptions: Vec::new(), unsent: Vec::new(), question: None }
    }
}

impl Peer {
    /// Puts an Enhanced RTMP reconnect request into the output, if the peer understands it; the owner flushes.
    pub(crate) fn ask_to_reconnect(&mut self, url: Option<&str>, text: &str) {
        if let Some(session) = self.conn.inbound() {
            session.reconnect_request(url, text);
        }
    }
}
