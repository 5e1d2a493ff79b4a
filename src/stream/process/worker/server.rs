//! The server as a worker's stream sees it: what the stream's tasks call is told over the channel.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::super::wire::{Begin, Cause, EventReport, Facts, FiguresOf, Handle, Parted, ToServer, Track, cut, question};
use super::outbox::Outbox;
use crate::config::ServerConfig;
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::socket::half_close;
use crate::session;
use crate::session::State;
use crate::stream::book::Places;
use crate::stream::egress::subscription::Subscription;
use crate::stream::event::{Event, EventKind, EventSink, Id};
use crate::stream::exported::{self, Doing};
use crate::stream::front::RRStream;
use crate::stream::further_relays::FurtherRelays;
use crate::stream::log::segment::Spares;
use crate::stream::memory::budget::Charge;
use crate::stream::name::{StreamName, take_apart};
use crate::stream::peer::Peer;
use crate::stream::record::{Caller, RRSession, TargetExport};
use crate::stream::remote::target::Target;
use crate::stream::stats::Counters;
use crate::stream::stats::reported::Figures;
use crate::stream::upcalls::{Timeouts, Upcalls};
use crate::sync::locked;

/// The refusal of a play of another stream.
const ONE_STREAM: &str = "a connection plays one stream on this server";

/// Most events beside those of states that wait while nothing is told.
const EVENTS: u32 = 1_000;

/// The server.
pub(super) struct Server {
    outbox: Outbox,
    stream: OnceLock<Weak<RRStream>>,
    step: String,
    timeouts: Timeouts,
    /// Those of this process, which has one stream.
    further_relays: Arc<FurtherRelays>,
    known: Mutex<Known>,
    /// What was told last, and the streams that the media comes through.
    places: Mutex<(Places, Vec<u8>)>,
    is_over: AtomicBool,
}

/// The sessions and targets that are here, as the server knows them: the lock is held while it is told of them.
#[derive(Default)]
struct Known {
    sessions: HashMap<Handle, KnownSession>,
    targets: HashMap<Handle, KnownTarget>,
    /// The stream's state.
    state: State,
    /// Nothing is told at the moment.
    held: Option<Held>,
}

/// While nothing is told. Whoever is here stays in the tables, also where an end waits to be told, so that a server to which
/// all that is described learns of the end of nobody else; states are only noted. So what waits is bounded, however long.
#[derive(Default)]
struct Held {
    /// The stream's state as it was described.
    told: State,
    /// The events that wait, and those that found no room.
    events: u32,
    lost: u64,
}

impl Held {
    /// Whether another event may wait.
    fn has_room(&mut self) -> bool {
        match self.events < EVENTS {
            true => self.events += 1,
            false => self.lost += 1,
        }
        self.lost == 0
    }
}

/// Bytes for another process of the server, which mean nothing here.
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    pub(super) _memory: Charge,
}

#[derive(Clone)]
struct KnownSession {
    record: Arc<RRSession>,
    plays: bool,
    state: State,
    /// The state as it was told or described.
    told: State,
    /// Its end waits to be told.
    is_over: bool,
    note: Arc<Kept>,
}

#[derive(Clone)]
struct KnownTarget {
    target: Arc<Target>,
    state: State,
    /// As of a session.
    told: State,
    is_over: bool,
    /// The state with which it came.
    came: Arc<Kept>,
    /// That of its later settings.
    updated: Option<Arc<Vec<u8>>>,
    since_ms: u64,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

impl Server {
    pub(super) fn new(begin: &Begin<'_>, config: &ServerConfig, outbox: Outbox) -> Self {
        let timeouts =
            Timeouts { idle_ms: config.idle_ms.into(), ping_ms: config.ping_ms.into(), send_ms: config.send_ms.into() };
        Self {
            outbox,
            stream: OnceLock::new(),
            step: begin.step.to_owned(),
            timeouts,
            further_relays: Arc::default(),
            known: Mutex::default(),
            places: Mutex::default(),
            is_over: AtomicBool::new(false),
        }
    }

