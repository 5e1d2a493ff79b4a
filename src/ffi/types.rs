//! The numbers and plain structs of the C API: ids, states, errors, flags, statistics and facts. No behaviour.
//!
//! The doc comments here are the C programmer's manual: cbindgen copies them into `include/rrelay.h`. Structs have no
//! hidden padding (asserted in `layout.rs`), because a later field in the padding would not change the size.

use std::ffi::{c_char, c_int, c_void};

/// The id of one object of a server: its kind, its server, a generation and its slot (the low 32 bits, a small number).
/// 0 means no object. An id that has ended, or belongs to another server, gives an error (RR_ERR_NOT_FOUND), never a
/// crash, so ids may cross threads, logs and JSON.
pub type rr_id = u64;
/// A stream: one publisher in, any number of players and targets out.
pub type rr_stream = rr_id;
/// A session: a connection that a peer opened to us.
pub type rr_session = rr_id;
/// A target: a connection that we open to push a stream on.
pub type rr_target = rr_id;

/// The states, one set for every kind of object.
#[repr(C)]
pub enum rr_state {
    /// No state: the object is unknown or its id has ended.
    RR_STATE_NONE = 0,
    /// Server: made, not listening, no session. Stream: no publisher yet. Session: its publish or play has ended, and
    /// it is still connected. Target: the stream has no media yet.
    RR_STATE_IDLE = 1,
    /// Server: listening, no session.
    RR_STATE_ACCEPTING = 2,
    /// Target: resolving the name, connecting.
    RR_STATE_CONNECTING = 3,
    /// The RTMP handshake and commands are in progress.
    RR_STATE_HANDSHAKE = 4,
    /// Session: a question to the host waits for its answer, or a standby publisher waits. Target: connected, waits for
    /// media.
    RR_STATE_WAITING = 5,
    /// Media flows. Server: it has at least one session.
    RR_STATE_IN_PROGRESS = 6,
    /// Stream: the publisher is lost, and its grace window is running. Target: the connection is lost; rr_event's value
    /// = ms to the next try.
    RR_STATE_RECOVERING = 7,
    /// Draining, flushing, closing.
    RR_STATE_STOPPING = 8,
    /// The object and its id have ended.
    RR_STATE_STOPPED = 9,
    /// Server: the listener is lost. Stream: internal error. Session: a protocol error or a limit. Target: it has given
    /// up, or was refused for good.
    RR_STATE_FAILED = 10,
}

/// Results. A call that succeeds returns 0 or more; one that fails returns one of these numbers below 0. rr_strerror
/// gives a sentence, rr_last_error the detail. Numbers are never reused.
#[repr(C)]
pub enum rr_error {
    /// Success.
    RR_OK = 0,
    /// An argument is NULL, out of range or malformed.
    RR_ERR_ARG = -1,
    /// A struct, or the state of a session, is newer than this library and uses fields that the library does not know.
    RR_ERR_VERSION = -2,
    /// The call is not possible in the object's present state.
    RR_ERR_STATE = -3,
    /// There is no such stream, session, target or server, or its id has ended.
    RR_ERR_NOT_FOUND = -4,
    /// The object exists already.
    RR_ERR_EXISTS = -5,
    /// There is nothing to do now; try again later. This is not a failure.
    RR_ERR_AGAIN = -6,
    /// The system gave no memory.
    RR_ERR_NOMEM = -7,
    /// A limit was reached: a setting (max_sessions, mem_limit), or the process's own threads and descriptors.
    RR_ERR_LIMIT = -8,
    /// The call is not allowed in this thread: inside a callback, or by a second taker of events.
    RR_ERR_THREAD = -9,
    /// This build does not have that feature; rr_last_error names it.
    RR_ERR_UNSUPPORTED = -10,
    /// A bug in this library: a panic, caught before it reached the host. The object concerned may be FAILED; others
    /// are not affected.
    RR_ERR_PANIC = -11,
    /// The object or the connection is closed.
    RR_ERR_CLOSED = -12,
    /// The process in which the stream ran has ended.
    RR_ERR_WORKER = -13,
    /// A deadline passed.
    RR_ERR_TIMEOUT = -20,
    /// A socket failed.
    RR_ERR_IO = -21,
    /// A name could not be resolved.
    RR_ERR_RESOLVE = -22,
    /// No connection could be made.
    RR_ERR_CONNECT = -23,
    /// TLS failed.
    RR_ERR_TLS = -24,
    /// The certificate was not accepted.
    RR_ERR_CERT = -25,
    /// The RTMP handshake failed.
    RR_ERR_HANDSHAKE = -30,
    /// The peer broke the protocol.
    RR_ERR_PROTOCOL = -31,
    /// Authentication was refused.
    RR_ERR_AUTH = -32,
    /// The peer (or the host) refused the request.
    RR_ERR_REJECTED = -33,
    /// Another publisher took over.
    RR_ERR_TAKEN_OVER = -34,
    /// The peer was too slow for too long.
    RR_ERR_SLOW = -35,
    /// The peer was silent for too long.
    RR_ERR_IDLE = -36,
    /// The host closed it.
    RR_ERR_KICKED = -37,
    /// Every configured try has failed.
    RR_ERR_GIVE_UP = -38,
}

