//! The lobby: the listener's thread. It accepts peers and talks with them until they publish or play; then the
//! connection belongs to a stream. It comes back here when that is over and the peer stays.
//!
//! Every guest has a deadline, so a slow or silent peer costs one slot here and nothing else. While the host does not
//! take its events nobody is let further: the queue must not grow by what peers do.
//!
//! How connections come in is `lobby/door.rs`; when TLS handshakes have their turn is `lobby/shaking.rs`.

mod door;
mod shaking;

use std::ops::ControlFlow;
use std::sync::Arc;

use crossbeam::channel::Receiver;
use slab::Slab;

use crate::config::{Decision, READ_LITTLE_BYTES, ask};
use crate::error::{Failure, RRError};
use crate::net::backlog::Backlog;
use crate::net::clock;
use crate::net::conn::Pumped;
use crate::net::poll::{Poller, Ready};
use crate::net::socket::{Socket, half_close};
use crate::proto::command::CAPS_RECONNECT;
use crate::server::ListenOptions;
use crate::server::admit::{self, Wish};
use crate::server::core::Core;
use crate::session::{Event as Said, SessionConfig, State};
use crate::stream::budget::{Budget, Charge};
use crate::stream::event::EventKind;
use crate::stream::peer::{Order, Peer};
use door::{Stranger, TurnedAway};
use shaking::Shaking;

/// How often deadlines are looked at.
const TICK_MS: u64 = 100;

/// What guests hear when the server stops.
const STOPPING: &str = "the server stops";

/// A refused peer may take this long to read why.
const GOODBYE_MS: u64 = 2_000;

/// What comes to the lobby from other threads.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A socket to accept from.
    Listener(mio::net::TcpListener, ListenOptions),
    /// A connection and whose it is, as far as no PROXY header says that.
    Connection(Socket, String, ListenOptions),
    /// A session whose publishing or playing is over; the event is to be handled first.
    Back(Peer, Option<Said>),
}

/// How far a guest is.
#[derive(Debug)]
enum Phase {
    /// Handshake and commands.
    Talks,
    /// The host was asked; nothing is read until it answers.
    Asks(Wish),
    /// It was told goodbye.
    Leaves(Failure),
}

#[derive(Debug)]
struct Guest {
    peer: Peer,
    phase: Phase,
    deadline_ms: u64,
    /// The command that it came back with, until it is handled.
    held: Option<Said>,
    /// The event queue was full when it was to be heard: nobody tells of what it has said again.
    unheard: bool,
    /// It stands among those that shake hands.
    shakes: bool,
    /// Memory of its half-read messages.
    memory: Charge,
}

/// What a slot of the poller is.
enum Slot {
    Listener(mio::net::TcpListener, ListenOptions),
    Stranger(Box<Stranger>),
    Guest(Box<Guest>),
}

/// How a guest goes on.
enum Fate {
    Stays,
    /// A stream has it now.
    Gone,
    Over(Failure),
}

struct Lobby {
    core: Arc<Core>,
    poller: Poller,
    inbox: Receiver<Arrival>,
    slots: Slab<Slot>,
    guests: usize,
    strangers: usize,
    turned_away: TurnedAway,
    /// What guests may hold: a part of the server's memory, so that they alone never make it short.
    memory: Budget,
    session: SessionConfig,
    /// Listeners that may have more to accept.
    accepting: Vec<usize>,
    /// Guests to read without being told.
    more: Backlog,
    shaking: Shaking,
    next_tick_ms: u64,
    scratch: Box<[u8]>,
}

pub(super) fn run(core: Arc<Core>, poller: Poller, inbox: Receiver<Arrival>) {
    let usual = SessionConfig::default();
    // Peers that understand it are asked to reconnect when the server drains.
    let caps_ex = usual.caps_ex | CAPS_RECONNECT;
    let session = SessionConfig { max_message: core.config.max_message_bytes, caps_ex, ..usual };
    let mut this = Lobby {
        memory: core.budget.quarter(),
        core,
        poller,
        inbox,
        slots: Slab::new(),
        guests: 0,
        strangers: 0,
        turned_away: TurnedAway::default(),
        session,
        accepting: Vec::new(),
        more: Backlog::default(),
        shaking: Shaking::default(),
        next_tick_ms: 0,
        scratch: vec![0; READ_LITTLE_BYTES].into_boxed_slice(),
    };
    this.run();
    this.close();
}

