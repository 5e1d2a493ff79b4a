//! Settings of a server and of its listeners.

use std::sync::Arc;

use super::choices::{Isolate, ask};
use super::limits::MAX_MESSAGE_BYTES;
use super::stream::StreamConfig;
use super::value::{OFF, Range, Setting, Value};
use super::worker::WorkerConfig;
use crate::error::{Failure, RRError, Result};

/// Settings of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// The host's pointer as a number; never touched.
    pub user: usize,
    /// Settings of the streams that publishers and players create.
    pub stream: Arc<StreamConfig>,
    /// Bound on the bytes of segments, marks, private buffers, half-read messages, `connect` objects and TLS together;
    /// `None` is unbounded.
    pub mem_limit_bytes: Option<u64>,
    /// Events that may wait for the host before folding begins.
    pub event_limit: u32,
    /// Sessions (publishers, players, half-open peers) at one time.
    pub max_sessions: u32,
    /// Sessions of one peer address at one time; `None` is unbounded.
    pub max_sessions_ip: Option<u32>,
    /// Streams at one time; at most half of them may be streams without a publisher that players wait for.
    pub max_streams: u32,
    /// How many loops the streams share, each with a thread of its own; `None`: each stream has two threads of its own.
    /// Where streams run in processes, the loops have the host's part of the streams, and `None` is one loop.
    pub threads: Option<u32>,
    /// Largest message taken from a peer.
    pub max_message_bytes: u32,
    /// Which questions go to the host (`ask::*`).
    pub ask: u32,
    /// How long the host may take to answer.
    pub ask_ms: u32,
    /// The answer when the host gives none in time: true allows.
    pub ask_default_allow: bool,
    /// Time from accept to `connect`.
    pub handshake_ms: u32,
    /// Time from `Publish.Start` to the first media message.
    pub first_data_ms: u32,
    /// A publisher that sends nothing for this long is closed.
    pub idle_ms: u32,
    /// Silent peers get a ping this often. Two unanswered pings end a session; from a publisher only TCP
    /// acknowledgements of the pings are expected.
    pub ping_ms: u32,
    /// A consumer whose socket takes nothing for this long is closed.
    pub send_ms: u32,
    /// Where streams run.
    pub isolate: Isolate,
    /// The processes in which they run, if they do.
    pub worker: WorkerConfig,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            user: 0,
            stream: Arc::new(StreamConfig::default()),
            mem_limit_bytes: None,
            event_limit: 4096, // a second of failures of some thousand sessions
            max_sessions: 10_000,
            max_sessions_ip: None,
            max_streams: 1_000, // two threads each are still a small process
            threads: None,      // no stream slows down another
            max_message_bytes: MAX_MESSAGE_BYTES,
            ask: 0,
            ask_ms: 5_000, // a working web hook answers sooner
            ask_default_allow: false,
            handshake_ms: 10_000,  // slow mobile networks need some seconds
            first_data_ms: 30_000, // OBS starts its encoder after Publish.Start
            idle_ms: 30_000,       // encoders send audio many times a second
            ping_ms: 30_000,
            send_ms: 20_000,
            isolate: Isolate::Threads, // a process for each stream costs memory and start time
            worker: WorkerConfig::default(),
        }
    }
}

