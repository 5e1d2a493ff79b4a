//! RRServer: listeners, the registry of streams, sessions and targets, and the threads that belong to no stream.
//!
//! Threads: `listenerThread` (the listener: accepting, handshakes, commands until the role is known), `dialThread`
//! (targets up to `Publish.Start`), a few `resolverThread`s, `controlThread` (joins what has ended, orderly stop),
//! `eventThread` (log sinks, the host's callback). ARCHITECTURE.md has the lock order; no lock is held during a call
//! into the host.

mod absent;
mod access;
mod admission;
mod bans;
mod changes;
mod control;
mod core;
mod dialler;
pub(crate) mod events;
mod export;
pub mod figures;
mod heap_trim;
#[cfg_attr(not(feature = "rest"), allow(dead_code, reason = "hooks are of that feature"))]
pub(crate) mod hooks;
mod import;
mod inbox;
mod listener;
mod listening;
mod loops;
mod memory_limit;
mod opening;
mod orphans;
mod out;
#[cfg_attr(not(feature = "rest"), allow(dead_code, reason = "those that are asked are of that feature"))]
pub(crate) mod place;
#[cfg_attr(not(feature = "rest"), allow(dead_code, reason = "the controller is of that feature"))]
pub(crate) mod placement;
mod registry;
pub mod report;
mod resolver;
mod secure;
pub(crate) mod slots;
mod source;
mod state;
mod stopping;
mod upgrade;

use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use self::changes::Change;
#[cfg(feature = "rest")]
use self::changes::Request;
pub use self::listening::Listening;
pub use self::out::RRRestOut;
// The types that a server's methods take and return.
pub use self::events::{EventFn, LogSink};
pub use self::slots::kind;
pub use crate::config::ListenOptions;
use crate::config::{AccessConfig, Decision, ServerConfig, StreamConfig, TargetConfig};
use crate::error::{Failure, RRError, Result};
use crate::log::RRLog;
pub use crate::log::{Level, LevelFilter};
use crate::net::clock;
use crate::net::event_loop::EventLoop;
use crate::net::heap;
use crate::net::socket::{self, Socket};
use crate::net::thread;
use crate::server::bans::{Ban, MAX_BAN_MS};
use crate::server::core::Core;
use crate::server::dialler::Dialler;
use crate::server::events::{Events, EventsConfig, refuse_in_callback};
#[cfg(feature = "rest")]
use crate::server::hooks::Hooks;
use crate::server::inbox::ToListener;
use crate::server::listener::Listener;
use crate::server::loops::Loops;
use crate::server::opening::{Opening, may_open, may_set};
use crate::server::orphans::Orphans;
#[cfg(feature = "rest")]
use crate::server::placement::Placement;
pub use crate::session::{Role, State};
pub use crate::stream::event::{Action, Event, EventKind, Id, flag};
pub use crate::stream::record::{Export, TargetExport};
use crate::stream::record::{Order, RRSession};
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::{News, Target};
use crate::stream::{RRStream, StreamName};
pub use crate::stream::{StreamExport, StreamState, WorkerCounts};
use crate::sync::locked;

/// One relay server. All methods may be called from any thread; each says if it must not be called in a callback.
#[derive(Debug)]
pub struct RRServer {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The threads of the loops that streams share.
    shared: Mutex<Vec<JoinHandle<()>>>,
    /// Where workers that have lost their server are found.
    orphans: Option<Orphans>,
}

