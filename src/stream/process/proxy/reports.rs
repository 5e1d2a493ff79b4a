//! What the worker says, and what follows from it for the server's book, records, targets and figures. An error ends the
//! worker.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::super::wire::{EventReport, Facts, FiguresOf, Handle, Parted, ToServer, Track, impossible, shown};
use super::{Proxy, WorkerSession, WorkerTarget, not_its};
use crate::config::MAX_STANDBYS;
use crate::error::{Failure, RRError, Result};
use crate::net::conn::Conn;
use crate::net::fd_channel::Message;
use crate::net::socket::Socket;
use crate::proto::codec_config::{AudioConfig, VideoConfig};
use crate::proto::command::MAX_VIA_BYTES;
use crate::session::State;
use crate::stream::book::Places;
use crate::stream::event::{Event, EventKind, Id};
use crate::stream::exported::{Doing, ExportedSession};
use crate::stream::peer::Peer;
use crate::stream::record::RRSession;
use crate::stream::relays::LEAD;
use crate::stream::stats::reported::Figures;
use crate::stream::tracks;

/// More memory than a machine has for a stream.
const MEMORY_BYTES: u64 = 1 << 44;

/// Longest path of a module of this library, with room for longer ones.
const MODULE_BYTES: usize = 128;

impl Proxy {
    /// Takes a message of the worker.
    ///
    /// # Errors
    /// [`RRError::Arg`] and [`RRError::Protocol`] for what no worker says.
    pub(super) fn take_report(&mut self, message: Message, now_us: u64) -> Result<()> {
        let Message { kind, body, fd } = message;
        let report = ToServer::decode(&body)?;
        if kind != report.kind() {
            // Bounds are those of its kind.
            return Err(impossible("its message is of another kind than it says"));
        }
        if self.moving.describes() && !matches!(report, ToServer::Paused) {
            drop(report);
            return self.describes_more(body);
        }
        match report {
            ToServer::Ready => self.supervisor.began(),
            ToServer::Pong(number) => {
                if !self.supervisor.answered(number) {
                    return Err(impossible("it answers what it was not asked"));
                }
            }
            ToServer::Taken(id) => self.is_taken(id)?,
            ToServer::Over { id, cause } => self.session_over(id, &cause.failure()?)?,
            ToServer::Back { id, state } => self.session_back(id, state, fd, now_us)?,
            ToServer::Exported { id, state } => self.is_exported(id, state, fd, now_us / 1000)?,
            ToServer::Stays { id, needs, cause } => self.stays(id, needs, cause)?,
            ToServer::GoesOn(cause) => self.goes_on(cause)?,
            ToServer::Stream { state } => {
                // The state lies in the body, which is kept with its place there: it may be too large to be copied.
                let start = state.as_ptr().addr().wrapping_sub(body.as_ptr().addr());
                let at = start..start.saturating_add(state.len());
                self.stream_exported(body, at)?;
            }
            ToServer::StreamStays { needs, cause } => self.stream_stays(needs, cause)?,
            ToServer::Parted { id, how } => self.target_parted(id, &how, now_us / 1000)?,
            ToServer::Event(report) => self.event_reported(&report)?,
            ToServer::Places { live, recovering, standbys, via } => {
                self.places(&Places { live, recovering, standbys }, via)?;
            }
            ToServer::Tracks { list, facts } => self.tracks(&list, facts),
            ToServer::Figures { incoming, outgoing, memory } => {
                self.figures(&incoming, &outgoing, memory, now_us)?;
            }
            ToServer::Connections(all) => {
                all.iter().try_for_each(|figures| self.figures_of(figures, now_us))?;
            }
            ToServer::Line { level, module, text } => self.line(level_of(level), module, text, now_us),
            ToServer::LinesLost(count) => drop(self.passes_line(count, now_us)),
            ToServer::Describes => self.moving.begins()?,
            ToServer::Paused => self.is_described_whole(now_us)?,
            ToServer::Session { .. } | ToServer::Target { .. } => {
                return Err(impossible("it describes itself without being asked"));
            }
            ToServer::Ends => {
                if let Some(link) = &mut self.worker {
                    link.is_done();
                }
            }
        }
        Ok(())
    }

    // ---- sessions

