//! The ways into a stream that may be the first to need one of its threads: publishers, players, targets, and the
//! host's own messages. This file starts the threads; only the relays besides the first are started by that one.

use std::sync::Arc;

use crate::config::PublisherPolicy;
use crate::error::{Failure, RRError, Result, copied};
use crate::net::clock;
use crate::proto::message::MessageHead;
use crate::session::{Role, State};
use crate::stream::book::{Claim, HostClaim};
use crate::stream::egress::relay::Relay;
use crate::stream::event::EventKind;
use crate::stream::exported::MovedFeed;
use crate::stream::exported::stream::{ExportedStream, ToExport};
use crate::stream::front::RRStream;
use crate::stream::handover::{Delivery, ForAccumulate, NewPublisher, Pulled};
use crate::stream::ingest::accumulate::Accumulate;
use crate::stream::ingest::{Incoming, held};
use crate::stream::link::refused;
use crate::stream::offer::{OfferedPublisher, OfferedStream, Verdict};
use crate::stream::peer::Peer;
use crate::stream::process::adoption::{AdoptedSession, AdoptedTarget, Adoption, IsolatedStream, OfferedProcess};
use crate::stream::process::host::HostMessage;
use crate::stream::process::proxy::Proxy;
use crate::stream::process::wire::GoOn;
use crate::stream::record::{Caller, RRSession, TargetExport, Wait};
use crate::stream::relays::LEAD;
use crate::stream::remote::target::Target;
use crate::stream::remote::target::backoff::Backoff;
use crate::stream::start::run;
use crate::stream::threading::{Isolated, Threading};

impl RRStream {
    /// Makes a session the publisher, or a standby, according to the stream's policy. `was` is its place in another
    /// process, if it comes from there.
    ///
    /// # Errors
    /// [`RRError::Exists`] if there is an active publisher and the policy is to reject, [`RRError::Limit`] with too
    /// many standbys, [`RRError::State`] if the stream is ending, [`RRError::Again`] while its process may not be started.
    pub(crate) fn claim(self: &Arc<Self>, record: &Arc<RRSession>, was: Option<Claim>) -> Result<Claim> {
        let now_ms = clock::now_ms();
        record.set_read(now_ms);
        // When memory is short, or the stream moves to another process, a publisher may go unread for a while; that
        // does not make it silent.
        let is_read = !self.memory().budget().is_short() && !self.ingest().is_held(now_ms * 1000);
        let silent_ms = self.config().silent_ms.filter(|_| is_read);
        let silent_since_ms = silent_ms.map(|ms| now_ms.saturating_sub(ms.into()));
        self.claim_by(record, self.config().publisher_policy, silent_since_ms, was)
    }

    /// Gives a session the place that it has been given in the server's process. One that was to stand by is the
    /// publisher if there is none any more, unless it stood by in another server (`was`) for a publisher that is still on
    /// its way.
    ///
    /// # Errors
    /// Those of [`claim`](Self::claim).
    pub(in crate::stream) fn claim_as(
        self: &Arc<Self>,
        record: &Arc<RRSession>,
        claim: Claim,
        was: Claim,
    ) -> Result<Claim> {
        record.set_read(clock::now_ms());
        match claim {
            Claim::Live => self.claim_by(record, PublisherPolicy::Takeover, None, Some(Claim::Live)),
            Claim::Standby => self.claim_by(record, PublisherPolicy::Standby, None, Some(was)),
        }
    }

    fn claim_by(
        self: &Arc<Self>,
        record: &Arc<RRSession>,
        policy: PublisherPolicy,
        silent_since_ms: Option<u64>,
        was: Option<Claim>,
    ) -> Result<Claim> {
        may_start(self)?;
        start_relay(self)?;
        let claim = self.book().claim(record, policy, silent_since_ms, was)?;
        if claim == Claim::Live {
            self.sources().served();
        }
        record.set_stream(self.id());
        Ok(claim)
    }

    /// Hands the publisher's connection over to the accumulate thread.
    ///
    /// # Errors
    /// The peer, with the reason, if that thread cannot take it.
    pub(crate) fn hand_publisher(
        self: &Arc<Self>,
        peer: Peer,
        stream_id: u32,
        claim: Claim,
    ) -> std::result::Result<(), (Peer, Failure)> {
        let history = Backoff::default();
        let publisher = NewPublisher { peer, stream_id, claim, moved: None, source: None, ran_ms: 0, history };
        hand_to_accumulate(self, Box::new(publisher)).map_err(|(back, failure)| (back.peer, failure))
    }

