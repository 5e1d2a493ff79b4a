//! What goes to another server one by one, and comes from one so: sessions, targets, and the stream with the tail of its log.
//! The worker has them and makes their states; whoever waits for one waits here.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::super::wire::{Cause, GoOn, Handle, Largest, ToWorker, impossible};
use super::waits::{TargetOrder, WAITING};
use super::{ORDER_MS, Proxy, WorkerSession, WorkerTarget, not_its, refuse};
use crate::error::{Failure, RRError, Result, copied};
use crate::net::event_loop::Io;
use crate::stream::exported::stream::{StreamExport, StreamState, ToExport};
use crate::stream::exported::target::{About, ExportedTarget, Pause};
use crate::stream::exported::{self, Doing, ExportedSession, stream};
use crate::stream::name::StreamName;
use crate::stream::record::{Caller, Export, TargetExport};
use crate::stream::remote::source::{self, Goes};
use crate::stream::remote::target::backoff::Backoff;
use crate::stream::remote::target::{Target, is_tls};

/// Most room for the state of a stream that a worker may ask for: it measures a tail before it makes it.
const STREAM_ROOM: usize = stream::BYTES_MAX.saturating_mul(2);

impl Proxy {
    /// The largest states that the worker may send.
    pub(super) fn largest(&self) -> Largest {
        let config = &self.session;
        let state = ExportedSession::bytes_max(config).max(ExportedTarget::bytes_max(config));
        Largest { state, stream: self.waits.states.front().map(|(room, _)| (*room).min(stream::BYTES_MAX)) }
    }

    // ---- the stream

    /// Lets a worker go on with the stream of another server.
    pub(super) fn go_on(&mut self, message: GoOn, caller: Caller<()>, io: &mut Io<'_>) {
        if self.worker.is_some() || !self.moving.is_no() {
            return refuse(&caller, Failure::ours(RRError::State, "the stream has a process already"));
        }
        let begun = self.link(io).and_then(|link| link.go_on(message));
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
        self.waits.answered();
        if caller.take() {
            caller.tell(outcome);
        }
        Ok(())
    }

