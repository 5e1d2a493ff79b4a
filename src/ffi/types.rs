//! The numbers and plain structs of the C API: ids, states, errors, flags, what is given out. No behaviour.
//!
//! The doc comments here are the C programmer's manual: cbindgen copies them into `include/rrelay.h`. Structs hold no
//! hidden padding (asserted in `layout.rs`), because a field that later falls into it would not change the size.

use std::ffi::{c_char, c_int, c_void};

/// One object of a server: a kind, its server, a generation and a place (the low 32 bits, a small number) in one. 0 is
/// none. An id that has ended, or is another server's, is an error (RR_ERR_NOT_FOUND), never a crash, so ids may cross
/// threads, logs and JSON.
pub type rr_id = u64;
/// A stream: one publisher in, any number of players and targets out.
pub type rr_stream = rr_id;
/// A session: a connection that others opened to us.
pub type rr_session = rr_id;
/// A target: a connection that we open to push a stream on.
pub type rr_target = rr_id;

/// The states, one set for every kind of object.
#[repr(C)]
pub enum rr_state {
    /// No state: the object is unknown or its id has ended.
    RR_STATE_NONE = 0,
    /// Server: made, not listening, no session. Stream: no publisher yet. Session: it has ended its publish or play and
    /// is still connected. Target: the stream has no media yet.
    RR_STATE_IDLE = 1,
    /// Server: listening, no session.
    RR_STATE_ACCEPTING = 2,
    /// Target: resolving the name, connecting.
    RR_STATE_CONNECTING = 3,
    /// RTMP handshake and commands run.
    RR_STATE_HANDSHAKE = 4,
    /// Session: an ASK waits for its answer, or a standby publisher waits. Target: connected, waits for media.
    RR_STATE_WAITING = 5,
    /// Media flows. Server: it has at least one session.
    RR_STATE_IN_PROGRESS = 6,
    /// Stream: the publisher is lost, its grace time runs. Target: lost; rr_event's value = ms to the next try.
    RR_STATE_RECOVERING = 7,
    /// Draining, flushing, closing.
    RR_STATE_STOPPING = 8,
    /// Done; the id has ended.
    RR_STATE_STOPPED = 9,
    /// Server: the listener is lost. Stream: internal error. Session: protocol, limit. Target: gave up, or fatally
    /// refused.
    RR_STATE_FAILED = 10,
}

/// Results. A call gives 0 or more when it went well, and one of these, below 0, when not. rr_strerror gives the
/// sentence, rr_last_error the detail. Numbers are never reused.
#[repr(C)]
pub enum rr_error {
    /// It went well.
    RR_OK = 0,
    /// An argument is NULL, out of range or malformed.
    RR_ERR_ARG = -1,
    /// A struct is newer than this library and uses what it does not know.
    RR_ERR_VERSION = -2,
    /// Not possible in the object's present state.
    RR_ERR_STATE = -3,
    /// No such stream, session, target or server, or its id has ended.
    RR_ERR_NOT_FOUND = -4,
    /// It exists already.
    RR_ERR_EXISTS = -5,
    /// Nothing to do now; try again later. Not a failure.
    RR_ERR_AGAIN = -6,
    /// The system gave no memory.
    RR_ERR_NOMEM = -7,
    /// A limit was reached: a setting (max_sessions, mem_limit), or the process's own threads and descriptors.
    RR_ERR_LIMIT = -8,
    /// Called from a thread that must not call it: a callback, or a second taker of events.
    RR_ERR_THREAD = -9,
    /// This build does not have that feature; rr_last_error names it.
    RR_ERR_UNSUPPORTED = -10,
    /// A bug in this library: a panic was caught at the border. The object concerned may be FAILED, nothing else is.
    RR_ERR_PANIC = -11,
    /// The object or the connection is closed.
    RR_ERR_CLOSED = -12,
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
    /// The peer (or the host) refused it.
    RR_ERR_REJECTED = -33,
    /// Another publisher took over.
    RR_ERR_TAKEN_OVER = -34,
    /// The peer was too slow for too long.
    RR_ERR_SLOW = -35,
    /// The peer was silent for too long.
    RR_ERR_IDLE = -36,
    /// Closed by the host.
    RR_ERR_KICKED = -37,
    /// Tried as often as was configured.
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

/// What a session or target is to its stream.
#[repr(C)]
pub enum rr_role {
    /// Not known yet.
    RR_ROLE_NONE = 0,
    /// It sends the stream to us.
    RR_ROLE_PUBLISHER = 1,
    /// It would send the stream to us if the publisher were lost.
    RR_ROLE_STANDBY = 2,
    /// It takes the stream from us.
    RR_ROLE_PLAYER = 3,
    /// We push the stream to it.
    RR_ROLE_TARGET = 4,
    /// We pull the stream from it (rr_stream_add_source).
    RR_ROLE_SOURCE = 5,
}

/// What rr_name names.
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
    /// Control by HTTP: rr_rest_listen and its like.
    RR_FEATURE_REST = 8,
}

