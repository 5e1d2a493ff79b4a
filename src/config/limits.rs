//! Limits and times that cannot be set: each name has the unit, each comment the reason for the value.

/// Our outgoing chunk size in bytes. 60000 is below 65536, which some servers do not accept, and large enough that
/// nearly every message is one chunk.
pub const CHUNK_SIZE: u32 = 60_000;

/// The window we announce to peers and expect acknowledgements for, in bytes; other servers use the same.
pub const WINDOW_ACK_BYTES: u32 = 5_000_000;

/// Largest message taken from a peer. A 4K key frame at 100 Mbit/s stays below 4 MiB; the format's limit is 16 MiB - 1.
pub const MAX_MESSAGE_BYTES: u32 = 16 * 1024 * 1024 - 1;

/// Bytes of all half-read messages of one connection together: one message of the largest size, and some more.
pub const MAX_OPEN_BYTES: usize = 20 * 1024 * 1024;

/// Half-read bytes of a connection that has not been allowed to publish or play: commands are small.
pub const MAX_OPEN_BYTES_COMMAND: usize = 256 * 1024;

/// Chunk streams one connection may use. Real encoders use fewer than ten, multitrack ones some dozens.
pub const MAX_CHUNK_STREAMS: usize = 64;

/// Stack of every thread of ours: deep enough for the flat code here, small enough for thousands of threads.
pub const THREAD_STACK_BYTES: usize = 256 * 1024;

/// Bytes read from one socket before the next socket is served.
pub const READ_BUDGET_BYTES: usize = 256 * 1024;

/// Bytes with which a publisher is read although all its consumers collect: as many as one read takes. Systems report a socket
/// with fewer, too, when they leave its peer no window.
pub const UNREAD_BYTES: u32 = 64 * 1024;

/// The scratch buffer of a thread that reads sockets.
pub const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Bytes read in one turn from players, targets and pending peers, which send little: the other connections wait
/// meanwhile. A message may have a single byte, so this bounds the number of messages too.
pub const READ_LITTLE_BYTES: usize = 2 * 1024;

/// Bytes a consumer's socket may hold unsent in the kernel (`TCP_NOTSENT_LOWAT`): without it the kernel hides the lag.
pub const NOTSENT_LOWAT_BYTES: u32 = 128 * 1024;

/// Longest log line in bytes: four times the length of an error with an address, a masked url and a sentence. The rest
/// is cut.
pub const LOG_LINE_BYTES: usize = 1024;

/// Log lines of one server that may wait for its sink: enough for a burst at debug level, and at most 1 MiB.
pub const LOG_LINES: usize = 1024;

/// Identical log lines within this time come once, with a count.
pub const LOG_REPEAT_MS: u64 = 1_000;

/// Different log lines watched for repeats at one time. More different failures at once are rare.
pub const LOG_REPEAT_LINES: usize = 32;

/// How long a change of log sinks waits for the old sink to return from the host's code.
pub const LOG_SINK_SWITCH_MS: u64 = 2_000;

/// How long a server that is freed without a stop waits for the host's code in the event thread.
pub const EVENT_THREAD_DROP_MS: u32 = 1_000;

/// How long a publisher may be above `max_kbps`: an encoder's peak at a scene change is over by then.
pub const OVER_RATE_MS: u64 = 10_000;

/// Most publishers that stand by on one stream: more than a backup and a backup of that.
pub const MAX_STANDBYS: usize = 4;

/// Longest name of an application or a stream, in bytes. Signed queries of CDNs, which may be part of it, stay below 2
/// KiB.
pub const MAX_NAME_BYTES: usize = 4096;

/// Most bytes that are kept of what a peer says about itself: its program, its page and the program in that. Real ones are
/// seldom half as long.
pub const MAX_STATEMENT_BYTES: usize = 512;

/// Most bytes that are kept of the url that a peer dialled, before its arguments.
pub const MAX_TC_URL_BYTES: usize = 1024;

/// Longest url of a setting, in bytes; no text of a setting is longer.
pub const MAX_URL_BYTES: usize = 8192;
