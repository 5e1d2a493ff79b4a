//! Every limit and timeout: the unit is in the name, the default stands beside its reason.
//!
//! These are the core's own forms; `ffi` fills them from the C structs, where 0 means the default written here.

use std::net::IpAddr;
use std::sync::Arc;

/// Our outgoing chunk size in bytes. 60000 is below the 65536 that some servers refuse to pass, and large enough
/// that nearly every message is one chunk.
pub const CHUNK_SIZE: u32 = 60_000;

/// The window we announce to peers and expect acknowledgements for, in bytes: what other servers use.
pub const WINDOW_ACK_BYTES: u32 = 5_000_000;

/// Largest message taken from a peer. A 4K key frame at 100 Mbit/s stays below 4 MiB; the format's limit is 16 MiB - 1.
pub const MAX_MESSAGE_BYTES: u32 = 16 * 1024 * 1024 - 1;

/// All half-read messages of one connection together. One largest message and some more.
pub const MAX_OPEN_BYTES: usize = 20 * 1024 * 1024;

/// Half-read bytes of a connection that has not been allowed to publish or play: commands are small.
pub const MAX_OPEN_BYTES_COMMAND: usize = 256 * 1024;

/// Chunk streams one connection may use. Real encoders use fewer than ten, multitrack ones some dozens.
pub const MAX_CHUNK_STREAMS: usize = 64;

/// Stack of every thread of ours: deep enough for the flat code here, small enough for thousands of threads.
pub const THREAD_STACK_BYTES: usize = 256 * 1024;

/// What is read from one socket in one turn before the next socket has its turn.
pub const READ_BUDGET_BYTES: usize = 256 * 1024;

/// The scratch buffer of a thread that reads sockets.
pub const READ_BUFFER_BYTES: usize = 64 * 1024;

/// What is read in one turn from a peer that has little to say, and whose neighbours wait meanwhile: players, targets,
/// and whoever is in the listener. A message may have a single byte, so this is also the number of messages.
pub const READ_LITTLE_BYTES: usize = 2 * 1024;

/// Bytes a consumer's socket may hold unsent in the kernel (`TCP_NOTSENT_LOWAT`): without it the kernel hides the lag.
pub const NOTSENT_LOWAT_BYTES: u32 = 128 * 1024;

/// Longest log line in bytes; the rest is cut. An error with an address, a masked url and a sentence fits four times.
pub const LOG_LINE_BYTES: usize = 1024;

/// Log lines of one server that may wait for its sink. A burst at debug level; together at most 1 MiB.
pub const LOG_LINES: usize = 1024;

/// Identical log lines within this time come once, with their number.
pub const LOG_REPEAT_MS: u64 = 1_000;

/// Different log lines that are watched for repeats at one time. More kinds of trouble at once are rare.
pub const LOG_REPEAT_LINES: usize = 32;

/// How long changing a log sink waits for the old one to come back from the host's code.
pub const LOG_SINK_SWITCH_MS: u64 = 2_000;

/// How long a server that is freed without having been stopped waits for the host's code in the event thread.
pub const EVENT_THREAD_DROP_MS: u32 = 1_000;

/// How long a publisher may be above `max_kbps`: an encoder's peak at a scene change is over by then.
pub const OVER_RATE_MS: u64 = 10_000;

/// Publishers that may stand by on one stream: a backup, and its backup.
pub const MAX_STANDBYS: usize = 4;

/// Which asks go to the host, as bits (`RR_ASK_*`).
pub mod ask {
    /// Ask at `connect`.
    pub const CONNECT: u32 = 1;
    /// Ask at `publish`.
    pub const PUBLISH: u32 = 2;
    /// Ask at `play`.
    pub const PLAY: u32 = 4;
}

/// Kinds of media, as bits (`RR_MEDIA_*`).
pub mod media {
    /// Audio messages.
    pub const AUDIO: u32 = 1;
    /// Video messages.
    pub const VIDEO: u32 = 2;
    /// Data messages.
    pub const DATA: u32 = 4;
    /// All of them.
    pub const ALL: u32 = 7;
}

