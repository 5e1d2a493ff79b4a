//! How a player gets its media while a question about its next request is open: the listener lends it to a relay, with
//! what it knows of the question, and the relay gives it back for the answer, at the deadline, or with its last play.

use super::{Listener, PendingPeer, PendingState};
use crate::config::Decision;
use crate::net::clock;
use crate::net::event_loop::Io;
use crate::session::Event as Said;
use crate::stream::Upcalls;
use crate::stream::memory::budget::Charge;
use crate::stream::peer::{OpenQuestion, Peer};

/// How long a relay has a player that waits for room in the event queue.
const UNHEARD_MS: u64 = 250;

/// What the listener knows of a player that it has lent.
struct Known {
    state: PendingState,
    command: Option<(Said, Box<Decision>)>,
}

/// The question that a player had in another process, about which hooks have decided that there: its relay here gives the
/// player back as soon as it may, and it is asked again.
pub(in crate::server) fn asked_elsewhere(question: Said, decision: Box<Decision>) -> OpenQuestion {
    let asks = Some((question, decision));
    let known = Box::new(Known { state: PendingState::Talks, command: asks.clone() });
    OpenQuestion { by_ms: 0, known, asks }
}

impl Listener {
    /// Lends a peer that plays to its relay, if it has to wait here.
    pub(super) fn lend(&mut self, slot: usize, io: &mut Io<'_>) {
        let Some(pending) = self.pending_peer(slot) else { return };
        let waits = pending.unheard || pending.state.asks();
        if !waits || pending.peer.subscriptions.is_empty() {
            return;
        }
        let Some(pending) = self.take(slot, io) else { return };
        let PendingPeer { mut peer, state, command, unheard, .. } = *pending;
        let by_ms = match state.question() {
            _ if unheard => clock::now_ms() + UNHEARD_MS,
            Some((_, patience)) => patience.by_ms,
            // The host's time, which the session keeps.
            None => peer.conn.next_timeout().unwrap_or(u64::MAX),
        };
        let asks = state.wish().or_else(|| command.clone());
        peer.question = Some(Box::new(OpenQuestion { by_ms, known: Box::new(Known { state, command }), asks }));
        self.core.pass_on(peer);
    }

    /// Takes a lent peer back and acts on what has come for it.
    pub(super) fn take_back(&mut self, mut peer: Peer, memory: Charge, io: &mut Io<'_>) {
        let known = peer.question.take().and_then(|question| question.known.downcast::<Known>().ok());
        let (state, command) = known.map_or((PendingState::Talks, None), |known| (known.state, known.command));
        // As for any peer that asks, events name no stream.
        peer.record.set_stream(0);
        peer.record.forget_stream_if_asking();
        let pending = PendingPeer { peer, state, command, unheard: false, handshakes: false, memory };
        let Some(slot) = self.place(pending, io) else { return };
        let stays = self.look_after(slot, self.core.stop_by_ms(), io).and_then(|()| self.talk(slot, io));
        self.apply(slot, stays, io);
    }
}
