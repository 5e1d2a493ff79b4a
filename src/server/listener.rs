//! The listener: the task of `listenerThread`. It accepts peers and talks with them until they publish or play; then
//! the connection belongs to a stream. A connection whose publish or play is over comes back here if the peer stays.
//!
//! Every pending peer has a deadline until its `connect` is accepted, and answers pings from then on (its session does
//! both), so a slow or silent peer costs one slot and nothing else. While the host does not take its events, no peer
//! gets further, so that peers cannot make the queue grow.
//!
//! `listener/accept.rs` takes in connections, `listener/tls_handshakes.rs` schedules TLS handshakes,
//! `listener/lend.rs` lets players have their media while a question is open, and `listener/export.rs` gives a session
//! to another process.

mod accept;
mod export;
pub(super) mod lend;
mod newcomers;
mod offer;
mod tls_handshakes;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use crossbeam::channel::Receiver;
use slab::Slab;

use crate::config::{Decision, ListenOptions, READ_LITTLE_BYTES, ask};
use crate::error::{Failure, RRError};
use crate::net::clock;
use crate::net::conn::Pumped;
use crate::net::event_loop::{Io, Task};
use crate::net::poll::Ready;
use crate::net::socket::half_close;
use crate::server::admission::{self, Wish};
use crate::server::core::Core;
use crate::server::inbox::ToListener;
use crate::server::place::Patience;
use crate::session::{Event as Said, SessionConfig, State};
use crate::stream::Upcalls;
use crate::stream::event::EventKind;
use crate::stream::memory::budget::Charge;
use crate::stream::offer::Offer;
use crate::stream::peer::{Leave, Peer, Stays};
use crate::stream::record::Order;
use newcomers::{ProxyPending, RefusedConnections};

/// The text that pending peers get when the server stops.
const STOPPING: &str = "the server stops";

/// The text for a peer that is sent to another server.
const GO_ELSEWHERE: &str = "go to another server";

/// How long a peer that is refused or closed may take to read the reason, or what is on its way to it.
const GOODBYE_MS: u64 = 2_000;

/// The state of a pending peer.
#[derive(Debug)]
enum PendingState {
    /// The peer does its handshake and sends commands.
    Talks,
    /// Hooks were asked, with this number; nothing is read until they answer. `before` is the decision from another
    /// process.
    AsksHooks { wish: Wish, before: Box<Decision>, number: u64, patience: Patience },
    /// The host was asked, after hooks allowed the request with this decision; nothing is read until it answers.
    Asks(Wish, Box<Decision>),
    /// The controller was asked, after hooks and the host allowed the request with this decision; nothing is read until
    /// it answers.
    AsksController { wish: Wish, decision: Box<Decision>, number: u64, patience: Patience },
    /// The peer was refused, or is closed while bytes are on their way to it; until `by_ms` it may read them and close by
    /// itself.
    Leaves { why: Failure, by_ms: u64 },
}

impl PendingState {
    /// Whether a question is open.
    fn asks(&self) -> bool {
        matches!(self, Self::Asks(..) | Self::AsksHooks { .. } | Self::AsksController { .. })
    }

    /// The request about which a question is open, and what has been decided about it so far.
    fn wish(&self) -> Option<(Said, Box<Decision>)> {
        match self {
            Self::Asks(wish, decision)
            | Self::AsksHooks { wish, before: decision, .. }
            | Self::AsksController { wish, decision, .. } => Some((wish.event(), decision.clone())),
            Self::Talks | Self::Leaves { .. } => None,
        }
    }

    /// The number of the open question to hooks or the controller, and how long its answer may take.
    fn question(&self) -> Option<(u64, Patience)> {
        match self {
            Self::AsksHooks { number, patience, .. } | Self::AsksController { number, patience, .. } => {
                Some((*number, *patience))
            }
            _ => None,
        }
    }
}

#[derive(Debug)]
struct PendingPeer {
    peer: Peer,
    state: PendingState,
    /// The command with which the peer came, until it is handled, and the decision about it from another process.
    command: Option<(Said, Box<Decision>)>,
    /// The event queue was full when the peer had its turn; the poller does not report its bytes again.
    unheard: bool,
    /// The peer is in the list of TLS handshakes.
    handshakes: bool,
    /// Memory of its half-read messages.
    memory: Charge,
}

