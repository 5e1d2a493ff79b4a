//! What all threads of a server share: settings, tables, and the links to each other. It is the [`Upcalls`] of its
//! streams.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use crossbeam::channel::{Sender, TrySendError};

use crate::config::{ServerConfig, StreamConfig};
use crate::error::{Failure, RRError, Result};
use crate::log::RRLog;
use crate::log::told::{SERVER, SESSION, TARGET};
use crate::net::clock;
use crate::net::poll::Wake;
use crate::net::socket::half_close;
use crate::server::absent::Absent;
use crate::server::access::Access;
use crate::server::bans::Bans;
use crate::server::changes::Changes;
use crate::server::events::Events;
use crate::server::figures::{self, Stats};
use crate::server::hooks::Hooks;
use crate::server::inbox::{self, Inboxes, ToDialler, ToListener};
use crate::server::listening::Listeners;
use crate::server::loops::Loops;
use crate::server::place::Place;
use crate::server::placement::Placement;
use crate::server::registry::Registry;
use crate::server::secure::Certificate;
use crate::server::slots::next_server;
use crate::server::stopping::{Elsewhere, Stop, Stopping};
use crate::session::{self, State};
use crate::stream::event::{Event, EventKind, EventSink, Id};
use crate::stream::log::segment::Spares;
use crate::stream::memory::budget::Budget;
use crate::stream::peer::{OnItsWay, Peer};
use crate::stream::record::{Caller, Order, RRSession, TargetExport};
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::{News, Resumed, Target};
use crate::stream::{FurtherRelays, RRStream, StreamName, Timeouts, Upcalls, WorkerCounts, Workers};
use crate::sync::locked;

/// The part of a drain's time that is reserved for the last messages.
const DRAIN_FLUSH_MS: u64 = 500;

/// How long a hand-over waits for players that are on their way between two threads. Streams run meanwhile.
const ARRIVAL_MS: u64 = 1_000;

/// So many of those who are on their way between two threads leave room for more in each inbox.
const KEPT_UP: usize = 1_000;

/// The reason of the end of a session that another process continues.
const EXPORTED: &str = "handed over to another process";

/// The control thread's work; the number of streams bounds it.
#[derive(Debug, Default)]
pub(super) struct ToReap {
    pub(super) streams: Vec<Arc<RRStream>>,
    /// Others are over for which the list has no room in memory.
    pub(super) unlisted: bool,
    /// Something else changed.
    pub(super) nudge: bool,
    /// The control thread has ended and takes no more work.
    over: bool,
}

/// The shared part of a server.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: ServerConfig,
    pub(super) events: Events,
    pub(super) budget: Budget,
    /// The budget of peers that neither publish nor play: a part of the server's memory, so that these peers cannot use
    /// up all of it. A session that comes back to the listener, or from another process, is charged before it waits for
    /// the listener's thread.
    pub(super) pending: Budget,
    /// The budget of targets and sources that are connecting, likewise; the peers of `pending` cannot use it up.
    pub(super) dialling: Budget,
    pub(super) certificate: Certificate,
    loops: Loops,
    /// The server's number, which its ids carry.
    number: u8,
    registry: Mutex<Registry>,
    listener: Sender<ToListener>,
    listener_wake: Arc<Wake>,
    dialler: Sender<ToDialler>,
    dial_wake: Arc<Wake>,
    pub(super) reap: Mutex<ToReap>,
    pub(super) reaped: Condvar,
    pub(super) started_us: i64,
    pub(super) absent: Absent,
    pub(super) access: Access,
    pub(super) bans: Bans,
    pub(super) hooks: Place<dyn Hooks>,
    pub(super) placement: Place<dyn Placement>,
    /// Number of connections that the listener and the host have accepted so far.
    pub(super) accepted: AtomicU64,
    /// Number of questions to hooks and to the placement so far.
    questions: AtomicU64,
    /// Held while a stream's targets and sources are compared with those that an answer names, and missing ones are
    /// added.
    pub(super) opening: Mutex<()>,
    /// The summed statistics of streams that have ended.
    past: Mutex<Stats>,
    pub(super) state: AtomicU32,
    /// The server's listeners.
    pub(super) listening: Listeners,
    /// How far its end has come.
    pub(super) stopping: Stopping,
    /// Whether the server is being handed over.
    pub(super) moves: AtomicBool,
    /// Changes that the host and control by HTTP make.
    pub(super) changes: Changes,
    /// How many players are on their way between two threads.
    on_their_way: Arc<AtomicUsize>,
    closing: AtomicBool,
    further_relays: Arc<FurtherRelays>,
    /// The spare memory of all logs.
    pub(super) spares: Spares,
    itself: OnceLock<Weak<Self>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry({} streams, {} sessions)", self.streams.len(), self.sessions.len())
    }
}