    /// Lets go of a connection that the worker has.
    fn is_taken(&mut self, id: Handle) -> Result<()> {
        let conn = if let Some(entry) = self.sessions.get_mut(&id) {
            // Another order may have gone out meanwhile, which has a time of its own.
            entry.due_ms = entry.due_ms.filter(|_| entry.closing.is_some() || entry.export.is_some());
            entry.conn.take()
        } else if let Some(entry) = self.targets.get_mut(&id) {
            entry.due_ms = entry.due_ms.filter(|_| entry.is_stopped || entry.export.is_some());
            entry.conn.take()
        } else {
            None
        };
        conn.map(drop).ok_or_else(not_its)
    }

    /// A session that the worker no longer has; a publisher has left its place.
    pub(super) fn release(&mut self, id: Handle) -> Result<WorkerSession> {
        let entry = self.sessions.remove(&id).ok_or_else(not_its)?;
        if entry.publishes() {
            self.stream.book().lose(&entry.record, false);
        }
        Ok(entry)
    }

    fn session_over(&mut self, id: Handle, failure: &Failure) -> Result<()> {
        let entry = self.release(id)?;
        self.stream.upcalls().session_over(&entry.record, failure);
        self.after(entry);
        Ok(())
    }

    /// What a stream does when somebody has left it.
    pub(super) fn after(&self, entry: WorkerSession) {
        // A player leaves the book.
        drop(entry);
        self.stream.call_sources();
        self.stream.check_unused();
    }

    fn session_back(&mut self, id: Handle, state: &[u8], fd: Option<OwnedFd>, now_us: u64) -> Result<()> {
        let mut entry = self.release(id)?;
        let publishes = entry.publishes();
        let peer = match entry.closing.take() {
            // The worker did not have it any more when the order came.
            Some(text) => Err(Failure::ours(RRError::Kicked, text)),
            None => self.peer(&entry.record, state, fd, now_us / 1000),
        };
        match peer {
            Ok((peer, event)) => {
                if publishes {
                    self.stream.upcalls().session_left(&entry.record, self.stream.id());
                }
                self.after(entry);
                self.stream.upcalls().reclaim(peer, event);
            }
            // The worker goes on: it may be the peer that has brought its session to such a state.
            Err(failure) => {
                self.stream.upcalls().session_over(&entry.record, &failure);
                self.after(entry);
            }
        }
        Ok(())
    }

    /// The session of a state with its record, and what it asks.
    fn peer(
        &self,
        record: &Arc<RRSession>,
        state: &[u8],
        fd: Option<OwnedFd>,
        now_ms: u64,
    ) -> Result<(Peer, Option<crate::session::Event>)> {
        let fd = fd.ok_or_else(|| impossible("a session comes without its connection"))?;
        let exported = ExportedSession::read(&self.session, state, now_ms)?;
        let bytes_in = exported.conn_bytes_in();
        let event = match exported.doing {
            Doing::Rests => None,
            Doing::Asks(event, _) => Some(event),
            Doing::Publishes(_) | Doing::Plays(_) => {
                return Err(impossible("a session that goes back publishes or plays"));
            }
        };
        if record.tls() {
            // Its pump is the stream's.
            let kind = if event.is_some() { RRError::Unsupported } else { RRError::Closed };
            let text = "a connection over TLS ends with what it publishes or plays where streams run in processes";
            return Err(Failure::ours(kind, text));
        }
        let socket = Socket::adopt_connected(fd)?;
        let conn = Conn::resumed(socket, exported.session.into(), exported.unread, bytes_in);
        Ok((Peer::new(conn, Arc::clone(record)), event))
    }

    // ---- targets and sources

    fn target_parted(&mut self, id: Handle, how: &Parted<'_>, now_ms: u64) -> Result<()> {
        // Nothing fails once the target is out of the table.
        let lost = match how {
            Parted::Lost { cause, .. } => cause.failure()?,
            _ => Failure::ours(RRError::Worker, "the stream has ended in its process"),
        };
        let WorkerTarget { target, record, since_ms, export, .. } = self.targets.remove(&id).ok_or_else(not_its)?;
        let stream = Arc::clone(&self.stream);
        if let Some(record) = &record {
            stream.book().lose(record, false);
        }
        let upcalls = stream.upcalls();
        // What the worker says is not more than can be: a long run makes the back-off forget earlier failures.
        let at_most = |ran_ms: u64| ran_ms.min(now_ms.saturating_sub(since_ms));
        match how {
            _ if target.is_stopped() => upcalls.target_over(&target),
            Parted::Lost { ran_ms, .. } => upcalls.target_lost(&target, &lost, at_most(*ran_ms)),
            Parted::Released => {
                upcalls.target_released(&target);
                self.has_idle_targets |= record.is_none();
            }
            Parted::Moved { url, text, ran_ms } => {
                let url = url.map(|url| shown(url).into_owned());
                upcalls.target_moved(&target, url, &shown(text), at_most(*ran_ms));
            }
            Parted::Renewed => upcalls.target_renewed(&target),
            // It is over with its stream, which stops or has failed there.
            Parted::Over if stream.stop_by_ms().is_some() => {
                target.stop(0);
                upcalls.target_over(&target);
            }
            Parted::Over => upcalls.target_lost(&target, &lost, 0),
        }
        if let Some(order) = export {
            order.give_back(&**upcalls, &target);
        }
        if record.is_some() {
            stream.call_sources();
            stream.check_unused();
        }
        Ok(())
    }

