//! The listener: the listener's thread. It accepts peers and talks with them until they publish or play; then the
//! connection belongs to a stream. It comes back here when that is over and the peer stays.
//!
//! Every pending peer has a deadline until its `connect` is accepted, and answers pings from then on (its session sees
//! to both), so a slow or silent peer costs one slot here and nothing else. While the host does not take its events nobody
//! is let further: the queue must not grow by what peers do.
//!
//! How connections come in is `listener/accept.rs`; when TLS handshakes have their turn is `listener/tls_handshakes.rs`.

mod accept;
mod tls_handshakes;

use std::ops::ControlFlow;
use std::sync::Arc;

use crossbeam::channel::Receiver;
use slab::Slab;

use crate::config::{Decision, ListenOptions, READ_LITTLE_BYTES, ask};
use crate::error::{Failure, RRError};
use crate::net::backlog::Backlog;
use crate::net::clock;
use crate::net::conn::Pumped;
use crate::net::poll::{Poller, Ready};
use crate::net::socket::half_close;
use crate::proto::command::CAPS_RECONNECT;
use crate::server::admission::{self, Wish};
use crate::server::core::Core;
use crate::server::inbox::ToListener;
use crate::session::{Event as Said, SessionConfig, State, Timing};
use crate::stream::event::EventKind;
use crate::stream::memory::budget::{Budget, Charge};
use crate::stream::peer::{Order, Peer};
use accept::{ProxyPending, TurnedAway};
use tls_handshakes::Waiting;

/// How often deadlines are looked at.
const TICK_MS: u64 = 100;

/// What pending peers hear when the server stops.
const STOPPING: &str = "the server stops";

/// A refused peer may take this long to read why.
const GOODBYE_MS: u64 = 2_000;

/// How far a pending peer is.
#[derive(Debug)]
enum Phase {
    /// Handshake and commands.
    Talks,
    /// The host was asked; nothing is read until it answers.
    Asks(Wish),
    /// It was told goodbye; it may go by itself until then.
    Leaves { why: Failure, by_ms: u64 },
}

#[derive(Debug)]
struct PendingPeer {
    peer: Peer,
    phase: Phase,
    /// The command that it came back with, until it is handled.
    held: Option<Said>,
    /// The event queue was full when it was to be heard: nobody tells of what it has said again.
    unheard: bool,
    /// It stands among those that shake hands.
    handshakes: bool,
    /// Memory of its half-read messages.
    memory: Charge,
}

/// What a slot of the poller is.
enum Slot {
    Socket(mio::net::TcpListener, ListenOptions),
    ProxyPending(Box<ProxyPending>),
    Peer(Box<PendingPeer>),
}

/// How a pending peer goes on.
enum Fate {
    Stays,
    /// A stream has it now.
    Gone,
    Over(Failure),
}

struct Listener {
    core: Arc<Core>,
    poller: Poller,
    inbox: Receiver<ToListener>,
    slots: Slab<Slot>,
    pending: usize,
    proxy_pending: usize,
    turned_away: TurnedAway,
    /// What pending peers may hold: a part of the server's memory, so that they alone never make it short.
    memory: Budget,
    session: SessionConfig,
    /// Listeners that may have more to accept.
    accepting: Vec<usize>,
    /// Guests to read without being told.
    more: Backlog,
    handshaking: Waiting,
    next_tick_ms: u64,
    scratch: Box<[u8]>,
}

pub(super) fn run(core: Arc<Core>, poller: Poller, inbox: Receiver<ToListener>) {
    let usual = SessionConfig::default();
    // Peers that understand it are asked to reconnect when the server drains.
    let caps_ex = usual.caps_ex | CAPS_RECONNECT;
    let timing = Timing::from(&core.config);
    let session = SessionConfig { max_message: core.config.max_message_bytes, timing, caps_ex, ..usual };
    let mut this = Listener {
        memory: core.budget.quarter(),
        core,
        poller,
        inbox,
        slots: Slab::new(),
        pending: 0,
        proxy_pending: 0,
        turned_away: TurnedAway::default(),
        session,
        accepting: Vec::new(),
        more: Backlog::default(),
        handshaking: Waiting::default(),
        next_tick_ms: 0,
        scratch: vec![0; READ_LITTLE_BYTES].into_boxed_slice(),
    };
    this.run();
    this.close();
}

