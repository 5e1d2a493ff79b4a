//! The stream that is published: 30 pictures and 47 sounds a second at 2 Mbit/s, a key frame every two seconds. The bodies
//! begin as H.264 and AAC do and go on with the moment at which they were sent.

use rrelay::proto::chunk_write;
use rrelay::proto::message::{MessageHead, kind};

/// Microseconds between two pictures and between two sounds (1024 samples at 48 kHz).
const VIDEO_US: u64 = 33_333;
const AUDIO_US: u64 = 21_333;

/// Pictures from one key frame to the next, and what each kind of message weighs.
const GROUP: u64 = 60;
const KEY_BYTES: usize = 39_000;
const PICTURE_BYTES: usize = 7_270;
const SOUND_BYTES: usize = 341;

/// Where the moment of sending stands in a body: after the codec's own bytes.
const VIDEO_LEAD: &[u8] = &[0x27, 1, 0, 0, 0];
const AUDIO_LEAD: &[u8] = &[0xAF, 1];

/// The chunk size it is published with: every message is one chunk.
pub(crate) const CHUNK_SIZE: u32 = rrelay::config::CHUNK_SIZE;

/// What the stream weighs without chunk headers.
pub(crate) fn bits_per_second() -> f64 {
    let group_bytes = KEY_BYTES + (GROUP as usize - 1) * PICTURE_BYTES;
    8e6 * (group_bytes as f64 / (GROUP * VIDEO_US) as f64 + SOUND_BYTES as f64 / AUDIO_US as f64)
}

/// Messages of both kinds.
pub(crate) fn messages_per_second() -> f64 {
    1e6 / VIDEO_US as f64 + 1e6 / AUDIO_US as f64
}

/// Makes the messages as their time comes.
pub(crate) struct Media {
    stream_id: u32,
    pictures: u64,
    sounds: u64,
    body: Vec<u8>,
}

impl Media {
    pub(crate) fn new(stream_id: u32) -> Self {
        Self { stream_id, pictures: 0, sounds: 0, body: Vec::new() }
    }

    /// Metadata and sequence headers.
    pub(crate) fn headers(&self, out: &mut Vec<u8>) {
        let metadata = b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x08\x00\x00\x00\x01\x00\x05width\x00\x40\x94\x00\x00\x00\x00\x00\x00\x00\x00\x09";
        let avc = b"\x17\x00\x00\x00\x00\x01\x42\xC0\x1E\xFF\xE1\x00\x04\x67\x42\xC0\x1E\x01\x00\x02\x68\xCE";
        self.put(kind::DATA, 5, 0, metadata, out);
        self.put(kind::VIDEO, 6, 0, avc, out);
        self.put(kind::AUDIO, 4, 0, b"\xAF\x00\x11\x90", out);
    }

    /// When the next message is due, in microseconds from the beginning.
    pub(crate) fn due_us(&self) -> u64 {
        (self.pictures * VIDEO_US).min(self.sounds * AUDIO_US)
    }

    /// The message that is due, stamped with `now_ns`.
    pub(crate) fn next(&mut self, now_ns: u64, out: &mut Vec<u8>) {
        let due_us = self.due_us();
        let ts_ms = (due_us / 1000) as u32;
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        if self.pictures * VIDEO_US == due_us {
            let key = self.pictures.is_multiple_of(GROUP);
            body.extend_from_slice(VIDEO_LEAD);
            body[0] = if key { 0x17 } else { 0x27 };
            body.extend_from_slice(&now_ns.to_be_bytes());
            body.resize(if key { KEY_BYTES } else { PICTURE_BYTES }, 0x55);
            self.pictures += 1;
            self.put(kind::VIDEO, 6, ts_ms, &body, out);
        } else {
            body.extend_from_slice(AUDIO_LEAD);
            body.extend_from_slice(&now_ns.to_be_bytes());
            body.resize(SOUND_BYTES, 0xAA);
            self.sounds += 1;
            self.put(kind::AUDIO, 4, ts_ms, &body, out);
        }
        self.body = body;
    }

    fn put(&self, type_id: u8, chunk_stream: u32, timestamp_ms: u32, body: &[u8], out: &mut Vec<u8>) {
        let head =
            MessageHead { timestamp_ms, type_id, stream_id: self.stream_id, len: body.len() as u32, chunk_stream };
        chunk_write::encode(&head, body, CHUNK_SIZE, out);
    }
}

/// The moment at which a message was sent; `None` for what is no frame.
pub(crate) fn sent_ns(type_id: u8, body: &[u8]) -> Option<u64> {
    let lead = match (type_id, body) {
        (kind::VIDEO, [_, 1, ..]) => VIDEO_LEAD.len(),
        (kind::AUDIO, [_, 1, ..]) => AUDIO_LEAD.len(),
        _ => return None,
    };
    let stamp: [u8; 8] = body.get(lead..lead + 8)?.try_into().ok()?;
    Some(u64::from_be_bytes(stamp))
}