/// Where a consumer begins (`RR_START_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// At the next key frame.
    Key,
    /// At the cached group's key frame: a picture at once.
    #[default]
    Gop,
    /// At the head, whatever comes.
    Now,
}

/// What a stream does with a second publisher (`RR_PUBLISHER_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PublisherPolicy {
    /// The second one is refused with `NetStream.Publish.BadName`.
    #[default]
    Reject,
    /// The second one replaces the first.
    Takeover,
    /// The second one waits until the first is gone.
    Standby,
}

/// What becomes of publishers' timestamps (`RR_CLOCK_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClockMode {
    /// They pass as they are.
    #[default]
    Pass,
    /// They begin at 0.
    Zero,
    /// Jumps that both tracks make are mended.
    Repair,
}

/// Settings of one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamConfig {
    /// The host's pointer as a number; never touched.
    pub user: usize,
    /// What a second publisher meets.
    pub publisher_policy: PublisherPolicy,
    /// How long players and targets are kept without a publisher. 0: not at all.
    pub grace_ms: u32,
    /// The cached group's bound in bytes; 0 keeps none.
    pub gop_bytes: u32,
    /// The cached group's bound in time.
    pub gop_ms: u32,
    /// A publisher that sends more than this for [`OVER_RATE_MS`] is closed; 0 is no bound.
    pub max_kbps: u32,
    /// What becomes of timestamps.
    pub clock: ClockMode,
    /// An on-demand source is closed this long after the last player left; `None` keeps it.
    pub unwatched_ms: Option<u32>,
    /// Nice value of the stream's threads.
    pub nice: i32,
    /// Collect this long before sending; 0 sends at once.
    pub merge_ms: u32,
    /// Where players begin.
    pub start: Start,
    /// A player's lag bound in bytes; past it the player jumps to a key frame.
    pub queue_bytes: u32,
    /// A player's lag bound in time.
    pub queue_ms: u32,
    /// A player that stays past its bound for this long is closed.
    pub slow_ms: u32,
    /// CPUs the stream's threads may use; empty means any.
    pub cpus: Vec<usize>,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            user: 0,
            publisher_policy: PublisherPolicy::Reject,
            grace_ms: 0,
            gop_bytes: 8 * 1024 * 1024, // 10 s at 6 Mbit/s: a long group of a good stream
            gop_ms: 10_000,             // longer groups than this are a misconfigured encoder
            max_kbps: 0,
            clock: ClockMode::Pass,
            unwatched_ms: Some(10_000), // a page that is loaded again finds the stream running
            nice: 0,
            merge_ms: 0,                  // latency first: the host chooses cost
            start: Start::Gop,            // a picture at once is what viewers expect
            queue_bytes: 4 * 1024 * 1024, // 5 s at 6 Mbit/s
            queue_ms: 5_000,              // beyond this a live viewer wants the present, not the past
            slow_ms: 30_000,              // half a minute of jumping is not watching
            cpus: Vec::new(),
        }
    }
}

/// What is done with a target that cannot keep up (`RR_SLOW_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SlowPolicy {
    /// Jump to a key frame.
    #[default]
    Resync,
    /// Close and connect again.
    Reconnect,
    /// Give up.
    Stop,
}

impl TargetConfig {
    /// The first of those settings that are about sending and so mean nothing to a source, where one is not the default.
    pub fn not_for_sources(&self) -> Option<&'static str> {
        let default = Self::default();
        let settings = [
            ("send_ms", self.send_ms != default.send_ms),
            ("idle_ms", self.idle_ms != default.idle_ms),
            ("queue_bytes", self.queue_bytes != default.queue_bytes),
            ("queue_ms", self.queue_ms != default.queue_ms),
            ("slow_policy", self.slow_policy != default.slow_policy),
            ("slow_ms", self.slow_ms != default.slow_ms),
            ("start", self.start != default.start),
            ("clock", self.from_zero != default.from_zero),
            ("media", self.media != default.media),
            ("tracks", self.tracks != default.tracks),
            ("max_kbps", self.max_kbps != default.max_kbps),
            ("merge_ms", self.merge_ms != default.merge_ms),
        ];
        settings.into_iter().find(|(_, is_set)| *is_set).map(|(name, _)| name)
    }

    /// Whether a connection made for `other` serves these settings too: they differ only in what can be changed while
    /// it runs.
    pub fn same_way(&self, other: &Self) -> bool {
        let way = |config: &Self| (config.from_zero, config.chunk_size, config.bind_addr, config.insecure);
        let trust = |config: &Self| (config.ca_file.clone(), config.pin_sha256.clone());
        (&self.url, &self.key, &self.username, &self.password)
            == (&other.url, &other.key, &other.username, &other.password)
            && way(self) == way(other)
            && trust(self) == trust(other)
    }
}

