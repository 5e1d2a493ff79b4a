//! Who comes to the proxy: publishers, players, targets and sources, with their connections, on their way to the worker.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::super::note::Note;
use super::super::starts::Row;
use super::super::wire::{Begin, Crashes, Handle, PROTOCOL, ToWorker, Waits};
use super::link::Link;
use super::{Proxy, STAYS, WorkerSession, WorkerTarget, refuse};
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::conn::Conn;
use crate::net::event_loop::Io;
use crate::net::socket::half_close;
use crate::session::Role;
use crate::stream::book::Claim;
use crate::stream::event::Id;
use crate::stream::exported::stream::ExportedStream;
use crate::stream::exported::target::{About, MovedPull, MovedPush};
use crate::stream::exported::{self, Doing, MovedFeed, Named, Playing, Publishing};
use crate::stream::handover::{ForAccumulate, NewPublisher};
use crate::stream::log::lineage::LogPlace;
use crate::stream::peer::Peer;
use crate::stream::process::host::HostMessage;
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::source::{self, Goes};
use crate::stream::remote::target::Target;
use crate::stream::remote::target::backoff::Backoff;

impl Proxy {
    // ---- sessions

    /// Takes the publishers that have come.
    pub(super) fn take_publishers(&mut self, io: &mut Io<'_>) {
        let refused = || Failure::ours(RRError::Unsupported, STAYS);
        while let Ok(message) = self.publishers.try_recv() {
            match *message {
                ForAccumulate::Publisher(publisher) => self.take_publisher(*publisher, io),
                ForAccumulate::Offer { caller, .. } => refuse(&caller, refused()),
                ForAccumulate::ExportSource { source, history, room, caller, .. } => {
                    self.export_target(&source, history, (room, caller), io.now_us / 1000);
                }
            }
        }
    }

    /// Sends a publisher or standby to the worker.
    pub(super) fn take_publisher(&mut self, mut publisher: NewPublisher, io: &mut Io<'_>) {
        if publisher.source.is_some() {
            return self.take_source(publisher, io);
        }
        let record = Arc::clone(&publisher.peer.record);
        let (stream_id, standby) = (publisher.stream_id, publisher.claim == Claim::Standby);
        let feed = publisher.moved.take().map_or_else(MovedFeed::default, |moved| *moved);
        let doing = Doing::Publishes(Publishing { stream_id, named: Named::of(&record), feed });
        match self.send_session(&mut publisher.peer, &doing, standby, io) {
            Ok(handle) => {
                let conn = publisher.peer.conn;
                self.sessions.insert(handle, WorkerSession::sent(record, Vec::new(), conn, io.now_us / 1000));
            }
            Err(failure) => self.refuse_publisher(publisher, &failure),
        }
    }

    /// Sends a player to the worker.
    pub(super) fn take_player(&mut self, mut peer: Peer, io: &mut Io<'_>) {
        let record = Arc::clone(&peer.record);
        record.set_role(Role::Player);
        let sent = playing(&mut peer, self.stream.id())
            .and_then(|playing| self.send_session(&mut peer, &Doing::Plays(playing), false, io));
        match sent {
            Ok(handle) => {
                let Peer { subscriptions, conn, .. } = peer;
                self.sessions.insert(handle, WorkerSession::sent(record, subscriptions, conn, io.now_us / 1000));
            }
            Err(failure) => self.refuse_player(peer, &failure),
        }
    }

    fn send_session(&mut self, peer: &mut Peer, doing: &Doing, standby: bool, io: &mut Io<'_>) -> Result<Handle> {
        self.may_come()?;
        self.plain(&mut peer.conn, io)?;
        // The answer to its request goes out there: a peer that has it finds the stream ready.
        let state = exported::state_of(&mut peer.conn, &peer.record, doing, io.now_us / 1000)?;
        let fd = peer.conn.second_fd()?;
        let (id, note) = (self.next_handle(), Note::of(&peer.record).encode()?);
        let message = ToWorker::Session { id, standby, state: &state, note: &note };
        self.link(io)?.send(&message, Some(fd))?;
        Ok(id)
    }

    /// Ends a publisher that cannot go to the worker.
    pub(super) fn refuse_publisher(&self, publisher: NewPublisher, failure: &Failure) {
        let NewPublisher { mut peer, stream_id, source, .. } = publisher;
        if let Some(session) = peer.conn.inbound() {
            session.end_publish(stream_id, "NetStream.Publish.Denied", &failure.text);
        }
        let _ = peer.conn.flush();
        half_close(&mut peer.conn.socket);
        self.stream.book().lose(&peer.record, false);
        match source {
            Some(source) => source::over(&**self.stream.upcalls(), &source, failure, Goes::Lost, 0),
            None => self.stream.upcalls().session_over(&peer.record, failure),
        }
        self.stream.call_sources();
        self.stream.check_unused();
    }