/// The use of a slot of the poller.
enum Slot {
    Socket(mio::net::TcpListener, ListenOptions),
    ProxyPending(Box<ProxyPending>),
    Peer(Box<PendingPeer>),
}

/// The refusal of a question that got no answer in time; an empty code means the usual one.
fn unanswered(code: &str) -> Order {
    Order::Deny(code.to_owned(), "nobody allowed it in time".to_owned())
}

/// The task; only the listener thread uses its fields.
pub(super) struct Listener {
    core: Arc<Core>,
    slots: Slab<Slot>,
    pending: usize,
    proxy_pending: usize,
    refused: RefusedConnections,
    session: SessionConfig,
    /// Listening sockets that may have more to accept.
    accepting: Vec<usize>,
    /// One of them certainly has more.
    accepts_at_once: bool,
    /// Slots of pending peers that can continue their TLS handshake, each once.
    handshaking: VecDeque<usize>,
    /// What was offered to another process, until the verdict was carried out.
    offer: Option<Offer>,
}

impl Listener {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let session = SessionConfig::from(&core.config);
        Self {
            core,
            slots: Slab::new(),
            pending: 0,
            proxy_pending: 0,
            refused: RefusedConnections::default(),
            session,
            accepting: Vec::new(),
            accepts_at_once: false,
            handshaking: VecDeque::new(),
            offer: None,
        }
    }
}

impl Task for Listener {
    type Message = ToListener;

    const TICK_MS: u64 = 100;
    const SCRATCH_BYTES: usize = READ_LITTLE_BYTES;

    fn wants_ticks(&self) -> bool {
        self.pending > 0 || self.proxy_pending > 0 || !self.accepting.is_empty() || self.core.stop_by_ms().is_some()
    }

    fn is_paused(&self) -> bool {
        self.offer.as_ref().is_some_and(Offer::is_open)
    }

    fn next_timeout(&self) -> Option<u64> {
        (self.accepts_at_once || !self.handshaking.is_empty()).then_some(0)
    }

    fn on_message(&mut self, message: ToListener, io: &mut Io<'_>) {
        self.take_in(message, io);
    }

    fn begin_round(&mut self, _ready: &[Ready], io: &mut Io<'_>) {
        self.let_go(io);
    }

    fn on_ready(&mut self, ready: Ready, io: &mut Io<'_>) {
        match self.slots.get(ready.slot) {
            Some(Slot::Socket(..)) if !self.accepting.contains(&ready.slot) => self.accepting.push(ready.slot),
            Some(Slot::Peer(_)) => self.serve(ready.slot, io),
            Some(Slot::ProxyPending(_)) => self.read_proxy_header(ready.slot, io),
            _ => {}
        }
    }

    fn end_round(&mut self, _inbox: &Receiver<ToListener>, io: &mut Io<'_>) {
        self.accepts_at_once = self.accept(io);
        self.go_on_with_handshakes(io);
    }