impl RRServer {
    /// A server that does not listen yet; its threads run.
    ///
    /// # Errors
    /// [`RRError::Limit`] if the process has no fd or thread left, [`RRError::NoMem`] if it has no memory,
    /// [`RRError::Arg`] for settings that do not hold together, [`RRError::Io`] if the folder of workers cannot be used.
    pub fn new(config: ServerConfig, log_events: LevelFilter, callback: Option<EventFn>) -> Result<Self> {
        let config = config.checked()?;
        // Its threads' inboxes alone take 1.2 MB.
        heap::room()?;
        let (mut listener_loop, mut dial_loop) = (EventLoop::new()?, EventLoop::new()?);
        let (listener_wake, dial_wake) = (listener_loop.wake()?, dial_loop.wake()?);
        let (loops, event_loops) = Loops::new(&config)?;
        let room_wake = Arc::clone(&listener_wake);
        let on_room = Box::new(move || room_wake.wake());
        let events =
            Events::start(EventsConfig { limit: config.event_limit, log_events, callback, on_room: Some(on_room) })?;
        let (core, inboxes) = Core::new(config, loops, events, Arc::clone(&listener_wake), Arc::clone(&dial_wake));
        let failed = || {
            let core = Arc::clone(&core);
            Box::new(move |text: &str| core.thread_failed(text))
        };
        listener_loop.add(Listener::new(Arc::clone(&core)), inboxes.listener, listener_wake, failed());
        dial_loop.add(Dialler::new(Arc::clone(&core)), inboxes.dialler, dial_wake, failed());
        let (orphans, search) = Orphans::new(&core, failed())?.unzip();
        let (threads, shared) = (Mutex::default(), Mutex::default());
        let server = Self { core: Arc::clone(&core), threads, shared, orphans };
        let start = |among: &Mutex<Vec<JoinHandle<()>>>, name: &str, body: Box<dyn FnOnce() + Send>| -> Result<()> {
            let entering = Arc::clone(&core);
            let guarded = move || {
                thread::block_signals();
                let _log = RRLog::enter(entering.events.log());
                body();
            };
            locked(among).push(crate::sync::spawn(name, guarded, failed())?);
            Ok(())
        };
        let control = Arc::clone(&core);
        // This thread starts first, because it ends a server whose other threads cannot start.
        start(&server.threads, "controlThread", Box::new(move || control::run(&control)))
            .inspect_err(|_| core.stopped())?;
        start(&server.threads, "listenerThread", Box::new(move || listener_loop.run()))?;
        start(&server.threads, "dialThread", Box::new(move || dial_loop.run()))?;
        if let Some(search) = search {
            start(&server.threads, "orphanThread", Box::new(move || search.run()))?;
        }
        for event_loop in event_loops {
            start(&server.shared, "streamsThread", Box::new(move || event_loop.run()))?;
        }
        Ok(server)
    }

    // ---- the server itself

    /// The state.
    pub fn state(&self) -> State {
        self.core.state()
    }

    /// Listens on an address ("0.0.0.0:1935", `"[::]:1935"`, ":1935" for both families, port 0 for any); returns the port.
    ///
    /// # Errors
    /// Those of [`socket::listen`]; [`RRError::State`] once the server stops, and for TLS without a certificate.
    pub fn listen(&self, address: &str, options: ListenOptions) -> Result<u16> {
        self.may_listen(options)?;
        let listener = socket::listen(address, options.reuse_port)?;
        self.let_orphans_come();
        self.add_listener(listener, options)
    }

    /// Listens on a socket that listens already. The server owns the fd from now on, also on failure.
    ///
    /// # Errors
    /// Those of [`socket::listener_from`]; [`RRError::State`] as for [`listen`](Self::listen).
    pub fn listen_fd(&self, fd: OwnedFd, options: ListenOptions) -> Result<u16> {
        self.may_listen(options)?;
        let listener = socket::listener_from(fd)?;
        self.let_orphans_come();
        self.add_listener(listener, options)
    }

    fn may_listen(&self, options: ListenOptions) -> Result<()> {
        self.core.still_open()?;
        if options.tls {
            self.core.certificate.needed()?;
        }
        Ok(())
    }

    /// Takes over workers that have lost their server, at the first call: everything else is set up, and nobody has come to
    /// their streams. Whoever calls it has its socket, because a host whose server cannot listen stops it, and with it all
    /// that it has.
    fn let_orphans_come(&self) {
        if let Some(orphans) = &self.orphans {
            orphans.begin();
        }
    }

    fn add_listener(&self, listener: mio::net::TcpListener, options: ListenOptions) -> Result<u16> {
        let address = listener.local_addr().map_err(|error| Failure::io("getsockname", &error))?;
        self.core.to_listener(ToListener::Listener(listener, options))?;
        self.core.listens(Listening { address, options });
        Ok(address.port())
    }

    /// The sockets that listen, in the order in which they were added; none once the server stops.
    pub fn listeners(&self) -> Vec<Listening> {
        self.core.listening.all()
    }

