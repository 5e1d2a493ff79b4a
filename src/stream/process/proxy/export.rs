//! What goes to another server one by one, and comes from one so: sessions, targets, and the stream with the tail of its log.
//! The worker has them and makes their states; whoever waits for one waits here.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::super::wire::{Cause, Handle, Largest, ToWorker, impossible};
use super::waits::{TargetOrder, WAITING};
use super::{ORDER_MS, Proxy, WorkerTarget, not_its, refuse};
use crate::error::{Failure, RRError, Result, copied};
use crate::net::event_loop::Io;
use crate::stream::exported::target::{About, ExportedTarget, Pause};
use crate::stream::exported::{ExportedSession, stream};
use crate::stream::handover::StreamExport;
use crate::stream::record::{Caller, Export, TargetExport};
use crate::stream::remote::target::backoff::Backoff;
use crate::stream::remote::target::{Target, is_tls};

impl Proxy {
    /// The largest states that the worker may send.
    pub(super) fn largest(&self) -> Largest {
        let config = &self.session;
        let state = ExportedSession::bytes_max(config).max(ExportedTarget::bytes_max(config));
        Largest { state, stream: self.waits.states.front().map(|(room, _)| (*room).min(stream::BYTES_MAX)) }
    }

    // ---- the stream

    /// Lets a worker go on with the stream of another server.
    pub(super) fn go_on(&mut self, state: &[u8], within_ms: u64, caller: Caller<()>, io: &mut Io<'_>) {
        if self.worker.is_some() || !self.moving.is_no() {
            return refuse(&caller, Failure::ours(RRError::State, "the stream has a process already"));
        }
        let begun = self.link(io).and_then(|link| link.send(&ToWorker::GoOn { state, within_ms }, None));
        match begun {
            Ok(()) => {
                (self.waits.goes_on, self.waits.due_ms) = (Some(caller), Some(io.now_us / 1000 + ORDER_MS));
            }
            Err(failure) => refuse(&caller, Failure::ours(RRError::Worker, failure.text)),
        }
    }

    /// The stream goes on in the worker, or cannot.
    pub(super) fn goes_on(&mut self, cause: Option<Cause<'_>>) -> Result<()> {
        let outcome = cause.map_or(Ok(Ok(())), |cause| cause.failure().map(Err))?;
        let caller = self.waits.goes_on.take().ok_or_else(|| impossible("no stream was to go on"))?;
        self.waits.due_ms = None;
        if caller.take() {
            caller.tell(outcome);
        }
        Ok(())
    }

    /// Lets the worker make the state of the stream. Without one there is nothing beside its name and settings.
    pub(super) fn export_stream(&mut self, room: usize, caller: Caller<StreamExport>, now_us: u64) {
        let now_ms = now_us / 1000;
        let many = || Failure::ours(RRError::Again, "others wait for the stream's state already: try again");
        let may = self.may_go().and_then(|()| if self.waits.states.len() < WAITING { Ok(()) } else { Err(many()) });
        if let Err(failure) = may {
            return refuse(&caller, failure);
        }
        if !caller.take() {
            return;
        }
        if self.worker.is_none() {
            let state = self.without_log(self.stream.book().is_reserved(), now_us).state();
            return caller.tell(state.map(|state| match state.len() {
                needs if needs > room => StreamExport::Needs(needs),
                _ => StreamExport::State(state),
            }));
        }
        let orders = self.order_settings(now_ms).and_then(|()| self.order_hold(now_ms));
        let message = ToWorker::ExportStream { room: room as u64 };
        match orders.and_then(|()| self.worker.as_mut().map_or(Ok(()), |link| link.send(&message, None))) {
            Ok(()) => {
                self.waits.states.push_back((room, caller));
                self.waits.due_ms = Some(now_ms + ORDER_MS);
            }
            Err(failure) => caller.tell(Err(failure)),
        }
    }

    /// Whether something of the stream may go to another server now.
    fn may_go(&self) -> Result<()> {
        self.may_come()?;
        match &self.worker {
            Some(link) if link.is_ending() => {
                Err(Failure::ours(RRError::Again, "the process of the stream is just ending: try again"))
            }
            _ => Ok(()),
        }
    }

    /// Passes on for how long nothing is appended, and the end of that.
    pub(super) fn order_hold(&mut self, now_ms: u64) -> Result<()> {
        let held_ms = self.stream.ingest().held_ms(now_ms);
        let until_us = if held_ms > 0 { self.stream.ingest().held_until_us() } else { 0 };
        let Some(link) = self.worker.as_mut().filter(|_| self.sent_hold_us != until_us) else { return Ok(()) };
        link.send(&ToWorker::Hold(held_ms), None)?;
        self.sent_hold_us = until_us;
        Ok(())
    }

    fn asked_for_state(&mut self) -> Result<Caller<StreamExport>> {
        let asked = self.waits.states.pop_front();
        let (_, caller) = asked.ok_or_else(|| impossible("nobody wanted the state of the stream"))?;
        self.waits.due_ms = self.waits.due_ms.filter(|_| !self.waits.states.is_empty());
        Ok(caller)
    }

    /// The state of the stream has come. It is checked by the thread that waits for it.
    pub(super) fn stream_exported(&mut self, state: &[u8]) -> Result<()> {
        self.asked_for_state()?.tell(copied(state).map(StreamExport::State));
        Ok(())
    }

    /// There is no state of the stream.
    pub(super) fn stream_stays(&mut self, needs: Option<u64>, cause: Option<Cause<'_>>) -> Result<()> {
        let cause = cause.map(|cause| cause.failure()).transpose()?;
        let caller = self.asked_for_state()?;
        match (needs, cause) {
            (Some(needs), _) => caller.tell(Ok(StreamExport::Needs(usize::try_from(needs).unwrap_or(usize::MAX)))),
            (None, Some(cause)) => caller.tell(Err(cause)),
            // The caller learns that it is not possible now.
            (None, None) => {}
        }
        Ok(())
    }

