//! The old process's side of a hand-over.

mod workers;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::wire::{self, Hello, kind};
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::fd_channel::{FdChannel, Patience};
use crate::server::core::Core;
use crate::server::inbox::{OfferedJob, OfferedListener, ToDialler, ToListener};
use crate::stream::exported::target::{About, Pause};
use crate::stream::offer::{OfferedPublisher, OfferedSession, OfferedTarget, Verdict};
use crate::stream::record::{Caller, Wait};
use crate::stream::remote::target::backoff::Backoff;
use crate::stream::remote::target::{News, Target};
use crate::stream::{Hold, RRStream, StreamExport};

/// How long players of a stream that has moved, and that could not move with it, may take to get the rest of its log.
const FLUSH_MS: u64 = 2_000;

/// How often it looks whether this server stops.
const LOOK_MS: u64 = 20;

/// Hands the server over to the process at the other end, by this time. Afterwards everything that was handed over has
/// ended here, and the rest drains.
///
/// # Errors
/// Why the other process has not taken over; then this server goes on as before.
pub(super) fn hand_over(core: &Arc<Core>, channel: &FdChannel, by_ms: u64, drain_ms: u64) -> Result<()> {
    let theirs = greeting(core, channel, by_ms)?;
    // It lasts longer than the offering: what changes afterwards finds the verdict.
    let held = core.changes.hold(by_ms, || core.still_open())?;
    // By this the other process learns, where the socket has ended, whether this one has decided so or was killed.
    let (stop, end) = FdChannel::pair()?;
    let mut offering = Offering::new(core, by_ms, drain_ms);
    offering.say(channel, kind::HELLO, &Hello::ours(core.workers().is_some())?, Some(end.as_fd()))?;
    drop(end);
    let begun_ms = clock::now_ms();
    let sent = offering.send(channel, &theirs).map_err(|failure| refusal_behind(channel, failure));
    let has_all = sent.is_ok();
    let taken = match sent.and_then(|()| answer(core, channel, by_ms)) {
        // READY counts only from a successor that has been sent everything.
        Err(failure) if is_cut_off(channel, &stop, &failure) || !has_all => Err(failure),
        _ => Ok(()),
    };
    match &taken {
        Ok(()) => {
            let (streams, sessions) = (offering.streams.len(), offering.sessions);
            held.moved(offering.streams.iter().map(|offered| offered.stream.id()).collect());
            offering.end();
            let took_ms = clock::now_ms() - begun_ms;
            // Media of streams in processes of their own goes on.
            let how = if core.workers().is_some() { "within" } else { "which paused for" };
            log::info!("another process has taken over {streams} streams and {sessions} sessions, {how} {took_ms} ms");
        }
        Err(failure) => {
            log::warn!("no other process has taken over, all goes on here: {failure}")
        }
    }
    taken
}

/// Why nothing more could be sent: a successor that refuses may have closed the socket before all has reached it, and
/// said the reason before that.
fn refusal_behind(channel: &FdChannel, failure: Failure) -> Failure {
    if failure.kind != RRError::Closed {
        return failure;
    }
    // The socket has ended, so this does not wait.
    match channel.receive(small, clock::now_ms() + 1_000) {
        Ok(Some(message)) if message.kind == kind::REFUSED => wire::refused(&message.body, "the successor"),
        _ => failure,
    }
}

/// Makes it impossible for the new process to take over. False if it has done so a moment before.
fn is_cut_off(channel: &FdChannel, stop: &FdChannel, failure: &Failure) -> bool {
    let soon_ms = clock::now_ms() + 1_000;
    let reason = wire::refusal(failure).unwrap_or_default();
    // First the reason: the new process looks for it where it can no longer say READY. This socket has room for it.
    let _ = stop.send(kind::REFUSED, &reason, None, soon_ms);
    channel.cut();
    // Nothing comes any more, so this does not wait.
    !matches!(channel.receive(small, soon_ms), Ok(Some(message)) if message.kind == kind::READY)
}

/// Bound on messages of the new process.
fn small(kind: u8) -> usize {
    wire::bytes_max(kind, 0, 0)
}

/// Waits until the new process is ready to take over.
fn greeting(core: &Core, channel: &FdChannel, by_ms: u64) -> Result<Hello> {
    let Some(message) = channel.receive_while(small, &patience(core, by_ms))? else { return Err(ended()) };
    if message.kind != kind::HELLO {
        return Err(Failure::peers(RRError::Protocol, "the successor does not begin with a greeting"));
    }
    let hello = Hello::read(&message.body)?;
    if hello.reads(kind::LISTENER) {
        return Ok(hello);
    }
    Err(Failure::peers(RRError::Version, "the successor is of a version that takes no listening sockets"))
}