/// Kinds of objects.
#[repr(C)]
pub enum rr_kind {
    /// The server itself; its id is 0 in calls.
    RR_KIND_SERVER = 1,
    /// A stream.
    RR_KIND_STREAM = 2,
    /// A session.
    RR_KIND_SESSION = 3,
    /// A target.
    RR_KIND_TARGET = 4,
}

/// Roles of sessions and targets in their streams.
#[repr(C)]
pub enum rr_role {
    /// The role is not known yet.
    RR_ROLE_NONE = 0,
    /// The session sends the stream to us.
    RR_ROLE_PUBLISHER = 1,
    /// The session replaces the publisher if that is lost.
    RR_ROLE_STANDBY = 2,
    /// The session gets the stream from us.
    RR_ROLE_PLAYER = 3,
    /// We push the stream to the target.
    RR_ROLE_TARGET = 4,
    /// We pull the stream from the source (rr_stream_add_source).
    RR_ROLE_SOURCE = 5,
}

/// Kinds of numbers that rr_name names.
#[repr(C)]
pub enum rr_name_kind {
    /// An rr_state.
    RR_NAME_STATE = 1,
    /// An rr_event_type.
    RR_NAME_EVENT = 2,
    /// An rr_role: "publisher", "player".
    RR_NAME_ROLE = 3,
    /// An rr_kind: "stream", "session".
    RR_NAME_KIND = 4,
    /// A FourCC, as in rr_frame and rr_info: "H.264", "AAC".
    RR_NAME_CODEC = 5,
}

/// Bits of rr_features.
#[repr(C)]
pub enum rr_feature {
    /// rr_event_fd gives a descriptor.
    RR_FEATURE_EVENT_FD = 1,
    /// rtmps.
    RR_FEATURE_TLS = 2,
    /// Control by HTTP: the rr_rest_* functions work.
    RR_FEATURE_REST = 8,
}

/// Bits for rr_rest_listen.
#[repr(C)]
pub enum rr_rest_flag {
    /// /metrics, /stat and /noalbs need no token, for clients that cannot send one.
    RR_REST_OPEN_READERS = 1,
    /// /metrics also labels streams and targets with application and key. Metrics are stored for long, and keys are
    /// secrets.
    RR_REST_KEY_LABELS = 2,
}

