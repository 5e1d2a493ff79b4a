//! The config structs of the C API, with the defaults `rr_config_init` writes. They come from the core's `config.rs`;
//! `convert.rs` turns the structs into the core's settings.
//!
//! Every field's comment has its default as `Default: n`; a test compares them with the core's.

use std::ffi::{c_char, c_void};
use std::ptr::null;

use super::Sized32;
use super::event::rr_event_fn;
use super::types::rr_frame;
use crate::config::{ControllerConfig, HooksConfig, ServerConfig, StreamConfig, TargetConfig};

/// The kind of struct that rr_config_init fills.
#[repr(C)]
pub enum rr_config_kind {
    /// rr_server_config.
    RR_CFG_SERVER = 1,
    /// rr_stream_config.
    RR_CFG_STREAM = 2,
    /// rr_target_config.
    RR_CFG_TARGET = 3,
    /// rr_decision.
    RR_CFG_DECISION = 4,
    /// rr_controller_config.
    RR_CFG_CONTROLLER = 7,
    /// rr_frame.
    RR_CFG_FRAME = 8,
    /// rr_hooks_config.
    RR_CFG_HOOKS = 9,
}

/// The struct of a kind.
pub(super) fn name_of(kind: u32) -> Option<&'static str> {
    [
        (rr_server_config::KIND, rr_server_config::NAME),
        (rr_stream_config::KIND, rr_stream_config::NAME),
        (rr_target_config::KIND, rr_target_config::NAME),
        (rr_decision::KIND, rr_decision::NAME),
        (rr_frame::KIND, rr_frame::NAME),
        (rr_hooks_config::KIND, rr_hooks_config::NAME),
        (rr_controller_config::KIND, rr_controller_config::NAME),
    ]
    .into_iter()
    .find_map(|(number, name)| (u32::from(number) == kind).then_some(name))
}

/// Settings of a stream.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rr_stream_config {
    /// Set by rr_config_init.
    pub size: u16,
    /// Set by rr_config_init: RR_CFG_*.
    pub kind: u16,
    /// No flags yet: 0.
    pub flags: u32,
    /// The host's pointer, given back in events and rr_info; never touched.
    pub user: *mut c_void,
    /// RR_PUBLISHER_*: the treatment of a second publisher. Default: 0 (refused).
    pub publisher_policy: u32,
    /// Keep players and targets for this long without a publisher, ms, to 86400000. Default: 0 (not at all).
    pub grace_ms: u32,
    /// Largest cached group of pictures, for RR_START_GOP, bytes, to 1073741824; RR_OFF = no cache. Default: 8388608.
    pub gop_bytes: u32,
    /// Longest cached group, ms, to 3600000; RR_OFF = no cache. Default: 10000.
    pub gop_ms: u32,
    /// A publisher that sends more than this for 10 s, kbit/s, is closed with RR_ERR_LIMIT. Default: 0 (no limit).
    pub max_kbps: u32,
    /// A source with RR_TARGET_ON_DEMAND is closed this long after the last player left, ms, to 86400000; RR_OFF =
    /// never. Default: 10000.
    pub unwatched_ms: u32,
    /// Priority of the stream's threads, -20 to 19; a value below 0 needs a privilege. Default: 0.
    pub nice: i32,
    /// Collect media this long before sending, ms, to 10000: saves system calls, costs latency. Default: 0 (send at
    /// once).
    pub merge_ms: u32,
    /// RR_CLOCK_*: the treatment of timestamps. Default: 0 (passed on).
    pub clock: u32,
    /// RR_START_*: where players begin. Default: 2 (the cached group).
    pub start: u32,
    /// A player's largest lag, bytes, 65536 to 1073741824; past it the player jumps to a key frame. Default: 4194304.
    pub queue_bytes: u32,
    /// A player's largest lag, ms, 100 to 600000. Default: 5000.
    pub queue_ms: u32,
    /// A player that stays past its lag for this long is closed, ms; RR_OFF = never. Default: 30000.
    pub slow_ms: u32,
    /// RR_ARGS_*: the treatment of the text after a `?` in stream keys. Only the stream settings of rr_server_config
    /// count, because a name is read before its stream exists. Default: 0 (not part of the name, given to the host
    /// separately).
    pub args: u32,
    /// CPUs the stream's threads may use, "0-3,8". Default: NULL (any).
    pub cpus: *const c_char,
    /// If video comes for this long without a key frame, ms, to 3600000, players and targets that begin get sound at
    /// once, and video from the next key frame on or, after 15 s without one, from any picture on; RR_OFF = both wait
    /// for a key frame. Default: 5000.
    pub key_wait_ms: u32,
    /// With RR_PUBLISHER_REJECT a new publisher replaces one that has sent nothing for this long, ms, to 86400000, so
    /// that an encoder that lost its network can publish again; RR_OFF = never. Default: 2000.
    pub silent_ms: u32,
    /// RR_METADATA_*: how players get metadata that does not end as AMF0 prescribes. Default: 0 (repaired).
    pub metadata: u32,
    /// Most threads that send to the stream's players, 1 to 16: for more players than one processor serves. Players are
    /// spread over them as they come; targets are with the first. RR_OFF = 1. Default: 0 (one; where there are more than
    /// two processors, up to 4, and one processor is left, once each has 500 players or targets; all such streams of a
    /// server together have fewer further ones than there are processors). More than 1 is refused (RR_ERR_ARG) where
    /// streams share threads (threads in rr_server_config).
    pub relay_threads: u32,
}

