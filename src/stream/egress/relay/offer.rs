//! How a stream and its players are offered to another process while the stream runs.

use std::sync::Arc;

use super::Relay;
use crate::error::{RRError, Result};
use crate::net::event_loop::Io;
use crate::stream::egress::consumer::Who;
use crate::stream::handover::StreamExport;
use crate::stream::offer::{Offer, OfferedSession, OfferedStream, Verdict};
use crate::stream::record::Caller;

impl Relay {
    /// Offers the stream with all players that can go, and does nothing more until the verdict.
    pub(super) fn offer(&mut self, verdict: Arc<Verdict>, caller: &Caller<OfferedStream>, now_us: u64) {
        if !caller.take() {
            return;
        }
        self.read_log(now_us);
        let state = match self.stream_state(usize::MAX, now_us) {
            Ok(StreamExport::State(state)) => state,
            Ok(StreamExport::Needs(_)) => return caller.tell(Err(RRError::Limit.into())),
            Err(failure) => return caller.tell(Err(failure)),
        };
        let log = self.stream.log_place().log;
        let (mut slots, mut players) = (Vec::new(), Vec::new());
        for (slot, consumer) in &mut self.consumers {
            let Who::Player(record) = &consumer.who else { continue };
            let record = Arc::clone(record);
            let offered = consumer.state(&log, now_us / 1000);
            let offered = offered.and_then(|state| Ok(OfferedSession { state, fd: consumer.conn.second_fd()? }));
            match offered as Result<OfferedSession> {
                Ok(player) => {
                    slots.push(slot);
                    players.push(player);
                }
                Err(failure) => log::info!("{} stays in this process: {failure}", record.addr),
            }
        }
        self.offer = Some(Offer::new(verdict, slots));
        caller.tell(Ok(OfferedStream { state, players }));
    }

    /// Lets go of what another process has taken.
    pub(super) fn let_go(&mut self, io: &mut Io<'_>) {
        let Some(offer) = self.offer.take() else { return };
        for slot in offer.taken() {
            drop(self.part_with(slot, io));
        }
    }
}