    // ---- sessions and targets

    /// Lets the worker give a target or source away. One that is over TLS connects anew where it goes: its keys are here.
    pub(super) fn export_target(
        &mut self,
        target: &Arc<Target>,
        history: Backoff,
        (room, caller): (usize, Caller<TargetExport>),
        now_ms: u64,
    ) {
        let is_it = |entry: &&mut WorkerTarget| Arc::ptr_eq(&entry.target, target);
        let known = self.targets.iter_mut().find(|(_, entry)| is_it(entry)).map(|(id, _)| *id);
        let Some(id) = known.filter(|_| !target.is_stopped()) else {
            return self.stream.upcalls().target_export(target, room, caller);
        };
        if let Err(failure) = self.may_go() {
            return refuse(&caller, failure);
        }
        let is_open = self.targets.get(&id).is_some_and(|entry| entry.export.is_some());
        if is_open || !caller.take() {
            // The caller learns that another one exports it.
            return;
        }
        let anew = is_tls(&target.way().url);
        let state = About::of(target, history).paused(Pause::Waits(0), now_ms);
        let sent = self.order_targets(now_ms).and(state).and_then(|state| {
            let message = ToWorker::ExportTarget { id, room: room as u64, anew, state: &state };
            self.worker.as_mut().map_or(Ok(()), |link| link.send(&message, None))
        });
        match (sent, self.targets.get_mut(&id)) {
            (Ok(()), Some(entry)) => {
                entry.export = Some(TargetOrder { room, caller, anew });
                entry.due_ms = Some(now_ms + ORDER_MS);
            }
            (Err(failure), _) => caller.tell(Err(failure)),
            (Ok(()), None) => {}
        }
    }

    /// The worker has given a session, target or source away.
    pub(super) fn is_exported(&mut self, id: Handle, state: &[u8], fd: Option<OwnedFd>, now_ms: u64) -> Result<()> {
        if self.sessions.contains_key(&id) {
            self.session_exported(id, state, fd)
        } else {
            self.target_exported(id, state, fd, now_ms)
        }
    }

    fn session_exported(&mut self, id: Handle, state: &[u8], fd: Option<OwnedFd>) -> Result<()> {
        // Nothing fails once the session is out of the table.
        let (fd, state) = (fd.ok_or_else(|| impossible("a session comes without its connection"))?, copied(state)?);
        let caller = self.sessions.get_mut(&id).and_then(|entry| entry.export.take());
        let Some(caller) = caller else { return Err(impossible("nobody wanted that session")) };
        let entry = self.release(id)?;
        self.stream.upcalls().session_exported(&entry.record);
        caller.tell(Ok(Export::Gone { fd, state }));
        self.after(entry);
        Ok(())
    }

    fn target_exported(&mut self, id: Handle, state: &[u8], fd: Option<OwnedFd>, now_ms: u64) -> Result<()> {
        let state = copied(state)?;
        let entry = self.targets.get(&id).ok_or_else(not_its)?;
        let order = entry.export.as_ref().ok_or_else(|| impossible("nobody wanted that target"))?;
        let about = ExportedTarget::read_plain(&self.session, &state, now_ms)?.about;
        let is_its = about.name == *self.stream.name() && about.pulls == entry.target.is_source();
        if !is_its || state.len() > order.room {
            return Err(impossible("that is not the target that was wanted"));
        }
        let fd = match order.anew {
            true => None,
            false => Some(fd.ok_or_else(|| impossible("a target comes without its connection"))?),
        };
        // Nothing fails from here on.
        let Some(WorkerTarget { target, record, export: Some(order), .. }) = self.targets.remove(&id) else {
            return Ok(());
        };
        let stream = Arc::clone(&self.stream);
        if let Some(record) = &record {
            stream.book().lose(record, false);
        }
        stream.upcalls().target_exported(&target);
        order.caller.tell(Ok(TargetExport::Gone { fd, state }));
        if record.is_some() {
            // The sources of a stream that is held are to follow.
            if !stream.ingest().is_held(now_ms * 1000) {
                stream.call_sources();
            }
            stream.check_unused();
        }
        Ok(())
    }

    /// A session, target or source that was to go stays.
    pub(super) fn stays(&mut self, id: Handle, needs: Option<u64>, cause: Option<Cause<'_>>) -> Result<()> {
        let cause = cause.map(|cause| cause.failure()).transpose()?;
        let needs = needs.map(|needs| usize::try_from(needs).unwrap_or(usize::MAX));
        // Whoever it is may have ended, or have been given back and sent again, since the worker looked.
        if let Some(entry) = self.sessions.get_mut(&id) {
            let Some(caller) = entry.export.take() else { return Ok(()) };
            entry.due_ms = entry.due_ms.filter(|_| entry.conn.is_some() || entry.closing.is_some());
            match (needs, cause) {
                (Some(needs), _) => caller.tell(Ok(Export::Needs(needs))),
                (None, Some(cause)) => caller.tell(Err(cause)),
                // The caller learns that it is not possible now.
                (None, None) => {}
            }
        } else if let Some(entry) = self.targets.get_mut(&id) {
            let Some(order) = entry.export.take() else { return Ok(()) };
            entry.due_ms = entry.due_ms.filter(|_| entry.conn.is_some() || entry.is_stopped);
            match (needs, cause) {
                (Some(needs), _) => order.caller.tell(Ok(TargetExport::Needs(needs))),
                (None, Some(cause)) => order.caller.tell(Err(cause)),
                (None, None) => {}
            }
        }
        Ok(())
    }
}
