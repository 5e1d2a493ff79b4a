//! Pumps: TLS ends in the server's process, which has the certificate and the keys. A pump carries the bytes of one
//! connection between TLS and a plain socket whose other end the worker has.

use std::io;
use std::os::unix::net::UnixStream;

use slab::Slab;

use super::link::PUMPS;
use crate::error::{Failure, Result};
use crate::net::conn::Conn;
use crate::net::event_loop::Io;
use crate::net::poll::Ready;
use crate::net::socket::{Socket, half_close};
use crate::stream::memory::budget::{Budget, Charge};

/// Most bytes that are carried at once, and most in a turn.
const PIECE_BYTES: usize = 16 * 1024;
const TURN_BYTES: usize = 16 * PIECE_BYTES;

/// More than a worker can have left in a socket.
const LAST_BYTES: usize = 8 << 20;

/// How long the peer may take to go once the worker has closed its end.
const GOODBYE_MS: u64 = 5_000;

/// One direction: what was read and not written yet.
#[derive(Default)]
struct Half {
    bytes: Vec<u8>,
    written: usize,
    /// Nothing more comes.
    has_ended: bool,
    /// The end has been passed on.
    is_over: bool,
}

impl Half {
    /// Carries up to so many bytes; true if there may be more at once.
    fn carry(&mut self, from: &mut Socket, to: &mut Socket, most: usize) -> io::Result<bool> {
        let mut left = most;
        while !self.is_over {
            if let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
                match to.write(rest) {
                    Ok(n) => self.written += n,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                }
                continue;
            }
            if self.has_ended {
                half_close(to);
                self.is_over = true;
            } else if left == 0 {
                return Ok(true);
            } else {
                self.bytes.clear();
                self.bytes.try_reserve_exact(PIECE_BYTES).map_err(|_| io::ErrorKind::OutOfMemory)?;
                self.bytes.resize(PIECE_BYTES, 0);
                self.written = 0;
                let read = from.read(&mut self.bytes);
                self.bytes.truncate(read.as_ref().map_or(0, |n| *n));
                match read {
                    Ok(0) => self.has_ended = true,
                    Ok(n) => left = left.saturating_sub(n),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(false)
    }
}

struct Pump {
    outside: Socket,
    inside: Socket,
    to_worker: Half,
    to_peer: Half,
    /// The worker has closed its end; the pump ends then at the latest.
    ends_by_ms: Option<u64>,
    _memory: Charge,
}

impl Pump {
    /// Carries what there is; true if there may be more at once.
    fn turn(&mut self, now_ms: u64) -> io::Result<bool> {
        let Self { outside, inside, to_worker, to_peer, .. } = self;
        let more = to_worker.carry(outside, inside, TURN_BYTES)? | to_peer.carry(inside, outside, TURN_BYTES)?;
        outside.flush_tls()?;
        if to_peer.is_over && self.ends_by_ms.is_none() {
            self.ends_by_ms = Some(now_ms + GOODBYE_MS);
        }
        Ok(more)
    }

    fn is_over(&self, now_ms: u64) -> bool {
        (self.to_peer.is_over && self.to_worker.is_over) || self.ends_by_ms.is_some_and(|by_ms| now_ms >= by_ms)
    }
}

/// The pumps of one stream.
#[derive(Default)]
pub(super) struct Pumps(Slab<Box<Pump>>);

impl Pumps {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives a connection over TLS a plain socket in its place, and carries between the two. The plain socket's other
    /// end is here.
    ///
    /// # Errors
    /// [`RRError::Limit`](crate::error::RRError::Limit) if there is no room for it.
    pub(super) fn begin(&mut self, conn: &mut Conn, budget: &Budget, io: &mut Io<'_>) -> Result<()> {
        let memory = budget.charge_about(2 * PIECE_BYTES + conn.socket.heap_bytes())?;
        let (inside, theirs) = UnixStream::pair().map_err(|error| Failure::io("socketpair", &error))?;
        let mut inside = Socket::adopt(inside.into())?;
        let mut outside = conn.exchange_socket(Socket::adopt(theirs.into())?);
        let entry = self.0.vacant_entry();
        let slot = PUMPS + 2 * entry.key();
        io.add(&mut outside, slot)?;
        io.add(&mut inside, slot + 1)?;
        let (to_worker, to_peer) = (Half::default(), Half::default());
        entry.insert(Box::new(Pump { outside, inside, to_worker, to_peer, ends_by_ms: None, _memory: memory }));
        // What TLS has read already is reported by no poller.
        io.again(slot);
        Ok(())
    }

    /// Gives the pump of this slot a turn.
    pub(super) fn turn(&mut self, ready: Ready, io: &mut Io<'_>) {
        let Some(key) = ready.slot.checked_sub(PUMPS).map(|slot| slot / 2) else { return };
        let Some(pump) = self.0.get_mut(key) else { return };
        let now_ms = io.now_us / 1000;
        match pump.turn(now_ms) {
            Ok(more) if !pump.is_over(now_ms) => {
                if more {
                    io.again(ready.slot);
                }
            }
            // What has been carried is with the system, or it has failed.
            Ok(_) | Err(_) => self.end(key, io),
        }
    }

    /// Ends those whose time is over.
    pub(super) fn look(&mut self, io: &mut Io<'_>) {
        let now_ms = io.now_us / 1000;
        let over: Vec<usize> = self.0.iter().filter(|(_, pump)| pump.is_over(now_ms)).map(|(key, _)| key).collect();
        over.into_iter().for_each(|key| self.end(key, io));
    }

    /// Carries what the worker has left behind, as far as the peers' sockets take it, and ends all.
    pub(super) fn finish(&mut self, io: &mut Io<'_>) {
        for (_, Pump { outside, inside, to_peer, .. }) in self.0.iter_mut().map(|(key, pump)| (key, &mut **pump)) {
            let _ = to_peer.carry(inside, outside, LAST_BYTES).and_then(|_| outside.flush_tls());
        }
        let all: Vec<usize> = self.0.iter().map(|(key, _)| key).collect();
        all.into_iter().for_each(|key| self.end(key, io));
    }

    fn end(&mut self, key: usize, io: &mut Io<'_>) {
        if let Some(mut pump) = self.0.try_remove(key) {
            io.remove(&mut pump.outside);
            io.remove(&mut pump.inside);
            half_close(&mut pump.outside);
        }
    }
}
