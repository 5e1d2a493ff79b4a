//! The streams that are published: 30 pictures and 47 sounds a second, a key frame every two seconds that weighs as
//! much as five other pictures. The bodies begin as H.264 and AAC do and go on with the moment at which they were sent.

use crate::rtmp::{self, kind};

/// Microseconds between two pictures and between two sounds (1024 samples at 48 kHz).
const VIDEO_US: u64 = 33_333;
const AUDIO_US: u64 = 21_333;

/// Pictures from one key frame to the next.
const GROUP: u64 = 60;

/// Size of a key frame in sizes of another picture.
const KEY_WEIGHT: u64 = 5;

/// The sound is this part of the stream's bytes, and 128 kbit/s at most.
const AUDIO_PART: u64 = 16;
const AUDIO_KBPS: u64 = 128;

/// The codec's own bytes at the beginning of a body; the moment of sending stands behind them.
const VIDEO_LEAD: &[u8] = &[0x27, 1, 0, 0, 0];
const AUDIO_LEAD: &[u8] = &[0xAF, 1];

/// Messages of both kinds.
pub(crate) fn messages_per_second() -> f64 {
    1e6 / VIDEO_US as f64 + 1e6 / AUDIO_US as f64
}

/// Makes the messages of one stream as their time comes.
pub(crate) struct Media {
    stream_id: u32,
    pictures: u64,
    sounds: u64,
    picture_bytes: usize,
    sound_bytes: usize,
    body: Vec<u8>,
}

impl Media {
    /// A stream of so many kbit/s.
    pub(crate) fn new(stream_id: u32, kbps: u32) -> Self {
        let kbps = u64::from(kbps);
        let audio_kbps = (kbps / AUDIO_PART).min(AUDIO_KBPS);
        let bytes = |kbps: u64, us: u64| kbps * 1000 / 8 * us / 1_000_000;
        let picture_bytes = bytes(kbps - audio_kbps, VIDEO_US * GROUP) / (GROUP - 1 + KEY_WEIGHT);
        let largest = (rtmp::CHUNK_BYTES as u64) / KEY_WEIGHT;
        Self {
            stream_id,
            pictures: 0,
            sounds: 0,
            picture_bytes: picture_bytes.clamp(16, largest) as usize,
            sound_bytes: bytes(audio_kbps, AUDIO_US).max(16) as usize,
            body: Vec::new(),
        }
    }

    /// Metadata and sequence headers.
    pub(crate) fn headers(&self, out: &mut Vec<u8>) {
        let metadata = b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x08\x00\x00\x00\x01\x00\x05width\x00\x40\x94\x00\x00\x00\x00\x00\x00\x00\x00\x09";
        let avc = b"\x17\x00\x00\x00\x00\x01\x42\xC0\x1E\xFF\xE1\x00\x04\x67\x42\xC0\x1E\x01\x00\x02\x68\xCE";
        rtmp::put(out, kind::DATA, self.stream_id, 5, 0, metadata);
        rtmp::put(out, kind::VIDEO, self.stream_id, 6, 0, avc);
        rtmp::put(out, kind::AUDIO, self.stream_id, 4, 0, b"\xAF\x00\x11\x90");
    }

    /// The time at which the next message is due, in microseconds from the beginning.
    pub(crate) fn due_us(&self) -> u64 {
        (self.pictures * VIDEO_US).min(self.sounds * AUDIO_US)
    }

    /// The message that is due, stamped with `now_ns`.
    pub(crate) fn next(&mut self, now_ns: u64, out: &mut Vec<u8>) {
        let due_us = self.due_us();
        let ts_ms = (due_us / 1000) as u32;
        self.body.clear();
        if self.pictures * VIDEO_US == due_us {
            let key = self.pictures.is_multiple_of(GROUP);
            self.body.extend_from_slice(VIDEO_LEAD);
            self.body[0] = if key { 0x17 } else { 0x27 };
            self.body.extend_from_slice(&now_ns.to_be_bytes());
            self.body.resize(self.picture_bytes * if key { KEY_WEIGHT as usize } else { 1 }, 0x55);
            self.pictures += 1;
            rtmp::put(out, kind::VIDEO, self.stream_id, 6, ts_ms, &self.body);
        } else {
            self.body.extend_from_slice(AUDIO_LEAD);
            self.body.extend_from_slice(&now_ns.to_be_bytes());
            self.body.resize(self.sound_bytes, 0xAA);
            self.sounds += 1;
            rtmp::put(out, kind::AUDIO, self.stream_id, 4, ts_ms, &self.body);
        }
    }
}

/// The moment at which a message was sent; `None` if the message is not a frame.
pub(crate) fn sent_ns(type_id: u8, body: &[u8]) -> Option<u64> {
    let lead = match (type_id, body) {
        (kind::VIDEO, [_, 1, ..]) => VIDEO_LEAD.len(),
        (kind::AUDIO, [_, 1, ..]) => AUDIO_LEAD.len(),
        _ => return None,
    };
    let stamp: [u8; 8] = body.get(lead..lead + 8)?.try_into().ok()?;
    Some(u64::from_be_bytes(stamp))
}
