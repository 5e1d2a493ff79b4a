//! A stream one of whose threads stands still.

use std::sync::Arc;

use super::live::until;
use crate::stream::RRStream;
use crate::stream::fault_injection::In;

/// Lets the thread go on when it is dropped, so at the latest when the test fails.
pub(super) struct Stalled(Arc<RRStream>);

impl Stalled {
    /// Orders that this thread stands still in its next round. The caller wakes it.
    pub(super) fn order(stream: &Arc<RRStream>, thread: In) -> Self {
        stream.fault_injection().stall(thread);
        Self(Arc::clone(stream))
    }

    /// Waits until the relay with this number stands still.
    pub(super) fn relay(stream: &Arc<RRStream>, number: usize) -> Self {
        let stalled = Self::order(stream, In::Relay(number));
        stream.wake_relays();
        until("the relay stands still", || stream.fault_injection().is_stalled());
        stalled
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.0.fault_injection().go_on();
    }
}
