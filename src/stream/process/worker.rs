//! The worker: a process that runs one stream of a server. The stream here is as any other, except that its sessions
//! and targets, with their ids, come over the channel, and that what a server does for a stream is told to that of the
//! channel (`server`).
//!
//! The main thread reads the channel and reports figures, a second thread writes it; the stream has its own two. So a
//! server that is slow to read delays no media.
//!
//! A worker outlives its server's process where another process takes over its end of the channel. Meanwhile it tells
//! nothing; before that it has described what it has, for that process. Where it has a folder for that, it also outlives
//! a server that is killed, and waits there for the next one (`alone`).

mod alone;
mod deadman;
mod export;
mod leaving;
mod outbox;
mod pulse;
mod server;
mod waiting;

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use self::leaving::Leaving;
use self::outbox::Outbox;
use self::pulse::Ping;
use self::server::{Kept, Server, silent_ms};
use self::waiting::Alone;
use super::wire::{
    self, Begin, Cause, FIGURES, FiguresOf, Handle, Largest, PROTOCOL, ToServer, ToWorker, impossible, shown,
};
use crate::config::ServerConfig;
use crate::error::{Failure, RRError, Result, copied};
use crate::net::clock;
use crate::net::conn::{Conn, Side};
use crate::net::fd_channel::{FdChannel, Message};
use crate::net::poll::is_readable;
use crate::net::process::{self, Parent};
use crate::net::socket::{Socket, ip_of};
use crate::session::{SessionConfig, State};
use crate::stream::book::Claim;
use crate::stream::egress::subscription::Subscription;
use crate::stream::exported::stream::{self, ExportedStream};
use crate::stream::exported::target::{ExportedTarget, MovedPull, MovedPush, Stage};
use crate::stream::exported::{Doing, ExportedSession, Play, Playing, Publishing};
use crate::stream::front::RRStream;
use crate::stream::handover::{Delivery, Pulled};
use crate::stream::memory::GiveUp;
use crate::stream::memory::budget::Budget;
use crate::stream::peer::Peer;
use crate::stream::record::{Order, RRSession};
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::Target;
use crate::stream::stats::reported::Figures;
use crate::stream::threading::{Running, Threading};
use crate::stream::upcalls::Upcalls;

/// How often figures are reported.
const REPORT_MS: u64 = 250;

/// How often the main thread looks whether the stream has ended while it stops, or whether a session has been exported.
const LOOK_MS: u64 = 20;

/// Longest time for the first message to come. Later ones come whole, however long their server stands still meanwhile, under a
/// debugger, or their channel ends.
const FIRST_MS: u64 = 30_000;

/// The exit status after a panic in the stream.
const PANICKED: i32 = 101;

/// The main function of a program that may be a worker: its status, if the program was started as one with these
/// arguments.
///
/// # Errors
/// [`RRError::Arg`] if it was not, and those of [`process::enter`].
pub(crate) fn main(arguments: &[Vec<u8>]) -> Result<i32> {
    let no_worker = || Failure::ours(RRError::Arg, "this process was not started as a worker");
    // A worker whose stream could not run is one all the same.
    let is_worker = |failure: Failure| match failure.kind {
        RRError::Arg => Failure { kind: RRError::Protocol, ..failure },
        _ => failure,
    };
    let (channel, parent) = process::enter(arguments)?.ok_or_else(no_worker)?;
    run(channel, parent).map_err(is_worker)
}

/// Runs the stream that the process at the other end of the channel names, until it has ended there or here. Returns the
/// exit status of this process.
fn run(channel: OwnedFd, parent: Parent) -> Result<i32> {
    FdChannel::adopt(channel).and_then(|channel| Worker::begin(channel, parent)).and_then(Worker::run)
}

struct Worker {
    channel: Arc<FdChannel>,
    outbox: Outbox,
    server: Arc<Server>,
    stream: Arc<RRStream>,
    config: SessionConfig,
    parent: Parent,
    /// The figures of connections that were reported last.
    reported: HashMap<Handle, Figures>,
    /// What is to be given away, and was not yet.
    exports: Vec<Leaving>,
    /// The ping that is not answered yet.
    ping: Option<Ping>,
    stops: bool,
    pause: Pausing,
    /// How it goes on without a server, if it does.
    alone: Option<Alone>,
    has_server: bool,
    /// The last handle that was given.
    last_handle: Handle,
}