/// Settings of a target, or of a source. A source does not send, so these settings must be 0 or the default there
/// (RR_ERR_UNSUPPORTED otherwise): send_ms, idle_ms, queue_bytes, queue_ms, slow_policy, slow_ms, start, clock, media,
/// tracks, max_kbps and merge_ms.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rr_target_config {
    /// Set by rr_config_init.
    pub size: u16,
    /// Set by rr_config_init: RR_CFG_*.
    pub kind: u16,
    /// RR_TARGET_* bits.
    pub flags: u32,
    /// The host's pointer, given back in events and rr_info; never touched.
    pub user: *mut c_void,
    /// `rtmp://host[:port]/app[/key]`, or rtmps://, 8192 bytes at most. Must be given.
    pub url: *const c_char,
    /// The stream key, 4096 bytes at most, passed on byte for byte; then the whole path of url is the application.
    /// Default: NULL: the part of url after the first part of its path, with slashes and query or, if that is empty,
    /// the stream's own key.
    pub key: *const c_char,
    /// More urls, tried in turn after url, ended by NULL, 16 at most; `key` holds for them too. Default: NULL.
    pub backup_urls: *const *const c_char,
    /// Name for Adobe or Limelight authentication, 1024 bytes at most. Default: NULL (the name before url's @, if any).
    pub username: *const c_char,
    /// Password for that authentication, 1024 bytes at most. Default: NULL (the password before url's @, if any).
    pub password: *const c_char,
    /// A PEM file of roots to trust for rtmps, or of the server's self-signed certificate. It is not read if all urls
    /// are rtmp. Default: NULL (the system's).
    pub ca_file: *const c_char,
    /// SHA-256 of the server's public key (SubjectPublicKeyInfo), 64 hex digits or base64. It replaces the check of
    /// roots, name and dates; with ca_file both must hold. Default: NULL.
    pub pin_sha256: *const c_char,
    /// Local IPv4 or IPv6 address to connect from. Default: NULL (any).
    pub bind_addr: *const c_char,
    /// First wait after a failure, ms, to 3600000; it doubles from there. Default: 500.
    pub retry_min_ms: u32,
    /// Longest wait, ms, to 86400000, not below retry_min_ms. Default: 30000.
    pub retry_max_ms: u32,
    /// Random part of each wait, percent, to 100; RR_OFF = none. Default: 20.
    pub retry_jitter_pct: u32,
    /// Failures in a row before giving up, to 1000000000; with backup_urls, one try of all urls counts as one. RR_OFF =
    /// never. Default: 0 (never).
    pub retry_count: u32,
    /// Time from the first failure of a row to giving up, ms, to 4294967294; RR_OFF = never. Default: 0 (never).
    pub retry_total_ms: u32,
    /// After a connection that ran this long, ms, the next wait is retry_min_ms again. Default: 30000.
    pub retry_reset_ms: u32,
    /// Time for the name look-up, connection and commands until the peer accepts media, ms, 100 to 600000.
    /// Default: 10000.
    pub connect_ms: u32,
    /// A peer whose socket takes nothing for this long is lost, ms; RR_OFF = none. Default: 0 (the server's send_ms).
    pub send_ms: u32,
    /// A target without media for this long, ms, is closed in order, and connects again when media comes. Default: 0
    /// (never).
    pub idle_ms: u32,
    /// Largest lag, bytes, 65536 to 1073741824; past it slow_policy applies. Default: 8388608.
    pub queue_bytes: u32,
    /// Largest lag, ms, 100 to 600000. Default: 10000.
    pub queue_ms: u32,
    /// RR_SLOW_*: the treatment of a target past its largest lag. Default: 0 (jump to a key frame).
    pub slow_policy: u32,
    /// How long a slow target may jump to key frames before it is reconnected (RR_SLOW_STOP: stopped), ms. Default: 0
    /// (with RR_SLOW_RESYNC for ever, with the other policies not at all).
    pub slow_ms: u32,
    /// RR_START_*: where the push begins. Default: 2 (the cached group).
    pub start: u32,
    /// RR_CLOCK_PASS, or RR_CLOCK_ZERO: each connection's timestamps begin at 0. RR_CLOCK_REPAIR is only for streams.
    /// Default: 0.
    pub clock: u32,
    /// RR_MEDIA_* bits: kinds of messages to send. Default: 7 (all).
    pub media: u32,
    /// Tracks to send: bit n = multitrack id n, bit 0 also media without multitrack; a message of several tracks is
    /// sent if one of them is. Default: 0 (all).
    pub tracks: u64,
    /// Highest rate to send at, kbit/s, 8 to 10000000; a stream with a higher rate makes the target lag, see queue_ms.
    /// RR_OFF = none. Default: 0 (none).
    pub max_kbps: u32,
    /// Chunk size to this peer, bytes, 128 to 16777215; any other value than the default costs a copy. Default: 60000.
    pub chunk_size: u32,
    /// Collect media this long before sending, ms, to 10000; RR_OFF = send at once. Default: 0 (the stream's).
    pub merge_ms: u32,
    /// For this long after media has flowed to a url, ms, to 86400000, refusals by that server (BadName and the like)
    /// are retried, because it may still hold the lost session. At other urls, and later, the second refusal in a row
    /// ends the target. RR_OFF = at every url. Default: 90000.
    pub lingering_ms: u32,
}

