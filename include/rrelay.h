/*
 * rrelay.h - an RTMP relay inside your program: publishers in, players and push targets out.
 *
 * Made from the definitions in src/ffi by `make header`; do not edit.
 *
 * How it is used:
 *
 *     rr_server *relay;
 *     const rr_event *ev;
 *     rr_stream show;
 *     rr_target_config push;
 *     rr_target target;
 *     if (rr_server_new(NULL, &relay) < 0 || rr_server_listen(relay, ":1935", 0) < 0) die(rr_last_error());
 *     rr_stream_create(relay, "live", "show", NULL, &show);
 *     RR_INIT(RR_CFG_TARGET, &push);
 *     push.url = "rtmp://elsewhere.example/app/key";
 *     rr_stream_add_target(relay, show, &push, &target);
 *     while (rr_event_next(relay, &ev, -1) == 1) printf("%s %s\n", rr_name(RR_NAME_EVENT, ev->type), ev->text);
 *     rr_server_free(relay);
 *
 * A peer that publishes rtmp://host/live/show makes the stream live/show (the lines above make it before that, to push
 * it on); peers that play that address get it. A peer's connection publishes one stream at a time or plays one or more,
 * and may rest between them for as long as it answers pings. Everything that happens comes as events, in order.
 *
 * Pointers and ids. rr_server is the only pointer a host keeps. Streams, sessions and targets are numbers: a late
 * call on one that has ended gives RR_ERR_NOT_FOUND, never a crash.
 *
 * Results. Calls return an int: 0 or more means success, below 0 is an RR_ERR_*. rr_strerror gives a sentence for it;
 * rr_last_error gives the detail of this thread's last failed call: which argument, which limit, which error of the
 * system. The comment of each function lists its errors. Any function may also give RR_ERR_ARG for NULL where a
 * pointer is needed, RR_ERR_PANIC for a bug inside the library, and RR_ERR_NOMEM if the system has no memory.
 *
 * Threads. Any thread may call any function at any time, inside callbacks too, and no call waits for peers, disks or
 * other threads' work, unless "Threads:" or "Waits:" in the function's comment says otherwise, or another process is
 * taking over (rr_server_handover). Callbacks come on the server's event thread, one at a time, and no lock is held
 * meanwhile: a slow callback delays events and log lines, never media.
 *
 * Ownership. Arguments stay the caller's: strings, structs and bodies are copied before the call returns. The library
 * keeps only file descriptors, which it owns at once, also when the call fails; callbacks; and user pointers, which it
 * hands back and never follows. Results behind a pointer belong to the library and are read-only; "Valid:" in the
 * function's comment says for how long. A struct that a call fills is the caller's. The caller frees the server
 * (rr_server_free) and the answers of rr_rest_handle (rr_free).
 *
 * Config structs. Fill them with RR_INIT, which writes size and defaults, and change what you need. In a number, 0
 * means the default and RR_OFF means off; in a pointer, NULL means the default. Fields are only ever added at the
 * end: a program compiled with an older header works with a newer library, and with an older library as long as it
 * uses no new field (otherwise RR_ERR_VERSION). A value out of range gives RR_ERR_ARG, with the field's name in
 * rr_last_error.
 *
 * The process. The library installs no signal handlers, causes no SIGPIPE and prints nothing unless asked; every
 * descriptor is close-on-exec. Fork before rr_server_new, not after. A loaded library stays loaded (-z nodelete).
 */

#ifndef RRELAY_H
#define RRELAY_H

#include <stddef.h>
#include <stdint.h>

/* The version of this header, 0xMMmmpp; rr_version() is that of the library. */
#define RR_VERSION 0x000100

#ifndef RR_API
#define RR_API /* visibility goes here */
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- plain data ------------------------------------------------------------------------------------------------- */

/* The id of one object of a server: its kind, its server, a generation and its slot (the low 32 bits, a small
   number). 0 means no object. An id that has ended, or belongs to another server, gives an error (RR_ERR_NOT_FOUND),
   never a crash, so ids may cross threads, logs and JSON. */
typedef uint64_t rr_id;

/* A stream: one publisher in, any number of players and targets out. */
typedef rr_id rr_stream;

/* A session: a connection that a peer opened to us. */
typedef rr_id rr_session;

/* A target: a connection that we open to push a stream on. */
typedef rr_id rr_target;

/* The states, one set for every kind of object. */
typedef enum rr_state {
    RR_STATE_NONE = 0,                 /* No state: the object is unknown or its id has ended. */
    /* Server: made, not listening, no session. Stream: no publisher yet. Session: its publish or play has ended, and
       it is still connected. Target: the stream has no media yet. */
    RR_STATE_IDLE = 1,
    RR_STATE_ACCEPTING = 2,            /* Server: listening, no session. */
    RR_STATE_CONNECTING = 3,           /* Target: resolving the name, connecting. */
    RR_STATE_HANDSHAKE = 4,            /* The RTMP handshake and commands are in progress. */
    /* Session: a question to the host waits for its answer, or a standby publisher waits. Target: connected, waits
       for media. */
    RR_STATE_WAITING = 5,
    RR_STATE_IN_PROGRESS = 6,          /* Media flows. Server: it has at least one session. */
    /* Stream: the publisher is lost, and its grace window is running. Target: the connection is lost; rr_event's
       value = ms to the next try. */
    RR_STATE_RECOVERING = 7,
    RR_STATE_STOPPING = 8,             /* Draining, flushing, closing. */
    RR_STATE_STOPPED = 9,              /* The object and its id have ended. */
    /* Server: the listener is lost. Stream: internal error. Session: a protocol error or a limit. Target: it has
       given up, or was refused for good. */
    RR_STATE_FAILED = 10,
} rr_state;

/* Results. A call that succeeds returns 0 or more; one that fails returns one of these numbers below 0. rr_strerror
   gives a sentence, rr_last_error the detail. Numbers are never reused. */
typedef enum rr_error {
    RR_OK = 0,                         /* Success. */
    RR_ERR_ARG = -1,                   /* An argument is NULL, out of range or malformed. */
    /* A struct, or the state of a session, is newer than this library and uses fields that the library does not
       know. */
    RR_ERR_VERSION = -2,
    RR_ERR_STATE = -3,                 /* The call is not possible in the object's present state. */
    RR_ERR_NOT_FOUND = -4,             /* There is no such stream, session, target or server, or its id has ended. */
    RR_ERR_EXISTS = -5,                /* The object exists already. */
    RR_ERR_AGAIN = -6,                 /* There is nothing to do now; try again later. This is not a failure. */
    RR_ERR_NOMEM = -7,                 /* The system gave no memory. */
    /* A limit was reached: a setting (max_sessions, mem_limit), or the process's own threads and descriptors. */
    RR_ERR_LIMIT = -8,
    /* The call is not allowed in this thread: inside a callback, or by a second taker of events. */
    RR_ERR_THREAD = -9,
    RR_ERR_UNSUPPORTED = -10,          /* This build does not have that feature; rr_last_error names it. */
    /* A bug in this library: a panic, caught before it reached the host. The object concerned may be FAILED; others
       are not affected. */
    RR_ERR_PANIC = -11,
    RR_ERR_CLOSED = -12,               /* The object or the connection is closed. */
    RR_ERR_WORKER = -13,               /* The process in which the stream ran has ended. */
    RR_ERR_TIMEOUT = -20,              /* A deadline passed. */
    RR_ERR_IO = -21,                   /* A socket failed. */
    RR_ERR_RESOLVE = -22,              /* A name could not be resolved. */
    RR_ERR_CONNECT = -23,              /* No connection could be made. */
    RR_ERR_TLS = -24,                  /* TLS failed. */
    RR_ERR_CERT = -25,                 /* The certificate was not accepted. */
    RR_ERR_HANDSHAKE = -30,            /* The RTMP handshake failed. */
    RR_ERR_PROTOCOL = -31,             /* The peer broke the protocol. */
    RR_ERR_AUTH = -32,                 /* Authentication was refused. */
    RR_ERR_REJECTED = -33,             /* The peer (or the host) refused the request. */
    RR_ERR_TAKEN_OVER = -34,           /* Another publisher took over. */
    RR_ERR_SLOW = -35,                 /* The peer was too slow for too long. */
    RR_ERR_IDLE = -36,                 /* The peer was silent for too long. */
    RR_ERR_KICKED = -37,               /* The host closed it. */
    RR_ERR_GIVE_UP = -38,              /* Every configured try has failed. */
} rr_error;

/* Kinds of objects. */
typedef enum rr_kind {
    RR_KIND_SERVER = 1,                /* The server itself; its id is 0 in calls. */
    RR_KIND_STREAM = 2,                /* A stream. */
    RR_KIND_SESSION = 3,               /* A session. */
    RR_KIND_TARGET = 4,                /* A target. */
} rr_kind;

/* Roles of sessions and targets in their streams. */
typedef enum rr_role {
    RR_ROLE_NONE = 0,                  /* The role is not known yet. */
    RR_ROLE_PUBLISHER = 1,             /* The session sends the stream to us. */
    RR_ROLE_STANDBY = 2,               /* The session replaces the publisher if that is lost. */
    RR_ROLE_PLAYER = 3,                /* The session gets the stream from us. */
    RR_ROLE_TARGET = 4,                /* We push the stream to the target. */
    RR_ROLE_SOURCE = 5,                /* We pull the stream from the source (rr_stream_add_source). */
} rr_role;

/* Kinds of numbers that rr_name names. */
typedef enum rr_name_kind {
    RR_NAME_STATE = 1,                 /* An rr_state. */
    RR_NAME_EVENT = 2,                 /* An rr_event_type. */
    RR_NAME_ROLE = 3,                  /* An rr_role: "publisher", "player". */
    RR_NAME_KIND = 4,                  /* An rr_kind: "stream", "session". */
    RR_NAME_CODEC = 5,                 /* A FourCC, as in rr_frame and rr_info: "H.264", "AAC". */
} rr_name_kind;

/* Bits of rr_features. */
typedef enum rr_feature {
    RR_FEATURE_EVENT_FD = 1,           /* rr_event_fd gives a descriptor. */
    RR_FEATURE_TLS = 2,                /* rtmps. */
    RR_FEATURE_REST = 8,               /* Control by HTTP: the rr_rest_* functions work. */
} rr_feature;

/* Bits for rr_rest_listen. */
typedef enum rr_rest_flag {
    /* /metrics, /stat and /noalbs need no token, for clients that cannot send one. */
    RR_REST_OPEN_READERS = 1,
    /* /metrics also labels streams and targets with application and key. Metrics are stored for long, and keys are
       secrets. */
    RR_REST_KEY_LABELS = 2,
} rr_rest_flag;

/* The protocols of hooks' back ends. */
typedef enum rr_hooks_dialect {
    /* JSON. Each request is a POST with an object: "hook", "time_ms", "session", "client", "addr", "app", "key",
       "query" and more; docs/hooks.md lists all. The answer to a question is 200 with one of these objects:
       {"action": "allow"}, which may also have "rename" (another key; at connect another application), "targets" and
       "sources" (lists of settings as in rr_target_config), "media" and "start"; {"action": "deny", "text": "for the
       encoder", "code": "NetStream.Publish.Denied"}; {"action": "redirect", "url": "rtmp://..."}. 204 or no body
       allows, 4xx denies. */
    RR_HOOKS_JSON = 0,
    /* nginx-rtmp's notify module: form fields in its order, and an answer whose first status digit decides; 3xx with
       Location gives another name, or another server that the stream is pushed to (publish) or pulled from (play). */
    RR_HOOKS_NGINX = 1,
} rr_hooks_dialect;

/* Bits of rr_hooks_config. */
typedef enum rr_hooks_flag {
    /* A session is allowed if its back end gives no valid answer in time. Without this flag it is refused. */
    RR_HOOKS_FLAG_FAIL_OPEN = 1,
    /* With RR_HOOKS_NGINX: by GET, with the fields in the address; without it by POST (notify_method). */
    RR_HOOKS_FLAG_GET = 2,
    /* With RR_HOOKS_NGINX: an update that is answered by 3xx ends the session too (notify_update_strict). */
    RR_HOOKS_FLAG_STRICT_UPDATE = 4,
    /* With RR_HOOKS_NGINX: a stream that is redirected to another server is named by the MD5 of the address
       (notify_relay_redirect). */
    RR_HOOKS_FLAG_RELAY_REDIRECT = 8,
} rr_hooks_flag;