fn ended() -> Failure {
    Failure::peers(RRError::Closed, "the successor has ended before it took over")
}

/// Waits until the new process has everything.
fn answer(core: &Core, channel: &FdChannel, by_ms: u64) -> Result<()> {
    let Some(message) = channel.receive_while(small, &patience(core, by_ms))? else { return Err(ended()) };
    match message.kind {
        kind::READY => Ok(()),
        kind::REFUSED => Err(wire::refused(&message.body, "the successor")),
        other => Err(Failure::peers(RRError::Protocol, format!("the successor said {other}, which is no answer"))),
    }
}

/// How long to wait for the new process: until this server stops, too, which ends the hand-over, so that it stops in time.
fn patience(core: &Core, by_ms: u64) -> Patience<impl Fn() -> Result<()>> {
    Patience { by_ms, look_ms: LOOK_MS, still: || core.still_open() }
}

/// Why the hand-over ends, where the successor says something before it has everything.
fn early(core: &Core, channel: &FdChannel, by_ms: u64) -> Failure {
    let ready = || Failure::peers(RRError::Protocol, "the successor says that it is ready before it has everything");
    answer(core, channel, by_ms).err().unwrap_or_else(ready)
}

/// What is offered. As long as it is there, the tasks concerned do nothing; dropped without a verdict, they go on.
struct Offering<'a> {
    core: &'a Arc<Core>,
    by_ms: u64,
    drain_ms: u64,
    listener: Arc<Verdict>,
    dialler: Arc<Verdict>,
    streams: Vec<Offered>,
    /// Targets that go on in the new process without their connection, if they had one.
    targets: Vec<Arc<Target>>,
    sessions: usize,
}

/// A stream that is offered. Dropped without a verdict, it goes on here.
struct Offered {
    stream: Arc<RRStream>,
    verdict: Arc<Verdict>,
    /// The hold of the offer; the host may have its own.
    hold: Hold,
    /// How long what cannot go of a stream that has moved has, before anything else happens here; otherwise those of its
    /// players get the rest of the log afterwards.
    drain_ms: Option<u64>,
}

impl Offered {
    fn settle(&self, taken: bool) {
        self.verdict.settle(taken);
        if taken {
            self.stream.hold(0);
        } else {
            self.stream.end_hold(&self.hold);
        }
        self.stream.wake_relays();
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        // After a verdict this changes nothing.
        self.settle(false);
    }
}

impl<'a> Offering<'a> {
    fn new(core: &'a Arc<Core>, by_ms: u64, drain_ms: u64) -> Self {
        let (listener, dialler) = (Arc::default(), Arc::default());
        Self { core, by_ms, drain_ms, listener, dialler, streams: Vec::new(), targets: Vec::new(), sessions: 0 }
    }

    /// Sends one message, unless this server stops first.
    fn say(&self, channel: &FdChannel, kind: u8, body: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        channel.send_while(kind, body, fd, &patience(self.core, self.by_ms))
    }

    /// Offers everything that the new process can read, until END.
    fn send(&mut self, channel: &FdChannel, theirs: &Hello) -> Result<()> {
        self.core.let_players_arrive(self.by_ms);
        let OfferedListener { sockets, sessions } = self.offer_listener()?;
        for (fd, options) in &sockets {
            self.say(channel, kind::LISTENER, &wire::listener(*options)?, Some(fd.as_fd()))?;
        }
        let is_isolated = self.core.workers().is_some();
        let takes_streams = if is_isolated { theirs.takes_workers() } else { theirs.reads(kind::STREAM) };
        if takes_streams && theirs.reads(kind::SESSION) {
            let jobs = if theirs.reads(kind::TARGET) { self.offer_targets()? } else { Vec::new() };
            match is_isolated {
                true => self.send_workers(channel, jobs)?,
                false => self.send_streams(channel, jobs)?,
            }
            self.send_sessions(channel, &sessions)?;
        } else {
            self.listener.settle(false);
            let why = "the successor is older and cannot read this version's sessions, or has its streams elsewhere (isolate)";
            log::warn!("{why}: they stay here and drain");
        }
        self.core.still_open()?;
        if channel.has_input() {
            return Err(early(self.core, channel, self.by_ms));
        }
        self.say(channel, kind::END, &[], None)
    }

    fn offer_listener(&self) -> Result<OfferedListener> {
        let (caller, wait) = Caller::new();
        self.core.to_listener(ToListener::Offer { verdict: Arc::clone(&self.listener), caller })?;
        self.outcome(&wait)
    }