    /// Ends a player that cannot go to the worker.
    pub(super) fn refuse_player(&self, mut peer: Peer, failure: &Failure) {
        let stream_id = peer.subscriptions.last().map_or(1, |newest| newest.stream_id());
        if let Some(session) = peer.conn.inbound() {
            session.fail_play(stream_id, "NetStream.Play.Failed", &failure.text);
        }
        let _ = peer.conn.flush();
        half_close(&mut peer.conn.socket);
        self.stream.upcalls().session_over(&peer.record, failure);
        // The player leaves the book with its subscription, which is dropped here.
    }

    /// Lets TLS end here, if the connection has it.
    fn plain(&mut self, conn: &mut Conn, io: &mut Io<'_>) -> Result<()> {
        if conn.socket.is_tls() {
            self.pumps.begin(conn, self.stream.memory().private(), io)?;
        }
        Ok(())
    }

    // ---- targets and sources

    /// Sends a connected target to the worker; `moved` is what another server knew of it.
    pub(super) fn take_target(
        &mut self,
        target: Arc<Target>,
        mut conn: Conn,
        (endpoint, history): (Arc<Endpoint>, Backoff),
        moved: Option<Box<MovedPush>>,
        io: &mut Io<'_>,
    ) {
        let now_ms = io.now_us / 1000;
        let push = moved.map_or_else(MovedPush::new, |moved| *moved);
        target.counters.received(target.counters.bytes_in.get(), conn.bytes_in(), io.now_us);
        let plain = self.may_come().and_then(|()| self.plain(&mut conn, io));
        let state = plain.and_then(|()| About::of(&target, history).pushing(&mut conn, &push, now_ms));
        match state.and_then(|state| self.send_target(&state, &conn, io)) {
            Ok(handle) => {
                let ran = (now_ms, push.ran_ms);
                self.targets.insert(handle, WorkerTarget::sent(target, endpoint, None, conn, ran));
            }
            Err(_) if target.is_stopped() => self.stream.upcalls().target_over(&target),
            Err(failure) => self.stream.upcalls().target_lost(&target, &failure, 0),
        }
    }

    /// Sends a connected source to the worker.
    fn take_source(&mut self, mut publisher: NewPublisher, io: &mut Io<'_>) {
        let Some(source) = publisher.source.clone() else { return };
        let feed = publisher.moved.take().map_or_else(MovedFeed::default, |moved| *moved);
        let (via, ran_ms) = (publisher.peer.record.names().via, publisher.ran_ms);
        let plain = self.may_come().and_then(|()| self.plain(&mut publisher.peer.conn, io));
        let conn = &mut publisher.peer.conn;
        let pull = MovedPull { feed, via, ran_ms };
        source.counters.received(source.counters.bytes_in.get(), conn.bytes_in(), io.now_us);
        source.counters.sent(conn.bytes_out(), io.now_us);
        let about = About::of(&source, publisher.history.clone());
        let state = plain.and_then(|()| about.pulling(conn, &pull, io.now_us / 1000));
        match state.and_then(|state| self.send_target(&state, conn, io)) {
            Ok(handle) => {
                let Peer { conn, record, .. } = publisher.peer;
                let (endpoint, ran) = (source.endpoint(), (io.now_us / 1000, ran_ms));
                self.targets.insert(handle, WorkerTarget::sent(source, endpoint, Some(record), conn, ran));
            }
            Err(failure) => self.refuse_publisher(publisher, &failure),
        }
    }

    fn send_target(&mut self, state: &[u8], conn: &Conn, io: &mut Io<'_>) -> Result<Handle> {
        let (id, fd) = (self.next_handle(), conn.second_fd()?);
        self.link(io)?.send(&ToWorker::Target { id, state }, Some(fd))?;
        Ok(id)
    }

    // ---- the host's own messages