/// Settings of a server. For every time, RR_OFF means no limit.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rr_server_config {
    /// Set by rr_config_init.
    pub size: u16,
    /// Set by rr_config_init: RR_CFG_*.
    pub kind: u16,
    /// No flags yet: 0.
    pub flags: u32,
    /// The host's pointer, given to on_event and in events; never touched.
    pub user: *mut c_void,
    /// Takes the events. Default: NULL (use rr_event_next).
    pub on_event: rr_event_fn,
    /// Settings of streams made by publishers and players. Default: NULL (those of rr_stream_config).
    pub stream: *const rr_stream_config,
    /// Most memory for media in all queues and caches, for connections' TLS and for the fields of connect: bytes, from
    /// 1048576. When memory becomes short, cached groups are dropped first; then consumers that are far behind jump,
    /// and consumers that hold much are closed; a publisher that finds no room waits for up to two seconds and is then
    /// closed (RR_ERR_LIMIT). The last eighth is kept for streams older than three seconds that need no more than
    /// before, so new peers are refused first. The process as a whole grows by at most 1.25 times the limit, 4 MiB, 256
    /// KiB a stream and 24 KiB a connection. Default: 0 (no limit).
    pub mem_limit: u64,
    /// Events that may wait, 16 to 1048576; beyond that log lines are dropped and repeated states are folded into one
    /// event. Default: 4096.
    pub event_limit: u32,
    /// RR_LOG_* level of lines that also come as RR_EV_LOG. Default: 0 (none).
    pub log_events: u32,
    /// Most sessions at one time; RR_OFF = no limit. Default: 10000.
    pub max_sessions: u32,
    /// Most sessions of one address; RR_OFF = no limit. Default: 0 (no limit).
    pub max_sessions_ip: u32,
    /// Most streams at one time; at most half of them may be streams without a publisher that players wait for. RR_OFF
    /// = no limit. Default: 1000.
    pub max_streams: u32,
    /// Largest RTMP message taken, bytes, 4096 to 16777215. Default: 16777215.
    pub max_message: u32,
    /// RR_ASK_* bits: the questions to the host. Default: 0 (none, all peers are admitted).
    pub ask: u32,
    /// Time for the host's answer, ms. Default: 5000.
    pub ask_ms: u32,
    /// The answer if the host gives none in time: 1 allow, 0 deny. Default: 0.
    pub ask_default: u32,
    /// Time from accept to connect, ms. A connected peer that neither publishes nor plays stays as long as it answers
    /// pings or, without pings, sends something every idle_ms. Default: 10000.
    pub handshake_ms: u32,
    /// Time from the start of publishing to the first media, ms. Default: 30000.
    pub first_data_ms: u32,
    /// A publisher that sends nothing for this long is closed, ms. Default: 30000.
    pub idle_ms: u32,
    /// A silent peer gets a ping this often, ms, from 1000. Two unanswered pings end a session; from a publisher only
    /// TCP acknowledgements of the pings are expected. Default: 30000.
    pub ping_ms: u32,
    /// A consumer whose socket takes nothing for this long is closed, ms. Default: 20000.
    pub send_ms: u32,
    /// Threads that all streams share, 1 to 256: useful for many small streams, with as many threads as processors. A
    /// stream then waits while other streams of its thread have their turns, and streams cannot have nice, cpus or
    /// several relay_threads (RR_ERR_ARG). RR_OFF = two threads for each stream. Default: 0 (two for each stream). With
    /// RR_ISOLATE_PROCESS: threads for this process's part of the streams; 0 is one.
    pub threads: u32,
    /// RR_ISOLATE_*: where streams run. Default: 0 (in this process).
    pub isolate: u32,
    /// With RR_ISOLATE_PROCESS: the program that carries a stream, 4096 bytes at most; it calls rr_worker_main.
    /// Default: NULL (rrelay-worker, which is installed with the library).
    pub worker: *const c_char,
    /// With RR_ISOLATE_PROCESS: most memory that a worker can write, bytes, from 33554432. Three quarters of what
    /// exceeds 24 MiB are the stream's memory for media, which it frees as with mem_limit; a worker that needs more than
    /// worker_memory all the same is ended. Default: 0 (no limit).
    pub worker_memory: u64,
    /// With RR_ISOLATE_PROCESS: most files that a worker can have open, 64 to 1048576; each connection is one.
    /// Default: 0 (as many as this process).
    pub worker_files: u32,
    /// With RR_ISOLATE_PROCESS: a worker that does not answer for this long, ms, 2000 to 600000, is killed; RR_OFF =
    /// never. Default: 10000.
    pub worker_hung_ms: u32,
    /// With RR_ISOLATE_PROCESS: a folder, 4096 bytes at most, made if it is missing, that belongs to this user alone (mode
    /// 0700). Workers whose server is killed go on, and wait there for the next server that has this folder: it takes them
    /// over when it begins to listen, with their streams, sessions and targets, as rr_server_takeover does. They are its own
    /// from then on: where something else of a start fails after the first rr_server_listen, rr_server_free stops them,
    /// while a process that ends without it leaves them to the next one. Default: NULL (workers end with their server).
    pub worker_dir: *const c_char,
    /// With worker_dir: how long workers whose server has ended without stopping them wait for the next one, ms, 1000 to
    /// 86400000. Default: 60000.
    pub worker_orphan_ms: u32,
    /// 0.
    pub reserved0: u32,
}