/* Levels of log lines; each level includes those before it. */
typedef enum rr_log_level {
    RR_LOG_OFF = 0,                    /* No lines. */
    RR_LOG_ERROR = 1,                  /* Failures that need attention. */
    RR_LOG_WARN = 2,                   /* Problems that the library handles. */
    RR_LOG_INFO = 3,                   /* Begin and end of streams, sessions and targets. */
    /* Peers' commands and the decisions on them; every change of a state. Keys are masked. */
    RR_LOG_DEBUG = 4,
    RR_LOG_TRACE = 5,                  /* Every published message. */
} rr_log_level;

/* Bits: questions to the host. */
typedef enum rr_ask {
    RR_ASK_CONNECT = 1,                /* At connect, before the peer asks to publish or play. */
    RR_ASK_PUBLISH = 2,                /* At publish. */
    RR_ASK_PLAY = 4,                   /* At play. */
} rr_ask;

/* Bits: kinds of media. */
typedef enum rr_media {
    RR_MEDIA_AUDIO = 1,                /* Audio messages. */
    RR_MEDIA_VIDEO = 2,                /* Video messages. */
    RR_MEDIA_DATA = 4,                 /* Data messages: metadata, cue points, captions. */
    RR_MEDIA_ALL = 7,                  /* Messages of all kinds. */
} rr_media;

/* Where a server's streams run. */
typedef enum rr_isolate {
    RR_ISOLATE_THREADS = 0,            /* All in the host's process. */
    /* Each in a process of its own, a worker (rr_worker_main): one that crashes ends its own stream alone, and the
       system shares its processors and memory by stream. docs/isolate.md says what is different. */
    RR_ISOLATE_PROCESS = 1,
} rr_isolate;

/* A stream's treatment of a second publisher. */
typedef enum rr_publisher_policy {
    /* The second one is refused with NetStream.Publish.BadName, unless the first has fallen silent (silent_ms). */
    RR_PUBLISHER_REJECT = 0,
    RR_PUBLISHER_TAKEOVER = 1,         /* The second one replaces the first. */
    RR_PUBLISHER_STANDBY = 2,          /* The second one waits until the first is gone. */
} rr_publisher_policy;

/* Where a consumer begins. */
typedef enum rr_start {
    RR_START_DEFAULT = 0,              /* Where the stream's settings say; in a stream's settings: RR_START_GOP. */
    RR_START_KEY = 1,                  /* At the next key frame. */
    RR_START_GOP = 2,                  /* At the cached group's key frame, for a picture at once. */
    RR_START_NOW = 3,                  /* At the newest message, without waiting for a key frame. */
} rr_start;

/* Types of RTMP messages that carry media: rr_frame's type, the first argument of rr_frame_parse. */
typedef enum rr_message_type {
    RR_MSG_AUDIO = 8,                  /* Audio. */
    RR_MSG_VIDEO = 9,                  /* Video. */
    RR_MSG_DATA_AMF3 = 15,             /* Data, AMF3: an AMF0 body after one byte. */
    RR_MSG_DATA = 18,                  /* Data, AMF0: metadata, cue points. */
} rr_message_type;

/* The treatment of the publisher's timestamps. */
typedef enum rr_clock {
    RR_CLOCK_PASS = 0,                 /* Timestamps are passed on. */
    RR_CLOCK_ZERO = 1,                 /* Timestamps begin at 0. */
    RR_CLOCK_REPAIR = 2,               /* Jumps are removed. */
} rr_clock;

/* The treatment of ?args after the stream keys of publishers and players; they are usually tokens. */
typedef enum rr_args {
    /* The arguments are not part of the key: a key with and without them names the same stream. The host gets them
       as query, in rr_event and rr_info; targets get them only with RR_TARGET_ARGS. */
    RR_ARGS_APART = 0,
    RR_ARGS_KEY = 1,                   /* The arguments are part of the key: shown, matched, and pushed on with it. */
    RR_ARGS_DROP = 2,                  /* The arguments are not part of the key, and are not kept. */
} rr_args;

/* How players get metadata that does not end as AMF0 prescribes (an object lacks its end mark, or bytes follow the
   value). Common players refuse the whole stream because of it. Targets always get metadata as it came. */
typedef enum rr_metadata {
    RR_METADATA_MENDED = 0,            /* With the missing end marks added, and the bytes after the value left out. */
    RR_METADATA_VERBATIM = 1,          /* As the publisher sends it, byte for byte. */
} rr_metadata;

/* The treatment of a target that cannot keep up. */
typedef enum rr_slow_policy {
    RR_SLOW_RESYNC = 0,                /* The target jumps to a key frame. */
    RR_SLOW_RECONNECT = 1,             /* The target is closed and connected again. */
    RR_SLOW_STOP = 2,                  /* The target ends. */
} rr_slow_policy;

/* Bits for the listening calls. */
typedef enum rr_listen_flag {
    RR_LISTEN_TLS = 1,                 /* rtmps; needs an earlier rr_server_set_tls. */
    /* Each connection begins with a PROXY protocol header, version 1 or 2, which names the peer's address;
       connections without one are closed. */
    RR_LISTEN_PROXY = 2,
    RR_LISTEN_REUSEPORT = 4,           /* Several processes share the port (SO_REUSEPORT). */
    /* The port is for players over HTTP, or https with RR_LISTEN_TLS, and not for RTMP: GET /app/key.flv, and the
       same path as a WebSocket, give the stream as FLV. With ?for=browser it has the form that players in browsers
       accept. These players are sessions like others, and the host is asked about them; a stream that does not exist
       is 404, a denied one 403. */
    RR_LISTEN_HTTP = 8,
} rr_listen_flag;

/* Bits of rr_target_config's flags. */
typedef enum rr_target_flag {
    /* No certificate check: an attacker in between can read and change everything. */
    RR_TARGET_INSECURE = 1,
    /* Retry also after errors that are fatal by default (a refused key, for example). */
    RR_TARGET_RETRY_FATAL = 2,
    /* For rr_stream_add_source: connect while there are players, and for unwatched_ms after. */
    RR_TARGET_ON_DEMAND = 4,
    /* For rr_stream_add_target: send the publisher's ?args (rr_event's query) with the key, at each connection. */
    RR_TARGET_ARGS = 8,
} rr_target_flag;

/* Facts about a frame, bits of rr_frame's flags. */
typedef enum rr_frame_flag {
    RR_FRAME_KEY = 1,                  /* A key frame: a decoder can begin here. */
    RR_FRAME_SEQ = 2,                  /* A sequence header: codec configuration without picture or sound. */
    /* The end of a sequence. In rr_stream_write: the host's publish ends, and data may be NULL. */
    RR_FRAME_END = 4,
    RR_FRAME_META = 8,                 /* Stream metadata (onMetaData). */
    RR_FRAME_MULTI = 16,               /* An Enhanced RTMP multitrack message. */
} rr_frame_flag;

/* One RTMP message. */
typedef struct rr_frame {
    uint16_t size;                     /* Set by rr_config_init. */
    uint16_t kind;                     /* Set by rr_config_init: RR_CFG_FRAME. */
    uint8_t type;                      /* RR_MSG_*. */
    uint8_t track;                     /* Track of an Enhanced RTMP multitrack message, else 0. */
    uint8_t flags;                     /* RR_FRAME_* bits. */
    uint8_t reserved0;                 /* Zero. */
    /* FourCC, first character in the highest byte: 'avc1', 'hvc1', 'av01', 'mp4a', 'Opus' and so on. Older codec ids
       are mapped to a FourCC. 0 = none or not known. */
    uint32_t codec;
    int32_t cts_ms;                    /* Composition time offset of a video frame in ms. */
    int64_t ts_ms;                     /* Timestamp in ms. rr_frame_parse leaves 0 here. */
    const uint8_t *data;               /* The message body. */
    size_t len;                        /* Bytes of data. */
} rr_frame;

/* Counters and measurements, one struct for every kind of object; fields that do not apply are 0. Rates are those of
   the last two seconds, everything else counts from the object's start. Reading makes no system call: TCP's figures
   (rtt_us to unacked_bytes) are at most a second old for a host that reads once a second. */
typedef struct rr_stats {
    uint64_t bytes_in;                 /* Bytes received, protocol included. */
    uint64_t bytes_out;                /* Bytes sent, protocol included. */
    uint64_t msgs_in;                  /* Messages received. */
    uint64_t msgs_out;                 /* Messages sent. */
    uint64_t audio_bytes;              /* Bytes of audio messages that came. */
    uint64_t video_bytes;              /* Bytes of video messages that came. */
    uint64_t data_bytes;               /* Bytes of data messages that came. */
    uint64_t dropped_msgs;             /* Messages that slow consumers did not get. */
    uint64_t dropped_bytes;            /* Bytes of those messages. */
    uint64_t dropped_runs;             /* How often a consumer jumped forward. */
    /* Player or target: bytes of the stream not sent yet. Publisher or source: 0. Stream or server: the memory in
       use. */
    uint64_t queue_bytes;
    uint64_t queue_msgs;               /* Player or target: messages of the stream not sent yet. */
    int64_t started_us;                /* Wall clock at the start, us since 1970. */
    /* Wall clock at the last media message, us since 1970. Computed from its age at each call: it may differ by some
       us from call to call, and follows a clock that is set. */
    int64_t last_media_us;
    /* The stream's timestamp of the last media message that came, ms. Player or target: of the last one sent; up to
       some 0.6 s old. */
    int64_t last_ts_ms;
    int64_t last_key_ts_ms;            /* Timestamp of the last key frame, ms. */
    /* A consumer's lag: age of the oldest unsent byte, ms. Stream or server: the largest lag of its consumers. */
    uint32_t queue_ms;
    uint32_t queue_ms_max;             /* The largest lag so far, ms. */
    uint32_t kbps_in;                  /* kbit/s received. */
    uint32_t kbps_out;                 /* kbit/s sent. */
    uint32_t audio_kbps;               /* kbit/s of audio received. */
    uint32_t video_kbps;               /* kbit/s of video received. */
    uint32_t fps_milli;                /* Video frames per 1000 s; with several video tracks, those of the lowest. */
    uint32_t key_interval_ms;          /* Time between the last two key frames, ms. */
    uint32_t rtt_us;                   /* Round trip time, us: TCP's, or that of the last ping without TCP. */
    uint32_t rtt_var_us;               /* Variation of the round trip time, us. */
    uint32_t retransmits;              /* TCP segments retransmitted. */
    uint32_t unacked_bytes;            /* Bytes sent that the peer has not acknowledged. */
    uint32_t connects;                 /* Target or source: connections made. */
    uint32_t failures;                 /* Target or source: connections that failed or were refused. */
    uint32_t unknown_msgs;             /* Messages of unknown type or codec; they are passed on as well. */
    uint32_t clock_jumps;              /* Timestamp jumps. */
    uint32_t sessions;                 /* Sessions now. */
    uint32_t targets;                  /* Targets now. */
} rr_stats;

/* The facts of an object. The strings are never NULL, and valid until the next rr_info_get on the same thread. */
typedef struct rr_info {
    rr_id id;                          /* The object. */
    rr_id stream;                      /* The stream that the object belongs to, 0 for none. */
    uint32_t kind;                     /* RR_KIND_*. */
    uint32_t state;                    /* RR_STATE_*. */
    int32_t error;                     /* RR_OK, or the cause of the state. */
    uint32_t role;                     /* RR_ROLE_*. */
    uint32_t tls;                      /* 1 for a connection over TLS. */
    uint32_t caps_ex;                  /* The peer's Enhanced RTMP capsEx bits. */
    uint32_t track_count;              /* How many of codecs are set. */
    uint32_t retry_in_ms;              /* RR_STATE_RECOVERING: ms to the next try. */
    uint32_t codecs[8];                /* FourCCs of the first tracks, as in rr_frame. */
    void *user;                        /* The host's pointer. */
    const char *app;                   /* RTMP application, as the peer sent it. Target: the stream's. */
    /* Stream key, as the peer sent it. Target: the stream's own, even if the push has another key. */
    const char *key;
    const char *addr;                  /* The peer's address. */
    const char *local_addr;            /* Our address on that connection. */
    /* Target: the url in use, without login and key. Session: its tcUrl, of which 1024 bytes are kept before a ?. */
    const char *url;
    const char *agent;                 /* The program that the peer claims to be (flashVer); the first 512 bytes. */
    /* Stream: the name of its video codec, "H.264", of the lowest track; "" while there is none. The string is
       static. */
    const char *video_codec;
    const char *audio_codec;           /* Stream: the name of its audio codec, "AAC". The string is static. */
    /* Stream: width of its pictures in pixels, from the sequence header (AVC, HEVC, AV1) of the lowest video track;
       0 while the width is not known. */
    uint32_t width;
    uint32_t height;                   /* Stream: height of its pictures in pixels, from the same sequence header. */
    /* Stream: samples a second of its sound, from the sequence header (AAC, Opus) of the lowest audio track, or 0. */
    uint32_t sample_rate;
    uint32_t channels;                 /* Stream: channels of its sound, or 0. */
    const char *query;                 /* Session: the text after a ?, as in rr_event. */
} rr_info;

