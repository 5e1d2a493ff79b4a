//! Placement: who is asked where a stream goes that begins here, and where one comes from that is missing here. The server
//! knows the trait; who stands behind it lies above (`rest`).
//!
//! It is asked after hooks and the host, about what they let in and under the name they gave. Without an answer the session
//! is let in, as if nobody were asked.

use std::fmt;

use crate::server::place::Patience;
use crate::stream::StreamName;
use crate::stream::event::Id;

/// A question: a session is about to publish a stream that nobody publishes, or to play one that nothing feeds.
#[derive(Clone, Debug)]
pub(crate) struct Placing {
    /// No other question of this server has it; the answer carries it.
    pub(crate) number: u64,
    /// Who waits for the answer.
    pub(crate) session: Id,
    /// The stream.
    pub(crate) name: StreamName,
    /// Whether it is to be published.
    pub(crate) publishes: bool,
}

/// Who is asked. Nothing here may block: the listener's thread calls it.
pub(crate) trait Placement: Send + Sync + fmt::Debug {
    /// Asks. The answer is given to [`RRServer::answer_question`](super::RRServer::answer_question); `None`: the session
    /// need not wait.
    fn ask(&self, question: Placing) -> Option<Patience>;
}