/// The protocols of hooks' back ends.
#[repr(C)]
pub enum rr_hooks_dialect {
    /// JSON. Each request is a POST with an object: "hook", "time_ms", "session", "client", "addr", "app", "key",
    /// "query" and more; docs/hooks.md lists all. The answer to a question is 200 with one of these objects: {"action":
    /// "allow"}, which may also have "rename" (another key; at connect another application), "targets" and "sources"
    /// (lists of settings as in rr_target_config), "media" and "start"; {"action": "deny", "text": "for the encoder",
    /// "code": "NetStream.Publish.Denied"}; {"action": "redirect", "url": "rtmp://..."}. 204 or no body allows, 4xx
    /// denies.
    RR_HOOKS_JSON = 0,
    /// nginx-rtmp's notify module: form fields in its order, and an answer whose first status digit decides; 3xx with
    /// Location gives another name, or another server that the stream is pushed to (publish) or pulled from (play).
    RR_HOOKS_NGINX = 1,
}

/// Bits of rr_hooks_config.
#[repr(C)]
pub enum rr_hooks_flag {
    /// A session is allowed if its back end gives no valid answer in time. Without this flag it is refused.
    RR_HOOKS_FLAG_FAIL_OPEN = 1,
    /// With RR_HOOKS_NGINX: by GET, with the fields in the address; without it by POST (notify_method).
    RR_HOOKS_FLAG_GET = 2,
    /// With RR_HOOKS_NGINX: an update that is answered by 3xx ends the session too (notify_update_strict).
    RR_HOOKS_FLAG_STRICT_UPDATE = 4,
    /// With RR_HOOKS_NGINX: a stream that is redirected to another server is named by the MD5 of the address
    /// (notify_relay_redirect).
    RR_HOOKS_FLAG_RELAY_REDIRECT = 8,
}

/// Levels of log lines; each level includes those before it.
#[repr(C)]
pub enum rr_log_level {
    /// No lines.
    RR_LOG_OFF = 0,
    /// Failures that need attention.
    RR_LOG_ERROR = 1,
    /// Problems that the library handles.
    RR_LOG_WARN = 2,
    /// Begin and end of streams, sessions and targets.
    RR_LOG_INFO = 3,
    /// Peers' commands and the decisions on them; every change of a state. Keys are masked.
    RR_LOG_DEBUG = 4,
    /// Every published message.
    RR_LOG_TRACE = 5,
}

/// Bits: questions to the host.
#[repr(C)]
pub enum rr_ask {
    /// At connect, before the peer asks to publish or play.
    RR_ASK_CONNECT = 1,
    /// At publish.
    RR_ASK_PUBLISH = 2,
    /// At play.
    RR_ASK_PLAY = 4,
}

/// Bits: kinds of media.
#[repr(C)]
pub enum rr_media {
    /// Audio messages.
    RR_MEDIA_AUDIO = 1,
    /// Video messages.
    RR_MEDIA_VIDEO = 2,
    /// Data messages: metadata, cue points, captions.
    RR_MEDIA_DATA = 4,
    /// Messages of all kinds.
    RR_MEDIA_ALL = 7,
}

/// Where a server's streams run.
#[repr(C)]
pub enum rr_isolate {
    /// All in the host's process.
    RR_ISOLATE_THREADS = 0,
    /// Each in a process of its own, a worker (rr_worker_main): one that crashes ends its own stream alone, and the
    /// system shares its processors and memory by stream. docs/isolate.md says what is different.
    RR_ISOLATE_PROCESS = 1,
}

/// A stream's treatment of a second publisher.
#[repr(C)]
pub enum rr_publisher_policy {
    /// The second one is refused with NetStream.Publish.BadName, unless the first has fallen silent (silent_ms).
    RR_PUBLISHER_REJECT = 0,
    /// The second one replaces the first.
    RR_PUBLISHER_TAKEOVER = 1,
    /// The second one waits until the first is gone.
    RR_PUBLISHER_STANDBY = 2,
}

/// Where a consumer begins.
#[repr(C)]
pub enum rr_start {
    /// Where the stream's settings say; in a stream's settings: RR_START_GOP.
    RR_START_DEFAULT = 0,
    /// At the next key frame.
    RR_START_KEY = 1,
    /// At the cached group's key frame, for a picture at once.
    RR_START_GOP = 2,
    /// At the newest message, without waiting for a key frame.
    RR_START_NOW = 3,
}

