//! Whether the threads of the stream go on. The main thread answers a ping of the server once each of them has gone through its
//! loop since it came, so that a thread that hangs is noticed as the main thread itself is.

use crate::net::poll::Pulse;
use crate::stream::front::RRStream;

/// A ping that is to be answered.
pub(super) struct Ping {
    number: u64,
    /// The threads that may not have gone on.
    left: Vec<(&'static str, Pulse)>,
    /// How many pings have come since.
    later: u32,
}

impl Ping {
    /// The ping with this number, which has come now.
    pub(super) fn new(number: u64, stream: &RRStream) -> Self {
        let accumulate = stream.accumulate().pulse().map(|pulse| ("accmDataThread", pulse));
        let relays = stream.relays().pulses().map(|pulse| ("relayDataThread", pulse));
        Self { number, left: accumulate.into_iter().chain(relays).collect(), later: 0 }
    }

    /// Its number, once it can be answered.
    pub(super) fn answer(&mut self) -> Option<u64> {
        self.left.retain(|(_, pulse)| !pulse.has_passed());
        self.left.is_empty().then_some(self.number)
    }

    /// Another one has come, a second later, which the answer to this one answers too. The log says once which thread has not
    /// gone on: it hangs, or the machine has much else to do.
    pub(super) fn again(&mut self) {
        self.later += 1;
        if let (1, Some((name, _))) = (self.later, self.left.first()) {
            log::warn!("its {name} has not gone on for a second");
        }
    }
}
