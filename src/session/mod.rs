//! One conversation, still without I/O: [`ServerSession`] for who was connected to, [`ClientSession`] for who connects,
//! both in RTMP; [`HttpSession`] for a player who came by HTTP.
//!
//! A session owns the handshake, the chunk reader and the answers to commands; it has no socket, thread or clock,
//! and does not touch media. Whoever drives it keeps to one rule: *feed bytes with `next` until it gives `None`, then
//! send the output, then read again.*
//!
//! ```text
//! let mut at = 0;
//! while let Some(event) = session.next(&input, &mut at, now_ms)? { handle(event) }   // the same `input` until None
//! send(session.take_output());
//! ```
//!
//! - `input` stays the same slice while `at` moves, until `next` gives `None` or an event other than `Message`; then
//!   the rest may lie elsewhere, which is the moment to hand a connection over. A session moves with its half-read
//!   messages.
//! - `Connect`, `Publish` and `Play` are questions: until the answer is given, `next` fails and takes nothing.
//! - An error ends the session. The output may still hold a last word for the peer.
//! - Output goes to the wire between media messages, never inside one. A driver sends media beside the output, or
//!   leaves that to the session with `send_message`.
//! - Between any two events a session can go on elsewhere, in another thread by moving there, in another process by
//!   `snapshot` and `restore`; there not before the handshake is over. Input that `next` has not taken goes with it by
//!   other means, and so does what the driver sends itself.
//! - Time is a monotonic millisecond count, given with each call. At the moment that `next_timeout` names the driver
//!   calls `handle_timeout`; deadlines and pings are decided there and nowhere else.
#![forbid(unsafe_code)]

mod client;
mod flow;
mod http;
mod inbound;
mod protocol;
mod said;
mod server;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod timers;

pub use client::{ClientSession, Refusal};
pub use http::{FlvForm, HttpSession};
pub use inbound::Inbound;
pub use said::Said;
pub use server::{ConnectInfo, ServerSession};
pub use state::{Role, State};
pub use timers::{PINGS_LOST, Timing};

use crate::config;
use crate::error::RRError;
use crate::proto::chunk_read::ReadLimits;
use crate::proto::command::{CAPS_MODEX, CAPS_MULTITRACK, CAPS_NANO};
use crate::proto::message::MessageHead;

/// Settings of one session.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Largest message taken from the peer, in bytes.
    pub max_message: u32,
    /// Bytes of all half-read messages of a peer that sends us media; others get
    /// [`config::MAX_OPEN_BYTES_COMMAND`].
    pub max_open_bytes: usize,
    /// Chunk streams the peer may use.
    pub max_chunk_streams: usize,
    /// Our outgoing chunk size in bytes.
    pub chunk_size: u32,
    /// The window we announce, in bytes.
    pub window_ack: u32,
    /// Deadlines and pings.
    pub timing: Timing,
    /// The parts of Enhanced RTMP that we offer (`CAPS_*`). A driver that acts on reconnect requests adds
    /// `CAPS_RECONNECT`.
    pub caps_ex: u32,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            max_message: config::MAX_MESSAGE_BYTES,
            max_open_bytes: config::MAX_OPEN_BYTES,
            max_chunk_streams: config::MAX_CHUNK_STREAMS,
            chunk_size: config::CHUNK_SIZE,
            window_ack: config::WINDOW_ACK_BYTES,
            timing: Timing::default(),
            caps_ex: CAPS_MULTITRACK | CAPS_MODEX | CAPS_NANO, // media passes untouched, whatever is in it
        }
    }
}

impl SessionConfig {
    /// The most bytes that a session's snapshot may have under these settings.
    pub(crate) fn snapshot_bytes_max(&self) -> usize {
        snapshot::bytes_max(self)
    }

    /// For a peer that sends media, or else commands only.
    fn limits(&self, takes_media: bool) -> ReadLimits {
        let bytes = if takes_media { self.max_open_bytes } else { config::MAX_OPEN_BYTES_COMMAND };
        let message = if takes_media { self.max_message } else { u32::try_from(bytes).unwrap_or(u32::MAX) };
        ReadLimits {
            max_message: self.max_message.min(message),
            max_open_bytes: self.max_open_bytes.min(bytes),
            max_chunk_streams: self.max_chunk_streams,
        }
    }
}

/// Events of a session. Stream ids are message stream ids of this connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Server: `connect` came; its fields are at [`ServerSession::connect`]. Answer with `accept_connect` or
    /// `reject_connect`.
    Connect,
    /// Server: the peer wants to publish. Answer with `accept_publish` or `reject_stream`.
    Publish {
        /// The stream.
        stream_id: u32,
        /// The key as sent, query included.
        key: Vec<u8>,
        /// `live`, `record`, `append` or what came.
        kind: Vec<u8>,
    },
    /// Server: the peer wants to play. Answer with `accept_play` or `reject_stream`. Where that stream plays already,
    /// the old play has ended with this event.
    Play {
        /// The stream.
        stream_id: u32,
        /// The key as sent, query included.
        key: Vec<u8>,
        /// Where to begin; -2000: live or else recorded, -1000: live only.
        start_ms: i64,
        /// How much; negative: to the end.
        duration_ms: i64,
        /// False where it follows an earlier play.
        reset: bool,
    },
    /// A media message, or one of a type not known here, from a peer that may send such. The body is at `body`.
    Message(MessageHead),
    /// Server: the publish ended; the connection goes on.
    EndPublish {
        /// The stream.
        stream_id: u32,
    },
    /// Server: the play ended; the connection goes on.
    EndPlay {
        /// The stream.
        stream_id: u32,
    },
    /// Server: the player paused or went on; it has been answered.
    Pause {
        /// The stream.
        stream_id: u32,
        /// True pauses.
        on: bool,
        /// The player's position.
        at_ms: i64,
    },
    /// Server: the player wants audio or video, or no longer wants it.
    Receive {
        /// The stream.
        stream_id: u32,
        /// Audio on or off, if it was about audio.
        audio: Option<bool>,
        /// Video on or off, if it was about video.
        video: Option<bool>,
    },
    /// Server: the peer's request needed no driver and has been answered; nothing more comes of it.
    Answered {
        /// What it was.
        error: RRError,
        /// The same for people.
        text: String,
    },
    /// Server: the host has had the question for as long as it may (see `asked`), and has not answered. The driver
    /// answers for it.
    Unanswered,
    /// Client: the server took the connection.
    Connected,
    /// Client: the publish or play runs. Again after [`Event::Ended`], where a server's publisher comes back.
    Started {
        /// The stream id the server gave; ours go out with it.
        stream_id: u32,
    },
    /// Client: the server ended the stream in good order.
    Ended {
        /// Its code, or `StreamEOF`, or `close`.
        code: String,
        /// Its words.
        text: String,
    },
    /// Client: through which streams what we play comes, with commas between; before `Started`, and when that changes.
    Via(Vec<u8>),
    /// Client: the server wants us to connect again.
    Reconnect {
        /// Where to; `None`: here.
        url: Option<String>,
        /// Its words.
        text: String,
    },
}