impl ServerConfig {
    /// Sets the setting of this name.
    ///
    /// # Errors
    /// [`RRError::Arg`] with the name, what the setting may be, and why.
    pub fn set(&mut self, name: &str, value: Value<'_>) -> Result<()> {
        let default = Self::default();
        let given = Setting::new(name, value);
        let time = |default| given.number(default, Range::ANY, Some(OFF));
        match name {
            "mem_limit" => {
                const BYTES: Range = Range::from(1 << 20, "a single key frame would pass a smaller one");
                self.mem_limit_bytes = match given.value {
                    Value::Default => default.mem_limit_bytes,
                    Value::Off => None,
                    _ => Some(given.number(0, BYTES, None)?),
                };
            }
            "event_limit" => {
                const EVENTS: Range = Range::new(
                    16,
                    1 << 20,
                    "a few objects fill a smaller queue, and no host catches up with a larger one",
                );
                self.event_limit = given.number(default.event_limit, EVENTS, None)?;
            }
            "max_sessions" => self.max_sessions = given.number(default.max_sessions, Range::ANY, Some(OFF))?,
            "max_sessions_ip" => self.max_sessions_ip = given.optional(default.max_sessions_ip, Range::ANY)?,
            "max_streams" => self.max_streams = given.number(default.max_streams, Range::ANY, Some(OFF))?,
            "threads" => {
                const LOOPS: Range = Range::new(1, 256, "more loops than processors gain nothing");
                self.threads = given.optional(default.threads, LOOPS)?;
            }
            "max_message" => {
                const BYTES: Range = Range::new(
                    4096,
                    MAX_MESSAGE_BYTES,
                    "commands need 4096 bytes, and RTMP's length field ends at the other number",
                );
                self.max_message_bytes = given.number(default.max_message_bytes, BYTES, None)?;
            }
            "ask" => self.ask = given.bits(default.ask, &ask::NAMES)?,
            "ask_ms" => self.ask_ms = time(default.ask_ms)?,
            "ask_default" => self.ask_default_allow = given.flag(default.ask_default_allow)?,
            "handshake_ms" => self.handshake_ms = time(default.handshake_ms)?,
            "first_data_ms" => self.first_data_ms = time(default.first_data_ms)?,
            "idle_ms" => self.idle_ms = time(default.idle_ms)?,
            "ping_ms" => {
                const PING: Range = Range::new(1_000, OFF - 1, "two pings within a slow network's delay end a session");
                self.ping_ms = given.number(default.ping_ms, PING, Some(OFF))?;
            }
            "send_ms" => self.send_ms = time(default.send_ms)?,
            "isolate" => self.isolate = given.choice(default.isolate, "RR_ISOLATE_*", &Isolate::CHOICES)?,
            _ if self.worker.set(&given)? => {}
            _ => return Err(given.unknown("server")),
        }
        Ok(())
    }

    /// The settings, if they hold together.
    ///
    /// # Errors
    /// [`RRError::Arg`] with the setting that needs another one.
    pub fn checked(self) -> Result<Self> {
        let default = WorkerConfig::default();
        let of_workers = [
            ("worker", self.worker.program != default.program),
            ("worker_memory", self.worker.memory_bytes != default.memory_bytes),
            ("worker_files", self.worker.files != default.files),
            ("worker_hung_ms", self.worker.hung_ms != default.hung_ms),
            ("worker_dir", self.worker.dir != default.dir),
            ("worker_orphan_ms", self.worker.orphan_ms != default.orphan_ms),
        ];
        match of_workers.into_iter().find(|&(_, is_set)| is_set && self.isolate == Isolate::Threads) {
            Some((name, _)) => {
                let text = format!("{name} needs streams in processes of their own (isolate)");
                Err(Failure::ours(RRError::Arg, text))
            }
            None if self.worker.dir.is_none() && self.worker.orphan_ms != default.orphan_ms => {
                let text = "worker_orphan_ms needs a folder in which workers wait (worker_dir)";
                Err(Failure::ours(RRError::Arg, text))
            }
            None => self.may_have(&self.stream).map(|()| self),
        }
    }

    /// Whether a stream of this server may have these settings: a thread that streams share cannot have one stream's
    /// priority or CPUs.
    ///
    /// # Errors
    /// [`RRError::Arg`] with the setting that it may not have.
    pub fn may_have(&self, stream: &StreamConfig) -> Result<()> {
        let default = StreamConfig::default();
        let own = [
            ("nice", stream.nice != default.nice),
            ("cpus", stream.cpus != default.cpus),
            ("relay_threads", stream.relay_threads.is_some_and(|threads| threads > 1)),
        ];
        match own.into_iter().find(|&(_, is_set)| is_set && self.threads.is_some() && self.isolate == Isolate::Threads)
        {
            Some((name, _)) => {
                let text = format!(
                    "{name} needs a stream with threads of its own, and this server's streams share theirs (threads)"
                );
                Err(Failure::ours(RRError::Arg, text))
            }
            None => Ok(()),
        }
    }
}

/// How a listener treats its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenOptions {
    /// Several processes share the port.
    pub reuse_port: bool,
    /// Each connection begins with a PROXY header, version 1 or 2, which names the peer's address; connections without
    /// one are closed.
    pub proxy: bool,
    /// Each connection begins with TLS (after the PROXY header, if any). The server needs a certificate first.
    pub tls: bool,
    /// The port serves players over HTTP, and no RTMP.
    pub http: bool,
}