impl Listener {
    fn run(&mut self) {
        let mut ready: Vec<Ready> = Vec::new();
        let mut at_once = false;
        while !self.core.is_closing() {
            let idle = self.pending == 0
                && self.proxy_pending == 0
                && self.accepting.is_empty()
                && self.core.stop_by_ms().is_none();
            let timeout = if idle { None } else { Some(self.next_tick_ms.saturating_sub(clock::now_ms())) };
            let goes_on = at_once || !self.more.is_empty() || !self.handshaking.is_empty();
            let timeout = if goes_on { Some(0) } else { timeout };
            let (inbox, core) = (&self.inbox, &self.core);
            let has_work = || !inbox.is_empty() || core.is_closing();
            if let Err(failure) = self.poller.wait(timeout, false, has_work, &mut ready) {
                log::error!("the listener cannot wait: {failure}");
                return;
            }
            while let Ok(arrival) = self.inbox.try_recv() {
                self.take_in(arrival);
            }
            for slot in self.more.take() {
                self.serve(slot);
            }
            for ready in &ready {
                match self.slots.get(ready.slot) {
                    Some(Slot::Socket(..)) if !self.accepting.contains(&ready.slot) => self.accepting.push(ready.slot),
                    Some(Slot::Peer(_)) if !self.more.has(ready.slot) => self.serve(ready.slot),
                    Some(Slot::ProxyPending(_)) => self.read_proxy_header(ready.slot),
                    _ => {}
                }
            }
            at_once = self.accept();
            self.go_on_with_handshakes();
            if self.poller.take_nudge() {
                self.take_orders();
            }
            if clock::now_ms() >= self.next_tick_ms {
                self.next_tick_ms = clock::now_ms() + TICK_MS;
                self.tick();
            }
        }
    }

    // ---- coming

    fn seat(&mut self, mut peer: Peer, event: Option<Said>) {
        let entry = self.slots.vacant_entry();
        let slot = entry.key();
        if let Err(failure) = self.poller.add(&mut peer.conn.socket, slot) {
            self.core.end_session(&peer.record, &failure);
            return;
        }
        let memory = self.memory.nothing();
        entry.insert(Slot::Peer(Box::new(PendingPeer {
            peer,
            phase: Phase::Talks,
            held: event,
            unheard: false,
            handshakes: false,
            memory,
        })));
        self.pending += 1;
        self.serve(slot);
    }

    // ---- talking

    fn pending_peer(&mut self, slot: usize) -> Option<&mut PendingPeer> {
        match self.slots.get_mut(slot) {
            Some(Slot::Peer(pending)) => Some(pending),
            _ => None,
        }
    }

    /// Reads a pending peer, does what it says, answers. One whose TLS handshake is not done waits for its share of a turn.
    fn serve(&mut self, slot: usize) {
        if !self.waits_for_handshake(slot) {
            self.read(slot);
        }
    }

    fn read(&mut self, slot: usize) {
        let fate = self.talk(slot);
        self.apply(slot, fate);
    }

    fn talk(&mut self, slot: usize) -> Fate {
        loop {
            let full = self.core.events.is_full();
            let Some(Slot::Peer(pending)) = self.slots.get_mut(slot) else { return Fate::Stays };
            pending.unheard = full;
            if full {
                // The tick comes back to it.
                return self.flush(slot);
            }
            if let Phase::Leaves { .. } = pending.phase {
                // What it still says is read and forgotten, so that our last words are not lost to a reset.
                let pumped =
                    pending.peer.conn.pump(&mut self.scratch, clock::now_ms(), READ_LITTLE_BYTES, true, |_, _| {
                        ControlFlow::Continue(())
                    });
                let Phase::Leaves { why, .. } = &pending.phase else { return Fate::Stays };
                return if pumped.is_err() { Fate::Over(why.clone()) } else { self.flush(slot) };
            }
            if matches!(pending.phase, Phase::Asks(_)) {
                return self.flush(slot);
            }
            let said = match pending.held.take() {
                Some(said) => Ok(Pumped::Held(said)),
                None => {
                    pending.peer.conn.pump(&mut self.scratch, clock::now_ms(), READ_LITTLE_BYTES, true, |event, _| {
                        match event {
                            Said::Connect | Said::Publish { .. } | Said::Play { .. } => ControlFlow::Break(event),
                            _ => ControlFlow::Continue(()),
                        }
                    })
                }
            };
            if let Err(failure) = pending.memory.follow(pending.peer.conn.heap_bytes()) {
                return Fate::Over(failure);
            }
            match said {
                Ok(Pumped::Drained) => return self.flush(slot),
                Ok(Pumped::More) => {
                    self.more.push(slot);
                    return self.flush(slot);
                }
                Ok(Pumped::Held(event)) => match self.on_event(slot, event) {
                    Fate::Stays => {}
                    fate => return fate,
                },
                Err(failure) => {
                    let _ = pending.peer.conn.flush();
                    return Fate::Over(failure);
                }
            }
        }
    }

