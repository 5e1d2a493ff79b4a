//! A running server is replaced by another process, with its listening sockets, streams and sessions.
//!
//! The two talk over a unix socket (`wire`). The old process (`handover`) lets the tasks of its streams make the states
//! of all that can move, and do nothing more; the new one (`takeover`) checks all of it and says READY. That message is
//! the moment of the change: the old process either finds it, or makes it impossible (`FdChannel::cut`) before it lets
//! its tasks go on. So at every moment exactly one process has the connections, also where one of the two is killed.

mod handover;
pub(super) mod takeover;
mod wire;

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::fd_channel::FdChannel;
use crate::server::RRServer;
use crate::server::events::refuse_in_callback;
use crate::stream::event::{Event, EventKind};

/// Longest time for a hand-over: all that moves stands still meanwhile.
const MAX_WITHIN_MS: u32 = 60_000;

impl RRServer {
    /// Hands this server over to the process at the other end of a unix socket, which calls [`Self::take_over`]: the
    /// listening sockets, the streams with their targets, and the sessions, all within `within_ms`. The fd is readable as soon as
    /// the other process is ready; from then on, streams stand still until it has everything. Afterwards this server
    /// stops: whatever could not move is asked to reconnect, and has `drain_ms` to leave. The server owns the fd from
    /// now on.
    ///
    /// # Errors
    /// [`RRError::Arg`] for an fd that is no unix stream socket, or a time out of its range; [`RRError::State`] if the
    /// server stops or is being handed over already; [`RRError::Closed`], [`RRError::Timeout`], [`RRError::Version`],
    /// [`RRError::Protocol`] if the other process ends, takes too long, or says something else; whatever it refuses with;
    /// [`RRError::Thread`] inside a callback. On an error everything goes on here as before.
    pub fn hand_over(&self, fd: OwnedFd, within_ms: u32, drain_ms: u32) -> Result<()> {
        let _log = self.enter_log();
        let (channel, by_ms) = self.begin_move(fd, within_ms)?;
        let moving = Moving::begin(self)?;
        let handed = handover::hand_over(&self.core, &channel, by_ms, drain_ms.into());
        drop(moving);
        handed
    }

    /// Takes over the server that another process hands over ([`Self::hand_over`]) at the other end of a unix socket.
    /// Before it, TLS needs its certificate here, as before listening. The server owns the fd from now on.
    ///
    /// # Errors
    /// Those of [`Self::hand_over`]; also [`RRError::Exists`] if a stream is here already, and those of
    /// [`Self::stream_import`] and [`Self::session_import`]. On an error the other process goes on, and this server has
    /// nothing of it.
    pub fn take_over(&self, fd: OwnedFd, within_ms: u32) -> Result<()> {
        let _log = self.enter_log();
        let (channel, by_ms) = self.begin_move(fd, within_ms)?;
        let moving = Moving::begin(self)?;
        let listeners = takeover::take_over(&self.core, &channel, by_ms)?;
        drop(moving);
        // The running server may have been killed before it had handed over all.
        self.let_orphans_come();
        listeners.begin(&self.core);
        Ok(())
    }

    /// Asks the host, by an event, to replace this server by another process.
    ///
    /// # Errors
    /// [`RRError::State`] once the server stops.
    pub(super) fn ask_for_upgrade(&self) -> Result<()> {
        self.core.still_open()?;
        self.core.events.push(Event::new(EventKind::Upgrade));
        Ok(())
    }

    fn begin_move(&self, fd: OwnedFd, within_ms: u32) -> Result<(FdChannel, u64)> {
        refuse_in_callback()?;
        let channel = FdChannel::adopt(fd)?;
        if !(1..=MAX_WITHIN_MS).contains(&within_ms) {
            let text = format!("within_ms is {within_ms}: it goes from 1 to {MAX_WITHIN_MS}");
            return Err(Failure::ours(RRError::Arg, text));
        }
        self.core.still_open()?;
        Ok((channel, clock::now_ms() + u64::from(within_ms)))
    }
}

/// The only hand-over of a server at this time.
struct Moving<'a>(&'a RRServer);

impl<'a> Moving<'a> {
    fn begin(server: &'a RRServer) -> Result<Self> {
        if server.core.moves.swap(true, Ordering::AcqRel) {
            return Err(Failure::ours(RRError::State, "the server is being handed over already"));
        }
        Ok(Self(server))
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.0.core.moves.store(false, Ordering::Release);
    }
}
