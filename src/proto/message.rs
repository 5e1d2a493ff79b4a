//! A message's head and the numbers of its types (specification 5.4, 6.1.1, 7.1).

use minicbor::{Decode, Encode};

/// Message type ids.
pub mod kind {
    /// Set Chunk Size (5.4.1).
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort Message (5.4.2).
    pub const ABORT: u8 = 2;
    /// Acknowledgement (5.4.3).
    pub const ACK: u8 = 3;
    /// User Control Message (7.1.7).
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size (5.4.4).
    pub const WINDOW_ACK: u8 = 5;
    /// Set Peer Bandwidth (5.4.5).
    pub const PEER_BANDWIDTH: u8 = 6;
    /// Audio (7.1.4).
    pub const AUDIO: u8 = 8;
    /// Video (7.1.5).
    pub const VIDEO: u8 = 9;
    /// Data, AMF3 (7.1.2): in practice a format byte 0 and AMF0.
    pub const DATA_AMF3: u8 = 15;
    /// Command, AMF3 (7.1.1): in practice a format byte 0 and AMF0.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data, AMF0 (7.1.2).
    pub const DATA: u8 = 18;
    /// Command, AMF0 (7.1.1).
    pub const COMMAND: u8 = 20;
    /// Aggregate (7.1.6).
    pub const AGGREGATE: u8 = 22;
}

/// Whether messages of this type carry media: audio, video or data.
pub fn is_media(type_id: u8) -> bool {
    matches!(type_id, kind::AUDIO | kind::VIDEO | kind::DATA | kind::DATA_AMF3)
}

/// Everything about a message except its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Encode, Decode)]
pub struct MessageHead {
    /// Milliseconds, absolute, wrapping at 2^32.
    #[n(0)]
    pub timestamp_ms: u32,
    /// One of [`kind`], or another number that the peer sent.
    #[n(1)]
    pub type_id: u8,
    /// Message stream id.
    #[n(2)]
    pub stream_id: u32,
    /// Bytes of the body.
    #[n(3)]
    pub len: u32,
    /// The chunk stream that the message came on, or goes out on.
    #[n(4)]
    pub chunk_stream: u32,
}