/// Whether the worker tells what happens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pausing {
    No,
    /// It is to pause once no session is being given away.
    Soon,
    Yes,
}

impl Worker {
    /// Takes the first message. No thread is started before it has come.
    fn begin(channel: FdChannel, parent: Parent) -> Result<Self> {
        let largest = Largest { state: wire::BEGIN_BYTES, stream: None };
        let Some(message) = channel.receive(|kind| largest.bytes_max(kind), clock::now_ms() + FIRST_MS)? else {
            return Err(Failure::ours(RRError::Closed, "the server has gone"));
        };
        let ToWorker::Begin(begin) = ToWorker::decode(&message.body)? else {
            return Err(impossible("a server begins with the stream"));
        };
        if begin.protocol != PROTOCOL {
            let text = format!(
                "this worker speaks version {PROTOCOL} of the messages between them, and the server version {}: it has to be \
                 restarted after an installation",
                begin.protocol
            );
            return Err(Failure::ours(RRError::Version, text));
        }
        let (exported, config) = (ExportedStream::read(begin.state)?, config_of(&begin));
        let channel = Arc::new(channel);
        let alone = Alone::of(&begin, &channel)?;
        if alone.is_some() {
            parent.release()?;
        }
        let outbox = Outbox::start(&channel, begin.log_level)?;
        let server = Arc::new(Server::new(&begin, &config, outbox.clone()));
        server.enter_thread();
        let upcalls = Arc::<Server>::clone(&server);
        let budget = Budget::of_server(begin.mem_limit, Box::new(|| {})).child();
        let ExportedStream { name, config: settings, .. } = exported;
        // It ends when its server says so, whoever it has.
        let stream = RRStream::new(begin.stream, name, settings, true, budget, Threading::Own, upcalls);
        let stream = Arc::new(stream);
        server.serves(&stream);
        server.tell(&ToServer::Ready, None);
        Ok(Self {
            channel,
            outbox,
            server,
            stream,
            config: SessionConfig::from(&config),
            parent,
            reported: HashMap::new(),
            exports: Vec::new(),
            ping: None,
            stops: false,
            pause: Pausing::No,
            alone,
            has_server: true,
            last_handle: 0,
        })
    }

    fn run(mut self) -> Result<i32> {
        let mut report_ms = clock::now_ms();
        loop {
            let now_ms = clock::now_ms();
            if self.is_late(now_ms) {
                return Ok(self.end_alone());
            }
            if !self.has_server {
                if self.wait_for_server(now_ms) {
                    return Ok(self.end_alone());
                }
                continue;
            }
            if now_ms >= report_ms {
                if self.pause != Pausing::Yes && !self.outbox.is_behind() {
                    self.report();
                }
                report_ms = now_ms + REPORT_MS;
            }
            self.tell_exports();
            if let Some(number) = self.ping.as_mut().and_then(Ping::answer) {
                self.ping = None;
                self.server.tell(&ToServer::Pong(number), None);
            }
            if self.pause == Pausing::Soon && self.exports.is_empty() {
                self.pause()?;
            }
            // Its end too is told only once somebody wants to know.
            if self.server.is_over() && self.pause != Pausing::Yes {
                return Ok(self.end());
            }
            self.outbox.check()?;
            let wait_ms = report_ms.saturating_sub(now_ms);
            let is_asked = self.ping.is_some() || !self.exports.is_empty();
            let wait_ms = if self.stops || is_asked { wait_ms.min(LOOK_MS) } else { wait_ms };
            let wait_ms = i32::try_from(wait_ms).unwrap_or(i32::MAX);
            if !is_readable(self.channel.as_raw_fd(), wait_ms) {
                continue;
            }
            match self.channel.receive(|kind| self.largest().bytes_max(kind), u64::MAX)? {
                Some(message) => self.take(message)?,
                None if self.loses_server() => {}
                None => return Ok(0),
            }
        }
    }