impl Lobby {
    fn run(&mut self) {
        let mut ready: Vec<Ready> = Vec::new();
        let mut at_once = false;
        while !self.core.is_closing() {
            let idle = self.guests == 0
                && self.strangers == 0
                && self.accepting.is_empty()
                && self.core.stop_by_ms().is_none();
            let timeout = if idle { None } else { Some(self.next_tick_ms.saturating_sub(clock::now_ms())) };
            let goes_on = at_once || !self.more.is_empty() || !self.shaking.is_empty();
            let timeout = if goes_on { Some(0) } else { timeout };
            let (inbox, core) = (&self.inbox, &self.core);
            let has_work = || !inbox.is_empty() || core.is_closing();
            if let Err(failure) = self.poller.wait(timeout, false, has_work, &mut ready) {
                log::error!("the listener cannot wait: {failure}");
                return;
            }
            while let Ok(arrival) = self.inbox.try_recv() {
                self.arrive(arrival);
            }
            for slot in self.more.take() {
                self.serve(slot);
            }
            for ready in &ready {
                match self.slots.get(ready.slot) {
                    Some(Slot::Listener(..)) if !self.accepting.contains(&ready.slot) => {
                        self.accepting.push(ready.slot)
                    }
                    Some(Slot::Guest(_)) if !self.more.has(ready.slot) => self.serve(ready.slot),
                    Some(Slot::Stranger(_)) => self.hear_stranger(ready.slot),
                    _ => {}
                }
            }
            at_once = self.accept();
            self.shake();
            if self.poller.take_nudge() {
                self.obey();
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
        let deadline_ms = clock::now_ms() + u64::from(self.core.config.handshake_ms);
        let memory = self.memory.nothing();
        entry.insert(Slot::Guest(Box::new(Guest {
            peer,
            phase: Phase::Talks,
            deadline_ms,
            held: event,
            unheard: false,
            shakes: false,
            memory,
        })));
        self.guests += 1;
        self.serve(slot);
    }

    // ---- talking

    fn guest(&mut self, slot: usize) -> Option<&mut Guest> {
        match self.slots.get_mut(slot) {
            Some(Slot::Guest(guest)) => Some(guest),
            _ => None,
        }
    }

    /// Reads a guest, does what it says, answers. One whose TLS handshake is not done waits for its share of a turn.
    fn serve(&mut self, slot: usize) {
        if !self.waits_to_shake(slot) {
            self.hear(slot);
        }
    }

    fn hear(&mut self, slot: usize) {
        let fate = self.talk(slot);
        self.settle(slot, fate);
    }

    fn talk(&mut self, slot: usize) -> Fate {
        loop {
            let full = self.core.events.is_full();
            let Some(Slot::Guest(guest)) = self.slots.get_mut(slot) else { return Fate::Stays };
            guest.unheard = full;
            if full {
                // The tick comes back to it; its deadline runs.
                return self.flush(slot);
            }
            if let Phase::Leaves(_) = guest.phase {
                // What it still says is read and forgotten, so that our last words are not lost to a reset.
                let pumped =
                    guest.peer.conn.pump(&mut self.scratch, clock::now_ms(), READ_LITTLE_BYTES, true, |_, _| {
                        ControlFlow::Continue(())
                    });
                let Phase::Leaves(why) = &guest.phase else { return Fate::Stays };
                return if pumped.is_err() { Fate::Over(why.clone()) } else { self.flush(slot) };
            }
            if matches!(guest.phase, Phase::Asks(_)) {
                return self.flush(slot);
            }
            let said = match guest.held.take() {
                Some(said) => Ok(Pumped::Held(said)),
                None => {
                    guest.peer.conn.pump(&mut self.scratch, clock::now_ms(), READ_LITTLE_BYTES, true, |event, _| {
                        match event {
                            Said::Connect | Said::Publish { .. } | Said::Play { .. } => ControlFlow::Break(event),
                            _ => ControlFlow::Continue(()),
                        }
                    })
                }
            };
            if let Err(failure) = guest.memory.follow(guest.peer.conn.heap_bytes()) {
                return Fate::Over(failure);
            }
            match said {
                Ok(Pumped::Drained) => return self.flush(slot),
                Ok(Pumped::More) => {
                    self.more.push(slot);
                    return self.flush(slot);
                }
                Ok(Pumped::Held(event)) => match self.heard(slot, event) {
                    Fate::Stays => {}
                    fate => return fate,
                },
                Err(failure) => {
                    let _ = guest.peer.conn.flush();
                    return Fate::Over(failure);
                }
            }
        }
    }

    fn flush(&mut self, slot: usize) -> Fate {
        match self.guest(slot).map(|guest| guest.peer.conn.flush()) {
            Some(Err(failure)) => Fate::Over(failure),
            _ => Fate::Stays,
        }
    }

    /// A guest wants something: the host is asked, or it is granted.
    fn heard(&mut self, slot: usize, event: Said) -> Fate {
        let Some(wish) = Wish::from_event(event) else { return Fate::Stays };
        let config = &self.core.config;
        let (bit, kind) = match &wish {
            Wish::Connect => (ask::CONNECT, EventKind::ConnectAsk),
            Wish::Publish { .. } => (ask::PUBLISH, EventKind::PublishAsk),
            Wish::Play { .. } => (ask::PLAY, EventKind::PlayAsk),
        };
        let asks = config.ask & bit != 0;
        let ask_until = clock::now_ms() + u64::from(config.ask_ms);
        let core = Arc::clone(&self.core);
        let Some(guest) = self.guest(slot) else { return Fate::Stays };
        admit::note_names(&mut guest.peer, &wish);
        if !asks {
            return self.grant(slot, wish, &Decision::default());
        }
        guest.phase = Phase::Asks(wish);
        guest.deadline_ms = ask_until;
        let record = &guest.peer.record;
        let prev = record.set_state(State::Waiting);
        core.events.push(record.event(kind).moved(prev, State::Waiting));
        // Answers go out before the host's: what was said so far must not wait for it.
        self.flush(slot)
    }

    /// The wish is granted: connect goes on here, publish and play with a stream.
    fn grant(&mut self, slot: usize, wish: Wish, decision: &Decision) -> Fate {
        let handshake_ms = u64::from(self.core.config.handshake_ms);
        let core = Arc::clone(&self.core);
        let Some(guest) = self.guest(slot) else { return Fate::Stays };
        guest.phase = Phase::Talks;
        guest.deadline_ms = clock::now_ms() + handshake_ms;
        if decision.user != 0 {
            guest.peer.record.set_user(decision.user);
        }
        if let Wish::Connect = wish {
            if let Some(session) = guest.peer.conn.server() {
                session.accept_connect();
            }
            return Fate::Stays;
        }
        let entered = match admit::find_stream(&core, &mut guest.peer, &wish, decision) {
            Ok(entered) => entered,
            Err(failure) => return self.farewell(slot, failure),
        };
        let Some(guest) = self.take(slot) else { return Fate::Stays };
        admit::hand_over(&core, &entered, guest.peer, wish, decision);
        Fate::Gone
    }

    // ---- orders and time

    /// Looks for what the host wants of guests.
    fn obey(&mut self) {
        let slots: Vec<usize> = self.slots.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            while let Some(order) = self.guest(slot).and_then(|guest| guest.peer.record.next_order()) {
                let fate = self.obey_one(slot, order);
                self.settle(slot, fate);
            }
        }
    }

    fn obey_one(&mut self, slot: usize, order: Order) -> Fate {
        if let Order::Close(text) = order {
            return Fate::Over(Failure::ours(RRError::Kicked, text));
        }
        let Some(guest) = self.guest(slot) else { return Fate::Stays };
        if let Order::Reconnect(url, text) = order {
            guest.peer.ask_to_reconnect(url.as_deref(), &text);
            return self.flush(slot);
        }
        // An answer that comes after the deadline, or twice, answers nothing.
        let Phase::Asks(_) = &guest.phase else { return Fate::Stays };
        let Phase::Asks(wish) = std::mem::replace(&mut guest.phase, Phase::Talks) else { return Fate::Stays };
        admit::tell_decision(&guest.peer, &wish, &order);
        let prev = guest.peer.record.set_state(State::Handshake);
        let moved = guest.peer.record.event(EventKind::Session).moved(prev, State::Handshake);
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
        let Some(guest) = self.guest(slot) else { return Fate::Stays };
        admit::refuse(&mut guest.peer, wish, code, text, redirect);
        self.farewell(slot, Failure::ours(RRError::Rejected, text.to_owned()))
    }

    /// The guest has been told no: what was said goes out, then it may go by itself for a moment.
    fn farewell(&mut self, slot: usize, why: Failure) -> Fate {
        let Some(guest) = self.guest(slot) else { return Fate::Stays };
        if !guest.peer.plays.is_empty() {
            let peer = self.take(slot).map(|guest| guest.peer);
            admit::resume(&self.core, peer);
            return Fate::Gone;
        }
        guest.deadline_ms = clock::now_ms() + GOODBYE_MS;
        guest.phase = Phase::Leaves(why);
        match guest.peer.conn.flush() {
            Ok(true) => {
                half_close(&mut guest.peer.conn.socket);
                Fate::Stays
            }
            Ok(false) => Fate::Stays,
            Err(failure) => Fate::Over(failure),
        }
    }

    /// Deadlines; and whoever waited for room in the event queue.
    fn tick(&mut self) {
        let now_ms = clock::now_ms();
        let stop_by = self.core.stop_by_ms();
        self.turned_away.tell();
        self.close_strangers(stop_by.is_some());
        let allow = self.core.config.ask_default_allow;
        let slots: Vec<usize> = self.slots.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let Some(guest) = self.guest(slot) else { continue };
            if stop_by.is_some() && !matches!(guest.phase, Phase::Leaves(_)) {
                // Who is not on a stream yet has nothing to lose.
                let url = self.core.reconnect_url();
                if let (Some(url), Some(guest)) = (url, self.guest(slot)) {
                    guest.peer.ask_to_reconnect(Some(&url), STOPPING);
                }
                self.settle(slot, Fate::Over(Failure::ours(RRError::Kicked, STOPPING)));
                continue;
            }
            if guest.unheard {
                self.serve(slot);
            }
            let Some(guest) = self.guest(slot) else { continue };
            if now_ms < guest.deadline_ms {
                continue;
            }
            let fate = match &guest.phase {
                Phase::Talks => Fate::Over(Failure::peers(RRError::Timeout, "no publish or play in time")),
                Phase::Leaves(why) => Fate::Over(why.clone()),
                Phase::Asks(_) if allow => self.obey_one(slot, Order::Allow(Box::default())),
                Phase::Asks(_) => {
                    self.obey_one(slot, Order::Deny(String::new(), "nobody allowed it in time".to_owned()))
                }
            };
            self.settle(slot, fate);
        }
    }

    // ---- going

    fn settle(&mut self, slot: usize, fate: Fate) {
        if let Fate::Over(failure) = fate
            && let Some(mut guest) = self.take(slot)
        {
            let _ = guest.peer.conn.flush();
            half_close(&mut guest.peer.conn.socket);
            self.core.end_session(&guest.peer.record, &failure);
        }
    }

    fn take(&mut self, slot: usize) -> Option<Box<Guest>> {
        if !matches!(self.slots.get(slot), Some(Slot::Guest(_))) {
            return None;
        }
        let Slot::Guest(mut guest) = self.slots.remove(slot) else { return None };
        self.guests -= 1;
        self.poller.remove(&mut guest.peer.conn.socket);
        Some(guest)
    }

    fn close(&mut self) {
        let failure = Failure::ours(RRError::Kicked, STOPPING);
        self.close_listeners();
        self.close_strangers(true);
        let slots: Vec<usize> = self.slots.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.settle(slot, Fate::Over(failure.clone()));
        }
        while let Ok(arrival) = self.inbox.try_recv() {
            if let Arrival::Back(peer, _) = arrival {
                self.core.end_session(&peer.record, &failure);
            }
        }
    }
}