    /// Hands over the connection of a publisher that continues from another process, with what was known of it there.
    ///
    /// # Errors
    /// As [`hand_publisher`](Self::hand_publisher).
    pub(crate) fn resume_publisher(
        self: &Arc<Self>,
        peer: Peer,
        stream_id: u32,
        claim: Claim,
        moved: MovedFeed,
    ) -> std::result::Result<(), (Peer, Failure)> {
        let moved = Some(Box::new(moved));
        let history = Backoff::default();
        let publisher = NewPublisher { peer, stream_id, claim, moved, source: None, ran_ms: 0, history };
        hand_to_accumulate(self, Box::new(publisher)).map_err(|(back, failure)| (back.peer, failure))
    }

    /// Takes a source that has had `Play.Start` as the publisher or as a standby.
    ///
    /// # Errors
    /// [`RRError::Exists`] if there is a publisher and the source may not stand by, [`RRError::Rejected`] if its media
    /// comes through this stream, [`RRError::State`] if the stream is ending, and [`RRError::Limit`]. On an error the
    /// connection is closed.
    pub(crate) fn hand_source(self: &Arc<Self>, source: &Arc<Target>, pulled: Pulled) -> Result<()> {
        let Pulled { mut conn, via, history, moved } = pulled;
        let stream_id = conn.client().map_or(1, |session| session.stream_id());
        // In the stream's book the session has the source's id; it is in no table of the server.
        let record = Arc::new(RRSession::new(source.id, source.way().addr, None, conn.socket.local_name()));
        record.rename(|names| (names.app, names.key) = (self.name().app.clone(), self.name().key.clone()));
        record.set_tls(conn.socket.is_tls());
        self.comes_via(&record, &via)?;
        start_relay(self)?;
        let was = moved.as_ref().map(|(moved, _)| moved.was());
        let claim = self.book().claim_for_source(&record, self.may_stand_by(source), was)?;
        match claim {
            Claim::Live => self.sources().served(),
            // The stream waits for the session that publishes.
            Claim::Standby => self.opening(false),
        }
        source.move_to(State::Waiting, |event| event);
        let peer = Peer::new(conn, Arc::clone(&record));
        let (moved, ran_ms) = moved.map_or((None, 0), |(moved, ran_ms)| (Some(moved), ran_ms));
        // While nobody plays, the time of a source on demand runs.
        self.sources().changed();
        let publisher =
            NewPublisher { peer, stream_id, claim, moved, source: Some(Arc::clone(source)), ran_ms, history };
        hand_to_accumulate(self, Box::new(publisher)).map_err(|(_, failure)| {
            self.release(&record);
            failure
        })
    }

    /// Lets accumulate export a connected source, which is to connect `anew` where its TLS ends in another process of the
    /// server. If it cannot, whoever waits for the outcome learns that there is none.
    pub(crate) fn export_source(
        self: &Arc<Self>,
        source: Arc<Target>,
        history: Backoff,
        (room, anew): (usize, bool),
        caller: Caller<TargetExport>,
    ) {
        if start_accumulate(self, Accumulate::new).is_ok() {
            let order = ForAccumulate::ExportSource { source, history, room, anew, caller };
            let _ = self.accumulate().send(order, |_, _| {});
        }
    }

    /// Adds a player to the book; from now on it counts as a watcher.
    ///
    /// # Errors
    /// [`RRError::State`] if the stream is ending, [`RRError::Again`] while its process may not be started.
    pub(crate) fn admit(self: &Arc<Self>, record: &Arc<RRSession>) -> Result<()> {
        may_start(self)?;
        start_relay(self)?;
        self.book().admit(record)?;
        record.set_stream(self.id());
        let (tell, serving) = self.sources().player_came(!self.has_publisher());
        if tell {
            self.life().tell(EventKind::Wanted);
        }
        serving.iter().for_each(|source| self.upcalls().dial(source));
        Ok(())
    }

    /// Hands something over to the relay thread.
    ///
    /// # Errors
    /// The delivery, with the reason, if that thread cannot take it.
    #[allow(clippy::result_large_err, reason = "what was not taken goes back whole, once in a connection's life")]
    pub(crate) fn deliver(self: &Arc<Self>, delivery: Delivery) -> std::result::Result<(), (Delivery, Failure)> {
        match start_relay(self) {
            Ok(()) => self.hand_to_relay(LEAD, delivery),
            Err(failure) => Err((delivery, failure)),
        }
    }