    fn flush(&mut self, slot: usize) -> Fate {
        match self.pending_peer(slot).map(|pending| pending.peer.conn.flush()) {
            Some(Err(failure)) => Fate::Over(failure),
            _ => Fate::Stays,
        }
    }

    /// A pending peer wants something: the host is asked, or it is granted.
    fn on_event(&mut self, slot: usize, event: Said) -> Fate {
        let Some(wish) = Wish::from_event(event) else { return Fate::Stays };
        let config = &self.core.config;
        let (bit, kind) = match &wish {
            Wish::Connect => (ask::CONNECT, EventKind::ConnectAsk),
            Wish::Publish { .. } => (ask::PUBLISH, EventKind::PublishAsk),
            Wish::Play { .. } => (ask::PLAY, EventKind::PlayAsk),
        };
        let asks = config.ask & bit != 0;
        let core = Arc::clone(&self.core);
        let Some(pending) = self.pending_peer(slot) else { return Fate::Stays };
        admission::note_names(&mut pending.peer, &wish);
        if !asks {
            return self.grant(slot, wish, &Decision::default());
        }
        pending.phase = Phase::Asks(wish);
        if let Some(session) = pending.peer.conn.server() {
            session.asked(clock::now_ms());
        }
        let record = &pending.peer.record;
        let prev = record.set_state(State::Waiting);
        core.events.push(record.event(kind).moved(prev, State::Waiting));
        // Answers go out before the host's: what was said so far must not wait for it.
        self.flush(slot)
    }

    /// The wish is granted: connect goes on here, publish and play with a stream.
    fn grant(&mut self, slot: usize, wish: Wish, decision: &Decision) -> Fate {
        let core = Arc::clone(&self.core);
        let Some(pending) = self.pending_peer(slot) else { return Fate::Stays };
        pending.phase = Phase::Talks;
        if decision.user != 0 {
            pending.peer.record.set_user(decision.user);
        }
        if let Wish::Connect = wish {
            if let Some(session) = pending.peer.conn.server() {
                session.accept_connect(clock::now_ms());
            }
            return Fate::Stays;
        }
        let entered = match admission::find_stream(&core, &mut pending.peer, &wish, decision) {
            Ok(entered) => entered,
            Err(failure) => return self.refuse_and_leave(slot, failure),
        };
        let Some(pending) = self.take(slot) else { return Fate::Stays };
        admission::hand_over(&core, &entered, pending.peer, wish, decision);
        Fate::Gone
    }

    // ---- orders and time