    /// Takes a connection the host accepted. `peer` is the address to show; `None` asks the socket; a PROXY header, if
    /// one is required, overrides both. The server owns the fd from now on, also on failure.
    ///
    /// # Errors
    /// [`RRError::Arg`] if it is not a connected stream socket, [`RRError::Limit`], [`RRError::State`] as for
    /// [`listen`](Self::listen).
    pub fn accept_fd(&self, fd: OwnedFd, peer: Option<&str>, options: ListenOptions) -> Result<()> {
        self.may_listen(options)?;
        let socket = Socket::adopt_connected(fd)?;
        self.let_orphans_come();
        self.core.registry().room()?;
        let name = peer.map_or_else(|| socket.peer_name(), ToOwned::to_owned);
        self.core.to_listener(ToListener::Connection(socket, name, options))?;
        self.core.accepted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Sets the certificate (followed by its chain) and the key that listeners with TLS show; PEM files. It may be
    /// called again at any time, for connections from then on.
    ///
    /// # Errors
    /// [`RRError::Cert`] with the file and the reason; then the previous certificate stays.
    pub fn set_tls(&self, chain: &Path, key: &Path) -> Result<()> {
        self.core.certificate.set(chain, key)
    }

    /// Sets who may publish and play from now on; running sessions are not checked again.
    ///
    /// # Errors
    /// [`RRError::Io`] and [`RRError::Arg`] for the file of keys, with its name and the reason; then the previous
    /// settings stay.
    pub fn set_access(&self, config: AccessConfig) -> Result<()> {
        self.core.access.set(config, self.core.config.stream.args)
    }

    /// Stops in order: no new peers are accepted, streams get `deadline_ms` to send their last messages, then
    /// everything is closed and the server's state is STOPPED. Returns at once.
    ///
    /// With `reconnect_url` streams go on until shortly before the deadline, and peers that understand it are asked to
    /// connect to that url; they leave when they have connected.
    ///
    /// # Errors
    /// None at present. A second call shortens the deadline.
    pub fn stop(&self, reconnect_url: Option<&str>, deadline_ms: u32) -> Result<()> {
        match reconnect_url {
            Some(url) => self.core.drain(Some(url.to_owned()), u64::from(deadline_ms)),
            None => self.core.stop(u64::from(deadline_ms)),
        }
        Ok(())
    }

    /// Stops at once and joins every thread.
    ///
    /// # Errors
    /// [`RRError::Thread`] inside a callback: the event thread cannot wait for itself.
    pub fn shutdown(&self) -> Result<()> {
        refuse_in_callback()?;
        self.core.stop(0);
        self.core.wait_stopped();
        self.core.close();
        self.orphans.iter().for_each(Orphans::wake);
        for thread in std::mem::take(&mut *locked(&self.threads)) {
            // The thread itself has reported its panic, if any.
            let _ = thread.join();
        }
        // A stream that has not ended by now never will, and has been logged; the host does not wait for it.
        if self.core.registry().streams.is_empty() {
            for thread in std::mem::take(&mut *locked(&self.shared)) {
                let _ = thread.join();
            }
        }
        // Remaining events may be taken until the server is freed.
        self.core.events.stop(1_000)
    }

    /// Sets the sink and the level of this server's log lines.
    ///
    /// # Errors
    /// [`RRError::Timeout`] if the old sink does not return.
    pub fn set_log(&self, level: LevelFilter, sink: LogSink) -> Result<()> {
        self.core.events.set_log(level, sink)
    }

    /// Sets whether the lines of the librtmp face, of the whole process, come to this server's log. Only one log at a
    /// time gets them: `true` takes them from another log, and `false` gives up only this server's own.
    pub fn log_librtmp(&self, on: bool) {
        self.core.events.take_librtmp(on);
    }

    /// The host's pointer of this server.
    pub fn user(&self) -> usize {
        self.core.config.user
    }

    /// Assigns log records of the calling thread to this server, for calls of the host's threads.
    pub fn enter_log(&self) -> crate::log::Entered {
        RRLog::enter(self.core.events.log())
    }

    /// Adds a subscriber to every event from now on, besides the host.
    #[cfg(feature = "rest")]
    pub(crate) fn subscribe(&self, subscriber: &Arc<dyn events::Subscriber>) {
        self.core.events.subscribe(subscriber);
    }

    /// Removes a subscriber; an event that is being sent may still reach it.
    #[cfg(feature = "rest")]
    pub(crate) fn unsubscribe(&self, subscriber: &Arc<dyn events::Subscriber>) {
        self.core.events.unsubscribe(subscriber);
    }

    /// Number of connections that the listener and the host have accepted so far, also of those that have gone.
    #[cfg(feature = "rest")]
    pub(crate) fn accepted(&self) -> u64 {
        self.core.accepted.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The ids of one kind (`slots::kind`) below `parent`: a stream, or 0 for the server.
    ///
    /// # Errors
    /// [`RRError::NotFound`] if the parent has ended; [`RRError::NoMem`].
    pub fn list(&self, parent: Id, kind: u8) -> Result<Vec<Id>> {
        if parent != 0 {
            self.stream(parent)?;
        }
        report::list(&self.core, parent, kind)
    }

    /// The ids of one kind below `parent`, a stream or 0 for the server, each behind the id of its stream, sorted by
    /// stream.
    ///
    /// # Errors
    /// [`RRError::NoMem`].
    #[cfg(feature = "rest")]
    pub(crate) fn list_by_stream(&self, parent: Id, kind: u8) -> Result<Vec<(Id, Id)>> {
        report::by_stream(&self.core, parent, kind)
    }

    /// How many processes were started for streams, and how they ended; `None` where streams run in this process.
    pub fn worker_counts(&self) -> Option<WorkerCounts> {
        self.core.worker_counts()
    }

    /// The facts of an object; the id 0 is the server.
    ///
    /// # Errors
    /// [`RRError::NotFound`].
    pub fn info(&self, id: Id) -> Result<report::Info> {
        report::info(&self.core, id)
    }

    /// The figures of an id; 0 is the server.
    ///
    /// # Errors
    /// [`RRError::NotFound`]; for the server, [`RRError::NoMem`].
    pub fn stats(&self, id: Id) -> Result<figures::Stats> {
        report::stats(&self.core, id)
    }

    // ---- events

    /// Readable while an event waits.
    ///
    /// # Errors
    /// [`RRError::State`] with a callback.
    pub fn event_fd(&self) -> Result<RawFd> {
        self.core.events.raw_fd()
    }

    /// The next event; a timeout of 0 does not wait, -1 waits for ever.
    ///
    /// # Errors
    /// [`RRError::Thread`] for a second taker, [`RRError::State`] with a callback, [`RRError::Closed`] at the end.
    pub fn next_event(&self, timeout_ms: i32) -> Result<Option<Event>> {
        self.core.events.next(timeout_ms)
    }

    /// Makes a waiting [`Self::next_event`] return `None`.
    pub fn wake_events(&self) {
        self.core.events.wake();
    }

    // ---- changes

    /// Begins a change of an object, as soon as it is known that the object stays here.
    ///
    /// # Errors
    /// [`RRError::NotFound`] if another process has taken over its stream.
    fn change(&self, id: Id) -> Result<Change<'_>> {
        let change = self.core.changes.begin();
        let stream = match slots::kind_of(id) {
            kind::SESSION => self.session(id)?.stream(),
            kind::TARGET => self.target(id)?.stream().id(),
            _ => id,
        };
        if self.core.changes.has_moved(stream) {
            return Err(Failure::ours(RRError::NotFound, "another process has taken it over"));
        }
        Ok(change)
    }

    /// Begins a request whose changes do not wait, and in which no stream moves; `None` while it is not known which
    /// process has the streams.
    #[cfg(feature = "rest")]
    pub(crate) fn begin_request(&self) -> Option<Request<'_>> {
        self.core.changes.request()
    }