/* Takes log lines. module and line are valid during the call. Lines of the modules "server", "stream", "session" and
   "target" repeat events: a host that shows both can leave these out. The server's event thread makes the calls, one
   at a time, with no lock held, until rr_server_set_log has set another sink or rr_server_free has returned. */
typedef void (*rr_log_fn)(void *user, int level, const char *module, const char *line);

/* ---- events, the data ------------------------------------------------------------------------------------------- */

/* Types of events. */
typedef enum rr_event_type {
    RR_EV_NONE = 0,                    /* No event. */
    RR_EV_SERVER = 1,                  /* The server's state moved from prev to state; error is the cause. */
    RR_EV_STREAM = 2,                  /* A stream's state moved. */
    /* A session's state moved. Its last event has the cause in error, which is RR_OK only if it went to another
       process (rr_session_export). */
    RR_EV_SESSION = 3,
    /* A target's or a source's state moved; prev is RR_STATE_NONE when it was added. */
    RR_EV_TARGET = 4,
    RR_EV_CONNECT_ASK = 5,             /* A peer connects; answer with rr_session_allow, _deny or _redirect. */
    RR_EV_PUBLISH_ASK = 6,             /* A peer wants to publish app/key; answer as at RR_EV_CONNECT_ASK. */
    RR_EV_PLAY_ASK = 7,                /* A peer wants to play app/key; answer as at RR_EV_CONNECT_ASK. */
    /* Somebody plays a stream that has no publisher and no source. It comes once, and again only after the stream
       has had one, or no player. */
    RR_EV_WANTED = 8,
    RR_EV_UNWATCHED = 9,               /* The last player of a stream has left. */
    /* A stream has a new track, or a track has another codec; text lists the codecs of all tracks ("avc1,mp4a"), as
       rr_info does. A new publisher's tracks count as new. It comes at most four times a second. */
    RR_EV_TRACKS = 10,
    /* A consumer begins (state IN_PROGRESS) or stops (state NONE) losing messages; value = messages lost. */
    RR_EV_SLOW = 11,
    RR_EV_CLOCK = 12,                  /* The publisher's timestamps jumped; value = ms. */
    RR_EV_RECONNECT = 13,              /* The peer asks us to connect again; url = the new url, "" = the same url. */
    /* The controller's answer about app/key, in action. If no controller answered, error says why, and action is
       RR_NEXT_NONE, or that of an earlier answer that is still valid. url = the first of its urls, value = how long
       the answer is valid or, with RR_NEXT_WAIT, the time to the next question, ms; text = the question (publish,
       play, target_lost or rr_controller_ask's word) and the controller's text. session is the session that waited
       for the answer, target the target that was lost; stream is 0 if the stream has not begun yet. */
    RR_EV_NEXT = 14,
    RR_EV_LOG = 15,                    /* A log line, in text. */
    RR_EV_OVERFLOW = 16,               /* Events were lost because they were not taken; value = how many. */
    /* Somebody asks by HTTP (POST /v1/upgrade) that the server be replaced by a new one: start the program that is
       to take over, and call rr_server_handover. A host that does not do that ignores the event. */
    RR_EV_UPGRADE = 17,
} rr_event_type;

/* The action that a controller asks for on a stream. */
typedef enum rr_next {
    RR_NEXT_NONE = 0,                  /* The controller has not answered. */
    RR_NEXT_RELAY = 1,                 /* Push the stream on. */
    RR_NEXT_PULL = 2,                  /* Pull the stream. */
    RR_NEXT_REJECT = 3,                /* Refuse the peers that want the stream; text has the reason. */
    RR_NEXT_WAIT = 4,                  /* Ask again later. */
} rr_next;

/* Bits of rr_event's flags. */
typedef enum rr_event_flag {
    RR_EVF_RETRIABLE = 1,              /* Another try may succeed. */
    RR_EVF_BY_PEER = 2,                /* The peer caused it. */
    RR_EVF_LAST = 4,                   /* The id ends with this event. */
    RR_EVF_TLS = 8,                    /* The connection is over TLS. */
    RR_EVF_TOLD = 16,                  /* RR_EV_LOG: the line repeats an event of another type. */
} rr_event_flag;

/* One event, made by the library; later versions may add fields at its end. The event and its strings are valid
   until the next rr_event_next on the same server, or during the callback. */
typedef struct rr_event {
    uint32_t type;                     /* RR_EV_*. */
    int32_t error;                     /* RR_OK, or the cause. */
    uint32_t state;                    /* RR_STATE_*, the new one. */
    uint32_t prev;                     /* RR_STATE_*, the one before. */
    uint32_t flags;                    /* RR_EVF_* bits. */
    uint32_t level;                    /* RR_LOG_* of RR_EV_LOG. */
    /* The stream concerned, 0 for none. For a session whose publish or play has ended: its last stream. */
    rr_stream stream;
    rr_session session;                /* The session concerned, 0 for none. */
    rr_target target;                  /* The target concerned, 0 for none. */
    /* The host's pointer of the target, session, stream or server: the first of these that has one. */
    void *user;
    int64_t time_us;                   /* Wall clock, us since 1970. */
    int64_t value;                     /* Depends on the type: ms to the next try, messages lost and so on */
    const char *app;                   /* RTMP application: bytes as the peer sent them. No string here is ever NULL. */
    const char *key;                   /* Stream key: bytes as the peer sent them, possibly a secret. */
    const char *addr;                  /* The peer's address. */
    const char *url;                   /* A url, without the key. */
    const char *text;                  /* The detail, as text for people. */
    /* RR_ROLE_* of the session or target; after the end of its publish or play, and in its last event, its last
       role. */
    uint32_t role;
    uint32_t action;                   /* RR_NEXT_* of RR_EV_NEXT. */
    /* The text after a ? in the peer's application and stream key, joined by &; "" if there is none, or RR_ARGS_*
       leaves none. These are usually credentials: the library never shows them, and the host should not either. */
    const char *query;
} rr_event;

/* Takes events. ev is valid during the call. The server's event thread makes the calls, one at a time, in order,
   with no lock held, until rr_server_free has returned. The callback may call any rr_* function except
   rr_server_free, which does nothing there. */
typedef void (*rr_event_fn)(void *user, const rr_event *ev);

/* ---- config structs --------------------------------------------------------------------------------------------- */

/* In a number of a config struct: off. */
#define RR_OFF 0xFFFFFFFFu

/* Sets up a config struct: RR_INIT(RR_CFG_SERVER, &config); the result is rr_config_init's. C11 and C++ know which
   struct it is, and a kind that is not its own is RR_ERR_ARG here; in C99 whoever takes the struct finds that out. */
#if defined(__cplusplus)
#define RR_TYPE_OF(p) ((int)sizeof(rr_config_type_of(p)) - 1)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define RR_TYPE_OF(p)                                                                                                  \
    _Generic(*(p), rr_server_config: RR_CFG_SERVER, rr_stream_config: RR_CFG_STREAM, rr_target_config: RR_CFG_TARGET,  \
             rr_decision: RR_CFG_DECISION, rr_frame: RR_CFG_FRAME, rr_hooks_config: RR_CFG_HOOKS,                  \
             rr_controller_config: RR_CFG_CONTROLLER, default: 0)
#else
#define RR_TYPE_OF(p) 0
#endif
#define RR_INIT(kind, p) rr_config_init((kind) | RR_TYPE_OF(p) << 8, (p), sizeof *(p))

/* Bytes for what rr_rest_token gives, its NUL counted. */
#define RR_TOKEN_BYTES 257

/* The kind of struct that rr_config_init fills. */
typedef enum rr_config_kind {
    RR_CFG_SERVER = 1,                 /* rr_server_config. */
    RR_CFG_STREAM = 2,                 /* rr_stream_config. */
    RR_CFG_TARGET = 3,                 /* rr_target_config. */
    RR_CFG_DECISION = 4,               /* rr_decision. */
    RR_CFG_CONTROLLER = 7,             /* rr_controller_config. */
    RR_CFG_FRAME = 8,                  /* rr_frame. */
    RR_CFG_HOOKS = 9,                  /* rr_hooks_config. */
} rr_config_kind;

/* Settings of a stream. */
typedef struct rr_stream_config {
    uint16_t size;                     /* Set by rr_config_init. */
    uint16_t kind;                     /* Set by rr_config_init: RR_CFG_*. */
    uint32_t flags;                    /* No flags yet: 0. */
    void *user;                        /* The host's pointer, given back in events and rr_info; never touched. */
    uint32_t publisher_policy;         /* RR_PUBLISHER_*: the treatment of a second publisher. Default: 0 (refused). */
    /* Keep players and targets for this long without a publisher, ms, to 86400000. Default: 0 (not at all). */
    uint32_t grace_ms;
    /* Largest cached group of pictures, for RR_START_GOP, bytes, to 1073741824; RR_OFF = no cache. Default: 8388608. */
    uint32_t gop_bytes;
    uint32_t gop_ms;                   /* Longest cached group, ms, to 3600000; RR_OFF = no cache. Default: 10000. */
    /* A publisher that sends more than this for 10 s, kbit/s, is closed with RR_ERR_LIMIT. Default: 0 (no limit). */
    uint32_t max_kbps;
    /* A source with RR_TARGET_ON_DEMAND is closed this long after the last player left, ms, to 86400000; RR_OFF =
       never. Default: 10000. */
    uint32_t unwatched_ms;
    /* Priority of the stream's threads, -20 to 19; a value below 0 needs a privilege. Default: 0. */
    int32_t nice;
    /* Collect media this long before sending, ms, to 10000: saves system calls, costs latency. Default: 0 (send at
       once). */
    uint32_t merge_ms;
    uint32_t clock;                    /* RR_CLOCK_*: the treatment of timestamps. Default: 0 (passed on). */
    uint32_t start;                    /* RR_START_*: where players begin. Default: 2 (the cached group). */
    /* A player's largest lag, bytes, 65536 to 1073741824; past it the player jumps to a key frame. Default: 4194304. */
    uint32_t queue_bytes;
    uint32_t queue_ms;                 /* A player's largest lag, ms, 100 to 600000. Default: 5000. */
    /* A player that stays past its lag for this long is closed, ms; RR_OFF = never. Default: 30000. */
    uint32_t slow_ms;
    /* RR_ARGS_*: the treatment of the text after a ? in stream keys. Only the stream settings of rr_server_config
       count, because a name is read before its stream exists. Default: 0 (not part of the name, given to the host
       separately). */
    uint32_t args;
    const char *cpus;                  /* CPUs the stream's threads may use, "0-3,8". Default: NULL (any). */
    /* If video comes for this long without a key frame, ms, to 3600000, players and targets that begin get sound at
       once, and video from the next key frame on or, after 15 s without one, from any picture on; RR_OFF = both wait
       for a key frame. Default: 5000. */
    uint32_t key_wait_ms;
    /* With RR_PUBLISHER_REJECT a new publisher replaces one that has sent nothing for this long, ms, to 86400000, so
       that an encoder that lost its network can publish again; RR_OFF = never. Default: 2000. */
    uint32_t silent_ms;
    /* RR_METADATA_*: how players get metadata that does not end as AMF0 prescribes. Default: 0 (repaired). */
    uint32_t metadata;
    /* Most threads that send to the stream's players, 1 to 16: for more players than one processor serves. Players
       are spread over them as they come; targets are with the first. RR_OFF = 1. Default: 0 (one; where there are
       more than two processors, up to 4, and one processor is left, once each has 500 players or targets; all such
       streams of a server together have fewer further ones than there are processors). More than 1 is refused
       (RR_ERR_ARG) where streams share threads (threads in rr_server_config). */
    uint32_t relay_threads;
} rr_stream_config;