/// Types of RTMP messages that carry media: rr_frame's type, the first argument of rr_frame_parse.
#[repr(C)]
pub enum rr_message_type {
    /// Audio.
    RR_MSG_AUDIO = 8,
    /// Video.
    RR_MSG_VIDEO = 9,
    /// Data, AMF3: an AMF0 body after one byte.
    RR_MSG_DATA_AMF3 = 15,
    /// Data, AMF0: metadata, cue points.
    RR_MSG_DATA = 18,
}

/// The treatment of the publisher's timestamps.
#[repr(C)]
pub enum rr_clock {
    /// Timestamps are passed on.
    RR_CLOCK_PASS = 0,
    /// Timestamps begin at 0.
    RR_CLOCK_ZERO = 1,
    /// Jumps are removed.
    RR_CLOCK_REPAIR = 2,
}

/// The treatment of `?args` after the stream keys of publishers and players; they are usually tokens.
#[repr(C)]
pub enum rr_args {
    /// The arguments are not part of the key: a key with and without them names the same stream. The host gets them as
    /// `query`, in rr_event and rr_info; targets get them only with RR_TARGET_ARGS.
    RR_ARGS_APART = 0,
    /// The arguments are part of the key: shown, matched, and pushed on with it.
    RR_ARGS_KEY = 1,
    /// The arguments are not part of the key, and are not kept.
    RR_ARGS_DROP = 2,
}

/// How players get metadata that does not end as AMF0 prescribes (an object lacks its end mark, or bytes follow the
/// value). Common players refuse the whole stream because of it. Targets always get metadata as it came.
#[repr(C)]
pub enum rr_metadata {
    /// With the missing end marks added, and the bytes after the value left out.
    RR_METADATA_MENDED = 0,
    /// As the publisher sends it, byte for byte.
    RR_METADATA_VERBATIM = 1,
}

/// The treatment of a target that cannot keep up.
#[repr(C)]
pub enum rr_slow_policy {
    /// The target jumps to a key frame.
    RR_SLOW_RESYNC = 0,
    /// The target is closed and connected again.
    RR_SLOW_RECONNECT = 1,
    /// The target ends.
    RR_SLOW_STOP = 2,
}

/// Bits for the listening calls.
#[repr(C)]
pub enum rr_listen_flag {
    /// rtmps; needs an earlier rr_server_set_tls.
    RR_LISTEN_TLS = 1,
    /// Each connection begins with a PROXY protocol header, version 1 or 2, which names the peer's address; connections
    /// without one are closed.
    RR_LISTEN_PROXY = 2,
    /// Several processes share the port (SO_REUSEPORT).
    RR_LISTEN_REUSEPORT = 4,
    /// The port is for players over HTTP, or https with RR_LISTEN_TLS, and not for RTMP: GET /app/key.flv, and the same
    /// path as a WebSocket, give the stream as FLV. With ?for=browser it has the form that players in browsers accept.
    /// These players are sessions like others, and the host is asked about them; a stream that does not exist is 404, a
    /// denied one 403.
    RR_LISTEN_HTTP = 8,
}

/// Bits of rr_target_config's flags.
#[repr(C)]
pub enum rr_target_flag {
    /// No certificate check: an attacker in between can read and change everything.
    RR_TARGET_INSECURE = 1,
    /// Retry also after errors that are fatal by default (a refused key, for example).
    RR_TARGET_RETRY_FATAL = 2,
    /// For rr_stream_add_source: connect while there are players, and for unwatched_ms after.
    RR_TARGET_ON_DEMAND = 4,
    /// For rr_stream_add_target: send the publisher's `?args` (rr_event's query) with the key, at each connection.
    RR_TARGET_ARGS = 8,
}

