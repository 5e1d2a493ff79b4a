//! Hooks: who is asked before the host whether a peer may connect, publish or play, and told of what comes of it. The server
//! knows the trait; who stands behind it lies above (`rest`).
//!
//! Hooks are asked first and the host second, about what they let through and under the name they gave it; where the host
//! is not asked, theirs is the last word. While they are asked a session's state stays as it was, and no answer of the
//! host's is taken for theirs.

use std::fmt;
use std::sync::Arc;

use crate::error::Failure;
use crate::server::place::{Patience, Place};
use crate::stream::RRStream;
use crate::stream::event::Id;
use crate::stream::record::RRSession;

/// What a peer wants, as far as its session's names do not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// To connect.
    Connect,
    /// To publish.
    Publish {
        /// `live`, `record`, `append` or what came.
        kind: Vec<u8>,
    },
    /// To play.
    Play {
        /// Where to begin; negative: live.
        start_ms: i64,
        /// How much; negative: to the end.
        duration_ms: i64,
        /// False where it follows an earlier play.
        reset: bool,
    },
}

impl Wanted {
    /// The code of a refusal that says nothing about the peer, which may come again.
    pub(crate) fn failed(&self) -> &'static str {
        match self {
            Self::Connect => "NetConnection.Connect.Failed",
            Self::Publish { .. } => "NetStream.Publish.Failed",
            Self::Play { .. } => "NetStream.Play.Failed",
        }
    }
}

/// A question about a session.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// No other question of this server has it; the answer carries it.
    pub(crate) number: u64,
    /// Who asks; its names say for what.
    pub(crate) session: Arc<RRSession>,
    /// What it wants.
    pub(crate) wanted: Wanted,
}

/// Who is asked and told. Nothing here may block: each is called by the thread that has the session.
pub(crate) trait Hooks: Send + Sync + fmt::Debug {
    /// Asks. The answer is given to [`RRServer::answer_question`](super::RRServer::answer_question); `None`: nobody is to be
    /// asked about this.
    fn ask(&self, question: Question) -> Option<Patience>;
    /// A session was let in to publish (or stand by), or to play, this stream.
    fn began(&self, session: &Arc<RRSession>, stream: &RRStream, publishes: bool);
    /// It publishes or plays this stream no more, and is still connected.
    fn ended(&self, session: &RRSession, stream: Id);
    /// The session has ended, and what it published and played with it.
    fn over(&self, session: &RRSession, cause: &Failure);
}

impl Place<dyn Hooks> {
    /// Asks them; gives how long that may take, and `None` where nobody is to be asked about this.
    pub(super) fn ask(&self, number: u64, session: &Arc<RRSession>, wanted: Wanted) -> Option<Patience> {
        self.get()?.ask(Question { number, session: Arc::clone(session), wanted })
    }
}