/// The terms on which a session is allowed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rr_decision {
    /// Set by rr_config_init.
    pub size: u16,
    /// Set by rr_config_init: RR_CFG_*.
    pub kind: u16,
    /// No flags yet: 0.
    pub flags: u32,
    /// Becomes the session's user pointer.
    pub user: *mut c_void,
    /// The stream key to use, not empty; at RR_EV_CONNECT_ASK the application. Default: NULL (what the peer asked for).
    pub rename: *const c_char,
    /// For a publish: settings of the stream, if this publish creates it. Default: NULL (the server's).
    pub stream: *const rr_stream_config,
    /// For a play: RR_MEDIA_* bits, the kinds that the player gets at most, from its first message on. Default: 7
    /// (all).
    pub media: u32,
    /// For a play: RR_START_*. Default: 0 (the stream's).
    pub start: u32,
}

/// Back ends that are asked and notified by HTTP (rr_hooks_set). A hook is an address, `http://host[:port]/path` or
/// https://; NULL means no hook. At least one must be given.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rr_hooks_config {
    /// Set by rr_config_init.
    pub size: u16,
    /// Set by rr_config_init: RR_CFG_*.
    pub kind: u16,
    /// RR_HOOKS_FLAG_* bits.
    pub flags: u32,
    /// Asked when a peer connects. Default: NULL.
    pub on_connect: *const c_char,
    /// Asked when a peer wants to publish. Default: NULL.
    pub on_publish: *const c_char,
    /// Asked when a peer wants to play. Default: NULL.
    pub on_play: *const c_char,
    /// Notified once when a session's publish has ended. Default: NULL.
    pub on_publish_done: *const c_char,
    /// Notified once when a session's play has ended. Default: NULL.
    pub on_play_done: *const c_char,
    /// Notified every update_ms while a session publishes or plays. Its answer may end the session; with RR_HOOKS_NGINX
    /// a missing answer ends it too, unless RR_HOOKS_FLAG_FAIL_OPEN is set. Default: NULL.
    pub on_update: *const c_char,
    /// Notified when the state of a target or source changes. Default: NULL.
    pub on_target_state: *const c_char,
    /// The secret that signs requests: their header X-Rrelay-Signature is "sha256=" and the HMAC-SHA256 of the body in
    /// hexadecimal, or of the query if the body is empty. Default: NULL (they are not signed).
    pub secret: *const c_char,
    /// Roots to trust for https, a PEM file. Default: NULL (the system's).
    pub ca_file: *const c_char,
    /// RR_HOOKS_*: the protocol of the back ends. Default: 0 (JSON).
    pub dialect: u32,
    /// How long a request may take until its answer has come, including its wait for a place among max_requests, ms,
    /// 100 to 60000. A session whose question has no valid answer by then is refused, or allowed with
    /// RR_HOOKS_FLAG_FAIL_OPEN; an answer whose body is longer than 256 KiB is not valid, except that a status of 4xx
    /// refuses whatever its body. Default: 5000.
    pub timeout_ms: u32,
    /// Time from the beginning of a publish or play to its first update, and from each answer to the next one, ms, 1000
    /// to 86400000; RR_OFF = none. Default: 30000.
    pub update_ms: u32,
    /// How long a failed notification (no answer, or a 5xx) is retried, ms, to 3600000; RR_OFF = it is not. Updates are
    /// not retried. Default: 60000.
    pub retry_ms: u32,
    /// Most requests of one hook at one time, 1 to 4096; further ones wait, and the wait counts against their time.
    /// Default: 256.
    pub max_requests: u32,
    /// 0.
    pub reserved0: u32,
}