    /// Notes the stream.
    pub(super) fn serves(&self, stream: &Arc<RRStream>) {
        let _ = self.stream.set(Arc::downgrade(stream));
    }

    fn stream(&self) -> Option<Arc<RRStream>> {
        self.stream.get().and_then(Weak::upgrade)
    }

    /// Lets a player that asks for the stream that it plays have it once more, on this message stream and on the terms of
    /// its newest play, and refuses any other: that runs in another process.
    fn play_besides(&self, peer: &mut Peer, stream_id: u32, key: &[u8]) {
        let names = peer.record.names();
        let asked = if names.key_asked.is_empty() { &names.key } else { &names.key_asked };
        let stream = self.stream().filter(|stream| {
            let (key, _) = take_apart(key, stream.config().args);
            StreamName::of_peer(&names.app, key).key == *asked
        });
        let begun = stream.zip(peer.subscriptions.last().map(Subscription::terms)).map(|(stream, (start, media))| {
            stream.admit(&peer.record).map(|()| {
                let (of, record) = (Arc::<RRStream>::clone(&stream), Arc::clone(&peer.record));
                let newest = Subscription::of_player(of, record, stream_id, start, media, None);
                peer.subscriptions.push(newest);
                stream.via()
            })
        });
        let Some(session) = peer.conn.inbound() else { return };
        match begun {
            Some(Ok(via)) => {
                if session.asks_via() {
                    session.tell_via(stream_id, &via);
                }
                session.accept_play(stream_id, clock::now_ms());
            }
            Some(Err(failure)) => session.reject_stream(stream_id, "NetStream.Play.Failed", &failure.text),
            None => session.reject_stream(stream_id, "NetStream.Play.Failed", ONE_STREAM),
        }
    }

    /// Whether the stream has ended.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Tells the server something.
    pub(super) fn tell(&self, message: &ToServer<'_>, fd: Option<OwnedFd>) {
        match message.encode() {
            Ok((kind, body)) => self.outbox.push(kind, body, fd),
            Err(_) => self.outbox.misses(),
        }
    }

    /// Tells who publishes and who stands by, if that has changed. No lock of the stream is held.
    pub(super) fn tell_places(&self) {
        let Some(stream) = self.stream().filter(|_| !self.is_held()) else { return };
        // The lock is held until that is told, so that the last word is the newest.
        let mut reported = locked(&self.places);
        let now = (stream.book().places(), stream.book().publisher_via());
        if *reported == now {
            return;
        }
        *reported = now;
        self.tell(&places(&reported), None);
    }

    /// Lets what happens from now on wait.
    pub(super) fn hold(&self) {
        let mut known = locked(&self.known);
        if known.held.is_none() {
            known.held = Some(Held::default());
            self.outbox.pause(known.sessions.len() + known.targets.len());
        }
    }

    /// Whether nothing is told at the moment.
    fn is_held(&self) -> bool {
        locked(&self.known).held.is_some()
    }

    /// Whether nobody publishes, plays or is pushed to any more.
    pub(super) fn is_deserted(&self) -> bool {
        let known = locked(&self.known);
        known.sessions.values().all(|of| of.is_over) && known.targets.values().all(|of| of.is_over)
    }

    /// Describes what is here over the channel to the server.
    ///
    /// # Errors
    /// Those of [`Self::describe_to`].
    pub(super) fn describe(&self) -> Result<()> {
        self.describe_to(|message| self.outbox.describe(message))
    }