    /// Whether another process has taken over.
    #[cfg(feature = "rest")]
    pub(crate) fn has_moved(&self) -> bool {
        self.core.changes.has_moved(0)
    }

    // ---- sessions

    fn session(&self, id: Id) -> Result<Arc<RRSession>> {
        self.core.registry().sessions.find(id).cloned()
    }

    fn order(&self, id: Id, order: Order) -> Result<()> {
        self.session(id)?.order(order)
    }

    fn answer(&self, id: Id, order: Order) -> Result<()> {
        if self.session(id)?.state() != State::Waiting {
            return Err(Failure::ours(RRError::State, "the session waits for no answer"));
        }
        self.order(id, order)
    }

    /// Allows a session that waits for an answer.
    ///
    /// # Errors
    /// [`RRError::NotFound`], [`RRError::State`] if it waits for no answer.
    pub fn session_allow(&self, id: Id, decision: Decision) -> Result<()> {
        self.check_decision(id, &decision)?;
        self.answer(id, Order::Allow(Box::new(decision)))
    }

    /// Checks the targets and sources of a decision, so that a session is allowed with all of them or not at all.
    fn check_decision(&self, id: Id, decision: &Decision) -> Result<()> {
        if decision.targets.is_empty() && decision.sources.is_empty() {
            return Ok(());
        }
        let names = self.session(id)?.names();
        may_open(&decision.targets, &decision.sources, decision.rename.as_ref().unwrap_or(&names.key))
    }

    /// Sets the hooks of this server. Sessions that wait for an answer of the previous hooks still get it.
    #[cfg(feature = "rest")]
    pub(crate) fn set_hooks(&self, hooks: Arc<dyn Hooks>) {
        self.core.hooks.set(hooks);
    }

    /// Removes these hooks, unless others have replaced them meanwhile.
    #[cfg(feature = "rest")]
    pub(crate) fn remove_hooks(&self, hooks: &Arc<dyn Hooks>) {
        self.core.hooks.remove(hooks);
    }