/// Controllers that are asked by HTTP where streams go next (rr_controller_set).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rr_controller_config {
    /// Set by rr_config_init.
    pub size: u16,
    /// Set by rr_config_init: RR_CFG_*.
    pub kind: u16,
    /// No flags yet: 0.
    pub flags: u32,
    /// Addresses of controllers, `http://host[:port][/path]` or https://, ended by NULL, 8 at most; each is asked if
    /// those before it do not answer. At least one must be given.
    pub urls: *const *const c_char,
    /// Sent with each request as "Authorization: Bearer TOKEN". Default: NULL (none is sent).
    pub token: *const c_char,
    /// The secret that signs requests, as in rr_hooks_config. Default: NULL (they are not signed).
    pub secret: *const c_char,
    /// Roots to trust for https, a PEM file. Default: NULL (the system's).
    pub ca_file: *const c_char,
    /// This server's address, as other servers dial it, `rtmp://host[:port]`. Default: NULL (the controller gets none).
    pub self_url: *const c_char,
    /// How long one controller may take to answer, including the wait for a place among max_requests, ms, 100 to 30000;
    /// publishers and players wait meanwhile. An answer longer than 256 KiB counts as none. Default: 2000.
    pub timeout_ms: u32,
    /// Time from one heartbeat to the next, ms, 1000 to 3600000; RR_OFF = none. Default: 10000.
    pub heartbeat_ms: u32,
    /// How long an answer without a ttl_ms of its own stays valid, for when no controller answers, ms, to 86400000;
    /// RR_OFF = not at all. Default: 300000.
    pub cache_ms: u32,
    /// Most questions at one time, 1 to 4096; further ones wait, and the wait counts against their time. Default: 64.
    pub max_requests: u32,
}

