//! The new process's side of a hand-over. Everything that comes is checked completely and gets its place; nothing is read
//! from a connection or written to it before the old process has let go.

mod isolated;
pub(in crate::server) mod orphans;
mod workers;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use self::isolated::Isolated;
use super::wire::{self, Hello, kind};
use crate::config::{ListenOptions, MAX_MESSAGE_BYTES};
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::fd_channel::{FdChannel, Message, Patience};
use crate::net::heap;
use crate::net::socket::{Socket, listener_from};
use crate::server::core::Core;
use crate::server::import::{self, Seated};
use crate::server::inbox::ToListener;
use crate::server::listening::Listening;
use crate::session::SessionConfig;
use crate::stream::exported::ExportedSession;
use crate::stream::exported::stream::ExportedStream;
use crate::stream::exported::target::{ExportedTarget, Stage};
use crate::stream::remote::endpoint::{Endpoint, Trusts};
use crate::stream::{RRStream, Upcalls};

/// Most targets and sources of one server.
const MAX_TARGETS: usize = 100_000;

/// Most listening sockets of one server.
const MAX_LISTENERS: usize = 1024;

/// Beyond the deadline: how long the message that decides may take, and the end of what a process had that was killed
/// a moment before.
const LAST_MS: u64 = 1_000;

/// How long this server's threads may take to keep up with those who come: after that, their inboxes may be full.
const KEEP_UP_MS: u64 = 10_000;

/// How often it looks whether this server stops.
const LOOK_MS: u64 = 20;

/// Takes over a server from the process at the other end, by this time. Returns its sockets: nobody new comes before this
/// server listens on them ([`Listeners::begin`]).
///
/// # Errors
/// Why not; then the other process goes on, and this server has nothing of it.
pub(super) fn take_over(core: &Arc<Core>, channel: &FdChannel, by_ms: u64) -> Result<Listeners> {
    let mut entering = Entering::new(core);
    let received = entering.receive_all(channel, by_ms);
    // Whoever came to a server that stops would be lost, so a stop waits from here on until all have begun.
    let (stop, commit) = match received.and_then(|stop| Ok((stop, core.commit()?))) {
        Ok(received) => received,
        Err(failure) => {
            // Where it does not arrive, the other process sees that the socket has ended.
            let _ = wire::refusal(&failure).and_then(|text| channel.send(kind::REFUSED, &text, None, by_ms));
            log::warn!("nothing was taken over: {failure}");
            return Err(failure);
        }
    };
    // The other process has let go exactly if this arrives. It fails where that has decided otherwise, and says so first,
    // or has ended: then nobody else has the connections.
    let said = channel.send(kind::READY, &[], None, at_last(by_ms));
    if let Err(failure) = said.or_else(|_| was_killed(&stop, by_ms)) {
        log::warn!("nothing was taken over: {failure}");
        return Err(failure);
    }
    let (streams, sessions) = entering.begin();
    drop(commit);
    log::info!("took over {streams} streams and {sessions} sessions");
    Ok(Listeners(std::mem::take(&mut entering.listeners)))
}

/// The listening sockets of another process.
pub(super) struct Listeners(Vec<(mio::net::TcpListener, ListenOptions)>);

impl Listeners {
    /// Listens on them.
    pub(super) fn begin(self, core: &Core) {
        let by_ms = clock::now_ms() + KEEP_UP_MS;
        for (listener, options) in self.0 {
            core.let_threads_keep_up(by_ms);
            let address = listener.local_addr();
            let added = core.to_listener(ToListener::Listener(listener, options));
            match (added, address) {
                (Ok(()), Ok(address)) => core.listens(Listening { address, options }),
                // A unix socket has no such address.
                (Ok(()), Err(_)) => {}
                (Err(failure), _) => log::error!("cannot listen: {failure}"),
            }
        }
    }
}

/// After the socket has ended: whether the old process was killed.
///
/// # Errors
/// Why it has ended the hand-over by itself.
fn was_killed(stop: &FdChannel, by_ms: u64) -> Result<()> {
    // It says the reason before it ends the socket. The system ends both sockets of a killed process, one after the
    // other.
    match stop.receive(|kind| wire::bytes_max(kind, 0, 0), at_last(by_ms))? {
        Some(message) => Err(wire::refused(&message.body, "the running server")),
        None => Ok(()),
    }
}

/// The deadline of what happens at the end.
fn at_last(by_ms: u64) -> u64 {
    by_ms.max(clock::now_ms() + LAST_MS)
}