    /// Sets the placement, which is asked where streams go and come from.
    #[cfg(feature = "rest")]
    pub(crate) fn set_placement(&self, placement: Arc<dyn Placement>) {
        self.core.placement.set(placement);
    }

    /// Removes this placement, unless another has replaced it meanwhile.
    #[cfg(feature = "rest")]
    pub(crate) fn remove_placement(&self, placement: &Arc<dyn Placement>) {
        self.core.placement.remove(placement);
    }

    /// The stream with this name.
    #[cfg(feature = "rest")]
    pub(crate) fn stream_named(&self, name: &StreamName) -> Option<Arc<RRStream>> {
        self.core.registry().find(name).cloned()
    }

    /// Sends an event to the host and the subscribers.
    #[cfg(feature = "rest")]
    pub(crate) fn tell(&self, event: Event) {
        self.core.events.push(event);
    }

    /// Takes an answer of hooks or of the controller to a question, or another request of theirs.
    ///
    /// # Errors
    /// Those of [`RRRestOut::carry_out`]; an answer that comes too late is ignored.
    #[cfg(feature = "rest")]
    pub(crate) fn answer_question(&self, number: u64, answer: RRRestOut) -> Result<Id> {
        let (session, order) = match answer {
            RRRestOut::Allow { session, decision } => {
                self.check_decision(session, &decision)?;
                (session, Order::Allow(decision))
            }
            RRRestOut::Deny { session, code, text } => (session, Order::Deny(code, text)),
            RRRestOut::Redirect { session, url } => (session, Order::Redirect(url)),
            other => return other.carry_out(self),
        };
        self.order(session, Order::Answer(number, Box::new(order))).map(|()| session)
    }

    /// Refuses a session that waits for an answer, with an onStatus code ("" means the usual one) and text.
    ///
    /// # Errors
    /// Those of [`Self::session_allow`].
    pub fn session_deny(&self, id: Id, code: &str, text: &str) -> Result<()> {
        self.answer(id, Order::Deny(code.to_owned(), text.to_owned()))
    }

    /// Redirects a session that waits for an answer.
    ///
    /// # Errors
    /// Those of [`Self::session_allow`].
    pub fn session_redirect(&self, id: Id, url: &str) -> Result<()> {
        self.answer(id, Order::Redirect(url.to_owned()))
    }

    /// Asks a session's peer to connect again (Enhanced RTMP), elsewhere if `url` is given.
    ///
    /// # Errors
    /// [`RRError::NotFound`], [`RRError::Unsupported`] if the peer did not announce that it understands this.
    pub fn session_reconnect(&self, id: Id, url: Option<&str>, text: &str) -> Result<()> {
        let _change = self.change(id)?;
        if !self.session(id)?.reconnects() {
            return Err(Failure::ours(RRError::Unsupported, "the peer does not understand reconnect requests"));
        }
        self.order(id, Order::Reconnect(url.map(ToOwned::to_owned), text.to_owned()))
    }

    /// Closes a session. With `ban_ms` above 0, peers from its address may not do the same (publish or play that
    /// stream) for this long.
    ///
    /// # Errors
    /// [`RRError::NotFound`], [`RRError::Again`]; with a ban, [`RRError::Arg`] for one above a day, [`RRError::State`]
    /// for a session that neither publishes nor plays or whose address is not known, [`RRError::Limit`] if there are
    /// too many bans. On an error nothing has changed.
    pub fn session_close(&self, id: Id, text: &str, ban_ms: u32) -> Result<()> {
        let _change = self.change(id)?;
        let close = || self.order(id, Order::Close(text.to_owned()));
        if ban_ms == 0 {
            return close();
        }
        if ban_ms > MAX_BAN_MS {
            return Err(Failure::ours(
                RRError::Arg,
                format!("ban_ms is {ban_ms}, at most a day ({MAX_BAN_MS}) is allowed"),
            ));
        }
        let record = self.session(id)?;
        let stream = self.core.registry().streams.get(record.stream()).cloned();
        let ban = Ban::of(&record, stream.as_ref().map(|stream| stream.name()))?;
        let (bans, now_ms) = (&self.core.bans, clock::now_ms());
        // The ban is in force before the peer is closed, so that a peer that is back at once meets it.
        let before = bans.add(ban.clone(), now_ms.saturating_add(ban_ms.into()), now_ms)?;
        close().inspect_err(|_| bans.restore(ban, before))
    }

    // ---- streams

    fn stream(&self, id: Id) -> Result<Arc<RRStream>> {
        self.core.registry().streams.find(id).cloned()
    }