    /// Looks for what the host wants of pending peers.
    fn take_orders(&mut self) {
        let slots: Vec<usize> = self.slots.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            while let Some(order) = self.pending_peer(slot).and_then(|pending| pending.peer.record.next_order()) {
                let fate = self.take_order(slot, order);
                self.apply(slot, fate);
            }
        }
    }

    fn take_order(&mut self, slot: usize, order: Order) -> Fate {
        if let Order::Close(text) = order {
            return Fate::Over(Failure::ours(RRError::Kicked, text));
        }
        let Some(pending) = self.pending_peer(slot) else { return Fate::Stays };
        if let Order::Reconnect(url, text) = order {
            pending.peer.ask_to_reconnect(url.as_deref(), &text);
            return self.flush(slot);
        }
        // An answer that comes after the deadline, or twice, answers nothing.
        let Phase::Asks(_) = &pending.phase else { return Fate::Stays };
        let Phase::Asks(wish) = std::mem::replace(&mut pending.phase, Phase::Talks) else { return Fate::Stays };
        admission::tell_decision(&pending.peer, &wish, &order);
        let prev = pending.peer.record.set_state(State::Handshake);
        let moved = pending.peer.record.event(EventKind::Session).moved(prev, State::Handshake);
        self.core.events.push(moved);
        let fate = match order {
            Order::Allow(decision) => self.grant(slot, wish, &decision),
            Order::Deny(code, text) => self.refuse(slot, &wish, &code, &text, None),
            Order::Redirect(url) => self.refuse(slot, &wish, "", "go to another server", Some(&url)),
            Order::Close(_) | Order::Reconnect(..) => Fate::Stays,
        };
        if matches!(fate, Fate::Stays) { self.talk(slot) } else { fate }
    }

    fn refuse(&mut self, slot: usize, wish: &Wish, code: &str, text: &str, redirect: Option<&str>) -> Fate {
        let Some(pending) = self.pending_peer(slot) else { return Fate::Stays };
        admission::refuse(&mut pending.peer, wish, code, text, redirect);
        self.refuse_and_leave(slot, Failure::ours(RRError::Rejected, text.to_owned()))
    }

    /// The pending peer has been told no: what was said goes out, then it may go by itself for a moment.
    fn refuse_and_leave(&mut self, slot: usize, why: Failure) -> Fate {
        let Some(pending) = self.pending_peer(slot) else { return Fate::Stays };
        if !pending.peer.plays.is_empty() {
            let peer = self.take(slot).map(|pending| pending.peer);
            admission::resume(&self.core, peer);
            return Fate::Gone;
        }
        pending.phase = Phase::Leaves { why, by_ms: clock::now_ms() + GOODBYE_MS };
        match pending.peer.conn.flush() {
            Ok(true) => {
                half_close(&mut pending.peer.conn.socket);
                Fate::Stays
            }
            Ok(false) => Fate::Stays,
            Err(failure) => Fate::Over(failure),
        }
    }

    /// What is due for sessions; and whoever waited for room in the event queue.
    fn tick(&mut self) {
        let now_ms = clock::now_ms();
        let stop_by = self.core.stop_by_ms();
        self.turned_away.tell();
        self.close_proxy_pending(stop_by.is_some());
        let slots: Vec<usize> = self.slots.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let Some(pending) = self.pending_peer(slot) else { continue };
            if stop_by.is_some() && !matches!(pending.phase, Phase::Leaves { .. }) {
                // Who is not on a stream yet has nothing to lose.
                let url = self.core.reconnect_url();
                if let (Some(url), Some(pending)) = (url, self.pending_peer(slot)) {
                    pending.peer.ask_to_reconnect(Some(&url), STOPPING);
                }
                self.apply(slot, Fate::Over(Failure::ours(RRError::Kicked, STOPPING)));
                continue;
            }
            if pending.unheard {
                self.serve(slot);
            }
            let fate = self.check_timers_of(slot, now_ms);
            self.apply(slot, fate);
        }
    }

    fn check_timers_of(&mut self, slot: usize, now_ms: u64) -> Fate {
        let allow = self.core.config.ask_default_allow;
        let Some(pending) = self.pending_peer(slot) else { return Fate::Stays };
        if let Phase::Leaves { why, by_ms } = &pending.phase {
            return if now_ms >= *by_ms { Fate::Over(why.clone()) } else { Fate::Stays };
        }
        // What a connected peer answers to pings lies unread as long as the event queue is full.
        if pending.unheard && pending.peer.conn.server().is_some_and(|session| session.connected()) {
            return Fate::Stays;
        }
        match pending.peer.conn.handle_timeout(now_ms) {
            Ok(None) => self.flush(slot),
            Ok(Some(_)) if allow => self.take_order(slot, Order::Allow(Box::default())),
            Ok(Some(_)) => self.take_order(slot, Order::Deny(String::new(), "nobody allowed it in time".to_owned())),
            Err(failure) => Fate::Over(failure),
        }
    }

    // ---- going

    fn apply(&mut self, slot: usize, fate: Fate) {
        if let Fate::Over(failure) = fate
            && let Some(mut pending) = self.take(slot)
        {
            let _ = pending.peer.conn.flush();
            half_close(&mut pending.peer.conn.socket);
            self.core.end_session(&pending.peer.record, &failure);
        }
    }

    fn take(&mut self, slot: usize) -> Option<Box<PendingPeer>> {
        if !matches!(self.slots.get(slot), Some(Slot::Peer(_))) {
            return None;
        }
        let Slot::Peer(mut pending) = self.slots.remove(slot) else { return None };
        self.pending -= 1;
        self.poller.remove(&mut pending.peer.conn.socket);
        Some(pending)
    }

    fn close(&mut self) {
        let failure = Failure::ours(RRError::Kicked, STOPPING);
        self.close_listeners();
        self.close_proxy_pending(true);
        let slots: Vec<usize> = self.slots.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.apply(slot, Fate::Over(failure.clone()));
        }
        while let Ok(arrival) = self.inbox.try_recv() {
            if let ToListener::Back(peer, _) = arrival {
                self.core.end_session(&peer.record, &failure);
            }
        }
    }
}