/// A takeover that commits: as long as this is there, a stop is only noted. Dropped, it carries out the one that has come.
pub(super) struct Commit<'a>(&'a Core);

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        if let Some(stop) = self.0.stopping.committed() {
            self.0.begin_stop(stop);
        }
    }
}

impl Core {
    pub(super) fn new(
        config: ServerConfig,
        loops: Loops,
        events: Events,
        listener_wake: Arc<Wake>,
        dial_wake: Arc<Wake>,
    ) -> (Arc<Self>, Inboxes) {
        let (listener, dialler, inboxes) = inbox::channels();
        let itself: Arc<OnceLock<Weak<Self>>> = Arc::default();
        let alarmed = Arc::clone(&itself);
        let alarm = Box::new(move || {
            if let Some(core) = alarmed.get().and_then(Weak::upgrade) {
                core.nudge_control();
            }
        });
        let number = next_server();
        let budget = Budget::of_server(config.mem_limit_bytes, alarm);
        let core = Arc::new(Self {
            pending: budget.quarter(),
            dialling: budget.quarter(),
            budget,
            certificate: Certificate::default(),
            loops,
            number,
            registry: Mutex::new(Registry::new(&config, number)),
            config,
            events,
            listener,
            listener_wake,
            dialler,
            dial_wake,
            reap: Mutex::default(),
            reaped: Condvar::new(),
            started_us: clock::wall_us(),
            absent: Absent::default(),
            access: Access::default(),
            bans: Bans::default(),
            hooks: Place::default(),
            placement: Place::default(),
            accepted: AtomicU64::new(0),
            questions: AtomicU64::new(0),
            opening: Mutex::default(),
            past: Mutex::default(),
            state: AtomicU32::new(State::Idle.number()),
            listening: Listeners::default(),
            stopping: Stopping::default(),
            moves: AtomicBool::new(false),
            changes: Changes::default(),
            on_their_way: Arc::default(),
            closing: AtomicBool::new(false),
            further_relays: Arc::default(),
            spares: Spares::default(),
            itself: OnceLock::new(),
        });
        let _ = core.itself.set(Arc::downgrade(&core));
        let _ = itself.set(Arc::downgrade(&core));
        (core, inboxes)
    }

    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        locked(&self.registry)
    }

    /// A number for a question, unique in this server.
    pub(super) fn question(&self) -> u64 {
        self.questions.fetch_add(1, Ordering::Relaxed) + 1
    }

    // ---- the server's end

    /// # Errors
    /// [`RRError::State`] once the server stops.
    pub(super) fn still_open(&self) -> Result<()> {
        self.stopping.still_open()
    }

    pub(super) fn stop_by_ms(&self) -> Option<u64> {
        self.stopping.by_ms()
    }

    /// Whether the threads are to end.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Begins to take over what another process lets go of. Only one takeover commits at a time.
    ///
    /// # Errors
    /// [`RRError::State`] once the server stops.
    pub(super) fn commit(&self) -> Result<Commit<'_>> {
        self.stopping.commit()?;
        Ok(Commit(self))
    }

    /// Stops all streams; they have this time for their last messages.
    pub(super) fn stop(&self, deadline_ms: u64) {
        self.begin_stop(Stop::within(deadline_ms));
    }

    /// Admits no new peers from now on and asks peers that support it to reconnect. The control thread stops the streams
    /// when all peers have gone, or in time before the deadline.
    pub(super) fn drain(&self, url: Option<String>, deadline_ms: u64) {
        self.begin_stop(Stop { elsewhere: Some(Elsewhere { url }), ..Stop::within(deadline_ms) });
    }

    fn begin_stop(&self, stop: Stop) {
        let Some((stop, is_first)) = self.stopping.begin(stop) else { return };
        if is_first {
            self.move_to(State::Stopping, None);
            self.changes.look_again();
        }
        match stop.elsewhere {
            None => self.stop_streams(stop.by_ms.saturating_sub(clock::now_ms())),
            Some(elsewhere) => self.send_away(&elsewhere),
        }
        self.listener_wake.wake();
        self.nudge_control();
    }

    /// Asks peers that support it to reconnect.
    fn send_away(&self, elsewhere: &Elsewhere) {
        let mut at = 0;
        while let Some((session, next)) = self.next_session(at) {
            at = next;
            if session.stream() != 0 && session.reconnects() {
                let _ = session.order(Order::Reconnect(elsewhere.url.clone(), "the server stops".to_owned()));
            }
        }
    }

    /// During a drain: stops the streams when no peer is left, or early enough before the deadline that consumers can
    /// take the last messages.
    pub(super) fn end_drain(&self) {
        let Some(by) = self.stop_by_ms().filter(|_| self.stopping.elsewhere().is_some()) else { return };
        let left_ms = by.saturating_sub(clock::now_ms());
        if left_ms <= DRAIN_FLUSH_MS || self.registry().sessions.is_empty() {
            self.stopping.end_drain();
            self.stop_streams(left_ms);
        }
    }

    fn stop_streams(&self, deadline_ms: u64) {
        let mut at = 0;
        while let Some((stream, next)) = self.next_stream(at) {
            at = next;
            stream.stop(deadline_ms);
        }
    }

    /// See [`Slots::next_from`](crate::server::slots::Slots::next_from). The registry is locked for this call only.
    pub(super) fn next_stream(&self, at: usize) -> Option<(Arc<RRStream>, usize)> {
        self.registry().streams.next_from(at)
    }

    fn next_session(&self, at: usize) -> Option<(Arc<RRSession>, usize)> {
        self.registry().sessions.next_from(at)
    }

    pub(super) fn stopped(&self) {
        self.move_to(State::Stopped, None);
        self.events.all_told();
        // This wakes threads in `wait_stopped`.
        let _reap = locked(&self.reap);
        self.reaped.notify_all();
    }

    pub(super) fn wait_stopped(&self) {
        let mut reap = locked(&self.reap);
        while !matches!(self.state(), State::Stopped | State::Failed) {
            reap = self.reaped.wait(reap).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.loops.close();
        self.listener_wake.wake();
        self.dial_wake.wake();
        self.nudge_control();
    }

    /// Empties the tables once the server is gone: streams hold the core, so a core that kept a stream would never be
    /// freed.
    pub(super) fn forget(&self) {
        let unjoined = {
            let mut reap = locked(&self.reap);
            reap.over = true;
            std::mem::take(&mut reap.streams)
        };
        let tables = std::mem::replace(&mut *self.registry(), Registry::new(&self.config, self.number));
        // Neither lock is held here.
        drop((unjoined, tables));
    }

    pub(super) fn nudge_control(&self) {
        locked(&self.reap).nudge = true;
        self.reaped.notify_all();
    }

    /// Notes a panic in one of the server's own threads: the server fails, and its host goes on.
    pub(super) fn thread_failed(&self, text: &str) {
        let failure = Failure::ours(RRError::Panic, text.to_owned());
        log::error!(target: SERVER, "server failed: {failure}");
        self.stop(0);
        self.move_to(State::Failed, Some(&failure));
        self.close();
    }

    // ---- links to other threads

    /// Delivers something to the listener thread.
    pub(super) fn to_listener(&self, arrival: ToListener) -> Result<()> {
        match self.listener.try_send(arrival) {
            Ok(()) => {
                self.listener_wake.wake();
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err(Failure::ours(RRError::Limit, "the listener thread is overrun")),
            Err(TrySendError::Disconnected(_)) => Err(Failure::ours(RRError::State, "the server has stopped")),
        }
    }

    pub(super) fn listener_wake(&self) -> Arc<Wake> {
        Arc::clone(&self.listener_wake)
    }

    pub(super) fn dial_wake(&self) -> Arc<Wake> {
        Arc::clone(&self.dial_wake)
    }

    /// Delivers something to the dialler.
    pub(super) fn to_dialler(&self, order: ToDialler) -> Result<()> {
        self.dialler.try_send(order).map_err(|_| Failure::ours(RRError::Limit, "the dialler is overrun"))?;
        self.dial_wake.wake();
        Ok(())
    }

    /// Makes a target known to the dialler.
    pub(super) fn watch_target(&self, target: &Arc<Target>) -> Result<()> {
        self.to_dialler(ToDialler::Target(Arc::downgrade(target)))
    }

    /// Makes a target or source of a stream, without adding it to the stream.
    pub(super) fn new_target(&self, stream: &RRStream, endpoint: Endpoint, pulls: bool) -> Result<Arc<Target>> {
        let target = {
            let mut registry = self.registry();
            let id = registry.targets.insert_with(|id| {
                let target = Target::new(id, Arc::clone(stream.identity()), endpoint);
                Arc::new(if pulls { target.pulling() } else { target })
            })?;
            registry.targets.find(id).cloned()?
        };
        self.watch_target(&target).inspect_err(|_| self.forget_target(&target))?;
        Ok(target)
    }

    /// Adds a target that goes on from another process, as `resumed` makes it, to its stream.
    ///
    /// # Errors
    /// [`RRError::Limit`] if there are too many targets or the dialler is overrun, [`RRError::State`] if the stream is
    /// ending.
    pub(super) fn resume_target(
        &self,
        stream: &Arc<RRStream>,
        endpoint: Endpoint,
        news: Resumed,
        resumed: impl FnOnce(Target) -> Target,
    ) -> Result<Arc<Target>> {
        let target = {
            let mut registry = self.registry();
            let make = |id| Arc::new(resumed(Target::new(id, Arc::clone(stream.identity()), endpoint)));
            let id = registry.targets.insert_with(make)?;
            registry.targets.find(id).cloned()?
        };
        // Before the stream can have it dialled, and before the dialler knows it: so this is the first of its news.
        target.tell(News::Resume(Box::new(news)));
        self.attach(stream, &target)?;
        self.watch_target(&target).inspect_err(|failure| self.end_target(&target, failure))?;
        Ok(target)
    }

    /// Adds a target or source that was made to its stream.
    ///
    /// # Errors
    /// [`RRError::State`] if the stream is ending, [`RRError::NoMem`] if the dialler had no memory for the target.
    pub(super) fn attach(&self, stream: &Arc<RRStream>, target: &Arc<Target>) -> Result<()> {
        let added = if target.is_source() { stream.add_source(target) } else { stream.add_target(target) };
        added.inspect_err(|_| self.forget_target(target))?;
        if !self.registry().targets.contains(target.id) {
            take_off(stream, target);
            // It may also have been stopped already.
            let no_memory = || Failure::ours(RRError::NoMem, "there is no memory for another target");
            return if target.is_stopped() { Ok(()) } else { Err(no_memory()) };
        }
        Ok(())
    }

    /// Removes a target or source that has not begun from the tables.
    pub(super) fn forget_target(&self, target: &Target) {
        self.registry().targets.remove(target.id);
        self.tell_dialler(target, News::Over);
    }

    /// Leaves news about a target for the dialler.
    pub(super) fn tell_dialler(&self, target: &Target, news: News) {
        target.tell(news);
        self.dial_wake.wake();
    }

    // ---- streams

    /// The processes in which streams run, if they do.
    pub(super) fn workers(&self) -> Option<&Arc<Workers>> {
        self.loops.workers()
    }

    /// Their counts.
    pub(super) fn worker_counts(&self) -> Option<WorkerCounts> {
        self.workers().map(|workers| workers.starts().counts())
    }

    /// Finds the stream with this name, or makes it; true if it was made.
    pub(super) fn find_or_make(
        &self,
        name: StreamName,
        config: &StreamConfig,
        reserved: bool,
    ) -> Result<(Arc<RRStream>, bool)> {
        self.config.may_have(config)?;
        let mut registry = self.registry();
        if let Some(stream) = registry.find(&name) {
            return Ok((Arc::clone(stream), false));
        }
        let make = self.making(name.clone(), config, reserved)?;
        let stream = registry.add_stream(&name, make)?;
        // The event is sent before any other thread can find the stream, so that it is the stream's first.
        self.events.push(stream.event(EventKind::Stream).moved(State::None, State::Idle));
        drop(registry);
        Ok((stream, true))
    }

    /// Makes a stream that nobody finds by its name before [`Registry::give_name`].
    ///
    /// # Errors
    /// Those of any new stream.
    pub(super) fn make_unnamed(
        &self,
        name: StreamName,
        config: &StreamConfig,
        reserved: bool,
    ) -> Result<Arc<RRStream>> {
        self.config.may_have(config)?;
        let mut registry = self.registry();
        let stream = registry.add_unnamed(self.making(name, config, reserved)?)?;
        self.events.push(stream.event(EventKind::Stream).moved(State::None, State::Idle));
        drop(registry);
        Ok(stream)
    }

    /// Makes a stream for an id.
    fn making(
        &self,
        name: StreamName,
        config: &StreamConfig,
        reserved: bool,
    ) -> Result<impl FnOnce(Id) -> Arc<RRStream>> {
        let host = self.itself.get().and_then(Weak::upgrade).ok_or(RRError::State)?;
        self.still_open()?;
        Ok(move |id| {
            let (budget, threading) = (self.budget.child(), self.loops.threading(&name));
            Arc::new(RRStream::new(id, name, config.clone(), reserved, budget, threading, host))
        })
    }

    /// The stream of a target; `None` once the stream has ended; then the target is about to end too.
    pub(super) fn stream_of(&self, target: &Target) -> Option<Arc<RRStream>> {
        self.registry().streams.get(target.stream().id()).cloned()
    }

    /// Waits until no player is on its way between two threads, a moment at most: a task offers to another process only
    /// those that it has.
    pub(super) fn let_players_arrive(&self, by_ms: u64) {
        let by_ms = by_ms.min(clock::now_ms() + ARRIVAL_MS);
        while self.on_their_way.load(Ordering::Acquire) > 0 && clock::now_ms() < by_ms {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the threads have taken so much of what was handed to them that there is room for more in each inbox. The calling
    /// thread holds no lock.
    pub(super) fn let_threads_keep_up(&self, by_ms: u64) {
        let waiting = || self.on_their_way.load(Ordering::Acquire).max(self.listener.len()).max(self.dialler.len());
        while waiting() > KEPT_UP && clock::now_ms() < by_ms && !self.is_closing() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Hands a player's connection to the relay that gets it next.
    ///
    /// # Errors
    /// [`RRError::State`] if that one's stream has ended, and those of a full inbox. The session ends then.
    pub(super) fn hand_player(&self, mut peer: Peer) -> Result<()> {
        peer.on_its_way = Some(OnItsWay::new(&self.on_their_way));
        let next = peer.next_stream();
        let stream = next.and_then(|id| self.registry().streams.get(id).cloned());
        let handed = match stream {
            Some(stream) => stream.hand_player(peer),
            None => Err((Box::new(peer), Failure::ours(RRError::State, "the stream has ended"))),
        };
        handed.map_err(|(mut peer, failure)| {
            half_close(&mut peer.conn.socket);
            self.end_session(&peer.record, &failure);
            failure
        })
    }

    /// Removes a session that ended from the tables; its id is dead from now on.
    pub(super) fn end_session(&self, record: &RRSession, cause: &Failure) {
        if !self.forget_session(record) {
            return;
        }
        let quiet = matches!(cause.kind, RRError::Closed | RRError::Kicked | RRError::TakenOver);
        let state = if quiet { State::Stopped } else { State::Failed };
        let prev = record.set_state(state);
        let (addr, doing) = (&record.addr, record.doing());
        match (quiet, cause.by_peer) {
            // This is mostly a health probe, which only checks that the server listens.
            (true, true) if record.names().app.is_empty() => {
                log::debug!(target: SESSION, "{addr} left without sending anything")
            }
            (true, _) => log::info!(target: SESSION, "{addr} ({doing}) ended: {cause}"),
            (false, true) => log::warn!(target: SESSION, "{addr} ({doing}) was closed because of the peer: {cause}"),
            (false, false) => log::warn!(target: SESSION, "{addr} ({doing}) was closed by us: {cause}"),
        }
        self.events.push(record.event(EventKind::Session).moved(prev, state).because(cause).last());
        if let Some(hooks) = self.hooks.get() {
            hooks.over(record, cause);
        }
        self.note_end();
    }

    /// Ends a session that continues in another process; its id here is dead from now on.
    pub(super) fn end_exported(&self, record: &RRSession) {
        if !self.forget_session(record) {
            return;
        }
        let prev = record.set_state(State::Stopped);
        log::info!(target: SESSION, "{} ({}) was {EXPORTED}", record.addr, record.doing());
        let event = record.event(EventKind::Session).moved(prev, State::Stopped);
        self.events.push(Event { text: EXPORTED.as_bytes().to_vec(), ..event.last() });
        if let Some(hooks) = self.hooks.get() {
            hooks.moved(record);
        }
        self.note_end();
    }

    /// Removes a session from the tables. False if the tables no longer had it.
    fn forget_session(&self, record: &RRSession) -> bool {
        let known = self.registry().remove_session(record.id);
        record.close_post();
        known
    }

    /// Notes that there is one session less.
    fn note_end(&self) {
        self.update_state();
        if self.stop_by_ms().is_some() {
            self.nudge_control();
        }
    }

    /// Whether the tables are empty: everything has ended.
    pub(super) fn is_empty(&self) -> bool {
        let registry = self.registry();
        registry.streams.is_empty() && registry.sessions.is_empty()
    }

    /// The summed statistics of streams that have ended: of those that the registry no longer has, for as long as the
    /// caller holds it.
    pub(super) fn past(&self) -> Stats {
        *locked(&self.past)
    }

    /// Removes a target that has ended from the tables and sends its last event, once, even if several threads call
    /// this.
    pub(super) fn end_target(&self, target: &Target, cause: &Failure) {
        if self.take_target(target) {
            target.move_to(State::Stopped, |event| event.because(cause).last());
        }
    }

    /// Ends a target that continues in another process.
    pub(super) fn end_exported_target(&self, target: &Target) {
        if self.take_target(target) {
            log::info!(target: TARGET, "a target of {} was {EXPORTED}", target.stream().masked_name());
            target.move_to(State::Stopped, |event| Event { text: EXPORTED.as_bytes().to_vec(), ..event.last() });
        }
    }

    /// Removes a target from the tables. False if the tables no longer had it.
    fn take_target(&self, target: &Target) -> bool {
        let stream = self.stream_of(target);
        // First from the registry: `attach` looks there after it has put the target on its stream.
        let known = self.registry().targets.remove(target.id).is_some();
        if let Some(stream) = stream {
            take_off(&stream, target);
        }
        known
    }

    /// Ends the id of a stream whose threads have been joined.
    pub(super) fn end_stream(&self, stream: &Arc<RRStream>) {
        let carried = figures::of_stream(stream, 0);
        // Rates and lag describe the present, so they are not carried over.
        let still = Stats { kbps_in: 0, kbps_out: 0, audio_kbps: 0, video_kbps: 0, queue_ms: 0, ..carried };
        let mut registry = self.registry();
        registry.forget_name(stream);
        if registry.streams.remove(stream.id()).is_none() {
            return;
        }
        // Whoever holds the registry counts the stream once, in the table or here.
        locked(&self.past).add(&still);
        drop(registry);
        if stream.state() == State::Failed {
            // FAILED was reported when it happened; this event only ends the id.
            self.events.push(stream.event(EventKind::Stream).last());
        } else {
            stream.life().move_to(State::Stopped, Event::last);
        }
    }
}

fn take_off(stream: &RRStream, target: &Target) {
    stream.book().remove_target(target.id);
    if target.is_source() {
        stream.remove_source(target.id);
    }
}

impl EventSink for Core {
    fn event(&self, event: Event) {
        self.events.push(event);
    }
}

impl Upcalls for Core {
    fn reclaim(&self, mut peer: Peer, event: Option<session::Event>) {
        let end = |mut peer: Peer, failure: &Failure| {
            half_close(&mut peer.conn.socket);
            self.end_session(&peer.record, failure);
        };
        let memory = match self.pending.charge_about(peer.conn.heap_bytes()) {
            Ok(memory) => memory,
            Err(failure) => return end(peer, &failure),
        };
        peer.record.set_owner(self.listener_wake());
        peer.on_its_way = Some(OnItsWay::new(&self.on_their_way));
        match self.listener.try_send(ToListener::Back(peer, memory, event)) {
            Ok(()) => self.listener_wake.wake(),
            Err(TrySendError::Full(arrival) | TrySendError::Disconnected(arrival)) => {
                if let ToListener::Back(peer, ..) = arrival {
                    end(peer, &Failure::ours(RRError::Limit, "the listener thread is overrun"));
                }
            }
        }
    }

    fn pass_on(&self, peer: Peer) {
        // The session's end says why it failed.
        let _ = self.hand_player(peer);
    }

    fn session_over(&self, record: &Arc<RRSession>, cause: &Failure) {
        self.end_session(record, cause);
    }

    fn session_exported(&self, record: &RRSession) {
        self.end_exported(record);
    }

    fn dial(&self, target: &Arc<Target>) {
        self.tell_dialler(target, News::Dial);
    }

    fn target_lost(&self, target: &Arc<Target>, cause: &Failure, ran_ms: u64) {
        self.tell_dialler(target, News::Lost(cause.clone(), ran_ms));
    }

    fn target_released(&self, target: &Arc<Target>) {
        self.tell_dialler(target, News::Released);
    }

    fn target_moved(&self, target: &Arc<Target>, url: Option<String>, text: &str, ran_ms: u64) {
        self.tell_dialler(target, News::Moved { url, text: text.to_owned(), ran_ms });
    }

    fn target_renewed(&self, target: &Arc<Target>) {
        self.tell_dialler(target, News::Renewed);
    }

    fn target_exported(&self, target: &Arc<Target>) {
        self.end_exported_target(target);
        self.tell_dialler(target, News::Over);
    }

    fn target_export(&self, target: &Arc<Target>, room: usize, caller: Caller<TargetExport>) {
        self.tell_dialler(target, News::Export { room, caller });
    }

    fn target_over(&self, target: &Arc<Target>) {
        self.tell_dialler(target, News::Over);
    }

    fn session_left(&self, record: &RRSession, stream: Id) {
        if let Some(hooks) = self.hooks.get() {
            hooks.ended(record, stream);
        }
    }

    fn stream_unused(&self, stream: Id) {
        let mut registry = self.registry();
        let Some(stream) = registry.streams.get(stream).cloned() else { return };
        if !stream.retire() {
            return;
        }
        registry.forget_name(&stream);
        drop(registry);
        stream.stop_unused();
    }

    fn stream_over(&self, stream: Id) {
        // A stream that is not in the table has been reaped already.
        let Some(stream) = self.registry().streams.get(stream).cloned() else { return };
        let mut reap = locked(&self.reap);
        if !reap.over && !stream.life().note_over() {
            match reap.streams.try_reserve(1) {
                Ok(()) => reap.streams.push(stream),
                Err(_) => reap.unlisted = true,
            }
        }
        drop(reap);
        self.reaped.notify_all();
    }

    fn enter_thread(&self) {
        // The guard is kept for the life of the thread; no other code of the library runs on that thread later.
        crate::net::thread::block_signals();
        std::mem::forget(RRLog::enter(self.events.log()));
    }

    fn step(&self, stream: Id) -> String {
        self.absent.step(stream)
    }

    fn timeouts(&self) -> Timeouts {
        Timeouts {
            idle_ms: self.config.idle_ms.into(),
            ping_ms: self.config.ping_ms.into(),
            send_ms: self.config.send_ms.into(),
        }
    }

    fn spares(&self) -> Spares {
        self.spares.clone()
    }

    fn further_relays(&self) -> Arc<FurtherRelays> {
        Arc::clone(&self.further_relays)
    }
}