    /// Waits for the stream's threads, and tells the rest.
    fn end(mut self) -> i32 {
        self.stream.stop(0);
        self.stream.take_running().into_iter().for_each(Running::wait);
        let failed = self.stream.state() == State::Failed;
        self.report();
        if !failed {
            self.server.tell(&ToServer::Ends, None);
        }
        self.outbox.finish();
        if failed { PANICKED } else { 0 }
    }

    /// Describes what it has and tells nothing more. From here on the worker does not end with the process that started it,
    /// but with the last that has the other end of the channel.
    fn pause(&mut self) -> Result<()> {
        self.pause = Pausing::Yes;
        // The answer would come to a server that has not asked, and this one asks again.
        self.ping = None;
        self.parent.release()?;
        self.server.hold();
        self.server.describe()
    }

    /// Tells again what happens, and has happened meanwhile.
    fn resume(&mut self, bound: bool, level: u32) -> Result<()> {
        match &mut self.alone {
            Some(alone) => alone.has_server(&self.channel),
            None if bound => self.parent.bind()?,
            None => {}
        }
        self.outbox.set_level(level);
        // Who reads now may know no figures yet.
        self.reported.clear();
        self.pause = Pausing::No;
        self.server.resume()
    }

    // ---- messages

    /// The largest states that come.
    fn largest(&self) -> Largest {
        let state = ExportedSession::bytes_max(&self.config).max(ExportedTarget::bytes_max(&self.config));
        Largest { state, stream: Some(stream::BYTES_MAX) }
    }

    fn take(&mut self, Message { body, fd, .. }: Message) -> Result<()> {
        match ToWorker::decode(&body)? {
            ToWorker::Begin(_) => return Err(impossible("a stream begins once")),
            ToWorker::Session { id, standby, state, note } => {
                self.last_handle = self.last_handle.max(id);
                self.take_session(id, standby, (state, note), fd);
            }
            ToWorker::Target { id, state } => {
                self.last_handle = self.last_handle.max(id);
                self.take_target(id, state, fd);
            }
            ToWorker::Close { id, text } => self.order(id, Order::Close(text.to_owned())),
            ToWorker::Reconnect { id, url, text } => {
                self.order(id, Order::Reconnect(url.map(str::to_owned), text.to_owned()));
            }
            ToWorker::Export { id, room } => self.export(id, room),
            ToWorker::ExportTarget { id, room, anew, state } => self.export_target(id, (room, anew), state)?,
            ToWorker::ExportStream { room } => self.export_stream(room),
            ToWorker::GoOn { state, within_ms } => {
                let failure = self.go_on(state, within_ms).err();
                self.server.tell(&ToServer::GoesOn(failure.as_ref().map(Cause::of)), None);
            }
            ToWorker::Hold(ms) => drop(self.stream.hold(u32::try_from(ms).unwrap_or(u32::MAX))),
            ToWorker::StopTarget { id, within_ms } => {
                if let Some(target) = self.server.target(id) {
                    target.stop(within_ms);
                    self.stream.wake_relays();
                    self.stream.wake_accumulate();
                }
            }
            ToWorker::UpdateTarget { id, state } => self.update_target(id, state)?,
            ToWorker::Settings { state } => {
                self.stream.set_config(&self.stream.config(), ExportedStream::read(state)?.config)?;
                if let Some(alone) = &mut self.alone {
                    alone.state = copied(state)?;
                }
            }
            // Whoever it is may have gone.
            ToWorker::Switch(id) => drop(self.stream.switch(id)),
            ToWorker::Refuse { code, text } => {
                let failure = Failure::ours(RRError::Rejected, shown(text).into_owned());
                self.stream.refuse_players(wire::play_code(code), failure, 0);
            }
            ToWorker::GiveUp(step) => self.stream.give_up(match step {
                1 => GiveUp::Caches,
                2 => GiveUp::Cursors,
                _ => GiveUp::Holders,
            }),
            ToWorker::Evict => self.stream.evict_publisher(),
            ToWorker::Look => self.server.look(),
            ToWorker::Level(level) => self.outbox.set_level(level),
            ToWorker::Ping(number) => match &mut self.ping {
                Some(ping) => ping.again(),
                None => self.ping = Some(Ping::new(number, &self.stream)),
            },
            ToWorker::Write { type_id, ts_ms, body, end } => {
                if let Err(failure) = self.stream.write(type_id, ts_ms, body, end, true) {
                    log::warn!("a message of the host is lost: {failure}");
                }
            }
            ToWorker::Stop(within_ms) => {
                self.stops = true;
                self.stream.stop(within_ms);
            }
            ToWorker::Pause if self.pause == Pausing::No => self.pause = Pausing::Soon,
            ToWorker::Resume { bound, level } if self.pause == Pausing::Yes => self.resume(bound, level)?,
            ToWorker::Pause | ToWorker::Resume { .. } => return Err(impossible("a pause has a begin and an end")),
        }
        Ok(())
    }

