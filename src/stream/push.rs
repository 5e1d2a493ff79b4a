//! What a consumer that is a target has beside what every player has: the settings it was connected with, changes of
//! them while it runs, and why it is closed in order. The relay owns it with the consumer.

use std::sync::Arc;

use crate::stream::join::JoinPoint;
use crate::stream::target::Plan;

/// Why a target is closed in order, where it is not the end of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// The server sends us elsewhere, or to connect again.
    Moved {
        /// Where to.
        url: Option<String>,
        /// Its words.
        text: String,
    },
    /// Its new settings want another connection.
    Renewed,
    /// There was no media for long.
    Idle,
}

/// A connected target.
pub(super) struct Push {
    /// What it was connected for, with later changes that a connection bears.
    pub(super) plan: Arc<Plan>,
    /// When it was connected, monotonic ms.
    pub(super) began_ms: u64,
    pub(super) parting: Option<Parting>,
    /// New settings want more than it gets; it gets that from the next key frame on.
    pub(super) widens: bool,
    /// That key frame.
    turn: Option<JoinPoint>,
}

impl Push {
    pub(super) fn new(plan: Arc<Plan>, now_ms: u64) -> Self {
        Self { plan, began_ms: now_ms, parting: None, widens: false, turn: None }
    }

    /// A key frame has come: where it waits for one, it gets from there on what it is to get. One that it has passed
    /// already is of no use.
    pub(super) fn turn_at(&mut self, key: &JoinPoint, position: u64) {
        if self.widens && self.turn.is_none() && key.cursor.position() >= position {
            self.turn = Some(key.clone());
        }
    }

    /// The bytes from `position` to where it gets other messages.
    pub(super) fn widens_in(&self, position: u64) -> u64 {
        self.turn.as_ref().map_or(u64::MAX, |point| point.cursor.position().saturating_sub(position))
    }

    /// The place at which it gets other messages, once `position` has come to it; given once.
    pub(super) fn widened_at(&mut self, position: u64) -> Option<JoinPoint> {
        let reached = self.turn.as_ref().is_some_and(|point| position >= point.cursor.position());
        self.widens &= !reached;
        if reached { self.turn.take() } else { None }
    }
}
