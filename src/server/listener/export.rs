//! How a session goes to another process: while its question to the host is open, its connection leaves the listener
//! without being closed, together with its state.

use super::{Listener, PendingState};
use crate::error::{Failure, RRError};
use crate::net::clock;
use crate::net::event_loop::Io;
use crate::server::exported;
use crate::stream::peer::{Leave, Stays};
use crate::stream::record::{Export, ExportCaller};

/// Bytes by which a state may grow while its session waits: its time stamps are numbers that need more bytes later.
const GROWTH_BYTES: usize = 16;

impl Listener {
    /// Exports a pending peer whose question to the host is open. For any other peer the caller that waits for the
    /// outcome gets an error.
    pub(super) fn export(&mut self, slot: usize, room: usize, caller: &ExportCaller, io: &mut Io<'_>) -> Stays {
        let Some(pending) = self.pending_peer(slot) else { return Ok(()) };
        let PendingState::Asks(wish, decision) = &pending.state else { return Ok(()) };
        if !caller.take() {
            return Ok(());
        }
        // Output that the socket takes now need not travel.
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