    fn dial_all(&mut self) {
        self.has_idle_targets = false;
        for target in self.stream.book().targets() {
            self.stream.upcalls().dial(&target);
        }
    }

    // ---- events

    fn event_reported(&mut self, report: &EventReport<'_>) -> Result<()> {
        let stream = Arc::clone(&self.stream);
        let (life, upcalls) = (stream.life(), stream.upcalls());
        if report.is(EventKind::Stream) {
            match report.state()? {
                State::InProgress if life.state() == State::InProgress => {}
                State::InProgress => {
                    life.flows();
                    self.dial_all();
                }
                State::Recovering => life.recovers(),
                State::Idle => life.rests(),
                // It ends by our stop, or with its process.
                _ => {}
            }
        } else if report.is(EventKind::Session) {
            let record = &self.sessions.get(&report.session).ok_or_else(not_its)?.record;
            let state = running(report)?;
            let prev = record.state();
            if prev != state && !prev.may_become(state) {
                return Err(impossible("no session goes from its state to that one"));
            }
            if prev != state {
                record.set_state(state);
                upcalls.event(record.event(EventKind::Session).moved(prev, state));
            }
        } else if report.is(EventKind::Target) {
            let target = &self.targets.get(&report.target).ok_or_else(not_its)?.target;
            target.move_to(running(report)?, |event| event);
        } else if report.is(EventKind::Tracks) {
            upcalls.event(Event { text: report.text().into_bytes(), ..life.event(EventKind::Tracks) });
        } else if report.is(EventKind::Clock) {
            upcalls.event(Event { value: report.value, ..life.event(EventKind::Clock) });
        } else if report.is(EventKind::Slow) {
            let about = match (self.sessions.get(&report.session), self.targets.get(&report.target)) {
                (Some(entry), _) => entry.record.event(EventKind::Slow),
                (None, Some(entry)) => Event { kind: EventKind::Slow, ..entry.target.event() },
                (None, None) => return Err(not_its()),
            };
            upcalls.event(Event { value: report.value, ..about });
        } else {
            return Err(impossible("no worker has such events"));
        }
        Ok(())
    }

    /// Notes who publishes and who stands by.
    fn places(&mut self, places: &Places, via: Vec<u8>) -> Result<()> {
        if via.len() > MAX_VIA_BYTES {
            return Err(impossible("its media comes through more streams than are allowed"));
        }
        let plays = |id: &Handle| self.sessions.get(id).is_some_and(|entry| !entry.publishes());
        if places.standbys.len() > MAX_STANDBYS || plays(&places.live) || places.standbys.iter().any(plays) {
            return Err(impossible("so many cannot stand by, and a player neither publishes nor stands by"));
        }
        if self.last_places.0 == *places && self.last_places.1 == via {
            return Ok(());
        }
        self.last_places = (places.clone(), via.clone());
        let targets = &self.targets;
        let source = targets.get(&places.live).and_then(|entry| entry.record.as_ref());
        if let Some(record) = source.filter(|record| record.names().via != via) {
            record.rename(|names| names.via = via);
        }
        let session = |id: Id| self.sessions.values().find(|entry| entry.record.id == id);
        let target = |id: Id| targets.values().find(|entry| entry.target.id == id);
        let is_on_way = |id: Id| match (session(id), target(id)) {
            (Some(entry), _) => entry.conn.is_some(),
            (None, Some(entry)) => entry.conn.is_some(),
            (None, None) => true,
        };
        let id_of = |handle: &Handle| {
            let session = self.sessions.get(handle).map(|entry| entry.record.id);
            session.or_else(|| targets.get(handle).map(|entry| entry.target.id))
        };
        let (live, standbys) = (id_of(&places.live), places.standbys.iter().filter_map(id_of).collect());
        let here = Places { live: live.unwrap_or_default(), recovering: places.recovering, standbys };
        self.stream.book().follow(&here, is_on_way, |id| target(id).is_some());
        self.stream.call_sources();
        self.stream.check_unused();
        Ok(())
    }