impl rr_controller_config {
    /// The core's defaults in C's form.
    pub fn defaults() -> Self {
        let core = ControllerConfig::default();
        Self {
            size: size_of::<Self>() as u16,
            kind: <Self as Sized32>::KIND,
            flags: 0,
            urls: null(),
            token: null(),
            secret: null(),
            ca_file: null(),
            self_url: null(),
            timeout_ms: core.timeout_ms,
            heartbeat_ms: core.heartbeat_ms.unwrap_or(u32::MAX),
            cache_ms: core.cache_ms,
            max_requests: core.max_requests,
        }
    }
}

impl rr_hooks_config {
    /// The core's defaults in C's form.
    pub fn defaults() -> Self {
        let core = HooksConfig::default();
        Self {
            size: size_of::<Self>() as u16,
            kind: <Self as Sized32>::KIND,
            flags: 0,
            on_connect: null(),
            on_publish: null(),
            on_play: null(),
            on_publish_done: null(),
            on_play_done: null(),
            on_update: null(),
            on_target_state: null(),
            secret: null(),
            ca_file: null(),
            dialect: 0,
            timeout_ms: core.timeout_ms,
            update_ms: core.update_ms.unwrap_or(u32::MAX),
            retry_ms: core.retry_ms,
            max_requests: core.max_requests,
            reserved0: 0,
        }
    }
}

impl rr_stream_config {
    /// The core's defaults in C's form.
    pub fn defaults() -> Self {
        let core = StreamConfig::default();
        Self {
            size: size_of::<Self>() as u16,
            kind: <Self as Sized32>::KIND,
            flags: 0,
            user: std::ptr::null_mut(),
            publisher_policy: core.publisher_policy as u32,
            grace_ms: core.grace_ms,
            gop_bytes: core.gop_bytes,
            gop_ms: core.gop_ms,
            max_kbps: 0,
            unwatched_ms: core.unwatched_ms.unwrap_or(u32::MAX),
            nice: core.nice,
            merge_ms: core.merge_ms,
            clock: 0,
            start: core.start.number(),
            queue_bytes: core.queue_bytes,
            queue_ms: core.queue_ms,
            slow_ms: core.slow_ms,
            args: core.args as u32,
            cpus: null(),
            key_wait_ms: core.key_wait_ms,
            silent_ms: core.silent_ms.unwrap_or(u32::MAX),
            metadata: core.metadata as u32,
            relay_threads: core.relay_threads.unwrap_or(0),
        }
    }
}