    /// Leaves an order for a session, unless that has just ended.
    fn order(&self, id: Handle, order: Order) {
        if let Some(record) = self.server.session(id) {
            let _ = record.order(order);
        }
    }

    // ---- sessions

    fn take_session(&self, id: Handle, standby: bool, came: (&[u8], &[u8]), fd: Option<OwnedFd>) {
        if let Err(failure) = self.enter_session(id, standby, came, fd) {
            self.server.forget(id);
            self.server.tell(&ToServer::Over { id, cause: Cause::of(&failure) }, None);
        }
    }

    fn enter_session(
        &self,
        id: Handle,
        standby: bool,
        (state, note): (&[u8], &[u8]),
        fd: Option<OwnedFd>,
    ) -> Result<()> {
        let exported = ExportedSession::read(&self.config, state, clock::now_ms())?;
        let socket = Socket::adopt_connected(fd.ok_or_else(|| impossible("a session comes with its connection"))?)?;
        let (counters, bytes_in) = (exported.counters(), exported.conn_bytes_in());
        let ExportedSession { session, unread, doing, addr, local_addr, .. } = exported;
        let ip = ip_of(&addr).or_else(|| socket.peer_ip());
        let mut conn = Conn::resumed(socket, session.into(), unread, bytes_in);
        if log::log_enabled!(log::Level::Debug) {
            conn.set_name(&addr);
        }
        let record = Arc::new(RRSession::resumed(id, addr, ip, local_addr, counters));
        let mut peer = Peer::new(conn, Arc::clone(&record));
        let memory = self.stream.memory().private().charge_about(note.len())?;
        let note = Kept { bytes: copied(note)?, _memory: memory };
        self.server.tell(&ToServer::Taken(id), None);
        self.server.add_session(&record, matches!(doing, Doing::Plays(_)), note);
        match doing {
            Doing::Publishes(Publishing { stream_id, named, feed }) => {
                named.note(&record);
                let claim = if standby { Claim::Standby } else { Claim::Live };
                let claim = self.stream.claim_as(&record, claim, feed.was())?;
                self.stream.resume_publisher(peer, stream_id, claim, feed).map_err(|(_, failure)| {
                    self.stream.release(&record);
                    failure
                })
            }
            Doing::Plays(Playing { plays, named, unsent, asks: None }) => {
                named.note(&record);
                for Play { stream_id, start, allowed, share, .. } in plays {
                    self.stream.admit(&record)?;
                    let (of, record) = (Arc::<RRStream>::clone(&self.stream), Arc::clone(&record));
                    let flv = peer.conn.inbound().and_then(|session| session.flv_form());
                    let subscription = Subscription::of_player(of, record, stream_id, start, allowed, flv);
                    peer.subscriptions.push(subscription.resuming(share));
                }
                peer.unsent = unsent;
                self.stream.hand_player(peer).map_err(|(_, failure)| failure)
            }
            Doing::Plays(_) => Err(impossible("a player comes that asks")),
            Doing::Rests | Doing::Asks(..) => Err(impossible("a session comes that neither publishes nor plays")),
        }
    }

    // ---- targets and sources

    fn take_target(&self, id: Handle, state: &[u8], fd: Option<OwnedFd>) {
        let entered = self.enter_target(id, state, fd);
        if let Err(failure) = entered {
            self.server.parted(id, wire::Parted::Lost { cause: Cause::of(&failure), ran_ms: 0 });
        }
    }