    /// Lets the worker make the state of the stream. Without one there is nothing beside its name and settings.
    pub(super) fn export_stream(&mut self, room: usize, caller: Caller<ToExport>, now_us: u64) {
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
                needs if needs > room => ToExport::Made(StreamExport::Needs(needs)),
                _ => ToExport::Made(StreamExport::State(state.into())),
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

    fn asked_for_state(&mut self) -> Result<Caller<ToExport>> {
        let asked = self.waits.states.pop_front();
        let (_, caller) = asked.ok_or_else(|| impossible("nobody wanted the state of the stream"))?;
        self.waits.answered();
        Ok(caller)
    }

    /// The state of the stream has come, at this place of a message. It is checked by the thread that waits for it.
    pub(super) fn stream_exported(&mut self, message: Vec<u8>, at: Range<usize>) -> Result<()> {
        let state = StreamState::within(message, at);
        self.asked_for_state()?.tell(Ok(ToExport::Made(StreamExport::State(state))));
        Ok(())
    }

    /// There is no state of the stream.
    pub(super) fn stream_stays(&mut self, needs: Option<u64>, cause: Option<Cause<'_>>) -> Result<()> {
        let cause = cause.map(|cause| cause.failure()).transpose()?;
        let room = self.waits.states.front().map_or(0, |(room, _)| *room);
        let needs = needs.map(|needs| room_needed(needs, room, STREAM_ROOM)).transpose()?;
        let caller = self.asked_for_state()?;
        match (needs, cause) {
            (Some(needs), _) => caller.tell(Ok(ToExport::Made(StreamExport::Needs(needs)))),
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
            self.session_exported(id, state, fd, now_ms)
        } else {
            self.target_exported(id, state, fd, now_ms)
        }
    }

    fn session_exported(&mut self, id: Handle, state: &[u8], fd: Option<OwnedFd>, now_ms: u64) -> Result<()> {
        let (fd, state) = (fd.ok_or_else(|| impossible("a session comes without its connection"))?, copied(state)?);
        let entry = self.sessions.get(&id).ok_or_else(not_its)?;
        let (room, _) = entry.export.as_ref().ok_or_else(|| impossible("nobody wanted that session"))?;
        // Where it comes in, nobody is asked about what a session publishes or plays.
        let read = ExportedSession::read(&self.session, &state, now_ms);
        let is_its = read.as_ref().is_ok_and(|read| does_the_same(&read.doing, entry, self.stream.name()));
        if state.len() > *room || (read.is_ok() && !is_its) {
            return Err(impossible("that is not the session that was wanted"));
        }
        // Nothing fails once the session is out of the table.
        let mut entry = self.release(id)?;
        let Some((_, caller)) = entry.export.take() else { return Ok(()) };
        match read {
            Ok(_) => {
                self.stream.upcalls().session_exported(&entry.record);
                caller.tell(Ok(Export::Gone { fd, state }));
            }
            // The worker goes on: it may be the peer that has brought its session to such a state.
            Err(failure) => {
                self.stream.upcalls().session_over(&entry.record, &failure);
                caller.tell(Err(failure));
            }
        }
        self.after(entry);
        Ok(())
    }

    fn target_exported(&mut self, id: Handle, state: &[u8], fd: Option<OwnedFd>, now_ms: u64) -> Result<()> {
        let state = copied(state)?;
        let entry = self.targets.get(&id).ok_or_else(not_its)?;
        let order = entry.export.as_ref().ok_or_else(|| impossible("nobody wanted that target"))?;
        let read = ExportedTarget::read_plain(&self.session, &state, now_ms);
        let is_its = read
            .as_ref()
            .is_ok_and(|read| read.about.name == *self.stream.name() && read.about.pulls == entry.target.is_source());
        if state.len() > order.room || (read.is_ok() && !is_its) {
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
        match read {
            Ok(_) => {
                stream.upcalls().target_exported(&target);
                order.caller.tell(Ok(TargetExport::Gone { fd, state }));
            }
            // As of a session.
            Err(failure) => {
                source::over(&**stream.upcalls(), &target, &failure, Goes::Lost, 0);
                order.caller.tell(Err(failure));
            }
        }
        if record.is_some() {
            stream.call_sources();
            stream.check_unused();
        }
        Ok(())
    }

    /// A session, target or source that was to go stays.
    pub(super) fn stays(&mut self, id: Handle, needs: Option<u64>, cause: Option<Cause<'_>>) -> Result<()> {
        let cause = cause.map(|cause| cause.failure()).transpose()?;
        let session = self.sessions.get(&id).and_then(|entry| Some(entry.export.as_ref()?.0));
        let target = self.targets.get(&id).and_then(|entry| Some(entry.export.as_ref()?.room));
        // Whoever it is may have ended, or have been given back and sent again, since the worker looked.
        let Some(room) = session.or(target) else { return Ok(()) };
        let needs = needs.map(|needs| room_needed(needs, room, self.largest().state)).transpose()?;
        if let Some(entry) = self.sessions.get_mut(&id) {
            let Some((_, caller)) = entry.export.take() else { return Ok(()) };
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

/// Whether this is what a session does with the stream of this name.
fn does_the_same(doing: &Doing, entry: &WorkerSession, name: &StreamName) -> bool {
    match doing {
        Doing::Publishes(publishing) => entry.publishes() && publishing.named.stream() == *name,
        Doing::Plays(playing) => {
            !entry.publishes() && playing.asks.is_none() && playing.plays.iter().all(|play| play.name == *name)
        }
        Doing::Rests | Doing::Asks(..) => false,
    }
}

/// The room that a state needs, which is at most so much.
///
/// # Errors
/// [`RRError::Protocol`] for no more than there was, or more than any state needs: the host makes as much room as it hears.
fn room_needed(needs: u64, room: usize, most: usize) -> Result<usize> {
    let most = most.saturating_add(exported::GROWTH_BYTES);
    let needs = usize::try_from(needs).ok().filter(|&needs| needs > room && needs <= most);
    needs.ok_or_else(|| impossible("no state needs so much room"))
}