/* Settings of a target, or of a source. A source does not send, so these settings must be 0 or the default there
   (RR_ERR_UNSUPPORTED otherwise): send_ms, idle_ms, queue_bytes, queue_ms, slow_policy, slow_ms, start, clock,
   media, tracks, max_kbps and merge_ms. */
typedef struct rr_target_config {
    uint16_t size;                     /* Set by rr_config_init. */
    uint16_t kind;                     /* Set by rr_config_init: RR_CFG_*. */
    uint32_t flags;                    /* RR_TARGET_* bits. */
    void *user;                        /* The host's pointer, given back in events and rr_info; never touched. */
    /* rtmp://host[:port]/app[/key], or rtmps://, 8192 bytes at most. Must be given. */
    const char *url;
    /* The stream key, 4096 bytes at most, passed on byte for byte; then the whole path of url is the application.
       Default: NULL: the part of url after the first part of its path, with slashes and query or, if that is empty,
       the stream's own key. */
    const char *key;
    /* More urls, tried in turn after url, ended by NULL, 16 at most; key holds for them too. Default: NULL. */
    const char *const *backup_urls;
    /* Name for Adobe or Limelight authentication, 1024 bytes at most. Default: NULL (the name before url's @, if
       any). */
    const char *username;
    /* Password for that authentication, 1024 bytes at most. Default: NULL (the password before url's @, if any). */
    const char *password;
    /* A PEM file of roots to trust for rtmps, or of the server's self-signed certificate. It is not read if all urls
       are rtmp. Default: NULL (the system's). */
    const char *ca_file;
    /* SHA-256 of the server's public key (SubjectPublicKeyInfo), 64 hex digits or base64. It replaces the check of
       roots, name and dates; with ca_file both must hold. Default: NULL. */
    const char *pin_sha256;
    const char *bind_addr;             /* Local IPv4 or IPv6 address to connect from. Default: NULL (any). */
    /* First wait after a failure, ms, to 3600000; it doubles from there. Default: 500. */
    uint32_t retry_min_ms;
    uint32_t retry_max_ms;             /* Longest wait, ms, to 86400000, not below retry_min_ms. Default: 30000. */
    uint32_t retry_jitter_pct;         /* Random part of each wait, percent, to 100; RR_OFF = none. Default: 20. */
    /* Failures in a row before giving up, to 1000000000; with backup_urls, one try of all urls counts as one. RR_OFF
       = never. Default: 0 (never). */
    uint32_t retry_count;
    /* Time from the first failure of a row to giving up, ms, to 4294967294; RR_OFF = never. Default: 0 (never). */
    uint32_t retry_total_ms;
    /* After a connection that ran this long, ms, the next wait is retry_min_ms again. Default: 30000. */
    uint32_t retry_reset_ms;
    /* Time for the name look-up, connection and commands until the peer accepts media, ms, 100 to 600000. Default:
       10000. */
    uint32_t connect_ms;
    /* A peer whose socket takes nothing for this long is lost, ms; RR_OFF = none. Default: 0 (the server's send_ms). */
    uint32_t send_ms;
    /* A target without media for this long, ms, is closed in order, and connects again when media comes. Default: 0
       (never). */
    uint32_t idle_ms;
    /* Largest lag, bytes, 65536 to 1073741824; past it slow_policy applies. Default: 8388608. */
    uint32_t queue_bytes;
    uint32_t queue_ms;                 /* Largest lag, ms, 100 to 600000. Default: 10000. */
    /* RR_SLOW_*: the treatment of a target past its largest lag. Default: 0 (jump to a key frame). */
    uint32_t slow_policy;
    /* How long a slow target may jump to key frames before it is reconnected (RR_SLOW_STOP: stopped), ms. Default: 0
       (with RR_SLOW_RESYNC for ever, with the other policies not at all). */
    uint32_t slow_ms;
    uint32_t start;                    /* RR_START_*: where the push begins. Default: 2 (the cached group). */
    /* RR_CLOCK_PASS, or RR_CLOCK_ZERO: each connection's timestamps begin at 0. RR_CLOCK_REPAIR is only for streams.
       Default: 0. */
    uint32_t clock;
    uint32_t media;                    /* RR_MEDIA_* bits: kinds of messages to send. Default: 7 (all). */
    /* Tracks to send: bit n = multitrack id n, bit 0 also media without multitrack; a message of several tracks is
       sent if one of them is. Default: 0 (all). */
    uint64_t tracks;
    /* Highest rate to send at, kbit/s, 8 to 10000000; a stream with a higher rate makes the target lag, see
       queue_ms. RR_OFF = none. Default: 0 (none). */
    uint32_t max_kbps;
    /* Chunk size to this peer, bytes, 128 to 16777215; any other value than the default costs a copy. Default:
       60000. */
    uint32_t chunk_size;
    /* Collect media this long before sending, ms, to 10000; RR_OFF = send at once. Default: 0 (the stream's). */
    uint32_t merge_ms;
    /* For this long after media has flowed to a url, ms, to 86400000, refusals by that server (BadName and the like)
       are retried, because it may still hold the lost session. At other urls, and later, the second refusal in a row
       ends the target. RR_OFF = at every url. Default: 90000. */
    uint32_t lingering_ms;
} rr_target_config;

/* Settings of a server. For every time, RR_OFF means no limit. */
typedef struct rr_server_config {
    uint16_t size;                     /* Set by rr_config_init. */
    uint16_t kind;                     /* Set by rr_config_init: RR_CFG_*. */
    uint32_t flags;                    /* No flags yet: 0. */
    void *user;                        /* The host's pointer, given to on_event and in events; never touched. */
    rr_event_fn on_event;              /* Takes the events. Default: NULL (use rr_event_next). */
    /* Settings of streams made by publishers and players. Default: NULL (those of rr_stream_config). */
    const rr_stream_config *stream;
    /* Most memory for media in all queues and caches, for connections' TLS and for the fields of connect: bytes,
       from 1048576. When memory becomes short, cached groups are dropped first; then consumers that are far behind
       jump, and consumers that hold much are closed; a publisher that finds no room waits for up to two seconds and
       is then closed (RR_ERR_LIMIT). The last eighth is kept for streams older than three seconds that need no more
       than before, so new peers are refused first. The process as a whole grows by at most 1.25 times the limit, 4
       MiB, 256 KiB a stream and 24 KiB a connection. Default: 0 (no limit). */
    uint64_t mem_limit;
    /* Events that may wait, 16 to 1048576; beyond that log lines are dropped and repeated states are folded into one
       event. Default: 4096. */
    uint32_t event_limit;
    uint32_t log_events;               /* RR_LOG_* level of lines that also come as RR_EV_LOG. Default: 0 (none). */
    uint32_t max_sessions;             /* Most sessions at one time; RR_OFF = no limit. Default: 10000. */
    uint32_t max_sessions_ip;          /* Most sessions of one address; RR_OFF = no limit. Default: 0 (no limit). */
    /* Most streams at one time; at most half of them may be streams without a publisher that players wait for.
       RR_OFF = no limit. Default: 1000. */
    uint32_t max_streams;
    uint32_t max_message;              /* Largest RTMP message taken, bytes, 4096 to 16777215. Default: 16777215. */
    /* RR_ASK_* bits: the questions to the host. Default: 0 (none, all peers are admitted). */
    uint32_t ask;
    uint32_t ask_ms;                   /* Time for the host's answer, ms. Default: 5000. */
    uint32_t ask_default;              /* The answer if the host gives none in time: 1 allow, 0 deny. Default: 0. */
    /* Time from accept to connect, ms. A connected peer that neither publishes nor plays stays as long as it answers
       pings or, without pings, sends something every idle_ms. Default: 10000. */
    uint32_t handshake_ms;
    uint32_t first_data_ms;            /* Time from the start of publishing to the first media, ms. Default: 30000. */
    uint32_t idle_ms;                  /* A publisher that sends nothing for this long is closed, ms. Default: 30000. */
    /* A silent peer gets a ping this often, ms, from 1000. Two unanswered pings end a session; from a publisher only
       TCP acknowledgements of the pings are expected. Default: 30000. */
    uint32_t ping_ms;
    /* A consumer whose socket takes nothing for this long is closed, ms. Default: 20000. */
    uint32_t send_ms;
    /* Threads that all streams share, 1 to 256: useful for many small streams, with as many threads as processors. A
       stream then waits while other streams of its thread have their turns, and streams cannot have nice, cpus or
       several relay_threads (RR_ERR_ARG). RR_OFF = two threads for each stream. Default: 0 (two for each stream).
       With RR_ISOLATE_PROCESS: threads for this process's part of the streams; 0 is one. */
    uint32_t threads;
    uint32_t isolate;                  /* RR_ISOLATE_*: where streams run. Default: 0 (in this process). */
    /* With RR_ISOLATE_PROCESS: the program that carries a stream, 4096 bytes at most; it calls rr_worker_main.
       Default: NULL (rrelay-worker, which is installed with the library). */
    const char *worker;
    /* With RR_ISOLATE_PROCESS: most memory that a worker can write, bytes, from 33554432. Three quarters of what
       exceeds 24 MiB are the stream's memory for media, which it frees as with mem_limit; a worker that needs more
       than worker_memory all the same is ended. Default: 0 (no limit). */
    uint64_t worker_memory;
    /* With RR_ISOLATE_PROCESS: most files that a worker can have open, 64 to 1048576; each connection is one.
       Default: 0 (as many as this process). */
    uint32_t worker_files;
    /* With RR_ISOLATE_PROCESS: a worker that does not answer for this long, ms, 2000 to 600000, is killed; RR_OFF =
       never. Default: 10000. */
    uint32_t worker_hung_ms;
    /* With RR_ISOLATE_PROCESS: a folder, 4096 bytes at most, made if it is missing, that belongs to this user alone
       (mode 0700). Workers whose server is killed go on, and wait there for the next server that has this folder: it
       takes them over when it begins to listen, with their streams, sessions and targets, as rr_server_takeover
       does. They are its own from then on: where something else of a start fails after the first rr_server_listen,
       rr_server_free stops them, while a process that ends without it leaves them to the next one. Default: NULL
       (workers end with their server). */
    const char *worker_dir;
    /* With worker_dir: how long workers whose server has ended without stopping them wait for the next one, ms, 1000
       to 86400000. Default: 60000. */
    uint32_t worker_orphan_ms;
    uint32_t reserved0;                /* 0. */
} rr_server_config;

/* The terms on which a session is allowed. */
typedef struct rr_decision {
    uint16_t size;                     /* Set by rr_config_init. */
    uint16_t kind;                     /* Set by rr_config_init: RR_CFG_*. */
    uint32_t flags;                    /* No flags yet: 0. */
    void *user;                        /* Becomes the session's user pointer. */
    /* The stream key to use, not empty; at RR_EV_CONNECT_ASK the application. Default: NULL (what the peer asked
       for). */
    const char *rename;
    /* For a publish: settings of the stream, if this publish creates it. Default: NULL (the server's). */
    const rr_stream_config *stream;
    /* For a play: RR_MEDIA_* bits, the kinds that the player gets at most, from its first message on. Default: 7
       (all). */
    uint32_t media;
    uint32_t start;                    /* For a play: RR_START_*. Default: 0 (the stream's). */
} rr_decision;

/* Back ends that are asked and notified by HTTP (rr_hooks_set). A hook is an address, http://host[:port]/path or
   https://; NULL means no hook. At least one must be given. */
