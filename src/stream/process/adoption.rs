//! A worker that goes on under the server of another process: what that process gets of its stream, and the checks of what
//! the worker says of itself.
//!
//! The worker's description consists of its own messages (`wire`). It may be a hostile one, so each is checked here as
//! in the proxy, to which those about the stream itself go on.

use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::note::Note;
use super::starts::Row;
use super::wire::{self, Crashes, Handle, Largest, PROTOCOL, ToServer, impossible};
use crate::config::MAX_MESSAGE_BYTES;
#[cfg(any(test, feature = "fuzzing"))]
use crate::config::{ClockMode, StreamConfig};
use crate::error::{Failure, RRError, Result};
use crate::net::clock;
use crate::net::fd_channel::FdChannel;
use crate::net::process::Process;
use crate::net::socket::ip_of;
use crate::proto::cbor::Form;
use crate::proto::url::RtmpUrl;
use crate::session::{SessionConfig, State};
use crate::stream::book::Places;
use crate::stream::event::Id;
use crate::stream::exported::stream::ExportedStream;
use crate::stream::exported::target::{About, ExportedTarget, Stage};
#[cfg(any(test, feature = "fuzzing"))]
use crate::stream::ingest::clock::Clock;
#[cfg(any(test, feature = "fuzzing"))]
use crate::stream::log::lineage::LogPlace;
use crate::stream::name::StreamName;
use crate::stream::record::RRSession;
use crate::stream::remote::target::Target;
use crate::stream::stats::Counters;
use crate::stream::stats::reported::Figures;

/// The version of the record. A server takes only workers over that speak its own version of the messages.
pub(crate) const VERSION: u16 = PROTOCOL;

const FORM: Form = Form { magic: b"RRwk", version: VERSION, name: "the record of a stream in a process of its own" };

/// Most bytes of the record.
pub(crate) const BYTES_MAX: usize = wire::BEGIN_BYTES;

/// Most bytes of a message of a worker's description; `state` is that of the largest state.
pub(crate) fn report_bytes(state: usize) -> usize {
    Largest { state, stream: None }.bytes_max(wire::kind::STATE)
}

/// Most messages about the stream itself in a description, and most bytes of them.
const OTHERS: usize = 64;
const OTHER_BYTES: usize = 1 << 20;

#[derive(Debug, Encode, Decode)]
struct StreamState<'a> {
    #[b(0)]
    #[cbor(with = "minicbor::bytes")]
    state: &'a [u8],
    /// A worker runs, whose description and descriptors follow.
    #[n(1)]
    runs: bool,
    /// The last handle that was given.
    #[n(2)]
    last_handle: Handle,
    /// The most memory that the worker uses.
    #[n(3)]
    mem_limit: Option<u64>,
    /// The largest message that it takes from peers.
    #[n(4)]
    max_message: u32,
    /// How long ago it was started.
    #[n(5)]
    ran_ms: u64,
    /// The crashes before that.
    #[b(6)]
    crashes: Option<Crashes<'a>>,
}

/// What is to be known of a worker beside what it has.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The last handle that was given.
    pub(super) last_handle: Handle,
    /// The most memory that it uses.
    pub(super) mem_limit: Option<u64>,
    /// The largest message that it takes from peers: it gives sessions back with such in them.
    pub(super) max_message: u32,
    /// How long ago it was started.
    pub(super) ran_ms: u64,
}

/// A stream of another process's server.
#[derive(Debug)]
pub(crate) struct IsolatedStream {
    /// Its name and settings.
    pub(crate) stream: ExportedStream,
    /// Whether a worker runs.
    pub(crate) runs: bool,
    pub(super) run: Run,
    /// The crashes in a row of its workers.
    pub(in crate::stream) crashes: Option<Row>,
}

impl IsolatedStream {
    /// Its record.
    pub(super) fn state(&self) -> Result<Vec<u8>> {
        Self::record_of(&self.stream.state()?, self.runs, &self.run, self.crashes.as_ref())
    }

    /// The record of the stream of this state, whose worker runs.
    pub(super) fn record(state: &[u8], run: &Run, crashes: Option<&Row>) -> Result<Vec<u8>> {
        Self::record_of(state, true, run, crashes)
    }

