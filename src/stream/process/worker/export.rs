//! What the worker gives away, for another server, and the stream that it goes on with from one. The thread that has a
//! session, a target or the log makes its state; the main thread tells the outcome.

use super::super::wire::{Handle, impossible};
use super::Worker;
use super::leaving::{self, Leaving};
use crate::error::Result;
use crate::net::clock;
use crate::stream::exported::stream::ExportedStream;
use crate::stream::exported::target::ExportedTarget;
use crate::stream::handover::Delivery;
use crate::stream::record::{Caller, Order};

impl Worker {
    /// Lets the thread of a session export it.
    pub(super) fn export(&mut self, id: Handle, room: u64) {
        let Some(record) = self.server.session(id) else { return };
        let (caller, wait) = Caller::new();
        match record.order(Order::Export { room: bytes(room), caller }) {
            Ok(()) => self.exports.push(Leaving::Session(id, wait)),
            Err(failure) => leaving::stays(&self.server, id, None, Some(&failure)),
        }
    }

    /// Lets the thread of a target or source export it. One that has just ended has been told as such.
    pub(super) fn export_target(&mut self, id: Handle, (room, anew): (u64, bool), state: &[u8]) -> Result<()> {
        let Some(target) = self.server.target(id) else { return Ok(()) };
        let history = ExportedTarget::read_plain(&self.config, state, clock::now_ms())?.about.history;
        let ((caller, wait), room) = (Caller::new(), bytes(room));
        if target.is_source() {
            self.stream.export_source(target, history, (room, anew), caller);
        } else if let Err((_, failure)) =
            self.stream.deliver(Delivery::ExportTarget { target, history, room, anew, caller })
        {
            leaving::stays(&self.server, id, None, Some(&failure));
            return Ok(());
        }
        self.exports.push(Leaving::Target(id, wait));
        Ok(())
    }

    /// Lets the relay make the state of the stream.
    pub(super) fn export_stream(&mut self, room: u64) {
        let (caller, mut wait) = Caller::new();
        if let Err(failure) = self.stream.export(bytes(room), caller) {
            let refused = Caller::new();
            refused.0.tell(Err(failure));
            wait = refused.1;
        }
        self.exports.push(Leaving::Stream(bytes(room), wait));
    }

    /// Goes on with the stream of another server.
    pub(super) fn go_on(&self, state: &[u8], within_ms: u64) -> Result<()> {
        if self.last_handle > 0 {
            return Err(impossible("somebody has come before the stream"));
        }
        self.stream.resume(&ExportedStream::read(state)?, within_ms).map(drop)
    }

    /// Tells of what has been given away, or stays.
    pub(super) fn tell_exports(&mut self) {
        leaving::tell_all(&mut self.exports, &self.server);
    }

    /// Ends what the server was to get for another one, as far as it is known: its connections have ended with the server.
    pub(super) fn end_exports(&mut self) {
        self.exports.retain(|leaving| !leaving.end(&self.server));
    }
}

fn bytes(room: u64) -> usize {
    usize::try_from(room).unwrap_or(usize::MAX)
}