    // ---- facts and figures

    fn tracks(&self, list: &[Track], facts: Facts) {
        let list = list.iter().map(|&Track { type_id, track, codec }| tracks::Track { type_id, track, codec });
        let video = facts.video.map(|(width, height, profile, compatibility, level)| VideoConfig {
            width,
            height,
            profile,
            compatibility,
            level,
        });
        let audio =
            facts.audio.map(|(sample_rate, channels, object_type)| AudioConfig { sample_rate, channels, object_type });
        self.stream.ingest().tracks().note_reported(list.collect(), video, audio);
    }

    fn figures(&mut self, incoming: &Figures, outgoing: &Figures, memory: u64, now_us: u64) -> Result<()> {
        incoming.check()?;
        outgoing.check()?;
        let stats = self.stream.stats();
        let has_news = incoming.has_more(stats.incoming());
        if self.is_described {
            incoming.begin(stats.incoming(), now_us);
            outgoing.begin_outgoing(stats.outgoing(LEAD), now_us);
        }
        incoming.note(stats.incoming(), now_us);
        outgoing.note_outgoing(stats.outgoing(LEAD), now_us);
        // A worker may pass its limit by little, and what it says counts up to that.
        let limit = self.mem_limit.unwrap_or(u64::MAX);
        if memory > limit.saturating_mul(2) || memory > MEMORY_BYTES {
            return Err(impossible("no worker uses so much memory"));
        }
        // Without room the server's memory is short, and the worker is asked to give up some.
        let _ = self.memory.follow(usize::try_from(memory.min(limit)).unwrap_or(usize::MAX));
        if has_news && self.has_idle_targets {
            self.dial_all();
        }
        Ok(())
    }

    /// Notes the figures of a connection; those of one that has just ended come too late.
    fn figures_of(&self, FiguresOf { id, silent_ms, figures }: &FiguresOf, now_us: u64) -> Result<()> {
        figures.check()?;
        let read_ms = (now_us / 1000).saturating_sub(*silent_ms);
        if let Some(entry) = self.sessions.get(id) {
            figures.note(&entry.record.counters, now_us);
            if entry.publishes() {
                entry.record.set_read(read_ms);
            }
        } else if let Some(entry) = self.targets.get(id) {
            figures.note(&entry.target.counters, now_us);
            if let Some(record) = &entry.record {
                record.set_read(read_ms);
            }
        }
        Ok(())
    }
}

impl Proxy {
    /// Passes a log line on, if it is wanted and they are not too many. It is said to be the worker's, so it cannot pass for
    /// one of this process.
    fn line(&mut self, level: log::Level, module: &str, text: &str, now_us: u64) {
        if level > log::max_level() {
            return;
        }
        if !self.passes_line(0, now_us) {
            return;
        }
        let name = self.stream.masked_name();
        log::log!(target: &format!("rrelay::{}", module_of(module)), level, "{name}, its process: {}", shown(text));
    }

    /// Whether another log line may pass; it says first how many have not, with these that the worker has lost itself.
    fn passes_line(&mut self, lost: u64, now_us: u64) -> bool {
        let Some(lost) = self.worker.as_mut().and_then(|link| link.passes_line(lost, now_us)) else { return false };
        if lost > 0 {
            log::warn!("{}: {lost} log lines of its process are lost", self.stream.masked_name());
        }
        true
    }
}

/// The state in which a session or target is that takes part in a stream.
fn running(report: &EventReport<'_>) -> Result<State> {
    let state = report.state()?;
    match state {
        State::Waiting | State::InProgress => Ok(state),
        _ => Err(impossible("who takes part in a stream is not in such a state")),
    }
}

/// The module that a log line is said to come from.
fn module_of(text: &str) -> String {
    let is_of_path = |one: &char| one.is_ascii_alphanumeric() || matches!(one, '_' | ':');
    text.chars().filter(is_of_path).take(MODULE_BYTES).collect()
}

/// The level of a log line.
fn level_of(number: u32) -> log::Level {
    match number {
        1 => log::Level::Error,
        2 => log::Level::Warn,
        3 => log::Level::Info,
        4 => log::Level::Debug,
        _ => log::Level::Trace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_calls_a_module_is_a_short_path() {
        assert_eq!(module_of("stream::relay\n\x1b[31m"), "stream::relay31m");
        assert_eq!(module_of(&"a".repeat(200_000)).len(), MODULE_BYTES);
    }
}
