//! How connections come in: accepting, the PROXY header if one is required, and refusals above a limit.
//!
//! A connection becomes a session here. Where the PROXY protocol is required, the connection first waits for its PROXY
//! header: until then it holds a slot and some bytes, counts towards `max_sessions`, and has the handshake's deadline.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::newcomers::ProxyPending;
use super::{Listener, Slot};
use crate::config::ListenOptions;
use crate::error::{Failure, RRError};
use crate::net::clock;
use crate::net::conn::{Conn, Side};
use crate::net::event_loop::{Io, Task};
use crate::net::socket::{Socket, ip_of, name_of};
use crate::net::{heap, proxy};
use crate::server::inbox::ToListener;
use crate::session::{HttpSession, ServerSession, State};
use crate::stream::event::EventKind;
use crate::stream::peer::Peer;
use crate::stream::record::RRSession;

/// Most connections accepted in one round, before connected peers are served.
const ACCEPT_BATCH: usize = 64;

impl Listener {
    pub(super) fn take_in(&mut self, message: ToListener, io: &mut Io<'_>) {
        match message {
            ToListener::Listener(mut listener, options) => {
                let entry = self.slots.vacant_entry();
                if let Err(failure) = io.watch().add_listener(&mut listener, entry.key()) {
                    log::error!("cannot listen: {failure}");
                    return;
                }
                // Peers may have been waiting since before the socket was added.
                self.accepting.push(entry.key());
                entry.insert(Slot::Socket(listener, options));
            }
            ToListener::Connection(socket, name, options) if options.proxy => {
                self.await_proxy_header(socket, name, options, io)
            }
            ToListener::Connection(socket, name, options) => {
                let local = socket.local_name();
                self.welcome(socket, name, local, &[], options, io);
            }
            ToListener::Back(peer, memory, _) if peer.question.is_some() => self.take_back(peer, memory, io),
            ToListener::Back(peer, memory, event) => {
                // The session rests, unless the peer has already sent its next command.
                let state = if event.is_some() { State::Handshake } else { State::Idle };
                let prev = peer.record.set_state(state);
                peer.record.set_stream(0);
                self.core.events.push(peer.record.event(EventKind::Session).moved(prev, state));
                self.seat(peer, memory, event.map(|event| (event, Box::default())), io);
            }
            ToListener::Offer { verdict, caller } => {
                self.let_go(io);
                // An order that came before is carried out here: afterwards it would find nobody.
                self.on_tick(true, io);
                self.offer(verdict, &caller);
            }
            ToListener::Imported(peer, memory, question, decision) => {
                self.core.events.push(peer.record.event(EventKind::Session).moved(State::None, State::Handshake));
                self.core.update_state();
                self.seat(peer, memory, Some((question, decision)), io);
            }
        }
    }

    /// Accepts from every listener that may have more connections. True if one certainly has; then the next turn comes
    /// at once.
    pub(super) fn accept(&mut self, io: &mut Io<'_>) -> bool {
        if self.core.stop_by_ms().is_some() {
            self.close_listeners(io);
        }
        if self.core.events.is_full() {
            // It is tried again at the next tick, or when there is room.
            return false;
        }
        let mut at_once = false;
        for slot in std::mem::take(&mut self.accepting) {
            let Some(more) = self.accept_from(slot, io) else { continue };
            at_once |= more;
            self.accepting.push(slot);
        }
        at_once
    }