typedef struct rr_hooks_config {
    uint16_t size;                     /* Set by rr_config_init. */
    uint16_t kind;                     /* Set by rr_config_init: RR_CFG_*. */
    uint32_t flags;                    /* RR_HOOKS_FLAG_* bits. */
    const char *on_connect;            /* Asked when a peer connects. Default: NULL. */
    const char *on_publish;            /* Asked when a peer wants to publish. Default: NULL. */
    const char *on_play;               /* Asked when a peer wants to play. Default: NULL. */
    const char *on_publish_done;       /* Notified once when a session's publish has ended. Default: NULL. */
    const char *on_play_done;          /* Notified once when a session's play has ended. Default: NULL. */
    /* Notified every update_ms while a session publishes or plays. Its answer may end the session; with
       RR_HOOKS_NGINX a missing answer ends it too, unless RR_HOOKS_FLAG_FAIL_OPEN is set. Default: NULL. */
    const char *on_update;
    const char *on_target_state;       /* Notified when the state of a target or source changes. Default: NULL. */
    /* The secret that signs requests: their header X-Rrelay-Signature is "sha256=" and the HMAC-SHA256 of the body
       in hexadecimal, or of the query if the body is empty. Default: NULL (they are not signed). */
    const char *secret;
    const char *ca_file;               /* Roots to trust for https, a PEM file. Default: NULL (the system's). */
    uint32_t dialect;                  /* RR_HOOKS_*: the protocol of the back ends. Default: 0 (JSON). */
    /* How long a request may take until its answer has come, including its wait for a place among max_requests, ms,
       100 to 60000. A session whose question has no valid answer by then is refused, or allowed with
       RR_HOOKS_FLAG_FAIL_OPEN; an answer whose body is longer than 256 KiB is not valid, except that a status of 4xx
       refuses whatever its body. Default: 5000. */
    uint32_t timeout_ms;
    /* Time from the beginning of a publish or play to its first update, and from each answer to the next one, ms,
       1000 to 86400000; RR_OFF = none. Default: 30000. */
    uint32_t update_ms;
    /* How long a failed notification (no answer, or a 5xx) is retried, ms, to 3600000; RR_OFF = it is not. Updates
       are not retried. Default: 60000. */
    uint32_t retry_ms;
    /* Most requests of one hook at one time, 1 to 4096; further ones wait, and the wait counts against their time.
       Default: 256. */
    uint32_t max_requests;
    uint32_t reserved0;                /* 0. */
} rr_hooks_config;

/* Controllers that are asked by HTTP where streams go next (rr_controller_set). */
typedef struct rr_controller_config {
    uint16_t size;                     /* Set by rr_config_init. */
    uint16_t kind;                     /* Set by rr_config_init: RR_CFG_*. */
    uint32_t flags;                    /* No flags yet: 0. */
    /* Addresses of controllers, http://host[:port][/path] or https://, ended by NULL, 8 at most; each is asked if
       those before it do not answer. At least one must be given. */
    const char *const *urls;
    /* Sent with each request as "Authorization: Bearer TOKEN". Default: NULL (none is sent). */
    const char *token;
    /* The secret that signs requests, as in rr_hooks_config. Default: NULL (they are not signed). */
    const char *secret;
    const char *ca_file;               /* Roots to trust for https, a PEM file. Default: NULL (the system's). */
    /* This server's address, as other servers dial it, rtmp://host[:port]. Default: NULL (the controller gets none). */
    const char *self_url;
    /* How long one controller may take to answer, including the wait for a place among max_requests, ms, 100 to
       30000; publishers and players wait meanwhile. An answer longer than 256 KiB counts as none. Default: 2000. */
    uint32_t timeout_ms;
    /* Time from one heartbeat to the next, ms, 1000 to 3600000; RR_OFF = none. Default: 10000. */
    uint32_t heartbeat_ms;
    /* How long an answer without a ttl_ms of its own stays valid, for when no controller answers, ms, to 86400000;
       RR_OFF = not at all. Default: 300000. */
    uint32_t cache_ms;
    /* Most questions at one time, 1 to 4096; further ones wait, and the wait counts against their time. Default: 64. */
    uint32_t max_requests;
} rr_controller_config;

/* ---- 0. base ---------------------------------------------------------------------------------------------------- */

/* These need no server. */

/* The version of the loaded library, 0xMMmmpp. Compare it with RR_VERSION, the version of the header. */
RR_API uint32_t rr_version(void);

/* The version of the loaded library as "major.minor.patch", for people.
   Valid: For ever. */
RR_API const char *rr_version_string(void);

/* The features that the loaded library was built with: RR_FEATURE_* bits. */
RR_API uint64_t rr_features(void);

/* One sentence for a result. Never NULL; any number may be given.
   Valid: For ever. */
RR_API const char *rr_strerror(int err);

/* The detail of the last call on this thread that failed: which argument, which limit, which error of the system.
   Never NULL; "" if none has failed yet. Do not use it in one argument list with the call that may fail (in printf,
   for example), because C does not define which is called first.
   Valid: Until the next call on this thread that fails, or the thread's end. */
RR_API const char *rr_last_error(void);

/* The name of a number, for logs: "IN_PROGRESS", "PUBLISH_ASK", "H.264". what is RR_NAME_*. Never NULL; "UNKNOWN"
   for a number without a name.
   Valid: For ever. */
RR_API const char *rr_name(int what, int value);

/* Writes a config struct's size, kind and defaults. kind is RR_CFG_*, size the caller's sizeof; RR_INIT passes the
   size itself. A struct of an older header gets its part; in a struct of a newer header the fields unknown to this
   library become 0. Functions that take the struct check its kind and refuse another kind with RR_ERR_ARG.
   Returns: RR_OK; RR_ERR_ARG: cfg is NULL, kind is unknown or (with RR_INIT) not that of the struct, or size is not
   the size of a struct. */
RR_API int rr_config_init(int kind, void *cfg, size_t size);

/* ---- 1. server -------------------------------------------------------------------------------------------------- */

/* Listeners, streams and everything on them, events, log. Two servers in one process are independent of each other. */
typedef struct rr_server rr_server;

/* Makes a server. Its threads run, but it does not listen yet. cfg may be NULL.
   Valid: *out until rr_server_free.
   Returns: RR_OK; RR_ERR_ARG or RR_ERR_VERSION: a wrong setting in cfg; RR_ERR_LIMIT: the process has no thread or
   descriptor left; RR_ERR_IO: worker_dir cannot be used. On failure *out is NULL. */
RR_API int rr_server_new(const rr_server_config *cfg, rr_server **out);

/* Stops the server at once, joins its threads and frees it, with the last event of rr_event_next. s may be NULL.
   Threads: It must be the last call on a server, made once and while no other call on it runs. Inside a callback it
   only sets rr_last_error, because the event thread cannot wait for itself.
   Waits: For the server's threads; with hooks, two seconds at most for what back ends are still to be told; for a
   running callback, one second. A callback that has not returned by then is abandoned, which rr_last_error reports,
   and no callback is called any more. */
RR_API void rr_server_free(rr_server *s);

/* Listens: "127.0.0.1:1935", "[::1]:1935", "name:1935"; "[::]:1935", ":1935" and "1935" take IPv4 and IPv6; port 0
   takes any free one. A port must be given. flags are RR_LISTEN_*; RR_LISTEN_TLS needs an earlier rr_server_set_tls.
   It may be called several times.
   Waits: For the name service, if addr has a name.
   Returns: The port; RR_ERR_ARG: not an address, or unknown flags; RR_ERR_RESOLVE: the name has no address;
   RR_ERR_IO: the system refused it (in use, no permission); RR_ERR_STATE: the server is stopping, or there is no
   certificate. */
RR_API int rr_server_listen(rr_server *s, const char *addr, unsigned int flags);

/* Listens on a socket that is bound and listens already (inherited, or systemd's). The library owns it from now on,
   also on failure. flags: RR_LISTEN_PROXY, RR_LISTEN_TLS, RR_LISTEN_HTTP or 0.
   Returns: The port, 0 for a unix socket; RR_ERR_ARG: not a listening socket, or unknown flags; RR_ERR_STATE: the
   server is stopping, or there is no certificate. */
RR_API int rr_server_listen_fd(rr_server *s, int fd, unsigned int flags);

/* Takes a connection that the host accepted; unix sockets are accepted too. The library owns it from now on, also on
   failure. peer is the address to show, NULL takes the socket's; with RR_LISTEN_PROXY in flags the PROXY header,
   which comes first, has the address. With RR_LISTEN_TLS the peer speaks TLS (after that header), with
   RR_LISTEN_HTTP it is a player over HTTP.
   Returns: RR_OK; RR_ERR_ARG: not a connected stream socket, peer is not UTF-8, or unknown flags; RR_ERR_LIMIT:
   max_sessions, or connections come faster than the server takes them; RR_ERR_STATE: the server is stopping, or
   there is no certificate. */
RR_API int rr_server_accept_fd(rr_server *s, int fd, const char *peer, unsigned int flags);

/* Sets the certificate that RR_LISTEN_TLS shows: two PEM files, the certificate followed by its chain, and its key.
   It may be called again at any time when the files have changed; later connections get the new certificate.
   Waits: For the disk: both files are read before it returns, and not later.
   Returns: RR_OK; RR_ERR_ARG: a path is NULL or not UTF-8; RR_ERR_CERT: a file cannot be read, or they do not belong
   together; then the previous certificate stays. */
RR_API int rr_server_set_tls(rr_server *s, const char *cert_pem, const char *key_pem);

/* Sets who may publish and play from now on; running sessions go on. It may be called again. rules is a list ended
   by NULL; the first rule that matches a peer decides, and a peer that no rule matches is allowed. A rule is "allow"
   or "deny", then "publish" or "play" or neither for both, then an address, a network or "all": "allow publish
   10.0.0.0/8", "allow publish fd00::/8", "deny publish all". A peer without an address (a unix socket) matches only
   "all". publish_keys is a file of the stream keys that may publish, one a line; empty lines and lines that begin
   with # are ignored. A key is the part of a stream's path after the application; a key with ?arguments
   ("show?pass=abc") is for publishers that send the same, while players need only "show" (with RR_ARGS_KEY the
   whole). With RR_ARGS_DROP nobody can send such a key, and a log line says so. NULL means no rules, or any key.

   Peers are checked before hooks and the host are asked, and a refused peer is told why: by RTMP with
   NetStream.Publish.Denied or NetStream.Play.Failed, over HTTP with 403. Its end comes as an event, with
   RR_ERR_REJECTED for its address or RR_ERR_AUTH for its key. Keys are compared in constant time.
   Waits: For the disk: the file is read before it returns, and not later.
   Returns: RR_OK; RR_ERR_ARG: a malformed rule, more than 4096 rules, a text that is not UTF-8, or a file without a
   key that could be sent, with more than 10000 keys or larger than a MiB; RR_ERR_IO: the file cannot be read. On
   failure the previous settings stay. */
RR_API int rr_server_set_access(rr_server *s, const char *const *rules, const char *publish_keys);

/* Stops in order: no new peer is accepted, streams have deadline_ms to send their last messages, then everything is
   closed and the state is STOPPED, which comes as an event. Returns at once; a second call may shorten the deadline.
   With a reconnect_url streams go on until shortly before the deadline, or until all peers have left, and peers that
   understand Enhanced RTMP's reconnect request are asked to connect to that url. NULL: no peer is asked.
   Returns: RR_OK; RR_ERR_ARG: reconnect_url is not UTF-8. */
RR_API int rr_server_stop(rr_server *s, const char *reconnect_url, unsigned int deadline_ms);

/* Hands the server over to another process, without a peer noticing: the listening sockets, the streams, the
   sessions that publish, play or wait for an answer, and the targets and sources. fd is one end of a connected unix
   stream socket; at its other end the other process calls rr_server_takeover. The library owns it from now on, also
   on failure. within_ms (1 to 60000) is how long this may take. fd is readable as soon as the other process is
   ready, or has ended; a host may wait for that before it calls this. Then streams stand still until the other
   process has everything, mostly for some tens of milliseconds. Calls that change streams, targets or sessions, but
   for answers of the host, wait until then, and so does the message of rr_stream_write with which the host begins to
   publish. If the other process has taken over, they give RR_ERR_NOT_FOUND for what has moved. rr_server_stop ends
   the hand-over with RR_ERR_STATE, unless the other process has taken over: then that goes on.

   With RR_OK the server stops: every session and target that moved has ended here with RR_OK as its error, and what
   cannot move (sessions over TLS, and a stream whose publisher cannot move or is the host, with its players and
   targets) has drain_ms to leave. Peers among them that understand Enhanced RTMP's reconnect request are asked to
   connect to the same url again, where the other process is. The state STOPPED comes as an event when all have left,
   or at the end of that time. If the other process is of an older version that cannot read the sessions, it gets the
   listening sockets, and all sessions stay.

   Where streams run in processes (RR_ISOLATE_PROCESS), these go on under the other server, with everything in them,
   and nothing of them stands still. Connections over TLS go along as long as this process carries their bytes,
   drain_ms at most. The other server must have its streams in processes too; otherwise it gets the listening sockets
   only.

   On failure the server goes on as before, with the same ids and without any event, also if the other process ends
   or is killed at any moment. If this process is killed, the other one goes on with what it has got.
   Waits: For the other process, within_ms at most.
   Returns: RR_OK; RR_ERR_ARG: not a connected unix stream socket, or within_ms is out of its range; RR_ERR_STATE:
   the server is stopping, or is being handed over; RR_ERR_CLOSED: the other process has ended; RR_ERR_TIMEOUT: it
   took too long; RR_ERR_PROTOCOL: it sent something else; RR_ERR_VERSION: it is too old; RR_ERR_THREAD: inside a
   callback; any other error with which the other process has refused. */