/// Settings of one push target, or of a source that pulls: that heeds none of [`TargetConfig::not_for_sources`].
#[derive(Clone, Debug, PartialEq)]
pub struct TargetConfig {
    /// The host's pointer as a number; never touched.
    pub user: usize,
    /// `rtmp://host[:port]/app[/key]`.
    pub url: String,
    /// The stream key, bytes untouched; `None` takes what follows the application in the url, and where nothing does, the
    /// key of the stream that the target or source belongs to.
    pub key: Option<Vec<u8>>,
    /// Roots that are trusted instead of the system's, a PEM file.
    pub ca_file: Option<String>,
    /// The server's public key, as SHA-256 in hexadecimal or base64; see `net::tls`.
    pub pin_sha256: Option<String>,
    /// The server's certificate is not looked at.
    pub insecure: bool,
    /// More urls, tried in turn after `url`; a key given apart is theirs too.
    pub backup_urls: Vec<String>,
    /// Name for Adobe or Limelight authentication; `None` takes what the url has.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// Local address to connect from.
    pub bind_addr: Option<IpAddr>,
    /// The first wait after a failure; it doubles from there.
    pub retry_min_ms: u32,
    /// The longest wait.
    pub retry_max_ms: u32,
    /// Random part of each wait, in percent of it.
    pub retry_jitter_pct: u32,
    /// Failures in a row before giving up, one of all urls counting once; `None` never gives up.
    pub retry_count: Option<u32>,
    /// Time from the first failure of a row to giving up; `None` never gives up.
    pub retry_total_ms: Option<u32>,
    /// A connection that ran this long resets the wait.
    pub retry_reset_ms: u32,
    /// Time for name, TCP and RTMP until `Publish.Start`.
    pub connect_ms: u32,
    /// A target whose socket takes nothing for this long is lost; `None` takes the server's time.
    pub send_ms: Option<u32>,
    /// Without media for this long it is closed until media comes again; `None` keeps it.
    pub idle_ms: Option<u32>,
    /// Lag bound in bytes.
    pub queue_bytes: u32,
    /// Lag bound in time.
    pub queue_ms: u32,
    /// What happens past the bound.
    pub slow_policy: SlowPolicy,
    /// How long it jumps to key frames before it is reconnected or stopped; `None`: for ever where the policy is to
    /// jump, else not at all.
    pub slow_ms: Option<u32>,
    /// Where the push begins.
    pub start: Start,
    /// Timestamps of each connection begin at 0; else they are passed on.
    pub from_zero: bool,
    /// Kinds that are sent, bits of [`media`].
    pub media: u32,
    /// Tracks that are sent: bit n for the multitrack id n, bit 0 also for what is not multitrack; 0 sends all.
    pub tracks: u64,
    /// Not more than this is sent, in kbit/s; what the stream has beyond it is lag.
    pub max_kbps: Option<u32>,
    /// Chunk size to this server in bytes.
    pub chunk_size: u32,
    /// Retry what is fatal by default.
    pub retry_fatal: bool,
    /// Own collecting window; `None` takes the stream's.
    pub merge_ms: Option<u32>,
    /// Of a source: it connects only while somebody plays.
    pub on_demand: bool,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self {
            user: 0,
            url: String::new(),
            key: None,
            ca_file: None,
            pin_sha256: None,
            insecure: false,
            backup_urls: Vec::new(),
            username: None,
            password: None,
            bind_addr: None,
            retry_min_ms: 500,    // a restarted server is back within a second
            retry_max_ms: 30_000, // an ingest that is away for an hour is not hammered
            retry_jitter_pct: 20, // many targets lost at once do not return at once
            retry_count: None,    // a push is expected to come back
            retry_total_ms: None,
            retry_reset_ms: 30_000, // half a minute of media is good running
            connect_ms: 10_000,     // a slow TLS ingest across the world answers within 3 s
            send_ms: None,
            idle_ms: None,
            queue_bytes: 8 * 1024 * 1024,
            queue_ms: 10_000, // ingests tolerate more lag than viewers
            slow_policy: SlowPolicy::Resync,
            slow_ms: None,
            start: Start::Gop,
            from_zero: false,
            media: media::ALL,
            tracks: 0,
            max_kbps: None,
            chunk_size: CHUNK_SIZE,
            retry_fatal: false,
            merge_ms: None,
            on_demand: false,
        }
    }
}