    /// Makes a stream that exists with or without peers. An existing stream becomes such a stream and keeps its
    /// settings.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a name that is too long or has NUL, [`RRError::Exists`] if settings are given and the
    /// stream exists, [`RRError::Limit`], [`RRError::State`] once the server stops.
    pub fn stream_create(&self, app: &[u8], key: &[u8], config: Option<StreamConfig>) -> Result<Id> {
        let _change = self.core.changes.begin();
        self.core.still_open()?;
        let name = StreamName::checked(app, key)?;
        let given = config.is_some();
        let config = config.unwrap_or_else(|| (*self.core.config.stream).clone());
        let may_be_there = || match given {
            true => Err(Failure::ours(RRError::Exists, "the stream exists already, with its own settings")),
            false => Ok(()),
        };
        for _ in 0..admission::TRIES {
            let (stream, made) = self.core.find_or_make(name.clone(), &config, true)?;
            let reserved = if made { Ok(()) } else { stream.book().reserve_with(may_be_there) };
            match reserved {
                // The stream of this name is ending: its end frees the name, or this does.
                Err(failure) if failure.kind == RRError::State => self.core.registry().forget_name(&stream),
                reserved => return reserved.map(|()| stream.id()),
            }
        }
        Err(Failure::ours(RRError::State, "the stream ends again and again"))
    }

    /// Gives a stream other settings in the place of `was` while it runs, and lets it exist without peers.
    ///
    /// # Errors
    /// [`RRError::NotFound`], [`RRError::Exists`] with the setting that cannot change while the stream runs,
    /// [`RRError::Again`] if it has other settings than `was`, [`RRError::State`] if it is ending or the server stops; the
    /// stream then stays as it is.
    pub fn stream_change(&self, id: Id, was: &StreamConfig, config: StreamConfig) -> Result<()> {
        let _change = self.change(id)?;
        self.core.still_open()?;
        self.core.config.may_have(&config)?;
        let stream = self.stream(id)?;
        stream.book().reserve_with(|| stream.set_config(was, config))
    }

    /// The id of a stream.
    ///
    /// # Errors
    /// [`RRError::NotFound`].
    pub fn stream_find(&self, app: &[u8], key: &[u8]) -> Result<Id> {
        let name = StreamName::checked(app, key)?;
        self.core.registry().find(&name).map(|stream| stream.id()).ok_or_else(|| not_found("stream"))
    }

    /// The settings that streams made by publishers and players have.
    pub fn default_stream_config(&self) -> StreamConfig {
        (*self.core.config.stream).clone()
    }

    /// The settings of a stream.
    ///
    /// # Errors
    /// [`RRError::NotFound`].
    pub fn stream_config(&self, id: Id) -> Result<StreamConfig> {
        Ok((*self.stream(id)?.config()).clone())
    }

    /// Stops a stream: its publisher is closed, and consumers get the rest of the log within the deadline.
    ///
    /// # Errors
    /// [`RRError::NotFound`].
    pub fn stream_stop(&self, id: Id, deadline_ms: u32) -> Result<()> {
        let _change = self.change(id)?;
        self.stream(id)?.stop(u64::from(deadline_ms));
        Ok(())
    }

    /// Makes a standby the live publisher, from its next key frame.
    ///
    /// # Errors
    /// [`RRError::NotFound`] for the stream, or if the session does not publish to it.
    pub fn stream_switch(&self, id: Id, source: Id) -> Result<()> {
        let _change = self.change(id)?;
        self.stream(id)?.switch(source)
    }

    /// Publishes a message of the host's own to a stream. To begin that is a change; a stream that the host publishes stays
    /// in this process.
    ///
    /// # Errors
    /// [`RRError::NotFound`], [`RRError::Arg`] for a type that is not media, a negative time or a body that is too
    /// large, [`RRError::Exists`] if a session publishes, [`RRError::Limit`] and [`RRError::NoMem`].
    pub fn stream_write(&self, id: Id, type_id: u8, ts_ms: i64, body: &[u8], end: bool) -> Result<()> {
        let stream = self.stream(id)?;
        if !crate::proto::message::is_media(type_id) && (!end || !body.is_empty()) {
            return Err(Failure::ours(RRError::Arg, format!("message type {type_id} is not audio, video or data")));
        }
        if u32::try_from(body.len()).is_err() || body.len() > self.core.config.max_message_bytes as usize {
            return Err(Failure::ours(RRError::Arg, "the message is larger than max_message"));
        }
        if !stream.write(type_id, ts_ms, body, end, false)? {
            let _change = self.change(id)?;
            stream.write(type_id, ts_ms, body, end, true)?;
        }
        Ok(())
    }

