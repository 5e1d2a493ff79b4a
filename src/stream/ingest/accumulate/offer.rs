//! How the publishers of a stream are offered to another process while the stream runs.

use std::sync::Arc;

use super::Accumulate;
use crate::error::Result;
use crate::net::clock;
use crate::net::event_loop::Io;
use crate::stream::offer::{Offer, OfferedSession, Verdict};
use crate::stream::record::Caller;

impl Accumulate {
    /// Offers the live publisher and the standbys, and does nothing more until the verdict. If the publisher cannot go, all
    /// stay, and whoever waits for the outcome learns why. A source is not offered: the other process connects it anew.
    pub(super) fn offer(&mut self, verdict: Arc<Verdict>, caller: &Caller<Vec<OfferedSession>>, io: &mut Io<'_>) {
        if !caller.take() {
            return;
        }
        let mut slots: Vec<usize> = self.feeds.iter().map(|(slot, _)| slot).collect();
        // The first that comes there takes the place.
        slots.sort_by_key(|&slot| self.live != Some(slot));
        let (mut offered, mut sessions) = (Vec::new(), Vec::new());
        for slot in slots {
            // What the socket takes need not travel.
            self.flush(slot, io);
            let is_live = self.live == Some(slot);
            match self.offered(slot, is_live) {
                Some(Ok(session)) => {
                    offered.push(slot);
                    sessions.push(session);
                }
                Some(Err(failure)) if is_live || self.next == Some(slot) => return caller.tell(Err(failure)),
                Some(Err(failure)) => log::info!("a standby stays in this process: {failure}"),
                None => {}
            }
        }
        self.offer = Some(Offer::new(verdict, offered));
        caller.tell(Ok(sessions));
    }

    /// The session in this slot, unless it is a source or its connection has failed.
    fn offered(&mut self, slot: usize, is_live: bool) -> Option<Result<OfferedSession>> {
        let place = is_live.then(|| self.stream.log_place());
        let feed = self.feeds.get_mut(slot).filter(|feed| feed.source.is_none() && feed.gone.is_none())?;
        let state = feed.state(place, clock::now_ms());
        Some(state.and_then(|state| Ok(OfferedSession { state, fd: feed.peer.conn.second_fd()? })))
    }

    /// Lets go of what another process has taken.
    pub(super) fn let_go(&mut self, io: &mut Io<'_>) {
        let Some(offer) = self.offer.take() else { return };
        // The live publisher goes last, so that none of the others takes its place.
        for slot in offer.taken().into_iter().rev() {
            let Some(mut feed) = self.feeds.try_remove(slot) else { continue };
            let record = Arc::clone(&feed.peer.record);
            self.gone(slot, &record, 0);
            io.remove(&mut feed.peer.conn.socket);
            self.stream.upcalls().session_exported(&record);
            drop(feed.peer.conn.into_fd());
        }
    }
}
