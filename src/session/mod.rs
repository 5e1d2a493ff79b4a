//! One conversation, without I/O: [`ServerSession`] for an RTMP connection that a peer opened to us, [`ClientSession`]
//! for one that we opened, [`HttpSession`] for a player over HTTP.
//!
//! A session owns the handshake, the chunk reader and the answers to commands; it has no socket, thread or clock, and
//! does not touch media. The code that drives a session follows one rule: *feed bytes with `next` until it gives
//! `None`, then send the output, then read again.*
//!
//! ```text
//! let mut at = 0;
//! while let Some(event) = session.next(&input, &mut at, now_ms)? { handle(event) }   // the same `input` until None
//! send(session.take_output());
//! ```
//!
//! - `input` stays the same slice while `at` moves, until `next` gives `None` or an event other than `Message`; after
//!   that the driver may pass the rest in another buffer, so this is the moment to hand a connection over. Half-read
//!   messages are part of the session and move with it.
//! - `Connect`, `Publish` and `Play` are questions: until the answer is given, `next` fails and takes nothing.
//! - An error ends the session. The output may still hold a last message for the peer.
//! - Output goes to the wire between media messages, never inside one. A driver sends media itself, or lets the session
//!   do so with `send_message`.
//! - Between any two events a session can move: to another thread as a value, and, once the handshake is over, to
//!   another process by `snapshot` and `restore`. The driver has to move input that `next` has not taken, and the media
//!   that it sends itself.
//! - Time is a monotonic millisecond count, given with each call. The driver calls `handle_timeout` at the moment that
//!   `next_timeout` names; a session decides about deadlines and pings only there.
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
pub(crate) use http::{STREAM_ID as HTTP_STREAM_ID, is_of_http};
pub use inbound::Inbound;
pub use said::Said;
pub(crate) use server::STREAMS_MAX as PLAYS_MAX;
pub use server::ServerSession;
pub use state::{Role, State};
pub use timers::{PINGS_LOST, Timing};

use crate::config;
use crate::error::RRError;
use crate::proto::chunk_read::ReadLimits;
use crate::proto::command::{CAPS_MODEX, CAPS_MULTITRACK, CAPS_NANO, CAPS_RECONNECT, Part};
use crate::proto::message::MessageHead;

/// Settings of one session.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Largest message taken from the peer, in bytes.
    pub max_message: u32,
    /// Most bytes of all half-read messages of a peer that sends us media; other peers get
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
    /// The parts of Enhanced RTMP that we offer (`CAPS_*`). A driver that can act on reconnect requests adds
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
            caps_ex: CAPS_MULTITRACK | CAPS_MODEX | CAPS_NANO, // media passes through untouched, whatever it contains
        }
    }
}

impl From<&config::ServerConfig> for SessionConfig {
    /// The settings of a server's sessions, apart from those that a target has of its own.
    fn from(config: &config::ServerConfig) -> Self {
        let usual = Self::default();
        // A draining server asks peers that understand it to reconnect, and targets and sources follow such requests.
        let caps_ex = usual.caps_ex | CAPS_RECONNECT;
        Self { max_message: config.max_message_bytes, timing: Timing::from(config), caps_ex, ..usual }
    }
}

impl SessionConfig {
    /// The most bytes that a session's snapshot may have under these settings.
    pub(crate) fn snapshot_bytes_max(&self) -> usize {
        snapshot::bytes_max(self)
    }

    /// These settings, with messages that may be at least so large.
    pub(crate) fn with_messages_of(&self, max_message: u32) -> Self {
        Self { max_message: self.max_message.max(max_message), ..self.clone() }
    }

    /// The limits for a peer that sends media, or for one that sends only commands.
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
        /// The publishing type: `live`, `record`, `append` or other text from the peer.
        kind: Vec<u8>,
    },
    /// Server: the peer wants to play. Answer with `accept_play` or `reject_stream`. If a play runs on that stream
    /// already, this event ends it.
    Play {
        /// The stream.
        stream_id: u32,
        /// The key as sent, query included.
        key: Vec<u8>,
        /// The part of the stream.
        part: Part,
    },
    /// A media message, or one of a type not known here, from a peer that may send media. The body is at `body`.
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
    /// Server: the player paused or resumed; the session has answered it.
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
        /// Audio on or off; `None`: the message was not about audio.
        audio: Option<bool>,
        /// Video on or off; `None`: the message was not about video.
        video: Option<bool>,
    },
    /// Server: the session has answered the peer's request without its driver; nothing more follows.
    Answered {
        /// The reason, as an error.
        error: RRError,
        /// The reason in words.
        text: String,
    },
    /// Server: the host's time to answer (see `asked`) is over. The driver answers in its place.
    Unanswered,
    /// Client: the server accepted the connection.
    Connected,
    /// Client: the publish or play runs. It comes again after [`Event::Ended`] when a server's publisher is back.
    Started {
        /// The stream id that the server gave; our messages go out with it.
        stream_id: u32,
    },
    /// Client: the server ended the stream normally.
    Ended {
        /// Its code, or `StreamEOF`, or `close`.
        code: String,
        /// Its text.
        text: String,
    },
    /// Client: the streams through which the played stream comes, separated by commas; before `Started`, and at each
    /// change.
    Via(Vec<u8>),
    /// Client: the server wants us to connect again.
    Reconnect {
        /// Where to connect; `None`: to the same url.
        url: Option<String>,
        /// Its text.
        text: String,
    },
}
