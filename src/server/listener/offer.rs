//! How listening sockets, and sessions whose question to the host is open, are offered to another process. Meanwhile
//! nobody is accepted: who connects waits in the system's queue, and the process that has the sockets then takes them.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::{Listener, PendingState, Slot};
use crate::error::Result;
use crate::net::clock;
use crate::net::event_loop::Io;
use crate::net::socket;
use crate::server::inbox::OfferedListener;
use crate::stream::exported::{self, Doing};
use crate::stream::offer::{Offer, OfferedSession, Verdict};
use crate::stream::record::Caller;

impl Listener {
    /// Offers them, and does nothing more until the verdict.
    pub(super) fn offer(&mut self, verdict: Arc<Verdict>, caller: &Caller<OfferedListener>) {
        if !caller.take() {
            return;
        }
        let (mut slots, mut offered) = (Vec::new(), OfferedListener::default());
        for (slot, used) in &mut self.slots {
            match used {
                Slot::Socket(listener, options) => match socket::second_fd(listener.as_fd()) {
                    Ok(fd) => offered.sockets.push((fd, *options)),
                    Err(failure) => return caller.tell(Err(failure)),
                },
                Slot::Peer(pending) => {
                    let PendingState::Asks(wish, decision) = &pending.state else { continue };
                    // One that plays is with a relay, and here only on its way to there.
                    if !pending.peer.subscriptions.is_empty() {
                        continue;
                    }
                    let doing = Doing::Asks(wish.event(), decision.clone());
                    let peer = &mut pending.peer;
                    let state = exported::state_of(&mut peer.conn, &peer.record, &doing, clock::now_ms());
                    let session: Result<_> =
                        state.and_then(|state| Ok(OfferedSession { state, fd: peer.conn.second_fd()?, besides: None }));
                    if let Ok(session) = session {
                        slots.push(slot);
                        offered.sessions.push(session);
                    }
                }
                Slot::ProxyPending(_) => {}
            }
        }
        self.offer = Some(Offer::new(verdict, slots));
        caller.tell(Ok(offered));
    }

    /// Lets go of the sessions that another process has taken. The listening sockets are closed when the server stops.
    pub(super) fn let_go(&mut self, io: &mut Io<'_>) {
        let Some(offer) = self.offer.take() else { return };
        for slot in offer.taken() {
            let Some(pending) = self.take(slot, io) else { continue };
            self.core.end_exported(&pending.peer.record);
            drop(pending.peer.conn.into_fd());
        }
    }
}