    /// Accepts one connection. `None`: none waits. `Some(false)`: accepting failed and is tried again later.
    fn accept_from(&mut self, slot: usize, io: &mut Io<'_>) -> Option<bool> {
        for _ in 0..ACCEPT_BATCH {
            let Some(Slot::Socket(listener, options)) = self.slots.get(slot) else { return None };
            let options = *options;
            match listener.accept() {
                Ok((stream, from)) => {
                    self.core.accepted.fetch_add(1, Ordering::Relaxed);
                    match Socket::adopt(OwnedFd::from(stream)) {
                        Ok(socket) => {
                            // A socket that was reset meanwhile no longer has its peer's address, so the address from
                            // accept is used.
                            self.take_in(ToListener::Connection(socket, name_of(from), options), io);
                        }
                        Err(failure) => log::warn!("a peer was gone before it was accepted: {failure}"),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Mostly no fd is left; the peers wait in the kernel until the next tick.
                    log::warn!("cannot accept, will try again: {error}");
                    return Some(false);
                }
            }
        }
        Some(true)
    }

    /// Makes a session for a new connection; `rest` are its bytes that were read already.
    fn welcome(
        &mut self,
        mut socket: Socket,
        addr: String,
        local: String,
        rest: &[u8],
        options: ListenOptions,
        io: &mut Io<'_>,
    ) {
        let ip = ip_of(&addr).or_else(|| socket.peer_ip());
        let secured = if options.tls { self.core.certificate.put_on(&mut socket, options.http, rest) } else { Ok(()) };
        let rest = if options.tls { &[] } else { rest };
        let made = secured.and_then(|()| heap::room()).and_then(|()| {
            self.core.registry().add_session(ip, |id| Arc::new(RRSession::new(id, addr.clone(), ip, local)))
        });
        let record = match made {
            Ok(record) => record,
            Err(failure) => {
                self.refused.add(&addr, &failure);
                return;
            }
        };
        record.set_tls(options.tls);
        record.set_owner(self.core.listener_wake());
        let now_ms = clock::now_ms();
        let side = match options.http {
            true => Side::Http(Box::new(HttpSession::new(self.session.timing, options.tls, now_ms))),
            false => Side::Server(Box::new(ServerSession::new(&self.session, now_ms))),
        };
        let mut conn = Conn::new(socket, side);
        if log::log_enabled!(log::Level::Debug) {
            conn.set_name(&addr);
        }
        conn.put_back(rest);
        let peer = Peer::new(conn, record);
        self.core.events.push(peer.record.event(EventKind::Session).moved(State::None, State::Handshake));
        self.core.update_state();
        let memory = self.core.pending.nothing();
        self.seat(peer, memory, None, io);
    }

    // ---- pending PROXY headers

    fn await_proxy_header(&mut self, mut socket: Socket, name: String, options: ListenOptions, io: &mut Io<'_>) {
        let expected = self.core.registry().expect_session();
        if let Err(failure) = expected {
            self.refused.add(&name, &failure);
            return;
        }
        let entry = self.slots.vacant_entry();
        let slot = entry.key();
        if let Err(failure) = io.add(&mut socket, slot) {
            self.core.registry().expect_no_more();
            log::warn!("{name}: {failure}");
            return;
        }
        let deadline_ms = clock::now_ms() + u64::from(self.core.config.handshake_ms);
        entry.insert(Slot::ProxyPending(Box::new(ProxyPending {
            socket,
            name,
            options,
            bytes: Vec::new(),
            deadline_ms,
        })));
        self.proxy_pending += 1;
        self.read_proxy_header(slot, io);
    }

    /// Reads the available bytes of the PROXY header; once it is complete the connection becomes a session.
    pub(super) fn read_proxy_header(&mut self, slot: usize, io: &mut Io<'_>) {
        let header = loop {
            let Some(Slot::ProxyPending(pending)) = self.slots.get_mut(slot) else { return };
            // This reads at most the length of a header; bytes after a shorter header are put back.
            let room = proxy::HEADER_MAX_BYTES.saturating_sub(pending.bytes.len()).min(io.scratch.len());
            let got = match io.scratch.get_mut(..room).map(|space| pending.socket.read(space)) {
                Some(Ok(n)) if n > 0 => n,
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                Some(Err(error)) => break Err(Failure::peers(RRError::Io, format!("read: {error}"))),
                _ => break Err(Failure::peers(RRError::Closed, "the peer closed the connection")),
            };
            pending.bytes.extend_from_slice(io.scratch.get(..got).unwrap_or_default());
            match proxy::parse(&pending.bytes) {
                Ok(None) => {}
                Ok(Some(header)) => break Ok(header),
                Err(failure) => break Err(failure),
            }
        };
        let Some(pending) = self.take_proxy_pending(slot, io) else { return };
        match header {
            Ok(header) => {
                let addr = header.peer.map_or(pending.name, |address| address.to_string());
                let local = header.local.map_or_else(|| pending.socket.local_name(), |address| address.to_string());
                let rest = pending.bytes.get(header.bytes..).unwrap_or_default();
                self.welcome(pending.socket, addr, local, rest, pending.options, io);
            }
            // This is logged like the end of a session that has sent nothing.
            Err(_) if pending.bytes.is_empty() => {
                log::debug!("{} left without sending anything", pending.name);
            }
            Err(failure) => log::warn!("{} was closed before it had a session: {failure}", pending.name),
        }
    }

    fn take_proxy_pending(&mut self, slot: usize, io: &mut Io<'_>) -> Option<ProxyPending> {
        if !matches!(self.slots.get(slot), Some(Slot::ProxyPending(_))) {
            return None;
        }
        let Slot::ProxyPending(mut pending) = self.slots.remove(slot) else { return None };
        self.proxy_pending -= 1;
        self.core.registry().expect_no_more();
        io.remove(&mut pending.socket);
        Some(*pending)
    }

    /// Closes connections whose PROXY header has not come in time, or with `all` every connection that waits for one.
    pub(super) fn close_proxy_pending(&mut self, all: bool, io: &mut Io<'_>) {
        if self.proxy_pending == 0 {
            return;
        }
        let now_ms = clock::now_ms();
        let late = |slot: &Slot| matches!(slot, Slot::ProxyPending(pending) if all || now_ms >= pending.deadline_ms);
        for slot in 0..self.slots.capacity() {
            if self.slots.get(slot).is_some_and(late)
                && let Some(pending) = self.take_proxy_pending(slot, io)
            {
                log::warn!("{} was closed before it had a session: no PROXY header in time", pending.name);
            }
        }
    }

    pub(super) fn close_listeners(&mut self, io: &mut Io<'_>) {
        let listening: Vec<usize> =
            self.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Socket(..))).map(|(slot, _)| slot).collect();
        for slot in listening {
            if let Slot::Socket(mut listener, _) = self.slots.remove(slot) {
                io.watch().remove_listener(&mut listener);
            }
        }
        self.accepting.clear();
        self.core.listening.closed();
    }
}