RR_API int rr_server_handover(rr_server *s, int fd, unsigned int within_ms, unsigned int drain_ms);

/* Takes over a server from another process, which calls rr_server_handover at the other end of this unix stream
   socket. The library owns fd from now on, also on failure. Call it before rr_server_listen, and after
   rr_server_set_tls if the other server listens with TLS. The listening sockets keep their flags. The streams keep
   their settings; the sessions have new ids here, and their events come as those of new sessions. Bans and
   rr_server_set_access of this server apply to them. Targets and sources have their settings and what remains of
   their waits, and keep their connections, except over TLS, where they connect anew. User pointers do not come
   along.

   Everything that comes is checked completely before the other process lets go of it. A stop that comes afterwards,
   before this returns, ends in order all that has come.
   Waits: For the other process, within_ms (1 to 60000) at most.
   Returns: RR_OK; RR_ERR_ARG: not a connected unix stream socket, within_ms is out of its range, or what came is
   malformed; RR_ERR_VERSION: the other process is newer and sends what this library cannot read; RR_ERR_EXISTS: one
   of the streams is here already; RR_ERR_LIMIT, RR_ERR_NOMEM: there is no room for all; RR_ERR_STATE: the server is
   stopping, or there is no certificate; RR_ERR_CLOSED, RR_ERR_TIMEOUT, RR_ERR_PROTOCOL: the other process has ended,
   is too slow or sends something else; RR_ERR_THREAD: inside a callback. On failure this server has nothing of the
   other one, which goes on. */
RR_API int rr_server_takeover(rr_server *s, int fd, unsigned int within_ms);

/* The server's RR_STATE_*.
   Returns: The state. */
RR_API int rr_server_state(rr_server *s);

/* Sets where this server's log lines go, and up to which RR_LOG_* level; before the first call they are dropped.
   NULL for fn means stderr, RR_LOG_OFF means no lines. When it returns RR_OK, the previous sink has returned and
   will not be called again; if this is called inside a callback, the previous sink may still be in its last call.
   Stream keys and tokens are hidden in the lines.
   Waits: For the previous sink, if it is running, two seconds at most; inside a callback not at all.
   Returns: RR_OK; RR_ERR_ARG: no such level; RR_ERR_TIMEOUT: the previous sink has not returned yet, and the new one
   is set. */
RR_API int rr_server_set_log(rr_server *s, int level, rr_log_fn fn, void *user);

/* Sets whether the log lines of librtmp's interface in this process (RTMP_Log, and the library's own lines there)
   come to this server's log: to the same function, stderr or events as the server's own lines, with the module
   "librtmp", from any thread. on is 1 or 0 (the initial value). Meanwhile RTMP_LogSetCallback and RTMP_LogSetOutput
   get nothing. The level of RTMP_LogSetLevel (initially only errors) and then the server's level decide which lines
   come: RTMP_LOGCRIT and ERROR as RR_LOG_ERROR, WARNING, INFO and DEBUG under these names, DEBUG2 and ALL as
   RR_LOG_TRACE; RTMP_LogPrintf as RR_LOG_INFO and RTMP_LogStatus as RR_LOG_DEBUG, one line for each of their lines.
   Keys and tokens are not hidden in these lines. One server of the process gets them, the last that asked, until it
   is freed.

   Lines that a log function itself logs by RTMP_Log go where librtmp's own calls say. So a log function that only
   calls RTMP_Log(level, "%s: %s", module, line) sends the server's lines to librtmp's callback or output instead;
   the levels have the same numbers there. (A host that takes RR_EV_LOG by rr_event_next must not log it by RTMP_Log:
   each line would cause the next.)
   Returns: RR_OK; RR_ERR_ARG: on is neither 0 nor 1; RR_ERR_UNSUPPORTED: the library was built without librtmp's
   interface. */
RR_API int rr_server_log_librtmp(rr_server *s, int on);

/* The ids of one kind (RR_KIND_STREAM, _SESSION or _TARGET): of the whole server if parent is 0, otherwise of that
   stream. The first cap ids are written to out, which may be NULL if cap is 0.
   Returns: How many there are, which may be more than cap; RR_ERR_ARG: no such kind; RR_ERR_NOT_FOUND: no such
   parent. */
RR_API int rr_server_list(rr_server *s, rr_id parent, int kind, rr_id *out, size_t cap);

/* ---- 2. events -------------------------------------------------------------------------------------------------- */

/* Take them, or the server's queue fills: then repeated states of one object are folded (start and end never are),
   RR_EV_OVERFLOW says how many, and at last nobody new is let in. Or give rr_server_config an on_event. */

/* A descriptor that is readable while an event waits, for the host's own loop (poll, epoll, libuv, asyncio). It may
   also be readable while no event waits. The host must not read or close it.
   Valid: Until rr_server_free, which closes it.
   Returns: The descriptor; RR_ERR_STATE: events come by on_event. */
RR_API int rr_event_fd(rr_server *s);

/* Takes the next event; *ev is NULL when there is none.
   Threads: One at a time; inside a callback only with a timeout_ms of 0.
   Waits: For an event, timeout_ms at most: 0 not at all, -1 for ever.
   Valid: *ev and its strings until the next rr_event_next on this server, from any thread, or rr_server_free.
   Returns: 1 an event, 0 none; RR_ERR_STATE: events come by on_event; RR_ERR_THREAD: another thread is taking
   events, or the call would wait inside a callback; RR_ERR_CLOSED: the server has stopped and all events have been
   taken. */
RR_API int rr_event_next(rr_server *s, const rr_event **ev, int timeout_ms);

/* Makes a waiting rr_event_next return 0, or the next call of it if none waits.
   Returns: RR_OK. */
RR_API int rr_event_wake(rr_server *s);

/* ---- 3. sessions: what others opened to us ---------------------------------------------------------------------- */

/* With ask set in rr_server_config, a peer waits at connect, publish or play until one of these answers it or ask_ms
   is over. Meanwhile its media waits in the socket; others do not notice. */

/* Allows a session that waits for an answer (RR_EV_CONNECT_ASK, _PUBLISH_ASK, _PLAY_ASK). d may be NULL: it is
   allowed as it asked.
   Returns: RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_STATE: it waits for no answer (this one came too late, or
   twice); RR_ERR_AGAIN: eight calls about it wait for its thread; RR_ERR_ARG or RR_ERR_VERSION: a wrong setting in
   d. */
RR_API int rr_session_allow(rr_server *s, rr_session id, const rr_decision *d);

/* Refuses a session that waits for an answer. code is the RTMP status code for the peer
   ("NetStream.Publish.Denied"), NULL means the usual one; text is for people, NULL for none.
   Returns: RR_OK; RR_ERR_NOT_FOUND, RR_ERR_STATE or RR_ERR_AGAIN as rr_session_allow; RR_ERR_ARG: code or text is
   not UTF-8. */
RR_API int rr_session_deny(rr_server *s, rr_session id, const char *code, const char *text);

/* Redirects a session that waits for an answer to another server: at CONNECT_ASK as a redirect in the refusal, at
   PUBLISH_ASK and PLAY_ASK as a refusal, followed by a reconnect request if the peer understands it.
   Returns: RR_OK; RR_ERR_NOT_FOUND, RR_ERR_STATE or RR_ERR_AGAIN as rr_session_allow; RR_ERR_ARG: url is NULL or not
   UTF-8. */
RR_API int rr_session_redirect(rr_server *s, rr_session id, const char *url);

/* Asks a session's peer to connect again (Enhanced RTMP), to url, or to the same server if that is NULL. The peer
   leaves when it has done so; until then the session goes on. text is for people, NULL for none.
   Returns: RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_UNSUPPORTED: the peer did not announce that it understands
   this; RR_ERR_AGAIN: eight calls about it wait for its thread; RR_ERR_ARG: url or text is not UTF-8. */
RR_API int rr_session_reconnect(rr_server *s, rr_session id, const char *url, const char *text);

/* Closes a session; its end comes as an event with RR_ERR_KICKED. What is on its way to a peer whose play has ended
   still arrives; it has two seconds for that. text is for people and logs, NULL for none. With ban_ms above 0, peers
   from its address may not do the same (publish or play) on the same stream for this long, and are told so; at most
   86400000. There may be 4096 bans at a time.
   Returns: RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_AGAIN: eight calls about it wait for its thread;
   RR_ERR_ARG: text is not UTF-8, or ban_ms is above a day; RR_ERR_STATE: with a ban, the session neither publishes
   nor plays, or its address is not known; RR_ERR_LIMIT: there are too many bans. On failure it is not closed. */
RR_API int rr_session_close(rr_server *s, rr_session id, const char *text, uint32_t ban_ms);

/* Exports a session that waits for an answer (RR_EV_CONNECT_ASK, _PUBLISH_ASK, _PLAY_ASK), publishes or plays, to be
   continued by another process or by another server of this process: *fd becomes its open connection, which the host
   then owns, and blob gets its state, of *len bytes, both for rr_session_import. Before the call *len is the room at
   blob: a few hundred bytes for a session that waits, for others somewhat more and the message that is half read or
   half sent; blob may be NULL if it is 0. The session ends here: its last event has the state RR_STATE_STOPPED and
   the error RR_OK, which no other end has. Its peer notices nothing, unless all descriptors of the connection are
   closed before it is imported, for example because the process that holds them ends: then the connection is closed.
   For its stream here an exported publisher is lost: its place is kept for grace_ms, and players get the rest of the
   log before they are told, unless the stream moves too (rr_stream_export, called before). The state may contain
   credentials (?args). Sessions over TLS cannot be exported. On failure *fd is -1, and the session stays here as
   before.
   Waits: Briefly, for the thread that owns the session. Where streams run in processes, for one that hangs until it
   is ended for that (worker_hung_ms).
   Returns: RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_STATE: it neither waits for an answer, publishes nor plays
   when this call is carried out, it is about to do something else, or its server ends; RR_ERR_LIMIT: there is too
   little room at blob, and *len becomes the size that is needed; RR_ERR_UNSUPPORTED: it is over TLS, it waits for an
   answer over HTTP, or hooks gave targets to the stream that it asks for; RR_ERR_AGAIN: eight calls about it wait
   for its thread, or an answer to it has just come. */
RR_API int rr_session_export(rr_server *s, rr_session id, int *fd, void *blob, size_t *len);

/* Continues a session that rr_session_export gave: fd is its connection, which the library owns from now on, also on
   failure, and blob its state of len bytes. An open question is asked here again: of this server's hooks, then of
   the host according to ask, with the whole of ask_ms; earlier decisions of hooks stay in force (name, start, kinds
   of media). About a session that publishes or plays no question is asked. A publisher publishes the stream of its
   name here, or stands by, according to that stream's publisher policy; its headers come before its next message,
   and its media continues without a gap. A player continues at the same message if its stream was imported before by
   rr_stream_import; otherwise it gets the rest of its last message, and begins as a new player does. One that plays
   several streams continues with all of them, and with the question about one more, which is asked again. In
   everything else it is like a session that was accepted here: it has an id of this server, and max_sessions,
   max_sessions_ip, bans and rr_server_set_access apply to it; its peer's address stays the same. User pointers are
   not transferred. The state is checked like any foreign input; its format has a version, so that processes with
   different versions of the library can exchange it.
   Returns: RR_OK; RR_ERR_ARG: fd is not a connected stream socket, or blob is not a session's state; RR_ERR_VERSION:
   the state has a newer format than this library reads; RR_ERR_LIMIT: max_sessions, max_sessions_ip or max_streams,
   a state larger than max_message allows, or connections come faster than the server takes them; RR_ERR_STATE: the
   server is stopping. For a session that publishes or plays also RR_ERR_EXISTS: the stream has a publisher, and its
   policy is to reject others; RR_ERR_REJECTED, RR_ERR_AUTH: a ban or rr_server_set_access refuses it. For one that
   plays several streams also RR_ERR_NOT_FOUND: one of them is not here, and none of its plays has begun;
   RR_ERR_UNSUPPORTED: streams have processes of their own here, and these are several. */