    /// Describes what is here, also those whose end waits to be told; nothing is told at the moment.
    ///
    /// # Errors
    /// [`RRError::Closed`] if the server has gone, and whatever `tell` fails with.
    pub(super) fn describe_to(&self, tell: impl Fn(&ToServer<'_>) -> Result<()>) -> Result<()> {
        let mut known = locked(&self.known);
        let state = known.state;
        known.sessions.values_mut().for_each(|session| session.told = session.state);
        known.targets.values_mut().for_each(|target| target.told = target.state);
        known.held.iter_mut().for_each(|held| held.told = state);
        let (mut sessions, targets): (Vec<_>, Vec<_>) =
            (known.sessions.values().cloned().collect(), known.targets.values().cloned().collect());
        drop(known);
        let reported = locked(&self.places).clone();
        // As they came, and the publisher first.
        sessions.sort_by_key(|known| (known.record.id != reported.0.live, known.record.id));
        let now_us = clock::now_us();
        tell(&ToServer::Describes)?;
        for KnownSession { record, plays, told: state, note, .. } in &sessions {
            tell(&ToServer::Session {
                id: record.id,
                plays: *plays,
                state: state.number(),
                silent_ms: silent_ms(record.read_ms(), now_us),
                figures: Figures::of(&record.counters, now_us),
                note: &note.bytes,
            })?;
        }
        let feeds = self.stream().map(|stream| stream.book().sessions()).unwrap_or_default();
        for KnownTarget { target, told: state, came, updated, since_ms, .. } in &targets {
            let record = feeds.iter().find(|record| record.id == target.id);
            tell(&ToServer::Target {
                id: target.id,
                state: state.number(),
                silent_ms: silent_ms(record.map_or(0, |record| record.read_ms()), now_us),
                figures: Figures::of(&target.counters, now_us),
                ran_ms: (now_us / 1000).saturating_sub(*since_ms),
                came: &came.bytes,
                updated: updated.as_ref().map(|state| state.as_slice()),
            })?;
        }
        tell(&places(&reported))?;
        if let Some(stream) = self.stream() {
            tell(&tracks(&stream))?;
            tell(&figures(&stream, now_us))?;
        }
        let event = Event { state, ..Event::new(EventKind::Stream) };
        tell(&ToServer::Event(EventReport::of(&event)))?;
        tell(&ToServer::Paused)
    }

    /// Tells again what happens, and first what has happened meanwhile. The ends wait in the outbox already.
    ///
    /// # Errors
    /// [`RRError::Closed`] if the server has gone.
    pub(super) fn resume(&self) -> Result<()> {
        let mut known = locked(&self.known);
        let Some(held) = known.held.take() else { return Ok(()) };
        known.sessions.retain(|_, session| !session.is_over);
        known.targets.retain(|_, target| !target.is_over);
        let of = |kind, session, target, state| Event { session, target, state, ..Event::new(kind) };
        let sessions = known.sessions.values().filter(|known| known.state != known.told);
        let sessions = sessions.map(|known| of(EventKind::Session, known.record.id, 0, known.state));
        let targets = known.targets.values().filter(|known| known.state != known.told);
        let targets = targets.map(|known| of(EventKind::Target, 0, known.target.id, known.state));
        let stream = (known.state != held.told).then(|| of(EventKind::Stream, 0, 0, known.state));
        let changed = sessions.chain(targets).chain(stream).collect::<Vec<_>>();
        changed.iter().for_each(|event| self.tell(&ToServer::Event(EventReport::of(event)), None));
        drop(known);
        self.tell_tracks();
        if held.lost > 0 {
            log::warn!("{} events of the time in which no server listened are lost", held.lost);
        }
        self.outbox.resume()
    }

    // ---- who is here

    pub(super) fn add_session(&self, record: &Arc<RRSession>, plays: bool, note: Kept) {
        let (record, state, note) = (Arc::clone(record), State::Handshake, Arc::new(note));
        let known = KnownSession { record, plays, state, told: state, is_over: false, note };
        locked(&self.known).sessions.insert(known.record.id, known);
    }

    pub(super) fn add_target(&self, target: &Arc<Target>, came: Kept, since_ms: u64) {
        let (target, state, came) = (Arc::clone(target), State::Handshake, Arc::new(came));
        let known = KnownTarget { target, state, told: state, is_over: false, came, updated: None, since_ms };
        locked(&self.known).targets.insert(known.target.id, known);
    }

    pub(super) fn session(&self, id: Handle) -> Option<Arc<RRSession>> {
        let known = locked(&self.known);
        known.sessions.get(&id).filter(|known| !known.is_over).map(|known| Arc::clone(&known.record))
    }

    pub(super) fn target(&self, id: Handle) -> Option<Arc<Target>> {
        let known = locked(&self.known);
        known.targets.get(&id).filter(|known| !known.is_over).map(|known| Arc::clone(&known.target))
    }

    /// Notes the state of a target's later settings.
    pub(super) fn note_update(&self, id: Handle, state: Vec<u8>) {
        if let Some(known) = locked(&self.known).targets.get_mut(&id) {
            known.updated = Some(Arc::new(state));
        }
    }

    /// Forgets a session.
    pub(super) fn forget(&self, id: Handle) {
        locked(&self.known).sessions.remove(&id);
    }

    /// Forgets a session, and tells the server its end; not again, if it is not here any more.
    pub(super) fn tell_last(&self, id: Handle, message: &ToServer<'_>, fd: Option<OwnedFd>) {
        let mut known = locked(&self.known);
        let Known { sessions, held, .. } = &mut *known;
        let is_known = match held {
            Some(_) => sessions.get_mut(&id).is_some_and(|session| !std::mem::replace(&mut session.is_over, true)),
            None => sessions.remove(&id).is_some(),
        };
        if is_known {
            self.tell(message, fd);
        }
    }

    /// All handles.
    pub(super) fn ids(&self) -> HashSet<Handle> {
        let known = locked(&self.known);
        known.sessions.keys().chain(known.targets.keys()).copied().collect()
    }

    /// Gives the counters of each session and target, and when bytes last came from it as a publisher.
    pub(super) fn each_connection(&self, mut each: impl FnMut(Handle, u64, &Counters)) {
        let feeds = self.stream().map(|stream| stream.book().sessions()).unwrap_or_default();
        let known = locked(&self.known);
        known.sessions.values().filter(|known| !known.is_over).for_each(|KnownSession { record, .. }| {
            each(record.id, record.read_ms(), &record.counters);
        });
        for KnownTarget { target, .. } in known.targets.values().filter(|known| !known.is_over) {
            let record = feeds.iter().find(|record| record.id == target.id);
            each(target.id, record.map_or(0, |record| record.read_ms()), &target.counters);
        }
    }

    /// Notes that somebody reads the system's figures.
    pub(super) fn look(&self) {
        self.each_connection(|_, _, counters| counters.tcp.looked_at.store(true, Ordering::Relaxed));
    }

    /// Tells that the connection of a target has ended.
    pub(super) fn parted(&self, id: Handle, how: Parted<'_>) {
        self.give_target(id, &ToServer::Parted { id, how }, None);
    }

    /// Forgets a target, and tells the server how it has left.
    pub(super) fn give_target(&self, id: Handle, message: &ToServer<'_>, fd: Option<OwnedFd>) {
        if let Some(stream) = self.stream() {
            stream.book().remove_target(id);
        }
        if let Some(target) = self.target(id) {
            self.tell_last_figures(id, 0, &target.counters);
        }
        let mut known = locked(&self.known);
        match known.held {
            Some(_) => known.targets.get_mut(&id).into_iter().for_each(|target| target.is_over = true),
            None => drop(known.targets.remove(&id)),
        }
        self.tell(message, fd);
    }

    /// Tells the stream's figures.
    pub(super) fn tell_figures(&self) {
        if let Some(stream) = self.stream().filter(|_| !self.is_held()) {
            self.tell(&figures(&stream, clock::now_us()), None);
        }
    }

    /// Tells the last figures of one that leaves.
    fn tell_last_figures(&self, id: Handle, read_ms: u64, counters: &Counters) {
        self.tell_places();
        self.tell_figures();
        let now_us = clock::now_us();
        let (figures, silent_ms) = (Figures::of(counters, now_us), silent_ms(read_ms, now_us));
        self.tell(&ToServer::Connections(vec![FiguresOf { id, silent_ms, figures }]), None);
    }

    fn tell_tracks(&self) {
        if let Some(stream) = self.stream().filter(|_| !self.is_held()) {
            self.tell(&tracks(&stream), None);
        }
    }
}

/// How long ago this time was.
pub(super) fn silent_ms(read_ms: u64, now_us: u64) -> u64 {
    (now_us / 1000).saturating_sub(read_ms)
}

/// What is told of the places, and of the streams that the media comes through.
fn places((places, via): &(Places, Vec<u8>)) -> ToServer<'static> {
    let Places { live, recovering, standbys } = places.clone();
    ToServer::Places { live, recovering, standbys, via: via.clone() }
}

/// What is told of a stream's tracks.
fn tracks(stream: &RRStream) -> ToServer<'static> {
    let (tracks, configs) = (stream.ingest().tracks(), stream.ingest().tracks().configs());
    let list = tracks.list().into_iter();
    let list = list.map(|track| Track { type_id: track.type_id, track: track.track, codec: track.codec }).collect();
    let video = configs.video().map(|of| (of.width, of.height, of.profile, of.compatibility, of.level));
    let audio = configs.audio().map(|of| (of.sample_rate, of.channels, of.object_type));
    ToServer::Tracks { list, facts: Facts { video, audio } }
}

