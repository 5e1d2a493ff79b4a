//! RRServer: listeners, the registry of streams, sessions and targets, and the threads that belong to no stream.
//!
//! Threads: `listenerThread` (the listener: accepting, handshakes, commands until the role is known), `dialThread`
//! (targets up to `Publish.Start`), a few `resolverThread`s, `controlThread` (joins what has ended, orderly stop),
//! `eventThread` (log sinks, the host's callback). Lock order: registry, then a stream's book, then its buffer; none is
//! held while calling another thread's inbox blocks (none does) or the host.

mod absent;
mod access;
mod admission;
mod bans;
mod control;
mod core;
mod dialler;
pub(crate) mod events;
pub(crate) mod exported;
pub mod figures;
mod heap_trim;
#[cfg_attr(not(feature = "rest"), allow(dead_code, reason = "hooks are of that feature"))]
pub(crate) mod hooks;
mod inbox;
mod listener;
mod listening;
mod loops;
mod memory_limit;
mod opening;
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

use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub use self::listening::Listening;
pub use self::out::RRRestOut;
// What the methods of a server take and give.
pub use self::events::{EventFn, LogSink};
pub use self::slots::kind;
pub use crate::config::ListenOptions;
use crate::config::{AccessConfig, Decision, MAX_DECISION_TARGETS, ServerConfig, StreamConfig, TargetConfig};
use crate::error::{Failure, RRError, Result};
use crate::log::RRLog;
pub use crate::log::{Level, LevelFilter};
use crate::net::clock;
use crate::net::event_loop::EventLoop;
use crate::net::socket::{self, Socket};
use crate::net::thread;
use crate::server::bans::{Ban, MAX_BAN_MS};
use crate::server::core::Core;
use crate::server::dialler::Dialler;
use crate::server::events::{Events, EventsConfig, refuse_in_callback};
use crate::server::exported::ExportedSession;
#[cfg(feature = "rest")]
use crate::server::hooks::Hooks;
use crate::server::inbox::ToListener;
use crate::server::listener::Listener;
use crate::server::loops::Loops;
use crate::server::opening::Opening;
#[cfg(feature = "rest")]
use crate::server::placement::Placement;
pub use crate::session::{Role, State};
pub use crate::stream::event::{Action, Event, EventKind, Id, flag};
pub use crate::stream::record::Export;
use crate::stream::record::{ExportCaller, Order, RRSession};
use crate::stream::remote::endpoint::Endpoint;
use crate::stream::remote::target::{News, Target};
use crate::stream::{RRStream, StreamName};
use crate::sync::locked;

/// One relay server. All methods may be called from any thread; see each for what must not be called in a callback.
#[derive(Debug)]
pub struct RRServer {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Those of the loops that streams share.
    shared: Mutex<Vec<JoinHandle<()>>>,
}