    fn offer_targets(&self) -> Result<Vec<OfferedJob>> {
        let (caller, wait) = Caller::new();
        self.core.to_dialler(ToDialler::Offer { verdict: Arc::clone(&self.dialler), caller })?;
        self.outcome(&wait)
    }

    /// Sends the targets of a stream that do not go with their connection, or have none.
    fn send_targets(&mut self, channel: &FdChannel, jobs: Vec<OfferedJob>) -> Result<()> {
        for OfferedJob { target, history, pause } in jobs {
            let state = About::of(&target, history).paused(pause.unwrap_or(Pause::Waits(0)), clock::now_ms())?;
            self.say(channel, kind::TARGET, &state, None)?;
            // The source of a connection that cannot move ends with its stream here.
            if !target.is_source() || pause.is_some() {
                self.targets.push(target);
            }
        }
        Ok(())
    }

    /// The outcome of an order to a task, in time.
    fn outcome<T>(&self, wait: &Wait<T>) -> Result<T> {
        let is_lost = || clock::now_ms() >= self.by_ms || self.core.is_closing() || self.core.still_open().is_err();
        wait.outcome(is_lost).unwrap_or_else(|| {
            self.core.still_open()?;
            Err(Failure::ours(RRError::Timeout, "a thread of this server took too long"))
        })
    }

    /// Offers all streams that can go. Their threads say at the same time what goes; the states are made one after another, so
    /// there is memory for one. A stream whose turn comes too late stays.
    fn send_streams(&mut self, channel: &FdChannel, mut jobs: Vec<OfferedJob>) -> Result<()> {
        let hold_ms = u32::try_from(self.by_ms.saturating_sub(clock::now_ms())).unwrap_or(u32::MAX).max(1);
        let streams = self.core.registry().streams.all()?;
        let mut begun = Vec::new();
        for stream in streams.into_iter().filter(|stream| !stream.life().is_stopping()) {
            // It has begun before, since to begin is a change; so what it writes is taken meanwhile.
            if stream.book().host_publishes() {
                stays(&stream, &Failure::ours(RRError::State, "the host publishes it"));
                continue;
            }
            let hold = stream.hold(hold_ms);
            let offered = Offered { stream, verdict: Arc::default(), hold, drain_ms: None };
            let of_stream = |job: &mut OfferedJob| job.target.stream().id() == offered.stream.id();
            let jobs: Vec<OfferedJob> = jobs.extract_if(.., of_stream).collect();
            let publishers = offered.stream.offer_publishers(&offered.verdict, connected(&jobs, true));
            // From here on a verdict comes, whatever fails.
            self.streams.push(offered);
            begun.push((publishers, jobs));
        }
        let offered = std::mem::take(&mut self.streams);
        let mut goes = Vec::new();
        for (offered, (publishers, jobs)) in offered.into_iter().zip(begun) {
            let publishers = publishers.and_then(|wait| wait.map_or(Ok(Vec::new()), |wait| self.outcome(&wait)));
            let offer = || offered.stream.offer(&offered.verdict, connected(&jobs, false));
            match publishers.and_then(|publishers| Ok((publishers, offer()?))) {
                Ok((publishers, relay)) => {
                    self.streams.push(offered);
                    goes.push((publishers, jobs, relay));
                }
                Err(failure) => stays(&offered.stream, &failure),
            }
        }
        let offered = std::mem::take(&mut self.streams);
        let mut of_several = Vec::new();
        for (offered, (publishers, mut jobs, relay)) in offered.into_iter().zip(goes) {
            let made = self.outcome(&relay).and_then(|stream| {
                if clock::now_ms() >= self.by_ms {
                    return Err(Failure::ours(RRError::Timeout, "the states of others took too long"));
                }
                match stream.parts.export(usize::MAX)? {
                    StreamExport::State(state) => Ok((state, stream.players, stream.targets)),
                    StreamExport::Needs(_) => Err(RRError::Limit.into()),
                }
            });
            match made {
                Ok((state, players, targets)) => {
                    self.streams.push(offered);
                    self.say(channel, kind::STREAM, &state, None)?;
                    drop(state);
                    for publisher in &publishers {
                        match publisher {
                            OfferedPublisher::Session(session) => self.send_session(channel, session)?,
                            OfferedPublisher::Source(source) => self.send_target(channel, source, &mut jobs)?,
                        }
                    }
                    let (several, one): (Vec<_>, Vec<_>) =
                        players.into_iter().partition(|player| player.besides.is_some());
                    self.send_sessions(channel, &one)?;
                    of_several.extend(several);
                    for target in &targets {
                        self.send_target(channel, target, &mut jobs)?;
                    }
                    self.send_targets(channel, jobs)?;
                }
                Err(failure) => stays(&offered.stream, &failure),
            }
        }
        self.send_players_of_several(channel, &of_several)
    }