    // ---- targets

    fn target(&self, id: Id) -> Result<Arc<Target>> {
        self.core.registry().targets.find(id).cloned()
    }

    /// Adds a push target to a stream, live or not.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a malformed url or pin, [`RRError::Cert`] if the file of its roots cannot be read,
    /// [`RRError::NotFound`], [`RRError::Limit`].
    pub fn target_add(&self, stream: Id, config: TargetConfig) -> Result<Id> {
        self.add(stream, config, false)
    }

    /// Adds a source, which pulls a stream and is its publisher while connected. A source waits while there is another
    /// publisher and, with `on_demand`, while there are no players. Everything else is as with a target.
    ///
    /// # Errors
    /// Those of [`Self::target_add`]; [`RRError::Unsupported`] for settings that only a target has.
    pub fn source_add(&self, stream: Id, config: TargetConfig) -> Result<Id> {
        self.add(stream, config, true)
    }

    fn add(&self, stream: Id, config: TargetConfig, pulls: bool) -> Result<Id> {
        let _change = self.change(stream)?;
        may_set(&config, pulls)?;
        let stream = self.stream(stream)?;
        let endpoint = Endpoint::ready(config, &stream.name().key)?;
        let target = self.core.new_target(&stream, endpoint, pulls)?;
        self.core.attach(&stream, &target)?;
        Ok(target.id)
    }

    /// Finds a target or source of a stream by url and key; of several the first one, targets before sources.
    ///
    /// # Errors
    /// [`RRError::NotFound`] for the stream, or if it has none of that url and key.
    pub fn target_find(&self, stream: Id, url: &str, key: Option<&[u8]>) -> Result<Id> {
        let stream = self.stream(stream)?;
        let is_it = |target: &Arc<Target>| {
            let endpoint = target.endpoint();
            !target.is_stopped() && endpoint.config.url == url && endpoint.config.key.as_deref() == key
        };
        let all = stream.book().targets().into_iter().chain(stream.sources().list());
        let found = all.filter(is_it).min_by_key(|target| (target.is_source(), target.id));
        found.map(|target| target.id).ok_or_else(|| Failure::ours(RRError::NotFound, "no target of that url and key"))
    }

    /// Adds the targets and sources that a stream does not have yet, compared by url and key; all of them or none.
    /// Those that have failed are tried again. Then it ends `instead_of`, which they replace, unless it is among them.
    ///
    /// # Errors
    /// Those of [`Self::target_add`] and [`Self::source_add`]; on an error nothing has changed.
    pub fn stream_open(
        &self,
        id: Id,
        targets: &[TargetConfig],
        sources: &[TargetConfig],
        instead_of: Option<Id>,
    ) -> Result<()> {
        let _change = self.change(id)?;
        let stream = self.stream(id)?;
        may_open(targets, sources, &stream.name().key)?;
        let opening = locked(&self.core.opening);
        Opening::of(&self.core, &stream, targets, sources, instead_of)?.carry_out(&self.core, &stream)?;
        drop(opening);
        let Some(before) = instead_of else { return Ok(()) };
        let Ok(config) = self.target_config(before) else { return Ok(()) };
        if targets.iter().chain(sources).any(|named| named.same_place(&config)) {
            Ok(())
        } else {
            self.stop_target(before, 0)
        }
    }

    /// Refuses the waiting players of a stream that nothing feeds.
    ///
    /// # Errors
    /// [`RRError::NotFound`].
    pub fn players_refuse(&self, id: Id, text: &str) -> Result<()> {
        let _change = self.change(id)?;
        let failure = Failure::ours(RRError::Rejected, text.to_owned());
        self.stream(id)?.refuse_players("NetStream.Play.Failed", failure, 0);
        Ok(())
    }

    /// Changes the settings of a target or source. If they name another server or kind of connection, it reconnects at
    /// once; other settings change while it runs. Media that is added begins at the next key frame.
    ///
    /// # Errors
    /// Those of [`Self::target_add`] and [`Self::source_add`].
    pub fn target_update(&self, id: Id, config: TargetConfig) -> Result<()> {
        self.change_target(id, None, config)
    }

    fn change_target(&self, id: Id, was: Option<&TargetConfig>, config: TargetConfig) -> Result<()> {
        let _change = self.change(id)?;
        let target = self.target(id)?;
        may_set(&config, target.is_source())?;
        let endpoint = Endpoint::ready(config, &target.stream().name().key)?;
        match was {
            Some(was) => target.change_endpoint(was, endpoint)?,
            None => target.set_endpoint(endpoint),
        }
        self.core.tell_dialler(&target, News::Updated);
        let Some(stream) = self.core.stream_of(&target) else { return Ok(()) };
        if target.is_source() {
            stream.source_changed();
        } else {
            stream.wake_relays();
        }
        Ok(())
    }