/// How the host lets a session in.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Becomes the session's user pointer.
    pub user: usize,
    /// Another stream key; `None` keeps the one that was asked for.
    pub rename: Option<Vec<u8>>,
    /// Settings for a stream that this publish makes.
    pub stream: Option<Arc<StreamConfig>>,
    /// Where a player begins; `None` takes the stream's.
    pub start: Option<Start>,
    /// Kinds that a player may have, bits of [`media`]. It may want less.
    pub media: u32,
}

impl Default for Decision {
    fn default() -> Self {
        Self { user: 0, rename: None, stream: None, start: None, media: media::ALL }
    }
}

/// Settings of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// The host's pointer as a number; never touched.
    pub user: usize,
    /// What streams made by publishers and players are set up with.
    pub stream: Arc<StreamConfig>,
    /// Bound of all segments, marks, tails, half-read messages, connects and TLS's buffers together; `None` is unbounded.
    pub mem_limit_bytes: Option<u64>,
    /// Events that may wait for the host before folding begins.
    pub event_limit: u32,
    /// Sessions (publishers, players, half-open peers) at one time.
    pub max_sessions: u32,
    /// The same per peer address; `None` is unbounded.
    pub max_sessions_ip: Option<u32>,
    /// Streams at one time; those that players wait for, without a publisher, take half of it at most.
    pub max_streams: u32,
    /// Largest message taken from a peer.
    pub max_message_bytes: u32,
    /// Which asks go to the host (`ask::*`).
    pub ask: u32,
    /// How long the host may take to answer.
    pub ask_ms: u32,
    /// What happens when the host does not answer: true allows.
    pub ask_default_allow: bool,
    /// From accept to publish or play: a peer that takes longer is not one.
    pub handshake_ms: u32,
    /// From `Publish.Start` to the first media message.
    pub first_data_ms: u32,
    /// A publisher that sends nothing for this long is gone.
    pub idle_ms: u32,
    /// A ping goes to silent players and publishers this often; two end the session that a player does not answer, or a
    /// publisher's system does not acknowledge.
    pub ping_ms: u32,
    /// A consumer whose socket takes nothing for this long is closed.
    pub send_ms: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            user: 0,
            stream: Arc::new(StreamConfig::default()),
            mem_limit_bytes: None,
            event_limit: 4096, // a second of trouble with some thousand sessions
            max_sessions: 10_000,
            max_sessions_ip: None,
            max_streams: 1_000, // two threads each: still a small process
            max_message_bytes: MAX_MESSAGE_BYTES,
            ask: 0,
            ask_ms: 5_000, // a web hook that needs longer is broken
            ask_default_allow: false,
            handshake_ms: 10_000,  // slow mobile networks need some seconds
            first_data_ms: 30_000, // OBS starts its encoder after Publish.Start
            idle_ms: 30_000,       // encoders send audio many times a second
            ping_ms: 30_000,
            send_ms: 20_000,
        }
    }
}

/// How connections come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenOptions {
    /// Several processes share the port.
    pub reuse_port: bool,
    /// Each connection begins with a PROXY header, version 1 or 2, that says whose it is; one without is closed.
    pub proxy: bool,
    /// Each connection begins with TLS (after the PROXY header, where there is one); the server has a certificate before.
    pub tls: bool,
}