/// Bits for rr_rest_listen.
#[repr(C)]
pub enum rr_rest_flag {
    /// /metrics and /stat need no token: for readers that cannot send one.
    RR_REST_OPEN_READERS = 1,
}

/// Levels of log lines; each includes those before it.
#[repr(C)]
pub enum rr_log_level {
    /// Nothing.
    RR_LOG_OFF = 0,
    /// What failed and needs somebody.
    RR_LOG_ERROR = 1,
    /// What is wrong and was coped with.
    RR_LOG_WARN = 2,
    /// What begins and ends.
    RR_LOG_INFO = 3,
    /// What peers said, in commands, and what was decided; every move of a state. No key is whole.
    RR_LOG_DEBUG = 4,
    /// Every message that is published.
    RR_LOG_TRACE = 5,
}

/// Bits: what the host is asked.
#[repr(C)]
pub enum rr_ask {
    /// At connect, before the peer has said what it wants.
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
    /// All of them.
    RR_MEDIA_ALL = 7,
}

/// What a stream does with a second publisher.
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
    /// As the stream is set up; for a stream: RR_START_GOP.
    RR_START_DEFAULT = 0,
    /// At the next key frame.
    RR_START_KEY = 1,
    /// At the cached group's key frame: a picture at once.
    RR_START_GOP = 2,
    /// At the newest message, whatever it is.
    RR_START_NOW = 3,
}

/// Types of RTMP messages that carry media: rr_frame's type, the first argument of rr_frame_parse.
#[repr(C)]
pub enum rr_message_type {
    /// Audio.
    RR_MSG_AUDIO = 8,
    /// Video.
    RR_MSG_VIDEO = 9,
    /// Data, AMF3: an AMF0 body behind one byte.
    RR_MSG_DATA_AMF3 = 15,
    /// Data, AMF0: metadata, cue points.
    RR_MSG_DATA = 18,
}

/// What is done with the publisher's timestamps.
#[repr(C)]
pub enum rr_clock {
    /// They are passed on.
    RR_CLOCK_PASS = 0,
    /// They begin at 0.
    RR_CLOCK_ZERO = 1,
    /// Jumps are taken out.
    RR_CLOCK_REPAIR = 2,
}

/// What becomes of `?args` behind the stream keys of those who publish and play: tokens, as a rule.
#[repr(C)]
pub enum rr_args {
    /// They are not part of the key, whoever plays or publishes with or without them means the same stream. The host has
    /// them as `query`, in rr_event and rr_info; targets get them with RR_TARGET_ARGS alone.
    RR_ARGS_APART = 0,
    /// They are part of the key: shown, matched, and pushed on with it.
    RR_ARGS_KEY = 1,
    /// They are not part of the key, and not kept.
    RR_ARGS_DROP = 2,
}

/// How players get metadata that does not end as AMF0 has it (an object without its end mark, a value behind the one there
/// is to be): common readers refuse the whole stream for it. Targets always get it as it came.
#[repr(C)]
pub enum rr_metadata {
    /// The ends that are missing are put behind, and what follows is left out.
    RR_METADATA_MENDED = 0,
    /// As the publisher sends it.
    RR_METADATA_VERBATIM = 1,
}

/// What is done with a target that cannot keep up.
#[repr(C)]
pub enum rr_slow_policy {
    /// It jumps to a key frame.
    RR_SLOW_RESYNC = 0,
    /// It is closed and connected again.
    RR_SLOW_RECONNECT = 1,
    /// It ends.
    RR_SLOW_STOP = 2,
}

/// Bits for the listening calls.
#[repr(C)]
pub enum rr_listen_flag {
    /// rtmps. rr_server_set_tls comes first.
    RR_LISTEN_TLS = 1,
    /// A PROXY protocol header, version 1 or 2, comes first and says whose the connection is; one without is closed.
    RR_LISTEN_PROXY = 2,
    /// Several processes share the port (SO_REUSEPORT).
    RR_LISTEN_REUSEPORT = 4,
}

/// Bits of rr_target_config's flags.
#[repr(C)]
pub enum rr_target_flag {
    /// No certificate check: whoever sits between reads and changes everything.
    RR_TARGET_INSECURE = 1,
    /// Retry what is fatal by default (a refused key, for one).
    RR_TARGET_RETRY_FATAL = 2,
    /// For rr_stream_add_source: it is connected while somebody plays, and for unwatched_ms after.
    RR_TARGET_ON_DEMAND = 4,
    /// For rr_stream_add_target: what the publisher put behind a `?` goes with the key, at each connection (rr_event's query).
    RR_TARGET_ARGS = 8,
}

/// Facts about a frame, bits of rr_frame's flags.
#[repr(C)]
pub enum rr_frame_flag {
    /// A key frame: a decoder can begin here.
    RR_FRAME_KEY = 1,
    /// A sequence header: codec configuration, no picture or sound.
    RR_FRAME_SEQ = 2,
    /// The end of a sequence. In rr_stream_write: the publisher has ended, `data` may be NULL.
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
    /// FourCC, first character in the highest byte: 'avc1', 'hvc1', 'av01', 'mp4a', 'Opus' ... Older codec ids are
    /// mapped to one. 0 = none or not known.
    pub codec: u32,
    /// Composition time offset of a video frame in ms.
    pub cts_ms: i32,
    /// Timestamp in ms. rr_frame_parse leaves it 0.
    pub ts_ms: i64,
    /// The message body.
    pub data: *const u8,
    /// Its length in bytes.
    pub len: usize,
}

