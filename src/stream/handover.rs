//! The values that are handed over to a stream's threads: connections with their subscriptions, publishers,
//! targets.

use std::fmt;
use std::sync::Arc;

use crate::net::conn::Conn;
use crate::stream::book::Claim;
use crate::stream::exported::MovedFeed;
use crate::stream::exported::stream::ToExport;
use crate::stream::exported::target::MovedPush;
use crate::stream::log::cursor::Cursor;
use crate::stream::memory::budget::Charge;
use crate::stream::offer::{OfferedPublisher, OfferedSession, OfferedStream, Verdict};
use crate::stream::peer::Peer;
use crate::stream::process::adoption::{Adoption, OfferedProcess};
use crate::stream::process::wire::GoOn;
use crate::stream::record::{Caller, TargetExport};
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::source::Refusal;
use crate::stream::remote::target::Target;
use crate::stream::remote::target::backoff::Backoff;

/// A connection for the relay, or an order of the host.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// An order to export the stream to another process.
    Export {
        /// The most bytes that its state may have.
        room: usize,
        /// Who waits for the outcome.
        caller: Caller<ToExport>,
        /// What the other relays have said to it; `None` where it has not been to them.
        of_others: Option<Box<OfOthers>>,
    },
    /// An order to offer the stream and its players to another process.
    Offer {
        /// The verdict to wait for.
        verdict: Arc<Verdict>,
        /// Its targets whose connections are not the dialler's, with the history of their tries.
        targets: Vec<(Arc<Target>, Backoff)>,
        /// Who waits for the outcome.
        caller: Caller<OfferedStream>,
        /// What the other relays have said to it; `None` where it has not been to them.
        of_others: Option<Box<OfOthers>>,
    },
    /// An order to offer the stream with its process to another one. For a stream that has such a process.
    OfferProcess {
        /// The verdict to wait for.
        verdict: Arc<Verdict>,
        /// Who waits for the outcome.
        caller: Caller<OfferedProcess>,
    },
    /// A worker that another process has left to this one. For a stream that has such a process.
    Adopt(Box<Adoption>),
    /// An order to go on with a stream of another process, before anybody comes. For a stream that has such a process.
    GoOn {
        /// What its process is told.
        message: GoOn,
        /// The memory of that.
        memory: Charge,
        /// Who waits for the outcome.
        caller: Caller<()>,
    },
    /// An order of the relay that leads to another one: to tell waiting players that nobody will serve them.
    Refuse(Refusal),
    /// A player whose newest subscription is to this stream.
    Player(Peer),
    /// A target that has had `Publish.Start`.
    Target {
        /// The target.
        target: Arc<Target>,
        /// Its connection.
        conn: Box<Conn>,
        /// The endpoint, settings and url, that the connection was made for.
        endpoint: Arc<Endpoint>,
        /// The history of its tries.
        history: Backoff,
        /// What another process knew of it, if it continues from there.
        moved: Option<Box<MovedPush>>,
    },
    /// An order to export a connected target to another process.
    ExportTarget {
        /// The target.
        target: Arc<Target>,
        /// The history of its tries.
        history: Backoff,
        /// The most bytes that its state may have.
        room: usize,
        /// Its TLS, which stays, ends in another process of the server: it connects anew where it goes.
        anew: bool,
        /// Who waits for the outcome.
        caller: Caller<TargetExport>,
    },
}

/// What the relays of a stream besides the first say to an order on its way through them.
#[derive(Default)]
pub(crate) struct OfOthers {
    /// From where on they need the log.
    pub(in crate::stream) needs_from: Option<Cursor>,
    /// The players that they offer.
    pub(in crate::stream) players: Vec<OfferedSession>,
}

impl fmt::Debug for OfOthers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfOthers").field("players", &self.players).finish_non_exhaustive()
    }
}

/// A publisher's connection for accumulate, or an order of the host.
#[derive(Debug)]
pub(in crate::stream) enum ForAccumulate {
    /// A publisher.
    Publisher(Box<NewPublisher>),
    /// An order to offer the publisher and the standbys to another process.
    Offer {
        /// The verdict to wait for.
        verdict: Arc<Verdict>,
        /// The connected sources that may go, each with the history of its tries.
        sources: Vec<(Arc<Target>, Backoff)>,
        /// Who waits for the outcome: the live publisher comes first.
        caller: Caller<Vec<OfferedPublisher>>,
    },
    /// An order to export a connected source to another process.
    ExportSource {
        /// The source.
        source: Arc<Target>,
        /// The history of its tries.
        history: Backoff,
        /// The most bytes that its state may have.
        room: usize,
        /// As for a target.
        anew: bool,
        /// Who waits for the outcome.
        caller: Caller<TargetExport>,
    },
}

/// A source that has had `Play.Start`.
#[derive(Debug)]
pub(crate) struct Pulled {
    /// The connection.
    pub conn: Conn,
    /// The streams that its media comes through, as its server names them.
    pub via: Vec<u8>,
    /// The history of its tries.
    pub history: Backoff,
    /// What another process knew of it, and how long media had come there, if it continues from there.
    pub moved: Option<(Box<MovedFeed>, u64)>,
}

/// A session whose `publish` was accepted on this message stream; it goes to accumulate.
#[derive(Debug)]
pub(in crate::stream) struct NewPublisher {
    pub(in crate::stream) peer: Peer,
    pub(in crate::stream) stream_id: u32,
    pub(in crate::stream) claim: Claim,
    /// What another process knew of it, if it continues from there.
    pub(in crate::stream) moved: Option<Box<MovedFeed>>,
    /// The source, if the publisher is one: we opened its connection, and it has had `Play.Start`.
    pub(in crate::stream) source: Option<Arc<Target>>,
    /// How long media came from the source in another process.
    pub(in crate::stream) ran_ms: u64,
    /// The history of the source's tries.
    pub(in crate::stream) history: Backoff,
}