/// What has come so far. Dropped before it has begun, it leaves nothing.
struct Entering<'a> {
    core: &'a Arc<Core>,
    config: SessionConfig,
    /// The settings of sessions that we open.
    listeners: Vec<(mio::net::TcpListener, ListenOptions)>,
    streams: Vec<Arc<RRStream>>,
    /// Who comes to the streams, in the order in which they came.
    entrants: Vec<Entrant>,
    /// How many of them are targets and sources.
    targets: usize,
    /// The trust of those.
    trusts: Trusts,
    /// Streams with their workers. Only the last one may be incomplete.
    isolated: Vec<Isolated>,
    /// A worker without a server comes, and may come to a stream that the host has prepared.
    adopts: bool,
    /// Why a worker could not go on here.
    failed: Option<Failure>,
}

/// Somebody who comes to a stream, or a session that asks.
enum Entrant {
    Session(Box<Seated>),
    Target(Box<ExportedTarget>, Box<Endpoint>, Option<Socket>),
}

impl<'a> Entering<'a> {
    fn new(core: &'a Arc<Core>) -> Self {
        let config = SessionConfig::from(&core.config);
        let (listeners, streams, entrants) = (Vec::new(), Vec::new(), Vec::new());
        let (trusts, isolated) = (Trusts::default(), Vec::new());
        Self { core, config, listeners, streams, entrants, targets: 0, trusts, isolated, adopts: false, failed: None }
    }

    /// Receives everything, up to END. Returns by what the old process says that it has decided otherwise.
    fn receive_all(&mut self, channel: &FdChannel, by_ms: u64) -> Result<FdChannel> {
        let core = self.core;
        // Workers may take larger messages than new sessions here.
        let config = self.config.with_messages_of(MAX_MESSAGE_BYTES);
        let (session, target) = (ExportedSession::bytes_max(&config), ExportedTarget::bytes_max(&config));
        let most = |kind| wire::bytes_max(kind, session, target);
        channel.send(kind::HELLO, &Hello::ours(self.core.workers().is_some())?, None, by_ms)?;
        let patience = Patience { by_ms, look_ms: LOOK_MS, still: || core.still_open() };
        let Some(message) = channel.receive_while(most, &patience)? else { return Err(ended()) };
        if message.kind != kind::HELLO {
            return Err(Failure::peers(RRError::Protocol, "the running server does not begin with a greeting"));
        }
        Hello::read(&message.body)?;
        let stop = FdChannel::adopt(message.fd.ok_or_else(|| missing("a greeting"))?)?;
        loop {
            match channel.receive_while(most, &patience)? {
                Some(message) if message.kind == kind::END => return Ok(stop),
                Some(message) => self.take(message)?,
                None => {
                    was_killed(&stop, by_ms)?;
                    if self.listeners.is_empty() && self.streams.is_empty() && self.entrants.is_empty() {
                        return Err(ended());
                    }
                    log::warn!("the running server was killed: what it had handed over goes on here");
                    return Ok(stop);
                }
            }
        }
    }

    /// Takes a record.
    fn take(&mut self, message: Message) -> Result<()> {
        let Message { kind, body, fd } = message;
        match kind {
            kind::LISTENER => self.take_listener(&body, fd.ok_or_else(|| missing("a listening socket"))?),
            kind::STREAM if self.core.workers().is_some() => {
                // It would begin a process before it is known who has the stream.
                let text =
                    "it sends a stream without a process, though this server has said that it takes none (isolate)";
                Err(Failure::peers(RRError::Protocol, text))
            }
            kind::STREAM => {
                let stream = import::enter_stream(self.core, &ExportedStream::read(&body)?)?;
                self.streams.push(stream);
                Ok(())
            }
            kind::ISOLATED => self.take_isolated(&body),
            kind::REPORT => self.take_report(body),
            kind::PROCESS => self.worker()?.take_process(fd.ok_or_else(|| missing("a process"))?),
            kind::CHANNEL => self.worker()?.take_channel(fd.ok_or_else(|| missing("a channel"))?),
            kind::SESSION => {
                let socket = Socket::adopt_connected(fd.ok_or_else(|| missing("a session"))?)?;
                let exported = ExportedSession::read(&self.config, &body, clock::now_ms())?;
                self.entrants.push(Entrant::Session(Box::new(import::seat(self.core, exported, socket)?)));
                Ok(())
            }
            kind::TARGET => {
                let socket = fd.map(Socket::adopt_connected).transpose()?;
                let exported = ExportedTarget::read(&self.config, &body, clock::now_ms())?;
                self.take_target(exported, socket)
            }
            other => Err(Failure::peers(
                RRError::Version,
                format!("a record of kind {other}, which this library does not know"),
            )),
        }
    }

