//! Limits and times that nobody sets: the unit is in the name, the value stands beside its reason.

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

/// Bytes read from one socket before the next socket is served.
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

/// Longest name of an application or a stream, in bytes: what fits an AMF0 string many times over and a log line.
pub const MAX_NAME_BYTES: usize = 4096;
