//! A worker whose server has ended without stopping it: it goes on for some time, and waits in a folder for another server.
//!
//! What happens meanwhile is noted as while another process decides whether it takes the worker over (`server`). One server
//! at a time is answered, and whoever says something else than a server is sent away.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use super::super::orphan::{self, SMALL_BYTES, TALK_MS, kind};
use super::super::wire::PROTOCOL;
use super::{Pausing, Worker};
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::fd_channel::FdChannel;
use crate::net::poll::is_readable;
use crate::stream::record::Order;
use crate::stream::threading::Running;

/// How often it looks whether it is needed any more, and whether others still find it.
const LOOK_MS: u64 = 250;

/// What consumers have to take the last messages, at the end.
const GOODBYE_MS: u64 = 500;

/// How long after that its threads may take to end.
const END_MS: u64 = 5_000;

/// What peers are told by a worker that no server can take over.
const RECONNECT: &str = "the server has been replaced";

impl Worker {
    /// Goes on without the server, which has ended; false if it is to end too.
    pub(super) fn loses_server(&mut self) -> bool {
        let Some(alone) = self.alone.as_mut().filter(|_| !self.stops) else { return false };
        alone.loses_server(clock::now_ms());
        (self.has_server, self.pause, self.ping) = (false, Pausing::Yes, None);
        self.server.hold();
        // Nobody goes on with the stream elsewhere.
        self.stream.hold(0);
        true
    }

    /// Whether no server has gone on with it in time.
    pub(super) fn is_late(&self, now_ms: u64) -> bool {
        self.alone.as_ref().and_then(|alone| alone.by_ms).is_some_and(|by_ms| now_ms >= by_ms)
    }

    /// Waits for another server for a moment, and talks to it. True if there is nothing to wait for.
    pub(super) fn wait_for_server(&mut self, now_ms: u64) -> bool {
        self.end_exports();
        if !self.exports.is_empty() {
            // No other server wants these: their threads answer in a moment.
            std::thread::sleep(Duration::from_millis(super::LOOK_MS));
            return false;
        }
        let Some(alone) = &mut self.alone else { return true };
        if self.server.is_over() || self.server.is_deserted() {
            return true;
        }
        alone.listen();
        let left_ms = alone.by_ms.unwrap_or(now_ms).saturating_sub(now_ms).min(LOOK_MS);
        let sleeps = || std::thread::sleep(Duration::from_millis(left_ms));
        let Some(door) = &alone.door else {
            sleeps();
            return false;
        };
        if !is_readable(door.as_raw_fd(), i32::try_from(left_ms).unwrap_or(i32::MAX)) {
            return false;
        }
        let Some(connection) = alone.accept() else {
            // Whoever waits there may do so for long.
            sleeps();
            return false;
        };
        // Whoever it was, the next one may be a server.
        let _ = FdChannel::adopt(connection).and_then(|channel| self.talk_to(channel));
        if let Some(alone) = self.alone.as_mut().filter(|_| !self.has_server) {
            alone.has_answered();
        }
        false
    }

    /// Talks to somebody who may be a server, and serves it if it takes the worker.
    fn talk_to(&mut self, channel: FdChannel) -> Result<()> {
        let by_ms = clock::now_ms() + TALK_MS;
        let expects = |wanted| {
            let most = |kind| if kind == wanted { SMALL_BYTES } else { 0 };
            let message = channel.receive(most, by_ms)?.filter(|message| message.kind == wanted);
            message.ok_or_else(|| Failure::peers(RRError::Protocol, "no server says that"))
        };
        let protocol = orphan::greeted(&expects(kind::GREETING)?.body)?;
        if protocol != PROTOCOL {
            self.ask_to_reconnect();
            let text = format!(
                "the process of a stream speaks version {PROTOCOL} of the messages between them, and the server version \
                 {protocol}: it goes on alone until its time is over"
            );
            return channel.send(kind::REFUSED, &orphan::refusal(&text)?, None, by_ms);
        }
        let Some(alone) = &mut self.alone else { return Ok(()) };
        let record = alone.record(self.last_handle)?;
        channel.send(kind::RECORD, &record, None, by_ms)?;
        self.server.describe_to(|message| {
            let (kind, body) = message.encode()?;
            channel.send(kind, &body, None, by_ms)
        })?;
        expects(kind::CLAIM)?;
        channel.send(kind::YOURS, &[], None, by_ms)?;
        alone.door = None;
        self.channel = Arc::new(channel);
        self.has_server = true;
        self.outbox.serve(&self.channel)
    }

    /// Asks peers that understand it to connect anew: another server listens where theirs did.
    fn ask_to_reconnect(&mut self) {
        let has_asked = self.alone.as_mut().is_none_or(|alone| std::mem::replace(&mut alone.has_asked, true));
        for id in self.server.ids().into_iter().filter(|_| !has_asked) {
            self.order(id, Order::Reconnect(None, RECONNECT.to_owned()));
        }
    }

    /// Ends the stream, without a server to tell of it. Returns the exit status.
    pub(super) fn end_alone(mut self) -> i32 {
        if let Some(alone) = &mut self.alone {
            // Nobody is to find it any more.
            alone.door = None;
            alone.is_to_end_by(clock::now_ms() + GOODBYE_MS + END_MS);
        }
        self.stream.stop(GOODBYE_MS);
        self.stream.take_running().into_iter().for_each(Running::wait);
        self.outbox.abandon();
        0
    }
}