/// Facts about a frame, bits of rr_frame's flags.
#[repr(C)]
pub enum rr_frame_flag {
    /// A key frame: a decoder can begin here.
    RR_FRAME_KEY = 1,
    /// A sequence header: codec configuration without picture or sound.
    RR_FRAME_SEQ = 2,
    /// The end of a sequence. In rr_stream_write: the host's publish ends, and `data` may be NULL.
    RR_FRAME_END = 4,
    /// Stream metadata (onMetaData).
    RR_FRAME_META = 8,
    /// An Enhanced RTMP multitrack message.
    RR_FRAME_MULTI = 16,
}

/// One RTMP message.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rr_frame {
    /// Set by rr_config_init.
    pub size: u16,
    /// Set by rr_config_init: RR_CFG_FRAME.
    pub kind: u16,
    /// RR_MSG_*.
    pub r#type: u8,
    /// Track of an Enhanced RTMP multitrack message, else 0.
    pub track: u8,
    /// RR_FRAME_* bits.
    pub flags: u8,
    /// Zero.
    pub reserved0: u8,
    /// FourCC, first character in the highest byte: 'avc1', 'hvc1', 'av01', 'mp4a', 'Opus' and so on. Older codec ids
    /// are mapped to a FourCC. 0 = none or not known.
    pub codec: u32,
    /// Composition time offset of a video frame in ms.
    pub cts_ms: i32,
    /// Timestamp in ms. rr_frame_parse leaves 0 here.
    pub ts_ms: i64,
    /// The message body.
    pub data: *const u8,
    /// Bytes of `data`.
    pub len: usize,
}

/// Counters and measurements, one struct for every kind of object; fields that do not apply are 0. Rates are those of
/// the last two seconds, everything else counts from the object's start. Reading makes no system call: TCP's figures
/// (rtt_us to unacked_bytes) are at most a second old for a host that reads once a second.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct rr_stats {
    /// Bytes received, protocol included.
    pub bytes_in: u64,
    /// Bytes sent, protocol included.
    pub bytes_out: u64,
    /// Messages received.
    pub msgs_in: u64,
    /// Messages sent.
    pub msgs_out: u64,
    /// Bytes of audio messages that came.
    pub audio_bytes: u64,
    /// Bytes of video messages that came.
    pub video_bytes: u64,
    /// Bytes of data messages that came.
    pub data_bytes: u64,
    /// Messages that slow consumers did not get.
    pub dropped_msgs: u64,
    /// Bytes of those messages.
    pub dropped_bytes: u64,
    /// How often a consumer jumped forward.
    pub dropped_runs: u64,
    /// Player or target: bytes of the stream not sent yet. Publisher or source: 0. Stream or server: the memory in use.
    pub queue_bytes: u64,
    /// Player or target: messages of the stream not sent yet.
    pub queue_msgs: u64,
    /// Wall clock at the start, us since 1970.
    pub started_us: i64,
    /// Wall clock at the last media message, us since 1970. Computed from its age at each call: it may differ by some us
    /// from call to call, and follows a clock that is set.
    pub last_media_us: i64,
    /// The stream's timestamp of the last media message that came, ms. Player or target: of the last one sent; up to
    /// some 0.6 s old.
    pub last_ts_ms: i64,
    /// Timestamp of the last key frame, ms.
    pub last_key_ts_ms: i64,
    /// A consumer's lag: age of the oldest unsent byte, ms. Stream or server: the largest lag of its consumers.
    pub queue_ms: u32,
    /// The largest lag so far, ms.
    pub queue_ms_max: u32,
    /// kbit/s received.
    pub kbps_in: u32,
    /// kbit/s sent.
    pub kbps_out: u32,
    /// kbit/s of audio received.
    pub audio_kbps: u32,
    /// kbit/s of video received.
    pub video_kbps: u32,
    /// Video frames per 1000 s; with several video tracks, those of the lowest.
    pub fps_milli: u32,
    /// Time between the last two key frames, ms.
    pub key_interval_ms: u32,
    /// Round trip time, us: TCP's, or that of the last ping without TCP.
    pub rtt_us: u32,
    /// Variation of the round trip time, us.
    pub rtt_var_us: u32,
    /// TCP segments retransmitted.
    pub retransmits: u32,
    /// Bytes sent that the peer has not acknowledged.
    pub unacked_bytes: u32,
    /// Target or source: connections made.
    pub connects: u32,
    /// Target or source: connections that failed or were refused.
    pub failures: u32,
    /// Messages of unknown type or codec; they are passed on as well.
    pub unknown_msgs: u32,
    /// Timestamp jumps.
    pub clock_jumps: u32,
    /// Sessions now.
    pub sessions: u32,
    /// Targets now.
    pub targets: u32,
}

