//! Who waits for what the worker gives away, and for the stream that it goes on with.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Failure;
use crate::stream::exported::stream::ToExport;
use crate::stream::record::{Caller, TargetExport};
use crate::stream::remote::target::Target;
use crate::stream::upcalls::Upcalls;

/// Most who wait for the state of the stream at a time.
pub(super) const WAITING: usize = 16;

/// What the worker is asked about the stream as a whole.
#[derive(Default)]
pub(super) struct Waits {
    /// Who waits for its state, and the room for that, in the order in which the worker answers.
    pub(super) states: VecDeque<(usize, Caller<ToExport>)>,
    /// Who waits until it goes on from another server.
    pub(super) goes_on: Option<Caller<()>>,
    /// When the worker must have answered, monotonic ms.
    pub(super) due_ms: Option<u64>,
}

impl Waits {
    /// Forgets the deadline once nobody waits.
    pub(super) fn answered(&mut self) {
        if self.states.is_empty() && self.goes_on.is_none() {
            self.due_ms = None;
        }
    }

    /// Tells those who wait that the worker has ended.
    pub(super) fn end(&mut self, failure: &Failure) {
        let Self { states, goes_on, .. } = std::mem::take(self);
        states.iter().for_each(|(_, caller)| caller.tell(Err(failure.clone())));
        if let Some(caller) = goes_on.filter(Caller::take) {
            caller.tell(Err(failure.clone()));
        }
    }
}

/// The export of a target or source, which its caller waits for.
pub(super) struct TargetOrder {
    pub(super) room: usize,
    pub(super) caller: Caller<TargetExport>,
    pub(super) anew: bool,
}

impl TargetOrder {
    /// Gives it to the dialler: the connection has ended meanwhile.
    pub(super) fn give_back(self, upcalls: &dyn Upcalls, target: &Arc<Target>) {
        upcalls.target_export(target, self.room, self.caller.untaken());
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Waits {
    /// Somebody waits for each.
    pub(super) fn wanted() -> Self {
        Self { states: VecDeque::from([(1 << 20, Caller::new().0)]), goes_on: Some(Caller::new().0), due_ms: None }
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl TargetOrder {
    /// Somebody waits for it.
    pub(super) fn wanted() -> Self {
        Self { room: 1 << 20, caller: Caller::new().0, anew: true }
    }
}