/// Counters and measurements, the same struct for every kind of object; what does not apply is 0. Rates are those of
/// the last two seconds, everything else counts from the object's start. Reading asks the system nothing: what it says of
/// a connection (rtt_us to unacked_bytes) is a second old at most for whoever reads once a second.
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
    /// Their bytes.
    pub dropped_bytes: u64,
    /// How often a consumer jumped forward.
    pub dropped_runs: u64,
    /// Player or target: bytes of the stream that it has yet to be sent. Publisher or source: 0, what it sends waits
    /// nowhere. Stream or server: the memory in use.
    pub queue_bytes: u64,
    /// Player or target: messages that it has yet to be sent.
    pub queue_msgs: u64,
    /// Wall clock at the start, us since 1970.
    pub started_us: i64,
    /// Wall clock at the last media message, us since 1970.
    pub last_media_us: i64,
    /// Timestamp of the last media message that came, ms. Player or target: of the last one sent, as the stream has it; a
    /// quarter of a second old at most.
    pub last_ts_ms: i64,
    /// Timestamp of the last key frame, ms.
    pub last_key_ts_ms: i64,
    /// A consumer's lag: age of the oldest unsent byte, ms; of a stream or server that of whoever is furthest behind.
    pub queue_ms: u32,
    /// The largest lag so far, ms.
    pub queue_ms_max: u32,
    /// kbit/s received.
    pub kbps_in: u32,
    /// kbit/s sent.
    pub kbps_out: u32,
    /// kbit/s of audio that comes.
    pub audio_kbps: u32,
    /// kbit/s of video that comes.
    pub video_kbps: u32,
    /// Video frames per 1000 s; of many video tracks those of the lowest.
    pub fps_milli: u32,
    /// Time between the last two key frames, ms.
    pub key_interval_ms: u32,
    /// Round trip time, us: TCP's, or of the last ping where there is none.
    pub rtt_us: u32,
    /// Its variation, us.
    pub rtt_var_us: u32,
    /// TCP segments sent again.
    pub retransmits: u32,
    /// Bytes sent that the peer has not acknowledged.
    pub unacked_bytes: u32,
    /// Of a target or source: connections made.
    pub connects: u32,
    /// Of a target or source: connections that failed or were refused.
    pub failures: u32,
    /// Messages of unknown type or codec; they are passed on all the same.
    pub unknown_msgs: u32,
    /// Timestamp jumps.
    pub clock_jumps: u32,
    /// Sessions now.
    pub sessions: u32,
    /// Targets now.
    pub targets: u32,
}

/// What an object is. The strings are never NULL; they are valid until the next rr_info_get on the same thread.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rr_info {
    /// The object.
    pub id: rr_id,
    /// The stream it belongs to, 0 for none.
    pub stream: rr_id,
    /// RR_KIND_*.
    pub kind: u32,
    /// RR_STATE_*.
    pub state: u32,
    /// RR_OK, or why it is in this state.
    pub error: i32,
    /// RR_ROLE_*.
    pub role: u32,
    /// 1 over TLS.
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
    /// Stream key, as the peer sent it. Target: the stream's, also where it goes under another one.
    pub key: *const c_char,
    /// The peer's address.
    pub addr: *const c_char,
    /// Our address on that connection.
    pub local_addr: *const c_char,
    /// Target: where it goes, without login and key. Session: its tcUrl.
    pub url: *const c_char,
    /// What the peer calls itself (flashVer).
    pub agent: *const c_char,
    /// Stream: the name of its video codec, "H.264", of many tracks that of the lowest; "" while there is none. Static.
    pub video_codec: *const c_char,
    /// Stream: the name of its audio codec, "AAC". Static.
    pub audio_codec: *const c_char,
    /// Stream: width of its pictures in pixels, as the sequence header (AVC, HEVC, AV1) of the lowest video track says; 0
    /// while that is not known.
    pub width: u32,
    /// Stream: their height in pixels, likewise.
    pub height: u32,
    /// Stream: samples a second of its sound, as the sequence header (AAC, Opus) of the lowest audio track says, or 0.
    pub sample_rate: u32,
    /// Stream: channels of its sound, or 0.
    pub channels: u32,
    /// Session: as in rr_event.
    pub query: *const c_char,
}

/// Takes log lines. `module` and `line` are valid during the call. What the modules "server", "stream", "session" and
/// "target" say, events say too: a host that shows both can leave these out. It is called on the server's event thread,
/// one call at a time, with no lock held, until rr_server_set_log has set another or rr_server_free has returned.
pub type rr_log_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, level: c_int, module: *const c_char, line: *const c_char)>;

impl rr_frame {
    /// A frame with its size and nothing else.
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
