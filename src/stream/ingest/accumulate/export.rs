//! How a publisher or a source moves to another process: between two messages, its connection leaves without being
//! closed, together with its state.

use std::sync::Arc;

use super::Accumulate;
use super::feed::Feed;
use crate::error::{Failure, RRError};
use crate::net::event_loop::Io;
use crate::stream::exported;
use crate::stream::exported::target::{About, Pause};
use crate::stream::peer::{Leave, Stays};
use crate::stream::record::{Caller, Export, TargetExport};
use crate::stream::remote::source::Goes;
use crate::stream::remote::target::Target;
use crate::stream::remote::target::backoff::Backoff;

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
        let Some(mut feed) = self.take_feed(slot) else { return Ok(()) };
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

    /// Exports a source: with its connection, or without it, to connect `anew`, over TLS, whose keys stay here. A source
    /// whose connection is about to end, or has ended, is one that the dialler exports.
    pub(super) fn export_source(
        &mut self,
        source: &Arc<Target>,
        history: Backoff,
        (room, anew): (usize, bool),
        caller: Caller<TargetExport>,
        io: &mut Io<'_>,
    ) {
        let now_ms = io.now_us / 1000;
        let is_it = |feed: &Feed| feed.source.as_ref().is_some_and(|other| Arc::ptr_eq(other, source));
        let slot = self.feeds.iter().find(|(_, feed)| is_it(feed)).map(|(slot, _)| slot);
        let Some(slot) = slot.filter(|_| !source.is_stopped()) else {
            return self.stream.upcalls().target_export(source, room, caller);
        };
        self.flush(slot, io);
        let is_live = self.live == Some(slot);
        let Some(feed) = self.feeds.get_mut(slot) else { return };
        if feed.is_ending() {
            if !source.is_served() {
                feed.goes = Goes::Renewed;
            }
            let failure = Failure::ours(RRError::Closed, "its connection was about to end");
            self.apply(slot, Err(failure.into()), io);
            return self.stream.upcalls().target_export(source, room, caller);
        }
        if !caller.take() {
            return;
        }
        let anew = anew || feed.peer.conn.socket.is_tls();
        let state = if anew {
            About::of(source, history).paused(Pause::Waits(0), now_ms)
        } else {
            let place = is_live.then(|| self.stream.log_place());
            feed.source_state(place, history, now_ms)
        };
        let Some(state) = exported::fitting_or(state, room, &caller, TargetExport::Needs) else { return };
        let Some(mut feed) = self.take_feed(slot) else { return };
        let record = Arc::clone(&feed.peer.record);
        let held_ms = self.stream.ingest().held_ms(now_ms);
        self.gone(slot, &record, feed.hold_ms(self.stream.config().grace_ms.into()).max(held_ms));
        io.remove(&mut feed.peer.conn.socket);
        self.stream.book().lose(&record, false);
        self.stream.upcalls().target_exported(source);
        let conn = feed.peer.conn;
        caller.tell(Ok(TargetExport::Gone { fd: (!anew).then(|| conn.into_fd()), state }));
        self.stream.call_sources();
        self.stream.check_unused();
    }
}