RR_API int rr_session_import(rr_server *s, int fd, const void *blob, size_t len);

/* ---- 4. streams ------------------------------------------------------------------------------------------------- */

/* Makes a stream that exists with or without peers, so that targets can be added before its publisher comes, or for
   rr_stream_write. If the stream exists already, its id is returned and it no longer ends with its publisher. cfg
   may be NULL: the server's settings.
   Returns: RR_OK; RR_ERR_EXISTS: it exists and cfg is given; RR_ERR_LIMIT: max_streams; RR_ERR_STATE: the server is
   stopping; RR_ERR_ARG: a name is NULL or longer than 4096 bytes, or a part of app/key is "." or ".."; RR_ERR_ARG or
   RR_ERR_VERSION: a wrong setting in cfg. */
RR_API int rr_stream_create(
    rr_server *s, const char *app, const char *key, const rr_stream_config *cfg, rr_stream *out);

/* Finds the id of a stream by application and key.
   Returns: RR_OK; RR_ERR_NOT_FOUND: no such stream; RR_ERR_ARG: a name is NULL or longer than 4096 bytes. */
RR_API int rr_stream_find(rr_server *s, const char *app, const char *key, rr_stream *out);

/* Stops a stream: its publisher is closed, and players and targets have deadline_ms to take the remaining media.
   Returns at once; STOPPED comes as an event.
   Returns: RR_OK; RR_ERR_NOT_FOUND: it has ended. */
RR_API int rr_stream_stop(rr_server *s, rr_stream id, unsigned int deadline_ms);

/* Exports a stream, to be continued by another process or by another server of this process: blob gets its state, of
   *len bytes: its name and settings, what new players begin with (headers, cached group), and the messages that its
   players and targets have not got yet. Before the call *len is the room at blob, which may be NULL if it is 0. The
   state has at most queue_bytes, the stream's or the largest of its targets, and gop_bytes together, and some KiB.
   For hold_ms the stream is on hold: its publisher is not read and waits, and messages that came before go to the
   players. In that time export its targets by rr_target_export, and its sessions by rr_session_export, the publisher
   and the players, and then stop the stream. Sessions and targets that are still here after that time continue here,
   and a publisher that has moved is then lost. User pointers are not transferred. On failure the stream is on hold
   only if it was before.
   Waits: For the stream's thread, which answers between two turns of its peers: for a moment. Where streams run in
   processes, for one that hangs until it is ended for that (worker_hung_ms).
   Returns: RR_OK; RR_ERR_NOT_FOUND: no such stream; RR_ERR_LIMIT: there is too little room at blob, and *len becomes
   the size that is needed, or the process has no thread or descriptor left; RR_ERR_ARG: hold_ms is 0 or above a
   minute; RR_ERR_STATE: the stream is stopping; RR_ERR_NOMEM: the process has no memory left. Where streams run in
   processes (RR_ISOLATE_PROCESS) also RR_ERR_WORKER: its process ends, or does not answer; RR_ERR_AGAIN: its process
   is just ending, goes to another server, or may not be started. */
RR_API int rr_stream_export(rr_server *s, rr_stream id, unsigned int hold_ms, void *blob, size_t *len);

/* Continues a stream that rr_stream_export gave, len bytes at blob: it exists at once, with the same settings, and
   out, which may be NULL, gets its id. Import its targets and sessions afterwards, in any order, by rr_target_import
   and rr_session_import: the publisher continues where the log ends, and each player and target at its own message,
   so none of them misses a message or gets one twice. The stream waits ten seconds for them (or grace_ms, if that is
   longer); one that comes later, or was further behind than the state reaches, begins as a new one does. Publishers
   and sources that stood by get the publisher's place only if the publisher does not come.
   Waits: Where streams run in processes, for the start of the stream's own.
   Returns: RR_OK; RR_ERR_ARG: blob is not a stream's state, or its settings cannot be those of a stream of this
   server; RR_ERR_VERSION: the state has a newer format than this library reads; RR_ERR_EXISTS: a stream of that name
   exists already; RR_ERR_LIMIT: max_streams, mem_limit, a state of more than 2 GiB, or the process has no thread or
   descriptor left; RR_ERR_NOMEM: the process has no memory left; RR_ERR_STATE: the server is stopping. Where streams
   run in processes (RR_ISOLATE_PROCESS) also RR_ERR_WORKER: the new one ends; RR_ERR_AGAIN: it may not be started
   yet. */
RR_API int rr_stream_import(rr_server *s, const void *blob, size_t len, rr_stream *out);

/* Makes a standby publisher (RR_PUBLISHER_STANDBY) the live one, from its next key frame on; the previous one stands
   by from then on. source is its session, or a source of rr_stream_add_source.
   Returns: RR_OK; RR_ERR_NOT_FOUND: no such stream, or that session or source does not publish to it; RR_ERR_STATE:
   the host publishes it; a standby follows when the host ends. */
RR_API int rr_stream_switch(rr_server *s, rr_stream id, rr_id source);

/* Publishes a message, with the host as the publisher. Only type (8, 9, 18 or 15), ts_ms (not negative), data, len
   and RR_FRAME_END in flags are used; the body is copied and passed on unchanged. RR_FRAME_END, with or without a
   body, ends the publish.
   Threads: Any; messages that several threads write at the same time come in either order.
   Waits: For rr_server_handover, if one is under way and the host does not publish the stream yet.
   Returns: RR_OK; RR_ERR_NOT_FOUND: no such stream, or another process has it now; RR_ERR_EXISTS: a session
   publishes; RR_ERR_ARG: a wrong type, a negative ts_ms, a body larger than max_message, or f is not set up;
   RR_ERR_VERSION: f is newer than the library; RR_ERR_LIMIT: mem_limit, or the stream is on hold for
   rr_stream_export (the message may be written again later), or the process has no thread or descriptor left for the
   stream, or the stream's own process (RR_ISOLATE_PROCESS) does not take messages that fast; RR_ERR_NOMEM: the
   process has no memory left; RR_ERR_STATE: the stream is stopping; RR_ERR_WORKER, once: that process has ended, so
   the headers have to be written again; RR_ERR_AGAIN: it may be started again after a pause. */
RR_API int rr_stream_write(rr_server *s, rr_stream id, const rr_frame *f);

/* ---- 5. targets: what we open to others ------------------------------------------------------------------------- */

/* Pushes a stream to another server, whether the stream is live or not: the target connects when the stream has
   media, and reconnects by itself when it is lost. Media goes out after the other side has sent
   NetStream.Publish.Start. Changes of its state come as RR_EV_TARGET. The best time to add targets is the stream's
   first event (RR_EV_STREAM with prev RR_STATE_NONE): it comes once, and before the publisher's media.
   Waits: For the disk, if a url is rtmps: ca_file or the system's roots are read before it returns.
   Returns: RR_OK; RR_ERR_NOT_FOUND: no such stream; RR_ERR_LIMIT: 100000 targets, or the process has no thread or
   descriptor left for the stream; RR_ERR_NOMEM: the process has no memory left; RR_ERR_STATE: the stream is
   stopping; RR_ERR_CERT: with rtmps, ca_file cannot be read or has no certificate, or the system has no roots;
   RR_ERR_ARG or RR_ERR_VERSION: another wrong setting in cfg. */
RR_API int rr_stream_add_target(rr_server *s, rr_stream id, const rr_target_config *cfg, rr_target *out);

/* Pulls a stream from another server, which then is the stream's publisher. A source waits while there is another
   publisher (with RR_PUBLISHER_STANDBY it is connected and stands by like a publisher; otherwise, and on demand, it
   is not connected), reconnects by itself when it is lost, and follows its server's redirects (at connect, or by a
   reconnect request). With RR_TARGET_ON_DEMAND it is connected only while there are players, with one pull for all
   of them, and for the stream's unwatched_ms after; players of a stream that the other server does not have are told
   so. It may be added at RR_EV_WANTED: the waiting players are served. A source that is not on demand keeps its
   stream, as a publisher would, but one that has brought no media gives way to a publisher (silent_ms). A pull in a
   loop, whose media would come from its own stream through one or more servers, is refused with RR_ERR_REJECTED and
   tried again; it works once another stream of the loop has a publisher. Changes of its state come as RR_EV_TARGET;
   rr_info_get, rr_stats_get, rr_target_update, rr_target_retry and rr_target_stop treat a source like a target.
   Waits: As rr_stream_add_target.
   Returns: RR_OK; RR_ERR_NOT_FOUND: no such stream; RR_ERR_LIMIT: 100000 targets and sources; RR_ERR_STATE: the
   stream is stopping; RR_ERR_CERT: as rr_stream_add_target; RR_ERR_UNSUPPORTED: a setting that only a target has,
   see rr_target_config; RR_ERR_ARG or RR_ERR_VERSION: another wrong setting in cfg. */
RR_API int rr_stream_add_source(rr_server *s, rr_stream id, const rr_target_config *cfg, rr_target *out);

/* Finds a target or source of a stream by url and key, as rr_target_config had them; key may be NULL there too. Of
   several it is the oldest, targets before sources. After rr_server_takeover and rr_target_import a host finds those
   again that it had in the other process, and gives them user pointers by rr_target_update.
   Returns: RR_OK; RR_ERR_NOT_FOUND: no such stream, or it has no such target; RR_ERR_ARG: url is NULL or not UTF-8,
   or key is longer than 4096 bytes. */
RR_API int rr_target_find(rr_server *s, rr_stream stream, const char *url, const char *key, rr_target *out);

/* Changes the settings of a target or source; cfg has all of them, as for rr_stream_add_target or
   rr_stream_add_source. A change of url, key, username, password, ca_file, pin_sha256, bind_addr, clock, chunk_size
   or RR_TARGET_INSECURE makes it reconnect at once; a source's stream and players stay meanwhile, for connect_ms or
   the stream's grace_ms, whichever is longer. Other settings change while it runs: media and tracks that are removed
   end now, those that are added begin at the next key frame; backup_urls and times apply from the next try on.
   Waits: As rr_stream_add_target.
   Returns: RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_CERT, RR_ERR_ARG, RR_ERR_VERSION or, for a source,
   RR_ERR_UNSUPPORTED: a wrong setting in cfg, as when it was added. On failure nothing changes. */
RR_API int rr_target_update(rr_server *s, rr_target id, const rr_target_config *cfg);

/* Starts the next try of a target now, if it waits for it or has failed.
   Returns: RR_OK; RR_ERR_NOT_FOUND: it has ended. */
RR_API int rr_target_retry(rr_server *s, rr_target id);

/* Stops a target; if connected, it has deadline_ms to take the remaining media. The stream and its other peers are
   not affected. Returns at once; STOPPED comes as an event.
   Returns: RR_OK; RR_ERR_NOT_FOUND: it has ended. */
RR_API int rr_target_stop(rr_server *s, rr_target id, unsigned int deadline_ms);

/* Exports a target or source, to be continued by another process or by another server of this process: *fd becomes
   its open connection, which the host then owns, or -1 where it has none that can move, and blob gets its state, of
   *len bytes, both for rr_target_import. Before the call *len is the room at blob, which may be NULL if it is 0: one
   or two kilobytes, and for a connected target also the message that is half sent. The state has its settings with
   all secrets, its counters, and the history of its tries: a target that waits goes on with what remains of its
   wait, one that is being connected is connected anew, and one that has failed stays so. A connected target keeps
   its connection, and its server notices nothing; so does a connected source, which in its stream is the publisher,
   or a standby, and is imported like those; over TLS it is connected anew, because the keys stay in their process,
   and misses what comes meanwhile. The target ends here: its last event has the state RR_STATE_STOPPED and no error,
   which no other end has. Its stream here goes on without it; export a stream first if it moves too
   (rr_stream_export). On failure *fd is -1, and the target stays here as before.
   Waits: Briefly, for the threads that own the target. Where streams run in processes, for one that hangs until it
   is ended for that (worker_hung_ms).
   Returns: RR_OK; RR_ERR_NOT_FOUND: it has ended; RR_ERR_STATE: it is being stopped, another call exports it, or its
   stream or its server ends; RR_ERR_LIMIT: there is too little room at blob, and *len becomes the size that is
   needed. Where streams run in processes (RR_ISOLATE_PROCESS) also RR_ERR_AGAIN: the stream's process is just
   ending, or goes to another server. */