    /// Handles orders of the host, timeouts of sessions, and peers that waited for room in the event queue.
    fn on_tick(&mut self, _nudged: bool, io: &mut Io<'_>) {
        let stop_by_ms = self.core.stop_by_ms();
        self.refused.tell();
        self.close_proxy_pending(stop_by_ms.is_some(), io);
        // There may be no memory for a list of them.
        for slot in 0..self.slots.capacity() {
            if self.slots.contains(slot) {
                let stays = self.look_after(slot, stop_by_ms, io);
                self.apply(slot, stays, io);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.core.is_closing()
    }

    fn on_end(&mut self, inbox: &Receiver<ToListener>, io: &mut Io<'_>) {
        let failure = Failure::ours(RRError::Kicked, STOPPING);
        self.let_go(io);
        self.close_listeners(io);
        self.close_proxy_pending(true, io);
        for slot in 0..self.slots.capacity() {
            self.apply(slot, Err(failure.clone().into()), io);
        }
        while let Ok(message) = inbox.try_recv() {
            if let ToListener::Back(peer, ..) | ToListener::Imported(peer, ..) = message {
                self.core.end_session(&peer.record, &failure);
            }
        }
    }
}

impl Listener {
    // ---- new connections

    fn seat(&mut self, peer: Peer, memory: Charge, command: Option<(Said, Box<Decision>)>, io: &mut Io<'_>) {
        let state = PendingState::Talks;
        let pending = PendingPeer { peer, state, command, unheard: false, handshakes: false, memory };
        if let Some(slot) = self.place(pending, io) {
            self.serve(slot, io);
        }
    }

    fn place(&mut self, mut pending: PendingPeer, io: &mut Io<'_>) -> Option<usize> {
        pending.peer.on_its_way = None;
        let entry = self.slots.vacant_entry();
        let slot = entry.key();
        if let Err(failure) = io.add(&mut pending.peer.conn.socket, slot) {
            self.core.end_session(&pending.peer.record, &failure);
            return None;
        }
        entry.insert(Slot::Peer(Box::new(pending)));
        self.pending += 1;
        Some(slot)
    }

    // ---- pending peers

    fn pending_peer(&mut self, slot: usize) -> Option<&mut PendingPeer> {
        match self.slots.get_mut(slot) {
            Some(Slot::Peer(pending)) => Some(pending),
            _ => None,
        }
    }

    /// Reads a pending peer, handles its commands and sends the answers. A peer whose TLS handshake is not done waits
    /// for its share of a turn.
    fn serve(&mut self, slot: usize, io: &mut Io<'_>) {
        if !self.waits_for_handshake(slot) {
            self.read(slot, io);
        }
    }

    fn read(&mut self, slot: usize, io: &mut Io<'_>) {
        let stays = self.talk(slot, io);
        self.apply(slot, stays, io);
    }

    fn talk(&mut self, slot: usize, io: &mut Io<'_>) -> Stays {
        loop {
            let full = self.core.events.is_full();
            let Some(Slot::Peer(pending)) = self.slots.get_mut(slot) else { return Ok(()) };
            pending.unheard = full;
            // With a full queue the tick comes back to the peer.
            if full || pending.state.asks() {
                return self.flush(slot);
            }
            let leaves = matches!(pending.state, PendingState::Leaves { .. });
            let (came, before) = pending.command.take().filter(|_| !leaves).unzip();
            let said = match came {
                Some(said) => Ok(Pumped::Event(said)),
                None => pending.peer.conn.pump(io.scratch, clock::now_ms(), READ_LITTLE_BYTES, true, |event, _| {
                    match event {
                        // A refused peer's bytes are read and dropped: closing with them unread would reset the
                        // connection, and our refusal would be lost.
                        _ if leaves => ControlFlow::Continue(()),
                        Said::Connect | Said::Publish { .. } | Said::Play { .. } | Said::Answered { .. } => {
                            ControlFlow::Break(event)
                        }
                        _ => ControlFlow::Continue(()),
                    }
                }),
            };
            if let PendingState::Leaves { why, .. } = &pending.state
                && said.is_err()
            {
                return Err(why.clone().into());
            }
            pending.memory.follow(pending.peer.conn.heap_bytes())?;
            match said {
                Ok(Pumped::Drained) => return self.flush(slot),
                Ok(Pumped::More) => {
                    io.again(slot);
                    return self.flush(slot);
                }
                Ok(Pumped::Event(event)) => self.on_event(slot, event, before.unwrap_or_default(), io)?,
                Err(failure) => {
                    let _ = pending.peer.conn.flush();
                    return Err(failure.into());
                }
            }
        }
    }

    fn flush(&mut self, slot: usize) -> Stays {
        if let Some(pending) = self.pending_peer(slot) {
            match pending.state {
                PendingState::Leaves { .. } => pending.peer.conn.finish()?,
                _ => pending.peer.conn.flush()?,
            };
        }
        Ok(())
    }

    /// Handles a request of a pending peer: hooks are asked, or the host, or the request is granted.
    fn on_event(&mut self, slot: usize, event: Said, before: Box<Decision>, io: &mut Io<'_>) -> Stays {
        let args = self.core.config.stream.args;
        if let Said::Answered { error, text } = event {
            return self.refuse_and_leave(slot, Failure::peers(error, text), io);
        }
        let Some(wish) = Wish::from_event(event, args) else { return Ok(()) };
        let core = Arc::clone(&self.core);
        let Some(pending) = self.pending_peer(slot) else { return Ok(()) };
        admission::note_names(&mut pending.peer, &wish, args);
        if let Err(failure) = admission::has_access(&core, &mut pending.peer, &wish) {
            return self.refuse_and_leave(slot, failure, io);
        }
        admission::note_rename(&pending.peer, &wish, &before);
        let number = core.question();
        match core.hooks.ask(number, &pending.peer.record, wish.wanted()) {
            Some(patience) => {
                pending.state = PendingState::AsksHooks { wish, before, number, patience };
                self.flush(slot)
            }
            None => self.ask_host(slot, wish, before, io),
        }
    }

    /// Continues after the hooks' decision: the host is asked, or the request is granted.
    fn ask_host(&mut self, slot: usize, wish: Wish, decision: Box<Decision>, io: &mut Io<'_>) -> Stays {
        let (bit, kind) = match &wish {
            Wish::Connect => (ask::CONNECT, EventKind::ConnectAsk),
            Wish::Publish { .. } => (ask::PUBLISH, EventKind::PublishAsk),
            Wish::Play { .. } => (ask::PLAY, EventKind::PlayAsk),
        };
        let core = Arc::clone(&self.core);
        if core.config.ask & bit == 0 {
            return self.grant(slot, wish, decision, io);
        }
        let Some(pending) = self.pending_peer(slot) else { return Ok(()) };
        admission::note_rename(&pending.peer, &wish, &decision);
        pending.state = PendingState::Asks(wish, decision);
        if let Some(session) = pending.peer.conn.inbound() {
            session.asked(clock::now_ms());
        }
        let record = &pending.peer.record;
        let prev = record.set_state(State::Waiting);
        core.events.push(record.event(kind).moved(prev, State::Waiting));
        // Answers so far are sent now, because they must not wait for the host's answer.
        self.flush(slot)
    }

    /// Grants the request: a connect continues here; for a publish or play the controller is asked, or it begins.
    fn grant(&mut self, slot: usize, wish: Wish, decision: Box<Decision>, io: &mut Io<'_>) -> Stays {
        let core = Arc::clone(&self.core);
        let Some(pending) = self.pending_peer(slot) else { return Ok(()) };
        pending.state = PendingState::Talks;
        if decision.user != 0 {
            pending.peer.record.set_user(decision.user);
        }
        if let Wish::Connect = wish {
            admission::note_rename(&pending.peer, &wish, &decision);
            if let Some(session) = pending.peer.conn.inbound() {
                session.accept_connect(clock::now_ms());
            }
            return Ok(());
        }
        match admission::ask_controller(&core, &mut pending.peer, &wish, &decision) {
            Some((number, patience)) => {
                pending.state = PendingState::AsksController { wish, decision, number, patience };
                self.flush(slot)
            }
            None => self.begin(slot, wish, &decision, io),
        }
    }

    /// Begins a publish or play on its stream.
    fn begin(&mut self, slot: usize, wish: Wish, decision: &Decision, io: &mut Io<'_>) -> Stays {
        let core = Arc::clone(&self.core);
        let Some(pending) = self.pending_peer(slot) else { return Ok(()) };
        let entered = match admission::find_stream(&core, &mut pending.peer, &wish, decision) {
            Ok(entered) => entered,
            Err(failure) => return self.refuse_and_leave(slot, failure, io),
        };
        if let Some(pending) = self.pending_peer(slot)
            && admission::is_answered_without_media(&mut pending.peer, &entered.0, &wish)
        {
            return self.refuse_and_leave(
                slot,
                Failure::peers(RRError::Closed, "was only told whether there is such a stream"),
                io,
            );
        }
        let Some(pending) = self.take(slot, io) else { return Ok(()) };
        admission::hand_over(&core, &entered, pending.peer, wish, decision);
        Err(Leave::Handed)
    }

    // ---- orders and deadlines

    fn take_order(&mut self, slot: usize, order: Order, io: &mut Io<'_>) -> Stays {
        if let Order::Close(text) = order {
            return self.close(slot, Failure::ours(RRError::Kicked, text));
        }
        let Some(pending) = self.pending_peer(slot) else { return Ok(()) };
        if let Order::Reconnect(url, text) = order {
            pending.peer.ask_to_reconnect(url.as_deref(), &text);
            return self.flush(slot);
        }
        // An answer that comes after the deadline, or twice, is ignored.
        if let Order::Answer(number, order) = order {
            return self.take_answer(slot, number, *order, io);
        }
        if let Order::Export { room, caller } = order {
            return self.export(slot, room, &caller, io);
        }
        let PendingState::Asks(..) = &pending.state else { return Ok(()) };
        let PendingState::Asks(wish, before) = std::mem::replace(&mut pending.state, PendingState::Talks) else {
            return Ok(());
        };
        admission::tell_decision(&pending.peer, &wish, &order);
        let prev = pending.peer.record.set_state(State::Handshake);
        let moved = pending.peer.record.event(EventKind::Session).moved(prev, State::Handshake);
        self.core.events.push(moved);
        match order {
            Order::Allow(decision) => {
                self.grant(slot, wish, Box::new(admission::together(*before, *decision)), io)?;
            }
            Order::Deny(code, text) => self.refuse(slot, &wish, &code, &text, None, io)?,
            Order::Redirect(url) => self.refuse(slot, &wish, "", GO_ELSEWHERE, Some(&url), io)?,
            Order::Close(_) | Order::Reconnect(..) | Order::Answer(..) | Order::Export { .. } => {}
        }
        self.talk(slot, io)
    }

    /// Takes an answer of hooks or the controller. An answer that comes too late, or to another question, is ignored.
    fn take_answer(&mut self, slot: usize, number: u64, order: Order, io: &mut Io<'_>) -> Stays {
        let Some(pending) = self.pending_peer(slot) else { return Ok(()) };
        if pending.state.question().is_none_or(|(asked, _)| asked != number) {
            return Ok(());
        }
        let (wish, before, by_hooks) = match std::mem::replace(&mut pending.state, PendingState::Talks) {
            PendingState::AsksHooks { wish, before, .. } => (wish, before, true),
            PendingState::AsksController { wish, decision, .. } => (wish, decision, false),
            _ => return Ok(()),
        };
        admission::tell_decision(&pending.peer, &wish, &order);
        match order {
            Order::Allow(decision) => {
                let decision = Box::new(admission::together(*before, *decision));
                if by_hooks {
                    self.ask_host(slot, wish, decision, io)?;
                } else {
                    self.begin(slot, wish, &decision, io)?;
                }
            }
            Order::Deny(code, text) => self.refuse(slot, &wish, &code, &text, None, io)?,
            Order::Redirect(url) => self.refuse(slot, &wish, "", GO_ELSEWHERE, Some(&url), io)?,
            Order::Close(_) | Order::Reconnect(..) | Order::Answer(..) | Order::Export { .. } => {}
        }
        self.talk(slot, io)
    }

    fn refuse(
        &mut self,
        slot: usize,
        wish: &Wish,
        code: &str,
        text: &str,
        redirect: Option<&str>,
        io: &mut Io<'_>,
    ) -> Stays {
        let Some(pending) = self.pending_peer(slot) else { return Ok(()) };
        admission::refuse(&mut pending.peer, wish, code, text, redirect);
        self.refuse_and_leave(slot, Failure::ours(RRError::Rejected, text.to_owned()), io)
    }

    /// Lets a refused peer leave: the reason is sent, and the peer has a moment to close by itself.
    fn refuse_and_leave(&mut self, slot: usize, why: Failure, io: &mut Io<'_>) -> Stays {
        let Some(pending) = self.pending_peer(slot) else { return Ok(()) };
        if let Some(newest) = pending.peer.subscriptions.last() {
            // The peer continues with its other plays.
            admission::note_refusal(&pending.peer.record, newest.stream().name());
            if let Some(pending) = self.take(slot, io) {
                self.core.pass_on(pending.peer);
            }
            return Err(Leave::Handed);
        }
        pending.state = PendingState::Leaves { why, by_ms: clock::now_ms() + GOODBYE_MS };
        self.flush(slot)
    }

    /// Closes a peer, as soon as it has what is on its way to it: the last messages of a play that has just ended. The
    /// peer has a moment for that; a second call ends it.
    fn close(&mut self, slot: usize, why: Failure) -> Stays {
        let Some(pending) = self.pending_peer(slot) else { return Ok(()) };
        let has_time = !matches!(pending.state, PendingState::Leaves { .. });
        if has_time && pending.peer.conn.is_on_its_way() {
            pending.state = PendingState::Leaves { why, by_ms: clock::now_ms() + GOODBYE_MS };
            return self.flush(slot);
        }
        Err(why.into())
    }

    /// Handles orders of the host for one pending peer, timeouts of its session, and the end of the server.
    fn look_after(&mut self, slot: usize, stop_by_ms: Option<u64>, io: &mut Io<'_>) -> Stays {
        while let Some(order) = self.pending_peer(slot).and_then(|pending| pending.peer.record.next_order()) {
            self.take_order(slot, order, io)?;
        }
        let Some(pending) = self.pending_peer(slot) else { return Ok(()) };
        let plays = !pending.peer.subscriptions.is_empty();
        if stop_by_ms.is_some() && !plays && !matches!(pending.state, PendingState::Leaves { .. }) {
            let elsewhere = self.core.stopping.elsewhere();
            if let (Some(elsewhere), Some(pending)) = (elsewhere, self.pending_peer(slot)) {
                pending.peer.ask_to_reconnect(elsewhere.url.as_deref(), STOPPING);
            }
            return self.close(slot, Failure::ours(RRError::Kicked, STOPPING));
        }
        if pending.unheard {
            self.serve(slot, io);
        }
        self.check_timers_of(slot, stop_by_ms, io)
    }

    fn check_timers_of(&mut self, slot: usize, stop_by_ms: Option<u64>, io: &mut Io<'_>) -> Stays {
        let now_ms = clock::now_ms();
        let allow = self.core.config.ask_default_allow;
        let Some(pending) = self.pending_peer(slot) else { return Ok(()) };
        if let PendingState::Leaves { why, by_ms } = &pending.state {
            let by_ms = stop_by_ms.map_or(*by_ms, |stop_by_ms| stop_by_ms.min(*by_ms));
            return if now_ms >= by_ms { Err(why.clone().into()) } else { Ok(()) };
        }
        if let Some((number, patience)) = pending.state.question() {
            if now_ms < patience.by_ms {
                return self.flush(slot);
            }
            let order = match &pending.state {
                // The refusal is not the peer's fault.
                PendingState::AsksHooks { wish, .. } if !patience.allow => unanswered(wish.wanted().failed()),
                _ => Order::Allow(Box::default()),
            };
            return self.take_answer(slot, number, order, io);
        }
        // While the event queue is full, a connected peer's answers to pings are not read, so they cannot be missed.
        if pending.unheard && pending.peer.conn.inbound().is_some_and(|session| session.connected()) {
            return Ok(());
        }
        match pending.peer.conn.handle_timeout(now_ms)? {
            None => self.flush(slot),
            Some(_) if allow => self.take_order(slot, Order::Allow(Box::default()), io),
            Some(_) => self.take_order(slot, unanswered(""), io),
        }
    }

    // ---- leaving

    fn apply(&mut self, slot: usize, stays: Stays, io: &mut Io<'_>) {
        match stays {
            Ok(()) => self.lend(slot, io),
            Err(Leave::Handed) => {}
            Err(Leave::Over(failure)) => {
                let Some(mut pending) = self.take(slot, io) else { return };
                let _ = pending.peer.conn.flush();
                half_close(&mut pending.peer.conn.socket);
                self.core.end_session(&pending.peer.record, &failure);
            }
        }
    }

    fn take(&mut self, slot: usize, io: &mut Io<'_>) -> Option<Box<PendingPeer>> {
        if !matches!(self.slots.get(slot), Some(Slot::Peer(_))) {
            return None;
        }
        let Slot::Peer(mut pending) = self.slots.remove(slot) else { return None };
        self.pending -= 1;
        io.remove(&mut pending.peer.conn.socket);
        Some(pending)
    }
}