    fn record_of(state: &[u8], runs: bool, run: &Run, crashes: Option<&Row>) -> Result<Vec<u8>> {
        let Run { last_handle, mem_limit, max_message, ran_ms } = *run;
        let crashes = crashes.map(Crashes::of);
        FORM.encode(&StreamState { state, runs, last_handle, mem_limit, max_message, ran_ms, crashes })
    }

    /// The stream of a record.
    ///
    /// # Errors
    /// [`RRError::Arg`], [`RRError::Version`] and [`RRError::Limit`] for what is no such record.
    pub(crate) fn read(state: &[u8]) -> Result<Self> {
        let StreamState { state, runs, last_handle, mem_limit, max_message, ran_ms, crashes } =
            FORM.decode(state, BYTES_MAX)?;
        if last_handle > Handle::MAX / 2 || max_message > MAX_MESSAGE_BYTES {
            return Err(impossible("no worker has had so many sessions, or takes such messages"));
        }
        let (run, crashes) =
            (Run { last_handle, mem_limit, max_message, ran_ms }, crashes.map(|crashes| crashes.row()));
        Ok(Self { stream: ExportedStream::read(state)?, runs, run, crashes })
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl IsolatedStream {
    /// The record of one of this name whose worker runs.
    #[cfg(test)]
    pub(crate) fn example_record(name: &StreamName) -> Vec<u8> {
        Self::example(name).state().unwrap_or_default()
    }

    /// One of this name whose worker has had three handles.
    pub(super) fn example(name: &StreamName) -> Self {
        let (config, clock) = (StreamConfig::default(), Clock::new(ClockMode::Pass).state(0));
        let from = LogPlace { log: b"log".to_vec(), position: 0 };
        let (headers, tail, flags, name) = (Vec::new(), Vec::new(), Vec::new(), name.clone());
        let (reserved, publisher_moves) = (false, false);
        let stream = ExportedStream { name, config, reserved, clock, from, headers, tail, flags, publisher_moves };
        let run = Run { last_handle: 3, mem_limit: None, max_message: 1 << 20, ran_ms: 7 };
        let crashes = Some(Row { count: 2, ago_ms: 5, how: "exit status 1".to_owned() });
        Self { stream, runs: true, run, crashes }
    }
}

/// What a worker says of a session that it has.
#[derive(Debug)]
pub(crate) struct IsolatedSession {
    handle: Handle,
    plays: bool,
    state: State,
    read_ms: u64,
    note: Note,
    counters: Counters,
}

impl IsolatedSession {
    /// The address of its peer without port, if it has one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        ip_of(&self.note.addr)
    }

    /// Its record in another server, with this id.
    pub(crate) fn record(self, id: Id) -> AdoptedSession {
        let ip = self.ip();
        let Self { handle, plays, state, read_ms, note, counters } = self;
        let Note { addr, local_addr, tls, names, .. } = note;
        let record = RRSession::resumed(id, addr, ip, local_addr, counters);
        record.rename(|own| *own = names);
        record.set_tls(tls);
        if !plays {
            record.set_read(read_ms);
        }
        AdoptedSession { handle, plays, state, record: Arc::new(record) }
    }
}

/// What a worker says of a target or source that it has.
#[derive(Debug)]
pub(crate) struct IsolatedTarget {
    handle: Handle,
    state: State,
    read_ms: u64,
    since_ms: u64,
    /// The target.
    pub(crate) about: About,
    /// The url that it is connected to.
    pub(crate) url: RtmpUrl,
    figures: Figures,
}

impl IsolatedTarget {
    /// Its counters, which go on from what was counted.
    pub(crate) fn counters(&self) -> Counters {
        let counters = self.about.counters();
        self.figures.begin(&counters, clock::now_us());
        counters
    }
}

/// A session with its record in the server that takes the worker over.
#[derive(Debug)]
pub(crate) struct AdoptedSession {
    pub(super) handle: Handle,
    pub(super) plays: bool,
    pub(in crate::stream) state: State,
    /// Its record.
    pub(crate) record: Arc<RRSession>,
}

impl AdoptedSession {
    /// Whether it plays; otherwise it publishes or stands by.
    pub(crate) fn plays(&self) -> bool {
        self.plays
    }
}

/// A target or source in the server that takes the worker over.
#[derive(Debug)]
pub(crate) struct AdoptedTarget {
    pub(super) handle: Handle,
    pub(in crate::stream) state: State,
    pub(in crate::stream) read_ms: u64,
    pub(super) since_ms: u64,
    /// The target.
    pub(crate) target: Arc<Target>,
}

/// A message of a worker's description.
#[derive(Debug)]
pub(crate) enum Described {
    /// A session.
    Session(Box<IsolatedSession>),
    /// A target or source.
    Target(Box<IsolatedTarget>),
    /// About the stream itself: it is for the proxy.
    Stream,
}

impl Described {
    /// Whom it is about, if it is about a session, target or source.
    pub(super) fn handle(&self) -> Option<Handle> {
        match self {
            Self::Session(session) => Some(session.handle),
            Self::Target(target) => Some(target.handle),
            Self::Stream => None,
        }
    }