    /// Continues a stream of another process, whose publisher is to come within this time. No peer has come to this
    /// stream yet. Where it has a process of its own, it is that which continues it, and the outcome is to be waited for.
    ///
    /// # Errors
    /// [`RRError::Limit`] and [`RRError::NoMem`] if there is no room for the tail, [`RRError::State`] if the stream is
    /// ending, [`RRError::Again`] while its process may not be started. The stream is then of no use.
    pub(crate) fn resume(self: &Arc<Self>, exported: &ExportedStream, within_ms: u64) -> Result<Option<Wait<()>>> {
        if let Threading::Process(isolated) = self.threading() {
            may_start(self)?;
            start_proxy(self, isolated)?;
            let message = GoOn::with(&exported.state()?, within_ms)?;
            let memory = self.memory().budget().charge_about(message.len())?;
            self.book().keep_place(exported.publisher_moves);
            self.life().recovers();
            let (caller, wait) = Caller::new();
            let order = Delivery::GoOn { message, memory, caller };
            return self.deliver(order).map(|()| Some(wait)).map_err(|(_, failure)| failure);
        }
        let now_us = clock::now_us();
        // First: where the relay begins, the tail does.
        self.relays().lead().start(self.threading(), |spot, inbox| {
            let begin = self.ingest().cursor();
            let (bytes, until_us) = (exported.tail.len() as u64, now_us + within_ms * 1000);
            let relay = Relay::new(Arc::clone(self), begin.clone()).keeping_tail(begin, bytes, until_us);
            run(self, "relayDataThread", spot, relay, inbox)
        })?;
        let (from, headers) = (exported.from.clone(), exported.header_messages());
        self.ingest().resume(from, &exported.clock, &headers, |take| exported.messages(take), now_us)?;
        self.book().keep_place(exported.publisher_moves);
        self.life().recovers();
        self.relays().wake_for_data();
        let until_ms = now_us / 1000 + within_ms;
        start_accumulate(self, |stream| Accumulate::new(stream).waiting_until(until_ms))?;
        self.accumulate().wake();
        Ok(None)
    }

    /// Lets the relay give what the state is made of with which the stream continues in another process.
    ///
    /// # Errors
    /// [`RRError::State`] where the stream is ending.
    pub(crate) fn export(self: &Arc<Self>, room: usize, caller: Caller<ToExport>) -> Result<()> {
        self.deliver(Delivery::Export { room, caller, of_others: None }).map_err(|(_, failure)| failure)
    }

    /// Lets accumulate offer the publisher and the standbys to another process, these connected sources among them. It
    /// does nothing from then on until the verdict. `None` if nobody has ever published, so that there is nothing to wait
    /// for.
    ///
    /// # Errors
    /// [`RRError::State`] if the stream is ending, or if the host publishes.
    pub(crate) fn offer_publishers(
        &self,
        verdict: &Arc<Verdict>,
        sources: Vec<(Arc<Target>, Backoff)>,
    ) -> Result<Option<Wait<Vec<OfferedPublisher>>>> {
        if !self.accumulate().is_made() {
            return Ok(None);
        }
        let (caller, wait) = Caller::new();
        let order = ForAccumulate::Offer { verdict: Arc::clone(verdict), sources, caller };
        self.accumulate().send(order, |_, _| {}).map_err(|_| refused())?;
        Ok(Some(wait))
    }

    /// Lets the relay offer the stream, its players and these targets to another process, after the publishers. It does
    /// nothing from then on until the verdict.
    ///
    /// # Errors
    /// [`RRError::State`] if the stream is ending.
    pub(crate) fn offer(
        self: &Arc<Self>,
        verdict: &Arc<Verdict>,
        targets: Vec<(Arc<Target>, Backoff)>,
    ) -> Result<Wait<OfferedStream>> {
        let (caller, wait) = Caller::new();
        let order = Delivery::Offer { verdict: Arc::clone(verdict), targets, caller, of_others: None };
        self.deliver(order).map_err(|(_, failure)| failure)?;
        Ok(wait)
    }

    /// Lets the proxy offer the stream's worker to another process. It does nothing from then on until the verdict.
    ///
    /// # Errors
    /// [`RRError::State`] if the stream is ending.
    pub(crate) fn offer_process(self: &Arc<Self>, verdict: &Arc<Verdict>) -> Result<Wait<OfferedProcess>> {
        let (caller, wait) = Caller::new();
        let order = Delivery::OfferProcess { verdict: Arc::clone(verdict), caller };
        self.deliver(order).map_err(|(_, failure)| failure)?;
        Ok(wait)
    }

