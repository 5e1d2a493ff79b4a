//! How a publisher moves to another process: between two messages, its connection leaves without being closed, together
//! with its state.

use std::sync::Arc;

use super::Accumulate;
use crate::net::event_loop::Io;
use crate::stream::exported;
use crate::stream::peer::{Leave, Stays};
use crate::stream::record::{Caller, Export};

impl Accumulate {
    /// Exports the live publisher or a standby; if it stays, the caller that waits for the outcome gets the reason. For
    /// the stream it is lost: its place is kept for the grace window, and while the stream is on hold.
    pub(super) fn export(
        &mut self,
        slot: usize,
        room: usize,
        caller: &Caller<Export>,
        now_ms: u64,
        io: &mut Io<'_>,
    ) -> Stays {
        if !caller.take() {
            return Ok(());
        }
        // What the socket takes need not travel.
        self.flush(slot, io);
        let Some(feed) = self.feeds.get_mut(slot) else { return Ok(()) };
        let place = (self.live == Some(slot)).then(|| self.stream.log_place());
        let Some(state) = exported::fitting(feed.state(place, now_ms), room, caller) else { return Ok(()) };
        let Some(mut feed) = self.feeds.try_remove(slot) else { return Ok(()) };
        let record = Arc::clone(&feed.peer.record);
        // The others of a stream that is held are to follow, and hear of no end before.
        let held_ms = self.stream.ingest().held_ms(now_ms);
        self.gone(slot, &record, feed.hold_ms(self.stream.config().grace_ms.into()).max(held_ms));
        io.remove(&mut feed.peer.conn.socket);
        self.stream.upcalls().session_exported(&record);
        caller.tell(Ok(Export::Gone { fd: feed.peer.conn.into_fd(), state }));
        self.stream.call_sources();
        self.stream.check_unused();
        Err(Leave::Handed)
    }
}
