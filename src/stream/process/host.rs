//! Messages that the host publishes itself, on their way to the worker. Any thread of the host leaves them here; the proxy
//! takes as many as the worker takes, so what waits is bounded.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::error::{Failure, RRError, Result};
use crate::stream::memory::budget::Charge;
use crate::sync::locked;

/// Most bytes that wait, and what a message counts beside its body.
const WAITING_BYTES: usize = 16 << 20;
const MESSAGE_BYTES: usize = 64;

/// A message of the host.
#[derive(Debug)]
pub(in crate::stream) struct HostMessage {
    pub(in crate::stream) type_id: u8,
    pub(in crate::stream) ts_ms: i64,
    pub(in crate::stream) body: Vec<u8>,
    /// The host's publish ends with it.
    pub(in crate::stream) end: bool,
    /// Memory of the body.
    pub(in crate::stream) memory: Charge,
}

/// What waits.
#[derive(Debug, Default)]
pub(in crate::stream) struct HostMessages(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<HostMessage>,
    bytes: usize,
    /// The worker has ended since the last message.
    is_broken: bool,
}

impl HostMessages {
    /// Leaves a message. The end of a publish always finds room.
    ///
    /// # Errors
    /// [`RRError::Limit`] if too much waits, [`RRError::Worker`] once after the end of the worker.
    pub(in crate::stream) fn push(&self, message: HostMessage) -> Result<()> {
        let mut waiting = locked(&self.0);
        if std::mem::take(&mut waiting.is_broken) {
            let text = "its next one begins with your next message: send the headers first";
            return Err(Failure::ours(RRError::Worker, text));
        }
        if waiting.bytes >= WAITING_BYTES && !message.end {
            return Err(Failure::ours(RRError::Limit, "the process of the stream does not take messages that fast"));
        }
        waiting.bytes += message.body.len() + MESSAGE_BYTES;
        waiting.messages.push_back(message);
        Ok(())
    }

    /// Takes the oldest message.
    pub(in crate::stream) fn take(&self) -> Option<HostMessage> {
        let mut waiting = locked(&self.0);
        let message = waiting.messages.pop_front()?;
        waiting.bytes -= message.body.len() + MESSAGE_BYTES;
        Some(message)
    }

    /// Whether none waits.
    pub(in crate::stream) fn is_empty(&self) -> bool {
        locked(&self.0).messages.is_empty()
    }

    /// Drops what waits, because the worker has ended while the host published.
    pub(in crate::stream) fn fail(&self) {
        *locked(&self.0) = Waiting { is_broken: true, ..Waiting::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::memory::budget::Budget;

    #[test]
    fn what_waits_is_bounded_and_after_the_workers_end_the_host_hears_of_it_once() {
        let host = HostMessages::default();
        let memory = || Budget::new(None).nothing();
        let message = |len, end| HostMessage { type_id: 9, ts_ms: 0, body: vec![0; len], end, memory: memory() };
        host.push(message(WAITING_BYTES, false)).unwrap();
        assert_eq!(host.push(message(0, false)).unwrap_err().kind, RRError::Limit);
        host.push(message(0, true)).unwrap();
        assert!(host.take().is_some_and(|message| !message.end));
        host.push(message(1, false)).unwrap();
        host.fail();
        assert!(host.is_empty());
        assert_eq!(host.push(message(1, false)).unwrap_err().kind, RRError::Worker);
        host.push(message(1, false)).unwrap();
    }
}