    /// The settings of a target or source, secrets included.
    ///
    /// # Errors
    /// [`RRError::NotFound`].
    pub fn target_config(&self, id: Id) -> Result<TargetConfig> {
        Ok(self.target(id)?.endpoint().config.clone())
    }

    /// Starts the next try of a waiting target now.
    ///
    /// # Errors
    /// [`RRError::NotFound`].
    pub fn target_retry(&self, id: Id) -> Result<()> {
        let _change = self.change(id)?;
        let target = self.target(id)?;
        self.core.tell_dialler(&target, News::Retry);
        Ok(())
    }

    /// Stops a target; if it is connected, it gets the rest of the log within the deadline. The stream goes on.
    ///
    /// # Errors
    /// [`RRError::NotFound`].
    pub fn target_stop(&self, id: Id, deadline_ms: u32) -> Result<()> {
        let _change = self.change(id)?;
        self.stop_target(id, deadline_ms)
    }

    fn stop_target(&self, id: Id, deadline_ms: u32) -> Result<()> {
        let target = self.target(id)?;
        target.stop(u64::from(deadline_ms));
        self.core.tell_dialler(&target, News::Stop);
        if let Some(stream) = self.core.stream_of(&target) {
            stream.wake_relays();
            stream.wake_accumulate();
        }
        Ok(())
    }
}

impl RRRestOut {
    /// Carries out the request, completely or not at all. Returns the id of the object that was made or changed; 0 is
    /// the server.
    ///
    /// # Errors
    /// Those of the server's method; on an error nothing has changed.
    pub fn carry_out(self, server: &RRServer) -> Result<Id> {
        match self {
            Self::CreateStream { app, key, config } => server.stream_create(&app, &key, config.map(|config| *config)),
            Self::ChangeStream { stream, was, config } => server.stream_change(stream, &was, *config).map(|()| stream),
            Self::AddTarget { stream, config } => server.target_add(stream, *config),
            Self::AddSource { stream, config } => server.source_add(stream, *config),
            Self::Open { stream, targets, sources, instead_of } => {
                server.stream_open(stream, &targets, &sources, instead_of).map(|()| stream)
            }
            Self::RefusePlayers { stream, text } => server.players_refuse(stream, &text).map(|()| stream),
            Self::UpdateTarget { target, was, config } => {
                server.change_target(target, was.as_deref(), *config).map(|()| target)
            }
            Self::StopStream { stream, deadline_ms } => server.stream_stop(stream, deadline_ms).map(|()| stream),
            Self::Switch { stream, source } => server.stream_switch(stream, source).map(|()| stream),
            Self::RetryTarget { target } => server.target_retry(target).map(|()| target),
            Self::StopTarget { target, deadline_ms } => server.target_stop(target, deadline_ms).map(|()| target),
            Self::Allow { session, decision } => server.session_allow(session, *decision).map(|()| session),
            Self::Deny { session, code, text } => server.session_deny(session, &code, &text).map(|()| session),
            Self::Redirect { session, url } => server.session_redirect(session, &url).map(|()| session),
            Self::CloseSession { session, text, ban_ms } => {
                server.session_close(session, &text, ban_ms).map(|()| session)
            }
            Self::ReconnectSession { session, url, text } => {
                server.session_reconnect(session, url.as_deref(), &text).map(|()| session)
            }
            Self::Upgrade => server.ask_for_upgrade().map(|()| 0),
            Self::Drain { reconnect_url, deadline_ms } => {
                server.stop(reconnect_url.as_deref(), deadline_ms).map(|()| 0)
            }
        }
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl RRServer {
    /// For tests and fuzzers: a reference that is dead once the server is completely freed.
    pub(crate) fn life(&self) -> std::sync::Weak<dyn std::fmt::Debug> {
        let core: Arc<dyn std::fmt::Debug> = Arc::<Core>::clone(&self.core);
        Arc::downgrade(&core)
    }
}

impl Drop for RRServer {
    fn drop(&mut self) {
        // In a callback this would wait for itself; the ffi refuses that earlier.
        if refuse_in_callback().is_ok() {
            let _ = self.shutdown();
            self.core.forget();
        }
    }
}

fn not_found(what: &str) -> Failure {
    Failure::ours(RRError::NotFound, format!("no such {what}, or it has ended"))
}

#[cfg(test)]
mod tests;