/// What is told of a stream's figures.
fn figures(stream: &RRStream, now_us: u64) -> ToServer<'static> {
    let stats = stream.stats();
    let (incoming, outgoing) = (Figures::of(stats.incoming(), now_us), Figures::of_outgoing(stats.sent_to_all(now_us)));
    ToServer::Figures { incoming, outgoing, memory: stream.memory().used() }
}

impl EventSink for Server {
    fn event(&self, event: Event) {
        let runs = matches!(event.state, State::Waiting | State::InProgress);
        match event.kind {
            // Those of its other states the server makes itself.
            EventKind::Session if runs => self.tell_places(),
            EventKind::Target if runs => {}
            EventKind::Tracks => self.tell_tracks(),
            EventKind::Clock => self.tell_figures(),
            EventKind::Stream | EventKind::Slow => {}
            _ => return,
        }
        let mut known = locked(&self.known);
        let Known { sessions, targets, state, held } = &mut *known;
        let of_session = sessions.get_mut(&event.session).filter(|known| !known.is_over);
        let of_target = targets.get_mut(&event.target).filter(|known| !known.is_over);
        // Of those that have ended nothing more is told.
        let is_state = match (event.kind, of_session, of_target) {
            (EventKind::Stream, ..) => {
                *state = event.state;
                true
            }
            (EventKind::Session, Some(known), _) => {
                known.state = event.state;
                true
            }
            (EventKind::Target, _, Some(known)) => {
                known.state = event.state;
                true
            }
            (EventKind::Tracks | EventKind::Clock, ..)
            | (EventKind::Slow, Some(_), _)
            | (EventKind::Slow, None, Some(_)) => false,
            _ => return,
        };
        if held.as_mut().is_none_or(|held| !is_state && held.has_room()) {
            self.tell(&ToServer::Event(EventReport::of(&event)), None);
        }
    }
}