    /// Goes on with the crashes of its processes that another server knows of.
    pub(crate) fn note_crashes(&self, isolated: &IsolatedStream) {
        if let (Threading::Process(here), Some(crashes)) = (self.threading(), &isolated.crashes) {
            here.supervisor.go_on(crashes.clone(), clock::now_ms());
        }
    }

    /// Takes over a worker that another process has left to this one, with all that it has. Nobody has come to this stream
    /// yet.
    ///
    /// # Errors
    /// The worker, with the reason, if the stream is ending.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        adoption: Box<Adoption>,
    ) -> std::result::Result<(), (Box<Adoption>, Failure)> {
        let leave = |adoption: &Adoption| {
            for session in &adoption.sessions {
                self.book().lose(&session.record, false);
            }
        };
        if let Err(failure) = self.enter_adopted(&adoption) {
            leave(&adoption);
            return Err((adoption, failure));
        }
        for AdoptedSession { record, state, .. } in &adoption.sessions {
            if *state != record.state() {
                let prev = record.set_state(*state);
                self.upcalls().event(record.event(EventKind::Session).moved(prev, *state));
            }
        }
        for AdoptedTarget { target, state, .. } in &adoption.targets {
            if matches!(state, State::Waiting | State::InProgress) {
                target.move_to(State::Waiting, |event| event);
                target.move_to(*state, |event| event);
            }
        }
        match self.deliver(Delivery::Adopt(adoption)) {
            Err((Delivery::Adopt(adoption), failure)) => {
                leave(&adoption);
                Err((adoption, failure))
            }
            _ => Ok(()),
        }
    }

    /// Gives those whom a worker has their places on the book.
    fn enter_adopted(self: &Arc<Self>, adoption: &Adoption) -> Result<()> {
        start_relay(self)?;
        let sources = adoption.targets.iter().filter(|adopted| adopted.target.is_source());
        let sources = sources.map(|adopted| {
            let target = &adopted.target;
            let record = RRSession::new(target.id, target.way().addr, None, target.way().local_addr);
            record.rename(|names| (names.app, names.key) = (self.name().app.clone(), self.name().key.clone()));
            record.set_read(adopted.read_ms);
            target.set_served(target.endpoint());
            Arc::new(record)
        });
        let (players, publishers): (Vec<_>, Vec<_>) = adoption.sessions.iter().partition(|session| session.plays());
        let publishers = publishers.into_iter().map(|session| Arc::clone(&session.record)).chain(sources);
        let (publishers, places) = (publishers.collect::<Vec<_>>(), adoption.places());
        publishers.iter().for_each(|record| record.set_stream(self.id()));
        let is_source = |id| adoption.targets.iter().any(|adopted| adopted.target.id == id);
        self.book().enter_adopted(publishers, &places, is_source)?;
        if self.has_publisher() {
            self.sources().served();
        }
        for AdoptedSession { record, .. } in players {
            record.set_role(Role::Player);
            self.admit(record)?;
        }
        self.sources().changed();
        Ok(())
    }

    /// Adds a target. It is dialled as soon as the stream has media, at once if it has media already.
    ///
    /// # Errors
    /// [`RRError::State`] if the stream is ending.
    pub(crate) fn add_target(self: &Arc<Self>, target: &Arc<Target>) -> Result<()> {
        start_relay(self)?;
        self.book().add_target(target)?;
        if matches!(self.state(), State::InProgress | State::Recovering) {
            self.upcalls().dial(target);
        }
        Ok(())
    }

    /// Appends a message of the host's own. The first one makes the host the publisher; `end` ends its publish. Where
    /// the stream has a process of its own, the message goes there. False, without `may_begin`, if the host does not
    /// publish; then nothing has been done.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a time below 0, [`RRError::Exists`] if a session publishes, [`RRError::State`] if the
    /// stream is ending, [`RRError::Limit`] if memory is short (the host never waits for memory). Where the stream has a
    /// process of its own, also [`RRError::Limit`] if that does not take messages so fast, [`RRError::Worker`] once after
    /// its end, and [`RRError::Again`] while it may not be started.
    pub(crate) fn write(
        self: &Arc<Self>,
        type_id: u8,
        ts_ms: i64,
        body: &[u8],
        end: bool,
        may_begin: bool,
    ) -> Result<bool> {
        let carries = !(end && body.is_empty());
        if carries && ts_ms < 0 {
            return Err(Failure::ours(RRError::Arg, format!("ts_ms is {ts_ms}, below 0")));
        }
        if !may_begin && !self.book().host_publishes() {
            return Ok(false);
        }
        may_start(self)?;
        start_relay(self)?;
        match self.book().claim_for_host(!carries, may_begin)? {
            HostClaim::None => {}
            // Another thread has ended the host's publish a moment ago.
            HostClaim::Closed => return Ok(false),
            HostClaim::New => {
                self.sources().served();
                self.begin_feed();
            }
            HostClaim::Had => {
                if let Some(failure) = self.memory().eviction() {
                    if let Threading::Process(Isolated { host, .. }) = self.threading() {
                        let memory = self.memory().budget().nothing();
                        host.push(HostMessage { type_id, ts_ms: 0, body: Vec::new(), end: true, memory })?;
                    }
                    self.end_host();
                    self.check_unused();
                    return Err(failure);
                }
            }
        }
        if let Threading::Process(Isolated { host, .. }) = self.threading() {
            if carries && self.ingest().is_held(clock::now_us()) {
                return Err(held());
            }
            let memory = self.memory().budget().charge_about(body.len())?;
            host.push(HostMessage { type_id, ts_ms, body: copied(body)?, end, memory })?;
            self.relays().wake_for_data();
        } else if carries {
            // The wire's clock wraps at 2^32 ms, so it has the low bits.
            let head = MessageHead { timestamp_ms: ts_ms as u32, type_id, ..MessageHead::default() };
            self.ingest().push(&Incoming::new(head, body, clock::now_us()))?;
            self.relays().wake_for_data();
        }
        if end {
            self.end_host();
            self.check_unused();
        }
        Ok(true)
    }
}