RR_API int rr_target_export(rr_server *s, rr_target id, int *fd, void *blob, size_t *len);

/* Continues a target or source that rr_target_export gave: fd is its connection, which the library owns from now on,
   also on failure, or -1 where there was none, and blob its state of len bytes. It goes on with the stream of the
   same name, which must exist here; out, which may be NULL, gets its id. A connected target continues at the same
   message if its stream was imported before by rr_stream_import and it comes within the same time as the players;
   otherwise its server gets the rest of its last message, and then what a newly connected one gets. Its counters go
   on, and so do its waits. User pointers are not transferred. The state is checked like any foreign input; its
   format has a version, so that processes with different versions of the library can exchange it.
   Waits: As rr_stream_add_target.
   Returns: RR_OK; RR_ERR_NOT_FOUND: its stream is not here; RR_ERR_ARG: fd is neither -1 nor a connected stream
   socket, blob is not a target's state, or only one of them says that it is connected; RR_ERR_VERSION: the state has
   a newer format than this library reads; RR_ERR_LIMIT: 100000 targets, a state larger than max_message allows, or
   targets come faster than the server takes them; RR_ERR_CERT: as rr_stream_add_target; RR_ERR_UNSUPPORTED: a source
   with a setting that only a target has; RR_ERR_EXISTS: a connected source, and its stream has a publisher for which
   it may not stand by; RR_ERR_REJECTED: a connected source whose media would come from its own stream; RR_ERR_NOMEM:
   the process has no memory left; RR_ERR_STATE: the server or the stream is stopping. */
RR_API int rr_target_import(rr_server *s, int fd, const void *blob, size_t len, rr_target *out);

/* ---- 6. any id -------------------------------------------------------------------------------------------------- */

/* The facts of an object, by its id; 0 is the server. size is the caller's sizeof.
   Valid: The strings until the next rr_info_get on this thread, or the thread's end.
   Returns: RR_OK; RR_ERR_NOT_FOUND: no such id, or it has ended; RR_ERR_ARG: size is not the size of a struct;
   RR_ERR_THREAD: the thread is ending and can keep no strings. */
RR_API int rr_info_get(rr_server *s, rr_id id, rr_info *out, size_t size);

/* An object's counters, by its id; 0 is the server. size is the caller's sizeof.
   Returns: RR_OK; RR_ERR_NOT_FOUND: no such id, or it has ended; RR_ERR_ARG: size is not the size of a struct. */
RR_API int rr_stats_get(rr_server *s, rr_id id, rr_stats *out, size_t size);

/* The server's counters: rr_stats_get with id 0.
   Returns: RR_OK; RR_ERR_ARG: size is not the size of a struct. */
RR_API int rr_server_stats(rr_server *s, rr_stats *out, size_t size);

/* ---- 7. workers: processes with one stream each ----------------------------------------------------------------- */

/* For hosts with isolate = RR_ISOLATE_PROCESS whose worker is a program of their own. Others need no call: the
   library brings rrelay-worker. */

/* Carries one stream of the server that started this process, and returns when the stream has ended. Call it first
   of all in main, where the program is the worker of its own server, and before any thread is started:

   int code = rr_worker_main(argc, argv);

   if (code != RR_ERR_ARG) return code < 0 ? 1 : code;

   From here on the process ends with the one that started it, unless that has a worker_dir, and ignores SIGHUP,
   SIGINT, SIGTERM, SIGUSR1, SIGUSR2 and SIGPIPE: its end is that process's affair.
   Threads: The thread of main, which it keeps. A process is a worker once.
   Waits: For the end of the stream.
   Returns: The status for main to return; RR_ERR_ARG: these are not the arguments of a worker, so the program goes
   on as usual; RR_ERR_STATE: the server that started it has ended; RR_ERR_IO: the system refused a call;
   RR_ERR_VERSION: the server runs another version of the library; another error: why the stream could not run. */
RR_API int rr_worker_main(int argc, char *const *argv);

/* ---- 8. control by HTTP ----------------------------------------------------------------------------------------- */

/* Off until rr_rest_listen. The same is done here by HTTP as by the calls above; no media passes through it. */

/* Serves control by HTTP on an address: "127.0.0.1:8080", "[::1]:8080", "0.0.0.0:8080"; a port without an address
   ("8080", ":8080") means loopback, port 0 takes any free one. Requests carry token as "Authorization: Bearer
   TOKEN"; it has 8 to 256 visible ASCII characters (rr_rest_token makes one). /v1/openapi.json lists the requests.
   flags are RR_REST_*. Each address has a thread of its own, separate from media. It may be called several times,
   with different tokens.
   Returns: The port; RR_ERR_ARG: not an address, or no token; RR_ERR_IO: the system refused the address (in use, no
   permission); RR_ERR_LIMIT: the process has no thread or descriptor left; RR_ERR_UNSUPPORTED: the library was built
   without it. */
RR_API int rr_rest_listen(rr_server *s, const char *addr, const char *token, unsigned int flags);

/* Reads or makes a token for rr_rest_listen: the one in file, without surrounding white space. If there is no such
   file, a new token is written to one that only its owner may read; without file (NULL) each call makes a new token
   and stores it nowhere. out has size bytes, including the NUL; RR_TOKEN_BYTES are always enough. No server is
   needed.
   Waits: For the disk, if file is given.
   Returns: RR_OK; RR_ERR_ARG: the file holds no token, or out is too small for it; RR_ERR_IO: the file can neither
   be read nor created; RR_ERR_UNSUPPORTED: the library was built without it. */
RR_API int rr_rest_token(const char *file, char *out, size_t size);

/* Ends control by HTTP on all addresses.
   Waits: For its threads; requests in progress have half a second.
   Returns: RR_OK, also if nothing listens; RR_ERR_UNSUPPORTED: the library was built without it. */
RR_API int rr_rest_stop(rr_server *s);

/* Answers one request for a host that has its own web server; the host must have authorised it. path begins with a
   slash and may have a query; body may be NULL if len is 0. *out is the answer's body with a NUL after it, *out_len
   its length without the NUL. The request is carried out on the calling thread.
   Waits: As the calls that the request stands for.
   Valid: *out until rr_free; the caller owns it.
   Returns: The HTTP status; RR_ERR_ARG: not a method or path; RR_ERR_LIMIT: the body is longer than 256 KiB;
   RR_ERR_NOMEM; RR_ERR_UNSUPPORTED: the library was built without it. On failure *out is NULL. */
RR_API int rr_rest_handle(
    rr_server *s, const char *method, const char *path, const char *body, size_t len, char **out, size_t *out_len);

/* Frees an answer of rr_rest_handle; each answer is freed once. p may be NULL; no server is needed. */
RR_API void rr_free(void *p);

/* Sets the back ends that are asked by HTTP whether peers may connect, publish or play, and are notified of the
   outcome. It may be called again to replace them; publishes and plays that have begun keep the back ends with which
   they began. NULL removes all; notifications that are still waiting then have two seconds, as at rr_server_free.

   Hooks are asked before the host: RR_EV_CONNECT_ASK, RR_EV_PUBLISH_ASK and RR_EV_PLAY_ASK come for sessions that
   hooks allow, with the name that the hooks gave, and the host's decision is combined with theirs. Until then the
   session's state does not change (RR_STATE_HANDSHAKE, or RR_STATE_IDLE after an earlier publish or play), and
   answers of the host give RR_ERR_STATE. A session that is allowed with targets gets all of them or is refused; a
   target that its stream has already, with the same url and key, is not added again.

   For each publish and play that began while hooks were set, on_publish_done or on_play_done is notified once, after
   the last update, unless its tries fail for retry_ms, the hooks are removed before it ends, or 100000 others were
   followed when it began. For one that moves to another process, the hooks of that process are. At most 4096
   notifications wait for another try. One thread of the library sends all requests; a slow back end delays only the
   sessions that it was asked about.
   Waits: For the disk, if an address is https: ca_file or the system's roots are read. With NULL, for that thread,
   two seconds at most.
   Returns: RR_OK; RR_ERR_ARG or RR_ERR_VERSION: a wrong setting in cfg; RR_ERR_UNSUPPORTED: a setting that only
   RR_HOOKS_NGINX has, or the library was built without hooks; RR_ERR_CERT: with https, ca_file cannot be read or has
   no certificate, or the system has no roots; RR_ERR_LIMIT: the process has no thread or descriptor left. On failure
   nothing changes. */
RR_API int rr_hooks_set(rr_server *s, const rr_hooks_config *cfg);

/* Sets the controllers that are asked by HTTP where streams go next; NULL removes them. docs/controller.md has the
   protocol. A controller is asked when a session is about to publish a stream that has no publisher (after hooks and
   the host; the session waits), when a session wants to play a stream that nothing feeds (likewise), when a target
   or source that a controller has named is lost, and by rr_controller_ask. Its answer is carried out and reported by
   RR_EV_NEXT.

   If no controller gives a valid answer, the last answer about the stream is used while it is valid; otherwise
   everything goes on as if there were no controller, and the question is asked again after ten seconds. Running
   streams, targets and sources are not touched. One thread of the library asks, and sends heartbeats.
   Waits: For the disk, if an address is https: ca_file or the system's roots are read. With NULL, for that thread,
   two seconds at most.
   Returns: RR_OK; RR_ERR_ARG or RR_ERR_VERSION: a wrong setting in cfg; RR_ERR_CERT: with https, ca_file cannot be
   read or has no certificate, or the system has no roots; RR_ERR_LIMIT: the process has no thread or descriptor
   left; RR_ERR_UNSUPPORTED: the library was built without it. On failure nothing changes. */
RR_API int rr_controller_set(rr_server *s, const rr_controller_config *cfg);

/* Asks the controller about a stream, with a word of the host as the reason: 1 to 64 letters, digits or any of _-..
   The answer is carried out like one to the library's own questions and comes as RR_EV_NEXT; RR_NEXT_REJECT only
   comes as the event. After RR_NEXT_WAIT the question is asked again when the time has come.
   Returns: RR_OK: the question has been sent; RR_ERR_ARG: why is not such a word; RR_ERR_NOT_FOUND: no such stream;
   RR_ERR_STATE: there is no controller; RR_ERR_AGAIN: an earlier question about the stream has no answer yet;
   RR_ERR_UNSUPPORTED: the library was built without it. */
RR_API int rr_controller_ask(rr_server *s, rr_stream stream, const char *why);

/* ---- 10. helper ------------------------------------------------------------------------------------------------- */

/* Reads the facts of a message body that joining needs: key frame, sequence header, metadata, codec, track. type is
   the RTMP message type. A body that cannot be read has no flags and no codec. Set up out with RR_INIT(RR_CFG_FRAME,
   out) before; its data becomes the given pointer. No server is needed.
   Returns: RR_OK; RR_ERR_ARG: data is NULL and len is not 0, or out is not set up; RR_ERR_VERSION: out is newer than
   the library and has unknown fields set. */
RR_API int rr_frame_parse(uint8_t type, const void *data, size_t len, rr_frame *out);

#ifdef __cplusplus
} /* extern "C" */
#endif

#ifdef __cplusplus
/* For RR_TYPE_OF. They have no definition and need none. */
char (&rr_config_type_of(const rr_server_config *))[RR_CFG_SERVER + 1];
char (&rr_config_type_of(const rr_stream_config *))[RR_CFG_STREAM + 1];
char (&rr_config_type_of(const rr_target_config *))[RR_CFG_TARGET + 1];
char (&rr_config_type_of(const rr_decision *))[RR_CFG_DECISION + 1];
char (&rr_config_type_of(const rr_frame *))[RR_CFG_FRAME + 1];
char (&rr_config_type_of(const rr_hooks_config *))[RR_CFG_HOOKS + 1];
char (&rr_config_type_of(const rr_controller_config *))[RR_CFG_CONTROLLER + 1];
char (&rr_config_type_of(const void *))[1];
#endif

#endif /* RRELAY_H */