impl Upcalls for Server {
    fn reclaim(&self, mut peer: Peer, event: Option<session::Event>) {
        if !peer.subscriptions.is_empty() {
            if let Some(session::Event::Play { stream_id, key, .. }) = event {
                self.play_besides(&mut peer, stream_id, &key);
            }
            return self.pass_on(peer);
        }
        // What the socket takes need not travel.
        let _ = peer.conn.flush();
        let record = Arc::clone(&peer.record);
        let doing = question(event).map_or(Doing::Rests, |question| Doing::Asks(question, Box::default()));
        match exported::state_of(&mut peer.conn, &record, &doing, clock::now_ms()) {
            Ok(state) => {
                self.tell_last_figures(record.id, record.read_ms(), &record.counters);
                let back = ToServer::Back { id: record.id, state: &state };
                self.tell_last(record.id, &back, Some(peer.conn.into_fd()));
            }
            Err(failure) => {
                half_close(&mut peer.conn.socket);
                self.session_over(&record, &failure);
            }
        }
    }

    fn pass_on(&self, peer: Peer) {
        let handed = match self.stream() {
            Some(stream) => stream.hand_player(peer),
            None => Err((Box::new(peer), Failure::ours(RRError::State, "the stream has ended"))),
        };
        if let Err((mut peer, failure)) = handed {
            half_close(&mut peer.conn.socket);
            self.session_over(&peer.record, &failure);
        }
    }