impl RRServer {
    /// A server that listens nowhere yet; its threads run.
    ///
    /// # Errors
    /// [`RRError::Limit`] where the process has no fd or thread left, [`RRError::NoMem`] where it has no memory,
    /// [`RRError::Arg`] for settings of streams that streams on shared loops cannot have.
    pub fn new(config: ServerConfig, log_events: LevelFilter, callback: Option<EventFn>) -> Result<Self> {
        config.may_have(&config.stream)?;
        let (mut listener_loop, mut dial_loop) = (EventLoop::new()?, EventLoop::new()?);
        let (listener_wake, dial_wake) = (listener_loop.wake()?, dial_loop.wake()?);
        let (loops, event_loops) = Loops::new(config.threads)?;
        let room_wake = Arc::clone(&listener_wake);
        let on_room = Box::new(move || room_wake.wake());
        let events =
            Events::start(EventsConfig { limit: config.event_limit, log_events, callback, on_room: Some(on_room) })?;
        let (core, inboxes) = Core::new(config, loops, events, Arc::clone(&listener_wake), Arc::clone(&dial_wake));
        let failed = || {
            let core = Arc::clone(&core);
            Box::new(move |text: &str| core.thread_failed(text))
        };
        listener_loop.add(Listener::new(Arc::clone(&core)), inboxes.listener, listener_wake, failed())?;
        dial_loop.add(Dialler::new(Arc::clone(&core)), inboxes.dialler, dial_wake, failed())?;
        let server = Self { core: Arc::clone(&core), threads: Mutex::default(), shared: Mutex::default() };
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
        // First, as it carries out the end of a server of which something else cannot start.
        start(&server.threads, "controlThread", Box::new(move || control::run(&control)))
            .inspect_err(|_| core.stopped())?;
        start(&server.threads, "listenerThread", Box::new(move || listener_loop.run()))?;
        start(&server.threads, "dialThread", Box::new(move || dial_loop.run()))?;
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

    /// Listens on an address ("0.0.0.0:1935", `"[::]:1935"` and ":1935" for both families, port 0 for any) and gives
    /// the port.
    ///
    /// # Errors
    /// Those of [`socket::listen`]; [`RRError::State`] once the server stops, and for TLS without a certificate.
    pub fn listen(&self, address: &str, options: ListenOptions) -> Result<u16> {
        self.may_listen(options)?;
        self.add_listener(socket::listen(address, options.reuse_port)?, options)
    }

    /// Listens on a socket that listens already. The fd is ours from here on, also on failure.
    ///
    /// # Errors
    /// Those of [`socket::listener_from`]; [`RRError::State`] as for [`listen`](Self::listen).
    pub fn listen_fd(&self, fd: OwnedFd, options: ListenOptions) -> Result<u16> {
        self.may_listen(options)?;
        self.add_listener(socket::listener_from(fd)?, options)
    }

    fn may_listen(&self, options: ListenOptions) -> Result<()> {
        self.core.still_open()?;
        if options.tls { self.core.certificate.needed() } else { Ok(()) }
    }

    fn add_listener(&self, listener: mio::net::TcpListener, options: ListenOptions) -> Result<u16> {
        let address = listener.local_addr().map_err(|error| Failure::io("getsockname", &error))?;
        self.core.to_listener(ToListener::Listener(listener, options))?;
        self.core.listens(Listening { address, options });
        Ok(address.port())
    }

    /// The sockets that listen, in the order in which they began; none once the server stops.
    pub fn listeners(&self) -> Vec<Listening> {
        self.core.listening.all()
    }

    /// Takes a connection the host accepted. `peer` is the address to show; `None` asks the socket; a PROXY header,
    /// where one is to come, knows better than both. The fd is ours from here on, also on failure.
    ///
    /// # Errors
    /// [`RRError::Arg`] where it is no connected stream socket, [`RRError::Limit`], [`RRError::State`] as for
    /// [`listen`](Self::listen).
    pub fn accept_fd(&self, fd: OwnedFd, peer: Option<&str>, options: ListenOptions) -> Result<()> {
        self.may_listen(options)?;
        let socket = Socket::adopt_connected(fd)?;
        self.core.registry().room()?;
        let name = peer.map_or_else(|| socket.peer_name(), ToOwned::to_owned);
        self.core.to_listener(ToListener::Connection(socket, name, options))
    }

    /// The certificate, with the chain behind it, and its key, that listeners with TLS show; PEM files. Again at any
    /// time, for connections from then on.
    ///
    /// # Errors
    /// [`RRError::Cert`] with the file and the reason; what was shown before is shown on.
    pub fn set_tls(&self, chain: &Path, key: &Path) -> Result<()> {
        self.core.certificate.set(chain, key)
    }

    /// Who may publish and play from now on; sessions that run are not judged again.
    ///
    /// # Errors
    /// [`RRError::Io`] and [`RRError::Arg`] for the file of keys, with its name and the reason; what was set before stays.
    pub fn set_access(&self, config: AccessConfig) -> Result<()> {
        self.core.access.set(config, self.core.config.stream.args)
    }

    /// Stops in order: no more peers come in, streams get `deadline_ms` to bring their last messages out, then
    /// everything is closed and the server's state is STOPPED. Returns at once.
    ///
    /// With `reconnect_url` streams go on until shortly before the deadline: peers that understand it are asked to
    /// connect again there, and leave when they have.
    ///
    /// # Errors
    /// None so far; a second call shortens the deadline.
    pub fn stop(&self, reconnect_url: Option<&str>, deadline_ms: u32) -> Result<()> {
        match reconnect_url {
            Some(url) => self.core.drain(url, u64::from(deadline_ms)),
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
        for thread in std::mem::take(&mut *locked(&self.threads)) {
            // Its panic, if any, was reported by the thread itself.
            let _ = thread.join();
        }
        // A stream that has not ended in all that time never will, and has been told of; the host does not wait for it.
        if self.core.registry().streams.is_empty() {
            for thread in std::mem::take(&mut *locked(&self.shared)) {
                let _ = thread.join();
            }
        }
        // The events that are left may be taken until the server is gone.
        self.core.events.stop(1_000)
    }

    /// Where log lines of this server go, and from which level on.
    ///
    /// # Errors
    /// [`RRError::Timeout`] where the old sink does not return.
    pub fn set_log(&self, level: LevelFilter, sink: LogSink) -> Result<()> {
        self.core.events.set_log(level, sink)
    }

    /// Whether the lines of the librtmp face, of the whole process, come to this server's log. One log at a time has
    /// them: this one takes them from another, and gives up only its own.
    pub fn log_librtmp(&self, on: bool) {
        self.core.events.take_librtmp(on);
    }

    /// The host's pointer of this server.
    pub fn user(&self) -> usize {
        self.core.config.user
    }

    /// For log records of calls made by the host's threads.
    pub fn enter_log(&self) -> crate::log::Entered {
        RRLog::enter(self.core.events.log())
    }

    /// Has somebody told of every event from here on, beside the host.
    #[cfg(feature = "rest")]
    pub(crate) fn subscribe(&self, subscriber: &Arc<dyn events::Subscriber>) {
        self.core.events.subscribe(subscriber);
    }

    /// Ends that; one event that is being told may still come.
    #[cfg(feature = "rest")]
    pub(crate) fn unsubscribe(&self, subscriber: &Arc<dyn events::Subscriber>) {
        self.core.events.unsubscribe(subscriber);
    }

    /// The ids of one kind (`slots::kind`) below `parent`: a stream, or 0 for the server.
    ///
    /// # Errors
    /// [`RRError::NotFound`] where the parent has ended; [`RRError::NoMem`].
    pub fn list(&self, parent: Id, kind: u8) -> Result<Vec<Id>> {
        if parent != 0 {
            self.stream(parent)?;
        }
        report::list(&self.core, parent, kind)
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
    /// [`RRError::NotFound`].
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

    /// The next event; 0 looks, -1 waits for ever.
    ///
    /// # Errors
    /// [`RRError::Thread`] for a second taker, [`RRError::State`] with a callback, [`RRError::Closed`] at the end.
    pub fn next_event(&self, timeout_ms: i32) -> Result<Option<Event>> {
        self.core.events.next(timeout_ms)
    }

    /// Makes a waiting [`Self::next_event`] give `None`.
    pub fn wake_events(&self) {
        self.core.events.wake();
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

    /// Lets a session that asks in.
    ///
    /// # Errors
    /// [`RRError::NotFound`], [`RRError::State`] where it asks nothing.
    pub fn session_allow(&self, id: Id, decision: Decision) -> Result<()> {
        self.check_decision(id, &decision)?;
        self.answer(id, Order::Allow(Box::new(decision)))
    }

    /// Looks at what a decision adds to the stream, so that a session is let in with all of it or not at all.
    fn check_decision(&self, id: Id, decision: &Decision) -> Result<()> {
        if decision.targets.is_empty() && decision.sources.is_empty() {
            return Ok(());
        }
        let names = self.session(id)?.names();
        may_open(&decision.targets, &decision.sources, decision.rename.as_ref().unwrap_or(&names.key))
    }

    /// The hooks of this server from now on. Sessions that wait for an answer of those before get one still.
    #[cfg(feature = "rest")]
    pub(crate) fn set_hooks(&self, hooks: Arc<dyn Hooks>) {
        self.core.hooks.set(hooks);
    }

    /// Takes these hooks off, unless others are the server's meanwhile.
    #[cfg(feature = "rest")]
    pub(crate) fn remove_hooks(&self, hooks: &Arc<dyn Hooks>) {
        self.core.hooks.remove(hooks);
    }

    /// Whom to ask from now on where streams go and come from.
    #[cfg(feature = "rest")]
    pub(crate) fn set_placement(&self, placement: Arc<dyn Placement>) {
        self.core.placement.set(placement);
    }

    /// Asks this one no more, unless another has its place meanwhile.
    #[cfg(feature = "rest")]
    pub(crate) fn remove_placement(&self, placement: &Arc<dyn Placement>) {
        self.core.placement.remove(placement);
    }

    /// The stream of this name.
    #[cfg(feature = "rest")]
    pub(crate) fn stream_named(&self, name: &StreamName) -> Option<Arc<RRStream>> {
        self.core.registry().find(name).cloned()
    }

    /// Tells the host, and whoever subscribes.
    #[cfg(feature = "rest")]
    pub(crate) fn tell(&self, event: Event) {
        self.core.events.push(event);
    }

    /// The answer of hooks or of the controller to a question, or another wish of theirs.
    ///
    /// # Errors
    /// As [`RRRestOut::carry_out`]; an answer that comes too late answers nothing.
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

    /// Refuses a session that asks, with an onStatus code ("" takes the usual one) and text.
    ///
    /// # Errors
    /// Those of [`Self::session_allow`].
    pub fn session_deny(&self, id: Id, code: &str, text: &str) -> Result<()> {
        self.answer(id, Order::Deny(code.to_owned(), text.to_owned()))
    }

    /// Sends a session that asks elsewhere.
    ///
    /// # Errors
    /// Those of [`Self::session_allow`].
    pub fn session_redirect(&self, id: Id, url: &str) -> Result<()> {
        self.answer(id, Order::Redirect(url.to_owned()))
    }

    /// Asks a session's peer to connect again (E-RTMP), elsewhere if `url` is given.
    ///
    /// # Errors
    /// [`RRError::NotFound`], [`RRError::Unsupported`] where the peer did not say that it understands.
    pub fn session_reconnect(&self, id: Id, url: Option<&str>, text: &str) -> Result<()> {
        if !self.session(id)?.reconnects() {
            return Err(Failure::ours(RRError::Unsupported, "the peer does not understand reconnect requests"));
        }
        self.order(id, Order::Reconnect(url.map(ToOwned::to_owned), text.to_owned()))
    }

    /// Gives a session that asks away to another process: what is given is its open connection, and the state with which
    /// [`Self::session_import`] goes on there. The session ends here with that, and its last event says so. Waits for the
    /// thread that has it, between two of that thread's turns.
    ///
    /// # Errors
    /// Those of [`Self::session_allow`], [`RRError::State`] also where it was answered meanwhile;
    /// [`RRError::Unsupported`] for one that cannot go on elsewhere: over TLS or HTTP, or with plays or targets. It is
    /// where it was then, as with [`Export::Needs`].
    pub fn session_export(&self, id: Id, room: usize) -> Result<Export> {
        let (caller, wait) = ExportCaller::new();
        self.answer(id, Order::Export { room, caller })?;
        // A thread that has ended in a panic drops no order.
        wait.outcome(|| self.core.is_closing()).unwrap_or_else(|| {
            self.session(id)?;
            Err(Failure::ours(RRError::State, "the session was answered before, or its server ends"))
        })
    }

    /// Goes on with a session of another process, which [`Self::session_export`] gave: it asks here what it asked there,
    /// after hooks and before the host. The fd is ours from here on, also on failure.
    ///
    /// # Errors
    /// [`RRError::Arg`] where the fd is no connected stream socket or the state is none, [`RRError::Version`] where it is
    /// newer than this library, [`RRError::Limit`] where it is larger than the settings allow or there is no room for
    /// another session, [`RRError::NoMem`], [`RRError::State`] once the server stops.
    pub fn session_import(&self, fd: OwnedFd, state: &[u8]) -> Result<()> {
        self.core.still_open()?;
        let socket = Socket::adopt_connected(fd)?;
        let config = listener::session_config(&self.core.config);
        ExportedSession::read(&config, state, clock::now_ms())?.enter(&self.core, socket)
    }

    /// Closes a session. With `ban_ms` above 0 whoever comes from its address is refused for so long to do what it did:
    /// to publish, or to play, that stream.
    ///
    /// # Errors
    /// [`RRError::NotFound`], [`RRError::Again`]; with a ban, [`RRError::Arg`] for one above a day, [`RRError::State`] for a
    /// session that neither publishes nor plays or whose address is not known, [`RRError::Limit`] where no more bans fit.
    /// Nothing has changed then.
    pub fn session_close(&self, id: Id, text: &str, ban_ms: u32) -> Result<()> {
        let close = || self.order(id, Order::Close(text.to_owned()));
        if ban_ms == 0 {
            return close();
        }
        if ban_ms > MAX_BAN_MS {
            return Err(Failure::ours(RRError::Arg, format!("ban_ms is {ban_ms}: a day at most ({MAX_BAN_MS})")));
        }
        let record = self.session(id)?;
        let stream = self.core.registry().streams.get(record.stream()).cloned();
        let ban = Ban::of(&record, stream.as_ref().map(|stream| stream.name()))?;
        let (bans, now_ms) = (&self.core.bans, clock::now_ms());
        // It stands before the peer is closed: one that is back at once meets it.
        let before = bans.add(ban.clone(), now_ms.saturating_add(ban_ms.into()), now_ms)?;
        close().inspect_err(|_| bans.restore(ban, before))
    }

    // ---- streams

    fn stream(&self, id: Id) -> Result<Arc<RRStream>> {
        self.core.registry().streams.find(id).cloned()
    }

    /// Makes a stream that exists with or without peers. One that is there already becomes such a stream and keeps
    /// its settings.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a name with NUL or too long, [`RRError::Exists`] where settings are given and the stream is
    /// there, [`RRError::Limit`], [`RRError::State`] once the server stops.
    pub fn stream_create(&self, app: &[u8], key: &[u8], config: Option<StreamConfig>) -> Result<Id> {
        self.core.still_open()?;
        let name = StreamName::checked(app, key)?;
        let given = config.is_some();
        let config = config.unwrap_or_else(|| (*self.core.config.stream).clone());
        let (stream, made) = self.core.find_or_make(name, &config, true)?;
        if !made {
            if given {
                return Err(Failure::ours(RRError::Exists, "the stream is there with settings of its own"));
            }
            stream.book().reserve();
        }
        Ok(stream.id())
    }

    /// As [`Self::stream_create`] with settings, where a stream that is there may have the very same ones.
    ///
    /// # Errors
    /// As [`Self::stream_create`]; [`RRError::Exists`] where the stream is there with other settings, and it stays as it is.
    pub fn stream_ensure(&self, app: &[u8], key: &[u8], config: StreamConfig) -> Result<Id> {
        self.core.still_open()?;
        let (stream, made) = self.core.find_or_make(StreamName::checked(app, key)?, &config, true)?;
        if !made && *stream.config() != config {
            let text = "the stream is there with other settings, which cannot be changed while it lives: stop it first";
            return Err(Failure::ours(RRError::Exists, text));
        }
        stream.book().reserve();
        Ok(stream.id())
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
        Ok(self.stream(id)?.config().clone())
    }

    /// Ends a stream: its publisher is closed, consumers get what is there within the deadline.
    ///
    /// # Errors
    /// [`RRError::NotFound`].
    pub fn stream_stop(&self, id: Id, deadline_ms: u32) -> Result<()> {
        self.stream(id)?.stop(u64::from(deadline_ms));
        Ok(())
    }

    /// Makes a publisher that stands by the live one, from its next key frame.
    ///
    /// # Errors
    /// [`RRError::NotFound`] for the stream, or where the session does not publish to it.
    pub fn stream_switch(&self, id: Id, source: Id) -> Result<()> {
        self.stream(id)?.switch(source)
    }

    /// Feeds a stream with a message of the host's own.
    ///
    /// # Errors
    /// [`RRError::NotFound`], [`RRError::Arg`] for a type that is no media, a time below 0 or a body too large,
    /// [`RRError::Exists`] where a session publishes, [`RRError::Limit`] and [`RRError::NoMem`].
    pub fn stream_write(&self, id: Id, type_id: u8, ts_ms: i64, body: &[u8], end: bool) -> Result<()> {
        use crate::proto::message::kind;
        let stream = self.stream(id)?;
        let media = matches!(type_id, kind::AUDIO | kind::VIDEO | kind::DATA | kind::DATA_AMF3);
        if !media && (!end || !body.is_empty()) {
            return Err(Failure::ours(RRError::Arg, format!("message type {type_id} is not audio, video or data")));
        }
        if u32::try_from(body.len()).is_ok_and(|len| len <= self.core.config.max_message_bytes) {
            return stream.write(type_id, ts_ms, body, end);
        }
        Err(Failure::ours(RRError::Arg, "the message is larger than max_message"))
    }

    // ---- targets

    fn target(&self, id: Id) -> Result<Arc<Target>> {
        self.core.registry().targets.find(id).cloned()
    }

    /// Adds a push target to a stream, live or not.
    ///
    /// # Errors
    /// [`RRError::Arg`] for a malformed url or pin, [`RRError::Cert`] where what it is to trust cannot be read,
    /// [`RRError::NotFound`], [`RRError::Limit`].
    pub fn target_add(&self, stream: Id, config: TargetConfig) -> Result<Id> {
        self.add(stream, config, false)
    }

    /// Adds a source to a stream: it pulls, and is the stream's publisher while it is connected. It waits while
    /// somebody else publishes, and with `on_demand` while nobody plays. All else is as with a target.
    ///
    /// # Errors
    /// Those of [`Self::target_add`]; [`RRError::Unsupported`] for settings that only a target heeds.
    pub fn source_add(&self, stream: Id, config: TargetConfig) -> Result<Id> {
        self.add(stream, config, true)
    }

    fn add(&self, stream: Id, config: TargetConfig, pulls: bool) -> Result<Id> {
        may_set(&config, pulls)?;
        let stream = self.stream(stream)?;
        let endpoint = Endpoint::ready(config, &stream.name().key)?;
        let target = self.core.new_target(&stream, endpoint, pulls)?;
        self.core.attach(&stream, &target)?;
        Ok(target.id)
    }

    /// Adds the targets and sources that a stream has not got yet, by url and key; all of them or none. Those that have
    /// failed are tried again. Then ends
    /// `instead_of`, whose place they take, unless it is among them.
    ///
    /// # Errors
    /// Those of [`Self::target_add`] and [`Self::source_add`]; nothing has changed then.
    pub fn stream_open(
        &self,
        id: Id,
        targets: &[TargetConfig],
        sources: &[TargetConfig],
        instead_of: Option<Id>,
    ) -> Result<()> {
        let stream = self.stream(id)?;
        may_open(targets, sources, &stream.name().key)?;
        let opening = locked(&self.core.opening);
        Opening::of(&self.core, &stream, targets, sources)?.carry_out(&self.core, &stream)?;
        drop(opening);
        let Some(before) = instead_of else { return Ok(()) };
        let Ok(config) = self.target_config(before) else { return Ok(()) };
        if targets.iter().chain(sources).any(|named| named.same_place(&config)) {
            Ok(())
        } else {
            self.target_stop(before, 0)
        }
    }

    /// Refuses the players of a stream that wait because nothing feeds it.
    ///
    /// # Errors
    /// [`RRError::NotFound`].
    pub fn players_refuse(&self, id: Id, text: &str) -> Result<()> {
        let failure = Failure::ours(RRError::Rejected, text.to_owned());
        self.stream(id)?.refuse_players("NetStream.Play.Failed", failure);
        Ok(())
    }

    /// Gives a target or a source other settings. Where they name another place or way, it is connected anew at once;
    /// all else is changed while it runs. More media than before begins at the next key frame.
    ///
    /// # Errors
    /// Those of [`Self::target_add`] and [`Self::source_add`].
    pub fn target_update(&self, id: Id, config: TargetConfig) -> Result<()> {
        let target = self.target(id)?;
        may_set(&config, target.is_source())?;
        target.set_endpoint(Endpoint::ready(config, &target.stream().name().key)?);
        self.core.tell_dialler(&target, News::Updated);
        let Some(stream) = self.core.stream_of(&target) else { return Ok(()) };
        if target.is_source() {
            stream.source_changed();
        } else {
            stream.wake_relay();
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

    /// Tries a target that waits for its next try now.
    ///
    /// # Errors
    /// [`RRError::NotFound`].
    pub fn target_retry(&self, id: Id) -> Result<()> {
        let target = self.target(id)?;
        self.core.tell_dialler(&target, News::Retry);
        Ok(())
    }

    /// Ends a target; one that is connected gets what is there within the deadline. The stream does not notice.
    ///
    /// # Errors
    /// [`RRError::NotFound`].
    pub fn target_stop(&self, id: Id, deadline_ms: u32) -> Result<()> {
        let target = self.target(id)?;
        target.stop(u64::from(deadline_ms));
        self.core.tell_dialler(&target, News::Stop);
        if let Some(stream) = self.core.stream_of(&target) {
            stream.wake_relay();
            stream.wake_accumulate();
        }
        Ok(())
    }
}

impl RRRestOut {
    /// Carries the request out, whole or not at all. Gives the id of the object made or changed; 0 is the server.
    ///
    /// # Errors
    /// Those of the server's call; nothing has changed then.
    pub fn carry_out(self, server: &RRServer) -> Result<Id> {
        match self {
            Self::CreateStream { app, key, config } => server.stream_create(&app, &key, config.map(|config| *config)),
            Self::EnsureStream { app, key, config } => server.stream_ensure(&app, &key, *config),
            Self::AddTarget { stream, config } => server.target_add(stream, *config),
            Self::AddSource { stream, config } => server.source_add(stream, *config),
            Self::Open { stream, targets, sources, instead_of } => {
                server.stream_open(stream, &targets, &sources, instead_of).map(|()| stream)
            }
            Self::RefusePlayers { stream, text } => server.players_refuse(stream, &text).map(|()| stream),
            Self::UpdateTarget { target, config } => server.target_update(target, *config).map(|()| target),
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
            Self::Drain { reconnect_url, deadline_ms } => {
                server.stop(reconnect_url.as_deref(), deadline_ms).map(|()| 0)
            }
        }
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl RRServer {
    /// For tests and fuzzers: dead once nothing of the server is left.
    pub(crate) fn life(&self) -> std::sync::Weak<dyn std::fmt::Debug> {
        let core: Arc<dyn std::fmt::Debug> = Arc::<Core>::clone(&self.core);
        Arc::downgrade(&core)
    }
}

impl Drop for RRServer {
    fn drop(&mut self) {
        // In a callback it would wait for itself; the ffi refuses that before it comes here.
        if refuse_in_callback().is_ok() {
            let _ = self.shutdown();
            self.core.forget();
        }
    }
}

/// Refuses settings that would do nothing, and says so in the log, as it is easily overlooked.
fn may_set(config: &TargetConfig, pulls: bool) -> Result<()> {
    config.serves(pulls).inspect_err(|failure| {
        if pulls {
            log::warn!("a source was refused: {failure}");
        }
    })
}

/// Refuses targets and sources of which one could not be added.
fn may_open(targets: &[TargetConfig], sources: &[TargetConfig], key: &[u8]) -> Result<()> {
    if targets.len() + sources.len() > MAX_DECISION_TARGETS {
        let text = format!("targets and sources: {MAX_DECISION_TARGETS} together are the most");
        return Err(Failure::ours(RRError::Arg, text));
    }
    let all = targets.iter().map(|config| (config, false));
    for (config, pulls) in all.chain(sources.iter().map(|config| (config, true))) {
        may_set(config, pulls)?;
        Endpoint::ready(config.clone(), key)?;
    }
    Ok(())
}

fn not_found(what: &str) -> Failure {
    Failure::ours(RRError::NotFound, format!("no such {what}, or it has ended"))
}

#[cfg(test)]
mod tests;
