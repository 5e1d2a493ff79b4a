//! Hooks: they are asked before the host whether a peer may connect, publish or play, and are told the outcome. The
//! server knows only the trait; its implementation is in a layer above (`rest`).
//!
//! Hooks are asked first. The host is asked second, about sessions that hooks allowed and under the names that they
//! gave; if the host is not asked, the hooks decide. While hooks are asked a session's state does not change, and an
//! answer of the host does not count as theirs.

use std::fmt;
use std::sync::Arc;

use crate::error::Failure;
use crate::proto::command::Part;
use crate::server::place::{Patience, Place};
use crate::stream::RRStream;
use crate::stream::event::Id;
use crate::stream::record::RRSession;

/// A peer's request, without the names, which are in its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// To connect.
    Connect,
    /// To publish.
    Publish {
        /// `live`, `record`, `append` or other text from the peer.
        kind: Vec<u8>,
    },
    /// To play.
    Play {
        /// The part of the stream.
        part: Part,
    },
}

impl Wanted {
    /// The code of a refusal that is not the peer's fault, so the peer may try again.
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
    /// The question's number, unique in this server; the answer carries it.
    pub(crate) number: u64,
    /// The session that asks; its names say for which stream.
    pub(crate) session: Arc<RRSession>,
    /// The request.
    pub(crate) wanted: Wanted,
}

/// The interface to hooks. No method may block: the thread that owns the session calls them.
pub(crate) trait Hooks: Send + Sync + fmt::Debug {
    /// Asks. The answer is given to [`RRServer::answer_question`](super::RRServer::answer_question); `None`: there is
    /// no hook for this question.
    fn ask(&self, question: Question) -> Option<Patience>;
    /// Tells that a session was allowed to publish (or stand by on) this stream, or to play it. `moved`: it did so in
    /// another process before.
    fn began(&self, session: &Arc<RRSession>, stream: &RRStream, publishes: bool, moved: bool);
    /// Tells that the session no longer publishes or plays this stream, and is still connected.
    fn ended(&self, session: &RRSession, stream: Id);
    /// Tells that the session has ended, with its publishes and plays.
    fn over(&self, session: &RRSession, cause: &Failure);
    /// Tells that the session continues in another process, whose hooks have its publishes and plays from now on.
    fn moved(&self, session: &RRSession);
}

impl Place<dyn Hooks> {
    /// Asks the hooks; returns how long the answer may take, or `None` if there is no hook for this question.
    pub(super) fn ask(&self, number: u64, session: &Arc<RRSession>, wanted: Wanted) -> Option<Patience> {
        self.get()?.ask(Question { number, session: Arc::clone(session), wanted })
    }
}