    fn session_over(&self, record: &Arc<RRSession>, cause: &Failure) {
        // A session whose threads both fail ends twice.
        if self.session(record.id).is_some() {
            self.tell_last_figures(record.id, record.read_ms(), &record.counters);
            self.tell_last(record.id, &ToServer::Over { id: record.id, cause: Cause::of(cause) }, None);
        }
    }

    /// The main thread waits for the outcome, and tells it.
    fn session_exported(&self, _record: &RRSession) {}

    /// The server dials its targets itself when the stream has media.
    fn dial(&self, _target: &Arc<Target>) {}

    fn target_lost(&self, target: &Arc<Target>, cause: &Failure, ran_ms: u64) {
        self.parted(target.id, Parted::Lost { cause: Cause::of(cause), ran_ms });
    }

    fn target_released(&self, target: &Arc<Target>) {
        self.parted(target.id, Parted::Released);
    }

    fn target_moved(&self, target: &Arc<Target>, url: Option<String>, text: &str, ran_ms: u64) {
        let url = url.as_deref().map(cut);
        self.parted(target.id, Parted::Moved { url, text: cut(text), ran_ms });
    }

    fn target_renewed(&self, target: &Arc<Target>) {
        self.parted(target.id, Parted::Renewed);
    }

    /// As of a session.
    fn target_exported(&self, _target: &Arc<Target>) {}

    /// The server is told how its connection has ended, and exports it then.
    fn target_export(&self, _target: &Arc<Target>, _room: usize, _caller: Caller<TargetExport>) {}

    fn target_over(&self, target: &Arc<Target>) {
        self.parted(target.id, Parted::Over);
    }

    /// The server notes that itself.
    fn session_left(&self, _record: &RRSession, _stream: Id) {}

    /// The server ends the stream.
    fn stream_unused(&self, _stream: Id) {}

    fn stream_over(&self, _stream: Id) {
        self.is_over.store(true, Ordering::Release);
    }

    fn enter_thread(&self) {
        crate::net::thread::block_signals();
        self.outbox.enter_thread();
    }

    fn step(&self, _stream: Id) -> String {
        self.step.clone()
    }

    fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    fn spares(&self) -> Spares {
        // The process has one stream.
        Spares::default()
    }

