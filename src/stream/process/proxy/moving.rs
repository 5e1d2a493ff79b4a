//! Whether a worker goes to another process, and what it has said of itself for that.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::adoption::OfferedProcess;
use super::super::wire::{Handle, impossible};
use crate::error::Result;
use crate::stream::offer::{Offer, Verdict};
use crate::stream::record::Caller;

/// Most messages of a description beside those about sessions and targets.
const OTHERS: usize = 32;

/// Whether the worker goes to another process.
pub(super) enum Moving {
    No,
    /// It is to describe itself.
    Pausing(Pausing),
    /// Another process decides whether it takes the worker, if there is one.
    Offered(Offer),
    /// Another process has it.
    Gone,
}

/// A worker that is to describe itself.
pub(super) struct Pausing {
    pub(super) verdict: Arc<Verdict>,
    pub(super) caller: Caller<OfferedProcess>,
    /// What it has said of itself, once it has begun.
    description: Option<Description>,
    /// When it must have done so, monotonic ms.
    due_ms: u64,
}

/// What a worker has said of itself, and of whom.
#[derive(Default)]
pub(super) struct Description {
    pub(super) messages: Vec<Vec<u8>>,
    of: HashSet<Handle>,
    bytes: usize,
}

impl Moving {
    /// One that is to describe itself by this time, for an offer.
    pub(super) fn pausing(verdict: Arc<Verdict>, caller: Caller<OfferedProcess>, due_ms: u64) -> Self {
        Self::Pausing(Pausing { verdict, caller, description: None, due_ms })
    }

    pub(super) fn is_no(&self) -> bool {
        matches!(self, Self::No)
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }

    /// Whether nothing may be done, because it is not known who has the worker.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Offered(offer) if offer.is_open())
    }

    /// Whether what the worker says is its description.
    pub(super) fn describes(&self) -> bool {
        matches!(self, Self::Pausing(pausing) if pausing.description.is_some())
    }

    /// The bytes of what the worker has said of itself.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Pausing(Pausing { description: Some(description), .. }) => description.bytes,
            _ => 0,
        }
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        match self {
            Self::Pausing(pausing) => Some(pausing.due_ms),
            _ => None,
        }
    }

    pub(super) fn due_ms_mut(&mut self) -> Option<&mut u64> {
        match self {
            Self::Pausing(pausing) => Some(&mut pausing.due_ms),
            _ => None,
        }
    }

    /// Notes that the description begins.
    ///
    /// # Errors
    /// [`RRError::Protocol`](crate::error::RRError::Protocol) if none was wanted.
    pub(super) fn begins(&mut self) -> Result<()> {
        match self {
            Self::Pausing(Pausing { description: description @ None, .. }) => {
                *description = Some(Description::default());
                Ok(())
            }
            _ => Err(impossible("it describes itself without being asked")),
        }
    }

    /// Takes a message of the description: about one of those whom the worker has, if it is about somebody.
    ///
    /// # Errors
    /// [`RRError::Protocol`](crate::error::RRError::Protocol) for more than the worker has to say.
    pub(super) fn take(&mut self, body: Vec<u8>, of: Option<Handle>, has: impl Fn(Handle) -> bool) -> Result<()> {
        let Self::Pausing(Pausing { description: Some(description), .. }) = self else { return Ok(()) };
        let is_its = match of {
            Some(handle) => has(handle) && description.of.insert(handle),
            None => description.messages.len() - description.of.len() < OTHERS,
        };
        if !is_its {
            return Err(impossible("it describes more than it has"));
        }
        description.bytes += body.len();
        description.messages.push(body);
        Ok(())
    }

    /// The messages of the description, which has ended and is of so many.
    ///
    /// # Errors
    /// [`RRError::Protocol`](crate::error::RRError::Protocol) if there is none, or it is not whole.
    pub(super) fn whole(&mut self, count: usize) -> Result<Vec<Vec<u8>>> {
        let Self::Pausing(Pausing { description: Some(Description { messages, of, .. }), .. }) = self else {
            return Err(impossible("it pauses without being asked"));
        };
        if of.len() != count {
            return Err(impossible("it does not describe all that it has"));
        }
        Ok(std::mem::take(messages))
    }
}