/// The facts of an object. The strings are never NULL, and valid until the next rr_info_get on the same thread.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rr_info {
    /// The object.
    pub id: rr_id,
    /// The stream that the object belongs to, 0 for none.
    pub stream: rr_id,
    /// RR_KIND_*.
    pub kind: u32,
    /// RR_STATE_*.
    pub state: u32,
    /// RR_OK, or the cause of the state.
    pub error: i32,
    /// RR_ROLE_*.
    pub role: u32,
    /// 1 for a connection over TLS.
    pub tls: u32,
    /// The peer's Enhanced RTMP capsEx bits.
    pub caps_ex: u32,
    /// How many of `codecs` are set.
    pub track_count: u32,
    /// RR_STATE_RECOVERING: ms to the next try.
    pub retry_in_ms: u32,
    /// FourCCs of the first tracks, as in rr_frame.
    pub codecs: [u32; 8],
    /// The host's pointer.
    pub user: *mut c_void,
    /// RTMP application, as the peer sent it. Target: the stream's.
    pub app: *const c_char,
    /// Stream key, as the peer sent it. Target: the stream's own, even if the push has another key.
    pub key: *const c_char,
    /// The peer's address.
    pub addr: *const c_char,
    /// Our address on that connection.
    pub local_addr: *const c_char,
    /// Target: the url in use, without login and key. Session: its tcUrl, of which 1024 bytes are kept before a `?`.
    pub url: *const c_char,
    /// The program that the peer claims to be (flashVer); the first 512 bytes.
    pub agent: *const c_char,
    /// Stream: the name of its video codec, "H.264", of the lowest track; "" while there is none. The string is static.
    pub video_codec: *const c_char,
    /// Stream: the name of its audio codec, "AAC". The string is static.
    pub audio_codec: *const c_char,
    /// Stream: width of its pictures in pixels, from the sequence header (AVC, HEVC, AV1) of the lowest video track; 0
    /// while the width is not known.
    pub width: u32,
    /// Stream: height of its pictures in pixels, from the same sequence header.
    pub height: u32,
    /// Stream: samples a second of its sound, from the sequence header (AAC, Opus) of the lowest audio track, or 0.
    pub sample_rate: u32,
    /// Stream: channels of its sound, or 0.
    pub channels: u32,
    /// Session: the text after a `?`, as in rr_event.
    pub query: *const c_char,
}

/// Takes log lines. `module` and `line` are valid during the call. Lines of the modules "server", "stream", "session"
/// and "target" repeat events: a host that shows both can leave these out. The server's event thread makes the calls,
/// one at a time, with no lock held, until rr_server_set_log has set another sink or rr_server_free has returned.
pub type rr_log_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, level: c_int, module: *const c_char, line: *const c_char)>;

impl rr_frame {
    /// A frame with only its size set.
    pub fn empty() -> Self {
        Self {
            size: size_of::<Self>() as u16,
            kind: <Self as super::Sized32>::KIND,
            r#type: 0,
            track: 0,
            flags: 0,
            reserved0: 0,
            codec: 0,
            cts_ms: 0,
            ts_ms: 0,
            data: std::ptr::null(),
            len: 0,
        }
    }
}