    /// Sends the players of several streams all of which go, after these.
    fn send_players_of_several(&mut self, channel: &FdChannel, players: &[OfferedSession]) -> Result<()> {
        let goes = |id| self.streams.iter().any(|offered| offered.stream.id() == id);
        let (go, stay): (Vec<_>, Vec<_>) =
            players.iter().partition(|player| player.besides.as_ref().is_none_or(|besides| besides.go(goes)));
        if !stay.is_empty() {
            log::info!("{} players stay in this process with a stream that they play", stay.len());
        }
        go.into_iter().try_for_each(|player| self.send_session(channel, player))
    }

    fn send_sessions(&mut self, channel: &FdChannel, sessions: &[OfferedSession]) -> Result<()> {
        sessions.iter().try_for_each(|session| self.send_session(channel, session))
    }

    fn send_session(&mut self, channel: &FdChannel, session: &OfferedSession) -> Result<()> {
        self.say(channel, kind::SESSION, &session.state, Some(session.fd.as_fd()))?;
        self.sessions += 1;
        Ok(())
    }

    /// Sends a target or source with its connection; then there is nothing more to do for it.
    fn send_target(&self, channel: &FdChannel, target: &OfferedTarget, jobs: &mut Vec<OfferedJob>) -> Result<()> {
        self.say(channel, kind::TARGET, &target.state, Some(target.fd.as_fd()))?;
        jobs.retain(|job| job.target.id != target.id);
        Ok(())
    }

    /// Ends here what the new process has, and drains the rest.
    fn end(self) {
        // First, so that nobody is accepted here any more, and who is left knows that there is somebody else.
        self.core.drain(None, self.drain_ms);
        // The dialler takes this news when it goes on, before it does anything else with these targets.
        for target in &self.targets {
            self.core.end_exported_target(target);
            self.core.tell_dialler(target, News::Over);
        }
        let drains = self.streams.iter().filter_map(|offered| Some((&offered.stream, offered.drain_ms?)));
        drains.for_each(|(stream, drain_ms)| stream.stop(drain_ms));
        self.settle(true);
        let others = self.streams.iter().filter(|offered| offered.drain_ms.is_none());
        others.for_each(|offered| offered.stream.stop(FLUSH_MS));
    }

    fn settle(&self, taken: bool) {
        self.streams.iter().for_each(|offered| offered.settle(taken));
        self.listener.settle(taken);
        self.core.listener_wake().wake();
        self.dialler.settle(taken);
        self.core.dial_wake().wake();
    }
}

/// The connected sources among these, or the connected targets.
fn connected(jobs: &[OfferedJob], sources: bool) -> Vec<(Arc<Target>, Backoff)> {
    let away = jobs.iter().filter(|job| job.pause.is_none() && job.target.is_source() == sources);
    away.map(|job| (Arc::clone(&job.target), job.history.clone())).collect()
}

/// Says that a stream stays in this process, and why.
fn stays(stream: &RRStream, failure: &Failure) {
    log::warn!("{} stays in this process: {failure}", stream.masked_name());
}

impl Drop for Offering<'_> {
    fn drop(&mut self) {
        // After a verdict this changes nothing.
        self.settle(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerConfig;
    use crate::log::LevelFilter;
    use crate::proto::message;
    use crate::server::RRServer;

    #[test]
    fn an_offer_that_fails_ends_no_hold_of_the_host() {
        const LONG_MS: u32 = 600_000;
        let server = RRServer::new(ServerConfig::default(), LevelFilter::Off, None).unwrap();
        let id = server.stream_create(b"live", b"show", None).unwrap();
        let stream = server.stream(id).unwrap();
        let is_held = || server.stream_write(id, message::kind::AUDIO, 0, &[0xaf, 1, 7], false).is_err();
        let offered = |hold| Offered { stream: Arc::clone(&stream), verdict: Arc::default(), hold, drain_ms: None };
        let offer = offered(stream.hold(LONG_MS));
        assert!(is_held());
        drop(offer);
        assert!(!is_held());
        let after = offered(stream.hold(LONG_MS));
        stream.hold(LONG_MS + 1);
        drop(after);
        assert!(is_held(), "it has come since");
        drop(offered(stream.hold(LONG_MS)));
        assert!(is_held(), "it was there before");
        drop(offered(Hold::default()));
        assert!(is_held(), "the stream's process goes on meanwhile");
        stream.hold(0);
        assert!(!is_held());
    }
}
