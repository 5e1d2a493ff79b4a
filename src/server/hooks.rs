//! Hooks: who is asked before the host whether a peer may connect, publish or play, and told of what comes of it. The server
//! knows the trait; who stands behind it lies above (`rest`).
//!
//! Hooks are asked first and the host second, about what they let through and under the name they gave it; where the host
//! is not asked, theirs is the last word. While they are asked a session's state stays as it was, and no answer of the
//! host's is taken for theirs.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::Failure;
use crate::stream::RRStream;
use crate::stream::event::Id;
use crate::stream::record::RRSession;
use crate::sync::locked;

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

/// How long an answer may take, and what is done without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// Until then, monotonic ms.
    pub(crate) by_ms: u64,
    /// Whether the session is let in then.
    pub(crate) allow: bool,
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

/// The place for a server's hooks. Without them a call costs one load.
#[derive(Debug, Default)]
pub(super) struct HookPlace {
    any: AtomicBool,
    hooks: Mutex<Option<Arc<dyn Hooks>>>,
    questions: AtomicU64,
}

impl HookPlace {
    /// The hooks from now on.
    pub(super) fn set(&self, hooks: Arc<dyn Hooks>) {
        let mut place = locked(&self.hooks);
        self.any.store(true, Ordering::Release);
        *place = Some(hooks);
    }

    /// Takes these hooks off, unless others stand here meanwhile.
    pub(super) fn remove(&self, hooks: &Arc<dyn Hooks>) {
        let mut place = locked(&self.hooks);
        if place.as_ref().is_some_and(|mine| Arc::ptr_eq(mine, hooks)) {
            self.any.store(false, Ordering::Release);
            *place = None;
        }
    }

    /// The hooks, to be called without a lock.
    pub(super) fn get(&self) -> Option<Arc<dyn Hooks>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        locked(&self.hooks).clone()
    }

    /// Asks them; gives the question's number, and how long it may take.
    pub(super) fn ask(&self, session: &Arc<RRSession>, wanted: Wanted) -> Option<(u64, Patience)> {
        let hooks = self.get()?;
        let number = self.questions.fetch_add(1, Ordering::Relaxed) + 1;
        let patience = hooks.ask(Question { number, session: Arc::clone(session), wanted })?;
        Some((number, patience))
    }
}
