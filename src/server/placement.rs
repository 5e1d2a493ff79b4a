//! Placement: it is asked where a stream that begins here goes to, and where a stream that is missing here comes from.
//! The server knows only the trait; its implementation, the controller, is in a layer above (`rest`).
//!
//! It is asked after hooks and the host, about sessions that they allowed and under the names that they gave. Without
//! an answer the session is allowed, as if there were no placement.

use std::fmt;

use crate::server::place::Patience;
use crate::stream::StreamName;
use crate::stream::event::Id;

/// A question: a session is about to publish a stream that nobody publishes, or to play one that nothing feeds.
#[derive(Clone, Debug)]
pub(crate) struct Placing {
    /// The question's number, unique in this server; the answer carries it.
    pub(crate) number: u64,
    /// The session that waits for the answer.
    pub(crate) session: Id,
    /// The stream.
    pub(crate) name: StreamName,
    /// Whether the stream is to be published.
    pub(crate) publishes: bool,
}

/// The interface to the placement. No method may block: the listener's thread calls it.
pub(crate) trait Placement: Send + Sync + fmt::Debug {
    /// Asks. The answer is given to [`RRServer::answer_question`](super::RRServer::answer_question); `None`: the session
    /// need not wait.
    fn ask(&self, question: Placing) -> Option<Patience>;
    /// Tells that players wait on a stream that another process had before and that has no publisher. If nothing feeds it
    /// when this time is over, or a player comes earlier, the question of that process is asked again, and the answer is
    /// carried out at the stream.
    fn came(&self, name: StreamName, within_ms: u64);
}