    /// Sends what the host publishes, as fast as the worker takes it.
    pub(super) fn take_host_messages(&mut self, io: &mut Io<'_>) {
        let stops = self.stream.stop_by_ms().is_some();
        if stops && self.worker.is_none() {
            // No worker is started for a stream that ends.
            return self.host.fail();
        }
        // While nothing is appended, they would be lost there. The worker hears of the end of that before they come.
        let now_us = clock::now_us();
        let is_held = !stops && self.stream.ingest().is_held(now_us);
        if !self.moving.is_no() || self.host.is_empty() || is_held {
            return;
        }
        if let Err(failure) = self.order_hold(now_us / 1000) {
            return self.end_worker(&failure);
        }
        while !self.host.is_empty() {
            // The end of a worker fails all that wait, once.
            if self.worker.as_ref().is_some_and(|link| link.is_ending() || (link.is_busy() && !stops)) {
                return;
            }
            let Some(HostMessage { type_id, ts_ms, body, end, memory: _memory }) = self.host.take() else { return };
            let message = ToWorker::Write { type_id, ts_ms, body: &body, end };
            if let Err(failure) = self.link(io).and_then(|link| link.send(&message, None)) {
                log::debug!("{}: {failure}", self.stream.masked_name());
                if !self.worker.as_ref().is_some_and(Link::is_ending) {
                    self.host.fail();
                }
                return;
            }
        }
    }

    // ---- the worker

    /// Whether anybody may come to the worker now.
    ///
    /// # Errors
    /// [`RRError::Again`] while another process takes it over.
    pub(super) fn may_come(&self) -> Result<()> {
        if self.moving.is_no() {
            return Ok(());
        }
        Err(Failure::ours(RRError::Again, "another process just takes the stream over: try again"))
    }

    /// The link to the worker, which is begun where there is none.
    pub(super) fn link(&mut self, io: &mut Io<'_>) -> Result<&mut Link> {
        if self.worker.is_none() {
            self.sent_changes = Some(self.changes());
            let mut link = Link::new(self.begin(io.now_us)?.encode()?, log::max_level());
            link.start(&self.workers, &self.supervisor, &self.stream.config(), io.now_us / 1000, io)?;
            self.worker = Some(link);
        }
        match &mut self.worker {
            Some(link) if link.is_ending() => Err(link.refusal()),
            Some(link) => Ok(link),
            None => Err(Failure::from(RRError::Worker)),
        }
    }

    /// The first message to a worker.
    fn begin(&self, now_us: u64) -> Result<OwnedBegin> {
        let stream = &self.stream;
        let step = stream.upcalls().step(stream.id());
        let state = self.without_log(stream.book().is_reserved(), now_us).state()?;
        let (_, crashes) = self.supervisor.past(now_us / 1000);
        Ok(OwnedBegin { stream: stream.id(), state, step, crashes, workers: Arc::clone(&self.workers) })
    }

    /// The stream without a log: its name and its settings.
    pub(super) fn without_log(&self, reserved: bool, now_us: u64) -> ExportedStream {
        let stream = &self.stream;
        ExportedStream {
            name: stream.name().clone(),
            config: (*stream.config()).clone(),
            reserved,
            publisher_moves: false,
            clock: stream.ingest().clock_state(now_us),
            from: LogPlace { log: stream.upcalls().step(stream.id()).into_bytes(), position: 0 },
            headers: Vec::new(),
            tail: Vec::new(),
            flags: Vec::new(),
        }
    }
}

struct OwnedBegin {
    stream: Id,
    state: Vec<u8>,
    step: String,
    crashes: Option<Row>,
    workers: Arc<super::Workers>,
}

impl OwnedBegin {
    fn encode(&self) -> Result<(u8, Vec<u8>)> {
        let config = &self.workers.config;
        ToWorker::Begin(Begin {
            stream: self.stream,
            state: &self.state,
            step: &self.step,
            max_message: config.max_message_bytes,
            handshake_ms: config.handshake_ms,
            ask_ms: config.ask_ms,
            first_data_ms: config.first_data_ms,
            idle_ms: config.idle_ms,
            ping_ms: config.ping_ms,
            send_ms: config.send_ms,
            mem_limit: self.workers.mem_limit(),
            log_level: log::max_level() as u32,
            protocol: PROTOCOL,
            orphan: config
                .worker
                .dir
                .as_deref()
                .map(|dir| Waits { dir: dir.as_os_str().as_bytes(), within_ms: config.worker.orphan_ms.into() }),
            crashes: self.crashes.as_ref().map(Crashes::of),
        })
        .encode()
    }
}

/// What a player that has come plays.
fn playing(peer: &mut Peer, stream: Id) -> Result<Playing> {
    if peer.subscriptions.iter().any(|play| play.stream().id() != stream) {
        let text = "a connection plays one stream where streams have processes of their own";
        return Err(Failure::ours(RRError::Unsupported, text));
    }
    let plays = peer.subscriptions.iter_mut().map(|subscription| {
        let mut play = subscription.play(b"")?;
        // How far it has got in another server.
        if let Some(share) = subscription.take_moved() {
            play.share = *share;
        }
        Ok(play)
    });
    let plays = plays.collect::<Result<_>>()?;
    Ok(Playing { plays, named: Named::of(&peer.record), unsent: std::mem::take(&mut peer.unsent), asks: None })
}
