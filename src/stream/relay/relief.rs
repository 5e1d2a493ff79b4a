//! What the relay gives up where the server's memory is short.

use super::Relay;
use crate::stream::buffer::Head;

/// Who is less behind than this holds hardly more than the segment that is being written.
const NEAR_BYTES: u64 = 256 * 1024;

impl Relay {
    /// Does what is wanted, mostly nothing.
    pub(super) fn relieve(&mut self, head: Head, now_us: u64) {
        let wanted = self.stream.relief_wanted();
        if wanted.caches {
            self.scout.drop_anchor();
        }
        if wanted.cursors {
            self.drop_lag(head, now_us);
            // How far behind these are is their owners' to know.
            self.guests.iter().for_each(|guest| guest.retreat(head.position));
        }
    }

    /// Whoever is more than half as far behind as the furthest jumps to the head, to go on at the next key frame.
    fn drop_lag(&mut self, head: Head, now_us: u64) {
        let lags: Vec<(usize, u64)> =
            self.consumers.iter_mut().map(|(slot, consumer)| (slot, consumer.lag(head, now_us).bytes)).collect();
        let furthest = lags.iter().map(|&(_, bytes)| bytes).max().unwrap_or(0);
        let bound = (furthest / 2).max(NEAR_BYTES);
        let (mut jumped, mut messages_dropped) = (0, 0);
        for (slot, _) in lags.into_iter().filter(|&(_, bytes)| bytes > bound) {
            let Some(consumer) = self.consumers.get_mut(slot).filter(|consumer| !consumer.is_waiting()) else {
                continue;
            };
            let (messages, bytes) = consumer.jump(None, head);
            let counters = consumer.who.counters();
            counters.dropped_msgs.add(messages);
            counters.dropped_bytes.add(bytes);
            counters.dropped_runs.add(1);
            self.waiting += 1;
            self.stream.dropped_msgs.add(messages);
            self.stream.dropped_bytes.add(bytes);
            self.stream.dropped_runs.add(1);
            jumped += 1;
            messages_dropped += messages;
        }
        if jumped > 0 {
            let name = self.stream.masked_name();
            log::warn!("memory is short: {jumped} consumers of {name} jumped over {messages_dropped} messages");
        }
    }
}
