//! How the publishers of a stream are offered to another process while the stream runs.

use std::sync::Arc;

use super::Accumulate;
use crate::error::Result;
use crate::net::clock;
use crate::net::event_loop::Io;
use crate::stream::offer::{Offer, OfferedPublisher, OfferedSession, OfferedTarget, Verdict};
use crate::stream::record::Caller;
use crate::stream::remote::target::Target;
use crate::stream::remote::target::backoff::Backoff;

impl Accumulate {
    /// Offers the live publisher and the standbys, and does nothing more until the verdict. If the publisher cannot go,
    /// all stay, and whoever waits for the outcome learns why. A source whose connection cannot go, or is about to end,
    /// is not offered: the other process connects it anew.
    pub(super) fn offer(
        &mut self,
        verdict: Arc<Verdict>,
        mut sources: Vec<(Arc<Target>, Backoff)>,
        caller: &Caller<Vec<OfferedPublisher>>,
        io: &mut Io<'_>,
    ) {
        if !caller.take() {
            return;
        }
        let mut slots: Vec<usize> = self.feeds.iter().map(|(slot, _)| slot).collect();
        // The first that comes there takes the place.
        slots.sort_by_key(|&slot| self.live != Some(slot));
        let (mut offered, mut publishers) = (Vec::new(), Vec::new());
        for slot in slots {
            // What the socket takes need not travel.
            self.flush(slot, io);
            let is_live = self.live == Some(slot);
            match self.offered(slot, is_live, &mut sources) {
                Some(Ok(publisher)) => {
                    offered.push(slot);
                    publishers.push(publisher);
                }
                Some(Err(failure)) if is_live || self.next == Some(slot) => return caller.tell(Err(failure)),
                Some(Err(failure)) => log::info!("a standby stays in this process: {failure}"),
                None => {}
            }
        }
        self.offer = Some(Offer::new(verdict, offered));
        caller.tell(Ok(publishers));
    }

    /// The publisher in this slot, unless its connection has failed, or is that of a source that is to connect anew.
    fn offered(
        &mut self,
        slot: usize,
        is_live: bool,
        sources: &mut Vec<(Arc<Target>, Backoff)>,
    ) -> Option<Result<OfferedPublisher>> {
        let (place, now_ms) = (is_live.then(|| self.stream.log_place()), clock::now_ms());
        let feed = self.feeds.get_mut(slot).filter(|feed| feed.gone.is_none())?;
        feed.reset_acknowledgement();
        let Some(source) = feed.source.clone() else {
            let state = feed.state(place, now_ms);
            let session =
                state.and_then(|state| Ok(OfferedSession { state, fd: feed.peer.conn.second_fd()?, besides: None }));
            return Some(session.map(OfferedPublisher::Session));
        };
        if feed.is_ending() || source.is_stopped() || feed.peer.conn.socket.is_tls() {
            return None;
        }
        let at = sources.iter().position(|(known, _)| Arc::ptr_eq(known, &source))?;
        let (_, history) = sources.swap_remove(at);
        let state = feed.source_state(place, history, now_ms).ok()?;
        let fd = feed.peer.conn.second_fd().ok()?;
        Some(Ok(OfferedPublisher::Source(OfferedTarget { id: source.id, state, fd })))
    }

    /// Lets go of what another process has taken.
    pub(super) fn let_go(&mut self, io: &mut Io<'_>) {
        if self.offer.is_some() {
            self.let_go_offered(io);
        }
    }

    #[cold]
    fn let_go_offered(&mut self, io: &mut Io<'_>) {
        let Some(offer) = self.offer.take() else { return };
        // The live publisher goes last, so that none of the others takes its place.
        for slot in offer.taken().into_iter().rev() {
            let Some(mut feed) = self.take_feed(slot) else { continue };
            let record = Arc::clone(&feed.peer.record);
            self.gone(slot, &record, 0);
            io.remove(&mut feed.peer.conn.socket);
            match &feed.source {
                Some(source) => {
                    self.stream.book().lose(&record, false);
                    self.stream.upcalls().target_exported(source);
                }
                None => self.stream.upcalls().session_exported(&record),
            }
            drop(feed.peer.conn.into_fd());
        }
    }
}