    fn further_relays(&self) -> Arc<FurtherRelays> {
        Arc::clone(&self.further_relays)
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::WAITING;
    use super::*;
    use crate::net::fd_channel::FdChannel;
    use crate::stream::memory::budget::Budget;

    /// What a server that reads everything gets, as text, up to the answer to a ping.
    fn told(channel: &FdChannel) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let message = channel.receive(|_| 1 << 20, clock::now_ms() + 30_000).unwrap().unwrap();
            match ToServer::decode(&message.body).unwrap() {
                ToServer::Pong(_) => return told,
                ToServer::Session { id, state, .. } => told.push(format!("{id} is {state}")),
                ToServer::Event(event) if event.is(EventKind::Slow) => told.push("slow".to_owned()),
                ToServer::Event(event) if event.is(EventKind::Session) => {
                    told.push(format!("{} becomes {}", event.session, event.state().unwrap().number()));
                }
                ToServer::Over { id, .. } => told.push(format!("{id} ends")),
                ToServer::Paused => told.push("all".to_owned()),
                _ => {}
            }
        }
    }

    #[test]
    fn what_happens_while_nothing_is_told_is_bounded_and_what_has_changed_is_told_afterwards() {
        let (outbox, there) = Outbox::started();
        let begin = Begin::example();
        let server = Server::new(&begin, &ServerConfig::default(), outbox.clone());
        let records = [1, 2, 3].map(|id| Arc::new(RRSession::new(id, String::new(), None, String::new())));
        for record in &records {
            let _memory = Budget::new(None).nothing();
            server.add_session(record, true, Kept { bytes: Vec::new(), _memory });
        }
        let event = |session, kind, state| server.event(Event { session, state, ..Event::new(kind) });
        let [waits, runs] = [State::Waiting, State::InProgress].map(State::number);
        event(1, EventKind::Session, State::Waiting);
        server.hold();
        server.describe().unwrap();
        for _ in 0..2 * WAITING {
            event(1, EventKind::Session, State::InProgress);
            event(2, EventKind::Slow, State::None);
        }
        let cause = Failure::ours(RRError::Kicked, "kicked");
        server.session_over(&records[1], &cause);
        server.session_over(&records[1], &cause);
        event(2, EventKind::Session, State::InProgress);
        assert_eq!(outbox.check(), Ok(()));
        let described = Mutex::new(0);
        // To another server, which has not heard of anything.
        let describes = |message: &ToServer<'_>| {
            *locked(&described) += usize::from(matches!(message, ToServer::Session { .. }));
            Ok(())
        };
        server.describe_to(describes).unwrap();
        assert_eq!((*locked(&described), server.is_deserted()), (3, false), "it learns of the end of nobody else");
        event(3, EventKind::Session, State::Waiting);
        server.session_over(&records[0], &cause);
        server.resume().unwrap();
        event(3, EventKind::Session, State::InProgress);
        server.tell(&ToServer::Pong(1), None);
        let told = told(&there);
        let handshake = State::Handshake.number();
        let before = [format!("1 becomes {waits}"), format!("1 is {waits}"), format!("2 is {handshake}")];
        assert_eq!(told[..3], before);
        assert_eq!(told[3..5], [format!("3 is {handshake}"), "all".to_owned()]);
        let (slow, rest): (Vec<_>, Vec<_>) = told[5..].iter().partition(|line| *line == "slow");
        assert_eq!(slow.len(), EVENTS as usize);
        assert_eq!(rest, ["2 ends", "1 ends", &format!("3 becomes {waits}"), &format!("3 becomes {runs}")]);
        assert!(server.session(1).is_none() && server.session(3).is_some());
    }

    #[test]
    fn all_sessions_may_end_while_nothing_is_told() {
        let (outbox, _there) = Outbox::started();
        let server = Server::new(&Begin::example(), &ServerConfig::default(), outbox.clone());
        let record = |id| Arc::new(RRSession::new(id, String::new(), None, String::new()));
        let count = WAITING as u64;
        for id in 1..=count {
            let _memory = Budget::new(None).nothing();
            server.add_session(&record(id), true, Kept { bytes: Vec::new(), _memory });
        }
        server.hold();
        let cause = Failure::ours(RRError::Closed, "closed");
        (1..=count).filter_map(|id| server.session(id)).for_each(|record| server.session_over(&record, &cause));
        assert!(outbox.check().is_ok() && server.is_deserted());
        // Who says more than that is overrun all the same.
        (0..=WAITING).for_each(|_| server.tell(&ToServer::Pong(1), None));
        assert_eq!(outbox.check().unwrap_err().kind, RRError::Limit);
    }
}