    fn take_listener(&mut self, body: &[u8], fd: OwnedFd) -> Result<()> {
        let options = wire::listen_options(body)?;
        if self.listeners.len() >= MAX_LISTENERS {
            return Err(Failure::peers(RRError::Limit, format!("more than {MAX_LISTENERS} listening sockets")));
        }
        if options.tls {
            self.core.certificate.needed()?;
        }
        self.listeners.push((listener_from(fd)?, options));
        Ok(())
    }

    fn take_target(&mut self, exported: ExportedTarget, socket: Option<Socket>) -> Result<()> {
        if self.targets >= MAX_TARGETS {
            return Err(Failure::peers(RRError::Limit, format!("more than {MAX_TARGETS} targets")));
        }
        if matches!(exported.stage, Stage::Pauses(_)) == socket.is_some() {
            return Err(Failure::peers(RRError::Arg, "a target and its connection do not belong together"));
        }
        heap::room()?;
        import::stream_of(self.core, &exported.about)?;
        // Read once, before READY: afterwards a file that is gone could no longer be refused.
        let endpoint = exported.about.endpoint(&mut self.trusts)?;
        self.targets += 1;
        self.entrants.push(Entrant::Target(Box::new(exported), Box::new(endpoint), socket));
        Ok(())
    }

    /// Lets all of it go on here, but for the sockets. Returns the number of streams and of sessions.
    fn begin(&mut self) -> (usize, usize) {
        let (streams, entrants) = (std::mem::take(&mut self.streams), std::mem::take(&mut self.entrants));
        let prepared = self.isolated.iter().filter(|isolated| !isolated.is_new);
        let prepared: Vec<_> = prepared.map(|isolated| Arc::clone(&isolated.stream)).collect();
        let of_entrants = entrants.iter().filter(|entrant| matches!(entrant, Entrant::Session(_))).count();
        let (of_workers, without_worker) = self.begin_workers();
        let sessions = of_entrants + of_workers;
        let told = |begun: Result<()>| {
            if let Err(failure) = begun {
                log::warn!("a session or target that was taken over could not go on: {failure}");
            }
        };
        // The old process has let go of them: none is lost because an inbox is full for a moment.
        let by_ms = clock::now_ms() + KEEP_UP_MS;
        let enter = |target: Box<ExportedTarget>, endpoint: Box<Endpoint>, socket| {
            self.core.let_threads_keep_up(by_ms);
            told(import::enter_target(self.core, *target, *endpoint, socket).map(drop));
        };
        // Publishers and connected sources have their places, in their order, before players come, who would else want a
        // source; and players that were there before a publisher's first message are there before it here too.
        let (mut publishers, mut others, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for entrant in entrants {
            match entrant {
                Entrant::Session(session) => match session.claim(self.core) {
                    Ok(Ok(publisher)) => publishers.push(publisher),
                    Ok(Err(other)) => others.push(other),
                    Err(failure) => told(Err(failure)),
                },
                Entrant::Target(target, endpoint, socket) if matches!(target.stage, Stage::Pulls(..)) => {
                    enter(target, endpoint, socket);
                }
                Entrant::Target(target, endpoint, socket) => targets.push((target, endpoint, socket)),
            }
        }
        for session in others {
            self.core.let_threads_keep_up(by_ms);
            told(session.begin(self.core));
        }
        targets.into_iter().for_each(|(target, endpoint, socket)| enter(target, endpoint, socket));
        publishers.into_iter().for_each(|publisher| told(publisher.begin(self.core)));
        without_worker.iter().for_each(|stream| self.core.stream_unused(stream.id()));
        streams.iter().chain(&prepared).for_each(|stream| import::ask_again(self.core, stream));
        (streams.len(), sessions)
    }
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        for entrant in std::mem::take(&mut self.entrants) {
            if let Entrant::Session(session) = entrant {
                session.give_up(self.core);
            }
        }
        for isolated in std::mem::take(&mut self.isolated) {
            isolated.give_up(self.core);
        }
        for stream in &self.streams {
            import::give_up_stream(self.core, stream);
        }
    }
}

fn ended() -> Failure {
    Failure::peers(RRError::Closed, "the running server has ended before it handed anything over")
}

fn missing(what: &str) -> Failure {
    Failure::peers(RRError::Arg, format!("{what} came without its descriptor"))
}

#[cfg(test)]
mod tests;
