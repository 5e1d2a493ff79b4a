//! A session as its owner holds it: the connection, its record, and its plays. One thread owns it at a time.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::Decision;
use crate::error::Failure;
use crate::net::conn::Conn;
use crate::session::Event as Said;
use crate::stream::egress::subscription::Subscription;
use crate::stream::event::Id;
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
    /// The end of the log of its newest play's stream when it was handed over to that one. A relay that has not read so far
    /// does so before the player begins.
    pub log_end: u64,
    /// Set from the moment a thread hands it over until the next one has it.
    pub on_its_way: Option<OnItsWay>,
}

/// Counts a peer that is on its way between two threads, as long as it lives.
#[derive(Debug)]
pub(crate) struct OnItsWay(Arc<AtomicUsize>);

impl OnItsWay {
    /// One more in this count.
    pub(crate) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An open question about a player, as its relay sees it. The listener asks, and takes the player back for the answer.
#[derive(Debug)]
pub(crate) struct OpenQuestion {
    /// The listener takes the player back at this time without an answer, monotonic ms.
    pub by_ms: u64,
    /// What the listener knows of the question.
    pub known: Box<dyn Any + Send>,
    /// The question, for another process, with what has been decided about it so far; `None`: the player has asked
    /// nothing yet.
    pub asks: Option<(Said, Box<Decision>)>,
}

impl Peer {
    /// A session that plays nothing yet.
    pub(crate) fn new(conn: Conn, record: Arc<RRSession>) -> Self {
        Self {
            conn,
            record,
            subscriptions: Vec::new(),
            unsent: Vec::new(),
            question: None,
            log_end: 0,
            on_its_way: None,
        }
    }

    /// The stream whose relay owns the connection: that of the newest play.
    pub(in crate::stream) fn home(&self) -> Option<Id> {
        self.subscriptions.last().map(|newest| newest.stream().id())
    }

    /// The stream whose relay gets the connection next. Those of plays that come from another process let these go on
    /// and pass the connection on, before its owner gets it.
    pub(crate) fn next_stream(&self) -> Option<Id> {
        let home = self.home()?;
        let mut moved = self.subscriptions.iter().filter(|play| play.has_moved()).map(|play| play.stream().id());
        Some(moved.find(|&stream| stream != home).unwrap_or(home))
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
