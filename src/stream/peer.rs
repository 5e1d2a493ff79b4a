//! A session in the hands of its owner: the connection, its record, and what it plays. One thread has it at a time.

use std::sync::Arc;

use crate::error::Failure;
use crate::net::conn::Conn;
use crate::stream::egress::subscription::Subscription;
use crate::stream::record::RRSession;

/// How a connection leaves the thread that has it.
#[derive(Debug)]
pub(crate) enum Leave {
    /// Another thread has it already.
    Handed,
    /// The session is over.
    Over(Failure),
}

impl From<Failure> for Leave {
    fn from(failure: Failure) -> Self {
        Self::Over(failure)
    }
}

/// Whether a connection stays with the thread that has it.
pub(crate) type Stays = Result<(), Leave>;

/// A session in the hands of its owner.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The connection.
    pub conn: Conn,
    /// The session as all threads see it.
    pub record: Arc<RRSession>,
    /// The plays of the connection. The relay of the newest one's stream owns the connection.
    pub subscriptions: Vec<Subscription>,
}

impl Peer {
    /// A session that plays nothing yet.
    pub(crate) fn new(conn: Conn, record: Arc<RRSession>) -> Self {
        Self { conn, record, subscriptions: Vec::new() }
    }
}

impl Peer {
    /// Sends the E-RTMP reconnect request, to a peer that understands it; the owner flushes.
    pub(crate) fn ask_to_reconnect(&mut self, url: Option<&str>, text: &str) {
        if let Some(session) = self.conn.inbound() {
            session.reconnect_request(url, text);
        }
    }
}