    fn enter_target(&self, id: Handle, state: &[u8], fd: Option<OwnedFd>) -> Result<()> {
        let now_ms = clock::now_ms();
        let ExportedTarget { about, stage } = ExportedTarget::read_plain(&self.config, state, now_ms)?;
        let socket = Socket::adopt_connected(fd.ok_or_else(|| impossible("a target comes with its connection"))?)?;
        let endpoint = Endpoint::new(about.config.clone(), &about.name.key)?;
        let counters = about.counters();
        let target = Target::new(id, Arc::clone(self.stream.identity()), endpoint);
        let target = if about.pulls { target.pulling() } else { target };
        let target = target.resumed(State::Handshake, None, (about.connects, about.failures), counters);
        target.set_url(about.way.url);
        target.set_addr(about.way.addr, about.way.local_addr);
        let target = Arc::new(target);
        let ran_ms = match &stage {
            Stage::Pushes(_, MovedPush { ran_ms, .. }) | Stage::Pulls(_, MovedPull { ran_ms, .. }) => *ran_ms,
            Stage::Pauses(_) => 0,
        };
        let memory = self.stream.memory().private().charge_about(state.len())?;
        let came = Kept { bytes: copied(state)?, _memory: memory };
        self.server.tell(&ToServer::Taken(id), None);
        self.server.add_target(&target, came, now_ms.saturating_sub(ran_ms));
        let endpoint = target.endpoint();
        match stage {
            Stage::Pushes(connected, push) => {
                self.stream.add_target(&target)?;
                let conn = Box::new(Conn::resumed(socket, Side::Client(connected.session), connected.unread, 0));
                let history = about.history;
                let moved = Some(Box::new(push));
                let delivery = Delivery::Target { target, conn, endpoint, history, moved };
                self.stream.deliver(delivery).map_err(|(_, failure)| failure)
            }
            Stage::Pulls(connected, MovedPull { feed, via, ran_ms }) => {
                target.set_served(endpoint);
                let conn = Conn::resumed(socket, Side::Client(connected.session), connected.unread, 0);
                let (history, moved) = (about.history, Some((Box::new(feed), ran_ms)));
                self.stream.hand_source(&target, Pulled { conn, via, history, moved })
            }
            Stage::Pauses(_) => Err(impossible("a target comes without a session")),
        }
    }

    fn update_target(&self, id: Handle, state: &[u8]) -> Result<()> {
        let Some(target) = self.server.target(id) else { return Ok(()) };
        self.server.note_update(id, copied(state)?);
        let about = ExportedTarget::read_plain(&self.config, state, clock::now_ms())?.about;
        target.set_endpoint(Endpoint::new(about.config, &about.name.key)?);
        if target.is_source() {
            self.stream.source_changed();
        } else {
            self.stream.wake_relays();
        }
        Ok(())
    }

    // ---- figures

    /// Reports the figures that have changed.
    fn report(&mut self) {
        let now_us = clock::now_us();
        self.server.tell_places();
        self.server.tell_figures();
        let mut all = Vec::new();
        self.server.each_connection(|id, read_ms, counters| {
            let figures = Figures::of(counters, now_us);
            if self.reported.get(&id) != Some(&figures) {
                all.push(FiguresOf { id, silent_ms: silent_ms(read_ms, now_us), figures });
            }
        });
        let known = self.server.ids();
        self.reported.retain(|id, _| known.contains(id));
        self.reported.extend(all.iter().map(|of| (of.id, of.figures)));
        let mut all = all.into_iter().peekable();
        while all.peek().is_some() {
            let some = all.by_ref().take(FIGURES).collect();
            self.server.tell(&ToServer::Connections(some), None);
        }
        self.outbox.tell_lost();
    }
}

/// The settings of the server.
fn config_of(begin: &Begin<'_>) -> ServerConfig {
    ServerConfig {
        max_message_bytes: begin.max_message,
        handshake_ms: begin.handshake_ms,
        ask_ms: begin.ask_ms,
        first_data_ms: begin.first_data_ms,
        idle_ms: begin.idle_ms,
        ping_ms: begin.ping_ms,
        send_ms: begin.send_ms,
        ..ServerConfig::default()
    }
}
