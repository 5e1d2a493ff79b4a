//! How a session goes to another process: while it asks the host, its connection leaves the listener open, with the state
//! to go on with.

use super::{Listener, PendingState};
use crate::error::{Failure, RRError};
use crate::net::clock;
use crate::net::event_loop::Io;
use crate::server::exported;
use crate::stream::peer::{Leave, Stays};
use crate::stream::record::{Export, ExportCaller};

/// Bytes by which a state may grow while its session waits: its moment is a number that takes more of them later.
const GROWTH_BYTES: usize = 16;

impl Listener {
    /// Gives a pending peer away that asks the host; with any other, whoever waits for the outcome learns that it has none.
    pub(super) fn export(&mut self, slot: usize, room: usize, caller: &ExportCaller, io: &mut Io<'_>) -> Stays {
        let Some(pending) = self.pending_peer(slot) else { return Ok(()) };
        let PendingState::Asks(wish, decision) = &pending.state else { return Ok(()) };
        if !caller.take() {
            return Ok(());
        }
        // What the socket takes need not travel.
        if let Err(failure) = pending.peer.conn.flush() {
            caller.tell(Err(Failure::ours(RRError::NotFound, "the session has ended")));
            return Err(failure.into());
        }
        let state = match exported::state_of(&mut pending.peer, wish, decision, clock::now_ms()) {
            Ok(state) if state.len() <= room => state,
            other => {
                caller.tell(other.map(|state| Export::Needs(state.len() + GROWTH_BYTES)));
                return Ok(());
            }
        };
        let Some(pending) = self.take(slot, io) else { return Ok(()) };
        let (fd, record) = (pending.peer.conn.into_fd(), pending.peer.record);
        self.core.end_exported(&record);
        caller.tell(Ok(Export::Gone { fd, state }));
        Err(Leave::Handed)
    }
}