    /// Reads a message of the description of this stream's worker. Sessions have these settings.
    ///
    /// # Errors
    /// [`RRError::Arg`], [`RRError::Version`], [`RRError::Limit`] and [`RRError::Protocol`] for what no worker says.
    pub(crate) fn read(body: &[u8], config: &SessionConfig, stream: &StreamName) -> Result<Self> {
        let (now_us, report) = (clock::now_us(), ToServer::decode(body)?);
        // It is kept until the other process has it, with whatever else a hostile worker has put into it.
        if body.len() > wire::described_bytes(&report) {
            return Err(Failure::ours(RRError::Limit, "a worker says more of somebody than there is to say"));
        }
        Ok(match report {
            ToServer::Session { id: handle, plays, state, silent_ms, figures, note } => {
                let read_ms = (now_us / 1000).saturating_sub(silent_ms);
                let (note, state) = (Note::read(note, stream)?, state_of(state)?);
                figures.check()?;
                let counters = note.counters();
                figures.begin(&counters, now_us);
                Self::Session(Box::new(IsolatedSession { handle, plays, state, read_ms, note, counters }))
            }
            ToServer::Target { id: handle, state, silent_ms, figures, ran_ms, came, updated } => {
                let (now_ms, state) = (now_us / 1000, state_of(state)?);
                let (read_ms, since_ms) = (now_ms.saturating_sub(silent_ms), now_ms.saturating_sub(ran_ms));
                let ExportedTarget { mut about, stage } = ExportedTarget::read_plain(config, came, now_ms)?;
                let (Stage::Pushes(connected, _) | Stage::Pulls(connected, _)) = stage else {
                    return Err(impossible("a worker has no target without a connection"));
                };
                if let Some(updated) = updated {
                    about.config = ExportedTarget::read_plain(config, updated, now_ms)?.about.config;
                }
                about.config.serves(about.pulls)?;
                if about.name != *stream {
                    return Err(impossible("a target is of another stream than its worker"));
                }
                figures.check()?;
                let url = connected.url;
                Self::Target(Box::new(IsolatedTarget { handle, state, read_ms, since_ms, about, url, figures }))
            }
            ToServer::Places { .. } | ToServer::Tracks { .. } | ToServer::Figures { .. } | ToServer::Event(_) => {
                Self::Stream
            }
            _ => return Err(impossible("this is no part of what a worker has")),
        })
    }
}

/// The state that a worker has told of a session or target.
fn state_of(number: u32) -> Result<State> {
    match State::from_number(number) {
        Some(state @ (State::Handshake | State::Waiting | State::InProgress)) => Ok(state),
        _ => Err(impossible("who takes part in a stream is not in such a state")),
    }
}

/// A worker with what it has said of itself, before another server takes it over.
#[derive(Debug)]
pub(crate) struct Adoption {
    run: Run,
    handles: HashSet<Handle>,
    /// The messages about the stream itself.
    others: Vec<Vec<u8>>,
    other_bytes: usize,
    process: Option<OwnedFd>,
    channel: Option<OwnedFd>,
    /// Its sessions.
    pub(crate) sessions: Vec<AdoptedSession>,
    /// Its targets and sources.
    pub(crate) targets: Vec<AdoptedTarget>,
}

impl Adoption {
    /// The worker of this stream, of which nothing has come yet.
    pub(crate) fn of(stream: &IsolatedStream) -> Self {
        Self {
            run: stream.run.clone(),
            handles: HashSet::new(),
            others: Vec::new(),
            other_bytes: 0,
            process: None,
            channel: None,
            sessions: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// Notes that a session, target or source is described.
    ///
    /// # Errors
    /// [`RRError::Protocol`] if it was never given its handle, or was described before; [`RRError::NoMem`].
    pub(crate) fn note(&mut self, described: &Described) -> Result<()> {
        let Some(handle) = described.handle() else { return Ok(()) };
        self.handles.try_reserve(1).map_err(|_| Failure::from(RRError::NoMem))?;
        if !(1..=self.run.last_handle).contains(&handle) || !self.handles.insert(handle) {
            return Err(impossible("a worker has nobody twice, and nobody whom it was not given"));
        }
        Ok(())
    }

    /// The settings of its sessions, of which it may take larger messages than the server that takes it over.
    pub(crate) fn sessions_with(&self, config: &SessionConfig) -> SessionConfig {
        config.with_messages_of(self.run.max_message)
    }

    /// Keeps a message about the stream itself.
    ///
    /// # Errors
    /// [`RRError::Limit`] for more than a worker has to say.
    pub(crate) fn keep(&mut self, body: Vec<u8>) -> Result<()> {
        self.other_bytes += body.len();
        if self.others.len() >= OTHERS || self.other_bytes > OTHER_BYTES {
            return Err(Failure::ours(RRError::Limit, "a worker says more of its stream than there is to say"));
        }
        self.others.push(body);
        Ok(())
    }

    /// Adds a target that has its place in the server.
    pub(crate) fn add_target(&mut self, of: &IsolatedTarget, target: Arc<Target>) {
        let IsolatedTarget { handle, state, read_ms, since_ms, .. } = *of;
        self.targets.push(AdoptedTarget { handle, state, read_ms, since_ms, target });
    }

    /// Takes the descriptor of the worker's process.
    ///
    /// # Errors
    /// [`RRError::Arg`] if there is one already.
    pub(crate) fn take_process(&mut self, fd: OwnedFd) -> Result<()> {
        match self.process.replace(fd) {
            None => Ok(()),
            Some(_) => Err(Failure::ours(RRError::Arg, "a worker is one process")),
        }
    }

    /// Takes the channel to the worker, with which it is complete. Nothing of it changes.
    ///
    /// # Errors
    /// [`RRError::Arg`] if it is no unix stream socket, or comes before the process.
    pub(crate) fn take_channel(&mut self, fd: OwnedFd) -> Result<()> {
        FdChannel::check(&fd)?;
        if self.process.is_none() || self.channel.replace(fd).is_some() {
            return Err(Failure::ours(RRError::Arg, "a worker has one channel, behind its process"));
        }
        Ok(())
    }

    /// Whether all of it has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.channel.is_some()
    }

    /// Ends the worker: otherwise it may wait for another server.
    pub(crate) fn kill(&mut self) {
        // A process that is dropped is killed.
        drop(self.process.take().map(Process::adopt));
    }

    /// Who publishes and who stands by, as far as they are here, by their ids.
    pub(in crate::stream) fn places(&self) -> Places {
        let of_session = |handle| self.sessions.iter().find(|it| it.handle == handle).map(|it| it.record.id);
        let of_target = |handle| self.targets.iter().find(|target| target.handle == handle).map(|it| it.target.id);
        let id = |handle: Handle| of_session(handle).or_else(|| of_target(handle));
        let said = self.others.iter().rev().find_map(|body| match ToServer::decode(body) {
            Ok(ToServer::Places { live, recovering, standbys, .. }) => Some((live, recovering, standbys)),
            _ => None,
        });
        let (live, recovering, standbys) = said.unwrap_or_default();
        let live = id(live).unwrap_or_default();
        Places { live, recovering, standbys: standbys.into_iter().filter_map(id).collect() }
    }

    /// The process, its channel, and what it says of the stream.
    ///
    /// # Errors
    /// [`RRError::Arg`] if something is missing or the process has ended.
    pub(super) fn parts(&mut self) -> Result<Parts> {
        let missing = || Failure::ours(RRError::Arg, "a worker came without its descriptors");
        let (process, channel) = self.process.take().zip(self.channel.take()).ok_or_else(missing)?;
        let (process, channel) = (Process::adopt(process)?, FdChannel::adopt(channel)?);
        let others = std::mem::take(&mut self.others);
        Ok(Parts { process, channel, others, run: self.run.clone() })
    }
}

/// What the proxy gets of a worker that it takes over, beside those whom the worker has.
pub(super) struct Parts {
    pub(super) process: Process,
    pub(super) channel: FdChannel,
    pub(super) others: Vec<Vec<u8>>,
    pub(super) run: Run,
}

/// A stream with its worker, as another process gets it.
#[derive(Debug)]
pub(crate) struct OfferedProcess {
    /// The stream's record.
    pub(crate) state: Vec<u8>,
    /// Its worker, if one runs.
    pub(crate) worker: Option<OfferedWorker>,
    /// Number of the worker's sessions.
    pub(crate) sessions: usize,
    /// The ids of the worker's targets and sources here.
    pub(crate) targets: Vec<Id>,
    /// Connections over TLS end in this process.
    pub(crate) has_pumps: bool,
}

/// A worker, as another process gets it.
#[derive(Debug)]
pub(crate) struct OfferedWorker {
    /// What it says of itself, each in the form of [`Described`].
    pub(crate) description: Vec<Vec<u8>>,
    /// Its pidfd.
    pub(crate) process: OwnedFd,
    /// Another descriptor of this end of its channel.
    pub(crate) channel: OwnedFd,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_complete_with_its_channel_and_has_nobody_twice() {
        let name = StreamName { app: b"live".to_vec(), key: b"show".to_vec() };
        let isolated = IsolatedStream::read(&IsolatedStream::example(&name).state().unwrap()).unwrap();
        let crashes = isolated.crashes.as_ref().map(|row| (row.count, row.ago_ms, &row.how[..]));
        assert_eq!((crashes, isolated.run.ran_ms), (Some((2, 5, "exit status 1")), 7));
        assert!(isolated.runs && isolated.stream.name == name);
        let mut adoption = Adoption::of(&isolated);
        let config = SessionConfig::default();
        for (message, known) in [(3, true), (3, false), (4, false), (0, false)] {
            let record = RRSession::new(7, String::new(), None, String::new());
            record.rename(|names| (names.app, names.key) = (name.app.clone(), name.key.clone()));
            let note = Note::of(&record).encode().unwrap();
            let (state, figures) = (State::Waiting.number(), Figures::default());
            let message = ToServer::Session { id: message, plays: true, state, silent_ms: 0, figures, note: &note };
            let described = Described::read(&message.encode().unwrap().1, &config, &name).unwrap();
            assert_eq!(adoption.note(&described).is_ok(), known);
        }
        let (fd, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert!(adoption.take_channel(fd.try_clone().unwrap().into()).is_err(), "its process has not come");
        adoption.take_process(file()).unwrap();
        assert!(adoption.take_process(file()).is_err() && adoption.take_channel(file()).is_err());
        assert!(!adoption.is_complete());
        adoption.take_channel(fd.into()).unwrap();
        assert!(adoption.is_complete() && adoption.take_channel(other.into()).is_err());
        assert_eq!(adoption.parts().err().map(|failure| failure.kind), Some(RRError::Arg), "a file is no process");
        assert!((0..=OTHERS).any(|_| adoption.keep(Vec::new()).is_err()));
        for (bytes, fits) in [(0, true), (1 << 20, false)] {
            let message = ToServer::Places { live: 3, recovering: false, standbys: Vec::new(), via: vec![0; bytes] };
            assert_eq!(Described::read(&message.encode().unwrap().1, &config, &name).is_ok(), fits, "{bytes}");
        }
    }
}
