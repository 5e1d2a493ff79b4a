//! Counts of the media that a publisher sends: by kind, with rates and key frames.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use super::rate::{Count, FrameRate, Rate};
use crate::proto::message::kind;

/// Everything that is counted about received media. The owner writes, any thread reads.
#[derive(Debug, Default)]
pub(crate) struct ReceivedMedia {
    /// Bytes of audio bodies.
    pub audio_bytes: Count,
    /// Bytes of video bodies.
    pub video_bytes: Count,
    /// Bytes of data bodies.
    pub data_bytes: Count,
    /// Messages of unknown type.
    pub unknown_msgs: Count,
    /// Jumps of the publisher's time.
    pub clock_jumps: Count,
    /// When the last jump was reported, monotonic.
    pub clock_told_us: Count,
    /// Rate of audio bodies.
    pub rate_audio: Rate,
    /// Rate of video bodies.
    pub rate_video: Rate,
    /// Rate of video frames.
    pub rate_frames: FrameRate,
    /// Timestamp of the newest key frame, unwrapped.
    pub last_key_ts_ms: AtomicI64,
    /// Time between the last two key frames.
    pub key_interval_ms: AtomicU32,
}

impl ReceivedMedia {
    /// Counts one message, and the picture of this track if it has one.
    pub(super) fn message(&self, type_id: u8, bytes: u64, picture: Option<u8>, now_us: u64) {
        match type_id {
            kind::AUDIO => {
                self.audio_bytes.add(bytes);
                self.rate_audio.add(bytes, now_us);
            }
            kind::VIDEO => {
                self.video_bytes.add(bytes);
                self.rate_video.add(bytes, now_us);
                if let Some(track) = picture {
                    self.rate_frames.add(track, now_us);
                }
            }
            kind::DATA | kind::DATA_AMF3 => self.data_bytes.add(bytes),
            _ => self.unknown_msgs.add(1),
        }
    }

    /// Notes a key frame. Tracks mostly have their key frames at the same time, in separate messages; these count as
    /// one.
    pub(super) fn key_frame(&self, ts_ms: i64) {
        let before = self.last_key_ts_ms.swap(ts_ms, Ordering::Relaxed);
        if ts_ms != before {
            self.key_interval_ms.store(u32::try_from(ts_ms - before).unwrap_or(0), Ordering::Relaxed);
        }
    }
}