fn hand_to_accumulate(
    stream: &Arc<RRStream>,
    publisher: Box<NewPublisher>,
) -> std::result::Result<(), (Box<NewPublisher>, Failure)> {
    let link = stream.accumulate();
    if let Err(failure) = start_accumulate(stream, Accumulate::new) {
        return Err((publisher, failure));
    }
    let sent = link.send(ForAccumulate::Publisher(publisher), |item, wake| {
        if let ForAccumulate::Publisher(publisher) = item {
            publisher.peer.record.set_owner(Arc::clone(wake));
        }
    });
    match sent {
        Err(ForAccumulate::Publisher(publisher)) => Err((publisher, refused())),
        _ => Ok(()),
    }
}

fn start_accumulate(stream: &Arc<RRStream>, make: impl FnOnce(Arc<RRStream>) -> Accumulate) -> Result<()> {
    if let Threading::Process(isolated) = stream.threading() {
        return start_proxy(stream, isolated);
    }
    stream
        .accumulate()
        .start(stream.threading(), |spot, inbox| run(stream, "accmDataThread", spot, make(Arc::clone(stream)), inbox))
}

/// Starts the relay before the first byte, because its first cursor has to be where the log begins. The cursor is made
/// here and not in the thread, which may first run when media has already come.
fn start_relay(stream: &Arc<RRStream>) -> Result<()> {
    if let Threading::Process(isolated) = stream.threading() {
        return start_proxy(stream, isolated);
    }
    stream.relays().lead().start(stream.threading(), |spot, inbox| {
        run(stream, "relayDataThread", spot, Relay::new(Arc::clone(stream), stream.ingest().cursor()), inbox)
    })
}

/// Refuses whoever needs the stream's process, if it has one, while that may not be started.
fn may_start(stream: &RRStream) -> Result<()> {
    match stream.threading() {
        Threading::Process(isolated) => isolated.supervisor.may_start(clock::now_ms()),
        Threading::Own | Threading::Shared(_) => Ok(()),
    }
}

/// Starts the task that stands for both in this process.
fn start_proxy(stream: &Arc<RRStream>, isolated: &Isolated) -> Result<()> {
    stream.relays().lead().start(stream.threading(), |spot, inbox| {
        let publishers = stream.accumulate().join(&spot.wake)?;
        let (workers, supervisor) = (Arc::clone(&isolated.workers), Arc::clone(&isolated.supervisor));
        let proxy = Proxy::new(Arc::clone(stream), workers, supervisor, Arc::clone(&isolated.host), publishers);
        run(stream, "streamsThread", spot, proxy, inbox)
    })
}