impl rr_target_config {
    /// The core's defaults in C's form.
    pub fn defaults() -> Self {
        let core = TargetConfig::default();
        Self {
            size: size_of::<Self>() as u16,
            kind: <Self as Sized32>::KIND,
            flags: 0,
            user: std::ptr::null_mut(),
            url: null(),
            key: null(),
            backup_urls: null(),
            username: null(),
            password: null(),
            ca_file: null(),
            pin_sha256: null(),
            bind_addr: null(),
            retry_min_ms: core.retry_min_ms,
            retry_max_ms: core.retry_max_ms,
            retry_jitter_pct: core.retry_jitter_pct,
            retry_count: core.retry_count.unwrap_or(0),
            retry_total_ms: core.retry_total_ms.unwrap_or(0),
            retry_reset_ms: core.retry_reset_ms,
            connect_ms: core.connect_ms,
            send_ms: core.send_ms.unwrap_or(0),
            idle_ms: core.idle_ms.unwrap_or(0),
            queue_bytes: core.queue_bytes,
            queue_ms: core.queue_ms,
            slow_policy: core.slow_policy as u32,
            slow_ms: core.slow_ms.unwrap_or(0),
            start: core.start.number(),
            clock: u32::from(core.from_zero),
            media: core.media,
            tracks: core.tracks,
            max_kbps: core.max_kbps.unwrap_or(0),
            chunk_size: core.chunk_size,
            merge_ms: core.merge_ms.unwrap_or(0),
            lingering_ms: core.lingering_ms.unwrap_or(u32::MAX),
        }
    }
}

impl rr_server_config {
    /// The core's defaults in C's form.
    pub fn defaults() -> Self {
        let core = ServerConfig::default();
        Self {
            size: size_of::<Self>() as u16,
            kind: <Self as Sized32>::KIND,
            flags: 0,
            user: std::ptr::null_mut(),
            on_event: None,
            stream: null(),
            mem_limit: core.mem_limit_bytes.unwrap_or(0),
            event_limit: core.event_limit,
            log_events: 0,
            max_sessions: core.max_sessions,
            max_sessions_ip: core.max_sessions_ip.unwrap_or(0),
            max_streams: core.max_streams,
            max_message: core.max_message_bytes,
            ask: core.ask,
            ask_ms: core.ask_ms,
            ask_default: u32::from(core.ask_default_allow),
            handshake_ms: core.handshake_ms,
            first_data_ms: core.first_data_ms,
            idle_ms: core.idle_ms,
            ping_ms: core.ping_ms,
            send_ms: core.send_ms,
            threads: core.threads.unwrap_or(0),
            isolate: core.isolate as u32,
            worker: null(),
            worker_memory: core.worker.memory_bytes.unwrap_or(0),
            worker_files: core.worker.files.unwrap_or(0),
            worker_hung_ms: core.worker.hung_ms.unwrap_or(u32::MAX),
            worker_dir: null(),
            worker_orphan_ms: core.worker.orphan_ms,
            reserved0: 0,
        }
    }
}

impl rr_decision {
    /// The session is allowed as it asked.
    pub fn defaults() -> Self {
        Self {
            size: size_of::<Self>() as u16,
            kind: <Self as Sized32>::KIND,
            flags: 0,
            user: std::ptr::null_mut(),
            rename: null(),
            stream: null(),
            media: crate::config::media::ALL,
            start: 0,
        }
    }
}
